//! The secrets that Podman keeps for a user, by name; what is in them is not read.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::users::User;
use super::{Evidence, Facts, Source};
use crate::host::{Fact, OrAbsent, Unread};

/// The database of names (podman: `GetSecretsStorageDir`; container-libs: common/pkg/secrets/secretsdb.go).
#[derive(Deserialize)]
struct Database {
    #[serde(rename = "nameToID", default)]
    name_to_id: BTreeMap<String, String>,
}

/// The longest ID, and beginning of one (container-libs: common/pkg/secrets/secrets.go, `secretIDLength`).
const ID_LENGTH: usize = 25;

/// The names in the text of `secrets.json`, with their IDs.
///
/// # Errors
/// [`Unread::Malformed`] with the line.
fn names(source: &Source) -> Fact<BTreeMap<String, String>> {
    let database: Database = serde_json::from_str(source.text()).map_err(|error| Unread::Malformed {
        path: source.path().to_owned(),
        line: u32::try_from(error.line()).ok().filter(|line| *line > 0),
        expected: "expected the names of secrets".to_owned(),
    })?;
    Ok(database.name_to_id)
}

/// `T` of the memo.
struct Secrets {
    names: BTreeMap<String, String>,
    path: String,
    is_there: bool,
}

impl Facts {
    /// Whether Podman keeps a secret of this name for the user, or one alone whose ID begins so, and where
    /// that is written (container-libs: common/pkg/secrets/secretsdb.go, `getNameAndID`).
    ///
    /// # Errors
    /// Why its database could not be found, read or parsed.
    pub fn podman_secret(&self, user: &User, name: &str) -> Fact<(bool, Evidence)> {
        let secrets = self.memo_fact(&user.name, || {
            let graphroot = &self.storage_conf(user)?.graphroot;
            if !graphroot.starts_with('/') || graphroot.contains('$') {
                let expected = "the path has a variable whose value is not known".to_owned();
                return Err(Unread::Malformed { path: graphroot.clone(), line: None, expected });
            }
            let path = format!("{}/secrets/secrets.json", graphroot.trim_end_matches('/'));
            let source = self.user_source(&path, user.uid, &user.groups).or_absent()?;
            let names = source.as_deref().map(names).transpose()?;
            Ok(Secrets { is_there: source.is_some(), names: names.unwrap_or_default(), path })
        })?;
        let begins = || secrets.names.values().filter(|id| name.len() <= ID_LENGTH && id.starts_with(name));
        let is_id = || !name.is_empty() && (begins().count() == 1 || begins().any(|id| id == name));
        let is_there = secrets.names.contains_key(name) || is_id();
        let text = match (is_there, secrets.is_there) {
            (true, _) => format!("has {name}"),
            (false, true) => format!("no {name}"),
            (false, false) => "does not exist".to_owned(),
        };
        Ok((is_there, Evidence::path(&secrets.path, text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::empty_host;

    const FILE: &str = "/home/edge/.local/share/containers/storage/secrets/secrets.json";

    #[test]
    fn names_are_those_of_the_database() {
        let text =
            r#"{"secrets":{"0a":{"name":"tls","id":"0a"}},"nameToID":{"tls":"0a"},"idToName":{"0a":"tls"}}"#;
        let user = User::example("edge", 1000);
        let facts = empty_host().file(FILE, text).facts();
        let (found, at) = facts.podman_secret(&user, "tls").unwrap();
        assert_eq!((found, &*at.path, at.text.as_str()), (true, FILE, "has tls"));
        let found = |name: &str| facts.podman_secret(&user, name).map(|(found, _)| found);
        assert_eq!((found("0a"), found("0"), found("")), (Ok(true), Ok(true), Ok(false)));
        assert_eq!((found("0ab"), found("db")), (Ok(false), Ok(false)));
        let two = empty_host().file(FILE, r#"{"nameToID":{"a":"0a1","b":"0a2"}}"#).facts();
        assert_eq!(two.podman_secret(&user, "0a").map(|(found, _)| found), Ok(false), "of which one?");
        let (found, at) = empty_host().facts().podman_secret(&user, "tls").unwrap();
        assert_eq!((found, at.text.as_str()), (false, "does not exist"));
        let wrong = empty_host().file(FILE, "{\n]").facts().podman_secret(&user, "tls");
        assert!(matches!(wrong, Err(Unread::Malformed { line: Some(2), .. })), "{wrong:?}");
        assert!(empty_host().error(FILE, "denied").facts().podman_secret(&user, "tls").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = names(&Source::new(FILE, text));
        }
    }
}
