//! A tar as POSIX has it (ustar): sorted, with numbers and names of owners, and one time for all.

use tar::{Builder, EntryType, Header};

use super::content;
use crate::overlay::Overlay;
use crate::plan::State;

/// Directories are in it only where they are the overlay's own: unpacked over a root, one that is
/// there would get its mode and owner.
pub(super) fn tar(overlay: &Overlay, mtime: i64) -> anyhow::Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for entry in &overlay.entries {
        let name = entry.path.trim_start_matches('/');
        let mut header = Header::new_ustar();
        header.set_mtime(u64::try_from(mtime).unwrap_or(0));
        let (kind, mode, uid, gid) = match &entry.state {
            State::Absent => continue,
            State::File { mode, uid, gid, .. } => (EntryType::Regular, *mode, *uid, *gid),
            State::Dir { mode, uid, gid } => (EntryType::Directory, *mode, *uid, *gid),
            State::Link { uid, gid, .. } => (EntryType::Symlink, 0o777, *uid, *gid),
        };
        let owner = |id: u32| if id == 0 { "root" } else { overlay.person.name.as_str() };
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_username(owner(uid))?;
        header.set_groupname(owner(gid))?;
        match &entry.state {
            State::Link { target, .. } => {
                header.set_size(0);
                builder.append_link(&mut header, name, target)?;
            }
            State::Dir { .. } => {
                header.set_size(0);
                builder.append_data(&mut header, format!("{name}/"), std::io::empty())?;
            }
            state => {
                let bytes = content(state);
                header.set_size(bytes.len() as u64);
                builder.append_data(&mut header, name, bytes)?;
            }
        }
    }
    Ok(builder.into_inner()?)
}
