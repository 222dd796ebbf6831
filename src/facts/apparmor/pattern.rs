//! Patterns of paths in AppArmor policy (`apparmor.d(5)`, "Globbing"), and the variables in them.

use std::collections::BTreeMap;

use super::super::modules::bracket;

/// How many patterns one may stand for, and how long each may be.
const EXPANSION_LIMIT: usize = 512;
const LENGTH_LIMIT: usize = 1024;
/// How many steps it may take to find that out: variables without a value stand for nothing.
const STEP_LIMIT: usize = 4096;
/// How deep variables may hold variables, and alternations alternations.
const DEPTH_LIMIT: u32 = 16;

/// How closely a pattern matches; the greater one wins. The kernel takes a path in full before any
/// pattern, and then the pattern that is literal for longest (`find_attach()` in
/// `security/apparmor/domain.c`, `apparmor_xattrs(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Matched {
    /// By a wildcard after so many literal characters.
    Glob(usize),
    /// In full.
    Exact,
}

/// What a pattern with variables and alternations stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expansion {
    /// Patterns with wildcards only.
    Globs(Vec<String>),
    /// That cannot be told, and why.
    Unknown(String),
}

/// Replaces variables and alternations by all that they stand for.
pub(super) fn expand(pattern: &str, variables: &BTreeMap<String, Vec<String>>) -> Expansion {
    let mut expanded = Expanded::default();
    match expand_into(String::new(), pattern, variables, 0, &mut expanded) {
        Ok(()) => Expansion::Globs(expanded.globs.into_iter().map(|glob| one_slash(&glob)).collect()),
        Err(why) => Expansion::Unknown(why),
    }
}

#[derive(Default)]
struct Expanded {
    globs: Vec<String>,
    steps: usize,
}

fn expand_into(
    done: String,
    rest: &str,
    variables: &BTreeMap<String, Vec<String>>,
    depth: u32,
    out: &mut Expanded,
) -> Result<(), String> {
    out.steps += 1;
    let many = out.globs.len() >= EXPANSION_LIMIT || out.steps > STEP_LIMIT;
    if many || done.len() + rest.len() > LENGTH_LIMIT || depth > DEPTH_LIMIT {
        return Err("it stands for too much".to_owned());
    }
    let Some(at) = next_group(rest) else {
        out.globs.push(done + rest);
        return Ok(());
    };
    let done = done + &rest[..at];
    let rest = &rest[at..];
    let (choices, after) = if let Some(inner) = rest.strip_prefix("@{") {
        let (name, after) = inner.split_once('}').ok_or("a variable does not end")?;
        let values = variables.get(name).ok_or_else(|| format!("@{{{name}}} is not set"))?;
        (values.iter().map(String::as_str).collect(), after)
    } else {
        alternatives(rest).ok_or("an alternation does not end")?
    };
    for choice in choices {
        expand_into(done.clone(), &format!("{choice}{after}"), variables, depth + 1, out)?;
    }
    Ok(())
}

/// Where the next variable or alternation begins.
fn next_group(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '{' || (c == '@' && text[at + 1..].starts_with('{')) {
            return Some(at);
        }
    }
    None
}

/// The parts of `{a,b{c,d}}`, and what comes after it.
fn alternatives(text: &str) -> Option<(Vec<&str>, &str)> {
    let mut parts = Vec::new();
    let (mut depth, mut start, mut escaped) = (0u32, 1, false);
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
            continue;
        }
        match c {
            '\\' => escaped = true,
            '{' => depth += 1,
            ',' if depth == 1 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            '}' => {
                depth -= 1;
                if depth == 0 {
                    parts.push(&text[start..at]);
                    return Some((parts, &text[at + 1..]));
                }
            }
            _ => {}
        }
    }
    None
}

/// `apparmor_parser` makes one slash of several: `@{HOME}/bin` is `/root//bin`.
fn one_slash(glob: &str) -> String {
    let mut last = None;
    glob.chars().filter(|&c| last.replace(c) != Some('/') || c != '/').collect()
}

/// How closely a pattern with wildcards only matches a path, if it does. The work is the product of
/// the two lengths at most.
pub(super) fn matches(glob: &str, path: &str) -> Option<Matched> {
    let glob: Vec<char> = glob.chars().collect();
    let path: Vec<char> = path.chars().collect();
    // reached[n]: what was read of the pattern matches the first n characters of the path.
    let mut reached: Vec<bool> = std::iter::once(true).chain(path.iter().map(|_| false)).collect();
    let mut literal = None;
    let mut at = 0;
    while let Some(&c) = glob.get(at) {
        let (width, many): (usize, bool) = match c {
            '*' if glob.get(at + 1) == Some(&'*') => (2, true),
            '*' => (1, true),
            _ => (1, false),
        };
        if many {
            literal = literal.or(Some(at));
            for n in 0..path.len() {
                reached[n + 1] |= reached[n] && (width == 2 || path[n] != '/');
            }
            at += width;
            continue;
        }
        let mut end = at + 1;
        let mut takes: Box<dyn Fn(char) -> bool> = Box::new(move |other| other == c);
        match c {
            '?' => takes = Box::new(|other| other != '/'),
            '\\' => {
                let escaped = glob.get(at + 1).copied();
                takes = Box::new(move |other| Some(other) == escaped);
                end = at + 2;
            }
            '[' => {
                if let Some((_, after)) = bracket(&glob, at, ' ') {
                    let glob = &glob;
                    takes = Box::new(move |other| bracket(glob, at, other).is_some_and(|(taken, _)| taken));
                    end = after;
                }
            }
            _ => {}
        }
        if c == '?' || (c == '[' && end > at + 1) {
            literal = literal.or(Some(at));
        }
        for n in (0..path.len()).rev() {
            reached[n + 1] = reached[n] && takes(path[n]);
        }
        reached[0] = false;
        at = end;
    }
    let matched = reached.last().copied().unwrap_or_default();
    matched.then(|| literal.map_or(Matched::Exact, Matched::Glob))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn globs(pattern: &str, variables: &[(&str, &[&str])]) -> Vec<String> {
        let variables = variables
            .iter()
            .map(|(name, values)| ((*name).to_owned(), values.iter().map(|v| (*v).to_owned()).collect()))
            .collect();
        match expand(pattern, &variables) {
            Expansion::Globs(globs) => globs,
            Expansion::Unknown(why) => vec![why],
        }
    }

    #[test]
    fn alternations_and_variables() {
        assert_eq!(globs("/usr/bin/pasta{,.avx2}", &[]), ["/usr/bin/pasta", "/usr/bin/pasta.avx2"]);
        assert_eq!(globs("/{usr/{,local/},}bin/x", &[]), ["/usr/bin/x", "/usr/local/bin/x", "/bin/x"]);
        let home: &[(&str, &[&str])] = &[("HOME", &["@{HOMEDIRS}/*/", "/root/"]), ("HOMEDIRS", &["/home/"])];
        assert_eq!(globs("@{HOME}/bin/k3s", home), ["/home/*/bin/k3s", "/root/bin/k3s"]);
        assert_eq!(globs("/a\\{b", &[]), ["/a\\{b"]);
        assert_eq!(globs("@{bin}/x", &[]), ["@{bin} is not set"]);
        assert_eq!(globs("/a{b", &[]), ["an alternation does not end"]);
        let endless: &[(&str, &[&str])] = &[("A", &["@{A}@{A}"])];
        assert_eq!(globs("@{A}", endless), ["it stands for too much"]);
        assert_eq!(globs(&"{a,b}".repeat(30), &[]), ["it stands for too much"]);
        let nothing = "{a,b,c,d}".repeat(15) + "@{E}";
        assert_eq!(globs(&nothing, &[("E", &[])]), ["it stands for too much"]);
    }

    #[test]
    fn wildcards() {
        for (glob, path, expected) in [
            ("/usr/bin/podman", "/usr/bin/podman", Some(Matched::Exact)),
            ("/usr/bin/podman", "/usr/bin/podman2", None),
            ("/usr/*/podman", "/usr/bin/podman", Some(Matched::Glob(5))),
            ("/usr/*/podman", "/usr/local/bin/podman", None),
            ("/usr/**/podman", "/usr/local/bin/podman", Some(Matched::Glob(5))),
            ("/home/*/bin/k3s", "/home/edge/bin/k3s", Some(Matched::Glob(6))),
            ("/a?c", "/abc", Some(Matched::Glob(2))),
            ("/a?c", "/a/c", None),
            ("/python3.[0-9]", "/python3.7", Some(Matched::Glob(9))),
            ("/python3.[^0-9]", "/python3.7", None),
            ("/a\\*", "/a*", Some(Matched::Exact)),
            ("/a[", "/a[", Some(Matched::Exact)),
            ("", "", Some(Matched::Exact)),
        ] {
            assert_eq!(matches(glob, path), expected, "{glob} {path}");
        }
        assert!(Matched::Exact > Matched::Glob(99) && Matched::Glob(6) > Matched::Glob(5));
    }

    proptest! {
        #[test]
        fn never_panics(pattern in "(@\\{A\\}|@\\{|[{},*?\\[\\]\\\\^/-]|[aé]){0,24}", path in "[a/é\\[]{0,16}") {
            let variables = BTreeMap::from([("A".to_owned(), vec!["/a".to_owned(), String::new()])]);
            if let Expansion::Globs(globs) = expand(&pattern, &variables) {
                for glob in globs {
                    let _ = matches(&glob, &path);
                }
            }
        }
    }
}
