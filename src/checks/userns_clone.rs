//! Whether the kernel lets users create user namespaces: see [`USERNS_CLONE`].

use crate::checks::check;
use crate::checks::sysctl_values::judge_all;
use crate::facts::Facts;
use crate::finding::Outcome;
use crate::requirements::Requirements;

check! {
    /// Users may create user namespaces
    ///
    /// ## What is looked at
    ///
    /// `kernel.unprivileged_userns_clone`, a switch that only patched kernels have: Debian's and its
    /// derivatives', where it is on since Debian 11, and linux-hardened, where it is off unless the
    /// kernel was built otherwise. A kernel without it does not restrict anything here.
    ///
    /// ## Why it matters
    ///
    /// At 0 only root can create a user namespace, and no rootless container starts. K3s refuses to
    /// start at all unless it reads 1.
    ///
    /// ## Repair
    ///
    /// `kernel.unprivileged_userns_clone = 1` in `/etc/sysctl.d/90-rootless.conf`.
    ///
    /// ## Sources
    ///
    /// - Debian: linux, debian/patches/debian/ (add-sysctl-to-disallow-unprivileged-CLONE_NEWUSER...)
    /// - linux-hardened: init/Kconfig, `USER_NS_UNPRIVILEGED`
    /// - k3s: pkg/rootless/rootless.go, `validateSysctl`
    USERNS_CLONE, "userns-clone", Required, Host(run)
}

/// What this check judges.
pub(super) const KEYS: [&str; 1] = ["kernel.unprivileged_userns_clone"];

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    judge_all(facts, &with_default(facts, req), &KEYS)
}

/// In an image the kernels tell by their names whether they are hardened; all others start with 1.
fn with_default(facts: &Facts, req: &Requirements) -> Requirements {
    let mut req = req.clone();
    let hardened = |release: &str| release.contains("hardened");
    let on = facts.kernels().is_ok_and(|kernels| !kernels.iter().any(|kernel| hardened(&kernel.release)));
    if let Some(want) = req.sysctls.get_mut(KEYS[0]).filter(|_| on) {
        want.default = Some("1".to_owned());
    }
    req
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Verdict;
    use crate::requirements::Stack;

    const NOW: &str = "/proc/sys/kernel/unprivileged_userns_clone";
    const KEY: &str = KEYS[0];

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]))
    }

    #[test]
    fn on_or_without_a_switch() {
        assert_eq!(verdicts(&look_at(fixture("debian-13"))), [(KEY, Verdict::Met)]);
        let outcome = look_at(fixture("debian-13").without(NOW));
        assert_eq!(verdicts(&outcome), [(KEY, Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].found, "this kernel has no such switch");
    }

    #[test]
    fn off() {
        let off = fixture("debian-13").file(NOW, "0\n");
        let outcome = look_at(off.file("/etc/sysctl.d/99-kspp.conf", format!("# kspp\n{KEY} = 0\n")));
        assert_eq!(verdicts(&outcome), [(KEY, Verdict::Unmet)]);
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), "/etc/sysctl.d/99-kspp.conf:2");
    }

    #[test]
    fn an_image_has_it_on_unless_its_kernel_is_hardened() {
        assert_eq!(verdicts(&look_at(fixture("debian-13").image())), [(KEY, Verdict::Met)]);
        let hardened = fixture("debian-13")
            .file("/usr/lib/modules/6.12.1-hardened1-1-hardened/modules.builtin", "")
            .image();
        assert_eq!(
            unknown(&look_at(hardened.clone())),
            ["nothing sets it, and what the kernel starts with depends on the machine"]
        );
        let set = hardened.file("/etc/sysctl.d/a.conf", format!("{KEY} = 1\n"));
        assert_eq!(verdicts(&look_at(set)), [(KEY, Verdict::Met)]);
    }

    #[test]
    fn without_proc_sys_nothing_is_known() {
        assert_eq!(
            unknown(&look_at(fixture("debian-13").without("/proc/sys"))),
            ["/proc/sys/kernel does not exist"]
        );
    }

    #[test]
    fn nobody_asks() {
        let outcome = run(&fixture("debian-13").facts(), &Requirements::default());
        assert_eq!(outcome.skipped.as_deref(), Some("no chosen stack asks for it"));
    }
}
