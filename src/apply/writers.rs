//! Hands each path to whoever writes it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::WriteError;
use super::as_user::{AsUser, Request, Response};
use super::bus::BusError;
use super::shadow_lock::{LockError, ShadowLock};
use super::target::Target;
use super::user_call::UserCall;
use crate::plan::{Credentials, State, Writer};

/// The files that shadow's tools write, under their own locks.
const SHADOWS: [&str; 2] = ["/etc/subuid", "/etc/subgid"];
/// Calls on a bus have time limits of their own, which are shorter.
const CALL_PATIENCE: Duration = Duration::from_secs(180);

/// The system's writer and one for each user, started when they are first needed.
#[derive(Debug)]
pub struct Writers {
    system: Target,
    users: BTreeMap<Credentials, AsUser>,
    held: Option<ShadowLock>,
    program: PathBuf,
}

impl Writers {
    /// Those of a running system or an image.
    pub fn new(system: Target) -> Writers {
        Writers { system, users: BTreeMap::new(), held: None, program: PathBuf::from("/proc/self/exe") }
    }

    /// For a process that is not edgeprep itself: this program is.
    pub fn with_program(mut self, program: PathBuf) -> Writers {
        self.program = program;
        self
    }

    /// The system's writer.
    pub fn system(&self) -> &Target {
        &self.system
    }

    /// The process of a user.
    ///
    /// # Errors
    /// [`WriteError::NoAnswer`] about `path` when it cannot be started.
    pub fn user(&mut self, user: &Credentials, path: &str) -> Result<&mut AsUser, WriteError> {
        if !self.users.contains_key(user) {
            let started = AsUser::spawn_program(&self.program, user);
            let started = started
                .map_err(|error| WriteError::NoAnswer { path: path.to_owned(), why: error.to_string() })?;
            self.users.insert(user.clone(), started);
        }
        let gone = || WriteError::NoAnswer { path: path.to_owned(), why: "its process is gone".to_owned() };
        self.users.get_mut(user).ok_or_else(gone)
    }

    /// Who writes in an image does not depend on who owns it: nobody of the image runs, and what is below
    /// the root stays there.
    fn child(&mut self, by: &Writer, path: &str) -> Result<Option<&mut AsUser>, WriteError> {
        match by {
            Writer::User(user) if !self.system.is_image() => self.user(user, path).map(Some),
            _ => Ok(None),
        }
    }

    /// See [`Target::observe`].
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn observe(&mut self, by: &Writer, path: &str) -> Result<State, WriteError> {
        match self.child(by, path)? {
            Some(user) => user.observe(path),
            None => self.system.observe(path),
        }
    }

    /// See [`Target::put`].
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn put(&mut self, by: &Writer, path: &str, from: &State, to: &State) -> Result<(), WriteError> {
        match self.child(by, path)? {
            Some(user) => user.put(path, from, to),
            None => self.system.put(path, from, to),
        }
    }

    /// See [`Target::sweep`].
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn sweep(&mut self, by: &Writer, path: &str) -> Result<(), WriteError> {
        match self.child(by, path)? {
            Some(user) => user.sweep(path),
            None => self.system.sweep(path),
        }
    }

    /// Keeps the tools out that write some of these files, too, until [`Writers::release`]. A lock that a
    /// killed process left goes with it.
    ///
    /// # Errors
    /// When one of them is at work for too long.
    pub fn hold<'p>(&mut self, paths: impl Iterator<Item = &'p str>) -> Result<(), WriteError> {
        if self.held.is_some() {
            return Ok(());
        }
        let paths: Vec<&str> = paths.collect();
        let shared: Vec<&str> = SHADOWS.into_iter().filter(|shared| paths.contains(shared)).collect();
        let Some(first) = shared.first() else { return Ok(()) };
        match ShadowLock::take(&self.system, &SHADOWS) {
            Ok(lock) => self.held = Some(lock),
            Err(LockError::Write(error)) => return Err(error),
            Err(held) => return Err(WriteError::refused(first, &held.to_string())),
        }
        Ok(())
    }

    /// Lets those tools go on.
    ///
    /// # Errors
    /// Those of the system: the locks were files, which leave their mark on the directory.
    pub fn release(&mut self) -> Result<(), WriteError> {
        if self.held.take().is_none() {
            return Ok(());
        }
        self.system.settle(SHADOWS[0])
    }

    /// Has a user's own bus called, as that user.
    ///
    /// # Errors
    /// [`BusError`].
    pub fn call(&mut self, user: &Credentials, call: &UserCall) -> Result<(), BusError> {
        let failed = |message: String| BusError::Failed { call: format!("{call:?}"), message };
        let child = self.user(user, &user.home).map_err(|error| failed(error.to_string()))?;
        match child.ask(&Request::Call { call: call.clone() }, CALL_PATIENCE) {
            Ok(Response::Done) => Ok(()),
            Ok(Response::Refusal(error)) => Err(error),
            Ok(other) => Err(failed(format!("{other:?}"))),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}
