//! What the clock says, and when the running system was booted by it: to tell a file that was written
//! since from one that was there before, also on a board whose clock was wrong when it started.

use super::mountinfo::Mounts;
use super::{Facts, Source};
use crate::host::{Fact, Unread};

const STAT: &str = "/proc/stat";
const UPTIME: &str = "/proc/uptime";
/// The type of the file system that lxcfs puts over files in `/proc`.
const LXCFS: &str = "fuse.lxcfs";
/// `USER_HZ`, the same wherever systemd runs (Linux: include/asm-generic/param.h).
const TICKS_PER_SEC: i64 = 100;
/// The kernel gives the time of boot in whole seconds.
const ROUNDING_SECS: i64 = 1;

/// A day, as people write it, of a moment in seconds since 1970 (the algorithm of `civil_from_days` by
/// Howard Hinnant).
pub fn day(secs: i64) -> String {
    let days = secs.div_euclid(86_400) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The line `btime` of `/proc/stat`, in seconds since 1970 (`proc_stat(5)`). The kernel works it out
/// from the clock and the time since boot, so it moves when the clock is set.
fn boot_secs(source: &Source) -> Option<i64> {
    source.lines().find_map(|(_, line)| line.strip_prefix("btime ")?.trim().parse().ok())
}

/// The whole seconds since boot in `/proc/uptime` (`proc_uptime(5)`).
fn uptime_secs(source: &Source) -> Option<i64> {
    source.text().split(['.', ' ']).next()?.parse().ok()
}

/// When a process was started, in ticks since boot (`proc_pid_stat(5)`, field 22). The name of the command
/// before it can hold spaces and parentheses.
fn started_ticks(stat: &str) -> Option<i64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

impl Facts {
    /// What the clock says, in seconds since 1970.
    ///
    /// # Errors
    /// In an image root, and where the clock cannot be read.
    pub fn now_secs(&self) -> Fact<i64> {
        self.need_running("the time")?;
        match self.host.now_secs() {
            Ok(now) => Ok(now),
            Err(_) => self.boot_and_now_secs().map(|(_, now)| now),
        }
    }

    /// How long a process has been there, in whole seconds.
    ///
    /// # Errors
    /// In an image root, and where the process or the clock cannot be read.
    pub fn running_secs(&self, pid: u32) -> Fact<i64> {
        self.need_running("how long a process runs")?;
        let (boot, now) = self.boot_and_now_secs()?;
        let path = format!("/proc/{pid}/stat");
        let started = started_ticks(self.source(&path)?.text()).ok_or_else(|| Unread::Malformed {
            path: path.clone(),
            line: None,
            expected: "expected when the process was started".to_owned(),
        })?;
        Ok(now.saturating_sub(boot).saturating_sub(started / TICKS_PER_SEC))
    }

    /// When the status of a file was last changed, by the clock as it was then, in seconds since 1970.
    ///
    /// # Errors
    /// Why it could not be looked at.
    pub fn changed_secs(&self, path: &str) -> Fact<i64> {
        Ok(self.changed_ns(path)?.div_euclid(1_000_000_000))
    }

    /// In a container of LXC, the time since boot is since the container was started, and `btime` is when the
    /// machine was: lxcfs puts the former in place of the kernel's file, and not the latter. So the clock counts
    /// where it is known, and the two together only where both are the kernel's.
    fn boot_and_now_secs(&self) -> Fact<(i64, i64)> {
        let malformed = |path: &str, expected: &str| Unread::Malformed {
            path: path.to_owned(),
            line: None,
            expected: expected.to_owned(),
        };
        let uptime =
            || uptime_secs(&*self.source(UPTIME)?).ok_or_else(|| malformed(UPTIME, "expected seconds"));
        if let Ok(now) = self.host.now_secs() {
            return Ok((now.saturating_sub(uptime()?), now));
        }
        let boot = boot_secs(&*self.source(STAT)?).ok_or_else(|| malformed(STAT, "expected a line btime"))?;
        let is_lxcfs = |mounts: &Mounts| mounts.at(UPTIME).is_some_and(|mount| mount.fs_type == LXCFS);
        if self.mountinfo().is_ok_and(|mounts| is_lxcfs(&mounts)) {
            return Err(malformed(UPTIME, "the time since the container was started, by lxcfs"));
        }
        Ok((boot, boot.saturating_add(uptime()?)))
    }

    /// Whether a moment, in nanoseconds since 1970, lies between boot and now. One from the future is
    /// from before the boot: from another machine, or from when the clock was right.
    ///
    /// # Errors
    /// In an image root, and where the clock cannot be read.
    pub(super) fn since_boot(&self, moment_ns: i64) -> Fact<bool> {
        self.need_running("when it was booted")?;
        let (boot, now) = self.boot_and_now_secs()?;
        let moment = moment_ns.div_euclid(1_000_000_000);
        Ok(moment >= boot - ROUNDING_SECS && moment <= now + 2 * ROUNDING_SECS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::empty_host;

    #[test]
    fn days() {
        for (secs, name) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_709_164_800, "2024-02-29"),
            (1_709_251_200, "2024-03-01"),
            (1_735_689_599, "2024-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(day(secs), name);
        }
    }

    #[test]
    fn a_moment_is_before_the_boot_since_it_or_from_the_future() {
        let host = empty_host()
            .file(STAT, "cpu  1 2 3\nintr 5\nctxt 1\nbtime 1000\nprocesses 3\n")
            .file(UPTIME, "50.61 92.45\n");
        let facts = host.facts();
        for (secs, expected) in [(900, false), (1000, true), (1050, true), (1060, false)] {
            assert_eq!(facts.since_boot(secs * 1_000_000_000), Ok(expected), "{secs}");
        }
    }

    /// Proxmox: the machine was booted at 1000, the container started at 90 000, and it is 90 050.
    #[test]
    fn a_container_of_lxc_was_started_later_than_its_machine() {
        let host = empty_host().file(STAT, "btime 1000\n").file(UPTIME, "50.00 0.00\n");
        let facts = host.clone().now(90_050).facts();
        assert_eq!(facts.now_secs(), Ok(90_050));
        for (secs, expected) in [(1020, false), (89_990, false), (90_020, true), (90_060, false)] {
            assert_eq!(facts.since_boot(secs * 1_000_000_000), Ok(expected), "{secs}");
        }
        let lxcfs =
            "1 0 0:1 / / rw - ext4 /dev/sda rw\n2 1 0:2 /proc/uptime /proc/uptime rw - fuse.lxcfs lxcfs rw\n";
        let captured = host.clone().file("/proc/self/mountinfo", lxcfs).facts();
        assert!(matches!(captured.now_secs(), Err(Unread::Malformed { .. })));
        assert!(captured.since_boot(0).is_err());
        assert_eq!(host.facts().now_secs(), Ok(1050), "a capture without a clock, not of a container");
    }

    #[test]
    fn days_of_the_calendar() {
        for (secs, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_772_323_199, "2026-02-28"),
            (1_772_323_200, "2026-03-01"),
            (-1, "1969-12-31"),
        ] {
            assert_eq!(day(secs), expected);
        }
    }

    #[test]
    fn a_clock_that_cannot_be_read_tells_nothing() {
        assert!(empty_host().facts().since_boot(0).unwrap_err().is_absent());
        let host = empty_host().file(STAT, "cpu 1\n").file(UPTIME, "1.0 2.0\n");
        assert!(matches!(host.facts().since_boot(0), Err(Unread::Malformed { .. })));
        let host = empty_host().file(STAT, "btime 1\n").file(UPTIME, "\n");
        assert!(matches!(host.facts().since_boot(0), Err(Unread::Malformed { .. })));
        assert!(matches!(empty_host().image().facts().since_boot(0), Err(Unread::NotRunning { .. })));
    }
}
