//! Which ports users may bind: see [`UNPRIVILEGED_PORTS`].

use crate::checks::check;
use crate::checks::sysctl_values::judge_all;
use crate::facts::Facts;
use crate::finding::Outcome;
use crate::requirements::Requirements;

check! {
    /// Users may bind the low ports that are to be published
    ///
    /// ## What is looked at
    ///
    /// `net.ipv4.ip_unprivileged_port_start`, the first port that a user may bind; it holds for IPv6,
    /// too. The kernel starts with 1024.
    ///
    /// ## Why it matters
    ///
    /// `podman run -p 80:80` and `podman kube play` with `hostPort: 80` fail, as do kind and k3d with
    /// port mappings below it: pasta and rootlessport bind host ports as the user. K3s does not need
    /// it: it publishes ports up to 1024 at 10000 above, so 80 and 443 are 10080 and 10443.
    ///
    /// ## Repair
    ///
    /// `net.ipv4.ip_unprivileged_port_start = 80` in `/etc/sysctl.d/90-rootless.conf`. From then on
    /// every user of the host may bind these ports.
    ///
    /// ## Sources
    ///
    /// - Documentation/networking/ip-sysctl.rst, `ip_unprivileged_port_start`
    /// - podman-run(1), "--publish"
    /// - k3s: pkg/rootlessports/controller.go
    UNPRIVILEGED_PORTS, "unprivileged-ports", Advised, Host(run)
}

/// What this check judges.
pub(super) const KEYS: [&str; 1] = ["net.ipv4.ip_unprivileged_port_start"];

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    judge_all(facts, req, &KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::Evidence;
    use crate::facts::testing::fixture;
    use crate::finding::{Level, Verdict};
    use crate::requirements::Stack;
    use crate::settings::Setting;

    const NOW: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

    #[test]
    fn from_80_on_is_met() {
        let req = requirements(&[Stack::Podman]);
        for (start, verdict) in [("1024", Verdict::Unmet), ("81", Verdict::Unmet)] {
            let outcome = run(&fixture("debian-13").file(NOW, start).facts(), &req);
            assert_eq!(verdicts(&outcome), [(KEYS[0], verdict)], "{start}");
            assert_eq!(outcome.items[0].level, Level::Advised);
            assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{NOW}:1"));
        }
        for start in ["80", "0"] {
            let conf = format!("{} = {start}\n", KEYS[0]);
            let host = fixture("debian-13").file(NOW, start).file("/etc/sysctl.d/90-rootless.conf", conf);
            assert_eq!(verdicts(&run(&host.facts(), &req)), [(KEYS[0], Verdict::Met)], "{start}");
        }
        let outcome = run(&fixture("debian-13").error(NOW, "denied").facts(), &req);
        assert_eq!(unknown(&outcome), [format!("{NOW} is not readable as this user")]);
    }

    #[test]
    fn an_image_starts_with_1024() {
        let req = requirements(&[Stack::Podman]);
        let image = fixture("debian-13").file(NOW, "80\n").image();
        let outcome = run(&image.clone().facts(), &req);
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Unmet, "1024"));
        assert_eq!(finding.evidence, [Evidence::path(NOW, "the kernel starts with 1024")]);
        assert_eq!(
            finding.remedy.settings,
            [Setting::Sysctl { key: KEYS[0].to_owned(), value: "80".to_owned() }]
        );
        let set = image.file("/etc/sysctl.d/a.conf", format!("{} = 80\n", KEYS[0]));
        assert_eq!(verdicts(&run(&set.facts(), &req)), [(KEYS[0], Verdict::Met)]);
    }

    #[test]
    fn k3s_publishes_its_ports_elsewhere() {
        let outcome = run(&fixture("debian-13").facts(), &requirements(&[Stack::K3s]));
        assert_eq!(outcome.skipped.as_deref(), Some("no chosen stack asks for it"));
    }
}
