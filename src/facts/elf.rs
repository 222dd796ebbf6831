//! The architecture that a program was built for, from its ELF header. Nothing is executed, so this
//! tells the userland of an image of another architecture as well.

use std::rc::Rc;

use super::{Evidence, Facts, Sourced};
use crate::host::{Fact, Unread};

/// As much of an executable as says what it is: up to `e_machine` (`elf(5)`, "ELF header").
const HEADER_BYTES: usize = 20;

/// Programs of which every system has one, the most telling first. The real names on a merged `/usr`
/// come first, so that no link is followed there.
const PROGRAMS: [&str; 6] = [
    "/usr/lib/systemd/systemd",
    "/lib/systemd/systemd",
    "/usr/bin/sh",
    "/bin/sh",
    "/bin/busybox",
    "/sbin/init",
];

/// What an ELF header says of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// The architecture as `uname -m` writes it, for those that have a name there.
    pub arch: &'static str,
    /// Whether it is of the 64-bit class.
    pub is_64bit: bool,
    /// Whether it is little endian.
    pub little_endian: bool,
    /// The number that the architecture is registered under (`e_machine`).
    pub machine: u16,
}

/// Reads the beginning of an ELF file (`elf(5)`; machine numbers: `include/uapi/linux/elf-em.h`).
/// `None` for what is no ELF file.
pub fn parse(head: &[u8]) -> Option<Elf> {
    let head: &[u8; HEADER_BYTES] = head.first_chunk()?;
    if head[..4] != *b"\x7fELF" {
        return None;
    }
    let is_64bit = match head[4] {
        1 => false,
        2 => true,
        _ => return None,
    };
    let (little_endian, machine) = match head[5] {
        1 => (true, u16::from_le_bytes([head[18], head[19]])),
        2 => (false, u16::from_be_bytes([head[18], head[19]])),
        _ => return None,
    };
    let arch = match (machine, is_64bit) {
        (3, _) => "i686",
        (8, true) => "mips64",
        (8, false) => "mips",
        (20, _) => "ppc",
        (21, _) if little_endian => "ppc64le",
        (21, _) => "ppc64",
        (22, _) => "s390x",
        (40, _) => "armv7l",
        (62, _) => "x86_64",
        (183, _) => "aarch64",
        (243, true) => "riscv64",
        (243, false) => "riscv32",
        (258, _) => "loongarch64",
        _ => "unknown",
    };
    Some(Elf { arch, is_64bit, little_endian, machine })
}

impl Facts {
    /// Whether the file at this path is an ELF file, and no script.
    ///
    /// # Errors
    /// Why it could not be read.
    pub fn is_elf(&self, path: &str) -> Fact<bool> {
        let elf = self.memo_fact(path, || Ok(parse(&self.head(path, HEADER_BYTES as u64)?)))?;
        Ok(elf.is_some())
    }

    /// The architecture of the installed programs, from the first of a few that every system has.
    ///
    /// # Errors
    /// [`Unread::Absent`] where there is none of them; the first other reason otherwise.
    pub fn userland_arch(&self) -> Fact<Rc<Sourced<Elf>>> {
        self.memo_fact("", || {
            for path in PROGRAMS {
                match self.head(path, HEADER_BYTES as u64) {
                    Ok(head) => {
                        let value = parse(&head).ok_or_else(|| Unread::Malformed {
                            path: path.to_owned(),
                            line: None,
                            expected: "expected an ELF executable".to_owned(),
                        })?;
                        let at = Evidence::path(path, format!("ELF {}", value.arch));
                        return Ok(Sourced { value, at });
                    }
                    Err(why) if why.is_absent() => {}
                    Err(why) => return Err(why),
                }
            }
            Err(Unread::Absent { path: PROGRAMS[0].to_owned() })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;

    /// `head -c 20 /usr/bin/dash` on Debian 13, x86_64.
    const DASH: &[u8] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0";

    #[test]
    fn reads_the_header_of_each_class_and_order() {
        let read = |class: u8, order: u8, machine: [u8; 2]| {
            let mut head = DASH.to_vec();
            (head[4], head[5]) = (class, order);
            head[18..20].copy_from_slice(&machine);
            parse(&head).map(|elf| elf.arch)
        };
        assert_eq!(parse(DASH).map(|elf| (elf.arch, elf.is_64bit)), Some(("x86_64", true)));
        assert_eq!(read(2, 1, [183, 0]), Some("aarch64"));
        assert_eq!(read(1, 1, [40, 0]), Some("armv7l"));
        assert_eq!(read(2, 1, [243, 0]), Some("riscv64"));
        assert_eq!(read(2, 2, [0, 22]), Some("s390x"));
        assert_eq!(read(2, 1, [0xff, 0xfe]), Some("unknown"));
        assert_eq!(read(3, 1, [62, 0]), None);
        assert_eq!(parse(&DASH[..19]), None);
        assert_eq!(parse(b"#!/bin/sh\nexec busybox sh"), None);
    }

    #[test]
    fn takes_the_first_program_there_is() {
        let arch = |host: crate::facts::testing::TestHost| host.facts().userland_arch();
        let long: Vec<u8> = DASH.iter().copied().chain(std::iter::repeat_n(0, 100)).collect();
        let found = arch(empty_host().image().file("/bin/busybox", long)).unwrap();
        assert_eq!((found.value.arch, found.at.to_string()), ("x86_64", "/bin/busybox".to_owned()));
        assert!(arch(empty_host()).unwrap_err().is_absent());
        let denied = empty_host().error("/usr/bin/sh", "denied").file("/bin/sh", DASH);
        assert_eq!(arch(denied), Err(Unread::Denied { path: "/usr/bin/sh".to_owned() }));
        let script = arch(empty_host().file("/usr/bin/sh", "#!/bin/busybox sh\nexit 1\n")).unwrap_err();
        assert_eq!(script.to_string(), "/usr/bin/sh: expected an ELF executable");
    }

    proptest! {
        #[test]
        fn never_panics(head in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&head);
        }
    }
}
