//! edgeprep once more, as a child that is spoken with in lines of JSON, each in bounded time.
#![expect(clippy::disallowed_methods, reason = "the one process that is started is edgeprep itself")]

use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::{close, setsid};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::pipe::Pipe;

/// The program that runs here.
pub(crate) const OURSELVES: &str = "/proc/self/exe";
/// How long a child may take to end after its input has, and again after it was killed.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often an ending child is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Whether this argument, and nothing else, is on the command line.
pub(crate) fn is_called_with(argument: &str) -> bool {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().is_some_and(|first| first == argument) && arguments.next().is_none()
}

/// Takes this process, a child in which nothing has happened yet, out of the session of whoever runs edgeprep:
/// a user's process holds neither root's terminal nor what root's shell has open. Ctrl-C then interrupts the
/// parent alone, which still needs the child to put things back.
///
/// # Errors
/// Those of the system.
pub(crate) fn leave_session() -> io::Result<()> {
    setsid()?;
    let number = |entry: DirEntry| entry.file_name().to_str()?.parse::<i32>().ok();
    let open: Vec<i32> = fs::read_dir("/proc/self/fd")?.flatten().filter_map(number).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // That of the directory is closed by now.
        let _ = close(fd);
    }
    Ok(())
}

/// A child. It ends with its input.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// `None` once the child is not to be trusted with another request, so that no late answer is taken for
    /// the answer to it.
    pipe: Option<Pipe>,
}

impl Process {
    /// Starts `program`, which is edgeprep, with this argument. No line of its is longer than `limit_bytes`.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn start(program: &Path, argument: &str, limit_bytes: u64) -> io::Result<Process> {
        let mut child = Command::new(program)
            .arg0("edgeprep")
            .arg(argument)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Nothing of a user's holds root's terminal.
            .stderr(Stdio::null())
            .spawn()?;
        let ends = child.stdin.take().zip(child.stdout.take());
        let pipe = ends.map(|(input, output)| Pipe::new(input, output, limit_bytes));
        // From here on its drop sees to the child.
        let mut started = Process { child, pipe: None };
        started.pipe = pipe.transpose()?;
        Ok(started)
    }

    /// The child's PID.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a line and returns the answer to it. After an error the child is gone, and what it was doing
    /// may have been done or not.
    ///
    /// # Errors
    /// Those of the pipes; `TimedOut`; `InvalidData` for an answer that is none.
    pub(crate) fn exchange<R: DeserializeOwned>(
        &mut self,
        line: &impl Serialize,
        within: Duration,
    ) -> io::Result<R> {
        let mut pipe = self
            .pipe
            .take()
            .ok_or_else(|| io::Error::new(io::ErrorKind::BrokenPipe, "the user's process is gone"))?;
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        let answer = pipe.exchange(&bytes, Instant::now() + within).and_then(|line| {
            serde_json::from_slice(&line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        });
        match answer {
            Ok(response) => {
                self.pipe = Some(pipe);
                Ok(response)
            }
            Err(error) => {
                // It may have ended already.
                let _ = self.child.kill();
                Err(error)
            }
        }
    }

    fn ends_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The end of its input ends it.
        self.pipe = None;
        if !self.ends_within(LAST_WORDS) {
            let _ = self.child.kill();
            // One that hangs in the kernel dies when it can; it is not waited for.
            self.ends_within(LAST_WORDS);
        }
    }
}
