//! What the checks of device nodes have in common. Which device a stack wants is theirs to say.

use crate::facts::module_state::ModuleState;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::{Fact, Kind, OrAbsent};
use crate::requirements::Demand;
use crate::settings::Setting;

/// Whoever opens them gets no more than the kernel gives any user (systemd: rules.d/50-udev-default.rules.in).
const USUAL_MODE: u32 = 0o666;

/// A device that users of containers open.
pub(super) struct Device {
    pub(super) path: &'static str,
    /// What makes it.
    pub(super) module: &'static str,
    /// Major and minor.
    pub(super) number: (u64, u64),
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
            true => Remedy::setting(
                "give it its usual mode, now and with a udev rule that comes after the one that takes it away",
                Setting::DeviceMode { path: self.path.to_owned(), mode: USUAL_MODE },
            ),
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
                    let remedy = Remedy::setting(
                        "load the module, which makes the device",
                        Setting::ModuleInEffect(self.module.to_owned()),
                    );
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
