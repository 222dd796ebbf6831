//! Permission bits and capabilities of files that are there.

use super::work::Work;
use super::{FixError, Setting, Wanted};
use crate::plan::{Hex, Writer};

/// `VFS_CAP_REVISION_2` with `VFS_CAP_FLAGS_EFFECTIVE` (`linux/capability.h`, `struct vfs_cap_data`).
const REVISION_AND_EFFECTIVE: u32 = 0x0200_0001;

pub(super) fn add(work: &mut Work, settings: &[Setting]) -> Result<(), FixError> {
    let mut done: Vec<String> = Vec::new();
    for setting in settings {
        let (path, wanted) = match setting {
            Setting::FileMode { path, mode } => (path, Wanted::Mode(*mode)),
            Setting::FileCapability { path, capability } => {
                let Some(bit) = bit(capability) else {
                    return Err(FixError::Refused(format!("{path}: no such capability: {capability}")));
                };
                (path, Wanted::Capability(Hex(encoded(bit))))
            }
            _ => continue,
        };
        let real = work.facts.real_path(path)?;
        if !done.contains(&real) {
            work.push(real.clone(), Writer::System, wanted);
            done.push(real);
        }
    }
    Ok(())
}

/// The number of a capability (`linux/capability.h`).
fn bit(capability: &str) -> Option<u32> {
    match capability {
        "cap_setgid" => Some(6),
        "cap_setuid" => Some(7),
        _ => None,
    }
}

fn encoded(bit: u32) -> Vec<u8> {
    // Permitted and inheritable, the low words first; all little-endian.
    [REVISION_AND_EFFECTIVE, 1 << bit, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        assert_eq!(
            encoded(7),
            [1, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            "as setcap cap_setuid+ep writes it"
        );
        assert_eq!(bit("cap_sys_admin"), None);
    }
}
