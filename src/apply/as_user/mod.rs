//! Writes for a user with the user's credentials, in a child process: root follows no link of a user's and
//! owns no file in their home directory by accident.
//!
//! The child is edgeprep itself with the hidden argument [`ARGUMENT`]. Its first line of input says who it is
//! to be; from then on it answers each [`Request`] with one [`Response`], a line of JSON each. It ends with
//! its input or its parent.

mod child;
mod pipe;
mod process;

use std::io;
use std::path::Path;
use std::time::Duration;

pub use child::serve;
pub(crate) use child::{Privileges, become_user, next, reply};
pub(crate) use process::{OURSELVES, Process, is_called_with, leave_session};
use serde::{Deserialize, Serialize};

use super::WriteError;
use super::bus::BusError;
use super::place::FILE_LIMIT_BYTES;
use super::user_call::UserCall;
use crate::plan::{Credentials, State};

/// What makes edgeprep the child.
pub const ARGUMENT: &str = "--as-user";
/// How long a reply may take: a home directory on a file server that is gone must not hang edgeprep.
const PATIENCE: Duration = Duration::from_secs(30);
/// A file of the largest size that is read, with every byte written as six of JSON, and the rest.
const LINE_LIMIT_BYTES: u64 = 2 * 6 * FILE_LIMIT_BYTES + (64 << 10);

/// What the child does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// [`super::target::Target::observe`].
    Observe {
        /// The path.
        path: String,
    },
    /// [`super::target::Target::put`].
    Put {
        /// The path.
        path: String,
        /// What the plan saw.
        from: State,
        /// What shall be there.
        to: State,
    },
    /// [`super::target::Target::sweep`].
    Sweep {
        /// The path.
        path: String,
    },
    /// [`UserCall::perform`].
    Call {
        /// The call.
        call: UserCall,
    },
}

/// What the child answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// It has become the user. This answers the first line.
    Ready,
    /// It has not, for this reason. This answers the first line.
    Refused(String),
    /// What is at the path.
    State(State),
    /// It is done.
    Done,
    /// It is not done.
    Failed(WriteError),
    /// The bus has not done it.
    Refusal(BusError),
}

/// Whether this process was started to write for a user.
pub fn is_called() -> bool {
    is_called_with(ARGUMENT)
}

/// A child that has a user's credentials. It dies with the thread that started it.
#[derive(Debug)]
pub struct AsUser(Process);

impl AsUser {
    /// Starts the child. The caller is root or already this user.
    ///
    /// # Errors
    /// Those of the system, and what the child says if it cannot become the user.
    pub fn spawn(user: &Credentials) -> io::Result<AsUser> {
        AsUser::spawn_program(Path::new(OURSELVES), user)
    }

    /// The same, where the process is not edgeprep itself: `program` is.
    ///
    /// # Errors
    /// As [`AsUser::spawn`].
    pub fn spawn_program(program: &Path, user: &Credentials) -> io::Result<AsUser> {
        let mut process = Process::start(program, ARGUMENT, LINE_LIMIT_BYTES)?;
        match process.exchange(user, PATIENCE)? {
            Response::Ready => Ok(AsUser(process)),
            Response::Refused(why) => Err(io::Error::new(io::ErrorKind::PermissionDenied, why)),
            _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
        }
    }

    /// The child's PID.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Has one request done, within this time. After an error the child is gone, and what it was doing may
    /// have been done or not.
    ///
    /// # Errors
    /// Those of the pipes; `TimedOut`.
    pub fn ask(&mut self, request: &Request, within: Duration) -> io::Result<Response> {
        self.0.exchange(request, within)
    }

    fn file(&mut self, path: &str, request: &Request) -> Result<Response, WriteError> {
        let unknown = |why: String| WriteError::NoAnswer { path: path.to_owned(), why };
        match self.ask(request, PATIENCE).map_err(|error| unknown(error.to_string()))? {
            Response::Failed(error) => Err(error),
            Response::Ready | Response::Refused(_) => Err(unknown("it was not answered to".to_owned())),
            response => Ok(response),
        }
    }

    fn done(&mut self, path: &str, request: &Request) -> Result<(), WriteError> {
        match self.file(path, request)? {
            Response::Done => Ok(()),
            _ => {
                Err(WriteError::NoAnswer { path: path.to_owned(), why: "it was not answered to".to_owned() })
            }
        }
    }

    /// What is at a path of the user's: see [`super::target::Target::observe`].
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn observe(&mut self, path: &str) -> Result<State, WriteError> {
        match self.file(path, &Request::Observe { path: path.to_owned() })? {
            Response::State(state) => Ok(state),
            _ => {
                Err(WriteError::NoAnswer { path: path.to_owned(), why: "it was not answered to".to_owned() })
            }
        }
    }

    /// Makes `to` of `from` at a path of the user's: see [`super::target::Target::put`].
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn put(&mut self, path: &str, from: &State, to: &State) -> Result<(), WriteError> {
        self.done(path, &Request::Put { path: path.to_owned(), from: from.clone(), to: to.clone() })
    }

    /// Removes a temporary file that was left at a path of the user's: see [`super::target::Target::sweep`].
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn sweep(&mut self, path: &str) -> Result<(), WriteError> {
        self.done(path, &Request::Sweep { path: path.to_owned() })
    }
}
