//! `containers.conf(5)` as Podman reads it for a rootless user: up to version 5 every layer that exists, the
//! later over the earlier, key by key; from version 6 on one main file and the drop-ins.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::toml_keys::{Scalar, TomlKeys};
use super::users::User;
use super::{Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// Where Podman looks for helpers unless told otherwise (containers/common,
/// `pkg/config/config_linux.go`, `defaultHelperBinariesDir`).
pub const HELPER_BINARIES_DIRS: [&str; 4] =
    ["/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman"];

/// The keys that matter here, each as the last layer that has it says. `None` where no layer does, so
/// that the default of Podman's version is in effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainersConf {
    /// `[network] network_backend`: `netavark` or `cni`.
    pub network_backend: Option<Sourced<String>>,
    /// `[network] default_rootless_network_cmd`: `pasta` (the default from Podman 5) or `slirp4netns`.
    pub default_rootless_network_cmd: Option<Sourced<String>>,
    /// `[network] firewall_driver`.
    pub firewall_driver: Option<Sourced<String>>,
    /// `[network] default_subnet`; the default is 10.88.0.0/16.
    pub default_subnet: Option<Sourced<String>>,
    /// `[engine] runtime`: a name or a path.
    pub runtime: Option<Sourced<String>>,
    /// `[engine.runtimes]`: where each runtime is looked for.
    pub runtimes: BTreeMap<String, Sourced<Vec<String>>>,
    /// `[engine] infra_image`: what pods start with instead of catatonit.
    pub infra_image: Option<Sourced<String>>,
    /// `[containers] init_path`, or the same key in `[engine]`: catatonit.
    pub init_path: Option<Sourced<String>>,
    /// `[engine] network_cmd_path`: slirp4netns.
    pub network_cmd_path: Option<Sourced<String>>,
    /// `[engine] cgroup_manager`: `systemd` (the default where systemd runs) or `cgroupfs`.
    pub cgroup_manager: Option<Sourced<String>>,
    /// `[engine] events_logger`: `journald`, `file` or `none`.
    pub events_logger: Option<Sourced<String>>,
    /// `[engine] service_timeout` in seconds, the default is 5; 0 is never.
    pub service_timeout_secs: Option<Sourced<i64>>,
    /// `[engine] helper_binaries_dir`, with [`HELPER_BINARIES_DIRS`] before it where it appends.
    pub helper_binaries_dir: Option<Sourced<Vec<String>>>,
    /// `[engine] env`: variables that Podman sets for itself, as `NAME=value`.
    pub env: Option<Sourced<Vec<String>>>,
    /// `[containers] log_driver`: `journald` (the default where there is a journal), `k8s-file`, ...
    pub log_driver: Option<Sourced<String>>,
    /// `[containers] pids_limit`; the default is 2048, 0 or below is none.
    pub pids_limit: Option<Sourced<i64>>,
    /// Every key that is neither a table nor an array, by table and name: for what policy wants of a key
    /// that has no field of its own.
    pub scalars: BTreeMap<(String, String), Sourced<Scalar>>,
    /// The files that were read, in their order.
    pub files: Vec<String>,
}

impl ContainersConf {
    /// Takes the keys of one more layer over those read before.
    ///
    /// # Errors
    /// [`Unread::Malformed`] with the line, for what Podman refuses, too.
    pub fn merge(&mut self, source: &Source) -> Fact<()> {
        let keys = TomlKeys::parse(source)?;
        let strings: [(&[&str], &mut Option<Sourced<String>>); 10] = [
            (&["network", "network_backend"], &mut self.network_backend),
            (&["network", "default_rootless_network_cmd"], &mut self.default_rootless_network_cmd),
            (&["network", "firewall_driver"], &mut self.firewall_driver),
            (&["network", "default_subnet"], &mut self.default_subnet),
            (&["engine", "runtime"], &mut self.runtime),
            (&["engine", "infra_image"], &mut self.infra_image),
            (&["engine", "network_cmd_path"], &mut self.network_cmd_path),
            (&["engine", "cgroup_manager"], &mut self.cgroup_manager),
            (&["engine", "events_logger"], &mut self.events_logger),
            (&["containers", "log_driver"], &mut self.log_driver),
        ];
        for (path, slot) in strings {
            *slot = keys.string(path)?.or(slot.take());
        }
        // Two keys of one name; the one in `[containers]` wins (`FindInitBinary`).
        let init = keys.string(&["containers", "init_path"])?.or(keys.string(&["engine", "init_path"])?);
        self.init_path = init.or(self.init_path.take());
        for name in keys.names(&["engine", "runtimes"]) {
            if let Some(Sourced { value, at }) = keys.strings(&["engine", "runtimes", &name])? {
                self.runtimes.insert(name, Sourced { value: value.values, at });
            }
        }
        let timeout = keys.integer(&["engine", "service_timeout"])?;
        self.service_timeout_secs = timeout.or(self.service_timeout_secs.take());
        self.pids_limit = keys.integer(&["containers", "pids_limit"])?.or(self.pids_limit.take());
        if let Some(Sourced { value, at }) = keys.strings(&["engine", "helper_binaries_dir"])? {
            let mut dirs = if value.append { self.helper_binaries_dirs() } else { Vec::new() };
            dirs.extend(value.values);
            self.helper_binaries_dir = Some(Sourced { value: dirs, at });
        }
        if let Some(Sourced { value, at }) = keys.strings(&["engine", "env"])? {
            let before = self.env.take().filter(|_| value.append).map_or(Vec::new(), |env| env.value);
            self.env = Some(Sourced { value: before.into_iter().chain(value.values).collect(), at });
        }
        for table in keys.names(&[]) {
            for name in keys.names(&[&table]) {
                if let Some(value) = keys.scalar(&[&table, &name])? {
                    self.scalars.insert((table.clone(), name), value);
                }
            }
        }
        self.files.push(source.path().to_owned());
        Ok(())
    }

    /// The directories that Podman looks for its helpers in.
    pub fn helper_binaries_dirs(&self) -> Vec<String> {
        match &self.helper_binaries_dir {
            Some(dirs) => dirs.value.clone(),
            None => HELPER_BINARIES_DIRS.iter().map(|dir| (*dir).to_owned()).collect(),
        }
    }
}

impl Facts {
    /// The user's `containers.conf` (containers/common 0.65, `pkg/config/new.go`, `systemConfigs`): in
    /// `/usr/share`, in `/etc` with drop-ins, for rootless users in `/etc` with drop-ins, and the user's
    /// with drop-ins; or the file that `CONTAINERS_CONF` names, alone. The variable is known for the
    /// caller only, and `XDG_CONFIG_HOME` is taken to be unset.
    ///
    /// Podman 6 reads one main file, so that the user's hides the others, and ranks drop-ins differently: see
    /// [`Facts::files_of_podman_6`]. A drop-in in `/etc/containers/containers.conf.d` counts in both. Where the
    /// version is not known, it is taken to be an earlier one.
    ///
    /// # Errors
    /// Why a file that exists could not be read or parsed, which stops Podman, too.
    pub fn containers_conf(&self, user: &User) -> Fact<Rc<ContainersConf>> {
        self.memo_fact(&user.name, || {
            let mut conf = ContainersConf::default();
            if let Some(path) = self.containers_conf_variable(user) {
                conf.merge(&*self.user_source(&path, user.uid, &user.groups)?)?;
                return Ok(conf);
            }
            if self.podman_is_at_least(user, 6) == Some(true) {
                for source in self.files_of_podman_6(user, "containers")? {
                    conf.merge(&source)?;
                }
                return Ok(conf);
            }
            let rootless = "/etc/containers/containers.rootless.conf";
            let files = [
                ("/usr/share/containers/containers.conf", vec![]),
                ("/etc/containers/containers.conf", vec!["/etc/containers/containers.conf.d".to_owned()]),
                (rootless, vec![format!("{rootless}.d"), format!("{rootless}.d/{}", user.uid)]),
            ];
            for (main, drop_in_dirs) in files {
                if let Some(source) = self.source(main).or_absent()? {
                    conf.merge(&source)?;
                }
                for dir in drop_in_dirs {
                    for path in self.conf_drop_ins(&dir)? {
                        conf.merge(&*self.source(&path)?)?;
                    }
                }
            }
            for source in self.user_containers_files(user, "containers.conf")? {
                conf.merge(&source)?;
            }
            Ok(conf)
        })
    }

    /// The file that alone is read, where the caller is the user and has set the variable.
    pub fn containers_conf_variable(&self, user: &User) -> Option<String> {
        let variable = self.caller().environment.get("CONTAINERS_CONF").filter(|path| !path.is_empty());
        variable.filter(|_| self.caller().uid == user.uid).cloned()
    }

    /// The drop-in that a repair writes: the user's own or, in an image, that of all users.
    pub fn our_containers_conf(&self, user: &User) -> String {
        let main = match self.running() {
            true => user_containers_path(user, "containers.conf"),
            false => "/etc/containers/containers.conf".to_owned(),
        };
        format!("{main}.d/90-rootless.conf")
    }

    /// Whether a file that Podman reads comes after that drop-in.
    pub fn read_after_our_containers_conf(&self, user: &User, path: &str) -> bool {
        let ours = self.our_containers_conf(user);
        let (dir, name) = path.rsplit_once('/').unwrap_or_default();
        let of_user = path.starts_with(&user_containers_path(user, "containers.conf"));
        let in_image = || of_user || path.starts_with("/etc/containers/containers.rootless.conf");
        match ours.rsplit_once('/') {
            Some((our_dir, our_name)) if dir == our_dir => name > our_name,
            _ => !self.running() && in_image(),
        }
    }

    /// The `*.conf` files of a directory, by name; none where there is no such directory.
    pub(super) fn conf_drop_ins(&self, dir: &str) -> Fact<Vec<String>> {
        let entries = self.list(dir).or_absent()?;
        let names = entries.iter().flat_map(|entries| entries.iter());
        let files = names.filter(|entry| !entry.is_dir && entry.name.ends_with(".conf"));
        Ok(files.map(|entry| format!("{dir}/{}", entry.name)).collect())
    }

    /// `~/.config/containers/NAME` and the files of `NAME.d` beside it, as the user could read them.
    pub(super) fn user_containers_files(&self, user: &User, name: &str) -> Fact<Vec<Rc<Source>>> {
        let main = user_containers_path(user, name);
        let read = |path: &str| self.user_source(path, user.uid, &user.groups);
        let mut files: Vec<Rc<Source>> = read(&main).or_absent()?.into_iter().collect();
        let dir = format!("{main}.d");
        match self.stat(&dir).or_absent()? {
            None => {}
            // A link of the user must not list for root what the user could not list.
            Some(stat) if !stat.allows(user.uid, &user.groups, 5) => {
                return Err(Unread::Denied { path: dir });
            }
            Some(_) => {
                for path in self.conf_drop_ins(&dir)? {
                    files.push(read(&path)?);
                }
            }
        }
        Ok(files)
    }
}

/// The user's own file of this name.
pub(super) fn user_containers_path(user: &User, name: &str) -> String {
    format!("{}/.config/containers/{name}", user.home.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host, podman};

    fn read(host: TestHost) -> Fact<Rc<ContainersConf>> {
        host.facts().containers_conf(&User::example("edge", 1000))
    }

    fn runtime(host: TestHost) -> Option<(String, String)> {
        read(host).unwrap().runtime.clone().map(|found| (found.value, found.at.to_string()))
    }

    fn layered() -> TestHost {
        let line = |name: &str| format!("[engine]\nruntime = \"{name}\"\n");
        empty_host()
            .file("/usr/share/containers/containers.conf", line("vendor"))
            .file("/etc/containers/containers.conf", line("etc"))
            .file("/etc/containers/containers.conf.d/10-a.conf", line("dropin"))
            .file("/etc/containers/containers.conf.d/20-b.conf.bak", line("backup"))
            .file("/etc/containers/containers.rootless.conf", line("rootless"))
            .file("/etc/containers/containers.rootless.conf.d/1000/x.conf", line("uid"))
            .file("/home/edge/.config/containers/containers.conf", line("home"))
            .file("/home/edge/.config/containers/containers.conf.d/x.conf", line("home-dropin"))
    }

    #[test]
    fn the_last_layer_wins() {
        let layers = [
            ("home-dropin", "/home/edge/.config/containers/containers.conf.d/x.conf"),
            ("home", "/home/edge/.config/containers/containers.conf"),
            ("uid", "/etc/containers/containers.rootless.conf.d/1000/x.conf"),
            ("rootless", "/etc/containers/containers.rootless.conf"),
            ("dropin", "/etc/containers/containers.conf.d/10-a.conf"),
            ("etc", "/etc/containers/containers.conf"),
            ("vendor", "/usr/share/containers/containers.conf"),
        ];
        let mut host = layered();
        for (name, path) in layers {
            assert_eq!(runtime(host.clone()), Some((name.to_owned(), format!("{path}:2"))));
            host = host.without(path);
        }
        assert_eq!(runtime(host), None);
    }

    #[test]
    fn podman_6_reads_one_main_file() {
        let six = |host: TestHost| podman(host, "6.0.0-1");
        let dropin = "/home/edge/.config/containers/containers.conf.d/x.conf";
        assert_eq!(runtime(six(layered())), Some(("home-dropin".to_owned(), format!("{dropin}:2"))));
        let etc = "/etc/containers/containers.conf";
        let own = "/home/edge/.config/containers/containers.conf";
        let hidden = empty_host()
            .file(etc, "[engine]\nruntime = \"crun\"\n")
            .file(own, "[containers]\npids_limit = 1\n");
        assert_eq!(runtime(podman(hidden.clone(), "5.8.2-1")), Some(("crun".to_owned(), format!("{etc}:2"))));
        assert_eq!(runtime(hidden.clone()), Some(("crun".to_owned(), format!("{etc}:2"))));
        assert_eq!(runtime(six(hidden)), None);
    }

    #[test]
    fn the_variable_counts_alone_and_for_the_caller_only() {
        let host = layered().file("/opt/c.conf", "[containers]\nlog_driver = \"k8s-file\"\n");
        let conf = read(host.clone().caller(1000, &[("CONTAINERS_CONF", "/opt/c.conf")])).unwrap();
        assert_eq!((conf.runtime.clone(), conf.files.len()), (None, 1));
        assert_eq!(conf.log_driver.as_ref().map(|d| d.value.as_str()), Some("k8s-file"));
        let other = read(host.caller(0, &[("CONTAINERS_CONF", "/opt/c.conf")])).unwrap();
        assert_eq!(other.files.len(), 7);
        let missing = layered().caller(1000, &[("CONTAINERS_CONF", "/opt/none.conf")]);
        assert!(read(missing).unwrap_err().is_absent(), "Podman does not start either");
    }

    #[test]
    fn keys_of_layers_are_merged() {
        let host = empty_host()
            .file("/etc/containers/containers.conf", "[engine]\nservice_timeout = 0\nhelper_binaries_dir = [\"/opt/a\"]\n")
            .file(
                "/etc/containers/containers.conf.d/k.conf",
                "[engine]\nhelper_binaries_dir = [\"/opt/b\", {append=true}]\n[containers]\npids_limit = 65536\n",
            );
        let conf = read(host).unwrap();
        assert_eq!(conf.service_timeout_secs.as_ref().map(|t| t.value), Some(0));
        assert_eq!(conf.pids_limit.as_ref().map(|l| (l.value, l.at.line)), Some((65_536, Some(4))));
        assert_eq!(conf.helper_binaries_dirs(), ["/opt/a", "/opt/b"]);
        assert_eq!(read(empty_host()).unwrap().helper_binaries_dirs().len(), 4);
    }

    #[test]
    fn runtimes_are_merged_by_name() {
        let host = empty_host()
            .file(
                "/usr/share/containers/containers.conf",
                "[engine.runtimes]\nyouki = [\"/a\"]\nkata = [\"/k\"]\n",
            )
            .file(
                "/etc/containers/containers.conf",
                "[engine.runtimes]\nyouki = [\"/b\"]\n[engine]\ninit_path = \"/i\"\n",
            );
        let conf = read(host).unwrap();
        let runtimes: Vec<_> = conf.runtimes.iter().map(|(n, r)| (n.as_str(), r.value.join(":"))).collect();
        assert_eq!(runtimes, [("kata", "/k".to_owned()), ("youki", "/b".to_owned())]);
        assert_eq!(conf.init_path.as_ref().map(|path| path.value.as_str()), Some("/i"));
    }

    #[test]
    fn malformed_and_denied_are_neither_absent_nor_default() {
        let bad = layered().file("/etc/containers/containers.conf.d/10-a.conf", "[engine\n");
        assert!(matches!(read(bad), Err(Unread::Malformed { line: Some(1), .. })));
        assert!(read(layered().error("/etc/containers/containers.conf.d", "denied")).is_err());
        let path = "/home/edge/.config/containers/containers.conf";
        let private = layered().path(path, |record| record.mode = Some("0600".to_owned()));
        assert_eq!(
            read(private),
            Err(Unread::Denied { path: path.to_owned() }),
            "root's, so not read for edge"
        );
    }
}
