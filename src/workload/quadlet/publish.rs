//! `PublishPort=`: `[[ADDRESS:]PORT:]PORT[/PROTOCOL]`, with ranges (podman: `pkg/specgenutil/util.go`,
//! `CreatePortBindings`).

use std::net::IpAddr;

use crate::requirements::Protocol;

/// Ports of the host that are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The protocol; `None` for one that nothing on the host is looked at for, as sctp.
    pub protocol: Option<Protocol>,
    /// On this address only.
    pub address: Option<IpAddr>,
    /// The first and the last; `None` where Podman picks one that is free.
    pub ports: Option<(u16, u16)>,
}

impl Published {
    /// Whether both want a port of the same addresses; the first one of them.
    pub fn shared(&self, other: &Published) -> Option<u16> {
        let any = |address: Option<IpAddr>| address.is_none_or(|address| address.is_unspecified());
        let same = any(self.address) || any(other.address) || self.address == other.address;
        let ((from, to), (other_from, other_to)) = (self.ports?, other.ports?);
        let first = from.max(other_from);
        (same && self.protocol.is_some() && self.protocol == other.protocol && first <= to.min(other_to))
            .then_some(first)
    }
}

/// Whether the generator refuses a value before Podman 5.3, where its ports do not end in a digit or in
/// `/tcp` or `/udp` (podman: `pkg/systemd/quadlet/quadlet.go`, `validPortRange`; pull request 24119).
pub(super) fn is_refused_early(text: &str) -> bool {
    let is_range = |port: &str| {
        let port = port.strip_suffix("/tcp").or_else(|| port.strip_suffix("/udp")).unwrap_or(port);
        port.ends_with(|c: char| c.is_ascii_digit())
    };
    text.rsplit(':').take(2).any(|port| !port.is_empty() && !port.ends_with(']') && !is_range(port))
}

/// What a value publishes; `None` where it cannot be told, because systemd puts something in for a `%` or a
/// variable.
///
/// # Errors
/// What is wrong with it, in a clause.
pub(super) fn parse(text: &str) -> Result<Option<Published>, String> {
    if text.contains(['%', '$']) {
        return Ok(None);
    }
    let (rest, protocol) = match text.split_once('/') {
        None => (text, "tcp"),
        Some((_, protocol)) if protocol.contains('/') || protocol.is_empty() => {
            return Err("has no protocol after the slash".to_owned());
        }
        Some((rest, protocol)) => (rest, protocol),
    };
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => None,
        other => return Err(format!("has a protocol that Podman does not know, {other}")),
    };
    let (address, rest) = match rest.strip_prefix('[') {
        Some(v6) => {
            let (address, rest) =
                v6.split_once("]:").ok_or("has an address without a port of the host".to_owned())?;
            (Some(address), rest)
        }
        None => (None, rest),
    };
    let parts: Vec<&str> = rest.split(':').collect();
    let (address, host, container) = match (address, parts.as_slice()) {
        (None, [container]) => (None, None, *container),
        (address, [host, container]) => (address, Some(*host), *container),
        (None, [address, host, container]) => (Some(*address), Some(*host), *container),
        (Some(_), _) => return Err("has an address without a port of the host".to_owned()),
        _ => return Err("is not [[ADDRESS:]PORT:]PORT; IPv6 addresses stand in brackets".to_owned()),
    };
    let address = address
        .map(|text| text.parse::<IpAddr>().map_err(|_| format!("has {text:?}, which is no address")))
        .transpose()?
        .filter(|address| !address.is_unspecified() || address.is_ipv6());
    let container = range(container)?;
    let ports = host.filter(|host| !host.is_empty()).map(range).transpose()?;
    if let Some((from, to)) = ports
        && to - from != container.1 - container.0
    {
        return Err("has ranges of different lengths".to_owned());
    }
    Ok(Some(Published { protocol, address, ports }))
}

fn range(text: &str) -> Result<(u16, u16), String> {
    let port = |text: &str| {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let port = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u16>().ok());
        port.flatten().filter(|port| *port > 0).ok_or_else(|| format!("has {text:?}, which is no port"))
    };
    match text.split_once('-') {
        None => port(text).map(|port| (port, port)),
        Some((from, to)) => {
            let (from, to) = (port(from)?, port(to)?);
            if to > from { Ok((from, to)) } else { Err(format!("has a range that is none, {text}")) }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `PROTOCOL ADDRESS FIRST LAST`.
    fn read(text: &str) -> String {
        match parse(text) {
            Err(why) => why,
            Ok(None) => "unknown".to_owned(),
            Ok(Some(Published { protocol, address, ports })) => {
                let protocol = protocol.map_or("sctp".to_owned(), |protocol| protocol.to_string());
                let address = address.map_or("*".to_owned(), |address| address.to_string());
                let ports = ports.map_or("random".to_owned(), |(from, to)| format!("{from} {to}"));
                format!("{protocol} {address} {ports}")
            }
        }
    }

    #[test]
    fn all_forms() {
        for (text, expected) in [
            ("8080:80", "tcp * 8080 8080"),
            ("80", "tcp * random"),
            (":80", "tcp * random"),
            ("80/udp", "udp * random"),
            ("127.0.0.1:53:53/udp", "udp 127.0.0.1 53 53"),
            ("0.0.0.0:80:80", "tcp * 80 80"),
            ("127.0.0.1::80", "tcp 127.0.0.1 random"),
            ("[::1]:80:80/TCP", "tcp ::1 80 80"),
            ("8000-8010:9000-9010", "tcp * 8000 8010"),
            ("132:132/sctp", "sctp * 132 132"),
            ("%i:80", "unknown"),
            ("${PORT}:80", "unknown"),
            ("${ADDRESS}:8080:80", "unknown"),
            ("8000-8010:9000", "has ranges of different lengths"),
            ("8010-8000:9000-9010", "has a range that is none, 8010-8000"),
            ("0:80", "has \"0\", which is no port"),
            ("65536:80", "has \"65536\", which is no port"),
            ("8080:", "has \"\", which is no port"),
            ("8080:80/tcp/udp", "has no protocol after the slash"),
            ("8080:80/icmp", "has a protocol that Podman does not know, icmp"),
            ("[::1]:80", "has an address without a port of the host"),
            ("::1:80:80", "is not [[ADDRESS:]PORT:]PORT; IPv6 addresses stand in brackets"),
            ("localhost:80:80", "has \"localhost\", which is no address"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_an_early_generator_refuses() {
        for text in ["${PORT}:80", "80:$PORT", "%i:80", "1:1/sctp", "127.0.0.1:${PORT}:80/tcp"] {
            assert!(is_refused_early(text), "{text}");
        }
        for text in ["8080:80", "80", ":80", "${ADDRESS}:8080-8081:80-81/udp", "[::1]:80:80/tcp", "[::1]::80"]
        {
            assert!(!is_refused_early(text), "{text}");
        }
    }

    #[test]
    fn what_two_want() {
        let shared = |a: &str, b: &str| parse(a).unwrap().unwrap().shared(&parse(b).unwrap().unwrap());
        assert_eq!(shared("8080:80", "8080:8080"), Some(8080));
        assert_eq!(shared("127.0.0.1:8080:80", "8080:80"), Some(8080));
        assert_eq!(shared("8000-8010:1-11", "8005-8020:1-16"), Some(8005));
        assert_eq!(shared("127.0.0.1:8080:80", "127.0.0.2:8080:80"), None);
        assert_eq!(shared("53:53", "53:53/udp"), None);
        assert_eq!((shared("80", "80"), shared("1:1/sctp", "1:1/sctp")), (None, None));
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(text in "([0-9a-f:./%-]|\\[|\\]|\\PC){0,40}") {
            let _ = parse(&text);
        }
    }
}
