//! Whether the host forwards IPv4 packets: see [`IP_FORWARD`].

use crate::checks::check;
use crate::checks::sysctl_values::judge_all;
use crate::facts::Facts;
use crate::finding::Outcome;
use crate::requirements::Requirements;

check! {
    /// IPv4 forwarding is on
    ///
    /// ## What is looked at
    ///
    /// `net.ipv4.ip_forward` of the host, now and as configured for the next boot.
    ///
    /// ## Why it matters
    ///
    /// `k3s server --rootless` reads it before it creates any namespace and exits unless it is 1,
    /// although packets are only forwarded inside its own network namespace. Engines that run as
    /// root, and VPN clients, switch it on as they start: then it is on today and nothing says that
    /// it will be tomorrow, or early enough.
    ///
    /// ## Repair
    ///
    /// `net.ipv4.ip_forward = 1` in `/etc/sysctl.d/90-rootless.conf`. The message of K3s names
    /// `/etc/sysctl.conf`, which systemd does not read.
    ///
    /// ## Sources
    ///
    /// - k3s: pkg/rootless/rootless.go, `validateSysctl`
    /// - https://github.com/k3s-io/k3s/issues/2420
    IP_FORWARD, "ip-forward", Required, Host(run)
}

/// What this check judges.
pub(super) const KEYS: [&str; 1] = ["net.ipv4.ip_forward"];

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    judge_all(facts, req, &KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::Evidence;
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::{Level, Verdict};
    use crate::requirements::Stack;
    use crate::settings::Setting;

    const NOW: &str = "/proc/sys/net/ipv4/ip_forward";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman, Stack::K3s]))
    }

    #[test]
    fn only_k3s_wants_it_and_debian_has_it_off() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [("net.ipv4.ip_forward", Verdict::Unmet)]);
        assert_eq!(
            (&outcome.items[0].stacks[..], outcome.items[0].level),
            (&[Stack::K3s][..], Level::Required)
        );
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{NOW}:1"));
        let podman = run(&fixture("debian-13").facts(), &requirements(&[Stack::Podman]));
        assert_eq!(podman.skipped.as_deref(), Some("no chosen stack asks for it"));
    }

    #[test]
    fn a_file_makes_it_last() {
        let on = fixture("debian-13").file(NOW, "1\n");
        assert_eq!(verdicts(&look_at(on.clone()))[0].1, Verdict::Volatile);
        let lasting = on.file("/usr/lib/sysctl.d/50-k3s.conf", "net/ipv4/ip_forward=1\n");
        assert_eq!(verdicts(&look_at(lasting))[0].1, Verdict::Met);
    }

    #[test]
    fn an_image_starts_without() {
        let image = fixture("debian-13").file(NOW, "1\n").image();
        let outcome = look_at(image.clone());
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Unmet, "0"));
        assert_eq!(finding.evidence, [Evidence::path(NOW, "the kernel starts with 0")]);
        assert_eq!(
            finding.remedy.settings,
            [Setting::Sysctl { key: KEYS[0].to_owned(), value: "1".to_owned() }]
        );
        let set = image.file("/etc/sysctl.d/a.conf", "net.ipv4.ip_forward = 1\n");
        assert_eq!(verdicts(&look_at(set)), [(KEYS[0], Verdict::Met)]);
    }

    #[test]
    fn denied_is_unknown() {
        let outcome = look_at(fixture("debian-13").error(NOW, "denied"));
        assert_eq!(unknown(&outcome), [format!("{NOW} is not readable as this user")]);
    }
}
