//! What programs say when something is wrong with the host, and the checks that it points to:
//! `profiles/symptoms.toml`, and `/etc/edgeprep/symptoms.toml` of a site.

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::facts::{Facts, POLICY_DIR, line_of};
use crate::host::Unread;
use crate::profile::ProfileError;
use crate::requirements::Stack;

/// The file of a site's own symptoms, below [`POLICY_DIR`].
pub const SITE_FILE: &str = "symptoms.toml";
const BUILT_IN: (&str, &str) = ("profiles/symptoms.toml", include_str!("../profiles/symptoms.toml"));
/// A pattern without a text of this length would be found in every log.
const SHORTEST_TEXT: usize = 6;

/// One thing that programs say, in all the ways in which they say it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Symptom {
    /// Its name; public.
    pub id: String,
    /// Texts of which one is in a line; `*` stands for any text. Small and large letters are the same.
    pub patterns: Vec<String>,
    /// Texts of which none is in such a line.
    #[serde(default)]
    pub except: Vec<String>,
    /// What is behind it, in a sentence.
    pub cause: String,
    /// The stacks whose logs have it; none where any can.
    #[serde(default)]
    pub stacks: Vec<Stack>,
    /// Of which versions this is so, in words.
    #[serde(default)]
    pub versions: Option<String>,
    /// The checks that look at the cause.
    #[serde(default)]
    pub checks: Vec<Pointer>,
    /// What helps where no check repairs it.
    #[serde(default)]
    pub repair: Option<String>,
    /// Where the text comes from: a file upstream, or a thread.
    pub sources: Vec<String>,
}

/// A check, or one thing that it looks at: `cgroup-delegation`, `cgroup-delegation/cpuset`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pointer {
    /// The check.
    pub check: String,
    /// A glob of subjects of its findings; none for all.
    pub subject: Option<String>,
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Pointer, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(match text.split_once('/') {
            Some((check, subject)) => Pointer { check: check.to_owned(), subject: Some(subject.to_owned()) },
            None => Pointer { check: text, subject: None },
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    symptom: Vec<Spanned<Symptom>>,
}

/// The symptoms that are built in.
///
/// # Errors
/// When the built-in file is malformed, which a test excludes.
pub fn built_in() -> Result<Vec<Symptom>, ProfileError> {
    parse(BUILT_IN.0, BUILT_IN.1)
}

/// The symptoms that are built in and those of the host's site, whose own holds where both have a name.
///
/// # Errors
/// When the site's file cannot be read, or is malformed.
pub fn of_site(facts: &Facts) -> Result<Vec<Symptom>, ProfileError> {
    let mut symptoms = built_in()?;
    let own = match facts.policy_text(SITE_FILE) {
        Ok(source) => parse(&format!("{POLICY_DIR}/{SITE_FILE}"), source.text())?,
        Err(Unread::Absent { .. } | Unread::NotCaptured { .. }) => Vec::new(),
        Err(why) => return Err(why.into()),
    };
    symptoms.retain(|known| own.iter().all(|symptom| symptom.id != known.id));
    symptoms.extend(own);
    Ok(symptoms)
}

/// Reads the symptoms in the text of `file`.
///
/// # Errors
/// [`ProfileError::Malformed`] with the line and what was expected there.
pub fn parse(file: &str, text: &str) -> Result<Vec<Symptom>, ProfileError> {
    let malformed = |line, expected| ProfileError::Malformed { file: file.to_owned(), line, expected };
    let raw: File = toml::from_str(text).map_err(|error| {
        malformed(error.span().map_or(1, |span| line_of(text, span.start)), error.message().to_owned())
    })?;
    let mut symptoms: Vec<Symptom> = Vec::new();
    for spanned in raw.symptom {
        let line = line_of(text, spanned.span().start);
        let symptom = spanned.into_inner();
        if let Some(expected) = symptom.lacks() {
            return Err(malformed(line, format!("{}: expected {expected}", symptom.id)));
        }
        if symptoms.iter().any(|known| known.id == symptom.id) {
            return Err(malformed(line, format!("{}: expected another id, this one is taken", symptom.id)));
        }
        symptoms.push(symptom);
    }
    Ok(symptoms)
}

impl Symptom {
    /// What is missing in it.
    fn lacks(&self) -> Option<String> {
        if self.id.is_empty() || self.id.contains(char::is_whitespace) {
            return Some("an id in one word".to_owned());
        }
        if self.cause.trim().is_empty() {
            return Some("a cause".to_owned());
        }
        if self.checks.is_empty() && self.repair.is_none() {
            return Some("checks or a repair".to_owned());
        }
        if let Some(unknown) = self.checks.iter().find(|one| crate::checks::by_id(&one.check).is_none()) {
            return Some(format!("the id of a check instead of {:?}", unknown.check));
        }
        let short = |pattern: &String| pattern.split('*').all(|text| text.len() < SHORTEST_TEXT);
        if self.patterns.is_empty() || self.patterns.iter().any(short) {
            return Some(format!("patterns with a text of at least {SHORTEST_TEXT} letters in each"));
        }
        None
    }
}
