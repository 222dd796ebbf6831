//! The configuration of K3s in `/etc/rancher/k3s`, as far as a rootless K3s meets it: whether its user can
//! read it, and the few keys that checks look at. K3s takes it for rootless servers as well.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::users::User;
use super::{Evidence, Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Stat, Unread};

/// The main file. Files that end in `.yaml` or `.yml` in a directory `config.yaml.d` beside it add to it.
pub const PATH: &str = "/etc/rancher/k3s/config.yaml";

/// The keys that are looked at; in captures, all others lose their values.
pub const KEYS: [&str; 9] = [
    "cluster-cidr",
    "data-dir",
    "disable",
    "https-listen-port",
    "node-name",
    "rootless",
    "server",
    "service-cidr",
    "snapshotter",
];
/// More drop-ins than anybody writes.
const MOST: usize = 256;

/// Those of [`KEYS`] that are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct K3sConfig {
    /// The last value of each; a list is joined with commas.
    pub keys: BTreeMap<String, Sourced<String>>,
}

impl K3sConfig {
    /// Takes the keys of one more file over those read before. Of YAML no more than mappings with plain or
    /// quoted values and lists of these is understood, which is how these files are written.
    pub fn merge(&mut self, source: &Source) {
        let mut list: Option<&str> = None;
        for (number, line) in source.lines() {
            let more = match (assignment(line), item(line)) {
                (Some((key, value)), _) => {
                    list = KEYS.into_iter().find(|known| *known == key);
                    let Some(key) = list else { continue };
                    if !appends(line) {
                        self.keys.remove(key);
                    }
                    listed(value)
                }
                (None, Some(value)) if list.is_some() => value.to_owned(),
                _ => continue,
            };
            let Some(key) = list else { continue };
            match self.keys.get_mut(key) {
                Some(_) if more.is_empty() => {}
                Some(known) if known.value.is_empty() => {
                    *known = source.on(number, line, more);
                }
                Some(known) => known.value = format!("{},{more}", known.value),
                None => drop(self.keys.insert(key.to_owned(), source.on(number, line, more))),
            }
        }
    }
}

/// Whether a key adds to what was set before (k3s: pkg/configfilearg/parser.go, `readConfigFile`).
fn appends(line: &str) -> bool {
    line.split_once(':').is_some_and(|(key, _)| unquoted(key.trim_end()).ends_with('+'))
}

/// The item of a list on a line of its own.
pub fn item(line: &str) -> Option<&str> {
    let value = line.trim_start().strip_prefix("- ")?;
    Some(unquoted(value.split(" #").next().unwrap_or_default().trim()))
}

/// A list in brackets with commas only.
fn listed(value: &str) -> String {
    match value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(list) => list.split(',').map(|item| unquoted(item.trim())).collect::<Vec<_>>().join(","),
        None => value.to_owned(),
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
        self.k3s_config_in(PATH, user)
    }

    /// What K3s is told by this file and the directory beside it.
    ///
    /// # Errors
    /// As [`Facts::k3s_config`].
    pub(super) fn k3s_config_in(&self, file: &str, user: &User) -> Fact<Rc<K3sConfig>> {
        self.memo_fact(&format!("{} {file}", user.name), || {
            let mut config = K3sConfig::default();
            let main = self.user_source(file, user.uid, &user.groups).or_absent()?;
            for source in main.into_iter() {
                config.merge(&source);
            }
            let dir = format!("{file}.d");
            let drop_ins = self.k3s_drop_ins(&dir)?;
            // A link of the user must not show root what it does not show the user.
            if !drop_ins.is_empty() && !self.stat(&dir)?.allows(user.uid, &user.groups, 5) {
                return Err(Unread::Denied { path: dir });
            }
            for path in drop_ins {
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
        Ok(self.stat(PATH).or_absent()?.is_some() || !self.k3s_drop_ins(&format!("{PATH}.d"))?.is_empty())
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
        for path in self.k3s_drop_ins(&drop_in_dir)? {
            if let Some(stat) = self.stat(&path).or_absent()?
                && let Some(closed) = closed(&path, &stat, 4)
            {
                return Ok(Some(closed));
            }
        }
        Ok(None)
    }

    fn k3s_drop_ins(&self, dir: &str) -> Fact<Vec<String>> {
        let entries = self.list(dir).or_absent()?;
        let names = entries.iter().flat_map(|entries| entries.iter()).filter(|entry| !entry.is_dir);
        let is_yaml = |name: &str| {
            let name = name.to_ascii_lowercase();
            name.ends_with(".yaml") || name.ends_with(".yml")
        };
        let names = names.filter(|entry| is_yaml(&entry.name)).take(MOST);
        Ok(names.map(|entry| format!("{dir}/{}", entry.name)).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

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

    /// As in k3s's own tests of its parser (pkg/configfilearg/testdata/data.yaml.d).
    #[test]
    fn lists_are_joined_and_a_plus_adds() {
        let read = |texts: &[&str]| {
            let mut config = K3sConfig::default();
            texts.iter().for_each(|text| config.merge(&Source::new(PATH, *text)));
            config.keys.get("disable").map(|set| (set.value.clone(), set.at.line))
        };
        let set = |value: &str, line| Some((value.to_owned(), Some(line)));
        let block = "disable:\n  - traefik\n  - \"servicelb\" # no\nnode-label:\n  - a\n";
        assert_eq!(read(&[block]), set("traefik,servicelb", 2));
        assert_eq!(read(&["disable:\n- traefik\n- servicelb\n"]), set("traefik,servicelb", 2));
        assert_eq!(read(&["disable: [traefik, 'servicelb']\n"]), set("traefik,servicelb", 1));
        assert_eq!(read(&["disable: traefik\n", "disable+:\n- servicelb\n"]), set("traefik,servicelb", 1));
        assert_eq!(read(&["disable: traefik\n", "disable: servicelb\n"]), set("servicelb", 1));
        assert_eq!(read(&["node-label:\n  - disable\n"]), None);
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
        fn never_panics(text in "(?s)(.{0,12}|server|disable|\\+|: |- |\\[|\\]|,|\"|#|\n){0,12}") {
            K3sConfig::default().merge(&Source::new(PATH, text));
        }
    }
}
