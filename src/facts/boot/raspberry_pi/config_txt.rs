//! `config.txt`, as far as it says which file has the kernel command line (raspberrypi.com,
//! "config.txt").
//!
//! Filters are evaluated for the next ordinary boot. What depends on a monitor, a pin, a serial
//! number or on something else that no file tells may hold or not, and both are kept.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::board::{Boards, Truth};
use crate::facts::{Evidence, Source};
use crate::host::Fact;

/// What is read of a line, in bytes ("File format").
const LINE_BYTES: usize = 98;
/// How deep includes are followed, and how many in all. The firmware's own limits are not
/// documented.
const INCLUDE_DEPTH: u32 = 8;
const INCLUDES: u32 = 32;

/// The most values that a setting is taken to have at once.
const VALUES: usize = 8;

/// A setting of which the last value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Cmdline,
    OsPrefix,
    Kernel,
    Armstub,
    DeviceTree,
    UpstreamKernel,
    BootRamdisk,
}

impl Key {
    fn named(name: &str) -> Option<Key> {
        Some(match name {
            "cmdline" => Key::Cmdline,
            "os_prefix" => Key::OsPrefix,
            "kernel" => Key::Kernel,
            "armstub" => Key::Armstub,
            "device_tree" => Key::DeviceTree,
            "upstream_kernel" => Key::UpstreamKernel,
            "boot_ramdisk" => Key::BootRamdisk,
            _ => return None,
        })
    }
}

/// A value and the line that gives it; `None` where the default holds.
pub(super) type Value = Option<(String, Evidence)>;

/// What `config.txt` says.
#[derive(Debug, Default)]
pub(super) struct Config {
    values: BTreeMap<Key, Vec<Value>>,
    /// The first value that is too many.
    many: BTreeMap<Key, Evidence>,
}

impl Config {
    /// All that a setting can be at the next boot; more than one where that cannot be told.
    pub(super) fn possible(&self, key: Key) -> Vec<Value> {
        self.values.get(&key).cloned().unwrap_or_else(|| vec![None])
    }

    /// A line with one possible value of a setting too many: [`Config::possible`] has not all of them.
    pub(super) fn too_many(&self) -> Option<&Evidence> {
        self.many.values().next()
    }

    fn set(&mut self, key: Key, value: &str, at: Evidence, holds: Truth) {
        let values = self.values.entry(key).or_insert_with(|| vec![None]);
        match holds {
            Truth::No => return,
            Truth::Yes => {
                values.clear();
                self.many.remove(&key);
            }
            Truth::Maybe => {}
        }
        if values.iter().flatten().any(|(known, _)| known == value) {
            return;
        }
        if values.len() < VALUES {
            values.push(Some((value.to_owned(), at)));
        } else {
            self.many.entry(key).or_insert(at);
        }
    }
}

/// Reads `config.txt` and what it includes. `include` answers with the text of a file of the boot
/// partition, by its name there, and `None` for one that is not there. `tryboot` is whether the
/// boot is a trial.
///
/// # Errors
/// Those of `include`.
pub(super) fn read(
    source: &Source,
    board: &Boards,
    tryboot: bool,
    include: &mut dyn FnMut(&str) -> Fact<Option<Rc<Source>>>,
) -> Fact<Config> {
    let filters = Filters::default();
    let mut reader = Reader { board, tryboot, include, filters, config: Config::default(), includes: 0 };
    reader.file(source, Truth::Yes, 0)?;
    Ok(reader.config)
}

struct Reader<'i> {
    board: &'i Boards,
    tryboot: bool,
    include: &'i mut dyn FnMut(&str) -> Fact<Option<Rc<Source>>>,
    filters: Filters,
    config: Config,
    includes: u32,
}

impl Reader<'_> {
    /// `base` is whether the file is read at all.
    fn file(&mut self, source: &Source, base: Truth, depth: u32) -> Fact<()> {
        for (number, whole) in source.lines() {
            let line = cut(whole).trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let holds = base.and(self.filters.hold());
            if let Some(filter) = line.strip_prefix('[') {
                self.filters.add(filter, self.board, self.tryboot);
            } else if let Some((name, sure)) = included(line) {
                let holds = if sure { holds } else { holds.and(Truth::Maybe) };
                self.include(name, holds, depth)?;
            } else if let Some((name, value)) = line.split_once('=')
                && let Some(key) = Key::named(&name.trim().to_ascii_lowercase())
            {
                let plain = Key::named(name).is_some()
                    && whole.len() <= LINE_BYTES
                    && !value.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#');
                let value = value.split([' ', '\t', '#']).find(|part| !part.is_empty()).unwrap_or_default();
                let holds = if plain { holds } else { holds.and(Truth::Maybe) };
                self.config.set(key, value, Evidence::line(source.path(), number, whole), holds);
            }
        }
        Ok(())
    }

    fn include(&mut self, name: &str, holds: Truth, depth: u32) -> Fact<()> {
        if holds == Truth::No {
            return Ok(());
        }
        self.includes += 1;
        if depth >= INCLUDE_DEPTH || self.includes > INCLUDES {
            self.filters.blur();
            return Ok(());
        }
        let Some(source) = (self.include)(name)? else { return Ok(()) };
        let before = self.filters.clone();
        self.file(&source, holds, depth + 1)?;
        if holds == Truth::Maybe && self.filters != before {
            self.filters.blur();
        }
        Ok(())
    }
}

/// A line without what lies past the limit.
fn cut(line: &str) -> &str {
    let mut end = line.len().min(LINE_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.get(..end).unwrap_or_default()
}

/// The file that a line includes, and whether that is how `include` is documented.
fn included(line: &str) -> Option<(&str, bool)> {
    let rest = line.strip_prefix("include")?;
    let name = rest.trim_start_matches([' ', '\t']);
    if name.len() < rest.len() {
        return Some((name, !name.contains([' ', '\t', '#', '='])));
    }
    rest.strip_prefix('=').map(|name| (name.trim(), false))
}

/// The kinds of filters. One replaces another of its kind; those of different kinds all have to
/// hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Model,
    /// Whether it replaces a model filter or adds to it is not documented.
    BoardType,
    None,
    Tryboot,
    Edid,
    Serial,
    Gpio,
    Other,
}

/// Whether a filter that is not known may be one of a newer model.
fn is_like_a_model(filter: &str) -> bool {
    let start = filter.get(..2).unwrap_or_default();
    ["pi", "cm"].iter().any(|family| start.eq_ignore_ascii_case(family))
}

/// The filters that hold for a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Filters {
    active: BTreeMap<Kind, Truth>,
}

impl Filters {
    fn hold(&self) -> Truth {
        self.active.values().fold(Truth::Yes, |all, each| all.and(*each))
    }

    /// From here to the next `[all]` nothing is sure.
    fn blur(&mut self) {
        self.active.insert(Kind::Other, Truth::Maybe);
    }

    /// `filter` is the line without its first bracket.
    fn add(&mut self, filter: &str, board: &Boards, tryboot: bool) {
        let Some((filter, "")) = filter.split_once(']').map(|(filter, rest)| (filter, rest.trim())) else {
            return self.blur();
        };
        if filter == "all" {
            self.active.clear();
            return;
        }
        let (kind, holds) = if filter == "none" {
            (Kind::None, Truth::No)
        } else if filter == "tryboot" {
            (Kind::Tryboot, if tryboot { Truth::Yes } else { Truth::No })
        } else if let Some(holds) = board.model(filter) {
            (Kind::Model, holds)
        } else if is_like_a_model(filter) {
            // The model filter before it holds on, or this one in its place.
            self.active.remove(&Kind::BoardType);
            self.active.insert(Kind::Model, Truth::Maybe);
            return;
        } else if let Some(number) = filter.strip_prefix("board-type=") {
            (Kind::BoardType, board.board_type(number))
        } else if filter.starts_with("EDID=") {
            (Kind::Edid, Truth::Maybe)
        } else if filter.starts_with("0x") {
            (Kind::Serial, Truth::Maybe)
        } else if filter.starts_with("gpio") {
            (Kind::Gpio, Truth::Maybe)
        } else {
            (Kind::Other, Truth::Maybe)
        };
        let twin = match kind {
            Kind::Model => Some(Kind::BoardType),
            Kind::BoardType => Some(Kind::Model),
            _ => None,
        };
        let replaced = twin.and_then(|twin| self.active.remove(&twin)).unwrap_or(Truth::Yes);
        // Replaced and combined come to the same thing here.
        let holds = if holds.and(replaced) == holds { holds } else { Truth::Maybe };
        self.active.insert(kind, holds);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PI4: &str = "raspberrypi,4-model-b";

    /// The possible values of `cmdline=`.
    fn cmdline(board: Option<&str>, text: &str, files: &[(&str, &str)]) -> Vec<Option<String>> {
        let mut include = |name: &str| {
            let found = files.iter().find(|(file, _)| *file == name);
            Ok(found.map(|(file, text)| Rc::new(Source::new(file, *text))))
        };
        let source = Source::new("/boot/firmware/config.txt", text);
        let config = read(
            &source,
            &board.map(|name| Boards::running([name])).unwrap_or_default(),
            false,
            &mut include,
        )
        .unwrap();
        config.possible(Key::Cmdline).into_iter().map(|value| value.map(|(value, _)| value)).collect()
    }

    /// What stands in the text is the last sure value and all that may come after it.
    fn check(board: Option<&str>, text: &str, expected: &[&str]) {
        let got: Vec<String> = cmdline(board, text, &[])
            .into_iter()
            .map(|value| value.unwrap_or_else(|| "-".to_owned()))
            .collect();
        assert_eq!(got, expected, "{board:?} {text:?}");
    }

    #[test]
    fn the_last_value_counts_and_comments_do_not() {
        for (text, expected) in [
            ("", "-"),
            ("cmdline=a.txt\ncmdline=b.txt\n", "b.txt"),
            ("#cmdline=a.txt\n  # cmdline=b.txt\n", "-"),
            ("  cmdline=a.txt  \r\n", "a.txt"),
            ("cmdlines=a.txt\nxcmdline=a\ncmdline\n", "-"),
        ] {
            check(Some(PI4), text, &[expected]);
        }
        let long = format!("cmdline={}\n", "a".repeat(200));
        check(Some(PI4), &long, &["-", &"a".repeat(90)]);
        check(Some(PI4), &format!("#{}cmdline=a\n", " ".repeat(120)), &["-"]);
    }

    /// How these are read is not documented, or documents contradict each other.
    #[test]
    fn what_may_be_read_otherwise_is_not_sure() {
        for text in ["cmdline = a.txt", "CMDLINE=a.txt", "cmdline=a.txt # comment", "cmdline= a.txt"] {
            check(Some(PI4), text, &["-", "a.txt"]);
        }
    }

    #[test]
    fn filters_combine_replace_and_are_reset() {
        for (text, expected) in [
            ("[pi4]\ncmdline=a", &["a"][..]),
            ("[pi5]\ncmdline=a", &["-"]),
            ("[pi5]\n[pi4]\ncmdline=a", &["a"]),
            ("[pi5]\n[all]\ncmdline=a", &["a"]),
            ("[none]\ncmdline=a", &["-"]),
            ("[none]\n[pi4]\ncmdline=a", &["-"]),
            ("[none]\n[all]\ncmdline=a", &["a"]),
            ("[tryboot]\ncmdline=a\n[all]\n", &["-"]),
            ("[tryboot]\n[pi4]\ncmdline=a\n", &["-"]),
            ("[board-type=0x11]\ncmdline=a", &["a"]),
            ("[board-type=0x14]\ncmdline=a", &["-"]),
            ("[pi4]\n[board-type=0x11]\ncmdline=a", &["a"]),
            ("[pi4]\n[board-type=0x14]\ncmdline=a", &["-"]),
            ("[pi5]\n[board-type=0x11]\ncmdline=a", &["-", "a"]),
            ("[gpio4=1]\ncmdline=a", &["-", "a"]),
            ("[EDID=VSC-TD2220]\ncmdline=a", &["-", "a"]),
            ("[EDID=VSC-TD2220]\n[pi5]\ncmdline=a", &["-"]),
            ("[EDID=VSC-TD2220]\n[all]\ncmdline=a", &["a"]),
            ("[0x12345678]\ncmdline=a", &["-", "a"]),
            ("[partition=2]\ncmdline=a", &["-", "a"]),
            ("[boot_partition=2]\ncmdline=a\n[boot_partition=3]\ncmdline=b\n", &["-", "a", "b"]),
            ("[pi6]\ncmdline=a", &["-", "a"]),
            ("[pi5]\n[pi6]\ncmdline=a", &["-", "a"]),
            ("[pi5]\n[cm6]\ncmdline=a", &["-", "a"]),
            ("[board-type=0x14]\n[cm6]\ncmdline=a", &["-", "a"]),
            ("[none]\n[cm6]\ncmdline=a", &["-"]),
            ("[cm6]\n[pi5]\ncmdline=a", &["-"]),
            ("[pi4]\n[cm3]\ncmdline=a", &["-"]),
            ("[cm0]\n[pi4]\ncmdline=a", &["a"]),
            ("[PI4]\ncmdline=a", &["-", "a"]),
            ("[pi4\ncmdline=a", &["-", "a"]),
            ("[gpio4=1]\ncmdline=a\n[all]\ncmdline=b\n", &["b"]),
        ] {
            check(Some(PI4), text, expected);
        }
        check(None, "[pi4]\ncmdline=a", &["-", "a"]);
        check(None, "cmdline=a", &["a"]);
    }

    #[test]
    fn a_setting_has_a_bounded_number_of_values() {
        let values = |text: &str| {
            let source = Source::new("/boot/config.txt", text);
            let config = read(&source, &Boards::default(), false, &mut |_| Ok(None)).unwrap();
            (config.possible(Key::Kernel).len(), config.too_many().map(ToString::to_string))
        };
        let lines = |count: u32| (0..count).map(|each| format!("kernel=k{each}\n")).collect::<String>();
        assert_eq!(values(&format!("[gpio4=1]\n{}", lines(7))), (8, None));
        let many = format!("[gpio4=1]\n{}", lines(9000));
        assert_eq!(values(&many), (8, Some("/boot/config.txt:9".to_owned())));
        assert_eq!(values(&format!("{many}[all]\nkernel=k\n")), (1, None));
        assert_eq!(values(&format!("[gpio4=1]\n{}", "kernel=k\n".repeat(20))), (2, None));
    }

    #[test]
    fn an_included_file_stands_in_place_of_its_line() {
        let files = [
            ("a.txt", "cmdline=a\n[pi5]\n"),
            ("all.txt", "[all]\ncmdline=all\n"),
            ("loop.txt", "include loop.txt\n"),
        ];
        for (text, expected) in [
            ("include a.txt\ncmdline=b\n", &["a"][..]),
            ("include a.txt\n[all]\ncmdline=b\n", &["b"]),
            ("[pi5]\ninclude a.txt\n[pi4]\ncmdline=b\n", &["b"]),
            ("[pi5]\ninclude all.txt\ncmdline=b\n", &["-"]),
            ("[gpio4=1]\ninclude all.txt\ncmdline=b\n", &["-", "all", "b"]),
            ("include missing.txt\ncmdline=b\n", &["b"]),
            ("include loop.txt\ncmdline=b\n", &["-", "b"]),
            ("include=a.txt\n", &["-", "a"]),
            ("included a.txt\ncmdline=b\n", &["b"]),
        ] {
            let got: Vec<String> = cmdline(Some(PI4), text, &files)
                .into_iter()
                .map(|value| value.unwrap_or_else(|| "-".to_owned()))
                .collect();
            assert_eq!(got, expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_all_resets(
            text in concat!(
                "(?s)((\\[(all|none|pi4|pi5|gpio4=1|0x1|board-type=0x11|é)\\]?",
                "|cmdline=|include |a.txt|[= #é\t]|\r?\n)){0,30}",
            ),
        ) {
            let files = [("a.txt", text.as_str())];
            prop_assert!(!cmdline(Some(PI4), &text, &files).is_empty());
            prop_assert!(!cmdline(None, &text, &files).is_empty());
            let closed = format!("{text}\n[all]\ncmdline=last\n");
            prop_assert_eq!(cmdline(None, &closed, &files), [Some("last".to_owned())]);
        }
    }
}
