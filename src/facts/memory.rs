//! How much memory and how many processors the running system has.

use std::rc::Rc;

use super::{Evidence, Facts, Source, Sourced};
use crate::host::{Fact, Unread};

const MEMINFO: &str = "/proc/meminfo";
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// What `/proc/meminfo` tells of the memory (`proc_meminfo(5)`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// `MemTotal`: usable memory, less than what is built in by what firmware and kernel keep.
    pub total_bytes: Sourced<u64>,
    /// `MemAvailable`: an estimate of what new programs can get without swapping.
    pub available_bytes: Option<Sourced<u64>>,
}

impl Memory {
    /// Reads `Name:   123 kB` lines.
    ///
    /// # Errors
    /// When there is no valid `MemTotal`.
    pub fn parse(source: &Source) -> Fact<Memory> {
        let find = |wanted: &str| {
            source.lines().find_map(|(line, text)| {
                let (name, value) = text.split_once(':')?;
                let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
                (name == wanted).then(|| source.on(line, text, kib.saturating_mul(1024)))
            })
        };
        let total_bytes = find("MemTotal").ok_or_else(|| Unread::Malformed {
            path: source.path().to_owned(),
            line: None,
            expected: "expected a line \"MemTotal: NUMBER kB\"".to_owned(),
        })?;
        Ok(Memory { total_bytes, available_bytes: find("MemAvailable") })
    }
}

/// Counts the members of a list such as `0-3,5` (`Documentation/admin-guide/cputopology.rst`).
fn count_of_list(text: &str) -> Option<u32> {
    let mut count = 0u32;
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count)
}

impl Facts {
    /// The memory of the running system.
    ///
    /// # Errors
    /// When it cannot be read, or nothing runs.
    pub fn memory(&self) -> Fact<Rc<Memory>> {
        self.memo_fact("", || {
            self.need_running("the amount of memory")?;
            Memory::parse(&*self.source(MEMINFO)?)
        })
    }

    /// The number of processors that are online.
    ///
    /// # Errors
    /// When it cannot be read, or nothing runs.
    pub fn cpus(&self) -> Fact<Sourced<u32>> {
        self.need_running("the number of processors")?;
        let source = self.source(ONLINE)?;
        let count = count_of_list(source.text()).ok_or_else(|| Unread::Malformed {
            path: ONLINE.to_owned(),
            line: Some(1),
            expected: "expected a list such as 0-3,5".to_owned(),
        })?;
        Ok(Sourced { value: count, at: Evidence::line(ONLINE, 1, source.text()) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;

    /// Debian 12, Linux 6.18 on x86_64, shortened.
    const TEXT: &str = "\
MemTotal:       24684156 kB
MemFree:        20011208 kB
MemAvailable:   23104012 kB
HugePages_Total:       0
";

    #[test]
    fn memory_in_bytes() {
        let facts = empty_host().file(MEMINFO, TEXT).facts();
        let memory = facts.memory().unwrap();
        assert_eq!(memory.total_bytes.value, 24_684_156 * 1024);
        assert_eq!(
            memory.available_bytes.as_ref().map(|m| (m.value, m.at.line)),
            Some((23_104_012 * 1024, Some(3)))
        );
    }

    #[test]
    fn linux_before_3_14_has_no_memavailable() {
        let memory = Memory::parse(&Source::new(MEMINFO, "MemTotal: 1 kB\n")).unwrap();
        assert_eq!((memory.total_bytes.value, memory.available_bytes), (1024, None));
        let got = Memory::parse(&Source::new(MEMINFO, "MemTotal: many\n"));
        assert!(matches!(got, Err(Unread::Malformed { .. })));
    }

    #[test]
    fn processors() {
        for (text, count) in [
            ("0-1\n", Some(2)),
            ("0", Some(1)),
            ("0-3,5,7-8", Some(7)),
            ("", None),
            ("3-1", None),
            ("0-4294967295", None),
        ] {
            assert_eq!(count_of_list(text), count, "{text}");
        }
        assert_eq!(empty_host().file(ONLINE, "0-3\n").facts().cpus().unwrap().value, 4);
        assert!(matches!(empty_host().image().facts().cpus(), Err(Unread::NotRunning { .. })));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)(MemTotal|[0-9:, kB\\n-]){0,20}|.{0,50}") {
            let _ = count_of_list(&text);
            let _ = Memory::parse(&Source::new(MEMINFO, text));
        }
    }
}
