//! What a fix, its undoing and its history have in common: which host, and where its journals are.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::apply::journal::{self, Journal, JournalError, SYSTEM_DIR, Store};
use crate::apply::target::{Lock, Target};
use crate::cli::StateArgs;
use crate::facts::Facts;
use crate::host::{Host, Unread};
use crate::inspection::looks_like_chroot;
use crate::plan::{Change, State};

/// Only root can open it, so that nobody else can keep edgeprep waiting.
const HOST_LOCK: &str = "/run/edgeprep.lock";

/// A host that is written to.
pub(super) struct Place {
    root: Option<PathBuf>,
    /// Where the journals are, on the host or, if they were asked for there, on the machine that edgeprep
    /// runs on.
    pub(super) state_dir: String,
    state_is_here: bool,
    /// Who runs edgeprep.
    pub(super) uid: u32,
    gid: u32,
    mtime: Option<i64>,
}

impl Place {
    pub(super) fn of(args: &StateArgs) -> anyhow::Result<Place> {
        let facts = Facts::new(Host::live());
        // In a chroot nothing that runs is the system that is written to.
        let root = match &args.root {
            None if looks_like_chroot(&facts) => Some(PathBuf::from("/")),
            root => root.clone(),
        };
        let caller = facts.caller();
        let variable = |name: &str| caller.environment.get(name).filter(|value| !value.is_empty());
        let state_dir = match (&args.state, &root) {
            (Some(dir), _) => absolute(dir)?,
            (None, None) if caller.uid != 0 => match (variable("XDG_STATE_HOME"), variable("HOME")) {
                (Some(state), _) if state.starts_with('/') => {
                    format!("{}/edgeprep", state.trim_end_matches('/'))
                }
                (_, Some(home)) if home.starts_with('/') => {
                    format!("{}/.local/state/edgeprep", home.trim_end_matches('/'))
                }
                _ => bail!("HOME is not set, so there is no place for the journal: name one with --state"),
            },
            _ => SYSTEM_DIR.to_owned(),
        };
        let mtime = match variable("SOURCE_DATE_EPOCH").filter(|_| root.is_some()) {
            Some(seconds) => Some(seconds.parse().context("SOURCE_DATE_EPOCH: expected seconds since 1970")?),
            None => None,
        };
        let state_is_here = args.state.is_some();
        Ok(Place { root, state_dir, state_is_here, uid: caller.uid, gid: caller.gid, mtime })
    }

    pub(super) fn is_image(&self) -> bool {
        self.root.is_some()
    }

    /// Whether a journal was made on the running system of this root, which is not told anything from here.
    pub(super) fn is_elsewhere(&self, journal: &Journal) -> bool {
        self.root.as_deref() == Some(Path::new("/")) && journal.time.is_some()
    }

    /// Keeps every other edgeprep away from this host, wherever it keeps its journals. A user who is not root
    /// writes only at home, where each write is kept apart from others.
    pub(super) fn lock(&self) -> anyhow::Result<Option<Lock>> {
        let lock = match &self.root {
            Some(_) => {
                let target = self.target()?;
                // The root itself is locked by who builds it: mmdebstrap, so that nobody cleans it up
                // (tmpfiles.d(5), "Age").
                let has_etc = matches!(target.observe("/etc")?, State::Dir { .. });
                target.lock(if has_etc { "/etc" } else { "/" })
            }
            None if self.uid == 0 => self.target()?.lock_file(HOST_LOCK),
            None => return Ok(None),
        };
        lock.map(Some).context("another edgeprep is at work on this host")
    }

    /// The host as it is once these changes are made.
    pub(super) fn facts(&self, changes: &[Change]) -> Result<Facts, Unread> {
        Ok(Facts::new(self.host()?.planned(changes)))
    }

    fn host(&self) -> Result<Host, Unread> {
        self.root.as_deref().map_or_else(|| Ok(Host::live()), Host::image)
    }

    pub(super) fn target(&self) -> anyhow::Result<Target> {
        Ok(match &self.root {
            Some(root) => Target::image(root).context("--root")?.with_mtime(self.mtime),
            None => Target::live(),
        })
    }

    /// What writes the journals.
    pub(super) fn state_target(&self) -> anyhow::Result<Target> {
        if self.state_is_here { Ok(Target::live()) } else { self.target() }
    }

    pub(super) fn store<'a>(&self, target: &'a Target) -> anyhow::Result<Store<'a>> {
        let store = Store::open(target, &self.state_dir, (self.uid, self.gid));
        store.with_context(|| format!("the journal in {}", self.state_dir))
    }

    pub(super) fn journals(&self) -> Result<Vec<Journal>, JournalError> {
        let host = if self.state_is_here { Host::live() } else { self.host()? };
        journal::journals(&host, &self.state_dir)
    }
}

/// The directory by a path without links and `..`, as far as it is there.
#[expect(clippy::disallowed_methods, reason = "it is a directory of the machine that edgeprep runs on")]
fn absolute(dir: &Path) -> anyhow::Result<String> {
    let dir = std::path::absolute(dir).context("--state")?;
    let (mut there, mut missing) = (dir.as_path(), Vec::new());
    let real = loop {
        match std::fs::canonicalize(there) {
            Ok(real) => break real,
            Err(_) => {
                let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else {
                    bail!("--state: {} is no directory that can be made", dir.display());
                };
                missing.push(name.to_owned());
                there = parent;
            }
        }
    };
    let real: PathBuf = std::iter::once(real.into_os_string()).chain(missing.into_iter().rev()).collect();
    match real.to_str().map(|real| real.trim_end_matches('/')) {
        Some("") => bail!("--state: expected a directory for journals, not the root"),
        Some(real) => Ok(real.to_owned()),
        None => bail!("--state: expected UTF-8"),
    }
}
