//! The networks of a user's Podman, as netavark keeps them: a file of JSON each (containers/common:
//! `libnetwork/types/network.go`, `Network`). The default network has one only where it was changed.

use serde::Deserialize;

use super::toml_keys::Scalar;
use super::users::User;
use super::{Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// More networks than anybody makes.
const MOST: usize = 256;

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Network {
    /// Its name, which is that of its file, too.
    pub name: String,
    /// What it is made of: `bridge`, `macvlan`, `ipvlan`.
    #[serde(default)]
    pub driver: String,
    /// Whether containers on it find each other by name.
    #[serde(default)]
    pub dns_enabled: bool,
}

/// Reads a network.
///
/// # Errors
/// [`Unread::Malformed`] with the line, for what is no network.
pub fn parse(source: &Source) -> Fact<Sourced<Network>> {
    let network: Network = serde_json::from_str(source.text()).map_err(|error| Unread::Malformed {
        path: source.path().to_owned(),
        line: u32::try_from(error.line()).ok(),
        expected: "expected a network of Podman".to_owned(),
    })?;
    let line = source.lines().find(|(_, line)| line.contains("\"dns_enabled\""));
    Ok(match line {
        Some((number, line)) => source.on(number, line, network),
        None => source.whole(network),
    })
}

impl Facts {
    /// The networks of the user's Podman, by name: those in `networks` of the storage, or where
    /// `network_config_dir` of `containers.conf` says (containers/common: `libnetwork/network/interface.go`).
    /// A file that Podman passes over, with a warning, is passed over.
    ///
    /// # Errors
    /// As [`Facts::storage_conf`] and [`Facts::containers_conf`], and why a file could not be read.
    pub fn podman_networks(&self, user: &User) -> Fact<Vec<Sourced<Network>>> {
        let conf = self.containers_conf(user)?;
        let key = ("network".to_owned(), "network_config_dir".to_owned());
        let dir = match conf.scalars.get(&key).map(|set| &set.value) {
            Some(Scalar::Text(dir)) if !dir.is_empty() => dir.trim_end_matches('/').to_owned(),
            _ => format!("{}/networks", self.storage_conf(user)?.graphroot.trim_end_matches('/')),
        };
        match self.stat(&dir).or_absent()? {
            None => return Ok(Vec::new()),
            Some(stat) if !stat.allows(user.uid, &user.groups, 5) => {
                return Err(Unread::Denied { path: dir });
            }
            Some(_) => {}
        }
        let mut networks = Vec::new();
        for entry in self.names_in(&dir)?.iter().filter(|entry| !entry.is_dir).take(MOST) {
            let Some(name) = entry.name.strip_suffix(".json") else { continue };
            let path = format!("{dir}/{}", entry.name);
            let Some(source) = self.user_source(&path, user.uid, &user.groups).or_absent()? else { continue };
            networks.extend(parse(&source).ok().filter(|network| network.value.name == name));
        }
        Ok(networks)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    const DIR: &str = "/home/edge/.local/share/containers/storage/networks";
    /// As `podman network create k3d` of Podman 5.4 writes it, in short.
    const K3D: &str = "{\n     \"name\": \"k3d\",\n     \"driver\": \"bridge\",\n     \"ipv6_enabled\": false,\n     \
                       \"dns_enabled\": true,\n     \"labels\": null\n}\n";

    fn names(host: TestHost) -> Fact<Vec<String>> {
        let found = host.facts().podman_networks(&User::example("edge", 1000))?;
        Ok(found.into_iter().map(|network| format!("{} {}", network.value.name, network.at)).collect())
    }

    #[test]
    fn networks_are_files_of_their_name() {
        let host = empty_host()
            .dir(DIR, "0755", 1000)
            .file(&format!("{DIR}/k3d.json"), K3D)
            .file(&format!("{DIR}/other.json"), K3D)
            .file(&format!("{DIR}/broken.json"), "{")
            .file(&format!("{DIR}/netavark.lock"), "");
        assert_eq!(names(host.clone()), Ok(vec![format!("k3d {DIR}/k3d.json:5")]));
        assert_eq!(names(empty_host()), Ok(vec![]));
        let elsewhere = "[network]\nnetwork_config_dir = \"/srv/nets/\"\n";
        let conf = "/home/edge/.config/containers/containers.conf";
        let moved = host.clone().file(conf, elsewhere).dir("/srv/nets", "0755", 0);
        assert_eq!(
            names(moved.file("/srv/nets/k3d.json", K3D)),
            Ok(vec!["k3d /srv/nets/k3d.json:5".to_owned()])
        );
        assert!(names(host.clone().dir(DIR, "0700", 0)).is_err(), "the user cannot list it");
        assert!(names(host.mode(&format!("{DIR}/k3d.json"), "0600")).is_err(), "nor read it");
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)(.{0,12}|\"name\"|\"dns_enabled\"|:|true|\\{|\\}|\n|,|\"x\"){0,12}") {
            let _ = parse(&Source::new("/x", text));
        }
    }
}
