//! What happens when somebody else writes between the look and the rename, and on file systems that lack a
//! kind of rename.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::apply::target::Target;

fn file(text: &str) -> State {
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    State::File { content: Content::Text(text.to_owned()), mode: 0o644, uid, gid, capability: None }
}

/// A folder with `x` in it that says "theirs".
fn folder() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    fs::write(&path, "theirs").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

fn listed(folder: &Path) -> Vec<(String, String)> {
    let mut names: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap_or_default())
        })
        .collect();
    names.sort();
    names
}

fn pair(name: &str, text: &str) -> (String, String) {
    (name.to_owned(), text.to_owned())
}

#[test]
fn what_was_exchanged_and_is_not_what_the_plan_saw_goes_back() {
    let (folder, path) = folder();
    let target = Target::live();
    let place = target.place_to_write(&path).unwrap();
    place.make(&State::Absent, &file("ours")).unwrap();
    let Err(Unmoved { error, keep }) = place.swap(&file("seen")) else { panic!("it was swapped") };
    assert_eq!((error, keep), (place.stale(), false));
    assert_eq!(listed(folder.path()), [pair(".x.edgeprep~", "ours"), pair("x", "theirs")]);
    assert!(place.clear().unwrap() && !place.clear().unwrap());
    assert_eq!(listed(folder.path()), [pair("x", "theirs")]);
}

#[test]
fn what_was_put_there_meanwhile_is_put_back_even_if_it_is_a_fifo_or_a_link() {
    for plant in ["fifo", "link", "dir"] {
        let (folder, path) = folder();
        let target = Target::live();
        let place = target.place_to_write(&path).unwrap();
        place.make(&file("theirs"), &file("ours")).unwrap();
        fs::remove_file(&path).unwrap();
        match plant {
            "fifo" => nix::unistd::mkfifo(path.as_str(), Mode::S_IRWXU).unwrap(),
            "link" => symlink("/etc/passwd", &path).unwrap(),
            _ => fs::create_dir(&path).unwrap(),
        }
        let inode = |path: &str| std::os::unix::fs::MetadataExt::ino(&fs::symlink_metadata(path).unwrap());
        let before = inode(&path);
        let Err(Unmoved { error, keep }) = place.swap(&file("theirs")) else { panic!("it was swapped") };
        assert_eq!((error, keep), (place.stale(), false), "{plant}");
        assert_eq!(inode(&path), before, "{plant}");
        drop(folder);
    }
}

#[test]
fn what_was_taken_away_and_is_not_what_the_plan_saw_goes_back() {
    let (folder, path) = folder();
    let target = Target::live();
    let place = target.place_to_write(&path).unwrap();
    let Err(Unmoved { error, .. }) = place.take(&file("seen")) else { panic!("it was taken") };
    assert_eq!(error, place.stale());
    assert_eq!(listed(folder.path()), [pair("x", "theirs")]);
}

#[test]
fn a_name_that_appeared_meanwhile_is_not_taken() {
    let (folder, path) = folder();
    let target = Target::live();
    let place = target.place_to_write(&path).unwrap();
    place.make(&State::Absent, &file("ours")).unwrap();
    assert_eq!(place.settle(), Err(place.stale()));
    assert_eq!(place.settle_without_noreplace(&place.temporary()), Err(place.stale()));
    assert_eq!(listed(folder.path()), [pair(".x.edgeprep~", "ours"), pair("x", "theirs")]);
}

#[test]
fn file_systems_without_these_renames_are_written_to() {
    let (folder, path) = folder();
    let target = Target::live();
    let place = target.place_to_write(&path).unwrap();
    place.make(&State::Absent, &file("ours")).unwrap();
    assert_eq!(place.replace(&place.temporary(), &file("seen")), Err(place.stale()));
    place.replace(&place.temporary(), &file("theirs")).unwrap();
    assert_eq!(listed(folder.path()), [pair("x", "ours")]);
    fs::remove_file(&path).unwrap();
    place.make(&State::Absent, &file("new")).unwrap();
    place.settle_without_noreplace(&place.temporary()).unwrap();
    assert_eq!(listed(folder.path()), [pair("x", "new")]);
    fs::remove_file(&path).unwrap();
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    let dir = State::Dir { mode: 0o755, uid, gid };
    place.make(&State::Absent, &dir).unwrap();
    place.settle_without_noreplace(&place.temporary()).unwrap();
    assert!(place.observe("x").unwrap().is(&dir));
    place.make(&dir, &file("file")).unwrap();
    place.replace(&place.temporary(), &dir).unwrap();
    assert_eq!(listed(folder.path()), [pair("x", "file")]);
}

#[test]
fn temporary_names_fit_and_differ() {
    let target = Target::live();
    for length in [1, 200, 243, 244, 245, 250, 255] {
        let place = |name: String| {
            let path: &'static str = Box::leak(format!("/tmp/{name}").into_boxed_str());
            target.place_to_write(path).unwrap().temporary()
        };
        let (one, other) = ("a".repeat(length), "a".repeat(length - 1) + "b");
        let names = [place(one.clone()), place(other)];
        assert!(names.iter().all(|name| name.len() <= 255 && name.starts_with('.') && name.ends_with('~')));
        assert_ne!(names[0], names[1]);
        assert_eq!(names[0], place(one), "the next run finds it");
    }
    let umlauts = Box::leak(format!("/tmp/x{}", "ä".repeat(127)).into_boxed_str());
    assert!(target.place_to_write(umlauts).unwrap().temporary().len() <= 255);
}
