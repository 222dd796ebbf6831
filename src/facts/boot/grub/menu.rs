//! Which lines of `grub.cfg` GRUB boots from, without running it: where a condition cannot be told,
//! both ways are taken, and what may be passed is more than one line.

use std::collections::{BTreeMap, BTreeSet};

use super::commands::{BOOTS, boots, boots_linux, is_submenu, names, needs_shell, reads_block, split_path};
use super::script::{Command, Node, Piece, Word};
use super::values::{Environment, Values};
use crate::facts::Source;
use crate::facts::boot::bls::Entry;

/// More conditions than a menu has, outside of its entries.
const CONDITIONS_LIMIT: usize = 4096;
/// Menus in menus.
const MENUS_LIMIT: usize = 8;
/// More lines than are told apart.
const LINES_LIMIT: usize = 64;

/// What GRUB finds beside the file.
pub(super) struct Beside<'f> {
    /// The environment block, `grubenv`.
    pub(super) block: Block,
    /// The entries of the Boot Loader Specification, in the order of the menu.
    pub(super) entries: &'f dyn Fn() -> Result<Vec<Entry>, String>,
    /// `custom.cfg`, which the file of `grub-mkconfig` reads where it is there.
    pub(super) custom: Option<Vec<Node>>,
    /// `user.cfg`, which that of Fedora reads for a password: empty where it is not there, `None` where that
    /// cannot be told.
    pub(super) user: Option<Vec<Node>>,
}

/// What is known of the environment block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block {
    Absent,
    Unread,
    Read(BTreeMap<String, String>),
}

impl Block {
    /// Reads the block (GRUB, `grub-core/lib/envblk.c`): `NAME=VALUE` with `\` before what is not
    /// plain.
    pub(super) fn parse(source: &Source) -> Block {
        let lines = source.text().lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.split_once('='));
        let unescaped = |value: &str| {
            let mut out = String::new();
            let mut chars = value.chars();
            while let Some(c) = chars.next() {
                out.extend(if c == '\\' { chars.next() } else { Some(c) });
            }
            out
        };
        let all: BTreeMap<String, String> =
            pairs.map(|(name, value)| (name.to_owned(), unescaped(value))).collect();
        // SUSE has the rest in blocks of the disk where the file system is Btrfs.
        if all.get("env_block").is_some_and(|blocks| !blocks.is_empty()) {
            Block::Unread
        } else {
            Block::Read(all)
        }
    }
}

/// Words that may be passed, and where they stand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    /// The file where it is another than `grub.cfg`.
    pub(super) path: Option<String>,
    pub(super) line: u32,
    pub(super) words: String,
}

/// What comes of a `grub.cfg`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Menu {
    /// Whether it shows entries of the Boot Loader Specification.
    pub(super) entries: bool,
    /// What may be passed.
    pub(super) lines: Vec<Line>,
    /// Why it may be something else altogether, as a clause.
    pub(super) trouble: Option<String>,
}

/// What a `grub.cfg` boots from.
pub(super) fn read(nodes: &[Node], beside: &Beside<'_>) -> Menu {
    let mut run = Run { beside, items: Vec::new(), conditions: 0, entries: false, trouble: None };
    let mut environment = Environment::new(&beside.block);
    environment.functions(nodes);
    run.all(nodes, &mut environment, true);
    let mut lines = BTreeSet::new();
    let default = environment.get("default");
    if environment.set_by_function("default") {
        run.trouble("a function sets the default entry");
    }
    run.choose(&default, &environment, 0, &mut lines);
    if lines.len() > LINES_LIMIT {
        run.trouble("there are too many entries that may boot");
    }
    Menu { entries: run.entries, lines: lines.into_iter().take(LINES_LIMIT).collect(), trouble: run.trouble }
}

/// What takes a place in the menu.
enum Item<'n> {
    Menu {
        command: &'n Command,
        body: &'n [Node],
        certain: bool,
        title: Option<String>,
        id: Option<String>,
    },
    Entry {
        entry: Entry,
        certain: bool,
    },
    /// Any number of entries, or none.
    Gap,
}

impl Item<'_> {
    fn certain(&self) -> bool {
        match self {
            Item::Menu { certain, .. } | Item::Entry { certain, .. } => *certain,
            Item::Gap => false,
        }
    }

    fn is_called(&self, name: &str) -> bool {
        match self {
            Item::Menu { title, id, .. } => [title, id].into_iter().any(|own| own.as_deref() == Some(name)),
            Item::Entry { entry, .. } => entry.id == name || entry.value("title") == Some(name),
            Item::Gap => false,
        }
    }
}

enum Pick {
    At(usize),
    Unclear,
}

struct Run<'n> {
    beside: &'n Beside<'n>,
    items: Vec<Item<'n>>,
    conditions: usize,
    entries: bool,
    trouble: Option<String>,
}

impl<'n> Run<'n> {
    fn trouble(&mut self, why: &str) {
        self.trouble.get_or_insert_with(|| why.to_owned());
    }

    fn all(&mut self, nodes: &'n [Node], environment: &mut Environment, certain: bool) {
        for node in nodes {
            match node {
                Node::Command(command) => self.command(command, environment, certain),
                Node::If { branches, otherwise } => {
                    self.branches(branches, otherwise.as_deref(), environment, certain);
                }
                Node::Menu { command, body } => {
                    let (title, id) = names(command, environment);
                    self.items.push(Item::Menu { command, body, certain, title, id });
                }
                Node::Function(body) => {
                    if boots(body) {
                        self.trouble("a function boots something, or has entries of its own");
                    }
                }
                Node::Loop(body) => {
                    environment.forget_all_set_in(body);
                    self.items.push(Item::Gap);
                    if boots(body) {
                        self.trouble("what a loop boots cannot be told");
                    }
                }
            }
        }
    }

    fn branches(
        &mut self,
        branches: &'n [(Vec<Node>, Vec<Node>)],
        otherwise: Option<&'n [Node]>,
        environment: &mut Environment,
        certain: bool,
    ) {
        self.conditions += 1;
        if self.conditions > CONDITIONS_LIMIT {
            self.trouble("there are more conditions than a menu has");
            return;
        }
        let mut ends: Vec<Environment> = Vec::new();
        let mut sure = true;
        for (condition, body) in branches {
            environment.forget_what_commands_set(condition);
            if boots(condition) {
                self.trouble("a condition boots something");
            }
            let truth = environment.truth(condition);
            if truth == Some(false) {
                continue;
            }
            sure &= truth == Some(true);
            let mut branch = environment.clone();
            self.all(body, &mut branch, certain && sure);
            ends.push(branch);
            if truth == Some(true) {
                *environment = Environment::join(ends);
                return;
            }
        }
        let mut branch = environment.clone();
        if let Some(body) = otherwise {
            self.all(body, &mut branch, certain && sure);
        }
        ends.push(branch);
        *environment = Environment::join(ends);
    }

    fn command(&mut self, command: &'n Command, environment: &mut Environment, certain: bool) {
        let Some(name) = command.words.first().and_then(Word::literal) else {
            if command.words.first().is_some_and(needs_shell) {
                self.items.push(Item::Gap);
                self.trouble("a variable names a command");
            }
            environment.assign(&command.words);
            return;
        };
        match name {
            "load_env" if reads_block(command) => environment.load(&self.beside.block),
            "load_env" => environment.load(&Block::Unread),
            "blscfg" | "bls_import" => self.entries(command.words.len() == 1 && certain),
            "uki" | "blsuki" => {
                self.items.push(Item::Gap);
                self.trouble("it boots unified kernel images");
            }
            "source"
            | "."
            | "configfile"
            | "normal"
            | "extract_entries_source"
            | "extract_entries_configfile" => {
                self.source(command, environment, certain);
            }
            _ if BOOTS.contains(&name) => self.trouble("it boots something outside of an entry"),
            _ => environment.assign(&command.words),
        }
    }

    fn entries(&mut self, certain: bool) {
        self.entries = true;
        match (self.beside.entries)() {
            Ok(entries) => {
                self.items.extend(entries.into_iter().map(|entry| Item::Entry { entry, certain }));
            }
            Err(why) => {
                self.items.push(Item::Gap);
                self.trouble(&why);
            }
        }
    }

    fn source(&mut self, command: &'n Command, environment: &mut Environment, certain: bool) {
        let expanded = command.words.get(1).map(|word| environment.expand(word));
        let path = expanded.as_ref().and_then(Values::one);
        let last = command.words.get(1).and_then(|word| word.pieces.last());
        let is_called = |name: &str| match (path, last) {
            (Some(path), _) => path.ends_with(name),
            (None, Some(Piece::Text(text))) => text.ends_with(name),
            _ => false,
        };
        let beside = self.beside;
        if is_called("/custom.cfg") {
            return self.all(beside.custom.as_deref().unwrap_or_default(), environment, certain);
        }
        if let (true, Some(nodes)) = (is_called("/user.cfg"), &beside.user) {
            return self.all(nodes, environment, certain);
        }
        self.items.push(Item::Gap);
        if certain {
            self.trouble("it goes on in another file");
        }
    }

    /// The lines of the entries that `default` can stand for.
    fn choose(
        &mut self,
        default: &Values,
        environment: &Environment,
        depth: usize,
        lines: &mut BTreeSet<Line>,
    ) {
        if depth > MENUS_LIMIT {
            return self.trouble("menus are nested too deep");
        }
        if self.items.is_empty() {
            return self.trouble("there is no entry in a menu");
        }
        let Some(names) = default.all() else { return self.any(environment, depth, lines) };
        for name in names {
            let (head, tail) = split_path(name);
            match self.pick(&head) {
                Pick::At(at) => self.take(at, tail.unwrap_or(name), environment, depth, lines),
                Pick::Unclear => self.any(environment, depth, lines),
            }
        }
    }

    /// A name or a number from 0; the first entry where there is no such one (GRUB,
    /// `grub-core/normal/menu.c`, `get_entry_number()` and `run_menu()`).
    fn pick(&self, name: &str) -> Pick {
        if let Some(at) = self.items.iter().position(|item| item.is_called(name)) {
            return if self.items.get(at).is_some_and(Item::certain) { Pick::At(at) } else { Pick::Unclear };
        }
        let gap = self.items.iter().any(|item| !item.certain());
        let is_number = !name.is_empty() && name.bytes().all(|c| c.is_ascii_digit());
        let is_other_number = !is_number && name.starts_with(|c: char| c.is_ascii_digit());
        let number = name.parse().unwrap_or(usize::MAX);
        match (is_number, is_other_number) {
            (true, _) if self.items.iter().take(number.saturating_add(1)).all(Item::certain) => {
                if number < self.items.len() { Pick::At(number) } else { Pick::At(0) }
            }
            (true, _) | (_, true) => Pick::Unclear,
            // An entry of that name may be one that is not seen here.
            _ if !name.is_empty() && gap && self.items.iter().any(|item| matches!(item, Item::Gap)) => {
                Pick::Unclear
            }
            _ if self.items.first().is_some_and(Item::certain) => Pick::At(0),
            _ => Pick::Unclear,
        }
    }

    fn any(&mut self, environment: &Environment, depth: usize, lines: &mut BTreeSet<Line>) {
        if self.items.iter().any(|item| matches!(item, Item::Gap)) {
            self.trouble("which entry boots cannot be told");
        }
        for at in 0..self.items.len() {
            if lines.len() > LINES_LIMIT {
                return;
            }
            self.take_any(at, environment, depth, lines);
        }
    }

    /// A submenu: its own entries, in the environment that it is opened in.
    fn inside(
        &mut self,
        body: &'n [Node],
        environment: &Environment,
        choose: impl FnOnce(&mut Run<'n>, &Environment),
    ) {
        let mut inner = environment.clone();
        let mut run = Run {
            beside: self.beside,
            items: Vec::new(),
            conditions: self.conditions,
            entries: false,
            trouble: None,
        };
        run.all(body, &mut inner, true);
        choose(&mut run, &inner);
        self.conditions = run.conditions;
        self.entries |= run.entries;
        self.trouble = self.trouble.take().or(run.trouble);
    }

    /// As [`Run::take`], where entries that boot no kernel are passed over.
    fn take_any(&mut self, at: usize, environment: &Environment, depth: usize, lines: &mut BTreeSet<Line>) {
        let boots = match self.items.get(at) {
            Some(Item::Menu { command, body, .. }) => is_submenu(command) || boots_linux(body),
            Some(Item::Entry { .. }) => true,
            _ => false,
        };
        if !boots {
            return;
        }
        match self.items.get(at) {
            Some(Item::Menu { command, body, .. }) if is_submenu(command) => {
                self.inside(body, environment, |run, inner| {
                    if depth < MENUS_LIMIT {
                        run.any(inner, depth + 1, lines);
                    }
                });
            }
            _ => self.take(at, "", environment, depth, lines),
        }
    }

    fn take(
        &mut self,
        at: usize,
        rest: &str,
        environment: &Environment,
        depth: usize,
        lines: &mut BTreeSet<Line>,
    ) {
        match self.items.get(at) {
            Some(Item::Menu { command, body, .. }) if is_submenu(command) => {
                self.inside(body, environment, |run, inner| {
                    run.choose(&Values::from(rest), inner, depth + 1, lines);
                });
            }
            Some(Item::Menu { body, .. }) => {
                let mut inner = environment.clone();
                let before = lines.len();
                let mut found = false;
                if !inner.linux(body, &mut |line, words| {
                    found = true;
                    lines.insert(Line { path: None, line, words });
                }) {
                    self.trouble("what an entry passes cannot be told");
                }
                if !found && lines.len() == before {
                    self.trouble("the entry that boots starts no Linux of itself");
                }
            }
            Some(Item::Entry { entry, .. }) => {
                let (line, options) = entry.at("options").unwrap_or((1, "$default_kernelopts"));
                let path = entry.source.path().to_owned();
                match environment.options(options).all() {
                    Some(all) => lines.extend(all.iter().map(|words| Line {
                        path: Some(path.clone()),
                        line,
                        words: words.clone(),
                    })),
                    None => self.trouble("what an entry passes cannot be told"),
                }
            }
            Some(Item::Gap) | None => self.trouble("which entry boots cannot be told"),
        }
    }
}

#[cfg(test)]
#[path = "menu_tests.rs"]
mod tests;
