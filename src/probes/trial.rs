//! What came of trying something, and what that means for the findings of the checks.
//!
//! A probe sees what is in effect now. Where the files say otherwise it wins, and the finding keeps both: what
//! the files said stays in it as [`Overruled`]. What could not be tried changes nothing.

use super::Probe;
use super::request::{NO_ANSWER, Reply};
use crate::facts::Evidence;
use crate::facts::users::User;
use crate::finding::{Answer, Finding, Item, Level, Outcome, Overruled, Remedy, Verdict};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It works, and what was seen of it.
    Works(String),
    /// It was refused, and with what.
    Refused(String),
    /// It could not be tried, and why.
    Unknown(String),
}

impl Word {
    /// What an answer to something that works or is refused comes to.
    pub(super) fn of(reply: Result<Reply, String>, works: &str) -> Word {
        match reply {
            Ok(Reply::Done) => Word::Works(works.to_owned()),
            Ok(Reply::Failed(failure)) => Word::Refused(failure.to_string()),
            Ok(_) => Word::Unknown(NO_ANSWER.to_owned()),
            Err(why) => Word::Unknown(why),
        }
    }

    /// The word used in reports.
    pub fn as_str(&self) -> &'static str {
        match self {
            Word::Works(_) => "works",
            Word::Refused(_) => "refused",
            Word::Unknown(_) => "unknown",
        }
    }

    /// What was seen, or why nothing was.
    pub fn text(&self) -> &str {
        let (Word::Works(text) | Word::Refused(text) | Word::Unknown(text)) = self;
        text
    }
}

/// A finding that a trial speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The check.
    pub check: &'static str,
    /// The subject of the finding.
    pub subject: String,
    /// What the finding expects; any where `None`.
    pub expected: Option<String>,
    /// The level of the finding; any where `None`.
    pub level: Option<Level>,
    /// Whether that it works proves what is expected, as against being a part of it.
    pub proves: bool,
}

impl Claim {
    /// It works if and only if what is expected of `subject` is so.
    pub(super) fn proves(check: &'static str, subject: impl Into<String>) -> Claim {
        Claim { check, subject: subject.into(), expected: None, level: None, proves: true }
    }

    /// It does not work unless what is expected of `subject` is so.
    pub(super) fn supports(check: &'static str, subject: impl Into<String>) -> Claim {
        Claim { proves: false, ..Claim::proves(check, subject) }
    }

    fn is_about(&self, check: &str, item: &Item) -> bool {
        let (subject, expected) = match &item.answer {
            Answer::Found(finding) => (&finding.subject, Some(&finding.expected)),
            Answer::Unknown { subject, .. } => (subject, None),
        };
        let as_expected = self.expected.is_none() || expected.is_none() || self.expected.as_ref() == expected;
        let at_level = self.level.is_none_or(|level| level == item.level);
        self.check == check && self.subject == *subject && as_expected && at_level
    }
}

/// One thing that was tried for a user.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The probe.
    pub probe: &'static Probe,
    /// For whom.
    pub user: String,
    /// What was tried.
    pub subject: String,
    /// What came of it.
    pub word: Word,
    /// The findings that it speaks of.
    pub claims: Vec<Claim>,
}

impl Trial {
    /// A trial that speaks of no finding.
    pub(super) fn new(probe: &'static Probe, user: &User, subject: impl Into<String>, word: Word) -> Trial {
        Trial { probe, user: user.name.clone(), subject: subject.into(), word, claims: Vec::new() }
    }

    /// With what it speaks of.
    pub(super) fn about(mut self, claims: impl IntoIterator<Item = Claim>) -> Trial {
        self.claims.extend(claims);
        self
    }

    /// Whether it speaks of something that this check says, for this user or for the whole host.
    pub fn speaks_of(&self, check: &str, user: Option<&str>, item: &Item) -> bool {
        user.is_none_or(|user| user == self.user)
            && self.claims.iter().any(|claim| claim.is_about(check, item))
    }

    fn evidence(&self) -> Evidence {
        let Trial { subject, user, word, .. } = self;
        let text = format!("{subject} {} for {user}: {}", word.as_str(), word.text());
        Evidence::path(&format!("probe {}", self.probe.id), text)
    }

    fn proves(&self, check: &str, item: &Item) -> bool {
        self.claims.iter().any(|claim| claim.proves && claim.is_about(check, item))
    }
}

/// All that was tried, in order; empty without `--probe`.
#[derive(Clone, Debug, Default)]
pub struct Trials(pub Vec<Trial>);

impl Trials {
    /// Puts into the outcome of a check what was tried of it. Of several users whom a finding on the host
    /// speaks of, one to whom it is refused is enough.
    pub fn merge(&self, check: &str, user: Option<&str>, outcome: &mut Outcome) {
        for item in &mut outcome.items {
            let said = |trial: &&Trial| {
                !matches!(trial.word, Word::Unknown(_)) && trial.speaks_of(check, user, item)
            };
            let said: Vec<&Trial> = self.0.iter().filter(said).collect();
            let refused = said.iter().copied().find(|trial| matches!(trial.word, Word::Refused(_)));
            let works = || said.iter().copied().find(|trial| trial.proves(check, item));
            let answer = match (refused, works()) {
                (Some(trial), _) => refuse(&item.answer, trial),
                (None, Some(trial)) => confirm(&item.answer, trial),
                (None, None) => None,
            };
            if let Some(answer) = answer {
                item.answer = answer;
            }
            if let Answer::Found(finding) = &mut item.answer {
                let evidence = said.iter().map(|trial| trial.evidence());
                let new: Vec<Evidence> = evidence.filter(|at| !finding.evidence.contains(at)).collect();
                finding.evidence.extend(new);
            }
        }
    }
}

/// What the finding becomes where a probe was refused; `None` where that agrees with it.
fn refuse(answer: &Answer, trial: &Trial) -> Option<Answer> {
    let (mut finding, overruled) = open(answer, trial);
    if matches!(finding.verdict, Verdict::Unmet | Verdict::Pending(_)) && overruled.is_some() {
        return None;
    }
    finding.verdict = Verdict::Unmet;
    finding.found = match &overruled {
        Some(files) => format!("{}, though the files say: {}", trial.word.text(), files.found),
        None => trial.word.text().to_owned(),
    };
    finding.overruled = overruled;
    finding.evidence.insert(0, trial.evidence());
    Some(Answer::Found(Box::new(finding.repair(Remedy::manual(trial.probe.remedy)))))
}

/// What the finding becomes where a probe works that proves it; `None` where that agrees with it.
fn confirm(answer: &Answer, trial: &Trial) -> Option<Answer> {
    let (mut finding, overruled) = open(answer, trial);
    // A volatile one is in effect, which is all that a probe can tell.
    if matches!(finding.verdict, Verdict::Met | Verdict::Volatile) && overruled.is_some() {
        return None;
    }
    finding.verdict = Verdict::Met;
    finding.found = match &overruled {
        Some(files) => format!("{}, though the files say: {}", trial.word.text(), files.found),
        None => trial.word.text().to_owned(),
    };
    finding.overruled = overruled;
    finding.remedy = Remedy::default();
    finding.evidence.insert(0, trial.evidence());
    Some(Answer::Found(Box::new(finding)))
}

/// The finding as the files had it, and that in short; where they could not be read, one yet to be made.
fn open(answer: &Answer, trial: &Trial) -> (Finding, Option<Overruled>) {
    match answer {
        Answer::Found(finding) => {
            let overruled = Overruled {
                by: trial.probe.id,
                verdict: finding.verdict.as_str(),
                found: finding.found.clone(),
            };
            (finding.as_ref().clone(), Some(overruled))
        }
        Answer::Unknown { subject, reason } => {
            let at = Evidence::path("probe", format!("asked because the files did not tell: {reason}"));
            (Finding::new(subject, "works when tried", "", Verdict::Unmet).at([at]), None)
        }
    }
}

#[cfg(test)]
#[path = "trial_tests.rs"]
mod tests;
