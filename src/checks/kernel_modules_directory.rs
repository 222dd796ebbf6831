//! Whether the modules of the kernel are on disk: see [`KERNEL_MODULES_DIRECTORY`].

use crate::checks::check;
use crate::facts::kernel::Kernel;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent};
use crate::requirements::{Need, Requirements};
use crate::settings::quoted;

check! {
    /// Modules of the running kernel are on disk
    ///
    /// ## What is looked at
    ///
    /// The directory `/usr/lib/modules/RELEASE` (or `/lib/modules/RELEASE`) of the running kernel, in
    /// an image that of every kernel, and in it `modules.dep`, without which modprobe finds nothing, and
    /// `modules.dep.bin`, which kmod and systemd read in its place. The modprobe of busybox reads the
    /// former alone, and its depmod writes no other. Whether the lists are older than the modules cannot
    /// be told by dates, which packages keep: where a wanted module is concerned, module-available says.
    ///
    /// Where another kernel is installed, with its modules and with the file that it boots from, a reboot
    /// is what is pending.
    ///
    /// Where there is no such directory for any kernel and no module is loaded, the kernel has all it
    /// needs built in, and the check does not apply. It does not apply in a container either, where
    /// the modules are on the host.
    ///
    /// ## Why it matters
    ///
    /// An upgrade of the kernel can take away the modules of the one that runs. From then on whatever
    /// is not loaded cannot be loaded, and containers fail with messages that name a network device
    /// or a file system, not the module.
    ///
    /// ## Repair
    ///
    /// Reboot into the kernel that is installed. Where a list is missing, `depmod RELEASE` of kmod
    /// writes it; in an image, `depmod -b ROOT RELEASE`.
    ///
    /// ## Sources
    ///
    /// - modules.dep(5), depmod(8); kmod: libkmod/libkmod.c, `kmod_search_moddep`
    /// - Ubuntu for Boards: "A/B boot on Ubuntu for Raspberry Pi"
    /// - kubeadm: issue 501, where the modules of an upgraded kernel were gone
    KERNEL_MODULES_DIRECTORY, "kernel-modules-directory", Required, Host(run)
}

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let demands = req.need(Need::ModulesDirectory);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    let mut outcome = Outcome::default();
    let kernels = match facts.counting_kernels() {
        Ok(kernels) => kernels,
        Err(why) => {
            outcome.unknown_all(demands, "/usr/lib/modules", &why);
            return outcome;
        }
    };
    if kernels.is_empty() {
        return Outcome::skip("no kernel is installed in this image");
    }
    for kernel in &kernels {
        match look(facts, kernel) {
            Ok(Ok(finding)) => outcome.add_all(demands, &finding),
            Ok(Err(reason)) => return Outcome::skip(reason),
            Err(why) => outcome.unknown_all(demands, &directory(kernel), &why),
        }
    }
    outcome
}

fn directory(kernel: &Kernel) -> String {
    kernel.modules_dir.clone().unwrap_or_else(|| format!("/usr/lib/modules/{}", kernel.release))
}

/// The finding on a kernel, or why there is none to make.
fn look(facts: &Facts, kernel: &Kernel) -> Fact<Result<Finding, &'static str>> {
    let path = directory(kernel);
    let finding = |found: &str, verdict| Finding::new(&path, "modules and their list", found, verdict);
    if kernel.modules_dir.is_some() {
        let dep = format!("{path}/modules.dep");
        let lacking = match facts.stat(&dep).or_absent()? {
            None => "modules.dep",
            Some(_) if facts.has_module_index(&path)? || reads_text(facts)? => {
                let met = finding("modules and their list", Verdict::Met);
                return Ok(Ok(met.at([Evidence::path(&dep, "")])));
            }
            Some(_) => "modules.dep.bin",
        };
        let command = match facts.running() {
            true => format!("sudo depmod {}", quoted(&kernel.release)),
            false => format!("depmod -b $ROOT {}", quoted(&kernel.release)),
        };
        let unmet = finding(&format!("no {lacking}"), Verdict::Unmet);
        let remedy = Remedy::manual("write the list of modules").command(command);
        let none = Evidence::path(&format!("{path}/{lacking}"), "does not exist");
        return Ok(Ok(unmet.at([none]).repair(remedy)));
    }
    let installed = facts.kernels()?;
    let mut others = Vec::new();
    for other in installed.iter().filter(|other| !other.running) {
        others.extend(image_of(facts, other)?.map(|image| (other, image)));
    }
    let gone = Evidence::path(&path, "does not exist");
    if let Some((newest, image)) = others.pop() {
        let remedy = Remedy::manual(format!("reboot into Linux {}", newest.release)).command("sudo reboot");
        let pending = finding("no such directory", Verdict::Pending(Needs::Reboot));
        return Ok(Ok(pending.at([gone, kernel.at.clone(), newest.at.clone(), image]).repair(remedy)));
    }
    let loaded = facts.loaded_modules()?;
    let Some(first) = loaded.loaded.first() else {
        return Ok(Err("no kernel has modules here and none is loaded: what there is, is built in"));
    };
    if facts.container()?.is_some() {
        return Ok(Err("in a container the modules are on the host"));
    }
    let remedy = Remedy::manual(format!("install the modules of Linux {}", kernel.release));
    let unmet = finding("no such directory", Verdict::Unmet);
    Ok(Ok(unmet.at([gone, first.at.clone()]).repair(remedy)))
}

/// Whether modprobe is one that reads `modules.dep` itself.
fn reads_text(facts: &Facts) -> Fact<bool> {
    let Some(modprobe) = facts.program("modprobe")? else { return Ok(false) };
    let real = facts.real_path(&modprobe.path)?;
    Ok(real.rsplit('/').next().is_some_and(|name| name.starts_with("busybox") || name == "toybox"))
}

/// The file that a kernel boots from, under the names that distributions give it. The firmware of the
/// Raspberry Pi boots one whose name says nothing of the release.
fn image_of(facts: &Facts, kernel: &Kernel) -> Fact<Option<Evidence>> {
    let release = &kernel.release;
    let named = ["vmlinuz", "vmlinux", "Image", "zImage", "uImage", "kernel"];
    let named = named.iter().map(|name| format!("/boot/{name}-{release}"));
    let beside = kernel.modules_dir.iter().map(|dir| format!("{dir}/vmlinuz"));
    let firmware = ["kernel.img", "kernel7.img", "kernel7l.img", "kernel8.img", "kernel_2712.img"];
    let firmware = firmware.iter().map(|name| format!("/boot/firmware/{name}"));
    // Ubuntu for Raspberry Pi: the one to try next, the one that is known to boot, and that before 25.10.
    let slots = ["new/vmlinuz", "current/vmlinuz", "vmlinuz"].map(|name| format!("/boot/firmware/{name}"));
    for path in named.chain(beside).chain(firmware).chain(slots) {
        if facts.stat(&path).or_absent()?.is_some() {
            return Ok(Some(Evidence::path(&path, "")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, empty_host, fixture};
    use crate::requirements::Stack;

    const DIR: &str = "/usr/lib/modules/6.12.117+deb13-cloud-amd64";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]))
    }

    #[test]
    fn the_directory_of_the_running_kernel() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [(DIR, Verdict::Met)]);
        assert_eq!(&*findings(&outcome)[0].evidence[0].path, format!("{DIR}/modules.dep"));
    }

    #[test]
    fn an_upgraded_kernel_takes_a_reboot() {
        let newer = "/usr/lib/modules/6.12.200+deb13-cloud-amd64";
        let host = fixture("debian-13").without(DIR).file(&format!("{newer}/modules.builtin"), "");
        let image = "/boot/vmlinuz-6.12.200+deb13-cloud-amd64";
        let outcome = look_at(host.file(image, ""));
        assert_eq!(verdicts(&outcome), [(DIR, Verdict::Pending(Needs::Reboot))]);
        let finding = findings(&outcome)[0];
        assert_eq!(finding.evidence[0], Evidence::path(DIR, "does not exist"));
        assert_eq!(finding.evidence[3], Evidence::path(image, ""));
        assert_eq!(finding.remedy.summary, "reboot into Linux 6.12.200+deb13-cloud-amd64");
    }

    #[test]
    fn modules_of_a_kernel_that_is_not_there_are_no_help() {
        let host = fixture("debian-13").without(DIR).file("/usr/lib/modules/6.12.200/modules.builtin", "");
        let pi = || host.clone().file("/boot/firmware/kernel8.img", "");
        assert_eq!(verdicts(&look_at(pi())), [(DIR, Verdict::Pending(Needs::Reboot))]);
        assert_eq!(verdicts(&look_at(host)), [(DIR, Verdict::Unmet)]);
    }

    /// As Ubuntu 25.10 and later keep what a Raspberry Pi boots.
    #[test]
    fn a_raspberry_pi_boots_from_one_of_two_slots() {
        let host = fixture("debian-13").without(DIR).file("/usr/lib/modules/7.0.0-raspi/modules.builtin", "");
        for path in ["/boot/firmware/new/vmlinuz", "/boot/firmware/current/vmlinuz", "/boot/firmware/vmlinuz"]
        {
            let outcome = look_at(host.clone().file(path, ""));
            assert_eq!(verdicts(&outcome), [(DIR, Verdict::Pending(Needs::Reboot))]);
            assert_eq!(&*findings(&outcome)[0].evidence[3].path, path);
        }
    }

    #[test]
    fn no_modules_anywhere() {
        let gone = || fixture("debian-13").without(DIR);
        let outcome = look_at(gone());
        assert_eq!(verdicts(&outcome), [(DIR, Verdict::Unmet)]);
        assert_eq!(findings(&outcome)[0].evidence[1].line, Some(1), "/proc/modules: some are loaded");
        assert!(look_at(gone().without("/proc/modules")).skipped.unwrap().contains("built in"));
        assert!(look_at(gone().file("/proc/modules", "")).skipped.unwrap().contains("built in"));
        let container = gone().file("/run/systemd/container", "lxc\n");
        assert_eq!(look_at(container).skipped.as_deref(), Some("in a container the modules are on the host"));
    }

    #[test]
    fn an_image_needs_modules_dep_for_every_kernel() {
        let image = || fixture("debian-13").image();
        assert_eq!(verdicts(&look_at(image())), [(DIR, Verdict::Met)]);
        let second = image().file("/usr/lib/modules/6.1.21-v8+/modules.order", "");
        let outcome = look_at(second);
        assert_eq!(
            verdicts(&outcome),
            [("/usr/lib/modules/6.1.21-v8+", Verdict::Unmet), (DIR, Verdict::Met)]
        );
        assert_eq!(findings(&outcome)[0].remedy.commands, ["depmod -b $ROOT 6.1.21-v8+"]);
        assert!(look_at(empty_host().image()).skipped.is_some());
    }

    #[test]
    fn kmod_reads_the_index() {
        let without = || fixture("debian-13").without(&format!("{DIR}/modules.dep.bin"));
        let outcome = look_at(without());
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Unmet, "no modules.dep.bin"));
        assert_eq!(&*finding.evidence[0].path, format!("{DIR}/modules.dep.bin"));
        assert_eq!(finding.remedy.commands, ["sudo depmod 6.12.117+deb13-cloud-amd64"]);
        let modprobe = |target: &str| {
            without().file(target, "").mode(target, "0755").path("/usr/sbin/modprobe", |record| {
                record.link = Some(target.to_owned());
                record.mode = Some("0755".to_owned());
            })
        };
        assert_eq!(verdicts(&look_at(modprobe("/usr/bin/kmod")))[0].1, Verdict::Unmet);
        assert_eq!(verdicts(&look_at(modprobe("/bin/busybox")))[0].1, Verdict::Met);
        let denied = without().error("/usr/sbin/modprobe", "denied");
        assert_eq!(unknown(&look_at(denied)).len(), 1);
    }

    #[test]
    fn a_closed_directory_is_unknown() {
        assert_eq!(unknown(&look_at(fixture("debian-13").error("/usr/lib/modules", "denied"))).len(), 1);
    }

    #[test]
    fn nobody_asks() {
        assert!(run(&fixture("debian-13").facts(), &Requirements::default()).skipped.is_some());
    }
}
