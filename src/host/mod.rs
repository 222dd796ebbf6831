//! The only reader of the outside world: a live system, an image root, or a captured host.
//!
//! Everything edgeprep looks at is a file below a root, so these three are one code path. What is not
//! a file (free space, the caller, a file capability that a copy loses, the clock) is a [`Space`], a
//! [`Caller`], a [`Stat`] and a number, and a capture keeps those in its `host.toml`. Nothing here interprets what it reads.

mod captured;
mod clock;
mod contained;
mod planned;
mod recorder;
mod tree;
mod unread;

pub(crate) use contained::open_in_root;

pub use captured::{HostToml, PathRecord, SpaceRecord};
pub use recorder::Recording;
pub use unread::{Fact, OrAbsent, SpecialFile, Unread};

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use captured::Captured;
use planned::Planned;
use tree::Tree;

use crate::plan::Change;

/// The most that is read of an ordinary configuration file, in bytes. The largest that systemd,
/// shadow or Podman ship is well under 100 KiB; a file above this is refused, not truncated.
pub const CONFIG_LIMIT_BYTES: u64 = 4 << 20;
/// The most that is read of a file that grows with the host: `dpkg/status`, `modules.alias`.
pub const DATABASE_LIMIT_BYTES: u64 = 64 << 20;
/// The most names that are taken from one directory.
pub const LISTING_LIMIT: usize = 65_536;

/// What kind of host is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The running system.
    Live,
    /// A directory that holds a system which is not running.
    Image,
    /// A running system as it was when `edgeprep capture` looked at it.
    Capture,
}

impl Mode {
    /// The word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Live => "live",
            Mode::Image => "image",
            Mode::Capture => "capture",
        }
    }
}

/// The type of a file, as `stat(2)` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link (only from [`Host::lstat`] and listings).
    Link,
    /// A character device with its major and minor number.
    Char(u64, u64),
    /// A block device.
    Block,
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
}

/// What `stat(2)` tells of a path, as far as checks need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The type.
    pub kind: Kind,
    /// The permission bits, 0 to 0o7777.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The size in bytes.
    pub size_bytes: u64,
}

impl Stat {
    /// Whether someone with this UID and these GIDs has all of `bits` (4 read, 2 write, 1 execute)
    /// by the mode bits alone (`path_resolution(7)`, "Permissions"). ACLs and LSMs are not considered.
    pub fn allows(&self, uid: u32, gids: &[u32], bits: u32) -> bool {
        if uid == 0 {
            return bits & 1 == 0 || self.kind == Kind::Dir || self.mode & 0o111 != 0;
        }
        let class = if self.uid == uid {
            self.mode >> 6
        } else if gids.contains(&self.gid) {
            self.mode >> 3
        } else {
            self.mode
        };
        class & bits == bits
    }
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The file name.
    pub name: String,
    /// Whether it is a directory. A link to a directory is not.
    pub is_dir: bool,
}

/// The size of the file system that holds a path, from `statvfs(3)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All bytes.
    pub total_bytes: u64,
    /// Bytes that an unprivileged user can still write.
    pub available_bytes: u64,
    /// All inodes; 0 where the file system has no such limit.
    pub inodes: u64,
    /// Free inodes.
    pub inodes_free: u64,
}

/// Who runs edgeprep, and the part of the environment that matters to rootless stacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The effective UID.
    pub uid: u32,
    /// The effective GID.
    pub gid: u32,
    /// The variables named in [`Caller::VARIABLES`] that are set.
    pub environment: BTreeMap<String, String>,
}

impl Caller {
    /// The variables that are read, and so the only ones that a capture can hold.
    pub const VARIABLES: [&'static str; 25] = [
        "CONTAINER_ENGINE",
        "CONTAINER_HOST",
        "CONTAINERS_CONF",
        "DBUS_SESSION_BUS_ADDRESS",
        "DOCKER_HOST",
        "DOCKER_SOCK",
        "HOME",
        "KIND_EXPERIMENTAL_PROVIDER",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "MINIKUBE_CONTAINER_RUNTIME",
        "MINIKUBE_DRIVER",
        "MINIKUBE_HOME",
        "MINIKUBE_ROOTLESS",
        "PATH",
        "SHELL",
        "SOURCE_DATE_EPOCH",
        "SUDO_UID",
        "SUDO_USER",
        "SYSTEMD_OFFLINE",
        "TMPDIR",
        "USER",
        "XDG_RUNTIME_DIR",
        "XDG_STATE_HOME",
    ];

    /// Whether the caller's locale is one of UTF-8 (`locale(7)`: the first that is set decides).
    pub fn locale_is_utf8(&self) -> bool {
        let set = |name: &&str| self.environment.get(*name).filter(|value| !value.is_empty());
        ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).is_some_and(|value| {
            let value = value.to_ascii_lowercase();
            value.ends_with("utf-8") || value.ends_with("utf8")
        })
    }

    fn live() -> Caller {
        #[expect(clippy::disallowed_methods, reason = "the environment is read here and nowhere else")]
        let environment = Caller::VARIABLES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
            .collect();
        Caller { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw(), environment }
    }
}

enum Backend {
    Tree(Tree),
    Captured(Box<Captured>),
}

/// A host to read: see the module documentation. All paths are absolute and name what they name on
/// that host; symbolic links are followed inside its root only.
pub struct Host {
    mode: Mode,
    backend: Backend,
    caller: Caller,
    recording: Option<RefCell<Recording>>,
    planned: Planned,
}

impl Host {
    /// The running system.
    pub fn live() -> Host {
        Host {
            mode: Mode::Live,
            backend: Backend::Tree(Tree::live()),
            caller: Caller::live(),
            recording: None,
            planned: Planned::default(),
        }
    }

    /// A system that is not running, below `root`. Reads are contained by `openat2(2)`
    /// (`RESOLVE_IN_ROOT`), which is tried once here.
    ///
    /// # Errors
    /// When `root` is no directory, or `openat2(2)` is not to be had (Linux before 5.6, seccomp).
    pub fn image(root: &Path) -> Result<Host, Unread> {
        let tree = Tree::contained(root)?;
        Ok(Host {
            mode: Mode::Image,
            backend: Backend::Tree(tree),
            caller: Caller::live(),
            recording: None,
            planned: Planned::default(),
        })
    }

    /// A captured host: the folder or tar that `edgeprep capture` wrote.
    ///
    /// # Errors
    /// When it cannot be read, has no `host.toml`, or that is malformed.
    pub fn capture(path: &Path) -> Result<Host, Unread> {
        Ok(Host::from_captured(Captured::open(path)?))
    }

    fn from_captured(captured: Captured) -> Host {
        let caller = captured.caller();
        let mode = captured.mode();
        Host {
            mode,
            backend: Backend::Captured(Box::new(captured)),
            caller,
            recording: None,
            planned: Planned::default(),
        }
    }

    /// The same host, keeping a copy of all that is read from now on.
    pub fn recorded(mut self) -> Host {
        self.recording = Some(RefCell::new(Recording::new(&self.caller)));
        self
    }

    /// The same host as it will be once these changes are made. What runs is as it was.
    pub fn planned(mut self, changes: &[Change]) -> Host {
        self.planned = Planned::new(changes);
        self
    }

    /// What was read since [`Host::recorded`].
    pub fn into_recording(self) -> Option<Recording> {
        self.recording.map(RefCell::into_inner)
    }

    /// What kind of host this is.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether machine-id and host name are hashes already, as in most captures.
    pub fn identity_is_hashed(&self) -> bool {
        matches!(&self.backend, Backend::Captured(captured) if captured.toml().identity_hashed)
    }

    /// Whether files belong to whom they will belong on the host: not in an image root that a builder
    /// without privileges owns as a whole. That builder stands for root in every [`Stat`].
    pub fn owners_are_kept(&self) -> bool {
        match &self.backend {
            Backend::Tree(tree) => tree.owners_are_kept(),
            Backend::Captured(_) => true,
        }
    }

    /// The users that a capture was made for.
    pub fn captured_users(&self) -> &[String] {
        match &self.backend {
            Backend::Captured(captured) => &captured.toml().users,
            Backend::Tree(_) => &[],
        }
    }

    /// Who looks at this host (in a capture: who did).
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether what is read is kept for a capture.
    pub fn is_recorded(&self) -> bool {
        self.recording.is_some()
    }

    /// The whole of a regular file, with what `fstat(2)` said of it while it was open.
    ///
    /// # Errors
    /// [`Unread`]; in particular a FIFO, device or socket is never opened, and a file above
    /// `limit_bytes` is refused.
    pub fn read(&self, path: &str, limit_bytes: u64) -> Fact<(Stat, Vec<u8>)> {
        if let Some(planned) = self.planned.read(path) {
            return planned;
        }
        let redirected = self.planned.redirect(path);
        let path = redirected.as_deref().unwrap_or(path);
        let got = match &self.backend {
            Backend::Tree(tree) => tree.read(path, limit_bytes),
            Backend::Captured(captured) => captured.read(path, limit_bytes),
        };
        self.note(|recording| recording.read(path, &got));
        got
    }

    /// At most the first `limit_bytes` of a regular file, however large it is: for the header of an
    /// executable, which would otherwise be read whole or refused.
    ///
    /// # Errors
    /// As [`Host::read`], but for the limit.
    pub fn head(&self, path: &str, limit_bytes: u64) -> Fact<(Stat, Vec<u8>)> {
        if let Some(planned) = self.planned.read(path) {
            return planned;
        }
        let redirected = self.planned.redirect(path);
        let path = redirected.as_deref().unwrap_or(path);
        let got = match &self.backend {
            Backend::Tree(tree) => tree.head(path, limit_bytes),
            Backend::Captured(captured) => captured.head(path, limit_bytes),
        };
        self.note(|recording| recording.head(path, &got));
        got
    }

    /// Hands each line of a regular file, without its newline, to `line`, holding only a part of the
    /// file in memory; `line` returns false to stop. For databases that are too large to keep.
    ///
    /// # Errors
    /// As [`Host::read`].
    pub fn scan(&self, path: &str, limit_bytes: u64, line: &mut dyn FnMut(&[u8]) -> bool) -> Fact<()> {
        if let Some(planned) = self.planned.read(path) {
            let _ = planned?.1.split(|&b| b == b'\n').all(&mut *line);
            return Ok(());
        }
        let redirected = self.planned.redirect(path);
        let path = redirected.as_deref().unwrap_or(path);
        if self.recording.is_some() {
            let (_, bytes) = self.read(path, limit_bytes)?;
            for each in bytes.split(|&b| b == b'\n') {
                if !line(each) {
                    break;
                }
            }
            return Ok(());
        }
        match &self.backend {
            Backend::Tree(tree) => tree.scan(path, limit_bytes, line),
            Backend::Captured(captured) => captured.scan(path, limit_bytes, line),
        }
    }

    /// The names in a directory, sorted by name.
    ///
    /// # Errors
    /// [`Unread`]; a path that is no directory is [`Unread::Special`].
    pub fn list(&self, path: &str) -> Fact<Vec<Entry>> {
        let got = match &self.backend {
            Backend::Tree(tree) => tree.list(path),
            Backend::Captured(captured) => captured.list(path),
        };
        let got = self.planned.list(path, got);
        self.note(|recording| recording.list(path, &got));
        got
    }

    /// `stat(2)`: of what a symbolic link points to.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn stat(&self, path: &str) -> Fact<Stat> {
        if let Some(planned) = self.planned.stat(path) {
            return planned;
        }
        let redirected = self.planned.redirect(path);
        let path = redirected.as_deref().unwrap_or(path);
        let got = match &self.backend {
            Backend::Tree(tree) => tree.stat(path, true),
            Backend::Captured(captured) => captured.stat(path),
        };
        self.note(|recording| recording.stat(path, &got));
        got
    }

    /// `lstat(2)`: of a symbolic link itself.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn lstat(&self, path: &str) -> Fact<Stat> {
        if let Some(planned) = self.planned.lstat(path) {
            return planned;
        }
        match &self.backend {
            Backend::Tree(tree) => tree.stat(path, false),
            Backend::Captured(captured) => captured.lstat(path),
        }
    }

    /// The target of a symbolic link, or `None` for a path that is no link.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn link_target(&self, path: &str) -> Fact<Option<String>> {
        if let Some(planned) = self.planned.link_target(path) {
            return planned;
        }
        let got = match &self.backend {
            Backend::Tree(tree) => tree.link_target(path),
            Backend::Captured(captured) => captured.link_target(path),
        };
        self.note(|recording| recording.link_target(path, &got));
        got
    }

    /// The extended attribute `security.capability` of a file (`capabilities(7)`, "File
    /// capabilities"), or `None` where it has none.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn capability(&self, path: &str) -> Fact<Option<Vec<u8>>> {
        if let Some(planned) = self.planned.capability(path) {
            return planned;
        }
        let redirected = self.planned.redirect(path);
        let path = redirected.as_deref().unwrap_or(path);
        let got = match &self.backend {
            Backend::Tree(tree) => tree.capability(path),
            Backend::Captured(captured) => captured.capability(path),
        };
        self.note(|recording| recording.capability(path, &got));
        got
    }

    /// The size of the file system that holds `path`.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn space(&self, path: &str) -> Fact<Space> {
        let got = match &self.backend {
            Backend::Tree(tree) => tree.space(path),
            Backend::Captured(captured) => captured.space(path),
        };
        self.note(|recording| recording.space(path, &got));
        got
    }

    /// When a file was last written, renamed into place or otherwise changed, in nanoseconds since
    /// 1970: its `st_ctim`, which unlike `st_mtim` no package manager and no `cp -p` sets back.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn changed_ns(&self, path: &str) -> Fact<i64> {
        let got = match &self.backend {
            Backend::Tree(tree) => tree.changed_ns(path),
            Backend::Captured(captured) => captured.changed_ns(path),
        };
        self.note(|recording| recording.changed_ns(path, &got));
        got
    }

    fn note(&self, what: impl FnOnce(&mut Recording)) {
        if let Some(recording) = &self.recording {
            what(&mut recording.borrow_mut());
        }
    }
}

impl Host {
    /// A captured host in memory.
    pub(crate) fn from_memory(toml: HostToml, files: BTreeMap<String, Vec<u8>>) -> Host {
        Host::from_captured(Captured::in_memory(toml, files))
    }
}
