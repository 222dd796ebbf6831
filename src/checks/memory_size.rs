//! Whether there is enough memory: see [`MEMORY_SIZE`].

use crate::checks::check;
use crate::facts::Facts;
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::requirements::Requirements;

check! {
    /// Memory is large enough
    ///
    /// ## What is looked at
    ///
    /// `MemTotal` of `/proc/meminfo`, which is what firmware, graphics and the kernel itself leave of
    /// the memory: some 1.9 GiB on a board of 2 GiB. One eighth less than what is asked for is
    /// therefore enough.
    ///
    /// ## Why it matters
    ///
    /// With less memory the kernel kills the parts of a cluster in turn, and it never becomes ready.
    ///
    /// ## Repair
    ///
    /// More memory, or a smaller stack. Swap does not count: kubelet does not use it by default.
    ///
    /// ## Sources
    ///
    /// - proc_meminfo(5)
    /// - docs.k3s.io, "Requirements"
    /// - minikube.sigs.k8s.io, "minikube start", "What you'll need"
    /// - kubernetes.io, "Installing kubeadm", "Before you begin", for Usernetes and kind, whose nodes
    ///   kubeadm makes; kind names no figure (site/content/docs/user/resource-requirements.md)
    MEMORY_SIZE, "memory-size", Advised, Host(run)
}

/// What firmware and kernel may keep, as a fraction of what is asked for: of 2 GiB, 256 MiB. The kernel
/// keeps 75 MiB of them in a virtual machine with Debian 13; a Raspberry Pi gives its graphics 76 MiB
/// (`gpu_mem` in config.txt), and a crash kernel has 192 MiB where it is enabled, instead of that.
const KEPT_FRACTION: u64 = 8;
const MIB: u64 = 1 << 20;

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    if !facts.running() {
        return Outcome::skip("the memory of the machine that boots this image is not known");
    }
    let mut outcome = Outcome::default();
    let memory = facts.memory();
    for want in &req.memory_bytes {
        match &memory {
            Ok(memory) => {
                let total = &memory.total_bytes;
                let met = total.value >= want.value - want.value / KEPT_FRACTION;
                let expected = format!("at least {} MiB, less what the kernel keeps", want.value / MIB);
                let found = format!("{} MiB", total.value / MIB);
                let finding = Finding::new("MemTotal", expected, found, Verdict::met_if(met));
                let remedy = Remedy::manual("add memory");
                outcome.add(&want.demand, finding.at([total.at.clone()]).repair(remedy));
            }
            Err(why) => outcome.unknown(&want.demand, "MemTotal", why),
        }
    }
    outcome.or_not_asked()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, empty_host, fixture};
    use crate::requirements::Stack;

    const MEMINFO: &str = "/proc/meminfo";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::K3s]))
    }

    #[test]
    fn a_board_of_2_gib_has_2_gib() {
        assert_eq!(verdicts(&look_at(fixture("debian-13"))), [("MemTotal", Verdict::Met)]);
        for (mib, verdict) in
            [(1849, Verdict::Met), (1792, Verdict::Met), (1791, Verdict::Unmet), (906, Verdict::Unmet)]
        {
            let outcome = look_at(empty_host().file(MEMINFO, format!("MemTotal: {} kB\n", mib * 1024)));
            assert_eq!(verdicts(&outcome), [("MemTotal", verdict)], "{mib} MiB");
            let finding = findings(&outcome)[0];
            assert_eq!((finding.found.clone(), finding.evidence[0].line), (format!("{mib} MiB"), Some(1)));
        }
    }

    #[test]
    fn unknown_and_skipped() {
        assert_eq!(unknown(&look_at(empty_host())), ["/proc/meminfo does not exist"]);
        assert!(look_at(fixture("debian-13").image()).skipped.is_some());
        assert!(run(&fixture("debian-13").facts(), &Requirements::default()).skipped.is_some());
    }
}
