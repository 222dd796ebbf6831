//! What the chosen stacks want of a host: the vocabulary of requirements, each with who wants it and
//! where that is written. [`merge`](Requirements::merge) makes one table of all layers of policy.

mod merge;

pub use merge::Requirements;

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::finding::Level;

/// What shall run rootless.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Stack {
    /// Rootless Podman: containers and pods.
    Podman,
    /// `podman kube play` and Quadlet.
    PodmanKube,
    /// K3s started with `--rootless`.
    K3s,
    /// k3d on rootless Podman.
    K3d,
    /// kind on rootless Podman.
    Kind,
    /// minikube on rootless Podman.
    Minikube,
    /// Usernetes on rootless Podman.
    Usernetes,
}

impl Stack {
    /// All, in the order of reports.
    pub const ALL: [Stack; 7] = [
        Stack::Podman,
        Stack::PodmanKube,
        Stack::K3s,
        Stack::K3d,
        Stack::Kind,
        Stack::Minikube,
        Stack::Usernetes,
    ];

    /// The name on the command line and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Stack::Podman => "podman",
            Stack::PodmanKube => "podman-kube",
            Stack::K3s => "k3s",
            Stack::K3d => "k3d",
            Stack::Kind => "kind",
            Stack::Minikube => "minikube",
            Stack::Usernetes => "usernetes",
        }
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A requirement that is either there or not; the check that judges it has the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// Only cgroup v2 is mounted.
    CgroupV2,
    /// PID 1 is systemd.
    Systemd,
    /// `user@UID.service` runs and its bus answers.
    UserManager,
    /// `XDG_RUNTIME_DIR` is usable.
    RuntimeDirectory,
    /// The user manager starts at boot and outlives sessions.
    Linger,
    /// User namespaces can be created without root.
    UserNamespaces,
    /// `newuidmap` and `newgidmap` can write ID maps.
    IdMapHelpers,
    /// The user is not root, and a regular one.
    RegularUser,
    /// `/dev/net/tun` can be opened by the user.
    TunDevice,
    /// `/dev/fuse` can be opened by the user.
    FuseDevice,
    /// The container storage lies on a file system that can hold it.
    StorageFilesystem,
    /// `/` is mounted with shared propagation.
    SharedRootMount,
    /// The running kernel's modules are on disk.
    ModulesDirectory,
    /// Podman's network is netavark, with name resolution.
    Netavark,
    /// Podman can reach the outside from a rootless network.
    RootlessNetwork,
    /// Podman makes rootless networks with slirp4netns, not with pasta.
    Slirp4netnsNetwork,
    /// An OCI runtime is installed.
    OciRuntime,
    /// Pods have their pause process.
    PodPause,
    /// `podman.socket` listens for the user.
    PodmanSocket,
    /// `DOCKER_HOST` points at the rootless socket.
    DockerHost,
    /// Unprivileged users may send ICMP echo requests.
    Ping,
    /// The machine has an ID of its own.
    MachineId,
}

/// Where a requirement is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The file; `profiles/...` for what is built in.
    pub file: Rc<str>,
    /// The line, from 1.
    pub line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Who wants something, how much, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// How much depends on it.
    pub level: Level,
    /// The stacks that want it.
    pub stacks: Vec<Stack>,
    /// Why, in a clause.
    pub why: String,
    /// Where that is written.
    pub origin: Origin,
}

/// A wanted value and who wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want<T> {
    /// The value.
    pub value: T,
    /// Who wants it.
    pub demand: Demand,
}

/// A condition on the value of a sysctl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SysctlRule {
    /// Exactly this.
    Equals(String),
    /// One of these.
    OneOf(Vec<String>),
    /// A number of at least this.
    AtLeast(u64),
    /// A number of at most this.
    AtMost(u64),
}

impl SysctlRule {
    /// Whether `value`, as `/proc/sys` shows it, satisfies this. A value that is no number
    /// satisfies no bound.
    pub fn allows(&self, value: &str) -> bool {
        let value = value.trim();
        match self {
            SysctlRule::Equals(wanted) => value == wanted,
            SysctlRule::OneOf(wanted) => wanted.iter().any(|w| w == value),
            SysctlRule::AtLeast(least) => value.parse::<u64>().is_ok_and(|v| v >= *least),
            SysctlRule::AtMost(most) => value.parse::<u64>().is_ok_and(|v| v <= *most),
        }
    }

    /// A value that satisfies this.
    pub fn value(&self) -> String {
        match self {
            SysctlRule::Equals(value) => value.clone(),
            SysctlRule::OneOf(values) => values.first().cloned().unwrap_or_default(),
            SysctlRule::AtLeast(n) | SysctlRule::AtMost(n) => n.to_string(),
        }
    }
}

impl fmt::Display for SysctlRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SysctlRule::Equals(value) => f.write_str(value),
            SysctlRule::OneOf(values) => f.write_str(&values.join(" or ")),
            SysctlRule::AtLeast(n) => write!(f, "at least {n}"),
            SysctlRule::AtMost(n) => write!(f, "at most {n}"),
        }
    }
}

/// All that is wanted of one sysctl.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SysctlWant {
    /// The conditions.
    pub rules: Vec<Want<SysctlRule>>,
    /// What the kernel starts with, where that is the same on every machine.
    pub default: Option<String>,
    /// The least that the kernel starts with, where that depends on the machine.
    pub default_at_least: Option<u64>,
    /// The value to write, where it is not simply the bound.
    pub set: Option<String>,
    /// The module without which the key does not exist.
    pub module: Option<String>,
    /// Whether a kernel without the key has nothing to restrict.
    pub absent_is_met: bool,
}

/// Who wants a module, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleWant {
    /// It must be loaded beforehand.
    pub loaded: Vec<Demand>,
    /// It must only be there: the kernel loads it when it is first used.
    pub on_demand: Vec<Demand>,
}

/// A wanted program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramWant {
    /// Any of these will do, the preferred first.
    pub any_of: Vec<String>,
    /// Whether it is looked for in Podman's helper directories, too.
    pub helper: bool,
    /// The package that has it, by distribution family (`debian`, `fedora`, `suse`, `alpine`, `arch`).
    pub packages: BTreeMap<String, String>,
    /// Whether packages of distributions are not where users get it; then how.
    pub get: Option<String>,
}

/// The protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// Something whose version matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// The kernel.
    Kernel,
    /// systemd.
    Systemd,
    /// Podman.
    Podman,
    /// crun.
    Crun,
    /// runc.
    Runc,
    /// slirp4netns.
    Slirp4netns,
}
