//! What each activation does, and how it is taken back.

use std::time::{Duration, Instant};

use super::bus::{Bus, BusError, Job, UserCall};
use super::kernel;
use super::writers::Writers;
use crate::plan::{Activation, Credentials};

/// What runs when a user's bus is there.
const USER_MANAGER: Duration = Duration::from_secs(60);
/// How soon the kernel has what systemd was told.
const KERNEL: Duration = Duration::from_secs(2);

/// What runs, as far as activations tell it something.
pub trait Running {
    /// The system's bus.
    fn system(&self) -> &Bus;
    /// Calls a user's own bus, as that user.
    ///
    /// # Errors
    /// [`BusError`].
    fn user(&mut self, user: &Credentials, call: &UserCall) -> Result<String, BusError>;
    /// See [`kernel::set_sysctl`].
    ///
    /// # Errors
    /// What the system said.
    fn set_sysctl(&mut self, key: &str, value: &str) -> Result<(), String> {
        kernel::set_sysctl(key, value)
    }
    /// See [`kernel::set_device_mode`].
    ///
    /// # Errors
    /// What the system said.
    fn set_device_mode(&mut self, path: &str, mode: u32) -> Result<(), String> {
        kernel::set_device_mode(path, mode)
    }
    /// See [`kernel::controllers`].
    ///
    /// # Errors
    /// What the system said.
    fn controllers(&self, group: &str) -> Result<String, String> {
        kernel::controllers(group)
    }
    /// See [`kernel::user_bus_is_there`].
    fn user_bus_is_there(&self, uid: u32) -> bool {
        kernel::user_bus_is_there(uid)
    }
}

/// This machine.
pub struct Live<'a> {
    /// With what users' buses are called.
    pub writers: &'a mut Writers,
    /// The system's bus.
    pub bus: Bus,
}

impl Running for Live<'_> {
    fn system(&self) -> &Bus {
        &self.bus
    }

    fn user(&mut self, user: &Credentials, call: &UserCall) -> Result<String, BusError> {
        self.writers.call(user, call)
    }
}

/// What came of an activation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in effect, or the checks that follow will say what is.
    Done,
    /// It is not in effect, which is no failure: the files are right.
    NotYet {
        /// What is missing, and what it takes.
        why: String,
    },
}

/// Carries out an activation.
///
/// # Errors
/// [`BusError`], where something that has to work did not: the fix is taken back then.
pub fn activate(activation: &Activation, running: &mut dyn Running) -> Result<Outcome, BusError> {
    match activation {
        Activation::Reload => running.system().reload().map(done),
        // The unit fails when any of its modules does, ours or another; the checks tell which are loaded.
        Activation::LoadModules { .. } => {
            Ok(or_not_yet(running.system().job(Job::Restart, "systemd-modules-load.service")))
        }
        Activation::Sysctl { key, value, .. } => Ok(or_not_yet(running.set_sysctl(key, value))),
        Activation::DeviceMode { path, mode, .. } => Ok(or_not_yet(running.set_device_mode(path, *mode))),
        Activation::ReloadAppArmor => {
            running.system().job(Job::ReloadOrRestart, "apparmor.service").map(done)
        }
        Activation::ReloadLogind => {
            running.system().job(Job::ReloadOrRestart, "systemd-logind.service").map(done)
        }
        Activation::Linger { uid, .. } => linger(*uid, running),
        Activation::Delegation { user, controllers } => delegate(user, controllers, running),
        Activation::UserReload { user } => running.user(user, &UserCall::Reload).map(done),
        Activation::UserStart { user, unit } => {
            running.user(user, &UserCall::Job { job: Job::Start, unit: unit.clone() }).map(done)
        }
        Activation::RestartUserManager { user, .. } => {
            running.system().job(Job::Restart, &format!("user@{}.service", user.uid)).map(done)
        }
    }
}

/// Takes an activation back, after the files are as they were.
///
/// # Errors
/// [`BusError`].
pub fn revert(activation: &Activation, running: &mut dyn Running) -> Result<Outcome, BusError> {
    match activation {
        Activation::Reload
        | Activation::ReloadAppArmor
        | Activation::ReloadLogind
        | Activation::UserReload { .. } => activate(activation, running),
        Activation::Sysctl { key, before: Some(before), .. } => Ok(or_not_yet(running.set_sysctl(key, before))),
        Activation::DeviceMode { path, before, .. } => Ok(or_not_yet(running.set_device_mode(path, *before))),
        Activation::Linger { uid, .. } => running.system().set_linger(*uid, false).map(done),
        Activation::UserStart { user, unit } => {
            match running.user(user, &UserCall::Job { job: Job::Stop, unit: unit.clone() }) {
                Ok(_) | Err(BusError::NoSuchUnit { .. }) => Ok(Outcome::Done),
                // Without a user manager nothing of it runs.
                Err(BusError::NoBus { .. }) => Ok(Outcome::Done),
                Err(error) => Err(error),
            }
        }
        Activation::LoadModules { names } => {
            Ok(Outcome::NotYet { why: format!("{} stay loaded until the next boot", names.join(", ")) })
        }
        Activation::Delegation { user, .. } => Ok(Outcome::NotYet {
            why: format!("the user manager of {} keeps its controllers until it is started anew", user.name),
        }),
        Activation::Sysctl { before: None, .. } | Activation::RestartUserManager { .. } => Ok(Outcome::Done),
    }
}

fn done<T>(_: T) -> Outcome {
    Outcome::Done
}

fn or_not_yet<E: std::fmt::Display>(result: Result<(), E>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::NotYet { why: error.to_string() },
    }
}

/// logind writes the file and starts the user manager, which takes a moment.
fn linger(uid: u32, running: &mut dyn Running) -> Result<Outcome, BusError> {
    running.system().set_linger(uid, true)?;
    let begun = Instant::now();
    let unit = format!("user@{uid}.service");
    loop {
        let state = running.system().active_state(&unit)?;
        // Whether there is a bus at all is a matter of packages, on which the checks have their say.
        if state == "active" && (running.user_bus_is_there(uid) || begun.elapsed() > KERNEL) {
            return Ok(Outcome::Done);
        }
        if state == "failed" || begun.elapsed() > USER_MANAGER {
            let why = format!("{unit} is {state}: systemctl status {unit} says why");
            return Ok(Outcome::NotYet { why });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Puts delegation into effect in a user manager that keeps running.
///
/// Seen with systemd 252, 257 and 262, and documented nowhere: after the reload PID 1 hands down controllers
/// when a unit near by is started (`src/core/cgroup.c`, `unit_add_family_to_cgroup_realize_queue`), and the
/// user manager knows of what it has since it was last executed (`manager_setup_cgroup`).
fn delegate(
    user: &Credentials,
    wanted: &[String],
    running: &mut dyn Running,
) -> Result<Outcome, BusError> {
    let uid = user.uid;
    let group = format!("/user.slice/user-{uid}.slice/user@{uid}.service");
    let lacking = |running: &dyn Running| -> Result<Vec<String>, String> {
        let there = running.controllers(&group)?;
        Ok(missing(wanted, &there))
    };
    let again = |why: String| {
        let what = "end all sessions and stop lingering once, or reboot";
        Ok(Outcome::NotYet { why: format!("{why}: {what}") })
    };
    match lacking(running) {
        Ok(controllers) if controllers.is_empty() => {}
        Err(why) => return again(why),
        Ok(_) => {
            if let Err(error) = running.system().touch_slice(&format!("user-{uid}-edgeprep.slice")) {
                return again(error.to_string());
            }
            let begun = Instant::now();
            loop {
                match lacking(running) {
                    Ok(controllers) if controllers.is_empty() => break,
                    Ok(controllers) if begun.elapsed() > KERNEL => {
                        return again(format!("the kernel has {} not", controllers.join(" ")));
                    }
                    Err(why) => return again(why),
                    Ok(_) => std::thread::sleep(Duration::from_millis(20)),
                }
            }
        }
    }
    if let Err(error) = running.user(user, &UserCall::Reexecute) {
        return again(error.to_string());
    }
    match running.user(user, &UserCall::DelegatedControllers) {
        Ok(there) => match missing(wanted, &there) {
            lacking if lacking.is_empty() => Ok(Outcome::Done),
            lacking => again(format!("a unit of {} gets {} not", user.name, lacking.join(" "))),
        },
        Err(error) => again(error.to_string()),
    }
}

fn missing(wanted: &[String], there: &str) -> Vec<String> {
    wanted.iter().filter(|one| !there.split_whitespace().any(|other| other == *one)).cloned().collect()
}
