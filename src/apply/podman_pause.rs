//! Ends the pause process of Podman, so that the next command makes a new user namespace: what
//! `podman system migrate` does once no container runs (podman: libpod/runtime_migrate_linux.go).
#![expect(clippy::disallowed_methods, reason = "processes are looked at when they are to be ended")]

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::facts::podman_pause::pause_pid_path;

/// What a pause process is called (podman: pkg/rootless/rootless_linux.c, `do_pause`).
const NAMES: [&str; 2] = ["catatonit", "podman pause"];
/// How long it may take to end, in milliseconds: who looks right after is not to see it any more.
const LAST_WORDS_MS: u16 = 1000;

/// Ends it, with the credentials of the user, which reach no process of anybody else's. What runs in its
/// user namespace is left alone, and so is the namespace then. Where another process has its PID by now, the
/// file that says otherwise is removed, as Podman does after 5.8.
///
/// # Errors
/// What keeps it from being ended.
pub fn end(uid: u32) -> Result<(), String> {
    end_named_in(&pause_pid_path(uid))
}

fn end_named_in(path: &str) -> Result<(), String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("{path}: {error}")),
    };
    let pid = text.trim().parse().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| format!("{path}: expected the PID of a process"))?;
    // From here on the PID is no other's without the signal failing.
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(format!("process {pid}: {errno}")),
    };
    let dir = format!("/proc/{pid}");
    let seen = |error: io::Error| format!("process {pid}, which {path} names: {error}");
    let name = fs::read_to_string(format!("{dir}/comm")).map_err(seen)?;
    let namespace = fs::read_link(format!("{dir}/ns/user")).ok();
    let own = fs::read_link("/proc/self/ns/user").map_err(|error| format!("/proc/self/ns/user: {error}"))?;
    if !NAMES.contains(&name.trim_end()) || namespace.as_ref() == Some(&own) {
        return fs::remove_file(path).map_err(|error| format!("{path}: {error}"));
    }
    let Some(namespace) = namespace else {
        return Err(format!("process {pid}, which {path} names: its user namespace is not to be seen"));
    };
    let map = fs::read_to_string(format!("{dir}/uid_map")).map_err(seen)?;
    let processes = fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
    for other in processes.flatten().map(|entry| entry.path()).filter(|path| is_number(path)) {
        if !other.ends_with(pid.to_string()) && is_joined(&other, &namespace, &map) {
            let name = fs::read_to_string(other.join("comm")).unwrap_or_default();
            return Err(format!(
                "{} runs in the user namespace: `podman system migrate` ends it",
                name.trim_end()
            ));
        }
    }
    kill(&process).map_err(|error| format!("process {pid}: {error}"))
}

/// Whether a process is in this user namespace, which has this map.
fn is_joined(process: &Path, namespace: &Path, map: &str) -> bool {
    match fs::read_link(process.join("ns/user")) {
        Ok(other) => other == namespace,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        // One that is not dumpable, as the `(sd-pam)` of every user manager or a `podman` that is on its way in.
        // Its map can be read by everyone.
        Err(_) => fs::read_to_string(process.join("uid_map")).is_ok_and(|other| other == map),
    }
}

fn kill(process: &OwnedFd) -> io::Result<()> {
    match pidfd_send_signal(process, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(errno) => return Err(errno.into()),
    }
    match poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], PollTimeout::from(LAST_WORDS_MS))? {
        0 => Err(io::Error::new(ErrorKind::TimedOut, "it was killed and has not ended")),
        _ => Ok(()),
    }
}

fn is_number(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    /// A process of this shell script, and the file that names the PID it says.
    fn named(dir: &Path, script: &str) -> (Child, String) {
        let sleeper = dir.join("catatonit");
        // A copy could not be executed while another thread's new process still has it open for writing.
        if !sleeper.is_symlink() {
            std::os::unix::fs::symlink("/bin/sleep", &sleeper).unwrap();
        }
        let script = script.replace("catatonit", &sleeper.display().to_string());
        let mut child =
            Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().expect("a shell");
        let mut pid = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        // Until it is the program and no longer the shell.
        while fs::read_to_string(format!("/proc/{}/comm", pid.trim())).unwrap().trim() == "sh" {
            std::thread::yield_now();
        }
        let file = dir.join("pause.pid");
        fs::write(&file, pid.trim()).unwrap();
        (child, file.display().to_string())
    }

    #[test]
    fn the_pause_process_has_ended_when_it_returns() {
        let dir = tempfile::tempdir().unwrap();
        let (mut child, file) =
            named(dir.path(), "exec unshare --user sh -c 'echo $$; exec catatonit 60 >&-'");
        assert_eq!(end_named_in(&file), Ok(()));
        assert!(child.try_wait().unwrap().is_some());
        assert_eq!(end_named_in(&file), Ok(()), "nor is it there to be ended again");
    }

    #[test]
    fn one_that_others_have_joined_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (mut child, file) =
            named(dir.path(), "exec unshare --user sh -c 'catatonit 60 >&- & echo $!; exec sleep 5 >&-'");
        let why = end_named_in(&file).unwrap_err();
        // Its name is that of the shell until it has become `sleep`.
        assert!(why.ends_with(" runs in the user namespace: `podman system migrate` ends it"), "{why}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(end_named_in(&file), Ok(()));
    }

    #[test]
    fn a_process_that_only_has_the_pid_is_left_alone_and_named_no_more() {
        let dir = tempfile::tempdir().unwrap();
        for script in
            ["exec unshare --user sh -c 'echo $$; exec sleep 60 >&-'", "echo $$; exec catatonit 60 >&-"]
        {
            let (mut child, file) = named(dir.path(), script);
            assert_eq!(end_named_in(&file), Ok(()));
            assert!(!Path::new(&file).exists() && child.try_wait().unwrap().is_none(), "{script}");
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
