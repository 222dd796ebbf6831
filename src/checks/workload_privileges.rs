//! Whether a workload asks for more than a user has: see [`WORKLOAD_PRIVILEGES`].

use crate::checks::check;
use crate::facts::Facts;
use crate::facts::version::Version;
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::requirements::{Demand, Requirements};
use crate::workload::{Ask, What};

check! {
    /// Workload asks for nothing that takes root on the host
    ///
    /// ## What is looked at
    ///
    /// Sysctls, `hostNetwork` and `privileged` in the files that `--workload` names. A container can set
    /// the sysctls of namespaces that it has of its own: `net.*` unless it has the network of the host,
    /// `fs.mqueue.*`, `kernel.msg*`, `kernel.sem` and `kernel.shm*` unless it has the IPC of the host. Of
    /// these the kubelet of a cluster takes by itself only what it calls safe, such as
    /// `net.ipv4.ip_unprivileged_port_start`, as long as the kernel has it for each namespace; what else
    /// it is told to allow is not looked at.
    ///
    /// ## Why it matters
    ///
    /// Podman stops at a pod with any other sysctl. A cluster does not start it: kubelet ends it with
    /// `SysctlForbidden`, also for a sysctl of a namespace of its own that is not safe. `privileged`
    /// gives a rootless container what the user may do and no more: no module is loaded, and no device
    /// opened that the user cannot open. With `hostNetwork` a pod of `podman kube play` has the network
    /// of the host and binds ports there as the user; a pod of rootless K3s has the network of K3s,
    /// which is not that of the host.
    ///
    /// ## Repair
    ///
    /// A sysctl of the host is taken out of the file and set on the host, by a file in `/etc/sysctl.d`.
    /// One of the pod itself that is not safe is allowed in the kubelet of the node: for K3s with
    /// `--kubelet-arg=allowed-unsafe-sysctls=net.core.somaxconn`, for minikube with
    /// `--extra-config=kubelet.allowed-unsafe-sysctls=...`, for kind in `kubeletExtraArgs`. A container
    /// that needs a device gets the device. What other hosts shall reach in rootless K3s gets a Service
    /// of type LoadBalancer.
    ///
    /// ## Sources
    ///
    /// - podman: pkg/util/utils.go, `ValidateSysctls`; pkg/specgen/generate/security_linux.go
    /// - podman-run(1), "--privileged" and "--sysctl"
    /// - kubernetes.io, "Using sysctls in a Kubernetes Cluster"
    /// - kubernetes: pkg/kubelet/sysctl/safe_sysctls.go and allowlist.go
    /// - k3s: pkg/rootlessports/controller.go
    WORKLOAD_PRIVILEGES, "workload-privileges", Required, Host(run)
}

/// The sysctls of IPC namespaces besides `fs.mqueue.*` (ipc_namespaces(7)).
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// The sysctls that kubelet takes by itself, the first Linux that has each for namespaces, and the first
/// Kubernetes that takes it, where older ones are around (kubernetes.io, "Using sysctls in a Kubernetes
/// Cluster").
const SAFE: [(&str, [u64; 2], &str); 12] = [
    ("kernel.shm_rmid_forced", [0, 0], ""),
    ("net.ipv4.ip_local_port_range", [0, 0], ""),
    ("net.ipv4.tcp_syncookies", [4, 6], ""),
    ("net.ipv4.ping_group_range", [0, 0], ""),
    ("net.ipv4.ip_unprivileged_port_start", [4, 11], ""),
    ("net.ipv4.ip_local_reserved_ports", [3, 16], "1.27"),
    ("net.ipv4.tcp_keepalive_time", [4, 5], "1.29"),
    ("net.ipv4.tcp_fin_timeout", [4, 6], "1.29"),
    ("net.ipv4.tcp_keepalive_intvl", [4, 5], "1.29"),
    ("net.ipv4.tcp_keepalive_probes", [4, 5], "1.29"),
    ("net.ipv4.tcp_rmem", [4, 15], "1.32"),
    ("net.ipv4.tcp_wmem", [4, 15], "1.32"),
];

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let Some(asks) = &req.workload else { return Outcome::skip("no workload is named") };
    let mut outcome = Outcome::default();
    for ask in asks {
        let finding = match &ask.what {
            What::Sysctl { key, value, own_network, own_ipc } => {
                let finding = sysctl(facts, ask, key, value, *own_network, *own_ipc);
                let (podman, clusters) = ask.demand(String::new()).by_podman();
                if let Some(demand) = clusters {
                    match finding.verdict {
                        Verdict::Met => of_kubelet(facts, &demand, ask, key, &mut outcome),
                        _ => outcome.add(&demand, finding.clone()),
                    }
                }
                if let Some(demand) = podman {
                    outcome.add(&demand, finding);
                }
                continue;
            }
            What::Privileged => {
                let found = "privileged, which gives it what the user may do and no more";
                let remedy = Remedy::manual(format!("give it in {} what it needs instead", ask.at));
                Finding::new(&*ask.of, "no more than it needs", found, Verdict::Unmet).repair(remedy)
            }
            What::HostNetwork => {
                let found = "the network of rootless K3s, which is not that of the host";
                let remedy = Remedy::manual("publish its ports with a Service of type LoadBalancer");
                Finding::new(&*ask.of, "the network of the host", found, Verdict::Unmet).repair(remedy)
            }
            _ => continue,
        };
        outcome.add(&ask.demand(String::new()), finding);
    }
    outcome.or_skip("the workload asks for nothing of the kind")
}

fn sysctl(facts: &Facts, ask: &Ask, key: &str, value: &str, own_network: bool, own_ipc: bool) -> Finding {
    let of_ipc = IPC.contains(&key) || key.starts_with("fs.mqueue.");
    let of_network = key.starts_with("net.");
    let expected = "one of a namespace of its own";
    let found = match (of_ipc, of_network) {
        (true, _) if own_ipc => "of its IPC namespace",
        (_, true) if own_network => "of its network namespace",
        (true, _) => "of the host, whose IPC it has: the pod is refused",
        (_, true) => "of the host, whose network it has: the pod is refused",
        _ => "of the host as a whole: the pod is refused",
    };
    let met = of_ipc && own_ipc || of_network && own_network;
    let now = facts.sysctl(key).ok().filter(|_| !met).map(|now| now.at);
    let remedy =
        Remedy::manual(format!("take it out of {}, and set {key} = {value} on the host if need be", ask.at));
    Finding::new(key, expected, found, Verdict::met_if(met)).at(now).repair(remedy)
}

/// Whether kubelet takes a sysctl of a namespace of the pod.
fn of_kubelet(facts: &Facts, demand: &Demand, ask: &Ask, key: &str, outcome: &mut Outcome) {
    let expected = "one that kubelet takes by itself";
    let unmet = |found: String, repair: String| {
        Finding::new(key, expected, found, Verdict::Unmet).repair(Remedy::manual(repair))
    };
    let Some((_, linux, kubernetes)) = SAFE.iter().find(|(safe, ..)| *safe == key) else {
        let repair = format!(
            "allow it in the kubelet of the node (allowed-unsafe-sysctls={key}), or take it out of {}",
            ask.at
        );
        let found = "of a namespace of its own, and not safe to kubelet: the pod is refused".to_owned();
        return outcome.add(demand, unmet(found, repair));
    };
    let linux = Version::new(linux);
    let release = match facts.kernel_release() {
        Ok(release) => release,
        Err(why) => return outcome.unknown(demand, key, why),
    };
    let Some(known) = Version::of_package(&release.value) else {
        return outcome.unknown(demand, key, format!("{}: expected the version of a kernel", release.at));
    };
    let finding = if known < linux {
        let found = format!("one of Linux {linux} and later, and this is {}", release.value);
        unmet(found, format!("run Linux {linux} or later, or take it out of {}", ask.at))
    } else {
        let from =
            if kubernetes.is_empty() { String::new() } else { format!(" from Kubernetes {kubernetes} on") };
        Finding::new(key, expected, format!("one that it takes{from}"), Verdict::Met)
    };
    outcome.add(demand, finding.at([release.at]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts, workload};
    use crate::facts::testing::fixture;
    use crate::finding::Level;
    use crate::requirements::Stack;

    fn look(stack: Stack, spec: &str) -> Outcome {
        let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n{spec}");
        run(&fixture("debian-13").facts(), &workload(&[stack], &text))
    }

    fn sysctls(more: &str, key: &str) -> Outcome {
        let spec =
            format!("  securityContext:\n    sysctls:\n      - name: {key}\n        value: \"1\"\n{more}");
        look(Stack::PodmanKube, &spec)
    }

    #[test]
    fn a_sysctl_is_of_a_namespace_or_of_the_host() {
        for (more, key, verdict) in [
            ("", "net.core.somaxconn", Verdict::Met),
            ("", "net/core/somaxconn", Verdict::Met),
            ("  hostNetwork: true\n", "net.core.somaxconn", Verdict::Unmet),
            ("  hostNetwork: true\n", "kernel.shmmax", Verdict::Met),
            ("  hostIPC: true\n", "kernel.shmmax", Verdict::Unmet),
            ("", "fs.mqueue.msg_max", Verdict::Met),
            ("", "vm.max_map_count", Verdict::Unmet),
            ("", "kernel.pid_max", Verdict::Unmet),
        ] {
            let outcome = sysctls(more, key);
            assert_eq!(verdicts(&outcome)[0].1, verdict, "{more}{key}");
            assert_eq!((outcome.items[0].level, outcome.items[0].asked[0].line), (Level::Required, Some(7)));
        }
        let outcome = sysctls("", "net.core.somaxconn\n        optional: x");
        assert!(findings(&outcome)[0].remedy.summary.is_empty());
        let outcome = sysctls("", "vm.max_map_count");
        let summary = &findings(&outcome)[0].remedy.summary;
        assert_eq!(summary, "take it out of web.yaml:7, and set vm.max_map_count = 1 on the host if need be");
    }

    #[test]
    fn kubelet_takes_what_is_safe() {
        let look = |stack: Stack, key: &str, more: &str| {
            let spec = format!("  securityContext:\n    sysctls: [{{name: {key}, value: \"1\"}}]\n{more}");
            let outcome = look(stack, &spec);
            assert_eq!(outcome.items.len(), 1);
            let finding = findings(&outcome)[0].clone();
            (finding.verdict, finding.found, finding.remedy.summary)
        };
        for stack in [Stack::K3s, Stack::K3d, Stack::Kind, Stack::Minikube, Stack::Usernetes] {
            let (verdict, found, repair) = look(stack, "net.core.somaxconn", "");
            assert_eq!(verdict, Verdict::Unmet, "{stack:?}");
            assert_eq!(found, "of a namespace of its own, and not safe to kubelet: the pod is refused");
            let expected = "allow it in the kubelet of the node (allowed-unsafe-sysctls=net.core.somaxconn), or \
                            take it out of web.yaml:6";
            assert_eq!(repair, expected);
            assert_eq!(look(stack, "net.ipv4.ip_unprivileged_port_start", "").0, Verdict::Met);
        }
        assert_eq!(look(Stack::PodmanKube, "net.core.somaxconn", "").0, Verdict::Met);
        let (verdict, found, _) = look(Stack::Kind, "net.ipv4.tcp_rmem", "");
        assert_eq!((verdict, found.as_str()), (Verdict::Met, "one that it takes from Kubernetes 1.32 on"));
        let of_host = look(Stack::Kind, "net.ipv4.tcp_rmem", "  hostNetwork: true\n");
        assert_eq!(of_host.1, "of the host, whose network it has: the pod is refused");
        let spec = "  securityContext:\n    sysctls: [{name: net.ipv4.tcp_rmem, value: \"1\"}]\n";
        let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n{spec}");
        let req = workload(&[Stack::Kind, Stack::PodmanKube], &text);
        let path = "/proc/sys/kernel/osrelease";
        let old = run(&fixture("debian-13").file(path, "4.9.140-tegra\n").facts(), &req);
        let found = "one of Linux 4.15 and later, and this is 4.9.140-tegra";
        assert_eq!((verdicts(&old).len(), findings(&old)[0].found.as_str()), (2, found));
        let closed = run(&fixture("debian-13").error(path, "denied").facts(), &req);
        assert_eq!(unknown(&closed), [format!("{path} is not readable as this user")]);
    }

    #[test]
    fn privileged_is_no_more_than_the_user() {
        let spec = "  containers:\n    - image: a\n      securityContext: {privileged: true}\n";
        let outcome = look(Stack::Podman, spec);
        assert_eq!(
            (verdicts(&outcome), outcome.items[0].level),
            (vec![("Pod web", Verdict::Unmet)], Level::Advised)
        );
        assert!(look(Stack::Podman, &spec.replace("true", "false")).skipped.is_some());
    }

    #[test]
    fn only_podman_has_the_network_of_the_host() {
        assert!(look(Stack::PodmanKube, "  hostNetwork: true\n").skipped.is_some());
        let outcome = look(Stack::K3s, "  hostNetwork: true\n");
        assert_eq!((verdicts(&outcome)[0].1, outcome.items[0].level), (Verdict::Unmet, Level::Advised));
        assert!(look(Stack::Kind, "  hostNetwork: true\n").skipped.is_some());
        assert!(run(&fixture("debian-13").facts(), &requirements(&[Stack::K3s])).skipped.is_some());
    }
}
