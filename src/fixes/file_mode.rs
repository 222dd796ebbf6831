//! Permission bits and capabilities of files that are there: of `newuidmap`, say. They are changed where
//! the file really is, and never where a user could have put it.

use super::draft::{Agreed, Draft};
use super::{FixError, Wanted};
use crate::host::Kind;
use crate::plan::{Hex, Writer};
use crate::settings::{Setting, quoted};

/// Set-user-ID and set-group-ID.
const PRIVILEGED: u32 = 0o6000;
/// `VFS_CAP_REVISION_2` and `VFS_CAP_FLAGS_EFFECTIVE` (`include/uapi/linux/capability.h`).
const EFFECTIVE: u32 = 0x0200_0000 | 1;

pub(super) fn add(draft: &mut Draft<'_>, settings: &[Setting]) -> Result<(), FixError> {
    let mut agreed = Agreed::default();
    for setting in settings {
        let (path, shown) = match setting {
            Setting::FileMode { path, mode } => (path, format!("{mode:04o}")),
            Setting::FileCapability { path, capability } => (path, format!("{capability}+ep")),
            _ => continue,
        };
        let real = draft.facts.real_path(path)?;
        agreed.add(&real, &shown)?;
        let stat = draft.facts.stat(&real)?;
        if stat.kind != Kind::File {
            draft.step(format!("put a file in the place of {real}"));
            continue;
        }
        let (wanted, privileged) = match setting {
            Setting::FileMode { mode, .. } if stat.mode == *mode => continue,
            Setting::FileMode { mode, .. } => (Wanted::Mode(*mode), mode & PRIVILEGED != 0),
            Setting::FileCapability { capability, .. } => {
                let bytes = capability_bytes(number(capability)?);
                let there = draft.facts.file_capability(&real)?.is_some_and(|found| {
                    found.version == 2
                        && found.effective
                        && found.permitted == 1 << number(capability).unwrap_or(0)
                });
                if there && stat.mode & PRIVILEGED == 0 {
                    continue;
                }
                (Wanted::Capability(Hex(bytes)), true)
            }
            _ => continue,
        };
        // In an image that a user unpacked, files belong to that user.
        if privileged && draft.facts.running() && stat.uid != 0 {
            draft.step(format!(
                "install {real} as root's: with {shown} its owner, UID {}, would be root",
                stat.uid
            ));
            continue;
        }
        if draft.wanted(&real).is_some_and(|planned| *planned != wanted) {
            // A file that gets new text keeps its bits in the same step.
            let mode = vec![format!("sudo chmod {shown} {}", quoted(&real))];
            draft.step_with(format!("give {real} the mode {shown} once its new text is there"), mode);
            continue;
        }
        draft.put(&real, Writer::System, wanted);
    }
    Ok(())
}

fn number(capability: &str) -> Result<u32, FixError> {
    match capability {
        "cap_setgid" => Ok(6),
        "cap_setuid" => Ok(7),
        other => Err(FixError::Refused(format!("{other}: expected cap_setuid or cap_setgid"))),
    }
}

/// The attribute `security.capability` of version 2 with one capability, permitted and effective:
/// flags, then permitted and inheritable words of the low and the high half, all little endian.
fn capability_bytes(number: u32) -> Vec<u8> {
    let bits = 1u64 << number;
    let low = u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
    let high = u32::try_from(bits >> 32).unwrap_or_default();
    [EFFECTIVE, low, 0, high, 0].into_iter().flat_map(u32::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::testing::{fix, host, settled, written};
    use super::*;
    use crate::facts::file_capability::{Capability, FileCapability};

    const PATH: &str = "/usr/bin/newuidmap";

    fn mode(path: &str, mode: u32) -> Setting {
        Setting::FileMode { path: path.to_owned(), mode }
    }

    #[test]
    fn the_file_that_a_link_leads_to_is_changed() {
        let host = host().file(PATH, "x").path("/bin", |record| record.link = Some("usr/bin".to_owned()));
        let (fixes, _) = settled(&host, &[mode("/bin/newuidmap", 0o4755)], &Options::default());
        assert_eq!(written(&fixes), [(PATH, "4755".to_owned())]);
        assert!(matches!(fix(&host, &[mode("/none", 0o644)]), Err(FixError::Unread(_))));
        let conflict = fix(&host, &[mode("/bin/newuidmap", 0o4755), mode(PATH, 0o755)]);
        assert!(matches!(conflict, Err(FixError::Conflict { .. })));
    }

    #[test]
    fn a_capability_is_what_the_kernel_reads() {
        let setting = Setting::FileCapability { path: PATH.to_owned(), capability: "cap_setuid" };
        let (fixes, after) = settled(&host().file(PATH, "x"), &[setting], &Options::default());
        assert_eq!(written(&fixes), [(PATH, "0100000280000000000000000000000000000000".to_owned())]);
        let found: FileCapability = after.facts().file_capability(PATH).unwrap().unwrap();
        assert!(found.gives(Capability::Setuid) && !found.gives(Capability::Setgid));
        assert_eq!((found.version, found.permitted, found.inheritable), (2, 1 << 7, 0));
    }

    #[test]
    fn a_users_file_is_not_made_root() {
        let own = host().file(PATH, "x").path(PATH, |record| record.uid = Some(1000));
        let fixes = fix(&own, &[mode(PATH, 0o4755)]).unwrap();
        assert_eq!((fixes.artifacts.len(), fixes.manual.len()), (0, 1));
        assert_eq!(fix(&own.image(), &[mode(PATH, 0o4755)]).unwrap().artifacts.len(), 1);
    }

    #[test]
    fn text_and_mode_of_one_file_are_two_steps() {
        let host = host().file("/etc/subuid", "").mode("/etc/subuid", "0600");
        let ids = Setting::SubordinateIds { user: "edge".to_owned(), start: 1, count: 65_536 };
        let fixes = fix(&host, &[mode("/etc/subuid", 0o644), ids]).unwrap();
        assert_eq!((fixes.artifacts.len(), fixes.manual.len()), (2, 1));
        assert_eq!(fixes.manual[0].commands, ["sudo chmod 0644 /etc/subuid"]);
    }
}
