//! Whether Podman can read what it is configured with: see [`PODMAN_CONFIGURATION`].

use crate::checks::{check, install, of_podman};
use crate::facts::containers_conf::ContainersConf;
use crate::facts::image_policy::{self, ImagePolicy, SYSTEM_PATH};
use crate::facts::podman::Podman;
use crate::facts::toml_keys::Scalar;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent, Unread};
use crate::requirements::{Need, Requirements};

check! {
    /// Podman can read what it needs for images
    ///
    /// ## What is looked at
    ///
    /// For the user, in the order in which Podman looks:
    ///
    /// - `containers.conf` with its drop-ins: whether Podman can parse it.
    /// - `registries.conf` with its drop-ins: likewise, and whether the formats of version 1 and 2 are
    ///   mixed, in one file or in a drop-in.
    /// - `policy.json`: whether there is one, in `~/.config/containers` or `/etc/containers`, and
    ///   whether it has a list `default` with something in it. Some distributions build Podman to look
    ///   for it elsewhere; where there is only one in `/usr/share/containers`, it is unknown.
    /// - With Podman 6, `bolt_state.db` in the storage, the database that earlier versions kept.
    ///
    /// ## Why it matters
    ///
    /// With a `containers.conf` that it cannot parse, no command of Podman works: "Failed to obtain
    /// podman configuration". With such a `registries.conf` no image is pulled: "loading registries
    /// configuration". Without `policy.json` none is pulled, loaded or built: "open
    /// /etc/containers/policy.json: no such file or directory". It comes with a package that minimal
    /// systems, and Podman from other places than the distribution, can lack. Podman 6 takes an old
    /// database over at its first command after a boot, and stops at it until then: "a BoltDB database
    /// exists but is no longer being used".
    ///
    /// ## Repair
    ///
    /// Correct the line, which the evidence names. `policy.json` is in the package containers-common,
    /// with Debian and Ubuntu in golang-github-containers-common; the one that distributions have takes
    /// images from everywhere. After an upgrade to Podman 6, a reboot.
    ///
    /// ## Sources
    ///
    /// - containers-policy.json(5), containers-registries.conf(5), containers.conf(5)
    /// - containers/image: signature/policy_config.go, pkg/sysregistriesv2/system_registries_v2.go
    /// - podman: cmd/podman/registry/config.go, libpod/runtime.go, `getDBState`; podman issue 23852
    PODMAN_CONFIGURATION, "podman-configuration", Required, User(run)
}

const DATABASE: &str = "bolt_state.db";
/// The policy that distributions have: images from everywhere.
const ANYTHING: &str = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::PodmanConfiguration);
    of_podman(facts, user, demands, |podman, outcome| {
        let containers = facts.containers_conf(user);
        let database = containers.as_ref().map_or(Ok(None), |conf| database(facts, user, podman, conf));
        let containers = well_formed("containers.conf", containers.map(|conf| conf.files.clone()));
        let registries = facts.registries_conf(user).map(|conf| conf.files.clone());
        let looked = [
            ("containers.conf", containers.map(Some)),
            ("registries.conf", well_formed("registries.conf", registries).map(Some)),
            ("policy.json", policy(facts, user).map(Some)),
            (DATABASE, database),
        ];
        for (subject, looked) in looked {
            match looked {
                Ok(Some(finding)) => outcome.add_all(demands, &finding),
                Ok(None) => {}
                Err(why) => outcome.unknown_all(demands, subject, &why),
            }
        }
        Ok(())
    })
}

fn well_formed(subject: &str, read: Fact<Vec<String>>) -> Fact<Finding> {
    let finding = |found: String, verdict| Finding::new(subject, "well formed", found, verdict);
    match read {
        Ok(files) => {
            let at = match files.last() {
                Some(file) => Evidence::path(file, ""),
                None => Evidence::path(&format!("/etc/containers/{subject}"), "does not exist"),
            };
            let found = if files.is_empty() { "absent, for which there are defaults" } else { "well formed" };
            Ok(finding(found.to_owned(), Verdict::Met).at([at]))
        }
        Err(Unread::Malformed { path, line, expected }) => {
            let at = match line {
                Some(line) => Evidence::line(&path, line, &expected),
                None => Evidence::path(&path, &expected),
            };
            let remedy = Remedy::manual(format!("correct {at}: {expected}"));
            Ok(finding(expected, Verdict::Unmet).at([at]).repair(remedy))
        }
        Err(why) => Err(why),
    }
}

/// Podman 6 takes over a database of BoltDB when it first runs after a boot, and stops at one until then.
fn database(facts: &Facts, user: &User, podman: &Podman, conf: &ContainersConf) -> Fact<Option<Finding>> {
    if podman.is_at_least(6) != Some(true) {
        return Ok(None);
    }
    let finding = |found: &str, verdict| Finding::new(DATABASE, "SQLite", found, verdict);
    let set = conf.scalars.get(&("engine".to_owned(), "database_backend".to_owned()));
    if let Some(set) = set.filter(|set| set.value == Scalar::Text("boltdb".to_owned())) {
        let remedy = Remedy::manual(format!("take database_backend out of {}", set.at));
        return Ok(Some(finding("boltdb", Verdict::Unmet).at([set.at.clone()]).repair(remedy)));
    }
    let path = format!("{}/libpod/{DATABASE}", facts.storage_conf(user)?.graphroot.trim_end_matches('/'));
    if facts.stat(&path).or_absent()?.is_none() {
        return Ok(None);
    }
    let at = Evidence::path(&path, "exists");
    let alive = format!("/run/user/{}/libpod/tmp/alive", user.uid);
    Ok(Some(if facts.running() && facts.stat(&alive).or_absent()?.is_some() {
        let remedy = Remedy::manual("reboot: the first command after that takes the database over")
            .command("sudo systemctl reboot");
        let ran = Evidence::path(&alive, "Podman ran since the last boot");
        finding("BoltDB", Verdict::Pending(Needs::Reboot)).at([at, ran]).repair(remedy)
    } else {
        finding("BoltDB, which the next command takes over", Verdict::Met).at([at])
    }))
}

fn policy(facts: &Facts, user: &User) -> Fact<Finding> {
    let finding = |found: &str, verdict| Finding::new("policy.json", "a policy for images", found, verdict);
    Ok(match facts.image_policy(user)? {
        ImagePolicy::Found(kind) => finding(&kind.value, Verdict::Met).at([kind.at]),
        ImagePolicy::Refused(why) => {
            let remedy = Remedy::manual(format!("correct {}: {}", why.at, why.value));
            finding(&why.value, Verdict::Unmet).at([why.at]).repair(remedy)
        }
        ImagePolicy::Absent => {
            let (sudo, root) = if facts.running() { ("sudo ", "") } else { ("", "$ROOT") };
            let packaged = install(facts, &["policy.json"]).summary;
            let remedy = Remedy::manual(format!("{packaged}, or write the file that it has"))
                .command(format!("echo '{ANYTHING}' | {sudo}tee {root}{SYSTEM_PATH}"));
            finding("absent", Verdict::Unmet).at([image_policy::absent()]).repair(remedy)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    /// As golang-github-containers-common 0.62 of Debian 13 has it.
    const DEBIAN: &str = "{\n    \"default\": [\n        {\n            \"type\": \"insecureAcceptAnything\"\n        }\n    ]\n}\n";
    const REGISTRIES: &str = "/etc/containers/registries.conf";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    fn debian() -> TestHost {
        fixture("debian-13").file(SYSTEM_PATH, DEBIAN).file(REGISTRIES, "# as Debian has it\n")
    }

    fn three(conf: Verdict, registries: Verdict, policy: Verdict) -> [(&'static str, Verdict); 3] {
        [("containers.conf", conf), ("registries.conf", registries), ("policy.json", policy)]
    }

    #[test]
    fn as_debian_has_them() {
        let outcome = look_at(debian());
        assert_eq!(verdicts(&outcome), three(Verdict::Met, Verdict::Met, Verdict::Met));
        assert!(outcome.items.iter().all(|item| item.level == Level::Required));
        assert_eq!(findings(&outcome)[2].evidence[0].to_string(), format!("{SYSTEM_PATH}:2"));
    }

    #[test]
    fn without_a_policy_no_image_is_pulled() {
        let outcome = look_at(debian().without(SYSTEM_PATH));
        assert_eq!(verdicts(&outcome), three(Verdict::Met, Verdict::Met, Verdict::Unmet));
        let policy = findings(&outcome)[2];
        assert_eq!(
            (policy.found.as_str(), policy.evidence[0].to_string()),
            ("absent", SYSTEM_PATH.to_owned())
        );
        let command = format!("echo '{ANYTHING}' | sudo tee {SYSTEM_PATH}");
        assert_eq!(policy.remedy.commands, [command]);
        let repaired = debian().file(SYSTEM_PATH, ANYTHING);
        assert_eq!(verdicts(&look_at(repaired))[2].1, Verdict::Met);
        let image = look_at(debian().without(SYSTEM_PATH).image());
        assert!(findings(&image)[2].remedy.commands[0].ends_with(&format!("tee $ROOT{SYSTEM_PATH}")));
    }

    #[test]
    fn what_podman_cannot_parse() {
        let outcome = look_at(debian().file(REGISTRIES, "[[registry]]\nlocation = docker.io\n"));
        assert_eq!(verdicts(&outcome), three(Verdict::Met, Verdict::Unmet, Verdict::Met));
        assert_eq!(findings(&outcome)[1].evidence[0].to_string(), format!("{REGISTRIES}:2"));
        let own = "/home/edge/.config/containers/containers.conf";
        let outcome = look_at(debian().file(own, "[containers\n"));
        assert_eq!(verdicts(&outcome), three(Verdict::Unmet, Verdict::Met, Verdict::Met));
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{own}:1"));
        let outcome = look_at(debian().file(SYSTEM_PATH, "{}\n"));
        assert_eq!(verdicts(&outcome), three(Verdict::Met, Verdict::Met, Verdict::Unmet));
        assert_eq!(findings(&outcome)[2].found, "no list \"default\"");
    }

    #[test]
    fn podman_6_takes_an_old_database_over_after_a_boot() {
        let path = "/home/edge/.local/share/containers/storage/libpod/bolt_state.db";
        let alive = "/run/user/1000/libpod/tmp/alive";
        let status = "/var/lib/dpkg/status";
        let five = || debian().file(path, "").without(alive);
        let six = || five().edit(status, "Version: 5.4.2+ds1-2+b2", "Version: 6.0.0+ds1-1");
        assert_eq!(look_at(five().file(alive, "")).items.len(), 3);
        assert_eq!(look_at(six().without(path)).items.len(), 3);
        let last = |host: TestHost| {
            let outcome = look_at(host);
            let finding = (*findings(&outcome).last().unwrap()).clone();
            (finding.subject, finding.verdict, finding.evidence[0].to_string())
        };
        let found = |verdict, at: &str| (DATABASE.to_owned(), verdict, at.to_owned());
        assert_eq!(last(six()), found(Verdict::Met, path));
        assert_eq!(last(six().file(alive, "")), found(Verdict::Pending(Needs::Reboot), path));
        let conf = "/etc/containers/containers.conf";
        let set = six().file(conf, "[engine]\ndatabase_backend = \"boltdb\"\n");
        assert_eq!(last(set), found(Verdict::Unmet, &format!("{conf}:2")));
    }

    #[test]
    fn unknown_and_skipped() {
        let denied = look_at(debian().error(REGISTRIES, "denied"));
        assert_eq!(unknown(&denied), [format!("{REGISTRIES} is not readable as this user")]);
        assert_eq!(denied.items[1].level, Level::Required);
        let vendor = debian().without(SYSTEM_PATH).file("/usr/share/containers/policy.json", DEBIAN);
        assert_eq!(unknown(&look_at(vendor)).len(), 1);
        assert!(look_at(debian().without("/usr/bin/podman")).skipped.is_some());
        assert!(run(&debian().facts(), &requirements(&[Stack::K3s]), &edge()).skipped.is_some());
    }
}
