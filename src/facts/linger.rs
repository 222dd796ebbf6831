//! Whether a user lingers: whether the user manager is started at boot and outlives the last log-out
//! (`loginctl(1)`, "enable-linger"). A file named after the user says so (systemd,
//! `src/login/logind.c`, `manager_enumerate_linger_users`). Whether the manager runs is in `session`.

use super::unit_syntax::{physical_lines, words};
use super::{Evidence, Facts, Source, Sourced};
use crate::host::{Fact, Kind, OrAbsent};

/// Where the files are.
const DIRECTORY: &str = "/var/lib/systemd/linger";

/// Endings of files that a package manager or an editor left behind; systemd passes them over
/// (`src/basic/path-util.c`, `hidden_or_backup_file`).
const BACKUP_ENDINGS: [&str; 17] = [
    "rpmnew",
    "rpmsave",
    "rpmorig",
    "dpkg-old",
    "dpkg-new",
    "dpkg-tmp",
    "dpkg-dist",
    "dpkg-bak",
    "dpkg-backup",
    "dpkg-remove",
    "ucf-new",
    "ucf-old",
    "ucf-dist",
    "swp",
    "bak",
    "old",
    "new",
];

/// What is known of a user's lingering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Linger {
    /// The user lingers: the file is there.
    On(Evidence),
    /// The file is there, and `loginctl` shows that the user lingers, but at boot logind takes a
    /// file of this name for a backup and passes it over.
    OnUntilBoot(Evidence),
    /// The user does not linger. The path is where the file would be.
    Off(Evidence),
}

/// The file that makes a user linger; its name is escaped as in C (`src/basic/escape.c`, `cescape`).
pub fn linger_path(user: &str) -> String {
    format!("{DIRECTORY}/{}", escape(user))
}

fn escape(user: &str) -> String {
    let mut escaped = String::new();
    for byte in user.bytes() {
        match byte {
            0x07 => escaped.push_str("\\a"),
            0x08 => escaped.push_str("\\b"),
            b'\t' => escaped.push_str("\\t"),
            b'\n' => escaped.push_str("\\n"),
            0x0b => escaped.push_str("\\v"),
            0x0c => escaped.push_str("\\f"),
            b'\r' => escaped.push_str("\\r"),
            b'\\' | b'"' | b'\'' => escaped.extend(['\\', char::from(byte)]),
            b' '..=b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("\\{byte:03o}")),
        }
    }
    escaped
}

/// Whether logind passes over the file of this user when it lists the directory at boot.
pub fn is_passed_over(user: &str) -> bool {
    is_hidden_or_backup(&escape(user))
}

/// Whether logind, which lists the directory at boot, passes over a file of this name.
fn is_hidden_or_backup(name: &str) -> bool {
    name.starts_with('.')
        || name.ends_with('~')
        || matches!(name, "lost+found" | "aquota.user" | "aquota.group")
        || name.rsplit_once('.').is_some_and(|(_, ending)| BACKUP_ENDINGS.contains(&ending))
}

/// The paths that the lines of a tmpfiles.d file create as files (`tmpfiles.d(5)`), below the linger
/// directory.
fn created_files(source: &Source) -> impl Iterator<Item = Sourced<String>> + '_ {
    physical_lines(source.text()).filter_map(|(number, line)| {
        let text = line.trim_matches([' ', '\t']);
        // A file is made by f, L and C, with whatever modifiers.
        if !text.starts_with(['f', 'F', 'L', 'C']) || !text.contains(DIRECTORY) {
            return None;
        }
        let path = words(text)?.into_iter().nth(1)?;
        Some(source.on(number, text, path))
    })
}

impl Facts {
    /// Whether a user lingers, by the file that says so.
    ///
    /// # Errors
    /// Where the directory cannot be searched.
    pub fn linger(&self, user: &str) -> Fact<Linger> {
        let path = linger_path(user);
        Ok(match self.stat(&path).or_absent()? {
            Some(stat) if stat.kind != Kind::File => Linger::Off(Evidence::path(&path, "is no file")),
            Some(_) if is_hidden_or_backup(&escape(user)) => {
                Linger::OnUntilBoot(Evidence::path(&path, "exists"))
            }
            Some(_) => Linger::On(Evidence::path(&path, "exists")),
            None => Linger::Off(Evidence::path(&path, "does not exist")),
        })
    }

    /// The tmpfiles.d line that makes a user linger from the next boot on. It is what an image uses
    /// whose `/var` is not kept; on a system that has booted since, the file is there as well.
    ///
    /// # Errors
    /// Where there is no such line and something could not be read.
    pub fn linger_by_tmpfiles(&self, user: &str) -> Fact<Option<Sourced<String>>> {
        let path = linger_path(user);
        let files = self.conf_files("tmpfiles.d");
        let found = files.texts().flat_map(|source| created_files(source)).find(|file| file.value == path);
        if found.is_none() {
            files.complete()?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;
    use crate::host::Unread;

    #[test]
    fn a_file_makes_a_user_linger() {
        let path = "/var/lib/systemd/linger/edge";
        let on = empty_host().file(path, "").facts();
        assert_eq!(on.linger("edge"), Ok(Linger::On(Evidence::path(path, "exists"))));
        assert!(matches!(on.linger("other"), Ok(Linger::Off(_))));
        assert!(matches!(empty_host().dir(path, "0755", 0).facts().linger("edge"), Ok(Linger::Off(_))));
        let denied = empty_host().error(path, "denied").facts();
        assert_eq!(denied.linger("edge"), Err(Unread::Denied { path: path.to_owned() }));
    }

    #[test]
    fn a_name_that_looks_like_a_backup_is_passed_over_at_boot() {
        for name in ["edge.new", "edge.bak", "edge~", ".edge", "svc.dpkg-old"] {
            let facts = empty_host().file(&linger_path(name), "").facts();
            assert!(matches!(facts.linger(name), Ok(Linger::OnUntilBoot(_))), "{name}");
        }
        assert!(!is_hidden_or_backup("first.last"));
    }

    #[test]
    fn names_are_escaped_as_in_c() {
        assert_eq!(linger_path("edge-1.x"), "/var/lib/systemd/linger/edge-1.x");
        assert_eq!(escape("a\\b\t'é"), "a\\\\b\\t\\'\\303\\251");
    }

    #[test]
    fn tmpfiles_can_make_the_file() {
        let by = |line: &str| {
            let text = format!("d /run/x 0755\n{line}\n");
            let facts = empty_host().image().file("/usr/lib/tmpfiles.d/linger.conf", text).facts();
            facts.linger_by_tmpfiles("edge").unwrap().map(|found| found.at.to_string())
        };
        let at = Some("/usr/lib/tmpfiles.d/linger.conf:2".to_owned());
        assert_eq!(by("f /var/lib/systemd/linger/edge 0644 root root - -"), at);
        assert_eq!(by("f+!\t\"/var/lib/systemd/linger/edge\""), at);
        assert_eq!(by("f /var/lib/systemd/linger/edge2"), None);
        assert_eq!(by("r /var/lib/systemd/linger/edge"), None);
        assert_eq!(by("# f /var/lib/systemd/linger/edge"), None);
        let unread = empty_host().image().error("/usr/lib/tmpfiles.d", "denied").facts();
        assert!(unread.linger_by_tmpfiles("edge").is_err());
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(text in "(f|L|/var/lib/systemd/linger/|\\PC|[\n\"'\\\\ ]){0,40}") {
            prop_assert!(escape(&text).is_ascii());
            created_files(&Source::new("/f", text)).count();
        }
    }
}
