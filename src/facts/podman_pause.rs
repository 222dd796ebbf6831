//! The user namespace that Podman keeps: its pause process holds it between commands, and every `podman`
//! of the user joins it, with the IDs that were mapped when it was made (podman: pkg/rootless/
//! rootless_linux.go, `joinUserAndMountNS`; pkg/util/utils.go, `GetRootlessPauseProcessPidPath`).

use super::{Evidence, Facts, Source};
use crate::host::{Fact, OrAbsent, Unread};

/// A user namespace that a pause process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldNamespace {
    /// The pause process.
    pub pid: u32,
    /// How many UIDs are mapped in it, the user's own included.
    pub uids: u64,
    /// How many GIDs.
    pub gids: u64,
    /// Whether it is the host's own: Podman does not look at what kind of process has the PID, tries to join its
    /// namespace, and fails with one that it is in already.
    pub is_hosts: bool,
    /// Where that was read.
    pub at: [Evidence; 2],
}

/// The file in which Podman keeps the PID of the user's pause process.
pub fn pause_pid_path(uid: u32) -> String {
    format!("/run/user/{uid}/libpod/tmp/pause.pid")
}

impl Facts {
    /// The namespace that Podman of this user goes on with; `None` where it makes a new one.
    ///
    /// # Errors
    /// In an image root, and where the file or the maps of the process cannot be read.
    pub fn podman_namespace(&self, uid: u32) -> Fact<Option<HeldNamespace>> {
        self.need_running("the user namespace that Podman holds")?;
        let path = pause_pid_path(uid);
        let Some(source) = self.source(&path).or_absent()? else { return Ok(None) };
        let Ok(pid) = source.text().trim().parse::<u32>() else {
            return Err(Unread::Malformed {
                path,
                line: Some(1),
                expected: "expected the PID of a process".to_owned(),
            });
        };
        // What it says may be a left-over, and any process may have that PID now. Podman goes on with every one
        // that it may signal (`TryJoinFromFilePaths`).
        match self.stat(&format!("/proc/{pid}")).or_absent()? {
            Some(stat) if stat.uid == uid => {}
            _ => return Ok(None),
        }
        let (uids, gids) =
            (self.source(&format!("/proc/{pid}/uid_map"))?, self.source(&format!("/proc/{pid}/gid_map"))?);
        let at = [line(&uids), line(&gids)];
        let is_hosts = is_hosts(&uids);
        Ok(Some(HeldNamespace { pid, uids: mapped(&uids), gids: mapped(&gids), is_hosts, at }))
    }
}

fn line(source: &Source) -> Evidence {
    source.on(1, &source.text().split_whitespace().collect::<Vec<_>>().join(" "), ()).at
}

/// The IDs of a map: the third column of `user_namespaces(7)`, "User and group ID mappings".
fn mapped(source: &Source) -> u64 {
    let count = |line: &str| line.split_whitespace().nth(2).and_then(|n| n.parse::<u64>().ok());
    source.lines().filter_map(|(_, line)| count(line)).sum()
}

/// The map of the first user namespace (Linux: `kernel/user.c`, `init_user_ns`).
fn is_hosts(source: &Source) -> bool {
    source.text().split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use crate::facts::testing::{TestHost, fixture};

    fn host() -> TestHost {
        fixture("debian-13")
            .file("/run/user/1000/libpod/tmp/pause.pid", "487")
            .file("/proc/487/uid_map", "         0       1000          1\n         1     100000      65536\n")
            .file("/proc/487/gid_map", "         0       1000          1\n")
            .dir("/proc/487", "0555", 1000)
    }

    #[test]
    fn the_ids_of_the_pause_process() {
        let held = host().facts().podman_namespace(1000).unwrap().unwrap();
        assert_eq!((held.pid, held.uids, held.gids), (487, 65_537, 1));
        assert_eq!(held.at[1].to_string(), "/proc/487/gid_map:1");
    }

    #[test]
    fn a_pid_that_a_process_outside_has_now() {
        assert!(!host().facts().podman_namespace(1000).unwrap().unwrap().is_hosts);
        let reused = host().file("/proc/487/uid_map", "         0          0 4294967295\n");
        assert!(reused.facts().podman_namespace(1000).unwrap().unwrap().is_hosts);
    }

    #[test]
    fn a_pid_that_is_nobodys_or_anothers() {
        let gone = host().file("/run/user/1000/libpod/tmp/pause.pid", "488\n");
        assert_eq!(gone.without("/proc/488").facts().podman_namespace(1000).unwrap(), None);
        let anothers = host().dir("/proc/487", "0555", 0);
        assert_eq!(anothers.facts().podman_namespace(1000).unwrap(), None);
    }

    #[test]
    fn no_file_or_none_of_podmans() {
        let none = host().without("/run/user/1000/libpod/tmp/pause.pid");
        assert_eq!(none.facts().podman_namespace(1000).unwrap(), None);
        let empty = host().file("/run/user/1000/libpod/tmp/pause.pid", "");
        let error = empty.facts().podman_namespace(1000).unwrap_err();
        assert_eq!(error.to_string(), "/run/user/1000/libpod/tmp/pause.pid:1: expected the PID of a process");
    }
}
