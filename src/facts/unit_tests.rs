//! Fragments, drop-ins, aliases and masks, on small trees.

use super::*;
use crate::facts::testing::{TestHost, empty_host};

const VENDOR: &str = "/usr/lib/systemd/system";

fn host() -> TestHost {
    empty_host()
        .file("/usr/lib/systemd/system/user@.service", "[Service]\nDelegate=pids memory cpu\n")
        .file("/usr/lib/systemd/system/user@.service.d/10-login-barrier.conf", "[Unit]\nAfter=x\n")
        .file("/usr/lib/systemd/system/service.d/99.conf", "[Service]\nA=type\n")
}

fn linked(host: TestHost, path: &str, to: &str, text: &str) -> TestHost {
    host.file(path, text).path(path, |record| record.link = Some(to.to_owned()))
}

fn a_values(host: TestHost, name: &str) -> Vec<String> {
    let unit = host.facts().unit(name).unwrap();
    unit.values("Service", "A").map(|v| v.value.clone()).collect()
}

#[test]
fn a_unit_is_its_fragment_and_its_drop_ins_in_order_of_their_names() {
    let unit = host()
        .file("/etc/systemd/system/user@.service.d/zz.conf", "[Service]\nA=template\n")
        .file("/run/systemd/system/user@1000.service.d/50.conf", "[Service]\nA=instance\n")
        .file("/run/systemd/system/user@1000.service.d/zz.conf", "[Service]\nA=shadowed\n")
        .facts()
        .unit("user@1000.service")
        .unwrap();
    assert_eq!(unit.fragment.as_deref(), Some("/usr/lib/systemd/system/user@.service"));
    assert_eq!(
        unit.drop_ins,
        [
            "/usr/lib/systemd/system/user@.service.d/10-login-barrier.conf",
            "/run/systemd/system/user@1000.service.d/50.conf",
            "/usr/lib/systemd/system/service.d/99.conf",
            "/etc/systemd/system/user@.service.d/zz.conf",
        ]
    );
    let values: Vec<_> = unit.values("Service", "A").map(|v| (v.value.as_str(), v.at.line)).collect();
    assert_eq!(values, [("instance", Some(2)), ("type", Some(2)), ("template", Some(2))]);
    assert_eq!(
        unit.shadowed,
        [Shadowed {
            path: "/run/systemd/system/user@1000.service.d/zz.conf".to_owned(),
            by: "/etc/systemd/system/user@.service.d/zz.conf".to_owned(),
        }]
    );
}

#[test]
fn slices_take_the_drop_ins_of_their_prefix_and_need_no_fragment() {
    let facts = host()
        .file("/usr/lib/systemd/system/user-.slice.d/10-defaults.conf", "[Slice]\nTasksMax=33%\n")
        .facts();
    let unit = facts.unit("user-1000.slice").unwrap();
    assert_eq!((&unit.fragment, unit.values("Slice", "TasksMax").count()), (&None, 1));
}

#[test]
fn a_higher_fragment_replaces_a_lower_one_and_can_mask_it() {
    let copy = host().file("/etc/systemd/system/user@.service", "[Service]\nA=copy\n");
    let unit = copy.facts().unit("user@1000.service").unwrap();
    assert_eq!(unit.fragment.as_deref(), Some("/etc/systemd/system/user@.service"));
    assert_eq!(unit.values("Service", "Delegate").count(), 0);
    assert_eq!(unit.shadowed[0].path, "/usr/lib/systemd/system/user@.service");

    let path = "/etc/systemd/system/user@1000.service";
    for masked in [host().file(path, ""), linked(host(), path, "/dev/null", "")] {
        let unit = masked.facts().unit("user@1000.service").unwrap();
        assert_eq!(unit.masked.as_ref().map(|at| &*at.path), Some(path));
        assert!(unit.assignments.is_empty() && unit.drop_ins.is_empty());
    }
}

#[test]
fn links_are_aliases_copies_or_nothing() {
    let etc = "/etc/systemd/system/user@.service";
    let own = host().file(&format!("{VENDOR}/edge@.service"), "[Service]\nA=edge\n");
    let own = own.file("/etc/systemd/system/edge@1.service.d/a.conf", "[Service]\nA=drop-in\n");
    for (to, expected) in [
        ("../../../usr/lib/systemd/system/edge@.service", vec!["edge", "type", "drop-in"]),
        ("/lib/systemd/system/edge@.service", vec!["edge", "type", "drop-in"]),
        ("/opt/edge/user@.service", vec!["linked", "type"]),
        ("/usr/lib/systemd/system/user@.service", vec!["type"]),
    ] {
        let host = linked(own.clone(), etc, to, "[Service]\nA=linked\n");
        assert_eq!(a_values(host, "user@1.service"), expected, "{to}");
    }
    let circle = linked(own, etc, "edge@.service", "");
    let circle = linked(circle, &format!("{VENDOR}/edge@.service"), "user@.service", "");
    assert_eq!(circle.facts().unit("user@1.service").unwrap().fragment, None);
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let conf = "/etc/systemd/system/user@.service.d/a.conf";
    let hidden = host().file(conf, "x").path(conf, |record| record.read_error = Some("denied".to_owned()));
    let denied = |path: &str| Err(Unread::Denied { path: path.to_owned() });
    assert_eq!(hidden.facts().unit("user@1000.service"), denied(conf));
    let closed = host().error("/etc/systemd/system", "denied");
    assert_eq!(closed.facts().unit("user@1000.service"), denied("/etc/systemd/system"));
}
