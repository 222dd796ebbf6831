//! Drop-ins of units and of logind: files with sections (`systemd.unit(5)`, `logind.conf(5)`).

use std::collections::BTreeMap;

use super::edit::set_in_section;
use super::template::Template;
use super::work::{Section, Work, sections};
use super::{FixError, Setting};
use crate::facts::cgroup::Controller;
use crate::plan::{Activation, Credentials, Writer};

const NAME: &str = "90-rootless.conf";

/// A directive in a drop-in: the directory's place below the layer's, the section and the key.
type Directive = (&'static str, &'static str, &'static str);

pub(super) fn add(work: &mut Work, settings: &[Setting]) -> Result<(), FixError> {
    let mut wanted: BTreeMap<Directive, String> = BTreeMap::new();
    for setting in settings {
        let (directive, value) = match setting {
            Setting::Delegation(controllers) => {
                let mut all: Vec<&str> = controllers.iter().map(|c| c.as_str()).collect();
                // Lists add up, so that those of two users are one.
                let directive = ("system/user@.service.d", "Service", "Delegate");
                let known = wanted.get(&directive).cloned().unwrap_or_default();
                all.extend(known.split_whitespace());
                all.sort_unstable();
                all.dedup();
                wanted.insert(directive, all.join(" "));
                continue;
            }
            Setting::UserManagerLimit { directive, value } => {
                (("system/user@.service.d", "Service", *directive), value.clone())
            }
            Setting::SliceTasks(value) => (("system/user-.slice.d", "Slice", "TasksMax"), value.clone()),
            Setting::KeepUserProcesses => (("logind.conf.d", "Login", "KillUserProcesses"), "no".to_owned()),
            Setting::DelegationInEffect { user, uid: _ } => {
                in_effect(work, settings, user)?;
                continue;
            }
            _ => continue,
        };
        if let Some(other) = wanted.get(&directive).filter(|other| **other != value) {
            let what = directive.2.to_owned();
            return Err(FixError::Conflict { what, one: other.clone(), other: value });
        }
        wanted.insert(directive, value);
    }
    let mut files: BTreeMap<(&str, &str), Vec<(&str, String)>> = BTreeMap::new();
    for ((dir, section, key), value) in wanted {
        files.entry((dir, section)).or_default().push((key, format!("{key}={value}")));
    }
    for ((dir, section), assignments) in files {
        let dir_path = work.dir(&format!("/etc/systemd/{dir}"), &format!("/usr/lib/systemd/{dir}"));
        let texts: Vec<String> = assignments.iter().map(|(_, line)| line.clone()).collect();
        let context = sections(&[Section { name: section.to_owned(), lines: texts }]);
        let edit = |text: &str| {
            assignments
                .iter()
                .fold(text.to_owned(), |text, (key, line)| set_in_section(&text, section, key, line))
        };
        work.file(format!("{dir_path}/{NAME}"), Writer::System, (Template::DropIn, &context), edit)?;
        work.activate(if dir == "logind.conf.d" { Activation::ReloadLogind } else { Activation::Reload });
    }
    Ok(())
}

/// What the files grant, this fix included, reaches the running user manager.
fn in_effect(work: &mut Work, settings: &[Setting], user: &str) -> Result<(), FixError> {
    let user = work.user(user)?;
    let mut controllers: Vec<Controller> = work.facts.delegation(user.uid)?.set().into_iter().collect();
    for setting in settings {
        if let Setting::Delegation(more) = setting {
            controllers.extend(more);
        }
    }
    controllers.sort_unstable();
    controllers.dedup();
    // What the kernel does not have reaches nobody, and is the matter of another check.
    if let Ok(kernel) = work.facts.root_controllers() {
        controllers.retain(|controller| kernel.value.contains(controller));
    }
    let controllers = controllers.iter().map(|controller| controller.as_str().to_owned()).collect();
    work.activate(Activation::Reload);
    work.activate(Activation::Delegation { user: Credentials::of(&user), controllers });
    Ok(())
}
