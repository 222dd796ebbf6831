//! Kernel modules that are configured to be loaded at boot (`modules-load.d(5)`; systemd,
//! `src/modules-load/modules-load.c`; Alpine, `main/openrc/modules.initd`; OpenRC, `init.d/modules.in`).
//! Whether a module exists, is loaded, or is kept from being loaded by modprobe.d is not known here.

use std::rc::Rc;

use super::conf_files::{ConfFiles, Content};
use super::kernel_cmdline::KernelCmdline;
use super::session::ServiceManager;
use super::unit_syntax::physical_lines;
use super::{Evidence, Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// What the service of Alpine reads before the directories.
const ALPINE_FILE: &str = "/etc/modules";

/// A module that is loaded at boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleLoad {
    /// Its name as the kernel writes it, with `_` for `-`.
    pub name: String,
    /// Whether only the systemd of an initrd does it (`rd.modules_load=`); there may be none.
    pub initrd: bool,
}

/// All of them, in the order in which they are loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModulesLoad {
    /// The modules. One can be named more than once.
    pub modules: Vec<Sourced<ModuleLoad>>,
    /// What could not be read, and could name more.
    pub unread: Vec<Unread>,
}

impl ModulesLoad {
    /// Where a module is named first; `-` and `_` in its name are the same.
    ///
    /// # Errors
    /// Where it is named nowhere and something could not be read.
    pub fn find(&self, name: &str) -> Fact<Option<&Sourced<ModuleLoad>>> {
        let name = fold(name);
        match (self.modules.iter().find(|module| module.value.name == name), self.unread.first()) {
            (None, Some(why)) => Err(why.clone()),
            (found, _) => Ok(found),
        }
    }
}

/// The names in one file. The whole of a line is the name, so `dummy numdummies=3` names a module
/// that no one has.
pub fn names(source: &Source) -> impl Iterator<Item = Sourced<String>> + '_ {
    physical_lines(source.text()).filter_map(|(number, line)| {
        let text = line.trim_matches([' ', '\t']);
        let skipped = text.is_empty() || text.starts_with(['#', ';']);
        if skipped { None } else { Some(source.on(number, text, fold(text))) }
    })
}

/// The names in one file as OpenRC reads it: the first word of a line, which parameters may follow.
pub fn openrc_names(source: &Source) -> impl Iterator<Item = Sourced<String>> + '_ {
    physical_lines(source.text()).filter_map(|(number, line)| {
        let name = line.split(['#', ';']).next()?.split_whitespace().next()?;
        Some(source.on(number, line, fold(name)))
    })
}

fn fold(name: &str) -> String {
    name.replace('-', "_")
}

/// The modules in `modules_load=` and `rd.modules_load=` (`kernel-command-line(7)`), comma-separated.
fn on_cmdline(cmdline: &KernelCmdline) -> Vec<Sourced<ModuleLoad>> {
    let mut found = Vec::new();
    for (parameter, initrd) in [("modules_load", false), ("rd.modules_load", true)] {
        let module = |(name, at): (&str, &Evidence)| {
            let value = ModuleLoad { name: fold(name), initrd };
            Sourced { value, at: at.clone() }
        };
        found.extend(cmdline.items(parameter).map(module));
    }
    found
}

fn of_openrc(files: &ConfFiles, alpine: Fact<Option<Rc<Source>>>) -> ModulesLoad {
    let mut found = ModulesLoad::default();
    let module = |Sourced { value, at }| Sourced { value: ModuleLoad { name: value, initrd: false }, at };
    match alpine {
        Ok(file) => found.modules.extend(file.iter().flat_map(|file| openrc_names(file)).map(module)),
        Err(why) => found.unread.push(why),
    }
    found.modules.extend(files.texts().flat_map(|source| openrc_names(source)).map(module));
    found.unread.extend(files.unread().cloned());
    found
}

fn collect(files: &ConfFiles, cmdline: Fact<Rc<KernelCmdline>>) -> ModulesLoad {
    let mut found = ModulesLoad::default();
    match cmdline {
        Ok(cmdline) => found.modules.extend(on_cmdline(&cmdline)),
        Err(why) => found.unread.push(why),
    }
    found.unread.extend(files.unread_dirs.iter().cloned());
    for file in &files.files {
        match &file.content {
            Content::Text(source) => found.modules.extend(names(source).map(|Sourced { value, at }| {
                let value = ModuleLoad { name: value, initrd: false };
                Sourced { value, at }
            })),
            Content::Mask(_) => {}
            Content::Unread(why) => found.unread.push(why.clone()),
        }
    }
    found
}

impl Facts {
    /// The modules that are configured to be loaded at boot.
    pub fn modules_load(&self) -> Rc<ModulesLoad> {
        self.memo("", || {
            let files = self.conf_files("modules-load.d");
            match self.service_manager() {
                Ok(ServiceManager::OpenRc) => of_openrc(&files, self.source(ALPINE_FILE).or_absent()),
                Ok(ServiceManager::Systemd | ServiceManager::Other) | Err(_) => {
                    collect(&files, self.boot_parameters())
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    fn host() -> TestHost {
        empty_host()
            .file("/etc/modules-load.d/k.conf", "# net\n br-netfilter \r\n;x\ndummy numdummies=3\n\noverlay")
            .file("/usr/lib/modules-load.d/k.conf", "shadowed\n")
            .file("/proc/cmdline", "quiet modules-load=tun,fuse rd.modules_load=loop modules_load= x\n")
    }

    #[test]
    fn a_line_is_a_name() {
        let facts = host().facts();
        let found = facts.modules_load();
        let names: Vec<_> = found.modules.iter().map(|m| (m.value.name.as_str(), m.value.initrd)).collect();
        assert_eq!(
            names,
            [
                ("tun", false),
                ("fuse", false),
                ("loop", true),
                ("br_netfilter", false),
                ("dummy numdummies=3", false),
                ("overlay", false)
            ]
        );
        let at = &found.find("br-netfilter").unwrap().unwrap().at;
        assert_eq!(
            (at.to_string().as_str(), at.text.as_str()),
            ("/etc/modules-load.d/k.conf:2", "br-netfilter")
        );
        assert_eq!(found.find("dummy"), Ok(None));
        assert_eq!(found.find("shadowed"), Ok(None));
    }

    #[test]
    fn what_cannot_be_read_leaves_doubt_only_about_what_was_not_found() {
        let facts = host().error("/run/modules-load.d", "denied").facts();
        let found = facts.modules_load();
        assert!(found.find("overlay").unwrap().is_some());
        assert_eq!(found.find("nf_tables"), Err(Unread::Denied { path: "/run/modules-load.d".to_owned() }));
    }

    /// `/etc/modules` is that of `alpine-baselayout`, with a line of a person.
    #[test]
    fn openrc_reads_words_and_alpine_a_file_more() {
        let alpine =
            host().dir("/run/openrc", "0755", 0).file("/etc/modules", "af_packet\nipv6\ntun # for pasta\n");
        let facts = alpine.clone().facts();
        let found = facts.modules_load();
        let names: Vec<_> = found.modules.iter().map(|m| m.value.name.as_str()).collect();
        assert_eq!(names, ["af_packet", "ipv6", "tun", "br_netfilter", "dummy", "overlay"]);
        assert_eq!(found.find("tun").unwrap().unwrap().at.to_string(), "/etc/modules:3");
        let denied = alpine.error("/etc/modules", "denied").facts();
        assert!(denied.modules_load().find("tun").is_err() && denied.modules_load().find("overlay").is_ok());
        assert_eq!(
            host().file("/etc/modules", "af_packet\n").facts().modules_load().find("af_packet"),
            Ok(None)
        );
    }

    #[test]
    fn an_image_has_no_command_line() {
        assert_eq!(host().image().facts().modules_load().find("tun"), Ok(None));
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(text in "(\\PC|[\n\r#;=-]){0,100}") {
            let source = Source::new("/f", text);
            prop_assert!(names(&source).all(|name| !name.value.contains(['\n', '-'])));
            prop_assert!(openrc_names(&source).all(|name| !name.value.contains([' ', '#', '-'])));
            on_cmdline(&KernelCmdline::parse(&source));
        }
    }
}
