//! What was seen of a scenario, kept as long as nothing changes that it depends on.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::scenario::Scenario;
use super::score::Score;
use super::trial::{Lab, Trial};

/// The file of a trial.
#[derive(Serialize, Deserialize)]
struct Seen {
    key: u64,
    trial: Trial,
}

/// What was seen already, unless it is not wanted, or what is seen now, and whether it is the former.
pub(crate) fn seen_or_run(lab: &Lab, scenario: &Scenario, image: &str, again: bool) -> (Trial, bool) {
    let kept = lab.key(scenario, image).ok();
    // What is wrong is looked at again.
    let is_right = |trial: &Trial| Score::of(std::slice::from_ref(trial)).wrong().is_empty();
    if let Some(mut trial) = kept.filter(|_| !again).and_then(|key| read(&path(lab, scenario, image), key)) {
        trial.expect(scenario);
        if is_right(&trial) {
            return (trial, true);
        }
    }
    let trial = Trial::run(lab, scenario, image);
    if let Some(key) = kept.filter(|_| is_right(&trial))
        && let Err(error) = write(&path(lab, scenario, image), &Seen { key, trial: trial.clone() })
    {
        println!("not kept: {error:#}");
    }
    (trial, false)
}

fn path(lab: &Lab, scenario: &Scenario, image: &str) -> PathBuf {
    lab.saved.seen().join(format!("{}-{image}.json", scenario.name))
}

fn read(path: &Path, key: u64) -> Option<Trial> {
    let seen: Seen = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (seen.key == key).then_some(seen.trial)
}

fn write(path: &Path, seen: &Seen) -> Result<()> {
    Ok(std::fs::write(path, serde_json::to_vec(seen)?)?)
}
