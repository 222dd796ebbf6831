//! Whether the controllers that the stacks use are delegated to the user: see [`CGROUP_DELEGATION`].

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::checks::check;
use crate::facts::cgroup::{Controller, Controllers, Hierarchy};
use crate::facts::delegation::{ALL_DELEGATED, Delegation, comes_before, with_drop_in};
use crate::facts::delegation_effect::Effect;
use crate::facts::unit::Unit;
use crate::facts::unit_syntax::boolean;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Demand, Requirements, Stack};
use crate::settings::{DELEGATE_DROP_IN, Setting, by_hand, quoted};

check! {
    /// The cgroup controllers that the stacks use are delegated
    ///
    /// ## What is looked at
    ///
    /// Configured: every `Delegate=` of `user@UID.service` and its drop-ins, in systemd's order over
    /// all directories, and `DisableControllers=` of the slices above it. A list adds to what is
    /// there, an empty value resets it, `yes` grants all, `no` takes all away, and a file that sorts
    /// later wins from whichever directory.
    ///
    /// In effect: `cgroup.controllers` and `cgroup.subtree_control` from the root of the hierarchy
    /// over `user.slice` and `user-UID.slice` to `user@UID.service`, with the first level that does
    /// not hand a controller on. While the user manager does not run, what is configured is what it
    /// will get. For K3s, which runs in one of its units, also whether the user manager was executed
    /// since the grant was written.
    ///
    /// ## Why it matters
    ///
    /// systemd delegates `cpu`, `memory` and `pids` as shipped. K3s, k3d and Usernetes need `cpuset`
    /// as well and stop without it ("failed to find cpuset cgroup (v2)"); `podman run` refuses
    /// `--cpuset-cpus` without it and `--device-read-bps` without `io`. That the kernel has a
    /// controller at the root of the hierarchy says nothing about the user.
    ///
    /// Seen on Debian 12, 13 and testing (systemd 252, 257, 262): a user manager has `memory` and `pids`
    /// even where `Delegate=` does not name them, because systemd accounts for both; `cpu` it has not.
    /// With `Delegate=no` the user manager of systemd 257 does not start.
    ///
    /// SUSE delegates nothing: its drop-in `20-defaults-SUSE.conf` empties `Delegate=`, and another one
    /// sets `DefaultMemoryAccounting=no`, so that there is no `memory` either.
    ///
    /// ## Repair
    ///
    /// A drop-in for `user@.service` that lists the controllers. To put it into effect without ending
    /// a session: reload systemd; start any system unit in the user's slice, which is what makes
    /// systemd 257 tell the kernel; execute the user manager again, which otherwise hands on only what
    /// there was when it started. The service of a stack that already runs is to be restarted. With
    /// lingering, logging out does not restart the user manager; a reboot does.
    ///
    /// ## Sources
    ///
    /// - systemd.resource-control(5), "Delegate=" and "DisableControllers="
    /// - systemd.unit(5), "System Unit Search Path"
    /// - systemd-system.conf(5), "DefaultMemoryAccounting=, DefaultTasksAccounting="
    /// - SUSE: systemd-default-settings, user@.service.d/ and system.conf.d/20-defaults-SUSE.conf
    /// - Documentation/admin-guide/cgroup-v2.rst, "Top-down Constraint"
    /// - rootlesscontaine.rs, "Getting started", "cgroup v2"
    CGROUP_DELEGATION, "cgroup-delegation", Required, User(run)
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    if req.controllers.is_empty() {
        return Outcome::not_asked();
    }
    let mut outcome = Outcome::default();
    match Look::at(facts, user, req) {
        Ok(Ok(look)) => {
            for (&controller, demands) in &req.controllers {
                match look.finding(controller) {
                    Ok(Some(finding)) => outcome.add_all(demands, &finding),
                    Ok(None) => {}
                    Err(why) => outcome.unknown_all(demands, controller.as_str(), &why),
                }
            }
            look.user_manager(req, &mut outcome);
        }
        Ok(Err(reason)) => return Outcome::skip(reason),
        Err(why) => {
            for (controller, demands) in &req.controllers {
                outcome.unknown_all(demands, controller.as_str(), &why);
            }
        }
    }
    outcome.or_skip("the kernel offers none of the controllers: see cgroup-controllers")
}

/// What all controllers have in common.
struct Look<'a> {
    facts: &'a Facts,
    user: &'a User,
    unit: Rc<Unit>,
    delegation: Rc<Delegation>,
    disabled: Rc<BTreeMap<Controller, Evidence>>,
    /// What a drop-in has to list: all that is there and all that is wanted.
    list: Vec<Controller>,
}

impl<'a> Look<'a> {
    /// What there is to look at, or the reason why there is nothing.
    fn at(facts: &'a Facts, user: &'a User, req: &Requirements) -> Fact<Result<Look<'a>, String>> {
        if facts.running() {
            match facts.cgroup_hierarchy()?.as_ref() {
                Some(found) if found.value == Hierarchy::Unified => {}
                _ => {
                    let reason = "the host does not run with cgroup v2 alone: see cgroup-version";
                    return Ok(Err(reason.to_owned()));
                }
            }
            if !facts.booted_with_systemd()?.value {
                return Ok(Err("there is no systemd: see systemd-init".to_owned()));
            }
        }
        let unit = facts.unit(&format!("user@{}.service", user.uid))?;
        if unit.fragment.is_none() || unit.masked.is_some() {
            return Ok(Err(format!("{} cannot be started: see user-manager", unit.name)));
        }
        let delegation = facts.delegation(user.uid)?;
        let mut all: Controllers = delegation.set();
        all.extend(req.controllers.keys().filter(|controller| ALL_DELEGATED.contains(controller)));
        let disabled = facts.disabled_controllers(user.uid)?;
        Ok(Ok(Look { facts, user, unit, delegation, disabled, list: all.into_iter().collect() }))
    }

    /// The finding on one controller; `None` where it is configured and the kernel lacks it, which is
    /// the business of `cgroup-controllers`.
    fn finding(&self, controller: Controller) -> Fact<Option<Finding>> {
        let granted = self.delegation.controllers.get(&controller);
        let disabled = self.disabled.get(&controller);
        let granted_or_accounted = granted.is_some() || self.accounted(controller)?;
        let configured = self.delegation.on && granted_or_accounted && disabled.is_none();
        let effect = if self.facts.running() {
            Some(self.facts.delegation_effect(self.user.uid, controller)?)
        } else {
            None
        };
        let (in_effect, needs) = match &effect {
            None | Some(Effect::NoUserManager) => (None, Needs::None),
            Some(Effect::NotInKernel(_)) if configured => return Ok(None),
            Some(Effect::InEffect(_)) => (Some(true), Needs::None),
            Some(Effect::NotOwned(_)) => (Some(false), Needs::ReLogin),
            Some(Effect::NotInKernel(_) | Effect::Lost { .. }) => (Some(false), Needs::None),
        };
        let found = match (&effect, disabled) {
            (_, Some(_)) => "disabled in a unit above".to_owned(),
            _ if !configured => match in_effect {
                Some(true) => "delegated for now".to_owned(),
                _ => "not delegated".to_owned(),
            },
            (Some(Effect::Lost { unit, .. }), _) => format!("lost at {unit}"),
            (Some(Effect::NotOwned(_)), _) => "not delegated".to_owned(),
            (Some(Effect::NoUserManager), _) => "delegated once the user manager runs".to_owned(),
            _ => "delegated".to_owned(),
        };
        let verdict = Verdict::of(configured, in_effect, needs);
        let finding = Finding::new(controller.as_str(), "delegated", found, verdict);
        let remedy = self.remedy(controller, configured, effect.as_ref());
        Ok(Some(finding.at(self.evidence(controller, configured, effect)).repair(remedy)))
    }

    /// Whether systemd enables the controller for every user manager to account for it, so that `Delegate=`
    /// need not name it (systemd.resource-control(5), MemoryAccounting=, TasksAccounting=;
    /// systemd-system.conf(5), DefaultMemoryAccounting=, which SUSE sets to no).
    fn accounted(&self, controller: Controller) -> Fact<bool> {
        let key = match controller {
            Controller::Memory => "MemoryAccounting",
            Controller::Pids => "TasksAccounting",
            _ => return Ok(false),
        };
        let of_unit = self.unit.values("Service", key).rev().find_map(|line| boolean(&line.value));
        if let Some(accounted) = of_unit {
            return Ok(accounted);
        }
        let by_default = self.facts.system_conf()?;
        let by_default =
            by_default.values(&format!("Default{key}")).rev().find_map(|line| boolean(&line.value));
        Ok(by_default.unwrap_or(true))
    }

    /// K3s runs in a unit of the user manager, which hands to a unit with `Delegate=yes` what it found in
    /// its own cgroup when it was last executed, and nothing that came later. Podman's OCI runtimes
    /// enable what they need themselves.
    fn user_manager(&self, req: &Requirements, outcome: &mut Outcome) {
        if !self.facts.running() {
            return;
        }
        let in_unit = |demand: &&Demand| demand.stacks.contains(&Stack::K3s);
        for (&controller, demands) in &req.controllers {
            let Some(demand) = demands.iter().find(in_unit) else { continue };
            let Some(granted) = self.delegation.controllers.get(&controller) else { continue };
            let demand = Demand { stacks: vec![Stack::K3s], ..demand.clone() };
            let reached = self.facts.delegation_effect(self.user.uid, controller);
            if !matches!(reached, Ok(Effect::InEffect(_))) {
                continue;
            }
            match self.facts.granted_too_late(self.user.uid, &granted.path) {
                Ok(false) => {}
                Ok(true) => {
                    let finding = Finding::new(
                        &self.unit.name,
                        "executed since the grant",
                        "executed before it, so its units do not get what came later",
                        Verdict::Pending(Needs::None),
                    );
                    let remedy = Remedy::setting(
                        "execute the user manager again, which ends none of its units",
                        Setting::DelegationInEffect { user: self.user.name.clone(), uid: self.user.uid },
                    );
                    outcome.add(&demand, finding.at([granted.clone()]).repair(remedy));
                    return;
                }
                Err(why) => return outcome.unknown(&demand, &self.unit.name, why),
            }
        }
    }

    /// The decisive place first: what is missing, then what is there.
    fn evidence(&self, controller: Controller, configured: bool, effect: Option<Effect>) -> Vec<Evidence> {
        let kernel = effect.and_then(|effect| match effect {
            Effect::NotInKernel(at)
            | Effect::Lost { at, .. }
            | Effect::NotOwned(at)
            | Effect::InEffect(at) => Some(at),
            Effect::NoUserManager => None,
        });
        let granted = self.delegation.controllers.get(&controller).cloned();
        if configured {
            let mut all: Vec<Evidence> = kernel.into_iter().chain(granted).collect();
            all.dedup();
            return all;
        }
        let mut all: Vec<Evidence> = self.disabled.get(&controller).cloned().into_iter().collect();
        // `Delegate=cpu,cpuset` is one word that systemd does not know.
        let meant = |word: &str| word.split(',').any(|part| part == controller.as_str());
        all.extend(self.delegation.ignored.iter().filter(|word| meant(&word.value)).map(|w| w.at.clone()));
        all.extend(self.delegation.taken.get(&controller).or(granted.as_ref()).cloned());
        all.extend(self.delegation.decided_by.clone().filter(|at| !all.contains(at)));
        if self.delegation.decided_by.is_none() {
            let fragment = self.unit.fragment.as_deref().unwrap_or_default();
            all.push(Evidence::path(fragment, "no Delegate="));
        }
        all.extend(kernel);
        all.extend(self.unit.masks.iter().cloned());
        let shadowed = self.unit.shadowed.iter();
        all.extend(shadowed.map(|file| Evidence::path(&file.path, format!("not read: {} is", file.by))));
        all
    }

    fn remedy(&self, controller: Controller, configured: bool, effect: Option<&Effect>) -> Remedy {
        let user = &self.user.name;
        let activate = Setting::DelegationInEffect { user: user.clone(), uid: self.user.uid };
        if configured {
            return match effect {
                Some(Effect::NotOwned(_)) => Remedy::manual(format!(
                    "end all sessions of {user} and stop lingering once, or reboot: the user manager was \
                     started without delegation"
                )),
                _ => Remedy::setting(
                    "put it into effect without ending a session (reload, a unit in the user's slice, \
                     the user manager executed again); failing that, reboot",
                    activate,
                ),
            };
        }
        if !ALL_DELEGATED.contains(&controller) {
            return Remedy::manual(format!("none: systemd delegates no controller called {controller}"));
        }
        if let Some(at) = self.disabled.get(&controller) {
            return Remedy::manual(format!(
                "take {controller} off DisableControllers= in {at}, against which no Delegate= helps; reboot"
            ));
        }
        let setting = Setting::Delegation(self.list.clone());
        let beaten = match with_drop_in(&self.unit, DELEGATE_DROP_IN, &self.list) {
            Err(by) => Some((by.clone(), by)),
            Ok(planned) => planned.taken.get(&controller).map(|at| (at.to_string(), at.path.to_string())),
        };
        let mut settings = vec![setting];
        // Where no user manager runs there is nobody to tell.
        if effect.is_some_and(|effect| *effect != Effect::NoUserManager) {
            settings.push(activate);
        }
        if let Some((at, file)) = beaten {
            return self.out_of_the_way(&at, &file, &settings);
        }
        let names: Vec<&str> = self.list.iter().map(|controller| controller.as_str()).collect();
        let summary = format!("write Delegate={} to {DELEGATE_DROP_IN}, for every user", names.join(" "));
        Remedy { settings, ..Remedy::manual(summary) }
    }

    /// A drop-in alone would be beaten, so the file that beats it has to go first.
    fn out_of_the_way(&self, at: &str, file: &str, settings: &[Setting]) -> Remedy {
        let (root, sudo) = if self.facts.running() { ("", "sudo ") } else { ("$ROOT", "") };
        let (dir, _) = DELEGATE_DROP_IN.rsplit_once('/').unwrap_or_default();
        let (other, name) = file.rsplit_once('/').unwrap_or_default();
        let (shell_file, name) = (quoted(file), quoted(name));
        let maskable = other != dir && !comes_before(other, dir);
        let how = if maskable { "mask" } else { "take away" };
        let mut remedy =
            Remedy::manual(format!("{how} {at}, which beats any {DELEGATE_DROP_IN}, and delegate"));
        remedy.commands = if maskable {
            vec![format!("{sudo}mkdir -p {root}{dir}"), format!("{sudo}ln -s /dev/null {root}{dir}/{name}")]
        } else {
            vec![format!("{sudo}mv {root}{shell_file} {root}{shell_file}.disabled")]
        };
        for command in by_hand(settings, self.facts.running()) {
            if !remedy.commands.contains(&command) {
                remedy.commands.push(command);
            }
        }
        remedy
    }
}

#[cfg(test)]
#[path = "cgroup_delegation_tests.rs"]
mod tests;
