//! Whether the user can open the TUN device: see [`TUN_DEVICE`].

use crate::checks::check;
use crate::checks::device::Device;
use crate::facts::Facts;
use crate::facts::users::User;
use crate::finding::Outcome;
use crate::requirements::{Need, Requirements};

check! {
    /// User can open /dev/net/tun
    ///
    /// ## What is looked at
    ///
    /// Whether `/dev/net/tun` is the character device 10:200 and its mode lets the user read and
    /// write. systemd makes the node at boot even if the module is not loaded, with mode 0666; opening
    /// it loads the module. Whether that succeeds is told by module-available and module-blacklist.
    ///
    /// In an image there are no device nodes yet, so the check does not apply.
    ///
    /// ## Why it matters
    ///
    /// pasta and slirp4netns make the network of rootless containers with it. Without it, `podman run`
    /// ends with "Failed to open() /dev/net/tun".
    ///
    /// ## Repair
    ///
    /// A node that is missing is made by loading the module, or with `mknod` where the module is loaded
    /// or built in already. Another mode than 0666 comes from a udev rule of the site or from a
    /// hardening script. A container needs the device passed into it.
    ///
    /// ## Sources
    ///
    /// - Linux: Documentation/networking/tuntap.rst
    /// - systemd: rules.d/50-udev-default.rules.in, kmod-static-nodes.service
    TUN_DEVICE, "tun-device", Required, User(run)
}

const TUN: Device = Device { path: "/dev/net/tun", module: "tun", number: (10, 200) };

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    TUN.check(facts, req.need(Need::TunDevice), user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::Evidence;
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::{Needs, Verdict};
    use crate::requirements::Stack;
    use crate::settings::Setting;

    const NODE: &str = "/dev/net/tun";
    const MODULE: &str = "/usr/lib/modules/6.12.117+deb13-cloud-amd64/kernel/drivers/net/tun.ko.xz";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    #[test]
    fn the_node_of_a_booted_machine() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [(NODE, Verdict::Met)]);
        assert_eq!(
            findings(&outcome)[0].evidence,
            [Evidence::path(NODE, "char 10:200, mode 0666, owner 0:0")]
        );
    }

    #[test]
    fn mode_kind_and_number() {
        let group =
            |gid: u32| fixture("debian-13").mode(NODE, "660").path(NODE, |record| record.gid = Some(gid));
        let kind = |kind: &str| fixture("debian-13").path(NODE, |record| record.kind = Some(kind.to_owned()));
        for (host, verdict, found) in [
            (group(1000), Verdict::Met, "char 10:200, read and written by edge"),
            (group(0), Verdict::Unmet, "char 10:200, mode 0660"),
            (fixture("debian-13").mode(NODE, "600"), Verdict::Unmet, "char 10:200, mode 0600"),
            (fixture("debian-13").mode(NODE, "664"), Verdict::Unmet, "char 10:200, mode 0664"),
            (kind("file"), Verdict::Unmet, "no character device"),
            (kind("char 10:229"), Verdict::Unmet, "char 10:229, read and written by edge"),
        ] {
            let outcome = look_at(host);
            assert_eq!(
                (findings(&outcome)[0].found.as_str(), findings(&outcome)[0].verdict),
                (found, verdict)
            );
        }
    }

    #[test]
    fn absent_with_and_without_its_module() {
        let gone = || fixture("debian-13").without(NODE).file(MODULE, "");
        let remedy = |host: TestHost| {
            let outcome = look_at(host);
            let finding = findings(&outcome)[0];
            (finding.verdict, finding.remedy.clone())
        };
        let (verdict, wanted) = remedy(gone());
        assert_eq!((verdict, wanted.settings), (Verdict::Unmet, vec![Setting::Module("tun".to_owned())]));
        let (verdict, wanted) = remedy(gone().file("/etc/modules-load.d/x.conf", "tun\n"));
        assert_eq!(
            (verdict, wanted.settings),
            (Verdict::Pending(Needs::None), vec![Setting::ModuleInEffect("tun".to_owned())])
        );
        let (_, wanted) = remedy(gone().append("/proc/modules", "tun 1 0 - Live 0x0\n"));
        assert_eq!(wanted.commands, ["sudo mknod -m 0666 /dev/net/tun c 10 200"]);
        let (_, wanted) = remedy(gone().without(MODULE));
        assert!(wanted.summary.ends_with("see module-available"));
        let (_, wanted) = remedy(gone().file("/run/systemd/container", "lxc\n"));
        assert_eq!(wanted.summary, "pass /dev/net/tun into this container (lxc)");
    }

    #[test]
    fn unknown_and_skipped() {
        assert_eq!(
            unknown(&look_at(fixture("debian-13").error(NODE, "denied"))),
            ["/dev/net/tun is not readable as this user"]
        );
        assert_eq!(
            look_at(fixture("debian-13").image()).skipped.as_deref(),
            Some("device nodes are made at boot")
        );
        assert!(run(&fixture("debian-13").facts(), &Requirements::default(), &edge()).skipped.is_some());
    }
}
