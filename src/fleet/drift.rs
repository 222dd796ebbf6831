//! What hosts differ in: kernels, page sizes, versions, profiles.

use std::collections::BTreeMap;

use serde::Serialize;

use super::host::{Host, Sym, TRAITS, Words};

/// A value is an outlier where so many hosts have it, or fewer, ...
const FEW_HOSTS: usize = 3;
/// ... or one of so many, or fewer; and never the commonest value.
const ONE_IN: usize = 20;

/// One thing in which hosts may differ.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Drift<'a> {
    /// What: `edgeprep`, `distribution`, `kernel`, `page size`, `architecture`, `profile` or `board`.
    pub what: &'static str,
    /// What hosts have, the commonest first.
    pub values: Vec<Value<'a>>,
}

/// What some hosts have.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Value<'a> {
    /// It; `not known` where reports do not say.
    pub value: &'a str,
    /// How many hosts have it.
    pub count: usize,
    /// The names of those hosts, where so few have it that it may be an accident.
    pub outliers: Vec<String>,
}

/// What all hosts have, one entry for each of [`TRAITS`].
pub(super) fn drift<'a>(hosts: &[Host], words: &'a Words) -> Vec<Drift<'a>> {
    TRAITS.iter().enumerate().map(|(at, what)| Drift { what, values: values(hosts, at, words) }).collect()
}

fn values<'a>(hosts: &[Host], at: usize, words: &'a Words) -> Vec<Value<'a>> {
    let mut by_value: BTreeMap<Sym, Vec<&Host>> = BTreeMap::new();
    for host in hosts {
        by_value.entry(host.traits[at]).or_default().push(host);
    }
    let mut sorted: Vec<(&str, Vec<&Host>)> =
        by_value.into_iter().map(|(value, hosts)| (words.traits.text(value), hosts)).collect();
    sorted.sort_by(|(one, few), (other, many)| (many.len(), *one).cmp(&(few.len(), *other)));
    let most = sorted.first().map_or(0, |(_, hosts)| hosts.len());
    let few = FEW_HOSTS.max(hosts.len() / ONE_IN);
    let outliers = |hosts: &[&Host]| {
        let is_few = hosts.len() <= few && hosts.len() < most;
        if is_few { hosts.iter().map(|host| host.label()).collect() } else { Vec::new() }
    };
    let value = |(value, hosts): (&'a str, Vec<&Host>)| Value {
        value,
        count: hosts.len(),
        outliers: outliers(&hosts),
    };
    sorted.into_iter().map(value).collect()
}
