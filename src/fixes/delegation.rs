//! Delegation in effect: which controllers shall reach a user manager that runs, by what the files grant
//! once this fix is written.

use super::draft::Draft;
use super::drop_in::{delegated, user_manager_path};
use super::{FixError, Options};
use crate::facts::cgroup::{Controller, Controllers};
use crate::facts::delegation::with_drop_in;
use crate::facts::delegation_effect::Effect;
use crate::plan::{Activation, Credentials};
use crate::settings::Setting;

pub(super) fn add(draft: &mut Draft<'_>, settings: &[Setting]) -> Result<(), FixError> {
    for setting in settings {
        let Setting::DelegationInEffect { user, uid } = setting else { continue };
        let user = draft.user(user)?;
        if !draft.manager_runs(&user)? {
            continue;
        }
        let mut controllers = Vec::new();
        for controller in granted(draft, draft.options, *uid)? {
            // What the kernel does not have reaches nobody.
            let effect = draft.facts.delegation_effect(*uid, controller);
            if !matches!(effect, Ok(Effect::NotInKernel(_))) {
                controllers.push(controller.as_str().to_owned());
            }
        }
        draft.activate(Activation::Delegation { user: Credentials::of(&user), controllers });
    }
    Ok(())
}

fn granted(draft: &Draft<'_>, options: &Options, uid: u32) -> Result<Controllers, FixError> {
    let path = user_manager_path(options.layer);
    let mut granted = match draft.planned(&path).map(String::from_utf8_lossy) {
        Some(text) => {
            let unit = draft.facts.unit(&format!("user@{uid}.service"))?;
            let ours: Vec<Controller> = delegated(&path, &text).into_iter().collect();
            with_drop_in(&unit, &path, &ours).map_or_else(|_| Controllers::new(), |found| found.set())
        }
        None => draft.facts.delegation(uid)?.set(),
    };
    let disabled = draft.facts.disabled_controllers(uid)?;
    granted.retain(|controller| !disabled.contains_key(controller));
    Ok(granted)
}

#[cfg(test)]
mod tests {
    use super::super::fixes;
    use super::super::testing::{fix, host, managed};
    use super::*;

    fn in_effect() -> Setting {
        Setting::DelegationInEffect { user: "edge".to_owned(), uid: 1000 }
    }

    #[test]
    fn what_the_files_grant_with_this_fix_and_the_kernel_has() {
        let host = managed()
            .file("/usr/lib/systemd/system/user@.service", "[Service]\nDelegate=pids memory cpu\n")
            .file("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu memory pids\n")
            .file("/proc/self/mountinfo", "35 24 0:30 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n");
        let names = |settings: &[Setting]| match fix(&host, settings).unwrap().activations.pop() {
            Some(Activation::Delegation { user, controllers }) => {
                assert_eq!((user.uid, user.groups), (1000, vec![993, 1000]));
                controllers.join(" ")
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(names(&[in_effect()]), "cpu memory pids");
        let grant = Setting::Delegation(vec![Controller::Cpuset, Controller::Io]);
        assert_eq!(names(&[in_effect(), grant.clone()]), "cpu cpuset memory pids");
        let quiet = Options { no_activate: true, ..Options::default() };
        assert_eq!(fixes(&host.clone().facts(), &[in_effect(), grant], &quiet).unwrap().activations, []);
        let disabled = "[Slice]\nDisableControllers=memory\n";
        let host = host.clone().file("/etc/systemd/system/user.slice", disabled);
        let fixes = fix(&host, &[in_effect()]).unwrap();
        assert!(
            matches!(&fixes.activations[..], [Activation::Delegation { controllers, .. }] if controllers == &["cpu", "pids"])
        );
    }

    #[test]
    fn without_a_user_manager_there_is_nobody_to_tell() {
        assert_eq!(fix(&host(), &[in_effect()]).unwrap().activations, []);
        assert_eq!(fix(&managed().image(), &[in_effect()]).unwrap().activations, []);
    }
}
