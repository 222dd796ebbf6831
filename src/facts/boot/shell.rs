//! Words for the kernel in a variable of a file that the shell reads, such as `/etc/default/u-boot`.

use std::ops::Range;

use super::edits::{self, Edit};
use super::line::{self, splice};
use crate::facts::Source;
use crate::facts::kernel_cmdline::KernelCmdline;

/// A variable that holds words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What counts where it is not there or empty.
    pub default: &'static str,
}

/// The last assignment of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Assigned {
    /// As it stands: the line, and where the words are, without quotes.
    Plain { line: u32, words: Range<usize>, is_quoted: bool },
    /// By the shell: with another variable, or under a condition.
    Computed { line: u32 },
}

/// What ends a value that stands without quotes, or makes it more than it says.
const SPECIAL: &str = "\"'$`\\;&|<>(){}*?[]~#!";

impl Variable {
    /// The value of its last assignment and the line, from 1.
    ///
    /// # Errors
    /// The line that the shell computes it in.
    pub(super) fn value<'t>(&self, text: &'t str) -> Result<Option<(u32, &'t str)>, u32> {
        match self.assigned(text) {
            None => Ok(None),
            Some(Assigned::Computed { line }) => Err(line),
            Some(Assigned::Plain { line, words, .. }) => Ok(text.get(words).map(|words| (line, words))),
        }
    }

    /// The words that it holds.
    ///
    /// # Errors
    /// The line that the shell computes them in.
    pub(super) fn words(&self, source: &Source) -> Result<KernelCmdline, u32> {
        let (line, words) = match self.value(source.text())? {
            Some((line, words)) if !words.trim().is_empty() => (line, words),
            _ => (1, self.default),
        };
        Ok(line::words(source.path(), line, words))
    }

    fn assigned(&self, text: &str) -> Option<Assigned> {
        let mut found = None;
        let mut at = 0;
        for (line, whole) in (1..).zip(text.split_inclusive('\n')) {
            let bare = whole.trim_end_matches(['\n', '\r']);
            if let Some(assigned) = self.on_line(line, at, bare) {
                found = Some(assigned);
            }
            at += whole.len();
        }
        found
    }

    fn on_line(&self, line: u32, at: usize, text: &str) -> Option<Assigned> {
        if text.trim_start().starts_with('#') || !mentions(text, self.name) {
            return None;
        }
        let plain = || {
            let value =
                text.strip_prefix("export ").unwrap_or(text).strip_prefix(self.name)?.strip_prefix('=')?;
            let start = at + text.len() - value.len();
            let (words, after, is_quoted) = match value.chars().next() {
                Some(quote @ ('"' | '\'')) => {
                    let inner = value.get(1..)?;
                    let end = inner.find(quote)?;
                    let words = inner.get(..end)?;
                    let is_special = |c| matches!(c, '$' | '`' | '\\');
                    if quote == '"' && words.contains(is_special) {
                        return None;
                    }
                    (start + 1..start + 1 + end, inner.get(end + 1..)?, true)
                }
                _ => {
                    let end = value.find(char::is_whitespace).unwrap_or(value.len());
                    let words = value.get(..end)?;
                    if words.contains(|c| SPECIAL.contains(c)) {
                        return None;
                    }
                    (start..start + end, value.get(end..)?, false)
                }
            };
            let rest = after.trim_start();
            let is_comment = rest.starts_with('#') && rest.len() < after.len();
            (rest.is_empty() || is_comment).then_some(Assigned::Plain { line, words, is_quoted })
        };
        Some(plain().unwrap_or(Assigned::Computed { line }))
    }

    /// # Errors
    /// What stands in the way, as a clause with the line.
    pub(super) fn edit(&self, text: &str, change: Edit<'_>) -> Result<String, String> {
        edits::writable(change, "\"'$`\\")?;
        match self.assigned(text) {
            Some(Assigned::Computed { line }) => {
                Err(format!("the shell puts {} together in line {line}", self.name))
            }
            Some(Assigned::Plain { line, words, is_quoted }) => {
                let old = text.get(words.clone()).unwrap_or_default();
                let from = if old.trim().is_empty() { self.default } else { old };
                edits::closed(line, from)?;
                let new = edits::words(from, change);
                if new == from {
                    return Ok(text.to_owned());
                }
                if new.trim().is_empty() && !self.default.is_empty() {
                    return Err(format!("without a word in line {line} {:?} counts", self.default));
                }
                let new = if is_quoted { new } else { format!("\"{new}\"") };
                splice(text, words, &new).ok_or_else(|| format!("line {line} cannot be cut"))
            }
            None => {
                let new = edits::words(self.default, change);
                if new == self.default {
                    return Ok(text.to_owned());
                }
                Ok(self.added(text, &new))
            }
        }
    }

    /// With a line for it, behind the comment that shows it where there is one.
    fn added(&self, text: &str, words: &str) -> String {
        let mut at = text.len();
        let mut end = 0;
        for whole in text.split_inclusive('\n') {
            end += whole.len();
            let comment = whole.trim_start().strip_prefix('#').map(str::trim_start);
            let shows = |text: &str| text.strip_prefix(self.name).is_some_and(|rest| rest.starts_with('='));
            if comment.is_some_and(shows) {
                at = end;
            }
        }
        let (before, after) = text.split_at(at);
        let missing = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
        format!("{before}{missing}{}=\"{words}\"\n{after}", self.name)
    }
}

/// Whether the name stands there as a whole.
fn mentions(text: &str, name: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + name.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARAMETERS: Variable = Variable { name: "U_BOOT_PARAMETERS", default: "ro quiet" };
    const WORD: &str = "cgroup_enable=memory";

    /// `/etc/default/u-boot` of Debian's u-boot-menu 4.2.2, and `/etc/update-extlinux.conf` of Alpine's
    /// syslinux 6.04_pre1, as far as they matter.
    #[test]
    fn a_word_is_added_where_the_shell_takes_it_from() {
        for (text, edited) in [
            (
                "#U_BOOT_PROMPT=\"0\"\n#U_BOOT_PARAMETERS=\"ro quiet\"\n#U_BOOT_ROOT=\"\"\n",
                "#U_BOOT_PROMPT=\"0\"\n#U_BOOT_PARAMETERS=\"ro quiet\"\n\
                 U_BOOT_PARAMETERS=\"ro quiet cgroup_enable=memory\"\n#U_BOOT_ROOT=\"\"\n",
            ),
            ("", "U_BOOT_PARAMETERS=\"ro quiet cgroup_enable=memory\"\n"),
            ("A=1", "A=1\nU_BOOT_PARAMETERS=\"ro quiet cgroup_enable=memory\"\n"),
            ("U_BOOT_PARAMETERS=\n", "U_BOOT_PARAMETERS=\"ro quiet cgroup_enable=memory\"\n"),
            ("U_BOOT_PARAMETERS=quiet # a\n", "U_BOOT_PARAMETERS=\"quiet cgroup_enable=memory\" # a\n"),
            ("U_BOOT_PARAMETERS='rw  a' \r\n", "U_BOOT_PARAMETERS='rw  a cgroup_enable=memory' \r\n"),
            (
                "U_BOOT_PARAMETERS=\"rw\"\nexport U_BOOT_PARAMETERS=\"ro\"\n",
                "U_BOOT_PARAMETERS=\"rw\"\nexport U_BOOT_PARAMETERS=\"ro cgroup_enable=memory\"\n",
            ),
            (
                "MY_U_BOOT_PARAMETERS=$A\nU_BOOT_PARAMETERS=\"a\"",
                "MY_U_BOOT_PARAMETERS=$A\nU_BOOT_PARAMETERS=\"a cgroup_enable=memory\"",
            ),
        ] {
            assert_eq!(PARAMETERS.edit(text, Edit::Last(WORD)).as_deref(), Ok(edited), "{text:?}");
        }
        assert_eq!(PARAMETERS.edit("", Edit::Without("quiet")).as_deref(), Ok("U_BOOT_PARAMETERS=\"ro\"\n"));
        assert_eq!(PARAMETERS.edit("A=1\n", Edit::Without("nosmp")).as_deref(), Ok("A=1\n"));
    }

    #[test]
    fn what_the_shell_puts_together_is_left_alone() {
        for text in [
            "U_BOOT_PARAMETERS=\"$U_BOOT_PARAMETERS rw\"\n",
            "U_BOOT_PARAMETERS=\"ro\"; A=1\n",
            "if true; then\n  U_BOOT_PARAMETERS=\"ro\"\nfi\n",
            "U_BOOT_PARAMETERS=\"ro\nquiet\"\n",
            "U_BOOT_PARAMETERS+=\" ro\"\n",
            "unset U_BOOT_PARAMETERS\n",
            "U_BOOT_PARAMETERS=a\"b\"\n",
        ] {
            assert!(PARAMETERS.edit(text, Edit::Last(WORD)).is_err(), "{text:?}");
        }
        assert!(PARAMETERS.edit("", Edit::Last("a=\"b c\"")).is_err());
        assert!(PARAMETERS.edit("U_BOOT_PARAMETERS='a=\"b'\n", Edit::Last(WORD)).is_err());
    }

    proptest! {
        #[test]
        fn twice_is_once_and_the_rest_stays(
            before in "(?s)((U_BOOT_PARAMETERS=|export |A=1|#|\"|'|\\$|quiet|cgroup_disable=memory| |\r?\n|é)){0,12}",
            change in prop_oneof![Just(Edit::Last(WORD)), Just(Edit::Without("cgroup_disable=memory"))],
        ) {
            let Ok(once) = PARAMETERS.edit(&before, change) else { return Ok(()) };
            prop_assert_eq!(PARAMETERS.edit(&once, change), Ok(once.clone()), "{:?}", before);
            let words = PARAMETERS.words(&Source::new("", once.clone())).unwrap();
            match change {
                Edit::Last(word) => prop_assert!(words.deciding(word).is_some_and(|last| last.is(word))),
                Edit::Without(word) => prop_assert!(!words.parameters.iter().any(|p| p.is(word))),
            }
            let changed = once.lines().filter(|line| !before.lines().any(|old| old == *line)).count();
            prop_assert!(changed <= 1, "{:?} {:?}", before, once);
        }
    }
}
