//! What is told to, and asked of, the kernel while a fix takes effect: sysctls, device nodes and the
//! controllers of a cgroup.
#![expect(clippy::disallowed_methods, reason = "the kernel's own files are read and written here")]

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::{FileType, Mode, OFlags};

const NOFOLLOW: i32 = OFlags::NOFOLLOW.bits().cast_signed();

fn existing(path: &str, write: bool) -> Result<std::fs::File, String> {
    let mut options = OpenOptions::new();
    options.read(!write).write(write).custom_flags(NOFOLLOW);
    options.open(path).map_err(|error| format!("{path}: {error}"))
}

/// Gives a sysctl a value; `key` with dots, as in `sysctl.d(5)`: a slash in it stands for a dot.
///
/// # Errors
/// What the system said.
pub(super) fn set_sysctl(key: &str, value: &str) -> Result<(), String> {
    let path = format!("/proc/sys/{}", crate::facts::sysctl_rules::path_of(key));
    let mut file = existing(&path, true)?;
    file.write_all(format!("{value}\n").as_bytes()).map_err(|error| format!("{path}: {error}"))
}

/// Sets the permission bits of a character device.
///
/// # Errors
/// What the system said, and where the path is no character device.
pub(super) fn set_device_mode(path: &str, mode: u32) -> Result<(), String> {
    let failed = |errno: rustix::io::Errno| format!("{path}: {errno}");
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let look = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let stat = rustix::fs::fstat(look.map_err(failed)?).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice {
        return Err(format!("{path}: is no character device"));
    }
    let device = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
    let again = rustix::fs::fstat(&device).map_err(failed)?;
    if (again.st_rdev, again.st_ino) != (stat.st_rdev, stat.st_ino) {
        return Err(format!("{path}: was replaced meanwhile"));
    }
    rustix::fs::fchmod(&device, Mode::from_raw_mode(mode)).map_err(failed)
}

/// The `cgroup.controllers` of a cgroup, given as systemd names it (cgroup-v2, "Core Interface Files").
///
/// # Errors
/// What the system said.
pub(super) fn controllers(group: &str) -> Result<String, String> {
    let path = format!("/sys/fs/cgroup{group}/cgroup.controllers");
    let mut text = String::new();
    existing(&path, false)?.read_to_string(&mut text).map_err(|error| format!("{path}: {error}"))?;
    Ok(text.trim().to_owned())
}

/// Whether a user's own bus is there to connect to.
pub(super) fn user_bus_is_there(uid: u32) -> bool {
    std::path::Path::new(&format!("/run/user/{uid}/bus")).exists()
}
