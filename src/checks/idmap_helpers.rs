//! Whether `newuidmap` and `newgidmap` can write ID maps: see [`IDMAP_HELPERS`].

use crate::checks::{check, install};
use crate::facts::file_capability::Capability;
use crate::facts::packages::PackageManager;
use crate::facts::programs::Program;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent};
use crate::requirements::{Need, Requirements};
use crate::settings::{Setting, quoted};

check! {
    /// newuidmap and newgidmap can write ID maps
    ///
    /// ## What is looked at
    ///
    /// That both are on the path, that the user may execute them, and that they have what it takes:
    /// set-user-ID and owned by root, as on Debian, or the file capability `cap_setuid=ep`
    /// (`cap_setgid=ep`), as on Fedora. Not both: the kernel then gives the capability alone, and
    /// they fail. Neither counts on a file system that is mounted `nosuid`.
    ///
    /// ## Why it matters
    ///
    /// Only they may give a container more than the user's own ID. Podman stops with "newuidmap:
    /// write to uid_map failed: Operation not permitted", K3s with "failed to setup UID/GID map".
    /// File capabilities are extended attributes: an image that was packed with tar, rsync or in a
    /// container build has lost them unless the tool was told to keep them.
    ///
    /// ## Repair
    ///
    /// Install the package that has them. Where they lack privilege, `chmod 4755`, or `setcap` on
    /// distributions that ship them with a capability: Fedora, RHEL, SUSE (since 2023) and Arch. Debian
    /// and Ubuntu ship them set-user-ID.
    ///
    /// ## Sources
    ///
    /// - newuidmap(1), capabilities(7), "Safety checking for capability-dumb binaries"
    /// - Linux: security/commoncap.c, `handle_privileged_root`
    /// - podman: troubleshooting.md, "newuidmap: write to uid_map failed"
    /// - shadow: src/Makefile.am, `FCAPS`; Fedora: shadow-utils.spec (`%caps(cap_setuid=ep)`, 0755);
    ///   openSUSE/permissions: pull request 172; Arch: lxc-ci issue 955
    IDMAP_HELPERS, "idmap-helpers", Required, User(run)
}

const HELPERS: [(&str, Capability); 2] =
    [("newuidmap", Capability::Setuid), ("newgidmap", Capability::Setgid)];

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::IdMapHelpers);
    let mut outcome = Outcome::default();
    for (name, capability) in HELPERS {
        match look(facts, user, name, capability) {
            Ok(finding) => outcome.add_all(demands, &finding),
            Err(why) => outcome.unknown_all(demands, name, &why),
        }
    }
    outcome.or_not_asked()
}

fn look(facts: &Facts, user: &User, name: &str, capability: Capability) -> Fact<Finding> {
    let expected = format!("set-user-ID root, or {capability}=ep");
    let Some(program) = facts.program(name)? else {
        let at = Evidence::path(&format!("/usr/bin/{name}"), "does not exist");
        return Ok(Finding::new(name, expected, "not installed", Verdict::Unmet)
            .at([at])
            .repair(install(facts, &[name])));
    };
    let (met, found) = privilege(facts, user, &program, capability)?;
    let mount = match (met, nosuid(facts, &program.path)?) {
        (true, Some(mount)) => Some(mount),
        _ => None,
    };
    let verdict = Verdict::met_if(met && mount.is_none());
    let (found, remedy) = match &mount {
        Some(at) => (
            format!("{found}, on a file system mounted nosuid"),
            Remedy::manual(format!("take nosuid out of {at}, and mount it again")),
        ),
        None => (found, give_privilege(facts, user, &program, capability)),
    };
    let at = mount.into_iter().chain([program.evidence()]);
    Ok(Finding::new(&program.path, expected, found, verdict).at(at).repair(remedy))
}

/// Whether the program runs with what it needs, and with what in words.
fn privilege(facts: &Facts, user: &User, program: &Program, capability: Capability) -> Fact<(bool, String)> {
    if !program.is_executable_by(user) {
        return Ok((false, format!("{} may not execute it", user.name)));
    }
    let setuid = program.is_setuid_root();
    let caps = match facts.file_capability(&program.path) {
        Ok(caps) => caps,
        // What cannot be read can only spoil it, and no distribution has both.
        Err(_) if setuid => None,
        Err(why) => return Err(why),
    };
    Ok(match caps {
        None if setuid => (true, "set-user-ID root".to_owned()),
        None => {
            let lost = if facts.running() { "" } else { "; capabilities are lost where an image is packed" };
            (false, format!("neither set-user-ID root nor a file capability{lost}"))
        }
        Some(_) if setuid => {
            (false, "set-user-ID root and a file capability, which spoil each other".to_owned())
        }
        Some(caps) if caps.gives(capability) => (true, format!("{capability}=ep")),
        Some(caps) => {
            let flag = if caps.effective { "e" } else { "" };
            (false, format!("file capabilities {:#x}={flag}p, not {capability}=ep", caps.permitted))
        }
    })
}

/// The mount, or the line of fstab, that takes the privilege away again.
fn nosuid(facts: &Facts, path: &str) -> Fact<Option<Evidence>> {
    let path = facts.real_path(path)?;
    let mounts = if facts.running() {
        Some(facts.mountinfo()?.holding(&path).cloned())
    } else {
        facts.fstab().or_absent()?.map(|fstab| fstab.configured.holding(&path).cloned())
    };
    Ok(mounts.flatten().filter(|mount| mount.nosuid()).map(|mount| mount.at))
}

/// A set-user-ID bit or a capability, as the distribution has it, and never both.
fn give_privilege(facts: &Facts, user: &User, program: &Program, capability: Capability) -> Remedy {
    let path = &program.path;
    let (sudo, root) = if facts.running() { ("sudo ", "") } else { ("", "$ROOT") };
    if program.stat.uid != 0 {
        let word = quoted(path);
        let settle = format!("{sudo}chown root:root {root}{word} && {sudo}chmod 4755 {root}{word}");
        return Remedy::manual(format!("give {path} back to root, set-user-ID")).command(settle);
    }
    let mode = |mode: u32| Setting::FileMode { path: path.clone(), mode };
    let caps = facts.file_capability(path).ok().flatten();
    if !program.is_executable_by(user) {
        return match caps {
            Some(_) => Remedy::setting(format!("let everyone execute {path}"), mode(0o755)),
            None => Remedy::setting(format!("make {path} set-user-ID root, for everyone"), mode(0o4755)),
        };
    }
    // Where there is a capability, a set-user-ID bit beside it would spoil it.
    if caps.is_none() && !ships_capabilities(facts) {
        return Remedy::setting(format!("make {path} set-user-ID root"), mode(0o4755));
    }
    let summary = if program.is_setuid_root() {
        format!("leave {path} its file capability alone, without the set-user-ID bit")
    } else {
        format!("give {path} its file capability back")
    };
    let capability = match capability {
        Capability::Setgid => "cap_setgid",
        _ => "cap_setuid",
    };
    Remedy::setting(summary, Setting::FileCapability { path: path.clone(), capability })
}

/// Whether the distribution ships the helpers with file capabilities.
fn ships_capabilities(facts: &Facts) -> bool {
    matches!(facts.package_manager(), Ok(Some(PackageManager::Rpm | PackageManager::Pacman)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;

    const UID: &str = "/usr/bin/newuidmap";
    const GID: &str = "/usr/bin/newgidmap";
    /// `cap_setuid=ep` and `cap_setuid=p`, as setcap(8) writes them.
    const SETUID_EP: &str = "0100000280000000000000000000000000000000";
    const SETUID_P: &str = "0000000280000000000000000000000000000000";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    fn caps(mode: &str, hex: &str) -> TestHost {
        fixture("debian-13").mode(UID, mode).path(UID, |record| record.capability = Some(hex.to_owned()))
    }

    /// What is found of newuidmap, and whether it will do.
    fn newuidmap(host: TestHost) -> (Verdict, String) {
        let outcome = look_at(host);
        let found = findings(&outcome)[0];
        (found.verdict, found.found.clone())
    }

    #[test]
    fn set_user_id_passes() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [(UID, Verdict::Met), (GID, Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].evidence[0].text, "mode 4755, owner 0:0");
        assert_eq!(newuidmap(fixture("debian-13").mode(UID, "4711")).0, Verdict::Met);
    }

    /// As `podman run` did on a booted Debian 13.
    #[test]
    fn what_a_real_machine_said() {
        let setgid = "0100000240000000000000000000000000000000";
        for (host, verdict, found) in [
            (caps("0755", SETUID_EP), Verdict::Met, "cap_setuid=ep"),
            (caps("0755", SETUID_P), Verdict::Unmet, "file capabilities 0x80=p, not cap_setuid=ep"),
            (caps("0755", setgid), Verdict::Unmet, "file capabilities 0x40=ep, not cap_setuid=ep"),
            (caps("0755", ""), Verdict::Unmet, "neither set-user-ID root nor a file capability"),
            (
                caps("4755", SETUID_EP),
                Verdict::Unmet,
                "set-user-ID root and a file capability, which spoil each other",
            ),
            (caps("4750", ""), Verdict::Unmet, "edge may not execute it"),
            (
                fixture("debian-13").path(UID, |record| record.uid = Some(1)),
                Verdict::Unmet,
                "neither set-user-ID root nor a file capability",
            ),
        ] {
            assert_eq!(newuidmap(host), (verdict, found.to_owned()));
        }
        let gid = look_at(fixture("debian-13").mode(GID, "0755"));
        assert_eq!(verdicts(&gid), [(UID, Verdict::Met), (GID, Verdict::Unmet)]);
        assert_eq!(
            findings(&gid)[1].remedy.settings,
            [Setting::FileMode { path: GID.to_owned(), mode: 0o4755 }]
        );
    }

    #[test]
    fn nosuid_takes_it_away() {
        let mounted = fixture("debian-13")
            .append("/proc/self/mountinfo", "99 22 254:1 / /usr rw,nosuid - ext4 /dev/vdb rw\n");
        let outcome = look_at(mounted);
        let found = findings(&outcome)[0];
        assert_eq!((found.verdict, &*found.evidence[0].path), (Verdict::Unmet, "/proc/self/mountinfo"));
        let fstab = fixture("debian-13").file("/etc/fstab", "/dev/vdb /usr ext4 nosuid 0 2\n");
        assert_eq!(newuidmap(fstab.clone()).0, Verdict::Met, "what is mounted counts");
        assert_eq!(findings(&look_at(fstab.image()))[0].evidence[0].to_string(), "/etc/fstab:1");
    }

    #[test]
    fn an_image_may_have_lost_its_capabilities() {
        let (verdict, found) = newuidmap(caps("0755", "").image());
        assert_eq!(verdict, Verdict::Unmet);
        assert!(found.ends_with("capabilities are lost where an image is packed"), "{found}");
        let fedora = caps("0755", "").without("/var/lib/dpkg/status").dir("/usr/lib/sysimage/rpm", "0755", 0);
        let outcome = look_at(fedora.image());
        assert_eq!(findings(&outcome)[0].remedy.settings, [setcap()]);
    }

    fn setcap() -> Setting {
        Setting::FileCapability { path: UID.to_owned(), capability: "cap_setuid" }
    }

    #[test]
    fn a_repair_ends_with_one_of_the_two() {
        let setuid = Setting::FileMode { path: UID.to_owned(), mode: 0o4755 };
        let execute = Setting::FileMode { path: UID.to_owned(), mode: 0o755 };
        let rpm = |id: &str| {
            caps("0755", "")
                .without("/var/lib/dpkg/status")
                .dir("/usr/lib/sysimage/rpm", "0755", 0)
                .file("/etc/os-release", format!("ID={id}\n"))
        };
        let arch = caps("0755", "")
            .without("/var/lib/dpkg/status")
            .file("/var/lib/pacman/local/ALPM_DB_VERSION", "9\n");
        for (host, setting) in [
            (caps("0755", ""), setuid.clone()),
            (caps("0755", SETUID_P), setcap()),
            (caps("4755", SETUID_EP), setcap()),
            (caps("4750", ""), setuid.clone()),
            (caps("0750", SETUID_EP), execute),
            (rpm("fedora"), setcap()),
            (rpm("suse"), setcap()),
            (caps("0755", "").without("/var/lib/dpkg/status"), setuid),
            (arch, setcap()),
        ] {
            let outcome = look_at(host);
            assert_eq!(findings(&outcome)[0].remedy.settings, [setting]);
        }
    }

    #[test]
    fn not_installed() {
        let outcome = look_at(fixture("debian-13").without(UID));
        let found = findings(&outcome)[0];
        assert_eq!((found.found.as_str(), found.evidence[0].to_string()), ("not installed", UID.to_owned()));
        assert_eq!(found.remedy.commands, ["sudo apt install uidmap"]);
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let denied = fixture("debian-13").error(UID, "denied");
        assert_eq!(unknown(&look_at(denied)), ["/usr/bin/newuidmap is not readable as this user"]);
        let no_caps = caps("0755", "zz");
        assert_eq!(unknown(&look_at(no_caps)).len(), 1);
        assert!(run(&fixture("debian-13").facts(), &Requirements::default(), &edge()).skipped.is_some());
    }
}
