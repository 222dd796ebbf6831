//! The syntax of unit files and of everything else that systemd writes in sections: `logind.conf`,
//! `system.conf` (`systemd.syntax(7)`; systemd, `src/shared/conf-parser.c`). What a key means is not
//! known here.

use super::{Source, Sourced};

/// White space, for systemd.
const WHITESPACE: &[char] = &[' ', '\t', '\n', '\r'];
/// The longest line systemd takes, in bytes (`LONG_LINE_MAX`); it reads no further in such a file.
const LINE_LIMIT_BYTES: usize = 1 << 20;

/// `Key=value` in `[Section]`. Section and key are case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The section.
    pub section: String,
    /// The key.
    pub key: String,
    /// The value, trimmed; a continued one is joined with spaces. Its line is the first.
    pub value: Sourced<String>,
}

/// Every assignment, in order. What systemd ignores (lines outside of a section, without `=`,
/// without a key) is left out, and nothing is read after what it gives a file up for (a broken
/// section header, bytes that are not UTF-8).
pub fn assignments(source: &Source) -> Vec<Assignment> {
    let mut found = Vec::new();
    let mut section: Option<String> = None;
    let mut bom_seen = false;
    let mut pending: Option<(u32, String, String)> = None;
    for (number, raw) in physical_lines(source.text()) {
        if raw.len() > LINE_LIMIT_BYTES {
            return found;
        }
        // A comment inside of a continued line is skipped without ending it.
        if raw.trim_start_matches(WHITESPACE).starts_with(['#', ';']) {
            continue;
        }
        let line = match raw.strip_prefix('\u{feff}') {
            Some(rest) if !bom_seen => {
                bom_seen = true;
                rest
            }
            _ => raw,
        };
        let (first, shown, mut text) =
            pending.take().unwrap_or_else(|| (number, line.to_owned(), String::new()));
        if text.len() + line.len() > LINE_LIMIT_BYTES {
            return found;
        }
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            text.push_str(&line[..line.len() - 1]);
            text.push(' ');
            pending = Some((first, shown, text));
            continue;
        }
        text.push_str(line);
        if !logical_line(source, first, &shown, &text, &mut section, &mut found) {
            return found;
        }
    }
    if let Some((first, shown, text)) = pending {
        logical_line(source, first, &shown, &text, &mut section, &mut found);
    }
    found
}

/// Takes one line with its continuations; false where systemd gives the file up.
fn logical_line(
    source: &Source,
    number: u32,
    shown: &str,
    text: &str,
    section: &mut Option<String>,
    found: &mut Vec<Assignment>,
) -> bool {
    let text = text.trim_matches(WHITESPACE);
    // Bytes that are not UTF-8 have become U+FFFD, which nobody writes into a unit file.
    if text.contains('\u{fffd}') {
        return false;
    }
    if let Some(header) = text.strip_prefix('[') {
        let unsafe_char = |c: char| c.is_ascii_control() || matches!(c, '"' | '\'' | '\\');
        return match header.strip_suffix(']') {
            Some(name) if !name.contains(unsafe_char) => {
                *section = Some(name.to_owned());
                true
            }
            _ => false,
        };
    }
    if let (Some(section), Some((key, value))) = (section, text.split_once('='))
        && !key.is_empty()
    {
        let value = source.on(number, shown, value.trim_matches(WHITESPACE).to_owned());
        let key = key.trim_matches(WHITESPACE).to_owned();
        found.push(Assignment { section: section.clone(), key, value });
    }
    true
}

/// The lines as systemd sees them: ended by LF, CR, both in either order, or NUL. The number is the
/// editor's, which counts LF only.
pub(super) fn physical_lines(text: &str) -> impl Iterator<Item = (u32, &str)> {
    let mut rest = text;
    let mut number: u32 = 1;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = number;
        let end = rest.find(['\n', '\r', '\0']).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        let mut seen = String::new();
        for c in after.chars().take(3) {
            if seen.ends_with('\0') || seen.contains(c) || !matches!(c, '\n' | '\r' | '\0') {
                break;
            }
            number = number.saturating_add(u32::from(c == '\n'));
            seen.push(c);
        }
        rest = &after[seen.len()..];
        Some((at, line))
    })
}

/// A boolean (`systemd.syntax(7)`): `None` for what is none.
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

/// The words of a list; quotes are taken off and a backslash makes the next character ordinary.
/// `None` for an unbalanced quote, for which systemd ignores the whole assignment.
pub fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if WHITESPACE.contains(&c) => words.extend(word.take()),
            (_, '\\') => word.get_or_insert_default().push(chars.next()?),
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if quote.is_none() { Some(words) } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `LINE Section.key=value` for every assignment.
    fn read(text: &str) -> Vec<String> {
        let line =
            |a: Assignment| format!("{} {}.{}={}", a.value.at.line.unwrap(), a.section, a.key, a.value.value);
        assignments(&Source::new("/u", text)).into_iter().map(line).collect()
    }

    #[test]
    fn the_syntax_of_systemd() {
        for (text, expected) in [
            ("[Service]\nDelegate=cpu\n", vec!["2 Service.Delegate=cpu"]),
            ("[Service]\n  Delegate = cpu  io \n", vec!["2 Service.Delegate=cpu  io"]),
            ("Delegate=cpu\n", vec![]),
            ("[service]\nDelegate=cpu", vec!["2 service.Delegate=cpu"]),
            ("\u{feff}[Service]\r\nDelegate=cpu\r\n", vec!["2 Service.Delegate=cpu"]),
            ("[Service]\rA=1\rB=2", vec!["1 Service.A=1", "1 Service.B=2"]),
            ("[Service]\nA=cpu \\\n  io\nB=", vec!["2 Service.A=cpu    io", "4 Service.B="]),
            ("[S]\nA=1 \\\n# no\n ; no\n2", vec!["2 S.A=1  2"]),
            ("[S]\nA=1\\\n\nB=2", vec!["2 S.A=1", "4 S.B=2"]),
            ("[S]\nA=1\\\\\nB=2", vec!["2 S.A=1\\\\", "3 S.B=2"]),
            ("[S]\nA=1\\", vec!["2 S.A=1"]),
            ("[S]\nA=1 # c\n#B=2\n;C=3", vec!["2 S.A=1 # c"]),
            ("[S]\nA\n=1\nB=2=3", vec!["4 S.B=2=3"]),
            ("[S]\nA=1\n[broken\nB=2", vec!["2 S.A=1"]),
            ("[S]\nA=1\n[\"x\"]\nB=2", vec!["2 S.A=1"]),
            ("[S]\nA=1\nC=\u{fffd}\nB=2", vec!["2 S.A=1"]),
            ("", vec![]),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_that_systemd_refuses_ends_the_file() {
        let long = "x".repeat(LINE_LIMIT_BYTES + 1);
        assert_eq!(read(&format!("[S]\nA=1\nB={long}\nC=2")), ["2 S.A=1"]);
        let half = "x".repeat(LINE_LIMIT_BYTES / 2 + 10);
        assert_eq!(read(&format!("[S]\nA=1\nB={half}\\\n{half}\nC=2")), ["2 S.A=1"]);
    }

    #[test]
    fn words_and_booleans() {
        let list = |text| words(text).map(|w| w.join("|"));
        assert_eq!(list(" cpu  \"io pids\" me'mo'ry ").as_deref(), Some("cpu|io pids|memory"));
        assert_eq!(list(r"a\ b \'").as_deref(), Some("a b|'"));
        assert_eq!(list("''").as_deref(), Some(""));
        assert_eq!((list("cpu 'io"), list("a\\")), (None, None));
        assert_eq!((boolean("YES"), boolean("off"), boolean("cpu")), (Some(true), Some(false), None));
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(text in "(\\PC|[\n\r\\\\\\[\\]=# \0\u{feff}]){0,200}") {
            let lines: usize = physical_lines(&text).map(|(_, line)| line.len()).sum();
            prop_assert!(lines <= text.len());
            assignments(&Source::new("/u", text.clone()));
            words(&text);
        }
    }
}
