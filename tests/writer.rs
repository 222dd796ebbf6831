//! The writer on a running system and in an image: every transition of a path, what makes it stale, what
//! stays of the old file, what is left after an error.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::disallowed_methods, reason = "tests make files")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use edgeprep::apply::WriteError;
use edgeprep::apply::target::{Target, halfway};
use edgeprep::plan::{Content, Hex, State};
use nix::unistd::{Gid, Uid, getgid, getuid};

/// `cap_setuid=ep`, as `setcap` writes it (`linux/capability.h`, revision 2).
const CAP_SETUID: [u8; 20] = [1, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn me() -> (u32, u32) {
    (getuid().as_raw(), getgid().as_raw())
}

fn file(text: &str, mode: u32) -> State {
    let (uid, gid) = me();
    State::File { content: Content::new(text.as_bytes().to_vec()), mode, uid, gid, capability: None }
}

fn link(target: &str) -> State {
    let (uid, gid) = me();
    State::Link { target: target.to_owned(), uid, gid }
}

fn dir(mode: u32) -> State {
    let (uid, gid) = me();
    State::Dir { mode, uid, gid }
}

fn digest(state: &State) -> State {
    match state.clone() {
        State::File { content, mode, uid, gid, capability } => {
            State::File { content: content.digest(), mode, uid, gid, capability }
        }
        other => other,
    }
}

/// A folder whose `x` is this.
struct Place {
    folder: tempfile::TempDir,
    path: String,
}

impl Place {
    fn new(state: &State) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        match state {
            State::Absent => {}
            State::File { content, mode, .. } => {
                fs::write(&path, content.bytes().unwrap()).unwrap();
                fs::set_permissions(&path, Permissions::from_mode(*mode)).unwrap();
            }
            State::Link { target, .. } => symlink(target, &path).unwrap(),
            State::Dir { mode, .. } => {
                fs::create_dir(&path).unwrap();
                fs::set_permissions(&path, Permissions::from_mode(*mode)).unwrap();
            }
        }
        let path = path.to_str().unwrap().to_owned();
        Place { folder, path }
    }

    fn names(&self) -> Vec<String> {
        names(self.folder.path())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn states() -> Vec<State> {
    vec![
        State::Absent,
        file("one", 0o644),
        file("two", 0o640),
        file("one", 0o4755),
        file("", 0o400),
        State::File {
            content: Content::new(vec![0xff, 0]),
            mode: 0o666,
            uid: me().0,
            gid: me().1,
            capability: None,
        },
        link("/nowhere"),
        link("elsewhere"),
        dir(0o755),
        dir(0o1777),
    ]
}

#[test]
fn every_state_becomes_every_other_live_and_in_an_image() {
    let umask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o027));
    for from in states() {
        for to in states() {
            for image in [false, true] {
                let place = Place::new(&from);
                // Who owns an image root is shown as root.
                let (target, path) = match image {
                    false => (Target::live(), place.path.clone()),
                    true => (Target::image(place.folder.path()).unwrap(), "/x".to_owned()),
                };
                let as_seen = |state: &State| if image { as_root(state) } else { state.clone() };
                let (from, to) = (as_seen(&from), as_seen(&to));
                assert_eq!(target.observe(&path).unwrap(), from);
                target.put(&path, &digest(&from), &to).unwrap_or_else(|e| panic!("{from:?} -> {to:?}: {e}"));
                assert_eq!(target.observe(&path).unwrap(), to, "from {from:?}");
                assert!(place.names().iter().all(|name| name == "x"), "{:?}", place.names());
                target.put(&path, &to, &from).unwrap_or_else(|e| panic!("{to:?} -> {from:?}: {e}"));
                assert_eq!(target.observe(&path).unwrap(), from, "back");
            }
        }
    }
    nix::sys::stat::umask(umask);
}

fn as_root(state: &State) -> State {
    let mut state = state.clone();
    match &mut state {
        State::Absent => {}
        State::File { uid, gid, .. } | State::Link { uid, gid, .. } | State::Dir { uid, gid, .. } => {
            (*uid, *gid) = (0, 0);
        }
    }
    state
}

#[test]
fn anything_but_what_the_plan_saw_is_left_as_it_is() {
    for seen in states() {
        for there in states() {
            for to in [State::Absent, file("new", 0o600), file("one", 0o600), link("new"), dir(0o700)] {
                if seen == there {
                    continue;
                }
                let place = Place::new(&there);
                let before = fs::symlink_metadata(&place.path).map(|m| (m.ino(), m.mtime_nsec())).ok();
                let error = Target::live().put(&place.path, &seen, &to).unwrap_err();
                assert_eq!(error, WriteError::Stale { path: place.path.clone() }, "{seen:?} {there:?}");
                assert_eq!(Target::live().observe(&place.path).unwrap(), there);
                let after = fs::symlink_metadata(&place.path).map(|m| (m.ino(), m.mtime_nsec())).ok();
                assert_eq!((before, place.names().len()), (after, usize::from(after.is_some())));
            }
        }
    }
}

#[test]
fn only_a_change_of_mode_keeps_the_file_as_it_is() {
    let place = Place::new(&file("program", 0o4755));
    let before = fs::metadata(&place.path).unwrap();
    let (from, to) = (digest(&file("program", 0o4755)), digest(&file("program", 0o755)));
    Target::live().put(&place.path, &from, &to).unwrap();
    let after = fs::metadata(&place.path).unwrap();
    assert_eq!(
        (before.ino(), before.mtime_nsec(), 0o755),
        (after.ino(), after.mtime_nsec(), after.mode() & 0o7777)
    );
    // Other bytes of which only the digest is known cannot be written.
    let error = Target::live().put(&place.path, &to, &digest(&file("other", 0o755))).unwrap_err();
    assert!(matches!(error, WriteError::Unsafe { .. }), "{error}");
    assert_eq!(place.names(), ["x"]);
}

#[test]
fn a_file_with_two_names_is_replaced_but_not_changed() {
    let place = Place::new(&file("both", 0o644));
    let other = place.folder.path().join("other");
    fs::hard_link(&place.path, &other).unwrap();
    let target = Target::live();
    let error = target.put(&place.path, &file("both", 0o644), &file("both", 0o600)).unwrap_err();
    assert!(matches!(error, WriteError::Unsafe { .. }), "{error}");
    assert_eq!(target.observe(&place.path).unwrap(), file("both", 0o644));
    target.put(&place.path, &file("both", 0o644), &file("one", 0o600)).unwrap();
    assert_eq!(
        (fs::read(&other).unwrap(), fs::metadata(&other).unwrap().mode() & 0o777),
        (b"both".to_vec(), 0o644)
    );
}

#[test]
fn extended_attributes_stay() {
    let place = Place::new(&file("old", 0o400));
    fs::set_permissions(&place.path, Permissions::from_mode(0o600)).unwrap();
    xattr::set(&place.path, "user.origin", b"vendor").unwrap();
    fs::set_permissions(&place.path, Permissions::from_mode(0o400)).unwrap();
    Target::live().put(&place.path, &file("old", 0o400), &file("new", 0o400)).unwrap();
    assert_eq!(xattr::get(&place.path, "user.origin").unwrap(), Some(b"vendor".to_vec()));
}

/// An access control list for one more user, as `setfacl -m u:54321:r` writes it (`linux/posix_acl_xattr.h`).
fn acl() -> Vec<u8> {
    let entry = |tag: u16, permissions: u16, id: u32| {
        [tag.to_le_bytes().as_slice(), &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let none = u32::MAX;
    [
        2u32.to_le_bytes().to_vec(),
        entry(1, 6, none),
        entry(2, 4, 54321),
        entry(4, 0, none),
        entry(16, 4, none),
        entry(32, 0, none),
    ]
    .concat()
}

#[test]
fn access_control_lists_stay_and_none_is_made_up() {
    const ACL: &str = "system.posix_acl_access";
    let place = Place::new(&file("old", 0o640));
    xattr::set(&place.path, ACL, &acl()).unwrap();
    let from = Target::live().observe(&place.path).unwrap();
    Target::live().put(&place.path, &from, &file("new", 0o640)).unwrap();
    assert_eq!(xattr::get(&place.path, ACL).unwrap(), Some(acl()));
    // A file without one gets none from its directory when it is replaced.
    let place = Place::new(&file("old", 0o640));
    xattr::set(place.folder.path(), "system.posix_acl_default", &acl()).unwrap();
    Target::live().put(&place.path, &file("old", 0o640), &file("new", 0o640)).unwrap();
    assert_eq!(xattr::get(&place.path, ACL).unwrap(), None);
    assert_eq!(Target::live().observe(&place.path).unwrap(), file("new", 0o640));
}

#[test]
fn setuid_survives_a_change_of_owner() {
    if !getuid().is_root() {
        return;
    }
    let owned = |text: &str, mode, uid, gid, capability| State::File {
        content: Content::Text(text.to_owned()),
        mode,
        uid,
        gid,
        capability,
    };
    let capable = || Some(Hex(CAP_SETUID.to_vec()));
    let steps = [
        owned("a", 0o4755, 0, 0, None),
        owned("a", 0o6755, 54321, 54321, None),
        owned("b", 0o6711, 54322, 54321, None),
        owned("b", 0o755, 0, 0, capable()),
        owned("b", 0o755, 54321, 0, capable()),
        owned("c", 0o755, 0, 54321, capable()),
        owned("c", 0o4755, 0, 54321, None),
        owned("d", 0o4755, 0, 0, None),
        State::Link { target: "a".to_owned(), uid: 54321, gid: 54322 },
        State::Link { target: "a".to_owned(), uid: 54322, gid: 54322 },
        State::Dir { mode: 0o2770, uid: 54321, gid: 54322 },
        State::Dir { mode: 0o2750, uid: 54322, gid: 54323 },
        owned("a", 0o4755, 0, 0, None),
    ];
    let place = Place::new(&file("a", 0o4755));
    let target = Target::live();
    for step in steps.windows(2) {
        target.put(&place.path, &step[0], &step[1]).unwrap_or_else(|e| panic!("{step:?}: {e}"));
        assert_eq!(target.observe(&place.path).unwrap(), step[1]);
    }
}

#[test]
fn what_an_interrupted_change_can_leave_is_known() {
    let state = |mode, uid, capability: bool| State::File {
        content: Content::Text("a".to_owned()),
        mode,
        uid,
        gid: 0,
        capability: capability.then(|| Hex(CAP_SETUID.to_vec())),
    };
    let (from, to) = (state(0o4755, 0, false), state(0o755, 0, true));
    assert!(halfway(&from, &digest(&to), &state(0o755, 0, false)));
    assert!(!halfway(&from, &to, &state(0o700, 0, false)));
    assert!(!halfway(&from, &to, &state(0o755, 1, true)));
    let to = state(0o4711, 1, false);
    assert!(halfway(&from, &to, &state(0o755, 1, false)), "chown(2) took setuid away");
    assert!(!halfway(&from, &to, &State::Absent));
}

#[test]
fn what_an_interrupted_run_left_is_swept() {
    let target = Target::live();
    for plant in ["file", "link", "dir"] {
        for with_put in [false, true] {
            let place = Place::new(&file("old", 0o644));
            let left = place.folder.path().join(".x.edgeprep~");
            match plant {
                "file" => fs::write(&left, "half").unwrap(),
                "link" => symlink(&place.path, &left).unwrap(),
                _ => fs::create_dir(&left).unwrap(),
            }
            if with_put {
                target.put(&place.path, &file("old", 0o644), &file("new", 0o644)).unwrap();
            } else {
                target.sweep(&place.path).unwrap();
            }
            assert_eq!(place.names(), ["x"], "{plant}");
            let expected = if with_put { "new" } else { "old" };
            assert_eq!(fs::read_to_string(&place.path).unwrap(), expected);
        }
    }
    target.sweep("/nonexistent/x").unwrap();
}

#[test]
fn a_directory_that_holds_something_stays() {
    let place = Place::new(&dir(0o755));
    let inside = Path::new(&place.path).join("inside");
    fs::write(&inside, "theirs").unwrap();
    for to in [State::Absent, file("new", 0o644), link("new")] {
        let error = Target::live().put(&place.path, &dir(0o755), &to).unwrap_err();
        assert_eq!(error, WriteError::NotEmpty { path: place.path.clone() });
        assert_eq!(
            (fs::read_to_string(&inside).unwrap(), place.names()),
            ("theirs".to_owned(), vec!["x".to_owned()])
        );
    }
}

#[test]
fn of_two_that_create_one_wins() {
    for _ in 0..50 {
        let place = Place::new(&State::Absent);
        let path = &place.path;
        let contend =
            |text: &'static str| move || Target::live().put(path, &State::Absent, &file(text, 0o644));
        // The other one is no edgeprep, which would have a lock: it uses other names.
        let (ours, theirs) = std::thread::scope(|scope| {
            let ours = scope.spawn(contend("ours"));
            let theirs = scope.spawn(|| fs::File::create_new(path).map(|_| ()));
            (ours.join().unwrap(), theirs.join().unwrap())
        });
        assert!(ours.is_ok() != theirs.is_ok(), "{ours:?} {theirs:?}");
        assert_eq!(fs::read_to_string(path).unwrap(), if ours.is_ok() { "ours" } else { "" });
        assert_eq!(place.names(), ["x"]);
    }
}

#[test]
fn a_reader_sees_the_old_bytes_or_the_new() {
    let place = Place::new(&file(&"a".repeat(9000), 0o644));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let bytes = fs::read(&place.path).unwrap();
                assert!(bytes.len() == 9000 && bytes.iter().all(|byte| *byte == bytes[0]));
            }
        });
        for _ in 0..50 {
            let (a, b) = (file(&"a".repeat(9000), 0o644), file(&"b".repeat(9000), 0o644));
            Target::live().put(&place.path, &a, &b).unwrap();
            Target::live().put(&place.path, &b, &a).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn paths_that_do_not_say_where_they_lead_are_refused() {
    let target = Target::live();
    for path in
        ["", "/", "x", "./x", "/tmp/../x", "/tmp/./x", "/tmp//x", "/tmp/x/", "/tmp/..", "/tmp/.", "/tmp/\0"]
    {
        for error in [
            target.observe(path).unwrap_err(),
            target.put(path, &State::Absent, &State::Absent).unwrap_err(),
            target.sweep(path).unwrap_err(),
        ] {
            assert!(matches!(error, WriteError::Unsafe { .. }), "{path:?}: {error}");
        }
    }
    let error = target.put("/nonexistent/x", &State::Absent, &file("", 0o644)).unwrap_err();
    assert_eq!(error.to_string(), "cannot create /nonexistent/x: No such file or directory");
    assert_eq!(target.observe("/nonexistent/x").unwrap(), State::Absent);
    let long = format!("/tmp/{}", "x".repeat(256));
    assert_eq!(
        target.observe(&long).unwrap_err().to_string(),
        format!("cannot look at {long}: File name too long")
    );
}

#[test]
fn more_than_is_ever_edited_is_not_read() {
    let place = Place::new(&file("", 0o644));
    fs::File::options().write(true).open(&place.path).unwrap().set_len(5 << 20).unwrap();
    let error = Target::live().observe(&place.path).unwrap_err();
    assert_eq!(error, WriteError::TooLarge { path: place.path, limit_bytes: 4 << 20 });
}

#[test]
fn times_are_clamped_in_an_image_only() {
    let root = tempfile::tempdir().unwrap();
    let time = |at: &str| fs::symlink_metadata(root.path().join(at)).unwrap().mtime();
    let target = Target::image(root.path()).unwrap().with_mtime(Some(1_000_000_000));
    let own = as_root;
    target.put("/d", &State::Absent, &own(&dir(0o755))).unwrap();
    target.put("/d/f", &State::Absent, &own(&file("a", 0o644))).unwrap();
    target.put("/d/l", &State::Absent, &own(&link("f"))).unwrap();
    assert_eq!(["", "d", "d/f", "d/l"].map(time), [1_000_000_000; 4]);
    target.put("/d/f", &own(&file("a", 0o644)), &own(&file("b", 0o644))).unwrap();
    target.put("/d/l", &own(&link("f")), &State::Absent).unwrap();
    assert_eq!(["d", "d/f"].map(time), [1_000_000_000; 2]);
    let place = Place::new(&State::Absent);
    Target::live().with_mtime(Some(1)).put(&place.path, &State::Absent, &file("a", 0o644)).unwrap();
    assert!(fs::metadata(&place.path).unwrap().mtime() > 1_000_000_000);
}

#[test]
fn an_image_of_a_builder_is_the_builder_s_and_takes_no_chown() {
    if !getuid().is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("x"), "a").unwrap();
    for at in ["", "x"] {
        let (uid, gid) = (Uid::from_raw(54321), Gid::from_raw(54321));
        nix::unistd::chown(&root.path().join(at), Some(uid), Some(gid)).unwrap();
    }
    let target = Target::image(root.path()).unwrap();
    let from = target.observe("/x").unwrap();
    assert!(matches!(from, State::File { uid: 0, gid: 0, .. }), "{from:?}");
    target.put("/x", &from, &as_root(&file("b", 0o644))).unwrap();
    let user = State::Dir { mode: 0o700, uid: 1000, gid: 1000 };
    target.put("/home", &State::Absent, &user).unwrap();
    let owner = |at: &str| fs::metadata(root.path().join(at)).map(|m| (m.uid(), m.gid())).unwrap();
    assert_eq!((owner("x"), owner("home")), ((54321, 54321), (1000, 1000)));
}
