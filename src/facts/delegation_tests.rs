//! What systemd 252 and 257 made of 28 sets of drop-ins and a few more, as
//! `systemctl show -p Delegate -p DelegateControllers user@1001.service` printed it on Debian 12 and 13.

use super::*;
use crate::facts::testing::{TestHost, empty_host};

const UID: u32 = 1001;
const TEMPLATE: &str = "etc/systemd/system/user@.service.d/delegate.conf";

/// The unit file of Debian, as far as it matters.
fn vendor() -> TestHost {
    empty_host().file(
        "/usr/lib/systemd/system/user@.service",
        "[Unit]\nDescription=User Manager for UID %i\n\n[Service]\nUser=%i\nType=notify\nSlice=user-%i.slice\n\
         KillMode=mixed\nDelegate=pids memory cpu\nTasksMax=infinity\n",
    )
}

fn with(files: &[(&str, &str)]) -> TestHost {
    files.iter().fold(vendor(), |host, (path, text)| host.file(&format!("/{path}"), text))
}

/// `Delegate=` values, one drop-in each, in `/etc`.
fn drop_ins(values: &[&str]) -> TestHost {
    values.iter().enumerate().fold(vendor(), |host, (n, value)| {
        let path = format!("/etc/systemd/system/user@.service.d/{n}.conf");
        host.file(&path, format!("[Service]\nDelegate={value}\n"))
    })
}

fn result(host: TestHost) -> String {
    let delegation = host.facts().delegation(UID).unwrap();
    let names: Vec<&str> = delegation.controllers.keys().map(|c| c.as_str()).collect();
    match (delegation.on, names.is_empty()) {
        (false, _) => "no".to_owned(),
        (true, true) => "yes, none".to_owned(),
        (true, false) => names.join(" "),
    }
}

#[test]
fn golden_vectors() {
    let set = |value: &str| format!("[Service]\nDelegate={value}\n");
    let (yes, no) = (set("yes"), set("no"));
    let linked = |path: &str, host: TestHost| {
        host.file(path, "").path(path, |record| record.read_error = Some("device".to_owned()))
    };
    let all = "cpu cpuset io memory pids";
    let usual = "cpu memory pids";
    let cpuset = "cpu cpuset memory pids";
    let low = "usr/lib/systemd/system/user@.service.d/delegate.conf";
    for (id, host, expected) in [
        ("a", vendor(), usual),
        ("b", with(&[(TEMPLATE, &set("cpu cpuset io memory pids"))]), all),
        ("c", with(&[(TEMPLATE, &set("cpuset"))]), cpuset),
        ("d", with(&[(TEMPLATE, &(set("") + "Delegate=cpuset\n"))]), "cpuset"),
        ("d2", with(&[(TEMPLATE, &set(""))]), "yes, none"),
        ("e", with(&[(TEMPLATE, &yes)]), all),
        ("e2", with(&[(TEMPLATE, &yes), ("etc/systemd/system/user@.service.d/zz.conf", &set("cpu"))]), all),
        ("f", with(&[(TEMPLATE, &yes), ("usr/lib/systemd/system/user@.service.d/zz.conf", &no)]), "no"),
        (
            "g",
            with(&[
                (TEMPLATE, &yes),
                ("etc/systemd/system/user@1001.service.d/delegate.conf", "[Service]\nNice=1\n"),
            ]),
            usual,
        ),
        ("h", with(&[(TEMPLATE, &yes), ("run/systemd/system/user@.service.d/delegate.conf", &no)]), all),
        ("h2", with(&[(TEMPLATE, &yes), ("run/systemd/system/user@1001.service.d/delegate.conf", &no)]), all),
        ("i", linked(&format!("/{TEMPLATE}"), with(&[(low, &yes)])), usual),
        ("k", with(&[(low, &yes), (TEMPLATE, "")]), usual),
        ("j", with(&[(TEMPLATE, &yes), ("etc/systemd/system/service.d/zz.conf", &no)]), "no"),
        ("j2", with(&[(TEMPLATE, &yes), ("etc/systemd/system/service.d/99-x.conf", &no)]), all),
        ("j3", with(&[(TEMPLATE, &yes), ("etc/systemd/system/service.d/delegate.conf", &no)]), all),
        ("l", with(&[(TEMPLATE, &set("cpu foo cpuset"))]), cpuset),
        ("p", with(&[(TEMPLATE, "Delegate=cpuset\n")]), usual),
        ("p2", with(&[(TEMPLATE, "[service]\nDelegate=cpuset\n")]), usual),
        ("p3", with(&[(TEMPLATE, &set("cpu,cpuset"))]), usual),
        ("p4", with(&[(TEMPLATE, "[Service]\nDelegate=cpuset")]), cpuset),
        ("p5", with(&[(TEMPLATE, "\u{feff}[Service]\r\nDelegate=cpuset\r\n")]), cpuset),
        ("p6", with(&[(TEMPLATE, "[Service]\nDelegate=cpu \\\n  cpuset\n")]), cpuset),
        ("p7", with(&[(TEMPLATE, &set("cpu cpuset # comment"))]), cpuset),
        ("p8", with(&[("etc/systemd/system/user@.service.d/delegate", &set("cpuset"))]), usual),
        ("p9", with(&[(TEMPLATE, &set("cpuset"))]).mode(&format!("/{TEMPLATE}"), "0000"), cpuset),
        // A link to a directory is followed by the reader, so it looks like a directory from here.
        ("p10", with(&[(TEMPLATE, &set("cpuset"))]), cpuset),
        ("q", with(&[("etc/systemd/system/user@.service", &set("cpuset"))]), "cpuset"),
        ("reset, then io", drop_ins(&["", "io"]), "io"),
        ("no, then cpu", drop_ins(&["no", "cpu"]), "cpu"),
        ("yes, then a list", drop_ins(&["yes", "cpu"]), all),
        ("unknown name", drop_ins(&["cpu bogus io"]), "cpu io memory pids"),
        ("unbalanced quote", drop_ins(&["no", "\"cpu"]), "no"),
        ("quotes", drop_ins(&["", "\"cpu\" 'io'"]), "cpu io"),
        ("boolean in a list", drop_ins(&["", "yes cpu"]), "cpu"),
        ("pseudo-controllers", drop_ins(&["", "bpf-firewall hugetlb"]), "yes, none"),
        (
            "one order over template and instance",
            with(&[
                ("etc/systemd/system/user@.service.d/90.conf", &(set("") + "Delegate=cpu\n")),
                ("etc/systemd/system/user@1001.service.d/10.conf", &set("io")),
            ]),
            "cpu",
        ),
        (
            "volatile reset",
            with(&[
                ("etc/systemd/system/user@.service.d/a.conf", &set("cpuset")),
                ("run/systemd/system/user@.service.d/b.conf", &(set("") + "Delegate=pids\n")),
            ]),
            "pids",
        ),
        (
            "volatile reset, masked",
            linked(
                "/etc/systemd/system/user@.service.d/b.conf",
                with(&[
                    ("etc/systemd/system/user@.service.d/a.conf", &set("cpuset")),
                    ("run/systemd/system/user@.service.d/b.conf", &(set("") + "Delegate=pids\n")),
                ]),
            ),
            cpuset,
        ),
        ("no user manager at all", empty_host(), "no"),
    ] {
        assert_eq!(result(host), expected, "{id}");
    }
}

#[test]
fn every_controller_knows_the_line_that_granted_it_or_took_it_away() {
    let delegation = drop_ins(&["cpuset", "", "io"]).facts().delegation(UID).unwrap();
    let at = |e: &Evidence| e.to_string();
    let dir = "/etc/systemd/system/user@.service.d";
    assert_eq!(delegation.controllers.values().map(at).collect::<Vec<_>>(), [format!("{dir}/2.conf:2")]);
    assert_eq!(delegation.taken.len(), 4);
    assert!(delegation.taken.values().all(|e| at(e) == format!("{dir}/1.conf:2")));
    assert_eq!(delegation.decided_by.as_ref().map(at), Some(format!("{dir}/2.conf:2")));
    let vendor = vendor().facts().delegation(UID).unwrap();
    assert_eq!(vendor.controllers[&Controller::Cpu].line, Some(9));
    let typo = drop_ins(&["cpu bogus"]).facts().delegation(UID).unwrap();
    assert_eq!(typo.ignored[0].value, "bogus");
}

#[test]
fn disabled_controllers_are_those_of_all_units_above() {
    let host = with(&[
        ("etc/systemd/system/-.slice.d/a.conf", "[Slice]\nDisableControllers=io pids\nDisableControllers=\n"),
        ("etc/systemd/system/user-.slice.d/a.conf", "[Slice]\nDisableControllers=cpuset nonsense\n"),
        ("etc/systemd/system/user.slice.d/a.conf", "[Service]\nDisableControllers=memory\n"),
        ("etc/systemd/system/user@.service.d/a.conf", "[Service]\nDisableControllers=cpu\n"),
    ]);
    let disabled = host.facts().disabled_controllers(UID).unwrap();
    assert_eq!(disabled.keys().copied().collect::<Vec<_>>(), [Controller::Cpu, Controller::Cpuset]);
    assert_eq!(disabled[&Controller::Cpuset].to_string(), "/etc/systemd/system/user-.slice.d/a.conf:2");
}

#[test]
fn a_drop_in_does_not_always_win() {
    let plan = |host: TestHost| {
        let unit = host.facts().unit(&format!("user@{UID}.service")).unwrap();
        let ours = format!("/{TEMPLATE}");
        with_drop_in(&unit, &ours, &ALL_DELEGATED)
    };
    let set = |value: &str| format!("[Service]\nDelegate={value}\n");
    let dir = "usr/lib/systemd/system/user@.service.d";
    let instance = "etc/systemd/system/user@1001.service.d/delegate.conf";
    for (files, wins) in [
        (vec![], true),
        (vec![(TEMPLATE, set("no"))], true),
        (vec![(&*format!("{dir}/99-x.conf"), set("no"))], true),
        (vec![(&*format!("{dir}/delegate.conf"), set("no"))], true),
        (vec![(&*format!("{dir}/zz.conf"), set("no"))], false),
        (vec![("etc/systemd/system/service.d/zz.conf", set(""))], false),
        (
            vec![
                (&*format!("{dir}/zz.conf"), set("no")),
                ("etc/systemd/system/user@.service.d/zz.conf", String::new()),
            ],
            true,
        ),
    ] {
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let delegation = plan(with(&files)).unwrap();
        assert_eq!(delegation.set().contains(&Controller::Cpuset), wins, "{files:?}");
    }
    let beaten = plan(with(&[(&format!("{dir}/zz.conf"), &set("no"))])).unwrap();
    assert_eq!(beaten.taken[&Controller::Cpuset].to_string(), format!("/{dir}/zz.conf:2"));
    assert_eq!(plan(with(&[(instance, "[Service]\nNice=1\n")])), Err(format!("/{instance}")));
    let volatile = "run/systemd/system/user@1001.service.d/delegate.conf";
    assert!(plan(with(&[(volatile, &set("no"))])).is_ok());
}
