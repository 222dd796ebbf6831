//! The files of a workload, which lie on the machine that edgeprep runs on.

use std::io::Read;

use nix::errno::Errno;

use super::RequestError;
use crate::facts::Source;
use crate::host::{CONFIG_LIMIT_BYTES, Host, Unread};
use crate::workload::Workload;

/// What the files of a workload ask, which are files of the machine that edgeprep runs on; `-` is standard
/// input. `None` where none is named.
///
/// # Errors
/// [`RequestError`] where one cannot be read, or is not what its name says.
pub fn workload(files: &[String]) -> Result<Option<Workload>, RequestError> {
    let mut sources: Vec<Source> = Vec::new();
    for file in files {
        if sources.iter().any(|known| known.path() == file) {
            continue;
        }
        let bytes = if file == "-" { standard_input()? } else { read(file)? };
        sources.push(Source::new(file, String::from_utf8_lossy(&bytes)));
    }
    Ok(if sources.is_empty() { None } else { Some(Workload::parse(sources)?) })
}

/// A file of the machine that edgeprep runs on, whatever host is looked at.
pub(super) fn read(path: &str) -> Result<Vec<u8>, Unread> {
    Host::live().read(path, CONFIG_LIMIT_BYTES).map(|(_, bytes)| bytes)
}

fn standard_input() -> Result<Vec<u8>, Unread> {
    let path = || "standard input".to_owned();
    let mut bytes = Vec::new();
    let failed = |error: std::io::Error| Unread::Failed {
        path: path(),
        errno: Errno::from_raw(error.raw_os_error().unwrap_or(0)),
    };
    std::io::stdin().take(CONFIG_LIMIT_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > CONFIG_LIMIT_BYTES {
        return Err(Unread::TooLarge { path: path(), limit_bytes: CONFIG_LIMIT_BYTES });
    }
    Ok(bytes)
}
