//! The whole of what people see, for captured machines: read it when it changes
//! (`INSTA_UPDATE=always cargo test --test render` accepts it).
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod common;

use common::{edgeprep, fixture, stdout};

fn human(name: &str, args: &[&str]) -> String {
    let capture = fixture(name);
    let output = edgeprep(&[&["check", "--capture", capture.to_str().unwrap()], args].concat());
    let code = output.status.code().unwrap();
    format!("{}exit code {code}\n", stdout(&output))
}

#[test]
fn a_fresh_debian_13() {
    insta::assert_snapshot!(human("debian-13", &["--stack", "podman,kind,k3s"]));
}

#[test]
fn a_fresh_debian_13_in_full() {
    insta::assert_snapshot!(human("debian-13", &["--stack", "podman-kube,k3d", "-v"]));
}

#[test]
fn a_fresh_debian_13_in_short() {
    insta::assert_snapshot!(human("debian-13", &["--stack", "podman,kind,k3s,usernetes", "-q"]));
}

#[test]
fn a_hybrid_hierarchy() {
    insta::assert_snapshot!(human("debian-13-hybrid", &["--stack", "podman"]));
}

#[test]
fn no_memory_controller() {
    insta::assert_snapshot!(human("debian-13-no-memory", &["--stack", "podman,kind"]));
}

#[test]
fn no_user_manager() {
    insta::assert_snapshot!(human("debian-13-no-manager", &["--stack", "podman"]));
}

#[test]
fn an_arm64_board() {
    insta::assert_snapshot!(human("debian-13-arm64", &["--stack", "podman,k3s"]));
}
