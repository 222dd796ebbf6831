//! A report read back: what `edgeprep check --format json` printed, here or elsewhere, now or then. All
//! output formats are made of it, for a live report too.
//!
//! Whoever wrote it is not trusted: its size and depth are bounded, words are owned strings that are
//! escaped where they are shown, and a word that this edgeprep does not know never counts as good. Keys
//! that it does not know are left out, and those that older versions lack are empty.

mod host;

use std::fmt;
use std::io::{self, Read};

use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use self::host::{Hardware, Host, Os, Profile, User};
use super::{Readiness, Repair, Report, SCHEMA, Status};
use crate::exit_code;
use crate::finding::{Install, Level, Needs};

/// The most that is read of a report; real ones have 0.2 MiB.
pub const LIMIT_BYTES: u64 = 8 << 20;
/// How much of a message is shown that may quote the report.
const MESSAGE_CHARS: usize = 200;

/// A report as it was saved.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Saved {
    /// [`SCHEMA`].
    pub schema: String,
    /// The version of edgeprep that wrote it.
    pub version: String,
    /// When, as seconds since 1970.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub timestamp: Option<u64>,
    /// `live`, `image` or `capture`.
    pub mode: String,
    /// The host.
    pub host: Host,
    /// The profile.
    pub profile: Profile,
    /// The files of the workload.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub workload: Option<Vec<String>>,
    /// The users.
    pub users: Vec<User>,
    /// The verdicts.
    pub stacks: Vec<Stack>,
    /// What was checked.
    pub checks: Vec<Row>,
    /// What was tried.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub probes: Option<Vec<Tried>>,
    /// The sums, as they were written: see [`Saved::readiness`] and [`Saved::exit_code`].
    pub summary: Summary,
}

/// The verdict on a stack for a user.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Stack {
    /// The stack.
    pub name: String,
    /// The user.
    pub user: String,
    /// See [`Stack::readiness`].
    pub verdict: String,
    /// The checks that stand in the way.
    pub blockers: Vec<String>,
    /// See [`Stack::needs`].
    pub needs: String,
    /// How many advised checks are not met.
    #[serde(default)]
    pub advised: u64,
}

/// What came of a check.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Row {
    /// The check.
    pub id: String,
    /// What it is about.
    pub summary: String,
    /// See [`Row::level`].
    pub level: String,
    /// See [`Row::status`].
    pub status: String,
    /// The user, for checks that look at one.
    pub user: Option<String>,
    /// The stacks that ask for it.
    #[serde(default)]
    pub stacks: Vec<String>,
    /// Why it was skipped or ignored, or what could not be determined.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub reason: Option<String>,
    /// What was found.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What repairs several findings at once.
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "Vec::is_empty"))]
    pub repairs: Vec<Repair>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Finding {
    /// What it is about.
    pub subject: String,
    /// The wanted value.
    pub expected: String,
    /// The value found.
    pub found: String,
    /// `met`, `pending`, `volatile` or `unmet`.
    pub verdict: String,
    /// What it takes where it is pending: `re-login` or `reboot`.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub needs: Option<String>,
    /// The stacks that want it.
    #[serde(default)]
    pub stacks: Vec<String>,
    /// Why they do.
    #[serde(default)]
    pub why: String,
    /// Where it was read.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// How many of the evidence, the last, are lines of a workload that ask for it.
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "super::is_zero"))]
    pub asked: usize,
    /// What repairs it.
    #[serde(default)]
    pub remedy: Remedy,
    /// What the files said, where a probe says otherwise.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub overruled: Option<Overruled>,
}

/// Where something was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Evidence {
    /// The file or directory.
    pub path: String,
    /// The line, from 1.
    pub line: Option<u64>,
    /// What stands there.
    #[serde(default)]
    pub text: String,
}

/// What repairs a finding.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Remedy {
    /// Whether `edgeprep fix` does.
    #[serde(default)]
    pub fixable: bool,
    /// What to do.
    #[serde(default)]
    pub summary: String,
    /// What a person would type.
    #[serde(default)]
    pub commands: Vec<String>,
    /// The packages that repair it, where their installation is all there is to do.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub install: Option<Install>,
}

/// What the files said of what a probe has seen to be otherwise.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Overruled {
    /// The probe.
    pub by: String,
    /// The verdict by the files.
    pub verdict: String,
    /// What was found by the files.
    pub found: String,
}

/// What was tried.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Tried {
    /// The probe.
    pub probe: String,
    /// For whom.
    pub user: String,
    /// What was tried.
    pub subject: String,
    /// `works`, `refused` or `unknown`.
    pub result: String,
    /// What was seen.
    pub text: String,
    /// The checks that it speaks of.
    #[serde(default)]
    pub checks: Vec<String>,
    /// Those of which the files say otherwise.
    #[serde(default)]
    pub overrules: Vec<String>,
}

/// The sums.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Summary {
    /// Rows that pass.
    pub pass: u64,
    /// Rows that fail.
    pub fail: u64,
    /// Rows that do not apply.
    pub skip: u64,
    /// Rows that could not be determined.
    pub unknown: u64,
    /// Rows left out on request.
    pub ignored: u64,
    /// The worst verdict of all stacks.
    pub verdict: Option<String>,
    /// The exit code of the check.
    pub exit_code: u8,
}

impl Saved {
    /// A report as it would be read back.
    ///
    /// # Errors
    /// None in practice: a report is read as it is written.
    pub fn of(report: &Report) -> serde_json::Result<Saved> {
        again(report)
    }

    /// The worst verdict of all stacks; `None` where no stack was looked at. It is made of the stacks, not
    /// taken from the sums.
    pub fn readiness(&self) -> Option<Readiness> {
        self.stacks.iter().map(Stack::readiness).reduce(Readiness::worst)
    }

    /// The exit code of `edgeprep check` for it.
    pub fn exit_code(&self) -> u8 {
        exit_code::of_check(self.readiness())
    }

    /// What it is called: the host's name, else the hash of its machine-id.
    pub fn host_name(&self) -> Option<&str> {
        let host = &self.host;
        host.name.as_deref().filter(|name| !name.is_empty()).or(host.machine_id_hash.as_deref())
    }

    /// How many rows have this status.
    pub fn count(&self, status: Status) -> usize {
        self.checks.iter().filter(|row| row.status() == status).count()
    }
}

impl Stack {
    /// The verdict; a word that is not known is unknown, and so is one that its own blockers contradict.
    pub fn readiness(&self) -> Readiness {
        match self.verdict.as_str() {
            "ready" if self.blockers.is_empty() => Readiness::Ready,
            "pending" => Readiness::Pending,
            "not-ready" => Readiness::NotReady,
            _ => Readiness::Unknown,
        }
    }

    /// What a pending configuration takes; a reboot where the word is not known.
    pub fn needs(&self) -> Needs {
        match self.needs.as_str() {
            "none" => Needs::None,
            "re-login" => Needs::ReLogin,
            _ => Needs::Reboot,
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.path),
            None => f.write_str(&self.path),
        }
    }
}

impl Row {
    /// A row as it would be read back.
    ///
    /// # Errors
    /// None in practice, as for [`Saved::of`].
    pub fn of(row: &super::Row) -> serde_json::Result<Row> {
        again(row)
    }

    /// The status; a word that is not known is unknown.
    pub fn status(&self) -> Status {
        match self.status.as_str() {
            "pass" => Status::Pass,
            "fail" => Status::Fail,
            "skip" => Status::Skip,
            "ignored" => Status::Ignored,
            _ => Status::Unknown,
        }
    }

    /// The level; required where the word is not known.
    pub fn level(&self) -> Level {
        if self.level == "advised" { Level::Advised } else { Level::Required }
    }

    /// The findings that are not met.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.verdict != "met")
    }
}

/// What is written as JSON, read back as another type.
fn again<T: DeserializeOwned>(value: &impl serde::Serialize) -> serde_json::Result<T> {
    serde_json::from_slice(&serde_json::to_vec(value)?)
}

/// Why something is not a report that can be read.
#[derive(Debug, thiserror::Error)]
pub enum NoReport {
    /// The system does not read it.
    #[error(transparent)]
    Unread(#[from] io::Error),
    /// It has nothing in it.
    #[error("is empty: expected the JSON of edgeprep check --format json")]
    Empty,
    /// It is more than [`LIMIT_BYTES`].
    #[error("has more than {} MiB, which no report has", LIMIT_BYTES >> 20)]
    TooLarge,
    /// Its end is missing.
    #[error("line {line}: the end is missing: {message}")]
    Truncated {
        /// The last line.
        line: usize,
        /// What was expected.
        message: String,
    },
    /// It is not JSON, or nested deeper than any report.
    #[error("line {line}, column {column}: not JSON: {message}")]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The column, in bytes from 1.
        column: usize,
        /// What was expected.
        message: String,
    },
    /// It is JSON, but none of edgeprep's.
    #[error("is no report of edgeprep: it has no \"schema\" of {SCHEMA}")]
    Foreign,
    /// It is one of edgeprep's, but not of this kind or version.
    #[error("{0}: this edgeprep reads {SCHEMA}")]
    OtherSchema(String),
    /// It is of no stack, so that nothing in it could be ready.
    #[error("names no stack: expected at least one in \"stacks\"")]
    NoVerdict,
    /// It says that it is a report and is not made like one.
    #[error("line {line}, column {column}: not as {SCHEMA} has it: {message}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// The column, in bytes from 1.
        column: usize,
        /// What was expected.
        message: String,
    },
}

/// Reads all of a report, and no more than a report can have.
///
/// # Errors
/// Those of the reader, and [`NoReport::TooLarge`].
pub fn read(from: impl Read) -> Result<Vec<u8>, NoReport> {
    let mut bytes = Vec::new();
    from.take(LIMIT_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT_BYTES { Err(NoReport::TooLarge) } else { Ok(bytes) }
}

/// The report that these bytes are. Its size is bounded by whoever read them, see [`read`].
///
/// # Errors
/// When they are none that this edgeprep reads.
pub fn parse(bytes: &[u8]) -> Result<Saved, NoReport> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(NoReport::Empty);
    }
    match serde_json::from_slice::<Saved>(bytes) {
        Ok(saved) if saved.schema == SCHEMA && saved.stacks.is_empty() => Err(NoReport::NoVerdict),
        Ok(saved) if saved.schema == SCHEMA => Ok(saved),
        Ok(saved) => Err(NoReport::OtherSchema(short(&saved.schema))),
        Err(error) => Err(why(bytes, &error)),
    }
}

/// Why the bytes are no report: what they say they are matters more than where they differ from one.
fn why(bytes: &[u8], error: &serde_json::Error) -> NoReport {
    #[derive(Deserialize)]
    struct Head {
        schema: Option<serde_json::Value>,
    }
    let head = serde_json::from_slice::<Head>(bytes);
    // Malformed here may be truncated, or no JSON, further down.
    let (line, column) = (error.line(), error.column());
    match head {
        Ok(Head { schema: Some(serde_json::Value::String(schema)) }) if schema == SCHEMA => {
            NoReport::Malformed { line, column, message: expectation(error) }
        }
        Ok(Head { schema: Some(serde_json::Value::String(schema)) }) if schema.starts_with("edgeprep.") => {
            NoReport::OtherSchema(short(&schema))
        }
        Ok(_) => NoReport::Foreign,
        Err(error) if error.is_eof() => {
            NoReport::Truncated { line: error.line(), message: expectation(&error) }
        }
        Err(error) if error.is_syntax() => {
            NoReport::NotJson { line: error.line(), column: error.column(), message: expectation(&error) }
        }
        Err(_) => NoReport::Foreign,
    }
}

/// What a parser says, without the place, which stands before it.
pub(crate) fn expectation(error: &serde_json::Error) -> String {
    let text = error.to_string();
    short(text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message))
}

/// The start of what a report says of itself.
pub(crate) fn short(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARS) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[path = "saved_tests.rs"]
mod tests;
