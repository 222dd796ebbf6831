//! Generated trees, read by edgeprep and by the systemd of this machine: both must see the same
//! drop-ins in the same order, the same delegation, and the same values of sysctl.d.
//!
//! Units are put through `systemd --test`, which loads a unit from `$SYSTEMD_UNIT_PATH`, prints what
//! it made of it and starts nothing. systemd-sysctl is given keys that do not exist or cannot be
//! written, and tells what it would set.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the test makes trees and runs systemd; edgeprep itself does neither"
)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "all of this file is a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use edgeprep::facts::Facts;
use edgeprep::host::Host;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// The search path of the system manager, relative to a root, highest first.
const UNIT_DIRS: [&str; 12] = [
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "run/systemd/transient",
    "run/systemd/generator.early",
    "etc/systemd/system",
    "etc/systemd/system.attached",
    "run/systemd/system",
    "run/systemd/system.attached",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "run/systemd/generator.late",
];

const SYSCTL_DIRS: [&str; 4] = ["etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d"];

/// Lines that unit files are made of here, each with its ending.
#[rustfmt::skip]
const UNIT_LINES: [&str; 33] = [
    "[Service]\n", "[Service]\n", "[Service]\r\n", " [Service] \n", "[service]\n", "[Unit]\n", "[broken\n",
    "[\"quoted\"]\n", "\u{feff}[Service]\n", "Delegate=cpuset\n", "Delegate=io\r\n", "Delegate=\n",
    "Delegate=yes\n", "Delegate=no\n", "Delegate=on\r", "  Delegate  =  pids  io \n", "Delegate=memory \\\n",
    "Delegate=\\\n", "  io\n", "cpuset \\\n", "# Delegate=io\n", "  ; Delegate=io \\\n", "Delegate=cpu,io\n",
    "Delegate=bogus memory # io\n", "Delegate='cpu io'\n", "Delegate=\"cpu\" 'io'\n", "Delegate=\"cpu\n",
    "Delegate\n", "=cpu\n", "Delegate=c\\pu\\\\\n", "delegate=io\n", "\n\r", "Delegate=blkio",
];

/// Lines of sysctl.d files. The keys do not exist, or exist and cannot be written by anyone.
#[rustfmt::skip]
const SYSCTL_LINES: [&str; 20] = [
    "edgeprep.a.b=1\n", "edgeprep.a.b = 2 \n", " edgeprep/a/b=3\r\n", "-edgeprep.a.b = 4\n", "-edgeprep.a.b\n",
    "- edgeprep.a.b\n", "edgeprep.a/x.b=1\n", "edgeprep/a.x/b = 2 # c\n", "# edgeprep.a.b=9\n",
    "  ; edgeprep.a.b=9\n", "edgeprep.a.b\n", "edgeprep..a//b=5\n", "kernel.ostype=1\n", "-kernel.ostype\n",
    "kernel.os*=2\n", "kernel/ost*=3\n", "-kernel.osrelea[r-t]e = 4\n", "-kernel.os*\n", "kernel.os????=x = y\n",
    "kernel.[!n]stype=6\r",
];

/// A file to put into a tree.
#[derive(Clone, Debug)]
enum File {
    Text(String),
    LinkTo(&'static str),
    Dir,
}

struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        // systemd runs as another user where this test runs as root.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Tree(dir)
    }

    fn root(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// The path on this machine; the directory it is in is made.
    fn at(&self, path: &str) -> String {
        let path = format!("{}/{path}", self.root());
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        path
    }

    fn put(&self, path: &str, file: &File) {
        let at = self.at(path);
        match file {
            File::Text(text) => fs::write(at, text).unwrap(),
            File::LinkTo(target) => symlink(target, at).unwrap(),
            File::Dir => fs::create_dir(at).unwrap(),
        }
    }

    fn facts(&self) -> Facts {
        // As a running system, so that /run counts.
        std::fs::write(self.0.path().join("host.toml"), "format = 1\ncomplete = true\n").unwrap();
        Facts::new(Host::capture(self.0.path()).unwrap())
    }
}

fn text(lines: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(lines), 0..most).prop_map(|lines| lines.concat())
}

/// What can stand in place of a drop-in, mostly an ordinary file.
fn drop_in() -> impl Strategy<Value = File> {
    prop_oneof![
        8 => text(&UNIT_LINES, 7).prop_map(|text| File::Text(format!("[Service]\n{text}"))),
        3 => text(&UNIT_LINES, 7).prop_map(File::Text),
        1 => Just(File::LinkTo("/dev/null")),
        1 => Just(File::LinkTo("/does/not/exist")),
        1 => Just(File::Dir),
    ]
}

fn drop_ins() -> impl Strategy<Value = BTreeMap<String, File>> {
    let subs = ["user@1000.service.d", "user@.service.d", "service.d", "user@1001.service.d"];
    let names = ["10-a.conf", "99-x.conf", "Z.conf", "delegate.conf", "zz.conf", ".h.conf", "x"];
    let path = (
        prop::sample::select(UNIT_DIRS.to_vec()),
        prop::sample::select(subs.to_vec()),
        prop::sample::select(names.to_vec()),
    );
    let path = path.prop_map(|(dir, sub, name)| format!("{dir}/{sub}/{name}"));
    prop::collection::btree_map(path, drop_in(), 0..7)
}

/// What there is beside the vendor's unit file.
#[derive(Clone, Copy, Debug)]
enum Fragment {
    Vendor,
    Copy,
    Instance,
    Alias,
    Linked,
}

fn fragment() -> impl Strategy<Value = Fragment> {
    prop_oneof![
        4 => Just(Fragment::Vendor),
        1 => Just(Fragment::Copy),
        1 => Just(Fragment::Instance),
        1 => Just(Fragment::Alias),
        1 => Just(Fragment::Linked),
    ]
}

fn lay_out(tree: &Tree, fragment: Fragment, drop_ins: &BTreeMap<String, File>) {
    let unit = |delegate: &str| {
        File::Text(format!("[Service]\nType=oneshot\nExecStart=/bin/true\nDelegate={delegate}\n"))
    };
    tree.put("usr/lib/systemd/system/user@.service", &unit("pids memory cpu"));
    match fragment {
        Fragment::Vendor => {}
        Fragment::Copy => tree.put("etc/systemd/system/user@.service", &unit("cpuset")),
        Fragment::Instance => tree.put("run/systemd/system/user@1000.service", &unit("")),
        Fragment::Alias => {
            tree.put("etc/systemd/system/user@.service", &File::LinkTo("edge@.service"));
            tree.put("etc/systemd/system/edge@.service", &unit("io"));
            tree.put("etc/systemd/system/edge@1000.service.d/50.conf", &unit("cpuset"));
        }
        Fragment::Linked => {
            tree.put("etc/systemd/system/user@1000.service", &File::LinkTo("../../../opt/other.service"));
            tree.put("opt/other.service", &unit("io"));
        }
    }
    for (path, file) in drop_ins {
        tree.put(path, file);
    }
    // What every service depends on; edgeprep does not look there.
    for target in ["sysinit.target", "basic.target", "shutdown.target", "app.slice", "-.slice"] {
        tree.put(&format!("base/{target}"), &File::Text("[Unit]\nDefaultDependencies=no\n".to_owned()));
    }
}

/// What systemd or edgeprep made of a unit.
#[derive(Debug, Default, PartialEq, Eq)]
struct Loaded {
    fragment: Option<String>,
    drop_ins: Vec<String>,
    delegated: Option<BTreeSet<String>>,
}

fn program(name: &str) -> String {
    let dirs = ["/usr/lib/systemd", "/lib/systemd", "/usr/bin"];
    let found = dirs.iter().map(|dir| format!("{dir}/{name}")).find(|path| Path::new(path).exists());
    found.unwrap_or_else(|| panic!("{name} is not installed: this test takes the package `systemd`"))
}

fn by_systemd(tree: &Tree) -> Loaded {
    let runtime = tree.at("xdg");
    fs::create_dir(&runtime).unwrap();
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new(program("systemd"));
    // As root it would load the units and print nothing.
    if nix::unistd::geteuid().is_root() {
        command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", &program("systemd")]);
    }
    let dirs = UNIT_DIRS.iter().chain(&["base"]).map(|dir| format!("{}/{dir}", tree.root()));
    let output = command
        .args(["--test", "--user", "--unit=user@1000.service"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", tree.root())
        .env("XDG_RUNTIME_DIR", runtime)
        .env("SYSTEMD_UNIT_PATH", dirs.collect::<Vec<_>>().join(":"))
        .output()
        .unwrap();
    let dump = String::from_utf8_lossy(&output.stdout);
    let mut loaded = Loaded::default();
    let names = ["-> Unit user@1000.service:", "-> Unit edge@1000.service:"];
    let mut lines = dump.lines().map(str::trim).skip_while(|line| !names.contains(line));
    if lines.next().is_none() {
        panic!("systemd printed no unit: {dump}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    for line in lines.take_while(|line| !line.starts_with("-> Unit ")) {
        let path = |path: &str| path.strip_prefix(tree.root()).unwrap_or(path).to_owned();
        match line.split_once(": ") {
            Some(("Fragment Path", at)) => loaded.fragment = Some(path(at)),
            Some(("DropIn Path", at)) => loaded.drop_ins.push(path(at)),
            Some(("Delegate", "yes")) => loaded.delegated = Some(BTreeSet::new()),
            Some(("DelegateControllers", names)) => {
                loaded.delegated = Some(names.split_whitespace().map(str::to_owned).collect());
            }
            _ => {}
        }
    }
    loaded
}

fn by_edgeprep(tree: &Tree) -> Loaded {
    let facts = tree.facts();
    let unit = facts.unit("user@1000.service").unwrap();
    let delegation = facts.delegation(1000).unwrap();
    // systemd lists masks among the drop-ins.
    let mut drop_ins = unit.drop_ins.clone();
    drop_ins.extend(unit.masks.iter().map(|mask| mask.path.to_string()));
    drop_ins.sort_by_key(|path| path.rsplit_once('/').map(|(_, name)| name.to_owned()));
    let controllers = delegation.controllers.keys().map(ToString::to_string).collect();
    let delegated = if delegation.on { Some(controllers) } else { None };
    Loaded { fragment: unit.fragment.clone(), drop_ins, delegated }
}

/// Fewer cases than usual, since each one starts a process; `PROPTEST_CASES` asks for more.
fn check<S: Strategy>(inputs: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(32);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(inputs, test).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn units_are_what_systemd_makes_of_them() {
    check(&(fragment(), drop_ins()), |(fragment, drop_ins)| {
        let tree = Tree::new();
        lay_out(&tree, fragment, &drop_ins);
        prop_assert_eq!(by_edgeprep(&tree), by_systemd(&tree), "left: edgeprep, right: systemd");
        Ok(())
    });
}

#[test]
fn sysctl_files_are_those_that_systemd_reads() {
    let names = ["10-a.conf", "99-x.conf", "B.conf", "b.conf", "zz.conf", ".h.conf", "x"];
    let file = (prop::sample::select(SYSCTL_DIRS.to_vec()), prop::sample::select(names.to_vec()));
    let content = prop::sample::select(vec!["", "a.b = 1\n"]);
    check(&prop::collection::btree_map(file, content, 0..10), |files| {
        let tree = Tree::new();
        tree.put("usr/lib/x", &File::Dir);
        tree.put("lib", &File::LinkTo("usr/lib"));
        for ((dir, name), content) in &files {
            tree.put(&format!("{dir}/{name}"), &File::Text((*content).to_owned()));
        }
        let output = Command::new(program("systemd-analyze"))
            .args([&format!("--root={}", tree.root()), "cat-config", "sysctl.d"])
            .output()
            .unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        let paths = shown.lines().filter_map(|line| line.strip_prefix("# ")?.strip_prefix(tree.root()));
        let own = tree.facts().conf_files("sysctl.d");
        let own: Vec<&str> = own.files.iter().map(|file| file.path.as_str()).collect();
        prop_assert_eq!(own, paths.collect::<Vec<_>>(), "left: edgeprep, right: systemd");
        Ok(())
    });
}

#[test]
fn sysctl_values_are_those_that_systemd_sets() {
    const KEYS: [&str; 4] = ["edgeprep/a/b", "edgeprep/a.x/b", "kernel/ostype", "kernel/osrelease"];
    check(&(text(&SYSCTL_LINES, 10), text(&SYSCTL_LINES, 10)), |(first, second)| {
        let tree = Tree::new();
        let paths = ["etc/sysctl.d/a.conf", "etc/sysctl.d/b.conf"];
        tree.put(paths[0], &File::Text(first));
        tree.put(paths[1], &File::Text(second));
        let output = Command::new(program("systemd-sysctl"))
            .args(paths.map(|path| tree.at(path)))
            .env("SYSTEMD_LOG_LEVEL", "debug")
            .env("SYSTEMD_LOG_TARGET", "console")
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        let mut by_systemd: BTreeMap<&str, &str> = BTreeMap::new();
        for line in log.lines() {
            let set = line.strip_prefix("Setting '/proc/sys/").and_then(|rest| rest.split_once("' to '"));
            by_systemd.extend(set.map(|(path, value)| (path, value.strip_suffix('\'').unwrap_or(value))));
        }
        prop_assert!(log.contains("Parsing "), "systemd-sysctl did not tell what it did: {}", log);
        let facts = tree.facts();
        for key in KEYS {
            let own = facts.sysctl_configured(key).unwrap().map(|configured| configured.value);
            prop_assert_eq!(
                own.as_deref(),
                by_systemd.get(key).copied(),
                "{} (right: systemd)\n{}",
                key,
                log
            );
        }
        Ok(())
    });
}
