//! What a script of U-Boot puts together as `bootargs` (`common/cli_hush.c`). It is not run: what depends on
//! the board, such as a partition's UUID, is not known, and the words that hold it are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use super::Environment;
use super::commands::{Branch, Command, Condition, DEPTH, commands};
use crate::facts::Source;
use crate::facts::boot::{Doubt, line};
use crate::facts::kernel_cmdline::{KernelCmdline, Parameter, split_word};
use crate::host::Fact;

/// The variable that becomes the kernel's command line.
const BOOTARGS: &str = "bootargs";
/// Where a script loads a text from that a person edits: `armbianEnv.txt`, `orangepiEnv.txt`, `uEnv.txt`.
const TEXT_NAME: &str = "Env.txt";
/// More ways through a script are not gone.
const WAYS: usize = 16;
/// What does not change a variable that it names.
const HARMLESS: [&str; 6] = ["echo", "fdt", "itest", "print", "printenv", "test"];
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
    /// Where conditions that nobody can tell here bear on the words.
    pub(in crate::facts::boot) doubt: Option<Doubt>,
    /// The `if` that bear on them, with the line of the last `setenv bootargs` in one.
    conditions: BTreeSet<usize>,
    condition_line: u32,
    /// A line that does something to `bootargs` that is not known.
    unclear: Option<u32>,
}

/// A variable whose value is known, and where it stands.
#[derive(Clone)]
struct Known {
    text: String,
    path: Rc<str>,
    line: u32,
}

/// Goes through a script; what it loads and asks for is looked for beside it.
///
/// # Errors
/// When what it loads cannot be read, or it does not end as it must.
pub(in crate::facts::boot) fn run(
    source: &Source,
    load: impl Fn(&str) -> Fact<Option<Rc<Source>>>,
    exists: impl Fn(&str) -> Fact<bool>,
) -> Fact<Result<Assembled, String>> {
    let commands = match commands(source.text()) {
        Ok(commands) => commands,
        Err(why) => return Ok(Err(why)),
    };
    let sets_bootargs =
        |command: &&Command| setting(source.text(), command).is_some_and(|set| set.name == BOOTARGS);
    if commands.all.iter().filter(sets_bootargs).count() > SETTINGS {
        return Ok(Err("bootargs are set more often than anybody does".to_owned()));
    }
    let texts = names_of_texts(source.text(), &commands.all);
    let mut loaded = Vec::new();
    for name in &texts {
        loaded.extend(load(name)?);
    }
    let mut files = BTreeMap::new();
    for (_, condition) in commands.all.iter().flat_map(|command| &command.conditions) {
        if let Condition::File { name, .. } = condition
            && files.len() < DEPTH
            && !files.contains_key(name)
            && let Ok(exists) = exists(name)
        {
            files.insert(name.clone(), exists);
        }
    }
    let walk = |way: &BTreeMap<usize, usize>| {
        let mut run = Run {
            source,
            out: Assembled { texts: texts.clone(), ..Assembled::default() },
            variables: BTreeMap::new(),
            branches: BTreeSet::new(),
            has_imported: false,
            files: &files,
            way,
            taken: BTreeMap::new(),
        };
        run.all(&commands.all, &loaded);
        run.out
    };
    let mut out = walk(&BTreeMap::new());
    if let Some(line) = out.unclear {
        let why = format!("what line {line} of {} does to bootargs cannot be told", source.path());
        out.doubt = Some(Doubt { why, or: Vec::new() });
        return Ok(Ok(out));
    }
    if out.conditions.is_empty() || !out.sets_bootargs {
        return Ok(Ok(out));
    }
    let mut ways = vec![BTreeMap::new()];
    for group in &out.conditions {
        let arms = commands.arms.get(*group).copied().unwrap_or_default();
        // Without an `else` there is a way past all arms, too.
        let arms = 0..arms.count + usize::from(!arms.has_else);
        let with = |arm: usize| {
            ways.iter().map(move |way: &BTreeMap<usize, usize>| {
                way.iter().map(|(group, arm)| (*group, *arm)).chain([(*group, arm)]).collect()
            })
        };
        ways = arms.take(WAYS + 1).flat_map(with).take(WAYS + 1).collect();
    }
    let results: Vec<Assembled> = ways.iter().take(WAYS).map(walk).collect();
    let is_known = ways.len() <= WAYS
        && results.iter().all(|result| {
            let left = result.conditions.iter().any(|group| !out.conditions.contains(group));
            result.sets_bootargs && result.unclear.is_none() && !left
        });
    // What was put together without a way to go by may be what no way leads to.
    if is_known && !results.iter().any(|result| is_same(&result.words, &out.words)) {
        let named = results.iter().find(|result| result.takes == out.takes);
        if let Some(first) = named.or(results.first()) {
            out.words = first.words.clone();
        }
    }
    let mut or: Vec<KernelCmdline> = Vec::new();
    for result in results {
        if !std::iter::once(&out.words).chain(&or).any(|known| is_same(known, &result.words)) {
            or.push(result.words);
        }
    }
    if !is_known || !or.is_empty() {
        let (line, path) = (out.condition_line, source.path());
        let why = format!("line {line} of {path} sets bootargs under a condition that cannot be told");
        out.doubt = Some(Doubt { why, or: if is_known { or } else { Vec::new() } });
    }
    Ok(Ok(out))
}

fn is_same(one: &KernelCmdline, other: &KernelCmdline) -> bool {
    let words = |all: &KernelCmdline| -> Vec<(String, Option<String>, bool)> {
        all.parameters.iter().map(|word| (word.name.clone(), word.value.clone(), word.for_init)).collect()
    };
    words(one) == words(other)
}

/// The texts that commands name.
fn names_of_texts(text: &str, commands: &[Command]) -> Vec<String> {
    let mut texts = Vec::new();
    for command in commands {
        let command = text.get(command.range.clone()).unwrap_or_default();
        for (at, _) in command.match_indices(TEXT_NAME) {
            let before = command.get(..at).unwrap_or_default();
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            let stem = before.trim_end_matches(is_name).len();
            let name = format!("{}{TEXT_NAME}", before.get(stem..).unwrap_or_default());
            if texts.len() < DEPTH && !texts.contains(&name) {
                texts.push(name);
            }
        }
    }
    texts
}

/// The one `setenv bootargs` of a script, on which nothing bears.
///
/// # Errors
/// Why there is none, as a clause.
pub(in crate::facts::boot) fn only_bootargs(text: &str) -> Result<Set, String> {
    let mut found: Option<Set> = None;
    for command in commands(text)?.all {
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
    branches: BTreeSet<Branch>,
    has_imported: bool,
    /// Whether files are there that conditions ask for.
    files: &'s BTreeMap<String, bool>,
    /// Which arm is taken of an `if` that cannot be told.
    way: &'s BTreeMap<usize, usize>,
    /// Which arm was found to be taken.
    taken: BTreeMap<usize, usize>,
}

impl Run<'_> {
    fn all(&mut self, commands: &[Command], loaded: &[Rc<Source>]) {
        for command in commands {
            let Some(unknown) = self.unknown(&command.conditions) else { continue };
            let text = self.source.text().get(command.range.clone()).unwrap_or_default();
            let set = setting(self.source.text(), command);
            if set.is_none() && changes_bootargs(text) {
                self.out.unclear = Some(command.line);
            }
            if is_import(text) {
                self.has_imported = true;
                loaded.iter().for_each(|text| self.import(text, command.line));
            } else if let Some(set) = set {
                self.set(&set, unknown);
            } else {
                self.forget(text);
            }
        }
    }

    /// The branches of which nobody can tell here whether they are taken; `None` where one is not.
    fn unknown(&mut self, conditions: &[(Branch, Condition)]) -> Option<BTreeSet<Branch>> {
        let mut unknown = BTreeSet::new();
        for (branch, condition) in conditions {
            let (group, arm) = branch;
            let known = match (self.taken.get(group), condition) {
                (Some(taken), _) => Some(taken == arm),
                (None, Condition::Is { name, value, holds }) => {
                    let known = self.variables.get(name).and_then(Option::as_ref);
                    known.map(|known| (known.text == *value) == *holds)
                }
                (None, Condition::File { name, holds }) => self.files.get(name).map(|exists| exists == holds),
                (None, Condition::Unknown) => None,
            };
            match known.or_else(|| self.way.get(group).map(|taken| taken == arm)) {
                Some(false) => return None,
                Some(true) => {
                    self.taken.insert(*group, *arm);
                }
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

    fn import(&mut self, text: &Source, line: u32) {
        for (name, variable) in Environment::parse(text.text()).all() {
            let known = Known { text: variable.value.clone(), path: text.path().into(), line: variable.line };
            self.variables.insert(name.to_owned(), Some(known));
            if name == BOOTARGS {
                self.out.unclear = Some(line);
            }
        }
    }

    fn set(&mut self, set: &Set, unknown: BTreeSet<Branch>) {
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
    fn set_bootargs(&mut self, value: &str, line: u32, unknown: BTreeSet<Branch>) {
        self.out.conditions.extend(unknown.iter().map(|(group, _)| *group));
        if !unknown.is_empty() {
            self.out.condition_line = line;
        }
        let takes: BTreeSet<String> = names_in(value).map(str::to_owned).collect();
        let adds = takes.contains(BOOTARGS);
        if adds && !unknown.is_subset(&self.branches) {
            return;
        }
        if !adds {
            if unknown.is_empty() {
                self.out.unclear = None;
                self.out.conditions.clear();
            }
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

/// `env delete bootargs`, `setenv -f bootargs`, and whatever else names the variable.
fn changes_bootargs(command: &str) -> bool {
    let mut words = command.split_whitespace();
    let first = words.next().unwrap_or_default();
    let is_harmless = HARMLESS.contains(&first)
        || first == "env" && words.clone().next().is_some_and(|word| matches!(word, "print" | "exists"));
    !is_harmless && words.any(|word| word.trim_matches(['"', '\'']) == BOOTARGS)
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
    if name.starts_with('-') {
        return None;
    }
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
