//! The Quadlet files of a rootless user (`podman-systemd.unit(5)`, "Podman rootless unit search path"),
//! from which a generator makes units of the user manager, and their drop-ins.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::users::User;
use super::version::Version;
use super::{Facts, Source};
use crate::host::{Fact, OrAbsent, Unread};
use crate::workload::quadlet::Kind;

/// More files than anybody writes.
const MOST: usize = 1024;
/// More than anybody writes into one, and into all of a user with their drop-ins.
const FILE_LIMIT_BYTES: u64 = 256 << 10;
const ALL_LIMIT_BYTES: usize = 4 << 20;
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
    /// Its text, or why it cannot be read, by us or by that user.
    pub source: Fact<Rc<Source>>,
    /// The file of the same name that Quadlet takes in its place.
    pub shadowed_by: Option<String>,
}

/// What was read of a user.
#[derive(Debug, Default)]
struct Texts {
    by_path: RefCell<BTreeMap<String, Fact<Rc<Source>>>>,
    bytes: Cell<usize>,
}

/// Where Quadlet looks, first what counts most.
#[derive(Debug)]
struct Searched {
    dirs: Vec<String>,
    /// The folders of drop-ins, in that order, by their name.
    drop_ins: BTreeMap<String, Vec<String>>,
}

/// Whether a folder is looked into: not those of drop-ins, nor those of single users.
fn is_searched(dir: &str, folder: &str) -> bool {
    let is_users = SHARED.contains(&dir) && folder.bytes().all(|byte| byte.is_ascii_digit());
    !folder.ends_with(".d") && !is_users
}

/// The names of the folders of drop-ins of a file, first what counts most (podman:
/// `pkg/systemd/parser/unitfile.go`, `GetUnitDropinPaths`).
fn drop_in_folders(name: &str) -> Vec<String> {
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let (unit, instance) = base.split_once('@').map_or((base, None), |(unit, of)| (unit, Some(of)));
    let mut names = vec![format!("{extension}.d")];
    for (at, _) in unit.match_indices('-') {
        names.push(format!("{}.{extension}.d", &unit[..=at]));
        if instance.is_some() {
            names.push(format!("{}@.{extension}.d", &unit[..=at]));
        }
    }
    if instance.is_some_and(|instance| !instance.is_empty()) {
        names.push(format!("{unit}@.{extension}.d"));
    }
    names.push(format!("{name}.d"));
    names.reverse();
    names
}

impl Facts {
    /// The Quadlet files of a user: those in the runtime directory, the user's, and the administrator's and
    /// the vendor's for all users and for this one, with the folders below (podman:
    /// `pkg/systemd/quadlet/unitdirs.go`, `getRootlessDirs`, `AppendSubPaths`). Of several with one name the
    /// first counts. Folders that are links are not followed.
    ///
    /// # Errors
    /// Where a directory cannot be read, by us or by that user, and where there are more files than anybody
    /// writes. Files past a sum of bytes that nobody writes are there, and cannot be read.
    pub fn quadlets(&self, user: &User) -> Fact<Vec<Quadlet>> {
        let mut found: Vec<Quadlet> = Vec::new();
        let mut first: BTreeMap<String, String> = BTreeMap::new();
        for dir in &self.quadlet_dirs(user)?.dirs {
            for entry in self.names_in(dir)?.iter() {
                if entry.is_dir || Kind::of(&entry.name).is_none() {
                    continue;
                }
                let path = format!("{dir}/{}", entry.name);
                let shadowed_by = first.get(&entry.name).cloned();
                first.entry(entry.name.clone()).or_insert_with(|| path.clone());
                let source = match self.quadlet_source(&path, user) {
                    // A link to /dev/null takes the place of another one.
                    Err(Unread::Absent { .. } | Unread::Special { .. }) => continue,
                    source => source,
                };
                found.push(Quadlet { path, source, shadowed_by });
                if found.len() > MOST {
                    let expected = format!("more than {MOST} Quadlet files are not looked at");
                    return Err(Unread::Malformed { path: dir.clone(), line: None, expected });
                }
            }
        }
        Ok(found)
    }

    /// The drop-ins of a Quadlet file with this name, in the order in which they are read; Podman has them
    /// from 5.0 on, and all folders from 5.2 on.
    ///
    /// # Errors
    /// As [`Facts::quadlets`], and where there are some and they depend on the version of Podman.
    pub fn quadlet_drop_ins(&self, user: &User, name: &str) -> Fact<Vec<Rc<Source>>> {
        let podman = self.podman(user)?;
        let version = podman.as_ref().and_then(|podman| podman.version.as_ref().ok());
        let is_at_least =
            |parts: &[u64]| version.and_then(|version| version.value.is_at_least(&Version::new(parts)));
        if is_at_least(&[5]) == Some(false) {
            return Ok(Vec::new());
        }
        let searched = self.quadlet_dirs(user)?;
        let mut seen = BTreeSet::new();
        let mut paths: Vec<(String, String)> = Vec::new();
        for dir in drop_in_folders(name).iter().filter_map(|folder| searched.drop_ins.get(folder)).flatten() {
            self.listable(dir, user)?;
            for entry in self.names_in(dir)?.iter().filter(|entry| entry.name.ends_with(".conf")) {
                if seen.insert(entry.name.clone()) {
                    paths.push((entry.name.clone(), format!("{dir}/{}", entry.name)));
                }
                if paths.len() > MOST {
                    let expected = format!("more than {MOST} drop-ins are not looked at");
                    return Err(Unread::Malformed { path: dir.clone(), line: None, expected });
                }
            }
        }
        if let Some((_, path)) = paths.first().filter(|_| is_at_least(&[5, 2]) != Some(true)) {
            let expected = "whether it counts depends on the version of Podman".to_owned();
            return Err(Unread::Malformed { path: path.clone(), line: None, expected });
        }
        paths.sort();
        paths.iter().map(|(_, path)| self.quadlet_source(path, user)).collect()
    }

    /// The text of a file that a `.kube` file names, within the bounds of Quadlet files.
    ///
    /// # Errors
    /// Where it cannot be read, by us or by that user, and where a capture is made, which has no place for
    /// what can hold secrets.
    pub fn quadlet_yaml(&self, path: &str, user: &User) -> Fact<Rc<Source>> {
        match self.host.is_recorded() {
            true => Err(Unread::NotCaptured { path: path.to_owned() }),
            false => self.quadlet_source(path, user),
        }
    }

    /// The text of a file of Quadlet, as [`Facts::user_source`], within bounds of its own.
    fn quadlet_source(&self, path: &str, user: &User) -> Fact<Rc<Source>> {
        let texts = self.memo(&user.name, Texts::default);
        if let Some(known) = texts.by_path.borrow().get(path) {
            return known.clone();
        }
        let bytes = texts.bytes.get();
        let read = || {
            if bytes > ALL_LIMIT_BYTES {
                let expected =
                    format!("Quadlet files of more than {ALL_LIMIT_BYTES} bytes are not looked at");
                return Err(Unread::Malformed { path: path.to_owned(), line: None, expected });
            }
            let (stat, read) = self.host.read(path, FILE_LIMIT_BYTES)?;
            match stat.allows(user.uid, &user.groups, 4) {
                true => Ok(Rc::new(Source::from_bytes(path, read))),
                false => Err(Unread::Denied { path: path.to_owned() }),
            }
        };
        let got = read();
        texts.bytes.set(bytes + got.as_ref().map_or(0, |source| source.text().len()));
        texts.by_path.borrow_mut().insert(path.to_owned(), got.clone());
        got
    }

    /// Whether a user has units of their own, which can start the services of Quadlet files.
    ///
    /// # Errors
    /// Where the directory cannot be read, by us or by that user.
    pub fn has_own_units(&self, user: &User) -> Fact<bool> {
        let dir = format!("{}/.config/systemd/user", user.home.trim_end_matches('/'));
        Ok(self.listable(&dir, user)? && self.names_in(&dir)?.iter().any(|entry| !entry.is_dir))
    }

    /// Whether there is such a directory; a link of the user must not list for root what the user could not
    /// list.
    pub(super) fn listable(&self, dir: &str, user: &User) -> Fact<bool> {
        match self.stat(dir).or_absent()? {
            Some(stat) if !stat.allows(user.uid, &user.groups, 5) => {
                Err(Unread::Denied { path: dir.to_owned() })
            }
            found => Ok(found.is_some()),
        }
    }

    fn quadlet_dirs(&self, user: &User) -> Fact<Rc<Searched>> {
        self.memo_fact(&user.name, || {
            let mut tops: Vec<String> = vec![
                format!("/run/user/{}/containers/systemd", user.uid),
                format!("{}/.config/containers/systemd", user.home.trim_end_matches('/')),
            ];
            let is_6 = self.podman_is_at_least(user, 6) == Some(true);
            for shared in SHARED.into_iter().take(if is_6 { 2 } else { 1 }) {
                tops.extend([shared.to_owned(), format!("{shared}/{}", user.uid)]);
            }
            let mut left: Vec<(String, u32)> = tops.into_iter().rev().map(|dir| (dir, 0)).collect();
            let mut searched = Searched { dirs: Vec::new(), drop_ins: BTreeMap::new() };
            let mut folders = 0;
            while let Some((dir, depth)) = left.pop() {
                if !self.listable(&dir, user)? {
                    continue;
                }
                let mut below = Vec::new();
                for entry in self.names_in(&dir)?.iter() {
                    let path = format!("{dir}/{}", entry.name);
                    if entry.name.ends_with(".d") {
                        searched.drop_ins.entry(entry.name.clone()).or_default().push(path);
                    } else if entry.is_dir
                        && depth < DEEPEST
                        && folders < MOST_FOLDERS
                        && is_searched(&dir, &entry.name)
                    {
                        folders += 1;
                        below.push((path, depth + 1));
                    }
                }
                left.extend(below.into_iter().rev());
                searched.dirs.push(dir);
            }
            Ok(searched)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::drop_in_folders;
    use crate::facts::Evidence;
    use crate::facts::testing::{TestHost, empty_host, podman};
    use crate::facts::users::User;
    use crate::host::Unread;

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
        assert!(found[0].source.as_ref().unwrap().text().contains("User=x"));
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
        let expected = vec![
            "/run/user/1000/containers/systemd/a.pod".to_owned(),
            format!("{DIR}/web.container"),
            format!("{DIR}/site/web/a.pod"),
            format!("{users}/a.pod"),
            format!("{users}/site/a.pod"),
            format!("{users}/1000/a.pod"),
        ];
        let found = paths(host.clone());
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
        let one = host().mode(&format!("{DIR}/web.container"), "0600").facts();
        assert!(one.quadlets(&edge()).unwrap()[0].source.is_err());
    }

    #[test]
    fn the_first_of_a_name_counts() {
        let users = "/etc/containers/systemd/users";
        let host = host()
            .dir(users, "0755", 0)
            .file(&format!("{users}/web.container"), "")
            .file(&format!("{users}/own.container"), "");
        let found = host.facts().quadlets(&edge()).unwrap();
        let shadowed: Vec<Option<&str>> = found.iter().map(|one| one.shadowed_by.as_deref()).collect();
        assert_eq!(shadowed, [None, None, Some(format!("{DIR}/web.container").as_str())]);
        assert_eq!(found[1].path, format!("{users}/own.container"));
    }

    #[test]
    fn drop_ins_by_version() {
        let drop_in = |host: TestHost, folder: &str, name: &str| {
            let dir = format!("{DIR}/{folder}");
            host.dir(&dir, "0755", 1000).file(&format!("{dir}/{name}"), "[Container]\n")
        };
        let host = drop_in(host(), "my-web.container.d", "20.conf");
        let host = drop_in(drop_in(host, "container.d", "20.conf"), "my-.container.d", "10.conf");
        let host = drop_in(host, "web.container.d", "30.txt");
        let of = |host: TestHost, name: &str| {
            let drop_ins = host.facts().quadlet_drop_ins(&edge(), name)?;
            Ok(drop_ins.iter().map(|source| source.path().replace(DIR, "")).collect::<Vec<_>>())
        };
        let with = |version| podman(host.clone(), version);
        let expected = ["/my-.container.d/10.conf", "/my-web.container.d/20.conf"];
        assert_eq!(of(with("5.4.2-1"), "my-web.container").unwrap(), expected);
        assert_eq!(of(with("5.4.2-1"), "web.container").unwrap(), ["/container.d/20.conf"]);
        assert_eq!(of(with("5.4.2-1"), "web.pod"), Ok::<_, Unread>(Vec::new()));
        assert_eq!(of(with("4.9.3-1"), "my-web.container"), Ok(Vec::new()));
        assert!(of(with("5.0.1-1"), "my-web.container").is_err(), "some folders came later");
        assert_eq!(of(with("5.0.1-1"), "web.pod"), Ok(Vec::new()));
    }

    #[test]
    fn the_names_of_folders() {
        assert_eq!(
            drop_in_folders("a-b@c.container"),
            ["a-b@c.container.d", "a-b@.container.d", "a-@.container.d", "a-.container.d", "container.d",]
        );
    }

    #[test]
    fn more_files_than_anybody_writes() {
        let many = (0..1100).fold(host(), |host, n| host.file(&format!("{DIR}/{n}.container"), ""));
        assert!(many.facts().quadlets(&edge()).is_err());
    }

    #[test]
    fn more_text_than_anybody_writes() {
        let large = |bytes: usize| "#".repeat(bytes);
        let one = host().file(&format!("{DIR}/a.container"), large(300 << 10)).facts();
        let found = one.quadlets(&edge()).unwrap();
        assert!(matches!(found[0].source, Err(Unread::TooLarge { .. })) && found[1].source.is_ok());
        let many = (10..40).fold(host(), |host, n| host.file(&format!("{DIR}/{n}.pod"), large(200 << 10)));
        let facts = many.facts();
        let found = facts.quadlets(&edge()).unwrap();
        let read = found.iter().filter(|quadlet| quadlet.source.is_ok()).count();
        assert_eq!((found.len(), read), (31, 21), "4 MiB and the file that goes past it");
        let why = found[30].source.as_ref().unwrap_err().to_string();
        assert!(why.ends_with("Quadlet files of more than 4194304 bytes are not looked at"), "{why}");
        assert_eq!(facts.quadlets(&edge()).unwrap(), found, "as often as it is asked");
    }
}
