//! What a row of a report is worth and what is said of it, for all formats that list rows.

use crate::facts::clock::day;
use crate::finding::Level;
use crate::report::saved::{Row, Stack};
use crate::report::{Group, NOT_SELECTED, Readiness, Saved, Status};

/// What a row is worth to whoever waits for the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// All is met.
    Met,
    /// Something required is not.
    Missing,
    /// Something required could not be determined.
    Doubt,
    /// Something advised is not met, or could not be determined.
    Advised,
    /// Not looked at, or left out.
    Left,
}

/// What a row is worth.
pub fn worth(row: &Row) -> Worth {
    match (row.status(), row.level()) {
        (Status::Pass, _) => Worth::Met,
        (Status::Skip | Status::Ignored, _) => Worth::Left,
        (Status::Fail | Status::Unknown, Level::Advised) => Worth::Advised,
        (Status::Fail, Level::Required) => Worth::Missing,
        (Status::Unknown, Level::Required) => Worth::Doubt,
    }
}

/// The check, and whose, and whether it is advised only: the name of a row, the same in each run.
pub fn title(row: &Row) -> String {
    let user = row.user.as_ref().map(|user| format!(" for {user}")).unwrap_or_default();
    let level = if row.level() == Level::Advised { " (advised)" } else { "" };
    format!("{}{user}{level}", row.id)
}

/// What is wrong, or why nothing was looked at, in a line.
pub fn message(row: &Row) -> String {
    let mut parts: Vec<String> = row.groups(false).iter().map(Group::sentence).collect();
    match row.status() {
        Status::Skip | Status::Ignored => parts.clear(),
        Status::Pass => return row.summary.clone(),
        Status::Fail | Status::Unknown => {}
    }
    parts.extend(row.reason.clone());
    if parts.is_empty() { row.summary.clone() } else { parts.join("; ") }
}

/// What is wrong, where that was read, and what repairs it, in lines.
pub fn details(row: &Row) -> Vec<String> {
    let mut lines = vec![row.summary.clone()];
    for group in row.groups(false) {
        lines.push(group.sentence());
        let (read, asked) = group.evidence();
        lines.extend(read.iter().chain(&asked).map(|at| format!("  {at}  {}", at.text)));
        lines.extend(repair(&group).map(|text| format!("  repair: {text}")));
        lines.extend(group.commands.iter().map(|command| format!("    {command}")));
    }
    lines.extend(row.reason.clone());
    lines
}

/// What repairs a group, where anything does.
pub fn repair(group: &Group) -> Option<String> {
    let remedy = &group.first.remedy;
    match (remedy.fixable, remedy.summary.as_str()) {
        (false, "") => None,
        (false, summary) => Some(summary.to_owned()),
        (true, summary) => Some(format!("edgeprep fix ({summary})")),
    }
}

/// The rows that were asked for.
pub fn rows(report: &Saved) -> impl Iterator<Item = &Row> {
    let left_out = |row: &Row| row.status() == Status::Ignored && row.reason.as_deref() == Some(NOT_SELECTED);
    report.checks.iter().filter(move |row| !left_out(row))
}

/// The verdict, in words.
pub fn verdict(readiness: Option<Readiness>) -> &'static str {
    match readiness {
        None => "nothing was asked",
        Some(Readiness::Ready) => "ready",
        Some(Readiness::Pending) => "pending",
        Some(Readiness::NotReady) => "not ready",
        Some(Readiness::Unknown) => "unknown",
    }
}

/// A stack, and whose where there are several users.
pub fn stack(stack: &Stack, report: &Saved) -> String {
    if report.users.len() > 1 { format!("{} for {}", stack.name, stack.user) } else { stack.name.clone() }
}

/// What the host is called.
pub fn host(report: &Saved) -> &str {
    report.host_name().unwrap_or("a host without a name")
}

/// When it was checked, as ISO 8601 has it, without a time zone: UTC.
pub fn time(report: &Saved) -> Option<String> {
    // The end of the year 9999 is the last second that the notation has.
    let secs = i64::try_from(report.timestamp?).ok().filter(|secs| *secs < 253_402_300_800)?;
    let (hours, minutes) = (secs / 3600 % 24, secs / 60 % 60);
    Some(format!("{}T{hours:02}:{minutes:02}:{:02}", day(secs), secs % 60))
}
