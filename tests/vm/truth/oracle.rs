//! The programs that edgeprep's verdicts are held against.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::trial::STEP;

/// How long a program that is asked may take; one that takes longer does not work.
const PATIENCE: Duration = Duration::from_secs(200);
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

/// Asks an oracle: a script that is given, or the stack's own.
pub(crate) fn ask(machine: &mut Machine, oracle: Option<&str>, stack: &str) -> Result<Outcome> {
    let script = match oracle {
        Some(script) => script.to_owned(),
        None => oracle_of(stack)?,
    };
    // What hangs, fails.
    machine.put(ORACLE, "644", format!(". /share/guest-lib.sh\n{LIB}\n{script}").as_bytes())?;
    let ran = machine.run(&format!("timeout --kill-after 5 {} bash {ORACLE}", PATIENCE.as_secs()), STEP)?;
    let lines: Vec<&str> = ran.output.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let said = lines[lines.len().saturating_sub(6)..].join("\n");
    Ok(Outcome { works: ran.code == 0, said })
}

/// What a stack does when it starts, after what the stacks do that it is made of.
pub(crate) fn oracle_of(stack: &str) -> Result<String> {
    let own = read(&format!("oracles/{stack}.sh"))?;
    Ok(match stack {
        "podman" | "k3s" => own,
        _ => format!("{}\n{own}", read("oracles/podman.sh")?),
    })
}

fn read(path: &str) -> Result<String> {
    let path = super::here(path);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}
