//! `containers-storage.conf(5)` as it counts for a rootless user. With Podman up to version 5, unlike
//! `containers.conf`, the user's file replaces the system's, and little of the latter applies; with Podman 6 all
//! of the latter does.

use std::rc::Rc;

use super::containers_conf::user_containers_path;
use super::podman::Podman;
use super::toml_keys::{Scalar, TomlKeys};
use super::users::User;
use super::version::Version;
use super::{Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// The drivers that a rootless user takes over from the system's file (containers/storage,
/// `types/options.go`, `isRootlessDriver`).
const ROOTLESS_DRIVERS: [&str; 4] = ["btrfs", "overlay", "overlay2", "vfs"];

/// The vendor's file.
const VENDOR_PATH: &str = "/usr/share/containers/storage.conf";

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
    /// `[storage.options.overlay] mount_program`.
    pub overlay_mount_program: Option<Sourced<String>>,
    /// The same key in `[storage.options]`, which counts where that one does not.
    pub mount_program: Option<Sourced<String>>,
    /// `[storage] transient_store`.
    pub transient_store: Option<Sourced<Scalar>>,
}

impl StorageFile {
    /// Reads a file. A key that is set to nothing counts as not set, but for those that Podman 6 joins: there
    /// it takes back what another file sets.
    ///
    /// # Errors
    /// [`Unread::Malformed`](crate::host::Unread::Malformed) with the line.
    pub fn parse(source: &Source) -> Fact<StorageFile> {
        let keys = TomlKeys::parse(source)?;
        Ok(StorageFile {
            driver: keys.string(&["storage", "driver"])?,
            graphroot: keys.string(&["storage", "graphroot"])?,
            runroot: keys.string(&["storage", "runroot"])?,
            rootless_storage_path: keys.string(&["storage", "rootless_storage_path"])?,
            overlay_mount_program: keys.string(&["storage", "options", "overlay", "mount_program"])?,
            mount_program: keys.string(&["storage", "options", "mount_program"])?,
            transient_store: keys.scalar(&["storage", "transient_store"])?,
        })
    }

    /// Takes the keys of a later file over these.
    fn merge(&mut self, later: StorageFile) {
        self.driver = later.driver.or(self.driver.take());
        self.graphroot = later.graphroot.or(self.graphroot.take());
        self.runroot = later.runroot.or(self.runroot.take());
        self.rootless_storage_path = later.rootless_storage_path.or(self.rootless_storage_path.take());
        self.overlay_mount_program = later.overlay_mount_program.or(self.overlay_mount_program.take());
        self.mount_program = later.mount_program.or(self.mount_program.take());
        self.transient_store = later.transient_store.or(self.transient_store.take());
    }

    fn mount_program(&self) -> Option<Sourced<String>> {
        set(&self.overlay_mount_program).or(set(&self.mount_program))
    }

    fn is_transient(&self) -> bool {
        self.transient_store.as_ref().is_some_and(|set| set.value == Scalar::Boolean(true))
    }
}

/// A key that is set to something.
fn set(key: &Option<Sourced<String>>) -> Option<Sourced<String>> {
    key.clone().filter(|key| !key.value.is_empty())
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
    /// Whether containers are forgotten at the next boot.
    pub is_transient: bool,
}

impl StorageConf {
    fn new(
        driver: Option<Sourced<String>>,
        graphroot_key: Option<Sourced<String>>,
        runroot_key: Option<Sourced<String>>,
        options: Option<&StorageFile>,
        user: &User,
    ) -> StorageConf {
        let graphroot = match &graphroot_key {
            Some(key) => expanded(&key.value, user),
            None => format!("{}/.local/share/containers/storage", user.home.trim_end_matches('/')),
        };
        let runroot = match &runroot_key {
            Some(key) => expanded(&key.value, user),
            None => format!("/run/user/{}/containers", user.uid),
        };
        let mount_program = options.and_then(StorageFile::mount_program);
        let is_transient = options.is_some_and(StorageFile::is_transient);
        StorageConf { driver, graphroot, graphroot_key, runroot, runroot_key, mount_program, is_transient }
    }

    /// What Podman 6 makes of its files, joined (container-libs, `storage/types/options.go`,
    /// `LoadStoreOptions`).
    fn of_podman_6(joined: &StorageFile, user: &User) -> StorageConf {
        let graphroot = set(&joined.graphroot).or(set(&joined.rootless_storage_path));
        StorageConf::new(set(&joined.driver), graphroot, set(&joined.runroot), Some(joined), user)
    }

    /// Whether storage and programs are the same, wherever that is said.
    fn is_as(&self, other: &StorageConf) -> bool {
        let program = |conf: &StorageConf| conf.mount_program.as_ref().map(|program| program.value.clone());
        (&self.graphroot, &self.runroot, program(self)) == (&other.graphroot, &other.runroot, program(other))
    }

    /// Joins the system's and the user's file (containers/storage 1.60, `types/options.go`,
    /// `loadStoreOptionsFromConfFile`). Of the system's file, a rootless user takes the driver and
    /// `rootless_storage_path` only, and from the moment that there is a file of the user's, the latter
    /// alone.
    pub fn rootless(system: &StorageFile, own: Option<&StorageFile>, user: &User) -> StorageConf {
        let driver = match own {
            Some(own) => set(&own.driver),
            None => {
                let fits = |driver: &Sourced<String>| ROOTLESS_DRIVERS.contains(&driver.value.as_str());
                set(&system.driver).filter(fits)
            }
        };
        let graphroot_key = own
            .and_then(|own| set(&own.graphroot).or(set(&own.rootless_storage_path)))
            .or(set(&system.rootless_storage_path));
        StorageConf::new(driver, graphroot_key, own.and_then(|own| set(&own.runroot)), own, user)
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
    /// `~/.config/containers/storage.conf`. For Podman 6 see [`Facts::files_of_podman_6`].
    /// `CONTAINERS_STORAGE_CONF`, `STORAGE_DRIVER` and `XDG_CONFIG_HOME` are taken to be unset, and so is
    /// `XDG_DATA_HOME`.
    ///
    /// # Errors
    /// Why a file that exists could not be read or parsed, and where it depends on the version of Podman,
    /// which is not known.
    pub fn storage_conf(&self, user: &User) -> Fact<Rc<StorageConf>> {
        self.memo_fact(&user.name, || {
            let Ok(Some(podman)) = self.podman(user) else { return self.storage_up_to_5(user) };
            match podman.is_at_least(6) {
                Some(true) => self.storage_of_6(user),
                Some(false) => self.storage_up_to_5(user),
                None => self.storage_of_either(user, &podman),
            }
        })
    }

    fn storage_up_to_5(&self, user: &User) -> Fact<StorageConf> {
        let system = match self.source("/etc/containers/storage.conf").or_absent()? {
            Some(source) => Some(source),
            None => self.source(VENDOR_PATH).or_absent()?,
        };
        let path = user_containers_path(user, "storage.conf");
        let own = self.user_source(&path, user.uid, &user.groups).or_absent()?;
        let parse = |source: Option<Rc<Source>>| source.map(|s| StorageFile::parse(&s)).transpose();
        Ok(StorageConf::rootless(&parse(system)?.unwrap_or_default(), parse(own)?.as_ref(), user))
    }

    fn storage_of_6(&self, user: &User) -> Fact<StorageConf> {
        let mut joined = StorageFile::default();
        for source in self.files_of_podman_6(user, "storage")? {
            joined.merge(StorageFile::parse(&source)?);
        }
        Ok(StorageConf::of_podman_6(&joined, user))
    }

    /// The vendor's file sets root's directories up to containers-storage 1.59, and came with the same release
    /// as a packaged Podman: where it does, that is an earlier one, or no user of the distribution could run
    /// it. A file of the administrator's stays when Podman is upgraded.
    fn storage_of_either(&self, user: &User, podman: &Podman) -> Fact<StorageConf> {
        let (five, six) = (self.storage_up_to_5(user)?, self.storage_of_6(user)?);
        let is_vendors =
            |key: &Option<Sourced<String>>| key.as_ref().is_some_and(|key| &*key.at.path == VENDOR_PATH);
        let is_of_5 = podman.program.path.starts_with("/usr/bin/")
            && (is_vendors(&six.graphroot_key) || is_vendors(&six.runroot_key));
        if is_of_5 || five.is_as(&six) {
            return Ok(five);
        }
        let keys = [&six.graphroot_key, &six.runroot_key, &six.mount_program];
        let of_the_system = |key: &&Sourced<String>| !key.at.path.starts_with(&user.home);
        match keys.into_iter().flatten().find(of_the_system) {
            None => Err(podman.unknown()),
            Some(key) => Err(Unread::Malformed {
                path: key.at.path.to_string(),
                line: key.at.line,
                expected: format!(
                    "Podman 6 takes this for users, earlier ones do not, and {}",
                    podman.unknown()
                ),
            }),
        }
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
    use crate::facts::testing::{TestHost, empty_host, podman};
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

    const ETC: &str = "/etc/containers/storage.conf";
    /// As containers-storage has it up to 1.59, without comments.
    const SHIPPED: &str = "[storage]\ndriver = \"overlay\"\nrunroot = \"/run/containers/storage\"\n\
         graphroot = \"/var/lib/containers/storage\"\n";

    fn places(conf: &StorageConf) -> (&str, &str) {
        (conf.graphroot.as_str(), conf.runroot.as_str())
    }

    #[test]
    fn podman_6_takes_the_systems_directories() {
        let six = |host: TestHost| read(podman(host, "6.0.0+ds1-1")).unwrap();
        let conf = six(empty_host().file(ETC, SHIPPED));
        assert_eq!(places(&conf), ("/var/lib/containers/storage", "/run/containers/storage"));
        assert_eq!(conf.graphroot_key.as_ref().map(|key| key.at.to_string()), Some(format!("{ETC}:4")));
        assert_eq!(
            six(system()).mount_program.as_ref().map(|m| m.value.as_str()),
            Some("/usr/bin/fuse-overlayfs")
        );
        let five = read(podman(empty_host().file(ETC, SHIPPED), "5.8.2-1")).unwrap();
        let homes = ("/home/edge/.local/share/containers/storage", "/run/user/1000/containers");
        assert_eq!((places(&five), five.is_transient), (homes, false));
        assert_eq!(places(&six(empty_host())), homes);
    }

    #[test]
    fn podman_6_joins_drop_ins() {
        let six = |host: TestHost| read(podman(host, "6.0.0+ds1-1")).unwrap();
        let dir = "/etc/containers/storage.rootless.conf.d";
        let drop_in = "[storage]\ngraphroot = \"\"\nrunroot = \"\"\nrootless_storage_path = \"/data/$USER\"\n\
             transient_store = true\n[storage.options.overlay]\nmount_program = \"\"\n";
        let host = system().file(&format!("{dir}/10-home.conf"), drop_in);
        let conf = six(host.clone());
        assert_eq!(places(&conf), ("/data/edge", "/run/user/1000/containers"), "what is empty takes back");
        assert_eq!((conf.mount_program.is_some(), conf.is_transient), (true, true));
        let own = six(host.file(OWN, "[storage]\ndriver = \"vfs\"\ngraphroot = \"/home/edge/x\"\n"));
        assert_eq!(own.driver.as_ref().map(|d| d.value.as_str()), Some("vfs"));
        assert_eq!(own.graphroot, "/data/edge", "drop-ins are applied over the user's file, too");
    }

    #[test]
    fn without_a_version_only_what_both_make_of_it_is_known() {
        let rpm = |host: TestHost| {
            host.file("/usr/bin/podman", "").mode("/usr/bin/podman", "0755").dir(
                "/usr/lib/sysimage/rpm",
                "0755",
                0,
            )
        };
        let why = read(rpm(empty_host().file(ETC, SHIPPED))).unwrap_err().to_string();
        assert!(why.starts_with(&format!("{ETC}:4: Podman 6 takes this for users")), "{why}");
        let home = "/home/edge/.local/share/containers/storage";
        assert_eq!(read(rpm(empty_host())).unwrap().graphroot, home);
        let commented = empty_host().file(ETC, "[storage]\ndriver = \"overlay\"\n");
        assert_eq!(read(rpm(commented)).unwrap().graphroot, home);
        assert_eq!(
            read(rpm(system())).unwrap().graphroot,
            home,
            "what came with a packaged Podman is of its release"
        );
        let local = "/usr/local/bin/podman";
        assert!(read(rpm(system()).file(local, "").mode(local, "0755")).is_err());
        let manual = "/usr/share/man/man5/podman-systemd.unit.5.gz";
        let of_5 =
            rpm(empty_host().file(ETC, SHIPPED)).file(manual, "").file("/usr/libexec/podman/quadlet", "");
        assert_eq!(read(of_5).unwrap().graphroot, home);
    }

    #[test]
    fn malformed_is_no_default() {
        let bad = read(system().file(OWN, "[storage]\ndriver = overlay\n"));
        assert!(matches!(bad, Err(Unread::Malformed { line: Some(2), .. })), "{bad:?}");
    }
}
