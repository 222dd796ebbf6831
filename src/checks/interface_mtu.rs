//! Whether the packets of a cluster fit through the interface to its other nodes: see [`INTERFACE_MTU`].

use crate::checks::check;
use crate::facts::interfaces::Interface;
use crate::facts::routes::Route;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Demand, Need, Origin, Requirements, Stack};

check! {
    /// Packets between the nodes of a cluster fit through the interface
    ///
    /// ## What is looked at
    ///
    /// The MTU in `/sys/class/net` of each interface that has a default route and is up. Nodes that are
    /// reached by another route are not looked at, nor is what lies between the hosts. Where policy gives
    /// K3s an MTU (`mtu` of `[k3s]`), whether that is no more than theirs: advised.
    ///
    /// ## Why it matters
    ///
    /// Pods on different hosts of a Usernetes cluster talk through VXLAN, whose packets are as large as
    /// those of the network that the node is on, which has an MTU of 1500 or more whatever the host has.
    /// On Google Cloud, where it is 1460, nodes join and pods find no name; on networks with 1500 and
    /// more the same cluster works. WireGuard, PPPoE and mobile networks have less than 1500, too. It
    /// does not matter to a cluster of one node, nor to other stacks: slirp4netns and pasta end
    /// connections on the host, which sends packets of its own size. For the same reason the MTU of K3s,
    /// 65520 unless it is told, may be any: one that is chosen is taken for that of the host, and what is
    /// sent over UDP in packets larger than that is in pieces outside.
    ///
    /// ## Repair
    ///
    /// A larger MTU, where the network allows it. Else `driver_opts` with `mtu` for the network in
    /// `docker-compose.yaml`, on every node, before it is made: flannel takes 50 off what it finds.
    ///
    /// ## Sources
    ///
    /// - usernetes: issue 300; docker-compose.yaml; Makefile.d/install-flannel.sh
    /// - k3s: pkg/rootless/rootless.go; slirp4netns(1), "--mtu"
    /// - flannel: issue 1011; podman-network-create(1), "--opt"
    INTERFACE_MTU, "interface-mtu", Advised, Host(run)
}

/// That of Ethernet, and the least that a network of Podman or Docker has by itself.
const LEAST_BYTES: u32 = 1500;
const MTU_VARIABLE: &str = "K3S_ROOTLESS_MTU";
const IN_PIECES: &str = "what pods send over UDP in larger packets is in pieces outside of the host";

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let demands = req.need(Need::InterfaceMtu);
    let of_k3s = req.k3s.get(MTU_VARIABLE).and_then(|(value, origin)| Some((value.parse().ok()?, origin)));
    let of_k3s: Option<(u32, &Origin)> = of_k3s.filter(|_| req.stacks.contains(&Stack::K3s));
    if demands.is_empty() && of_k3s.is_none() {
        return Outcome::not_asked();
    }
    if !facts.running() {
        return Outcome::skip("an image has no interfaces yet");
    }
    let mut outcome = Outcome::default();
    let k3s: Vec<Demand> =
        req.need(Need::K3sService).iter().map(|demand| demand.advised(IN_PIECES)).collect();
    match defaults(facts) {
        Ok(interfaces) => {
            look(&interfaces).iter().for_each(|finding| outcome.add_all(demands, finding));
            let given = of_k3s.and_then(|(mtu, origin)| given(&interfaces, mtu, origin));
            given.iter().for_each(|finding| outcome.add_all(&k3s, finding));
        }
        Err(why) => {
            outcome.unknown_all(demands, "/sys/class/net", &why);
            if of_k3s.is_some() {
                outcome.unknown_all(&k3s, MTU_VARIABLE, &why);
            }
        }
    }
    outcome.or_skip("no interface that is up has a default route")
}

/// The interfaces that are up and have a default route, each with that.
fn defaults(facts: &Facts) -> Fact<Vec<(Interface, Route)>> {
    let routes = facts.routes()?;
    let defaults: Vec<&Route> = routes.iter().filter(|route| route.destination.is_default()).collect();
    if defaults.is_empty() {
        return Ok(Vec::new());
    }
    let interfaces = facts.interfaces()?;
    let up = interfaces.iter().filter(|interface| interface.is_up());
    let of = |interface: &Interface| {
        let route = defaults.iter().find(|route| route.interface == interface.name)?;
        Some((interface.clone(), (*route).clone()))
    };
    Ok(up.filter_map(of).collect())
}

/// Whether the MTU that policy gives K3s is more than the least of these.
fn given(interfaces: &[(Interface, Route)], mtu: u32, origin: &Origin) -> Option<Finding> {
    let (least, _) = interfaces.iter().min_by_key(|(interface, _)| interface.mtu_bytes)?;
    let (name, most) = (&least.name, least.mtu_bytes);
    let policy = Evidence::line(&origin.file, origin.line, &format!("mtu = {mtu}"));
    let remedy = Remedy::manual(format!("set mtu = {most} below [k3s] in {origin}, or take the line out"));
    let expected = format!("at most {most}, the MTU of {name}");
    let finding = Finding::new(MTU_VARIABLE, expected, mtu.to_string(), Verdict::met_if(mtu <= most));
    Some(finding.at([policy, least.at.clone()]).repair(remedy))
}

fn look(interfaces: &[(Interface, Route)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (interface, route) in interfaces {
        let (name, mtu) = (&interface.name, interface.mtu_bytes);
        let remedy = Remedy::manual(format!(
            "raise the MTU of {name} where its network allows it, or set driver_opts: {{mtu: \"{mtu}\"}} for \
             the network in docker-compose.yaml on every node"
        ));
        findings.push(
            Finding::new(
                format!("MTU of {name}"),
                format!("at least {LEAST_BYTES}"),
                mtu.to_string(),
                Verdict::met_if(mtu >= LEAST_BYTES),
            )
            .at([interface.at.clone(), route.at.clone()])
            .repair(remedy),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::profile::Layer;

    const ROUTE: &str = "/proc/net/route";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Usernetes]))
    }

    /// A Debian 13 with interfaces, by their MTU, and a default route over the first. The machine of the
    /// capture had none; the route is as proc_pid_net(5) shows it.
    fn with(interfaces: &[(&str, u32, &str)]) -> TestHost {
        let first = interfaces[0].0;
        let route = format!("{first}\t00000000\t0102000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n");
        let mut host = fixture("debian-13").append(ROUTE, &route);
        for (name, mtu, state) in interfaces {
            host = host
                .file(&format!("/sys/class/net/{name}/mtu"), format!("{mtu}\n"))
                .file(&format!("/sys/class/net/{name}/operstate"), format!("{state}\n"));
        }
        host
    }

    #[test]
    fn ethernet_is_enough() {
        let outcome =
            look_at(with(&[("ens4", 1500, "up"), ("wg0", 1420, "unknown"), ("lo", 65_536, "unknown")]));
        assert_eq!(verdicts(&outcome), [("MTU of ens4", Verdict::Met)]);
        assert_eq!(outcome.items[0].level, Level::Advised);
        let at: Vec<String> = findings(&outcome)[0].evidence.iter().map(ToString::to_string).collect();
        assert_eq!(at, ["/sys/class/net/ens4/mtu:1".to_owned(), format!("{ROUTE}:2")]);
    }

    #[test]
    fn google_cloud_has_less() {
        let outcome = look_at(with(&[("ens4", 1460, "up")]));
        let finding = findings(&outcome)[0];
        assert_eq!(
            (finding.verdict, finding.expected.as_str(), finding.found.as_str()),
            (Verdict::Unmet, "at least 1500", "1460")
        );
        assert!(finding.remedy.summary.contains("{mtu: \"1460\"}"), "{}", finding.remedy.summary);
    }

    #[test]
    fn the_mtu_that_policy_gives_k3s() {
        let look_at = |host: TestHost, mtu: u32| {
            let text = format!("user = \"edge\"\n\n[k3s]\nmtu = {mtu}\n");
            let layer = Layer::parse("site.toml", &text).unwrap();
            run(&host.facts(), &Requirements::merge(&[Stack::K3s], &[layer]).unwrap())
        };
        let two = || with(&[("ens4", 1460, "up"), ("wg0", 1420, "unknown")]);
        assert_eq!(verdicts(&look_at(two(), 1460)), [(MTU_VARIABLE, Verdict::Met)]);
        let outcome = look_at(two(), 1500);
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, outcome.items[0].level), (Verdict::Unmet, Level::Advised));
        assert_eq!(
            (finding.expected.as_str(), finding.found.as_str()),
            ("at most 1460, the MTU of ens4", "1500")
        );
        let at: Vec<String> = finding.evidence.iter().map(ToString::to_string).collect();
        assert_eq!(at, ["site.toml:4", "/sys/class/net/ens4/mtu:1"]);
        assert!(finding.remedy.summary.starts_with("set mtu = 1460 below [k3s] in site.toml:4"));
        assert!(look_at(fixture("debian-13"), 1500).skipped.is_some(), "there is no default route");
        let denied = two().error("/sys/class/net/ens4/mtu", "denied");
        assert_eq!(unknown(&look_at(denied, 1500)).len(), 1);
    }

    #[test]
    fn nothing_to_look_at() {
        assert!(look_at(fixture("debian-13")).skipped.unwrap().contains("default route"));
        assert!(look_at(with(&[("eth0", 1460, "down")])).skipped.is_some());
        assert!(look_at(with(&[("ens4", 1460, "up")]).image()).skipped.is_some());
        let denied = with(&[("ens4", 1460, "up")]).error("/sys/class/net/ens4/mtu", "denied");
        assert_eq!(unknown(&look_at(denied)), ["/sys/class/net/ens4/mtu is not readable as this user"]);
        let k3s = run(&with(&[("ens4", 1460, "up")]).facts(), &requirements(&[Stack::K3s]));
        assert!(k3s.skipped.is_some());
    }
}
