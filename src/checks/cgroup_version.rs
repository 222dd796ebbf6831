//! Which kind of cgroup hierarchy the host runs with: see [`CGROUP_VERSION`].

use crate::checks::{boot_remedy, check, openrc};
use crate::facts::cgroup::{Controller, Hierarchy};
use crate::facts::kernel_cmdline::KernelCmdline;
use crate::facts::unit_syntax::boolean;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Level, Needs, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent, Unread};
use crate::requirements::{Demand, Need, Requirements, Stack};

/// The first version that mounts nothing but cgroup v2 (systemd: NEWS, 258).
const V1_REMOVED: u32 = 258;
/// The first version that mounts version 2 alone wherever nothing asks for another (systemd: NEWS,
/// 256: version 1 takes `SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1`, too).
const V1_FORCED: u32 = 256;
/// The first version of Podman that does not run on cgroup v1 (podman: RELEASE_NOTES.md, 6.0.0).
const PODMAN_NEEDS_V2: u64 = 6;
const ASK: &str = "systemd.unified_cgroup_hierarchy";
/// Where it is mounted, as findings name it.
const SUBJECT: &str = "/sys/fs/cgroup";

check! {
    /// Only cgroup v2 is mounted
    ///
    /// ## What is looked at
    ///
    /// The mounts at and below `/sys/fs/cgroup`: version 2 alone, version 1, or both ("hybrid"), with
    /// the controllers that a version 1 mount holds; what on the kernel command line of the
    /// running system asked for it, and what the boot loader passes next time. In an image root the
    /// version of systemd is looked at, and what the boot loader will pass: systemd 258 and later have
    /// no other hierarchy, before it is decided at boot.
    ///
    /// ## Why it matters
    ///
    /// Only version 2 can be delegated to a user: kind stops with "requires cgroup v2", and a rootless
    /// kubelet does not start. Podman before 6 runs on version 1 and ignores all limits, so for it alone
    /// version 2 is advised. On a hybrid hierarchy crun refuses every container as soon as version 2 holds
    /// a controller: "cgroups in hybrid mode not supported, drop all controllers from cgroupv2".
    ///
    /// Seen: Podman 4.3 on both (Linux 6.1 of Debian 12 has all controllers in version 1; "Resource limits
    /// are not supported and ignored on cgroups V1"), 5.4 on version 1 alone, and not on hybrid (Linux 6.12
    /// of Debian 13 has no version 1 of cpuset and memory).
    ///
    /// ## Repair
    ///
    /// Take `systemd.unified_cgroup_hierarchy=0` off the kernel command line, or, where the
    /// distribution's default is version 1, add `systemd.unified_cgroup_hierarchy=1`; then reboot. A
    /// container has the hierarchy of its host. OpenRC mounts it with its service `cgroups`, in the mode
    /// that `rc_cgroup_mode` in `/etc/rc.conf` names: hybrid unless set in older versions, unified in
    /// newer ones. WSL takes the kernel command line from `.wslconfig`.
    ///
    /// ## Sources
    ///
    /// - systemd(1), "Kernel Command Line"
    /// - Documentation/admin-guide/cgroup-v2.rst, "Mounting"
    /// - systemd: NEWS, versions 256 and 258
    /// - podman: RELEASE_NOTES.md, 6.0.0; crun: src/libcrun/cgroup.c
    /// - OpenRC: init.d/cgroups.in, `mount_cgroups`
    CGROUP_VERSION, "cgroup-version", Required, Host(run)
}

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let demands = req.need(Need::CgroupV2);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    let mut outcome = Outcome::default();
    let found = if facts.running() { mounted(facts, req).map(Ok) } else { installed(facts, req) };
    match found {
        Ok(Ok(finding)) => add(facts, demands, &finding, &mut outcome),
        Ok(Err(reason)) => return Outcome::skip(reason),
        Err(why) => outcome.unknown_all(demands, SUBJECT, &why),
    }
    outcome
}

/// Podman itself may run on cgroup v1 and ignore limits; the rest does not.
fn add(facts: &Facts, demands: &[Demand], finding: &Finding, outcome: &mut Outcome) {
    let is_podman = |stack: &Stack| matches!(stack, Stack::Podman | Stack::PodmanKube);
    let refused = if finding.verdict == Verdict::Met { Ok(None) } else { podman_refuses(facts) };
    for demand in demands {
        let (podman, others): (Vec<Stack>, Vec<Stack>) = demand.stacks.iter().copied().partition(is_podman);
        let of = |level, stacks| Demand { level, stacks, ..demand.clone() };
        if !others.is_empty() {
            outcome.add(&of(demand.level, others), finding.clone());
        }
        if podman.is_empty() {
            continue;
        }
        match &refused {
            Ok(None) if finding.verdict == Verdict::Met => {
                outcome.add(&of(demand.level, podman), finding.clone());
            }
            Ok(None) => outcome.add(&of(Level::Advised, podman), finding.clone()),
            Ok(Some(at)) => {
                outcome.add(&of(demand.level, podman), finding.clone().at(at.clone()));
            }
            Err(why) => outcome.unknown(&of(demand.level, podman), SUBJECT, why),
        }
    }
}

/// Why Podman starts no container on anything but cgroup v2, or `None` where it does.
fn podman_refuses(facts: &Facts) -> Fact<Option<Vec<Evidence>>> {
    // What systemd mounts in an image that is told to mount version 1, unless it is told more.
    let mut kind = Hierarchy::Hybrid;
    if facts.running() {
        let hierarchy = facts.cgroup_hierarchy()?;
        let Some(hierarchy) = hierarchy.as_ref() else { return Ok(Some(Vec::new())) };
        kind = hierarchy.value;
    }
    let Some(podman) = facts.system_podman()? else { return Ok(Some(Vec::new())) };
    match podman.is_at_least(PODMAN_NEEDS_V2) {
        Some(true) => return Ok(Some(vec![podman.evidence()])),
        Some(false) => {}
        None => return Err(podman.unknown()),
    }
    if kind == Hierarchy::Hybrid && facts.program("crun")?.is_some() {
        let controllers = facts.hybrid_controllers()?;
        return Ok(controllers.value.then(|| vec![controllers.at]));
    }
    Ok(None)
}

/// What the image will mount, or why that is not known before it boots.
fn installed(facts: &Facts, req: &Requirements) -> Fact<Result<Finding, String>> {
    let Some(version) = facts.systemd_version().or_absent()? else {
        return Ok(Err("decided at boot, and no systemd was found that would decide it".to_owned()));
    };
    let unified = Hierarchy::Unified.to_string();
    if version.value >= V1_REMOVED {
        let finding = Finding::new(SUBJECT, unified.clone(), unified, Verdict::Met);
        return Ok(Ok(finding.at([version.at.clone()])));
    }
    if let Ok(boot) = &*facts.boot(&req.boot)? {
        match boot.finds(asked_for_v1) {
            Ok(Some(asked)) => {
                let found = format!("cgroup v1 is asked for, and systemd {} has it", version.value);
                let finding = Finding::new(SUBJECT, unified, found, Verdict::Unmet);
                let remedy = boot_remedy::pass_no_more(facts, req, &asked.text);
                return Ok(Ok(finding.at([asked, version.at.clone()]).repair(remedy)));
            }
            Ok(None) => {}
            Err(why) => {
                let expected = format!("{why}: some of it asks for cgroup v1");
                let path = boot.at.first().map_or(SUBJECT, |at| &at.path).to_owned();
                return Err(Unread::Malformed { path, line: None, expected });
            }
        }
    }
    Ok(Err(format!(
        "decided at boot: systemd {} still takes cgroup v1 from the kernel command line",
        version.value
    )))
}

fn mounted(facts: &Facts, req: &Requirements) -> Fact<Finding> {
    let hierarchy = facts.cgroup_hierarchy()?;
    let expected = Hierarchy::Unified.to_string();
    let Some(hierarchy) = hierarchy.as_ref() else {
        let at = Evidence::path("/proc/self/mountinfo", "no cgroup file system is mounted");
        let finding = Finding::new(SUBJECT, expected, "no control groups", Verdict::Unmet).at([at]);
        let start = || {
            Remedy::manual("have OpenRC mount them, now and at boot")
                .command("sudo rc-update add cgroups default")
                .command("sudo rc-service cgroups start")
        };
        return Ok(finding.repair(if openrc(facts) { start() } else { remedy(facts, req, None) }));
    };
    if hierarchy.value == Hierarchy::Unified {
        return Ok(Finding::new(SUBJECT, expected.clone(), expected, Verdict::Met).at([hierarchy.at.clone()]));
    }
    let mounts = facts.mountinfo()?;
    let v1: Vec<_> = mounts.mounts.iter().filter(|mount| mount.fs_type == "cgroup").collect();
    let held: Vec<&str> = v1
        .iter()
        .flat_map(|mount| mount.super_options.iter())
        .filter_map(|option| Controller::from_name(option).map(Controller::as_str))
        .collect();
    let found = match (hierarchy.value, &held[..]) {
        (Hierarchy::Hybrid, []) => "hybrid".to_owned(),
        (Hierarchy::Hybrid, held) => format!("hybrid, cgroup v1 holds {}", held.join(" ")),
        (kind, _) => kind.to_string(),
    };
    // Neither who asked for it nor where it is decided changes what is found, so an error of reading
    // either costs a hint and not the finding.
    let asked = facts.kernel_cmdline().ok().and_then(|cmdline| asked_for_v1(&cmdline));
    let holds = |option: &String| Controller::from_name(option).is_some();
    let holding = v1.iter().filter(|mount| mount.super_options.iter().any(holds)).map(|m| m.at.clone());
    let at = |finding: Finding| finding.at(asked.clone()).at(holding).at([hierarchy.at.clone()]);
    if !elsewhere(facts)
        && let Some(next) = asks_next(facts, req, asked.is_some())
    {
        let found = format!("{found} until the next boot");
        let finding = Finding::new(SUBJECT, expected, found, Verdict::Pending(Needs::Reboot));
        return Ok(at(finding.at(next)).repair(boot_remedy::reboot()));
    }
    let finding = at(Finding::new(SUBJECT, expected, found, Verdict::Unmet));
    Ok(finding.repair(remedy(facts, req, asked.as_ref())))
}

/// Whether it is decided elsewhere than on the kernel command line of this host.
fn elsewhere(facts: &Facts) -> bool {
    matches!(facts.container(), Ok(Some(_))) || matches!(facts.wsl(), Ok(Some(_))) || openrc(facts)
}

/// What has the next boot mount version 2 alone, if that is sure.
fn asks_next(facts: &Facts, req: &Requirements, asked_for_v1: bool) -> Option<Vec<Evidence>> {
    let looked = facts.boot(&req.boot).ok()?;
    let boot = looked.as_ref().as_ref().ok()?;
    match boot.words().last(ASK) {
        Some(word) => {
            let v2 = word.value.as_deref().is_none_or(|value| boolean(value) == Some(true));
            v2.then(|| vec![word.at.clone()])
        }
        None => {
            let version = facts.systemd_version().ok()?;
            (asked_for_v1 && version.value >= V1_FORCED).then(|| boot.at.clone())
        }
    }
}

/// The last word of the kernel command line on the matter, if it is for version 1.
fn asked_for_v1(cmdline: &KernelCmdline) -> Option<Evidence> {
    let parameter = cmdline.last(ASK)?;
    let v1 = parameter.value.as_deref().is_some_and(|value| boolean(value) == Some(false));
    v1.then(|| parameter.at.clone())
}

fn remedy(facts: &Facts, req: &Requirements, asked: Option<&Evidence>) -> Remedy {
    if let Ok(Some(container)) = facts.container() {
        return Remedy::manual(format!(
            "boot the host of this {} container with cgroup v2: the container has the same",
            container.value
        ));
    }
    if let Ok(Some(_)) = facts.wsl() {
        return Remedy::manual(
            "write kernelCommandLine=cgroup_no_v1=all under [wsl2] in %UserProfile%\\.wslconfig, then \
             run wsl --shutdown in Windows",
        );
    }
    if openrc(facts) {
        return Remedy::manual("write rc_cgroup_mode=\"unified\" in /etc/rc.conf and reboot")
            .command("echo 'rc_cgroup_mode=\"unified\"' | sudo tee -a /etc/rc.conf")
            .command("sudo reboot");
    }
    match asked {
        Some(at) if still_asked(facts, req, at) => boot_remedy::pass_no_more(facts, req, &at.text),
        _ => boot_remedy::pass(facts, req, &format!("{ASK}=1")),
    }
}

/// Whether a word that was passed will be passed again, as far as is known.
fn still_asked(facts: &Facts, req: &Requirements, at: &Evidence) -> bool {
    let looked = facts.boot(&req.boot);
    match looked.as_deref() {
        Ok(Ok(boot)) => boot.words().parameters.iter().any(|parameter| parameter.is(&at.text)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, empty_host, fixture};

    const V2: &str = "32 24 0:27 / /sys/fs/cgroup rw shared:8 - cgroup2 cgroup2 rw,nsdelegate";
    const TMPFS: &str = "32 24 0:27 / /sys/fs/cgroup ro shared:8 - tmpfs tmpfs ro,mode=755";
    const TRACKING: &str = "33 32 0:28 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw";
    const NAMED: &str = "34 32 0:29 / /sys/fs/cgroup/systemd rw shared:10 - cgroup cgroup rw,name=systemd";
    const MEMORY: &str = "35 32 0:30 / /sys/fs/cgroup/memory rw shared:11 - cgroup cgroup rw,memory";
    const CPU: &str = "36 32 0:31 / /sys/fs/cgroup/cpu,cpuacct rw shared:12 - cgroup cgroup rw,cpu,cpuacct";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]))
    }

    fn booted(mounts: &[&str], cmdline: &str) -> TestHost {
        fixture("debian-13")
            .file("/proc/self/mountinfo", mounts.join("\n") + "\n")
            .file("/proc/cmdline", cmdline)
            .file("/sys/fs/cgroup/unified/cgroup.controllers", "cpuset memory\n")
    }

    #[test]
    fn cgroup_v2_alone_passes() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [("/sys/fs/cgroup", Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), "/proc/self/mountinfo:9");
    }

    /// As Debian 13 booted with these two words.
    #[test]
    fn hybrid_is_not_version_2() {
        let mounts = [TMPFS, TRACKING, NAMED, CPU, MEMORY];
        let cmdline =
            "root=/dev/vda systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1\n";
        let outcome = look_at(booted(&mounts, cmdline));
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, finding.expected.as_str()), (Verdict::Unmet, "cgroup v2"));
        assert_eq!(finding.found, "hybrid, cgroup v1 holds cpu cpuacct memory");
        let at: Vec<String> = finding.evidence.iter().map(ToString::to_string).collect();
        let lines = ["/proc/cmdline:1", "/proc/self/mountinfo:4", "/proc/self/mountinfo:5"];
        assert_eq!(at[..3], lines);
        let summary = "take systemd.unified_cgroup_hierarchy=0 off the kernel command line, then reboot";
        assert!(finding.remedy.summary.starts_with(summary), "{}", finding.remedy.summary);
    }

    #[test]
    fn the_boot_loaders_file_is_changed_already_or_has_a_setting() {
        let pi = |file: &str| {
            booted(
                &[TMPFS, TRACKING, MEMORY],
                "vc_mem.mem_size=0x1  quiet systemd.unified_cgroup_hierarchy=0\n",
            )
            .file("/proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0")
            .without("/sys/firmware/efi")
            .file("/boot/firmware/config.txt", "")
            .file("/boot/firmware/cmdline.txt", file)
        };
        let finding = |file: &str| findings(&look_at(pi(file)))[0].clone();
        let still = finding("quiet systemd.unified_cgroup_hierarchy=0\n");
        assert_eq!((still.verdict, still.remedy.settings.len()), (Verdict::Unmet, 1));
        assert!(
            still
                .remedy
                .summary
                .starts_with("take systemd.unified_cgroup_hierarchy=0 out of /boot/firmware/")
        );
        let pending = finding("quiet systemd.unified_cgroup_hierarchy=1\n");
        assert_eq!((pending.verdict, &*pending.remedy.summary), (Verdict::Pending(Needs::Reboot), "reboot"));
        assert_eq!(pending.evidence[0].to_string(), "/boot/firmware/cmdline.txt:1");
        // Without a word systemd 255 does what its distribution has chosen, and 257 what is wanted.
        let of = |version: u32| {
            let old = "/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so";
            let new = format!("/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-{version}.so");
            findings(&look_at(pi("quiet\n").without(old).file(&new, "")))[0].clone()
        };
        assert_eq!(of(257).verdict, Verdict::Pending(Needs::Reboot));
        let older = of(255);
        assert_eq!(older.verdict, Verdict::Unmet);
        assert!(
            older.remedy.summary.starts_with("add systemd.unified_cgroup_hierarchy=1 to /boot/firmware/")
        );
    }

    fn levels(host: TestHost) -> Vec<(Level, Vec<Stack>)> {
        let outcome = run(&host.facts(), &requirements(&[Stack::Podman, Stack::Kind]));
        outcome.items.iter().map(|item| (item.level, item.stacks.clone())).collect()
    }

    /// As Debian 13 booted this way: `podman run --memory` warns that limits are ignored, and runs.
    #[test]
    fn podman_runs_on_version_1_and_ignores_limits() {
        let host = || booted(&[TMPFS, NAMED, MEMORY], "quiet\n");
        let advised = [(Level::Required, vec![Stack::Kind]), (Level::Advised, vec![Stack::Podman])];
        assert_eq!(levels(host()), advised);
        let status = "/var/lib/dpkg/status";
        let version_6 = host().edit(status, "Version: 5.4.2+ds1-2+b2", "Version: 6.0.0-1");
        assert_eq!(levels(version_6), advised.map(|(_, stacks)| (Level::Required, stacks)));
        let unread = look_at(host().error(status, "denied"));
        assert_eq!(unknown(&unread), ["/var/lib/dpkg/status is not readable as this user"]);
    }

    /// RHEL 8 boots with version 1 and has Podman 4.9, whose version is in an RPM database.
    #[test]
    fn podman_of_rhel_8_runs_on_version_1() {
        let host = booted(&[TMPFS, NAMED, MEMORY], "quiet\n")
            .without("/var/lib/dpkg")
            .dir("/var/lib/rpm", "0755", 0)
            .without("/usr/lib/systemd/user/podman-user-wait-network-online.service");
        let unread = look_at(host.clone().without("/usr/lib/systemd/user/podman.socket"));
        assert_eq!(unknown(&unread).len(), 1);
        let advised = [(Level::Required, vec![Stack::Kind]), (Level::Advised, vec![Stack::Podman])];
        assert_eq!(levels(host.file("/usr/lib/systemd/user/podman.socket", "")), advised);
    }

    /// On Linux 6.1 of Debian 12 all controllers are in version 1, on 6.12 of Debian 13 two are not.
    #[test]
    fn crun_refuses_a_hybrid_hierarchy_with_controllers_in_version_2() {
        let host = |left: &str| {
            booted(&[TMPFS, TRACKING, NAMED, CPU], "quiet\n")
                .file("/sys/fs/cgroup/unified/cgroup.controllers", left)
        };
        assert_eq!(levels(host(""))[1], (Level::Advised, vec![Stack::Podman]));
        assert_eq!(levels(host("cpuset memory\n"))[1], (Level::Required, vec![Stack::Podman]));
        let outcome = look_at(host("cpuset memory\n"));
        let at = findings(&outcome)[0].evidence.last().unwrap();
        assert_eq!(at.to_string(), "/sys/fs/cgroup/unified/cgroup.controllers:1");
        assert_eq!(levels(host("cpuset memory\n").without("/usr/bin/crun"))[1].0, Level::Advised);
    }

    #[test]
    fn version_1_by_default_takes_an_argument_more() {
        let outcome = look_at(booted(&[TMPFS, NAMED, MEMORY], "quiet systemd.unified_cgroup_hierarchy\n"));
        let finding = findings(&outcome)[0];
        assert_eq!(finding.found, "cgroup v1");
        assert!(finding.remedy.summary.starts_with("add systemd.unified_cgroup_hierarchy=1"));
    }

    #[test]
    fn who_decides_elsewhere_is_told_so() {
        let hybrid = || booted(&[TMPFS, TRACKING, MEMORY], "quiet\n");
        let summary = |host| findings(&look_at(host))[0].remedy.summary.clone();
        let wsl = hybrid().file("/proc/sys/kernel/osrelease", "5.15.153.1-microsoft-standard-WSL2\n");
        assert!(summary(wsl).contains(".wslconfig"));
        assert!(summary(hybrid().file("/run/systemd/container", "lxc\n")).contains("lxc container"));
    }

    #[test]
    fn openrc_has_a_service_and_a_mode() {
        let openrc = |host: TestHost| host.without("/run/systemd").file("/run/openrc/softlevel", "default\n");
        let remedy = |host| findings(&look_at(openrc(host)))[0].remedy.clone();
        let hybrid = remedy(booted(&[TMPFS, TRACKING, MEMORY], "quiet\n"));
        assert!(hybrid.summary.contains("rc_cgroup_mode") && hybrid.commands.len() == 2, "{hybrid:?}");
        let none = remedy(booted(&["29 1 254:0 / / rw - ext4 /dev/vda rw"], "quiet\n"));
        assert_eq!(none.commands[0], "sudo rc-update add cgroups default");
    }

    #[test]
    fn nothing_mounted_is_unmet_and_unreadable_mounts_are_unknown() {
        let outcome = look_at(booted(&["29 1 254:0 / / rw - ext4 /dev/vda rw"], "quiet\n"));
        assert_eq!(findings(&outcome)[0].found, "no control groups");
        let outcome = look_at(booted(&[V2], "").error("/proc/self/mountinfo", "denied"));
        assert_eq!(unknown(&outcome), ["/proc/self/mountinfo is not readable as this user"]);
    }

    #[test]
    fn an_image_is_decided_at_boot_unless_systemd_knows_only_version_2() {
        let image = |version: u32| {
            let library = format!("/usr/lib/systemd/libsystemd-shared-{version}.so");
            look_at(empty_host().image().file(&library, ""))
        };
        assert_eq!(verdicts(&image(258)), [("/sys/fs/cgroup", Verdict::Met)]);
        let reason = image(257).skipped.unwrap();
        assert!(reason.starts_with("decided at boot: systemd 257"), "{reason}");
        assert!(look_at(empty_host().image()).skipped.unwrap().contains("no systemd was found"));
        let closed = look_at(empty_host().image().error("/usr/lib/systemd", "denied"));
        assert_eq!(unknown(&closed), ["/usr/lib/systemd is not readable as this user"]);
        assert!(run(&empty_host().facts(), &Requirements::default()).skipped.is_some());
    }

    /// BeagleBoard.org's images for Home Assistant pass `false`.
    #[test]
    fn an_image_whose_boot_loader_asks_for_version_1() {
        let image = |version: u32, words: &str| {
            let library = format!("/usr/lib/systemd/libsystemd-shared-{version}.so");
            let entry = format!("label l\n    kernel /Image\n    append console=ttyS2 {words}\n");
            let path = "/boot/firmware/extlinux/extlinux.conf";
            let host = empty_host().image().file(&library, "").file(path, entry);
            run(&host.facts(), &requirements(&[Stack::K3s]))
        };
        for value in ["0", "no", "false", "off"] {
            let word = format!("{ASK}={value}");
            let outcome = image(252, &word);
            assert_eq!(verdicts(&outcome)[0], (SUBJECT, Verdict::Unmet), "{value}");
            let finding = findings(&outcome)[0];
            let wanted = format!("take {word} out of /boot/firmware/extlinux/extlinux.conf");
            assert_eq!((finding.remedy.summary.as_str(), finding.remedy.settings.len()), (&*wanted, 1));
            assert_eq!(finding.evidence[0].to_string(), "/boot/firmware/extlinux/extlinux.conf:3");
            assert_eq!(verdicts(&image(258, &word)), [(SUBJECT, Verdict::Met)]);
            assert!(image(252, &format!("{word} {ASK}=1")).skipped.is_some(), "the last decides");
        }
        assert!(image(252, ASK).skipped.is_some());
        assert_eq!(verdicts(&image(252, &format!("{ASK} {ASK}=0")))[0].1, Verdict::Unmet);
    }

    #[test]
    fn an_image_whose_boot_loader_may_ask_for_version_1() {
        let of_k3s = |host: TestHost| run(&host.facts(), &requirements(&[Stack::K3s]));
        let grub = |one: &str, other: &str| {
            let config = format!(
                "if hwmatch a; then\nset default=1\nfi\nmenuentry a {{\nlinux /a ro {one}\n}}\n\
                 menuentry b {{\nlinux /b ro {other}\n}}\n"
            );
            empty_host()
                .image()
                .file("/usr/lib/systemd/libsystemd-shared-252.so", "")
                .file("/boot/grub/grub.cfg", config)
        };
        let v1 = format!("{ASK}=0");
        assert_eq!(unknown(&of_k3s(grub(&v1, "quiet"))).len(), 1);
        assert_eq!(unknown(&of_k3s(grub("quiet", &v1))).len(), 1);
        assert_eq!(verdicts(&of_k3s(grub(&v1, &v1)))[0].1, Verdict::Unmet);
        assert!(of_k3s(grub("quiet", "quiet")).skipped.is_some());
        let closed = of_k3s(grub("quiet", "quiet").error("/boot/grub/grub.cfg", "denied"));
        assert_eq!(unknown(&closed), ["/boot/grub/grub.cfg is not readable as this user"]);
        // Whether crun refuses depends on what is in version 2 then.
        let debian = fixture("debian-13").without("/boot").without("/etc/default/grub").image();
        let config = "menuentry a {\nlinux /a ro systemd.unified_cgroup_hierarchy=0\n}\n";
        let debian = debian.file("/boot/grub/grub.cfg", config);
        assert_eq!(unknown(&look_at(debian.clone())).len(), 1);
        assert_eq!(levels(debian.without("/usr/bin/crun"))[1], (Level::Advised, vec![Stack::Podman]));
    }
}
