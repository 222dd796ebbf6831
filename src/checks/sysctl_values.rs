//! Whether a sysctl has a wanted value, now and at the next boot: see [`SYSCTL_VALUES`]. Checks that
//! own keys judge them with [`judge_all`], too.

use crate::checks::beaten::{InPlace, in_place, rewrite};
use crate::checks::check;
use crate::checks::{
    bridge_netfilter, inotify_limits, ip_forward, key_limits, namespace_limits, ping_group_range, rp_filter,
    unprivileged_ports, userns_clone, userns_limit,
};
use crate::facts::modules::Resolution;
use crate::facts::sysctl::{Configured, PROCPS_FILE};
use crate::facts::sysctl_rules::path_of;
use crate::facts::{Evidence, Facts, Sourced};
use crate::finding::{Finding, Level, Needs, Outcome, Remedy, Verdict};
use crate::host::{Fact, Unread};
use crate::requirements::{Demand, Requirements, SysctlRule, SysctlWant, Want};
use crate::settings::{SYSCTL_FILE, Setting};

/// Whether every kernel that counts has the module built in, so that nothing has to load it.
fn is_built_in(facts: &Facts, module: &str) -> bool {
    let in_kernel = |release: &str| {
        facts
            .resolve_modules(release, &[module])
            .is_ok_and(|found| matches!(found.get(module), Some(Resolution::BuiltIn { .. })))
    };
    facts
        .counting_kernels()
        .is_ok_and(|kernels| !kernels.is_empty() && kernels.iter().all(|kernel| in_kernel(&kernel.release)))
}

check! {
    /// Other sysctls that a profile or site wants
    ///
    /// ## What is looked at
    ///
    /// Every key that a profile or the site file wants and that has no check of its own: its value
    /// in `/proc/sys`, and the value that `systemd-sysctl.service` gives it at boot from the files in
    /// `sysctl.d`, or the kernel from `sysctl.KEY=VALUE` on its command line.
    ///
    /// ## Why it matters
    ///
    /// The two differ more often than not: a value set by hand is lost at the next boot, a file that
    /// was written is not in effect before it is applied, and a hardening file that sorts later wins
    /// over both. `/etc/sysctl.conf` is read by `sysctl --system`, not by systemd, unless the
    /// distribution links it into `sysctl.d`.
    ///
    /// ## Repair
    ///
    /// A line in `/etc/sysctl.d/90-rootless.conf`, applied with `sysctl --system`. Where a file that
    /// sorts later sets the key, that file has to be changed; where it is a link, as `99-sysctl.conf` on
    /// Debian up to 12, Ubuntu and Fedora is to `/etc/sysctl.conf`, what it leads to.
    ///
    /// ## Sources
    ///
    /// - sysctl.d(5), "Configuration Directories and Precedence"
    /// - systemd: src/sysctl/sysctl.c
    /// - procps: src/sysctl.c, `PreloadSystem`
    SYSCTL_VALUES, "sysctl-values", Required, Host(run)
}

/// The keys of other checks.
const OWNED: [&[&str]; 10] = [
    &bridge_netfilter::KEYS,
    &inotify_limits::KEYS,
    &ip_forward::KEYS,
    &key_limits::KEYS,
    &namespace_limits::KEYS,
    &ping_group_range::KEYS,
    &rp_filter::KEYS,
    &unprivileged_ports::KEYS,
    &userns_clone::KEYS,
    &userns_limit::KEYS,
];

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let mut outcome = Outcome::default();
    for key in req.other_sysctls(&OWNED.concat()) {
        judge(facts, req, key, &mut outcome);
    }
    outcome.or_skip("nothing more is asked for")
}

/// The outcome of a check of these keys and of nothing else.
pub(super) fn judge_all(facts: &Facts, req: &Requirements, keys: &[&str]) -> Outcome {
    let mut outcome = Outcome::default();
    for key in keys {
        judge(facts, req, key, &mut outcome);
    }
    outcome.or_skip("no chosen stack asks for it")
}

/// Judges all that is wanted of a key.
pub(super) fn judge(facts: &Facts, req: &Requirements, key: &str, outcome: &mut Outcome) {
    if let Some(want) = req.sysctls.get(key) {
        judge_want(facts, key, want, outcome);
    }
}

/// Judges a key by requirements that a check has made more precise.
pub(super) fn judge_want(facts: &Facts, key: &str, want: &SysctlWant, outcome: &mut Outcome) {
    for Want { value: rule, demand } in &want.rules {
        Wanted::new(key, want, rule).judge(facts, demand, outcome);
    }
}

/// A value that satisfies everybody, so that two findings do not ask for two values.
fn value_to_set(want: &SysctlWant, rule: &SysctlRule) -> String {
    let values = want.set.iter().cloned().chain(want.rules.iter().map(|w| w.value.value()));
    let mut all = values.filter(|value| want.rules.iter().all(|w| w.value.allows(value)));
    all.next().unwrap_or_else(|| rule.value())
}

/// One condition on one sysctl.
pub(super) struct Wanted<'a> {
    /// The key, with dots.
    pub(super) key: &'a str,
    /// The condition in words.
    pub(super) expected: String,
    /// Whether a value satisfies it.
    pub(super) allows: Box<dyn Fn(&str) -> bool + 'a>,
    /// What the kernel starts with; `None` where that is not known.
    pub(super) by_default: Option<Start>,
    /// The value to write.
    pub(super) set: String,
    /// The module without which the key does not exist.
    pub(super) module: Option<&'a str>,
    /// Whether a kernel without the key has nothing to restrict.
    pub(super) absent_is_met: bool,
}

/// The value that the kernel starts with.
pub(super) struct Start {
    /// Whether it satisfies the condition.
    pub(super) met: bool,
    /// The value, as far as it is known.
    pub(super) value: String,
}

/// Why a condition cannot be judged.
struct Doubt {
    why: String,
    /// It is satisfied now, and only what comes at the next boot is not known.
    in_effect: bool,
}

impl From<Unread> for Doubt {
    fn from(why: Unread) -> Doubt {
        Doubt { why: why.to_string(), in_effect: false }
    }
}

impl<'a> Wanted<'a> {
    /// What one rule of `want` asks of a key.
    pub(super) fn new(key: &'a str, want: &'a SysctlWant, rule: &'a SysctlRule) -> Wanted<'a> {
        let at_least = |known: u64| {
            let met = matches!(rule, SysctlRule::AtLeast(n) if *n <= known);
            met.then(|| Start { met, value: format!("at least {known}") })
        };
        Wanted {
            key,
            expected: rule.to_string(),
            allows: Box::new(|value| rule.allows(value)),
            by_default: match &want.default {
                Some(value) => Some(Start { met: rule.allows(value), value: value.clone() }),
                None => want.default_at_least.and_then(at_least),
            },
            set: value_to_set(want, rule),
            module: want.module.as_deref(),
            absent_is_met: want.absent_is_met,
        }
    }

    /// Judges the condition for who made this demand.
    pub(super) fn judge(&self, facts: &Facts, demand: &Demand, outcome: &mut Outcome) {
        match self.look(facts) {
            Ok(finding) => outcome.add(demand, finding),
            // As with what is volatile: it blocks nothing today.
            Err(doubt) if doubt.in_effect => {
                let demand = Demand { level: Level::Advised, ..demand.clone() };
                outcome.unknown(&demand, self.key, format!("in effect now, but {}", doubt.why));
            }
            Err(doubt) => outcome.unknown(demand, self.key, doubt.why),
        }
    }

    fn look(&self, facts: &Facts) -> Result<Finding, Doubt> {
        let configured = facts.sysctl_configured(self.key);
        if !facts.running() {
            return self.in_image(facts, configured?.as_ref());
        }
        match facts.sysctl(self.key) {
            Ok(now) => self.now(facts, &now, configured),
            Err(Unread::Absent { .. }) => self.absent(facts, configured),
            Err(why) => Err(why.into()),
        }
    }

    fn in_image(&self, facts: &Facts, configured: Option<&Configured>) -> Result<Finding, Doubt> {
        let mut loaded_at = None;
        if let Some(module) = self.module.filter(|module| !is_built_in(facts, module)) {
            let Some(load) = facts.modules_load().find(module)?.cloned() else {
                let none = Evidence::path(
                    "/etc/modules-load.d",
                    format!("no line {module}, nor in /run or /usr/lib"),
                );
                let found = format!("nothing loads {module}");
                let at = std::iter::once(none).chain(self.evidence(facts, None, configured, false));
                let finding = Finding::new(self.key, &self.expected, found, Verdict::Unmet).at(at);
                return Ok(finding.repair(self.repair_module(facts, module, configured)));
            };
            loaded_at = Some(load.at);
        }
        let (met, found, starts_at) = match (configured, &self.by_default) {
            (Some(c), _) => ((self.allows)(&c.value), c.value.clone(), None),
            (None, Some(start)) => {
                let text = format!("the kernel starts with {}", start.value);
                (start.met, start.value.clone(), Some(Evidence::path(&self.path(), text)))
            }
            (None, None) => {
                let why =
                    "nothing sets it, and what the kernel starts with depends on the machine".to_owned();
                return Err(Doubt { why, in_effect: false });
            }
        };
        let at = self.evidence(facts, starts_at, configured, false).into_iter().chain(loaded_at);
        let finding = Finding::new(self.key, &self.expected, found, Verdict::met_if(met)).at(at);
        Ok(finding.repair(self.repair(facts, configured, met)))
    }

    fn now(
        &self,
        facts: &Facts,
        now: &Sourced<String>,
        configured: Fact<Option<Configured>>,
    ) -> Result<Finding, Doubt> {
        let in_effect = (self.allows)(&now.value);
        let configured = match configured {
            Ok(configured) => configured,
            Err(why) if in_effect => return Err(Doubt { why: why.to_string(), in_effect }),
            // What the file says decides over how it is repaired, not over what is wrong.
            Err(_) => None,
        };
        let at_boot = match &configured {
            Some(c) => (self.allows)(&c.value),
            None => in_effect && self.by_default.as_ref().is_none_or(|start| start.met),
        };
        let verdict = Verdict::of(at_boot, Some(in_effect), Needs::None);
        let next = match (&configured, &self.by_default) {
            (Some(c), _) => c.value.as_str(),
            (None, start) => start.as_ref().map_or("", |start| start.value.as_str()),
        };
        let found = match verdict {
            Verdict::Met | Verdict::Unmet => now.value.clone(),
            Verdict::Pending(_) | Verdict::Volatile => format!("{} now, {next} at the next boot", now.value),
        };
        let cause_is_configured = configured.is_some() && !at_boot;
        let at = self.evidence(facts, Some(now.at.clone()), configured.as_ref(), cause_is_configured);
        let finding = Finding::new(self.key, &self.expected, found, verdict).at(at);
        Ok(finding.repair(self.repair(facts, configured.as_ref(), at_boot)))
    }

    /// The kernel has no such key now.
    fn absent(&self, facts: &Facts, configured: Fact<Option<Configured>>) -> Result<Finding, Doubt> {
        // With subset=pid there is no /proc/sys, which says nothing of the kernel (proc(5)).
        facts.stat("/proc/sys/kernel")?;
        let at = Evidence::path(&self.path(), "does not exist");
        let finding = |found: &str, verdict| Finding::new(self.key, &self.expected, found, verdict).at([at]);
        if self.absent_is_met {
            return Ok(finding("this kernel has no such switch", Verdict::Met));
        }
        let Some(module) = self.module else {
            let remedy = Remedy::manual("run a kernel that has it");
            return Ok(finding("this kernel has no such key", Verdict::Unmet).repair(remedy));
        };
        let configured = configured?;
        let load = facts.modules_load().find(module)?.cloned();
        let at_boot = load.is_some() && self.right_at_boot(configured.as_ref());
        let waits = facts.modules_wait_for_boot()?;
        let needs = if waits { Needs::Reboot } else { Needs::None };
        let verdict = Verdict::of(at_boot, Some(false), needs);
        let mut remedy = self.repair_module(facts, module, configured.as_ref());
        match (load.is_some(), waits) {
            (true, true) if at_boot => remedy = Remedy::manual("reboot").command("sudo reboot"),
            (true, true) => drop(remedy.settings.remove(0)),
            (true, false) => remedy.settings[0] = Setting::ModuleInEffect(module.to_owned()),
            (false, _) => {}
        }
        let at = self.evidence(facts, load.map(|load| load.at), configured.as_ref(), false);
        Ok(finding(&format!("{module} is not loaded"), verdict).at(at).repair(remedy))
    }

    /// Whether the key has a right value once its module is loaded at boot.
    fn right_at_boot(&self, configured: Option<&Configured>) -> bool {
        match configured {
            Some(c) => (self.allows)(&c.value),
            None => self.by_default.as_ref().is_some_and(|start| start.met),
        }
    }

    fn path(&self) -> String {
        format!("/proc/sys/{}", path_of(self.key))
    }

    /// What was read, the decisive place first.
    fn evidence(
        &self,
        facts: &Facts,
        now: Option<Evidence>,
        configured: Option<&Configured>,
        configured_first: bool,
    ) -> Vec<Evidence> {
        let winner = configured.map(|c| c.at.clone());
        let mut at: Vec<Evidence> =
            if configured_first { [winner, now] } else { [now, winner] }.into_iter().flatten().collect();
        at.extend(configured.iter().flat_map(|c| c.shadows.iter().rev().cloned()));
        at.extend(self.procps(facts, configured).map(|other| other.at));
        at
    }

    /// What `sysctl --system` gives the key, where systemd gives it something else or nothing.
    fn procps(&self, facts: &Facts, configured: Option<&Configured>) -> Option<Sourced<String>> {
        match configured {
            Some(c) => c.procps_differs.clone().ok().flatten(),
            None => facts.sysctl_procps(self.key).ok().flatten(),
        }
    }

    fn setting(&self, value: &str) -> Setting {
        Setting::Sysctl { key: self.key.to_owned(), value: value.to_owned() }
    }

    /// The key comes with its module, and its value has to be set only where it would be a wrong one.
    fn repair_module(&self, facts: &Facts, module: &str, configured: Option<&Configured>) -> Remedy {
        let load = format!("load {module}, which brings the key");
        let mut remedy = if self.right_at_boot(configured) {
            Remedy::manual(load)
        } else {
            let value = self.repair(facts, configured, false);
            Remedy { summary: format!("{load}, and {}", value.summary), ..value }
        };
        remedy.settings.insert(0, Setting::Module(module.to_owned()));
        remedy
    }

    fn repair(&self, facts: &Facts, configured: Option<&Configured>, at_boot: bool) -> Remedy {
        let procps = self.procps(facts, configured);
        if let Some(c) = configured.filter(|_| at_boot) {
            let summary = match procps.filter(|other| !(self.allows)(&other.value)) {
                Some(other) => format!(
                    "apply what is configured, not with sysctl --system, which would apply {} last",
                    other.at
                ),
                None => "apply what is configured".to_owned(),
            };
            // Another file that says the same would only be one more to change.
            let setting = Setting::SysctlInEffect { key: self.key.to_owned(), value: c.value.clone() };
            return Remedy::setting(summary, setting);
        }
        if let Some(c) = configured.filter(|c| beats_ours(&c.at.path)) {
            return self.repair_in_place(facts, c);
        }
        let mut summary = format!("set {} to {}", self.key, self.set);
        if let Some(other) = procps.filter(|other| (self.allows)(&other.value)) {
            let at = other.at;
            summary.push_str(&format!("; {at} does not count: only sysctl --system reads it, and last"));
        }
        let mut remedy = Remedy::setting(summary, self.setting(&self.set));
        if let Some(at) = self.applied_last(facts) {
            remedy
                .summary
                .push_str(&format!("; {at} has to be changed, too: only sysctl --system reads it, and last"));
            remedy.commands.extend(rewrite(facts, &at.path, &at, &self.line(), None));
            if facts.running() {
                remedy = remedy.command(format!("sudo sysctl -p {PROCPS_FILE}"));
            }
        }
        remedy
    }

    /// The line of `/etc/sysctl.conf` with which `sysctl --system` would end, where its value is a wrong
    /// one.
    fn applied_last(&self, facts: &Facts) -> Option<Evidence> {
        let last = facts.sysctl_procps(self.key).ok().flatten()?;
        (&*last.at.path == PROCPS_FILE && !(self.allows)(&last.value)).then_some(last.at)
    }

    /// Nothing that we write wins over this file.
    fn repair_in_place(&self, facts: &Facts, winner: &Configured) -> Remedy {
        let InPlace { file, what, make } = in_place(facts, &winner.at);
        let order = match &*winner.at.path {
            PROCPS_FILE => format!("is read after {SYSCTL_FILE}"),
            _ => format!("sorts after {SYSCTL_FILE}"),
        };
        let mut remedy = Remedy::manual(format!("change {what}, which {order} and wins over it"));
        remedy.commands = make;
        remedy.commands.extend(rewrite(facts, &file, &winner.at, &self.line(), None));
        // Debian's link has led there already.
        if let Some(last) = self.applied_last(facts).filter(|last| *last.path != *file) {
            remedy.summary.push_str(&format!("; {last} as well, which sysctl --system applies last"));
            remedy.commands.extend(rewrite(facts, &last.path, &last, &self.line(), None));
        }
        if facts.running() { remedy.command("sudo sysctl --system") } else { remedy }
    }

    fn line(&self) -> String {
        format!("{} = {}", self.key, self.set)
    }
}

/// Whether a file is applied after ours: one of sysctl.d by its name; `/etc/sysctl.conf`, where it counts
/// at boot at all, comes last. `/proc/cmdline` is applied before any.
fn beats_ours(path: &str) -> bool {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    path == PROCPS_FILE || path.contains("/sysctl.d/") && name(path) > name(SYSCTL_FILE)
}

#[cfg(test)]
#[path = "sysctl_values_tests.rs"]
mod tests;
