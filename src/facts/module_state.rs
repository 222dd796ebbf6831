//! Where a module stands on one kernel: loaded, built in, in a file, or why it is nowhere.

use super::kernel::Kernel;
use super::kernel_config::Setting;
use super::module_options::options_of;
use super::modules::{ModuleFile, Presence, Resolution};
use super::{Evidence, Facts, Sourced};
use crate::host::{Fact, OrAbsent};

/// Where a module stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModuleState {
    /// It is loaded; its files, as far as there are any.
    Loaded(Evidence, Vec<ModuleFile>),
    /// Part of the kernel.
    BuiltIn(Evidence),
    /// It can be loaded from these files.
    Loadable(Vec<ModuleFile>),
    /// The kernel does not have it.
    Missing(Missing, Vec<Evidence>),
    /// The kernel has no modules directory, and nothing else tells.
    Unseen,
}

/// Why a kernel does not have a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Neither a module nor an alias is called that.
    NoSuchModule,
    /// It is an alias of what is no module of this kernel.
    AliasOfNothing,
    /// `modules.dep` names a file that does not exist.
    FileMissing,
    /// It was built, and the kernel has no modules directory.
    NotInstalled,
    /// The kernel was built without it.
    NotBuilt,
}

impl Facts {
    /// Where the module `name` stands, which must be one of `names`: all that will be asked for,
    /// so that the lists of the kernel are searched once.
    ///
    /// # Errors
    /// Why something that decides could not be read.
    pub fn module_state(&self, kernel: &Kernel, names: &[&str], name: &str) -> Fact<ModuleState> {
        let resolved = match kernel.modules_dir {
            Some(_) => self.resolve_modules(&kernel.release, names).map(|all| all.get(name).cloned()),
            None => Ok(None),
        };
        if kernel.running {
            // What is present needs no file.
            let resolution = resolved.as_ref().ok().and_then(Option::as_ref);
            if let Some(state) = self.present(name, resolution)? {
                return Ok(state);
            }
        }
        let (why, evidence) = match resolved? {
            Some(Resolution::BuiltIn { at, .. }) => return Ok(ModuleState::BuiltIn(at)),
            Some(Resolution::Loadable { files, .. }) => return Ok(ModuleState::Loadable(files)),
            Some(Resolution::FileMissing { file, .. }) => {
                let gone = Evidence::path(&file.path, "does not exist");
                return Ok(ModuleState::Missing(Missing::FileMissing, vec![file.at, gone]));
            }
            Some(Resolution::Dangling { alias }) => (Some(Missing::AliasOfNothing), vec![alias]),
            Some(Resolution::Unknown) => {
                let dir = kernel.modules_dir.as_deref().unwrap_or_default();
                (Some(Missing::NoSuchModule), vec![Evidence::path(dir, format!("no module {name}"))])
            }
            None => (None, Vec::new()),
        };
        // modules.builtin is left out of some images, and a kernel without a modules directory has
        // none: its configuration knows what is built in.
        let option = match self.option(kernel, name) {
            // It would only have spoken for a list of modules that is there, and does not name it.
            Err(_) if why.is_some() => None,
            option => option?,
        };
        Ok(match (option.map(|found| (found.value, found.at)), why) {
            (Some((Setting::Yes, at)), _) => ModuleState::BuiltIn(at),
            (_, Some(why)) => ModuleState::Missing(why, evidence),
            (Some((Setting::Module, at)), None) => ModuleState::Missing(Missing::NotInstalled, vec![at]),
            (Some((_, at)), None) => ModuleState::Missing(Missing::NotBuilt, vec![at]),
            (None, None) => ModuleState::Unseen,
        })
    }

    fn present(&self, name: &str, resolution: Option<&Resolution>) -> Fact<Option<ModuleState>> {
        let present = self.loaded_modules()?;
        let modules = match resolution {
            Some(resolution) if !resolution.modules().is_empty() => resolution.modules(),
            _ => vec![name],
        };
        let found: Option<Vec<Presence>> = modules.iter().map(|module| present.get(module)).collect();
        let files = match resolution {
            Some(Resolution::Loadable { files, .. }) => files.clone(),
            _ => Vec::new(),
        };
        Ok(found.and_then(|found| found.into_iter().next()).map(|first| match first {
            Presence::Loaded(at) => ModuleState::Loaded(at, files),
            Presence::BuiltIn(at) => ModuleState::BuiltIn(at),
        }))
    }

    /// The best setting of the options that build a module; `None` where none of them is known or the
    /// configuration is not to be had.
    fn option(&self, kernel: &Kernel, name: &str) -> Fact<Option<Sourced<Setting>>> {
        let options = options_of(name);
        if options.is_empty() {
            return Ok(None);
        }
        let Some(config) = self.kernel_config(&kernel.release).or_absent()? else { return Ok(None) };
        let set: Vec<_> = options.iter().filter_map(|option| config.get(option)).collect();
        let with = |wanted: Setting| set.iter().find(|found| found.value == wanted).cloned();
        Ok(with(Setting::Yes).or_else(|| with(Setting::Module)).or_else(|| {
            let at = Evidence::path(config.path(), format!("CONFIG_{} is not set", options.first()?));
            Some(Sourced { value: Setting::No, at })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    const DIR: &str = "/usr/lib/modules/6.1.0";

    fn host() -> TestHost {
        empty_host()
            .file("/proc/sys/kernel/osrelease", "6.1.0\n")
            .file("/proc/modules", "tun 1 0 - Live 0x0\n")
            .file("/sys/module/fuse/uevent", "")
    }

    fn installed() -> TestHost {
        host()
            .file(&format!("{DIR}/modules.dep"), "a/veth.ko.xz:\na/bridge.ko.xz:\na/tun.ko.xz:\n")
            .file(&format!("{DIR}/modules.builtin"), "a/vxlan.ko\n")
            .file(&format!("{DIR}/modules.alias"), "alias odd nothing\nalias char-major-10-200 tun\n")
            .file(&format!("{DIR}/a/veth.ko.xz"), "")
            .file(&format!("{DIR}/a/tun.ko.xz"), "")
    }

    fn state(host: TestHost, name: &str) -> ModuleState {
        let facts = host.facts();
        let kernels = facts.counting_kernels().unwrap();
        facts.module_state(&kernels[0], &[name], name).unwrap()
    }

    #[test]
    fn with_a_modules_directory() {
        let ModuleState::Loaded(at, files) = state(installed(), "char-major-10-200") else { panic!() };
        assert_eq!((at.line, files.len()), (Some(1), 1));
        assert!(
            matches!(state(installed(), "fuse"), ModuleState::BuiltIn(at) if &*at.path == "/sys/module/fuse")
        );
        assert!(matches!(state(installed(), "vxlan"), ModuleState::BuiltIn(at) if at.line == Some(1)));
        assert!(
            matches!(state(installed(), "veth"), ModuleState::Loadable(files) if files[0].at.line == Some(1))
        );
        for (name, why) in [
            ("bridge", Missing::FileMissing),
            ("odd", Missing::AliasOfNothing),
            ("overlay", Missing::NoSuchModule),
        ] {
            assert!(
                matches!(state(installed(), name), ModuleState::Missing(found, _) if found == why),
                "{name}"
            );
        }
        let image = installed().image();
        assert!(matches!(state(image, "tun"), ModuleState::Loadable(_)), "nothing is loaded in an image");
    }

    #[test]
    fn without_one_the_configuration_speaks() {
        assert!(matches!(state(host(), "tun"), ModuleState::Loaded(..)));
        assert_eq!(state(host(), "veth"), ModuleState::Unseen);
        let config = "CONFIG_VETH=y\nCONFIG_BRIDGE=m\n# CONFIG_VXLAN is not set\n";
        let host = || host().file("/boot/config-6.1.0", config);
        assert!(matches!(state(host(), "veth"), ModuleState::BuiltIn(at) if at.line == Some(1)));
        assert!(matches!(state(host(), "bridge"), ModuleState::Missing(Missing::NotInstalled, _)));
        assert!(matches!(state(host(), "vxlan"), ModuleState::Missing(Missing::NotBuilt, _)));
        assert!(matches!(state(host(), "overlay"), ModuleState::Missing(Missing::NotBuilt, _)));
        assert_eq!(state(host(), "no_such"), ModuleState::Unseen, "no option is known");
    }

    #[test]
    fn a_module_that_is_loaded_needs_no_list() {
        let denied = installed().error(&format!("{DIR}/modules.dep"), "denied");
        assert!(matches!(state(denied.clone(), "tun"), ModuleState::Loaded(..)));
        let facts = denied.facts();
        let kernels = facts.counting_kernels().unwrap();
        assert!(facts.module_state(&kernels[0], &["veth"], "veth").is_err());
    }
}
