//! What the page's script makes the list of hosts of.

use std::collections::HashMap;

use super::html::class;
use super::human::verdict;
use crate::fleet::{CheckSum, Fleet, HostRow, State, TRAITS};
use crate::render::printable;

/// What the script makes the list of hosts of: in arrays, as 10,000 hosts are many.
pub(super) fn data(fleet: &Fleet, open: &[&CheckSum]) -> serde_json::Value {
    let number: HashMap<&str, usize> = open.iter().enumerate().map(|(at, check)| (check.id, at)).collect();
    let mut values: Vec<Vec<&str>> = vec![Vec::new(); TRAITS.len()];
    let mut known: Vec<HashMap<&str, usize>> = vec![HashMap::new(); TRAITS.len()];
    let mut states: Vec<String> = Vec::new();
    let mut known_states: HashMap<String, usize> = HashMap::new();
    let mut hosts = Vec::new();
    for (at, host) in fleet.hosts.iter().enumerate() {
        let marks: String = open.iter().map(|check| check.states.get(at).map_or('.', |s| s.mark())).collect();
        let state = *known_states.entry(marks).or_insert_with_key(|marks| {
            states.push(marks.clone());
            states.len() - 1
        });
        let traits: Vec<usize> = TRAITS
            .iter()
            .enumerate()
            .map(|(kind, name)| {
                let value = host.traits.get(name).copied().unwrap_or_default();
                *known[kind].entry(value).or_insert_with(|| {
                    values[kind].push(value);
                    values[kind].len() - 1
                })
            })
            .collect();
        let stacks: String = fleet.stacks.iter().map(|stack| stack_mark(host, stack.name)).collect();
        hosts.push(serde_json::json!([
            printable(&Fleet::label(host)),
            host.group,
            stacks,
            traits,
            state,
            printable(&host.report.to_string())
        ]));
    }
    let groups = fleet.groups.iter().map(|group| {
        let blockers: Vec<usize> = group.blockers.iter().filter_map(|id| number.get(id).copied()).collect();
        let repairs: Vec<serde_json::Value> = group
            .repairs
            .iter()
            .filter_map(|repair| {
                let check = number.get(repair.check)?;
                Some(serde_json::json!([check, repair.fixable, printable(repair.summary)]))
            })
            .collect();
        serde_json::json!([class(group.verdict).1, verdict(group.verdict, group.needs), blockers, repairs])
    });
    let texts = |all: &[&str]| all.iter().map(|text| printable(text)).collect::<Vec<_>>();
    let traits: Vec<_> = TRAITS.iter().zip(&values).map(|(name, values)| (name, texts(values))).collect();
    serde_json::json!({
        "checks": open.iter().map(|check| check.id).collect::<Vec<_>>(),
        "stacks": fleet.stacks.iter().map(|stack| printable(stack.name)).collect::<Vec<_>>(),
        "traits": traits,
        "groups": groups.collect::<Vec<_>>(),
        "states": states,
        "hosts": hosts,
    })
}

fn stack_mark(host: &HostRow, stack: &str) -> char {
    host.stacks.get(stack).map_or(State::Skip.mark(), |verdict| class(*verdict).1)
}
