//! Desired state, as findings ask for it, and what a person would type to reach it.
//!
//! A setting says what shall hold ("sysctl K is V"), not which file says so.

use std::borrow::Cow;

use crate::facts::cgroup::Controller;

/// The administrator's drop-in for delegation. The name is the one that every guide uses.
pub const DELEGATE_DROP_IN: &str = "/etc/systemd/system/user@.service.d/90-rootless.conf";
/// Sorts after the vendor's 10 to 50 and before a site's own `99-`.
pub const SYSCTL_FILE: &str = "/etc/sysctl.d/90-rootless.conf";
const MODULES_LOAD_FILE: &str = "/etc/modules-load.d/rootless.conf";
const RELOAD: &str = "sudo systemctl daemon-reload";
const LINGER_DIR: &str = "/var/lib/systemd/linger";

/// One thing that shall hold on the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// These controllers are delegated to every user manager.
    Delegation(Vec<Controller>),
    /// The running user manager of this user has, and hands on, what is configured to be delegated.
    DelegationInEffect {
        /// The user's name.
        user: String,
        /// Their UID.
        uid: u32,
    },
    /// A sysctl has a value, now and at boot.
    Sysctl {
        /// The key, with dots.
        key: String,
        /// The value.
        value: String,
    },
    /// A sysctl has, now, the value that a file gives it at boot.
    SysctlInEffect {
        /// The key, with dots.
        key: String,
        /// The value.
        value: String,
    },
    /// A module is loaded, now and at boot.
    Module(String),
    /// A module that a file loads at boot is loaded now.
    ModuleInEffect(String),
    /// This user's manager starts at boot and outlives sessions.
    Linger(String),
    /// A user has a subordinate ID range of at least `count` in both files.
    SubordinateIds {
        /// The user's name.
        user: String,
        /// The first free ID that was found.
        start: u32,
        /// How many.
        count: u32,
    },
    /// A file has these permission bits.
    FileMode {
        /// The file.
        path: String,
        /// The bits.
        mode: u32,
    },
    /// A file has this capability, permitted and effective (`capabilities(7)`, "File capabilities").
    FileCapability {
        /// The file.
        path: String,
        /// The capability, as `setcap(8)` names it: `cap_setuid` or `cap_setgid`.
        capability: &'static str,
    },
    /// A unit of the user manager is enabled, and runs.
    UserUnit {
        /// Whose.
        user: String,
        /// The unit.
        unit: String,
    },
    /// A unit of the user manager that is enabled runs.
    UserUnitInEffect {
        /// Whose.
        user: String,
        /// The unit.
        unit: String,
    },
    /// User managers, and so their units, are started with this limit (`systemd.exec(5)`, "Process
    /// Properties").
    UserManagerLimit {
        /// The directive, such as `LimitNOFILE`.
        directive: &'static str,
        /// Its value.
        value: String,
    },
    /// The slice of each user may hold this many tasks: `TasksMax=` of `user-UID.slice`.
    SliceTasks(String),
    /// Processes of a user outlive their sessions: `KillUserProcesses=no` of `logind.conf(5)`.
    KeepUserProcesses,
    /// A key of `containers.conf(5)` has a value for this user.
    Engine {
        /// Whose.
        user: String,
        /// The table, such as `engine`.
        table: &'static str,
        /// The key.
        key: String,
        /// The value, as TOML has it.
        value: String,
    },
    /// Services and logins of this user start with a variable (`environment.d(5)`).
    Environment {
        /// Whose.
        user: String,
        /// The variable.
        name: String,
        /// Its value.
        value: String,
    },
    /// A device node has these permission bits, now and whenever it is made.
    DeviceMode {
        /// The node, below `/dev`.
        path: String,
        /// The bits.
        mode: u32,
    },
    /// The user manager has a unit that runs K3s without root.
    K3sService {
        /// Whose.
        user: String,
        /// The path of k3s.
        program: String,
        /// Variables of the drop-in: `K3S_ROOTLESS_*` and `K3S_*`.
        environment: Vec<(String, String)>,
    },
    /// An AppArmor profile that lets a program create user namespaces.
    UsernsProfile {
        /// The program's real path.
        program: String,
    },
}

impl Setting {
    /// Whether another file can win over the one that says so.
    pub fn has_precedence(&self) -> bool {
        matches!(
            self,
            Setting::Delegation(_)
                | Setting::Sysctl { .. }
                | Setting::Module(_)
                | Setting::UserManagerLimit { .. }
                | Setting::SliceTasks(_)
                | Setting::KeepUserProcesses
                | Setting::Engine { .. }
        )
    }
}

/// A word as a shell takes it, for commands that people copy: names come from hosts that may mean harm.
pub fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if !word.is_empty() && word.chars().all(plain) && !word.starts_with('-') {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', "'\\''")))
}

/// The commands that reach these settings on a running system, or write them below `$ROOT`.
/// Settings of a kind share a command.
pub fn by_hand(settings: &[Setting], running: bool) -> Vec<String> {
    let (root, sudo) = if running { ("", "sudo ") } else { ("$ROOT", "") };
    let append = |path: &str, lines: &[String]| {
        let words: Vec<String> = lines.iter().map(|line| format!("'{line}'")).collect();
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        let append = format!("printf '%s\\n' {} | {sudo}tee -a {root}{path}", words.join(" "));
        // A running Debian has the folder; an image of few packages may not.
        if running { append } else { format!("mkdir -p {root}{dir} && {append}") }
    };
    let drop_in = |write: &mut Vec<String>, dir: &str, section: &str, key: &str, value: &str| {
        write.push(format!("{sudo}mkdir -p {root}{dir}"));
        write.push(format!(
            "printf '[{section}]\\n{key}={value}\\n' | {sudo}tee -a {root}{dir}/90-rootless.conf"
        ));
    };
    let mut write = Vec::new();
    let mut activate = Vec::new();
    let mut sysctls = Vec::new();
    let mut modules = Vec::new();
    for setting in settings {
        match setting {
            Setting::Sysctl { key, value } => sysctls.push(format!("{key} = {value}")),
            Setting::Module(name) => modules.push(name.clone()),
            Setting::Delegation(controllers) => {
                let names: Vec<&str> = controllers.iter().map(|c| c.as_str()).collect();
                let dir = DELEGATE_DROP_IN.rsplit_once('/').map_or("", |(dir, _)| dir);
                write.push(format!("{sudo}mkdir -p {root}{dir}"));
                write.push(format!(
                    "printf '[Service]\\nDelegate={}\\n' | {sudo}tee {root}{DELEGATE_DROP_IN}",
                    names.join(" ")
                ));
                activate.push(RELOAD.to_owned());
            }
            // Seen with systemd 252, 257 and 262: the reload alone is enough for the kernel on 252
            // and 262, the unit is what it takes on 257; and on all of them the user manager hands on
            // only what there was when it was last executed.
            Setting::DelegationInEffect { user, uid } => {
                activate.push(RELOAD.to_owned());
                activate.push(format!("sudo systemd-run --quiet --wait --slice=user-{uid}.slice true"));
                activate.push(format!("sudo systemctl --user -M {}@ daemon-reexec", quoted(user)));
            }
            Setting::Linger(user) => {
                let user = quoted(user);
                activate.push(format!("sudo loginctl enable-linger {user}"));
                if !running {
                    write.push(format!("mkdir -p {root}{LINGER_DIR}"));
                    write.push(format!("touch {root}{LINGER_DIR}/{user}"));
                }
            }
            Setting::SubordinateIds { user, start, count } => {
                let end = u64::from(*start) + u64::from(*count) - 1;
                let at = if running { String::new() } else { format!("--prefix {root} ") };
                let user = quoted(user);
                write.push(format!(
                    "{sudo}usermod {at}--add-subuids {start}-{end} --add-subgids {start}-{end} {user}"
                ));
            }
            Setting::FileMode { path, mode } => {
                write.push(format!("{sudo}chmod {mode:04o} {root}{}", quoted(path)));
            }
            Setting::UserUnit { user, unit } => {
                let user = quoted(user);
                activate.push(format!("sudo systemctl --user -M {user}@ enable --now {unit}"));
                if !running {
                    write.push(format!("systemctl --root={root} --global enable {unit}"));
                }
            }
            Setting::FileCapability { path, capability } => {
                write.push(format!("{sudo}setcap {capability}+ep {root}{}", quoted(path)));
            }
            Setting::UserUnitInEffect { user, unit } => {
                activate.push(format!("sudo systemctl --user -M {}@ start {unit}", quoted(user)));
            }
            Setting::UserManagerLimit { directive, value } => {
                drop_in(&mut write, "/etc/systemd/system/user@.service.d", "Service", directive, value);
                activate.push(RELOAD.to_owned());
            }
            Setting::SliceTasks(value) => {
                drop_in(&mut write, "/etc/systemd/system/user-.slice.d", "Slice", "TasksMax", value);
                activate.push(RELOAD.to_owned());
            }
            Setting::KeepUserProcesses => {
                drop_in(&mut write, "/etc/systemd/logind.conf.d", "Login", "KillUserProcesses", "no");
                activate.push("sudo systemctl reload-or-restart systemd-logind".to_owned());
            }
            Setting::Engine { table, key, value, .. } => {
                let dir = "/etc/containers/containers.conf.d";
                drop_in(&mut write, dir, &table.to_lowercase(), key, value);
            }
            Setting::Environment { name, value, .. } => {
                write.push(append("/etc/environment.d/90-rootless.conf", &[format!("{name}={value}")]));
            }
            Setting::DeviceMode { path, mode } => {
                let name = path.trim_start_matches("/dev/").rsplit('/').next().unwrap_or_default();
                let rule = format!("KERNEL==\"{name}\", MODE=\"{mode:04o}\"");
                write.push(append("/etc/udev/rules.d/90-rootless.rules", &[rule]));
                activate.push(format!("sudo chmod {mode:04o} {path}"));
            }
            Setting::K3sService { .. } => {}
            Setting::SysctlInEffect { key, value } => {
                activate.push(format!("sudo sysctl -w '{key}={value}'"));
            }
            Setting::ModuleInEffect(name) => activate.push(format!("sudo modprobe {}", quoted(name))),
            Setting::UsernsProfile { program } => {
                let name = quoted(&program.trim_start_matches('/').replace('/', ".")).into_owned();
                let profile = format!(
                    "abi <abi/4.0>,\\ninclude <tunables/global>\\n{program} flags=(unconfined) {{\\n  userns,\\n}}\\n"
                );
                write.push(format!("printf '{profile}' | {sudo}tee {root}/etc/apparmor.d/{name}"));
                activate.push(format!("sudo apparmor_parser -r /etc/apparmor.d/{name}"));
            }
        }
    }
    // Keys of a module exist only once it is loaded.
    if !modules.is_empty() {
        write.push(append(MODULES_LOAD_FILE, &modules));
        activate.push(format!("sudo modprobe -a {}", modules.join(" ")));
    }
    if !sysctls.is_empty() {
        write.push(append(SYSCTL_FILE, &sysctls));
        activate.push("sudo sysctl --system".to_owned());
    }
    if running {
        for command in activate {
            if !write.contains(&command) {
                write.push(command);
            }
        }
    }
    write
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_kind_share_a_command() {
        let sysctl = |key: &str| Setting::Sysctl { key: key.to_owned(), value: "1".to_owned() };
        let settings = [sysctl("a.b"), Setting::Module("br_netfilter".to_owned()), sysctl("a.c")];
        assert_eq!(
            by_hand(&settings, true),
            [
                "printf '%s\\n' 'br_netfilter' | sudo tee -a /etc/modules-load.d/rootless.conf",
                "printf '%s\\n' 'a.b = 1' 'a.c = 1' | sudo tee -a /etc/sysctl.d/90-rootless.conf",
                "sudo modprobe -a br_netfilter",
                "sudo sysctl --system",
            ]
        );
        assert_eq!(by_hand(&settings, false).len(), 2, "nothing is activated in an image");
    }

    #[test]
    fn a_command_is_given_once() {
        let in_effect = Setting::DelegationInEffect { user: "edge".to_owned(), uid: 1000 };
        let settings = [Setting::Delegation(vec![Controller::Io]), in_effect.clone()];
        assert_eq!(
            by_hand(&settings, true)[2..],
            [
                "sudo systemctl daemon-reload",
                "sudo systemd-run --quiet --wait --slice=user-1000.slice true",
                "sudo systemctl --user -M edge@ daemon-reexec",
            ]
        );
        assert!(by_hand(&[in_effect], false).is_empty());
    }

    #[test]
    fn names_cannot_leave_their_word() {
        for (word, shown) in [
            ("edge", "edge"),
            ("/home/edge/x.conf", "/home/edge/x.conf"),
            ("x;y", "'x;y'"),
            ("a b", "'a b'"),
            ("$(id)", "'$(id)'"),
            ("it's", "'it'\\''s'"),
            ("-rf", "'-rf'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), shown);
        }
        let linger = by_hand(&[Setting::Linger("x;reboot".to_owned())], true);
        assert_eq!(linger, ["sudo loginctl enable-linger 'x;reboot'"]);
    }

    #[test]
    fn an_image_is_written_below_its_root() {
        assert_eq!(
            by_hand(&[Setting::Delegation(vec![Controller::Cpuset])], false),
            [
                "mkdir -p $ROOT/etc/systemd/system/user@.service.d",
                "printf '[Service]\\nDelegate=cpuset\\n' | tee $ROOT/etc/systemd/system/user@.service.d/90-rootless.conf",
            ]
        );
        assert_eq!(
            by_hand(&[Setting::Linger("edge".to_owned())], false),
            ["mkdir -p $ROOT/var/lib/systemd/linger", "touch $ROOT/var/lib/systemd/linger/edge"]
        );
    }
}
