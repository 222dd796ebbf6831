//! Which files of one name Podman 6 reads for a rootless user: the same rules for `containers.conf`,
//! `storage.conf` and `registries.conf` (container-libs, `storage/pkg/configfile/parse.go`). Earlier
//! versions have rules of their own for each, which stand with them.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::containers_conf::user_containers_path;
use super::users::User;
use super::{Facts, Source};
use crate::host::{Fact, OrAbsent, Unread};

/// Where the vendor and the administrator have them, the weaker first.
const DIRS: [&str; 2] = ["/usr/share/containers", "/etc/containers"];

impl Facts {
    /// The files that count, in the order in which they are applied, key by key: the user's file, else the
    /// administrator's, else the vendor's; then the drop-ins of all of them by name, of which one in a stronger
    /// directory replaces those of its name in weaker ones. `stem` is the name without `.conf`.
    ///
    /// # Errors
    /// Why a file or directory that exists could not be read, by us or by that user.
    pub(super) fn files_of_podman_6(&self, user: &User, stem: &str) -> Fact<Vec<Rc<Source>>> {
        let read = |path: &str| self.user_source(path, user.uid, &user.groups).or_absent();
        let name = format!("{stem}.conf");
        let own = user_containers_path(user, &name);
        let mut files = Vec::new();
        for main in [own.clone(), format!("{}/{name}", DIRS[1]), format!("{}/{name}", DIRS[0])] {
            if let Some(source) = read(&main)? {
                files.push(source);
                break;
            }
        }
        let mut drop_ins = BTreeMap::new();
        let rootless = |dir| format!("{dir}/{stem}.rootless.conf.d");
        let of_the_system = DIRS.into_iter().flat_map(|dir| {
            [format!("{dir}/{name}.d"), rootless(dir), format!("{}/{}", rootless(dir), user.uid)]
        });
        for dir in of_the_system.chain([format!("{own}.d")]) {
            match self.stat(&dir).or_absent()? {
                None => continue,
                // A link of the user must not list for root what the user could not list.
                Some(stat) if !stat.allows(user.uid, &user.groups, 5) => {
                    return Err(Unread::Denied { path: dir });
                }
                Some(_) => {}
            }
            for path in self.conf_drop_ins(&dir)? {
                let name = path.rsplit('/').next().unwrap_or_default().to_owned();
                drop_ins.insert(name, path);
            }
        }
        for path in drop_ins.values() {
            files.extend(read(path)?);
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    fn paths(host: TestHost) -> Fact<Vec<String>> {
        let files = host.facts().files_of_podman_6(&User::example("edge", 1000), "storage")?;
        Ok(files.iter().map(|source| source.path().to_owned()).collect())
    }

    #[test]
    fn the_strongest_main_file_stands_alone() {
        let mains = [
            "/home/edge/.config/containers/storage.conf",
            "/etc/containers/storage.conf",
            "/usr/share/containers/storage.conf",
        ];
        let mut host = mains.iter().fold(empty_host(), |host, main| host.file(main, ""));
        for main in mains {
            assert_eq!(paths(host.clone()), Ok(vec![main.to_owned()]));
            host = host.without(main);
        }
        assert_eq!(paths(host), Ok(vec![]));
    }

    #[test]
    fn drop_ins_of_one_name_replace_each_other() {
        let dirs = [
            "/home/edge/.config/containers/storage.conf.d",
            "/etc/containers/storage.rootless.conf.d/1000",
            "/etc/containers/storage.rootless.conf.d",
            "/etc/containers/storage.conf.d",
            "/usr/share/containers/storage.rootless.conf.d/1000",
            "/usr/share/containers/storage.rootless.conf.d",
            "/usr/share/containers/storage.conf.d",
        ];
        let mut host = empty_host().file("/etc/containers/storage.rootless.conf.d/1001/50.conf", "");
        for dir in dirs {
            host = host.dir(dir, "0755", 0).file(&format!("{dir}/50.conf"), "");
        }
        for dir in dirs {
            assert_eq!(paths(host.clone()), Ok(vec![format!("{dir}/50.conf")]));
            host = host.without(&format!("{dir}/50.conf"));
        }
        let two = host
            .file("/etc/containers/storage.conf.d/20.conf", "")
            .file("/home/edge/.config/containers/storage.conf.d/10.conf", "")
            .file("/etc/containers/storage.conf.d/30.conf.bak", "")
            .file("/etc/containers/storage.conf", "");
        let names = [
            "/etc/containers/storage.conf",
            "/home/edge/.config/containers/storage.conf.d/10.conf",
            "/etc/containers/storage.conf.d/20.conf",
        ];
        assert_eq!(paths(two.clone()), Ok(names.map(str::to_owned).to_vec()));
        let closed = two.dir("/etc/containers/storage.conf.d", "0700", 0);
        assert_eq!(paths(closed), Err(Unread::Denied { path: "/etc/containers/storage.conf.d".to_owned() }));
    }
}
