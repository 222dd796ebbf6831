//! What surrounds every write: one edgeprep at a time, and what an earlier one left is put right first.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use console::Term;
use indicatif::ProgressBar;

use super::place::Place;
use crate::apply::journal::{Journal, Store};
use crate::apply::transaction::Transaction;
use crate::apply::writers::Writers;
use crate::exit_code;

/// What a fix or an undo works with.
pub(super) struct Work<'a> {
    /// The fixes that are recorded, oldest first.
    pub(super) journals: Vec<Journal>,
    /// The number of the next.
    pub(super) next_id: u32,
    /// What was put right before it began.
    pub(super) notes: Vec<String>,
    writers: Writers,
    live: bool,
    store: Option<Store<'a>>,
    spinner: Spinner,
    progress: Box<dyn Fn(&str)>,
}

/// Turns on a terminal while something is waited for.
type Spinner = Rc<RefCell<Option<ProgressBar>>>;

fn spins(spinner: &Spinner) -> Box<dyn Fn(&str)> {
    let spinner = Rc::clone(spinner);
    let shown = Term::stderr().is_term();
    Box::new(move |what| {
        if shown {
            let mut spinner = spinner.borrow_mut();
            let bar = spinner.get_or_insert_with(ProgressBar::new_spinner);
            bar.set_message(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
        }
    })
}

impl Work<'_> {
    /// Nothing is waited for any more.
    pub(super) fn waited(&self) {
        if let Some(bar) = self.spinner.take() {
            bar.finish_and_clear();
        }
    }

    /// What carries out a plan, with a record of it or without.
    pub(super) fn transaction(&mut self, recorded: bool) -> Transaction<'_> {
        Transaction {
            writers: &mut self.writers,
            live: self.live,
            store: self.store.as_ref().filter(|_| recorded),
            progress: &self.progress,
        }
    }
}

/// Runs `then` as the only one that writes to this host.
pub(super) fn writing(
    place: &Place,
    no_journal: bool,
    then: impl FnOnce(&mut Work) -> anyhow::Result<u8>,
) -> anyhow::Result<u8> {
    let state_target = place.state_target()?;
    let store = if no_journal { None } else { Some(place.store(&state_target)?) };
    let _host = place.lock()?;
    let _journals = match &store {
        Some(store) => Some(store.lock().context("another edgeprep is at work on this host")?),
        None => None,
    };
    let journals = if no_journal { Vec::new() } else { place.journals()? };
    let spinner = Spinner::default();
    let mut work = Work {
        next_id: journals.last().map_or(1, |last| last.id + 1),
        journals,
        notes: Vec::new(),
        writers: Writers::new(place.target()?),
        live: !place.is_image(),
        store,
        progress: spins(&spinner),
        spinner,
    };
    let mut journals = std::mem::take(&mut work.journals);
    match work.transaction(true).recover(&mut journals) {
        Ok(notes) => work.notes.extend(notes),
        Err(left) => {
            work.waited();
            super::say(&format!("what an interrupted fix left cannot be put back: {}", left.join("; ")));
            return Ok(exit_code::STUCK);
        }
    }
    work.waited();
    work.journals = journals;
    let code = then(&mut work);
    if let Some(store) = work.store.take() {
        store.discard_if_empty();
    }
    code
}
