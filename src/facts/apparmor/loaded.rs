//! The profiles in the kernel. What they allow is not to be had from there.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::{Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// All of them at once; for root only.
pub(super) const LOADED: &str = "/sys/kernel/security/apparmor/profiles";
/// One directory each, for everybody (Linux, `security/apparmor/apparmorfs.c`, `SEQ_PROFILE_FOPS`).
pub(super) const EACH: &str = "/sys/kernel/security/apparmor/policy/profiles";

/// The profiles in the kernel with their modes: `enforce`, `complain`, `unconfined`, `kill`, `prompt`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadedProfiles {
    /// By name.
    pub modes: BTreeMap<String, Sourced<String>>,
}

impl LoadedProfiles {
    /// Reads lines `NAME (MODE)`; a name may hold spaces and parentheses.
    pub fn parse(source: &Source) -> LoadedProfiles {
        let modes = source.lines().filter_map(|(line, text)| {
            let (name, mode) = text.trim_end().strip_suffix(')')?.rsplit_once(" (")?;
            Some((name.to_owned(), source.on(line, text, mode.to_owned())))
        });
        LoadedProfiles { modes: modes.collect() }
    }
}

impl Facts {
    /// The profiles in the kernel, without those inside of others.
    ///
    /// # Errors
    /// When they cannot be read: securityfs is not mounted (absent), or nothing runs.
    pub fn apparmor_loaded(&self) -> Fact<Rc<LoadedProfiles>> {
        self.memo_fact("", || {
            self.need_running("loaded AppArmor profiles")?;
            match self.source(LOADED) {
                Ok(source) => Ok(LoadedProfiles::parse(&source)),
                Err(why @ Unread::Denied { .. }) => self.each_loaded()?.ok_or(why),
                Err(why) => Err(why),
            }
        })
    }

    /// As anybody may read them; `None` on a kernel without these files.
    fn each_loaded(&self) -> Fact<Option<LoadedProfiles>> {
        let Some(entries) = self.list(EACH).or_absent()? else { return Ok(None) };
        let mut loaded = LoadedProfiles::default();
        for entry in entries.iter().filter(|entry| entry.is_dir) {
            let name = self.source(&format!("{EACH}/{}/name", entry.name))?;
            let mode = self.source(&format!("{EACH}/{}/mode", entry.name))?;
            let mode = name.whole(mode.text().trim().to_owned());
            loaded.modes.insert(name.text().trim_end_matches('\n').to_owned(), mode);
        }
        Ok(Some(loaded))
    }
}
