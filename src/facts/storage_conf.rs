//! `containers-storage.conf(5)` as it counts for a rootless user with Podman up to version 5: unlike
//! `containers.conf`, the user's file replaces the system's, and little of the latter applies.

use std::rc::Rc;

use super::containers_conf::user_containers_path;
use super::toml_keys::TomlKeys;
use super::users::User;
use super::version::Version;
use super::{Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// The drivers that a rootless user takes over from the system's file (containers/storage,
/// `types/options.go`, `isRootlessDriver`).
const ROOTLESS_DRIVERS: [&str; 4] = ["btrfs", "overlay", "overlay2", "vfs"];

/// The keys of one file that matter here, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageFile {
    /// `[storage] driver`.
    pub driver: Option<Sourced<String>>,
    /// `[storage] graphroot`.
    pub graphroot: Option<Sourced<String>>,
    /// `[storage] runroot`.
    pub runroot: Option<Sourced<String>>,
    /// `[storage] rootless_storage_path`.
    pub rootless_storage_path: Option<Sourced<String>>,
    /// `[storage.options.overlay] mount_program`, or the same key in `[storage.options]`.
    pub mount_program: Option<Sourced<String>>,
}

impl StorageFile {
    /// Reads a file. A key that is set to nothing counts as not set.
    ///
    /// # Errors
    /// [`Unread::Malformed`](crate::host::Unread::Malformed) with the line.
    pub fn parse(source: &Source) -> Fact<StorageFile> {
        let keys = TomlKeys::parse(source)?;
        let get = |path: &[&str]| Ok(keys.string(path)?.filter(|found| !found.value.is_empty()));
        let overlay = get(&["storage", "options", "overlay", "mount_program"])?;
        Ok(StorageFile {
            driver: get(&["storage", "driver"])?,
            graphroot: get(&["storage", "graphroot"])?,
            runroot: get(&["storage", "runroot"])?,
            rootless_storage_path: get(&["storage", "rootless_storage_path"])?,
            mount_program: overlay.or(get(&["storage", "options", "mount_program"])?),
        })
    }
}

/// What is in effect for a rootless user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageConf {
    /// The driver that is configured; `None` where it is picked, see [`Facts::storage_is_vfs`].
    pub driver: Option<Sourced<String>>,
    /// Where images and containers are kept.
    pub graphroot: String,
    /// The key that says so; `None` for the default below the home directory.
    pub graphroot_key: Option<Sourced<String>>,
    /// Where the state of running containers is kept.
    pub runroot: String,
    /// The key that says so; `None` for the default below the runtime directory.
    pub runroot_key: Option<Sourced<String>>,
    /// A program that mounts instead of the kernel, such as `fuse-overlayfs`.
    pub mount_program: Option<Sourced<String>>,
}

impl StorageConf {
    /// Joins the system's and the user's file (containers/storage 1.60, `types/options.go`,
    /// `loadStoreOptionsFromConfFile`). Of the system's file, a rootless user takes the driver and
    /// `rootless_storage_path` only, and from the moment that there is a file of the user's, the latter
    /// alone.
    pub fn rootless(system: &StorageFile, own: Option<&StorageFile>, user: &User) -> StorageConf {
        let driver = match own {
            Some(own) => own.driver.clone(),
            None => {
                let fits = |driver: &Sourced<String>| ROOTLESS_DRIVERS.contains(&driver.value.as_str());
                system.driver.clone().filter(fits)
            }
        };
        let graphroot_key = own
            .and_then(|own| own.graphroot.clone().or(own.rootless_storage_path.clone()))
            .or(system.rootless_storage_path.clone());
        let runroot_key = own.and_then(|own| own.runroot.clone());
        let graphroot = match &graphroot_key {
            Some(key) => expanded(&key.value, user),
            None => format!("{}/.local/share/containers/storage", user.home.trim_end_matches('/')),
        };
        let runroot = match &runroot_key {
            Some(key) => expanded(&key.value, user),
            None => format!("/run/user/{}/containers", user.uid),
        };
        let mount_program = own.and_then(|own| own.mount_program.clone());
        StorageConf { driver, graphroot, graphroot_key, runroot, runroot_key, mount_program }
    }
}

/// Replaces the variables that can be told for another user (`types/utils.go`, `expandEnvPath`, which
/// takes all of the environment); others stay as they are.
fn expanded(path: &str, user: &User) -> String {
    let uid = user.uid.to_string();
    let values = [("UID", uid.as_str()), ("HOME", user.home.as_str()), ("USER", user.name.as_str())];
    let mut out = path.to_owned();
    for (name, value) in values {
        out = out.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value);
    }
    out
}

impl Facts {
    /// The storage of a rootless user. The system's file is `/etc/containers/storage.conf`, or the one
    /// in `/usr/share/containers` where there is none; the user's is
    /// `~/.config/containers/storage.conf`. `CONTAINERS_STORAGE_CONF`, `STORAGE_DRIVER` and
    /// `XDG_CONFIG_HOME` are taken to be unset, and so is `XDG_DATA_HOME`.
    ///
    /// # Errors
    /// Why a file that exists could not be read or parsed.
    pub fn storage_conf(&self, user: &User) -> Fact<Rc<StorageConf>> {
        self.memo_fact(&user.name, || {
            let system = match self.source("/etc/containers/storage.conf").or_absent()? {
                Some(source) => Some(source),
                None => self.source("/usr/share/containers/storage.conf").or_absent()?,
            };
            let path = user_containers_path(user, "storage.conf");
            let own = self.user_source(&path, user.uid, &user.groups).or_absent()?;
            let parse = |source: Option<Rc<Source>>| source.map(|s| StorageFile::parse(&s)).transpose();
            Ok(StorageConf::rootless(&parse(system)?.unwrap_or_default(), parse(own)?.as_ref(), user))
        })
    }

    /// Whether each layer is a copy of all files below, instead of a mount. Where no driver is
    /// configured, Podman before 4.6 takes `vfs` (containers/storage 1.46, `types/options.go`,
    /// `getRootlessStorageOpts`), a later one what the storage was made with, else `overlay`.
    ///
    /// # Errors
    /// Why the version of Podman is not known, or what the storage was made with.
    pub fn storage_is_vfs(&self, conf: &StorageConf, user: &User) -> Fact<bool> {
        if let Some(driver) = &conf.driver {
            return Ok(driver.value == "vfs");
        }
        if let Some(podman) = self.podman(user)? {
            let version = podman.version.as_ref().map_err(Unread::clone)?;
            match version.value.is_at_least(&Version::new(&[4, 6])) {
                Some(true) => {}
                Some(false) => return Ok(true),
                None => return Err(podman.unknown()),
            }
        }
        let made_with = |driver| self.stat(&format!("{}/{driver}-images", conf.graphroot)).or_absent();
        Ok(made_with("vfs")?.is_some() && made_with("overlay")?.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};
    use crate::host::Unread;

    const OWN: &str = "/home/edge/.config/containers/storage.conf";

    fn read(host: TestHost) -> Fact<Rc<StorageConf>> {
        let user = User::example("edge", 1000);
        host.facts().storage_conf(&user)
    }

    fn system() -> TestHost {
        empty_host().file(
            "/usr/share/containers/storage.conf",
            "[storage]\ndriver = \"overlay\"\nrunroot = \"/run/containers/storage\"\n\
             graphroot = \"/var/lib/containers/storage\"\n[storage.options]\nmount_program = \"/usr/bin/fuse-overlayfs\"\n",
        )
    }

    #[test]
    fn the_systems_directories_are_not_the_users() {
        let conf = read(system()).unwrap();
        assert_eq!(conf.driver.as_ref().map(|d| (d.value.as_str(), d.at.line)), Some(("overlay", Some(2))));
        assert_eq!(conf.graphroot, "/home/edge/.local/share/containers/storage");
        assert_eq!(conf.runroot, "/run/user/1000/containers");
        assert_eq!((conf.graphroot_key.clone(), conf.mount_program.clone()), (None, None));
        let none = read(empty_host()).unwrap();
        assert_eq!((none.driver.clone(), &none.graphroot), (None, &conf.graphroot));
    }

    #[test]
    fn etc_replaces_usr_share_and_can_move_all_users() {
        let etc = "[storage]\ndriver = \"zfs\"\nrootless_storage_path = \"/data/$USER/${UID}/storage\"\n";
        let conf = read(system().file("/etc/containers/storage.conf", etc)).unwrap();
        assert_eq!(conf.driver, None, "no driver for rootless users");
        assert_eq!(conf.graphroot, "/data/edge/1000/storage");
        assert_eq!(conf.graphroot_key.as_ref().map(|key| key.at.line), Some(Some(3)));
    }

    #[test]
    fn the_users_file_stands_alone() {
        let host = system().file(
            OWN,
            "[storage]\ngraphroot = \"$HOME/images\"\n[storage.options]\nmount_program = \"/a\"\n\
             [storage.options.overlay]\nmount_program = \"/usr/bin/fuse-overlayfs\"\n",
        );
        let conf = read(host).unwrap();
        assert_eq!((conf.driver.clone(), conf.graphroot.as_str()), (None, "/home/edge/images"));
        assert_eq!(conf.mount_program.as_ref().map(|m| m.at.to_string()), Some(format!("{OWN}:6")));
        let path =
            read(system().file(OWN, "[storage]\nrootless_storage_path = \"/x\"\nrunroot = \"\"\n")).unwrap();
        assert_eq!((path.graphroot.as_str(), path.runroot.as_str()), ("/x", "/run/user/1000/containers"));
    }

    #[test]
    fn malformed_is_no_default() {
        let bad = read(system().file(OWN, "[storage]\ndriver = overlay\n"));
        assert!(matches!(bad, Err(Unread::Malformed { line: Some(2), .. })), "{bad:?}");
    }
}
