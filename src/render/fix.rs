//! A plan and what came of it: for people, and as `edgeprep.fix/1` for programs.

use serde::Serialize;

use super::diff::{headline, mode, owner, unified};
use super::{printable, wrap};
use crate::apply::transaction::Applied;
use crate::finding::Needs;
use crate::fixes::Step;
use crate::plan::{Activation, Change, Content, Plan, State};
use crate::report::{Report, Status};

const WIDTH: usize = 80;
/// The schema of [`FixReport`].
pub const SCHEMA: &str = "edgeprep.fix/1";

/// What a fix changed, or would, and how the host is after it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FixReport<'a> {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The version of edgeprep.
    pub version: &'static str,
    /// Whether only the plan was made.
    pub dry_run: bool,
    /// Whether anything was changed, or would be by a dry run.
    pub changed: bool,
    /// The paths that were changed, or would be.
    pub files: Vec<FileReport>,
    /// What followed, in words.
    pub activations: Vec<String>,
    /// What is left to a person.
    pub manual: Vec<StepReport>,
    /// What only root can do, where the caller is not root.
    pub for_root: Option<RootPart>,
    /// The number of the journal, for `edgeprep undo`.
    pub journal: Option<u32>,
    /// What it takes until everything configured is in effect.
    pub needs: Needs,
    /// What had no effect yet, and what was taken back before this fix began.
    pub notes: Vec<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// What could not be put back after that.
    pub left: Vec<String>,
    /// The report after it.
    pub report: &'a Report,
}

/// A path as it was and as it is.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FileReport {
    /// The path on that host.
    pub path: String,
    /// The text of the file or link before; none where there was none, or where it is not changed.
    pub before: Option<String>,
    /// The text after.
    pub after: Option<String>,
    /// The permission bits after, as `0644`.
    pub mode: Option<String>,
    /// Owner and group after, as `0:0`.
    pub owner: Option<String>,
    /// The unified diff; empty where no text changes.
    pub diff: String,
}

/// Something to do by hand.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StepReport {
    /// What to do.
    pub summary: String,
    /// What to type.
    pub commands: Vec<String>,
}

/// What an administrator would have to do for a user.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RootPart {
    /// The paths that would be changed.
    pub files: Vec<FileReport>,
    /// What would follow.
    pub activations: Vec<String>,
}

impl FileReport {
    fn of(change: &Change) -> FileReport {
        let text = |state: &State| match state {
            State::File { content: Content::Text(text), .. } => Some(text.clone()),
            State::File { content: Content::Bytes(bytes), .. } => {
                Some(String::from_utf8_lossy(&bytes.0).into_owned())
            }
            State::Link { target, .. } => Some(target.clone()),
            State::File { .. } | State::Dir { .. } | State::Absent => None,
        };
        FileReport {
            path: change.path.clone(),
            before: text(&change.before),
            after: text(&change.after),
            mode: mode(&change.after).map(|mode| format!("{mode:04o}")),
            owner: owner(&change.after),
            diff: unified(change),
        }
    }
}

fn words(activations: &[Activation]) -> Vec<String> {
    activations.iter().map(Activation::describe).collect()
}

impl<'a> FixReport<'a> {
    /// The report on a plan that nothing came of yet.
    pub fn of(plan: &Plan, report: &'a Report) -> FixReport<'a> {
        let files = |changes: &[Change]| changes.iter().map(FileReport::of).collect();
        let root = || RootPart { files: files(&plan.for_root), activations: words(&plan.root_activations) };
        FixReport {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            dry_run: true,
            changed: !plan.is_empty(),
            files: files(&plan.changes),
            activations: words(&plan.activations),
            manual: plan
                .manual
                .iter()
                .map(|step| StepReport { summary: step.summary.clone(), commands: step.commands.clone() })
                .collect(),
            for_root: plan.has_root_part().then(root),
            journal: None,
            needs: pending_needs(report),
            notes: Vec::new(),
            error: None,
            left: Vec::new(),
            report,
        }
    }

    /// The report on a plan that was carried out, or not.
    pub fn after(plan: &Plan, report: &'a Report, journal: Option<u32>, applied: Applied) -> FixReport<'a> {
        let mut fix = FixReport { dry_run: false, journal, ..FixReport::of(plan, report) };
        match applied {
            Applied::Done { notes } => fix.notes = notes,
            Applied::PutBack { error } => (fix.changed, fix.error) = (false, Some(error)),
            Applied::Stuck { error, left } => (fix.error, fix.left) = (Some(error), left),
        }
        fix
    }

    /// As indented JSON with a final newline.
    ///
    /// # Errors
    /// None in practice: a report holds nothing that JSON cannot.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

/// What the worst of all that is pending takes, advised or required.
fn pending_needs(report: &Report) -> Needs {
    let open = report.checks.iter().filter(|row| row.status == Status::Fail);
    open.flat_map(|row| &row.findings).map(|finding| finding.needs).max().unwrap_or_default()
}

/// The plan for people: the diff, then what follows, then what is left to them.
pub fn plan(plan: &Plan) -> String {
    let mut text = String::new();
    files(&mut text, &plan.changes);
    list(&mut text, "Then:", &words(&plan.activations));
    if plan.has_root_part() {
        text.push_str("\nOnly root can do the following:\n\n");
        files(&mut text, &plan.for_root);
        list(&mut text, "Then:", &words(&plan.root_activations));
    }
    steps(&mut text, &plan.manual);
    text
}

/// What came of a fix, for people: before the report that follows it.
pub fn outcome(report: &FixReport) -> String {
    let mut text = String::from("\n");
    let line = match (&report.error, report.journal) {
        (Some(error), _) if report.left.is_empty() => {
            format!("Failed, and everything was put back: {error}")
        }
        (Some(error), _) => format!("Failed: {error}"),
        (None, _) if !report.changed => "Nothing to do.".to_owned(),
        (None, Some(id)) => format!("Done. edgeprep undo {id} takes it back."),
        (None, None) if report.files.is_empty() => "Done.".to_owned(),
        (None, None) => "Done, without a journal: it cannot be undone.".to_owned(),
    };
    paragraph(&mut text, "", "", &line);
    list(&mut text, "Could not be put back (run edgeprep undo once the cause is gone):", &report.left);
    list(&mut text, "Note:", &report.notes);
    text.push('\n');
    text
}

/// Each change with its diff.
pub fn files(text: &mut String, changes: &[Change]) {
    for change in changes {
        let diff = unified(change);
        text.push_str(&printable(&change.path));
        if let (State::Absent, State::Dir { .. }) = (&change.before, &change.after) {
            text.push_str("/ (new)\n");
            continue;
        }
        text.push('\n');
        paragraph(text, "    ", "    ", &headline(change));
        for line in diff.lines().skip(2) {
            text.push_str(&format!("    {}\n", printable(line)));
        }
    }
}

/// A titled list; nothing where it is empty.
pub fn list(text: &mut String, title: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    text.push_str(&format!("\n{title}\n"));
    for item in items {
        paragraph(text, "  - ", "    ", item);
    }
}

fn steps(text: &mut String, steps: &[Step]) {
    if steps.is_empty() {
        return;
    }
    text.push_str("\nLeft to you:\n");
    for step in steps {
        paragraph(text, "  - ", "    ", &step.summary);
        for command in &step.commands {
            // A command is there to be copied, so it is not broken into lines.
            text.push_str(&format!("      {}\n", printable(command)));
        }
    }
}

fn paragraph(text: &mut String, first: &str, hang: &str, words: &str) {
    for (at, line) in wrap(&printable(words), WIDTH - hang.len()).iter().enumerate() {
        text.push_str(if at == 0 { first } else { hang });
        text.push_str(line);
        text.push('\n');
    }
}
