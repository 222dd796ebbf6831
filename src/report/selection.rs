//! Which checks are left out of a report, and on whose request.

use std::collections::BTreeMap;

use super::{Row, Status, unknown_reasons};
use crate::finding::{Answer, Item, Outcome, Verdict};

/// Which checks are left out, and on whose request.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only ids that match one of these; all where empty.
    pub select: Vec<String>,
    /// Not those that match one of these.
    pub ignore: Vec<String>,
    /// Ids with the reason of a waiver that holds today.
    pub waived: Vec<(String, String)>,
    /// Ids with the day on which their waiver ended.
    pub expired: Vec<(String, String)>,
    /// Of these checks only what they say of subjects that match one of the globs.
    pub subjects: BTreeMap<String, Vec<String>>,
    /// Advised counts as required.
    pub strict: bool,
}

impl Selection {
    /// Whether a check is looked at.
    pub fn selected(&self, id: &str) -> bool {
        self.select.is_empty() || self.select.iter().any(|glob| glob_matches(glob, id))
    }

    /// What a check says of the subjects that are wanted.
    pub(super) fn narrowed(&self, id: &str, mut outcome: Outcome) -> Outcome {
        let Some(globs) = self.subjects.get(id).filter(|_| outcome.skipped.is_none()) else { return outcome };
        outcome.items.retain(|item| is_about(item, globs));
        if outcome.items.is_empty() {
            return Outcome::skip(format!("no chosen stack asks for {}", globs.join(", ")));
        }
        outcome
    }

    pub(super) fn ignored(&self, id: &str) -> Option<String> {
        if let Some(glob) = self.ignore.iter().find(|glob| glob_matches(glob, id)) {
            return Some(format!("ignored by --ignore {glob}"));
        }
        self.waived.iter().find(|(waived, _)| waived == id).map(|(_, reason)| format!("waived: {reason}"))
    }
}

fn is_about(item: &Item, globs: &[String]) -> bool {
    let subject = match &item.answer {
        Answer::Found(finding) => &finding.subject,
        Answer::Unknown { subject, .. } => subject,
    };
    globs.iter().any(|glob| glob_matches(glob, subject))
}

impl Row {
    /// What it says of the subjects that match one of the globs; `None` where that is nothing.
    pub fn narrowed(&self, globs: &[String]) -> Option<Row> {
        let mut row = self.clone();
        if matches!(row.status, Status::Skip | Status::Ignored) {
            return Some(row);
        }
        row.items.retain(|item| is_about(item, globs));
        row.findings.retain(|finding| globs.iter().any(|glob| glob_matches(glob, &finding.subject)));
        row.repairs = super::groups::repairs(&row.findings, row.running);
        let open = |item: &Item| matches!(&item.answer, Answer::Found(f) if f.verdict != Verdict::Met);
        let reasons = unknown_reasons(&row.items);
        row.status = match (row.items.iter().any(open), reasons.is_empty()) {
            (true, _) => Status::Fail,
            (false, false) => Status::Unknown,
            (false, true) => Status::Pass,
        };
        row.reason = Some(reasons.join("; ")).filter(|text| !text.is_empty());
        (!row.items.is_empty()).then_some(row)
    }
}

/// Whether `text` matches `glob`, in which `*` is any text and `?` any character.
pub fn glob_matches(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut g, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if g < glob.len() && glob[g] == '*' {
            star = Some((g, t));
            g += 1;
        } else if g < glob.len() && (glob[g] == '?' || glob[g] == text[t]) {
            (g, t) = (g + 1, t + 1);
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            (g, t) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|&c| c == '*')
}
