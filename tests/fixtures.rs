//! Captured machines against what was seen on them: what the real Podman and kind did there decides.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod common;

use common::{fixture, report, rows, status};
use serde_json::Value;

fn judged(name: &str, stacks: &str) -> Value {
    let capture = fixture(name);
    report(&["--capture", capture.to_str().unwrap(), "--stack", stacks]).0
}

fn verdict<'a>(report: &'a Value, stack: &str) -> (&'a str, Vec<&'a str>) {
    let found = report["stacks"].as_array().unwrap().iter().find(|s| s["name"] == stack).expect("the stack");
    let blockers = found["blockers"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    (found["verdict"].as_str().unwrap(), blockers)
}

/// Nobody asked for the mode of `/home`, only whether it is a link.
#[test]
fn what_was_not_looked_at_keeps_no_workload_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let pod = dir.path().join("pod.yaml");
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers: [{image: a}]\n  volumes: \
                [{name: a, hostPath: {path: /home/edge}}]\n";
    #[expect(clippy::disallowed_methods, reason = "the test makes the workload")]
    std::fs::write(&pod, text).unwrap();
    let capture = fixture("debian-13");
    let args = ["--capture", capture.to_str().unwrap(), "--workload", pod.to_str().unwrap()];
    let (report, _) = report(&args);
    assert_eq!(status(&report, "workload-paths"), "unknown");
}

/// Seen: `podman run` works, `kind create cluster` gets as far as pulling its node image, and a unit with
/// `Delegate=yes` has no cpuset.
#[test]
fn fresh_debians() {
    for name in ["debian-13", "debian-testing"] {
        let report = judged(name, "podman,kind,k3s");
        assert_eq!(verdict(&report, "podman"), ("ready", vec![]), "{name}");
        assert_eq!(verdict(&report, "kind"), ("ready", vec![]), "{name}");
        let (k3s, blockers) = verdict(&report, "k3s");
        assert_eq!(k3s, "not-ready", "{name}");
        for blocker in ["cgroup-delegation", "ip-forward", "stack-programs", "module-loaded"] {
            assert!(blockers.contains(&blocker), "{name}: {blockers:?}");
        }
    }
    let report = judged("debian-12", "podman,kind");
    assert_eq!(verdict(&report, "podman"), ("ready", vec![]));
    assert_eq!(
        verdict(&report, "kind"),
        ("not-ready", vec!["stack-programs"]),
        "bookworm does not package kind"
    );
}

/// Seen: `podman run` fails, "cgroups in hybrid mode not supported".
#[test]
fn hybrid_on_debian_13_is_nothing_for_podman_5() {
    let report = judged("debian-13-hybrid", "podman,kind");
    assert_eq!(verdict(&report, "podman").0, "not-ready");
    assert_eq!(verdict(&report, "kind").0, "not-ready");
    assert_eq!(status(&report, "cgroup-version"), "fail");
    assert_eq!(status(&report, "cgroup-delegation"), "skip");
}

/// Seen: Podman 4.3 runs and says that limits are ignored on cgroup v1.
#[test]
fn cgroup_v1_on_debian_12_is_enough_for_podman_4() {
    let report = judged("debian-12-cgroup-v1", "podman,kind");
    assert_eq!(verdict(&report, "podman"), ("ready", vec![]));
    assert!(verdict(&report, "kind").1.contains(&"cgroup-version"));
    assert_eq!(rows(&report, "cgroup-version")[1]["level"], "advised");
}

/// Seen: `podman run` works, `podman run --memory` fails, kind "requires setting systemd property
/// Delegate=yes", which is not the cause.
#[test]
fn without_the_memory_controller_the_cause_is_named() {
    let report = judged("debian-13-no-memory", "podman,kind");
    assert_eq!(verdict(&report, "podman"), ("ready", vec![]));
    assert_eq!(verdict(&report, "kind"), ("not-ready", vec!["cgroup-controllers"]));
    assert!(rows(&report, "cgroup-controllers")[0].to_string().contains("cgroup_disable=memory"));
}

/// Seen: `podman run` works with cgroupfs, and the pods of `kube play` do not start.
#[test]
fn without_a_user_manager_podman_alone_runs() {
    let report = judged("debian-13-no-manager", "podman,podman-kube,kind");
    assert_eq!(verdict(&report, "podman"), ("ready", vec![]));
    for stack in ["podman-kube", "kind"] {
        let (verdict, blockers) = verdict(&report, stack);
        assert_eq!(verdict, "not-ready");
        assert!(blockers.contains(&"user-manager"), "{stack}: {blockers:?}");
    }
    assert_eq!(status(&report, "user-linger"), "fail");
}

#[test]
fn an_arm64_board_is_recognised_by_its_device_tree() {
    let report = judged("debian-13-arm64", "podman");
    assert_eq!(report["host"]["arch"], "aarch64");
    assert_eq!(report["host"]["hardware"]["compatible"][0], "raspberrypi,4-model-b");
    assert_eq!(report["host"]["hardware"]["model"], "Raspberry Pi 4 Model B Rev 1.4");
    assert_eq!(verdict(&report, "podman"), ("ready", vec![]));
}

/// What a capture was made of is in its host.toml, and what the host was in its README.md.
#[test]
#[expect(clippy::disallowed_methods, reason = "the folders of fixtures are listed")]
fn every_fixture_says_what_it_is() {
    let folders = std::fs::read_dir(fixture("")).unwrap();
    let mut count = 0;
    for folder in folders.map(|entry| entry.unwrap().path()) {
        for name in ["host.toml", "README.md"] {
            assert!(folder.join(name).is_file(), "{} has no {name}", folder.display());
        }
        count += 1;
    }
    assert_ne!(count, 0);
}
