//! The only writer: a live system, or an image root that no path leaves.
//!
//! A file is replaced by a rename within its directory, after everything it shall be is on disk; what is
//! swapped out is looked at once more, so that a change by others in between is put back and not lost. A
//! process that is killed leaves the old file or the new one, and at most a temporary file whose name the
//! next run knows.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, ResolveFlags, Timespec, Timestamps,
};
use rustix::io::Errno;

pub use super::error::WriteError;
use super::staging::{self, Owner};
use crate::plan::{Content, State};

/// How often a lookup is repeated that lost a race with a rename (`openat2(2)`, `EAGAIN`).
const RACE_RETRIES: u32 = 16;
/// How long another edgeprep is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(20);

type Result<T> = std::result::Result<T, WriteError>;

/// Where to write.
pub struct Target {
    /// `None` for the running system.
    root: Option<OwnedFd>,
    owner: Owner,
    /// To what all that is written is dated back, for images that are the same from run to run.
    mtime: Option<i64>,
    /// The only user whose directories are written to.
    only: Option<u32>,
}

/// Keeps others out as long as it lives.
#[derive(Debug)]
pub struct Lock {
    directory: OwnedFd,
}

impl Lock {
    /// Whether the directory was removed while we waited, so that this keeps nobody out.
    pub fn is_void(&self) -> bool {
        rustix::fs::fstat(&self.directory).map_or(true, |stat| stat.st_nlink == 0)
    }
}

impl Target {
    /// The running system.
    pub fn live() -> Target {
        Target { root: None, owner: Owner::default(), mtime: None, only: None }
    }

    /// The running system, as far as it belongs to a user.
    pub fn of_user(uid: u32) -> Target {
        Target { only: Some(uid), ..Target::live() }
    }

    /// A system below `root`, which no path leaves (`openat2(2)`, `RESOLVE_IN_ROOT`). A root directory that
    /// does not belong to root was made by a builder without privileges, who stands for root in it.
    ///
    /// # Errors
    /// When it cannot be opened as a directory.
    pub fn image(root: &Path) -> Result<Target> {
        let shown = root.to_string_lossy();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = rustix::fs::open(root, flags, Mode::empty());
        let fd = open.map_err(|errno| WriteError::system(&shown, "open", errno))?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| WriteError::system(&shown, "look at", errno))?;
        let owner = Owner { builder: (stat.st_uid != 0).then_some((stat.st_uid, stat.st_gid)) };
        Ok(Target { root: Some(fd), owner, mtime: None, only: None })
    }

    /// With a time, in seconds since 1970, that everything written gets.
    pub fn with_mtime(self, mtime: Option<i64>) -> Target {
        Target { mtime, ..self }
    }

    /// What is at a path, a link at its end not followed.
    ///
    /// # Errors
    /// When it cannot be read, is larger than any configuration file, or is neither file, link nor
    /// directory.
    pub fn observe(&self, path: &str) -> Result<State> {
        match self.parent(path) {
            Ok((parent, name)) => staging::observe(&parent, name, path, self.owner),
            Err(WriteError::System { errno, .. })
                if [Errno::NOENT, Errno::NOTDIR].iter().any(|e| e.raw_os_error() == errno) =>
            {
                Ok(State::Absent)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes `to` of `from`.
    ///
    /// # Errors
    /// [`WriteError::Stale`] where something other than `from` is there, which is left alone then; and those
    /// of the system.
    pub fn put(&self, path: &str, from: &State, to: &State) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        self.refuse_foreign(&parent, path)?;
        let at = staging::Place { parent: parent.as_fd(), name, path, owner: self.owner };
        at.sweep()?;
        match (from, to) {
            (_, State::File { content, .. }) if matches!(from, State::Absent | State::File { .. }) => {
                match (from, content) {
                    (State::File { content: old, .. }, new) if old.is(new) => at.change_attributes(from, to)?,
                    (_, Content::Sha256(_)) => {
                        return Err(WriteError::refused(path, "what shall be in it is not known"));
                    }
                    _ => at.replace(from, to)?,
                }
            }
            (State::Absent, State::Link { .. }) => at.link(to)?,
            (State::Link { .. }, State::Link { .. }) => at.replace(from, to)?,
            (State::Absent, State::Dir { mode, uid, gid }) => at.make_directory(*mode, *uid, *gid)?,
            (State::File { .. } | State::Link { .. }, State::Absent) => at.remove(from)?,
            (State::Dir { .. }, State::Absent) => at.remove_directory(from)?,
            _ => return Err(WriteError::refused(path, "it would become something of another kind")),
        }
        if *to != State::Absent {
            self.date_back(parent.as_fd(), name, path)?;
        }
        self.date_back(parent.as_fd(), ".", path)?;
        rustix::fs::fsync(&parent).map_err(|errno| WriteError::system(path, "make durable the directory of", errno))
    }

    /// Removes what an interrupted [`Target::put`] of this path left beside it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn sweep(&self, path: &str) -> Result<()> {
        match self.parent(path) {
            Ok((parent, name)) => {
                staging::Place { parent: parent.as_fd(), name, path, owner: self.owner }.sweep()
            }
            // No directory, nothing left in it.
            Err(WriteError::System { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Keeps every other edgeprep out of a directory.
    ///
    /// # Errors
    /// When another one is at work for longer than we wait.
    pub fn lock(&self, path: &str) -> Result<Lock> {
        let directory = self.open_directory(path, path)?;
        let begun = Instant::now();
        loop {
            match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock { directory }),
                Err(Errno::WOULDBLOCK | Errno::INTR) if begun.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(errno) => return Err(WriteError::system(path, "lock", errno)),
            }
        }
    }

    fn date_back(&self, parent: BorrowedFd<'_>, name: &str, path: &str) -> Result<()> {
        let Some(seconds) = self.mtime else { return Ok(()) };
        let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| WriteError::system(path, "set the time of", errno))
    }

    /// The directory of a path, and the name in it.
    pub(super) fn parent<'p>(&self, path: &'p str) -> Result<(OwnedFd, &'p str)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or_default();
        if !path.starts_with('/') || matches!(name, "" | "." | "..") || path.contains('\0') {
            return Err(WriteError::refused(path, "it is no absolute path of a file"));
        }
        Ok((self.open_directory(if parent.is_empty() { "/" } else { parent }, path)?, name))
    }

    fn open_directory(&self, directory: &str, path: &str) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = match &self.root {
            None => rustix::fs::openat(CWD, directory, flags, Mode::empty()),
            Some(root) => {
                let relative = directory.trim_start_matches('/');
                let relative = if relative.is_empty() { "." } else { relative };
                let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
                let mut tries = 0;
                loop {
                    match rustix::fs::openat2(root, relative, flags, Mode::empty(), resolve) {
                        Err(Errno::AGAIN) if tries < RACE_RETRIES => tries += 1,
                        other => break other,
                    }
                }
            }
        };
        opened.map_err(|errno| WriteError::system(path, "open the directory of", errno))
    }

    /// On a running system root writes only where nobody else could have put a link, and the process that
    /// writes for a user only where everything is theirs.
    fn refuse_foreign(&self, parent: &OwnedFd, path: &str) -> Result<()> {
        if self.root.is_some() {
            return Ok(());
        }
        let stat =
            rustix::fs::fstat(parent).map_err(|errno| WriteError::system(path, "look at the directory of", errno))?;
        let caller = rustix::process::geteuid().as_raw();
        let owner = self.only.unwrap_or(caller);
        if stat.st_uid != owner {
            let why = format!("its directory belongs to user {}, not to {owner}", stat.st_uid);
            return Err(WriteError::refused(path, &why));
        }
        if owner == 0 && stat.st_mode & 0o022 != 0 {
            return Err(WriteError::refused(path, "others than root can write to its directory"));
        }
        Ok(())
    }
}
