//! Hosts that the same checks stand in the way of, and what repairs those.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::host::{Host, Sym, Words};
use crate::finding::Needs;
use crate::report::Readiness;

/// Hosts with the same verdict and the same blockers.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Group<'a> {
    /// Of all stacks the worst.
    pub verdict: Readiness,
    /// What a pending configuration takes to be in effect.
    pub needs: Needs,
    /// The checks that stand in the way, in the order of reports.
    pub blockers: Vec<&'a str>,
    /// How many hosts.
    pub count: usize,
    /// What repairs each blocker, as far as the reports say.
    pub repairs: Vec<Repair<'a>>,
    /// The names of the hosts.
    pub hosts: Vec<String>,
    /// Which of all hosts they are.
    #[serde(skip)]
    pub members: Vec<usize>,
}

/// What repairs a check on most hosts of a group.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Repair<'a> {
    /// The check.
    pub check: &'a str,
    /// Whether `edgeprep fix` does it.
    pub fixable: bool,
    /// What to do, or what `edgeprep fix` does.
    pub summary: &'a str,
    /// For how many hosts their reports say so.
    pub hosts: usize,
}

/// The groups, the largest first, those that are ready last. Of equal ones the first as they were read.
pub(super) fn groups<'a>(hosts: &[Host], words: &'a Words) -> Vec<Group<'a>> {
    let mut numbers: HashMap<(Readiness, Needs, &[Sym]), usize> = HashMap::new();
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (at, host) in hosts.iter().enumerate() {
        let number = *numbers.entry((host.verdict, host.needs, &host.blockers)).or_insert(members.len());
        match members.get_mut(number) {
            Some(group) => group.push(at),
            None => members.push(vec![at]),
        }
    }
    let mut groups: Vec<Group> = members.into_iter().map(|members| group(members, hosts, words)).collect();
    groups.sort_by_key(|group| {
        (group.verdict == Readiness::Ready, std::cmp::Reverse(group.count), group.members.first().copied())
    });
    groups
}

fn group<'a>(members: Vec<usize>, hosts: &[Host], words: &'a Words) -> Group<'a> {
    let first = &hosts[members[0]];
    Group {
        verdict: first.verdict,
        needs: first.needs,
        blockers: first.blockers.iter().map(|check| words.checks.text(*check)).collect(),
        count: members.len(),
        repairs: first.blockers.iter().filter_map(|check| repair(*check, &members, hosts, words)).collect(),
        hosts: members.iter().map(|at| hosts[*at].label()).collect(),
        members,
    }
}

fn repair<'a>(check: Sym, members: &[usize], hosts: &[Host], words: &'a Words) -> Option<Repair<'a>> {
    let mut said: BTreeMap<Sym, usize> = BTreeMap::new();
    for (_, text) in members.iter().flat_map(|at| hosts[*at].repairs.iter()).filter(|(of, _)| *of == check) {
        *said.entry(*text).or_default() += 1;
    }
    // What was not kept is not known.
    said.remove(&0);
    let (text, hosts) = said.into_iter().max_by_key(|(text, count)| (*count, std::cmp::Reverse(*text)))?;
    let text = words.repairs.text(text);
    let fixed = text.strip_prefix('+');
    Some(Repair {
        check: words.checks.text(check),
        fixable: fixed.is_some(),
        summary: fixed.unwrap_or(text),
        hosts,
    })
}
