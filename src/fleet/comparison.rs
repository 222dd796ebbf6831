//! What changed between two sets of reports. A host is known again by its machine-id, else by its name. Its
//! serialised form is public (`docs/fleet-comparison.schema.json`).

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::gather::{Fault, Gathered};
use super::host::{Host, State, Sym, TRAITS, Words};
use crate::exit_code;
use crate::report::Readiness;

/// The name and version of the format.
const SCHEMA: &str = "edgeprep.fleet-comparison/1";

/// What changed.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Comparison<'a> {
    /// `edgeprep.fleet-comparison/1`.
    pub schema: &'static str,
    /// The version of the edgeprep that compared.
    pub version: &'static str,
    /// The sums.
    pub summary: Sums,
    /// Hosts that are better or worse than before, the worse ones first.
    pub hosts: Vec<HostChange<'a>>,
    /// Checks that are better or worse on some host, in the order of reports.
    pub checks: Vec<CheckChange<'a>>,
    /// Kernels and the like that hosts have in place of others, the commonest change first.
    pub moved: Vec<Moved<'a>>,
    /// Hosts that were not there before.
    pub new: Vec<Seen>,
    /// Hosts that are not there any more.
    pub gone: Vec<Seen>,
    /// Hosts that share machine-id and name with others, so that it is not known which is which.
    pub ambiguous: Vec<String>,
    /// What is no report among the old ones.
    pub unreadable_old: &'a [Fault],
    /// And among the new ones.
    pub unreadable_new: &'a [Fault],
}

/// The sums of a comparison.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Sums {
    /// Hosts before.
    pub old: usize,
    /// Hosts after.
    pub new: usize,
    /// Hosts of which something is worse.
    pub worse: usize,
    /// Hosts of which something is better and nothing worse.
    pub better: usize,
    /// Hosts of which nothing is better or worse.
    pub same: usize,
    /// Hosts that were not there before.
    pub appeared: usize,
    /// Hosts that are not there any more.
    pub gone: usize,
    /// Hosts, before and after, that cannot be told apart.
    pub ambiguous: usize,
    /// Files and lines, before and after, that are no report that can be read.
    pub unreadable: usize,
    /// The exit code of `edgeprep fleet --compare`.
    pub exit_code: u8,
}

/// Whether a host is better than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// The verdict is worse, or it is the same and a check is worse.
    Worse,
    /// Otherwise: something is better.
    Better,
}

/// By what a host is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum KnownBy {
    /// Its machine-id.
    MachineId,
    /// Its name.
    Name,
}

/// What changed on a host.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HostChange<'a> {
    /// Its name now.
    pub name: String,
    /// By what it is known again.
    pub known_by: KnownBy,
    /// Whether it is better.
    pub change: Change,
    /// The verdict before.
    pub old: Readiness,
    /// The verdict now.
    pub new: Readiness,
    /// Checks that say worse.
    pub worse: Vec<&'a str>,
    /// Checks that say better.
    pub better: Vec<&'a str>,
}

/// On how many hosts a check changed.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CheckChange<'a> {
    /// The check.
    pub id: &'a str,
    /// Hosts of which it says worse.
    pub worse: usize,
    /// Hosts of which it says better.
    pub better: usize,
}

/// What some hosts have in place of something else.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Moved<'a> {
    /// What, as in [`TRAITS`].
    pub what: &'static str,
    /// What they had.
    pub old: &'a str,
    /// What they have.
    pub new: &'a str,
    /// How many hosts.
    pub hosts: usize,
}

/// A host that is in one of the two.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Its verdict.
    pub verdict: Readiness,
}

pub(super) fn comparison<'a>(old: &'a Gathered, new: &'a Gathered, words: &'a Words) -> Comparison<'a> {
    let known = Known::of(&old.hosts, &new.hosts);
    let mut checks: BTreeMap<Sym, (usize, usize)> = BTreeMap::new();
    let mut moved: BTreeMap<(usize, Sym, Sym), usize> = BTreeMap::new();
    let mut hosts = Vec::new();
    for (was, is, by) in &known.pairs {
        for at in (0..TRAITS.len()).filter(|at| was.traits[*at] != is.traits[*at]) {
            *moved.entry((at, was.traits[at], is.traits[at])).or_default() += 1;
        }
        let most = was.states.len().max(is.states.len());
        let changed = |worse: bool| {
            (0..most)
                .filter_map(move |at| Sym::try_from(at).ok())
                .filter(move |check| is_changed(was.state(*check), is.state(*check), worse))
        };
        changed(true).for_each(|check| checks.entry(check).or_default().0 += 1);
        changed(false).for_each(|check| checks.entry(check).or_default().1 += 1);
        let names = |worse| changed(worse).map(|check| words.checks.text(check)).collect::<Vec<_>>();
        let (worse, better) = (names(true), names(false));
        let same = was.verdict == is.verdict;
        let is_worse = if same { !worse.is_empty() } else { was.verdict.worst(is.verdict) == is.verdict };
        if same && worse.is_empty() && better.is_empty() {
            continue;
        }
        let change = if is_worse { Change::Worse } else { Change::Better };
        let (name, known_by) = (is.label(), *by);
        hosts.push(HostChange { name, known_by, change, old: was.verdict, new: is.verdict, worse, better });
    }
    // The worse first, and of those the ones whose verdict changed.
    hosts.sort_by_key(|host| (host.change, host.old == host.new));
    let mut moved: Vec<Moved> = moved
        .into_iter()
        .map(|((at, old, new), hosts)| Moved {
            what: TRAITS[at],
            old: words.traits.text(old),
            new: words.traits.text(new),
            hosts,
        })
        .collect();
    moved.sort_by_key(|moved| std::cmp::Reverse(moved.hosts));
    let seen = |host: &&Host| Seen { name: host.label(), verdict: host.verdict };
    Comparison {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        summary: sums(old, new, &known, &hosts),
        hosts,
        checks: checks
            .into_iter()
            .map(|(check, (worse, better))| CheckChange { id: words.checks.text(check), worse, better })
            .collect(),
        moved,
        new: known.new.iter().map(seen).collect(),
        gone: known.gone.iter().map(seen).collect(),
        ambiguous: known.ambiguous.iter().map(|host| host.label()).collect(),
        unreadable_old: &old.faults,
        unreadable_new: &new.faults,
    }
}

fn sums(old: &Gathered, new: &Gathered, known: &Known, hosts: &[HostChange]) -> Sums {
    let count = |change| hosts.iter().filter(|host| host.change == change).count();
    let (worse, better) = (count(Change::Worse), count(Change::Better));
    let unreadable = old.unreadable + new.unreadable;
    let doubt = unreadable > 0 || !known.ambiguous.is_empty();
    Sums {
        old: old.hosts.len(),
        new: new.hosts.len(),
        worse,
        better,
        same: known.pairs.len() - worse - better,
        appeared: known.new.len(),
        gone: known.gone.len(),
        ambiguous: known.ambiguous.len(),
        unreadable,
        exit_code: match (worse, doubt) {
            (0, false) => exit_code::DONE,
            (0, true) => exit_code::UNKNOWN,
            _ => exit_code::UNMET,
        },
    }
}

/// Whether a check is worse, or better. What is left out on request says nothing.
fn is_changed(was: State, is: State, worse: bool) -> bool {
    let rank = |state: State| state.max(State::Pass);
    let (from, to) = if worse { (was, is) } else { (is, was) };
    was != State::Ignored && is != State::Ignored && rank(from) < rank(to)
}

/// Which host is which.
#[derive(Default)]
struct Known<'a> {
    pairs: Vec<(&'a Host, &'a Host, KnownBy)>,
    new: Vec<&'a Host>,
    gone: Vec<&'a Host>,
    ambiguous: Vec<&'a Host>,
}

impl<'a> Known<'a> {
    /// First by machine-ids that one host has before and one after; of the others by machine-id and name, as
    /// hosts that were cloned can be known by; of those that are left by name.
    fn of(old: &'a [Host], new: &'a [Host]) -> Known<'a> {
        let mut known = Known::default();
        let mut old: Vec<&Host> = old.iter().collect();
        let mut new: Vec<&Host> = new.iter().collect();
        known.pair(&mut old, &mut new, KnownBy::MachineId, |host| Some((host.machine_id.as_deref()?, "")));
        known.pair(&mut old, &mut new, KnownBy::MachineId, |host| {
            Some((host.machine_id.as_deref()?, host.name.as_deref()?))
        });
        known.pair(&mut old, &mut new, KnownBy::Name, |host| Some((host.name.as_deref()?, "")));
        let key = |host: &&'a Host| host.machine_id.as_deref().or(host.name.as_deref());
        let left =
            |hosts: &[&'a Host]| hosts.iter().filter_map(key).collect::<std::collections::HashSet<&str>>();
        let (was, is) = (left(&old), left(&new));
        let doubtful = |host: &&'a Host| key(host).is_some_and(|key| was.contains(key) && is.contains(key));
        let (doubted, gone): (Vec<&Host>, Vec<&Host>) = old.into_iter().partition(doubtful);
        let (also, new): (Vec<&Host>, Vec<&Host>) = new.into_iter().partition(doubtful);
        Known { gone, new, ambiguous: [doubted, also].concat(), ..known }
    }

    /// Takes out of both the hosts whose key one of each has.
    fn pair<K: Eq + std::hash::Hash>(
        &mut self,
        old: &mut Vec<&'a Host>,
        new: &mut Vec<&'a Host>,
        by: KnownBy,
        key: impl Fn(&'a Host) -> Option<K>,
    ) {
        let mut seen: HashMap<K, (Vec<usize>, Vec<usize>)> = HashMap::new();
        for (at, host) in old.iter().enumerate() {
            if let Some(key) = key(host) {
                seen.entry(key).or_default().0.push(at);
            }
        }
        for (at, host) in new.iter().enumerate() {
            if let Some(key) = key(host) {
                seen.entry(key).or_default().1.push(at);
            }
        }
        let mut pairs: Vec<(usize, usize)> = seen
            .into_values()
            .filter_map(
                |(was, is)| if let ([was], [is]) = (&was[..], &is[..]) { Some((*was, *is)) } else { None },
            )
            .collect();
        pairs.sort_unstable();
        self.pairs.extend(pairs.iter().map(|(was, is)| (old[*was], new[*is], by)));
        let (was, is): (Vec<usize>, std::collections::HashSet<usize>) = pairs.into_iter().unzip();
        let was: std::collections::HashSet<usize> = was.into_iter().collect();
        keep(old, |at| !was.contains(&at));
        keep(new, |at| !is.contains(&at));
    }
}

fn keep(hosts: &mut Vec<&Host>, wanted: impl Fn(usize) -> bool) {
    let mut at = 0;
    hosts.retain(|_| {
        at += 1;
        wanted(at - 1)
    });
}
