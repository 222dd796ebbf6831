//! Keys of `containers.conf(5)`, in a drop-in of the user's or, in an image, of all users'.

use toml::de::DeTable;
use toml::{Table, Value};

use super::draft::{Agreed, Draft, one_line};
use super::lines::{content, line_end, replaced, split};
use super::{FixError, template};
use crate::facts::line_of;
use crate::facts::users::User;
use crate::host::Unread;
use crate::plan::{Credentials, Writer};
use crate::settings::Setting;

const NAME: &str = "90-rootless.conf";
const ADMIN: &str = "/etc/containers/containers.conf.d";
const VENDOR: &str = "/usr/share/containers/containers.conf.d";

pub(super) fn add(draft: &mut Draft<'_>, settings: &[Setting]) -> Result<(), FixError> {
    let mut files: Vec<(Option<User>, Agreed)> = Vec::new();
    let mut all_read_vendors = true;
    for setting in settings {
        let Setting::Engine { user, table, key, value } = setting else { continue };
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if key.is_empty() || !key.chars().all(plain) {
            return Err(FixError::Refused(format!("{key:?}: expected a key of containers.conf(5)")));
        }
        one_line(key, value)?;
        parsed_value(key, value)?;
        let user = draft.user(user)?;
        all_read_vendors &= draft.facts.podman_is_at_least(&user, 6) == Some(true);
        let owner = if draft.facts.running() { Some(user) } else { None };
        let what = format!("{table}.{key}");
        match files.iter_mut().find(|(known, _)| *known == owner) {
            Some((_, values)) => values.add(&what, value)?,
            None => {
                let mut values = Agreed::default();
                values.add(&what, value)?;
                files.push((owner, values));
            }
        }
    }
    for (user, values) in files {
        // From Podman 6 on, a file of the same name in a lower directory does not count.
        let place = match &user {
            None => {
                let dirs = [ADMIN.to_owned(), VENDOR.to_owned()];
                // No Podman before 6 reads drop-ins of a vendor.
                let dir = if all_read_vendors { draft.root(ADMIN, VENDOR) } else { ADMIN };
                draft.place_among(&dirs, dir, NAME)
            }
            Some(user) => {
                let Some(dir) = draft.home_dir(user, ".config/containers/containers.conf.d")? else {
                    continue;
                };
                let dirs = [dir.clone(), ADMIN.to_owned(), VENDOR.to_owned()];
                let mut place = draft.place_among(&dirs, &dir, NAME);
                place.by = Writer::User(Credentials::of(user));
                place
            }
        };
        let path = place.path();
        draft.edit(&place, |text| {
            let mut text = text.unwrap_or_default().to_owned();
            for (what, value) in &values.0 {
                let (table, key) = what.split_once('.').unwrap_or_default();
                text = with_key(&path, &text, table, key, value)?;
            }
            Ok(text)
        })?;
    }
    Ok(())
}

fn parsed_value(key: &str, value: &str) -> Result<Value, FixError> {
    let parsed = format!("x = {value}").parse::<Table>().ok().filter(|table| table.len() == 1);
    parsed
        .and_then(|mut table| table.remove("x"))
        .ok_or_else(|| FixError::Refused(format!("{key}: expected a value as TOML has it, found {value:?}")))
}

/// `text` with one key set, and everything else as it is.
fn with_key(path: &str, text: &str, table: &str, key: &str, value: &str) -> Result<String, FixError> {
    let line = format!("{key} = {value}");
    if text.is_empty() {
        return template::drop_in(table, &[&line]);
    }
    let malformed = |error: toml::de::Error| Unread::Malformed {
        path: path.to_owned(),
        line: error.span().map(|span| line_of(text, span.start)),
        expected: error.message().to_owned(),
    };
    let mut wanted = text.parse::<Table>().map_err(malformed)?;
    let refused =
        || FixError::Refused(format!("{path}: {key} of [{table}] cannot be put into what is there"));
    let inner = wanted.entry(table).or_insert_with(|| Value::Table(Table::new()));
    inner.as_table_mut().ok_or_else(refused)?.insert(key.to_owned(), parsed_value(key, value)?);
    if text.parse::<Table>().is_ok_and(|found| found == wanted) {
        return Ok(text.to_owned());
    }
    let edited = match span_of(text, table, key) {
        Some(span) => {
            let (before, after) = (text.get(..span.start), text.get(span.end..));
            format!("{}{value}{}", before.unwrap_or_default(), after.unwrap_or_default())
        }
        None => inserted(text, table, &line),
    };
    // A header inside of a string, an inline table, dotted keys: whatever it is, it is not guessed at.
    if edited.parse::<Table>().is_ok_and(|found| found == wanted) { Ok(edited) } else { Err(refused()) }
}

/// Where the value of a key stands.
fn span_of(text: &str, table: &str, key: &str) -> Option<std::ops::Range<usize>> {
    let root = DeTable::parse(text).ok()?;
    let find = |(name, _): &(&_, &_), wanted: &str| {
        let name: &toml::Spanned<_> = name;
        let name: &std::borrow::Cow<'_, str> = name.get_ref();
        *name == wanted
    };
    let (_, inner) = root.get_ref().iter().find(|entry| find(entry, table))?;
    let (_, value) = inner.get_ref().as_table()?.iter().find(|entry| find(entry, key))?;
    Some(value.span())
}

/// `text` with a line after the header of its table, or with the table at the end.
fn inserted(text: &str, table: &str, line: &str) -> String {
    let all = split(text);
    let is_header = |part: &&str| -> bool {
        let header = content(part).split('#').next().unwrap_or_default().trim();
        let name = header.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        name.is_some_and(|name| name.trim() == table)
    };
    let eol = line_end(text);
    match all.iter().position(is_header) {
        Some(at) => replaced(text, at + 1, at + 1, line),
        None => replaced(text, all.len(), all.len(), &format!("{eol}[{table}]{eol}{line}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::testing::{fix, host, ours, settled, vendor, written};
    use super::*;
    use crate::facts::testing::podman;

    const PATH: &str = "/home/edge/.config/containers/containers.conf.d/90-rootless.conf";

    fn engine(user: &str, table: &'static str, key: &str, value: &str) -> Setting {
        Setting::Engine { user: user.to_owned(), table, key: key.to_owned(), value: value.to_owned() }
    }

    fn runtime() -> Setting {
        engine("edge", "engine", "runtime", "\"crun\"")
    }

    #[test]
    fn keys_go_into_tables() {
        let settings = [runtime(), engine("edge", "containers", "pids_limit", "0"), runtime()];
        let (fixes, _) = settled(&host(), &settings, &Options::default());
        let text = "[engine]\nruntime = \"crun\"\n\n[containers]\npids_limit = 0\n";
        assert_eq!(written(&fixes), [(PATH, ours(text))]);
        assert!(matches!(fixes.artifacts[0].by, Writer::User(_)));
        let image = host().image();
        let (admin, _) = settled(&image, &[runtime()], &Options::default());
        assert_eq!(written(&admin)[0].0, "/etc/containers/containers.conf.d/90-rootless.conf");
        let (early, _) = settled(&image, &[runtime()], &vendor());
        assert_eq!(written(&early), written(&admin));
        let (below, _) = settled(&podman(image, "6.0.0"), &[runtime()], &vendor());
        assert_eq!(written(&below)[0].0, "/usr/share/containers/containers.conf.d/90-rootless.conf");
        assert_eq!(below.artifacts[0].by, Writer::System);
    }

    #[test]
    fn everything_else_stays() {
        for (text, edited) in [
            ("[engine]\nruntime=\"runc\" # why\nx=1\n", "[engine]\nruntime=\"crun\" # why\nx=1\n"),
            ("# c\r\n[ engine ] # t\r\nx=1\r\n", "# c\r\n[ engine ] # t\r\nruntime = \"crun\"\r\nx=1\r\n"),
            ("[network]\nx=1", "[network]\nx=1\n\n[engine]\nruntime = \"crun\"\n"),
            ("engine.runtime = [\n \"a\",\n]\n", "engine.runtime = \"crun\"\n"),
            ("[engine]\nruntime = 'crun'\n", "[engine]\nruntime = 'crun'\n"),
        ] {
            let (_, after) = settled(&host().file(PATH, text), &[runtime()], &Options::default());
            assert_eq!(after.text(PATH), edited, "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_edited_is_refused() {
        let with = |text: &str| fix(&host().file(PATH, text), &[runtime()]);
        assert!(matches!(with("[engine\n"), Err(FixError::Unread(Unread::Malformed { line: Some(1), .. }))));
        assert!(matches!(with("engine = { x = 1 }\n"), Err(FixError::Refused(_))));
        assert!(matches!(with("engine = 1\n"), Err(FixError::Refused(_))));
        for value in ["crun", "1\ny = 2", "", "1 # c\ry"] {
            let got = fix(&host(), &[engine("edge", "engine", "runtime", value)]);
            assert!(matches!(got, Err(FixError::Refused(_))), "{value:?}");
        }
        let conflict = [runtime(), engine("edge", "engine", "runtime", "\"runc\"")];
        assert!(matches!(fix(&host(), &conflict), Err(FixError::Conflict { .. })));
        let latin = host().file(PATH, b"# \xe9\n");
        assert!(matches!(fix(&latin, &[runtime()]), Err(FixError::Unread(_))));
    }
}
