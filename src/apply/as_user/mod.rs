//! Writes for a user with the user's credentials, in a child process: root follows no link of a user's and
//! owns no file in their home directory by accident.
//!
//! The child is edgeprep itself with the hidden argument [`ARGUMENT`]. Its first line of input says who it is
//! to be; from then on it answers each [`Request`] with one [`Response`], a line of JSON each. It ends with
//! its input or its parent.
#![expect(clippy::disallowed_methods, reason = "the one process that is started is edgeprep itself")]

mod child;
mod pipe;

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use child::serve;
use serde::{Deserialize, Serialize};

use super::WriteError;
use super::bus::BusError;
use super::user_call::UserCall;
use crate::plan::{Credentials, State};

/// What makes edgeprep the child.
pub const ARGUMENT: &str = "--as-user";
/// How long a reply may take: a home directory on a file server that is gone must not hang edgeprep.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a child may take to end after its input has.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often an ending child is looked at.
const POLL: Duration = Duration::from_millis(5);

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
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().is_some_and(|argument| argument == ARGUMENT) && arguments.next().is_none()
}

/// A child that has a user's credentials. It dies with the thread that started it.
#[derive(Debug)]
pub struct AsUser {
    child: Child,
    /// `None` once the child is not to be trusted with another request, so that no late answer is taken for
    /// the answer to it.
    pipe: Option<pipe::Pipe>,
}

impl AsUser {
    /// Starts the child. The caller is root or already this user.
    ///
    /// # Errors
    /// Those of the system, and what the child says if it cannot become the user.
    pub fn spawn(user: &Credentials) -> io::Result<AsUser> {
        AsUser::spawn_program(Path::new("/proc/self/exe"), user)
    }

    /// The same, where the process is not edgeprep itself: `program` is.
    ///
    /// # Errors
    /// As [`AsUser::spawn`].
    pub fn spawn_program(program: &Path, user: &Credentials) -> io::Result<AsUser> {
        let mut child = Command::new(program)
            .arg0("edgeprep")
            .arg(ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Nothing of a user's holds root's terminal.
            .stderr(Stdio::null())
            // Ctrl-C interrupts the parent, which then still needs the child to put things back.
            .process_group(0)
            .spawn()?;
        let pipe =
            child.stdin.take().zip(child.stdout.take()).map(|(input, output)| pipe::Pipe::new(input, output));
        let mut started = AsUser { child, pipe: pipe.transpose()? };
        match started.exchange(user, PATIENCE)? {
            Response::Ready => Ok(started),
            Response::Refused(why) => Err(io::Error::new(io::ErrorKind::PermissionDenied, why)),
            _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
        }
    }

    /// The child's PID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has one request done, within this time. After an error the child is gone, and what it was doing may
    /// have been done or not.
    ///
    /// # Errors
    /// Those of the pipes; `TimedOut`.
    pub fn ask(&mut self, request: &Request, within: Duration) -> io::Result<Response> {
        self.exchange(request, within)
    }

    fn exchange(&mut self, line: &impl Serialize, within: Duration) -> io::Result<Response> {
        let mut pipe = self.pipe.take().ok_or_else(|| {
            io::Error::new(io::ErrorKind::BrokenPipe, "the process that writes for the user is gone")
        })?;
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        let answer = pipe.exchange(&bytes, Instant::now() + within).and_then(|line| {
            serde_json::from_slice(&line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        });
        match answer {
            Ok(response) => {
                self.pipe = Some(pipe);
                Ok(response)
            }
            Err(error) => {
                // It may have ended already.
                let _ = self.child.kill();
                Err(error)
            }
        }
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

impl Drop for AsUser {
    fn drop(&mut self) {
        // The end of its input ends it.
        self.pipe = None;
        let deadline = Instant::now() + LAST_WORDS;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                // One that hangs in the kernel dies when it can; it is not waited for.
                let _ = self.child.kill();
                return;
            }
            std::thread::sleep(POLL);
        }
    }
}
