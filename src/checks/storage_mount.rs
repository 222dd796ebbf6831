//! Whether Podman can mount the layers of images without root: see [`STORAGE_MOUNT`].

use crate::checks::{check, install, of_podman};
use crate::facts::k3s_snapshotter::{FUSE_OVERLAYFS, NATIVE_OVERLAY};
use crate::facts::kernel::KernelVersion;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, Sourced};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};

check! {
    /// Layers of images can be mounted without root
    ///
    /// ## What is looked at
    ///
    /// What Podman mounts overlay storage with: the `mount_program` of the user's storage.conf, where
    /// that file has `driver = "overlay"` (without a driver it depends on the version of Podman, and in
    /// the system's file the key is for users from Podman 6 on only); else the kernel, from 5.13 on; else
    /// fuse-overlayfs on the search path.
    /// The number of the kernel does not decide alone: distributions have had it in older ones. Other
    /// drivers mount nothing, nor does vfs, which Podman before 4.6 takes where none is configured.
    ///
    /// ## Why it matters
    ///
    /// A `mount_program` that is not there stops every command of Podman: "overlay: can't stat program
    /// \"/usr/bin/fuse-overlayfs\"". A storage.conf that was copied from an older machine has one.
    ///
    /// On a kernel that does not mount overlay in a user namespace, and without fuse-overlayfs, Podman
    /// takes the driver vfs, with which each container is a whole copy of its image, or stops with
    /// "kernel does not support overlay fs". Which one it takes first is kept, so that it has to be
    /// decided before the first image is pulled.
    ///
    /// ## Repair
    ///
    /// fuse-overlayfs is installed, or the line is taken out where the kernel is new enough.
    ///
    /// ## Sources
    ///
    /// - containers-storage.conf(5); containers/storage: drivers/overlay/overlay.go, `parseOptions` and
    ///   `Init`; types/options.go, `ReloadConfigurationFile`; types/options_linux.go
    /// - Linux: commit 459c7c565ac3, "ovl: unprivieged mounts"
    STORAGE_MOUNT, "storage-mount", Required, User(run)
}

const SUBJECT: &str = "overlay";
/// Why it is advised where no program is configured: Podman may still do without.
const WHY_ADVISED: &str = "else each container is a copy of its image, or none starts";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::OverlayMounts);
    let outcome = of_podman(facts, user, demands, |podman, outcome| {
        let conf = facts.storage_conf(user)?;
        let driver = conf.driver.as_ref().map(|driver| driver.value.as_str());
        let is_overlay = matches!(driver, Some("overlay" | "overlay2"));
        // Without a driver in that file, Podman up to version 5 takes the key from one table and not from
        // the other, which are one here.
        let is_asked = match (driver, podman.is_at_least(6)) {
            (Some(_), _) => Some(is_overlay),
            (None, Some(true)) => Some(true),
            (None, _) => None,
        };
        match (&conf.mount_program, is_asked) {
            (Some(program), Some(true)) => outcome.add_all(demands, &named(facts, user, program)?),
            (Some(program), None) => match named(facts, user, program)? {
                finding if finding.verdict == Verdict::Met => outcome.add_all(demands, &finding),
                finding => {
                    let why =
                        format!("{}: whether Podman takes it without a driver is not known", program.at);
                    outcome.unknown_all(demands, &finding.subject, &why);
                }
            },
            // Which driver it will be is not known for every Podman; what can be told of overlay holds then.
            _ if matches!(facts.storage_is_vfs(&conf, user), Ok(true)) => {}
            _ if driver.is_none() || is_overlay => {
                let Some(kernel) = facts.oldest_kernel()? else { return Ok(()) };
                for demand in demands {
                    match native(facts, user, &kernel)? {
                        Ok(finding) if finding.verdict == Verdict::Met => outcome.add(demand, finding),
                        Ok(finding) => outcome.add(&demand.advised(WHY_ADVISED), finding),
                        Err(why) => outcome.unknown(&demand.advised(WHY_ADVISED), SUBJECT, why),
                    }
                }
            }
            _ => {}
        }
        Ok(())
    });
    outcome.or_skip("the storage driver mounts nothing, or no kernel is installed")
}

/// The program that storage.conf names.
fn named(facts: &Facts, user: &User, named: &Sourced<String>) -> Fact<Finding> {
    let path = &named.value;
    let program = facts.program_at(&facts.real_path(path)?)?;
    let closed = format!("not executable by {}", user.name);
    let found = match &program {
        None => "not there",
        Some(program) if program.is_executable_by(user) => "installed",
        Some(_) => closed.as_str(),
    };
    let file = match &program {
        Some(program) => program.evidence(),
        None => Evidence::path(path, "does not exist"),
    };
    let packaged = program.is_none() && path.rsplit('/').next() == Some(FUSE_OVERLAYFS);
    let remedy = if packaged { install(facts, &[FUSE_OVERLAYFS]) } else { Remedy::default() };
    let or = match &program {
        None if packaged => format!("{}, or take the line out", remedy.summary),
        Some(program) if found == closed => {
            format!("let {} execute {}, or take the line out", user.name, program.path)
        }
        _ => "correct the path".to_owned(),
    };
    let remedy = Remedy { summary: format!("{or}: {}", named.at), ..remedy };
    let finding = Finding::new(path, "installed", found, Verdict::met_if(found == "installed"));
    Ok(finding.at([named.at.clone(), file]).repair(remedy))
}

/// The finding, or why the kernel's number says nothing.
fn native(facts: &Facts, user: &User, kernel: &Sourced<String>) -> Fact<Result<Finding, String>> {
    let release = &kernel.value;
    let finding = |found: String, verdict| {
        Finding::new(SUBJECT, format!("mounted by the kernel or by {FUSE_OVERLAYFS}"), found, verdict)
    };
    let version = KernelVersion::parse(release);
    if version.is_some_and(|version| version >= NATIVE_OVERLAY) {
        let met = finding(format!("mounted by Linux {release}"), Verdict::Met);
        return Ok(Ok(met.at([kernel.at.clone()])));
    }
    if let Some(program) = facts.user_program(FUSE_OVERLAYFS, user)? {
        let met = finding(format!("mounted by {}", program.path), Verdict::Met);
        return Ok(Ok(met.at([program.evidence(), kernel.at.clone()])));
    }
    if version.is_none() || release.contains(".el") {
        return Ok(Err(format!("whether Linux {release} can mount it without root is not in its number")));
    }
    let none = Evidence::path(&format!("/usr/bin/{FUSE_OVERLAYFS}"), "does not exist, nor elsewhere");
    let unmet = finding(format!("Linux {release}, and no {FUSE_OVERLAYFS}"), Verdict::Unmet);
    Ok(Ok(unmet.at([kernel.at.clone(), none]).repair(install(facts, &[FUSE_OVERLAYFS]))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const CONF: &str = "/home/edge/.config/containers/storage.conf";
    const RELEASE: &str = "/proc/sys/kernel/osrelease";
    const PROGRAM: &str = "/usr/bin/fuse-overlayfs";
    /// As Podman's tutorial for rootless users has it.
    const NAMED: &str = "[storage]\ndriver = \"overlay\"\n\n[storage.options.overlay]\nmount_program = \"/usr/bin/fuse-overlayfs\"\n";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    fn installed(host: TestHost, mode: &str) -> TestHost {
        host.file(PROGRAM, "").mode(PROGRAM, mode)
    }

    /// The release of JetPack 5 on a Jetson Orin.
    fn jetson() -> TestHost {
        fixture("debian-13").file(RELEASE, "5.10.104-tegra\n")
    }

    #[test]
    fn the_kernel_does_it() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [(SUBJECT, Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].found, "mounted by Linux 6.12.117+deb13-cloud-amd64");
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{RELEASE}:1"));
        assert_eq!(verdicts(&look_at(fixture("debian-13").image())), [(SUBJECT, Verdict::Met)]);
    }

    #[test]
    fn a_program_that_is_named_has_to_be_there() {
        let outcome = look_at(fixture("debian-13").file(CONF, NAMED));
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Unmet, "not there"));
        assert_eq!(outcome.items[0].level, Level::Required);
        assert_eq!(finding.evidence[0].to_string(), format!("{CONF}:5"));
        let summary =
            "install fuse-overlayfs, or take the line out: /home/edge/.config/containers/storage.conf:5";
        assert_eq!(finding.remedy.summary, summary);
        let there = fixture("debian-13").file(CONF, NAMED);
        assert_eq!(verdicts(&look_at(installed(there.clone(), "0755"))), [(PROGRAM, Verdict::Met)]);
        assert_eq!(verdicts(&look_at(installed(there, "0750"))), [(PROGRAM, Verdict::Unmet)]);
        let image = fixture("debian-13").file(CONF, NAMED).image();
        assert_eq!(verdicts(&look_at(image)), [(PROGRAM, Verdict::Unmet)]);
    }

    #[test]
    fn a_program_that_podman_does_not_ask_is_not_looked_for() {
        let system = fixture("debian-13").file("/etc/containers/storage.conf", NAMED);
        assert_eq!(verdicts(&look_at(system)), [(SUBJECT, Verdict::Met)]);
        let status = "/var/lib/dpkg/status";
        let six = fixture("debian-13")
            .edit(status, "Version: 5.4.2+ds1-2+b2", "Version: 6.0.0+ds1-1")
            .file("/etc/containers/storage.conf", NAMED);
        assert_eq!(verdicts(&look_at(six)), [(PROGRAM, Verdict::Unmet)]);
        let vfs = fixture("debian-13").file(CONF, "[storage]\ndriver = \"vfs\"\n");
        assert!(look_at(vfs).skipped.is_some());
        let by_itself = look_at(fixture("debian-12"));
        assert!(by_itself.skipped.is_some(), "Podman 4.3 takes vfs where no driver is configured");
    }

    #[test]
    fn an_old_kernel_takes_fuse_overlayfs() {
        let outcome = look_at(jetson());
        let finding = findings(&outcome)[0];
        assert_eq!(
            (finding.verdict, finding.found.as_str()),
            (Verdict::Unmet, "Linux 5.10.104-tegra, and no fuse-overlayfs")
        );
        assert_eq!((outcome.items[0].level, outcome.items[0].why.as_str()), (Level::Advised, WHY_ADVISED));
        let met = look_at(installed(jetson(), "0755"));
        assert_eq!((verdicts(&met)[0].1, outcome.items[0].level), (Verdict::Met, Level::Advised));
        let two = fixture("debian-13").file("/usr/lib/modules/5.4.0/modules.order", "").image();
        assert_eq!(findings(&look_at(two))[0].found, "Linux 5.4.0, and no fuse-overlayfs");
    }

    #[test]
    fn what_cannot_be_told_is_unknown() {
        let red_hat = look_at(fixture("debian-13").file(RELEASE, "4.18.0-553.el8_10.x86_64\n"));
        assert!(unknown(&red_hat)[0].ends_with("is not in its number"));
        assert_eq!(red_hat.items[0].level, Level::Advised);
        assert_eq!(unknown(&look_at(fixture("debian-13").file(CONF, "[storage\n"))).len(), 1);
        let hidden = fixture("debian-13").file(CONF, NAMED).error(PROGRAM, "denied");
        assert_eq!(unknown(&look_at(hidden)).len(), 1);
        assert!(look_at(fixture("debian-13").without("/usr/bin/podman")).skipped.is_some());
        let without_driver = fixture("debian-13").file(CONF, NAMED.replace("driver = \"overlay\"\n", ""));
        assert!(unknown(&look_at(without_driver.clone()))[0].ends_with("without a driver is not known"));
        assert_eq!(verdicts(&look_at(installed(without_driver, "0755"))), [(PROGRAM, Verdict::Met)]);
        assert!(run(&jetson().facts(), &requirements(&[Stack::K3s]), &edge()).skipped.is_some());
    }
}
