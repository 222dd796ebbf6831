//! `login.defs(5)`: where shadow takes the limits of UIDs, GIDs and subordinate IDs from.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::subid::number;
use super::{Evidence, Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent};

/// A number in `login.defs`, with the default that shadow takes where it is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `UID_MIN`: the first UID of regular users.
    UidMin,
    /// `UID_MAX`: the last UID of regular users.
    UidMax,
    /// `GID_MIN`: the first GID of regular groups.
    GidMin,
    /// `GID_MAX`: the last GID of regular groups.
    GidMax,
    /// `SUB_UID_MIN`: the first subordinate UID that `useradd` gives away.
    SubUidMin,
    /// `SUB_UID_MAX`: the last one.
    SubUidMax,
    /// `SUB_UID_COUNT`: how many a new user gets.
    SubUidCount,
    /// `SUB_GID_MIN`: the first subordinate GID that `useradd` gives away.
    SubGidMin,
    /// `SUB_GID_MAX`: the last one.
    SubGidMax,
    /// `SUB_GID_COUNT`: how many a new user gets.
    SubGidCount,
}

impl Limit {
    /// The key in the file.
    pub fn key(self) -> &'static str {
        match self {
            Limit::UidMin => "UID_MIN",
            Limit::UidMax => "UID_MAX",
            Limit::GidMin => "GID_MIN",
            Limit::GidMax => "GID_MAX",
            Limit::SubUidMin => "SUB_UID_MIN",
            Limit::SubUidMax => "SUB_UID_MAX",
            Limit::SubUidCount => "SUB_UID_COUNT",
            Limit::SubGidMin => "SUB_GID_MIN",
            Limit::SubGidMax => "SUB_GID_MAX",
            Limit::SubGidCount => "SUB_GID_COUNT",
        }
    }

    /// What shadow takes where the key is not set (`lib/find_new_uid.c`, `lib/find_new_sub_uids.c`).
    pub fn default_value(self) -> u32 {
        match self {
            Limit::UidMin | Limit::GidMin => 1000,
            Limit::UidMax | Limit::GidMax => 60_000,
            Limit::SubUidMin | Limit::SubGidMin => 100_000,
            Limit::SubUidMax | Limit::SubGidMax => 600_100_000,
            Limit::SubUidCount | Limit::SubGidCount => 65_536,
        }
    }
}

/// The keys of `login.defs`, each with the line that is in effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginDefs {
    values: BTreeMap<String, Sourced<String>>,
}

impl LoginDefs {
    /// Takes the lines of a file over those read before (`lib/getdef.c`: the last line of a key wins;
    /// a `#` starts a comment only at the beginning of a line).
    pub fn merge(&mut self, source: &Source) {
        for (number, line) in source.lines() {
            let text = line.trim_matches([' ', '\t']);
            let Some((key, value)) = text.split_once([' ', '\t']) else { continue };
            if !key.starts_with('#') {
                let value = value.trim_start_matches([' ', '\t']).to_owned();
                self.values.insert(key.to_owned(), source.on(number, line, value));
            }
        }
    }

    /// The value of any key, as written.
    pub fn value(&self, key: &str) -> Option<&Sourced<String>> {
        self.values.get(key)
    }

    /// The number in effect. As in shadow, what is not set or cannot be read as a number is the
    /// default; [`LoginDefs::fault`] tells the second case.
    pub fn number(&self, limit: Limit) -> u32 {
        self.parsed(limit).and_then(|(_, number)| number).unwrap_or(limit.default_value())
    }

    /// The line that sets a number, for what is in effect; `None` where the default is.
    pub fn evidence(&self, limit: Limit) -> Option<&Evidence> {
        self.parsed(limit).filter(|(_, number)| number.is_some()).map(|(value, _)| &value.at)
    }

    /// The line that should set a number, but holds none, so that the default is in effect.
    pub fn fault(&self, limit: Limit) -> Option<&Sourced<String>> {
        self.parsed(limit).filter(|(_, number)| number.is_none()).map(|(value, _)| value)
    }

    fn parsed(&self, limit: Limit) -> Option<(&Sourced<String>, Option<u32>)> {
        let value = self.value(limit.key())?;
        Some((value, number(&value.value).and_then(|n| u32::try_from(n).ok())))
    }
}

impl Facts {
    /// `login.defs`; all defaults where there is none.
    ///
    /// shadow that is built with libeconf (openSUSE) reads `/usr/etc/login.defs` unless there is one in
    /// `/etc`, and then the drop-ins `login.defs.d/*.defs` of both, sorted by name, those in `/etc`
    /// shadowing equal names (`econf_readDirs`). Any other shadow reads `/etc/login.defs` alone; the
    /// vendor file tells one from the other.
    ///
    /// # Errors
    /// Why a file that exists could not be read.
    pub fn login_defs(&self) -> Fact<Rc<LoginDefs>> {
        self.memo_fact("", || {
            let mut defs = LoginDefs::default();
            let admin = self.source("/etc/login.defs").or_absent()?;
            let vendor = self.source("/usr/etc/login.defs").or_absent()?;
            if let Some(source) = admin.as_ref().or(vendor.as_ref()) {
                defs.merge(source);
            }
            if vendor.is_some() {
                let mut drop_ins = BTreeMap::new();
                for dir in ["/usr/etc/login.defs.d", "/etc/login.defs.d"] {
                    for entry in self.list(dir).or_absent()?.iter().flat_map(|names| names.iter()) {
                        if !entry.is_dir && entry.name.ends_with(".defs") {
                            drop_ins.insert(entry.name.clone(), format!("{dir}/{}", entry.name));
                        }
                    }
                }
                for path in drop_ins.values() {
                    defs.merge(&*self.source(path)?);
                }
            }
            Ok(defs)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;

    /// An excerpt of `/etc/login.defs` of Debian 13 (login.defs 1:4.17.4-2).
    const DEBIAN: &str = "\
#
# Min/max values for automatic uid selection in useradd(8)
#
UID_MIN\t\t\t 1000
UID_MAX\t\t\t60000
# System accounts
#SYS_UID_MIN\t\t  101
#SYS_UID_MAX\t\t  999
# Extra per user uids
SUB_UID_MIN\t\t   100000
SUB_UID_MAX\t\t600100000
SUB_UID_COUNT\t\t    65536
";

    fn parsed(text: &str) -> LoginDefs {
        let mut defs = LoginDefs::default();
        defs.merge(&Source::new("/etc/login.defs", text));
        defs
    }

    #[test]
    fn reads_numbers_with_their_lines() {
        let defs = parsed(DEBIAN);
        assert_eq!(defs.number(Limit::UidMin), 1000);
        assert_eq!(defs.number(Limit::SubUidMax), 600_100_000);
        assert_eq!(defs.evidence(Limit::SubUidCount).map(|at| at.line), Some(Some(12)));
        assert_eq!(defs.value("SYS_UID_MIN"), None);
        assert_eq!((defs.number(Limit::SubGidMin), defs.evidence(Limit::SubGidMin)), (100_000, None));
    }

    #[test]
    fn the_last_line_wins_and_a_bad_one_means_the_default() {
        let defs = parsed("UID_MIN 500\nUID_MIN 0x400\nUID_MAX many\nGID_MIN\nSUB_UID_COUNT 99999999999\n");
        assert_eq!(defs.number(Limit::UidMin), 1024);
        assert_eq!(defs.number(Limit::UidMax), 60_000);
        assert_eq!(defs.fault(Limit::UidMax).map(|v| v.value.as_str()), Some("many"));
        assert_eq!((defs.number(Limit::GidMin), defs.fault(Limit::GidMin)), (1000, None));
        assert_eq!(defs.number(Limit::SubUidCount), 65_536);
    }

    #[test]
    fn drop_ins_count_only_beside_a_vendor_file() {
        let host = empty_host()
            .file("/etc/login.defs.d/50-site.defs", "UID_MIN 2000\n")
            .file("/usr/etc/login.defs.d/50-site.defs", "UID_MIN 3000\nUID_MAX 4000\n");
        assert_eq!(host.clone().facts().login_defs().unwrap().number(Limit::UidMin), 1000);
        let suse = host.file("/usr/etc/login.defs", "UID_MIN 1500\nUID_MAX 5000\n").facts();
        let defs = suse.login_defs().unwrap();
        assert_eq!((defs.number(Limit::UidMin), defs.number(Limit::UidMax)), (2000, 5000));
        let denied = empty_host().error("/etc/login.defs", "denied").facts();
        assert!(denied.login_defs().is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s).{0,200}", line in "UID_M(IN|AX)[ \t]{0,3}.{0,20}\n") {
            let defs = parsed(&format!("{text}\n{line}"));
            let _ = (defs.number(Limit::UidMin), defs.fault(Limit::UidMax));
        }
    }
}
