//! Whether Podman has its network backend: see [`PODMAN_NETWORK`].

use crate::checks::engine_settings::set_key;
use crate::checks::{check, install, of_podman};
use crate::facts::podman::Podman;
use crate::facts::programs::Program;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent};
use crate::requirements::{Need, Requirements};

const KEY: &str = "network_backend";
const DRIVER: &str = "firewall_driver";
const NFT: &str = "nft";
const IPTABLES: &str = "iptables";

check! {
    /// Podman has its network backend, with name resolution
    ///
    /// ## What is looked at
    ///
    /// Which backend Podman takes: `network_backend` in the layers of `containers.conf`, else the one
    /// that `defaultNetworkBackend` in the user's storage keeps, else netavark (Podman 4 takes CNI where
    /// it finds no netavark). Then the programs netavark and aardvark-dns in `helper_binaries_dir`:
    /// Podman does not look for them on `PATH`. And the program of netavark's firewall driver, `nft` or
    /// `iptables`: `firewall_driver` in `containers.conf` names the driver, else it is the one that the
    /// distribution built netavark with. iptables is netavark 1's own default, and that of every
    /// distribution with Podman 4; Debian, Arch, Fedora since 41 and RHEL since 10 have nftables with
    /// Podman 5; with Podman 6 there is no other. Where the distribution is another and one of the two
    /// programs is there, it is unknown.
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
    /// netavark and aardvark-dns are installed. Where `containers.conf` names cni, it names netavark
    /// instead; a storage that keeps CNI changes with `podman system reset`, which removes all of the
    /// user's containers, images and volumes.
    ///
    /// ## Sources
    ///
    /// - containers/common: libnetwork/network/interface.go, interface_cni_unsupported.go
    /// - netavark: src/firewall/mod.rs, `get_supported_firewall_driver`; build.rs, `NETAVARK_DEFAULT_FW`;
    ///   rpm/netavark.spec
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
                let demands = req.need(Need::NetworkFirewall);
                match firewall(facts, podman, user)? {
                    Ok(finding) => outcome.add_all(demands, &finding),
                    Err(why) => outcome.unknown_all(demands, DRIVER, &why),
                }
            }
            Backend::Cni(at) => {
                let found =
                    |expected: &str, verdict| Finding::new(KEY, expected, "cni", verdict).at([at.clone()]);
                outcome.add_all(demands, &found("netavark or cni", Verdict::Met));
                let remedy = match conf_line(facts, user)? {
                    Some(set) => {
                        let summary = format!("have Podman of {} take netavark, in place of cni", user.name);
                        set_key(facts, user, summary, ("network", KEY), "\"netavark\"", Some(&set))
                    }
                    None => Remedy::manual(format!(
                        "{}, then have {} run podman system reset, which removes all containers, images and \
                         volumes there",
                        install(facts, &["netavark", "aardvark-dns"]).summary,
                        user.name
                    )),
                };
                for demand in demands {
                    let why = "with CNI names of containers resolve only with the plug-in dnsname";
                    outcome
                        .add(&demand.advised(why), found("netavark", Verdict::Unmet).repair(remedy.clone()));
                }
            }
            Backend::Refused(value, at) => {
                let summary = format!("have Podman of {} take netavark, in place of {value:?}", user.name);
                let set = conf_line(facts, user)?;
                let key = ("network", KEY);
                let remedy = set_key(facts, user, summary, key, "\"netavark\"", set.as_ref());
                let finding = Finding::new(KEY, "netavark", value, Verdict::Unmet).at([at]).repair(remedy);
                outcome.add_all(demands, &finding);
            }
        }
        Ok(())
    })
}

/// Where the key is set, if it is.
fn conf_line(facts: &Facts, user: &User) -> Fact<Option<Evidence>> {
    let conf = facts.containers_conf(user)?;
    Ok(conf.network_backend.as_ref().map(|set| set.at.clone()))
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

/// The program of netavark's firewall driver, called with the system's search path; or why it is not
/// known. Seen on Debian 13: without nft, iptables does not help.
fn firewall(facts: &Facts, podman: &Podman, user: &User) -> Fact<Result<Finding, String>> {
    let conf = facts.containers_conf(user)?;
    let set = conf.firewall_driver.as_ref().filter(|set| !set.value.is_empty());
    let name = match set.map(|set| (set.value.as_str(), &set.at)) {
        Some((driver @ ("none" | "firewalld"), at)) => {
            let finding = Finding::new(DRIVER, "a driver that is there", driver, Verdict::Met);
            return Ok(Ok(finding.at([at.clone()])));
        }
        Some(("nftables", _)) => Some(NFT),
        Some((IPTABLES, at)) if podman.is_at_least(6) == Some(true) => {
            let remedy = Remedy::manual(format!("take {DRIVER} out of {at}: Podman 6 knows nftables only"));
            let finding = Finding::new(DRIVER, "nftables", IPTABLES, Verdict::Unmet);
            return Ok(Ok(finding.at([at.clone()]).repair(remedy)));
        }
        Some((IPTABLES, _)) => Some(IPTABLES),
        Some((other, at)) => {
            let remedy = Remedy::manual(format!("take {DRIVER} out of {at}: netavark does not know it"));
            let finding = Finding::new(DRIVER, "nftables or iptables", other, Verdict::Unmet);
            return Ok(Ok(finding.at([at.clone()]).repair(remedy)));
        }
        None => by_default(facts, podman)?,
    };
    let (name, program) = match name {
        Some(name) => (name, facts.program(name)?),
        None => match (facts.program(NFT)?, facts.program(IPTABLES)?) {
            (None, None) => (NFT, None),
            (Some(nft), Some(_)) => (NFT, Some(nft)),
            (Some(_), None) | (None, Some(_)) => {
                let why = "whether this netavark was built for nftables or for iptables is not known, and only \
                           one of nft and iptables is installed";
                return Ok(Err(why.to_owned()));
            }
        },
    };
    Ok(Ok(match program {
        Some(program) => Finding::new(name, "installed", "installed", Verdict::Met).at([program.evidence()]),
        None => Finding::new(name, "installed", "not installed", Verdict::Unmet)
            .at([Evidence::path(&format!("/usr/sbin/{name}"), "does not exist, nor elsewhere")])
            .repair(install(facts, &[name])),
    }))
}

/// The program of the driver that the distribution built netavark with, where that is known.
fn by_default(facts: &Facts, podman: &Podman) -> Fact<Option<&'static str>> {
    match (podman.is_at_least(5), podman.is_at_least(6)) {
        (Some(false), _) => return Ok(Some(IPTABLES)),
        (_, Some(true)) => return Ok(Some(NFT)),
        _ => {}
    }
    let Some(os) = facts.os_release().or_absent()? else { return Ok(None) };
    let release = os.version_id.as_ref().and_then(|id| id.split('.').next()?.parse::<u32>().ok());
    let since = |first: u32| release.map(|release| if release >= first { NFT } else { IPTABLES });
    Ok(if os.id == "fedora" {
        since(41)
    } else if os.is_like("rhel") || os.is_like("fedora") {
        since(10)
    } else if os.is_like("debian") || os.is_like("arch") {
        podman.is_at_least(5).map(|_| NFT)
    } else if ["suse", "opensuse", "alpine"].iter().any(|id| os.is_like(id)) {
        (podman.is_at_least(6) == Some(false)).then_some(IPTABLES)
    } else {
        None
    })
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
    use crate::settings::Setting;

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
    fn the_distribution_decides_with_podman_5_and_the_key_before_it() {
        let host = |os: &str| {
            let host = fixture("debian-13").without("/usr/sbin/nft").without("/usr/sbin/iptables");
            host.file("/etc/os-release", os).file("/usr/sbin/nft", "").mode("/usr/sbin/nft", "0755")
        };
        let look_at = |host: TestHost| run(&host.facts(), &requirements(&[Stack::Kind]), &edge());
        for (os, wanted) in [
            ("ID=fedora\nVERSION_ID=41\n", Some(Verdict::Met)),
            ("ID=fedora\nVERSION_ID=40\n", Some(Verdict::Unmet)),
            ("ID=\"rhel\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"10.0\"\n", Some(Verdict::Met)),
            ("ID=almalinux\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=9.6\n", Some(Verdict::Unmet)),
            ("ID=arch\n", Some(Verdict::Met)),
            ("ID=opensuse-tumbleweed\nID_LIKE=\"opensuse suse\"\n", Some(Verdict::Unmet)),
            ("ID=alpine\nVERSION_ID=3.22.1\n", Some(Verdict::Unmet)),
            ("ID=vehicle\n", None),
        ] {
            let outcome = look_at(host(os));
            assert_eq!(unknown(&outcome).is_empty(), wanted.is_some(), "{os}");
            assert_eq!(verdicts(&outcome).get(2).map(|(_, verdict)| *verdict), wanted, "{os}");
        }
        let both = host("ID=vehicle\n").file("/usr/sbin/iptables", "").mode("/usr/sbin/iptables", "0755");
        assert_eq!(verdicts(&look_at(both))[2].1, Verdict::Met);
        let set = |driver: &str| {
            let conf = format!("[network]\n{DRIVER} = \"{driver}\"\n");
            verdicts(&look_at(host("ID=vehicle\n").file("/etc/containers/containers.conf", conf)))[2].1
        };
        assert_eq!(set("nftables"), Verdict::Met);
        assert_eq!(set("none"), Verdict::Met);
        assert_eq!(set("iptables"), Verdict::Unmet);
        assert_eq!(set("ipchains"), Verdict::Unmet);
        let six = host("ID=debian\n")
            .file("/etc/containers/containers.conf", format!("[network]\n{DRIVER} = \"iptables\"\n"))
            .edit("/var/lib/dpkg/status", "Version: 5.4.2+ds1-2+b2", "Version: 6.0.0-1");
        assert_eq!(verdicts(&look_at(six))[2], (DRIVER, Verdict::Unmet));
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
        let engine = Setting::Engine {
            user: "edge".to_owned(),
            table: "network",
            key: KEY.to_owned(),
            value: "\"netavark\"".to_owned(),
        };
        assert_eq!(findings(&outcome)[0].remedy.settings, std::slice::from_ref(&engine));
        let kept = look_at(fixture("debian-13").file(STORED, "cni"));
        assert_eq!(verdicts(&kept)[0], ("netavark", Verdict::Met));
        let other = look_at(fixture("debian-13").file(STORED, "bridge"));
        assert_eq!(verdicts(&other), [(KEY, Verdict::Unmet)]);
        assert_eq!(findings(&other)[0].remedy.settings, [engine], "a key counts more than what is kept");
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
