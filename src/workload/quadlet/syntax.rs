//! The syntax of Quadlet files as Podman's own parser takes it (podman: `pkg/systemd/parser/unitfile.go`, 5.3
//! to 6.0). Unlike systemd it refuses a file for one line that is none, joins continued lines without a space,
//! and lets neither a comment nor an empty line end one. Before 5.0 it refuses indented lines, too.

use crate::facts::unit_syntax::Assignment;
use crate::facts::{Evidence, Source};

/// Why a file is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The line.
    pub(super) at: Evidence,
    /// What is wrong there, in a clause.
    pub(super) what: &'static str,
}

/// Every assignment, in order, with the first of its lines.
///
/// # Errors
/// The first line that is neither a group, a key with a value nor a comment.
pub(super) fn parse(source: &Source) -> Result<Vec<Assignment>, Refused> {
    let mut found = Vec::new();
    let mut group: Option<String> = None;
    let mut pending: Option<(u32, &str, String)> = None;
    let lines = source.text().strip_suffix('\n').unwrap_or(source.text()).split('\n');
    let mut lines = (1..).zip(lines).peekable();
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let (first, shown, mut text) = pending.take().unwrap_or_else(|| (number, line, String::new()));
        let continued = line.strip_suffix('\\');
        text.push_str(continued.unwrap_or(line));
        if continued.is_some() && lines.peek().is_some() {
            pending = Some((first, shown, text));
            continue;
        }
        let refused = |what| Refused { at: source.on(first, shown, ()).at, what };
        match group_name(&text) {
            Some(name) if is_group_name(name) => group = Some(name.to_owned()),
            Some(_) => return Err(refused("no name of a group")),
            None => {
                let (key, value) = text
                    .split_once('=')
                    .filter(|(key, _)| !key.is_empty())
                    .ok_or_else(|| refused("neither a group, a key with a value nor a comment"))?;
                let section = group.clone().ok_or_else(|| refused("a key before the first group"))?;
                let value = source.on(first, shown, value.trim_start().to_owned());
                found.push(Assignment { section, key: key.trim_end().to_owned(), value });
            }
        }
    }
    Ok(found)
}

/// What stands in the brackets of a line that is a group.
fn group_name(line: &str) -> Option<&str> {
    let (name, rest) = line.strip_prefix('[')?.split_once(']')?;
    rest.trim_matches([' ', '\t']).is_empty().then_some(name)
}

fn is_group_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '[' || c.is_control())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `LINE Group.key=value` for every assignment.
    fn read(text: &str) -> Result<Vec<String>, (u32, &'static str)> {
        let line =
            |a: Assignment| format!("{} {}.{}={}", a.value.at.line.unwrap(), a.section, a.key, a.value.value);
        parse(&Source::new("/u", text))
            .map(|found| found.into_iter().map(line).collect())
            .map_err(|refused| (refused.at.line.unwrap(), refused.what))
    }

    #[test]
    fn what_podman_reads() {
        for (text, expected) in [
            ("[Container]\nImage=nginx\n", vec!["2 Container.Image=nginx"]),
            ("  [Container]  \r\n\tImage = nginx \r\n", vec!["2 Container.Image=nginx"]),
            ("[C]\nExec=a \\\n  b\nX=", vec!["2 C.Exec=a b", "4 C.X="]),
            ("[C]\nExec=a\\\nb", vec!["2 C.Exec=ab"]),
            ("[C]\nExec=a \\\n# no\n\n ; no\nb", vec!["2 C.Exec=a b"]),
            ("[C]\nExec=a\\", vec!["2 C.Exec=a"]),
            ("[C]\nExec=a \\\n# lost with what it continues", vec![]),
            ("[C]\nA=1 # c\n[D]\nA=b=c\n[C]\nB=2", vec!["2 C.A=1 # c", "4 D.A=b=c", "6 C.B=2"]),
            ("", vec![]),
            ("# only", vec![]),
        ] {
            assert_eq!(read(text), Ok(expected.iter().map(|line| (*line).to_owned()).collect()), "{text:?}");
        }
    }

    #[test]
    fn what_podman_refuses() {
        let neither = "neither a group, a key with a value nor a comment";
        for (text, line, what) in [
            ("Image=nginx\n", 1, "a key before the first group"),
            ("[Container]\nImage\n", 2, neither),
            ("[Container]\n=nginx\n", 2, neither),
            ("[Container\nImage=nginx\n", 1, neither),
            ("[Con[tainer]\n", 1, "no name of a group"),
            ("[]\n", 1, "no name of a group"),
            ("\u{feff}[Container]\n", 1, neither),
            ("[C]\nExec=a\n\n  b\n", 4, neither),
        ] {
            assert_eq!(read(text), Err((line, what)), "{text:?}");
        }
    }

    #[test]
    fn long_lines_are_only_long() {
        let long = format!("[C]\nA={}\\\n{}\nB=1", "x".repeat(1 << 20), "y\\\n".repeat(100_000));
        assert_eq!(read(&long).unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(text in "(\\PC|[\n\r\\\\\\[\\]=# \0\u{feff}]){0,200}") {
            let _ = parse(&Source::new("/u", text));
        }
    }
}
