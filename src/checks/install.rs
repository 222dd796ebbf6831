//! Repairs that install something, in the words of the host's distribution.

use crate::facts::Facts;
use crate::facts::installer::Installer;
use crate::finding::{Install, Remedy};
use crate::profile::packages::{Package, package};

/// A repair that installs programs, by the packages that this distribution has them in.
pub(super) fn install(facts: &Facts, programs: &[&str]) -> Remedy {
    // Without a family the names of the programs have to do.
    let family = facts.package_family().ok().flatten();
    let mut packages: Vec<&str> = Vec::new();
    for program in programs {
        let name = match family.and_then(|family| package(program, family)) {
            Some(Package::Without(instead)) => return Remedy::manual(format!("get {program}: {instead}")),
            Some(Package::Named(name)) => name,
            None if family == Some("flatcar") => {
                return Remedy::manual(format!("get {program}: build a system extension that brings it"));
            }
            None => program,
        };
        if !packages.contains(&name) {
            packages.push(name);
        }
    }
    install_packages(facts, &packages)
}

/// A repair that installs packages, with this distribution's own command where that is known.
pub(super) fn install_packages(facts: &Facts, packages: &[&str]) -> Remedy {
    let names = packages.join(" and ");
    let words = packages.join(" ");
    let installer = match facts.installer() {
        Ok(Some(installer)) => installer,
        // The sentence has to do.
        Ok(None) | Err(_) => return Remedy::manual(format!("install {names}")),
    };
    match installer {
        Installer::Containerfile => Remedy::manual(format!(
            "put \"RUN dnf -y install {words}\" into the Containerfile of this image, build it and boot into \
             it: /usr of this host is read-only"
        )),
        Installer::Bitbake => Remedy::manual(format!(
            "put IMAGE_INSTALL:append = \" {words}\" into local.conf and build the image anew: this one has \
             no package manager"
        )),
        Installer::SystemExtension => Remedy::manual(format!(
            "add the system extension {names}, then reboot: nothing is installed into Flatcar's /usr"
        ))
        .command(format!("echo {words} | sudo tee -a /etc/flatcar/enabled-sysext.conf")),
        _ => {
            let waits_for_boot = facts.running() && installer.waits_for_boot();
            let then = if waits_for_boot { ", then reboot: /usr of this host is read-only" } else { "" };
            let sudo = if facts.running() { "sudo" } else { "chroot $ROOT" };
            let command = format!("{sudo} {}", installer.command().unwrap_or_default());
            let packages = packages.iter().map(|package| (*package).to_owned()).collect();
            let install = Install { command, packages, waits_for_boot };
            Remedy::install(format!("install {names}{then}"), install)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host, fixture, openrc_host};

    fn remedy(host: TestHost, programs: &[&str]) -> (String, Vec<String>) {
        let remedy = install(&host.facts(), programs);
        (remedy.summary, remedy.commands)
    }

    fn rpm(os: &str) -> TestHost {
        empty_host().dir("/usr/lib/sysimage/rpm", "0755", 0).file("/etc/os-release", os)
    }

    #[test]
    fn a_root_that_can_be_written() {
        for (host, command) in [
            (fixture("debian-13"), "sudo apt install uidmap passt"),
            (fixture("debian-13").image(), "chroot $ROOT apt install uidmap passt"),
            (rpm("ID=\"rhel\"\nID_LIKE=\"fedora\"\n"), "sudo dnf install shadow-utils passt"),
            (rpm("ID=\"sles\"\nID_LIKE=\"suse\"\n"), "sudo zypper install shadow passt"),
            (openrc_host(), "sudo apk add shadow-subids passt"),
        ] {
            let (summary, commands) = remedy(host, &["newuidmap", "newgidmap", "pasta"]);
            assert_eq!(commands, [command]);
            assert!(summary.starts_with("install ") && summary.ends_with(" and passt"), "{summary}");
        }
        assert_eq!(remedy(empty_host(), &["pasta"]), ("install pasta".to_owned(), vec![]));
    }

    #[test]
    fn a_root_that_the_next_boot_replaces() {
        let tool = "/usr/sbin/transactional-update";
        let micro = rpm("ID=\"sl-micro\"\nID_LIKE=\"suse\"\n").file(tool, "").mode(tool, "0755");
        let (summary, commands) = remedy(micro, &["crun"]);
        assert_eq!(commands, ["sudo transactional-update pkg install crun", "sudo systemctl reboot"]);
        assert!(summary.contains("then reboot"), "{summary}");
        let tool = "/usr/bin/rpm-ostree";
        let iot = rpm("ID=fedora\nVARIANT_ID=iot\n").file("/run/ostree-booted", "");
        let (_, commands) = remedy(iot.clone().file(tool, "").mode(tool, "0755"), &["crun"]);
        assert_eq!(commands[0], "sudo rpm-ostree install crun");
        let (summary, commands) = remedy(iot, &["crun"]);
        assert!(summary.contains("\"RUN dnf -y install crun\"") && commands.is_empty(), "{summary}");
    }

    #[test]
    fn a_root_that_is_built_elsewhere() {
        let yocto = || empty_host().file("/etc/os-release", "ID=poky\n");
        let (summary, commands) = remedy(yocto(), &["netavark", "aardvark-dns"]);
        assert!(summary.contains("IMAGE_INSTALL:append = \" netavark aardvark-dns\""), "{summary}");
        assert!(commands.is_empty());
        assert!(remedy(yocto(), &["dbus.socket"]).0.contains("pn-dbus"));
        let flatcar = || empty_host().file("/usr/lib/os-release", "ID=flatcar\nID_LIKE=coreos\n");
        let (summary, commands) = remedy(flatcar(), &["podman"]);
        assert_eq!(commands, ["echo podman | sudo tee -a /etc/flatcar/enabled-sysext.conf"]);
        assert!(summary.starts_with("add the system extension podman"), "{summary}");
        assert!(remedy(flatcar(), &["htop"]).0.starts_with("get htop: build a system extension"));
        assert!(remedy(flatcar(), &["slirp4netns"]).0.starts_with("get slirp4netns: Flatcar has none"));
    }
}
