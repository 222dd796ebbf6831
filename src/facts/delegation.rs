//! Which controllers systemd is configured to delegate to a user manager: `Delegate=` of
//! `user@UID.service` and `DisableControllers=` of it and the slices above it
//! (`systemd.resource-control(5)`; systemd, `src/core/load-fragment.c`, `config_parse_delegate`).
//! What the kernel has in effect is in `cgroup`.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::cgroup::{Controller, Controllers};
use super::unit::Unit;
use super::unit_syntax::{boolean, words};
use super::{Evidence, Facts, Sourced};
use crate::host::Fact;

/// What `Delegate=yes` means: the v2 controllers that systemd manages (`CGROUP_MASK_DELEGATE`).
pub const ALL_DELEGATED: [Controller; 5] =
    [Controller::Cpu, Controller::Cpuset, Controller::Io, Controller::Memory, Controller::Pids];

/// What systemd has a name for and is no controller of the kernel (`cgroup_controller_table`).
const BPF_PSEUDO_CONTROLLERS: [&str; 5] =
    ["bpf-firewall", "bpf-devices", "bpf-foreign", "bpf-socket-bind", "bpf-restrict-network-interfaces"];

/// What the assignments of `Delegate=` come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delegation {
    /// Whether a subtree is delegated at all.
    pub on: bool,
    /// The delegated controllers, each with the line that granted it.
    pub controllers: BTreeMap<Controller, Evidence>,
    /// Controllers that an earlier line granted, each with the line that took it away.
    pub taken: BTreeMap<Controller, Evidence>,
    /// The last line that changed anything; `None` where no file says anything.
    pub decided_by: Option<Evidence>,
    /// Words that systemd knows no controller by, and so skips with a warning.
    pub ignored: Vec<Sourced<String>>,
}

impl Delegation {
    /// The delegated controllers.
    pub fn set(&self) -> Controllers {
        self.controllers.keys().copied().collect()
    }

    fn clear(&mut self, at: &Evidence) {
        for controller in std::mem::take(&mut self.controllers).into_keys() {
            self.taken.insert(controller, at.clone());
        }
    }

    fn grant(&mut self, controller: Controller, at: &Evidence) {
        self.taken.remove(&controller);
        self.controllers.entry(controller).or_insert_with(|| at.clone());
    }
}

/// Works the values of `Delegate=` through, in order: a list adds to what is there, nothing resets
/// the list and leaves delegation on, `yes` grants all, `no` takes all away.
pub fn delegation<'a>(values: impl Iterator<Item = &'a Sourced<String>>) -> Delegation {
    let mut delegation = Delegation::default();
    for Sourced { value, at } in values {
        if value.is_empty() {
            delegation.on = true;
            delegation.clear(at);
        } else if let Some(on) = boolean(value) {
            delegation.on = on;
            if on {
                ALL_DELEGATED.into_iter().for_each(|controller| delegation.grant(controller, at));
                // A controller of v1 that a list granted is not part of "all".
                delegation.controllers.retain(|controller, _| ALL_DELEGATED.contains(controller));
            } else {
                delegation.clear(at);
            }
        } else if let Some(names) = words(value) {
            delegation.on = true;
            for name in names {
                match delegable(&name) {
                    Some(controller) => delegation.grant(controller, at),
                    None if BPF_PSEUDO_CONTROLLERS.contains(&name.as_str()) => {}
                    None => delegation.ignored.push(Sourced { value: name, at: at.clone() }),
                }
            }
        } else {
            delegation.ignored.push(Sourced { value: value.clone(), at: at.clone() });
            continue;
        }
        delegation.decided_by = Some(at.clone());
    }
    delegation
}

/// What `Delegate=` of `unit` comes to once the drop-in `path` says to delegate `controllers`, and
/// nothing else.
///
/// # Errors
/// The file of the same name that keeps `path` from being read, because its directory comes first.
pub fn with_drop_in(unit: &Unit, path: &str, controllers: &[Controller]) -> Result<Delegation, String> {
    let (dir, name) = path.rsplit_once('/').unwrap_or_default();
    let winners = unit.drop_ins.iter().map(String::as_str).chain(unit.masks.iter().map(|mask| &*mask.path));
    for winner in winners.filter(|winner| *winner != path) {
        if winner.rsplit_once('/').is_some_and(|(other, n)| n == name && comes_before(other, dir)) {
            return Err(winner.to_owned());
        }
    }
    let names: Vec<&str> = controllers.iter().map(|controller| controller.as_str()).collect();
    let text = format!("Delegate={}", names.join(" "));
    let ours = Sourced { value: names.join(" "), at: Evidence::path(path, text) };
    // The order is that of the names over all directories, after the unit's own file.
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for value in unit.values("Service", "Delegate") {
        let file = &*value.at.path;
        let other = file.rsplit_once('/').map_or(file, |(_, name)| name);
        if unit.fragment.as_deref() == Some(file) || other < name {
            before.push(value);
        } else if other > name {
            after.push(value);
        }
    }
    Ok(delegation(before.into_iter().chain([&ours]).chain(after)))
}

/// Whether a drop-in directory of a unit such as `user@UID.service` or `user-UID.slice` comes before one of
/// the administrator's for all users (`systemd.unit(5)`, "System Unit Search Path"), so that a file there
/// beats one of the same name.
pub fn comes_before(other: &str, dir: &str) -> bool {
    // `user@1000.service.d` of `user@.service.d`, and `user-1000.slice.d` of `user-.slice.d`.
    let of_the_instance =
        dir.rsplit_once('.').and_then(|(unit, _)| unit.rsplit_once('.')).is_some_and(|(prefix, suffix)| {
            let instance = other.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(".d"));
            let instance = instance.and_then(|rest| rest.strip_suffix(suffix)?.strip_suffix('.'));
            prefix.ends_with(['@', '-'])
                && instance.is_some_and(|name| !name.is_empty() && !name.contains('/'))
        });
    of_the_instance || above_etc(other)
}

/// Whether a directory holds what `systemctl set-property` and the like write, before which nothing in
/// `/etc/systemd/system` comes.
pub fn above_etc(dir: &str) -> bool {
    const HIGHER: [&str; 4] = [
        "/etc/systemd/system.control/",
        "/run/systemd/system.control/",
        "/run/systemd/transient/",
        "/run/systemd/generator.early/",
    ];
    HIGHER.iter().any(|higher| dir.starts_with(higher))
}

/// The controller that systemd knows by this name. It has none for `hugetlb`, `rdma`, `misc` and
/// `dmem`, so those cannot be delegated by name.
fn delegable(name: &str) -> Option<Controller> {
    Controller::from_name(name).filter(|controller| {
        !matches!(controller, Controller::Hugetlb | Controller::Rdma | Controller::Misc | Controller::Dmem)
    })
}

/// Controllers that `DisableControllers=` keeps from a user manager, each with the line.
type Disabled = BTreeMap<Controller, Evidence>;

/// Works the values of `DisableControllers=` of one unit through: nothing resets, a list adds.
fn disabled<'a>(values: impl Iterator<Item = &'a Sourced<String>>) -> Disabled {
    let mut disabled = Disabled::new();
    for Sourced { value, at } in values {
        if value.is_empty() {
            disabled.clear();
        }
        for controller in value.split_ascii_whitespace().filter_map(delegable) {
            disabled.entry(controller).or_insert_with(|| at.clone());
        }
    }
    disabled
}

impl Facts {
    /// What `Delegate=` in the configuration of `user@UID.service` comes to. A running system can
    /// have been started with less.
    ///
    /// # Errors
    /// Where a file or directory that could decide it cannot be read.
    pub fn delegation(&self, uid: u32) -> Fact<Rc<Delegation>> {
        self.memo_fact(&uid.to_string(), || {
            let unit = self.unit(&format!("user@{uid}.service"))?;
            Ok(delegation(unit.values("Service", "Delegate")))
        })
    }

    /// Controllers that the user manager of `uid` cannot have, whatever is delegated, because a unit
    /// above it (or it itself) has them in `DisableControllers=`.
    ///
    /// # Errors
    /// As [`Facts::delegation`].
    pub fn disabled_controllers(&self, uid: u32) -> Fact<Rc<BTreeMap<Controller, Evidence>>> {
        self.memo_fact(&uid.to_string(), || {
            let mut all = Disabled::new();
            for (name, section) in [
                ("-.slice".to_owned(), "Slice"),
                ("user.slice".to_owned(), "Slice"),
                (format!("user-{uid}.slice"), "Slice"),
                (format!("user@{uid}.service"), "Service"),
            ] {
                for (controller, at) in disabled(self.unit(&name)?.values(section, "DisableControllers")) {
                    all.entry(controller).or_insert(at);
                }
            }
            Ok(all)
        })
    }
}

#[cfg(test)]
#[path = "delegation_tests.rs"]
mod tests;
