//! Units of user managers: enabled by the links that `systemctl --user enable` makes, in an image by those
//! of `systemctl --global enable` and a preset, and started where a user manager runs.

use super::draft::Draft;
use super::drop_in::NAME;
use super::lines::{content, replaced, split};
use super::{FixError, Wanted, template};
use crate::facts::unit::Unit;
use crate::facts::unit_syntax::words;
use crate::facts::users::User;
use crate::plan::{Activation, Credentials, State, Writer};
use crate::settings::Setting;

const PRESET: &str = "systemd/user-preset";
/// The directories that links of `[Install]` go to (systemd, `src/shared/install.c`).
const PULLS: [(&str, &str); 3] = [("WantedBy", "wants"), ("RequiredBy", "requires"), ("UpheldBy", "upholds")];

pub(super) fn add(draft: &mut Draft<'_>, settings: &[Setting]) -> Result<(), FixError> {
    for setting in settings {
        let (name, unit, enable) = match setting {
            Setting::UserUnit { user, unit } => (user, unit, true),
            Setting::UserUnitInEffect { user, unit } => (user, unit, false),
            _ => continue,
        };
        let user = draft.user(name)?;
        if !is_name(unit) || !unit.contains('.') {
            return Err(FixError::Refused(format!("{unit:?}: expected the name of a unit")));
        }
        if found(draft, &user, unit)?.is_none() || enable && !enabled(draft, &user, unit, &mut Vec::new())? {
            continue;
        }
        if enable && !draft.facts.running() {
            preset(draft, unit)?;
        }
        if draft.manager_runs(&user)? {
            if enable {
                draft.activate(Activation::UserReload { user: Credentials::of(&user) });
            }
            let (user, unit) = (Credentials::of(&user), unit.clone());
            draft.activate(Activation::UserStart { user, unit, may_fail: false });
        }
    }
    Ok(())
}

/// The unit, unless it is absent, masked or a template, of which a person is told.
fn found(draft: &mut Draft<'_>, user: &User, name: &str) -> Result<Option<std::rc::Rc<Unit>>, FixError> {
    let unit = draft.facts.user_unit(&user.home, user.uid, &user.groups, name)?;
    if let Some(mask) = &unit.masked {
        draft.step(format!("unmask {name} of {}: remove {}", user.name, mask.path));
    } else if unit.fragment.is_none() {
        draft.step(format!("install what {name} comes with: there is no such unit for {}", user.name));
    } else if name.contains('@') {
        draft.step(format!("enable {name}, an instance of a template, for {}", user.name));
    } else {
        return Ok(Some(unit));
    }
    Ok(None)
}

/// Makes the links of a unit and of those that it names in `Also=`; false where that is in vain.
fn enabled(draft: &mut Draft<'_>, user: &User, name: &str, seen: &mut Vec<String>) -> Result<bool, FixError> {
    if seen.iter().any(|known| known == name) {
        return Ok(true);
    }
    seen.push(name.to_owned());
    let Some(unit) = found(draft, user, name)? else { return Ok(false) };
    let enablement = draft.facts.user_unit_enabled(&user.home, user.uid, &user.groups, name)?;
    if enablement.is_enabled() {
        return Ok(true);
    }
    if let Some(mask) = enablement.masked_by.first() {
        draft.step(format!("remove {}, which keeps {name} from being pulled in", mask.path));
        return Ok(false);
    }
    let mut links = Vec::new();
    for (key, ending) in PULLS {
        links.extend(list(&unit, key).into_iter().map(|by| (by.clone(), format!("{by}.{ending}/{name}"))));
    }
    let aliases = list(&unit, "Alias").into_iter().filter(|alias| alias != name);
    links.extend(aliases.map(|alias| (alias.clone(), alias)));
    let also = list(&unit, "Also");
    let mut all = links.iter().map(|(by, _)| by).chain(&also);
    if let Some(odd) = all.find(|by| !is_name(by)) {
        draft.step(format!("enable {name} for {}: edgeprep does not know what {odd} stands for", user.name));
        return Ok(false);
    }
    if links.is_empty() && also.is_empty() {
        draft.step(format!("pull {name} in from another unit: it has no [Install] section"));
        return Ok(false);
    }
    let (dir, by) = if draft.facts.running() {
        let Some(dir) = draft.home_dir(user, ".config/systemd/user")? else { return Ok(false) };
        (dir, Writer::User(Credentials::of(user)))
    } else {
        (format!("{}/systemd/user", draft.root("/etc", "/usr/lib")), Writer::System)
    };
    let fragment = unit.fragment.clone().unwrap_or_default();
    for (_, link) in links {
        let path = format!("{dir}/{link}");
        match draft.facts.existing(&path)? {
            State::Absent => draft.put(&path, by.clone(), Wanted::Link(fragment.clone())),
            // Where a link leads does not matter to systemd.
            State::Link { target, .. } if target != "/dev/null" => {}
            State::Link { .. } | State::File { .. } | State::Dir { .. } => {
                draft.step(format!("remove {path}, in whose place a link to {fragment} belongs"));
                return Ok(false);
            }
        }
    }
    for other in also {
        enabled(draft, user, &other, seen)?;
    }
    Ok(true)
}

/// What `[Install]` lists by a key; an empty value takes back what comes before.
fn list(unit: &Unit, key: &str) -> Vec<String> {
    let mut names = Vec::new();
    for value in unit.values("Install", key) {
        if value.value.is_empty() {
            names.clear();
        }
        names.extend(words(&value.value).unwrap_or_default());
    }
    names
}

/// Whether a name is one, without specifiers and other directories.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    !name.is_empty() && name.chars().all(plain) && !name.starts_with('.')
}

/// Has whoever applies presets enable the unit as well (`systemd.preset(5)`). The first line that fits
/// decides, so ours comes before the others.
pub(super) fn preset(draft: &mut Draft<'_>, unit: &str) -> Result<(), FixError> {
    let place = draft.conf_place(PRESET, &NAME.replace(".conf", ".preset"));
    let line = format!("enable {unit}");
    draft.edit(&place, |text| {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return template::lines(&[&line]) };
        let all = split(text);
        let rule = |part: &&&str| {
            !content(part).trim().is_empty() && !content(part).trim_start().starts_with(['#', ';'])
        };
        let about = |part: &&str| content(part).split_whitespace().nth(1) == Some(unit);
        match all.iter().filter(rule).find(|part| about(part)) {
            Some(part) if content(part).split_whitespace().next() == Some("enable") => Ok(text.to_owned()),
            _ => {
                let first = all.iter().position(|part| rule(&part)).unwrap_or(all.len());
                Ok(replaced(text, first, first, &line))
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fix, host, managed, ours, settled, vendor, written};
    use super::super::{Fixes, Options};
    use super::*;
    use crate::facts::testing::TestHost;

    const UNIT: &str = "podman.socket";
    const FRAGMENT: &str = "/usr/lib/systemd/user/podman.socket";

    fn with_unit(host: TestHost, install: &str) -> TestHost {
        host.file(FRAGMENT, format!("[Socket]\nListenStream=%t/x\n[Install]\n{install}"))
    }

    fn enable() -> Setting {
        Setting::UserUnit { user: "edge".to_owned(), unit: UNIT.to_owned() }
    }

    fn steps(fixes: &Fixes) -> Vec<&str> {
        assert_eq!((fixes.artifacts.len(), fixes.activations.len()), (0, 0));
        fixes.manual.iter().map(|step| step.summary.as_str()).collect()
    }

    #[test]
    fn a_user_gets_the_links_that_systemctl_makes() {
        let service = "[Service]\nExecStart=/x\n[Install]\nWantedBy=default.target\nAlso=podman.socket\n";
        let host = with_unit(managed(), "WantedBy=sockets.target\nAlias=x.socket\nAlso=podman.service\n")
            .file("/usr/lib/systemd/user/podman.service", service);
        let (fixes, after) = settled(&host, &[enable(), enable()], &Options::default());
        let link = format!("-> {FRAGMENT}");
        assert_eq!(
            written(&fixes),
            [
                ("/home/edge/.config/systemd/user/sockets.target.wants/podman.socket", link.clone()),
                ("/home/edge/.config/systemd/user/x.socket", link),
                (
                    "/home/edge/.config/systemd/user/default.target.wants/podman.service",
                    "-> /usr/lib/systemd/user/podman.service".to_owned()
                ),
            ]
        );
        assert!(fixes.artifacts.iter().all(|artifact| matches!(artifact.by, Writer::User(_))));
        assert!(matches!(
            &fixes.activations[..],
            [Activation::UserReload { .. }, Activation::UserStart { unit, .. }] if unit == UNIT
        ));
        assert!(after.facts().user_unit_enabled("/home/edge", 1000, &[1000], UNIT).unwrap().is_enabled());
        let quiet = with_unit(super::super::testing::host(), "WantedBy=sockets.target\n");
        let (fixes, _) = settled(&quiet, &[enable()], &Options::default());
        assert_eq!((fixes.artifacts.len(), fixes.activations.len()), (1, 0), "no user manager runs");
    }

    #[test]
    fn an_image_has_it_enabled_for_all_users() {
        let image = with_unit(host().image(), "WantedBy=sockets.target\n");
        for (options, root) in [(Options::default(), "/etc"), (vendor(), "/usr/lib")] {
            let (fixes, _) = settled(&image, &[enable()], &options);
            let link = format!("{root}/systemd/user/sockets.target.wants/podman.socket");
            let preset = format!("{root}/systemd/user-preset/90-rootless.preset");
            assert_eq!(
                written(&fixes),
                [
                    (link.as_str(), format!("-> {FRAGMENT}")),
                    (preset.as_str(), ours("enable podman.socket\n"))
                ]
            );
        }
        let preset = "/etc/systemd/user-preset/90-rootless.preset";
        for (text, edited) in [
            ("# c\ndisable *\n", "# c\nenable podman.socket\ndisable *\n"),
            ("disable podman.socket\n", "enable podman.socket\ndisable podman.socket\n"),
            ("enable podman.socket", "enable podman.socket"),
            ("# c", "# c\nenable podman.socket\n"),
        ] {
            let (_, after) = settled(&image.clone().file(preset, text), &[enable()], &Options::default());
            assert_eq!(after.text(preset), edited, "{text:?}");
        }
    }

    #[test]
    fn one_that_is_enabled_is_only_started() {
        let path = "/etc/systemd/user/sockets.target.wants/podman.socket";
        let host = with_unit(managed(), "WantedBy=sockets.target\n");
        let on = host.clone().file(path, "").path(path, |record| record.link = Some(FRAGMENT.to_owned()));
        let (fixes, _) = settled(&on, &[enable()], &Options::default());
        assert_eq!((fixes.artifacts.len(), fixes.activations.len()), (0, 2));
        let in_effect = Setting::UserUnitInEffect { user: "edge".to_owned(), unit: UNIT.to_owned() };
        let fixes = fix(&host, &[in_effect]).unwrap();
        assert!(matches!(&fixes.activations[..], [Activation::UserStart { .. }]));
        assert_eq!(fixes.artifacts, []);
    }

    #[test]
    fn what_cannot_be_enabled_is_left_to_a_person() {
        let none = fix(&managed(), &[enable()]).unwrap();
        assert_eq!(steps(&none), ["install what podman.socket comes with: there is no such unit for edge"]);
        let mask = "/etc/systemd/user/podman.socket";
        let masked = with_unit(managed(), "WantedBy=sockets.target\n");
        let masked = masked.file(mask, "").path(mask, |record| record.link = Some("/dev/null".to_owned()));
        let masked = fix(&masked, &[enable()]).unwrap();
        assert_eq!(steps(&masked), [format!("unmask podman.socket of edge: remove {mask}")]);
        let bare = fix(&with_unit(managed(), ""), &[enable()]).unwrap();
        assert_eq!(steps(&bare), ["pull podman.socket in from another unit: it has no [Install] section"]);
        for by in ["WantedBy=../x\n", "WantedBy=a%i.target\n"] {
            assert_eq!(steps(&fix(&with_unit(managed(), by), &[enable()]).unwrap()).len(), 1, "{by}");
        }
        let odd = Setting::UserUnit { user: "edge".to_owned(), unit: "../x.socket".to_owned() };
        assert!(matches!(fix(&managed(), &[odd]), Err(FixError::Refused(_))));
    }
}
