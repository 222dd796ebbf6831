//! Whether a workload fits into the memory: see [`WORKLOAD_MEMORY`].

use std::collections::BTreeMap;

use crate::checks::check;
use crate::facts::Facts;
use crate::finding::{Finding, Level, Outcome, Remedy, Verdict};
use crate::requirements::{Demand, Requirements, Stack};
use crate::workload::{Ask, What};

check! {
    /// Memory is large enough for what the workload asks for
    ///
    /// ## What is looked at
    ///
    /// The memory that the pods of all files ask for together: requests, and limits where there are no
    /// requests, of all copies where a cluster makes several. It is held against `MemTotal` of
    /// `/proc/meminfo`. What the stack needs for itself is the business of `memory-size`.
    ///
    /// ## Why it matters
    ///
    /// Kubernetes leaves a pod pending whose requests do not fit into what the others leave. Podman
    /// starts it all the same, and the kernel kills what is too much; so to Podman it is advised.
    ///
    /// ## Repair
    ///
    /// More memory, smaller requests, or fewer copies.
    ///
    /// ## Sources
    ///
    /// - kubernetes.io, "Resource Management for Pods and Containers"
    /// - kubernetes.io, "Init Containers", "Resource sharing within containers"
    /// - podman: pkg/domain/infra/abi/play.go, `playKubeDeployment`
    /// - proc_meminfo(5)
    WORKLOAD_MEMORY, "workload-memory", Required, Host(run)
}

const MIB: u64 = 1 << 20;

/// What is asked of one stack.
#[derive(Default, PartialEq)]
struct Sum<'a> {
    bytes: u64,
    asks: Vec<&'a Ask>,
}

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let Some(asks) = &req.workload else { return Outcome::skip("no workload is named") };
    let mut sums: BTreeMap<(Level, Stack), Sum> = BTreeMap::new();
    for ask in asks {
        let What::Memory(bytes) = ask.what else { continue };
        for stack in &ask.stacks {
            let sum = sums.entry((ask.level, *stack)).or_default();
            sum.bytes = sum.bytes.saturating_add(bytes);
            sum.asks.push(ask);
        }
    }
    if sums.is_empty() {
        return Outcome::skip("the workload asks for no memory");
    }
    if !facts.running() {
        return Outcome::skip("the memory of the machine that boots this image is not known");
    }
    // Stacks that ask for the same have one finding.
    let mut groups: Vec<(Vec<Stack>, Sum)> = Vec::new();
    for ((_, stack), sum) in sums {
        match groups.iter_mut().find(|(_, known)| *known == sum) {
            Some((stacks, _)) => stacks.push(stack),
            None => groups.push((vec![stack], sum)),
        }
    }
    let memory = facts.memory();
    let mut outcome = Outcome::default();
    for (stacks, sum) in groups {
        let Some(first) = sum.asks.first() else { continue };
        let asked = sum.asks.iter().map(|ask| ask.at.clone()).collect();
        let demand = Demand { stacks, asked, ..first.demand("the sum of all pods".to_owned()) };
        match &memory {
            Ok(memory) => {
                let total = &memory.total_bytes;
                let expected = format!("at least {} MiB for the workload", sum.bytes.div_ceil(MIB));
                let found = format!("{} MiB", total.value / MIB);
                let verdict = Verdict::met_if(total.value >= sum.bytes);
                let finding = Finding::new("MemTotal", expected, found, verdict).at([total.at.clone()]);
                let remedy = Remedy::manual("add memory, or have the workload ask for less");
                outcome.add(&demand, finding.repair(remedy));
            }
            Err(why) => outcome.unknown(&demand, "MemTotal", why),
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts, workload};
    use crate::facts::testing::{empty_host, fixture};

    fn deployment(replicas: u32, resources: &str) -> String {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: {replicas}\n  \
             template:\n    spec:\n      containers:\n        - image: a\n          resources: {resources}\n---\n"
        )
    }

    #[test]
    fn a_cluster_makes_all_copies_and_podman_one() {
        let text = deployment(3, "{limits: {memory: 1Gi}}");
        let host = || empty_host().file("/proc/meminfo", "MemTotal: 2097152 kB\n");
        let outcome = run(&host().facts(), &workload(&[Stack::PodmanKube, Stack::K3s, Stack::Kind], &text));
        assert_eq!(verdicts(&outcome), [("MemTotal", Verdict::Met), ("MemTotal", Verdict::Unmet)]);
        let (podman, cluster) = (&outcome.items[0], &outcome.items[1]);
        assert_eq!((podman.level, &podman.stacks[..]), (Level::Advised, &[Stack::PodmanKube][..]));
        assert_eq!((cluster.level, &cluster.stacks[..]), (Level::Required, &[Stack::K3s, Stack::Kind][..]));
        assert_eq!(findings(&outcome)[1].expected, "at least 3072 MiB for the workload");
        assert_eq!(findings(&outcome)[1].evidence[0].to_string(), "/proc/meminfo:1");
        assert_eq!(cluster.asked[0].to_string(), "web.yaml:10");
    }

    #[test]
    fn files_are_summed_and_requests_come_before_limits() {
        let one = deployment(1, "{requests: {memory: 1Gi}, limits: {memory: 8Gi}}");
        let text = format!("{one}{}", one.replace("web", "api"));
        let host = empty_host().file("/proc/meminfo", "MemTotal: 2097152 kB\n");
        let outcome = run(&host.facts(), &workload(&[Stack::K3s], &text));
        assert_eq!(verdicts(&outcome), [("MemTotal", Verdict::Met)]);
        assert_eq!(outcome.items[0].asked.len(), 2);
    }

    #[test]
    fn unknown_and_skipped() {
        let req = workload(&[Stack::K3s], &deployment(1, "{limits: {memory: 1Gi}}"));
        assert_eq!(unknown(&run(&empty_host().facts(), &req)), ["/proc/meminfo does not exist"]);
        assert!(run(&fixture("debian-13").image().facts(), &req).skipped.is_some());
        let nothing = workload(&[Stack::K3s], &deployment(1, "{}"));
        assert!(run(&fixture("debian-13").facts(), &nothing).skipped.is_some());
        assert!(run(&fixture("debian-13").facts(), &requirements(&[Stack::K3s])).skipped.is_some());
    }
}
