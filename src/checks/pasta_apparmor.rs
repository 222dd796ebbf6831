//! Whether AppArmor lets pasta do what Podman asks of it: see [`PASTA_APPARMOR`].

use crate::checks::{check, of_podman, rootless_network};
use crate::facts::apparmor::{Attachment, Confinement};
use crate::facts::podman::Podman;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent};
use crate::requirements::{Need, Requirements};
use crate::settings::quoted;

check! {
    /// AppArmor lets pasta connect containers
    ///
    /// ## What is looked at
    ///
    /// Where AppArmor is on and a profile confines pasta, by its path with links followed: whether the
    /// profile, with what it includes, has a rule for the runtime directory, `/run/user/UID`; whether
    /// Podman's `runroot` is in there; and where Podman has a profile of its own, whether pasta may
    /// receive signals from it. The rules are searched for, not evaluated: one that names /run at all, or
    /// any file, passes. Where Podman makes networks with slirp4netns, this does not apply.
    ///
    /// ## Why it matters
    ///
    /// Where pasta is a link to passt, the kernel takes passt's profile, which is made for virtual
    /// machines, and no container has a network: "Couldn't open network namespace: Permission denied".
    /// So it is with a `runroot` in /var/tmp. Without the rule for signals, which Ubuntu's profiles of
    /// 25.10 lack, containers on networks that users define cannot be removed: "rootless netns: kill
    /// network process: permission denied".
    ///
    /// ## Repair
    ///
    /// A newer passt, whose package has a profile for pasta; the rule in the file of that profile,
    /// loaded with `apparmor_parser -r`; or a `runroot` below the runtime directory, which is Podman's
    /// default.
    ///
    /// ## Sources
    ///
    /// - passt: contrib/apparmor/usr.bin.passt, usr.bin.pasta, abstractions/pasta
    /// - podman: issues 22625, 22681, 22937 and 27372; Debian: bug 1100135
    /// - apparmor.d(5), "Signal rules"
    PASTA_APPARMOR, "pasta-apparmor", Required, User(run)
}

const PASTA: &str = "pasta";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::PastaConfinement);
    if !demands.is_empty() && !facts.running() {
        return Outcome::skip("whether AppArmor is on is decided at boot");
    }
    let mut reason = None;
    let outcome = of_podman(facts, user, demands, |podman, outcome| {
        match look(facts, user, podman)? {
            Ok(Ok(found)) => {
                let chosen = rootless_network::chosen(facts, podman, user)?.program.is_some();
                for demand in demands {
                    let some = demand.advised("networks of containers do not come or go as they should");
                    outcome.add(if chosen { demand } else { &some }, found.runtime_directory.clone());
                    found.others.iter().for_each(|finding| outcome.add(&some, finding.clone()));
                }
            }
            Ok(Err(why)) => reason = Some(why),
            Err(why) => outcome.unknown_all(demands, PASTA, &why),
        }
        Ok(())
    });
    outcome.or_skip(reason.unwrap_or("nothing confines pasta"))
}

struct Found {
    /// Without it nothing with a network starts.
    runtime_directory: Finding,
    others: Vec<Finding>,
}

/// What was found, or why there is nothing to find; or why that cannot be told.
type Looked = Result<Result<Found, &'static str>, String>;

fn look(facts: &Facts, user: &User, podman: &Podman) -> Fact<Looked> {
    if !facts.apparmor_enabled()? {
        return Ok(Ok(Err("AppArmor is off")));
    }
    let chosen = rootless_network::chosen(facts, podman, user)?.program;
    if chosen.as_deref().is_some_and(|name| name != PASTA) {
        return Ok(Ok(Err("Podman makes networks without pasta")));
    }
    let Some(pasta) = facts.helper_program(PASTA, user)? else {
        return Ok(Ok(Err("pasta is not installed: see rootless-network")));
    };
    let loaded = facts.apparmor_loaded()?;
    if loaded.modes.is_empty() {
        return Ok(Ok(Err("no AppArmor profile is loaded")));
    }
    let path = facts.real_path(&pasta.path)?;
    let confinement = match facts.apparmor_confinement(&path).or_absent()? {
        None | Some(Ok(None)) => return Ok(Ok(Err("no AppArmor profile confines pasta"))),
        Some(Ok(Some(confinement))) => confinement,
        Some(Err(why)) => return Ok(Err(why)),
    };
    match loaded.modes.get(&confinement.profile) {
        Some(mode) if mode.value == "enforce" => {}
        Some(_) | None => return Ok(Ok(Err("the AppArmor profile of pasta is not enforced"))),
    }
    let mut others = vec![runroot(facts, user, &confinement)?];
    match podman_profile(facts, podman)? {
        Ok(Some(peer)) => others.push(signals(&path, &peer, &confinement)),
        Ok(None) => {}
        Err(why) => return Ok(Err(why)),
    }
    Ok(Ok(Ok(Found { runtime_directory: runtime_directory(&path, &confinement), others })))
}

fn runtime_directory(path: &str, confinement: &Confinement) -> Finding {
    let anywhere = ["file,", "/**", "/{,**}", "/{**,}"];
    let allows = |rule: &String| {
        let rule =
            rule.trim_start_matches("audit ").trim_start_matches("allow ").trim_start_matches("owner ");
        !rule.starts_with("deny")
            && (["@{run}/", "/run/"].iter().any(|place| rule.contains(place))
                || anywhere.iter().any(|start| rule.starts_with(start)))
    };
    let met = confinement.rules.iter().any(allows);
    let found = match met {
        true => format!("profile {} has rules for it", confinement.profile),
        false => format!("profile {} has no rule for it", confinement.profile),
    };
    let remedy = Remedy::manual(format!(
        "install a newer passt, whose pasta is a file of its own with its own profile; until then \
         apparmor_parser -R {} takes this one out of the kernel, up to the next boot",
        quoted(&confinement.at.path)
    ));
    Finding::new(path, "an AppArmor profile with rules for /run/user", found, Verdict::met_if(met))
        .at([confinement.at.clone()])
        .repair(remedy)
}

fn runroot(facts: &Facts, user: &User, confinement: &Confinement) -> Fact<Finding> {
    let conf = facts.storage_conf(user)?;
    let runtime = format!("/run/user/{}", user.uid);
    let below = conf.runroot.strip_prefix(&runtime).is_some_and(|rest| rest.starts_with('/'));
    let allowed = |rule: &String| rule.contains(conf.runroot.trim_end_matches('/'));
    let met = below || confinement.rules.iter().any(allowed);
    let at = match &conf.runroot_key {
        Some(key) => key.at.clone(),
        None => Evidence::path("/etc/containers/storage.conf", "no runroot for rootless users"),
    };
    let remedy = Remedy::manual(format!(
        "take runroot out of {at}; a storage that exists keeps it until {} runs podman system reset, which \
         removes all containers, images and volumes there",
        user.name
    ));
    let finding = Finding::new("runroot", format!("below {runtime}"), &conf.runroot, Verdict::met_if(met));
    Ok(finding.at([at, confinement.at.clone()]).repair(remedy))
}

/// The label that Podman has, if AppArmor gives it one.
fn podman_profile(facts: &Facts, podman: &Podman) -> Fact<Result<Option<String>, String>> {
    let path = facts.real_path(&podman.program.path)?;
    let attachment = facts.apparmor_attachment(&path)?;
    let loaded = facts.apparmor_loaded()?;
    Ok(match &*attachment {
        Attachment::None => Ok(None),
        Attachment::Profile(attached) => {
            Ok(Some(attached.profile.clone()).filter(|name| loaded.modes.contains_key(name)))
        }
        Attachment::Unknown(why) => Err(why.clone()),
    })
}

fn signals(path: &str, peer: &str, confinement: &Confinement) -> Finding {
    let met = confinement.rules.iter().any(|rule| receives_from(rule, peer));
    let expected = format!("may receive signals from {peer}");
    let found = if met { expected.clone() } else { format!("may not receive signals from {peer}") };
    let file = quoted(&confinement.at.path);
    let remedy = Remedy::manual(format!("add \"signal (receive) peer={peer},\" to the profile in {file}"))
        .command(format!("sudo sed -i 's|^}}|  signal (receive) peer={peer},\\n}}|' {file}"))
        .command(format!("sudo apparmor_parser -r {file}"));
    Finding::new(path, expected, found, Verdict::met_if(met)).at([confinement.at.clone()]).repair(remedy)
}

/// Whether a rule lets a program receive signals from a profile: `signal,`, `signal (receive) peer=podman,`.
fn receives_from(rule: &str, peer: &str) -> bool {
    let rule = rule.trim_start_matches("audit ").trim_start_matches("allow ").trim_end_matches(',');
    let Some(rest) = rule.strip_prefix("signal") else { return false };
    if !rest.is_empty() && !rest.starts_with([' ', '\t', '(']) {
        return false;
    }
    let access = rest.split("peer=").next().unwrap_or_default();
    let receives = !access.contains('(') || access.contains("receive") || access.contains("rw");
    let from = rest.split_once("peer=").map(|(_, from)| from.trim().trim_matches('"'));
    receives && from.is_none_or(|from| from == peer || from.contains('*') || from.contains('{'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const DIR: &str = "/etc/apparmor.d";
    const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    /// The profiles of passt 2025_06_11 (contrib/apparmor), shortened, on a Debian 13.
    fn with(pasta: &str, abstraction: &str) -> TestHost {
        fixture("debian-13")
            .file("/sys/module/apparmor/parameters/enabled", "Y\n")
            .file(LOADED, "passt (enforce)\npasta (enforce)\npodman (unconfined)\n")
            .file(
                &format!("{DIR}/usr.bin.passt"),
                "abi <abi/3.0>,\nprofile passt /usr/bin/passt{,.avx2} {\n  owner /tmp/** w, # pcap()\n}\n",
            )
            .file(&format!("{DIR}/usr.bin.pasta"), pasta)
            .file(&format!("{DIR}/abstractions/pasta"), abstraction)
            .without(&format!("{DIR}/podman"))
    }

    const PROFILE: &str = "\
abi <abi/3.0>,
profile pasta /usr/bin/pasta{,.avx2} flags=(attach_disconnected) {
  include <abstractions/pasta>
}
";
    const ABSTRACTION: &str = "  @{run}/user/@{uid}/** rw, # pasta_open_ns(), main()\n";
    /// As Ubuntu ships it.
    const PODMAN: &str =
        "abi <abi/4.0>,\nprofile podman /usr/bin/podman flags=(unconfined) {\n  userns,\n}\n";

    fn own() -> TestHost {
        with(PROFILE, ABSTRACTION).file("/usr/bin/pasta", "").mode("/usr/bin/pasta", "0755")
    }

    #[test]
    fn a_profile_of_its_own() {
        let outcome = look_at(own());
        assert_eq!(verdicts(&outcome), [("/usr/bin/pasta", Verdict::Met), ("runroot", Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{DIR}/usr.bin.pasta:2"));
    }

    #[test]
    fn a_profile_without_the_runtime_directory() {
        let outcome = look_at(with("", "").file("/usr/bin/pasta", "").mode("/usr/bin/pasta", "0755").file(
            &format!("{DIR}/usr.bin.passt"),
            "abi <abi/3.0>,\nprofile passt /usr/bin/{passt,pasta} {\n  owner /tmp/** w, # /run/user\n}\n",
        ));
        let finding = findings(&outcome)[0];
        assert_eq!(
            (finding.verdict, finding.found.as_str()),
            (Verdict::Unmet, "profile passt has no rule for it")
        );
        assert_eq!(finding.evidence[0].to_string(), format!("{DIR}/usr.bin.passt:2"));
        assert_eq!(outcome.items[0].level, Level::Required);
        assert_eq!(outcome.items[1].level, Level::Advised);
        for rule in ["file,", "owner /** rw,", "@{run}/** rw,"] {
            let broad = with(&PROFILE.replace("include <abstractions/pasta>", rule), "");
            let broad = broad.file("/usr/bin/pasta", "").mode("/usr/bin/pasta", "0755");
            assert_eq!(verdicts(&look_at(broad))[0].1, Verdict::Met, "{rule}");
        }
    }

    #[test]
    fn a_run_root_elsewhere() {
        let conf = "/home/edge/.config/containers/storage.conf";
        let outcome = look_at(own().file(conf, "[storage]\nrunroot = \"/var/tmp/run\"\n"));
        let finding = findings(&outcome)[1];
        assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Unmet, "/var/tmp/run"));
        assert_eq!(finding.evidence[0].to_string(), format!("{conf}:2"));
    }

    #[test]
    fn signals_of_a_podman_with_a_profile() {
        let outcome = look_at(own().file(&format!("{DIR}/podman"), PODMAN));
        let finding = findings(&outcome)[2];
        assert_eq!(
            (finding.verdict, finding.found.as_str()),
            (Verdict::Unmet, "may not receive signals from podman")
        );
        let repaired = own().file(&format!("{DIR}/podman"), PODMAN).file(
            &format!("{DIR}/abstractions/pasta"),
            format!("{ABSTRACTION}  signal (receive) peer=podman,\n"),
        );
        assert_eq!(verdicts(&look_at(repaired))[2].1, Verdict::Met);
        for (rule, allowed) in [
            ("signal,", true),
            ("signal (receive),", true),
            ("signal (receive) peer=podman,", true),
            ("allow signal (send, receive) peer=@{p_podman},", true),
            ("signal (receive) peer=unconfined,", false),
            ("signal (send) peer=podman,", false),
            ("signalfd,", false),
            ("deny signal,", false),
        ] {
            assert_eq!(receives_from(rule, "podman"), allowed, "{rule}");
        }
    }

    #[test]
    fn nothing_to_look_at() {
        let off = own().file("/sys/module/apparmor/parameters/enabled", "N\n");
        assert_eq!(look_at(off).skipped.unwrap(), "AppArmor is off");
        let slirp = "[network]\ndefault_rootless_network_cmd = \"slirp4netns\"\n";
        let without = look_at(own().file("/etc/containers/containers.conf", slirp));
        assert_eq!(without.skipped.unwrap(), "Podman makes networks without pasta");
        let unloaded = own().file(LOADED, "podman (unconfined)\n");
        assert!(look_at(unloaded).skipped.unwrap().contains("not enforced"));
        let without_abstractions = own().file(LOADED, "").without(&format!("{DIR}/abstractions"));
        assert_eq!(look_at(without_abstractions).skipped.unwrap(), "no AppArmor profile is loaded");
        assert!(look_at(own().file(&format!("{DIR}/usr.bin.pasta"), "")).skipped.is_some());
        assert!(look_at(own().image()).skipped.is_some());
        assert!(run(&own().facts(), &Requirements::default(), &edge()).skipped.is_some());
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        assert_eq!(unknown(&look_at(own().error(&format!("{DIR}/abstractions/pasta"), "denied"))).len(), 1);
        assert_eq!(unknown(&look_at(own().error(LOADED, "denied"))).len(), 1);
    }
}
