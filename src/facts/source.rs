//! Text with an address: what every parser takes, and what every value keeps.

use std::fmt;
use std::rc::Rc;

use crate::host::Stat;

/// The most of a line that is shown as evidence, in characters.
const EVIDENCE_CHARS: usize = 200;

/// The text of a file and where it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    path: Rc<str>,
    text: String,
    stat: Option<Stat>,
}

impl Source {
    /// Text that was read at `path`.
    pub fn new(path: &str, text: impl Into<String>) -> Source {
        Source { path: path.into(), text: text.into(), stat: None }
    }

    pub(super) fn from_bytes(path: &str, bytes: Vec<u8>) -> Source {
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Source::new(path, text)
    }

    pub(super) fn with_stat(mut self, stat: Stat) -> Source {
        self.stat = Some(stat);
        self
    }

    pub(super) fn stat(&self) -> Option<&Stat> {
        self.stat.as_ref()
    }

    /// The path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// All of the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The lines with their numbers, from 1, without `\n` or `\r\n`.
    pub fn lines(&self) -> impl Iterator<Item = (u32, &str)> {
        (1..).zip(self.text.lines())
    }

    /// A value that was read at `line` of this text.
    pub fn at<T>(&self, line: u32, value: T) -> Sourced<T> {
        let text = self.text.lines().nth(line.saturating_sub(1) as usize).unwrap_or_default();
        self.on(line, text, value)
    }

    /// A value and the line it was read from, for parsers that have the line at hand.
    pub fn on<T>(&self, line: u32, text: &str, value: T) -> Sourced<T> {
        Sourced { value, at: Evidence { path: self.path.clone(), line: Some(line), text: shown(text) } }
    }

    /// A value that is the whole of a one-line file, such as those in `/proc/sys`.
    pub fn whole<T>(&self, value: T) -> Sourced<T> {
        self.on(1, self.text.lines().next().unwrap_or_default(), value)
    }
}

/// A value and where it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: Evidence,
}

/// Where something was read: what a person would open to see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Evidence {
    /// The file or directory.
    pub path: Rc<str>,
    /// The line, from 1; null for a file or directory as a whole.
    pub line: Option<u32>,
    /// What stands there; empty where only existence matters.
    pub text: String,
}

impl Evidence {
    /// A line of a file.
    pub fn line(path: &str, line: u32, text: &str) -> Evidence {
        Evidence { path: path.into(), line: Some(line), text: shown(text) }
    }

    /// A path as a whole, and what is to say of it (`mode 0755`, `does not exist`).
    pub fn path(path: &str, text: impl AsRef<str>) -> Evidence {
        Evidence { path: path.into(), line: None, text: shown(text.as_ref()) }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.path),
            None => f.write_str(&self.path),
        }
    }
}

/// One line, trimmed and bounded, without control characters: it goes to terminals and reports.
fn shown(text: &str) -> String {
    let mut out: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() { if c == '\t' { ' ' } else { '\u{fffd}' } } else { c })
        .take(EVIDENCE_CHARS + 1)
        .collect();
    if let Some((at, _)) = out.char_indices().nth(EVIDENCE_CHARS) {
        out.truncate(at);
        out.push_str("...");
    }
    out
}

/// The line, from 1, that byte `offset` of `text` is on.
pub fn line_of(text: &str, offset: usize) -> u32 {
    let before = text.as_bytes().get(..offset.min(text.len())).unwrap_or_default();
    u32::try_from(before.iter().filter(|&&b| b == b'\n').count()).unwrap_or(u32::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one() {
        let source = Source::new("/etc/subuid", "a\r\nb\n");
        assert_eq!(source.lines().collect::<Vec<_>>(), [(1, "a"), (2, "b")]);
        assert_eq!(
            source.at(2, ()).at,
            Evidence { path: "/etc/subuid".into(), line: Some(2), text: "b".into() }
        );
        assert_eq!((line_of("a\nb\n", 0), line_of("a\nb\n", 2), line_of("a\nb\n", 99)), (1, 2, 3));
    }

    #[test]
    fn evidence_cannot_carry_terminal_escapes() {
        let evidence = Evidence::path("/x", "\u{1b}[31mred\tgreen\u{7}");
        assert_eq!(evidence.text, "\u{fffd}[31mred green\u{fffd}");
        assert_eq!(Evidence::path("/x", "é".repeat(300)).text.chars().count(), EVIDENCE_CHARS + 3);
    }
}
