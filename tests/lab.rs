//! What the truth lab makes of what it sees; the lab itself is the test `truth`, which boots machines.

#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    dead_code,
    reason = "a test stops at the first surprise, and does not run the lab's main"
)]

#[path = "vm/truth/main.rs"]
mod truth;

use serde_json::{Value, json};

use truth::asked::{Says, difference, finds, is_fixable};
use truth::oracle::Outcome;
use truth::scenario::{Expected, Scenario, Shown, load, tells};
use truth::score::Score;
use truth::shown::wrong;
use truth::trial::{Found, Judged, Trial};

fn says(verdict: &str, blockers: &[&str]) -> Says {
    let blockers = blockers.iter().map(|id| (*id).to_owned()).collect();
    Says { verdict: verdict.to_owned(), blockers }
}

fn outcome(works: bool) -> Outcome {
    let said = if works { "" } else { "podman: no such luck\nthe end" };
    Outcome { works, said: said.to_owned() }
}

fn expected(text: &str) -> Expected {
    toml::from_str(text).unwrap()
}

/// Podman, of which edgeprep says what the scenario expects.
fn judged(text: &str, works: bool) -> Judged {
    let expected = expected(text);
    let of = |probed| {
        let said = expected.says(probed);
        Says { verdict: said.verdict, blockers: said.blockers }
    };
    Judged {
        stack: "podman".to_owned(),
        says: of(false),
        probed: of(true),
        fixable: expected.repairable,
        outcome: outcome(works),
        peers: Vec::new(),
        rebooted: None,
        after: None,
        expected,
    }
}

fn ready() -> Judged {
    judged("verdict = 'ready'", true)
}

fn not_ready() -> Judged {
    judged("verdict = 'not-ready'\nblockers = ['tun-device']\nbecause = 'no such luck'", false)
}

fn repaired() -> Judged {
    let text =
        "verdict = 'not-ready'\nblockers = ['tun-device']\nbecause = 'no such luck'\nrepairable = true";
    Judged { after: Some(("ready".to_owned(), outcome(true))), ..judged(text, false) }
}

fn pending() -> Judged {
    let text = "verdict = 'pending'\nblockers = ['user-manager']\nbecause = 'no such luck'";
    Judged { rebooted: Some(("ready".to_owned(), outcome(true))), ..judged(text, false) }
}

fn found(finds: bool, works: bool, repairable: bool) -> Found {
    let text = format!("finds = {finds}\noracle = 'true'\nrepairable = {repairable}");
    let expected: Shown = toml::from_str(&text).unwrap();
    Found { id: "key-limits".to_owned(), expected, finds, outcome: outcome(works), after: None }
}

fn trial(stacks: Vec<Judged>, checks: Vec<Found>) -> Trial {
    let (scenario, image) = ("one".to_owned(), "trixie".to_owned());
    Trial { scenario, image, stacks, checks, error: None }
}

fn score(judged: Judged) -> Score {
    Score::of(&[trial(vec![judged], Vec::new())])
}

fn score_check(found: Found) -> Score {
    Score::of(&[trial(Vec::new(), vec![found])])
}

#[test]
fn what_is_as_expected_is_right() {
    for judged in [ready(), not_ready(), repaired(), pending()] {
        assert_eq!(score(judged).wrong(), [""; 0]);
    }
    let mut right = found(true, false, true);
    right.after = Some((false, outcome(true)));
    for found in [found(false, true, false), found(true, false, false), right] {
        assert_eq!(score_check(found).wrong(), [""; 0]);
    }
}

#[test]
fn a_wrong_verdict_is_false_even_if_expected() {
    let score = score(judged("verdict = 'ready'", false));
    assert_eq!((score.false_ready.len(), score.false_not_ready.len()), (2, 0));
    assert_eq!(score.verdicts["ready"], (0, 1));
    for verdict in ["not-ready", "pending"] {
        let text = format!("verdict = '{verdict}'\nblockers = ['tun-device']\nbecause = 'no such luck'");
        let score = self::score(judged(&text, true));
        assert_eq!((score.false_ready.len(), score.false_not_ready.len()), (0, 2));
        assert!(score.unexpected[0].contains("it works, expected to fail"), "{:?}", score.unexpected);
    }
    assert_eq!(score_check(found(false, false, false)).false_ready.len(), 1);
    assert_eq!(score_check(found(true, true, false)).false_not_ready.len(), 1);
}

#[test]
fn what_the_probes_alone_know_is_listed_both_ways() {
    let blocked = "{ verdict = 'not-ready', blockers = ['idmap-helpers'] }";
    let hidden = format!("verdict = 'ready'\nprobed = {blocked}\nbecause = 'no such luck'");
    let score = self::score(judged(&hidden, false));
    assert_eq!(score.ready_but_for_probes, ["one on trixie, podman: idmap-helpers"]);
    assert_eq!(score.wrong(), [""; 0]);
    assert!(score.table().contains("false ready: 0, and 1 that only --probe can know\nfalse not-ready: 0\n"));

    let seeming = "verdict = 'not-ready'\nblockers = ['tun-device']\nprobed = { verdict = 'ready' }";
    let score = self::score(judged(seeming, true));
    assert_eq!(score.not_ready_but_for_probes, ["one on trixie, podman: tun-device"]);
    assert_eq!(score.wrong(), [""; 0]);
    assert!(score.table().contains("false ready: 0\nfalse not-ready: 0, and 1 that only --probe can know\n"));
}

#[test]
fn probes_that_are_wrong_are_no_excuse() {
    let text = "verdict = 'not-ready'\nblockers = ['tun-device']\nprobed = { verdict = 'ready' }";
    let mut wrong = judged(text, true);
    wrong.probed = says("not-ready", &["tun-device"]);
    assert_eq!(score(wrong).false_not_ready, ["one on trixie, podman, probed: tun-device"]);
    assert_eq!(score(judged(text, false)).false_ready.len(), 1);
}

#[test]
fn other_blockers_and_other_reasons_are_unexpected() {
    let other = Judged { says: says("not-ready", &["fuse-device"]), ..not_ready() };
    assert_eq!(score(other).unexpected.len(), 1);
    let said = Outcome { works: false, said: "no such\nluck".to_owned() };
    let reason = Judged { outcome: said, ..not_ready() };
    assert!(score(reason).unexpected[0].contains("fails without a word of \"no such luck\""));
    let fixable = Judged { fixable: true, ..not_ready() };
    assert!(score(fixable).unexpected[0].contains("a fix repairs it"));
}

#[test]
fn what_was_not_looked_at_is_a_failure() {
    let pending = Judged { rebooted: None, ..pending() };
    assert!(score(pending).unexpected[0].contains("nobody looked after a reboot"));
    let repaired = Judged { after: None, ..repaired() };
    assert!(score(repaired).unexpected[0].contains("no repair was tried"));
    assert!(score_check(found(true, false, true)).unexpected[0].contains("no repair was tried"));
    let error = Trial { error: Some("the break failed".to_owned()), ..trial(Vec::new(), Vec::new()) };
    assert_eq!(Score::of(&[error]).unexpected, ["one on trixie: the break failed"]);
}

#[test]
fn after_a_reboot_it_has_to_work_and_be_ready() {
    for (verdict, works) in [("pending", true), ("ready", false)] {
        let pending = Judged { rebooted: Some((verdict.to_owned(), outcome(works))), ..pending() };
        assert_eq!(score(pending).unexpected.len(), 1);
    }
}

#[test]
fn after_a_fix_it_has_to_work_and_be_ready() {
    for (verdict, works) in [("pending", true), ("ready", false)] {
        let after = Some((verdict.to_owned(), outcome(works)));
        let score = self::score(Judged { after: after.clone(), ..repaired() });
        assert_eq!((score.repairs, score.not_repaired.len()), (1, 1));
        // And what worked before does so still, which is no repair.
        let score = self::score(Judged { after, ..ready() });
        assert_eq!((score.repairs, score.not_repaired.len(), score.unexpected.len()), (0, 0, 1));
    }
    for after in [(true, outcome(true)), (false, outcome(false))] {
        let found = Found { after: Some(after), ..found(true, false, true) };
        assert_eq!(score_check(found).not_repaired.len(), 1);
    }
}

#[test]
fn peers_are_counted_by_what_happens() {
    let asked = |judged: Judged, says| Judged { peers: vec![("Moby".to_owned(), says)], ..judged };
    let stacks = vec![
        asked(ready(), true),
        asked(not_ready(), true),
        asked(ready(), false),
        asked(not_ready(), false),
    ];
    assert_eq!(Score::of(&[trial(stacks, Vec::new())]).peers["Moby"], [1, 1, 1, 1]);
}

fn scenario(text: &str) -> Scenario {
    toml::from_str(text).unwrap()
}

const SCENARIO: &str = "why = 'one'
ci = true
break = 'true'
[stack.podman]
verdict = 'not-ready'
blockers = ['tun-device']
because = 'tun'
[check.key-limits]
finds = true
subject = 'keys'
";

#[test]
fn what_is_expected_can_change_without_another_run() {
    let mut trial = trial(vec![not_ready()], vec![found(false, true, false)]);
    trial.expect(&scenario(SCENARIO));
    assert_eq!(trial.stacks[0].expected.because.as_deref(), Some("tun"));
    assert!(trial.checks[0].expected.finds);
}

#[test]
fn what_happens_is_all_but_what_is_expected() {
    let what = |text: &str| format!("{:?}", scenario(text).what_happens());
    let same = SCENARIO
        .replace("'one'", "'other'")
        .replace("ci = true", "ci = false")
        .replace("not-ready", "pending")
        .replace("tun-device", "fuse-device")
        .replace("'tun'", "'fuse'")
        .replace("finds = true", "finds = false")
        .replace("'keys'", "'bytes'");
    assert_eq!(what(&same), what(SCENARIO));
    for (old, new) in [
        ("break = 'true'", "break = 'false'"),
        ("ci = true", "kernel = 'maxcpus=1'"),
        ("ci = true", "base = 'fresh'"),
        ("ci = true", "reboot = true"),
        ("ci = true", "fix-options = ['--allow-restart']"),
        ("because", "repairable = true\nbecause"),
        ("because", "oracle = 'true'\nbecause"),
        ("subject = 'keys'", "oracle = 'true'"),
        ("subject = 'keys'", "repairable = true"),
        ("podman", "k3s"),
    ] {
        assert!(SCENARIO.contains(old));
        assert_ne!(what(&SCENARIO.replace(old, new)), what(SCENARIO), "{new}");
    }
}

#[test]
fn parts_of_a_line_are_told_in_their_order() {
    assert!(tells("open /dev/net/tun: Permission denied", "/dev/net/tun ... : Permission denied"));
    assert!(tells("open /dev/net/tun", "/dev/net/tun"));
    assert!(!tells("Permission denied: open /dev/net/tun", "/dev/net/tun ... : Permission denied"));
    assert!(!tells("open /dev/fuse: Permission denied", "/dev/net/tun ... : Permission denied"));
}

#[test]
fn a_trace_is_what_came_and_what_went() {
    assert_eq!(difference("a\nb\n", "b\nc\n"), ["-a", "+c"]);
    assert_eq!(difference("a\nb\n", "b\na\n"), [""; 0]);
}

/// A report on Podman, with the rows of one check that blocks.
fn report(rows: &Value) -> Value {
    let blockers = if rows.as_array().unwrap().is_empty() { json!([]) } else { json!(["tun-device"]) };
    json!({"stacks": [{"name": "podman", "verdict": "not-ready", "blockers": blockers}], "checks": rows})
}

fn row(level: &str, status: &str, findings: &Value) -> Value {
    json!({"id": "tun-device", "level": level, "status": status, "reason": "why", "findings": findings})
}

fn finding(verdict: &str, stack: &str, fixable: bool) -> Value {
    json!({"subject": stack, "verdict": verdict, "stacks": [stack], "remedy": {"fixable": fixable}})
}

#[test]
fn a_fix_repairs_what_it_can_repair_all_of() {
    let fixable = |rows: Value| is_fixable(&report(&rows), "podman").unwrap();
    let required = |findings: Value| row("required", "fail", &findings);
    assert!(fixable(json!([required(json!([finding("unmet", "podman", true)]))])));
    assert!(fixable(json!([required(json!([
        finding("pending", "podman", true),
        finding("unmet", "k3s", false),
        finding("met", "podman", false),
    ]))])));
    let advised = row("advised", "fail", &json!([finding("unmet", "podman", false)]));
    assert!(fixable(json!([required(json!([finding("unmet", "podman", true)])), advised])));
    let both = json!([finding("unmet", "podman", true), finding("unmet", "podman", false)]);
    assert!(!fixable(json!([required(both)])));
}

#[test]
fn what_blocks_without_a_finding_is_not_repaired() {
    let fixable = |rows: Value| is_fixable(&report(&rows), "podman").unwrap();
    assert!(!fixable(json!([])));
    assert!(!fixable(json!([row("required", "unknown", &json!([]))])));
    assert!(!fixable(json!([row("required", "fail", &json!([finding("unmet", "k3s", true)]))])));
}

#[test]
fn a_check_finds_something_of_its_subject() {
    let rows = json!([row(
        "advised",
        "fail",
        &json!([finding("unmet", "podman", true), finding("met", "k3s", true)])
    )]);
    let report = report(&rows);
    assert!(finds(&report, "tun-device", None).unwrap());
    assert!(finds(&report, "tun-device", Some("podman")).unwrap());
    assert!(!finds(&report, "tun-device", Some("k3s")).unwrap());
    assert!(finds(&report, "tun-device", Some("kind")).is_err());
    assert!(finds(&report, "fuse-device", None).is_err());
}

#[test]
fn every_scenario_has_its_oracles() {
    let scenarios = load(&truth::here("scenarios")).unwrap();
    assert!(scenarios.len() >= 90);
    for scenario in &scenarios {
        for (stack, expected) in &scenario.stacks {
            expected.script(stack).unwrap();
        }
        for (id, shown) in &scenario.checks {
            assert!(edgeprep::checks::ALL.iter().any(|check| check.id == id), "{id}");
            shown.script(id).unwrap();
        }
    }
}

/// A trial in which edgeprep says what a scenario expects.
fn as_expected(scenario: &Scenario) -> Trial {
    let stacks = scenario.stacks.values().map(|expected| {
        let blockers: Vec<&str> = expected.blockers.iter().map(String::as_str).collect();
        Judged { says: says(&expected.verdict, &blockers), ..not_ready() }
    });
    let checks = scenario.checks.iter().map(|(id, shown)| Found {
        id: id.clone(),
        expected: shown.clone(),
        ..found(shown.finds, !shown.finds, false)
    });
    trial(stacks.collect(), checks.collect())
}

#[test]
fn every_required_check_is_shown_or_excused() {
    let scenarios = load(&truth::here("scenarios")).unwrap();
    let trials: Vec<Trial> = scenarios.iter().map(as_expected).collect();
    assert_eq!(wrong(&trials), [""; 0]);
}

#[test]
fn what_is_neither_shown_nor_excused_is_wrong_and_so_is_a_needless_excuse() {
    let complaints = wrong(&[]);
    assert!(complaints.iter().any(|one| one.contains("no scenario has tun-device decide")), "{complaints:?}");
    assert!(!complaints.iter().any(|one| one.contains("kernel-release")));
    let shows = Judged { says: says("not-ready", &["kernel-release", "tun-device"]), ..not_ready() };
    let complaints = wrong(&[trial(vec![shows], Vec::new())]);
    assert!(complaints.contains(&"not shown: kernel-release needs no excuse".to_owned()), "{complaints:?}");
    assert!(!complaints.iter().any(|one| one.contains("tun-device")));
}
