//! Where the system that is looked at runs: in a container, under WSL, or below a chroot, whose `/proc`
//! is that of another system. Only what is certain: no guess from a missing file.

use super::{Evidence, Facts, Sourced};
use crate::host::{Fact, OrAbsent};

/// Files that only a container manager makes, with the name of the manager where the file does not tell
/// it (systemd, `src/basic/virt.c`, `detect_container_files`).
const MARKERS: [(&str, &str); 2] = [("/run/.containerenv", "podman"), ("/.dockerenv", "docker")];

/// Files that hold the name of the container manager: of the Container Interface, and what PID 1 wrote
/// down of its variable `container`, which only root could read otherwise.
const NAMED: [&str; 2] = ["/run/host/container-manager", "/run/systemd/container"];

/// The Windows Subsystem for Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wsl {
    /// System calls are translated; there are no namespaces to speak of.
    V1,
    /// A virtual machine with a real kernel.
    V2,
}

/// Tells WSL from a kernel release such as `5.15.153.1-microsoft-standard-WSL2` (version 2) or
/// `4.4.0-19041-Microsoft` (version 1; the spelling differs, see microsoft/WSL#4555).
pub fn wsl(kernel_release: &str) -> Option<Wsl> {
    if kernel_release.contains("WSL2") || kernel_release.contains("microsoft") {
        Some(Wsl::V2)
    } else if kernel_release.contains("Microsoft") || kernel_release.contains("WSL") {
        Some(Wsl::V1)
    } else {
        None
    }
}

impl Facts {
    /// The container manager that runs the whole system, if it runs in a container. The marker files of
    /// Podman and Docker come last, as in systemd: `/.dockerenv` can be a leftover in a file system that
    /// was exported from a container and boots by itself now, so its evidence is to be shown.
    ///
    /// # Errors
    /// [`Unread::NotRunning`](crate::host::Unread::NotRunning) in an image root, where such a file is a
    /// leftover of the build, and why a file that exists could not be read.
    pub fn container(&self) -> Fact<Option<Sourced<String>>> {
        self.need_running("whether it is in a container")?;
        for path in NAMED {
            if let Some(source) = self.source(path).or_absent()? {
                let name = source.text().trim();
                if !name.is_empty() {
                    return Ok(Some(source.whole(name.to_owned())));
                }
            }
        }
        for (path, manager) in MARKERS {
            if self.stat(path).or_absent()?.is_some() {
                return Ok(Some(Sourced { value: manager.to_owned(), at: Evidence::path(path, "exists") }));
            }
        }
        Ok(None)
    }

    /// The version of WSL, if the system runs under it.
    ///
    /// # Errors
    /// [`Unread::NotRunning`](crate::host::Unread::NotRunning) in an image root, and why the kernel
    /// release could not be read.
    pub fn wsl(&self) -> Fact<Option<Sourced<Wsl>>> {
        self.need_running("whether it is under WSL")?;
        let source = self.source("/proc/sys/kernel/osrelease")?;
        Ok(wsl(source.text()).map(|version| source.whole(version)))
    }

    /// What tells that this process is below a chroot, whose running state would be another system's.
    /// `mountinfo` leaves out what lies outside the root directory (`fs/proc_namespace.c`,
    /// `show_mountinfo`), so a list without `/` comes from a chroot. A chroot to the top of a mounted
    /// file system cannot be told this way: `None` is no proof.
    ///
    /// # Errors
    /// [`Unread::NotRunning`](crate::host::Unread::NotRunning) in an image root, and why `mountinfo`
    /// could not be read.
    pub fn chroot(&self) -> Fact<Option<Evidence>> {
        self.need_running("whether it is in a chroot")?;
        let source = self.source("/proc/self/mountinfo")?;
        // proc_pid_mountinfo(5): the fifth field is the mount point.
        let has_root = source.lines().any(|(_, line)| line.split(' ').nth(4) == Some("/"));
        Ok((!has_root).then(|| Evidence::path(source.path(), "no mount on /")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};
    use crate::host::Unread;

    fn container(host: TestHost) -> Option<(String, String)> {
        host.facts().container().unwrap().map(|found| (found.value, found.at.to_string()))
    }

    #[test]
    fn the_manager_is_named_where_it_can_be() {
        let found = |name: &str, path: &str| Some((name.to_owned(), path.to_owned()));
        assert_eq!(container(empty_host()), None);
        assert_eq!(container(empty_host().file("/.dockerenv", "")), found("docker", "/.dockerenv"));
        assert_eq!(
            container(
                empty_host().path("/run/.containerenv", |record| record.mode = Some("0700".to_owned()))
            ),
            found("podman", "/run/.containerenv")
        );
        let lxc = empty_host().file("/run/systemd/container", "lxc\n").file("/.dockerenv", "");
        assert_eq!(container(lxc), found("lxc", "/run/systemd/container:1"));
        let denied = empty_host().error("/run/host/container-manager", "denied");
        assert!(denied.facts().container().is_err());
        let image = empty_host().image().file("/.dockerenv", "").facts();
        assert!(matches!(image.container(), Err(Unread::NotRunning { .. })));
    }

    #[test]
    fn wsl_is_told_by_the_kernel_release() {
        assert_eq!(wsl("5.15.153.1-microsoft-standard-WSL2\n"), Some(Wsl::V2));
        assert_eq!(wsl("4.19.84-microsoft-standard\n"), Some(Wsl::V2));
        assert_eq!(wsl("4.4.0-19041-Microsoft\n"), Some(Wsl::V1));
        assert_eq!(wsl("6.12.107+deb13-amd64\n"), None);
        let host = empty_host().file("/proc/sys/kernel/osrelease", "6.6.36-microsoft-standard-WSL2\n");
        assert_eq!(host.facts().wsl().unwrap().map(|found| found.value), Some(Wsl::V2));
    }

    #[test]
    fn a_chroot_has_no_mount_on_its_root() {
        let chroot =
            |mounts: &str| empty_host().file("/proc/self/mountinfo", mounts).facts().chroot().unwrap();
        // Seen on Linux 6.12 in a chroot to a directory with /proc mounted in it.
        assert!(chroot("65 44 0:21 / /proc rw,relatime - proc proc rw\n").is_some());
        let booted = "22 27 0:21 / /proc rw,relatime - proc proc rw\n27 1 254:0 / / rw - ext4 /dev/vda rw\n";
        assert_eq!(chroot(booted), None);
        assert!(empty_host().facts().chroot().is_err());
    }
}
