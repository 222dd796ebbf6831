//! How many kernel keys a user may have: see [`KEY_LIMITS`].

use crate::checks::check;
use crate::checks::sysctl_values::judge_all;
use crate::facts::Facts;
use crate::finding::Outcome;
use crate::requirements::Requirements;

check! {
    /// Enough kernel keys for the keyrings of containers
    ///
    /// ## What is looked at
    ///
    /// `kernel.keys.maxkeys` and `kernel.keys.maxbytes`, the quota of each user but root, now and as
    /// configured. `kernel.keys.root_maxkeys`, which checks for engines that run as root look at, is
    /// root's on the host, whom no rootless container ever is.
    ///
    /// ## Why it matters
    ///
    /// OCI runtimes give each container a session keyring, charged to the user who started it. With
    /// the kernel's 200, somewhat before the 200th container the next one fails with "create keyring:
    /// Disk quota exceeded", which sends people to look at their disks.
    ///
    /// Seen on Debian 12 and 13 with crun: each container takes one key. With room for three none starts,
    /// as systemd and the login have keys of their own; with room for six the fourth or fifth fails.
    ///
    /// ## Repair
    ///
    /// Both values in `/etc/sysctl.d/90-rootless.conf`.
    ///
    /// ## Sources
    ///
    /// - keyrings(7), "/proc files"
    /// - Linux: security/keys/key.c
    KEY_LIMITS, "key-limits", Required, Host(run)
}

/// What this check judges.
pub(super) const KEYS: [&str; 2] = ["kernel.keys.maxkeys", "kernel.keys.maxbytes"];

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
        run(&host.facts(), &requirements(&[Stack::Podman]))
    }

    #[test]
    fn the_kernel_starts_with_too_few() {
        for host in [fixture("debian-13"), fixture("debian-13").image()] {
            let outcome = look_at(host);
            let few = [(KEYS[0], Verdict::Met), (KEYS[0], Verdict::Unmet), (KEYS[1], Verdict::Unmet)];
            assert_eq!(verdicts(&outcome), few, "enough for one container, too few for many");
        }
        // Seen on a booted Debian 13: the first container fails.
        let none = look_at(fixture("debian-13").file("/proc/sys/kernel/keys/maxkeys", "3\n"));
        assert_eq!(verdicts(&none)[0], (KEYS[0], Verdict::Unmet));
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(findings(&outcome)[1].evidence[0].to_string(), "/proc/sys/kernel/keys/maxkeys:1");
    }

    #[test]
    fn raised_and_configured_is_met() {
        let host = fixture("debian-13")
            .file("/proc/sys/kernel/keys/maxkeys", "2000\n")
            .file("/proc/sys/kernel/keys/maxbytes", "2000000\n");
        assert_eq!(verdicts(&look_at(host.clone()))[1].1, Verdict::Volatile, "the kernel starts with 200");
        let conf = "kernel.keys.maxkeys=2000\nkernel.keys.maxbytes=2000000\n";
        let host = host.file("/etc/sysctl.d/a.conf", conf);
        assert!(verdicts(&look_at(host)).iter().all(|(_, verdict)| *verdict == Verdict::Met));
    }

    /// `k3s check-config` and Docker's check-config.sh look at root's quota.
    #[test]
    fn the_quota_of_root_is_irrelevant() {
        let rich_root = fixture("debian-13").file("/proc/sys/kernel/keys/root_maxkeys", "1000000\n");
        assert_eq!(verdicts(&look_at(rich_root))[1].1, Verdict::Unmet);
        let poor_root = fixture("debian-13")
            .file("/proc/sys/kernel/keys/root_maxkeys", "1\n")
            .file("/proc/sys/kernel/keys/maxkeys", "2000\n")
            .file("/etc/sysctl.d/a.conf", "kernel.keys.maxkeys=2000\nkernel.keys.root_maxkeys=1\n");
        assert_eq!(verdicts(&look_at(poor_root))[1].1, Verdict::Met);
    }

    #[test]
    fn denied_is_unknown() {
        const MAXKEYS: &str = "/proc/sys/kernel/keys/maxkeys";
        let outcome = look_at(fixture("debian-13").error(MAXKEYS, "denied"));
        assert_eq!(verdicts(&outcome), [(KEYS[1], Verdict::Unmet)]);
        assert_eq!(unknown(&outcome), vec![format!("{MAXKEYS} is not readable as this user"); 2]);
    }

    #[test]
    fn nobody_asks() {
        let outcome = run(&fixture("debian-13").facts(), &Requirements::default());
        assert_eq!(outcome.skipped.as_deref(), Some("no chosen stack asks for it"));
    }
}
