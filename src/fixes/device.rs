//! Device nodes: a rule of udev for whenever one is made (`udev(7)`), and the node that is there.

use super::edit::set_line;
use super::template::Template;
use super::work::{Work, lines};
use super::{FixError, Setting};
use crate::host::OrAbsent;
use crate::plan::{Activation, Writer};

const NAME: &str = "90-rootless.rules";

pub(super) fn add(work: &mut Work, settings: &[Setting]) -> Result<(), FixError> {
    let mut rules: Vec<(String, String)> = Vec::new();
    for setting in settings {
        let Setting::DeviceMode { path, mode } = setting else { continue };
        let node = path.trim_start_matches("/dev/");
        let kernel = node.rsplit('/').next().unwrap_or(node);
        // The node of a module that is not loaded is made at boot, and gets its mode by the same rule
        // (systemd: rules.d/50-udev-default.rules.in).
        let rule = format!("KERNEL==\"{kernel}\", MODE=\"{mode:04o}\", OPTIONS+=\"static_node={node}\"");
        if !rules.iter().any(|(known, _)| known == kernel) {
            rules.push((kernel.to_owned(), rule));
        }
        if let Some(stat) = work.facts.stat(path).or_absent()? {
            work.activate(Activation::DeviceMode { path: path.clone(), mode: *mode, before: stat.mode });
        }
    }
    if rules.is_empty() {
        return Ok(());
    }
    let dir = work.dir("/etc/udev/rules.d", "/usr/lib/udev/rules.d");
    let texts: Vec<String> = rules.iter().map(|(_, rule)| rule.clone()).collect();
    let edit = |text: &str| {
        rules.iter().fold(text.to_owned(), |text, (kernel, rule)| {
            set_line(&text, |line| line.starts_with(&format!("KERNEL==\"{kernel}\"")), rule)
        })
    };
    work.file(format!("{dir}/{NAME}"), Writer::System, (Template::Lines, &lines(&texts)), edit)
}
