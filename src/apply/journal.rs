//! The durable record of one fix: enough to undo it byte for byte, whenever and by whatever later version.

use serde::{Deserialize, Serialize};

use super::WriteError;
use super::target::{Lock, Target};
use crate::host::{DATABASE_LIMIT_BYTES, Host, Kind, OrAbsent, Unread};
use crate::plan::{Activation, Change, Content, Plan, State};
use crate::requirements::Stack;

/// Where the journals of a system are.
pub const SYSTEM_DIR: &str = "/var/lib/edgeprep";
const SCHEMA: &str = "edgeprep.journal/1";
/// How often the making of a directory is tried that others may be making, too.
const MAKING_TRIES: u32 = 8;
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// How far a fix has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It was begun: whoever finds this takes it back.
    Open,
    /// It is done.
    Done,
    /// It failed, and everything was put back.
    RolledBack,
    /// Its undoing was begun: whoever finds this finishes it.
    Undoing,
    /// It was undone.
    Undone,
}

impl Status {
    /// The word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Open => "interrupted",
            Status::Done => "done",
            Status::RolledBack => "rolled back",
            Status::Undoing => "undoing was interrupted",
            Status::Undone => "undone",
        }
    }
}

/// The record of one fix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// The format, `edgeprep.journal/1`.
    pub schema: String,
    /// Its number, from 1.
    pub id: u32,
    /// The version of edgeprep that wrote it.
    pub version: String,
    /// When, in seconds since 1970; not in an image, which is the same from run to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
    /// How far it has come.
    pub status: Status,
    /// For which users it was made.
    pub users: Vec<String>,
    /// For which stacks it was made.
    pub stacks: Vec<Stack>,
    /// What it changes, in the order in which it does.
    pub changes: Vec<Change>,
    /// What it activates after that.
    pub activations: Vec<Activation>,
    /// How many of the activations were begun; in a journal that does not say, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<usize>,
    /// What undoing it left, because others had changed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

impl Journal {
    /// The record of a fix that is about to begin, made at `time` in seconds since 1970.
    pub fn of(plan: &Plan, id: u32, time: Option<u64>) -> Journal {
        let mut stacks: Vec<_> = plan.before.stacks.iter().map(|stack| stack.name).collect();
        stacks.dedup();
        Journal {
            schema: SCHEMA.to_owned(),
            id,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time,
            status: Status::Open,
            users: plan.before.users.iter().map(|user| user.name.clone()).collect(),
            stacks,
            changes: plan.changes.clone(),
            activations: plan.activations.clone(),
            begun: Some(0),
            left: Vec::new(),
        }
    }

    /// Whether it changes this path.
    pub fn changes_path(&self, path: &str) -> bool {
        self.changes.iter().any(|change| change.path == path)
    }

    fn parse(path: &str, bytes: &[u8]) -> Result<Journal, JournalError> {
        #[derive(Deserialize)]
        struct Header {
            schema: String,
        }
        let malformed = |error: &serde_json::Error| {
            let line = u32::try_from(error.line()).ok();
            JournalError::Unread(Unread::Malformed {
                path: path.to_owned(),
                line,
                expected: error.to_string(),
            })
        };
        let header: Header = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
        if header.schema != SCHEMA {
            return Err(JournalError::Newer { path: path.to_owned(), schema: header.schema });
        }
        serde_json::from_slice(bytes).map_err(|error| malformed(&error))
    }
}

/// Why the journals cannot be used: nothing is changed then.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// They cannot be read.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// They cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A later version wrote one.
    #[error("{path} is of format {schema:?}, which this edgeprep does not know: use the one that wrote it")]
    Newer {
        /// The file.
        path: String,
        /// What it says.
        schema: String,
    },
    /// Others could have written them.
    #[error(
        "{path} can be written by others, or belongs to someone else: journals are not taken from there; \
         keep them elsewhere with --state, or none with --no-journal"
    )]
    NotOurs {
        /// The directory.
        path: String,
    },
    /// There is none of this number.
    #[error("there is no fix {id}: edgeprep history shows them")]
    NoSuchFix {
        /// The number.
        id: u32,
    },
    /// It was undone or put back already.
    #[error("fix {id} is {status}: there is nothing to undo")]
    DoesNotStand {
        /// The number.
        id: u32,
        /// How far it has come.
        status: &'static str,
    },
    /// A later one stands on it.
    #[error("fix {later} came after fix {id} and changed some of the same: undo fix {later} first")]
    Later {
        /// The number.
        id: u32,
        /// That of the later one.
        later: u32,
    },
    /// It was made where something runs.
    #[error("fix {id} was made on the running system, and has to be undone there")]
    ElsewhereRunning {
        /// The number.
        id: u32,
    },
    /// There is none that could be undone.
    #[error("nothing to undo: no fix is recorded in {dir}")]
    NothingToUndo {
        /// Where they would be.
        dir: String,
    },
}

/// The journals in a directory, oldest first; none where there is no directory.
///
/// # Errors
/// When they cannot be read, one is malformed, or others could have written them.
pub fn journals(host: &Host, dir: &str) -> Result<Vec<Journal>, JournalError> {
    let Some(stat) = host.lstat(dir).or_absent()? else { return Ok(Vec::new()) };
    // A journal says what root shall write, so root takes none from an image that belongs to somebody else.
    let trusted = host.owners_are_kept() || host.caller().uid != 0;
    let ours = trusted && (stat.uid == host.caller().uid || stat.uid == 0);
    if stat.kind != Kind::Dir || stat.mode & 0o022 != 0 || !ours {
        return Err(JournalError::NotOurs { path: dir.to_owned() });
    }
    let mut journals = Vec::new();
    for entry in host.list(dir)? {
        let stem = entry.name.strip_suffix(".json").filter(|stem| stem.bytes().all(|b| b.is_ascii_digit()));
        let Some(id) = stem.and_then(|stem| stem.parse::<u32>().ok()) else { continue };
        let path = format!("{dir}/{}", entry.name);
        let (_, bytes) = host.read(&path, DATABASE_LIMIT_BYTES)?;
        let journal = Journal::parse(&path, &bytes)?;
        // It would be written under another name than it was read.
        if journal.id != id || file_name(id) != entry.name || id == u32::MAX {
            let expected = format!("expected a journal of the number in its name, found {}", journal.id);
            return Err(Unread::Malformed { path, line: None, expected }.into());
        }
        journals.push(journal);
    }
    journals.sort_by_key(|journal| journal.id);
    Ok(journals)
}

fn file_name(id: u32) -> String {
    format!("{id:04}.json")
}

/// Root keeps no journal where a user could put something else in its place.
fn refuse_foreign(path: &str, there: &State, caller: u32, image: bool) -> Result<(), WriteError> {
    let (uid, shared) = match there {
        State::Dir { mode, uid, .. } => (*uid, mode & 0o022 != 0 && mode & 0o1000 == 0),
        State::Link { uid, .. } => (*uid, false),
        State::File { uid, .. } => (*uid, true),
        State::Absent => return Ok(()),
    };
    if caller == 0 && !image && (uid != 0 || shared) {
        return Err(WriteError::refused(path, "others than root could replace what is kept there"));
    }
    Ok(())
}

/// Where journals are written.
pub struct Store<'a> {
    target: &'a Target,
    dir: String,
    owner: (u32, u32),
    /// The directories that were made for it.
    made: Vec<String>,
}

impl<'a> Store<'a> {
    /// The store in `dir`, which is made where it is not there, for files of `owner`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(target: &'a Target, dir: &str, owner: (u32, u32)) -> Result<Store<'a>, WriteError> {
        let mut made = Vec::new();
        let mut tries = MAKING_TRIES;
        let mut at = 0;
        while let Some(slash) = dir[at + 1..].find('/').map(|found| at + 1 + found).or(Some(dir.len())) {
            let parent = &dir[..slash];
            let mode = if slash == dir.len() { DIR_MODE } else { 0o755 };
            let there = target.observe(parent)?;
            refuse_foreign(parent, &there, owner.0, target.is_image())?;
            if there == State::Absent {
                let (uid, gid) = owner;
                match target.put(parent, &State::Absent, &State::Dir { mode, uid, gid }) {
                    Ok(()) => made.push(parent.to_owned()),
                    // Another one makes it at the same time; the lock will sort that out.
                    Err(_) if tries > 0 => {
                        tries -= 1;
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            if slash == dir.len() {
                break;
            }
            at = slash;
        }
        Ok(Store { target, dir: dir.to_owned(), owner, made })
    }

    /// Writes a journal durably, in place of what was known of that fix.
    ///
    /// # Errors
    /// Those of the system; the old one stands then.
    pub fn write(&self, journal: &Journal) -> Result<(), WriteError> {
        let path = format!("{}/{}", self.dir, file_name(journal.id));
        let mut text = serde_json::to_vec_pretty(journal).unwrap_or_default();
        text.push(b'\n');
        let (uid, gid) = self.owner;
        let content = Content::new(text);
        let after = State::File { content, mode: FILE_MODE, uid, gid, capability: None };
        let before = self.target.observe(&path)?;
        self.target.put(&path, &before, &after)
    }

    /// Keeps every other fix and undo out, for as long as what this returns lives.
    ///
    /// # Errors
    /// When another one is at work, for as long as we wait.
    pub fn lock(&self) -> Result<Lock, WriteError> {
        loop {
            let lock = self.target.lock(&self.dir)?;
            if !lock.is_void() {
                return Ok(lock);
            }
            // Who had it removed the directory, because nothing was recorded in it.
            drop(lock);
            Store::open(self.target, &self.dir, self.owner)?;
        }
    }

    /// Removes the directories again that were made for it, where nothing was recorded.
    pub fn discard_if_empty(self) {
        for dir in self.made.iter().rev() {
            match self.target.observe(dir) {
                // They are not empty once anything was recorded.
                Ok(before @ State::Dir { .. }) if self.target.put(dir, &before, &State::Absent).is_ok() => {}
                _ => return,
            }
        }
    }
}
