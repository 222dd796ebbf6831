//! Whether `newuidmap` can gain its privileges where stacks run: see [`NO_NEW_PRIVILEGES`].

use crate::checks::beaten::{beats, change, change_unit};
use crate::checks::check;
use crate::facts::unit_syntax::boolean;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, Sourced};
use crate::finding::{Finding, Level, Needs, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Demand, Need, Requirements, Stack};
use crate::settings::{DELEGATE_DROP_IN, K3S_SERVICE, Setting, quoted};

check! {
    /// Helpers can gain the privileges they need
    ///
    /// ## What is looked at
    ///
    /// `NoNewPrivileges=` of `user@UID.service`, and of system.conf, and the line `NoNewPrivs` in
    /// `/proc/PID/status` of the running user manager. In `k3s-rootless.service` of the user manager the
    /// same setting and those that bring it with them in a user manager, `SystemCallFilter=` and
    /// `RestrictAddressFamilies=` among others. And if the user runs edgeprep, its own status, which is
    /// that of the shell or service it is started from.
    ///
    /// ## Why it matters
    ///
    /// A process with this flag, and all that it starts, gains nothing from a set-user-ID bit or a file
    /// capability: newuidmap stops with "write to uid_map failed: Operation not permitted", as if it had
    /// no privilege itself. Podman then works only as long as an earlier one holds its user namespace.
    ///
    /// ## Repair
    ///
    /// A drop-in of the unit with `NoNewPrivileges=no`, after which it is started anew. Where another one
    /// sorts later, that one is changed. What system.conf sets PID 1 has, and with it all that it starts:
    /// it is taken out there, and takes a reboot. Settings that bring it with them are taken out by hand,
    /// since they were meant for something else. Where a terminal or an agent sets the flag on what it
    /// starts, another way to log in is needed.
    ///
    /// ## Sources
    ///
    /// - Linux: Documentation/userspace-api/no_new_privs.rst; proc_pid_status(5), "NoNewPrivs"
    /// - systemd.exec(5), "NoNewPrivileges="; systemd-system.conf(5), "NoNewPrivileges="
    /// - systemd: src/core/exec-invoke.c, `context_has_no_new_privileges`; src/core/main.c,
    ///   `PR_SET_NO_NEW_PRIVS`
    /// - podman: issue 21738
    NO_NEW_PRIVILEGES, "no-new-privileges", Required, User(run)
}

const KEY: &str = "NoNewPrivileges";
/// Settings that take it along where the service manager is not privileged (`context_has_seccomp`).
const IMPLY_IT: [&str; 15] = [
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "PrivateDevices",
    "ProtectClock",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "SystemCallArchitectures",
    "SystemCallFilter",
    "SystemCallLog",
];

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::NewPrivileges);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    let mut outcome = Outcome::default();
    let unit = format!("user@{}.service", user.uid);
    match of_user_manager(facts, user, &unit) {
        Ok(finding) => outcome.add_all(demands, &finding),
        Err(why) => outcome.unknown_all(demands, &unit, &why),
    }
    let k3s = of_stack(demands, Stack::K3s);
    let unit = if k3s.is_empty() { Ok(None) } else { of_k3s(facts, user) };
    match unit {
        Ok(Some(finding)) => outcome.add_all(&k3s, &finding),
        Ok(None) => {}
        Err(why) => outcome.unknown_all(&k3s, K3S_SERVICE, &why),
    }
    if facts.running() && facts.caller().uid == user.uid {
        let here = advised(demands);
        match of_caller(facts) {
            Ok(Some(finding)) => outcome.add_all(&here, &finding),
            Ok(None) => outcome.unknown_all(&here, "this session", &"the kernel does not show it"),
            Err(why) => outcome.unknown_all(&here, "this session", &why),
        }
    }
    outcome
}

fn of_stack(demands: &[Demand], stack: Stack) -> Vec<Demand> {
    let of_it = demands.iter().filter(|demand| demand.stacks.contains(&stack));
    of_it.map(|demand| Demand { stacks: vec![stack], ..demand.clone() }).collect()
}

/// A session says nothing of the next one.
fn advised(demands: &[Demand]) -> Vec<Demand> {
    demands.iter().map(|demand| Demand { level: Level::Advised, ..demand.clone() }).collect()
}

fn word(set: bool) -> &'static str {
    if set { "yes" } else { "no" }
}

fn of_user_manager(facts: &Facts, user: &User, name: &str) -> Fact<Finding> {
    let unit = facts.unit(name)?;
    let system = facts.system_conf()?;
    let last = |value: &Sourced<String>| {
        boolean(&value.value).map(|set| Sourced { value: set, at: value.at.clone() })
    };
    let of_unit = unit.values("Service", KEY).rev().find_map(last);
    // The system manager hands it on to all that it starts.
    let of_system = system.values(KEY).rev().find_map(last).filter(|set| set.value);
    let of_unit = of_unit.filter(|set| set.value);
    let configured = of_unit.clone().or(of_system.clone());
    let now = if facts.running() && facts.user_manager_runs(user.uid)? {
        facts.user_manager_status(user.uid)?.no_new_privileges.clone()
    } else {
        None
    };
    let verdict = Verdict::of(configured.is_none(), now.as_ref().map(|now| !now.value), Needs::ReLogin);
    let at_start = word(configured.is_some());
    let found = match (&now, verdict) {
        (Some(now), Verdict::Pending(_) | Verdict::Volatile) => {
            format!("{} now, {at_start} when it starts anew", word(now.value))
        }
        (Some(now), _) => word(now.value).to_owned(),
        (None, _) => at_start.to_owned(),
    };
    let remedy = match (&of_unit, &of_system) {
        (_, Some(set)) => {
            let unit = match &of_unit {
                Some(of_unit) => format!(" and {}", of_unit.at),
                None => String::new(),
            };
            Remedy::manual(format!(
                "take {KEY}= out of {}{unit}, then reboot: what PID 1 has once set no unit undoes",
                set.at
            ))
        }
        (Some(set), None) if beats(&set.at.path, DELEGATE_DROP_IN) => {
            change_unit(facts, &set.at, DELEGATE_DROP_IN, &format!("{KEY}=no"))
        }
        (Some(set), None) => Remedy::setting(
            format!(
                "undo {KEY}= of {}, from the next start of the user manager on, which ends its sessions and \
                 containers",
                set.at
            ),
            Setting::UnitDirective {
                unit: "user@.service".to_owned(),
                section: "Service",
                key: KEY,
                value: "no".to_owned(),
            },
        ),
        (None, None) => Remedy::manual(format!(
            "start the user manager of {} anew, which ends its sessions and containers, or reboot",
            user.name
        ))
        .command("sudo reboot"),
    };
    let none = || {
        let fragment = unit.fragment.as_deref().unwrap_or("/usr/lib/systemd/system/user@.service");
        Evidence::path(fragment, format!("no {KEY}="))
    };
    let now = now.map(|now| now.at);
    let configured = configured.map(|set| set.at);
    let at = match verdict {
        Verdict::Volatile | Verdict::Unmet => [configured, now],
        _ => [now, Some(configured.unwrap_or_else(none))],
    };
    let finding = Finding::new(format!("{KEY} of {name}"), "no", found, verdict);
    Ok(finding.at(at.into_iter().flatten()).repair(remedy))
}

/// `None` where there is no such unit, which is for k3s-service to tell.
fn of_k3s(facts: &Facts, user: &User) -> Fact<Option<Finding>> {
    let unit = facts.user_unit(&user.home, user.uid, &user.groups, K3S_SERVICE)?;
    let Some(fragment) = unit.fragment.as_deref().filter(|_| unit.masked.is_none()) else { return Ok(None) };
    let set = [KEY].iter().chain(&IMPLY_IT).find_map(|key| {
        let last = unit.values("Service", key).last()?;
        is_set(&last.value).then(|| (*key, last.at.clone()))
    });
    let subject = format!("{KEY} of {K3S_SERVICE}");
    Ok(Some(match set {
        None => Finding::new(subject, "no", "no", Verdict::Met).at([Evidence::path(fragment, "")]),
        Some((key, at)) => {
            let found = if key == KEY { "yes".to_owned() } else { format!("yes, by {key}=") };
            let implied = IMPLY_IT.iter().find_map(|key| {
                let last = unit.values("Service", key).last().filter(|last| is_set(&last.value))?;
                Some((*key, &last.at))
            });
            let remedy = remedy_of_k3s(facts, user, &at, implied);
            Finding::new(subject, "no", found, Verdict::Unmet).at([at]).repair(remedy)
        }
    }))
}

/// Where another setting brings it along, no `NoNewPrivileges=no` takes it away.
fn remedy_of_k3s(
    facts: &Facts,
    user: &User,
    at: &Evidence,
    implied: Option<(&'static str, &Evidence)>,
) -> Remedy {
    let manager = format!("sudo systemctl --user -M {}@", quoted(&user.name));
    let restart = format!("{manager} restart {K3S_SERVICE}");
    let home = format!("{}/", user.home.trim_end_matches('/'));
    let ours = format!("{home}.config/systemd/user/{K3S_SERVICE}.d/90-rootless.conf");
    let mut remedy = match implied {
        Some((key, by)) if by == at => Remedy::manual(format!("take {key}= out of {at}")),
        Some((key, by)) => Remedy::manual(format!("take {KEY}= out of {at}, and {key}= out of {by}")),
        None if beats(&at.path, &ours) => {
            let own = at.path.starts_with(&home).then_some(user);
            change(facts, at, &ours, &format!("{KEY}=no"), own)
        }
        None => {
            let setting = Setting::UserUnitDirective {
                user: user.name.clone(),
                unit: K3S_SERVICE.to_owned(),
                section: "Service",
                key: KEY,
                value: "no".to_owned(),
            };
            let remedy = Remedy::setting(format!("undo {KEY}= of {at}, and start K3s anew"), setting);
            return if facts.running() { remedy.command(restart) } else { remedy };
        }
    };
    if facts.running() {
        remedy.commands.extend([format!("{manager} daemon-reload"), restart]);
    }
    remedy
}

/// Whether the last value of a setting switches something on: an empty one takes a list back.
fn is_set(value: &str) -> bool {
    !value.is_empty() && boolean(value) != Some(false)
}

fn of_caller(facts: &Facts) -> Fact<Option<Finding>> {
    let status = facts.own_status()?;
    Ok(status.no_new_privileges.as_ref().map(|set| {
        let finding = Finding::new("this session", "no", word(set.value), Verdict::met_if(!set.value));
        let remedy = Remedy::manual(
            "what started this shell takes privileges from all that runs in it: log in by ssh or \
             machinectl shell",
        );
        finding.at([set.at.clone()]).repair(remedy)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};

    const STATUS: &str = "/proc/447/status";
    const PROCESSES: &str =
        "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/init.scope/cgroup.procs";
    const DROP_IN: &str = "/etc/systemd/system/user@.service.d/harden.conf";
    const K3S: &str = "/home/edge/.config/systemd/user/k3s-rootless.service";
    const MANAGER: &str = "NoNewPrivileges of user@1000.service";

    fn look_at(host: TestHost, stack: Stack) -> Outcome {
        run(&host.facts(), &requirements(&[stack]), &edge())
    }

    /// The text of systemd 257 on Debian 13, shortened.
    fn status(flag: u8) -> String {
        format!("Name:\tsystemd\nUid:\t1000\t1000\t1000\t1000\nNoNewPrivs:\t{flag}\n")
    }

    fn with(flag: u8) -> TestHost {
        fixture("debian-13").file(PROCESSES, "447\n").file(STATUS, status(flag))
    }

    #[test]
    fn a_user_manager_is_not_restricted() {
        let outcome = look_at(with(0), Stack::Podman);
        assert_eq!(verdicts(&outcome), [(MANAGER, Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{STATUS}:3"));
        assert_eq!(outcome.items[0].level, Level::Advised);
        assert_eq!(look_at(with(0), Stack::PodmanKube).items[0].level, Level::Required);
    }

    #[test]
    fn configured_and_in_effect_are_two() {
        let harden = |host: TestHost| host.file(DROP_IN, "[Service]\nNoNewPrivileges=yes\n");
        let outcome = look_at(harden(with(1)), Stack::Podman);
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Unmet, "yes"));
        assert_eq!(finding.evidence[0].to_string(), format!("{DROP_IN}:2"));
        assert!(finding.remedy.summary.contains(DROP_IN));
        assert_eq!(verdicts(&look_at(with(1), Stack::Podman))[0].1, Verdict::Pending(Needs::ReLogin));
        assert_eq!(verdicts(&look_at(harden(with(0)), Stack::Podman))[0].1, Verdict::Volatile);
        let again = harden(with(0))
            .file("/etc/systemd/system/user@.service.d/z.conf", "[Service]\nNoNewPrivileges=no\n");
        assert_eq!(verdicts(&look_at(again, Stack::Podman))[0].1, Verdict::Met);
    }

    #[test]
    fn the_system_manager_hands_it_on() {
        let host =
            fixture("debian-13").append("/etc/systemd/system.conf", "[Manager]\nNoNewPrivileges=true\n");
        let outcome = look_at(host.image(), Stack::Podman);
        assert_eq!(verdicts(&outcome), [(MANAGER, Verdict::Unmet)]);
        assert_eq!(&*findings(&outcome)[0].evidence[0].path, "/etc/systemd/system.conf");
    }

    fn settings_of(host: TestHost, stack: Stack, at: usize) -> (Vec<Setting>, Vec<String>) {
        let outcome = look_at(host, stack);
        let remedy = &findings(&outcome)[at].remedy;
        (remedy.settings.clone(), remedy.commands.clone())
    }

    #[test]
    fn what_a_drop_in_undoes_and_what_it_does_not() {
        let harden =
            |path: &str| fixture("debian-13-no-manager").file(path, "[Service]\nNoNewPrivileges=yes\n");
        let setting = Setting::UnitDirective {
            unit: "user@.service".to_owned(),
            section: "Service",
            key: KEY,
            value: "no".to_owned(),
        };
        assert_eq!(
            settings_of(harden(DROP_IN), Stack::Podman, 0),
            (
                vec![],
                vec![
                    format!("sudo sed -i '2s|.*|{KEY}=no|' {DROP_IN}"),
                    "sudo systemctl daemon-reload".to_owned(),
                ]
            ),
            "harden.conf sorts after ours"
        );
        let site = "/etc/systemd/system/user@.service.d/50-site.conf";
        assert_eq!(settings_of(harden(site), Stack::Podman, 0), (vec![setting], vec![]));
        let ours = harden(site).file(DELEGATE_DROP_IN, "[Service]\nNoNewPrivileges=no\n");
        assert_eq!(verdicts(&look_at(ours, Stack::Podman)), [(MANAGER, Verdict::Met)]);
        let system = harden(site).append("/etc/systemd/system.conf", "[Manager]\nNoNewPrivileges=true\n");
        assert_eq!(settings_of(system, Stack::Podman, 0), (vec![], vec![]));
    }

    #[test]
    fn what_a_drop_in_of_k3s_undoes_and_what_it_does_not() {
        let k3s = |text: &str| {
            let host = fixture("debian-13-no-manager").file(K3S, format!("[Service]\n{text}"));
            settings_of(host, Stack::K3s, 1)
        };
        let restart = "sudo systemctl --user -M edge@ restart k3s-rootless.service".to_owned();
        let (settings, commands) = k3s("NoNewPrivileges=yes\n");
        assert!(matches!(&settings[..], [Setting::UserUnitDirective { key: KEY, .. }]), "{settings:?}");
        assert_eq!(commands, std::slice::from_ref(&restart));
        for implied in ["SystemCallFilter=@system-service\n", "NoNewPrivileges=yes\nLockPersonality=yes\n"] {
            let (settings, commands) = k3s(implied);
            assert_eq!((settings, commands.last()), (vec![], Some(&restart)), "{implied}");
        }
        let later = "/home/edge/.config/systemd/user/k3s-rootless.service.d/99-hard.conf";
        let host = fixture("debian-13-no-manager").file(K3S, "[Service]\n");
        let host = host.dir(&later.replace("/99-hard.conf", ""), "0755", 1000);
        let host = host.file(later, "[Service]\nNoNewPrivileges=yes\n");
        let (settings, commands) = settings_of(host, Stack::K3s, 1);
        assert_eq!(settings, []);
        assert_eq!(commands[0], format!("sudo -Hu edge sed -i '2s|.*|{KEY}=no|' {later}"));
    }

    #[test]
    fn the_unit_of_k3s() {
        let k3s =
            |text: &str| look_at(with(0).file(K3S, format!("[Service]\nDelegate=yes\n{text}")), Stack::K3s);
        for (text, found) in [
            ("", "no"),
            ("NoNewPrivileges=no\n", "no"),
            ("NoNewPrivileges=yes\n", "yes"),
            ("SystemCallFilter=@system-service\n", "yes, by SystemCallFilter="),
            ("SystemCallFilter=@system-service\nSystemCallFilter=\n", "no"),
            ("RestrictNamespaces=no\nProtectSystem=no\n", "no"),
        ] {
            let outcome = k3s(text);
            let finding = findings(&outcome)[1];
            assert_eq!(finding.found, found, "{text}");
            assert_eq!(finding.verdict, Verdict::met_if(found == "no"), "{text}");
            assert_eq!(outcome.items[1].level, Level::Required);
        }
        assert_eq!(findings(&k3s("NoNewPrivileges=yes\n"))[1].evidence[0].to_string(), format!("{K3S}:3"));
        assert_eq!(look_at(with(0), Stack::K3s).items.len(), 1);
    }

    #[test]
    fn the_session_of_the_caller() {
        let caller = |flag| with(0).caller(1000, &[]).file("/proc/self/status", status(flag));
        let outcome = look_at(caller(1), Stack::PodmanKube);
        assert_eq!(verdicts(&outcome)[1], ("this session", Verdict::Unmet));
        assert_eq!(outcome.items[1].level, Level::Advised);
        assert_eq!(verdicts(&look_at(caller(0), Stack::Podman))[1].1, Verdict::Met);
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let denied = with(0).error(STATUS, "denied");
        assert_eq!(
            unknown(&look_at(denied, Stack::Podman)),
            ["/proc/447/status is not readable as this user"]
        );
        assert!(run(&with(0).facts(), &Requirements::default(), &edge()).skipped.is_some());
    }
}
