//! What happens between plan and apply, and when the disk says no: seen on image roots.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::disallowed_methods, reason = "tests make files and start programs")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use common::{Image, differences, snapshot, stderr, stdout};
use edgeprep::apply::journal::{Journal, Store};
use edgeprep::apply::target::Target;
use edgeprep::apply::transaction::{Applied, Transaction};
use edgeprep::apply::writers::Writers;
use edgeprep::facts::Facts;
use edgeprep::fixes::Options;
use edgeprep::host::Host;
use edgeprep::inspection::Request;
use edgeprep::plan::{Change, Plan, Planner, Scope};
use edgeprep::requirements::Stack;

fn plan(image: &Image) -> Plan {
    let request = Request {
        profile: "generic".to_owned(),
        stacks: vec![Stack::K3s],
        users: vec!["edge".to_owned()],
        today: "2026-01-01".to_owned(),
        ..Request::default()
    };
    let root = image.path("");
    let open = |changes: &[Change]| Ok(Facts::new(Host::image(&root)?.planned(changes)));
    let options = Options::default();
    Planner { open: &open, request: &request, options: &options, scope: Scope::All }.plan().unwrap()
}

fn apply(image: &Image, plan: &Plan) -> Applied {
    let target = Target::image(&image.path("")).unwrap();
    let store = Store::open(&target, "/var/lib/edgeprep", (0, 0)).unwrap();
    let mut writers = Writers::new(Target::image(&image.path("")).unwrap());
    let mut transaction =
        Transaction { writers: &mut writers, live: false, store: Some(&store), progress: &|_| {} };
    transaction.apply(Journal::of(plan, 1, None))
}

/// Debian's image with a file that the fix would edit.
fn image() -> Image {
    let image = Image::debian();
    image.put("etc/sysctl.d/90-rootless.conf", "net.ipv4.ip_forward = 0\n");
    image.put("var/lib/systemd/random-seed", "");
    image
}

#[test]
fn a_file_that_changed_since_the_plan_stops_it_and_all_is_put_back() {
    let image = image();
    let plan = plan(&image);
    image.put("etc/sysctl.d/90-rootless.conf", "net.ipv4.ip_forward = 0\n# by hand\n");
    let before = snapshot(&image.path(""));
    let Applied::PutBack { error } = apply(&image, &plan) else { panic!("it was applied") };
    assert!(error.contains("/etc/sysctl.d/90-rootless.conf"), "{error}");
    assert_eq!(differences(&before, &snapshot(&image.path(""))), [""; 0]);
}

#[test]
fn a_file_that_appeared_since_the_plan_is_not_replaced() {
    let image = image();
    let plan = plan(&image);
    image.put("etc/modules-load.d/rootless.conf", "theirs\n");
    let before = snapshot(&image.path(""));
    assert!(matches!(apply(&image, &plan), Applied::PutBack { .. }));
    assert_eq!(differences(&before, &snapshot(&image.path(""))), [""; 0]);
}

#[test]
fn a_directory_that_became_a_link_since_the_plan_leads_nowhere() {
    let image = image();
    let plan = plan(&image);
    let outside = tempfile::tempdir().unwrap();
    fs::rename(image.path("etc/sysctl.d"), image.path("etc/sysctl.d.old")).unwrap();
    symlink(outside.path(), image.path("etc/sysctl.d")).unwrap();
    let before = snapshot(&image.path(""));
    assert!(matches!(apply(&image, &plan), Applied::PutBack { .. }));
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(differences(&before, &snapshot(&image.path(""))), [""; 0]);
}

/// Runs a shell script in a mount namespace of its own, in which `$0` is the binary and `$1` a folder.
fn in_namespace(script: &str, folder: &std::path::Path) -> Output {
    Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-ec", script, env!("CARGO_BIN_EXE_edgeprep")])
        .arg(folder)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .expect("unshare (util-linux)")
}

const FIX: &str = "\"$0\" fix --root \"$1/root\" --stack k3s --user edge --yes --format json";

#[test]
fn a_full_disk_changes_nothing_and_room_lets_it_go_on() {
    let image = image();
    // The image lies on a small file system, which is filled to the last block.
    let script = format!(
        "mkdir \"$1/fs\"; mount -t tmpfs -o size=1m,mode=755 none \"$1/fs\"; cp -a \"$1/root\" \"$1/fs/root\"
        set -- \"$1/fs\"; dd if=/dev/zero of=\"$1/fill\" bs=4k 2>/dev/null || true
        tree() {{ tar -C \"$1/root\" --exclude ./var/lib/edgeprep --sort name --mtime @0 -c . | sha256sum; }}
        before=$(tree \"$1\")
        set +e; {FIX}; echo \"exit $?\"; set -e
        if [ \"$before\" = \"$(tree \"$1\")\" ]; then echo unchanged; fi
        rm \"$1/fill\"
        set +e; {FIX} >/dev/null; echo \"then $?\""
    );
    let folder = tempfile::tempdir().unwrap();
    common::copy(&image.path(""), &folder.path().join("root"));
    let output = in_namespace(&script, folder.path());
    let text = format!("{}{}", stdout(&output), stderr(&output));
    assert!(text.contains("exit 5") || text.contains("exit 2"), "{text}");
    assert!(text.contains("No space left"), "{text}");
    assert!(text.contains("unchanged"), "{text}");
    assert!(text.contains("then 1"), "{text}");
}

#[test]
fn a_read_only_etc_changes_nothing() {
    let image = image();
    let script = format!(
        "mount --bind \"$1/root/etc\" \"$1/root/etc\"; mount -o remount,ro,bind \"$1/root/etc\"
        set +e; {FIX}; echo \"exit $?\""
    );
    let folder = tempfile::tempdir().unwrap();
    common::copy(&image.path(""), &folder.path().join("root"));
    let before = snapshot(&folder.path().join("root"));
    let output = in_namespace(&script, folder.path());
    let text = format!("{}{}", stdout(&output), stderr(&output));
    assert!(text.contains("exit 5"), "{text}");
    assert!(text.contains("Read-only file system"), "{text}");
    assert_eq!(differences(&before, &snapshot(&folder.path().join("root"))), [""; 0]);
}
