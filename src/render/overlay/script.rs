//! Shell commands that more than one format needs, for a POSIX shell.

use super::content;
use crate::overlay::{Entry, Overlay, Subordinate};
use crate::plan::State;

/// Prints the first ID of a free range, and the files in which the user has none.
pub(super) const FREE: &str = include_str!("../../../templates/shell/free-subordinate.sh");
const APPEND: &str = include_str!("../../../templates/shell/append-subordinate.sh");
const USER: &str = include_str!("../../../templates/shell/user.sh");

fn is_file(entry: &Entry) -> bool {
    matches!(entry.state, State::File { .. })
}

/// Appends the user's ranges, where they have none, to the files below `$root`.
pub(super) fn subordinate(overlay: &Overlay) -> Option<String> {
    let Subordinate { start, count } = overlay.subordinate.as_ref()?;
    let (user, uid) = (&overlay.person.name, overlay.person.uid);
    let free = indented(FREE, 4);
    Some(format!("user={user} uid={uid} first={start} count={count}\nfound=$(\n{free})\n{APPEND}"))
}

/// The files of a kind, by a part of their path.
fn has(overlay: &Overlay, part: &str) -> bool {
    overlay.entries.iter().any(|entry| entry.path.contains(part) && is_file(entry))
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
    /// What files have in their paths that it is for.
    pub(super) part: &'static str,
    /// The command.
    pub(super) command: &'static [&'static str],
}

/// What the system takes notice by. Nothing of it stops anything that runs.
pub(super) fn notices(overlay: &Overlay) -> Vec<Notice> {
    let all = [
        ("/systemd/system/", "Have systemd read its units again", &["systemctl", "daemon-reload"][..]),
        (
            "/modules-load.d/",
            "Load the kernel modules",
            &["systemctl", "restart", "systemd-modules-load.service"],
        ),
        ("/sysctl.d/", "Set the kernel parameters", &["systemctl", "restart", "systemd-sysctl.service"]),
        (
            "/logind.conf.d/",
            "Have logind read its configuration",
            &["systemctl", "kill", "-s", "HUP", "systemd-logind.service"],
        ),
        ("/udev/rules.d/", "Have udev read its rules", &["udevadm", "control", "--reload"]),
        (
            "/udev/rules.d/",
            "Have udev apply its rules to devices",
            &["udevadm", "trigger", "--subsystem-match=misc"],
        ),
    ];
    let wanted = all.into_iter().filter(|(part, ..)| has(overlay, part));
    wanted.map(|(part, what, command)| Notice { what, part, command }).collect()
}

/// The controllers that the overlay delegates to user managers.
pub(super) fn controllers(overlay: &Overlay) -> Vec<&str> {
    let drop_in =
        overlay.entries.iter().find(|entry| entry.path.contains("/user@.service.d/") && is_file(entry));
    let text = drop_in.and_then(|entry| std::str::from_utf8(content(&entry.state)).ok()).unwrap_or_default();
    let list = text.lines().find_map(|line| line.strip_prefix("Delegate="));
    list.map(|list| list.split_whitespace().collect()).unwrap_or_default()
}

/// A template with the user and these values in the places of their names.
pub(super) fn fill(template: &str, overlay: &Overlay, values: &[(&str, &str)]) -> String {
    let uid = overlay.person.uid.to_string();
    let person = [("@USER@", overlay.person.name.as_str()), ("@UID@", uid.as_str())];
    let all = values.iter().chain(&person);
    all.fold(template.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// What puts the overlay into effect on a running host, as commands for a shell that goes on where
/// one fails.
pub(super) fn activation(overlay: &Overlay) -> String {
    let mut text = String::new();
    for Notice { command, .. } in notices(overlay) {
        let command = command.join(" ");
        text.push_str(&format!("{command} || echo \"$?: {command}\" >&2\n"));
    }
    let linger = if lingers(overlay) { "yes" } else { "" };
    let (units, controllers) = (units(overlay).join(" "), controllers(overlay).join(" "));
    let values = [("@LINGER@", linger), ("@UNITS@", &units), ("@CONTROLLERS@", &controllers)];
    text.push_str(&fill(USER, overlay, &values));
    text
}

/// `text`, each line that is not empty behind `spaces` spaces.
pub(super) fn indented(text: &str, spaces: usize) -> String {
    let line = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("{:spaces$}{line}\n", "") };
    text.lines().map(line).collect()
}
