//! `containers-registries.conf(5)`: where an image without a registry in its name is looked for.

use std::rc::Rc;

use super::containers_conf::user_containers_path;
use super::toml_keys::TomlKeys;
use super::users::User;
use super::{Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// What `short-name-mode` can be (containers/image, `pkg/sysregistriesv2`, `parseShortNameMode`).
const SHORT_NAME_MODES: [&str; 3] = ["enforcing", "permissive", "disabled"];
/// Keys of version 2 that Podman does not take beside those of version 1.
const VERSION_2: [&str; 4] =
    ["credential-helpers", "registry", "short-name-mode", "unqualified-search-registries"];

/// What is in effect for a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistriesConf {
    /// `unqualified-search-registries`; `None` where no file has it, so that names need a registry or a
    /// short-name alias.
    pub unqualified_search: Option<Sourced<Vec<String>>>,
    /// `short-name-mode`: `permissive` (the default), `enforcing` or `disabled`.
    pub short_name_mode: Option<Sourced<String>>,
    /// The files that were read, in their order.
    pub files: Vec<String>,
}

impl RegistriesConf {
    /// Takes the keys of one more file over those read before; an empty list counts as set.
    ///
    /// # Errors
    /// [`Unread::Malformed`](crate::host::Unread::Malformed) with the line.
    pub fn merge(&mut self, source: &Source) -> Fact<()> {
        let keys = TomlKeys::parse(source)?;
        // The format before version 2, which only the main file may have.
        let old = keys.strings(&["registries", "search", "registries"])?;
        let malformed = |line, expected: &str| Unread::Malformed {
            path: source.path().to_owned(),
            line,
            expected: expected.to_owned(),
        };
        for name in ["search", "insecure", "block"] {
            if let Some(old) = keys.strings(&["registries", name, "registries"])? {
                let is_new = |key: &String| VERSION_2.contains(&key.as_str());
                if source.path().contains("/registries.conf.d/") || keys.names(&[]).iter().any(is_new) {
                    return Err(malformed(
                        old.at.line,
                        "expected the format of version 2, this is of version 1",
                    ));
                }
            }
        }
        if let Some(Sourced { value, at }) = keys.strings(&["unqualified-search-registries"])?.or(old) {
            self.unqualified_search = Some(Sourced { value: value.values, at });
        }
        let mode = keys.string(&["short-name-mode"])?.filter(|mode| !mode.value.is_empty());
        if let Some(mode) = mode.as_ref().filter(|mode| !SHORT_NAME_MODES.contains(&mode.value.as_str())) {
            return Err(malformed(mode.at.line, "expected enforcing, permissive or disabled"));
        }
        self.short_name_mode = mode.or(self.short_name_mode.take());
        self.files.push(source.path().to_owned());
        Ok(())
    }
}

impl Facts {
    /// The user's registries (containers/image 5.37, `pkg/sysregistriesv2`, `newConfigWrapperWithHomeDir`):
    /// `/etc/containers/registries.conf`, the drop-ins beside it and the user's drop-ins; or, where the
    /// user has a `~/.config/containers/registries.conf`, that and the user's drop-ins alone.
    ///
    /// # Errors
    /// Why a file that exists could not be read or parsed.
    pub fn registries_conf(&self, user: &User) -> Fact<Rc<RegistriesConf>> {
        self.memo_fact(&user.name, || {
            let mut conf = RegistriesConf::default();
            let own = self.user_containers_files(user, "registries.conf")?;
            let main = user_containers_path(user, "registries.conf");
            if own.first().is_none_or(|source| source.path() != main) {
                if let Some(source) = self.source("/etc/containers/registries.conf").or_absent()? {
                    conf.merge(&source)?;
                }
                for path in self.conf_drop_ins("/etc/containers/registries.conf.d")? {
                    conf.merge(&*self.source(&path)?)?;
                }
            }
            for source in own {
                conf.merge(&source)?;
            }
            Ok(conf)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    fn search(host: TestHost) -> Fact<Option<(Vec<String>, String)>> {
        let user = User::example("edge", 1000);
        let conf = host.facts().registries_conf(&user)?;
        Ok(conf.unqualified_search.clone().map(|found| (found.value, found.at.to_string())))
    }

    fn found(names: &[&str], at: &str) -> Option<(Vec<String>, String)> {
        Some((names.iter().map(|name| (*name).to_owned()).collect(), at.to_owned()))
    }

    #[test]
    fn the_last_file_that_has_the_key_wins() {
        // Debian 13 ships the main file with comments only, and aliases as a drop-in.
        let host = empty_host()
            .file("/etc/containers/registries.conf", "# unqualified-search-registries = [\"example.com\"]\n")
            .file(
                "/etc/containers/registries.conf.d/shortnames.conf",
                "[aliases]\n  \"alpine\" = \"docker.io/library/alpine\"\n",
            );
        assert_eq!(search(host.clone()), Ok(None));
        let drop_in = "/etc/containers/registries.conf.d/10-edge.conf";
        let host = host.file(drop_in, "unqualified-search-registries = [\"docker.io\"]\n");
        assert_eq!(search(host.clone()), Ok(found(&["docker.io"], &format!("{drop_in}:1"))));
        let own = "/home/edge/.config/containers/registries.conf.d/x.conf";
        let host = host.file(own, "unqualified-search-registries = []\n");
        assert_eq!(search(host.clone()), Ok(found(&[], &format!("{own}:1"))));
        let main = "/home/edge/.config/containers/registries.conf";
        let alone = host
            .without("/home/edge/.config/containers/registries.conf.d")
            .file(main, "short-name-mode = \"disabled\"\n");
        assert_eq!(search(alone), Ok(None), "the system's files do not count beside it");
    }

    #[test]
    fn the_old_format_and_faults() {
        let main = "/etc/containers/registries.conf";
        let old = empty_host().file(main, "[registries.search]\nregistries = ['quay.io']\n");
        assert_eq!(search(old), Ok(found(&["quay.io"], &format!("{main}:2"))));
        let bad = empty_host().file(main, "unqualified-search-registries = \"docker.io\"\n");
        assert!(matches!(search(bad), Err(Unread::Malformed { line: Some(1), .. })));
        let both = "unqualified-search-registries = []\n[registries.block]\nregistries = ['quay.io']\n";
        let mixed = search(empty_host().file(main, both));
        assert!(matches!(mixed, Err(Unread::Malformed { line: Some(3), .. })), "{mixed:?}");
        let drop_in = "/etc/containers/registries.conf.d/x.conf";
        let old = search(empty_host().file(drop_in, "[registries.search]\nregistries = ['quay.io']\n"));
        assert!(matches!(old, Err(Unread::Malformed { line: Some(2), .. })), "{old:?}");
        let mode = search(empty_host().file(main, "short-name-mode = \"strict\"\n"));
        assert!(matches!(mode, Err(Unread::Malformed { line: Some(1), .. })), "{mode:?}");
    }
}
