//! A file of tasks for Ansible, with modules of `ansible.builtin` alone.

use std::collections::BTreeSet;

use super::script::{FREE, Notice, controllers, fill, indented, lingers, notices, units};
use super::yaml::{text, word};
use super::{content_text, heading};
use crate::overlay::{Overlay, Person, Subordinate};
use crate::plan::State;

const LOOK: &str = include_str!("../../../templates/ansible/look.yml");
const SUBORDINATE: &str = include_str!("../../../templates/ansible/subordinate.yml");
const DELEGATION: &str = include_str!("../../../templates/ansible/delegation.yml");
const START: &str = include_str!("../../../templates/ansible/start.yml");
const LINGER: &str = include_str!("../../../templates/ansible/linger.yml");

pub(super) fn ansible(overlay: &Overlay) -> anyhow::Result<String> {
    let mut yaml = format!(
        "---\n{}# Tasks for ansible.builtin.include_tasks; they need become.\n",
        heading(overlay, true)
    );
    yaml.push_str(&fill(LOOK, overlay, &[]));
    // No module makes the directory of what it writes.
    let of_entries = |dir: &&str| overlay.entries.iter().any(|entry| entry.path == *dir);
    let directories: BTreeSet<&str> =
        overlay.entries.iter().filter_map(|entry| Some(entry.path.rsplit_once('/')?.0)).collect();
    for dir in directories.into_iter().filter(|dir| !of_entries(dir)) {
        let (name, path) = (word(&format!("Have {dir}")), word(dir));
        yaml.push_str(&format!(
            "\n- name: {name}\n  ansible.builtin.file:\n    path: {path}\n    state: directory\n{}",
            attributes(0o755, 0, 0)
        ));
    }
    for (at, entry) in overlay.entries.iter().enumerate() {
        let (name, path) = (word(&format!("Make {}", entry.path)), word(&entry.path));
        yaml.push_str(&format!("\n- name: {name}\n"));
        match &entry.state {
            State::Absent => {}
            State::Dir { mode, uid, gid } => yaml.push_str(&format!(
                "  ansible.builtin.file:\n    path: {path}\n    state: directory\n{}",
                attributes(*mode, *uid, *gid)
            )),
            State::Link { target, .. } => yaml.push_str(&format!(
                "  ansible.builtin.file:\n    path: {path}\n    src: {}\n    state: link\n    force: true\n\
                 \u{20}   follow: false\n",
                word(target)
            )),
            State::File { mode, uid, gid, .. } => {
                let content = content_text(&entry.path, &entry.state)?;
                let is_template = ["{{", "{%", "{#"].iter().any(|mark| content.contains(mark));
                yaml.push_str(&format!(
                    "  ansible.builtin.copy:\n    dest: {path}\n    content: {}{}\n{}",
                    if is_template { "!unsafe " } else { "" },
                    text(content, 4),
                    attributes(*mode, *uid, *gid)
                ));
            }
        }
        // Where a directory would only be made now, nothing can be compared in it.
        yaml.push_str(&format!("  register: edgeprep_{at}\n"));
        if !matches!(entry.state, State::Dir { .. }) {
            yaml.push_str("  ignore_errors: \"{{ ansible_check_mode }}\"\n");
        }
    }
    yaml.push_str(&subordinate(overlay));
    for Notice { what, part, command } in notices(overlay) {
        let module = match command {
            ["systemctl", "daemon-reload"] => {
                "  ansible.builtin.systemd_service:\n    daemon_reload: true\n".to_owned()
            }
            ["systemctl", "restart", unit] => {
                format!("  ansible.builtin.systemd_service:\n    name: {unit}\n    state: restarted\n")
            }
            command => {
                let argv: String = command.iter().map(|each| format!("      - {}\n", word(each))).collect();
                format!("  ansible.builtin.command:\n    argv:\n{argv}  changed_when: true\n")
            }
        };
        yaml.push_str(&format!(
            "\n- name: {what}\n{module}{}",
            when(&["edgeprep_systemd.stat.exists", &changed(overlay, part)])
        ));
    }
    yaml.push_str(&user_manager(overlay));
    Ok(yaml)
}

fn subordinate(overlay: &Overlay) -> String {
    let Some(Subordinate { start, count }) = &overlay.subordinate else { return String::new() };
    let Person { name, uid, .. } = &overlay.person;
    let script = indented(&format!("user={name} uid={uid} first={start} count={count}\n{FREE}"), 8);
    fill(SUBORDINATE, overlay, &[("@SCRIPT@", script.trim_end()), ("@COUNT@", &count.to_string())])
}

fn user_manager(overlay: &Overlay) -> String {
    let mut yaml = String::new();
    if !controllers(overlay).is_empty() {
        let changed = changed(overlay, "/user@.service.d/");
        yaml.push_str(&fill(DELEGATION, overlay, &[("@CHANGED@", &changed)]));
    }
    let of_units = changed(overlay, "/systemd/user/");
    for unit in units(overlay) {
        yaml.push_str(&fill(START, overlay, &[("@UNIT@", unit), ("@CHANGED@", &of_units)]));
    }
    if lingers(overlay) {
        yaml.push_str(&fill(LINGER, overlay, &[("@CHANGED@", &changed(overlay, "/linger/"))]));
    }
    yaml
}

/// Whether one of the entries with this in its path was changed.
fn changed(overlay: &Overlay, part: &str) -> String {
    let entries = overlay.entries.iter().enumerate();
    let of_part =
        entries.filter(|(_, entry)| entry.path.contains(part) && !matches!(entry.state, State::Dir { .. }));
    of_part.map(|(at, _)| format!("edgeprep_{at} is changed")).collect::<Vec<_>>().join(" or ")
}

fn when(conditions: &[&str]) -> String {
    let list: String = conditions.iter().map(|condition| format!("    - {condition}\n")).collect();
    format!("  when:\n{list}")
}

fn attributes(mode: u32, uid: u32, gid: u32) -> String {
    let id = |id: u32| if id == 0 { "root".to_owned() } else { format!("\"{id}\"") };
    format!("    owner: {}\n    group: {}\n    mode: \"{mode:04o}\"\n", id(uid), id(gid))
}
