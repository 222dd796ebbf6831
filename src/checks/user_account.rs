//! Whether the user is one who can run containers: see [`USER_ACCOUNT`].

use crate::checks::check;
use crate::facts::login_defs::Limit;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Level, Outcome, Remedy, Verdict};
use crate::host::{Fact, Kind, OrAbsent, Unread};
use crate::requirements::{Demand, Need, Requirements};
use crate::settings::quoted;

check! {
    /// User is a regular one with a home directory
    ///
    /// ## What is looked at
    ///
    /// That the user is not root, has a UID between `UID_MIN` and `UID_MAX` of `login.defs`, and a
    /// home directory that exists and that the user may write. The login shell does not matter.
    ///
    /// ## Why it matters
    ///
    /// Images, containers and configuration are in the home directory: without it Podman stops with
    /// "cannot resolve /home/USER". A system account (`useradd --system`) runs containers, but useradd
    /// gives it no subordinate IDs, and its journal is the system's: `podman logs` with the journald
    /// driver shows nothing. Root does not run rootless.
    ///
    /// ## Repair
    ///
    /// Create a regular user, or the home directory with `mkhomedir_helper USER`.
    ///
    /// ## Sources
    ///
    /// - login.defs(5), useradd(8), "--system"
    /// - journald.conf(5), "SplitMode="
    /// - https://github.com/shadow-maint/shadow/issues/539
    USER_ACCOUNT, "user-account", Required, User(run)
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::RegularUser);
    let mut outcome = Outcome::default();
    if user.uid == 0 {
        let finding = Finding::new(&user.name, "a user other than root", "root", Verdict::Unmet)
            .at([user.at.clone()])
            .repair(Remedy::manual("name the user who shall run containers with --user"));
        outcome.add_all(demands, &finding);
        return outcome.or_not_asked();
    }
    match account(facts, user) {
        Ok(finding) => {
            for demand in demands {
                outcome.add(&Demand { level: Level::Advised, ..demand.clone() }, finding.clone());
            }
        }
        Err(why) => outcome.unknown_all(demands, &user.name, &why),
    }
    match home(facts, user) {
        Ok(finding) => outcome.add_all(demands, &finding),
        Err(why) => outcome.unknown_all(demands, &user.home, &why),
    }
    outcome.or_not_asked()
}

/// What a system account lacks is told by the checks of subordinate IDs; the rest is inconvenient.
fn account(facts: &Facts, user: &User) -> Fact<Finding> {
    let defs = facts.login_defs()?;
    let (min, max) = (defs.number(Limit::UidMin), defs.number(Limit::UidMax));
    let verdict = Verdict::met_if((min..=max).contains(&user.uid));
    let limits = [Limit::UidMin, Limit::UidMax].into_iter().filter_map(|limit| defs.evidence(limit).cloned());
    let finding =
        Finding::new(&user.name, format!("a UID from {min} to {max}"), user.uid.to_string(), verdict);
    let remedy = Remedy::manual("run containers as a regular user, whose logs are its own");
    Ok(finding.at([user.at.clone()]).at(limits).repair(remedy))
}

fn home(facts: &Facts, user: &User) -> Fact<Finding> {
    let home = &user.home;
    let quoted_home = quoted(home);
    let expected = format!("a directory that {} may write", user.name);
    let finding = |found: String, verdict| Finding::new(home, &expected, found, verdict);
    let (sudo, root) = if facts.running() { ("sudo ", "") } else { ("", "$ROOT") };
    let Some(stat) = (if home.starts_with('/') { facts.stat(home).or_absent()? } else { None }) else {
        mounted_at_boot(facts, home)?;
        let at = [Evidence::path(home, "does not exist"), user.at.clone()];
        let remedy = Remedy::manual("create the home directory")
            .command(format!("{sudo}install -d -m 0700 -o {} -g {} {root}{quoted_home}", user.uid, user.gid));
        return Ok(finding("does not exist".to_owned(), Verdict::Unmet).at(at).repair(remedy));
    };
    let found = format!("mode {:04o}, owner {}:{}", stat.mode, stat.uid, stat.gid);
    let may_write = stat.allows(user.uid, &user.groups, 7) || !facts.owners_are_kept();
    let met = stat.kind == Kind::Dir && may_write;
    let remedy = Remedy::manual("give the user the home directory").command(format!(
        "{sudo}chown {}:{} {root}{quoted_home} && {sudo}chmod u+rwx {root}{quoted_home}",
        user.uid, user.gid
    ));
    let at = [Evidence::path(home, &found), user.at.clone()];
    Ok(finding(found, Verdict::met_if(met)).at(at).repair(remedy))
}

/// In an image a home directory can lie on what is mounted, or made, at boot.
fn mounted_at_boot(facts: &Facts, home: &str) -> Fact<()> {
    if facts.running() {
        return Ok(());
    }
    let fstab = facts.fstab().or_absent()?;
    let mount = fstab.as_ref().and_then(|fstab| fstab.configured.holding(home));
    let parent = home.rsplit_once('/').map_or("", |(parent, _)| parent);
    let no_parent = !parent.is_empty() && facts.stat(parent).or_absent()?.is_none();
    match mount.filter(|mount| mount.point != "/") {
        Some(mount) => {
            Err(Unread::NotRunning { what: format!("{home} (on {}, which is mounted at boot)", mount.point) })
        }
        // As /home -> var/home on systems that are updated as a whole.
        None if no_parent => {
            Err(Unread::NotRunning { what: format!("{home} (whose parent is made at boot)") })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;

    const HOME: &str = "/home/edge";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    fn home_is(host: TestHost) -> (Verdict, String) {
        let outcome = look_at(host);
        let found = findings(&outcome)[1];
        assert_eq!(found.subject, HOME);
        (found.verdict, found.found.clone())
    }

    #[test]
    fn a_regular_user_passes() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [("edge", Verdict::Met), (HOME, Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].evidence[1].text, "UID_MIN\t\t\t 1000".replace('\t', " "));
        assert_eq!(findings(&outcome)[1].evidence[0].text, "mode 0700, owner 1000:1000");
        assert_eq!(home_is(fixture("debian-13").image()).0, Verdict::Met);
    }

    #[test]
    fn root_is_not_rootless() {
        let root = User { name: "root".to_owned(), uid: 0, gid: 0, home: "/root".to_owned(), ..edge() };
        let outcome = run(&fixture("debian-13").facts(), &requirements(&[Stack::K3s]), &root);
        assert_eq!(verdicts(&outcome), [("root", Verdict::Unmet)]);
        assert_eq!(outcome.items[0].level, Level::Required);
    }

    /// `podman run` works for a system account on a booted Debian 13; `podman logs` stays empty.
    #[test]
    fn a_system_account_is_advised_against() {
        for uid in [990, 60_001] {
            let user = User { uid, ..edge() };
            let outcome = run(&fixture("debian-13").facts(), &requirements(&[Stack::Podman]), &user);
            assert_eq!(verdicts(&outcome)[0], ("edge", Verdict::Unmet));
            assert_eq!(outcome.items[0].level, Level::Advised);
            assert_eq!(findings(&outcome)[0].evidence[0].to_string(), "/etc/passwd:1");
        }
        let low = fixture("debian-13").file("/etc/login.defs", "UID_MIN 500\n");
        let user = User { uid: 501, ..edge() };
        let outcome = run(&low.facts(), &requirements(&[Stack::Podman]), &user);
        assert_eq!(verdicts(&outcome)[0].1, Verdict::Met);
    }

    /// As seen on a booted Debian 13: neither starts a container.
    #[test]
    fn the_home_directory_is_there_and_the_users() {
        assert_eq!(home_is(fixture("debian-13").without(HOME)), (Verdict::Unmet, "does not exist".into()));
        let roots = fixture("debian-13").dir(HOME, "0755", 0);
        assert_eq!(home_is(roots), (Verdict::Unmet, "mode 0755, owner 0:0".into()));
        assert_eq!(home_is(fixture("debian-13").dir(HOME, "0500", 1000)).0, Verdict::Unmet);
        assert_eq!(home_is(fixture("debian-13").without(HOME).image()).0, Verdict::Unmet);
    }

    #[test]
    fn what_is_mounted_at_boot_is_unknown_in_an_image() {
        let image = || fixture("debian-13").without(HOME).image();
        let mounted = look_at(image().file("/etc/fstab", "/dev/vdb /home ext4 defaults 0 2\n"));
        assert_eq!(
            unknown(&mounted),
            ["/home/edge (on /home, which is mounted at boot) is known only on a running system"]
        );
        assert_eq!(unknown(&look_at(image().without("/home"))).len(), 1);
        let denied = look_at(fixture("debian-13").error(HOME, "denied"));
        assert_eq!(unknown(&denied), ["/home/edge is not readable as this user"]);
        assert!(run(&fixture("debian-13").facts(), &Requirements::default(), &edge()).skipped.is_some());
    }
}
