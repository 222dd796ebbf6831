//! The processes of a user manager's units: what is in the control groups below its own.

use std::collections::VecDeque;

use super::Facts;
use super::cgroup::user_manager_levels;
use crate::host::{Fact, OrAbsent};

/// How deep groups are followed: slices, units, and what is delegated to units.
const DEEPEST: usize = 8;
/// How many groups are looked into: a desktop has some hundred.
const MOST_GROUPS: usize = 1024;
/// How many processes are listed.
const MOST: usize = 4096;

/// A process and the control group it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its ID.
    pub pid: u32,
    /// The last component of its control group, which is the unit unless that has groups of its own.
    pub group: String,
}

impl Facts {
    /// Processes of a unit of the user manager of `uid`, those in the first of its control groups that has
    /// any; none where it does not run.
    ///
    /// # Errors
    /// In an image root, and where a control group cannot be read.
    pub fn user_unit_processes(&self, uid: u32, unit: &str) -> Fact<Vec<u32>> {
        self.need_running("what a user manager runs")?;
        let [.., manager] = user_manager_levels(uid);
        // A group, and whether it is one of the unit's.
        let mut open = VecDeque::from([(manager, false)]);
        for _ in 0..MOST_GROUPS {
            let Some((path, is_its)) = open.pop_front() else { break };
            let Some(entries) = self.list(&path).or_absent()? else { continue };
            let below = |name: &str| is_its || name == unit || name.ends_with(".slice");
            let below = entries.iter().filter(|entry| entry.is_dir && below(&entry.name));
            open.extend(below.map(|entry| (format!("{path}/{}", entry.name), is_its || entry.name == unit)));
            if !is_its {
                continue;
            }
            let pids = self.pids_in(&path)?;
            if !pids.is_empty() {
                return Ok(pids);
            }
        }
        Ok(Vec::new())
    }

    /// A process of another PID namespace is listed as 0, and left out.
    fn pids_in(&self, group: &str) -> Fact<Vec<u32>> {
        let source = self.source(&format!("{group}/cgroup.procs")).or_absent()?;
        let pids = source.iter().flat_map(|source| source.lines());
        Ok(pids.filter_map(|(_, line)| line.trim().parse().ok()).filter(|pid| *pid > 0).collect())
    }

    /// The processes below the user manager of `uid`, by their IDs.
    ///
    /// # Errors
    /// In an image root, and where a control group cannot be read. One that ends meanwhile is left out.
    pub fn user_manager_processes(&self, uid: u32) -> Fact<Vec<Member>> {
        self.need_running("what a user manager runs")?;
        let [.., manager] = user_manager_levels(uid);
        let mut members = Vec::new();
        let mut open = vec![(manager, 0)];
        let mut groups = 0;
        while let Some((path, depth)) = open.pop() {
            groups += 1;
            if groups > MOST_GROUPS || members.len() > MOST {
                break;
            }
            let Some(entries) = self.list(&path).or_absent()? else { continue };
            if depth < DEEPEST {
                let below = entries.iter().filter(|entry| entry.is_dir);
                open.extend(below.map(|entry| (format!("{path}/{}", entry.name), depth + 1)));
            }
            let pids = self.pids_in(&path)?;
            let group = path.rsplit('/').next().unwrap_or_default();
            members.extend(pids.into_iter().map(|pid| Member { pid, group: group.to_owned() }));
        }
        members.sort_by_key(|member| member.pid);
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use crate::facts::testing::empty_host;

    #[test]
    fn processes_of_one_unit() {
        let manager = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
        let unit = format!("{manager}/app.slice/k3s-rootless.service");
        let host = empty_host()
            .file(&format!("{manager}/init.scope/cgroup.procs"), "447\n")
            .file(&format!("{manager}/app.slice/web.service/cgroup.procs"), "600\n")
            .file(&format!("{unit}/cgroup.procs"), "");
        let of = |host: crate::facts::testing::TestHost| {
            host.facts().user_unit_processes(1000, "k3s-rootless.service")
        };
        assert_eq!(of(host.clone()), Ok(vec![]));
        let evacuated = host.clone().file(&format!("{unit}/k3s_evac/cgroup.procs"), "501\n500\n0\n");
        assert_eq!(of(evacuated), Ok(vec![501, 500]));
        assert!(
            of(host
                .clone()
                .path(&format!("{unit}/cgroup.procs"), |r| r.read_error = Some("denied".to_owned())))
            .is_err()
        );
        assert!(of(host.image()).is_err());
        assert_eq!(of(empty_host()), Ok(vec![]));
    }

    #[test]
    fn units_and_what_is_below_them() {
        let manager = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
        let facts = empty_host()
            .file(&format!("{manager}/init.scope/cgroup.procs"), "447\n448\n")
            .file(&format!("{manager}/app.slice/k3s-rootless.service/k3s_evac/cgroup.procs"), "500\n0\n")
            .file("/sys/fs/cgroup/user.slice/user-1000.slice/session-1.scope/cgroup.procs", "9\n")
            .facts();
        let found = facts.user_manager_processes(1000).unwrap();
        let pids: Vec<u32> = found.iter().map(|member| member.pid).collect();
        assert_eq!(pids, [447, 448, 500]);
        assert_eq!((found[0].group.as_str(), found[2].group.as_str()), ("init.scope", "k3s_evac"));
        assert!(empty_host().facts().user_manager_processes(1000).unwrap().is_empty());
        assert!(empty_host().image().facts().user_manager_processes(1000).is_err());
    }
}
