//! The files that reports are in: those that were named, all below the folders that were, standard input.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// What standard input is named.
pub(super) const STDIN: &str = "-";
/// Folders are not looked at further down.
const DEEPEST: usize = 32;

/// Something to read, or why it cannot be.
pub(super) type Opened = io::Result<Box<dyn io::Read>>;

/// Calls `found` with each file of `path`: of a folder all that are in it and below it, in the order of their
/// names. Left out are hidden ones and, in folders, what is no regular file.
///
/// # Errors
/// What was named is not there.
#[expect(clippy::disallowed_methods, reason = "reports are files of whoever calls, and no facts of a host")]
pub(super) fn each(path: &Path, found: &mut dyn FnMut(&Path, Opened)) -> io::Result<()> {
    if path == Path::new(STDIN) {
        found(path, Ok(Box::new(io::stdin().lock())));
        return Ok(());
    }
    if fs::metadata(path)?.is_dir() {
        folder(path, DEEPEST, found);
    } else {
        found(path, File::open(path).map(|file| Box::new(file) as Box<dyn io::Read>));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "see above")]
fn folder(path: &Path, deep: usize, found: &mut dyn FnMut(&Path, Opened)) {
    let listed: io::Result<Vec<PathBuf>> =
        fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut entries = match listed {
        Ok(entries) => entries,
        Err(error) => return found(path, Err(error)),
    };
    entries.sort_unstable();
    let hidden = |path: &Path| path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    for entry in entries.iter().filter(|entry| !hidden(entry)) {
        // Links to files are followed, those to folders are not: they may lead back.
        match fs::symlink_metadata(entry) {
            Ok(is) if is.is_dir() && deep == 0 => {
                found(entry, Err(io::Error::other("is too deep below the folder that was named")));
            }
            Ok(is) if is.is_dir() => folder(entry, deep - 1, found),
            Ok(_) => match fs::metadata(entry) {
                Ok(is) if is.is_file() => {
                    found(entry, File::open(entry).map(|file| Box::new(file) as Box<dyn io::Read>));
                }
                Ok(_) => {}
                Err(error) => found(entry, Err(error)),
            },
            Err(error) => found(entry, Err(error)),
        }
    }
}
