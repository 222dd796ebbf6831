//! Where a range of subordinate IDs is free: in neither file, of no user and no group, of nothing that
//! systemd gives away by itself, within the limits of `login.defs(5)`.

use super::login_defs::Limit;
use super::subid::{SubidFile, SubidRange};
use super::subid_overlap::RESERVED;
use super::{Evidence, Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent};

impl Facts {
    /// Where `count` IDs begin that are nobody's, and in none of the ranges (start and count) that are about
    /// to be given; the lowest there is. `None` where there is no room.
    ///
    /// # Errors
    /// Where a file that could name them cannot be read.
    pub fn free_subordinate_ids(&self, count: u32, given: &[(u32, u32)]) -> Fact<Option<u32>> {
        let defs = self.login_defs()?;
        let min = defs.number(Limit::SubUidMin).max(defs.number(Limit::SubGidMin));
        let max = defs.number(Limit::SubUidMax).min(defs.number(Limit::SubGidMax));
        let range = |owner: &str, start, count| Sourced {
            value: SubidRange { owner: owner.into(), start, count },
            at: Evidence::path("", ""),
        };
        let mut ranges: Vec<Sourced<SubidRange>> =
            RESERVED.iter().map(|r| range(r.name, r.first, r.last - r.first + 1)).collect();
        ranges.extend(given.iter().map(|&(start, count)| range("", start, count)));
        for (path, file) in [("/etc/subuid", self.subuid()), ("/etc/subgid", self.subgid())] {
            let Some(file) = file.or_absent()? else { continue };
            ranges.extend(file.ranges.iter().cloned());
            // A line that does not count today is somebody's again once it is corrected.
            for fault in file.faults.iter().filter(|fault| fault.value.is_ignored_line()) {
                ranges.extend(SubidFile::parse(&Source::new(path, format!("{}\n", fault.at.text))).ranges);
            }
        }
        let mut taken: Vec<u32> = self.passwd()?.users.iter().map(|user| user.uid).collect();
        taken.extend(self.groups()?.groups.iter().map(|group| group.gid));
        let all = SubidFile { ranges, faults: Vec::new(), link: Ok(None) };
        Ok(all.first_free(min, max, count, &taken))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::facts::testing::empty_host;

    proptest! {
        /// What is given is disjoint from all that there is, and from each other.
        #[test]
        fn what_is_given_is_nobodys(
            ranges in prop::collection::vec((90_000u32..2_000_000, 1u32..200_000), 0..12),
            uids in prop::collection::vec(0u32..2_000_000, 0..12),
            counts in prop::collection::vec(65_536u32..200_000, 1..5),
            in_uid: bool,
        ) {
            let line = |(start, count): &(u32, u32)| format!("other:{start}:{count}\n");
            let (one, other): (String, String) = (ranges.iter().map(line).collect(), String::new());
            let (subuid, subgid) = if in_uid { (one, other) } else { (other, one) };
            let passwd: String =
                uids.iter().map(|uid| format!("u{uid}:x:{uid}:{uid}::/:/bin/sh\n")).collect();
            let facts = empty_host()
                .file("/etc/passwd", passwd)
                .file("/etc/group", "")
                .file("/etc/login.defs", "SUB_UID_MIN 100000\nSUB_UID_MAX 600100000\n")
                .file("/etc/subuid", subuid)
                .file("/etc/subgid", subgid)
                .facts();
            let mut given: Vec<(u32, u32)> = Vec::new();
            for count in counts {
                let start = facts.free_subordinate_ids(count, &given).unwrap().expect("there is room");
                let (from, to) = (u64::from(start), u64::from(start) + u64::from(count));
                for &(s, c) in ranges.iter().chain(&given) {
                    prop_assert!(to <= u64::from(s) || u64::from(s) + u64::from(c) <= from);
                }
                for &uid in &uids {
                    prop_assert!(!(from..to).contains(&u64::from(uid)));
                }
                prop_assert!(from >= 100_000 && to <= 600_100_001);
                given.push((start, count));
            }
        }
    }
}
