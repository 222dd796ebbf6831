//! What is known of a host: typed, read once, every value with its file and line.
//!
//! One file per file format. A parser takes text (a [`Source`]), never a path, so that it can be
//! tested with the bytes of a real file; beside it stands the accessor, `impl Facts`, which says where
//! that text lives. Checks use accessors only: they cannot reach the [`Host`](crate::host::Host).

pub mod apparmor;
pub mod boot;
pub mod cgroup;
pub mod cidr;
pub mod clock;
pub mod conf_files;
pub mod containers_conf;
mod containers_files;
pub mod delegation;
pub mod delegation_effect;
pub mod elf;
pub mod environment;
pub mod environment_d;
mod existing;
pub mod file_capability;
pub mod generators;
pub mod hardware;
pub mod image_policy;
pub mod installer;
pub mod interfaces;
pub mod ipv6;
pub mod journald;
pub mod k3s_config;
pub mod k3s_options;
pub mod k3s_snapshotter;
pub mod kernel;
pub mod kernel_cmdline;
pub mod kernel_config;
pub mod limits;
pub mod linger;
pub mod listeners;
pub mod login_defs;
pub mod logind;
pub mod machine_id;
pub mod memory;
pub mod minikube_config;
pub mod modprobe;
pub mod module_obstacle;
pub mod module_options;
pub mod module_state;
pub mod modules;
pub mod modules_load;
pub mod mountinfo;
pub mod network_backend;
pub mod networks_in_use;
pub mod node_subnet;
pub mod nsswitch;
pub mod oci_runtime;
pub mod os_release;
mod package_database;
pub mod packages;
pub mod page_size;
pub mod podman;
pub mod podman_networks;
pub mod podman_pause;
mod podman_secrets;
pub mod process_status;
pub mod program_version;
pub mod programs;
pub mod quadlets;
mod real_path;
pub mod registries_conf;
pub mod resolv_conf;
pub mod routes;
pub mod seccomp;
pub mod selinux;
pub mod session;
pub mod slice_resources;
pub mod sockets;
mod source;
pub mod storage_conf;
pub mod storage_place;
pub mod subid;
mod subid_free;
pub mod subid_overlap;
pub mod sysctl;
pub mod sysctl_rules;
pub mod system_conf;
pub mod system_units;
pub mod systemd_version;
pub mod tasks;
#[cfg(test)]
pub(crate) mod testing;
pub mod time_sync;
pub mod toml_keys;
pub mod unit;
pub mod unit_name;
pub mod unit_syntax;
mod user_manager_processes;
mod user_manager_units;
pub mod user_units;
pub mod users;
pub mod version;

pub use source::{Evidence, Source, Sourced, line_of};

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::host::{CONFIG_LIMIT_BYTES, Caller, Entry, Fact, Host, Mode, Space, Stat, Unread};

/// Where a host's administrator keeps policy.
pub const POLICY_DIR: &str = "/etc/edgeprep";

/// What stands in a capture in place of what could hold a secret.
pub(crate) const LEFT_OUT: &str = "LEFT-OUT";

fn policy_path(name: &str) -> Fact<String> {
    let path = format!("{POLICY_DIR}/{name}");
    if name.split('/').any(|part| part == "..") { Err(Unread::Absent { path }) } else { Ok(path) }
}

/// The facts of one host. Cheap to make: nothing is read before it is asked for, and then once.
pub struct Facts {
    host: Host,
    sources: RefCell<BTreeMap<String, Fact<Rc<Source>>>>,
    listings: RefCell<BTreeMap<String, Fact<Rc<[Entry]>>>>,
    stats: RefCell<BTreeMap<String, Fact<Stat>>>,
    memo: RefCell<HashMap<(TypeId, String), Rc<dyn Any>>>,
}

impl Facts {
    /// The facts of `host`.
    pub fn new(host: Host) -> Facts {
        Facts {
            host,
            sources: RefCell::default(),
            listings: RefCell::default(),
            stats: RefCell::default(),
            memo: RefCell::default(),
        }
    }

    /// The host, for who needs it after the last fact was read.
    pub fn into_host(self) -> Host {
        self.host
    }

    /// Live, image or capture.
    pub fn mode(&self) -> Mode {
        self.host.mode()
    }

    /// Whether there is a running state to speak of: not in an image root.
    pub fn running(&self) -> bool {
        self.host.mode() != Mode::Image
    }

    /// Who looks (in a capture: who looked) at this host.
    pub fn caller(&self) -> &Caller {
        self.host.caller()
    }

    /// Whether the identity of this host is a hash of it already.
    pub fn identity_is_hashed(&self) -> bool {
        self.host.identity_is_hashed()
    }

    /// See [`Host::owners_are_kept`].
    pub fn owners_are_kept(&self) -> bool {
        self.host.owners_are_kept()
    }

    /// The users that a capture was made for; none for other hosts.
    pub fn captured_users(&self) -> &[String] {
        self.host.captured_users()
    }

    /// The text of a policy file of the host's administrator, by its name below [`POLICY_DIR`].
    ///
    /// # Errors
    /// Why it could not be read; what leads out of that directory is absent.
    pub fn policy_text(&self, name: &str) -> Fact<Rc<Source>> {
        self.source(&policy_path(name)?)
    }

    /// The `.toml` files in a folder of policy, by their names below [`POLICY_DIR`].
    ///
    /// # Errors
    /// Why it could not be listed; what leads out of that directory is absent.
    pub fn policy_files(&self, folder: &str) -> Fact<Vec<String>> {
        let files = self.list(&policy_path(folder)?)?;
        let wanted = files.iter().filter(|entry| entry.name.ends_with(".toml") && !entry.is_dir);
        Ok(wanted.map(|entry| format!("{folder}/{}", entry.name)).collect())
    }

    /// `Err` with [`Unread::NotRunning`] in an image root: for facts of the running system.
    fn need_running(&self, what: &str) -> Fact<()> {
        if self.running() { Ok(()) } else { Err(Unread::NotRunning { what: what.to_owned() }) }
    }

    /// The text of a configuration file. Bytes that are not UTF-8 become U+FFFD.
    fn source(&self, path: &str) -> Fact<Rc<Source>> {
        if let Some(known) = self.sources.borrow().get(path) {
            return known.clone();
        }
        let got = self
            .host
            .read(path, CONFIG_LIMIT_BYTES)
            .map(|(stat, bytes)| Rc::new(Source::from_bytes(path, bytes).with_stat(stat)));
        self.sources.borrow_mut().insert(path.to_owned(), got.clone());
        got
    }

    /// The text of a file that a user owns, or has put a link in place of: refused where the user
    /// could not read it, so that a link to `/etc/shadow` shows root nothing that it shows the user.
    fn user_source(&self, path: &str, uid: u32, gids: &[u32]) -> Fact<Rc<Source>> {
        let source = self.source(path)?;
        match source.stat() {
            Some(stat) if !stat.allows(uid, gids, 4) => Err(Unread::Denied { path: path.to_owned() }),
            _ => Ok(source),
        }
    }

    /// Every line of a database that is too large to keep; not memoised, so its accessor is.
    fn scan(&self, path: &str, line: &mut dyn FnMut(&[u8]) -> bool) -> Fact<()> {
        self.host.scan(path, crate::host::DATABASE_LIMIT_BYTES, line)
    }

    /// The bytes of a file that is no text; not memoised, so its accessor is.
    fn bytes(&self, path: &str, limit_bytes: u64) -> Fact<Vec<u8>> {
        self.host.read(path, limit_bytes).map(|(_, bytes)| bytes)
    }

    /// The first bytes of a file that is no text; not memoised, so its accessor is.
    fn head(&self, path: &str, limit_bytes: u64) -> Fact<Vec<u8>> {
        self.host.head(path, limit_bytes).map(|(_, bytes)| bytes)
    }

    /// The names in a directory, sorted.
    fn list(&self, path: &str) -> Fact<Rc<[Entry]>> {
        if let Some(known) = self.listings.borrow().get(path) {
            return known.clone();
        }
        let got = self.host.list(path).map(Rc::from);
        self.listings.borrow_mut().insert(path.to_owned(), got.clone());
        got
    }

    /// `stat(2)` of a path, links followed.
    pub fn stat(&self, path: &str) -> Fact<Stat> {
        if let Some(known) = self.stats.borrow().get(path) {
            return known.clone();
        }
        let got = self.host.stat(path);
        self.stats.borrow_mut().insert(path.to_owned(), got.clone());
        got
    }

    /// The target of a symbolic link; `None` for what is no link.
    fn link_target(&self, path: &str) -> Fact<Option<String>> {
        self.host.link_target(path)
    }

    /// The `security.capability` attribute of a file, undecoded.
    fn capability(&self, path: &str) -> Fact<Option<Vec<u8>>> {
        self.host.capability(path)
    }

    /// The size of the file system that holds `path`.
    pub fn space(&self, path: &str) -> Fact<Space> {
        self.host.space(path)
    }

    /// When a file was last changed, in nanoseconds since 1970.
    fn changed_ns(&self, path: &str) -> Fact<i64> {
        self.host.changed_ns(path)
    }

    /// Computes a fact of type `T` once per `key` (empty where there is only one). `T` must be the
    /// fact's own type: two accessors must not share one.
    fn memo_fact<T: 'static>(&self, key: &str, make: impl FnOnce() -> Fact<T>) -> Fact<Rc<T>> {
        (*self.memo(key, || make().map(Rc::new))).clone()
    }

    /// As [`Facts::memo_fact`], for what cannot fail as a whole.
    fn memo<T: 'static>(&self, key: &str, make: impl FnOnce() -> T) -> Rc<T> {
        let id = (TypeId::of::<T>(), key.to_owned());
        if let Some(known) = self.memo.borrow().get(&id).cloned().and_then(|any| any.downcast().ok()) {
            return known;
        }
        let made = Rc::new(make());
        self.memo.borrow_mut().insert(id, made.clone());
        made
    }
}

#[cfg(test)]
mod tests {
    use crate::facts::testing::empty_host;

    #[test]
    fn policy_lies_in_one_directory() {
        let facts = empty_host()
            .file("/etc/edgeprep/edgeprep.toml", "a")
            .file("/etc/edgeprep/profiles/site.toml", "b")
            .file("/etc/edgeprep/profiles/README", "")
            .file("/etc/shadow", "c")
            .facts();
        assert_eq!(facts.policy_text("edgeprep.toml").unwrap().text(), "a");
        assert_eq!(facts.policy_files("profiles"), Ok(vec!["profiles/site.toml".to_owned()]));
        assert_eq!(facts.policy_text("profiles/site.toml").unwrap().text(), "b");
        for outside in ["/etc/shadow", "../shadow", "profiles/../../shadow"] {
            assert!(facts.policy_text(outside).unwrap_err().is_absent(), "{outside}");
        }
        assert!(facts.policy_files("..").unwrap_err().is_absent());
    }
}
