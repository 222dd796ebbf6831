//! The programs that edgeprep's verdicts are held against.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::scenario::{Expected, Shown};
use super::trial::STEP;

/// How long a program that is asked may take; one that takes longer does not work.
const PATIENCE: Duration = Duration::from_secs(300);
const ORACLE: &str = "/root/oracle";
/// Functions for the scripts that run on a machine.
pub(crate) const LIB: &str = include_str!("lib.sh");

/// What a program came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) works: bool,
    /// The end of what it said.
    pub(crate) said: String,
}

/// Asks an oracle.
pub(crate) fn ask(machine: &mut Machine, script: &str) -> Result<Outcome> {
    // What hangs, fails.
    machine.put(ORACLE, "644", format!(". /share/guest-lib.sh\n{LIB}\n{script}").as_bytes())?;
    let seconds = PATIENCE.as_secs();
    let script = format!(
        "timeout --kill-after 5 {seconds} bash {ORACLE} && exit
        [ $? != 124 ] || echo 'not ended after {seconds} s'
        exit 1"
    );
    let ran = machine.run(&script, STEP)?;
    let lines: Vec<&str> = ran.output.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let said = lines[lines.len().saturating_sub(6)..].join("\n");
    Ok(Outcome { works: ran.code == 0, said })
}

impl Expected {
    /// What a scenario asks, or else what a stack does when it starts, after what the stacks do that it is
    /// made of.
    pub(crate) fn script(&self, stack: &str) -> Result<String> {
        if let Some(script) = &self.oracle {
            return Ok(script.clone());
        }
        let own = read(&format!("oracles/{stack}.sh"))?;
        Ok(match stack {
            "podman" | "k3s" => own,
            _ => format!("{}\n{own}", read("oracles/podman.sh")?),
        })
    }
}

impl Shown {
    /// What a scenario asks, or else what fails where a check finds something.
    pub(crate) fn script(&self, id: &str) -> Result<String> {
        self.oracle.clone().map_or_else(|| read(&format!("oracles/check/{id}.sh")), Ok)
    }
}

fn read(path: &str) -> Result<String> {
    let path = super::here(path);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}
