//! Whether the user may send echo requests: see [`PING_GROUP_RANGE`].

use crate::checks::check;
use crate::checks::sysctl_values::{Start, Wanted, judge};
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

/// What this check judges.
pub(super) const KEYS: [&str; 1] = [KEY];
const KEY: &str = "net.ipv4.ping_group_range";
/// All groups: the highest that the kernel accepted before 6.5 (net/ipv4/sysctl_net_ipv4.c).
const EVERYBODY: &str = "0 2147483647";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let mut outcome = Outcome::default();
    // A site can want a range of its own, which then is the one to write if it holds the group.
    judge(facts, req, KEY, &mut outcome);
    let site = req.sysctls.get(KEY).and_then(|want| want.rules.first()).map(|want| want.value.value());
    let wanted = Wanted {
        key: KEY,
        expected: format!("a range that holds {}", user.gid),
        allows: Box::new(|value| holds(value, user.gid)),
        by_default: Some(Start { met: false, value: "1 0".to_owned() }),
        set: site.filter(|range| holds(range, user.gid)).unwrap_or_else(|| EVERYBODY.to_owned()),
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
    use crate::profile::Layer;
    use crate::requirements::Stack;
    use crate::settings::Setting;

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
    fn a_site_can_want_a_range_of_its_own() {
        let looked = |range: &str| {
            let site = format!("[[sysctl]]\nkey = \"{KEY}\"\nequals = \"{range}\"\nlevel = \"advised\"\n");
            let site = Layer::parse("site.toml", &site).unwrap();
            let req = Requirements::merge(&[Stack::Podman], &[site]).unwrap();
            let outcome = run(&fixture("debian-13").facts(), &req, &edge());
            findings(&outcome).into_iter().cloned().collect::<Vec<_>>()
        };
        let set = |value: &str| [Setting::Sysctl { key: KEY.to_owned(), value: value.to_owned() }];
        let own = looked("1000\\t1000");
        assert_eq!((own[0].expected.as_str(), own[0].found.as_str()), ("1000 1000", "1 0"));
        assert!(own.len() == 2 && own.iter().all(|f| f.remedy.settings == set("1000 1000")), "one value");
        assert_eq!(looked("0 99")[1].remedy.settings, set(EVERYBODY));
    }

    #[test]
    fn denied_is_unknown_and_k3s_does_not_ask() {
        let outcome = look_at(fixture("debian-13").error(NOW, "denied"));
        assert_eq!(unknown(&outcome), [format!("{NOW} is not readable as this user")]);
        let k3s = run(&fixture("debian-13").facts(), &requirements(&[Stack::K3s]), &edge());
        assert_eq!(k3s.skipped.as_deref(), Some("no chosen stack asks for it"));
    }
}
