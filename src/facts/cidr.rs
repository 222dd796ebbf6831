//! Networks in CIDR notation (RFC 4632, RFC 4291), and whether two of them have addresses in common.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network: an address and the length of its prefix. Bits after the prefix are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// The network that holds `address`; `None` for a prefix that is longer than the address.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Cidr> {
        let address = match address {
            IpAddr::V4(v4) if prefix <= 32 => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask4(prefix))),
            IpAddr::V6(v6) if prefix <= 128 => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask6(prefix))),
            _ => return None,
        };
        Some(Cidr { address, prefix })
    }

    /// The first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The length of the prefix in bits.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether it is all addresses: a default route.
    pub fn is_default(&self) -> bool {
        self.prefix == 0
    }

    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        Cidr::new(address, self.prefix).is_some_and(|network| network == *self)
    }

    /// Whether both have an address in common: then one contains the other. A default route overlaps
    /// every network of its family.
    pub fn overlaps(&self, other: &Cidr) -> bool {
        if self.prefix <= other.prefix { self.contains(other.address) } else { other.contains(self.address) }
    }
}

fn mask4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn mask6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// What is no network in CIDR notation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network such as 10.42.0.0/16")]
pub struct CidrError(String);

impl FromStr for Cidr {
    type Err = CidrError;

    /// Reads `10.42.0.0/16`. Bits after the prefix are refused, because they hint at a slip, and K3s
    /// refuses them, too.
    fn from_str(text: &str) -> Result<Cidr, CidrError> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let address: IpAddr = address.parse().ok()?;
            let prefix = Some(prefix).filter(|prefix| prefix.bytes().all(|b| b.is_ascii_digit()))?;
            Cidr::new(address, prefix.parse().ok()?).filter(|network| network.address == address)
        };
        parse().ok_or_else(|| CidrError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_overlap_when_one_holds_the_other() {
        let table = [
            ("10.42.0.0/16", "10.42.1.0/24", true),
            ("10.42.1.0/24", "10.42.0.0/16", true),
            ("10.42.0.0/16", "10.43.0.0/16", false),
            ("10.42.0.0/15", "10.43.0.0/16", true),
            ("0.0.0.0/0", "10.43.0.0/16", true),
            ("0.0.0.0/0", "::/0", false),
            ("fd00::/8", "fdab::/64", true),
            ("192.0.2.1/32", "192.0.2.1/32", true),
        ];
        for (a, b, overlap) in table {
            assert_eq!(cidr(a).overlaps(&cidr(b)), overlap, "{a} {b}");
        }
        assert!(cidr("10.0.2.0/24").contains("10.0.2.3".parse().unwrap()));
        assert!(!cidr("10.0.2.0/24").contains("::1".parse().unwrap()));
        assert!(cidr("::/0").is_default() && cidr("::/0").contains("::1".parse().unwrap()));
    }

    #[test]
    fn only_the_exact_notation_is_read() {
        for text in [
            "10.42.0.0",
            "10.42.0.1/16",
            "10.42.0.0/33",
            "10.42.0.0/+8",
            "::/129",
            "/8",
            "",
            "a/b/c",
            "1.1/8",
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(CidrError(text.to_owned())));
        }
        assert_eq!(cidr("fd00::/8").to_string(), "fd00::/8");
        let made = Cidr::new("10.42.3.4".parse().unwrap(), 16).unwrap();
        assert_eq!((made.to_string().as_str(), made.prefix()), ("10.42.0.0/16", 16));
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,20}", a: u128, b: u128, p in 0u8..=140, q in 0u8..=140) {
            let _ = text.parse::<Cidr>();
            let new = |bits, prefix| Cidr::new(IpAddr::V6(Ipv6Addr::from_bits(bits)), prefix);
            if let (Some(a), Some(b)) = (new(a, p), new(b, q)) {
                prop_assert_eq!(a.overlaps(&b), b.overlaps(&a));
                prop_assert_eq!(a.to_string().parse::<Cidr>(), Ok(a));
            }
        }
    }
}
