//! Units of the system manager beyond what one file says: whether one runs or is started at boot, and
//! which services an administrator has written. What a unit says is in `unit`.

use std::collections::BTreeSet;

use super::unit::resolve;
use super::unit_syntax::{Assignment, assignments};
use super::{Evidence, Facts};
use crate::host::{Fact, OrAbsent, Unread};

/// Where services of the system manager have their control groups unless they ask for another slice.
const SERVICES: &str = "/sys/fs/cgroup/system.slice";
/// Where an administrator writes units.
const WRITTEN: &str = "/etc/systemd/system";
/// More files than anybody writes.
const MOST: usize = 256;

/// More units of one name than there are.
const MOST_NAMED: usize = 32;

/// A service that is a file in `/etc/systemd/system`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenService {
    /// The name.
    pub name: String,
    /// The file.
    pub path: String,
    /// What it says, without drop-ins.
    pub assignments: Vec<Assignment>,
}

impl Facts {
    /// The control group of a service of the system manager: there is one while it runs.
    ///
    /// # Errors
    /// In an image root, and where it cannot be looked at.
    pub fn system_service_cgroup(&self, name: &str) -> Fact<Option<Evidence>> {
        self.need_running("what control groups there are")?;
        let path = format!("{SERVICES}/{name}");
        Ok(self.stat(&path).or_absent()?.map(|_| Evidence::path(&path, "exists")))
    }

    /// The link by which `multi-user.target` starts a service, if there is one.
    ///
    /// # Errors
    /// Where a directory that could hold one cannot be read.
    pub fn pulled_in_at_boot(&self, name: &str) -> Fact<Option<Evidence>> {
        for dir in self.system_unit_dirs() {
            let wants = format!("{dir}/multi-user.target.wants");
            if !self.holds(&dir, "multi-user.target.wants")? || !self.holds(&wants, name)? {
                continue;
            }
            let path = format!("{wants}/{name}");
            return match self.link_target(&path) {
                Ok(Some(target)) if resolve(&wants, &target) == "/dev/null" => Ok(None),
                Ok(target) => Ok(Some(Evidence::path(&path, target.unwrap_or_default()))),
                Err(Unread::Absent { .. }) => Ok(None),
                Err(why) => Err(why),
            };
        }
        Ok(None)
    }

    /// The services of the system manager whose names begin like this, by their names.
    ///
    /// # Errors
    /// Where a directory that could hold one cannot be read.
    pub fn system_services_named(&self, begin: &str) -> Fact<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for dir in self.system_unit_dirs() {
            let entries = self.names_in(&dir)?;
            let named = |name: &str| name.starts_with(begin) && name.ends_with(".service");
            let names = entries.iter().filter(|entry| !entry.is_dir && named(&entry.name));
            found.extend(names.map(|entry| entry.name.clone()).take(MOST_NAMED));
        }
        Ok(found)
    }

    /// The services that are files in `/etc/systemd/system`; links there enable or rename others.
    ///
    /// # Errors
    /// Where the directory or a file in it cannot be read.
    pub fn written_services(&self) -> Fact<Vec<WrittenService>> {
        let mut found = Vec::new();
        let entries = self.names_in(WRITTEN)?;
        for entry in
            entries.iter().filter(|entry| !entry.is_dir && entry.name.ends_with(".service")).take(MOST)
        {
            let path = format!("{WRITTEN}/{}", entry.name);
            match self.link_target(&path).or_absent()? {
                Some(None) => {}
                Some(Some(_)) | None => continue,
            }
            if let Some(source) = self.source(&path).or_absent()? {
                let name = entry.name.clone();
                found.push(WrittenService { name, path, assignments: assignments(&source) });
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use crate::facts::testing::empty_host;

    #[test]
    fn files_that_an_administrator_wrote() {
        let facts = empty_host()
            .file("/etc/systemd/system/web.service", "[Service]\nUser=edge\n")
            .file("/etc/systemd/system/web.socket", "[Socket]\n")
            .file("/etc/systemd/system/sshd.service", "")
            .path("/etc/systemd/system/sshd.service", |record| {
                record.link = Some("/usr/lib/systemd/system/ssh.service".to_owned());
            })
            .facts();
        let found = facts.written_services().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].assignments[0].key.as_str()), ("web.service", "User"));
        assert!(empty_host().facts().written_services().unwrap().is_empty());
        assert!(empty_host().error("/etc/systemd/system", "denied").facts().written_services().is_err());
    }

    #[test]
    fn services_by_how_their_names_begin() {
        let facts = empty_host()
            .file("/etc/systemd/system/k3s.service", "")
            .file("/usr/lib/systemd/system/k3s-agent.service", "")
            .file("/etc/systemd/system/k3s.service.env", "")
            .file("/etc/systemd/system/web.service", "")
            .facts();
        let found: Vec<String> = facts.system_services_named("k3s").unwrap().into_iter().collect();
        assert_eq!(found, ["k3s-agent.service", "k3s.service"]);
    }

    #[test]
    fn what_starts_at_boot() {
        let wants = "/etc/systemd/system/multi-user.target.wants/x.service";
        let link =
            |to: &str| empty_host().file(wants, "").path(wants, |r| r.link = Some(to.to_owned())).facts();
        let at = link("/usr/lib/systemd/system/x.service").pulled_in_at_boot("x.service").unwrap();
        assert_eq!(&*at.unwrap().path, wants);
        assert_eq!(link("/dev/null").pulled_in_at_boot("x.service"), Ok(None));
        assert_eq!(empty_host().facts().pulled_in_at_boot("x.service"), Ok(None));
    }
}
