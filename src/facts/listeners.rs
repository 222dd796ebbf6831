//! Local ports in use, from `/proc/net/{tcp,tcp6,udp,udp6}` (`proc_pid_net(5)`; the columns:
//! `Documentation/networking/proc_net_tcp.rst`). They are those of the caller's network namespace.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use super::{Evidence, Facts, Source};
use crate::host::{Fact, OrAbsent, Unread};

/// The protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The state of a socket that takes what comes (`include/net/tcp_states.h`): `TCP_LISTEN`, and
    /// `TCP_CLOSE` for UDP sockets that are bound but not connected.
    fn listening(self) -> &'static str {
        match self {
            Protocol::Tcp => "0A",
            Protocol::Udp => "07",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// A socket that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The local address; `0.0.0.0` and `::` are all of them.
    pub address: IpAddr,
    /// The local port.
    pub port: u16,
    /// The owner of the socket.
    pub uid: u32,
    /// The inode of the socket, which `/proc/PID/fd` of its process shows.
    pub inode: u64,
    /// The line.
    pub at: Evidence,
}

impl Listener {
    /// Whether it is in the way of a socket on its port and on this address, `None` for all (ip(7),
    /// `SO_REUSEADDR`; ipv6(7), `IPV6_V6ONLY`). Whether `::` has that option these files do not tell: it is
    /// taken to hold the port for both families, as it does by default.
    pub fn holds(&self, address: Option<IpAddr>) -> bool {
        let own = self.address.to_canonical();
        match address.map(|address| address.to_canonical()).filter(|address| !address.is_unspecified()) {
            None => true,
            Some(IpAddr::V6(_)) if own == IpAddr::V4(Ipv4Addr::UNSPECIFIED) => false,
            Some(address) => own.is_unspecified() || own == address,
        }
    }
}

/// Reads one of the four files, keeping the sockets that listen.
///
/// # Errors
/// [`Unread::Malformed`] for a line that the kernel does not write.
pub fn parse(source: &Source, protocol: Protocol) -> Fact<Vec<Listener>> {
    let mut found = Vec::new();
    for (number, line) in source.lines() {
        found.extend(listener(source.path(), number, line, protocol)?);
    }
    Ok(found)
}

fn listener(path: &str, number: u32, line: &str, protocol: Protocol) -> Fact<Option<Listener>> {
    let mut fields = line.split_ascii_whitespace();
    // The first line is a heading.
    let (Some(slot), Some(local), Some(_), Some(state)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return if line.trim().is_empty() { Ok(None) } else { Err(malformed(path, number)) };
    };
    if slot == "sl" || state != protocol.listening() {
        return Ok(None);
    }
    // tx_queue:rx_queue, tr:tm->when and retrnsmt stand before uid, timeout and inode.
    let read = || {
        let (address, port) = local.split_once(':')?;
        let uid = fields.nth(3)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        Some((address_of(address)?, u16::from_str_radix(port, 16).ok()?, uid, inode))
    };
    let mut read = read;
    let (address, port, uid, inode) = read().ok_or_else(|| malformed(path, number))?;
    Ok(Some(Listener { protocol, address, port, uid, inode, at: Evidence::line(path, number, line) }))
}

fn malformed(path: &str, line: u32) -> Unread {
    Unread::Malformed {
        path: path.to_owned(),
        line: Some(line),
        expected: "expected slot, local address, remote address, state, ... in the form of proc_net_tcp"
            .to_owned(),
    }
}

/// An address as the kernel writes it: words of 32 bits, each in the byte order of the machine, which
/// is taken to be little endian.
pub(super) fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.swap_bytes());
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from_bits(word(0)?))),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bits = words.iter().fold(0, |bits: u128, word| bits << 32 | u128::from(*word));
            Some(IpAddr::V6(Ipv6Addr::from_bits(bits)))
        }
        _ => None,
    }
}

impl Facts {
    /// All sockets that listen, in the order of the files.
    ///
    /// # Errors
    /// [`Unread::NotRunning`] in an image root, and why a file could not be read. Where IPv6 is off,
    /// there are no files for it.
    pub fn listeners(&self) -> Fact<Rc<Vec<Listener>>> {
        self.need_running("the ports in use")?;
        self.memo_fact("", || {
            let files = [
                ("/proc/net/tcp", Protocol::Tcp, true),
                ("/proc/net/tcp6", Protocol::Tcp, false),
                ("/proc/net/udp", Protocol::Udp, true),
                ("/proc/net/udp6", Protocol::Udp, false),
            ];
            let mut listeners = Vec::new();
            for (path, protocol, always) in files {
                let (mut number, mut failure) = (0, None);
                let read = self.scan(path, &mut |line| {
                    number += 1;
                    match listener(path, number, &String::from_utf8_lossy(line), protocol) {
                        Ok(found) => listeners.extend(found),
                        Err(why) => failure = Some(why),
                    }
                    failure.is_none()
                });
                if always {
                    read?;
                } else {
                    read.or_absent()?;
                }
                failure.map_or(Ok(()), Err)?;
            }
            Ok(listeners)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;

    /// From a Linux 6.1 machine, with a connection that only uses its port.
    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0100007F:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 485 1 000000009b2e2581 100 0 0 10 0\n   \
        1: 020200C0:A7B8 507100CB:0050 06 00000000:00000000 03:00000832 00000000     0        0 0 3 0000000027a6049b\n";
    const UDP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
        1105: 000080FE00000000FF00FC00010000FE:2118 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000   100        0 20012 2 000000006ba5a0f6 0\n";

    #[test]
    fn who_is_in_the_way_of_whom() {
        for (own, wanted, holds) in [
            ("127.0.0.53", None, true),
            ("127.0.0.53", Some("127.0.0.53"), true),
            ("127.0.0.53", Some("192.168.1.5"), false),
            ("127.0.0.53", Some("0.0.0.0"), true),
            ("127.0.0.53", Some("::"), true),
            ("0.0.0.0", Some("192.168.1.5"), true),
            ("0.0.0.0", Some("::1"), false),
            ("::", Some("192.168.1.5"), true),
            ("::", Some("::1"), true),
            ("::1", Some("127.0.0.1"), false),
            ("::ffff:127.0.0.1", Some("127.0.0.1"), true),
        ] {
            let at = Evidence::line("/proc/net/tcp", 2, "");
            let address = own.parse().unwrap();
            let listener = Listener { protocol: Protocol::Tcp, address, port: 53, uid: 0, inode: 1, at };
            let wanted_by = wanted.map(|text| text.parse().unwrap());
            assert_eq!(listener.holds(wanted_by), holds, "{own} {wanted:?}");
        }
    }

    #[test]
    fn listening_sockets_have_address_owner_and_line() {
        let tcp = parse(&Source::new("/proc/net/tcp", TCP), Protocol::Tcp).unwrap();
        assert_eq!(tcp.len(), 1);
        assert_eq!((tcp[0].address.to_string().as_str(), tcp[0].port), ("127.0.0.1", 6443));
        assert_eq!((tcp[0].uid, tcp[0].inode, tcp[0].at.line), (1000, 485, Some(2)));
        let udp = parse(&Source::new("/proc/net/udp6", UDP6), Protocol::Udp).unwrap();
        assert_eq!((udp[0].address.to_string().as_str(), udp[0].port), ("fe80::fc:ff:fe00:1", 8472));
    }

    #[test]
    fn all_four_files_are_read_and_ipv6_may_be_off() {
        let host = empty_host().file("/proc/net/tcp", TCP).file("/proc/net/udp", "");
        assert_eq!(host.clone().facts().listeners().unwrap().len(), 1);
        let both = host.clone().file("/proc/net/udp6", UDP6).facts();
        let found = both.listeners().unwrap();
        assert_eq!((found.len(), found[1].protocol.to_string().as_str()), (2, "udp"));
        assert!(host.clone().without("/proc/net/udp").facts().listeners().is_err());
        let bad = host.clone().append("/proc/net/tcp", "2: zz:zz 0:0 0A x\n").facts().listeners();
        assert!(matches!(bad, Err(Unread::Malformed { line: Some(4), .. })), "{bad:?}");
        assert!(matches!(host.image().facts().listeners(), Err(Unread::NotRunning { .. })));
    }

    proptest! {
        #[test]
        fn never_panics(line in "[ 0-9A-Fé:]{0,80}", address in "[0-9A-Fé+]{0,34}") {
            let text = format!(" 0: {address}:0050 00000000:0000 0A {line}\n{line}\n");
            let _ = parse(&Source::new("/proc/net/tcp", text), Protocol::Tcp);
            let _ = address_of(&address);
        }
    }
}
