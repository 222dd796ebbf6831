//! The Quadlet files of a rootless user (`podman-systemd.unit(5)`, "Podman rootless unit search path"),
//! from which a generator makes units of the user manager. Their drop-ins are not looked at.

use std::collections::VecDeque;

use super::unit_syntax::{Assignment, assignments};
use super::users::User;
use super::{Facts, Source};
use crate::host::{Fact, OrAbsent, Unread};

/// Those that become a service which runs Podman.
const SUFFIXES: [&str; 7] = [".container", ".pod", ".kube", ".volume", ".network", ".image", ".build"];
/// More files than anybody writes.
const MOST: usize = 256;
/// Folders below a directory, and how deep: more than anybody makes.
const MOST_FOLDERS: usize = 64;
const DEEPEST: u32 = 8;
/// Where the administrator and the vendor have those for all users, the latter from Podman 6 on.
const SHARED: [&str; 2] = ["/etc/containers/systemd/users", "/usr/share/containers/systemd/users"];

/// A Quadlet file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quadlet {
    /// The file.
    pub path: String,
    /// Its sections, also those without a key.
    pub sections: Vec<String>,
    /// What it says.
    pub assignments: Vec<Assignment>,
}

impl Quadlet {
    fn parse(source: &Source) -> Quadlet {
        let section = |line: &str| Some(line.trim().strip_prefix('[')?.strip_suffix(']')?.to_owned());
        Quadlet {
            path: source.path().to_owned(),
            sections: source.lines().filter_map(|(_, line)| section(line)).collect(),
            assignments: assignments(source),
        }
    }
}

/// Whether a folder is looked into: not those of drop-ins, nor those of single users.
fn is_searched(dir: &str, folder: &str) -> bool {
    let is_users = SHARED.contains(&dir) && folder.bytes().all(|byte| byte.is_ascii_digit());
    !folder.ends_with(".d") && !is_users
}

impl Facts {
    /// The Quadlet files of a user: those in the runtime directory, the user's, and the administrator's and
    /// the vendor's for this one and for all users, with the folders below (podman:
    /// `pkg/systemd/quadlet/unitdirs.go`, `AppendSubPaths`). Folders that are links are not followed.
    ///
    /// # Errors
    /// Where a directory or a file cannot be read, by us or by that user.
    pub fn quadlets(&self, user: &User) -> Fact<Vec<Quadlet>> {
        let mut dirs: Vec<String> = vec![
            format!("/run/user/{}/containers/systemd", user.uid),
            format!("{}/.config/containers/systemd", user.home.trim_end_matches('/')),
        ];
        let is_6 = self.podman_is_at_least(user, 6) == Some(true);
        for shared in SHARED.into_iter().take(if is_6 { 2 } else { 1 }) {
            dirs.extend([format!("{shared}/{}", user.uid), shared.to_owned()]);
        }
        let mut left: VecDeque<(String, u32)> = dirs.into_iter().map(|dir| (dir, 0)).collect();
        let mut found = Vec::new();
        let mut folders = 0;
        while let Some((dir, depth)) = left.pop_front() {
            // A link of the user must not list for root what the user could not list.
            match self.stat(&dir).or_absent()? {
                None => continue,
                Some(stat) if !stat.allows(user.uid, &user.groups, 5) => {
                    return Err(Unread::Denied { path: dir });
                }
                Some(_) => {}
            }
            for entry in self.names_in(&dir)?.iter().take(MOST) {
                let path = format!("{dir}/{}", entry.name);
                if entry.is_dir && depth < DEEPEST && folders < MOST_FOLDERS && is_searched(&dir, &entry.name)
                {
                    folders += 1;
                    left.push_back((path, depth + 1));
                } else if !entry.is_dir && SUFFIXES.iter().any(|suffix| entry.name.ends_with(suffix)) {
                    let source = self.user_source(&path, user.uid, &user.groups);
                    found.extend(source.or_absent()?.map(|source| Quadlet::parse(&source)));
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use crate::facts::Evidence;
    use crate::facts::testing::{TestHost, empty_host, podman};
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

    fn paths(host: TestHost) -> Vec<String> {
        host.facts().quadlets(&edge()).unwrap().into_iter().map(|quadlet| quadlet.path).collect()
    }

    #[test]
    fn folders_below_are_searched() {
        let file =
            |host: TestHost, dir: &str| host.dir(dir, "0755", 0).file(&format!("{dir}/a.pod"), "[Pod]\n");
        let users = "/etc/containers/systemd/users";
        let below = format!("{DIR}/site/web");
        let host = host().dir(&format!("{DIR}/site"), "0755", 1000);
        let mut host = file(file(host, &below), "/run/user/1000/containers/systemd");
        for dir in [users, &format!("{users}/1000"), &format!("{users}/1001"), &format!("{users}/site")] {
            host = file(host, dir);
        }
        let host = file(host, &format!("{DIR}/web.container.d"));
        let mut expected = vec![
            "/run/user/1000/containers/systemd/a.pod".to_owned(),
            format!("{DIR}/web.container"),
            format!("{users}/1000/a.pod"),
            format!("{users}/a.pod"),
            format!("{DIR}/site/web/a.pod"),
            format!("{users}/site/a.pod"),
        ];
        let mut found = paths(host.clone());
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        let deep = (0..40).fold(DIR.to_owned(), |dir, _| format!("{dir}/x"));
        assert_eq!(paths(file(host, &deep)).len(), expected.len(), "not for ever");
    }

    #[test]
    fn the_vendors_count_with_podman_6() {
        let vendor = "/usr/share/containers/systemd/users/1000";
        let host = empty_host().dir(vendor, "0755", 0).file(&format!("{vendor}/a.pod"), "[Pod]\n");
        assert_eq!(paths(podman(host.clone(), "5.8.2-1")).len(), 0);
        assert_eq!(paths(podman(host, "6.0.0-1")), [format!("{vendor}/a.pod")]);
    }

    #[test]
    fn what_the_user_cannot_list_is_not_listed() {
        let closed = host().dir(DIR, "0700", 0).facts();
        assert!(closed.quadlets(&edge()).is_err());
    }
}
