//! What a path holds: enough to compare it, to make it so, and to put it back byte for byte.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What is at a path, links not followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing.
    Absent,
    /// A regular file.
    File {
        /// What is in it.
        content: Content,
        /// The permission bits, 0 to 0o7777.
        mode: u32,
        /// The owner.
        uid: u32,
        /// The group.
        gid: u32,
        /// The extended attribute `security.capability`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        capability: Option<Hex>,
    },
    /// A symbolic link.
    Link {
        /// Its text.
        target: String,
        /// The owner.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// A directory.
    Dir {
        /// The permission bits.
        mode: u32,
        /// The owner.
        uid: u32,
        /// The group.
        gid: u32,
    },
}

/// The bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// They, where they are UTF-8.
    Text(String),
    /// They, where they are not.
    Bytes(Hex),
    /// Only their SHA-256: they are not changed and need not be kept.
    Sha256(Hex),
}

impl Content {
    /// These bytes.
    pub fn new(bytes: Vec<u8>) -> Content {
        match String::from_utf8(bytes) {
            Ok(text) => Content::Text(text),
            Err(error) => Content::Bytes(Hex(error.into_bytes())),
        }
    }

    /// The bytes, unless only their digest is known.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Content::Text(text) => Some(text.as_bytes()),
            Content::Bytes(bytes) => Some(&bytes.0),
            Content::Sha256(_) => None,
        }
    }

    /// The same, as a digest.
    pub fn digest(&self) -> Content {
        match self.bytes() {
            Some(bytes) => Content::Sha256(Hex(Sha256::digest(bytes).to_vec())),
            None => self.clone(),
        }
    }

    /// Whether both are the same bytes, of which one may be known by its digest only.
    pub fn is(&self, other: &Content) -> bool {
        match (self.bytes(), other.bytes()) {
            (Some(one), Some(other)) => one == other,
            _ => self.digest() == other.digest(),
        }
    }
}

impl State {
    /// Whether both are the same, of which one may know its content by the digest only.
    pub fn is(&self, other: &State) -> bool {
        match (self, other) {
            (
                State::File { content, mode, uid, gid, capability },
                State::File { content: c, mode: m, uid: u, gid: g, capability: cap },
            ) => (mode, uid, gid, capability) == (m, u, g, cap) && content.is(c),
            _ => self == other,
        }
    }
}

/// Bytes, as hexadecimal digits in a journal.
#[derive(Clone, PartialEq, Eq)]
pub struct Hex(pub Vec<u8>);

impl std::fmt::Debug for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.digits())
    }
}

impl Hex {
    fn digits(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn parse(digits: &str) -> Option<Hex> {
        if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
            return None;
        }
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
        (0..digits.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>().map(Hex)
    }
}

impl Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.digits())
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Hex, D::Error> {
        let digits = String::deserialize(deserializer)?;
        Hex::parse(&digits).ok_or_else(|| serde::de::Error::custom("expected pairs of hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_survives_the_journal() {
        for content in [
            Content::new(b"edge:100000:65536\n".to_vec()),
            Content::new(vec![0xff, 0, 0x80]),
            Content::new(Vec::new()).digest(),
        ] {
            let capability = Some(Hex(vec![1, 0, 0, 2]));
            let state = State::File { content, mode: 0o4755, uid: 0, gid: 1, capability };
            let text = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state, "{text}");
        }
        assert!(serde_json::from_str::<Hex>("\"0\"").is_err());
        assert!(serde_json::from_str::<Hex>("\"zz\"").is_err());
    }

    #[test]
    fn content_is_known_by_its_digest() {
        let (one, other) = (Content::new(b"a".to_vec()), Content::new(b"b".to_vec()));
        assert!(one.is(&one.digest()) && one.digest().is(&one) && one.is(&one));
        assert!(!one.is(&other) && !one.is(&other.digest()));
    }
}
