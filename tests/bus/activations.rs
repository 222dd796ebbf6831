//! What each activation asks of whom, in which order, and what a failure means.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use edgeprep::apply::activation::{Buses, Done, activate, revert};
use edgeprep::apply::bus::{Bus, BusError};
use edgeprep::apply::user_call::UserCall;
use edgeprep::facts::boot::Carry;
use edgeprep::plan::{Activation, Credentials};

use crate::stand_in::{Answer, StandIn};

/// A system with a stand-in for both managers, and a kernel that shows one text after the other.
struct Machine {
    stand_in: StandIn,
    kernel: VecDeque<Option<&'static str>>,
    user_unit: RefCell<VecDeque<&'static str>>,
    user_bus: bool,
    paused: Duration,
}

impl Machine {
    fn with(answers: &[(&'static str, Answer)]) -> Machine {
        Machine {
            stand_in: StandIn::with(answers),
            kernel: VecDeque::from([Some(ALL)]),
            user_unit: RefCell::new(VecDeque::from([ALL])),
            user_bus: true,
            paused: Duration::ZERO,
        }
    }

    fn activate(&mut self, activation: &Activation) -> Result<Done, String> {
        activate(activation, self).map_err(|error| error.to_string())
    }

    fn calls(&self) -> String {
        self.stand_in.calls().join("; ")
    }
}

/// The next of several, the last of which stays.
fn next<T: Copy>(queue: &mut VecDeque<T>) -> T {
    if queue.len() > 1 { queue.pop_front().unwrap() } else { queue[0] }
}

impl Buses for Machine {
    fn system(&mut self) -> Result<Bus, BusError> {
        Ok(self.stand_in.bus())
    }

    fn user(&mut self, who: &Credentials, call: &UserCall) -> Result<(), BusError> {
        self.stand_in.note(&format!("as {}", who.name));
        call.perform_on(&self.stand_in.bus(), |cgroup| {
            assert_eq!(cgroup, "/of/the/slice");
            Ok(next(&mut self.user_unit.borrow_mut()).to_owned())
        })
    }

    fn controllers(&mut self, uid: u32) -> io::Result<String> {
        assert_eq!(uid, 1000);
        next(&mut self.kernel).map(str::to_owned).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn has_user_bus(&mut self, _: u32) -> bool {
        self.user_bus
    }

    fn write_sysctl(&mut self, key: &str, value: &str) -> io::Result<()> {
        self.stand_in.note(&format!("{key} = {value}"));
        if key == "absent" { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
    }

    fn chmod_device(&mut self, path: &str, mode: u32) -> io::Result<()> {
        self.stand_in.note(&format!("{path} {mode:o}"));
        if path == "/absent" { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
    }

    fn run(&mut self, carry: &Carry) -> io::Result<()> {
        self.stand_in.note(&format!("run {carry}"));
        if carry.words[0] == "absent" { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
    }

    fn pause(&mut self, time: Duration) {
        self.paused += time;
    }
}

fn next_boot(words: &[&str], run: bool) -> Activation {
    Activation::NextBoot { path: "/etc/default/grub".to_owned(), carry: vec![Carry::new(words)], run }
}

/// The file holds, and the boot loader passes what it did.
#[test]
fn a_boot_loader_that_is_not_told_is_no_failure() {
    let mut machine = Machine::with(&[]);
    let why = "absent: entity not found; until it succeeds, the next boot is as this one".to_owned();
    assert_eq!(machine.activate(&next_boot(&["absent"], true)), Ok(Done::Not { why }));
    let Ok(Done::Not { why }) = revert(&next_boot(&["update-grub"], false), &mut machine) else { panic!() };
    assert!(why.ends_with("until the next boot after: sudo update-grub"), "{why}");
}

const ALL: &str = "cpuset cpu io memory pids\n";
const SOME: &str = "cpu memory pids\n";
const DENIED: Answer = Answer::Error("org.freedesktop.DBus.Error.AccessDenied");

fn edge() -> Credentials {
    let (name, home) = ("edge".to_owned(), "/home/edge".to_owned());
    Credentials { name, uid: 1000, gid: 1000, groups: vec![1000], home }
}

fn delegation() -> Activation {
    Activation::Delegation { user: edge(), controllers: vec!["cpu".to_owned(), "cpuset".to_owned()] }
}

fn linger() -> Activation {
    Activation::Linger { user: "edge".to_owned(), uid: 1000 }
}

fn start_manager() -> Activation {
    Activation::StartUserManager { user: "edge".to_owned(), uid: 1000 }
}

fn sysctl(key: &str, before: Option<&str>) -> Activation {
    Activation::Sysctl { key: key.to_owned(), value: "1".to_owned(), before: before.map(str::to_owned) }
}

fn device(path: &str) -> Activation {
    Activation::DeviceMode { path: path.to_owned(), mode: 0o666, before: 0o600 }
}

fn modules() -> Activation {
    Activation::LoadModules { names: vec!["tun".to_owned()] }
}

fn start() -> Activation {
    Activation::UserStart { user: edge(), unit: "podman.socket".to_owned(), may_fail: false }
}

#[test]
fn each_activation_asks_for_what_it_takes_and_takes_it_back() {
    let mut machine = Machine::with(&[]);
    let reexecuted = "as edge; Reexecute; as edge; StartTransientUnit edgeprep.slice CPUWeight,AllowedCPUs; \
                      StopUnit edgeprep.slice";
    for (activation, asked, taken_back) in [
        (Activation::Reload, "Reload", Some("Reload")),
        (modules(), "RestartUnit systemd-modules-load.service", None),
        (sysctl("a.b", Some("0")), "a.b = 1", Some("a.b = 0")),
        (sysctl("a.b", None), "a.b = 1", None),
        (device("/dev/net/tun"), "/dev/net/tun 666", Some("/dev/net/tun 600")),
        (Activation::ReloadAppArmor, "ReloadUnit apparmor.service", Some("ReloadUnit apparmor.service")),
        (
            Activation::ReloadLogind,
            "ReloadOrRestartUnit systemd-logind.service",
            Some("ReloadOrRestartUnit systemd-logind.service"),
        ),
        (linger(), "SetUserLinger 1000 true", Some("SetUserLinger 1000 false")),
        (
            Activation::SliceLimits { uid: 1000 },
            "StartTransientUnit user-1000-edgeprep.slice; StopUnit user-1000-edgeprep.slice",
            Some("StartTransientUnit user-1000-edgeprep.slice; StopUnit user-1000-edgeprep.slice"),
        ),
        (start_manager(), "StartUnit user@1000.service", None),
        (delegation(), reexecuted, None),
        (Activation::UserReload { user: edge() }, "as edge; Reload", Some("as edge; Reload")),
        (
            start(),
            "as edge; ResetFailedUnit podman.socket; StartUnit podman.socket",
            Some("as edge; StopUnit podman.socket"),
        ),
        (
            Activation::RestartUserManager { user: edge(), ends: Vec::new() },
            "RestartUnit user@1000.service",
            None,
        ),
        (next_boot(&["update-grub"], true), "run update-grub", Some("run update-grub")),
        (next_boot(&["update-grub"], false), "", None),
    ] {
        assert_eq!(machine.activate(&activation), Ok(Done::Yes), "{activation:?}");
        assert_eq!(machine.calls(), asked, "{activation:?}");
        match (revert(&activation, &mut machine).unwrap(), taken_back) {
            (Done::Yes, Some(taken_back)) => assert_eq!(machine.calls(), taken_back),
            (Done::Not { why }, None) => {
                assert!(why.contains(" until "), "{why}");
                assert_eq!(machine.calls(), "");
            }
            other => panic!("{activation:?}: {other:?}"),
        }
    }
}

#[test]
fn a_failure_is_one_where_the_files_need_it() {
    let failing: Vec<(&str, Answer)> =
        ["Reload", "StartUnit", "ReloadUnit", "ReloadOrRestartUnit", "SetUserLinger"]
            .into_iter()
            .map(|method| (method, DENIED))
            .chain([("RestartUnit", Answer::Ends("failed")), ("Reexecute", DENIED)])
            .collect();
    let mut machine = Machine::with(&failing);
    let denied = |what: &str, call: &str| {
        Err(format!("{what}: {call} is not permitted: it takes root, or a polkit rule that allows it"))
    };
    let not = |why: &str| Ok(Done::Not { why: why.to_owned() });
    for (activation, expected) in [
        (Activation::Reload, denied("systemd reads its unit files again", "systemd's Reload")),
        (
            Activation::ReloadAppArmor,
            denied("AppArmor reads its profiles again", "systemd's ReloadUnit apparmor.service"),
        ),
        (
            Activation::ReloadLogind,
            denied(
                "logind reads its configuration again",
                "systemd's ReloadOrRestartUnit systemd-logind.service",
            ),
        ),
        (linger(), denied("edge lingers", "logind's SetUserLinger for UID 1000")),
        (
            Activation::UserReload { user: edge() },
            denied("the user manager of edge reads its unit files again", "systemd's Reload"),
        ),
        (
            start(),
            denied("the user manager of edge starts podman.socket", "systemd's StartUnit podman.socket"),
        ),
        // What the rest holds without.
        (
            Activation::UserStart { user: edge(), unit: "k3d-network.service".to_owned(), may_fail: true },
            not(
                "the user manager of edge starts k3d-network.service: systemd's StartUnit k3d-network.service \
                 is not permitted: it takes root, or a polkit rule that allows it",
            ),
        ),
        (
            modules(),
            not("loading tun: the job for systemd-modules-load.service ended with `failed`: \
                 its journal says why"),
        ),
        (sysctl("absent", None), not("setting absent to `1`: entity not found")),
        (device("/absent"), not("giving /absent the mode 0666: entity not found")),
        (
            delegation(),
            not("systemd's Reexecute is not permitted: it takes root, or a polkit rule that allows it; \
                 a reboot or `systemctl restart user@1000.service` helps, which ends what edge runs"),
        ),
    ] {
        assert_eq!(machine.activate(&activation), expected, "{activation:?}");
    }
}

#[test]
fn a_unit_that_was_started_too_often_is_started_again() {
    // systemd loads a unit when it is first asked for: nothing is to be forgotten of any other.
    let not_loaded = Answer::Error("org.freedesktop.systemd1.NoSuchUnit");
    for (answers, expected) in [
        (vec![("ResetFailedUnit", not_loaded)], Ok(Done::Yes)),
        (
            vec![("ResetFailedUnit", DENIED)],
            Err("the user manager of edge starts podman.socket: systemd's ResetFailedUnit podman.socket is not \
                 permitted: it takes root, or a polkit rule that allows it"
                .to_owned()),
        ),
    ] {
        let mut machine = Machine::with(&answers);
        assert_eq!(machine.activate(&start()), expected);
        let started = machine.calls().ends_with("; StartUnit podman.socket");
        assert_eq!(started, expected.is_ok(), "it is asked first, and started only then");
    }
}

#[test]
fn a_controller_that_has_not_reached_the_user_manager_is_pushed() {
    let pushed = "StartTransientUnit user-1000-edgeprep.slice; StopUnit user-1000-edgeprep.slice";
    let helps = "a reboot or `systemctl restart user@1000.service` helps, which ends what edge runs";
    // At once, and after a while.
    for kernel in [vec![Some(SOME), Some(ALL)], vec![Some(SOME), Some(SOME), Some(SOME), Some(ALL)]] {
        let mut machine = Machine::with(&[]);
        machine.kernel = kernel.into();
        assert_eq!(machine.activate(&delegation()), Ok(Done::Yes));
        assert!(machine.calls().starts_with(&format!("{pushed}; as edge; Reexecute; as edge; Start")));
    }
    // Never, as where PID 1 has not read the drop-in.
    let mut machine = Machine::with(&[]);
    machine.kernel = [Some(SOME)].into();
    let why = format!("user@1000.service does not get cpuset; {helps}");
    assert_eq!(machine.activate(&delegation()), Ok(Done::Not { why }));
    assert_eq!((machine.calls().as_str(), machine.paused), (pushed, Duration::from_secs(2)));
    // There is nobody to give it to.
    for kernel in [vec![None], vec![Some(SOME), None]] {
        machine.kernel = kernel.into();
        let why = "user@1000.service is not running: it gets the controllers when it starts".to_owned();
        assert_eq!(machine.activate(&delegation()), Ok(Done::Not { why }));
    }
}

#[test]
fn a_delegation_that_units_do_not_get_is_not_in_effect() {
    let mut machine = Machine::with(&[]);
    *machine.user_unit.get_mut() = [SOME, SOME, ALL].into();
    assert_eq!(machine.activate(&delegation()), Ok(Done::Yes), "after a while");
    *machine.user_unit.get_mut() = [SOME].into();
    let why = "units of the user manager do not get cpuset; a reboot or `systemctl restart user@1000.service` \
               helps, which ends what edge runs";
    assert_eq!(machine.activate(&delegation()), Ok(Done::Not { why: why.to_owned() }));
    assert!(machine.calls().ends_with("StopUnit edgeprep.slice"));
}

#[test]
fn lingering_is_over_when_the_user_manager_runs() {
    const STARTS: Answer = Answer::Then(&Answer::Text("activating"), &Answer::Text("active"));
    let mut machine = Machine::with(&[("ActiveState", STARTS)]);
    assert_eq!(machine.activate(&linger()), Ok(Done::Yes));
    assert_eq!(machine.paused, Duration::from_millis(100));
    machine.user_bus = false;
    match machine.activate(&linger()) {
        Ok(Done::Not { why }) => {
            assert!(why.starts_with("user@1000.service runs, but there is no /run/user/1000/bus"))
        }
        other => panic!("{other:?}"),
    }
    for (state, waited) in [("failed", 0), ("activating", 30), ("inactive", 30)] {
        let mut machine = Machine::with(&[("ActiveState", Answer::Text(state))]);
        let error = machine.activate(&linger()).unwrap_err();
        assert!(error.starts_with(&format!("user@1000.service is {state}")), "{error}");
        assert_eq!(machine.paused, Duration::from_secs(waited));
    }
}
