use super::*;
use crate::checks::testing::{findings, requirements, unknown as reasons, verdicts};
use crate::facts::testing::{TestHost, fixture};
use crate::requirements::Stack;

const ROOT: &str = "/sys/fs/cgroup/cgroup.controllers";

fn look_at(host: TestHost) -> Outcome {
    run(&host.facts(), &requirements(&[Stack::K3s]))
}

fn without_memory(cmdline: &str) -> TestHost {
    fixture("debian-13").file(ROOT, "cpuset cpu io pids\n").file("/proc/cmdline", cmdline)
}

#[test]
fn a_kernel_with_all_of_them_passes() {
    let outcome = look_at(fixture("debian-13"));
    let met = ["cpu", "cpuset", "memory", "pids"].map(|name| (name, Verdict::Met));
    assert_eq!(verdicts(&outcome), met);
    assert_eq!(findings(&outcome)[0].evidence[0].to_string(), "/sys/fs/cgroup/cgroup.controllers:1");
}

/// The names are words: `cpuset` does not stand for `cpu`.
#[test]
fn cpuset_is_not_cpu() {
    let outcome = look_at(fixture("debian-13").file(ROOT, "cpuset memory pids\n"));
    assert_eq!(verdicts(&outcome)[..2], [("cpu", Verdict::Unmet), ("cpuset", Verdict::Met)]);
    assert_eq!(findings(&outcome)[0].remedy.summary.matches("CONFIG_").count(), 2);
}

#[test]
fn the_last_word_of_the_kernel_command_line_decides() {
    let off = "turned off on the kernel command line";
    let lacking = "not built into this kernel";
    for (cmdline, found, at) in [
        ("quiet cgroup_disable=memory\n", off, Some("cgroup_disable=memory")),
        ("cgroup_enable=memory cgroup-disable=io,memory\n", off, Some("cgroup-disable=io,memory")),
        (
            "cgroup_disable=memory cgroup_enable=cpuset cgroup_enable=memory\n",
            "turned off, and this kernel does not know the word that turns it on",
            Some("cgroup_disable=memory"),
        ),
        ("cgroup_enable=memory\n", lacking, Some("cgroup_enable=memory")),
        ("quiet cgroup_disable=io\n", lacking, None),
        ("quiet -- cgroup_disable=memory\n", lacking, None),
    ] {
        let outcome = look_at(without_memory(cmdline));
        let finding = findings(&outcome)[2];
        assert_eq!((finding.subject.as_str(), finding.verdict), ("memory", Verdict::Unmet), "{cmdline}");
        assert_eq!(finding.found, found, "{cmdline}");
        let first = finding.evidence[0].clone();
        match at {
            Some(word) => assert_eq!(first, Evidence::line("/proc/cmdline", 1, word)),
            None => assert_eq!(first.to_string(), "/sys/fs/cgroup/cgroup.controllers:1"),
        }
    }
}

const CMDLINE: &str = "/boot/firmware/cmdline.txt";

/// A Raspberry Pi 4 with Raspberry Pi OS 12 (raspberrypi/linux issue 6980).
fn pi(passed: &str, file: &str) -> TestHost {
    let firmware = "coherent_pool=1M cgroup_disable=memory vc_mem.mem_base=0x3eb00000 \
                    vc_mem.mem_size=0x3ff00000  console=tty1 rootwait";
    without_memory(&format!("{firmware}{passed}\n"))
        .file("/proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0")
        .file("/boot/firmware/config.txt", "arm_64bit=1\n")
        .file(CMDLINE, file)
        .without("/sys/firmware/efi")
}

fn of_memory(host: TestHost) -> Finding {
    findings(&look_at(host))[2].clone()
}

#[test]
fn a_raspberry_pi_has_a_file_for_it() {
    let finding = of_memory(pi("", "console=tty1 rootwait\n"));
    assert_eq!((finding.verdict, &*finding.found), (Verdict::Unmet, "turned off on the kernel command line"));
    assert_eq!(finding.remedy.summary, format!("add cgroup_enable=memory to {CMDLINE}, then reboot"));
    assert_eq!((finding.remedy.settings.len(), finding.remedy.commands.len()), (1, 1));
    for (file, verdict, at) in [
        ("console=tty1 cgroup_enable=memory rootwait\n", Verdict::Pending(Needs::Reboot), "cmdline.txt:1"),
        ("console=tty1\ncgroup_memory=1 cgroup_enable=memory\n", Verdict::Unmet, "cmdline.txt:2"),
        ("cgroup_enable=memory cgroup_disable=memory\n", Verdict::Unmet, "/proc/cmdline:1"),
    ] {
        let finding = of_memory(pi("", file));
        let first = finding.evidence[0].to_string();
        assert!(finding.verdict == verdict && first.ends_with(at), "{file:?}: {first}");
        assert_eq!(finding.remedy.settings.is_empty(), verdict != Verdict::Unmet, "{file:?}");
    }
    let unmounted = of_memory(pi("", "").without(CMDLINE).without("/boot/firmware/config.txt"));
    assert!(unmounted.remedy.summary.starts_with("add cgroup_enable=memory to the kernel command line"));
    let pc = of_memory(without_memory("cgroup_disable=memory\n").file(CMDLINE, "quiet\n"));
    assert!(pc.remedy.summary.starts_with("take cgroup_disable=memory off the kernel command line"));
}

/// As raspberrypi/linux pull request 6439 has it, of a kernel that is not Raspberry Pi's.
#[test]
fn a_kernel_that_does_not_know_the_word() {
    let finding = of_memory(pi(" cgroup_enable=memory", "console=tty1 rootwait cgroup_enable=memory\n"));
    assert_eq!(finding.verdict, Verdict::Unmet);
    assert_eq!(finding.found, "turned off, and this kernel does not know the word that turns it on");
    assert!(finding.remedy.summary.contains("without cgroup_disable=memory"), "{finding:?}");
    assert!(finding.remedy.settings.is_empty());
}

/// Raspberry Pi OS 11, with Linux 6.1: the kernel turns it off without a word.
#[test]
fn an_older_kernel_of_raspberry_pi_turns_it_off_by_itself() {
    let host = |file: &str| pi("", file).edit("/proc/cmdline", "cgroup_disable=memory ", "");
    let finding = of_memory(host("console=tty1 rootwait\n"));
    assert_eq!(finding.found, "turned off unless the kernel command line turns it on");
    assert_eq!(finding.remedy.settings.len(), 1);
    let pending = of_memory(host("console=tty1 rootwait cgroup_enable=memory\n"));
    assert_eq!(pending.verdict, Verdict::Pending(Needs::Reboot));
    let config = "/boot/config-6.12.117+deb13-cloud-amd64";
    let lacks =
        of_memory(host("console=tty1\n").file(config, "CONFIG_CGROUPS=y\n# CONFIG_MEMCG is not set\n"));
    assert_eq!(lacks.found, "not built into this kernel");
}

#[test]
fn what_is_offered_can_be_gone_after_the_next_boot() {
    let offered = |file: &str| {
        let host = pi(" cgroup_enable=memory", file).file(ROOT, "cpuset cpu io memory pids\n");
        of_memory(host).verdict
    };
    assert_eq!(offered("console=tty1 rootwait cgroup_enable=memory\n"), Verdict::Met);
    assert_eq!(offered("console=tty1 rootwait\n"), Verdict::Volatile);
}

#[test]
fn a_version_1_mount_takes_a_controller_away() {
    let mount = "99 29 0:50 / /mnt/v1 rw - cgroup none rw,memory\n";
    let outcome = look_at(without_memory("quiet\n").append("/proc/self/mountinfo", mount));
    let finding = findings(&outcome)[2];
    assert_eq!(finding.found, "held by a cgroup v1 mount");
    assert!(finding.evidence[0].text.contains("/mnt/v1"));
}

#[test]
fn the_host_of_a_container_is_named() {
    let outcome = look_at(without_memory("cgroup_disable=memory\n").file("/run/systemd/container", "lxc\n"));
    assert_eq!(
        findings(&outcome)[2].remedy.summary,
        "have the host of this lxc container delegate memory to it"
    );
}

#[test]
fn an_image_whose_boot_loader_turns_one_off() {
    let image = |words: &str| {
        let file = "/boot/extlinux/extlinux.conf";
        let entry = format!("label l\n    kernel /Image\n    append ro {words}\n");
        look_at(fixture("debian-13").without("/boot").file(file, entry).image())
    };
    let off = image("cgroup_disable=memory");
    assert_eq!(verdicts(&off), [("memory", Verdict::Unmet)]);
    let remedy = &findings(&off)[0].remedy;
    assert_eq!(remedy.summary, "take cgroup_disable=memory out of /boot/extlinux/extlinux.conf");
    assert_eq!(remedy.settings.len(), 1);
    assert_eq!(verdicts(&image("cgroup-disable=io,memory")), [("memory", Verdict::Unmet)]);
    for words in ["quiet", "cgroup_disable=hugetlb", "cgroup_disable=memory cgroup_enable=memory"] {
        assert!(image(words).skipped.is_some(), "{words}");
    }
    let told = pi("", "console=tty1 rootwait cgroup_disable=memory\n").image();
    assert_eq!(findings(&look_at(told))[0].remedy.summary, format!("add cgroup_enable=memory to {CMDLINE}"));
    let denied = look_at(pi("", "").image().error(CMDLINE, "denied"));
    assert_eq!(reasons(&denied).len(), 4);
}

#[test]
fn what_cannot_be_told() {
    let denied = look_at(fixture("debian-13").error(ROOT, "denied"));
    assert_eq!(reasons(&denied).len(), 4);
    assert_eq!(reasons(&denied)[0], format!("{ROOT} is not readable as this user"));
    let mounts = look_at(fixture("debian-13").error("/proc/self/mountinfo", "denied"));
    assert_eq!(reasons(&mounts).len(), 4);
    let cmdline = look_at(without_memory("").error("/proc/cmdline", "denied"));
    assert_eq!(findings(&cmdline)[2].found, "not offered");
    assert!(look_at(fixture("debian-13").image()).skipped.is_some());
    let v1 = fixture("debian-13").edit("/proc/self/mountinfo", "cgroup2 cgroup2", "tmpfs tmpfs");
    assert!(look_at(v1).skipped.unwrap().contains("cgroup-version"));
    assert!(run(&fixture("debian-13").facts(), &Requirements::default()).skipped.is_some());
}
