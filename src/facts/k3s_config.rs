//! The configuration of K3s in `/etc/rancher/k3s`, as far as a rootless K3s meets it: whether its user can
//! read it, and the few keys that checks look at. K3s takes it for rootless servers as well.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::users::User;
use super::{Evidence, Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Stat};

/// The main file. Files that end in `.yaml` or `.yml` in a directory `config.yaml.d` beside it add to it.
pub const PATH: &str = "/etc/rancher/k3s/config.yaml";

/// The keys that are looked at; in captures, all others lose their values.
pub const KEYS: [&str; 2] = ["node-name", "server"];

/// Those of [`KEYS`] that are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct K3sConfig {
    /// The last value of each.
    pub keys: BTreeMap<String, Sourced<String>>,
}

impl K3sConfig {
    /// Takes the keys of one more file over those read before. Of YAML no more than block mappings with
    /// plain or quoted values is understood, which is how these files are written.
    pub fn merge(&mut self, source: &Source) {
        for (number, line) in source.lines() {
            let Some((key, value)) = assignment(line) else { continue };
            if KEYS.contains(&key) {
                self.keys.insert(key.to_owned(), source.on(number, line, value.to_owned()));
            }
        }
    }
}

/// The key and the value of a line at the top level.
pub fn assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let key = unquoted(key.trim_end()).trim_end_matches('+');
    if line.starts_with([' ', '\t', '#', '-']) || !(value.is_empty() || value.starts_with([' ', '\t'])) {
        return None;
    }
    let value = value.split(" #").next().unwrap_or_default().trim();
    Some((key, unquoted(value)))
}

fn unquoted(text: &str) -> &str {
    let inner = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

impl Facts {
    /// What K3s is told by its configuration files.
    ///
    /// # Errors
    /// Why a file that exists could not be read, by us or by that user.
    pub fn k3s_config(&self, user: &User) -> Fact<Rc<K3sConfig>> {
        self.memo_fact(&user.name, || {
            let mut config = K3sConfig::default();
            let main = self.user_source(PATH, user.uid, &user.groups).or_absent()?;
            for source in main.into_iter() {
                config.merge(&source);
            }
            for path in self.k3s_drop_ins()? {
                config.merge(&*self.user_source(&path, user.uid, &user.groups)?);
            }
            Ok(config)
        })
    }

    /// Whether there is any such file.
    ///
    /// # Errors
    /// What we cannot look at.
    pub fn k3s_config_exists(&self) -> Fact<bool> {
        Ok(self.stat(PATH).or_absent()?.is_some() || !self.k3s_drop_ins()?.is_empty())
    }

    /// What keeps the user from reading them: K3s then stops instead of going on without.
    ///
    /// # Errors
    /// What we cannot look at either.
    pub fn k3s_config_closed(&self, user: &User) -> Fact<Option<Evidence>> {
        let closed = |path: &str, stat: &Stat, bits| {
            let shown = format!("mode {:04o}, owner {}:{}", stat.mode, stat.uid, stat.gid);
            (!stat.allows(user.uid, &user.groups, bits)).then(|| Evidence::path(path, shown))
        };
        let drop_in_dir = format!("{PATH}.d");
        for (path, bits) in [("/etc/rancher", 1), ("/etc/rancher/k3s", 1), (PATH, 4), (&drop_in_dir, 5)] {
            match self.stat(path).or_absent()? {
                // What is in a directory that is not there is not there either.
                None if bits == 1 => return Ok(None),
                None => {}
                Some(stat) => match closed(path, &stat, bits) {
                    None => {}
                    closed => return Ok(closed),
                },
            }
        }
        for path in self.k3s_drop_ins()? {
            if let Some(stat) = self.stat(&path).or_absent()?
                && let Some(closed) = closed(&path, &stat, 4)
            {
                return Ok(Some(closed));
            }
        }
        Ok(None)
    }

    fn k3s_drop_ins(&self) -> Fact<Vec<String>> {
        let dir = format!("{PATH}.d");
        let entries = self.list(&dir).or_absent()?;
        let names = entries.iter().flat_map(|entries| entries.iter()).filter(|entry| !entry.is_dir);
        let is_yaml = |name: &str| {
            let name = name.to_ascii_lowercase();
            name.ends_with(".yaml") || name.ends_with(".yml")
        };
        Ok(names.filter(|entry| is_yaml(&entry.name)).map(|entry| format!("{dir}/{}", entry.name)).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::{TestHost, empty_host};
    use crate::host::Unread;

    const DROP_IN: &str = "/etc/rancher/k3s/config.yaml.d/10-name.yaml";

    fn edge() -> User {
        User::example("edge", 1000)
    }

    fn host() -> TestHost {
        empty_host()
            .dir("/etc/rancher", "0755", 0)
            .dir("/etc/rancher/k3s", "0755", 0)
            .file(PATH, "# joined\nserver: \"https://10.0.0.1:6443\"\nnode-label:\n  - \"server: x\"\nnode-name: a # b\n")
            .mode(PATH, "0644")
    }

    #[test]
    fn the_last_file_that_has_a_key_wins() {
        let read = |host: TestHost| {
            let config = host.facts().k3s_config(&edge()).unwrap();
            let shown = |(key, set): (&String, &Sourced<String>)| {
                (key.clone(), set.value.clone(), set.at.to_string())
            };
            config.keys.iter().map(shown).collect::<Vec<_>>()
        };
        let set = |key: &str, value: &str, at: &str| (key.to_owned(), value.to_owned(), at.to_owned());
        let server = set("server", "https://10.0.0.1:6443", &format!("{PATH}:2"));
        assert_eq!(read(host()), [set("node-name", "a", &format!("{PATH}:5")), server.clone()]);
        let two = host().file(DROP_IN, "node-name: 'edge-1'\n").mode(DROP_IN, "0644");
        assert_eq!(read(two), [set("node-name", "edge-1", &format!("{DROP_IN}:1")), server]);
        assert_eq!(read(empty_host()), []);
        let denied = host().mode(PATH, "0600").facts().k3s_config(&edge());
        assert_eq!(denied, Err(Unread::Denied { path: PATH.to_owned() }));
    }

    #[test]
    fn what_the_user_cannot_read() {
        let closed =
            |host: TestHost| host.facts().k3s_config_closed(&edge()).unwrap().map(|at| at.to_string());
        assert_eq!(closed(empty_host()), None);
        assert_eq!(closed(host()), None);
        assert_eq!(closed(host().mode(PATH, "0600")).as_deref(), Some(PATH));
        assert_eq!(closed(host().dir("/etc/rancher/k3s", "0700", 0)).as_deref(), Some("/etc/rancher/k3s"));
        let drop_ins =
            host().dir("/etc/rancher/k3s/config.yaml.d", "0755", 0).file(DROP_IN, "").mode(DROP_IN, "0640");
        assert_eq!(closed(drop_ins.clone()).as_deref(), Some(DROP_IN));
        assert_eq!(closed(drop_ins.mode(DROP_IN, "0644")), None);
        let unknown = host().error(PATH, "denied").facts().k3s_config_closed(&edge());
        assert_eq!(unknown, Err(Unread::Denied { path: PATH.to_owned() }));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)(.{0,12}|server|node-name|:| |\"|#|\n){0,12}") {
            K3sConfig::default().merge(&Source::new(PATH, text));
        }
    }
}
