//! A diagnosis for people: each message with its cause, then what the checks say that it points to, in the
//! words of their report.

use console::Style;

use super::{Detail, INDENT, Page, Terminal, WIDTH};
use crate::diagnosis::{Diagnosis, Hit, Place};
use crate::render::{printable, wrap};
use crate::report::saved::Row;
use crate::report::{Readiness, Report, Saved, Status};

/// The diagnosis as text.
///
/// # Errors
/// None in practice, see [`Saved::of`].
pub fn diagnosis(diagnosis: &Diagnosis, detail: Detail, terminal: Terminal) -> serde_json::Result<String> {
    let mut page = Page::new(terminal);
    let saved = diagnosis.report.as_ref().map(Saved::of).transpose()?;
    if let Some(report) = &saved {
        page.heading(report, super::Detail::Normal);
    }
    let lines = |n| if n == 1 { "1 line".to_owned() } else { format!("{n} lines") };
    if diagnosis.hits.is_empty() {
        let text = format!(
            "nothing is recognised in {}. edgeprep check looks at the host itself.",
            lines(diagnosis.lines)
        );
        page.paragraph(0, "", &text);
        return Ok(page.shown(terminal));
    }
    let n = diagnosis.hits.len();
    let what = if n == 1 { "1 known message" } else { &format!("{n} known messages") };
    page.line(&format!("{what} in {}", lines(diagnosis.lines)));
    let mut told: Vec<(String, Option<String>, String)> = Vec::new();
    for hit in &diagnosis.hits {
        page.line("");
        page.hit(hit, detail == Detail::Verbose);
        if let Some(report) = diagnosis.report.as_ref().filter(|_| detail != Detail::Quiet) {
            page.answers(hit, report, &mut told, detail == Detail::Verbose)?;
        }
    }
    if let Some(report) = &saved {
        page.then(report, detail);
    }
    Ok(page.shown(terminal))
}

impl Page {
    fn hit(&mut self, hit: &Hit, verbose: bool) {
        let first = match &hit.first.file {
            Some(file) => format!("{file}:{}", hit.first.line),
            None => format!("line {}", hit.first.line),
        };
        let last = match &hit.last {
            Place { file: Some(file), line } if hit.last.file != hit.first.file => format!("{file}:{line}"),
            Place { line, .. } => format!("line {line}"),
        };
        let times = if hit.count > 1 { format!(", in {} lines to {last}", hit.count) } else { String::new() };
        let place = format!("{first}{times}");
        let title = self.paint(Style::new().bold(), &hit.symptom);
        if hit.symptom.len() + place.chars().count() + 3 <= WIDTH {
            self.line(&format!("{title}   {}", printable(&place)));
        } else {
            self.line(&title);
            self.paragraph(INDENT, "", &place);
        }
        self.paragraph(INDENT, "> ", &hit.text);
        self.paragraph(INDENT, "cause: ", &hit.cause);
        if let Some(versions) = &hit.versions {
            self.paragraph(INDENT, "versions: ", versions);
        }
        if let Some(repair) = &hit.repair {
            self.paragraph(INDENT, "repair: ", repair);
        }
        for source in hit.sources.iter().filter(|_| verbose) {
            self.paragraph(INDENT, "see: ", source);
        }
    }

    /// What the checks say to a hit. What is open is shown once in full, what is met by its name.
    fn answers(
        &mut self,
        hit: &Hit,
        report: &Report,
        told: &mut Vec<(String, Option<String>, String)>,
        verbose: bool,
    ) -> serde_json::Result<()> {
        let several = report.users.len() > 1;
        let (mut above, mut met): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for row in hit.rows(report) {
            let row = Row::of(&row)?;
            match row.status() {
                Status::Fail | Status::Unknown => {
                    let subjects = row.open().map(|finding| finding.subject.clone());
                    let subjects = subjects.chain(row.reason.clone());
                    let all: Vec<_> =
                        subjects.map(|subject| (row.id.clone(), row.user.clone(), subject)).collect();
                    if all.iter().all(|one| told.contains(one)) {
                        above.push(self.title(&row, several));
                    } else {
                        self.row(&row, several, verbose);
                    }
                    told.extend(all);
                }
                Status::Pass if !verbose => met.push(self.title(&row, several)),
                // Nobody asked; or somebody said that it does not matter.
                Status::Skip if !verbose && hit.met.is_some() => {}
                Status::Pass | Status::Skip | Status::Ignored => self.short(&row, several),
            }
        }
        above.dedup();
        if !above.is_empty() {
            self.paragraph(INDENT, "see above: ", &above.join(", "));
        }
        met.dedup();
        if !met.is_empty() {
            let style = if hit.met == Some(true) { Style::new().green() } else { Style::new() };
            let mark = self.paint(style, "+");
            self.marked(&mark, &format!("met now: {}", met.join(", ")));
        }
        if hit.met == Some(true) {
            let text = "the host has changed since this was logged, or it is something else";
            self.paragraph(INDENT, "", text);
        }
        Ok(())
    }

    /// A mark and a text beside it.
    fn marked(&mut self, mark: &str, text: &str) {
        for (at, line) in wrap(&printable(text), WIDTH - INDENT).iter().enumerate() {
            let start = if at == 0 { format!("{mark} ") } else { " ".repeat(INDENT) };
            self.line(&format!("{start}{line}"));
        }
    }

    fn then(&mut self, report: &Saved, detail: Detail) {
        match report.readiness() {
            None | Some(Readiness::Ready) => {
                self.line("");
                self.paragraph(0, "Next: ", "edgeprep check looks at everything that the stacks want.");
            }
            _ => self.next(report, if detail == Detail::Quiet { Detail::Normal } else { detail }),
        }
    }
}
