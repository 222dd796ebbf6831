//! One name in an open directory: looked at, made and exchanged with calls relative to that directory, so
//! that nobody can put another directory under it meanwhile, and links are never followed.
#![expect(clippy::disallowed_methods, reason = "this is the one writer, which looks before it writes")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, fstat, fstatat, futimens, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, fchownat, fsync, linkat, symlinkat, unlinkat};
use rustix::fs::{RenameFlags, renameat_with};
use sha2::{Digest, Sha256};

use super::WriteError;
use super::attributes::{self, Owners, Wanted};
use crate::plan::{Content, State};

/// Far above any configuration file or ID map helper, far below what fills the memory of a small board.
pub(super) const FILE_LIMIT_BYTES: u64 = 4 << 20;
/// The longest name of a file (`limits.h`, `NAME_MAX`).
const NAME_LIMIT_BYTES: usize = 255;
/// What ends the name of a temporary file. No reader of `conf.d` folders takes a name that begins with a dot
/// or ends like this.
const TEMPORARY: &str = ".edgeprep~";
/// `O_NONBLOCK` so that nothing that is swapped in for the file can hang us.
const READ: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// A name in a directory.
pub(super) struct Place<'p> {
    pub(super) dir: OwnedFd,
    /// The last component of `path`.
    pub(super) name: &'p str,
    /// As errors have it.
    pub(super) path: &'p str,
    pub(super) owners: Owners,
    /// The modification time that is given to everything touched, in seconds.
    pub(super) mtime: Option<i64>,
}

type Done<T = ()> = Result<T, WriteError>;

impl Place<'_> {
    pub(super) fn failed(&self, doing: &'static str) -> impl Fn(Errno) -> WriteError {
        let path = self.path.to_owned();
        move |errno| WriteError::system(&path, doing, errno)
    }

    pub(super) fn stale(&self) -> WriteError {
        WriteError::stale(self.path)
    }

    /// The name of the temporary file, which is the same for each run so that a later one finds what an
    /// interrupted one left.
    pub(super) fn temporary(&self) -> String {
        let name = self.name;
        if 1 + name.len() + TEMPORARY.len() <= NAME_LIMIT_BYTES {
            return format!(".{name}{TEMPORARY}");
        }
        let hash: String =
            Sha256::digest(name.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let room = NAME_LIMIT_BYTES - 2 - hash.len() - TEMPORARY.len();
        let end = (0..=room).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
        format!(".{}.{hash}{TEMPORARY}", &name[..end])
    }

    fn look(&self, name: &str) -> Done<Option<FileStat>> {
        match fstatat(&self.dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(st) => Ok(Some(st)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(self.failed("look at")(errno)),
        }
    }

    /// What is at a name of this directory.
    pub(super) fn observe(&self, name: &str) -> Done<State> {
        let Some(st) = self.look(name)? else { return Ok(State::Absent) };
        let (uid, gid) = self.owners.shown(&st);
        match kind(&st) {
            SFlag::S_IFREG => self.read(&self.open_file(name)?),
            SFlag::S_IFDIR => Ok(State::Dir { mode: st.st_mode & 0o7777, uid, gid }),
            SFlag::S_IFLNK => {
                let target = readlinkat(&self.dir, name).map_err(self.failed("read the link"))?;
                let target = target
                    .into_string()
                    .map_err(|_| WriteError::refused(self.path, "it is a link whose text is not UTF-8"))?;
                Ok(State::Link { target, uid, gid })
            }
            _ => Err(self.special(&st)),
        }
    }

    fn special(&self, st: &FileStat) -> WriteError {
        let found = match kind(st) {
            SFlag::S_IFIFO => "a FIFO",
            SFlag::S_IFSOCK => "a socket",
            SFlag::S_IFBLK => "a block device",
            SFlag::S_IFCHR => "a character device",
            SFlag::S_IFDIR => "a directory",
            _ => "no file",
        };
        WriteError::Special { path: self.path.to_owned(), found: found.to_owned() }
    }

    /// Opens what was a regular file a moment ago.
    pub(super) fn open_file(&self, name: &str) -> Done<File> {
        match openat(&self.dir, name, READ, Mode::empty()) {
            Ok(fd) => Ok(File::from(fd)),
            // What was replaced by a link, a socket or nothing between the look and the open.
            Err(Errno::ELOOP | Errno::ENXIO | Errno::ENOENT) => Err(self.stale()),
            Err(errno) => Err(self.failed("open")(errno)),
        }
    }

    pub(super) fn open_dir(&self, name: &str) -> Done<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.dir, name, flags, Mode::empty()).map(File::from).map_err(self.failed("open"))
    }

    /// What an open file holds.
    pub(super) fn read(&self, file: &File) -> Done<State> {
        let st = fstat(file).map_err(self.failed("look at"))?;
        if kind(&st) != SFlag::S_IFREG {
            return Err(self.special(&st));
        }
        let too_large = || WriteError::TooLarge { path: self.path.to_owned(), limit_bytes: FILE_LIMIT_BYTES };
        if u64::try_from(st.st_size).is_ok_and(|size| size > FILE_LIMIT_BYTES) {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        file.take(FILE_LIMIT_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| WriteError::io(self.path, "read", &error))?;
        if bytes.len() as u64 > FILE_LIMIT_BYTES {
            return Err(too_large());
        }
        let (uid, gid) = self.owners.shown(&st);
        let capability = attributes::capability(self.path, file)?;
        Ok(State::File { content: Content::new(bytes), mode: st.st_mode & 0o7777, uid, gid, capability })
    }

    /// Makes `to` under the temporary name, complete and durable; `from` lends its extended attributes.
    pub(super) fn make(&self, from: &State, to: &State) -> Done {
        let temporary = self.temporary();
        let temporary = temporary.as_str();
        match to {
            State::Absent => Ok(()),
            State::File { content, mode, uid, gid, capability } => {
                let bytes = content.bytes().ok_or_else(|| {
                    WriteError::refused(self.path, "only the digest of what shall be in it is known")
                })?;
                let flags =
                    OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                // Nobody else reads it before it has its owner, and its owner can always set attributes.
                let mode_at_first = Mode::S_IRUSR | Mode::S_IWUSR;
                let file =
                    openat(&self.dir, temporary, flags, mode_at_first).map_err(self.failed("create"))?;
                let mut file = File::from(file);
                file.write_all(bytes).map_err(|error| WriteError::io(self.path, "write", &error))?;
                if matches!(from, State::File { .. }) {
                    attributes::copy(self.path, &self.open_file(self.name)?, &file)?;
                }
                let wanted = Wanted { owner: (*uid, *gid), mode: *mode, capability: Some(capability) };
                attributes::dress(self.path, &file, self.owners, &wanted)?;
                self.clamp(&file)?;
                fsync(&file).map_err(self.failed("write"))
            }
            State::Dir { mode, uid, gid } => {
                mkdirat(&self.dir, temporary, Mode::S_IRWXU).map_err(self.failed("create"))?;
                let dir = self.open_dir(temporary)?;
                let wanted = Wanted { owner: (*uid, *gid), mode: *mode, capability: None };
                attributes::dress(self.path, &dir, self.owners, &wanted)?;
                self.clamp(&dir)?;
                fsync(&dir).map_err(self.failed("write"))
            }
            State::Link { target, uid, gid } => {
                symlinkat(target.as_str(), &self.dir, temporary).map_err(self.failed("create"))?;
                let st = self.look(temporary)?.ok_or_else(|| self.stale())?;
                if let Some((uid, gid)) = self.owners.change(&st, (*uid, *gid)) {
                    fchownat(&self.dir, temporary, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
                        .map_err(self.failed("change the owner of"))?;
                }
                let Some(mtime) = self.mtime else { return Ok(()) };
                let flags = UtimensatFlags::NoFollowSymlink;
                utimensat(&self.dir, temporary, &TimeSpec::UTIME_OMIT, &seconds(mtime), flags)
                    .map_err(self.failed("set the time of"))
            }
        }
    }

    /// Gives the temporary file its name, where nothing was.
    pub(super) fn settle(&self) -> Done {
        let temporary = self.temporary();
        match self.rename(&temporary, self.name, RenameFlags::NOREPLACE) {
            Err(Errno::EEXIST) => Err(self.stale()),
            Err(Errno::EINVAL | Errno::ENOSYS) => self.settle_without_noreplace(&temporary),
            other => other.map_err(self.failed("rename")),
        }
    }

    /// NFS and some FUSE file systems have no `RENAME_NOREPLACE`; FAT, before Linux 4.0, has no links either.
    fn settle_without_noreplace(&self, temporary: &str) -> Done {
        match linkat(&self.dir, temporary, &self.dir, self.name, AtFlags::empty()) {
            Ok(()) => {
                unlinkat(&self.dir, temporary, UnlinkatFlags::NoRemoveDir).map_err(self.failed("rename"))
            }
            Err(Errno::EEXIST) => Err(self.stale()),
            // EPERM is also what a directory gets, which has one name only.
            Err(Errno::EPERM | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EMLINK) => {
                if self.look(self.name)?.is_some() {
                    return Err(self.stale());
                }
                renameat(&self.dir, temporary, &self.dir, self.name).map_err(self.failed("rename"))
            }
            Err(errno) => Err(self.failed("link")(errno)),
        }
    }

    /// Exchanges the temporary file with what has the name. What came out is removed if it is `from`, else
    /// both go back.
    pub(super) fn swap(&self, from: &State) -> Result<(), Unmoved> {
        let temporary = self.temporary();
        match self.rename(&temporary, self.name, RenameFlags::EXCHANGE) {
            Ok(()) => (),
            Err(Errno::ENOENT) => return Err(self.stale().into()),
            Err(Errno::EINVAL | Errno::ENOSYS) => return Ok(self.replace(&temporary, from)?),
            Err(errno) => return Err(self.failed("rename")(errno).into()),
        }
        let removed = match self.observe(&temporary) {
            Ok(seen) if seen.is(from) => self.remove(&temporary, from),
            Ok(_) | Err(WriteError::Special { .. } | WriteError::TooLarge { .. }) => Err(self.stale()),
            Err(error) => Err(error),
        };
        let Err(error) = removed else { return Ok(()) };
        match self.rename(&temporary, self.name, RenameFlags::EXCHANGE) {
            Ok(()) => Err(error.into()),
            // It is somebody else's file that has the temporary name now: it must not be removed.
            Err(errno) => Err(Unmoved { error: self.failed("rename")(errno), keep: true }),
        }
    }

    /// Where names cannot be exchanged: a last look, then the rename.
    fn replace(&self, temporary: &str, from: &State) -> Done {
        if !self.observe(self.name)?.is(from) {
            return Err(self.stale());
        }
        if matches!(from, State::Dir { .. }) {
            self.remove(self.name, from)?;
        }
        renameat(&self.dir, temporary, &self.dir, self.name).map_err(self.failed("rename"))
    }

    /// Takes away what has the name if it is `from`.
    pub(super) fn take(&self, from: &State) -> Result<(), Unmoved> {
        if matches!(from, State::Dir { .. }) {
            return Ok(self.remove(self.name, from)?);
        }
        let temporary = self.temporary();
        match renameat(&self.dir, self.name, &self.dir, temporary.as_str()) {
            Ok(()) => (),
            Err(Errno::ENOENT) => return Err(self.stale().into()),
            Err(errno) => return Err(self.failed("remove")(errno).into()),
        }
        let removed = match self.observe(&temporary) {
            Ok(seen) if seen.is(from) => self.remove(&temporary, from),
            Ok(_) | Err(WriteError::Special { .. } | WriteError::TooLarge { .. }) => Err(self.stale()),
            Err(error) => Err(error),
        };
        let Err(error) = removed else { return Ok(()) };
        match self.settle() {
            Ok(()) => Err(error.into()),
            Err(error) => Err(Unmoved { error, keep: true }),
        }
    }

    fn remove(&self, name: &str, what: &State) -> Done {
        let flag = match what {
            State::Dir { .. } => UnlinkatFlags::RemoveDir,
            _ => UnlinkatFlags::NoRemoveDir,
        };
        match unlinkat(&self.dir, name, flag) {
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => Err(WriteError::NotEmpty { path: self.path.to_owned() }),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EISDIR) => Err(self.stale()),
            other => other.map_err(self.failed("remove")),
        }
    }

    /// Removes whatever has the temporary name; whether there was anything.
    pub(super) fn clear(&self) -> Done<bool> {
        let temporary = self.temporary();
        let Some(st) = self.look(&temporary)? else { return Ok(false) };
        let flag = match kind(&st) {
            SFlag::S_IFDIR => UnlinkatFlags::RemoveDir,
            _ => UnlinkatFlags::NoRemoveDir,
        };
        match unlinkat(&self.dir, temporary.as_str(), flag) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(self.failed("remove the temporary file of")(errno)),
        }
    }

    /// Makes names durable. Some file systems have nothing to do for it and say `EINVAL`.
    pub(super) fn sync(&self) -> Done {
        self.clamp(&self.dir)?;
        match fsync(&self.dir) {
            Err(Errno::EINVAL | Errno::EROFS) => Ok(()),
            other => other.map_err(self.failed("write the directory of")),
        }
    }

    fn clamp(&self, fd: impl AsFd) -> Done {
        let Some(mtime) = self.mtime else { return Ok(()) };
        futimens(fd, &TimeSpec::UTIME_OMIT, &seconds(mtime)).map_err(self.failed("set the time of"))
    }

    fn rename(&self, from: &str, to: &str, flags: RenameFlags) -> Result<(), Errno> {
        renameat_with(&self.dir, from, &self.dir, to, flags)
            .map_err(|errno| Errno::from_raw(errno.raw_os_error()))
    }
}

/// Why nothing was moved.
pub(super) struct Unmoved {
    pub(super) error: WriteError,
    /// The temporary name belongs to something that is not ours and could not be put back.
    pub(super) keep: bool,
}

impl From<WriteError> for Unmoved {
    fn from(error: WriteError) -> Unmoved {
        Unmoved { error, keep: false }
    }
}

#[expect(clippy::useless_conversion, reason = "the width of time_t differs between architectures")]
fn seconds(mtime: i64) -> TimeSpec {
    TimeSpec::new(mtime.try_into().unwrap_or(0), 0)
}

pub(super) fn kind(st: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(st.st_mode & SFlag::S_IFMT.bits())
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
