//! Other names of modules: `modules.alias`, `modules.builtin.modinfo`, `alias` in modprobe.d.

use std::collections::BTreeMap;

use super::super::{Evidence, Facts};
use crate::host::{DATABASE_LIMIT_BYTES, Fact, OrAbsent};

/// The aliases of one kernel that people use: those of devices that are plugged in (`pci:v00001AF4...`)
/// make up most of a file of a megabyte, so they are kept only where one of them is asked for.
#[derive(Default)]
pub(super) struct AliasTable {
    /// `ALIAS MODULE` lines, ordered as in the files.
    text: String,
    lines: Vec<AliasLine>,
}

struct AliasLine {
    /// Where it ends in the text, and where its module begins.
    end: usize,
    module: usize,
    /// Its line in `modules.alias`; `None` for an entry of `modules.builtin.modinfo`.
    line: Option<u32>,
}

/// What an alias stands for.
pub(super) struct Target {
    /// The module, folded.
    pub(super) module: String,
    /// Whether it is an alias of a built-in module.
    pub(super) built_in: bool,
    /// Where it stands.
    pub(super) at: Evidence,
}

impl AliasTable {
    fn add(&mut self, alias: &str, module: &str, line: Option<u32>) {
        self.text.push_str(&fold(alias));
        self.text.push(' ');
        let start = self.text.len();
        self.text.push_str(&fold(module));
        self.lines.push(AliasLine { end: self.text.len(), module: start, line });
    }

    fn read_line(&mut self, line: u32, bytes: &[u8], keep: impl Fn(&str) -> bool) {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let mut words = text.split_ascii_whitespace();
        if words.next() == Some("alias")
            && let (Some(alias), Some(module)) = (words.next(), words.next())
            && keep(alias)
        {
            self.add(alias, module, Some(line));
        }
    }

    /// `modules.builtin.modinfo`: entries `MODULE.KEY=VALUE`, each ends in NUL
    /// (`Documentation/kbuild/kbuild.rst`, since Linux 5.2).
    fn read_modinfo(&mut self, bytes: &[u8], keep: impl Fn(&str) -> bool) {
        for entry in bytes.split(|&b| b == 0) {
            if let Ok(entry) = std::str::from_utf8(entry)
                && let Some((name, alias)) = entry.split_once('=')
                && let Some(module) = name.strip_suffix(".alias")
                && keep(alias)
            {
                self.add(alias, module, None);
            }
        }
    }

    fn find<'a>(&self, dir: &str, names: &[&'a str], found: &mut BTreeMap<&'a str, Vec<Target>>) {
        let folded: BTreeMap<String, &'a str> = names.iter().map(|&name| (fold(name), name)).collect();
        let mut start = 0;
        for line in &self.lines {
            let alias = self.text.get(start..line.module.saturating_sub(1)).unwrap_or_default();
            let module = self.text.get(line.module..line.end).unwrap_or_default();
            start = line.end;
            let mut hit = |name: &'a str| {
                let file = if line.line.is_some() { "modules.alias" } else { "modules.builtin.modinfo" };
                let path = format!("{dir}/{file}");
                let at = match line.line {
                    Some(number) => Evidence::line(&path, number, &format!("alias {alias} {module}")),
                    None => Evidence::path(&path, format!("{module}.alias={alias}")),
                };
                let targets = found.entry(name).or_default();
                // Of modules and built-in modules, those come first that can be loaded.
                if line.line.is_some() || targets.iter().all(|target| target.built_in) {
                    targets.push(Target { module: module.to_owned(), built_in: line.line.is_none(), at });
                }
            };
            if is_glob(alias) {
                folded.iter().filter(|(name, _)| matches_glob(alias, name)).for_each(|(_, name)| hit(name));
            } else if let Some(name) = folded.get(alias) {
                hit(name);
            }
        }
    }
}

impl Facts {
    /// What each of `names` is an alias of; a name that is none has no targets.
    pub(super) fn aliases_of<'a>(
        &self,
        dir: &str,
        names: &[&'a str],
    ) -> Fact<BTreeMap<&'a str, Vec<Target>>> {
        let mut found: BTreeMap<&'a str, Vec<Target>> =
            names.iter().map(|&name| (name, Vec::new())).collect();
        let config = self.modprobe_config()?;
        for alias in &config.aliases {
            for (name, targets) in &mut found {
                if matches_glob(&alias.value.name, &fold(name)) {
                    let module = alias.value.argument.clone();
                    targets.push(Target { module, built_in: false, at: alias.at.clone() });
                }
            }
        }
        let left: Vec<&str> = found.iter().filter(|(_, t)| t.is_empty()).map(|(name, _)| *name).collect();
        if !left.is_empty() {
            self.alias_table(dir, &left)?.find(dir, &left, &mut found);
        }
        Ok(found)
    }

    fn alias_table(&self, dir: &str, names: &[&str]) -> Fact<std::rc::Rc<AliasTable>> {
        let device = names.iter().any(|name| is_device(name));
        let key = if device { format!("{dir} with devices") } else { dir.to_owned() };
        self.memo_fact(&key, || {
            let keep = |alias: &str| device || !is_device(alias);
            let mut table = AliasTable::default();
            let mut number = 0;
            self.scan(&format!("{dir}/modules.alias"), &mut |line| {
                number += 1;
                table.read_line(number, line, keep);
                true
            })
            .or_absent()?;
            let modinfo = self.bytes(&format!("{dir}/modules.builtin.modinfo"), DATABASE_LIMIT_BYTES);
            table.read_modinfo(&modinfo.or_absent()?.unwrap_or_default(), keep);
            Ok(table)
        })
    }
}

/// Aliases of devices have a bus and a colon; `devname:` is what systemd-tmpfiles asks for.
fn is_device(alias: &str) -> bool {
    alias.contains(':') && !alias.starts_with("devname:")
}

/// `-` as `_`, but not inside brackets (`alias_normalize()` in kmod's `shared/util.c`).
pub(in crate::facts) fn fold(name: &str) -> String {
    let mut inside = false;
    name.chars()
        .map(|c| {
            inside = (inside || c == '[') && c != ']';
            if c == '-' && !inside { '_' } else { c }
        })
        .collect()
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// `fnmatch(3)` without flags, in steps that grow with the product of the lengths at most.
pub(in crate::facts) fn matches_glob(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // The last `*`, and how far of the name it has taken: the only place to come back to.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some('?') => Some(p + 1),
            Some('[') => match bracket(&pattern, p, name[n]) {
                Some((true, after)) => Some(after),
                Some((false, _)) => None,
                // Without an end it is an ordinary character.
                None => (name[n] == '[').then_some(p + 1),
            },
            Some('\\') if p + 1 < pattern.len() => (pattern[p + 1] == name[n]).then_some(p + 2),
            Some(&c) => (c == name[n]).then_some(p + 1),
            None => None,
        };
        match (step, star) {
            (Some(next), _) => {
                p = next;
                n += 1;
            }
            (None, Some((after, taken))) => {
                p = after;
                n = taken + 1;
                star = Some((after, taken + 1));
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// Whether a bracket expression at `at` takes `c`, and where it ends.
pub(in crate::facts) fn bracket(pattern: &[char], at: usize, c: char) -> Option<(bool, usize)> {
    let mut i = at + 1;
    let negated = matches!(pattern.get(i), Some('!' | '^'));
    if negated {
        i += 1;
    }
    let first = i;
    let mut taken = false;
    loop {
        let low = *pattern.get(i)?;
        if low == ']' && i > first {
            return Some((taken != negated, i + 1));
        }
        if pattern.get(i + 1) == Some(&'-') && pattern.get(i + 2).is_some_and(|&high| high != ']') {
            let high = *pattern.get(i + 2)?;
            taken |= (low..=high).contains(&c);
            i += 3;
        } else {
            taken |= low == c;
            i += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn globs() {
        for (pattern, name, expected) in [
            ("block_major_8_*", "block_major_8_16", true),
            ("block_major_8_*", "block_major_80_1", false),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("i2c[0-9]x", "i2c7x", true),
            ("i2c[!0-9]x", "i2c7x", false),
            ("[]a]", "]", true),
            ("a[", "a[", true),
            ("a\\*", "a*", true),
            ("*a*b", "xaxxb", true),
            ("*a*b", "xaxxbc", false),
        ] {
            assert_eq!(matches_glob(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn folding() {
        assert_eq!(fold("nft-chain-2-nat"), "nft_chain_2_nat");
        assert_eq!(fold("a-[0-9]-b"), "a_[0-9]_b");
    }

    proptest! {
        #[test]
        fn globs_never_panic(pattern in "[a*?\\[\\]!^\\\\é-]{0,16}", name in "[ab\\]é-]{0,16}") {
            let _ = matches_glob(&fold(&pattern), &fold(&name));
        }

        #[test]
        fn a_text_without_wildcards_matches_itself(name in "[a-z0-9_:.]{0,20}") {
            prop_assert!(matches_glob(&name, &name));
        }

        #[test]
        fn tables_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in "(alias |[a* .=]|\\x00){0,20}") {
            let mut table = AliasTable::default();
            table.read_line(1, &bytes, |_| true);
            table.read_line(2, text.as_bytes(), |_| true);
            table.read_modinfo(&bytes, |_| true);
            table.read_modinfo(text.as_bytes(), |_| true);
            table.find("/d", &["a", "a-a"], &mut BTreeMap::new());
        }
    }
}
