//! The picture of a fleet. Its serialised form is public (`docs/fleet.schema.json`); keys stand in
//! the order in which they are declared.

use std::collections::BTreeMap;

use serde::Serialize;

use super::drift::{self, Drift};
use super::duplicates::{self, NodeSubnet, Shared};
use super::gather::{Fault, Gathered};
use super::groups::{self, Group};
use super::host::{Host, Source, State, Sym, TRAITS, Words};
use crate::checks;
use crate::exit_code;
use crate::report::Readiness;

/// The name and version of the format.
const SCHEMA: &str = "edgeprep.fleet/1";

/// Many hosts in one picture.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Fleet<'a> {
    /// `edgeprep.fleet/1`.
    pub schema: &'static str,
    /// The version of the edgeprep that made this of reports.
    pub version: &'static str,
    /// The sums.
    pub summary: Sums,
    /// Each stack that a report names.
    pub stacks: Vec<StackSum<'a>>,
    /// Each check, in the order of reports.
    pub checks: Vec<CheckSum<'a>>,
    /// Hosts with the same blockers, the largest group first, those that are ready last.
    pub groups: Vec<Group<'a>>,
    /// Machine-ids, as hashes, of several hosts.
    pub machine_ids: Vec<Shared<'a>>,
    /// Names of several hosts.
    pub names: Vec<Shared<'a>>,
    /// Networks that Usernetes gives the nodes of several hosts.
    pub node_subnets: Vec<NodeSubnet<'a>>,
    /// What hosts differ in.
    pub drift: Vec<Drift<'a>>,
    /// The hosts, as they were read.
    pub hosts: Vec<HostRow<'a>>,
    /// What is no report that can be read: the first thousand.
    pub unreadable: &'a [Fault],
}

/// The sums of a fleet.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Sums {
    /// Hosts, one for each report that counts.
    pub hosts: usize,
    /// Hosts on which every stack that was asked for is ready.
    pub ready: usize,
    /// Hosts of which only a re-login or reboot is missing.
    pub pending: usize,
    /// Hosts that lack something.
    pub not_ready: usize,
    /// Hosts of which it is not known.
    pub unknown: usize,
    /// Files and lines that are no report that can be read.
    pub unreadable: usize,
    /// Reports that were left out for a later one of the same host (with `--latest`).
    pub superseded: usize,
    /// The worst verdict of all hosts.
    pub verdict: Option<Readiness>,
    /// The exit code of `edgeprep fleet`.
    pub exit_code: u8,
}

/// How many hosts are how far with a stack.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StackSum<'a> {
    /// The stack.
    pub name: &'a str,
    /// It will run.
    pub ready: usize,
    /// Only a re-login or reboot is missing.
    pub pending: usize,
    /// Something is missing.
    pub not_ready: usize,
    /// It is not known.
    pub unknown: usize,
}

/// On how many hosts a check says what. Of several rows of a report the worst counts.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CheckSum<'a> {
    /// The check.
    pub id: &'a str,
    /// What it is about; empty where this edgeprep does not know it.
    pub summary: &'a str,
    /// Something required is not met.
    pub fail: usize,
    /// It could not be determined.
    pub unknown: usize,
    /// What is required is configured, and not in effect.
    pub pending: usize,
    /// Only something that is advised is not met.
    pub advised: usize,
    /// All is met.
    pub pass: usize,
    /// It was left out on request.
    pub ignored: usize,
    /// It does not apply, or the report does not have it.
    pub skip: usize,
    /// What it says of each host, in the order of [`Fleet::hosts`].
    #[serde(skip)]
    pub states: Vec<State>,
}

/// A host.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HostRow<'a> {
    /// Its name.
    pub name: Option<&'a str>,
    /// See the report.
    pub machine_id_hash: Option<&'a str>,
    /// Where its report is.
    pub report: &'a Source,
    /// Of all stacks the worst.
    pub verdict: Readiness,
    /// Which group it is in, from 0.
    pub group: usize,
    /// Each stack.
    pub stacks: BTreeMap<&'a str, Readiness>,
    /// What it may differ in from others: see `drift`.
    pub traits: BTreeMap<&'static str, &'a str>,
    /// The checks that are not met or not known.
    pub checks: BTreeMap<&'a str, State>,
}

impl Fleet<'_> {
    /// What a host is called: its name, else where its report comes from.
    pub fn label(host: &HostRow) -> String {
        host.name.map_or_else(|| format!("({})", host.report), str::to_owned)
    }
}

pub(super) fn fleet<'a>(gathered: &'a Gathered, words: &'a Words) -> Fleet<'a> {
    let hosts = &gathered.hosts;
    let groups = groups::groups(hosts, words);
    let mut group_of = vec![0; hosts.len()];
    for (number, group) in groups.iter().enumerate() {
        group.members.iter().for_each(|at| group_of[*at] = number);
    }
    Fleet {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        summary: sums(gathered),
        stacks: stacks(hosts, words),
        checks: check_sums(hosts, words),
        groups,
        machine_ids: duplicates::machine_ids(hosts),
        names: duplicates::names(hosts),
        node_subnets: duplicates::node_subnets(hosts, words),
        drift: drift::drift(hosts, words),
        hosts: hosts.iter().zip(group_of).map(|(host, group)| row(host, group, words)).collect(),
        unreadable: &gathered.faults,
    }
}

fn sums(gathered: &Gathered) -> Sums {
    let count = |verdict| gathered.hosts.iter().filter(|host| host.verdict == verdict).count();
    let verdict = gathered.hosts.iter().map(|host| host.verdict).reduce(Readiness::worst);
    // What could not be read may be anything.
    let unread = (gathered.unreadable > 0).then_some(Readiness::Unknown);
    let worst = verdict.into_iter().chain(unread).reduce(Readiness::worst);
    Sums {
        hosts: gathered.hosts.len(),
        ready: count(Readiness::Ready),
        pending: count(Readiness::Pending),
        not_ready: count(Readiness::NotReady),
        unknown: count(Readiness::Unknown),
        unreadable: gathered.unreadable,
        superseded: gathered.superseded,
        verdict,
        exit_code: exit_code::of_check(worst),
    }
}

fn stacks<'a>(hosts: &[Host], words: &'a Words) -> Vec<StackSum<'a>> {
    let numbers = 0..Sym::try_from(words.stacks.len()).unwrap_or(Sym::MAX);
    let sum = |name: Sym| {
        let of_stack = |host: &&Host| host.stacks.iter().find(|stack| stack.name == name).copied();
        let count =
            |verdict| hosts.iter().filter(|h| of_stack(h).is_some_and(|s| s.verdict == verdict)).count();
        StackSum {
            name: words.stacks.text(name),
            ready: count(Readiness::Ready),
            pending: count(Readiness::Pending),
            not_ready: count(Readiness::NotReady),
            unknown: count(Readiness::Unknown),
        }
    };
    numbers.map(sum).filter(|sum| sum.ready + sum.pending + sum.not_ready + sum.unknown > 0).collect()
}

fn check_sums<'a>(hosts: &[Host], words: &'a Words) -> Vec<CheckSum<'a>> {
    let numbers = 0..Sym::try_from(words.checks.len()).unwrap_or(Sym::MAX);
    let sum = |check: Sym| {
        let id = words.checks.text(check);
        let states: Vec<State> = hosts.iter().map(|host| host.state(check)).collect();
        let count = |state| states.iter().filter(|s| **s == state).count();
        CheckSum {
            id,
            summary: checks::by_id(id).map_or("", |check| check.summary()),
            fail: count(State::Fail),
            unknown: count(State::Unknown),
            pending: count(State::Pending),
            advised: count(State::Advised),
            pass: count(State::Pass),
            ignored: count(State::Ignored),
            skip: count(State::Skip),
            states,
        }
    };
    numbers.map(sum).collect()
}

fn row<'a>(host: &'a Host, group: usize, words: &'a Words) -> HostRow<'a> {
    let open = |(check, state): (usize, &State)| {
        let check = Sym::try_from(check).ok()?;
        (*state >= State::Advised).then(|| (words.checks.text(check), *state))
    };
    HostRow {
        name: host.name.as_deref(),
        machine_id_hash: host.machine_id.as_deref(),
        report: &host.source,
        verdict: host.verdict,
        group,
        stacks: host.stacks.iter().map(|stack| (words.stacks.text(stack.name), stack.verdict)).collect(),
        traits: TRAITS.iter().copied().zip(host.traits.map(|value| words.traits.text(value))).collect(),
        checks: host.states.iter().enumerate().filter_map(open).collect(),
    }
}
