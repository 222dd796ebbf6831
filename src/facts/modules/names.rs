//! Names of modules as libkmod compares them: `-` and `_` are one, and an alias can be a pattern.

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

pub(super) fn is_glob(pattern: &str) -> bool {
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

/// The names that are looked for, folded, for one look at each of the thousands of names in a file.
pub(super) struct Wanted<'a> {
    names: Vec<(u32, &'a str)>,
}

impl<'a> Wanted<'a> {
    /// `names` must be folded.
    pub(super) fn new(names: impl Iterator<Item = &'a str>) -> Wanted<'a> {
        let mut names: Vec<_> = names.map(|name| (hash(name.as_bytes()), name)).collect();
        names.sort_unstable();
        Wanted { names }
    }

    /// The wanted name that `name` is when it is folded. It has no brackets: no module has.
    pub(super) fn get(&self, name: &[u8]) -> Option<&'a str> {
        let hash = hash(name);
        let first = self.names.partition_point(|(h, _)| *h < hash);
        let alike = self.names.iter().skip(first).take_while(|(h, _)| *h == hash);
        let same = |wanted: &str| wanted.bytes().eq(name.iter().map(|&b| fold_byte(b)));
        alike.map(|(_, wanted)| *wanted).find(|wanted| same(wanted))
    }
}

fn fold_byte(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte }
}

/// FNV-1a of the folded name: names are compared after it.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |h, &b| (h ^ u32::from(fold_byte(b))).wrapping_mul(0x0100_0193))
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

    #[test]
    fn wanted_names_are_found_as_they_are_spelled() {
        let wanted = Wanted::new(["br_netfilter", "tun", "i2c_dev"].into_iter());
        assert_eq!(wanted.get(b"br-netfilter"), Some("br_netfilter"));
        assert_eq!(wanted.get(b"tun"), Some("tun"));
        assert_eq!(wanted.get(b"tunnel"), None);
        assert_eq!(Wanted::new([].into_iter()).get(b""), None);
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
    }
}
