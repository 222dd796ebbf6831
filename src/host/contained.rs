//! Lookups that no link leads out of a directory, for whoever reads or writes an image root.
#![expect(clippy::disallowed_methods, reason = "the reader and the writer of images look up paths here")]

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// How often a lookup is repeated that lost a race with a rename (`openat2(2)`, `EAGAIN`).
const RACE_RETRIES: u32 = 16;

/// `openat2(2)` below the root: `..`, absolute symbolic links and magic links cannot leave it.
///
/// # Errors
/// Those of the system; `ENOSYS` or `EPERM` where it is not to be had.
pub(crate) fn open_in_root(root: impl AsFd, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
    let relative = path.trim_start_matches('/');
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let mut tries = 0;
    loop {
        match openat2(&root, if relative.is_empty() { "." } else { relative }, how) {
            Err(Errno::EAGAIN) if tries < RACE_RETRIES => tries += 1,
            other => return other,
        }
    }
}
