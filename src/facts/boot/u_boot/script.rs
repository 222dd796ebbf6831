//! What a script of U-Boot puts together as `bootargs` (`common/cli_hush.c`). It is not run: what depends on
//! the board, such as a partition's UUID, is not known, and the words that hold it are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use super::Environment;
use crate::facts::Source;
use crate::facts::boot::line;
use crate::facts::kernel_cmdline::{KernelCmdline, Parameter, split_word};
use crate::host::Fact;

/// The variable that becomes the kernel's command line.
const BOOTARGS: &str = "bootargs";
/// Where a script loads a text from that a person edits: `armbianEnv.txt`, `orangepiEnv.txt`, `uEnv.txt`.
const TEXT_NAME: &str = "Env.txt";
/// More than a script has, of commands and of `if` in each other.
const COMMANDS: usize = 4096;
const DEPTH: usize = 32;
/// More than U-Boot can hold of one variable (`CONFIG_SYS_CBSIZE`), in bytes and in words.
const VALUE_BYTES: usize = 4096;
const WORDS: usize = 4096;
/// How often a script sets `bootargs` at most.
const SETTINGS: usize = 256;

/// A `setenv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::facts::boot) struct Set {
    name: String,
    /// Where the value stands in the text, without quotes around it.
    pub(in crate::facts::boot) range: Range<usize>,
    /// Whether quotes stand around it.
    pub(super) is_quoted: bool,
    /// The line, from 1.
    pub(in crate::facts::boot) line: u32,
}

/// One command and what it depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Command {
    range: Range<usize>,
    line: u32,
    /// Each with the number of the branch that it opens.
    conditions: Vec<(usize, Condition)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    /// `test "${name}" = "value"`, or that it is not so.
    Is {
        name: String,
        value: String,
        holds: bool,
    },
    Unknown,
}

/// What a script puts together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::facts::boot) struct Assembled {
    /// The words that are known, in order.
    pub(in crate::facts::boot) words: KernelCmdline,
    /// Whether a command that was not skipped sets `bootargs`.
    pub(in crate::facts::boot) sets_bootargs: bool,
    /// The variables that are part of it.
    pub(in crate::facts::boot) takes: BTreeSet<String>,
    /// The variables that the script itself sets.
    pub(in crate::facts::boot) sets: BTreeSet<String>,
    /// Those that it can set anew after it has loaded a text.
    pub(in crate::facts::boot) sets_anew: BTreeSet<String>,
    /// The names of the texts that it loads.
    pub(in crate::facts::boot) texts: Vec<String>,
}

/// A variable whose value is known, and where it stands.
#[derive(Clone)]
struct Known {
    text: String,
    path: Rc<str>,
    line: u32,
}

/// Goes through a script; what it loads is looked for beside it.
///
/// # Errors
/// When what it loads cannot be read, or it does not end as it must.
pub(in crate::facts::boot) fn run(
    source: &Source,
    load: impl Fn(&str) -> Fact<Option<Rc<Source>>>,
) -> Fact<Result<Assembled, String>> {
    let commands = match commands(source.text()) {
        Ok(commands) => commands,
        Err(why) => return Ok(Err(why)),
    };
    let (variables, branches) = (BTreeMap::new(), BTreeSet::new());
    let mut run = Run { source, out: Assembled::default(), variables, branches, has_imported: false };
    let text = |command: &Command| source.text().get(command.range.clone()).unwrap_or_default();
    for command in &commands {
        run.name_texts(text(command));
    }
    let mut loaded = Vec::new();
    for name in &run.out.texts {
        loaded.extend(load(name)?);
    }
    let sets_bootargs =
        |command: &&Command| setting(source.text(), command).is_some_and(|set| set.name == BOOTARGS);
    if commands.iter().filter(sets_bootargs).count() > SETTINGS {
        return Ok(Err("bootargs are set more often than anybody does".to_owned()));
    }
    for command in &commands {
        let Some(unknown) = run.unknown(&command.conditions) else { continue };
        if is_import(text(command)) {
            run.has_imported = true;
            loaded.iter().for_each(|text| run.import(text));
        } else if let Some(set) = setting(source.text(), command) {
            run.set(&set, unknown);
        } else {
            run.forget(text(command));
        }
    }
    Ok(Ok(run.out))
}

/// The one `setenv bootargs` of a script, on which nothing bears.
///
/// # Errors
/// Why there is none, as a clause.
pub(in crate::facts::boot) fn only_bootargs(text: &str) -> Result<Set, String> {
    let mut found: Option<Set> = None;
    for command in commands(text)? {
        let Some(set) = setting(text, &command).filter(|set| set.name == BOOTARGS) else { continue };
        if let Some(other) = &found {
            return Err(format!("lines {} and {} both set bootargs", other.line, set.line));
        }
        if set.range.is_empty() && !set.is_quoted {
            return Err(format!("line {} deletes bootargs", set.line));
        }
        if !command.conditions.is_empty() {
            return Err(format!("line {} sets bootargs under a condition", set.line));
        }
        found = Some(set);
    }
    found.ok_or_else(|| "nothing sets bootargs".to_owned())
}

struct Run<'s> {
    source: &'s Source,
    out: Assembled,
    variables: BTreeMap<String, Option<Known>>,
    /// The branches that `bootargs` are set in, of those that nobody can tell here.
    branches: BTreeSet<usize>,
    has_imported: bool,
}

impl Run<'_> {
    fn name_texts(&mut self, command: &str) {
        for (at, _) in command.match_indices(TEXT_NAME) {
            let before = command.get(..at).unwrap_or_default();
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            let stem = before.trim_end_matches(is_name).len();
            let name = format!("{}{TEXT_NAME}", before.get(stem..).unwrap_or_default());
            if self.out.texts.len() < DEPTH && !self.out.texts.contains(&name) {
                self.out.texts.push(name);
            }
        }
    }

    /// The branches of which nobody can tell here whether they are taken; `None` where one is not.
    fn unknown(&self, conditions: &[(usize, Condition)]) -> Option<BTreeSet<usize>> {
        let mut unknown = BTreeSet::new();
        for (branch, condition) in conditions {
            let known = match condition {
                Condition::Unknown => None,
                Condition::Is { name, value, holds } => {
                    let known = self.variables.get(name).and_then(Option::as_ref);
                    known.map(|known| (known.text == *value) == *holds)
                }
            };
            match known {
                Some(false) => return None,
                Some(true) => {}
                None => {
                    unknown.insert(*branch);
                }
            }
        }
        Some(unknown)
    }

    /// A command that names a variable can set it: `part uuid mmc 0:1 partuuid`.
    fn forget(&mut self, command: &str) {
        let mut words = command.split_whitespace();
        if words.next() == Some("echo") {
            return;
        }
        for word in words {
            if let Some(variable) = self.variables.get_mut(word) {
                *variable = None;
            }
        }
    }

    fn import(&mut self, text: &Source) {
        for (name, variable) in Environment::parse(text.text()).all() {
            let known = Known { text: variable.value.clone(), path: text.path().into(), line: variable.line };
            self.variables.insert(name.to_owned(), Some(known));
        }
    }

    fn set(&mut self, set: &Set, unknown: BTreeSet<usize>) {
        let value = self.source.text().get(set.range.clone()).unwrap_or_default();
        if set.name == BOOTARGS {
            return self.set_bootargs(value, set.line, unknown);
        }
        self.out.sets.insert(set.name.clone());
        if self.has_imported {
            self.out.sets_anew.insert(set.name.clone());
        }
        let known = if unknown.is_empty() { self.expanded(value) } else { None };
        let known = known.map(|text| Known { text, path: self.source.path().into(), line: set.line });
        self.variables.insert(set.name.clone(), known);
    }

    /// Of two lines that cannot both run, the one counts that takes what a person writes.
    fn set_bootargs(&mut self, value: &str, line: u32, unknown: BTreeSet<usize>) {
        let takes: BTreeSet<String> = names_in(value).map(str::to_owned).collect();
        let adds = takes.contains(BOOTARGS);
        if adds && !unknown.is_subset(&self.branches) {
            return;
        }
        if !adds {
            if !unknown.is_empty() && self.out.sets_bootargs && !takes.contains("extraargs") {
                return;
            }
            self.branches = unknown;
        }
        let words = self.words(value, line, adds);
        if !adds {
            self.out.takes.clear();
        }
        self.out.takes.extend(takes);
        self.out.sets_bootargs = true;
        self.out.words = KernelCmdline { parameters: words };
    }

    fn words(&self, value: &str, line: u32, adds: bool) -> Vec<Parameter> {
        let mut words: Vec<Parameter> = Vec::new();
        let mut for_init = false;
        let mut rest = value.trim_start();
        while !rest.is_empty() && words.len() < WORDS {
            let (word, after) = split_word(rest);
            rest = after.trim_start();
            let alone = word.strip_prefix("${").and_then(|name| name.strip_suffix('}'));
            let alone = alone.filter(|name| !name.contains('}'));
            let mut these = match alone.map(|name| (name, self.variables.get(name))) {
                Some((BOOTARGS, _)) if adds => self.out.words.clone(),
                Some((_, Some(Some(known)))) => {
                    for_init |= known.text.split_whitespace().any(|word| word == "--");
                    line::words(&known.path, known.line, &known.text)
                }
                Some(_) => continue,
                None => match self.expanded(word) {
                    Some(text) => line::words(self.source.path(), line, &text),
                    None => continue,
                },
            };
            these.parameters.iter_mut().for_each(|word| word.for_init |= for_init);
            for_init |= word == "--";
            words.append(&mut these.parameters);
        }
        words
    }

    /// The text with the values of its variables; `None` where one is not known.
    fn expanded(&self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            let (name, after) = after.strip_prefix('{')?.split_once('}')?;
            out.push_str(before);
            out.push_str(&self.variables.get(name)?.as_ref()?.text);
            if out.len() > VALUE_BYTES {
                return None;
            }
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }
}

/// The variables that a value is made of.
fn names_in(value: &str) -> impl Iterator<Item = &str> {
    value.split("${").skip(1).filter_map(|part| part.split_once('}').map(|(name, _)| name))
}

fn is_import(command: &str) -> bool {
    let mut words = command.split_whitespace();
    words.next() == Some("env") && words.next() == Some("import")
}

/// What follows a word.
fn after<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let rest = text.strip_prefix(word)?;
    rest.starts_with(char::is_whitespace).then(|| rest.trim_start())
}

/// `setenv NAME VALUE`, or `env set NAME VALUE`.
fn setting(text: &str, command: &Command) -> Option<Set> {
    let whole = text.get(command.range.clone())?;
    let rest = after(whole, "setenv").or_else(|| after(after(whole, "env")?, "set"))?;
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (name, value) = rest.split_at(end);
    let value = value.trim();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let inner = quote.and_then(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    let inner = inner.filter(|inner| !inner.contains(['"', '\'']));
    let end = command.range.start + whole.trim_end().len();
    let (end, bare) = match inner {
        Some(inner) => (end - 1, inner),
        None => (end, value),
    };
    let range = end - bare.len()..end;
    Some(Set { name: name.to_owned(), range, is_quoted: inner.is_some(), line: command.line })
}

/// An `if`, `while` or `for` that is not closed.
struct Open {
    branch: usize,
    condition: Condition,
    /// Whether its `then` is to come.
    is_asking: bool,
}

/// All commands, with what they depend on.
fn commands(text: &str) -> Result<Vec<Command>, String> {
    let mut out = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut branches = 0..;
    let mut branch = || branches.next().unwrap_or_default();
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
                    last.branch = branch();
                }
                ("elif", Some(last)) => {
                    *last = Open { branch: branch(), condition: Condition::Unknown, is_asking: true };
                    is_asked = true;
                }
                ("if" | "while" | "until" | "for", _) => {
                    if open.len() >= DEPTH {
                        return Err(format!("too much is nested in line {}", piece.line));
                    }
                    let asked = text.get(skip..range.end).unwrap_or_default();
                    let condition = if word == "if" { Condition::of(asked) } else { Condition::Unknown };
                    open.push(Open { branch: branch(), condition, is_asking: true });
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
            conditions.push((branch(), Condition::Unknown));
        }
        out.push(Command { range, line: piece.line, conditions });
    }
    Ok(out)
}

impl Condition {
    fn of(asked: &str) -> Condition {
        let words: Vec<&str> = asked.split_whitespace().collect();
        let bare = |word: &str| word.trim_matches(['"', '\'']).to_owned();
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
        if let Condition::Is { holds, .. } = self {
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
