//! Runs newuidmap or newgidmap: by its path, without a shell or an environment, and not for long.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::probes::request::{Failure, MapLine, Reply, Step};

/// How long a helper may take. It asks a directory service for the user where one is configured.
const HELPER_WITHIN: Duration = Duration::from_secs(5);
/// How long it may take to end once it was killed.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often it is looked at.
const POLL: Duration = Duration::from_millis(2);
/// The most that is kept of what it says, in bytes.
const SAID_LIMIT_BYTES: u64 = 400;

/// Has a helper write the map of a process (`newuidmap(1)`).
pub(super) fn run(helper: &str, pid: u32, map: &[MapLine]) -> Result<Reply, Failure> {
    let numbers = map.iter().flat_map(|line| [line.inside, line.outside, line.count]);
    let mut child = Command::new(helper)
        .arg(pid.to_string())
        .args(numbers.map(|number| number.to_string()))
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // Its own, so that what it may start ends with it.
        .process_group(0)
        .spawn()
        .map_err(|error| Step::Helper.failed_io(&error))?;
    let failed = |error: io::Error| Step::Helper.failed_io(&error);
    match ends_within(&mut child, HELPER_WITHIN).map_err(failed)? {
        Some(status) => {
            let said = child.stderr.take().map_or_else(String::new, said);
            Ok(Reply::Ended { code: status.code(), said })
        }
        None => {
            // A set-user-ID program is killed by whoever started it: its real UID is theirs (`kill(2)`).
            if let Ok(group) = i32::try_from(child.id()) {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            ends_within(&mut child, LAST_WORDS).map_err(failed)?;
            Err(Step::Helper.failed(Errno::ETIMEDOUT))
        }
    }
}

fn ends_within(child: &mut Child, time: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + time;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

/// What is in the pipe of one that has ended, in one line. Who else holds the pipe is not waited for.
fn said(mut pipe: ChildStderr) -> String {
    let mut text = Vec::new();
    if fcntl(pipe.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).is_ok() {
        // What it said before the error was kept.
        let _ = pipe.by_ref().take(SAID_LIMIT_BYTES).read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text);
    text.split(|c: char| c.is_control())
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}
