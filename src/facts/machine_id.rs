//! Who this host is: `machine-id(5)` and `hostname(5)`. Both must differ between hosts, and neither may
//! be baked into an image that many hosts start from.

use super::{Evidence, Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent};

/// The longest value of a label, in characters.
const NODE_NAME_CHARS: usize = 63;

/// The state of `/etc/machine-id`, in the words of `machine-id(5)`, "First Boot Semantics".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineId {
    /// An ID of 32 lower-case hexadecimal digits.
    Valid(String),
    /// An empty file: an ID is made at boot, and this does not count as first boot.
    Empty,
    /// `uninitialized`: an ID is made at the first boot.
    Uninitialized,
    /// No file: as [`MachineId::Uninitialized`] where `/etc` can be written at boot.
    Absent,
    /// Anything else.
    Malformed,
}

impl MachineId {
    /// Reads the file. All zeros are no ID (`sd_id128_get_machine(3)` answers `ENOMEDIUM`).
    pub fn parse(text: &str) -> MachineId {
        match text.strip_suffix('\n').unwrap_or(text) {
            "" => MachineId::Empty,
            "uninitialized" => MachineId::Uninitialized,
            id if id.len() == 32
                && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                && id.bytes().any(|b| b != b'0') =>
            {
                MachineId::Valid(id.to_owned())
            }
            _ => MachineId::Malformed,
        }
    }
}

/// The name in `/etc/hostname`: the first line that is no comment (`hostname(5)`).
pub fn static_hostname(source: &Source) -> Option<Sourced<String>> {
    let mut lines = source.lines().map(|(number, line)| (number, line.trim()));
    let (number, name) = lines.find(|(_, line)| !line.is_empty() && !line.starts_with('#'))?;
    Some(source.on(number, name, name.to_owned()))
}

/// Whether a name stands for any machine and none, so that systemd lets the network replace it (systemd,
/// `src/basic/hostname-util.c`, `is_localhost`).
pub fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is = |domain: &str| name == domain || name.ends_with(&format!(".{domain}"));
    is("localhost") || is("localhost.localdomain")
}

/// Whether a node of a cluster can have this name: a lower-case RFC 1123 subdomain, which has to fit the
/// label `kubernetes.io/hostname` as well (kubernetes: `ValidateNodeName`, `IsValidLabelValue`).
pub fn is_node_name(name: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |label: &str| {
        label.starts_with(alphanumeric)
            && label.ends_with(alphanumeric)
            && label.chars().all(|c| c == '-' || alphanumeric(c))
    };
    name.len() <= NODE_NAME_CHARS && name.split('.').all(is_label)
}

impl Facts {
    /// `/etc/machine-id`; that it is absent is a state, too.
    ///
    /// # Errors
    /// Why it could not be read.
    pub fn machine_id(&self) -> Fact<Sourced<MachineId>> {
        let path = "/etc/machine-id";
        Ok(match self.source(path).or_absent()? {
            Some(source) => source.whole(MachineId::parse(source.text())),
            None => Sourced { value: MachineId::Absent, at: Evidence::path(path, "does not exist") },
        })
    }

    /// The host name in effect.
    ///
    /// # Errors
    /// [`Unread::NotRunning`](crate::host::Unread::NotRunning) in an image root, and why it could not
    /// be read.
    pub fn hostname(&self) -> Fact<Sourced<String>> {
        self.need_running("the host name in effect")?;
        let source = self.source("/proc/sys/kernel/hostname")?;
        Ok(source.whole(source.text().trim().to_owned()))
    }

    /// The host name that is configured in `/etc/hostname`; `None` where none is, so that it comes from
    /// the network or is `DEFAULT_HOSTNAME` of `os-release`.
    ///
    /// # Errors
    /// Why the file could not be read.
    pub fn static_hostname(&self) -> Fact<Option<Sourced<String>>> {
        Ok(self.source("/etc/hostname").or_absent()?.and_then(|source| static_hostname(&source)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;
    use crate::host::Unread;

    #[test]
    fn every_state_of_the_machine_id() {
        let id = "4c1e3f0a9b8d7c6e5f4a3b2c1d0e9f8a";
        let table = [
            (format!("{id}\n"), MachineId::Valid(id.to_owned())),
            (id.to_owned(), MachineId::Valid(id.to_owned())),
            (String::new(), MachineId::Empty),
            ("\n".to_owned(), MachineId::Empty),
            ("uninitialized\n".to_owned(), MachineId::Uninitialized),
            (id.to_uppercase(), MachineId::Malformed),
            ("0".repeat(32), MachineId::Malformed),
            (format!("{id}0\n"), MachineId::Malformed),
            (format!("{id}\r\n"), MachineId::Malformed),
        ];
        for (text, state) in table {
            assert_eq!(MachineId::parse(&text), state, "{text:?}");
        }
        let absent = empty_host().image().facts().machine_id().unwrap();
        assert_eq!((absent.value, absent.at.text.as_str()), (MachineId::Absent, "does not exist"));
        assert!(empty_host().error("/etc/machine-id", "denied").facts().machine_id().is_err());
    }

    #[test]
    fn configured_and_effective_host_names_are_two() {
        let host = empty_host()
            .file("/etc/hostname", "# set by the installer\nraspberrypi\n")
            .file("/proc/sys/kernel/hostname", "edge-1\n");
        let facts = host.clone().facts();
        assert_eq!(facts.hostname().unwrap().value, "edge-1");
        let configured = facts.static_hostname().unwrap().unwrap();
        assert_eq!((configured.value.as_str(), configured.at.line), ("raspberrypi", Some(2)));
        assert_eq!(host.clone().file("/etc/hostname", "\n#x\n").facts().static_hostname(), Ok(None));
        assert_eq!(empty_host().facts().static_hostname(), Ok(None));
        assert!(matches!(host.image().facts().hostname(), Err(Unread::NotRunning { .. })));
    }

    #[test]
    fn names_of_nodes() {
        for name in ["edge-1", "a", "0", "edge.example.org", &"a".repeat(63)] {
            assert!(is_node_name(name), "{name}");
        }
        for name in
            ["", "my_pi", "Edge", "-edge", "edge-", "edge..org", "edge.", "\u{e9}dge", &"a".repeat(64)]
        {
            assert!(!is_node_name(name), "{name}");
        }
        assert!(
            is_localhost("localhost") && is_localhost("localhost.localdomain") && is_localhost("LOCALHOST.")
        );
        assert!(!is_localhost("localhost1") && !is_localhost("edge"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s).{0,64}") {
            let _ = is_node_name(&text);
            let _ = is_localhost(&text);
            let _ = MachineId::parse(&text);
            let _ = static_hostname(&Source::new("/etc/hostname", text));
        }
    }
}
