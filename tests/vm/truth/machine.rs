//! A machine of the lab: booted, saved, gone on with, and told what to run.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

const START: Duration = Duration::from_secs(240);
const BOOT: Duration = Duration::from_secs(400);
/// How long the answer may take that a script was ended.
const LAST_WORDS: Duration = Duration::from_secs(30);
/// What `timeout(1)` ends with where it ended the command, and where it had to kill it.
const ENDED: [i32; 2] = [124, 137];

/// What a script came to.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) output: String,
}

/// A machine that no longer answers, where what it runs is ended in time: it is the machine that hangs.
#[derive(Debug, thiserror::Error)]
#[error("the machine does not answer")]
pub(crate) struct Silent;

/// A machine that is on, until it is dropped.
pub(crate) struct Machine {
    qemu: Child,
    agent: BufReader<UnixStream>,
    monitor: BufReader<UnixStream>,
    _dir: tempfile::TempDir,
}

impl Machine {
    /// Boots an image, or goes on where a saved machine was left. Its files are in a new folder in `dir`.
    pub(crate) fn start(image: &str, kernel: &str, saved: Option<&Path>, dir: &Path) -> Result<Machine> {
        let dir = tempfile::Builder::new().prefix("machine.").tempdir_in(dir)?;
        let mut lab = Command::new("setpriv");
        lab.args(["--pdeathsig", "KILL"]).arg(super::lab());
        lab.args(["machine", image]).arg(dir.path()).args(["--append", kernel]);
        lab.arg("--script").arg(super::here("truth/agent.sh"));
        if let Some(saved) = saved {
            lab.arg("--resume").arg(saved);
        }
        let said = File::create(dir.path().join("qemu.log"))?;
        let qemu = lab.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said).spawn()?;
        let mut qemu = Killed(Some(qemu));
        let agent = connect(&dir.path().join("agent"), &mut qemu)
            .with_context(|| std::fs::read_to_string(dir.path().join("qemu.log")).unwrap_or_default())?;
        let monitor = connect(&dir.path().join("qmp"), &mut qemu)?;
        let mut machine = Machine {
            qemu: qemu.0.take().context("it was started")?,
            agent: BufReader::new(agent),
            monitor: BufReader::new(monitor),
            _dir: dir,
        };
        machine.ask(&json!({"execute": "qmp_capabilities"}))?;
        if saved.is_some() {
            // It was stopped when it was saved, and so it is when it is loaded.
            while machine.ask(&json!({"execute": "query-status"}))?["status"] == "inmigrate" {
                std::thread::sleep(Duration::from_millis(50));
            }
            machine.ask(&json!({"execute": "cont"}))?;
        }
        Ok(machine)
    }

    /// Runs a bash script as root, after the functions for scripts. One that takes longer is an error with
    /// the end of what it said.
    pub(crate) fn run(&mut self, script: &str, time: Duration) -> Result<Ran> {
        let script = format!(". /share/guest-lib.sh\n{script}");
        let header = format!("run {} {}\n", script.len(), time.as_secs());
        let ran = self.request(header.as_bytes(), script.as_bytes(), time + LAST_WORDS)?;
        if ENDED.contains(&ran.code) {
            let last = script.lines().last().unwrap_or_default();
            bail!("{last:?} has not ended after {} s: {}", time.as_secs(), ran.output);
        }
        Ok(ran)
    }

    /// Writes a file.
    pub(crate) fn put(&mut self, path: &str, mode: &str, bytes: &[u8]) -> Result<()> {
        self.request(format!("put {mode} {path} {}\n", bytes.len()).as_bytes(), bytes, BOOT).map(drop)
    }

    /// Restarts it as its kernel does, and waits until it answers.
    pub(crate) fn reboot(&mut self) -> Result<()> {
        // Later, so that the answer gets out before the machine goes down.
        self.run("sync; systemd-run --quiet --on-active=1s systemctl reboot", START)?;
        self.wait_for("RESET")?;
        self.run("true", BOOT).map(drop)
    }

    /// Leaves it in `dir` as it is, to be gone on with any number of times.
    pub(crate) fn save(mut self, dir: &Path) -> Result<()> {
        self.ask(&json!({"execute": "stop"}))?;
        let state = format!("exec:cat >{}/state", self._dir.path().display());
        self.ask(&json!({"execute": "migrate-set-parameters", "arguments": {"max-bandwidth": 1u64 << 40}}))?;
        self.ask(&json!({"execute": "migrate", "arguments": {"uri": state}}))?;
        loop {
            let status = self.ask(&json!({"execute": "query-migrate"}))?;
            match status["status"].as_str() {
                Some("completed") => break,
                Some("failed" | "cancelled") => bail!("qemu does not save the machine: {status}"),
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
        self.ask(&json!({"execute": "quit"}))?;
        self.qemu.wait()?;
        for name in ["qmp", "agent"] {
            let _ = std::fs::remove_file(self._dir.path().join(name));
        }
        match std::fs::rename(self._dir.path(), dir) {
            Ok(()) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot keep {}", dir.display())),
        }
    }

    fn request(&mut self, header: &[u8], body: &[u8], time: Duration) -> Result<Ran> {
        let socket = self.agent.get_mut();
        socket.set_write_timeout(Some(BOOT))?;
        socket.write_all(header)?;
        socket.write_all(body)?;
        let until = Instant::now() + time;
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.extend(self.byte(until)?);
        }
        let line = String::from_utf8(line)?;
        let (code, size) = line.trim().split_once(' ').with_context(|| format!("answer {line:?}"))?;
        let mut output = vec![0; size.parse()?];
        self.agent.get_mut().set_read_timeout(Some(START))?;
        self.agent.read_exact(&mut output)?;
        Ok(Ran { code: code.parse()?, output: String::from_utf8_lossy(&output).into_owned() })
    }

    fn byte(&mut self, until: Instant) -> Result<Option<u8>> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Silent.into());
        }
        self.agent.get_mut().set_read_timeout(Some(left))?;
        let mut byte = [0];
        match self.agent.read(&mut byte) {
            Ok(0) => bail!("the machine is off"),
            Ok(_) => Ok(Some(byte[0])),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn message(&mut self) -> Result<Value> {
        self.monitor.get_mut().set_read_timeout(Some(BOOT))?;
        let mut line = String::new();
        if self.monitor.read_line(&mut line)? == 0 {
            bail!("the machine is off");
        }
        Ok(serde_json::from_str(&line)?)
    }

    fn ask(&mut self, command: &Value) -> Result<Value> {
        self.monitor.get_mut().write_all(format!("{command}\n").as_bytes())?;
        loop {
            let mut message = self.message()?;
            if let Some(answer) = message.get_mut("return") {
                return Ok(answer.take());
            }
            if let Some(error) = message.get("error") {
                bail!("{command}: {error}");
            }
        }
    }

    fn wait_for(&mut self, event: &str) -> Result<()> {
        while self.message()?["event"] != event {}
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// A process that ends with us, whatever becomes of its start.
struct Killed(Option<Child>);

impl Drop for Killed {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn connect(path: &PathBuf, qemu: &mut Killed) -> Result<UnixStream> {
    let until = Instant::now() + START;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > until => {
                return Err(error).with_context(|| path.display().to_string());
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
        if let Some(child) = &mut qemu.0
            && let Some(status) = child.try_wait()?
        {
            bail!("the machine did not start: {status}");
        }
    }
}
