//! Single keys out of a TOML file with their lines, for the configuration of the containers projects.
//! A key of the wrong type spoils the file, as it does for Podman, which then refuses to start.

use std::fmt;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Evidence, Source, Sourced};
use crate::host::{Fact, Unread};

/// A parsed file.
pub(super) struct TomlKeys<'a> {
    source: &'a Source,
    root: DeTable<'a>,
    /// The offset of each line, so that finding the line of a key does not read the text again.
    lines: Vec<usize>,
}

/// An array of strings, with the attribute that Podman allows in it: `["a", {append=true}]`
/// (containers.conf(5), "Appending to String Arrays").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Strings {
    pub(super) values: Vec<String>,
    /// Whether they are added to those set before, instead of replacing them.
    pub(super) append: bool,
}

/// A value that is neither a table nor an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A string.
    Text(String),
}

impl Scalar {
    /// As TOML writes it.
    pub fn toml(&self) -> String {
        match self {
            Scalar::Text(text) => toml::Value::String(text.clone()).to_string(),
            other => other.to_string(),
        }
    }
}

/// Without the quotes of a string, for people.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Boolean(value) => write!(f, "{value}"),
            Scalar::Integer(value) => write!(f, "{value}"),
            Scalar::Text(text) => f.write_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(Scalar::Text(text)),
            toml::Value::Integer(value) => Ok(Scalar::Integer(value)),
            toml::Value::Boolean(value) => Ok(Scalar::Boolean(value)),
            other => {
                Err(serde::de::Error::custom(format!("{other}: expected a string, a number or a boolean")))
            }
        }
    }
}

impl<'a> TomlKeys<'a> {
    pub(super) fn parse(source: &'a Source) -> Fact<TomlKeys<'a>> {
        let newlines = source.text().bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let lines = std::iter::once(0).chain(newlines.map(|(offset, _)| offset + 1)).collect();
        match DeTable::parse(source.text()) {
            Ok(root) => Ok(TomlKeys { source, root: root.into_inner(), lines }),
            Err(error) => {
                let keys = TomlKeys { source, root: DeTable::default(), lines };
                let line = error.span().map(|span| keys.line(span.start));
                // The message names what was expected; the rest of it repeats the text.
                Err(keys.malformed(line, error.message().to_owned()))
            }
        }
    }

    pub(super) fn string(&self, path: &[&str]) -> Fact<Option<Sourced<String>>> {
        self.get(path, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn integer(&self, path: &[&str]) -> Fact<Option<Sourced<i64>>> {
        self.get(path, "an integer", |value| {
            let integer = value.as_integer()?;
            i64::from_str_radix(integer.as_str(), integer.radix()).ok()
        })
    }

    pub(super) fn strings(&self, path: &[&str]) -> Fact<Option<Sourced<Strings>>> {
        self.get(path, "an array of strings", |value| {
            let mut strings = Strings { values: Vec::new(), append: false };
            for item in value.as_array()? {
                match item.get_ref() {
                    DeValue::String(text) => strings.values.push(text.to_string()),
                    DeValue::Table(attributes) => {
                        strings.append = find(attributes, "append")?.get_ref().as_bool()?
                    }
                    _ => return None,
                }
            }
            Some(strings)
        })
    }

    /// A value that is neither a table nor an array; `None` for those, too.
    pub(super) fn scalar(&self, path: &[&str]) -> Fact<Option<Sourced<Scalar>>> {
        let found = self.get(path, "a value", |value| {
            Some(match value {
                DeValue::String(text) => Some(Scalar::Text(text.to_string())),
                DeValue::Boolean(value) => Some(Scalar::Boolean(*value)),
                DeValue::Integer(value) => {
                    i64::from_str_radix(value.as_str(), value.radix()).ok().map(Scalar::Integer)
                }
                _ => None,
            })
        })?;
        Ok(found.and_then(|Sourced { value, at }| value.map(|value| Sourced { value, at })))
    }

    /// Whether a key of the top is there with something in it; with `or_empty`, also an empty list or table.
    pub(super) fn is_set(&self, name: &str, or_empty: bool) -> bool {
        match find(&self.root, name).map(|value| value.get_ref()) {
            None => false,
            Some(DeValue::String(text)) => !text.is_empty(),
            Some(DeValue::Array(list)) => or_empty || !list.is_empty(),
            Some(DeValue::Table(table)) => or_empty || !table.is_empty(),
            Some(_) => true,
        }
    }

    /// The keys of a table; none where there is no such table.
    pub(super) fn names(&self, path: &[&str]) -> Vec<String> {
        let mut table = &self.root;
        for name in path {
            match find(table, name).and_then(|value| value.get_ref().as_table()) {
                Some(inner) => table = inner,
                None => return Vec::new(),
            }
        }
        table.keys().map(|key| key.get_ref().to_string()).collect()
    }

    fn get<T>(
        &self,
        path: &[&str],
        expected: &str,
        convert: impl Fn(&DeValue<'a>) -> Option<T>,
    ) -> Fact<Option<Sourced<T>>> {
        let Some((last, tables)) = path.split_last() else { return Ok(None) };
        let mut table = &self.root;
        for name in tables {
            let Some(value) = find(table, name) else { return Ok(None) };
            table = value.get_ref().as_table().ok_or_else(|| self.wrong(value, path, "a table"))?;
        }
        let Some(value) = find(table, last) else { return Ok(None) };
        let converted = convert(value.get_ref()).ok_or_else(|| self.wrong(value, path, expected))?;
        let line = self.line(value.span().start);
        let start = self.lines.get(line as usize - 1).copied().unwrap_or_default();
        let text = self.source.text().get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        Ok(Some(Sourced { value: converted, at: Evidence::line(self.source.path(), line, text) }))
    }

    fn wrong(&self, value: &Spanned<DeValue<'a>>, path: &[&str], expected: &str) -> Unread {
        self.malformed(
            Some(self.line(value.span().start)),
            format!("{}: expected {expected}", path.join(".")),
        )
    }

    fn malformed(&self, line: Option<u32>, expected: String) -> Unread {
        Unread::Malformed { path: self.source.path().to_owned(), line, expected }
    }

    fn line(&self, offset: usize) -> u32 {
        u32::try_from(self.lines.partition_point(|&start| start <= offset)).unwrap_or(u32::MAX).max(1)
    }
}

/// The value of a key. The TOML library of Podman takes a key of another case where the exact one is
/// missing (BurntSushi/toml, `Unmarshal`, "case insensitive").
fn find<'t, 'a>(table: &'t DeTable<'a>, name: &str) -> Option<&'t Spanned<DeValue<'a>>> {
    table.get(name).or_else(|| {
        table.iter().find(|(key, _)| key.get_ref().eq_ignore_ascii_case(name)).map(|(_, value)| value)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with<T>(text: &str, look: impl Fn(&TomlKeys) -> Fact<T>) -> Fact<T> {
        let source = Source::new("/etc/containers/containers.conf", text);
        look(&TomlKeys::parse(&source)?)
    }

    #[test]
    fn keys_have_their_line() {
        let text = "[engine]\n# runtime\nruntime = \"crun\"\n\n[containers]\nPids_Limit = 0x10\n";
        let runtime = with(text, |keys| keys.string(&["engine", "runtime"])).unwrap().unwrap();
        assert_eq!(
            (runtime.value.as_str(), runtime.at.line, runtime.at.text.as_str()),
            ("crun", Some(3), "runtime = \"crun\"")
        );
        let limit = with(text, |keys| keys.integer(&["containers", "pids_limit"])).unwrap().unwrap();
        assert_eq!((limit.value, limit.at.line), (16, Some(6)));
        assert_eq!(with(text, |keys| keys.string(&["engine", "cgroup_manager"])), Ok(None));
        assert_eq!(with("", |keys| keys.string(&["engine", "cgroup_manager"])), Ok(None));
    }

    #[test]
    fn arrays_can_append() {
        let read = |text: &str| with(text, |keys| keys.strings(&["a"])).map(|found| found.unwrap().value);
        let strings = |values: &[&str], append| Strings {
            values: values.iter().map(|v| (*v).to_owned()).collect(),
            append,
        };
        assert_eq!(read("a = [\"x\", {append=true}]"), Ok(strings(&["x"], true)));
        assert_eq!(read("a = [\"x\",\n \"y\"]"), Ok(strings(&["x", "y"], false)));
        assert_eq!(read("a = []"), Ok(strings(&[], false)));
        assert!(read("a = [1]").is_err() && read("a = [{other=1}]").is_err());
    }

    #[test]
    fn what_is_malformed_has_its_line() {
        let line = |text: &str| match with(text, |keys| keys.string(&["engine", "runtime"])) {
            Err(Unread::Malformed { line, expected, .. }) => (line, expected),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            line("[engine]\nruntime = 5\n"),
            (Some(2), "engine.runtime: expected a string".to_owned())
        );
        assert_eq!(line("\n\nengine = 1\n"), (Some(3), "engine.runtime: expected a table".to_owned()));
        assert_eq!(line("[engine]\nruntime = \"crun\n").0, Some(2));
        assert_eq!(line("[engine]\nruntime = \"a\"\nruntime = \"b\"\n").0, Some(3));
    }

    #[test]
    fn hostile_texts_end_soon() {
        let deep = format!("{}1{}", "a = [".to_owned() + &"[".repeat(200_000), "]".repeat(200_001));
        let dotted = format!("{}a = 1\n", "a.".repeat(200_000));
        let header = format!("[{}a]\n", "a.".repeat(200_000));
        let many: String = (0..100_000).map(|i| format!("k{i} = 1\n")).collect();
        for text in [deep, dotted, header, many] {
            let _ = with(&text, |keys| keys.string(&["a", "b"]));
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)(.{0,12}|\\[engine\\]|runtime ?= ?|\"|\n){0,12}") {
            let _ = with(&text, |keys| keys.string(&["engine", "runtime"]));
            let _ = with(&text, |keys| keys.strings(&["engine", "runtime"]));
        }
    }
}
