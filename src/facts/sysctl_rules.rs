//! The lines of sysctl.d files and what they come to together (`sysctl.d(5)`; systemd,
//! `src/sysctl/sysctl.c`). Which files count is in `conf_files`.

use std::collections::BTreeMap;

use super::unit_syntax::physical_lines;
use super::{Evidence, Source};

/// What makes a key a glob (`GLOB_CHARS`).
const GLOB_CHARS: [char; 3] = ['*', '?', '['];
/// No path is longer (`PATH_MAX`), so no pattern needs to be.
const PATTERN_LIMIT_BYTES: usize = 4096;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The path below `/proc/sys`, or a glob over such paths.
    pub path: String,
    /// The value; `None` for `-KEY` without a value, which takes the key out of globs and takes back
    /// what was assigned to it before.
    pub value: Option<String>,
    /// Where.
    pub at: Evidence,
}

/// The path below `/proc/sys` of a key. Where the first separator is a dot, dots separate and
/// slashes stand for dots, as in `net.ipv4.conf.eth0/100.forwarding`; otherwise it is a path already.
pub fn path_of(key: &str) -> String {
    let swapped: String = match key.find(['.', '/']) {
        Some(at) if key.as_bytes().get(at) == Some(&b'.') => {
            let swap = |c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            };
            key.chars().map(swap).collect()
        }
        _ => key.to_owned(),
    };
    swapped.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/")
}

/// The rules of one file. A line without `=` that does not start with `-` is an error to systemd,
/// which goes on with the next.
pub fn rules(source: &Source) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (number, line) in physical_lines(source.text()) {
        let text = line.trim_matches([' ', '\t']);
        if text.is_empty() || text.starts_with(['#', ';']) {
            continue;
        }
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key.strip_prefix('-').unwrap_or(key), Some(value)),
            None => match text.strip_prefix('-') {
                Some(key) => (key, None),
                None => continue,
            },
        };
        let value = value.map(|value| value.trim_matches([' ', '\t']).to_owned());
        let path = path_of(key.trim_matches([' ', '\t']));
        rules.push(Rule { path, value, at: source.on(number, text, ()).at });
    }
    rules
}

/// Rules in the order in which they are read, over all files.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    all: Vec<Rule>,
    /// The rules for each key that is no glob.
    explicit: BTreeMap<String, Vec<usize>>,
    /// Globs in the order in which they are applied. One that is repeated with another value goes to
    /// the end; with the same value it stays where it is.
    globs: Vec<usize>,
}

/// What the rules come to for one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// The rule that gives the key its value, if any does.
    pub winner: Option<&'a Rule>,
    /// The number of the last rule that names the key itself. No rule before it matters, and no
    /// glob.
    pub explicit: Option<usize>,
    /// Rules that speak of the key and do not give it its value, in order.
    pub beaten: Vec<&'a Rule>,
}

impl Rules {
    /// Sorts rules by what they are about.
    pub fn new(all: Vec<Rule>) -> Rules {
        let mut explicit: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut globs: BTreeMap<&str, usize> = BTreeMap::new();
        for (number, rule) in all.iter().enumerate() {
            if !rule.path.contains(GLOB_CHARS) {
                explicit.entry(rule.path.clone()).or_default().push(number);
                continue;
            }
            let known = globs.get(rule.path.as_str()).and_then(|&known| all.get(known));
            if known.is_none_or(|known| known.value != rule.value) {
                globs.insert(&rule.path, number);
            }
        }
        let mut globs: Vec<usize> = globs.into_values().collect();
        globs.sort_unstable();
        Rules { all, explicit, globs }
    }

    /// What the rules come to for the key with this path. That a glob applies takes no file in
    /// `/proc/sys`: in an image there is none.
    pub fn outcome(&self, path: &str) -> Outcome<'_> {
        let rule = |number: &usize| self.all.get(*number);
        let globs = self.globs.iter().filter_map(rule);
        let mut beaten: Vec<&Rule> =
            globs.filter(|rule| rule.value.is_some() && matches(&rule.path, path)).collect();
        match self.explicit.get(path) {
            Some(numbers) => {
                beaten.extend(numbers.iter().filter_map(rule));
                let winner = beaten.pop_if(|last| last.value.is_some());
                Outcome { winner, explicit: numbers.last().copied(), beaten }
            }
            None => Outcome { winner: beaten.pop(), explicit: None, beaten },
        }
    }
}

/// Whether a glob (`glob(7)`) matches a path: no wildcard matches `/`, or `.` where a name begins.
fn matches(pattern: &str, path: &str) -> bool {
    if pattern.len() > PATTERN_LIMIT_BYTES {
        return false;
    }
    let (mut patterns, mut names) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if name_matches(pattern, name) => {}
            _ => return false,
        }
    }
}

fn name_matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && pattern.starts_with(GLOB_CHARS) {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on from when the last `*` has to take one character more.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            retry = Some((p + 1, n));
            p += 1;
        } else if let Some(next) = one_matches(&pattern, p, name.get(n).copied().unwrap_or_default()) {
            (p, n) = (next, n + 1);
        } else if let Some((after_star, taken)) = retry {
            retry = Some((after_star, taken + 1));
            (p, n) = (after_star, taken + 1);
        } else {
            return false;
        }
    }
    pattern.iter().skip(p).all(|&c| c == '*')
}

/// Where the pattern goes on, if its element at `p` matches `c`.
fn one_matches(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match pattern.get(p)? {
        '?' => Some(p + 1),
        '[' => match bracket(pattern, p + 1, c) {
            Some((true, next)) => Some(next),
            Some((false, _)) => None,
            // Without an end it is an ordinary character.
            None if c == '[' => Some(p + 1),
            None => None,
        },
        '\\' if pattern.get(p + 1) == Some(&c) => Some(p + 2),
        &literal if literal == c => Some(p + 1),
        _ => None,
    }
}

/// Whether the set that begins at `at` holds `c`, and where the pattern goes on; `None` where it has
/// no end. Classes such as `[:alpha:]` are not known: no key needs them.
fn bracket(pattern: &[char], at: usize, c: char) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(at), Some('!' | '^'));
    let first = if negated { at + 1 } else { at };
    let mut held = false;
    let mut p = first;
    loop {
        let from = *pattern.get(p)?;
        if from == ']' && p > first {
            return Some((held != negated, p + 1));
        }
        match (pattern.get(p + 1), pattern.get(p + 2)) {
            (Some('-'), Some(&to)) if to != ']' => {
                held |= (from..=to).contains(&c);
                p += 3;
            }
            _ => {
                held |= from == c;
                p += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str, key: &str) -> Option<String> {
        let rules = Rules::new(rules(&Source::new("/etc/sysctl.d/x.conf", text)));
        rules.outcome(&path_of(key)).winner.and_then(|rule| rule.value.clone())
    }

    #[test]
    fn keys_are_paths_in_two_notations() {
        for (key, path) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
            ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
            ("/net//ipv4/./x", "net/ipv4/x"),
            ("vm", "vm"),
        ] {
            assert_eq!(path_of(key), path, "{key}");
        }
    }

    #[test]
    fn lines() {
        for (text, expected) in [
            ("a.b=1", Some("1")),
            ("  a.b \t= 1 2 \r\n", Some("1 2")),
            ("a/b = 1 # c", Some("1 # c")),
            ("-a.b = 1", Some("1")),
            ("a.b = x=y", Some("x=y")),
            ("a.b =", Some("")),
            ("# a.b = 1\n; a.b = 2", None),
            ("a.b 1", None),
            ("a.b=1\na.b=2", Some("2")),
            ("a.b=1\n-a.b", None),
            ("-a.b\na.b=1", Some("1")),
            ("a.*=1", Some("1")),
            ("a.b=1\na.*=2", Some("1")),
            ("a.*=2\n-a.b", None),
            ("a.*=1\n*.b=2", Some("2")),
            ("a.*=1\n*.b=2\na.*=1", Some("2")),
            ("a.*=1\n*.b=2\na.*=3", Some("3")),
            ("a.*=1\n-a.*", None),
            ("*=1", None),
        ] {
            assert_eq!(value(text, "a.b").as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn the_lines_that_lose_are_kept() {
        let text = "a.*=1\na.b=2\na.b=3\n-a.c\na.c=4\n-a.c\n";
        let rules = Rules::new(rules(&Source::new("/f", text)));
        let lines = |key| {
            let outcome = rules.outcome(key);
            let line = |rule: &Rule| rule.at.line.unwrap();
            (outcome.winner.map(line), outcome.beaten.iter().map(|rule| line(rule)).collect::<Vec<_>>())
        };
        assert_eq!(lines("a/b"), (Some(3), vec![1, 2]));
        assert_eq!(lines("a/c"), (None, vec![1, 4, 5, 6]));
        assert_eq!(lines("a/d"), (Some(1), vec![]));
    }

    #[test]
    fn globs() {
        for (pattern, path, expected) in [
            ("net/*/conf", "net/ipv4/conf", true),
            ("net/*", "net/ipv4/conf", false),
            ("net/ip?4", "net/ipv4", true),
            ("e*0.*0", "eth0.100", true),
            ("e*0.*1", "eth0.100", false),
            ("eth[0-3]", "eth2", true),
            ("eth[!0-3]", "eth2", false),
            ("eth[^0-3]", "eth9", true),
            ("eth[]x]", "eth]", true),
            ("eth[0", "eth[0", true),
            (r"\*", "*", true),
            ("*", ".x", false),
            ("**a**", "bab", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(text in "([a-c*?!.=/\\-\\[\\]\\\\ #\n\r]|\\PC){0,120}") {
            let rules = Rules::new(rules(&Source::new("/f", text)));
            rules.outcome("a/b");
        }

        #[test]
        fn a_pattern_matches_itself(name in "[a-z0-9.]{1,12}") {
            prop_assert!(name_matches(&name, &name));
            let ending = format!("*{}", name.trim_start_matches('.'));
            prop_assert!(name.starts_with('.') || name_matches(&ending, &name));
        }
    }
}
