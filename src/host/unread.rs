//! Why something could not be read. Absent, denied and malformed are three different things, and
//! none of them is a default value.

use nix::errno::Errno;

/// Something read from the host, or why it could not be.
pub type Fact<T> = Result<T, Unread>;

/// What stands where a regular file (or a directory) was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialFile {
    /// A directory.
    Dir,
    /// A regular file (where a directory was wanted).
    File,
    /// A FIFO.
    Fifo,
    /// A device.
    Device,
    /// A socket.
    Socket,
}

impl std::fmt::Display for SpecialFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SpecialFile::Dir => "a directory",
            SpecialFile::File => "a regular file",
            SpecialFile::Fifo => "a FIFO",
            SpecialFile::Device => "a device",
            SpecialFile::Socket => "a socket",
        })
    }
}

impl From<super::Kind> for SpecialFile {
    fn from(kind: super::Kind) -> SpecialFile {
        use super::Kind;
        match kind {
            Kind::Dir => SpecialFile::Dir,
            Kind::File | Kind::Link => SpecialFile::File,
            Kind::Char(..) | Kind::Block => SpecialFile::Device,
            Kind::Fifo => SpecialFile::Fifo,
            Kind::Socket => SpecialFile::Socket,
        }
    }
}

/// Why a path gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// It does not exist (`ENOENT`, `ENOTDIR`).
    #[error("{path} does not exist")]
    Absent {
        /// The path.
        path: String,
    },
    /// The caller may not read it (`EACCES`, `EPERM`).
    #[error("{path} is not readable as this user")]
    Denied {
        /// The path.
        path: String,
    },
    /// It is not the kind of file that was wanted, so it was not opened.
    #[error("{path} is {found}")]
    Special {
        /// The path.
        path: String,
        /// What it is.
        found: SpecialFile,
    },
    /// It is larger than anything of its kind.
    #[error("{path} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The path.
        path: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// It was read, and is not what it should be.
    #[error("{path}{}: {expected}", .line.map(|n| format!(":{n}")).unwrap_or_default())]
    Malformed {
        /// The path.
        path: String,
        /// The line, from 1.
        line: Option<u32>,
        /// What was expected there.
        expected: String,
    },
    /// The capture does not say: whoever made it did not look there.
    #[error("{path} is not in the capture")]
    NotCaptured {
        /// The path.
        path: String,
    },
    /// Nothing runs in an image root, so there is nothing to read.
    #[error("{what} is known only on a running system")]
    NotRunning {
        /// What was asked for.
        what: String,
    },
    /// Any other error of the system.
    #[error("{path}: {}", .errno.desc())]
    Failed {
        /// The path.
        path: String,
        /// What the system said.
        errno: Errno,
    },
}

impl Unread {
    /// Sorts an errno into absent, denied and the rest.
    pub fn from_errno(path: &str, errno: Errno) -> Unread {
        let path = path.to_owned();
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => Unread::Absent { path },
            Errno::EACCES | Errno::EPERM => Unread::Denied { path },
            errno => Unread::Failed { path, errno },
        }
    }

    /// Whether the path is known not to exist.
    pub fn is_absent(&self) -> bool {
        matches!(self, Unread::Absent { .. })
    }
}

/// `Ok(None)` for what does not exist, and every other reason kept.
pub trait OrAbsent<T> {
    /// See the trait.
    ///
    /// # Errors
    /// Every [`Unread`] but [`Unread::Absent`].
    fn or_absent(self) -> Fact<Option<T>>;
}

impl<T> OrAbsent<T> for Fact<T> {
    fn or_absent(self) -> Fact<Option<T>> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(why) if why.is_absent() => Ok(None),
            Err(why) => Err(why),
        }
    }
}
