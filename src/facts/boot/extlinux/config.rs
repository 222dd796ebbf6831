//! The text of an `extlinux.conf`, as its three readers take it. They differ in what a word that one of them
//! does not know does, in case, in comments, and in what stands outside of a label.
//!
//! - U-Boot: `boot/pxe_utils.c`
//! - L4TLauncher, NVIDIA's UEFI application: edk2-nvidia, `Silicon/NVIDIA/Application/L4TLauncher`
//! - EXTLINUX and SYSLINUX: `doc/syslinux.txt`, `doc/menu.txt`

use std::ops::Range;

use crate::facts::boot::edits::{self, Edit};
use crate::facts::kernel_cmdline::is_space;

/// Who reads the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// U-Boot.
    UBoot,
    /// NVIDIA's UEFI application.
    L4tLauncher,
    /// EXTLINUX or SYSLINUX.
    Syslinux,
}

/// The words of one `APPEND` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Append {
    /// The line, from 1.
    pub(super) line: u32,
    /// Where the words stand in the text.
    pub(super) range: Range<usize>,
}

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Label {
    name: String,
    /// The line that names it, from 1.
    pub(super) line: u32,
    kernel: Option<Range<usize>>,
    appends: Vec<Append>,
    /// What U-Boot takes the first time only.
    once: Vec<&'static str>,
    is_menu_default: bool,
}

/// Why the words cannot be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The line, from 1.
    pub(super) line: u32,
    /// As a clause.
    pub(super) why: &'static str,
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    reader: Reader,
    labels: Vec<Label>,
    default: Option<(u32, String)>,
    /// `APPEND` outside of any label.
    outside: Vec<Append>,
    has_menu: bool,
}

/// What L4TLauncher has room for (`MAX_EXTLINUX_OPTIONS`).
const L4T_LABELS: usize = 10;
/// More than anybody has, of labels and of `APPEND` lines.
const LIMIT: usize = 4096;
/// What U-Boot takes for a part of a label.
const IN_LABEL: [&str; 14] = [
    "menu",
    "kernel",
    "linux",
    "append",
    "initrd",
    "localboot",
    "fdt",
    "devicetree",
    "fdtdir",
    "devicetreedir",
    "fdtoverlays",
    "devicetree-overlay",
    "ipappend",
    "kaslrseed",
];
/// Of these it takes the first of a label. It does not pass over what follows a second one, which
/// then is a word that it does not know (`boot/pxe_utils.c`, `parse_label()`). Names in one row are
/// the same.
const ONCE: [&[&str]; 4] = [
    &["initrd"],
    &["fdt", "devicetree"],
    &["fdtdir", "devicetreedir"],
    &["fdtoverlays", "devicetree-overlay"],
];
/// What U-Boot has room for on most boards, in bytes, with the one that ends the text: a label with
/// a longer APPEND does not boot (`boot/pxe_utils.c`, `label_boot()`; `CONFIG_SYS_CBSIZE`).
const U_BOOT_BYTES: usize = 1024;
/// Where U-Boot gives the whole file up when nothing follows.
const NEEDS_VALUE: [&str; 16] = [
    "append",
    "default",
    "devicetree",
    "devicetree-overlay",
    "devicetreedir",
    "fallback",
    "fdt",
    "fdtdir",
    "fdtoverlays",
    "initrd",
    "ipappend",
    "kernel",
    "label",
    "linux",
    "ontimeout",
    "timeout",
];

/// A line: its number, where it starts, and its text without the line feed.
struct Line<'t> {
    number: u32,
    at: usize,
    text: &'t str,
}

impl Line<'_> {
    fn fault(&self, why: &'static str) -> Fault {
        Fault { line: self.number, why }
    }

    /// Where `end` stands in the whole text: the end of `part`, with which this line begins.
    fn range(&self, part: &str, end: &str) -> Range<usize> {
        let start = self.at + part.len() - end.len();
        start..start + end.trim_end_matches(is_space).len()
    }

    fn append(&self, part: &str, end: &str) -> Append {
        Append { line: self.number, range: self.range(part, end) }
    }
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut at = 0;
    (1..).zip(text.split_inclusive('\n')).map(move |(number, whole)| {
        let line = Line { number, at, text: whole.strip_suffix('\n').unwrap_or(whole) };
        at += whole.len();
        line
    })
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// The first word in lower case, and what follows it.
fn keyword(text: &str) -> (String, &str) {
    let text = text.trim_start_matches(is_blank);
    let end = text.find(is_space).unwrap_or(text.len());
    let (key, value) = text.split_at(end);
    (key.to_ascii_lowercase(), value.trim_start_matches(is_blank))
}

impl Config {
    pub(super) fn parse(reader: Reader, text: &str) -> Result<Config, Fault> {
        let mut config =
            Config { reader, labels: Vec::new(), default: None, outside: Vec::new(), has_menu: false };
        match reader {
            Reader::UBoot => config.read_as_u_boot(text),
            Reader::L4tLauncher => config.read_as_l4t(text),
            Reader::Syslinux => config.read_as_syslinux(text),
        }?;
        Ok(config)
    }

    fn label(&mut self, line: &Line<'_>, name: &str) -> Result<(), Fault> {
        if self.labels.len() >= LIMIT {
            return Err(line.fault("there are more labels than anybody has"));
        }
        self.labels.push(Label { name: name.to_owned(), line: line.number, ..Label::default() });
        Ok(())
    }

    fn read_as_u_boot(&mut self, text: &str) -> Result<(), Fault> {
        let mut in_label = false;
        let text = text.split('\0').next().unwrap_or_default();
        for line in lines(text) {
            let (key, value) = keyword(line.text);
            if line.text.trim_matches(is_blank).is_empty() || key.starts_with('#') {
                continue;
            }
            let missing = value.trim().is_empty() || value.starts_with('#');
            if missing && NEEDS_VALUE.contains(&key.as_str()) {
                return Err(line.fault("U-Boot reads no further: something is missing after the first word"));
            }
            in_label &= IN_LABEL.contains(&key.as_str());
            if in_label && self.labels.last_mut().is_some_and(|label| label.has_already(&key)) {
                let (next, _) = keyword(value);
                if NEEDS_VALUE.contains(&next.as_str()) || IN_LABEL.contains(&next.as_str()) {
                    return Err(line.fault("the label has it already, and U-Boot reads on behind it"));
                }
                in_label = false;
                continue;
            }
            let label = if in_label { self.labels.last_mut() } else { None };
            match (key.as_str(), label) {
                ("append", Some(label)) => {
                    label.add(&line, line.text, value)?;
                    if value.contains("initrd=") {
                        label.has_already("initrd");
                    }
                }
                ("append", None) if self.outside.len() < LIMIT => {
                    self.outside.push(line.append(line.text, value))
                }
                ("kernel" | "linux", Some(label)) => label.kernel = Some(line.range(line.text, value)),
                ("menu", label) => match (keyword(value).0.as_str(), label) {
                    ("include", None) => return Err(line.fault("it includes another file")),
                    ("default", Some(label)) if self.default.is_none() => {
                        self.default = Some((line.number, label.name.clone()));
                    }
                    _ => {}
                },
                ("include", _) => return Err(line.fault("it includes another file")),
                ("default" | "ontimeout", _) => self.default = Some((line.number, value.to_owned())),
                ("label", _) => {
                    self.label(&line, value)?;
                    in_label = true;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn read_as_l4t(&mut self, text: &str) -> Result<(), Fault> {
        for line in lines(text) {
            let clean = line.text.split('#').next().unwrap_or_default().trim_end_matches([' ', '\t', '\r']);
            let bare = clean.trim_start_matches(is_blank);
            let after = |key: &str| bare.strip_prefix(key).map(|value| value.trim_start_matches(is_blank));
            if after("TIMEOUT").is_some() {
                continue;
            }
            if let Some(value) = after("DEFAULT") {
                self.default = Some((line.number, value.to_owned()));
            } else if after("MENU TITLE").is_some() {
                continue;
            } else if let Some(name) = after("LABEL") {
                if self.labels.len() == L4T_LABELS {
                    return Err(line.fault("L4TLauncher takes ten labels and no more"));
                }
                self.label(&line, name)?;
            } else if after("MENU LABEL").is_some() {
                continue;
            } else if let Some(label) = self.labels.last_mut() {
                if let Some(value) = after("LINUX") {
                    label.kernel = Some(line.range(clean, value));
                } else if ["INITRD", "FDT", "OVERLAYS"].into_iter().any(|key| after(key).is_some()) {
                    continue;
                } else if let Some(value) = after("APPEND") {
                    label.add(&line, clean, value)?;
                }
            }
        }
        Ok(())
    }

    fn read_as_syslinux(&mut self, text: &str) -> Result<(), Fault> {
        for line in lines(text) {
            let (key, value) = keyword(line.text);
            match (key.as_str(), self.labels.last_mut()) {
                ("label", _) => self.label(&line, value.split_whitespace().next().unwrap_or_default())?,
                ("append", Some(label)) => label.add(&line, line.text, value)?,
                ("append", None) if self.outside.len() < LIMIT => {
                    self.outside.push(line.append(line.text, value))
                }
                ("kernel" | "linux", Some(label)) => label.kernel = Some(line.range(line.text, value)),
                ("com32" | "localboot" | "boot" | "bss" | "pxe" | "fdimage" | "config", Some(label)) => {
                    label.kernel = None;
                }
                ("menu", label) => match (keyword(value).0.as_str(), label) {
                    ("include", _) => return Err(line.fault("it includes another file")),
                    ("default", Some(label)) => label.is_menu_default = true,
                    _ => {}
                },
                ("include", _) => return Err(line.fault("it includes another file")),
                ("ui", _) => self.has_menu = true,
                ("default", _) if is_module(value) => self.has_menu = true,
                ("default", _) => self.default = Some((line.number, value.trim_end().to_owned())),
                ("ontimeout", _) => return Err(line.fault("ONTIMEOUT names what boots, beside DEFAULT")),
                _ => {}
            }
        }
        Ok(())
    }

    /// The label that boots when nobody presses a key, of those that start a kernel.
    pub(super) fn booted(&self, text: &str) -> Result<&Label, Fault> {
        let named = match self.reader {
            Reader::Syslinux => self.default_of_syslinux()?,
            _ => self.default.as_ref().map(|(_, name)| name.as_str()),
        };
        let mut same = self.labels.iter().filter(|label| Some(label.name.as_str()) == named);
        let label = match (same.next(), same.next()) {
            (Some(_), Some(again)) => {
                return Err(Fault { line: again.line, why: "the label that boots is there twice" });
            }
            (Some(label), None) => label,
            (None, _) => self.labels.first().ok_or(Fault { line: 1, why: "there is no label" })?,
        };
        let kernel = label.kernel.clone().and_then(|range| text.get(range));
        match kernel {
            Some(kernel) if !is_module(kernel) => Ok(label),
            _ => Err(Fault { line: label.line, why: "the label that boots starts no kernel" }),
        }
    }

    /// `MENU DEFAULT` where there is a menu, and `DEFAULT`, which can hold words for the kernel, too.
    fn default_of_syslinux(&self) -> Result<Option<&str>, Fault> {
        let mut marked = self.labels.iter().filter(|label| label.is_menu_default);
        let (first, second) = (marked.next(), marked.next());
        if let Some(second) = second {
            return Err(Fault { line: second.line, why: "MENU DEFAULT is there twice" });
        }
        let Some((line, value)) = &self.default else {
            return match first {
                Some(label) => Ok(Some(&label.name)),
                None if self.has_menu => Ok(None),
                None => Err(Fault { line: 1, why: "no label is the default" }),
            };
        };
        let mut words = value.split_whitespace();
        let name = words.next().unwrap_or_default();
        let is_label = self.labels.iter().any(|label| label.name == name);
        let is_other = first.is_some_and(|label| label.name != name);
        if words.next().is_some() || !is_label || is_other {
            return Err(Fault { line: *line, why: "which label is the default cannot be told" });
        }
        Ok(self.labels.iter().find(|label| label.name == name).map(|label| label.name.as_str()))
    }

    /// The line that counts for a label, of several the last.
    pub(super) fn append(&self, label: &Label) -> Option<Append> {
        let outside = (self.reader == Reader::Syslinux).then(|| self.outside.last()).flatten();
        label.appends.last().or(outside).cloned()
    }

    /// The lines that do not count for it, and would have to, with why.
    pub(super) fn unheard<'c>(
        &'c self,
        label: &'c Label,
    ) -> impl Iterator<Item = (&'c Append, &'static str)> {
        let counts = self.append(label).map(|append| append.line);
        let replaced = "a later APPEND of the label takes its place";
        let outside = match self.reader {
            Reader::Syslinux => "the label has an APPEND of its own",
            _ => "APPEND counts in a label only, and what U-Boot does not know ends one",
        };
        let in_label = label.appends.iter().map(move |append| (append, replaced));
        let all = in_label.chain(self.outside.iter().map(move |append| (append, outside)));
        all.filter(move |(append, _)| Some(append.line) != counts)
    }
}

/// Whether a file is a program of SYSLINUX, such as its menu.
fn is_module(value: &str) -> bool {
    let first = value.split_whitespace().next().unwrap_or_default();
    first.ends_with(".c32") || first.ends_with(".C32")
}

impl Label {
    /// Whether it has one of these already; now it has.
    fn has_already(&mut self, key: &str) -> bool {
        let Some(name) = ONCE.into_iter().find(|names| names.contains(&key)).and_then(|names| names.first())
        else {
            return false;
        };
        let has = self.once.contains(name);
        if !has {
            self.once.push(name);
        }
        has
    }

    fn add(&mut self, line: &Line<'_>, part: &str, value: &str) -> Result<(), Fault> {
        if value.trim().is_empty() || value.trim() == "-" {
            return Err(line.fault("APPEND without words"));
        }
        if self.appends.len() >= LIMIT {
            return Err(line.fault("there are more APPEND lines than anybody has"));
        }
        self.appends.push(line.append(part, value));
        Ok(())
    }

    /// Where a line of the label can be added: behind that of its kernel.
    fn behind_kernel(&self, text: &str) -> Option<usize> {
        let kernel = self.kernel.as_ref()?.end;
        Some(text.get(kernel..)?.find('\n').map_or(text.len(), |eol| kernel + eol + 1))
    }
}

/// The text with a change of the words that the booted label passes.
///
/// # Errors
/// What stands in the way, as a clause.
pub(in crate::facts::boot) fn edit(reader: Reader, text: &str, change: Edit<'_>) -> Result<String, String> {
    let special = match reader {
        Reader::UBoot => "$\\",
        Reader::L4tLauncher => "$#",
        Reader::Syslinux => "",
    };
    edits::writable(change, special)?;
    let said = |fault: Fault| format!("{} in line {}", fault.why, fault.line);
    let config = Config::parse(reader, text).map_err(said)?;
    let label = config.booted(text).map_err(said)?;
    if let Some(Append { line, range }) = config.append(label) {
        let (before, after) = (text.get(..range.start), text.get(range.end..));
        let (Some(before), Some(words), Some(after)) = (before, text.get(range), after) else {
            return Err(format!("line {line} cannot be cut"));
        };
        edits::closed(line, words)?;
        let edited = edits::words(words, change);
        if edited.trim().is_empty() {
            return Err(format!("it is the last word of line {line}, and APPEND needs one"));
        }
        if reader == Reader::UBoot && edited.len() >= U_BOOT_BYTES && edited.len() > words.len() {
            let (length, most) = (edited.len(), U_BOOT_BYTES - 1);
            return Err(format!(
                "line {line} would pass {length} bytes, and with more than {most} U-Boot does not boot"
            ));
        }
        return Ok(format!("{before}{edited}{after}"));
    }
    match (change, reader, label.behind_kernel(text)) {
        (Edit::Without(_), ..) => Ok(text.to_owned()),
        (Edit::Last(word), Reader::Syslinux, Some(at)) => {
            let (before, after) = text.split_at(at);
            let line_end = if before.ends_with("\r\n") { "\r\n" } else { "\n" };
            let missing = if before.ends_with('\n') { "" } else { "\n" };
            Ok(format!("{before}{missing}  APPEND {word}{line_end}{after}"))
        }
        _ => Err(format!("the label in line {} has no APPEND", label.line)),
    }
}
