//! What lies on a file system that is mounted read-only: it is said, not tried. On hosts whose `/usr` is an
//! image, `/etc`, `/var` and the homes can be written, and `/usr` is changed where the image is made.

use crate::facts::Facts;
use crate::facts::installer::Installer;
use crate::fixes::{Artifact, Step};

/// What a person does about an artifact that no write reaches; `None` where nothing is known to be in the
/// way.
pub(super) fn instead(facts: &Facts, artifact: &Artifact) -> Option<Step> {
    if !facts.running() {
        return None;
    }
    let path = facts.real_path(&artifact.path).ok()?;
    let mounts = facts.mountinfo().ok()?;
    let mount = mounts.holding(&path).filter(|mount| mount.read_only())?;
    let point = &mount.point;
    let (advice, command) = match facts.installer().ok().flatten() {
        Some(Installer::TransactionalUpdate) => (
            "change it in a new snapshot, then reboot".to_owned(),
            Some("sudo transactional-update shell".to_owned()),
        ),
        Some(Installer::RpmOstree | Installer::Containerfile | Installer::Bitbake) => {
            ("change it in the image that this host boots".to_owned(), None)
        }
        Some(Installer::SystemExtension) => {
            ("it is part of Flatcar's image, over which a system extension can lie".to_owned(), None)
        }
        _ => (
            "mount it read-write and run this again".to_owned(),
            Some(format!("sudo mount -o remount,rw {point}")),
        ),
    };
    let summary = format!("{path} is not written, since {point} is mounted read-only: {advice}");
    Some(Step { summary, commands: command.into_iter().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, fixture};
    use crate::fixes::Wanted;
    use crate::plan::Writer;

    const HELPER: &str = "/usr/bin/newuidmap";
    /// How a host that ostree booted has it: `/usr` is a read-only bind mount, `/etc` and `/var` are not
    /// (ostree: `src/switchroot/ostree-prepare-root.c`).
    const USR: &str =
        "99 22 254:1 /ostree/deploy/fedora/deploy/0.0/usr /usr ro,relatime - xfs /dev/vda4 rw\n";

    fn step(host: TestHost, path: &str) -> Option<Step> {
        let artifact = Artifact { path: path.to_owned(), by: Writer::System, wanted: Wanted::Mode(0o4755) };
        instead(&host.facts(), &artifact)
    }

    fn read_only() -> TestHost {
        fixture("debian-13").append("/proc/self/mountinfo", USR)
    }

    #[test]
    fn usr_is_not_written_and_etc_is() {
        let found = step(read_only(), HELPER).unwrap();
        assert!(
            found.summary.starts_with("/usr/bin/newuidmap is not written, since /usr is"),
            "{}",
            found.summary
        );
        assert_eq!(found.commands, ["sudo mount -o remount,rw /usr"]);
        assert_eq!(step(read_only(), "/etc/sysctl.d/90-rootless.conf"), None);
        assert_eq!(step(fixture("debian-13"), HELPER), None);
        assert_eq!(step(read_only().image(), HELPER), None);
        assert_eq!(step(read_only().error("/proc/self/mountinfo", "denied"), HELPER), None);
    }

    #[test]
    fn who_makes_the_next_usr_is_named() {
        let rpm = |os: &str| {
            read_only()
                .without("/var/lib/dpkg")
                .dir("/usr/lib/sysimage/rpm", "0755", 0)
                .file("/etc/os-release", os)
        };
        let fedora = step(rpm("ID=fedora\n").file("/run/ostree-booted", ""), HELPER).unwrap();
        assert!(fedora.summary.ends_with("in the image that this host boots") && fedora.commands.is_empty());
        let tool = "/usr/sbin/transactional-update";
        let micro =
            step(rpm("ID=sl-micro\nID_LIKE=suse\n").file(tool, "").mode(tool, "0755"), HELPER).unwrap();
        assert_eq!(micro.commands, ["sudo transactional-update shell"]);
        let flatcar =
            step(read_only().file("/etc/os-release", "ID=flatcar\nID_LIKE=coreos\n"), HELPER).unwrap();
        assert!(flatcar.summary.contains("Flatcar's image"), "{}", flatcar.summary);
    }
}
