//! What SELinux does, and how its policy labels the files below a path. Labels that files have are not read.

use super::{Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

const ENFORCE: &str = "/sys/fs/selinux/enforce";
const CONFIG: &str = "/etc/selinux/config";
/// `SELINUXTYPE=` where nothing sets it (`selinux_config(5)`).
const DEFAULT_TYPE: &str = "targeted";

/// What SELinux does with what its policy forbids (`selinux(8)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selinux {
    /// It refuses.
    Enforcing,
    /// It only logs.
    Permissive,
    /// No policy is loaded.
    Disabled,
}

/// The last value of a key (`selinux_config(5)`); libselinux passes over white space at the end.
fn setting(source: &Source, key: &str) -> Option<(u32, String)> {
    let values = source.lines().filter_map(|(line, text)| {
        let value = text.trim_start().strip_prefix(key)?.strip_prefix('=')?.trim();
        Some((line, value.to_owned()))
    });
    values.last()
}

/// The last `SELINUX=` that says something; case does not matter.
fn parse_mode(source: &Source) -> Option<Sourced<Selinux>> {
    let (line, value) = setting(source, "SELINUX")?;
    let mode = match value.to_ascii_lowercase().as_str() {
        "enforcing" => Selinux::Enforcing,
        "permissive" => Selinux::Permissive,
        "disabled" => Selinux::Disabled,
        _ => return None,
    };
    Some(source.on(line, &format!("SELINUX={value}"), mode))
}

/// The path under another name, by the first line `PATH OTHER` that is about it or a directory above it
/// (libselinux: `src/label_file.c`, `selabel_sub`).
fn substituted(source: &Source, path: &str) -> Option<String> {
    source.lines().find_map(|(_, line)| {
        let (from, to) = line.trim().split_once(char::is_whitespace)?;
        let rest = path.strip_prefix(from)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{}{rest}", to.trim()))
    })
}

/// Whether a line of `file_contexts(5)` is `DIRECTORY(/.*)?` and gives all that is below `path` a type of
/// containers.
fn is_of_containers(line: &str, path: &str) -> bool {
    let mut words = line.split_whitespace();
    let (Some(pattern), Some(context)) = (words.next(), words.next_back()) else { return false };
    let typed = context.split(':').nth(2).is_some_and(|kind| kind.starts_with("container_"));
    let Some(directory) = pattern.strip_suffix("(/.*)?").filter(|_| typed) else { return false };
    let directory = directory.replace("\\.", ".");
    let is_plain = !directory.contains(['\\', '[', '(', '*', '+', '?', '^', '$', '|']);
    is_plain && path.strip_prefix(&directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Facts {
    /// What SELinux does, where nothing runs what it will do; `None` where it is not in use, and in a
    /// container, where selinuxfs is not mounted.
    ///
    /// # Errors
    /// Why a file that is there could not be read.
    pub fn selinux(&self) -> Fact<Option<Sourced<Selinux>>> {
        if !self.running() {
            return Ok(self.source(CONFIG).or_absent()?.and_then(|source| parse_mode(&source)));
        }
        let Some(source) = self.source(ENFORCE).or_absent()? else { return Ok(None) };
        match source.text().trim() {
            "1" => Ok(Some(source.whole(Selinux::Enforcing))),
            "0" => Ok(Some(source.whole(Selinux::Permissive))),
            _ => Err(Unread::Malformed {
                path: source.path().to_owned(),
                line: Some(1),
                expected: "expected 0 or 1".to_owned(),
            }),
        }
    }

    /// Whether the policy gives what is below `path` a type of containers, by rules about whole directories.
    ///
    /// # Errors
    /// Why its rules could not be read, or that there are none.
    pub fn labelled_for_containers(&self, path: &str) -> Fact<bool> {
        let config = self.source(CONFIG).or_absent()?;
        let kind = config.and_then(|source| setting(&source, "SELINUXTYPE"));
        let kind = kind.map_or_else(|| DEFAULT_TYPE.to_owned(), |(_, kind)| kind);
        let rules = format!("/etc/selinux/{kind}/contexts/files/file_contexts");
        let mut path = path.to_owned();
        for suffix in ["subs", "subs_dist"] {
            if let Some(source) = self.source(&format!("{rules}.{suffix}")).or_absent()? {
                path = substituted(&source, &path).unwrap_or(path);
            }
        }
        // The rules about home directories are made from one template, HOME_DIR.
        if path.contains("/.local/share/containers/storage") {
            return Ok(true);
        }
        let mut found = false;
        let mut look = |line: &[u8]| {
            found |= std::str::from_utf8(line).is_ok_and(|line| is_of_containers(line, &path));
            !found
        };
        self.scan(&rules, &mut look)?;
        self.scan(&format!("{rules}.local"), &mut look).or_absent()?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    const RULES: &str = "/etc/selinux/targeted/contexts/files/file_contexts";

    #[test]
    fn now_and_configured() {
        let mode = |host: TestHost| host.facts().selinux().unwrap().map(|mode| mode.value);
        assert_eq!(mode(empty_host().file(ENFORCE, "1")), Some(Selinux::Enforcing));
        assert_eq!(mode(empty_host().file(ENFORCE, "0\n")), Some(Selinux::Permissive));
        let text = "# SELINUX= can take one of\n#     enforcing\nSELINUX=Permissive \nSELINUXTYPE=targeted\n";
        let configured = || empty_host().file(CONFIG, text);
        assert_eq!(mode(configured()), None, "not in use");
        let image = configured().image().facts().selinux().unwrap().unwrap();
        assert_eq!((image.value, image.at.line), (Selinux::Permissive, Some(3)));
        assert_eq!(mode(empty_host().image()), None);
        assert!(matches!(empty_host().file(ENFORCE, "x").facts().selinux(), Err(Unread::Malformed { .. })));
    }

    #[test]
    fn rules_about_directories() {
        let rule = "/var/lib/containers(/.*)?\tsystem_u:object_r:container_var_lib_t:s0";
        for (line, path, is) in [
            (rule, "/var/lib/containers/storage", true),
            (rule, "/var/lib/containers", true),
            (rule, "/var/lib/containers-of-edge", false),
            ("/data/a\\.b(/.*)?  system_u:object_r:container_file_t:s0", "/data/a.b/c", true),
            ("/data(/.*)?  -d  system_u:object_r:container_file_t:s0", "/data/c", true),
            ("/data(/.*)?  system_u:object_r:default_t:s0", "/data/c", false),
            ("/data/[^/]+(/.*)?  system_u:object_r:container_file_t:s0", "/data/[^/]+/c", false),
            ("/data(/.*)?  <<none>>", "/data", false),
        ] {
            assert_eq!(is_of_containers(line, path), is, "{line}: {path}");
        }
    }

    #[test]
    fn a_path_can_have_the_rules_of_another() {
        let labelled = |host: TestHost, path: &str| host.facts().labelled_for_containers(path);
        let rule = "/var/lib/containers(/.*)?\tsystem_u:object_r:container_var_lib_t:s0\n";
        let host = || empty_host().file(RULES, rule);
        assert_eq!(labelled(host(), "/var/lib/containers/edge"), Ok(true));
        assert_eq!(labelled(host(), "/data/edge"), Ok(false));
        let subs = |line: &str| host().file(&format!("{RULES}.subs"), line);
        assert_eq!(labelled(subs("/data /var/lib/containers/storage\n"), "/data/edge"), Ok(true));
        assert_eq!(labelled(subs("/dat /var/lib/containers\n"), "/data/edge"), Ok(false));
        let home = subs("/data/edge /home/edge/.local/share/containers/storage\n");
        assert_eq!(labelled(home, "/data/edge"), Ok(true));
        let local = "/data(/.*)?    system_u:object_r:container_file_t:s0\n";
        assert_eq!(labelled(host().file(&format!("{RULES}.local"), local), "/data/edge"), Ok(true));
        assert!(labelled(empty_host(), "/data").unwrap_err().is_absent());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)(SELINUX=|/data|\\(/\\.\\*\\)\\?|:| |.){0,30}") {
            let source = Source::new("/x", text.clone());
            let _ = (parse_mode(&source), substituted(&source, "/data/x"), is_of_containers(&text, "/data/x"));
        }
    }
}
