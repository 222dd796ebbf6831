//! A file of tasks for Ansible, with modules of `ansible.builtin` alone.

use std::collections::BTreeSet;

use super::script::{FREE, Notice, controllers, indented, lingers, notices, units};
use super::yaml::{text, word};
use super::{content_text, heading};
use crate::overlay::Overlay;
use crate::plan::State;

pub(super) fn ansible(overlay: &Overlay) -> anyhow::Result<String> {
    let mut yaml = format!(
        "---\n{}# Tasks for ansible.builtin.include_tasks; they need become.\n",
        heading(overlay, true)
    );
    yaml.push_str(&look_first(overlay));
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
                "  ansible.builtin.file:\n    path: {path}\n    src: {}\n    state: link\n    force: true\n    \
                 follow: false\n",
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

/// What has to be known before anything is written.
fn look_first(overlay: &Overlay) -> String {
    let uid = overlay.person.uid;
    format!(
        "- name: See whether systemd runs\n  ansible.builtin.stat:\n    path: /run/systemd/system\n  register: \
         edgeprep_systemd\n\n- name: See whether the user manager runs\n  ansible.builtin.stat:\n    path: \
         /run/user/{uid}/systemd/private\n  register: edgeprep_manager\n"
    )
}

fn subordinate(overlay: &Overlay) -> String {
    let Some(ids) = &overlay.subordinate else { return String::new() };
    let (user, uid, count) = (&overlay.person.name, overlay.person.uid, ids.count);
    let start = ids.start;
    let script = indented(&format!("user={user} uid={uid} first={start} count={count}\n{FREE}"), 8);
    format!(
        "\n- name: Look for subordinate IDs of {user}\n  ansible.builtin.command:\n    argv:\n      - sh\n      - \
         -c\n      - |\n{script}  register: edgeprep_free\n  changed_when: false\n  check_mode: false\n\n- name: Give \
         {user} subordinate IDs\n  ansible.builtin.lineinfile:\n    path: \"/etc/{{{{ item }}}}\"\n    line: \
         \"{user}:{{{{ edgeprep_free.stdout.split() | first }}}}:{count}\"\n    create: true\n    owner: root\n    \
         group: root\n    mode: \"0644\"\n  loop: \"{{{{ edgeprep_free.stdout.split()[1:] }}}}\"\n"
    )
}

fn user_manager(overlay: &Overlay) -> String {
    let (user, uid) = (&overlay.person.name, overlay.person.uid);
    let mut yaml = String::new();
    let as_user = format!(
        "  become: true\n  become_user: {user}\n  environment:\n    XDG_RUNTIME_DIR: /run/user/{uid}\n"
    );
    let runs = ["edgeprep_systemd.stat.exists", "edgeprep_manager.stat.exists"];
    if !controllers(overlay).is_empty() {
        let delegation = changed(overlay, "/user@.service.d/");
        let condition = when(&[runs[0], runs[1], &delegation]);
        yaml.push_str(&format!(
            "\n- name: Have the controllers reach the slice of {user}\n  ansible.builtin.command:\n    argv: \
             [systemd-run, --quiet, --wait, --collect, --slice=user-{uid}.slice, \"true\"]\n  changed_when: \
             true\n{condition}\n- name: Have the user manager of {user} hand them on\n  \
             ansible.builtin.systemd_service:\n    daemon_reexec: true\n    scope: user\n{as_user}{condition}"
        ));
    }
    for unit in units(overlay) {
        yaml.push_str(&format!(
            "\n- name: Start {unit} of {user}\n  ansible.builtin.systemd_service:\n    name: {unit}\n    scope: \
             user\n    daemon_reload: true\n    state: started\n    no_block: true\n{as_user}{}",
            when(&[runs[0], runs[1], &changed(overlay, "/systemd/user/")])
        ));
    }
    if lingers(overlay) {
        yaml.push_str(&format!(
            "\n- name: Have {user} linger\n  ansible.builtin.command:\n    argv: [loginctl, enable-linger, \
             {user}]\n  changed_when: true\n{}",
            when(&["edgeprep_systemd.stat.exists", &changed(overlay, "/linger/")])
        ));
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
