//! The boards in `profiles/boards`, held against what they look like: `tests/fixtures/boards/NAME` has the tree of
//! the running board, an image for it, and of this image what a fix of the kernel command line changes.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::disallowed_methods, reason = "tests list and copy folders of fixtures")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::{copy, differences, edgeprep, snapshot, stderr, stdout};
use serde_json::Value;
use tempfile::TempDir;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn fixtures() -> PathBuf {
    repository().join("tests/fixtures/boards")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// What profiles recognise, by name; those that are only chosen by name are left out.
fn boards() -> BTreeMap<String, toml::Table> {
    let mut boards = BTreeMap::new();
    let folder = repository().join("profiles/boards");
    for file in names(&folder) {
        let profile: toml::Table = toml::from_str(&fs::read_to_string(folder.join(&file)).unwrap()).unwrap();
        if let Some(recognise) = profile.get("recognise").and_then(toml::Value::as_table) {
            boards.insert(file.strip_suffix(".toml").expect("only profiles").to_owned(), recognise.clone());
        }
    }
    boards
}

/// The running board as a capture of which every path is known.
fn running(name: &str) -> TempDir {
    let capture = TempDir::new().unwrap();
    copy(&fixtures().join(name).join("running/."), capture.path());
    fs::write(capture.path().join("host.toml"), "format = 1\ncomplete = true\n").unwrap();
    capture
}

fn image(name: &str) -> TempDir {
    let root = TempDir::new().unwrap();
    copy(&fixtures().join(name).join("image/."), root.path());
    root
}

fn json(args: &[&str]) -> (Value, i32) {
    let output = edgeprep(&[args, &["--format", "json"]].concat());
    let text = stdout(&output);
    let parsed =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}: {text}{}", stderr(&output)));
    (parsed, output.status.code().unwrap())
}

fn path(folder: &TempDir) -> &str {
    folder.path().to_str().unwrap()
}

#[test]
fn every_board_has_a_fixture_and_every_fixture_a_board() {
    assert_eq!(names(&fixtures()), boards().into_keys().collect::<Vec<_>>());
    for name in names(&fixtures()) {
        let found = names(&fixtures().join(&name));
        for part in ["README.md", "image", "running"] {
            assert!(found.iter().any(|there| there == part), "{name}: {part} is missing");
        }
        let known = ["README.md", "image", "image-after", "running"];
        assert!(found.iter().all(|there| known.contains(&there.as_str())), "{name}: {found:?}");
    }
}

#[test]
fn each_board_is_recognised_from_its_fixture_and_from_no_other() {
    let boards = boards();
    for fixture in names(&fixtures()) {
        let capture = running(&fixture);
        let (detected, code) = json(&["detect", "--capture", path(&capture)]);
        let profile = &detected["profile"];
        assert_eq!((&profile["name"], code), (&fixture.as_str().into(), 0), "{profile}");
        assert_eq!(profile["chosen"], "auto", "{fixture}");
        assert_eq!(profile["why"], detected["recognised_by"], "{fixture}");
        let by_arch = |name: &str| boards[name].keys().all(|key| key == "arch");
        let why = profile["why"].as_str().unwrap();
        assert_eq!(why.starts_with('/'), !by_arch(&fixture), "{fixture}: the file that shows it: {why}");
        for other in boards.keys().filter(|other| **other != fixture && !by_arch(other)) {
            let (detected, _) = json(&["detect", "--capture", path(&capture), "--profile", other]);
            assert_eq!(detected["recognised_by"], Value::Null, "{other} recognises {fixture}");
        }
    }
}

#[test]
fn an_image_does_not_show_its_board() {
    for fixture in names(&fixtures()) {
        let root = image(&fixture);
        let (detected, _) = json(&["detect", "--root", path(&root)]);
        assert!(detected["profile"]["name"].as_str().unwrap().starts_with("generic"), "{detected}");
        let why = detected["profile"]["why"].as_str().unwrap();
        assert!(why.contains("name it with --profile"), "{fixture}: {why}");
    }
}

#[test]
fn a_fix_of_an_image_changes_the_one_file_that_its_firmware_reads() {
    let mut changed = 0;
    for fixture in names(&fixtures()) {
        let root = image(&fixture);
        let before = snapshot(root.path());
        let args = ["fix", "--root", path(&root), "--profile", &fixture, "--select", "kernel-arguments"];
        let (fixed, code) = json(&[&args[..], &["--yes", "--no-journal"]].concat());
        let after = snapshot(root.path());
        let wanted = fixtures().join(&fixture).join("image-after");
        let wanted = if wanted.is_dir() { snapshot(&wanted) } else { common::Snapshot::new() };
        let is_file =
            |name: &&String| wanted.get(*name).is_some_and(|found| found.0 & 0o170_000 == 0o100_000);
        let files: Vec<&String> = wanted.keys().filter(is_file).collect();
        let differences = differences(&before, &after);
        assert_eq!(differences.iter().collect::<Vec<_>>(), files, "{fixture}: {}", fixed["report"]["checks"]);
        assert!(files.len() <= 1, "{fixture}: {files:?}");
        for file in files {
            let text = |snapshot: &common::Snapshot| String::from_utf8(snapshot[file].3.clone()).unwrap();
            assert_eq!(text(&after), text(&wanted), "{fixture}: {file}");
            let words = |text: String| text.split_whitespace().count();
            assert_eq!(words(text(&after)), words(text(&before)) + 1, "{fixture}: one word more");
            assert_eq!(after[file].0, before[file].0, "{fixture}: the mode of {file}");
            assert_eq!(code, 0, "{fixture}");
            changed += 1;
            let (again, _) = json(&[&args[..], &["--yes", "--no-journal"]].concat());
            assert_eq!(again["changed"], false, "{fixture}");
        }
    }
    assert!(changed > 0);
}

#[test]
fn an_image_for_a_raspberry_pi_is_checked_with_its_profile() {
    let root = image("rpi4");
    let args = ["check", "--root", path(&root), "--stack", "k3s", "--select", "kernel-arguments"];
    let text = stdout(&edgeprep(&args));
    assert!(text.contains("Next: name the profile of the board with --profile"), "{text}");
    let named = stdout(&edgeprep(&[&args[..], &["--profile", "rpi4"]].concat()));
    assert!(named.contains("--profile rpi4") && !named.contains("name the profile"), "{named}");
}
