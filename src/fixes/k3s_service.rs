//! The unit that runs K3s without root (k3s: `k3s-rootless.service`), and the drop-in with what the profile
//! says of its network.

use super::edit::set_line;
use super::template::Template;
use super::work::{READABLE, Section, Work, sections};
use super::{FixError, Setting, Wanted};
use crate::facts::users::User;
use crate::plan::{Activation, Content, Credentials, State, Writer};

const UNIT: &str = "k3s-rootless.service";

pub(super) fn add(work: &mut Work, settings: &[Setting]) -> Result<(), FixError> {
    for setting in settings {
        let Setting::K3sService { user, program, environment } = setting else { continue };
        let user = work.user(user)?;
        unit(work, &user, program)?;
        drop_in(work, &user, environment)?;
        if work.facts.running() && work.facts.user_manager_runs(user.uid)? {
            work.activate(Activation::UserReload { user: Credentials::of(&user) });
        }
    }
    Ok(())
}

fn place(work: &Work, user: &User, below: &str) -> (String, Writer) {
    work.in_home(user, &format!("systemd/user/{below}")).unwrap_or_else(|| {
        (format!("{}/{below}", work.dir("/etc/systemd/user", "/usr/lib/systemd/user")), Writer::System)
    })
}

/// The unit, unless somebody has one already.
fn unit(work: &mut Work, user: &User, program: &str) -> Result<(), FixError> {
    let known = work.facts.user_unit(&user.home, user.uid, &user.groups, UNIT)?;
    let (path, by) = place(work, user, UNIT);
    let mut context = tera::Context::new();
    context.insert("program", &unit_word(program)?);
    // A unit in /etc is one of all users.
    let only_for = (by == Writer::System).then(|| user.name.clone());
    context.insert("condition_user", &only_for.unwrap_or_default());
    let text = Template::K3sService.render(&context)?;
    match known.fragment.as_deref() {
        None => {}
        Some(fragment) if fragment != path => return Ok(()),
        Some(_) => {
            let ours = Content::new(text.clone().into_bytes());
            let same = matches!(work.existing(&path, &by)?, State::File { content, .. } if content.is(&ours));
            if !same {
                work.manual(format!("{path} is somebody's own, and is left as it is"), Vec::new());
            }
            return Ok(());
        }
    }
    work.push(path, by, Wanted::File { bytes: text.into_bytes(), mode: READABLE });
    Ok(())
}

fn drop_in(work: &mut Work, user: &User, environment: &[(String, String)]) -> Result<(), FixError> {
    if environment.is_empty() {
        return Ok(());
    }
    let mut texts = Vec::new();
    for (name, value) in environment {
        let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if !name.starts_with("K3S_") || !name.chars().all(allowed) {
            let why = format!("{name}: expected a variable of K3s, K3S_...; those with _K3S_ are its own");
            return Err(FixError::Refused(why));
        }
        texts.push((name, format!("Environment={}", unit_word(&format!("{name}={value}"))?)));
    }
    let (path, by) = place(work, user, &format!("{UNIT}.d/90-rootless.conf"));
    let all = texts.iter().map(|(_, text)| text.clone()).collect();
    let context = sections(&[Section { name: "Service".to_owned(), lines: all }]);
    work.file(path, by, (Template::DropIn, &context), |text| {
        texts.iter().fold(text.to_owned(), |text, (name, new)| {
            let sets = |line: &str| {
                let value = line.trim().strip_prefix("Environment=").unwrap_or_default();
                value.trim_start_matches('"').starts_with(&format!("{name}="))
            };
            set_line(&text, sets, new)
        })
    })
}

/// A word in a unit file (`systemd.syntax(7)`, "Quoting"; `systemd.unit(5)`, "Specifiers").
fn unit_word(word: &str) -> Result<String, FixError> {
    if word.contains(['\n', '\r', '\0']) {
        return Err(FixError::Refused(format!("{word:?} cannot be written to a unit file")));
    }
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    let plain = |c: char| !c.is_whitespace() && !"\"'\\;$".contains(c);
    Ok(if word.chars().all(plain) { escaped } else { format!("\"{escaped}\"") })
}
