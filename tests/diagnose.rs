//! `edgeprep diagnose`: from a log to what is so on the host.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::disallowed_methods, reason = "tests make files and start the binary")]

mod common;

use std::fs;
use std::io::Write;
use std::process::Stdio;

use common::{Image, command, edgeprep, fixture, stderr, stdout};
use serde_json::Value;

fn log(name: &str) -> String {
    format!("{}/tests/fixtures/logs/{name}.log", env!("CARGO_MANIFEST_DIR"))
}

/// What a diagnosis of the captured Debian 13 prints for a log on standard input, and its exit code.
fn piped(args: &[&str], log: &[u8]) -> (String, String, Option<i32>) {
    let capture = fixture("debian-13");
    let args = [&["diagnose", "--user", "edge", "--capture", capture.to_str().unwrap()], args].concat();
    let mut child =
        command(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may end before it has read all.
    let _ = child.stdin.take().unwrap().write_all(log);
    let output = child.wait_with_output().unwrap();
    (stdout(&output), stderr(&output), output.status.code())
}

#[test]
fn a_message_is_led_back_to_a_check_and_its_repair() {
    let log = b"x\nfailed to find cpuset cgroup (v2)\nx\nfailed to find cpuset cgroup (v2)\n";
    let (text, _, code) = piped(&[], log);
    assert_eq!(code, Some(1), "{text}");
    for part in [
        "1 known message in 4 lines",
        "no-cpuset-controller   line 2, in 2 lines to line 4",
        "> failed to find cpuset cgroup (v2)",
        "cause: cpuset is not delegated",
        "x cgroup-delegation   k3s\n    cpuset: not delegated (expected delegated)",
        "+ met now: cgroup-controllers",
        "Next: on that host: sudo edgeprep fix",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let capture = fixture("debian-13");
    let args = ["check", "--user", "edge", "--stack", "k3s", "--capture", capture.to_str().unwrap()];
    let check = stdout(&edgeprep(&args));
    let evidence = "/usr/lib/systemd/system/user@.service:28 Delegate=pids memory cpu";
    assert!(text.contains(evidence) && check.contains(evidence), "one wording");
}

#[test]
fn exit_codes_are_those_of_the_checks_that_were_asked() {
    for (log, code) in [
        (&b"all is well\n"[..], 0),
        (b"", 0),
        (b"failed to start noop process for unshare\n", 0),
        (b"failed to find memory cgroup (v2)\n", 0),
        (b"failed to find cpuset cgroup (v2)\n", 1),
        (b"\x1f\x8b\x08\0 compressed", 2),
    ] {
        let (text, error, found) = piped(&["--stack", "k3s"], log);
        assert_eq!(found, Some(code), "{}: {text}{error}", String::from_utf8_lossy(log));
    }
    let met = piped(&["--stack", "k3s"], b"failed to find memory cgroup (v2)\n").0;
    assert!(met.contains("the host has changed since this was logged"), "{met}");
    let unknown = piped(&[], b"").0;
    assert!(unknown.contains("nothing is recognised in 0 lines"), "{unknown}");
}

#[test]
fn what_cannot_be_read_is_told() {
    let image = Image::debian();
    for (file, message) in [("/nonexistent", "cannot read /nonexistent"), ("/etc", "cannot read /etc")] {
        let output = edgeprep(&["diagnose", "--root", image.root(), file]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(2), String::new()));
        assert!(stderr(&output).contains(message), "{}", stderr(&output));
    }
}

#[test]
fn programs_get_json_that_the_schema_describes() {
    let schema: Value =
        serde_json::from_str(&fs::read_to_string("docs/diagnosis.schema.json").unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let logs: Vec<String> = ["k3s", "podman", "kind"].map(log).to_vec();
    let files: Vec<&str> = logs.iter().map(String::as_str).collect();
    let (text, _, code) = piped(&[&["--format", "json"], &files[..]].concat(), b"");
    let told: Value = serde_json::from_str(&text).unwrap();
    let errors: Vec<String> = validator.iter_errors(&told).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!((&told["schema"], &told["exit_code"]), (&"edgeprep.diagnosis/1".into(), &code.into()));
    let hits = told["hits"].as_array().unwrap();
    assert!(hits.len() > 60);
    let met: Vec<&Value> = hits.iter().map(|hit| &hit["met"]).collect();
    let order = |met: &&Value| match met.as_bool() {
        Some(false) => 0,
        None => 1,
        Some(true) => 2,
    };
    assert!(met.iter().copied().is_sorted_by_key(|met| order(&met)), "{met:?}");
    let of = |id: &str| hits.iter().find(|hit| hit["symptom"] == id).unwrap();
    assert_eq!(of("no-ip-forward")["first"]["line"], 8);
    assert_eq!(of("no-cpuset-controller")["checks"][1]["subject"], "cpuset");
    let taint = of("disk-pressure");
    assert_eq!(taint["count"], 2);
    assert!(taint["first"]["file"].as_str().unwrap().ends_with("k3s.log"));
    assert!(taint["last"]["file"].as_str().unwrap().ends_with("kind.log"));
    let (same, ..) = piped(&[&["--format", "json"], &files[..]].concat(), b"");
    assert_eq!(text, same, "deterministic");
}

#[test]
fn secrets_of_a_log_are_not_shown() {
    let log = b"K3S_TOKEN=hunter2 Authorization: Bearer hunter2 https://me:hunter2@h/ too many open files --token hunter2\n";
    for format in ["human", "json"] {
        let (text, _, _) = piped(&["--format", format, "-v"], log);
        assert!(text.contains("LEFT-OUT") && text.contains("too many open files"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn hostile_logs_print_no_control_characters() {
    let log = b"\x1b]0;title\x07\x1b[31mtoo many open files\x1b[0m \x9b31m \x08\x00 end\n";
    let (text, _, _) = piped(&["--color", "never"], log);
    assert!(text.contains("> too many open files"), "{text}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}

#[test]
fn a_site_has_messages_of_its_own() {
    let image = Image::debian();
    image.put("etc/hostname", "edge\n");
    let own = "[[symptom]]\nid = \"vpn\"\npatterns = [\"lookup registry.example.org * no such host\"]\n\
               cause = \"the VPN is down\"\nrepair = \"start vpn.service\"\nsources = [\"us\"]\n";
    image.put("etc/edgeprep/symptoms.toml", own);
    let file = image.path("a.log");
    fs::write(&file, "lookup registry.example.org on 10.0.0.1:53: no such host\n").unwrap();
    let run = || edgeprep(&["diagnose", "--root", image.root(), file.to_str().unwrap()]);
    let output = run();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("cause: the VPN is down\n    repair: start vpn.service"));
    for (bad, message) in [
        ("[[symptom]]\nid = \"vpn\"\n", "symptoms.toml:1: missing field `patterns`"),
        (&own.replace("sources", "checks = [\"nope\"]\nsources"), "vpn: expected the id of a check"),
        (&own.replace("lookup registry.example.org * no such host", "a*b"), "vpn: expected patterns"),
        (&own.replace("repair = \"start vpn.service\"\n", ""), "vpn: expected checks or a repair"),
        (&format!("{own}{own}"), "symptoms.toml:7: vpn: expected another id"),
    ] {
        image.put("etc/edgeprep/symptoms.toml", bad);
        let output = run();
        assert_eq!(output.status.code(), Some(2), "{bad}");
        assert!(stderr(&output).contains(message), "{}", stderr(&output));
    }
}

/// An image holds for nothing that runs.
#[test]
fn an_image_can_be_asked() {
    let image = Image::debian();
    let output = edgeprep(&["diagnose", "--root", image.root(), "--user", "edge", &log("k3s")]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}{}", stderr(&output));
    assert!(text.contains("image of Debian 13") && text.contains("edgeprep fix --root DIR"), "{text}");
}
