//! Words of the kernel command line, in the one file that the boot loader of this host has for them.

use std::collections::BTreeMap;

use super::draft::{Draft, utf8};
use super::{FixError, Wanted};
use crate::facts::boot::{BootWant, Edit, Place};
use crate::plan::{Content, State, Writer};
use crate::settings::{Setting, quoted};

/// What the copy of a file is called that lies on FAT.
const COPY: &str = ".before-edgeprep";

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
        State::Absent if place.syntax.may_be_new() => (Default::default(), 0o644),
        _ => {
            draft.step(format!("put a file in the place of {path}, and run this again"));
            return Ok(());
        }
    };
    let old = utf8(&path, bytes)?;
    let mut text = old.to_owned();
    for edit in edits {
        match place.syntax.edit(&text, *edit) {
            Ok(edited) => text = edited,
            Err(why) => {
                draft.step(format!("change {path} by hand: {why}"));
                return Ok(());
            }
        }
    }
    if text == old {
        return Ok(());
    }
    if draft.facts.is_fat(&path)? {
        keep_copy(draft, &path, bytes, mode)?;
    }
    draft.put(&path, Writer::System, Wanted::File { bytes: text.into_bytes(), mode });
    for carry in &place.carry {
        draft.step_with(carry.summary.clone(), vec![carry.command.clone()]);
    }
    Ok(())
}

/// FAT has no journal: a power failure in the middle of a rename can leave neither the old name nor the new. What
/// is there before stays beside it, where anyone with a card reader finds it.
fn keep_copy(draft: &mut Draft<'_>, path: &str, bytes: &[u8], mode: u32) -> Result<(), FixError> {
    let copy = format!("{path}{COPY}");
    match draft.facts.existing(&copy)? {
        State::Absent => draft.put(&copy, Writer::System, Wanted::File { bytes: bytes.to_vec(), mode }),
        State::File { content, .. } if content == Content::new(bytes.to_vec()) => {}
        _ => {
            draft.put(&copy, Writer::System, Wanted::File { bytes: bytes.to_vec(), mode });
        }
    }
    draft.step_with(
        format!("FAT has no safe way to replace a file: a copy of what was there is {copy}, to be put back if this host does not boot"),
        vec![format!("sudo cp {} {}", quoted(&copy), quoted(path))],
    );
    Ok(())
}
