use super::*;
use crate::facts::testing::empty_host;
use crate::finding::Needs;
use crate::requirements::{Demand, Origin};

fn outcome(level: Level, verdicts: &[Option<Verdict>]) -> Outcome {
    let origin = Origin { file: "test".into(), line: 1 };
    let demand = Demand { level, stacks: vec![Stack::K3s], why: String::new(), origin, asked: Vec::new() };
    let mut outcome = Outcome::default();
    for verdict in verdicts {
        match verdict {
            Some(verdict) => outcome.add(&demand, Finding::new("x", "1", "0", *verdict)),
            None => outcome.unknown(&demand, "x", "no reason"),
        }
    }
    outcome
}

fn judged(level: Level, verdicts: &[Option<Verdict>], selection: &Selection) -> (Vec<Status>, StackVerdict) {
    let rows = split(ALL[0], None, outcome(level, verdicts), selection, true);
    let user = User::example("edge", 1000);
    let mut stacks = super::verdicts(&rows, &[Stack::K3s, Stack::Podman], &[user], selection.strict);
    assert_eq!(stacks[1].verdict, Readiness::Ready, "nobody asked for Podman");
    (rows.iter().map(|row| row.status).collect(), stacks.remove(0))
}

#[test]
fn verdicts_of_checks_make_the_verdict_of_a_stack() {
    use Readiness::{NotReady, Pending, Ready, Unknown};
    const MET: Option<Verdict> = Some(Verdict::Met);
    const UNMET: Option<Verdict> = Some(Verdict::Unmet);
    const VOLATILE: Option<Verdict> = Some(Verdict::Volatile);
    const REBOOT: Option<Verdict> = Some(Verdict::Pending(Needs::Reboot));
    type Case = (&'static [Option<Verdict>], &'static [Status], Readiness);
    let table: [Case; 9] = [
        (&[MET, MET], &[Status::Pass], Ready),
        (&[MET, UNMET], &[Status::Fail], NotReady),
        (&[MET, REBOOT], &[Status::Fail], Pending),
        (&[UNMET, REBOOT], &[Status::Fail], NotReady),
        (&[MET, None], &[Status::Unknown], Unknown),
        (&[REBOOT, None], &[Status::Fail], Unknown),
        (&[UNMET, None], &[Status::Fail], NotReady),
        (&[VOLATILE], &[Status::Fail], Ready),
        (&[UNMET, VOLATILE], &[Status::Fail, Status::Fail], NotReady),
    ];
    for (verdicts, statuses, readiness) in table {
        let (found, stack) = judged(Level::Required, verdicts, &Selection::default());
        assert_eq!((&found[..], stack.verdict), (statuses, readiness), "{verdicts:?}");
        let blocked = readiness != Ready;
        assert_eq!(stack.blockers.len(), usize::from(blocked), "{verdicts:?}");
        assert_eq!(stack.needs, if verdicts.contains(&REBOOT) { Needs::Reboot } else { Needs::None });
    }
    for verdict in [UNMET, REBOOT, None, VOLATILE] {
        let (_, stack) = judged(Level::Advised, &[verdict], &Selection::default());
        assert_eq!((stack.verdict, stack.advised), (Ready, 1), "{verdict:?}");
        let strict = Selection { strict: true, ..Selection::default() };
        assert_ne!(judged(Level::Advised, &[verdict], &strict).1.verdict, Ready, "{verdict:?}");
    }
}

#[test]
fn what_is_ignored_blocks_nothing_and_is_listed() {
    let ignore = Selection { ignore: vec!["*".to_owned()], ..Selection::default() };
    let (statuses, stack) = judged(Level::Required, &[Some(Verdict::Unmet)], &ignore);
    assert_eq!((&statuses[..], stack.verdict), (&[Status::Ignored][..], Readiness::Ready));
    let (statuses, _) = judged(Level::Required, &[Some(Verdict::Met)], &ignore);
    assert_eq!(statuses, [Status::Pass], "what passes need not be ignored");
}

#[test]
fn globs() {
    for (glob, text, matches) in [
        ("cgroup-*", "cgroup-version", true),
        ("*-version", "cgroup-version", true),
        ("c*p*n", "cgroup-version", true),
        ("?group-version", "cgroup-version", true),
        ("cgroup", "cgroup-version", false),
        ("*", "", true),
        ("?", "", false),
        ("a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
    ] {
        assert_eq!(glob_matches(glob, text), matches, "{glob} {text}");
    }
}

#[test]
fn an_empty_host_makes_every_check_speak() {
    let facts = empty_host().facts();
    let req = Requirements::merge(&Stack::ALL, &[]).unwrap();
    let selection = Selection::default();
    let said = run(&facts, &req, &[User::example("edge", 1000)], &selection);
    let rows = rows(said, None, &selection, true);
    for check in ALL {
        assert!(rows.iter().any(|row| row.id == check.id), "{}", check.id);
    }
    assert!(rows.iter().any(|row| row.status == Status::Fail));
}
