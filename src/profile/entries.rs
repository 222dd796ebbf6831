//! The tables of a policy file, as they are written: each entry has a level and a reason.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::facts::cgroup::Controller;
use crate::facts::cidr::Cidr;
use crate::facts::sysctl::one_spaced;
use crate::facts::toml_keys::Scalar;
use crate::facts::version::Version;
use crate::finding::Level;
use crate::requirements::{
    Component, Demand, EngineRule, KernelArgument, Origin, ProgramWant, Protocol, Stack, SysctlRule, Variable,
};

/// An entry of a layer and where it is written.
#[derive(Clone, Debug)]
pub(crate) struct Entry<T> {
    pub(crate) entry: T,
    pub(super) origin: Origin,
}

impl<T: Wanted> Entry<T> {
    pub(crate) fn demand(&self, stacks: Vec<Stack>) -> Demand {
        let (level, why) = self.entry.wanted();
        Demand { level, stacks, why: why.to_owned(), origin: self.origin.clone(), asked: Vec::new() }
    }
}

/// What every entry says: how much depends on it, and why.
pub(crate) trait Wanted {
    fn wanted(&self) -> (Level, &str);
}

/// Reads a value that TOML has no type for from a string.
macro_rules! from_text {
    ($type:ty, $parse:expr, $expected:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                let text = String::deserialize(deserializer)?;
                let parse: fn(&str) -> Option<$type> = $parse;
                parse(&text)
                    .ok_or_else(|| serde::de::Error::custom(format!("{text:?}: expected {}", $expected)))
            }
        }
    };
}

from_text!(Controller, Controller::from_name, "a cgroup controller such as cpuset");
from_text!(Version, Version::of_package, "a version such as 4.9.0");
from_text!(Cidr, |text| text.parse().ok(), "a network such as 10.42.0.0/16");

/// In which package of a distribution modules are that its kernel does without: shown where one is missing, and
/// asked of no host.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ModulePackage {
    /// `ID` of os-release(5).
    pub(crate) distribution: String,
    /// The release from which on there is no such package any more, as in `VERSION_ID`.
    #[serde(default)]
    pub(crate) before: Option<Version>,
    /// What the release of a kernel ends with that it is for, such as `-raspi`.
    #[serde(default)]
    pub(crate) kernel_ending: Option<String>,
    /// The modules.
    pub(crate) names: Vec<String>,
    /// The package.
    pub(crate) package: String,
}

/// Defines entry types: each has `level` and `why` besides its own fields, and knows no others.
macro_rules! entries {
    ($($(#[$meta:meta])* $name:ident $(<$t:ident>)? { $($(#[$fmeta:meta])* $field:ident: $type:ty,)* })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub(crate) struct $name $(<$t>)? {
            level: Level,
            #[serde(default)]
            why: String,
            $($(#[$fmeta])* pub(crate) $field: $type,)*
        }

        impl $(<$t>)? Wanted for $name $(<$t>)? {
            fn wanted(&self) -> (Level, &str) {
                (self.level, &self.why)
            }
        }
    )+};
}

entries! {
    /// Several things of a kind.
    Names<T> {
        names: Vec<T>,
    }
    /// Modules. What is `on-demand` is loaded by the kernel itself when it is first used, even from
    /// inside a user namespace, so it only has to be there.
    ModuleNames {
        names: Vec<String>,
        #[serde(default)]
        on_demand: bool,
    }
    /// Kernel options without `CONFIG_`: each of `names`, or any of `any_of`.
    OptionNames {
        #[serde(default)]
        names: Vec<String>,
        #[serde(default)]
        any_of: Vec<String>,
    }
    /// A program; see [`ProgramWant`].
    ProgramEntry {
        any_of: Vec<String>,
        #[serde(default)]
        helper: bool,
        #[serde(default)]
        system: bool,
        #[serde(default)]
        packages: BTreeMap<String, String>,
        #[serde(default)]
        get: Option<String>,
    }
    /// Host ports.
    PortEntry {
        protocol: Protocol,
        numbers: Vec<u16>,
    }
    /// A network in CIDR notation.
    SubnetEntry {
        cidr: Cidr,
    }
    /// A minimum version.
    VersionEntry {
        of: Component,
        at_least: Version,
    }
    /// A number of something.
    Amount {
        at_least: u64,
    }
    /// A key of `containers.conf(5)` as it is written: exactly one of the two conditions.
    RawEngine {
        table: String,
        key: String,
        #[serde(default)]
        equals: Option<Scalar>,
        #[serde(default)]
        at_least: Option<i64>,
        #[serde(default)]
        default: Option<Scalar>,
        #[serde(default)]
        zero_is_unlimited: bool,
    }
    /// A variable as it is written.
    RawVariable {
        name: String,
        value: String,
        #[serde(default)]
        instead_of: Vec<String>,
    }
    /// A word of the kernel command line as it is written: exactly one of the two.
    RawArgument {
        #[serde(default)]
        wanted: Option<String>,
        #[serde(default)]
        forbidden: Option<String>,
        #[serde(default)]
        stacks: Vec<Stack>,
        #[serde(default)]
        for_controller: Option<Controller>,
    }
    /// A sysctl as it is written: exactly one of the four conditions.
    RawSysctl {
        key: String,
        #[serde(default)]
        equals: Option<String>,
        #[serde(default)]
        one_of: Option<Vec<String>>,
        #[serde(default)]
        at_least: Option<u64>,
        #[serde(default)]
        at_most: Option<u64>,
        #[serde(default)]
        default: Option<String>,
        #[serde(default)]
        default_at_least: Option<u64>,
        #[serde(default)]
        set: Option<String>,
        #[serde(default)]
        module: Option<String>,
        #[serde(default)]
        absent_is_met: bool,
    }
}

impl ProgramEntry {
    pub(crate) fn want(&self) -> ProgramWant {
        ProgramWant {
            any_of: self.any_of.clone(),
            helper: self.helper,
            system: self.system,
            packages: self.packages.clone(),
            get: self.get.clone(),
        }
    }
}

/// A sysctl with its condition.
#[derive(Clone, Debug)]
pub(crate) struct SysctlEntry {
    raw: RawSysctl,
    pub(crate) rule: SysctlRule,
}

impl std::ops::Deref for SysctlEntry {
    type Target = RawSysctl;

    fn deref(&self) -> &RawSysctl {
        &self.raw
    }
}

impl Wanted for SysctlEntry {
    fn wanted(&self) -> (Level, &str) {
        self.raw.wanted()
    }
}

impl SysctlEntry {
    pub(super) fn new(raw: RawSysctl) -> Result<SysctlEntry, String> {
        let rule = match (&raw.equals, &raw.one_of, raw.at_least, raw.at_most) {
            (Some(value), None, None, None) => SysctlRule::Equals(one_spaced(value)),
            (None, Some(values), None, None) => {
                SysctlRule::OneOf(values.iter().map(|value| one_spaced(value)).collect())
            }
            (None, None, Some(least), None) => SysctlRule::AtLeast(least),
            (None, None, None, Some(most)) => SysctlRule::AtMost(most),
            _ => return Err("expected exactly one of equals, one-of, at-least and at-most".to_owned()),
        };
        Ok(SysctlEntry { raw, rule })
    }
}

/// The tables of `containers.conf(5)` whose keys policy can name.
const ENGINE_TABLES: [&str; 3] = ["containers", "engine", "network"];

/// A key of `containers.conf(5)` with its condition.
#[derive(Clone, Debug)]
pub(crate) struct EngineEntry {
    raw: RawEngine,
    pub(crate) table: &'static str,
    pub(crate) rule: EngineRule,
}

impl EngineEntry {
    pub(crate) fn key(&self) -> &str {
        &self.raw.key
    }

    pub(crate) fn default_value(&self) -> Option<&Scalar> {
        self.raw.default.as_ref()
    }

    pub(super) fn new(raw: RawEngine) -> Result<EngineEntry, String> {
        let Some(table) = ENGINE_TABLES.into_iter().find(|table| *table == raw.table) else {
            return Err(format!("table = {:?}: expected one of {}", raw.table, ENGINE_TABLES.join(", ")));
        };
        let is_key = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        if raw.key.is_empty() || !raw.key.bytes().all(is_key) {
            return Err(format!("key = {:?}: expected a key of containers.conf such as log_driver", raw.key));
        }
        let rule = match (&raw.equals, raw.at_least) {
            (Some(value), None) if !raw.zero_is_unlimited => EngineRule::Equals(value.clone()),
            (None, Some(least)) => EngineRule::AtLeast { least, zero_is_unlimited: raw.zero_is_unlimited },
            (Some(_), None) => return Err("zero-is-unlimited goes with at-least".to_owned()),
            _ => return Err("expected exactly one of equals and at-least".to_owned()),
        };
        Ok(EngineEntry { raw, table, rule })
    }
}

impl Wanted for EngineEntry {
    fn wanted(&self) -> (Level, &str) {
        self.raw.wanted()
    }
}

/// A variable with its value, which is made of what is known of the user.
#[derive(Clone, Debug)]
pub(crate) struct VariableEntry {
    raw: RawVariable,
    pub(crate) variable: Variable,
}

impl VariableEntry {
    pub(crate) fn name(&self) -> &str {
        &self.raw.name
    }

    pub(super) fn new(raw: RawVariable) -> Result<VariableEntry, String> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !raw.name.starts_with(|c: char| is_word(c) && !c.is_ascii_digit())
            || !raw.name.chars().all(is_word)
        {
            return Err(format!("name = {:?}: expected the name of a variable", raw.name));
        }
        let variable = Variable { value: raw.value.clone(), instead_of: raw.instead_of.clone() };
        let value = variable.value_for(0, "/root");
        if value.contains(['{', '}', '$']) || value.chars().any(char::is_control) {
            let expected = "expected a line without variables and braces but {podman-socket} and {home}";
            return Err(format!("value = {:?}: {expected}", raw.value));
        }
        Ok(VariableEntry { raw, variable })
    }
}

impl Wanted for VariableEntry {
    fn wanted(&self) -> (Level, &str) {
        self.raw.wanted()
    }
}

/// A word of the kernel command line that shall be there, or shall not.
#[derive(Clone, Debug)]
pub(crate) struct ArgumentEntry {
    raw: RawArgument,
    pub(crate) argument: KernelArgument,
}

impl ArgumentEntry {
    /// The stacks among `all` that it is for.
    pub(crate) fn stacks(&self, all: &[Stack]) -> Vec<Stack> {
        let named = &self.raw.stacks;
        all.iter().copied().filter(|stack| named.is_empty() || named.contains(stack)).collect()
    }

    pub(super) fn new(raw: RawArgument) -> Result<ArgumentEntry, String> {
        let (word, wanted) = match (&raw.wanted, &raw.forbidden) {
            (Some(word), None) => (word, true),
            (None, Some(word)) => (word, false),
            _ => return Err("expected exactly one of wanted and forbidden".to_owned()),
        };
        let is_word = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '\'' | '$' | '`');
        if word.is_empty() || !word.chars().all(is_word) || word.starts_with(['-', '=']) {
            return Err(format!("{word:?}: expected one word such as cgroup_enable=memory"));
        }
        if raw.for_controller.is_some() && !wanted {
            return Err("for-controller goes with wanted".to_owned());
        }
        let argument = KernelArgument { word: word.clone(), wanted, for_controller: raw.for_controller };
        Ok(ArgumentEntry { raw, argument })
    }
}

impl Wanted for ArgumentEntry {
    fn wanted(&self) -> (Level, &str) {
        self.raw.wanted()
    }
}
