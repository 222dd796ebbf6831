//! Whether the slices of a user leave enough memory and processors: see [`USER_RESOURCES`].

use std::collections::BTreeSet;

use crate::checks::check;
use crate::facts::cgroup::Hierarchy;
use crate::facts::slice_resources::{Bound, SliceResources};
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, Sourced};
use crate::finding::{Finding, Level, Needs, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::Requirements;

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
    /// The limit is raised, or taken out of the file that sets it. systemd applies it when it is
    /// reloaded.
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
    let limits = Limits { configured: facts.slice_resources(user.uid)?, now };
    let slice = format!("user-{}.slice", user.uid);
    let online = if facts.running() && !req.cpus.is_empty() { Some(facts.cpus()?.value) } else { None };
    for want in &req.memory_bytes {
        let enough = want.value - want.value / KEPT_FRACTION;
        let finding = limits.finding(
            facts,
            &slice,
            "MemoryMax",
            &Measure {
                enough,
                expected: format!("at least {} MiB", want.value / MIB),
                shown: |bytes| format!("{} MiB", bytes / MIB),
                least: SliceResources::least_memory,
            },
        );
        outcome.add(&want.demand, finding);
    }
    for want in &req.cpus {
        let quota = limits.finding(
            facts,
            &slice,
            "CPUQuota",
            &Measure {
                enough: want.value * THOUSANDTHS,
                expected: format!("at least {}%", want.value * 100),
                shown: |quota| format!("{}%", quota / 10),
                least: SliceResources::least_quota,
            },
        );
        // Less time makes it slow. What is counted are processors.
        let mut advised = want.demand.clone();
        advised.level = Level::Advised;
        outcome.add(&advised, quota);
        outcome.add(&want.demand, limits.processors(facts, &slice, want.value, online));
    }
    Ok(Ok(()))
}

struct Limits {
    configured: SliceResources,
    now: Option<SliceResources>,
}

/// What is enough of something, and how it is read and written.
struct Measure {
    enough: u64,
    expected: String,
    shown: fn(u64) -> String,
    least: fn(&SliceResources) -> Option<&Bound>,
}

impl Limits {
    fn finding(&self, facts: &Facts, slice: &str, directive: &str, measure: &Measure) -> Finding {
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
        finding(facts, subject, &measure.expected, verdict, now.map(shown), &shown(configured), at)
    }

    fn processors(&self, facts: &Facts, slice: &str, wanted: u64, online: Option<u32>) -> Finding {
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
        let subject = format!("AllowedCPUs of {slice}");
        finding(
            facts,
            subject,
            &format!("at least {wanted}"),
            verdict,
            now.map(shown),
            &shown(configured),
            at,
        )
    }
}

fn finding(
    facts: &Facts,
    subject: String,
    expected: &str,
    verdict: Verdict,
    now: Option<String>,
    configured: &str,
    at: impl Iterator<Item = Evidence>,
) -> Finding {
    let found = match now {
        Some(now) if matches!(verdict, Verdict::Pending(_) | Verdict::Volatile) => {
            format!("{now} now, {configured} once systemd is reloaded")
        }
        Some(now) => now,
        None => configured.to_owned(),
    };
    let mut places: Vec<Evidence> = Vec::new();
    for place in at {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let file = places.iter().find(|place| !place.path.starts_with("/sys/"));
    let remedy = match (verdict, file) {
        (Verdict::Pending(_), _) | (_, None) => {
            Remedy::manual("have systemd take on the limits that are configured")
        }
        (_, Some(file)) => Remedy::manual(format!("raise the limit in {file}, or take it out")),
    };
    let remedy = if facts.running() { remedy.command("sudo systemctl daemon-reload") } else { remedy };
    Finding::new(subject, expected, found, verdict).at(places).repair(remedy)
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
        let remedy = &findings(&outcome)[2].remedy;
        assert_eq!(remedy.summary, format!("raise the limit in {DROP_IN}:4, or take it out"));
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
        assert_eq!(finding.remedy.commands, ["sudo systemctl daemon-reload"]);
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
