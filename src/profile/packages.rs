//! In which package of a distribution a program is: `profiles/packages.toml`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

const TEXT: &str = include_str!("../../profiles/packages.toml");

/// The families of distributions that the table knows, as `Facts::package_family` names them.
#[cfg(test)]
pub(crate) const FAMILIES: [&str; 7] = ["debian", "fedora", "suse", "alpine", "arch", "yocto", "flatcar"];

/// A program: the name of its package by family.
#[derive(Debug, Deserialize)]
struct Packaged {
    #[serde(default)]
    without: BTreeMap<String, String>,
    #[serde(flatten)]
    names: BTreeMap<String, String>,
}

/// How a family has a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Package {
    /// In the package, recipe or system extension of this name.
    Named(&'static str),
    /// In none, and this is to be done instead.
    Without(&'static str),
}

/// How a family of distributions has a program; `None` where the table does not say.
pub(crate) fn package(program: &str, family: &str) -> Option<Package> {
    let packaged = table().get(program)?;
    let named = packaged.names.get(family).map(|name| Package::Named(name));
    named.or_else(|| packaged.without.get(family).map(|instead| Package::Without(instead)))
}

fn table() -> &'static BTreeMap<String, Packaged> {
    static TABLE: OnceLock<BTreeMap<String, Packaged>> = OnceLock::new();
    // A table that cannot be read costs names of packages; a test reads it.
    TABLE.get_or_init(|| toml::from_str(TEXT).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirements::{Requirements, Stack};

    #[test]
    fn the_table_is_whole() {
        let table: BTreeMap<String, Packaged> = toml::from_str(TEXT).unwrap();
        for (program, packaged) in &table {
            for family in packaged.names.keys().chain(packaged.without.keys()) {
                assert!(FAMILIES.contains(&family.as_str()), "{program}: {family}");
            }
            for family in FAMILIES {
                let both = packaged.names.contains_key(family) && packaged.without.contains_key(family);
                assert!(package(program, family).is_some() && !both, "{program}: {family}");
            }
        }
        assert_eq!(package("newuidmap", "suse"), Some(Package::Named("shadow")));
        assert!(matches!(package("slirp4netns", "flatcar"), Some(Package::Without(_))));
        assert_eq!((package("k3s", "debian"), package("podman", "haiku")), (None, None));
    }

    /// What no distribution has names its project's page.
    #[test]
    fn every_program_of_a_stack_has_a_package_or_a_page() {
        let requirements = Requirements::merge(&Stack::ALL, &[]).unwrap();
        for (want, _) in &requirements.programs {
            let packaged =
                |program: &String| FAMILIES.iter().all(|family| package(program, family).is_some());
            assert!(want.get.is_some() || want.any_of.iter().all(packaged), "{:?}", want.any_of);
        }
    }
}
