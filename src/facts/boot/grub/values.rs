//! The variables of GRUB, each with all the values that it may have.

use std::collections::{BTreeMap, BTreeSet};

use super::commands::{GOES_ON, boots, each_command, is_linux, needs_shell};
use super::menu::Block;
use super::script::{Command, Node, Piece, Word};

/// More values than are told apart.
const VALUES_LIMIT: usize = 8;
/// More variables than a menu has.
const VARIABLES_LIMIT: usize = 256;
/// The longest value that is worked out, in bytes.
const LENGTH_LIMIT: usize = 16 << 10;

/// What GRUB itself sets, or firmware, or the disk (GRUB manual, "Special environment variables").
const OF_GRUB: [&str; 15] = [
    "chosen",
    "check_appended_signatures",
    "check_signatures",
    "cmdpath",
    "config_directory",
    "config_file",
    "lang",
    "locale_dir",
    "lockdown",
    "prefix",
    "pxe_default_server",
    "root",
    "secondary_locale_dir",
    "shim_lock",
    "?",
];
const OF_GRUB_BEGIN: [&str; 6] = ["feature_", "grub_", "net_", "pxe_", "color_", "smbios_"];

/// All that a text may be; `None` where that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Values(Option<BTreeSet<String>>);

impl From<&str> for Values {
    fn from(text: &str) -> Values {
        Values(Some(BTreeSet::from([text.to_owned()])))
    }
}

impl Values {
    const ANY: Values = Values(None);

    pub(super) fn all(&self) -> Option<&BTreeSet<String>> {
        self.0.as_ref()
    }

    pub(super) fn one(&self) -> Option<&str> {
        match &self.0 {
            Some(all) if all.len() == 1 => all.first().map(String::as_str),
            _ => None,
        }
    }

    fn or(self, other: &Values) -> Values {
        match (self.0, &other.0) {
            (Some(mut all), Some(more)) => {
                all.extend(more.iter().cloned());
                Values(Some(all).filter(|all| all.len() <= VALUES_LIMIT))
            }
            _ => Values::ANY,
        }
    }

    /// Each of these with each of those behind it.
    fn then(&self, other: &Values) -> Values {
        let (Some(all), Some(more)) = (&self.0, &other.0) else { return Values::ANY };
        let both: BTreeSet<String> =
            all.iter().flat_map(|head| more.iter().map(move |tail| format!("{head}{tail}"))).collect();
        let fits = both.len() <= VALUES_LIMIT && both.iter().all(|text| text.len() <= LENGTH_LIMIT);
        Values(Some(both).filter(|_| fits))
    }
}

/// The variables.
#[derive(Clone, Debug)]
pub(super) struct Environment {
    variables: BTreeMap<String, Values>,
    /// What functions may set.
    functions: BTreeMap<String, Values>,
    /// Whether the environment block, of which nothing is known, may have set anything.
    unread: bool,
}

impl Environment {
    pub(super) fn new(block: &Block) -> Environment {
        Environment {
            variables: BTreeMap::new(),
            functions: BTreeMap::new(),
            unread: *block == Block::Unread,
        }
    }

    /// Notes what the functions among these may set: when they are called is not looked at.
    pub(super) fn functions(&mut self, nodes: &[Node]) {
        let mut sets = Environment { variables: BTreeMap::new(), functions: BTreeMap::new(), unread: true };
        for node in nodes {
            let Node::Function(body) = node else { continue };
            each_command(body, &mut |command| {
                if let Some((name, value)) = sets.assignment(&command.words) {
                    let before = sets.functions.remove(&name);
                    let value = before.map_or(value.clone(), |before| before.or(&value));
                    sets.functions.insert(name, value);
                }
            });
        }
        self.functions = sets.functions;
    }

    pub(super) fn set_by_function(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    pub(super) fn get(&self, name: &str) -> Values {
        self.variables.get(name).cloned().unwrap_or_else(|| self.unset(name))
    }

    /// The value of what nobody has set here.
    fn unset(&self, name: &str) -> Values {
        let of_grub = OF_GRUB.contains(&name)
            || OF_GRUB_BEGIN.iter().any(|begin| name.starts_with(begin))
            || name.starts_with(|c: char| c.is_ascii_digit());
        if of_grub || self.unread { Values::ANY } else { Values::from("") }
    }

    fn set(&mut self, name: String, value: Values) {
        if self.variables.len() < VARIABLES_LIMIT || self.variables.contains_key(&name) {
            self.variables.insert(name, value);
        } else {
            self.unread = true;
        }
    }

    /// The text of a word.
    pub(super) fn expand(&self, word: &Word) -> Values {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => Values::from(text.as_str()),
            Piece::Variable { name, .. } => self.get(name),
        };
        word.pieces.iter().fold(Values::from(""), |before, piece| before.then(&text(piece)))
    }

    /// What `set NAME=VALUE` or `NAME=VALUE` sets.
    fn assignment(&self, words: &[Word]) -> Option<(String, Values)> {
        let word = match words.first()?.literal() {
            Some("set") => words.get(1)?,
            _ => words.first()?,
        };
        let Some(Piece::Text(first)) = word.pieces.first() else { return None };
        let (name, begin) = first.split_once('=')?;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return None;
        }
        let mut value = word.clone();
        *value.pieces.first_mut()? = Piece::Text(begin.to_owned());
        Some((name.to_owned(), self.expand(&value)))
    }

    /// What a command sets.
    pub(super) fn assign(&mut self, words: &[Word]) {
        if let Some((name, value)) = self.assignment(words) {
            return self.set(name, value);
        }
        let mut rest = words.iter().filter_map(Word::literal);
        if rest.next() == Some("unset") {
            return rest.for_each(|name| self.set(name.to_owned(), Values::from("")));
        }
        // `search --set=root`, `probe --set uuid`, `read name`.
        let mut literals = words.iter().map(Word::literal);
        let is_read = literals.next().flatten() == Some("read");
        let mut takes_name = is_read;
        for literal in literals.flatten() {
            let name = match literal.strip_prefix("--set=") {
                Some(name) => Some(name),
                None if takes_name => Some(literal),
                None => None,
            };
            if let Some(name) = name {
                // `regexp --set=1:name`.
                let name = name.rsplit_once(':').map_or(name, |(_, name)| name);
                self.set(name.to_owned(), Values::ANY);
            }
            takes_name = matches!(literal, "--set" | "-s");
        }
    }

    pub(super) fn load(&mut self, block: &Block) {
        match block {
            Block::Absent => {}
            Block::Unread => self.unread = true,
            Block::Read(all) => {
                for (name, value) in all {
                    self.set(name.clone(), Values::from(value.as_str()));
                }
            }
        }
    }

    pub(super) fn forget_what_commands_set(&mut self, condition: &[Node]) {
        each_command(condition, &mut |command| {
            if !is_test(command) {
                self.assign(&command.words);
                self.set("?".to_owned(), Values::ANY);
            }
        });
    }

    pub(super) fn forget_all_set_in(&mut self, nodes: &[Node]) {
        each_command(nodes, &mut |command| {
            if let Some((name, _)) = self.assignment(&command.words) {
                self.set(name, Values::ANY);
            } else {
                self.assign(&command.words);
            }
        });
    }

    /// Whether a condition holds, where that can be told.
    pub(super) fn truth(&self, condition: &[Node]) -> Option<bool> {
        let [Node::Command(command)] = condition else { return None };
        if !is_test(command) {
            return None;
        }
        let words: Vec<&Word> =
            command.words.iter().skip(1).filter(|word| word.literal() != Some("]")).collect();
        // Of several, one that holds is enough; of those in it, all have to.
        let any = words.split(|word| word.literal() == Some("-o"));
        let any: Vec<Option<bool>> = any
            .map(|all| {
                let all = all.split(|word| word.literal() == Some("-a"));
                let all: Vec<Option<bool>> = all.map(|one| self.comparison(one)).collect();
                agreed(&all, false)
            })
            .collect();
        agreed(&any, true)
    }

    fn comparison(&self, words: &[&Word]) -> Option<bool> {
        match words {
            [one] => self.is_empty(one).map(|empty| !empty),
            [op, one] => match (op.literal()?, one.pieces.last()) {
                ("-n", _) => self.is_empty(one).map(|empty| !empty),
                ("-z", _) => self.is_empty(one),
                ("-e" | "-f" | "-s", Some(Piece::Text(path))) if path.ends_with("/grubenv") => {
                    self.has_block()
                }
                _ => None,
            },
            [one, op, other] => {
                let (one, other) = (self.expand(one), self.expand(other));
                let equal = match (&one.0, &other.0) {
                    (Some(one), Some(other)) if one.is_disjoint(other) => false,
                    (Some(_), Some(_)) => one.one().zip(other.one()).map(|(one, other)| one == other)?,
                    _ => return None,
                };
                match op.literal()? {
                    "=" | "==" => Some(equal),
                    "!=" => Some(!equal),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Without a block `load_env` sets nothing, so that it may be taken to be there.
    fn has_block(&self) -> Option<bool> {
        if self.unread { None } else { Some(true) }
    }

    fn is_empty(&self, word: &Word) -> Option<bool> {
        let values = self.expand(word);
        let all = values.all()?;
        match (all.iter().all(String::is_empty), all.contains("")) {
            (true, _) => Some(true),
            (_, false) => Some(false),
            _ => None,
        }
    }

    /// What may be set after one of these.
    pub(super) fn join(ends: Vec<Environment>) -> Environment {
        let mut ends = ends.into_iter();
        let Some(mut joined) = ends.next() else { return Environment::new(&Block::Unread) };
        for end in ends {
            let names: BTreeSet<&String> = joined.variables.keys().chain(end.variables.keys()).collect();
            let variables =
                names.into_iter().map(|name| (name.clone(), joined.get(name).or(&end.get(name)))).collect();
            joined.variables = variables;
            joined.unread |= end.unread;
        }
        joined
    }

    /// Tells the words of each `linux` among these; false where one cannot be told.
    pub(super) fn linux(&mut self, nodes: &[Node], found: &mut dyn FnMut(u32, String)) -> bool {
        let mut told = true;
        for node in nodes {
            match node {
                Node::Command(command) if is_linux(command) => {
                    let words = self.arguments(command.words.get(2..).unwrap_or_default());
                    match words.all() {
                        Some(all) => all.iter().for_each(|words| found(command.line, words.clone())),
                        None => told = false,
                    }
                }
                Node::Command(command) => {
                    let first = command.words.first();
                    let name = first.and_then(Word::literal);
                    // What a variable names may be one more `linux`, and so may what stands elsewhere.
                    told &=
                        !first.is_some_and(needs_shell) && !name.is_some_and(|name| GOES_ON.contains(&name));
                    self.assign(&command.words);
                }
                Node::If { branches, otherwise } => {
                    let mut ends = Vec::new();
                    let mut open = true;
                    for (condition, body) in branches {
                        told &= !boots(condition);
                        let truth = self.truth(condition);
                        if truth == Some(false) {
                            continue;
                        }
                        let mut branch = self.clone();
                        told &= branch.linux(body, found);
                        ends.push(branch);
                        if truth == Some(true) {
                            open = false;
                            break;
                        }
                    }
                    if open {
                        let mut branch = self.clone();
                        told &= branch.linux(otherwise.as_deref().unwrap_or_default(), found);
                        ends.push(branch);
                    }
                    *self = Environment::join(ends);
                }
                Node::Loop(body) => {
                    told &= !boots(body);
                    self.forget_all_set_in(body);
                }
                Node::Menu { .. } | Node::Function(_) => {}
            }
        }
        told
    }

    /// The command line that GRUB makes of arguments (`grub-core/lib/cmdline.c`).
    fn arguments(&self, words: &[Word]) -> Values {
        let mut all = Values::from("");
        for word in words {
            let is_split =
                word.pieces.iter().any(|piece| matches!(piece, Piece::Variable { quoted: false, .. }));
            let pieces = word.pieces.iter().map(|piece| match piece {
                Piece::Text(text) => Values::from(text.as_str()),
                Piece::Variable { name, .. } => {
                    let value = self.get(name);
                    match self.functions.get(name) {
                        Some(by_function) => value.or(by_function),
                        None => value,
                    }
                }
            });
            let values = pieces.fold(Values::from(""), |before, piece| before.then(&piece));
            // What firmware tells is one word: the device of the root file system and the like.
            let begin = match word.pieces.first() {
                Some(Piece::Text(text)) if text.contains('=') => Some(text),
                _ => None,
            };
            let written = match (values.0, begin) {
                (Some(values), _) => {
                    Values(Some(values.iter().map(|value| argument(value, is_split)).collect()))
                }
                (None, Some(begin)) => Values::from(format!(" {begin}\u{fffd}").as_str()),
                (None, None) => Values::ANY,
            };
            all = all.then(&written);
        }
        all
    }

    /// What GRUB makes of the options of an entry: a variable and the space behind it are its value
    /// and a space (rhboot/grub2, `grub-core/commands/blscfg.c`, `expand_val()`).
    pub(super) fn options(&self, text: &str) -> Values {
        let mut all = Values::from("");
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (head, tail) = rest.split_at(at);
            let tail = tail.get(1..).unwrap_or_default();
            let end = tail.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(tail.len());
            let (name, after) = tail.split_at(end);
            rest = after.strip_prefix(' ').unwrap_or(after);
            let value = if name.is_empty() { Values::from("") } else { self.get(name) };
            all = all.then(&Values::from(head)).then(&value).then(&Values::from(" "));
        }
        all.then(&Values::from(rest))
    }
}

/// `decides` where one of the answers is that; the other where all are the other.
fn agreed(answers: &[Option<bool>], decides: bool) -> Option<bool> {
    if answers.contains(&Some(decides)) {
        return Some(decides);
    }
    if answers.contains(&None) { None } else { Some(!decides) }
}

fn argument(value: &str, is_split: bool) -> String {
    if is_split {
        return if value.is_empty() { String::new() } else { format!(" {value}") };
    }
    let mut escaped = String::new();
    for c in value.chars() {
        if matches!(c, '\\' | '\'' | '"') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    if value.contains(' ') { format!(" \"{escaped}\"") } else { format!(" {escaped}") }
}

fn is_test(command: &Command) -> bool {
    matches!(command.words.first().and_then(Word::literal), Some("[" | "test"))
}
