//! When the running system was booted, by its clock as it is set now: to tell a file that was written
//! since from one that was there before, also on a board whose clock was wrong when it started.

use super::{Facts, Source};
use crate::host::{Fact, Unread};

const STAT: &str = "/proc/stat";
const UPTIME: &str = "/proc/uptime";
/// The kernel gives the time of boot in whole seconds.
const ROUNDING_SECS: i64 = 1;

/// The line `btime` of `/proc/stat`, in seconds since 1970 (`proc_stat(5)`). The kernel works it out
/// from the clock and the time since boot, so it moves when the clock is set.
fn boot_secs(source: &Source) -> Option<i64> {
    source.lines().find_map(|(_, line)| line.strip_prefix("btime ")?.trim().parse().ok())
}

/// The whole seconds since boot in `/proc/uptime` (`proc_uptime(5)`).
fn uptime_secs(source: &Source) -> Option<i64> {
    source.text().split(['.', ' ']).next()?.parse().ok()
}

impl Facts {
    /// Whether a moment, in nanoseconds since 1970, lies between boot and now. One from the future is
    /// from before the boot: from another machine, or from when the clock was right.
    ///
    /// # Errors
    /// In an image root, and where the clock cannot be read.
    pub(super) fn since_boot(&self, moment_ns: i64) -> Fact<bool> {
        self.need_running("when it was booted")?;
        let malformed = |path: &str, expected: &str| Unread::Malformed {
            path: path.to_owned(),
            line: None,
            expected: expected.to_owned(),
        };
        let boot = boot_secs(&*self.source(STAT)?).ok_or_else(|| malformed(STAT, "expected a line btime"))?;
        let uptime =
            uptime_secs(&*self.source(UPTIME)?).ok_or_else(|| malformed(UPTIME, "expected seconds"))?;
        let moment = moment_ns.div_euclid(1_000_000_000);
        Ok(moment >= boot - ROUNDING_SECS && moment <= boot.saturating_add(uptime) + 2 * ROUNDING_SECS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::empty_host;

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
