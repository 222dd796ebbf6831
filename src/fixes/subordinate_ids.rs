//! Ranges of subordinate IDs: lines of `subuid(5)` and `subgid(5)`.

use super::work::{READABLE, Work};
use super::{FixError, Setting, Wanted};
use crate::facts::subid_overlap::total_ids;
use crate::host::OrAbsent;
use crate::plan::{Content, State, Writer};

pub(super) fn add(work: &mut Work, settings: &[Setting]) -> Result<(), FixError> {
    let files = ["/etc/subuid", "/etc/subgid"];
    let mut given: Vec<(u32, u32)> = Vec::new();
    let mut added: [Vec<String>; 2] = [Vec::new(), Vec::new()];
    let mut done: Vec<&str> = Vec::new();
    for setting in settings {
        let Setting::SubordinateIds { user, count, .. } = setting else { continue };
        if done.contains(&user.as_str()) {
            continue;
        }
        done.push(user);
        let Some(start) = work.facts.free_subordinate_ids(*count, &given)? else {
            let what = format!("no {count} IDs are free below SUB_UID_MAX of login.defs(5) for {user}");
            work.manual(what, Vec::new());
            continue;
        };
        given.push((start, *count));
        let account = work.user(user)?;
        let known = [work.facts.subuid(), work.facts.subgid()];
        for (lines, known) in added.iter_mut().zip(known) {
            let enough = known.or_absent()?.is_some_and(|file| {
                total_ids(&file.ranges_of(&account)) >= u64::from(*count)
            });
            if !enough {
                lines.push(format!("{user}:{start}:{count}\n"));
            }
        }
    }
    for (path, lines) in files.into_iter().zip(added) {
        if lines.is_empty() {
            continue;
        }
        let mut bytes = match work.facts.existing(path)? {
            State::Absent => Vec::new(),
            State::File { content, .. } => content.bytes().map(<[u8]>::to_vec).unwrap_or_default(),
            State::Link { .. } | State::Dir { .. } => {
                return Err(FixError::Refused(format!("{path}: expected a file")));
            }
        };
        if bytes.last().is_some_and(|&last| last != b'\n') {
            bytes.push(b'\n');
        }
        bytes.extend(lines.concat().into_bytes());
        // Content::new tells what is no UTF-8 from what is.
        let bytes = Content::new(bytes).bytes().map(<[u8]>::to_vec).unwrap_or_default();
        work.push(path.to_owned(), Writer::System, Wanted::File { bytes, mode: READABLE });
    }
    Ok(())
}
