//! Whether the user can open the FUSE device: see [`FUSE_DEVICE`].

use crate::checks::check;
use crate::checks::device::Device;
use crate::facts::Facts;
use crate::facts::users::User;
use crate::finding::{Answer, Item, Outcome, Verdict};
use crate::requirements::{Demand, Need, Requirements};

check! {
    /// User can open /dev/fuse
    ///
    /// ## What is looked at
    ///
    /// Whether `/dev/fuse` is the character device 10:229 and its mode lets the user read and write.
    /// systemd makes the node at boot even if the module is not loaded, with mode 0666; opening it
    /// loads the module. Whether that succeeds is told by module-available and module-blacklist.
    ///
    /// K3s that keeps images with another snapshotter than fuse-overlayfs or stargz does without: by
    /// `--snapshotter` in its unit, or `snapshotter` in its configuration. Where a unit starts it and
    /// nothing is said, it takes overlayfs. Where there is no unit yet, the one that `fix` writes has
    /// overlayfs from Linux 5.13 on, if the data lie on a file system that takes it, else
    /// fuse-overlayfs.
    ///
    /// In an image there are no device nodes yet, so the check does not apply.
    ///
    /// ## Why it matters
    ///
    /// fuse-overlayfs mounts the layers of images with it, and the k3s-rootless.service that K3s
    /// publishes asks for fuse-overlayfs. Without the device: "fuse: failed to open /dev/fuse: Permission
    /// denied". Where overlay is mounted by the kernel, as Podman does since Linux 5.13, it is not needed.
    ///
    /// ## Repair
    ///
    /// A node that is missing is made by loading the module, or with `mknod` where the module is loaded
    /// or built in already. Another mode than 0666 comes from a udev rule of the site or from a
    /// hardening script. A container needs the device passed into it.
    ///
    /// ## Sources
    ///
    /// - fuse(4)
    /// - k3s: k3s-rootless.service; pkg/cli/cmds/const_linux.go; pkg/agent/config/config.go
    FUSE_DEVICE, "fuse-device", Required, User(run)
}

const FUSE: Device = Device { path: "/dev/fuse", module: "fuse", number: (10, 229) };

/// Snapshotters of K3s that mount with FUSE.
const MOUNT_WITH_IT: [&str; 2] = ["fuse-overlayfs", "stargz"];

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::FuseDevice);
    let outcome = FUSE.check(facts, demands, user);
    let met = |item: &Item| matches!(&item.answer, Answer::Found(finding) if finding.verdict == Verdict::Met);
    let (k3s, others): (Vec<_>, Vec<_>) = demands.iter().map(Demand::by_k3s).unzip();
    let k3s: Vec<Demand> = k3s.into_iter().flatten().collect();
    if k3s.is_empty() || outcome.items.iter().all(met) {
        return outcome;
    }
    let others: Vec<Demand> = others.into_iter().flatten().collect();
    match facts.k3s_snapshotter(user) {
        Ok(taken) if MOUNT_WITH_IT.contains(&taken.name.as_str()) => outcome,
        Ok(taken) => match FUSE.check(facts, &others, user) {
            outcome if outcome.items.is_empty() => {
                let (name, at) = (&taken.name, taken.at.as_ref());
                let at = at.map(|at| format!(": {at}")).unwrap_or_default();
                Outcome::skip(format!("K3s keeps images with the snapshotter {name}, without FUSE{at}"))
            }
            outcome => outcome,
        },
        Err(why) => {
            let mut outcome = FUSE.check(facts, &others, user);
            outcome.skipped = None;
            outcome.unknown_all(&k3s, FUSE.path, &why);
            outcome
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::Evidence;
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;
    use crate::settings::Setting;

    const UNIT: &str = "/home/edge/.config/systemd/user/k3s-rootless.service";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::K3s]), &edge())
    }

    /// A Debian 13 with the unit as K3s publishes it.
    fn published() -> TestHost {
        let text = "[Service]\nExecStart=/usr/local/bin/k3s server --rootless --snapshotter=fuse-overlayfs\n";
        fixture("debian-13").file(UNIT, text)
    }

    #[test]
    fn the_node_is_the_right_one_and_open_to_the_user() {
        let outcome = look_at(published());
        assert_eq!(verdicts(&outcome), [("/dev/fuse", Verdict::Met)]);
        assert_eq!(
            findings(&outcome)[0].evidence,
            [Evidence::path("/dev/fuse", "char 10:229, mode 0666, owner 0:0")]
        );
        let closed = look_at(published().mode("/dev/fuse", "600"));
        assert_eq!(verdicts(&closed), [("/dev/fuse", Verdict::Unmet)]);
        let setting = Setting::DeviceMode { path: "/dev/fuse".to_owned(), mode: 0o666 };
        assert_eq!(findings(&closed)[0].remedy.settings, [setting]);
    }

    #[test]
    fn absent_although_fuse_is_built_in() {
        let outcome = look_at(published().without("/dev/fuse"));
        assert_eq!(findings(&outcome)[0].remedy.commands, ["sudo mknod -m 0666 /dev/fuse c 10 229"]);
    }

    #[test]
    fn a_snapshotter_that_does_without_needs_no_device() {
        let with = |more: &str| {
            let text = format!("[Service]\nExecStart=/usr/local/bin/k3s server --rootless{more}\n");
            look_at(fixture("debian-13").without("/dev/fuse").file(UNIT, text))
        };
        let why = "K3s keeps images with the snapshotter overlayfs, without FUSE";
        assert_eq!(with("").skipped, Some(format!("{why}: {UNIT}:2")));
        assert!(with(" --snapshotter=native").skipped.unwrap().contains("native"));
        let none = look_at(fixture("debian-13").without("/dev/fuse"));
        assert_eq!(none.skipped, Some(format!("{why}: /proc/sys/kernel/osrelease:1")), "fix will write it");
        let old = fixture("debian-13").without("/dev/fuse").file("/proc/sys/kernel/osrelease", "5.10.0\n");
        assert_eq!(verdicts(&look_at(old)), [("/dev/fuse", Verdict::Unmet)]);
        for needs in ["fuse-overlayfs", "stargz"] {
            let outcome = with(&format!(" --snapshotter={needs}"));
            assert_eq!(verdicts(&outcome), [("/dev/fuse", Verdict::Unmet)]);
        }
        let config = "/etc/rancher/k3s/config.yaml";
        let closed = fixture("debian-13").without("/dev/fuse").file(config, "").mode(config, "0600");
        let closed = closed.path(config, |record| record.uid = Some(0));
        assert_eq!(unknown(&look_at(closed)), [format!("{config} is not readable as this user")]);
    }

    #[test]
    fn unknown_and_skipped() {
        assert_eq!(unknown(&look_at(published().error("/dev/fuse", "errno 5"))), ["/dev/fuse: I/O error"]);
        assert!(look_at(published().image()).skipped.is_some());
        let podman = run(&fixture("debian-13").facts(), &requirements(&[Stack::Podman]), &edge());
        assert_eq!(podman.skipped.as_deref(), Some("no chosen stack asks for it"));
    }
}
