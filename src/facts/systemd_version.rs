//! The version of systemd, without running it: every build installs a private library that has the
//! version in its name (systemd, `meson.build`, `libsystemd-shared`).

use std::rc::Rc;

use super::{Evidence, Facts, Sourced};
use crate::host::{Fact, Unread};

/// What the name of that library starts with.
const LIBRARY: &str = "libsystemd-shared-";

/// The version in `libsystemd-shared-257.so`, `libsystemd-shared-257.5-1.fc42.so` and the like.
pub fn version_in_library_name(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(LIBRARY)?;
    if !rest.contains(".so") {
        return None;
    }
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

impl Facts {
    /// The version of systemd that is installed; the highest where a library of an older one was
    /// left behind.
    ///
    /// # Errors
    /// [`Unread::Absent`] where no such library was found, which does not prove that there is no
    /// systemd; otherwise where a directory cannot be read.
    pub fn systemd_version(&self) -> Fact<Rc<Sourced<u32>>> {
        self.memo_fact("systemd version", || {
            let mut found: Option<Sourced<u32>> = None;
            for dir in self.library_dirs()? {
                for entry in self.names_in(&dir)?.iter() {
                    if let Some(value) = version_in_library_name(&entry.name)
                        && found.as_ref().is_none_or(|best| best.value < value)
                    {
                        found =
                            Some(Sourced { value, at: Evidence::path(&format!("{dir}/{}", entry.name), "") });
                    }
                }
            }
            found.ok_or_else(|| Unread::Absent { path: format!("/usr/lib/systemd/{LIBRARY}*.so") })
        })
    }

    /// `/usr/lib/systemd` upstream, `/usr/lib64/systemd` on Fedora, `/usr/lib/TRIPLET/systemd` on
    /// Debian since 12, `/lib/systemd` before `/usr` was merged.
    fn library_dirs(&self) -> Fact<Vec<String>> {
        let mut dirs = vec!["/usr/lib/systemd".to_owned(), "/usr/lib64/systemd".to_owned()];
        if self.split_usr() {
            dirs.push("/lib/systemd".to_owned());
        }
        let triplets = self.names_in("/usr/lib")?;
        let triplets = triplets.iter().filter(|entry| entry.is_dir && entry.name.contains("-linux-"));
        dirs.extend(triplets.map(|entry| format!("/usr/lib/{}/systemd", entry.name)));
        Ok(dirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::empty_host;

    #[test]
    fn the_name_of_the_library_tells_the_version() {
        for (name, version) in [
            ("libsystemd-shared-252.so", Some(252)),
            ("libsystemd-shared-257.5-1.fc42.so", Some(257)),
            ("libsystemd-shared-255~rc1.so", Some(255)),
            ("libsystemd-core-252.so", None),
            ("libsystemd-shared-.so", None),
            ("libsystemd-shared-99999999999.so", None),
            ("libsystemd-shared-252", None),
        ] {
            assert_eq!(version_in_library_name(name), version, "{name}");
        }
    }

    #[test]
    fn it_is_found_where_distributions_put_it() {
        for dir in
            ["/usr/lib/systemd", "/usr/lib64/systemd", "/usr/lib/aarch64-linux-gnu/systemd", "/lib/systemd"]
        {
            let path = format!("{dir}/libsystemd-shared-257.so");
            let facts = empty_host().file(&path, "").facts();
            assert_eq!(facts.systemd_version().unwrap().value, 257, "{dir}");
            assert_eq!(&*facts.systemd_version().unwrap().at.path, path);
        }
        assert!(matches!(empty_host().facts().systemd_version(), Err(Unread::Absent { .. })));
        assert!(empty_host().error("/usr/lib/systemd", "denied").facts().systemd_version().is_err());
    }
}
