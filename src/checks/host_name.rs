//! Whether the host's name can be that of a node: see [`HOST_NAME`].

use crate::checks::check;
use crate::facts::machine_id::{is_localhost, is_node_name};
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, Sourced};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Demand, Need, Requirements, Stack};

check! {
    /// The host has a name that a node can have, and keeps it
    ///
    /// ## What is looked at
    ///
    /// The name in effect, and `/etc/hostname`. K3s and Usernetes name the node after the host: lower-case
    /// letters, digits, `-` and `.`, 63 characters at most, beginning and ending with a letter or a digit.
    /// K3s makes capital letters small, Usernetes does not, and puts `u7s-` before the name, which leaves
    /// 59. K3s that is given another name (`node-name` in `/etc/rancher/k3s/config.yaml`, `--node-name` or
    /// `K3S_NODE_NAME` in `k3s-rootless.service`) passes.
    ///
    /// A name that `/etc/hostname` does not hold, or holds as `localhost`, comes from the network or
    /// from a default, and can be another one after the next boot: advised. Whether two hosts have the
    /// same name cannot be seen on either.
    ///
    /// ## Why it matters
    ///
    /// K3s runs on with an invalid name and logs "Unable to register node with API server ... a
    /// lowercase RFC 1123 subdomain must consist of ..." again and again; no pod is ever started.
    /// kubeadm, which makes the node of Usernetes, stops. When the name changes, the cluster has a
    /// second node, and local volumes stay with the first; Usernetes makes its networks from the name,
    /// too.
    ///
    /// ## Repair
    ///
    /// `hostnamectl set-hostname`. A cluster that exists keeps the node of the old name.
    ///
    /// ## Sources
    ///
    /// - hostname(5); systemd: src/basic/hostname-util.c, `is_localhost`
    /// - k3s: pkg/util/net.go, `GetHostnameAndIPs`; k3s issue 10794
    /// - usernetes: Makefile, `NODE_NAME`, Makefile.d/node-subnet.sh; kubernetes issue 82399
    HOST_NAME, "host-name", Required, User(run)
}

const SUBJECT: &str = "host name";
const KEEP: &str = "a node is named after its host: under another name the cluster has a second one";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::HostName);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    if !facts.running() {
        return Outcome::skip("a host has its name once it runs");
    }
    let mut outcome = Outcome::default();
    let name = match facts.hostname() {
        Ok(name) => name,
        Err(why) => {
            outcome.unknown_all(demands, SUBJECT, &why);
            return outcome;
        }
    };
    for demand in demands {
        for (k3s, demand) in by_stack(demand) {
            match valid(facts, user, &name, k3s) {
                Ok(finding) => outcome.add(&demand, finding),
                Err(why) => outcome.unknown(&demand, SUBJECT, why),
            }
        }
    }
    let named_itself = facts.k3s_options(user).is_ok_and(|options| options.at("node-name").is_some());
    for demand in demands {
        for (k3s, demand) in by_stack(demand) {
            let demand = demand.advised(KEEP);
            match kept(facts, &name) {
                _ if k3s && named_itself => {}
                Ok(finding) => outcome.add(&demand, finding),
                Err(why) => outcome.unknown(&demand, "/etc/hostname", why),
            }
        }
    }
    outcome
}

/// The demand of K3s, which can be given another name, and that of the others.
fn by_stack(demand: &Demand) -> Vec<(bool, Demand)> {
    let of = |k3s: bool| {
        let stacks = demand.stacks.iter().copied().filter(|stack| (*stack == Stack::K3s) == k3s).collect();
        (k3s, Demand { stacks, ..demand.clone() })
    };
    [of(true), of(false)].into_iter().filter(|(_, demand)| !demand.stacks.is_empty()).collect()
}

fn valid(facts: &Facts, user: &User, name: &Sourced<String>, k3s: bool) -> Result<Finding, String> {
    let (expected, node, most) = match k3s {
        true => (
            "letters, digits, - and . only, a letter or digit first and last, 63 at most",
            name.value.to_lowercase(),
            63,
        ),
        false => (
            "small letters, digits, - and . only, the last no - or ., 59 at most",
            format!("u7s-{}", name.value),
            59,
        ),
    };
    let finding = |verdict| Finding::new(SUBJECT, expected, &name.value, verdict).at([name.at.clone()]);
    if is_node_name(&node) {
        return Ok(finding(Verdict::Met));
    }
    if k3s {
        let options = facts.k3s_options(user).map_err(|why| why.to_string())?;
        if let Some(at) = options.at("node-name") {
            let found = format!("{}, and K3s is given another", name.value);
            let finding = Finding::new(SUBJECT, expected, found, Verdict::Met);
            return Ok(finding.at([at, name.at.clone()]));
        }
    }
    let remedy = Remedy::manual("give the host a name that a node can have")
        .command(format!("sudo hostnamectl set-hostname {}", suggestion(&name.value, most)));
    Ok(finding(Verdict::Unmet).repair(remedy))
}

fn kept(facts: &Facts, name: &Sourced<String>) -> Fact<Finding> {
    let configured = facts.static_hostname()?;
    let at = match &configured {
        Some(configured) => configured.at.clone(),
        None => Evidence::path("/etc/hostname", "holds no name"),
    };
    let found = configured.as_ref().map_or("not set", |configured| configured.value.as_str());
    let kept = found == name.value && !is_localhost(found);
    let verdict = if kept { Verdict::Met } else { Verdict::Volatile };
    let expected = if is_localhost(&name.value) { "a name of its own" } else { &name.value };
    let remedy = Remedy::manual("write the name down, so that it is the same after each boot")
        .command(format!("sudo hostnamectl set-hostname {}", suggestion(&name.value, 59)));
    Ok(Finding::new("/etc/hostname", expected, found, verdict).at([at, name.at.clone()]).repair(remedy))
}

/// The name in letters that a node can have.
fn suggestion(name: &str, most: usize) -> String {
    if is_localhost(name) {
        return "NAME".to_owned();
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().map(plain).take(most).collect();
    let name = name.trim_matches(['-', '.']);
    if is_node_name(name) { name.to_owned() } else { "NAME".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;

    const IN_EFFECT: &str = "/proc/sys/kernel/hostname";
    const CONFIGURED: &str = "/etc/hostname";

    fn look_at(host: TestHost, stack: Stack) -> Outcome {
        run(&host.facts(), &requirements(&[stack]), &edge())
    }

    /// A Debian 13 of this name.
    fn named(name: &str) -> TestHost {
        fixture("debian-13").file(IN_EFFECT, format!("{name}\n")).file(CONFIGURED, format!("{name}\n"))
    }

    #[test]
    fn usernetes_takes_the_name_as_it_is_and_puts_four_characters_before_it() {
        for (name, k3s, usernetes) in [
            ("RaspberryPi".to_owned(), Verdict::Met, Verdict::Unmet),
            ("a".repeat(59), Verdict::Met, Verdict::Met),
            ("a".repeat(60), Verdict::Met, Verdict::Unmet),
            ("a".repeat(64), Verdict::Unmet, Verdict::Unmet),
        ] {
            assert_eq!(verdicts(&look_at(named(&name), Stack::K3s))[0].1, k3s, "{name}");
            let outcome = look_at(named(&name), Stack::Usernetes);
            assert_eq!(verdicts(&outcome)[0].1, usernetes, "{name}");
            if let [command] = findings(&outcome)[0].remedy.commands.as_slice() {
                let (_, given) = command.rsplit_once(' ').unwrap();
                assert_eq!(verdicts(&look_at(named(given), Stack::Usernetes))[0].1, Verdict::Met, "{given}");
            }
        }
    }

    #[test]
    fn names_of_nodes() {
        for name in ["edge-1", "pi.example.org"] {
            for stack in [Stack::K3s, Stack::Usernetes] {
                let outcome = look_at(named(name), stack);
                assert_eq!(
                    verdicts(&outcome),
                    [(SUBJECT, Verdict::Met), (CONFIGURED, Verdict::Met)],
                    "{name}"
                );
                assert_eq!(
                    (outcome.items[0].level, outcome.items[1].level),
                    (Level::Required, Level::Advised)
                );
            }
        }
    }

    /// As in k3s issue 10794.
    #[test]
    fn a_name_that_no_node_can_have() {
        for stack in [Stack::K3s, Stack::Usernetes] {
            let outcome = look_at(named("rpi_node1"), stack);
            let finding = findings(&outcome)[0];
            assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Unmet, "rpi_node1"));
            assert_eq!(finding.evidence[0].to_string(), format!("{IN_EFFECT}:1"));
            assert_eq!(finding.remedy.commands, ["sudo hostnamectl set-hostname rpi-node1"]);
        }
    }

    #[test]
    fn k3s_can_be_given_another_name() {
        let config = "/etc/rancher/k3s/config.yaml";
        let host = named("rpi_node1").file(config, "node-name: rpi1\n").mode(config, "0644");
        let outcome = look_at(host.clone(), Stack::K3s);
        assert_eq!(verdicts(&outcome)[0], (SUBJECT, Verdict::Met));
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{config}:1"));
        assert_eq!(verdicts(&look_at(host, Stack::Usernetes))[0].1, Verdict::Unmet);
        let unit = "/home/edge/.config/systemd/user/k3s-rootless.service";
        let start = |start: &str| named("rpi_node1").file(unit, format!("[Service]\nExecStart={start}\n"));
        let given = start("/usr/local/bin/k3s server --rootless --node-name rpi1");
        assert_eq!(verdicts(&look_at(given, Stack::K3s))[0].1, Verdict::Met);
        let outcome = look_at(start("/usr/local/bin/k3s server --rootless"), Stack::K3s);
        assert_eq!(verdicts(&outcome)[0].1, Verdict::Unmet);
        let outcome = look_at(start("LEFT-OUT"), Stack::K3s);
        assert_eq!(unknown(&outcome), [format!("{unit}:2: the capture leaves out what K3s is told")]);
        let in_file = |file: &str| {
            let text = format!(
                "[Service]\nExecStart=/usr/local/bin/k3s server --rootless\nEnvironmentFile={file}\n"
            );
            named("rpi_node1").file(unit, text).file("/etc/default/k3s", "K3S_NODE_NAME=rpi1\n")
        };
        let outcome = look_at(in_file("/etc/default/k3s"), Stack::K3s);
        assert_eq!(verdicts(&outcome)[0].1, Verdict::Met);
        assert_eq!(unknown(&look_at(in_file("/srv/names"), Stack::K3s)).len(), 1);
    }

    #[test]
    fn a_name_that_the_network_gave_is_volatile() {
        let volatile = |host: TestHost| {
            let outcome = look_at(host, Stack::K3s);
            let finding = findings(&outcome)[1].clone();
            (finding.found, finding.verdict, finding.evidence[0].to_string())
        };
        let found = |found: &str, at: &str| (found.to_owned(), Verdict::Volatile, at.to_owned());
        assert_eq!(volatile(named("edge-1").without(CONFIGURED)), found("not set", CONFIGURED));
        let other = named("edge-1").file(CONFIGURED, "localhost.localdomain\n");
        assert_eq!(volatile(other), found("localhost.localdomain", "/etc/hostname:1"));
        assert_eq!(volatile(named("localhost")), found("localhost", "/etc/hostname:1"));
    }

    #[test]
    fn unknown_and_skipped() {
        let unread = look_at(named("a").error(IN_EFFECT, "denied"), Stack::K3s);
        assert_eq!(unknown(&unread), [format!("{IN_EFFECT} is not readable as this user")]);
        let denied = look_at(named("a").error(CONFIGURED, "denied"), Stack::K3s);
        assert_eq!(unknown(&denied), ["/etc/hostname is not readable as this user"]);
        assert!(look_at(named("a").image(), Stack::K3s).skipped.is_some());
        assert!(look_at(named("a"), Stack::Podman).skipped.is_some());
    }
}
