//! Markdown as GitHub and GitLab have it, for a pull request or the summary of a job. What comes from
//! the host stands in code, or has all its punctuation escaped; the size is bounded.

use super::escape::{backticks, markdown, markdown_code, markup, short};
use super::printable;
use super::words::{self, Worth};
use crate::report::saved::{Row, Stack};
use crate::report::{Group, Saved};

/// A comment of GitHub's takes 65,536 characters.
const LIMIT_BYTES: usize = 60_000;
/// What closes the part that is open when the limit is reached.
const RESERVE_BYTES: usize = 500;
const TEXT_CHARS: usize = 400;
const SHOWN_PLACES: usize = 5;

/// The report, with what is in the way unfolded and all else folded.
pub fn report(report: &Saved) -> String {
    let verdict = words::verdict(report.readiness());
    let mut page =
        Page { text: format!("## edgeprep: {} is {verdict}\n\n", code(words::host(report))), left: 0 };
    let facts = [report.host.os.pretty_name.as_ref(), report.host.kernel.first(), report.host.arch.as_ref()];
    let facts: Vec<String> = facts.into_iter().flatten().map(|fact| text(fact)).collect();
    page.add(&format!("{}, profile {}\n\n", facts.join(", "), code(&report.profile.name)));
    for stack in &report.stacks {
        page.add(&verdict_of(stack, report));
    }
    let rows = |worth| words::rows(report).filter(move |row| words::worth(row) == worth);
    let urgent: Vec<&Row> = rows(Worth::Missing).chain(rows(Worth::Doubt)).collect();
    if !urgent.is_empty() {
        page.add("\n### In the way\n");
    }
    urgent.into_iter().for_each(|row| page.row(row, true));
    let advised: Vec<&Row> = rows(Worth::Advised).collect();
    if !advised.is_empty() {
        page.add("\n### Advised\n");
    }
    advised.into_iter().for_each(|row| page.row(row, false));
    page.list("Left out or not applicable", rows(Worth::Left));
    page.list("Met", rows(Worth::Met));
    if page.left > 0 {
        page.text.push_str(&format!("\n{} more parts do not fit; the report has them.\n", page.left));
    }
    page.text
}

fn verdict_of(stack: &Stack, report: &Saved) -> String {
    let verdict = words::verdict(Some(stack.readiness()));
    let blockers: Vec<String> = stack.blockers.iter().take(50).map(|id| code(id)).collect();
    let blockers = if blockers.is_empty() { String::new() } else { format!(": {}", blockers.join(", ")) };
    let advised = if stack.advised > 0 { format!(", {} advised", stack.advised) } else { String::new() };
    format!("- {} **{verdict}**{blockers}{advised}\n", code(&words::stack(stack, report)))
}

struct Page {
    text: String,
    /// How many parts did not fit.
    left: usize,
}

impl Page {
    /// Adds a part as a whole, or not at all; nothing follows what did not fit.
    fn add(&mut self, part: &str) {
        if self.left > 0 || self.text.len() + part.len() > LIMIT_BYTES - RESERVE_BYTES {
            self.left += 1;
        } else {
            self.text.push_str(part);
        }
    }

    fn row(&mut self, row: &Row, open: bool) {
        let state = match words::worth(row) {
            Worth::Doubt => "could not be determined",
            _ if row.status() == crate::report::Status::Unknown => "could not be determined",
            _ => "is not met",
        };
        let title = markup(&short(&words::title(row), TEXT_CHARS));
        let mut part = folded(&format!("<code>{title}</code> {state}"), open);
        part.push_str(&format!("{}\n", text(&row.summary)));
        for group in row.groups(false) {
            part.push_str(&described(&group));
        }
        if let Some(reason) = &row.reason {
            part.push_str(&format!("\n- {}\n", text(reason)));
        }
        part.push_str("\n</details>\n");
        self.add(&part);
    }

    fn list<'a>(&mut self, title: &str, rows: impl Iterator<Item = &'a Row>) {
        let items: Vec<String> = rows
            .map(|row| {
                let reason =
                    row.reason.as_ref().map(|reason| format!(": {}", text(reason))).unwrap_or_default();
                format!("- {}{reason}\n", code(&words::title(row)))
            })
            .collect();
        if !items.is_empty() {
            self.add(&format!(
                "{}{}\n</details>\n",
                folded(&format!("{title} ({})", items.len()), false),
                items.concat()
            ));
        }
    }
}

/// What follows is Markdown again only below an empty line.
fn folded(summary: &str, open: bool) -> String {
    let open = if open { " open" } else { "" };
    format!("\n<details{open}><summary>{summary}</summary>\n\n")
}

fn described(group: &Group) -> String {
    let first = group.first;
    let state = match first.verdict.as_str() {
        "pending" => ", configured but not in effect",
        "volatile" => ", lost at the next boot",
        _ => "",
    };
    let mut out = format!(
        "\n- {}: {} (expected {}){state}\n",
        code(&group.subjects()),
        code(&first.found),
        code(&first.expected)
    );
    let (read, asked) = group.evidence();
    for at in read.iter().chain(&asked).take(SHOWN_PLACES) {
        let said = if at.text.is_empty() { String::new() } else { format!(" {}", code(&at.text)) };
        out.push_str(&format!("  - {}{said}\n", code(&at.to_string())));
    }
    if let Some(repair) = words::repair(group) {
        out.push_str(&format!("  - repair: {}\n", text(&repair)));
    }
    if !group.commands.is_empty() {
        let commands: Vec<String> = group.commands.iter().map(|command| printable(command)).collect();
        let longest = commands.iter().map(|command| backticks(command)).max().unwrap_or(0);
        let fence = "`".repeat((longest + 1).max(3));
        out.push_str(&format!("\n    {fence}sh\n"));
        commands.iter().for_each(|command| out.push_str(&format!("    {command}\n")));
        out.push_str(&format!("    {fence}\n"));
    }
    out
}

fn text(text: &str) -> String {
    markdown(&short(text, TEXT_CHARS))
}

fn code(text: &str) -> String {
    markdown_code(&short(text, TEXT_CHARS))
}
