//! Whether containers can have a `/proc` of their own: see [`PROC_MOUNT`].

use crate::checks::check;
use crate::facts::mountinfo::{Mount, Mounts};
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};
use crate::settings::quoted;

check! {
    /// A user namespace can mount its own /proc
    ///
    /// ## What is looked at
    ///
    /// The mounts of procfs in `/proc/self/mountinfo`. One of them, on `/proc` or elsewhere, has to be
    /// whole: nothing may be mounted on what is in it, but for the directories that the kernel keeps
    /// empty for that (`sys/fs/binfmt_misc`, `fs/nfsd`, `xen`, `openprom`), it may not be read-only,
    /// and its access times have to be `relatime`, with which containers mount theirs. `hidepid=` does
    /// not matter. In an image there is nothing to look at.
    ///
    /// ## Why it matters
    ///
    /// The kernel gives a user namespace no new /proc that shows more than the old one. Container
    /// managers cover parts of /proc: in a container of Docker or Podman, and in one of LXC or Incus
    /// without nesting, no rootless container starts: "mount `proc` to `proc`: Operation not permitted"
    /// (crun), "mounting "proc" to rootfs at "/proc": operation not permitted" (runc).
    ///
    /// Seen on Linux 6.18: a file bound on /proc/cpuinfo, a tmpfs on /proc/bus, and a /proc that is
    /// mounted noatime or strictatime are each in the way; a second whole /proc helps, and neither
    /// binfmt_misc nor `hidepid=` matters.
    ///
    /// ## Repair
    ///
    /// In a container, its own settings: nesting (`security.nesting=true` of Incus and LXD,
    /// `features: nesting=1` of Proxmox VE), `--security-opt unmask=ALL` of Podman,
    /// `--security-opt systempaths=unconfined` of Docker. Elsewhere, what is mounted there is unmounted.
    ///
    /// ## Sources
    ///
    /// - Linux: fs/namespace.c, `mnt_already_visible`, `lock_mnt_tree`; fs/proc/root.c,
    ///   `proc_create_mount_point`
    /// - crun: src/libcrun/linux.c, `do_mount`, which has another way for /sys and none for /proc
    /// - podman: issues 9813 and 20453; runc: issue 1658
    PROC_MOUNT, "proc-mount", Required, Host(run)
}

const PROC: &str = "/proc";
/// Directories of procfs that are empty for good, so that a mount on them hides nothing.
const MOUNT_POINTS: [&str; 4] = ["/sys/fs/binfmt_misc", "/fs/nfsd", "/xen", "/openprom"];
const EXPECTED: &str = "whole, writable and relatime";
/// More than anybody reads.
const MOST: usize = 4;

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let demands = req.need(Need::ProcMount);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    if !facts.running() {
        return Outcome::skip("decided at boot: nothing is mounted in an image");
    }
    let mut outcome = Outcome::default();
    outcome.looked(demands, PROC, look(facts));
    outcome
}

fn look(facts: &Facts) -> Fact<Result<Finding, &'static str>> {
    let mounts = facts.mountinfo()?;
    let Some(root) = mounts.at("/") else {
        return Ok(Err("/ is not among the mounts: edgeprep was started in a chroot"));
    };
    if root.shared.is_none() && root.master.is_some() {
        return Ok(Err("edgeprep was started in a mount namespace of its own"));
    }
    let procs = || mounts.mounts.iter().filter(|mount| mount.fs_type == "proc" && mount.root == "/");
    if let Some(whole) = procs().find(|proc| obstacles(&mounts, proc).is_empty()) {
        let finding = Finding::new(PROC, EXPECTED, EXPECTED, Verdict::Met);
        return Ok(Ok(finding.at([whole.at.clone()])));
    }
    let Some(proc) = mounts.at(PROC).filter(|mount| mount.fs_type == "proc").or_else(|| procs().next_back())
    else {
        return Ok(Err("no procfs is among the mounts"));
    };
    let obstacles = obstacles(&mounts, proc);
    let (words, at): (Vec<String>, Vec<Evidence>) =
        obstacles.iter().map(|(found, mount)| (found.clone(), mount.at.clone())).take(MOST).unzip();
    let mut found = words.join(", ");
    if obstacles.len() > MOST {
        found = format!("{found} and {} more", obstacles.len() - MOST);
    }
    let finding = Finding::new(&proc.point, EXPECTED, found, Verdict::Unmet);
    Ok(Ok(finding.at(at).repair(repair(facts, proc, &obstacles))))
}

/// What makes a mount of procfs less than a new one would be, each in words and with the mount that does.
fn obstacles<'a>(mounts: &'a Mounts, proc: &'a Mount) -> Vec<(String, &'a Mount)> {
    let mut found = Vec::new();
    if proc.read_only() {
        found.push(("read-only".to_owned(), proc));
    }
    let has = |name: &str| proc.options.iter().any(|option| option == name);
    if !has("relatime") || has("noatime") || has("nodiratime") {
        found.push(("not relatime".to_owned(), proc));
    }
    let covering = mounts.mounts.iter().filter(|mount| mount.parent == proc.id).filter(|mount| {
        let below = mount.point.strip_prefix(proc.point.trim_end_matches('/')).unwrap_or_default();
        !MOUNT_POINTS.contains(&below)
    });
    found.extend(covering.map(|mount| (format!("{} on {}", mount.fs_type, mount.point), mount)));
    found
}

fn repair(facts: &Facts, proc: &Mount, obstacles: &[(String, &Mount)]) -> Remedy {
    // Only the words depend on it.
    if let Ok(Some(container)) = facts.container() {
        return Remedy::manual(match container.value.as_str() {
            "docker" => "start this container with --security-opt systempaths=unconfined".to_owned(),
            "podman" => "start this container with --security-opt unmask=ALL".to_owned(),
            "lxc" | "incus" | "lxd" => {
                "allow nesting for this container: security.nesting=true in Incus and LXD, nesting=1 in \
                 Proxmox VE"
                    .to_owned()
            }
            manager => format!("have {manager} leave /proc of this container uncovered"),
        });
    }
    let mut remedy = Remedy::manual("undo it until the next boot, and find what mounts it so at boot");
    for (_, mount) in obstacles {
        if mount.id == proc.id {
            if remedy.commands.is_empty() {
                remedy = remedy.command(format!("sudo mount -o remount,rw,relatime {}", quoted(&proc.point)));
            }
        } else {
            remedy = remedy.command(format!("sudo umount {}", quoted(&mount.point)));
        }
    }
    remedy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, empty_host, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const MOUNTINFO: &str = "/proc/self/mountinfo";
    /// From a container of Podman, issue 10864: /proc in part, shortened.
    const IN_PODMAN: &str = "\
33824 29520 0:3015 / / rw,relatime - overlay overlay rw
33825 33824 0:3018 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
33831 33825 0:3019 / /proc/acpi ro,relatime - tmpfs tmpfs ro,size=0k
33832 33825 0:5 /null /proc/kcore rw,nosuid - devtmpfs devtmpfs rw
33833 33825 0:3018 /bus /proc/bus ro,nosuid,nodev,noexec,relatime - proc proc rw
";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]))
    }

    /// A Debian 13, on which binfmt_misc is mounted, with one line more or one thing changed.
    fn more(line: &str) -> Outcome {
        look_at(fixture("debian-13").append(MOUNTINFO, format!("{line}\n").as_str()))
    }

    #[test]
    fn binfmt_misc_hides_nothing() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [(PROC, Verdict::Met)]);
        assert_eq!(outcome.items[0].level, Level::Required);
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{MOUNTINFO}:2"));
        assert_eq!(
            verdicts(&more("200 25 0:77 / /proc/fs/nfsd rw,relatime - nfsd nfsd rw"))[0].1,
            Verdict::Met
        );
    }

    #[test]
    fn a_cover_is_in_the_way_unless_another_proc_is_whole() {
        let lxcfs = "200 25 0:77 / /proc/cpuinfo rw,nosuid,nodev,relatime - fuse.lxcfs lxcfs rw";
        let outcome = more(lxcfs);
        let finding = findings(&outcome)[0];
        assert_eq!(
            (finding.verdict, finding.found.as_str()),
            (Verdict::Unmet, "fuse.lxcfs on /proc/cpuinfo")
        );
        assert_eq!(finding.evidence[0].text, lxcfs);
        assert_eq!(finding.remedy.commands, ["sudo umount /proc/cpuinfo"]);
        // As Incus has it with nesting.
        let nested = "201 26 0:78 / /dev/.lxc/proc rw,relatime - proc proc rw";
        let outcome = more(&format!("{lxcfs}\n{nested}"));
        assert_eq!(verdicts(&outcome), [(PROC, Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].evidence[0].text, nested);
        // A part of it is no /proc.
        let part = "201 26 0:78 /bus /dev/bus rw,relatime - proc proc rw";
        assert_eq!(verdicts(&more(&format!("{lxcfs}\n{part}")))[0].1, Verdict::Unmet);
    }

    #[test]
    fn a_new_proc_must_not_allow_more() {
        for (options, found) in [
            ("ro,nosuid,nodev,noexec,relatime", "read-only"),
            ("rw,nosuid,nodev,noexec,noatime", "not relatime"),
            ("rw,nosuid,nodev,noexec", "not relatime"),
        ] {
            let host = fixture("debian-13").edit(
                MOUNTINFO,
                "/proc rw,nosuid,nodev,noexec,relatime",
                &format!("/proc {options}"),
            );
            let outcome = look_at(host);
            let finding = findings(&outcome)[0];
            assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Unmet, found), "{options}");
            assert_eq!(finding.remedy.commands, ["sudo mount -o remount,rw,relatime /proc"]);
        }
        let hidden =
            fixture("debian-13").edit(MOUNTINFO, "- proc proc rw", "- proc proc rw,hidepid=invisible");
        assert_eq!(verdicts(&look_at(hidden))[0].1, Verdict::Met);
    }

    #[test]
    fn in_a_container_its_settings_are_the_remedy() {
        let outcome = look_at(empty_host().file(MOUNTINFO, IN_PODMAN).file("/run/.containerenv", ""));
        let finding = findings(&outcome)[0];
        assert_eq!(finding.found, "tmpfs on /proc/acpi, devtmpfs on /proc/kcore, proc on /proc/bus");
        assert_eq!(finding.evidence.len(), 3);
        assert!(finding.remedy.summary.ends_with("--security-opt unmask=ALL"), "{:?}", finding.remedy);
    }

    #[test]
    fn unknown_and_skipped() {
        let own =
            fixture("debian-13").edit(MOUNTINFO, "/ / rw,relatime shared:1", "/ / rw,relatime master:1");
        assert_eq!(unknown(&look_at(own)), ["edgeprep was started in a mount namespace of its own"]);
        assert_eq!(unknown(&look_at(empty_host())), ["/proc/self/mountinfo does not exist"]);
        let none = empty_host().file(MOUNTINFO, "29 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n");
        assert_eq!(unknown(&look_at(none)), ["no procfs is among the mounts"]);
        assert!(look_at(fixture("debian-13").image()).skipped.unwrap().contains("boot"));
        assert!(run(&fixture("debian-13").facts(), &Requirements::default()).skipped.is_some());
    }
}
