//! What is wrong with Quadlet files by themselves: why the generator refuses one (podman:
//! `pkg/systemd/quadlet/quadlet.go`), and why Podman refuses what it makes of it.

use std::collections::BTreeSet;

use super::publish::{self, Published};
use super::refused;
use super::{Kind, Unit, Units, keys};
use crate::facts::Evidence;
use crate::facts::version::Version;

/// The group that all kinds can have, for Quadlet itself.
const QUADLET: &str = "Quadlet";
/// What a service can be for the generator.
const TYPES: [&str; 2] = ["notify", "oneshot"];
/// How the processes of a service can be stopped, for the generator.
const KILL_MODES: [&str; 2] = ["mixed", "control-group"];

/// Keys of `[Unit]` in which names of Quadlet files stand for their services (podman:
/// `pkg/systemd/quadlet/quadlet.go`, `unitDependencyKeys`).
const DEPENDENCIES: [&str; 15] = [
    "After",
    "Before",
    "BindsTo",
    "Conflicts",
    "OnFailure",
    "OnSuccess",
    "PartOf",
    "PropagatesReloadTo",
    "PropagatesStopTo",
    "ReloadPropagatedFrom",
    "Requires",
    "Requisite",
    "StopPropagatedFrom",
    "Upholds",
    "Wants",
];

/// Something that keeps the service of a file from being made, or from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub at: Evidence,
    /// What, in a clause.
    pub what: String,
    /// The version of Podman from which on it is one; `None` where it always was.
    pub since: Option<Version>,
    /// The version of Podman from which on it is none.
    pub until: Option<Version>,
    /// What to do, in a sentence without a final period.
    pub repair: String,
}

/// The name of a file and the line, for repairs: the evidence has its folder.
pub(crate) fn place(at: &Evidence) -> String {
    let name = at.path.rsplit('/').next().unwrap_or_default();
    at.line.map_or_else(|| name.to_owned(), |line| format!("{name}:{line}"))
}

impl Fault {
    /// One of every version.
    pub fn new(at: &Evidence, what: impl Into<String>, repair: impl Into<String>) -> Fault {
        Fault { at: at.clone(), what: what.into(), since: None, until: None, repair: repair.into() }
    }

    /// As a line of the file that can only be corrected.
    pub(super) fn line(at: &Evidence, what: impl Into<String>) -> Fault {
        Fault::new(at, what, format!("correct {}", place(at)))
    }
}

/// All faults of a file, the first first, among those that the generator reads with it.
pub fn faults(unit: &Unit, units: &Units) -> Vec<Fault> {
    let mut found = own_faults(unit);
    if unit.refused.is_none() && !unit.is_left_out() {
        for Missing { key, name, at, since } in missing(unit, units) {
            let what = format!("{key}={name}, and there is no such file");
            let repair = format!("write {name} beside {}, or correct {}", unit.name, place(at));
            found.push(Fault { since, ..Fault::new(at, what, repair) });
        }
        found.extend(same_service(unit, units));
        same_ports(unit, units, &mut found);
    }
    found
}

/// Those that it has by itself.
pub(super) fn own_faults(unit: &Unit) -> Vec<Fault> {
    let mut found = Vec::new();
    let path = &unit.path;
    if let Some(since) = unit.kind.since() {
        let what = format!("Quadlet passes over .{} files", unit.kind.extension());
        let repair = format!("take Podman {since} or later, or do without {}", unit.name);
        let at = Evidence::path(path, "");
        found.push(Fault { until: Some(since), ..Fault::new(&at, what, repair) });
    }
    if let Some(refused) = &unit.refused {
        found.push(Fault::line(&refused.at, refused.what));
        return found;
    }
    unknown_keys(unit, unit.kind.group(), &mut found);
    unknown_keys(unit, QUADLET, &mut found);
    if unit.is_left_out() {
        return found;
    }
    needed(unit, &mut found);
    refused::values(unit, &mut found);
    if let Some((pod, at)) = unit.own("Pod").filter(|(pod, _)| !pod.ends_with(".pod")) {
        let what = format!("Pod={pod}, which is no .pod file");
        let repair = format!("name a .pod file in {}, or write PodmanArgs=--pod={pod}", place(at));
        found.push(Fault::new(at, what, repair));
    }
    service(unit, &mut found);
    for (value, at) in unit.all(unit.kind.group(), "PublishPort") {
        if let Err(why) = publish::parse(value) {
            found.push(Fault::line(at, format!("PublishPort={value} {why}")));
            break;
        }
    }
    in_a_pod(unit, &mut found);
    found
}

/// The ports of the host that a file publishes, with their lines; not those that systemd puts in. In the
/// network of the host, or of another container, Podman publishes none.
pub fn ports(unit: &Unit) -> Vec<(Published, &Evidence)> {
    let group = unit.kind.group();
    let is_others = |network: &str| {
        ["host", "none"].contains(&network)
            || network.starts_with("container:")
            || network.ends_with(".container")
    };
    if unit.all(group, "Network").iter().any(|(network, _)| is_others(network)) {
        return Vec::new();
    }
    let all = unit.all(group, "PublishPort").into_iter().take(super::MOST_PORTS);
    all.filter_map(|(value, at)| Some((publish::parse(value).ok()??, at))).collect()
}

fn unknown_keys(unit: &Unit, group: &str, found: &mut Vec<Fault>) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for set in unit.assignments.iter().filter(|set| set.section == group) {
        let (key, at) = (set.key.as_str(), &set.value.at);
        if !seen.insert(key) {
            continue;
        }
        match keys::key_since(group, key) {
            // Before there were keys of [Quadlet], the group was none of Podman's.
            Some(_) if group == QUADLET => {}
            Some(since) if unit.kind.since().as_ref().is_some_and(|kind| since <= *kind) => {}
            Some(since) => {
                let what = format!("Quadlet refuses {key}= in [{group}]");
                let repair = match arguments_for(unit.kind, key) {
                    Some(option) if since > Version::new(&[4, 6]) => {
                        format!("write PodmanArgs={option} in {}, or take Podman {since} or later", place(at))
                    }
                    _ => format!("take {key}= out of {}, or take Podman {since} or later", place(at)),
                };
                found.push(Fault { until: Some(since), ..Fault::new(at, what, repair) });
            }
            None => {
                let what = format!("[{group}] has no key {key}=");
                let repair = match keys::alike(group, key) {
                    Some(meant) => format!("write {meant}= in place of {key}= in {}", place(at)),
                    None => format!("take {key}= out of {}", place(at)),
                };
                found.push(Fault::new(at, what, repair));
                return;
            }
        }
    }
}

/// The option of `podman run` that a later key of a container stands for.
fn arguments_for(kind: Kind, key: &str) -> Option<&'static str> {
    match (kind, key) {
        (Kind::Container, "Memory") => Some("--memory=..."),
        (Kind::Container, "PidsLimit") => Some("--pids-limit=..."),
        (Kind::Container, "Ulimit") => Some("--ulimit=..."),
        (Kind::Container, "AddHost") => Some("--add-host=..."),
        _ => None,
    }
}

/// What a kind cannot do without.
fn needed(unit: &Unit, found: &mut Vec<Fault>) {
    let group = unit.kind.group();
    let mut lacks = |what: &str| {
        let what = format!("no {what} in [{group}]");
        let repair = format!("write what is missing into [{group}] of {}", unit.name);
        found.push(Fault::new(&Evidence::path(&unit.path, ""), what, repair));
    };
    let has = |key| unit.own(key).is_some();
    match unit.kind {
        Kind::Container if !has("Image") && !has("Rootfs") => lacks("Image= or Rootfs="),
        Kind::Kube if !has("Yaml") => lacks("Yaml="),
        Kind::Image if !has("Image") => lacks("Image="),
        Kind::Artifact if !has("Artifact") => lacks("Artifact="),
        Kind::Build if !has("ImageTag") => lacks("ImageTag="),
        Kind::Build
            if !has("File")
                && !has("SetWorkingDirectory")
                && unit.last("Service", "WorkingDirectory").is_none() =>
        {
            lacks("File= or SetWorkingDirectory=");
        }
        Kind::Volume if unit.own("Driver").is_some_and(|(driver, _)| driver == "image") && !has("Image") => {
            lacks("Image=, which Driver=image takes,");
        }
        _ => {}
    }
    let both = |one: &str, other: &str, found: &mut Vec<Fault>| {
        if let (Some(_), Some((_, at))) = (unit.own(one), unit.own(other)) {
            found.push(Fault::line(at, format!("{one}= and {other}=, of which there can be one")));
        }
    };
    let without = |one: &str, other: &str, found: &mut Vec<Fault>| {
        if let (Some((_, at)), None) = (unit.own(one), unit.own(other)) {
            found.push(Fault::line(at, format!("{one}= without {other}=")));
        }
    };
    match unit.kind {
        Kind::Container => {
            both("Image", "Rootfs", found);
            both("ReloadCmd", "ReloadSignal", found);
            without("Group", "User", found);
            if let (Some((image, at)), Some((update, _))) = (unit.own("Image"), unit.own("AutoUpdate"))
                && update == "registry"
                && is_short(image)
            {
                let what = format!("AutoUpdate=registry with Image={image}, which names no registry");
                let repair =
                    format!("write the name with its registry, as docker.io/library/..., in {}", place(at));
                found.push(Fault::new(at, what, repair));
            }
        }
        Kind::Volume if unit.own("Driver").is_none_or(|(driver, _)| driver != "image") => {
            without("Type", "Device", found);
            let before = found.len();
            without("Options", "Device", found);
            found[before..].iter_mut().for_each(|fault| fault.until = Some(Version::new(&[6])));
        }
        Kind::Network => {
            without("Gateway", "Subnet", found);
            without("IPRange", "Subnet", found);
        }
        _ => {}
    }
}

/// Whether the name of an image is one without a registry (podman: `cmd/quadlet/main.go`,
/// `isUnambiguousName`). What systemd puts something in for, other transports and files are not.
fn is_short(image: &str) -> bool {
    let is_file = image.ends_with(".image") || image.ends_with(".build");
    let is_id = image.len() == 64 && image.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_other = image.contains('%') || image.starts_with("sha256:") || image.contains(":/");
    let is_full =
        image.split_once('/').is_some_and(|(domain, _)| domain.contains(['.', ':']) || domain == "localhost");
    !is_file && !is_id && !is_other && !is_full && !image.starts_with('/')
}

/// A Quadlet file that another one names and that is not there.
pub(super) struct Missing<'a> {
    pub(super) key: &'static str,
    pub(super) name: String,
    pub(super) at: &'a Evidence,
    /// The version of Podman that stops at it first; `None` for all.
    pub(super) since: Option<Version>,
}

/// The Quadlet files that a file names and that are not there, with the line.
pub(super) fn missing<'a>(unit: &'a Unit, units: &Units) -> Vec<Missing<'a>> {
    let group = unit.kind.group();
    let mut found: Vec<Missing> = Vec::new();
    let mut add = |key, name: &str, at: &'a Evidence| {
        if units.get(name).is_none() && !name.starts_with(['/', '.']) && !name.contains('%') {
            let since = (key == "Mount" && name.ends_with(".artifact")).then(|| Version::new(&[5, 7]));
            found.push(Missing { key, name: name.to_owned(), at, since });
        }
    };
    for (value, at) in unit.all(group, "Network") {
        let name = value.split_once(':').map_or(value, |(name, _)| name);
        if name.ends_with(".network") || name.ends_with(".container") {
            add("Network", name, at);
        }
    }
    for (value, at) in unit.all(group, "Volume") {
        if let Some((name, _)) = value.split_once(':').filter(|(name, _)| name.ends_with(".volume")) {
            add("Volume", name, at);
        }
    }
    for (value, at) in unit.words(group, "Mount") {
        let mut options = value.split(',').filter_map(|option| option.split_once('='));
        let source = options.rfind(|(key, _)| ["source", "src"].contains(key));
        let is_file = |name: &str| [".volume", ".image", ".artifact"].iter().any(|end| name.ends_with(end));
        if let Some((_, name)) = source.filter(|(_, name)| is_file(name)) {
            add("Mount", name, at);
        }
    }
    if let Some((name, at)) = unit.own("Image")
        && unit.kind != Kind::Image
        && (name.ends_with(".image") || name.ends_with(".build"))
    {
        add("Image", name, at);
    }
    if let Some((name, at)) = unit.own("Pod").filter(|(name, _)| name.ends_with(".pod")) {
        add("Pod", name, at);
    }
    for key in DEPENDENCIES {
        for (name, at) in unit.words("Unit", key) {
            let Some(kind) = Kind::of(&name).filter(|_| units.get(&name).is_none()) else { continue };
            // Before there are such files, it is the name of a unit like any other.
            let first = Version::new(&[5, 5]);
            let since = kind.since().filter(|since| *since > first).unwrap_or(first);
            found.push(Missing { key, name, at, since: Some(since) });
        }
    }
    found
}

/// What the generator cannot do with `[Service]`.
fn service(unit: &Unit, found: &mut Vec<Fault>) {
    if !matches!(unit.kind, Kind::Container | Kind::Kube) {
        return;
    }
    for (key, allowed) in [("KillMode", KILL_MODES), ("Type", TYPES)] {
        if let Some((value, at)) = unit.last("Service", key).filter(|(value, _)| !allowed.contains(value)) {
            let what = format!("{key}={value} in [Service]");
            let repair = format!("write {key}={} or {} in {}", allowed[0], allowed[1], place(at));
            found.push(Fault::new(at, what, repair));
        }
    }
}

/// What is the pod's, for a container that takes its network (podman: `pkg/specgen/container_validate.go`).
fn in_a_pod(unit: &Unit, found: &mut Vec<Fault>) {
    let Some((pod, _)) = unit.own("Pod").filter(|_| unit.kind == Kind::Container) else { return };
    let networks = unit.all("Container", "Network");
    let mut network = networks.iter().filter(|(value, _)| value.contains(".network"));
    let keys: &[&str] = if networks.is_empty() { &["PublishPort", "AddHost"] } else { &[] };
    let first = |key: &&'static str| Some((*key, *unit.all("Container", key).first()?));
    let first_network = network.next().map(|set| ("Network", *set));
    for (key, (value, at)) in first_network.into_iter().chain(keys.iter().filter_map(first)) {
        let what = format!("{key}={value} of a container in {pod}, which has the network");
        found.push(Fault::new(at, what, format!("move {key}= from {} into [Pod] of {pod}", place(at))));
    }
}

/// A file that makes the same service, told of the one that comes later by its name.
pub(super) fn same_service(unit: &Unit, units: &Units) -> Option<Fault> {
    let service = unit.service();
    let other = units.first_with(&service).filter(|other| other.name < unit.name)?;
    let at = Evidence::path(&unit.path, "");
    let what = format!("it makes {service}, as {} does", other.name);
    Some(Fault::new(&at, what, format!("rename one of the two, or set ServiceName= in {}", place(&at))))
}

fn same_ports(unit: &Unit, units: &Units, found: &mut Vec<Fault>) {
    if unit.is_template() {
        return;
    }
    let before = units.ports_before(&unit.name);
    for (mine, at) in ports(unit) {
        let shared = before.iter().find_map(|(name, theirs)| Some((mine.shared(theirs)?, name)));
        if let Some((port, name)) = shared {
            let what = format!("port {port} of the host, which {name} publishes, too");
            found.push(Fault::new(at, what, format!("publish another port in {}", place(at))));
            return;
        }
    }
}

#[cfg(test)]
#[path = "faults_tests.rs"]
mod tests;
