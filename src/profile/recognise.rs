//! The table `[recognise]` of a profile: by what hardware shows that the profile is for it.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::said::any_of;
use super::{ProfileError, malformed};

/// How hardware is recognised; empty for a profile that is only chosen by name.
///
/// A board is recognised by any of `compatible` or any of `dmi`, and where `arch` is given as well, only on
/// these architectures. With `arch` alone every machine of the architecture is recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recognise {
    /// Any of these architectures.
    #[serde(default, deserialize_with = "texts::<_, Arch>")]
    pub arch: Vec<String>,
    /// Any of these in the device tree's `compatible`, as a whole.
    #[serde(default, deserialize_with = "texts::<_, Compatible>")]
    pub compatible: Vec<String>,
    /// Any of these names of DMI: one table, or an array of tables.
    #[serde(default, deserialize_with = "one_or_many")]
    pub dmi: Vec<DmiNames>,
}

/// What `uname -m` says of Linux's architectures (`UTS_MACHINE`; for ARM `arch/arm/mm/proc-*.S`), as far as
/// [`Facts::arch`](crate::facts::Facts::arch) can return it.
const ARCHES: [&str; 19] = [
    "aarch64",
    "armv7l",
    "x86_64",
    "armv5tejl",
    "armv6l",
    "armv8l",
    "i486",
    "i586",
    "i686",
    "loongarch64",
    "mips",
    "mips64",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv32",
    "riscv64",
    "s390x",
    "aarch64_be",
];

/// A text of which only some are right.
trait Checked {
    /// What was expected instead of this one.
    fn refuse(text: &str) -> Option<String>;
}

struct Arch;

impl Checked for Arch {
    fn refuse(text: &str) -> Option<String> {
        let expected = || format!("expected what uname -m says, {}", any_of(&ARCHES));
        (!ARCHES.contains(&text)).then(expected)
    }
}

struct Compatible;

impl Checked for Compatible {
    fn refuse(text: &str) -> Option<String> {
        let is_whole =
            !text.is_empty() && !text.contains(|c: char| !c.is_ascii_graphic() || "*?".contains(c));
        (!is_whole).then(|| "expected the whole string, such as raspberrypi,4-model-b".to_owned())
    }
}

fn texts<'de, D: Deserializer<'de>, C: Checked>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Text<C>(String, PhantomData<C>);
    impl<'de, C: Checked> Deserialize<'de> for Text<C> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<C>, D::Error> {
            let text = String::deserialize(deserializer)?;
            match C::refuse(&text) {
                Some(expected) => Err(de::Error::custom(format!("{text:?}: {expected}"))),
                None => Ok(Text(text, PhantomData)),
            }
        }
    }
    Ok(Vec::<Text<C>>::deserialize(deserializer)?.into_iter().map(|text| text.0).collect())
}

/// The names that firmware gives a machine: all that are given must be so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DmiNames {
    /// `sys_vendor`.
    pub vendor: Option<Pattern>,
    /// `product_name`.
    pub product: Option<Pattern>,
    /// `board_name`.
    pub board: Option<Pattern>,
}

/// A name, or with a `*` at the end the beginning of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The text, without the `*`.
    pub text: String,
    /// Whether it is but the beginning.
    pub open: bool,
}

impl Pattern {
    fn new(text: String) -> Result<Pattern, &'static str> {
        let (text, open) = match text.strip_suffix('*') {
            Some(beginning) => (beginning.to_owned(), true),
            None => (text, false),
        };
        if text.contains('*') {
            return Err("expected a `*` at the end only");
        }
        if text.trim().is_empty() {
            return Err("expected a name, or the beginning of one and `*`");
        }
        Ok(Pattern { text, open })
    }

    /// Whether this is such a name.
    pub fn matches(&self, name: &str) -> bool {
        if self.open { name.starts_with(&self.text) } else { name == self.text }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.open { "*" } else { "" })
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
        let text = String::deserialize(deserializer)?;
        Pattern::new(text.clone()).map_err(|why| de::Error::custom(format!("{text:?}: {why}")))
    }
}

impl<'de> Deserialize<'de> for DmiNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DmiNames, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw {
            vendor: Option<Pattern>,
            product: Option<Pattern>,
            board: Option<Pattern>,
        }
        let Raw { vendor, product, board } = Raw::deserialize(deserializer)?;
        if vendor.is_none() && product.is_none() && board.is_none() {
            return Err(de::Error::custom("dmi: expected vendor, product or board"));
        }
        Ok(DmiNames { vendor, product, board })
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<DmiNames>, D::Error> {
    struct OneOrMany;
    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<DmiNames>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("tables with vendor, product or board")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<DmiNames>, A::Error> {
            Ok(vec![DmiNames::deserialize(de::value::MapAccessDeserializer::new(map))?])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Vec<DmiNames>, A::Error> {
            Vec::deserialize(de::value::SeqAccessDeserializer::new(seq))
        }
    }
    deserializer.deserialize_any(OneOrMany)
}

/// The tables of a layer that say what is recognised, each on its own lines and all else left blank; empty where
/// there are none.
pub(super) fn tables(text: &str) -> String {
    if !text.contains("[recognise") {
        return String::new();
    }
    let mut out = String::new();
    let mut within = false;
    for line in text.lines() {
        if line.starts_with('[') {
            let name = line.trim_start_matches('[').trim_start();
            within = name.strip_prefix("recognise").is_some_and(|rest| rest.starts_with([']', '.', ' ']));
        }
        if within {
            out.push_str(line);
        }
        out.push('\n');
    }
    if out.trim().is_empty() { String::new() } else { out }
}

/// What these tables of a file recognise.
pub(super) fn parse(file: &str, tables: &str) -> Result<Recognise, ProfileError> {
    #[derive(Deserialize)]
    struct Tables {
        recognise: Recognise,
    }
    let parsed: Tables = toml::from_str(tables).map_err(|error| malformed(file, tables, &error))?;
    Ok(parsed.recognise)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Layer;

    fn read(text: &str) -> Result<Recognise, String> {
        Layer::parse("site.toml", text).map(|layer| layer.recognise).map_err(|why| why.to_string())
    }

    #[test]
    fn dmi_is_one_table_or_several() {
        let pattern = |text: &str| Some(Pattern::new(text.to_owned()).unwrap());
        let one = read("[recognise.dmi]\nvendor = \"QEMU\"\nproduct = \"Standard PC*\"\n").unwrap();
        assert_eq!(
            one.dmi,
            [DmiNames { vendor: pattern("QEMU"), product: pattern("Standard PC*"), board: None }]
        );
        let both =
            read("[recognise]\ncompatible = [\"a,b\"]\n[[recognise.dmi]]\nboard = \"X\"\n[[recognise.dmi]]\nproduct = \"Y\"\n")
                .unwrap();
        assert_eq!((both.compatible.len(), both.dmi.len()), (1, 2));
        let product = one.dmi[0].product.as_ref().unwrap();
        assert!(product.matches("Standard PC (Q35 + ICH9, 2009)") && !product.matches("KVM"));
        assert!(!pattern("QEMU").unwrap().matches("QEMU 2"));
    }

    #[test]
    fn what_would_match_anything_is_refused_with_its_line() {
        for (text, expected) in [
            ("[[recognise.dmi]]\n\n", "site.toml:1: dmi: expected vendor, product or board"),
            ("[recognise]\n[[recognise.dmi]]\nvendor = \"*\"\n", "site.toml:3: \"*\": expected a name"),
            (
                "[[recognise.dmi]]\nproduct = \"N*C\"\n",
                "site.toml:2: \"N*C\": expected a `*` at the end only",
            ),
            ("[[recognise.dmi]]\nproduct = \"\"\n", "site.toml:2: \"\": expected a name"),
            ("[[recognise.dmi]]\nserial = \"1\"\n", "unknown key serial: expected vendor, product or board"),
            (
                "[recognise]\ncompatible = [\n  \"acme,gate-7\",\n  \"raspberrypi,4-*\",\n]\n",
                "site.toml:2: \"raspberrypi,4-*\": expected the whole string",
            ),
            ("[recognise]\ncompatible = [\"\"]\n", "site.toml:2: \"\": expected the whole string"),
            (
                "[recognise]\narch = [\"x86_64\", \"arm64\"]\n",
                "site.toml:2: \"arm64\": expected what uname -m says, aarch64, armv7l, x86_64, ",
            ),
            ("[recognise]\ndmi = \"QEMU\"\n", "expected tables with vendor, product or board"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(expected), "{text}: {why}");
        }
    }

    #[test]
    fn only_the_tables_of_what_is_recognised_are_read() {
        let text = "a = [\n 1,\n]\n[recognise]\ncompatible = [\n \"a,b\",\n]\n[[recognise.dmi]]\nboard = \"X\"\n[boot]\nx = 1\n[recognised]\n";
        let tables = tables(text);
        assert_eq!(
            tables.trim(),
            "[recognise]\ncompatible = [\n \"a,b\",\n]\n[[recognise.dmi]]\nboard = \"X\""
        );
        assert_eq!(tables.lines().nth(3), Some("[recognise]"));
        let recognise = parse("x.toml", &tables).unwrap();
        assert_eq!((recognise.compatible.len(), recognise.dmi.len()), (1, 1));
        for without in ["", "a = 1\n", "# [recognise]\n", "[recognised]\nx = 1\n"] {
            assert_eq!(super::tables(without), "", "{without}");
        }
    }
}
