//! What is at a path now, whole: for who is about to change it.

use super::Facts;
use crate::host::{CONFIG_LIMIT_BYTES, Fact, Kind, Unread};
use crate::plan::{Content, Hex, State};

impl Facts {
    /// What is at a path, a link at its end not followed.
    ///
    /// # Errors
    /// Where it cannot be read, or is neither file, link nor directory.
    pub fn existing(&self, path: &str) -> Fact<State> {
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
                let capability = self.capability(path)?.map(Hex);
                Ok(State::File { content: Content::new(bytes), mode, uid, gid, capability })
            }
            kind => Err(Unread::Special { path: path.to_owned(), found: kind.into() }),
        }
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
