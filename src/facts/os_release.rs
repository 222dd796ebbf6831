//! Which operating system is installed: `os-release(5)`.

use std::rc::Rc;

use super::{Evidence, Facts, Source};
use crate::host::{Fact, OrAbsent};

/// The fields of `os-release` that matter here. Defaults are those of `os-release(5)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OsRelease {
    /// `ID`, such as `debian`; `linux` where it is not set.
    pub id: String,
    /// `ID_LIKE`: what it is derived from, nearest first.
    pub id_like: Vec<String>,
    /// `VERSION_ID`, such as `13`. Rolling distributions have none.
    pub version_id: Option<String>,
    /// `PRETTY_NAME`; `Linux` where it is not set.
    pub pretty_name: String,
    /// `VARIANT_ID`, such as `coreos`.
    pub variant_id: Option<String>,
    /// The line of `ID`, or the file where there is none.
    pub at: Evidence,
}

impl OsRelease {
    /// Reads a file. A later line wins over an earlier one, as when a shell sources it.
    pub fn parse(source: &Source) -> OsRelease {
        let mut os = OsRelease {
            id: "linux".to_owned(),
            id_like: Vec::new(),
            version_id: None,
            pretty_name: "Linux".to_owned(),
            variant_id: None,
            at: Evidence::path(source.path(), ""),
        };
        for (number, line) in source.lines() {
            let Some((key, value)) = line.trim().split_once('=').filter(|(key, _)| !key.starts_with('#'))
            else {
                continue;
            };
            let value = unquoted(value);
            match key {
                "ID" => {
                    os.id = value;
                    os.at = Evidence::line(source.path(), number, line);
                }
                "ID_LIKE" => os.id_like = value.split_whitespace().map(str::to_owned).collect(),
                "VERSION_ID" => os.version_id = Some(value).filter(|value| !value.is_empty()),
                "PRETTY_NAME" => os.pretty_name = value,
                "VARIANT_ID" => os.variant_id = Some(value).filter(|value| !value.is_empty()),
                _ => {}
            }
        }
        os
    }

    /// Whether it is this distribution or derived from it.
    pub fn is_like(&self, id: &str) -> bool {
        self.id == id || self.id_like.iter().any(|like| like == id)
    }
}

/// Takes quotes and backslashes away as a shell does: in single quotes nothing is special, in double
/// quotes a backslash counts before `"`, `$`, a backtick and itself, elsewhere before anything.
fn unquoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut quote = None;
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => out.push(c),
            (None, '\\') => out.extend(chars.next()),
            (Some(_), '\\') => match chars.next() {
                Some(next @ ('"' | '$' | '`' | '\\')) => out.push(next),
                Some(next) => out.extend(['\\', next]),
                None => out.push('\\'),
            },
            (None, c) if c.is_whitespace() => break,
            (_, c) => out.push(c),
        }
    }
    out
}

impl Facts {
    /// `/etc/os-release`, or `/usr/lib/os-release` where there is none.
    ///
    /// # Errors
    /// [`Unread::Absent`](crate::host::Unread::Absent) where there is neither, and why it could not be
    /// read.
    pub fn os_release(&self) -> Fact<Rc<OsRelease>> {
        self.memo_fact("", || {
            let source = match self.source("/etc/os-release").or_absent()? {
                Some(source) => source,
                None => self.source("/usr/lib/os-release")?,
            };
            Ok(OsRelease::parse(&source))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;

    fn parse(text: &str) -> OsRelease {
        OsRelease::parse(&Source::new("/etc/os-release", text))
    }

    #[test]
    fn reads_debian_and_derivatives() {
        // Debian 13.
        let debian = parse("PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nVERSION_ID=\"13\"\nID=debian\n");
        assert_eq!((debian.id.as_str(), debian.version_id.as_deref()), ("debian", Some("13")));
        assert_eq!(debian.pretty_name, "Debian GNU/Linux 13 (trixie)");
        assert_eq!(debian.at.to_string(), "/etc/os-release:3");
        // openSUSE Leap 15.6.
        let leap = parse("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\nVERSION_ID=\"15.6\"\n");
        assert!(leap.is_like("suse") && leap.is_like("opensuse-leap") && !leap.is_like("debian"));
    }

    #[test]
    fn quotes_are_those_of_a_shell() {
        let pretty = |value: &str| parse(&format!("PRETTY_NAME={value}\n")).pretty_name;
        assert_eq!(pretty(r#""a \"b\" \$c \n""#), r#"a "b" $c \n"#);
        assert_eq!(pretty(r"'a \ $b'"), r"a \ $b");
        assert_eq!(pretty(r"a\ b c"), "a b");
        assert_eq!(pretty("\"unclosed"), "unclosed");
        assert_eq!(parse("# ID=no\n#ID=no\nID=\n").id, "");
        assert_eq!((parse("").id.as_str(), parse("VERSION_ID=\"\"\n").version_id), ("linux", None));
    }

    #[test]
    fn the_file_in_usr_is_the_second_choice() {
        let host = empty_host().file("/usr/lib/os-release", "ID=fedora\n");
        assert_eq!(host.clone().facts().os_release().unwrap().id, "fedora");
        let both = host.clone().file("/etc/os-release", "ID=site\n").facts();
        assert_eq!(both.os_release().unwrap().id, "site");
        assert!(host.error("/etc/os-release", "denied").facts().os_release().is_err());
        assert!(empty_host().facts().os_release().unwrap_err().is_absent());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)(.{0,20}|ID=|[\"'\\\\]|\n){0,12}") {
            let _ = parse(&text);
        }
    }
}
