//! What was tried, for people: a count, and what is refused, unknown or other than the files say.

use console::Style;

use super::{Detail, Page, printable};
use crate::report::Saved;
use crate::report::saved::Tried;

impl Page {
    /// Nothing without `--probe`.
    pub(super) fn probes(&mut self, report: &Saved, detail: Detail) {
        let Some(probes) = &report.probes else { return };
        let count = |result| probes.iter().filter(|tried| tried.result == result).count();
        let counts = [("work", count("works")), ("refused", count("refused")), ("unknown", count("unknown"))];
        let counts: Vec<String> =
            counts.into_iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{n} {what}")).collect();
        self.line("");
        let sums = if counts.is_empty() { "nothing is asked for".to_owned() } else { counts.join(", ") };
        self.line(&format!("Tried: {sums}"));
        let verbose = detail == Detail::Verbose;
        let shown = |tried: &&Tried| verbose || tried.result != "works" || !tried.overrules.is_empty();
        for tried in probes.iter().filter(shown) {
            self.tried(tried, report.users.len() > 1);
        }
    }

    fn tried(&mut self, tried: &Tried, several: bool) {
        let (style, mark) = match tried.result.as_str() {
            "works" => (Style::new().green(), "+"),
            "refused" => (Style::new().red(), "x"),
            _ => (Style::new().yellow(), "?"),
        };
        let mark = self.paint(style, mark);
        let of = if several { format!(" for {}", tried.user) } else { String::new() };
        let overrules = match &tried.overrules[..] {
            [] => String::new(),
            ids => format!(" (the files say otherwise: {})", ids.join(", ")),
        };
        let text = format!("{}{of}: {}{overrules}", tried.subject, tried.text);
        self.hanging(&mark, &printable(&tried.probe), &text);
    }
}
