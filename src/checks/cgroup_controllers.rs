//! Whether the kernel offers the controllers that are wanted: see [`CGROUP_CONTROLLERS`].

use crate::checks::check;
use crate::facts::cgroup::{Controller, Hierarchy};
use crate::facts::kernel_cmdline::Parameter;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::Requirements;

/// Where the firmware of a Raspberry Pi finds the kernel command line: on Ubuntu since 25.10, which boots
/// from two directories by turns, on Raspberry Pi OS since 12 and on Ubuntu, and on what came before. A
/// later one is left over where an earlier one is there.
const CMDLINE_FILES: [&str; 3] =
    ["/boot/firmware/current/cmdline.txt", "/boot/firmware/cmdline.txt", "/boot/cmdline.txt"];

check! {
    /// The kernel offers the cgroup controllers that the stacks use
    ///
    /// ## What is looked at
    ///
    /// `cgroup.controllers` at the root of the hierarchy, for every controller that a chosen stack
    /// wants. For one that is missing: whether a cgroup v1 mount holds it, and whether the kernel
    /// command line turned it off. Of several `cgroup_disable=` and `cgroup_enable=` the last that
    /// names the controller decides. On a Raspberry Pi: whether the file of the kernel command line turns
    /// it on already, so that a reboot is all it takes, or does so on a second line, which the firmware
    /// does not read. `/proc/cgroups` is not used: it says nothing of version 2, and newer kernels leave
    /// controllers out of it that are there.
    ///
    /// ## Why it matters
    ///
    /// What the kernel does not offer cannot be delegated. A Raspberry Pi starts without the memory
    /// controller; K3s then stops with "failed to find memory cgroup (v2)", and kind says that
    /// `Delegate=yes` is missing, which is not the cause.
    ///
    /// ## Repair
    ///
    /// Correct the kernel command line and reboot: on a Raspberry Pi that is `cgroup_enable=memory` at the
    /// end of the one line of `/boot/firmware/cmdline.txt` (Ubuntu since 25.10:
    /// `/boot/firmware/current/cmdline.txt`; before Raspberry Pi OS 12: `/boot/cmdline.txt`). Stop what
    /// mounts cgroup v1, and reboot; or use a kernel that is built with the controller. In a container its
    /// host decides.
    ///
    /// ## Sources
    ///
    /// - Documentation/admin-guide/cgroup-v2.rst, "Controllers"
    /// - Documentation/admin-guide/kernel-parameters.txt, "cgroup_disable="
    /// - raspberrypi/linux issues 3644 and 6980; raspberrypi.com, "The Linux kernel", "cmdline.txt"
    CGROUP_CONTROLLERS, "cgroup-controllers", Required, Host(run)
}

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    if req.controllers.is_empty() {
        return Outcome::not_asked();
    }
    if !facts.running() {
        return Outcome::skip("what a kernel offers is known only where it runs");
    }
    match facts.cgroup_hierarchy() {
        Ok(hierarchy) => match hierarchy.as_ref() {
            Some(found) if found.value == Hierarchy::Unified => {}
            _ => return Outcome::skip("the host does not run with cgroup v2 alone: see cgroup-version"),
        },
        Err(why) => return unknown(req, &why),
    }
    let mut outcome = Outcome::default();
    for (&controller, demands) in &req.controllers {
        match look(facts, controller) {
            Ok(finding) => outcome.add_all(demands, &finding),
            Err(why) => outcome.unknown_all(demands, controller.as_str(), &why),
        }
    }
    outcome
}

fn unknown(req: &Requirements, why: &dyn std::fmt::Display) -> Outcome {
    let mut outcome = Outcome::default();
    for (controller, demands) in &req.controllers {
        outcome.unknown_all(demands, controller.as_str(), why);
    }
    outcome
}

fn look(facts: &Facts, controller: Controller) -> Fact<Finding> {
    let root = facts.root_controllers()?;
    let finding = |found: &str, verdict| Finding::new(controller.as_str(), "offered", found, verdict);
    if root.value.contains(&controller) {
        return Ok(finding("offered", Verdict::Met).at([root.at.clone()]));
    }
    if let Some((verdict, found, at, remedy)) = written_down(facts, controller.as_str()) {
        return Ok(finding(found, verdict).at([at, root.at.clone()]).repair(remedy));
    }
    let (found, at, remedy) = why_missing(facts, controller)?;
    Ok(finding(found, Verdict::Unmet).at(at).at([root.at.clone()]).repair(remedy))
}

/// What the file of the kernel command line says that the kernel was not told: the repair, before the next
/// boot, or on a line that the firmware does not read. An error of reading it costs a hint, no more.
fn written_down(facts: &Facts, name: &str) -> Option<(Verdict, &'static str, Evidence, Remedy)> {
    let (on_now, _) = last_word(&facts.kernel_cmdline().ok()?.parameters, name)?;
    let path = cmdline_file(facts).filter(|_| !on_now)?;
    let file = facts.kernel_cmdline_file(path).ok()?;
    let (first, rest): (Vec<_>, Vec<_>) =
        file.parameters.into_iter().partition(|parameter| parameter.at.line == Some(1));
    if let Some((on, at)) = last_word(&first, name) {
        let found = "turned on from the next boot on";
        let remedy = Remedy::manual("reboot").command("sudo reboot");
        return on.then_some((Verdict::Pending(Needs::Reboot), found, at, remedy));
    }
    let (_, at) = last_word(&rest, name).filter(|(on, _)| *on)?;
    let found = "turned on in a line that the firmware does not read";
    let remedy =
        Remedy::manual(format!("move {} to the end of the first line of {path}, then reboot", at.text))
            .command(format!("sudo sed -i -z 's/\\n\\(.\\)/ \\1/g' {path}"))
            .command("sudo reboot");
    Some((Verdict::Unmet, found, at, remedy))
}

/// What is found in place of a controller, what says so, and what can be done.
fn why_missing(facts: &Facts, controller: Controller) -> Fact<(&'static str, Option<Evidence>, Remedy)> {
    let name = controller.as_str();
    let mounts = facts.mountinfo()?;
    let holds = |option: &String| option == name;
    if let Some(mount) =
        mounts.mounts.iter().find(|m| m.fs_type == "cgroup" && m.super_options.iter().any(holds))
    {
        let remedy = Remedy::manual(format!(
            "stop what mounts cgroup v1 at {}, then reboot: a controller is on one hierarchy only",
            mount.point
        ));
        return Ok(("held by a cgroup v1 mount", Some(mount.at.clone()), remedy));
    }
    // An error of reading where this is, or what was asked of the kernel, costs a hint and not the
    // finding.
    if let Ok(Some(container)) = facts.container() {
        let remedy = Remedy::manual(format!(
            "have the host of this {} container delegate {name} to it",
            container.value
        ));
        return Ok(("not offered to this container", Some(container.at), remedy));
    }
    let Ok(cmdline) = facts.kernel_cmdline() else {
        let remedy = Remedy::manual("look for cgroup_disable= on the kernel command line");
        return Ok(("not offered", None, remedy));
    };
    Ok(match last_word(&cmdline.parameters, name) {
        Some((false, at)) => {
            let remedy = turn_on(facts, name, &at);
            ("turned off on the kernel command line", Some(at), remedy)
        }
        Some((true, at)) => {
            let remedy = Remedy::manual(format!(
                "use a kernel with {}: this one ignores {}",
                option(controller),
                at.text
            ));
            ("not built into this kernel", Some(at), remedy)
        }
        None => {
            let remedy = Remedy::manual(format!("use a kernel with {}", option(controller)));
            ("not built into this kernel", None, remedy)
        }
    })
}

/// The firmware of a Raspberry Pi puts `cgroup_disable=memory` before what the file holds, so that only
/// the file can have the last word. It is one line: the firmware reads no other.
fn turn_on(facts: &Facts, name: &str, at: &Evidence) -> Remedy {
    match cmdline_file(facts) {
        Some(path) => Remedy::manual(format!(
            "append cgroup_enable={name} to the one line of {path}, and take {} out if it is there; then \
             reboot",
            at.text
        ))
        .command(format!("sudo sed -i '1s/$/ cgroup_enable={name}/' {path}"))
        .command("sudo reboot"),
        None => Remedy::manual(format!("take {} off the kernel command line, then reboot", at.text)),
    }
}

/// The file that the firmware of a Raspberry Pi reads the kernel command line from; `None` elsewhere, and
/// where none is seen.
fn cmdline_file(facts: &Facts) -> Option<&'static str> {
    let tree = facts.device_tree().ok()?;
    let compatible = &tree.as_ref().as_ref()?.compatible;
    if !compatible.iter().any(|name| name.value.starts_with("raspberrypi,")) {
        return None;
    }
    CMDLINE_FILES.into_iter().find(|path| facts.stat(path).is_ok())
}

/// Whether the last word on a controller on the kernel command line turns it on, if there is one.
/// `cgroup_enable=` is known to the kernels of Raspberry Pi only.
fn last_word(parameters: &[Parameter], name: &str) -> Option<(bool, Evidence)> {
    parameters.iter().rev().filter(|parameter| !parameter.for_init).find_map(|parameter| {
        let on = match parameter.name.replace('-', "_").as_str() {
            "cgroup_enable" => true,
            "cgroup_disable" => false,
            _ => return None,
        };
        let named = parameter.value.as_deref().unwrap_or_default().split(',').any(|item| item == name);
        named.then(|| (on, parameter.at.clone()))
    })
}

/// The kernel option that builds a controller in.
fn option(controller: Controller) -> &'static str {
    match controller {
        Controller::Cpu => "CONFIG_CGROUP_SCHED and CONFIG_FAIR_GROUP_SCHED",
        Controller::Cpuset => "CONFIG_CPUSETS",
        Controller::Io | Controller::Blkio => "CONFIG_BLK_CGROUP",
        Controller::Memory => "CONFIG_MEMCG",
        Controller::Pids => "CONFIG_CGROUP_PIDS",
        Controller::Hugetlb => "CONFIG_CGROUP_HUGETLB",
        Controller::Misc => "CONFIG_CGROUP_MISC",
        Controller::Rdma => "CONFIG_CGROUP_RDMA",
        Controller::Dmem => "CONFIG_CGROUP_DMEM",
        Controller::Cpuacct => "CONFIG_CGROUP_CPUACCT",
        Controller::Devices => "CONFIG_CGROUP_DEVICE",
    }
}

#[cfg(test)]
mod tests {
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
                lacking,
                Some("cgroup_enable=memory"),
            ),
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

    /// The command line is that of a Raspberry Pi 4 with Raspberry Pi OS 12 (raspberrypi/linux issue 6980).
    #[test]
    fn a_raspberry_pi_has_a_file_for_it() {
        let pi = |paths: &[&str]| {
            let host = without_memory("coherent_pool=1M cgroup_disable=memory console=tty1 rootwait\n");
            let tree = "/proc/device-tree/compatible";
            paths.iter().fold(host.file(tree, "raspberrypi,4-model-b\0brcm,bcm2711\0"), |host, path| {
                host.file(path, "console=tty1 rootwait\n")
            })
        };
        let remedy = |host: TestHost| findings(&look_at(host))[2].remedy.clone();
        let (os, before, ubuntu) =
            ("/boot/firmware/cmdline.txt", "/boot/cmdline.txt", "/boot/firmware/current/cmdline.txt");
        for (paths, file) in [(&[os, before][..], os), (&[before][..], before), (&[os, ubuntu][..], ubuntu)] {
            let command = format!("sudo sed -i '1s/$/ cgroup_enable=memory/' {file}");
            assert_eq!(remedy(pi(paths)).commands, [command, "sudo reboot".to_owned()]);
        }
        assert!(remedy(pi(&[])).summary.starts_with("take cgroup_disable=memory off"));
        let written = |text: &str| {
            let finding = findings(&look_at(pi(&[os]).file(os, text)))[2].clone();
            (finding.verdict, finding.evidence[0].to_string(), finding.remedy.commands)
        };
        let (verdict, at, commands) = written("console=tty1 cgroup_enable=memory rootwait\n");
        assert_eq!((verdict, at), (Verdict::Pending(Needs::Reboot), format!("{os}:1")));
        assert_eq!(commands, ["sudo reboot"]);
        let (verdict, at, commands) =
            written("console=tty1 rootwait\ncgroup_memory=1 cgroup_enable=memory\n");
        assert_eq!((verdict, at), (Verdict::Unmet, format!("{os}:2")));
        assert_eq!(commands[0], format!("sudo sed -i -z 's/\\n\\(.\\)/ \\1/g' {os}"));
        let (verdict, at, _) = written("cgroup_enable=memory cgroup_disable=memory\n");
        assert_eq!((verdict, at.as_str()), (Verdict::Unmet, "/proc/cmdline:1"));
        assert!(remedy(without_memory("cgroup_disable=memory\n").file(os, "")).commands.is_empty());
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
        let outcome =
            look_at(without_memory("cgroup_disable=memory\n").file("/run/systemd/container", "lxc\n"));
        assert_eq!(
            findings(&outcome)[2].remedy.summary,
            "have the host of this lxc container delegate memory to it"
        );
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
}
