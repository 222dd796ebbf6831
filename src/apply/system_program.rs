//! A program of the system that a fix runs because nothing else carries kernel arguments to the boot loader:
//! only with `--regenerate-boot`.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::facts::boot::Carry;

/// Where programs of the system are; nobody but root writes there.
const DIRS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// `update-grub` looks through every disk for other systems, and a Raspberry Pi's card is slow.
const WITHIN: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(100);

/// Runs it and waits for its end. What it says goes to standard error.
///
/// # Errors
/// Where it is not installed, cannot be started, fails, or does not end in ten minutes.
pub(super) fn run(carry: &Carry) -> io::Result<()> {
    let dir = carry.dir.as_deref().unwrap_or("/");
    let Some((name, arguments)) = carry.words.split_first() else { return Ok(()) };
    let program = find(name, dir)?;
    run_in(&program, arguments, dir, WITHIN)
}

/// A name with a slash is one in the directory that it is run in.
#[expect(clippy::disallowed_methods, reason = "what is run is looked for on the running system")]
fn find(name: &str, dir: &str) -> io::Result<PathBuf> {
    let found = match name.strip_prefix("./") {
        Some(name) => Some(Path::new(dir).join(name)).filter(|path| path.is_file()),
        None => DIRS.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.is_file()),
    };
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "is not installed"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one program of the system that a fix runs, and only when asked"
)]
fn run_in(program: &Path, arguments: &[String], dir: &str, within: Duration) -> io::Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .env("PATH", DIRS.join(":"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()?;
    let deadline = Instant::now() + within;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(io::Error::other(format!("ended with {status}"))),
            None if Instant::now() < deadline => std::thread::sleep(POLL),
            None => {
                // What it started would go on writing.
                let group = i32::try_from(child.id()).map(|pid| killpg(Pid::from_raw(pid), Signal::SIGKILL));
                if !matches!(group, Ok(Ok(()))) {
                    child.kill()?;
                }
                child.wait()?;
                return Err(io::Error::new(io::ErrorKind::TimedOut, "did not end and was stopped"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_and_its_end_is_told() {
        assert!(run(&Carry::new(&["true"])).is_ok());
        assert!(
            run(&Carry::new(&["false"])).unwrap_err().to_string().starts_with("ended with exit status: 1")
        );
        let absent = run(&Carry::new(&["no-such-program-of-edgeprep"])).unwrap_err();
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
        let env =
            run_in(Path::new("/bin/sh"), &["-c".to_owned(), "test -z \"$HOME\"".to_owned()], "/", WITHIN);
        assert!(env.is_ok(), "{env:?}");
        let endless = run_in(Path::new("/bin/sleep"), &["1000".to_owned()], "/", Duration::from_millis(300));
        assert_eq!(endless.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
