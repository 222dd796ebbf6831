//! Values of keys that the generator stops at (podman: `pkg/systemd/quadlet/quadlet.go`).

use super::faults::{Fault, place};
use super::{Kind, Unit, publish};
use crate::facts::version::Version;

/// Keys by which IDs are mapped in place of `Remap...=`.
const MAPPINGS: [&str; 5] = ["UserNS", "UIDMap", "GIDMap", "SubUIDMap", "SubGIDMap"];

/// What the generator refuses in the group of its own.
pub(super) fn values(unit: &Unit, found: &mut Vec<Fault>) {
    let group = unit.kind.group();
    let published = unit.all(group, "PublishPort");
    if let Some((value, at)) = published.into_iter().find(|(value, _)| publish::is_refused_early(value)) {
        let until = Version::new(&[5, 3]);
        let what = format!("Quadlet refuses PublishPort={value}");
        let repair = format!("write numbers of ports in {}, or take Podman {until} or later", place(at));
        found.push(Fault { until: Some(until), ..Fault::new(at, what, repair) });
    }
    let exposed = unit.all(group, "ExposeHostPort");
    if let Some((value, at)) = exposed.into_iter().find(|(value, _)| publish::is_refused_early(value)) {
        found.push(Fault::line(at, format!("ExposeHostPort={value}, which is no port")));
    }
    for (value, at) in unit.all(group, "Network") {
        if let Some((name, _)) = value.split_once(':').filter(|(name, _)| name.ends_with(".container")) {
            found.push(Fault::line(at, format!("Network={value}, and there are no options to {name}")));
        }
    }
    remapped(unit, found);
    working_directory(unit, found);
}

fn remapped(unit: &Unit, found: &mut Vec<Fault>) {
    let group = unit.kind.group();
    if MAPPINGS.iter().any(|key| unit.own(key).is_some()) {
        let remaps = ["RemapUsers", "RemapUid", "RemapGid"];
        if let Some((key, (_, at))) = remaps.iter().find_map(|key| Some((key, unit.last(group, key)?))) {
            let what = format!("{key}= beside a key that maps IDs, which takes its place");
            let repair = format!("take {key}= out of {}", place(at));
            found.push(Fault { since: Some(Version::new(&[4, 8])), ..Fault::new(at, what, repair) });
        }
        return;
    }
    let users = unit.own("RemapUsers");
    for key in ["RemapUid", "RemapGid"] {
        let maps = unit.words(group, key);
        match (users.map(|(users, _)| users), maps.as_slice()) {
            (None, [(_, at), ..]) => found.push(Fault::line(at, format!("{key}= without RemapUsers="))),
            // Podman 4.4 passes over both.
            (Some("keep-id"), [_, (_, at), ..]) => {
                found.push(Fault::line(at, format!("more than one {key}= with RemapUsers=keep-id")));
            }
            _ => {}
        }
    }
    let known: &[&str] = match unit.kind {
        Kind::Container | Kind::Pod => &["manual", "auto", "keep-id"],
        _ => &["auto", "keep-id"],
    };
    if let Some((value, at)) = users.filter(|(value, _)| !known.contains(value)) {
        let what = format!("RemapUsers={value}, which is none of {}", known.join(", "));
        found.push(Fault::line(at, what));
    }
}

fn working_directory(unit: &Unit, found: &mut Vec<Fault>) {
    let set = unit.own("SetWorkingDirectory");
    let is = |value: &str, other: &str| value.eq_ignore_ascii_case(other);
    match (unit.kind, set) {
        (Kind::Kube, Some((value, at))) if !is(value, "yaml") && !is(value, "unit") => {
            found.push(Fault::line(at, format!("SetWorkingDirectory={value}, which is not yaml or unit")));
        }
        (Kind::Build, Some((value, at))) if is(value, "yaml") => {
            found.push(Fault::line(at, format!("SetWorkingDirectory={value}, which .kube files alone have")));
        }
        (Kind::Build, None) if unit.last("Service", "WorkingDirectory").is_none() => {
            let is_whole = |file: &str| file.starts_with(['/', '%']) || file.starts_with("http");
            if let Some((file, at)) = unit.own("File").filter(|(file, _)| !is_whole(file)) {
                let what = format!("File={file}, which is relative, without SetWorkingDirectory=");
                let repair = format!("write SetWorkingDirectory=unit into {}", unit.name);
                found.push(Fault::new(at, what, repair));
            }
        }
        _ => {}
    }
}
