//! Entries of the Boot Loader Specification, type 1: `loader/entries/NAME.conf`. GRUB, systemd-boot
//! and OSTree read them, each in its own order.

use std::rc::Rc;

use super::edits::{Edit, closed, words};
use crate::facts::kernel_cmdline::KernelCmdline;
use crate::facts::{Evidence, Facts, Source};
use crate::host::{Fact, OrAbsent, Unread};

/// More entries than any menu has.
const ENTRIES_LIMIT: usize = 256;

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The file name without `.conf`.
    pub(super) id: String,
    pub(super) source: Rc<Source>,
    fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    line: u32,
    key: String,
    value: String,
}

impl Entry {
    /// As the specification has it: lines that are empty or start with `#` say nothing.
    pub(super) fn parse(id: &str, source: &Rc<Source>) -> Entry {
        let lines = source.lines().map(|(line, text)| (line, text.trim()));
        let lines = lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#'));
        let field = |(line, text): (u32, &str)| {
            let (key, value) = text.split_once([' ', '\t'])?;
            Some(Field { line, key: key.to_owned(), value: value.trim_start().to_owned() })
        };
        Entry { id: id.to_owned(), source: Rc::clone(source), fields: lines.filter_map(field).collect() }
    }

    /// As GRUB has it: what stands below a line without a value, such as an empty one, is not read
    /// (rhboot/grub2, `grub-core/commands/blscfg.c`, `read_entry()`).
    pub(super) fn parse_as_grub(id: &str, source: &Rc<Source>) -> Entry {
        let mut fields = Vec::new();
        for (line, text) in source.lines() {
            let text = text.trim_start_matches([' ', '\t']);
            if text.starts_with('#') {
                continue;
            }
            let Some((key, value)) = text.split_once(' ').or_else(|| text.split_once('\t')) else { break };
            if value.is_empty() {
                break;
            }
            let value = value.trim_start_matches([' ', '\t']).to_owned();
            fields.push(Field { line, key: key.to_owned(), value });
        }
        Entry { id: id.to_owned(), source: Rc::clone(source), fields }
    }

    /// The first value of a key.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.at(key).map(|(_, value)| value)
    }

    /// The first value of a key, and its line.
    pub(super) fn at(&self, key: &str) -> Option<(u32, &str)> {
        let field = self.fields.iter().find(|field| field.key == key)?;
        Some((field.line, &field.value))
    }

    /// The last value of a key, which counts for systemd-boot.
    pub(super) fn last_value(&self, key: &str) -> Option<&str> {
        self.fields.iter().rev().find(|field| field.key == key).map(|field| field.value.as_str())
    }

    /// The words of all `options`.
    pub(super) fn options(&self) -> KernelCmdline {
        let options = self.fields.iter().filter(|field| field.key == "options");
        let text = |field: &Field| line_of_words(self.source.path(), field.line, &field.value).parameters;
        KernelCmdline { parameters: options.flat_map(text).collect() }
    }

    /// The line that says what is passed, or the file.
    pub(super) fn evidence(&self) -> Evidence {
        let path = self.source.path();
        let options = self.fields.iter().find(|field| field.key == "options");
        options.map_or_else(
            || Evidence::path(path, ""),
            |field| Evidence::line(path, field.line, &format!("options {}", field.value)),
        )
    }
}

/// Words that stand on this line of a file.
pub(super) fn line_of_words(path: &str, line: u32, text: &str) -> KernelCmdline {
    let mut words = KernelCmdline::parse(&Source::new(path, text));
    for parameter in &mut words.parameters {
        parameter.at.line = Some(line);
    }
    words
}

/// The files in a directory of entries, with their names without `.conf`; none where there is no
/// such directory.
pub(super) fn files(facts: &Facts, dir: &str) -> Fact<Vec<(String, Rc<Source>)>> {
    let Some(names) = facts.list(dir).or_absent()? else { return Ok(Vec::new()) };
    let ids = names.iter().filter(|entry| !entry.is_dir && !entry.name.starts_with('.'));
    let ids: Vec<&str> = ids.filter_map(|entry| entry.name.strip_suffix(".conf")).collect();
    if ids.len() > ENTRIES_LIMIT {
        let expected = format!("at most {ENTRIES_LIMIT} entries");
        return Err(Unread::Malformed { path: dir.to_owned(), line: None, expected });
    }
    let read = |id: &str| Ok((id.to_owned(), facts.source(&format!("{dir}/{id}.conf"))?));
    ids.into_iter().filter(|id| !id.is_empty()).map(read).collect()
}

/// The text of an entry with a change of its `options`.
pub(super) fn edit(text: &str, edit: Edit<'_>) -> Result<String, String> {
    let passes = |text: &str, word: &str| {
        let source = Rc::new(Source::new("", text));
        Entry::parse("", &source).options().deciding(word).is_some_and(|last| last.is(word))
    };
    if let Edit::Last(word) = edit
        && passes(text, word)
    {
        return Ok(text.to_owned());
    }
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let options: Vec<usize> =
        (0..).zip(&lines).filter(|(_, line)| is_options(line)).map(|(at, _)| at).collect();
    let changed = match edit {
        Edit::Last(_) => options.last().into_iter().copied().collect(),
        Edit::Without(_) => options,
    };
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        if !changed.contains(&at) {
            out.push_str(line);
            continue;
        }
        let end = line.trim_end_matches(['\n', '\r']).len();
        let (line, eol) = line.split_at(end);
        let start = line.find("options").unwrap_or(0) + "options".len();
        let (key, value) = line.split_at(start.min(line.len()));
        let bare = value.trim_start();
        closed(u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1), bare)?;
        let gap = value.strip_suffix(bare).filter(|gap| !gap.is_empty()).unwrap_or(" ");
        out.push_str(&format!("{key}{gap}{}{eol}", words(bare, edit)));
    }
    if let (Edit::Last(word), true) = (edit, changed.is_empty()) {
        let eol = if out.is_empty() || out.ends_with('\n') { "" } else { "\n" };
        out.push_str(&format!("{eol}options {word}\n"));
    }
    Ok(out)
}

fn is_options(line: &str) -> bool {
    let line = line.trim();
    line.strip_prefix("options").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As in the wiki of Arch, "systemd-boot".
    const ARCH: &str = "title   Arch Linux\nlinux   /vmlinuz-linux\ninitrd  /initramfs-linux.img\n\
                        options root=\"LABEL=arch_os\" rw\n";

    #[test]
    fn one_word_is_added_to_the_options() {
        let add = |text: &str| edit(text, Edit::Last("cgroup_enable=memory")).unwrap();
        for (text, edited) in [
            (ARCH, ARCH.replace("rw\n", "rw cgroup_enable=memory\n")),
            ("options a\noptions\tb\r\n", "options a\noptions\tb cgroup_enable=memory\r\n".to_owned()),
            ("linux /x", "linux /x\noptions cgroup_enable=memory\n".to_owned()),
            ("options\n", "options cgroup_enable=memory\n".to_owned()),
            (
                "options cgroup_enable=memory\noptions b\n",
                "options cgroup_enable=memory\noptions b\n".to_owned(),
            ),
            ("#options a\n optionsx\n", "#options a\n optionsx\noptions cgroup_enable=memory\n".to_owned()),
        ] {
            assert_eq!(add(text), edited, "{text:?}");
        }
        assert!(edit("options a=\"b\n", Edit::Last("x")).unwrap_err().contains("line 1"));
        let without = |text: &str| edit(text, Edit::Without("quiet")).unwrap();
        assert_eq!(without("options a quiet\noptions quiet b\n"), "options a\noptions b\n");
    }

    #[test]
    fn what_is_below_an_empty_line_is_not_read_by_grub() {
        let source = Rc::new(Source::new("/boot/loader/entries/a.conf", "title a\n\noptions quiet\n"));
        assert_eq!(Entry::parse("a", &source).value("options"), Some("quiet"));
        assert_eq!(Entry::parse_as_grub("a", &source).value("options"), None);
    }

    proptest! {
        #[test]
        fn twice_is_once(text in "(options|linux| |\n|\r\n|quiet|cgroup_(en|dis)able=memory|\"|é|#|--){0,14}") {
            for change in [Edit::Last("cgroup_enable=memory"), Edit::Without("quiet")] {
                let Ok(once) = edit(&text, change) else { continue };
                prop_assert_eq!(&edit(&once, change).unwrap(), &once, "{:?}", text);
                let source = Rc::new(Source::new("", once.as_str()));
                let options = Entry::parse("", &source).options();
                match change {
                    Edit::Last(word) => {
                        let for_init = options.parameters.iter().any(|parameter| parameter.for_init);
                        let passed = options.deciding(word).is_some_and(|last| last.is(word));
                        prop_assert!(passed || for_init, "{:?}", once);
                    }
                    Edit::Without(word) => prop_assert!(options.all(word).next().is_none(), "{:?}", once),
                }
                let _ = Entry::parse_as_grub("", &source);
            }
        }
    }
}
