//! Whether containers can have names resolved: see [`NAME_SERVERS`].

use crate::checks::check;
use crate::facts::resolv_conf::ResolvConf;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent};
use crate::requirements::{Need, Requirements};

check! {
    /// The host has name servers that containers can use
    ///
    /// ## What is looked at
    ///
    /// The `nameserver` lines of `/etc/resolv.conf`: whether there are any, and for K3s and Usernetes,
    /// whose network is made by slirp4netns, whether one has an IPv4 address. Whether they answer is
    /// not asked.
    ///
    /// That they are addresses of the host itself, as 127.0.0.53 of systemd-resolved, is no fault:
    /// pasta and slirp4netns run on the host, take questions at an address of their own, and pass them
    /// on there. Podman and K3s leave such addresses out of what they give to containers.
    ///
    /// In an image the file is often a link to what exists once the system runs.
    ///
    /// ## Why it matters
    ///
    /// Without any, no registry is found: "lookup ... on [::1]:53: connection refused", and containers
    /// resolve no names. A link to a file of systemd-resolved which does not run looks like that.
    /// slirp4netns passes questions on to the first IPv4 name server and, without its IPv6, to no
    /// other: all seems well on the host, and pods pull no images.
    ///
    /// ## Repair
    ///
    /// Start what writes the file: systemd-resolved, NetworkManager, a DHCP client; or write a line
    /// `nameserver` into it.
    ///
    /// ## Sources
    ///
    /// - resolv.conf(5); systemd-resolved.service(8), "/ETC/RESOLV.CONF"
    /// - containers/common: libnetwork/pasta/pasta_linux.go; libnetwork/resolvconf/resolvconf.go
    /// - libslirp: src/slirp.c, `get_dns_addr_resolv_conf`; k3s: pkg/rootless/rootless.go
    NAME_SERVERS, "name-servers", Advised, Host(run)
}

const PATH: &str = "/etc/resolv.conf";

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let (any, ipv4) = (req.need(Need::NameServers), req.need(Need::Ipv4NameServer));
    if any.is_empty() && ipv4.is_empty() {
        return Outcome::not_asked();
    }
    if !facts.running() {
        return Outcome::skip("its name servers are known to a host once it runs");
    }
    let mut outcome = Outcome::default();
    match look(facts) {
        Ok((conf, finding)) => {
            outcome.add_all(any, &finding);
            // One line is missing, not two.
            if !conf.nameservers.is_empty() || any.is_empty() {
                outcome.add_all(ipv4, &with_ipv4(&conf));
            }
        }
        Err(why) => {
            outcome.unknown_all(any, PATH, &why);
            outcome.unknown_all(ipv4, PATH, &why);
        }
    }
    outcome
}

fn look(facts: &Facts) -> Fact<(ResolvConf, Finding)> {
    let expected = "a name server";
    let conf = facts.resolv_conf().or_absent()?;
    let link = facts.resolv_conf_link()?;
    let none = |found: &str, at: Evidence| {
        let remedy = Remedy::manual("start what writes the file, or name one in it");
        let remedy = match &link {
            Some(link) if link.contains("systemd/resolve") => {
                remedy.command("sudo systemctl enable --now systemd-resolved.service")
            }
            _ => remedy,
        };
        Finding::new(PATH, expected, found, Verdict::Unmet).at([at]).repair(remedy)
    };
    Ok(match conf {
        Some(conf) if !conf.nameservers.is_empty() => {
            let at = conf.nameservers.iter().map(|server| server.at.clone());
            let finding = Finding::new(PATH, expected, addresses(&conf), Verdict::Met).at(at);
            ((*conf).clone(), finding)
        }
        Some(conf) => ((*conf).clone(), none("none", Evidence::path(PATH, "no line nameserver"))),
        None => {
            let text = match &link {
                Some(link) => format!("leads to {link}, which does not exist"),
                None => "does not exist".to_owned(),
            };
            (ResolvConf::default(), none("no such file", Evidence::path(PATH, text)))
        }
    })
}

fn with_ipv4(conf: &ResolvConf) -> Finding {
    let ipv4 = conf.nameservers.iter().find(|server| server.value.address.is_ipv4());
    let found = if conf.nameservers.is_empty() { "none".to_owned() } else { addresses(conf) };
    let at = match ipv4.or(conf.nameservers.first()) {
        Some(server) => server.at.clone(),
        None => Evidence::path(PATH, "no line nameserver"),
    };
    let remedy = Remedy::manual("name a server with an IPv4 address as well");
    Finding::new("nameserver", "one with an IPv4 address", found, Verdict::met_if(ipv4.is_some()))
        .at([at])
        .repair(remedy)
}

fn addresses(conf: &ResolvConf) -> String {
    let shown = conf.nameservers.iter().map(|server| match &server.value.zone {
        Some(zone) => format!("{}%{zone}", server.value.address),
        None => server.value.address.to_string(),
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    fn look_at(host: TestHost, stack: Stack) -> Outcome {
        run(&host.facts(), &requirements(&[stack]))
    }

    fn with(text: &str) -> TestHost {
        fixture("debian-13").file(PATH, text)
    }

    /// The stub of systemd-resolved, as Ubuntu and Fedora have it.
    const STUB: &str =
        "# This file is managed by man:systemd-resolved(8).\nnameserver 127.0.0.53\noptions edns0\n";

    #[test]
    fn an_address_of_the_host_itself_is_one() {
        let outcome = look_at(with(STUB), Stack::Podman);
        assert_eq!(verdicts(&outcome), [(PATH, Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), "/etc/resolv.conf:2");
        let outcome = look_at(with(STUB), Stack::K3s);
        assert_eq!(verdicts(&outcome), [(PATH, Verdict::Met), ("nameserver", Verdict::Met)]);
        assert!(outcome.items.iter().all(|item| item.level == Level::Advised));
    }

    #[test]
    fn none_at_all() {
        let outcome = look_at(with("# Generated by NetworkManager\n"), Stack::K3s);
        assert_eq!(verdicts(&outcome), [(PATH, Verdict::Unmet)]);
        assert_eq!(findings(&outcome)[0].found, "none");
        let stub = "../run/systemd/resolve/stub-resolv.conf";
        let dangling =
            fixture("debian-13").without(PATH).path(PATH, |record| record.link = Some(stub.to_owned()));
        let outcome = look_at(dangling, Stack::Podman);
        let finding = findings(&outcome)[0];
        assert_eq!((finding.found.as_str(), finding.verdict), ("no such file", Verdict::Unmet));
        assert_eq!(finding.evidence[0].text, format!("leads to {stub}, which does not exist"));
        assert_eq!(finding.remedy.commands, ["sudo systemctl enable --now systemd-resolved.service"]);
        let absent = look_at(fixture("debian-13").without(PATH), Stack::Podman);
        assert_eq!(findings(&absent)[0].evidence[0].text, "does not exist");
    }

    #[test]
    fn slirp4netns_passes_on_to_ipv4_alone() {
        let six = || with("nameserver 2001:db8::53\nnameserver fe80::1%eth0\n");
        for stack in [Stack::K3s, Stack::Usernetes] {
            let outcome = look_at(six(), stack);
            assert_eq!(verdicts(&outcome), [(PATH, Verdict::Met), ("nameserver", Verdict::Unmet)]);
            assert_eq!(findings(&outcome)[1].found, "2001:db8::53, fe80::1%eth0");
            assert_eq!(findings(&outcome)[1].evidence[0].to_string(), "/etc/resolv.conf:1");
        }
        assert_eq!(verdicts(&look_at(six(), Stack::Podman)), [(PATH, Verdict::Met)]);
        let both = look_at(with("nameserver 2001:db8::53\nnameserver 192.0.2.1\n"), Stack::K3s);
        assert_eq!(findings(&both)[1].evidence[0].to_string(), "/etc/resolv.conf:2");
    }

    #[test]
    fn unknown_and_skipped() {
        let denied = look_at(with(STUB).error(PATH, "denied"), Stack::Podman);
        assert_eq!(unknown(&denied), ["/etc/resolv.conf is not readable as this user"]);
        assert!(look_at(with(STUB).image(), Stack::Podman).skipped.is_some());
        assert!(run(&with(STUB).facts(), &Requirements::default()).skipped.is_some());
    }
}
