//! Hosts for tests: a captured host from `tests/fixtures/sysfs`, or an empty one, with one thing changed.

use std::collections::BTreeMap;
use std::path::Path;

use super::Facts;
use crate::host::{Host, HostToml, PathRecord, SpaceRecord};
use crate::plan::Change;

/// A host in memory that tests can change before they look at it.
#[derive(Clone)]
pub(crate) struct TestHost {
    toml: HostToml,
    files: BTreeMap<String, Vec<u8>>,
}

/// An empty running host on which everything that is not put there is absent.
pub(crate) fn empty_host() -> TestHost {
    TestHost {
        toml: HostToml { format: 1, running: true, complete: true, ..HostToml::default() },
        files: BTreeMap::new(),
    }
}

/// Alpine, put together from what is published: the kernel and the programs of a captured Debian 13, what
/// OpenRC leaves in `/run`, the files that `alpine-baselayout` installs, some of the packages that `podman`
/// depends on (aports: `community/podman/APKBUILD`), and no trace of systemd or dpkg.
pub(crate) fn openrc_host() -> TestHost {
    let gone = [
        "/etc/environment",
        "/etc/modules-load.d",
        "/etc/security",
        "/etc/systemd",
        "/etc/xdg/systemd",
        "/run/dbus",
        "/run/systemd",
        "/run/user",
        "/sys/fs/cgroup/user.slice",
        "/usr/lib/environment.d",
        "/usr/lib/systemd",
        "/usr/lib/sysctl.d",
        "/usr/lib/x86_64-linux-gnu",
        "/var/lib/dpkg",
        "/var/lib/systemd",
    ];
    let os = "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.22.1\nPRETTY_NAME=\"Alpine Linux v3.22\"\n";
    let packages = ["podman 5.5.2-r2", "conmon 2.1.13-r2", "crun 1.21-r0", "slirp4netns 1.3.3-r0"];
    let database: String = packages
        .iter()
        .filter_map(|package| package.split_once(' '))
        .map(|(name, version)| format!("P:{name}\nV:{version}\nA:x86_64\n\n"))
        .collect();
    let sysctl_conf = "# content of this file will override /etc/sysctl.d/*\n";
    gone.into_iter()
        .fold(fixture("debian-13"), TestHost::without)
        .file("/etc/os-release", os)
        .file("/lib/apk/db/installed", database)
        .file("/etc/modules", "af_packet\nipv6\n")
        .file("/etc/sysctl.conf", sysctl_conf)
        .file("/run/openrc/softlevel", "default\n")
        .file("/proc/1/comm", "init\n")
}

/// With Podman from a package of Debian with this version.
pub(crate) fn podman(host: TestHost, version: &str) -> TestHost {
    let status = format!("Package: podman\nStatus: install ok installed\nVersion: {version}\n\n");
    let list = "/var/lib/dpkg/info/podman.list";
    let host = host.file("/usr/bin/podman", "").mode("/usr/bin/podman", "0755");
    host.file("/var/lib/dpkg/status", status).file(list, "/usr/bin/podman\n")
}

/// The fixture `tests/fixtures/sysfs/NAME`, the capture of a real machine.
pub(crate) fn fixture(name: &str) -> TestHost {
    let mut files = tree(&format!("sysfs/{name}"));
    let text = String::from_utf8(files.remove("/host.toml").expect("host.toml")).unwrap();
    files.remove("/README.md");
    let toml: HostToml = toml::from_str(&text).unwrap();
    // What a test changes can lead to places that nobody looked at on the real machine: they are absent.
    TestHost { toml: HostToml { complete: true, ..toml }, files }
}

/// What a folder of `tests/fixtures/packages` says of itself.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sources {
    pub(crate) about: String,
    kernel: String,
    #[serde(default)]
    pub(crate) file: Vec<Part>,
    #[serde(default)]
    link: Vec<Part>,
    #[serde(default)]
    program: Vec<Part>,
    #[serde(default)]
    directory: Vec<Part>,
    #[serde(default)]
    pub(crate) absent: Vec<Lacking>,
}

/// Something that a distribution has.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    pub(crate) path: String,
    #[serde(default)]
    target: Option<String>,
    pub(crate) source: String,
}

/// Something of a distribution that could not be had.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lacking {
    pub(crate) what: String,
    pub(crate) why: String,
}

/// The files of `tests/fixtures/packages/NAME`, and where they are from.
pub(crate) fn packages(name: &str) -> (Sources, BTreeMap<String, Vec<u8>>) {
    let mut files = tree(&format!("packages/{name}"));
    let text = String::from_utf8(files.remove("/SOURCE.toml").expect("SOURCE.toml")).unwrap();
    (toml::from_str(&text).unwrap(), files)
}

/// The distribution of `tests/fixtures/packages/NAME`: a captured Debian 13 under another kernel release,
/// without what Debian alone has, and with what the folder holds. The list of packages stays where the
/// distribution is one of Debian's family.
pub(crate) fn distribution(name: &str) -> TestHost {
    const CAPTURED: &str = "6.12.117+deb13-cloud-amd64";
    let (sources, files) = packages(name);
    let of_debian = [
        "/usr/bin/docker",
        "/etc/apparmor.d",
        "/etc/modules-load.d",
        "/etc/security/limits.d",
        "/etc/systemd",
        "/usr/lib/sysctl.d",
        "/usr/lib/systemd/system.conf.d",
        "/usr/lib/x86_64-linux-gnu",
    ];
    let is_debian = ["ubuntu", "raspberry"].iter().any(|family| name.starts_with(family));
    let lists = if is_debian { None } else { Some("/var/lib/dpkg") };
    let os_release = files.contains_key("/usr/lib/os-release").then_some("/etc/os-release");
    let has_apparmor = is_debian || name.contains("suse") || name.starts_with("sl-") || name == "arch";
    let apparmor = if has_apparmor { None } else { Some("/sys/module/apparmor") };
    let without = of_debian.into_iter().chain(lists).chain(os_release).chain(apparmor);
    let host = if name.starts_with("alpine") {
        openrc_host().without("/etc/os-release").without("/lib/apk")
    } else {
        // What Debian has among its libraries, others have beside systemd.
        without
            .fold(fixture("debian-13"), TestHost::without)
            .file("/usr/lib/systemd/libsystemd-shared-257.so", "")
            .file("/usr/lib/systemd/user/app.slice", "[Unit]\nDescription=User Application Slice\n")
            .file("/usr/lib/systemd/systemd", "")
            .mode("/usr/lib/systemd/systemd", "0755")
            .file("/sys/kernel/security/apparmor/profiles", "")
    };
    let enforcing = files.contains_key("/etc/selinux/config");
    let host = if enforcing { host.file("/sys/fs/selinux/enforce", "1") } else { host };
    let ostree = sources.link.iter().any(|part| part.path == "/ostree");
    let host = if ostree { host.file("/run/ostree-booted", "") } else { host };
    let host = host.renamed(CAPTURED, &sources.kernel);
    let host = files.into_iter().fold(host, |host, (path, text)| host.file(&path, text));
    let host = sources.directory.iter().fold(host, |host, part| host.dir(&part.path, "0755", 0));
    let host =
        (sources.program.iter()).fold(host, |host, part| host.file(&part.path, "").mode(&part.path, "0755"));
    sources.link.into_iter().fold(host, |host, part| {
        host.file(&part.path, "").path(&part.path, |record| record.link = part.target)
    })
}

/// The files below `tests/fixtures/FOLDER`, by their paths in there.
fn tree(folder: &str) -> BTreeMap<String, Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let mut files = BTreeMap::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "fixtures are loaded into memory so that a test can change them"
    )]
    fn walk(root: &Path, at: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(at).unwrap_or_else(|e| panic!("{}: {e}", at.display())).flatten() {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                walk(root, &path, files);
            } else {
                let name = format!("/{}", path.strip_prefix(root).unwrap().to_str().unwrap());
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    walk(&root, &root, &mut files);
    files
}

impl TestHost {
    /// The facts of this host.
    pub(crate) fn facts(self) -> Facts {
        Facts::new(Host::from_memory(self.toml, self.files))
    }

    /// The facts of this host while a capture of it is made.
    pub(crate) fn recorded(self) -> Facts {
        Facts::new(Host::from_memory(self.toml, self.files).recorded())
    }

    /// The facts of this host once these changes are made.
    pub(crate) fn planned(self, changes: &[Change]) -> Facts {
        Facts::new(Host::from_memory(self.toml, self.files).planned(changes))
    }

    /// A system that is not running: an image root.
    pub(crate) fn image(mut self) -> TestHost {
        self.toml.running = false;
        self
    }

    /// With `from` called `to` in every path and every text.
    fn renamed(self, from: &str, to: &str) -> TestHost {
        let swap = |text: &str| text.replace(from, to);
        let content = |bytes: Vec<u8>| match String::from_utf8(bytes) {
            Ok(text) => swap(&text).into_bytes(),
            Err(binary) => binary.into_bytes(),
        };
        let mut toml = self.toml;
        toml.paths = toml.paths.into_iter().map(|(path, record)| (swap(&path), record)).collect();
        let names = |names: Vec<String>| names.iter().map(|name| swap(name)).collect();
        toml.listings = toml.listings.into_iter().map(|(path, found)| (swap(&path), names(found))).collect();
        let files = self.files.into_iter().map(|(path, bytes)| (swap(&path), content(bytes))).collect();
        TestHost { toml, files }
    }

    /// With this file, whatever was said of the path before.
    pub(crate) fn file(mut self, path: &str, text: impl AsRef<[u8]>) -> TestHost {
        if let Some(record) = self.toml.paths.get_mut(path) {
            record.error = None;
            record.read_error = None;
            record.size = None;
        }
        self.files.insert(path.to_owned(), text.as_ref().to_owned());
        self.listed(path)
    }

    /// The text of a file. Panics when there is none.
    pub(crate) fn text(&self, path: &str) -> String {
        let bytes = self.files.get(path).unwrap_or_else(|| panic!("{path} is not there"));
        String::from_utf8(bytes.clone()).unwrap()
    }

    /// With every occurrence of `from` in a file replaced. Panics when there is none.
    pub(crate) fn edit(self, path: &str, from: &str, to: &str) -> TestHost {
        let text = self.text(path);
        assert!(text.contains(from), "{path} does not hold {from:?}");
        self.file(path, text.replace(from, to))
    }

    /// With more lines at the end of a file.
    pub(crate) fn append(self, path: &str, more: &str) -> TestHost {
        let mut text = self.files.get(path).cloned().unwrap_or_default();
        text.extend_from_slice(more.as_bytes());
        self.file(path, text)
    }

    /// With what `stat(2)` and the like say of a path.
    pub(crate) fn path(mut self, path: &str, change: impl FnOnce(&mut PathRecord)) -> TestHost {
        let record = self.toml.paths.entry(path.to_owned()).or_default();
        record.error = None;
        change(record);
        self.listed(path)
    }

    /// With permission bits such as `"4755"`.
    pub(crate) fn mode(self, path: &str, mode: &str) -> TestHost {
        self.path(path, |record| record.mode = Some(mode.to_owned()))
    }

    /// With a directory that belongs to this user.
    pub(crate) fn dir(self, path: &str, mode: &str, uid: u32) -> TestHost {
        self.path(path, |record| {
            record.kind = Some("dir".to_owned());
            record.mode = Some(mode.to_owned());
            record.uid = Some(uid);
            record.gid = Some(uid);
        })
    }

    /// Without this file or directory and all below it.
    pub(crate) fn without(mut self, path: &str) -> TestHost {
        let below = format!("{path}/");
        self.files.retain(|p, _| p != path && !p.starts_with(&below));
        self.toml.paths.retain(|p, _| p != path && !p.starts_with(&below));
        self.toml.listings.retain(|p, _| p != path && !p.starts_with(&below));
        self.toml.space.retain(|p, _| p != path && !p.starts_with(&below));
        if let Some((parent, name)) = path.rsplit_once('/')
            && let Some(names) = self.toml.listings.get_mut(parent)
        {
            names.retain(|n| n.trim_end_matches('/') != name);
        }
        self.error(path, "absent")
    }

    /// With this path failing: `absent`, `denied`, `fifo`, `too-large`, `errno 5`, ...
    pub(crate) fn error(mut self, path: &str, word: &str) -> TestHost {
        self.files.remove(path);
        self.toml.listings.remove(path);
        self.toml
            .paths
            .insert(path.to_owned(), PathRecord { error: Some(word.to_owned()), ..PathRecord::default() });
        self
    }

    /// With this much room (and as many inodes as bytes).
    pub(crate) fn space(mut self, path: &str, total_bytes: u64, available_bytes: u64) -> TestHost {
        let record =
            SpaceRecord { total_bytes, available_bytes, inodes: total_bytes, inodes_free: available_bytes };
        self.toml.space.insert(path.to_owned(), record);
        self
    }

    /// With a clock that says this, in seconds since 1970.
    pub(crate) fn now(mut self, secs: impl Into<Option<i64>>) -> TestHost {
        self.toml.now_secs = secs.into();
        self
    }

    /// Run by this UID, with this environment variable.
    pub(crate) fn caller(mut self, uid: u32, environment: &[(&str, &str)]) -> TestHost {
        self.toml.caller.uid = uid;
        self.toml.caller.gid = uid;
        self.toml.caller.environment =
            environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self
    }

    /// Adds a name to its directory's recorded listing, and that directory to its parent's.
    fn listed(mut self, path: &str) -> TestHost {
        let mut child = path;
        let mut suffix = "";
        while let Some((parent, name)) = child.rsplit_once('/') {
            if let Some(record) = self.toml.paths.get_mut(parent) {
                if record.error.take().is_some() {
                    record.kind = Some("dir".to_owned());
                }
                record.read_error = None;
            }
            if let Some(names) = self.toml.listings.get_mut(parent) {
                let entry = format!("{name}{suffix}");
                if !names.contains(&entry) {
                    names.push(entry);
                }
            } else if self.toml.paths.contains_key(parent) && !self.toml.complete {
                self.toml.listings.insert(parent.to_owned(), vec![format!("{name}{suffix}")]);
            }
            if parent.is_empty() {
                break;
            }
            (child, suffix) = (parent, "/");
        }
        self
    }
}
