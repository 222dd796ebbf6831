//! What a fix will do, as a value: changes of paths, then activations, then what is left to do by hand.
//!
//! A plan is computed before anything is touched. [`crate::apply`] carries it out.

mod state;

pub use state::{Content, Hex, State};

use serde::{Deserialize, Serialize};

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
#[serde(tag = "do", rename_all = "kebab-case")]
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
    },
    /// The user manager is started anew, which ends all its units: only with `--allow-restart`.
    RestartUserManager {
        /// The user.
        user: Credentials,
    },
}
