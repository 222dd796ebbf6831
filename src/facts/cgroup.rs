//! Control groups as the kernel has them: which hierarchy is mounted, and which controllers each
//! level from the root down to a user manager offers (`cgroup-v2.rst`, "Controlling Controllers").
//! What systemd is configured to delegate is in `delegation`. `/proc/cgroups` is not used: it says
//! nothing of what is available in a v2 hierarchy.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

use super::mountinfo::Mount;
use super::{Facts, Source, Sourced};
use crate::host::Fact;

/// Where the hierarchy is mounted on every host of interest (`file-hierarchy(7)`).
const MOUNT_POINT: &str = "/sys/fs/cgroup";

/// A resource controller, by the name that the kernel and systemd use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it, and the kernel documents them")]
pub enum Controller {
    Cpu,
    Cpuset,
    Io,
    Memory,
    Pids,
    Hugetlb,
    Misc,
    Rdma,
    Dmem,
    Cpuacct,
    Blkio,
    Devices,
}

/// Some controllers, in a fixed order.
pub type Controllers = BTreeSet<Controller>;

impl Controller {
    /// All of them.
    pub const ALL: [Controller; 12] = [
        Controller::Cpu,
        Controller::Cpuset,
        Controller::Io,
        Controller::Memory,
        Controller::Pids,
        Controller::Hugetlb,
        Controller::Misc,
        Controller::Rdma,
        Controller::Dmem,
        Controller::Cpuacct,
        Controller::Blkio,
        Controller::Devices,
    ];

    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Cpuset => "cpuset",
            Controller::Io => "io",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
            Controller::Hugetlb => "hugetlb",
            Controller::Misc => "misc",
            Controller::Rdma => "rdma",
            Controller::Dmem => "dmem",
            Controller::Cpuacct => "cpuacct",
            Controller::Blkio => "blkio",
            Controller::Devices => "devices",
        }
    }

    /// The controller of this name.
    pub fn from_name(name: &str) -> Option<Controller> {
        Controller::ALL.into_iter().find(|controller| controller.as_str() == name)
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which kind of hierarchy a host runs with (`systemd(1)`, "systemd.unified_cgroup_hierarchy").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// Version 2 alone, which is what rootless resource limits take.
    Unified,
    /// Version 1 for the controllers, version 2 for systemd's own tracking.
    Hybrid,
    /// Version 1 alone.
    Legacy,
}

impl fmt::Display for Hierarchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hierarchy::Unified => "cgroup v2",
            Hierarchy::Hybrid => "hybrid (cgroup v1 controllers)",
            Hierarchy::Legacy => "cgroup v1",
        })
    }
}

/// Which hierarchy these mounts make, in the way systemd tells it (`src/basic/cgroup-util.c`,
/// `cg_unified_cached`); `None` where no control group file system is mounted. A later mount hides
/// an earlier one on the same directory.
pub fn hierarchy(mounts: &[Mount]) -> Option<Sourced<Hierarchy>> {
    let mut top: Option<&Mount> = None;
    let mut tracking: Option<&Mount> = None;
    let mut legacy: Option<&Mount> = None;
    for mount in mounts {
        match mount.point.strip_prefix(MOUNT_POINT) {
            Some("") => (top, tracking, legacy) = (Some(mount), None, None),
            // Version 239 and older had the v2 hierarchy at `systemd`.
            Some("/unified" | "/systemd") if mount.fs_type == "cgroup2" => tracking = Some(mount),
            Some(below) if below.starts_with('/') && mount.fs_type == "cgroup" => {
                // The named hierarchy of systemd holds no controller.
                let named = mount.super_options.iter().any(|option| option.starts_with("name="));
                if legacy.is_none() || !named {
                    legacy = Some(mount);
                }
            }
            _ => {}
        }
    }
    let found = |kind, mount: &Mount| Some(Sourced { value: kind, at: mount.at.clone() });
    match (top, tracking, legacy) {
        (Some(mount), _, _) if mount.fs_type == "cgroup2" => found(Hierarchy::Unified, mount),
        (_, Some(mount), _) => found(Hierarchy::Hybrid, mount),
        (_, None, Some(mount)) => found(Hierarchy::Legacy, mount),
        (Some(mount), None, None) if mount.fs_type == "cgroup" => found(Hierarchy::Legacy, mount),
        _ => None,
    }
}

/// One level of the v2 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupLevel {
    /// The directory.
    pub path: String,
    /// What this level has (`cgroup.controllers`).
    pub controllers: Fact<Sourced<Controllers>>,
    /// What it hands to the level below (`cgroup.subtree_control`).
    pub subtree_control: Fact<Sourced<Controllers>>,
}

/// The directories from the root of the hierarchy to the cgroup of the user manager of `uid`.
pub fn user_manager_levels(uid: u32) -> [String; 4] {
    [
        MOUNT_POINT.to_owned(),
        format!("{MOUNT_POINT}/user.slice"),
        format!("{MOUNT_POINT}/user.slice/user-{uid}.slice"),
        format!("{MOUNT_POINT}/user.slice/user-{uid}.slice/user@{uid}.service"),
    ]
}

/// The controllers in `cgroup.controllers` or `cgroup.subtree_control`. Ones that have no name here
/// are left out: nothing asks for them.
fn controllers(source: &Source) -> Sourced<Controllers> {
    source.whole(source.text().split_ascii_whitespace().filter_map(Controller::from_name).collect())
}

impl Facts {
    /// The kind of hierarchy in effect; `Ok(None)` inside where nothing of the kind is mounted.
    ///
    /// # Errors
    /// In an image root, and where the mounts cannot be read.
    pub fn cgroup_hierarchy(&self) -> Fact<Rc<Option<Sourced<Hierarchy>>>> {
        self.memo_fact("", || {
            self.need_running("the cgroup hierarchy")?;
            Ok(hierarchy(&self.mountinfo()?.mounts))
        })
    }

    /// Whether the v2 part of a hybrid hierarchy has controllers: those that no v1 mount holds.
    ///
    /// # Errors
    /// In an image root, and where they cannot be read, as without a hybrid hierarchy.
    pub fn hybrid_controllers(&self) -> Fact<Sourced<bool>> {
        self.need_running("what control groups have")?;
        let source = self.source(&format!("{MOUNT_POINT}/unified/cgroup.controllers"))?;
        Ok(source.at(1, !source.text().trim().is_empty()))
    }

    /// What the kernel has to offer: the controllers at the root of the hierarchy.
    ///
    /// # Errors
    /// In an image root, and where they cannot be read, as without a v2 hierarchy.
    pub fn root_controllers(&self) -> Fact<Rc<Sourced<Controllers>>> {
        self.memo_fact("", || {
            self.need_running("what control groups have")?;
            Ok(controllers(&*self.source(&format!("{MOUNT_POINT}/cgroup.controllers"))?))
        })
    }

    /// Each level from the root of the hierarchy down to the user manager of `uid`, whose own level
    /// is the last. A level that does not exist says so in its two facts.
    ///
    /// # Errors
    /// In an image root.
    pub fn cgroup_levels(&self, uid: u32) -> Fact<Rc<Vec<CgroupLevel>>> {
        self.memo_fact(&uid.to_string(), || {
            self.need_running("what control groups have")?;
            let read = |dir: &str, file| Ok(controllers(&*self.source(&format!("{dir}/{file}"))?));
            let level = |path: String| CgroupLevel {
                controllers: read(&path, "cgroup.controllers"),
                subtree_control: read(&path, "cgroup.subtree_control"),
                path,
            };
            Ok(user_manager_levels(uid).into_iter().map(level).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::empty_host;
    use crate::host::Unread;

    fn judge(lines: &[&str]) -> Option<Hierarchy> {
        let facts = empty_host().file("/proc/self/mountinfo", lines.join("\n")).facts();
        facts.cgroup_hierarchy().unwrap().as_ref().as_ref().map(|found| found.value)
    }

    #[test]
    fn the_mounts_tell_the_hierarchy() {
        let v2 = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        let tmpfs = "35 24 0:30 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755";
        let unified = "36 35 0:31 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw";
        let named = "37 35 0:32 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,xattr,name=systemd";
        let memory = "38 35 0:33 / /sys/fs/cgroup/memory rw shared:12 - cgroup cgroup rw,memory";
        for (mounts, expected) in [
            (vec![v2], Some(Hierarchy::Unified)),
            (vec![tmpfs, unified, named, memory], Some(Hierarchy::Hybrid)),
            (vec![tmpfs, named, memory], Some(Hierarchy::Legacy)),
            (vec![tmpfs, unified, named, memory, v2], Some(Hierarchy::Unified)),
            (vec![tmpfs], None),
            (vec!["", "1 2 3", " - cgroup2", "1 2 0:1 / /sys/fs/cgroup"], None),
        ] {
            assert_eq!(judge(&mounts), expected, "{mounts:?}");
        }
        let facts = empty_host().file("/proc/self/mountinfo", format!("{tmpfs}\n{memory}\n")).facts();
        let at = facts.cgroup_hierarchy().unwrap().as_ref().clone().unwrap().at;
        assert_eq!(at.to_string(), "/proc/self/mountinfo:2");
    }

    #[test]
    fn every_level_is_kept_with_what_it_lacks() {
        let [root, slice, user, manager] = user_manager_levels(1000);
        let facts = empty_host()
            .file(&format!("{root}/cgroup.controllers"), "cpuset cpu io memory hugetlb pids rdma misc new\n")
            .file(&format!("{root}/cgroup.subtree_control"), "cpu memory pids\n")
            .file(&format!("{slice}/cgroup.controllers"), "\n")
            .error(&format!("{user}/cgroup.controllers"), "denied")
            .facts();
        let levels = facts.cgroup_levels(1000).unwrap();
        let root = levels[0].controllers.clone().unwrap();
        assert_eq!(root.value.len(), 8);
        assert_eq!(root.at.to_string(), "/sys/fs/cgroup/cgroup.controllers:1");
        assert_eq!(levels[1].controllers.clone().unwrap().value, Controllers::new());
        assert!(matches!(levels[2].controllers, Err(Unread::Denied { .. })));
        assert_eq!(
            levels[3].controllers,
            Err(Unread::Absent { path: format!("{manager}/cgroup.controllers") })
        );
    }

    #[test]
    fn an_image_has_no_control_groups() {
        let facts = empty_host().image().facts();
        assert!(matches!(facts.cgroup_levels(0), Err(Unread::NotRunning { .. })));
        assert!(matches!(facts.cgroup_hierarchy(), Err(Unread::NotRunning { .. })));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for controller in Controller::ALL {
            assert_eq!(Controller::from_name(controller.as_str()), Some(controller));
        }
        assert_eq!(Controller::from_name("CPU"), None);
    }
}
