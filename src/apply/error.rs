//! Why a path was not written.

use std::borrow::Cow;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// Why a path was not written. What was there is there still, unless a variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WriteError {
    /// Something other than what the plan saw.
    #[error("{path} has changed since it was looked at")]
    Stale {
        /// The path.
        path: String,
    },
    /// Neither a file nor a directory nor a link.
    #[error("{path} is {found}")]
    Special {
        /// The path.
        path: String,
        /// What it is, with an article.
        found: String,
    },
    /// A directory that was to be removed holds something.
    #[error("{path} is not empty")]
    NotEmpty {
        /// The path.
        path: String,
    },
    /// More than is ever edited.
    #[error("{path} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The path.
        path: String,
        /// The most that is read.
        limit_bytes: u64,
    },
    /// A write that is refused.
    #[error("{path} is not written: {why}")]
    Unsafe {
        /// The path.
        path: String,
        /// Why.
        why: String,
    },
    /// The process that writes for a user did not do it. Whether it still will is not known.
    #[error("{path} cannot be written for its user: {why}")]
    NoAnswer {
        /// The path.
        path: String,
        /// Why.
        why: String,
    },
    /// The system refused.
    #[error("cannot {doing} {path}: {}", Errno::from_raw(*errno).desc())]
    System {
        /// The path.
        path: String,
        /// What was tried.
        doing: Cow<'static, str>,
        /// How it was refused (`errno(3)`).
        errno: i32,
    },
}

impl WriteError {
    /// The system answered `errno` when it was asked to do this to a path.
    pub(super) fn system(path: &str, doing: &'static str, errno: Errno) -> WriteError {
        WriteError::System { path: path.to_owned(), doing: Cow::Borrowed(doing), errno: errno as i32 }
    }

    pub(super) fn io(path: &str, doing: &'static str, error: &std::io::Error) -> WriteError {
        WriteError::system(path, doing, error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }

    pub(super) fn stale(path: &str) -> WriteError {
        WriteError::Stale { path: path.to_owned() }
    }

    pub(super) fn refused(path: &str, why: &str) -> WriteError {
        WriteError::Unsafe { path: path.to_owned(), why: why.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_crosses_a_pipe_and_says_what_went_wrong() {
        let error = WriteError::system("/etc/x", "rename", Errno::ENOSPC);
        let line = serde_json::to_string(&error).unwrap();
        let back: WriteError = serde_json::from_str(&line).unwrap();
        assert_eq!(back, error);
        assert_eq!(back.to_string(), "cannot rename /etc/x: No space left on device");
    }
}
