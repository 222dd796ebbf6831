//! Sysctls: `sysctl.d(5)`, and the kernel's own files now.

use std::collections::BTreeMap;

use super::edit::set_line;
use super::template::Template;
use super::work::{Work, lines};
use super::{FixError, Setting};
use crate::facts::sysctl_rules::path_of;
use crate::plan::{Activation, Writer};

const NAME: &str = "90-rootless.conf";
/// Turns AppArmor's restriction of user namespaces off for all programs (Ubuntu, since 23.10).
const GLOBAL_USERNS: &str = "kernel.apparmor_restrict_unprivileged_userns";

pub(super) fn add(work: &mut Work, settings: &[Setting]) -> Result<(), FixError> {
    let mut written: BTreeMap<&str, &str> = BTreeMap::new();
    let mut activated: BTreeMap<&str, &str> = BTreeMap::new();
    for setting in settings {
        match setting {
            Setting::Sysctl { key, value } => {
                agree(&mut written, key, value)?;
                agree(&mut activated, key, value)?;
            }
            Setting::SysctlInEffect { key, value } => agree(&mut activated, key, value)?,
            Setting::UsernsProfile { .. } if work.options.allow_global_userns => {
                agree(&mut written, GLOBAL_USERNS, "0")?;
                agree(&mut activated, GLOBAL_USERNS, "0")?;
            }
            _ => {}
        }
    }
    if !written.is_empty() {
        let dir = work.dir("/etc/sysctl.d", "/usr/lib/sysctl.d");
        let texts: Vec<String> = written.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let edit = |text: &str| {
            written.iter().fold(text.to_owned(), |text, (key, value)| {
                let sets = |line: &str| {
                    let name = line.split_once('=').map(|(name, _)| name.trim().trim_start_matches('-'));
                    name.is_some_and(|name| path_of(name) == path_of(key))
                };
                set_line(&text, sets, &format!("{key} = {value}"))
            })
        };
        work.file(format!("{dir}/{NAME}"), Writer::System, (Template::Lines, &lines(&texts)), edit)?;
    }
    for (key, value) in activated {
        let before = work.facts.sysctl(key).ok().map(|now| now.value);
        let (key, value) = (key.to_owned(), value.to_owned());
        work.activate(Activation::Sysctl { key, value, before });
    }
    Ok(())
}

fn agree<'s>(all: &mut BTreeMap<&'s str, &'s str>, key: &'s str, value: &'s str) -> Result<(), FixError> {
    match all.insert(key, value).filter(|other| *other != value) {
        None => Ok(()),
        Some(other) => Err(FixError::Conflict {
            what: key.to_owned(),
            one: other.to_owned(),
            other: value.to_owned(),
        }),
    }
}
