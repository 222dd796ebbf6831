//! Whether modules are kept from being loaded: see [`MODULE_BLACKLIST`].

use std::collections::BTreeMap;

use crate::checks::{boot_remedy, check};
use crate::facts::kernel::Kernel;
use crate::facts::modprobe::ModprobeConfig;
use crate::facts::module_obstacle::{Obstacle, ObstacleKind};
use crate::facts::module_state::ModuleState;
use crate::facts::modules::ModuleFile;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent};
use crate::requirements::{Demand, ModuleWant, Requirements, Stack};
use crate::settings::Setting;
use crate::settings::quoted;

check! {
    /// Nothing keeps wanted modules from being loaded
    ///
    /// ## What is looked at
    ///
    /// For each wanted module that is not built in: `blacklist` and `install` in modprobe.d,
    /// `modprobe.blacklist=` and `module_blacklist=` on the kernel command line, now and at the next boot,
    /// and `kernel.modules_disabled`. They differ in what they stop:
    ///
    /// - `install NAME /bin/false` or `/bin/true` stops every load through modprobe, also of modules
    ///   that need NAME; `module_blacklist=NAME` stops every load whatsoever.
    /// - `blacklist NAME` stops modules-load.d and the kernel's own requests, which are by alias. It
    ///   does not stop `modprobe NAME`, nor a module that needs NAME, nor iptables tables, which the
    ///   kernel requests by name.
    /// - `kernel.modules_disabled=1` stops every load until the next boot. Where it is set at boot,
    ///   only what modules-load.d names is loaded before.
    ///
    /// A module that is loaded in spite of them works until it is needed after the next boot, and is
    /// reported as volatile.
    ///
    /// ## Why it matters
    ///
    /// Hardening guides have such lines for modules that containers use. What fails then is "Unknown
    /// device type" for vxlan, or "Failed to open() /dev/net/tun: No such device" for every
    /// `podman run`.
    ///
    /// ## Repair
    ///
    /// Take the line out. A file of the vendor's in `/usr/lib/modprobe.d` is replaced by one of the
    /// same name in `/etc/modprobe.d`.
    ///
    /// ## Sources
    ///
    /// - modprobe.d(5), modprobe(8), kernel-command-line(7)
    /// - Linux: Documentation/admin-guide/kernel-parameters.txt, "module_blacklist="
    /// - Linux: Documentation/admin-guide/sysctl/kernel.rst, "modules_disabled"
    MODULE_BLACKLIST, "module-blacklist", Required, Host(run)
}

const EXPECTED: &str = "nothing in the way";
const DISABLED: &str = "kernel.modules_disabled";
/// The tables of legacy iptables, which the kernel requests by their names
/// (`xt_request_find_table_lock()` in `net/netfilter/x_tables.c`).
const REQUESTED_BY_NAME: [&str; 3] = ["iptable_", "ip6table_", "arptable_"];

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    if req.modules.is_empty() {
        return Outcome::skip("no chosen stack asks for a module");
    }
    let names: Vec<&str> = req.modules.keys().map(String::as_str).collect();
    let mut outcome = Outcome::default();
    let kernels = facts.counting_kernels();
    if kernels.as_ref().is_ok_and(Vec::is_empty) {
        return Outcome::skip("no kernel is installed in this image");
    }
    let wanted = kernels.and_then(|kernels| Wanted::read(facts, req, &kernels, &names));
    for (name, want) in &req.modules {
        for (demands, at_boot) in [(&want.loaded, true), (&want.on_demand, false)] {
            for demand in demands {
                let looked = wanted.as_ref().map_err(Clone::clone);
                match looked.and_then(|wanted| wanted.look(facts, name, demand, at_boot)) {
                    Ok(Some(Ok(finding))) => outcome.add(demand, finding),
                    Ok(Some(Err(doubt))) => outcome.unknown(demand, name, doubt),
                    // Another kernel lacks it: module-available tells.
                    Ok(None) => {}
                    Err(why) => outcome.unknown(demand, name, why),
                }
            }
        }
    }
    outcome.or_skip("none of the wanted modules is on this kernel")
}

/// The wanted modules and where they stand, on each kernel.
struct Wanted<'a> {
    req: &'a Requirements,
    /// What modprobe and the kernel will be told at the next boot, as far as it is known.
    next: ModprobeConfig,
    modules: &'a BTreeMap<String, ModuleWant>,
    states: BTreeMap<&'a str, Vec<ModuleState>>,
}

impl<'a> Wanted<'a> {
    fn read(facts: &Facts, req: &'a Requirements, kernels: &[Kernel], names: &[&'a str]) -> Fact<Wanted<'a>> {
        let mut states: BTreeMap<&str, Vec<ModuleState>> = BTreeMap::new();
        for &name in names {
            for kernel in kernels {
                states.entry(name).or_default().push(facts.module_state(kernel, names, name)?);
            }
        }
        let config = facts.modprobe_config()?;
        let looked = facts.boot(&req.boot);
        let next = match looked.as_deref() {
            Ok(Ok(boot)) => config.with_words(&boot.words()),
            _ => (*config).clone(),
        };
        Ok(Wanted { req, next, modules: &req.modules, states })
    }

    /// The finding on a module for who made `demand`, or what leaves it open; `None` where there is no
    /// such module.
    fn look(
        &self,
        facts: &Facts,
        name: &str,
        demand: &Demand,
        at_boot: bool,
    ) -> Fact<Option<Result<Finding, String>>> {
        let states = self.states.get(name).map_or(&[][..], Vec::as_slice);
        let finding = |found: &str, verdict| Finding::new(name, EXPECTED, found, verdict);
        let mut met = None;
        for state in states {
            let (files, loaded_at) = match state {
                ModuleState::BuiltIn(at) => {
                    met = met.or_else(|| Some(finding("built in", Verdict::Met).at([at.clone()])));
                    continue;
                }
                ModuleState::Loaded(at, files) => (files, Some(at)),
                ModuleState::Loadable(files) => (files, None),
                ModuleState::Missing(..) | ModuleState::Unseen => continue,
            };
            let in_the_way = |config: &ModprobeConfig| self.obstacle(config, files, demand, at_boot);
            let (now, next) = (in_the_way(&*facts.modprobe_config()?), in_the_way(&self.next));
            if let Some(obstacle) = next.as_ref().or(now.as_ref()) {
                // With the module that is kept out loaded, this one loads for now.
                let now = facts.running()
                    && (now.is_none()
                        || loaded_at.is_some()
                        || facts.loaded_modules()?.get(&obstacle.module).is_some());
                if obstacle.kind == ObstacleKind::OtherCommand {
                    if now {
                        continue;
                    }
                    let Evidence { text, .. } = &obstacle.at;
                    return Ok(Some(Err(format!(
                        "{}: whether \"{text}\" loads it cannot be told",
                        obstacle.at
                    ))));
                }
                let finding = match next.is_some() {
                    true => kept_out(facts, self.req, name, obstacle, now),
                    false if now => {
                        met = Some(finding(EXPECTED, Verdict::Met).at(loaded_at.cloned()));
                        continue;
                    }
                    false => finding(&obstacle.at.text, Verdict::Pending(Needs::Reboot))
                        .at([obstacle.at.clone()])
                        .repair(boot_remedy::reboot()),
                };
                return Ok(Some(Ok(finding.at(loaded_at.cloned()))));
            }
            if let Some(finding) = disabled(facts, name, loaded_at, at_boot)? {
                return Ok(Some(Ok(finding)));
            }
            if let (None, Some(why)) = (loaded_at, facts.modprobe_config()?.unread.first()) {
                return Ok(Some(Err(why.to_string())));
            }
            met = Some(finding(EXPECTED, Verdict::Met).at(loaded_at.cloned()));
        }
        Ok(met.map(Ok))
    }

    /// What keeps a module out for this demand.
    fn obstacle(
        &self,
        config: &ModprobeConfig,
        files: &[ModuleFile],
        demand: &Demand,
        at_boot: bool,
    ) -> Option<Obstacle> {
        files.iter().find_map(|file| {
            let obstacle = config.obstacle(file)?;
            if obstacle.kind != ObstacleKind::Blacklisted {
                return Some(obstacle);
            }
            let by_name = !at_boot && REQUESTED_BY_NAME.iter().any(|prefix| file.name.starts_with(prefix));
            // A module that needs this one brings it along, for those stacks that use both.
            let brought = demand.stacks.iter().all(|stack| {
                self.modules.iter().any(|(other, want)| {
                    used(want, *stack, at_boot)
                        && self
                            .files(other)
                            .any(|f| f.needs.contains(&file.name) && config.obstacle(f).is_none())
                })
            });
            (!by_name && !brought).then_some(obstacle)
        })
    }

    fn files(&self, name: &str) -> impl Iterator<Item = &ModuleFile> {
        let states = self.states.get(name).into_iter().flatten();
        states.flat_map(|state| match state {
            ModuleState::Loaded(_, files) | ModuleState::Loadable(files) => files.as_slice(),
            _ => &[],
        })
    }
}

/// Whether a stack has a module loaded at boot, or, where that is enough, when it is first used.
fn used(want: &ModuleWant, stack: Stack, at_boot: bool) -> bool {
    let has = |demands: &[Demand]| demands.iter().any(|demand| demand.stacks.contains(&stack));
    has(&want.loaded) || (!at_boot && has(&want.on_demand))
}

fn kept_out(facts: &Facts, req: &Requirements, name: &str, obstacle: &Obstacle, now: bool) -> Finding {
    let verdict = Verdict::of(false, Some(now), Needs::None);
    let mut found = obstacle.at.text.clone();
    if obstacle.module != name {
        found = format!("{found}, which it needs");
    }
    if let Some(word) = word(obstacle) {
        let remedy = boot_remedy::pass_no_more(facts, req, &word);
        return Finding::new(name, EXPECTED, found, verdict).at([obstacle.at.clone()]).repair(remedy);
    }
    let running = facts.running();
    let mut remedy = way_out(obstacle, running);
    if running && !now && !remedy.commands.is_empty() {
        remedy = remedy.command(format!("sudo modprobe {name}"));
    }
    Finding::new(name, EXPECTED, found, verdict).at([obstacle.at.clone()]).repair(remedy)
}

/// The word of the kernel command line that is in the way, with this module alone; `None` for a line of
/// modprobe.d.
fn word(obstacle: &Obstacle) -> Option<String> {
    let (name, _) = obstacle.at.text.split_once('=')?;
    let is_word = matches!(name.replace('-', "_").as_str(), "module_blacklist" | "modprobe.blacklist");
    is_word.then(|| format!("{name}={}", obstacle.module))
}

/// How the line that is in the way is taken out.
fn way_out(obstacle: &Obstacle, running: bool) -> Remedy {
    let (sudo, root) = if running { ("sudo ", "") } else { ("", "$ROOT") };
    let path = &*obstacle.at.path;
    let mut words = obstacle.at.text.split_whitespace();
    let (command, module) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    // A pattern stands for more modules than this one.
    let is_name = module.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let delete = |file: &str| {
        format!("{sudo}sed -i '/^[ \\t]*{command}[ \\t]\\+{module}\\b/d' {root}{}", quoted(file))
    };
    if path.starts_with("/etc/") || path.starts_with("/run/") {
        let remedy = Remedy::manual(format!("take the line out of {path}"));
        return if is_name { remedy.command(delete(path)) } else { remedy };
    }
    let own = format!("/etc/modprobe.d/{}", path.rsplit('/').next().unwrap_or_default());
    let remedy = Remedy::manual(format!("copy {path} to {own} and take the line out of the copy"));
    let copy = format!("{sudo}cp {root}{} {root}{}", quoted(path), quoted(&own));
    if is_name { remedy.command(copy).command(delete(&own)) } else { remedy }
}

/// What `kernel.modules_disabled` does to a module that can be loaded otherwise.
fn disabled(facts: &Facts, name: &str, loaded: Option<&Evidence>, at_boot: bool) -> Fact<Option<Finding>> {
    let is_one = |value: &str| value == "1";
    let now = match facts.running() {
        true => facts.sysctl(DISABLED).or_absent()?.filter(|now| is_one(&now.value)),
        false => None,
    };
    let configured = match facts.sysctl_configured(DISABLED) {
        // Nothing that is loaded is lost now.
        Err(_) if loaded.is_some() => None,
        configured => configured?.filter(|set| is_one(&set.value)),
    };
    // systemd-sysctl runs after systemd-modules-load, so what that loads is there in time.
    let in_time = configured.is_none() || at_boot || facts.modules_load().find(name)?.is_some();
    let verdict = match (&now, loaded, in_time) {
        (_, Some(_), true) | (None, None, true) => return Ok(None),
        (_, Some(_), false) => Verdict::Volatile,
        (Some(_), None, true) => Verdict::Pending(Needs::Reboot),
        (None, None, false) if facts.running() => Verdict::Volatile,
        (_, None, false) => Verdict::Unmet,
    };
    let remedy = match verdict {
        Verdict::Pending(_) => Remedy::manual("reboot").command("sudo reboot"),
        _ => Remedy::setting(
            "load it at boot, before modules are disabled, and reboot",
            Setting::Module(name.to_owned()),
        ),
    };
    let at = now.map(|now| now.at).into_iter().chain(configured.map(|set| set.at));
    Ok(Some(
        Finding::new(name, EXPECTED, format!("{DISABLED} = 1"), verdict)
            .at(at)
            .at(loaded.cloned())
            .repair(remedy),
    ))
}

#[cfg(test)]
#[path = "module_blacklist_tests.rs"]
mod tests;
