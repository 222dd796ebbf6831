//! `edgeprep render`, as a program.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::disallowed_methods, reason = "tests look at what was written")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

mod common;

use common::{edgeprep, stderr};

const FORMATS: [&str; 5] = ["tar", "cloud-init", "butane", "shell", "ansible"];

fn render(args: &[&str]) -> Output {
    edgeprep(&[&["render"], args].concat())
}

fn code(args: &[&str]) -> (Option<i32>, String) {
    let output = render(args);
    (output.status.code(), stderr(&output))
}

#[test]
fn the_same_request_gives_the_same_bytes() {
    for format in FORMATS {
        let args = ["--format", format, "--user", "edge", "--subids", "none"];
        let (one, other) = (render(&args), render(&args));
        assert_eq!(one.status.code(), Some(0), "{format}");
        assert!(!one.stdout.is_empty() && one.stdout == other.stdout, "{format}");
    }
}

#[test]
fn what_is_left_to_others_is_told() {
    let (tar, said) = code(&["--format", "tar", "--user", "edge", "-o", "/dev/null"]);
    assert_eq!(tar, Some(1));
    assert!(said.contains("not in it: 65536 subordinate IDs of edge"), "{said}");
    let (script, said) = code(&["--format", "shell", "--user", "edge", "-o", "/dev/null"]);
    assert_eq!((script, said.as_str()), (Some(0), ""));
    let pi =
        ["--format", "shell", "--user", "edge", "--profile", "rpi4", "--stack", "k3s", "-o", "/dev/null"];
    let (script, said) = code(&pi);
    assert_eq!(script, Some(1));
    assert!(said.contains("cgroup_enable=memory"), "{said}");
}

#[test]
fn wrong_use_is_refused() {
    for (args, expected) in [
        (&["--user", "edge;id"][..], "expected a name of a-z"),
        (&["--user", "root"], "expected a name of a-z"),
        (&["--user", "edge", "--uid", "0"], "--uid: expected the ID of a regular user"),
        (&["--user", "edge", "--home", "/home/../etc"], "--home"),
        (&["--user", "edge", "--profile", "auto"], "there is no hardware"),
        (&["--user", "edge", "--profile", "rpi9"], "rpi9"),
        (&["--user", "edge", "--kernel", "new"], "expected a version"),
        (&["--user", "edge", "--format", "dir"], "--output"),
        (&["--user", "edge", "--layer", "vendor", "--format", "butane"], "for images"),
        (&[], "--user"),
    ] {
        let format: &[&str] = if args.contains(&"--format") { &[] } else { &["--format", "tar"] };
        let (code, said) = code(&[format, args].concat());
        assert_eq!(code, Some(2), "{args:?}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}

fn modes(root: &Path, dir: &Path, found: &mut Vec<(String, u32)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let stat = fs::symlink_metadata(&path).unwrap();
        if stat.is_symlink() {
            continue;
        }
        found.push((
            path.strip_prefix(root).unwrap().display().to_string(),
            stat.permissions().mode() & 0o7777,
        ));
        if stat.is_dir() {
            modes(root, &path, found);
        }
    }
}

#[test]
fn a_directory_is_made_as_a_whole_and_only_where_nothing_is() {
    let folder = tempfile::tempdir().unwrap();
    let (new, empty, full) =
        (folder.path().join("new"), folder.path().join("empty"), folder.path().join("full"));
    fs::create_dir(&empty).unwrap();
    fs::create_dir(&full).unwrap();
    fs::write(full.join("mine"), "").unwrap();
    let args = |dir: &Path| {
        let dir = dir.to_str().unwrap().to_owned();
        ["--format", "dir", "--user", "edge", "--subids", "file", "-o"]
            .map(str::to_owned)
            .into_iter()
            .chain([dir])
    };
    let run = |dir: &Path| {
        let args: Vec<String> = args(dir).collect();
        code(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(run(&new), (Some(0), String::new()));
    assert_eq!(run(&empty), (Some(0), String::new()));
    let (refused, said) = run(&full);
    assert_eq!(refused, Some(2));
    assert!(said.contains("is not empty"), "{said}");
    let mut names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["empty", "full", "new"], "nothing is left behind");
    let of = |dir: &Path| {
        let mut found = Vec::new();
        modes(dir, dir, &mut found);
        found.sort();
        found
    };
    assert_eq!(of(&new), of(&empty));
    assert!(of(&new).contains(&("etc/subuid".to_owned(), 0o644)));
    assert!(of(&new).iter().all(|(path, mode)| matches!(mode, 0o644 | 0o755) || panic!("{path} {mode:o}")));
    assert_eq!(fs::metadata(new.join("etc/subuid")).unwrap().modified().unwrap(), std::time::UNIX_EPOCH);
}

/// The name of a profile is that of its file, and stands in a comment.
#[test]
fn a_profile_by_a_hostile_name_stays_in_its_comment() {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("a\ntouch planted #.toml");
    fs::write(&profile, "summary = \"a board\"\n").unwrap();
    for format in ["shell", "cloud-init", "butane", "ansible"] {
        let arguments =
            ["render", "--format", format, "--user", "edge", "--profile", profile.to_str().unwrap()];
        let output = assert_cmd::Command::cargo_bin("edgeprep").unwrap().args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("touch planted"), "{format}: {text}");
        assert!(!text.lines().any(|line| line.starts_with("touch planted")), "{format}: {text}");
    }
}
