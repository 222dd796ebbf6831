//! SARIF 2.1.0 (OASIS): the files and lines that cause a finding, for code scanning and its annotations.
//! Mostly for images, whose files lie in a repository or a pipeline.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::words::{self, Worth};
use super::{escape, printable};
use crate::checks;
use crate::finding::Level;
use crate::report::saved::{Evidence, Finding, Row};
use crate::report::{Saved, Status};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
/// What paths are relative to.
const ROOT: &str = "ROOT";
/// The most results: no host has as many, and readers refuse more than some thousands.
const MOST_RESULTS: usize = 5000;
/// The most other places of a finding that are told.
const SHOWN_PLACES: usize = 20;
const MESSAGE_CHARS: usize = 1000;

/// The report as a log with one run.
///
/// # Errors
/// None in practice: it holds nothing that JSON cannot.
pub fn report(report: &Saved) -> serde_json::Result<String> {
    let told = |row: &&Row| match row.status() {
        Status::Fail | Status::Unknown => true,
        Status::Ignored => row.open().next().is_some(),
        Status::Pass | Status::Skip => false,
    };
    let rows: Vec<&Row> = report.checks.iter().filter(told).collect();
    let mut known = BTreeSet::new();
    let rules: Vec<Value> = rows.iter().filter(|row| known.insert(&row.id)).map(|row| rule(row)).collect();
    let results: Vec<Value> = rows.iter().flat_map(|row| results(row)).take(MOST_RESULTS).collect();
    let root = match report.mode.as_str() {
        "live" => json!({ "uri": "file:///" }),
        _ => json!({ "description": { "text": "The root of the image or the captured host." } }),
    };
    let mut invocation = json!({ "executionSuccessful": true, "exitCode": report.exit_code() });
    if let Some(time) = words::time(report) {
        invocation["endTimeUtc"] = json!(format!("{time}Z"));
    }
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "edgeprep",
                "version": printable(&report.version),
                "rules": rules,
            } },
            "invocations": [invocation],
            "originalUriBaseIds": { ROOT: root },
            "columnKind": "unicodeCodePoints",
            "results": results,
            "properties": {
                "host": printable(words::host(report)),
                "profile": printable(&report.profile.name),
                "verdict": words::verdict(report.readiness()),
            },
        }],
    });
    serde_json::to_string_pretty(&log).map(|text| text + "\n")
}

/// What is known about a check; of one that this edgeprep does not have, what the report says.
fn rule(row: &Row) -> Value {
    let check = checks::by_id(&row.id);
    let summary = message(check.map_or(row.summary.as_str(), |check| check.summary()));
    let mut rule = json!({
        "id": printable(&row.id),
        "shortDescription": { "text": summary },
        "help": { "text": summary },
        "defaultConfiguration": { "level": "error" },
    });
    if let Some(check) = check {
        let doc: Vec<&str> = check.doc.lines().map(str::trim).collect();
        rule["help"] = json!({ "text": message(&super::explain::check(check)), "markdown": doc.join("\n") });
        let source = doc
            .iter()
            .find_map(|line| line.split(['<', '>', ' ', ')', ',']).find(|w| w.starts_with("https://")));
        if let Some(source) = source {
            rule["helpUri"] = json!(source);
        }
        if check.level == Level::Advised {
            rule["defaultConfiguration"]["level"] = json!("warning");
        }
    }
    rule
}

/// A result for each finding that is not met, and one for what could not be determined.
fn results(row: &Row) -> Vec<Value> {
    let mut results: Vec<Value> = Vec::new();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in row.open().take(MOST_RESULTS) {
        let Finding { subject, expected, found, verdict, .. } = finding;
        let state = match verdict.as_str() {
            "pending" => ", configured but not in effect",
            "volatile" => ", lost at the next boot",
            _ => "",
        };
        let repair = match finding.remedy.summary.as_str() {
            "" => String::new(),
            summary => format!(". Repair: {summary}"),
        };
        let text = format!("{subject}: {found} (expected {expected}){state}{repair}");
        let level = if words::worth(row) == Worth::Advised || row.level() == Level::Advised {
            "warning"
        } else {
            "error"
        };
        // A second finding of the same subject is another one.
        let nth = times.entry(subject).and_modify(|n| *n += 1).or_insert(0_usize);
        let mut result = result(row, &text, "fail", level, &format!("{subject}\0{nth}"));
        place(&mut result, &finding.evidence);
        results.push(result);
    }
    if row.status() == Status::Unknown || results.is_empty() {
        let reason = row.reason.as_deref().unwrap_or(&row.summary);
        let (kind, level) = match (row.status(), row.level()) {
            (Status::Fail, Level::Advised) => ("fail", "warning"),
            (Status::Fail, Level::Required) => ("fail", "error"),
            _ => ("open", "none"),
        };
        let mut result = result(row, reason, kind, level, "");
        place(&mut result, &[]);
        results.push(result);
    }
    if row.status() == Status::Ignored {
        let reason = printable(row.reason.as_deref().unwrap_or_default());
        let why = json!([{ "kind": "external", "justification": reason }]);
        results.iter_mut().for_each(|result| result["suppressions"] = why.clone());
    }
    results
}

fn result(row: &Row, text: &str, kind: &str, level: &str, about: &str) -> Value {
    let key = format!("{}\0{}\0{}\0{about}", row.id, row.user.as_deref().unwrap_or_default(), row.level);
    let digest = Sha256::digest(key);
    let fingerprint: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let of = row.user.as_ref().map(|user| format!("{user}: ")).unwrap_or_default();
    json!({
        "ruleId": printable(&row.id),
        "kind": kind,
        "level": level,
        "message": { "text": message(&format!("{of}{text}")) },
        "partialFingerprints": { "edgeprep/v1": fingerprint },
    })
}

/// Where it was read: the place that decides, and the others. What no file says is said of the root itself,
/// as readers want a place.
fn place(result: &mut Value, evidence: &[Evidence]) {
    let mut places = evidence.iter().filter(|at| at.path.starts_with('/')).map(location);
    let first = places.next().unwrap_or_else(
        || json!({ "physicalLocation": { "artifactLocation": { "uri": "./", "uriBaseId": ROOT } } }),
    );
    let others: Vec<Value> = places.take(SHOWN_PLACES).collect();
    result["locations"] = json!([first]);
    if !others.is_empty() {
        result["relatedLocations"] = json!(others);
    }
}

fn location(at: &Evidence) -> Value {
    let mut physical = json!({ "artifactLocation": { "uri": uri(&at.path), "uriBaseId": ROOT } });
    // Readers take lines as 32-bit numbers, from 1.
    if let Some(line) = at.line.filter(|line| (1..=0x7fff_ffff).contains(line)) {
        physical["region"] = json!({ "startLine": line, "snippet": { "text": printable(&at.text) } });
    }
    json!({ "physicalLocation": physical })
}

/// A path as a relative reference (RFC 3986, 4.2), which leads nowhere but below its base.
fn uri(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return "./".to_owned();
    }
    let mut out = String::new();
    for byte in parts.join("/").bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' | b'@' | b'+' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A plain text message, in which brackets make links and braces are places of arguments (SARIF 2.1.0, 3.11.5
/// and 3.11.6).
fn message(text: &str) -> String {
    let mut out = String::new();
    for (at, line) in escape::short(text, MESSAGE_CHARS * 8).lines().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        for c in printable(line).chars() {
            match c {
                '\\' | '[' | ']' => out.extend(['\\', c]),
                '{' | '}' => out.extend([c, c]),
                c => out.push(c),
            }
        }
    }
    out
}
