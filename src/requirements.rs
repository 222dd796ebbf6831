//! What the chosen stacks want of a host: layers of policy (base, stacks, profile, site file)
//! merged into one table per kind of requirement, each entry with who wants it and where that is
//! written.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::facts::cgroup::Controller;
use crate::facts::cidr::Cidr;
use crate::facts::version::Version;
use crate::finding::Level;
use crate::profile::{self, Layer, ProfileError};

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

/// All that is wanted, merged. Tables are in a fixed order, so reports are, too.
#[derive(Clone, Debug, Default)]
pub struct Requirements {
    /// The chosen stacks.
    pub stacks: Vec<Stack>,
    needs: BTreeMap<Need, Vec<Demand>>,
    /// Controllers to delegate.
    pub controllers: BTreeMap<Controller, Vec<Demand>>,
    /// Sysctls by key, with dots.
    pub sysctls: BTreeMap<String, SysctlWant>,
    /// Modules that must be there, by name.
    pub modules: BTreeMap<String, ModuleWant>,
    /// Kernel options, of each group any one, without `CONFIG_`.
    pub kernel_options: BTreeMap<Vec<String>, Vec<Demand>>,
    /// Programs.
    pub programs: Vec<(ProgramWant, Vec<Demand>)>,
    /// Host ports that must be free.
    pub ports: BTreeMap<(Protocol, u16), Vec<Demand>>,
    /// Networks that no host route may overlap.
    pub subnets: BTreeMap<Cidr, Vec<Demand>>,
    /// Minimum versions.
    pub versions: BTreeMap<Component, Vec<Want<Version>>>,
    /// Minimum memory in bytes.
    pub memory_bytes: Vec<Want<u64>>,
    /// Minimum number of processors.
    pub cpus: Vec<Want<u64>>,
    /// Minimum free space where the stack keeps its data, in bytes.
    pub disk_bytes: Vec<Want<u64>>,
    /// Minimum number of subordinate IDs, of UIDs and of GIDs each.
    pub subordinate_ids: Vec<Want<u64>>,
}

impl Requirements {
    /// Merges the built-in layers of `stacks` with `more` (profile, then site file), which speak for
    /// all of `stacks`.
    ///
    /// # Errors
    /// When a layer is malformed, or two layers contradict each other; both places are named.
    pub fn merge(stacks: &[Stack], more: &[Layer]) -> Result<Requirements, ProfileError> {
        let mut all = Requirements { stacks: stacks.to_vec(), ..Requirements::default() };
        for &stack in stacks {
            all.add(&profile::base()?, &[stack]);
            for layer in profile::stack_layers(stack)? {
                all.add(&layer, &[stack]);
            }
        }
        for layer in more {
            all.add(layer, stacks);
        }
        all.drop_weaker();
        all.find_contradictions()?;
        Ok(all)
    }

    /// Who asks for this; empty when nobody does.
    pub fn need(&self, need: Need) -> &[Demand] {
        self.needs.get(&need).map_or(&[], Vec::as_slice)
    }

    /// The first demand for a sysctl that is not in `keys`.
    pub fn other_sysctls<'a>(&'a self, keys: &'a [&str]) -> impl Iterator<Item = &'a str> {
        self.sysctls.keys().map(String::as_str).filter(move |key| !keys.contains(key))
    }

    fn add(&mut self, layer: &Layer, stacks: &[Stack]) {
        let stacks = || stacks.to_vec();
        for e in &layer.need {
            for &name in &e.entry.names {
                join(self.needs.entry(name).or_default(), e.demand(stacks()));
            }
        }
        for e in &layer.controller {
            for &name in &e.entry.names {
                join(self.controllers.entry(name).or_default(), e.demand(stacks()));
            }
        }
        for e in &layer.module {
            for name in &e.entry.names {
                let want = self.modules.entry(name.clone()).or_default();
                let demands = if e.entry.on_demand { &mut want.on_demand } else { &mut want.loaded };
                join(demands, e.demand(stacks()));
            }
        }
        for e in &layer.kernel_option {
            let groups: Vec<Vec<String>> = match &e.entry.any_of[..] {
                [] => e.entry.names.iter().map(|name| vec![name.clone()]).collect(),
                any_of => vec![any_of.to_vec()],
            };
            for group in groups {
                join(self.kernel_options.entry(group).or_default(), e.demand(stacks()));
            }
        }
        for e in &layer.sysctl {
            let want = self.sysctls.entry(e.entry.key.clone()).or_default();
            join_want(&mut want.rules, e.entry.rule.clone(), e.demand(stacks()));
            want.default = want.default.take().or_else(|| e.entry.default.clone());
            want.default_at_least = want.default_at_least.or(e.entry.default_at_least);
            want.set = want.set.take().or_else(|| e.entry.set.clone());
            want.module = want.module.take().or_else(|| e.entry.module.clone());
            want.absent_is_met |= e.entry.absent_is_met;
        }
        for e in &layer.program {
            let want = e.entry.want();
            let at = match self.programs.iter().position(|(known, _)| known.any_of == want.any_of) {
                Some(at) => at,
                None => {
                    self.programs.push((want, Vec::new()));
                    self.programs.len() - 1
                }
            };
            join(&mut self.programs[at].1, e.demand(stacks()));
        }
        for e in &layer.port {
            for &number in &e.entry.numbers {
                join(self.ports.entry((e.entry.protocol, number)).or_default(), e.demand(stacks()));
            }
        }
        for e in &layer.subnet {
            join(self.subnets.entry(e.entry.cidr).or_default(), e.demand(stacks()));
        }
        for e in &layer.version {
            let wants = self.versions.entry(e.entry.of).or_default();
            join_want(wants, e.entry.at_least.clone(), e.demand(stacks()));
        }
        for (entries, wants) in [
            (&layer.memory, &mut self.memory_bytes),
            (&layer.cpus, &mut self.cpus),
            (&layer.disk, &mut self.disk_bytes),
            (&layer.subordinate_ids, &mut self.subordinate_ids),
        ] {
            for e in entries {
                join_want(wants, e.entry.at_least, e.demand(stacks()));
            }
        }
    }

    /// A stack that requires something does not have to be advised of it as well.
    fn drop_weaker(&mut self) {
        let lists = self
            .needs
            .values_mut()
            .chain(self.controllers.values_mut())
            .chain(self.modules.values_mut().flat_map(|want| [&mut want.loaded, &mut want.on_demand]))
            .chain(self.kernel_options.values_mut())
            .chain(self.ports.values_mut())
            .chain(self.subnets.values_mut())
            .chain(self.programs.iter_mut().map(|(_, demands)| demands));
        for demands in lists {
            let required: Vec<Stack> = demands
                .iter()
                .filter(|d| d.level == Level::Required)
                .flat_map(|d| d.stacks.iter().copied())
                .collect();
            for demand in demands.iter_mut().filter(|d| d.level == Level::Advised) {
                demand.stacks.retain(|stack| !required.contains(stack));
            }
            demands.retain(|d| !d.stacks.is_empty());
            demands.sort_by_key(|d| std::cmp::Reverse(d.level));
        }
    }

    fn find_contradictions(&self) -> Result<(), ProfileError> {
        for (key, want) in &self.sysctls {
            for (i, one) in want.rules.iter().enumerate() {
                for other in &want.rules[i + 1..] {
                    if contradict(&one.value, &other.value) {
                        return Err(ProfileError::Contradiction {
                            subject: format!("sysctl {key}"),
                            one: format!("{} ({})", one.value, one.demand.origin),
                            other: format!("{} ({})", other.value, other.demand.origin),
                        });
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether no value satisfies both.
fn contradict(one: &SysctlRule, other: &SysctlRule) -> bool {
    use SysctlRule::{AtLeast, AtMost, Equals, OneOf};
    match (one, other) {
        (Equals(value), rule) | (rule, Equals(value)) => !rule.allows(value),
        (OneOf(values), rule) | (rule, OneOf(values)) => !values.iter().any(|value| rule.allows(value)),
        (AtLeast(least), AtMost(most)) | (AtMost(most), AtLeast(least)) => least > most,
        (AtLeast(_), AtLeast(_)) | (AtMost(_), AtMost(_)) => false,
    }
}

/// Adds a demand, or its stacks to an equal one.
fn join(demands: &mut Vec<Demand>, demand: Demand) {
    match demands.iter_mut().find(|known| known.level == demand.level) {
        Some(known) => known.take(demand),
        None => demands.push(demand),
    }
}

fn join_want<T: PartialEq>(wants: &mut Vec<Want<T>>, value: T, demand: Demand) {
    match wants.iter_mut().find(|w| w.value == value && w.demand.level == demand.level) {
        Some(known) => known.demand.take(demand),
        None => wants.push(Want { value, demand }),
    }
}

impl Demand {
    /// The same demand for something that its stacks run without, and why they want it.
    pub fn advised(&self, why: &str) -> Demand {
        Demand { level: Level::Advised, why: why.to_owned(), ..self.clone() }
    }

    /// Takes over the stacks and the reason of another demand for the same.
    fn take(&mut self, other: Demand) {
        self.stacks.extend(other.stacks);
        self.stacks.sort_unstable();
        self.stacks.dedup();
        if !other.why.is_empty() && !self.why.split("; ").any(|why| why == other.why) {
            let separator = if self.why.is_empty() { "" } else { "; " };
            self.why = format!("{}{separator}{}", self.why, other.why);
        }
    }
}
