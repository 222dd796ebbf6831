//! The lock of `useradd`, `usermod` and the like on a file, so that no line of theirs is lost
//! (shadow: `lib/commonio.c`, `do_lock_file`): `/etc/subuid.lock` holds the PID of its owner, and one
//! whose owner is gone does not count.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::error::WriteError;
use super::target::Target;

/// The files that shadow's tools write.
const FILES: [&str; 2] = ["/etc/subuid", "/etc/subgid"];
/// How long shadow itself waits (`LOCK_TRIES` times `LOCK_SLEEP`).
const PATIENCE: Duration = Duration::from_secs(15);

/// Held as long as it lives.
pub struct ShadowLock {
    directory: OwnedFd,
    lock: String,
}

impl ShadowLock {
    /// The lock on a file, if it is one that shadow's tools write.
    ///
    /// # Errors
    /// When someone else holds it for too long, and those of the system.
    pub fn for_file(target: &Target, path: &str) -> Result<Option<ShadowLock>, WriteError> {
        if !FILES.contains(&path) {
            return Ok(None);
        }
        let (directory, name) = target.parent(path)?;
        let lock = format!("{name}.lock");
        let begun = Instant::now();
        loop {
            match attempt(&directory, &lock, path)? {
                Attempt::Locked => return Ok(Some(ShadowLock { directory, lock })),
                Attempt::Held(by) if begun.elapsed() > PATIENCE => {
                    let why = format!("{path}.lock is held by {by}");
                    return Err(WriteError::refused(path, &why));
                }
                Attempt::Held(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

impl Drop for ShadowLock {
    fn drop(&mut self) {
        // A lock that stays is one of a dead process as soon as we end, which counts for nobody.
        let _ = unlink(&self.directory, &self.lock);
    }
}

/// Removes a name that is ours, and tries again: what stays would keep others waiting.
fn unlink(directory: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(_) => rustix::fs::unlinkat(directory, name, AtFlags::empty()),
    }
}

enum Attempt {
    Locked,
    Held(String),
}

fn attempt(directory: &OwnedFd, lock: &str, path: &str) -> Result<Attempt, WriteError> {
    let failed = |doing: &'static str| move |errno| WriteError::system(path, doing, errno);
    let own = format!(".{lock}.edgeprep~");
    unlink(directory, &own).map_err(failed("lock"))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(directory, &own, flags, Mode::from_raw_mode(0o600))
        .and_then(|fd| rustix::io::write(&fd, format!("{}\0", std::process::id()).as_bytes()))
        .and_then(|_| rustix::fs::linkat(directory, &own, directory, lock, AtFlags::empty()));
    let removed = unlink(directory, &own);
    match made {
        Ok(()) => {
            if let Err(errno) = removed {
                let _ = unlink(directory, lock);
                return Err(failed("lock")(errno));
            }
            Ok(Attempt::Locked)
        }
        Err(Errno::EXIST) => held(directory, lock, path),
        Err(errno) => Err(failed("lock")(errno)),
    }
}

/// Whose lock it is; one whose owner is gone is removed.
fn held(directory: &OwnedFd, lock: &str, path: &str) -> Result<Attempt, WriteError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut text = [0; 31];
    let length = match rustix::fs::openat(directory.as_fd(), lock, flags, Mode::empty()) {
        Ok(fd) => rustix::io::read(&fd, &mut text).map_err(|errno| WriteError::system(path, "lock", errno))?,
        Err(Errno::NOENT) => return Ok(Attempt::Held("someone who was quicker".to_owned())),
        Err(errno) => return Err(WriteError::system(path, "lock", errno)),
    };
    let text = String::from_utf8_lossy(&text[..length]);
    let Some(pid) = text.trim_end_matches(['\0', '\n']).parse().ok().filter(|&pid: &i32| pid > 0) else {
        return Ok(Attempt::Held("nobody that could be told: remove it, if no useradd or usermod runs".to_owned()));
    };
    let gone = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None) == Err(nix::errno::Errno::ESRCH);
    if gone {
        unlink(directory, lock).map_err(|errno| WriteError::system(path, "lock", errno))?;
    }
    Ok(Attempt::Held(format!("process {pid}")))
}
