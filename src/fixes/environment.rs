//! Variables for a user's services and logins: `environment.d(5)`.

use std::collections::BTreeMap;

use super::edit::set_line;
use super::template::Template;
use super::work::{Work, lines};
use super::{FixError, Setting};
use crate::plan::{Activation, Credentials, Writer};

const NAME: &str = "environment.d/90-rootless.conf";

pub(super) fn add(work: &mut Work, settings: &[Setting]) -> Result<(), FixError> {
    let mut wanted: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for setting in settings {
        let Setting::Environment { user, name, value } = setting else { continue };
        if value.contains(['$', '\n', '"', '\\', '\'']) {
            return Err(FixError::Refused(format!("{name}: {value:?} cannot be written to environment.d")));
        }
        let of_user = wanted.entry(user.as_str()).or_default();
        if let Some(other) = of_user.insert(name.as_str(), value.as_str()).filter(|other| *other != value.as_str()) {
            let (what, one) = (name.clone(), other.to_owned());
            return Err(FixError::Conflict { what, one, other: value.clone() });
        }
    }
    for (name, variables) in wanted {
        let user = work.user(name)?;
        let (path, by) = work
            .in_home(&user, NAME)
            .unwrap_or_else(|| (work.dir(&format!("/etc/{NAME}"), &format!("/usr/lib/{NAME}")), Writer::System));
        let texts: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let edit = |text: &str| {
            variables.iter().fold(text.to_owned(), |text, (name, value)| {
                let sets = |line: &str| line.split_once('=').is_some_and(|(key, _)| key.trim() == *name);
                set_line(&text, sets, &format!("{name}={value}"))
            })
        };
        work.file(path, by, (Template::Lines, &lines(&texts)), edit)?;
        if work.facts.running() && work.facts.user_manager_runs(user.uid)? {
            // Generators of the environment run when the user manager reads its files (`systemd.generator(7)`).
            work.activate(Activation::UserReload { user: Credentials::of(&user) });
        }
    }
    Ok(())
}
