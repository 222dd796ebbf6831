//! Reads below a root directory with system calls: the live root as it is, an image root contained.
#![expect(clippy::disallowed_methods, reason = "this is the one reader")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode as Permissions, SFlag, fstat, fstatat, major, minor};
use nix::sys::statvfs::{Statvfs, fstatvfs, statvfs};
use xattr::FileExt;

use super::contained::open_in_root;
use super::{Entry, Fact, Kind, LISTING_LIMIT, Space, Stat, Unread};

/// Where the kernel walks a hash table of all sockets for each read, which takes a millisecond or two on
/// a machine with much memory, also for the last one that only says that there is no more.
const SOCKET_TABLES: &str = "/proc/net/";
/// A read of a table ends before a record that does not fit the kernel's buffer of at least one page
/// (`fs/seq_file.c`, `seq_read_iter`). Records are under 256 bytes there, so a read that is shorter than
/// this has reached the end.
const SHORT_READ_BYTES: usize = 2048;
/// `O_NONBLOCK` so that nothing that is swapped in for the file can hang us.
const READ_FLAGS: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

pub(super) struct Tree {
    /// `None` for the running system, where paths are used as they are.
    root: Option<OwnedFd>,
    /// Who stands for root: see [`Tree::owners_are_kept`].
    builder: Option<(u32, u32)>,
}

impl Tree {
    pub(super) fn live() -> Tree {
        Tree { root: None, builder: None }
    }

    pub(super) fn contained(root: &Path) -> Fact<Tree> {
        let shown = root.to_string_lossy();
        let fd = open(root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Permissions::empty())
            .map_err(|errno| match errno {
                Errno::ENOTDIR => Unread::Malformed {
                    path: shown.to_string(),
                    line: None,
                    expected: "expected a directory".to_owned(),
                },
                errno => Unread::from_errno(&shown, errno),
            })?;
        let owner = fstat(&fd).map_err(|errno| Unread::from_errno(&shown, errno))?;
        let builder = (owner.st_uid != 0).then_some((owner.st_uid, owner.st_gid));
        let tree = Tree { root: Some(fd), builder };
        open_in_root(tree.root_fd()?, "/", OFlag::O_PATH | OFlag::O_CLOEXEC).map_err(|errno| Unread::Malformed {
            path: shown.to_string(),
            line: None,
            expected: format!(
                "reads cannot be confined to this root: openat2(2) answers {errno}; it takes Linux 5.6 or \
                 later and a seccomp filter that allows it"
            ),
        })?;
        Ok(tree)
    }

    fn root_fd(&self) -> Fact<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd).ok_or(Unread::Absent { path: "/".to_owned() })
    }

    fn open(&self, path: &str, flags: OFlag) -> Fact<OwnedFd> {
        match &self.root {
            None => openat(AT_FDCWD, path, flags, Permissions::empty()),
            Some(root) => open_in_root(root, path, flags),
        }
        .map_err(|errno| Unread::from_errno(path, errno))
    }

    pub(super) fn stat(&self, path: &str, follow: bool) -> Fact<Stat> {
        self.file_stat(path, follow).map(|st| self.convert(&st))
    }

    /// Whether owners are those of the image. A root directory that does not belong to root was made
    /// by a builder without privileges, who owns all of it until it is packed and stands for root.
    pub(super) fn owners_are_kept(&self) -> bool {
        self.builder.is_none()
    }

    fn convert(&self, st: &FileStat) -> Stat {
        let mut stat = convert(st);
        if let Some((uid, gid)) = self.builder {
            stat.uid = if stat.uid == uid { 0 } else { stat.uid };
            stat.gid = if stat.gid == gid { 0 } else { stat.gid };
        }
        stat
    }

    pub(super) fn changed_ns(&self, path: &str) -> Fact<i64> {
        let st = self.file_stat(path, true)?;
        #[expect(
            clippy::useless_conversion,
            reason = "the widths of these C types differ between architectures"
        )]
        let (secs, nsecs) = (i64::from(st.st_ctime), i64::from(st.st_ctime_nsec));
        Ok(secs.saturating_mul(1_000_000_000).saturating_add(nsecs))
    }

    fn file_stat(&self, path: &str, follow: bool) -> Fact<FileStat> {
        let found = match &self.root {
            None => {
                let flags = if follow { AtFlags::empty() } else { AtFlags::AT_SYMLINK_NOFOLLOW };
                fstatat(AT_FDCWD, path, flags)
            }
            Some(_) => {
                let nofollow = if follow { OFlag::empty() } else { OFlag::O_NOFOLLOW };
                fstat(self.open(path, OFlag::O_PATH | OFlag::O_CLOEXEC | nofollow)?)
            }
        };
        found.map_err(|errno| Unread::from_errno(path, errno))
    }

    /// Opens a regular file. The type is looked at before the open, because opening a device can
    /// have an effect, and again on the open file, because it can have been replaced in between.
    fn open_regular(&self, path: &str) -> Fact<(File, Stat)> {
        refuse_special(path, &self.stat(path, true)?)?;
        let fd = self.open(path, READ_FLAGS)?;
        let stat = fstat(&fd).map(|st| self.convert(&st)).map_err(|errno| Unread::from_errno(path, errno))?;
        refuse_special(path, &stat)?;
        Ok((File::from(fd), stat))
    }

    pub(super) fn read(&self, path: &str, limit_bytes: u64) -> Fact<(Stat, Vec<u8>)> {
        let (file, stat) = self.open_regular(path)?;
        let too_large = || Unread::TooLarge { path: path.to_owned(), limit_bytes };
        if stat.size_bytes > limit_bytes {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(stat.size_bytes).unwrap_or(0).max(512) + 1);
        // Files in /proc and /sys say they are empty, so the limit holds for what comes, too.
        file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(|error| failed(path, &error))?;
        if bytes.len() as u64 > limit_bytes {
            return Err(too_large());
        }
        Ok((stat, bytes))
    }

    pub(super) fn head(&self, path: &str, limit_bytes: u64) -> Fact<(Stat, Vec<u8>)> {
        let (file, stat) = self.open_regular(path)?;
        let mut bytes = Vec::new();
        file.take(limit_bytes).read_to_end(&mut bytes).map_err(|error| failed(path, &error))?;
        Ok((stat, bytes))
    }

    pub(super) fn scan(&self, path: &str, limit_bytes: u64, line: &mut dyn FnMut(&[u8]) -> bool) -> Fact<()> {
        let (file, stat) = self.open_regular(path)?;
        if stat.size_bytes > limit_bytes {
            return Err(Unread::TooLarge { path: path.to_owned(), limit_bytes });
        }
        let file = file.take(limit_bytes);
        if path.starts_with(SOCKET_TABLES) {
            return scan_lines(path, BufReader::new(UntilShort { file, ended: false }), line);
        }
        scan_lines(path, BufReader::with_capacity(64 << 10, file), line)
    }

    pub(super) fn list(&self, path: &str) -> Fact<Vec<Entry>> {
        let stat = self.stat(path, true)?;
        if stat.kind != Kind::Dir {
            return Err(Unread::Special { path: path.to_owned(), found: stat.kind.into() });
        }
        let fd = self.open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)?;
        let mut dir = nix::dir::Dir::from_fd(fd).map_err(|errno| Unread::from_errno(path, errno))?;
        let mut entries = Vec::new();
        for entry in dir.iter() {
            let entry = entry.map_err(|errno| Unread::from_errno(path, errno))?;
            // A name that is not UTF-8 cannot be the name of anything that is looked for.
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." {
                continue;
            }
            let is_dir = match entry.file_type() {
                Some(kind) => kind == nix::dir::Type::Directory,
                None => self.stat(&format!("{path}/{name}"), false).is_ok_and(|s| s.kind == Kind::Dir),
            };
            entries.push(Entry { name: name.to_owned(), is_dir });
            if entries.len() > LISTING_LIMIT {
                return Err(Unread::TooLarge { path: path.to_owned(), limit_bytes: LISTING_LIMIT as u64 });
            }
        }
        entries.sort();
        Ok(entries)
    }

    pub(super) fn link_target(&self, path: &str) -> Fact<Option<String>> {
        let target = match &self.root {
            None => readlinkat(AT_FDCWD, path),
            Some(_) => {
                let fd = self.open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)?;
                readlinkat(&fd, "")
            }
        };
        match target {
            Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
            // A path that is no link: EINVAL by name, ENOENT for the empty name on a descriptor.
            Err(Errno::EINVAL) => Ok(None),
            Err(Errno::ENOENT) if self.root.is_some() => Ok(None),
            Err(errno) => Err(Unread::from_errno(path, errno)),
        }
    }

    pub(super) fn capability(&self, path: &str) -> Fact<Option<Vec<u8>>> {
        let (file, _) = self.open_regular(path)?;
        match file.get_xattr("security.capability") {
            Ok(value) => Ok(value),
            Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => Ok(None),
            Err(error) => Err(failed(path, &error)),
        }
    }

    pub(super) fn space(&self, path: &str) -> Fact<Space> {
        let found = match &self.root {
            None => statvfs(path),
            Some(_) => fstatvfs(self.open(path, OFlag::O_PATH | OFlag::O_CLOEXEC)?),
        };
        found.map(|v| space(&v)).map_err(|errno| Unread::from_errno(path, errno))
    }
}

/// Reads a table up to a short read, which is its last.
struct UntilShort<R> {
    file: R,
    ended: bool,
}

impl<R: Read> Read for UntilShort<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        let read = self.file.read(buffer)?;
        self.ended = read < SHORT_READ_BYTES;
        Ok(read)
    }
}

/// Hands each line to `line` until it returns false.
pub(super) fn scan_lines(
    path: &str,
    mut reader: impl BufRead,
    line: &mut dyn FnMut(&[u8]) -> bool,
) -> Fact<()> {
    let mut bytes = Vec::with_capacity(4096);
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(|error| failed(path, &error))? == 0 {
            return Ok(());
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        if !line(&bytes) {
            return Ok(());
        }
    }
}

fn refuse_special(path: &str, stat: &Stat) -> Fact<()> {
    match stat.kind {
        Kind::File => Ok(()),
        kind => Err(Unread::Special { path: path.to_owned(), found: kind.into() }),
    }
}

pub(super) fn failed(path: &str, error: &std::io::Error) -> Unread {
    Unread::from_errno(path, error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

#[expect(clippy::useless_conversion, reason = "the widths of these C types differ between architectures")]
fn space(v: &Statvfs) -> Space {
    let block = u64::from(v.fragment_size());
    Space {
        total_bytes: u64::from(v.blocks()).saturating_mul(block),
        available_bytes: u64::from(v.blocks_available()).saturating_mul(block),
        inodes: u64::from(v.files()),
        inodes_free: u64::from(v.files_free()),
    }
}

fn convert(st: &FileStat) -> Stat {
    let kind = match SFlag::from_bits_truncate(st.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFDIR => Kind::Dir,
        SFlag::S_IFLNK => Kind::Link,
        SFlag::S_IFCHR => Kind::Char(major(st.st_rdev), minor(st.st_rdev)),
        SFlag::S_IFBLK => Kind::Block,
        SFlag::S_IFIFO => Kind::Fifo,
        SFlag::S_IFSOCK => Kind::Socket,
        _ => Kind::File,
    };
    Stat {
        kind,
        mode: st.st_mode & 0o7777,
        uid: st.st_uid,
        gid: st.st_gid,
        size_bytes: u64::try_from(st.st_size).unwrap_or(0),
    }
}
