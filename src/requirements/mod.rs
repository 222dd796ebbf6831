//! What the chosen stacks want of a host: the vocabulary of requirements, each with who wants it and
//! where that is written. [`merge`](Requirements::merge) makes one table of all layers of policy.

mod kernel_argument;
mod merge;

pub use kernel_argument::KernelArgument;
pub use merge::Requirements;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::facts::Evidence;
use crate::facts::sockets::podman_socket_path;
use crate::facts::toml_keys::Scalar;
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
    /// netavark finds the program that it sets up firewalls with.
    NetworkFirewall,
    /// Podman can reach the outside from a rootless network.
    RootlessNetwork,
    /// Podman makes rootless networks with slirp4netns, not with pasta.
    Slirp4netnsNetwork,
    /// The user namespace that Podman holds has the IDs that are configured.
    PodmanUserNamespace,
    /// An OCI runtime is installed.
    OciRuntime,
    /// Pods have their pause process.
    PodPause,
    /// `podman.socket` listens for the user.
    PodmanSocket,
    /// Podman of the user has a network with name resolution, besides those that k3d makes.
    NamedNetwork,
    /// Unprivileged users may send ICMP echo requests.
    Ping,
    /// The machine has an ID of its own.
    MachineId,
    /// Processes of the user are not killed when a session ends.
    UserProcesses,
    /// `k3s-rootless.service` of the user manager runs K3s.
    K3sService,
    /// The kernel speaks IPv6, or the network of the stack does without.
    Ipv6,
    /// The kernel has pages of the size that images are built for.
    SmallPages,
    /// Podman can mount the layers of images without root.
    OverlayMounts,
    /// Packets between nodes on different hosts fit through the interface.
    InterfaceMtu,
    /// A user namespace can mount procfs.
    ProcMount,
    /// `newuidmap` gains its privileges where the stack starts it.
    NewPrivileges,
    /// systemd-oomd does not kill what the user runs.
    NoOomd,
    /// pasta has IPv6, or a route of the host, to make a network of.
    PastaRoute,
    /// AppArmor lets pasta make rootless networks.
    PastaConfinement,
    /// The user can read what containers log.
    ContainerLogs,
    /// Units that run containers are such that a user manager can run.
    ContainerUnits,
    /// Podman's generator makes units of Quadlet files.
    QuadletGenerator,
    /// The user's Quadlet files become services that can start.
    QuadletFiles,
    /// K3s can read its configuration file, which is one of a single server.
    K3sConfiguration,
    /// The host's name can be that of a node, and stays.
    HostName,
    /// The host has name servers.
    NameServers,
    /// One of the name servers has an IPv4 address.
    Ipv4NameServer,
    /// The files that Podman reads for every image are there and well formed.
    PodmanConfiguration,
    /// Podman can put down images while it pulls them.
    ImageCopyDirectory,
    /// Podman keeps images with the overlay driver.
    StorageDriver,
    /// The policy of SELinux knows the containers and their storage.
    SelinuxPolicy,
    /// minikube runs Podman without root.
    MinikubeRootless,
    /// bypass4netns has what it needs, where it is installed.
    Bypass4netns,
    /// The clock is right, and stays right.
    Clock,
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
    /// The lines of a workload that ask for it; none where policy alone does.
    pub asked: Vec<Evidence>,
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
    /// Whether `value`, as `/proc/sys` shows it or a file sets it, satisfies this. A bound is one on the
    /// first number; a value that does not begin with a number satisfies none.
    pub fn allows(&self, value: &str) -> bool {
        let number = || value.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
        match self {
            SysctlRule::Equals(wanted) => same(wanted, value),
            SysctlRule::OneOf(wanted) => wanted.iter().any(|wanted| same(wanted, value)),
            SysctlRule::AtLeast(least) => number().is_some_and(|n| n >= *least),
            SysctlRule::AtMost(most) => number().is_some_and(|n| n <= *most),
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

/// Whether two values are the same but for white space. Of `1 # on` the kernel takes the number and
/// leaves the rest (`kernel/sysctl.c`, `do_proc_dointvec`; seen on Linux 6.18), but a second number can
/// be one of the value.
fn same(wanted: &str, value: &str) -> bool {
    let is_number = |word: &str| word.parse::<i64>().is_ok();
    let mut words = value.split_whitespace();
    if is_number(wanted.trim()) && words.next() == Some(wanted.trim()) {
        return words.next().is_none_or(|next| !is_number(next));
    }
    value.split_whitespace().eq(wanted.split_whitespace())
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

/// A condition on the value of a key of `containers.conf(5)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineRule {
    /// Exactly this.
    Equals(Scalar),
    /// A number of at least this.
    AtLeast {
        /// The number.
        least: i64,
        /// Whether 0 and what is below it mean that there is no limit.
        zero_is_unlimited: bool,
    },
}

impl EngineRule {
    /// Whether `value` satisfies this.
    pub fn allows(&self, value: &Scalar) -> bool {
        match (self, value) {
            (EngineRule::Equals(wanted), value) => wanted == value,
            (EngineRule::AtLeast { least, zero_is_unlimited }, Scalar::Integer(value)) => {
                value >= least || (*zero_is_unlimited && *value <= 0)
            }
            (EngineRule::AtLeast { .. }, _) => false,
        }
    }

    /// A value that satisfies this.
    pub fn value(&self) -> Scalar {
        match self {
            EngineRule::Equals(value) => value.clone(),
            EngineRule::AtLeast { least, .. } => Scalar::Integer(*least),
        }
    }
}

impl fmt::Display for EngineRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineRule::Equals(value) => write!(f, "{value}"),
            EngineRule::AtLeast { least, .. } => write!(f, "at least {least}"),
        }
    }
}

/// All that is wanted of one key of `containers.conf(5)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineWant {
    /// The conditions.
    pub rules: Vec<Want<EngineRule>>,
    /// What Podman takes where no file has the key, where that is the same everywhere.
    pub default: Option<Scalar>,
}

/// A variable that the commands of a stack start with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its value, with `{podman-socket}` and `{home}` for those of the user.
    pub value: String,
    /// Programs that the stack takes instead of Podman where the variable does not say otherwise.
    pub instead_of: Vec<String>,
}

impl Variable {
    /// Whether it leads to the socket of Podman.
    pub fn is_of_podman_socket(&self) -> bool {
        self.value.contains("{podman-socket}")
    }

    /// Its value for a user.
    pub fn value_for(&self, uid: u32, home: &str) -> String {
        let home = home.trim_end_matches('/');
        self.value.replace("{podman-socket}", &podman_socket_path(uid)).replace("{home}", home)
    }
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
    /// Whether a service calls it, with the search path of the system and not with the user's.
    pub system: bool,
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

/// Ports of one protocol that follow each other: `tcp/80`, `udp/5000-5010`, `tcp/127.0.0.1:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    /// The protocol.
    pub protocol: Protocol,
    /// The first.
    pub first: u16,
    /// The last, which can be the first.
    pub last: u16,
    /// On this address only; on all addresses of both families where there is none.
    pub address: Option<IpAddr>,
}

impl Ports {
    /// A single one.
    pub fn one(protocol: Protocol, number: u16) -> Ports {
        Ports { protocol, first: number, last: number, address: None }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            None => write!(f, "{}/{}", self.protocol, self.first)?,
            Some(address) => write!(f, "{}/{}", self.protocol, SocketAddr::new(address, self.first))?,
        }
        if self.last > self.first { write!(f, "-{}", self.last) } else { Ok(()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sysctl_is_compared_as_a_whole_and_bound_by_its_first_number() {
        let equals = |wanted: &str| SysctlRule::Equals(wanted.to_owned());
        let one_of = |wanted: &[&str]| SysctlRule::OneOf(wanted.iter().map(|&w| w.to_owned()).collect());
        for (rule, met, unmet) in [
            (equals("1"), &["1", " 1\n", "1 # on"][..], &["0", "", "10", "1#", "1 0", "1\t1", "# 1"][..]),
            (
                equals("32768 60999"),
                &["32768 60999", "32768\t60999"],
                &["32768", "32768 60998", "32768 60999 1"],
            ),
            (equals("0\t5"), &["0 5"], &["05"]),
            (equals("core %p"), &["core  %p"], &["core", "core %p %u"]),
            (equals("core"), &["core"], &["core %p"]),
            (one_of(&["2", "0 1"]), &["2", "0\t1"], &["0", "1", "2 1"]),
            (SysctlRule::AtLeast(250), &["250", "251\t32000 100 128"], &["249\t32000", "", "x 250", "-1"]),
            (SysctlRule::AtMost(80), &["80", "0\t99", "80 # http"], &["81", "", "x"]),
        ] {
            for value in met {
                assert!(rule.allows(value), "{rule}: {value:?}");
            }
            for value in unmet {
                assert!(!rule.allows(value), "{rule}: {value:?}");
            }
        }
    }
}
