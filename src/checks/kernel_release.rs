//! Whether the kernel is new enough: see [`KERNEL_RELEASE`].

use crate::checks::check;
use crate::facts::kernel::Kernel;
use crate::facts::version::Version;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Component, Requirements};

check! {
    /// Kernel is new enough
    ///
    /// ## What is looked at
    ///
    /// The release of the running kernel, in an image the release of every kernel that is installed.
    /// The numbers at its start are compared as numbers: 2.6.32 is older than 5.2.
    ///
    /// Red Hat keeps the number of a kernel and puts features of later ones into it. A kernel with
    /// `.el` in its release whose number is too low is therefore unknown, not too old.
    ///
    /// ## Why it matters
    ///
    /// OCI runtimes freeze containers with cgroup v2's freezer, which came with 5.2. Overlay file
    /// systems can be mounted in a user namespace since 5.11, and with SELinux labels since 5.13;
    /// before, fuse-overlayfs takes their place and is slower.
    ///
    /// ## Repair
    ///
    /// Install a newer kernel of the distribution and reboot.
    ///
    /// ## Sources
    ///
    /// - Linux: Documentation/admin-guide/cgroup-v2.rst, "cgroup.freeze"
    /// - Linux: commit 459c7c565ac3, "ovl: unprivieged mounts"
    /// - podman: rootless.md, "Shortcomings of Rootless Podman"
    KERNEL_RELEASE, "kernel-release", Required, Host(run)
}

/// In the releases of Red Hat and those who rebuild it: `4.18.0-553.el8_10.x86_64`.
const BACKPORTS: &str = ".el";

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let wants = req.versions.get(&Component::Kernel).map_or(&[][..], Vec::as_slice);
    let mut outcome = Outcome::default();
    let kernels = match facts.counting_kernels() {
        Ok(kernels) if kernels.is_empty() => return Outcome::skip("no kernel is installed in this image"),
        Ok(kernels) => kernels,
        Err(why) => {
            outcome.unknown_all(wants.iter().map(|want| &want.demand), "kernel", &why);
            return outcome.or_not_asked();
        }
    };
    for want in wants {
        for kernel in &kernels {
            match look(facts, kernel, &want.value) {
                Ok(Ok(finding)) => outcome.add(&want.demand, finding),
                Ok(Err(doubt)) => outcome.unknown(&want.demand, format!("Linux {}", kernel.release), doubt),
                Err(why) => outcome.unknown(&want.demand, format!("Linux {}", kernel.release), why),
            }
        }
    }
    outcome.or_not_asked()
}

/// The finding, or why the number says nothing.
fn look(facts: &Facts, kernel: &Kernel, least: &Version) -> Fact<Result<Finding, &'static str>> {
    let at: Evidence = if kernel.running { facts.kernel_release()?.at } else { kernel.at.clone() };
    let Some(found) = kernel.version() else {
        return Ok(Err("the release does not begin with a number"));
    };
    let met = Version::new(&[found.major.into(), found.minor.into(), found.patch.into()]) >= *least;
    if !met
        && kernel
            .release
            .split_once(BACKPORTS)
            .is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
    {
        return Ok(Err("the number is too low, but Red Hat puts features of later kernels into it"));
    }
    let finding = Finding::new(
        format!("Linux {}", kernel.release),
        format!("at least {least}"),
        found.to_string(),
        Verdict::met_if(met),
    );
    let remedy = if kernel.running { "install a newer kernel and reboot" } else { "install a newer kernel" };
    Ok(Ok(finding.at([at]).repair(Remedy::manual(remedy))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, empty_host, fixture};
    use crate::requirements::Stack;

    const RELEASE: &str = "/proc/sys/kernel/osrelease";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]))
    }

    /// The verdicts on a running kernel: 5.2 is required, 5.13 advised.
    fn of(release: &str) -> Vec<Verdict> {
        let outcome = look_at(fixture("debian-13").file(RELEASE, release));
        verdicts(&outcome).into_iter().map(|(_, verdict)| verdict).collect()
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        use Verdict::{Met, Unmet};
        for (release, expected) in [
            ("6.12.117+deb13-cloud-amd64\n", [Met, Met]),
            ("5.13.0", [Met, Met]),
            ("5.10.0-30-amd64", [Met, Unmet]),
            ("5.2-rc1", [Met, Unmet]),
            ("2.6.32-754", [Unmet, Unmet]),
            ("3.9.4", [Unmet, Unmet]),
            ("4.9.337-tegra", [Unmet, Unmet]),
        ] {
            assert_eq!(of(release), expected, "{release}");
        }
    }

    #[test]
    fn a_finding_names_kernel_and_place() {
        let outcome = look_at(fixture("debian-13").file(RELEASE, "4.9.337-tegra\n"));
        let finding = findings(&outcome)[0];
        assert_eq!((finding.expected.as_str(), finding.found.as_str()), ("at least 5.2", "4.9.337"));
        assert_eq!(finding.evidence[0], Evidence::line(RELEASE, 1, "4.9.337-tegra"));
    }

    #[test]
    fn a_kernel_with_backports_is_not_judged_by_its_number() {
        let outcome = look_at(fixture("debian-13").file(RELEASE, "4.18.0-553.el8_10.x86_64\n"));
        assert_eq!((verdicts(&outcome).len(), unknown(&outcome).len()), (0, 2));
        assert_eq!(of("5.14.0-503.el9.x86_64"), [Verdict::Met; 2]);
        let odd = look_at(fixture("debian-13").file(RELEASE, "mainline\n"));
        assert_eq!(unknown(&odd), ["the release does not begin with a number"; 2]);
    }

    #[test]
    fn an_image_has_the_kernels_that_are_installed() {
        let image = || fixture("debian-13").image();
        assert_eq!(verdicts(&look_at(image())), [("Linux 6.12.117+deb13-cloud-amd64", Verdict::Met); 2]);
        let two = image().file("/usr/lib/modules/4.19.0-27/modules.builtin", "");
        assert_eq!(
            verdicts(&look_at(two))[..2],
            [("Linux 4.19.0-27", Verdict::Unmet), ("Linux 6.12.117+deb13-cloud-amd64", Verdict::Met)]
        );
        assert_eq!(
            look_at(empty_host().image()).skipped.as_deref(),
            Some("no kernel is installed in this image")
        );
    }

    #[test]
    fn an_unreadable_release_is_unknown() {
        assert_eq!(unknown(&look_at(empty_host().error(RELEASE, "denied"))).len(), 2);
    }
}
