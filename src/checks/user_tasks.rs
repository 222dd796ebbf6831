//! Whether the user can have enough tasks: see [`USER_TASKS`].

use crate::checks::beaten::{beats, change_unit, undone};
use crate::checks::check;
use crate::facts::cgroup::Hierarchy;
use crate::facts::limits::Limit;
use crate::facts::tasks::TasksMax;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, Sourced};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::Requirements;
use crate::settings::{SLICE_DROP_IN, Setting, by_hand};

check! {
    /// User can have enough tasks
    ///
    /// ## What is looked at
    ///
    /// `pids.max` of the cgroup `user-UID.slice`, and `TasksMax=` of that slice, which is a third of
    /// what the system can have unless somebody changed it. A percentage is of the smaller one of
    /// `kernel.threads-max`, which grows with memory, and `kernel.pid_max`: on a board with 2 GiB a
    /// third is 5400 tasks. In an image it is not known.
    ///
    /// ## Why it matters
    ///
    /// Every thread of every container is a task of the slice. At the limit fork fails with "Resource
    /// temporarily unavailable" for all that the user runs, and the kernel logs "fork rejected by pids
    /// controller". `TasksMax=infinity` of a unit below it, such as k3s-rootless.service, does not help.
    ///
    /// Seen on Debian 13 (systemd 257): 300 tasks for the slice stop a unit with `TasksMax=infinity`.
    ///
    /// ## Repair
    ///
    /// A drop-in of `user-.slice` with `TasksMax=infinity`. systemd applies it when it is
    /// reloaded and, with systemd 257, something starts in the user's slice. Where
    /// another one sorts later, that one is changed.
    ///
    /// ## Sources
    ///
    /// - systemd.resource-control(5), "TasksMax="; systemd: units/user-.slice.d/10-defaults.conf
    /// - systemd: src/basic/limits-util.c, `system_tasks_max`; src/core/unit-serialize.c,
    ///   `unit_invalidate_cgroup` after a reload
    /// - Linux: Documentation/admin-guide/cgroup-v2.rst, "PID"
    USER_TASKS, "user-tasks", Advised, User(run)
}

/// Where drop-ins for the slices of all users are.
const DROP_INS: &str = "/usr/lib/systemd/system/user-.slice.d";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    if req.tasks.is_empty() {
        return Outcome::not_asked();
    }
    let mut outcome = Outcome::default();
    let slice = format!("user-{}.slice", user.uid);
    if facts.running() {
        match facts.cgroup_hierarchy() {
            Ok(found) if found.as_ref().as_ref().is_some_and(|h| h.value == Hierarchy::Unified) => {}
            Ok(_) => return Outcome::skip("there is no cgroup v2 hierarchy: see cgroup-version"),
            Err(why) => {
                for want in &req.tasks {
                    outcome.unknown(&want.demand, &slice, &why);
                }
                return outcome;
            }
        }
    }
    for want in &req.tasks {
        match look(facts, user, &slice, want.value) {
            Ok(Ok(finding)) => outcome.add(&want.demand, finding),
            Ok(Err(why)) => outcome.unknown(&want.demand, &slice, why),
            Err(why) => outcome.unknown(&want.demand, &slice, why),
        }
    }
    outcome
}

fn look(facts: &Facts, user: &User, slice: &str, wanted: u64) -> Fact<Result<Finding, String>> {
    let configured = match facts.slice_tasks(user.uid)? {
        Some(Sourced { value: TasksMax::Parts(_), at }) if !facts.running() => {
            return Ok(Err(format!("{at}: how much that is depends on the machine")));
        }
        Some(Sourced { value: TasksMax::Tasks(value), at }) => Sourced { value, at },
        Some(Sourced { value, at }) => Sourced { value: value.limit(facts.system_tasks()?), at },
        None => Sourced { value: None, at: Evidence::path(DROP_INS, "no TasksMax=, nor in other drop-ins") },
    };
    let now = if facts.running() { facts.slice_pids_max(user.uid)? } else { None };
    let met = |limit: Limit| limit.is_none_or(|limit| limit >= wanted);
    let verdict = Verdict::of(met(configured.value), now.as_ref().map(|n| met(n.value)), Needs::None);
    let found = match &now {
        Some(now) if matches!(verdict, Verdict::Pending(_) | Verdict::Volatile) => {
            format!("{} now, {} at the next boot", shown(now.value), shown(configured.value))
        }
        Some(now) => shown(now.value),
        None => shown(configured.value),
    };
    let in_effect = Setting::SliceTasksInEffect { uid: user.uid };
    let beaten = beats(&configured.at.path, SLICE_DROP_IN);
    let mut remedy = match verdict {
        Verdict::Pending(_) => {
            Remedy::setting("put the limit that is configured into effect", in_effect.clone())
        }
        _ if beaten => change_unit(facts, &configured.at, SLICE_DROP_IN, "TasksMax=infinity"),
        _ => Remedy::setting(
            "take the limit off the slices of users, now and at boot",
            Setting::SliceTasks("infinity".to_owned()),
        ),
    };
    if verdict == Verdict::Unmet && now.is_some() {
        if beaten {
            // It begins with a reload, too.
            remedy.commands.pop();
            remedy.commands.extend(by_hand(&[in_effect], facts.running()));
        } else {
            remedy.settings.push(in_effect);
        }
    }
    let now = now.map(|now| now.at);
    let mut at: Vec<Evidence> = match verdict {
        Verdict::Volatile => [Some(configured.at), now].into_iter().flatten().collect(),
        _ => now.into_iter().chain([configured.at]).collect(),
    };
    if beaten {
        at.extend(undone(&*facts.unit(slice)?, "Slice", "TasksMax", SLICE_DROP_IN));
    }
    let finding = Finding::new(format!("TasksMax of {slice}"), format!("at least {wanted}"), found, verdict);
    Ok(Ok(finding.at(at).repair(remedy)))
}

fn shown(limit: Limit) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const MAX: &str = "/sys/fs/cgroup/user.slice/user-1000.slice/pids.max";
    const VENDOR: &str = "/usr/lib/systemd/system/user-.slice.d/10-defaults.conf";
    const DROP_IN: &str = "/etc/systemd/system/user-.slice.d/tasks.conf";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::K3s]), &edge())
    }

    /// A Debian 13 with room for so many tasks, of which the slice has a third.
    fn with(threads: u64, max: &str) -> TestHost {
        fixture("debian-13")
            .file("/proc/sys/kernel/threads-max", format!("{threads}\n"))
            .file("/proc/sys/kernel/pid_max", "4194304\n")
            .dir("/sys/fs/cgroup/user.slice/user-1000.slice", "0755", 0)
            .file(MAX, format!("{max}\n"))
    }

    fn configured(host: TestHost, value: &str) -> TestHost {
        host.file(DROP_IN, format!("[Slice]\nTasksMax={value}\n"))
    }

    #[test]
    fn a_third_of_much_is_enough() {
        let outcome = look_at(with(61896, "20425"));
        assert_eq!(verdicts(&outcome), [("TasksMax of user-1000.slice", Verdict::Met)]);
        assert_eq!(outcome.items[0].level, Level::Advised);
        let at: Vec<&str> = findings(&outcome)[0].evidence.iter().map(|at| &*at.path).collect();
        assert_eq!(at, [MAX, VENDOR]);
        assert_eq!(verdicts(&look_at(configured(with(7823, "max"), "infinity")))[0].1, Verdict::Met);
    }

    #[test]
    fn a_third_of_little_is_not() {
        let outcome = look_at(with(7823, "2581"));
        let finding = findings(&outcome)[0];
        assert_eq!(
            (finding.verdict, finding.expected.as_str(), finding.found.as_str()),
            (Verdict::Unmet, "at least 10000", "2581")
        );
        let settings =
            [Setting::SliceTasks("infinity".to_owned()), Setting::SliceTasksInEffect { uid: 1000 }];
        assert_eq!(finding.remedy.settings, settings);
        let outcome = look_at(configured(with(7823, "2581"), "infinity"));
        let finding = findings(&outcome)[0];
        assert_eq!(
            (finding.verdict, finding.found.as_str()),
            (Verdict::Pending(Needs::None), "2581 now, unlimited at the next boot")
        );
        assert_eq!(finding.remedy.settings, [Setting::SliceTasksInEffect { uid: 1000 }]);
        let outcome = look_at(configured(with(61896, "20425"), "512"));
        assert_eq!(verdicts(&outcome)[0].1, Verdict::Volatile);
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{DROP_IN}:2"));
    }

    #[test]
    fn a_drop_in_that_a_later_file_undoes() {
        let hard = "/etc/systemd/system/user-1000.slice.d/99-hard.conf";
        let host = with(61896, "512").file(hard, "[Slice]\nTasksMax=512\n");
        let outcome = look_at(host.file(SLICE_DROP_IN, "[Slice]\nTasksMax=infinity\n"));
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, finding.remedy.settings.len()), (Verdict::Unmet, 0));
        assert_eq!(
            finding.remedy.commands,
            [
                "sudo sed -i '2s|.*|TasksMax=infinity|' /etc/systemd/system/user-1000.slice.d/99-hard.conf",
                "sudo systemctl daemon-reload",
                "sudo systemd-run --quiet --wait --slice=user-1000.slice true",
            ]
        );
        let at: Vec<String> = finding.evidence.iter().map(Evidence::to_string).collect();
        assert_eq!(at, [format!("{MAX}:1"), format!("{hard}:2"), format!("{SLICE_DROP_IN}:2")]);
    }

    #[test]
    fn without_a_slice_or_a_controller_the_rest_decides() {
        let slice = "/sys/fs/cgroup/user.slice/user-1000.slice";
        let outcome = look_at(with(7823, "1").without(slice));
        assert_eq!((verdicts(&outcome)[0].1, &*findings(&outcome)[0].found), (Verdict::Unmet, "2581"));
        let outcome = look_at(configured(with(7823, "1").without(MAX), "infinity"));
        assert_eq!(verdicts(&outcome)[0].1, Verdict::Met);
        assert!(look_at(fixture("debian-13-hybrid")).skipped.is_some());
    }

    #[test]
    fn an_image_is_known_only_where_it_holds_a_number() {
        let image = || with(7823, "1").image();
        assert!(unknown(&look_at(image()))[0].ends_with("how much that is depends on the machine"));
        assert_eq!(verdicts(&look_at(configured(image(), "infinity")))[0].1, Verdict::Met);
        assert_eq!(verdicts(&look_at(configured(image(), "4096")))[0].1, Verdict::Unmet);
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let denied = with(61896, "max").error(MAX, "denied");
        assert_eq!(unknown(&look_at(denied)), [format!("{MAX} is not readable as this user")]);
        let denied = with(61896, "max").error("/proc/sys/kernel/pid_max", "denied");
        assert_eq!(unknown(&look_at(denied)).len(), 1);
        assert!(run(&with(1, "1").facts(), &requirements(&[Stack::Podman]), &edge()).skipped.is_some());
    }
}
