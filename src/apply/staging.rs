//! One name in one open directory: how what is there becomes something else as a whole.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Uid, XattrFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::error::WriteError;
use crate::host::DATABASE_LIMIT_BYTES;
use crate::plan::{Content, Hex, State};

type Result<T> = std::result::Result<T, WriteError>;

const CAPABILITY: &str = "security.capability";
/// The most that a file name can hold (`NAME_MAX`).
const LONGEST_NAME: usize = 255;

/// Who owns what in an image: the builder stands for root.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owner {
    pub(super) builder: Option<(u32, u32)>,
}

impl Owner {
    fn from_disk(self, uid: u32, gid: u32) -> (u32, u32) {
        match self.builder {
            Some((u, g)) => (if uid == u { 0 } else { uid }, if gid == g { 0 } else { gid }),
            None => (uid, gid),
        }
    }

    fn to_disk(self, uid: u32, gid: u32) -> (u32, u32) {
        match self.builder {
            Some((u, g)) => (if uid == 0 { u } else { uid }, if gid == 0 { g } else { gid }),
            None => (uid, gid),
        }
    }
}

/// What is at `name` in an open directory.
pub(super) fn observe(parent: &OwnedFd, name: &str, path: &str, owner: Owner) -> Result<State> {
    Place { parent: parent.as_fd(), name, path, owner }.observe(name)
}

/// A name in an open directory. `path` is for messages.
pub(super) struct Place<'a> {
    pub(super) parent: BorrowedFd<'a>,
    pub(super) name: &'a str,
    pub(super) path: &'a str,
    pub(super) owner: Owner,
}

impl Place<'_> {
    fn failed(&self, doing: &'static str) -> impl Fn(Errno) -> WriteError + '_ {
        move |errno| WriteError::system(self.path, doing, errno)
    }

    /// The name under which a file is made ready. It is always the same, so that it can be found again, and
    /// no reader of configuration takes a name like this.
    fn temporary(&self) -> String {
        let name = format!(".{}.edgeprep~", self.name);
        if name.len() <= LONGEST_NAME {
            return name;
        }
        let digest = Sha256::digest(self.name.as_bytes());
        format!(".{}.edgeprep~", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    pub(super) fn sweep(&self) -> Result<()> {
        match rustix::fs::unlinkat(self.parent, self.temporary(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed("remove what was left beside")(errno)),
        }
    }

    fn observe(&self, name: &str) -> Result<State> {
        let stat = match rustix::fs::statat(self.parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(State::Absent),
            other => other.map_err(self.failed("look at"))?,
        };
        let (uid, gid) = self.owner.from_disk(stat.st_uid, stat.st_gid);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.observe_file(name),
            FileType::Directory => Ok(State::Dir { mode: stat.st_mode & 0o7777, uid, gid }),
            FileType::Symlink => {
                let target =
                    rustix::fs::readlinkat(self.parent, name, Vec::new()).map_err(self.failed("read the link"))?;
                let target = target.into_string().map_err(|_| WriteError::refused(self.path, "its link is no UTF-8"))?;
                Ok(State::Link { target, uid, gid })
            }
            kind => Err(WriteError::refused(self.path, &format!("it is a special file ({kind:?})"))),
        }
    }

    /// Opens a regular file. `O_NONBLOCK`, so that nothing that is swapped in for it can hang us.
    fn open(&self, name: &str) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::openat(self.parent, name, flags, Mode::empty()).map_err(self.failed("open"))
    }

    fn observe_file(&self, name: &str) -> Result<State> {
        let fd = self.open(name)?;
        let stat = rustix::fs::fstat(&fd).map_err(self.failed("look at"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(WriteError::stale(self.path));
        }
        let bytes = self.bytes(&fd)?;
        let (uid, gid) = self.owner.from_disk(stat.st_uid, stat.st_gid);
        let capability = self.attribute(&fd, CAPABILITY)?.map(Hex);
        Ok(State::File { content: Content::new(bytes), mode: stat.st_mode & 0o7777, uid, gid, capability })
    }

    fn bytes(&self, fd: &OwnedFd) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut part = [0; 1 << 16];
        loop {
            match rustix::io::read(fd, &mut part) {
                Ok(0) => return Ok(bytes),
                Ok(count) => bytes.extend_from_slice(&part[..count]),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed("read")(errno)),
            }
            if bytes.len() as u64 > DATABASE_LIMIT_BYTES {
                return Err(WriteError::refused(self.path, "it is larger than anything of its kind"));
            }
        }
    }

    fn attribute(&self, fd: &OwnedFd, name: &str) -> Result<Option<Vec<u8>>> {
        let mut value = vec![0; 1 << 16];
        match rustix::fs::fgetxattr(fd, name, &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                Ok(Some(value))
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
            Err(errno) => Err(self.failed("read the attributes of")(errno)),
        }
    }

    fn expect(&self, name: &str, from: &State) -> Result<()> {
        if self.observe(name)?.is(from) { Ok(()) } else { Err(WriteError::stale(self.path)) }
    }

    /// Puts a file or link in the place of what `from` says.
    pub(super) fn replace(&self, from: &State, to: &State) -> Result<()> {
        self.expect(self.name, from)?;
        let staged = self.stage(from, to);
        let done = staged.and_then(|()| match from {
            State::Absent => self.appear(),
            _ => self.exchange(from),
        });
        if done.is_err() {
            // The error that matters is the first one; a later run sweeps what is left.
            let _ = self.sweep();
        }
        done
    }

    /// Makes ready, under the temporary name, what shall be there.
    fn stage(&self, from: &State, to: &State) -> Result<()> {
        let temporary = self.temporary();
        match to {
            State::Link { target, uid, gid } => {
                rustix::fs::symlinkat(target, self.parent, &temporary).map_err(self.failed("make the link"))?;
                self.own_link(&temporary, *uid, *gid)
            }
            State::File { content, mode, uid, gid, capability } => {
                let old = match from {
                    State::File { .. } => Some(self.open(self.name)?),
                    _ => None,
                };
                let kept;
                let bytes = match (content.bytes(), &old) {
                    (Some(bytes), _) => bytes,
                    (None, Some(old)) => {
                        kept = self.bytes(old)?;
                        &kept
                    }
                    (None, None) => return Err(WriteError::refused(self.path, "its content is not known")),
                };
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(self.parent, &temporary, flags, Mode::from_raw_mode(mode & 0o777))
                    .map_err(self.failed("make a temporary file beside"))?;
                self.write(&fd, bytes)?;
                self.own(&fd, *uid, *gid)?;
                if let Some(old) = &old {
                    self.copy_attributes(old, &fd)?;
                }
                self.set_mode(&fd, *mode)?;
                if let Some(Hex(value)) = capability {
                    rustix::fs::fsetxattr(&fd, CAPABILITY, value, XattrFlags::empty())
                        .map_err(self.failed("set the capability of"))?;
                }
                rustix::fs::fsync(&fd).map_err(self.failed("make durable"))
            }
            State::Absent | State::Dir { .. } => Err(WriteError::refused(self.path, "it is no file and no link")),
        }
    }

    fn write(&self, fd: &OwnedFd, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match rustix::io::write(fd, bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed("write")(errno)),
            }
        }
        Ok(())
    }

    /// The owner is set only where it is another one, which takes root.
    fn own(&self, fd: &OwnedFd, uid: u32, gid: u32) -> Result<()> {
        let (uid, gid) = self.owner.to_disk(uid, gid);
        let stat = rustix::fs::fstat(fd).map_err(self.failed("look at"))?;
        if (stat.st_uid, stat.st_gid) == (uid, gid) {
            return Ok(());
        }
        rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(self.failed("set the owner of"))
    }

    fn own_link(&self, name: &str, uid: u32, gid: u32) -> Result<()> {
        let (uid, gid) = self.owner.to_disk(uid, gid);
        let stat = rustix::fs::statat(self.parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(self.failed("look at"))?;
        if (stat.st_uid, stat.st_gid) == (uid, gid) {
            return Ok(());
        }
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(self.parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(self.failed("set the owner of"))
    }

    /// Bits that the umask took, or that a change of the owner clears.
    fn set_mode(&self, fd: &OwnedFd, mode: u32) -> Result<()> {
        let stat = rustix::fs::fstat(fd).map_err(self.failed("look at"))?;
        if stat.st_mode & 0o7777 == mode {
            return Ok(());
        }
        rustix::fs::fchmod(fd, Mode::from_raw_mode(mode)).map_err(self.failed("set the mode of"))
    }

    /// Access control lists, the SELinux label and the user's own: all that the old file had, as far as we
    /// may set it.
    fn copy_attributes(&self, old: &OwnedFd, new: &OwnedFd) -> Result<()> {
        let mut names = vec![0; 1 << 16];
        let length = match rustix::fs::flistxattr(old, &mut names[..]) {
            Ok(length) => length,
            Err(Errno::OPNOTSUPP) => 0,
            Err(errno) => return Err(self.failed("read the attributes of")(errno)),
        };
        for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            let Ok(name) = std::str::from_utf8(name) else { continue };
            if name == CAPABILITY {
                continue;
            }
            let Some(value) = self.attribute(old, name)? else { continue };
            match rustix::fs::fsetxattr(new, name, &value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => {}
                Err(errno) => return Err(self.failed("set the attributes of")(errno)),
            }
        }
        Ok(())
    }

    /// Gives the temporary file its name, where nothing has it.
    fn appear(&self) -> Result<()> {
        let temporary = self.temporary();
        match rustix::fs::renameat_with(self.parent, &temporary, self.parent, self.name, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(WriteError::stale(self.path)),
            // Not every file system can (`rename(2)`, "EINVAL").
            Err(Errno::INVAL | Errno::NOSYS) => {
                self.expect(self.name, &State::Absent)?;
                rustix::fs::renameat(self.parent, &temporary, self.parent, self.name).map_err(self.failed("rename"))
            }
            Err(errno) => Err(self.failed("rename")(errno)),
        }
    }

    /// Swaps the temporary file with what is there, and removes that if it is what was expected.
    fn exchange(&self, from: &State) -> Result<()> {
        let temporary = self.temporary();
        let swap =
            || rustix::fs::renameat_with(self.parent, &temporary, self.parent, self.name, RenameFlags::EXCHANGE);
        match swap() {
            Ok(()) => {}
            Err(Errno::NOENT) => return Err(WriteError::stale(self.path)),
            Err(Errno::INVAL | Errno::NOSYS) => {
                self.expect(self.name, from)?;
                return rustix::fs::renameat(self.parent, &temporary, self.parent, self.name)
                    .map_err(self.failed("rename"));
            }
            Err(errno) => return Err(self.failed("rename")(errno)),
        }
        if let Err(error) = self.expect(&temporary, from) {
            swap().map_err(self.failed("put back"))?;
            return Err(error);
        }
        self.sweep()
    }

    /// Makes a link where nothing is.
    pub(super) fn link(&self, to: &State) -> Result<()> {
        self.expect(self.name, &State::Absent)?;
        self.replace(&State::Absent, to)
    }

    pub(super) fn make_directory(&self, mode: u32, uid: u32, gid: u32) -> Result<()> {
        match rustix::fs::mkdirat(self.parent, self.name, Mode::from_raw_mode(mode)) {
            Err(Errno::EXIST) => return Err(WriteError::stale(self.path)),
            other => other.map_err(self.failed("make the directory"))?,
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(self.parent, self.name, flags, Mode::empty())
            .map_err(self.failed("open the directory"))
            .and_then(|fd| {
                self.own(&fd, uid, gid)?;
                self.set_mode(&fd, mode)
            });
        if made.is_err() {
            // The error that matters is the first one.
            let _ = rustix::fs::unlinkat(self.parent, self.name, AtFlags::REMOVEDIR);
        }
        made
    }

    pub(super) fn remove_directory(&self, from: &State) -> Result<()> {
        self.expect(self.name, from)?;
        match rustix::fs::unlinkat(self.parent, self.name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(WriteError::NotEmpty { path: self.path.to_owned() }),
            other => other.map_err(self.failed("remove the directory")),
        }
    }

    /// Removes a file or link: out of the way first, and then, if it is what was expected, for good.
    pub(super) fn remove(&self, from: &State) -> Result<()> {
        self.expect(self.name, from)?;
        let temporary = self.temporary();
        let away = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(self.parent, self.name, self.parent, &temporary, away) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Err(WriteError::stale(self.path)),
            Err(Errno::INVAL | Errno::NOSYS) => {
                return rustix::fs::unlinkat(self.parent, self.name, AtFlags::empty())
                    .map_err(self.failed("remove"));
            }
            Err(errno) => return Err(self.failed("rename")(errno)),
        }
        let removed = self.expect(&temporary, from).and_then(|()| self.sweep());
        if removed.is_err() {
            // Where even this fails, the next run finds neither, and says so.
            let _ = rustix::fs::renameat_with(self.parent, &temporary, self.parent, self.name, away);
        }
        removed
    }

    /// Changes mode, owner or capability, and not a byte. One of them alone is changed in place; more than
    /// one would be neither old nor new in between, so the file is replaced by a copy.
    pub(super) fn change_attributes(&self, from: &State, to: &State) -> Result<()> {
        let (
            State::File { mode: old_mode, uid: old_uid, gid: old_gid, capability: old_capability, .. },
            State::File { mode, uid, gid, capability, .. },
        ) = (from, to)
        else {
            return Err(WriteError::refused(self.path, "it is no file"));
        };
        let (mode_differs, owner_differs) = (old_mode != mode, (old_uid, old_gid) != (uid, gid));
        let capability_differs = old_capability != capability;
        match (mode_differs, owner_differs, capability_differs) {
            (false, false, false) => self.expect(self.name, from),
            (true, false, false) => {
                let fd = self.expected(from)?;
                rustix::fs::fchmod(&fd, Mode::from_raw_mode(*mode)).map_err(self.failed("set the mode of"))?;
                rustix::fs::fsync(&fd).map_err(self.failed("make durable"))
            }
            (false, false, true) => {
                let fd = self.expected(from)?;
                match capability {
                    Some(Hex(value)) => rustix::fs::fsetxattr(&fd, CAPABILITY, value, XattrFlags::empty()),
                    None => rustix::fs::fremovexattr(&fd, CAPABILITY),
                }
                .map_err(self.failed("set the capability of"))?;
                rustix::fs::fsync(&fd).map_err(self.failed("make durable"))
            }
            _ => self.replace(from, to),
        }
    }

    fn expected(&self, from: &State) -> Result<OwnedFd> {
        self.expect(self.name, from)?;
        self.open(self.name)
    }
}
