//! No fault loses anything: at every system call with which a fix and an undo write, an error or a kill
//! leaves the old bytes or the new ones, and the next run gets to the end.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::disallowed_methods, reason = "tests make files and start strace")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Image, Snapshot, copy, differences, snapshot};

/// The calls that change something, or make a change durable. The C library and the kernel's ABI give
/// some of them several names.
const WRITES: [&str; 27] = [
    "openat",
    "openat2",
    "write",
    "writev",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "fchmod",
    "fchmodat",
    "chmod",
    "fchown",
    "fchownat",
    "lchown",
    "link",
    "linkat",
    "symlinkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "flock",
    "fsetxattr",
    "utimensat",
    "ftruncate",
];
const FAULTS: [&str; 5] = ["error=EIO", "error=ENOSPC", "error=EACCES", "error=EROFS", "signal=SIGKILL"];
/// Below this the test would no longer reach what it is there for.
const LEAST_INJECTIONS: usize = 300;

/// An image that a fix has much to do in: files to make, to append to and to change the mode of,
/// directories, and a link.
fn image() -> Image {
    let image = Image::debian();
    image.put("etc/subuid", "other:100000:65536\n");
    image.put("etc/subgid", "other:100000:65536\n");
    image.mode("usr/bin/newuidmap", 0o755);
    image.put(
        "etc/sysctl.d/90-rootless.conf",
        "# ours, and edited by hand\nuser.max_user_namespaces = 1000\n",
    );
    image.put("var/lib/systemd/random-seed", "");
    image
}

/// A folder in memory, where making something durable takes no time.
fn memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn fix(root: &Path) -> Vec<String> {
    let root = root.to_str().unwrap();
    let words = ["fix", "--root", root, "--stack", "k3s", "--user", "edge", "--yes", "--format", "json"];
    words.map(str::to_owned).to_vec()
}

fn undo(root: &Path) -> Vec<String> {
    ["undo", "--root", root.to_str().unwrap(), "--yes", "--format", "json"].map(str::to_owned).to_vec()
}

fn run(arguments: &[String]) -> Output {
    common::edgeprep(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn strace(options: &[&str], arguments: &[String]) -> Output {
    let binary = env!("CARGO_BIN_EXE_edgeprep");
    Command::new("strace")
        .args(["-qq", "-o"])
        .args(options)
        .arg(binary)
        .args(arguments)
        .env_clear()
        .output()
        .expect("strace is installed (apt-get install strace)")
}

/// For each call that writes, which of its invocations do: `openat` reads, too.
fn invocations(arguments: &[String]) -> Vec<(String, usize)> {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let trace = format!("trace={}", WRITES.join(","));
    strace(&[log.to_str().unwrap(), "-e", &trace], arguments);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for line in std::fs::read_to_string(&log).unwrap().lines() {
        let Some((call, rest)) = line.split_once('(') else { continue };
        let count = seen.entry(call.to_owned()).or_default();
        *count += 1;
        let reads =
            call.starts_with("openat") && !["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|f| rest.contains(f));
        // What is printed is no change of the host.
        let prints = call.starts_with("write") && (rest.starts_with("1,") || rest.starts_with("2,"));
        if !reads && !prints {
            found.push((call.to_owned(), *count));
        }
    }
    found
}

struct Case {
    /// What is run with a fault in it.
    arguments: fn(&Path) -> Vec<String>,
    /// The tree it begins with, journals included.
    start: PathBuf,
    before: Snapshot,
    after: Snapshot,
}

/// What is wrong with the tree that a fault left, and with the way on from there.
fn survive(case: &Case, call: &str, nth: usize, fault: &str) -> Result<(), String> {
    let folder = memory();
    let root = folder.path().join("root");
    copy(&case.start, &root);
    let arguments = (case.arguments)(&root);
    let trace = format!("trace={call}");
    let inject = format!("inject={call}:{fault}:when={nth}");
    let output = strace(&["/dev/null", "-e", &trace, "-e", &inject], &arguments);
    let code = output.status.code();
    let killed = fault.starts_with("signal");
    let said = || String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    if !killed && !matches!(code, Some(0 | 1 | 2 | 4 | 5 | 6)) {
        return Err(format!("exit {code:?}: {}", said()));
    }
    let now = snapshot(&root);
    for (name, state) in &now {
        let temporary = name
            .rsplit('/')
            .next()
            .is_some_and(|name| name.ends_with(".edgeprep~") || name.ends_with(".lock"));
        if temporary && killed || case.before.get(name) == Some(state) || case.after.get(name) == Some(state)
        {
            continue;
        }
        return Err(format!("{name} is neither old nor new: {}", said()));
    }
    let lost = case.before.keys().find(|name| case.after.contains_key(*name) && !now.contains_key(*name));
    if let Some(name) = lost {
        return Err(format!("{name} is gone: {}", said()));
    }
    if matches!(code, Some(2 | 5)) && now != case.before {
        return Err(format!("exit {code:?}, and {:?} changed: {}", differences(&now, &case.before), said()));
    }
    // The way on: the fix comes to its end, and undoing it restores all.
    let fixed = run(&fix(&root));
    let (fixed_tree, fixed_case) = (snapshot(&root), FIXED.get().unwrap());
    if &fixed_tree != fixed_case {
        let text = String::from_utf8_lossy(&[&fixed.stdout[..], &fixed.stderr].concat()).into_owned();
        return Err(format!("the next fix leaves {:?}: {text}", differences(&fixed_tree, fixed_case)));
    }
    let undone = run(&undo(&root));
    let (undone_tree, first) = (snapshot(&root), FIRST.get().unwrap());
    if &undone_tree != first {
        let text = String::from_utf8_lossy(&[&undone.stdout[..], &undone.stderr].concat()).into_owned();
        return Err(format!("undo leaves {:?}: {text}", differences(&undone_tree, first)));
    }
    Ok(())
}

static FIRST: std::sync::OnceLock<Snapshot> = std::sync::OnceLock::new();
static FIXED: std::sync::OnceLock<Snapshot> = std::sync::OnceLock::new();

#[test]
fn every_write_can_fail_or_be_the_last() {
    let first = image();
    let first_root = first.path("");
    let folder = tempfile::tempdir().unwrap();
    let fixed_root = folder.path().join("fixed");
    copy(&first_root, &fixed_root);
    let output = run(&fix(&fixed_root));
    let (before, after) = (snapshot(&first_root), snapshot(&fixed_root));
    assert!(differences(&before, &after).len() > 8, "{output:?}");
    FIRST.set(before.clone()).unwrap();
    FIXED.set(after.clone()).unwrap();
    let cases = [
        Case { arguments: fix, start: first_root, before: before.clone(), after: after.clone() },
        Case { arguments: undo, start: fixed_root, before: after, after: before },
    ];
    let mut work = Vec::new();
    for case in &cases {
        let scratch = folder.path().join("scratch");
        copy(&case.start, &scratch);
        for (call, nth) in invocations(&(case.arguments)(&scratch)) {
            work.extend(FAULTS.iter().map(|fault| (case, call.clone(), nth, *fault)));
        }
        std::fs::remove_dir_all(&scratch).unwrap();
    }
    let next = AtomicUsize::new(0);
    let losses = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some((case, call, nth, fault)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = survive(case, call, *nth, fault) {
                        let what = (case.arguments)(Path::new(""))[0].clone();
                        losses.lock().unwrap().push(format!("{what}: {call} {nth} {fault}: {why}"));
                    }
                }
            });
        }
    });
    let losses = losses.into_inner().unwrap();
    println!("{} injections, {} survived", work.len(), work.len() - losses.len());
    assert!(
        losses.is_empty(),
        "{} of {}: {}",
        losses.len(),
        work.len(),
        losses.iter().map(|l| l.split(": {").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
    );
    assert!(work.len() >= LEAST_INJECTIONS, "only {} injections", work.len());
}
