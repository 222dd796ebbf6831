//! How words are added to the text of a boot loader's file, and taken out; all else stays, byte for byte.

use super::bls;
use super::bootc::Kargs;
use super::grub::Defaults;
use super::raspberry_pi::LINE_BYTES;
use super::{extlinux, shell, u_boot};
use crate::facts::Source;
use crate::facts::kernel_cmdline::{self, KernelCmdline, split_word};

/// A change of the words that the kernel is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit<'w> {
    /// This word is there and nothing of its kind stands after it: it is added, or moved, to the end.
    Last(&'w str),
    /// This word is not there. Of a list, such as `cgroup_disable=memory,io`, the item is taken out.
    Without(&'w str),
}

/// How words are written in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Words on the first line, and nothing else: `cmdline.txt` of a Raspberry Pi.
    FirstLine,
    /// The same, where the words are put to others: `/etc/default/raspi-extra-cmdline`.
    FirstLineOfMore,
    /// The `APPEND` line of the label that boots.
    Extlinux(extlinux::Reader),
    /// What `NAME=` holds in a file that the shell reads.
    Shell(shell::Variable),
    /// What `NAME=` holds in a text that U-Boot imports into its environment.
    UBootEnvironment(&'static str),
    /// `setenv bootargs` in a script of U-Boot.
    UBootScript,
    /// Words on all lines, and nothing else: `/etc/kernel/cmdline`.
    AllLines,
    /// Values of shell variables: `/etc/default/grub`.
    Grub(Defaults),
    /// `options` of an entry of the Boot Loader Specification.
    LoaderEntry,
    /// `kargs = ["WORD", ...]`, with what the other files of the directory say.
    Kargs(Kargs),
}

impl Syntax {
    /// Whether a file that is not there may be made: one of ours among others.
    pub fn may_be_new(&self) -> bool {
        matches!(self, Syntax::Kargs(_))
    }

    /// The text with the change.
    ///
    /// # Errors
    /// What stands in the way, as a clause with the line.
    pub fn edit(&self, text: &str, edit: Edit<'_>) -> Result<String, String> {
        match self {
            Syntax::FirstLine => {
                let edited = first_line(text, edit)?;
                if edited.lines().next().is_none_or(is_blank) && !text.lines().next().is_none_or(is_blank) {
                    let why =
                        "no word would be left in line 1, and the boot loader passes words of its own then";
                    return Err(why.to_owned());
                }
                Ok(edited)
            }
            Syntax::FirstLineOfMore => first_line(text, edit),
            Syntax::Extlinux(reader) => extlinux::edit(*reader, text, edit),
            Syntax::Shell(variable) => variable.edit(text, edit),
            Syntax::UBootEnvironment(name) => u_boot::edit_environment(name, text, edit),
            Syntax::UBootScript => u_boot::edit_script(text, edit),
            Syntax::AllLines => {
                for (number, line) in (1..).zip(text.lines()) {
                    closed(number, line)?;
                    if line.trim_start().starts_with('#') {
                        return Err(format!(
                            "line {number} begins with #, which some readers take for words"
                        ));
                    }
                }
                Ok(words(text, edit))
            }
            Syntax::Grub(defaults) => defaults.edit(text, edit),
            Syntax::LoaderEntry => bls::edit(text, edit),
            Syntax::Kargs(others) => others.edit(text, edit),
        }
    }
}

/// A word goes where no character of it is `special`.
pub(super) fn writable(edit: Edit<'_>, special: &str) -> Result<(), String> {
    let (Edit::Last(word) | Edit::Without(word)) = edit;
    match word.chars().find(|c| special.contains(*c) || matches!(c, '\n' | '\r' | '\0')) {
        Some(c) if matches!(edit, Edit::Last(_)) => {
            Err(format!("{c:?} in {word} has a meaning of its own there"))
        }
        _ => Ok(()),
    }
}

/// What is put behind a quote that is not closed would be part of that word.
pub(super) fn closed(line: u32, words: &str) -> Result<(), String> {
    if words.matches('"').count().is_multiple_of(2) {
        return Ok(());
    }
    Err(format!("a quote is not closed in line {line}"))
}

fn is_blank(line: &str) -> bool {
    line.trim_matches(kernel_cmdline::is_space).is_empty()
}

/// Words below the first line are moved up with the change only where they are the ones that are wanted: what
/// else stands there was never passed, and might not be meant to be.
fn first_line(text: &str, edit: Edit<'_>) -> Result<String, String> {
    closed(1, text.lines().next().unwrap_or_default())?;
    let end = text.find('\n').unwrap_or(text.len());
    let (line, rest) = text.split_at(end);
    let (line, eol) = match line.strip_suffix('\r') {
        Some(line) => (line, "\r"),
        None => (line, ""),
    };
    let edited = words(line, edit);
    let rest = match edit {
        Edit::Last(_) if edited != line && edited.len() > LINE_BYTES => {
            return Err(format!(
                "line 1 would be too long: kernels may cut off what stands past byte {LINE_BYTES}"
            ));
        }
        Edit::Last(word) => without_lines_of(rest, word),
        Edit::Without(_) => rest.to_owned(),
    };
    Ok(format!("{edited}{eol}{rest}"))
}

/// Takes a word that was meant for the first line out of the lines below, and a line that held nothing else.
/// All other words stay as they are, as do comments.
fn without_lines_of(rest: &str, word: &str) -> String {
    let mut out = String::new();
    for line in rest.split_inclusive('\n') {
        let bare = line.trim_end_matches(['\n', '\r']);
        let is_text = bare.trim_start().starts_with('#') || closed(0, bare).is_err();
        if is_text || !each_word(bare).any(|(_, other)| other == word) {
            out.push_str(line);
            continue;
        }
        let edited = without(bare, word, true);
        if !is_blank(&edited) {
            out.push_str(&edited);
            out.push_str(&line[bare.len()..]);
        }
    }
    out
}

/// A line of words with a change. White space between the words that stay is left alone.
pub(super) fn words(line: &str, edit: Edit<'_>) -> String {
    match edit {
        Edit::Last(word) => {
            let (kernel, init) = line.split_at(end_of_kernel_words(line));
            if last_of_kind(kernel, word) {
                return line.to_owned();
            }
            let kernel = without(kernel, word, true);
            let bare = kernel.trim_end_matches(kernel_cmdline::is_space);
            let gap = if bare.is_empty() { "" } else { " " };
            let tail = &kernel[bare.len()..];
            let apart = if tail.is_empty() && init.starts_with("--") { " " } else { "" };
            format!("{bare}{gap}{word}{tail}{apart}{init}")
        }
        Edit::Without(word) => without(line, word, false),
    }
}

/// Where the words for the kernel end: at a lone `--`, or with the line.
fn end_of_kernel_words(line: &str) -> usize {
    let end = each_word(line).find(|(_, word)| *word == "--");
    end.map_or(line.len(), |(at, _)| line[..at].trim_end_matches(kernel_cmdline::is_space).len())
}

/// Whether what follows this text is for init: a lone `--` stands in it.
pub(super) fn ends_kernel_words(text: &str) -> bool {
    each_word(text).any(|(_, word)| word == "--")
}

fn each_word(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &line[at..];
        let start = at + (rest.len() - rest.trim_start_matches(kernel_cmdline::is_space).len());
        let (word, _) = split_word(&line[start..]);
        at = start + word.len();
        (!word.is_empty()).then_some((start, word))
    })
}

fn parts(word: &str) -> (String, Option<String>) {
    let (name, value) = kernel_cmdline::unquote(word);
    (name.replace('-', "_"), value)
}

/// Whether `word` is there and nothing after it undoes it.
fn last_of_kind(line: &str, word: &str) -> bool {
    let words = KernelCmdline::parse(&Source::new("", line));
    words.deciding(word).is_some_and(|last| last.is(word))
}

/// The line without a word. With `whole`, a list that holds the word's item among others stays.
fn without(line: &str, word: &str, whole: bool) -> String {
    let (name, value) = parts(word);
    let mut out = String::new();
    let mut copied = 0;
    for (at, other) in each_word(line) {
        let (other_name, other_value) = parts(other);
        if other_name != name {
            continue;
        }
        let end = at + other.len();
        if other_value == value {
            let before = line[copied..at].trim_end_matches(kernel_cmdline::is_space);
            let is_first = out.is_empty() && before.is_empty();
            out.push_str(before);
            copied = end;
            if is_first {
                let rest = &line[end..];
                copied += rest.len() - rest.trim_start_matches(kernel_cmdline::is_space).len();
            }
        } else if !whole
            && let (Some(item), Some(list)) = (&value, &other_value)
            && list.split(',').any(|each| each == item)
        {
            let left: Vec<&str> = list.split(',').filter(|each| each != item).collect();
            let kept = &other[..other.len() - list.len()];
            out.push_str(&line[copied..at]);
            out.push_str(&format!("{kept}{}", left.join(",")));
            copied = end;
        }
    }
    out.push_str(&line[copied..]);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_word_is_added_or_moved_to_the_end() {
        let enable = "cgroup_enable=memory";
        for (line, edited) in [
            ("", "cgroup_enable=memory"),
            ("quiet", "quiet cgroup_enable=memory"),
            ("quiet  splash ", "quiet  splash cgroup_enable=memory "),
            ("quiet cgroup_enable=memory", "quiet cgroup_enable=memory"),
            ("cgroup_enable=memory quiet", "cgroup_enable=memory quiet"),
            ("cgroup_enable=memory cgroup_disable=memory", "cgroup_disable=memory cgroup_enable=memory"),
            (
                "a cgroup-enable=memory b cgroup_disable=io,memory c",
                "a b cgroup_disable=io,memory c cgroup_enable=memory",
            ),
            ("cgroup_disable=memory cgroup_enable=memory", "cgroup_disable=memory cgroup_enable=memory"),
            ("cgroup_enable=memory cgroup_disable=io", "cgroup_enable=memory cgroup_disable=io"),
            ("cgroup_enable=cpuset", "cgroup_enable=cpuset cgroup_enable=memory"),
            ("quiet -- single", "quiet cgroup_enable=memory -- single"),
            ("-- single", "cgroup_enable=memory -- single"),
            ("a=\"b -- c\" d", "a=\"b -- c\" d cgroup_enable=memory"),
        ] {
            assert_eq!(words(line, Edit::Last(enable)), edited, "{line:?}");
        }
        let unified = Edit::Last("systemd.unified_cgroup_hierarchy=1");
        assert_eq!(
            words("systemd.unified_cgroup_hierarchy=0 x", unified),
            "systemd.unified_cgroup_hierarchy=0 x systemd.unified_cgroup_hierarchy=1"
        );
    }

    #[test]
    fn a_word_is_taken_out_and_of_a_list_the_item() {
        for (line, edited) in [
            ("a cgroup_disable=memory b", "a b"),
            ("cgroup_disable=memory b", "b"),
            ("a  cgroup_disable=memory", "a"),
            ("cgroup_disable=memory", ""),
            ("a cgroup-disable=io,memory,misc b", "a cgroup-disable=io,misc b"),
            ("a cgroup_disable=memory2", "a cgroup_disable=memory2"),
            ("cgroup_disable", "cgroup_disable"),
        ] {
            assert_eq!(words(line, Edit::Without("cgroup_disable=memory")), edited, "{line:?}");
        }
    }

    #[test]
    fn only_the_first_line_is_read() {
        let add = |text: &str| Syntax::FirstLine.edit(text, Edit::Last("cgroup_enable=memory")).unwrap();
        for (text, edited) in [
            ("a\n", "a cgroup_enable=memory\n"),
            ("a", "a cgroup_enable=memory"),
            ("a\r\n", "a cgroup_enable=memory\r\n"),
            ("a\ncgroup_enable=memory\n", "a cgroup_enable=memory\n"),
            ("a\ncgroup_enable=memory b\n", "a cgroup_enable=memory\nb\n"),
            ("a\n\n", "a cgroup_enable=memory\n\n"),
            ("a\nb cgroup_enable=memory\n", "a cgroup_enable=memory\nb\n"),
            // Not the word, but others.
            ("a\ncgroup_enable=cpuset,memory\n", "a cgroup_enable=memory\ncgroup_enable=cpuset,memory\n"),
            ("a\n# cgroup_enable=memory\n", "a cgroup_enable=memory\n# cgroup_enable=memory\n"),
            ("a\nb=\" cgroup_enable=memory\n", "a cgroup_enable=memory\nb=\" cgroup_enable=memory\n"),
        ] {
            assert_eq!(add(text), edited, "{text:?}");
        }
        let off = |syntax: Syntax, text: &str| syntax.edit(text, Edit::Without("nosmp"));
        assert_eq!(off(Syntax::FirstLine, "a nosmp\nnosmp\n").unwrap(), "a\nnosmp\n");
        for text in ["nosmp\n", " nosmp ", "nosmp\r\na\n"] {
            assert!(off(Syntax::FirstLine, text).unwrap_err().contains("no word would be left"), "{text:?}");
        }
        assert_eq!(off(Syntax::FirstLineOfMore, "nosmp\n").unwrap(), "\n");
        assert_eq!(off(Syntax::FirstLine, "\nnosmp\n").unwrap(), "\nnosmp\n");
    }

    #[test]
    fn a_first_line_that_may_be_cut_off_is_not_made() {
        let long = format!("{} nosmp\n", "x".repeat(LINE_BYTES - 8));
        let edit = |edit| Syntax::FirstLine.edit(&long, edit);
        assert!(edit(Edit::Last("a=1")).unwrap_err().contains("too long"));
        assert_eq!(edit(Edit::Last("nosmp")).unwrap(), long);
        assert!(edit(Edit::Without("nosmp")).is_ok());
        assert!(edit(Edit::Last("a")).is_ok(), "it fits");
    }

    proptest! {
        #[test]
        fn twice_is_once(line in "(?s)((cgroup[-_](enable|disable)=|memory|cpuset|,|quiet|--|\"|=| |\n|\r\n|é)){0,14}") {
            for edit in [Edit::Last("cgroup_enable=memory"), Edit::Without("cgroup_disable=memory")] {
                let Ok(once) = Syntax::FirstLine.edit(&line, edit) else { continue };
                prop_assert_eq!(&Syntax::FirstLine.edit(&once, edit).unwrap(), &once, "{:?}", line);
            }
        }
    }
}
