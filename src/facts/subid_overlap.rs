//! What a range of subordinate IDs must not contain: IDs of other users' ranges, of existing users and
//! groups, and of ranges that the system gives away by itself. Pure, and O((m + n) log n) throughout.

use super::Sourced;
use super::subid::{SubidFile, SubidRange};
use super::users::User;

/// IDs that something gives away without asking the user database first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Whose they are.
    pub name: &'static str,
    /// The first ID.
    pub first: u32,
    /// The last ID.
    pub last: u32,
}

/// The ranges that systemd gives to services and users, and the two IDs with a meaning to the kernel
/// (systemd, `docs/UIDS-GIDS.md`, "Summary"). A subordinate range that holds one of these IDs lets
/// containers of its owner act on what belongs to others.
///
/// Where `systemd-nspawn` picks the ranges of containers with `PrivateUsers=pick` (524288 to 1879048191)
/// is not among them: it picks from what looks unused, and shadow's own `SUB_UID_MIN` to `SUB_UID_MAX`
/// (100000 to 600100000) lie mostly inside, so an overlap is the normal case once a host has seven users
/// with ranges.
pub const RESERVED: [Reserved; 5] = [
    Reserved { name: "root", first: 0, last: 0 },
    Reserved { name: "users of systemd-homed", first: 60_001, last: 60_513 },
    Reserved { name: "host users mapped into containers by systemd-nspawn", first: 60_514, last: 60_577 },
    Reserved { name: "dynamic users of systemd services", first: 61_184, last: 65_519 },
    Reserved { name: "nobody and the 16-bit -1", first: 65_534, last: 65_535 },
];

/// Ranges, sorted so that one that overlaps a given range is found in logarithmic time.
struct Spans<T> {
    /// Start, end (excluded) and what it is, by start.
    spans: Vec<(u64, u64, T)>,
    /// For each span the index of the one, up to and including it, that reaches furthest.
    furthest: Vec<usize>,
}

impl<T> Spans<T> {
    fn new(mut spans: Vec<(u64, u64, T)>) -> Spans<T> {
        spans.sort_by_key(|&(start, end, _)| (start, end));
        let mut furthest: Vec<usize> = Vec::with_capacity(spans.len());
        for (index, &(_, end, _)) in spans.iter().enumerate() {
            let best = furthest.last().copied().filter(|&best| spans[best].1 >= end);
            furthest.push(best.unwrap_or(index));
        }
        Spans { spans, furthest }
    }

    /// One span that has an ID in common with `start..end`, if there is any: of those that begin
    /// before `end`, the one that reaches furthest overlaps if any does.
    fn overlapping(&self, start: u64, end: u64) -> Option<&T> {
        let before = self.spans.partition_point(|span| span.0 < end).checked_sub(1)?;
        let (_, reach, value) = &self.spans[*self.furthest.get(before)?];
        (*reach > start).then_some(value)
    }
}

/// A range and another one that has IDs in common with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap<'a> {
    /// The range that was asked about.
    pub range: &'a Sourced<SubidRange>,
    /// One range of someone else that overlaps it; there can be more.
    pub other: &'a Sourced<SubidRange>,
}

impl SubidFile {
    /// For each range of the user that has IDs in common with ranges of others, one such pair.
    pub fn overlaps_of(&self, user: &User) -> Vec<Overlap<'_>> {
        let (mine, others): (Vec<_>, Vec<_>) = self.ranges.iter().partition(|range| range.value.is_of(user));
        let others = others.into_iter().map(|r| (u64::from(r.value.start), r.value.end(), r)).collect();
        let others = Spans::new(others);
        mine.into_iter()
            .filter_map(|range| {
                let other = others.overlapping(u64::from(range.value.start), range.value.end())?;
                Some(Overlap { range, other })
            })
            .collect()
    }

    /// The first ID from `min` on with `count` free IDs from there, none of them in a range of the file
    /// or in `taken`, and all of them up to `max`. Starts are multiples of `count` above `min`, so that
    /// what was proposed for one host fits the next. `None` where there is no room.
    pub fn first_free(&self, min: u32, max: u32, count: u32, taken: &[u32]) -> Option<u32> {
        let single = |&id: &u32| (u64::from(id), u64::from(id) + 1);
        let mut used: Vec<(u64, u64)> =
            self.ranges.iter().map(|r| (u64::from(r.value.start), r.value.end())).collect();
        used.extend(taken.iter().map(single));
        used.sort_unstable();
        let count = u64::from(count.max(1));
        let aligned = |id: u64| u64::from(min) + (id - u64::from(min)).div_ceil(count) * count;
        let mut free = u64::from(min);
        for (start, end) in used {
            if start >= free + count {
                break;
            }
            if end > free {
                free = aligned(end);
            }
        }
        if free + count - 1 > u64::from(max) { None } else { u32::try_from(free).ok() }
    }
}

/// The IDs of `ids` (of existing users or groups) that lie in a range: for each range the lowest one.
pub fn ids_inside<'a>(
    ranges: &[&'a Sourced<SubidRange>],
    ids: &[u32],
) -> Vec<(&'a Sourced<SubidRange>, u32)> {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    let lowest = |range: &SubidRange| {
        let from = sorted.partition_point(|&id| id < range.start);
        sorted.get(from).copied().filter(|&id| u64::from(id) < range.end())
    };
    ranges.iter().filter_map(|range| Some((*range, lowest(&range.value)?))).collect()
}

/// The ranges that have IDs in common with `reserved`.
pub fn reserved_inside<'a>(
    ranges: &[&'a Sourced<SubidRange>],
    reserved: &'static [Reserved],
) -> Vec<(&'a Sourced<SubidRange>, &'static Reserved)> {
    let touches =
        |range: &SubidRange, r: &Reserved| range.start <= r.last && u64::from(r.first) < range.end();
    let pairs = ranges.iter().flat_map(|range| reserved.iter().map(move |r| (*range, r)));
    pairs.filter(|(range, r)| touches(&range.value, r)).collect()
}

/// How many different IDs the ranges hold.
pub fn total_ids(ranges: &[&Sourced<SubidRange>]) -> u64 {
    let mut spans: Vec<(u64, u64)> =
        ranges.iter().map(|range| (u64::from(range.value.start), range.value.end())).collect();
    spans.sort_unstable();
    let (mut total, mut reached) = (0, 0);
    for (start, end) in spans {
        total += end.saturating_sub(start.max(reached));
        reached = reached.max(end);
    }
    total
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::facts::Source;

    fn parse(text: &str) -> SubidFile {
        SubidFile::parse(&Source::new("/etc/subuid", text))
    }

    fn pairs(text: &str) -> Vec<(String, String)> {
        let file = parse(text);
        let overlaps = file.overlaps_of(&User::example("edge", 1000));
        overlaps.iter().map(|o| (o.range.value.to_string(), o.other.value.to_string())).collect()
    }

    #[test]
    fn overlaps_with_others_are_found_from_both_sides() {
        let one = |a: &str, b: &str| vec![(a.to_owned(), b.to_owned())];
        assert_eq!(pairs("edge:100000:65536\nother:165536:65536\n"), []);
        assert_eq!(pairs("edge:100000:65536\nother:165535:1\n"), one("edge:100000:65536", "other:165535:1"));
        assert_eq!(pairs("a:1:1000000\nedge:500:1\nb:499:1\n"), one("edge:500:1", "a:1:1000000"));
        assert_eq!(pairs("edge:5:1\n1000:5:1\n"), [], "by name and by UID is one user");
    }

    #[test]
    fn ids_and_reserved_ranges_inside() {
        let file = parse("edge:1000:65536\nedge:100000:65536\n");
        let ranges = file.ranges_of(&User::example("edge", 1000));
        let inside = ids_inside(&ranges, &[70_000, 1001, 1000, 0]);
        assert_eq!(inside.iter().map(|(r, id)| (r.value.start, *id)).collect::<Vec<_>>(), [(1000, 1000)]);
        let reserved = reserved_inside(&ranges, &RESERVED);
        assert_eq!(reserved.len(), 4);
        assert!(reserved.iter().all(|(range, r)| range.value.start == 1000 && r.name != "root"));
        let high = parse("edge:524288:65536\n");
        assert_eq!(reserved_inside(&high.ranges_of(&User::example("edge", 1000)), &RESERVED), []);
    }

    #[test]
    fn common_ids_are_counted_once() {
        let file = parse("edge:100:50\nedge:120:50\nedge:1000:5\nedge:1000:5\n");
        assert_eq!(total_ids(&file.ranges_of(&User::example("edge", 1000))), 75);
        assert_eq!(total_ids(&[]), 0);
    }

    #[test]
    fn a_free_range_is_aligned_and_clear_of_everything() {
        let free = |text, max, taken: &[u32]| parse(text).first_free(100_000, max, 65_536, taken);
        assert_eq!(free("", 600_100_000, &[]), Some(100_000));
        assert_eq!(free("a:100000:65536\n", 600_100_000, &[]), Some(165_536));
        assert_eq!(free("a:100000:65537\nb:1:5\n", 600_100_000, &[]), Some(231_072));
        assert_eq!(free("a:165536:65536\n", 600_100_000, &[100_500]), Some(231_072));
        assert_eq!(free("a:100000:65536\n", 231_070, &[]), None);
        assert_eq!(parse("a:4294900000:60000\n").first_free(4_294_900_000, u32::MAX, 65_536, &[]), None);
    }

    #[test]
    fn a_hundred_thousand_ranges_are_compared_at_once() {
        let text: String =
            (0..50_000).map(|i| format!("edge:{}:65536\nu{i}:{}:65536\n", i * 5, i * 7)).collect();
        let file = parse(&text);
        let start = Instant::now();
        assert_eq!(file.overlaps_of(&User::example("edge", 1000)).len(), 50_000);
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    }

    proptest! {
        #[test]
        fn finds_what_comparing_all_pairs_finds(
            ranges in proptest::collection::vec((any::<bool>(), 0u32..200, 1u32..30), 0..20)
        ) {
            let lines = ranges.iter().map(|(mine, s, c)| format!("{}:{s}:{c}\n", if *mine { "edge" } else { "x" }));
            let file = parse(&lines.collect::<String>());
            let overlapping = |a: &SubidRange, b: &SubidRange| u64::from(a.start) < b.end() && u64::from(b.start) < a.end();
            let (mine, others): (Vec<_>, Vec<_>) = file.ranges.iter().partition(|r| &*r.value.owner == "edge");
            let wanted = mine.iter().filter(|a| others.iter().any(|b| overlapping(&a.value, &b.value))).count();
            let found = file.overlaps_of(&User::example("edge", 1000));
            prop_assert_eq!(found.len(), wanted);
            prop_assert!(found.iter().all(|o| overlapping(&o.range.value, &o.other.value)));
            if let Some(free) = file.first_free(10, 500, 16, &[33]) {
                let end = u64::from(free) + 16;
                let clear = |r: &SubidRange| r.end() <= u64::from(free) || u64::from(r.start) >= end;
                prop_assert!(file.ranges.iter().all(|r| clear(&r.value)));
                prop_assert!(free > 33 || end <= 33);
            }
        }
    }
}
