//! Whether Podman can connect rootless containers: see [`ROOTLESS_NETWORK`].

use crate::checks::engine_settings::set_key;
use crate::checks::{check, install, of_podman};
use crate::facts::podman::Podman;
use crate::facts::programs::Program;
use crate::facts::users::User;
use crate::facts::version::Version;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};

const PASTA: &str = "pasta";
const SLIRP: &str = "slirp4netns";
const KEY: &str = "default_rootless_network_cmd";

/// The first Podman that reads [`KEY`]; those before take slirp4netns (podman, branches v4.5 and v4.6).
const KEY_SINCE: [u64; 2] = [4, 6];

check! {
    /// Podman can connect rootless containers
    ///
    /// ## What is looked at
    ///
    /// Which program makes the network of rootless containers: `default_rootless_network_cmd` in the
    /// layers of `containers.conf` (from Podman 4.6), else pasta from Podman 5.0 and slirp4netns before.
    /// Then whether that program is in Podman's `helper_binaries_dir` or on the search path, and the
    /// user may execute it. Where the version is not known and nothing is set, both have to be there.
    ///
    /// ## Why it matters
    ///
    /// Without that program no container starts, unless it is run without a network: "could not find
    /// pasta, the network namespace can't be configured". One does not take the other's place, and the
    /// upgrade to Podman 5 changes which one it is. Podman 6 knows slirp4netns no more. Usernetes
    /// works with slirp4netns only: through pasta its pods do not reach the API server.
    ///
    /// ## Repair
    ///
    /// The package with the program is installed (pasta is in `passt`), or the key is set.
    ///
    /// ## Sources
    ///
    /// - podman: RELEASE_NOTES.md, 5.0.0; pkg/specgen/generate/container_create.go
    /// - containers/common: libnetwork/pasta, `Setup`; libnetwork/slirp4netns, `Setup`
    /// - usernetes: README.md, "slirp4netns, not Pasta"
    ROOTLESS_NETWORK, "rootless-network", Required, User(run)
}

/// What Podman makes rootless networks with.
pub(super) struct Chosen {
    /// `None` where the version decides, and is not known.
    pub(super) program: Option<String>,
    at: Evidence,
    /// Why it is what it is.
    why: String,
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let (any, slirp) = (req.need(Need::RootlessNetwork), req.need(Need::Slirp4netnsNetwork));
    let demands = [any, slirp].concat();
    of_podman(facts, user, &demands, |podman, outcome| {
        let chosen = chosen(facts, podman, user)?;
        let wanted = if slirp.is_empty() { PASTA } else { SLIRP };
        match installed(facts, podman, user, &chosen, wanted) {
            Ok(finding) => outcome.add_all(any, &finding),
            Err(why) => outcome.unknown_all(any, KEY, &why),
        }
        match only_slirp(facts, podman, user, &chosen) {
            Ok(finding) => outcome.add_all(slirp, &finding),
            Err(why) => outcome.unknown_all(slirp, KEY, &why),
        }
        Ok(())
    })
}

pub(super) fn chosen(facts: &Facts, podman: &Podman, user: &User) -> Fact<Chosen> {
    let conf = facts.containers_conf(user)?;
    let set = conf.default_rootless_network_cmd.as_ref().filter(|set| !set.value.is_empty());
    let too_old = (podman.version.as_ref())
        .is_ok_and(|known| known.value.is_at_least(&Version::new(&KEY_SINCE)) == Some(false));
    if let Some(set) = set.filter(|_| !too_old) {
        return Ok(Chosen {
            program: Some(set.value.clone()),
            at: set.at.clone(),
            why: format!("what {} sets", set.at),
        });
    }
    let program = podman.is_at_least(5).map(|five| if five { PASTA } else { SLIRP }.to_owned());
    let why = match &podman.version {
        Ok(known) => format!("the default of Podman {}", known.value),
        Err(_) => "the default of Podman".to_owned(),
    };
    Ok(Chosen { program, at: podman.evidence(), why })
}

fn program(facts: &Facts, name: &str, user: &User) -> Fact<Option<Program>> {
    let conf = facts.containers_conf(user)?;
    match conf.network_cmd_path.as_ref().filter(|path| name == SLIRP && !path.value.is_empty()) {
        Some(path) => Ok(facts.program_at(&path.value)?.filter(|program| program.is_executable_by(user))),
        None => facts.helper_program(name, user),
    }
}

/// Whether what Podman takes is there.
fn installed(facts: &Facts, podman: &Podman, user: &User, chosen: &Chosen, wanted: &str) -> Fact<Finding> {
    let Some(name) = chosen.program.as_deref() else { return either(facts, podman, user) };
    if !is_known(name) {
        return refused(facts, podman, user, chosen, name, wanted);
    }
    let found = program(facts, name, user)?;
    // Where it is missing, it does not matter whether Podman still knows it.
    if name == SLIRP && found.is_some() {
        match podman.is_at_least(6) {
            Some(true) => return refused(facts, podman, user, chosen, name, wanted),
            // A default of slirp4netns is that of an old version, so only the key leaves this open.
            None => return Err(podman.unknown()),
            Some(false) => {}
        }
    }
    Ok(match found {
        Some(program) => Finding::new(name, "installed", "installed", Verdict::Met)
            .at([program.evidence(), chosen.at.clone()]),
        None => {
            let mut remedy = install(facts, &[name]);
            remedy.summary = format!("{}: {name} is {}", remedy.summary, chosen.why);
            Finding::new(name, "installed", "not installed", Verdict::Unmet)
                .at([chosen.at.clone()])
                .repair(remedy)
        }
    })
}

/// Whether either program will do, or neither.
fn either(facts: &Facts, podman: &Podman, user: &User) -> Fact<Finding> {
    let both = format!("{PASTA} or {SLIRP}");
    match (program(facts, PASTA, user)?, program(facts, SLIRP, user)?) {
        (Some(pasta), Some(slirp)) => {
            let found = format!("{PASTA} and {SLIRP}");
            Ok(Finding::new(PASTA, both, found, Verdict::Met).at([pasta.evidence(), slirp.evidence()]))
        }
        (None, None) => Ok(Finding::new(PASTA, both, "neither", Verdict::Unmet)
            .at([podman.evidence()])
            .repair(install(facts, &[PASTA]))),
        _ => Err(podman.unknown()),
    }
}

fn is_known(name: &str) -> bool {
    name == PASTA || name == SLIRP
}

/// What Podman does not know is replaced by what is there, and what a stack wants. pasta works with Podman
/// before 5 as well.
fn refused(
    facts: &Facts,
    podman: &Podman,
    user: &User,
    chosen: &Chosen,
    name: &str,
    wanted: &str,
) -> Fact<Finding> {
    let names: &[&'static str] = match (wanted, podman.is_at_least(6)) {
        (SLIRP, Some(true)) => &[PASTA],
        (SLIRP, _) => &[SLIRP],
        (_, Some(false)) => &[PASTA, SLIRP],
        (_, _) => &[PASTA],
    };
    let mut there = None;
    for &name in names {
        if there.is_none() && program(facts, name, user)?.is_some() {
            there = Some(name);
        }
    }
    let remedy = match there {
        Some(there) => {
            let summary = format!("let Podman make networks of {} with {there}", user.name);
            set_key(facts, user, summary, ("network", KEY), &format!("\"{there}\""), Some(&chosen.at))
        }
        None => Remedy::manual(format!("set {KEY} to \"{PASTA}\", or take it out of {}", chosen.at)),
    };
    let expected = there.unwrap_or(PASTA);
    Ok(Finding::new(KEY, expected, name, Verdict::Unmet).at([chosen.at.clone()]).repair(remedy))
}

/// Whether networks are made with slirp4netns; that it is there is for its demand as a program.
fn only_slirp(facts: &Facts, podman: &Podman, user: &User, chosen: &Chosen) -> Fact<Finding> {
    let name = chosen.program.as_deref().ok_or_else(|| podman.unknown())?;
    if name == SLIRP {
        match podman.is_at_least(6) {
            Some(true) => {}
            Some(false) => return Ok(Finding::new(KEY, SLIRP, SLIRP, Verdict::Met).at([chosen.at.clone()])),
            None => return Err(podman.unknown()),
        }
    }
    let finding = |found: &str| Finding::new(KEY, SLIRP, found, Verdict::Unmet).at([chosen.at.clone()]);
    if podman.is_at_least(6) == Some(true) {
        let remedy = Remedy::manual("Podman 6 has no slirp4netns: take Podman 5, or another stack");
        return Ok(finding("not known to this Podman").repair(remedy));
    }
    let conf = facts.containers_conf(user)?;
    let set = conf.default_rootless_network_cmd.as_ref().map(|set| &set.at);
    let summary = format!("let Podman make networks of {} with {SLIRP}", user.name);
    let remedy = set_key(facts, user, summary, ("network", KEY), &format!("\"{SLIRP}\""), set);
    Ok(finding(name).repair(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;
    use crate::settings::Setting;

    const CONF: &str = "/home/edge/.config/containers/containers.conf";
    const CAME_WITH_5_3: &str = "/usr/lib/systemd/user/podman-user-wait-network-online.service";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    fn version(version: &str) -> TestHost {
        fixture("debian-13").edit(
            "/var/lib/dpkg/status",
            "Version: 5.4.2+ds1-2+b2",
            &format!("Version: {version}"),
        )
    }

    /// Podman 5.3 or later, as its files tell: no package database that is read does.
    fn rpm() -> TestHost {
        fixture("debian-13")
            .without("/var/lib/dpkg")
            .dir("/var/lib/rpm", "0755", 0)
            .file("/usr/libexec/podman/quadlet", "")
            .file(CAME_WITH_5_3, "")
    }

    fn set(host: TestHost, name: &str) -> TestHost {
        host.file(CONF, format!("[network]\n{KEY} = \"{name}\"\n"))
    }

    fn without_pasta(host: TestHost) -> TestHost {
        host.without("/usr/bin/pasta")
    }

    fn without_slirp(host: TestHost) -> TestHost {
        host.without("/usr/bin/slirp4netns")
    }

    #[test]
    fn podman_5_takes_pasta_and_does_not_need_passt() {
        let outcome = look_at(fixture("debian-13").without("/usr/bin/passt"));
        assert_eq!(verdicts(&outcome), [("pasta", Verdict::Met)]);
        let finding = findings(&outcome)[0];
        assert_eq!(finding.evidence[0].to_string(), "/usr/bin/pasta");
        assert_eq!(finding.evidence[1].text, "Version: 5.4.2+ds1-2+b2");
        let outcome = look_at(without_pasta(fixture("debian-13")));
        assert_eq!(verdicts(&outcome), [("pasta", Verdict::Unmet)], "slirp4netns does not take its place");
        assert_eq!(findings(&outcome)[0].remedy.commands, ["sudo apt install passt"]);
        assert_eq!(
            findings(&outcome)[0].remedy.summary,
            "install passt: pasta is the default of Podman 5.4.2"
        );
    }

    #[test]
    fn podman_4_takes_slirp4netns_and_does_not_need_pasta() {
        let debian_12 = || version("4.3.1+ds1-8+b1");
        assert_eq!(verdicts(&look_at(without_pasta(debian_12()))), [("slirp4netns", Verdict::Met)]);
        assert_eq!(verdicts(&look_at(without_slirp(debian_12()))), [("slirp4netns", Verdict::Unmet)]);
        // The key is of a later version.
        let outcome = look_at(without_slirp(set(debian_12(), "pasta")));
        assert_eq!(verdicts(&outcome), [("slirp4netns", Verdict::Unmet)]);
        assert_eq!(verdicts(&look_at(set(version("4.9.3"), "pasta"))), [("pasta", Verdict::Met)]);
    }

    #[test]
    fn the_configuration_comes_before_the_default() {
        let outcome = look_at(without_pasta(set(fixture("debian-13"), "slirp4netns")));
        assert_eq!(verdicts(&outcome), [("slirp4netns", Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].evidence[1].to_string(), format!("{CONF}:2"));
        let outcome = look_at(set(fixture("debian-13"), "bridge"));
        assert_eq!(
            (verdicts(&outcome), findings(&outcome)[0].found.as_str()),
            (vec![(KEY, Verdict::Unmet)], "bridge")
        );
        assert_eq!(verdicts(&look_at(set(version("6.0.0-1"), "slirp4netns"))), [(KEY, Verdict::Unmet)]);
    }

    #[test]
    fn what_podman_refuses_is_replaced_by_what_is_there() {
        let value = |host: TestHost, stack: Stack| {
            let outcome = run(&host.facts(), &requirements(&[stack]), &edge());
            let values = findings(&outcome).into_iter().flat_map(|finding| &finding.remedy.settings);
            let values: Vec<String> = values
                .map(|setting| match setting {
                    Setting::Engine { value, .. } => value.clone(),
                    other => panic!("{other:?}"),
                })
                .collect();
            values.join(" ")
        };
        let bridge = || set(fixture("debian-13"), "bridge");
        assert_eq!(value(bridge(), Stack::Podman), "\"pasta\"");
        assert_eq!(value(without_pasta(bridge()), Stack::Podman), "\"slirp4netns\"");
        assert_eq!(value(without_slirp(without_pasta(bridge())), Stack::Podman), "");
        assert_eq!(value(bridge(), Stack::Usernetes), "\"slirp4netns\" \"slirp4netns\"", "no conflict");
        assert_eq!(value(set(version("6.0.0-1"), "slirp4netns"), Stack::Podman), "\"pasta\"");
        assert_eq!(value(without_pasta(set(version("6.0.0-1"), "slirp4netns")), Stack::Podman), "");
        let dir = "/home/edge/.config/containers/containers.conf.d";
        let later = fixture("debian-13").dir(dir, "0755", 1000);
        let later = later.file(&format!("{dir}/99.conf"), format!("[network]\n{KEY} = \"bridge\"\n"));
        assert_eq!(value(later, Stack::Podman), "", "it sorts after ours");
        let ours = bridge().dir(dir, "0755", 1000);
        let ours = ours.file(&format!("{dir}/90-rootless.conf"), format!("[network]\n{KEY} = \"pasta\"\n"));
        assert_eq!(verdicts(&look_at(ours)), [("pasta", Verdict::Met)]);
    }

    #[test]
    fn an_unknown_version_is_unknown_only_where_it_decides() {
        assert_eq!(verdicts(&look_at(rpm())), [("pasta", Verdict::Met)], "Podman 5.3 or later");
        assert_eq!(
            verdicts(&look_at(without_slirp(rpm()))),
            [("pasta", Verdict::Met)],
            "the version decides"
        );
        let older = || rpm().without(CAME_WITH_5_3).without("/usr/lib/systemd/user/podman.socket");
        assert_eq!(verdicts(&look_at(older())), [("pasta", Verdict::Met)], "both are there");
        let reason = "/usr/bin/podman: all that is known of its version is 4.4 or later";
        assert_eq!(unknown(&look_at(without_pasta(older()))), [reason]);
        assert_eq!(unknown(&look_at(without_slirp(older()))), [reason]);
        assert_eq!(verdicts(&look_at(without_slirp(without_pasta(older())))), [("pasta", Verdict::Unmet)]);
        assert!(look_at(fixture("debian-13").without("/usr/bin/podman")).skipped.is_some());
    }

    #[test]
    fn usernetes_does_not_work_with_pasta() {
        let look_at = |host: TestHost| run(&host.facts(), &requirements(&[Stack::Usernetes]), &edge());
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [("pasta", Verdict::Met), (KEY, Verdict::Unmet)]);
        let Setting::Engine { table, key, value, .. } = &findings(&outcome)[1].remedy.settings[0] else {
            panic!("{outcome:?}");
        };
        assert_eq!((*table, key.as_str(), value.as_str()), ("network", KEY, "\"slirp4netns\""));
        assert_eq!(verdicts(&look_at(set(fixture("debian-13"), "slirp4netns")))[1], (KEY, Verdict::Met));
        assert_eq!(verdicts(&look_at(version("4.3.1+ds1-8")))[1], (KEY, Verdict::Met));
        assert_eq!(verdicts(&look_at(version("6.0.0-1")))[1], (KEY, Verdict::Unmet));
        assert_eq!(unknown(&look_at(set(rpm(), "slirp4netns"))).len(), 2, "it may be Podman 6");
    }
}
