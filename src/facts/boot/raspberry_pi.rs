//! The firmware of a Raspberry Pi: which file of the boot partition it reads the kernel command
//! line from.
//!
//! It reads the first line of that file and puts it behind words of its own and those of the device
//! tree (raspberrypi.com, "config.txt" and "The Linux kernel").

mod board;
pub(super) mod bootargs;
mod config_txt;
mod kernel_file;
mod loader;
mod memory_default;

use std::rc::Rc;

use super::{Boot, BootWant, Carry, Doubt, Method, Place, Syntax, Unheard, line};
use crate::facts::kernel_cmdline::KernelCmdline;
use crate::facts::{Evidence, Facts, Source};
use crate::host::{Fact, OrAbsent, Unread};
use board::Boards;
use config_txt::{Config, Key, Value};
use loader::{Loader, loader, other_partition};

/// Where the boot partition is mounted: by Raspberry Pi OS since 12, Debian and Ubuntu, and by what
/// came before.
const PARTITIONS: [&str; 2] = ["/boot/firmware", "/boot"];
/// Only firmware that follows UEFI leaves this, as that which is to be had for some boards does
/// (Linux: `drivers/firmware/efi/efi.c`, `efisubsys_init()`). A boot loader of its own reads the
/// words then.
const EFI: &str = "/sys/firmware/efi";
/// What Raspberry Pi OS 12 and later leave in `/boot` in place of files that have moved
/// (raspberrypi-sys-mods).
const MOVED: &str = "The file you are looking for has moved to";
/// Debian's hook that writes `cmdline.txt` anew for each kernel and initramfs, and what goes into
/// it by its end. The package of that name in Raspberry Pi OS has a hook of the same name, which
/// does not.
const HOOK: &str = "/etc/kernel/postinst.d/z50-raspi-firmware";
const EXTRA: &str = "/etc/default/raspi-extra-cmdline";
/// What the firmware puts right before the words of `cmdline.txt`.
const LAST_OF_FIRMWARE: &str = "vc_mem.mem_size";
/// What kernels are called where `config.txt` does not say.
const KERNELS: [&str; 5] = ["kernel8.img", "kernel_2712.img", "kernel7l.img", "kernel7.img", "kernel.img"];
/// The most that is read of a device tree, in bytes. The largest that are shipped have some 100
/// KiB.
const TREE_BYTES: u64 = 1 << 20;
/// The most device trees that are read.
const TREES: usize = 64;
const UNHEARD: &str = "the firmware reads the first line only";
const TOO_MANY: &str =
    "with so many lines that may count or not, which file the firmware reads cannot be told";
/// The most that `cmdline.txt` can have, in bytes: no kernel holds as much of its command line.
const CMDLINE_BYTES: usize = 64 << 10;
/// What is sure to fit, in bytes. Kernels hold 2048 of arm64 and 1024 of 32-bit ARM, with a NUL
/// (Linux: `COMMAND_LINE_SIZE` in `arch/*/include/uapi/asm/setup.h`), and the words of firmware and
/// device tree, which come first, take up to 500 of them.
pub(super) const LINE_BYTES: usize = 1500;

/// Where the boot partition is mounted.
type Dir = &'static str;

pub(super) fn find(facts: &Facts, want: &BootWant) -> Fact<Option<Boot>> {
    let board = match running_board(facts)? {
        Running::Other => return Ok(None),
        Running::Pi(board) => board,
        Running::Nothing => Boards::of_profile(&want.boards),
    };
    if !want.files.is_empty() {
        for path in &want.files {
            if let Some(source) = facts.source(path).or_absent()? {
                return boot(facts, path, &source, came_before(facts), Ok(())).map(Some);
            }
        }
        return Ok(None);
    }
    let Some(dir) = partition(facts, want)? else { return Ok(None) };
    other_partition(facts, dir)?;
    let now = config(facts, dir, &board, false)?;
    if let Some(at) = now.too_many() {
        return Err(untold(at, TOO_MANY));
    }
    if matches!(loader(facts, dir, &now)?, Loader::Other) {
        return Ok(None);
    }
    if let Some((_, at)) =
        now.possible(Key::BootRamdisk).into_iter().flatten().find(|(value, _)| value != "0")
    {
        return Err(untold(&at, "the firmware boots from what boot.img holds"));
    }
    let live = cmdline_path(facts, dir, &now)?;
    let trial = match trial_state(facts, dir, &config(facts, dir, &board, true)?, &live)? {
        Some(trial) => trial,
        None => return here(facts, dir, &now, &live, Ok(())).map(Some),
    };
    let why = format!(
        "{} has boot files that the next boot tries, and then keeps: reboot first, then change the kernel \
         command line",
        trial.dir
    );
    here(facts, dir, &now, &trial.live, Err(why)).map(Some)
}

/// What is running.
enum Running {
    /// No Raspberry Pi, or one that another boot loader boots.
    Other,
    Pi(Boards),
    /// This is an image.
    Nothing,
}

fn running_board(facts: &Facts) -> Fact<Running> {
    if !facts.running() {
        return Ok(Running::Nothing);
    }
    let tree = facts.device_tree()?;
    let Some(tree) = tree.as_ref() else { return Ok(Running::Other) };
    let names = || tree.compatible.iter().map(|name| name.value.as_str());
    if !names().any(|name| name.starts_with("raspberrypi,")) || facts.stat(EFI).or_absent()?.is_some() {
        return Ok(Running::Other);
    }
    Ok(Running::Pi(Boards::running(names())))
}

fn untold(at: &Evidence, why: &str) -> Unread {
    Unread::Malformed { path: at.path.to_string(), line: at.line, expected: why.to_owned() }
}

fn unmounted(dir: &str) -> Unread {
    let expected = "mount it: what the firmware reads is not there".to_owned();
    Unread::Malformed { path: dir.to_owned(), line: None, expected }
}

/// The directory that has the boot partition; `None` where nothing says that there is one.
fn partition(facts: &Facts, want: &BootWant) -> Fact<Option<Dir>> {
    let mut moved = false;
    for dir in PARTITIONS {
        if is_unmounted(facts, dir)? {
            return Err(unmounted(dir));
        }
        let mut seen = [false; 2];
        for (seen, name) in seen.iter_mut().zip(["config.txt", "cmdline.txt"]) {
            if let Some(source) = facts.source(&format!("{dir}/{name}")).or_absent()? {
                let is_notice = source.text().contains(MOVED);
                moved |= is_notice;
                *seen = !is_notice;
            }
        }
        // On others than a Raspberry Pi, a cmdline.txt alone can be anything.
        let sure = facts.running() || want.method == Some(Method::RaspberryPi);
        if seen[0] || seen[1] && (sure || dir == PARTITIONS[0]) {
            return Ok(Some(dir));
        }
    }
    let asked = want.method == Some(Method::RaspberryPi);
    if moved || (asked || facts.running()) && facts.stat(PARTITIONS[0]).or_absent()?.is_some() {
        return Err(unmounted(PARTITIONS[0]));
    }
    Ok(None)
}

/// Whether `fstab` has something for a directory that is not mounted there: what lies in it is left
/// over.
fn is_unmounted(facts: &Facts, dir: &str) -> Fact<bool> {
    if !facts.running() {
        return Ok(false);
    }
    let Some(fstab) = facts.fstab().or_absent()? else { return Ok(false) };
    Ok(fstab.configured.at(dir).is_some() && facts.mountinfo()?.at(dir).is_none())
}

fn config(facts: &Facts, dir: Dir, board: &Boards, tryboot: bool) -> Fact<Config> {
    let Some(source) = facts.source(&format!("{dir}/config.txt")).or_absent()? else {
        return Ok(Config::default());
    };
    config_txt::read(&source, board, tryboot, &mut |name| match path_in(dir, "", name) {
        Some(path) => facts.source(&path).or_absent(),
        None => Ok(None),
    })
}

/// A file of the boot partition; `None` for a name that leads out of it.
fn path_in(dir: &str, prefix: &str, name: &str) -> Option<String> {
    let whole = if name.starts_with('/') { name.to_owned() } else { format!("{prefix}{name}") };
    let parts: Vec<&str> = whole.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let inside = !parts.is_empty() && !parts.contains(&"..") && !whole.contains(['\\', '\0']);
    inside.then(|| format!("{dir}/{}", parts.join("/")))
}

/// Where the firmware reads the words.
struct Live {
    path: String,
    /// `os_prefix=`, where it counts.
    prefix: String,
    /// The lines that say so.
    at: Vec<Evidence>,
}

fn cmdline_path(facts: &Facts, dir: Dir, config: &Config) -> Fact<Live> {
    if let Some(at) = config.too_many() {
        return Err(untold(at, TOO_MANY));
    }
    let mut found: Option<Live> = None;
    let mut doubt = None;
    for prefix in prefixes(facts, dir, config)? {
        for name in config.possible(Key::Cmdline) {
            let text = |value: &Value, default: &str| match value {
                Some((text, _)) => text.clone(),
                None => default.to_owned(),
            };
            let at: Vec<Evidence> =
                [&prefix, &name].into_iter().flatten().map(|(_, at)| at.clone()).collect();
            let prefix = text(&prefix, "");
            let Some(path) = path_in(dir, &prefix, &text(&name, "cmdline.txt")) else {
                let fallback = Evidence::path(dir, "");
                return Err(untold(at.last().unwrap_or(&fallback), "it names no file of the boot partition"));
            };
            match &found {
                Some(other) if other.path != path => doubt = doubt.or(at.last().cloned()),
                Some(_) => {}
                None => found = Some(Live { path, prefix, at }),
            }
        }
    }
    match (found, doubt) {
        (Some(_), Some(at)) => {
            Err(untold(&at, "whether this line counts, and so which file the firmware reads, cannot be told"))
        }
        (Some(live), None) => Ok(live),
        (None, _) => Err(unmounted(dir)),
    }
}

/// All that `os_prefix=` can be. One without a kernel and a device tree is none to the firmware.
fn prefixes(facts: &Facts, dir: Dir, config: &Config) -> Fact<Vec<Value>> {
    let mut out: Vec<Value> = Vec::new();
    for value in config.possible(Key::OsPrefix) {
        match value {
            Some((prefix, at)) => out.push(is_viable(facts, dir, config, &prefix)?.then_some((prefix, at))),
            None => {
                for upstream in config.possible(Key::UpstreamKernel) {
                    let at = upstream.filter(|(value, _)| value != "0").map(|(_, at)| at);
                    let viable = at.is_some() && is_viable(facts, dir, config, "upstream/")?;
                    out.push(at.filter(|_| viable).map(|at| ("upstream/".to_owned(), at)));
                }
            }
        }
    }
    out.dedup();
    Ok(out)
}

fn is_viable(facts: &Facts, dir: Dir, config: &Config, prefix: &str) -> Fact<bool> {
    let is_there = |name: &str| -> Fact<bool> {
        let Some(path) = path_in(dir, prefix, name) else { return Ok(false) };
        Ok(facts.stat(&path).or_absent()?.is_some())
    };
    let mut kernel = false;
    for value in config.possible(Key::Kernel) {
        match value {
            Some((name, _)) => kernel |= is_there(&name)?,
            None => {
                for name in KERNELS {
                    kernel |= is_there(name)?;
                }
            }
        }
    }
    if !kernel {
        return Ok(false);
    }
    for value in config.possible(Key::DeviceTree) {
        if let Some((name, _)) = value {
            if is_there(&name)? {
                return Ok(true);
            }
        } else if !trees(facts, dir, prefix)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The device trees of Raspberry Pis beside a kernel.
fn trees(facts: &Facts, dir: Dir, prefix: &str) -> Fact<Vec<String>> {
    let (folder, start) = match prefix.rsplit_once('/') {
        Some((folder, start)) => (path_in(dir, "", folder), start),
        None => (Some(dir.to_owned()), prefix),
    };
    let Some(folder) = folder else { return Ok(Vec::new()) };
    let Some(names) = facts.list(&folder).or_absent()? else { return Ok(Vec::new()) };
    let is_tree = |name: &str| {
        name.strip_prefix(start).is_some_and(|name| name.starts_with("bcm2")) && name.ends_with(".dtb")
    };
    let names = names.iter().map(|entry| entry.name.as_str()).filter(|name| is_tree(name));
    Ok(names.take(TREES).map(|name| format!("{folder}/{name}")).collect())
}

/// Boot files that wait for their trial.
struct Trial {
    dir: String,
    live: Live,
}

/// Ubuntu since 25.10 boots new files once with `[tryboot]`, and then has them in place of the old
/// ones (ubuntu.com, "A/B boot on Ubuntu for Raspberry Pi").
fn trial_state(facts: &Facts, dir: Dir, trial: &Config, live: &Live) -> Fact<Option<Trial>> {
    let tried = match cmdline_path(facts, dir, trial) {
        Ok(tried) => tried,
        Err(Unread::Malformed { .. }) => return Ok(None),
        Err(why) => return Err(why),
    };
    if tried.path == live.path || tried.prefix.is_empty() {
        return Ok(None);
    }
    let folder = format!("{dir}/{}", tried.prefix.trim_end_matches('/'));
    let state = facts.source(&format!("{folder}/state")).or_absent()?;
    let waits = state.is_some_and(|state| matches!(state.text().trim(), "unknown" | "trying"));
    Ok(waits.then_some(Trial { dir: folder, live: tried }))
}

/// The boot with the words of this file. `free` is why it may not be changed.
fn here(facts: &Facts, dir: Dir, config: &Config, live: &Live, free: Result<(), String>) -> Fact<Boot> {
    let source = facts.source(&live.path).or_absent()?;
    let before = match facts.running() {
        true => came_before(facts),
        false => comes_before(facts, dir, config, &live.prefix)?,
    };
    let (source, free) = match source {
        Some(source) => (source, free),
        None => {
            let why = format!("{} does not exist, so that the firmware passes words of its own", live.path);
            (Rc::new(Source::new(&live.path, "")), Err(why))
        }
    };
    let mut boot = boot(facts, &live.path, &source, before, free)?;
    boot.at.extend(live.at.iter().cloned());
    Ok(boot)
}

/// The words of the first line, and those of the other lines.
fn split(source: &Source) -> Fact<(KernelCmdline, Vec<Unheard>)> {
    if source.text().len() > CMDLINE_BYTES {
        let expected = format!("it is too long: {CMDLINE_BYTES} bytes at most");
        return Err(Unread::Malformed { path: source.path().to_owned(), line: None, expected });
    }
    let all = KernelCmdline::parse(source);
    let (first, rest): (Vec<_>, Vec<_>) =
        all.parameters.into_iter().partition(|parameter| parameter.at.line == Some(1));
    let unheard = rest.into_iter().map(|parameter| Unheard { parameter, why: UNHEARD });
    Ok((KernelCmdline { parameters: first }, unheard.take(line::UNHEARD).collect()))
}

fn boot(
    facts: &Facts,
    path: &str,
    source: &Source,
    before: Option<KernelCmdline>,
    free: Result<(), String>,
) -> Fact<Boot> {
    let (next, mut unheard) = split(source)?;
    let line = source.text().lines().next().unwrap_or_default();
    let place = if let Err(why) = free {
        Err(why)
    } else if line.contains(['\r', '\0']) {
        Err(format!("{path}:1 is no line of text"))
    } else if next.parameters.is_empty() {
        Err(format!("the first line of {path} is empty, so that the firmware passes words of its own"))
    } else if let Some(source) = generated_from(facts, path)? {
        let (words, more) = split(&source)?;
        unheard.extend(more);
        // As `/etc/default/raspi-firmware` says.
        let carry = vec![Carry::new(&["update-initramfs", "-u", "-k", "all"])];
        Ok(Place { path: EXTRA.to_owned(), syntax: Syntax::FirstLineOfMore, words, carry })
    } else {
        let words = next.clone();
        Ok(Place { path: path.to_owned(), syntax: Syntax::FirstLine, words, carry: Vec::new() })
    };
    let at = if line.is_empty() { Evidence::path(path, "") } else { source.whole(()).at };
    let doubt = doubt(path, line);
    Ok(Boot { doubt, method: Method::RaspberryPi, at: vec![at], before, next, unheard, place })
}

/// Why not all words of a line may be passed.
fn doubt(path: &str, line: &str) -> Option<Doubt> {
    if line.contains(['\r', '\0']) {
        return Some(Doubt { why: format!("{path}:1 is no line of text"), or: Vec::new() });
    }
    let fits = line.get(..line.floor_char_boundary(LINE_BYTES)).unwrap_or_default();
    let why = format!("{path}:1 is too long: kernels may cut off what stands past byte {LINE_BYTES}");
    (fits.len() < line.trim_end().len()).then(|| Doubt { why, or: vec![line::words(path, 1, fits)] })
}

/// What a file is written from by Debian's raspi-firmware, if it is.
fn generated_from(facts: &Facts, path: &str) -> Fact<Option<Rc<Source>>> {
    let Some(hook) = facts.source(HOOK).or_absent()? else { return Ok(None) };
    let writes = |text: &str| text.contains(EXTRA) && text.contains(path);
    if !writes(hook.text()) {
        return Ok(None);
    }
    Ok(Some(facts.source(EXTRA).or_absent()?.unwrap_or_else(|| Rc::new(Source::new(EXTRA, "")))))
}

/// The words that came before those of the file this time: they will come again. What cannot be
/// read is not known.
fn came_before(facts: &Facts) -> Option<KernelCmdline> {
    let now = facts.kernel_cmdline().ok()?;
    let last = now.parameters.iter().position(|parameter| parameter.name == LAST_OF_FIRMWARE)?;
    Some(KernelCmdline { parameters: now.parameters.get(..=last)?.to_vec() })
}

/// The words that the device trees of an image carry. Which of them is the board's is not known, so
/// that a word of one is taken as one of all.
fn comes_before(facts: &Facts, dir: Dir, config: &Config, prefix: &str) -> Fact<Option<KernelCmdline>> {
    let mut paths = Vec::new();
    for value in config.possible(Key::DeviceTree) {
        match value {
            Some((name, _)) => paths.extend(path_in(dir, prefix, &name)),
            None => paths.extend(trees(facts, dir, prefix)?),
        }
    }
    let mut parameters = Vec::new();
    let mut upstream = !paths.is_empty();
    for path in &paths {
        let Some(bytes) = facts.bytes(path, TREE_BYTES).or_absent()? else { return Ok(None) };
        let Some(words) = bootargs::of(&bytes) else { return Ok(None) };
        upstream &= words.is_empty() && !is_of_old_kernels(path);
        for mut parameter in KernelCmdline::parse(&Source::new(path, words)).parameters {
            parameter.at = Evidence::path(path, &parameter.at.text);
            parameters.push(parameter);
        }
    }
    let off = parameters.iter().any(|parameter| parameter.name.replace('-', "_") == "cgroup_disable");
    let known = off || upstream || !paths.is_empty() && memory_default::leave_it_to_the_tree(facts)?;
    Ok(known.then_some(KernelCmdline { parameters }))
}

/// Kernels of Raspberry Pi before 6.12 turn the memory controller off by themselves, and only they
/// have device trees of these names (raspberrypi/linux pull request 6439).
fn is_of_old_kernels(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    ["bcm2708", "bcm2709", "bcm2710"].iter().any(|chip| name.contains(chip))
}

#[cfg(test)]
mod tests;
