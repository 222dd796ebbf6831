//! Desired state, as findings ask for it, and what a person would type to reach it.
//!
//! A setting says what shall hold ("sysctl K is V"), not which file says so.

mod by_hand;

pub use by_hand::{as_user, by_hand, quoted};

use crate::facts::boot::BootWant;
use crate::facts::cgroup::Controller;

/// The administrator's drop-in for delegation. The name is the one that every guide uses.
pub const DELEGATE_DROP_IN: &str = "/etc/systemd/system/user@.service.d/90-rootless.conf";
/// The administrator's drop-in for the slice of each user.
pub const SLICE_DROP_IN: &str = "/etc/systemd/system/user-.slice.d/90-rootless.conf";
/// The administrator's drop-in for logind.
pub const LOGIND_DROP_IN: &str = "/etc/systemd/logind.conf.d/90-rootless.conf";
/// Sorts after the vendor's 10 to 50 and before a site's own `99-`.
pub const SYSCTL_FILE: &str = "/etc/sysctl.d/90-rootless.conf";
/// The unit of the user manager that runs K3s.
pub const K3S_SERVICE: &str = "k3s-rootless.service";

/// The network that k3d is told of, and the Quadlet file and the unit that make it.
pub const K3D_NETWORK: &str = "k3d";
/// What a Quadlet file of that network says.
pub const K3D_QUADLET: [&str; 4] = ["[Network]", "NetworkName=k3d", "[Install]", "WantedBy=default.target"];

/// One thing that shall hold on the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// These controllers are delegated to every user manager.
    Delegation(Vec<Controller>),
    /// The running user manager of this user has, and hands on, what is configured to be delegated.
    DelegationInEffect {
        /// The user's name.
        user: String,
        /// Their UID.
        uid: u32,
    },
    /// A sysctl has a value, now and at boot.
    Sysctl {
        /// The key, with dots.
        key: String,
        /// The value.
        value: String,
    },
    /// A sysctl has, now, the value that a file gives it at boot.
    SysctlInEffect {
        /// The key, with dots.
        key: String,
        /// The value.
        value: String,
    },
    /// A module is loaded, now and at boot.
    Module(String),
    /// A module that a file loads at boot is loaded now.
    ModuleInEffect(String),
    /// This user's manager starts at boot and outlives sessions.
    Linger(String),
    /// A user has a subordinate ID range of at least `count` in both files.
    SubordinateIds {
        /// The user's name.
        user: String,
        /// The first free ID that was found.
        start: u32,
        /// How many.
        count: u32,
    },
    /// Podman of this user makes a new user namespace, with the IDs that are configured.
    NewPodmanNamespace {
        /// The user's name.
        user: String,
    },
    /// A file has these permission bits.
    FileMode {
        /// The file.
        path: String,
        /// The bits.
        mode: u32,
    },
    /// A file has this capability, permitted and effective (`capabilities(7)`, "File capabilities").
    FileCapability {
        /// The file.
        path: String,
        /// The capability, as `setcap(8)` names it: `cap_setuid` or `cap_setgid`.
        capability: &'static str,
    },
    /// A unit of the user manager is enabled, and runs.
    UserUnit {
        /// Whose.
        user: String,
        /// The unit.
        unit: String,
    },
    /// A unit of the user manager that is enabled runs.
    UserUnitInEffect {
        /// Whose.
        user: String,
        /// The unit.
        unit: String,
    },
    /// User managers, and so their units, are started with this limit (`systemd.exec(5)`, "Process
    /// Properties").
    UserManagerLimit {
        /// The directive, such as `LimitNOFILE`.
        directive: &'static str,
        /// Its value.
        value: String,
    },
    /// The slice of each user may hold this many tasks: `TasksMax=` of `user-UID.slice`.
    SliceTasks(String),
    /// The running slice of this user has the limits that are configured.
    SliceTasksInEffect {
        /// The UID.
        uid: u32,
    },
    /// A directive of a unit of the system manager has a value, for all users.
    UnitDirective {
        /// The unit, or a template such as `user@.service` or `user-.slice`.
        unit: String,
        /// Its section.
        section: &'static str,
        /// The directive.
        key: &'static str,
        /// Its value; empty where that takes back what other files say.
        value: String,
    },
    /// A directive of a unit of a user manager has a value.
    UserUnitDirective {
        /// Whose.
        user: String,
        /// The unit.
        unit: String,
        /// Its section.
        section: &'static str,
        /// The directive.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// Processes of a user outlive their sessions: `KillUserProcesses=no` of `logind.conf(5)`.
    KeepUserProcesses,
    /// A key of `containers.conf(5)` has a value for this user.
    Engine {
        /// Whose.
        user: String,
        /// The table, such as `engine`.
        table: &'static str,
        /// The key.
        key: String,
        /// The value, as TOML has it.
        value: String,
    },
    /// A key of minikube's configuration has a value for this user (`minikube config set`).
    Minikube {
        /// Whose.
        user: String,
        /// The file that has it.
        path: String,
        /// The key.
        key: &'static str,
        /// The value: `true`, or a word.
        value: &'static str,
    },
    /// Services and logins of this user start with a variable (`environment.d(5)`).
    Environment {
        /// Whose.
        user: String,
        /// The variable.
        name: String,
        /// Its value.
        value: String,
    },
    /// Podman of this user has the network [`K3D_NETWORK`].
    K3dNetwork(String),
    /// A device node has these permission bits, now and whenever it is made.
    DeviceMode {
        /// The node, below `/dev`.
        path: String,
        /// The bits.
        mode: u32,
    },
    /// The user manager has a unit that runs K3s without root.
    K3sService {
        /// Whose.
        user: String,
        /// The path of k3s.
        program: String,
        /// Variables of the drop-in: `K3S_ROOTLESS_*` and `K3S_*`.
        environment: Vec<(String, String)>,
    },
    /// The kernel is passed a word, and nothing that undoes it after it; or is not passed it.
    KernelArgument {
        /// The word, as it is to be written, or as it is written.
        word: String,
        /// Whether it is passed.
        passed: bool,
        /// The file that is edited for it; none where it says so already.
        path: Option<String>,
        /// How the hardware boots, where policy knows.
        boot: BootWant,
    },
    /// An AppArmor profile that lets a program create user namespaces.
    UsernsProfile {
        /// The program's real path.
        program: String,
    },
}

/// The administrator's drop-in of ours for a unit of the system manager.
pub fn unit_drop_in(unit: &str) -> String {
    format!("/etc/systemd/system/{unit}.d/90-rootless.conf")
}

impl Setting {
    /// Whether another file can win over the one that says so.
    pub fn has_precedence(&self) -> bool {
        matches!(
            self,
            Setting::Delegation(_)
                | Setting::Sysctl { .. }
                | Setting::Module(_)
                | Setting::UserManagerLimit { .. }
                | Setting::SliceTasks(_)
                | Setting::KeepUserProcesses
                | Setting::UnitDirective { .. }
                | Setting::UserUnitDirective { .. }
                | Setting::Engine { .. }
        )
    }
}
