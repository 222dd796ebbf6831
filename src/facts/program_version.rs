//! Which package a program is of, in the words of the host's distribution: its version, and the name of
//! the family by which packages are named.

use super::installer::is_yocto;
use super::packages::PackageManager;
use super::programs::Program;
use super::version::Version;
use super::{Facts, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// Where packages put programs; elsewhere they are of no package.
const PACKAGED_DIRS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];

impl Facts {
    /// The version of a program that was found, from the package that has it.
    ///
    /// # Errors
    /// As [`Facts::package`], and [`Unread::Malformed`] where no package tells the version, because the
    /// program was installed by hand, say.
    pub fn packaged_version(&self, program: &Program, package: &str) -> Fact<Sourced<Version>> {
        let dir = program.path.rsplit_once('/').map_or("", |(dir, _)| dir);
        let found = if PACKAGED_DIRS.contains(&dir) { self.package(&[package])? } else { None };
        let version =
            found.and_then(|found| Some(Sourced { value: found.upstream_version()?, at: found.at }));
        version.ok_or_else(|| Unread::Malformed {
            path: program.path.clone(),
            line: None,
            expected: "its version is in no package database".to_owned(),
        })
    }

    /// The family that this distribution belongs to, in whose packages programs have one name:
    /// `debian`, `fedora`, `suse`, `alpine`, `arch`, `yocto` or `flatcar`; by its package manager where
    /// `os-release` names none of them.
    ///
    /// # Errors
    /// Why `os-release` or a database could not be read.
    pub fn package_family(&self) -> Fact<Option<&'static str>> {
        if let Some(os) = self.os_release().or_absent()? {
            // `ubuntu` and `rhel` stand for derivatives that name no more than their parent.
            let families = [
                ("debian", "debian"),
                ("ubuntu", "debian"),
                ("fedora", "fedora"),
                ("rhel", "fedora"),
                ("suse", "suse"),
                ("opensuse", "suse"),
                ("alpine", "alpine"),
                ("arch", "arch"),
                ("flatcar", "flatcar"),
            ];
            if let Some((_, family)) = families.iter().find(|(id, _)| os.is_like(id)) {
                return Ok(Some(family));
            }
            // Its images can have any package manager, or none.
            if is_yocto(&os) {
                return Ok(Some("yocto"));
            }
        }
        Ok(match self.package_manager()? {
            Some(PackageManager::Dpkg) => Some("debian"),
            Some(PackageManager::Apk) => Some("alpine"),
            Some(PackageManager::Pacman) => Some("arch"),
            Some(PackageManager::Rpm) => Some("fedora"),
            Some(PackageManager::Opkg) | None => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::facts::testing::{empty_host, fixture};

    #[test]
    fn a_package_tells_the_version_of_what_is_where_packages_put_it() {
        let facts = fixture("debian-13").file("/usr/local/bin/crun", "").facts();
        let version = |path: &str| {
            let program = facts.program_at(path).unwrap().unwrap();
            facts.packaged_version(&program, "crun").map(|found| found.value.to_string())
        };
        assert_eq!(version("/usr/bin/crun").as_deref(), Ok("1.21"));
        let why = version("/usr/local/bin/crun").unwrap_err();
        assert_eq!(why.to_string(), "/usr/local/bin/crun: its version is in no package database");
    }

    #[test]
    fn families_follow_os_release() {
        let family = |id: &str| empty_host().file("/etc/os-release", id).facts().package_family().unwrap();
        let table = [
            ("ID=raspbian\nID_LIKE=debian\n", Some("debian")),
            ("ID=ubuntu\n", Some("debian")),
            ("ID=rocky\nID_LIKE=\"rhel centos fedora\"\n", Some("fedora")),
            ("ID=opensuse-leap\nID_LIKE=\"suse opensuse\"\n", Some("suse")),
            ("ID=alpine\n", Some("alpine")),
            ("ID=manjaro\nID_LIKE=arch\n", Some("arch")),
            ("ID=poky\n", Some("yocto")),
            ("ID=flatcar\nID_LIKE=coreos\n", Some("flatcar")),
            ("ID=haiku\n", None),
        ];
        for (os, wanted) in table {
            assert_eq!(family(os), wanted, "{os}");
        }
        let unnamed = empty_host().file("/var/lib/dpkg/status", "Package: dpkg\nVersion: 1\n").facts();
        assert_eq!(unnamed.package_family(), Ok(Some("debian")));
    }
}
