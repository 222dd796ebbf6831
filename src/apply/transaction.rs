//! Carries out a plan as a whole or not at all, and takes back what was carried out.
//!
//! The journal is durable before anything is touched, and each write compares what is there with what the
//! plan saw. A process that is killed in between leaves an open journal, which the next one takes back.

use super::WriteError;
use super::activation::{Done, activate, revert};
use super::journal::{Journal, Status, Store};
use super::live::Live;
use super::target::halfway;
use super::writers::Writers;
use crate::plan::{Activation, Change, State};

/// What carries a plan out, and who is told of progress.
pub struct Transaction<'a> {
    /// Writes files.
    pub writers: &'a mut Writers,
    /// Whether what runs is told. In an image a journal is as little to be trusted as any other file, and
    /// must not reach the machine that edgeprep runs on.
    pub live: bool,
    /// Keeps the journal, unless none is wanted.
    pub store: Option<&'a Store<'a>>,
    /// Is told what is waited for.
    pub progress: &'a dyn Fn(&str),
}

/// What came of a plan.
#[derive(Debug)]
pub enum Applied {
    /// It was carried out; these activations had no effect yet.
    Done {
        /// Why, for each.
        notes: Vec<String>,
    },
    /// It failed, and everything is as it was.
    PutBack {
        /// Why.
        error: String,
    },
    /// It failed, and these paths or activations could not be put back.
    Stuck {
        /// Why it failed.
        error: String,
        /// What is left, each with the reason.
        left: Vec<String>,
    },
}

/// What came of taking a fix back.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TakenBack {
    /// Paths that others have changed since, which stay as they are.
    pub changed_by_others: Vec<String>,
    /// Paths that could not be put back, each with the reason.
    pub failed: Vec<(String, String)>,
    /// What could not be told to what runs, each with the reason.
    pub still_active: Vec<String>,
    /// What is no longer configured and still in effect.
    pub notes: Vec<String>,
}

/// How far a plan came.
struct Failure {
    /// How many changes were made before what failed.
    changed: usize,
    /// How many activations were carried out before what failed.
    activated: usize,
    /// Why it failed.
    error: String,
}

impl Transaction<'_> {
    /// Carries out what `journal` says.
    pub fn apply(&mut self, mut journal: Journal) -> Applied {
        if let Err(error) = self.record(&journal) {
            return Applied::PutBack { error: format!("the journal cannot be written: {error}") };
        }
        match self.carry_out(&mut journal) {
            Ok(notes) => {
                journal.status = Status::Done;
                match self.record(&journal) {
                    Ok(()) => Applied::Done { notes },
                    Err(error) => {
                        let (changed, activated) = (journal.changes.len(), journal.activations.len());
                        let error = format!("the journal cannot be closed: {error}");
                        self.fail(journal, Failure { changed, activated, error })
                    }
                }
            }
            Err(failure) => self.fail(journal, failure),
        }
    }

    /// Puts everything back.
    fn fail(&mut self, mut journal: Journal, failure: Failure) -> Applied {
        let Failure { changed, activated, error } = failure;
        // What failed may have had its effect all the same.
        let touched = journal.changes.len().min(changed + 1);
        let done = Journal {
            changes: journal.changes[..touched].to_vec(),
            activations: journal.activations[..activated].to_vec(),
            begun: None,
            ..journal.clone()
        };
        let back = self.take_back(&done);
        if let Some(uncertain) =
            journal.activations.get(activated).filter(|_| changed == journal.changes.len())
        {
            self.revert(&[uncertain], &mut TakenBack::default());
        }
        let mut left: Vec<String> = back.failed.into_iter().map(|(_, why)| why).collect();
        left.extend(back.still_active);
        // A path that others changed before we came to it is theirs.
        let never_ours = journal.changes.get(changed).map(|change| change.path.clone());
        let lost = back.changed_by_others.iter().filter(|path| Some(*path) != never_ours.as_ref());
        left.extend(lost.map(|path| format!("{path}: changed by others meanwhile")));
        if left.is_empty() {
            journal.status = Status::RolledBack;
            match self.record(&journal) {
                Ok(()) => return Applied::PutBack { error },
                // Taking it back once more changes nothing.
                Err(why) => left.push(format!("the journal still says that the fix is under way: {why}")),
            }
        }
        Applied::Stuck { error, left }
    }

    /// Carries out a journal.
    fn carry_out(&mut self, journal: &mut Journal) -> Result<Vec<String>, Failure> {
        let held = self.writers.hold(journal.changes.iter().map(|change| change.path.as_str()));
        held.map_err(|error| Failure { changed: 0, activated: 0, error: error.to_string() })?;
        for (changed, change) in journal.changes.iter().enumerate() {
            self.put(change, &change.before, &change.after).map_err(|error| Failure {
                changed,
                activated: 0,
                error: error.to_string(),
            })?;
        }
        let changed = journal.changes.len();
        let released = self.writers.release();
        released.map_err(|error| Failure { changed, activated: 0, error: error.to_string() })?;
        let mut notes = Vec::new();
        for (activated, activation) in journal.activations.clone().iter().enumerate() {
            if !self.live {
                continue;
            }
            // Should this be the last thing that we do, it is known how far we came.
            journal.begun = Some(activated + 1);
            self.record(journal).map_err(|error| Failure { changed, activated, error: error.to_string() })?;
            (self.progress)(&activation.describe());
            let mut live = Live::new(|user, call| self.writers.call(user, call));
            match activate(activation, &mut live) {
                Ok(Done::Yes) => {}
                Ok(Done::Not { why }) => notes.push(why),
                Err(error) => return Err(Failure { changed, activated, error: error.to_string() }),
            }
        }
        Ok(notes)
    }

    /// Takes back what `journal` says, as far as others have not changed it. What was not carried out, or is
    /// taken back already, is left alone, so that this can be repeated.
    pub fn take_back(&mut self, journal: &Journal) -> TakenBack {
        let mut back = TakenBack::default();
        // Before the files of a unit go, the unit stops.
        let begun = journal.begun.unwrap_or(usize::MAX);
        let (first, last): (Vec<&Activation>, Vec<&Activation>) =
            journal.activations.iter().take(begun).partition(|a| matches!(a, Activation::UserStart { .. }));
        self.revert(&first, &mut back);
        if let Err(error) = self.writers.hold(journal.changes.iter().map(|change| change.path.as_str())) {
            back.failed.push((String::new(), error.to_string()));
            return back;
        }
        for change in journal.changes.iter().rev() {
            match self.put_back(change) {
                Ok(true) => {}
                Ok(false) => back.changed_by_others.push(change.path.clone()),
                Err(error) => back.failed.push((change.path.clone(), error.to_string())),
            }
        }
        if let Err(error) = self.writers.release() {
            back.failed.push((String::new(), error.to_string()));
        }
        self.revert(&last, &mut back);
        back
    }

    fn revert(&mut self, activations: &[&Activation], back: &mut TakenBack) {
        for activation in activations {
            if !self.live {
                continue;
            }
            (self.progress)(&format!("taking back: {}", activation.describe()));
            let mut live = Live::new(|user, call| self.writers.call(user, call));
            match revert(activation, &mut live) {
                Ok(Done::Yes) => {}
                Ok(Done::Not { why }) => back.notes.push(why),
                Err(error) => back.still_active.push(error.to_string()),
            }
        }
    }

    /// Puts a path back; `false` where something else is there than was written.
    fn put_back(&mut self, change: &Change) -> Result<bool, WriteError> {
        self.writers.sweep(&change.by, &change.path)?;
        let now = match self.writers.observe(&change.by, &change.path) {
            // Whatever that is, it is not ours.
            Err(WriteError::Special { .. } | WriteError::TooLarge { .. }) => return Ok(false),
            now => now?,
        };
        if now.is(&change.before) {
            return Ok(true);
        }
        if !now.is(&change.after) && !halfway(&change.before, &change.after, &now) {
            return Ok(false);
        }
        match self.put(change, &now, &change.before) {
            // Others have put something into a directory of ours, so that it is theirs now.
            Ok(()) | Err(WriteError::NotEmpty { .. }) => Ok(true),
            Err(WriteError::Stale { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn put(&mut self, change: &Change, from: &State, to: &State) -> Result<(), WriteError> {
        self.writers.put(&change.by, &change.path, from, to)
    }

    /// Undoes a fix.
    ///
    /// # Errors
    /// When the journal cannot be written; nothing was changed then.
    pub fn undo(&mut self, mut journal: Journal) -> Result<TakenBack, WriteError> {
        journal.status = Status::Undoing;
        self.record(&journal)?;
        let mut back = self.take_back(&journal);
        if back.failed.is_empty() && back.still_active.is_empty() {
            // What was left can be undone once who changed it has put it right.
            journal.status = if back.changed_by_others.is_empty() { Status::Undone } else { Status::Done };
            journal.left.clone_from(&back.changed_by_others);
            if let Err(error) = self.record(&journal) {
                back.still_active.push(format!("the journal cannot be closed: {error}"));
            }
        }
        Ok(back)
    }

    /// Takes back, or finishes taking back, what a process that was killed has left; what was done, in words.
    ///
    /// # Errors
    /// What could not be put back, each with the reason.
    pub fn recover(&mut self, journals: &mut [Journal]) -> Result<Vec<String>, Vec<String>> {
        let mut notes = Vec::new();
        for journal in journals.iter_mut().rev() {
            let then = match journal.status {
                Status::Open => Status::RolledBack,
                Status::Undoing => Status::Undone,
                Status::Done | Status::RolledBack | Status::Undone => continue,
            };
            let back = self.take_back(journal);
            if !back.failed.is_empty() {
                return Err(back.failed.into_iter().map(|(_, why)| why).collect());
            }
            notes.push(format!("fix {} had been interrupted, and was taken back first", journal.id));
            notes.extend(back.still_active);
            notes.extend(
                back.changed_by_others
                    .iter()
                    .map(|path| format!("{path} was changed by others, and is left")),
            );
            journal.left = back.changed_by_others;
            journal.status = then;
            self.record(journal).map_err(|error| vec![error.to_string()])?;
        }
        Ok(notes)
    }

    fn record(&self, journal: &Journal) -> Result<(), WriteError> {
        self.store.map_or(Ok(()), |store| store.write(journal))
    }
}
