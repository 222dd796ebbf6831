//! The kernel command line of the running system. What a boot loader is configured to pass next time
//! is another matter and not read here.

use std::rc::Rc;

use super::{Evidence, Facts, Source};
use crate::host::{Fact, OrAbsent};

const PATH: &str = "/proc/cmdline";

/// One word of the kernel command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// What stands before the first `=`.
    pub name: String,
    /// What stands after it, without quotes; `None` for a word without `=`.
    pub value: Option<String>,
    /// Whether it stands after a lone `--`, and so is no kernel parameter but an argument of init.
    pub for_init: bool,
    /// Where it stands, with the word as written.
    pub at: Evidence,
}

/// The kernel command line, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelCmdline {
    /// All words.
    pub parameters: Vec<Parameter>,
}

/// Two names that undo each other, of which the last word on a controller counts (Linux:
/// `kernel/cgroup/cgroup.c`, `cgroup_disable()`, and `cgroup_enable()` of the kernels that have it).
const CONTROLLER_SWITCHES: [&str; 2] = ["cgroup_disable", "cgroup_enable"];
/// Parameters of which each word counts, not the last alone.
const ACCUMULATE: [&str; 6] =
    ["console", "earlycon", "modprobe.blacklist", "module_blacklist", "systemd.mask", "systemd.wants"];

impl Parameter {
    /// Whether this is `word`: `NAME=VALUE`, where a list holds `VALUE`, or `NAME` with whatever value.
    pub fn is(&self, word: &str) -> bool {
        let (name, value) = unquote(word);
        if self.for_init || !same_name(&self.name, &name) {
            return false;
        }
        value.is_none() || self.value == value || self.lists(&name) && self.has_item(value.as_deref())
    }

    /// Whether this word, where it is last, undoes `word` or says it again.
    pub fn decides(&self, word: &str) -> bool {
        let (name, value) = unquote(word);
        let is_switch = |name: &str| CONTROLLER_SWITCHES.iter().any(|switch| same_name(name, switch));
        if is_switch(&name) {
            return !self.for_init && is_switch(&self.name) && self.has_item(value.as_deref());
        }
        if ACCUMULATE.iter().any(|each| same_name(each, &name)) {
            return self.is(word);
        }
        !self.for_init && same_name(&self.name, &name)
    }

    fn lists(&self, name: &str) -> bool {
        let lists = CONTROLLER_SWITCHES.iter().chain(&ACCUMULATE[2..4]);
        lists.into_iter().any(|each| same_name(each, name))
    }

    fn has_item(&self, item: Option<&str>) -> bool {
        let Some(item) = item else { return true };
        self.value.as_deref().unwrap_or_default().split(',').any(|each| each == item)
    }
}

impl KernelCmdline {
    /// The last word that says `word` or undoes it.
    pub fn deciding(&self, word: &str) -> Option<&Parameter> {
        self.parameters.iter().rev().find(|parameter| parameter.decides(word))
    }

    /// Splits as `next_arg()` in the kernel's `lib/cmdline.c` does: a double quote anywhere in a word
    /// makes white space part of it, and the quotes around a value or around the word are dropped.
    pub fn parse(source: &Source) -> KernelCmdline {
        let mut parameters = Vec::new();
        let mut for_init = false;
        for (line, text) in source.lines() {
            let mut rest = text.trim_start_matches(is_space);
            while !rest.is_empty() {
                let (word, after) = split_word(rest);
                rest = after.trim_start_matches(is_space);
                if word == "--" && !for_init {
                    for_init = true;
                    continue;
                }
                let (name, value) = unquote(word);
                let at = Evidence::line(source.path(), line, word);
                parameters.push(Parameter { name, value, for_init, at });
            }
        }
        KernelCmdline { parameters }
    }

    /// Every kernel parameter of this name, in order. `-` and `_` are the same in a name, as for the
    /// kernel (`parameq()` in `kernel/params.c`) and for systemd.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Parameter> {
        self.parameters.iter().filter(move |p| !p.for_init && same_name(&p.name, name))
    }

    /// The one that counts where a parameter that does not accumulate is given more than once.
    pub fn last(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().rev().find(|p| !p.for_init && same_name(&p.name, name))
    }

    /// The items of every `name=a,b` with the word each is from, for parameters that accumulate,
    /// such as `cgroup_disable=`.
    pub fn items<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a Evidence)> {
        self.all(name).flat_map(|p| {
            let items = p.value.as_deref().unwrap_or_default().split(',');
            items.filter(|item| !item.is_empty()).map(|item| (item, &p.at))
        })
    }
}

impl Facts {
    /// The kernel command line as far as there is one: an image root has none yet, and a container may
    /// have none at all, so nothing is configured by it there.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub(super) fn boot_parameters(&self) -> Fact<Rc<KernelCmdline>> {
        let none = || Rc::new(KernelCmdline { parameters: Vec::new() });
        if !self.running() {
            return Ok(none());
        }
        Ok(self.kernel_cmdline().or_absent()?.unwrap_or_else(none))
    }

    /// What a file holds that firmware makes the kernel command line of.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn kernel_cmdline_file(&self, path: &str) -> Fact<KernelCmdline> {
        Ok(KernelCmdline::parse(&*self.source(path)?))
    }

    /// The kernel command line (`/proc/cmdline`).
    ///
    /// # Errors
    /// When it cannot be read, or nothing runs.
    pub fn kernel_cmdline(&self) -> Fact<Rc<KernelCmdline>> {
        self.memo_fact("", || {
            self.need_running("the kernel command line")?;
            Ok(KernelCmdline::parse(&*self.source(PATH)?))
        })
    }
}

/// `isspace()` of the kernel, for ASCII.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

/// The first word, and what follows it.
pub(super) fn split_word(text: &str) -> (&str, &str) {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        if c == '"' {
            quoted = !quoted;
        } else if is_space(c) && !quoted {
            return text.split_at(at);
        }
    }
    (text, "")
}

/// Name and value of a word, without the quotes around them.
pub(super) fn unquote(word: &str) -> (String, Option<String>) {
    let whole = word.strip_prefix('"');
    let inner = whole.unwrap_or(word);
    let inner = if whole.is_some() { inner.strip_suffix('"').unwrap_or(inner) } else { inner };
    match inner.char_indices().find(|&(at, c)| c == '=' && at > 0) {
        Some((at, _)) => {
            let value = &inner[at + 1..];
            let value = match value.strip_prefix('"') {
                Some(open) => open.strip_suffix('"').unwrap_or(open),
                None => value,
            };
            (inner[..at].to_owned(), Some(value.to_owned()))
        }
        None => (inner.to_owned(), None),
    }
}

fn same_name(a: &str, b: &str) -> bool {
    let fold = |c| if c == b'-' { b'_' } else { c };
    a.len() == b.len() && a.bytes().map(fold).eq(b.bytes().map(fold))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;
    use crate::host::Unread;

    fn parse(text: &str) -> KernelCmdline {
        KernelCmdline::parse(&Source::new(PATH, text))
    }

    #[test]
    fn words_are_split_as_the_kernel_splits_them() {
        for (text, name, value) in [
            ("quiet", "quiet", None),
            ("root=/dev/vda1", "root", Some("/dev/vda1")),
            ("root=UUID=1-2", "root", Some("UUID=1-2")),
            ("dyndbg=\"file a.c +p\"", "dyndbg", Some("file a.c +p")),
            ("\"dyndbg=file a.c +p\"", "dyndbg", Some("file a.c +p")),
            ("a=", "a", Some("")),
            ("=a", "=a", None),
            ("a=\"unterminated b", "a", Some("unterminated b")),
        ] {
            let got = parse(text);
            assert_eq!(got.parameters.len(), 1, "{text}");
            assert_eq!(got.parameters[0].name, name, "{text}");
            assert_eq!(got.parameters[0].value.as_deref(), value, "{text}");
            assert_eq!(got.parameters[0].at.text, text);
        }
    }

    /// The firmware of a Raspberry Pi puts `cgroup_disable=memory` before the words of cmdline.txt.
    #[test]
    fn the_last_of_a_name_counts_and_lists_accumulate() {
        let got = parse(
            "coherent_pool=1M 8250.nr_uarts=0 cgroup_disable=memory console=ttyS0,115200 \
             root=PARTUUID=4e639091-02 rootfstype=ext4 cgroup-disable=io,misc cgroup_enable=memory",
        );
        assert_eq!(
            got.last("cgroup_disable").map(|p| p.value.as_deref()),
            Some(Some("io,misc")),
            "- and _ are alike"
        );
        assert_eq!(
            got.items("cgroup_disable").map(|(item, _)| item).collect::<Vec<_>>(),
            ["memory", "io", "misc"]
        );
        assert!(got.last("cgroup").is_none());
    }

    #[test]
    fn arguments_of_init_are_not_kernel_parameters() {
        let got = parse("quiet -- quiet=no --log x");
        assert_eq!(got.last("quiet").map(|p| p.value.clone()), Some(None));
        assert_eq!(got.parameters.iter().filter(|p| p.for_init).count(), 3);
    }

    #[test]
    fn an_image_has_no_command_line() {
        let facts = empty_host().file(PATH, "quiet\n").image().facts();
        assert!(matches!(facts.kernel_cmdline(), Err(Unread::NotRunning { .. })));
        let facts = empty_host().file(PATH, "quiet\n").facts();
        assert_eq!(facts.kernel_cmdline().unwrap().parameters.len(), 1);
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)[-_a=\" \\t\\n.é]{0,60}|.{0,60}") {
            let got = parse(&text);
            prop_assert!(got.parameters.iter().all(|p| p.at.line.is_some()));
        }
    }
}
