//! Whether the slices of a user leave enough memory and processors: see [`USER_RESOURCES`].

use std::collections::BTreeSet;

use crate::checks::beaten::{beats, change_unit, undone};
use crate::checks::check;
use crate::facts::cgroup::Hierarchy;
use crate::facts::slice_resources::{Bound, SliceResources};
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, Sourced};
use crate::finding::{Finding, Level, Needs, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::Requirements;
use crate::settings::{Setting, by_hand, unit_drop_in};

check! {
    /// Slices of the user leave enough memory and processors
    ///
    /// ## What is looked at
    ///
    /// `MemoryMax=`, `MemoryHigh=`, `CPUQuota=` and `AllowedCPUs=` of `user.slice`, `user-UID.slice` and
    /// `user@UID.service` with their drop-ins, and what the control groups of these units have now:
    /// `memory.max`, `memory.high`, `cpu.max`, `cpuset.cpus.effective`. The least counts, against what
    /// the stack asks of a machine; of memory, one eighth less is enough, as for memory-size.
    ///
    /// ## Why it matters
    ///
    /// Whatever a user runs has the limits of these units, however large the machine is. At
    /// `MemoryMax=` the kernel kills a process of the cluster, above `MemoryHigh=` it slows all of them
    /// down until nothing answers in time; no message names the slice. kubeadm and minikube count the
    /// processors that they may use, and refuse to start on one.
    ///
    /// ## Repair
    ///
    /// A drop-in of that unit that takes the limit back, for all users where the unit is a user's. Where
    /// another one sorts later, that one is changed. systemd applies it when it is reloaded and something
    /// starts in the user's slice. Where a limit is there for the sake of others on the machine, it is
    /// raised by hand instead, and what is left waived.
    ///
    /// ## Sources
    ///
    /// - systemd.resource-control(5), "MemoryMax=", "CPUQuota=", "AllowedCPUs="
    /// - Linux: Documentation/admin-guide/cgroup-v2.rst, "Memory", "CPU", "Cpuset"
    /// - systemd: src/core/unit-serialize.c, `unit_invalidate_cgroup` after a reload
    USER_RESOURCES, "user-resources", Required, User(run)
}

const MIB: u64 = 1 << 20;
/// As for `memory-size`: what the kernel keeps of a machine of the size that is asked for.
const KEPT_FRACTION: u64 = 8;
/// In a processor: the unit of a quota.
const THOUSANDTHS: u64 = 1000;

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    if req.memory_bytes.is_empty() && req.cpus.is_empty() {
        return Outcome::not_asked();
    }
    let mut outcome = Outcome::default();
    let looked = look(facts, req, user, &mut outcome);
    match looked {
        Ok(Ok(())) => outcome,
        Ok(Err(reason)) => Outcome::skip(reason),
        Err(why) => {
            let slice = format!("user-{}.slice", user.uid);
            for want in req.memory_bytes.iter().chain(&req.cpus) {
                outcome.unknown(&want.demand, &slice, &why);
            }
            outcome
        }
    }
}

fn look(
    facts: &Facts,
    req: &Requirements,
    user: &User,
    outcome: &mut Outcome,
) -> Fact<Result<(), &'static str>> {
    let mut now = None;
    if facts.running() {
        let hierarchy = facts.cgroup_hierarchy()?;
        if hierarchy.as_ref().as_ref().is_none_or(|found| found.value != Hierarchy::Unified) {
            return Ok(Err("there is no cgroup v2 hierarchy: see cgroup-version"));
        }
        now = facts.slice_resources_in_effect(user.uid)?;
    }
    let limits = Limits { facts, user, configured: facts.slice_resources(user.uid)?, now };
    let slice = format!("user-{}.slice", user.uid);
    let online = if facts.running() && !req.cpus.is_empty() { Some(facts.cpus()?.value) } else { None };
    for want in &req.memory_bytes {
        let enough = want.value - want.value / KEPT_FRACTION;
        let finding = limits.finding(
            &slice,
            "MemoryMax",
            &Measure {
                enough,
                expected: format!("at least {} MiB", want.value / MIB),
                shown: |bytes| format!("{} MiB", bytes / MIB),
                least: SliceResources::least_memory,
                all: |resources| &resources.memory,
            },
        )?;
        outcome.add(&want.demand, finding);
    }
    for want in &req.cpus {
        let quota = limits.finding(
            &slice,
            "CPUQuota",
            &Measure {
                enough: want.value * THOUSANDTHS,
                expected: format!("at least {}%", want.value * 100),
                shown: |quota| format!("{}%", quota / 10),
                least: SliceResources::least_quota,
                all: |resources| &resources.quota,
            },
        )?;
        // Less time makes it slow. What is counted are processors.
        let mut advised = want.demand.clone();
        advised.level = Level::Advised;
        outcome.add(&advised, quota);
        outcome.add(&want.demand, limits.processors(&slice, want.value, online)?);
    }
    Ok(Ok(()))
}

struct Limits<'a> {
    facts: &'a Facts,
    user: &'a User,
    configured: SliceResources,
    now: Option<SliceResources>,
}

/// What is enough of something, and how it is read and written.
struct Measure {
    enough: u64,
    expected: String,
    shown: fn(u64) -> String,
    least: fn(&SliceResources) -> Option<&Bound>,
    all: fn(&SliceResources) -> &Vec<Bound>,
}

impl Limits<'_> {
    fn finding(&self, slice: &str, directive: &str, measure: &Measure) -> Fact<Finding> {
        let configured = (measure.least)(&self.configured);
        let now = self.now.as_ref().map(measure.least);
        let met = |bound: Option<&Bound>| bound.is_none_or(|bound| bound.limit.value >= measure.enough);
        let verdict = Verdict::of(met(configured), now.map(met), Needs::None);
        let shown =
            |bound: Option<&Bound>| bound.map_or("unlimited".to_owned(), |b| (measure.shown)(b.limit.value));
        let decides = match verdict {
            Verdict::Volatile => configured,
            _ => now.flatten().or(configured),
        };
        let subject = match decides {
            Some(bound) => format!("{} of {}", bound.directive, bound.unit),
            None => format!("{directive} of {slice}"),
        };
        let at = [decides, configured, now.flatten()].into_iter().flatten().map(|b| b.limit.at.clone());
        let found = found(verdict, now.map(shown), shown(configured));
        let finding = Finding::new(subject, &measure.expected, found, verdict).at(at);
        let all = (measure.all)(&self.configured).iter();
        self.repaired(finding, all.filter(|bound| bound.limit.value < measure.enough).collect())
    }

    fn processors(&self, slice: &str, wanted: u64, online: Option<u32>) -> Fact<Finding> {
        let count = |set: Option<&Sourced<BTreeSet<u32>>>| set.map(|set| set.value.len() as u64);
        // A machine with too few of them is for cpu-count to tell.
        let enough = online.map_or(wanted, |online| wanted.min(online.into()));
        let met = |set| count(set).is_none_or(|count| count >= enough);
        let shown = |set| count(set).map_or("unlimited".to_owned(), |count| count.to_string());
        let configured = self.configured.cpus.as_ref();
        let now = self.now.as_ref().map(|now| now.cpus.as_ref());
        let verdict = Verdict::of(met(configured), now.map(met), Needs::None);
        let decides = match verdict {
            Verdict::Volatile => configured,
            _ => now.flatten().or(configured),
        };
        let at = [decides, configured, now.flatten()].into_iter().flatten().map(|set| set.at.clone());
        let found = found(verdict, now.map(shown), shown(configured));
        let subject = format!("AllowedCPUs of {slice}");
        let finding = Finding::new(subject, format!("at least {wanted}"), found, verdict).at(at);
        let all = &self.configured.allowed;
        let mut few: Vec<&Bound> = all.iter().filter(|bound| bound.limit.value < enough).collect();
        if few.is_empty() {
            // Each leaves enough, and all together do not.
            few = all.iter().collect();
        }
        self.repaired(finding, few)
    }

    /// The finding, its places each once, with what takes these limits back.
    fn repaired(&self, mut finding: Finding, bounds: Vec<&Bound>) -> Fact<Finding> {
        let (facts, running) = (self.facts, self.facts.running());
        let in_effect = Setting::SliceTasksInEffect { uid: self.user.uid };
        let mut settings = Vec::new();
        let mut beaten: Option<Remedy> = None;
        let mut places = std::mem::take(&mut finding.evidence);
        for bound in bounds {
            let (unit, section) = template(&bound.unit);
            let (key, value) = (bound.directive, unlimited(bound.directive));
            let ours = unit_drop_in(unit);
            if beats(&bound.limit.at.path, &ours) {
                let remedy = change_unit(facts, &bound.limit.at, &ours, &format!("{key}={value}"));
                beaten = Some(match beaten {
                    None => remedy,
                    Some(mut known) => {
                        known.summary = format!("{}; {}", known.summary, remedy.summary);
                        // Of the reload, the last one is enough.
                        known.commands.retain(|command| !remedy.commands.contains(command));
                        known.commands.extend(remedy.commands);
                        known
                    }
                });
                places.push(bound.limit.at.clone());
                places.extend(undone(&*facts.unit(&bound.unit)?, section, key, &ours));
            } else {
                let (unit, value) = (unit.to_owned(), value.to_owned());
                settings.push(Setting::UnitDirective { unit, section, key, value });
            }
        }
        for place in places {
            if !finding.evidence.contains(&place) {
                finding.evidence.push(place);
            }
        }
        let summary = match finding.evidence.iter().find(|place| place.line.is_some() && is_file(place)) {
            Some(file) => format!("take back the limit of {file}"),
            None => "take the limit back".to_owned(),
        };
        let takes_effect = running && !matches!(finding.verdict, Verdict::Volatile);
        Ok(match (finding.verdict, beaten) {
            (Verdict::Met, _) => finding,
            (Verdict::Pending(_), _) => finding
                .repair(Remedy::setting("have systemd take on the limits that are configured", in_effect)),
            (_, Some(mut remedy)) => {
                settings.extend(takes_effect.then_some(in_effect));
                for command in by_hand(&settings, running) {
                    if !remedy.commands.contains(&command) {
                        remedy.commands.push(command);
                    }
                }
                finding.repair(remedy)
            }
            (_, None) => {
                settings.extend(takes_effect.then_some(in_effect));
                finding.repair(Remedy { settings, ..Remedy::manual(summary) })
            }
        })
    }
}

fn is_file(place: &Evidence) -> bool {
    !place.path.starts_with("/sys/")
}

/// The unit that a drop-in is written for, and the section of its limits.
fn template(unit: &str) -> (&str, &'static str) {
    match unit {
        "user.slice" => (unit, "Slice"),
        unit if unit.ends_with(".slice") => ("user-.slice", "Slice"),
        _ => ("user@.service", "Service"),
    }
}

/// The value with which a unit has no such limit (systemd.resource-control(5)).
fn unlimited(directive: &str) -> &'static str {
    if directive.starts_with("Memory") { "infinity" } else { "" }
}

fn found(verdict: Verdict, now: Option<String>, configured: String) -> String {
    match now {
        Some(now) if matches!(verdict, Verdict::Pending(_) | Verdict::Volatile) => {
            format!("{now} now, {configured} once systemd is reloaded")
        }
        Some(now) => now,
        None => configured,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;

    const SLICE: &str = "/sys/fs/cgroup/user.slice/user-1000.slice";
    const DROP_IN: &str = "/etc/systemd/system/user-.slice.d/50-limits.conf";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Minikube]), &edge())
    }

    /// A Debian 13 whose slices have the files of the memory, cpu and cpuset controllers.
    fn with(memory: &str, quota: &str, cpus: &str) -> TestHost {
        fixture("debian-13")
            .file("/sys/devices/system/cpu/online", "0-3\n")
            .dir(SLICE, "0755", 0)
            .file(&format!("{SLICE}/memory.max"), format!("{memory}\n"))
            .file(&format!("{SLICE}/cpu.max"), format!("{quota}\n"))
            .file(&format!("{SLICE}/cpuset.cpus.effective"), format!("{cpus}\n"))
    }

    fn unlimited() -> TestHost {
        with("max", "max 100000", "0-3")
    }

    #[test]
    fn nothing_is_limited_by_default() {
        let outcome = look_at(unlimited());
        assert_eq!(
            verdicts(&outcome),
            [
                ("MemoryMax of user-1000.slice", Verdict::Met),
                ("CPUQuota of user-1000.slice", Verdict::Met),
                ("AllowedCPUs of user-1000.slice", Verdict::Met),
            ]
        );
        let levels: Vec<Level> = outcome.items.iter().map(|item| item.level).collect();
        assert_eq!(levels, [Level::Advised, Level::Advised, Level::Required]);
        assert!(verdicts(&look_at(fixture("debian-13"))).iter().all(|(_, verdict)| *verdict == Verdict::Met));
    }

    #[test]
    fn a_drop_in_that_limits() {
        let host = with("1073741824", "100000 100000", "0")
            .file(DROP_IN, "[Slice]\nMemoryMax=1G\nCPUQuota=100%\nAllowedCPUs=0\n");
        let outcome = look_at(host);
        let found: Vec<_> = findings(&outcome).iter().map(|f| (f.verdict, &*f.found, &*f.expected)).collect();
        assert_eq!(
            found,
            [
                (Verdict::Unmet, "1024 MiB", "at least 2048 MiB"),
                (Verdict::Unmet, "100%", "at least 200%"),
                (Verdict::Unmet, "1", "at least 2"),
            ]
        );
        let at: Vec<String> = findings(&outcome)[0].evidence.iter().map(ToString::to_string).collect();
        assert_eq!(at, [format!("{SLICE}/memory.max:1"), format!("{DROP_IN}:2")]);
        let remedy = |at: usize| findings(&outcome)[at].remedy.clone();
        assert_eq!(remedy(2).summary, format!("take back the limit of {DROP_IN}:4"));
        let lifted = |key: &'static str, value: &str| {
            let unit = "user-.slice".to_owned();
            let directive = Setting::UnitDirective { unit, section: "Slice", key, value: value.to_owned() };
            [directive, Setting::SliceTasksInEffect { uid: 1000 }]
        };
        assert_eq!(remedy(0).settings, lifted("MemoryMax", "infinity"));
        assert_eq!(remedy(1).settings, lifted("CPUQuota", ""));
        assert_eq!(remedy(2).settings, lifted("AllowedCPUs", ""));
    }

    #[test]
    fn in_one_place_only() {
        let outcome = look_at(unlimited().file(DROP_IN, "[Slice]\nMemoryMax=25%\n"));
        let finding = findings(&outcome)[0];
        assert_eq!(finding.verdict, Verdict::Volatile);
        assert_eq!(finding.evidence[0].to_string(), format!("{DROP_IN}:2"));
        let outcome = look_at(with("1073741824", "max 100000", "0-3"));
        let finding = findings(&outcome)[0];
        assert_eq!(
            (finding.verdict, finding.found.as_str()),
            (Verdict::Pending(Needs::None), "1024 MiB now, unlimited once systemd is reloaded")
        );
        assert_eq!(finding.remedy.settings, [Setting::SliceTasksInEffect { uid: 1000 }]);
    }

    #[test]
    fn a_drop_in_that_a_later_file_undoes() {
        let hard = "/etc/systemd/system/user-1000.slice.d/99-hard.conf";
        let ours = "/etc/systemd/system/user-.slice.d/90-rootless.conf";
        let host = with("1073741824", "max 100000", "0-3")
            .file(ours, "[Slice]\nMemoryMax=infinity\n")
            .file(hard, "[Slice]\nMemoryMax=1G\n")
            .file("/etc/systemd/system/user.slice.d/site.conf", "[Slice]\nMemoryHigh=1G\n");
        let outcome = look_at(host);
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, finding.remedy.settings.len()), (Verdict::Unmet, 0));
        let at: Vec<String> = finding.evidence.iter().map(ToString::to_string).collect();
        assert!(at.contains(&format!("{hard}:2")) && at.contains(&format!("{ours}:2")), "{at:?}");
        let commands = &finding.remedy.commands;
        assert!(
            commands.contains(&format!("sudo sed -i '2s|.*|MemoryMax=infinity|' {hard}")),
            "{commands:?}"
        );
        assert!(commands.iter().any(|command| command.contains("site.conf")), "{commands:?}");
    }

    #[test]
    fn all_limits_that_are_too_low_are_taken_back_at_once() {
        let host = with("1073741824", "max 100000", "0-3")
            .file("/etc/systemd/system/user.slice.d/50.conf", "[Slice]\nMemoryMax=1G\n")
            .file("/etc/systemd/system/user@.service.d/50.conf", "[Service]\nMemoryHigh=1536M\n");
        let outcome = look_at(host);
        let units: Vec<String> =
            findings(&outcome)[0].remedy.settings.iter().map(|s| format!("{s:?}")).collect();
        assert_eq!(units.len(), 3);
        assert!(units[0].contains("\"user.slice\"") && units[1].contains("MemoryHigh"), "{units:?}");
    }

    #[test]
    fn a_small_machine_is_for_others_to_tell() {
        let host = with("max", "max 100000", "0").file("/sys/devices/system/cpu/online", "0\n");
        assert_eq!(verdicts(&look_at(host))[2].1, Verdict::Met);
        let almost = with("1932735283", "max 100000", "0-3").file(DROP_IN, "[Slice]\nMemoryMax=1843M\n");
        assert_eq!(verdicts(&look_at(almost))[0].1, Verdict::Met);
    }

    #[test]
    fn an_image_has_what_is_configured() {
        let image = |text: &str| unlimited().file(DROP_IN, text).image();
        let outcome = look_at(image("[Slice]\nMemoryHigh=1G\n"));
        let finding = findings(&outcome)[0];
        assert_eq!(
            (finding.subject.as_str(), finding.verdict),
            ("MemoryHigh of user-1000.slice", Verdict::Unmet)
        );
        assert!(finding.remedy.commands.is_empty());
        assert_eq!(unknown(&look_at(image("[Slice]\nMemoryMax=50%\n"))).len(), 2);
    }

    #[test]
    fn unknown_and_skipped() {
        let denied = unlimited().error(&format!("{SLICE}/memory.max"), "denied");
        assert_eq!(unknown(&look_at(denied)).len(), 2);
        assert!(look_at(fixture("debian-13-hybrid")).skipped.is_some());
        assert!(run(&unlimited().facts(), &requirements(&[Stack::Podman]), &edge()).skipped.is_some());
    }
}
