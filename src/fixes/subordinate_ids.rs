//! Subordinate IDs: lines that are appended to `/etc/subuid` and `/etc/subgid`, and nothing else in them
//! changed (`subuid(5)`).

use super::FixError;
use super::draft::{Draft, PUBLIC};
use crate::facts::login_defs::Limit;
use crate::facts::subid::SubidFile;
use crate::facts::subid_overlap::total_ids;
use crate::facts::users::User;
use crate::host::{Fact, OrAbsent, Unread};
use crate::plan::{State, Writer};
use crate::settings::Setting;

/// The files. Neither has a vendor's place.
const FILES: [&str; 2] = ["/etc/subuid", "/etc/subgid"];
/// What all IDs of 16 bits take, which images are made with (`subuid(5)`, `SUB_UID_COUNT`).
const LEAST: u32 = 65_536;

pub(super) fn add(draft: &mut Draft<'_>, settings: &[Setting]) -> Result<(), FixError> {
    let mut wanted: Vec<(&str, u32)> = Vec::new();
    for setting in settings {
        if let Setting::SubordinateIds { user, count, .. } = setting {
            match wanted.iter_mut().find(|(known, _)| known == user) {
                Some((_, known)) => *known = (*known).max(*count),
                None => wanted.push((user, *count)),
            }
        }
    }
    if wanted.is_empty() || !is_ours(draft)? {
        return Ok(());
    }
    let defs = draft.facts.login_defs()?;
    let usual = defs.number(Limit::SubUidCount).max(defs.number(Limit::SubGidCount));
    let mut lines: [Vec<String>; 2] = Default::default();
    // The start in a setting was found for one user alone.
    let mut planned: Vec<(u32, u32)> = Vec::new();
    for (name, least) in wanted {
        let user = draft.user(name)?;
        let lacks = [lacks(draft.facts.subuid(), &user, least)?, lacks(draft.facts.subgid(), &user, least)?];
        if lacks == [false, false] {
            continue;
        }
        let count = least.max(usual).max(LEAST);
        let Some(start) = draft.facts.free_subids(count, &planned)? else {
            draft.step(format!("make room for {count} IDs of {name} below SUB_UID_MAX of login.defs(5)"));
            continue;
        };
        planned.push((start, count));
        // A name that begins like a comment or an instruction is none to shadow.
        let owner = if name.starts_with(['#', '+', '-']) { user.uid.to_string() } else { name.to_owned() };
        for (lacks, lines) in lacks.into_iter().zip(&mut lines) {
            if lacks {
                lines.push(format!("{owner}:{start}:{count}"));
            }
        }
    }
    for (path, lines) in FILES.into_iter().zip(lines) {
        if !lines.is_empty() {
            append(draft, path, &lines)?;
        }
    }
    Ok(())
}

/// Whether the files are where subordinate IDs come from, and are files.
fn is_ours(draft: &mut Draft<'_>) -> Result<bool, FixError> {
    let nss = draft.facts.nsswitch().or_absent()?;
    if let Some(module) = nss.as_ref().and_then(|nss| nss.subid_module()) {
        let (at, from) = (&module.at, &module.value);
        draft.step(format!("give subordinate IDs away in {from}, where {at} has them come from"));
        return Ok(false);
    }
    for path in FILES {
        if let State::Link { target, .. } = draft.facts.existing(path)? {
            draft.step(format!(
                "put a file in the place of {path}, a link to {target} that newuidmap does not follow"
            ));
            return Ok(false);
        }
    }
    Ok(true)
}

fn lacks(file: Fact<std::rc::Rc<SubidFile>>, user: &User, least: u32) -> Result<bool, Unread> {
    let file = file.or_absent()?;
    let total = file.map_or(0, |file| total_ids(&file.ranges_of(user)));
    Ok(total < u64::from(least))
}

/// Appends lines to whatever bytes are there.
fn append(draft: &mut Draft<'_>, path: &str, lines: &[String]) -> Result<(), FixError> {
    let mut bytes = match draft.facts.existing(path)? {
        State::File { content, .. } => content.bytes().unwrap_or_default().to_vec(),
        State::Absent => Vec::new(),
        State::Link { .. } | State::Dir { .. } => {
            draft.step(format!("put a file in the place of {path}"));
            return Ok(());
        }
    };
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    for line in lines {
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
    }
    draft.put(path, Writer::System, super::Wanted::File { bytes, mode: PUBLIC });
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{fix, host, settled, written};
    use super::super::{Options, Wanted};
    use super::*;
    use crate::facts::Source;
    use crate::facts::testing::TestHost;

    fn ids(user: &str) -> Setting {
        Setting::SubordinateIds { user: user.to_owned(), start: 100_000, count: 65_536 }
    }

    fn both(host: TestHost, uid: &str, gid: &str) -> TestHost {
        host.file(FILES[0], uid).file(FILES[1], gid)
    }

    #[test]
    fn users_that_are_fixed_at_once_do_not_collide() {
        let (fixes, _) = settled(&host(), &[ids("edge"), ids("other"), ids("edge")], &Options::default());
        let lines = "edge:100000:65536\nother:165536:65536\n".to_owned();
        assert_eq!(written(&fixes), [(FILES[0], lines.clone()), (FILES[1], lines)]);
        let (image, _) = settled(&host().image(), &[ids("edge")], &super::super::testing::vendor());
        assert_eq!(written(&image).len(), 2);
    }

    #[test]
    fn only_the_file_that_lacks_the_user_changes() {
        let host = both(host(), "edge:100000:65536\n", "a:1:5\nx");
        let (fixes, _) = settled(&host, &[ids("edge")], &Options::default());
        assert_eq!(written(&fixes), [(FILES[1], "a:1:5\nx\nedge:165536:65536\n".to_owned())]);
        let enough = both(host, "edge:100000:65536\n", "1000:100000:65536\n");
        assert_eq!(settled(&enough, &[ids("edge")], &Options::default()).0.artifacts, []);
    }

    #[test]
    fn bytes_that_are_no_text_stay() {
        let host = host().file(FILES[0], b"\xff:1:2\r\n").file(FILES[1], "edge:100000:65536\n");
        let (fixes, _) = settled(&host, &[ids("edge")], &Options::default());
        let Wanted::File { bytes, .. } = &fixes.artifacts[0].wanted else { panic!() };
        assert_eq!(bytes, b"\xff:1:2\r\nedge:165536:65536\n");
    }

    #[test]
    fn what_is_not_in_the_files_is_left_to_a_person() {
        let linked = host().file(FILES[1], "").path(FILES[1], |record| record.link = Some("/x".to_owned()));
        let sss = host().file("/etc/nsswitch.conf", "subid: sss\n");
        let full = host().file("/etc/login.defs", "SUB_UID_MIN 60000\nSUB_UID_MAX 120000\n");
        for host in [linked, sss, full] {
            let fixes = fix(&host, &[ids("edge")]).unwrap();
            assert_eq!((fixes.artifacts.len(), fixes.manual.len()), (0, 1));
        }
        assert!(matches!(fix(&host().error(FILES[0], "denied"), &[ids("edge")]), Err(FixError::Unread(_))));
        let nobody = fix(&host(), &[ids("nils")]).unwrap_err();
        assert_eq!(nobody.to_string(), "nils: expected a user of /etc/passwd");
    }

    proptest! {
        #[test]
        fn ranges_are_disjoint(
            uid in proptest::collection::vec((0u32..4, 60_000u32..900_000, 1u32..200_000), 0..8),
            gid in proptest::collection::vec((0u32..4, 60_000u32..900_000, 1u32..200_000), 0..8),
            users in proptest::collection::vec(90_000u32..700_000, 0..6),
            counts in proptest::collection::vec(1u32..140_000, 4),
        ) {
            let text = |ranges: &[(u32, u32, u32)]| -> String {
                ranges.iter().map(|(user, start, count)| format!("u{user}:{start}:{count}\n")).collect()
            };
            let mut passwd: String =
                (0..4).map(|user| format!("u{user}:x:{}:100::/:/bin/sh\n", 2000 + user)).collect();
            passwd.extend(users.iter().enumerate().map(|(n, id)| format!("x{n}:x:{id}:{id}::/:/bin/sh\n")));
            let host = both(host().file("/etc/passwd", passwd), &text(&uid), &text(&gid));
            let settings: Vec<Setting> = counts.iter().enumerate().map(|(user, &count)| {
                Setting::SubordinateIds { user: format!("u{user}"), start: 100_000, count }
            }).collect();
            let (_, after) = settled(&host, &settings, &Options::default());
            let parsed = FILES.map(|path| SubidFile::parse(&Source::new(path, after.text(path))));
            let old = [uid.len(), gid.len()];
            let fresh: Vec<(usize, &crate::facts::subid::SubidRange)> = (0..2)
                .flat_map(|file| parsed[file].ranges[old[file]..].iter().map(move |r| (file, &r.value)))
                .collect();
            for (file, range) in &fresh {
                prop_assert!(range.start >= 100_000 && range.count >= 65_536 && range.end() <= 600_100_001);
                prop_assert!(users.iter().all(|&id| id < range.start || u64::from(id) >= range.end()));
                for (other_file, other) in parsed.iter().enumerate() {
                    for other in &other.ranges {
                        let same = other.value == **range && (other_file != *file || {
                            // The line itself, which is there once.
                            parsed[*file].ranges.iter().filter(|r| r.value == **range).count() == 1
                        });
                        let apart = other.value.end() <= u64::from(range.start)
                            || range.end() <= u64::from(other.value.start);
                        prop_assert!(same || apart, "{range} {}", other.value);
                    }
                }
            }
            for (user, count) in counts.iter().enumerate() {
                let user = User::example(&format!("u{user}"), 2000 + u32::try_from(user).unwrap());
                prop_assert!(parsed.iter().all(|f| total_ids(&f.ranges_of(&user)) >= u64::from(*count)));
            }
        }
    }
}
