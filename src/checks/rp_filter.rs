//! Whether new interfaces check return paths strictly: see [`RP_FILTER`].

use crate::checks::check;
use crate::checks::sysctl_values::judge_want;
use crate::facts::Facts;
use crate::finding::Outcome;
use crate::requirements::{Requirements, SysctlRule};

check! {
    /// Reverse path filtering is not strict
    ///
    /// ## What is looked at
    ///
    /// `net.ipv4.conf.default.rp_filter` of the host, which a new network namespace takes over, and
    /// `net.ipv4.conf.all.rp_filter`, which it takes over as well: the higher of the two counts for
    /// an interface, so that 0 here is strict where `all` is 1, and 2 is loose whatever `all` is.
    ///
    /// ## Why it matters
    ///
    /// Packets between the nodes of a Usernetes cluster come in by another way than they would go
    /// out. With strict filtering the kernel drops them without a trace: nodes join, and pods on
    /// different hosts do not reach each other.
    ///
    /// ## Repair
    ///
    /// `net.ipv4.conf.default.rp_filter = 2` (loose) in `/etc/sysctl.d/90-rootless.conf`. Network
    /// namespaces that are there already keep what they have: restart the node.
    ///
    /// ## Sources
    ///
    /// - Documentation/networking/ip-sysctl.rst, `rp_filter`
    /// - Linux: net/ipv4/devinet.c, `devinet_init_net`
    /// - usernetes: Makefile.d/check-preflight.sh
    RP_FILTER, "rp-filter", Required, Host(run)
}

/// What this check judges.
pub(super) const KEYS: [&str; 1] = ["net.ipv4.conf.default.rp_filter"];
const ALL: &str = "net.ipv4.conf.all.rp_filter";
/// At 2, new network namespaces take nothing over (Documentation/admin-guide/sysctl/net.rst).
const INHERIT: &str = "net.core.devconf_inherit_init_net";

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let Some(want) = req.sysctls.get(KEYS[0]) else { return Outcome::not_asked() };
    if facts.sysctl(INHERIT).is_ok_and(|inherit| inherit.value == "2") {
        return Outcome::skip(format!("new network namespaces take nothing over: {INHERIT} is 2"));
    }
    let now = facts.sysctl(ALL).is_ok_and(|all| all.value == "1");
    let at_boot = facts.sysctl_configured(ALL).is_ok_and(|all| all.is_some_and(|all| all.value == "1"));
    let mut want = want.clone();
    if now || at_boot {
        for rule in &mut want.rules {
            if let SysctlRule::OneOf(values) = &mut rule.value {
                values.retain(|value| value != "0");
                rule.demand.why.push_str(&format!("; {ALL} is 1, so 0 would be strict"));
            }
        }
    }
    let mut outcome = Outcome::default();
    judge_want(facts, KEYS[0], &want, &mut outcome);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Verdict;
    use crate::requirements::Stack;
    use crate::settings::Setting;

    const NOW: &str = "/proc/sys/net/ipv4/conf/default/rp_filter";
    const KEY: &str = KEYS[0];

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Usernetes]))
    }

    #[test]
    fn off_and_loose_are_met() {
        assert_eq!(verdicts(&look_at(fixture("debian-13"))), [(KEY, Verdict::Met)]);
        assert_eq!(verdicts(&look_at(fixture("debian-13").image())), [(KEY, Verdict::Met)]);
        // As systemd ships it, where distributions take it.
        let conf = "net.ipv4.conf.default.rp_filter = 2\nnet.ipv4.conf.*.rp_filter = 2\n";
        let loose = fixture("debian-13").file("/usr/lib/sysctl.d/50-default.conf", conf).file(NOW, "2\n");
        assert_eq!(verdicts(&look_at(loose)), [(KEY, Verdict::Met)]);
    }

    #[test]
    fn strict_is_not() {
        let conf = format!("{KEY} = 1\n");
        let strict =
            fixture("debian-13").file(NOW, "1\n").file("/etc/sysctl.d/10-network-security.conf", conf);
        let outcome = look_at(strict);
        assert_eq!(verdicts(&outcome), [(KEY, Verdict::Unmet)]);
        let found = findings(&outcome)[0];
        assert_eq!(found.evidence[0].to_string(), "/etc/sysctl.d/10-network-security.conf:1");
        assert_eq!(found.expected, "2 or 0");
        assert_eq!(found.remedy.settings, [Setting::Sysctl { key: KEY.to_owned(), value: "2".to_owned() }]);
    }

    /// Usernetes' own check reads `default` alone, and passes.
    #[test]
    fn all_makes_off_strict() {
        let all = fixture("debian-13").file("/proc/sys/net/ipv4/conf/all/rp_filter", "1\n");
        let outcome = look_at(all.clone());
        assert_eq!(verdicts(&outcome), [(KEY, Verdict::Unmet)]);
        assert_eq!(findings(&outcome)[0].expected, "2");
        let loose = all.file(NOW, "2\n").file("/etc/sysctl.d/a.conf", format!("{KEY}=2\n"));
        assert_eq!(verdicts(&look_at(loose)), [(KEY, Verdict::Met)]);
    }

    #[test]
    fn nothing_is_taken_over_or_nothing_can_be_read() {
        let reset =
            fixture("debian-13").file("/proc/sys/net/core/devconf_inherit_init_net", "2\n").file(NOW, "1\n");
        assert_eq!(
            look_at(reset).skipped.as_deref(),
            Some("new network namespaces take nothing over: net.core.devconf_inherit_init_net is 2")
        );
        let outcome = look_at(fixture("debian-13").error(NOW, "denied"));
        assert_eq!(unknown(&outcome), [format!("{NOW} is not readable as this user")]);
        let podman = run(&fixture("debian-13").facts(), &requirements(&[Stack::Podman]));
        assert_eq!(podman.skipped.as_deref(), Some("no chosen stack asks for it"));
    }
}
