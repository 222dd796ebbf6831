//! The only writer: a report or capture goes to the file that was named, as a whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Replaces `path` by `bytes`: a temporary file beside it, made durable, then renamed. Readers see
/// the old bytes or the new ones.
///
/// # Errors
/// Those of the system; nothing is left behind then.
#[expect(clippy::disallowed_methods, reason = "writing is this module's purpose")]
pub fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let name = path.file_name().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".edgeprep.{}", std::process::id()));
    let temporary = path.with_file_name(temporary);
    let written = File::options()
        .write(true)
        .create_new(true)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_file(&temporary);
    }
    written
}
