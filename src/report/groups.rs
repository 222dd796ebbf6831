//! Findings that say the same of different subjects belong together: they are told in one sentence, and one
//! command repairs them all.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ReportedFinding;
use super::saved::{Evidence, Finding, Row};
use crate::finding::Install;
use crate::settings::by_hand;

/// What findings that say the same have in common: expected, found, verdict, and the repair unless that is to
/// install something.
type Same<'a> = (&'a str, &'a str, &'a str, Option<&'a str>);

/// What repairs several findings that say the same, together.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Repair {
    /// The findings, by their place in the list, from 0.
    pub findings: Vec<usize>,
    /// What a person would type, as in a remedy.
    pub commands: Vec<String>,
}

/// The places of things that say the same, in their order.
fn together<'a>(all: impl Iterator<Item = (usize, Same<'a>)>) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut known: BTreeMap<Same, usize> = BTreeMap::new();
    for (place, same) in all {
        let group = *known.entry(same).or_insert(groups.len());
        match groups.get_mut(group) {
            Some(group) => group.push(place),
            None => groups.push(vec![place]),
        }
    }
    groups
}

/// What repairs the findings that are not met and say the same: one command for settings of a kind.
pub(super) fn repairs(findings: &[ReportedFinding], running: bool) -> Vec<Repair> {
    let same = |f: &'_ ReportedFinding| f.verdict != "met";
    let open = findings.iter().enumerate().filter(|(_, f)| same(f)).map(|(place, f)| {
        let summary = f.remedy.install.is_none().then_some(f.remedy.summary.as_str());
        (place, (f.expected.as_str(), f.found.as_str(), f.verdict, summary))
    });
    let several = together(open).into_iter().filter(|group| group.len() > 1);
    several
        .map(|group| {
            let members: Vec<&ReportedFinding> = group.iter().filter_map(|at| findings.get(*at)).collect();
            Repair { findings: group, commands: commands(&members, running) }
        })
        .collect()
}

fn commands(group: &[&ReportedFinding], running: bool) -> Vec<String> {
    let mut settings = Vec::new();
    let mut manual = Vec::new();
    let installs = Install::merged(group.iter().filter_map(|f| f.remedy.install.as_ref()));
    manual.extend(installs.iter().flat_map(Install::commands));
    for remedy in group.iter().map(|f| &f.remedy).filter(|remedy| remedy.install.is_none()) {
        settings
            .extend(remedy.settings.iter().filter(|s| !settings.contains(*s)).cloned().collect::<Vec<_>>());
        manual.extend(remedy.manual.iter().filter(|c| !manual.contains(*c)).cloned().collect::<Vec<_>>());
    }
    [by_hand(&settings, running), manual].concat()
}

/// Findings of a saved report that say the same, at least one.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// The first of them.
    pub first: &'a Finding,
    /// All of them.
    pub findings: Vec<&'a Finding>,
    /// What a person would type to repair them.
    pub commands: Vec<&'a str>,
}

impl Row {
    /// The findings that are not met, or those that are, as they belong together.
    pub fn groups(&self, met: bool) -> Vec<Group<'_>> {
        let wanted = self.findings.iter().enumerate().filter(|(_, f)| (f.verdict == "met") == met);
        let groups = together(wanted.map(|(place, f)| {
            let summary = f.remedy.install.is_none().then_some(f.remedy.summary.as_str());
            (place, (f.expected.as_str(), f.found.as_str(), f.verdict.as_str(), summary))
        }));
        let shared: BTreeMap<&[usize], &Repair> =
            self.repairs.iter().map(|repair| (repair.findings.as_slice(), repair)).collect();
        let group = |places: Vec<usize>| {
            let findings: Vec<&Finding> = places.iter().filter_map(|at| self.findings.get(*at)).collect();
            let own = || findings.iter().flat_map(|f| &f.remedy.commands);
            let commands = match shared.get(places.as_slice()) {
                Some(repair) => repair.commands.iter().map(String::as_str).collect(),
                None => once(own().map(String::as_str)),
            };
            Some(Group { first: *findings.first()?, findings, commands })
        };
        groups.into_iter().filter_map(group).collect()
    }
}

impl<'a> Group<'a> {
    /// The subjects, each once.
    pub fn subjects(&self) -> String {
        once(self.findings.iter().map(|f| f.subject.as_str())).join(", ")
    }

    /// What is wrong, in a sentence.
    pub fn sentence(&self) -> String {
        let Finding { found, expected, verdict, .. } = self.first;
        let state = match verdict.as_str() {
            "pending" => ", configured but not in effect",
            "volatile" => ", lost at the next boot",
            _ => "",
        };
        format!("{}: {found} (expected {expected}){state}", self.subjects())
    }

    /// Why it is wanted, each reason once.
    pub fn whys(&self) -> Vec<&'a str> {
        once(self.findings.iter().map(|f| f.why.as_str()).filter(|why| !why.is_empty()))
    }

    /// Where it was read, and the lines of a workload that ask for it, each once.
    pub fn evidence(&self) -> (Vec<&'a Evidence>, Vec<&'a Evidence>) {
        let parts =
            self.findings.iter().map(|f| f.evidence.split_at(f.evidence.len().saturating_sub(f.asked)));
        let (read, asked): (Vec<&[Evidence]>, Vec<&[Evidence]>) = parts.unzip();
        let asked = once(asked.into_iter().flatten());
        let known: BTreeSet<&Evidence> = asked.iter().copied().collect();
        let read = once(read.into_iter().flatten());
        (read.into_iter().filter(|at| !known.contains(at)).collect(), asked)
    }
}

/// Each thing once, in the order in which they come first.
pub fn once<T: Ord + Copy>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut known = BTreeSet::new();
    all.into_iter().filter(|one| known.insert(*one)).collect()
}
