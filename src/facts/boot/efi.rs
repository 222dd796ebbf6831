//! What the boot loader leaves for the system in EFI variables (systemd, "The Boot Loader
//! Interface").

use crate::facts::Facts;
use crate::host::{Fact, OrAbsent, Unread};

const EFI: &str = "/sys/firmware/efi";
const VARIABLES: &str = "/sys/firmware/efi/efivars";
/// Whom the variables of that interface belong to.
const VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// The most that is read of a variable, in bytes; names of entries are names of files.
const LIMIT_BYTES: u64 = 4096;
/// What a file in efivarfs starts with: the attributes (Linux,
/// Documentation/filesystems/efivarfs.rst).
const ATTRIBUTES_BYTES: usize = 4;

/// What started the running system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Loader {
    /// A boot loader that says its name: `systemd-boot 257.7`, `GRUB 2.12`.
    Named(String),
    /// One that does not, or firmware without EFI: not systemd-boot, which always says it.
    Unnamed,
    /// Nobody can tell.
    Unknown,
}

impl Loader {
    pub(super) fn is(&self, name: &str) -> bool {
        matches!(self, Loader::Named(own) if own.starts_with(name))
    }
}

/// What started the running system. Nothing did in an image.
pub(super) fn loader(facts: &Facts) -> Loader {
    if !facts.running() {
        return Loader::Unknown;
    }
    match variable(facts, "LoaderInfo") {
        Ok(Some(name)) => return Loader::Named(name),
        Ok(None) => {}
        Err(_) => return Loader::Unknown,
    }
    if matches!(facts.stat(EFI), Err(Unread::Absent { .. })) {
        return Loader::Unnamed;
    }
    // Firmware that keeps no variables for the system, such as U-Boot's, shows none at all.
    match facts.list(VARIABLES) {
        Ok(names) if !names.is_empty() => Loader::Unnamed,
        _ => Loader::Unknown,
    }
}

/// The text of a variable of the interface; `None` where it is not set.
pub(super) fn variable(facts: &Facts, name: &str) -> Fact<Option<String>> {
    if !facts.running() {
        return Ok(None);
    }
    let bytes = facts.bytes(&format!("{VARIABLES}/{name}-{VENDOR}"), LIMIT_BYTES).or_absent()?;
    Ok(bytes.map(|bytes| text(&bytes)).filter(|text| !text.is_empty()))
}

/// UTF-16, little endian, up to NUL.
fn text(bytes: &[u8]) -> String {
    let units = bytes.get(ATTRIBUTES_BYTES..).unwrap_or_default().chunks_exact(2);
    let units = units.filter_map(|pair| Some(u16::from_le_bytes(pair.try_into().ok()?)));
    String::from_utf16_lossy(&units.take_while(|&unit| unit != 0).collect::<Vec<_>>())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    /// A running host whose boot loader set this variable.
    pub(in crate::facts::boot) fn with_variable(host: TestHost, name: &str, value: &str) -> TestHost {
        let mut bytes = vec![6, 0, 0, 0];
        bytes.extend(value.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        host.dir(EFI, "0755", 0).file(&format!("{VARIABLES}/{name}-{VENDOR}"), bytes)
    }

    #[test]
    fn the_boot_loader_says_its_name() {
        let host = with_variable(empty_host(), "LoaderInfo", "systemd-boot 257.7-1");
        let facts = host.clone().facts();
        assert!(loader(&facts).is("systemd-boot"));
        assert_eq!(variable(&facts, "LoaderEntryDefault"), Ok(None));
        assert_eq!(loader(&host.image().facts()), Loader::Unknown);
        assert_eq!(loader(&empty_host().facts()), Loader::Unnamed);
        let other = with_variable(empty_host(), "LoaderDevicePartUUID", "x").facts();
        assert_eq!(loader(&other), Loader::Unnamed);
        let none = empty_host().dir(EFI, "0755", 0).facts();
        assert_eq!(loader(&none), Loader::Unknown);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            let _ = text(&bytes);
        }
    }
}
