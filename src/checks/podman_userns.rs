//! Whether Podman goes on with an older user namespace: see [`PODMAN_USERNS`].

use crate::checks::check;
use crate::facts::Facts;
use crate::facts::subid_overlap::total_ids;
use crate::facts::users::User;
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent};
use crate::requirements::{Need, Requirements};
use crate::settings::Setting;

check! {
    /// Podman's user namespace has the IDs that containers use
    ///
    /// ## What is looked at
    ///
    /// The maps of the process that `/run/user/UID/libpod/tmp/pause.pid` names, where there is one:
    /// Podman's pause process, which holds the user namespace between commands.
    ///
    /// ## Why it matters
    ///
    /// Podman joins that namespace and does not look at `/etc/subuid` again. One that was made before
    /// the user had subordinate IDs has the user's own ID alone, and containers fail as before:
    /// "cannot setresuid", "potentially insufficient UIDs or GIDs". Seen with Podman 4.3, 5.4 and 5.8.
    ///
    /// Where the pause process is gone and another process of the user's has its PID, Podman tries to join
    /// the namespace of that one; if it is the host's own, every command fails.
    ///
    /// ## Repair
    ///
    /// The pause process is ended, where no container of the user runs; the next `podman` makes a new
    /// namespace. `podman system migrate` does the same, and stops containers first. A process that only
    /// has the PID is left alone, and the file that names it is removed.
    ///
    /// ## Sources
    ///
    /// - podman-system-migrate(1)
    /// - podman: pkg/rootless/rootless_linux.go, troubleshooting.md ("subuid")
    /// - user_namespaces(7), "User and group ID mappings: `uid_map` and `gid_map`"
    PODMAN_USERNS, "podman-userns", Required, User(run)
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::PodmanUserNamespace);
    let Some(least) = req.subordinate_ids.iter().map(|want| want.value).max().filter(|_| !demands.is_empty())
    else {
        return Outcome::not_asked();
    };
    if !facts.running() {
        return Outcome::skip("made at the first podman after boot");
    }
    let mut outcome = Outcome::default();
    match look(facts, user, least) {
        Ok(Some(finding)) => outcome.add_all(demands, &finding),
        Ok(None) => return Outcome::skip(format!("Podman of {} holds none", user.name)),
        Err(why) => outcome.unknown_all(demands, &user.name, &why),
    }
    outcome
}

fn look(facts: &Facts, user: &User, least: u64) -> Fact<Option<Finding>> {
    let Some(held) = facts.podman_namespace(user.uid)? else { return Ok(None) };
    let enough = held.uids.min(held.gids) > least && !held.is_hosts;
    let configured = [facts.subuid(), facts.subgid()]
        .into_iter()
        .map(|file| Ok(file.or_absent()?.map_or(0, |file| total_ids(&file.ranges_of(user)))))
        .collect::<Fact<Vec<u64>>>()?
        .into_iter()
        .all(|total| total >= least);
    let verdict = match (enough, configured) {
        (true, _) => Verdict::Met,
        (false, true) => Verdict::Pending(Needs::None),
        (false, false) => Verdict::Unmet,
    };
    let subject = format!("process {}", held.pid);
    let found = if held.is_hosts {
        "in the host's user namespace, so it is not Podman's pause process".to_owned()
    } else {
        format!("{} UIDs and {} GIDs", held.uids, held.gids)
    };
    let setting = Setting::NewPodmanNamespace { user: user.name.clone() };
    let remedy = Remedy::setting(format!("let Podman of {} make a new user namespace", user.name), setting);
    let expected = format!("more than {least} of each");
    Ok(Some(Finding::new(subject, expected, found, verdict).at(held.at).repair(remedy)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;

    const PID: &str = "/run/user/1000/libpod/tmp/pause.pid";

    /// As it was on a booted Debian 13.
    fn holding(map: &str) -> TestHost {
        fixture("debian-13")
            .file(PID, "487")
            .file("/proc/487/uid_map", map)
            .file("/proc/487/gid_map", map)
            .dir("/proc/487", "0555", 1000)
    }

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    const ALL: &str = "         0       1000          1\n         1     100000      65536\n";
    const ONE: &str = "         0       1000          1\n";

    #[test]
    fn a_namespace_with_all_ids() {
        assert_eq!(verdicts(&look_at(holding(ALL))), [("process 487", Verdict::Met)]);
    }

    #[test]
    fn one_from_before_there_were_subordinate_ids() {
        let outcome = look_at(holding(ONE));
        assert_eq!(verdicts(&outcome), [("process 487", Verdict::Pending(Needs::None))]);
        let finding = findings(&outcome)[0];
        assert_eq!(finding.found, "1 UIDs and 1 GIDs");
        assert_eq!(finding.remedy.settings, [Setting::NewPodmanNamespace { user: "edge".to_owned() }]);
        let none = look_at(holding(ONE).file("/etc/subuid", ""));
        assert_eq!(verdicts(&none), [("process 487", Verdict::Unmet)]);
    }

    #[test]
    fn a_reused_pid_in_the_hosts_own_namespace() {
        let outcome = look_at(holding("         0          0 4294967295\n"));
        assert_eq!(verdicts(&outcome), [("process 487", Verdict::Pending(Needs::None))]);
        let finding = findings(&outcome)[0];
        assert_eq!(finding.found, "in the host's user namespace, so it is not Podman's pause process");
        assert!(finding.evidence[0].to_string().starts_with("/proc/487/uid_map:1"));
    }

    #[test]
    fn none_is_held_in_an_image_or_before_the_first_command() {
        let none = look_at(fixture("debian-13").without(PID));
        assert_eq!(none.skipped.as_deref(), Some("Podman of edge holds none"));
        assert!(look_at(holding(ONE).image()).skipped.is_some());
        assert!(run(&holding(ONE).facts(), &Requirements::default(), &edge()).skipped.is_some());
    }

    #[test]
    fn who_may_not_look_does_not_know() {
        let outcome = look_at(holding(ONE).error(PID, "denied"));
        assert_eq!(unknown(&outcome), [format!("{PID} is not readable as this user")]);
    }
}
