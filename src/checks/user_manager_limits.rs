//! Whether the user manager can have enough files open: see [`USER_MANAGER_LIMITS`].

use crate::checks::beaten::{beats, change_unit, undone};
use crate::checks::check;
use crate::facts::limits::{Limit, LimitKind, hard_limit};
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, Sourced};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent};
use crate::requirements::Requirements;
use crate::settings::{DELEGATE_DROP_IN, Setting};

check! {
    /// User manager can have enough files open
    ///
    /// ## What is looked at
    ///
    /// The hard limit "Max open files" of the running user manager in `/proc/PID/limits`, and the one
    /// that it is started with: `LimitNOFILE=` of `user@UID.service`, else `DefaultLimitNOFILE=` of
    /// system.conf, else what systemd was built with, 524288 since version 240.
    ///
    /// ## Why it matters
    ///
    /// No unit of a user manager and no container in it gets more than the user manager has, whatever
    /// it asks for: `LimitNOFILE=infinity` of k3s-rootless.service is cut down in silence. kubelet,
    /// containerd and etcd then end with "too many open files". `/etc/security/limits.conf` counts for
    /// logins, and for the user manager only where PAM's service `systemd-user` has pam_limits, as on
    /// Fedora; it then wins over the unit.
    ///
    /// ## Repair
    ///
    /// A drop-in of `user@.service` with `LimitNOFILE=1048576`. Where another one sorts later, that one is
    /// changed. A user manager that runs keeps its limits: it has to be started anew, which ends the
    /// user's sessions and containers.
    ///
    /// ## Sources
    ///
    /// - systemd.exec(5), "Process Properties"; systemd-system.conf(5), "DefaultLimitNOFILE="
    /// - systemd: NEWS, 240; src/core/exec-invoke.c, "pam_limits wins"
    /// - kind: images/base/files/usr/local/bin/entrypoint, "expected RLIMIT_NOFILE to be at least 64000"
    /// - k3s: k3s-rootless.service; moby: issue 40942
    USER_MANAGER_LIMITS, "user-manager-limits", Advised, User(run)
}

/// The name of the limit in `/proc/PID/limits`.
const OPEN_FILES: &str = "Max open files";
const DIRECTIVE: &str = "LimitNOFILE";
/// systemd's `HIGH_RLIMIT_NOFILE`, and the version that came with it.
const BUILT_IN: (u64, u32) = (524_288, 240);
/// What the kernel allows at most unless `fs.nr_open` says otherwise (Linux: fs/file.c,
/// `sysctl_nr_open`).
const MOST: u64 = 1_048_576;

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let mut outcome = Outcome::default();
    if req.open_files.is_empty() {
        return Outcome::not_asked();
    }
    let unit = format!("user@{}.service", user.uid);
    for want in &req.open_files {
        match look(facts, user, &unit, want.value) {
            Ok(Ok(finding)) => outcome.add(&want.demand, finding),
            Ok(Err(why)) => outcome.unknown(&want.demand, &unit, why),
            Err(why) => outcome.unknown(&want.demand, &unit, why),
        }
    }
    outcome
}

fn look(facts: &Facts, user: &User, unit: &str, wanted: u64) -> Fact<Result<Finding, String>> {
    let now = in_effect(facts, user)?;
    let configured = match configured(facts, unit)? {
        Some(configured) => configured,
        // Nothing sets it, so that what it runs with is what systemd starts it with.
        None => match (&now, built_in(facts)) {
            (Some(now), _) => now.clone(),
            (None, Some(built_in)) => built_in,
            (None, None) => {
                return Ok(Err("nothing sets it, and the version of systemd is not known".to_owned()));
            }
        },
    };
    let met = |limit: Limit| limit.is_none_or(|limit| limit >= wanted);
    let verdict = Verdict::of(met(configured.value), now.as_ref().map(|n| met(n.value)), Needs::ReLogin);
    let found = match &now {
        Some(now) if matches!(verdict, Verdict::Pending(_) | Verdict::Volatile) => {
            format!("{} now, {} when it starts anew", shown(now.value), shown(configured.value))
        }
        Some(now) => shown(now.value),
        None => shown(configured.value),
    };
    let subject = format!("{DIRECTIVE} of {unit}");
    let pam = now.as_ref().and_then(|now| login_limit(facts, user, now.value));
    let remedy = match verdict {
        Verdict::Pending(_) => match &pam {
            Some(at) => Remedy::manual(format!("raise nofile in {at}: pam_limits wins over the unit")),
            None => Remedy::manual(format!(
                "start the user manager of {} anew, which ends its sessions and containers, or reboot",
                user.name
            ))
            .command("sudo reboot"),
        },
        _ if beats(&configured.at.path, DELEGATE_DROP_IN) => {
            let line = format!("{DIRECTIVE}={}", MOST.max(wanted));
            change_unit(facts, &configured.at, DELEGATE_DROP_IN, &line)
        }
        _ => Remedy::setting(
            format!("let user managers have {} files open, from their next start on", MOST.max(wanted)),
            Setting::UserManagerLimit { directive: DIRECTIVE, value: MOST.max(wanted).to_string() },
        ),
    };
    let now = now.map(|now| now.at);
    let mut at: Vec<Evidence> = match verdict {
        Verdict::Volatile => [Some(configured.at), now].into_iter().flatten().collect(),
        _ => now.into_iter().chain([configured.at]).collect(),
    };
    if remedy.settings.is_empty() {
        at.extend(undone(&*facts.unit(unit)?, "Service", DIRECTIVE, DELEGATE_DROP_IN));
    }
    at.dedup();
    Ok(Ok(Finding::new(subject, format!("at least {wanted}"), found, verdict).at(at).repair(remedy)))
}

/// The limit of the user manager that runs; `None` where none does.
fn in_effect(facts: &Facts, user: &User) -> Fact<Option<Sourced<Limit>>> {
    if !facts.running() || !facts.user_manager_runs(user.uid)? {
        return Ok(None);
    }
    let limits = facts.user_manager_limits(user.uid)?;
    Ok(limits.get(OPEN_FILES).map(|files| Sourced { value: files.hard, at: files.at.clone() }))
}

fn configured(facts: &Facts, unit: &str) -> Fact<Option<Sourced<Limit>>> {
    if let Some(limit) = hard_limit(facts.unit(unit)?.values("Service", DIRECTIVE)) {
        return Ok(Some(limit));
    }
    Ok(hard_limit(facts.system_conf()?.values("DefaultLimitNOFILE")))
}

fn built_in(facts: &Facts) -> Option<Sourced<Limit>> {
    let version = facts.systemd_version().or_absent().ok().flatten()?;
    let (limit, since) = BUILT_IN;
    (version.value >= since).then(|| Sourced { value: Some(limit), at: version.at.clone() })
}

/// The line of limits.conf that gives the user just this limit.
fn login_limit(facts: &Facts, user: &User, now: Limit) -> Option<Evidence> {
    let limits = facts.login_limits().ok()?;
    let line = limits.for_user(&user.name, &[], "nofile", LimitKind::Hard)?;
    (line.value.value.parse().ok() == now).then(|| line.at.clone())
}

fn shown(limit: Limit) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const PROCS: &str = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/init.scope/cgroup.procs";
    const LIMITS: &str = "/proc/812/limits";
    const DROP_IN: &str = "/etc/systemd/system/user@.service.d/limits.conf";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Kind]), &edge())
    }

    fn with(hard: &str) -> TestHost {
        let limits = format!(
            "Limit                     Soft Limit           Hard Limit           Units     \n\
             Max open files            1024                 {hard:<20} files     \n"
        );
        fixture("debian-13").file(PROCS, "812\n813\n").file(LIMITS, limits)
    }

    fn configured(host: TestHost, value: &str) -> TestHost {
        host.file(DROP_IN, format!("[Service]\nLimitNOFILE={value}\n"))
    }

    #[test]
    fn what_systemd_was_built_with_is_enough() {
        let outcome = look_at(with("524288"));
        assert_eq!(verdicts(&outcome), [("LimitNOFILE of user@1000.service", Verdict::Met)]);
        assert_eq!(outcome.items[0].level, Level::Advised);
        let finding = findings(&outcome)[0];
        assert_eq!((finding.expected.as_str(), finding.found.as_str()), ("at least 65536", "524288"));
        assert_eq!(finding.evidence[0].to_string(), format!("{LIMITS}:2"));
        assert_eq!(verdicts(&look_at(with("unlimited")))[0].1, Verdict::Met);
        let image = look_at(with("4096").image());
        assert_eq!(findings(&image)[0].found, "524288", "in an image by the version of systemd");
    }

    #[test]
    fn configured_and_in_effect_are_two_facts() {
        let system = "/etc/systemd/system.conf.d/x.conf";
        for (host, verdict, found) in [
            (with("4096"), Verdict::Unmet, "4096"),
            (configured(with("4096"), "4096"), Verdict::Unmet, "4096"),
            (
                configured(with("4096"), "1048576"),
                Verdict::Pending(Needs::ReLogin),
                "4096 now, 1048576 when it starts anew",
            ),
            (
                configured(with("524288"), "1024:4096"),
                Verdict::Volatile,
                "524288 now, 4096 when it starts anew",
            ),
            (configured(with("1048576"), "infinity"), Verdict::Met, "1048576"),
            (
                with("524288").file(system, "[Manager]\nDefaultLimitNOFILE=1024:4096\n"),
                Verdict::Volatile,
                "524288 now, 4096 when it starts anew",
            ),
        ] {
            let outcome = look_at(host);
            let finding = findings(&outcome)[0];
            assert_eq!((finding.verdict, finding.found.as_str()), (verdict, found));
        }
        let outcome = look_at(with("4096"));
        let setting = Setting::UserManagerLimit { directive: "LimitNOFILE", value: "1048576".to_owned() };
        assert_eq!(findings(&outcome)[0].remedy.settings, [setting]);
        let outcome = look_at(configured(with("524288"), "4096"));
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{DROP_IN}:2"));
        let outcome = look_at(configured(with("4096").image(), "4096"));
        assert_eq!(verdicts(&outcome)[0].1, Verdict::Unmet);
    }

    #[test]
    fn a_drop_in_that_a_later_file_undoes() {
        let hard = "/etc/systemd/system/user@.service.d/99-hard.conf";
        let host = with("4096")
            .file(hard, "[Service]\nLimitNOFILE=4096\n")
            .file(DELEGATE_DROP_IN, "[Service]\nLimitNOFILE=1048576\n");
        let outcome = look_at(host.clone());
        let finding = findings(&outcome)[0];
        assert_eq!(finding.verdict, Verdict::Unmet);
        assert_eq!(finding.remedy.settings, []);
        let line = "LimitNOFILE=1048576";
        assert_eq!(
            finding.remedy.summary,
            format!(
                "put {line} in the place of {hard}:2: it sorts after {DELEGATE_DROP_IN} and wins over it"
            )
        );
        assert_eq!(
            finding.remedy.commands,
            [format!("sudo sed -i '2s|.*|{line}|' {hard}"), "sudo systemctl daemon-reload".to_owned()]
        );
        let at: Vec<String> = finding.evidence.iter().map(Evidence::to_string).collect();
        assert_eq!(at, [format!("{LIMITS}:2"), format!("{hard}:2"), format!("{DELEGATE_DROP_IN}:2")]);
        let changed = look_at(host.file(hard, format!("[Service]\n{line}\n")));
        assert_eq!(verdicts(&changed)[0].1, Verdict::Pending(Needs::ReLogin));
    }

    #[test]
    fn pam_limits_can_win_over_the_unit() {
        let pending = || configured(with("4096"), "1048576");
        let outcome = look_at(pending().file("/etc/security/limits.conf", "edge hard nofile 4096\n"));
        assert_eq!(
            findings(&outcome)[0].remedy.summary,
            "raise nofile in /etc/security/limits.conf:1: pam_limits wins over the unit"
        );
        assert_eq!(findings(&look_at(pending()))[0].remedy.commands, ["sudo reboot"]);
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let denied = with("524288").error(LIMITS, "denied");
        assert_eq!(unknown(&look_at(denied)), ["/proc/812/limits is not readable as this user"]);
        let denied = with("524288").error("/etc/systemd/system.conf", "denied");
        assert_eq!(unknown(&look_at(denied)), ["/etc/systemd/system.conf is not readable as this user"]);
        let podman = run(&with("1").facts(), &requirements(&[Stack::Podman]), &edge());
        assert!(podman.skipped.is_some());
    }

    #[test]
    fn without_a_user_manager_the_configuration_counts() {
        let host = fixture("debian-13-no-manager");
        assert_eq!(findings(&look_at(host.clone()))[0].found, "524288");
        assert_eq!(verdicts(&look_at(configured(host, "4096")))[0].1, Verdict::Unmet);
    }
}
