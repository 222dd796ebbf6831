//! `check` reads, nothing else: seen by strace on the static binary, as a user would run it.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::disallowed_methods, reason = "tests start strace")]

use std::collections::BTreeMap;
use std::process::Command;

/// The system calls of one run, a line each.
fn trace(arguments: &[&str]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    // `tests/run` names the static binary; the dynamic one also opens its libraries.
    let binary =
        std::env::var("EDGEPREP_STATIC").unwrap_or_else(|_| env!("CARGO_BIN_EXE_edgeprep").to_owned());
    let status = Command::new("strace")
        .args(["-f", "-qq", "-y", "-o", log.to_str().unwrap(), &binary])
        .args(arguments)
        .env_clear()
        .stdout(std::process::Stdio::null())
        .status()
        .expect("strace is installed (apt-get install strace)");
    assert!([Some(0), Some(1), Some(3), Some(4)].contains(&status.code()), "{status}");
    let text = std::fs::read_to_string(&log).unwrap();
    text.lines().map(|line| line.split_once(' ').map_or(line, |(_, call)| call.trim()).to_owned()).collect()
}

fn name(call: &str) -> &str {
    call.split('(').next().unwrap_or_default()
}

#[test]
fn a_live_check_writes_nothing_starts_nothing_and_connects_to_nothing() {
    let stacks = "podman,podman-kube,k3s,k3d,kind,minikube,usernetes";
    let calls = trace(&["check", "--user", "nobody", "--stack", stacks, "--format", "json"]);
    assert!(calls.len() > 100, "{} calls", calls.len());
    let forbidden = [
        "connect",
        "socket",
        "bind",
        "sendto",
        "fork",
        "vfork",
        "clone",
        "clone3",
        "unlink",
        "unlinkat",
        "rename",
        "renameat",
        "renameat2",
        "mkdir",
        "mkdirat",
        "symlink",
        "symlinkat",
        "link",
        "linkat",
        "chmod",
        "fchmod",
        "fchmodat",
        "chown",
        "fchown",
        "fchownat",
        "mount",
        "umount2",
        "init_module",
        "finit_module",
        "truncate",
        "ftruncate",
        "setxattr",
        "fsetxattr",
        "utimensat",
        "mknod",
        "mknodat",
        "unshare",
        "setns",
        "kill",
    ];
    for call in &calls {
        assert!(!forbidden.contains(&name(call)), "{call}");
        let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"];
        assert!(!(name(call).starts_with("open") && writes.iter().any(|flag| call.contains(flag))), "{call}");
        assert!(name(call) != "write" || call.starts_with("write(1<"), "{call}");
    }
    assert_eq!(calls.iter().filter(|call| name(call) == "execve").count(), 1);
}

#[test]
fn each_path_is_opened_at_most_once() {
    let calls = trace(&["check", "--user", "nobody", "--format", "json"]);
    let mut opened: BTreeMap<&str, usize> = BTreeMap::new();
    for call in calls.iter().filter(|call| name(call) == "openat" && !call.contains("= -1")) {
        if let Some(path) = call.split('"').nth(1) {
            *opened.entry(path).or_default() += 1;
        }
    }
    let twice: Vec<_> = opened.iter().filter(|(_, times)| **times > 1).collect();
    assert!(opened.len() > 20 && twice.is_empty(), "{twice:?}");
}
