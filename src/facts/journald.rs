//! What journald keeps, and which users can read what they wrote to it: `journald.conf` with its drop-ins
//! (`journald.conf(5)`), and the directory that persistent journals are in.

use super::unit_syntax::Assignment;
use super::users::User;
use super::{Evidence, Facts, Sourced};
use crate::host::{Fact, OrAbsent};

/// Where journals are that outlive a boot. With `Storage=auto`, which is the default, there are none without it.
pub const PERSISTENT: &str = "/var/log/journal";
/// Who may read all journals (systemd: `tmpfiles.d/systemd.conf`; the second and third by ACL).
const READERS: [&str; 3] = ["systemd-journal", "adm", "wheel"];
/// The first UID that has a journal of its own (systemd: `src/basic/uid-classification.c`, `uid_is_system`).
const FIRST_REGULAR_UID: u32 = 1000;

/// Whether what a user writes to the journal can be read by that user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnJournal {
    /// It can.
    Readable(Evidence),
    /// It cannot, for this reason.
    Closed(&'static str, Evidence),
}

fn last<'a>(all: &'a [Assignment], key: &str) -> Option<&'a Sourced<String>> {
    all.iter().rfind(|set| set.section == "Journal" && set.key == key).map(|set| &set.value)
}

impl Facts {
    /// Whether journals are on disk, and what says so.
    fn persistent_journal(&self, conf: &[Assignment]) -> Fact<Sourced<bool>> {
        if let Some(storage) = last(conf, "Storage") {
            match storage.value.as_str() {
                "persistent" => return Ok(Sourced { value: true, at: storage.at.clone() }),
                "volatile" | "none" => return Ok(Sourced { value: false, at: storage.at.clone() }),
                _ => {}
            }
        }
        Ok(match self.stat(PERSISTENT).or_absent()? {
            Some(_) => Sourced { value: true, at: Evidence::path(PERSISTENT, "") },
            None => Sourced { value: false, at: Evidence::path(PERSISTENT, "does not exist") },
        })
    }

    /// Whether Podman takes the journal where no file says what it shall take: it looks whether the user can
    /// list a directory of journals (containers/common: `pkg/config/systemd.go`, `useJournald`). Volatile ones
    /// are closed to users (systemd: `tmpfiles.d/systemd.conf`).
    ///
    /// # Errors
    /// Where a file or directory that could decide cannot be read.
    pub fn podman_takes_journal(&self, user: &User) -> Fact<bool> {
        let conf = self.systemd_conf("systemd/journald.conf")?;
        let all = self.reads_all_journals(user)?;
        let keeps_none = last(&conf, "Storage").is_some_and(|storage| storage.value == "none");
        Ok(self.persistent_journal(&conf)?.value || (all.is_some() && !keeps_none))
    }

    /// Whether a user can read in the journal what the user's programs wrote (systemd:
    /// `src/journal/journald-manager.c`, `manager_find_journal`).
    ///
    /// # Errors
    /// Where a file or directory that could decide cannot be read.
    pub fn own_journal(&self, user: &User) -> Fact<OwnJournal> {
        let conf = self.systemd_conf("systemd/journald.conf")?;
        if let Some(storage) = last(&conf, "Storage").filter(|storage| storage.value == "none") {
            return Ok(OwnJournal::Closed("nothing is kept", storage.at.clone()));
        }
        if let Some(group) = self.reads_all_journals(user)? {
            return Ok(OwnJournal::Readable(group));
        }
        let persistent = self.persistent_journal(&conf)?;
        if !persistent.value {
            let why = "journals in memory are closed to users";
            return Ok(OwnJournal::Closed(why, persistent.at));
        }
        if let Some(split) = last(&conf, "SplitMode").filter(|split| split.value == "none") {
            let why = "users have no journals of their own";
            return Ok(OwnJournal::Closed(why, split.at.clone()));
        }
        if user.uid < FIRST_REGULAR_UID {
            let why = "system users have no journals of their own";
            return Ok(OwnJournal::Closed(why, user.at.clone()));
        }
        Ok(OwnJournal::Readable(persistent.at))
    }

    /// The group by which a user reads all journals.
    fn reads_all_journals(&self, user: &User) -> Fact<Option<Evidence>> {
        let groups = self.groups()?;
        let mut all = groups.groups.iter();
        let reader =
            all.find(|group| READERS.contains(&group.name.as_str()) && user.groups.contains(&group.gid));
        Ok(reader.map(|group| group.at.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    fn host() -> TestHost {
        empty_host().file("/etc/group", "systemd-journal:x:999:\nadm:x:4:admin\nedge:x:1000:\n")
    }

    fn persistent() -> TestHost {
        host().dir(PERSISTENT, "2755", 0)
    }

    fn conf(text: &str) -> TestHost {
        persistent().file("/etc/systemd/journald.conf.d/a.conf", format!("[Journal]\n{text}\n"))
    }

    fn own(host: TestHost, user: &User) -> Result<String, String> {
        match host.facts().own_journal(user).unwrap() {
            OwnJournal::Readable(at) => Ok(at.to_string()),
            OwnJournal::Closed(why, at) => Err(format!("{why}: {at}")),
        }
    }

    /// All seen on Debian 12 and 13 with `podman logs`.
    #[test]
    fn who_reads_what_they_wrote() {
        let edge = User::example("edge", 1000);
        let system = User { at: Evidence::path("/etc/passwd", "x"), ..User::example("sysu", 990) };
        let admin = User { groups: vec![4, 1001], ..User::example("admin", 1001) };
        assert_eq!(own(persistent(), &edge), Ok(PERSISTENT.to_owned()));
        let closed = "system users have no journals of their own: /etc/passwd";
        assert_eq!(own(persistent(), &system), Err(closed.to_owned()));
        let closed = format!("journals in memory are closed to users: {PERSISTENT}");
        assert_eq!(own(host(), &edge), Err(closed));
        let at = "/etc/systemd/journald.conf.d/a.conf:2";
        let closed = |why: &str| Err(format!("{why}: {at}"));
        assert_eq!(own(conf("Storage=volatile"), &edge), closed("journals in memory are closed to users"));
        assert_eq!(own(conf("SplitMode=none"), &edge), closed("users have no journals of their own"));
        assert_eq!(own(conf("Storage=none"), &admin), closed("nothing is kept"));
        assert_eq!(own(conf("Storage=volatile\nSplitMode=none"), &admin), Ok("/etc/group:2".to_owned()));
    }

    #[test]
    fn podman_takes_what_it_can_list() {
        let takes = |host: TestHost, user: &User| host.facts().podman_takes_journal(user).unwrap();
        let edge = User::example("edge", 1000);
        let admin = User { groups: vec![4], ..User::example("admin", 1001) };
        assert!(takes(persistent(), &edge) && takes(persistent(), &User::example("sysu", 990)));
        assert!(takes(conf("SplitMode=none"), &edge), "though it reads nothing there");
        assert!(!takes(host(), &edge) && !takes(conf("Storage=volatile"), &edge));
        assert!(takes(host(), &admin) && !takes(conf("Storage=none"), &admin));
    }

    #[test]
    fn what_cannot_be_read_decides_nothing() {
        let edge = User::example("edge", 1000);
        assert!(host().error(PERSISTENT, "denied").facts().own_journal(&edge).is_err());
        let denied = persistent().error("/etc/systemd/journald.conf", "denied");
        assert!(denied.facts().podman_takes_journal(&edge).is_err());
    }
}
