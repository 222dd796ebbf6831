//! Whether the kernel speaks IPv6, and whether a network of the user's Podman does. Whether the host has
//! an address or a route to speak it with is in `routes`.

use serde::Deserialize;

use super::toml_keys::Scalar;
use super::users::User;
use super::{Evidence, Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// There as long as the kernel speaks IPv6, whether there are routes or not (`net/ipv6/route.c`).
const ROUTES: &str = "/proc/net/ipv6_route";
/// Beside it where `/proc` shows the network at all.
const ROUTES_OF_IPV4: &str = "/proc/net/route";

/// How the kernel was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ipv6 {
    /// With IPv6, in every network namespace.
    On(Evidence),
    /// With IPv6, and every interface of a new network namespace starts without
    /// (`net/ipv6/addrconf.c`, `addrconf_init_net`).
    OffInNamespaces(Evidence),
    /// Without.
    Off(Evidence),
}

/// What matters of a network as Podman keeps it (netavark: issue 439, where one is shown).
#[derive(Deserialize)]
struct Network {
    #[serde(default)]
    ipv6_enabled: bool,
    #[serde(default)]
    subnets: Vec<Subnet>,
}

#[derive(Deserialize)]
struct Subnet {
    #[serde(default)]
    subnet: String,
}

/// Whether the network in this file has IPv6 addresses.
///
/// # Errors
/// [`Unread::Malformed`] with the line.
fn has_ipv6(source: &Source) -> Fact<bool> {
    let network: Network = serde_json::from_str(source.text()).map_err(|error| Unread::Malformed {
        path: source.path().to_owned(),
        line: u32::try_from(error.line()).ok(),
        expected: "expected a network of Podman".to_owned(),
    })?;
    Ok(network.ipv6_enabled || network.subnets.iter().any(|subnet| subnet.subnet.contains(':')))
}

impl Facts {
    /// Whether the running kernel speaks IPv6, and what on its command line decided that.
    ///
    /// # Errors
    /// Why it could not be told; [`Unread::NotRunning`] in an image root.
    pub fn ipv6(&self) -> Fact<Ipv6> {
        self.need_running("IPv6")?;
        let cmdline = self.boot_parameters()?;
        // Both are numbers (`net/ipv6/af_inet6.c`).
        let set = |name: &str| {
            let last = cmdline.last(name)?;
            last.value
                .as_deref()
                .is_some_and(|value| !value.trim_start_matches('0').is_empty())
                .then(|| last.at.clone())
        };
        if self.source(ROUTES).or_absent()?.is_some() {
            return Ok(match set("ipv6.disable_ipv6") {
                Some(at) => Ipv6::OffInNamespaces(at),
                None => Ipv6::On(Evidence::path(ROUTES, "")),
            });
        }
        self.source(ROUTES_OF_IPV4)?;
        Ok(Ipv6::Off(set("ipv6.disable").unwrap_or_else(|| Evidence::path(ROUTES, "does not exist"))))
    }

    /// Whether the network of this name of the user's Podman has IPv6; `None` where there is no such
    /// network. Each is a file in `networks` of the storage (podman: issue 20993), or where
    /// `network_config_dir` says.
    ///
    /// # Errors
    /// Why a file that tells could not be read.
    pub fn podman_network_ipv6(&self, user: &User, name: &str) -> Fact<Option<Sourced<bool>>> {
        let conf = self.containers_conf(user)?;
        let key = ("network".to_owned(), "network_config_dir".to_owned());
        let dir = match conf.scalars.get(&key).map(|set| &set.value) {
            Some(Scalar::Text(dir)) if !dir.is_empty() => dir.clone(),
            _ => format!("{}/networks", self.storage_conf(user)?.graphroot.trim_end_matches('/')),
        };
        let path = format!("{dir}/{name}.json");
        let Some(source) = self.user_source(&path, user.uid, &user.groups).or_absent()? else {
            return Ok(None);
        };
        let value = has_ipv6(&source)?;
        let said = if value { "ipv6_enabled" } else { "no IPv6 subnet" };
        Ok(Some(Sourced { value, at: Evidence::path(&path, said) }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    /// What kind 0.27 had Podman 5.4 make, as in netavark's issue 439.
    const KIND: &str = r#"{
     "name": "kind",
     "driver": "bridge",
     "network_interface": "podman1",
     "subnets": [
          { "subnet": "fc00:f853:ccd:e793::/64", "gateway": "fc00:f853:ccd:e793::1" },
          { "subnet": "10.89.0.0/24", "gateway": "10.89.0.1" }
     ],
     "ipv6_enabled": true,
     "internal": false,
     "dns_enabled": true
}"#;

    fn booted(cmdline: &str) -> TestHost {
        empty_host().file("/proc/cmdline", format!("quiet {cmdline}\n")).file(ROUTES_OF_IPV4, "Iface\n")
    }

    #[test]
    fn the_command_line_turns_it_off() {
        let on = || booted("").file(ROUTES, "");
        assert_eq!(on().facts().ipv6(), Ok(Ipv6::On(Evidence::path(ROUTES, ""))));
        let word = |word: &str| Evidence::line("/proc/cmdline", 1, word);
        assert_eq!(booted("ipv6.disable=1").facts().ipv6(), Ok(Ipv6::Off(word("ipv6.disable=1"))),);
        for zero in ["ipv6.disable=0", "ipv6.disable=1 ipv6.disable=0", ""] {
            let off = Ok(Ipv6::Off(Evidence::path(ROUTES, "does not exist")));
            assert_eq!(booted(zero).facts().ipv6(), off, "{zero}: built without");
        }
        let namespaces = booted("ipv6.disable_ipv6=1").file(ROUTES, "");
        assert_eq!(namespaces.facts().ipv6(), Ok(Ipv6::OffInNamespaces(word("ipv6.disable_ipv6=1"))));
    }

    #[test]
    fn what_is_hidden_is_not_off() {
        assert!(empty_host().facts().ipv6().is_err(), "no /proc/net");
        assert!(booted("").error(ROUTES, "denied").facts().ipv6().is_err());
        assert!(matches!(booted("").image().facts().ipv6(), Err(Unread::NotRunning { .. })));
    }

    #[test]
    fn a_network_is_a_file() {
        let user = User::example("edge", 1000);
        let path = "/home/edge/.local/share/containers/storage/networks/kind.json";
        let asked = |host: TestHost| host.facts().podman_network_ipv6(&user, "kind");
        assert_eq!(asked(empty_host()), Ok(None));
        let known = |host: TestHost| asked(host).map(|found| found.map(|found| found.value));
        assert_eq!(known(empty_host().file(path, KIND)), Ok(Some(true)));
        let ipv4 = KIND.replace("true,\n     \"internal", "false,\n     \"internal");
        assert_eq!(known(empty_host().file(path, &ipv4)), Ok(Some(true)), "it has a subnet");
        let ipv4 = r#"{"name": "kind", "subnets": [{"subnet": "10.89.0.0/24"}], "ipv6_enabled": false}"#;
        assert_eq!(known(empty_host().file(path, ipv4)), Ok(Some(false)));
        let moved = empty_host()
            .file("/etc/containers/containers.conf", "[network]\nnetwork_config_dir = \"/srv/net\"\n")
            .file("/srv/net/kind.json", KIND);
        assert_eq!(known(moved), Ok(Some(true)));
        let broken = known(empty_host().file(path, "{\n]"));
        assert!(matches!(broken, Err(Unread::Malformed { line: Some(2), .. })), "{broken:?}");
        assert!(known(empty_host().file(path, KIND).error(path, "denied")).is_err());
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(text in "(\\PC|[\n{}\\[\\]:,\"]|ipv6_enabled|subnets?){0,40}") {
            let _ = has_ipv6(&Source::new("/kind.json", text));
        }
    }
}
