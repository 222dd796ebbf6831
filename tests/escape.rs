//! Images and home directories that want edgeprep to write elsewhere: whatever is planted at whatever
//! component of a path, what is outside is the same afterwards, and nothing hangs.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::disallowed_methods, reason = "tests make files and start processes")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use edgeprep::apply::WriteError;
use edgeprep::apply::as_user::AsUser;
use edgeprep::apply::target::Target;
use edgeprep::apply::writers::Writers;
use edgeprep::plan::{Content, Credentials, State, Writer};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{getgid, getuid, mkfifo};

/// Far above what any write takes, far below what a hang takes.
const PATIENCE: Duration = Duration::from_secs(5);
/// A user whom nobody knows.
const NOBODY: u32 = 54321;

/// Everything below a folder: mode, owner, size, time, bytes or link.
type Seen = BTreeMap<PathBuf, (u32, u32, i64, i64, Vec<u8>)>;

fn seen(folder: &Path) -> Seen {
    let mut all = Seen::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let stat = fs::symlink_metadata(&folder).unwrap();
        all.insert(folder.clone(), (stat.mode(), stat.uid(), stat.mtime(), stat.mtime_nsec(), Vec::new()));
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let stat = fs::symlink_metadata(&path).unwrap();
            if stat.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = match stat.is_file() {
                true => fs::read(&path).unwrap(),
                false => fs::read_link(&path).unwrap_or_default().into_os_string().into_encoded_bytes(),
            };
            all.insert(path, (stat.mode(), stat.uid(), stat.mtime(), stat.mtime_nsec(), bytes));
        }
    }
    all
}

/// What must not change: a folder that looks like what is to be written.
fn outside() -> tempfile::TempDir {
    let outside = tempfile::tempdir().unwrap();
    for folder in ["", "a", "a/b", "a/b/c"] {
        let folder = outside.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("x.conf"), "outside").unwrap();
        fs::write(folder.join(".x.conf.edgeprep~"), "outside").unwrap();
    }
    outside
}

fn file(text: &str, (uid, gid): (u32, u32)) -> State {
    State::File { content: Content::Text(text.to_owned()), mode: 0o644, uid, gid, capability: None }
}

/// Each thing that can be planted, by its name.
fn plants() -> Vec<&'static str> {
    let mut plants = vec![
        "absolute link",
        "relative link",
        "link to the file",
        "magic link",
        "hard link",
        "loop",
        "self",
        "long chain",
        "fifo",
        "socket",
        "file",
        "folder",
        "link to /",
        "dangling link",
    ];
    if fs::read_to_string("/proc/self/uid_map").unwrap().contains("4294967295") && getuid().is_root() {
        plants.push("device");
    }
    plants
}

/// Plants it; `depth` is how far below the root `at` is, and `below` what of the path comes after it.
fn plant(what: &str, at: &Path, depth: usize, below: &str, outside: &Path) {
    let there = outside.join("a/b/c");
    match what {
        "absolute link" => symlink(&there, at).unwrap(),
        "relative link" => {
            let up = "../".repeat(depth + 12);
            symlink(format!("{up}{}", there.strip_prefix("/").unwrap().display()), at).unwrap();
        }
        "link to the file" => symlink(there.join("x.conf"), at).unwrap(),
        "magic link" => symlink(format!("/proc/self/root{}", there.display()), at).unwrap(),
        "hard link" => fs::hard_link(there.join("x.conf"), at).unwrap(),
        "loop" => {
            let other = at.with_file_name("other");
            symlink(&other, at).unwrap();
            symlink(at.file_name().unwrap(), other).unwrap();
        }
        "self" => symlink(".", at).unwrap(),
        "long chain" => {
            let folder = at.parent().unwrap();
            for link in 0..60 {
                symlink(format!("chain{}", link + 1), folder.join(format!("chain{link}"))).unwrap();
            }
            symlink(&there, folder.join("chain60")).unwrap();
            symlink("chain0", at).unwrap();
        }
        "fifo" => mkfifo(at, Mode::S_IRWXU).unwrap(),
        "socket" => drop(UnixListener::bind(at).unwrap()),
        "file" => fs::write(at, "inside").unwrap(),
        "folder" => fs::create_dir_all(at.join(below)).unwrap(),
        "link to /" => symlink("/", at).unwrap(),
        "dangling link" => symlink("/nowhere/at/all", at).unwrap(),
        "device" => mknod(at, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3)).unwrap(),
        other => panic!("{other}"),
    }
}

/// Everything that can be done to a path, each answer of which may be an error.
fn try_all(
    path: &str,
    mut put: impl FnMut(&State, &State) -> Result<(), WriteError>,
    there: &State,
    us: (u32, u32),
) {
    let link = State::Link { target: "elsewhere".to_owned(), uid: us.0, gid: us.1 };
    let dir = State::Dir { mode: 0o700, uid: us.0, gid: us.1 };
    let open = State::Dir { mode: 0o777, uid: us.0, gid: us.1 };
    let chmod = match there.clone() {
        State::File { content, uid, gid, .. } => {
            State::File { content, mode: 0o666, uid, gid, capability: None }
        }
        other => other,
    };
    for from in [there, &State::Absent, &file("outside", us), &file("inside", us), &dir, &link] {
        for to in [&chmod, &open, &file("written", us), &link, &dir, &State::Absent] {
            let started = Instant::now();
            let _ = put(from, to);
            assert!(started.elapsed() < PATIENCE, "{path}");
        }
    }
}

#[test]
fn nothing_outside_an_image_is_written() {
    let folders = ["etc", "etc/containers", "etc/containers/d"];
    let us = (0, 0);
    for what in plants() {
        for depth in 0..=4 {
            let (image, outside) = (tempfile::tempdir().unwrap(), outside());
            let root = image.path();
            // The last two are the file itself and its temporary name.
            let at = match depth {
                0..3 => folders[depth].to_owned(),
                3 => "etc/containers/d/x.conf".to_owned(),
                _ => "etc/containers/d/.x.conf.edgeprep~".to_owned(),
            };
            fs::create_dir_all(root.join(&at).parent().unwrap()).unwrap();
            let below = folders.get(depth).map_or("", |_| &"etc/containers/d"[folders[depth].len()..]);
            plant(what, &root.join(&at), depth, below.trim_start_matches('/'), outside.path());
            let before = seen(outside.path());
            let target = Target::image(root).unwrap();
            let path = "/etc/containers/d/x.conf";
            let there = target.observe(path).unwrap_or(State::Absent);
            // One of each, for what was planted is gone after a write that succeeds.
            try_all(path, |from, to| target.put(path, from, to), &there, us);
            let _ = target.sweep(path);
            assert_eq!(seen(outside.path()), before, "{what} at {at}");
        }
    }
}

#[test]
fn what_is_planted_at_the_end_is_known_for_what_it_is() {
    for (what, found) in [("fifo", "a FIFO"), ("socket", "a socket"), ("device", "a character device")] {
        if !plants().contains(&what) {
            continue;
        }
        let (image, outside) = (tempfile::tempdir().unwrap(), outside());
        plant(what, &image.path().join("x"), 1, "", outside.path());
        let target = Target::image(image.path()).unwrap();
        let special = WriteError::Special { path: "/x".to_owned(), found: found.to_owned() };
        assert_eq!(target.observe("/x"), Err(special.clone()));
        assert_eq!(target.put("/x", &State::Absent, &file("new", (0, 0))), Err(special));
    }
    let (image, outside) = (tempfile::tempdir().unwrap(), outside());
    plant("hard link", &image.path().join("x"), 1, "", outside.path());
    let target = Target::image(image.path()).unwrap();
    let there = target.observe("/x").unwrap();
    target.put("/x", &there, &file("new", (0, 0))).unwrap();
    assert_eq!(target.observe("/x").unwrap(), file("new", (0, 0)));
    assert_eq!(fs::read_to_string(outside.path().join("a/b/c/x.conf")).unwrap(), "outside");
}

#[test]
fn absolute_links_lead_into_the_image() {
    let image = tempfile::tempdir().unwrap();
    fs::create_dir_all(image.path().join("usr/lib/modules-load.d")).unwrap();
    symlink("/usr/lib", image.path().join("lib")).unwrap();
    let target = Target::image(image.path()).unwrap();
    target.put("/lib/modules-load.d/x.conf", &State::Absent, &file("tun", (0, 0))).unwrap();
    assert_eq!(fs::read_to_string(image.path().join("usr/lib/modules-load.d/x.conf")).unwrap(), "tun");
}

#[test]
fn very_long_names_are_written() {
    let image = tempfile::tempdir().unwrap();
    let target = Target::image(image.path()).unwrap();
    let path = format!("/{}", "x".repeat(255));
    target.put(&path, &State::Absent, &file("a", (0, 0))).unwrap();
    target.put(&path, &file("a", (0, 0)), &file("b", (0, 0))).unwrap();
    target.put(&path, &file("b", (0, 0)), &State::Absent).unwrap();
    assert_eq!(seen(image.path()).len(), 1);
    for path in [format!("/{}", "x".repeat(256)), "/x".repeat(3000)] {
        assert!(matches!(
            target.put(&path, &State::Absent, &file("a", (0, 0))),
            Err(WriteError::System { .. })
        ));
    }
}

/// Runs tests of this file again, as somebody else.
fn again(program: &[&str]) {
    if !getuid().is_root() {
        return;
    }
    let output = Command::new(program[0])
        .args(&program[1..])
        .arg(std::env::current_exe().unwrap())
        .args(["nothing_outside", "what_is_planted", "absolute_links", "very_long_names", "in_a_home"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("5 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_same_as_a_plain_user() {
    again(&["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"]);
}

#[test]
fn the_same_as_root_of_a_user_namespace() {
    again(&["unshare", "-r"]);
}

/// A home directory, and whose it is: nobody's where we are root, else ours.
struct Home {
    folder: tempfile::TempDir,
    user: Credentials,
}

impl Home {
    fn new() -> Home {
        let folder = tempfile::tempdir().unwrap();
        let (uid, gid) = match getuid().is_root() {
            true => (NOBODY, NOBODY),
            false => (getuid().as_raw(), getgid().as_raw()),
        };
        let home = folder.path().to_str().unwrap().to_owned();
        let user = Credentials { name: "edge".to_owned(), uid, gid, groups: vec![gid], home };
        let home = Home { folder, user };
        // In a user namespace nobody is not there to give it to.
        let _ = chown(home.folder.path(), Some(uid), Some(gid));
        home
    }

    fn make(&self, folders: &str) {
        let mut path = self.folder.path().to_owned();
        for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
            path.push(folder);
            fs::create_dir(&path).unwrap();
            let _ = chown(&path, Some(self.user.uid), Some(self.user.gid));
        }
    }

    fn path(&self, at: &str) -> String {
        format!("{}/{at}", self.user.home)
    }

    fn spawn(&self) -> std::io::Result<AsUser> {
        AsUser::spawn_program(Path::new(env!("CARGO_BIN_EXE_edgeprep")), &self.user)
    }
}

#[test]
fn nothing_outside_is_written_in_a_home_directory() {
    let folders = [".config", ".config/systemd", ".config/systemd/user"];
    for what in plants() {
        for depth in 0..=4 {
            let (home, outside) = (Home::new(), outside());
            let at = match depth {
                0..3 => folders[depth].to_owned(),
                3 => ".config/systemd/user/x.conf".to_owned(),
                _ => ".config/systemd/user/.x.conf.edgeprep~".to_owned(),
            };
            home.make(at.rsplit_once('/').map_or("", |(folders, _)| folders));
            let below = folders.get(depth).map_or("", |_| &".config/systemd/user"[folders[depth].len()..]);
            plant(what, &home.folder.path().join(&at), depth, below.trim_start_matches('/'), outside.path());
            let before = seen(outside.path());
            let Ok(mut user) = home.spawn() else {
                assert!(getuid().is_root() && !can_become_others());
                return;
            };
            let path = home.path(".config/systemd/user/x.conf");
            let there = user.observe(&path).unwrap_or(State::Absent);
            // Where we are not root ourselves, all is ours, also what is outside: a link leads there, then.
            if !getuid().is_root() && what.contains("link") {
                continue;
            }
            try_all(&path, |from, to| user.put(&path, from, to), &there, (home.user.uid, home.user.gid));
            assert_eq!(seen(outside.path()), before, "{what} at {at}");
        }
    }
}

fn can_become_others() -> bool {
    !fs::read_to_string("/proc/self/setgroups").unwrap().contains("deny")
}

#[test]
fn a_user_writes_what_is_theirs() {
    let home = Home::new();
    let mut writers = Writers::new(Target::live()).with_program(env!("CARGO_BIN_EXE_edgeprep").into());
    let by = Writer::User(home.user.clone());
    let (uid, gid) = (home.user.uid, home.user.gid);
    let (folder, path) = (home.path("d"), home.path("d/x.conf"));
    let dir = State::Dir { mode: 0o775, uid, gid };
    writers.put(&by, &folder, &State::Absent, &dir).unwrap();
    // Larger than a pipe, and nothing that JSON has a letter for.
    let large = file(&"\u{1}".repeat(300_000), (uid, gid));
    writers.put(&by, &path, &State::Absent, &large).unwrap();
    assert_eq!(writers.observe(&by, &path).unwrap(), large);
    let stat = fs::metadata(&path).unwrap();
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (uid, gid, 0o644));
    assert_eq!(writers.put(&by, &path, &State::Absent, &dir), Err(WriteError::Stale { path: path.clone() }));
    fs::write(home.path("d/.x.conf.edgeprep~"), "left").unwrap();
    writers.sweep(&by, &path).unwrap();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    for outside in ["/etc/x", "/root/x", "/run/user/0/x", &format!("{}x/y", home.user.home), &home.user.home]
    {
        let error = writers.put(&by, outside, &State::Absent, &file("x", (uid, gid))).unwrap_err();
        assert!(matches!(error, WriteError::Unsafe { .. }), "{outside}: {error}");
    }
}

#[test]
fn what_is_not_the_user_s_is_refused() {
    if !getuid().is_root() {
        return;
    }
    let home = Home::new();
    let (uid, gid) = (home.user.uid, home.user.gid);
    home.make("roots/theirs");
    chown(home.path("roots"), Some(0), Some(0)).unwrap();
    fs::create_dir(home.path("real")).unwrap();
    chown(home.path("real"), Some(uid), Some(gid)).unwrap();
    symlink("real", home.path("link-of-root")).unwrap();
    symlink("real", home.path("link")).unwrap();
    nix::unistd::fchownat(
        nix::fcntl::AT_FDCWD,
        home.path("link").as_str(),
        Some(uid.into()),
        Some(gid.into()),
        nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
    )
    .unwrap();
    let mut user = home.spawn().unwrap();
    let mut put = |at: &str| user.put(&home.path(at), &State::Absent, &file("x", (uid, gid)));
    for at in ["roots/x", "roots/theirs/x", "link-of-root/x"] {
        let error = put(at).unwrap_err();
        assert!(matches!(error, WriteError::Unsafe { .. }), "{at}: {error}");
    }
    assert_eq!(put("link/x"), Ok(()), "a link of the user's to a folder of the user's");
    // `~/.config/systemd/user/x.conf -> /etc/shadow` is replaced, not followed, and not read.
    symlink("/etc/shadow", home.path("shadow")).unwrap();
    let link = State::Link { target: "/etc/shadow".to_owned(), uid: 0, gid: 0 };
    assert_eq!(user.observe(&home.path("shadow")), Ok(link.clone()));
    user.put(&home.path("shadow"), &link, &file("x", (uid, gid))).unwrap();
    chown(home.folder.path(), Some(0), Some(0)).unwrap();
    fs::set_permissions(home.folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let error = user.put(&home.path("y"), &State::Absent, &file("x", (uid, gid))).unwrap_err();
    assert!(matches!(error, WriteError::Unsafe { .. }), "{error}");
}

#[test]
fn nobody_writes_for_root_and_only_root_for_others() {
    let mut home = Home::new();
    home.user.uid = 0;
    let error = home.spawn().unwrap_err();
    assert_eq!(error.to_string(), "root is not a user to act for");
    if getuid().is_root() {
        return;
    }
    home.user.uid = NOBODY + 1;
    let error = home.spawn().unwrap_err().to_string();
    assert!(error.ends_with("cannot act for edge (UID 54322)"), "{error}");
}

/// The child has the user's credentials, no way back, and ends with its parent's pipe.
#[test]
fn the_child_is_the_user_and_nobody_else() {
    let home = Home::new();
    let (uid, gid) = (home.user.uid, home.user.gid);
    let user = home.spawn().unwrap();
    let child = user.pid();
    let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap();
    for line in [
        format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n"),
        format!("Gid:\t{gid}\t{gid}\t{gid}\t{gid}\n"),
        "CapPrm:\t0000000000000000\n".to_owned(),
        "CapEff:\t0000000000000000\n".to_owned(),
        "NoNewPrivs:\t1\n".to_owned(),
        "Umask:\t0022\n".to_owned(),
        "Threads:\t1\n".to_owned(),
    ] {
        assert!(status.contains(&line), "{line}{status}");
    }
    assert!(fs::read(format!("/proc/{child}/environ")).unwrap_or_default().is_empty());
    assert_eq!(fs::read(format!("/proc/{child}/cmdline")).unwrap(), b"edgeprep\0--as-user\0");
    drop(user);
    assert!(!Path::new(&format!("/proc/{child}")).exists());
}

#[test]
fn a_child_that_does_not_answer_is_killed() {
    let home = Home::new();
    let mut user = home.spawn().unwrap();
    mkfifo(home.path("x").as_str(), Mode::S_IRWXU).unwrap();
    let request = edgeprep::apply::as_user::Request::Observe { path: home.path("x") };
    let started = Instant::now();
    let error = user.ask(&request, Duration::ZERO).map(|_| ());
    // It may have been faster than no time at all.
    if let Err(error) = error {
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert!(matches!(user.observe(&home.path("y")), Err(WriteError::NoAnswer { .. })));
    }
    assert!(started.elapsed() < PATIENCE);
}
