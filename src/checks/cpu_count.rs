//! Whether there are enough processors: see [`CPU_COUNT`].

use crate::checks::check;
use crate::facts::Facts;
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::requirements::Requirements;

check! {
    /// Enough processors are online
    ///
    /// ## What is looked at
    ///
    /// The list in `/sys/devices/system/cpu/online`.
    ///
    /// ## Why it matters
    ///
    /// kubeadm, and with it minikube and Usernetes, refuses to start on fewer than two processors.
    /// K3s starts on one and is slow.
    ///
    /// ## Repair
    ///
    /// Give a virtual machine more processors; on a board, `maxcpus=` or `nr_cpus=` on the kernel
    /// command line can hold some back.
    ///
    /// ## Sources
    ///
    /// - Linux: Documentation/admin-guide/cputopology.rst
    /// - kubeadm: cmd/kubeadm/app/preflight/checks.go, `NumCPUCheck`
    /// - docs.k3s.io, "Requirements"
    CPU_COUNT, "cpu-count", Required, Host(run)
}

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    if !facts.running() {
        return Outcome::skip("the processors of the machine that boots this image are not known");
    }
    let mut outcome = Outcome::default();
    let cpus = facts.cpus();
    for want in &req.cpus {
        match &cpus {
            Ok(cpus) => {
                let verdict = Verdict::met_if(u64::from(cpus.value) >= want.value);
                let expected = format!("at least {}", want.value);
                let finding = Finding::new("processors", expected, cpus.value.to_string(), verdict);
                let remedy = Remedy::manual("use a machine with more processors");
                outcome.add(&want.demand, finding.at([cpus.at.clone()]).repair(remedy));
            }
            Err(why) => outcome.unknown(&want.demand, "processors", why),
        }
    }
    outcome.or_not_asked()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::Evidence;
    use crate::facts::testing::{TestHost, empty_host, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const ONLINE: &str = "/sys/devices/system/cpu/online";

    fn look_at(host: TestHost, stack: Stack) -> Outcome {
        run(&host.facts(), &requirements(&[stack]))
    }

    #[test]
    fn processors_that_are_online_count() {
        assert_eq!(verdicts(&look_at(fixture("debian-13"), Stack::K3s)), [("processors", Verdict::Met)]);
        let one = look_at(fixture("debian-13").file(ONLINE, "0\n"), Stack::Minikube);
        assert_eq!(verdicts(&one), [("processors", Verdict::Unmet)]);
        let finding = findings(&one)[0];
        assert_eq!((finding.expected.as_str(), finding.found.as_str()), ("at least 2", "1"));
        assert_eq!(finding.evidence, [Evidence::line(ONLINE, 1, "0")]);
        assert_eq!(one.items[0].level, Level::Required);
        let holes = look_at(fixture("debian-13").file(ONLINE, "0,2\n"), Stack::Minikube);
        assert_eq!(verdicts(&holes), [("processors", Verdict::Met)]);
    }

    #[test]
    fn unknown_and_skipped() {
        let malformed = look_at(empty_host().file(ONLINE, "all\n"), Stack::K3s);
        assert_eq!(unknown(&malformed), ["/sys/devices/system/cpu/online:1: expected a list such as 0-3,5"]);
        assert!(look_at(fixture("debian-13").image(), Stack::K3s).skipped.is_some());
        assert!(look_at(fixture("debian-13"), Stack::Podman).skipped.is_some());
    }
}
