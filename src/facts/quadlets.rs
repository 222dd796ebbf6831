//! The Quadlet files of a rootless user (`podman-systemd.unit(5)`, "Podman rootless unit search path"),
//! from which a generator makes units of the user manager. Their drop-ins are not looked at.

use super::unit_syntax::{Assignment, assignments};
use super::users::User;
use super::{Facts, Source};
use crate::host::{Fact, OrAbsent, Unread};

/// Those that become a service which runs Podman.
const SUFFIXES: [&str; 7] = [".container", ".pod", ".kube", ".volume", ".network", ".image", ".build"];
/// More files than anybody writes.
const MOST: usize = 256;

/// A Quadlet file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quadlet {
    /// The file.
    pub path: String,
    /// What it says.
    pub assignments: Vec<Assignment>,
}

impl Quadlet {
    fn parse(source: &Source) -> Quadlet {
        Quadlet { path: source.path().to_owned(), assignments: assignments(source) }
    }
}

impl Facts {
    /// The Quadlet files of a user: the administrator's for all users and for this one, and the user's.
    /// Folders below these are not looked into.
    ///
    /// # Errors
    /// Where a directory or a file cannot be read, by us or by that user.
    pub fn quadlets(&self, user: &User) -> Fact<Vec<Quadlet>> {
        let shared = "/etc/containers/systemd/users";
        let dirs = [
            format!("{}/.config/containers/systemd", user.home.trim_end_matches('/')),
            format!("{shared}/{}", user.uid),
            shared.to_owned(),
        ];
        let mut found = Vec::new();
        for dir in dirs {
            // A link of the user must not list for root what the user could not list.
            match self.stat(&dir).or_absent()? {
                None => continue,
                Some(stat) if !stat.allows(user.uid, &user.groups, 5) => {
                    return Err(Unread::Denied { path: dir });
                }
                Some(_) => {}
            }
            for entry in self.names_in(&dir)?.iter().take(MOST) {
                if entry.is_dir || !SUFFIXES.iter().any(|suffix| entry.name.ends_with(suffix)) {
                    continue;
                }
                let source = self.user_source(&format!("{dir}/{}", entry.name), user.uid, &user.groups);
                found.extend(source.or_absent()?.map(|source| Quadlet::parse(&source)));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use crate::facts::Evidence;
    use crate::facts::testing::{TestHost, empty_host};
    use crate::facts::users::User;

    const DIR: &str = "/home/edge/.config/containers/systemd";

    fn edge() -> User {
        User {
            name: "edge".to_owned(),
            uid: 1000,
            gid: 1000,
            home: "/home/edge/".to_owned(),
            shell: "/bin/bash".to_owned(),
            groups: vec![1000],
            at: Evidence::path("/etc/passwd", ""),
        }
    }

    fn host() -> TestHost {
        empty_host()
            .dir(DIR, "0755", 1000)
            .file(&format!("{DIR}/web.container"), "[Container]\nImage=nginx\n[Service]\nUser=x\n")
            .file(&format!("{DIR}/notes.txt"), "[Service]\n")
    }

    #[test]
    fn the_users_and_the_administrators() {
        let facts = host()
            .dir("/etc/containers/systemd/users", "0755", 0)
            .file("/etc/containers/systemd/users/all.kube", "[Kube]\n")
            .facts();
        let found = facts.quadlets(&edge()).unwrap();
        let paths: Vec<&str> = found.iter().map(|quadlet| quadlet.path.as_str()).collect();
        assert_eq!(paths, [&format!("{DIR}/web.container"), "/etc/containers/systemd/users/all.kube"]);
        assert_eq!(found[0].assignments[1].key, "User");
        assert!(empty_host().facts().quadlets(&edge()).unwrap().is_empty());
    }

    #[test]
    fn what_the_user_cannot_list_is_not_listed() {
        let closed = host().dir(DIR, "0700", 0).facts();
        assert!(closed.quadlets(&edge()).is_err());
    }
}
