//! Where subordinate IDs are still free: what checks propose and fixes give away.

use super::login_defs::Limit;
use super::subid::{SubidFile, SubidRange};
use super::subid_overlap::RESERVED;
use super::{Evidence, Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent};

impl Facts {
    /// Where `count` IDs begin that are in no range of `/etc/subuid` and `/etc/subgid`, nor those of a
    /// user, a group or the system, nor in `planned` (start and count), within the limits of
    /// `login.defs(5)`. The lowest that are free, so that what `systemd-nspawn` picks from (524288 to
    /// 1879048191) is touched only once there is no room below. `None` where there is no room at all.
    ///
    /// # Errors
    /// Where a file that says what is taken cannot be read.
    pub fn free_subids(&self, count: u32, planned: &[(u32, u32)]) -> Fact<Option<u32>> {
        let defs = self.login_defs()?;
        let min = defs.number(Limit::SubUidMin).max(defs.number(Limit::SubGidMin));
        let max = defs.number(Limit::SubUidMax).min(defs.number(Limit::SubGidMax));
        let nobodys = |start, count| {
            let value = SubidRange { owner: "".into(), start, count };
            Sourced { value, at: Evidence::path("", "") }
        };
        let reserved = RESERVED.iter().map(|ids| nobodys(ids.first, ids.last - ids.first + 1));
        let planned = planned.iter().map(|&(start, count)| nobodys(start, count));
        let mut ranges: Vec<Sourced<SubidRange>> = reserved.chain(planned).collect();
        for (path, file) in [("/etc/subuid", self.subuid()), ("/etc/subgid", self.subgid())] {
            let Some(file) = file.or_absent()? else { continue };
            ranges.extend(file.ranges.iter().cloned());
            // A line that does not count today is somebody's again once it is corrected.
            for fault in file.faults.iter().filter(|fault| fault.value.is_ignored_line()) {
                ranges.extend(SubidFile::parse(&Source::new(path, format!("{}\n", fault.at.text))).ranges);
            }
        }
        let mut taken: Vec<u32> = self.passwd()?.users.iter().flat_map(|user| [user.uid, user.gid]).collect();
        taken.extend(self.groups()?.groups.iter().map(|group| group.gid));
        let all = SubidFile { ranges, faults: Vec::new(), link: Ok(None) };
        Ok(all.first_free(min, max, count, &taken))
    }
}

#[cfg(test)]
mod tests {
    use crate::facts::testing::empty_host;

    #[test]
    fn planned_ranges_are_taken() {
        let facts = empty_host()
            .file("/etc/passwd", "ldap:x:165600:100::/:/bin/sh\n")
            .file("/etc/subgid", "other:296608:65536\n")
            .facts();
        assert_eq!(facts.free_subids(65_536, &[]), Ok(Some(100_000)));
        assert_eq!(facts.free_subids(65_536, &[(100_000, 65_536)]), Ok(Some(231_072)));
        assert_eq!(facts.free_subids(65_536, &[(100_000, 1), (231_072, 65_536)]), Ok(Some(362_144)));
        assert_eq!(facts.free_subids(u32::MAX, &[]), Ok(None));
    }
}
