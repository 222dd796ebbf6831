//! Variables that a user's sessions start with, as far as files other than shell scripts set them:
//! `environment.d(5)` for the user manager, `/etc/environment` for logins (`pam_env(8)`).

use super::users::User;
use super::{Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// What logins start with.
const LOGIN_FILE: &str = "/etc/environment";

/// The last value that a file gives a variable.
///
/// # Errors
/// [`Unread::Malformed`] for a value that is made of variables which only a session knows.
pub fn assignment(source: &Source, name: &str, user: &User) -> Fact<Option<Sourced<String>>> {
    let mut last = None;
    for (number, line) in source.lines() {
        let text = line.trim();
        // pam_env(8) passes over `export`.
        let text = text.strip_prefix("export ").unwrap_or(text).trim_start();
        if let Some((key, value)) = text.split_once('=')
            && key == name
        {
            last = Some((number, line, expanded(value.trim(), user)));
        }
    }
    let Some((number, line, value)) = last else { return Ok(None) };
    let value = value.ok_or_else(|| Unread::Malformed {
        path: source.path().to_owned(),
        line: Some(number),
        expected: format!("{name} holds variables that only a session knows"),
    })?;
    Ok(Some(source.on(number, line, value)))
}

/// Takes quotes off, and puts in the variables that are the same in every session of the user.
fn expanded(value: &str, user: &User) -> Option<String> {
    let quoted = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    let mut out = quoted('"').or_else(|| quoted('\'')).unwrap_or(value).to_owned();
    let runtime_dir = format!("/run/user/{}", user.uid);
    let known = [("XDG_RUNTIME_DIR", runtime_dir.as_str()), ("HOME", &user.home), ("USER", &user.name)];
    for (name, text) in known {
        out = out.replace(&format!("${{{name}}}"), text).replace(&format!("${name}"), text);
    }
    (!out.contains('$')).then_some(out)
}

impl Facts {
    /// The value that the user's logins start with, from `/etc/environment`.
    ///
    /// # Errors
    /// As [`assignment`], and why the file could not be read.
    pub fn login_variable(&self, name: &str, user: &User) -> Fact<Option<Sourced<String>>> {
        match self.source(LOGIN_FILE).or_absent()? {
            Some(source) => assignment(&source, name, user),
            None => Ok(None),
        }
    }

    /// The value that the user manager gives to its services and to graphical sessions. A login over
    /// SSH or on a console does not start with it.
    ///
    /// # Errors
    /// As [`assignment`], and why a file could not be read.
    pub fn user_manager_variable(&self, name: &str, user: &User) -> Fact<Option<Sourced<String>>> {
        let mut dirs = vec![format!("{}/.config/environment.d", user.home.trim_end_matches('/'))];
        dirs.extend(self.conf_dirs("environment.d"));
        let files = self.user_conf_files_in(&dirs, user.uid, &user.groups);
        files.complete()?;
        let mut last = None;
        for source in files.texts() {
            last = assignment(source, name, user)?.or(last);
        }
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    fn edge() -> User {
        User::example("edge", 1000)
    }

    fn in_file(text: &str) -> Option<String> {
        assignment(&Source::new("/x", text), "V", &edge()).unwrap().map(|found| found.value)
    }

    #[test]
    fn the_last_assignment_counts() {
        let table = [
            ("V=a\nV=b\n", Some("b")),
            ("# V=a\n", None),
            ("VV=a\n", None),
            ("export V=\"a b\"\n", Some("a b")),
            ("V='x'", Some("x")),
            ("V=unix://${XDG_RUNTIME_DIR}/s\n", Some("unix:///run/user/1000/s")),
            ("V=$HOME/$USER", Some("/home/edge/edge")),
        ];
        for (text, value) in table {
            assert_eq!(in_file(text).as_deref(), value, "{text}");
        }
        let unknown = assignment(&Source::new("/x", "V=$OTHER\n"), "V", &edge());
        assert!(matches!(unknown, Err(Unread::Malformed { line: Some(1), .. })));
    }

    #[test]
    fn directories_of_the_user_come_first() {
        let own = "/home/edge/.config/environment.d/50.conf";
        let host = empty_host().file("/etc/environment.d/50.conf", "V=etc\n").file(own, "V=own\n");
        let read = |host: TestHost| host.facts().user_manager_variable("V", &edge());
        assert_eq!(read(host.clone()).unwrap().map(|v| v.at.to_string()), Some(format!("{own}:1")));
        let later = host.clone().file("/usr/lib/environment.d/60.conf", "V=vendor\n");
        assert_eq!(read(later).unwrap().map(|v| v.value), Some("vendor".to_owned()));
        assert!(read(host.error("/home/edge/.config/environment.d", "denied")).is_err());
        let login = empty_host().file("/etc/environment", "V=all\n").facts();
        assert_eq!(login.login_variable("V", &edge()).unwrap().map(|v| v.value), Some("all".to_owned()));
        assert_eq!(empty_host().facts().login_variable("V", &edge()), Ok(None));
    }
}
