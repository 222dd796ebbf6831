//! A fleet for people at a terminal: at most 80 columns, no meaning in colour alone.

mod comparison;

use std::fmt::Write;

use console::Style;

use super::picture::{self, Cell};
use crate::finding::Needs;
use crate::fleet::{Drift, Fault, Fleet, Group, Shared};
use crate::render::human::{Detail, Terminal};
use crate::render::{printable, wrap};
use crate::report::Readiness;

pub use comparison::comparison;

const WIDTH: usize = 80;
/// How many columns the picture has.
const MAP: usize = 36;
const TITLE: usize = 26;
/// How many checks are in the picture, groups and the like are shown, hosts are named.
const CHECKS: usize = 20;
const GROUPS: usize = 8;
const NAMED: usize = 4;

/// The picture of all hosts.
pub fn fleet(fleet: &Fleet, detail: Detail, terminal: Terminal) -> String {
    let mut page = Page { text: String::new(), terminal, detail };
    page.heading(fleet);
    if detail != Detail::Quiet && fleet.summary.hosts > 0 {
        page.picture(fleet);
        page.groups(fleet);
        page.duplicates(fleet);
        page.drift(&fleet.drift);
    }
    page.faults("Not read:", fleet.unreadable, fleet.summary.unreadable);
    page.next(fleet);
    page.text
}

/// A number with a comma before each three digits.
pub(super) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count and what is counted: 1 host, 2 hosts.
pub(super) fn counted(number: usize, what: &str) -> String {
    format!("{} {what}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// A verdict in words.
pub(super) fn verdict(verdict: Readiness, needs: Needs) -> &'static str {
    match (verdict, needs) {
        (Readiness::Ready, _) => "ready",
        (Readiness::Pending, Needs::Reboot) => "pending, a reboot is missing",
        (Readiness::Pending, Needs::ReLogin) => "pending, a re-login is missing",
        (Readiness::Pending, Needs::None) => "pending",
        (Readiness::NotReady, _) => "not ready",
        (Readiness::Unknown, _) => "unknown",
    }
}

struct Page {
    text: String,
    terminal: Terminal,
    detail: Detail,
}

impl Page {
    fn line(&mut self, text: &str) {
        let text = text.trim_end();
        let shown = |c: char| if self.terminal.utf8 || c.is_ascii() { c } else { '?' };
        self.text.extend(text.chars().map(shown));
        self.text.push('\n');
    }

    fn paragraph(&mut self, indent: usize, label: &str, text: &str) {
        let hang = indent + label.chars().count();
        for (at, line) in wrap(&printable(text), WIDTH - hang).iter().enumerate() {
            let start = if at == 0 { format!("{:indent$}{label}", "") } else { " ".repeat(hang) };
            self.line(&format!("{start}{line}"));
        }
    }

    fn title(&mut self, text: &str) {
        self.line("");
        let text = self.paint(Style::new().bold(), text);
        self.line(&text);
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.terminal.color {
            style.force_styling(true).apply_to(text).to_string()
        } else {
            text.to_owned()
        }
    }

    /// The first of many, or all with `-v`, and how many more there are.
    fn first<'t, T>(&self, all: &'t [T], most: usize) -> (&'t [T], usize) {
        let shown = if self.detail == Detail::Verbose { all.len() } else { most.min(all.len()) };
        (&all[..shown], all.len() - shown)
    }

    fn more(&mut self, indent: usize, more: usize, what: &str) {
        if more > 0 {
            self.line(&format!("{:indent$}and {} more {what}, see -v", "", thousands(more)));
        }
    }

    fn named(&self, names: &[String]) -> String {
        let (shown, more) = self.first(names, NAMED);
        let mut text = shown.join(" ");
        if more > 0 {
            let _ = write!(text, " and {} more", thousands(more));
        }
        text
    }

    fn heading(&mut self, fleet: &Fleet) {
        let sums = &fleet.summary;
        let mut parts = vec![counted(sums.hosts, "host")];
        if sums.superseded > 0 {
            parts.push(format!("{} left out for later ones", counted(sums.superseded, "report")));
        }
        if sums.unreadable > 0 {
            parts.push(format!("{} not read", thousands(sums.unreadable)));
        }
        self.paragraph(0, &format!("edgeprep {}   ", fleet.version), &parts.join(", "));
        self.line("");
        let rows = [
            ("ready", sums.ready, Style::new().green()),
            ("pending", sums.pending, Style::new().yellow()),
            ("not ready", sums.not_ready, Style::new().red()),
            ("unknown", sums.unknown, Style::new().yellow()),
        ];
        for (word, count, style) in rows.into_iter().filter(|(_, count, _)| *count > 0) {
            let bar = self.bar(count, sums.hosts, 40);
            let share = percent(count, sums.hosts);
            let word = self.paint(style.bold(), &format!("{word:<10}"));
            self.line(&format!("  {word}{:>9}  {share:>4}  {bar}", thousands(count)));
        }
        if fleet.stacks.is_empty() {
            return;
        }
        self.line("");
        self.line(&format!(
            "  {:<14}{:>9}{:>10}{:>11}{:>10}",
            "stack", "ready", "pending", "not ready", "unknown"
        ));
        for stack in &fleet.stacks {
            let counts = [stack.ready, stack.pending, stack.not_ready, stack.unknown]
                .map(|count| if count == 0 { ".".to_owned() } else { thousands(count) });
            let name = clipped(&printable(stack.name), 14);
            self.line(&format!(
                "  {name:<14}{:>9}{:>10}{:>11}{:>10}",
                counts[0], counts[1], counts[2], counts[3]
            ));
        }
    }

    fn bar(&self, count: usize, of: usize, width: usize) -> String {
        let length = (count * width).div_ceil(of.max(1));
        if self.terminal.utf8 { "█".repeat(length) } else { "#".repeat(length) }
    }

    fn picture(&mut self, fleet: &Fleet) {
        let open = picture::open(fleet);
        if open.is_empty() {
            return;
        }
        let order = picture::order(fleet);
        let columns = MAP.min(order.len());
        let single = columns == order.len();
        let each =
            if single { "a host".to_owned() } else { format!("{} hosts", order.len().div_ceil(columns)) };
        self.title(&format!("Checks by hosts, each column {each}, those with the same blockers together"));
        let (shown, more) = self.first(&open, CHECKS);
        for check in shown {
            let cells = picture::row(check, &order, MAP);
            let map: String = cells.iter().map(|cell| self.cell(*cell, single)).collect();
            let counts =
                [(check.fail, 'x'), (check.pending, '~'), (check.unknown, '?'), (check.advised, '-')];
            let counts: Vec<String> = counts
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, mark)| format!("{}{mark}", thousands(*count)))
                .collect();
            let id = clipped(check.id, TITLE);
            self.line(&format!("{id:<TITLE$} {map:<columns$} {}", clipped(&counts.join(" "), 17)));
        }
        self.more(0, more, "checks");
        let key = if single {
            "x not met   ~ pending   ? not known   - advised   . met, or does not apply"
        } else if self.terminal.utf8 {
            "not met on █ all, ▓ most, ▒ some, ░ few hosts of a column; - advised only"
        } else {
            "not met on # all, x most, + some, : few hosts of a column; - advised only"
        };
        self.line(&format!("  {key}"));
        if !single {
            self.line("  x not met   ~ pending   ? not known   - advised, with the number of hosts");
        }
    }

    fn cell(&self, cell: Cell, single: bool) -> char {
        if single {
            return match cell {
                Cell { fail: 1.., .. } => 'x',
                Cell { unknown: 1.., .. } => '?',
                Cell { pending: 1.., .. } => '~',
                Cell { advised: 1.., .. } => '-',
                Cell { .. } => '.',
            };
        }
        match (cell.open(), self.terminal.utf8) {
            (0, _) => {
                if cell.advised > 0 {
                    '-'
                } else {
                    '.'
                }
            }
            (1..25, true) => '░',
            (25..50, true) => '▒',
            (50..100, true) => '▓',
            (_, true) => '█',
            (1..25, false) => ':',
            (25..50, false) => '+',
            (50..100, false) => 'x',
            (_, false) => '#',
        }
    }

    fn groups(&mut self, fleet: &Fleet) {
        let blocked: Vec<&Group> = fleet.groups.iter().filter(|g| g.verdict != Readiness::Ready).collect();
        if blocked.is_empty() {
            return;
        }
        self.title("Hosts with the same blockers");
        let (shown, more) = self.first(&blocked, GROUPS);
        for group in shown {
            let blockers = if group.blockers.is_empty() {
                "no check says why".to_owned()
            } else {
                group.blockers.join(", ")
            };
            self.paragraph(
                0,
                "",
                &format!("{}, {}", counted(group.count, "host"), verdict(group.verdict, group.needs)),
            );
            self.paragraph(4, "by ", &blockers);
            self.paragraph(4, "on ", &self.named(&group.hosts));
            let fixed: Vec<&str> = group.repairs.iter().filter(|r| r.fixable).map(|r| r.check).collect();
            if !fixed.is_empty() {
                let which = if fixed.len() == group.blockers.len() {
                    "all of it".to_owned()
                } else {
                    fixed.join(", ")
                };
                self.paragraph(4, "repair: ", &format!("edgeprep fix ({which})"));
            }
            for repair in group.repairs.iter().filter(|repair| !repair.fixable) {
                self.paragraph(4, "repair: ", &format!("{} ({})", repair.summary, repair.check));
            }
        }
        self.more(0, more, "groups");
    }

    fn duplicates(&mut self, fleet: &Fleet) {
        if fleet.machine_ids.is_empty() && fleet.names.is_empty() && fleet.node_subnets.is_empty() {
            return;
        }
        self.title("What only a fleet shows");
        self.shared(&fleet.machine_ids, "machine-id with hash", "machine-ids of several hosts");
        if !fleet.machine_ids.is_empty() {
            self.paragraph(
                4,
                "repair: ",
                "empty /etc/machine-id on all but one of them, and reboot; \
             empty it in the image that they come from. Several reports of one \
             host look the same: --latest counts the last.",
            );
        }
        self.shared(&fleet.names, "host name", "names of several hosts");
        if !fleet.names.is_empty() {
            self.paragraph(
                4,
                "repair: ",
                "hostnamectl set-hostname, with another name for each: a cluster knows its nodes by it.",
            );
        }
        let (shown, more) = self.first(&fleet.node_subnets, NAMED);
        for node in shown {
            let names: Vec<String> = node.hosts.iter().map(|name| (*name).to_owned()).collect();
            self.paragraph(
                0,
                "x ",
                &format!(
                    "node subnet {}, of {}: {}",
                    node.subnet,
                    counted(node.hosts.len(), "name"),
                    self.named(&names)
                ),
            );
        }
        self.more(2, more, "node subnets of several hosts");
        if !fleet.node_subnets.is_empty() {
            self.paragraph(
                4,
                "repair: ",
                "where they are to be in one Usernetes cluster, another NODE_SUBNET for each.",
            );
        }
    }

    fn shared(&mut self, shared: &[Shared], what: &str, plural: &str) {
        let (shown, more) = self.first(shared, NAMED);
        for one in shown {
            // The names say nothing where they are what is shared.
            let same = one.hosts.iter().all(|host| host == one.value);
            let reports: Vec<String> = one.reports.iter().map(ToString::to_string).collect();
            let whose = self.named(if same { &reports } else { &one.hosts });
            self.paragraph(
                0,
                "x ",
                &format!("{what} {}, of {}: {whose}", one.value, counted(one.hosts.len(), "host")),
            );
        }
        self.more(2, more, plural);
    }

    fn drift(&mut self, drift: &[Drift]) {
        let differ: Vec<&Drift> = drift.iter().filter(|drift| drift.values.len() > 1).collect();
        if differ.is_empty() {
            return;
        }
        self.title("What hosts differ in");
        for drift in differ {
            self.line(&format!("  {}, {} values", drift.what, thousands(drift.values.len())));
            let (shown, more) = self.first(&drift.values, NAMED + 1);
            for value in shown {
                let named = match &value.outliers[..] {
                    [] => String::new(),
                    few => format!(" (only {})", self.named(few)),
                };
                self.paragraph(
                    2,
                    &format!("{:>9}  ", thousands(value.count)),
                    &format!("{}{named}", value.value),
                );
            }
            self.more(13, more, "values");
        }
    }

    fn faults(&mut self, title: &str, faults: &[Fault], all: usize) {
        if all == 0 {
            return;
        }
        self.title(title);
        let (shown, _) = self.first(faults, GROUPS);
        for fault in shown {
            self.paragraph(2, "? ", &format!("{}: {}", fault.source, fault.why));
        }
        if all > shown.len() {
            self.line(&format!("  and {} more", thousands(all - shown.len())));
        }
    }

    fn next(&mut self, fleet: &Fleet) {
        let fixable = fleet.groups.iter().any(|group| group.repairs.iter().any(|repair| repair.fixable));
        let sums = &fleet.summary;
        let text = match sums.verdict {
            _ if sums.not_ready > 0 && fixable => {
                "edgeprep fix on the hosts that are not ready, then collect their reports anew."
            }
            _ if sums.not_ready > 0 => "make the repairs above, then collect the reports anew.",
            _ if sums.unreadable > 0 => "collect anew what could not be read.",
            Some(Readiness::Unknown) => "check the hosts of which something is not known as root.",
            Some(Readiness::Pending) => {
                "log in anew or reboot where it is pending, then collect the reports anew."
            }
            _ => "nothing, every host is ready.",
        };
        self.line("");
        self.paragraph(0, "Next: ", text);
    }
}

fn percent(count: usize, of: usize) -> String {
    match count * 100 / of.max(1) {
        0 if count > 0 => "<1%".to_owned(),
        share => format!("{share}%"),
    }
}

fn clipped(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 2).chain("..".chars()).collect()
}
