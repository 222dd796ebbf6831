//! Whether the user has a usable `XDG_RUNTIME_DIR`: see [`RUNTIME_DIRECTORY`].

use crate::checks::{check, openrc};
use crate::facts::linger::Linger;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Level, Needs, Outcome, Remedy, Verdict};
use crate::host::{Fact, Kind, OrAbsent, Stat};
use crate::requirements::{Demand, Need, Requirements};
use crate::settings::Setting;

/// A running container takes about 25 files and 65 KiB in the runtime directory (seen with Podman 4.3 and
/// 5.4 on Debian): enough for 40 more, and for the sockets and state of a cluster.
const FREE_BYTES: u64 = 16 << 20;
const FREE_INODES: u64 = 1000;
/// What no program can do without: one block and one file.
const SOME_BYTES: u64 = 4096;
const SOME_INODES: u64 = 1;
/// Podman's databases in the storage: SQLite from 4.8, BoltDB up to 5.
const DATABASES: [&str; 2] = ["db.sql", "libpod/bolt_state.db"];

check! {
    /// The runtime directory is the user's, in memory and not full
    ///
    /// ## What is looked at
    ///
    /// `/run/user/UID`: that it exists, belongs to the user and is writable by nobody else; that it
    /// lies on a tmpfs; its free space and inodes. If the user runs edgeprep: whether
    /// `XDG_RUNTIME_DIR` is set to it. In an image root there is none.
    ///
    /// Before a user manager runs there is none either, and Podman takes a directory in /tmp. Where that
    /// of a user who lingers was stopped it does not. Seen on Debian 12, whose systemd takes the directory
    /// away, while Podman's storage keeps its name: "creating tmpdir: mkdir /run/user/1000: permission
    /// denied". Seen on Debian 13, where the socket of the bus is left over: "sd-bus call: Interactive
    /// authentication required".
    ///
    /// ## Why it matters
    ///
    /// Sockets, locks and the state of running containers live there. Podman and RootlessKit stop when
    /// it is another user's, as after `su` without `-`. On a disk it outlives a reboot, and containers
    /// that are gone seem to run. When it is full, containers stop starting while the disk has room.
    ///
    /// ## Repair
    ///
    /// Log in by ssh or `machinectl shell`, not by `su` or `sudo`. Make it larger with
    /// `RuntimeDirectorySize=` and `RuntimeDirectoryInodesMax=` in logind.conf. A user manager that was
    /// stopped is started again.
    ///
    /// ## Sources
    ///
    /// - XDG Base Directory Specification, "XDG_RUNTIME_DIR"
    /// - user-runtime-dir@.service(5), logind.conf(5)
    /// - podman: troubleshooting.md, "XDG_RUNTIME_DIR"
    RUNTIME_DIRECTORY, "runtime-directory", Required, User(run)
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::RuntimeDirectory);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    if !facts.running() {
        return Outcome::skip("it is made when the user manager starts");
    }
    let path = format!("/run/user/{}", user.uid);
    let mut outcome = Outcome::default();
    match facts.user_manager_runs(user.uid) {
        Ok(true) => {}
        Ok(false) if openrc(facts) => {
            return Outcome::skip("OpenRC makes none: Podman then takes a directory in /tmp");
        }
        Ok(false) => {
            match left_behind(facts, user, &path) {
                Ok(Some(finding)) => outcome.add_all(demands, &finding),
                Ok(None) => {}
                Err(why) => outcome.unknown_all(demands, &path, &why),
            }
            return outcome.or_skip("it is made by the user manager, which does not run: see user-manager");
        }
        Err(why) => {
            outcome.unknown_all(demands, &path, &why);
            return outcome;
        }
    }
    for look in [directory, file_system, room, variable] {
        for demand in demands {
            match look(facts, user, &path) {
                Ok(Some((level, finding))) => outcome.add(&at_most(demand, level), finding),
                Ok(None) => {}
                Err(why) => outcome.unknown(demand, &path, why),
            }
        }
        // Without the directory there is nothing else to say of it.
        if facts.stat(&path).is_err() {
            break;
        }
    }
    outcome
}

/// What a user manager that is gone left behind and Podman goes by: the socket of its bus, or the name of
/// the directory, which a storage that was made while it was there keeps (libpod: `runtime.go`, `RunRoot`
/// and `TmpDir` of the database).
fn left_behind(facts: &Facts, user: &User, path: &str) -> Fact<Option<Finding>> {
    // Whoever does not linger has a user manager from each login on.
    let Linger::On(lingers) = facts.linger(&user.name)? else { return Ok(None) };
    let remedy = Remedy::setting(
        format!("start the user manager of {}, who lingers", user.name),
        Setting::Linger(user.name.clone()),
    );
    let verdict = Verdict::Pending(Needs::None);
    if facts.stat(path).or_absent()?.is_some() {
        let bus = format!("{path}/bus");
        let conf = facts.containers_conf(user)?;
        let without = conf.cgroup_manager.as_ref().is_some_and(|set| set.value == "cgroupfs");
        if without || facts.stat(&bus).or_absent()?.is_none() {
            return Ok(None);
        }
        let finding = Finding::new(&bus, "answers", "left over: no user manager runs", verdict);
        return Ok(Some(finding.at([Evidence::path(&bus, "exists"), lingers]).repair(remedy)));
    }
    let storage = facts.storage_conf(user)?.graphroot.trim_end_matches('/').to_owned();
    for name in DATABASES {
        let database = format!("{storage}/{name}");
        if facts.stat(&database).or_absent()?.is_some() {
            let database = Evidence::path(&database, "keeps its name");
            let at = [Evidence::path(path, "does not exist"), database, lingers];
            let finding = Finding::new(path, "exists", "does not exist: no user manager runs", verdict);
            return Ok(Some(finding.at(at).repair(remedy)));
        }
    }
    Ok(None)
}

/// The same demand, for something that costs less than what it asks for.
fn at_most(demand: &Demand, level: Level) -> Demand {
    Demand { level: demand.level.min(level), ..demand.clone() }
}

/// A finding and how much depends on it; `None` where there is nothing to look at.
type Look = Fact<Option<(Level, Finding)>>;

fn owned(stat: &Stat, uid: u32) -> bool {
    // systemd makes it 0700. Podman takes it as long as nobody else can write to it
    // (podman: pkg/util, GetRootlessRuntimeDir; containers/storage: pkg/homedir).
    stat.kind == Kind::Dir && stat.uid == uid && stat.mode & 0o722 == 0o700
}

fn shown(stat: &Stat) -> String {
    let kind = if stat.kind == Kind::Dir { "" } else { "no directory, " };
    format!("{kind}mode {:04o}, owner {}", stat.mode, stat.uid)
}

fn directory(facts: &Facts, user: &User, path: &str) -> Look {
    let expected = format!("mode 0700, owner {}", user.uid);
    let again = Remedy::manual(format!(
        "end all sessions of {} and stop lingering once, or reboot: then it is made anew",
        user.name
    ));
    let manager = facts.user_manager(user.uid)?;
    let Some(found) = manager.runtime_dir.clone().or_absent()? else {
        let at = Evidence::path(path, "does not exist");
        let finding = Finding::new(path, expected, "does not exist", Verdict::Unmet).at([at]);
        return Ok(Some((Level::Required, finding.repair(again))));
    };
    let verdict = Verdict::met_if(owned(&found.value, user.uid));
    let finding = Finding::new(path, expected, shown(&found.value), verdict).at([found.at]).repair(again);
    Ok(Some((Level::Required, finding)))
}

fn file_system(facts: &Facts, _: &User, path: &str) -> Look {
    let mounts = facts.mountinfo()?;
    let Some(mount) = mounts.holding(path) else { return Ok(None) };
    let verdict = Verdict::met_if(mount.fs_type == "tmpfs");
    let remedy = Remedy::manual("have pam_systemd make it: on a disk it keeps what a reboot should clear");
    let finding = Finding::new(path, "tmpfs", mount.fs_type.clone(), verdict).at([mount.at.clone()]);
    Ok(Some((Level::Advised, finding.repair(remedy))))
}

fn room(facts: &Facts, _: &User, path: &str) -> Look {
    let space = facts.space(path)?;
    // A file system without a limit says that it has none of both.
    let inodes = |least| space.inodes == 0 || space.inodes_free >= least;
    let level = if space.available_bytes >= SOME_BYTES && inodes(SOME_INODES) {
        Level::Advised
    } else {
        Level::Required
    };
    let verdict = Verdict::met_if(space.available_bytes >= FREE_BYTES && inodes(FREE_INODES));
    let expected = format!("{} MiB and {FREE_INODES} inodes free", FREE_BYTES >> 20);
    let free = if space.inodes == 0 { "any number of".to_owned() } else { space.inodes_free.to_string() };
    let found = format!("{} MiB and {free} inodes free", space.available_bytes >> 20);
    let at = Evidence::path(path, format!("{} MiB in all", space.total_bytes >> 20));
    let remedy = Remedy::manual(
        "remove what fills it, or raise RuntimeDirectorySize= and RuntimeDirectoryInodesMax= in \
         /etc/systemd/logind.conf and reboot",
    );
    Ok(Some((level, Finding::new(path, expected, found, verdict).at([at]).repair(remedy))))
}

/// The variable of the caller, which says something only if the caller is the user.
fn variable(facts: &Facts, user: &User, path: &str) -> Look {
    const NAME: &str = "XDG_RUNTIME_DIR";
    let caller = facts.caller();
    if caller.uid != user.uid || user.uid == 0 {
        return Ok(None);
    }
    let value = caller.environment.get(NAME).filter(|value| !value.is_empty());
    let (level, found) = match value.map(|value| value.trim_end_matches('/')) {
        // Podman and K3s then look for the directory by themselves; `systemctl --user` does not.
        None => (Level::Advised, "not set"),
        Some(value) if value == path => (Level::Required, path),
        Some(value) => {
            let usable = facts.stat(value).is_ok_and(|stat| owned(&stat, user.uid));
            (if usable { Level::Advised } else { Level::Required }, value)
        }
    };
    let at = match value {
        Some(value) => Evidence::path("/proc/self/environ", format!("{NAME}={value}")),
        None => Evidence::path("/proc/self/environ", format!("no {NAME}")),
    };
    let remedy = Remedy::manual("log in by ssh or machinectl shell, not by su or sudo; for this shell:")
        .command(format!("export {NAME}={path}"));
    let finding = Finding::new(NAME, path, found, Verdict::met_if(found == path)).at([at]);
    Ok(Some((level, finding.repair(remedy))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, empty_host, fixture};
    use crate::requirements::Stack;

    const DIR: &str = "/run/user/1000";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::K3s]), &edge())
    }

    /// The level and the finding whose expected value holds this.
    fn about<'a>(outcome: &'a Outcome, expected: &str) -> (Level, &'a Finding) {
        let at = findings(outcome).iter().position(|f| f.expected.contains(expected)).unwrap();
        (outcome.items[at].level, findings(outcome)[at])
    }

    #[test]
    fn what_systemd_makes_passes() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [(DIR, Verdict::Met), (DIR, Verdict::Met), (DIR, Verdict::Met)]);
        let mount = &findings(&outcome)[1].evidence[0];
        assert!(mount.path.ends_with("mountinfo") && mount.text.contains(DIR), "{mount}");
    }

    #[test]
    fn it_must_be_the_users_alone() {
        for (mode, uid, met) in [
            ("0700", 1000, true),
            ("0755", 1000, true),
            ("0770", 1000, false),
            ("0500", 1000, false),
            ("0700", 0, false),
        ] {
            let outcome = look_at(fixture("debian-13").dir(DIR, mode, uid));
            let (level, finding) = about(&outcome, "owner");
            assert_eq!((level, finding.verdict), (Level::Required, Verdict::met_if(met)), "{mode} {uid}");
            assert_eq!(finding.found, format!("mode {mode}, owner {uid}"));
        }
        let gone = look_at(fixture("debian-13").without(DIR));
        assert_eq!(verdicts(&gone), [(DIR, Verdict::Unmet)]);
        assert_eq!(findings(&gone)[0].evidence[0], Evidence::path(DIR, "does not exist"));
    }

    #[test]
    fn on_a_disk_it_outlives_a_reboot() {
        let host = fixture("debian-13").file(
            "/proc/self/mountinfo",
            "29 1 254:0 / / rw - ext4 /dev/vda rw\n\
                  32 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        );
        let outcome = look_at(host);
        let (level, finding) = about(&outcome, "tmpfs");
        assert_eq!((level, finding.verdict, &*finding.found), (Level::Advised, Verdict::Unmet, "ext4"));
    }

    #[test]
    fn a_full_one_is_worse_than_a_small_one() {
        for (free, level, verdict) in [
            (FREE_BYTES, Level::Advised, Verdict::Met),
            (FREE_BYTES - 1, Level::Advised, Verdict::Unmet),
            (SOME_BYTES - 1, Level::Required, Verdict::Unmet),
            (0, Level::Required, Verdict::Unmet),
        ] {
            let outcome = look_at(fixture("debian-13").space(DIR, 200 << 20, free));
            let (found_level, finding) = about(&outcome, "inodes");
            assert_eq!((found_level, finding.verdict), (level, verdict), "{free}");
        }
        let outcome = look_at(fixture("debian-13").space(DIR, 200 << 20, 1 << 20));
        assert_eq!(about(&outcome, "inodes").1.found, "1 MiB and 1048576 inodes free");
    }

    #[test]
    fn the_variable_is_looked_at_if_the_caller_is_the_user() {
        let called = |uid, environment: &[(&str, &str)]| {
            let outcome =
                look_at(fixture("debian-13").dir("/run/user/0", "0700", 0).caller(uid, environment));
            let last = outcome.items.last().cloned().unwrap();
            let finding = (*findings(&outcome).last().unwrap()).clone();
            (finding.subject == "XDG_RUNTIME_DIR").then_some((last.level, finding.verdict, finding.found))
        };
        let set = |value: &'static str| [("XDG_RUNTIME_DIR", value)];
        let is = |level, verdict, found: &str| Some((level, verdict, found.to_owned()));
        assert_eq!(called(1000, &set("/run/user/1000/")), is(Level::Required, Verdict::Met, DIR));
        assert_eq!(called(1000, &[]), is(Level::Advised, Verdict::Unmet, "not set"));
        let of_root = called(1000, &set("/run/user/0"));
        assert_eq!(of_root, is(Level::Required, Verdict::Unmet, "/run/user/0"));
        assert_eq!(called(0, &set("/run/user/0")), None, "root has its own");
    }

    /// Without a user manager, which a login starts for whoever does not linger.
    fn lingering() -> TestHost {
        fixture("debian-13-no-manager").file("/var/lib/systemd/linger/edge", "")
    }

    /// As seen on Debian 12 after `systemctl stop user@1000`.
    #[test]
    fn podman_keeps_the_name_of_a_directory_that_is_gone() {
        let storage = "/home/edge/.local/share/containers/storage";
        let stopped = || lingering().without(DIR).dir(storage, "0700", 1000);
        assert!(look_at(stopped()).skipped.is_some());
        for database in DATABASES {
            let path = format!("{storage}/{database}");
            let outcome = look_at(stopped().file(&path, ""));
            let finding = findings(&outcome)[0];
            assert_eq!((finding.subject.as_str(), finding.verdict), (DIR, Verdict::Pending(Needs::None)));
            assert_eq!(finding.evidence[1].to_string(), path);
            assert_eq!(finding.remedy.settings, [Setting::Linger("edge".to_owned())]);
            assert!(look_at(stopped().file(&path, "").dir(DIR, "0700", 1000)).skipped.is_some());
            assert_eq!(unknown(&look_at(stopped().error(&path, "denied"))).len(), 1);
            let logs_in = stopped().file(&path, "").without("/var/lib/systemd/linger/edge");
            assert!(look_at(logs_in).skipped.is_some());
        }
    }

    /// As seen on Debian 13 after `systemctl stop user@1000`.
    #[test]
    fn podman_goes_by_the_socket_that_is_left() {
        let bus = format!("{DIR}/bus");
        let stopped = || lingering().dir(DIR, "0700", 1000).file(&bus, "");
        let outcome = look_at(stopped());
        assert_eq!(verdicts(&outcome), [(bus.as_str(), Verdict::Pending(Needs::None))]);
        let cgroupfs = "[engine]\ncgroup_manager = \"cgroupfs\"\n";
        let without = stopped().file("/etc/containers/containers.conf", cgroupfs);
        assert!(look_at(without).skipped.is_some());
        assert_eq!(unknown(&look_at(stopped().error(&bus, "denied"))).len(), 1);
    }

    #[test]
    fn what_cannot_be_told() {
        let outcome = look_at(fixture("debian-13").error(DIR, "denied"));
        assert_eq!(unknown(&outcome)[0], "/run/user/1000 is not readable as this user");
        assert!(look_at(empty_host().image()).skipped.is_some());
        assert!(look_at(empty_host()).skipped.unwrap().contains("user-manager"));
        assert!(run(&empty_host().facts(), &Requirements::default(), &edge()).skipped.is_some());
    }
}
