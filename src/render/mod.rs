//! One file per output format. Nothing else prints.

pub mod diff;
pub mod environment;
pub mod escape;
pub mod explain;
pub mod fix;
pub mod html;
pub mod human;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod nagios;
pub mod prometheus;
pub mod sarif;
pub mod tap;
pub mod undo;
pub mod words;

use std::io::{self, Write};

/// Writes to standard output. A reader that went away (`edgeprep check | head`) is no error.
///
/// # Errors
/// Any other error of the system.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// What has no look of its own and can change the order of a line: category Cf, and what separates lines and
/// paragraphs (Unicode 16, `UnicodeData.txt`), and the two that XML cannot hold (XML 1.0, 2.2): the first and
/// the last of each range, in order.
const FORMAT: [(char, char); 22] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{2064}'),
    ('\u{2066}', '\u{206f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{fffe}', '\u{ffff}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0001}', '\u{e0001}'),
    ('\u{e0020}', '\u{e007f}'),
];

/// What was read from a host goes to a terminal: without control and format characters.
pub fn printable(text: &str) -> String {
    let is_format = |c: char| FORMAT.iter().take_while(|(first, _)| *first <= c).any(|(_, last)| c <= *last);
    let printable = |c: char| match c {
        '\n' | '\t' => ' ',
        c if c.is_control() || is_format(c) => '\u{fffd}',
        c => c,
    };
    text.chars().map(printable).collect()
}

/// A message for a terminal: its first line as it is, for programs that look for it, and the others below it,
/// indented and at most 80 columns wide.
pub fn message(text: &str) -> String {
    let mut lines = text.split('\n');
    let mut out = printable(lines.next().unwrap_or_default()) + "\n";
    for line in lines.flat_map(|line| wrap(&printable(line), 78)) {
        out.push_str(&format!("  {line}\n"));
    }
    out
}

/// Below that no text is squeezed, however long what stands before it.
const NARROWEST: usize = 12;

/// Breaks text into lines of at most `width` characters at spaces; a word that is longer is cut.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(NARROWEST);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let word: Vec<char> = word.chars().collect();
        let used = line.chars().count();
        if used > 0 && used + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
        }
        // Also of a word of megabytes each character is moved once.
        let mut parts = word.chunks(width).peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_some() {
                lines.push(part.iter().collect());
                continue;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.extend(part);
        }
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_the_order_of_a_line_is_replaced() {
        for c in "\u{7}\u{1b}\u{9b}\u{ad}\u{61c}\u{200b}\u{200d}\u{200f}\u{2028}\u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\u{feff}\u{e0041}"
            .chars()
        {
            assert_eq!(printable(&format!("a{c}b")), "a\u{fffd}b", "{c:?}");
        }
        assert_eq!(printable("a\tb\nc"), "a b c");
        let plain = "Grüße, 日本, שלום, \u{2027}\u{202f}\u{2065}\u{2070}\u{fff8}\u{fffd}";
        assert_eq!(printable(plain), plain);
        assert!(FORMAT.is_sorted() && FORMAT.iter().all(|(first, last)| first <= last));
    }

    #[test]
    fn wrapped_lines_fit_and_lose_nothing() {
        let text = "one two three /a/very/long/path/that/does/not/fit four";
        let lines = wrap(text, 12);
        assert!(lines.iter().all(|line| line.chars().count() <= 12), "{lines:?}");
        let squeeze = |s: &str| s.replace(' ', "");
        assert_eq!(squeeze(&lines.concat()), squeeze(text));
        assert_eq!(wrap("", 10), [""]);
    }
}
