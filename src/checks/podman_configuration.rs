//! Whether Podman can read what it is configured with: see [`PODMAN_CONFIGURATION`].

use crate::checks::{check, install, of_podman};
use crate::facts::containers_conf::ContainersConf;
use crate::facts::image_policy::{self, ImagePolicy, SYSTEM_PATH};
use crate::facts::podman::Podman;
use crate::facts::storage_conf::StorageConf;
use crate::facts::toml_keys::Scalar;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, Sourced};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::{Fact, Kind, OrAbsent, Unread};
use crate::profile::packages::{Package, package};
use crate::requirements::{Demand, Need, Requirements};

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
    /// - `storage.conf`: whether the user can write where `graphroot` and `runroot` are put, if they are.
    ///   Up to Podman 5 those of the system's file are not for users, from Podman 6 on they are.
    /// - With Podman 6, `bolt_state.db`, the database that earlier versions kept, and
    ///   `database_backend`. Where the version of Podman is not known, and there is one: unknown.
    ///
    /// ## Why it matters
    ///
    /// With a `containers.conf` that it cannot parse, no command of Podman works: "Failed to obtain
    /// podman configuration". With such a `registries.conf` no image is pulled: "loading registries
    /// configuration". Without `policy.json` none is pulled, loaded or built: "open
    /// /etc/containers/policy.json: no such file or directory". It comes with a package that minimal
    /// systems, and Podman from other places than the distribution, can lack.
    ///
    /// The storage.conf that was shipped up to containers-storage 1.59 names the directories of root. A
    /// copy of it in /etc does nothing to users of Podman 5 and stops every command of Podman 6.
    ///
    /// Podman 6 takes an old database over at its first command after a boot, and stops at it until
    /// then: "a BoltDB database exists but is no longer being used".
    ///
    /// ## Repair
    ///
    /// Correct the line, which the evidence names. `policy.json` is in the package containers-common,
    /// with Debian and Ubuntu in golang-github-containers-common, with SUSE in libcontainers-common; the
    /// one that distributions have takes images from everywhere. edgeprep does not write it: whose images
    /// are trusted is for the distribution to say, or for whoever took the file away, and a policy that
    /// takes everything could be the end of a stricter one. A package manager takes a configuration file
    /// that is gone to be gone on purpose; the command has it bring the file back. After an upgrade to
    /// Podman 6, a reboot, or `podman system migrate --migrate-db` while nothing else of Podman runs.
    ///
    /// ## Sources
    ///
    /// - containers-policy.json(5), containers-registries.conf(5), containers.conf(5)
    /// - containers/image: signature/policy_config.go, pkg/sysregistriesv2/system_registries_v2.go
    /// - container-libs: storage/types/options.go, `LoadStoreOptions`; storage/pkg/configfile/parse.go
    /// - podman: cmd/podman/registry/config.go; libpod/runtime.go, `getDBState` and `mergeDBConfig`;
    ///   libpod/runtime_migrate.go, `getBoltDBPath`; podman issue 23852
    PODMAN_CONFIGURATION, "podman-configuration", Required, User(run)
}

const DATABASE: &str = "bolt_state.db";
const POLICY: &str = "policy.json";
/// Podman's database from version 4.8 on, in the storage.
const SQLITE: &str = "db.sql";
const STORAGE: &str = "storage.conf";
/// Root's directories, which no image can give to a user.
const OF_ROOT: [&str; 2] = ["/var/lib/containers/storage", "/run/containers/storage"];
const WHY_ADVISED: &str = "Podman 6 takes it over after a boot, and stops at it until then";
/// The policy that distributions have: images from everywhere.
const ANYTHING: &str = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::PodmanConfiguration);
    of_podman(facts, user, demands, |podman, outcome| {
        let containers = facts.containers_conf(user);
        let storage = facts.storage_conf(user);
        let places = containers.as_ref().ok().zip(storage.as_ref().ok());
        let places = places.map(|(conf, storage)| Places::new(conf, storage, user));
        let database = places.as_ref().map_or(Ok(None), |places| database(facts, podman, places));
        match storage.as_ref().map_err(Clone::clone).map(|storage| (storage, &places)) {
            Ok((storage, Some(places))) => add_storage(facts, user, demands, storage, places, outcome),
            Ok((_, None)) => {}
            Err(why) => outcome.unknown_all(demands, STORAGE, &why),
        }
        let containers = well_formed("containers.conf", containers.map(|conf| conf.files.clone()));
        let registries = facts.registries_conf(user).map(|conf| conf.files.clone());
        let looked = [
            ("containers.conf", containers.map(Some)),
            ("registries.conf", well_formed("registries.conf", registries).map(Some)),
            (POLICY, policy(facts, user).map(Some)),
        ];
        for (subject, looked) in looked {
            match looked {
                Ok(Some(finding)) => outcome.add_all(demands, &finding),
                Ok(None) => {}
                Err(why) => outcome.unknown_all(demands, subject, &why),
            }
        }
        match database {
            Ok(Some(finding)) => outcome.add_all(demands, &finding),
            Ok(None) => {}
            Err(why) if podman.is_at_least(6).is_none() => {
                for demand in demands {
                    outcome.unknown(&demand.advised(WHY_ADVISED), DATABASE, &why);
                }
            }
            Err(why) => outcome.unknown_all(demands, DATABASE, &why),
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

/// Where Podman keeps its own state.
struct Places {
    backend: Option<Sourced<Scalar>>,
    bolt: String,
    sqlite: String,
    /// There once Podman ran since the last boot.
    alive: String,
}

impl Places {
    fn new(conf: &ContainersConf, storage: &StorageConf, user: &User) -> Places {
        let engine = |name: &str| conf.scalars.get(&("engine".to_owned(), name.to_owned()));
        let dir = |name, default: String| match engine(name).map(|set| &set.value) {
            Some(Scalar::Text(dir)) if !dir.is_empty() => dir.trim_end_matches('/').to_owned(),
            _ => default,
        };
        let graphroot = storage.graphroot.trim_end_matches('/');
        let tmp_dir = dir("tmp_dir", format!("/run/user/{}/libpod/tmp", user.uid));
        let static_dir = dir("static_dir", format!("{graphroot}/libpod"));
        Places {
            backend: engine("database_backend").cloned(),
            bolt: format!("{}/{DATABASE}", if storage.is_transient { &tmp_dir } else { &static_dir }),
            sqlite: format!("{graphroot}/{SQLITE}"),
            alive: format!("{tmp_dir}/alive"),
        }
    }
}

/// Whether the user can write where storage.conf puts the storage.
fn add_storage(
    facts: &Facts,
    user: &User,
    demands: &[Demand],
    storage: &StorageConf,
    places: &Places,
    outcome: &mut Outcome,
) {
    let mut graphroot_is_closed = false;
    for (name, path, key) in [
        ("graphroot", &storage.graphroot, &storage.graphroot_key),
        ("runroot", &storage.runroot, &storage.runroot_key),
    ] {
        let Some(key) = key else { continue };
        let looked = closed(facts, user, path).and_then(|closed| {
            graphroot_is_closed |= name == "graphroot" && closed.is_some();
            // A storage that was made before keeps its own runroot.
            let kept = name == "runroot" && closed.is_some() && !graphroot_is_closed;
            for database in [&places.sqlite, &places.bolt].into_iter().filter(|_| kept) {
                if facts.stat(database).or_absent()?.is_some() {
                    let expected = format!("Podman's database may name another runroot than {}", key.at);
                    return Err(Unread::Malformed { path: database.clone(), line: None, expected });
                }
            }
            Ok(closed)
        });
        match looked {
            Ok(None) => {}
            Ok(Some(at)) => {
                let remedy = Remedy::manual(format!(
                    "take it out of {}: the default is a directory of the user's",
                    key.at
                ));
                let expected = format!("a {name} that {} can write", user.name);
                let finding = Finding::new(STORAGE, expected, path, Verdict::Unmet);
                outcome.add_all(demands, &finding.at([key.at.clone(), at]).repair(remedy));
            }
            Err(why) => outcome.unknown_all(demands, STORAGE, &why),
        }
    }
}

/// What shows that the user cannot write in a directory, nor make it.
fn closed(facts: &Facts, user: &User, path: &str) -> Fact<Option<Evidence>> {
    if !path.starts_with('/') || path.contains('$') {
        return Ok(None);
    }
    if !facts.running() {
        let of_root = OF_ROOT.contains(&path.trim_end_matches('/'));
        return Ok(of_root.then(|| Evidence::path(path, "a directory of root's")));
    }
    let place = match facts.storage_place(path) {
        Err(Unread::Denied { path }) if facts.caller().uid == user.uid => {
            return Ok(Some(Evidence::path(&path, "closed to the user")));
        }
        place => place?,
    };
    let Some((existing, stat)) = &place.existing else { return Ok(None) };
    let is_open = stat.kind == Kind::Dir && stat.allows(user.uid, &user.groups, 0o3);
    let shown = format!("mode {:04o}, owner {}:{}", stat.mode, stat.uid, stat.gid);
    Ok((!is_open).then(|| Evidence::path(existing, shown)))
}

/// Podman 6 takes over a database of BoltDB when it first runs after a boot, and stops at one until then.
fn database(facts: &Facts, podman: &Podman, places: &Places) -> Fact<Option<Finding>> {
    let is_6 = podman.is_at_least(6);
    if is_6 == Some(false) {
        return Ok(None);
    }
    let finding = |found: &str, verdict| Finding::new(DATABASE, "SQLite", found, verdict);
    let set = places.backend.as_ref();
    if let Some(set) = set.filter(|set| set.value == Scalar::Text("boltdb".to_owned())) {
        if is_6.is_none() {
            return Err(podman.unknown());
        }
        let remedy = Remedy::manual(format!(
            "take database_backend out of {}, then reboot: the first command after that takes the database over",
            set.at
        ));
        return Ok(Some(finding("boltdb", Verdict::Unmet).at([set.at.clone()]).repair(remedy)));
    }
    if facts.stat(&places.bolt).or_absent()?.is_none() {
        return Ok(None);
    }
    if is_6.is_none() {
        return Err(podman.unknown());
    }
    let at = Evidence::path(&places.bolt, "exists");
    Ok(Some(if facts.running() && facts.stat(&places.alive).or_absent()?.is_some() {
        let remedy = Remedy::manual(
            "reboot: the first command after that takes the database over; without a reboot, and only while no \
             other process of Podman runs, \"podman system migrate --migrate-db\" does",
        )
        .command("sudo systemctl reboot");
        let ran = Evidence::path(&places.alive, "Podman ran since the last boot");
        finding("BoltDB", Verdict::Pending(Needs::Reboot)).at([at, ran]).repair(remedy)
    } else {
        finding("BoltDB, which the next command takes over", Verdict::Met).at([at])
    }))
}

fn policy(facts: &Facts, user: &User) -> Fact<Finding> {
    let finding = |found: &str, verdict| Finding::new(POLICY, "a policy for images", found, verdict);
    Ok(match facts.image_policy(user)? {
        ImagePolicy::Found(kind) => finding(&kind.value, Verdict::Met).at([kind.at]),
        ImagePolicy::Refused(why) => {
            let remedy = Remedy::manual(format!("correct {}: {}", why.at, why.value));
            finding(&why.value, Verdict::Unmet).at([why.at]).repair(remedy)
        }
        ImagePolicy::Absent => {
            finding("absent", Verdict::Unmet).at([image_policy::absent()]).repair(bring_policy(facts))
        }
    })
}

/// The distribution's own policy, by the package that has it.
fn bring_policy(facts: &Facts) -> Remedy {
    let (sudo, root) = if facts.running() { ("sudo ", "") } else { ("", "$ROOT") };
    let family = facts.package_family().ok().flatten();
    let named = match family.and_then(|family| package(POLICY, family)) {
        Some(Package::Named(name)) => {
            facts.package(&[name]).ok().map(|installed| (name, installed.is_some()))
        }
        Some(Package::Without(_)) | None => None,
    };
    match named {
        Some((_, false)) => install(facts, &[POLICY]),
        // dpkg leaves out a configuration file that somebody removed (dpkg(1), "--force-confmiss").
        Some((name, true)) if family == Some("debian") => {
            let chroot = if facts.running() { "sudo" } else { "chroot $ROOT" };
            let again = "apt install --reinstall -o Dpkg::Options::=--force-confmiss";
            Remedy::manual(format!("have {name} bring back its policy for images, or write another"))
                .command(format!("{chroot} {again} {name}"))
        }
        Some((_, true)) | None => {
            let dir = SYSTEM_PATH.trim_end_matches("/policy.json");
            let packaged = install(facts, &[POLICY]).summary;
            Remedy::manual(format!("{packaged}, or write the file that it has"))
                .command(format!("{sudo}mkdir -p {root}{dir}"))
                .command(format!("echo '{ANYTHING}' | {sudo}tee {root}{SYSTEM_PATH}"))
        }
    }
}

#[cfg(test)]
#[path = "podman_configuration_tests.rs"]
mod tests;
