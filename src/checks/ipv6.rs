//! Whether the kernel speaks IPv6 where a stack's network has it: see [`IPV6`].

use crate::checks::{check, of_podman, rootless_network};
use crate::facts::ipv6::Ipv6;
use crate::facts::podman::Podman;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};
use crate::settings::as_user;

check! {
    /// Kernel speaks IPv6 where a network is made with it
    ///
    /// ## What is looked at
    ///
    /// `/proc/net/ipv6_route`, which a kernel without IPv6 does not have, and `ipv6.disable=` and
    /// `ipv6.disable_ipv6=` on the kernel command line. Where IPv6 is off, the network `kind` in the
    /// user's storage: made without IPv6, it does not need any. The network that
    /// `KIND_EXPERIMENTAL_PODMAN_NETWORK` names instead is not looked at.
    ///
    /// Where Podman makes networks with pasta and IPv6 is off, be it in new network namespaces alone:
    /// whether the host has an IPv4 route, to any place at all (`/proc/net/route`).
    ///
    /// `net.ipv6.conf.all.disable_ipv6` does not matter here: it holds for the host's own network, and
    /// new network namespaces do not take it over.
    ///
    /// ## Why it matters
    ///
    /// kind has Podman make its network with IPv6, whatever the cluster is. Podman agrees, and the node
    /// does not start on it: "netavark: Sysctl error: no such sysctl: net.ipv6.conf.all.forwarding",
    /// "set sysctl net/ipv6/conf/all/forwarding: No such file or directory" or, before netavark, "open
    /// /proc/sys/net/ipv6/conf/eth0/accept_dad: no such file or directory". Other stacks do without.
    ///
    /// pasta copies the addresses and routes of the host. On a host that is connected to nothing it
    /// makes up some, of IPv4 and IPv6, and stops where the kernel has no IPv6. Seen on Debian 13: on a
    /// host that was booted with `ipv6.disable=1`, containers start while its cable is plugged in. Else:
    /// "pasta failed with exit code 1: Couldn't set IPv6 route(s) in guest: Operation not supported".
    ///
    /// ## Repair
    ///
    /// `podman network create kind`, before there is a cluster: kind takes a network of that name as it
    /// is. Or the parameter is taken off the kernel command line. For pasta an interface with an IPv4
    /// address will do, one of type dummy if there is no other.
    ///
    /// ## Sources
    ///
    /// - kind: pkg/cluster/internal/providers/podman/network.go; issues 3076 and 4156
    /// - netavark: src/network/bridge.rs, `create_interfaces`; issue 439
    /// - Linux: net/ipv6/af_inet6.c, `inet6_init`; net/ipv6/addrconf.c, `addrconf_init_net`
    IPV6, "ipv6", Required, User(run)
}

const SUBJECT: &str = "IPv6";
const ROUTE: &str = "what pasta makes a network of";
/// The network that kind makes and takes (kind: network.go, `fixedNetworkName`).
const NETWORK: &str = "kind";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let (of_kind, of_pasta) = (req.need(Need::Ipv6), req.need(Need::PastaRoute));
    let demands = [of_kind, of_pasta].concat();
    if !demands.is_empty() && !facts.running() {
        return Outcome::skip("the kernel command line that an image is booted with is not known");
    }
    let outcome = of_podman(facts, user, &demands, |podman, outcome| {
        outcome.add_all(of_kind, &look(facts, user)?);
        if let Some(finding) = route(facts, podman, user)? {
            outcome.add_all(of_pasta, &finding);
        }
        Ok(())
    });
    outcome.or_skip("Podman makes networks without pasta")
}

/// What pasta makes a network of, where IPv6 is not it; `None` where Podman does without pasta.
fn route(facts: &Facts, podman: &Podman, user: &User) -> Fact<Option<Finding>> {
    if rootless_network::chosen(facts, podman, user)?.program.is_some_and(|program| program != "pasta") {
        return Ok(None);
    }
    let finding = |found: &str, verdict| Finding::new(ROUTE, "IPv6, or an IPv4 route", found, verdict);
    let off = match facts.ipv6()? {
        Ipv6::On(at) => return Ok(Some(finding("IPv6", Verdict::Met).at([at]))),
        Ipv6::OffInNamespaces(at) | Ipv6::Off(at) => at,
    };
    let routes = facts.routes()?;
    Ok(Some(match routes.iter().find(|route| route.destination.address().is_ipv4()) {
        Some(route) => finding("an IPv4 route", Verdict::Met).at([route.at.clone(), off]),
        None => {
            let none = Evidence::path("/proc/net/route", "no route");
            let remedy = Remedy::manual(
                "connect the host to a network, or give it an interface with an IPv4 address that is always there",
            );
            finding("neither", Verdict::Unmet).at([off, none]).repair(remedy)
        }
    }))
}

fn look(facts: &Facts, user: &User) -> Fact<Finding> {
    let finding = |found: &str, verdict| Finding::new(SUBJECT, "in the kernel", found, verdict);
    let (found, at) = match facts.ipv6()? {
        Ipv6::On(at) => return Ok(finding("in the kernel", Verdict::Met).at([at])),
        Ipv6::OffInNamespaces(at) => ("off in every new network namespace", at),
        Ipv6::Off(at) => ("not in the kernel", at),
    };
    let network = facts.podman_network_ipv6(user, NETWORK)?;
    if let Some(network) = network.as_ref().filter(|network| !network.value) {
        let found = format!("{found}, and the network {NETWORK} does without");
        return Ok(finding(&found, Verdict::Met).at([network.at.clone(), at]));
    }
    let has_line = at.line.is_some();
    let at: Vec<Evidence> = std::iter::once(at).chain(network.as_ref().map(|n| n.at.clone())).collect();
    let or = if has_line {
        format!(", or take {} off the kernel command line", at[0].text)
    } else {
        String::new()
    };
    let remedy = Remedy::manual(format!("as {}, make the network {NETWORK} without IPv6{or}", user.name));
    let remedy = match network {
        Some(_) => remedy.command(as_user(&user.name, &format!("podman network rm {NETWORK}"))),
        None => remedy,
    };
    let remedy = remedy.command(as_user(&user.name, &format!("podman network create {NETWORK}")));
    Ok(finding(found, Verdict::Unmet).at(at).repair(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const ROUTES: &str = "/proc/net/ipv6_route";
    const KIND: &str = "/home/edge/.local/share/containers/storage/networks/kind.json";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Kind]), &edge())
    }

    /// A Debian 13 that was booted with this.
    fn booted(parameter: &str) -> TestHost {
        let cmdline = fixture("debian-13").text("/proc/cmdline");
        fixture("debian-13").file("/proc/cmdline", format!("{} {parameter}\n", cmdline.trim()))
    }

    #[test]
    fn debian_speaks_it() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [(SUBJECT, Verdict::Met), (ROUTE, Verdict::Met)]);
        assert_eq!(outcome.items[0].level, Level::Required);
        assert_eq!(&*findings(&outcome)[0].evidence[0].path, ROUTES);
        assert_eq!(verdicts(&look_at(booted("ipv6.disable=0")))[0].1, Verdict::Met);
    }

    #[test]
    fn off_on_the_command_line() {
        let outcome = look_at(booted("ipv6.disable=1").without(ROUTES));
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Unmet, "not in the kernel"));
        assert_eq!(finding.evidence[0], Evidence::line("/proc/cmdline", 1, "ipv6.disable=1"));
        assert!(finding.remedy.summary.ends_with("or take ipv6.disable=1 off the kernel command line"));
        assert_eq!(finding.remedy.commands, ["sudo -Hu edge podman network create kind"]);
        let outcome = look_at(booted("ipv6.disable_ipv6=1"));
        assert_eq!(findings(&outcome)[0].found, "off in every new network namespace");
        let built_without = look_at(fixture("debian-13").without(ROUTES));
        assert_eq!(findings(&built_without)[0].evidence[0].to_string(), ROUTES);
    }

    #[test]
    fn a_network_without_it_will_do() {
        // As Podman 5.4 writes it, shortened.
        let network = |ipv6| format!("{{\n     \"name\": \"kind\",\n     \"ipv6_enabled\": {ipv6}\n}}");
        let off = || booted("ipv6.disable=1").without(ROUTES);
        let met = look_at(off().file(KIND, network("false")));
        assert_eq!(verdicts(&met)[0], (SUBJECT, Verdict::Met));
        assert_eq!(&*findings(&met)[0].evidence[0].path, KIND);
        let unmet = look_at(off().file(KIND, network("true")));
        assert_eq!(verdicts(&unmet)[0], (SUBJECT, Verdict::Unmet));
        assert_eq!(
            findings(&unmet)[0].remedy.commands,
            ["sudo -Hu edge podman network rm kind", "sudo -Hu edge podman network create kind"]
        );
        assert_eq!(unknown(&look_at(off().file(KIND, "{"))).len(), 2);
    }

    #[test]
    fn what_cannot_be_told_is_unknown_and_podman_does_not_ask() {
        let denied = look_at(fixture("debian-13").error(ROUTES, "denied"));
        assert_eq!(unknown(&denied)[0], format!("{ROUTES} is not readable as this user"));
        let image = look_at(fixture("debian-13").image());
        assert!(image.skipped.unwrap().contains("is not known"));
        assert!(look_at(fixture("debian-13").without("/usr/bin/podman")).skipped.is_some());
        let slirp = "[network]\ndefault_rootless_network_cmd = \"slirp4netns\"\n";
        let host = booted("ipv6.disable=1").without(ROUTES).file("/etc/containers/containers.conf", slirp);
        let podman = run(&host.facts(), &requirements(&[Stack::Podman]), &edge());
        assert!(podman.skipped.unwrap().contains("without pasta"));
    }

    /// As seen on a booted Debian 13, passt 0.0~git20250503.
    #[test]
    fn pasta_takes_an_ipv4_route_where_there_is_no_ipv6() {
        let look_at = |host: TestHost| {
            let outcome = run(&host.facts(), &requirements(&[Stack::Podman]), &edge());
            let finding = findings(&outcome)[0].clone();
            (finding.found, finding.verdict)
        };
        let head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
        let link = "d0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let off = |parameter: &str, routes: String| booted(parameter).file("/proc/net/route", routes);
        for parameter in ["ipv6.disable=1", "ipv6.disable_ipv6=1"] {
            let host = |routes: String| match parameter {
                "ipv6.disable=1" => off(parameter, routes).without(ROUTES),
                _ => off(parameter, routes),
            };
            assert_eq!(look_at(host(head.to_owned())), ("neither".to_owned(), Verdict::Unmet));
            assert_eq!(look_at(host(format!("{head}{link}"))), ("an IPv4 route".to_owned(), Verdict::Met));
        }
        assert_eq!(look_at(fixture("debian-13")).1, Verdict::Met);
    }
}
