//! Policy as data: reads the TOML layers that [`requirements`](crate::requirements) merges.
//!
//! `profiles/base.toml`, `profiles/stacks/*.toml` and the profiles of hardware in `profiles/boards` are built
//! in; a site adds `/etc/edgeprep/edgeprep.toml` and `/etc/edgeprep/profiles/*.toml`. All have the same shape:
//! tables of requirements, each with a level and a reason.

mod built_in;
mod entries;
mod k3s;
pub(crate) mod nearest;
pub(crate) mod packages;
mod recognise;
mod said;

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Deserialize;
use toml::Spanned;

use crate::facts::boot::BootWant;
use crate::facts::cgroup::Controller;
use crate::facts::line_of;
use crate::requirements::{Need, Origin, Stack};

use entries::{
    Amount, ArgumentEntry, EngineEntry, Entry, ModuleNames, Names, OptionNames, PortEntry, ProgramEntry,
    RawArgument, RawEngine, RawSysctl, RawVariable, SubnetEntry, SysctlEntry, VariableEntry, VersionEntry,
};

pub use built_in::{base, built_in, built_in_named, built_in_names, layers_of, recognisable, shared, stack};
pub(crate) use entries::ModulePackage;
pub(crate) use k3s::CIDR_VARIABLE;
pub use recognise::{DmiNames, Pattern, Recognise};

/// How deep `extends` may go.
pub(crate) const EXTENDS_LIMIT: usize = 2;

/// What is wrong with policy. Nothing is judged and nothing is changed then.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A file is no TOML, or holds what is not known.
    #[error("{file}:{line}: {expected}")]
    Malformed {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u32,
        /// What was expected.
        expected: String,
    },
    /// Two layers cannot both be satisfied.
    #[error("{subject}: {one} contradicts {other}")]
    Contradiction {
        /// What about.
        subject: String,
        /// One value and its place.
        one: String,
        /// The other.
        other: String,
    },
    /// No such profile.
    #[error("no profile named {name:?}{}\nThe profiles are {}; or name a file.", meant(.name, .known), .known.join(", "))]
    NoSuchProfile {
        /// The name given.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A profile that is for no hardware of its own.
    #[error("{name} is what {} share: name one of them", .by.join(", "))]
    Shared {
        /// The name given.
        name: String,
        /// Those that extend it.
        by: Vec<String>,
    },
    /// No such profile, and a file that names it.
    #[error("{at}: {key}: no profile named {name:?}{}\nThe profiles are {}.", meant(.name, .known), .known.join(", "))]
    NoSuchNamed {
        /// The file and line.
        at: String,
        /// The key.
        key: &'static str,
        /// The name given.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A file that is not there, named as a profile that is.
    #[error("{path} does not exist; the built-in profile is named {name}")]
    NoSuchFile {
        /// The file.
        path: String,
        /// The profile.
        name: String,
    },
    /// `extends` leads too far.
    #[error("{at}: extends: {} is deeper than {EXTENDS_LIMIT} levels", .chain.join(" > "))]
    TooDeep {
        /// Where the profile that was asked for names the first.
        at: String,
        /// The names, from the profile that was asked for on.
        chain: Vec<String>,
    },
    /// `extends` leads back.
    #[error("{at}: extends: {name} extends itself{}", by_way_of(.by))]
    Cycle {
        /// Where the profile that was asked for names the first.
        at: String,
        /// The profile that is reached again.
        name: String,
        /// Those between.
        by: Vec<String>,
    },
    /// A file that was named cannot be read.
    #[error(transparent)]
    Unread(#[from] crate::host::Unread),
}

fn meant(name: &str, known: &[String]) -> String {
    nearest::did_you_mean(name, known.iter().map(String::as_str))
}

fn by_way_of(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(" by way of {}", names.join(" and ")) }
}

/// One file of policy.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// For people, in a line.
    pub summary: String,
    /// Layers that come first, by name, and where they are named.
    pub extends: Vec<(String, Origin)>,
    /// How hardware is recognised that this profile is for.
    pub recognise: Recognise,
    /// What to know of the hardware, in a few sentences.
    pub notes: Vec<String>,
    /// The stacks to look at where none are named on the command line.
    pub stacks: Vec<Stack>,
    /// The user to look at where none is named.
    pub user: Option<String>,
    /// The profile to take where none is named (site file only).
    pub profile: Option<(String, Origin)>,
    /// Requirements that a site does without, by check id.
    pub waivers: BTreeMap<String, Waiver>,
    /// The file.
    pub file: Rc<str>,
    pub(crate) need: Vec<Entry<Names<Need>>>,
    pub(crate) controller: Vec<Entry<Names<Controller>>>,
    pub(crate) module: Vec<Entry<ModuleNames>>,
    pub(crate) kernel_option: Vec<Entry<OptionNames>>,
    pub(crate) sysctl: Vec<Entry<SysctlEntry>>,
    pub(crate) program: Vec<Entry<ProgramEntry>>,
    pub(crate) port: Vec<Entry<PortEntry>>,
    pub(crate) subnet: Vec<Entry<SubnetEntry>>,
    pub(crate) version: Vec<Entry<VersionEntry>>,
    pub(crate) memory: Vec<Entry<Amount>>,
    pub(crate) cpus: Vec<Entry<Amount>>,
    pub(crate) disk: Vec<Entry<Amount>>,
    pub(crate) disk_percent: Vec<Entry<Amount>>,
    pub(crate) subordinate_ids: Vec<Entry<Amount>>,
    pub(crate) open_files: Vec<Entry<Amount>>,
    pub(crate) tasks: Vec<Entry<Amount>>,
    pub(crate) engine: Vec<Entry<EngineEntry>>,
    pub(crate) environment: Vec<Entry<VariableEntry>>,
    pub(crate) kernel_argument: Vec<Entry<ArgumentEntry>>,
    pub(crate) module_package: Vec<ModulePackage>,
    /// How the hardware boots, where there is but one way.
    pub(crate) boot: BootWant,
    /// What K3s starts with: variables with their values.
    pub(crate) k3s: BTreeMap<String, (String, Origin)>,
}

/// A check that a site does without.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    /// Why; it may not be empty.
    pub reason: String,
    /// The last day on which it holds, `YYYY-MM-DD`.
    #[serde(default)]
    pub until: Option<String>,
    /// Where it is written.
    #[serde(skip)]
    pub origin: Option<Origin>,
}

/// A file of policy as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawLayer {
    #[serde(default)]
    summary: String,
    #[serde(default)]
    extends: Vec<Spanned<String>>,
    #[serde(default)]
    recognise: Recognise,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(default)]
    stacks: Vec<Stack>,
    user: Option<String>,
    profile: Option<Spanned<String>>,
    #[serde(default)]
    waive: BTreeMap<String, Spanned<Waiver>>,
    #[serde(default)]
    need: Vec<Spanned<Names<Need>>>,
    #[serde(default)]
    controller: Vec<Spanned<Names<Controller>>>,
    #[serde(default)]
    module: Vec<Spanned<ModuleNames>>,
    #[serde(default)]
    kernel_option: Vec<Spanned<OptionNames>>,
    #[serde(default)]
    sysctl: Vec<Spanned<RawSysctl>>,
    #[serde(default)]
    program: Vec<Spanned<ProgramEntry>>,
    #[serde(default)]
    port: Vec<Spanned<PortEntry>>,
    #[serde(default)]
    subnet: Vec<Spanned<SubnetEntry>>,
    #[serde(default)]
    version: Vec<Spanned<VersionEntry>>,
    #[serde(default)]
    memory: Vec<Spanned<Amount>>,
    #[serde(default)]
    cpus: Vec<Spanned<Amount>>,
    #[serde(default)]
    disk: Vec<Spanned<Amount>>,
    #[serde(default)]
    disk_percent: Vec<Spanned<Amount>>,
    #[serde(default)]
    subordinate_ids: Vec<Spanned<Amount>>,
    #[serde(default)]
    open_files: Vec<Spanned<Amount>>,
    #[serde(default)]
    tasks: Vec<Spanned<Amount>>,
    #[serde(default)]
    engine: Vec<Spanned<RawEngine>>,
    #[serde(default)]
    environment: Vec<Spanned<RawVariable>>,
    #[serde(default)]
    kernel_argument: Vec<Spanned<RawArgument>>,
    #[serde(default)]
    module_package: Vec<ModulePackage>,
    boot: Option<Spanned<BootWant>>,
    #[serde(default)]
    k3s: k3s::RawK3s,
}

impl Layer {
    /// Reads a layer from the text of `file`.
    ///
    /// # Errors
    /// [`ProfileError::Malformed`] with the line and what was expected there.
    pub fn parse(file: &str, text: &str) -> Result<Layer, ProfileError> {
        let raw: RawLayer = toml::from_str(text).map_err(|error| malformed(file, text, &error))?;
        let malformed = |line, expected| ProfileError::Malformed { file: file.to_owned(), line, expected };
        let file: Rc<str> = file.into();
        let origin = |offset| Origin { file: file.clone(), line: line_of(text, offset) };
        let sysctl = checked(raw.sysctl, origin, malformed, SysctlEntry::new)?;
        let engine = checked(raw.engine, origin, malformed, EngineEntry::new)?;
        let environment = checked(raw.environment, origin, malformed, VariableEntry::new)?;
        let kernel_argument = checked(raw.kernel_argument, origin, malformed, ArgumentEntry::new)?;
        let variables = raw.k3s.variables();
        let variables = variables.map_err(|(at, expected)| malformed(line_of(text, at), expected))?;
        let k3s = variables.into_iter().map(|v| (v.name, (v.value, origin(v.offset)))).collect();
        let boot_line = raw.boot.as_ref().map_or(1, |boot| line_of(text, boot.span().start));
        let boot = raw.boot.map(Spanned::into_inner).unwrap_or_default();
        if boot.method.is_none() && !boot.files.is_empty() {
            let expected = "files: expected method beside it, which says how they are read".to_owned();
            return Err(malformed(boot_line, expected));
        }
        let mut waivers = BTreeMap::new();
        for (id, waiver) in raw.waive {
            let origin = origin(waiver.span().start);
            let waiver = Waiver { origin: Some(origin.clone()), ..waiver.into_inner() };
            if waiver.reason.trim().is_empty() {
                return Err(malformed(origin.line, format!("waive.{id}: expected a reason")));
            }
            if waiver.until.as_deref().is_some_and(|day| !is_date(day)) {
                return Err(malformed(origin.line, format!("waive.{id}: expected until = \"YYYY-MM-DD\"")));
            }
            waivers.insert(id, waiver);
        }
        fn place<T>(entries: Vec<Spanned<T>>, origin: impl Fn(usize) -> Origin) -> Vec<Entry<T>> {
            entries
                .into_iter()
                .map(|e| Entry { origin: origin(e.span().start), entry: e.into_inner() })
                .collect()
        }
        Ok(Layer {
            summary: raw.summary,
            extends: raw.extends.into_iter().map(|e| (e.get_ref().clone(), origin(e.span().start))).collect(),
            recognise: raw.recognise,
            notes: raw.notes,
            stacks: raw.stacks,
            user: raw.user,
            profile: raw.profile.map(|e| (e.get_ref().clone(), origin(e.span().start))),
            waivers,
            need: place(raw.need, origin),
            controller: place(raw.controller, origin),
            module: place(raw.module, origin),
            kernel_option: place(raw.kernel_option, origin),
            sysctl,
            program: place(raw.program, origin),
            port: place(raw.port, origin),
            subnet: place(raw.subnet, origin),
            version: place(raw.version, origin),
            memory: place(raw.memory, origin),
            cpus: place(raw.cpus, origin),
            disk: place(raw.disk, origin),
            disk_percent: place(raw.disk_percent, origin),
            subordinate_ids: place(raw.subordinate_ids, origin),
            open_files: place(raw.open_files, origin),
            tasks: place(raw.tasks, origin),
            engine,
            environment,
            kernel_argument,
            module_package: raw.module_package,
            boot,
            k3s,
            file,
        })
    }

    /// This layer as a profile, which is chosen and chooses none.
    ///
    /// # Errors
    /// [`ProfileError::Malformed`] where it does.
    pub fn as_profile(self) -> Result<Layer, ProfileError> {
        let Some((name, at)) = &self.profile else { return Ok(self) };
        let expected = format!("profile: only the site file chooses one; expected extends = [{name:?}]");
        Err(ProfileError::Malformed { file: at.file.to_string(), line: at.line, expected })
    }

    /// The name of the profile: that of its file.
    pub fn name(&self) -> &str {
        built_in::stem(&self.file)
    }
}

/// What is wrong with the text of `file`.
fn malformed(file: &str, text: &str, error: &toml::de::Error) -> ProfileError {
    let line = error.span().map_or(1, |span| line_of(text, span.start));
    ProfileError::Malformed {
        file: file.to_owned(),
        line,
        expected: said::said(text, error.span(), error.message()),
    }
}

/// The entries of a table, of which `new` says what is wrong.
fn checked<R, T>(
    entries: Vec<Spanned<R>>,
    origin: impl Fn(usize) -> Origin,
    malformed: impl Fn(u32, String) -> ProfileError,
    new: impl Fn(R) -> Result<T, String>,
) -> Result<Vec<Entry<T>>, ProfileError> {
    let check = |entry: Spanned<R>| {
        let origin = origin(entry.span().start);
        let entry = new(entry.into_inner()).map_err(|expected| malformed(origin.line, expected))?;
        Ok(Entry { entry, origin })
    };
    entries.into_iter().map(check).collect()
}

/// Whether this is a calendar date, so that comparing as text compares days.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let number = |at: usize, length: usize| {
        parts
            .get(at)
            .filter(|p| p.len() == length && p.bytes().all(|b| b.is_ascii_digit()))?
            .parse::<u32>()
            .ok()
    };
    parts.len() == 3
        && number(0, 4).is_some()
        && number(1, 2).is_some_and(|month| (1..=12).contains(&month))
        && number(2, 2).is_some_and(|day| {
            let (year, month) = (number(0, 4).unwrap_or(0), number(1, 2).unwrap_or(0));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let days = match month {
                2 => 28 + u32::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (1..=days).contains(&day)
        })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_on_policy_lists_every_need() {
        let schema = schemars::schema_for!(crate::requirements::Need);
        let needs = schema.get("oneOf").and_then(|needs| needs.as_array()).unwrap();
        let row = |need: &serde_json::Value| {
            let clause = need["description"].as_str().unwrap().trim_end_matches('.');
            format!("| `{}` | {clause} |", need["const"].as_str().unwrap())
        };
        let rows: Vec<String> = needs.iter().map(row).collect();
        let page = include_str!("../../docs/policy.md");
        let table = page.lines().skip_while(|line| !line.starts_with("| need |")).skip(2);
        let listed: Vec<&str> = table.take_while(|line| line.starts_with('|')).collect();
        assert_eq!(listed, rows);
    }
}
