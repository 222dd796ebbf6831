//! The processes that try things for one user, each started when it is first needed. They end with this
//! value.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::ARGUMENT;
use super::request::{LINE_LIMIT_BYTES, Reply, Request};
use crate::apply::as_user::{OURSELVES, Process};
use crate::plan::Credentials;

/// How long an answer may take: longer than a helper may (see `child`), so that the process that waits for one
/// can say so.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module documentation.
pub(super) struct Bench {
    user: Credentials,
    outside: Option<Worker>,
    inside: Option<Worker>,
    /// Whether the process inside has the user's ID maps.
    pub(super) is_mapped: bool,
}

/// A process with the user's credentials.
struct Worker {
    process: Process,
    gains_privileges: bool,
}

impl Worker {
    fn start(user: &Credentials) -> Result<Worker, String> {
        let text = |error: io::Error| format!("the process that tries it for {}: {error}", user.name);
        let mut process = Process::start(Path::new(OURSELVES), ARGUMENT, LINE_LIMIT_BYTES).map_err(text)?;
        match process.exchange(user, PATIENCE).map_err(text)? {
            Reply::Ready { gains_privileges } => Ok(Worker { process, gains_privileges }),
            Reply::Refused(why) => Err(why),
            _ => Err(text(io::ErrorKind::InvalidData.into())),
        }
    }

    fn ask(&mut self, request: &Request) -> Result<Reply, String> {
        self.process.exchange(request, PATIENCE).map_err(|error| error.to_string())
    }
}

impl Bench {
    /// Nothing is started yet.
    pub(super) fn new(user: Credentials) -> Bench {
        Bench { user, outside: None, inside: None, is_mapped: false }
    }

    /// Has something done with the user's credentials, or says why that was not to be seen.
    pub(super) fn ask(&mut self, request: &Request) -> Result<Reply, String> {
        let worker = match self.outside.take() {
            Some(worker) => self.outside.insert(worker),
            None => self.outside.insert(Worker::start(&self.user)?),
        };
        let reply = worker.ask(request);
        if reply.is_err() {
            // The next is not to suffer for it.
            self.outside = None;
        }
        reply
    }

    /// Whether set-user-ID programs and file capabilities work for the user here.
    pub(super) fn gains_privileges(&self) -> bool {
        self.outside.iter().chain(&self.inside).all(|worker| worker.gains_privileges)
    }

    /// Has a process go into a new user namespace, where [`Bench::ask_inside`] finds it if the answer is
    /// [`Reply::Done`].
    pub(super) fn enter(&mut self) -> Result<Reply, String> {
        let mut worker = Worker::start(&self.user)?;
        let reply = worker.ask(&Request::UserNamespace)?;
        if reply == Reply::Done {
            self.inside = Some(worker);
        }
        Ok(reply)
    }

    /// The PID of the process inside.
    pub(super) fn pid_inside(&self) -> Option<u32> {
        self.inside.as_ref().map(|worker| worker.process.pid())
    }

    /// Whether the process inside still answers. Any port, asked for and let go, changes nothing.
    pub(super) fn is_alive_inside(&mut self) -> bool {
        matches!(self.ask_inside(&Request::Bind { udp: true, port: 0 }), Some(Ok(_)))
    }

    /// Has something done in the user namespace; `None` where there is none.
    pub(super) fn ask_inside(&mut self, request: &Request) -> Option<Result<Reply, String>> {
        let reply = self.inside.as_mut()?.ask(request);
        if reply.is_err() {
            self.inside = None;
        }
        Some(reply)
    }
}
