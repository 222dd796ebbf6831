//! The secrets that Podman keeps for a user, by name; what is in them is not read.

use std::collections::{BTreeMap, BTreeSet};

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

/// The names in the text of `secrets.json`.
///
/// # Errors
/// [`Unread::Malformed`] with the line.
fn names(source: &Source) -> Fact<BTreeSet<String>> {
    let database: Database = serde_json::from_str(source.text()).map_err(|error| Unread::Malformed {
        path: source.path().to_owned(),
        line: u32::try_from(error.line()).ok().filter(|line| *line > 0),
        expected: "expected the names of secrets".to_owned(),
    })?;
    Ok(database.name_to_id.into_keys().collect())
}

/// `T` of the memo.
struct Secrets {
    names: BTreeSet<String>,
    path: String,
    is_there: bool,
}

impl Facts {
    /// Whether Podman keeps a secret of this name for the user, and where that is written.
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
        let is_there = secrets.names.contains(name);
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
        assert_eq!(facts.podman_secret(&user, "0a").map(|(found, _)| found), Ok(false));
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
