//! Logs as they are written upstream, and what is recognised in them.
#![expect(clippy::disallowed_methods, reason = "tests read the logs and pages of the repository")]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::facts::testing::TestHost;
use crate::symptoms;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

static SYMPTOMS: LazyLock<Vec<Symptom>> = LazyLock::new(|| symptoms::built_in().unwrap());
static MATCHER: LazyLock<Matcher> = LazyLock::new(|| Matcher::new(&SYMPTOMS));

/// To read the data anew takes longer than a log.
fn empty() -> Logs<'static> {
    Logs { symptoms: &SYMPTOMS, matcher: MATCHER.clone(), found: BTreeMap::new(), lines: 0 }
}

/// What is recognised, as `LINE ID` of the first line, in the order of the lines.
fn recognised(log: &[u8]) -> Vec<String> {
    let mut logs = empty();
    logs.read(None, log).unwrap();
    let mut hits: Vec<&Hit> = logs.found.values().collect();
    hits.sort_by_key(|hit| hit.first.line);
    hits.iter().map(|hit| format!("{} {}", hit.first.line, hit.symptom)).collect()
}

fn logs() -> Vec<(String, Vec<u8>)> {
    let folder = std::fs::read_dir(format!("{REPOSITORY}/tests/fixtures/logs")).unwrap();
    let files = folder.map(|entry| entry.unwrap().path()).filter(|path| path.extension().unwrap() == "log");
    let name = |path: &std::path::Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut logs: Vec<_> = files.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect();
    logs.sort();
    logs
}

#[test]
fn each_log_says_what_it_says() {
    let mut all = String::new();
    for (name, log) in logs() {
        all.push_str(&format!("[{name}]\n{}\n\n", recognised(&log).join("\n")));
    }
    let file = format!("{REPOSITORY}/tests/fixtures/logs/recognised.txt");
    if std::env::var_os("EDGEPREP_UPDATE_DOCS").is_some() {
        std::fs::write(&file, &all).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), all, "EDGEPREP_UPDATE_DOCS=1 writes it anew");
}

#[test]
fn logs_of_healthy_machines_say_nothing() {
    let healthy: Vec<_> = logs().into_iter().filter(|(name, _)| name.starts_with("healthy-")).collect();
    assert!(healthy.len() >= 4);
    for (name, log) in healthy {
        assert_eq!(recognised(&log), [""; 0], "{name}");
    }
}

#[test]
fn each_symptom_is_in_a_log() {
    let known: BTreeSet<String> = SYMPTOMS.iter().map(|one| one.id.clone()).collect();
    assert!(known.len() >= 60);
    let logs = logs();
    let ids = |log: &[u8]| recognised(log).into_iter().map(|hit| hit.split_once(' ').unwrap().1.to_owned());
    let seen: BTreeSet<String> = logs.iter().flat_map(|(_, log)| ids(log).collect::<Vec<_>>()).collect();
    let missing: Vec<&String> = known.difference(&seen).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// A pattern with something in the place of each `*` is found, and by its own symptom.
#[test]
fn each_pattern_is_found() {
    for symptom in SYMPTOMS.iter() {
        for pattern in &symptom.patterns {
            let line = format!("prefix {} suffix", pattern.replace('*', "anything"));
            let found = recognised(line.as_bytes());
            assert!(found.contains(&format!("1 {}", symptom.id)), "{}: {line}: {found:?}", symptom.id);
        }
    }
}

#[test]
fn loggers_and_terminals_hide_nothing() {
    let message = "\"/\" is not a shared mount, this could cause issues";
    for line in [
        format!("WARN[0000] {message}"),
        format!("\u{1b}[33mWARN\u{1b}[0m[0000] {message}"),
        format!("time=\"2026-01-01T00:00:00Z\" level=warning msg=\"{}\"", message.replace('"', "\\\"")),
        format!("{{\"msg\":\"a \\\"{}\\\"\"}}", message.replace('"', "\\\\\\\"")),
        format!("pulling 10 %\rpulling 20 %\r{message}\r"),
        format!("Jan  1 00:00:00 pi podman[12]: {message}\r"),
        format!("I0101 00:00:00.000000 12 x.go:1] {}", message.to_uppercase()),
        format!("{}{message}{}", "x ".repeat(100_000), " y".repeat(100_000)),
    ] {
        assert_eq!(recognised(line.as_bytes()), ["1 private-root-mount"], "{}", &line[..60.min(line.len())]);
    }
    let bytes = [&b"\xff\xfe\0 "[..], message.as_bytes(), b"\xff"].concat();
    assert_eq!(recognised(&bytes), ["1 private-root-mount"]);
}

#[test]
fn what_comes_again_is_counted() {
    let mut logs = empty();
    let log = "too many open files\nx\ntoo many open files, too many open files\n";
    logs.read(Some("a.log"), log.as_bytes()).unwrap();
    logs.read(Some("b.log"), log.as_bytes()).unwrap();
    let hit = logs.found.values().next().unwrap();
    assert_eq!((hit.count, hit.first.line, hit.last.line), (4, 1, 3));
    assert_eq!((hit.first.file.as_deref(), hit.last.file.as_deref()), (Some("a.log"), Some("b.log")));
    assert_eq!(logs.lines, 6);
}

#[test]
fn what_is_no_text_is_told() {
    let mut logs = empty();
    for (file, command) in
        [(&b"\x1f\x8b\x08\0"[..], "zcat x | edgeprep diagnose"), (b"LPKSHHRH\0", "journalctl --file x")]
    {
        let error = logs.read(Some("x"), file).unwrap_err();
        assert!(error.to_string().contains(command), "{error}");
    }
    let error = logs.read(Some("x y;reboot.gz"), &b"\x1f\x8b\x08\0"[..]).unwrap_err();
    assert!(error.to_string().ends_with("zcat 'x y;reboot.gz' | edgeprep diagnose"), "{error}");
}

/// A message that a check quotes, or a requirement gives as its reason, leads back to it.
#[test]
fn messages_that_are_quoted_lead_back() {
    let mut lost = Vec::new();
    let mut seen = 0;
    for check in ALL {
        let why = check.doc.split("## Why it matters").nth(1).unwrap().split("## ").next().unwrap();
        let text = why.split_whitespace().collect::<Vec<_>>().join(" ").replace("\\\"", "\"");
        for quoted in quoted(&text).filter(|text| is_message(text)) {
            seen += 1;
            let leads = |symptom: &&Symptom| symptom.checks.iter().any(|one| one.check == check.id);
            if !said_by(&quoted).iter().any(leads) {
                lost.push(format!("{}: {quoted}", check.id));
            }
        }
    }
    for stack in Stack::ALL {
        let file = format!("{REPOSITORY}/profiles/stacks/{stack}.toml");
        for why in std::fs::read_to_string(&file).unwrap().lines().filter(|line| line.starts_with("why = ")) {
            let why: toml::Table = toml::from_str(why).unwrap();
            for quoted in quoted(why["why"].as_str().unwrap()).filter(|text| is_message(text)) {
                seen += 1;
                if said_by(&quoted).iter().all(|symptom| symptom.checks.is_empty()) {
                    lost.push(format!("{stack}: {quoted}"));
                }
            }
        }
    }
    assert!(lost.is_empty(), "{}", lost.join("\n"));
    assert!(seen > 40, "{seen}");
}

/// The symptoms of a message, of which a part may be quoted.
fn said_by(quoted: &str) -> Vec<&'static Symptom> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('"', "");
    let part = |symptom: &&Symptom| symptom.patterns.iter().any(|one| plain(one).contains(&plain(quoted)));
    let whole = MATCHER.find(quoted.as_bytes()).into_iter().map(|one| &SYMPTOMS[one.symptom]);
    whole.chain(SYMPTOMS.iter().filter(part)).collect()
}

/// What stands between quotes, with the quotes that are within.
fn quoted(text: &str) -> impl Iterator<Item = String> {
    let mut found = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, _) in text.match_indices('"') {
        let before = text[..at].chars().next_back().unwrap_or(' ');
        if depth == 0 {
            (depth, start) = (1, at + 1);
        } else if before.is_whitespace() || before == '(' {
            depth += 1;
        } else {
            depth -= 1;
            if depth == 0 {
                found.push(text[start..at].to_owned());
            }
        }
    }
    found.into_iter()
}

/// Names, settings and versions are quoted, too.
fn is_message(text: &str) -> bool {
    // What a program says that could not be started, for whatever reason.
    const OTHERS: [&str; 3] = ["permission denied", "operation not permitted", "connection refused"];
    text.contains(' ') && !text.contains(" = ") && !OTHERS.contains(&text.to_ascii_lowercase().as_str())
}

fn diagnosis(host: TestHost, log: &str, stacks: &[Stack]) -> Diagnosis {
    let mut logs = empty();
    logs.read(None, log.as_bytes()).unwrap();
    let request = Request {
        profile: "generic".to_owned(),
        stacks: stacks.to_vec(),
        users: vec!["edge".to_owned()],
        today: "2026-01-01".to_owned(),
        ..Request::default()
    };
    logs.diagnose(&host.facts(), request).unwrap()
}

#[test]
fn the_host_answers_for_what_is_meant_alone() {
    use crate::facts::testing::openrc_host;
    let log =
        "expected sysctl value \"net.ipv4.ip_forward\" to be \"1\"\nfailed to find memory cgroup (v2)\n";
    let told = diagnosis(openrc_host(), log, &[Stack::K3s]);
    let ids: Vec<&str> = told.hits.iter().map(|hit| hit.symptom.as_str()).collect();
    assert_eq!(ids.len(), 2);
    let report = told.report.unwrap();
    let asked: Vec<&str> = report
        .checks
        .iter()
        .filter(|row| row.reason.as_deref() != Some(NOT_SELECTED))
        .map(|row| row.id)
        .collect();
    assert_eq!(asked, ["cgroup-controllers", "cgroup-delegation", "ip-forward"]);
    for row in &report.checks {
        let other = |finding: &&crate::report::ReportedFinding| {
            row.id.starts_with("cgroup-") && finding.subject != "memory"
        };
        assert_eq!(row.findings.iter().find(other).map(|finding| &finding.subject), None, "{}", row.id);
    }
    assert_eq!(report.stacks.iter().map(|stack| stack.name).collect::<Vec<_>>(), [Stack::K3s]);
}

#[test]
fn a_log_without_known_messages_asks_nobody() {
    let told = diagnosis(crate::facts::testing::empty_host(), "all is well\n", &[]);
    assert!(told.hits.is_empty() && told.report.is_none());
    assert_eq!((told.exit_code, told.lines), (exit_code::DONE, 1));
    let told =
        diagnosis(crate::facts::testing::empty_host(), "failed to start noop process for unshare\n", &[]);
    assert_eq!((told.hits.len(), told.hits[0].met, told.exit_code), (1, None, exit_code::DONE));
    assert!(told.report.is_none(), "no check knows of it");
}

#[test]
fn the_stacks_are_those_whose_logs_they_are() {
    let of = |log: &str| {
        let mut logs = empty();
        logs.read(None, log.as_bytes()).unwrap();
        let hits: Vec<Hit> = logs.found.into_values().collect();
        about(&hits, Request::default()).stacks
    };
    assert_eq!(of("UserNS: cpu controller needs to be delegated"), [Stack::Kind, Stack::Minikube]);
    assert_eq!(
        of("UserNS: cpu controller needs to be delegated\nsudo: a password is required"),
        [Stack::Minikube]
    );
    assert_eq!(of("too many open files"), []);
}

proptest! {
    #[test]
    fn no_bytes_make_it_stop(log in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let mut logs = empty();
        let _ = logs.read(None, &log[..]);
    }
}
