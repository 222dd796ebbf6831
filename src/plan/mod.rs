//! What a fix will do, as a value: changes of paths, then activations, then what is left to do by hand.
//!
//! A plan is computed before anything is touched. [`crate::apply`] carries it out.

mod compare;
mod make;
mod read_only;
mod state;

pub use make::{PlanError, Planner, Scope};
pub use state::{Content, Hex, State};

use serde::{Deserialize, Serialize};

use crate::facts::boot::Carry;
use crate::facts::users::User;
use crate::fixes::Step;
use crate::report::Report;

/// What a fix will do.
#[derive(Debug)]
pub struct Plan {
    /// What is written, in this order.
    pub changes: Vec<Change>,
    /// What follows the last write, in this order.
    pub activations: Vec<Activation>,
    /// What is left to a person.
    pub manual: Vec<Step>,
    /// What only root can write, where the caller is not root.
    pub for_root: Vec<Change>,
    /// What only root can activate, where the caller is not root.
    pub root_activations: Vec<Activation>,
    /// The host as it is.
    pub before: Report,
    /// The host with all changes written, and with what runs as it was.
    pub predicted: Report,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.activations.is_empty()
    }

    /// Whether there is anything to take back: what was read again, or reached a user manager, is not.
    pub fn can_be_undone(&self) -> bool {
        let lasts = |activation: &Activation| {
            matches!(
                activation,
                Activation::Linger { .. }
                    | Activation::Sysctl { .. }
                    | Activation::DeviceMode { .. }
                    | Activation::UserStart { .. }
            )
        };
        !self.changes.is_empty() || self.activations.iter().any(lasts)
    }

    /// Whether there is something that only root can do, and the caller is not root.
    pub fn has_root_part(&self) -> bool {
        !self.for_root.is_empty() || !self.root_activations.is_empty()
    }
}

/// Who writes a path. Root never writes where a user could have put a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Writer {
    /// Whoever runs edgeprep: root, on a running system.
    System,
    /// This user, below their home directory, with their own credentials.
    User(Credentials),
}

/// With what a process acts for a user (`credentials(7)`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Credentials {
    /// The user's name.
    pub name: String,
    /// The UID.
    pub uid: u32,
    /// The primary GID.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
    /// The home directory.
    pub home: String,
}

impl Credentials {
    /// Those of a user of the host.
    pub fn of(user: &User) -> Credentials {
        Credentials {
            name: user.name.clone(),
            uid: user.uid,
            gid: user.gid,
            groups: user.groups.clone(),
            home: user.home.clone(),
        }
    }
}

/// One path as it is and as it will be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The absolute path on that host.
    pub path: String,
    /// Who makes the change.
    pub by: Writer,
    /// What the plan saw. Anything else, when it comes to be written, makes the plan stale.
    pub before: State,
    /// What will be there.
    pub after: State,
}

/// What makes the running system take notice of files, and what it takes to go back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// PID 1 reads its unit files again (`org.freedesktop.systemd1.Manager.Reload`).
    Reload,
    /// These modules are loaded, by restarting `systemd-modules-load.service`.
    LoadModules {
        /// Their names, as modules-load.d has them.
        names: Vec<String>,
    },
    /// A sysctl gets a value now.
    Sysctl {
        /// The key, with dots.
        key: String,
        /// The value.
        value: String,
        /// What it was.
        before: Option<String>,
    },
    /// A device node gets these permission bits now.
    DeviceMode {
        /// The node.
        path: String,
        /// The bits.
        mode: u32,
        /// What they were.
        before: u32,
    },
    /// AppArmor's profiles are loaded again, by reloading `apparmor.service`.
    ReloadAppArmor,
    /// logind reads its configuration again.
    ReloadLogind,
    /// The user starts to linger, so that their user manager runs (`login1.Manager.SetUserLinger`).
    Linger {
        /// The user's name.
        user: String,
        /// The UID.
        uid: u32,
    },
    /// The manager of a user who lingers, and which does not run, is started.
    StartUserManager {
        /// The user's name.
        user: String,
        /// The UID.
        uid: u32,
    },
    /// The running slice of a user gets the limits that are configured for it.
    SliceLimits {
        /// The UID.
        uid: u32,
    },
    /// Podman's pause process is ended, where it holds no container.
    NewPodmanNamespace {
        /// The user.
        user: Credentials,
    },
    /// What is configured to be delegated takes effect in the running user manager, which keeps running.
    Delegation {
        /// The user.
        user: Credentials,
        /// The controllers that shall reach it, by the kernel's names.
        controllers: Vec<String>,
    },
    /// The user manager reads its unit files again.
    UserReload {
        /// The user.
        user: Credentials,
    },
    /// A unit of the user manager is started.
    UserStart {
        /// The user.
        user: Credentials,
        /// The unit.
        unit: String,
        /// Whether the rest holds without it.
        #[serde(default)]
        may_fail: bool,
    },
    /// The kernel is passed other words from the next boot on.
    NextBoot {
        /// The file that has them.
        path: String,
        /// What carries them to the boot loader.
        carry: Vec<Carry>,
        /// Whether that is run now, and again when the file goes back.
        run: bool,
    },
    /// The user manager is started anew, which ends all its units: only with `--allow-restart`.
    RestartUserManager {
        /// The user.
        user: Credentials,
        /// The units that end.
        ends: Vec<String>,
    },
}

impl Writer {
    /// The user, where it is one.
    pub fn user(&self) -> Option<&Credentials> {
        match self {
            Writer::System => None,
            Writer::User(user) => Some(user),
        }
    }
}

impl Activation {
    /// On whose behalf it is done, where it is on a user's bus.
    pub fn user(&self) -> Option<&Credentials> {
        match self {
            Activation::UserReload { user }
            | Activation::UserStart { user, .. }
            | Activation::NewPodmanNamespace { user } => Some(user),
            _ => None,
        }
    }

    /// Whether it is done over D-Bus.
    pub fn needs_bus(&self) -> bool {
        !matches!(
            self,
            Activation::Sysctl { .. }
                | Activation::DeviceMode { .. }
                | Activation::NewPodmanNamespace { .. }
                | Activation::NextBoot { .. }
        )
    }

    /// In a few words, for people.
    pub fn describe(&self) -> String {
        match self {
            Activation::Reload => "systemd reads its unit files again".to_owned(),
            Activation::LoadModules { names } => format!("load {}", names.join(", ")),
            Activation::Sysctl { key, value, before } => match before {
                Some(before) => format!("set {key} to {value} (now {before})"),
                None => format!("set {key} to {value}"),
            },
            Activation::DeviceMode { path, mode, before } => {
                format!("set the mode of {path} to {mode:04o} (now {before:04o})")
            }
            Activation::ReloadAppArmor => "AppArmor loads its profiles again".to_owned(),
            Activation::ReloadLogind => "logind reads its configuration again".to_owned(),
            Activation::Linger { user, .. } => {
                format!("{user} lingers: the user manager runs from boot on, and now")
            }
            Activation::StartUserManager { user, .. } => format!("start the user manager of {user}"),
            Activation::SliceLimits { uid } => {
                format!("user-{uid}.slice gets the limits that are configured; nothing in it is restarted")
            }
            Activation::NewPodmanNamespace { user } => {
                format!("the next podman of {} makes a new user namespace", user.name)
            }
            Activation::Delegation { user, controllers } => format!(
                "{} reach the running user manager of {}; nothing in it is restarted",
                controllers.join(" "),
                user.name
            ),
            Activation::UserReload { user } => {
                format!("the user manager of {} reads its unit files again", user.name)
            }
            Activation::UserStart { user, unit, .. } => format!("start {unit} for {}", user.name),
            Activation::NextBoot { path, carry, run } => {
                let tools: Vec<String> = carry.iter().map(ToString::to_string).collect();
                match (tools.join(", then "), run) {
                    (tools, _) if tools.is_empty() => format!("the next boot is by the new {path}"),
                    (tools, true) => format!("run {tools}: the next boot is by the new {path}"),
                    (tools, false) => {
                        format!("the next boot is by the new {path}, once you have run {tools}")
                    }
                }
            }
            Activation::RestartUserManager { user, ends } if ends.is_empty() => {
                format!("restart the user manager of {}, which runs nothing now", user.name)
            }
            Activation::RestartUserManager { user, ends } => {
                format!("restart the user manager of {}, which ends {}", user.name, ends.join(", "))
            }
        }
    }
}
