//! Shell commands that more than one format needs, for a POSIX shell.

use crate::overlay::{Overlay, Subordinate};
use crate::plan::State;

const SUBORDINATE: &str = include_str!("../../../templates/shell/subordinate.sh");

/// Appends the user's ranges, where they have none, to the files below `$root`.
pub(super) fn subordinate(overlay: &Overlay) -> Option<String> {
    let Subordinate { start, count } = overlay.subordinate.as_ref()?;
    let (user, uid) = (&overlay.person.name, overlay.person.uid);
    Some(format!("user={user} uid={uid} first={start} count={count}\n{SUBORDINATE}"))
}

/// The files of a kind, by a part of their path.
fn has(overlay: &Overlay, part: &str) -> bool {
    overlay.entries.iter().any(|entry| entry.path.contains(part) && matches!(entry.state, State::File { .. }))
}

/// The units of the user manager that are enabled.
pub(super) fn units(overlay: &Overlay) -> Vec<&str> {
    let links = overlay.entries.iter().filter(|entry| matches!(entry.state, State::Link { .. }));
    let pulled_in = links.filter_map(|entry| entry.path.rsplit_once(".wants/"));
    pulled_in.filter(|(dir, _)| dir.contains("/systemd/user/")).map(|(_, unit)| unit).collect()
}

/// Whether the user lingers by this overlay.
pub(super) fn lingers(overlay: &Overlay) -> bool {
    let path = format!("/var/lib/systemd/linger/{}", overlay.person.name);
    has(overlay, &path) || has(overlay, "/tmpfiles.d/rootless-linger")
}

/// A command that makes what runs take notice of files, and what it is about.
pub(super) struct Notice {
    /// In a few words, as the name of a task.
    pub(super) what: &'static str,
    /// The command.
    pub(super) command: &'static [&'static str],
}

/// What the system takes notice by. Nothing of it stops anything that runs.
pub(super) fn notices(overlay: &Overlay) -> Vec<Notice> {
    let all = [
        ("/systemd/system/", "Have systemd read its units again", &["systemctl", "daemon-reload"][..]),
        ("/modules-load.d/", "Load the kernel modules", &["systemctl", "restart", "systemd-modules-load.service"]),
        ("/sysctl.d/", "Set the kernel parameters", &["systemctl", "restart", "systemd-sysctl.service"]),
        ("/logind.conf.d/", "Have logind read its configuration", &["systemctl", "kill", "-s", "HUP", "systemd-logind.service"]),
        ("/udev/rules.d/", "Have udev read its rules", &["udevadm", "control", "--reload"]),
        ("/udev/rules.d/", "Have udev apply its rules to devices", &["udevadm", "trigger", "--subsystem-match=misc"]),
    ];
    let wanted = all.into_iter().filter(|(part, ..)| has(overlay, part));
    wanted.map(|(_, what, command)| Notice { what, command }).collect()
}

/// What puts the overlay into effect on a running host, as commands for a shell that goes on where one fails.
pub(super) fn activation(overlay: &Overlay) -> String {
    let mut text = String::new();
    for Notice { command, .. } in notices(overlay) {
        let command = command.join(" ");
        text.push_str(&format!("{command} || echo \"$?: {command}\" >&2\n"));
    }
    let user = &overlay.person.name;
    let units = units(overlay);
    text.push_str(&format!("if id {user} >/dev/null 2>&1; then\n    manager=user@$(id -u {user}).service\n"));
    text.push_str("    if systemctl is-active --quiet \"$manager\"; then\n");
    if !units.is_empty() || has(overlay, "/systemd/user/") {
        text.push_str(&format!("        systemctl --user -M {user}@ daemon-reload || true\n"));
    }
    if !units.is_empty() {
        text.push_str(&format!(
            "        systemctl --user -M {user}@ --no-block start {} || true\n",
            units.join(" ")
        ));
    }
    text.push_str(
        "        echo \"$manager runs already: what is delegated to it takes effect with the next boot\" >&2\n    fi\n",
    );
    if lingers(overlay) {
        text.push_str(&format!("    loginctl enable-linger {user} || echo \"$?: loginctl enable-linger {user}\" >&2\n"));
    }
    text.push_str(&format!("else\n    echo 'there is no user {user} yet' >&2\nfi\n"));
    text
}

/// `text`, each line that is not empty behind `spaces` spaces.
pub(super) fn indented(text: &str, spaces: usize) -> String {
    let line = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("{:spaces$}{line}\n", "") };
    text.lines().map(line).collect()
}
