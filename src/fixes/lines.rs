//! Editing a file of lines without touching the lines that are not meant.

/// The lines of a text with their ends.
pub(super) fn split(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// A line without its end.
pub(super) fn content(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// How lines of this text end.
pub(super) fn line_end(text: &str) -> &'static str {
    if text.split_inclusive('\n').next().is_some_and(|line| line.ends_with("\r\n")) { "\r\n" } else { "\n" }
}

/// `text` with `line` in the place of the lines from `start` to before `end`; an empty place inserts.
pub(super) fn replaced(text: &str, start: usize, end: usize, line: &str) -> String {
    let all = split(text);
    let eol = line_end(text);
    let mut out = String::new();
    let add = |out: &mut String, part: &str| {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push_str(eol);
        }
        out.push_str(part);
    };
    all.iter().take(start).for_each(|part| add(&mut out, part));
    add(&mut out, line);
    // A last line without an end, which is replaced, stays without.
    let last = start < end && end >= all.len() && all.last().is_some_and(|part| !part.ends_with('\n'));
    if !last {
        out.push_str(eol);
    }
    all.iter().skip(end).for_each(|part| out.push_str(part));
    out
}

/// `text` with `line` in place of the last line that `is_old`, or else at the end.
pub(super) fn with_line(text: &str, is_old: impl Fn(&str) -> bool, line: &str) -> String {
    let all = split(text);
    match all.iter().rposition(|old| is_old(content(old))) {
        Some(at) if all.get(at).is_some_and(|old| content(old) == line) => text.to_owned(),
        Some(at) => replaced(text, at, at + 1, line),
        None => replaced(text, all.len(), all.len(), line),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_line_that_is_meant_changes() {
        let with = |text| with_line(text, |line| line.starts_with("a="), "a=2");
        assert_eq!(with(""), "a=2\n");
        assert_eq!(with("# c\na=1\n\nb=1\n"), "# c\na=2\n\nb=1\n");
        assert_eq!(with("a=0\na=1"), "a=0\na=2");
        assert_eq!(with("b=1"), "b=1\na=2\n");
        assert_eq!(with("b=1\r\na=1\r\n"), "b=1\r\na=2\r\n");
        assert_eq!(with("b=1\r\n"), "b=1\r\na=2\r\n");
        assert_eq!(with("a=2 "), "a=2");
        assert_eq!(with("a=2"), "a=2");
    }

    proptest! {
        #[test]
        fn twice_is_once(text in "(a=[0-9]|b|#|\r?\n| ){0,20}") {
            let once = with_line(&text, |line| line.starts_with("a="), "a=x");
            prop_assert_eq!(with_line(&once, |line| line.starts_with("a="), "a=x"), once.as_str());
            prop_assert!(once.contains("a=x"));
        }
    }
}
