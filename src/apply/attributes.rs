//! Owner, mode, capability and the other extended attributes of an open file or directory.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, Mode, fchmod, fstat};
use nix::unistd::{Gid, Uid, fchown};
use xattr::FileExt;

use super::WriteError;
use crate::plan::Hex;

/// The capability sets of a program (`capabilities(7)`).
const CAPABILITY: &str = "security.capability";
/// The access control list of a file (`acl(5)`). A directory's default list gives one to a new file.
const ACL: &str = "system.posix_acl_access";
/// What belongs to the bytes of a file and not to its name: the capability, which a plan states, and what
/// the integrity subsystem computes from the bytes.
const OF_THE_BYTES: [&str; 3] = [CAPABILITY, "security.ima", "security.evm"];

/// Whose files are shown as root's. An image root that does not belong to root was made by a builder
/// without privileges, who owns all of it until it is packed and stands for root; [`crate::host`] sees it
/// the same way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owners {
    pub(super) builder: Option<(u32, u32)>,
}

impl Owners {
    /// The owner as a plan has it.
    pub(super) fn shown(self, st: &FileStat) -> (u32, u32) {
        let (uid, gid) = self.builder.unwrap_or_default();
        (if st.st_uid == uid { 0 } else { st.st_uid }, if st.st_gid == gid { 0 } else { st.st_gid })
    }

    /// The owner as it is on disk.
    pub(super) fn on_disk(self, (uid, gid): (u32, u32)) -> (u32, u32) {
        let (builder_uid, builder_gid) = self.builder.unwrap_or_default();
        (if uid == 0 { builder_uid } else { uid }, if gid == 0 { builder_gid } else { gid })
    }

    /// What is to be changed so that the owner is the one that is wanted.
    pub(super) fn change(self, st: &FileStat, wanted: (u32, u32)) -> Option<(Option<Uid>, Option<Gid>)> {
        let (uid, gid) = self.on_disk(wanted);
        let uid = (st.st_uid != uid).then(|| Uid::from_raw(uid));
        let gid = (st.st_gid != gid).then(|| Gid::from_raw(gid));
        (uid.is_some() || gid.is_some()).then_some((uid, gid))
    }
}

/// Owner, mode and capability that a file or directory shall have.
pub(super) struct Wanted<'a> {
    pub(super) owner: (u32, u32),
    pub(super) mode: u32,
    /// `None` for a directory, which has none.
    pub(super) capability: Option<&'a Option<Hex>>,
}

/// The order is that of `chown(2)`, which takes away setuid, setgid and capability: owner, mode, capability.
/// What is as wanted is not touched, so that it takes no privilege.
pub(super) fn dress(path: &str, file: &File, owners: Owners, wanted: &Wanted<'_>) -> Result<(), WriteError> {
    // What belongs to a builder without privileges must not get any by root's hand: its bytes are theirs.
    let privileged = wanted.mode & 0o6000 != 0 || wanted.capability.is_some_and(Option::is_some);
    if owners.builder.is_some() && nix::unistd::geteuid().is_root() && privileged {
        let why = "the image belongs to another user, and root gives no privileges to a file of theirs";
        return Err(WriteError::refused(path, why));
    }
    let failed = |doing| move |errno| WriteError::system(path, doing, errno);
    let stat = || fstat(file).map_err(failed("look at"));
    if let Some((uid, gid)) = owners.change(&stat()?, wanted.owner) {
        fchown(file, uid, gid).map_err(failed("change the owner of"))?;
    }
    if stat()?.st_mode & 0o7777 != wanted.mode {
        fchmod(file, Mode::from_bits_truncate(wanted.mode)).map_err(failed("change the mode of"))?;
        // Without CAP_FSETID the kernel drops setgid in silence, and FAT has no modes.
        if stat()?.st_mode & 0o7777 != wanted.mode {
            return Err(failed("change the mode of")(Errno::EPERM));
        }
    }
    let Some(wanted) = wanted.capability else { return Ok(()) };
    let failed = |error: io::Error| WriteError::io(path, "change the capabilities of", &error);
    let seen = capability(path, file)?;
    match wanted {
        _ if seen == *wanted => Ok(()),
        Some(Hex(value)) => file.set_xattr(CAPABILITY, value).map_err(failed),
        None => file.remove_xattr(CAPABILITY).map_err(failed),
    }
}

pub(super) fn capability(path: &str, file: &File) -> Result<Option<Hex>, WriteError> {
    match file.get_xattr(CAPABILITY) {
        Ok(value) => Ok(value.map(Hex)),
        Err(error) if has_errno(&error, Errno::EOPNOTSUPP) => Ok(None),
        Err(error) => Err(WriteError::io(path, "read the capabilities of", &error)),
    }
}

/// Gives `new` the extended attributes of `old`: its SELinux label, its access control list, those of its
/// user. Where one may not be set, or the file system has none, the file is worth more than the attribute.
pub(super) fn copy(path: &str, old: &File, new: &File) -> Result<(), WriteError> {
    let failed = |error: io::Error| WriteError::io(path, "copy the extended attributes of", &error);
    let names = match old.list_xattr() {
        Err(error) if has_errno(&error, Errno::EOPNOTSUPP) => return Ok(()),
        names => names.map_err(failed)?,
    };
    let mut has_acl = false;
    for name in names {
        has_acl |= name == ACL;
        if OF_THE_BYTES.iter().any(|of_the_bytes| name == *of_the_bytes) {
            continue;
        }
        let value = match old.get_xattr(&name) {
            Err(error) if has_errno(&error, Errno::EPERM) => continue,
            value => value.map_err(failed)?,
        };
        let Some(value) = value else { continue };
        if new.get_xattr(&name).ok().flatten().as_ref() != Some(&value) {
            tolerate(new.set_xattr(&name, &value)).map_err(failed)?;
        }
    }
    if !has_acl && new.get_xattr(ACL).ok().flatten().is_some() {
        tolerate(new.remove_xattr(ACL)).map_err(failed)?;
    }
    Ok(())
}

fn tolerate(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if has_errno(&error, Errno::EOPNOTSUPP) || has_errno(&error, Errno::EPERM) => Ok(()),
        other => other,
    }
}

fn has_errno(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}
