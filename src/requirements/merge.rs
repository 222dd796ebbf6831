//! Merges the layers of policy (base, stacks, profile, site file) into one table per kind of requirement.

mod contradictions;
mod workload;

use std::collections::BTreeMap;

use super::{
    Component, Demand, EngineRule, EngineWant, KernelArgument, ModuleWant, Need, Origin, Ports, ProgramWant,
    Stack, SysctlRule, SysctlWant, Variable, Want,
};
use crate::facts::boot::BootWant;
use crate::facts::cgroup::Controller;
use crate::facts::cidr::Cidr;
use crate::facts::version::Version;
use crate::finding::Level;
use crate::profile::{self, CIDR_VARIABLE, Layer, ModulePackage, ProfileError};
use crate::workload::Ask;

/// The network of slirp4netns unless K3s is told otherwise (k3s: pkg/rootless/rootless.go).
const K3S_NETWORK: &str = "10.41.0.0/16";

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
    pub ports: BTreeMap<Ports, Vec<Demand>>,
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
    /// Minimum free space there, in percent of the file system.
    pub disk_percent: Vec<Want<u64>>,
    /// Minimum number of subordinate IDs, of UIDs and of GIDs each.
    pub subordinate_ids: Vec<Want<u64>>,
    /// Minimum number of files that a process of the user can have open.
    pub open_files: Vec<Want<u64>>,
    /// Minimum number of tasks that the user can have.
    pub tasks: Vec<Want<u64>>,
    /// Keys of `containers.conf(5)`, by table and name.
    pub engine: BTreeMap<(&'static str, String), EngineWant>,
    /// Variables that the commands of the stacks start with, by name; all of one name have one value.
    pub environment: BTreeMap<String, Vec<Want<Variable>>>,
    /// Words that the kernel shall be passed, or shall not.
    pub kernel_arguments: BTreeMap<KernelArgument, Vec<Demand>>,
    /// Packages of modules that a distribution has apart from its kernel.
    pub(crate) module_packages: Vec<ModulePackage>,
    /// How the hardware boots, where policy knows.
    pub boot: BootWant,
    /// What K3s starts with: variables with their values and where they are written.
    pub k3s: BTreeMap<String, (String, Origin)>,
    /// What a workload asks of the chosen stacks; `None` where none is named.
    pub workload: Option<Vec<Ask>>,
}

impl Requirements {
    /// Merges the built-in layers of `stacks` with `more` (profile, then site file), which speak for
    /// all of `stacks`.
    ///
    /// # Errors
    /// When a layer is malformed, or two layers contradict each other; both places are named.
    pub fn merge(stacks: &[Stack], more: &[Layer]) -> Result<Requirements, ProfileError> {
        let mut all = Requirements { stacks: stacks.to_vec(), ..Requirements::default() };
        all.add(&profile::base()?, stacks);
        for (layer, stacks) in profile::layers_of(stacks)? {
            all.add(&layer, &stacks);
        }
        for layer in more {
            all.add(layer, stacks);
        }
        all.move_network_of_k3s();
        all.drop_weaker();
        all.give_way();
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
        for e in &layer.engine {
            let want = self.engine.entry((e.entry.table, e.entry.key().to_owned())).or_default();
            join_want(&mut want.rules, e.entry.rule.clone(), e.demand(stacks()));
            want.default = want.default.take().or_else(|| e.entry.default_value().cloned());
        }
        for e in &layer.environment {
            let wants = self.environment.entry(e.entry.name().to_owned()).or_default();
            join_want(wants, e.entry.variable.clone(), e.demand(stacks()));
        }
        for e in &layer.kernel_argument {
            let stacks = e.entry.stacks(&stacks());
            if !stacks.is_empty() {
                let demands = self.kernel_arguments.entry(e.entry.argument.clone()).or_default();
                join(demands, e.demand(stacks));
            }
        }
        self.boot.take(&layer.boot);
        // The later is asked first.
        self.module_packages.splice(0..0, layer.module_package.clone());
        // Of two layers the later knows the site better.
        self.k3s.extend(layer.k3s.clone());
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
                let port = Ports::one(e.entry.protocol, number);
                join(self.ports.entry(port).or_default(), e.demand(stacks()));
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
            (&layer.disk_percent, &mut self.disk_percent),
            (&layer.subordinate_ids, &mut self.subordinate_ids),
            (&layer.open_files, &mut self.open_files),
            (&layer.tasks, &mut self.tasks),
        ] {
            for e in entries {
                join_want(wants, e.entry.at_least, e.demand(stacks()));
            }
        }
    }

    /// Where policy gives K3s another network, that is the one that no host route may overlap.
    fn move_network_of_k3s(&mut self) {
        let wanted = self.k3s.get(CIDR_VARIABLE).and_then(|(value, _)| value.parse().ok());
        let by_default: Option<Cidr> = K3S_NETWORK.parse().ok();
        if let (Some(wanted), Some(by_default)) = (wanted, by_default)
            && let Some(demands) = self.subnets.remove(&by_default)
        {
            self.subnets.entry(wanted).or_default().extend(demands);
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
            .chain(self.kernel_arguments.values_mut())
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

    /// What is advised of a sysctl or of a key gives way to what is required of it.
    fn give_way(&mut self) {
        for want in self.engine.values_mut() {
            let required: Vec<EngineRule> = want
                .rules
                .iter()
                .filter(|r| r.demand.level == Level::Required)
                .map(|r| r.value.clone())
                .collect();
            want.rules.retain(|rule| {
                rule.demand.level == Level::Required || required.iter().all(|r| agree(r, &rule.value))
            });
        }
        for want in self.sysctls.values_mut() {
            let required: Vec<SysctlRule> = want
                .rules
                .iter()
                .filter(|r| r.demand.level == Level::Required)
                .map(|r| r.value.clone())
                .collect();
            want.rules.retain(|rule| {
                rule.demand.level == Level::Required || !required.iter().any(|r| contradict(r, &rule.value))
            });
        }
    }
}

/// Whether a value of one of the two satisfies both.
fn agree(one: &EngineRule, other: &EngineRule) -> bool {
    one.allows(&other.value()) || other.allows(&one.value())
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

    /// The part of K3s, which can be told to do otherwise, and that of all others.
    pub fn by_k3s(&self) -> (Option<Demand>, Option<Demand>) {
        self.by(|stack| stack == Stack::K3s)
    }

    /// The part that the user's Podman has to meet, and that of what runs in a cluster.
    pub fn by_podman(&self) -> (Option<Demand>, Option<Demand>) {
        self.by(|stack| matches!(stack, Stack::Podman | Stack::PodmanKube))
    }

    fn by(&self, is_first: impl Fn(Stack) -> bool) -> (Option<Demand>, Option<Demand>) {
        let (first, second): (Vec<Stack>, Vec<Stack>) =
            self.stacks.iter().partition(|stack| is_first(**stack));
        let of = |stacks: Vec<Stack>| (!stacks.is_empty()).then(|| Demand { stacks, ..self.clone() });
        (of(first), of(second))
    }

    /// Takes over the stacks and the reason of another demand for the same.
    fn take(&mut self, other: Demand) {
        self.stacks.extend(other.stacks);
        self.stacks.sort_unstable();
        self.stacks.dedup();
        self.asked.extend(other.asked);
        if !other.why.is_empty() && !self.why.contains(&other.why) {
            let separator = if self.why.is_empty() { "" } else { "; " };
            self.why = format!("{}{separator}{}", self.why, other.why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required(stack: Stack) -> Vec<&'static str> {
        let merged = Requirements::merge(&[stack], &[]).unwrap();
        let required = |demands: &Vec<Demand>| demands.iter().any(|d| d.level == Level::Required);
        merged.controllers.iter().filter(|(_, d)| required(d)).map(|(c, _)| c.as_str()).collect()
    }

    #[test]
    fn each_stack_has_its_controllers() {
        let table: [(Stack, &[&str]); 7] = [
            (Stack::Podman, &[]),
            (Stack::PodmanKube, &[]),
            (Stack::K3s, &["cpu", "cpuset", "memory", "pids"]),
            (Stack::K3d, &["cpu", "cpuset", "memory", "pids"]),
            (Stack::Kind, &["cpu", "memory", "pids"]),
            (Stack::Minikube, &["cpu", "memory", "pids"]),
            (Stack::Usernetes, &["cpu", "cpuset", "io", "memory", "pids"]),
        ];
        for (stack, controllers) in table {
            assert_eq!(required(stack), controllers, "{stack}");
        }
    }

    #[test]
    fn what_a_stack_requires_it_is_not_advised_of() {
        let merged = Requirements::merge(&Stack::ALL, &[]).unwrap();
        let demands = &merged.controllers[&Controller::Cpuset];
        let of = |level| demands.iter().find(|d| d.level == level).unwrap().stacks.clone();
        assert_eq!(of(Level::Required), [Stack::K3s, Stack::K3d, Stack::Usernetes]);
        assert_eq!(of(Level::Advised), [Stack::Podman, Stack::PodmanKube, Stack::Kind, Stack::Minikube]);
        assert_eq!(demands[0].level, Level::Required, "the weightier first");
    }

    #[test]
    fn a_stack_wants_what_it_extends_wants() {
        let merged = Requirements::merge(&[Stack::K3d], &[]).unwrap();
        assert_eq!(merged.need(Need::OciRuntime)[0].stacks, [Stack::K3d]);
        assert!(merged.need(Need::Slirp4netnsNetwork).is_empty());
    }

    #[test]
    fn layers_that_no_value_satisfies_contradict_each_other() {
        let rules = |text: &str| {
            let text = format!("[[sysctl]]\nkey = \"a.b\"\nlevel = \"advised\"\n{text}\n");
            Layer::parse("site.toml", &text).unwrap()
        };
        let merge =
            |one: &str, other: &str| Requirements::merge(&[Stack::Podman], &[rules(one), rules(other)]);
        for (one, other) in [
            ("equals = \"1\"", "equals = \"0\""),
            ("equals = \"5\"", "at-least = 6"),
            ("one-of = [\"1\", \"2\"]", "at-most = 0"),
            ("at-least = 9", "at-most = 8"),
        ] {
            assert!(matches!(merge(one, other), Err(ProfileError::Contradiction { .. })), "{one} {other}");
            assert!(matches!(merge(other, one), Err(ProfileError::Contradiction { .. })), "{other} {one}");
        }
        for (one, other) in [
            ("equals = \"6\"", "at-least = 6"),
            ("at-least = 1", "at-least = 9"),
            ("at-most = 2", "one-of = [\"1\", \"3\"]"),
        ] {
            assert!(merge(one, other).is_ok(), "{one} {other}");
        }
        let required = "[[sysctl]]\nkey = \"net.ipv4.ip_unprivileged_port_start\"\nequals = \"1024\"\nlevel = \"required\"\n";
        let site = Layer::parse("site.toml", required).unwrap();
        let merged = Requirements::merge(&[Stack::Podman], &[site]).unwrap();
        let rules = &merged.sysctls["net.ipv4.ip_unprivileged_port_start"].rules;
        assert_eq!(rules.len(), 1, "what is advised gives way");
    }

    #[test]
    fn keys_of_the_engine_agree_or_contradict_each_other() {
        let rules = |level: &str, text: &str| {
            let head = format!("[[engine]]\ntable = \"engine\"\nkey = \"x\"\nlevel = \"{level}\"\n");
            Layer::parse("site.toml", &format!("{head}{text}\n")).unwrap()
        };
        let merge = |one: Layer, other: Layer| Requirements::merge(&[Stack::Podman], &[one, other]);
        let unlimited = "at-least = 4\nzero-is-unlimited = true";
        for (one, other, agree) in [
            ("equals = 5", "at-least = 4", true),
            ("equals = 0", unlimited, true),
            ("equals = 0", "at-least = 4", false),
            ("equals = \"5\"", "at-least = 4", false),
            ("at-least = 9", unlimited, true),
            ("equals = true", "equals = false", false),
        ] {
            let merged = merge(rules("advised", one), rules("advised", other));
            assert_eq!(merged.is_ok(), agree, "{one} {other}");
            let merged = merge(rules("advised", one), rules("required", other)).unwrap();
            let left = merged.engine[&("engine", "x".to_owned())].rules.len();
            assert_eq!(left, if agree { 2 } else { 1 }, "what is advised gives way: {one} {other}");
        }
        for (text, expected) in [
            ("equals = 1\nat-least = 1", "expected exactly one of equals and at-least"),
            ("", "expected exactly one of equals and at-least"),
            ("equals = 1\nzero-is-unlimited = true", "zero-is-unlimited goes with at-least"),
            ("equals = [1]", "expected a string, a number or a boolean"),
            ("equal = 1", "unknown key equal: did you mean equals?"),
        ] {
            let head = "[[engine]]\ntable = \"engine\"\nkey = \"x\"\nlevel = \"advised\"\n";
            let why = Layer::parse("site.toml", &format!("{head}{text}\n")).unwrap_err().to_string();
            assert!(why.contains(expected), "{text}: {why}");
        }
    }

    #[test]
    fn the_site_decides_over_what_k3s_starts_with() {
        let layer = |file: &str, text: &str| Layer::parse(file, &format!("[k3s]\n{text}\n")).unwrap();
        let profile = layer("board.toml", "mtu = 1400\nport-driver = \"builtin\"");
        let site = layer("site.toml", "mtu = 1500\ncidr = \"10.64.0.0/16\"");
        let merged = Requirements::merge(&[Stack::K3s], &[profile, site]).unwrap();
        let value = |name: &str| merged.k3s[name].0.as_str();
        assert_eq!((value("K3S_ROOTLESS_MTU"), value("K3S_ROOTLESS_PORT_DRIVER")), ("1500", "builtin"));
        assert_eq!(merged.k3s["K3S_ROOTLESS_MTU"].1.to_string(), "site.toml:2");
        let network = |text: &str| merged.subnets.contains_key(&text.parse::<Cidr>().unwrap());
        assert!(network("10.64.0.0/16") && !network(K3S_NETWORK));
    }
}
