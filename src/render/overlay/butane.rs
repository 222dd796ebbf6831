//! A configuration for butane, which makes Ignition of it: files and links are written in the
//! initramfs, before anything starts, and nothing has to be activated (Fedora CoreOS, "Butane
//! configuration specification v1.5.0").

use super::yaml::{text, word};
use super::{content_text, heading};
use crate::overlay::Overlay;
use crate::plan::State;

pub(super) fn butane(overlay: &Overlay) -> anyhow::Result<String> {
    let mut yaml = format!("{}variant: fcos\nversion: 1.5.0\nstorage:\n", heading(overlay, false));
    let (mut directories, mut files, mut links) = (String::new(), String::new(), String::new());
    for entry in &overlay.entries {
        let path = format!("    - path: {}\n", word(&entry.path));
        match &entry.state {
            State::Absent => {}
            State::Dir { mode, uid, gid } => {
                directories.push_str(&format!("{path}      mode: 0{mode:o}\n{}", owner(*uid, *gid)));
            }
            State::Link { target, uid, gid } => {
                let target = word(target);
                links.push_str(&format!(
                    "{path}      target: {target}\n      overwrite: true\n{}",
                    owner(*uid, *gid)
                ));
            }
            State::File { mode, uid, gid, .. } => {
                let content = content_text(&entry.path, &entry.state)?;
                files.push_str(&format!(
                    "{path}      mode: 0{mode:o}\n      overwrite: true\n{}",
                    owner(*uid, *gid)
                ));
                files.push_str(&format!("      contents:\n        inline: {}\n", text(content, 8)));
            }
        }
    }
    for (name, list) in [("directories", directories), ("files", files), ("links", links)] {
        if !list.is_empty() {
            yaml.push_str(&format!("  {name}:\n{list}"));
        }
    }
    let words = |wanted: bool| overlay.kernel_words.iter().filter(move |word| word.wanted == wanted);
    if !overlay.kernel_words.is_empty() {
        yaml.push_str("kernel_arguments:\n");
        for (key, wanted) in [("should_exist", true), ("should_not_exist", false)] {
            let list: String = words(wanted).map(|each| format!("    - {}\n", word(&each.word))).collect();
            if !list.is_empty() {
                yaml.push_str(&format!("  {key}:\n{list}"));
            }
        }
    }
    Ok(yaml)
}

fn owner(uid: u32, gid: u32) -> String {
    format!("      user:\n        id: {uid}\n      group:\n        id: {gid}\n")
}
