//! What was tried, as reported.

use serde::Serialize;

use super::Row;
use crate::probes::{Trial, Trials};

/// A [`Trial`], as reported.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Tried {
    /// The probe.
    pub probe: &'static str,
    /// For whom.
    pub user: String,
    /// What was tried.
    pub subject: String,
    /// `works`, `refused` or `unknown`.
    pub result: &'static str,
    /// What was seen; for `unknown`, why it could not be tried.
    pub text: String,
    /// The checks that it speaks of in this report.
    pub checks: Vec<&'static str>,
    /// Those of them of which the files say otherwise.
    pub overrules: Vec<&'static str>,
}

/// What was tried, with the checks of these rows that it speaks of.
pub fn tried(trials: &Trials, rows: &[Row]) -> Vec<Tried> {
    trials.0.iter().map(|trial| one(trial, rows)).collect()
}

fn one(trial: &Trial, rows: &[Row]) -> Tried {
    let (mut checks, mut overrules) = (Vec::new(), Vec::new());
    for row in rows {
        let of_user = |item: &&crate::finding::Item| trial.speaks_of(row.id, row.user.as_deref(), item);
        for item in row.items.iter().filter(of_user) {
            if !checks.contains(&row.id) {
                checks.push(row.id);
            }
            let overruled = item.overruled().is_some_and(|overruled| overruled.by == trial.probe.id);
            if overruled && !overrules.contains(&row.id) {
                overrules.push(row.id);
            }
        }
    }
    Tried {
        probe: trial.probe.id,
        user: trial.user.clone(),
        subject: trial.subject.clone(),
        result: trial.word.as_str(),
        text: trial.word.text().to_owned(),
        checks,
        overrules,
    }
}
