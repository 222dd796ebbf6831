//! Whether the kernel is built with what containers take: see [`KERNEL_OPTIONS`].

use crate::checks::check;
use crate::facts::cgroup::Controller;
use crate::facts::kernel::Kernel;
use crate::facts::kernel_config::KernelConfig;
use crate::facts::module_options::module_of;
use crate::facts::module_state::ModuleState;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent};
use crate::requirements::Requirements;

check! {
    /// Kernel is built with what containers take
    ///
    /// ## What is looked at
    ///
    /// The configuration of the running kernel, in an image that of every kernel: `/proc/config.gz`,
    /// `/boot/config-RELEASE` or the file beside its modules. An option counts when it is `y` or `m`;
    /// whether the module is installed is another check's matter.
    ///
    /// Many kernels ship no configuration. On a running host, options then count that can be seen at
    /// work: namespaces in `/proc/self/ns`, seccomp, keys and message queues in `/proc/sys`, control
    /// groups by their controllers, drivers by their modules. What cannot be seen is unknown, never
    /// missing: it may be there all the same.
    ///
    /// ## Why it matters
    ///
    /// Kernels of boards are often built without cgroup controllers, user namespaces or netfilter
    /// modules, and no package adds them.
    ///
    /// ## Repair
    ///
    /// Use a kernel of the distribution, or build this one with the option.
    ///
    /// ## Sources
    ///
    /// - Linux: Documentation/kbuild/kconfig.rst
    /// - moby: contrib/check-config.sh; k3s: contrib/util/check-config.sh
    /// - kubeadm: issues 501 and 1351, where an unreadable configuration was taken for a missing option
    KERNEL_OPTIONS, "kernel-options", Required, Host(run)
}

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let mut outcome = Outcome::default();
    let kernels = facts.counting_kernels();
    if kernels.as_ref().is_ok_and(Vec::is_empty) {
        return Outcome::skip("no kernel is installed in this image");
    }
    for (group, demands) in &req.kernel_options {
        let subject = group.iter().map(|option| format!("CONFIG_{option}")).collect::<Vec<_>>().join(" or ");
        let looked =
            kernels.as_ref().map_err(ToString::to_string).and_then(|all| look(facts, all, &subject, group));
        match looked {
            Ok(finding) => outcome.add_all(demands, &finding),
            Err(doubt) => outcome.unknown_all(demands, &subject, &doubt),
        }
    }
    outcome.or_skip("no chosen stack asks for an option")
}

/// The finding on a group of options of which one is enough, or what leaves it open.
fn look(facts: &Facts, kernels: &[Kernel], subject: &str, group: &[String]) -> Result<Finding, String> {
    let mut evidence = Vec::new();
    let mut lacking: Vec<(&str, Vec<Evidence>)> = Vec::new();
    let mut doubt = None;
    for kernel in kernels {
        match facts.kernel_config(&kernel.release) {
            Ok(config) => match set(&config, group) {
                Some(at) => evidence.push(at),
                None => lacking
                    .push((&kernel.release, group.iter().map(|option| not_set(&config, option)).collect())),
            },
            Err(why) => match at_work(facts, kernel, group).map_err(|why| why.to_string())? {
                Some(at) => evidence.push(at),
                None => {
                    let why = match why.is_absent() {
                        true => format!("no configuration of Linux {} is readable", kernel.release),
                        false => why.to_string(),
                    };
                    doubt = doubt.or(Some(why));
                }
            },
        }
    }
    if lacking.is_empty() {
        return match doubt {
            Some(doubt) => Err(doubt),
            None => Ok(Finding::new(subject, "y or m", value(&evidence), Verdict::Met).at(evidence)),
        };
    }
    let releases: Vec<&str> = lacking.iter().map(|(release, _)| *release).collect();
    let found = match kernels.len() {
        1 => "not set".to_owned(),
        _ => format!("not set on {}", releases.join(", ")),
    };
    let remedy = Remedy::manual(format!("use a kernel that is built with {subject}"));
    let at = lacking.into_iter().flat_map(|(_, at)| at);
    Ok(Finding::new(subject, "y or m", found, Verdict::Unmet).at(at).repair(remedy))
}

/// `y` or `m` as the one kernel has it.
fn value(evidence: &[Evidence]) -> String {
    match evidence {
        [one] => match one.text.strip_prefix("CONFIG_").and_then(|text| text.split_once('=')) {
            Some((_, value)) => value.to_owned(),
            None => "seen at work".to_owned(),
        },
        _ => "y or m".to_owned(),
    }
}

fn set(config: &KernelConfig, group: &[String]) -> Option<Evidence> {
    group
        .iter()
        .filter(|option| config.is_set(option))
        .find_map(|option| config.get(option))
        .map(|found| found.at)
}

fn not_set(config: &KernelConfig, option: &str) -> Evidence {
    match config.get(option) {
        Some(found) => found.at,
        None => Evidence::path(config.path(), format!("CONFIG_{option} is not in it")),
    }
}

/// What shows one of these options at work in the running kernel.
fn at_work(facts: &Facts, kernel: &Kernel, group: &[String]) -> Fact<Option<Evidence>> {
    for option in group {
        let seen = match option.as_str() {
            // Each kernel has a mount namespace; the others have options.
            "NAMESPACES" | "UTS_NS" => exists(facts, kernel, "/proc/self/ns/uts")?,
            "USER_NS" => exists(facts, kernel, "/proc/self/ns/user")?,
            "PID_NS" => exists(facts, kernel, "/proc/self/ns/pid")?,
            "NET_NS" => exists(facts, kernel, "/proc/self/ns/net")?,
            "IPC_NS" => exists(facts, kernel, "/proc/self/ns/ipc")?,
            "SECCOMP" | "SECCOMP_FILTER" => exists(facts, kernel, "/proc/sys/kernel/seccomp/actions_avail")?,
            "KEYS" => exists(facts, kernel, "/proc/sys/kernel/keys/maxkeys")?,
            "POSIX_MQUEUE" => exists(facts, kernel, "/proc/sys/fs/mqueue/queues_max")?,
            // The bandwidth controller adds a file to each cgroup that has the cpu controller.
            "CFS_BANDWIDTH" => exists(facts, kernel, "/sys/fs/cgroup/user.slice/cpu.max")?,
            "CGROUPS" if kernel.running => {
                (*facts.cgroup_hierarchy()?).as_ref().map(|found| found.at.clone())
            }
            "CGROUP_SCHED" => controller(facts, kernel, Controller::Cpu)?,
            "CPUSETS" => controller(facts, kernel, Controller::Cpuset)?,
            "BLK_CGROUP" => controller(facts, kernel, Controller::Io)?,
            "MEMCG" => controller(facts, kernel, Controller::Memory)?,
            "CGROUP_PIDS" => controller(facts, kernel, Controller::Pids)?,
            option => module(facts, kernel, option)?,
        };
        if seen.is_some() {
            return Ok(seen);
        }
    }
    Ok(None)
}

fn exists(facts: &Facts, kernel: &Kernel, path: &str) -> Fact<Option<Evidence>> {
    if !kernel.running {
        return Ok(None);
    }
    Ok(facts.stat(path).or_absent()?.map(|_| Evidence::path(path, "")))
}

fn controller(facts: &Facts, kernel: &Kernel, controller: Controller) -> Fact<Option<Evidence>> {
    if !kernel.running {
        return Ok(None);
    }
    let root = facts.root_controllers().or_absent()?;
    Ok(root.filter(|root| root.value.contains(&controller)).map(|root| root.at.clone()))
}

/// The module that is only there when `option` is on, in an image, too.
fn module(facts: &Facts, kernel: &Kernel, option: &str) -> Fact<Option<Evidence>> {
    let Some(name) = module_of(option) else { return Ok(None) };
    // Without a configuration, a modules directory is what is left to look at.
    Ok(match facts.module_state(kernel, &[name], name)? {
        ModuleState::Loaded(at, _) | ModuleState::BuiltIn(at) => Some(at),
        ModuleState::Loadable(files) => files.into_iter().next().map(|file| file.at),
        ModuleState::Missing(..) | ModuleState::Unseen => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, empty_host, fixture};
    use crate::requirements::Stack;

    const CONFIG: &str = "/boot/config-6.12.117+deb13-cloud-amd64";
    const DIR: &str = "/usr/lib/modules/6.12.117+deb13-cloud-amd64";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::K3s]))
    }

    fn not_met(outcome: &Outcome) -> Vec<(&str, Verdict)> {
        verdicts(outcome).into_iter().filter(|(_, verdict)| *verdict != Verdict::Met).collect()
    }

    /// What is unknown.
    fn open(outcome: &Outcome) -> Vec<String> {
        use crate::finding::Answer;
        let subjects = outcome.items.iter().filter_map(|item| match &item.answer {
            Answer::Unknown { subject, .. } => Some(subject.clone()),
            Answer::Found(_) => None,
        });
        subjects.collect()
    }

    #[test]
    fn the_kernel_of_a_distribution_has_them_all() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!((not_met(&outcome), unknown(&outcome)), (vec![], vec![]));
        let user_ns = findings(&outcome).into_iter().find(|f| f.subject == "CONFIG_USER_NS").unwrap();
        assert_eq!(
            (&*user_ns.evidence[0].path, user_ns.evidence[0].text.as_str()),
            (CONFIG, "CONFIG_USER_NS=y")
        );
        assert!(user_ns.evidence[0].line.is_some() && user_ns.found == "y");
    }

    #[test]
    fn off_and_not_mentioned() {
        let host = fixture("debian-13").edit(CONFIG, "CONFIG_MEMCG=y", "# CONFIG_MEMCG is not set").edit(
            CONFIG,
            "CONFIG_VETH=m\n",
            "",
        );
        let outcome = look_at(host);
        assert_eq!(not_met(&outcome), [("CONFIG_MEMCG", Verdict::Unmet), ("CONFIG_VETH", Verdict::Unmet)]);
        let of = |name| findings(&outcome).into_iter().find(|f| f.subject == name).unwrap();
        assert_eq!(of("CONFIG_MEMCG").evidence[0].text, "# CONFIG_MEMCG is not set");
        assert_eq!(of("CONFIG_VETH").evidence, [Evidence::path(CONFIG, "CONFIG_VETH is not in it")]);
        assert_eq!(of("CONFIG_VETH").remedy.summary, "use a kernel that is built with CONFIG_VETH");
    }

    #[test]
    fn one_of_a_group_is_enough() {
        let group = "CONFIG_NF_TABLES or CONFIG_IP_NF_IPTABLES";
        let without = |option: &str| fixture("debian-13").edit(CONFIG, &format!("{option}=m\n"), "");
        assert_eq!(not_met(&look_at(without("CONFIG_NF_TABLES"))), []);
        let neither = without("CONFIG_NF_TABLES").edit(CONFIG, "CONFIG_IP_NF_IPTABLES=m\n", "");
        assert_eq!(not_met(&look_at(neither)), [(group, Verdict::Unmet)]);
    }

    /// Everything that a kernel shows of itself, but not its configuration.
    fn without_configuration() -> TestHost {
        let shown = [
            "/proc/self/ns/uts",
            "/proc/self/ns/user",
            "/proc/self/ns/pid",
            "/proc/self/ns/net",
            "/proc/self/ns/ipc",
            "/proc/sys/kernel/seccomp/actions_avail",
            "/proc/sys/fs/mqueue/queues_max",
            "/sys/fs/cgroup/user.slice/cpu.max",
        ];
        let host = shown.iter().fold(fixture("debian-13").without(CONFIG), |host, path| host.file(path, ""));
        [
            "drivers/net/veth",
            "drivers/net/vxlan/vxlan",
            "net/bridge/bridge",
            "net/bridge/br_netfilter",
            "net/netfilter/nf_tables",
            "net/netfilter/xt_comment",
            "net/netfilter/xt_multiport",
            "net/netfilter/xt_statistic",
        ]
        .iter()
        .fold(host, |host, name| host.file(&format!("{DIR}/kernel/{name}.ko.xz"), ""))
    }

    #[test]
    fn without_a_configuration_the_kernel_shows_itself() {
        let outcome = look_at(without_configuration());
        // Nothing in /proc or /sys shows this one.
        assert_eq!(open(&outcome), ["CONFIG_CGROUP_BPF"]);
        assert_eq!(unknown(&outcome), ["no configuration of Linux 6.12.117+deb13-cloud-amd64 is readable"]);
        assert_eq!(not_met(&outcome), []);
        let of = |name| findings(&outcome).into_iter().find(|f| f.subject == name).unwrap();
        assert_eq!(&*of("CONFIG_USER_NS").evidence[0].path, "/proc/self/ns/user");
        assert_eq!(of("CONFIG_USER_NS").found, "seen at work");
        assert_eq!(&*of("CONFIG_MEMCG").evidence[0].path, "/sys/fs/cgroup/cgroup.controllers");
        let denied = look_at(without_configuration().error(CONFIG, "denied"));
        assert_eq!(unknown(&denied), [format!("{CONFIG} is not readable as this user")]);
    }

    #[test]
    fn what_does_not_show_is_unknown_and_not_missing() {
        let outcome = look_at(
            without_configuration().without("/proc/self/ns/user").without(&format!("{DIR}/modules.dep")),
        );
        assert_eq!(not_met(&outcome), []);
        assert!(open(&outcome).contains(&"CONFIG_USER_NS".to_owned()));
    }

    #[test]
    fn an_image_has_the_configuration_of_each_kernel() {
        let image = || fixture("debian-13").image();
        assert_eq!(not_met(&look_at(image())), []);
        let second = || image().file("/usr/lib/modules/6.1.0/modules.builtin", "");
        let outcome = look_at(second().file("/boot/config-6.1.0", "CONFIG_NAMESPACES=y\n"));
        let user_ns = findings(&outcome).into_iter().find(|f| f.subject == "CONFIG_USER_NS").unwrap();
        assert_eq!(user_ns.found, "not set on 6.1.0");
        let outcome = look_at(second());
        assert!(unknown(&outcome).iter().all(|why| *why == "no configuration of Linux 6.1.0 is readable"));
        assert!(look_at(empty_host().image()).skipped.is_some());
    }

    #[test]
    fn nobody_asks() {
        assert!(run(&fixture("debian-13").facts(), &Requirements::default()).skipped.is_some());
    }
}
