//! The secrets that a user has in Podman, by name: `secrets/secrets.json` of the storage (containers/common:
//! `pkg/secrets/secretsdb.go`; podman: `libpod/runtime.go`, `GetSecretsStorageDir`). What they hold is
//! elsewhere and is not read.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Deserialize;

use super::users::User;
use super::{Facts, Source};
use crate::host::{Fact, OrAbsent, Unread};

/// The names and IDs of secrets.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PodmanSecrets {
    /// The file; empty before it was read.
    #[serde(skip)]
    pub path: String,
    #[serde(default, rename = "nameToID")]
    ids: BTreeMap<String, String>,
}

impl PodmanSecrets {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Unread::Malformed`] with the line.
    pub fn parse(source: &Source) -> Fact<PodmanSecrets> {
        serde_json::from_str(source.text()).map_err(|error| Unread::Malformed {
            path: source.path().to_owned(),
            line: u32::try_from(error.line()).ok(),
            expected: "expected Podman's list of secrets, JSON with nameToID".to_owned(),
        })
    }

    /// Whether there is one of this name, or whose ID begins so.
    pub fn has(&self, name: &str) -> bool {
        self.ids.contains_key(name) || self.ids.values().any(|id| !name.is_empty() && id.starts_with(name))
    }
}

impl Facts {
    /// The secrets of a user; none where Podman keeps none.
    ///
    /// # Errors
    /// As [`Facts::storage_conf`], and where the file cannot be read, by us or by that user.
    pub fn podman_secrets(&self, user: &User) -> Fact<Rc<PodmanSecrets>> {
        self.memo_fact(&user.name, || {
            let path = format!("{}/secrets/secrets.json", self.storage_conf(user)?.graphroot);
            let source = self.user_source(&path, user.uid, &user.groups).or_absent()?;
            let secrets = source.map(|source| PodmanSecrets::parse(&source)).transpose()?;
            Ok(PodmanSecrets { path, ..secrets.unwrap_or_default() })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;

    const PATH: &str = "/home/edge/.local/share/containers/storage/secrets/secrets.json";
    /// As Podman 5.4 writes it, shortened.
    const TEXT: &str = r#"{"secrets":{"0a1b2c":{"name":"token","id":"0a1b2c","driver":"file"}},
        "nameToID":{"token":"0a1b2c"},"idToName":{"0a1b2c":"token"}}"#;

    #[test]
    fn names_and_ids() {
        let user = User::example("edge", 1000);
        let secrets = |host: crate::facts::testing::TestHost| host.facts().podman_secrets(&user);
        let found = secrets(empty_host().file(PATH, TEXT)).unwrap();
        assert!(found.has("token") && found.has("0a1"));
        assert!(!found.has("tok") && !found.has(""));
        assert!(!secrets(empty_host()).unwrap().has("token"), "none yet");
        assert!(secrets(empty_host().file(PATH, "[")).is_err());
        let closed = empty_host().file(PATH, TEXT).mode(PATH, "0600");
        assert!(secrets(closed).is_err(), "root's");
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(text in "(\\PC|[{}\":,\n]){0,100}") {
            let _ = PodmanSecrets::parse(&Source::new("/s", text));
        }
    }
}
