//! Entries of the Boot Loader Specification, type 1: `loader/entries/NAME.conf`. GRUB, systemd-boot
//! and OSTree read them, each in its own order.

use std::rc::Rc;

use super::edits::{Edit, closed, ends_kernel_words, words};
use crate::facts::kernel_cmdline::{KernelCmdline, Parameter};
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
    /// As systemd-boot has it: lines that are empty or start with `#` say nothing, and a pair of quotes
    /// around a whole value is none of it (systemd, `src/boot/boot.c`, `line_get_key_value()`).
    pub(super) fn parse(id: &str, source: &Rc<Source>) -> Entry {
        let lines = source.lines().map(|(line, text)| (line, text.trim()));
        let lines = lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#'));
        let field = |(line, text): (u32, &str)| {
            let (key, value) = text.split_once([' ', '\t'])?;
            let value = value.trim_start();
            let value = in_quotes(value).unwrap_or(value);
            Some(Field { line, key: key.to_owned(), value: value.to_owned() })
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

    /// All values of a key, each with its line.
    pub(super) fn all<'e>(&'e self, key: &'e str) -> impl Iterator<Item = (u32, &'e str)> {
        let fields = self.fields.iter().filter(move |field| field.key == key);
        fields.map(|field| (field.line, field.value.as_str()))
    }

    /// The last value of a key, which counts for systemd-boot.
    pub(super) fn last_value(&self, key: &str) -> Option<&str> {
        self.fields.iter().rev().find(|field| field.key == key).map(|field| field.value.as_str())
    }

    /// The words of all `options`.
    pub(super) fn options(&self) -> KernelCmdline {
        let options = self.fields.iter().filter(|field| field.key == "options");
        let mut for_init = false;
        let words = |field: &Field| next_words(self.source.path(), field.line, &field.value, &mut for_init);
        KernelCmdline { parameters: options.flat_map(words).collect() }
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

/// As [`line_of_words`], of a text that continues others. `for_init` says whether a lone `--`
/// stood in those, and is kept up.
pub(super) fn next_words(path: &str, line: u32, text: &str, for_init: &mut bool) -> Vec<Parameter> {
    let mut words = line_of_words(path, line, text).parameters;
    words.iter_mut().for_each(|word| word.for_init |= *for_init);
    *for_init |= ends_kernel_words(text);
    words
}

/// What a pair of quotes stands around.
fn in_quotes(value: &str) -> Option<&str> {
    ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
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
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let options: Vec<usize> =
        (0..).zip(&lines).filter(|(_, line)| is_options(line)).map(|(at, _)| at).collect();
    let value = |at: usize| lines.get(at).map_or("", |line| line.trim().trim_start_matches("options").trim());
    for at in &options {
        unquoted(*at, value(*at))?;
    }
    let passes = |text: &str, word: &str| {
        let source = Rc::new(Source::new("", text));
        Entry::parse("", &source).options().deciding(word).is_some_and(|last| last.is(word))
    };
    if let Edit::Last(word) = edit
        && passes(text, word)
    {
        return Ok(text.to_owned());
    }
    // What follows a lone `--` is for init, on the lines below, too.
    let end = options.iter().position(|at| ends_kernel_words(value(*at)));
    let for_kernel = options.get(..end.map_or(options.len(), |end| end + 1)).unwrap_or_default();
    let changed = match edit {
        Edit::Last(_) => for_kernel.last().into_iter().copied().collect(),
        Edit::Without(_) => for_kernel.to_vec(),
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
        closed(number(at), bare)?;
        let gap = value.strip_suffix(bare).filter(|gap| !gap.is_empty()).unwrap_or(" ");
        let edited = words(bare, edit);
        unquoted(at, edited.trim())?;
        out.push_str(&format!("{key}{gap}{edited}{eol}"));
    }
    if let (Edit::Last(word), true) = (edit, changed.is_empty()) {
        let eol = if out.is_empty() || out.ends_with('\n') { "" } else { "\n" };
        out.push_str(&format!("{eol}options {word}\n"));
    }
    Ok(out)
}

fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1)
}

/// systemd-boot takes quotes around a whole value off, and GRUB does not.
fn unquoted(at: usize, value: &str) -> Result<(), String> {
    match in_quotes(value) {
        Some(_) => Err(format!("the options in line {} start and end with a quote", number(at))),
        None => Ok(()),
    }
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

    #[test]
    fn quotes_around_a_whole_value_are_none_of_it() {
        let options = |text: &str| {
            let words = Entry::parse("a", &Rc::new(Source::new("/a.conf", text))).options().parameters;
            words.into_iter().map(|word| word.at.text).collect::<Vec<_>>()
        };
        assert_eq!(options("options \"root=/dev/vda2 quiet\"\n"), ["root=/dev/vda2", "quiet"]);
        assert_eq!(options("options 'rw quiet'\n"), ["rw", "quiet"]);
        assert_eq!(options("options root=\"LABEL=a b\" rw\n"), ["root=\"LABEL=a b\"", "rw"]);
        for text in ["options 'rw quiet'\n", "options a\noptions \"b\" \n", "options \"b\" \"c\"\n"] {
            let why = edit(text, Edit::Last("nosmp")).unwrap_err();
            assert!(why.contains("start and end with a quote"), "{why}");
        }
        assert!(edit("options \"a b\" quiet\n", Edit::Without("quiet")).is_err(), "the rest would lose them");
    }

    #[test]
    fn what_follows_two_dashes_on_another_line_is_for_init() {
        let source = |text: &str| Rc::new(Source::new("/a.conf", text));
        let text = "options rw -- single\noptions cgroup_enable=memory\n";
        let options = Entry::parse("a", &source(text)).options();
        assert!(options.deciding("cgroup_enable=memory").is_none());
        let edited = edit(text, Edit::Last("cgroup_enable=memory")).unwrap();
        assert_eq!(edited, "options rw cgroup_enable=memory -- single\noptions cgroup_enable=memory\n");
        assert_eq!(edit(text, Edit::Without("cgroup_enable=memory")).as_deref(), Ok(text));
        let alone = Entry::parse("a", &source("options rw --\noptions quiet\n")).options();
        assert!(alone.parameters[1].for_init);
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
                        let passed = options.deciding(word).is_some_and(|last| last.is(word));
                        prop_assert!(passed, "{:?}", once);
                    }
                    Edit::Without(word) => prop_assert!(options.all(word).next().is_none(), "{:?}", once),
                }
                let _ = Entry::parse_as_grub("", &source);
            }
        }
    }
}
