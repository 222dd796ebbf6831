//! `logind.conf` and its drop-ins (`logind.conf(5)`), by key. What a key is worth when nothing sets it
//! was decided when systemd was built: Debian, for one, builds with `KillUserProcesses=no`, upstream's
//! default is `yes`. The comments of the main file tell (systemd, `src/login/logind.conf.in`).

use std::rc::Rc;

use super::unit_syntax::{Assignment, assignments, boolean, words};
use super::{Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent};

/// All assignments of the `[Login]` section, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogindConf {
    assignments: Vec<Assignment>,
    /// The assignments in the comments of the main file.
    defaults: Vec<Assignment>,
}

impl LogindConf {
    /// The values of a key, in order.
    pub fn values<'a>(&'a self, key: &'a str) -> impl DoubleEndedIterator<Item = &'a Sourced<String>> + 'a {
        self.assignments.iter().filter(move |a| a.section == "Login" && a.key == key).map(|a| &a.value)
    }

    /// The last value of a key that is a boolean: systemd ignores one that is none.
    pub fn boolean(&self, key: &str) -> Option<Sourced<bool>> {
        self.values(key).rev().find_map(|sourced| {
            boolean(&sourced.value).map(|value| Sourced { value, at: sourced.at.clone() })
        })
    }

    /// Whether the processes of a user in the scope of a session are killed when it ends, and what says
    /// so; `None` where neither a file nor a comment does (systemd, `src/login/logind-core.c`,
    /// `manager_shall_kill`). Lingering does not matter to logind here.
    pub fn kills_processes_of(&self, user: &str) -> Option<Sourced<bool>> {
        let excluded = self.list("KillExcludeUsers");
        // Unless the key is there, even if it names nobody, root is excluded.
        let root_is_excluded = user == "root" && self.values("KillExcludeUsers").next().is_none();
        if let Some(line) = excluded.into_iter().find(|name| name.value == user) {
            return Some(Sourced { value: false, at: line.at });
        }
        if let Some(first) = self.list("KillOnlyUsers").into_iter().next() {
            let value = !root_is_excluded && self.list("KillOnlyUsers").iter().any(|name| name.value == user);
            return Some(Sourced { value, at: first.at });
        }
        let key = "KillUserProcesses";
        let default = || self.defaults.iter().rev().find(|a| a.key == key).map(|a| &a.value);
        let by_default =
            || default().and_then(|d| boolean(&d.value).map(|value| Sourced { value, at: d.at.clone() }));
        let kills = self.boolean(key).or_else(by_default)?;
        Some(Sourced { value: kills.value && !root_is_excluded, at: kills.at })
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

/// Assignments of the form `#Key=value`, which is how the file shows what was built in.
fn commented(source: &Source) -> Vec<Assignment> {
    let lines = source.lines().filter_map(|(line, text)| {
        let (key, value) = text.strip_prefix('#')?.split_once('=')?;
        let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric());
        is_key.then(|| Assignment {
            section: "Login".to_owned(),
            key: key.to_owned(),
            value: source.on(line, text, value.trim().to_owned()),
        })
    });
    lines.collect()
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
            let mut conf = LogindConf::default();
            for path in self.conf_dirs("systemd/logind.conf") {
                if let Some(source) = self.source(&path).or_absent()? {
                    conf.assignments = assignments(&source);
                    conf.defaults = commented(&source);
                    break;
                }
            }
            let drop_ins = self.conf_files("systemd/logind.conf.d");
            drop_ins.complete()?;
            conf.assignments.extend(drop_ins.texts().flat_map(|source| assignments(source)));
            Ok(conf)
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
    fn whose_processes_are_killed() {
        let kills = |main: &str, user: &str| {
            let facts = empty_host().file("/etc/systemd/logind.conf", main).facts();
            facts.logind_conf().unwrap().kills_processes_of(user).map(|kills| kills.value)
        };
        for (main, edge, root) in [
            ("", None, None),
            ("[Login]\n#KillUserProcesses=no\n", Some(false), Some(false)),
            ("[Login]\n#KillUserProcesses=yes\n", Some(true), Some(false)),
            ("[Login]\n#KillUserProcesses=no\nKillUserProcesses=yes\n", Some(true), Some(false)),
            ("[Login]\nKillUserProcesses=yes\nKillExcludeUsers=edge\n", Some(false), Some(true)),
            ("[Login]\nKillUserProcesses=yes\nKillExcludeUsers=\n", Some(true), Some(true)),
            ("[Login]\nKillUserProcesses=yes\nKillOnlyUsers=other\n", Some(false), Some(false)),
            ("[Login]\nKillUserProcesses=no\nKillOnlyUsers=edge root\n", Some(true), Some(false)),
        ] {
            assert_eq!((kills(main, "edge"), kills(main, "root")), (edge, root), "{main}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let path = "/etc/systemd/logind.conf";
        let denied = host().path(path, |record| record.read_error = Some("denied".to_owned()));
        assert_eq!(denied.facts().logind_conf(), Err(Unread::Denied { path: path.to_owned() }));
    }
}
