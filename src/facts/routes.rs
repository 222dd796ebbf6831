//! Where packets go, and which addresses are this host's, so that networks of containers can be kept
//! clear of both. Only the main routing table is in `/proc/net/route`: routes of other tables (some VPNs
//! have their own) are not seen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use super::cidr::Cidr;
use super::listeners::address_of;
use super::{Evidence, Facts, Source};
use crate::host::{Fact, OrAbsent, Unread};

/// `RTF_UP` of `include/uapi/linux/route.h`: the route is in use.
const RTF_UP: u32 = 0x0001;
/// `RTF_REJECT` of the same file: packets are answered with an error.
const RTF_REJECT: u32 = 0x0200;
/// `RTF_LOCAL` of `include/uapi/linux/ipv6_route.h`: an address of this host.
const RTF_LOCAL: u32 = 0x8000_0000;

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub destination: Cidr,
    /// The interface.
    pub interface: String,
    /// The next hop; `None` where the network is on the link.
    pub gateway: Option<IpAddr>,
    /// The line.
    pub at: Evidence,
}

/// An address of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAddress {
    /// The address.
    pub address: IpAddr,
    /// The line.
    pub at: Evidence,
}

/// Reads `/proc/net/route` (`proc_pid_net(5)`; `net/ipv4/fib_trie.c`, `fib_route_seq_show`).
///
/// # Errors
/// [`Unread::Malformed`] for a line that the kernel does not write.
pub fn parse_ipv4(source: &Source) -> Fact<Vec<Route>> {
    let lines = source.lines().skip(1).filter(|(_, line)| !line.trim().is_empty());
    let routes = lines
        .map(|(number, line)| ipv4(source, number, line).ok_or_else(|| malformed(source.path(), number)));
    Ok(routes.collect::<Fact<Vec<_>>>()?.into_iter().flatten().collect())
}

fn ipv4(source: &Source, number: u32, line: &str) -> Option<Option<Route>> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (interface, flags) = (*fields.first()?, hex(fields.get(3)?)?);
    let destination = address_of(fields.get(1)?).filter(IpAddr::is_ipv4)?;
    let gateway = address_of(fields.get(2)?).filter(IpAddr::is_ipv4)?;
    let IpAddr::V4(mask) = address_of(fields.get(7)?)? else { return None };
    let prefix = u8::try_from(mask.to_bits().leading_ones()).ok()?;
    if flags & RTF_UP == 0 || flags & RTF_REJECT != 0 {
        return Some(None);
    }
    Some(Some(Route {
        destination: Cidr::new(destination, prefix)?,
        interface: interface.to_owned(),
        gateway: Some(gateway).filter(|gateway| !gateway.is_unspecified()),
        at: Evidence::line(source.path(), number, line),
    }))
}

/// Reads `/proc/net/ipv6_route` (`net/ipv6/route.c`, `rt6_info_route`), without multicast and the
/// host's own addresses.
///
/// # Errors
/// [`Unread::Malformed`] for a line that the kernel does not write.
pub fn parse_ipv6(source: &Source) -> Fact<Vec<Route>> {
    let lines = source.lines().filter(|(_, line)| !line.trim().is_empty());
    let routes = lines
        .map(|(number, line)| ipv6(source, number, line).ok_or_else(|| malformed(source.path(), number)));
    Ok(routes.collect::<Fact<Vec<_>>>()?.into_iter().flatten().collect())
}

fn ipv6(source: &Source, number: u32, line: &str) -> Option<Option<Route>> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let destination = address6(fields.first()?)?;
    let prefix = u8::from_str_radix(fields.get(1)?, 16).ok()?;
    let (gateway, flags) = (address6(fields.get(4)?)?, hex(fields.get(8)?)?);
    let interface = (*fields.get(9)?).to_owned();
    let destination = Cidr::new(IpAddr::V6(destination), prefix)?;
    if flags & RTF_UP == 0 || flags & (RTF_REJECT | RTF_LOCAL) != 0 || destination.address().is_multicast() {
        return Some(None);
    }
    let gateway = Some(IpAddr::V6(gateway)).filter(|gateway| !gateway.is_unspecified());
    Some(Some(Route { destination, interface, gateway, at: Evidence::line(source.path(), number, line) }))
}

/// Unlike in `/proc/net/tcp6`, IPv6 addresses are written in network order here.
fn address6(text: &str) -> Option<Ipv6Addr> {
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok().map(Ipv6Addr::from_bits))?
}

fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 16).ok()
}

fn malformed(path: &str, line: u32) -> Unread {
    let expected = "expected the columns of the kernel's routing table".to_owned();
    Unread::Malformed { path: path.to_owned(), line: Some(line), expected }
}

/// Keeps the host's own addresses of `/proc/net/fib_trie`: each stands in the line before
/// `/32 host LOCAL` (`net/ipv4/fib_trie.c`, `fib_trie_seq_show`). The main and the local table can be
/// one, and are shown twice then.
#[derive(Default)]
struct LocalIpv4 {
    line: u32,
    leaf: Option<Ipv4Addr>,
    found: Vec<LocalAddress>,
}

impl LocalIpv4 {
    fn take(&mut self, path: &str, line: &str) {
        self.line = self.line.saturating_add(1);
        let text = line.trim_start();
        if let Some(leaf) = text.strip_prefix("|-- ") {
            self.leaf = leaf.trim().parse().ok();
        } else if text.starts_with("/32 host LOCAL")
            && let Some(leaf) = self.leaf.take()
            && !self.found.iter().any(|known| known.address == leaf)
        {
            let at = Evidence::line(path, self.line.saturating_sub(1), &format!("|-- {leaf}"));
            self.found.push(LocalAddress { address: IpAddr::V4(leaf), at });
        }
    }
}

/// Reads `/proc/net/if_inet6` (`net/ipv6/addrconf.c`, `if6_seq_show`).
///
/// # Errors
/// [`Unread::Malformed`] for a line that the kernel does not write.
pub fn parse_if_inet6(source: &Source) -> Fact<Vec<LocalAddress>> {
    let lines = source.lines().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let address = line.split_ascii_whitespace().next().and_then(address6);
            let address = IpAddr::V6(address.ok_or_else(|| malformed(source.path(), number))?);
            Ok(LocalAddress { address, at: Evidence::line(source.path(), number, line) })
        })
        .collect()
}

impl Facts {
    /// The routes of the main table, IPv4 first.
    ///
    /// # Errors
    /// [`Unread::NotRunning`] in an image root, and why a file could not be read.
    pub fn routes(&self) -> Fact<Rc<Vec<Route>>> {
        self.need_running("the routes")?;
        self.memo_fact("", || {
            let mut routes = parse_ipv4(&*self.source("/proc/net/route")?)?;
            if let Some(source) = self.source("/proc/net/ipv6_route").or_absent()? {
                routes.extend(parse_ipv6(&source)?);
            }
            Ok(routes)
        })
    }

    /// The addresses of this host, IPv4 first, loopback among them.
    ///
    /// # Errors
    /// [`Unread::NotRunning`] in an image root, and why a file could not be read.
    pub fn local_addresses(&self) -> Fact<Rc<Vec<LocalAddress>>> {
        self.need_running("the addresses")?;
        self.memo_fact("", || {
            let mut local = LocalIpv4::default();
            self.scan("/proc/net/fib_trie", &mut |line| {
                local.take("/proc/net/fib_trie", &String::from_utf8_lossy(line));
                true
            })?;
            let mut addresses = local.found;
            if let Some(source) = self.source("/proc/net/if_inet6").or_absent()? {
                addresses.extend(parse_if_inet6(&source)?);
            }
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;

    /// From a Linux 6.1 machine.
    const ROUTE: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
        *\t0000580A\t00000000\t0200\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
    const ROUTE6: &str = "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n\
        00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth0\n\
        fd000000000000000000000000000002 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000003 00000000 80200001     eth0\n\
        ff000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000003 00000000 00000001     eth0\n\
        00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n";
    const TRIE: &str = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 127.0.0.0\n        /8 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.0.2.2\n        /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\nLocal:\n     |-- 192.0.2.2\n        /32 host LOCAL\n";
    const INET6: &str = "fd000000000000000000000000000002 04 40 00 82     eth0\n00000000000000000000000000000001 01 80 10 80       lo\n";

    fn shown(routes: &[Route]) -> Vec<String> {
        let gateway = |route: &Route| route.gateway.map(|via| format!(" via {via}")).unwrap_or_default();
        routes.iter().map(|r| format!("{}{} {}", r.destination, gateway(r), r.interface)).collect()
    }

    #[test]
    fn routes_of_both_families() {
        let facts = empty_host().file("/proc/net/route", ROUTE).file("/proc/net/ipv6_route", ROUTE6).facts();
        let routes = facts.routes().unwrap();
        assert_eq!(
            shown(&routes),
            ["0.0.0.0/0 via 192.0.2.1 eth0", "192.0.2.0/24 eth0", "fd00::/64 eth0", "::/0 via fd00::1 eth0"]
        );
        assert_eq!(routes[1].at.to_string(), "/proc/net/route:3");
        let bad = empty_host().file("/proc/net/route", "Iface\neth0\t00\n").facts().routes();
        assert!(matches!(bad, Err(Unread::Malformed { line: Some(2), .. })));
        assert!(matches!(empty_host().image().facts().routes(), Err(Unread::NotRunning { .. })));
    }

    #[test]
    fn addresses_of_both_families() {
        let host = empty_host().file("/proc/net/fib_trie", TRIE);
        let facts = host.clone().file("/proc/net/if_inet6", INET6).facts();
        let found = facts.local_addresses().unwrap();
        let shown: Vec<String> = found.iter().map(|local| local.address.to_string()).collect();
        assert_eq!(shown, ["127.0.0.1", "192.0.2.2", "fd00::2", "::1"]);
        assert_eq!(
            (found[1].at.to_string().as_str(), found[1].at.text.as_str()),
            ("/proc/net/fib_trie:9", "|-- 192.0.2.2")
        );
        assert_eq!(host.facts().local_addresses().unwrap().len(), 2);
        assert!(empty_host().facts().local_addresses().is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "([0-9A-Fa-fé]{0,33}[ \t]|\n|\\|-- |/32 host LOCAL){0,30}") {
            let source = Source::new("/proc/net/route", format!("\n{text}"));
            let _ = parse_ipv4(&source);
            let _ = parse_ipv6(&source);
            let _ = parse_if_inet6(&source);
            let mut local = LocalIpv4::default();
            source.lines().for_each(|(_, line)| local.take("/x", line));
        }
    }
}
