//! Whether the user may send echo requests: see [`PING_GROUP_RANGE`].

use crate::checks::check;
use crate::checks::sysctl_values::{Start, Wanted};
use crate::facts::Facts;
use crate::facts::users::User;
use crate::finding::Outcome;
use crate::requirements::{Need, Requirements};

check! {
    /// Containers of the user can ping
    ///
    /// ## What is looked at
    ///
    /// `net.ipv4.ping_group_range`, the range of groups that may open sockets for ICMP echo without a
    /// capability. It has to hold the user's primary group: the helper that connects containers to
    /// the network drops all others. The kernel starts with "1 0", which is nobody.
    ///
    /// ## Why it matters
    ///
    /// `ping` in a container does not get an answer, or stops with "permission denied", and health
    /// checks that use it fail.
    ///
    /// ## Repair
    ///
    /// `net.ipv4.ping_group_range = 0 2147483647` in `/etc/sysctl.d/90-rootless.conf`, as systemd
    /// ships it and some distributions leave out.
    ///
    /// ## Sources
    ///
    /// - icmp(7), `ping_group_range`
    /// - podman: troubleshooting.md, "rootless containers cannot ping hosts"
    /// - passt: icmp.c
    PING_GROUP_RANGE, "ping-group-range", Advised, User(run)
}

const KEY: &str = "net.ipv4.ping_group_range";
/// All groups: the highest that the kernel accepted before 6.5 (net/ipv4/sysctl_net_ipv4.c).
const EVERYBODY: &str = "0 2147483647";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let mut outcome = Outcome::default();
    let wanted = Wanted {
        key: KEY,
        expected: format!("a range that holds {}", user.gid),
        allows: &|value| holds(value, user.gid),
        by_default: Some(Start { met: false, value: "1 0".to_owned() }),
        set: EVERYBODY.to_owned(),
        module: None,
        absent_is_met: false,
    };
    for demand in req.need(Need::Ping) {
        wanted.judge(facts, demand, &mut outcome);
    }
    outcome.or_skip("no chosen stack asks for it")
}

fn holds(range: &str, gid: u32) -> bool {
    let mut numbers = range.split_whitespace().map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(low)), Some(Ok(high))) if low <= gid && gid <= high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::{Needs, Verdict};
    use crate::requirements::Stack;

    const NOW: &str = "/proc/sys/net/ipv4/ping_group_range";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    #[test]
    fn the_kernel_starts_with_nobody() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [(KEY, Verdict::Unmet)]);
        let found = findings(&outcome)[0];
        assert_eq!((found.found.as_str(), found.evidence[0].to_string()), ("1 0", format!("{NOW}:1")));
        assert_eq!(verdicts(&look_at(fixture("debian-13").image())), [(KEY, Verdict::Unmet)]);
    }

    #[test]
    fn the_range_holds_the_users_own_group() {
        let conf = |range: &str| {
            fixture("debian-13").file("/usr/lib/sysctl.d/50-default.conf", format!("-{KEY} = {range}\n"))
        };
        let met = conf(EVERYBODY).file(NOW, "0\t2147483647\n");
        assert_eq!(verdicts(&look_at(met)), [(KEY, Verdict::Met)]);
        assert_eq!(verdicts(&look_at(conf(EVERYBODY))), [(KEY, Verdict::Pending(Needs::None))]);
        assert_eq!(verdicts(&look_at(conf("1000 1000").image())), [(KEY, Verdict::Met)]);
        for range in ["0 999", "1001 4294967294", "1000", "1000 x", ""] {
            assert_eq!(verdicts(&look_at(conf(range).image())), [(KEY, Verdict::Unmet)], "{range}");
        }
    }

    #[test]
    fn denied_is_unknown_and_k3s_does_not_ask() {
        assert_eq!(unknown(&look_at(fixture("debian-13").error(NOW, "denied"))).len(), 1);
        let k3s = run(&fixture("debian-13").facts(), &requirements(&[Stack::K3s]), &edge());
        assert_eq!(k3s.skipped.as_deref(), Some("no chosen stack asks for it"));
    }
}
