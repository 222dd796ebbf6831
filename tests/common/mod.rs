//! What the integration tests share: the binary, and a small image root to break.
#![expect(clippy::disallowed_methods, reason = "tests make files and start the binary")]
#![allow(dead_code, clippy::allow_attributes, reason = "each test crate uses its part")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

/// The binary, with an environment that says nothing.
pub(crate) fn edgeprep(args: &[&str]) -> Output {
    command(args).output().expect("edgeprep starts")
}

/// As [`edgeprep`], not yet started.
pub(crate) fn command(args: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("edgeprep"));
    command.env_clear().env("LC_ALL", "C.UTF-8").args(args);
    command
}

/// Standard output as text.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// The report that `check --format json` prints for these arguments, and the exit code.
pub(crate) fn report(args: &[&str]) -> (Value, i32) {
    let output = edgeprep(&[&["check", "--format", "json"], args].concat());
    let text = stdout(&output);
    let report = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{}", stderr(&output)));
    (report, output.status.code().expect("an exit code"))
}

/// The rows of a check.
pub(crate) fn rows<'a>(report: &'a Value, id: &str) -> Vec<&'a Value> {
    report["checks"].as_array().unwrap().iter().filter(|row| row["id"] == id).collect()
}

/// The status of the weightiest row of a check.
pub(crate) fn status<'a>(report: &'a Value, id: &str) -> &'a str {
    let rows = rows(report, id);
    rows.first().unwrap_or_else(|| panic!("no row of {id}"))["status"].as_str().unwrap()
}

/// The folder of a fixture.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sysfs").join(name)
}

/// An image root in a temporary folder.
pub(crate) struct Image(TempDir);

impl Image {
    /// A root with the files of a small Debian that rootless Podman would run on: systemd, a user
    /// `edge` with subordinate IDs, one kernel.
    pub(crate) fn debian() -> Image {
        let image = Image::empty();
        image.put("usr/lib/os-release", "ID=debian\nVERSION_ID=\"13\"\nPRETTY_NAME=\"Debian 13\"\n");
        image.put("etc/passwd", "root:x:0:0::/root:/bin/bash\nedge:x:1000:1000::/home/edge:/bin/bash\n");
        image.put("etc/group", "root:x:0:\nedge:x:1000:\n");
        image.put("etc/login.defs", "UID_MIN 1000\nUID_MAX 60000\nSUB_UID_MIN 100000\nSUB_UID_COUNT 65536\n");
        image.put("etc/subuid", "edge:100000:65536\n");
        image.put("etc/subgid", "edge:100000:65536\n");
        image.put(
            "usr/lib/systemd/system/user@.service",
            "[Unit]\nDescription=User Manager for UID %i\n[Service]\nUser=%i\nDelegate=pids memory cpu\n",
        );
        image.put("usr/lib/systemd/systemd", "");
        image.put("usr/lib/systemd/libsystemd-shared-257.so", "");
        image.put("usr/lib/systemd/user/dbus.socket", "[Socket]\nListenStream=%t/bus\n");
        image.put("usr/lib/systemd/user/dbus.service", "[Service]\nExecStart=/usr/bin/dbus-daemon\n");
        image.link("usr/sbin/init", "../lib/systemd/systemd");
        image.mode("usr/lib/systemd/systemd", 0o755);
        for program in ["newuidmap", "newgidmap"] {
            image.put(&format!("usr/bin/{program}"), "");
            image.mode(&format!("usr/bin/{program}"), 0o4755);
        }
        let kernel = "usr/lib/modules/6.12.1-amd64";
        image.put(
            &format!("{kernel}/modules.dep"),
            "kernel/net/ipv4/netfilter/ip_tables.ko.xz:\nkernel/drivers/net/tun.ko.xz:\n",
        );
        image.put(&format!("{kernel}/modules.builtin"), "kernel/fs/overlayfs/overlay.ko\n");
        image.put(&format!("{kernel}/kernel/net/ipv4/netfilter/ip_tables.ko.xz"), "");
        image.put(&format!("{kernel}/kernel/drivers/net/tun.ko.xz"), "");
        image.link("lib", "usr/lib");
        image.link("bin", "usr/bin");
        image.link("sbin", "usr/sbin");
        fs::create_dir_all(image.path("home/edge")).unwrap();
        image
    }

    /// An empty root.
    pub(crate) fn empty() -> Image {
        Image(TempDir::new().unwrap())
    }

    /// The path of something in it.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.0.path().join(relative)
    }

    /// Its root, for `--root`.
    pub(crate) fn root(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// Writes a file.
    pub(crate) fn put(&self, relative: &str, content: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Sets permission bits.
    pub(crate) fn mode(&self, relative: &str, mode: u32) {
        fs::set_permissions(self.path(relative), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Makes a symbolic link, in place of what is there.
    pub(crate) fn link(&self, relative: &str, target: &str) {
        let path = self.path(relative);
        let _ = fs::remove_file(&path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// Removes a file.
    pub(crate) fn remove(&self, relative: &str) {
        fs::remove_file(self.path(relative)).unwrap();
    }
}

/// Every path below a folder with its kind, mode, owner and content; journals are left out.
pub(crate) type Snapshot = std::collections::BTreeMap<String, (u32, u32, u32, Vec<u8>)>;

/// See [`Snapshot`].
pub(crate) fn snapshot(root: &Path) -> Snapshot {
    use std::os::unix::fs::MetadataExt;
    let mut all = Snapshot::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if name == "var/lib/edgeprep" {
                continue;
            }
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else if meta.is_file() {
                fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            if meta.is_dir() {
                open.push(path);
            }
            all.insert(name, (meta.mode(), meta.uid(), meta.gid(), content));
        }
    }
    all
}

/// A copy of a folder, with modes and links as they are.
pub(crate) fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
    assert!(status.success());
}

/// What the paths say that differ between two snapshots.
pub(crate) fn differences(one: &Snapshot, other: &Snapshot) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    names.into_iter().filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
}
