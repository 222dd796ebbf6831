//! The checks: one file each, domain first. A check is a static with a function from facts and
//! requirements to an [`Outcome`]; it cannot name the host, so it cannot read behind the facts.
//!
//! The registry is an explicit list. Its order is the order of reports: what breaks everything first.

mod beaten;
mod boot_remedy;
mod device;
mod install;
#[cfg(test)]
mod testing;
mod variable;

use crate::facts::Facts;
use crate::facts::podman::Podman;
use crate::facts::session::ServiceManager;
use crate::facts::users::User;
use crate::finding::{Level, Outcome};
use crate::host::Fact;
use crate::requirements::{Demand, Requirements};

use install::install;
pub(crate) use ports_free::published as published_ports;

/// One check.
#[derive(Debug)]
pub struct Check {
    /// The public name; it never changes.
    pub id: &'static str,
    /// The most that can depend on it.
    pub level: Level,
    /// The documentation: a summary line, then the sections that a test demands.
    pub doc: &'static str,
    /// What it does.
    pub run: Run,
}

/// What a check looks at.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// The host, once.
    Host(fn(&Facts, &Requirements) -> Outcome),
    /// Each user whose rootless stacks are looked at.
    User(fn(&Facts, &Requirements, &User) -> Outcome),
}

impl Check {
    /// The first line of the documentation.
    pub fn summary(&self) -> &'static str {
        self.doc.lines().next().unwrap_or_default().trim()
    }
}

/// Declares the modules of the checks and the registry in one list.
macro_rules! registry {
    ($($module:ident::$check:ident,)+) => {
        $(mod $module;)+

        /// All checks, in the order of reports.
        pub static ALL: &[&Check] = &[$(&$module::$check),+];
    };
}

registry! {
    systemd_init::SYSTEMD_INIT,
    user_account::USER_ACCOUNT,
    kernel_release::KERNEL_RELEASE,
    kernel_modules_directory::KERNEL_MODULES_DIRECTORY,
    cgroup_version::CGROUP_VERSION,
    cgroup_controllers::CGROUP_CONTROLLERS,
    kernel_arguments::KERNEL_ARGUMENTS,
    userns_limit::USERNS_LIMIT,
    namespace_limits::NAMESPACE_LIMITS,
    userns_clone::USERNS_CLONE,
    userns_apparmor::USERNS_APPARMOR,
    proc_mount::PROC_MOUNT,
    idmap_helpers::IDMAP_HELPERS,
    subid_range::SUBID_RANGE,
    subid_overlap::SUBID_OVERLAP,
    subid_format::SUBID_FORMAT,
    user_manager::USER_MANAGER,
    runtime_directory::RUNTIME_DIRECTORY,
    cgroup_delegation::CGROUP_DELEGATION,
    cpuset_processes::CPUSET_PROCESSES,
    no_new_privileges::NO_NEW_PRIVILEGES,
    user_linger::USER_LINGER,
    kill_user_processes::KILL_USER_PROCESSES,
    user_manager_limits::USER_MANAGER_LIMITS,
    user_tasks::USER_TASKS,
    user_resources::USER_RESOURCES,
    user_oomd::USER_OOMD,
    module_available::MODULE_AVAILABLE,
    module_blacklist::MODULE_BLACKLIST,
    module_loaded::MODULE_LOADED,
    tun_device::TUN_DEVICE,
    fuse_device::FUSE_DEVICE,
    storage_filesystem::STORAGE_FILESYSTEM,
    storage_mount::STORAGE_MOUNT,
    storage_driver::STORAGE_DRIVER,
    selinux::SELINUX,
    disk_space::DISK_SPACE,
    image_copy_directory::IMAGE_COPY_DIRECTORY,
    stack_programs::STACK_PROGRAMS,
    podman_userns::PODMAN_USERNS,
    podman_version::PODMAN_VERSION,
    podman_configuration::PODMAN_CONFIGURATION,
    oci_runtime::OCI_RUNTIME,
    podman_network::PODMAN_NETWORK,
    rootless_network::ROOTLESS_NETWORK,
    pasta_apparmor::PASTA_APPARMOR,
    slirp4netns_version::SLIRP4NETNS_VERSION,
    bypass4netns::BYPASS4NETNS,
    pod_pause::POD_PAUSE,
    podman_socket::PODMAN_SOCKET,
    docker_host::DOCKER_HOST,
    container_engine::CONTAINER_ENGINE,
    k3d_network::K3D_NETWORK,
    engine_settings::ENGINE_SETTINGS,
    container_logs::CONTAINER_LOGS,
    minikube_rootless::MINIKUBE_ROOTLESS,
    k3s_configuration::K3S_CONFIGURATION,
    k3s_service::K3S_SERVICE,
    container_units::CONTAINER_UNITS,
    quadlet_generator::QUADLET_GENERATOR,
    quadlet_files::QUADLET_FILES,
    ip_forward::IP_FORWARD,
    rp_filter::RP_FILTER,
    bridge_netfilter::BRIDGE_NETFILTER,
    sysctl_values::SYSCTL_VALUES,
    ports_free::PORTS_FREE,
    workload_manifests::WORKLOAD_MANIFESTS,
    workload_paths::WORKLOAD_PATHS,
    workload_privileges::WORKLOAD_PRIVILEGES,
    workload_memory::WORKLOAD_MEMORY,
    subnet_overlap::SUBNET_OVERLAP,
    ipv6::IPV6,
    interface_mtu::INTERFACE_MTU,
    unprivileged_ports::UNPRIVILEGED_PORTS,
    ping_group_range::PING_GROUP_RANGE,
    inotify_limits::INOTIFY_LIMITS,
    key_limits::KEY_LIMITS,
    kernel_options::KERNEL_OPTIONS,
    mount_propagation::MOUNT_PROPAGATION,
    page_size::PAGE_SIZE,
    memory_size::MEMORY_SIZE,
    cpu_count::CPU_COUNT,
    systemd_version::SYSTEMD_VERSION,
    machine_id::MACHINE_ID,
    host_name::HOST_NAME,
    name_servers::NAME_SERVERS,
    system_clock::SYSTEM_CLOCK,
}

/// Defines the static of a check. Its doc comment is the text of `edgeprep explain`. It stands below the
/// registry, so that the files of checks import it like anything else they use.
macro_rules! check {
    ($(#[doc = $doc:literal])+ $name:ident, $id:literal, $level:ident, $scope:ident($run:path)) => {
        $(#[doc = $doc])+
        pub(super) static $name: crate::checks::Check = crate::checks::Check {
            id: $id,
            level: crate::finding::Level::$level,
            doc: concat!($($doc, "\n"),+),
            run: crate::checks::Run::$scope($run),
        };
    };
}
pub(crate) use check;

/// The check with this id.
pub fn by_id(id: &str) -> Option<&'static Check> {
    ALL.iter().copied().find(|check| check.id == id)
}

/// Whether OpenRC starts the services of this host, so that there is no logind to look at. Where that
/// cannot be told, the check's own facts say why.
fn openrc(facts: &Facts) -> bool {
    facts.service_manager() == Ok(ServiceManager::OpenRc)
}

/// The outcome of a check of something that belongs to Podman, which `look` adds to. Where there is no
/// Podman, `stack-programs` says so, and the rest comes with its package.
fn of_podman(
    facts: &Facts,
    user: &User,
    demands: &[Demand],
    look: impl FnOnce(&Podman, &mut Outcome) -> Fact<()>,
) -> Outcome {
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    let mut outcome = Outcome::default();
    let looked = match facts.podman(user) {
        Ok(Some(podman)) => look(&podman, &mut outcome),
        Ok(None) => return Outcome::skip("podman is not installed"),
        Err(why) => Err(why),
    };
    if let Err(why) = looked {
        outcome.unknown_all(demands, &user.name, &why);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sections of a check's documentation, in order.
    const SECTIONS: [&str; 4] = ["## What is looked at", "## Why it matters", "## Repair", "## Sources"];

    /// The files of the folder that are no checks.
    const SHARED: [&str; 7] = ["beaten", "boot-remedy", "device", "install", "mod", "testing", "variable"];

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the folder is compared with the registry")]
    fn the_registry_is_the_folder() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/checks");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                entry.unwrap().file_name().into_string().unwrap().replace(".rs", "").replace('_', "-")
            })
            .filter(|name| !SHARED.contains(&name.as_str()) && !name.ends_with("-tests"))
            .collect();
        let mut ids: Vec<String> = ALL.iter().map(|check| check.id.to_owned()).collect();
        files.sort();
        ids.sort();
        assert_eq!(files, ids, "one file per check, named after its id");
    }

    #[test]
    fn every_check_is_documented() {
        for check in ALL {
            let lines: Vec<&str> = check.doc.lines().map(str::trim).collect();
            let headings: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with('#')).collect();
            assert_eq!(headings, SECTIONS, "{}", check.id);
            let summary = check.summary();
            assert!(summary.len() <= 72 && !summary.ends_with('.'), "{}: {summary:?}", check.id);
            let sources = check.doc.split("## Sources").nth(1).unwrap();
            assert!(sources.lines().filter(|line| line.trim().starts_with("- ")).count() > 0, "{}", check.id);
            for line in lines {
                assert!(line.chars().count() <= 100, "{}: a long line: {line}", check.id);
            }
        }
    }
}
