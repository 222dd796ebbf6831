//! The table `[k3s]` of policy: what `k3s-rootless.service` starts with, as variables of its environment
//! (k3s: `pkg/rootless/rootless.go`). K3s warns of most bad values and goes on with its own, or stops, so
//! they are refused here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use toml::Spanned;

use crate::facts::cidr::Cidr;

/// The smallest MTU that every host must take (RFC 791), and the largest of slirp4netns(1).
const MTU: std::ops::RangeInclusive<u32> = 576..=65520;
/// The longest prefix that slirp4netns takes ("prefix length needs to be 1-25").
const LONGEST_PREFIX: u8 = 25;
/// `--cluster-cidr` and `--service-cidr` of K3s, unless told otherwise.
const TAKEN: [&str; 2] = ["10.42.0.0/16", "10.43.0.0/16"];
const PORT_DRIVERS: [&str; 2] = ["builtin", "slirp4netns"];
/// Policy is world-readable and is printed; these are secrets, or hold one.
const SECRETS: [&str; 4] = ["K3S_TOKEN", "K3S_AGENT_TOKEN", "K3S_BOOTSTRAP_TOKEN", "K3S_DATASTORE_ENDPOINT"];
/// With it K3s is an agent, which "multi-node rootless clusters are not supported" rules out (K3s documentation,
/// "Running Rootless Servers", "Known Issues with Rootless mode").
const JOINS: &str = "K3S_URL";

/// The variable for the network of slirp4netns.
pub(crate) const CIDR_VARIABLE: &str = "K3S_ROOTLESS_CIDR";

/// The table as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawK3s {
    mtu: Option<Spanned<u32>>,
    cidr: Option<Spanned<Cidr>>,
    enable_ipv6: Option<Spanned<bool>>,
    port_driver: Option<Spanned<String>>,
    disable_host_loopback: Option<Spanned<bool>>,
    copy_up_dirs: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    environment: BTreeMap<String, Spanned<String>>,
}

/// A variable, and the offset of its value in the text.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) offset: usize,
}

impl RawK3s {
    /// The variables that the table comes to.
    ///
    /// # Errors
    /// Where, as an offset, and what was expected there.
    pub(super) fn variables(self) -> Result<Vec<Variable>, (usize, String)> {
        let mut all = Variables(Vec::new());
        all.add("K3S_ROOTLESS_MTU", self.mtu, |mtu| {
            let expected = || format!("mtu = {mtu}: expected {} to {}", MTU.start(), MTU.end());
            MTU.contains(mtu).then(|| mtu.to_string()).ok_or_else(expected)
        })?;
        all.add(CIDR_VARIABLE, self.cidr, network)?;
        all.add("K3S_ROOTLESS_ENABLE_IPV6", self.enable_ipv6, |value| Ok(value.to_string()))?;
        all.add("K3S_ROOTLESS_PORT_DRIVER", self.port_driver, |name| {
            let expected = || format!("port-driver = {name:?}: expected {}", PORT_DRIVERS.join(" or "));
            PORT_DRIVERS.contains(&name.as_str()).then(|| name.clone()).ok_or_else(expected)
        })?;
        let loopback = self.disable_host_loopback;
        all.add("K3S_ROOTLESS_DISABLE_HOST_LOOPBACK", loopback, |value| Ok(value.to_string()))?;
        all.add("K3S_ROOTLESS_COPYUPDIRS", self.copy_up_dirs, |dirs| {
            let is_dir = |dir: &String| dir.starts_with('/') && !dir.contains(',') && is_text(dir);
            match dirs.iter().find(|dir| !is_dir(dir)) {
                Some(dir) => Err(format!("copy-up-dirs: {dir:?}: expected an absolute path without a comma")),
                None => Ok(dirs.join(",")),
            }
        })?;
        for (name, value) in self.environment {
            let offset = value.span().start;
            let refuse = |why: String| Err((offset, format!("environment: {name}: {why}")));
            let known = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_';
            if name.starts_with("_K3S_") {
                return refuse("K3s sets it itself".to_owned());
            }
            if !name.strip_prefix("K3S_").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(known)) {
                return refuse("expected a name of the form K3S_[A-Z0-9_]+".to_owned());
            }
            if let Some((_, key)) = KEYS.iter().find(|(variable, _)| *variable == name) {
                return refuse(format!("expected the key {key} of [k3s] instead"));
            }
            if name == JOINS {
                return refuse("a rootless K3s is a cluster of one node; usernetes has several".to_owned());
            }
            if SECRETS.contains(&name.as_str()) {
                return refuse("a secret has no place in policy, which anyone can read".to_owned());
            }
            if !is_text(value.get_ref()) {
                return refuse("expected a value without control characters".to_owned());
            }
            all.0.push(Variable { name, value: value.into_inner(), offset });
        }
        Ok(all.0)
    }
}

/// The variables that have a key of their own.
const KEYS: [(&str, &str); 6] = [
    ("K3S_ROOTLESS_MTU", "mtu"),
    (CIDR_VARIABLE, "cidr"),
    ("K3S_ROOTLESS_ENABLE_IPV6", "enable-ipv6"),
    ("K3S_ROOTLESS_PORT_DRIVER", "port-driver"),
    ("K3S_ROOTLESS_DISABLE_HOST_LOOPBACK", "disable-host-loopback"),
    ("K3S_ROOTLESS_COPYUPDIRS", "copy-up-dirs"),
];

struct Variables(Vec<Variable>);

impl Variables {
    fn add<T>(
        &mut self,
        name: &str,
        value: Option<Spanned<T>>,
        convert: impl Fn(&T) -> Result<String, String>,
    ) -> Result<(), (usize, String)> {
        if let Some(value) = value {
            let offset = value.span().start;
            let value = convert(value.get_ref()).map_err(|expected| (offset, expected))?;
            self.0.push(Variable { name: name.to_owned(), value, offset });
        }
        Ok(())
    }
}

fn network(cidr: &Cidr) -> Result<String, String> {
    if !matches!(cidr.address(), IpAddr::V4(_)) || !(1..=LONGEST_PREFIX).contains(&cidr.prefix()) {
        return Err(format!("cidr = \"{cidr}\": expected an IPv4 network of /1 to /{LONGEST_PREFIX}"));
    }
    let taken = TAKEN.iter().find(|taken| taken.parse::<Cidr>().is_ok_and(|taken| taken.overlaps(cidr)));
    match taken {
        Some(taken) => {
            Err(format!("cidr = \"{cidr}\" overlaps {taken}, which K3s gives to pods or services"))
        }
        None => Ok(cidr.to_string()),
    }
}

fn is_text(value: &str) -> bool {
    !value.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use crate::profile::Layer;

    fn parse(table: &str) -> Result<Vec<(String, String, u32)>, String> {
        let layer = Layer::parse("site.toml", &format!("user = \"edge\"\n\n[k3s]\n{table}\n"));
        let layer = layer.map_err(|why| why.to_string())?;
        let all = layer.k3s.iter().map(|(name, (value, origin))| (name.clone(), value.clone(), origin.line));
        Ok(all.collect())
    }

    #[test]
    fn each_key_is_a_variable() {
        for (table, name, value) in [
            ("mtu = 1500", "K3S_ROOTLESS_MTU", "1500"),
            ("cidr = \"10.64.0.0/16\"", "K3S_ROOTLESS_CIDR", "10.64.0.0/16"),
            ("enable-ipv6 = true", "K3S_ROOTLESS_ENABLE_IPV6", "true"),
            ("port-driver = \"slirp4netns\"", "K3S_ROOTLESS_PORT_DRIVER", "slirp4netns"),
            ("disable-host-loopback = false", "K3S_ROOTLESS_DISABLE_HOST_LOOPBACK", "false"),
            ("copy-up-dirs = [\"/opt\", \"/srv/x\"]", "K3S_ROOTLESS_COPYUPDIRS", "/opt,/srv/x"),
            ("environment = { K3S_NODE_NAME = \"a b\" }", "K3S_NODE_NAME", "a b"),
        ] {
            assert_eq!(parse(table), Ok(vec![(name.to_owned(), value.to_owned(), 4)]), "{table}");
        }
        assert_eq!(parse(""), Ok(vec![]));
    }

    #[test]
    fn what_k3s_would_not_take_is_refused_with_its_line() {
        for (table, expected) in [
            ("mtu = 500", "site.toml:4: mtu = 500: expected 576 to 65520"),
            ("mtu = 65521", "site.toml:4: mtu = 65521: expected 576 to 65520"),
            ("# no\nmtu = \"1500\"", "site.toml:5: mtu = \"1500\": expected a number, without quotes"),
            ("cidr = \"10.64.0.1/16\"", "site.toml:4: \"10.64.0.1/16\": expected a network"),
            ("cidr = \"10.42.7.0/24\"", "site.toml:4: cidr = \"10.42.7.0/24\" overlaps 10.42.0.0/16"),
            ("cidr = \"10.0.0.0/8\"", "overlaps 10.42.0.0/16"),
            ("cidr = \"10.43.0.0/24\"", "overlaps 10.43.0.0/16"),
            ("cidr = \"10.64.0.0/26\"", "expected an IPv4 network of /1 to /25"),
            ("cidr = \"fd00::/64\"", "expected an IPv4 network"),
            ("port-driver = \"pasta\"", "expected builtin or slirp4netns"),
            ("copy-up-dirs = [\"opt\"]", "expected an absolute path"),
            ("copy-up-dirs = [\"/a,/b\"]", "without a comma"),
            ("flannel = true", "site.toml:4: unknown key flannel"),
            ("environment = { _K3S_ROOTLESS_FD = \"3\" }", "K3s sets it itself"),
            ("environment = { PATH = \"/\" }", "expected a name of the form K3S_[A-Z0-9_]+"),
            ("environment = { K3S_ = \"x\" }", "expected a name of the form"),
            ("environment = { K3S_node = \"x\" }", "expected a name of the form"),
            ("environment = { K3S_TOKEN = \"x\" }", "a secret has no place in policy"),
            ("environment = { K3S_URL = \"x\" }", "a cluster of one node; usernetes has several"),
            ("environment = { K3S_ROOTLESS_MTU = \"9\" }", "expected the key mtu of [k3s] instead"),
            ("environment = { K3S_X = \"a\\nb\" }", "without control characters"),
            ("[k3s.environment]\nK3S_X = 1", "site.toml:5: K3S_X = 1: expected a text in quotes"),
        ] {
            let why = parse(table).unwrap_err();
            assert!(why.contains(expected), "{table}: {why}");
        }
    }
}
