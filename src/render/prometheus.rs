//! Metrics in the text format of Prometheus, for the textfile collector of node_exporter.

use std::collections::BTreeSet;

use super::escape::{label, short};
use super::words;
use crate::report::{Readiness, Saved, Status};

/// The words of `verdict`, each of which is a series, so that none appears from nowhere.
const VERDICTS: [(&str, Readiness); 4] = [
    ("ready", Readiness::Ready),
    ("pending", Readiness::Pending),
    ("not-ready", Readiness::NotReady),
    ("unknown", Readiness::Unknown),
];
const STATUSES: [(&str, Status); 5] = [
    ("pass", Status::Pass),
    ("fail", Status::Fail),
    ("skip", Status::Skip),
    ("unknown", Status::Unknown),
    ("ignored", Status::Ignored),
];
/// The most of a value of a label: a series is not the place for prose.
const LABEL_CHARS: usize = 128;

/// The report as metrics.
pub fn report(report: &Saved) -> String {
    let mut page = Page::default();
    page.metric("report_info", "What the report is of; always 1.");
    let os = report.host.os.id.as_deref().unwrap_or_default();
    let version = [("version", report.version.as_str()), ("mode", &report.mode), ("os", os)];
    page.sample(&[&version[..], &[("profile", &report.profile.name)]].concat(), 1);
    let ready = matches!(report.readiness(), None | Some(Readiness::Ready));
    page.metric("ready", "Whether everything required is met (1), or not, or not known (0).");
    page.sample(&[], u64::from(ready));
    page.metric("exit_code", "The exit code of the check: 0 ready, 1 not ready, 3 unknown, 4 pending.");
    page.sample(&[], u64::from(report.exit_code()));
    page.metric("stack_verdict", "Whether the verdict on a stack for a user is this one (1) or not (0).");
    for stack in &report.stacks {
        for (word, verdict) in VERDICTS {
            let labels = [("stack", stack.name.as_str()), ("user", &stack.user), ("verdict", word)];
            page.sample(&labels, u64::from(stack.readiness() == verdict));
        }
    }
    page.metric("stack_blockers", "How many required checks stand in the way of a stack for a user.");
    for stack in &report.stacks {
        page.sample(&[("stack", &stack.name), ("user", &stack.user)], stack.blockers.len() as u64);
    }
    page.metric("stack_advised", "How many advised checks are not met for a stack and a user.");
    for stack in &report.stacks {
        page.sample(&[("stack", &stack.name), ("user", &stack.user)], stack.advised);
    }
    page.metric("checks", "How many checks have this status.");
    for (word, status) in STATUSES {
        page.sample(&[("status", word)], report.count(status) as u64);
    }
    page.metric(
        "check_open",
        "A check that is not met (fail) or could not be determined (unknown); always 1.",
    );
    let open = |status: &(&str, Status)| matches!(status.1, Status::Fail | Status::Unknown);
    for row in words::rows(report) {
        let Some((word, _)) = STATUSES.iter().filter(|s| open(s)).find(|s| s.1 == row.status()) else {
            continue;
        };
        let labels = [("check", row.id.as_str()), ("level", level(row)), ("status", word)];
        let user = [("user", row.user.as_deref().unwrap_or_default())];
        page.sample(&[&labels[..], &user].concat(), 1);
    }
    if let Some(timestamp) = report.timestamp {
        page.metric("last_run_timestamp_seconds", "When the host was checked, in seconds since 1970.");
        page.sample(&[], timestamp);
    }
    page.text
}

fn level(row: &crate::report::saved::Row) -> &'static str {
    match row.level() {
        crate::finding::Level::Required => "required",
        crate::finding::Level::Advised => "advised",
    }
}

#[derive(Default)]
struct Page {
    text: String,
    name: &'static str,
    /// Of two samples with the same labels a reader refuses the whole file.
    told: BTreeSet<String>,
}

impl Page {
    fn metric(&mut self, name: &'static str, help: &str) {
        (self.name, self.told) = (name, BTreeSet::new());
        self.text.push_str(&format!("# HELP edgeprep_{name} {help}\n# TYPE edgeprep_{name} gauge\n"));
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        let pair = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", label(&short(value, LABEL_CHARS)));
        let pairs: Vec<String> = labels.iter().map(pair).collect();
        let series = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        if self.told.insert(series.clone()) {
            self.text.push_str(&format!("edgeprep_{}{series} {value}\n", self.name));
        }
    }
}
