//! Whether Podman has its network backend: see [`PODMAN_NETWORK`].

use crate::checks::{check, install, of_podman};
use crate::facts::podman::Podman;
use crate::facts::programs::Program;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};

const KEY: &str = "network_backend";

check! {
    /// Podman has its network backend, with name resolution
    ///
    /// ## What is looked at
    ///
    /// Which backend Podman takes: `network_backend` in the layers of `containers.conf`, else the one
    /// that `defaultNetworkBackend` in the user's storage keeps, else netavark (Podman 4 takes CNI where
    /// it finds no netavark). Then the programs netavark and aardvark-dns in `helper_binaries_dir`:
    /// Podman does not look for them on `PATH`. And the program of netavark's firewall driver: `nft`
    /// with Podman 5, `iptables` before.
    ///
    /// ## Why it matters
    ///
    /// Podman looks for netavark before it does anything with a container, even one without a network:
    /// "could not find \"netavark\" in one of ...". Without aardvark-dns all seems well, and names of
    /// containers do not resolve on networks that the user makes: nothing says so. Podman 5 refuses
    /// `network_backend = "cni"`; with CNI, Podman 4 runs, and resolves names with one more plug-in only.
    /// Without the firewall program no network that the user makes, and no pod of `kube play`, starts:
    /// "unable to execute nft".
    ///
    /// ## Repair
    ///
    /// netavark and aardvark-dns are installed. A storage that keeps CNI changes with
    /// `podman system reset`, which removes all of the user's containers and images.
    ///
    /// ## Sources
    ///
    /// - containers/common: libnetwork/network/interface.go, interface_cni_unsupported.go
    /// - netavark: src/firewall/mod.rs, `get_supported_firewall_driver`
    /// - podman: RELEASE_NOTES.md, 4.0.0 and 5.0.0
    PODMAN_NETWORK, "podman-network", Required, User(run)
}

/// What Podman makes networks with.
enum Backend {
    Netavark,
    Cni(Evidence),
    /// A value that Podman stops at.
    Refused(String, Evidence),
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::Netavark);
    of_podman(facts, user, demands, |podman, outcome| {
        let netavark = facts.helper_dir_program("netavark", user)?;
        match backend(facts, podman, user, netavark.is_some())? {
            Backend::Netavark => {
                outcome.add_all(demands, &installed(facts, "netavark", netavark));
                let aardvark =
                    installed(facts, "aardvark-dns", facts.helper_dir_program("aardvark-dns", user)?);
                for demand in demands {
                    let why = "without it names of containers do not resolve, and nothing says so";
                    outcome.add(&demand.advised(why), aardvark.clone());
                }
                outcome.add_all(req.need(Need::NetworkFirewall), &firewall(facts, podman)?);
            }
            Backend::Cni(at) => {
                let found =
                    |expected: &str, verdict| Finding::new(KEY, expected, "cni", verdict).at([at.clone()]);
                outcome.add_all(demands, &found("netavark or cni", Verdict::Met));
                let remedy = install(facts, &["netavark", "aardvark-dns"]).command("podman system reset");
                for demand in demands {
                    let why = "with CNI names of containers resolve only with the plug-in dnsname";
                    outcome
                        .add(&demand.advised(why), found("netavark", Verdict::Unmet).repair(remedy.clone()));
                }
            }
            Backend::Refused(value, at) => {
                let remedy = Remedy::manual(format!("take what names {value:?} out of {at}"));
                let finding = Finding::new(KEY, "netavark", value, Verdict::Unmet).at([at]).repair(remedy);
                outcome.add_all(demands, &finding);
            }
        }
        Ok(())
    })
}

/// Podman's own choice, in its order.
fn backend(facts: &Facts, podman: &Podman, user: &User, has_netavark: bool) -> Fact<Backend> {
    // CNI went with Podman 5: distributions build it without.
    let five = podman.is_at_least(5);
    let conf = facts.containers_conf(user)?;
    if let Some(set) = conf.network_backend.as_ref().filter(|set| !set.value.is_empty()) {
        return match (set.value.as_str(), five) {
            ("netavark", _) => Ok(Backend::Netavark),
            ("cni", Some(false)) => Ok(Backend::Cni(set.at.clone())),
            ("cni", None) => Err(podman.unknown()),
            _ => Ok(Backend::Refused(set.value.clone(), set.at.clone())),
        };
    }
    if let Some(stored) = facts.stored_network_backend(user)? {
        return match (stored.value.as_str(), five) {
            // Podman 5 changes the file by itself.
            ("netavark", _) | ("cni", Some(true)) => Ok(Backend::Netavark),
            ("cni", Some(false)) => Ok(Backend::Cni(stored.at)),
            ("cni", None) => Err(podman.unknown()),
            _ => Ok(Backend::Refused(stored.value, stored.at)),
        };
    }
    match (five, has_netavark) {
        (Some(true), _) | (None, true) => Ok(Backend::Netavark),
        (None, false) => Err(podman.unknown()),
        (Some(false), true) if podman.is_at_least(4) == Some(true) => Ok(Backend::Netavark),
        (Some(false), _) => Ok(Backend::Cni(podman.evidence())),
    }
}

/// The program of netavark's firewall driver, which the distributions set to nftables with Podman 5. It is
/// called with the system's search path. Seen on Debian 13: without nft, iptables does not help.
fn firewall(facts: &Facts, podman: &Podman) -> Fact<Finding> {
    let names: &[&str] = match podman.is_at_least(5) {
        Some(true) => &["nft"],
        Some(false) => &["iptables"],
        None => &["nft", "iptables"],
    };
    let subject = names.join(" or ");
    for name in names {
        if let Some(program) = facts.program(name)? {
            let finding = Finding::new(subject, "installed", "installed", Verdict::Met);
            return Ok(finding.at([program.evidence()]));
        }
    }
    let nowhere = Evidence::path(&format!("/usr/sbin/{}", names[0]), "does not exist, nor elsewhere");
    let finding = Finding::new(subject, "installed", "not installed", Verdict::Unmet);
    Ok(finding.at([nowhere]).repair(install(facts, &names[..1])))
}

fn installed(facts: &Facts, name: &str, program: Option<Program>) -> Finding {
    match program {
        Some(program) => Finding::new(name, "installed", "installed", Verdict::Met).at([program.evidence()]),
        None => Finding::new(name, "installed", "not installed", Verdict::Unmet)
            .at([Evidence::path(
                &format!("/usr/lib/podman/{name}"),
                "does not exist, nor elsewhere in helper_binaries_dir",
            )])
            .repair(install(facts, &[name])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const NETAVARK: &str = "/usr/lib/podman/netavark";
    const STORED: &str = "/home/edge/.local/share/containers/storage/defaultNetworkBackend";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    fn levels(outcome: &Outcome) -> Vec<(Level, &str, Verdict)> {
        let items = outcome.items.iter().zip(verdicts(outcome));
        items.map(|(item, (subject, verdict))| (item.level, subject, verdict)).collect()
    }

    fn podman_4(host: TestHost) -> TestHost {
        host.edit("/var/lib/dpkg/status", "Version: 5.4.2+ds1-2+b2", "Version: 4.3.1+ds1-8+b1")
    }

    /// As before Podman's first run, which stores the backend that it takes.
    fn nothing_kept() -> TestHost {
        fixture("debian-13").without(STORED)
    }

    fn set(host: TestHost, backend: &str) -> TestHost {
        host.file("/etc/containers/containers.conf", format!("[network]\n{KEY} = \"{backend}\"\n"))
    }

    /// Seen: Debian 13 needs nft and does not take iptables, Debian 12 the other way round.
    #[test]
    fn the_program_of_the_firewall_driver_goes_with_podman() {
        let wanted = |host: TestHost| {
            let outcome = run(&host.facts(), &requirements(&[Stack::Kind]), &edge());
            let finding = (*findings(&outcome).last().unwrap()).clone();
            (finding.subject, finding.verdict)
        };
        let without = || fixture("debian-13").without("/usr/sbin/nft").without("/usr/sbin/iptables");
        let with = |host: TestHost, name: &str| {
            host.file(&format!("/usr/sbin/{name}"), "").mode(&format!("/usr/sbin/{name}"), "0755")
        };
        assert_eq!(wanted(with(without(), "nft")), ("nft".to_owned(), Verdict::Met));
        assert_eq!(wanted(with(without(), "iptables")), ("nft".to_owned(), Verdict::Unmet));
        let podman_4 = |host: TestHost| {
            host.edit("/var/lib/dpkg/status", "Version: 5.4.2+ds1-2+b2", "Version: 4.3.1+ds1-8")
        };
        assert_eq!(wanted(podman_4(with(without(), "iptables"))), ("iptables".to_owned(), Verdict::Met));
        assert_eq!(wanted(podman_4(with(without(), "nft"))), ("iptables".to_owned(), Verdict::Unmet));
    }

    #[test]
    fn both_programs_are_there() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(
            levels(&outcome),
            [
                (Level::Required, "netavark", Verdict::Met),
                (Level::Advised, "aardvark-dns", Verdict::Met),
                (Level::Advised, "nft", Verdict::Met)
            ]
        );
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), NETAVARK);
    }

    #[test]
    fn without_netavark_nothing_runs_even_if_it_is_on_path() {
        let host = fixture("debian-13").without(NETAVARK).file("/usr/bin/netavark", "");
        let outcome = look_at(host.mode("/usr/bin/netavark", "0755"));
        assert_eq!(levels(&outcome)[0], (Level::Required, "netavark", Verdict::Unmet));
        assert_eq!(findings(&outcome)[0].remedy.commands, ["sudo apt install netavark"]);
    }

    #[test]
    fn without_aardvark_dns_the_failure_is_silent() {
        let outcome = look_at(fixture("debian-13").without("/usr/lib/podman/aardvark-dns"));
        assert_eq!(levels(&outcome)[1], (Level::Advised, "aardvark-dns", Verdict::Unmet));
        assert_eq!(
            outcome.items[1].why,
            "without it names of containers do not resolve, and nothing says so"
        );
    }

    #[test]
    fn podman_5_refuses_cni_where_it_is_set_and_drops_it_where_it_is_kept() {
        let outcome = look_at(set(fixture("debian-13"), "cni"));
        assert_eq!(levels(&outcome), [(Level::Required, KEY, Verdict::Unmet)]);
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), "/etc/containers/containers.conf:2");
        let kept = look_at(fixture("debian-13").file(STORED, "cni"));
        assert_eq!(verdicts(&kept)[0], ("netavark", Verdict::Met));
        let other = look_at(fixture("debian-13").file(STORED, "bridge"));
        assert_eq!(verdicts(&other), [(KEY, Verdict::Unmet)]);
    }

    #[test]
    fn podman_4_runs_with_cni() {
        let cni = [(Level::Required, KEY, Verdict::Met), (Level::Advised, KEY, Verdict::Unmet)];
        assert_eq!(levels(&look_at(podman_4(set(fixture("debian-13"), "cni")))), cni);
        assert_eq!(levels(&look_at(podman_4(fixture("debian-13").file(STORED, "cni")))), cni);
        assert_eq!(levels(&look_at(podman_4(nothing_kept().without(NETAVARK)))), cni);
        assert_eq!(verdicts(&look_at(podman_4(nothing_kept())))[0], ("netavark", Verdict::Met));
        let kept = podman_4(fixture("debian-13").file(STORED, "netavark").without(NETAVARK));
        assert_eq!(verdicts(&look_at(kept))[0], ("netavark", Verdict::Unmet));
    }

    #[test]
    fn an_unknown_version_is_unknown_only_where_it_decides() {
        let rpm = nothing_kept()
            .without("/var/lib/dpkg")
            .without("/usr/lib/systemd/user/podman-user-wait-network-online.service")
            .without("/usr/lib/systemd/user/podman.socket")
            .file("/usr/libexec/podman/quadlet", "")
            .dir("/var/lib/rpm", "0755", 0);
        assert_eq!(verdicts(&look_at(rpm.clone()))[0], ("netavark", Verdict::Met));
        let reason = "/usr/bin/podman: all that is known of its version is 4.4 or later";
        assert_eq!(unknown(&look_at(rpm.clone().without(NETAVARK))), [reason]);
        assert_eq!(unknown(&look_at(set(rpm, "cni"))), [reason]);
        let denied = look_at(fixture("debian-13").error(STORED, "denied"));
        assert_eq!(unknown(&denied), [format!("{STORED} is not readable as this user")]);
        assert!(look_at(fixture("debian-13").without("/usr/bin/podman")).skipped.is_some());
    }
}
