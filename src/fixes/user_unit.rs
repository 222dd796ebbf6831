//! Units of the user manager: enabled by links, as `systemctl enable` makes them (`systemctl(1)`,
//! "enable"), and started.

use super::edit::set_line;
use super::template::Template;
use super::work::{Work, lines};
use super::{FixError, Setting, Wanted};
use crate::facts::unit_syntax::{assignments, words};
use crate::facts::users::User;
use crate::plan::{Activation, Credentials, Writer};

pub(super) fn add(work: &mut Work, settings: &[Setting]) -> Result<(), FixError> {
    for setting in settings {
        match setting {
            Setting::UserUnit { user, unit } => {
                let user = work.user(user)?;
                if enable(work, &user, unit)? {
                    start(work, &user, unit)?;
                }
            }
            Setting::UserUnitInEffect { user, unit } => {
                let user = work.user(user)?;
                start(work, &user, unit)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Starts a unit where a user manager runs, or will once the user lingers.
fn start(work: &mut Work, user: &User, unit: &str) -> Result<(), FixError> {
    if work.activates() {
        let user = Credentials::of(user);
        work.activate(Activation::UserReload { user: user.clone() });
        work.activate(Activation::UserStart { user, unit: unit.to_owned() });
    }
    Ok(())
}

/// Makes the links that pull the unit in; false where the unit cannot be enabled.
fn enable(work: &mut Work, user: &User, name: &str) -> Result<bool, FixError> {
    let enablement = work.facts.user_unit_enabled(&user.home, user.uid, &user.groups, name)?;
    let Some(fragment) = enablement.unit.fragment.clone().filter(|_| enablement.unit.masked.is_none()) else {
        work.manual(format!("{name} is not installed, or masked: it cannot be enabled"), Vec::new());
        return Ok(false);
    };
    let mut links = Vec::new();
    for (key, ending) in [("WantedBy", "wants"), ("RequiredBy", "requires"), ("UpheldBy", "upholds")] {
        for value in install(work, &fragment, key)? {
            links.push(format!("{value}.{ending}/{name}"));
        }
    }
    links.extend(install(work, &fragment, "Alias")?);
    if links.is_empty() {
        work.manual(format!("{name} has no [Install] section: it cannot be enabled"), Vec::new());
        return Ok(false);
    }
    for link in links {
        // A link of the image leads where the unit is on the running system.
        let (path, by) = work.in_home(user, &format!("systemd/user/{link}")).unwrap_or_else(|| {
            let dir = work.dir("/etc/systemd/user", "/usr/lib/systemd/user");
            (format!("{dir}/{link}"), Writer::System)
        });
        work.push(path, by, Wanted::Link(fragment.clone()));
    }
    if !work.facts.running() {
        preset(work, name)?;
    }
    Ok(true)
}

fn install(work: &Work, fragment: &str, key: &str) -> Result<Vec<String>, FixError> {
    let source = work.facts.unit_text(fragment)?;
    let values = assignments(&source).into_iter().filter(|a| a.section == "Install" && a.key == key);
    Ok(values.flat_map(|a| words(&a.value.value).unwrap_or_default()).collect())
}

/// Builders apply presets to images, which would take the link away again (`systemd.preset(5)`).
fn preset(work: &mut Work, name: &str) -> Result<(), FixError> {
    let dir = work.dir("/etc/systemd/user-preset", "/usr/lib/systemd/user-preset");
    let line = format!("enable {name}");
    let edit = |text: &str| set_line(text, |known| known.trim() == line, &line);
    let context = lines(std::slice::from_ref(&line));
    work.file(format!("{dir}/90-rootless.preset"), Writer::System, (Template::Lines, &context), edit)
}
