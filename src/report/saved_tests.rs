use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::facts::Facts;
use crate::host;
use crate::inspection::{Request, inspect};
use crate::requirements;

fn of_fixture(name: &str, strict: bool) -> Report {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sysfs").join(name);
    let facts = Facts::new(host::Host::capture(&folder).unwrap());
    let stacks = requirements::Stack::ALL.to_vec();
    inspect(&facts, &Request { profile: "auto".to_owned(), stacks, strict, ..Request::default() }).unwrap()
}

fn written() -> Value {
    static WRITTEN: LazyLock<Value> =
        LazyLock::new(|| serde_json::to_value(of_fixture("debian-13", false)).unwrap());
    WRITTEN.clone()
}

fn parsed(value: &Value) -> Result<Saved, NoReport> {
    parse(&serde_json::to_vec(value).unwrap())
}

fn refused(bytes: &[u8]) -> String {
    parse(bytes).unwrap_err().to_string()
}

#[test]
fn nothing_of_a_report_is_lost() {
    for name in ["debian-13", "debian-13-no-memory", "debian-13-no-manager", "debian-13-arm64"] {
        for strict in [false, true] {
            let mut report = of_fixture(name, strict);
            report.timestamp = strict.then_some(1_700_000_000);
            report.workload = strict.then(|| vec!["pod.yaml".to_owned()]);
            report.probes = strict.then(|| {
                vec![super::super::Tried {
                    probe: "port-bind",
                    user: "edge".to_owned(),
                    subject: "80".to_owned(),
                    result: "refused",
                    text: "EACCES".to_owned(),
                    checks: vec!["unprivileged-ports"],
                    overrules: vec!["unprivileged-ports"],
                }]
            });
            let finding =
                &mut report.checks.iter_mut().find(|row| !row.findings.is_empty()).unwrap().findings;
            finding[0].overruled = strict.then(|| crate::finding::Overruled {
                by: "port-bind",
                verdict: "met",
                found: "80".to_owned(),
            });
            let saved = Saved::of(&report).unwrap();
            assert_eq!(
                serde_json::to_value(&saved).unwrap(),
                serde_json::to_value(&report).unwrap(),
                "{name}"
            );
            assert_eq!(saved.exit_code(), report.summary.exit_code, "{name}");
            assert_eq!(saved.readiness(), report.summary.verdict, "{name}");
            for (row, live) in saved.checks.iter().zip(&report.checks) {
                assert_eq!((row.status(), row.level()), (live.status, live.level), "{name}: {}", row.id);
            }
            for (stack, live) in saved.stacks.iter().zip(&report.stacks) {
                assert_eq!((stack.readiness(), stack.needs()), (live.verdict, live.needs), "{name}");
            }
        }
    }
}

#[test]
fn keys_of_newer_versions_do_no_harm_and_their_words_are_never_good() {
    let mut value = written();
    value["later"] = json!({ "deep": [1, { "er": null }] });
    value["host"]["later"] = json!(1);
    value["checks"][0]["status"] = json!("splendid");
    value["checks"][0]["level"] = json!("vital");
    value["checks"][0]["later"] = json!([]);
    value["stacks"] = json!([
        { "name": "podman-next", "user": "edge", "verdict": "ready", "blockers": [], "needs": "none" },
        { "name": "k3s", "user": "edge", "verdict": "splendid", "blockers": [], "needs": "a new moon" },
    ]);
    value["summary"]["exit_code"] = json!(0);
    value["summary"]["verdict"] = json!("ready");
    let saved = parsed(&value).unwrap();
    assert_eq!(saved.checks[0].status(), Status::Unknown);
    assert_eq!(saved.checks[0].level(), Level::Required);
    assert_eq!((saved.stacks[0].name.as_str(), saved.stacks[0].advised), ("podman-next", 0));
    assert_eq!(saved.stacks[1].needs(), Needs::Reboot);
    assert_eq!((saved.readiness(), saved.exit_code()), (Some(Readiness::Unknown), exit_code::UNKNOWN));
}

#[test]
fn ready_is_only_what_its_own_blockers_do_not_contradict() {
    let mut value = written();
    value["stacks"] = json!([
        { "name": "k3s", "user": "edge", "verdict": "ready", "blockers": ["subid-range"], "needs": "none" },
    ]);
    assert_eq!(parsed(&value).unwrap().readiness(), Some(Readiness::Unknown));
    value["stacks"] = json!([]);
    let without = refused(&serde_json::to_vec(&value).unwrap());
    assert_eq!(without, "names no stack: expected at least one in \"stacks\"");
}

#[test]
fn what_is_no_report_is_refused_with_its_place() {
    let other = |schema: &str| {
        let mut value = written();
        value["schema"] = json!(schema);
        refused(&serde_json::to_vec(&value).unwrap())
    };
    assert_eq!(other("edgeprep.report/2"), "edgeprep.report/2: this edgeprep reads edgeprep.report/1");
    assert_eq!(
        refused(br#"{"schema": "edgeprep.report/2", "checks": 7}"#),
        "edgeprep.report/2: this edgeprep reads edgeprep.report/1",
        "also where another version is made otherwise"
    );
    assert!(refused(br#"{"schema": "edgeprep.fix/1", "report": {}}"#).starts_with("edgeprep.fix/1: this"));
    assert!(other(&"x".repeat(100_000)).len() < 300);
    for bytes in [&b""[..], b" \n\t"] {
        assert!(refused(bytes).starts_with("is empty: expected"));
    }
    for text in ["{}", "[]", "7", "null", r#"{"schema": 1}"#, r#"{"schema": "cyclonedx/1"}"#] {
        assert!(refused(text.as_bytes()).starts_with("is no report of edgeprep"), "{text}");
    }
    assert_eq!(refused(b"edgeprep 0.1.0 Debian"), "line 1, column 1: not JSON: expected value");
    assert_eq!(refused(b"{\n \"schema\": \xff}"), "line 2, column 12: not JSON: expected value");
    let missing = refused(b"{\n\"schema\": \"edgeprep.report/1\"}");
    assert_eq!(missing, "line 2, column 30: not as edgeprep.report/1 has it: missing field `version`");
    let mut value = written();
    value["users"] = json!("edge");
    let wrong = refused(&serde_json::to_vec_pretty(&value).unwrap());
    assert!(wrong.contains("invalid type: string \"edge\", expected a sequence"), "{wrong}");
    for (key, why) in [("later", "the end is missing"), ("schema", "recursion limit")] {
        let deep = format!("{{\"{key}\": {}", "[".repeat(1_000_000));
        assert!(refused(deep.as_bytes()).contains(why), "{}", refused(deep.as_bytes()));
    }
}

#[test]
fn no_more_is_read_than_a_report_can_have() {
    assert!(matches!(read(io::repeat(b' ')), Err(NoReport::TooLarge)));
    assert!(read(io::repeat(b' ').take(LIMIT_BYTES)).is_ok());
    let size = serde_json::to_vec_pretty(&written()).unwrap().len() as u64;
    assert!(size * 10 < LIMIT_BYTES, "{size}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_report_that_ends_early_says_so(at in 1usize..10_000) {
        let bytes = serde_json::to_vec_pretty(&written()).unwrap();
        let at = at % (bytes.len() - 2) + 1;
        let why = parse(&bytes[..at]).unwrap_err();
        prop_assert!(matches!(why, NoReport::Truncated { .. }), "{at}: {why}");
    }

    #[test]
    fn no_input_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
    }
}
