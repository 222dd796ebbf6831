//! Why something could not be written.

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Why a path was not changed. It crosses the pipe from a process that writes for a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum WriteError {
    /// Something else is there than the plan saw.
    #[error("{path} was changed since the plan was made, and is left as it is: run it again")]
    Stale {
        /// The path.
        path: String,
    },
    /// A directory that has to go is not empty.
    #[error("{path} is not empty")]
    NotEmpty {
        /// The path.
        path: String,
    },
    /// The path must not be written to.
    #[error("{path} is not written to: {why}")]
    Unsafe {
        /// The path.
        path: String,
        /// Why.
        why: String,
    },
    /// The system refused.
    #[error("cannot {doing} {path}: {}", describe(*.errno))]
    System {
        /// The path.
        path: String,
        /// What was tried.
        doing: String,
        /// The errno.
        errno: i32,
    },
    /// The process that writes for a user gave no answer.
    #[error("the process that writes for {user}: {why}")]
    NoAnswer {
        /// The user.
        user: String,
        /// What happened.
        why: String,
    },
}

fn describe(errno: i32) -> &'static str {
    nix::errno::Errno::from_raw(errno).desc()
}

impl WriteError {
    pub(super) fn system(path: &str, doing: &str, errno: Errno) -> WriteError {
        WriteError::System { path: path.to_owned(), doing: doing.to_owned(), errno: errno.raw_os_error() }
    }

    pub(super) fn stale(path: &str) -> WriteError {
        WriteError::Stale { path: path.to_owned() }
    }

    pub(super) fn refused(path: &str, why: &str) -> WriteError {
        WriteError::Unsafe { path: path.to_owned(), why: why.to_owned() }
    }
}
