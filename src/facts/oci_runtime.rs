//! Which OCI runtime a user's Podman starts containers with, by Podman's own search.

use super::programs::Program;
use super::users::User;
use super::{Evidence, Facts};
use crate::host::Fact;

/// What is taken where `containers.conf` names no runtime, the first that is there (containers/common,
/// `pkg/config/config.go`, `findRuntime`; the same in Podman 3.4 to 5.8).
pub const BY_DEFAULT: [&str; 4] = ["crun", "runc", "kata", "runsc"];

/// Names that Podman knows without a table of its own in `containers.conf`, and the programs that each
/// stands for (containers/common, `pkg/config/default.go`, `OCIRuntimes`).
const KNOWN: [(&str, &[&str]); 8] = [
    ("crun", &["crun"]),
    ("runc", &["runc"]),
    ("kata", &["kata-runtime", "kata-qemu", "kata-fc"]),
    ("runsc", &["runsc"]),
    ("youki", &["youki"]),
    ("krun", &["krun"]),
    ("crun-vm", &["crun-vm"]),
    ("crun-wasm", &["crun-wasm"]),
];

/// The directories of that table.
const DIRS: [&str; 7] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/sbin",
    "/bin",
    "/run/current-system/sw/bin",
];

/// The runtime that Podman takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciRuntime {
    /// The name or path in `containers.conf`, else that of the program found; `None` where Podman finds
    /// none.
    pub name: Option<String>,
    /// The program, which need not be executable: Podman does not look.
    pub program: Option<Program>,
    /// The line of `containers.conf` that names it.
    pub named_at: Option<Evidence>,
}

impl Facts {
    /// The OCI runtime of the user's Podman.
    ///
    /// # Errors
    /// As [`Facts::containers_conf`], and why a place could not be looked at.
    pub fn oci_runtime(&self, user: &User) -> Fact<OciRuntime> {
        let conf = self.containers_conf(user)?;
        let Some(named) = conf.runtime.as_ref().filter(|named| !named.value.is_empty()) else {
            return Ok(match self.default_oci_runtime(user)? {
                Some((name, program)) => {
                    OciRuntime { name: Some(name.to_owned()), program: Some(program), named_at: None }
                }
                None => OciRuntime { name: None, program: None, named_at: None },
            });
        };
        let name = named.value.as_str();
        let program = if name.starts_with('/') {
            self.program_at(name)?
        } else if let Some(table) = conf.runtimes.get(name) {
            self.first_at(table.value.iter().cloned())?
                .map_or_else(|| self.user_program(name, user), |p| Ok(Some(p)))?
        } else {
            self.known_runtime(name, user)?
        };
        Ok(OciRuntime { name: Some(name.to_owned()), program, named_at: Some(named.at.clone()) })
    }

    /// What Podman takes where no file names a runtime: `None` where it finds none.
    ///
    /// # Errors
    /// Why a place could not be looked at.
    pub fn default_oci_runtime(&self, user: &User) -> Fact<Option<(&'static str, Program)>> {
        for name in BY_DEFAULT {
            if let Some(program) = self.known_runtime(name, user)? {
                return Ok(Some((name, program)));
            }
        }
        Ok(None)
    }

    /// A name that Podman does not know is not even looked for on `PATH`.
    fn known_runtime(&self, name: &str, user: &User) -> Fact<Option<Program>> {
        let Some((_, programs)) = KNOWN.iter().find(|(known, _)| *known == name) else { return Ok(None) };
        let paths =
            programs.iter().flat_map(|program| DIRS.iter().map(move |dir| format!("{dir}/{program}")));
        match self.first_at(paths)? {
            Some(program) => Ok(Some(program)),
            None => self.user_program(name, user),
        }
    }

    fn first_at(&self, paths: impl Iterator<Item = String>) -> Fact<Option<Program>> {
        for path in paths {
            if let Some(program) = self.program_at(&path)? {
                return Ok(Some(program));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    fn with(host: TestHost, path: &str) -> TestHost {
        host.file(path, "").mode(path, "0755")
    }

    fn conf(host: TestHost, text: &str) -> TestHost {
        host.file("/etc/containers/containers.conf", text)
    }

    fn found(host: TestHost) -> (Option<String>, Option<String>) {
        let runtime = host.facts().oci_runtime(&User::example("edge", 1000)).unwrap();
        (runtime.name, runtime.program.map(|program| program.path))
    }

    fn pair(name: &str, path: &str) -> (Option<String>, Option<String>) {
        (Some(name.to_owned()), Some(path.to_owned()))
    }

    #[test]
    fn crun_comes_before_runc() {
        let both = with(with(empty_host(), "/usr/sbin/runc"), "/usr/local/bin/crun");
        assert_eq!(found(both.clone()), pair("crun", "/usr/local/bin/crun"));
        assert_eq!(found(both.without("/usr/local/bin/crun")), pair("runc", "/usr/sbin/runc"));
        assert_eq!(found(with(empty_host(), "/home/edge/bin/runsc")), pair("runsc", "/home/edge/bin/runsc"));
        assert_eq!(found(with(empty_host(), "/usr/bin/youki")), (None, None));
    }

    #[test]
    fn a_named_runtime_is_not_replaced_by_another() {
        let runc = conf(with(empty_host(), "/usr/bin/crun"), "[engine]\nruntime = \"runc\"\n");
        assert_eq!(found(runc), (Some("runc".to_owned()), None));
        let kata = conf(with(empty_host(), "/usr/bin/kata-qemu"), "[engine]\nruntime = \"kata\"\n");
        assert_eq!(found(kata), pair("kata", "/usr/bin/kata-qemu"));
        let path = conf(with(empty_host(), "/opt/youki"), "[engine]\nruntime = \"/opt/youki\"\n");
        assert_eq!(found(path), pair("/opt/youki", "/opt/youki"));
        let table = "[engine]\nruntime = \"mine\"\n[engine.runtimes]\nmine = [\"/opt/a\", \"/opt/b\"]\n";
        assert_eq!(found(conf(with(empty_host(), "/opt/b"), table)), pair("mine", "/opt/b"));
        assert_eq!(found(conf(with(empty_host(), "/usr/bin/mine"), table)), pair("mine", "/usr/bin/mine"));
        let unknown = conf(with(empty_host(), "/usr/bin/mine"), "[engine]\nruntime = \"mine\"\n");
        assert_eq!(found(unknown), (Some("mine".to_owned()), None));
    }
}
