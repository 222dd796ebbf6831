//! What U-Boot reads beside `extlinux.conf`: its scripts, and texts that they import into its environment.

mod commands;
mod environment;
mod image;
mod script;

use crate::facts::boot::Edit;
use crate::facts::boot::edits;
use crate::facts::boot::line::splice;

pub(super) use environment::Environment;
pub(super) use image::Script;
#[cfg(test)]
pub(super) use image::mkimage;
pub(super) use script::{only_bootargs, run};

/// What U-Boot or its shell gives a meaning of its own.
const SPECIAL: &str = "\"'$\\;&|#<>(){}";

/// A change of the value of a variable in a text that U-Boot imports.
///
/// # Errors
/// What stands in the way, as a clause with the line.
pub(super) fn edit_environment(name: &str, text: &str, change: Edit<'_>) -> Result<String, String> {
    edits::writable(change, "$\\")?;
    let environment = Environment::parse(text);
    if let Some(variable) = environment.last(name) {
        let line = variable.line;
        let words = text.get(variable.range.clone()).unwrap_or_default();
        if words.contains('\\') {
            return Err(format!("a backslash hides what follows it in line {line}"));
        }
        edits::closed(line, words)?;
        let edited = edits::words(words, change);
        return splice(text, variable.range.clone(), &edited)
            .ok_or_else(|| format!("line {line} cannot be cut"));
    }
    let Edit::Last(word) = change else { return Ok(text.to_owned()) };
    let line_end = if text.ends_with("\r\n") { "\r\n" } else { "\n" };
    let missing = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    Ok(format!("{text}{missing}{name}={word}{line_end}"))
}

/// A change of the words of the one `setenv bootargs`.
///
/// # Errors
/// What stands in the way, as a clause with the line.
pub(super) fn edit_script(text: &str, change: Edit<'_>) -> Result<String, String> {
    edits::writable(change, SPECIAL)?;
    let set = script::only_bootargs(text)?;
    let words = text.get(set.range.clone()).unwrap_or_default();
    if words.contains('\\') || !set.is_quoted && words.starts_with(['"', '\'']) {
        return Err(format!("bootargs are put together in line {}", set.line));
    }
    edits::closed(set.line, words)?;
    let edited = match edits::words(words, change) {
        none if none.is_empty() && !set.is_quoted => "\"\"".to_owned(),
        edited => edited,
    };
    splice(text, set.range, &edited).ok_or_else(|| format!("line {} cannot be cut", set.line))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::Source;

    const WORD: &str = "cgroup_enable=memory";

    #[test]
    fn the_last_line_of_a_variable_counts() {
        for (text, edited) in [
            ("verbosity=1\nextraargs=cma=256M\n", "verbosity=1\nextraargs=cma=256M cgroup_enable=memory\n"),
            (
                "extraargs=a\n  extraargs=b\n#extraargs=c\n",
                "extraargs=a\n  extraargs=b cgroup_enable=memory\n#extraargs=c\n",
            ),
            ("verbosity=1\n", "verbosity=1\nextraargs=cgroup_enable=memory\n"),
            ("verbosity=1", "verbosity=1\nextraargs=cgroup_enable=memory\n"),
            ("verbosity=1\r\n", "verbosity=1\r\nextraargs=cgroup_enable=memory\r\n"),
            ("extraargs=a\r\nb=1\r\n", "extraargs=a cgroup_enable=memory\r\nb=1\r\n"),
            ("extraargs=\nb=1", "extraargs=cgroup_enable=memory\nb=1"),
            ("extraargs =a\n", "extraargs =a\nextraargs=cgroup_enable=memory\n"),
        ] {
            assert_eq!(
                edit_environment("extraargs", text, Edit::Last(WORD)).as_deref(),
                Ok(edited),
                "{text:?}"
            );
        }
        assert!(edit_environment("extraargs", "extraargs=a\\ b\n", Edit::Last(WORD)).is_err());
        assert!(edit_environment("extraargs", "", Edit::Last("a=${b}")).is_err());
        let without = edit_environment("extraargs", "extraargs=nosmp a\n", Edit::Without("nosmp"));
        assert_eq!(without.as_deref(), Ok("extraargs=a\n"));
    }

    #[test]
    fn a_script_is_edited_in_its_one_place() {
        for (text, edited) in [
            (
                "setenv bootargs \"root=${r} rw\"\nbooti\n",
                "setenv bootargs \"root=${r} rw cgroup_enable=memory\"\nbooti\n",
            ),
            (
                "# setenv bootargs x\nsetenv bootargs console=tty1 smsc95xx.macaddr=\"${usbethaddr}\"\n",
                "# setenv bootargs x\nsetenv bootargs console=tty1 smsc95xx.macaddr=\"${usbethaddr}\" cgroup_enable=memory\n",
            ),
            ("setenv bootargs a; run b", "setenv bootargs a cgroup_enable=memory; run b"),
        ] {
            assert_eq!(edit_script(text, Edit::Last(WORD)).as_deref(), Ok(edited), "{text:?}");
        }
        for text in [
            "",
            "setenv bootargs a\nsetenv bootargs b\n",
            "if test -e a; then\nsetenv bootargs a\nfi\n",
            "test -e a && setenv bootargs a\n",
            "setenv bootargs a\nsetenv bootargs \"${bootargs} b\"\n",
            "setenv bootargs \"a\\\"b\"\n",
            "setenv bootargs 'a\n",
            "setenv bootargs a \\\n b\n",
        ] {
            assert!(edit_script(text, Edit::Last(WORD)).is_err(), "{text:?}");
        }
        assert!(edit_script("setenv bootargs a\n", Edit::Last("a;b")).is_err());
    }

    /// What grows with each command is bounded.
    #[test]
    fn hostile_scripts_end() {
        let load = |_: &str| Ok(None);
        let run = |text: &str| run(&Source::new("/boot/boot.scr", text), load, |_| Ok(false)).unwrap();
        for text in [
            format!("setenv a b\n{}", "setenv a \"${a}${a}\"\n".repeat(4000)),
            format!("setenv bootargs a\n{}", "setenv bootargs \"${bootargs} ${bootargs}\"\n".repeat(200)),
            "setenv bootargs \"${bootargs} a\"\n".repeat(4000),
            "if ".repeat(300_000),
            "fi;".repeat(300_000),
            "'".repeat(1 << 20),
            "\\".repeat(1 << 20),
            "a&&".repeat(300_000),
            format!("setenv bootargs {}", "${".repeat(500_000)),
            "Env.txt".repeat(150_000),
            format!(
                "setenv bootargs a\n{}",
                "if x; then setenv bootargs \"${bootargs} b\"; fi\n".repeat(250)
            ),
            format!(
                "setenv bootargs a\nif x; then\n{}fi\n",
                "setenv bootargs \"${bootargs} ${bootargs}\"\n".repeat(200)
            ),
        ] {
            if let Ok(assembled) = run(&text) {
                assert!(assembled.words.parameters.len() <= 2 * 4096);
                assert!(assembled.texts.len() <= 32);
            }
        }
    }

    proptest! {
        #[test]
        fn any_script_can_be_gone_through(
            text in "(?s)((setenv |bootargs |\"|'|#|;|\\$\\{a\\}|\\$|if |test |then|else|elif|fi|for|do|done|&&|\\|\\||&|\\\\|= b| |\n|é)){0,24}",
        ) {
            let _ = run(&Source::new("", text), |_| Ok(None), |_| Ok(false));
        }

        #[test]
        fn twice_is_once_and_the_rest_stays(
            text in "(?s)((setenv bootargs |extraargs=|verbosity=1|\"|'|#|;|\\$\\{a\\}|if x|; then|fi|quiet|cgroup_disable=memory| |\r?\n|é)){0,14}",
            change in prop_oneof![Just(Edit::Last(WORD)), Just(Edit::Without("cgroup_disable=memory"))],
        ) {
            let environment = |text: &str| edit_environment("extraargs", text, change);
            for edit in [&environment as &dyn Fn(&str) -> Result<String, String>, &|text| edit_script(text, change)] {
                let Ok(once) = edit(&text) else { continue };
                prop_assert_eq!(edit(&once), Ok(once.clone()), "{:?}", text);
                let changed = once.lines().filter(|line| !text.lines().any(|old| old == *line)).count();
                prop_assert!(changed <= 1, "{:?} {:?}", text, once);
            }
        }
    }
}
