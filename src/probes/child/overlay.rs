//! An overlay on a tmpfs of its own, in a mount namespace of its own: nothing of it outlives the process.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::probes::request::{Failure, Step};

/// What the tmpfs is mounted on, for this process alone (`hier(7)`: it is there on every host).
const PLACE: &str = "/tmp";
/// Far more than a file takes.
const TMPFS_OPTIONS: &str = "size=1m,mode=0700";
/// In the file of the lower layer, and what is added to it through the overlay.
const WRITTEN: [&[u8]; 2] = [b"below", b" and above"];

/// As a container's root file system: a file of the lower layer is written to, which copies it up.
pub(super) fn mount_and_write() -> Result<(), Failure> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| Step::MountNamespace.failed(errno))?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|errno| Step::PrivateMounts.failed(errno))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), PLACE, Some("tmpfs"), flags, Some(TMPFS_OPTIONS))
        .map_err(|errno| Step::Tmpfs.failed(errno))?;
    let path = |name: &str| format!("{PLACE}/{name}");
    let layers = || -> io::Result<()> {
        for layer in ["lower", "upper", "work", "merged"] {
            fs::create_dir(path(layer))?;
        }
        fs::write(path("lower/file"), WRITTEN[0])
    };
    layers().map_err(|error| Step::Files.failed_io(&error))?;
    let options = ["lower", "upper", "work"].map(|layer| format!("{layer}dir={}", path(layer))).join(",");
    let overlay = |options: &str| {
        mount(Some("overlay"), path("merged").as_str(), Some("overlay"), flags, Some(options))
    };
    // `userxattr` came with overlay in user namespaces, in 5.11 (`overlayfs.rst`, "User xattr"); kernels of
    // Debian and Ubuntu allowed the one before without the other.
    match overlay(&format!("{options},userxattr")) {
        Err(Errno::EINVAL) => overlay(&options),
        other => other,
    }
    .map_err(|errno| Step::Overlay.failed(errno))?;
    let write = || -> io::Result<bool> {
        let mut file = OpenOptions::new().append(true).open(path("merged/file"))?;
        file.write_all(WRITTEN[1])?;
        let mut text = Vec::new();
        fs::File::open(path("upper/file"))?.take(64).read_to_end(&mut text)?;
        Ok(text == WRITTEN.concat())
    };
    match write() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Step::WriteToOverlay.failed(Errno::EIO)),
        Err(error) => Err(Step::WriteToOverlay.failed_io(&error)),
    }
}
