//! Directives of single units, in drop-ins: of the system manager's for all users, of a user manager's in
//! the user's own configuration or, in an image, in that of all users.

use super::FixError;
use super::draft::{Agreed, Draft, Place, one_line};
use super::drop_in::{NAME, edit, unit_place};
use super::user_unit::is_name;
use crate::plan::{Activation, Credentials, Writer};
use crate::settings::Setting;

/// Drop-ins of users are theirs alone: K3s has variables with tokens in the same file.
const PRIVATE: u32 = 0o600;

/// What one drop-in shall say in its one section.
struct Wanted<'a> {
    /// The user of whose manager the unit is; `None` for the system's, and for all users'.
    user: Option<&'a str>,
    of_user_manager: bool,
    unit: &'a str,
    section: &'static str,
    values: Agreed,
}

pub(super) fn add(draft: &mut Draft<'_>, settings: &[Setting]) -> Result<(), FixError> {
    let mut all: Vec<Wanted<'_>> = Vec::new();
    for setting in settings {
        let (name, unit, section, key, value) = match setting {
            Setting::UnitDirective { unit, section, key, value } => (None, unit, *section, *key, value),
            Setting::UserUnitDirective { user, unit, section, key, value } => {
                (Some(user.as_str()), unit, *section, *key, value)
            }
            _ => continue,
        };
        if !is_name(unit) || !unit.contains('.') {
            return Err(FixError::Refused(format!("{unit:?}: expected the name of a unit")));
        }
        one_line(key, value)?;
        if let Some(name) = name {
            draft.user(name)?;
        }
        let of_user_manager = name.is_some();
        let user = name.filter(|_| draft.facts.running());
        let same = |known: &&mut Wanted<'_>| {
            (known.user, known.of_user_manager, known.unit, known.section)
                == (user, of_user_manager, unit.as_str(), section)
        };
        match all.iter_mut().find(same) {
            Some(known) => known.values.add(key, value)?,
            None => {
                let mut values = Agreed::default();
                values.add(key, value)?;
                all.push(Wanted { user, of_user_manager, unit, section, values });
            }
        }
    }
    for wanted in &all {
        write(draft, settings, wanted)?;
    }
    Ok(())
}

fn write(draft: &mut Draft<'_>, settings: &[Setting], wanted: &Wanted<'_>) -> Result<(), FixError> {
    let Wanted { user, unit, section, values, .. } = wanted;
    match user {
        Some(name) => {
            let user = draft.user(name)?;
            let sub = format!(".config/systemd/user/{unit}.d");
            let Some(dir) = draft.home_dir(&user, &sub)? else { return Ok(()) };
            let dirs = draft.facts.user_unit_dirs(&user.home, user.uid);
            let dirs: Vec<String> = dirs.iter().map(|dir| format!("{dir}/{unit}.d")).collect();
            let searched = format!("{}/{sub}", user.home.trim_end_matches('/'));
            let place = draft.place_among(&dirs, &searched, NAME);
            let place = Place { dir, by: Writer::User(Credentials::of(&user)), mode: PRIVATE, ..place };
            if edit(draft, &place, section, values)? && draft.manager_runs(&user)? {
                draft.activate(Activation::UserReload { user: Credentials::of(&user) });
            }
        }
        None if wanted.of_user_manager => {
            // A user's own file of the name comes first for that user alone.
            let dirs = draft.facts.vendor_dirs("systemd/user").into_iter();
            let dirs: Vec<String> = std::iter::once("/etc/systemd/user".to_owned())
                .chain(dirs)
                .map(|dir| format!("{dir}/{unit}.d"))
                .collect();
            let dir = format!("{}/systemd/user/{unit}.d", draft.root("/etc", "/usr/lib"));
            let place = draft.place_among(&dirs, &dir, NAME);
            edit(draft, &place, section, values)?;
        }
        None => {
            let place = system_place(draft, settings, unit)?;
            if edit(draft, &place, section, values)? {
                draft.activate(Activation::Reload);
            }
        }
    }
    Ok(())
}

fn system_place(draft: &Draft<'_>, settings: &[Setting], unit: &str) -> Result<Place, FixError> {
    if let Some((prefix, suffix)) = unit.split_once('.')
        && prefix.len() > 1
        && prefix.ends_with(['@', '-'])
    {
        return unit_place(draft, settings, prefix, suffix);
    }
    let dirs: Vec<String> =
        draft.facts.system_unit_dirs().iter().map(|dir| format!("{dir}/{unit}.d")).collect();
    let dir = format!("{}/systemd/system/{unit}.d", draft.root("/etc", "/usr/lib"));
    Ok(draft.place_among(&dirs, &dir, NAME))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fix, host, managed, ours, settled, vendor, written};
    use super::super::{Options, Step};
    use super::*;
    use crate::facts::cgroup::Controller;

    fn system(unit: &str, section: &'static str, key: &'static str, value: &str) -> Setting {
        Setting::UnitDirective { unit: unit.to_owned(), section, key, value: value.to_owned() }
    }

    fn user(name: &str, unit: &str, section: &'static str, key: &'static str, value: &str) -> Setting {
        let (user, unit, value) = (name.to_owned(), unit.to_owned(), value.to_owned());
        Setting::UserUnitDirective { user, unit, section, key, value }
    }

    const USER: &str = "/etc/systemd/system/user@.service.d/90-rootless.conf";
    const SLICE: &str = "/etc/systemd/system/user-.slice.d/90-rootless.conf";
    const K3S: &str = "/home/edge/.config/systemd/user/k3s-rootless.service.d/90-rootless.conf";

    #[test]
    fn a_drop_in_is_shared_with_other_settings() {
        let settings = [
            system("user-.slice", "Slice", "MemoryMax", "infinity"),
            system("user@.service", "Service", "NoNewPrivileges", "no"),
            Setting::Delegation(vec![Controller::Cpu]),
            system("user-.slice", "Slice", "AllowedCPUs", ""),
            Setting::SliceTasks("infinity".to_owned()),
            system("-.slice", "Slice", "ManagedOOMSwap", "auto"),
        ];
        let (fixes, _) = settled(&host(), &settings, &Options::default());
        let mut found = written(&fixes);
        found.sort();
        assert_eq!(
            found,
            [
                ("/etc/systemd/system/-.slice.d/90-rootless.conf", ours("[Slice]\nManagedOOMSwap=auto\n")),
                (SLICE, ours("[Slice]\nTasksMax=infinity\nMemoryMax=infinity\nAllowedCPUs=\n")),
                (USER, ours("[Service]\nDelegate=cpu\nNoNewPrivileges=no\n")),
            ]
        );
        assert_eq!(fixes.activations, [Activation::Reload]);
        let (image, _) = settled(&host().image(), &settings, &vendor());
        assert!(image.artifacts.iter().all(|artifact| artifact.path.starts_with("/usr/lib/systemd/system/")));
        assert_eq!(image.activations, []);
    }

    #[test]
    fn what_is_there_is_edited() {
        let no = [system("user@.service", "Service", "NoNewPrivileges", "no")];
        for (text, edited) in [
            ("[Service]\nNoNewPrivileges=yes\nX=1\n", "[Service]\nNoNewPrivileges=no\nX=1\n"),
            ("[Service]\nDelegate=cpu\n", "[Service]\nDelegate=cpu\nNoNewPrivileges=no\n"),
        ] {
            let (_, after) = settled(&host().file(USER, text), &no, &Options::default());
            assert_eq!(after.text(USER), edited);
        }
    }

    #[test]
    fn a_unit_of_a_user_manager_is_the_users_own() {
        let settings = [
            user("edge", "k3s-rootless.service", "Service", "NoNewPrivileges", "no"),
            user("edge", "app.slice", "Slice", "ManagedOOMSwap", "auto"),
        ];
        let (fixes, _) = settled(&managed(), &settings, &Options::default());
        let app = "/home/edge/.config/systemd/user/app.slice.d/90-rootless.conf";
        assert_eq!(
            written(&fixes),
            [(K3S, ours("[Service]\nNoNewPrivileges=no\n")), (app, ours("[Slice]\nManagedOOMSwap=auto\n"))]
        );
        assert!(fixes.artifacts.iter().all(|artifact| matches!(artifact.by, Writer::User(_))));
        let Writer::User(edge) = fixes.artifacts[0].by.clone() else { panic!() };
        assert_eq!(fixes.activations, [Activation::UserReload { user: edge }]);
        let variable = Setting::K3sService {
            user: "edge".to_owned(),
            program: "/usr/local/bin/k3s".to_owned(),
            environment: vec![("K3S_TOKEN".to_owned(), "x".to_owned())],
        };
        let with_token = [variable, settings[0].clone()];
        let (fixes, after) = settled(&managed(), &with_token, &Options::default());
        assert_eq!(after.text(K3S), ours("[Service]\nEnvironment=\"K3S_TOKEN=x\"\nNoNewPrivileges=no\n"));
        let modes = fixes.artifacts.iter().filter(|artifact| artifact.path == K3S);
        let modes: Vec<bool> = modes
            .map(|artifact| matches!(artifact.wanted, super::super::Wanted::File { mode: 0o600, .. }))
            .collect();
        assert_eq!(modes, [true]);
        let (image, _) = settled(&host().image(), &settings, &Options::default());
        assert_eq!(written(&image)[0].0, "/etc/systemd/user/k3s-rootless.service.d/90-rootless.conf");
        assert!(image.artifacts.iter().all(|artifact| artifact.by == Writer::System));
    }

    #[test]
    fn what_must_not_be_written_is_refused() {
        for unit in ["../x.service", "a/b.slice", "", "x"] {
            assert!(matches!(fix(&host(), &[system(unit, "Slice", "A", "1")]), Err(FixError::Refused(_))));
        }
        let lines = system("user.slice", "Slice", "MemoryMax", "1\nX=2");
        assert!(matches!(fix(&host(), &[lines]), Err(FixError::Refused(_))));
        let two = [
            system("user.slice", "Slice", "MemoryMax", "1"),
            system("user.slice", "Slice", "MemoryMax", "2"),
        ];
        assert!(matches!(fix(&host(), &two), Err(FixError::Conflict { .. })));
        assert!(matches!(
            fix(&host(), &[user("nobody", "a.slice", "Slice", "A", "1")]),
            Err(FixError::Refused(_))
        ));
        let hidden = host().file("/etc/systemd/system.control/user.slice.d/90-rootless.conf", "");
        let fixes = fix(&hidden, &two[..1]).unwrap();
        assert_eq!((fixes.artifacts.len(), fixes.activations.len()), (0, 0));
        let [Step { summary, .. }] = &fixes.manual[..] else { panic!() };
        assert!(summary.starts_with("remove /etc/systemd/system.control/"), "{summary}");
    }
}
