//! Versions as far as they can be compared between distributions: dotted numbers.

use std::cmp::Ordering;
use std::fmt;

/// A version such as 5.4.2. Parts that are left out count as 0: 5.4 equals 5.4.0.
#[derive(Clone, Debug)]
pub struct Version(Vec<u64>);

impl Version {
    /// The version of the program in the version of its package: without epoch, and up to the first
    /// character that is neither a digit nor a dot, where pre-releases, repackagings and revisions
    /// begin (deb-version(7): `1:5.4.2+ds1-2+b2` is 5.4.2; apk `5.4.2-r1`, pacman `1:5.4.2-1`). A
    /// pre-release thus equals its release. `None` where no number comes first.
    pub fn of_package(text: &str) -> Option<Version> {
        let text = match text.split_once(':') {
            Some((epoch, rest)) if !epoch.is_empty() && epoch.bytes().all(|b| b.is_ascii_digit()) => rest,
            _ => text,
        };
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let parts = text[..end].split('.').take_while(|part| !part.is_empty());
        // A number that does not fit can only be compared as larger than all that do.
        let numbers: Vec<u64> = parts.map(|part| part.parse().unwrap_or(u64::MAX)).collect();
        (!numbers.is_empty()).then_some(Version(numbers))
    }

    /// A version of its parts.
    pub fn new(parts: &[u64]) -> Version {
        Version(parts.to_vec())
    }

    /// The first number.
    pub fn major(&self) -> u64 {
        self.0.first().copied().unwrap_or(0)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Version) -> Ordering {
        let length = self.0.len().max(other.0.len());
        let padded = |v: &Version| -> Vec<u64> {
            v.0.iter().copied().chain(std::iter::repeat(0)).take(length).collect()
        };
        padded(self).cmp(&padded(other))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Version) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            write!(f, "{}{part}", if index == 0 { "" } else { "." })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_upstream_part_of_package_versions() {
        let shown = |text: &str| Version::of_package(text).map(|version| version.to_string());
        let table = [
            ("5.4.2+ds1-2+b2", "5.4.2"),                  // podman, Debian 13
            ("1:4.17.4-2", "4.17.4"),                     // uidmap, Debian 13
            ("0.0~git20250503.587980c-2+deb13u1", "0.0"), // passt, Debian 13
            ("1.21-1", "1.21"),                           // crun, Debian 13
            ("5.4.2-r1", "5.4.2"),                        // Alpine
            ("v2.1", "2.1"),
            ("20240220", "20240220"),
            ("5..1", "5"),
            ("99999999999999999999.1", "18446744073709551615.1"),
        ];
        for (text, version) in table {
            assert_eq!(shown(text).as_deref(), Some(version), "{text}");
        }
        assert_eq!((shown(""), shown("git-1"), shown(":1"), shown(".5")), (None, None, None, None));
    }

    #[test]
    fn parts_are_compared_as_numbers() {
        let version = |text| Version::of_package(text).unwrap();
        assert!(version("4.10.0") > version("4.9.9"));
        assert!(version("5") < version("5.0.1"));
        assert_eq!(version("5.4"), Version::new(&[5, 4, 0, 0]));
        assert_eq!(version("5.4").major(), 5);
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,40}", a in "[0-9.]{1,9}", b in "[0-9.]{1,9}") {
            let _ = Version::of_package(&text);
            if let (Some(a), Some(b)) = (Version::of_package(&a), Version::of_package(&b)) {
                prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            }
        }
    }
}
