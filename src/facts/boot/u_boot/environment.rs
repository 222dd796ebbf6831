//! A text that U-Boot imports with `env import -t` (`himport_r()` in `lib/hashtable.c`).

use std::ops::Range;

/// One assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::facts::boot) struct Variable {
    name: String,
    /// The value, without what backslashes do; empty where the variable is deleted.
    pub(in crate::facts::boot) value: String,
    /// The line, from 1.
    pub(in crate::facts::boot) line: u32,
    /// Where the value stands in the text, as written.
    pub(super) range: Range<usize>,
}

/// All assignments, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::facts::boot) struct Environment(Vec<Variable>);

impl Environment {
    pub(in crate::facts::boot) fn parse(text: &str) -> Environment {
        let mut variables = Vec::new();
        let mut at = 0;
        for (line, whole) in (1..).zip(text.split_inclusive('\n')) {
            let bare = whole.strip_suffix('\n').unwrap_or(whole);
            let start = bare.trim_start_matches([' ', '\t']);
            if let Some((name, value)) = start.split_once('=')
                && !start.starts_with('#')
                && !name.is_empty()
            {
                let end = at + bare.len();
                let range = end - value.len()..end;
                variables.push(Variable { name: name.to_owned(), value: unescaped(value), line, range });
            }
            at += whole.len();
        }
        Environment(variables)
    }

    /// The assignment that counts.
    pub(in crate::facts::boot) fn last(&self, name: &str) -> Option<&Variable> {
        self.0.iter().rev().find(|variable| variable.name == name)
    }

    /// The ones that a later one replaces.
    pub(in crate::facts::boot) fn replaced(&self, name: &str) -> impl Iterator<Item = &Variable> {
        let last = self.last(name).map(|variable| variable.line);
        self.0.iter().filter(move |variable| variable.name == name && Some(variable.line) != last)
    }

    /// Each variable as it counts.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Variable)> {
        self.0.iter().map(|variable| (variable.name.as_str(), variable))
    }
}

fn unescaped(value: &str) -> String {
    let mut out = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}
