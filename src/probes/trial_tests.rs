use super::*;
use crate::finding::Needs;
use crate::probes::tun_open::TUN_OPEN;
use crate::report::{Readiness, Selection, StackVerdict, Status, rows_of, verdicts};
use crate::requirements::{Demand, Origin, Stack};
use crate::settings::Setting;

const CHECK: &str = "tun-device";
const SUBJECT: &str = "/dev/net/tun";
const WORKS: fn() -> Word = || Word::Works("opened".to_owned());
const REFUSED: fn() -> Word = || Word::Refused("opening it: Permission denied (EACCES)".to_owned());
const UNKNOWN: fn() -> Word = || Word::Unknown("no answer".to_owned());

fn demand(level: Level) -> Demand {
    let origin = Origin { file: "test".into(), line: 1 };
    Demand { level, stacks: vec![Stack::Podman], why: String::new(), origin, asked: Vec::new() }
}

/// What the files say of the device; `None` where they cannot be read.
fn outcome(verdict: Option<Verdict>) -> Outcome {
    let mut outcome = Outcome::default();
    match verdict {
        Some(verdict) => {
            let at = Evidence::path(SUBJECT, "char 10:200");
            let remedy = Remedy::setting("load it", Setting::Module("tun".to_owned()));
            let finding = Finding::new(SUBJECT, "wanted", "by the files", verdict).at([at]).repair(remedy);
            outcome.add(&demand(Level::Required), finding);
        }
        None => outcome.unknown(&demand(Level::Required), SUBJECT, "it is not readable"),
    }
    outcome
}

fn trial(word: Word, claim: Claim) -> Trial {
    Trial::new(&TUN_OPEN, &User::example("edge", 1000), SUBJECT, word).about([claim])
}

fn merged(verdict: Option<Verdict>, trials: Vec<Trial>) -> Outcome {
    let mut outcome = outcome(verdict);
    Trials(trials).merge(CHECK, Some("edge"), &mut outcome);
    outcome
}

fn finding(outcome: &Outcome) -> &Finding {
    match &outcome.items[0].answer {
        Answer::Found(finding) => finding,
        Answer::Unknown { .. } => panic!("{outcome:?}"),
    }
}

/// What the row and the stack come to.
fn judged(outcome: &Outcome) -> (Status, StackVerdict) {
    let check = crate::checks::by_id(CHECK).unwrap();
    let rows = rows_of(check, Some("edge"), outcome.clone(), &Selection::default());
    let stacks = verdicts(&rows, &[Stack::Podman], &[User::example("edge", 1000)], false);
    (rows[0].status, stacks[0].clone())
}

#[test]
fn a_probe_wins_over_the_files() {
    const PENDING: Verdict = Verdict::Pending(Needs::Reboot);
    type Case = (Option<Verdict>, fn() -> Word, Option<Verdict>, Option<&'static str>, Readiness);
    let table: [Case; 15] = [
        (Some(Verdict::Met), WORKS, Some(Verdict::Met), None, Readiness::Ready),
        (Some(Verdict::Met), REFUSED, Some(Verdict::Unmet), Some("met"), Readiness::NotReady),
        (Some(Verdict::Met), UNKNOWN, Some(Verdict::Met), None, Readiness::Ready),
        (Some(Verdict::Unmet), WORKS, Some(Verdict::Met), Some("unmet"), Readiness::Ready),
        (Some(Verdict::Unmet), REFUSED, Some(Verdict::Unmet), None, Readiness::NotReady),
        (Some(Verdict::Unmet), UNKNOWN, Some(Verdict::Unmet), None, Readiness::NotReady),
        (Some(PENDING), WORKS, Some(Verdict::Met), Some("pending"), Readiness::Ready),
        (Some(PENDING), REFUSED, Some(PENDING), None, Readiness::Pending),
        (Some(PENDING), UNKNOWN, Some(PENDING), None, Readiness::Pending),
        (Some(Verdict::Volatile), WORKS, Some(Verdict::Volatile), None, Readiness::Ready),
        (Some(Verdict::Volatile), REFUSED, Some(Verdict::Unmet), Some("volatile"), Readiness::NotReady),
        (Some(Verdict::Volatile), UNKNOWN, Some(Verdict::Volatile), None, Readiness::Ready),
        (None, WORKS, Some(Verdict::Met), None, Readiness::Ready),
        (None, REFUSED, Some(Verdict::Unmet), None, Readiness::NotReady),
        (None, UNKNOWN, None, None, Readiness::Unknown),
    ];
    for (files, word, verdict, overruled, readiness) in table {
        let outcome = merged(files, vec![trial(word(), Claim::proves(CHECK, SUBJECT))]);
        let case = format!("{files:?} {:?}", word());
        assert_eq!(judged(&outcome).1.verdict, readiness, "{case}");
        let Some(verdict) = verdict else {
            assert!(matches!(outcome.items[0].answer, Answer::Unknown { .. }), "{case}");
            continue;
        };
        let found = finding(&outcome);
        assert_eq!(
            (found.verdict, found.overruled.as_ref().map(|o| o.verdict)),
            (verdict, overruled),
            "{case}"
        );
        let probes = found.evidence.iter().filter(|at| at.path.starts_with("probe tun-open")).count();
        assert_eq!(probes, usize::from(word() != UNKNOWN()), "{case}: {:?}", found.evidence);
        assert_eq!(found.remedy.summary.is_empty(), verdict == Verdict::Met, "{case}");
    }
}

#[test]
fn both_are_shown_where_they_differ() {
    let refused = merged(Some(Verdict::Met), vec![trial(REFUSED(), Claim::proves(CHECK, SUBJECT))]);
    let found = finding(&refused);
    assert_eq!(found.found, "opening it: Permission denied (EACCES), though the files say: by the files");
    let places: Vec<String> = found.evidence.iter().map(|at| format!("{at} {}", at.text)).collect();
    assert_eq!(
        places,
        [
            "probe tun-open /dev/net/tun refused for edge: opening it: Permission denied (EACCES)",
            "/dev/net/tun char 10:200"
        ]
    );
    assert_eq!(found.remedy, Remedy::manual(TUN_OPEN.remedy), "what the files lack is not what is wrong");
    let works = merged(Some(Verdict::Unmet), vec![trial(WORKS(), Claim::proves(CHECK, SUBJECT))]);
    assert_eq!(finding(&works).found, "opened, though the files say: by the files");
    assert_eq!(judged(&works).0, Status::Pass);
    let agreed = merged(Some(Verdict::Unmet), vec![trial(REFUSED(), Claim::proves(CHECK, SUBJECT))]);
    assert_eq!(finding(&agreed).found, "by the files", "the files say why");
    assert_eq!(&*finding(&agreed).evidence[0].path, SUBJECT, "and where");
}

#[test]
fn what_works_only_as_a_part_proves_nothing() {
    let support = || Claim::supports(CHECK, SUBJECT);
    let works = merged(Some(Verdict::Unmet), vec![trial(WORKS(), support())]);
    assert_eq!(finding(&works).verdict, Verdict::Unmet);
    assert_eq!(finding(&works).evidence.len(), 2, "but it is evidence");
    assert!(matches!(merged(None, vec![trial(WORKS(), support())]).items[0].answer, Answer::Unknown { .. }));
    let refused = merged(Some(Verdict::Met), vec![trial(REFUSED(), support())]);
    assert_eq!(finding(&refused).verdict, Verdict::Unmet, "without the part there is no whole");
}

#[test]
fn a_claim_is_about_its_own_finding_only() {
    let not = |claim: Claim| {
        let changed = merged(Some(Verdict::Met), vec![trial(REFUSED(), claim)]);
        assert_eq!(changed, outcome(Some(Verdict::Met)));
    };
    not(Claim::proves("fuse-device", SUBJECT));
    not(Claim::proves(CHECK, "/dev/fuse"));
    not(Claim { expected: Some("something else".to_owned()), ..Claim::proves(CHECK, SUBJECT) });
    not(Claim { level: Some(Level::Advised), ..Claim::proves(CHECK, SUBJECT) });
    let of_another = Trial { user: "other".to_owned(), ..trial(REFUSED(), Claim::proves(CHECK, SUBJECT)) };
    assert_eq!(finding(&merged(Some(Verdict::Met), vec![of_another])).verdict, Verdict::Met);
    let exactly = Claim {
        expected: Some("wanted".to_owned()),
        level: Some(Level::Required),
        ..Claim::proves(CHECK, SUBJECT)
    };
    assert_eq!(finding(&merged(Some(Verdict::Met), vec![trial(REFUSED(), exactly)])).verdict, Verdict::Unmet);
}

#[test]
fn of_two_users_on_one_host_the_one_to_whom_it_is_refused_counts() {
    let claim = || Claim::proves(CHECK, SUBJECT);
    for order in [[WORKS, REFUSED], [REFUSED, WORKS]] {
        for files in [Verdict::Met, Verdict::Unmet] {
            let mut host = outcome(Some(files));
            let two = ["edge", "other"].into_iter().zip(order);
            let of = |(user, word): (&str, fn() -> Word)| Trial {
                user: user.to_owned(),
                ..trial(word(), claim())
            };
            Trials(two.map(of).collect()).merge(CHECK, None, &mut host);
            assert_eq!(finding(&host).verdict, Verdict::Unmet, "{files:?}");
            assert_eq!(finding(&host).evidence.len(), 3, "both are evidence");
        }
    }
}

#[test]
fn without_trials_nothing_changes() {
    for files in [Some(Verdict::Met), Some(Verdict::Unmet), Some(Verdict::Volatile), None] {
        assert_eq!(merged(files, Vec::new()), outcome(files));
    }
}
