//! Whether the kernel speaks IPv6 where a stack's network has it: see [`IPV6`].

use crate::checks::{check, of_podman};
use crate::facts::ipv6::Ipv6;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};

check! {
    /// Kernel speaks IPv6, which the network of kind has
    ///
    /// ## What is looked at
    ///
    /// `/proc/net/ipv6_route`, which a kernel without IPv6 does not have, and `ipv6.disable=` and
    /// `ipv6.disable_ipv6=` on the kernel command line. Where IPv6 is off, the network `kind` in the
    /// user's storage: made without IPv6, it does not need any. The network that
    /// `KIND_EXPERIMENTAL_PODMAN_NETWORK` names instead is not looked at.
    ///
    /// `net.ipv6.conf.all.disable_ipv6` does not matter here: it holds for the host's own network, and
    /// new network namespaces do not take it over.
    ///
    /// ## Why it matters
    ///
    /// kind has Podman make its network with IPv6, whatever the cluster is. Podman agrees, and the node
    /// does not start on it: "netavark: Sysctl error: no such sysctl: net.ipv6.conf.all.forwarding",
    /// "set sysctl net/ipv6/conf/all/forwarding: No such file or directory" or, before netavark, "open
    /// /proc/sys/net/ipv6/conf/eth0/accept_dad: no such file or directory". Rootless Podman by itself
    /// and the other stacks do without.
    ///
    /// ## Repair
    ///
    /// `podman network create kind`, before there is a cluster: kind takes a network of that name as it
    /// is. Or the parameter is taken off the kernel command line.
    ///
    /// ## Sources
    ///
    /// - kind: pkg/cluster/internal/providers/podman/network.go; issues 3076 and 4156
    /// - netavark: src/network/bridge.rs, `create_interfaces`; issue 439
    /// - Linux: net/ipv6/af_inet6.c, `inet6_init`; net/ipv6/addrconf.c, `addrconf_init_net`
    IPV6, "ipv6", Required, User(run)
}

const SUBJECT: &str = "IPv6";
/// The network that kind makes and takes (kind: network.go, `fixedNetworkName`).
const NETWORK: &str = "kind";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::Ipv6);
    if !demands.is_empty() && !facts.running() {
        return Outcome::skip("the kernel command line that an image is booted with is not known");
    }
    of_podman(facts, user, demands, |_, outcome| {
        outcome.add_all(demands, &look(facts, user)?);
        Ok(())
    })
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
        Some(_) => remedy.command(format!("podman network rm {NETWORK}")),
        None => remedy,
    };
    let remedy = remedy.command(format!("podman network create {NETWORK}"));
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
        assert_eq!(verdicts(&outcome), [(SUBJECT, Verdict::Met)]);
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
        assert_eq!(finding.remedy.commands, ["podman network create kind"]);
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
        assert_eq!(verdicts(&met), [(SUBJECT, Verdict::Met)]);
        assert_eq!(&*findings(&met)[0].evidence[0].path, KIND);
        let unmet = look_at(off().file(KIND, network("true")));
        assert_eq!(verdicts(&unmet), [(SUBJECT, Verdict::Unmet)]);
        assert_eq!(
            findings(&unmet)[0].remedy.commands,
            ["podman network rm kind", "podman network create kind"]
        );
        assert_eq!(unknown(&look_at(off().file(KIND, "{"))).len(), 1);
    }

    #[test]
    fn what_cannot_be_told_is_unknown_and_podman_does_not_ask() {
        let denied = look_at(fixture("debian-13").error(ROUTES, "denied"));
        assert_eq!(unknown(&denied), [format!("{ROUTES} is not readable as this user")]);
        let image = look_at(fixture("debian-13").image());
        assert!(image.skipped.unwrap().contains("is not known"));
        assert!(look_at(fixture("debian-13").without("/usr/bin/podman")).skipped.is_some());
        let podman = run(&fixture("debian-13").facts(), &requirements(&[Stack::Podman]), &edge());
        assert!(podman.skipped.is_some());
    }
}
