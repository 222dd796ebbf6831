//! What hosts and saved reports say, made harmless for each notation. All of it goes through [`printable`]
//! first: no control or format characters, no line ends.

use super::printable;

/// For XML and HTML, as text or as a quoted attribute.
pub fn markup(text: &str) -> String {
    replaced(text, |c| match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        '\'' => Some("&#39;"),
        _ => None,
    })
}

/// For the value of a label of Prometheus, which stands in quotes.
pub fn label(text: &str) -> String {
    replaced(text, |c| match c {
        '\\' => Some("\\\\"),
        '"' => Some("\\\""),
        _ => None,
    })
}

/// For a description of TAP, where `#` begins a directive.
pub fn tap(text: &str) -> String {
    replaced(text, |c| match c {
        '\\' => Some("\\\\"),
        '#' => Some("\\#"),
        _ => None,
    })
}

/// For Nagios, whose output ends at `|` and is passed on to shells and browsers: letters, digits, and
/// punctuation that means nothing there.
pub fn plain(text: &str) -> String {
    let harmless = |c: char| c.is_alphanumeric() || " .,:_-+=%@/()".contains(c);
    printable(text).chars().map(|c| if harmless(c) { c } else { '?' }).collect()
}

/// Text in Markdown as GitHub has it: no markup, no links, nobody mentioned.
pub fn markdown(text: &str) -> String {
    let mut out = String::new();
    let text = printable(text);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // A name or number that follows at once is linked even where the mark is escaped.
            '@' | '#' if chars.peek().is_some_and(|next| next.is_alphanumeric()) => {
                out.extend([c, '\u{200b}'])
            }
            c if c.is_ascii_punctuation() && !",;'()/-".contains(c) => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

/// Code in Markdown, fenced by more backticks than it has in a row.
pub fn markdown_code(text: &str) -> String {
    let text = printable(text);
    let text = if text.trim().is_empty() { "(empty)" } else { text.trim() };
    let fence = "`".repeat(backticks(text) + 1);
    let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

/// How many backticks stand in a row at most.
pub fn backticks(text: &str) -> usize {
    let run = |(longest, now): (usize, usize), c| {
        let now = if c == '`' { now + 1 } else { 0 };
        (longest.max(now), now)
    };
    text.chars().fold((0, 0), run).0
}

/// The start of a text that is longer than `chars`.
pub fn short(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn replaced(text: &str, by: impl Fn(char) -> Option<&'static str>) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match by(c) {
            Some(replacement) => out.push_str(replacement),
            None => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes back what `escape` puts before some characters.
    fn unescaped(text: &str) -> String {
        let mut chars = text.chars();
        let mut out = String::new();
        while let Some(c) = chars.next() {
            out.extend(if c == '\\' { chars.next() } else { Some(c) });
        }
        out
    }

    #[test]
    fn each_notation_has_its_marks() {
        assert_eq!(markup("<a b='1'>&\"\n\u{1b}"), "&lt;a b=&#39;1&#39;&gt;&amp;&quot; \u{fffd}");
        assert_eq!(label("a\\\"\n"), "a\\\\\\\" ");
        assert_eq!(tap("a # TODO \\"), "a \\# TODO \\\\");
        assert_eq!(plain("k3s|$(x) `y` <z> (é) a-b_c:1/2"), "k3s??(x) ?y? ?z? (é) a-b_c:1/2");
        assert_eq!(markdown("*a* [b](c) @d #1 e.f"), "\\*a\\* \\[b\\](c) @\u{200b}d #\u{200b}1 e\\.f");
        for (text, code) in [("a", "`a`"), ("a`b", "``a`b``"), ("``", "``` `` ```"), (" ", "`(empty)`")] {
            assert_eq!(markdown_code(text), code);
        }
        assert_eq!((short("äöü", 3), short("äöü", 2)), ("äöü".to_owned(), "äö...".to_owned()));
    }

    proptest! {
        #[test]
        fn nothing_gets_out_and_nothing_is_lost(
            text in "(\\PC|[\\x00-\\x7f\u{80}-\u{9f}\u{2028}\u{202e}])*",
        ) {
            let shown = printable(&text);
            let escaped = markup(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            let back = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
            prop_assert_eq!(&back.iter().fold(escaped, |t, (entity, c)| t.replace(entity, c)), &shown);
            prop_assert_eq!(&unescaped(&label(&text)), &shown);
            prop_assert_eq!(&unescaped(&tap(&text)), &shown);
            prop_assert_eq!(&unescaped(&markdown(&text)).replace('\u{200b}', ""), &shown);
            let code = markdown_code(&text);
            let fence = code.chars().take_while(|c| *c == '`').count();
            prop_assert_eq!(backticks(&code), fence);
            let inside = code.trim_matches('`').trim();
            prop_assert!(inside == shown.trim() || shown.trim().is_empty() || shown.contains('`'));
            prop_assert!(!plain(&text).contains(['|', '\n', '`', '$', '<', '&', ';', '"', '\\']));
        }
    }
}
