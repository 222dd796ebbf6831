//! File capabilities: the value of the extended attribute `security.capability`
//! (`capabilities(7)`, "File capability extended attribute versioning").

use std::fmt;
use std::rc::Rc;

use super::Facts;
use crate::host::{Fact, Unread};

/// A capability, by its number in `include/uapi/linux/capability.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// `CAP_SETGID`, which `newgidmap` needs.
    Setgid = 6,
    /// `CAP_SETUID`, which `newuidmap` needs.
    Setuid = 7,
    /// `CAP_NET_BIND_SERVICE`, which `rootlesskit` and `slirp4netns` take for ports below 1024.
    NetBindService = 10,
    /// `CAP_SYS_ADMIN`.
    SysAdmin = 21,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Capability::Setgid => "cap_setgid",
            Capability::Setuid => "cap_setuid",
            Capability::NetBindService => "cap_net_bind_service",
            Capability::SysAdmin => "cap_sys_admin",
        })
    }
}

/// What a file gives to who executes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileCapability {
    /// The version of the format, 1 to 3.
    pub version: u8,
    /// Whether what is permitted is in effect at once, for programs that do not raise it themselves.
    pub effective: bool,
    /// The permitted set, one bit for each capability.
    pub permitted: u64,
    /// The inheritable set.
    pub inheritable: u64,
    /// Version 3: the UID that is root in the one user namespace where this counts; 0 is the host's.
    pub rootid: u32,
}

impl FileCapability {
    /// Reads the attribute (`struct vfs_ns_cap_data`, `include/uapi/linux/capability.h`): a word with
    /// version and flag, permitted and inheritable words in turn, and the root ID; all little endian.
    /// `None` where length and version do not fit, which the kernel answers with `EINVAL`.
    pub fn decode(value: &[u8]) -> Option<FileCapability> {
        let (words, rest) = value.as_chunks::<4>();
        let words: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
        let magic = *words.first()?;
        let version = u8::try_from(magic >> 24).ok()?;
        let (low, high, rootid) = match (version, &words[1..], rest.is_empty()) {
            (1, [permitted, inheritable], true) => ((permitted, inheritable), (&0, &0), &0),
            (2, [p, i, p_high, i_high], true) => ((p, i), (p_high, i_high), &0),
            (3, [p, i, p_high, i_high, rootid], true) => ((p, i), (p_high, i_high), rootid),
            _ => return None,
        };
        Some(FileCapability {
            version,
            effective: magic & 1 != 0,
            permitted: u64::from(*low.0) | u64::from(*high.0) << 32,
            inheritable: u64::from(*low.1) | u64::from(*high.1) << 32,
            rootid: *rootid,
        })
    }

    /// Whether executing the file gives this capability on the host, ready for use.
    pub fn gives(&self, capability: Capability) -> bool {
        self.effective && self.rootid == 0 && self.permitted & (1 << capability as u32) != 0
    }
}

impl Facts {
    /// The capabilities of a file; `None` where it has none. In an image this tells what the copy still
    /// has: many tools that copy trees lose them.
    ///
    /// # Errors
    /// Why the attribute could not be read, or [`Unread::Malformed`].
    pub fn file_capability(&self, path: &str) -> Fact<Option<FileCapability>> {
        let decoded: Rc<Option<FileCapability>> = self.memo_fact(path, || {
            let Some(value) = self.capability(path)? else { return Ok(None) };
            FileCapability::decode(&value).map(Some).ok_or_else(|| Unread::Malformed {
                path: path.to_owned(),
                line: None,
                expected: "security.capability: expected version 1, 2 or 3 of its format".to_owned(),
            })
        })?;
        Ok(*decoded)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;

    /// `setcap cap_setuid+ep` as RPM writes it for `/usr/bin/newuidmap` on Fedora.
    const NEWUIDMAP: &str = "0100000280000000000000000000000000000000";

    fn of(hex: &str) -> Fact<Option<FileCapability>> {
        let host = empty_host().file("/usr/bin/newuidmap", "");
        host.path("/usr/bin/newuidmap", |record| record.capability = Some(hex.to_owned()))
            .facts()
            .file_capability("/usr/bin/newuidmap")
    }

    #[test]
    fn decodes_each_version() {
        let v2 = of(NEWUIDMAP).unwrap().unwrap();
        assert_eq!((v2.version, v2.effective, v2.permitted, v2.rootid), (2, true, 0x80, 0));
        assert!(v2.gives(Capability::Setuid) && !v2.gives(Capability::Setgid));
        let v3 = of("010000034000000000000000000000000000000050c30000").unwrap().unwrap();
        assert_eq!((v3.version, v3.permitted, v3.rootid), (3, 0x40, 50_000));
        assert!(!v3.gives(Capability::Setgid), "counts in another user namespace only");
        assert!(
            of("010000034000000000000000000000000000000000000000")
                .unwrap()
                .unwrap()
                .gives(Capability::Setgid)
        );
        let v1 = of("000000018000000000000000").unwrap().unwrap();
        assert!((v1.version, v1.permitted) == (1, 0x80) && !v1.gives(Capability::Setuid), "not effective");
        let high = of("0100000200000000000000000001000000000000").unwrap().unwrap();
        assert_eq!(high.permitted, 1 << 40);
    }

    #[test]
    fn absent_and_malformed_are_told_apart() {
        assert_eq!(of(""), Ok(None));
        assert!(matches!(of("01000002"), Err(Unread::Malformed { .. })));
        assert!(matches!(of("0100000480000000000000000000000000000000"), Err(Unread::Malformed { .. })));
        assert!(empty_host().facts().file_capability("/usr/bin/newuidmap").unwrap_err().is_absent());
    }

    proptest! {
        #[test]
        fn never_panics(value in proptest::collection::vec(any::<u8>(), 0..32)) {
            let _ = FileCapability::decode(&value);
        }
    }
}
