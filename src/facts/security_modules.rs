//! Which Linux security modules are active, how far the kernel is locked down, and what SELinux does.
//! AppArmor's profiles are in `apparmor`.

use super::{Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// securityfs: not mounted in most containers, which then says nothing of the kernel.
const LSM: &str = "/sys/kernel/security/lsm";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
const SELINUX_ENFORCE: &str = "/sys/fs/selinux/enforce";
const SELINUX_CONFIG: &str = "/etc/selinux/config";

/// How far the kernel protects itself from root (`kernel_lockdown(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lockdown {
    /// Not at all.
    None,
    /// Root cannot change the running kernel.
    Integrity,
    /// Root cannot read the kernel's memory either: BPF and perf are restricted.
    Confidentiality,
}

/// What SELinux does with what its policy forbids (`selinux(8)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selinux {
    /// It refuses.
    Enforcing,
    /// It only logs.
    Permissive,
    /// No policy is loaded.
    Disabled,
}

/// The names in a list such as `lockdown,capability,yama,apparmor`.
fn parse_list(source: &Source) -> Vec<String> {
    source.text().trim().split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The word in brackets of `none [integrity] confidentiality`.
fn parse_lockdown(source: &Source) -> Fact<Lockdown> {
    match source.text().split_once('[').and_then(|(_, rest)| rest.split_once(']')) {
        Some(("none", _)) => Ok(Lockdown::None),
        Some(("integrity", _)) => Ok(Lockdown::Integrity),
        Some(("confidentiality", _)) => Ok(Lockdown::Confidentiality),
        _ => Err(malformed(source, "expected [none], [integrity] or [confidentiality]")),
    }
}

fn parse_enforce(source: &Source) -> Fact<Selinux> {
    match source.text().trim() {
        "1" => Ok(Selinux::Enforcing),
        "0" => Ok(Selinux::Permissive),
        _ => Err(malformed(source, "expected 0 or 1")),
    }
}

/// The last `SELINUX=` (`selinux_config(5)`); libselinux ignores case and white space at the end.
fn parse_selinux_config(source: &Source) -> Option<Sourced<Selinux>> {
    let settings = source.lines().filter_map(|(line, text)| {
        let value = text.trim_start().strip_prefix("SELINUX=")?.trim();
        let mode = match value.to_ascii_lowercase().as_str() {
            "enforcing" => Selinux::Enforcing,
            "permissive" => Selinux::Permissive,
            "disabled" => Selinux::Disabled,
            _ => return None,
        };
        Some(source.on(line, text, mode))
    });
    settings.last()
}

fn malformed(source: &Source, expected: &str) -> Unread {
    Unread::Malformed { path: source.path().to_owned(), line: Some(1), expected: expected.to_owned() }
}

impl Facts {
    /// The active security modules.
    ///
    /// # Errors
    /// When the list cannot be read, or nothing runs. Absent means that it is not known: securityfs
    /// is not mounted, or Linux is older than 4.11.
    pub fn security_modules(&self) -> Fact<Sourced<Vec<String>>> {
        self.need_running("active security modules")?;
        let source = self.source(LSM)?;
        Ok(source.whole(parse_list(&source)))
    }

    /// The lockdown mode; `None` where the security module `lockdown` is not active.
    ///
    /// # Errors
    /// As [`Facts::security_modules`].
    pub fn lockdown(&self) -> Fact<Option<Sourced<Lockdown>>> {
        let active = self.security_modules()?.value.iter().any(|name| name == "lockdown");
        if !active {
            return Ok(None);
        }
        let source = self.source(LOCKDOWN)?;
        Ok(Some(source.whole(parse_lockdown(&source)?)))
    }

    /// What SELinux does now.
    ///
    /// # Errors
    /// When it cannot be told: selinuxfs and securityfs are both not there, or nothing runs.
    pub fn selinux(&self) -> Fact<Sourced<Selinux>> {
        self.need_running("the mode of SELinux")?;
        if let Some(source) = self.source(SELINUX_ENFORCE).or_absent()? {
            return Ok(source.whole(parse_enforce(&source)?));
        }
        let modules = self.security_modules()?;
        if modules.value.iter().any(|name| name == "selinux") {
            return Err(Unread::Absent { path: SELINUX_ENFORCE.to_owned() });
        }
        Ok(Sourced { value: Selinux::Disabled, at: modules.at })
    }

    /// What SELinux is configured to do from the next boot on; `None` where nothing says so.
    ///
    /// # Errors
    /// When the configuration is there and cannot be read.
    pub fn selinux_configured(&self) -> Fact<Option<Sourced<Selinux>>> {
        Ok(self.source(SELINUX_CONFIG).or_absent()?.and_then(|source| parse_selinux_config(&source)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;

    #[test]
    fn modules_and_lockdown() {
        let facts = empty_host()
            .file(LSM, "lockdown,capability,landlock,yama,apparmor")
            .file(LOCKDOWN, "none [integrity] confidentiality\n")
            .facts();
        assert_eq!(facts.security_modules().unwrap().value.last().map(String::as_str), Some("apparmor"));
        assert_eq!(facts.lockdown().unwrap().map(|l| l.value), Some(Lockdown::Integrity));
        assert_eq!(facts.selinux().unwrap().value, Selinux::Disabled);
    }

    #[test]
    fn without_securityfs_nothing_is_known() {
        let facts = empty_host().facts();
        assert!(facts.security_modules().unwrap_err().is_absent());
        assert!(facts.lockdown().unwrap_err().is_absent());
        assert!(facts.selinux().unwrap_err().is_absent());
        let image = empty_host().image().facts();
        assert!(matches!(image.lockdown(), Err(Unread::NotRunning { .. })));
    }

    #[test]
    fn lockdown_that_is_not_active() {
        let facts = empty_host().file(LSM, "capability,selinux\n").facts();
        assert_eq!(facts.lockdown(), Ok(None));
        assert!(facts.selinux().unwrap_err().is_absent(), "active, but selinuxfs is not mounted");
    }

    #[test]
    fn selinux_now_and_configured() {
        for (text, mode) in [("1", Selinux::Enforcing), ("0\n", Selinux::Permissive)] {
            assert_eq!(empty_host().file(SELINUX_ENFORCE, text).facts().selinux().unwrap().value, mode);
        }
        let text = "# SELINUX= can take one of\n#     enforcing\nSELINUX=Permissive \nSELINUXTYPE=targeted\n";
        let facts = empty_host().file(SELINUX_CONFIG, text).image().facts();
        let configured = facts.selinux_configured().unwrap().unwrap();
        assert_eq!((configured.value, configured.at.line), (Selinux::Permissive, Some(3)));
        assert_eq!(empty_host().image().facts().selinux_configured(), Ok(None));
        let facts = empty_host().file(SELINUX_ENFORCE, "x").facts();
        assert!(matches!(facts.selinux(), Err(Unread::Malformed { .. })));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)(SELINUX=|\\[|\\]|none|.){0,30}") {
            let source = Source::new("/x", text);
            let _ = (parse_list(&source), parse_lockdown(&source).is_ok(), parse_selinux_config(&source));
        }
    }
}
