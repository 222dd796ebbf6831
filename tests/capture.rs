//! A capture says what the host it came from says, and nothing that is nobody's business.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::disallowed_methods, reason = "tests make files and start the binary")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;

use common::{command, edgeprep, report, stderr};
use serde_json::Value;

/// Captures this machine for the user nobody.
fn capture(more: &[&str], environment: &[(&str, &str)]) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("host.tar").to_str().unwrap().to_owned();
    let args = [&["capture", "-o", &file, "--user", "nobody"], more].concat();
    let output = command(&args).envs(environment.iter().copied()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    (dir, file)
}

fn files(tar: &str) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(fs::File::open(tar).unwrap());
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        files.insert(path, String::from_utf8_lossy(&bytes).into_owned());
    }
    files
}

/// A report without what may differ: how the host was looked at, and free space, which changes.
fn comparable(mut report: Value) -> Value {
    report["mode"] = Value::Null;
    let rows = report["checks"].as_array_mut().unwrap();
    rows.retain(|row| row["id"] != "disk-space");
    report
}

#[test]
fn a_capture_is_judged_like_the_host() {
    let stacks = ["--stack", "podman,podman-kube,k3s,k3d,kind,minikube,usernetes"];
    let (_dir, tar) = capture(&["--keep-identity"], &[]);
    let (live, live_code) = report(&[&["--user", "nobody"], &stacks[..]].concat());
    let (captured, code) = report(&[&["--capture", &tar], &stacks[..]].concat());
    assert_eq!(captured["mode"], "capture");
    assert_eq!(code, live_code);
    assert_eq!(comparable(captured), comparable(live));
}

#[test]
fn a_capture_has_the_paths_of_a_workload_that_it_is_made_for() {
    let dir = tempfile::tempdir().unwrap();
    let pod = dir.path().join("pod.yaml");
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers: [{image: a}]\n  volumes: \
                [{name: a, hostPath: {path: /etc}}]\n";
    fs::write(&pod, text).unwrap();
    let workload = ["--workload", pod.to_str().unwrap()];
    let judged = |tar: &str| {
        let (report, _) = report(&[&["--capture", tar], &workload[..]].concat());
        let rows = report["checks"].as_array().unwrap();
        rows.iter().find(|row| row["id"] == "workload-paths").unwrap()["status"].clone()
    };
    assert_eq!(judged(&capture(&workload, &[]).1), "pass");
    assert_eq!(judged(&capture(&[], &[]).1), "unknown", "nobody looked there");
}

#[test]
fn a_capture_unpacked_is_the_same_host() {
    let (dir, tar) = capture(&[], &[]);
    let folder = dir.path().join("host");
    tar::Archive::new(fs::File::open(&tar).unwrap()).unpack(&folder).unwrap();
    let (packed, _) = report(&["--capture", &tar]);
    let (unpacked, _) = report(&["--capture", folder.to_str().unwrap()]);
    assert_eq!(packed, unpacked);
}

#[test]
fn a_capture_holds_no_secret_and_no_identity() {
    let secret = "hunter2-hunter2";
    let proxy = format!("tcp://me:{secret}@10.0.0.1:2375");
    let environment =
        [("DOCKER_HOST", proxy.as_str()), ("K3S_TOKEN", secret), ("XDG_RUNTIME_DIR", "/run/user/65534")];
    let (_dir, tar) = capture(&[], &environment);
    let files = files(&tar);
    let host = &files["host.toml"];
    assert!(host.contains("XDG_RUNTIME_DIR") && host.contains("LEFT-OUT@10.0.0.1:2375"), "{host}");
    for (path, text) in &files {
        assert!(!text.contains(secret), "{path}");
        assert!(!path.contains("shadow") && !path.contains("ssh"), "{path}");
    }
    let machine_id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let machine_id = machine_id.trim();
    let host_name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    if machine_id.len() == 32 {
        assert!(files.values().all(|text| !text.contains(machine_id)));
    }
    assert_ne!(files["proc/sys/kernel/hostname"], host_name);
}

#[test]
fn the_hash_of_an_identity_is_the_same_live_and_captured() {
    let (_dir, tar) = capture(&[], &[]);
    let (live, _) = report(&["--user", "nobody"]);
    let (captured, _) = report(&["--capture", &tar]);
    assert_eq!(live["host"]["machine_id_hash"], captured["host"]["machine_id_hash"]);
}

#[test]
fn a_capture_that_cannot_be_written_is_an_error() {
    let output = edgeprep(&["capture", "-o", "/nonexistent/host.tar", "--user", "nobody"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("cannot write /nonexistent/host.tar"), "{}", stderr(&output));
}
