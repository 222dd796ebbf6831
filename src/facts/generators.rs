//! Programs that make units when a user manager starts or reloads (`systemd.generator(7)`).

use super::programs::Program;
use super::{Evidence, Facts};
use crate::host::{Fact, Kind, OrAbsent, SpecialFile, Unread};

/// Where they are looked for, highest first.
const DIRS: [&str; 4] = [
    "/run/systemd/user-generators",
    "/etc/systemd/user-generators",
    "/usr/local/lib/systemd/user-generators",
    "/usr/lib/systemd/user-generators",
];

/// What there is of a generator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Generator {
    /// The program.
    Program(Program),
    /// A link to `/dev/null` in its place.
    Masked(Evidence),
    /// None that can be executed; what is there instead, or where it would be.
    Absent(Evidence),
}

impl Facts {
    /// The generator of user managers with this name.
    ///
    /// # Errors
    /// Why it could not be looked at.
    pub fn user_generator(&self, name: &str) -> Fact<Generator> {
        let mut at = None;
        for dir in DIRS.into_iter().filter(|dir| self.is_there_at_boot(dir)) {
            let path = format!("{dir}/{name}");
            let target = self.link_target(&path).or_absent()?.flatten();
            if target.as_deref() == Some("/dev/null") {
                return Ok(Generator::Masked(Evidence::path(&path, "is a link to /dev/null")));
            }
            match self.stat(&path).or_absent() {
                Ok(Some(stat)) if stat.kind == Kind::File && stat.mode & 0o111 != 0 => {
                    return Ok(Generator::Program(Program { path, stat }));
                }
                Ok(Some(_)) => at = Some(Evidence::path(&path, "cannot be executed")),
                Ok(None) => {}
                Err(Unread::Special { found: SpecialFile::Device, .. }) => {
                    return Ok(Generator::Masked(Evidence::path(&path, "is a device")));
                }
                Err(why) => return Err(why),
            }
        }
        let nowhere = || Evidence::path(&format!("{}/{name}", DIRS[3]), "does not exist, nor elsewhere");
        Ok(Generator::Absent(at.unwrap_or_else(nowhere)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    const NAME: &str = "podman-user-generator";
    const VENDOR: &str = "/usr/lib/systemd/user-generators/podman-user-generator";
    const ETC: &str = "/etc/systemd/user-generators/podman-user-generator";

    fn found(host: TestHost) -> Generator {
        host.facts().user_generator(NAME).unwrap()
    }

    fn link(host: TestHost, path: &str, to: &str) -> TestHost {
        host.path(path, |record| {
            record.link = Some(to.to_owned());
            record.mode = Some("0755".to_owned());
        })
    }

    fn linked() -> TestHost {
        link(empty_host(), VENDOR, "/usr/libexec/podman/quadlet")
    }

    #[test]
    fn the_highest_that_can_be_executed() {
        assert!(matches!(found(linked()), Generator::Program(program) if program.path == VENDOR));
        let own = linked().file(ETC, "").mode(ETC, "0755");
        assert!(matches!(found(own), Generator::Program(program) if program.path == ETC));
        let plain = linked().file(ETC, "").mode(ETC, "0644");
        assert!(matches!(found(plain), Generator::Program(program) if program.path == VENDOR));
    }

    #[test]
    fn none() {
        assert!(matches!(found(link(linked(), ETC, "/dev/null")), Generator::Masked(at) if &*at.path == ETC));
        assert!(matches!(found(empty_host()), Generator::Absent(at) if &*at.path == VENDOR));
        let plain = found(linked().mode(VENDOR, "0644"));
        assert!(matches!(plain, Generator::Absent(at) if at.text == "cannot be executed"));
    }
}
