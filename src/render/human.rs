//! The report for people: verdicts first, then what is not met, each in a few lines, then what to do.
//!
//! At most 80 columns, no meaning in colour alone, nothing but ASCII of our own.

mod diagnosis;
mod probes;

use std::collections::BTreeSet;

use console::Style;

use crate::checks::ALL;
use crate::finding::{Install, Level, Needs};
use crate::render::{printable, wrap};
use crate::report::saved::{Evidence, Row, Stack};
use crate::report::{Group, NOT_SELECTED, Readiness, Saved, Status, once};
use crate::settings::quoted;

pub use diagnosis::diagnosis;

const WIDTH: usize = 80;
const INDENT: usize = 4;
/// How many findings that are advised are shown in a line each where nothing is in the way.
const SHOWN_ADVISED: usize = 8;
/// How many lines of a workload are shown that ask for the same.
const SHOWN_ASKS: usize = 3;

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Only the verdicts.
    Quiet,
    /// What is required in full, what is advised in a line each.
    Normal,
    /// Everything, with what was seen where it is met.
    Verbose,
}

/// How the terminal is.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    /// Whether colour is wanted.
    pub color: bool,
    /// Whether it shows UTF-8; else what was read from the host is shown with `?` for the rest.
    pub utf8: bool,
    /// Whether whoever looks is root, and so needs no sudo.
    pub root: bool,
}

/// The report as text.
pub fn report(report: &Saved, detail: Detail, terminal: Terminal) -> String {
    let mut page = Page::new(terminal);
    page.heading(report, detail);
    page.verdicts(report);
    if detail != Detail::Quiet {
        page.rows(report, detail);
        page.probes(report, detail);
    }
    page.next(report, detail);
    page.shown(terminal)
}

/// The host and the verdicts alone.
pub fn verdicts(report: &Saved, terminal: Terminal) -> String {
    let mut page = Page::new(terminal);
    page.heading(report, Detail::Normal);
    page.verdicts(report);
    page.shown(terminal)
}

struct Page {
    text: String,
    color: bool,
    root: bool,
}

impl Page {
    fn new(terminal: Terminal) -> Page {
        Page { text: String::new(), color: terminal.color, root: terminal.root }
    }

    fn shown(self, terminal: Terminal) -> String {
        if terminal.utf8 {
            return self.text;
        }
        self.text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
    }

    fn line(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    /// A paragraph below a mark, with a label before its first line.
    fn paragraph(&mut self, indent: usize, label: &str, text: &str) {
        let text = &printable(text);
        let hang = indent + label.chars().count();
        for (at, line) in wrap(text, WIDTH.saturating_sub(hang)).iter().enumerate() {
            let start = if at == 0 { format!("{:indent$}{label}", "") } else { " ".repeat(hang) };
            self.line(&format!("{start}{line}"));
        }
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.color { style.force_styling(true).apply_to(text).to_string() } else { text.to_owned() }
    }

    fn heading(&mut self, report: &Saved, detail: Detail) {
        let host = &report.host;
        let os = host.os.pretty_name.clone().or_else(|| host.os.id.clone());
        let mut parts = vec![os.unwrap_or_else(|| "an unknown distribution".to_owned())];
        match (&host.kernel[..], report.mode.as_str()) {
            ([], _) => parts.push("no kernel found".to_owned()),
            ([release], _) => parts.push(format!("Linux {release}")),
            (releases, _) => parts.push(format!("{} kernels", releases.len())),
        }
        parts.extend(host.arch.clone());
        let mode = match report.mode.as_str() {
            "image" => "image of ",
            "capture" => "capture of ",
            _ => "",
        };
        self.paragraph(
            0,
            &format!("edgeprep {}   ", printable(&report.version)),
            &format!("{mode}{}", parts.join(", ")),
        );
        self.paragraph(0, "profile ", &format!("{} ({})", report.profile.name, report.profile.why));
        if detail == Detail::Verbose {
            report.profile.notes.iter().for_each(|note| self.paragraph(2, "note: ", note));
        }
        let users: Vec<String> = report.users.iter().map(|u| format!("{} ({})", u.name, u.uid)).collect();
        self.paragraph(0, if users.len() == 1 { "user " } else { "users " }, &users.join(", "));
        if let Some(files) = &report.workload {
            self.paragraph(0, "workload ", &files.join(", "));
        }
        self.line("");
    }

    fn verdicts(&mut self, report: &Saved) {
        let several = report.users.len() > 1;
        let name = |stack: &Stack| match several {
            true => format!("{} for {}", printable(&stack.name), printable(&stack.user)),
            false => printable(&stack.name),
        };
        let names: Vec<String> = report.stacks.iter().map(name).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(WIDTH / 2);
        let ignored = report.count(Status::Ignored);
        let left_out = if ignored > 0 { format!(" ({ignored} checks left out)") } else { String::new() };
        for (stack, name) in report.stacks.iter().zip(&names) {
            self.verdict(stack, name, width, &left_out);
        }
    }

    fn verdict(&mut self, stack: &Stack, name: &str, width: usize, left_out: &str) {
        let count = |n: usize, what: &str| (n > 0).then(|| format!("{n} {what}"));
        let n = stack.blockers.len();
        let (style, word, detail) = match (stack.readiness(), stack.needs()) {
            (Readiness::Ready, _) => (Style::new().green(), "ready", None),
            (Readiness::Pending, Needs::None) => {
                (Style::new().yellow(), "pending", Some("to be activated".to_owned()))
            }
            (Readiness::Pending, Needs::ReLogin) => {
                (Style::new().yellow(), "pending", Some("a new user manager is missing".to_owned()))
            }
            (Readiness::Pending, Needs::Reboot) => {
                (Style::new().yellow(), "pending", Some("a reboot is missing".to_owned()))
            }
            (Readiness::NotReady, _) => (Style::new().red(), "not ready", count(n, "required")),
            (Readiness::Unknown, _) => {
                (Style::new().yellow(), "unknown", count(n, "could not be determined"))
            }
        };
        let advised = (stack.advised > 0).then(|| format!("{} advised", stack.advised));
        let more: Vec<String> = detail.into_iter().chain(advised).collect();
        let rest = if more.is_empty() { String::new() } else { format!(": {}", more.join(", ")) };
        let word = self.paint(style.bold(), word);
        self.line(&format!("  {name:width$}  {word}{rest}{left_out}"));
    }

    fn rows(&mut self, report: &Saved, detail: Detail) {
        let several = report.users.len() > 1;
        let urgent = |row: &&Row| {
            row.level() == Level::Required && matches!(row.status(), Status::Fail | Status::Unknown)
        };
        let lesser = |row: &&Row| {
            row.level() == Level::Advised && matches!(row.status(), Status::Fail | Status::Unknown)
        };
        let verbose = detail == Detail::Verbose;
        let required: Vec<&Row> = report.checks.iter().filter(urgent).collect();
        for row in &required {
            self.line("");
            self.row(row, several, verbose);
        }
        let advised: Vec<&Row> = report.checks.iter().filter(lesser).collect();
        if !advised.is_empty() {
            self.line("");
        }
        if verbose && !advised.is_empty() {
            self.line("Advised:");
            advised.iter().for_each(|row| self.row(row, several, true));
        } else if advised.len() > SHOWN_ADVISED || !required.is_empty() && !advised.is_empty() {
            // What is in the way comes first.
            let ids: Vec<String> = advised.iter().map(|row| self.title(row, several)).collect();
            self.paragraph(0, "Advised, see -v: ", &ids.join(", "));
        } else if !advised.is_empty() {
            self.line("Advised (-v shows more):");
            advised.iter().for_each(|row| self.short(row, several));
        }
        for (status, title) in
            [(Status::Ignored, "Ignored:"), (Status::Skip, "Does not apply:"), (Status::Pass, "Met:")]
        {
            if status != Status::Ignored && !verbose {
                continue;
            }
            let wanted = |row: &&Row| row.status() == status && row.reason.as_deref() != Some(NOT_SELECTED);
            let rows: Vec<&Row> = report.checks.iter().filter(wanted).collect();
            if rows.is_empty() {
                continue;
            }
            self.line("");
            self.line(title);
            for row in rows {
                self.short(row, several);
            }
        }
    }

    fn mark(&self, row: &Row) -> String {
        let pending = !row.findings.is_empty()
            && row.findings.iter().all(|f| matches!(f.verdict.as_str(), "met" | "pending"));
        let (style, mark) = match (row.status(), row.level()) {
            (Status::Fail, _) if pending => (Style::new().yellow(), "~"),
            (Status::Fail, Level::Required) => (Style::new().red(), "x"),
            (Status::Fail, Level::Advised) => (Style::new().yellow(), "-"),
            (Status::Unknown, _) => (Style::new().yellow(), "?"),
            (Status::Ignored | Status::Skip, _) => (Style::new().dim(), "."),
            (Status::Pass, _) => (Style::new().green(), "+"),
        };
        self.paint(style, mark)
    }

    fn title(&self, row: &Row, several: bool) -> String {
        match &row.user {
            Some(user) if several => format!("{} for {}", printable(&row.id), printable(user)),
            _ => printable(&row.id),
        }
    }

    fn row(&mut self, row: &Row, several: bool, verbose: bool) {
        let wanting: BTreeSet<&String> = row.open().flat_map(|f| &f.stacks).collect();
        let concerned = |stack: &&String| row.reason.is_some() || wanting.contains(stack);
        let stacks: Vec<&str> = row.stacks.iter().filter(concerned).map(String::as_str).collect();
        let mark = self.mark(row);
        let title = self.title(row, several);
        let id = self.paint(Style::new().bold(), &title);
        let stacks = printable(&stacks.join(" "));
        if title.len() + stacks.len() + 5 <= WIDTH {
            self.line(&format!("{mark} {id}   {stacks}"));
        } else {
            self.line(&format!("{mark} {id}"));
            self.paragraph(INDENT, "", &stacks);
        }
        for group in row.groups(false) {
            self.paragraph(INDENT, "", &group.sentence());
            for why in group.whys().into_iter().filter(|_| verbose) {
                self.paragraph(INDENT, "why: ", why);
            }
            // The line of a workload that asks is as good as the place that is to be repaired.
            let (read, asks) = group.evidence();
            let (shown, shown_asks) = if verbose { (usize::MAX, usize::MAX) } else { (1, SHOWN_ASKS) };
            let more = asks.len().saturating_sub(shown_asks);
            for evidence in read.into_iter().take(shown).chain(asks.into_iter().take(shown_asks)) {
                self.evidence(evidence);
            }
            if more > 0 {
                self.paragraph(INDENT, "", &format!("and {more} more, see -v"));
            }
            self.remedy(&group, verbose);
        }
        if let Some(reason) = &row.reason {
            self.paragraph(INDENT, "", reason);
        }
    }

    fn evidence(&mut self, evidence: &Evidence) {
        let text = if evidence.text.is_empty() { String::new() } else { format!("  {}", evidence.text) };
        self.paragraph(INDENT, "", &format!("{evidence}{text}"));
    }

    fn remedy(&mut self, group: &Group, verbose: bool) {
        let remedy = &group.first.remedy;
        if remedy.summary.is_empty() {
            return;
        }
        match &group.commands[..] {
            _ if remedy.fixable => {
                self.paragraph(INDENT, "repair: ", &format!("edgeprep fix ({})", remedy.summary));
            }
            [one, ..] if group.findings.iter().all(|f| f.remedy.install.is_some()) => {
                self.paragraph(INDENT, "repair: ", one);
            }
            [one] if !verbose && one.chars().count() + "repair: ".len() + INDENT <= WIDTH => {
                self.paragraph(INDENT, "repair: ", one);
            }
            _ => self.paragraph(INDENT, "repair: ", &remedy.summary),
        }
        for command in group.commands.iter().filter(|_| verbose) {
            // A command is there to be copied, so it is not broken into lines.
            self.line(&format!("{:1$}{2}", "", INDENT + 2, printable(command)));
        }
    }

    fn short(&mut self, row: &Row, several: bool) {
        let mark = self.mark(row);
        let title = self.title(row, several);
        let (open, met) = (row.groups(false), row.groups(true));
        let shown = if open.is_empty() { met } else { open };
        let text = match (&row.reason, &shown[..]) {
            (Some(reason), _) if row.status() != Status::Fail => reason.clone(),
            (_, []) => row.summary.clone(),
            (_, shown) if row.status() == Status::Pass => {
                let seen = |group: &Group| format!("{}: {}", group.subjects(), group.first.found);
                shown.iter().map(seen).collect::<Vec<_>>().join("; ")
            }
            (_, shown) => shown.iter().map(Group::sentence).collect::<Vec<_>>().join("; "),
        };
        self.hanging(&mark, &title, &text);
    }

    /// A mark, a title, and a text in a column of its own.
    fn hanging(&mut self, mark: &str, title: &str, text: &str) {
        let longest = ALL.iter().map(|check| check.id.len()).max().unwrap_or(0);
        let hang = title.len().max(longest) + 1;
        let lines = wrap(&printable(text), WIDTH.saturating_sub(hang + 2));
        self.line(&format!("{mark} {title:hang$}{}", lines[0]));
        for line in &lines[1..] {
            self.line(&format!("  {:hang$}{line}", ""));
        }
    }

    fn next(&mut self, report: &Saved, detail: Detail) {
        self.line("");
        let pending = report.stacks.iter().map(Stack::needs).max().unwrap_or_default();
        let open = |level: Level| {
            let failed = move |row: &&Row| row.level() == level && row.status() == Status::Fail;
            report.checks.iter().filter(failed).flat_map(Row::open)
        };
        let fixable = open(Level::Required).any(|f| f.remedy.fixable);
        let installs = Install::merged(open(Level::Required).filter_map(|f| f.remedy.install.as_ref()));
        let left = open(Level::Required).any(|f| !f.remedy.fixable && f.remedy.install.is_none());
        let text = match (report.readiness(), pending) {
            (None | Some(Readiness::Ready), _) if report.count(Status::Ignored) > 0 => {
                "nothing, of what was looked at all that is required is met."
            }
            (None | Some(Readiness::Ready), _) if open(Level::Advised).any(|f| f.remedy.fixable) => {
                "nothing has to be done; edgeprep fix does what is advised, too."
            }
            (None | Some(Readiness::Ready), _) => "nothing, all that is required is met.",
            _ if detail == Detail::Quiet => "edgeprep check without -q says what is missing.",
            (Some(Readiness::NotReady | Readiness::Pending), _) if fixable || !installs.is_empty() => {
                let mut commands: Vec<String> = installs.iter().flat_map(Install::commands).collect();
                commands.extend(fixable.then(|| self.fix_command(report)));
                for (i, command) in commands.iter().enumerate() {
                    self.paragraph(0, if i == 0 { "Next: " } else { "      " }, command);
                }
                let shown = if fixable { "It shows every change before it makes any. " } else { "" };
                let then = if left { "What is left is up to you, see above." } else { "Then check again." };
                self.paragraph(6, "", &format!("{shown}{then}"));
                return;
            }
            (Some(Readiness::Pending), Needs::None) => {
                "put it into effect (-v shows the commands), then check again."
            }
            (Some(Readiness::Pending), Needs::ReLogin) => {
                "log out of all sessions and stop lingering once, or reboot; then check again."
            }
            (Some(Readiness::Pending), Needs::Reboot) => "reboot, then check again.",
            (Some(Readiness::Unknown), _) => match report.mode.as_str() {
                "live" => "see to what could not be read (often root can), then check again.",
                "capture" => "capture the host anew, as root, then check again.",
                _ if lacks_profile(report) => {
                    "name the profile of the board with --profile, then check again."
                }
                _ => "see to what could not be read, then check again.",
            },
            (Some(Readiness::NotReady), _) if detail == Detail::Verbose => {
                "make the repairs above, then check again."
            }
            (Some(Readiness::NotReady), _) => {
                "make the repairs above (-v shows every command), then check again."
            }
        };
        self.paragraph(0, "Next: ", text);
    }

    /// What repairs what can be repaired.
    fn fix_command(&self, report: &Saved) -> String {
        let mut words = Vec::new();
        match report.mode.as_str() {
            "live" if self.root => words.push("edgeprep fix".to_owned()),
            "live" => words.push("sudo edgeprep fix".to_owned()),
            "capture" => words.push("on that host: sudo edgeprep fix".to_owned()),
            _ => words.push("edgeprep fix --root DIR".to_owned()),
        }
        let stacks = once(report.stacks.iter().map(|stack| stack.name.as_str()));
        if !stacks.is_empty() {
            words.push(format!("--stack {}", quoted(&stacks.join(","))));
        }
        if let Some(profile) = &report.profile.asked_for {
            words.push(format!("--profile {}", quoted(profile)));
        }
        // Standard input has been read: it has to be named as a file.
        for file in report.workload.iter().flatten() {
            let named = if file == "-" { "FILE".into() } else { quoted(file) };
            words.push(format!("--workload {named}"));
        }
        words.extend(report.users.iter().map(|user| format!("--user {}", quoted(&user.name))));
        words.join(" ")
    }
}

/// Whether a check cannot tell because no profile of a board was named.
fn lacks_profile(report: &Saved) -> bool {
    let names = |row: &Row| row.reason.as_deref().is_some_and(|reason| reason.contains("--profile"));
    report.checks.iter().any(|row| row.status() == Status::Unknown && names(row))
}
