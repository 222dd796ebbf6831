//! What `minikube config set` wrote for a user.

use std::collections::BTreeMap;

use super::users::User;
use super::{Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// The keys of the file that are texts, booleans or numbers, each as a text.
///
/// # Errors
/// [`Unread::Malformed`] for what is no JSON object.
pub fn parse(source: &Source) -> Fact<BTreeMap<String, Sourced<String>>> {
    let keys: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(source.text()).map_err(|error| Unread::Malformed {
            path: source.path().to_owned(),
            line: u32::try_from(error.line()).ok(),
            expected: "expected a JSON object".to_owned(),
        })?;
    let of = |(key, value): (String, serde_json::Value)| {
        let value = match value {
            serde_json::Value::Bool(value) => value.to_string(),
            serde_json::Value::Number(value) => value.to_string(),
            serde_json::Value::String(text) => text,
            _ => return None,
        };
        let quoted = format!("\"{key}\"");
        let found = match source.lines().find(|(_, line)| line.contains(&quoted)) {
            Some((number, line)) => source.on(number, line, value),
            None => source.whole(value),
        };
        Some((key, found))
    };
    Ok(keys.into_iter().filter_map(of).collect())
}

/// As Go's `strconv.ParseBool` takes it.
pub fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// The file below `MINIKUBE_HOME`, where that is set, else below the home directory
/// (minikube: pkg/minikube/localpath/localpath.go).
pub fn path(user: &User, minikube_home: Option<&str>) -> String {
    let home = minikube_home.unwrap_or(&user.home).trim_end_matches('/');
    match home.ends_with("/.minikube") {
        true => format!("{home}/config/config.json"),
        false => format!("{home}/.minikube/config/config.json"),
    }
}

impl Facts {
    /// What the file at `path` says, by key; nothing where it is absent.
    ///
    /// # Errors
    /// Why it could not be read, by us or by that user, or parsed.
    pub fn minikube_config(&self, path: &str, user: &User) -> Fact<BTreeMap<String, Sourced<String>>> {
        match self.user_source(path, user.uid, &user.groups).or_absent()? {
            Some(source) => parse(&source),
            None => Ok(BTreeMap::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Fact<Option<(String, Option<u32>)>> {
        let found = parse(&Source::new("/x", text))?.remove("rootless");
        Ok(found.map(|found| (found.value, found.at.line)))
    }

    #[test]
    fn a_key_is_a_boolean_or_a_text() {
        let value = |text: &str, line| Ok(Some((text.to_owned(), Some(line))));
        assert_eq!(read("{\n    \"driver\": \"podman\",\n    \"rootless\": true\n}"), value("true", 3));
        assert_eq!(read("{\"rootless\": \"false\"}"), value("false", 1));
        assert_eq!(read("{\"rootless\": 1}"), value("1", 1));
        assert_eq!(read("{\"rootless\": []}"), Ok(None));
        assert_eq!(read("{\"driver\": \"podman\"}"), Ok(None));
        assert!(matches!(read("{\n\"rootless\": }"), Err(Unread::Malformed { line: Some(2), .. })));
        assert!(read("").is_err() && read("[]").is_err());
    }

    #[test]
    fn the_home_of_minikube_can_be_elsewhere() {
        let user = User::example("edge", 1000);
        assert_eq!(path(&user, None), "/home/edge/.minikube/config/config.json");
        assert_eq!(path(&user, Some("/data")), "/data/.minikube/config/config.json");
        assert_eq!(path(&user, Some("/data/.minikube/")), "/data/.minikube/config/config.json");
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)(.{0,12}|\"rootless\"|:|true|\\{|\\}|\n){0,12}") {
            let _ = parse(&Source::new("/x", text));
        }
    }
}
