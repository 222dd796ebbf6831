//! Which checks decide a verdict in some scenario.

use edgeprep::checks::ALL;
use edgeprep::finding::Level;

use super::trial::Trial;

/// Required checks that no scenario shows, and why not.
pub(crate) const NOT_SHOWN: [(&str, &str); 11] = [
    ("kernel-options", "Debian's kernels have every option that is asked for"),
    ("kernel-release", "the oldest kernel here, Linux 6.1, is newer than what is asked for"),
    ("slirp4netns-version", "the oldest here, 1.2.0, is newer than what is asked for"),
    ("sysctl-values", "only profiles of a site ask for further sysctls"),
    ("systemd-init", "the lab's machines are told what to do by a service of systemd"),
    ("systemd-version", "the oldest here, 252, is newer than what is asked for"),
    ("userns-apparmor", "Ubuntu's kernel alone has `kernel.apparmor_restrict_unprivileged_userns`"),
    ("workload-manifests", "no scenario names a workload"),
    ("workload-memory", "no scenario names a workload"),
    ("workload-paths", "no scenario names a workload"),
    ("workload-privileges", "no scenario names a workload"),
];

/// What is wrong with that list after a run of all scenarios.
pub(crate) fn wrong(trials: &[Trial]) -> Vec<String> {
    let missing = neither_shown_nor_excused(trials).into_iter();
    let missing = missing.map(|id| format!("not shown: no scenario has {id} decide a verdict"));
    let stale = NOT_SHOWN.iter().filter(|(id, _)| !is_required(id) || decides(trials, id));
    missing.chain(stale.map(|(id, _)| format!("not shown: {id} needs no excuse"))).collect()
}

/// The checks on which a verdict can depend, and that decided none without a reason.
pub(crate) fn neither_shown_nor_excused(trials: &[Trial]) -> Vec<&'static str> {
    let required = ALL.iter().filter(|check| check.level == Level::Required).map(|check| check.id);
    let is_excused = |id: &str| NOT_SHOWN.iter().any(|(one, _)| *one == id);
    required.filter(|id| !is_excused(id) && !decides(trials, id)).collect()
}

fn is_required(id: &str) -> bool {
    ALL.iter().any(|check| check.id == id && check.level == Level::Required)
}

fn decides(trials: &[Trial], id: &str) -> bool {
    trials.iter().any(|trial| {
        trial.stacks.iter().any(|judged| judged.says.blockers.iter().any(|blocker| blocker == id))
            || trial.checks.iter().any(|found| found.id == id && found.finds)
    })
}
