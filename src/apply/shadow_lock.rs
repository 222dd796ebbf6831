//! The lock that `useradd`, `usermod` and `vipw` take before they edit a file such as `/etc/subuid`, so that
//! neither they nor edgeprep lose a line of the other's.
//!
//! The protocol is that of shadow's `lib/commonio.c`: `/etc/.pwd.lock` as `lckpwdf(3)` takes it, once for all
//! files, then for each file one with the PID and a NUL in it, which is linked to `FILE.lock`. Only an image is edited without the former, as `--prefix` does it.
#![expect(clippy::disallowed_methods, reason = "this is part of the one writer")]

use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl, openat};
use nix::libc;
use nix::sys::signal::kill;
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::unistd::{Pid, UnlinkatFlags, linkat, unlinkat};

use super::WriteError;
use super::place::Place;
use super::target::Target;

/// How long shadow tries, and how long `lckpwdf(3)` waits.
const PATIENCE: Duration = Duration::from_secs(15);
/// Shadow waits a second, but holds its locks for a few milliseconds.
const PAUSE: Duration = Duration::from_millis(50);
/// What `lckpwdf(3)` locks.
const PASSWORD_LOCK: &str = "/etc/.pwd.lock";
/// Shadow reads no more of a lock.
const PID_LIMIT_BYTES: u64 = 31;

/// Two threads would use one `FILE.PID`, which tells processes apart.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Why a lock was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// A process has it and does not let go.
    #[error("{path} is locked by process {pid}, which holds {lock}")]
    Held {
        /// The file that was to be edited.
        path: String,
        /// The lock.
        lock: String,
        /// The process.
        pid: i32,
    },
    /// It is held, by whom cannot be told. Shadow waits for a person then, and so does edgeprep.
    #[error(
        "{path} is locked by {lock}, which names no process; if no useradd, usermod or vipw runs, remove it"
    )]
    Unknown {
        /// The file that was to be edited.
        path: String,
        /// The lock.
        lock: String,
    },
    /// The system refused.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Files that nobody else edits until this is dropped.
#[derive(Debug)]
pub struct ShadowLock {
    /// Locks that were taken, which go in reverse order and before `_password_lock`.
    files: Vec<Taken>,
    _password_lock: Option<File>,
}

#[derive(Debug)]
struct Taken {
    dir: std::os::fd::OwnedFd,
    name: String,
    file: File,
}

impl ShadowLock {
    /// Locks these files, such as `/etc/subuid`, for 15 seconds at most waiting for others. They need not
    /// exist, but their directory must.
    ///
    /// # Errors
    /// [`LockError`]; nothing is locked then.
    pub fn take(target: &Target, paths: &[&str]) -> Result<ShadowLock, LockError> {
        ShadowLock::take_within(target, paths, PATIENCE)
    }

    /// The same, with another patience.
    ///
    /// # Errors
    /// As [`ShadowLock::take`].
    pub fn take_within(target: &Target, paths: &[&str], patience: Duration) -> Result<ShadowLock, LockError> {
        let deadline = Instant::now() + patience;
        loop {
            match try_take(target, paths) {
                // Nothing is held while waiting, so that who holds the rest can go on.
                Err(LockError::Held { .. } | LockError::Unknown { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(PAUSE);
                }
                other => return other,
            }
        }
    }
}

fn try_take(target: &Target, paths: &[&str]) -> Result<ShadowLock, LockError> {
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let _password_lock =
        if target.is_image() { None } else { Some(lock_passwords(target, paths.first().copied())?) };
    let mut lock = ShadowLock { files: Vec::new(), _password_lock };
    for path in paths {
        lock.files.push(lock_file(target, path)?);
    }
    drop(guard);
    Ok(lock)
}

/// What `lckpwdf(3)` does. A lock of the open file, unlike glibc's of the process, also keeps threads apart.
fn lock_passwords(target: &Target, path: Option<&str>) -> Result<File, LockError> {
    let place = target.place_to_write(PASSWORD_LOCK)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let file = File::from(openat(&place.dir, place.name, flags, mode).map_err(place.failed("open"))?);
    let mut range = libc::flock { l_type: F_WRLCK, l_whence: SEEK_SET, l_start: 0, l_len: 0, l_pid: 0 };
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&range)) {
        Ok(_) => return Ok(file),
        Err(Errno::EACCES | Errno::EAGAIN) => {}
        Err(errno) => return Err(place.failed("lock")(errno).into()),
    }
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut range)).map_err(place.failed("lock"))?;
    Err(held(
        path.unwrap_or(PASSWORD_LOCK),
        PASSWORD_LOCK.to_owned(),
        (range.l_pid > 0).then_some(range.l_pid),
    ))
}

#[expect(clippy::cast_possible_truncation, reason = "the constants are 0 and 1; the fields are shorts")]
const F_WRLCK: libc::c_short = libc::F_WRLCK as libc::c_short;
#[expect(clippy::cast_possible_truncation, reason = "the constants are 0 and 1; the fields are shorts")]
const SEEK_SET: libc::c_short = libc::SEEK_SET as libc::c_short;

fn held(path: &str, lock: String, pid: Option<i32>) -> LockError {
    let path = path.to_owned();
    match pid {
        Some(pid) => LockError::Held { path, lock, pid },
        None => LockError::Unknown { path, lock },
    }
}

fn lock_file(target: &Target, path: &str) -> Result<Taken, LockError> {
    let place = target.place_to_write(path)?;
    let pid = Pid::this();
    // Shadow's own names hold the PID, so that what a killed process leaves of them stays for ever.
    let own = format!(".{}.lock.edgeprep~", place.name);
    let lock = format!("{}.lock", place.name);
    let file = write_pid(&place, &own, pid)?;
    let linked = link(&place, &own, &lock);
    let removed = unlink(&place, &own);
    let taken = linked.and_then(|()| removed.map_err(LockError::from));
    match taken {
        Ok(()) => Ok(Taken { dir: place.dir, name: lock, file }),
        Err(error) => {
            if is_same(&place.dir, &lock, &file) {
                unlink(&place, &lock)?;
            }
            Err(error)
        }
    }
}

fn write_pid(place: &Place<'_>, own: &str, pid: Pid) -> Result<File, WriteError> {
    // An earlier process with our PID may have left it.
    unlink(place, own)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let file = openat(&place.dir, own, flags, mode).map_err(place.failed("create a lock for"))?;
    let mut file = File::from(file);
    let written = file.write_all(format!("{pid}\0").as_bytes()).and_then(|()| file.sync_data());
    if let Err(error) = written {
        unlink(place, own)?;
        return Err(WriteError::io(place.path, "create a lock for", &error));
    }
    Ok(file)
}

/// Links our file to the lock's name, once more if a dead process held it.
fn link(place: &Place<'_>, own: &str, lock: &str) -> Result<(), LockError> {
    let failed = || place.failed("create a lock for");
    for retry in [true, false] {
        match linkat(&place.dir, own, &place.dir, lock, AtFlags::empty()) {
            Ok(()) => break,
            Err(Errno::EEXIST) if retry => clear_stale(place, lock)?,
            Err(Errno::EEXIST) => return Err(held(place.path, lock_path(place), None)),
            Err(errno) => return Err(failed()(errno).into()),
        }
    }
    // link(2) can fail on NFS though it was done, and the other way round: the count tells.
    let st = stat(place, own).map_err(failed())?;
    if st.st_nlink == 2 { Ok(()) } else { Err(held(place.path, lock_path(place), None)) }
}

fn lock_path(place: &Place<'_>) -> String {
    format!("{}.lock", place.path)
}

/// Removes a lock whose process is dead, as shadow does. One that names no process is left alone, as shadow
/// does, too.
fn clear_stale(place: &Place<'_>, lock: &str) -> Result<(), LockError> {
    match stat(place, lock) {
        Ok(st) if st.st_mode & libc::S_IFMT == libc::S_IFREG => {}
        Ok(_) => return Err(held(place.path, lock_path(place), None)),
        // It was let go meanwhile.
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(place.failed("look at the lock of")(errno).into()),
    }
    let mut text = Vec::new();
    let read;
    match place.open_file(lock) {
        Ok(file) => {
            let st = fstat(&file).map_err(place.failed("look at the lock of"))?;
            read = (st.st_dev, st.st_ino);
            file.take(PID_LIMIT_BYTES)
                .read_to_end(&mut text)
                .map_err(|error| WriteError::io(place.path, "read the lock of", &error))?
        }
        Err(WriteError::Stale { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    match process(&text) {
        None => Err(held(place.path, lock_path(place), None)),
        Some(pid) if kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH) => {
            Err(held(place.path, lock_path(place), Some(pid)))
        }
        // Another one can have taken it since.
        Some(_) if stat(place, lock).is_ok_and(|now| (now.st_dev, now.st_ino) != read) => Ok(()),
        Some(_) => Ok(unlink(place, lock)?),
    }
}

/// The PID in a lock, which ends at the first NUL.
fn process(text: &[u8]) -> Option<i32> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    std::str::from_utf8(&text[..end]).ok()?.parse().ok().filter(|pid| *pid > 0)
}

fn stat(place: &Place<'_>, name: &str) -> Result<FileStat, Errno> {
    fstatat(&place.dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

fn unlink(place: &Place<'_>, name: &str) -> Result<(), WriteError> {
    remove(&place.dir, name).map_err(place.failed("remove a lock of"))
}

/// Tries again where it fails: what stays would keep others waiting.
fn remove(dir: &std::os::fd::OwnedFd, name: &str) -> Result<(), Errno> {
    match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(_) => unlinkat(dir, name, UnlinkatFlags::NoRemoveDir),
    }
}

fn is_same(dir: &std::os::fd::OwnedFd, name: &str, file: &File) -> bool {
    match (fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW), fstat(file)) {
        (Ok(there), Ok(ours)) => (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino),
        _ => false,
    }
}

impl Drop for ShadowLock {
    fn drop(&mut self) {
        while let Some(Taken { dir, name, file }) = self.files.pop() {
            if is_same(&dir, &name, &file) {
                // It is stale as soon as this process ends.
                let _ = remove(&dir, &name);
            }
        }
    }
}
