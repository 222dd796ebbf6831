//! Whether networks of the stacks are used by the host: see [`SUBNET_OVERLAP`].

use crate::checks::check;
use crate::facts::cidr::Cidr;
use crate::facts::networks_in_use::NetworksInUse;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Demand, Requirements, Stack};

check! {
    /// Networks of the stacks are not the host's
    ///
    /// ## What is looked at
    ///
    /// The routes of the main table, without the default route, and the addresses of the host: whether
    /// any has an address in common with a network that a stack uses. Routes over interfaces of
    /// container networks are the stacks' own and left out. K3s uses those that its unit or its
    /// configuration gives it (`cluster-cidr`, `service-cidr`, `K3S_ROOTLESS_CIDR`). Usernetes makes the
    /// network of its node of the host's name: 10.100.N.0/24, where N is one of 256. Routes in other
    /// tables, as some VPNs have them, are not seen, nor are networks that the host joins later.
    ///
    /// ## Why it matters
    ///
    /// From inside, an address of such a network is a pod, a service or another container, so hosts that
    /// have it outside are out of reach: a registry, a name server, a database. The stack starts, and
    /// only traffic to some hosts fails.
    ///
    /// Two hosts of a Usernetes cluster whose names come to the same 10.100.N.0/24 have nodes with the
    /// same address, of which neither host can know. `-v` shows N, to compare.
    ///
    /// ## Repair
    ///
    /// The stack is given other networks: `K3S_ROOTLESS_CIDR`, `--cluster-cidr` and `--service-cidr` for
    /// K3s (k3d passes the latter on with `--k3s-arg`), `networking.podSubnet` and `serviceSubnet` in the
    /// configuration of kind, `default_subnet` in `containers.conf` for Podman, `NODE_SUBNET` for
    /// Usernetes.
    ///
    /// ## Sources
    ///
    /// - k3s: pkg/rootless/rootless.go, `createParentOpt`; pkg/cli/cmds/server.go
    /// - docs.k3s.io, "k3s server"
    /// - kind: site/content/docs/user/configuration.md, "Networking"
    /// - containers.conf(5), "default_subnet"; usernetes: Makefile, Makefile.d/node-subnet.sh
    SUBNET_OVERLAP, "subnet-overlap", Required, User(run)
}

/// All that the node of a Usernetes can be in (usernetes: Makefile.d/node-subnet.sh).
const OF_THE_NODES: &str = "10.100.0.0/16";
/// The networks of K3s, and what gives it another one.
const OF_K3S: [(&str, &str); 3] = [
    ("10.41.0.0/16", "K3S_ROOTLESS_CIDR"),
    ("10.42.0.0/16", "cluster-cidr"),
    ("10.43.0.0/16", "service-cidr"),
];

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    if !facts.running() {
        return Outcome::skip("an image has no routes and no addresses yet");
    }
    let mut outcome = Outcome::default();
    let used = facts.networks_in_use();
    for (&usual, demands) in &req.subnets {
        for demand in demands {
            let (k3s, others) = demand.by_k3s();
            if demand.stacks == [Stack::Usernetes] && usual.to_string() == OF_THE_NODES {
                match (&used, facts.node_subnet()) {
                    (Ok(used), Ok(node)) => {
                        let finding = look(used, node.value, &demand.why);
                        let finding =
                            Finding { expected: "not used here, nor by other nodes".to_owned(), ..finding };
                        outcome.add(demand, finding.at([node.at]));
                    }
                    (Ok(used), Err(why)) => match look(used, usual, &demand.why) {
                        free if free.verdict == Verdict::Met => outcome.add(demand, free),
                        _ => outcome.unknown(demand, usual.to_string(), why),
                    },
                    (Err(why), node) => {
                        let network = node.map_or(usual, |node| node.value);
                        outcome.unknown(demand, network.to_string(), why);
                    }
                }
                continue;
            }
            let mut networks: Vec<(Demand, Cidr, Option<Evidence>)> =
                others.map(|demand| (demand, usual, None)).into_iter().collect();
            if let Some(k3s) = k3s {
                match of_k3s(facts, user, usual) {
                    // One finding for all, where K3s has not been given another.
                    Ok((given, None)) if given == [usual] => networks = vec![(demand.clone(), usual, None)],
                    Ok((given, at)) => {
                        networks.extend(given.into_iter().map(|cidr| (k3s.clone(), cidr, at.clone())));
                    }
                    Err(why) => outcome.unknown(&k3s, usual.to_string(), why),
                }
            }
            for (demand, wanted, at) in networks {
                match &used {
                    Ok(used) => outcome.add(&demand, look(used, wanted, &demand.why).at(at)),
                    Err(why) => outcome.unknown(&demand, wanted.to_string(), why),
                }
            }
        }
    }
    outcome.or_skip("no chosen stack asks for a network")
}

/// What K3s takes in place of a network of its own, and where that is said.
fn of_k3s(facts: &Facts, user: &User, usual: Cidr) -> Fact<(Vec<Cidr>, Option<Evidence>)> {
    let option = OF_K3S.iter().find(|(cidr, _)| cidr.parse() == Ok(usual));
    let Some((_, option)) = option else { return Ok((vec![usual], None)) };
    let options = facts.k3s_options(user)?;
    Ok(match options.networks(option)? {
        Some(given) => (given, options.at(option)),
        None => (vec![usual], None),
    })
}

fn look(used: &NetworksInUse, wanted: Cidr, why: &str) -> Finding {
    let overlaps = used.overlapping(&wanted);
    let finding = |found: &str, verdict| Finding::new(wanted.to_string(), "not used", found, verdict);
    if overlaps.is_empty() {
        let at = Evidence::path("/proc/net/route", "no route to it but the default");
        return finding("not used", Verdict::Met).at([at]);
    }
    let found: Vec<String> = overlaps.iter().map(|used| used.value.clone()).collect();
    finding(&found.join(", "), Verdict::Unmet)
        .at(overlaps.into_iter().map(|used| used.at))
        .repair(Remedy::manual(format!("give the stack another network than {wanted}: it is {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::K3s]), &edge())
    }

    /// A route as the kernel writes it: 10.42.0.0 is `00002A0A`.
    fn route(interface: &str, destination: &str, mask: &str) -> TestHost {
        let line = format!("{interface}\t{destination}\t00000000\t0001\t0\t0\t0\t{mask}\t0\t0\t0\n");
        fixture("debian-13").append("/proc/net/route", &line)
    }

    fn address(host: TestHost, address: &str) -> TestHost {
        host.append("/proc/net/fib_trie", &format!("     |-- {address}\n        /32 host LOCAL\n"))
    }

    #[test]
    fn a_host_that_uses_none_of_them_passes() {
        let met = |cidr| (cidr, Verdict::Met);
        assert_eq!(
            verdicts(&look_at(fixture("debian-13"))),
            [met("10.41.0.0/16"), met("10.42.0.0/16"), met("10.43.0.0/16")]
        );
        assert_eq!(verdicts(&look_at(route("eth0", "00000000", "00000000")))[0], met("10.41.0.0/16"));
    }

    #[test]
    fn a_route_in_one_of_them_or_around_them_is_unmet() {
        let outcome = look_at(route("wg0", "00012A0A", "00FFFFFF"));
        let finding = findings(&outcome)[1];
        assert_eq!((finding.subject.as_str(), finding.verdict), ("10.42.0.0/16", Verdict::Unmet));
        assert_eq!(finding.found, "10.42.1.0/24 on wg0");
        assert_eq!(&*finding.evidence[0].path, "/proc/net/route");
        assert!(finding.remedy.summary.ends_with("it is the network of pods (--cluster-cidr)"));
        assert_eq!(outcome.items[1].level, Level::Advised, "the cluster starts all the same");
        let around = look_at(route("eth0", "0000000A", "000000FF"));
        assert!(verdicts(&around).iter().all(|(_, verdict)| *verdict == Verdict::Unmet));
    }

    /// `k3s check-config` knows of 10.42 and 10.43 only.
    #[test]
    fn the_network_of_slirp4netns_counts_as_well() {
        let outcome = look_at(route("eth1", "0000290A", "0000FFFF"));
        assert_eq!(verdicts(&outcome)[0], ("10.41.0.0/16", Verdict::Unmet));
        assert!(findings(&outcome)[0].remedy.summary.contains("K3S_ROOTLESS_CIDR"));
    }

    #[test]
    fn networks_that_k3s_is_given() {
        let unit = "/home/edge/.config/systemd/user/k3s-rootless.service";
        let text = "[Service]\nEnvironment=K3S_ROOTLESS_CIDR=10.51.0.0/16\nExecStart=/usr/local/bin/k3s server \
                    --rootless --cluster-cidr=10.52.0.0/16,fd00:52::/56\n";
        let host = || route("wg0", "00002A0A", "0000FFFF").file(unit, text);
        let met = |cidr| (cidr, Verdict::Met);
        let given = [met("10.51.0.0/16"), met("10.52.0.0/16"), met("fd00:52::/56"), met("10.43.0.0/16")];
        let outcome = look_at(host());
        assert_eq!(verdicts(&outcome), given);
        assert_eq!(findings(&outcome)[0].evidence[1].to_string(), format!("{unit}:2"));
        // K3d has a network of its own for pods, and that is the one in the way.
        let both = run(&host().facts(), &requirements(&[Stack::K3s, Stack::K3d]), &edge());
        assert!(verdicts(&both).contains(&("10.42.0.0/16", Verdict::Unmet)));
        let moved = route("wg0", "0000340A", "0000FFFF").file(unit, text);
        assert_eq!(verdicts(&look_at(moved))[1], ("10.52.0.0/16", Verdict::Unmet));
        let wrong = look_at(host().edit(unit, "10.51.0.0/16", "ten"));
        assert_eq!(unknown(&wrong), [format!("{unit}:2: expected a network in K3S_ROOTLESS_CIDR")]);
    }

    #[test]
    fn the_node_of_usernetes_has_a_network_of_its_own() {
        let look_at = |host: TestHost| run(&host.facts(), &requirements(&[Stack::Usernetes]), &edge());
        let name = "/proc/sys/kernel/hostname";
        let node = |host: TestHost| {
            let outcome = look_at(host.file(name, "edge-1\n"));
            let is_node = |finding: &&Finding| finding.subject.starts_with("10.100.");
            let finding = findings(&outcome).into_iter().find(is_node).unwrap().clone();
            (finding.subject, finding.verdict, finding.evidence.last().unwrap().to_string())
        };
        let of = |verdict| ("10.100.223.0/24".to_owned(), verdict, format!("{name}:1"));
        assert_eq!(node(fixture("debian-13")), of(Verdict::Met));
        // 10.100.1.0/24 is another's, 10.100.0.0/16 holds it.
        assert_eq!(node(route("wg0", "0001640A", "00FFFFFF")), of(Verdict::Met));
        assert_eq!(node(route("wg0", "0000640A", "0000FFFF")), of(Verdict::Unmet));
        let nameless = look_at(fixture("debian-13").error(name, "denied"));
        assert!(verdicts(&nameless).contains(&("10.100.0.0/16", Verdict::Met)), "any of them, then");
        let nameless = look_at(route("wg0", "0001640A", "00FFFFFF").error(name, "denied"));
        assert_eq!(unknown(&nameless), ["/proc/sys/kernel/hostname is not readable as this user"]);
    }

    #[test]
    fn an_address_without_a_route_is_unmet() {
        let outcome = look_at(address(fixture("debian-13"), "10.43.0.9"));
        assert_eq!(
            (verdicts(&outcome)[2].1, findings(&outcome)[2].found.as_str()),
            (Verdict::Unmet, "10.43.0.9")
        );
    }

    #[test]
    fn networks_of_containers_are_the_stacks_own() {
        let host = address(route("cni0", "00002A0A", "0000FFFF"), "10.42.0.1");
        assert_eq!(verdicts(&look_at(host))[1], ("10.42.0.0/16", Verdict::Met));
    }

    #[test]
    fn unreadable_is_unknown_and_an_image_is_skipped() {
        let outcome = look_at(fixture("debian-13").error("/proc/net/route", "denied"));
        assert_eq!(unknown(&outcome), ["/proc/net/route is not readable as this user"; 3]);
        assert!(look_at(fixture("debian-13").image()).skipped.is_some());
        assert!(run(&fixture("debian-13").facts(), &Requirements::default(), &edge()).skipped.is_some());
    }
}
