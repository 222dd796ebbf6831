//! How many inotify instances and watches a user may have: see [`INOTIFY_LIMITS`].

use crate::checks::check;
use crate::checks::sysctl_values::judge_all;
use crate::facts::Facts;
use crate::finding::Outcome;
use crate::requirements::Requirements;

check! {
    /// Enough inotify instances and watches for container managers
    ///
    /// ## What is looked at
    ///
    /// `fs.inotify.max_user_instances` and `fs.inotify.max_user_watches`, now and as configured. The
    /// kernel starts with 128 instances and with watches for one percent of memory. Both limits are
    /// per user, and everything in the user's namespaces is charged to that user.
    ///
    /// ## Why it matters
    ///
    /// Every kubelet, container manager, systemd and log follower takes an instance. When they run
    /// out, pods and nodes end with "too many open files" or "failed to create fsnotify watcher",
    /// typically with the second or third node of a cluster, long after the installation worked.
    ///
    /// ## Repair
    ///
    /// Both values in `/etc/sysctl.d/90-rootless.conf`. They are limits: what is not used costs
    /// nothing.
    ///
    /// ## Sources
    ///
    /// - inotify(7), "/proc interfaces"
    /// - https://kind.sigs.k8s.io/docs/user/known-issues/#pod-errors-due-to-too-many-open-files
    /// - Linux: fs/notify/inotify/inotify_user.c, `inotify_user_setup`
    INOTIFY_LIMITS, "inotify-limits", Advised, Host(run)
}

/// What this check judges.
pub(super) const KEYS: [&str; 2] = ["fs.inotify.max_user_instances", "fs.inotify.max_user_watches"];

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    judge_all(facts, req, &KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Verdict;
    use crate::requirements::Stack;

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Kind]))
    }

    #[test]
    fn debian_starts_with_too_few() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [(KEYS[0], Verdict::Unmet), (KEYS[1], Verdict::Unmet)]);
        let found = findings(&outcome);
        assert_eq!((found[0].expected.as_str(), found[0].found.as_str()), ("at least 512", "128"));
        assert_eq!(found[1].evidence[0].to_string(), "/proc/sys/fs/inotify/max_user_watches:1");
    }

    #[test]
    fn raised_and_configured_is_met() {
        let host = fixture("debian-13")
            .file("/proc/sys/fs/inotify/max_user_instances", "8192\n")
            .file("/proc/sys/fs/inotify/max_user_watches", "1048576\n")
            .file("/etc/sysctl.d/a.conf", "fs.inotify.max_user_*=1048576\n");
        assert_eq!(verdicts(&look_at(host)), [(KEYS[0], Verdict::Met), (KEYS[1], Verdict::Met)]);
    }

    /// A machine with much memory has enough watches by itself.
    #[test]
    fn in_an_image_only_the_instances_are_known() {
        let outcome = look_at(fixture("debian-13").image());
        assert_eq!(verdicts(&outcome), [(KEYS[0], Verdict::Unmet)]);
        assert_eq!(
            unknown(&outcome),
            ["nothing sets it, and what the kernel starts with depends on the machine"]
        );
    }

    #[test]
    fn denied_is_unknown() {
        const WATCHES: &str = "/proc/sys/fs/inotify/max_user_watches";
        let outcome = look_at(fixture("debian-13").error(WATCHES, "denied"));
        assert_eq!(verdicts(&outcome), [(KEYS[0], Verdict::Unmet)]);
        assert_eq!(unknown(&outcome), [format!("{WATCHES} is not readable as this user")]);
    }

    #[test]
    fn nobody_asks() {
        let outcome = run(&fixture("debian-13").facts(), &Requirements::default());
        assert_eq!(outcome.skipped.as_deref(), Some("no chosen stack asks for it"));
    }
}
