//! Which kinds of files and which keys a version of Podman takes: `profiles/quadlet.toml`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::facts::version::Version;

const TEXT: &str = include_str!("../../../profiles/quadlet.toml");

/// What is known of a group.
#[derive(Debug, Deserialize)]
struct Group {
    since: String,
    #[serde(default)]
    keys: BTreeMap<String, Vec<String>>,
}

/// Since which version there is the kind of files with this group.
pub(super) fn since(group: &str) -> Option<Version> {
    Version::of_package(&table().get(group)?.since)
}

/// Since which version a key can stand in a group; `None` where it cannot.
pub(super) fn key_since(group: &str, key: &str) -> Option<Version> {
    let mut by_version = table().get(group)?.keys.iter();
    let (version, _) = by_version.find(|(_, keys)| keys.iter().any(|known| known == key))?;
    Version::of_package(version)
}

/// The key of a group that another one is written like, but for case, or a slip.
pub(super) fn alike(group: &str, key: &str) -> Option<&'static str> {
    let keys = table().get(group)?.keys.values().flatten();
    let mut near = keys.filter(|known| known.eq_ignore_ascii_case(key) || is_one_off(known, key));
    near.next().map(String::as_str)
}

/// Whether one letter is too many, missing or another in one of two words, or two have changed places.
fn is_one_off(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[same..], &b[same..]);
    match (a, b) {
        ([], [_]) | ([_], []) => true,
        ([_, a @ ..], [_, b @ ..]) if a == b => true,
        ([a, b, rest @ ..], [c, d, others @ ..]) if (a, b) == (d, c) && rest == others => true,
        ([_, rest @ ..], b) if rest == b => true,
        (a, [_, rest @ ..]) => a == rest,
        _ => false,
    }
}

fn table() -> &'static BTreeMap<String, Group> {
    static TABLE: OnceLock<BTreeMap<String, Group>> = OnceLock::new();
    // A test reads the table.
    TABLE.get_or_init(|| toml::from_str(TEXT).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::quadlet::Kind;

    #[test]
    fn the_table_is_whole() {
        let table: BTreeMap<String, Group> = toml::from_str(TEXT).unwrap();
        for kind in Kind::ALL {
            assert!(since(kind.group()).is_some() && !table[kind.group()].keys.is_empty(), "{kind:?}");
        }
        assert_eq!(table.len(), Kind::ALL.len() + 1, "and [Quadlet]");
        for group in table.values() {
            let mut keys: Vec<&String> = group.keys.values().flatten().collect();
            let count = keys.len();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), count);
        }
    }

    #[test]
    fn since_when() {
        let of = |group, key| key_since(group, key).map(|version| version.to_string());
        assert_eq!(of("Container", "Image").as_deref(), Some("4.4"));
        assert_eq!(of("Container", "Secret").as_deref(), Some("4.5"));
        assert_eq!(of("Container", "Memory").as_deref(), Some("5.5"));
        assert_eq!((of("Container", "Restart"), of("Container", "image")), (None, None));
        assert_eq!(since("Pod"), Some(Version::new(&[5, 0])));
        assert_eq!(alike("Container", "PublishPorts"), Some("PublishPort"));
        assert_eq!(alike("Container", "image"), Some("Image"));
        assert_eq!(alike("Container", "Volumne"), Some("Volume"));
        assert_eq!(alike("Container", "Memroy"), Some("Memory"));
        assert_eq!((alike("Container", "Restart"), alike("Container", "")), (None, None));
    }
}
