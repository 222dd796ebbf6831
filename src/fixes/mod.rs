//! From settings to what reaches them: files as they shall be, and what makes the running system take
//! notice. One file per kind of artifact; pure.
//!
//! A file of ours that is there already is edited, not written anew: what another fix, for other stacks,
//! or a person put into it stays.

mod apparmor;
mod containers_conf;
mod delegation;
mod device;
mod draft;
mod drop_in;
mod environment;
mod file_mode;
mod k3d_network;
mod k3s_environment;
pub mod k3s_network;
mod k3s_service;
mod kernel_arguments;
mod lines;
mod linger;
mod minikube;
mod modules_load;
mod podman_namespace;
mod sections;
mod subordinate_ids;
mod sysctl;
mod template;
#[cfg(test)]
mod testing;
mod unit_directive;
mod user_unit;

use crate::facts::Facts;
use crate::host::Unread;
use crate::plan::{Activation, Hex, Writer};
use crate::settings::Setting;
use draft::Draft;

/// Where files go that are not a user's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Layer {
    /// Below `/etc`.
    #[default]
    Admin,
    /// Below `/usr`, as the vendor of an image has them.
    Vendor,
}

/// How to reach settings.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where files go.
    pub layer: Layer,
    /// Only files are written; nothing that runs is told.
    pub no_activate: bool,
    /// AppArmor's restriction may be turned off for all programs, instead of lifted for one.
    pub allow_global_userns: bool,
    /// User managers may be restarted where nothing else helps.
    pub allow_restart: bool,
    /// What carries words to the boot loader may be run.
    pub regenerate_boot: bool,
}

/// A path as it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The absolute path on the host. No component of it but the last may be a link of a user's.
    pub path: String,
    /// Who writes it.
    pub by: Writer,
    /// What shall be there.
    pub wanted: Wanted,
}

/// What shall be at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A file with these bytes. One that is there keeps its mode and owner.
    File {
        /// They.
        bytes: Vec<u8>,
        /// The permission bits of a new one.
        mode: u32,
    },
    /// A symbolic link with this text.
    Link(String),
    /// A copy of the file that is at this path, with its mode and owner; it is made before anything else is changed.
    CopyOf(String),
    /// The file that is there, with these permission bits.
    Mode(u32),
    /// The file that is there, with this `security.capability` and without setuid and setgid bits.
    Capability(Hex),
}

/// What is left to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to do, in one sentence without a final period.
    pub summary: String,
    /// What to type.
    pub commands: Vec<String>,
}

/// What reaches a set of settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixes {
    /// Paths as they shall be, each path once.
    pub artifacts: Vec<Artifact>,
    /// What follows the last write, in order, each once.
    pub activations: Vec<Activation>,
    /// What cannot be reached this way, and how else.
    pub manual: Vec<Step>,
}

/// Why there can be no plan: nothing is changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FixError {
    /// Two findings want different values, which is a fault of the policy.
    #[error("{what} shall be both {one} and {other}: change the profile or the site file")]
    Conflict {
        /// Of what.
        what: String,
        /// The one.
        one: String,
        /// The other.
        other: String,
    },
    /// A file that has to be edited cannot be read.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// A value from policy that must not be written.
    #[error("{0}")]
    Refused(String),
    /// A template of ours is broken, which is our own fault.
    #[error("a template of edgeprep's own: {0}")]
    Template(String),
}

/// Adds to a fix what reaches the settings of one kind, and passes over the others.
type Add = fn(&mut Draft<'_>, &[Setting]) -> Result<(), FixError>;

/// All kinds. What an earlier one writes, a later one sees: delegation looks at what the drop-ins grant.
const KINDS: [Add; 18] = [
    drop_in::add,
    modules_load::add,
    sysctl::add,
    subordinate_ids::add,
    podman_namespace::add,
    linger::add,
    file_mode::add,
    apparmor::add,
    device::add,
    delegation::add,
    containers_conf::add,
    environment::add,
    minikube::add,
    k3s_service::add,
    k3d_network::add,
    unit_directive::add,
    kernel_arguments::add,
    user_unit::add,
];

/// What reaches `settings` on the host of `facts`.
///
/// # Errors
/// [`FixError`].
pub fn fixes(facts: &Facts, settings: &[Setting], options: &Options) -> Result<Fixes, FixError> {
    let mut draft = Draft::new(facts, options);
    for add in KINDS {
        add(&mut draft, settings)?;
    }
    Ok(draft.finish())
}

#[cfg(test)]
mod tests {
    use super::testing::{host, managed, settled, vendor};
    use super::*;
    use crate::facts::cgroup::Controller;
    use crate::facts::testing::{TestHost, fixture};
    use crate::host::Unread;

    /// One setting of each kind.
    fn all() -> Vec<Setting> {
        let (user, unit) = (|| "edge".to_owned(), || "podman.socket".to_owned());
        let text = str::to_owned;
        vec![
            Setting::UserUnit { user: user(), unit: unit() },
            Setting::UserUnitInEffect { user: user(), unit: unit() },
            Setting::Linger(user()),
            Setting::UsernsProfile { program: text("/usr/bin/podman") },
            Setting::Sysctl { key: text("net.bridge.x"), value: text("1") },
            Setting::SysctlInEffect { key: text("net.y"), value: text("2") },
            Setting::Module(text("br_netfilter")),
            Setting::ModuleInEffect(text("br_netfilter")),
            Setting::DelegationInEffect { user: user(), uid: 1000 },
            Setting::KeepUserProcesses,
            Setting::Delegation(vec![Controller::Cpuset]),
            Setting::UserManagerLimit { directive: "LimitNOFILE", value: text("1024") },
            Setting::SliceTasks(text("infinity")),
            Setting::SliceTasksInEffect { uid: 1000 },
            Setting::SubordinateIds { user: user(), start: 100_000, count: 65_536 },
            Setting::NewPodmanNamespace { user: user() },
            Setting::FileMode { path: text("/usr/bin/newuidmap"), mode: 0o4755 },
            Setting::FileCapability { path: text("/usr/bin/newgidmap"), capability: "cap_setgid" },
            Setting::Engine { user: user(), table: "engine", key: text("runtime"), value: text("\"crun\"") },
            Setting::Environment { user: user(), name: text("A"), value: text("1") },
            Setting::K3dNetwork(user()),
            Setting::Minikube {
                user: user(),
                path: text("/home/edge/.minikube/config/config.json"),
                key: "rootless",
                value: "true",
            },
            Setting::UnitDirective {
                unit: text("user.slice"),
                section: "Slice",
                key: "MemoryMax",
                value: text("infinity"),
            },
            Setting::UserUnitDirective {
                user: user(),
                unit: text("app.slice"),
                section: "Slice",
                key: "ManagedOOMSwap",
                value: text("auto"),
            },
            Setting::DeviceMode { path: text("/dev/fuse"), mode: 0o666 },
            Setting::K3sService {
                user: user(),
                program: text("/usr/local/bin/k3s"),
                environment: Vec::new(),
            },
        ]
    }

    fn with_everything(host: TestHost) -> TestHost {
        host.file("/usr/lib/systemd/user/podman.socket", "[Install]\nWantedBy=sockets.target\n")
            .file("/proc/sys/kernel/osrelease", "6.1.0\n")
            .file("/proc/cmdline", "")
            .file("/proc/modules", "")
            .file("/usr/lib/modules/6.1.0/modules.dep", "a/br_netfilter.ko:\n")
            .file("/usr/lib/modules/6.1.0/modules.builtin", "")
            .file("/usr/lib/modules/6.1.0/a/br_netfilter.ko", "")
            .file("/usr/bin/newuidmap", "")
            .file("/usr/bin/newgidmap", "")
            .path("/dev/fuse", |record| record.kind = Some("char 10:229".to_owned()))
    }

    #[test]
    fn everything_at_once_in_the_order_in_which_it_depends() {
        let (fixes, _) = settled(&with_everything(managed()), &all(), &Options::default());
        let kinds: Vec<String> = fixes
            .activations
            .iter()
            .map(|a| format!("{a:?}").split([' ', '(']).next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(
            kinds,
            [
                "Reload",
                "SliceLimits",
                "ReloadLogind",
                "LoadModules",
                "Sysctl",
                "Sysctl",
                "DeviceMode",
                "ReloadAppArmor",
                "Linger",
                "Delegation",
                "UserReload",
                "NewPodmanNamespace",
                "UserStart",
                "UserStart",
                "UserStart"
            ]
        );
        let left: Vec<&str> = fixes.manual.iter().map(|step| step.summary.as_str()).collect();
        assert_eq!(left, ["once K3s runs, have kubectl of edge find it"]);
        let mut paths: Vec<&str> = fixes.artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
        assert_eq!(paths.len(), 20);
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), 20, "each path once");
        for artifact in &fixes.artifacts {
            let of_user = matches!(artifact.by, Writer::User(_));
            assert_eq!(of_user, artifact.path.starts_with("/home/edge/"), "{}", artifact.path);
        }
    }

    #[test]
    fn nothing_is_activated_where_nothing_runs_or_shall_be_told() {
        let quiet = Options { no_activate: true, ..Options::default() };
        let (fixes, _) = settled(&with_everything(managed()), &all(), &quiet);
        assert_eq!((fixes.activations.len(), fixes.artifacts.len()), (0, 21), "lingering is a file then");
        for options in [Options::default(), vendor()] {
            let (fixes, _) = settled(&with_everything(host()).image(), &all(), &options);
            assert_eq!(fixes.activations, []);
            assert!(fixes.artifacts.iter().all(|artifact| artifact.by == Writer::System));
            assert!(fixes.artifacts.iter().all(|artifact| !artifact.path.starts_with("/home/")));
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_stops_everything() {
        let denied = with_everything(managed()).error("/etc/sysctl.d/90-rootless.conf", "fifo");
        let error = fixes(&denied.facts(), &all(), &Options::default()).unwrap_err();
        assert!(matches!(error, FixError::Unread(Unread::Special { .. })), "{error}");
        assert_eq!(fixes(&host().facts(), &[], &Options::default()), Ok(Fixes::default()));
    }

    #[test]
    fn a_captured_machine() {
        let settings = [
            Setting::Delegation(vec![Controller::Cpuset, Controller::Io]),
            Setting::DelegationInEffect { user: "edge".to_owned(), uid: 1000 },
            Setting::Module("br_netfilter".to_owned()),
            Setting::Sysctl { key: "net.ipv4.ip_unprivileged_port_start".to_owned(), value: "80".to_owned() },
        ];
        let (fixes, _) = settled(&fixture("debian-13"), &settings, &Options::default());
        assert_eq!(fixes.manual, []);
        let delegated = fixes.activations.iter().find_map(|activation| match activation {
            Activation::Delegation { controllers, .. } => Some(controllers.join(" ")),
            _ => None,
        });
        assert_eq!(delegated.as_deref(), Some("cpu cpuset io memory pids"));
    }
}
