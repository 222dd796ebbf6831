//! What puts a package onto a host: its package manager, or, where `/usr` is read-only, what makes the next
//! root.

use super::Facts;
use super::os_release::OsRelease;
use super::packages::PackageManager;
use crate::host::{Fact, OrAbsent};

/// What Yocto's `os-release.bb` writes as `ID` unless a distribution has a name of its own.
const YOCTO: [&str; 3] = ["poky", "nodistro", "openembedded"];
/// Those of SUSE whose root is a read-only snapshot.
const SNAPSHOTS: [&str; 7] = [
    "microos",
    "opensuse-microos",
    "opensuse-leap-micro",
    "sle-micro",
    "sl-micro",
    "suse-microos",
    "sle-micro-rancher",
];

/// What puts a package onto a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installer {
    /// Debian and derivatives.
    Apt,
    /// Alpine, OpenWrt.
    Apk,
    /// Fedora, RHEL.
    Dnf,
    /// SUSE.
    Zypper,
    /// Arch.
    Pacman,
    /// Yocto with a feed of packages, OpenWrt.
    Opkg,
    /// Fedora Silverblue, IoT and CoreOS: a layer over the image, in the next deployment.
    RpmOstree,
    /// SUSE's MicroOS, Micro and transactional servers: a new snapshot.
    TransactionalUpdate,
    /// A bootc image without rpm-ostree: packages come with the image alone.
    Containerfile,
    /// Flatcar: a system extension over the image.
    SystemExtension,
    /// Yocto without a package manager: packages come with the image alone.
    Bitbake,
}

impl Installer {
    /// The command that the names of packages follow, where a command does it.
    pub fn command(self) -> Option<&'static str> {
        Some(match self {
            Installer::Apt => "apt install",
            Installer::Apk => "apk add",
            Installer::Dnf => "dnf install",
            Installer::Zypper => "zypper install",
            Installer::Pacman => "pacman -S",
            Installer::Opkg => "opkg install",
            Installer::RpmOstree => "rpm-ostree install",
            Installer::TransactionalUpdate => "transactional-update pkg install",
            Installer::Containerfile | Installer::SystemExtension | Installer::Bitbake => return None,
        })
    }

    /// Whether what it installs is there after the next boot and not before.
    pub fn waits_for_boot(self) -> bool {
        matches!(self, Installer::RpmOstree | Installer::TransactionalUpdate)
    }

    /// Whether it leaves `/usr` of the running system as it is.
    pub fn is_read_only(self) -> bool {
        self.command().is_none() || self.waits_for_boot()
    }
}

/// Whether `os-release` is that of an image that bitbake built.
pub(super) fn is_yocto(os: &OsRelease) -> bool {
    YOCTO.iter().any(|id| os.is_like(id))
}

impl Facts {
    /// What puts a package onto this host, or into this image; `None` where nothing is known to.
    ///
    /// # Errors
    /// As [`Facts::package_manager`], and where what decides could not be read.
    pub fn installer(&self) -> Fact<Option<Installer>> {
        let os = self.os_release().or_absent()?;
        let is_like = |ids: &[&str]| os.as_ref().is_some_and(|os| ids.iter().any(|id| os.is_like(id)));
        if is_like(&["flatcar"]) {
            return Ok(Some(Installer::SystemExtension));
        }
        Ok(Some(match self.package_manager()? {
            None if os.as_ref().is_some_and(|os| is_yocto(os)) => Installer::Bitbake,
            None => return Ok(None),
            Some(PackageManager::Dpkg) => Installer::Apt,
            Some(PackageManager::Apk) => Installer::Apk,
            Some(PackageManager::Opkg) => Installer::Opkg,
            Some(PackageManager::Pacman) => Installer::Pacman,
            Some(PackageManager::Rpm) if is_like(&["suse", "opensuse"]) => {
                let snapshots = self.running()
                    && self.program("transactional-update")?.is_some()
                    && (is_like(&SNAPSHOTS)
                        || self.mountinfo()?.at("/").is_some_and(|root| root.read_only()));
                if snapshots { Installer::TransactionalUpdate } else { Installer::Zypper }
            }
            Some(PackageManager::Rpm) => self.of_rpm()?,
        }))
    }

    /// Of an ostree host, `/ostree` is a link in its root, and the initrd leaves a file in `/run` (ostree:
    /// `src/switchroot/ostree-prepare-root.c`). An image of such a host is built anew.
    fn of_rpm(&self) -> Fact<Installer> {
        let trace = if self.running() { "/run/ostree-booted" } else { "/ostree" };
        if self.stat(trace).or_absent()?.is_none() {
            return Ok(Installer::Dnf);
        }
        let layers = self.running() && self.program("rpm-ostree")?.is_some();
        Ok(if layers { Installer::RpmOstree } else { Installer::Containerfile })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    fn rpm(os: &str) -> TestHost {
        empty_host().dir("/usr/lib/sysimage/rpm", "0755", 0).file("/etc/os-release", os)
    }

    fn program(host: TestHost, path: &str) -> TestHost {
        host.file(path, "").mode(path, "0755")
    }

    /// `ID` and `ID_LIKE` as public reports quote them; `tests/fixtures/packages` has the sources.
    #[test]
    fn each_distribution_has_its_own() {
        let microos =
            "ID=\"opensuse-microos\"\nID_LIKE=\"suse opensuse opensuse-tumbleweed microos sl-micro\"\n";
        let tumbleweed = "ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n";
        let tool = |os: &str| program(rpm(os), "/usr/sbin/transactional-update");
        let root = |host: TestHost, options: &str| {
            let line = format!("29 1 0:27 /@/.snapshots/1/snapshot / {options} - btrfs /dev/vda3 rw\n");
            host.file("/proc/self/mountinfo", line)
        };
        let silverblue = "ID=fedora\nVARIANT_ID=silverblue\n";
        let booted = |os: &str| rpm(os).file("/run/ostree-booted", "");
        let flatcar = "ID=flatcar\nID_LIKE=coreos\n";
        for (host, installer) in [
            (rpm("ID=fedora\n"), Some(Installer::Dnf)),
            (rpm("ID=\"rhel\"\nID_LIKE=\"fedora\"\n"), Some(Installer::Dnf)),
            (program(booted(silverblue), "/usr/bin/rpm-ostree"), Some(Installer::RpmOstree)),
            (booted("ID=\"rhel\"\nID_LIKE=\"fedora\"\n"), Some(Installer::Containerfile)),
            (rpm("ID=fedora\n").image().file("/ostree/x", ""), Some(Installer::Containerfile)),
            (rpm(tumbleweed), Some(Installer::Zypper)),
            (tool(microos), Some(Installer::TransactionalUpdate)),
            (root(tool(tumbleweed), "rw,relatime"), Some(Installer::Zypper)),
            (root(tool(tumbleweed), "ro,relatime"), Some(Installer::TransactionalUpdate)),
            (tool(microos).image(), Some(Installer::Zypper)),
            (empty_host().file("/usr/lib/os-release", flatcar), Some(Installer::SystemExtension)),
            (empty_host().file("/etc/os-release", "ID=poky\n"), Some(Installer::Bitbake)),
            (empty_host(), None),
        ] {
            assert_eq!(host.facts().installer(), Ok(installer));
        }
        let opkg = "Package: busybox\nVersion: 1.36.1-r0\nStatus: install ok installed\n\n";
        let yocto = empty_host().file("/etc/os-release", "ID=poky\n").file("/var/lib/opkg/status", opkg);
        assert_eq!(yocto.facts().installer(), Ok(Some(Installer::Opkg)));
        assert!(rpm("ID=fedora\n").error("/run/ostree-booted", "denied").facts().installer().is_err());
    }
}
