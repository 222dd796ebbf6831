//! What the kernels of an image do with the memory controller on a Raspberry Pi, where no device tree
//! tells.

use crate::facts::Facts;
use crate::facts::kernel::KernelVersion;
use crate::facts::version::Version;
use crate::host::{Fact, OrAbsent};

/// The first kernel of Raspberry Pi that turns nothing off by itself: the word is in its device trees
/// (raspberrypi/linux pull request 6439).
const IN_THE_TREE: KernelVersion = KernelVersion::new(6, 12, 0);
/// What only Raspberry Pi OS has (pi-gen: `scripts/common`, `update_issue`, and
/// `stage0/00-configure-apt`).
const OF_PI_OS: [&str; 3] =
    ["/etc/rpi-issue", "/etc/apt/sources.list.d/raspi.list", "/etc/apt/sources.list.d/raspi.sources"];
/// The first release of Ubuntu whose kernels for a Raspberry Pi start without the controller, by the
/// profile `raspberry-pi`.
const UBUNTU: [u64; 2] = [25, 10];

/// Whether the kernels are all so new that they turn nothing off by themselves.
pub(super) fn leave_it_to_the_tree(facts: &Facts) -> Fact<bool> {
    let kernels = facts.counting_kernels()?;
    let is_new = |version: Option<KernelVersion>| version.is_some_and(|version| version >= IN_THE_TREE);
    Ok(!kernels.is_empty() && kernels.iter().all(|kernel| is_new(kernel.version())))
}

impl Facts {
    /// Whether an image is known to be one whose kernels start without the memory controller: that of
    /// Raspberry Pi OS, or one with kernels of Raspberry Pi. Others have it on, or it cannot be told.
    ///
    /// # Errors
    /// When a file that tells cannot be read.
    pub fn has_kernels_of_raspberry_pi(&self) -> Fact<bool> {
        for path in OF_PI_OS {
            if self.stat(path).or_absent()?.is_some() {
                return Ok(true);
            }
        }
        if let Some(os) = self.os_release().or_absent()? {
            let version = os.version_id.as_deref().and_then(Version::of_package);
            let is_new = version.is_some_and(|version| version >= Version::new(&UBUNTU));
            if os.id == "raspbian" || os.id == "ubuntu" && is_new {
                return Ok(true);
            }
        }
        Ok(self.counting_kernels()?.iter().any(|kernel| is_of_raspberry_pi(&kernel.release)))
    }
}

/// As `6.12.47+rpt-rpi-v8`, `6.1.21-v7l+`, `6.12.34-v8-16k+` (raspberrypi/linux: `LOCALVERSION` of
/// `arch/arm*/configs/bcm2*_defconfig`).
fn is_of_raspberry_pi(release: &str) -> bool {
    let mut parts = release.split(['-', '+']);
    release.contains("+rpt") || parts.any(|part| matches!(part, "v7" | "v7l" | "v8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    fn image() -> TestHost {
        empty_host().image()
    }

    #[test]
    fn whose_kernels_an_image_has() {
        let known = |host: TestHost| host.facts().has_kernels_of_raspberry_pi().unwrap();
        let os = |text: &str| known(image().file("/etc/os-release", text));
        assert!(!known(image()));
        assert!(os("ID=raspbian\nVERSION_ID=\"12\"\n") && os("ID=ubuntu\nVERSION_ID=\"25.10\"\n"));
        assert!(os("ID=ubuntu\nVERSION_ID=\"26.04\"\n"));
        for other in ["ID=ubuntu\nVERSION_ID=\"24.04\"\n", "ID=ubuntu\n", "ID=debian\nVERSION_ID=\"13\"\n"] {
            assert!(!os(other), "{other}");
        }
        for path in OF_PI_OS {
            assert!(known(image().file(path, "")), "{path}");
        }
        let kernel =
            |release: &str| known(image().file(&format!("/usr/lib/modules/{release}/modules.builtin"), ""));
        for release in ["6.12.47+rpt-rpi-v8", "6.12.47+rpt-rpi-2712", "6.1.21-v7l+", "6.12.34-v8-16k+"] {
            assert!(kernel(release), "{release}");
        }
        for release in ["6.8.0-1013-raspi", "6.12.48+deb13-arm64", "6.6.0-rv8", "5.10.0-27-armmp"] {
            assert!(!kernel(release), "{release}");
        }
    }

    #[test]
    fn where_the_word_is_in_the_tree() {
        let of = |releases: &[&str]| {
            let dir = |host: TestHost, release: &&str| {
                host.file(&format!("/usr/lib/modules/{release}/modules.builtin"), "")
            };
            leave_it_to_the_tree(&releases.iter().fold(image(), dir).facts()).unwrap()
        };
        assert!(of(&["6.12.47+rpt-rpi-v8", "6.17.0-1003-raspi"]));
        assert!(!of(&["6.12.47+rpt-rpi-v8", "6.6.31+rpt-rpi-v8"]) && !of(&["6.8.0-1013-raspi"]) && !of(&[]));
    }
}
