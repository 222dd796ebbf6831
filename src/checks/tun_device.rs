//! Whether the user can open the TUN device: see [`TUN_DEVICE`].

use crate::checks::check;
use crate::facts::module_state::ModuleState;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::{Fact, Kind, OrAbsent};
use crate::requirements::{Demand, Need, Requirements};
use crate::settings::Setting;

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
    /// Loading the module makes the node. Another mode than 0666 comes from a udev rule of the site or
    /// from a hardening script. A container needs the device passed into it.
    ///
    /// ## Sources
    ///
    /// - Linux: Documentation/networking/tuntap.rst
    /// - systemd: rules.d/50-udev-default.rules.in, kmod-static-nodes.service
    TUN_DEVICE, "tun-device", Required, User(run)
}

const TUN: Device = Device { path: "/dev/net/tun", module: "tun", number: (10, 200) };

/// A device that users of containers open.
pub(super) struct Device {
    pub(super) path: &'static str,
    /// What makes it.
    pub(super) module: &'static str,
    /// Major and minor.
    pub(super) number: (u64, u64),
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    TUN.check(facts, req.need(Need::TunDevice), user)
}

impl Device {
    pub(super) fn check(&self, facts: &Facts, demands: &[Demand], user: &User) -> Outcome {
        if demands.is_empty() {
            return Outcome::not_asked();
        }
        if !facts.running() {
            return Outcome::skip("device nodes are made at boot");
        }
        let mut outcome = Outcome::default();
        match self.look(facts, user) {
            Ok(finding) => outcome.add_all(demands, &finding),
            Err(why) => outcome.unknown_all(demands, self.path, &why),
        }
        outcome
    }

    fn look(&self, facts: &Facts, user: &User) -> Fact<Finding> {
        let (major, minor) = self.number;
        let finding = |found: String, verdict| {
            Finding::new(
                self.path,
                format!("char {major}:{minor}, read and written by {}", user.name),
                found,
                verdict,
            )
        };
        let Some(stat) = facts.stat(self.path).or_absent()? else {
            return self.absent(facts, &finding);
        };
        let owner = format!("mode {:04o}, owner {}:{}", stat.mode, stat.uid, stat.gid);
        let Kind::Char(found_major, found_minor) = stat.kind else {
            let at = Evidence::path(self.path, format!("no character device, {owner}"));
            let remedy = Remedy::manual("remove it and load the module, which makes the device")
                .command(format!("sudo rm -r {}", self.path))
                .command(format!("sudo modprobe {}", self.module));
            return Ok(finding("no character device".to_owned(), Verdict::Unmet).at([at]).repair(remedy));
        };
        let at = Evidence::path(self.path, format!("char {found_major}:{found_minor}, {owner}"));
        let right = (found_major, found_minor) == self.number;
        let allowed = stat.allows(user.uid, &user.groups, 0o6);
        let found = match allowed {
            true => format!("char {found_major}:{found_minor}, read and written by {}", user.name),
            false => format!("char {found_major}:{found_minor}, mode {:04o}", stat.mode),
        };
        let remedy = match right {
            true => Remedy::manual("give it its usual mode, and take out the udev rule that sets another")
                .command(format!("sudo chmod 0666 {}", self.path)),
            false => Remedy::manual("make the device anew")
                .command(format!("sudo rm {}", self.path))
                .command(format!("sudo mknod -m 0666 {} c {major} {minor}", self.path)),
        };
        Ok(finding(found, Verdict::met_if(right && allowed)).at([at]).repair(remedy))
    }

    fn absent(&self, facts: &Facts, finding: &dyn Fn(String, Verdict) -> Finding) -> Fact<Finding> {
        let gone = Evidence::path(self.path, "does not exist");
        let unmet = |remedy| finding("absent".to_owned(), Verdict::Unmet).at([gone.clone()]).repair(remedy);
        if let Some(container) = facts.container()? {
            let pass = format!("pass {} into this container ({})", self.path, container.value);
            return Ok(unmet(Remedy::manual(pass)).at([container.at]));
        }
        let (major, minor) = self.number;
        let kernels = facts.counting_kernels()?;
        let state = match kernels.first() {
            Some(kernel) => facts.module_state(kernel, &[self.module], self.module)?,
            None => ModuleState::Unseen,
        };
        Ok(match state {
            ModuleState::Loaded(at, _) | ModuleState::BuiltIn(at) => {
                let remedy = Remedy::manual("make the device, which udev should have made")
                    .command(format!("sudo mknod -m 0666 {} c {major} {minor}", self.path));
                unmet(remedy).at([at])
            }
            ModuleState::Loadable(_) => match facts.modules_load().find(self.module)? {
                Some(line) => {
                    let remedy = Remedy::manual("load the module, which makes the device")
                        .command(format!("sudo modprobe {}", self.module));
                    let pending = finding("absent".to_owned(), Verdict::Pending(Needs::None));
                    pending.at([gone, line.at.clone()]).repair(remedy)
                }
                None => unmet(Remedy::setting(
                    "load the module, which makes the device, now and at boot",
                    Setting::Module(self.module.to_owned()),
                )),
            },
            ModuleState::Missing(..) | ModuleState::Unseen => unmet(Remedy::manual(format!(
                "use a kernel with the module {}: see module-available",
                self.module
            ))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;

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
            (verdict, wanted.commands.concat()),
            (Verdict::Pending(Needs::None), "sudo modprobe tun".to_owned())
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
