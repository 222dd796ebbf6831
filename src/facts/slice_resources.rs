//! How much memory and processor time the units above a user's containers leave them: `MemoryMax=`,
//! `MemoryHigh=`, `CPUQuota=` and `AllowedCPUs=` (`systemd.resource-control(5)`) of `user.slice`,
//! `user-UID.slice` and `user@UID.service`, and the files of their control groups (`cgroup-v2.rst`).

use std::collections::BTreeSet;

use super::cgroup::user_manager_levels;
use super::tasks::hundredths;
use super::{Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// Hundredths of a percent in all of the memory.
const WHOLE: u64 = 10_000;
/// The most processors that a list is followed to: as many as the kernel can be built for.
const MOST_CPUS: u32 = 8192;

/// A limit of a unit, and which of its settings it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The unit.
    pub unit: String,
    /// The setting.
    pub directive: &'static str,
    /// Bytes of memory, thousandths of a processor, or processors.
    pub limit: Sourced<u64>,
}

/// What limits the containers of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SliceResources {
    /// Limits on memory, in bytes.
    pub memory: Vec<Bound>,
    /// Limits on processor time, in thousandths of a processor.
    pub quota: Vec<Bound>,
    /// The processors that are allowed; `None` where that is not limited.
    pub cpus: Option<Sourced<BTreeSet<u32>>>,
    /// How many processors each unit allows by itself, where it limits them: of what is configured only.
    pub allowed: Vec<Bound>,
}

impl SliceResources {
    /// The least memory that is left.
    pub fn least_memory(&self) -> Option<&Bound> {
        self.memory.iter().min_by_key(|bound| bound.limit.value)
    }

    /// The least processor time that is left.
    pub fn least_quota(&self) -> Option<&Bound> {
        self.quota.iter().min_by_key(|bound| bound.limit.value)
    }
}

/// What a unit is configured to, and what control groups have, as facts of their own.
struct Configured(SliceResources);
struct InEffect(Option<SliceResources>);

/// A value of `MemoryMax=`: bytes, a percentage of what there is, or no limit. `None` for what systemd
/// ignores (systemd, `src/core/load-fragment.c`, `config_parse_memory_limit`).
fn memory(text: &str, total_bytes: impl FnOnce() -> Fact<u64>) -> Fact<Option<Option<u64>>> {
    if matches!(text, "" | "infinity") {
        return Ok(Some(None));
    }
    if let Some(percent) = text.strip_suffix('%') {
        let Some(parts) = hundredths(percent).filter(|parts| (1..=WHOLE).contains(parts)) else {
            return Ok(None);
        };
        let total = u128::from(total_bytes()?) * u128::from(parts) / u128::from(WHOLE);
        return Ok(Some(u64::try_from(total).ok()));
    }
    Ok(bytes(text).map(Some))
}

/// A size with a suffix to the base 1024, such as `1.5G`.
fn bytes(text: &str) -> Option<u64> {
    let text = text.strip_suffix('B').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let shift = match suffix.trim() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "P" => 50,
        "E" => 60,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole = whole.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = u128::from(fraction.parse::<u64>().ok()?).checked_mul(1 << shift)? / scale;
    whole.checked_add(u64::try_from(part).ok()?).filter(|bytes| *bytes > 0)
}

/// A list such as `0-3,5 7`; `None` for what is none.
fn cpu_list(text: &str) -> Option<BTreeSet<u32>> {
    let mut cpus = BTreeSet::new();
    for part in text.split([',', ' ', '\t', '\n']).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<u32>().ok()?, last.trim().parse::<u32>().ok()?);
        if first > last || last >= MOST_CPUS {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// Thousandths of a processor in `200000 100000`, the microseconds of a period; `None` inside for `max`.
fn quota(text: &str) -> Option<Option<u64>> {
    let mut words = text.split_whitespace();
    match words.next()? {
        "max" => Some(None),
        quota => {
            let (quota, period) = (quota.parse::<u64>().ok()?, words.next()?.parse::<u64>().ok()?);
            Some(quota.checked_mul(1000)?.checked_div(period))
        }
    }
}

fn malformed(source: &Source, expected: &str) -> Unread {
    Unread::Malformed { path: source.path().to_owned(), line: Some(1), expected: expected.to_owned() }
}

impl Facts {
    /// What files limit the containers of `uid` to.
    ///
    /// # Errors
    /// Where a file that could decide cannot be read, and in an image where a limit is a part of the
    /// memory of a machine that is not known.
    pub fn slice_resources(&self, uid: u32) -> Fact<SliceResources> {
        let found = self.memo_fact(&uid.to_string(), || {
            let mut found = SliceResources::default();
            for (name, section) in units(uid) {
                let unit = self.unit(&name)?;
                for directive in ["MemoryMax", "MemoryHigh"] {
                    for value in unit.values(section, directive).rev() {
                        let total = || Ok(self.memory()?.total_bytes.value);
                        let Some(limit) = memory(&value.value, total)? else { continue };
                        let bound = |limit| bound(&name, directive, limit, value.at.clone());
                        found.memory.extend(limit.map(bound));
                        break;
                    }
                }
                let quota = unit.values(section, "CPUQuota").rev().find_map(|value| {
                    let limit = match value.value.as_str() {
                        "" => None,
                        text => Some(hundredths(text.strip_suffix('%')?)? / 10),
                    };
                    Some(limit.map(|limit| bound(&name, "CPUQuota", limit, value.at.clone())))
                });
                found.quota.extend(quota.flatten());
                let mut allowed: Option<Sourced<BTreeSet<u32>>> = None;
                for value in unit.values(section, "AllowedCPUs") {
                    match cpu_list(&value.value) {
                        Some(cpus) if cpus.is_empty() => allowed = None,
                        Some(cpus) => {
                            let mut all = allowed.take().map(|before| before.value).unwrap_or_default();
                            all.extend(cpus);
                            allowed = Some(Sourced { value: all, at: value.at.clone() });
                        }
                        None => {}
                    }
                }
                found.allowed.extend(
                    allowed
                        .as_ref()
                        .map(|cpus| bound(&name, "AllowedCPUs", cpus.value.len() as u64, cpus.at.clone())),
                );
                found.cpus = match (found.cpus.take(), allowed) {
                    (Some(above), Some(here)) => {
                        let value: BTreeSet<u32> = above.value.intersection(&here.value).copied().collect();
                        // Where nothing is left the kernel takes what the parent has.
                        if value.is_empty() { Some(above) } else { Some(Sourced { value, at: here.at }) }
                    }
                    (above, here) => here.or(above),
                };
            }
            Ok(Configured(found))
        })?;
        Ok(found.0.clone())
    }

    /// What control groups limit the containers of `uid` to now; `None` where the user has no slice.
    ///
    /// # Errors
    /// In an image root, and where a control group cannot be read.
    pub fn slice_resources_in_effect(&self, uid: u32) -> Fact<Option<SliceResources>> {
        let found = self.memo_fact(&uid.to_string(), || {
            self.need_running("what control groups have")?;
            let [_, levels @ ..] = user_manager_levels(uid);
            if self.stat(&levels[1]).or_absent()?.is_none() {
                return Ok(InEffect(None));
            }
            let mut found = SliceResources::default();
            for (dir, (name, _)) in levels.iter().zip(units(uid)) {
                // Where a controller is not on, its files are absent.
                let read = |file: &str| self.source(&format!("{dir}/{file}")).or_absent();
                for (file, directive) in [("memory.max", "MemoryMax"), ("memory.high", "MemoryHigh")] {
                    let Some(source) = read(file)? else { continue };
                    if source.text().trim() != "max" {
                        let limit = source.text().trim().parse();
                        let limit = limit.map_err(|_| malformed(&source, "a number of bytes, or max"))?;
                        found.memory.push(bound(&name, directive, limit, source.whole(()).at));
                    }
                }
                if let Some(source) = read("cpu.max")? {
                    let limit =
                        quota(source.text()).ok_or_else(|| malformed(&source, "a quota and a period"))?;
                    found.quota.extend(limit.map(|l| bound(&name, "CPUQuota", l, source.whole(()).at)));
                }
                if let Some(source) = read("cpuset.cpus.effective")? {
                    let cpus =
                        cpu_list(source.text()).ok_or_else(|| malformed(&source, "a list such as 0-3,5"))?;
                    found.cpus = Some(source.whole(cpus));
                }
            }
            Ok(InEffect(Some(found)))
        })?;
        Ok(found.0.clone())
    }
}

/// The units from the top down, each with the section that holds its limits.
fn units(uid: u32) -> [(String, &'static str); 3] {
    [
        ("user.slice".to_owned(), "Slice"),
        (format!("user-{uid}.slice"), "Slice"),
        (format!("user@{uid}.service"), "Service"),
    ]
}

fn bound(unit: &str, directive: &'static str, limit: u64, at: super::Evidence) -> Bound {
    Bound { unit: unit.to_owned(), directive, limit: Sourced { value: limit, at } }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::{empty_host, fixture};

    const GIB: u64 = 1 << 30;

    #[test]
    fn values_of_memory_max() {
        for (text, value) in [
            ("2G", Some(Some(2 * GIB))),
            ("1.5G", Some(Some(GIB + GIB / 2))),
            ("512M", Some(Some(512 << 20))),
            ("4096", Some(Some(4096))),
            ("25%", Some(Some(2 * GIB))),
            ("infinity", Some(None)),
            ("", Some(None)),
            ("101%", None),
            ("much", None),
            ("1X", None),
            ("0", None),
            ("20000000E", None),
        ] {
            assert_eq!(memory(text, || Ok(8 * GIB)), Ok(value), "{text}");
        }
    }

    #[test]
    fn lists_and_quotas() {
        assert_eq!(cpu_list("0-2,5\n"), Some(BTreeSet::from([0, 1, 2, 5])));
        assert_eq!(cpu_list("0 3"), Some(BTreeSet::from([0, 3])));
        assert_eq!(cpu_list(""), Some(BTreeSet::new()));
        assert_eq!((cpu_list("3-1"), cpu_list("x"), cpu_list("0-4294967295")), (None, None, None));
        assert_eq!(quota("max 100000\n"), Some(None));
        assert_eq!(quota("150000 100000\n"), Some(Some(1500)));
        assert_eq!((quota("x 100000"), quota("1"), quota("")), (None, None, None));
    }

    #[test]
    fn distributions_limit_nothing() {
        for name in ["debian-12", "debian-13", "debian-testing"] {
            assert_eq!(fixture(name).facts().slice_resources(1000), Ok(SliceResources::default()), "{name}");
        }
        assert_eq!(empty_host().facts().slice_resources_in_effect(1000), Ok(None));
        assert!(empty_host().image().facts().slice_resources_in_effect(1000).is_err());
    }

    #[test]
    fn the_last_value_of_a_unit_counts_and_lists_are_cut() {
        let facts = empty_host()
            .file("/etc/systemd/system/user.slice.d/a.conf", "[Slice]\nMemoryMax=1G\nAllowedCPUs=0-2\n")
            .file("/etc/systemd/system/user-.slice.d/a.conf", "[Slice]\nMemoryHigh=2G\nMemoryHigh=3G\n")
            .file("/etc/systemd/system/user-1000.slice.d/b.conf", "[Slice]\nAllowedCPUs=2\nAllowedCPUs=3\n")
            .file("/etc/systemd/system/user@.service.d/c.conf", "[Service]\nCPUQuota=50%\nCPUQuota=\n")
            .file("/etc/systemd/system/user.slice.d/b.conf", "[Slice]\nMemoryMax=nonsense\nCPUQuota=150%\n")
            .facts();
        let found = facts.slice_resources(1000).unwrap();
        let least = found.least_memory().unwrap();
        assert_eq!(
            (least.unit.as_str(), least.directive, least.limit.value),
            ("user.slice", "MemoryMax", GIB)
        );
        assert_eq!(found.memory[1].limit.value, 3 * GIB);
        assert_eq!(found.quota.len(), 1);
        assert_eq!(found.least_quota().unwrap().limit.value, 1500);
        let allowed: Vec<(&str, u64)> =
            found.allowed.iter().map(|bound| (bound.unit.as_str(), bound.limit.value)).collect();
        assert_eq!(allowed, [("user.slice", 3), ("user-1000.slice", 2)]);
        let cpus = found.cpus.unwrap();
        assert_eq!(cpus.value, BTreeSet::from([2]));
        assert_eq!(cpus.at.to_string(), "/etc/systemd/system/user-1000.slice.d/b.conf:3");
    }

    #[test]
    fn control_groups_show_what_is_in_effect() {
        let slice = "/sys/fs/cgroup/user.slice/user-1000.slice";
        let host = || empty_host().dir(slice, "0755", 0).file(&format!("{slice}/memory.max"), "max\n");
        let facts = host()
            .file(&format!("{slice}/memory.high"), "1073741824\n")
            .file(&format!("{slice}/cpu.max"), "100000 100000\n")
            .file(&format!("{slice}/cpuset.cpus.effective"), "0-1\n")
            .facts();
        let found = facts.slice_resources_in_effect(1000).unwrap().unwrap();
        assert_eq!((found.memory.len(), found.memory[0].directive), (1, "MemoryHigh"));
        assert_eq!(found.quota[0].limit.value, 1000);
        assert_eq!(found.cpus.unwrap().value.len(), 2);
        let broken = host().file(&format!("{slice}/cpu.max"), "\n").facts();
        assert!(matches!(broken.slice_resources_in_effect(1000), Err(Unread::Malformed { .. })));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9.,%KMGTPE -]{0,40}|.{0,20}", total: u64) {
            let _ = memory(&text, || Ok(total));
            let _ = quota(&text);
            let _ = cpu_list(&text);
        }
    }
}
