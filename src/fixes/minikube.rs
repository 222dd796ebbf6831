//! Keys of minikube's `config.json`, as `minikube config set` writes them; all else in the file stays as it is,
//! byte for byte.

use serde_json::{Map, Value};

use super::FixError;
use super::draft::{Draft, PUBLIC, Place};
use crate::facts::line_of;
use crate::host::Unread;
use crate::plan::{Credentials, Writer};
use crate::settings::Setting;

pub(super) fn add(draft: &mut Draft<'_>, settings: &[Setting]) -> Result<(), FixError> {
    for setting in settings {
        let Setting::Minikube { user, path, key, value } = setting else { continue };
        let user = draft.user(user)?;
        if !draft.facts.running() {
            draft.step(format!("have {} run: minikube config set {key} {value}", user.name));
            continue;
        }
        let home = format!("{}/", user.home.trim_end_matches('/'));
        let below = path.strip_prefix(&home).and_then(|below| below.rsplit_once('/'));
        let Some((sub, name)) = below.filter(|(sub, _)| !sub.split('/').any(|part| part == "..")) else {
            return Err(FixError::Refused(format!("{path}: expected a file below {home}")));
        };
        let Some(dir) = draft.home_dir(&user, sub)? else { continue };
        let place = Place {
            dir,
            name: name.to_owned(),
            by: Writer::User(Credentials::of(&user)),
            mode: PUBLIC,
            higher: Vec::new(),
            lower: Vec::new(),
        };
        draft.edit(&place, |text| with_key(path, text.unwrap_or_default(), key, &json(value)))?;
    }
    Ok(())
}

/// A value as JSON has it: a boolean bare, a word in quotes.
fn json(value: &str) -> Value {
    match value {
        "true" => Value::Bool(true),
        word => Value::String(word.to_owned()),
    }
}

/// `text` with a value of a key.
fn with_key(path: &str, text: &str, key: &str, value: &Value) -> Result<String, FixError> {
    if text.trim().is_empty() {
        // As minikube writes a new file (cmd/minikube/cmd/config/set.go, `json.MarshalIndent`).
        return Ok(format!("{{\n    \"{key}\": {value}\n}}"));
    }
    let found: Map<String, Value> = serde_json::from_str(text).map_err(|error| Unread::Malformed {
        path: path.to_owned(),
        line: u32::try_from(error.line()).ok(),
        expected: "expected a JSON object".to_owned(),
    })?;
    if found.get(key) == Some(value) {
        return Ok(text.to_owned());
    }
    let mut wanted = found.clone();
    wanted.insert(key.to_owned(), value.clone());
    // The same words can stand in a string or further down: the proof is what the edited text holds.
    let is_it = |edited: &String| {
        serde_json::from_str::<Map<String, Value>>(edited).is_ok_and(|edited| edited == wanted)
    };
    let edited = if found.contains_key(key) {
        let quoted = format!("\"{key}\"");
        let mut at = text.match_indices(&quoted);
        at.find_map(|(at, _)| replaced(text, at + quoted.len(), value).filter(is_it))
    } else {
        Some(inserted(text, found.is_empty(), key, value)).filter(is_it)
    };
    edited.ok_or_else(|| {
        let line = line_of(text, text.find(key).unwrap_or_default());
        FixError::Refused(format!("{path}:{line}: {key} cannot be put into what is there"))
    })
}

/// `text` with `new` as the value of the key that ends at `after`.
fn replaced(text: &str, after: usize, new: &Value) -> Option<String> {
    let rest = text.get(after..)?;
    let value = rest.trim_start().strip_prefix(':')?.trim_start();
    let start = text.len() - value.len();
    let end = start + value_len(value)?;
    Some(format!("{}{new}{}", text.get(..start)?, text.get(end..)?))
}

/// How long a value that is neither an object nor an array is.
fn value_len(value: &str) -> Option<usize> {
    if let Some(string) = value.strip_prefix('"') {
        return string.find('"').map(|end| end + 2);
    }
    value.find(|c: char| c.is_whitespace() || ",}".contains(c))
}

/// `text` with the key behind the others.
fn inserted(text: &str, is_empty: bool, key: &str, value: &Value) -> String {
    let (head, tail) = text.rsplit_once('}').unwrap_or((text, ""));
    let body = head.trim_end();
    let comma = if is_empty { "" } else { "," };
    let eol = if text.contains("\r\n") { "\r\n" } else { "\n" };
    format!("{body}{comma}{eol}    \"{key}\": {value}{eol}}}{tail}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Options;
    use super::super::testing::{fix, host, settled, written};
    use super::*;

    const PATH: &str = "/home/edge/.minikube/config/config.json";

    const NEW: &str = "{\n    \"rootless\": true\n}";

    fn rootless(path: &str) -> Setting {
        Setting::Minikube { user: "edge".to_owned(), path: path.to_owned(), key: "rootless", value: "true" }
    }

    #[test]
    fn several_keys_are_one_file() {
        let runtime = Setting::Minikube {
            user: "edge".to_owned(),
            path: PATH.to_owned(),
            key: "container-runtime",
            value: "containerd",
        };
        let (fixes, _) = settled(&host(), &[rootless(PATH), runtime.clone()], &Options::default());
        let both = "{\n    \"rootless\": true,\n    \"container-runtime\": \"containerd\"\n}";
        assert_eq!(written(&fixes), [(PATH, both.to_owned())]);
        let old = host().file(PATH, "{\"container-runtime\": \"docker\", \"x\": \"docker\"}");
        let (_, after) = settled(&old, &[runtime], &Options::default());
        assert_eq!(after.text(PATH), "{\"container-runtime\": \"containerd\", \"x\": \"docker\"}");
    }

    #[test]
    fn a_new_file_is_the_users() {
        let (fixes, _) = settled(&host(), &[rootless(PATH)], &Options::default());
        assert_eq!(written(&fixes), [(PATH, NEW.to_owned())]);
        assert!(matches!(&fixes.artifacts[0].by, Writer::User(user) if user.uid == 1000));
        assert_eq!(fixes.activations, []);
    }

    #[test]
    fn everything_else_stays() {
        for (text, edited) in [
            ("{\n    \"driver\": \"podman\"\n}", "{\n    \"driver\": \"podman\",\n    \"rootless\": true\n}"),
            ("{\"memory\":4000}\n", "{\"memory\":4000,\n    \"rootless\": true\n}\n"),
            ("{}", "{\n    \"rootless\": true\n}"),
            ("{ \"rootless\" : false , \"a\":1}", "{ \"rootless\" : true , \"a\":1}"),
            ("{\"rootless\": \"no\"}", "{\"rootless\": true}"),
            (
                "{\"a\": \"\\\"rootless\\\": false\", \"b\": {\"rootless\": false}, \"rootless\": false}",
                "{\"a\": \"\\\"rootless\\\": false\", \"b\": {\"rootless\": false}, \"rootless\": true}",
            ),
            ("{\"rootless\": true}", "{\"rootless\": true}"),
            (" \n", NEW),
        ] {
            let (_, after) = settled(&host().file(PATH, text), &[rootless(PATH)], &Options::default());
            assert_eq!(after.text(PATH), edited, "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_edited_is_refused() {
        let with = |text: &str| fix(&host().file(PATH, text), &[rootless(PATH)]);
        for text in ["{\n", "[]", "{\"a\": 1,}"] {
            assert!(matches!(with(text), Err(FixError::Unread(Unread::Malformed { .. }))), "{text}");
        }
        assert!(matches!(with("{\"rootless\": [false, 1]}"), Err(FixError::Refused(_))));
        for path in ["/etc/config.json", "/home/edge/../other/config.json", "/home/edge/config.json"] {
            assert!(matches!(fix(&host(), &[rootless(path)]), Err(FixError::Refused(_))), "{path}");
        }
        let secret = host().file(PATH, "{}").mode(PATH, "0600");
        assert!(matches!(fix(&secret, &[rootless(PATH)]), Err(FixError::Unread(Unread::Denied { .. }))));
    }

    proptest! {
        #[test]
        fn twice_is_once(text in "[ \n]{0,2}\\{(\"rootless\"|\"a\"|:|,|true|1|\"x\"| |\n|\\{|\\}){0,12}\\}?.{0,3}") {
            let set = |text: &str| with_key(PATH, text, "rootless", &json("true"));
            if let Ok(once) = set(&text) {
                let twice = set(&once);
                prop_assert_eq!(twice, Ok(once));
            }
        }
    }
}
