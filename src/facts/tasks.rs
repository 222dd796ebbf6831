//! How many tasks the slice of a user may hold: `TasksMax=` of `user-UID.slice`
//! (`systemd.resource-control(5)`) and the `pids.max` that systemd makes of it.

use super::cgroup::user_manager_levels;
use super::limits::Limit;
use super::{Facts, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// Parts of the whole in `TasksMax=`.
const WHOLE: u64 = 10_000;
/// What `TasksMax=` without a value means: `DefaultTasksMax=`, unless that is set (systemd-system.conf(5)).
const DEFAULT_PARTS: u64 = 1_500;

/// A value of `TasksMax=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TasksMax {
    /// A number of tasks, or none.
    Tasks(Limit),
    /// So many hundredths of a percent of what the system can have.
    Parts(u64),
}

impl TasksMax {
    /// Reads a value; `None` for what systemd ignores (systemd, `src/core/load-fragment.c`,
    /// `config_parse_tasks_max`).
    pub fn parse(text: &str) -> Option<TasksMax> {
        let parts = match text {
            "" => return Some(TasksMax::Parts(DEFAULT_PARTS)),
            "infinity" => return Some(TasksMax::Tasks(None)),
            text => match text.strip_suffix('%') {
                Some(percent) => hundredths(percent)?,
                None => {
                    return text.parse().ok().filter(|tasks| *tasks > 0).map(|n| TasksMax::Tasks(Some(n)));
                }
            },
        };
        (1..=WHOLE).contains(&parts).then_some(TasksMax::Parts(parts))
    }

    /// The limit on a system that can have `system` tasks.
    pub fn limit(self, system: u64) -> Limit {
        match self {
            TasksMax::Tasks(limit) => limit,
            TasksMax::Parts(parts) => Some(system.saturating_mul(parts) / WHOLE),
        }
    }
}

/// `3325` for `33.25`.
pub(super) fn hundredths(percent: &str) -> Option<u64> {
    let (whole, fraction) = percent.split_once('.').unwrap_or((percent, "0"));
    let fraction = match fraction.len() {
        1 => fraction.parse::<u64>().ok()? * 10,
        2 => fraction.parse().ok()?,
        _ => return None,
    };
    whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(fraction)
}

/// The `pids.max` of a slice: absent where nothing limits it.
struct PidsMax(Option<Sourced<Limit>>);

impl Facts {
    /// What `TasksMax=` of the slice of `uid` comes to; `None` where nothing sets it, which for a slice is
    /// no limit (systemd, `src/core/unit.c`, `unit_init`).
    ///
    /// # Errors
    /// Where a directory or file that could decide cannot be read.
    pub fn slice_tasks(&self, uid: u32) -> Fact<Option<Sourced<TasksMax>>> {
        let unit = self.unit(&format!("user-{uid}.slice"))?;
        let found = unit.values("Slice", "TasksMax").rev().find_map(|Sourced { value, at }| {
            TasksMax::parse(value).map(|value| Sourced { value, at: at.clone() })
        });
        Ok(found)
    }

    /// How many tasks the slice of `uid` may hold now; `None` where there is no such slice. Without the
    /// controller there is no limit.
    ///
    /// # Errors
    /// In an image root, and where it cannot be read.
    pub fn slice_pids_max(&self, uid: u32) -> Fact<Option<Sourced<Limit>>> {
        let found = self.memo_fact(&uid.to_string(), || {
            self.need_running("what control groups have")?;
            let [_, _, slice, _] = user_manager_levels(uid);
            let path = format!("{slice}/pids.max");
            if self.stat(&slice).or_absent()?.is_none() {
                return Ok(PidsMax(None));
            }
            let Some(source) = self.source(&path).or_absent()? else {
                let at = super::Evidence::path(&path, "does not exist");
                return Ok(PidsMax(Some(Sourced { value: None, at })));
            };
            let malformed = || Unread::Malformed {
                path: path.clone(),
                line: Some(1),
                expected: "a number of tasks, or max".to_owned(),
            };
            let limit = match source.text().trim() {
                "max" => None,
                number => Some(number.parse().map_err(|_| malformed())?),
            };
            Ok(PidsMax(Some(source.at(1, limit))))
        })?;
        Ok(found.0.clone())
    }

    /// How many tasks the system can have: what systemd takes percentages of (systemd,
    /// `src/basic/limits-util.c`, `system_tasks_max`).
    ///
    /// # Errors
    /// In an image root, and where `/proc/sys` cannot be read.
    pub fn system_tasks(&self) -> Fact<u64> {
        let number = |key: &str| {
            let found = self.sysctl(key)?;
            found.value.trim().parse::<u64>().map_err(|_| Unread::Malformed {
                path: found.at.path.to_string(),
                line: None,
                expected: "a number".to_owned(),
            })
        };
        // PID 0 is none.
        Ok(number("kernel.threads-max")?.min(number("kernel.pid_max")?.saturating_sub(1)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::{empty_host, fixture};

    #[test]
    fn values_of_tasks_max() {
        for (text, value) in [
            ("33%", Some(TasksMax::Parts(3300))),
            ("33.5%", Some(TasksMax::Parts(3350))),
            ("0.01%", Some(TasksMax::Parts(1))),
            ("100%", Some(TasksMax::Parts(WHOLE))),
            ("101%", None),
            ("4096", Some(TasksMax::Tasks(Some(4096)))),
            ("infinity", Some(TasksMax::Tasks(None))),
            ("", Some(TasksMax::Parts(DEFAULT_PARTS))),
            ("0", None),
            ("many", None),
        ] {
            assert_eq!(TasksMax::parse(text), value, "{text}");
        }
        assert_eq!(TasksMax::Parts(3300).limit(32768), Some(10813));
    }

    #[test]
    fn the_vendor_of_systemd_gives_a_third() {
        for name in ["debian-12", "debian-13", "debian-testing"] {
            let found = fixture(name).facts().slice_tasks(1000).unwrap().unwrap();
            assert_eq!(found.value, TasksMax::Parts(3300), "{name}");
        }
        assert_eq!(empty_host().facts().slice_tasks(1000), Ok(None));
    }

    #[test]
    fn what_is_in_effect() {
        let slice = "/sys/fs/cgroup/user.slice/user-1000.slice";
        let max = |text: &str| {
            let facts = empty_host().dir(slice, "0755", 0).file(&format!("{slice}/pids.max"), text).facts();
            facts.slice_pids_max(1000).map(|found| found.unwrap().value)
        };
        assert_eq!(max("max\n"), Ok(None));
        assert_eq!(max("10813\n"), Ok(Some(10813)));
        assert!(matches!(max("x"), Err(Unread::Malformed { .. })));
        let no_controller = empty_host().dir(slice, "0755", 0).facts().slice_pids_max(1000).unwrap();
        assert_eq!(no_controller.map(|found| found.value), Some(None));
        assert_eq!(empty_host().facts().slice_pids_max(1000), Ok(None));
        assert!(empty_host().image().facts().slice_pids_max(1000).is_err());
    }

    #[test]
    fn percentages_are_of_the_smaller_of_two() {
        let system = |threads: &str, pids: &str| {
            let host = empty_host().file("/proc/sys/kernel/threads-max", threads);
            host.file("/proc/sys/kernel/pid_max", pids).facts().system_tasks()
        };
        assert_eq!(system("7823\n", "4194304\n"), Ok(7823));
        assert_eq!(system("126841\n", "32768\n"), Ok(32767));
        assert!(empty_host().facts().system_tasks().is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9.%]{0,30}|.{0,20}", system: u64) {
            if let Some(found) = TasksMax::parse(&text) {
                let _ = found.limit(system);
            }
        }
    }
}
