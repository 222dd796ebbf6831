//! Which Podman a user runs, as far as files tell: its own words would take running it.

use std::fmt;
use std::rc::Rc;

use super::packages::PackageManager;
use super::programs::Program;
use super::users::User;
use super::version::Version;
use super::{Evidence, Facts, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// Files that came with a version of Podman and stay (podman: `Makefile`, `install.bin` and
/// `install.systemd`, at the branches `v4.4` and `v5.3`), below the prefix it is installed in. They
/// tell the least that its version can be where no package database does: RPM's is not read.
const CAME_WITH: [(&str, [u64; 2]); 2] = [
    ("lib/systemd/user/podman-user-wait-network-online.service", [5, 3]),
    ("libexec/podman/quadlet", [4, 4]),
];
/// A page of Podman's manual from 6.0 on (podman: commit 7612af4c0e), and one that was there before. Packages
/// have all pages or none, so that the second without the first tells of an earlier version.
const MANUAL_OF_6: &str = "share/man/man5/podman-container.unit.5.gz";
const MANUAL: &str = "share/man/man5/podman-systemd.unit.5.gz";
/// What has been installed along with the first of [`CAME_WITH`] since before there was that one. Where it is
/// alone, the version is an earlier one, if the package is an RPM: rpmbuild refuses to leave files out.
const BESIDE_FIRST: &str = "lib/systemd/user/podman.socket";

/// A version, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownVersion {
    /// This one.
    Exactly(Version),
    /// This one or a later one.
    AtLeast(Version),
    /// An earlier one.
    Before(Version),
    /// The first or a later one, and before the second.
    Between(Version, Version),
}

impl KnownVersion {
    /// Whether it is at least `wanted`; `None` where that is not known.
    pub fn is_at_least(&self, wanted: &Version) -> Option<bool> {
        match self {
            KnownVersion::Exactly(version) => Some(version >= wanted),
            KnownVersion::AtLeast(version) => (version >= wanted).then_some(true),
            KnownVersion::Before(version) => (version <= wanted).then_some(false),
            KnownVersion::Between(least, _) if least >= wanted => Some(true),
            KnownVersion::Between(_, before) => (before <= wanted).then_some(false),
        }
    }
}

impl fmt::Display for KnownVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KnownVersion::Exactly(version) => version.fmt(f),
            KnownVersion::AtLeast(version) => write!(f, "{version} or later"),
            KnownVersion::Before(version) => write!(f, "before {version}"),
            KnownVersion::Between(least, before) => write!(f, "{least} or later, before {before}"),
        }
    }
}

/// The Podman of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Podman {
    /// The program.
    pub program: Program,
    /// Its version, or why it is not known.
    pub version: Fact<Sourced<KnownVersion>>,
}

impl Podman {
    /// Whether it is at least `major`.0; `None` where that is not known.
    pub fn is_at_least(&self, major: u64) -> Option<bool> {
        self.version.as_ref().ok()?.value.is_at_least(&Version::new(&[major]))
    }

    /// Why no more is known of the version than [`Podman::is_at_least`] says.
    pub fn unknown(&self) -> Unread {
        match &self.version {
            Err(why) => why.clone(),
            Ok(known) => Unread::Malformed {
                path: self.program.path.clone(),
                line: None,
                expected: format!("all that is known of its version is {}", known.value),
            },
        }
    }

    /// Where its version stands, else the program.
    pub fn evidence(&self) -> Evidence {
        self.version.as_ref().map_or_else(|_| self.program.evidence(), |version| version.at.clone())
    }
}

impl Facts {
    /// The Podman that the user runs; `None` where there is none.
    ///
    /// # Errors
    /// As [`Facts::user_program`].
    pub fn podman(&self, user: &User) -> Fact<Option<Rc<Podman>>> {
        self.user_program("podman", user)?.map(|program| self.podman_of(program)).transpose()
    }

    /// The Podman of the host, which services start; `None` where there is none.
    ///
    /// # Errors
    /// As [`Facts::program`].
    pub fn system_podman(&self) -> Fact<Option<Rc<Podman>>> {
        self.program("podman")?.map(|program| self.podman_of(program)).transpose()
    }

    fn podman_of(&self, program: Program) -> Fact<Rc<Podman>> {
        let version = self.podman_version(&program)?;
        Ok(Rc::new(Podman { program, version }))
    }

    /// Whether the Podman that the user runs is at least `major`.0; `None` where that is not known, and where
    /// there is none.
    pub fn podman_is_at_least(&self, user: &User, major: u64) -> Option<bool> {
        self.podman(user).ok().flatten()?.is_at_least(major)
    }

    fn podman_version(&self, program: &Program) -> Fact<Fact<Sourced<KnownVersion>>> {
        let why = match self.packaged_version(program, "podman") {
            Ok(Sourced { value, at }) => {
                return Ok(Ok(Sourced { value: KnownVersion::Exactly(value), at }));
            }
            Err(why) => why,
        };
        let prefix = program.path.rsplit_once('/').and_then(|(bin, _)| bin.rsplit_once('/'));
        let prefix = prefix.map_or("", |(prefix, _)| prefix);
        let prefix = if prefix.is_empty() { "/usr" } else { prefix };
        let six = Version::new(&[6]);
        let manual_of_6 = format!("{prefix}/{MANUAL_OF_6}");
        let has_manual_of_6 = self.stat(&manual_of_6).or_absent();
        if matches!(has_manual_of_6, Ok(Some(_))) {
            let at = Evidence::path(&manual_of_6, format!("came with Podman {six}"));
            return Ok(Ok(Sourced { value: KnownVersion::AtLeast(six), at }));
        }
        let is_before_6 = has_manual_of_6 == Ok(None) && self.stat(&format!("{prefix}/{MANUAL}")).is_ok();
        let [first, second] = CAME_WITH.map(|(file, version)| (format!("{prefix}/{file}"), version));
        let came_with = |(path, version): &(String, [u64; 2])| {
            let version = Version::new(version);
            let at = Evidence::path(path, format!("came with Podman {version}"));
            self.stat(path).or_absent().map(|found| found.map(|_| (version, at)))
        };
        if let Some((version, at)) = came_with(&first)? {
            let value = match is_before_6 {
                true => KnownVersion::Between(version, six),
                false => KnownVersion::AtLeast(version),
            };
            return Ok(Ok(Sourced { value, at }));
        }
        let beside = format!("{prefix}/{BESIDE_FIRST}");
        let is_rpm = self.package_manager() == Ok(Some(PackageManager::Rpm));
        let below = self.stat(&beside).or_absent()?.filter(|_| is_rpm).map(|_| Version::new(&first.1));
        let below = below.or(is_before_6.then_some(six));
        let none = || Evidence::path(&first.0, format!("does not exist beside {beside}"));
        let known = match (came_with(&second)?, below) {
            (Some((least, _)), Some(below)) => (KnownVersion::Between(least, below), none()),
            (Some((least, at)), None) => (KnownVersion::AtLeast(least), at),
            (None, Some(below)) => (KnownVersion::Before(below), none()),
            (None, None) => return Ok(Err(why)),
        };
        Ok(Ok(Sourced { value: known.0, at: known.1 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host, fixture};

    fn version(host: TestHost) -> Option<Result<String, String>> {
        let podman = host.facts().podman(&User::example("edge", 1000)).unwrap()?;
        let known = podman.version.clone();
        Some(known.map(|v| format!("{} ({})", v.value, v.at)).map_err(|why| why.to_string()))
    }

    #[test]
    fn a_package_tells_the_version_of_a_packaged_program_only() {
        let found = version(fixture("debian-13")).unwrap().unwrap();
        assert!(found.starts_with("5.4.2 (/var/lib/dpkg/status:"), "{found}");
        let local =
            fixture("debian-13").file("/usr/local/bin/podman", "").mode("/usr/local/bin/podman", "0755");
        let why = version(local).unwrap().unwrap_err();
        assert_eq!(why, "/usr/local/bin/podman: its version is in no package database");
        assert_eq!(version(empty_host()), None);
    }

    #[test]
    fn files_tell_the_least_that_it_can_be() {
        let rpm = empty_host().file("/usr/bin/podman", "").mode("/usr/bin/podman", "0755").dir(
            "/usr/lib/sysimage/rpm",
            "0755",
            0,
        );
        let why = version(rpm.clone()).unwrap().unwrap_err();
        assert_eq!(why, "/usr/lib/sysimage/rpm: RPM databases are not read");
        let quadlet = rpm.clone().file("/usr/libexec/podman/quadlet", "");
        assert_eq!(
            version(quadlet.clone()),
            Some(Ok("4.4 or later (/usr/libexec/podman/quadlet)".to_owned()))
        );
        let unit = "/usr/lib/systemd/user/podman-user-wait-network-online.service";
        let five = quadlet.clone().file(unit, "");
        assert_eq!(version(five.clone()), Some(Ok(format!("5.3 or later ({unit})"))));
        let manual = five.file(&format!("/usr/{MANUAL}"), "");
        assert_eq!(version(manual.clone()), Some(Ok(format!("5.3 or later, before 6 ({unit})"))));
        let hidden = manual.clone().error(&format!("/usr/{MANUAL_OF_6}"), "denied");
        assert_eq!(version(hidden), Some(Ok(format!("5.3 or later ({unit})"))));
        let six = manual.file(&format!("/usr/{MANUAL_OF_6}"), "");
        assert_eq!(version(six), Some(Ok(format!("6 or later (/usr/{MANUAL_OF_6})"))));
        // As RHEL 8 and 9 have it: the units of a user manager, and not the one that came with 5.3.
        let socket = "/usr/lib/systemd/user/podman.socket";
        let between = format!("4.4 or later, before 5.3 ({unit})");
        assert_eq!(version(quadlet.file(socket, "")), Some(Ok(between)));
        assert_eq!(version(rpm.file(socket, "")), Some(Ok(format!("before 5.3 ({unit})"))));
    }

    #[test]
    fn at_least_is_no_proof_of_less() {
        let (four, five) = (Version::new(&[4]), Version::new(&[5]));
        let known = KnownVersion::AtLeast(Version::new(&[4, 4]));
        assert_eq!((known.is_at_least(&four), known.is_at_least(&five)), (Some(true), None));
        let known = KnownVersion::Between(Version::new(&[4, 4]), Version::new(&[6]));
        let of = |parts: &[u64]| known.is_at_least(&Version::new(parts));
        assert_eq!((of(&[4]), of(&[5, 9]), of(&[6]), of(&[7])), (Some(true), None, Some(false), Some(false)));
        let known = KnownVersion::Exactly(Version::new(&[4, 4]));
        assert_eq!((known.is_at_least(&four), known.is_at_least(&five)), (Some(true), Some(false)));
        let known = KnownVersion::Before(Version::new(&[5]));
        assert_eq!((known.is_at_least(&four), known.is_at_least(&five)), (None, Some(false)));
        let known = KnownVersion::Between(Version::new(&[4]), Version::new(&[4, 4]));
        assert_eq!((known.is_at_least(&four), known.is_at_least(&five)), (Some(true), Some(false)));
    }
}
