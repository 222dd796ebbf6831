//! Variables of services and of what a user manager starts (`environment.d(5)`).

use super::draft::{Agreed, Draft, one_line};
use super::lines::with_line;
use super::{FixError, template};
use crate::facts::users::User;
use crate::plan::{Activation, Credentials, Writer};
use crate::settings::Setting;

const DIR: &str = "environment.d";
const NAME: &str = "90-rootless.conf";

pub(super) fn add(draft: &mut Draft<'_>, settings: &[Setting]) -> Result<(), FixError> {
    let mut by_user: Vec<(&str, Agreed)> = Vec::new();
    let mut all = Agreed::default();
    for setting in settings {
        let Setting::Environment { user, name, value } = setting else { continue };
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(word) {
            return Err(FixError::Refused(format!("{name:?}: expected the name of a variable")));
        }
        one_line(name, value)?;
        if value.contains('$') {
            return Err(FixError::Refused(format!(
                "{name}: expected a value without variables, found {value:?}"
            )));
        }
        if !draft.facts.running() {
            all.add(name, &of_all(value, &draft.user(user)?))?;
        } else if let Some((_, values)) = by_user.iter_mut().find(|(known, _)| known == user) {
            values.add(name, value)?;
        } else {
            let mut values = Agreed::default();
            values.add(name, value)?;
            by_user.push((user, values));
        }
    }
    for (name, values) in by_user {
        let user = draft.user(name)?;
        if write(draft, Some(&user), &values)? && draft.manager_runs(&user)? {
            draft.activate(Activation::UserReload { user: Credentials::of(&user) });
        }
    }
    if !all.0.is_empty() {
        write(draft, None, &all)?;
    }
    Ok(())
}

/// A value of one user as the file of all users has it: `environment.d(5)` puts in what the user manager was
/// started with, of which pam_systemd(8) sets both.
fn of_all(value: &str, user: &User) -> String {
    value
        .replace(&format!("/run/user/{}/", user.uid), "${XDG_RUNTIME_DIR}/")
        .replace(&format!("{}/", user.home.trim_end_matches('/')), "${HOME}/")
}

/// Writes the file of one user, or that of all users.
fn write(draft: &mut Draft<'_>, user: Option<&User>, values: &Agreed) -> Result<bool, FixError> {
    let place = match user {
        None => draft.conf_place(DIR, NAME),
        Some(user) => {
            let Some(dir) = draft.home_dir(user, &format!(".config/{DIR}"))? else { return Ok(false) };
            let mut dirs = vec![dir.clone()];
            dirs.extend(draft.facts.conf_dirs(DIR));
            let mut place = draft.place_among(&dirs, &dir, NAME);
            place.by = Writer::User(Credentials::of(user));
            place
        }
    };
    draft.edit(&place, |text| {
        let lines: Vec<(&str, String)> = values
            .0
            .iter()
            .map(|(name, value)| (name.as_str(), format!("{name}={}", quoted(value))))
            .collect();
        match text.filter(|text| !text.is_empty()) {
            None => template::lines(&lines.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>()),
            Some(text) => Ok(lines.iter().fold(text.to_owned(), |text, (name, line)| {
                let is_old = |old: &str| old.split_once('=').is_some_and(|(key, _)| key.trim() == *name);
                with_line(&text, is_old, line)
            })),
        }
    })
}

/// A value as systemd reads it (`src/basic/env-file.c`): bare, else in single quotes, where nothing has
/// a meaning, else in double quotes.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=${}".contains(c);
    if value.chars().all(plain) {
        value.to_owned()
    } else if !value.contains('\'') {
        format!("'{value}'")
    } else {
        let escape = |c: char| if "\"\\`".contains(c) { vec!['\\', c] } else { vec![c] };
        format!("\"{}\"", value.chars().flat_map(escape).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::testing::{fix, host, managed, ours, settled, vendor, written};
    use super::*;
    use crate::host::Unread;

    const PATH: &str = "/home/edge/.config/environment.d/90-rootless.conf";

    fn variable(user: &str, name: &str, value: &str) -> Setting {
        Setting::Environment { user: user.to_owned(), name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn the_user_writes_their_own_file() {
        let settings =
            [variable("edge", "DOCKER_HOST", "unix:///run/user/1000/x.sock"), variable("edge", "B", "a b")];
        let (fixes, _) = settled(&managed(), &settings, &Options::default());
        assert_eq!(written(&fixes), [(PATH, ours("DOCKER_HOST=unix:///run/user/1000/x.sock\nB='a b'\n"))]);
        let Writer::User(edge) = fixes.artifacts[0].by.clone() else { panic!() };
        assert_eq!((edge.uid, edge.gid, edge.home.as_str()), (1000, 1000, "/home/edge"));
        assert_eq!(fixes.activations, [Activation::UserReload { user: edge }]);
        assert_eq!(fix(&host(), &settings).unwrap().activations, [], "no user manager runs");
    }

    #[test]
    fn an_image_has_one_file_for_all_users() {
        let image = host().image();
        let settings = [variable("edge", "A", "1"), variable("other", "A", "1")];
        let (fixes, _) = settled(&image, &settings, &Options::default());
        assert_eq!(written(&fixes), [("/etc/environment.d/90-rootless.conf", ours("A=1\n"))]);
        assert_eq!(fixes.artifacts[0].by, Writer::System);
        assert_eq!(
            written(&settled(&image, &settings, &vendor()).0)[0].0,
            "/usr/lib/environment.d/90-rootless.conf"
        );
        let socket = |user: &str, uid: u32| variable(user, "A", &format!("unix:///run/user/{uid}/x.sock"));
        let both = settled(&image, &[socket("edge", 1000), socket("other", 1001)], &Options::default());
        assert_eq!(written(&both.0)[0].1, ours("A=unix://${XDG_RUNTIME_DIR}/x.sock\n"));
        let homes = [variable("edge", "A", "/home/edge/a"), variable("other", "A", "/home/other/a")];
        assert_eq!(written(&fix(&image, &homes).unwrap())[0].1, ours("A=${HOME}/a\n"));
        let conflict = [variable("edge", "A", "1"), variable("other", "A", "2")];
        assert!(matches!(fix(&image, &conflict), Err(FixError::Conflict { .. })));
        assert_eq!(fix(&host(), &conflict).unwrap().artifacts.len(), 2);
    }

    #[test]
    fn other_variables_stay() {
        let host = host().file(PATH, "# mine\nA=0\nB=1");
        let (_, after) = settled(&host, &[variable("edge", "A", "it's")], &Options::default());
        assert_eq!(after.text(PATH), "# mine\nA=\"it's\"\nB=1");
    }

    #[test]
    fn what_a_user_cannot_read_is_not_copied_for_them() {
        let secret = host().file(PATH, "X=secret\n").mode(PATH, "0600");
        let denied = fix(&secret, &[variable("edge", "A", "1")]);
        assert_eq!(denied, Err(FixError::Unread(Unread::Denied { path: PATH.to_owned() })));
        let below = "/etc/environment.d/90-rootless.conf";
        let taken_over = host().file(below, "X=1\n");
        let fixes = fix(&taken_over, &[variable("edge", "A", "1")]).unwrap();
        assert_eq!(written(&fixes), [(PATH, "X=1\nA=1\n".to_owned())]);
        let fixes = fix(&taken_over.mode(below, "0600"), &[variable("edge", "A", "1")]).unwrap();
        assert_eq!(written(&fixes), [(PATH, ours("A=1\n"))]);
    }

    #[test]
    fn links_in_a_home_are_followed_but_not_out_of_it() {
        let link = |to: &str| {
            let host = host().dir("/home/edge/dot", "0755", 1000);
            host.path("/home/edge/.config", |record| record.link = Some(to.to_owned()))
        };
        let fixes = fix(&link("dot"), &[variable("edge", "A", "1")]).unwrap();
        assert_eq!(written(&fixes)[0].0, "/home/edge/dot/environment.d/90-rootless.conf");
        let out = fix(&link("/etc"), &[variable("edge", "A", "1")]).unwrap();
        assert_eq!((out.artifacts.len(), out.manual.len()), (0, 1));
        let homeless = fix(&host().without("/home/edge"), &[variable("edge", "A", "1")]).unwrap();
        assert_eq!(homeless.manual[0].summary, "create /home/edge, the home directory of edge");
    }

    #[test]
    fn values_that_systemd_would_expand_are_refused() {
        for (name, value) in
            [("A", "${HOME}"), ("A", "$X"), ("A", "a\nb"), ("1A", "x"), ("A B", "x"), ("", "x")]
        {
            let got = fix(&host(), &[variable("edge", name, value)]);
            assert!(matches!(got, Err(FixError::Refused(_))), "{name} {value}");
        }
        assert_eq!(quoted("a'b\\`\""), "\"a'b\\\\\\`\\\"\"");
        assert_eq!((quoted("").as_str(), quoted("#").as_str()), ("", "'#'"));
    }
}
