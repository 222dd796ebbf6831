//! Whether bridged packets go through iptables: see [`BRIDGE_NETFILTER`].

use crate::checks::check;
use crate::checks::sysctl_values::{Wanted, judge_all};
use crate::facts::Facts;
use crate::facts::kernel::KernelVersion;
use crate::finding::Outcome;
use crate::requirements::{Requirements, Want};

check! {
    /// Packets between pods on one node go through the service rules
    ///
    /// ## What is looked at
    ///
    /// `net.bridge.bridge-nf-call-iptables`, which exists once the module br_netfilter is loaded. Since
    /// Linux 5.3 each network namespace has its own, and a new one starts with 1 whatever the host
    /// has; before, the host's value holds.
    ///
    /// ## Why it matters
    ///
    /// Pods of one node talk over a bridge. Without it their packets to a service address do not go
    /// through the rules that kube-proxy writes, and services answer from some pods and not from
    /// others. No module can be loaded from inside a user namespace, so the host has to have it.
    ///
    /// ## Repair
    ///
    /// `br_netfilter` in `/etc/modules-load.d`; on kernels before 5.3 also the key in
    /// `/etc/sysctl.d/90-rootless.conf`. systemd loads modules before it sets sysctls.
    ///
    /// ## Sources
    ///
    /// - Linux: net/bridge/br_netfilter_hooks.c, `br_netfilter_sysctl_init_net`
    /// - k3s: pkg/agent/syssetup/setup.go
    BRIDGE_NETFILTER, "bridge-netfilter", Advised, Host(run)
}

/// What this check judges.
pub(super) const KEYS: [&str; 1] = ["net.bridge.bridge-nf-call-iptables"];

/// Since then a network namespace has the key for itself.
const PER_NAMESPACE: KernelVersion = KernelVersion::new(5, 3, 0);

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    if !per_namespace(facts) {
        return judge_all(facts, req, &KEYS);
    }
    let Some(want) = req.sysctls.get(KEYS[0]) else { return Outcome::not_asked() };
    let mut outcome = Outcome::default();
    for Want { value: rule, demand } in &want.rules {
        let wanted = Wanted {
            expected: format!("{rule} in a new network namespace"),
            // The host's own value does not matter, only that there is one.
            allows: Box::new(|_| true),
            ..Wanted::new(KEYS[0], want, rule)
        };
        wanted.judge(facts, demand, &mut outcome);
    }
    outcome
}

/// Whether every kernel that can be meant is one of those.
fn per_namespace(facts: &Facts) -> bool {
    let running = facts.running();
    facts.kernels().is_ok_and(|kernels| {
        let mut meant = kernels.iter().filter(|kernel| kernel.running || !running).peekable();
        meant.peek().is_some()
            && meant.all(|kernel| kernel.version().is_some_and(|version| version >= PER_NAMESPACE))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::Evidence;
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::{Needs, Verdict};
    use crate::requirements::Stack;
    use crate::settings::Setting;

    const NOW: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::K3s]))
    }

    #[test]
    fn without_the_module_there_is_no_key() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [(KEYS[0], Verdict::Unmet)]);
        let found = findings(&outcome)[0];
        assert_eq!(found.found, "br_netfilter is not loaded");
        assert_eq!(found.evidence[0].to_string(), NOW);
        assert_eq!(found.remedy.settings, [Setting::Module("br_netfilter".to_owned())]);
        let configured = fixture("debian-13").file("/etc/modules-load.d/k3s.conf", "br-netfilter\n");
        let outcome = look_at(configured);
        assert_eq!(verdicts(&outcome), [(KEYS[0], Verdict::Pending(Needs::None))]);
        assert_eq!(findings(&outcome)[0].evidence[1].to_string(), "/etc/modules-load.d/k3s.conf:1");
    }

    #[test]
    fn in_an_image_something_has_to_load_the_module() {
        let module = || Setting::Module("br_netfilter".to_owned());
        let looked = |host: TestHost| findings(&look_at(host.image()))[0].clone();
        let none = looked(fixture("debian-13"));
        assert_eq!((none.verdict, none.found.as_str()), (Verdict::Unmet, "nothing loads br_netfilter"));
        let nowhere = Evidence::path("/etc/modules-load.d", "no line br_netfilter, nor in /run or /usr/lib");
        assert_eq!(none.evidence, [nowhere]);
        assert_eq!(none.remedy.settings, [module()]);
        assert_eq!(none.remedy.summary, "load br_netfilter, which brings the key");
        let built_in = "kernel/net/bridge/br_netfilter.ko\n";
        let modules = "/usr/lib/modules/6.12.117+deb13-cloud-amd64/modules.builtin";
        assert_eq!(looked(fixture("debian-13").append(modules, built_in)).verdict, Verdict::Met);
        let configured = fixture("debian-13").file("/etc/modules-load.d/k3s.conf", "br-netfilter\n");
        let met = looked(configured);
        assert_eq!((met.verdict, met.found.as_str()), (Verdict::Met, "1"));
        let at: Vec<String> = met.evidence.iter().map(Evidence::to_string).collect();
        assert_eq!(at, [NOW, "/etc/modules-load.d/k3s.conf:1"]);
        assert_eq!(met.evidence[0].text, "the kernel starts with 1");

        // Before 5.3 the value of the host is that of the pods, and any kernel may be booted.
        let off = |name: &str| {
            let conf = format!("{}=0\n", KEYS[0]);
            let old = fixture("debian-13").file("/usr/lib/modules/4.19.0-27-amd64/modules.builtin", "");
            looked(old.file(&format!("/etc/sysctl.d/{name}"), conf))
        };
        let early = off("10-a.conf");
        assert_eq!((early.found.as_str(), early.evidence.len()), ("nothing loads br_netfilter", 2));
        assert_eq!(early.evidence[1].to_string(), "/etc/sysctl.d/10-a.conf:1");
        let one = Setting::Sysctl { key: KEYS[0].to_owned(), value: "1".to_owned() };
        assert_eq!(early.remedy.settings, [module(), one]);
        let set = format!("load br_netfilter, which brings the key, and set {} to 1", KEYS[0]);
        assert_eq!(early.remedy.summary, set);
        let late = off("99-a.conf").remedy;
        assert_eq!(late.settings, [module()], "the file that wins is edited in place");
        let edit = format!("sed -i '1s|.*|{} = 1|' $ROOT/etc/sysctl.d/99-a.conf", KEYS[0]);
        assert_eq!(late.commands, [edit]);
    }

    /// Each fix would load it once more, and say that it changed something.
    #[test]
    fn a_module_that_no_more_can_be_loaded_waits_for_the_boot() {
        let disabled = |host: TestHost| host.file("/proc/sys/kernel/modules_disabled", "1\n");
        let configured = || fixture("debian-13").file("/etc/modules-load.d/k3s.conf", "br_netfilter\n");
        let found = |host: TestHost| findings(&look_at(host))[0].clone();
        let waits = found(disabled(configured()));
        assert_eq!(waits.verdict, Verdict::Pending(Needs::Reboot));
        assert_eq!((waits.remedy.settings.len(), waits.remedy.commands), (0, vec!["sudo reboot".to_owned()]));
        let now = found(configured());
        assert_eq!(now.verdict, Verdict::Pending(Needs::None));
        assert_eq!(now.remedy.settings, [Setting::ModuleInEffect("br_netfilter".to_owned())]);
        let neither = found(disabled(fixture("debian-13")));
        assert_eq!(neither.verdict, Verdict::Unmet);
        assert_eq!(neither.remedy.settings, [Setting::Module("br_netfilter".to_owned())]);
    }

    /// Seen on Linux 6.12: 0 on the host, 1 in a new network namespace of a user.
    #[test]
    fn the_hosts_value_counts_before_5_3() {
        let off =
            fixture("debian-13").file(NOW, "0\n").file("/etc/sysctl.d/a.conf", format!("{}=0\n", KEYS[0]));
        assert_eq!(verdicts(&look_at(off.clone())), [(KEYS[0], Verdict::Met)]);
        let old = off.file("/proc/sys/kernel/osrelease", "4.19.0-27-amd64\n");
        assert_eq!(verdicts(&look_at(old.clone())), [(KEYS[0], Verdict::Unmet)]);
        let on = old.file(NOW, "1\n").without("/etc/sysctl.d/a.conf");
        assert_eq!(verdicts(&look_at(on)), [(KEYS[0], Verdict::Met)]);
    }

    #[test]
    fn denied_is_unknown() {
        let outcome = look_at(fixture("debian-13").error(NOW, "denied"));
        assert_eq!(unknown(&outcome), [format!("{NOW} is not readable as this user")]);
    }

    #[test]
    fn nobody_asks() {
        let outcome = run(&fixture("debian-13").facts(), &Requirements::default());
        assert_eq!(outcome.skipped.as_deref(), Some("no chosen stack asks for it"));
    }
}
