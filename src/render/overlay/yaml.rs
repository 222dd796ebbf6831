//! Texts in YAML 1.1 and 1.2 alike.

/// A text as the value of a key, `indent` being that of the key: a literal block where it is lines
/// that a block keeps as they are, else in double quotes.
pub(super) fn text(value: &str, indent: usize) -> String {
    // YAML 1.1 takes the separators of lines and of paragraphs for ends of lines.
    let printable = |c: char| {
        c == '\n'
            || (' '..='~').contains(&c)
            || ('\u{a1}'..='\u{d7ff}').contains(&c) && !matches!(c, '\u{2028}' | '\u{2029}')
    };
    let is_block = value.ends_with('\n')
        && !value.ends_with("\n\n")
        && !value.starts_with([' ', '\n'])
        && value.chars().all(printable);
    if !is_block {
        return word(value);
    }
    format!("|\n{}", super::script::indented(value, indent + 2)).trim_end_matches('\n').to_owned()
}

/// A text in double quotes (YAML 1.2, "Double-Quoted Style": all escapes of JSON are among its
/// own).
pub(super) fn word(value: &str) -> String {
    let mut quoted = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            ' '..='~' => quoted.push(c),
            c if (c as u32) > 0xffff => quoted.push_str(&format!("\\U{:08x}", c as u32)),
            c => quoted.push_str(&format!("\\u{:04x}", c as u32)),
        }
    }
    quoted + "\""
}
