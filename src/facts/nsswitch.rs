//! `nsswitch.conf(5)`: which databases exist beside the files that edgeprep reads. It asks none of
//! them; it only says that they are there.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent};

/// The databases and their services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nsswitch {
    databases: BTreeMap<String, Sourced<Vec<String>>>,
    subid: Option<Sourced<String>>,
}

impl Nsswitch {
    /// Reads a file. Actions (`[NOTFOUND=return]`) are left out. The last line of a database counts
    /// (glibc, `nss/nss_database.c`).
    pub fn parse(source: &Source) -> Nsswitch {
        let mut found = Nsswitch::default();
        for (number, line) in source.lines() {
            let text = line.split('#').next().unwrap_or_default();
            let Some((name, services)) = text.split_once(':') else { continue };
            let services = without_actions(services);
            found.databases.insert(name.trim().to_owned(), source.on(number, line, services));
            if found.subid.is_none() {
                found.subid = subid_module(line).map(|module| source.on(number, line, module.to_owned()));
            }
        }
        found
    }

    /// The services of a database in their order; `None` where the file does not name it.
    pub fn services(&self, database: &str) -> Option<&Sourced<Vec<String>>> {
        self.databases.get(database)
    }

    /// Whether a database names this service.
    pub fn has(&self, database: &str, service: &str) -> bool {
        self.services(database).is_some_and(|services| services.value.iter().any(|name| name == service))
    }

    /// The module that shadow asks for subordinate IDs *instead of* `/etc/subuid` and `/etc/subgid`, or
    /// `None` where those files count. shadow has a reader of its own (`lib/nss.c`): the first line that
    /// begins with `subid:` and has a service counts, and of that the first service alone.
    pub fn subid_module(&self) -> Option<&Sourced<String>> {
        self.subid.as_ref().filter(|module| module.value != "files")
    }
}

fn without_actions(services: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = services;
    while let Some((before, after)) = rest.split_once('[') {
        names.extend(before.split_whitespace().map(str::to_owned));
        rest = after.split_once(']').map_or("", |(_, after)| after);
    }
    names.extend(rest.split_whitespace().map(str::to_owned));
    names
}

fn subid_module(line: &str) -> Option<&str> {
    let (key, rest) = line.split_at_checked("subid:".len())?;
    let module = rest.trim_start_matches([' ', '\t']).split([' ', '\t']).next().unwrap_or_default();
    (key.eq_ignore_ascii_case("subid:") && !module.is_empty()).then_some(module)
}

impl Facts {
    /// `/etc/nsswitch.conf`, or the vendor's `/usr/etc/nsswitch.conf` (openSUSE) where there is none.
    ///
    /// # Errors
    /// [`Unread::Absent`](crate::host::Unread::Absent) where there is neither (musl has no such file),
    /// and why it could not be read.
    pub fn nsswitch(&self) -> Fact<Rc<Nsswitch>> {
        self.memo_fact("", || {
            let source = match self.source("/etc/nsswitch.conf").or_absent()? {
                Some(source) => source,
                None => self.source("/usr/etc/nsswitch.conf")?,
            };
            Ok(Nsswitch::parse(&source))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;

    fn parse(text: &str) -> Nsswitch {
        Nsswitch::parse(&Source::new("/etc/nsswitch.conf", text))
    }

    #[test]
    fn reads_services_without_actions() {
        // From Fedora CoreOS, where altfiles brings in /usr/lib/passwd.
        let nss = parse(
            "# comment\npasswd:     files altfiles [NOTFOUND=continue success=return] sss systemd # why\n",
        );
        let passwd = nss.services("passwd").unwrap();
        assert_eq!(passwd.value, ["files", "altfiles", "sss", "systemd"]);
        assert_eq!(passwd.at.line, Some(2));
        assert!(nss.has("passwd", "altfiles") && !nss.has("group", "files"));
        assert_eq!(parse("passwd: files [unclosed sss\n").services("passwd").unwrap().value, ["files"]);
    }

    #[test]
    fn subid_is_read_as_shadow_reads_it() {
        let module = |text| parse(text).subid_module().map(|m| (m.value.clone(), m.at.line));
        assert_eq!(module("subid: sss\n"), Some(("sss".to_owned(), Some(1))));
        assert_eq!(module("passwd: files\nSUBID:\tfiles sss\n"), None);
        assert_eq!(module("subid:\nsubid: sss\n"), Some(("sss".to_owned(), Some(2))));
        assert_eq!(module("subid: files\nsubid: sss\n"), None);
        assert_eq!(module(" subid: sss\n#subid: sss\n"), None);
    }

    #[test]
    fn the_vendor_file_is_the_second_choice() {
        let host = empty_host().file("/usr/etc/nsswitch.conf", "passwd: compat\n");
        assert!(host.clone().facts().nsswitch().unwrap().has("passwd", "compat"));
        let both = host.file("/etc/nsswitch.conf", "passwd: files\n").facts();
        assert!(!both.nsswitch().unwrap().has("passwd", "compat"));
        assert!(empty_host().facts().nsswitch().unwrap_err().is_absent());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)(.{0,40}|subid:|passwd:|\\[|\\]|\n){0,12}") {
            let _ = parse(&text);
        }
    }
}
