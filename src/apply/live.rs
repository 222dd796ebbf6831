//! The running system as activations change it: its bus, the buses of its users, its kernel parameters and
//! its device nodes.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};

use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fstat};

use super::activation::Buses;
use super::bus::{Bus, BusError};
use super::system_program;
use super::user_call::{UserCall, user_bus};
use crate::facts::boot::Carry;
use crate::facts::cgroup::user_manager_levels;
use crate::facts::sysctl_rules::path_of;
use crate::plan::Credentials;

/// The system that edgeprep runs on.
#[derive(Debug)]
pub struct Live<F> {
    as_user: F,
}

impl<F> Live<F>
where
    F: FnMut(&Credentials, &UserCall) -> Result<(), BusError>,
{
    /// The system, where `as_user` has a call performed with a user's credentials
    /// ([`UserCall::perform`]).
    pub fn new(as_user: F) -> Live<F> {
        Live { as_user }
    }
}

#[expect(clippy::disallowed_methods, reason = "the running system is changed and looked at again")]
impl<F> Buses for Live<F>
where
    F: FnMut(&Credentials, &UserCall) -> Result<(), BusError>,
{
    fn system(&mut self) -> Result<Bus, BusError> {
        Bus::system()
    }

    fn user(&mut self, who: &Credentials, call: &UserCall) -> Result<(), BusError> {
        (self.as_user)(who, call)
    }

    fn controllers(&mut self, uid: u32) -> io::Result<String> {
        let [.., manager] = user_manager_levels(uid);
        fs::read_to_string(format!("{manager}/cgroup.controllers"))
    }

    fn has_user_bus(&mut self, uid: u32) -> bool {
        fs::symlink_metadata(user_bus(uid)).is_ok_and(|found| found.file_type().is_socket())
    }

    fn write_sysctl(&mut self, key: &str, value: &str) -> io::Result<()> {
        let path = path_of(key);
        if path.is_empty() || path.split('/').any(|part| part == "..") {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not the name of a kernel parameter"));
        }
        let mut file = OpenOptions::new()
            .write(true)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(format!("/proc/sys/{path}"))?;
        // One write: the kernel takes each for a value of its own (`Documentation/admin-guide/sysctl`).
        let line = format!("{value}\n");
        if file.write(line.as_bytes())? < line.len() {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "the value was taken in part"));
        }
        Ok(())
    }

    fn run(&mut self, carry: &Carry) -> io::Result<()> {
        system_program::run(carry)
    }

    fn sysctl(&mut self, key: &str) -> Option<String> {
        fs::read_to_string(format!("/proc/sys/{}", path_of(key))).ok()
    }

    fn device_mode(&mut self, path: &str) -> Option<u32> {
        fs::symlink_metadata(path).ok().map(|found| found.permissions().mode() & 0o7777)
    }

    fn chmod_device(&mut self, path: &str, mode: u32) -> io::Result<()> {
        let node =
            nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
        if SFlag::from_bits_truncate(fstat(&node)?.st_mode & SFlag::S_IFMT.bits()) != SFlag::S_IFCHR {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a character device"));
        }
        // fchmod(2) does not take such a descriptor; what it stands for cannot be exchanged any more.
        fs::set_permissions(
            format!("/proc/self/fd/{}", node.as_raw_fd()),
            Permissions::from_mode(mode & 0o7777),
        )
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make files")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn live() -> Live<impl FnMut(&Credentials, &UserCall) -> Result<(), BusError>> {
        Live::new(|_, _| Ok(()))
    }

    #[test]
    fn only_a_device_node_gets_a_mode() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(at("file"), "").unwrap();
        fs::set_permissions(at("file"), Permissions::from_mode(0o600)).unwrap();
        symlink("/dev/null", at("device")).unwrap();
        symlink(at("file"), at("link")).unwrap();
        for name in ["file", "device", "link", "."] {
            let error = live().chmod_device(&at(name), 0o666).unwrap_err();
            assert_eq!(error.to_string(), "is not a character device", "{name}");
        }
        assert_eq!(live().chmod_device(&at("absent"), 0o666).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(fs::metadata(at("file")).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn only_a_kernel_parameter_gets_a_value() {
        for key in ["", ".", "kernel/../../self/comm", "net/.."] {
            let error = live().write_sysctl(key, "x").unwrap_err();
            assert_eq!(error.to_string(), "is not the name of a kernel parameter", "{key}");
        }
        // It is not made, and a folder is not written to.
        for key in ["kernel.edgeprep_test", "kernel"] {
            assert!(live().write_sysctl(key, "x").is_err(), "{key}");
        }
    }
}
