//! Units of a user manager, and what would start them: enough to tell whether `podman.socket` is
//! there and enabled for a user (`systemd.unit(5)`, "User Unit Search Path"; systemd,
//! `src/libsystemd/sd-path/path-lookup.c` and `src/core/load-dropin.c`).

use std::collections::BTreeMap;
use std::rc::Rc;

use super::unit::{SearchPath, Unit, resolve};
use super::users::User;
use super::{Evidence, Facts};
use crate::host::{Fact, Unread};

/// Whether something starts a user unit by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserUnitEnablement {
    /// The unit. It exists where it has a fragment, and never starts where it is masked.
    pub unit: Rc<Unit>,
    /// The links in `*.wants`, `*.requires` and `*.upholds` directories that pull it in, by path;
    /// the text is the target of the link.
    pub pulled_in_by: Vec<Evidence>,
    /// Such links that are masks: they undo those of the same directory name below.
    pub masked_by: Vec<Evidence>,
}

impl UserUnitEnablement {
    /// Whether the unit exists, is not masked and is pulled in.
    pub fn is_enabled(&self) -> bool {
        self.unit.fragment.is_some() && self.unit.masked.is_none() && !self.pulled_in_by.is_empty()
    }
}

impl Facts {
    /// A unit of the user manager of the user with this home directory.
    ///
    /// # Errors
    /// Where a directory or file that could decide what the unit says cannot be read, by us or by
    /// that user.
    pub fn user_unit(&self, home: &str, uid: u32, gids: &[u32], name: &str) -> Fact<Rc<Unit>> {
        let key = format!("{uid} {home} {name}");
        self.memo_fact(&key, || {
            self.load_unit(
                name,
                &SearchPath {
                    dirs: self.user_unit_dirs(home, uid),
                    read: &|path| self.user_source(path, uid, gids),
                    collect: &|dirs| self.user_conf_files_in(dirs, uid, gids),
                },
            )
        })
    }

    /// Whether a unit of a user manager is there and pulled in by another, globally or by the user.
    /// That other unit (`sockets.target`, `default.target`) is not looked at.
    ///
    /// # Errors
    /// As [`Facts::user_unit`].
    pub fn user_unit_enabled(
        &self,
        home: &str,
        uid: u32,
        gids: &[u32],
        name: &str,
    ) -> Fact<Rc<UserUnitEnablement>> {
        let key = format!("{uid} {home} {name}");
        self.memo_fact(&key, || {
            let unit = self.user_unit(home, uid, gids, name)?;
            let mut enablement = UserUnitEnablement { unit, pulled_in_by: Vec::new(), masked_by: Vec::new() };
            // The first link decides for all directories of one name, `sockets.target.wants` say.
            let mut decided: BTreeMap<String, ()> = BTreeMap::new();
            for dir in self.user_unit_dirs(home, uid) {
                for entry in self.names_in(&dir)?.iter() {
                    let pulls =
                        [".wants", ".requires", ".upholds"].iter().any(|end| entry.name.ends_with(end));
                    let below = format!("{dir}/{}", entry.name);
                    if !pulls || decided.contains_key(&entry.name) || !self.holds(&below, name)? {
                        continue;
                    }
                    let path = format!("{below}/{name}");
                    match self.link_target(&path) {
                        Ok(Some(target)) if resolve(&below, &target) == "/dev/null" => {
                            enablement.masked_by.push(Evidence::path(&path, target));
                        }
                        Ok(Some(target)) => enablement.pulled_in_by.push(Evidence::path(&path, target)),
                        // systemd warns of a file that is no link, and passes it over.
                        Ok(None) | Err(Unread::Absent { .. }) => {}
                        Err(why) => return Err(why),
                    }
                    decided.insert(entry.name.clone(), ());
                }
            }
            Ok(enablement)
        })
    }

    /// Whether the user manager of a user has a unit of this name, be it a template's.
    ///
    /// # Errors
    /// Where a directory cannot be read, by us or, of the user's own, by that user.
    pub fn has_user_unit(&self, user: &User, name: &str) -> Fact<bool> {
        let template = name
            .split_once('@')
            .and_then(|(unit, rest)| rest.rsplit_once('.').map(|(_, kind)| format!("{unit}@.{kind}")));
        for dir in self.user_unit_dirs(&user.home, user.uid) {
            if dir.starts_with(&user.home) && !self.listable(&dir, user)? {
                continue;
            }
            if self.holds(&dir, name)?
                || template.as_ref().map_or(Ok(false), |name| self.holds(&dir, name))?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The search path of a user manager, highest first, without `XDG_*` variables set.
    pub fn user_unit_dirs(&self, home: &str, uid: u32) -> Vec<String> {
        let home = home.trim_end_matches('/');
        let runtime = format!("/run/user/{uid}/systemd");
        let mut dirs = vec![
            format!("{home}/.config/systemd/user.control"),
            format!("{runtime}/user.control"),
            format!("{runtime}/transient"),
            format!("{runtime}/generator.early"),
            format!("{home}/.config/systemd/user"),
            "/etc/xdg/systemd/user".to_owned(),
            "/etc/systemd/user".to_owned(),
            format!("{runtime}/user"),
            "/run/systemd/user".to_owned(),
            format!("{runtime}/generator"),
            format!("{home}/.local/share/systemd/user"),
            "/usr/local/share/systemd/user".to_owned(),
            "/usr/share/systemd/user".to_owned(),
            "/usr/local/lib/systemd/user".to_owned(),
            "/usr/lib/systemd/user".to_owned(),
            format!("{runtime}/generator.late"),
        ];
        dirs.retain(|dir| self.is_there_at_boot(dir));
        dirs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    const HOME: &str = "/home/edge";

    fn host() -> TestHost {
        empty_host()
            .file("/usr/lib/systemd/user/podman.socket", "[Socket]\nListenStream=%t/podman/podman.sock\n")
    }

    fn link(host: TestHost, path: &str, to: &str) -> TestHost {
        host.file(path, "").path(path, |record| record.link = Some(to.to_owned()))
    }

    fn enablement(host: TestHost) -> Rc<UserUnitEnablement> {
        host.facts().user_unit_enabled(HOME, 1000, &[1000], "podman.socket").unwrap()
    }

    #[test]
    fn a_unit_is_enabled_by_a_link_of_the_user_or_of_all_users() {
        let target = "/usr/lib/systemd/user/podman.socket";
        assert!(!enablement(host()).is_enabled());
        for dir in ["/home/edge/.config/systemd/user", "/etc/systemd/user", "/usr/lib/systemd/user"] {
            let path = format!("{dir}/sockets.target.wants/podman.socket");
            let found = enablement(link(host(), &path, target));
            assert!(found.is_enabled(), "{dir}");
            assert_eq!(found.pulled_in_by, [Evidence::path(&path, target)]);
        }
        let path = "/etc/systemd/user/sockets.target.wants/podman.socket";
        assert!(!enablement(link(empty_host(), path, target)).is_enabled());
        assert!(!enablement(host().file(path, "no link")).is_enabled());
    }

    #[test]
    fn a_link_to_null_undoes_the_link_below_it() {
        let all = "/etc/systemd/user/sockets.target.wants/podman.socket";
        let own = "/home/edge/.config/systemd/user/sockets.target.wants/podman.socket";
        let linked = link(host(), all, "/usr/lib/systemd/user/podman.socket");
        let found = enablement(link(linked, own, "/dev/null"));
        assert!(!found.is_enabled());
        assert_eq!(found.masked_by, [Evidence::path(own, "/dev/null")]);
        let masked = link(host(), "/etc/systemd/user/podman.socket", "/dev/null");
        assert!(enablement(masked).unit.masked.is_some());
    }

    #[test]
    fn what_the_user_cannot_read_is_not_read_for_them() {
        let own = "/home/edge/.config/systemd/user/podman.socket";
        let secret = host().file(own, "[Socket]\n").path(own, |record| record.mode = Some("0600".to_owned()));
        let got = secret.facts().user_unit(HOME, 1000, &[1000], "podman.socket");
        assert_eq!(got, Err(Unread::Denied { path: own.to_owned() }));
        let closed = host().error("/home/edge/.config/systemd/user", "denied").facts();
        assert!(closed.user_unit_enabled(HOME, 1000, &[], "podman.socket").is_err());
    }
}
