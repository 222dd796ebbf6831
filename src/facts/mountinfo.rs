//! What is mounted (`/proc/self/mountinfo`), and what is configured to be (`/etc/fstab`), in one shape.

mod fstab;

pub use fstab::Fstab;

use std::rc::Rc;

use super::{Evidence, Facts, Source};
use crate::host::Fact;

const MOUNTINFO: &str = "/proc/self/mountinfo";
const OF_INIT: &str = "/proc/1/mountinfo";

/// A mount, or a line of fstab that asks for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its ID; 0 for a line of fstab.
    pub id: u32,
    /// The ID of the mount that it is mounted on; 0 for a line of fstab.
    pub parent: u32,
    /// What of the file system is mounted: `/`, or the subtree of a bind mount.
    pub root: String,
    /// The mount point.
    pub point: String,
    /// The options of this mount; for a line of fstab, all of its options.
    pub options: Vec<String>,
    /// The peer group if mount events propagate (`shared:N`, `mount_namespaces(7)`).
    pub shared: Option<u32>,
    /// The peer group that mount events come from (`master:N`): in a mount namespace that a service or
    /// a container was given, `/` has one.
    pub master: Option<u32>,
    /// The file system type.
    pub fs_type: String,
    /// The device, or what stands for it.
    pub source: String,
    /// The options of the file system, common to all of its mounts; empty for a line of fstab.
    pub super_options: Vec<String>,
    /// Where it stands.
    pub at: Evidence,
}

impl Mount {
    /// Whether set-user-ID bits and file capabilities are ignored.
    pub fn nosuid(&self) -> bool {
        self.flag("nosuid", "suid")
    }

    /// Whether no program can be started from it.
    pub fn noexec(&self) -> bool {
        self.flag("noexec", "exec")
    }

    /// Whether device files on it cannot be opened.
    pub fn nodev(&self) -> bool {
        self.flag("nodev", "dev")
    }

    /// Whether it is read-only, as this mount or as a file system.
    pub fn read_only(&self) -> bool {
        self.flag("ro", "rw") || self.super_options.iter().any(|option| option == "ro")
    }

    /// The value of an option `name=value` of the mount or its file system.
    pub fn option(&self, name: &str) -> Option<&str> {
        let all = self.options.iter().chain(&self.super_options);
        all.filter_map(|option| option.split_once('=')).find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The last word on a flag: fstab may hold both, and options that imply it (`mount(8)`,
    /// "Filesystem-independent mount options"). `defaults` undoes nothing: in libmount's table of
    /// options it stands for no flag at all.
    fn flag(&self, on: &str, off: &str) -> bool {
        let mut set = false;
        for option in &self.options {
            match option.as_str() {
                o if o == on => set = true,
                o if o == off => set = false,
                "user" | "users" => set |= on != "ro",
                "owner" | "group" => set |= on == "nosuid" || on == "nodev",
                _ => {}
            }
        }
        set
    }
}

/// All mounts, in the order in which they are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    /// The mounts.
    pub mounts: Vec<Mount>,
}

impl Mounts {
    /// Reads `/proc/PID/mountinfo` (`proc_pid_mountinfo(5)`). A line that is not of its form is left
    /// out: the kernel writes none, and one such line must not hide the rest.
    pub fn parse(source: &Source) -> Mounts {
        let mounts = source.lines().filter_map(|(line, text)| mountinfo_line(source.path(), line, text));
        Mounts { mounts: mounts.collect() }
    }

    /// The mount that an absolute path lies on: the one with the longest mount point that leads to
    /// it, and of those on one mount point the last, which covers the others.
    pub fn holding(&self, path: &str) -> Option<&Mount> {
        // `max_by_key` answers with the last of equals.
        self.mounts
            .iter()
            .filter(|m| leads_to(&m.point, path))
            .max_by_key(|m| m.point.trim_end_matches('/').len())
    }

    /// The mount on exactly this mount point.
    pub fn at(&self, point: &str) -> Option<&Mount> {
        self.mounts.iter().rev().find(|m| m.point == point)
    }
}

impl Facts {
    /// What is mounted. A service with `ProtectSystem=` and the like has a mount namespace of its own, in which
    /// file systems are read-only that user managers can write to (systemd.exec(5), "Sandboxing"): as long as it
    /// has the root file system of PID 1, what PID 1 sees counts, which is what user managers see. Anyone may
    /// read that, unless `/proc` is mounted with `hidepid=`.
    ///
    /// # Errors
    /// When it cannot be read, or nothing runs.
    pub fn mountinfo(&self) -> Fact<Rc<Mounts>> {
        self.memo_fact("", || {
            self.need_running("what is mounted")?;
            let own = self.source(MOUNTINFO)?;
            // Mounts of another namespace have other IDs, so where the lists are equal they are of one namespace.
            let of_init = self.source(OF_INIT).ok().filter(|init| init.text() != own.text());
            let same_root =
                of_init.filter(|init| root_device(init).is_some_and(|d| Some(d) == root_device(&own)));
            Ok(Mounts::parse(&same_root.unwrap_or(own)))
        })
    }
}

/// The device of the file system on `/`, and what of it is mounted there.
fn root_device(mountinfo: &Source) -> Option<(&str, &str)> {
    let of_root = mountinfo.lines().filter_map(|(_, line)| {
        let mut fields = line.split(' ').skip(2);
        let (device, root, point) = (fields.next()?, fields.next()?, fields.next()?);
        (point == "/").then_some((device, root))
    });
    of_root.last()
}

fn mountinfo_line(path: &str, line: u32, text: &str) -> Option<Mount> {
    let mut fields = text.split_ascii_whitespace();
    let id = fields.next()?.parse().ok()?;
    let parent = fields.next()?.parse().ok()?;
    let _device = fields.next()?;
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    let mount_options = options(fields.next()?);
    let (mut shared, mut master) = (None, None);
    loop {
        match fields.next()? {
            "-" => break,
            field => {
                if let Some(group) = field.strip_prefix("shared:") {
                    shared = group.parse().ok();
                } else if let Some(group) = field.strip_prefix("master:") {
                    master = group.parse().ok();
                }
            }
        }
    }
    let fs_type = unescape(fields.next()?);
    // An empty source is written as nothing at all between two spaces, so the fields that follow
    // are counted from the end of the line.
    let rest: Vec<&str> = fields.collect();
    let (super_options, source) = match rest.as_slice() {
        [source, .., last] => (options(last), unescape(source)),
        [last] => (options(last), String::new()),
        [] => return None,
    };
    let at = Evidence::line(path, line, text);
    Some(Mount {
        id,
        parent,
        root,
        point,
        options: mount_options,
        shared,
        master,
        fs_type,
        source,
        super_options,
        at,
    })
}

fn options(text: &str) -> Vec<String> {
    text.split(',').filter(|o| !o.is_empty()).map(unescape).collect()
}

fn leads_to(point: &str, path: &str) -> bool {
    let point = point.trim_end_matches('/');
    path.strip_prefix(point).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Undoes the octal escapes (`\040`) by which white space and backslashes are kept out of the fields
/// of mountinfo, swaps and fstab. What is not UTF-8 then becomes U+FFFD.
pub(super) fn unescape(field: &str) -> String {
    if !field.contains('\\') {
        return field.to_owned();
    }
    let bytes = field.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits =
            bytes.get(at + 1..at + 4).filter(|d| byte == b'\\' && d.iter().all(|b| matches!(b, b'0'..=b'7')));
        let value =
            digits.and_then(|d| d.iter().try_fold(0u8, |n, b| n.checked_mul(8)?.checked_add(b - b'0')));
        match value {
            Some(value) => {
                out.push(value);
                at += 4;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;
    use crate::host::Unread;

    /// Debian 13 with /home on its own, and a bind mount with a space in its name.
    const TEXT: &str = "\
22 27 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,discard,errors=remount-ro
40 27 254:1 / /home rw,nosuid,nodev,noexec,relatime shared:2 master:1 - xfs /dev/vda2 rw,attr2
41 40 254:0 /srv/a\\040b /home/a\\040b ro,relatime - ext4 /dev/vda1 rw
42 27 0:50 / /home/none rw - tmpfs  rw,size=4k
broken line
43 27 0:51 / /homestead rw - tmpfs tmpfs ro
44 27 0:52 / /homestead rw - tmpfs second rw
";

    fn mounts() -> Rc<Mounts> {
        empty_host().file(MOUNTINFO, TEXT).facts().mountinfo().unwrap()
    }

    #[test]
    fn fields_of_a_line() {
        let mounts = mounts();
        assert_eq!(mounts.mounts.len(), 7, "the broken line is left out");
        let image = empty_host().file(MOUNTINFO, TEXT).image().facts();
        assert!(matches!(image.mountinfo(), Err(Unread::NotRunning { .. })));
        let root = mounts.at("/").unwrap();
        assert_eq!((root.id, root.parent, root.shared, root.fs_type.as_str()), (27, 1, Some(1), "ext4"));
        assert_eq!((root.option("errors"), root.at.line), (Some("remount-ro"), Some(2)));
        let home = mounts.at("/home").unwrap();
        assert_eq!((home.shared, home.master, root.master), (Some(2), Some(1), None));
        let bind = mounts.at("/home/a b").unwrap();
        assert_eq!((bind.root.as_str(), bind.shared, bind.read_only()), ("/srv/a b", None, true));
        let empty = mounts.at("/home/none").unwrap();
        assert_eq!((empty.source.as_str(), empty.option("size")), ("", Some("4k")));
    }

    /// A service with `ProtectSystem=strict` on Debian 13: `/` is read-only there, and mounts have other IDs.
    #[test]
    fn a_service_in_a_mount_namespace_of_its_own_sees_what_pid_1_sees() {
        let own = TEXT.replace(
            "27 1 254:0 / / rw,relatime shared:1",
            "327 301 254:0 / / ro,relatime shared:200 master:1",
        );
        let root = |own: &str, init: Option<&str>| {
            let host = empty_host().file(MOUNTINFO, own);
            let host = init.into_iter().fold(host, |host, text| host.file(OF_INIT, text));
            let mounts = host.facts().mountinfo().unwrap();
            let root = mounts.at("/").unwrap();
            (root.at.path.to_string(), root.read_only(), root.shared)
        };
        let of = |path: &str, read_only, shared| (path.to_owned(), read_only, Some(shared));
        assert_eq!(root(&own, Some(TEXT)), of(OF_INIT, false, 1));
        assert_eq!(root(TEXT, Some(TEXT)), of(MOUNTINFO, false, 1));
        assert_eq!(root(&own, None), of(MOUNTINFO, true, 200), "hidepid, or a capture of an earlier version");
        // In a container with the PID namespace of its host, PID 1 is that of the host.
        let container = own.replace("254:0 / / ", "0:77 / / ");
        assert_eq!(root(&container, Some(TEXT)), of(MOUNTINFO, true, 200));
        let subtree = own.replace("254:0 / / ", "254:0 /srv/chroot / ");
        assert_eq!(root(&subtree, Some(TEXT)), of(MOUNTINFO, true, 200));
    }

    #[test]
    fn a_path_lies_on_the_longest_mount_point() {
        let mounts = mounts();
        for (path, point) in [
            ("/home/edge/.local", "/home"),
            ("/home", "/home"),
            ("/home/a b/x", "/home/a b"),
            ("/homework", "/"),
            ("/", "/"),
            ("/proc/sys", "/proc"),
        ] {
            assert_eq!(mounts.holding(path).map(|m| m.point.as_str()), Some(point), "{path}");
        }
        assert_eq!(mounts.holding("/homestead/x").map(|m| m.source.as_str()), Some("second"));
        assert!(mounts.holding("relative").is_none());
    }

    #[test]
    fn flags() {
        let mounts = mounts();
        let home = mounts.at("/home").unwrap();
        assert!(home.nosuid() && home.noexec() && home.nodev() && !home.read_only());
        let root = mounts.at("/").unwrap();
        assert!(!root.nosuid() && !root.noexec() && !root.nodev());
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape("a\\040b\\134\\011"), "a b\\\t");
        assert_eq!(unescape("\\0"), "\\0");
        assert_eq!(unescape("\\777\\089"), "\\777\\089");
        assert_eq!(unescape("\\303\\251"), "é");
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)([0-9]{1,11} |/|\\\\[0-9]{0,3}|- |shared:|,|ro|é|\\n){0,40}|.{0,60}") {
            let source = Source::new(MOUNTINFO, text.clone());
            let _ = Mounts::parse(&source).holding(&text);
        }
    }
}
