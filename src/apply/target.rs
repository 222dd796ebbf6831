//! The only writer: makes what a plan wants of what the plan saw, path by path, or changes nothing.
//!
//! The directory of a path is opened first, below an image root with `openat2(2)`, which no link leaves.
//! Everything else happens to the last component in that directory ([`super::place`]): it is made complete
//! and durable under a temporary name, then takes its place in one rename, so that whoever looks, and
//! whenever the power fails, there are the old bytes or the new ones.
#![expect(clippy::disallowed_methods, reason = "this is the one writer, which looks before it writes")]

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::unistd::fsync;
use rustix::fs::FlockOperation;
use rustix::io::Errno as Wait;

use super::WriteError;
use super::attributes::{self, Owners, Wanted};
use super::place::{Place, Unmoved, kind};
use crate::host::open_in_root;
use crate::plan::State;

/// How long another edgeprep is waited for, and how often it is looked for.
const LOCK_PATIENCE: Duration = Duration::from_secs(20);
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// To look only; a directory that cannot be listed will do.
const SEARCH: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
/// To write: `fsync(2)` does not take `O_PATH`.
const LIST: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Where paths are written.
#[derive(Debug)]
pub struct Target {
    reach: Reach,
    owners: Owners,
    mtime: Option<i64>,
}

/// Keeps others out of a directory as long as it lives.
#[derive(Debug)]
pub struct Lock {
    directory: OwnedFd,
}

impl Lock {
    /// Whether the directory was removed while we waited, so that this keeps nobody out.
    pub fn is_void(&self) -> bool {
        fstat(&self.directory).map_or(true, |st| st.st_nlink == 0)
    }
}

#[derive(Debug)]
enum Reach {
    /// All of the running system.
    Live,
    /// What is below an image root.
    Image(OwnedFd),
    /// What a user has below their home and runtime directories.
    Home { bases: [String; 2], uid: u32 },
}

impl Target {
    /// The running system.
    pub fn live() -> Target {
        Target { reach: Reach::Live, owners: Owners::default(), mtime: None }
    }

    /// An image root, which no path leaves.
    ///
    /// # Errors
    /// [`WriteError`], also where the kernel has no `openat2(2)`.
    pub fn image(root: &Path) -> Result<Target, WriteError> {
        let shown = root.to_string_lossy();
        let failed = |errno| WriteError::system(&shown, "open", errno);
        let fd = open(root, SEARCH, Mode::empty()).map_err(failed)?;
        let st = fstat(&fd).map_err(failed)?;
        open_in_root(&fd, "/", SEARCH).map_err(|errno| {
            let why = format!("openat2(2), which confines writes to an image root, answers {errno}");
            WriteError::refused(&shown, &why)
        })?;
        let builder = (st.st_uid != 0).then_some((st.st_uid, st.st_gid));
        Ok(Target { reach: Reach::Image(fd), owners: Owners { builder }, mtime: None })
    }

    /// What this user, as whom the process runs, has below their home directory and `/run/user/UID`. Every
    /// directory on the way has to be theirs.
    pub fn home(home: &str, uid: u32) -> Target {
        let bases = [home.trim_end_matches('/').to_owned(), format!("/run/user/{uid}")];
        Target { reach: Reach::Home { bases, uid }, owners: Owners::default(), mtime: None }
    }

    /// In an image, everything that is written gets this modification time, in seconds since 1970, as do the
    /// directories it is in (`SOURCE_DATE_EPOCH`). On a running system an old time would hide a change from
    /// systemd, so it is not set there.
    pub fn with_mtime(mut self, mtime: Option<i64>) -> Target {
        self.mtime = mtime.filter(|_| self.is_image());
        self
    }

    /// Whether this is an image root.
    pub fn is_image(&self) -> bool {
        matches!(self.reach, Reach::Image(_))
    }

    /// What is at a path, the last link not followed, with all that is in it.
    ///
    /// # Errors
    /// [`WriteError`], of which `Special` says that it is nothing that is ever written.
    pub fn observe(&self, path: &str) -> Result<State, WriteError> {
        match self.place(path, SEARCH)? {
            Some(place) => place.observe(place.name),
            None => Ok(State::Absent),
        }
    }

    /// Makes `to` of `from`. Where only mode, owner or capability of a file or directory differ, they are
    /// changed as it stands; if that is interrupted, [`halfway`] knows what can be there.
    ///
    /// # Errors
    /// [`WriteError`]: `Stale` when there is something other than `from`.
    pub fn put(&self, path: &str, from: &State, to: &State) -> Result<(), WriteError> {
        let missing = || WriteError::system(path, "create", Errno::ENOENT);
        let place = match self.place(path, LIST)? {
            Some(place) => place,
            None if matches!((from, to), (State::Absent, State::Absent)) => return Ok(()),
            None if matches!(from, State::Absent) => return Err(missing()),
            None => return Err(WriteError::stale(path)),
        };
        place.clear()?;
        if changes_in_place(from, to) {
            return change_in_place(&place, from, to);
        }
        if !place.observe(place.name)?.is(from) {
            return Err(place.stale());
        }
        let done = match (from, to) {
            _ if from.is(to) => return Ok(()),
            (_, State::Absent) => place.take(from),
            (State::Absent, _) => place.make(from, to).and_then(|()| place.settle()).map_err(Unmoved::from),
            _ => place.make(from, to).map_err(Unmoved::from).and_then(|()| place.swap(from)),
        };
        match done {
            Ok(()) => place.sync(),
            Err(Unmoved { error, keep }) => {
                if !keep {
                    // The error that matters is the first one.
                    let _ = place.clear();
                }
                Err(error)
            }
        }
    }

    /// Removes the temporary file that an interrupted [`Target::put`] of this path left.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn sweep(&self, path: &str) -> Result<(), WriteError> {
        match self.place(path, LIST)? {
            Some(place) if place.clear()? => place.sync(),
            _ => Ok(()),
        }
    }

    /// Makes the directory of a path durable, and in an image dates it back.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn settle(&self, path: &str) -> Result<(), WriteError> {
        self.place(path, LIST)?.map_or(Ok(()), |place| place.sync())
    }

    /// Keeps every other edgeprep out of a directory, as long as what this returns lives.
    ///
    /// # Errors
    /// When another one is at work for longer than is waited.
    pub fn lock(&self, path: &str) -> Result<Lock, WriteError> {
        let flags = LIST | OFlag::O_NOFOLLOW;
        let open = |place: &Place<'_>| openat(&place.dir, place.name, flags, Mode::empty());
        let dir = match (path, &self.reach) {
            ("/", Reach::Image(root)) => open_in_root(root, "/", LIST),
            ("/", _) => openat(AT_FDCWD, "/", LIST, Mode::empty()),
            _ => open(&self.place_to_write(path)?),
        };
        hold(dir.map_err(|errno| WriteError::system(path, "lock", errno))?, path)
    }

    /// The same with a file that is made for it, and that only its owner can open.
    ///
    /// # Errors
    /// As [`Target::lock`].
    pub fn lock_file(&self, path: &str) -> Result<Lock, WriteError> {
        let place = self.place_to_write(path)?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(&place.dir, place.name, flags, Mode::S_IRUSR | Mode::S_IWUSR);
        hold(file.map_err(place.failed("lock"))?, path)
    }

    /// The place of a path; `None` when its directory does not exist.
    pub(super) fn place<'p>(&self, path: &'p str, flags: OFlag) -> Result<Option<Place<'p>>, WriteError> {
        let (parent, name) = split(path)?;
        let dir = match &self.reach {
            Reach::Live => openat(AT_FDCWD, parent, flags, Mode::empty()),
            Reach::Image(root) => open_in_root(root, parent, flags),
            Reach::Home { bases, uid } => return self.place_at_home(path, bases, *uid, flags),
        };
        self.found(path, name, dir)
    }

    pub(super) fn place_to_write<'p>(&self, path: &'p str) -> Result<Place<'p>, WriteError> {
        self.place(path, LIST)?.ok_or_else(|| WriteError::system(path, "create", Errno::ENOENT))
    }

    fn found<'p>(
        &self,
        path: &'p str,
        name: &'p str,
        dir: Result<OwnedFd, Errno>,
    ) -> Result<Option<Place<'p>>, WriteError> {
        match dir {
            Ok(dir) => Ok(Some(Place { dir, name, path, owners: self.owners, mtime: self.mtime })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(WriteError::system(path, "open the directory of", errno)),
        }
    }

    /// Walks from the home directory, so that every step can be looked at. The process has only the user's
    /// rights; what is prevented is that it writes for them where they did not mean it to.
    fn place_at_home<'p>(
        &self,
        path: &'p str,
        bases: &[String],
        uid: u32,
        flags: OFlag,
    ) -> Result<Option<Place<'p>>, WriteError> {
        let below = |base: &String| path.strip_prefix(base.as_str())?.strip_prefix('/');
        let Some((base, rest)) =
            bases.iter().filter(|base| base.starts_with('/')).find_map(|base| Some((base, below(base)?)))
        else {
            return Err(WriteError::refused(path, "it is not below the user's home directory"));
        };
        let refused = |why: String| Err(WriteError::refused(path, &why));
        let (parents, name) = rest.rsplit_once('/').unwrap_or(("", rest));
        let mut walked = base.clone();
        let mut dir = open(base.as_str(), SEARCH, Mode::empty());
        for component in parents.split('/').filter(|component| !component.is_empty()) {
            let Some(place) = self.found(path, name, dir)? else { return Ok(None) };
            theirs(&place, &walked, uid)?;
            walked = format!("{walked}/{component}");
            match fstatat(&place.dir, component, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(st) if kind(&st) == SFlag::S_IFLNK && st.st_uid != uid => {
                    return refused(format!("{walked} is a link that belongs to UID {}", st.st_uid));
                }
                Ok(_) => dir = openat(&place.dir, component, SEARCH, Mode::empty()),
                Err(errno) => dir = Err(errno),
            }
        }
        let Some(place) = self.found(path, name, dir)? else { return Ok(None) };
        theirs(&place, &walked, uid)?;
        let dir = openat(&place.dir, ".", flags, Mode::empty());
        self.found(path, name, dir)
    }
}

/// Waits for the lock on what was opened.
fn hold(directory: OwnedFd, path: &str) -> Result<Lock, WriteError> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Lock { directory }),
            Err(Wait::WOULDBLOCK | Wait::INTR) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(errno) => {
                return Err(WriteError::system(path, "lock", Errno::from_raw(errno.raw_os_error())));
            }
        }
    }
}

/// Refuses a directory that is not the user's.
fn theirs(place: &Place<'_>, walked: &str, uid: u32) -> Result<(), WriteError> {
    let st = fstat(&place.dir).map_err(place.failed("look at the directory of"))?;
    if st.st_uid == uid {
        return Ok(());
    }
    Err(WriteError::refused(place.path, &format!("{walked} belongs to UID {}", st.st_uid)))
}

/// Whether `seen` is what a [`Target::put`] can have left that was interrupted between changes of owner, mode
/// and capability: neither `from` nor `to`, but nobody else's change.
pub fn halfway(from: &State, to: &State, seen: &State) -> bool {
    let one_of = |seen: u32, from: u32, to: u32| seen == from || seen == to;
    match (from, to, seen) {
        (
            State::File { content, mode, uid, gid, capability },
            State::File { content: c, mode: m, uid: u, gid: g, capability: cap },
            State::File {
                content: seen,
                mode: seen_mode,
                uid: seen_uid,
                gid: seen_gid,
                capability: seen_cap,
            },
        ) => {
            let chowned = (uid, gid) != (u, g);
            // chown(2) takes these away.
            let cleared = chowned && *seen_mode == mode & 0o1777;
            content.is(c)
                && content.is(seen)
                && (one_of(*seen_mode, *mode, *m) || cleared)
                && one_of(*seen_uid, *uid, *u)
                && one_of(*seen_gid, *gid, *g)
                && (seen_cap == capability || seen_cap == cap || (chowned && seen_cap.is_none()))
        }
        (
            State::Dir { mode, uid, gid },
            State::Dir { mode: m, uid: u, gid: g },
            State::Dir { mode: seen, uid: seen_uid, gid: seen_gid },
        ) => one_of(*seen, *mode, *m) && one_of(*seen_uid, *uid, *u) && one_of(*seen_gid, *gid, *g),
        _ => false,
    }
}

fn changes_in_place(from: &State, to: &State) -> bool {
    match (from, to) {
        (State::File { content, .. }, State::File { content: wanted, .. }) => {
            content.is(wanted) && !from.is(to)
        }
        (State::Dir { .. }, State::Dir { .. }) => !from.is(to),
        _ => false,
    }
}

/// The file may be a running program, so it keeps its inode and its bytes are not touched.
fn change_in_place(place: &Place<'_>, from: &State, to: &State) -> Result<(), WriteError> {
    let seen = place.observe(place.name)?;
    if !seen.is(from) {
        return Err(place.stale());
    }
    let file = match from {
        State::Dir { .. } => place.open_dir(place.name)?,
        _ => place.open_file(place.name)?,
    };
    let st = fstat(&file).map_err(place.failed("look at"))?;
    let (Some(before), Some(after)) = (wanted(from), wanted(to)) else { return Err(place.stale()) };
    // It can have been replaced since: what is open now is what counts.
    match from {
        State::Dir { .. }
            if (place.owners.shown(&st), st.st_mode & 0o7777) == (before.owner, before.mode) => {}
        State::File { .. } if place.read(&file)?.is(from) => {
            if st.st_nlink > 1 {
                return Err(WriteError::refused(
                    place.path,
                    "it has another name (hard link), which would be changed with it",
                ));
            }
        }
        _ => return Err(place.stale()),
    }
    let done = attributes::dress(place.path, &file, place.owners, &after)
        .and_then(|()| fsync(&file).map_err(place.failed("write")));
    if done.is_err() {
        // The error that matters is the first one.
        let _ = attributes::dress(place.path, &file, place.owners, &before);
    }
    done
}

fn wanted(state: &State) -> Option<Wanted<'_>> {
    match state {
        State::File { mode, uid, gid, capability, .. } => {
            Some(Wanted { owner: (*uid, *gid), mode: *mode, capability: Some(capability) })
        }
        State::Dir { mode, uid, gid } => Some(Wanted { owner: (*uid, *gid), mode: *mode, capability: None }),
        State::Absent | State::Link { .. } => None,
    }
}

/// The directory and the last component of a path that says exactly where it leads.
fn split(path: &str) -> Result<(&str, &str), WriteError> {
    let refused = || WriteError::refused(path, "it is not an absolute path without '.', '..' and '//'");
    let components = path.strip_prefix('/').ok_or_else(refused)?;
    if components.split('/').any(|name| matches!(name, "" | "." | "..") || name.contains('\0')) {
        return Err(refused());
    }
    let (parent, name) = path.rsplit_once('/').ok_or_else(refused)?;
    Ok((if parent.is_empty() { "/" } else { parent }, name))
}
