//! Ends the pause process of Podman, so that the next command makes a new user namespace: what
//! `podman system migrate` does once no container runs (podman: libpod/runtime_migrate_linux.go).
#![expect(clippy::disallowed_methods, reason = "processes are looked at when they are to be ended")]

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::facts::podman_pause::pause_pid_path;

/// Ends it, with the credentials of the user, which reach no process of anybody else's. What runs in its
/// user namespace is left alone, and so is the namespace then.
///
/// # Errors
/// What keeps it from being ended.
pub fn end(uid: u32) -> Result<(), String> {
    let path = pause_pid_path(uid);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("{path}: {error}")),
    };
    let pid: i32 = text.trim().parse().map_err(|_| format!("{path}: expected the PID of a process"))?;
    let namespace = match fs::read_link(format!("/proc/{pid}/ns/user")) {
        Ok(namespace) => namespace,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("process {pid}, which {path} names: {error}")),
    };
    if fs::read_link("/proc/self/ns/user").is_ok_and(|own| own == namespace) {
        return Err(format!("process {pid}, which {path} names, is not in a user namespace of its own"));
    }
    let processes = fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
    for process in processes.flatten().filter(|process| is_number(&process.path())) {
        let dir = process.path();
        let joined = fs::read_link(dir.join("ns/user")).is_ok_and(|other| other == namespace);
        if joined && !dir.ends_with(pid.to_string()) {
            let name = fs::read_to_string(dir.join("comm")).unwrap_or_default();
            return Err(format!(
                "{} runs in the user namespace: `podman system migrate` ends it",
                name.trim_end()
            ));
        }
    }
    kill(Pid::from_raw(pid), Signal::SIGKILL).map_err(|errno| format!("process {pid}: {}", errno.desc()))
}

fn is_number(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<u32>().is_ok())
}
