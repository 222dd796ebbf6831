//! The report: all findings of one look at a host, with the verdict on each stack. Its serialised
//! form is public (`docs/report.schema.json`); keys stand in the order in which they are declared.

mod groups;
pub mod saved;
mod selection;
mod tried;
mod verdict;

pub use groups::{Group, Repair, once};
pub use saved::Saved;
pub use selection::{Selection, glob_matches};
pub use tried::{Tried, tried};
pub use verdict::{Readiness, StackVerdict, verdicts};

use serde::Serialize;

use crate::checks::{ALL, Check, Run};
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Answer, Finding, Install, Item, Level, Needs, Outcome, Overruled, Verdict};
use crate::host_summary::HostSummary;
use crate::probes::Trials;
use crate::requirements::{Requirements, Stack};
use crate::settings::{Setting, by_hand};

/// Why a check has no answer that `--select` left out.
pub const NOT_SELECTED: &str = "not selected";
/// The name and version of the format.
pub const SCHEMA: &str = "edgeprep.report/1";

/// One look at one host.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The version of edgeprep.
    pub version: &'static str,
    /// When, as seconds since 1970 (only where it was asked for).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u64>,
    /// `live`, `image` or `capture`.
    pub mode: &'static str,
    /// The host.
    pub host: HostSummary,
    /// The profile.
    pub profile: ProfileChoice,
    /// The files of the workload that was looked at, too, as they were named (only with `--workload`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<Vec<String>>,
    /// The users whose rootless stacks were looked at.
    pub users: Vec<UserName>,
    /// The verdicts.
    pub stacks: Vec<StackVerdict>,
    /// What was checked, in the registry's order.
    pub checks: Vec<Row>,
    /// What was tried as the users (only with `--probe`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<Vec<Tried>>,
    /// The sums.
    pub summary: Summary,
}

/// Which profile was chosen, and why.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProfileChoice {
    /// Its name.
    pub name: String,
    /// `auto` or `named`.
    pub chosen: &'static str,
    /// Why.
    pub why: String,
    /// What to know of the hardware, in a few sentences.
    pub notes: Vec<String>,
    /// As who ran this named it; absent where nobody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_for: Option<String>,
}

/// A user.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserName {
    /// The name.
    pub name: String,
    /// The UID.
    pub uid: u32,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// All is met.
    Pass,
    /// Something is not.
    Fail,
    /// It does not apply; the reason says why.
    Skip,
    /// It could not be determined; the reason says why.
    Unknown,
    /// It was left out on request; the reason says whose.
    Ignored,
}

/// One check at one level, for the host or for one user.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Row {
    /// The check.
    pub id: &'static str,
    /// What it is about, in a line.
    pub summary: &'static str,
    /// How much depends on it.
    pub level: Level,
    /// What came of it.
    pub status: Status,
    /// The user, for checks that look at one.
    pub user: Option<String>,
    /// The stacks that ask for it.
    pub stacks: Vec<Stack>,
    /// Why it was skipped or ignored, or what could not be determined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was found.
    pub findings: Vec<ReportedFinding>,
    /// What repairs several findings at once that are not met (absent where none can be taken together).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(default))]
    pub repairs: Vec<Repair>,
    /// Whether the host runs.
    #[serde(skip)]
    running: bool,
    /// What each finding is worth to each stack, from which verdicts are made.
    #[serde(skip)]
    items: Vec<Item>,
}

/// A [`Finding`], as reported.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReportedFinding {
    /// See [`Finding::subject`].
    pub subject: String,
    /// See [`Finding::expected`].
    pub expected: String,
    /// See [`Finding::found`].
    pub found: String,
    /// `met`, `pending`, `volatile` or `unmet`.
    pub verdict: &'static str,
    /// What it takes where it is pending; absent where a command is enough.
    #[serde(skip_serializing_if = "Needs::is_none")]
    #[cfg_attr(test, schemars(default))]
    pub needs: Needs,
    /// The stacks that want it.
    pub stacks: Vec<Stack>,
    /// Why they do.
    pub why: String,
    /// Where it was read.
    pub evidence: Vec<Evidence>,
    /// How many of the evidence, the last, are lines of a workload that ask for it; absent where none do.
    #[serde(skip_serializing_if = "is_zero")]
    #[cfg_attr(test, schemars(default))]
    pub asked: usize,
    /// What repairs it.
    pub remedy: ReportedRemedy,
    /// What the files said, where a probe says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overruled: Option<Overruled>,
}

/// A [`Remedy`](crate::finding::Remedy), as reported.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReportedRemedy {
    /// Whether configuration alone repairs it (as against a package, a kernel, hardware).
    pub fixable: bool,
    /// What to do.
    pub summary: String,
    /// What a person would type; below `$ROOT` for an image.
    pub commands: Vec<String>,
    /// The settings behind it, from which the commands for several findings are made.
    #[serde(skip)]
    pub settings: Vec<Setting>,
    /// The commands that no setting stands for.
    #[serde(skip)]
    pub manual: Vec<String>,
    /// The packages that repair it, where their installation is all there is to do; else absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install: Option<Install>,
}

/// The sums of a report.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Summary {
    /// Rows that pass.
    pub pass: usize,
    /// Rows that fail.
    pub fail: usize,
    /// Rows that do not apply.
    pub skip: usize,
    /// Rows that could not be determined.
    pub unknown: usize,
    /// Rows left out on request.
    pub ignored: usize,
    /// The worst verdict of all stacks.
    pub verdict: Option<Readiness>,
    /// The exit code of `edgeprep check`.
    pub exit_code: u8,
}

/// What a check said.
#[derive(Clone, Debug)]
pub struct Said {
    check: &'static Check,
    user: Option<String>,
    /// `None` for a check that was not selected.
    outcome: Option<Outcome>,
}

/// Runs the selected checks, in the registry's order.
pub fn run(facts: &Facts, req: &Requirements, users: &[User], selection: &Selection) -> Vec<Said> {
    let mut said = Vec::new();
    for &check in ALL {
        let mut add = |user: Option<&User>, outcome| {
            said.push(Said { check, user: user.map(|user| user.name.clone()), outcome });
        };
        match check.run {
            _ if !selection.selected(check.id) => add(None, None),
            Run::Host(run) => add(None, Some(selection.narrowed(check.id, run(facts, req)))),
            Run::User(run) => users.iter().for_each(|user| {
                add(Some(user), Some(selection.narrowed(check.id, run(facts, req, user))));
            }),
        }
    }
    said
}

/// The rows of what the checks said, with what was tried of it put in.
pub fn rows(said: Vec<Said>, trials: Option<&Trials>, selection: &Selection, running: bool) -> Vec<Row> {
    let rows = said.into_iter().map(|Said { check, user, outcome }| match outcome {
        None => vec![not_selected(check)],
        Some(mut outcome) => {
            if let Some(trials) = trials {
                trials.merge(check.id, user.as_deref(), &mut outcome);
            }
            split(check, user.as_deref(), outcome, selection, running)
        }
    });
    rows.flatten().collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// The rows of one outcome, for tests of what changes outcomes.
#[cfg(test)]
pub(crate) fn rows_of(
    check: &'static Check,
    user: Option<&str>,
    outcome: Outcome,
    selection: &Selection,
) -> Vec<Row> {
    split(check, user, outcome, selection, true)
}

/// The row of a check that was not asked for: it is listed, so that no verdict hides what it left out.
fn not_selected(check: &'static Check) -> Row {
    Row {
        id: check.id,
        summary: check.summary(),
        level: check.level,
        status: Status::Ignored,
        user: None,
        stacks: Vec::new(),
        reason: Some(NOT_SELECTED.to_owned()),
        findings: Vec::new(),
        repairs: Vec::new(),
        running: false,
        items: Vec::new(),
    }
}

/// Makes one row for each level at which a check says something.
fn split(
    check: &'static Check,
    user: Option<&str>,
    outcome: Outcome,
    selection: &Selection,
    running: bool,
) -> Vec<Row> {
    let row = |level, status, reason, items: Vec<Item>| {
        let mut stacks: Vec<Stack> = items.iter().flat_map(|item| item.stacks.iter().copied()).collect();
        stacks.sort_unstable();
        stacks.dedup();
        let findings: Vec<_> = items.iter().filter_map(|item| reported(item, running)).collect();
        let repairs = groups::repairs(&findings, running);
        let (id, summary, user) = (check.id, check.summary(), user.map(str::to_owned));
        Row { id, summary, level, status, user, stacks, reason, findings, repairs, running, items }
    };
    if let Some(reason) = outcome.skipped {
        return vec![row(check.level, Status::Skip, Some(reason), Vec::new())];
    }
    let (required, advised): (Vec<Item>, Vec<Item>) =
        outcome.items.into_iter().partition(|item| weight(item, selection.strict) == Level::Required);
    [(Level::Required, required), (Level::Advised, advised)]
        .into_iter()
        .filter(|(_, items)| !items.is_empty())
        .map(|(level, items)| {
            let (status, reason) = status(check.id, &items, selection);
            row(level, status, reason, items)
        })
        .collect()
}

/// What is in effect blocks nothing today, even where it will be lost at the next boot.
fn weight(item: &Item, strict: bool) -> Level {
    match &item.answer {
        _ if strict => Level::Required,
        Answer::Found(finding) if finding.verdict == Verdict::Volatile => Level::Advised,
        _ => item.level,
    }
}

fn status(id: &str, items: &[Item], selection: &Selection) -> (Status, Option<String>) {
    let unmet = items.iter().any(|i| matches!(&i.answer, Answer::Found(f) if f.verdict != Verdict::Met));
    let mut reasons = unknown_reasons(items);
    let unknown = !reasons.is_empty();
    if (unmet || unknown)
        && let Some(reason) = selection.ignored(id)
    {
        return (Status::Ignored, Some(reason));
    }
    if unmet && let Some((_, day)) = selection.expired.iter().find(|(expired, _)| expired == id) {
        reasons.insert(0, format!("its waiver ended on {day}"));
    }
    let reason = Some(reasons.join("; ")).filter(|text| !text.is_empty());
    match (unmet, unknown) {
        (true, _) => (Status::Fail, reason),
        (false, true) => (Status::Unknown, reason),
        (false, false) => (Status::Pass, None),
    }
}

/// Why something could not be determined, each reason once, with all that it holds for.
fn unknown_reasons(items: &[Item]) -> Vec<String> {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for item in items {
        let Answer::Unknown { subject, reason } = &item.answer else { continue };
        match reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, subjects)) if subjects.contains(&subject.as_str()) => {}
            Some((_, subjects)) => subjects.push(subject),
            None => reasons.push((reason, vec![subject])),
        }
    }
    reasons.into_iter().map(|(reason, subjects)| format!("{}: {reason}", subjects.join(", "))).collect()
}

fn reported(item: &Item, running: bool) -> Option<ReportedFinding> {
    let Answer::Found(finding) = &item.answer else { return None };
    let Finding { subject, expected, found, verdict, evidence, remedy, overruled } = finding.as_ref();
    Some(ReportedFinding {
        subject: subject.clone(),
        expected: expected.clone(),
        found: found.clone(),
        verdict: verdict.as_str(),
        needs: if let Verdict::Pending(needs) = verdict { *needs } else { Needs::None },
        stacks: item.stacks.clone(),
        why: item.why.clone(),
        evidence: [evidence.as_slice(), &item.asked].concat(),
        asked: item.asked.len(),
        remedy: ReportedRemedy {
            fixable: !remedy.settings.is_empty(),
            summary: remedy.summary.clone(),
            commands: [by_hand(&remedy.settings, running), remedy.commands.clone()].concat(),
            settings: remedy.settings.clone(),
            manual: remedy.commands.clone(),
            install: remedy.install.clone(),
        },
        overruled: overruled.clone(),
    })
}

impl Summary {
    /// The sums of `rows` and the worst of `stacks`.
    pub fn of(rows: &[Row], stacks: &[StackVerdict]) -> Summary {
        let count = |status| rows.iter().filter(|row| row.status == status).count();
        let verdict = stacks.iter().map(|s| s.verdict).reduce(Readiness::worst);
        Summary {
            pass: count(Status::Pass),
            fail: count(Status::Fail),
            skip: count(Status::Skip),
            unknown: count(Status::Unknown),
            ignored: count(Status::Ignored),
            verdict,
            exit_code: crate::exit_code::of_check(verdict),
        }
    }
}

#[cfg(test)]
mod tests;
