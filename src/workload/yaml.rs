//! YAML as a tree whose nodes know their lines. Aliases are shared, not copied, and what a document would
//! be with all of them written out is bounded, so that nobody who walks it walks for ever.

mod scalars;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::Malformed;
use crate::facts::{Evidence, Source};
use scalars::{Ahead, Before};

/// The most nodes of a file, with its aliases written out. The largest manifests that projects publish
/// have some 30,000.
const NODE_LIMIT: u64 = 200_000;
/// How deep nodes can lie in each other; Kubernetes objects have no more than some 20 levels.
const DEPTH_LIMIT: usize = 100;
const DOCUMENT_LIMIT: usize = 5_000;
/// The longest key, in bytes; the names of Kubernetes end at 253, with a prefix at 317.
const KEY_LIMIT: usize = 1024;
/// What the parser may read before it tells of it, by [`weight`]: up to the last bracket it keeps all that
/// lies within, some 170 bytes for each, as that can be a key. So JSON of up to some 35,000 values is read. A text that [`Ahead`] sees is one token,
/// whatever it holds; those between the brackets of JSON it does not see.
const UNTOLD_LIMIT: u32 = 360_000;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    /// The line, from 1.
    pub(super) line: u32,
    value: Value,
    /// How many nodes it is with its aliases written out.
    size: u64,
}

#[derive(Debug)]
enum Value {
    Scalar { text: String, plain: bool },
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug)]
struct Entry {
    key: Rc<str>,
    line: u32,
    /// Whether it is `<<` without quotes.
    merge: bool,
    value: Rc<Node>,
}

/// The documents of a file that are not empty.
///
/// # Errors
/// [`Malformed`] where it is no YAML, or more than is ever asked for.
pub(super) fn documents(source: &Source) -> Result<Vec<Rc<Node>>, Malformed> {
    // What ends too early ends in the last line.
    let fault = |at: usize, expected: String| {
        let line = number(at.min(source.text().lines().count()).max(1));
        Malformed { file: source.path().to_owned(), line, expected }
    };
    // A byte order mark is not content.
    let text = source.text().strip_prefix('\u{feff}').unwrap_or(source.text());
    let mut builder = Builder::default();
    let (untold, line, index, text_end) = (Cell::new(0), Cell::new(1), Cell::new(0), Cell::new(0));
    let chars = text.chars().take_while(|c| {
        if index.get() >= text_end.get() {
            untold.set(untold.get() + weight(*c));
        }
        index.set(index.get() + 1);
        line.set(line.get() + usize::from(*c == '\n'));
        untold.get() <= UNTOLD_LIMIT
    });
    let mut ahead = Ahead::new(text);
    for event in Parser::new_from_iter(chars) {
        if untold.replace(0) > UNTOLD_LIMIT {
            let expected = "expected fewer values between the same brackets, or in one text";
            return Err(fault(line.get(), expected.to_owned()));
        }
        let (event, span) = event
            .map_err(|error| fault(error.marker().line(), format!("expected YAML: {}", error.info())))?;
        let in_brackets = matches!(event, Event::SequenceStart(..) | Event::MappingStart(..))
            && ahead.is_any(span.start.index(), &['[', '{']);
        builder.take(event, span, in_brackets).map_err(|(line, expected)| fault(line, expected))?;
        if let Some((from, before)) = builder.before_text(&span) {
            text_end.set(ahead.text_from(from, &before).unwrap_or(0));
        }
    }
    Ok(builder.documents)
}

/// How much the parser can keep because of a character: most for what begins or ends a value, less for what
/// comes in pairs.
fn weight(c: char) -> u32 {
    match c {
        ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '?' => 3,
        ':' => 2,
        '"' | '\'' => 1,
        _ => 0,
    }
}

/// Where it stands, and what was expected there.
type Fault = (usize, String);

#[derive(Default)]
struct Builder {
    documents: Vec<Rc<Node>>,
    seen: usize,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Rc<Node>>,
    size: u64,
}

/// A list or map that has not ended.
struct Open {
    line: usize,
    anchor: usize,
    size: u64,
    in_brackets: bool,
    content: Content,
}

enum Content {
    List(Vec<Rc<Node>>),
    Map { entries: Vec<Entry>, key: Option<Key> },
}

/// A key that waits for its value.
struct Key {
    text: Rc<str>,
    line: u32,
    merge: bool,
}

fn number(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

impl Builder {
    fn take(&mut self, event: Event, span: Span, in_brackets: bool) -> Result<(), Fault> {
        let line = span.start.line();
        let in_brackets = in_brackets || self.open.last().is_some_and(|open| open.in_brackets);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                self.seen += 1;
                if self.seen > DOCUMENT_LIMIT {
                    return Err((line, format!("expected no more than {DOCUMENT_LIMIT} documents")));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !tag.is_some_and(|tag| is_string(&tag));
                let value = Value::Scalar { text: text.into_owned(), plain };
                self.add(Rc::new(Node { line: number(line), value, size: 1 }), line, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                self.open(line, anchor, in_brackets, Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, _) => {
                self.open(line, anchor, in_brackets, Content::Map { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => self.add(node, line, 0),
                None => Err((line, "expected an alias of a node that has ended".to_owned())),
            },
        }
    }

    fn open(&mut self, line: usize, anchor: usize, in_brackets: bool, content: Content) -> Result<(), Fault> {
        if self.open.len() == DEPTH_LIMIT {
            return Err((line, format!("expected no more than {DEPTH_LIMIT} levels of nesting")));
        }
        self.open.push(Open { line, anchor, size: 1, in_brackets, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(merged(entries)?),
        };
        let node = Node { line: number(open.line), value, size: open.size };
        self.add(Rc::new(node), open.line, open.anchor)
    }

    /// What a text can come after, and where, if one can after this event.
    fn before_text(&self, span: &Span) -> Option<(usize, Before)> {
        let open = self.open.last()?;
        match &open.content {
            Content::Map { key: Some(_), .. } => {
                let (column, in_brackets) = (span.start.col(), open.in_brackets);
                Some((span.end.index(), Before::Key { column, in_brackets }))
            }
            Content::List(_) if open.in_brackets => None,
            Content::List(items) if items.is_empty() => {
                Some((span.start.index(), Before::First { column: span.start.col() }))
            }
            Content::List(_) => Some((span.end.index(), Before::Item { column: span.end.col() })),
            _ => None,
        }
    }

    fn add(&mut self, node: Rc<Node>, line: usize, anchor: usize) -> Result<(), Fault> {
        let too_large = |size: u64| {
            let expected = format!("expected no more than {NODE_LIMIT} values, with aliases written out");
            if size > NODE_LIMIT { Err((line, expected)) } else { Ok(()) }
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.size = self.size.saturating_add(node.size);
            too_large(self.size)?;
            if !node.is_null() {
                self.documents.push(node);
            }
            return Ok(());
        };
        parent.size = parent.size.saturating_add(node.size);
        too_large(parent.size)?;
        match &mut parent.content {
            Content::List(items) => items.push(node),
            Content::Map { key: waiting @ None, .. } => match &node.value {
                Value::Scalar { text, .. } if text.len() > KEY_LIMIT => {
                    return Err((line, format!("expected a key of up to {KEY_LIMIT} bytes")));
                }
                Value::Scalar { text, plain } => {
                    let merge = *plain && text == "<<";
                    *waiting = Some(Key { text: text.as_str().into(), line: number(line), merge });
                }
                _ => return Err((line, "expected a key that is one word".to_owned())),
            },
            Content::Map { entries, key } => {
                if let Some(Key { text, line, merge }) = key.take() {
                    entries.push(Entry { key: text, line, merge, value: node });
                }
            }
        }
        Ok(())
    }
}

fn is_string(tag: &Tag) -> bool {
    tag.is_yaml_core_schema() && tag.suffix == "str"
}

/// The entries of a map with those that `<<` brings (yaml.org/type/merge.html): its own keys hold, then
/// those of the first map.
fn merged(entries: Vec<Entry>) -> Result<Vec<Entry>, Fault> {
    let mut own: BTreeMap<Rc<str>, u32> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !entry.merge) {
        if let Some(first) = own.insert(entry.key.clone(), entry.line) {
            let expected = format!("expected the key {} once, it stands in line {first}, too", entry.key);
            return Err((entry.line as usize, expected));
        }
    }
    if entries.iter().all(|entry| !entry.merge) {
        return Ok(entries);
    }
    let (brought, mut all): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| entry.merge);
    for Entry { line, value, .. } in brought {
        let maps = match &value.value {
            Value::Map(_) => std::slice::from_ref(&value),
            Value::List(maps) => maps,
            Value::Scalar { .. } => &[],
        };
        for map in maps {
            let Value::Map(more) = &map.value else {
                return Err((line as usize, "expected a map, or a list of maps, after <<".to_owned()));
            };
            for entry in more {
                if own.insert(entry.key.clone(), entry.line).is_none() {
                    all.push(entry.clone());
                }
            }
        }
        if maps.is_empty() {
            return Err((line as usize, "expected a map, or a list of maps, after <<".to_owned()));
        }
    }
    Ok(all)
}

impl Node {
    /// Whether nothing stands there.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar { .. } => "a value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// A file whose lines are at hand.
pub(super) struct File<'a> {
    source: &'a Source,
    lines: Vec<&'a str>,
}

impl<'a> File<'a> {
    /// The lines of a source.
    pub(super) fn new(source: &'a Source) -> File<'a> {
        // Trimmed here, as a line of spaces can be asked for many times.
        File { source, lines: source.text().lines().map(str::trim).collect() }
    }

    /// A line.
    pub(super) fn at(&self, line: u32) -> Evidence {
        let text = self.lines.get(line.saturating_sub(1) as usize).copied().unwrap_or_default();
        self.source.on(line, text, ()).at
    }
}

/// A node of a file, or nothing where a key is not there. What is of another type than is asked for is
/// [`Malformed`], and `null` is as if it were not there (as Kubernetes has it).
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    file: &'a File<'a>,
    node: Option<&'a Node>,
    /// The key that led here.
    name: &'a str,
    /// The line of that key.
    line: u32,
}

impl<'a> View<'a> {
    /// The root of a document.
    pub(super) fn new(file: &'a File<'a>, node: &'a Node) -> View<'a> {
        View { file, node: Some(node), name: "", line: node.line }
    }

    /// Whether something stands there.
    pub(super) fn is_there(&self) -> bool {
        self.node.is_some()
    }

    /// The line of the key, or of the item of a list.
    pub(super) fn at(&self) -> Evidence {
        self.file.at(self.line)
    }

    /// That something else was expected here.
    pub(super) fn malformed(&self, expected: &str) -> Malformed {
        let name = if self.name.is_empty() { String::new() } else { format!("{}: ", self.name) };
        let expected = format!("{name}expected {expected}");
        Malformed { file: self.file.source.path().to_owned(), line: self.line, expected }
    }

    fn other(&self, expected: &str) -> Malformed {
        let found = self.node.map_or("nothing", Node::kind);
        self.malformed(&format!("{expected}, found {found}"))
    }

    fn entries(&self) -> Result<&'a [Entry], Malformed> {
        match self.node.map(|node| &node.value) {
            None => Ok(&[]),
            Some(Value::Map(entries)) => Ok(entries),
            Some(_) => Err(self.other("a map")),
        }
    }

    fn of(&self, entry: &'a Entry) -> View<'a> {
        let node = Some(&*entry.value).filter(|node| !node.is_null());
        View { file: self.file, node, name: &entry.key, line: entry.line }
    }

    /// What stands under a key.
    pub(super) fn get(&self, key: &'a str) -> Result<View<'a>, Malformed> {
        let entry = self.entries()?.iter().find(|entry| &*entry.key == key);
        Ok(entry.map_or(View { node: None, name: key, ..*self }, |entry| self.of(entry)))
    }

    /// What stands under keys within keys.
    pub(super) fn path(&self, keys: &[&'a str]) -> Result<View<'a>, Malformed> {
        keys.iter().try_fold(*self, |view, key| view.get(key))
    }

    /// The keys with what stands under them.
    pub(super) fn keys(&self) -> Result<Vec<(&'a str, View<'a>)>, Malformed> {
        Ok(self.entries()?.iter().map(|entry| (&*entry.key, self.of(entry))).collect())
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Result<Vec<View<'a>>, Malformed> {
        match self.node.map(|node| &node.value) {
            None => Ok(Vec::new()),
            Some(Value::List(items)) => {
                let view = |node: &'a Rc<Node>| {
                    let line = node.line;
                    View { node: Some(&**node).filter(|node| !node.is_null()), line, ..*self }
                };
                Ok(items.iter().map(view).collect())
            }
            Some(_) => Err(self.other("a list")),
        }
    }

    /// The text of a value, whatever its type.
    pub(super) fn text(&self) -> Result<Option<&'a str>, Malformed> {
        match self.node.map(|node| &node.value) {
            None => Ok(None),
            Some(Value::Scalar { text, .. }) => Ok(Some(text)),
            Some(_) => Err(self.other("a value")),
        }
    }

    /// A text that is kept, which is no longer than this many bytes.
    pub(super) fn up_to(&self, bytes: usize) -> Result<Option<&'a str>, Malformed> {
        match self.text()? {
            Some(text) if text.len() > bytes => Err(self.malformed(&format!("no more than {bytes} bytes"))),
            text => Ok(text),
        }
    }

    /// A name, none of which is longer (kubernetes.io, "Object Names and IDs").
    pub(super) fn name(&self) -> Result<Option<&'a str>, Malformed> {
        self.up_to(253)
    }

    /// A whole number. One in quotes is a string, which neither Kubernetes nor Podman takes for a number.
    pub(super) fn integer(&self) -> Result<Option<i64>, Malformed> {
        let Some(text) = self.text()? else { return Ok(None) };
        let plain = matches!(self.node.map(|node| &node.value), Some(Value::Scalar { plain: true, .. }));
        let digits = text.strip_prefix('+').unwrap_or(text);
        let number = match (digits.get(..2), digits.get(2..)) {
            (Some("0x"), Some(rest)) => i64::from_str_radix(rest, 16).ok(),
            (Some("0o"), Some(rest)) => i64::from_str_radix(rest, 8).ok(),
            _ => digits.parse().ok(),
        };
        match number.filter(|_| plain) {
            Some(number) => Ok(Some(number)),
            None if number.is_some() => Err(self.malformed("a number without quotes")),
            None => Err(self.malformed("a number")),
        }
    }

    /// Whether it says so; what is not there does not.
    pub(super) fn is_true(&self) -> Result<bool, Malformed> {
        let plain = matches!(self.node.map(|node| &node.value), Some(Value::Scalar { plain: true, .. }));
        match self.text()? {
            None => Ok(false),
            Some("true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON") if plain => Ok(true),
            Some("false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF") if plain => {
                Ok(false)
            }
            Some(_) => Err(self.malformed("true or false, without quotes")),
        }
    }
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
