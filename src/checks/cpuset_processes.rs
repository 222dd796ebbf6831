//! Whether a process holds the cpuset controller back: see [`CPUSET_PROCESSES`].

use crate::checks::check;
use crate::facts::cgroup::Controller;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Level, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent};
use crate::requirements::{Demand, Requirements};
use crate::settings::quoted;

check! {
    /// No process of root keeps cpuset from the user manager
    ///
    /// ## What is looked at
    ///
    /// On Linux before 6.6, where the user manager has the cpuset controller and has not switched it on
    /// for its units yet (`cgroup.controllers` and `cgroup.subtree_control` of `user@UID.service`): the
    /// processes of its units, and whether one of them runs as root, by the UIDs in `/proc/PID/status`.
    ///
    /// ## Why it matters
    ///
    /// Older kernels ask, for each process below, whether who switches cpuset on may set its CPUs. Of a
    /// set-user-ID helper that a user unit has started the user manager may not, so that the write fails
    /// and systemd goes on without: "Failed to enable controller cpuset". The drop-in with `Delegate=` is
    /// there, and K3s stops with "failed to find cpuset cgroup". On desktops it is fusermount3, started by
    /// xdg-document-portal.service.
    ///
    /// ## Repair
    ///
    /// The unit is stopped and masked; the next unit with `Delegate=` gets cpuset. Or a newer kernel.
    ///
    /// ## Sources
    ///
    /// - systemd: issue 18293; k3d: docs/usage/advanced/podman.md
    /// - Linux: kernel/cgroup/cpuset.c, `cpuset_can_attach`; commit 0a67b847e1f0 (6.6)
    CPUSET_PROCESSES, "cpuset-processes", Advised, User(run)
}

/// The first kernel that does not ask.
const SINCE: (u32, u32) = (6, 6);
/// Units that are known to start such a helper and can be done without.
const KNOWN: &str = "xdg-document-portal.service";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.controllers.get(&Controller::Cpuset).map_or(&[][..], Vec::as_slice);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    if !facts.running() {
        return Outcome::skip("nothing runs in an image");
    }
    // That the controller is missing is for cgroup-delegation to tell; this says why.
    let demands: Vec<Demand> =
        demands.iter().map(|demand| Demand { level: Level::Advised, ..demand.clone() }).collect();
    let mut outcome = Outcome::default();
    match look(facts, user) {
        Ok(Ok(findings)) => findings.iter().for_each(|finding| outcome.add_all(&demands, finding)),
        Ok(Err(reason)) => return Outcome::skip(reason),
        Err(why) => outcome.unknown_all(&demands, &format!("user@{}.service", user.uid), &why),
    }
    outcome
}

fn look(facts: &Facts, user: &User) -> Fact<Result<Vec<Finding>, &'static str>> {
    let kernels = facts.counting_kernels()?;
    let version = kernels.iter().find(|kernel| kernel.running).and_then(|kernel| kernel.version());
    if version.is_some_and(|version| (version.major, version.minor) >= SINCE) {
        return Ok(Err("this kernel does not ask whose the processes are"));
    }
    if !facts.user_manager_runs(user.uid)? {
        return Ok(Err("the user manager does not run: see user-manager"));
    }
    let levels = facts.cgroup_levels(user.uid)?;
    let Some(level) = levels.last() else { return Ok(Ok(Vec::new())) };
    let Some(has) = level.controllers.clone().or_absent()? else {
        return Ok(Err("there is no cgroup v2 hierarchy: see cgroup-version"));
    };
    if !has.value.contains(&Controller::Cpuset) {
        return Ok(Err("the user manager does not have cpuset: see cgroup-delegation"));
    }
    let on = level.subtree_control.clone()?;
    let expected = "no process of root";
    let finding = |found: String, verdict| Finding::new("cpuset", expected, found, verdict);
    if on.value.contains(&Controller::Cpuset) {
        return Ok(Ok(vec![finding("switched on".to_owned(), Verdict::Met).at([on.at])]));
    }
    let mut findings = Vec::new();
    for member in facts.user_manager_processes(user.uid)? {
        // A process can end meanwhile.
        let Some(status) = facts.process_status(member.pid).or_absent()? else { continue };
        let Some(uids) = status.uids.as_ref().filter(|uids| uids.value.contains(&0)) else { continue };
        let found = format!("{} (PID {}) in {}", status.name, member.pid, member.group);
        let is_unit = [".service", ".scope"].iter().any(|end| member.group.ends_with(end));
        let manager = format!("systemctl --user -M {}@", user.name);
        let remedy = Remedy::manual(format!("end {} as long as cpuset is being switched on", status.name));
        let remedy = match (member.group.as_str(), is_unit) {
            (KNOWN, _) => remedy.command(format!("sudo {manager} mask --now {KNOWN}")),
            (unit, true) => remedy.command(format!("sudo {manager} stop {}", quoted(unit))),
            (_, false) => remedy.command(format!("sudo kill {}", member.pid)),
        };
        let at = [uids.at.clone(), on.at.clone()];
        findings.push(finding(found, Verdict::Unmet).at(at).repair(remedy));
    }
    if findings.is_empty() {
        let none = Evidence::path(&level.path, "all processes are the user's");
        findings.push(finding(expected.to_owned(), Verdict::Met).at([none]));
    }
    Ok(Ok(findings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;

    const MANAGER: &str = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
    const PORTAL: &str = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/session.slice/xdg-document-portal.service";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::K3s]), &edge())
    }

    /// A Debian 12 (Linux 6.1) that delegates cpuset, with one process of these UIDs beside the user
    /// manager.
    fn with(uids: &str) -> TestHost {
        let manager = "Name:\tsystemd\nUid:\t1000\t1000\t1000\t1000\n";
        let init = format!("{MANAGER}/init.scope/cgroup.procs");
        let host = fixture("debian-12").file(&init, "447\n").file("/proc/447/status", manager);
        host.file(&format!("{MANAGER}/cgroup.controllers"), "cpuset cpu memory pids\n")
            .file(&format!("{PORTAL}/cgroup.procs"), "900\n")
            .file("/proc/900/status", format!("Name:\tfusermount3\nUid:\t{uids}\n"))
    }

    #[test]
    fn processes_of_the_user_hold_nothing_back() {
        assert_eq!(verdicts(&look_at(with("1000\t1000\t1000\t1000"))), [("cpuset", Verdict::Met)]);
        // In a container: an ID of the user's range.
        assert_eq!(verdicts(&look_at(with("100999\t100999\t100999\t100999")))[0].1, Verdict::Met);
    }

    #[test]
    fn a_helper_of_root_does() {
        let outcome = look_at(with("1000\t0\t0\t1000"));
        let finding = findings(&outcome)[0];
        assert_eq!(
            (finding.verdict, finding.found.as_str()),
            (Verdict::Unmet, "fusermount3 (PID 900) in xdg-document-portal.service")
        );
        assert_eq!(finding.evidence[0].to_string(), "/proc/900/status:2");
        assert_eq!(outcome.items[0].level, Level::Advised);
        assert_eq!(
            finding.remedy.commands,
            ["sudo systemctl --user -M edge@ mask --now xdg-document-portal.service"]
        );
        let on =
            with("0\t0\t0\t0").file(&format!("{MANAGER}/cgroup.subtree_control"), "cpuset cpu memory pids\n");
        assert_eq!(verdicts(&look_at(on))[0].1, Verdict::Met);
        assert_eq!(
            verdicts(&look_at(with("0\t0\t0\t0").error("/proc/900/status", "absent")))[0].1,
            Verdict::Met
        );
    }

    #[test]
    fn where_it_does_not_apply() {
        let newer = with("0\t0\t0\t0").file("/proc/sys/kernel/osrelease", "6.12.9-amd64\n");
        assert!(look_at(newer).skipped.unwrap().contains("kernel"));
        assert!(look_at(fixture("debian-12")).skipped.unwrap().contains("cgroup-delegation"));
        assert!(look_at(with("0\t0\t0\t0").image()).skipped.is_some());
        assert!(run(&with("0").facts(), &requirements(&[Stack::Kind]), &edge()).skipped.is_none());
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        assert_eq!(unknown(&look_at(with("0\t0\t0\t0").error("/proc/900/status", "denied"))).len(), 1);
    }
}
