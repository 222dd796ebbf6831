//! Whether modules that must be loaded beforehand are: see [`MODULE_LOADED`].

use crate::checks::check;
use crate::facts::kernel::Kernel;
use crate::facts::module_obstacle::{Obstacle, ObstacleKind};
use crate::facts::module_state::ModuleState;
use crate::facts::modules::{ModuleFile, Resolution};
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::Requirements;
use crate::settings::Setting;

check! {
    /// Modules are loaded that containers cannot load
    ///
    /// ## What is looked at
    ///
    /// Each module that has to be there before a stack starts: whether it is loaded or built in, and
    /// whether it will be after the next boot, because a line of modules-load.d or `modules_load=` on
    /// the kernel command line names it, an alias of it or a module that needs it. A line for a module
    /// that modprobe.d keeps out is no such line: see module-blacklist. One that names what no kernel has
    /// costs a warning, and the rest is loaded (seen with systemd 252, 257 and 262).
    ///
    /// Modules that the kernel loads itself when they are first used are not judged here: that works
    /// from a user namespace, too, for network devices, nftables and mounts.
    ///
    /// ## Why it matters
    ///
    /// Inside a user namespace modprobe fails: "could not insert 'ip_tables': Operation not
    /// permitted". K3s, kind and the like try it all the same and go on without; what needs the
    /// module fails later, such as a pod that asks a service on its own node.
    ///
    /// ## Repair
    ///
    /// A file in `/etc/modules-load.d` with one name a line loads them at boot, `modprobe` now.
    ///
    /// ## Sources
    ///
    /// - modules-load.d(5), systemd: src/modules-load/modules-load.c
    /// - k3s: issue 2942; kind: site/content/docs/user/rootless.md
    MODULE_LOADED, "module-loaded", Required, Host(run)
}

/// The wanted state, in the notation of all findings.
const EXPECTED: &str = "loaded and configured";

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let wanted = || req.modules.iter().filter(|(_, want)| !want.loaded.is_empty());
    // All names that any check asks for, so that the lists of the kernel are searched once.
    let names: Vec<&str> = req.modules.keys().map(String::as_str).collect();
    let mut outcome = Outcome::default();
    let kernels = facts.counting_kernels();
    if kernels.as_ref().is_ok_and(Vec::is_empty) {
        return Outcome::skip("no kernel is installed in this image");
    }
    for (name, want) in wanted() {
        let looked = kernels.as_ref().map_err(Clone::clone).and_then(|all| worst(facts, all, &names, name));
        outcome.looked(&want.loaded, name, looked);
    }
    outcome.or_skip("no chosen stack wants a module loaded beforehand")
}

/// Of the findings on several kernels the first that is not met, else the first that says more than
/// that the module is built in.
fn worst(facts: &Facts, kernels: &[Kernel], names: &[&str], name: &str) -> Fact<Result<Finding, String>> {
    let mut best: Option<Finding> = None;
    for kernel in kernels {
        match look(facts, kernel, names, name)? {
            Ok(finding) if finding.verdict != Verdict::Met => return Ok(Ok(finding)),
            Ok(finding) if best.as_ref().is_none_or(|best| best.found == BUILT_IN) => best = Some(finding),
            Ok(_) => {}
            Err(doubt) => return Ok(Err(doubt)),
        }
    }
    Ok(best.ok_or_else(|| "no kernel to look at".to_owned()))
}

const BUILT_IN: &str = "built in";

/// The finding on one kernel, or what leaves it open.
fn look(facts: &Facts, kernel: &Kernel, names: &[&str], name: &str) -> Fact<Result<Finding, String>> {
    let finding = |found: &str, verdict| Finding::new(name, EXPECTED, found, verdict);
    let state = facts.module_state(kernel, names, name)?;
    let upgraded = kernel.modules_dir.is_none() && facts.kernels()?.iter().any(|other| !other.running);
    let (loaded_at, files) = match state {
        ModuleState::BuiltIn(at) => return Ok(Ok(finding(BUILT_IN, Verdict::Met).at([at]))),
        ModuleState::Loaded(at, files) => (Some(at), files),
        ModuleState::Loadable(files) => (None, files),
        ModuleState::Missing(..) | ModuleState::Unseen if upgraded => (None, Vec::new()),
        ModuleState::Missing(_, at) => {
            let remedy = Remedy::manual("make the module available first: see module-available");
            return Ok(Ok(finding("not available", Verdict::Unmet).at(at).repair(remedy)));
        }
        ModuleState::Unseen => {
            let release = &kernel.release;
            return Ok(Err(format!(
                "Linux {release} has neither a modules directory nor a readable configuration"
            )));
        }
    };
    let in_effect = facts.running().then_some(loaded_at.is_some());
    let needs = if facts.modules_wait_for_boot()? { Needs::Reboot } else { Needs::None };
    let boot = at_boot(facts, kernel, name, &files, in_effect == Some(true))?;
    let verdict = Verdict::of(matches!(boot, AtBoot::Loaded(_)), in_effect, needs);
    let (found, configured_at, remedy) = match boot {
        AtBoot::Loaded(at) => {
            let remedy = match needs {
                Needs::None => Remedy::setting("load it", Setting::ModuleInEffect(name.to_owned())),
                _ => Remedy::manual("reboot").command("sudo reboot"),
            };
            let found = match in_effect {
                Some(true) => EXPECTED,
                Some(false) => "configured but not loaded",
                None => "configured",
            };
            (found.to_owned(), vec![at], remedy)
        }
        AtBoot::Kept(obstacle, line) => {
            let remedy =
                Remedy::manual(format!("remove what keeps it out ({}), see module-blacklist", obstacle.at));
            let at = std::iter::once(obstacle.at.clone()).chain(line).collect();
            let now = match in_effect {
                Some(true) => "loaded but ",
                Some(false) => "not loaded and ",
                None => "",
            };
            (format!("{now}kept out by \"{}\"", obstacle.at.text), at, remedy)
        }
        AtBoot::Not => {
            let summary = match (in_effect, needs) {
                (None, _) => "load it at boot".to_owned(),
                (Some(_), Needs::None) => "load it now and at boot".to_owned(),
                (Some(_), _) => "load it at boot, then reboot".to_owned(),
            };
            let found = match in_effect {
                Some(true) => "loaded but not configured",
                Some(false) => "neither loaded nor configured",
                None => "not configured",
            };
            let none =
                Evidence::path("/etc/modules-load.d", format!("no line {name}, nor in /run or /usr/lib"));
            (found.to_owned(), vec![none], Remedy::setting(summary, Setting::Module(name.to_owned())))
        }
        AtBoot::Unclear(doubt) => return Ok(Err(doubt)),
    };
    Ok(Ok(finding(&found, verdict).at(configured_at).at(loaded_at).repair(remedy)))
}

/// What becomes of a module at the next boot.
enum AtBoot {
    /// This line has it loaded.
    Loaded(Evidence),
    /// This keeps it out, in spite of a line that names it, if there is one.
    Kept(Obstacle, Option<Evidence>),
    /// Nothing loads it.
    Not,
    /// It cannot be told, for this reason.
    Unclear(String),
}

fn at_boot(facts: &Facts, kernel: &Kernel, name: &str, files: &[ModuleFile], loaded: bool) -> Fact<AtBoot> {
    let load = facts.modules_load();
    let config = facts.modprobe_config()?;
    let own = |module: &str| module == name.replace('-', "_") || files.iter().any(|file| file.name == module);
    // rd.modules_load= is for a systemd in the initrd, which there may not be.
    let lines = || load.modules.iter().filter(|line| loaded || !line.value.initrd);
    let direct = lines().find(|line| own(&line.value.name)).map(|line| line.at.clone());
    let obstacle = files.iter().find_map(|file| config.obstacle(file));
    match (&direct, &obstacle) {
        (Some(at), None) => match config.unread.first() {
            Some(why) if !loaded => return Ok(AtBoot::Unclear(why.to_string())),
            _ => return Ok(AtBoot::Loaded(at.clone())),
        },
        (Some(at), Some(Obstacle { kind: ObstacleKind::OtherCommand, at: install, .. })) => {
            // That it is loaded speaks for the command.
            return Ok(match loaded {
                true => AtBoot::Loaded(at.clone()),
                false => AtBoot::Unclear(format!(
                    "{install}: whether \"{}\" loads it cannot be told",
                    install.text
                )),
            });
        }
        _ => {}
    }
    // An alias, or a module that needs it. A blacklist does not keep out what another module needs.
    if kernel.modules_dir.is_some() && !files.is_empty() {
        let listed: Vec<&str> = lines().map(|line| line.value.name.as_str()).collect();
        let resolved = facts.resolve_modules(&kernel.release, &listed)?;
        for line in lines() {
            let Some(Resolution::Loadable { files: carriers, .. }) = resolved.get(&line.value.name) else {
                continue;
            };
            let brings = |file: &ModuleFile| {
                carriers.iter().any(|c| c.name == file.name || c.needs.contains(&file.name))
            };
            if files.iter().all(brings) && carriers.iter().all(|carrier| config.obstacle(carrier).is_none()) {
                return Ok(AtBoot::Loaded(line.at.clone()));
            }
        }
    }
    match (obstacle, load.unread.first()) {
        (Some(obstacle), _) => Ok(AtBoot::Kept(obstacle, direct)),
        (None, Some(why)) => Err(why.clone()),
        (None, None) => Ok(AtBoot::Not),
    }
}

#[cfg(test)]
#[path = "module_loaded_tests.rs"]
mod tests;
