//! The network that Usernetes gives the node of a host.

use std::net::{IpAddr, Ipv4Addr};

use sha2::{Digest, Sha256};

use super::cidr::Cidr;
use super::{Facts, Sourced};
use crate::host::{Fact, Unread};

/// The network of the node on a host of this name: 10.100.N.0/24, where N is the first byte of the SHA-256 of
/// the name and a newline (usernetes: Makefile.d/node-subnet.sh). It is made of the name alone, so that two
/// hosts of a cluster can have the same one.
pub fn node_subnet(host_name: &str) -> Option<Cidr> {
    let digest = Sha256::digest(format!("{host_name}\n"));
    Cidr::new(IpAddr::V4(Ipv4Addr::new(10, 100, *digest.first()?, 0)), 24)
}

impl Facts {
    /// The network of the node on this host, and the name that it is made of.
    ///
    /// # Errors
    /// As [`Facts::hostname`], and of a capture with another name in the place of the host's.
    pub fn node_subnet(&self) -> Fact<Sourced<Cidr>> {
        let name = self.hostname()?;
        if self.identity_is_hashed() {
            return Err(Unread::NotCaptured { path: name.at.path.to_string() });
        }
        let expected = || "expected the name of a host".to_owned();
        let none = || Unread::Malformed { path: name.at.path.to_string(), line: None, expected: expected() };
        Ok(Sourced { value: node_subnet(&name.value).ok_or_else(none)?, at: name.at.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::empty_host;

    /// As `HOSTNAME=... Makefile.d/node-subnet.sh` prints them.
    #[test]
    fn as_usernetes_makes_it() {
        for (name, network) in NETWORKS {
            assert_eq!(node_subnet(name).unwrap().to_string(), network, "{name}");
        }
    }

    const NETWORKS: [(&str, &str); 5] = [
        ("edge-1", "10.100.223.0/24"),
        ("edge-2", "10.100.19.0/24"),
        ("raspberrypi", "10.100.122.0/24"),
        ("localhost", "10.100.217.0/24"),
        ("pi.example.org", "10.100.194.0/24"),
    ];

    #[test]
    fn of_this_host() {
        let facts = empty_host().file("/proc/sys/kernel/hostname", "edge-1\n").facts();
        let found = facts.node_subnet().unwrap();
        assert_eq!(found.value, node_subnet("edge-1").unwrap());
        assert_eq!(found.at.to_string(), "/proc/sys/kernel/hostname:1");
        assert!(empty_host().facts().node_subnet().is_err());
    }
}
