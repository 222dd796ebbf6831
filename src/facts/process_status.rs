//! What the kernel shows of a process (`proc_pid_status(5)`): whose it is, and what it may become.

use std::rc::Rc;

use super::cgroup::user_manager_levels;
use super::{Facts, Source, Sourced};
use crate::host::{Fact, Unread};

/// A process, as far as `/proc/PID/status` has these lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessStatus {
    /// The name of the command.
    pub name: String,
    /// The real, effective, saved and file system UID, as the initial user namespace has them.
    pub uids: Option<Sourced<[u32; 4]>>,
    /// Whether it can gain no privileges by executing a program (Linux since 4.10 shows it).
    pub no_new_privileges: Option<Sourced<bool>>,
}

impl ProcessStatus {
    /// Reads `/proc/PID/status`.
    pub fn parse(source: &Source) -> ProcessStatus {
        let mut status = ProcessStatus { name: String::new(), uids: None, no_new_privileges: None };
        for (line, text) in source.lines() {
            let Some((key, value)) = text.split_once(':') else { continue };
            let value = value.trim();
            match key {
                "Name" => value.clone_into(&mut status.name),
                "Uid" => {
                    let uids: Vec<u32> = value.split_whitespace().map_while(|id| id.parse().ok()).collect();
                    status.uids = uids.try_into().ok().map(|uids| source.on(line, text, uids));
                }
                "NoNewPrivs" => {
                    let known = matches!(value, "0" | "1");
                    status.no_new_privileges = known.then(|| source.on(line, text, value == "1"));
                }
                _ => {}
            }
        }
        status
    }
}

impl Facts {
    /// The status of a process.
    ///
    /// # Errors
    /// When it cannot be read (anyone may, unless `/proc` is mounted with `hidepid=`), or nothing runs.
    pub fn process_status(&self, pid: u32) -> Fact<Rc<ProcessStatus>> {
        self.status_of(&pid.to_string())
    }

    /// The status of edgeprep itself: what it has of it is what the session that started it has.
    ///
    /// # Errors
    /// As [`Facts::process_status`].
    pub fn own_status(&self) -> Fact<Rc<ProcessStatus>> {
        self.status_of("self")
    }

    /// The status of the user manager of `uid`: of a process in its own cgroup.
    ///
    /// # Errors
    /// Without a v2 hierarchy, where no user manager runs, and as [`Facts::process_status`].
    pub fn user_manager_status(&self, uid: u32) -> Fact<Rc<ProcessStatus>> {
        let [.., cgroup] = user_manager_levels(uid);
        let path = format!("{cgroup}/init.scope/cgroup.procs");
        let source = self.source(&path)?;
        let pid = source.lines().find_map(|(_, line)| line.trim().parse().ok());
        self.process_status(pid.ok_or(Unread::Absent { path })?)
    }

    fn status_of(&self, process: &str) -> Fact<Rc<ProcessStatus>> {
        self.memo_fact(process, || {
            self.need_running("the status of a process")?;
            Ok(ProcessStatus::parse(&*self.source(&format!("/proc/{process}/status"))?))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::{empty_host, fixture};

    /// fusermount3 on Linux 6.18, shortened.
    const TEXT: &str = "\
Name:\tfusermount3
Umask:\t0022
State:\tS (sleeping)
Uid:\t1000\t0\t0\t1000
Gid:\t1000\t1000\t1000\t1000
CapPrm:\t000001ffffffffff
NoNewPrivs:\t0
Seccomp:\t0
";

    #[test]
    fn who_it_is_and_what_it_may_become() {
        let status = ProcessStatus::parse(&Source::new("/proc/77/status", TEXT));
        assert_eq!(status.name, "fusermount3");
        assert_eq!(status.uids.map(|uids| uids.value), Some([1000, 0, 0, 1000]));
        let privileges = status.no_new_privileges.unwrap();
        assert_eq!((privileges.value, privileges.at.line), (false, Some(7)));
    }

    #[test]
    fn what_is_not_shown_is_not_known() {
        let status =
            ProcessStatus::parse(&Source::new("/proc/77/status", "Name:\tx\nUid:\t1000\nNoNewPrivs:\n"));
        assert_eq!((status.uids, status.no_new_privileges), (None, None));
    }

    #[test]
    fn the_user_manager_is_in_its_own_cgroup() {
        let processes = format!("{}/init.scope/cgroup.procs", user_manager_levels(1000)[3]);
        let host = fixture("debian-13").file(&processes, "447\n").file("/proc/447/status", TEXT);
        assert_eq!(host.facts().user_manager_status(1000).unwrap().name, "fusermount3");
        assert!(empty_host().facts().user_manager_status(1000).unwrap_err().is_absent());
        assert!(empty_host().image().facts().own_status().is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(((Name|Uid|NoNewPrivs):)?[0-9a-z\t ]{0,12}\n){0,6}|.{0,60}") {
            let _ = ProcessStatus::parse(&Source::new("/proc/1/status", text));
        }
    }
}
