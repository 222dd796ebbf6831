//! Users and groups from `passwd(5)` and `group(5)`. NSS is never asked: a static binary cannot, and in
//! an image root it would answer for the build machine.

use std::collections::HashMap;
use std::rc::Rc;

use super::login_defs::Limit;
use super::{Evidence, Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// The `nobody` user is in no one's range of regular users (systemd, `docs/UIDS-GIDS.md`).
const NOBODY: u32 = 65_534;

/// A user of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The UID.
    pub uid: u32,
    /// The GID of the primary group.
    pub gid: u32,
    /// The home directory as written.
    pub home: String,
    /// The login shell; empty means `/bin/sh`.
    pub shell: String,
    /// The primary and all supplementary GIDs, sorted.
    pub groups: Vec<u32>,
    /// The line of the user.
    pub at: Evidence,
}

#[cfg(test)]
impl User {
    /// A user for tests, with a group and a home directory of its own.
    pub(crate) fn example(name: &str, uid: u32) -> User {
        let at = Evidence::line("/etc/passwd", 1, "");
        let (name, home, shell) = (name.to_owned(), format!("/home/{name}"), "/bin/bash".to_owned());
        User { name, uid, gid: uid, home, shell, groups: vec![uid], at }
    }
}

/// All users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passwd {
    /// The users in the order of lookup: of two with one name, the first counts.
    pub users: Vec<User>,
    /// Lines that are no entry, with what was expected. Lookups pass over them (`nss_files`).
    pub faults: Vec<Sourced<&'static str>>,
}

/// A group of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The name.
    pub name: String,
    /// The GID.
    pub gid: u32,
    /// The names of those users whose supplementary group it is.
    pub members: Vec<String>,
    /// The line of the group.
    pub at: Evidence,
}

/// All groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// The groups in the order of lookup.
    pub groups: Vec<Group>,
    /// Lines that are no entry, with what was expected.
    pub faults: Vec<Sourced<&'static str>>,
}

impl Passwd {
    /// Adds the users of a file, still without their supplementary groups.
    pub fn merge(&mut self, source: &Source) {
        for (number, line) in source.lines().filter(|(_, line)| is_entry(line)) {
            match user(source, number, line) {
                Ok(user) => self.users.push(user),
                Err(expected) => self.faults.push(source.on(number, line, expected)),
            }
        }
    }

    /// Fills in [`User::groups`]. Linear in the sizes of both files.
    pub fn join(&mut self, groups: &Groups) {
        let mut of_member: HashMap<&str, Vec<u32>> = HashMap::new();
        for group in &groups.groups {
            for member in &group.members {
                of_member.entry(member).or_default().push(group.gid);
            }
        }
        for user in &mut self.users {
            user.groups.extend(of_member.get(user.name.as_str()).into_iter().flatten());
            user.groups.sort_unstable();
            user.groups.dedup();
        }
    }

    /// The user of this name.
    pub fn by_name(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// The user of this UID; the first where several share it.
    pub fn by_uid(&self, uid: u32) -> Option<&User> {
        self.users.iter().find(|user| user.uid == uid)
    }
}

impl Groups {
    /// Adds the groups of a file.
    pub fn merge(&mut self, source: &Source) {
        for (number, line) in source.lines().filter(|(_, line)| is_entry(line)) {
            match group(source, number, line) {
                Ok(group) => self.groups.push(group),
                Err(expected) => self.faults.push(source.on(number, line, expected)),
            }
        }
    }

    /// The group of this name.
    pub fn by_name(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }
}

/// Empty lines and comments hold nothing, and lines that begin with `+` or `-` are instructions to the
/// `compat` service of NSS (`nsswitch.conf(5)`, "Compatibility mode").
fn is_entry(line: &str) -> bool {
    !matches!(line.trim_start().chars().next(), None | Some('#' | '+' | '-'))
}

fn user(source: &Source, number: u32, line: &str) -> Result<User, &'static str> {
    let fields: Vec<&str> = line.splitn(8, ':').collect();
    let &[name, _, uid, gid, _, home, shell] = fields.as_slice() else {
        return Err("expected 7 fields with colons between them");
    };
    if name.is_empty() {
        return Err("expected a user name");
    }
    let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else { return Err("expected a numeric UID and GID") };
    Ok(User {
        name: name.to_owned(),
        uid,
        gid,
        home: home.to_owned(),
        shell: shell.to_owned(),
        groups: vec![gid],
        at: source.on(number, &without_personal_fields(line), ()).at,
    })
}

/// A line of `passwd(5)` without the password field, which old systems fill, and without the comment,
/// which has people's names: reports and captures are given away.
pub fn without_personal_fields(line: &str) -> String {
    let mut fields: Vec<&str> = line.split(':').collect();
    if fields.len() == 7 {
        (fields[1], fields[4]) = ("x", "");
    }
    fields.join(":")
}

fn group(source: &Source, number: u32, line: &str) -> Result<Group, &'static str> {
    let fields: Vec<&str> = line.splitn(5, ':').collect();
    let &[name, _, gid, members] = fields.as_slice() else {
        return Err("expected 4 fields with colons between them");
    };
    if name.is_empty() {
        return Err("expected a group name");
    }
    let gid = gid.parse().map_err(|_| "expected a numeric GID")?;
    let members = members.split(',').map(str::trim).filter(|name| !name.is_empty());
    Ok(Group {
        name: name.to_owned(),
        gid,
        members: members.map(str::to_owned).collect(),
        at: source.on(number, line, ()).at,
    })
}

impl Facts {
    /// All users of `/etc/passwd`, and of `/usr/lib/passwd` where `nsswitch.conf` names `altfiles`
    /// (ostree-based systems), with their groups.
    ///
    /// # Errors
    /// Why one of the files that count could not be read.
    pub fn passwd(&self) -> Fact<Rc<Passwd>> {
        self.memo_fact("", || {
            let mut passwd = Passwd::default();
            for source in self.account_files("passwd")? {
                passwd.merge(&source);
            }
            passwd.join(&*self.groups()?);
            Ok(passwd)
        })
    }

    /// All groups of `/etc/group`, and of `/usr/lib/group` as with [`Facts::passwd`].
    ///
    /// # Errors
    /// Why one of the files that count could not be read.
    pub fn groups(&self) -> Fact<Rc<Groups>> {
        self.memo_fact("", || {
            let mut groups = Groups::default();
            // Without the file nobody has more than a primary group.
            for source in self.account_files("group").or_absent()?.unwrap_or_default() {
                groups.merge(&source);
            }
            Ok(groups)
        })
    }

    fn account_files(&self, database: &str) -> Fact<Vec<Rc<Source>>> {
        let etc = format!("/etc/{database}");
        let mut files: Vec<Rc<Source>> = self.source(&etc).or_absent()?.into_iter().collect();
        // An nsswitch.conf that cannot be read leaves the files that every system has.
        if self.nsswitch().is_ok_and(|nss| nss.has(database, "altfiles")) {
            files.extend(self.source(&format!("/usr/lib/{database}")).or_absent()?);
        }
        if files.is_empty() { Err(Unread::Absent { path: etc }) } else { Ok(files) }
    }

    /// The user of this name, if there is one in the files.
    ///
    /// # Errors
    /// As [`Facts::passwd`].
    pub fn user_by_name(&self, name: &str) -> Fact<Option<User>> {
        Ok(self.passwd()?.by_name(name).cloned())
    }

    /// The user of this UID, if there is one in the files.
    ///
    /// # Errors
    /// As [`Facts::passwd`].
    pub fn user_by_uid(&self, uid: u32) -> Fact<Option<User>> {
        Ok(self.passwd()?.by_uid(uid).cloned())
    }

    /// The users that people log in as: those from `UID_MIN` to `UID_MAX` of `login.defs(5)`.
    ///
    /// # Errors
    /// As [`Facts::passwd`] and [`Facts::login_defs`].
    pub fn regular_users(&self) -> Fact<Vec<User>> {
        let defs = self.login_defs()?;
        let regular = defs.number(Limit::UidMin)..=defs.number(Limit::UidMax);
        let passwd = self.passwd()?;
        let users = passwd.users.iter().filter(|user| regular.contains(&user.uid) && user.uid != NOBODY);
        Ok(users.cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    /// Excerpts of a Debian 13 machine.
    const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
_apt:x:42:65534::/nonexistent:/usr/sbin/nologin
edge:x:1000:1000::/home/edge:/bin/bash
";
    const GROUP: &str = "root:x:0:\nvideo:x:44:edge,other\nkvm:x:993:edge\nedge:x:1000:\n";

    fn host() -> TestHost {
        empty_host().file("/etc/passwd", PASSWD).file("/etc/group", GROUP)
    }

    #[test]
    fn a_user_has_all_groups_and_a_line() {
        let edge = host().facts().user_by_name("edge").unwrap().unwrap();
        assert_eq!((edge.uid, edge.gid, edge.home.as_str()), (1000, 1000, "/home/edge"));
        assert_eq!(edge.groups, [44, 993, 1000]);
        assert_eq!(edge.at.to_string(), "/etc/passwd:4");
        assert_eq!(host().facts().user_by_uid(42).unwrap().map(|user| user.name), Some("_apt".to_owned()));
        assert_eq!(host().facts().user_by_name("nils").unwrap(), None);
    }

    #[test]
    fn a_malformed_line_is_passed_over_and_remembered() {
        let text =
            format!("{PASSWD}\n# note\n+::::::\nbroken:x:1001\nneg:x:-1:1:::\n:x:5:5:::\nx:x:1:1:::::\n");
        let facts = host().file("/etc/passwd", text).facts();
        let passwd = facts.passwd().unwrap();
        assert_eq!(passwd.users.len(), 4);
        let faults: Vec<_> =
            passwd.faults.iter().map(|fault| (fault.at.line.unwrap(), fault.value)).collect();
        assert_eq!(
            faults,
            [
                (8, "expected 7 fields with colons between them"),
                (9, "expected a numeric UID and GID"),
                (10, "expected a user name"),
                (11, "expected 7 fields with colons between them"),
            ]
        );
    }

    #[test]
    fn altfiles_count_where_nsswitch_names_them() {
        let ostree = host().file("/usr/lib/passwd", "core:x:1001:1001::/var/home/core:/bin/bash\n");
        assert_eq!(ostree.clone().facts().user_by_name("core").unwrap(), None);
        let named = ostree.file("/etc/nsswitch.conf", "passwd: files altfiles systemd\n").facts();
        let core = named.user_by_name("core").unwrap().unwrap();
        assert_eq!(core.at.to_string(), "/usr/lib/passwd:1");
    }

    #[test]
    fn regular_users_follow_login_defs() {
        let names = |host: TestHost| -> Vec<String> {
            host.facts().regular_users().unwrap().into_iter().map(|user| user.name).collect()
        };
        assert_eq!(names(host()), ["edge"]);
        assert_eq!(names(host().file("/etc/login.defs", "UID_MIN 40\nUID_MAX 70000\n")), ["_apt", "edge"]);
        assert_eq!(names(host().file("/etc/login.defs", "UID_MIN 2000\n")), Vec::<String>::new());
    }

    #[test]
    fn an_unreadable_file_is_no_empty_file() {
        let denied = host().error("/etc/group", "denied").facts();
        assert_eq!(denied.passwd(), Err(Unread::Denied { path: "/etc/group".to_owned() }));
        assert!(empty_host().facts().passwd().unwrap_err().is_absent());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)(.{0,20}|[a-z]{1,5}:x:[0-9]{1,12}:[0-9]{1,3}::/:/bin/sh|\n){0,12}") {
            let source = Source::new("/etc/passwd", text);
            let (mut passwd, mut groups) = (Passwd::default(), Groups::default());
            passwd.merge(&source);
            groups.merge(&source);
            passwd.join(&groups);
        }
    }
}
