//! One file per output format. Nothing else prints.

pub mod diff;
pub mod environment;
pub mod explain;
pub mod fix;
pub mod human;
pub mod json;
pub mod undo;

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

/// What was read from a host goes to a terminal: without control characters.
pub fn printable(text: &str) -> String {
    let printable = |c: char| match c {
        '\n' | '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(printable).collect()
}

/// Breaks text into lines of at most `width` characters at spaces; a word that is longer is cut.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        let used = line.chars().count();
        if used > 0 && used + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
        }
        while word.len() > width {
            lines.push(word.drain(..width).collect());
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word);
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
    fn wrapped_lines_fit_and_lose_nothing() {
        let text = "one two three /a/very/long/path/that/does/not/fit four";
        let lines = wrap(text, 12);
        assert!(lines.iter().all(|line| line.chars().count() <= 12), "{lines:?}");
        let squeeze = |s: &str| s.replace(' ', "");
        assert_eq!(squeeze(&lines.concat()), squeeze(text));
        assert_eq!(wrap("", 10), [""]);
    }
}
