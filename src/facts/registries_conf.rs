//! `containers-registries.conf(5)`: where an image without a registry in its name is looked for.

use std::rc::Rc;

use super::containers_conf::user_containers_path;
use super::toml_keys::TomlKeys;
use super::users::User;
use super::version::Version;
use super::{Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// What `short-name-mode` can be (containers/image, `pkg/sysregistriesv2`, `parseShortNameMode`).
const SHORT_NAME_MODES: [&str; 3] = ["enforcing", "permissive", "disabled"];
/// Keys of version 2 that Podman does not take beside those of version 1 (containers/image,
/// `V2RegistriesConf`).
const VERSION_2: [&str; 6] = [
    "additional-layer-store-auth-helper",
    "aliases",
    "credential-helpers",
    "registry",
    "short-name-mode",
    "unqualified-search-registries",
];

/// What Podman makes of the format of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version1 {
    /// Taken in the main file, where nothing of version 2 is beside it. Podman before 4.4 passes over keys
    /// with an empty list (containers/image 5.17 to 5.23, `Nonempty`; later ones: `hasSetField`).
    Taken {
        /// Whether an empty list counts; `None` where that is not known.
        empty_counts: Option<bool>,
    },
    /// Refused, from Podman 6 on (container-libs, `image/pkg/sysregistriesv2`, `loadConfigFile`).
    Refused,
}

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
    pub fn merge(&mut self, source: &Source, version_1: Version1) -> Fact<()> {
        let keys = TomlKeys::parse(source)?;
        // The format before version 2, which only the main file may have.
        let old = keys.strings(&["registries", "search", "registries"])?;
        let malformed = |line, expected: &str| Unread::Malformed {
            path: source.path().to_owned(),
            line,
            expected: expected.to_owned(),
        };
        for name in ["search", "insecure", "block"] {
            let Some(set) = keys.strings(&["registries", name, "registries"])? else { continue };
            let is_empty = set.value.values.is_empty();
            let version_2 = malformed(set.at.line, "expected the format of version 2, this is of version 1");
            let empty_counts = match version_1 {
                Version1::Refused => return Err(version_2),
                Version1::Taken { empty_counts } => empty_counts,
            };
            let is_drop_in = source.path().contains("/registries.conf.d/");
            let is_new = |key: &&str| keys.is_set(key, empty_counts != Some(false));
            let is_alone = !is_drop_in && !VERSION_2.iter().any(is_new);
            match empty_counts {
                _ if is_alone => {}
                Some(false) if is_empty => {}
                None if is_empty => {
                    return Err(malformed(
                        set.at.line,
                        "of the format of version 1, and not every Podman passes over an empty list",
                    ));
                }
                _ => return Err(version_2),
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
    /// user has a `~/.config/containers/registries.conf`, that and the user's drop-ins alone. For Podman 6 see
    /// [`Facts::files_of_podman_6`].
    ///
    /// # Errors
    /// Why a file that exists could not be read or parsed.
    pub fn registries_conf(&self, user: &User) -> Fact<Rc<RegistriesConf>> {
        self.memo_fact(&user.name, || {
            let mut conf = RegistriesConf::default();
            if self.podman_is_at_least(user, 6) == Some(true) {
                for source in self.files_of_podman_6(user, "registries")? {
                    conf.merge(&source, Version1::Refused)?;
                }
                return Ok(conf);
            }
            let podman = self.podman(user).ok().flatten();
            let version = podman.as_ref().and_then(|podman| podman.version.as_ref().ok());
            let empty_counts = version.and_then(|known| known.value.is_at_least(&Version::new(&[4, 4])));
            let version_1 = Version1::Taken { empty_counts };
            let own = self.user_containers_files(user, "registries.conf")?;
            let main = user_containers_path(user, "registries.conf");
            if own.first().is_none_or(|source| source.path() != main) {
                if let Some(source) = self.source("/etc/containers/registries.conf").or_absent()? {
                    conf.merge(&source, version_1)?;
                }
                for path in self.conf_drop_ins("/etc/containers/registries.conf.d")? {
                    conf.merge(&*self.source(&path)?, version_1)?;
                }
            }
            for source in own {
                conf.merge(&source, version_1)?;
            }
            Ok(conf)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host, podman};

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

    /// As distributions had it with the format of version 1, where an administrator adds to it.
    #[test]
    fn podman_before_4_4_passes_over_empty_lists() {
        let main = "/etc/containers/registries.conf";
        let text = "unqualified-search-registries = ['quay.io']\n[registries.block]\nregistries = []\n";
        let host = empty_host().file(main, text);
        let quay = Ok(found(&["quay.io"], &format!("{main}:1")));
        assert_eq!(search(podman(host.clone(), "4.3.1+ds1-8")), quay);
        let refused = |host: TestHost| matches!(search(host), Err(Unread::Malformed { line: Some(3), .. }));
        assert!(refused(podman(host.clone(), "4.4.0-1")));
        assert!(refused(host), "with a version that is not known it is neither");
        let full = text.replace("[]", "['docker.io']");
        assert!(refused(podman(empty_host().file(main, full), "4.3.1+ds1-8")));
        let aliases = "[aliases]\n[registries.block]\nregistries = ['docker.io']\n";
        let aliases = empty_host().file(main, aliases);
        assert!(refused(podman(aliases.clone(), "5.4.2-1")));
        assert_eq!(search(podman(aliases, "4.3.1+ds1-8")), Ok(None));
    }

    #[test]
    fn podman_6_takes_version_2_alone() {
        let vendor = "/usr/share/containers/registries.conf";
        let host = empty_host().file(vendor, "unqualified-search-registries = ['quay.io']\n");
        assert_eq!(search(podman(host.clone(), "5.8.2-1")), Ok(None));
        assert_eq!(search(podman(host, "6.0.0-1")), Ok(found(&["quay.io"], &format!("{vendor}:1"))));
        let old = empty_host()
            .file("/etc/containers/registries.conf", "[registries.search]\nregistries = ['quay.io']\n");
        assert!(matches!(search(podman(old, "6.0.0-1")), Err(Unread::Malformed { line: Some(2), .. })));
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
