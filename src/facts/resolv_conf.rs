//! `resolv.conf(5)`: which name servers the host asks, and so which ones containers are given.

use std::net::IpAddr;
use std::rc::Rc;

use super::{Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent};

/// A name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nameserver {
    /// Its address.
    pub address: IpAddr,
    /// The interface that a link-local IPv6 address belongs to (`fe80::1%eth0`).
    pub zone: Option<String>,
}

/// The lines that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// The name servers in their order. The resolver of glibc asks the first three only (`MAXNS`).
    pub nameservers: Vec<Sourced<Nameserver>>,
    /// The search list: the last `search` or `domain` line.
    pub search: Option<Sourced<Vec<String>>>,
    /// `nameserver` lines without an address.
    pub faults: Vec<Sourced<String>>,
}

impl ResolvConf {
    /// Reads a file. A keyword counts at the beginning of a line only.
    pub fn parse(source: &Source) -> ResolvConf {
        let mut conf = ResolvConf::default();
        for (number, line) in source.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next().filter(|word| line.starts_with(word)) {
                Some("nameserver") => {
                    let word = words.next().unwrap_or_default();
                    match nameserver(word) {
                        Some(server) => conf.nameservers.push(source.on(number, line, server)),
                        None => conf.faults.push(source.on(number, line, word.to_owned())),
                    }
                }
                Some("search" | "domain") => {
                    conf.search = Some(source.on(number, line, words.map(str::to_owned).collect()));
                }
                _ => {}
            }
        }
        conf
    }
}

fn nameserver(word: &str) -> Option<Nameserver> {
    let (address, zone) = word.split_once('%').map_or((word, None), |(address, zone)| (address, Some(zone)));
    Some(Nameserver { address: address.parse().ok()?, zone: zone.map(str::to_owned) })
}

impl Facts {
    /// `/etc/resolv.conf`. In an image root it is often a link to what exists only at run time.
    ///
    /// # Errors
    /// Why it could not be read.
    pub fn resolv_conf(&self) -> Fact<Rc<ResolvConf>> {
        self.memo_fact("/etc", || Ok(ResolvConf::parse(&*self.source("/etc/resolv.conf")?)))
    }

    /// Where `/etc/resolv.conf` leads to, if it is a link.
    ///
    /// # Errors
    /// Why it could not be looked at.
    pub fn resolv_conf_link(&self) -> Fact<Option<String>> {
        Ok(self.link_target("/etc/resolv.conf").or_absent()?.flatten())
    }

    /// The name servers that systemd-resolved asks itself (`systemd-resolved.service(8)`,
    /// "/ETC/RESOLV.CONF"). Podman and K3s take this file where `/etc/resolv.conf` names 127.0.0.53.
    ///
    /// # Errors
    /// [`Unread::NotRunning`](crate::host::Unread::NotRunning) in an image root, and why it could not
    /// be read; absent where systemd-resolved does not run.
    pub fn resolved_upstream(&self) -> Fact<Rc<ResolvConf>> {
        self.need_running("the name servers of systemd-resolved")?;
        self.memo_fact("/run", || Ok(ResolvConf::parse(&*self.source("/run/systemd/resolve/resolv.conf")?)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;
    use crate::host::Unread;

    #[test]
    fn name_servers_in_their_order() {
        let text = "# written by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.1\noptions edns0\n\
                    nameserver fe80::1%eth0\nnameserver 2001:db8::53\n nameserver 1.1.1.1\nnameserver dns.example\n\
                    domain example.org\nsearch a.example b.example\n;nameserver 9.9.9.9\n";
        let conf = empty_host().file("/etc/resolv.conf", text).facts().resolv_conf().unwrap();
        let servers: Vec<_> = conf
            .nameservers
            .iter()
            .map(|s| (s.value.address.to_string(), s.value.zone.as_deref(), s.at.line.unwrap()))
            .collect();
        let server = |address: &str, zone, line| (address.to_owned(), zone, line);
        assert_eq!(
            servers,
            [
                server("127.0.0.53", None, 2),
                server("192.0.2.1", None, 3),
                server("fe80::1", Some("eth0"), 5),
                server("2001:db8::53", None, 6)
            ]
        );
        assert_eq!(conf.faults.iter().map(|f| f.value.as_str()).collect::<Vec<_>>(), ["dns.example"]);
        assert_eq!(conf.search.as_ref().map(|s| s.value.len()), Some(2));
    }

    #[test]
    fn the_upstream_file_is_another_fact() {
        let host = empty_host().file("/etc/resolv.conf", "nameserver 127.0.0.53\n");
        let facts = host.clone().file("/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.1\n").facts();
        assert_ne!(facts.resolv_conf().unwrap(), facts.resolved_upstream().unwrap());
        assert!(host.clone().facts().resolved_upstream().unwrap_err().is_absent());
        assert!(matches!(host.image().facts().resolved_upstream(), Err(Unread::NotRunning { .. })));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)(.{0,20}|nameserver |search |%|\n){0,12}") {
            let _ = ResolvConf::parse(&Source::new("/etc/resolv.conf", text));
        }
    }
}
