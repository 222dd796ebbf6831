//! What K3s of a user keeps the layers of images with, by what it is told or, where nothing tells it yet, by
//! what works on the host.
//!
//! K3s tries the one that it is told before it starts containerd, in its user namespace and on the file system
//! of its data, and stops where it does not work (k3s: pkg/agent/config/config.go, "snapshotter cannot be
//! enabled"). `overlayfs` takes a kernel that mounts overlay in a user namespace; `fuse-overlayfs`, which K3s
//! brings, takes `/dev/fuse` and `mount.fuse3` in its place. `native` copies every layer: edgeprep never
//! chooses it.

use std::rc::Rc;

use super::kernel::KernelVersion;
use super::storage_place::ORDINARY;
use super::users::User;
use super::{Evidence, Facts, Sourced};
use crate::host::{Fact, OrAbsent};

/// The kernel's own overlay.
pub const OVERLAYFS: &str = "overlayfs";
/// Overlay in user space.
pub const FUSE_OVERLAYFS: &str = "fuse-overlayfs";
/// From here on overlay is mounted in a user namespace, with SELinux, too (Linux: commit 459c7c565ac3, "ovl:
/// unprivieged mounts", in 5.11; 7fa2e79a6bb9, "selinux: Allow context mounts for unpriviliged overlayfs", in
/// 5.13). Distributions have had it in older ones, which their numbers do not tell.
pub const NATIVE_OVERLAY: KernelVersion = KernelVersion::new(5, 13, 0);

/// A snapshotter of K3s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshotter {
    /// Its name, as `--snapshotter` takes it.
    pub name: String,
    /// What says so, or what it was chosen by.
    pub at: Option<Evidence>,
    /// Whether nothing has told K3s yet, so that it takes a word on its command line.
    pub chosen: bool,
}

impl Facts {
    /// What K3s of this user keeps layers with: by its options; by its default, where a unit starts it
    /// without any; else the better of those that work here.
    ///
    /// # Errors
    /// Those of [`Facts::k3s_options`]; where nothing is told, why the kernel or the file system is not known.
    pub fn k3s_snapshotter(&self, user: &User) -> Fact<Rc<Snapshotter>> {
        self.memo_fact(&user.name, || {
            let options = self.k3s_options(user)?;
            let told = |name: &str, at: &Evidence| Snapshotter {
                name: name.to_owned(),
                at: Some(at.clone()),
                chosen: false,
            };
            match (options.get("snapshotter").filter(|set| !set.value.is_empty()), options.started_by()) {
                (Some(set), _) => Ok(told(&set.value, &set.at)),
                // k3s: pkg/cli/cmds/const_linux.go, `DefaultSnapshotter`.
                (None, Some(start)) => Ok(told(OVERLAYFS, start)),
                (None, None) => self.choose(&options.data_dir(user)),
            }
        })
    }

    fn choose(&self, data_dir: &str) -> Fact<Snapshotter> {
        let chosen = |name: &str, at| Snapshotter { name: name.to_owned(), at, chosen: true };
        let kernel = self.oldest_kernel().or_absent()?.flatten();
        let version = kernel.as_ref().and_then(|kernel| KernelVersion::parse(&kernel.value));
        let Some(kernel) = kernel else { return Ok(chosen(FUSE_OVERLAYFS, None)) };
        if version.is_none_or(|version| version < NATIVE_OVERLAY) {
            return Ok(chosen(FUSE_OVERLAYFS, Some(kernel.at)));
        }
        let place = self.storage_place(data_dir)?;
        // In an image nobody knows where the data will lie unless its fstab says so.
        match place.mount.as_ref().filter(|mount| self.running() || mount.fs_type != "auto") {
            Some(mount) if !ORDINARY.contains(&mount.fs_type.as_str()) => {
                Ok(chosen(FUSE_OVERLAYFS, Some(mount.at.clone())))
            }
            _ => Ok(chosen(OVERLAYFS, Some(kernel.at))),
        }
    }

    /// The release of the running kernel; of an image, the oldest that is installed, or `None`.
    ///
    /// # Errors
    /// Why it could not be read.
    pub fn oldest_kernel(&self) -> Fact<Option<Sourced<String>>> {
        if self.running() {
            return self.kernel_release().map(Some);
        }
        let oldest = self.counting_kernels()?.into_iter().min_by_key(|kernel| kernel.version());
        Ok(oldest.map(|kernel| Sourced { value: kernel.release, at: kernel.at }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, fixture};

    const RELEASE: &str = "/proc/sys/kernel/osrelease";
    const UNIT: &str = "/home/edge/.config/systemd/user/k3s-rootless.service";
    const MOUNTS: &str = "/proc/self/mountinfo";

    fn of(host: TestHost) -> (String, bool, String) {
        let taken = host.facts().k3s_snapshotter(&User::example("edge", 1000)).unwrap();
        let at = taken.at.as_ref().map(ToString::to_string).unwrap_or_default();
        (taken.name.clone(), taken.chosen, at)
    }

    fn chosen(name: &str, at: &str) -> (String, bool, String) {
        (name.to_owned(), true, at.to_owned())
    }

    #[test]
    fn the_kernels_own_where_it_works() {
        let at = format!("{RELEASE}:1");
        assert_eq!(of(fixture("debian-13")), chosen(OVERLAYFS, &at));
        for old in ["5.10.104-tegra\n", "5.12.19\n", "4.18.0-553.el8_10.aarch64\n"] {
            assert_eq!(of(fixture("debian-13").file(RELEASE, old)), chosen(FUSE_OVERLAYFS, &at), "{old}");
        }
        assert_eq!(of(fixture("debian-13").file(RELEASE, "5.13.0\n")), chosen(OVERLAYFS, &at));
        let image = of(fixture("debian-13").image());
        assert!((image.0.as_str(), image.1) == (OVERLAYFS, true) && image.2.contains("6.12"), "{image:?}");
        let two = fixture("debian-13").file("/usr/lib/modules/5.4.0/modules.order", "").image();
        assert_eq!(of(two).0, FUSE_OVERLAYFS, "each kernel of an image can be the one that is booted");
    }

    #[test]
    fn what_overlay_cannot_lie_on() {
        for (fs_type, expected) in [
            ("overlay", FUSE_OVERLAYFS),
            ("nfs4", FUSE_OVERLAYFS),
            ("zfs", FUSE_OVERLAYFS),
            ("ext4", OVERLAYFS),
        ] {
            let line = format!("901 1 0:99 / /home rw - {fs_type} home rw\n");
            assert_eq!(of(fixture("debian-13").append(MOUNTS, &line)).0, expected, "{fs_type}");
        }
        let elsewhere = "/etc/rancher/k3s/config.yaml";
        let host = fixture("debian-13")
            .append(MOUNTS, "901 1 0:99 / /srv rw - overlay root rw\n")
            .file(elsewhere, "data-dir: /srv/k3s\n")
            .mode(elsewhere, "0644");
        assert_eq!(of(host).0, FUSE_OVERLAYFS);
    }

    #[test]
    fn what_is_told_counts() {
        let unit = |more: &str| {
            let text = format!("[Service]\nExecStart=/usr/local/bin/k3s server --rootless{more}\n");
            of(fixture("debian-13").file(RELEASE, "5.10.0\n").file(UNIT, text))
        };
        let told = |name: &str| (name.to_owned(), false, format!("{UNIT}:2"));
        assert_eq!(unit(" --snapshotter=native"), told("native"));
        assert_eq!(unit(""), told(OVERLAYFS), "K3s takes it if it is not asked");
        let config = "/etc/rancher/k3s/config.yaml";
        let host = fixture("debian-13").file(config, "snapshotter: stargz\n").mode(config, "0644");
        assert_eq!(of(host), ("stargz".to_owned(), false, format!("{config}:1")));
    }

    #[test]
    fn what_cannot_be_read_is_not_guessed() {
        let user = User::example("edge", 1000);
        let denied = |path: &str| fixture("debian-13").error(path, "denied").facts().k3s_snapshotter(&user);
        assert!(denied(RELEASE).is_err() && denied(MOUNTS).is_err());
    }
}
