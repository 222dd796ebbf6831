//! What is at a path now, whole: for who is about to change it.

use super::{Facts, Source};
use crate::host::{CONFIG_LIMIT_BYTES, Fact, Kind, Unread};
use crate::plan::{Content, Hex, State};

impl Facts {
    /// What is at a path, a link at its end not followed. It is looked at once: what a change is made of
    /// must be what it is compared with when it is written.
    ///
    /// # Errors
    /// Where it cannot be read, or is neither file, link nor directory.
    pub fn existing(&self, path: &str) -> Fact<State> {
        self.memo_fact(path, || self.look_at(path)).map(|state| (*state).clone())
    }

    fn look_at(&self, path: &str) -> Fact<State> {
        let stat = match self.host.lstat(path) {
            Err(why) if why.is_absent() => return Ok(State::Absent),
            stat => stat?,
        };
        let (mode, uid, gid) = (stat.mode, stat.uid, stat.gid);
        match stat.kind {
            Kind::Dir => Ok(State::Dir { mode, uid, gid }),
            Kind::Link => {
                let target = self.link_target(path)?.unwrap_or_default();
                Ok(State::Link { target, uid, gid })
            }
            Kind::File => {
                let (_, bytes) = self.host.read(path, CONFIG_LIMIT_BYTES)?;
                self.as_judged(path, &bytes)?;
                let capability = self.capability(path)?.map(Hex);
                Ok(State::File { content: Content::new(bytes), mode, uid, gid, capability })
            }
            kind => Err(Unread::Special { path: path.to_owned(), found: kind.into() }),
        }
    }
}

impl Facts {
    /// What is about to be changed must be what the checks have judged: a range that was free then can be
    /// somebody's by now.
    fn as_judged(&self, path: &str, bytes: &[u8]) -> Fact<()> {
        let sources = self.sources.borrow();
        let Some(Ok(judged)) = sources.get(path) else { return Ok(()) };
        if Source::from_bytes(path, bytes.to_vec()).text() == judged.text() {
            return Ok(());
        }
        let expected = "it changed while it was looked at: run this again".to_owned();
        Err(Unread::Malformed { path: path.to_owned(), line: None, expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::empty_host;

    #[test]
    fn each_kind_of_file() {
        let facts = empty_host().file("/etc/subuid", "edge:1:2\n").facts();
        assert_eq!(facts.existing("/etc/subgid"), Ok(State::Absent));
        let Ok(State::File { content, .. }) = facts.existing("/etc/subuid") else { panic!() };
        assert_eq!(content, Content::Text("edge:1:2\n".to_owned()));
        assert!(matches!(facts.existing("/etc"), Ok(State::Dir { .. })));
    }
}
