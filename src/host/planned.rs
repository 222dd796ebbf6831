//! A host as it will be once a plan is carried out: the paths of the plan, before all others.

use std::collections::BTreeMap;

use super::{Entry, Fact, Kind, Stat, Unread};
use crate::plan::{Change, State};

/// The paths of a plan, as they will be.
#[derive(Debug, Default)]
pub(super) struct Planned {
    states: BTreeMap<String, State>,
}

impl Planned {
    pub(super) fn new(changes: &[Change]) -> Planned {
        Planned { states: changes.iter().map(|c| (c.path.clone(), c.after.clone())).collect() }
    }

    /// The path that is meant by `path`, a planned link followed; `None` for what the plan leaves alone.
    fn follow(&self, path: &str) -> Option<(String, Fact<&State>)> {
        let mut path = path.to_owned();
        let mut planned = None;
        for _ in 0..40 {
            match self.states.get(&path) {
                Some(State::Link { target, .. }) => {
                    let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
                    path = if target.starts_with('/') { target.clone() } else { format!("{dir}/{target}") };
                    planned = Some(());
                }
                Some(State::Absent) => return Some((path.clone(), Err(Unread::Absent { path }))),
                Some(state) => return Some((path, Ok(state))),
                None => return planned.map(|()| (path.clone(), Err(Unread::NotCaptured { path }))),
            }
        }
        None
    }

    /// Where `path` leads through planned links to something that the plan leaves alone, that path.
    pub(super) fn redirect(&self, path: &str) -> Option<String> {
        match self.follow(path)? {
            (path, Err(Unread::NotCaptured { .. })) => Some(path),
            _ => None,
        }
    }

    pub(super) fn read(&self, path: &str) -> Option<Fact<(Stat, Vec<u8>)>> {
        let (path, state) = self.follow(path)?;
        Some(state.and_then(|state| match state {
            // Where only mode or capability change, the bytes are those that are there.
            State::File { content, .. } => match content.bytes() {
                Some(bytes) => Ok((stat(state), bytes.to_vec())),
                None => Err(Unread::NotCaptured { path }),
            },
            _ => Err(Unread::Special { path, found: stat(state).kind.into() }),
        }))
        .filter(|got| !matches!(got, Err(Unread::NotCaptured { .. })))
    }

    pub(super) fn stat(&self, path: &str) -> Option<Fact<Stat>> {
        let (_, state) = self.follow(path)?;
        let got = state.map(stat);
        (!matches!(got, Err(Unread::NotCaptured { .. }))).then_some(got)
    }

    pub(super) fn lstat(&self, path: &str) -> Option<Fact<Stat>> {
        self.states.get(path).map(|state| match state {
            State::Absent => Err(Unread::Absent { path: path.to_owned() }),
            state => Ok(stat(state)),
        })
    }

    pub(super) fn link_target(&self, path: &str) -> Option<Fact<Option<String>>> {
        self.states.get(path).map(|state| match state {
            State::Absent => Err(Unread::Absent { path: path.to_owned() }),
            State::Link { target, .. } => Ok(Some(target.clone())),
            _ => Ok(None),
        })
    }

    pub(super) fn capability(&self, path: &str) -> Option<Fact<Option<Vec<u8>>>> {
        match self.states.get(path)? {
            State::File { capability, .. } => Some(Ok(capability.clone().map(|hex| hex.0))),
            _ => None,
        }
    }

    /// `found` with the names that the plan adds to the directory and takes from it.
    pub(super) fn list(&self, dir: &str, found: Fact<Vec<Entry>>) -> Fact<Vec<Entry>> {
        let prefix = format!("{}/", dir.trim_end_matches('/'));
        let mut children = self.states.iter().filter_map(|(path, state)| {
            let name = path.strip_prefix(&prefix).filter(|name| !name.contains('/'))?;
            Some((name, state))
        });
        let planned_dir = matches!(self.states.get(dir), Some(State::Dir { .. }));
        let mut entries = match found {
            Err(why) if why.is_absent() && planned_dir => Vec::new(),
            found => found?,
        };
        for (name, state) in &mut children {
            entries.retain(|entry| entry.name != name);
            if *state != State::Absent {
                let is_dir = matches!(state, State::Dir { .. });
                entries.push(Entry { name: name.to_owned(), is_dir });
            }
        }
        entries.sort();
        Ok(entries)
    }
}

fn stat(state: &State) -> Stat {
    let (kind, mode, uid, gid, size_bytes) = match state {
        State::File { content, mode, uid, gid, .. } => {
            (Kind::File, *mode, *uid, *gid, content.bytes().map_or(0, |bytes| bytes.len() as u64))
        }
        State::Dir { mode, uid, gid } => (Kind::Dir, *mode, *uid, *gid, 0),
        State::Link { target, uid, gid } => (Kind::Link, 0o777, *uid, *gid, target.len() as u64),
        State::Absent => (Kind::File, 0, 0, 0, 0),
    };
    Stat { kind, mode, uid, gid, size_bytes }
}
