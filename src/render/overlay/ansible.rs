//! A file of tasks for Ansible, with modules of `ansible.builtin` alone.

use super::script::{Notice, lingers, notices, subordinate, units};
use super::yaml::{text, word};
use super::{content_text, heading};
use crate::overlay::Overlay;
use crate::plan::State;

pub(super) fn ansible(overlay: &Overlay) -> anyhow::Result<String> {
    let user = &overlay.person.name;
    let mut yaml = format!("---\n{}# Needs become: true. Include it: ansible.builtin.include_tasks.\n", heading(overlay));
    for entry in &overlay.entries {
        let (name, path) = (word(&format!("Make {}", entry.path)), word(&entry.path));
        yaml.push_str(&format!("- name: {name}\n"));
        match &entry.state {
            State::Absent => {}
            State::Dir { mode, uid, gid } => yaml.push_str(&format!(
                "  ansible.builtin.file:\n    path: {path}\n    state: directory\n{}",
                attributes(*mode, *uid, *gid)
            )),
            State::Link { target, .. } => yaml.push_str(&format!(
                "  ansible.builtin.file:\n    path: {path}\n    src: {}\n    state: link\n    force: true\n",
                word(target)
            )),
            State::File { mode, uid, gid, .. } => {
                let content = content_text(&entry.path, &entry.state)?;
                let is_template = ["{{", "{%", "{#"].iter().any(|mark| content.contains(mark));
                yaml.push_str(&format!(
                    "  ansible.builtin.copy:\n    dest: {path}\n    content: {}{}\n{}  register: edgeprep_{}\n",
                    if is_template { "!unsafe " } else { "" },
                    text(content, 4),
                    attributes(*mode, *uid, *gid),
                    kind(&entry.path)
                ));
            }
        }
        yaml.push('\n');
    }
    let _ = (subordinate(overlay), user, units(overlay), lingers(overlay), notices(overlay).len());
    let _: Option<Notice> = None;
    Ok(yaml)
}

fn attributes(mode: u32, uid: u32, gid: u32) -> String {
    let id = |id: u32| if id == 0 { "root".to_owned() } else { format!("\"{id}\"") };
    format!("    owner: {}\n    group: {}\n    mode: \"{mode:04o}\"\n", id(uid), id(gid))
}

fn kind(_path: &str) -> &'static str {
    "file"
}
