//! What no host can see of itself: that another one has its machine-id, its name, or the network of its node.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::host::{Host, Source, Words};

/// The stack whose nodes have a network that is made of the host's name.
const OF_NODES: &str = "usernetes";

/// Hosts that have in common what each should have alone.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Shared<'a> {
    /// What they have in common.
    pub value: &'a str,
    /// The names of the hosts.
    pub hosts: Vec<String>,
    /// Their reports.
    pub reports: Vec<&'a Source>,
}

/// Hosts of different names whose nodes Usernetes gives the same network: in one cluster they cannot be.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NodeSubnet<'a> {
    /// The network.
    pub subnet: &'a str,
    /// The names of the hosts, each once.
    pub hosts: Vec<&'a str>,
}

/// Machine-ids of several hosts, by their hashes; most hosts first. Images have none of their own yet.
pub(super) fn machine_ids(hosts: &[Host]) -> Vec<Shared<'_>> {
    shared(hosts, |host| host.machine_id.as_deref())
}

/// Names of several hosts; most hosts first.
pub(super) fn names(hosts: &[Host]) -> Vec<Shared<'_>> {
    shared(hosts, |host| host.name.as_deref())
}

fn shared<'a>(hosts: &'a [Host], of: impl Fn(&'a Host) -> Option<&'a str>) -> Vec<Shared<'a>> {
    let mut by_value: HashMap<&str, Vec<&Host>> = HashMap::new();
    for host in hosts.iter().filter(|host| !host.image) {
        if let Some(value) = of(host) {
            by_value.entry(value).or_default().push(host);
        }
    }
    let mut shared: Vec<Shared> = by_value
        .into_iter()
        .filter(|(_, hosts)| hosts.len() > 1)
        .map(|(value, hosts)| Shared {
            value,
            hosts: hosts.iter().map(|host| host.label()).collect(),
            reports: hosts.iter().map(|host| &host.source).collect(),
        })
        .collect();
    shared.sort_by(|one, other| (other.hosts.len(), one.value).cmp(&(one.hosts.len(), other.value)));
    shared
}

/// Networks of several nodes, of hosts that are to run Usernetes.
pub(super) fn node_subnets<'a>(hosts: &'a [Host], words: &Words) -> Vec<NodeSubnet<'a>> {
    let mut by_subnet: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for host in hosts.iter().filter(|host| !host.image) {
        let has_node = host.stacks.iter().any(|stack| words.stacks.text(stack.name) == OF_NODES);
        if let (true, Some(subnet), Some(name)) = (has_node, &host.node_subnet, &host.name) {
            by_subnet.entry(subnet).or_default().push(name);
        }
    }
    let mut subnets: Vec<NodeSubnet> = by_subnet
        .into_iter()
        .map(|(subnet, mut hosts)| {
            hosts.sort_unstable();
            hosts.dedup();
            NodeSubnet { subnet, hosts }
        })
        .filter(|node| node.hosts.len() > 1)
        .collect();
    subnets.sort_by_key(|node| std::cmp::Reverse(node.hosts.len()));
    subnets
}
