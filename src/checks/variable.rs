//! How a variable stands that a user's commands shall start with; what of it is shared by checks.

use crate::facts::users::User;
use crate::facts::{Evidence, Facts, Sourced};
use crate::finding::Remedy;
use crate::host::Fact;
use crate::settings::{Setting, quoted};

/// How a variable stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has this value.
    Set(Sourced<String>),
    /// It is not set, and the next login has the value that is wanted.
    AfterLogin(Evidence),
    /// It is not set.
    Unset,
    /// What the user's logins start with is not to be seen.
    Unknown(String),
}

/// As the commands of the user see it, as far as that is known: from the caller's own environment, else from
/// the files that set it. In an image nobody has exported anything, so that what the files say is all there is.
pub(super) fn standing(facts: &Facts, user: &User, name: &str, wanted: &str) -> Fact<Standing> {
    let login = facts.login_variable(name, user)?;
    if facts.running() && facts.caller().uid == user.uid {
        let value = facts.caller().environment.get(name).filter(|value| !value.is_empty());
        return Ok(match (value, login.filter(|login| login.value == wanted)) {
            (Some(value), _) => Standing::Set(Sourced {
                value: value.clone(),
                at: Evidence::path("/proc/self/environ", value),
            }),
            (None, Some(login)) => Standing::AfterLogin(login.at),
            (None, None) => Standing::Unset,
        });
    }
    let manager = facts.user_manager_variable(name, user)?;
    Ok(match login.or(manager) {
        Some(set) => Standing::Set(set),
        None if facts.running() => {
            Standing::Unknown(format!("only {0} sees what logins of {0} start with", user.name))
        }
        None => Standing::Unset,
    })
}

/// Sets it where a file can, and says what is left.
pub(super) fn remedy(user: &User, name: &str, wanted: &str) -> Remedy {
    let summary = format!(
        "set {name} for the services and graphical sessions of {}; a shell of a login over SSH has to export it",
        user.name
    );
    let setting =
        Setting::Environment { user: user.name.clone(), name: name.to_owned(), value: wanted.to_owned() };
    Remedy::setting(summary, setting).command(format!("export {name}={}", quoted(wanted)))
}
