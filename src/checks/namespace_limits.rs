//! How many namespaces of other kinds there may be: see [`NAMESPACE_LIMITS`].

use crate::checks::check;
use crate::checks::sysctl_values::judge_all;
use crate::facts::Facts;
use crate::finding::Outcome;
use crate::requirements::Requirements;

check! {
    /// Enough namespaces of every other kind may be created
    ///
    /// ## What is looked at
    ///
    /// `user.max_mnt_namespaces`, `max_net_namespaces`, `max_pid_namespaces`, `max_ipc_namespaces`,
    /// `max_uts_namespaces` and `max_cgroup_namespaces`, now and as configured for the next boot. The
    /// limit holds for each user.
    ///
    /// ## Why it matters
    ///
    /// A container has one of each. Hardening guides set `user.max_net_namespaces = 0`, among others, to
    /// keep users from reaching the kernel's network code; user namespaces are allowed then, and
    /// `podman run` stops with "no space left on device". Seen on Debian 13 (Linux 6.12).
    ///
    /// ## Repair
    ///
    /// The sysctl, at 28633, in `/etc/sysctl.d/90-rootless.conf`. Where a hardening file sets 0 and sorts
    /// later, that file has to be changed; the finding names it.
    ///
    /// ## Sources
    ///
    /// - Documentation/admin-guide/sysctl/user.rst
    /// - Linux: kernel/ucount.c; namespaces(7), "The /proc/sys/user directory"
    NAMESPACE_LIMITS, "namespace-limits", Required, Host(run)
}

/// What this check judges.
pub(super) const KEYS: [&str; 6] = [
    "user.max_mnt_namespaces",
    "user.max_net_namespaces",
    "user.max_pid_namespaces",
    "user.max_ipc_namespaces",
    "user.max_uts_namespaces",
    "user.max_cgroup_namespaces",
];

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

    const NET: &str = "/proc/sys/user/max_net_namespaces";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]))
    }

    #[test]
    fn the_kernels_own_values_will_do() {
        for host in [fixture("debian-13"), fixture("debian-13").image()] {
            assert_eq!(verdicts(&look_at(host)), KEYS.map(|key| (key, Verdict::Met)));
        }
    }

    /// As on a Debian 13 where `podman run` failed after `sysctl -w user.max_net_namespaces=0`.
    #[test]
    fn a_hardening_guide_forbids_networks() {
        let now = fixture("debian-13").file(NET, "0\n");
        assert_eq!(verdicts(&look_at(now.clone()))[1], (KEYS[1], Verdict::Unmet));
        let both = look_at(now.file("/etc/sysctl.d/99-stig.conf", format!("{}=0\n", KEYS[1])));
        assert_eq!(verdicts(&both)[1], (KEYS[1], Verdict::Unmet));
        assert_eq!(findings(&both)[1].evidence[0].to_string(), "/etc/sysctl.d/99-stig.conf:1");
    }

    #[test]
    fn a_kernel_without_them_is_no_riddle() {
        let denied = look_at(fixture("debian-13").error(NET, "denied"));
        assert_eq!(unknown(&denied), [format!("{NET} is not readable as this user")]);
    }

    #[test]
    fn nobody_asks() {
        assert!(run(&fixture("debian-13").facts(), &Requirements::default()).skipped.is_some());
    }
}
