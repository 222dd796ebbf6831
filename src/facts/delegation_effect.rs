//! Whether what is configured to be delegated has reached the user manager: what the kernel has at each
//! level, and whether the user manager knows of it. The configuration itself is in `delegation`.

use super::cgroup::{CgroupLevel, Controller};
use super::{Evidence, Facts};
use crate::host::Fact;

/// How far a controller has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The kernel does not have it at the root.
    NotInKernel(Evidence),
    /// No user manager runs that could have it.
    NoUserManager,
    /// A level above the user manager does not hand it on.
    Lost {
        /// The unit whose cgroup that is.
        unit: String,
        /// What it does hand on.
        at: Evidence,
    },
    /// The user manager's cgroup has it and belongs to somebody else, so nothing is delegated.
    NotOwned(Evidence),
    /// It is there to be used, if the user manager knows of it: see [`Facts::granted_too_late`].
    InEffect(Evidence),
}

impl Facts {
    /// How far `controller` has come on its way to the user manager of `uid`.
    ///
    /// # Errors
    /// In an image root, and where something that decides it cannot be read.
    pub fn delegation_effect(&self, uid: u32, controller: Controller) -> Fact<Effect> {
        let root = self.root_controllers()?;
        if !root.value.contains(&controller) {
            return Ok(Effect::NotInKernel(root.at.clone()));
        }
        if !self.user_manager_runs(uid)? {
            return Ok(Effect::NoUserManager);
        }
        let levels = self.cgroup_levels(uid)?;
        if let Some((level, at)) = lost(&levels, controller)? {
            let name = level.path.rsplit('/').next().unwrap_or_default();
            let unit = if name == "cgroup" { "-.slice" } else { name };
            return Ok(Effect::Lost { unit: unit.to_owned(), at });
        }
        let cgroup = self.user_manager(uid)?.cgroup.clone()?;
        if cgroup.value.uid != uid {
            return Ok(Effect::NotOwned(cgroup.at));
        }
        match levels.last().map(|level| level.controllers.clone()) {
            Some(found) => Ok(Effect::InEffect(found?.at)),
            None => Ok(Effect::NoUserManager),
        }
    }

    /// Whether the user manager was last executed before a file of the administrator was written. It
    /// looks at what its own cgroup has when it starts and when it is executed again, and then only
    /// (systemd, `src/core/cgroup.c`, `manager_setup_cgroup`): a unit with `Delegate=yes` does not get
    /// what came later, though the kernel has it one level up. Its private socket is made anew each
    /// time. Files of the vendor were there before, and a package's update of one adds nothing.
    ///
    /// A board without a clock of its own can start the manager years before the file that was already
    /// there, so the file must be from after the boot as well.
    ///
    /// # Errors
    /// Where the times cannot be read.
    pub fn granted_too_late(&self, uid: u32, path: &str) -> Fact<bool> {
        if !path.starts_with("/etc/") && !path.starts_with("/run/") {
            return Ok(false);
        }
        let granted_ns = self.changed_ns(path)?;
        let executed_ns = self.changed_ns(&format!("/run/user/{uid}/systemd/private"))?;
        Ok(granted_ns > executed_ns && self.since_boot(granted_ns)?)
    }
}

/// The first level that has a controller and does not hand it on, and the line that says so.
fn lost(levels: &[CgroupLevel], controller: Controller) -> Fact<Option<(&CgroupLevel, Evidence)>> {
    if let Some(last) = levels.last()
        && last.controllers.clone()?.value.contains(&controller)
    {
        return Ok(None);
    }
    for level in levels.iter().take(levels.len().saturating_sub(1)) {
        let handed = level.subtree_control.clone()?;
        if !handed.value.contains(&controller) {
            return Ok(Some((level, handed.at)));
        }
    }
    // The kernel keeps a level's `cgroup.controllers` and its parent's `cgroup.subtree_control` alike,
    // so this is a change between two reads: the level above is as good an answer as any.
    let above = levels.iter().rev().nth(1);
    above.map(|level| Ok((level, level.subtree_control.clone()?.at))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, fixture};
    use crate::host::Unread;

    const ROOT: &str = "/sys/fs/cgroup";
    const SOCKET: &str = "/run/user/1000/systemd/private";
    const DROP_IN: &str = "/etc/systemd/system/user@.service.d/delegate.conf";

    /// The fixture with `cpuset` as far down as the level with this number.
    fn handed_down(to: usize) -> TestHost {
        let slice = format!("{ROOT}/user.slice");
        let user = format!("{slice}/user-1000.slice");
        let manager = format!("{user}/user@1000.service");
        let mut host = fixture("debian-13");
        for (above, below) in [(ROOT, &slice), (&slice, &user), (&user, &manager)].into_iter().take(to) {
            host = host
                .file(&format!("{above}/cgroup.subtree_control"), "cpuset cpu memory pids\n")
                .file(&format!("{below}/cgroup.controllers"), "cpuset cpu memory pids\n");
        }
        host
    }

    fn effect(host: TestHost) -> Fact<Effect> {
        host.facts().delegation_effect(1000, Controller::Cpuset)
    }

    #[test]
    fn the_level_that_does_not_hand_it_on_is_named() {
        for (to, unit, at) in [
            (0, "-.slice", "/sys/fs/cgroup/cgroup.subtree_control:1"),
            (1, "user.slice", "/sys/fs/cgroup/user.slice/cgroup.subtree_control:1"),
            (2, "user-1000.slice", "/sys/fs/cgroup/user.slice/user-1000.slice/cgroup.subtree_control:1"),
        ] {
            match effect(handed_down(to)).unwrap() {
                Effect::Lost { unit: found, at: found_at } => {
                    assert_eq!((found.as_str(), found_at.to_string().as_str()), (unit, at));
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(effect(handed_down(3)), Ok(Effect::InEffect(_))));
    }

    #[test]
    fn a_user_manager_that_was_there_before_the_grant_does_not_know_of_it() {
        // Booted at 1000 s by the clock as it is set now, which says 1050 s.
        let times = |granted_secs: i64, executed_secs: i64| {
            handed_down(3)
                .file("/proc/stat", "btime 1000\n")
                .file("/proc/uptime", "50.00 60.00\n")
                .now(1050)
                .file(DROP_IN, "[Service]\nDelegate=cpuset\n")
                .path(DROP_IN, |record| record.changed_ns = Some(granted_secs * 1_000_000_000))
                .path(SOCKET, |record| record.changed_ns = Some(executed_secs * 1_000_000_000))
        };
        let too_late = |host: TestHost, path: &str| host.facts().granted_too_late(1000, path);
        assert_eq!(too_late(times(1020, 1010), DROP_IN), Ok(true));
        for (granted, executed, why) in [
            (1010, 1020, "the manager was executed again"),
            (900, 1020, "it was there at boot"),
            (900, 100, "it was there at boot, and the clock was wrong when the manager started"),
            (9000, 1020, "it is from when the clock was right"),
        ] {
            assert_eq!(too_late(times(granted, executed), DROP_IN), Ok(false), "{why}");
        }
        assert_eq!(too_late(times(1020, 1010), "/usr/lib/systemd/system/user@.service"), Ok(false));
        let hidden = times(1020, 1010).error(SOCKET, "denied");
        assert_eq!(too_late(hidden, DROP_IN), Err(Unread::Denied { path: SOCKET.to_owned() }));
    }

    #[test]
    fn what_is_not_there_is_not_delegated() {
        let manager = format!("{ROOT}/user.slice/user-1000.slice/user@1000.service");
        let kernel = handed_down(3).file(&format!("{ROOT}/cgroup.controllers"), "cpu memory pids\n");
        assert!(matches!(effect(kernel), Ok(Effect::NotInKernel(_))));
        let stopped = handed_down(0).without(&manager).without("/run/user/1000");
        assert_eq!(effect(stopped), Ok(Effect::NoUserManager));
        let root_owned = handed_down(3).path(&manager, |record| record.uid = Some(0));
        assert!(matches!(effect(root_owned), Ok(Effect::NotOwned(_))));
    }
}
