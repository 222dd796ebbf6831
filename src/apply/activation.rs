//! What each [`Activation`] does to the running system, and how it is taken back. Nothing here writes a
//! file that lasts: that has happened before, and when a plan is rolled back the files have been restored
//! before the activations are.

use std::io;
use std::thread;
use std::time::Duration;

use super::bus::{Bus, BusError, Job};
use super::user_call::{CONTROLLERS_POLL, CONTROLLERS_WITHIN, UserCall, missing, user_bus};
use crate::facts::boot::Carry;
use crate::facts::sysctl::one_spaced;
use crate::plan::{Activation, Credentials};

/// How long the start of a user manager may take.
const USER_MANAGER_WITHIN: Duration = Duration::from_secs(30);

/// How long its bus may take after that. `dbus.socket` is there before the manager says that it is ready,
/// so that it rarely takes any.
const USER_BUS_WITHIN: Duration = Duration::from_secs(5);

/// Between two looks at a user manager that starts.
const USER_MANAGER_POLL: Duration = Duration::from_millis(100);

/// How long a user manager may take to stop and start again: the 120 s that it gives its units to stop
/// (`user@.service`, `TimeoutStopSec=`), and the time to start.
const RESTART_TIMEOUT: Duration = Duration::from_secs(150);

/// What activations work on. Paths and users are as the plan has them.
pub trait Buses {
    /// The system bus.
    ///
    /// # Errors
    /// Where there is none.
    fn system(&mut self) -> Result<Bus, BusError>;

    /// Has a call performed by the manager of a user, with that user's credentials.
    ///
    /// # Errors
    /// Those of [`UserCall::perform`].
    fn user(&mut self, who: &Credentials, call: &UserCall) -> Result<(), BusError>;

    /// What the kernel gives the user manager of this user (`cgroup.controllers`).
    ///
    /// # Errors
    /// Those of the system: there is no such file where no user manager runs.
    fn controllers(&mut self, uid: u32) -> io::Result<String>;

    /// Whether the socket of the user's bus is there.
    fn has_user_bus(&mut self, uid: u32) -> bool;

    /// Gives a kernel parameter that exists a value.
    ///
    /// # Errors
    /// Those of the system.
    fn write_sysctl(&mut self, key: &str, value: &str) -> io::Result<()>;

    /// Gives a device node its permission bits: no link is followed, and nothing else is changed.
    ///
    /// # Errors
    /// Those of the system, and where the path is not a character device.
    fn chmod_device(&mut self, path: &str, mode: u32) -> io::Result<()>;

    /// The value that a kernel parameter has now, where that can be told.
    fn sysctl(&mut self, key: &str) -> Option<String> {
        let _ = key;
        None
    }

    /// The permission bits that a device node has now, where that can be told.
    fn device_mode(&mut self, path: &str) -> Option<u32> {
        let _ = path;
        None
    }

    /// Runs a program of the system that carries words to the boot loader.
    ///
    /// # Errors
    /// Where it cannot be started, fails, or does not end.
    fn run(&mut self, carry: &Carry) -> io::Result<()>;

    /// Waits.
    fn pause(&mut self, time: Duration) {
        thread::sleep(time);
    }
}

/// What an activation came to where it is no failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is done.
    Yes,
    /// It is not, or not wholly; the files hold all the same, and checks tell what is in effect.
    Not {
        /// What is left, and what would bring it about.
        why: String,
    },
}

/// An activation without which the files make no sense: they are to be taken back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActivationError {
    /// The bus, or whoever was called on it, refused.
    #[error("{what}: {source}")]
    Bus {
        /// What was to be done.
        what: String,
        /// Why it could not be done.
        source: BusError,
    },
    /// The user manager does not come up.
    #[error("{unit} is {state} after {after:?}: `systemctl status {unit}` says why")]
    UserManager {
        /// The unit.
        unit: String,
        /// Its `ActiveState`.
        state: String,
        /// How long it was waited for.
        after: Duration,
    },
}

/// Makes the running system take notice.
///
/// # Errors
/// Where what was written does not hold without it. A module, a kernel parameter, a device node or a
/// delegation that does not take effect now is none: it does at the next boot at the latest, and something
/// else may be to blame, such as another line in modules-load.d.
pub fn activate(activation: &Activation, via: &mut dyn Buses) -> Result<Done, ActivationError> {
    match activation {
        Activation::Reload => system(via, "systemd reads its unit files again", Bus::reload),
        Activation::ReloadAppArmor => {
            system(via, "AppArmor reads its profiles again", |bus| bus.job(Job::Reload, "apparmor.service"))
        }
        // logind can be reloaded in 257 and 262; in 252 it restarts, which sessions and lingering users
        // outlive (seen on all three).
        Activation::ReloadLogind => system(via, "logind reads its configuration again", |bus| {
            bus.job(Job::ReloadOrRestart, "systemd-logind.service")
        }),
        Activation::LoadModules { names } => {
            let restart = |bus: Bus| bus.job(Job::Restart, "systemd-modules-load.service");
            Ok(via.system().and_then(restart).map_or_else(
                |error| Done::Not { why: format!("loading {}: {error}", names.join(", ")) },
                |()| Done::Yes,
            ))
        }
        Activation::Sysctl { key, value, .. } => Ok(write_sysctl(via, key, value)),
        Activation::DeviceMode { path, mode, .. } => Ok(chmod_device(via, path, *mode)),
        Activation::Linger { user, uid } => {
            let what = format!("{user} lingers");
            system(via, &what, |bus| bus.set_linger(*uid, true))?;
            user_manager_runs(via, &what, *uid)
        }
        Activation::StartUserManager { user, uid } => {
            let what = format!("the user manager of {user} starts");
            let unit = user_manager(*uid);
            system(via, &what, |bus| bus.job(Job::Start, &unit))?;
            user_manager_runs(via, &what, *uid)
        }
        Activation::Delegation { user, controllers } => {
            Ok(delegate(via, user, controllers).map_or_else(|why| Done::Not { why }, |()| Done::Yes))
        }
        Activation::SliceLimits { uid } => Ok(apply_limits(via, *uid)),
        Activation::NewPodmanNamespace { user } => {
            let done = via.user(user, &UserCall::EndPodmanPause);
            Ok(done.map_or_else(|error| Done::Not { why: error.to_string() }, |()| Done::Yes))
        }
        Activation::UserReload { user } => {
            let what = format!("the user manager of {} reads its unit files again", user.name);
            of_user(via, &what, user, UserCall::Reload)
        }
        Activation::UserStart { user, unit, may_fail } => {
            let what = format!("the user manager of {} starts {unit}", user.name);
            match of_user(via, &what, user, UserCall::Job { kind: Job::Start, unit: unit.clone() }) {
                Err(error) if *may_fail => Ok(Done::Not { why: error.to_string() }),
                done => done,
            }
        }
        Activation::NextBoot { run: false, .. } => Ok(Done::Yes),
        Activation::NextBoot { carry, run: true, .. } => Ok(carry_over(via, carry)),
        Activation::RestartUserManager { user, .. } => {
            let what = format!("the user manager of {} starts anew", user.name);
            let unit = user_manager(user.uid);
            system(via, &what, |bus| bus.with_timeout(RESTART_TIMEOUT).job(Job::Restart, &unit))?;
            user_manager_runs(via, &what, user.uid)
        }
    }
}

/// Takes an activation back, after the files are what they were.
///
/// # Errors
/// Where the running system does not take notice of that.
pub fn revert(activation: &Activation, via: &mut dyn Buses) -> Result<Done, ActivationError> {
    let stays = |what: &str, until: &str| Ok(Done::Not { why: format!("{what} until {until}") });
    match activation {
        Activation::Reload
        | Activation::ReloadAppArmor
        | Activation::ReloadLogind
        | Activation::UserReload { .. } => activate(activation, via),
        Activation::LoadModules { names } => {
            stays(&format!("what is loaded of {} stays loaded", names.join(", ")), "the next boot")
        }
        Activation::Sysctl { key, value, .. }
            if via.sysctl(key).is_some_and(|now| one_spaced(&now) != one_spaced(value)) =>
        {
            stays(&format!("{key}, which others have set to something else,"), "they change it")
        }
        Activation::DeviceMode { path, mode, .. }
            if via.device_mode(path).is_some_and(|now| now != *mode) =>
        {
            stays(&format!("the mode of {path}, which others have changed,"), "they change it")
        }
        Activation::Sysctl { key, before, .. } => match before {
            Some(before) => Ok(write_sysctl(via, key, before)),
            None => stays(&format!("{key}, which did not exist before, keeps its value"), "the next boot"),
        },
        Activation::DeviceMode { path, before, .. } => Ok(chmod_device(via, path, *before)),
        Activation::Linger { user, uid } => {
            system(via, &format!("{user} does not linger"), |bus| bus.set_linger(*uid, false))
        }
        // It would run since the last boot, had nobody stopped it.
        Activation::StartUserManager { user, .. } => {
            stays(&format!("the user manager of {user} stays started"), "it is stopped")
        }
        // What the next command makes has the IDs that are configured then.
        Activation::NewPodmanNamespace { .. } | Activation::SliceLimits { .. } => activate(activation, via),
        Activation::Delegation { user, .. } => stays(
            &format!("the user manager of {} keeps the controllers that it has", user.name),
            &format!("{} is restarted, which ends its units", user_manager(user.uid)),
        ),
        Activation::UserStart { user, unit, .. } => {
            let what = format!("the user manager of {} stops {unit}", user.name);
            of_user(via, &what, user, UserCall::Job { kind: Job::Stop, unit: unit.clone() })
        }
        Activation::NextBoot { run: true, .. } => activate(activation, via),
        Activation::NextBoot { path, carry, run: false } if carry.is_empty() => {
            stays(&format!("the kernel keeps what {path} had it passed"), "the next boot")
        }
        Activation::NextBoot { path, carry, run: false } => {
            let commands: Vec<String> = carry.iter().map(Carry::command).collect();
            let until = format!("the next boot after: {}", commands.join("; "));
            stays(&format!("the kernel is passed what {path} had"), &until)
        }
        Activation::RestartUserManager { user, .. } => {
            stays(&format!("units of {} that ended with the user manager stay stopped", user.name), "started")
        }
    }
}

/// Runs what carries words to the boot loader. Where that fails the file holds all the same, and the boot loader
/// passes what it did before.
fn carry_over(via: &mut dyn Buses, carry: &[Carry]) -> Done {
    for step in carry {
        if let Err(error) = via.run(step) {
            return Done::Not {
                why: format!("{step}: {error}; until it succeeds, the next boot is as this one"),
            };
        }
    }
    Done::Yes
}

fn user_manager(uid: u32) -> String {
    format!("user@{uid}.service")
}

/// Does something on the system bus that must not fail.
fn system(
    via: &mut dyn Buses,
    what: &str,
    call: impl FnOnce(&Bus) -> Result<(), BusError>,
) -> Result<Done, ActivationError> {
    let done = via.system().and_then(|bus| call(&bus));
    done.map(|()| Done::Yes).map_err(|source| ActivationError::Bus { what: what.to_owned(), source })
}

/// Has a user manager do something that must not fail.
#[expect(clippy::needless_pass_by_value, reason = "the call is made for this")]
fn of_user(
    via: &mut dyn Buses,
    what: &str,
    user: &Credentials,
    call: UserCall,
) -> Result<Done, ActivationError> {
    let done = via.user(user, &call);
    done.map(|()| Done::Yes).map_err(|source| ActivationError::Bus { what: what.to_owned(), source })
}

fn write_sysctl(via: &mut dyn Buses, key: &str, value: &str) -> Done {
    match via.write_sysctl(key, value) {
        Ok(()) => Done::Yes,
        Err(error) => Done::Not { why: format!("setting {key} to `{value}`: {error}") },
    }
}

fn chmod_device(via: &mut dyn Buses, path: &str, mode: u32) -> Done {
    match via.chmod_device(path, mode) {
        Ok(()) => Done::Yes,
        Err(error) => Done::Not { why: format!("giving {path} the mode {mode:04o}: {error}") },
    }
}

/// Looks every `every` until `found`, for `within` at most.
fn wait(
    via: &mut dyn Buses,
    within: Duration,
    every: Duration,
    mut found: impl FnMut(&mut dyn Buses) -> Result<bool, ActivationError>,
) -> Result<bool, ActivationError> {
    let mut left = within;
    loop {
        if found(via)? {
            return Ok(true);
        }
        if left.is_zero() {
            return Ok(false);
        }
        via.pause(every);
        left = left.saturating_sub(every);
    }
}

/// Waits until a user manager and its bus are there, which those who asked logind for it are not told.
fn user_manager_runs(via: &mut dyn Buses, what: &str, uid: u32) -> Result<Done, ActivationError> {
    let unit = user_manager(uid);
    let bus = via.system().map_err(|source| ActivationError::Bus { what: what.to_owned(), source })?;
    let mut state = String::new();
    let active = wait(via, USER_MANAGER_WITHIN, USER_MANAGER_POLL, |_| {
        state = bus
            .unit_active_state(&unit)
            .map_err(|source| ActivationError::Bus { what: what.to_owned(), source })?;
        // One that has failed is not tried again.
        Ok(matches!(state.as_str(), "active" | "failed"))
    })?;
    if !active || state == "failed" {
        return Err(ActivationError::UserManager { unit, state, after: USER_MANAGER_WITHIN });
    }
    if wait(via, USER_BUS_WITHIN, USER_MANAGER_POLL, |via| Ok(via.has_user_bus(uid)))? {
        return Ok(Done::Yes);
    }
    Ok(Done::Not {
        why: format!(
            "{unit} runs, but there is no {}: the distribution's package for a user bus is missing \
             (dbus-user-session on Debian)",
            user_bus(uid)
        ),
    })
}

/// Makes systemd write what is configured for the slice of a user to its cgroup, which it does where a unit
/// starts in it: an empty slice will do (seen with systemd 257, which a reload alone does not bring to it).
fn realize(via: &mut dyn Buses, uid: u32) -> Result<(), BusError> {
    let slice = format!("user-{uid}-edgeprep.slice");
    via.system().and_then(|bus| bus.with_transient_slice(&slice, &[], |_| Ok(())))
}

fn apply_limits(via: &mut dyn Buses, uid: u32) -> Done {
    match realize(via, uid) {
        Ok(()) => Done::Yes,
        Err(error) => {
            Done::Not { why: format!("{error}; user-{uid}.slice has its limits from the next boot on") }
        }
    }
}

/// Brings what is configured to be delegated into a running user manager, whose units keep running. None
/// of it is documented; it was seen on systemd 252, 257 and 262. After PID 1 has read the drop-in, 252 and
/// 262 give the controllers to the user manager's cgroup at once, 257 not before some unit beside it starts
/// (systemd, `src/core/cgroup.c`, `unit_add_family_to_cgroup_realize_queue`): a slice does. The user manager
/// looks at what it has when it is executed, and not again. Units that run keep what they have.
fn delegate(via: &mut dyn Buses, user: &Credentials, controllers: &[String]) -> Result<(), String> {
    let unit = user_manager(user.uid);
    let otherwise = |why: String| {
        format!("{why}; a reboot or `systemctl restart {unit}` helps, which ends what {} runs", user.name)
    };
    let lacking = |via: &mut dyn Buses| match via.controllers(user.uid) {
        Ok(text) => Ok(missing(controllers, &text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("{unit} is not running: it gets the controllers when it starts"))
        }
        Err(error) => Err(otherwise(format!("what {unit} has of controllers cannot be read: {error}"))),
    };
    if !lacking(via)?.is_empty() {
        realize(via, user.uid).map_err(|error| otherwise(error.to_string()))?;
        let mut left = CONTROLLERS_WITHIN;
        loop {
            let lacking = lacking(via)?;
            if lacking.is_empty() {
                break;
            }
            if left.is_zero() {
                return Err(otherwise(format!("{unit} does not get {}", lacking.join(", "))));
            }
            via.pause(CONTROLLERS_POLL);
            left = left.saturating_sub(CONTROLLERS_POLL);
        }
    }
    let verify = UserCall::VerifyDelegation { controllers: controllers.to_vec() };
    for call in [UserCall::Reexecute, verify] {
        via.user(user, &call).map_err(|error| otherwise(error.to_string()))?;
    }
    Ok(())
}
