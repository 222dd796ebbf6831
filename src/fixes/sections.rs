//! Editing what systemd writes in sections, without touching what is not meant (`systemd.syntax(7)`).

use super::lines::{content, line_end, replaced, split};
use super::{FixError, template};
use crate::facts::Source;
use crate::facts::unit_syntax::assignments;

/// Which assignments are meant, by key and value.
type Replaces<'a> = Box<dyn Fn(&str, &str) -> bool + 'a>;

/// A line that a section shall have.
pub(super) struct Entry<'a> {
    /// Which assignment of the section it takes the place of, by key and value: the last such one.
    pub(super) replaces: Replaces<'a>,
    /// The line, `Key=value`.
    pub(super) line: String,
}

impl<'a> Entry<'a> {
    /// A key of which the last value counts.
    pub(super) fn last_wins(key: &'a str, value: &str) -> Entry<'a> {
        Entry { replaces: Box::new(move |other, _| other == key), line: format!("{key}={value}") }
    }
}

/// The file at `path`, of which there is `text` so far, with these entries in `section`.
pub(super) fn with_entries(
    path: &str,
    text: Option<&str>,
    section: &str,
    entries: &[Entry<'_>],
) -> Result<String, FixError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        let lines: Vec<&str> = entries.iter().map(|entry| entry.line.as_str()).collect();
        return template::drop_in(section, &lines);
    };
    let mut edited = text.to_owned();
    for entry in entries {
        edited = with_entry(&edited, section, entry);
    }
    // The proof is that systemd's syntax finds it there, whatever the file holds beside it.
    let found = assignments(&Source::new(path, edited.clone()));
    for entry in entries {
        let line = |key: &str, value: &str| format!("{key}={value}");
        let stands = found.iter().any(|a| a.section == section && line(&a.key, &a.value.value) == entry.line);
        if !stands {
            return Err(FixError::Refused(format!(
                "{path}: {} cannot be put into what is there",
                entry.line
            )));
        }
    }
    Ok(edited)
}

/// `text` with the entry in the place of what it replaces, else at the end of its section.
fn with_entry(text: &str, section: &str, entry: &Entry<'_>) -> String {
    let all = split(text);
    let mut current = String::new();
    let mut old: Option<(usize, usize, String)> = None;
    let mut section_end = None;
    let mut pending: Option<(usize, String)> = None;
    for (at, raw) in all.iter().enumerate() {
        let line = content(raw);
        if line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        let (start, mut logical) = pending.take().unwrap_or((at, String::new()));
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        if backslashes % 2 == 1 && at + 1 < all.len() {
            logical.push_str(line.get(..line.len() - 1).unwrap_or_default());
            logical.push(' ');
            pending = Some((start, logical));
            continue;
        }
        logical.push_str(line);
        let logical = logical.trim_start_matches('\u{feff}').trim();
        if let Some(name) = logical.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            current = name.to_owned();
        } else if let Some((key, value)) = logical.split_once('=')
            && current == section
            && (entry.replaces)(key.trim(), value.trim())
        {
            old = Some((start, at + 1, format!("{}={}", key.trim(), value.trim())));
        }
        if current == section && !logical.is_empty() {
            section_end = Some(at + 1);
        }
    }
    match (old, section_end) {
        (Some((.., line)), _) if line == entry.line => text.to_owned(),
        (Some((start, end, _)), _) => replaced(text, start, end, &entry.line),
        (None, Some(end)) => replaced(text, end, end, &entry.line),
        (None, None) => {
            let eol = line_end(text);
            let gap = if text.trim().is_empty() { "" } else { eol };
            replaced(text, all.len(), all.len(), &format!("{gap}[{section}]{eol}{}", entry.line))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(text: &str) -> String {
        with_entries("/x", Some(text), "S", &[Entry::last_wins("A", "2")]).unwrap()
    }

    #[test]
    fn only_the_assignment_that_is_meant_changes() {
        for (text, edited) in [
            ("[S]\nA=1\n", "[S]\nA=2\n"),
            ("[S]\nA = 2\n", "[S]\nA = 2\n"),
            ("[S]\n#A=1\nB=1\n\n# c\n[T]\nA=1\n", "[S]\n#A=1\nB=1\nA=2\n\n# c\n[T]\nA=1\n"),
            ("[S]\nA=1 \\\n  more\n# in\nB=1\n", "[S]\nA=2\n# in\nB=1\n"),
            ("[T]\nA=1", "[T]\nA=1\n\n[S]\nA=2\n"),
            ("[S]\r\nB=1\r\n", "[S]\r\nB=1\r\nA=2\r\n"),
            ("\u{feff}[S]\nA=0\nA=1\n", "\u{feff}[S]\nA=0\nA=2\n"),
            ("A=1\n", "A=1\n\n[S]\nA=2\n"),
            ("[S]\nA=1\n[T]\n[S]\nB=1", "[S]\nA=2\n[T]\n[S]\nB=1"),
            ("[S]\nA=1\\", "[S]\nA=2"),
        ] {
            assert_eq!(with(text), edited, "{text:?}");
            assert_eq!(with(edited), edited, "{text:?}");
        }
    }

    #[test]
    fn what_systemd_would_not_read_is_refused() {
        let broken = with_entries("/x", Some("[broken\n"), "S", &[Entry::last_wins("A", "2")]);
        assert_eq!(broken, Err(FixError::Refused("/x: A=2 cannot be put into what is there".to_owned())));
    }

    proptest! {
        #[test]
        fn twice_is_once(text in "(\\[S\\]|\\[T\\]|A=[0-9]|B|#|\\\\|\r?\n| ){0,20}") {
            if let Ok(once) = with_entries("/x", Some(&text), "S", &[Entry::last_wins("A", "2")])
                && !text.is_empty()
            {
                let twice = with_entries("/x", Some(&once), "S", &[Entry::last_wins("A", "2")]);
                prop_assert_eq!(twice, Ok(once));
            }
        }
    }
}
