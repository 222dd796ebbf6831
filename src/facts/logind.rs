//! `logind.conf` and its drop-ins (`logind.conf(5)`), by key. What a key is worth when nothing sets it
//! was decided when systemd was built, so it is not known here: Debian, for one, builds with
//! `KillUserProcesses=no`, upstream's default is `yes`.

use std::rc::Rc;

use super::unit_syntax::{Assignment, assignments, boolean, words};
use super::{Facts, Sourced};
use crate::host::{Fact, OrAbsent};

/// All assignments of the `[Login]` section, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogindConf(Vec<Assignment>);

impl LogindConf {
    /// The values of a key, in order.
    pub fn values<'a>(&'a self, key: &'a str) -> impl DoubleEndedIterator<Item = &'a Sourced<String>> + 'a {
        self.0.iter().filter(move |a| a.section == "Login" && a.key == key).map(|a| &a.value)
    }

    /// The last value of a key that is a boolean: systemd ignores one that is none.
    pub fn boolean(&self, key: &str) -> Option<Sourced<bool>> {
        self.values(key).rev().find_map(|sourced| {
            boolean(&sourced.value).map(|value| Sourced { value, at: sourced.at.clone() })
        })
    }

    /// The words of a key that is a list: each assignment adds to it, an empty one resets it.
    pub fn list(&self, key: &str) -> Vec<Sourced<String>> {
        let mut list = Vec::new();
        for sourced in self.values(key) {
            if sourced.value.is_empty() {
                list.clear();
            }
            let words = words(&sourced.value).unwrap_or_default();
            list.extend(words.into_iter().map(|value| Sourced { value, at: sourced.at.clone() }));
        }
        list
    }
}

impl Facts {
    /// The configuration of logind: of `systemd/logind.conf` the first file that exists, then the
    /// drop-ins. Versions before 256 look for the main file in `/etc` only; distributions that ship
    /// one elsewhere ship a later version.
    ///
    /// # Errors
    /// Where a file or directory that could decide cannot be read.
    pub fn logind_conf(&self) -> Fact<Rc<LogindConf>> {
        self.memo_fact("", || {
            let mut all = Vec::new();
            for path in self.conf_dirs("systemd/logind.conf") {
                if let Some(source) = self.source(&path).or_absent()? {
                    all.extend(assignments(&source));
                    break;
                }
            }
            let drop_ins = self.conf_files("systemd/logind.conf.d");
            drop_ins.complete()?;
            all.extend(drop_ins.texts().flat_map(|source| assignments(source)));
            Ok(LogindConf(all))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};
    use crate::host::Unread;

    fn host() -> TestHost {
        empty_host()
            .file("/etc/systemd/logind.conf", "[Login]\n#KillUserProcesses=no\nKillExcludeUsers=root edge\n")
            .file("/usr/lib/systemd/logind.conf", "[Login]\nKillUserProcesses=no\n")
    }

    #[test]
    fn the_first_main_file_and_then_the_drop_ins() {
        assert_eq!(host().facts().logind_conf().unwrap().boolean("KillUserProcesses"), None);
        let drop_ins = host()
            .file("/etc/systemd/logind.conf.d/a.conf", "[Login]\nKillUserProcesses=yes\n")
            .file("/run/systemd/logind.conf.d/b.conf", "[Login]\nKillUserProcesses=perhaps\n[Other]\nA=1\n");
        let conf = drop_ins.facts().logind_conf().unwrap();
        let found = conf.boolean("KillUserProcesses").unwrap();
        assert_eq!(
            (found.value, found.at.to_string().as_str()),
            (true, "/etc/systemd/logind.conf.d/a.conf:2")
        );
        assert_eq!(conf.values("A").count(), 0);
    }

    #[test]
    fn lists_add_up_and_can_be_reset() {
        let more = |text: &str| host().file("/etc/systemd/logind.conf.d/a.conf", text).facts();
        let users = |facts: Facts| {
            let conf = facts.logind_conf().unwrap();
            conf.list("KillExcludeUsers").into_iter().map(|user| user.value).collect::<Vec<_>>()
        };
        assert_eq!(users(more("[Login]\nKillExcludeUsers=build\n")), ["root", "edge", "build"]);
        assert_eq!(users(more("[Login]\nKillExcludeUsers=\nKillExcludeUsers=build\n")), ["build"]);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let path = "/etc/systemd/logind.conf";
        let denied = host().path(path, |record| record.read_error = Some("denied".to_owned()));
        assert_eq!(denied.facts().logind_conf(), Err(Unread::Denied { path: path.to_owned() }));
    }
}
