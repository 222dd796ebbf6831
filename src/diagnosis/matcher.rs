//! Finds the symptoms in a line: all at once by four letters that are rare in each pattern, then the pattern.

use memchr::memchr;

use crate::symptoms::Symptom;

/// How many letters are looked up at once.
const LETTERS: usize = 4;
/// The bits of a place in the table of letters.
const PLACE_BITS: u32 = 16;

/// The patterns of symptoms, ready to be found.
#[derive(Clone)]
pub(super) struct Matcher {
    /// A bit for each place at which letters of a pattern are.
    places: Vec<u64>,
    /// The letters of each pattern, in order, and its number.
    letters: Vec<(u32, usize)>,
    patterns: Vec<Pattern>,
    /// By symptom, in small letters.
    except: Vec<Vec<Vec<u8>>>,
}

#[derive(Clone)]
struct Pattern {
    symptom: usize,
    /// In small letters, in the order in which they have to be in a line.
    texts: Vec<Vec<u8>>,
}

/// A symptom in a line: its number, and where its text begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) symptom: usize,
    pub(super) start: usize,
}

impl Matcher {
    pub(super) fn new(symptoms: &[Symptom]) -> Matcher {
        let small = |text: &str| text.to_ascii_lowercase().into_bytes();
        let mut patterns = Vec::new();
        let mut letters = Vec::new();
        let mut places = vec![0; 1 << (PLACE_BITS - u64::BITS.ilog2())];
        for (number, symptom) in symptoms.iter().enumerate() {
            for pattern in &symptom.patterns {
                let texts: Vec<Vec<u8>> =
                    pattern.split('*').filter(|text| !text.is_empty()).map(small).collect();
                let windows = texts.iter().flat_map(|text| text.windows(LETTERS));
                if let Some(rarest) = windows.max_by_key(|window| rarity(window)) {
                    let word = rarest.iter().fold(0, |word, &byte| word << 8 | u32::from(byte));
                    let (at, bit) = place(word);
                    places[at] |= bit;
                    letters.push((word, patterns.len()));
                }
                patterns.push(Pattern { symptom: number, texts });
            }
        }
        letters.sort_unstable();
        let except = |symptom: &Symptom| symptom.except.iter().map(|text| small(text)).collect();
        Matcher { places, letters, patterns, except: symptoms.iter().map(except).collect() }
    }

    /// The symptoms in a line, each once, by their numbers.
    pub(super) fn find(&self, line: &[u8]) -> Vec<Match> {
        let mut found: Vec<Match> = Vec::new();
        let mut tried: Vec<usize> = Vec::new();
        let mut small: Option<Vec<u8>> = None;
        let mut word = 0;
        for byte in line {
            word = word << 8 | u32::from(byte.to_ascii_lowercase());
            let (at, bit) = place(word);
            if self.places[at] & bit == 0 {
                continue;
            }
            let first = self.letters.partition_point(|(letters, _)| *letters < word);
            let of_word = self.letters[first..].iter().take_while(|(letters, _)| *letters == word);
            for &(_, number) in of_word {
                let pattern = &self.patterns[number];
                if tried.contains(&number) || found.iter().any(|one| one.symptom == pattern.symptom) {
                    continue;
                }
                tried.push(number);
                let small = small.get_or_insert_with(|| line.to_ascii_lowercase());
                let meant =
                    || self.except[pattern.symptom].iter().all(|text| position(small, text).is_none());
                if let Some(start) = pattern.find(small).filter(|_| meant()) {
                    found.push(Match { symptom: pattern.symptom, start });
                }
            }
        }
        found.sort_unstable_by_key(|one| one.symptom);
        found
    }
}

/// The place of letters in the table: its word and its bit.
fn place(letters: u32) -> (usize, u64) {
    // Fibonacci hashing: 2^32 divided by the golden ratio.
    let hash = letters.wrapping_mul(0x9e37_79b9) >> (u32::BITS - PLACE_BITS);
    ((hash / u64::BITS) as usize, 1 << (hash % u64::BITS))
}

/// How rare letters are in a log: those of words are not.
fn rarity(window: &[u8]) -> u32 {
    let of = |byte: &u8| match byte {
        b' ' | b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' | b'l' | b'd' | b'c' => 0,
        b'm' | b'u' | b'f' | b'p' | b'g' | b'h' | b'b' | b'=' | b':' | b'"' | b'.' | b'/' => 1,
        _ => 2,
    };
    window.iter().map(of).sum()
}

/// Where `text` begins in `line`.
fn position(line: &[u8], text: &[u8]) -> Option<usize> {
    let (&first, rest) = text.split_first()?;
    let mut from = 0;
    while let Some(at) = memchr(first, line.get(from..)?).map(|at| from + at) {
        if line[at + 1..].starts_with(rest) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

impl Pattern {
    fn find(&self, line: &[u8]) -> Option<usize> {
        let mut start = None;
        let mut from = 0;
        for text in &self.texts {
            let at = from + position(&line[from..], text)?;
            start.get_or_insert(at);
            from = at + text.len();
        }
        start
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matcher(patterns: &[&str]) -> Matcher {
        let symptom = |pattern: &&str| Symptom {
            id: (*pattern).to_owned(),
            patterns: vec![(*pattern).to_owned()],
            except: vec!["but not this".to_owned()],
            cause: String::new(),
            stacks: Vec::new(),
            versions: None,
            checks: Vec::new(),
            repair: None,
            sources: Vec::new(),
        };
        Matcher::new(&patterns.iter().map(symptom).collect::<Vec<_>>())
    }

    fn found(patterns: &[&str], line: &str) -> Vec<(usize, usize)> {
        matcher(patterns).find(line.as_bytes()).iter().map(|one| (one.symptom, one.start)).collect()
    }

    #[test]
    fn patterns_are_found_in_any_case_and_order_of_symptoms() {
        assert_eq!(found(&["disk quota exceeded"], "create keyring: Disk quota exceeded"), [(0, 16)]);
        assert_eq!(found(&["longer text", "text"], "a longer text"), [(0, 2), (1, 9)]);
        assert_eq!(found(&["mkdir *: denied by"], "mkdir /run/x: denied by"), [(0, 0)]);
        assert_eq!(found(&["could not find \"*\" in"], "could not find \"x\" in one"), [(0, 0)]);
    }

    #[test]
    fn all_texts_of_a_pattern_are_there_and_in_order() {
        let patterns = ["failed to find * cgroup (v2)"];
        assert_eq!(found(&patterns, "failed to find cpuset cgroup (v2)"), [(0, 0)]);
        assert_eq!(found(&patterns, "cgroup (v2) failed to find "), []);
        assert_eq!(found(&patterns, "failed to find it"), []);
        assert_eq!(found(&["a longer text*text"], "a longer text"), [], "a text is not found in another");
        assert_eq!(found(&["texttext"], "texttexttext"), [(0, 0)], "once in a line");
        assert_eq!(found(&["longer text"], "longer text, But Not This"), []);
    }

    proptest! {
        #[test]
        fn what_is_found_is_there(line in "[ab *]{0,40}", pattern in "([ab]{1,3}\\*)?[ab]{4,5}(\\*[ab]{1,3})?") {
            let texts: Vec<&str> = pattern.split('*').collect();
            let mut rest = Some(&line[..]);
            for text in texts {
                rest = rest.and_then(|rest| rest.split_once(text)).map(|(_, after)| after);
            }
            prop_assert_eq!(!found(&[&pattern], &line).is_empty(), rest.is_some());
        }
    }
}
