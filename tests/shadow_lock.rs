//! Shadow's lock protocol, against itself and against the real `usermod`.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::disallowed_methods, reason = "tests make files and start processes")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use edgeprep::apply::shadow_lock::{LockError, ShadowLock};
use edgeprep::apply::target::Target;
use edgeprep::plan::{Content, State};
use nix::unistd::getuid;

/// How many lines each side adds.
const LINES: usize = 8;
/// Names this test binary as one that may change `/etc`, because it is not the machine's.
const OWN_ETC: &str = "EDGEPREP_TEST_OWN_ETC";

fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    write_accounts(&root.path().join("etc"));
    root
}

fn write_accounts(etc: &Path) {
    for (name, text) in [
        ("passwd", "root:x:0:0::/root:/bin/sh\nedge:x:1000:1000::/home/edge:/bin/sh\n"),
        ("group", "root:x:0:\nedge:x:1000:\n"),
        ("shadow", "root:*:19000:0:99999:7:::\nedge:!:19000:0:99999:7:::\n"),
        ("gshadow", "root:*::\nedge:!::\n"),
        ("login.defs", ""),
        ("subuid", ""),
        ("subgid", ""),
    ] {
        fs::write(etc.join(name), text).unwrap();
    }
}

fn names(root: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root.join("etc"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Adds a line as a fix does it.
fn add(target: &Target, path: &str, line: &str) {
    let _lock = ShadowLock::take(target, &["/etc/subuid", "/etc/subgid"]).unwrap();
    let from = target.observe(path).unwrap();
    let State::File { content, mode, uid, gid, capability } = from.clone() else { panic!("{from:?}") };
    let text = [content.bytes().unwrap(), line.as_bytes()].concat();
    target
        .put(path, &from, &State::File { content: Content::new(text), mode, uid, gid, capability })
        .unwrap();
}

#[test]
fn a_lock_is_as_shadow_has_it_and_leaves_nothing() {
    let root = root();
    let target = Target::image(root.path()).unwrap();
    let before = names(root.path());
    let lock = ShadowLock::take(&target, &["/etc/subuid", "/etc/subgid"]).unwrap();
    for name in ["etc/subuid.lock", "etc/subgid.lock"] {
        let path = root.path().join(name);
        let stat = fs::metadata(&path).unwrap();
        assert_eq!((stat.mode() & 0o777, stat.nlink()), (0o600, 1));
        assert_eq!(fs::read_to_string(path).unwrap(), format!("{}\0", std::process::id()));
    }
    assert_eq!(names(root.path()).len(), before.len() + 2);
    let pid = i32::try_from(std::process::id()).unwrap();
    let error = ShadowLock::take_within(&target, &["/etc/subuid"], Duration::ZERO).unwrap_err();
    let (path, lock_path) = ("/etc/subuid".to_owned(), "/etc/subuid.lock".to_owned());
    assert_eq!(error, LockError::Held { path, lock: lock_path, pid });
    // Of two, the second of which is taken, neither is held afterwards.
    let error =
        ShadowLock::take_within(&target, &["/etc/passwd", "/etc/subgid"], Duration::ZERO).unwrap_err();
    assert!(matches!(error, LockError::Held { .. }), "{error}");
    drop(lock);
    assert_eq!(names(root.path()), before);
}

#[test]
fn a_lock_of_a_dead_process_is_removed_and_one_of_nobody_is_left() {
    let root = root();
    let target = Target::image(root.path()).unwrap();
    let before = names(root.path());
    let mut dead = Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let lock = root.path().join("etc/subuid.lock");
    for text in [format!("{}\0", dead.id()), dead.id().to_string()] {
        fs::write(&lock, text).unwrap();
        // What an edgeprep left when it died.
        fs::write(root.path().join("etc/.subuid.lock.edgeprep~"), "left").unwrap();
        drop(ShadowLock::take_within(&target, &["/etc/subuid"], Duration::ZERO).unwrap());
        assert_eq!(names(root.path()), before);
    }
    for text in ["", "\0", "x", "0", "-1", "99999999999999999999", "1 2"] {
        fs::write(&lock, text).unwrap();
        let error = ShadowLock::take_within(&target, &["/etc/subuid"], Duration::ZERO).unwrap_err();
        assert!(matches!(error, LockError::Unknown { .. }), "{text:?}: {error}");
        assert_eq!(fs::read_to_string(&lock).unwrap(), text);
    }
    // One that is let go is taken.
    fs::write(&lock, std::process::id().to_string()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            fs::remove_file(&lock).unwrap();
        });
        ShadowLock::take(&target, &["/etc/subuid"]).unwrap();
    });
    assert_eq!(names(root.path()), before);
}

#[test]
fn a_lock_that_is_a_trap_is_left() {
    let root = root();
    let target = Target::image(root.path()).unwrap();
    let lock = root.path().join("etc/subuid.lock");
    nix::unistd::mkfifo(&lock, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let take = || ShadowLock::take_within(&target, &["/etc/subuid"], Duration::ZERO);
    assert!(matches!(take(), Err(LockError::Unknown { .. })));
    fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink("/proc/1/comm", &lock).unwrap();
    assert!(matches!(take(), Err(LockError::Unknown { .. })));
}

#[test]
fn threads_lose_no_line() {
    let root = root();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let root = root.path();
            scope.spawn(move || {
                let target = Target::image(root).unwrap();
                (0..LINES).for_each(|line| add(&target, "/etc/subuid", &format!("{thread}:{line}:1\n")));
            });
        }
    });
    let text = fs::read_to_string(root.path().join("etc/subuid")).unwrap();
    assert_eq!(text.lines().count(), 4 * LINES, "{text}");
}

/// As many lines from `usermod` as from us, at the same time.
fn beside_usermod(target: &Target, etc: &Path, arguments: &[&str]) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for line in 0..LINES {
                let range = format!("{}-{}", 100_000 + line * 10, 100_009 + line * 10);
                let output = Command::new("usermod")
                    .args(arguments)
                    .args(["--add-subuids", &range, "edge"])
                    .output()
                    .unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
        });
        scope.spawn(|| {
            for line in 0..LINES * 4 {
                add(target, "/etc/subuid", &format!("edge:{}:10\n", 200_000 + line * 20));
                std::thread::sleep(Duration::from_millis(5));
            }
        });
    });
    let text = fs::read_to_string(etc.join("subuid")).unwrap();
    for line in 0..LINES {
        assert!(text.contains(&format!("edge:{}:10\n", 100_000 + line * 10)), "of usermod's: {text}");
    }
    for line in 0..LINES * 4 {
        assert!(text.contains(&format!("edge:{}:10\n", 200_000 + line * 20)), "of ours: {text}");
    }
    assert!(!etc.join("subuid.lock").exists());
}

fn can_run_usermod() -> bool {
    getuid().is_root() && Command::new("usermod").arg("--help").output().is_ok()
}

#[test]
fn usermod_and_we_lose_no_line_in_an_image() {
    if !can_run_usermod() {
        return;
    }
    let root = root();
    let prefix = root.path().to_str().unwrap();
    beside_usermod(&Target::image(root.path()).unwrap(), &root.path().join("etc"), &["--prefix", prefix]);
}

/// On a running system, `lckpwdf(3)` comes first. In a mount namespace `/etc` is not the machine's.
#[test]
fn usermod_and_we_lose_no_line_on_a_running_system() {
    if std::env::var_os(OWN_ETC).is_some() {
        write_accounts(Path::new("/etc"));
        beside_usermod(&Target::live(), Path::new("/etc"), &[]);
        return;
    }
    if !can_run_usermod() {
        return;
    }
    let etc = tempfile::tempdir().unwrap();
    let script = "cp -a /etc/. \"$1\" && mount --bind \"$1\" /etc && exec \"$2\" --exact \
                  usermod_and_we_lose_no_line_on_a_running_system";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-euc", script, "sh"])
        .arg(etc.path())
        .arg(std::env::current_exe().unwrap())
        .env(OWN_ETC, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!fs::read_to_string("/etc/subuid").unwrap_or_default().contains("edge:200000:10"));
}
