//! What the firmware starts, and from which partition: another boot loader finds the words elsewhere.

use super::config_txt::{Config, Key};
use super::{Dir, KERNELS, untold};
use crate::facts::{Evidence, Facts};
use crate::host::{Fact, OrAbsent, Unread};

/// What boot loaders read or start that the firmware does not, of a boot partition: Arch Linux ARM
/// has U-Boot under the name of a kernel, and the first two (PKGBUILDs: `alarm/uboot-raspberrypi`).
const OF_LOADERS: [&str; 4] = ["boot.scr", "boot.txt", "extlinux/extlinux.conf", "extlinux.conf"];
/// Where GRUB and systemd-boot are put for the EFI of U-Boot to find them (UEFI Specification,
/// 3.5.1.1).
const EFI_DIRS: [&str; 2] = ["EFI", "BOOT"];
/// The words that only the firmware passes start with this.
const OF_FIRMWARE: &str = "vc_mem.";
/// The number of the partition that booted, a big-endian word (raspberrypi.com, "Device Trees,
/// overlays, and parameters", `/chosen/bootloader`).
const BOOTED: [&str; 2] = [
    "/proc/device-tree/chosen/bootloader/partition",
    "/sys/firmware/devicetree/base/chosen/bootloader/partition",
];

/// What the firmware starts.
pub(super) enum Loader {
    Linux,
    /// A boot loader, which finds the words elsewhere.
    Other,
}

/// # Errors
/// [`Unread::Malformed`] where it depends on a line, or cannot be told.
pub(super) fn loader(facts: &Facts, dir: Dir, config: &Config) -> Fact<Loader> {
    let is_loader = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["u-boot", "uboot", "barebox", "efi", "grub"].iter().any(|part| name.contains(part))
    };
    for key in [Key::Kernel, Key::Armstub] {
        let values = config.possible(key);
        let mut loaders = values.iter().flatten().filter(|(name, _)| is_loader(name)).peekable();
        if let Some((_, at)) = loaders.peek() {
            let at = at.clone();
            if loaders.count() == values.len() {
                return Ok(Loader::Other);
            }
            return Err(untold(&at, "whether this line counts cannot be told"));
        }
    }
    let from_firmware = from_firmware(facts)?;
    if from_firmware == Some(false) {
        return Ok(Loader::Other);
    }
    // U-Boot is installed under the names that the firmware looks for by itself.
    let is_own = |name: &str| !KERNELS.contains(&name.trim_start_matches('/'));
    let is_named =
        config.possible(Key::Kernel).iter().all(|value| value.as_ref().is_some_and(|(name, _)| is_own(name)));
    if !is_named && let Some(path) = trace(facts, dir, from_firmware.is_some())? {
        let why =
            "a boot loader under the name of a kernel may read it: which words are passed cannot be told";
        return Err(Unread::Malformed { path, line: None, expected: why.to_owned() });
    }
    Ok(Loader::Linux)
}

/// Whether what runs was passed the words of the firmware; `None` where nothing tells.
fn from_firmware(facts: &Facts) -> Fact<Option<bool>> {
    let now = facts.boot_parameters()?;
    let passed = now.parameters.iter().any(|word| word.name.starts_with(OF_FIRMWARE));
    Ok((!now.parameters.is_empty()).then_some(passed))
}

/// A file that shows another boot loader. `passed` is whether the words of the firmware were: only
/// a script passes them on.
fn trace(facts: &Facts, dir: Dir, passed: bool) -> Fact<Option<String>> {
    for name in OF_LOADERS.iter().take(if passed { 2 } else { OF_LOADERS.len() }) {
        let path = format!("{dir}/{name}");
        if facts.stat(&path).or_absent()?.is_some() {
            return Ok(Some(path));
        }
    }
    if passed { Ok(None) } else { efi(facts, dir) }
}

/// FAT knows no case.
fn efi(facts: &Facts, dir: Dir) -> Fact<Option<String>> {
    let mut path = dir.to_owned();
    for part in EFI_DIRS {
        let Some(names) = facts.list(&path).or_absent()? else { return Ok(None) };
        let Some(found) = names.iter().find(|entry| entry.name.eq_ignore_ascii_case(part)) else {
            return Ok(None);
        };
        path = format!("{path}/{}", found.name);
    }
    let Some(names) = facts.list(&path).or_absent()? else { return Ok(None) };
    let program = names.iter().find(|entry| entry.name.to_ascii_lowercase().ends_with(".efi"));
    Ok(program.map(|entry| format!("{path}/{}", entry.name)))
}

/// `autoboot.txt` beside `config.txt` can send the firmware to another partition (raspberrypi.com,
/// "autoboot.txt").
///
/// # Errors
/// [`Unread::Malformed`] where it may.
pub(super) fn other_partition(facts: &Facts, dir: Dir) -> Fact<()> {
    let Some(source) = facts.source(&format!("{dir}/autoboot.txt")).or_absent()? else { return Ok(()) };
    let here = here(facts, dir)?;
    let mut tryboot = false;
    for (number, line) in source.lines() {
        let line = line.trim();
        if line.starts_with('[') {
            tryboot = line == "[tryboot]" || tryboot && line != "[all]";
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        if !name.trim().eq_ignore_ascii_case("boot_partition") {
            continue;
        }
        // What runs can be the trial; the next boot is none.
        let is_sure = here.is_some_and(|here| tryboot || value.trim().parse() == Ok(here));
        if !is_sure {
            let at = Evidence::line(source.path(), number, line);
            return Err(untold(
                &at,
                "the firmware boots another partition, or may: what is passed cannot be told",
            ));
        }
    }
    Ok(())
}

/// The number of the partition that booted, where it is the one that is mounted here.
fn here(facts: &Facts, dir: Dir) -> Fact<Option<u32>> {
    if !facts.running() {
        return Ok(None);
    }
    for path in BOOTED {
        let Some(bytes) = facts.bytes(path, 4).or_absent()? else { continue };
        let Ok(bytes) = bytes.try_into() else { return Ok(None) };
        let booted = u32::from_be_bytes(bytes);
        let mounts = facts.mountinfo()?;
        let Some(mount) = mounts.at(dir) else { return Ok(None) };
        let disk = mount.source.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = mount.source.strip_prefix(disk).and_then(|number| number.parse().ok());
        return Ok(number.filter(|number| *number == booted));
    }
    Ok(None)
}
