//! Where a path leads once all links in it are followed: what the kernel compares paths with.

use nix::errno::Errno;

use super::Facts;
use crate::host::{Fact, OrAbsent, Unread};

/// As many links as the kernel follows (`path_resolution(7)`).
const LINK_LIMIT: usize = 40;

impl Facts {
    /// The path without links, `.` and `..`. A part of it that does not exist is no link.
    ///
    /// # Errors
    /// Why a part could not be looked at, or `ELOOP`.
    pub fn real_path(&self, path: &str) -> Fact<String> {
        let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut real = String::new();
        let mut links = 0;
        while let Some(part) = left.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    real.truncate(real.rfind('/').unwrap_or(0));
                    continue;
                }
                part => {
                    let next = format!("{real}/{part}");
                    match self.link_target(&next).or_absent()?.flatten() {
                        None => real = next,
                        Some(target) => {
                            links += 1;
                            if links > LINK_LIMIT {
                                return Err(Unread::Failed { path: path.to_owned(), errno: Errno::ELOOP });
                            }
                            if target.starts_with('/') {
                                real.clear();
                            }
                            left.extend(target.split('/').rev().map(str::to_owned));
                        }
                    }
                }
            }
        }
        Ok(if real.is_empty() { "/".to_owned() } else { real })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    fn link(host: TestHost, path: &str, target: &str) -> TestHost {
        host.path(path, |record| record.link = Some(target.to_owned()))
    }

    #[test]
    fn links_are_followed_wherever_they_stand() {
        let host = empty_host().file("/opt/k3s-1.33/k3s", "").file("/usr/bin/podman", "");
        let host = link(host, "/opt/k3s", "k3s-1.33");
        let host = link(host, "/usr/local/bin/k3s", "../../../opt/./k3s/k3s");
        let host = link(host, "/bin", "/usr/bin");
        let facts = link(host, "/loop", "loop").facts();
        let real = |path: &str| facts.real_path(path).unwrap();
        assert_eq!(real("/usr/local/bin/k3s"), "/opt/k3s-1.33/k3s");
        assert_eq!(real("/bin/podman"), "/usr/bin/podman");
        assert_eq!(real("/bin//none/../podman"), "/usr/bin/podman");
        assert_eq!((real("/"), real("/..")), ("/".to_owned(), "/".to_owned()));
        assert!(matches!(facts.real_path("/loop/x"), Err(Unread::Failed { errno: Errno::ELOOP, .. })));
    }

    #[test]
    fn what_may_not_be_looked_at_may_be_a_link() {
        assert!(empty_host().error("/opt", "denied").facts().real_path("/opt/k3s").is_err());
    }
}
