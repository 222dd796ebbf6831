//! How many user namespaces there may be: see [`USERNS_LIMIT`].

use crate::checks::check;
use crate::checks::sysctl_values::judge_all;
use crate::facts::Facts;
use crate::finding::Outcome;
use crate::requirements::Requirements;

check! {
    /// Enough user namespaces may be created
    ///
    /// ## What is looked at
    ///
    /// `user.max_user_namespaces`, now and as configured for the next boot. 0 switches user
    /// namespaces off; hardening guides for hosts without containers set it.
    ///
    /// ## Why it matters
    ///
    /// Every rootless container lives in a user namespace. At 0 Podman stops with "user namespaces
    /// are not enabled in /proc/sys/user/max_user_namespaces"; with a low limit the first containers
    /// start and later ones, or image builds, do not. The kernel starts with half of
    /// `kernel.threads-max`, which is enough on any machine with 256 MiB.
    ///
    /// Seen with Podman 4.3 and 5.4: "cannot clone: No space left on device", which sends people to look
    /// at their disks, and at the end "cannot re-exec process".
    ///
    /// ## Repair
    ///
    /// `user.max_user_namespaces = 28633` in `/etc/sysctl.d/90-rootless.conf`. Where a hardening file
    /// sets 0 and sorts later, that file has to be changed; the finding names it.
    ///
    /// ## Sources
    ///
    /// - Documentation/admin-guide/sysctl/user.rst
    /// - Linux: kernel/fork.c, `fork_init`
    /// - rootlesskit: pkg/parent/warn.go (a warning below 1024)
    USERNS_LIMIT, "userns-limit", Required, Host(run)
}

/// What this check judges.
pub(super) const KEYS: [&str; 1] = ["user.max_user_namespaces"];

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    judge_all(facts, req, &KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::Evidence;
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::{Needs, Verdict};
    use crate::requirements::Stack;

    const NOW: &str = "/proc/sys/user/max_user_namespaces";
    const KEY: &str = KEYS[0];

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]))
    }

    #[test]
    fn the_kernels_own_value_will_do() {
        assert_eq!(verdicts(&look_at(fixture("debian-13"))), [(KEY, Verdict::Met), (KEY, Verdict::Met)]);
    }

    #[test]
    fn hardening_switches_them_off_now_or_at_the_next_boot() {
        let stig = |now: &str| {
            fixture("debian-13").file(NOW, now).file("/etc/sysctl.d/99-stig.conf", format!("{KEY}=0\n"))
        };
        let off = look_at(stig("0\n"));
        assert_eq!(verdicts(&off), [(KEY, Verdict::Unmet), (KEY, Verdict::Unmet)]);
        assert_eq!(findings(&off)[0].evidence[0].to_string(), "/etc/sysctl.d/99-stig.conf:1");
        assert_eq!(verdicts(&look_at(stig("7794\n")))[0], (KEY, Verdict::Volatile));
    }

    /// RootlessKit warns below 1024; `podman run` works with 1.
    #[test]
    fn a_low_limit_is_advised_against() {
        let outcome = look_at(fixture("debian-13").file(NOW, "1\n"));
        assert_eq!(verdicts(&outcome), [(KEY, Verdict::Met), (KEY, Verdict::Unmet)]);
        let written =
            fixture("debian-13").file(NOW, "0\n").file("/etc/sysctl.d/a.conf", format!("{KEY}=9999\n"));
        assert_eq!(verdicts(&look_at(written))[0], (KEY, Verdict::Pending(Needs::None)));
    }

    /// How many there are depends on memory, that there are some does not.
    #[test]
    fn an_image_starts_with_some() {
        let outcome = look_at(fixture("debian-13").image());
        assert_eq!(verdicts(&outcome), [(KEY, Verdict::Met)]);
        let some = findings(&outcome)[0];
        assert_eq!((some.expected.as_str(), some.found.as_str()), ("at least 1", "at least 10"));
        assert_eq!(some.evidence, [Evidence::path(NOW, "the kernel starts with at least 10")]);
        assert_eq!(
            unknown(&outcome),
            ["nothing sets it, and what the kernel starts with depends on the machine"]
        );
    }

    #[test]
    fn denied_is_unknown() {
        let outcome = look_at(fixture("debian-13").error(NOW, "denied"));
        let denied = format!("{NOW} is not readable as this user");
        assert_eq!(unknown(&outcome), [denied.as_str(), denied.as_str()], "required and advised");
    }

    #[test]
    fn nobody_asks() {
        let outcome = run(&fixture("debian-13").facts(), &Requirements::default());
        assert_eq!(outcome.skipped.as_deref(), Some("no chosen stack asks for it"));
    }
}
