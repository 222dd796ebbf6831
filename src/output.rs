//! The only writer: a report or capture goes to the file that was named, as a whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Writes `bytes` to `path`. A regular file, or none, is replaced: a temporary file beside it, made
/// durable, then renamed, so that readers see the old bytes or the new ones. It keeps the mode of the old
/// file, else gets `mode` less the umask. A symbolic link is followed. Anything else, such as a FIFO or
/// `/dev/stdout`, is written to as it is.
///
/// # Errors
/// Those of the system; no temporary file is left behind then.
#[expect(clippy::disallowed_methods, reason = "writing is this module's purpose")]
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let target = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => resting_place(path)?,
        other => other?,
    };
    let old = match fs::metadata(&target) {
        Ok(old) if old.is_file() => Some(old.permissions()),
        Ok(old) if old.file_type().is_dir() || old.file_type().is_block_device() => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is neither a file nor a stream"));
        }
        Ok(_) => return File::options().write(true).open(&target)?.write_all(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    replace(&target, bytes, old, mode)
}

/// Where a path that does not exist would be created: the name in its resolved folder.
#[expect(clippy::disallowed_methods, reason = "writing is this module's purpose")]
fn resting_place(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A link to nothing has a name that exists and a target that does not: it is not followed blindly.
    if fs::symlink_metadata(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is a dangling link"));
    }
    Ok(fs::canonicalize(folder)?.join(name))
}

#[expect(clippy::disallowed_methods, reason = "writing is this module's purpose")]
fn replace(target: &Path, bytes: &[u8], old: Option<Permissions>, mode: u32) -> io::Result<()> {
    let temporary = beside(target)?;
    let mode = old.as_ref().map_or(mode, PermissionsExt::mode);
    let written = File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| {
            // The umask may have taken bits away that the old file had.
            if let Some(old) = old {
                file.set_permissions(old)?;
            }
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, target));
    if written.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_file(&temporary);
        return written;
    }
    let folder = target.parent().unwrap_or(Path::new("/"));
    File::open(folder)?.sync_all()
}

/// Makes a directory with what `fill` puts into it, as a whole or not at all: it is filled beside
/// its place and then renamed. `path` must not exist, or be an empty directory.
///
/// # Errors
/// Those of the system and of `fill`; nothing is left behind then.
#[expect(clippy::disallowed_methods, reason = "writing is this module's purpose")]
pub fn directory<E: From<io::Error>>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let target = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => resting_place(path)?,
        other => other?,
    };
    match fs::read_dir(&target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "is not empty").into());
            }
        }
    }
    let temporary = beside(&target)?;
    fs::create_dir(&temporary)?;
    // The umask of whoever runs this is not that of the image.
    let made = fs::set_permissions(&temporary, Permissions::from_mode(0o755))
        .map_err(E::from)
        .and_then(|()| fill(&temporary))
        .and_then(|()| Ok(fs::rename(&temporary, &target)?));
    if made.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_dir_all(&temporary);
    }
    made
}

/// A hidden name of our own in the same folder.
fn beside(target: &Path) -> io::Result<PathBuf> {
    let name = target.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".edgeprep.{}", std::process::id()));
    Ok(target.with_file_name(hidden))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make files")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn listed(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("report");
        write(&file, b"one", 0o600).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&file, Permissions::from_mode(0o664)).unwrap();
        write(&file, b"two", 0o600).unwrap();
        assert_eq!(
            (fs::read(&file).unwrap(), listed(folder.path())),
            (b"two".to_vec(), vec!["report".to_owned()])
        );
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o664);
    }

    #[test]
    fn links_are_followed_and_stay_links() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        symlink("file", &link).unwrap();
        write(&link, b"new", 0o644).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        symlink("nowhere", folder.path().join("dangling")).unwrap();
        assert!(write(&folder.path().join("dangling"), b"x", 0o644).is_err());
        assert_eq!(listed(folder.path()), ["dangling", "file", "link"]);
    }

    /// A device must not become a file: root's `-o /dev/null` would take it from the whole system.
    #[test]
    fn what_is_no_file_is_written_to_and_stays_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        let reader = std::thread::spawn({
            let fifo = fifo.clone();
            move || fs::read(fifo).unwrap()
        });
        write(&fifo, b"through", 0o644).unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());
        write(Path::new("/dev/null"), b"x", 0o644).unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        assert!(write(folder.path(), b"x", 0o644).is_err(), "a folder");
    }
}
