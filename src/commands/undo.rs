//! `edgeprep undo`.

use super::place::Place;
use super::{confirm, writing};
use crate::apply::journal::{Journal, JournalError, Status};
use crate::cli::{Format, UndoArgs};
use crate::exit_code;
use crate::render::print;
use crate::render::undo::{self, UndoReport};

pub(super) fn run(args: &UndoArgs) -> anyhow::Result<u8> {
    let place = Place::of(&args.place)?;
    writing(&place, false, |work| {
        if args.id.is_none() && !work.notes.is_empty() {
            // What was interrupted is put right; whether more shall be undone is another question.
            print(&undo::recovered(&work.notes, args.format)?)?;
            return Ok(exit_code::DONE);
        }
        let journal = choose(&work.journals, args.id, &place)?;
        if args.format == Format::Human {
            print(&undo::plan(&journal))?;
        }
        if !confirm(args.yes, "Undo this?")? {
            super::say("Nothing was changed.");
            return Ok(exit_code::DONE);
        }
        let back = match work.transaction(true).undo(journal.clone()) {
            Ok(back) => back,
            Err(error) => {
                super::say(&format!("the journal cannot be written, so nothing was undone: {error}"));
                return Ok(exit_code::PUT_BACK);
            }
        };
        work.waited();
        let report = UndoReport::of(&journal, &back, &work.notes);
        match args.format {
            Format::Json => print(&report.to_json()?)?,
            Format::Human => print(&undo::outcome(&report))?,
        }
        Ok(if !report.failed.is_empty() {
            exit_code::STUCK
        } else if !back.changed_by_others.is_empty() {
            exit_code::UNMET
        } else {
            exit_code::DONE
        })
    })
}

/// The fix that was named, or the last one that stands.
fn choose(journals: &[Journal], id: Option<u32>, place: &Place) -> Result<Journal, JournalError> {
    let stands = |journal: &&Journal| journal.status == Status::Done;
    let found = match id {
        Some(id) => journals.iter().find(|journal| journal.id == id).ok_or(JournalError::NoSuchFix { id })?,
        None => {
            let dir = place.state_dir.clone();
            journals.iter().rev().find(stands).ok_or(JournalError::NothingToUndo { dir })?
        }
    };
    if !stands(&found) {
        return Err(JournalError::DoesNotStand { id: found.id, status: found.status.as_str() });
    }
    if place.is_elsewhere(found) {
        return Err(JournalError::ElsewhereRunning { id: found.id });
    }
    let touches = |later: &&Journal| {
        stands(later) && later.id > found.id && later.changes.iter().any(|one| found.changes_path(&one.path))
    };
    match journals.iter().rev().find(touches) {
        Some(later) => Err(JournalError::Later { id: found.id, later: later.id }),
        None => Ok(found.clone()),
    }
}
