//! The calls to systemd and logind, against a stand-in for both on a bus of its own. That the real ones
//! behave like it is proved on booted machines: tests/vm/activation.sh.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "tests make files, start a bus and fail where something is amiss"
)]

mod activations;
mod stand_in;

use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

use edgeprep::apply::bus::{Bus, BusError, Job};
use stand_in::{Answer, StandIn};

const DENIED: &str = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired";

fn failed(call: &str, message: &str) -> BusError {
    BusError::Failed { call: call.to_owned(), message: message.to_owned() }
}

#[test]
fn each_call_reaches_its_method() {
    let stand_in = StandIn::with(&[]);
    let bus = stand_in.bus();
    bus.reload().unwrap();
    for (kind, method) in [
        (Job::Start, "StartUnit"),
        (Job::Stop, "StopUnit"),
        (Job::Restart, "RestartUnit"),
        (Job::ReloadOrRestart, "ReloadOrRestartUnit"),
        (Job::Reload, "ReloadUnit"),
    ] {
        stand_in.calls();
        bus.job(kind, "a@b.service").unwrap();
        assert_eq!(stand_in.calls(), [format!("{method} a@b.service")]);
    }
    assert_eq!(bus.unit_active_state("a.service").unwrap(), "active");
    assert_eq!(bus.slice_control_group("a.slice").unwrap(), "/of/the/slice");
    bus.set_linger(1000, true).unwrap();
    bus.set_linger(1000, false).unwrap();
    assert_eq!(stand_in.calls(), ["SetUserLinger 1000 true", "SetUserLinger 1000 false"]);
}

#[test]
fn the_end_of_the_job_decides_and_of_no_other() {
    let start = |answer| {
        let stand_in = StandIn::with(&[("StartUnit", answer)]);
        stand_in.hasty_bus().with_timeout(Duration::from_secs(3)).job(Job::Start, "a.service")
    };
    for answer in [Answer::Ends("skipped"), Answer::EndsEarly, Answer::EndsAmongMany, Answer::Late(500)] {
        assert_eq!(start(answer), Ok(()), "{answer:?}");
    }
    for result in ["failed", "canceled", "timeout", "dependency", "invalid"] {
        let error = BusError::Job { unit: "a.service".to_owned(), result: result.to_owned() };
        assert_eq!(start(Answer::Ends(result)), Err(error));
    }
    let lied_about = BusError::Job { unit: "a.service".to_owned(), result: "failed".to_owned() };
    assert_eq!(start(Answer::FailsAmidLies), Err(lied_about));
    let other =
        BusError::Timeout { call: "systemd's StartUnit a.service".to_owned(), after: Duration::from_secs(3) };
    assert_eq!(start(Answer::OtherEnds), Err(other));
}

#[test]
fn errors_are_told_apart() {
    let call = "systemd's StartUnit a.service";
    for (answer, expected) in [
        (Answer::Error(DENIED), BusError::Denied { call: call.to_owned() }),
        (
            Answer::Error("org.freedesktop.DBus.Error.AccessDenied"),
            BusError::Denied { call: call.to_owned() },
        ),
        (
            Answer::Error("org.freedesktop.systemd1.NoSuchUnit"),
            BusError::NoSuchUnit { unit: "a.service".to_owned() },
        ),
        (Answer::Error("org.freedesktop.systemd1.UnitMasked"), failed(call, "it was said so")),
        (Answer::Dies, failed(call, "it left the bus without an answer")),
    ] {
        let stand_in = StandIn::with(&[("StartUnit", answer)]);
        assert_eq!(stand_in.bus().job(Job::Start, "a.service"), Err(expected), "{answer:?}");
    }
    let stand_in =
        StandIn::with(&[("Reload", Answer::Error(DENIED)), ("SetUserLinger", Answer::Error(DENIED))]);
    let text = |came_to: Result<(), BusError>| came_to.unwrap_err().to_string();
    assert_eq!(
        text(stand_in.bus().reload()),
        "systemd's Reload is not permitted: it takes root, or a polkit rule that allows it"
    );
    assert_eq!(
        text(stand_in.bus().set_linger(7, true)),
        "logind's SetUserLinger for UID 7 is not permitted: it takes root, or a polkit rule that allows it"
    );
    let stand_in = StandIn::with(&[("GetUnit", Answer::Error("org.freedesktop.systemd1.NoSuchUnit"))]);
    assert_eq!(stand_in.bus().unit_active_state("a.service").unwrap(), "inactive");
}

#[test]
fn nothing_is_waited_for_without_end() {
    let silent: &[_] = &[
        ("Reload", Answer::Never),
        ("SetUserLinger", Answer::Never),
        ("Subscribe", Answer::Never),
        ("Ping", Answer::Never),
        ("ActiveState", Answer::Never),
    ];
    let bus = StandIn::with(silent);
    let hasty = bus.hasty_bus();
    let started = Instant::now();
    for (call, came_to) in [
        ("systemd's Reload", hasty.reload()),
        ("logind's SetUserLinger for UID 1", hasty.set_linger(1, true)),
        ("systemd's StopUnit a.service", hasty.job(Job::Stop, "a.service")),
        ("systemd's Reexecute", hasty.reexecute()),
        ("systemd's ActiveState of a.service", hasty.unit_active_state("a.service").map(drop)),
    ] {
        let after = Duration::from_millis(400);
        assert_eq!(came_to, Err(BusError::Timeout { call: call.to_owned(), after }));
    }
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_bus_that_is_not_there_is_said_to_be_so() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bus");
    let address = format!("unix:path={}", socket.display());
    let at = || Bus::at(&address, Duration::from_millis(400)).unwrap_err();
    let no_bus = |why: &str| BusError::NoBus { address: address.clone(), why: why.to_owned() };
    assert_eq!(at(), no_bus("there is no such socket: D-Bus is not installed or not started"));
    let listener = UnixListener::bind(&socket).unwrap();
    // It takes the connection and says nothing.
    let silent =
        BusError::Timeout { call: format!("connecting to {address}"), after: Duration::from_millis(400) };
    assert_eq!(at(), silent);
    drop(listener);
    assert_eq!(at(), no_bus("nobody listens there: D-Bus is not running"));
    assert!(matches!(Bus::at("nonsense", Duration::from_secs(1)), Err(BusError::NoBus { .. })));
}

#[test]
fn a_bus_that_ends_in_the_middle_is_noticed() {
    let stand_in = StandIn::with(&[("StartUnit", Answer::OtherEnds)]);
    let bus = stand_in.bus();
    thread::scope(|scope| {
        let job = scope.spawn(|| bus.job(Job::Start, "a.service"));
        thread::sleep(Duration::from_millis(500));
        stand_in.end_bus();
        assert!(matches!(job.join().unwrap(), Err(BusError::Failed { .. })));
    });
    assert!(matches!(bus.reload(), Err(BusError::NoBus { .. })));
}

#[test]
fn a_manager_is_executed_again_when_it_answers_again() {
    let stand_in = StandIn::with(&[]);
    stand_in.bus().reexecute().unwrap();
    assert_eq!(stand_in.calls(), ["Reexecute"]);
    stand_in.bus().reexecute().unwrap();
    let later = StandIn::with(&[("Reexecute", Answer::LeavesLater(300))]);
    let started = Instant::now();
    later.bus().reexecute().unwrap();
    assert!(started.elapsed() >= Duration::from_millis(300), "it was still the old one");
    let call = "systemd's Reexecute";
    let denied = StandIn::with(&[("Reexecute", Answer::Error(DENIED))]);
    assert_eq!(denied.bus().reexecute(), Err(BusError::Denied { call: call.to_owned() }));
    let gone = StandIn::with(&[("Reexecute", Answer::Dies)]);
    let after = Duration::from_millis(400);
    assert_eq!(gone.hasty_bus().reexecute(), Err(BusError::Timeout { call: call.to_owned(), after }));
    assert_eq!(gone.bus().reexecute(), Err(failed(call, "it is not on this bus")));
}

#[test]
fn a_transient_slice_is_stopped_whatever_happens() {
    let stand_in = StandIn::with(&[]);
    let came_to = stand_in.bus().with_transient_slice("a.slice", &[], |_| Err::<(), _>(failed("x", "y")));
    assert_eq!(came_to, Err(failed("x", "y")));
    assert_eq!(stand_in.calls(), ["StartTransientUnit a.slice", "StopUnit a.slice"]);
    const EXISTS: Answer = Answer::Error("org.freedesktop.systemd1.UnitExists");
    let left_over = StandIn::with(&[("StartTransientUnit", Answer::Then(&EXISTS, &Answer::Ends("done")))]);
    assert_eq!(left_over.bus().with_transient_slice("a.slice", &[], |_| Ok(7)), Ok(7));
    let (start, stop) = ("StartTransientUnit a.slice", "StopUnit a.slice");
    assert_eq!(left_over.calls(), [start, stop, start, stop]);
    let stuck = StandIn::with(&[("StopUnit", Answer::Ends("failed"))]);
    let came_to = stuck.bus().with_transient_slice("a.slice", &[], |_| Ok(7));
    assert_eq!(came_to, Err(BusError::Job { unit: "a.slice".to_owned(), result: "failed".to_owned() }));
}
