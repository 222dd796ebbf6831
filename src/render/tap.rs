//! The Test Anything Protocol, version 14, with a YAML block below what is not met.

use super::escape::tap;
use super::printable;
use super::words::{self, Worth};
use crate::report::Saved;
use crate::report::saved::Row;

/// The report as a test for each row.
pub fn report(report: &Saved) -> String {
    let rows: Vec<&Row> = words::rows(report).collect();
    let mut out = format!(
        "TAP version 14\n1..{}\n# {}: {}\n",
        rows.len(),
        printable(words::host(report)),
        words::verdict(report.readiness())
    );
    for (at, row) in rows.into_iter().enumerate() {
        let (ok, directive) = match words::worth(row) {
            Worth::Met => ("ok", String::new()),
            Worth::Left => ("ok", format!(" # SKIP {}", tap(&words::message(row)))),
            // What is to do is expected not to be met, and does not fail.
            Worth::Advised => ("not ok", " # TODO advised".to_owned()),
            Worth::Missing | Worth::Doubt => ("not ok", String::new()),
        };
        out.push_str(&format!("{ok} {} - {}{directive}\n", at + 1, tap(&words::title(row))));
        if ok == "not ok" {
            out.push_str(&diagnostic(row));
        }
    }
    out
}

fn diagnostic(row: &Row) -> String {
    let mut out = String::from("  ---\n");
    let mut line = |indent: &str, key: &str, value: &str| {
        out.push_str(&format!("  {indent}{key}: {}\n", quoted(value)));
    };
    line("", "message", &words::message(row));
    line("", "severity", if words::worth(row) == Worth::Doubt { "unknown" } else { &row.level });
    let groups = row.groups(false);
    if !groups.is_empty() {
        out.push_str("  findings:\n");
    }
    for group in groups {
        let first = group.first;
        let (read, asked) = group.evidence();
        let at: Vec<String> = read.iter().chain(&asked).map(ToString::to_string).collect();
        let repair = words::repair(&group);
        let mut item = |mark: &str, key: &str, value: &str| {
            out.push_str(&format!("  {mark} {key}: {value}\n"));
        };
        item("  -", "subject", &quoted(&group.subjects()));
        item("   ", "found", &quoted(&first.found));
        item("   ", "wanted", &quoted(&first.expected));
        item("   ", "at", &list(at.iter().map(String::as_str)));
        item("   ", "repair", &quoted(repair.as_deref().unwrap_or_default()));
        item("   ", "commands", &list(group.commands));
    }
    out.push_str("  ...\n");
    out
}

fn list<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let values: Vec<String> = values.into_iter().map(quoted).collect();
    format!("[{}]", values.join(", "))
}

/// A string of JSON is one of YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(printable(text)).to_string()
}
