//! `edgeprep fleet` on real reports: files, folders, standard input, each format, and names that
//! are markup or tell a terminal what to do.
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
use std::path::Path;
use std::process::{Output, Stdio};

use common::{command, edgeprep, fixture, report, stderr, stdout};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A script, an escape sequence in seven and in eight bits, a line, and a change of direction.
const HOSTILE: &str = "</script><script>alert(1)</script>\u{1b}[31m\u{9b}2J\n\u{202e}\u{2028}&\"'host";

fn real() -> Value {
    report(&["--capture", fixture("debian-13").to_str().unwrap(), "--stack", "podman,k3s,usernetes"]).0
}

fn named(name: &str, id: &str) -> Value {
    let mut report = real();
    report["host"]["name"] = json!(name);
    report["host"]["machine_id_hash"] = json!(id);
    report
}

fn folder(reports: &[(&str, Value)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, report) in reports {
        put(folder.path(), name, &serde_json::to_string_pretty(report).unwrap());
    }
    folder
}

fn put(folder: &Path, name: &str, text: &str) {
    let file = folder.join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

fn fleet(folder: &TempDir, args: &[&str]) -> Output {
    edgeprep(&[&["fleet", folder.path().to_str().unwrap()], args].concat())
}

fn of_json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", stderr(output)))
}

/// The text is nobody's command: no control character but the ends of lines, and nothing that
/// changes their order.
fn is_harmless(text: &str) -> bool {
    let obeyed = |c: char| c != '\n' && (c.is_control() || "\u{202e}\u{2028}".contains(c));
    !text.contains(obeyed)
}

#[test]
fn files_folders_and_standard_input_are_the_same() {
    let all = folder(&[("a.json", named("a", "1")), ("deep/er/b", named("b", "2")), (".hidden", json!({}))]);
    let root = all.path().to_str().unwrap();
    let strip = |output: &Output| {
        let mut fleet = of_json(output);
        fleet["hosts"].as_array_mut().unwrap().iter_mut().for_each(|host| host["report"] = json!(null));
        fleet
    };
    let of_folder = fleet(&all, &["--format", "json"]);
    assert_eq!(of_folder.status.code(), Some(1));
    let files = [format!("{root}/a.json"), format!("{root}/deep/er/b")];
    let of_files = edgeprep(&["fleet", &files[0], &files[1], "--format", "json"]);
    assert_eq!(strip(&of_folder), strip(&of_files));
    let lines =
        [named("a", "1").to_string(), serde_json::to_string_pretty(&named("b", "2")).unwrap()].join("\n");
    for args in [&["fleet", "--format", "json"][..], &["fleet", "-", "--format", "json"]] {
        let mut started = command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        started.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert_eq!(strip(&of_folder), strip(&started.wait_with_output().unwrap()), "{args:?}");
    }
    let found = of_json(&of_folder);
    assert_eq!(found["hosts"][1]["report"], json!({"file": files[1], "line": 1}));
    assert_eq!(found["hosts"][0]["verdict"], "not-ready");
    assert_eq!(found["groups"][0]["count"], 2);
    let report = real();
    let blockers: Vec<&Value> =
        report["stacks"].as_array().unwrap().iter().flat_map(|s| s["blockers"].as_array().unwrap()).collect();
    for blocker in found["groups"][0]["blockers"].as_array().unwrap() {
        assert!(blockers.contains(&blocker), "{blocker}");
    }
    assert!(!blockers.is_empty());
}

#[test]
fn the_schemas_are_those_of_the_output() {
    let all =
        folder(&[("a", named("a", "1")), ("b", named("a", "1")), ("c", json!({})), ("d", named("d", "2"))]);
    let root = all.path().to_str().unwrap();
    let file = |name: &str| format!("{root}/{name}");
    for (schema, output) in [
        ("fleet", fleet(&all, &["--format", "json"])),
        ("fleet-comparison", edgeprep(&["fleet", "--compare", root, &file("d"), "--format", "json"])),
    ] {
        let path = format!("{}/docs/{schema}.schema.json", env!("CARGO_MANIFEST_DIR"));
        let validator =
            jsonschema::validator_for(&serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).unwrap();
        let output = of_json(&output);
        let errors: Vec<String> = validator.iter_errors(&output).map(|e| e.to_string()).collect();
        assert_eq!(errors, [""; 0], "{schema}");
        assert_eq!(output["schema"], format!("edgeprep.{schema}/1"));
    }
}

#[test]
fn what_is_no_report_is_named_and_the_others_count() {
    let all = folder(&[("good", named("a", "1"))]);
    let text = named("b", "2").to_string();
    put(all.path(), "truncated", &text[..text.len() / 2]);
    put(all.path(), "other", &text.replace("edgeprep.report/1", "edgeprep.report/9"));
    put(all.path(), "empty", "");
    put(all.path(), "notes.txt", "collected on Sunday\n");
    std::os::unix::fs::symlink("nowhere", all.path().join("dangling")).unwrap();
    std::os::unix::fs::symlink(all.path(), all.path().join("loop")).unwrap();
    let output = fleet(&all, &["--format", "json"]);
    let found = of_json(&output);
    assert_eq!(
        (found["summary"]["hosts"].as_u64(), found["summary"]["unreadable"].as_u64()),
        (Some(1), Some(5))
    );
    let why = |name: &str| {
        let all = found["unreadable"].as_array().unwrap();
        let fault = all.iter().find(|fault| fault["file"].as_str().unwrap().ends_with(name));
        fault.unwrap_or_else(|| panic!("{name}"))["why"].as_str().unwrap().to_owned()
    };
    assert!(why("/truncated").contains("the end is missing"), "{}", why("/truncated"));
    assert_eq!(why("/other"), "edgeprep.report/9: this edgeprep reads edgeprep.report/1");
    assert!(why("/empty").starts_with("is empty"));
    assert!(why("/notes.txt").contains("not JSON"));
    assert!(why("/dangling").starts_with("cannot be read: No such file"));
    let human = stdout(&fleet(&all, &[]));
    assert!(human.contains("1 host, 5 not read") && human.contains("/notes.txt: line 1"), "{human}");
    let bad = edgeprep(&["fleet", all.path().join("empty").to_str().unwrap()]);
    assert_eq!(bad.status.code(), Some(3));
}

#[test]
fn what_cannot_be_done_exits_2() {
    let empty = tempfile::tempdir().unwrap();
    let root = empty.path().to_str().unwrap();
    for (args, message) in [
        (&["fleet", "/nonexistent"][..], "cannot read /nonexistent: No such file"),
        (&["fleet", root], "no report in what was named"),
        (&["fleet", root, "--compare", root, root], "cannot be used with"),
        (&["fleet", "--compare", root], "--compare <OLD> <NEW>"),
        (&["fleet", root, "--format", "junit"], "invalid value 'junit'"),
    ] {
        let output = edgeprep(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(message), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn hostile_names_are_text_in_each_format() {
    let mut hostile = named(HOSTILE, "<b>\u{1b}id");
    hostile["host"]["kernel"] = json!([HOSTILE]);
    hostile["profile"]["name"] = json!(HOSTILE);
    hostile["stacks"][0]["name"] = json!(HOSTILE);
    hostile["version"] = json!(HOSTILE);
    for row in hostile["checks"].as_array_mut().unwrap() {
        for finding in row["findings"].as_array_mut().unwrap() {
            finding["remedy"]["summary"] = json!(HOSTILE);
        }
    }
    let all = folder(&[
        ("a", hostile.clone()),
        ("b", hostile),
        (HOSTILE.replace('/', "_").as_str(), json!({})),
        ("c", real()),
    ]);
    let root = all.path().to_str().unwrap();
    let other = all.path().join("c");
    let comparisons = [
        &["fleet", "--compare", other.to_str().unwrap(), root][..],
        &["fleet", "--compare", root, other.to_str().unwrap()],
    ];
    for args in [&["fleet", root][..], &["fleet", root, "-v"], comparisons[0], comparisons[1]] {
        for format in ["human", "json", "html"] {
            let output = edgeprep(&[args, &["--format", format]].concat());
            let text = stdout(&output);
            assert!(output.status.code().is_some_and(|code| code != 2), "{}", stderr(&output));
            assert!(is_harmless(&text), "{format}: {text}");
            if format == "human" {
                assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            }
            if format == "json" {
                assert!(of_json(&output).to_string().contains("alert(1)"));
            }
            if format == "html" {
                let scripts = text.matches("<script").count();
                assert_eq!(
                    scripts,
                    if args[1] == "--compare" { 0 } else { 2 },
                    "the data and the page's own"
                );
                assert_eq!(text.matches("</script").count(), scripts);
                assert!(!text.contains("<b>") && text.contains("alert(1)"));
            }
        }
    }
    let ascii = command(&["fleet", root]).env("LC_ALL", "C").output().unwrap();
    assert!(ascii.stdout.is_ascii());
}

#[test]
fn a_page_allows_its_own_script_and_style_alone() {
    let all = folder(&[("a", real())]);
    let file = all.path().join("fleet.html");
    let output = fleet(&all, &["--format", "html", "-o", file.to_str().unwrap()]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    let page = fs::read_to_string(&file).unwrap();
    let policy =
        page.split("Content-Security-Policy\" content=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.contains("script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    for loads in ["src=\"", "href=\"http", "url(", "@import", " style=\"", " onclick"] {
        assert!(!page.contains(loads), "{loads}");
    }
}

#[test]
fn what_changed_is_told() {
    let mut better = named("a", "1");
    for row in better["checks"].as_array_mut().unwrap() {
        if row["status"] == "fail" {
            row["status"] = json!("pass");
        }
    }
    for stack in better["stacks"].as_array_mut().unwrap() {
        stack["verdict"] = json!("ready");
        stack["blockers"] = json!([]);
    }
    let old = folder(&[("a", named("a", "1")), ("b", named("b", "2")), ("c", named("gone", "3"))]);
    let new = folder(&[("a", better), ("b", named("b", "2")), ("d", named("new", "4"))]);
    let paths = [old.path().to_str().unwrap(), new.path().to_str().unwrap()];
    let output = edgeprep(&["fleet", "--compare", paths[0], paths[1], "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "nothing is worse");
    let sums = &of_json(&output)["summary"];
    assert_eq!(
        (&sums["better"], &sums["same"], &sums["appeared"], &sums["gone"]),
        (&json!(1), &json!(1), &json!(1), &json!(1))
    );
    let back = edgeprep(&["fleet", "--compare", paths[1], paths[0]]);
    assert_eq!(back.status.code(), Some(1));
    let text = stdout(&back);
    assert!(text.contains("x a: not ready, was ready") && text.contains("cgroup-delegation"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn a_picture_of_few_hosts_has_the_marks_of_reports() {
    let all = folder(&[("a", named("a", "1")), ("b", named("b", "2")), ("c", named("c", "3"))]);
    let text = stdout(&fleet(&all, &[]));
    let delegation = text.lines().find(|line| line.starts_with("cgroup-delegation")).unwrap();
    assert!(delegation.contains(" xxx 3x"), "{delegation}");
    assert!(
        text.contains("3 hosts, not ready") && text.contains("Next: edgeprep fix on the hosts"),
        "{text}"
    );
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let quiet = stdout(&fleet(&all, &["-q"]));
    assert!(quiet.contains("not ready") && !quiet.contains("cgroup-delegation"), "{quiet}");
}

#[test]
fn a_comparison_with_nothing_is_refused() {
    let (some, none) = (folder(&[("a", named("a", "1"))]), folder(&[]));
    let paths = [some.path().to_str().unwrap(), none.path().to_str().unwrap()];
    let output = edgeprep(&["fleet", "--compare", paths[0], paths[1]]);
    assert_eq!(output.status.code(), Some(2), "a collection that failed is no night without changes");
}
