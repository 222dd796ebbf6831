//! Words of the kernel command line, in the one file that the boot loader of this host has for them.

use std::collections::BTreeMap;

use super::draft::{Draft, utf8};
use super::{FixError, Wanted};
use crate::facts::boot::{BootWant, Carry, Edit, Place};
use crate::plan::{Activation, State, Writer};
use crate::settings::Setting;

/// What the copy of a file is called that lies on FAT.
const COPY: &str = ".before-edgeprep";
/// The mode of a file that is new.
const NEW_MODE: u32 = 0o644;
/// Far above what boot loaders read of such a file, and far below what a journal can hold.
const LIMIT_BYTES: usize = 256 << 10;

pub(super) fn add(draft: &mut Draft<'_>, settings: &[Setting]) -> Result<(), FixError> {
    let mut by_boot: BTreeMap<&BootWant, Vec<Edit<'_>>> = BTreeMap::new();
    let mut said: BTreeMap<&str, bool> = BTreeMap::new();
    for setting in settings {
        let Setting::KernelArgument { word, passed, boot, .. } = setting else { continue };
        let way = |passed: bool| if passed { "passed to the kernel" } else { "not passed" };
        if *said.entry(word).or_insert(*passed) != *passed {
            let (one, other) = (way(true).to_owned(), way(false).to_owned());
            return Err(FixError::Conflict { what: word.clone(), one, other });
        }
        by_boot.entry(boot).or_default().push(if *passed { Edit::Last(word) } else { Edit::Without(word) });
    }
    for (want, mut edits) in by_boot {
        edits.sort_by_key(|edit| matches!(edit, Edit::Last(_)));
        edits.dedup();
        match &*draft.facts.boot(want)? {
            Ok(boot) => match &boot.place {
                Ok(place) => write(draft, place, &edits)?,
                Err(why) => draft.step(format!("change the kernel command line by hand: {why}")),
            },
            Err(why) => draft.step(format!("change the kernel command line by hand: {why}")),
        }
    }
    Ok(())
}

fn write(draft: &mut Draft<'_>, place: &Place, edits: &[Edit<'_>]) -> Result<(), FixError> {
    let path = draft.facts.real_path(&place.path)?;
    let there = draft.facts.existing(&path)?;
    let (bytes, mode) = match &there {
        State::File { content, mode, .. } => (content.bytes().unwrap_or_default(), *mode),
        // Of the files that are edited, only one that a later step reads may be absent, or one of several.
        State::Absent if !place.carry.is_empty() || place.syntax.may_be_new() => {
            (Default::default(), NEW_MODE)
        }
        _ => {
            draft.step(format!("put a file in the place of {path}, and run this again"));
            return Ok(());
        }
    };
    if bytes.len() > LIMIT_BYTES {
        draft.step(format!("change {path} by hand: it is larger than any file of a boot loader should be"));
        return Ok(());
    }
    let old = utf8(&path, bytes)?;
    let is_new = there == State::Absent && !place.syntax.may_be_new();
    let before = if is_new { "\n" } else { old };
    let mut text = before.to_owned();
    for edit in edits {
        match place.syntax.edit(&text, *edit) {
            Ok(edited) => text = edited,
            Err(why) => draft.step(format!("change {path} by hand: {why}")),
        }
    }
    let changed = text != before;
    if changed {
        if draft.facts.is_fat(&path)? {
            keep_copy(draft, &path);
        }
        draft.put(&path, Writer::System, Wanted::File { bytes: text.into_bytes(), mode });
    }
    let run = draft.options.regenerate_boot && draft.activates();
    if !run && !place.carry.is_empty() {
        if draft.facts.running() {
            let commands = place.carry.iter().map(Carry::command).collect();
            draft.step_with(
                "carry it to the boot loader (or run this again with --regenerate-boot)",
                commands,
            );
        } else {
            let tools: Vec<String> = place.carry.iter().map(ToString::to_string).collect();
            draft.step(format!(
                "carry it to the boot loader inside the image, unless its builder does so later: {}",
                tools.join(", then ")
            ));
        }
    }
    if changed || run {
        draft.activate(Activation::NextBoot { path, carry: place.carry.clone(), run });
    }
    Ok(())
}

/// FAT has no journal: a power failure in the middle of a rename can leave neither the old file nor the new one
/// behind the name. What was there stays beside it, where anyone with a card reader finds it.
fn keep_copy(draft: &mut Draft<'_>, path: &str) {
    let copy = format!("{path}{COPY}");
    draft.put(&copy, Writer::System, Wanted::CopyOf(path.to_owned()));
    draft.step(format!(
        "{path} lies on FAT, which a power failure can damage while a file is replaced: what was there is in \
         {copy}; put it back with a card reader if this host does not boot"
    ));
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fix, host, settled, written};
    use super::super::{FixError, Options};
    use super::*;
    use crate::facts::boot::Method;
    use crate::facts::testing::TestHost;

    const FILE: &str = "/boot/firmware/cmdline.txt";

    fn pi() -> TestHost {
        host()
            .file("/proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0")
            .file("/proc/self/mountinfo", "29 1 179:2 / / rw - ext4 /dev/mmcblk0p2 rw\n")
            .file(FILE, "console=tty1 rootwait quiet\n")
    }

    fn argument(word: &str, passed: bool) -> Setting {
        let boot = BootWant { method: Some(Method::RaspberryPi), ..BootWant::default() };
        Setting::KernelArgument { word: word.to_owned(), passed, path: Some(FILE.to_owned()), boot }
    }

    #[test]
    fn one_word_is_added_and_one_taken_out() {
        let settings = [argument("cgroup_enable=memory", true), argument("quiet", false)];
        let (fixes, _) = settled(&pi(), &settings, &Options::default());
        assert_eq!(written(&fixes), [(FILE, "console=tty1 rootwait cgroup_enable=memory\n".to_owned())]);
        assert_eq!(fixes.manual, []);
    }

    /// As Raspberry Pi OS mounts it.
    #[test]
    fn on_fat_a_copy_is_kept() {
        let mount = "30 29 179:1 / /boot/firmware rw,relatime - vfat /dev/mmcblk0p1 rw,fmask=0022\n";
        let host = pi().append("/proc/self/mountinfo", mount);
        let (fixes, after) = settled(&host, &[argument("cgroup_enable=memory", true)], &Options::default());
        let copy = format!("{FILE}{COPY}");
        let new = "console=tty1 rootwait quiet cgroup_enable=memory\n";
        assert_eq!(written(&fixes), [(copy.as_str(), format!("= {FILE}")), (FILE, new.to_owned())]);
        assert_eq!(after.text(&copy), "console=tty1 rootwait quiet\n");
        assert!(fixes.manual[0].summary.contains("FAT"), "{:?}", fixes.manual);
        let image = fix(&host.image(), &[argument("cgroup_enable=memory", true)]).unwrap();
        assert_eq!(image.artifacts.len(), 1, "what builds an image can build it again");
    }

    /// Debian's raspi-firmware writes cmdline.txt from a file that is not there before somebody needs it.
    #[test]
    fn a_file_that_a_later_step_reads_is_made() {
        const EXTRA: &str = "/etc/default/raspi-extra-cmdline";
        let hook = format!("cat {EXTRA}\ncat >{FILE} <<EOF\n");
        let debian = || pi().file("/etc/kernel/postinst.d/z50-raspi-firmware", &hook);
        let settings = [argument("cgroup_enable=memory", true)];
        let (fixes, _) = settled(&debian(), &settings, &Options::default());
        assert_eq!(written(&fixes), [(EXTRA, "cgroup_enable=memory\n".to_owned())]);
        assert!(fixes.manual[0].commands[0].contains("update-initramfs"), "{:?}", fixes.manual);
        let (fixes, _) = settled(&debian().file(EXTRA, "quiet\n"), &settings, &Options::default());
        assert_eq!(written(&fixes), [(EXTRA, "quiet cgroup_enable=memory\n".to_owned())]);
        let (fixes, _) = settled(&debian(), &[argument("nosmp", false)], &Options::default());
        assert_eq!(written(&fixes), []);
    }

    #[test]
    fn what_cannot_be_edited_is_told() {
        let settings = [argument("cgroup_enable=memory", true)];
        let open = fix(&pi().file(FILE, "a=\"b c\n"), &settings).unwrap();
        assert_eq!((open.artifacts.len(), open.manual.len()), (0, 1));
        assert!(open.manual[0].summary.contains("a quote is not closed in line 1"), "{:?}", open.manual);
        let none = fix(&pi().without(FILE), &settings).unwrap();
        assert!(none.manual[0].summary.contains("no configuration of the firmware"), "{:?}", none.manual);
        let large = fix(&pi().file(FILE, format!("a{}\n", " b".repeat(LIMIT_BYTES / 2))), &settings).unwrap();
        assert_eq!((large.artifacts.len(), large.manual.len()), (0, 1));
        let bytes = fix(&pi().file(FILE, b"\xff\n"), &settings);
        assert!(matches!(bytes, Err(FixError::Unread(_))), "{bytes:?}");
        let both = [argument("quiet", true), argument("quiet", false)];
        assert!(matches!(fix(&pi(), &both), Err(FixError::Conflict { .. })));
    }
}
