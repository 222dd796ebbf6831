//! The commands of a script of U-Boot, and the branches that they stand in (`common/cli_hush.c`).

use std::ops::Range;

/// More than a script has, of commands and of `if` in each other.
const COMMANDS: usize = 4096;
pub(super) const DEPTH: usize = 32;

/// An `if`, by number, and which of its arms, from 0.
pub(super) type Branch = (usize, usize);

/// What an `if` is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arms {
    pub(super) count: usize,
    pub(super) has_else: bool,
}

/// All commands.
pub(super) struct Commands {
    pub(super) all: Vec<Command>,
    /// Of each `if`, by its number.
    pub(super) arms: Vec<Arms>,
}

/// One command and what it depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) range: Range<usize>,
    pub(super) line: u32,
    /// Each with the branch that it opens.
    pub(super) conditions: Vec<(Branch, Condition)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// `test "${name}" = "value"`, or that it is not so.
    Is {
        name: String,
        value: String,
        holds: bool,
    },
    /// `test -e DEVICE NUMBER ${prefix}name`: a file beside the script is there, or is not.
    File {
        name: String,
        holds: bool,
    },
    Unknown,
}

/// An `if`, `while` or `for` that is not closed.
struct Open {
    branch: Branch,
    condition: Condition,
    /// Whether its `then` is to come.
    is_asking: bool,
}

/// All commands, with what they depend on.
pub(super) fn commands(text: &str) -> Result<Commands, String> {
    let mut out = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut arms: Vec<Arms> = Vec::new();
    let begin = |arms: &mut Vec<Arms>| {
        arms.push(Arms { count: 1, has_else: false });
        (arms.len() - 1, 0)
    };
    let more = |arms: &mut Vec<Arms>, (group, _): Branch, is_else: bool| {
        let Some(own) = arms.get_mut(group) else { return (group, 0) };
        own.count += 1;
        own.has_else |= is_else;
        (group, own.count - 1)
    };
    for piece in pieces(text)? {
        let mut range = piece.range.clone();
        let mut is_asked = false;
        loop {
            let rest = text.get(range.clone()).unwrap_or_default();
            let trimmed = rest.trim_start();
            range.start += rest.len() - trimmed.len();
            let word = trimmed.split(char::is_whitespace).next().unwrap_or_default();
            let skip = range.start + word.len();
            match (word, open.last_mut()) {
                ("then" | "do", Some(last)) => last.is_asking = false,
                ("else", Some(last)) => {
                    last.condition.invert();
                    last.branch = more(&mut arms, last.branch, true);
                }
                ("elif", Some(last)) => {
                    let branch = more(&mut arms, last.branch, false);
                    *last = Open { branch, condition: Condition::Unknown, is_asking: true };
                    is_asked = true;
                }
                ("if" | "while" | "until" | "for", _) => {
                    if open.len() >= DEPTH {
                        return Err(format!("too much is nested in line {}", piece.line));
                    }
                    let asked = text.get(skip..range.end).unwrap_or_default();
                    let condition = if word == "if" { Condition::of(asked) } else { Condition::Unknown };
                    open.push(Open { branch: begin(&mut arms), condition, is_asking: true });
                    is_asked = true;
                }
                ("fi" | "done", _) => {
                    open.pop();
                }
                _ => break,
            }
            range.start = skip;
        }
        // A command that follows another makes more of a condition than one test.
        if !is_asked
            && !range.is_empty()
            && let Some(last) = open.last_mut()
            && last.is_asking
        {
            last.condition = Condition::Unknown;
            is_asked = true;
        }
        if range.is_empty() {
            continue;
        }
        if out.len() >= COMMANDS {
            return Err(format!("there are more commands than any script has, up to line {}", piece.line));
        }
        let depth = open.len() - usize::from(is_asked && !open.is_empty());
        let outer = open.iter().take(depth).map(|open| (open.branch, open.condition.clone()));
        let mut conditions: Vec<_> = outer.collect();
        if piece.is_joined {
            conditions.push((begin(&mut arms), Condition::Unknown));
        }
        out.push(Command { range, line: piece.line, conditions });
    }
    Ok(Commands { all: out, arms })
}

impl Condition {
    fn of(asked: &str) -> Condition {
        let words: Vec<&str> = asked.split_whitespace().collect();
        let bare = |word: &str| word.trim_matches(['"', '\'']).to_owned();
        if let ["test", "-e", _, _, path] = words.as_slice() {
            let path = bare(path);
            let name = path
                .strip_prefix("${prefix}")
                .filter(|name| !name.is_empty() && !name.contains(['$', '.', '/']));
            return name
                .map_or(Condition::Unknown, |name| Condition::File { name: name.to_owned(), holds: true });
        }
        let ["test", variable, sign @ ("=" | "!="), value] = words.as_slice() else {
            return Condition::Unknown;
        };
        let variable = bare(variable);
        let Some(name) = variable.strip_prefix("${").and_then(|name| name.strip_suffix('}')) else {
            return Condition::Unknown;
        };
        Condition::Is { name: name.to_owned(), value: bare(value), holds: *sign == "=" }
    }

    fn invert(&mut self) {
        if let Condition::Is { holds, .. } | Condition::File { holds, .. } = self {
            *holds = !*holds;
        }
    }
}

/// What stands between line feeds and semicolons.
struct Piece {
    range: Range<usize>,
    line: u32,
    /// Whether it stands behind `&&` or `||`.
    is_joined: bool,
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut out = Vec::new();
    let (mut start, mut start_line, mut line, mut is_joined) = (0, 1, 1_u32, false);
    let mut quote: Option<(char, u32)> = None;
    let mut before = '\n';
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        line += u32::from(c == '\n');
        match (quote, c) {
            (Some((open, _)), c) if c == open => quote = None,
            (Some(('\'', _)), _) => {}
            (_, '\\') => {
                line += u32::from(chars.next().is_some_and(|(_, c)| c == '\n'));
            }
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some((c, line)),
            (None, '#') if before.is_whitespace() || before == ';' => {
                out.push(Piece { range: start..at, line: start_line, is_joined });
                while chars.next_if(|(_, c)| *c != '\n').is_some() {}
                start = chars.peek().map_or(text.len(), |(at, _)| *at);
                (start_line, is_joined) = (line, false);
            }
            (None, '\n' | ';') => {
                out.push(Piece { range: start..at, line: start_line, is_joined });
                (start, start_line, is_joined) = (at + 1, line, false);
            }
            (None, '&' | '|') if chars.next_if(|(_, next)| *next == c).is_some() => {
                out.push(Piece { range: start..at, line: start_line, is_joined });
                (start, start_line, is_joined) = (at + 2, line, true);
            }
            (None, _) => {}
        }
        before = c;
    }
    if let Some((_, line)) = quote {
        return Err(format!("a quote is not closed in line {line}"));
    }
    out.push(Piece { range: start..text.len(), line: start_line, is_joined });
    Ok(out)
}
