//! Finds the symptoms in a line: all at once by their longest texts, then the rest of each pattern.

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError};

use crate::symptoms::Symptom;

/// The patterns of symptoms, ready to be found.
#[derive(Clone)]
pub(super) struct Matcher {
    searcher: AhoCorasick,
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
    /// # Errors
    /// When there are more patterns than can be numbered.
    pub(super) fn new(symptoms: &[Symptom]) -> Result<Matcher, BuildError> {
        let mut patterns = Vec::new();
        let mut longest = Vec::new();
        for (number, symptom) in symptoms.iter().enumerate() {
            for pattern in &symptom.patterns {
                let texts = pattern.split('*').filter(|text| !text.is_empty());
                let texts: Vec<Vec<u8>> = texts.map(|text| text.to_ascii_lowercase().into_bytes()).collect();
                longest.push(texts.iter().max_by_key(|text| text.len()).cloned().unwrap_or_default());
                patterns.push(Pattern { symptom: number, texts });
            }
        }
        let small = |text: &String| text.to_ascii_lowercase().into_bytes();
        let except = symptoms.iter().map(|symptom| symptom.except.iter().map(small).collect()).collect();
        let searcher = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .build(longest)?;
        Ok(Matcher { searcher, patterns, except })
    }

    /// The symptoms in a line, each once, by their numbers.
    pub(super) fn find(&self, line: &[u8]) -> Vec<Match> {
        let mut found: Vec<Match> = Vec::new();
        let mut small: Option<Vec<u8>> = None;
        for candidate in self.searcher.find_overlapping_iter(line) {
            let pattern = &self.patterns[candidate.pattern().as_usize()];
            if found.iter().any(|one| one.symptom == pattern.symptom) {
                continue;
            }
            let small = small.get_or_insert_with(|| line.to_ascii_lowercase());
            let meant = || {
                self.except[pattern.symptom].iter().all(|text| memchr::memmem::find(small, text).is_none())
            };
            if let Some(start) = pattern.find(small).filter(|_| meant()) {
                found.push(Match { symptom: pattern.symptom, start });
            }
        }
        found.sort_unstable_by_key(|one| one.symptom);
        found
    }
}

impl Pattern {
    fn find(&self, line: &[u8]) -> Option<usize> {
        let mut start = None;
        let mut from = 0;
        for text in &self.texts {
            let at = from + memchr::memmem::find(&line[from..], text)?;
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
        Matcher::new(&patterns.iter().map(symptom).collect::<Vec<_>>()).unwrap()
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
        fn what_is_found_is_there(line in "[ab *]{0,40}", pattern in "[ab]{1,3}(\\*[ab]{1,3}){0,2}") {
            let texts: Vec<&str> = pattern.split('*').collect();
            let mut rest = Some(&line[..]);
            for text in texts {
                rest = rest.and_then(|rest| rest.split_once(text)).map(|(_, after)| after);
            }
            prop_assert_eq!(!found(&[&pattern], &line).is_empty(), rest.is_some());
        }
    }
}
