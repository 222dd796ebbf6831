//! Modules: `modules-load.d(5)`, with names only that some installed kernel has.

use super::edit::append;
use super::template::Template;
use super::work::{Work, lines};
use super::{FixError, Setting};
use crate::facts::Facts;
use crate::facts::module_state::ModuleState;
use crate::host::Fact;
use crate::plan::{Activation, Writer};

const NAME: &str = "rootless.conf";

pub(super) fn add(work: &mut Work, settings: &[Setting]) -> Result<(), FixError> {
    let (mut written, mut loaded): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for setting in settings {
        match setting {
            Setting::Module(name) => match any_kernel_has(work.facts, name)? {
                true => {
                    written.push(name.clone());
                    loaded.push(name.clone());
                }
                // systemd-modules-load.service would complain of it at each boot.
                false => work.manual(format!("no installed kernel has the module {name}"), Vec::new()),
            },
            Setting::ModuleInEffect(name) => loaded.push(name.clone()),
            _ => {}
        }
    }
    for names in [&mut written, &mut loaded] {
        names.sort();
        names.dedup();
    }
    if !written.is_empty() {
        let dir = work.dir("/etc/modules-load.d", "/usr/lib/modules-load.d");
        let edit = |text: &str| {
            let named = |name: &&String| text.lines().any(|line| line.trim() == name.as_str());
            written.iter().filter(|name| !named(name)).fold(text.to_owned(), |text, name| append(&text, name))
        };
        work.file(format!("{dir}/{NAME}"), Writer::System, (Template::Lines, &lines(&written)), edit)?;
    }
    if !loaded.is_empty() {
        work.activate(Activation::LoadModules { names: loaded });
    }
    Ok(())
}

/// Whether a kernel of this host has the module as a file. What is built in needs no line.
fn any_kernel_has(facts: &Facts, name: &str) -> Fact<bool> {
    for kernel in facts.counting_kernels()? {
        let state = facts.module_state(&kernel, &[name], name)?;
        if matches!(state, ModuleState::Loadable(_) | ModuleState::Loaded(..) | ModuleState::Unseen) {
            return Ok(true);
        }
    }
    Ok(false)
}
