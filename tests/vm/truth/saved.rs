//! Machines that were set up once and are gone on with many times.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::machine::Machine;
use super::scenario::Base;

const SET_UP: Duration = Duration::from_secs(900);
/// What makes a machine that is saved; one that was made of anything else is made anew.
const SCRIPTS: [(&str, &str); 3] = [
    ("agent", include_str!("agent.sh")),
    ("fresh", include_str!("fresh.sh")),
    ("good", include_str!("good.sh")),
];
/// What no distribution packages, and is stood in for.
const STAND_INS: [(&str, &str); 2] = [("k3s", include_str!("k3s")), ("k3d", include_str!("k3d"))];

/// The folder of saved machines.
pub(crate) struct Saved {
    dir: PathBuf,
    images: PathBuf,
    /// What reads what is saved.
    qemu: String,
    /// Locked while this runs.
    _running: File,
}

impl Saved {
    /// Beside the lab's images.
    pub(crate) fn open() -> Result<Saved> {
        let images = match (std::env::var_os("EDGEPREP_LAB_DIR"), std::env::var_os("XDG_CACHE_HOME")) {
            (Some(dir), _) => PathBuf::from(dir),
            (None, Some(cache)) => PathBuf::from(cache).join("edgeprep-lab"),
            (None, None) => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?)
                .join(".cache/edgeprep-lab"),
        };
        let dir = images.join("saved");
        std::fs::create_dir_all(dir.join("seen"))?;
        let running = File::create(dir.join("lock"))?;
        // Where nobody else runs, what is there was left by somebody who was killed.
        if running.try_lock().is_ok() {
            for entry in std::fs::read_dir(&dir)?.flatten() {
                if entry.file_name().to_string_lossy().starts_with("machine.") {
                    std::fs::remove_dir_all(entry.path())?;
                }
            }
            running.unlock()?;
        }
        running.lock_shared()?;
        let qemu =
            Command::new("qemu-system-x86_64").arg("--version").output().context("qemu-system-x86_64")?;
        let qemu = String::from_utf8(qemu.stdout)?;
        Ok(Saved { dir, images, qemu, _running: running })
    }

    /// A machine that goes on from where the saved one was left, which is made where it is missing.
    pub(crate) fn machine(&self, image: &str, base: Base, kernel: &str) -> Result<Machine> {
        let dir = self.saved(image, base, kernel)?;
        Machine::start(image, kernel, Some(&dir), &self.dir)
    }

    fn saved(&self, image: &str, base: Base, kernel: &str) -> Result<PathBuf> {
        let name = format!("{image}-{}{}", base.as_str(), slug(kernel));
        let made_by_one = File::create(self.dir.join(format!("{name}.lock")))?;
        made_by_one.lock()?;
        let key = self.key(image, kernel)?;
        let dir = self.dir.join(&name);
        if std::fs::read_to_string(dir.join("key")).is_ok_and(|found| found == key) {
            return Ok(dir);
        }
        let begun = Instant::now();
        let _ = std::fs::remove_dir_all(&dir);
        self.make(image, base, kernel)?.save(&dir)?;
        std::fs::write(dir.join("key"), key)?;
        println!("set up {name} in {} s", begun.elapsed().as_secs());
        Ok(dir)
    }

    /// All that a machine is made of; the image is built where it is missing.
    pub(crate) fn key(&self, image: &str, kernel: &str) -> Result<String> {
        let status = Command::new(super::lab()).args(["image", image]).status()?;
        if !status.success() {
            bail!("the image {image} cannot be built");
        }
        // The saved disk lies on that of the image.
        let disk = std::fs::metadata(self.images.join(image).join("root.img"))?.modified()?;
        let lab = std::fs::read_to_string(super::lab())?;
        Ok(format!("{disk:?}{kernel}\n{lab}{}{STAND_INS:?}{SCRIPTS:?}", self.qemu))
    }

    /// Where what was seen is kept.
    pub(crate) fn seen(&self) -> PathBuf {
        self.dir.join("seen")
    }

    fn make(&self, image: &str, base: Base, kernel: &str) -> Result<Machine> {
        let mut machine = Machine::start(image, kernel, None, &self.dir)?;
        for (name, text) in STAND_INS {
            machine.put(&format!("/var/lib/edgeprep-lab/{name}"), "755", text.as_bytes())?;
        }
        set_up(&mut machine, "fresh")?;
        if base == Base::Good {
            set_up(&mut machine, "good")?;
            machine.reboot()?;
            let ran = machine.run("wait_user_manager && sync", SET_UP)?;
            if ran.code != 0 {
                bail!("after a reboot: {}", ran.output);
            }
        }
        Ok(machine)
    }
}

fn set_up(machine: &mut Machine, name: &str) -> Result<()> {
    let script = SCRIPTS.iter().find(|(one, _)| *one == name).map_or("", |(_, text)| text);
    let ran = machine.run(script, SET_UP)?;
    if ran.code != 0 {
        bail!("{name}.sh: {}", ran.output);
    }
    Ok(())
}

/// Kernel arguments as part of a folder's name.
fn slug(kernel: &str) -> String {
    let slug: String = kernel.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    if slug.is_empty() { slug } else { format!("-{slug}") }
}
