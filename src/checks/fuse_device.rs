//! Whether the user can open the FUSE device: see [`FUSE_DEVICE`].

use crate::checks::check;
use crate::checks::device::Device;
use crate::facts::Facts;
use crate::facts::users::User;
use crate::finding::Outcome;
use crate::requirements::{Need, Requirements};

check! {
    /// User can open /dev/fuse
    ///
    /// ## What is looked at
    ///
    /// Whether `/dev/fuse` is the character device 10:229 and its mode lets the user read and write.
    /// systemd makes the node at boot even if the module is not loaded, with mode 0666; opening it
    /// loads the module. Whether that succeeds is told by module-available and module-blacklist.
    ///
    /// In an image there are no device nodes yet, so the check does not apply.
    ///
    /// ## Why it matters
    ///
    /// fuse-overlayfs mounts the layers of images with it, and k3s-rootless.service asks for
    /// fuse-overlayfs. Without the device: "fuse: failed to open /dev/fuse: Permission denied". Where
    /// overlay is mounted by the kernel, as Podman does since Linux 5.13, it is not needed.
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
    /// - k3s: k3s-rootless.service
    FUSE_DEVICE, "fuse-device", Required, User(run)
}

const FUSE: Device = Device { path: "/dev/fuse", module: "fuse", number: (10, 229) };

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    FUSE.check(facts, req.need(Need::FuseDevice), user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::Evidence;
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Verdict;
    use crate::requirements::Stack;
    use crate::settings::Setting;

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::K3s]), &edge())
    }

    #[test]
    fn the_node_is_the_right_one_and_open_to_the_user() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [("/dev/fuse", Verdict::Met)]);
        assert_eq!(
            findings(&outcome)[0].evidence,
            [Evidence::path("/dev/fuse", "char 10:229, mode 0666, owner 0:0")]
        );
        let closed = look_at(fixture("debian-13").mode("/dev/fuse", "600"));
        assert_eq!(verdicts(&closed), [("/dev/fuse", Verdict::Unmet)]);
        let setting = Setting::DeviceMode { path: "/dev/fuse".to_owned(), mode: 0o666 };
        assert_eq!(findings(&closed)[0].remedy.settings, [setting]);
    }

    #[test]
    fn absent_although_fuse_is_built_in() {
        let outcome = look_at(fixture("debian-13").without("/dev/fuse"));
        assert_eq!(findings(&outcome)[0].remedy.commands, ["sudo mknod -m 0666 /dev/fuse c 10 229"]);
    }

    #[test]
    fn unknown_and_skipped() {
        assert_eq!(
            unknown(&look_at(fixture("debian-13").error("/dev/fuse", "errno 5"))),
            ["/dev/fuse: I/O error"]
        );
        assert!(look_at(fixture("debian-13").image()).skipped.is_some());
        let podman = run(&fixture("debian-13").facts(), &requirements(&[Stack::Podman]), &edge());
        assert_eq!(podman.skipped.as_deref(), Some("no chosen stack asks for it"));
    }
}
