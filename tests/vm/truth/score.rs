//! What edgeprep said against what happened.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::asked::Says;
use super::oracle::Outcome;
use super::scenario::tells;
use super::trial::{Found, Judged, Trial};

/// How often which verdict met which outcome, and what was wrong.
pub(crate) struct Score {
    /// By verdict: how often it worked, and how often it failed.
    pub(crate) verdicts: BTreeMap<String, (usize, usize)>,
    /// The same with `--probe`.
    pub(crate) probed: BTreeMap<String, (usize, usize)>,
    /// By whether a check finds something, likewise.
    pub(crate) checks: BTreeMap<bool, (usize, usize)>,
    /// By peer: ready and worked, ready and failed, not ready and worked, not ready and failed.
    pub(crate) peers: BTreeMap<String, [usize; 4]>,
    pub(crate) false_ready: Vec<String>,
    pub(crate) false_not_ready: Vec<String>,
    /// What the probes alone know to be otherwise.
    pub(crate) ready_but_for_probes: Vec<String>,
    pub(crate) not_ready_but_for_probes: Vec<String>,
    /// Repairs that were tried, and those that did not help.
    pub(crate) repairs: usize,
    pub(crate) not_repaired: Vec<String>,
    /// What differs from what the scenario expects, and trials that came to nothing.
    pub(crate) unexpected: Vec<String>,
}

impl Score {
    pub(crate) fn of(trials: &[Trial]) -> Score {
        let mut score = Score {
            verdicts: BTreeMap::new(),
            probed: BTreeMap::new(),
            checks: BTreeMap::new(),
            peers: BTreeMap::new(),
            false_ready: Vec::new(),
            false_not_ready: Vec::new(),
            ready_but_for_probes: Vec::new(),
            not_ready_but_for_probes: Vec::new(),
            repairs: 0,
            not_repaired: Vec::new(),
            unexpected: Vec::new(),
        };
        for trial in trials {
            let name = format!("{} on {}", trial.scenario, trial.image);
            if let Some(error) = &trial.error {
                score.unexpected.push(format!("{name}: {error}"));
            }
            for judged in &trial.stacks {
                score.stack(&format!("{name}, {}", judged.stack), judged);
            }
            for found in &trial.checks {
                score.check(&format!("{name}, {}", found.id), found);
            }
        }
        score
    }

    fn stack(&mut self, name: &str, judged: &Judged) {
        let Judged { expected, says, probed, outcome, .. } = judged;
        count(self.verdicts.entry(says.verdict.clone()).or_default(), outcome);
        count(self.probed.entry(probed.verdict.clone()).or_default(), outcome);
        for (peer, ready) in &judged.peers {
            let cell = usize::from(!ready) * 2 + usize::from(!outcome.works);
            self.peers.entry(peer.clone()).or_default()[cell] += 1;
        }
        self.verdict(name, says, judged, false);
        self.verdict(&format!("{name}, probed"), probed, judged, true);
        match &expected.because {
            Some(because) if outcome.works => {
                self.unexpected.push(format!("{name}: it works, expected to fail with {because:?}"));
            }
            Some(because) if !outcome.said.lines().any(|line| tells(line, because)) => self
                .unexpected
                .push(format!("{name}: it fails without a word of {because:?}: {}", outcome.said)),
            _ => {}
        }
        if judged.fixable != expected.repairable {
            let says = if judged.fixable { "a fix repairs it" } else { "no fix repairs it" };
            self.unexpected.push(format!("{name}: edgeprep says that {says}, the scenario does not"));
        }
        match &judged.rebooted {
            Some((verdict, outcome)) if verdict != "ready" || !outcome.works => self
                .unexpected
                .push(format!("{name}: pending, and after a reboot {verdict}: {}", ended(outcome))),
            None if says.verdict == "pending" => {
                self.unexpected.push(format!("{name}: pending, and nobody looked after a reboot"));
            }
            _ => {}
        }
        let after = judged.after.as_ref();
        let after = after.map(|(verdict, outcome)| (verdict == "ready", verdict.clone(), outcome));
        self.after(name, expected.repairable, after);
    }

    /// What edgeprep says of a stack, with its probes or without, against what happens and what is expected.
    fn verdict(&mut self, name: &str, says: &Says, judged: &Judged, probed: bool) {
        let expected = judged.expected.says(probed);
        let is_expected =
            (&says.verdict, sorted(&says.blockers)) == (&expected.verdict, sorted(&expected.blockers));
        // Wrong by the files, as the scenario knows, and right with the probes.
        let with_probes = judged.expected.says(true).verdict;
        let excused = !probed && is_expected && (with_probes == "ready") == judged.outcome.works;
        let blockers = says.blockers.join(", ");
        match (says.verdict.as_str(), judged.outcome.works) {
            ("ready", false) if excused => {
                self.ready_but_for_probes.push(format!("{name}: {}", judged.probed.blockers.join(", ")));
            }
            ("ready", false) => self.false_ready.push(format!("{name}: {}", judged.outcome.said)),
            ("not-ready" | "pending", true) if excused => {
                self.not_ready_but_for_probes.push(format!("{name}: {blockers}"));
            }
            ("not-ready" | "pending", true) => self.false_not_ready.push(format!("{name}: {blockers}")),
            _ => {}
        }
        if !is_expected {
            self.unexpected.push(format!(
                "{name}: {} for {:?}, expected {} for {:?}",
                says.verdict, says.blockers, expected.verdict, expected.blockers
            ));
        }
    }

    fn check(&mut self, name: &str, found: &Found) {
        count(self.checks.entry(found.finds).or_default(), &found.outcome);
        match (found.finds, found.outcome.works) {
            (false, false) => self.false_ready.push(format!("{name}: {}", found.outcome.said)),
            (true, true) => self.false_not_ready.push(name.to_owned()),
            _ => {}
        }
        if found.finds != found.expected.finds {
            self.unexpected.push(format!("{name}: it {}", says(found.finds)));
        }
        let after = found.after.as_ref();
        let after = after.map(|(finds, outcome)| (!finds, says(*finds).to_owned(), outcome));
        self.after(name, found.expected.repairable, after);
    }

    /// What a fix came to: whether edgeprep finds all right then, what it says, and what happens.
    fn after(&mut self, name: &str, repairable: bool, after: Option<(bool, String, &Outcome)>) {
        self.repairs += usize::from(repairable && after.is_some());
        match after {
            None if repairable => self.unexpected.push(format!("{name}: no repair was tried")),
            Some((right, says, outcome)) if !right || !outcome.works => {
                let what = format!("{says}, and {}", ended(outcome));
                match repairable {
                    true => self.not_repaired.push(format!("{name}: {what}")),
                    false => self.unexpected.push(format!("{name}: worked before a fix; after it {what}")),
                }
            }
            _ => {}
        }
    }

    /// Everything that is not as it should be.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let lists = [
            ("false ready", &self.false_ready),
            ("false not-ready", &self.false_not_ready),
            ("not repaired", &self.not_repaired),
            ("not as expected", &self.unexpected),
        ];
        lists.iter().flat_map(|(what, list)| list.iter().map(move |one| format!("{what}: {one}"))).collect()
    }

    /// The matrix, as Markdown that reads well in a terminal, too.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from("| edgeprep says     | it works | it fails |\n");
        text.push_str("|-------------------|---------:|---------:|\n");
        let mut row = |what: &str, works: usize, fails: usize| {
            let _ = writeln!(text, "| {what:17} | {works:8} | {fails:8} |");
        };
        for (verdict, (works, fails)) in &self.verdicts {
            row(verdict, *works, *fails);
        }
        for (verdict, (works, fails)) in &self.probed {
            row(&format!("{verdict}, probed"), *works, *fails);
        }
        for (finds, (works, fails)) in &self.checks {
            row(if *finds { "a check finds" } else { "a check passes" }, *works, *fails);
        }
        let by_probe = |list: &[String]| match list.len() {
            0 => String::new(),
            known => format!(", and {known} that only --probe can know"),
        };
        let by_files = by_probe(&self.ready_but_for_probes);
        let _ = writeln!(text, "\nfalse ready: {}{by_files}", self.false_ready.len());
        let by_files = by_probe(&self.not_ready_but_for_probes);
        let _ = writeln!(text, "false not-ready: {}{by_files}", self.false_not_ready.len());
        let _ = writeln!(text, "repaired: {} of {}", self.repairs - self.not_repaired.len(), self.repairs);
        text
    }
}

/// What a check says, in a message.
fn says(finds: bool) -> &'static str {
    if finds { "finds something" } else { "finds nothing" }
}

/// What a program came to, in a message.
fn ended(outcome: &Outcome) -> String {
    match outcome.works {
        true => "it works".to_owned(),
        false => format!("it fails: {}", outcome.said),
    }
}

fn sorted(names: &[String]) -> Vec<&String> {
    let mut names: Vec<_> = names.iter().collect();
    names.sort();
    names
}

fn count(cell: &mut (usize, usize), outcome: &Outcome) {
    if outcome.works {
        cell.0 += 1;
    } else {
        cell.1 += 1;
    }
}
