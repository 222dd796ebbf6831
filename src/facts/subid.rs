//! Subordinate IDs: `subuid(5)` and `subgid(5)`, read as `newuidmap` reads them, with every line that
//! some reader takes differently or not at all.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use super::users::User;
use super::{Facts, Source, Sourced};
use crate::host::{Fact, Unread};

/// A line of this many bytes is not read by shadow (`lib/subordinateio.c`, `subordinate_parse`).
const LINE_BYTES: usize = 1024;

/// A range of subordinate IDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubidRange {
    /// A login name or a UID in decimal.
    pub owner: Rc<str>,
    /// The first ID.
    pub start: u32,
    /// How many there are; never 0.
    pub count: u32,
}

impl SubidRange {
    /// The ID after the last one.
    pub fn end(&self) -> u64 {
        u64::from(self.start) + u64::from(self.count)
    }

    /// Whether the range is this user's: the owner is the name or the UID (shadow, `find_range`; before
    /// 4.20 the UID as text, so without leading zeros).
    pub fn is_of(&self, user: &User) -> bool {
        let is_uid = || {
            let digits = self.owner.starts_with(|c: char| c.is_ascii_digit());
            digits && (user.uid == 0 || !self.owner.starts_with('0')) && self.owner.parse() == Ok(user.uid)
        };
        *self.owner == *user.name || is_uid()
    }
}

impl fmt::Display for SubidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.owner, self.start, self.count)
    }
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubidFault {
    /// Not `OWNER:START:COUNT`. `newuidmap` passes over it; Podman without libsubid refuses the file
    /// (containers/storage, `pkg/idtools/idtools.go`, `parseSubidFile`).
    Fields,
    /// START or COUNT is no number, so that the line does not count.
    Number,
    /// A number that shadow takes as octal or hexadecimal and other readers as decimal or not at all.
    NotDecimal,
    /// The range is empty.
    Empty,
    /// The range ends above 4294967294, which the kernel refuses to map (`user_namespaces(7)`;
    /// `kernel/user_namespace.c`, `map_write`).
    Overflow,
    /// The line ends in a carriage return, so that COUNT is no number to `newuidmap`.
    CarriageReturn,
    /// The last line has no newline: what is appended next becomes part of it.
    NoNewline,
    /// The line is longer than shadow reads.
    TooLong,
    /// The same line stands further up, at this line.
    Duplicate(u32),
    /// The range has IDs in common with another one of the same owner, at this line.
    Overlap(u32),
}

impl SubidFault {
    /// Whether `newuidmap` passes over the line, so that its range does not exist.
    pub fn is_ignored_line(self) -> bool {
        use SubidFault::{CarriageReturn, Empty, Fields, Number, Overflow, TooLong};
        matches!(self, Fields | Number | Empty | Overflow | CarriageReturn | TooLong)
    }
}

impl fmt::Display for SubidFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubidFault::Fields => f.write_str("expected OWNER:START:COUNT"),
            SubidFault::Number => f.write_str("expected a number"),
            SubidFault::NotDecimal => f.write_str("expected a decimal number without leading zeros"),
            SubidFault::Empty => f.write_str("expected a count above 0"),
            SubidFault::Overflow => f.write_str("expected a range that ends at 4294967294 or below"),
            SubidFault::CarriageReturn => f.write_str("line ends in a carriage return"),
            SubidFault::NoNewline => f.write_str("last line does not end in a newline"),
            SubidFault::TooLong => write!(f, "expected a line below {LINE_BYTES} bytes"),
            SubidFault::Duplicate(line) => write!(f, "same as line {line}"),
            SubidFault::Overlap(line) => write!(f, "overlaps line {line} of the same owner"),
        }
    }
}

/// `/etc/subuid` or `/etc/subgid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubidFile {
    /// The ranges that `newuidmap` sees, in the order of the file.
    pub ranges: Vec<Sourced<SubidRange>>,
    /// The faults, by line.
    pub faults: Vec<Sourced<SubidFault>>,
    /// The target where the file is a symbolic link, which shadow does not follow
    /// (`lib/commonio.c`, `O_NOFOLLOW`): no range of it is in effect then.
    pub link: Fact<Option<String>>,
}

impl SubidFile {
    /// Reads a file. O(n log n) in its lines.
    pub fn parse(source: &Source) -> SubidFile {
        let mut file = SubidFile { ranges: Vec::new(), faults: Vec::new(), link: Ok(None) };
        let mut owners: HashMap<&str, Rc<str>> = HashMap::new();
        let text = source.text();
        for (number, line) in (1..).zip(text.split('\n')) {
            match read(line, &mut owners) {
                None => {}
                Some(Ok((range, fault))) => {
                    file.ranges.push(source.on(number, line, range));
                    file.faults.extend(fault.map(|fault| source.on(number, line, fault)));
                }
                Some(Err(fault)) => file.faults.push(source.on(number, line, fault)),
            }
        }
        if !text.is_empty() && !text.ends_with('\n') {
            let last = text.rsplit('\n').next().unwrap_or_default();
            let number = u32::try_from(text.split('\n').count()).unwrap_or(u32::MAX);
            file.faults.push(source.on(number, last, SubidFault::NoNewline));
        }
        file.add_repetitions();
        file.faults.sort_by_key(|fault| fault.at.line);
        file
    }

    /// The ranges of a user, by name or UID, in the order of the file.
    pub fn ranges_of(&self, user: &User) -> Vec<&Sourced<SubidRange>> {
        self.ranges.iter().filter(|range| range.value.is_of(user)).collect()
    }

    /// Duplicates and overlaps between the lines of one owner: neighbours once they are sorted.
    fn add_repetitions(&mut self) {
        let mut sorted: Vec<&Sourced<SubidRange>> = self.ranges.iter().collect();
        sorted.sort_by(|a, b| {
            let key = |r: &Sourced<SubidRange>| (r.value.start, std::cmp::Reverse(r.value.count), r.at.line);
            a.value.owner.cmp(&b.value.owner).then_with(|| key(a).cmp(&key(b)))
        });
        let mut faults = Vec::new();
        let mut reaching: Option<&Sourced<SubidRange>> = None;
        for range in sorted {
            let before = reaching.filter(|before| {
                before.value.owner == range.value.owner && before.value.end() > u64::from(range.value.start)
            });
            if let Some(before) = before {
                let same = before.value == range.value;
                let (first, later) =
                    if before.at.line < range.at.line { (before, range) } else { (range, before) };
                let line = first.at.line.unwrap_or_default();
                let value = if same { SubidFault::Duplicate(line) } else { SubidFault::Overlap(line) };
                faults.push(Sourced { value, at: later.at.clone() });
            }
            if before.is_none_or(|before| before.value.end() < range.value.end()) {
                reaching = Some(range);
            }
        }
        self.faults.append(&mut faults);
    }
}

type Read = Result<(SubidRange, Option<SubidFault>), SubidFault>;

fn read<'a>(line: &'a str, owners: &mut HashMap<&'a str, Rc<str>>) -> Option<Read> {
    // Lines with + and - are NIS instructions, which shadow keeps and does not read (`name_is_nis`).
    if line.trim().is_empty() || line.starts_with(['#', '+', '-']) {
        return None;
    }
    Some(read_fields(line).map(|(owner, start, count, fault)| {
        let owner = owners.entry(owner).or_insert_with(|| owner.into()).clone();
        (SubidRange { owner, start, count }, fault)
    }))
}

fn read_fields(line: &str) -> Result<(&str, u32, u32, Option<SubidFault>), SubidFault> {
    if line.len() >= LINE_BYTES {
        return Err(SubidFault::TooLong);
    }
    if line.ends_with('\r') {
        return Err(SubidFault::CarriageReturn);
    }
    let fields: Vec<&str> = line.splitn(4, ':').collect();
    let &[owner, start_text, count_text] = fields.as_slice() else { return Err(SubidFault::Fields) };
    if owner.is_empty() {
        return Err(SubidFault::Fields);
    }
    let (Some(start), Some(count)) = (number(start_text), number(count_text)) else {
        return Err(SubidFault::Number);
    };
    if count == 0 {
        return Err(SubidFault::Empty);
    }
    let end = start.checked_add(count).filter(|&end| end <= u64::from(u32::MAX));
    let (Ok(start), Ok(count), Some(_)) = (u32::try_from(start), u32::try_from(count), end) else {
        return Err(SubidFault::Overflow);
    };
    let decimal = |text: &str, value: u32| text == value.to_string();
    let fault =
        (!decimal(start_text, start) || !decimal(count_text, count)).then_some(SubidFault::NotDecimal);
    Ok((owner, start, count, fault))
}

/// A number as `strtoul(3)` with base 0 takes it, which is how shadow reads numbers: decimal, octal
/// after `0` or hexadecimal after `0x`, white space and a plus sign before it allowed.
pub(super) fn number(text: &str) -> Option<u64> {
    let text = text.trim_start_matches([' ', '\t', '\u{b}', '\u{c}', '\r']);
    let text = text.strip_prefix('+').unwrap_or(text);
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // `from_str_radix` would take a second sign.
    if digits.starts_with(['+', '-']) { None } else { u64::from_str_radix(digits, radix).ok() }
}

/// `T` of the memo: one type for each of the two files.
struct Subuid(Rc<SubidFile>);
struct Subgid(Rc<SubidFile>);

impl Facts {
    /// `/etc/subuid`. It counts only where `nsswitch.conf` names no other module
    /// ([`subid_module`](super::nsswitch::Nsswitch::subid_module)).
    ///
    /// # Errors
    /// Why it could not be read; [`Unread::Absent`] where there is none.
    pub fn subuid(&self) -> Fact<Rc<SubidFile>> {
        Ok(self.memo_fact("", || self.subid_file("/etc/subuid").map(Subuid))?.0.clone())
    }

    /// `/etc/subgid`, as [`Facts::subuid`]. Its owners are users, too, not groups.
    ///
    /// # Errors
    /// Why it could not be read; [`Unread::Absent`] where there is none.
    pub fn subgid(&self) -> Fact<Rc<SubidFile>> {
        Ok(self.memo_fact("", || self.subid_file("/etc/subgid").map(Subgid))?.0.clone())
    }

    fn subid_file(&self, path: &str) -> Result<Rc<SubidFile>, Unread> {
        let mut file = SubidFile::parse(&*self.source(path)?);
        file.link = self.link_target(path);
        Ok(Rc::new(file))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;

    fn parse(text: &str) -> SubidFile {
        SubidFile::parse(&Source::new("/etc/subuid", text))
    }

    fn faults(text: &str) -> Vec<(u32, SubidFault)> {
        parse(text).faults.iter().map(|fault| (fault.at.line.unwrap(), fault.value)).collect()
    }

    #[test]
    fn a_user_is_found_by_name_and_by_uid() {
        let file =
            parse("# two users\nedge:100000:65536\n1001:165536:65536\nedge:300000:1000\n10:9:9\n01001:5:5\n");
        let of = |user| file.ranges_of(&user).iter().map(|r| r.value.to_string()).collect::<Vec<_>>();
        assert_eq!(of(User::example("edge", 1000)), ["edge:100000:65536", "edge:300000:1000"]);
        assert_eq!(of(User::example("other", 1001)), ["1001:165536:65536"]);
        assert_eq!(of(User::example("edg", 100)), Vec::<String>::new());
        assert_eq!(file.ranges[1].at.to_string(), "/etc/subuid:3");
        assert_eq!(file.faults, []);
    }

    #[test]
    fn each_fault_has_its_line() {
        use SubidFault::*;
        assert_eq!(faults("edge:100000:65536\r\n"), [(1, CarriageReturn)]);
        assert_eq!(faults("a:1:1\nedge:100000:65536"), [(2, NoNewline)]);
        assert_eq!(faults("edge:100000\nedge:1:2:3\n:1:1\n"), [(1, Fields), (2, Fields), (3, Fields)]);
        assert_eq!(faults("edge:x:1\nedge:1:-1\nedge::1\nedge:1:1 \n").len(), 4);
        assert_eq!(faults("edge:1:0\n"), [(1, Empty)]);
        assert_eq!(faults("edge:4294967294:1\n"), []);
        assert_eq!(faults("edge:4294967295:1\nedge:99999999999:1\n"), [(1, Overflow), (2, Overflow)]);
        assert_eq!(faults("edge:18446744073709551615:1\n"), [(1, Overflow)]);
        assert_eq!(faults(&format!("{}:1:1\n", "e".repeat(1020))), [(1, TooLong)]);
        assert_eq!(faults("edge:1:1\nedge:1:1\n"), [(2, Duplicate(1))]);
        assert_eq!(faults("edge:50:10\nedge:1:50\nother:1:50\n"), [(2, Overlap(1))]);
        assert_eq!(faults("edge:1:100\nedge:2:1\nedge:50:5\n"), [(2, Overlap(1)), (3, Overlap(1))]);
        assert_eq!(faults("edge:1:10\nedge:11:10\n+nis\n\n"), []);
    }

    #[test]
    fn only_what_newuidmap_reads_is_a_range() {
        let file = parse("edge:0200000:0x10000\nedge:100000:65536\r\nedge: 200000:65536\n");
        let ranges: Vec<_> = file.ranges.iter().map(|r| r.value.to_string()).collect();
        assert_eq!(ranges, ["edge:65536:65536", "edge:200000:65536"]);
        let ignored: Vec<_> = file.faults.iter().map(|f| (f.value, f.value.is_ignored_line())).collect();
        assert_eq!(
            ignored,
            [
                (SubidFault::NotDecimal, false),
                (SubidFault::CarriageReturn, true),
                (SubidFault::NotDecimal, false)
            ]
        );
    }

    #[test]
    fn the_two_files_are_not_mixed_up() {
        let facts = empty_host()
            .file("/etc/subuid", "edge:100000:65536\n")
            .file("/etc/subgid", "edge:200000:65536\n")
            .path("/etc/subgid", |record| record.link = Some("/data/subgid".to_owned()))
            .facts();
        assert_eq!(facts.subuid().unwrap().ranges[0].value.start, 100_000);
        assert_eq!(facts.subgid().unwrap().ranges[0].value.start, 200_000);
        assert_eq!(facts.subuid().unwrap().link, Ok(None));
        assert_eq!(facts.subgid().unwrap().link, Ok(Some("/data/subgid".to_owned())));
        assert!(empty_host().facts().subuid().unwrap_err().is_absent());
    }

    #[test]
    fn a_hundred_thousand_lines_are_read_at_once() {
        let all_one: String = (0..100_000).map(|i| format!("edge:{}:65536\n", i * 7)).collect();
        let start = Instant::now();
        let file = parse(&all_one);
        assert_eq!((file.ranges.len(), file.faults.len()), (100_000, 99_999));
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)(.{0,12}|[a-b]:[0-9]{1,12}:[0-9]{0,12}|[\r\n:]){0,16}") {
            let file = parse(&text);
            prop_assert!(file.ranges.iter().all(|range| range.value.end() <= u64::from(u32::MAX)));
        }
    }
}
