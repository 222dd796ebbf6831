//! `/etc/default/grub` and `/etc/default/grub.d/*.cfg`: what `grub-mkconfig` makes entries of.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::shell::{self, Assignment, Part, Shape};
use crate::facts::Source;
use crate::facts::boot::bls::next_words;
use crate::facts::boot::edits::{Edit, closed, words, writable};
use crate::facts::kernel_cmdline::KernelCmdline;

/// The words of all entries, and those that entries for recovery do not get. They are passed in
/// this order (GRUB, `util/grub.d/10_linux.in`, `linux_entry()`).
const LINUX: &str = "GRUB_CMDLINE_LINUX";
const DEFAULT: &str = "GRUB_CMDLINE_LINUX_DEFAULT";
/// The longest value that is worked out, in bytes: the kernel takes 4096 at most on common
/// machines.
const VALUE_LIMIT: usize = 16 << 10;
/// What the shell makes something of when it reads the file, or GRUB when it reads `grub.cfg`: the words
/// stand there without quotes.
const SPECIAL: &str = ";{}&|<>$`\\\"'*";
/// How many assignments of one variable are looked at for a word to take out.
const CHANGES_LIMIT: usize = 16;

/// The files in the order in which they are read, and which of them is edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    files: Vec<Rc<Source>>,
    own: usize,
}

/// What the files set one of the two variables to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Value {
    text: String,
    /// The file among all, and the assignment among its own; `None` where it is not set.
    at: Option<(usize, Assignment)>,
}

impl Defaults {
    /// The file that is edited is the one that has the last word on [`LINUX`], else the first of
    /// all.
    ///
    /// # Errors
    /// What stands in the way of telling the values, as a clause.
    pub(super) fn new(files: Vec<Rc<Source>>) -> Result<Defaults, String> {
        let mut defaults = Defaults { files, own: 0 };
        let own = defaults.own_text().to_owned();
        let [linux, _] = defaults.values(&own)?;
        defaults.own = linux.at.map_or(0, |(file, _)| file);
        Ok(defaults)
    }

    pub(super) fn path(&self) -> &str {
        self.files.get(self.own).map(|file| file.path()).unwrap_or_default()
    }

    fn own_text(&self) -> &str {
        self.files.get(self.own).map(|file| file.text()).unwrap_or_default()
    }

    /// The words that entries for normal boots get.
    ///
    /// # Errors
    /// As [`Defaults::new`].
    pub(super) fn words(&self) -> Result<KernelCmdline, String> {
        Ok(self.both(&self.values(self.own_text())?))
    }

    fn both(&self, values: &[Value; 2]) -> KernelCmdline {
        let mut for_init = false;
        let words = |value: &Value| {
            let Some((file, assignment)) = &value.at else { return Vec::new() };
            let path = self.files.get(*file).map(|file| file.path()).unwrap_or_default();
            next_words(path, assignment.line, &value.text, &mut for_init)
        };
        KernelCmdline { parameters: values.iter().flat_map(words).collect() }
    }

    /// [`LINUX`] and [`DEFAULT`], with this text in the file that is edited.
    fn values(&self, own: &str) -> Result<[Value; 2], String> {
        let mut known: BTreeMap<String, Option<String>> = BTreeMap::new();
        let mut at: BTreeMap<String, (usize, Assignment)> = BTreeMap::new();
        for (index, file) in self.files.iter().enumerate() {
            let text = if index == self.own { own } else { file.text() };
            let script = shell::parse(text);
            if let Some(line) = script.more {
                return Err(format!("{}:{line} is more than an assignment", file.path()));
            }
            for assignment in script.assignments {
                known.insert(assignment.name.clone(), evaluate(&assignment.parts, &known));
                at.insert(assignment.name.clone(), (index, assignment));
            }
        }
        let mut value = |name: &str| match (known.remove(name), at.remove(name)) {
            (Some(Some(text)), at) => Ok(Value { text, at }),
            (Some(None), Some((file, assignment))) => Err(format!(
                "what {}:{} sets {name} to is known to a shell only",
                self.files.get(file).map(|file| file.path()).unwrap_or_default(),
                assignment.line
            )),
            _ => Ok(Value::default()),
        };
        Ok([value(LINUX)?, value(DEFAULT)?])
    }

    /// The text of the file with a change.
    pub(in crate::facts::boot) fn edit(&self, text: &str, edit: Edit<'_>) -> Result<String, String> {
        writable(edit, SPECIAL)?;
        match edit {
            Edit::Last(word) => self.add(text, word),
            Edit::Without(_) => self.take_out(text, edit),
        }
    }

    fn add(&self, text: &str, word: &str) -> Result<String, String> {
        let values = self.values(text)?;
        if passes(&self.both(&values), word) {
            return Ok(text.to_owned());
        }
        let [linux, default] = &values;
        let edit = Edit::Last(word);
        let with = parse(&format!("{} {}", words(&linux.text, edit), default.text));
        // What is in the second variable is passed later, and can undo it.
        let (index, name) = if passes(&with, word) { (0, LINUX) } else { (1, DEFAULT) };
        let edited = match &values[index].at {
            None => append(text, name, word),
            Some((file, assignment)) if *file == self.own => change(text, assignment, edit)?,
            Some((file, assignment)) => {
                let path = self.files.get(*file).map(|file| file.path()).unwrap_or_default();
                let other = self.path();
                let line = assignment.line;
                return Err(format!("{path}:{line} undoes {word}, and has to be changed beside {other}"));
            }
        };
        let now = self.values(&edited)?;
        let wanted = tokens(&words(&values[index].text, edit));
        if tokens(&now[index].text) == wanted && passes(&self.both(&now), word) {
            return Ok(edited);
        }
        Err(unclear(&values[index], name))
    }

    fn take_out(&self, text: &str, edit: Edit<'_>) -> Result<String, String> {
        let before = self.values(text)?;
        let wanted = before.each_ref().map(|value| tokens(&words(&value.text, edit)));
        let mut edited = text.to_owned();
        for (index, name) in [LINUX, DEFAULT].into_iter().enumerate() {
            // A value can take in the one before it: `NAME="$NAME more"`.
            let count = shell::parse(&edited).assignments.iter().filter(|one| one.name == name).count();
            for nth in (0..count).rev().take(CHANGES_LIMIT) {
                if tokens(&self.values(&edited)?[index].text) == wanted[index] {
                    break;
                }
                let all = shell::parse(&edited).assignments;
                let Some(assignment) = all.iter().filter(|one| one.name == name).nth(nth) else { break };
                edited = change(&edited, assignment, edit)?;
            }
        }
        let after = self.values(&edited)?;
        for (index, name) in [LINUX, DEFAULT].into_iter().enumerate() {
            if tokens(&after[index].text) == wanted[index] {
                continue;
            }
            return Err(match &before[index].at {
                Some((file, assignment)) if *file != self.own => {
                    let path = self.files.get(*file).map(|file| file.path()).unwrap_or_default();
                    format!("it is set in {path}:{}, not in {}", assignment.line, self.path())
                }
                _ => unclear(&before[index], name),
            });
        }
        Ok(edited)
    }
}

fn unclear(value: &Value, name: &str) -> String {
    match &value.at {
        Some((_, assignment)) => format!("{name} in line {} is put together of pieces", assignment.line),
        None => format!("{name} cannot be set below what is there"),
    }
}

/// A value; `None` where a shell would have to tell. A name of GRUB that is not set is empty.
fn evaluate(parts: &[Part], known: &BTreeMap<String, Option<String>>) -> Option<String> {
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Variable(name) => match known.get(name) {
                Some(value) => out.push_str(value.as_deref()?),
                None if name.starts_with("GRUB_") => {}
                None => return None,
            },
            Part::Unknown => return None,
        }
        if out.len() > VALUE_LIMIT {
            return None;
        }
    }
    Some(out)
}

fn parse(text: &str) -> KernelCmdline {
    KernelCmdline::parse(&Source::new("", text))
}

fn passes(words: &KernelCmdline, word: &str) -> bool {
    words.deciding(word).is_some_and(|last| last.is(word))
}

/// The words, without what is between them.
fn tokens(text: &str) -> Vec<String> {
    parse(text)
        .parameters
        .into_iter()
        .map(|word| format!("{:?}{:?}{}", word.name, word.value, word.for_init))
        .collect()
}

fn append(text: &str, name: &str, word: &str) -> String {
    let eol = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{eol}{name}=\"{word}\"\n")
}

/// The text with a change of what one assignment says.
fn change(text: &str, assignment: &Assignment, edit: Edit<'_>) -> Result<String, String> {
    let pieces = || format!("{} in line {} is put together of pieces", assignment.name, assignment.line);
    let value = text.get(assignment.value.clone()).unwrap_or_default();
    let edited = match assignment.shape {
        Shape::Quoted(quote) => {
            let content =
                value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote)).unwrap_or_default();
            closed(assignment.line, content)?;
            format!("{quote}{}{quote}", words(content, edit))
        }
        Shape::Bare => {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-=,.:/@%+".contains(c);
            if !value.chars().all(is_plain) {
                return Err(pieces());
            }
            let edited = words(value, edit);
            if edited == value { edited } else { format!("\"{edited}\"") }
        }
        Shape::Pieces { ends_double: true } => match (edit, value.strip_suffix('"')) {
            (Edit::Last(word), Some(value)) => format!("{value} {word}\""),
            _ => return Err(pieces()),
        },
        Shape::Pieces { .. } => return Err(pieces()),
    };
    let (head, tail) = (text.get(..assignment.value.start), text.get(assignment.value.end..));
    Ok(format!("{}{edited}{}", head.unwrap_or_default(), tail.unwrap_or_default()))
}

#[cfg(test)]
#[path = "defaults_tests.rs"]
mod tests;
