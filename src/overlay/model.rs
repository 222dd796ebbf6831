//! The host that an overlay is made for, as far as it has to be known: nothing but what every image
//! has that runs the stacks, so that all they want is lacking.
//!
//! It is an image root in memory, so what is planned for it is what `fix --root` plans. What is in
//! it stands for what a build brings: the user, systemd, the programs of the stacks, a kernel with
//! the modules they want. What is not in it depends on the host.

use std::collections::BTreeMap;

use super::Person;
use crate::facts::Facts;
use crate::host::{Host, HostToml, PathRecord};
use crate::plan::Change;
use crate::requirements::Requirements;

/// Directories that packages of the base system, of systemd and of Podman bring on every
/// distribution, so that an overlay does not claim them.
const DIRECTORIES: [&str; 23] = [
    "/etc/apparmor.d",
    "/etc/containers",
    "/etc/modules-load.d",
    "/etc/sysctl.d",
    "/etc/systemd/system",
    "/etc/systemd/user",
    "/etc/tmpfiles.d",
    "/etc/udev/rules.d",
    "/home",
    "/root",
    "/usr/lib/environment.d",
    "/usr/lib/modules-load.d",
    "/usr/lib/sysctl.d",
    "/usr/lib/systemd/system",
    "/usr/lib/systemd/system-preset",
    "/usr/lib/systemd/user",
    "/usr/lib/systemd/user-preset",
    "/usr/lib/tmpfiles.d",
    "/usr/lib/udev/rules.d",
    "/usr/share/containers",
    "/usr/local/bin",
    "/var/lib/systemd",
    "/var/log",
];
/// The drop-ins of systemd's own and of a user manager, as far as plans look at them. `Delegate=`
/// is that of the oldest systemd that can delegate cpuset (244): what is left out there has to be
/// in the overlay.
const UNITS: [(&str, &str); 8] = [
    ("system/user@.service", "[Service]\nType=notify\nDelegate=pids memory\nTasksMax=infinity\n"),
    ("system/user-.slice.d/10-defaults.conf", "[Slice]\nTasksMax=33%\n"),
    ("user/app.slice", "[Unit]\nDescription=User Application Slice\n"),
    ("user/default.target", "[Unit]\nDescription=Main User Target\n"),
    ("user/sockets.target", "[Unit]\nDescription=Sockets\n"),
    ("user/dbus.service", "[Service]\nType=notify\n"),
    ("user/dbus.socket", "[Socket]\nListenStream=%t/bus\n"),
    // podman: contrib/systemd/user/podman.socket.
    (
        "user/podman.socket",
        "[Socket]\nListenStream=%t/podman/podman.sock\n[Install]\nWantedBy=sockets.target\n",
    ),
];
/// How the bus of a user is pulled in.
const DBUS_WANTED: (&str, &str) =
    ("/usr/lib/systemd/user/sockets.target.wants/dbus.socket", "../dbus.socket");
/// What Podman does not start without (containers-policy.json(5)).
const POLICY: (&str, &str) =
    ("/etc/containers/policy.json", "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}\n");
/// What comes with systemd, shadow and Podman.
const PROGRAMS: [(&str, &str); 13] = [
    ("/usr/lib/systemd/systemd", "0755"),
    ("/usr/bin/newuidmap", "4755"),
    ("/usr/bin/newgidmap", "4755"),
    ("/usr/bin/podman", "0755"),
    ("/usr/bin/conmon", "0755"),
    ("/usr/bin/crun", "0755"),
    ("/usr/bin/pasta", "0755"),
    ("/usr/bin/slirp4netns", "0755"),
    ("/usr/sbin/nft", "0755"),
    ("/usr/lib/podman/netavark", "0755"),
    ("/usr/lib/podman/aardvark-dns", "0755"),
    ("/usr/lib/podman/catatonit", "0755"),
    ("/usr/lib/systemd/user-generators/podman-user-generator", "0755"),
];

/// A model host in memory.
#[derive(Clone, Debug)]
pub(super) struct Model {
    toml: HostToml,
    files: BTreeMap<String, Vec<u8>>,
}

impl Model {
    /// With this user and everything that requirements want of what a build brings, for a kernel of
    /// this version.
    pub(super) fn of(person: &Person, brought: Option<(&Requirements, &str)>) -> Model {
        let toml = HostToml { format: 1, running: false, complete: true, ..HostToml::default() };
        let mut model = Model { toml, files: BTreeMap::new() };
        let Person { name, uid, gid, home } = person;
        model.file(
            "/etc/passwd",
            &format!("root:x:0:0:root:/root:/bin/sh\n{name}:x:{uid}:{gid}::{home}:/bin/sh\n"),
        );
        model.file("/etc/group", &format!("root:x:0:\n{name}:x:{gid}:\n"));
        DIRECTORIES.iter().for_each(|path| model.directory(path, "0755", (0, 0)));
        model.directory(home, "0700", (*uid, *gid));
        for (unit, text) in UNITS {
            model.file(&format!("/usr/lib/systemd/{unit}"), text);
        }
        let (link, target) = DBUS_WANTED;
        model.file(link, "");
        model
            .toml
            .paths
            .insert(link.to_owned(), PathRecord { link: Some(target.to_owned()), ..PathRecord::default() });
        model.file(POLICY.0, POLICY.1);
        for (path, mode) in PROGRAMS {
            model.program(path, mode);
        }
        if let Some((requirements, kernel)) = brought {
            model.bring(requirements, kernel);
        }
        model.list();
        model
    }

    /// The programs and the modules that are asked for.
    fn bring(&mut self, requirements: &Requirements, kernel: &str) {
        for (program, _) in &requirements.programs {
            // What no distribution packages is put where its installer puts it.
            let dir = if program.get.is_some() { "/usr/local/bin" } else { "/usr/bin" };
            if let Some(name) = program.any_of.first() {
                self.program(&format!("{dir}/{name}"), "0755");
            }
        }
        let dir = format!("/usr/lib/modules/{kernel}");
        let mut listed = String::new();
        for name in requirements.modules.keys() {
            let file = format!("kernel/{name}.ko");
            self.file(&format!("{dir}/{file}"), "");
            listed.push_str(&format!("{file}:\n"));
        }
        self.file(&format!("{dir}/modules.dep"), &listed);
        self.file(&format!("{dir}/modules.dep.bin"), "");
        self.file(&format!("{dir}/modules.builtin"), "");
    }

    fn file(&mut self, path: &str, text: &str) {
        self.files.insert(path.to_owned(), text.as_bytes().to_vec());
    }

    fn program(&mut self, path: &str, mode: &str) {
        self.file(path, "");
        let record = PathRecord { mode: Some(mode.to_owned()), ..PathRecord::default() };
        self.toml.paths.insert(path.to_owned(), record);
    }

    fn directory(&mut self, path: &str, mode: &str, (uid, gid): (u32, u32)) {
        let (kind, mode) = (Some("dir".to_owned()), Some(mode.to_owned()));
        let record = PathRecord { kind, mode, uid: Some(uid), gid: Some(gid), ..PathRecord::default() };
        self.toml.paths.insert(path.to_owned(), record);
    }

    /// Lists every directory, the empty ones as well, which no file shows.
    fn list(&mut self) {
        let is_dir = |record: &PathRecord| record.kind.is_some();
        let directories =
            self.toml.paths.iter().filter(|(_, record)| is_dir(record)).map(|(path, _)| (path, "/"));
        let mut listings: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (path, mark) in directories.chain(self.files.keys().map(|path| (path, ""))) {
            if !mark.is_empty() {
                listings.entry(path.clone()).or_default();
            }
            let (mut child, mut mark) = (path.as_str(), mark);
            while let Some((parent, name)) = child.rsplit_once('/').filter(|_| child.len() > 1) {
                let names = listings.entry(parent.to_owned()).or_default();
                let name = format!("{name}{mark}");
                if !names.contains(&name) {
                    names.push(name);
                }
                (child, mark) = (parent, "/");
            }
        }
        self.toml.listings = listings;
    }

    /// What the model host is once these changes are made.
    pub(super) fn facts(&self, changes: &[Change]) -> Facts {
        Facts::new(Host::from_memory(self.toml.clone(), self.files.clone()).planned(changes))
    }
}
