//! Whether systemd runs, and whether the user manager of a user does: the traces that they leave in
//! the file system, since nothing is asked over D-Bus. What is configured is in `linger` and `unit`.

use std::rc::Rc;

use super::cgroup::{Hierarchy, user_manager_levels};
use super::unit::resolve;
use super::{Evidence, Facts, Sourced};
use crate::host::{Fact, Kind, OrAbsent, Stat, Unread};

/// What there is of a user manager and its bus. Each part can be absent, and each can be denied to
/// us: the runtime directory is closed to all but its owner and root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserManager {
    /// The runtime directory, `/run/user/UID`.
    pub runtime_dir: Fact<Sourced<Stat>>,
    /// The socket of the user bus, `/run/user/UID/bus`.
    pub bus: Fact<Sourced<Stat>>,
    /// The manager's own socket, `/run/user/UID/systemd/private`, which is there while it runs.
    pub private_socket: Fact<Sourced<Stat>>,
    /// The cgroup of `user@UID.service`, which is there while it runs.
    pub cgroup: Fact<Sourced<Stat>>,
}

impl UserManager {
    /// Whether the user manager runs, where cgroups may be of version 1: see
    /// [`Facts::user_manager_runs`]. The socket tells where no cgroup does.
    ///
    /// # Errors
    /// Where neither can be looked at.
    fn runs(&self) -> Fact<bool> {
        if self.cgroup.is_ok() {
            return Ok(true);
        }
        Ok(self.private_socket.clone().or_absent()?.is_some_and(|socket| socket.value.kind == Kind::Socket))
    }
}

/// What starts the services of a system, as far as it matters where they read what is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceManager {
    /// systemd.
    Systemd,
    /// OpenRC: Alpine, Gentoo, Artix.
    OpenRc,
    /// Another one, or none, as in a container.
    Other,
}

impl Facts {
    /// What starts the services: on a running host what has left its trace in `/run` (OpenRC:
    /// `meson.build`, `rc_svcdir`), in an image what is installed.
    ///
    /// # Errors
    /// Where it cannot be looked at.
    pub fn service_manager(&self) -> Fact<ServiceManager> {
        let systemd = if self.running() {
            self.booted_with_systemd()?.value
        } else {
            self.systemd_program()?.is_some()
        };
        if systemd {
            return Ok(ServiceManager::Systemd);
        }
        let traces: &[&str] =
            if self.running() { &["/run/openrc"] } else { &["/sbin/openrc", "/usr/sbin/openrc"] };
        for path in traces {
            if self.stat(path).or_absent()?.is_some() {
                return Ok(ServiceManager::OpenRc);
            }
        }
        Ok(ServiceManager::Other)
    }

    /// The name of the process with PID 1.
    ///
    /// # Errors
    /// In an image root, and where `/proc` cannot be read.
    pub fn init_name(&self) -> Fact<Sourced<String>> {
        self.need_running("the process with PID 1")?;
        let source = self.source("/proc/1/comm")?;
        Ok(source.whole(source.text().trim_end_matches('\n').to_owned()))
    }

    /// Whether the system was booted with systemd, which is what `sd_booted(3)` tells from a
    /// directory.
    ///
    /// # Errors
    /// In an image root.
    pub fn booted_with_systemd(&self) -> Fact<Sourced<bool>> {
        const PATH: &str = "/run/systemd/system";
        self.need_running("whether systemd was booted")?;
        let value = self.stat(PATH).or_absent()?.is_some_and(|stat| stat.kind == Kind::Dir);
        let at = Evidence::path(PATH, if value { "exists" } else { "does not exist" });
        Ok(Sourced { value, at })
    }

    /// Whether the user manager of `uid` runs. On a v2 hierarchy that anyone can see, no cgroup means
    /// no user manager, whatever the runtime directory holds: of a lingering user whose manager was
    /// stopped it stays, sockets included (seen with systemd 257).
    ///
    /// # Errors
    /// In an image root, and where neither its cgroup nor its socket can be looked at.
    pub fn user_manager_runs(&self, uid: u32) -> Fact<bool> {
        let manager = self.user_manager(uid)?;
        let no_cgroup = manager.cgroup.as_ref().is_err_and(Unread::is_absent);
        if no_cgroup && matches!(self.cgroup_is_unified(), Ok(true)) { Ok(false) } else { manager.runs() }
    }

    fn cgroup_is_unified(&self) -> Fact<bool> {
        let hierarchy = self.cgroup_hierarchy()?;
        Ok(hierarchy.as_ref().as_ref().is_some_and(|found| found.value == Hierarchy::Unified))
    }

    /// The program that an image starts as PID 1, if there is one, by its path: what `/sbin/init`
    /// leads to. Without it the initrd of systemd starts systemd itself (systemctl(1), "switch-root").
    ///
    /// # Errors
    /// Where it cannot be looked at.
    pub fn init_program(&self) -> Fact<Option<Sourced<String>>> {
        const PATH: &str = "/sbin/init";
        let Some(_) = self.stat(PATH).or_absent()? else { return Ok(None) };
        let target = self.link_target(PATH)?;
        let value = target.as_deref().map_or_else(|| PATH.to_owned(), |target| resolve("/usr/sbin", target));
        let text = target.map_or_else(|| "is a program".to_owned(), |target| format!("-> {target}"));
        Ok(Some(Sourced { value, at: Evidence::path(PATH, text) }))
    }

    /// The program of systemd, where it is installed.
    ///
    /// # Errors
    /// Where it cannot be looked at.
    pub fn systemd_program(&self) -> Fact<Option<Evidence>> {
        for path in ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"] {
            if self.stat(path).or_absent()?.is_some() {
                return Ok(Some(Evidence::path(path, "exists")));
            }
        }
        Ok(None)
    }

    /// What there is of the user manager of `uid`.
    ///
    /// # Errors
    /// In an image root.
    pub fn user_manager(&self, uid: u32) -> Fact<Rc<UserManager>> {
        self.memo_fact(&uid.to_string(), || {
            self.need_running("the user manager")?;
            let stat = |path: &str| {
                let value = self.stat(path)?;
                let text = format!("mode {:04o}, owner {}:{}", value.mode, value.uid, value.gid);
                Ok(Sourced { value, at: Evidence::path(path, text) })
            };
            let [.., cgroup] = user_manager_levels(uid);
            Ok(UserManager {
                runtime_dir: stat(&format!("/run/user/{uid}")),
                bus: stat(&format!("/run/user/{uid}/bus")),
                private_socket: stat(&format!("/run/user/{uid}/systemd/private")),
                cgroup: stat(&cgroup),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    const CGROUP: &str = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
    const PRIVATE: &str = "/run/user/1000/systemd/private";

    fn socket(host: TestHost, path: &str) -> TestHost {
        host.path(path, |record| record.kind = Some("socket".to_owned()))
    }

    fn runs(host: TestHost) -> Fact<bool> {
        host.facts().user_manager(1000).unwrap().runs()
    }

    #[test]
    fn a_user_manager_is_known_by_its_cgroup_or_its_socket() {
        assert_eq!(runs(empty_host().dir(CGROUP, "0755", 1000)), Ok(true));
        assert_eq!(runs(socket(empty_host(), PRIVATE)), Ok(true));
        assert_eq!(runs(empty_host()), Ok(false));
        let denied = empty_host().error(PRIVATE, "denied");
        assert_eq!(runs(denied.clone()), Err(Unread::Denied { path: PRIVATE.to_owned() }));
        assert_eq!(runs(denied.dir(CGROUP, "0755", 1000)), Ok(true));
    }

    #[test]
    fn on_a_v2_hierarchy_no_cgroup_means_no_user_manager() {
        let denied = empty_host().error(PRIVATE, "denied");
        let mounts = |fs: &str| {
            let line = format!("35 24 0:30 / /sys/fs/cgroup rw shared:9 - {fs} {fs} rw\n");
            denied.clone().file("/proc/self/mountinfo", line).facts().user_manager_runs(1000)
        };
        assert_eq!(mounts("cgroup2"), Ok(false));
        let line = "35 24 0:30 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n";
        let stopped = socket(empty_host().file("/proc/self/mountinfo", line), PRIVATE);
        assert_eq!(stopped.facts().user_manager_runs(1000), Ok(false));
        assert_eq!(mounts("tmpfs"), Err(Unread::Denied { path: PRIVATE.to_owned() }));
    }

    #[test]
    fn the_init_of_an_image_is_what_the_link_leads_to() {
        let init = |target: Option<&str>| {
            let host = empty_host().image().file("/sbin/init", "");
            let host = host.path("/sbin/init", |record| record.link = target.map(str::to_owned));
            host.facts().init_program().unwrap().unwrap().value
        };
        assert_eq!(init(Some("../lib/systemd/systemd")), "/usr/lib/systemd/systemd");
        assert_eq!(init(Some("/lib/systemd/systemd")), "/lib/systemd/systemd");
        assert_eq!(init(None), "/sbin/init");
        assert_eq!(empty_host().image().facts().init_program(), Ok(None));
    }

    #[test]
    fn the_runtime_directory_and_the_bus_come_with_owner_and_mode() {
        let host = socket(empty_host().dir("/run/user/1000", "0700", 1000), "/run/user/1000/bus");
        let manager = host.facts().user_manager(1000).unwrap();
        assert_eq!(manager.runtime_dir.clone().unwrap().at.text, "mode 0700, owner 1000:1000");
        assert_eq!(manager.bus.clone().unwrap().value.kind, Kind::Socket);
    }

    #[test]
    fn openrc_is_known_by_its_directory_and_in_an_image_by_its_program() {
        let manager = |host: TestHost| host.facts().service_manager();
        let openrc = empty_host().file("/run/openrc/softlevel", "default\n");
        assert_eq!(manager(openrc.clone()), Ok(ServiceManager::OpenRc));
        let both = openrc.clone().file("/run/systemd/system/x", "");
        assert_eq!(manager(both), Ok(ServiceManager::Systemd));
        assert_eq!(manager(empty_host()), Ok(ServiceManager::Other));
        assert!(manager(openrc.error("/run/openrc", "denied")).is_err());
        let image = empty_host().image().file("/sbin/openrc", "");
        assert_eq!(manager(image.clone()), Ok(ServiceManager::OpenRc));
        assert_eq!(manager(image.file("/lib/systemd/systemd", "")), Ok(ServiceManager::Systemd));
    }

    #[test]
    fn pid_1_and_systemd() {
        let facts = empty_host().file("/proc/1/comm", "systemd\n").file("/run/systemd/system/x", "").facts();
        assert_eq!(facts.init_name().unwrap().value, "systemd");
        assert!(facts.booted_with_systemd().unwrap().value);
        assert!(!empty_host().facts().booted_with_systemd().unwrap().value);
        assert!(matches!(empty_host().image().facts().booted_with_systemd(), Err(Unread::NotRunning { .. })));
    }
}
