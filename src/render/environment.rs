//! Variables, for a shell to evaluate.
//!
//! Statements come first and end with `;`, and comments last: an `eval $(...)` without quotes joins all lines.

use crate::cli::Shell;
use crate::settings::quoted;

/// A variable, its value, and why it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The name.
    pub name: String,
    /// The value: one line.
    pub value: String,
    /// Which stack wants it, and why.
    pub why: String,
}

/// What a shell evaluates to have the variables, or, with `unset`, not to have them. `hint` is a comment.
pub fn environment(assignments: &[Assignment], shell: Shell, unset: bool, hint: &str) -> String {
    let statement = |Assignment { name, value, .. }: &Assignment| match (shell, unset) {
        (Shell::Posix, false) => format!("export {name}={};\n", quoted(value)),
        (Shell::Posix, true) => format!("unset {name};\n"),
        (Shell::Fish, false) => format!("set -gx {name} {};\n", fish_quoted(value)),
        (Shell::Fish, true) => format!("set -e {name};\n"),
    };
    let comment = |text: &str| format!("# {}\n", super::printable(text));
    let mut text: String = assignments.iter().map(statement).collect();
    if !unset {
        text.extend(assignments.iter().map(|of| comment(&format!("{}: {}", of.name, of.why))));
    }
    text + &comment(hint)
}

/// In single quotes a backslash is one only before itself and a quote (fish, "Quotes").
fn fish_quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: &str, shell: Shell, unset: bool) -> String {
        let (name, why) = ("A".to_owned(), "kind: because".to_owned());
        environment(&[Assignment { name, value: value.to_owned(), why }], shell, unset, "run it")
    }

    #[test]
    fn each_shell_has_its_words() {
        let tail = "# A: kind: because\n# run it\n";
        assert_eq!(one("unix:///run/x", Shell::Posix, false), format!("export A=unix:///run/x;\n{tail}"));
        assert_eq!(one("it's \\", Shell::Posix, false), format!("export A='it'\\''s \\';\n{tail}"));
        assert_eq!(one("it's \\", Shell::Fish, false), format!("set -gx A 'it\\'s \\\\';\n{tail}"));
        assert_eq!(one("x", Shell::Posix, true), "unset A;\n# run it\n");
        assert_eq!(one("x", Shell::Fish, true), "set -e A;\n# run it\n");
        assert_eq!(environment(&[], Shell::Posix, false, "none"), "# none\n");
    }
}
