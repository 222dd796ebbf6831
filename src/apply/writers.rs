//! Who writes what: the system's files this process, a user's a process with that user's credentials.

use std::collections::BTreeMap;

use super::as_user::{AsUser, unanswered};
use super::bus::BusError;
use super::error::WriteError;
use super::shadow_lock::ShadowLock;
use super::target::Target;
use super::user_call::UserCall;
use crate::plan::{Credentials, State, Writer};

/// Writes for the system and for users.
pub struct Writers {
    system: Target,
    /// In an image no user is there to act for, and no path leaves it.
    image: bool,
    users: BTreeMap<Credentials, AsUser>,
}

impl Writers {
    /// With what writes for the system.
    pub fn new(system: Target, image: bool) -> Writers {
        Writers { system, image, users: BTreeMap::new() }
    }

    fn user(&mut self, user: &Credentials) -> Result<&mut AsUser, WriteError> {
        if !self.users.contains_key(user) {
            let started = AsUser::start(user)?;
            self.users.insert(user.clone(), started);
        }
        self.users
            .get_mut(user)
            .ok_or_else(|| WriteError::NoAnswer { user: user.name.clone(), why: "it was not started".to_owned() })
    }

    /// See [`Target::observe`].
    ///
    /// # Errors
    /// As there.
    pub fn observe(&mut self, by: &Writer, path: &str) -> Result<State, WriteError> {
        match by {
            Writer::User(user) if !self.image => self.user(user)?.observe(path),
            _ => self.system.observe(path),
        }
    }

    /// See [`Target::put`]. The files that shadow's tools write are written under their lock.
    ///
    /// # Errors
    /// As there, and when the lock is not to be had.
    pub fn put(&mut self, by: &Writer, path: &str, from: &State, to: &State) -> Result<(), WriteError> {
        match by {
            Writer::User(user) if !self.image => self.user(user)?.put(path, from, to),
            _ => {
                let _lock = ShadowLock::for_file(&self.system, path)?;
                self.system.put(path, from, to)
            }
        }
    }

    /// See [`Target::sweep`].
    ///
    /// # Errors
    /// As there.
    pub fn sweep(&mut self, by: &Writer, path: &str) -> Result<(), WriteError> {
        match by {
            Writer::User(user) if !self.image => self.user(user)?.sweep(path),
            _ => {
                // A lock that a killed process left goes with it.
                let _lock = ShadowLock::for_file(&self.system, path)?;
                self.system.sweep(path)
            }
        }
    }

    /// Calls a user's own bus.
    ///
    /// # Errors
    /// [`BusError`].
    pub fn call(&mut self, user: &Credentials, call: &UserCall) -> Result<(), BusError> {
        match self.user(user) {
            Ok(child) => child.call(call),
            Err(error) => Err(unanswered(call, error.to_string())),
        }
    }
}
