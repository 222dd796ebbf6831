//! The modules of the running kernel: `/proc/modules` and `/sys/module`.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::super::{Evidence, Facts, Source, Sourced};
use super::fold;
use crate::host::{Fact, OrAbsent};

const PROC_MODULES: &str = "/proc/modules";
const SYS_MODULE: &str = "/sys/module";

/// How a module is present in the running kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is loaded.
    Loaded(Evidence),
    /// It is built in, as far as the kernel shows it: with parameters or a version.
    BuiltIn(Evidence),
}

/// What the running kernel shows of its modules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadedModules {
    /// Loaded modules, in the order of `/proc/modules`.
    pub loaded: Vec<Sourced<String>>,
    /// The names in `/sys/module`.
    pub in_sysfs: BTreeSet<String>,
}

impl LoadedModules {
    /// Reads `/proc/modules` (`proc_modules(5)`). A module on its way out does not count.
    fn parse(source: &Source) -> Vec<Sourced<String>> {
        let modules = source.lines().filter_map(|(line, text)| {
            let mut fields = text.split_ascii_whitespace();
            let name = fields.next()?;
            let state = fields.nth(3);
            // The address at the end differs from boot to boot, and is nobody's business.
            let shown = text.split(" 0x").next().unwrap_or_default();
            (state != Some("Unloading")).then(|| source.on(line, shown, name.to_owned()))
        });
        modules.collect()
    }

    /// How a module is present, by its own name. `None` for one that is not loaded and either not
    /// built in or built in without parameters.
    pub fn get(&self, module: &str) -> Option<Presence> {
        let module = fold(module);
        if let Some(loaded) = self.loaded.iter().find(|loaded| loaded.value == module) {
            return Some(Presence::Loaded(loaded.at.clone()));
        }
        let shown = self.in_sysfs.contains(&module);
        shown.then(|| Presence::BuiltIn(Evidence::path(&format!("{SYS_MODULE}/{module}"), "")))
    }
}

impl Facts {
    /// Whether no module can be loaded before the next boot: `kernel.modules_disabled` is 1 (Linux:
    /// `Documentation/admin-guide/sysctl/kernel.rst`), or the modules of the running kernel are gone and those
    /// of another are there.
    ///
    /// # Errors
    /// When the sysctl or the kernels cannot be read.
    pub fn modules_wait_for_boot(&self) -> Fact<bool> {
        if !self.running() {
            return Ok(false);
        }
        let disabled = self.sysctl("kernel.modules_disabled").or_absent()?;
        if disabled.is_some_and(|now| now.value == "1") {
            return Ok(true);
        }
        let kernels = self.kernels()?;
        let (running, others): (Vec<_>, Vec<_>) = kernels.iter().partition(|kernel| kernel.running);
        Ok(!others.is_empty() && running.iter().any(|kernel| kernel.modules_dir.is_none()))
    }

    /// What the running kernel shows of its modules. A kernel without `CONFIG_MODULES` has no
    /// `/proc/modules`, and so none that are loaded.
    ///
    /// # Errors
    /// When one of the two cannot be read, or nothing runs.
    pub fn loaded_modules(&self) -> Fact<Rc<LoadedModules>> {
        self.memo_fact("", || {
            self.need_running("loaded modules")?;
            let loaded = self.source(PROC_MODULES).or_absent()?;
            let in_sysfs = self.list(SYS_MODULE).or_absent()?;
            Ok(LoadedModules {
                loaded: loaded.map(|source| LoadedModules::parse(&source)).unwrap_or_default(),
                in_sysfs: in_sysfs.iter().flat_map(|e| e.iter()).map(|entry| entry.name.clone()).collect(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;
    use crate::host::Unread;

    #[test]
    fn loaded_and_built_in() {
        let facts = empty_host()
            .file(
                PROC_MODULES,
                "br_netfilter 36864 0 - Live 0x0000000000000000\ntun 69632 0 - Unloading 0x0\n",
            )
            .file("/sys/module/fuse/parameters/max_user_bgreq", "")
            .file("/sys/module/br_netfilter/initstate", "")
            .facts();
        let modules = facts.loaded_modules().unwrap();
        assert!(matches!(modules.get("br-netfilter"), Some(Presence::Loaded(at)) if at.line == Some(1)));
        assert!(
            matches!(modules.get("fuse"), Some(Presence::BuiltIn(at)) if &*at.path == "/sys/module/fuse")
        );
        assert_eq!(modules.get("tun"), None);
    }

    #[test]
    fn a_kernel_without_modules() {
        let facts = empty_host().file("/sys/module/fuse/uevent", "").facts();
        assert!(facts.loaded_modules().unwrap().get("fuse").is_some());
        let denied = empty_host().error(PROC_MODULES, "denied").facts();
        assert!(matches!(denied.loaded_modules(), Err(Unread::Denied { .. })));
        assert!(matches!(empty_host().image().facts().loaded_modules(), Err(Unread::NotRunning { .. })));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)([a-z_]{1,3}|[0-9]| |\\n|.){0,40}") {
            let loaded = LoadedModules::parse(&Source::new(PROC_MODULES, text));
            let _ = LoadedModules { loaded, in_sysfs: BTreeSet::new() }.get("a");
        }
    }
}
