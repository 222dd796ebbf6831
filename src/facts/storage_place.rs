//! Where a path of a user's really lies: links followed, on which mount, and how far it exists. What
//! lies on a file system that can hang is not looked at.

use std::collections::VecDeque;
use std::rc::Rc;

use super::Facts;
use super::mountinfo::{Mount, Mounts};
use crate::host::{Fact, OrAbsent, Stat, Unread};

/// As many links as the kernel follows (`path_resolution(7)`).
const LINK_LIMIT: u32 = 40;
/// File systems whose server is elsewhere, by the names that mountinfo has for them.
const REMOTE: [&str; 21] = [
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
    "ocfs2", "orangefs", "panfs", "prl_fs", "smb3", "smbfs", "snfs", "vboxsf",
];

/// Local file systems with owners, `d_type` and user extended attributes, which overlay can lie on.
pub const ORDINARY: [&str; 8] = ["bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "ubifs", "xfs"];

/// Where a path lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoragePlace {
    /// The path without links, as far as it exists.
    pub path: String,
    /// The last part of it that exists; `None` where that was not looked at.
    pub existing: Option<(String, Stat)>,
    /// The mount that holds it; `None` in an image root whose fstab does not say.
    pub mount: Option<Mount>,
}

/// Whether the server of this type of file system is elsewhere.
pub fn is_remote(fs_type: &str) -> bool {
    REMOTE.contains(&fs_type)
}

/// Whether a look at a file on it can take forever: its server may be gone, or, for automount, it may
/// have to be mounted first.
pub fn can_hang(fs_type: &str) -> bool {
    is_remote(fs_type) || fs_type == "autofs" || fs_type == "fuse" || fs_type.starts_with("fuse.")
}

impl Facts {
    /// Where `path` lies. In an image root, fstab says what is mounted.
    ///
    /// # Errors
    /// Why the mounts, or a directory on the way, could not be read.
    pub fn storage_place(&self, path: &str) -> Fact<Rc<StoragePlace>> {
        self.memo_fact(path, || {
            if self.running() {
                return self.follow(path, &*self.mountinfo()?);
            }
            match self.fstab().or_absent()? {
                Some(fstab) => self.follow(path, &fstab.configured),
                None => self.follow(path, &Mounts::default()),
            }
        })
    }

    fn follow(&self, path: &str, mounts: &Mounts) -> Fact<StoragePlace> {
        let mut left: VecDeque<String> = parts(path).collect();
        // Empty for the root directory.
        let mut here = String::new();
        let mut links = 0;
        let mut looked = true;
        while let Some(part) = left.pop_front() {
            if part == ".." {
                here.truncate(here.rfind('/').unwrap_or(0));
                continue;
            }
            let next = format!("{here}/{part}");
            looked = !mounts.holding(&next).is_some_and(|mount| can_hang(&mount.fs_type));
            let target = if looked { self.link_target(&next).or_absent()? } else { None };
            match target {
                Some(Some(target)) => {
                    links += 1;
                    if links > LINK_LIMIT {
                        let expected = "expected no loop of symbolic links".to_owned();
                        return Err(Unread::Malformed { path: path.to_owned(), line: None, expected });
                    }
                    if target.starts_with('/') {
                        here.clear();
                    }
                    for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                        left.push_front(part);
                    }
                }
                Some(None) => here = next,
                None => {
                    left.push_front(part);
                    break;
                }
            }
        }
        let existing = if here.is_empty() { "/".to_owned() } else { here.clone() };
        let existing = if looked { Some((existing.clone(), self.stat(&existing)?)) } else { None };
        let mut path = here;
        for part in left {
            path = format!("{path}/{part}");
        }
        let mount = mounts.holding(if path.is_empty() { "/" } else { &path }).cloned();
        Ok(StoragePlace { path, existing, mount })
    }
}

fn parts(path: &str) -> impl Iterator<Item = String> + '_ {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    const MOUNTS: &str = "\
1 0 0:1 / / rw - overlay overlay rw
2 1 0:2 / /var rw - xfs /dev/sda2 rw
3 1 0:3 / /net rw - nfs4 server:/home rw
";

    /// As with ostree: /home is a link into /var.
    fn host() -> TestHost {
        empty_host()
            .file("/proc/self/mountinfo", MOUNTS)
            .path("/home", |record| record.link = Some("var/home".to_owned()))
            .dir("/var", "0755", 0)
            .dir("/var/home", "0755", 0)
            .dir("/var/home/edge", "0700", 1000)
            .path("/var/home/far", |record| record.link = Some("/net/far/".to_owned()))
            .path("/var/home/loop", |record| record.link = Some("../home/loop".to_owned()))
    }

    fn place(host: TestHost, path: &str) -> Rc<StoragePlace> {
        host.facts().storage_place(path).unwrap()
    }

    #[test]
    fn links_are_followed_to_the_mount() {
        let place = place(host(), "/home/edge/.local/share");
        assert_eq!(place.path, "/var/home/edge/.local/share");
        assert_eq!(
            place.existing.as_ref().map(|(path, stat)| (path.as_str(), stat.uid)),
            Some(("/var/home/edge", 1000))
        );
        assert_eq!(place.mount.as_ref().map(|mount| mount.fs_type.as_str()), Some("xfs"));
    }

    #[test]
    fn what_can_hang_is_not_touched() {
        let place = place(host().error("/net/far", "errno 5"), "/home/far/x");
        assert_eq!((place.path.as_str(), &place.existing), ("/net/far/x", &None));
        assert_eq!(place.mount.as_ref().map(|mount| mount.at.line), Some(Some(3)));
    }

    #[test]
    fn loops_and_closed_directories_are_errors() {
        assert!(matches!(host().facts().storage_place("/home/loop"), Err(Unread::Malformed { .. })));
        let closed = host().error("/var/home/edge/x", "denied").facts();
        assert!(matches!(closed.storage_place("/home/edge/x"), Err(Unread::Denied { .. })));
    }

    #[test]
    fn an_image_has_fstab_or_nothing() {
        let image = host().image();
        assert_eq!(place(image.clone(), "/home/edge").mount, None);
        let fstab = "UUID=1 / ext4 defaults 0 1\nUUID=2 /var btrfs defaults 0 0\n";
        let mount = place(image.file("/etc/fstab", fstab), "/home/edge").mount.clone().unwrap();
        assert_eq!((mount.fs_type.as_str(), mount.at.line), ("btrfs", Some(2)));
    }
}
