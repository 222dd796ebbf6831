//! What a fix, its undoing and its history have in common: which host, and where its journals are.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::apply::journal::{self, Journal, JournalError, SYSTEM_DIR, Store};
use crate::apply::target::Target;
use crate::cli::StateArgs;
use crate::facts::Facts;
use crate::host::{Host, Unread};
use crate::inspection::looks_like_chroot;
use crate::plan::Change;

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
                (Some(state), _) if state.starts_with('/') => format!("{state}/edgeprep"),
                (_, Some(home)) => format!("{home}/.local/state/edgeprep"),
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

fn absolute(dir: &Path) -> anyhow::Result<String> {
    let dir = std::path::absolute(dir).context("--state")?;
    dir.to_str().map(|dir| dir.trim_end_matches('/').to_owned()).context("--state: expected UTF-8")
}
