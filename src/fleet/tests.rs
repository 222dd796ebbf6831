//! Made of small reports: each has what a report has, and no more.

use std::io::{self, Read};

use serde_json::{Value, json};

use super::host::Words;
use super::*;
use crate::finding::Needs;
use crate::report::Readiness;

/// A report of a host with an ID, and of checks with their level, status and the verdict of their finding.
pub(crate) fn report(name: &str, id: &str, checks: &[(&str, &str, &str, &str)]) -> Value {
    let rows: Vec<Value> = checks
        .iter()
        .map(|(check, level, status, verdict)| {
            let remedy = json!({"fixable": *check != "stack-programs", "summary": format!("repair \
             {check}"), "commands": []});
            json!({"id": check, "summary": "", "level": level, "status": status, "user": null,
                "stacks": ["k3s"], "findings": [{"subject": "a", "expected": "1", "found": "0",
                "verdict": verdict, "remedy": remedy}]})
        })
        .collect();
    let blockers: Vec<&str> =
        checks.iter().filter(|c| c.1 == "required" && c.2 == "fail").map(|c| c.0).collect();
    let pending = checks.iter().all(|c| c.3 != "unmet");
    let verdict = match &blockers[..] {
        [] => "ready",
        _ if pending => "pending",
        _ => "not-ready",
    };
    json!({
        "schema": "edgeprep.report/1", "version": "0.1.0", "mode": "live",
        "host": {"name": name, "machine_id_hash": id, "os": {"id": "debian", "version_id": "13"},
            "kernel": ["6.12.1"], "arch": "x86_64", "memory_bytes": 1, "cpus": 1,
            "hardware": {"vendor": null, "model": null, "compatible": []},
            "page_bytes": 4096, "node_subnet": null},
        "profile": {"name": "generic", "chosen": "auto", "why": "", "notes": []}, "users": [],
        "stacks": [{"name": "k3s", "user": "edge", "verdict": verdict, "blockers": blockers,
            "needs": if verdict == "pending" { "reboot" } else { "none" }, "advised": 0}],
        "checks": rows,
        "summary": {"pass": 0, "fail": 0, "skip": 0, "unknown": 0, "ignored": 0, "verdict": verdict,
            "exit_code": 0}
    })
}

const UNMET: (&str, &str, &str, &str) = ("cgroup-delegation", "required", "fail", "unmet");
const MET: (&str, &str, &str, &str) = ("cgroup-delegation", "required", "pass", "met");
const PROGRAMS: (&str, &str, &str, &str) = ("stack-programs", "required", "fail", "unmet");
const ADVISED: (&str, &str, &str, &str) = ("page-size", "advised", "fail", "unmet");
const WAITING: (&str, &str, &str, &str) = ("kernel-arguments", "required", "fail", "pending");

fn text(reports: &[Value]) -> String {
    reports.iter().map(|report| report.to_string() + "\n").collect()
}

pub(crate) fn read(text: &str) -> (Reports, Hosts) {
    let mut reports = Reports::default();
    let hosts = reports.read_from(Path::new("-"), text.as_bytes()).unwrap();
    (reports, hosts)
}

fn names(hosts: &Hosts) -> Vec<&str> {
    hosts.0.hosts.iter().map(|host| host.name.as_deref().unwrap_or("")).collect()
}

fn faults(hosts: &Hosts) -> Vec<(u64, &str)> {
    hosts.0.faults.iter().map(|fault| (fault.source.line, fault.why.as_str())).collect()
}

#[test]
fn reports_of_one_line_and_of_many_one_after_the_other() {
    let (a, b, c) = (report("a", "1", &[]), report("b", "2", &[]), report("c", "3", &[]));
    let pretty = |report: &Value| serde_json::to_string_pretty(report).unwrap();
    let text = format!("\u{feff}{a}\n\n{}{}\r\n  {c} ", pretty(&b), pretty(&a));
    let (_, hosts) = read(&text);
    assert_eq!((names(&hosts), faults(&hosts)), (vec!["a", "b", "a", "c"], vec![]));
    let lines: Vec<u64> = hosts.0.hosts.iter().map(|host| host.source.line).collect();
    let b_lines = pretty(&b).lines().count() as u64;
    assert_eq!(lines, [1, 3, 2 + b_lines, 2 + 2 * b_lines]);
}

#[test]
fn what_is_no_report_is_listed_and_the_others_count() {
    let good = |name| report(name, name, &[]).to_string();
    let pretty = serde_json::to_string_pretty(&report("cut", "1", &[UNMET, PROGRAMS])).unwrap();
    let next = |name| serde_json::to_string_pretty(&report(name, name, &[])).unwrap();
    let cut = |at: usize| &pretty[..at];
    let newer = good("newer").replace("edgeprep.report/1", "edgeprep.report/2");
    let damaged = good("damaged").replace(r#""verdict":"ready""#, r#""verdict":7"#);
    for (bad, why) in [
        ("Permission denied".to_owned(), "line AT, column 1: not JSON: expected an object"),
        ("[1, 2]".to_owned(), "line AT, column 1: not JSON: expected an object"),
        ("{}".to_owned(), "is no report of edgeprep: "),
        (r#"{"schema": 1, "x": [{}, "}"]}"#.to_owned(), "is no report of edgeprep: "),
        (newer, "edgeprep.report/2: this edgeprep reads edgeprep.report/1"),
        (r#"{"schema": "edgeprep.fleet/1"}"#.to_owned(), "edgeprep.fleet/1: this edgeprep reads "),
        (
            damaged,
            "line AT, column 459: not as edgeprep.report/1 has it: invalid type: integer `7`, expected \
             a string",
        ),
        (
            good("x").replace("\"checks\":[]", "\"checks\":[{}]"),
            "line AT, column 13: not as edgeprep.report/1 has it: missing",
        ),
        (cut(pretty.len() / 2).to_owned(), "line "),
        (cut(pretty.len() - 1).to_owned(), "line "),
        (good("cut")[..100].to_owned(), "line "),
        ("{nonsense}".to_owned(), "line AT, column 2: not JSON: key must be a string"),
    ] {
        let text = format!("{}\n{bad}\n{}\n{}", next("first"), good("second"), next("third"));
        let (reports, hosts) = read(&text);
        assert_eq!(names(&hosts), ["first", "second", "third"], "{bad}");
        let found = faults(&hosts);
        assert_eq!(found.len(), 1, "{found:?}");
        let at = next("first").lines().count() + 1;
        let why = why.replace("AT", &at.to_string());
        assert!(found[0].1.starts_with(&why), "{} for {bad}", found[0].1);
        assert_eq!(found[0].0, next("first").lines().count() as u64 + 1, "{bad}");
        assert_eq!(reports.fleet(&hosts).summary.exit_code, 3);
        let (_, hosts) = read(&bad);
        assert_eq!((names(&hosts).len(), faults(&hosts).len()), (0, 1), "{bad}");
    }
    let (_, hosts) = read(cut(pretty.len() - 1));
    let end = pretty.lines().count();
    assert_eq!(
        faults(&hosts),
        [(1, &*format!("line {end}: the end is missing: EOF while parsing an object"))]
    );
}

#[test]
fn names_of_checks_that_none_has_are_refused() {
    for id in ["", "<script>", "cgroup\u{1b}[31m", &"a".repeat(65)] {
        let (_, hosts) = read(&report("a", "1", &[(id, "required", "fail", "unmet")]).to_string());
        assert_eq!(faults(&hosts), [(1, "is damaged: what it names is no check")], "{id}");
    }
    let (reports, hosts) =
        read(&report("a", "1", &[("of-a-later-release", "required", "fail", "unmet")]).to_string());
    let fleet = reports.fleet(&hosts);
    let check = fleet.checks.last().unwrap();
    assert_eq!((check.id, check.summary, check.fail), ("of-a-later-release", "", 1));
}

/// Gives a byte at a time, as slow pipes do.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.0.read(&mut to[..1])
    }
}

#[test]
fn a_stream_longer_than_the_buffer_is_read_in_parts() {
    let mut padded = report("a", "1", &[UNMET]);
    padded["padding"] = Value::String("x".repeat(400 << 10));
    let text = text(&vec![padded; 9]);
    assert!(text.len() > 3 << 20);
    let mut reports = Reports::default();
    let hosts = reports.read_from(Path::new("-"), text.as_bytes()).unwrap();
    assert_eq!(names(&hosts), ["a"; 9]);
    assert_eq!(hosts.0.hosts[8].source.line, 9);
    assert!(reports.buffer.capacity() < 8 << 20, "{}", reports.buffer.capacity());
    let small = self::text(&[report("a", "1", &[]), report("b", "1", &[])]);
    assert_eq!(
        names(&Reports::default().read_from(Path::new("-"), Slow(small.as_bytes())).unwrap()),
        ["a", "b"]
    );
}

#[test]
fn what_never_ends_is_given_up() {
    let good = report("good", "1", &[]).to_string();
    let long = format!("{{\"a\": \"{}\n{good}", "x".repeat(20 << 20));
    let mut reports = Reports::default();
    let hosts = reports.read_from(Path::new("-"), long.as_bytes()).unwrap();
    assert_eq!(
        (names(&hosts), faults(&hosts)),
        (vec!["good"], vec![(1, "has more than 8 MiB, which no report has")])
    );
    assert!(reports.buffer.capacity() <= 32 << 20);
    // Each line begins a report that does not end: all of them are not read again for each.
    let nested = "{\"a\":\n".repeat(200_000);
    let (_, hosts) = read(&nested);
    let found = faults(&hosts);
    assert_eq!(found.last().unwrap().1, "too much before it is broken: the rest is not read");
    assert!(found.len() < 1000, "{}", found.len());
}

#[test]
fn hosts_are_grouped_by_what_blocks_them() {
    let (reports, hosts) = read(&text(&[
        report("a", "1", &[UNMET, ADVISED]),
        report("b", "2", &[MET]),
        report("c", "3", &[UNMET, PROGRAMS]),
        report("d", "4", &[UNMET]),
        report("e", "5", &[WAITING]),
    ]));
    let fleet = reports.fleet(&hosts);
    let groups: Vec<_> =
        fleet.groups.iter().map(|g| (g.verdict, g.needs, g.blockers.join(" "), g.hosts.join(" "))).collect();
    let of =
        |verdict, needs, blockers: &str, hosts: &str| (verdict, needs, blockers.to_owned(), hosts.to_owned());
    assert_eq!(
        groups,
        [
            of(Readiness::NotReady, Needs::None, "cgroup-delegation", "a d"),
            of(Readiness::NotReady, Needs::None, "cgroup-delegation stack-programs", "c"),
            of(Readiness::Pending, Needs::Reboot, "kernel-arguments", "e"),
            of(Readiness::Ready, Needs::None, "", "b"),
        ]
    );
    let repairs: Vec<_> =
        fleet.groups[1].repairs.iter().map(|r| (r.check, r.fixable, r.summary, r.hosts)).collect();
    assert_eq!(
        repairs,
        [
            ("cgroup-delegation", true, "repair cgroup-delegation", 1),
            ("stack-programs", false, "repair stack-programs", 1)
        ]
    );
    let sums = &fleet.summary;
    assert_eq!((sums.hosts, sums.ready, sums.pending, sums.not_ready, sums.exit_code), (5, 1, 1, 3, 1));
    let check = |id: &str| fleet.checks.iter().find(|check| check.id == id).unwrap();
    assert_eq!(
        (check("cgroup-delegation").fail, check("cgroup-delegation").pass, check("cgroup-delegation").skip),
        (3, 1, 1)
    );
    assert_eq!((check("page-size").advised, check("kernel-arguments").pending), (1, 1));
    assert_eq!(
        check("cgroup-delegation").states,
        [State::Fail, State::Pass, State::Fail, State::Fail, State::Skip]
    );
    assert_eq!((fleet.stacks[0].name, fleet.stacks[0].ready, fleet.stacks[0].not_ready), ("k3s", 1, 3));
    assert_eq!(fleet.hosts[2].group, 1);
}

#[test]
fn exit_codes() {
    let code = |reports: &[Value]| {
        let (reports, hosts) = read(&text(reports));
        reports.fleet(&hosts).summary.exit_code
    };
    let (ready, pending, not) =
        (report("a", "1", &[MET]), report("b", "2", &[WAITING]), report("c", "3", &[UNMET]));
    let mut unknown = ready.clone();
    unknown["stacks"][0]["verdict"] = json!("of a later release");
    for (reports, expected) in [
        (vec![ready.clone()], 0),
        (vec![ready.clone(), pending.clone()], 4),
        (vec![ready.clone(), pending.clone(), unknown.clone()], 3),
        (vec![ready.clone(), pending, unknown, not], 1),
        (vec![ready, json!({})], 3),
        (vec![json!({})], 3),
    ] {
        assert_eq!(code(&reports), expected, "{reports:?}");
    }
}

#[test]
fn what_only_a_fleet_shows() {
    let node = |name: &str, id: &str, subnet: &str, stack: &str| {
        let mut report = report(name, id, &[]);
        report["host"]["node_subnet"] = json!(subnet);
        report["stacks"][0]["name"] = json!(stack);
        report
    };
    let mut image = node("pi", "2", "10.100.9.0/24", "usernetes");
    image["mode"] = json!("image");
    let (reports, hosts) = read(&text(&[
        node("pi", "1", "10.100.1.0/24", "usernetes"),
        node("pi", "2", "10.100.1.0/24", "usernetes"),
        node("other", "2", "10.100.1.0/24", "usernetes"),
        node("third", "3", "10.100.1.0/24", "k3s"),
        node("fourth", "4", "10.100.2.0/24", "usernetes"),
        image,
    ]));
    let fleet = reports.fleet(&hosts);
    let shared = |all: &[Shared]| {
        all.iter().map(|s| format!("{}: {}", s.value, s.hosts.join(" "))).collect::<Vec<_>>()
    };
    assert_eq!(shared(&fleet.machine_ids), ["2: pi other"]);
    assert_eq!(shared(&fleet.names), ["pi: pi pi"]);
    assert_eq!(fleet.names[0].reports[1].to_string(), "-:2");
    let nodes: Vec<_> = fleet.node_subnets.iter().map(|node| (node.subnet, node.hosts.join(" "))).collect();
    assert_eq!(nodes, [("10.100.1.0/24", "other pi".to_owned())]);
}

#[test]
fn drift_names_the_outliers() {
    let kernel = |number: usize, kernel: &str| {
        let mut report = report(&format!("h{number}"), &number.to_string(), &[]);
        report["host"]["kernel"] = json!([kernel]);
        report
    };
    let mut all: Vec<Value> = (0..50).map(|number| kernel(number, "6.12.2")).collect();
    all.extend((50..90).map(|number| kernel(number, "6.12.1")));
    all.push(kernel(90, "5.10.0"));
    let mut old = report("old", "old", &[]);
    old["host"].as_object_mut().unwrap().remove("page_bytes");
    all.push(old);
    let (reports, hosts) = read(&text(&all));
    let fleet = reports.fleet(&hosts);
    let of = |what: &str| {
        let drift = fleet.drift.iter().find(|drift| drift.what == what).unwrap();
        drift.values.iter().map(|v| (v.value, v.count, v.outliers.join(" "))).collect::<Vec<_>>()
    };
    let none = String::new();
    assert_eq!(
        of("kernel"),
        [("6.12.2", 50, none.clone()), ("6.12.1", 41, none.clone()), ("5.10.0", 1, "h90".to_owned())]
    );
    assert_eq!(of("page size"), [("4096", 91, none.clone()), ("not known", 1, "old".to_owned())]);
    assert_eq!(of("profile"), [("generic", 92, none)]);
}

#[test]
fn of_several_reports_of_a_host_the_last_counts_where_it_is_asked_for() {
    let at = |name: &str, time: Option<u64>, check| {
        let mut report = report(name, "1", &[check]);
        report["timestamp"] = json!(time);
        report
    };
    let kept = |reports: &[Value]| {
        let (reports, mut hosts) = read(&text(reports));
        hosts.0.keep_latest();
        let fleet = reports.fleet(&hosts);
        let labels: Vec<String> =
            fleet.hosts.iter().map(|h| format!("{}{}", Fleet::label(h), h.report.line)).collect();
        (labels.join(" "), fleet.summary.superseded)
    };
    assert_eq!(
        kept(&[at("a", None, MET), at("b", None, MET), at("a", None, UNMET)]),
        ("b2 a3".to_owned(), 1)
    );
    assert_eq!(
        kept(&[at("a", Some(2), MET), at("a", Some(1), MET), at("a", Some(3), MET)]),
        ("a3".to_owned(), 2)
    );
    assert_eq!(kept(&[at("a", Some(2), MET), at("a", Some(1), MET)]), ("a1".to_owned(), 1));
}

fn compared(old: &[Value], new: &[Value], look: impl Fn(&Comparison)) {
    let mut reports = Reports::default();
    let old = reports.read_from(Path::new("old"), text(old).as_bytes()).unwrap();
    let new = reports.read_from(Path::new("new"), text(new).as_bytes()).unwrap();
    look(&reports.comparison(&old, &new));
}

#[test]
fn what_changed_is_told_by_host_and_by_check() {
    let old = [
        report("a", "1", &[UNMET]),
        report("b", "2", &[MET]),
        report("same", "3", &[UNMET]),
        report("gone", "4", &[MET]),
        report("reinstalled", "5", &[MET]),
    ];
    let mut renamed = report("renamed", "1", &[MET]);
    renamed["host"]["kernel"] = json!(["6.12.2"]);
    let new = [
        renamed,
        report("b", "2", &[UNMET, ADVISED]),
        report("same", "3", &[UNMET]),
        report("reinstalled", "55", &[MET, ADVISED]),
        report("new", "6", &[MET]),
    ];
    compared(&old, &new, |all| {
        let hosts: Vec<_> = all.hosts.iter().map(|h| (h.name.as_str(), h.change, h.known_by)).collect();
        assert_eq!(
            hosts,
            [
                ("b", Change::Worse, KnownBy::MachineId),
                ("reinstalled", Change::Worse, KnownBy::Name),
                ("renamed", Change::Better, KnownBy::MachineId),
            ]
        );
        assert_eq!((all.hosts[0].old, all.hosts[0].new), (Readiness::Ready, Readiness::NotReady));
        assert_eq!(all.hosts[0].worse, ["cgroup-delegation", "page-size"]);
        assert_eq!(all.hosts[2].better, ["cgroup-delegation"]);
        let checks: Vec<_> = all.checks.iter().map(|c| (c.id, c.worse, c.better)).collect();
        assert_eq!(checks, [("cgroup-delegation", 1, 1), ("page-size", 2, 0)]);
        assert_eq!((all.new[0].name.as_str(), all.gone[0].name.as_str()), ("new", "gone"));
        let moved: Vec<_> = all.moved.iter().map(|m| (m.what, m.old, m.new, m.hosts)).collect();
        assert_eq!(moved, [("kernel", "6.12.1", "6.12.2", 1)]);
        let sums = &all.summary;
        assert_eq!(
            (sums.worse, sums.better, sums.same, sums.appeared, sums.gone, sums.exit_code),
            (2, 1, 1, 1, 1, 1)
        );
    });
}

#[test]
fn hosts_that_cannot_be_told_apart_are_not_guessed() {
    let clone = |check| report("pi", "1", &[check]);
    let other = report("other", "1", &[MET]);
    compared(&[clone(MET), clone(MET), other.clone()], &[clone(MET), clone(UNMET), other], |all| {
        assert_eq!((all.summary.same, all.summary.ambiguous, all.summary.exit_code), (1, 4, 3));
        assert_eq!(all.ambiguous, ["pi"; 4]);
    });
    let ignored = ("cgroup-delegation", "required", "ignored", "unmet");
    compared(&[report("a", "1", &[UNMET])], &[report("a", "1", &[ignored])], |all| {
        assert_eq!(
            (all.summary.better, all.hosts[0].better.len(), all.summary.exit_code),
            (1, 0, 0),
            "the verdict is"
        );
    });
    compared(&[report("a", "1", &[MET])], &[report("a", "1", &[ignored])], |all| {
        assert_eq!(all.summary.same, 1)
    });
}

#[test]
fn words_are_kept_once_and_not_without_end() {
    let mut words = Words::new();
    assert_eq!(words.traits.number("a"), words.traits.number("a"));
    let many: Vec<Value> = (0..4100)
        .map(|number| {
            let mut report = report(&format!("h{number}"), &number.to_string(), &[UNMET]);
            report["checks"][0]["findings"][0]["remedy"]["summary"] =
                json!(format!("linger {number}{}", "x".repeat(900)));
            report
        })
        .collect();
    let (reports, hosts) = read(&text(&many));
    assert!(reports.words.repairs.len() <= 4001, "{}", reports.words.repairs.len());
    let fleet = reports.fleet(&hosts);
    assert_eq!((fleet.groups.len(), fleet.groups[0].count), (1, 4100));
    assert_eq!(fleet.groups[0].repairs[0].summary.len(), 400);
    assert_eq!(fleet.groups[0].repairs[0].hosts, 1);
}
