//! Quadlet files (`podman-systemd.unit(5)`): what Podman's generator makes of them, and what the services
//! that it makes ask of a host.

mod asks;
mod faults;
mod keys;
mod kube;
mod paths;
mod publish;
mod refused;
mod specifiers;
mod syntax;
mod users;

pub use asks::asks;
pub(crate) use faults::place;
pub use faults::{Fault, faults, ports};
pub use kube::{asks_of_played, played, published_elsewhere};
pub use paths::{Named, paths};
pub use publish::Published;
pub use specifiers::{absolute, expand};

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::unit_syntax::{Assignment, words};
use crate::facts::version::Version;
use crate::facts::{Evidence, LEFT_OUT, Source};
use syntax::Refused;

/// Keys of `[Install]` by which another unit starts it.
pub(crate) const WANTED: [&str; 3] = ["WantedBy", "RequiredBy", "UpheldBy"];
/// Keys of `[Unit]` by which it starts another one.
const PULLING: [&str; 5] = ["Wants", "Requires", "Requisite", "BindsTo", "Upholds"];
/// More lines that publish ports than anybody writes, of all files together.
const MOST_PORTS: usize = 2048;

/// The kind of a file, by the end of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `.container`, a container.
    Container,
    /// `.kube`, Kubernetes YAML for `podman kube play`.
    Kube,
    /// `.network`, a network.
    Network,
    /// `.volume`, a named volume.
    Volume,
    /// `.pod`, a pod for containers.
    Pod,
    /// `.image`, an image to pull.
    Image,
    /// `.build`, an image to build.
    Build,
    /// `.artifact`, an OCI artifact to pull.
    Artifact,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 8] = [
        Kind::Container,
        Kind::Kube,
        Kind::Network,
        Kind::Volume,
        Kind::Pod,
        Kind::Image,
        Kind::Build,
        Kind::Artifact,
    ];

    /// The kind of a file with this name; `None` for what Quadlet passes over.
    pub fn of(name: &str) -> Option<Kind> {
        let (_, extension) = name.rsplit_once('.')?;
        Kind::ALL.into_iter().find(|kind| kind.extension() == extension)
    }

    /// The end of the name, after the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Kind::Container => "container",
            Kind::Kube => "kube",
            Kind::Network => "network",
            Kind::Volume => "volume",
            Kind::Pod => "pod",
            Kind::Image => "image",
            Kind::Build => "build",
            Kind::Artifact => "artifact",
        }
    }

    /// The group of its own.
    pub fn group(self) -> &'static str {
        match self {
            Kind::Container => "Container",
            Kind::Kube => "Kube",
            Kind::Network => "Network",
            Kind::Volume => "Volume",
            Kind::Pod => "Pod",
            Kind::Image => "Image",
            Kind::Build => "Build",
            Kind::Artifact => "Artifact",
        }
    }

    /// The first version of Podman that has it.
    pub fn since(self) -> Option<Version> {
        keys::since(self.group())
    }

    /// Whether its service runs something that users start, rather than what others need.
    pub fn is_workload(self) -> bool {
        matches!(self, Kind::Container | Kind::Kube | Kind::Pod)
    }
}

/// A Quadlet file with its drop-ins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The file.
    pub path: String,
    /// Its name, by which others refer to it.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// What it and its drop-ins say, in order; nothing where one is refused.
    assignments: Vec<Assignment>,
    refused: Option<Refused>,
}

impl Unit {
    /// Reads a file and its drop-ins; `None` where the name is not one of a Quadlet file.
    pub fn read<'a>(source: &'a Source, drop_ins: impl IntoIterator<Item = &'a Source>) -> Option<Unit> {
        let path = source.path().to_owned();
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let kind = Kind::of(&name)?;
        let mut unit = Unit { path, name, kind, assignments: Vec::new(), refused: None };
        for source in std::iter::once(source).chain(drop_ins) {
            match syntax::parse(source) {
                Ok(more) => unit.assignments.extend(more),
                Err(refused) => unit.refused = unit.refused.or(Some(refused)),
            }
        }
        Some(unit)
    }

    /// The last value of a key, without a pair of double quotes around it; `None` where it is not set.
    pub fn last(&self, group: &str, key: &str) -> Option<(&str, &Evidence)> {
        let found = self.assignments.iter().rfind(|set| set.section == group && set.key == key)?;
        let value = found.value.value.as_str();
        let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        Some((inner.unwrap_or(value), &found.value.at))
    }

    /// All values of a key; an empty one takes back those before.
    pub fn all(&self, group: &str, key: &str) -> Vec<(&str, &Evidence)> {
        let mut found = Vec::new();
        for set in self.assignments.iter().filter(|set| set.section == group && set.key == key) {
            match set.value.value.as_str() {
                "" => found.clear(),
                value => found.push((value, &set.value.at)),
            }
        }
        found
    }

    /// The words of all values of a key.
    pub fn words(&self, group: &str, key: &str) -> Vec<(String, &Evidence)> {
        let all = self.all(group, key).into_iter();
        all.flat_map(|(value, at)| words(value).unwrap_or_default().into_iter().map(move |word| (word, at)))
            .collect()
    }

    /// As [`Unit::last`], in the group of its own.
    pub fn own(&self, key: &str) -> Option<(&str, &Evidence)> {
        self.last(self.kind.group(), key).filter(|(value, _)| !value.is_empty())
    }

    /// Whether a boolean of the group of its own is on; `None` where it is not set.
    pub fn is_on(&self, key: &str) -> Option<bool> {
        let (value, _) = self.own(key)?;
        Some(["1", "yes", "true", "on"].iter().any(|on| value.eq_ignore_ascii_case(on)))
    }

    /// Whether a key is set in any group.
    pub fn has(&self, group: &str, key: &str) -> bool {
        self.assignments.iter().any(|set| set.section == group && set.key == key)
    }

    /// Whether a capture leaves out something that it says; nothing is told from such a file but its keys.
    pub fn is_left_out(&self) -> bool {
        let values = self.assignments.iter().map(|set| set.value.value.as_str());
        values.filter(|value| *value == LEFT_OUT).count() > 0
    }

    /// Whether Podman cannot read it, nor then any other file of its folder; a drop-in is left out alone.
    pub fn is_refused(&self) -> bool {
        self.refused.as_ref().is_some_and(|refused| *refused.at.path == *self.path)
    }

    /// Whether it is a template, or an instance of one.
    pub fn is_template(&self) -> bool {
        self.name.contains('@')
    }

    /// The files and services that its service starts, a pod where it is started itself.
    fn pulls(&self) -> Vec<String> {
        let named = PULLING.iter().flat_map(|key| self.words("Unit", key)).map(|(word, _)| word);
        let networks = self.all(self.kind.group(), "Network").into_iter();
        let is_wanted = WANTED.iter().any(|key| !self.words("Install", key).is_empty());
        let pod = self.own("Pod").filter(|_| is_wanted);
        named.chain(networks.chain(pod).map(|(name, _)| name.to_owned())).collect()
    }

    /// The service that the generator makes.
    pub fn service(&self) -> String {
        if let Some((name, _)) = self.own("ServiceName") {
            return format!("{name}.service");
        }
        let base = self.name.rsplit_once('.').map_or(self.name.as_str(), |(base, _)| base);
        let suffix = match self.kind {
            Kind::Container | Kind::Kube => String::new(),
            kind => format!("-{}", kind.extension()),
        };
        match base.strip_suffix('@') {
            Some(template) => format!("{template}{suffix}@.service"),
            None => format!("{base}{suffix}.service"),
        }
    }
}

/// Quadlet files that the generator reads together.
#[derive(Clone, Debug, Default)]
pub struct Units {
    by_name: BTreeMap<String, Unit>,
    /// The first of those that make a service, by the service.
    by_service: BTreeMap<String, String>,
    /// What other units start of them, by the names of files or services.
    pulled: BTreeSet<String>,
    /// What those that are no templates publish, in the order of their names.
    ports: Vec<(String, Published)>,
}

impl Units {
    /// Of several with one name the first counts.
    pub fn new(units: impl IntoIterator<Item = Unit>) -> Units {
        let mut by_name = BTreeMap::new();
        for unit in units {
            by_name.entry(unit.name.clone()).or_insert(unit);
        }
        let mut by_service = BTreeMap::new();
        let mut pulled = BTreeSet::new();
        let mut published = Vec::new();
        for unit in by_name.values().filter(|unit| !unit.is_left_out()) {
            pulled.extend(unit.pulls());
            by_service.entry(unit.service()).or_insert_with(|| unit.name.clone());
            if !unit.is_template() {
                published.extend(ports(unit).into_iter().map(|(port, _)| (unit.name.clone(), port)));
                published.truncate(MOST_PORTS);
            }
        }
        Units { by_name, by_service, pulled, ports: published }
    }

    /// The one with this name.
    pub fn get(&self, name: &str) -> Option<&Unit> {
        self.by_name.get(name)
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Unit> {
        self.by_name.values()
    }

    /// Whether one makes this service.
    pub fn make(&self, service: &str) -> bool {
        self.by_service.contains_key(service)
    }

    /// Whether one starts another, by the name of the file or of the service.
    pub fn is_pulled(&self, name: &str) -> bool {
        self.pulled.contains(name)
    }

    fn first_with(&self, service: &str) -> Option<&Unit> {
        self.get(self.by_service.get(service)?)
    }

    /// What the files publish whose names come before this one.
    fn ports_before(&self, name: &str) -> &[(String, Published)] {
        let end = self.ports.partition_point(|(of, _)| of.as_str() < name);
        self.ports.get(..end).unwrap_or_default()
    }
}
