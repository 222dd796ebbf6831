//! Which packages are installed. What installs more is in `installer`. Databases are read line by line:
//! `dpkg/status` of a desktop is several megabytes.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::package_database::{Stanzas, pacman_version};
use super::version::Version;
use super::{Evidence, Facts};
use crate::host::{Fact, OrAbsent, Unread};

/// The packages that checks ask about, so that one pass over the database answers all of them. Another
/// name is answered, too, with a pass of its own.
const ASKED_FOR: [&str; 34] = [
    "aardvark-dns",
    "apparmor",
    "buildah",
    "catatonit",
    "conmon",
    "container-selinux",
    "containernetworking-plugins",
    "containers-common",
    "crun",
    "dbus-broker",
    "dbus-user-session",
    "docker-ce",
    "docker-ce-rootless-extras",
    "docker.io",
    "fuse-overlayfs",
    "fuse3",
    "golang-github-containers-common",
    "iptables",
    "kmod",
    "libpam-systemd",
    "netavark",
    "nftables",
    "passt",
    "podman",
    "podman-docker",
    "rootlesskit",
    "runc",
    "shadow",
    "shadow-uidmap",
    "shadow-utils",
    "slirp4netns",
    "systemd",
    "systemd-container",
    "uidmap",
];

/// What keeps the list of installed packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageManager {
    /// Debian and derivatives.
    Dpkg,
    /// Alpine, and OpenWrt from 25.12.
    Apk,
    /// OpenWrt before, Yocto.
    Opkg,
    /// Arch and derivatives.
    Pacman,
    /// Fedora, RHEL, SUSE. Its database is not read.
    Rpm,
}

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version in the notation of the package manager.
    pub version: String,
    /// The line that says so.
    pub at: Evidence,
}

impl Package {
    /// The version of the program in it, for comparisons.
    pub fn upstream_version(&self) -> Option<Version> {
        Version::of_package(&self.version)
    }
}

/// What one pass over a database found.
#[derive(Debug)]
struct Found {
    manager: Option<PackageManager>,
    packages: BTreeMap<String, Package>,
}

impl Facts {
    /// The first of these packages that is installed; several names are for what distributions call
    /// differently. `None` where none of them is.
    ///
    /// # Errors
    /// [`Unread::Malformed`] where there is no database or only an RPM one, which is not read, and why a
    /// database could not be read: in neither case is anything known of the packages.
    pub fn package(&self, names: &[&str]) -> Fact<Option<Package>> {
        for name in names {
            let found = if ASKED_FOR.contains(name) {
                self.memo_fact("", || self.installed(&ASKED_FOR))?
            } else {
                self.memo_fact(name, || self.installed(&[name]))?
            };
            let unknown = |path: &str, expected: &str| {
                Err(Unread::Malformed { path: path.to_owned(), line: None, expected: expected.to_owned() })
            };
            match found.manager {
                None => {
                    return unknown("/var/lib", "no package database found (dpkg, apk, opkg, pacman, rpm)");
                }
                Some(PackageManager::Rpm) => {
                    return unknown("/usr/lib/sysimage/rpm", "RPM databases are not read");
                }
                Some(_) => {}
            }
            if let Some(package) = found.packages.get(*name) {
                return Ok(Some(package.clone()));
            }
        }
        Ok(None)
    }

    /// What keeps the list of packages; `None` where nothing does.
    ///
    /// # Errors
    /// Why a database that exists could not be read.
    pub fn package_manager(&self) -> Fact<Option<PackageManager>> {
        Ok(self.memo_fact("", || self.installed(&ASKED_FOR))?.manager)
    }

    fn installed(&self, wanted: &[&str]) -> Fact<Found> {
        use PackageManager::{Apk, Dpkg, Opkg, Pacman, Rpm};
        let databases = [
            (Dpkg, "/var/lib/dpkg/status"),
            // apk moved it in version 3; the old place is a link to the new one, where there are both.
            (Apk, "/usr/lib/apk/db/installed"),
            (Apk, "/lib/apk/db/installed"),
            (Opkg, "/usr/lib/opkg/status"),
            (Opkg, "/var/lib/opkg/status"),
        ];
        for (manager, path) in databases {
            let mut stanzas =
                if manager == Apk { Stanzas::apk(path, wanted) } else { Stanzas::control(path, wanted) };
            let read = self.scan(path, &mut |line| {
                stanzas.take(line);
                true
            });
            // An empty database is that of a package manager that is installed and not used.
            if read.or_absent()?.is_some() && stanzas.any() {
                return Ok(Found { manager: Some(manager), packages: stanzas.into_found() });
            }
        }
        if let Some(packages) = self.installed_status_d(wanted)? {
            return Ok(Found { manager: Some(Dpkg), packages });
        }
        if let Some(entries) = self.list("/var/lib/pacman/local").or_absent()? {
            let mut packages = BTreeMap::new();
            for name in wanted {
                let found = entries.iter().find_map(|e| Some((e, pacman_version(&e.name, name)?)));
                if let Some((entry, version)) = found {
                    let at = Evidence::path(&format!("/var/lib/pacman/local/{}", entry.name), "");
                    let package = Package { name: (*name).to_owned(), version: version.to_owned(), at };
                    packages.insert((*name).to_owned(), package);
                }
            }
            return Ok(Found { manager: Some(Pacman), packages });
        }
        for path in ["/usr/lib/sysimage/rpm", "/var/lib/rpm"] {
            if self.stat(path).or_absent()?.is_some() {
                return Ok(Found { manager: Some(Rpm), packages: BTreeMap::new() });
            }
        }
        Ok(Found { manager: None, packages: BTreeMap::new() })
    }

    /// Images without dpkg itself have a file for each package instead of the status file
    /// (GoogleContainerTools/distroless, "Where is the package metadata").
    fn installed_status_d(&self, wanted: &[&str]) -> Fact<Option<BTreeMap<String, Package>>> {
        let Some(entries) = self.list("/var/lib/dpkg/status.d").or_absent()? else { return Ok(None) };
        let mut packages = BTreeMap::new();
        for entry in entries.iter().filter(|entry| wanted.contains(&entry.name.as_str())) {
            let source: Rc<super::Source> = self.source(&format!("/var/lib/dpkg/status.d/{}", entry.name))?;
            let mut stanza = Stanzas::control(source.path(), wanted);
            source.lines().for_each(|(_, line)| stanza.take(line.as_bytes()));
            packages.extend(stanza.into_found());
        }
        Ok(Some(packages))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    /// Excerpts of `/var/lib/dpkg/status` of a Debian 13 machine; the removed package is added.
    const DPKG: &str = "\
Package: podman
Status: install ok installed
Priority: optional
Source: podman (5.4.2+ds1-2)
Version: 5.4.2+ds1-2+b2
Depends: conmon, crun | runc
Description: tool to manage containers
 Version: 9.9 is no field of its own

Package: runc
Status: deinstall ok config-files
Version: 1.1.15

Package: uidmap
Status: install ok installed
Version: 1:4.17.4-2
";

    fn version(host: TestHost, names: &[&str]) -> Option<(String, String)> {
        host.facts().package(names).unwrap().map(|p| (p.version, p.at.to_string()))
    }

    fn found(version: &str, at: &str) -> Option<(String, String)> {
        Some((version.to_owned(), at.to_owned()))
    }

    #[test]
    fn dpkg_tells_installed_from_removed() {
        let host = empty_host().file("/var/lib/dpkg/status", DPKG);
        assert_eq!(version(host.clone(), &["podman"]), found("5.4.2+ds1-2+b2", "/var/lib/dpkg/status:5"));
        assert_eq!(version(host.clone(), &["runc"]), None);
        assert_eq!(
            version(host.clone(), &["shadow-uidmap", "uidmap"]),
            found("1:4.17.4-2", "/var/lib/dpkg/status:16")
        );
        assert_eq!(version(host.clone(), &["not-on-the-list"]), None);
        let podman = host.facts().package(&["podman"]).unwrap().unwrap();
        assert_eq!(podman.upstream_version(), Some(Version::new(&[5, 4, 2])));
        assert_eq!(podman.at.text, "Version: 5.4.2+ds1-2+b2");
    }

    #[test]
    fn the_other_databases() {
        // Alpine 3.22, OpenWrt 23.05, Arch.
        let apk = "C:Q1abc\nP:podman\nV:5.5.2-r2\nA:x86_64\nF:usr/bin\nR:podman\n\nP:crun\nV:1.21-r0\n";
        let host = empty_host().file("/lib/apk/db/installed", apk);
        assert_eq!(version(host, &["crun"]), found("1.21-r0", "/lib/apk/db/installed:9"));
        let opkg = "Package: podman\nVersion: 4.9.4-1\nStatus: install user installed\n\n";
        let host = empty_host().file("/usr/lib/opkg/status", opkg);
        assert_eq!(version(host, &["podman"]), found("4.9.4-1", "/usr/lib/opkg/status:2"));
        let host = empty_host()
            .file("/var/lib/pacman/local/podman-docker-5.6.0-1/desc", "")
            .file("/var/lib/pacman/local/podman-5.6.0-2/desc", "")
            .file("/var/lib/pacman/local/ALPM_DB_VERSION", "9\n");
        assert_eq!(version(host, &["podman"]), found("5.6.0-2", "/var/lib/pacman/local/podman-5.6.0-2"));
        let distroless = "Package: systemd\nVersion: 257.8-1\nDescription: x\n";
        let host = empty_host().file("/var/lib/dpkg/status.d/systemd", distroless);
        assert_eq!(version(host, &["systemd"]), found("257.8-1", "/var/lib/dpkg/status.d/systemd:2"));
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let rpm = empty_host().dir("/usr/lib/sysimage/rpm", "0755", 0).file("/var/lib/dpkg/status", "");
        let why = rpm.facts().package(&["podman"]).unwrap_err();
        assert_eq!(why.to_string(), "/usr/lib/sysimage/rpm: RPM databases are not read");
        assert!(empty_host().facts().package(&["podman"]).is_err());
        assert_eq!(empty_host().facts().package_manager(), Ok(None));
        assert!(empty_host().error("/var/lib/dpkg/status", "denied").facts().package(&["podman"]).is_err());
    }
}
