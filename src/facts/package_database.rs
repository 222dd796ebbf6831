//! The formats that package managers keep their lists in, read line by line for given names.

use std::collections::BTreeMap;

use super::Evidence;
use super::packages::Package;

/// Reads a database of stanzas, one `Key: value` (dpkg, opkg) or `K:value` (apk) a line.
pub(super) struct Stanzas<'a> {
    path: &'a str,
    keys: [&'static str; 3],
    wanted: &'a [&'a str],
    line: u32,
    name: Option<&'a str>,
    version: Option<(u32, String)>,
    removed: bool,
    any: bool,
    found: BTreeMap<String, Package>,
}

impl<'a> Stanzas<'a> {
    /// dpkg(1), "INFORMATION ABOUT PACKAGES"; opkg writes the same fields.
    pub(super) fn control(path: &'a str, wanted: &'a [&'a str]) -> Stanzas<'a> {
        Stanzas::new(path, ["Package:", "Version:", "Status:"], wanted)
    }

    /// apk-tools, `doc/apk-package.5.scd`, "INSTALLED DATABASE". What it lists is installed.
    pub(super) fn apk(path: &'a str, wanted: &'a [&'a str]) -> Stanzas<'a> {
        Stanzas::new(path, ["P:", "V:", "\n"], wanted)
    }

    fn new(path: &'a str, keys: [&'static str; 3], wanted: &'a [&'a str]) -> Stanzas<'a> {
        let found = BTreeMap::new();
        Stanzas { path, keys, wanted, line: 0, name: None, version: None, removed: false, any: false, found }
    }

    pub(super) fn take(&mut self, line: &[u8]) {
        self.line = self.line.saturating_add(1);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return self.end();
        }
        let value = |key: &str| {
            let value = std::str::from_utf8(line.strip_prefix(key.as_bytes())?).ok()?;
            Some(value.trim())
        };
        if let Some(name) = value(self.keys[0]) {
            self.any = true;
            self.name = self.wanted.iter().copied().find(|wanted| *wanted == name);
        } else if let Some(version) = value(self.keys[1]) {
            self.version = Some((self.line, version.to_owned()));
        } else if let Some(status) = value(self.keys[2]) {
            // The third word is the state: removed packages stay with `config-files`.
            self.removed = status.split(' ').nth(2) != Some("installed");
        }
    }

    /// Whether the database held any package.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// The wanted packages that are installed, by name.
    pub(super) fn into_found(mut self) -> BTreeMap<String, Package> {
        self.end();
        self.found
    }

    fn end(&mut self) {
        if let (Some(name), Some((line, version)), false) =
            (self.name.take(), self.version.take(), self.removed)
        {
            let key = self.keys[1];
            let space = if key.len() > 2 { " " } else { "" };
            let at = Evidence::line(self.path, line, &format!("{key}{space}{version}"));
            let package = Package { name: name.to_owned(), version, at };
            self.found.entry(name.to_owned()).or_insert(package);
        }
        self.removed = false;
        self.version = None;
        self.name = None;
    }
}

/// The version in the name of a directory of pacman's database, `NAME-VERSION-RELEASE`: neither of the
/// last two can hold a hyphen (`PKGBUILD(5)`).
pub(super) fn pacman_version<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    let version = entry.strip_prefix(name)?.strip_prefix('-')?;
    (version.split('-').count() == 2).then_some(version)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stanza_ends_at_an_empty_line_or_the_end() {
        let read = |text: &str| {
            let mut stanzas = Stanzas::control("/status", &["crun", "runc"]);
            text.split('\n').for_each(|line| stanzas.take(line.as_bytes()));
            let any = stanzas.any();
            let found = stanzas.into_found();
            (any, found.values().map(|p| format!("{} {} {}", p.name, p.version, p.at)).collect::<Vec<_>>())
        };
        assert_eq!(read("Version: 1\nPackage: crun"), (true, vec!["crun 1 /status:1".to_owned()]));
        assert_eq!(read("Package: crun\n\nVersion: 1\n"), (true, vec![]));
        // Of two architectures the first counts.
        let both = "Package: crun\r\nVersion: 1\r\n\r\nPackage: crun\nVersion: 2\n";
        assert_eq!(read(both), (true, vec!["crun 1 /status:2".to_owned()]));
        assert_eq!(read("\n\n"), (false, vec![]));
    }

    #[test]
    fn pacman_names_hold_the_version() {
        assert_eq!(pacman_version("podman-5.6.0-2", "podman"), Some("5.6.0-2"));
        assert_eq!(pacman_version("podman-docker-5.6.0-2", "podman"), None);
        assert_eq!(pacman_version("podman-5.6.0", "podman"), None);
    }

    proptest! {
        #[test]
        fn never_panics(lines in proptest::collection::vec("(Package|Version|Status|P|V)?:? ?.{0,12}", 0..12)) {
            for mut stanzas in [Stanzas::control("/s", &["podman"]), Stanzas::apk("/s", &["podman"])] {
                lines.iter().for_each(|line| stanzas.take(line.as_bytes()));
                let _ = stanzas.into_found();
            }
            for line in &lines {
                let _ = pacman_version(line, "podman");
            }
        }
    }
}
