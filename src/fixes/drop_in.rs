//! Drop-ins of system units and of `logind.conf`: what all user managers and user slices start with.

use std::collections::BTreeSet;

use super::draft::{Agreed, Draft, Place, one_line};
use super::sections::{Entry, with_entries};
use super::{FixError, Layer};
use crate::facts::cgroup::Controller;
use crate::facts::delegation::delegation;
use crate::facts::unit_syntax::{assignments, boolean, words};
use crate::facts::{Source, Sourced};
use crate::plan::Activation;
use crate::settings::Setting;

/// After what a vendor ships (10 to 50), and before a site's own `99-`.
pub(super) const NAME: &str = "90-rootless.conf";

pub(super) fn add(draft: &mut Draft<'_>, settings: &[Setting]) -> Result<(), FixError> {
    let mut controllers = BTreeSet::new();
    let (mut limits, mut tasks) = (Agreed::default(), Agreed::default());
    let mut keep_processes = false;
    for setting in settings {
        match setting {
            Setting::Delegation(list) => controllers.extend(list.iter().copied()),
            Setting::UserManagerLimit { directive, value } => {
                one_line(directive, value)?;
                limits.add(directive, value)?;
            }
            Setting::SliceTasks(value) => {
                one_line("TasksMax", value)?;
                tasks.add("TasksMax", value)?;
            }
            Setting::SliceTasksInEffect { uid } => draft.activate(Activation::SliceLimits { uid: *uid }),
            Setting::KeepUserProcesses => keep_processes = true,
            _ => {}
        }
    }
    if !controllers.is_empty() || !limits.0.is_empty() {
        let place = unit_place(draft, settings, "user@", "service")?;
        let path = place.path();
        let written = draft.edit(&place, |text| {
            let granted = granted(&path, text, &controllers);
            let limits = limits.0.iter().map(|(key, value)| Entry::last_wins(key, value));
            let entries: Vec<Entry<'_>> = granted.into_iter().chain(limits).collect();
            let edited = match (text, entries.is_empty()) {
                (Some(text), true) => text.to_owned(),
                _ => with_entries(&path, text, "Service", &entries)?,
            };
            match delegated(&path, &edited).is_superset(&controllers) {
                true => Ok(edited),
                false => Err(FixError::Refused(format!("{path}: another Delegate= there undoes ours"))),
            }
        })?;
        if written {
            draft.activate(Activation::Reload);
        }
    }
    if !tasks.0.is_empty() {
        let place = unit_place(draft, settings, "user-", "slice")?;
        if edit(draft, &place, "Slice", &tasks)? {
            draft.activate(Activation::Reload);
        }
    }
    if keep_processes {
        let place = draft.conf_place("systemd/logind.conf.d", NAME);
        let keep = Agreed(vec![("KillUserProcesses".to_owned(), "no".to_owned())]);
        if edit(draft, &place, "Login", &keep)? {
            draft.activate(Activation::ReloadLogind);
        }
    }
    Ok(())
}

/// Puts values into a section of a drop-in; false where that is in vain.
pub(super) fn edit(
    draft: &mut Draft<'_>,
    place: &Place,
    section: &str,
    values: &Agreed,
) -> Result<bool, FixError> {
    let path = place.path();
    draft.edit(place, |text| {
        let entries: Vec<Entry<'_>> =
            values.0.iter().map(|(key, value)| Entry::last_wins(key, value)).collect();
        with_entries(&path, text, section, &entries)
    })
}

/// The path of the drop-in for user managers.
pub(super) fn user_manager_path(layer: Layer) -> String {
    let root = match layer {
        Layer::Admin => "/etc",
        Layer::Vendor => "/usr/lib",
    };
    format!("{root}/systemd/system/user@.service.d/{NAME}")
}

/// The drop-in for all units `PREFIX*.SUFFIX`. A file of its name for a single user's unit, in the same
/// or a higher directory of the search path, comes before it.
pub(super) fn unit_place(
    draft: &Draft<'_>,
    settings: &[Setting],
    prefix: &str,
    suffix: &str,
) -> Result<Place, FixError> {
    let root = format!("{}/systemd/system", draft.root("/etc", "/usr/lib"));
    let mut uids: BTreeSet<u32> = BTreeSet::new();
    for setting in settings {
        if let Setting::DelegationInEffect { uid, .. } = setting {
            uids.insert(*uid);
        }
    }
    match draft.facts.regular_users() {
        Ok(users) => uids.extend(users.iter().map(|user| user.uid)),
        Err(why) if why.is_absent() => {}
        Err(why) => return Err(why.into()),
    }
    let mut dirs = Vec::new();
    for dir in draft.facts.system_unit_dirs() {
        dirs.extend(uids.iter().map(|uid| format!("{dir}/{prefix}{uid}.{suffix}.d")));
        dirs.push(format!("{dir}/{prefix}.{suffix}.d"));
    }
    let ours = format!("{root}/{prefix}.{suffix}.d");
    let mut place = draft.place_among(&dirs, &ours, NAME);
    place.lower.retain(|dir| dir.ends_with(&format!("/{prefix}.{suffix}.d")));
    Ok(place)
}

/// The line that grants what of `wanted` the file does not grant yet.
fn granted<'a>(path: &str, text: Option<&str>, wanted: &BTreeSet<Controller>) -> Option<Entry<'a>> {
    let text = text.unwrap_or_default();
    let missing: Vec<Controller> = wanted.difference(&delegated(path, text)).copied().collect();
    if missing.is_empty() {
        return None;
    }
    // A list adds to the one before it; an empty value takes back what comes before and has to stay.
    let last = values(path, text).pop().map(|value| value.value).unwrap_or_default();
    let is_list = !last.is_empty() && boolean(&last).is_none();
    let mut names: Vec<String> = if is_list { words(&last).unwrap_or_default() } else { Vec::new() };
    names.extend(missing.iter().map(|controller| controller.as_str().to_owned()));
    let line = format!("Delegate={}", names.join(" "));
    Some(Entry { replaces: Box::new(|key, value| key == "Delegate" && !value.is_empty()), line })
}

/// The controllers that a drop-in with this text grants.
pub(super) fn delegated(path: &str, text: &str) -> BTreeSet<Controller> {
    delegation(values(path, text).iter()).set()
}

fn values(path: &str, text: &str) -> Vec<Sourced<String>> {
    let all = assignments(&Source::new(path, text)).into_iter();
    all.filter(|a| a.section == "Service" && a.key == "Delegate").map(|a| a.value).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fix, host, ours, settled, vendor, written};
    use super::super::{Options, Step};
    use super::*;
    use Controller::{Cpu, Cpuset, Io, Memory};

    const USER: &str = "/etc/systemd/system/user@.service.d/90-rootless.conf";

    fn limit(value: &str) -> Setting {
        Setting::UserManagerLimit { directive: "LimitNOFILE", value: value.to_owned() }
    }

    #[test]
    fn settings_of_one_unit_share_a_file() {
        let settings = [
            Setting::Delegation(vec![Cpuset, Cpu]),
            Setting::SliceTasks("infinity".to_owned()),
            Setting::Delegation(vec![Io]),
            limit("524288"),
            Setting::KeepUserProcesses,
        ];
        let (fixes, _) = settled(&host(), &settings, &Options::default());
        assert_eq!(
            written(&fixes),
            [
                (USER, ours("[Service]\nDelegate=cpu cpuset io\nLimitNOFILE=524288\n")),
                ("/etc/systemd/system/user-.slice.d/90-rootless.conf", ours("[Slice]\nTasksMax=infinity\n")),
                ("/etc/systemd/logind.conf.d/90-rootless.conf", ours("[Login]\nKillUserProcesses=no\n")),
            ]
        );
        assert_eq!(fixes.activations, [Activation::Reload, Activation::ReloadLogind]);
        let (image, _) = settled(&host().image(), &settings, &vendor());
        let paths: Vec<&str> = image.artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "/usr/lib/systemd/system/user@.service.d/90-rootless.conf",
                "/usr/lib/systemd/system/user-.slice.d/90-rootless.conf",
                "/usr/lib/systemd/logind.conf.d/90-rootless.conf",
            ]
        );
        assert_eq!(image.activations, []);
    }

    #[test]
    fn what_the_file_says_already_stays() {
        for (text, edited) in [
            ("[Service]\nDelegate=memory\n", "[Service]\nDelegate=memory cpu cpuset\n"),
            ("[Service]\nDelegate=yes\n", "[Service]\nDelegate=yes\n"),
            ("[Service]\nDelegate=no\n", "[Service]\nDelegate=cpu cpuset\n"),
            (
                "[Service]\nDelegate=\nCPUWeight=1\n",
                "[Service]\nDelegate=\nCPUWeight=1\nDelegate=cpu cpuset\n",
            ),
            ("# mine\r\n[Service]\r\nDelegate=cpu\r\n", "# mine\r\n[Service]\r\nDelegate=cpu cpuset\r\n"),
            ("[Unit]\nX=1\n", "[Unit]\nX=1\n\n[Service]\nDelegate=cpu cpuset\n"),
        ] {
            let host = host().file(USER, text);
            let (_, after) = settled(&host, &[Setting::Delegation(vec![Cpu, Cpuset])], &Options::default());
            assert_eq!(after.text(USER), edited, "{text:?}");
        }
        let undone = host().file(USER, "[Service]\nDelegate=cpu\nDelegate=\n");
        let error = fix(&undone, &[Setting::Delegation(vec![Cpu])]).unwrap_err();
        assert_eq!(error.to_string(), format!("{USER}: another Delegate= there undoes ours"));
    }

    #[test]
    fn a_file_of_the_vendor_that_ours_hides_is_taken_over() {
        let below = "/usr/lib/systemd/system/user@.service.d/90-rootless.conf";
        let host = host().file(below, "[Service]\nDelegate=memory\n");
        let (fixes, _) = settled(&host, &[Setting::Delegation(vec![Cpu])], &Options::default());
        assert_eq!(written(&fixes), [(USER, "[Service]\nDelegate=memory cpu\n".to_owned())]);
        let (none, _) = settled(&host, &[Setting::Delegation(vec![Memory])], &Options::default());
        assert_eq!(none.artifacts, []);
    }

    #[test]
    fn a_file_that_would_not_be_read_is_not_written() {
        let step = |path: &str| Step {
            summary: format!("remove {path}, which keeps {USER} from being read, and run this again"),
            commands: Vec::new(),
        };
        for path in [
            "/etc/systemd/system.control/user@.service.d/90-rootless.conf",
            "/etc/systemd/system/user@1000.service.d/90-rootless.conf",
        ] {
            let fixes = fix(&host().file(path, ""), &[Setting::Delegation(vec![Cpu])]).unwrap();
            assert_eq!((fixes.artifacts.len(), fixes.activations.len()), (0, 0));
            assert_eq!(fixes.manual, [step(path)]);
        }
        let linked = host().file(USER, "").path(USER, |record| record.link = Some("/dev/null".to_owned()));
        let fixes = fix(&linked, &[Setting::Delegation(vec![Cpu])]).unwrap();
        assert_eq!(fixes.artifacts, []);
        assert_eq!(
            fixes.manual[0].summary,
            format!("remove {USER}, which is a link to /dev/null, and run this again")
        );
    }

    #[test]
    fn what_cannot_be_known_stops_everything() {
        let conflict = fix(&host(), &[limit("1"), limit("2")]).unwrap_err();
        assert_eq!(
            conflict.to_string(),
            "LimitNOFILE shall be both 1 and 2: change the profile or the site file"
        );
        assert!(matches!(fix(&host().error(USER, "denied"), &[limit("1")]), Err(FixError::Unread(_))));
        assert!(matches!(fix(&host(), &[limit("1\nExecStart=x")]), Err(FixError::Refused(_))));
    }
}
