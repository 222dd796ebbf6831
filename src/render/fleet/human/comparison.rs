//! What changed between two sets of reports, for people at a terminal.

use console::Style;

use super::{CHECKS, GROUPS, Page, clipped, counted, thousands, verdict};
use crate::finding::Needs;
use crate::fleet::{Change, Comparison, KnownBy, Seen};
use crate::render::human::{Detail, Terminal};

/// What changed.
pub fn comparison(comparison: &Comparison, detail: Detail, terminal: Terminal) -> String {
    let mut page = Page { text: String::new(), terminal, detail };
    page.changes(comparison);
    page.text
}

impl Page {
    fn changes(&mut self, all: &Comparison) {
        let sums = &all.summary;
        let counts = format!("{} before, {} now", counted(sums.old, "host"), thousands(sums.new));
        self.paragraph(0, &format!("edgeprep {}   ", all.version), &counts);
        self.line("");
        for (word, count, style) in [
            ("worse", sums.worse, Style::new().red()),
            ("better", sums.better, Style::new().green()),
            ("same", sums.same, Style::new()),
            ("new", sums.appeared, Style::new()),
            ("gone", sums.gone, Style::new().yellow()),
            ("ambiguous", sums.ambiguous, Style::new().yellow()),
        ] {
            if count > 0 {
                let word = self.paint(style.bold(), &format!("{word:<10}"));
                self.line(&format!("  {word}{:>9}", thousands(count)));
            }
        }
        if self.detail != Detail::Quiet {
            self.changed_hosts(all, Change::Worse, "Worse");
            self.changed_hosts(all, Change::Better, "Better");
            if !all.checks.is_empty() {
                self.title("By check");
                self.line(&format!("  {:<32}{:>10}{:>10}", "", "worse", "better"));
                let (shown, more) = self.first(&all.checks, CHECKS);
                for check in shown {
                    let id = clipped(check.id, 32);
                    self.line(&format!(
                        "  {id:<32}{:>10}{:>10}",
                        thousands(check.worse),
                        thousands(check.better)
                    ));
                }
                self.more(2, more, "checks");
            }
            if !all.moved.is_empty() {
                self.title("Other than before");
                let (shown, more) = self.first(&all.moved, GROUPS);
                for moved in shown {
                    let text = format!(
                        "{} on {}: {}, was {}",
                        moved.what,
                        counted(moved.hosts, "host"),
                        moved.new,
                        moved.old
                    );
                    self.paragraph(2, "", &text);
                }
                self.more(2, more, "such changes");
            }
            self.seen("New", &all.new);
            self.seen("Gone", &all.gone);
            if !all.ambiguous.is_empty() {
                self.title("Cannot be told apart, as machine-id and name are those of others, too");
                self.paragraph(2, "? ", &self.named(&all.ambiguous));
            }
        }
        self.faults("Not read of the old ones:", all.unreadable_old, all.unreadable_old.len());
        self.faults("Not read of the new ones:", all.unreadable_new, all.unreadable_new.len());
        let text = match (sums.worse, sums.better) {
            (0, 0) => "nothing is better or worse than before.",
            (0, _) => "nothing is worse than before.",
            _ => "see to what is worse.",
        };
        self.line("");
        self.paragraph(0, "Next: ", text);
    }

    fn changed_hosts(&mut self, all: &Comparison, change: Change, title: &str) {
        let hosts: Vec<_> = all.hosts.iter().filter(|host| host.change == change).collect();
        if hosts.is_empty() {
            return;
        }
        self.title(title);
        let mark = if change == Change::Worse { "x " } else { "+ " };
        let (shown, more) = self.first(&hosts, GROUPS);
        for host in shown {
            let word = |readiness| verdict(readiness, Needs::None);
            let moved = if host.old == host.new {
                word(host.new).to_owned()
            } else {
                format!("{}, was {}", word(host.new), word(host.old))
            };
            let by = if host.known_by == KnownBy::Name { " (known by its name)" } else { "" };
            self.paragraph(0, mark, &format!("{}: {moved}{by}", host.name));
            for (label, checks) in [("worse: ", &host.worse), ("better: ", &host.better)] {
                if !checks.is_empty() {
                    self.paragraph(4, label, &checks.join(", "));
                }
            }
        }
        self.more(0, more, "hosts");
    }

    fn seen(&mut self, title: &str, seen: &[Seen]) {
        if seen.is_empty() {
            return;
        }
        self.title(title);
        let (shown, more) = self.first(seen, GROUPS);
        for host in shown {
            self.paragraph(2, "", &format!("{}: {}", host.name, verdict(host.verdict, Needs::None)));
        }
        self.more(2, more, "hosts");
    }
}
