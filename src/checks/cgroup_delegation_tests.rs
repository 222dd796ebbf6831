use super::*;
use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
use crate::facts::testing::{TestHost, empty_host, fixture};
use crate::finding::Level;
use crate::requirements::Stack;

const ROOT: &str = "/sys/fs/cgroup";
const MANAGER: &str = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
const SOCKET: &str = "/run/user/1000/systemd/private";
const VENDOR: &str = "/usr/lib/systemd/system/user@.service";
const LATER: &str = "/usr/lib/systemd/system/user@.service.d/zz.conf";
const PENDING: Verdict = Verdict::Pending(Needs::None);

fn look_at(host: TestHost, stack: Stack) -> Outcome {
    run(&host.facts(), &requirements(&[stack]), &edge())
}

/// The finding on a controller for K3s, which wants cpu, cpuset, memory and pids.
fn k3s(host: TestHost, controller: &str) -> Finding {
    let outcome = look_at(host, Stack::K3s);
    let all = findings(&outcome);
    (*all.iter().find(|f| f.subject == controller).unwrap_or_else(|| panic!("{outcome:?}"))).clone()
}

/// Debian 13 with its vendor's delegation, whose user manager was executed at this second.
fn debian(executed_secs: i64) -> TestHost {
    fixture("debian-13")
        .file("/proc/stat", "btime 1000\n")
        .file("/proc/uptime", "1000.00 1.00\n")
        .now(2000)
        .path(SOCKET, |record| record.changed_ns = Some(executed_secs * 1_000_000_000))
}

/// With the administrator's drop-in, written at second 1500.
fn drop_in(host: TestHost, value: &str) -> TestHost {
    host.file(DELEGATE_DROP_IN, format!("[Service]\nDelegate={value}\n"))
        .path(DELEGATE_DROP_IN, |record| record.changed_ns = Some(1500 * 1_000_000_000))
}

/// With these controllers in the kernel, as far down as the level with this number.
fn in_kernel(mut host: TestHost, controllers: &str, to: usize) -> TestHost {
    let slice = format!("{ROOT}/user.slice");
    let user = format!("{slice}/user-1000.slice");
    let levels = [(ROOT, slice.as_str()), (&slice, &user), (&user, MANAGER)];
    for (above, below) in levels.into_iter().take(to) {
        host = host
            .file(&format!("{above}/cgroup.subtree_control"), format!("{controllers}\n"))
            .file(&format!("{below}/cgroup.controllers"), format!("{controllers}\n"));
    }
    host
}

const FIVE: &str = "cpuset cpu io memory pids";

#[test]
fn what_systemd_ships_is_enough_for_kind() {
    let outcome = look_at(debian(1100), Stack::Kind);
    let required: Vec<_> = outcome.items.iter().filter(|item| item.level == Level::Required).collect();
    assert_eq!(required.len(), 3);
    let met: Vec<_> = verdicts(&outcome).into_iter().filter(|(_, v)| *v == Verdict::Met).collect();
    assert_eq!(met.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["cpu", "memory", "pids"]);
    let at: Vec<String> = findings(&outcome)[0].evidence.iter().map(ToString::to_string).collect();
    assert_eq!(at, [format!("{MANAGER}/cgroup.controllers:1"), format!("{VENDOR}:28")]);
}

/// The lines of systemd-default-settings 0.9, on the units that systemd itself ships: only tasks are accounted
/// for.
#[test]
fn suse_delegates_nothing() {
    const SUSE: &str = "/usr/lib/systemd/system/user@.service.d/20-defaults-SUSE.conf";
    let delegate = |host: TestHost| host.file(SUSE, "[Service]\n# jsc#PED-2276\nDelegate=\n");
    let accounting = |host: TestHost, value: &str| {
        let conf = "/usr/lib/systemd/system.conf.d/20-defaults-SUSE.conf";
        host.file(conf, format!("[Manager]\nDefaultMemoryAccounting={value}\n"))
    };
    let suse = || accounting(delegate(fixture("debian-13").image()), "no");
    let verdict = |host: TestHost, name: &str| k3s(host, name).verdict;
    for (name, expected) in [("cpu", Verdict::Unmet), ("memory", Verdict::Unmet), ("pids", Verdict::Met)] {
        assert_eq!(verdict(suse(), name), expected, "{name}");
    }
    assert_eq!(k3s(suse(), "memory").evidence[0].to_string(), format!("{SUSE}:3"));
    assert_eq!(verdict(accounting(delegate(fixture("debian-13").image()), "yes"), "memory"), Verdict::Met);
    assert_eq!(verdict(delegate(fixture("debian-13").image()), "memory"), Verdict::Met);
    let unit = |line: &str| suse().file(LATER, format!("[Service]\n{line}\n"));
    assert_eq!(verdict(unit("MemoryAccounting=yes"), "memory"), Verdict::Met);
    assert_eq!(verdict(unit("TasksAccounting=no"), "pids"), Verdict::Unmet);
    assert_eq!(verdict(drop_in(suse(), "cpu cpuset memory pids"), "memory"), Verdict::Met);
    // What the kernel shows is what there is.
    let running = accounting(delegate(in_kernel(debian(1100), "cpu pids", 3)), "no");
    assert_eq!(verdict(running, "memory"), Verdict::Unmet);
}

#[test]
fn podman_is_advised_of_what_a_limit_would_take() {
    let outcome = look_at(debian(1100), Stack::Podman);
    assert!(outcome.items.iter().all(|item| item.level == Level::Advised));
    let unmet: Vec<_> = verdicts(&outcome).into_iter().filter(|(_, v)| *v == Verdict::Unmet).collect();
    assert_eq!(unmet, [("cpuset", Verdict::Unmet), ("io", Verdict::Unmet)]);
    let texts: Vec<_> = findings(&outcome).iter().map(|f| (f.expected.clone(), f.found.clone())).collect();
    assert_eq!(texts[1], texts[2], "they read as one in a report");
}

#[test]
fn what_systemd_ships_is_not_enough_for_k3s() {
    let cpuset = k3s(debian(1100), "cpuset");
    assert_eq!((cpuset.verdict, &*cpuset.found), (Verdict::Unmet, "not delegated"));
    assert_eq!(cpuset.evidence[0], Evidence::line(VENDOR, 28, "Delegate=pids memory cpu"));
    assert_eq!(cpuset.evidence[1].to_string(), "/sys/fs/cgroup/cgroup.subtree_control:1");
    let list = vec![Controller::Cpu, Controller::Cpuset, Controller::Memory, Controller::Pids];
    let activate = Setting::DelegationInEffect { user: "edge".to_owned(), uid: 1000 };
    assert_eq!(cpuset.remedy.settings, [Setting::Delegation(list), activate]);
}

/// The steps of putting a drop-in into effect, as they were seen on Debian 13 (systemd 257).
#[test]
fn each_step_of_an_activation_has_its_verdict() {
    let written = || drop_in(debian(1100), "cpu cpuset io memory pids");
    let executed_again = || drop_in(debian(1600), "cpu cpuset io memory pids");
    for (step, host, verdict, found) in [
        ("the file is written", written(), PENDING, "lost at -.slice"),
        ("systemd is reloaded", in_kernel(written(), FIVE, 1), PENDING, "lost at user.slice"),
        ("half way", in_kernel(written(), FIVE, 2), PENDING, "lost at user-1000.slice"),
        ("a unit is started", in_kernel(written(), FIVE, 3), Verdict::Met, "delegated"),
        ("the user manager is executed", in_kernel(executed_again(), FIVE, 3), Verdict::Met, "delegated"),
    ] {
        let cpuset = k3s(host, "cpuset");
        assert_eq!((cpuset.verdict, &*cpuset.found), (verdict, found), "{step}");
    }
    let pending = k3s(in_kernel(written(), FIVE, 1), "cpuset");
    assert_eq!(pending.evidence[0].to_string(), "/sys/fs/cgroup/user.slice/cgroup.subtree_control:1");
    assert_eq!(
        pending.evidence[1],
        Evidence::line(DELEGATE_DROP_IN, 2, "Delegate=cpu cpuset io memory pids")
    );
    assert_eq!(pending.remedy.settings.len(), 1, "it is configured: only to be put into effect");
}

/// Seen on Debian 12 and 13: the kernel has all five, and a unit with `Delegate=yes` gets three.
#[test]
fn a_user_manager_from_before_the_grant_is_pending_for_k3s_alone() {
    let host = |executed_secs| in_kernel(drop_in(debian(executed_secs), "cpuset io"), FIVE, 3);
    let manager = k3s(host(1100), "user@1000.service");
    assert_eq!(manager.verdict, PENDING);
    assert_eq!(manager.evidence[0].to_string(), format!("{DELEGATE_DROP_IN}:2"));
    let subjects = |host, stack| -> Vec<String> {
        findings(&look_at(host, stack)).iter().map(|finding| finding.subject.clone()).collect()
    };
    assert!(!subjects(host(1600), Stack::K3s).contains(&"user@1000.service".to_owned()));
    assert!(!subjects(host(1100), Stack::K3d).contains(&"user@1000.service".to_owned()));
}

/// Seen on Debian 13: with an empty list a user manager still has memory and pids, and not cpu.
#[test]
fn what_systemd_accounts_for_need_not_be_named() {
    let host = in_kernel(drop_in(debian(1600), ""), "memory pids", 3);
    for (controller, verdict) in [
        ("memory", Verdict::Met),
        ("pids", Verdict::Met),
        ("cpu", Verdict::Unmet),
        ("cpuset", Verdict::Unmet),
    ] {
        assert_eq!(k3s(host.clone(), controller).verdict, verdict, "{controller}");
    }
    let off = in_kernel(drop_in(debian(1600), "no"), "memory pids", 3);
    assert_eq!(k3s(off, "memory").verdict, Verdict::Volatile);
}

/// The kernel keeps the controllers after the drop-in is gone and systemd is reloaded.
#[test]
fn a_removed_drop_in_is_volatile() {
    let cpuset = k3s(in_kernel(debian(1100), FIVE, 3), "cpuset");
    assert_eq!(cpuset.verdict, Verdict::Volatile);
    assert_eq!(cpuset.evidence[0].to_string(), format!("{VENDOR}:28"));
}

/// Verdicts by what `Delegate=` says, with and without a user manager that has all five.
#[test]
fn configuration_decides_what_survives() {
    let no = |host: TestHost| host.file(LATER, "[Service]\nDelegate=no\n");
    let null = |host: TestHost, path: &str| {
        host.file(path, "").path(path, |record| record.read_error = Some("device".to_owned()))
    };
    let five = "cpu cpuset io memory pids";
    let base = || debian(1600);
    let mask = "/etc/systemd/system/user@.service.d/zz.conf";
    for (case, host, configured) in [
        ("vendor", base(), false),
        ("list", drop_in(base(), "cpuset"), true),
        ("yes", drop_in(base(), "yes"), true),
        ("reset", drop_in(base(), ""), false),
        ("reset, then the list", drop_in(base(), "\nDelegate=cpuset"), true),
        ("no", drop_in(base(), "no"), false),
        ("a later no", no(drop_in(base(), five)), false),
        ("a later no, masked", null(no(drop_in(base(), five)), mask), true),
        ("commas", drop_in(base(), "cpu,cpuset"), false),
        (
            "disabled",
            drop_in(base(), five)
                .file("/etc/systemd/system/user-.slice.d/a.conf", "[Slice]\nDisableControllers=cpuset\n"),
            false,
        ),
    ] {
        let effective = k3s(in_kernel(host.clone(), FIVE, 3), "cpuset").verdict;
        assert_eq!(effective, if configured { Verdict::Met } else { Verdict::Volatile }, "{case}");
        let stopped = host.clone().without(MANAGER).without("/run/user/1000");
        let verdict = k3s(stopped, "cpuset").verdict;
        assert_eq!(verdict, Verdict::met_if(configured), "{case}, no user manager");
        assert_eq!(k3s(host.image(), "cpuset").verdict, Verdict::met_if(configured), "{case}, image");
    }
}

#[test]
fn the_line_that_takes_it_away_is_named() {
    let reset = k3s(drop_in(debian(1100), ""), "cpu");
    assert_eq!(reset.evidence[0], Evidence::line(DELEGATE_DROP_IN, 2, "Delegate="));
    let commas = k3s(drop_in(debian(1100), "cpu,cpuset"), "cpuset");
    assert_eq!(commas.evidence[0], Evidence::line(DELEGATE_DROP_IN, 2, "Delegate=cpu,cpuset"));
    let slice = "/etc/systemd/system/user.slice.d/a.conf";
    let host = drop_in(debian(1100), "cpuset").file(slice, "[Slice]\nDisableControllers=cpuset\n");
    let disabled = k3s(host, "cpuset");
    assert_eq!((disabled.verdict, &*disabled.found), (Verdict::Unmet, "disabled in a unit above"));
    assert_eq!(disabled.evidence[0].to_string(), format!("{slice}:2"));
    assert!(disabled.remedy.settings.is_empty() && disabled.remedy.summary.contains(slice));
    let instance = "/etc/systemd/system/user@1000.service.d/90-rootless.conf";
    let host = drop_in(debian(1100), "cpuset").file(instance, "[Service]\nNice=1\n");
    let shadowed = k3s(host, "cpuset");
    let text = format!("not read: {instance} is");
    assert!(shadowed.evidence.contains(&Evidence::path(DELEGATE_DROP_IN, text)), "{:?}", shadowed.evidence);
    assert!(shadowed.remedy.summary.contains(instance));
    let none = k3s(debian(1100).file(VENDOR, "[Service]\nUser=%i\n"), "cpu");
    assert_eq!(none.evidence[0], Evidence::path(VENDOR, "no Delegate="));
}

/// A drop-in that loses is no repair.
#[test]
fn a_file_that_beats_the_drop_in_has_to_go_first() {
    let beaten = k3s(debian(1100).file(LATER, "[Service]\nDelegate=no\n"), "cpuset");
    assert!(beaten.remedy.settings.is_empty());
    assert_eq!(
        beaten.remedy.summary,
        format!("mask {LATER}:2, which beats any {DELEGATE_DROP_IN}, and delegate")
    );
    assert_eq!(
        beaten.remedy.commands[..2],
        [
            "sudo mkdir -p /etc/systemd/system/user@.service.d",
            "sudo ln -s /dev/null /etc/systemd/system/user@.service.d/zz.conf",
        ]
    );
    assert!(beaten.remedy.commands.iter().any(|command| command.contains(DELEGATE_DROP_IN)));
    assert!(beaten.remedy.commands.last().unwrap().ends_with("daemon-reexec"));
    let own = "/etc/systemd/system/user@.service.d/zz.conf";
    let beaten = k3s(debian(1100).file(own, "[Service]\nDelegate=\n").image(), "cpuset");
    assert_eq!(beaten.remedy.commands[0], format!("mv $ROOT{own} $ROOT{own}.disabled"));
    let of_all_services = "/etc/systemd/system/service.d/zz.conf";
    let beaten = k3s(debian(1100).file(of_all_services, "[Service]\nDelegate=\n"), "cpuset");
    assert!(beaten.remedy.commands[1].starts_with("sudo ln -s /dev/null"), "other services keep theirs");
    let earlier = "/usr/lib/systemd/system/user@.service.d/10-x.conf";
    let wins = k3s(debian(1100).file(earlier, "[Service]\nDelegate=no\n"), "cpuset");
    assert_eq!(wins.remedy.settings.len(), 2);
}

/// What the root of the hierarchy has says nothing about the user; and `cpuset` is not `cpu`.
#[test]
fn other_tools_fall_for_these() {
    let root = k3s(debian(1100), "cpuset");
    assert_eq!(root.verdict, Verdict::Unmet, "the root has it");
    let host =
        in_kernel(debian(1100).edit(VENDOR, "Delegate=pids memory cpu", "Delegate=cpuset"), "cpuset", 3);
    let outcome = look_at(host, Stack::Kind);
    let cpu = findings(&outcome).into_iter().find(|f| f.subject == "cpu").unwrap().verdict;
    assert_eq!(cpu, Verdict::Unmet);
}

#[test]
fn a_cgroup_of_somebody_else_is_not_delegated() {
    let host = debian(1100).path(MANAGER, |record| record.uid = Some(0));
    let memory = k3s(host, "memory");
    assert_eq!((memory.verdict, &*memory.found), (Verdict::Pending(Needs::ReLogin), "not delegated"));
    assert_eq!(memory.evidence[0].to_string(), MANAGER);
    assert!(memory.remedy.summary.contains("stop lingering once"));
}

#[test]
fn what_the_kernel_lacks_is_another_checks_business() {
    let without = |names: &str| debian(1100).file(&format!("{ROOT}/cgroup.controllers"), names);
    let outcome = look_at(without("cpu cpuset pids\n"), Stack::Kind);
    assert!(!verdicts(&outcome).iter().any(|(name, _)| *name == "memory"), "it is configured");
    assert_eq!(k3s(without("cpu memory pids\n"), "cpuset").verdict, Verdict::Unmet, "nor is it configured");
    let outcome = look_at(drop_in(without("\n"), "yes"), Stack::K3s);
    assert!(outcome.skipped.unwrap().contains("cgroup-controllers"));
}

#[test]
fn what_cannot_be_told_is_unknown() {
    let closed = drop_in(debian(1100), "no")
        .path(DELEGATE_DROP_IN, |record| record.read_error = Some("denied".to_owned()));
    let reason = format!("{DELEGATE_DROP_IN} is not readable as this user");
    assert_eq!(unknown(&look_at(closed, Stack::K3s)), vec![reason; 4], "it could say anything");
    let level = format!("{MANAGER}/cgroup.controllers");
    let outcome = look_at(debian(1100).error(&level, "denied"), Stack::K3s);
    assert_eq!(unknown(&outcome), vec![format!("{level} is not readable as this user"); 4]);
    let other = in_kernel(drop_in(debian(1100), "cpuset"), FIVE, 3).error(SOCKET, "denied");
    assert_eq!(unknown(&look_at(other, Stack::K3s)), [format!("{SOCKET} is not readable as this user")]);
}

#[test]
fn where_it_does_not_apply() {
    let skipped = |host| look_at(host, Stack::K3s).skipped.unwrap_or_default();
    let hybrid = debian(1100).edit("/proc/self/mountinfo", "cgroup2 cgroup2", "tmpfs tmpfs");
    assert!(skipped(hybrid).contains("cgroup-version"));
    assert!(skipped(debian(1100).without("/run/systemd/system")).contains("systemd-init"));
    assert!(skipped(empty_host().image()).contains("user-manager"));
    assert!(run(&debian(1100).facts(), &Requirements::default(), &edge()).skipped.is_some());
}
