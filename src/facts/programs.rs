//! Where a program is found, and whether a given user may execute it.

use std::rc::Rc;

use super::users::User;
use super::{Evidence, Facts};
use crate::host::{Fact, Kind, OrAbsent, Stat, Unread};

/// Where programs are looked for, in this order: what systemd falls back to for services (systemd,
/// `src/basic/path-util.h`, `DEFAULT_PATH_COMPAT`), and `PATH` in the unit that K3s ships.
pub const SEARCH_PATH: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Where snap puts its programs; `/etc/environment` and sudoers of Ubuntu have it on `PATH`.
const SNAP_PATH: &str = "/snap/bin";

/// Directories that are links to another one of the list where `/usr` (and, on some, `sbin`) is merged.
const MERGED: [&str; 3] = ["/usr/sbin", "/sbin", "/bin"];

/// A program that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The path where it was found; a link is not resolved.
    pub path: String,
    /// What `stat(2)` says of it, links followed.
    pub stat: Stat,
}

impl Program {
    /// Whether the user may execute it by its mode bits.
    pub fn is_executable_by(&self, user: &User) -> bool {
        self.stat.allows(user.uid, &user.groups, 1)
    }

    /// Whether it runs as root whoever starts it, unless its file system is mounted `nosuid`.
    pub fn is_setuid_root(&self) -> bool {
        self.stat.uid == 0 && self.stat.mode & 0o4000 != 0
    }

    /// The path with mode and owner, as evidence.
    pub fn evidence(&self) -> Evidence {
        let Stat { mode, uid, gid, .. } = self.stat;
        Evidence::path(&self.path, format!("mode {mode:04o}, owner {uid}:{gid}"))
    }
}

/// [`SEARCH_PATH`] without the directories that are other names of one in it.
struct SearchPath(Vec<&'static str>);

impl Facts {
    /// The first file of this name on [`SEARCH_PATH`] that anyone may execute.
    ///
    /// # Errors
    /// Why a directory could not be searched, where no later one has the program.
    pub fn program(&self, name: &str) -> Fact<Option<Program>> {
        self.search(name, self.search_path().0.iter().copied(), None)
    }

    /// The first file of this name that the user may execute: on `PATH` where the user is the caller,
    /// so that it is known, in `~/.local/bin` and `~/bin`, which shells of most distributions put
    /// first, on [`SEARCH_PATH`] and among snaps. The user's services see [`SEARCH_PATH`] alone, as
    /// does [`Facts::program`].
    ///
    /// # Errors
    /// As [`Facts::program`].
    pub fn user_program(&self, name: &str, user: &User) -> Fact<Option<Program>> {
        let path = self.user_path(user);
        self.search(name, path.iter().map(String::as_str), Some(user))
    }

    /// A helper of Podman that is looked for on `PATH` as well (`pasta`, `slirp4netns`, `catatonit`):
    /// as [`Facts::helper_dir_program`], then as [`Facts::user_program`].
    ///
    /// # Errors
    /// As [`Facts::program`] and [`Facts::containers_conf`].
    pub fn helper_program(&self, name: &str, user: &User) -> Fact<Option<Program>> {
        match self.helper_dir_program(name, user)? {
            Some(program) => Ok(Some(program)),
            None => self.user_program(name, user),
        }
    }

    /// A helper of Podman that is looked for in the directories of `helper_binaries_dir` of the user's
    /// `containers.conf` and nowhere else (`netavark`, `aardvark-dns`; containers/common,
    /// `pkg/config/config.go`, `FindHelperBinary`, whose caller decides).
    ///
    /// # Errors
    /// As [`Facts::program`] and [`Facts::containers_conf`].
    pub fn helper_dir_program(&self, name: &str, user: &User) -> Fact<Option<Program>> {
        let conf = self.containers_conf(user)?;
        let helpers = conf.helper_binaries_dirs();
        // `$BINDIR`, the directory of podman itself, is in no default outside of macOS.
        let helpers = helpers.iter().map(String::as_str).filter(|dir| dir.starts_with('/'));
        self.search(name, helpers, Some(user))
    }

    /// The program at this path, whoever may execute it; `None` for what is no regular file.
    ///
    /// # Errors
    /// Why it could not be looked at.
    pub fn program_at(&self, path: &str) -> Fact<Option<Program>> {
        let stat = self.stat(path).or_absent()?.filter(|stat| stat.kind == Kind::File);
        Ok(stat.map(|stat| Program { path: path.to_owned(), stat }))
    }

    fn user_path(&self, user: &User) -> Vec<String> {
        let caller = self.caller();
        let known = caller.environment.get("PATH").filter(|_| caller.uid == user.uid);
        // The shell takes what is empty or relative from where it stands.
        let known = known.into_iter().flat_map(|path| path.split(':')).filter(|dir| dir.starts_with('/'));
        let home = user.home.trim_end_matches('/');
        let own = [format!("{home}/.local/bin"), format!("{home}/bin")];
        let system = self.search_path();
        let system = system.0.iter().chain([&SNAP_PATH]).map(|dir| (*dir).to_owned());
        let mut dirs: Vec<String> = Vec::new();
        for dir in known.map(str::to_owned).chain(own).chain(system) {
            if !dirs.contains(&dir) {
                dirs.push(dir);
            }
        }
        dirs
    }

    /// [`SEARCH_PATH`] without those directories that are links into it, so that no file is looked at
    /// under two names.
    fn search_path(&self) -> Rc<SearchPath> {
        self.memo("", || {
            let is_link = |dir: &str| match self.link_target(dir) {
                Ok(target) => target.is_some_and(|target| {
                    SEARCH_PATH.contains(&target.as_str())
                        || SEARCH_PATH.contains(&format!("/{target}").as_str())
                        || (dir == "/usr/sbin" && target == "bin")
                }),
                // Nothing is lost by looking there once more.
                Err(_) => false,
            };
            let keep = |dir: &&str| !MERGED.contains(dir) || !is_link(dir);
            SearchPath(SEARCH_PATH.iter().copied().filter(keep).collect())
        })
    }

    fn search<'a>(
        &self,
        name: &str,
        dirs: impl Iterator<Item = &'a str>,
        user: Option<&User>,
    ) -> Fact<Option<Program>> {
        let mut failure: Option<Unread> = None;
        for dir in dirs {
            let path = format!("{}/{name}", dir.trim_end_matches('/'));
            match self.stat(&path).or_absent() {
                Ok(None) => {}
                Ok(Some(stat)) => {
                    let program = Program { path, stat };
                    let executable = match user {
                        Some(user) => program.is_executable_by(user),
                        None => program.stat.mode & 0o111 != 0,
                    };
                    if program.stat.kind == Kind::File && executable {
                        return Ok(Some(program));
                    }
                }
                Err(why) => failure = failure.or(Some(why)),
            }
        }
        failure.map_or(Ok(None), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    fn edge() -> User {
        User { groups: vec![44, 1000], ..User::example("edge", 1000) }
    }

    fn path(found: Fact<Option<Program>>) -> Option<String> {
        found.unwrap().map(|program| program.path)
    }

    /// As on Debian 13: `/bin` and `/sbin` are links into `/usr`.
    fn merged() -> TestHost {
        let link = |host: TestHost, path: &str, target: &str| {
            host.path(path, |record| record.link = Some(target.to_owned()))
        };
        let host = link(link(empty_host(), "/bin", "usr/bin"), "/sbin", "usr/sbin");
        host.file("/usr/bin/newuidmap", "").mode("/usr/bin/newuidmap", "4755")
    }

    #[test]
    fn the_first_executable_file_counts() {
        let host = merged();
        let found = host.clone().facts().program("newuidmap").unwrap().unwrap();
        assert_eq!(found.path, "/usr/bin/newuidmap");
        assert!(found.is_setuid_root() && found.is_executable_by(&edge()));
        assert_eq!(found.evidence().text, "mode 4755, owner 0:0");
        let shadowed = host.clone().file("/usr/local/bin/newuidmap", "");
        assert_eq!(
            path(shadowed.clone().facts().program("newuidmap")).as_deref(),
            Some("/usr/bin/newuidmap")
        );
        let local = shadowed.mode("/usr/local/bin/newuidmap", "0755");
        assert_eq!(path(local.facts().program("newuidmap")).as_deref(), Some("/usr/local/bin/newuidmap"));
        let dir = host.clone().dir("/usr/local/bin/newuidmap", "0755", 0);
        assert_eq!(path(dir.facts().program("newuidmap")).as_deref(), Some("/usr/bin/newuidmap"));
        assert_eq!(path(host.facts().program("pasta")), None);
    }

    #[test]
    fn merged_directories_are_left_out() {
        let dirs = |host: TestHost| host.facts().search_path().0.len();
        assert_eq!(dirs(merged()), 4);
        assert_eq!(dirs(empty_host()), 6);
        // Arch and Fedora 42: all of sbin is bin.
        let arch = merged().path("/usr/sbin", |record| record.link = Some("bin".to_owned()));
        assert_eq!(dirs(arch), 3);
    }

    #[test]
    fn modes_are_those_of_the_user() {
        let host =
            merged().mode("/usr/bin/newuidmap", "4750").path("/usr/bin/newuidmap", |r| r.gid = Some(44));
        let found = host.clone().facts().user_program("newuidmap", &edge()).unwrap();
        assert!(found.is_some(), "group 44 may execute it");
        let other = User { groups: vec![1000], ..edge() };
        assert_eq!(host.facts().user_program("newuidmap", &other), Ok(None));
        let own = merged().file("/home/edge/bin/k3s", "").mode("/home/edge/bin/k3s", "0755");
        assert_eq!(
            path(own.clone().facts().user_program("k3s", &edge())).as_deref(),
            Some("/home/edge/bin/k3s")
        );
        assert_eq!(own.facts().program("k3s"), Ok(None));
    }

    #[test]
    fn path_is_that_of_the_caller() {
        let kind = "/home/edge/go/bin/kind";
        let host = merged().file(kind, "").mode(kind, "0755");
        let own = host.clone().caller(1000, &[("PATH", "bin::/home/edge/go/bin:/usr/bin")]);
        assert_eq!(path(own.facts().user_program("kind", &edge())).as_deref(), Some(kind));
        let root = host.caller(0, &[("PATH", "/home/edge/go/bin")]);
        assert_eq!(path(root.facts().user_program("kind", &edge())), None);
        let snap = merged().file("/snap/bin/jq", "").mode("/snap/bin/jq", "0755");
        assert_eq!(path(snap.facts().user_program("jq", &edge())).as_deref(), Some("/snap/bin/jq"));
    }

    #[test]
    fn a_directory_that_cannot_be_searched_is_no_proof_of_absence() {
        let host = merged().error("/usr/local/bin/pasta", "denied");
        assert!(host.clone().facts().program("pasta").is_err());
        let later = host.file("/usr/bin/pasta", "").mode("/usr/bin/pasta", "0755");
        assert_eq!(path(later.facts().program("pasta")).as_deref(), Some("/usr/bin/pasta"));
    }

    #[test]
    fn helpers_are_looked_for_where_podman_does() {
        let host = merged().file("/usr/lib/podman/netavark", "").mode("/usr/lib/podman/netavark", "0755");
        let found = |host: TestHost| path(host.facts().helper_program("netavark", &edge()));
        assert_eq!(found(host.clone()).as_deref(), Some("/usr/lib/podman/netavark"));
        let conf = "[engine]\nhelper_binaries_dir = [\"$BINDIR/../lib\", \"/opt/podman\"]\n";
        assert_eq!(found(host.file("/etc/containers/containers.conf", conf)), None);
        let on_path = merged().file("/usr/bin/netavark", "").mode("/usr/bin/netavark", "0755");
        assert_eq!(found(on_path.clone()).as_deref(), Some("/usr/bin/netavark"));
        assert_eq!(on_path.facts().helper_dir_program("netavark", &edge()), Ok(None));
    }
}
