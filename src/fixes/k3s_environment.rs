//! Variables of K3s as policy may set them (k3s, `pkg/rootless/rootless.go`): a wrong value is only a
//! warning to K3s, or ends it, so none is written.

use super::FixError;
use super::draft::one_line;
use crate::facts::cidr::Cidr;

/// From the least that IPv4 hosts take (RFC 791) to what slirp4netns has at most.
const MTU: std::ops::RangeInclusive<u32> = 576..=65_520;

/// Whether a variable may be written.
pub(super) fn check(name: &str, value: &str) -> Result<(), FixError> {
    let refused = |expected: &str| FixError::Refused(format!("{name}: expected {expected}, found {value:?}"));
    let rest = name.strip_prefix("K3S_").unwrap_or_default();
    let word = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    // What begins with _K3S_ is between K3s and its child.
    if rest.is_empty() || !rest.chars().all(word) {
        return Err(FixError::Refused(format!("{name:?}: expected a variable that is called K3S_...")));
    }
    one_line(name, value)?;
    let absolute = |dir: &str| dir.starts_with('/') && !dir.split('/').any(|part| part == "..");
    let (is_valid, expected) = match rest {
        "ROOTLESS_CIDR" => {
            (value.parse::<Cidr>().is_ok(), "a network such as 10.41.0.0/16, without host bits")
        }
        "ROOTLESS_MTU" => {
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            let in_range = value.parse().is_ok_and(|mtu| MTU.contains(&mtu));
            (digits && in_range, "a number from 576 to 65520")
        }
        "ROOTLESS_PORT_DRIVER" => (matches!(value, "builtin" | "slirp4netns"), "builtin or slirp4netns"),
        "ROOTLESS_ENABLE_IPV6" | "ROOTLESS_DISABLE_HOST_LOOPBACK" => {
            (matches!(value, "true" | "false"), "true or false")
        }
        "ROOTLESS_COPYUPDIRS" => (value.split(',').all(absolute), "absolute paths with commas between them"),
        _ => (true, ""),
    };
    if is_valid { Ok(()) } else { Err(refused(expected)) }
}

/// The assignment as a unit has it (`systemd.exec(5)`, "Environment="; `systemd.syntax(7)`, "Quoting").
pub(super) fn line(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("Environment=\"{name}={value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_k3s_takes() {
        for (name, good, bad) in [
            ("CIDR", &["10.41.0.0/16", "fd00::/64"][..], &["10.41.0.1/16", "10.41.0.0", "", "x"][..]),
            ("MTU", &["576", "1500", "65520"], &["575", "65521", "+1500", "1500 ", "", "x"]),
            ("PORT_DRIVER", &["builtin", "slirp4netns"], &["none", "Builtin", ""]),
            ("ENABLE_IPV6", &["true", "false"], &["yes", "1", ""]),
            ("DISABLE_HOST_LOOPBACK", &["true", "false"], &["no"]),
            ("COPYUPDIRS", &["/opt", "/opt,/srv/x"], &["opt", "/opt,", "/a/../b", ""]),
        ] {
            let name = format!("K3S_ROOTLESS_{name}");
            assert!(good.iter().all(|value| check(&name, value).is_ok()), "{name}");
            assert!(bad.iter().all(|value| check(&name, value).is_err()), "{name}");
        }
        let error = check("K3S_ROOTLESS_MTU", "9").unwrap_err();
        assert_eq!(error.to_string(), "K3S_ROOTLESS_MTU: expected a number from 576 to 65520, found \"9\"");
    }

    #[test]
    fn only_variables_of_k3s() {
        for name in ["_K3S_ROOTLESS_FD", "PATH", "K3S_", "K3S_a", "K3S_A B", "K3S_A=B", "XK3S_A", ""] {
            assert!(check(name, "x").is_err(), "{name}");
        }
        assert!(check("K3S_NODE_NAME", "edge-1").is_ok());
        assert!(check("K3S_NODE_NAME", "a\n[Service]").is_err());
    }

    #[test]
    fn values_are_quoted() {
        assert_eq!(line("K3S_A", "a b\"c\\d%i$x"), "Environment=\"K3S_A=a b\\\"c\\\\d%%i$x\"");
    }
}
