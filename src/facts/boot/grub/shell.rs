//! What a shell makes of `/etc/default/grub`, as far as it can be told without one: assignments.

use std::ops::Range;

/// One assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) name: String,
    /// From 1.
    pub(super) line: u32,
    /// Where the value stands, with its quotes.
    pub(super) value: Range<usize>,
    pub(super) parts: Vec<Part>,
    pub(super) shape: Shape,
}

/// A part of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Variable(String),
    /// What only a shell can tell, such as what a command prints.
    Unknown,
}

/// How a value is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Bare,
    /// All of it in one pair of these.
    Quoted(char),
    /// In pieces, of which the last is in double quotes, or not.
    Pieces {
        ends_double: bool,
    },
}

/// A file of assignments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) assignments: Vec<Assignment>,
    /// The first line that is more than assignments; what stands below it is not read.
    pub(super) more: Option<u32>,
}

/// Reads a file.
pub(super) fn parse(text: &str) -> Script {
    let mut reader = Reader { text, at: 0, line: 1 };
    let mut script = Script::default();
    while reader.at < text.len() {
        let line = reader.line;
        match reader.statement() {
            Some(assignments) => script.assignments.extend(assignments),
            None => {
                script.more = Some(line);
                break;
            }
        }
    }
    script
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    line: u32,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        self.line = self.line.saturating_add(u32::from(c == '\n'));
        Some(c)
    }

    fn eat(&mut self, text: &str) -> bool {
        let is_there = self.rest().starts_with(text);
        if is_there {
            for _ in text.chars() {
                self.next();
            }
        }
        is_there
    }

    fn blanks(&mut self) {
        while self.eat("\\\n") || matches!(self.peek(), Some(' ' | '\t')) && self.next().is_some() {}
    }

    fn name(&mut self) -> Option<String> {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = rest.get(..end)?.to_owned();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.at += end;
        Some(name)
    }

    /// Up to the end of a line or `;`. `None` for what is no assignment.
    fn statement(&mut self) -> Option<Vec<Assignment>> {
        let mut assignments = Vec::new();
        let mut exporting = false;
        let mut unsetting = false;
        loop {
            self.blanks();
            match self.peek() {
                None => break,
                Some('\n') => {
                    self.next();
                    break;
                }
                // An empty command between two of these is an error.
                Some(';') if !assignments.is_empty() || exporting || unsetting => {
                    self.next();
                    break;
                }
                Some('#') => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.next();
                    }
                    continue;
                }
                Some(_) => {}
            }
            let line = self.line;
            let name = self.name()?;
            if unsetting {
                self.at_end_of_word()?;
                let value = self.at..self.at;
                assignments.push(Assignment {
                    name,
                    line,
                    value,
                    parts: Vec::new(),
                    shape: Shape::Pieces { ends_double: false },
                });
            } else if self.eat("=") {
                let start = self.at;
                let (mut parts, shape) = self.value()?;
                // The words of a command are split where those of an assignment are not.
                if exporting && parts.iter().any(|part| matches!(part, Part::Variable(_))) {
                    parts = vec![Part::Unknown];
                }
                assignments.push(Assignment { name, line, value: start..self.at, parts, shape });
            } else {
                self.at_end_of_word()?;
                match name.as_str() {
                    "export" if assignments.is_empty() && !exporting => exporting = true,
                    "unset" if assignments.is_empty() && !exporting => unsetting = true,
                    _ if exporting => {}
                    _ => return None,
                }
            }
        }
        Some(assignments)
    }

    fn at_end_of_word(&self) -> Option<()> {
        self.peek().is_none_or(|c| matches!(c, ' ' | '\t' | '\n' | ';')).then_some(())
    }

    fn value(&mut self) -> Option<(Vec<Part>, Shape)> {
        let mut parts = Vec::new();
        let mut pieces = 0;
        let mut bare = false;
        let mut last = None;
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\n' | ';' => break,
                '&' | '|' | '<' | '>' | '(' | ')' => return None,
                '\'' => {
                    self.next();
                    let end = self.rest().find('\'')?;
                    let text = self.rest().get(..end)?.to_owned();
                    self.eat(&text);
                    self.next();
                    parts.push(Part::Text(text));
                }
                '"' => {
                    self.next();
                    self.double_quoted(&mut parts)?;
                }
                c => {
                    self.unquoted(c, &mut parts)?;
                    pieces += usize::from(!bare);
                    bare = true;
                    last = None;
                    continue;
                }
            }
            pieces += 1;
            bare = false;
            last = Some(c);
        }
        let shape = match (pieces, last) {
            (0, _) => Shape::Bare,
            (1, Some(quote)) => Shape::Quoted(quote),
            (1, None) if parts.iter().all(|part| matches!(part, Part::Text(_))) => Shape::Bare,
            (_, last) => Shape::Pieces { ends_double: last == Some('"') },
        };
        Some((parts, shape))
    }

    fn unquoted(&mut self, c: char, parts: &mut Vec<Part>) -> Option<()> {
        self.next();
        match c {
            '\\' => match self.next() {
                Some('\n') => {}
                Some(c) => push(parts, c),
                None => push(parts, '\\'),
            },
            '$' => self.dollar(parts, false)?,
            '`' => self.backticks(parts)?,
            '~' => parts.push(Part::Unknown),
            c => push(parts, c),
        }
        Some(())
    }

    fn double_quoted(&mut self, parts: &mut Vec<Part>) -> Option<()> {
        parts.push(Part::Text(String::new()));
        loop {
            match self.next()? {
                '"' => return Some(()),
                '\\' => match self.next()? {
                    '\n' => {}
                    c @ ('$' | '`' | '"' | '\\') => push(parts, c),
                    c => {
                        push(parts, '\\');
                        push(parts, c);
                    }
                },
                '$' => self.dollar(parts, true)?,
                '`' => self.backticks(parts)?,
                c => push(parts, c),
            }
        }
    }

    /// What stands after `$`.
    fn dollar(&mut self, parts: &mut Vec<Part>, quoted: bool) -> Option<()> {
        if let Some(name) = self.name() {
            parts.push(Part::Variable(name));
            return Some(());
        }
        match self.peek() {
            Some('(') => {
                self.nested()?;
                parts.push(Part::Unknown);
            }
            Some('{') => {
                let start = self.at;
                self.next();
                match self.name() {
                    Some(name) if self.eat("}") => parts.push(Part::Variable(name)),
                    _ => {
                        self.at = start;
                        self.nested()?;
                        parts.push(Part::Unknown);
                    }
                }
            }
            Some('\'' | '"') if !quoted => parts.push(Part::Unknown),
            Some(c) if c.is_ascii_digit() || matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!') => {
                self.next();
                parts.push(Part::Unknown);
            }
            _ => push(parts, '$'),
        }
        Some(())
    }

    fn backticks(&mut self, parts: &mut Vec<Part>) -> Option<()> {
        loop {
            match self.next()? {
                '`' => break,
                '\\' => {
                    self.next()?;
                }
                _ => {}
            }
        }
        parts.push(Part::Unknown);
        Some(())
    }

    /// Over a `(...)` or `{...}` with all that is in it. Comments and `case` would need a shell.
    fn nested(&mut self) -> Option<()> {
        let start = self.at;
        let mut open: Vec<char> = Vec::new();
        loop {
            let c = self.next()?;
            match (open.last(), c) {
                (Some('\''), '\'')
                | (Some('"'), '"')
                | (Some('`'), '`')
                | (Some('('), ')')
                | (Some('{'), '}') => {
                    open.pop();
                }
                (Some('\''), _) => {}
                (_, '\\') => {
                    self.next()?;
                }
                (Some('"'), '$') => {
                    if let Some(c @ ('(' | '{')) = self.peek() {
                        self.next();
                        open.push(c);
                    }
                }
                (Some('"'), '`') => open.push(c),
                (Some('"'), _) => {}
                (_, '\'' | '"' | '`' | '(' | '{') => open.push(c),
                _ => {}
            }
            if open.is_empty() {
                break;
            }
        }
        let inside = self.text.get(start..self.at)?;
        (!inside.contains('#') && !inside.contains("case") && !inside.contains("<<")).then_some(())
    }
}

fn push(parts: &mut Vec<Part>, c: char) {
    match parts.last_mut() {
        Some(Part::Text(text)) => text.push(c),
        _ => parts.push(Part::Text(c.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> (Vec<Part>, Shape) {
        let script = parse(&format!("A={text}\n"));
        assert_eq!((script.assignments.len(), script.more), (1, None), "{text}");
        (script.assignments[0].parts.clone(), script.assignments[0].shape)
    }

    #[test]
    fn values_are_read_as_a_shell_reads_them() {
        let text = |text: &str| Part::Text(text.to_owned());
        for (value, parts, shape) in [
            ("", vec![], Shape::Bare),
            ("quiet", vec![text("quiet")], Shape::Bare),
            ("\"\"", vec![text("")], Shape::Quoted('"')),
            (r#""a \"b\" \$c \d""#, vec![text(r#"a "b" $c \d"#)], Shape::Quoted('"')),
            (r"'a $b \c'", vec![text(r"a $b \c")], Shape::Quoted('\'')),
            ("a\\ b", vec![text("a b")], Shape::Bare),
            ("a\" b\"", vec![text("a"), text(" b")], Shape::Pieces { ends_double: true }),
            ("\"a b\"c", vec![text("a bc")], Shape::Pieces { ends_double: false }),
            ("\"a \\\n b\"", vec![text("a  b")], Shape::Quoted('"')),
            ("a # b", vec![text("a")], Shape::Bare),
            ("a#b", vec![text("a#b")], Shape::Bare),
        ] {
            assert_eq!(one(value), (parts, shape), "{value}");
        }
        assert_eq!(
            one("\"$GRUB_X ${GRUB_Y} z\"").0,
            [
                text(""),
                Part::Variable("GRUB_X".to_owned()),
                text(" "),
                Part::Variable("GRUB_Y".to_owned()),
                text(" z")
            ]
        );
        // Debian, Ubuntu and Fedora.
        for distributor in [
            "`lsb_release -i -s 2> /dev/null || echo Debian`",
            "`( . /etc/os-release; echo ${NAME:-Ubuntu} ) 2>/dev/null || echo Ubuntu`",
            "\"$(sed 's, release .*$,,g' /etc/system-release)\"",
        ] {
            assert!(one(distributor).0.contains(&Part::Unknown), "{distributor}");
        }
    }

    #[test]
    fn what_is_more_than_an_assignment_is_named() {
        for (text, assignments, more) in [
            ("A=1\nif true; then A=2; fi\n", 1, Some(2)),
            ("A=1 cmd\n", 0, Some(1)),
            ("A=\"1\n", 0, Some(1)),
            ("A+=1\n", 0, Some(1)),
            ("A=1; B=2\nexport A B=3\nunset B\n", 4, None),
            ("A=1 && B=2\n", 0, Some(1)),
            (". /etc/x\n", 0, Some(1)),
            ("A=$(case x in x) echo;; esac)\n", 0, Some(1)),
            ("\n\n# c\n\tA=1 # c\n", 1, None),
            ("unset A B=1\n", 0, Some(1)),
        ] {
            let script = parse(text);
            assert_eq!((script.assignments.len(), script.more), (assignments, more), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)([A_=$`'\"\\\\(){}# ;é\n]|export |unset |.){0,30}") {
            for assignment in parse(&text).assignments {
                prop_assert!(text.get(assignment.value).is_some());
            }
        }
    }
}
