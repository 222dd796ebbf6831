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

/// What a fixture expects: `[boot]`, and in `[[dmi]]` names by which the board is recognised, too.
fn expected(name: &str) -> toml::Table {
    toml::from_str(&fs::read_to_string(fixtures().join(name).join("expected.toml")).unwrap()).unwrap()
}

fn expected_boot(name: &str) -> toml::Table {
    expected(name)["boot"].as_table().unwrap().clone()
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
        for part in ["README.md", "expected.toml", "image", "running"] {
            assert!(found.iter().any(|there| there == part), "{name}: {part} is missing");
        }
        let known = ["README.md", "expected.toml", "image", "image-after", "image-after-word", "running"];
        assert!(found.iter().all(|there| known.contains(&there.as_str())), "{name}: {found:?}");
        let is_edited = found.iter().any(|there| there.starts_with("image-after"));
        let says_file = expected_boot(&name).contains_key("file");
        assert_eq!(is_edited, says_file, "{name}: an edit is shown of each board with a file for words");
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
        assert!(profile["notes"].as_array().unwrap().len() <= 3, "{fixture}: {}", profile["notes"]);
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
fn a_board_is_recognised_by_what_other_firmware_calls_it() {
    let mut seen = 0;
    for fixture in names(&fixtures()) {
        let all = expected(&fixture).get("dmi").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        for names in all {
            let capture = running(&fixture);
            fs::remove_dir_all(capture.path().join("proc/device-tree")).unwrap();
            let dmi = capture.path().join("sys/class/dmi/id");
            fs::create_dir_all(&dmi).unwrap();
            for (file, key) in [("sys_vendor", "vendor"), ("product_name", "product")] {
                fs::write(dmi.join(file), format!("{}\n", names[key].as_str().unwrap())).unwrap();
            }
            let (detected, _) = json(&["detect", "--capture", path(&capture)]);
            assert_eq!(detected["profile"]["name"], fixture, "{names}");
            seen += 1;
        }
    }
    assert!(seen > 0);
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
fn a_running_board_says_how_it_boots_and_which_file_has_the_words() {
    for fixture in names(&fixtures()) {
        let capture = running(&fixture);
        let (detected, _) = json(&["detect", "--capture", path(&capture)]);
        let (boot, expected) = (&detected["boot"], expected_boot(&fixture));
        for key in ["method", "file"] {
            let wanted = expected.get(key).map_or(Value::Null, |wanted| wanted.as_str().unwrap().into());
            assert_eq!(boot[key], wanted, "{fixture}: {key} of {boot}");
        }
        assert_eq!(boot["unknown"].is_null(), !boot["file"].is_null(), "{fixture}: {boot}");
        let check = ["check", "--capture", path(&capture), "--select", "user-account", "--stack", "podman"];
        let (report, _) = json(&check);
        assert_eq!(report["users"][0]["uid"], 1000, "{fixture}: {}", report["users"]);
    }
}

#[test]
fn a_fix_of_an_image_changes_the_one_file_that_its_firmware_reads() {
    let mut changed = 0;
    for fixture in names(&fixtures()) {
        let Some(edit) = edit(&fixture, &fixture, "image-after") else { continue };
        let words = |text: &[u8]| std::str::from_utf8(text).unwrap().split_whitespace().count();
        assert_eq!(words(&edit.after), words(&edit.before) + 1, "{fixture}: one word more in {}", edit.file);
        changed += 1;
    }
    assert!(changed > 0);
}

/// A site's profile that extends the board's and wants a word: the one file that it boots with is edited.
#[test]
fn a_word_that_a_site_wants_goes_into_the_one_file_of_the_board() {
    let mut changed = 0;
    for fixture in names(&fixtures()) {
        if fixtures().join(&fixture).join("image-after").is_dir() {
            continue;
        }
        let site = TempDir::new().unwrap();
        let profile = site.path().join("site.toml");
        let text =
            "[[kernel-argument]]\nwanted = \"edgeprep.test=1\"\nlevel = \"required\"\nwhy = \"a test\"\n";
        fs::write(&profile, format!("extends = [{fixture:?}]\n{text}")).unwrap();
        let Some(edit) = edit(&fixture, profile.to_str().unwrap(), "image-after-word") else { continue };
        let has = |text: &[u8]| std::str::from_utf8(text).unwrap().matches("edgeprep.test=1").count();
        assert_eq!((has(&edit.before), has(&edit.after)), (0, 1), "{fixture}: {}", edit.file);
        assert_eq!(expected_boot(&fixture)["file"].as_str(), Some(&*format!("/{}", edit.file)), "{fixture}");
        changed += 1;
    }
    assert!(changed > 0);
}

/// A file before and after a fix.
struct Edit {
    file: String,
    before: Vec<u8>,
    after: Vec<u8>,
}

/// What a fix of the kernel's arguments changes in the image of a fixture: what its folder
/// `folder` has, byte for byte, which is one file or none, and nothing when it is done again.
fn edit(fixture: &str, profile: &str, folder: &str) -> Option<Edit> {
    let root = image(fixture);
    let before = snapshot(root.path());
    let asked = ["fix", "--root", path(&root), "--profile", profile, "--select", "kernel-arguments"];
    let args = [&asked[..], &["--yes", "--no-journal"]].concat();
    let (fixed, _) = json(&args);
    let after = snapshot(root.path());
    let wanted = fixtures().join(fixture).join(folder);
    let wanted = if wanted.is_dir() { snapshot(&wanted) } else { common::Snapshot::new() };
    let is_file = |name: &&String| wanted.get(*name).is_some_and(|found| found.0 & 0o170_000 == 0o100_000);
    let files: Vec<&String> = wanted.keys().filter(is_file).collect();
    let differences = differences(&before, &after);
    assert_eq!(differences.iter().collect::<Vec<_>>(), files, "{fixture}: {}", fixed["report"]["checks"]);
    assert!(files.len() <= 1, "{fixture}: {files:?}");
    let file = *files.first()?;
    let text = |snapshot: &common::Snapshot| String::from_utf8(snapshot[file].3.clone()).unwrap();
    assert_eq!(text(&after), text(&wanted), "{fixture}: {file}");
    assert_eq!(after[file].0, before[file].0, "{fixture}: the mode of {file}");
    let (again, _) = json(&args);
    assert_eq!(again["changed"], false, "{fixture}");
    Some(Edit { file: file.clone(), before: before[file].3.clone(), after: after[file].3.clone() })
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
