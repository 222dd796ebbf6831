//! The part of a saved report that a fleet is made of. Nothing else of it is kept in memory. As for
//! [`Saved`](crate::report::saved::Saved) a word that is not known never counts as good.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// Longer texts are cut: the name of a host has at most 253 characters, and no summary is as long.
const LONGEST_TEXT: usize = 400;

/// A report.
#[derive(Debug, Deserialize)]
pub(super) struct Lean<'a> {
    #[serde(borrow)]
    pub schema: Text<'a>,
    #[serde(borrow)]
    pub version: Text<'a>,
    #[serde(default)]
    pub timestamp: Option<u64>,
    #[serde(borrow)]
    pub mode: Text<'a>,
    #[serde(borrow)]
    pub host: LeanHost<'a>,
    #[serde(borrow)]
    pub profile: LeanProfile<'a>,
    #[serde(borrow)]
    pub stacks: Vec<LeanStack<'a>>,
    #[serde(borrow)]
    pub checks: Vec<LeanRow<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LeanHost<'a> {
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    #[serde(borrow)]
    pub machine_id_hash: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub os: LeanOs<'a>,
    #[serde(borrow, default)]
    pub kernel: Vec<Text<'a>>,
    #[serde(borrow)]
    pub arch: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub hardware: LeanHardware<'a>,
    #[serde(default)]
    pub page_bytes: Option<u64>,
    #[serde(borrow, default)]
    pub node_subnet: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct LeanOs<'a> {
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub version_id: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct LeanHardware<'a> {
    #[serde(borrow)]
    pub vendor: Option<Text<'a>>,
    #[serde(borrow)]
    pub model: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LeanProfile<'a> {
    #[serde(borrow)]
    pub name: Text<'a>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LeanStack<'a> {
    #[serde(borrow)]
    pub name: Text<'a>,
    #[serde(borrow)]
    pub verdict: Text<'a>,
    #[serde(borrow)]
    pub blockers: Vec<Text<'a>>,
    #[serde(borrow)]
    pub needs: Text<'a>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LeanRow<'a> {
    #[serde(borrow)]
    pub id: Text<'a>,
    #[serde(borrow)]
    pub level: Text<'a>,
    #[serde(borrow)]
    pub status: Text<'a>,
    #[serde(borrow, default)]
    pub findings: Vec<LeanFinding<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LeanFinding<'a> {
    #[serde(borrow)]
    pub verdict: Text<'a>,
    #[serde(borrow, default)]
    pub remedy: LeanRemedy<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct LeanRemedy<'a> {
    #[serde(default)]
    pub fixable: bool,
    #[serde(borrow, default)]
    pub summary: Text<'a>,
}

/// What every JSON object may have, to tell what one is that is no report.
#[derive(Debug, Deserialize)]
pub(super) struct Head {
    #[serde(default)]
    pub schema: Option<serde_json::Value>,
}

/// A text, borrowed from the report where it has no escapes, and at most [`LONGEST_TEXT`] bytes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Cut;
        impl<'de> Visitor<'de> for Cut {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(cut(text))))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(cut(text).to_owned())))
            }
        }
        from.deserialize_str(Cut)
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_TEXT)]
}
