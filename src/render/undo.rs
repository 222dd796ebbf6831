//! What undoing a fix does and did, and the list of fixes: for people and for programs.

use serde::Serialize;

use super::fix::{files, list};
use crate::apply::journal::Journal;
use crate::apply::transaction::TakenBack;
use crate::cli::Format;
use crate::facts::clock::day;
use crate::plan::{Activation, Change};
use crate::requirements::Stack;
use crate::settings::K3D_NETWORK;

/// The schema of [`UndoReport`].
pub const SCHEMA: &str = "edgeprep.undo/1";
/// The schema of the history.
pub const HISTORY_SCHEMA: &str = "edgeprep.history/1";

/// What came of undoing a fix.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UndoReport {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The version of edgeprep.
    pub version: &'static str,
    /// The number of the fix; none where only what was interrupted was put right.
    pub journal: Option<u32>,
    /// Whether anything was changed.
    pub changed: bool,
    /// The paths that are as they were before the fix.
    pub restored: Vec<String>,
    /// The paths that others changed since, and that were left as they are.
    pub left: Vec<String>,
    /// What failed.
    pub failed: Vec<String>,
    /// What is no longer configured and still in effect.
    pub notes: Vec<String>,
}

impl UndoReport {
    /// The report on undoing `journal`.
    pub fn of(journal: &Journal, back: &TakenBack, notes: &[String]) -> UndoReport {
        let paths = journal.changes.iter().map(|change| change.path.clone());
        let failed = |path: &String| back.failed.iter().any(|(failed, _)| failed == path);
        let restored: Vec<String> =
            paths.filter(|path| !back.changed_by_others.contains(path) && !failed(path)).collect();
        UndoReport {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            journal: Some(journal.id),
            changed: !restored.is_empty() || !journal.activations.is_empty(),
            restored,
            left: back.changed_by_others.clone(),
            failed: back.failed.iter().map(|(_, why)| why).chain(&back.still_active).cloned().collect(),
            notes: notes.iter().chain(&back.notes).cloned().collect(),
        }
    }

    /// As indented JSON with a final newline.
    ///
    /// # Errors
    /// None in practice.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

/// What undoing will do, for people.
pub fn plan(journal: &Journal) -> String {
    let mut text = format!("Undo fix {}{}:\n\n", journal.id, made(journal));
    let reverse = |change: &Change| Change {
        path: change.path.clone(),
        by: change.by.clone(),
        before: change.after.clone(),
        after: change.before.clone(),
    };
    let changes: Vec<Change> = journal.changes.iter().rev().map(reverse).collect();
    files(&mut text, &changes);
    let effects: Vec<String> = journal.activations.iter().filter_map(taken_back).collect();
    list(&mut text, "Then:", &effects);
    text
}

/// What taking an activation back means to whoever uses the machine.
fn taken_back(activation: &Activation) -> Option<String> {
    Some(match activation {
        Activation::Linger { user, .. } => {
            format!("{user} no longer lingers: without a session, the user manager and all that it runs end")
        }
        Activation::UserStart { user, unit, .. } if *unit == format!("{K3D_NETWORK}-network.service") => {
            format!("stop {unit} of {}; the network stays until: podman network rm {K3D_NETWORK}", user.name)
        }
        Activation::UserStart { user, unit, .. } => format!("stop {unit} of {}", user.name),
        Activation::Sysctl { key, before: Some(before), .. } => format!("set {key} to {before} again"),
        Activation::DeviceMode { path, before, .. } => {
            format!("set the mode of {path} to {before:04o} again")
        }
        Activation::LoadModules { names } => {
            format!("{} stay loaded until the next boot", names.join(", "))
        }
        Activation::Delegation { user, .. } => format!(
            "the running user manager of {} keeps its controllers until it is started anew",
            user.name
        ),
        Activation::NextBoot { path, carry, run } => {
            let tools: Vec<String> = carry.iter().map(ToString::to_string).collect();
            match (tools.join(", then "), run) {
                (tools, _) if tools.is_empty() => format!("the next boot is by the old {path}"),
                (tools, true) => format!("run {tools}: the next boot is by the old {path}"),
                (tools, false) => format!("the next boot is by the old {path}, once you have run {tools}"),
            }
        }
        Activation::Sysctl { before: None, .. }
        | Activation::StartUserManager { .. }
        | Activation::RestartUserManager { .. } => return None,
        Activation::Reload
        | Activation::ReloadAppArmor
        | Activation::ReloadLogind
        | Activation::UserReload { .. }
        | Activation::NewPodmanNamespace { .. }
        | Activation::SliceLimits { .. } => activation.describe(),
    })
}

/// What undoing did, for people.
pub fn outcome(report: &UndoReport) -> String {
    let mut text = String::from("\n");
    let word = if report.failed.is_empty() { "undone" } else { "not undone as a whole" };
    text.push_str(&format!("Fix {} is {word}.\n", report.journal.unwrap_or_default()));
    list(&mut text, "Left as they are, because others changed them since:", &report.left);
    list(&mut text, "Failed (run edgeprep undo again once the cause is gone):", &report.failed);
    list(&mut text, "Note:", &report.notes);
    text
}

/// What was put right of a fix or an undo that had been interrupted, where nothing else is to be undone.
///
/// # Errors
/// None in practice.
pub fn recovered(notes: &[String], format: Format) -> serde_json::Result<String> {
    match format {
        Format::Human => Ok(notes.iter().map(|note| format!("{note}\n")).collect()),
        Format::Json => {
            let report = UndoReport {
                schema: SCHEMA,
                version: env!("CARGO_PKG_VERSION"),
                journal: None,
                changed: true,
                restored: Vec::new(),
                left: Vec::new(),
                failed: Vec::new(),
                notes: notes.to_vec(),
            };
            report.to_json()
        }
    }
}

fn made(journal: &Journal) -> String {
    let time = journal
        .time
        .map(|time| format!(" of {}", day(i64::try_from(time).unwrap_or(i64::MAX))))
        .unwrap_or_default();
    let stacks: Vec<&str> = journal.stacks.iter().map(|stack| stack.as_str()).collect();
    format!("{time} ({} for {})", stacks.join(", "), journal.users.join(", "))
}

/// The fixes, newest first, for people.
pub fn history(journals: &[Journal], dir: &str) -> String {
    if journals.is_empty() {
        return format!("No fix is recorded in {dir}.\n");
    }
    let mut text = String::new();
    for journal in journals.iter().rev() {
        let state = journal.status.as_str();
        text.push_str(&format!("{:>4}  {state}{}\n", journal.id, made(journal)));
        for change in &journal.changes {
            text.push_str(&format!("        {}\n", super::printable(&change.path)));
        }
    }
    text
}

/// The fixes, oldest first, for programs.
///
/// # Errors
/// None in practice.
pub fn history_json(journals: &[Journal]) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Fix<'a> {
        journal: u32,
        status: &'static str,
        time: Option<u64>,
        version: &'a str,
        users: &'a [String],
        stacks: &'a [Stack],
        files: Vec<&'a str>,
        activations: Vec<String>,
    }
    #[derive(Serialize)]
    struct History<'a> {
        schema: &'static str,
        fixes: Vec<Fix<'a>>,
    }
    let fixes = journals
        .iter()
        .map(|journal| Fix {
            journal: journal.id,
            status: journal.status.as_str(),
            time: journal.time,
            version: &journal.version,
            users: &journal.users,
            stacks: &journal.stacks,
            files: journal.changes.iter().map(|change| change.path.as_str()).collect(),
            activations: journal.activations.iter().map(Activation::describe).collect(),
        })
        .collect();
    serde_json::to_string_pretty(&History { schema: HISTORY_SCHEMA, fixes }).map(|text| text + "\n")
}
