//! Changes a line of a file and leaves every other byte as it is.

/// The lines of a text with their endings.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n')
}

fn ending(line: &str) -> &str {
    &line[line.trim_end_matches(['\n', '\r']).len()..]
}

/// The text with `new` in place of the last line that `is_it` recognises, else after all others.
pub(super) fn set_line(text: &str, is_it: impl Fn(&str) -> bool, new: &str) -> String {
    let all: Vec<&str> = lines(text).collect();
    let Some(at) = all.iter().rposition(|line| is_it(line.trim_end_matches(['\n', '\r']))) else {
        return append(text, new);
    };
    let ending = match ending(all[at]) {
        "" => "\n",
        ending => ending,
    };
    let line = format!("{new}{ending}");
    [&all[..at], &[line.as_str()], &all[at + 1..]].concat().concat()
}

/// The text with a line more at its end.
pub(super) fn append(text: &str, new: &str) -> String {
    let complete = text.is_empty() || text.ends_with('\n');
    format!("{text}{}{new}\n", if complete { "" } else { "\n" })
}

/// The text of a file with sections, with `KEY=VALUE` as the only line of `key` that counts in `section`:
/// in place of one that is there, else after the section's header, else in a section of its own.
///
/// Assignments that add up (`Delegate=`) come after what is there, and so add to it.
pub(super) fn set_in_section(text: &str, section: &str, key: &str, new: &str) -> String {
    let header = format!("[{section}]");
    let all: Vec<&str> = lines(text).collect();
    let mut inside = false;
    let (mut found, mut last_of_section) = (None, None);
    for (at, line) in all.iter().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line == header;
        }
        if inside {
            if !line.is_empty() {
                last_of_section = Some(at);
            }
            let assigned = line.split_once('=').map(|(name, _)| name.trim());
            if assigned == Some(key) {
                found = Some(at);
            }
        }
    }
    if let Some(at) = found {
        let ending = match ending(all[at]) {
            "" => "\n",
            ending => ending,
        };
        let line = format!("{new}{ending}");
        return [&all[..at], &[line.as_str()], &all[at + 1..]].concat().concat();
    }
    match last_of_section {
        Some(at) => {
            let before = all[..=at].concat();
            format!("{}{}", append(&before, new), all[at + 1..].concat())
        }
        None => append(&append(text, &header), new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_replaced_with_its_ending_or_added() {
        let is_b = |line: &str| line.starts_with("b =");
        for (text, wanted) in [
            ("", "b = 2\n"),
            ("a = 1", "a = 1\nb = 2\n"),
            ("b = 1\r\nc = 3\r\n", "b = 2\r\nc = 3\r\n"),
            ("b = 0\nb = 1", "b = 0\nb = 2\n"),
            ("# b = 1\n", "# b = 1\nb = 2\n"),
        ] {
            let once = set_line(text, is_b, "b = 2");
            assert_eq!(once, wanted, "{text:?}");
            assert_eq!(set_line(&once, is_b, "b = 2"), once, "again");
        }
    }

    #[test]
    fn a_key_is_set_in_its_section_only() {
        for (text, wanted) in [
            ("", "[Service]\nA=2\n"),
            ("[Unit]\nA=1\n", "[Unit]\nA=1\n[Service]\nA=2\n"),
            ("[Service]\nB=1\n\n[Unit]\nA=1\n", "[Service]\nB=1\nA=2\n\n[Unit]\nA=1\n"),
            ("[Service]\n A = 1\nB=1\n", "[Service]\nA=2\nB=1\n"),
            ("[Service]", "[Service]\nA=2\n"),
        ] {
            let once = set_in_section(text, "Service", "A", "A=2");
            assert_eq!(once, wanted, "{text:?}");
            assert_eq!(set_in_section(&once, "Service", "A", "A=2"), once, "again");
        }
    }
}
