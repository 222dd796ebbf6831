//! User data for cloud-init.
//!
//! `write_files` comes before users are created and before logind starts, so that the first user
//! manager finds everything; what the kernel reads at boot was read by then and is put into effect
//! by `runcmd`, once users are there (cloud-init: the order of modules in /etc/cloud/cloud.cfg).

use super::script::{activation, indented, subordinate};
use super::yaml::{text, word};
use super::{content_text, heading};
use crate::overlay::Overlay;
use crate::plan::State;

pub(super) fn cloud_init(overlay: &Overlay) -> anyhow::Result<String> {
    let mut yaml = format!("#cloud-config\n{}write_files:\n", heading(overlay, true));
    let mut links = Vec::new();
    for entry in &overlay.entries {
        match &entry.state {
            // Directories come with their files, as 0755 of root's.
            State::Absent | State::Dir { .. } => {}
            State::Link { target, .. } => links.push((entry.path.as_str(), target.as_str())),
            State::File { mode, uid, gid, .. } => {
                let content = content_text(&entry.path, &entry.state)?;
                let owner = |id: u32| if id == 0 { "root" } else { overlay.person.name.as_str() };
                yaml.push_str(&format!(
                    "  - path: {}\n    owner: {}:{}\n    permissions: \"{mode:04o}\"\n",
                    word(&entry.path),
                    owner(*uid),
                    owner(*gid)
                ));
                if (*uid, *gid) != (0, 0) {
                    // Before, there is no such user.
                    yaml.push_str("    defer: true\n");
                }
                yaml.push_str(&format!("    content: {}\n", text(content, 4)));
            }
        }
    }
    // There is no module for links, and user managers start before runcmd: bootcmd comes first of
    // all.
    if !links.is_empty() {
        yaml.push_str("bootcmd:\n");
        for (number, (path, target)) in (1..).zip(links) {
            let dir = path.rsplit_once('/').map_or("/", |(dir, _)| dir);
            let once = "cloud-init-per, once";
            yaml.push_str(&format!("  - [{once}, edgeprep-directory-{number}, mkdir, -p, {}]\n", word(dir)));
            yaml.push_str(&format!(
                "  - [{once}, edgeprep-link-{number}, ln, -sfn, {}, {}]\n",
                word(target),
                word(path)
            ));
        }
    }
    yaml.push_str("runcmd:\n");
    if let Some(ids) = subordinate(overlay) {
        // All items are one script, which is to go on.
        yaml.push_str(&format!("  - |\n    (\n    set -e\n    root=''\n{}    )\n", indented(&ids, 4)));
    }
    yaml.push_str(&format!("  - |\n{}", indented(&activation(overlay), 4)));
    Ok(yaml)
}
