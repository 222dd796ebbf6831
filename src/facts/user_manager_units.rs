//! What a user manager runs: the units whose control groups are below its own (`systemd.slice(5)`; the
//! tree below `user@UID.service`). It is what a restart of the user manager ends.

use super::Facts;
use super::cgroup::user_manager_levels;
use crate::host::{Fact, OrAbsent};

/// Slices are nested; units in them are not looked into.
const DEEPEST: usize = 8;
/// More than anybody reads.
const MOST: usize = 200;

impl Facts {
    /// The services and scopes that run below the user manager of `uid`, sorted by name.
    ///
    /// # Errors
    /// In an image root, and where a control group cannot be listed.
    pub fn units_of_user_manager(&self, uid: u32) -> Fact<Vec<String>> {
        self.need_running("what a user manager runs")?;
        let [.., manager] = user_manager_levels(uid);
        let mut units = Vec::new();
        let mut open = vec![(manager, 0)];
        while let Some((group, depth)) = open.pop() {
            let Some(entries) = self.list(&group).or_absent()? else { continue };
            for entry in entries.iter().filter(|entry| entry.is_dir) {
                if entry.name.ends_with(".slice") && depth < DEEPEST {
                    open.push((format!("{group}/{}", entry.name), depth + 1));
                } else if [".service", ".scope"].iter().any(|end| entry.name.ends_with(end)) {
                    units.push(entry.name.clone());
                }
            }
        }
        // The user manager itself is in a unit of this name.
        units.retain(|unit| unit != "init.scope");
        units.sort();
        units.truncate(MOST);
        Ok(units)
    }
}

#[cfg(test)]
mod tests {
    use crate::facts::testing::empty_host;

    #[test]
    fn units_are_found_in_slices() {
        let manager = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
        let facts = empty_host()
            .file(&format!("{manager}/init.scope/cgroup.procs"), "1\n")
            .file(&format!("{manager}/app.slice/work.service/cgroup.procs"), "2\n")
            .file(&format!("{manager}/user.slice/user-libpod.slice/libpod-1.scope/cgroup.procs"), "3\n")
            .facts();
        assert_eq!(facts.units_of_user_manager(1000).unwrap(), ["libpod-1.scope", "work.service"]);
        assert_eq!(facts.units_of_user_manager(1001), Ok(Vec::new()));
    }
}
