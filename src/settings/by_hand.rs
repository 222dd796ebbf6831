//! What a person would type to reach settings. Every word that comes from a host or from policy is quoted.

use std::borrow::Cow;

use super::{
    DELEGATE_DROP_IN, K3D_NETWORK, K3D_QUADLET, K3S_SERVICE, LOGIND_DROP_IN, SLICE_DROP_IN, SYSCTL_FILE,
    Setting, unit_drop_in,
};

const MODULES_LOAD_FILE: &str = "/etc/modules-load.d/rootless.conf";
const RELOAD: &str = "sudo systemctl daemon-reload";
const LINGER_DIR: &str = "/var/lib/systemd/linger";
/// The program that the unit of K3s names, as it is published.
const K3S_PROGRAM: &str = "/usr/local/bin/k3s";

/// A word as a shell takes it, for commands that people copy: names come from hosts that may mean harm.
pub fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !word.is_empty() && word.chars().all(plain) && !word.starts_with('-') {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', "'\\''")))
}

/// What a person types to have a user run a command, whose words are quoted already.
pub fn as_user(user: &str, command: &str) -> String {
    format!("sudo -Hu {} {command}", quoted(user))
}

/// Prints lines, whatever they hold.
fn print(lines: &[impl AsRef<str>]) -> String {
    let words: Vec<Cow<'_, str>> = lines.iter().map(|line| quoted(line.as_ref())).collect();
    format!("printf '%s\\n' {}", words.join(" "))
}

/// The commands that reach these settings on a running system, or write them below `$ROOT`.
/// Settings of a kind share a command.
pub fn by_hand(settings: &[Setting], running: bool) -> Vec<String> {
    let mut script = Script::new(running);
    for setting in settings {
        script.add(setting);
    }
    script.finish()
}

/// Commands as they are put together.
struct Script {
    running: bool,
    root: &'static str,
    sudo: &'static str,
    write: Vec<String>,
    activate: Vec<String>,
    sysctls: Vec<String>,
    modules: Vec<String>,
    drop_ins: Vec<(String, Vec<String>)>,
}

impl Script {
    fn new(running: bool) -> Script {
        let (root, sudo) = if running { ("", "sudo ") } else { ("$ROOT", "") };
        let none = Vec::new;
        Script {
            running,
            root,
            sudo,
            write: none(),
            activate: none(),
            sysctls: none(),
            modules: none(),
            drop_ins: Vec::new(),
        }
    }

    fn add(&mut self, setting: &Setting) {
        let (root, sudo) = (self.root, self.sudo);
        match setting {
            Setting::Sysctl { key, value } => self.sysctls.push(format!("{key} = {value}")),
            Setting::Module(name) => self.modules.push(name.clone()),
            Setting::Delegation(controllers) => {
                let names: Vec<&str> = controllers.iter().map(|c| c.as_str()).collect();
                self.drop_in(DELEGATE_DROP_IN, "[Service]", &format!("Delegate={}", names.join(" ")));
                self.activate.push(RELOAD.to_owned());
            }
            // Seen with systemd 252, 257 and 262: the reload alone is enough for the kernel on 252
            // and 262, the unit is what it takes on 257; and on all of them the user manager hands on
            // only what there was when it was last executed.
            Setting::DelegationInEffect { user, uid } => {
                let transient = format!("sudo systemd-run --quiet --wait --slice=user-{uid}.slice true");
                self.activate.extend([RELOAD.to_owned(), transient]);
                self.manager(user, "daemon-reexec");
            }
            Setting::Linger(user) => {
                let user = quoted(user);
                self.activate.push(format!("sudo loginctl enable-linger {user}"));
                if !self.running {
                    self.write.push(format!("mkdir -p {root}{LINGER_DIR}"));
                    self.write.push(format!("touch {root}{LINGER_DIR}/{user}"));
                }
            }
            Setting::SubordinateIds { user, start, count } => {
                let end = u64::from(*start) + u64::from(*count) - 1;
                let at = if self.running { String::new() } else { format!("--prefix {root} ") };
                let user = quoted(user);
                self.write.push(format!(
                    "{sudo}usermod {at}--add-subuids {start}-{end} --add-subgids {start}-{end} {user}"
                ));
            }
            Setting::NewPodmanNamespace { user } => {
                if self.running {
                    self.activate.push(as_user(user, "podman system migrate"));
                }
            }
            Setting::FileMode { path, mode } => {
                self.write.push(format!("{sudo}chmod {mode:04o} {root}{}", quoted(path)));
            }
            // Together with a set-user-ID bit the capability is all that counts, and too little.
            Setting::FileCapability { path, capability } => {
                let path = quoted(path);
                self.write.push(format!("{sudo}chmod u-s,g-s {root}{path}"));
                self.write.push(format!("{sudo}setcap {capability}=ep {root}{path}"));
            }
            Setting::UserUnit { user, unit } => {
                self.manager(user, &format!("enable --now {}", quoted(unit)));
                if !self.running {
                    self.write.push(format!("systemctl --root={root} --global enable {}", quoted(unit)));
                }
            }
            Setting::UserUnitInEffect { user, unit } => {
                self.manager(user, &format!("start {}", quoted(unit)));
            }
            Setting::UserManagerLimit { directive, value } => {
                self.drop_in(DELEGATE_DROP_IN, "[Service]", &format!("{directive}={value}"));
                self.activate.push(RELOAD.to_owned());
            }
            Setting::SliceTasks(value) => {
                self.drop_in(SLICE_DROP_IN, "[Slice]", &format!("TasksMax={value}"));
                self.activate.push(RELOAD.to_owned());
            }
            Setting::UnitDirective { unit, section, key, value } => {
                self.drop_in(&unit_drop_in(unit), &format!("[{section}]"), &format!("{key}={value}"));
                self.activate.push(RELOAD.to_owned());
            }
            Setting::UserUnitDirective { user, unit, section, key, value } => {
                let lines = [format!("[{section}]"), format!("{key}={value}")];
                if self.running {
                    let dir = format!("~/.config/systemd/user/{unit}.d");
                    let script = format!("mkdir -p {dir} && {} >> {dir}/90-rootless.conf", print(&lines));
                    self.as_user(user, &script);
                } else {
                    self.drop_in(
                        &format!("/etc/systemd/user/{unit}.d/90-rootless.conf"),
                        &lines[0],
                        &lines[1],
                    );
                }
                self.manager(user, "daemon-reload");
            }
            // Seen with systemd 257: the reload alone reaches no slice that runs.
            Setting::SliceTasksInEffect { uid } => self.activate.extend([
                RELOAD.to_owned(),
                format!("sudo systemd-run --quiet --wait --slice=user-{uid}.slice true"),
            ]),
            Setting::KeepUserProcesses => {
                self.drop_in(LOGIND_DROP_IN, "[Login]", "KillUserProcesses=no");
                self.activate.push("sudo systemctl reload-or-restart systemd-logind.service".to_owned());
            }
            // A table must not stand in one file twice, so each key has its own.
            Setting::Engine { user, table, key, value } => {
                let path = format!("~/.config/containers/containers.conf.d/90-rootless-{key}.conf");
                self.user_file(user, &path, &[format!("[{table}]"), format!("{key} = {value}")]);
            }
            Setting::Minikube { user, key, value, .. } => {
                if self.running {
                    self.as_user(user, &format!("minikube config set {key} {value}"));
                }
            }
            Setting::Environment { user, name, value } => {
                let path = format!("~/.config/environment.d/90-rootless-{name}.conf");
                self.user_file(user, &path, &[format!("{name}={value}")]);
                self.manager(user, "daemon-reload");
            }
            Setting::K3dNetwork(user) => {
                if self.running {
                    self.as_user(user, &format!("podman network create {K3D_NETWORK}"));
                } else {
                    let path = format!("/etc/containers/systemd/users/{K3D_NETWORK}.network");
                    self.file(&path, &K3D_QUADLET);
                }
            }
            Setting::DeviceMode { path, mode } => {
                let name = path.rsplit('/').next().unwrap_or_default();
                let rule = format!("KERNEL==\"{name}\", MODE=\"{mode:04o}\"");
                self.file(&format!("/etc/udev/rules.d/90-rootless-{name}.rules"), &[rule]);
                self.activate.push("sudo udevadm control --reload".to_owned());
                self.activate.push(format!("sudo chmod {mode:04o} {}", quoted(path)));
            }
            Setting::K3sService { user, program, environment } => {
                self.k3s_service(user, program, environment);
            }
            Setting::SysctlInEffect { key, value } => {
                self.activate.push(format!("sudo sysctl -w {}", quoted(&format!("{key}={value}"))));
            }
            Setting::ModuleInEffect(name) => self.activate.push(format!("sudo modprobe {}", quoted(name))),
            Setting::KernelArgument { path: None, .. } => {}
            Setting::KernelArgument { path: Some(path), .. } => {
                let edit = if self.running { "sudoedit " } else { "${EDITOR:-vi} $ROOT" };
                let edit = format!("{edit}{}", quoted(path));
                if !self.write.contains(&edit) {
                    self.write.push(edit);
                }
            }
            Setting::UsernsProfile { program } => {
                let path = format!("/etc/apparmor.d/{}", program.trim_start_matches('/').replace('/', "."));
                let head = format!("{program} flags=(unconfined) {{");
                self.file(&path, &["abi <abi/4.0>,", "include <tunables/global>", &head, "  userns,", "}"]);
                self.activate.push(format!("sudo apparmor_parser -r {}", quoted(&path)));
            }
        }
    }

    /// A file that holds these lines and nothing else.
    fn file(&mut self, path: &str, lines: &[impl AsRef<str>]) {
        let (root, sudo) = (self.root, self.sudo);
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        self.write.push(format!("{sudo}mkdir -p {root}{dir}"));
        self.write.push(format!("{} | {sudo}tee {root}{}", print(lines), quoted(path)));
    }

    /// A line in a section of a drop-in that other settings, and `edgeprep fix`, have lines in as well.
    fn drop_in(&mut self, path: &str, section: &str, line: &str) {
        let lines = match self.drop_ins.iter_mut().find(|(known, _)| known == path) {
            Some((_, lines)) => lines,
            None => {
                self.drop_ins.push((path.to_owned(), vec![section.to_owned()]));
                let Some((_, lines)) = self.drop_ins.last_mut() else { return };
                lines
            }
        };
        lines.push(line.to_owned());
    }

    /// More lines in a file, whose folder need not be there. A section can come twice.
    fn append_below(&mut self, path: &str, lines: &[String]) {
        let (root, sudo) = (self.root, self.sudo);
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        self.write.push(format!("{sudo}mkdir -p {root}{}", quoted(dir)));
        self.write.push(format!("{} | {sudo}tee -a {root}{}", print(lines), quoted(path)));
    }

    /// More lines in a file. A running Debian has its folder; an image of few packages may not.
    fn append(&mut self, path: &str, lines: &[String]) {
        let (root, sudo) = (self.root, self.sudo);
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        let make = if self.running { String::new() } else { format!("mkdir -p {root}{dir} && ") };
        self.write.push(format!("{make}{} | {sudo}tee -a {root}{path}", print(lines)));
    }

    /// What the user types, with `~` for the home directory. Not `sudo -i`, which hands words to one more
    /// shell and leaves their `$` to it (sudo(8), "-i").
    fn as_user(&mut self, user: &str, script: &str) {
        let user = quoted(user);
        self.write.push(if self.running {
            format!("sudo -Hu {user} sh -c {}", quoted(script))
        } else {
            let home = format!("$ROOT$(awk -F: -v u={user} '$1 == u {{ print $6 }}' $ROOT/etc/passwd)");
            format!("(HOME={home}; {script})")
        });
    }

    /// A file below the user's home directory that holds these lines and nothing else.
    fn user_file(&mut self, user: &str, path: &str, lines: &[String]) {
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        self.as_user(user, &format!("mkdir -p {dir} && {} > {path}", print(lines)));
    }

    /// What the user manager is asked to do.
    fn manager(&mut self, user: &str, request: &str) {
        self.activate.push(format!("sudo systemctl --user -M {}@ {request}", quoted(user)));
    }

    /// The unit is that of the same version of K3s (docs.k3s.io, "Running Rootless Servers").
    fn k3s_service(&mut self, user: &str, program: &str, environment: &[(String, String)]) {
        let (dir, version) = ("~/.config/systemd/user", "$(k3s --version | awk 'NR == 1 { print $3 }')");
        let version = version.replacen("k3s", &format!("{}{}", self.root, quoted(program)), 1);
        let unit = format!("{dir}/{K3S_SERVICE}");
        let fetch = format!(
            "curl -fLo {unit} \"https://raw.githubusercontent.com/k3s-io/k3s/{version}/{K3S_SERVICE}\""
        );
        self.as_user(user, &format!("mkdir -p {dir} && {{ test -e {unit} || {fetch}; }}"));
        if program != K3S_PROGRAM {
            let edit = quoted(&format!("s|^ExecStart={K3S_PROGRAM}|ExecStart={program}|")).into_owned();
            self.as_user(user, &format!("sed -i {edit} {unit}"));
        }
        if !environment.is_empty() {
            let mut lines = vec!["[Service]".to_owned()];
            // A percent sign would be a specifier, a backslash an escape (systemd.syntax(7)).
            let value = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
            lines.extend(
                environment.iter().map(|(name, text)| format!("Environment=\"{name}={}\"", value(text))),
            );
            self.user_file(user, &format!("{unit}.d/90-rootless.conf"), &lines);
        }
        self.manager(user, "daemon-reload");
        self.manager(user, &format!("enable --now {K3S_SERVICE}"));
        if !self.running {
            let wants = format!("{dir}/default.target.wants");
            self.as_user(user, &format!("mkdir -p {wants} && ln -sf ../{K3S_SERVICE} {wants}/"));
        }
    }

    fn finish(mut self) -> Vec<String> {
        for (path, lines) in std::mem::take(&mut self.drop_ins) {
            self.append_below(&path, &lines);
        }
        // Keys of a module exist only once it is loaded.
        let (modules, sysctls) = (std::mem::take(&mut self.modules), std::mem::take(&mut self.sysctls));
        if !modules.is_empty() {
            self.append(MODULES_LOAD_FILE, &modules);
            let names: Vec<Cow<'_, str>> = modules.iter().map(|name| quoted(name)).collect();
            self.activate.push(format!("sudo modprobe -a {}", names.join(" ")));
        }
        if !sysctls.is_empty() {
            self.append(SYSCTL_FILE, &sysctls);
            self.activate.push("sudo sysctl --system".to_owned());
        }
        let activate = if self.running { self.activate } else { Vec::new() };
        let mut commands: Vec<String> = Vec::new();
        for command in self.write.into_iter().chain(activate) {
            if !commands.contains(&command) {
                commands.push(command);
            }
        }
        commands
    }
}

#[cfg(test)]
#[path = "by_hand_tests.rs"]
mod tests;
