//! `edgeprep history`.

use super::place::Place;
use crate::cli::{Format, HistoryArgs};
use crate::exit_code;
use crate::render::{print, undo};

pub(super) fn run(args: &HistoryArgs) -> anyhow::Result<u8> {
    let place = Place::of(&args.place)?;
    let journals = place.journals()?;
    print(&match args.format {
        Format::Human => undo::history(&journals, &place.state_dir),
        Format::Json => undo::history_json(&journals)?,
    })?;
    Ok(exit_code::DONE)
}
