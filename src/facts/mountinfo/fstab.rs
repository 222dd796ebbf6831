//! The mounts that are configured in `/etc/fstab` (`fstab(5)`).

use std::rc::Rc;

use super::super::{Evidence, Facts, Source};
use super::{Mount, Mounts, options, unescape};
use crate::host::Fact;

const FSTAB: &str = "/etc/fstab";

/// The mounts that `/etc/fstab` asks for. systemd mount units can ask for others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fstab {
    /// In the order of the file.
    pub configured: Mounts,
}

impl Fstab {
    /// Reads `fstab(5)`. A line with fewer than three fields is left out; lines without a mount
    /// point (swap) are, too.
    pub fn parse(source: &Source) -> Fstab {
        let mounts = source.lines().filter_map(|(line, text)| fstab_line(source.path(), line, text));
        Fstab { configured: Mounts { mounts: mounts.collect() } }
    }
}

impl Facts {
    /// What `/etc/fstab` asks to be mounted.
    ///
    /// # Errors
    /// When it cannot be read; an image without one is [`Absent`](crate::host::Unread::Absent).
    pub fn fstab(&self) -> Fact<Rc<Fstab>> {
        self.memo_fact("", || Ok(Fstab::parse(&*self.source(FSTAB)?)))
    }
}

fn fstab_line(path: &str, line: u32, text: &str) -> Option<Mount> {
    let mut fields = text.split_ascii_whitespace();
    let source = fields.next().filter(|first| !first.starts_with('#'))?;
    let point = unescape(fields.next()?);
    let fs_type = fields.next()?;
    if !point.starts_with('/') || fs_type == "swap" {
        return None;
    }
    // "/home/" and "/home" are one place.
    let point = if point.len() > 1 { point.trim_end_matches('/') } else { &point };
    Some(Mount {
        id: 0,
        parent: 0,
        root: "/".to_owned(),
        point: if point.is_empty() { "/" } else { point }.to_owned(),
        options: options(fields.next().unwrap_or("defaults")),
        shared: None,
        master: None,
        fs_type: fs_type.to_owned(),
        source: unescape(source),
        super_options: Vec::new(),
        at: Evidence::line(path, line, text),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;

    #[test]
    fn fstab_has_the_same_shape() {
        let text = "# <file system> <mount point>\nUUID=1 / ext4 errors=remount-ro 0 1\n\
                    UUID=2 none swap sw 0 0\nUUID=3\t/home/ ext4 users,exec\n/dev/sr0 /media/c\\040d iso9660\n\
                    UUID=4 /var ext4 noexec,defaults\nUUID=5 /opt ext4 defaults,noexec,nosuid,ro\n";
        let facts = empty_host().file(FSTAB, text).image().facts();
        let fstab = facts.fstab().unwrap();
        let at = |point| fstab.configured.at(point).unwrap();
        assert_eq!(fstab.configured.mounts.len(), 5);
        let home = at("/home");
        assert_eq!(
            (home.noexec(), home.nosuid(), home.nodev(), home.read_only()),
            (false, true, true, false)
        );
        assert_eq!(at("/media/c d").options, ["defaults"]);
        assert!(at("/var").noexec(), "defaults undoes nothing");
        assert!(at("/opt").noexec() && at("/opt").nosuid() && at("/opt").read_only());
        assert_eq!(fstab.configured.holding("/home/edge").map(|m| m.at.line), Some(Some(4)));
        assert!(empty_host().image().facts().fstab().unwrap_err().is_absent());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)(/|\\\\[0-9]{0,3}|none|swap|[ \t#,é]|\\n){0,40}") {
            let _ = Fstab::parse(&Source::new(FSTAB, text));
        }
    }
}
