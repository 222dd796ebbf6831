//! What was seen of a scenario, kept as long as nothing changes that it depends on.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::scenario::Scenario;
use super::score::Score;
use super::trial::{Lab, Trial};

/// How edgeprep is asked.
const ASKED: &str = include_str!("asked.rs");

/// The file of a trial.
#[derive(Serialize, Deserialize)]
struct Seen {
    /// What it depends on, edgeprep apart.
    key: u64,
    /// The edgeprep that was asked, and how.
    edgeprep: u64,
    trial: Trial,
}

/// How a trial came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It was run.
    Run,
    /// What happens was seen before, and edgeprep, which has changed, was asked anew.
    AskedAnew,
    /// It was seen before.
    SeenBefore,
}

/// What was seen already, unless it is not wanted, or what is seen now.
pub(crate) fn seen_or_run(lab: &Lab, scenario: &Scenario, image: &str, again: bool) -> (Trial, How) {
    let key = lab.key(scenario, image).ok();
    let file = path(lab, scenario, image);
    let mut hasher = DefaultHasher::new();
    (&lab.edgeprep, ASKED).hash(&mut hasher);
    let edgeprep = hasher.finish();
    // What is wrong is looked at again.
    let is_right = |trial: &Trial| Score::of(std::slice::from_ref(trial)).wrong().is_empty();
    let kept = read(&file).filter(|seen| !again && Some(seen.key) == key).and_then(|mut seen| {
        seen.trial.expect(scenario);
        match seen.edgeprep == edgeprep {
            true => Some((seen.trial, How::SeenBefore)),
            false => match seen.trial.asked_anew(lab, scenario) {
                Ok(trial) => Some((trial?, How::AskedAnew)),
                Err(error) => {
                    println!("{} on {image}, asked anew: {error:#}; it is run again", scenario.name);
                    None
                }
            },
        }
    });
    let (trial, how) = match kept {
        Some((trial, how)) if is_right(&trial) => (trial, how),
        _ => (Trial::run(lab, scenario, image), How::Run),
    };
    if let Some(key) = key.filter(|_| is_right(&trial))
        && let Err(error) = write(&file, &Seen { key, edgeprep, trial: trial.clone() })
    {
        println!("not kept: {error:#}");
    }
    (trial, how)
}

fn path(lab: &Lab, scenario: &Scenario, image: &str) -> PathBuf {
    lab.saved.seen().join(format!("{}-{image}.json", scenario.name))
}

fn read(path: &Path) -> Option<Seen> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn write(path: &Path, seen: &Seen) -> Result<()> {
    Ok(std::fs::write(path, serde_json::to_vec(seen)?)?)
}
