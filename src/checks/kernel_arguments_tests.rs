use super::*;
use crate::checks::testing::{findings, requirements, unknown, verdicts};
use crate::facts::boot::device_tree;
use crate::facts::testing::{TestHost, fixture};
use crate::profile::Layer;
use crate::requirements::Stack;
use crate::settings::Setting;

const FILE: &str = "/boot/firmware/cmdline.txt";
const ROOT: &str = "/sys/fs/cgroup/cgroup.controllers";
const ENABLE: &str = "cgroup_enable=memory";

/// A Raspberry Pi with the line of Raspberry Pi OS, which is passed after what the firmware says.
fn pi(file: &str, now: &str) -> TestHost {
    fixture("debian-13")
        .file("/proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
        .file("/proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0")
        .file(ROOT, "cpuset cpu io pids\n")
        .file(FILE, format!("console=tty1 root=PARTUUID=4e639091-02 rootwait{file}\n"))
        .file(
            "/proc/cmdline",
            format!(
                "cgroup_disable=memory vc_mem.mem_size=0x3ff00000  console=tty1 root=PARTUUID=4e639091-02 \
                 rootwait{now}\n"
            ),
        )
}

fn asked(table: &str) -> Requirements {
    let text =
        format!("[boot]\nmethod = \"raspberry-pi\"\n[[kernel-argument]]\nlevel = \"required\"\n{table}\n");
    Requirements::merge(&[Stack::K3s, Stack::Podman], &[Layer::parse("rpi4.toml", &text).unwrap()]).unwrap()
}

fn wanted() -> Requirements {
    asked("wanted = \"cgroup_enable=memory\"\nfor-controller = \"memory\"\nstacks = [\"k3s\"]")
}

fn verdict(host: TestHost, req: &Requirements) -> (Verdict, String) {
    let outcome = run(&host.facts(), req);
    let found = findings(&outcome);
    assert_eq!(found.len(), 1, "{outcome:?}");
    (found[0].verdict, found[0].found.clone())
}

#[test]
fn the_file_and_what_runs_are_two_states() {
    let word = format!(" {ENABLE}");
    for (file, now, verdict_wanted, found) in [
        ("", "", Verdict::Unmet, "not passed"),
        (&word, "", Verdict::Pending(Needs::Reboot), "passed from the next boot on"),
        (&word, &word, Verdict::Met, "passed"),
        ("", &word, Verdict::Volatile, "not passed"),
        (
            &format!("\n{ENABLE}"),
            "",
            Verdict::Unmet,
            "written where nobody reads it: the firmware reads the first line only",
        ),
        (&format!(" -- {ENABLE}"), "", Verdict::Unmet, "not passed"),
        (&format!("{word} cgroup_disable=memory"), "", Verdict::Unmet, "not passed"),
    ] {
        let (verdict, text) = verdict(pi(file, now), &wanted());
        assert_eq!((verdict, text.as_str()), (verdict_wanted, found), "{file:?} {now:?}");
    }
}

#[test]
fn it_is_asked_for_those_stacks_only_and_says_what_to_do() {
    let outcome = run(&pi("", "").facts(), &wanted());
    assert_eq!(outcome.items[0].stacks, [Stack::K3s]);
    let finding = findings(&outcome)[0];
    assert_eq!(finding.remedy.summary, format!("add {ENABLE} to {FILE}, then reboot"));
    assert!(
        matches!(&finding.remedy.settings[..], [Setting::KernelArgument { passed: true, path: Some(path), .. }] if path == FILE)
    );
    assert_eq!(finding.evidence[0].to_string(), format!("{FILE}:1"));
    let pending = run(&pi(" cgroup_enable=memory", "").facts(), &wanted());
    assert_eq!(findings(&pending)[0].remedy.commands, ["sudo reboot"]);
    assert!(findings(&pending)[0].remedy.settings.is_empty());
}

/// Newer kernels and other device trees offer the controller without being told.
#[test]
fn what_the_kernel_offers_anyway_needs_no_word() {
    let host = pi("", "").file(ROOT, "cpuset cpu io memory pids\n");
    let (verdict, found) = verdict(host, &wanted());
    assert_eq!((verdict, found.as_str()), (Verdict::Met, "not needed: the kernel offers memory"));
}

#[test]
fn a_forbidden_word_is_taken_out_as_it_is_written() {
    let forbidden = asked("forbidden = \"nosmp\"");
    assert_eq!(verdict(pi("", ""), &forbidden).0, Verdict::Met);
    assert_eq!(verdict(pi(" nosmp", " nosmp"), &forbidden).0, Verdict::Unmet);
    assert_eq!(verdict(pi("", " nosmp"), &forbidden).0, Verdict::Pending(Needs::Reboot));
    assert_eq!(verdict(pi(" nosmp", ""), &forbidden).0, Verdict::Volatile);
    let forbidden = asked("forbidden = \"cgroup_no_v1\"");
    let outcome = run(&pi(" cgroup_no_v1=all", " cgroup_no_v1=all").facts(), &forbidden);
    let finding = findings(&outcome)[0];
    assert!(
        matches!(&finding.remedy.settings[..], [Setting::KernelArgument { word, passed: false, .. }] if word == "cgroup_no_v1=all")
    );
}

#[test]
fn where_no_boot_loader_is_known_only_now_can_be_told() {
    let none = || pi("", "").without("/boot");
    let outcome = run(&none().facts(), &wanted());
    assert_eq!(verdicts(&outcome), [(ENABLE, Verdict::Unmet)]);
    assert!(findings(&outcome)[0].remedy.settings.is_empty());
    let outcome = run(&none().image().facts(), &wanted());
    assert!(unknown(&outcome)[0].contains("no configuration of the firmware"), "{outcome:?}");
    let outcome = run(&pi("", "").error(FILE, "denied").facts(), &wanted());
    assert_eq!(unknown(&outcome), [format!("{FILE} is not readable as this user")]);
}

#[test]
fn an_image_is_judged_by_its_file() {
    let pi_os = pi("", "").file("/etc/rpi-issue", "Raspberry Pi reference 2025-10-01\n").image();
    assert_eq!(verdict(pi_os, &wanted()).0, Verdict::Unmet);
    assert_eq!(verdict(pi(" cgroup_enable=memory", "").image(), &wanted()).0, Verdict::Met);
}

/// Debian's kernels with the device trees of theirs, and Raspberry Pi's with those of theirs.
#[test]
fn an_image_whose_device_tree_turns_nothing_off_needs_no_word() {
    let image = |property: &str, value: &str| {
        let tree = device_tree(&[("chosen", property, value)]);
        pi("", "").file("/boot/firmware/bcm2711-rpi-4-b.dtb", tree).image()
    };
    let upstream = verdict(image("stdout-path", "serial1:115200n8"), &wanted());
    assert_eq!(upstream, (Verdict::Met, "not needed: nothing turns memory off".to_owned()));
    let of_pi = || image("bootargs", "coherent_pool=1M cgroup_disable=memory");
    assert_eq!(verdict(of_pi(), &wanted()), (Verdict::Unmet, "not passed".to_owned()));
    // Kernels of Raspberry Pi before 6.12 turn the controller off without a word.
    let module = "/usr/lib/modules/6.12.117+deb13-cloud-amd64";
    let silent = || image("bootargs", "coherent_pool=1M");
    let old = silent().without(module).file("/usr/lib/modules/6.6.31+rpt-rpi-v8/modules.builtin", "");
    assert_eq!(verdict(old, &wanted()).0, Verdict::Unmet);
    let new = silent().without(module).file("/usr/lib/modules/6.12.47+rpt-rpi-v8/modules.builtin", "");
    assert_eq!(verdict(new, &wanted()).0, Verdict::Met);
}

/// Ubuntu's kernels before 25.10 have the controller on, and so have Debian's.
#[test]
fn what_an_unknown_kernel_of_an_image_does_is_open() {
    let image = |os: &str, release: &str, file: &str| {
        let host = pi(file, "").without("/usr/lib/modules/6.12.117+deb13-cloud-amd64").image();
        host.file("/etc/os-release", os).file(&format!("/usr/lib/modules/{release}/modules.builtin"), "")
    };
    let ubuntu = "ID=ubuntu\nVERSION_ID=\"24.04\"\n";
    for host in [
        image(ubuntu, "6.8.0-1013-raspi", ""),
        image(ubuntu, "6.8.0-1013-raspi", "").file(
            "/boot/firmware/bcm2711-rpi-4-b.dtb",
            device_tree(&[("chosen", "bootargs", "coherent_pool=1M")]),
        ),
        image("ID=debian\nVERSION_ID=\"13\"\n", "6.12.48+deb13-arm64", ""),
    ] {
        let outcome = run(&host.facts(), &wanted());
        assert!(unknown(&outcome)[0].contains("cannot be told"), "{outcome:?}");
    }
    let told = image(ubuntu, "6.8.0-1013-raspi", " cgroup_enable=memory");
    assert_eq!(verdict(told, &wanted()).0, Verdict::Met);
    let off = image(ubuntu, "6.8.0-1013-raspi", " cgroup_disable=memory");
    assert_eq!(verdict(off, &wanted()).0, Verdict::Unmet);
    let later = image("ID=ubuntu\nVERSION_ID=\"25.10\"\n", "6.17.0-1003-raspi", "");
    assert_eq!(verdict(later, &wanted()).0, Verdict::Unmet);
}

/// No file has the word that the device tree passes: one that undoes it is added.
#[test]
fn a_word_of_the_device_tree_is_undone() {
    let forbidden = asked("forbidden = \"cgroup_disable=memory\"");
    let firmware = |words: &str, file: &str| {
        pi(file, "").file("/proc/cmdline", format!("{words} vc_mem.mem_size=0x3ff00000  console=tty1\n"))
    };
    let outcome = run(&firmware("cgroup_disable=memory", "").facts(), &forbidden);
    let finding = findings(&outcome)[0];
    assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Unmet, "passed"));
    assert_eq!(finding.remedy.summary, format!("add {ENABLE} to {FILE}, then reboot"));
    let pending = verdict(firmware("cgroup_disable=memory", &format!(" {ENABLE}")), &forbidden);
    assert_eq!(pending.0, Verdict::Pending(Needs::Reboot));
    let other = asked("forbidden = \"numa_policy\"");
    let outcome = run(&firmware("numa_policy=interleave", "").facts(), &other);
    let by_hand = "the device tree passes numa_policy=interleave: boot with one that does not";
    assert_eq!(findings(&outcome)[0].remedy.summary, by_hand);
}

/// The line that is changed, not that of the label.
#[test]
fn the_line_of_extlinux_is_that_of_its_words() {
    let text =
        "[boot]\nmethod = \"extlinux\"\n[[kernel-argument]]\nlevel = \"required\"\nwanted = \"nosmp\"\n";
    let req = Requirements::merge(&[Stack::K3s], &[Layer::parse("gate.toml", text).unwrap()]).unwrap();
    let path = "/boot/extlinux/extlinux.conf";
    for (words, wanted) in [("rw quiet", "rw quiet"), ("rw nosmp quiet", "nosmp")] {
        let file = format!("DEFAULT l0\nLABEL l0\n  LINUX /boot/Image\n  APPEND {words}\n");
        let outcome = run(&fixture("debian-13").without("/boot").file(path, file).image().facts(), &req);
        let evidence: Vec<String> =
            findings(&outcome)[0].evidence.iter().map(|at| format!("{at} {}", at.text)).collect();
        assert_eq!(evidence, [format!("{path}:4 {wanted}")]);
    }
}

#[test]
fn nothing_asked_and_containers_are_skipped() {
    let skipped = |host: TestHost, req: &Requirements| run(&host.facts(), req).skipped.unwrap();
    assert!(skipped(pi("", ""), &Requirements::default()).contains("neither profile nor site"));
    let container = pi("", "").file("/run/systemd/container", "lxc\n");
    assert!(skipped(container, &wanted()).contains("the host of this container"));
}

/// `cgroup_enable=` is known to the kernels of Raspberry Pi only, a word that is not there to all of them.
#[test]
fn a_word_of_the_file_that_turns_it_off_is_taken_out_and_not_undone() {
    let tree = crate::facts::boot::device_tree(&[("chosen", "stdout-path", "serial0:115200n8")]);
    let host = |words: &str| pi(words, "").file("/boot/firmware/bcm2711-rpi-4-b.dtb", &tree).image();
    for words in [" cgroup_disable=memory", " cgroup_disable=memory cgroup_enable=memory"] {
        let outcome = run(&host(words).facts(), &wanted());
        let finding = findings(&outcome)[0];
        assert_eq!(finding.verdict, Verdict::Unmet, "{words}");
        let [Setting::KernelArgument { word, passed: false, .. }] = &finding.remedy.settings[..] else {
            panic!("{:?}", finding.remedy)
        };
        assert_eq!(word, "cgroup_disable=memory");
    }
    assert_eq!(verdict(host(""), &wanted()).0, Verdict::Met);
}

#[test]
fn all_values_of_a_forbidden_name_are_taken_out() {
    let both = " cgroup_no_v1=all cgroup_no_v1=memory";
    let outcome = run(&pi(both, both).facts(), &asked("forbidden = \"cgroup_no_v1\""));
    assert_eq!(findings(&outcome)[0].remedy.settings.len(), 2);
}

#[test]
fn a_profile_of_other_hardware_advises_nothing() {
    let why = "the profile rpi4 is for other hardware than this";
    let mut req = wanted();
    req.boot.refused = Some(why.to_owned());
    for host in [pi("", ""), pi("", "").without("/boot"), fixture("debian-13").file(ROOT, "cpu\n")] {
        let outcome = run(&host.facts(), &req);
        let remedy = &findings(&outcome)[0].remedy;
        assert_eq!((remedy.summary.as_str(), remedy.settings.len(), remedy.commands.len()), (why, 0, 0));
    }
}

/// Nothing shows which board an image is for.
#[test]
fn an_image_for_a_raspberry_pi_without_its_profile_is_open() {
    let config = "/boot/firmware/config.txt";
    let image = |file: &str| pi(file, "").file(config, "arm_64bit=1\n").image();
    let req = requirements(&[Stack::K3s]);
    let outcome = run(&image("").facts(), &req);
    let names = RASPBERRY_PIS.join(", ");
    assert!(unknown(&outcome)[0].ends_with(&format!("with --profile ({names})")), "{outcome:?}");
    assert_eq!(crate::profile::shared().unwrap()["raspberry-pi"], RASPBERRY_PIS);
    let is_silent = |host: TestHost, req: &Requirements| run(&host.facts(), req).skipped.is_some();
    assert!(is_silent(image(" cgroup_enable=memory"), &req));
    assert!(is_silent(image(" cgroup_disable=memory"), &req), "cgroup-controllers says it");
    assert!(is_silent(pi("", "").image(), &req), "a cmdline.txt alone can be anything");
    assert!(is_silent(image("").without("/boot"), &req));
    let tree = device_tree(&[("chosen", "stdout-path", "serial1:115200n8")]);
    assert!(is_silent(image("").file("/boot/firmware/bcm2711-rpi-4-b.dtb", tree), &req));
    assert!(is_silent(image(""), &Requirements::default()));
    // Which of its files the firmware reads depends on the board.
    let filtered = image("").file(config, "[pi4]\ncmdline=other.txt\n");
    assert_eq!(unknown(&run(&filtered.facts(), &req)).len(), 1);
    let named = run(&image("").file("/etc/rpi-issue", "").facts(), &wanted());
    assert_eq!(findings(&named)[0].verdict, Verdict::Unmet);
}
