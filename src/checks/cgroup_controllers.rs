//! Whether the kernel offers the controllers that are wanted: see [`CGROUP_CONTROLLERS`].

use crate::checks::{boot_remedy, check};
use crate::facts::boot::{Boot, Method};
use crate::facts::cgroup::{Controller, Hierarchy};
use crate::facts::kernel_cmdline::KernelCmdline;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::Requirements;

check! {
    /// The kernel offers the cgroup controllers that the stacks use
    ///
    /// ## What is looked at
    ///
    /// `cgroup.controllers` at the root of the hierarchy, for every controller that a chosen stack
    /// wants. For one that is missing: whether a cgroup v1 mount holds it, and whether the kernel
    /// command line turned it off. Of several `cgroup_disable=` and `cgroup_enable=` the last that
    /// names the controller decides. Then what the boot loader passes next time, by its own file: a
    /// reboot can be all it takes, and what is there now can be gone then. Of an image root no more
    /// is known than what the boot loader will pass. `/proc/cgroups` is not used: it says nothing of
    /// version 2, and newer kernels leave controllers out of it that are there.
    ///
    /// Only kernels of Raspberry Pi know `cgroup_enable=`. Another one says "Unknown kernel command
    /// line parameters" to its log, and leaves off what the device tree turned off: that a
    /// controller is missing which the last word turns on shows as much.
    ///
    /// ## Why it matters
    ///
    /// What the kernel does not offer cannot be delegated. A Raspberry Pi starts without the memory
    /// controller; K3s then stops with "failed to find memory cgroup (v2)", and kind says that
    /// `Delegate=yes` is missing, which is not the cause.
    ///
    /// ## Repair
    ///
    /// Correct the kernel command line and reboot: on a Raspberry Pi that is `cgroup_enable=memory`
    /// at the end of the one line that the firmware reads, in the file that this check or
    /// `kernel-arguments` names. On a kernel that does not know the word, use Raspberry Pi's own,
    /// or a device tree without `cgroup_disable=memory`. Stop what mounts cgroup v1, and reboot; or
    /// use a kernel that is built with the controller. In a container its host decides.
    ///
    /// ## Sources
    ///
    /// - Documentation/admin-guide/cgroup-v2.rst, "Controllers"
    /// - Documentation/admin-guide/kernel-parameters.txt, "cgroup_disable="
    /// - raspberrypi/linux issues 3644 and 6980, pull request 6439; raspberrypi.com, "config.txt"
    CGROUP_CONTROLLERS, "cgroup-controllers", Required, Host(run)
}

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    if req.controllers.is_empty() {
        return Outcome::not_asked();
    }
    if !facts.running() {
        return installed(facts, req);
    }
    match facts.cgroup_hierarchy() {
        Ok(hierarchy) => match hierarchy.as_ref() {
            Some(found) if found.value == Hierarchy::Unified => {}
            _ => return Outcome::skip("the host does not run with cgroup v2 alone: see cgroup-version"),
        },
        Err(why) => return unknown(req, &why),
    }
    let mut outcome = Outcome::default();
    for (&controller, demands) in &req.controllers {
        match look(facts, req, controller) {
            Ok(finding) => outcome.add_all(demands, &finding),
            Err(why) => outcome.unknown_all(demands, controller.as_str(), &why),
        }
    }
    outcome
}

/// In an image only what the boot loader will turn off is known.
fn installed(facts: &Facts, req: &Requirements) -> Outcome {
    let looked = match facts.boot(&req.boot) {
        Ok(looked) => looked,
        Err(why) => return unknown(req, &why),
    };
    let mut outcome = Outcome::default();
    for (controller, demands) in &req.controllers {
        let Ok(boot) = &*looked else { break };
        let name = controller.as_str();
        match boot.finds(|words| said(words, name).filter(|(on, _)| !on)) {
            Ok(Some((_, at))) => {
                let finding = Finding::new(name, "offered", "will be turned off", Verdict::Unmet);
                outcome.add_all(demands, &finding.at([at]).repair(turn_on(facts, req, name)));
            }
            Ok(None) => {}
            Err(why) => outcome.unknown_all(demands, name, &why),
        }
    }
    if outcome.items.is_empty() {
        return Outcome::skip("what a kernel offers is known only where it runs");
    }
    outcome
}

fn unknown(req: &Requirements, why: &dyn std::fmt::Display) -> Outcome {
    let mut outcome = Outcome::default();
    for (controller, demands) in &req.controllers {
        outcome.unknown_all(demands, controller.as_str(), why);
    }
    outcome
}

fn look(facts: &Facts, req: &Requirements, controller: Controller) -> Fact<Finding> {
    let root = facts.root_controllers()?;
    let name = controller.as_str();
    let finding = |found: &str, verdict| Finding::new(name, "offered", found, verdict);
    // An error of reading what is asked of the kernel costs a hint and not the finding.
    let looked = facts.boot(&req.boot);
    let boot = looked.as_deref().ok().and_then(|boot| boot.as_ref().ok());
    let now = facts.kernel_cmdline();
    let said_now = now.as_deref().ok().and_then(|now| said(now, name));
    if root.value.contains(&controller) {
        let next = boot.and_then(|boot| said(&boot.words(), name));
        return Ok(match next {
            Some((false, at)) if !matches!(said_now, Some((false, _))) => {
                let remedy = turn_on(facts, req, name);
                finding("offered until the next boot", Verdict::Volatile)
                    .at([at, root.at.clone()])
                    .repair(remedy)
            }
            _ => finding("offered", Verdict::Met).at([root.at.clone()]),
        });
    }
    if let Some((found, at, remedy)) = elsewhere(facts, name)? {
        return Ok(finding(found, Verdict::Unmet).at(at).at([root.at.clone()]).repair(remedy));
    }
    if now.is_err() {
        let remedy = Remedy::manual("look for cgroup_disable= on the kernel command line");
        return Ok(finding("not offered", Verdict::Unmet).at([root.at.clone()]).repair(remedy));
    }
    let Missing { verdict, found, at, remedy } = missing(facts, req, controller, boot, said_now.as_ref());
    Ok(finding(&found, verdict).at(at).at([root.at.clone()]).repair(remedy))
}

/// Who else has a controller: where it stands, what says so, and what can be done.
fn elsewhere(facts: &Facts, name: &str) -> Fact<Option<(&'static str, Option<Evidence>, Remedy)>> {
    let mounts = facts.mountinfo()?;
    let holds = |option: &String| option == name;
    if let Some(mount) =
        mounts.mounts.iter().find(|m| m.fs_type == "cgroup" && m.super_options.iter().any(holds))
    {
        let remedy = Remedy::manual(format!(
            "stop what mounts cgroup v1 at {}, then reboot: a controller is on one hierarchy only",
            mount.point
        ));
        return Ok(Some(("held by a cgroup v1 mount", Some(mount.at.clone()), remedy)));
    }
    // An error of reading where this is costs a hint and not the finding.
    if let Ok(Some(container)) = facts.container() {
        let remedy = Remedy::manual(format!(
            "have the host of this {} container delegate {name} to it",
            container.value
        ));
        return Ok(Some(("not offered to this container", Some(container.at), remedy)));
    }
    Ok(None)
}

/// Why a controller is missing, and what can be done.
struct Missing {
    verdict: Verdict,
    found: String,
    at: Option<Evidence>,
    remedy: Remedy,
}

fn missing(
    facts: &Facts,
    req: &Requirements,
    controller: Controller,
    boot: Option<&Boot>,
    now: Option<&(bool, Evidence)>,
) -> Missing {
    let name = controller.as_str();
    let unmet = |found: &str, at: Option<Evidence>, remedy| Missing {
        verdict: Verdict::Unmet,
        found: found.to_owned(),
        at,
        remedy,
    };
    let built = |at: Option<Evidence>| {
        let ignores = at.as_ref().map(|at| format!(": this one ignores {}", at.text)).unwrap_or_default();
        unmet(
            "not built into this kernel",
            at,
            Remedy::manual(format!("use a kernel with {}{ignores}", option(controller))),
        )
    };
    let by_itself = now.is_none() && turns_off_by_itself(facts, boot, controller);
    match now {
        Some((true, at)) => {
            let off = facts.kernel_cmdline().ok().and_then(|now| turned_off(&now, name));
            let Some(off) = off else { return built(Some(at.clone())) };
            let remedy = Remedy::manual(format!(
                "boot Raspberry Pi's own kernel, or with a device tree without {}: this kernel does not \
                 know {}",
                off.text, at.text
            ));
            return unmet(
                "turned off, and this kernel does not know the word that turns it on",
                Some(off),
                remedy,
            );
        }
        None if !by_itself => return built(None),
        _ => {}
    }
    let next = boot.and_then(|boot| said(&boot.words(), name));
    // A kernel of Raspberry Pi may turn it off by itself then.
    let is_gone =
        || next.is_none() && now.is_some() && boot.is_some_and(|boot| boot.method != Method::RaspberryPi);
    let turned_on = match &next {
        Some((true, at)) => Some(Some(at.clone())),
        _ => is_gone().then(|| boot.and_then(|boot| boot.at.first().cloned())),
    };
    if let Some(at) = turned_on {
        return Missing {
            verdict: Verdict::Pending(Needs::Reboot),
            found: "turned on from the next boot on".to_owned(),
            at,
            remedy: boot_remedy::reboot(),
        };
    }
    let remedy = turn_on(facts, req, name);
    let word = format!("cgroup_enable={name}");
    if let Some(unheard) =
        boot.and_then(|boot| boot.unheard.iter().find(|unheard| unheard.parameter.is(&word)))
    {
        let found = format!("turned on where nobody reads it: {}", unheard.why);
        return unmet(&found, Some(unheard.parameter.at.clone()), remedy);
    }
    match now {
        Some((_, at)) => unmet("turned off on the kernel command line", Some(at.clone()), remedy),
        None => unmet("turned off unless the kernel command line turns it on", None, remedy),
    }
}

/// Kernels of Raspberry Pi before 6.12 turn the memory controller off without a word.
fn turns_off_by_itself(facts: &Facts, boot: Option<&Boot>, controller: Controller) -> bool {
    let lacks = || {
        let config = facts.kernel_release().and_then(|release| facts.kernel_config(&release.value));
        config.is_ok_and(|config| !config.is_set("MEMCG"))
    };
    controller == Controller::Memory && is_raspberry_pi(facts, boot) && !lacks()
}

fn is_raspberry_pi(facts: &Facts, boot: Option<&Boot>) -> bool {
    if let Some(boot) = boot {
        return boot.method == Method::RaspberryPi;
    }
    let Ok(tree) = facts.device_tree() else { return false };
    tree.as_ref()
        .as_ref()
        .is_some_and(|tree| tree.compatible.iter().any(|name| name.value.starts_with("raspberrypi,")))
}

/// The firmware of a Raspberry Pi puts `cgroup_disable=memory` before what the file holds, so that
/// only a word after it turns the controller on. Elsewhere the word that turns it off is taken out.
fn turn_on(facts: &Facts, req: &Requirements, name: &str) -> Remedy {
    let looked = facts.boot(&req.boot);
    let boot = looked.as_deref().ok().and_then(|boot| boot.as_ref().ok());
    if is_raspberry_pi(facts, boot) {
        boot_remedy::pass(facts, req, &format!("cgroup_enable={name}"))
    } else {
        boot_remedy::pass_no_more(facts, req, &format!("cgroup_disable={name}"))
    }
}

/// Whether the last word on a controller turns it on, if there is one. `cgroup_enable=` is known to
/// the kernels of Raspberry Pi only.
fn said(words: &KernelCmdline, name: &str) -> Option<(bool, Evidence)> {
    let on = format!("cgroup_enable={name}");
    let last = words.deciding(&on)?;
    Some((last.is(&on), last.at.clone()))
}

/// The last word that turns a controller off, whatever comes after it.
fn turned_off(words: &KernelCmdline, name: &str) -> Option<Evidence> {
    words.items("cgroup_disable").filter(|(item, _)| *item == name).last().map(|(_, at)| at.clone())
}

/// The kernel option that builds a controller in.
fn option(controller: Controller) -> &'static str {
    match controller {
        Controller::Cpu => "CONFIG_CGROUP_SCHED and CONFIG_FAIR_GROUP_SCHED",
        Controller::Cpuset => "CONFIG_CPUSETS",
        Controller::Io | Controller::Blkio => "CONFIG_BLK_CGROUP",
        Controller::Memory => "CONFIG_MEMCG",
        Controller::Pids => "CONFIG_CGROUP_PIDS",
        Controller::Hugetlb => "CONFIG_CGROUP_HUGETLB",
        Controller::Misc => "CONFIG_CGROUP_MISC",
        Controller::Rdma => "CONFIG_CGROUP_RDMA",
        Controller::Dmem => "CONFIG_CGROUP_DMEM",
        Controller::Cpuacct => "CONFIG_CGROUP_CPUACCT",
        Controller::Devices => "CONFIG_CGROUP_DEVICE",
    }
}

#[cfg(test)]
#[path = "cgroup_controllers_tests.rs"]
mod tests;
