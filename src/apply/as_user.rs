//! Acts for a user with the user's own credentials, in a process of its own.
//!
//! What lies in a home directory is the user's: a link there can lead anywhere, a FIFO can wait for ever.
//! Root therefore never opens anything in it. A child does, after it has become that user for good; it
//! answers one JSON line for each, and the parent waits only so long.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid};
use serde::{Deserialize, Serialize};

use super::bus::BusError;
use super::error::WriteError;
use super::target::Target;
use super::user_call::UserCall;
use crate::plan::{Credentials, State};

/// The only argument of such a child.
pub const ARGUMENT: &str = "--as-user";
/// A home directory can lie on a file server that is gone.
const PATIENCE: Duration = Duration::from_secs(150);

/// What a child is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Request {
    /// Becomes this user; always the first.
    Become(Credentials),
    /// See [`Target::observe`].
    Observe { path: String },
    /// See [`Target::put`].
    Put { path: String, from: State, to: State },
    /// See [`Target::sweep`].
    Sweep { path: String },
    /// A call on the user's own bus.
    Call { call: UserCall },
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Response {
    Done,
    State(State),
    Write(WriteError),
    Bus(BusError),
    Refused(String),
}

/// A process with a user's credentials.
pub struct AsUser {
    name: String,
    child: Child,
    requests: ChildStdin,
    responses: Receiver<String>,
}

impl AsUser {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started, or cannot become that user.
    #[expect(clippy::disallowed_methods, reason = "edgeprep starts itself and nothing else")]
    pub fn start(user: &Credentials) -> Result<AsUser, WriteError> {
        let no_answer = |why: String| WriteError::NoAnswer { user: user.name.clone(), why };
        let mut child = Command::new("/proc/self/exe")
            .arg(ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| no_answer(error.to_string()))?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(no_answer("it has no pipes".to_owned()));
        };
        let (sender, responses) = channel();
        // A thread, because a pipe cannot be read with a time limit.
        std::thread::spawn(move || {
            for line in BufReader::new(answers).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut started = AsUser { name: user.name.clone(), child, requests, responses };
        match started.ask(&Request::Become(user.clone()))? {
            Response::Done => Ok(started),
            other => Err(no_answer(format!("{other:?}"))),
        }
    }

    fn ask(&mut self, request: &Request) -> Result<Response, WriteError> {
        let answer = serde_json::to_string(request)
            .map_err(std::io::Error::other)
            .and_then(|line| self.requests.write_all(format!("{line}\n").as_bytes()))
            .map_err(|error| error.to_string())
            .and_then(|()| {
                self.responses.recv_timeout(PATIENCE).map_err(|error| match error {
                    RecvTimeoutError::Timeout => format!("no answer for {} seconds", PATIENCE.as_secs()),
                    RecvTimeoutError::Disconnected => "it ended".to_owned(),
                })
            })
            .and_then(|line| serde_json::from_str(&line).map_err(|error| error.to_string()));
        match answer {
            Ok(Response::Write(error)) => Err(error),
            Ok(Response::Refused(why)) => Err(WriteError::NoAnswer { user: self.name.clone(), why }),
            Ok(response) => Ok(response),
            Err(why) => {
                // It may hang in a system call for ever; the error says all there is to say.
                let _ = self.child.kill();
                Err(WriteError::NoAnswer { user: self.name.clone(), why })
            }
        }
    }

    fn done(&mut self, request: &Request) -> Result<(), WriteError> {
        match self.ask(request)? {
            Response::Done => Ok(()),
            other => Err(self.unexpected(&other)),
        }
    }

    fn unexpected(&self, response: &Response) -> WriteError {
        WriteError::NoAnswer { user: self.name.clone(), why: format!("it answered {response:?}") }
    }

    /// See [`Target::observe`].
    ///
    /// # Errors
    /// As there, and when no answer comes.
    pub fn observe(&mut self, path: &str) -> Result<State, WriteError> {
        match self.ask(&Request::Observe { path: path.to_owned() })? {
            Response::State(state) => Ok(state),
            other => Err(self.unexpected(&other)),
        }
    }

    /// See [`Target::put`].
    ///
    /// # Errors
    /// As there, and when no answer comes.
    pub fn put(&mut self, path: &str, from: &State, to: &State) -> Result<(), WriteError> {
        self.done(&Request::Put { path: path.to_owned(), from: from.clone(), to: to.clone() })
    }

    /// See [`Target::sweep`].
    ///
    /// # Errors
    /// As there, and when no answer comes.
    pub fn sweep(&mut self, path: &str) -> Result<(), WriteError> {
        self.done(&Request::Sweep { path: path.to_owned() })
    }

    /// Calls the user's own bus.
    ///
    /// # Errors
    /// [`BusError`].
    pub fn call(&mut self, call: &UserCall) -> Result<(), BusError> {
        match self.ask(&Request::Call { call: call.clone() }) {
            Ok(Response::Done) => Ok(()),
            Ok(Response::Bus(error)) => Err(error),
            Ok(other) => Err(unanswered(call, format!("{other:?}"))),
            Err(error) => Err(unanswered(call, error.to_string())),
        }
    }
}

/// A call that did not come as far as the bus.
pub(super) fn unanswered(call: &UserCall, message: String) -> BusError {
    BusError::Failed { call: format!("{call:?}"), message }
}

impl Drop for AsUser {
    fn drop(&mut self) {
        // Nothing that it was asked is unanswered.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child: becomes a user, then does what it is asked, until nobody asks any more.
pub fn serve() {
    let stdin = std::io::stdin().lock();
    let mut stdout = std::io::stdout().lock();
    let mut user: Option<Credentials> = None;
    for line in stdin.lines() {
        let Ok(line) = line else { return };
        let response = match serde_json::from_str(&line) {
            Ok(Request::Become(credentials)) if user.is_none() => match become_user(&credentials) {
                Ok(()) => {
                    user = Some(credentials);
                    Response::Done
                }
                Err(why) => Response::Refused(why),
            },
            Ok(request) => match &user {
                Some(user) => answer(user, &request),
                None => Response::Refused("it is nobody yet".to_owned()),
            },
            Err(error) => Response::Refused(error.to_string()),
        };
        let written = serde_json::to_string(&response)
            .map_err(std::io::Error::other)
            .and_then(|text| stdout.write_all(format!("{text}\n").as_bytes()))
            .and_then(|()| stdout.flush());
        if written.is_err() {
            return;
        }
    }
}

/// Becomes a user for good: groups first, because that takes the rights that go last.
fn become_user(user: &Credentials) -> Result<(), String> {
    if user.uid == 0 {
        return Err("it acts for users, and root is none".to_owned());
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    // When the parent is killed, this goes, too.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| format!("prctl: {errno}"))?;
    if nix::unistd::geteuid().is_root() {
        let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
        nix::unistd::setgroups(&groups).map_err(|errno| format!("setgroups: {errno}"))?;
        nix::unistd::setresgid(gid, gid, gid).map_err(|errno| format!("setresgid: {errno}"))?;
        nix::unistd::setresuid(uid, uid, uid).map_err(|errno| format!("setresuid: {errno}"))?;
        // A change of the UID takes the wish to go with the parent away (prctl(2), PR_SET_PDEATHSIG).
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| format!("prctl: {errno}"))?;
    }
    nix::sys::prctl::set_no_new_privs().map_err(|errno| format!("prctl: {errno}"))?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let ids = nix::unistd::getresuid().map_err(|errno| format!("getresuid: {errno}"))?;
    if [ids.real, ids.effective, ids.saved] != [uid; 3] || nix::unistd::setuid(Uid::from_raw(0)).is_ok() {
        return Err(format!("it runs as user {}, and shall act for {}", ids.effective, user.name));
    }
    Ok(())
}

fn answer(user: &Credentials, request: &Request) -> Response {
    let target = Target::of_user(user.uid);
    let inside = |path: &str| {
        let home = user.home.trim_end_matches('/');
        let below = path.strip_prefix(home).is_some_and(|rest| rest.starts_with('/'));
        let plain = !path.split('/').any(|part| part == "..");
        if below && plain && home.starts_with('/') {
            Ok(())
        } else {
            Err(WriteError::refused(path, "it is not below the home directory"))
        }
    };
    let done = |result: Result<(), WriteError>| match result {
        Ok(()) => Response::Done,
        Err(error) => Response::Write(error),
    };
    match request {
        Request::Become(_) => Response::Refused("it is somebody already".to_owned()),
        Request::Observe { path } => match inside(path).and_then(|()| target.observe(path)) {
            Ok(state) => Response::State(state),
            Err(error) => Response::Write(error),
        },
        Request::Put { path, from, to } => done(inside(path).and_then(|()| target.put(path, from, to))),
        Request::Sweep { path } => done(inside(path).and_then(|()| target.sweep(path))),
        Request::Call { call } => match call.perform(user.uid) {
            Ok(()) => Response::Done,
            Err(error) => Response::Bus(error),
        },
    }
}
