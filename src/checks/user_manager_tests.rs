use super::*;
use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
use crate::facts::testing::{TestHost, empty_host, fixture};
use crate::requirements::Stack;

const UNIT: &str = "user@1000.service";
const BUS: &str = "/run/user/1000/bus";
const CGROUP: &str = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
const LINGER: &str = "/var/lib/systemd/linger/edge";
const UNITS: &str = "/usr/lib/systemd/user";

fn look_at(host: TestHost) -> Outcome {
    run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
}

/// A fixture that has both units of the bus, as the package brings them.
fn debian() -> TestHost {
    fixture("debian-13").file(&format!("{UNITS}/dbus.service"), "[Service]\nExecStart=/usr/bin/dbus-daemon\n")
}

/// The same without the package.
fn without_bus_units() -> TestHost {
    debian()
        .without(&format!("{UNITS}/dbus.socket"))
        .without(&format!("{UNITS}/dbus.service"))
        .without(&format!("{UNITS}/sockets.target.wants/dbus.socket"))
}

/// Nobody is logged in.
fn stopped(host: TestHost) -> TestHost {
    host.without("/run/user/1000").without(CGROUP)
}

fn image() -> TestHost {
    let wants = format!("{UNITS}/sockets.target.wants/dbus.socket");
    empty_host()
        .image()
        .file("/usr/lib/systemd/systemd", "")
        .file("/usr/lib/systemd/system/user@.service", "[Service]\nUser=%i\n")
        .file(&format!("{UNITS}/dbus.socket"), "[Socket]\nListenStream=%t/bus\n")
        .file(&format!("{UNITS}/dbus.service"), "[Service]\n")
        .file(&wants, "")
        .path(&wants, |record| record.link = Some("../dbus.socket".to_owned()))
}

#[test]
fn a_lingering_user_with_a_bus_passes() {
    let outcome = look_at(debian());
    assert_eq!(verdicts(&outcome), [(UNIT, Verdict::Met), (BUS, Verdict::Met)]);
    let at: Vec<&str> = findings(&outcome).iter().map(|finding| &*finding.evidence[0].path).collect();
    assert_eq!(at, [CGROUP, BUS]);
}

/// Podman then runs containers without the limits that were asked for, and says nothing.
#[test]
fn without_the_package_there_is_no_bus() {
    let outcome = look_at(without_bus_units().without(BUS));
    assert_eq!(verdicts(&outcome), [(UNIT, Verdict::Met), (BUS, Verdict::Unmet)]);
    let finding = findings(&outcome)[1];
    assert_eq!(finding.evidence[0], Evidence::path("/usr/lib/systemd/user/dbus.socket", "does not exist"));
    assert_eq!(finding.remedy.commands[0], "sudo apt install dbus-user-session");
    assert_eq!(finding.remedy.commands[2], "sudo systemctl --user -M edge@ start dbus.socket");
}

#[test]
fn a_bus_that_was_just_installed_is_pending_and_one_that_was_removed_is_volatile() {
    let outcome = look_at(debian().without(BUS));
    assert_eq!(verdicts(&outcome)[1], (BUS, Verdict::Pending(Needs::None)));
    assert_eq!(findings(&outcome)[1].evidence[0], Evidence::path(BUS, "does not exist"));
    assert_eq!(verdicts(&look_at(without_bus_units()))[1], (BUS, Verdict::Volatile));
}

#[test]
fn a_user_who_is_not_logged_in_has_no_user_manager() {
    let outcome = look_at(stopped(debian()).without(LINGER));
    assert_eq!(verdicts(&outcome), [(UNIT, Verdict::Unmet), (BUS, Verdict::Met)]);
    let finding = findings(&outcome)[0];
    assert_eq!(finding.evidence[0], Evidence::path(LINGER, "does not exist"));
    assert_eq!(finding.remedy.settings, [Setting::Linger("edge".to_owned())]);
    assert_eq!(findings(&outcome)[1].found, "a socket, once the user manager runs");
    let outcome = look_at(stopped(debian()));
    assert_eq!(verdicts(&outcome)[0], (UNIT, Verdict::Pending(Needs::None)));
    let outcome = look_at(stopped(without_bus_units()));
    assert_eq!(verdicts(&outcome)[1], (BUS, Verdict::Unmet));
    assert_eq!(findings(&outcome)[1].remedy.commands.len(), 1, "nothing runs that could be told of it");
}

#[test]
fn masks_are_named() {
    let mask = |path: &str| {
        let host = debian().file(path, "").path(path, |record| record.link = Some("/dev/null".to_owned()));
        look_at(stopped(host))
    };
    let outcome = mask("/etc/systemd/system/user@.service");
    assert_eq!((findings(&outcome)[0].verdict, &*findings(&outcome)[0].found), (Verdict::Unmet, "masked"));
    let outcome = mask("/etc/systemd/user/dbus.socket");
    assert_eq!(findings(&outcome)[1].evidence[0].to_string(), "/etc/systemd/user/dbus.socket");
    assert!(findings(&outcome)[1].remedy.commands[0].contains("unmask"));
}

#[test]
fn an_image_has_the_units() {
    assert_eq!(verdicts(&look_at(image())), [(UNIT, Verdict::Met), (BUS, Verdict::Met)]);
    let outcome = look_at(image().without("/usr/lib/systemd/system/user@.service"));
    assert_eq!(verdicts(&outcome)[0], (UNIT, Verdict::Unmet));
    let outcome = look_at(image().without(&format!("{UNITS}/dbus.service")));
    assert_eq!(findings(&outcome)[1].evidence[0].to_string(), "/usr/lib/systemd/user/dbus.service");
    let outcome = look_at(image().without(&format!("{UNITS}/sockets.target.wants")));
    assert_eq!(
        findings(&outcome)[1].evidence[0],
        Evidence::path(&format!("{UNITS}/dbus.socket"), "is not enabled")
    );
}

/// With dbus-broker `dbus.service` is an alias that is made when it is enabled.
#[test]
fn dbus_broker_is_a_bus() {
    let alias = "/etc/systemd/user/dbus.service";
    let broker = format!("{UNITS}/dbus-broker.service");
    let host = image()
        .without(&format!("{UNITS}/dbus.service"))
        .file(&broker, "[Service]\n")
        .file(alias, "")
        .path(alias, |record| record.link = Some(broker.clone()));
    assert_eq!(verdicts(&look_at(host))[1], (BUS, Verdict::Met));
}

/// Another user looks: the runtime directory is closed, the cgroup is not.
#[test]
fn what_another_user_can_see() {
    let closed = |host: TestHost| {
        let denied = |host: TestHost, path: &str| host.error(path, "denied");
        denied(denied(denied(host, BUS), "/run/user/1000/systemd/private"), "/run/user/1000/systemd")
    };
    let outcome = look_at(closed(debian()));
    assert_eq!(verdicts(&outcome), [(UNIT, Verdict::Met)]);
    assert_eq!(unknown(&outcome).len(), 1);
    let outcome = look_at(closed(debian()).without(CGROUP).without(LINGER));
    let none_runs = [(UNIT, Verdict::Unmet), (BUS, Verdict::Met)];
    assert_eq!(verdicts(&outcome), none_runs, "on cgroup v2 no cgroup means no user manager");
    let v1 = closed(debian()).without(CGROUP).edit("/proc/self/mountinfo", "cgroup2 cgroup2", "tmpfs tmpfs");
    let private = "/run/user/1000/systemd/private is not readable as this user";
    assert_eq!(unknown(&look_at(v1))[0], private);
}

#[test]
fn without_systemd_it_does_not_apply() {
    assert!(look_at(debian().without("/run/systemd/system")).skipped.unwrap().contains("systemd-init"));
    assert!(look_at(empty_host().image()).skipped.is_some());
    assert!(run(&debian().facts(), &Requirements::default(), &edge()).skipped.is_some());
}
