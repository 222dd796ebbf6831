//! What modprobe is told about modules: `modprobe.d(5)` and the kernel command line. Which modules a
//! kernel has is in `modules`; which are loaded at boot is in `modules_load`.

use std::rc::Rc;

use super::kernel_cmdline::KernelCmdline;
use super::modules::{fold, matches_glob};
use super::{Evidence, Facts, Source, Sourced};
use crate::host::{Fact, Unread};

/// A command of modprobe.d that names something and says something of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The module, or the glob pattern, with `-` folded to `_`.
    pub name: String,
    /// The rest: the command, the module that an alias stands for, options, dependencies.
    pub argument: String,
}

/// All that modprobe is told, in the order in which it reads it. Nothing replaces anything: commands
/// accumulate, and where one must be chosen the first counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModprobeConfig {
    /// `blacklist`: aliases and modules-load.d do not load these; `modprobe NAME` still does.
    pub blacklist: Vec<Sourced<String>>,
    /// `install`: the command that is run in place of loading.
    pub install: Vec<Sourced<Directive>>,
    /// `remove`: the command that is run in place of unloading.
    pub remove: Vec<Sourced<Directive>>,
    /// `alias`: another name, or a pattern of names.
    pub aliases: Vec<Sourced<Directive>>,
    /// `options`: parameters for a module.
    pub options: Vec<Sourced<Directive>>,
    /// `softdep`: modules to load before and after.
    pub softdeps: Vec<Sourced<Directive>>,
    /// `module_blacklist=` on the kernel command line: the kernel itself refuses these. Names are
    /// compared as they are written (`blacklisted()` in `kernel/module/main.c`).
    pub kernel_blacklist: Vec<Sourced<String>>,
    /// Files that could not be read, so that what is said of a module may not be all.
    pub unread: Vec<Unread>,
    /// How many of `blacklist`, by its end, are from the kernel command line.
    blacklisted_by_words: usize,
}

/// What an `install` command comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallCommand {
    /// `/bin/false`: loading fails.
    Fails,
    /// `/bin/true`: loading succeeds and nothing is loaded.
    Nothing,
    /// Any other command; it may well load the module itself.
    Other(String),
}

/// What stands in the way of loading one module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModulePolicy {
    /// It is not loaded by alias or by systemd-modules-load; `modprobe NAME` loads it all the same.
    pub blacklisted: Option<Evidence>,
    /// What is run in place of loading it.
    pub install: Option<Sourced<InstallCommand>>,
    /// The kernel refuses to load it.
    pub kernel_blacklisted: Option<Evidence>,
}

impl ModprobeConfig {
    /// Adds the commands of one file. Lines that are no command are ignored, as modprobe does.
    pub fn read(&mut self, source: &Source) {
        for (line, text) in joined_lines(source) {
            if text.starts_with('#') {
                continue;
            }
            let (command, rest) = word(&text);
            let (name, argument) = word(rest);
            if name.is_empty() {
                continue;
            }
            if command == "blacklist" {
                self.blacklist.push(source.on(line, &text, fold(name)));
                continue;
            }
            let list = match command {
                "install" => &mut self.install,
                "remove" => &mut self.remove,
                "alias" => &mut self.aliases,
                "options" => &mut self.options,
                "softdep" => &mut self.softdeps,
                _ => continue,
            };
            let argument = if command == "alias" { fold(word(argument).0) } else { argument.to_owned() };
            if !argument.is_empty() {
                list.push(source.on(line, &text, Directive { name: fold(name), argument }));
            }
        }
    }

    /// The same with other words on the kernel command line: those of the next boot.
    pub fn with_words(&self, words: &KernelCmdline) -> ModprobeConfig {
        let mut config = ModprobeConfig { kernel_blacklist: Vec::new(), ..self.clone() };
        config.blacklist.truncate(self.blacklist.len() - self.blacklisted_by_words);
        config.read_words(words);
        config
    }

    fn read_words(&mut self, words: &KernelCmdline) {
        let sourced = |(name, at): (&str, &Evidence)| Sourced { value: name.to_owned(), at: at.clone() };
        // libkmod does not fold `-` here, so that modprobe.blacklist=br-netfilter has no effect.
        let before = self.blacklist.len();
        self.blacklist.extend(words.items("modprobe.blacklist").map(sourced));
        self.blacklisted_by_words = self.blacklist.len() - before;
        if let Some(parameter) = words.last("module_blacklist") {
            let names = parameter.value.as_deref().unwrap_or_default().split(',');
            self.kernel_blacklist.extend(names.map(|name| sourced((name, &parameter.at))));
        }
    }

    /// What stands in the way of a module, by its own name (`br_netfilter`), not an alias.
    pub fn policy(&self, module: &str) -> ModulePolicy {
        let module = &fold(module);
        let listed = |list: &[Sourced<String>]| {
            list.iter().find(|name| name.value == *module).map(|name| name.at.clone())
        };
        // The name may be a pattern, and only the first that matches is run.
        let install = self.install.iter().find(|install| matches_glob(&install.value.name, module));
        ModulePolicy {
            blacklisted: listed(&self.blacklist),
            install: install.map(|install| Sourced {
                value: InstallCommand::of(&install.value.argument),
                at: install.at.clone(),
            }),
            kernel_blacklisted: listed(&self.kernel_blacklist),
        }
    }
}

impl InstallCommand {
    fn of(command: &str) -> InstallCommand {
        let program = command.split_whitespace().next().unwrap_or_default();
        match program.rsplit('/').next() {
            Some("false") => InstallCommand::Fails,
            Some("true" | ":") => InstallCommand::Nothing,
            _ => InstallCommand::Other(command.to_owned()),
        }
    }
}

/// The lines with `\` at their end joined to the next one, and the number of the first of each. A
/// backslash before anything else is dropped (`freadline_wrapped()` in kmod's `shared/util.c`).
fn joined_lines(source: &Source) -> Vec<(u32, String)> {
    let mut joined: Vec<(u32, String)> = Vec::new();
    let mut open = false;
    for (line, text) in source.lines() {
        if !open {
            joined.push((line, String::new()));
        }
        let Some((_, whole)) = joined.last_mut() else { continue };
        let mut chars = text.chars();
        open = false;
        while let Some(c) = chars.next() {
            if c != '\\' {
                whole.push(c);
            } else if let Some(escaped) = chars.next() {
                whole.push(escaped);
            } else {
                open = true;
            }
        }
    }
    joined
}

/// The first word and what follows it.
fn word(text: &str) -> (&str, &str) {
    let blank = [' ', '\t'];
    let text = text.trim_start_matches(blank);
    let (first, rest) = text.split_once(blank).unwrap_or((text, ""));
    (first, rest.trim_start_matches(blank))
}

impl Facts {
    /// What modprobe is told about modules. In an image there is no kernel command line to consider.
    ///
    /// # Errors
    /// When a directory is there and cannot be listed. Unreadable files are kept in the result.
    pub fn modprobe_config(&self) -> Fact<Rc<ModprobeConfig>> {
        self.memo_fact("", || {
            let mut config = ModprobeConfig::default();
            let files = self.conf_files("modprobe.d");
            if let Some(why) = files.unread_dirs.first() {
                return Err(why.clone());
            }
            for source in files.texts() {
                config.read(source);
            }
            config.unread.extend(files.unread().cloned());
            if self.running() {
                match self.kernel_cmdline() {
                    Ok(words) => config.read_words(&words),
                    Err(why) => config.unread.push(why),
                }
            }
            Ok(config)
        })
    }

    /// The soft dependencies that the modules of a kernel ask for themselves: `modules.softdep`, which
    /// depmod writes in the form of modprobe.d.
    ///
    /// # Errors
    /// When the kernel has no modules directory or the file cannot be read.
    pub fn module_softdeps(&self, release: &str) -> Fact<Vec<Sourced<Directive>>> {
        let source = self.source(&format!("{}/modules.softdep", self.modules_dir(release)?))?;
        let mut config = ModprobeConfig::default();
        config.read(&source);
        Ok(config.softdeps)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;

    fn parse(text: &str) -> ModprobeConfig {
        let mut config = ModprobeConfig::default();
        config.read(&Source::new("/etc/modprobe.d/x.conf", text));
        config
    }

    #[test]
    fn what_hardening_guides_write() {
        let config = parse(
            "# CIS\ninstall squashfs /bin/false\nblacklist squashfs\ninstall overlay /bin/true\n\
             install br-netfilter /sbin/modprobe --ignore-install br_netfilter && sysctl -p\n",
        );
        let policy = config.policy("squashfs");
        assert_eq!(policy.install.map(|i| (i.value, i.at.line)), Some((InstallCommand::Fails, Some(2))));
        assert_eq!(policy.blacklisted.map(|at| at.line), Some(Some(3)));
        assert_eq!(config.policy("overlay").install.map(|i| i.value), Some(InstallCommand::Nothing));
        let other = config.policy("br_netfilter").install.map(|i| i.value);
        assert!(
            matches!(other, Some(InstallCommand::Other(command)) if command.starts_with("/sbin/modprobe"))
        );
        assert_eq!(config.policy("fuse"), ModulePolicy::default());
    }

    /// The first lines of Debian 13's, linux-image-6.12.117+deb13-cloud-amd64.
    #[test]
    fn modules_ask_for_others_themselves() {
        let text = "# Soft dependencies extracted from modules themselves.\nsoftdep nfsd pre: crypto-md5\n";
        let facts = empty_host()
            .image()
            .file("/usr/lib/modules/6.12.117/modules.builtin", "")
            .file("/usr/lib/modules/6.12.117/modules.softdep", text)
            .facts();
        let found = facts.module_softdeps("6.12.117").unwrap();
        let shown: Vec<_> =
            found.iter().map(|d| (d.value.name.as_str(), d.value.argument.as_str(), d.at.line)).collect();
        assert_eq!(shown, [("nfsd", "pre: crypto-md5", Some(2))]);
        assert!(facts.module_softdeps("6.1.0").unwrap_err().is_absent());
    }

    #[test]
    fn continuation_folding_and_bad_lines() {
        let config = parse(
            "blacklist \\\n  nf-tables\n# a comment that goes on \\\nblacklist fuse\nblacklist\nalias only\n\
             alias net-pf-10 off\ninclude /x\n\toptions\tip_tables  a=1 b=2\nsoftdep a pre: b post: c",
        );
        assert_eq!(
            config.blacklist.iter().map(|b| (b.value.as_str(), b.at.line)).collect::<Vec<_>>(),
            [("nf_tables", Some(1))]
        );
        assert_eq!(config.aliases.len(), 1);
        assert_eq!(
            config.aliases[0].value,
            Directive { name: "net_pf_10".to_owned(), argument: "off".to_owned() }
        );
        assert_eq!(config.options[0].value.argument, "a=1 b=2");
        assert_eq!(config.softdeps[0].value.argument, "pre: b post: c");
    }

    #[test]
    fn the_first_install_command_that_matches_is_run() {
        let config = parse("install nf_* /bin/false\ninstall nf_tables /bin/true\n");
        assert_eq!(config.policy("nf-tables").install.map(|i| i.value), Some(InstallCommand::Fails));
    }

    #[test]
    fn directories_names_and_masks() {
        let facts = empty_host()
            .file("/usr/lib/modprobe.d/b.conf", "blacklist vendor\n")
            .file("/usr/lib/modprobe.d/c.conf", "blacklist masked\n")
            .file("/usr/lib/modprobe.d/a.conf", "install x /bin/false\n")
            .file("/etc/modprobe.d/b.conf", "blacklist administrator\n")
            .file("/etc/modprobe.d/z.conf", "install x /bin/true\n")
            .file("/etc/modprobe.d/.hidden.conf", "blacklist hidden\n")
            .file("/etc/modprobe.d/notes.txt", "blacklist notes\n")
            .file("/etc/modprobe.d/c.conf", "")
            .path("/etc/modprobe.d/c.conf", |record| record.read_error = Some("device".to_owned()))
            .image()
            .facts();
        let config = facts.modprobe_config().unwrap();
        assert_eq!(config.blacklist.iter().map(|b| b.value.as_str()).collect::<Vec<_>>(), ["administrator"]);
        assert_eq!(config.policy("x").install.map(|i| i.at.path), Some("/usr/lib/modprobe.d/a.conf".into()));
        assert_eq!(config.unread, []);
    }

    #[test]
    fn the_kernel_command_line() {
        let facts = empty_host()
            .file(
                "/proc/cmdline",
                "module_blacklist=x modprobe.blacklist=fuse,br-netfilter module_blacklist=tun,overlay",
            )
            .facts();
        let config = facts.modprobe_config().unwrap();
        assert_eq!(
            config.policy("tun").kernel_blacklisted.map(|at| at.text),
            Some("module_blacklist=tun,overlay".to_owned())
        );
        assert_eq!(config.policy("x").kernel_blacklisted, None, "the last one counts");
        assert!(config.policy("fuse").blacklisted.is_some());
        assert_eq!(config.policy("br_netfilter").blacklisted, None, "not folded on the command line");
    }

    #[test]
    fn a_denied_file_is_told() {
        let facts = empty_host()
            .file("/proc/cmdline", "")
            .file("/etc/modprobe.d/a.conf", "")
            .file("/etc/modprobe.d/b.conf", "blacklist fuse\n")
            .path("/etc/modprobe.d/a.conf", |record| record.read_error = Some("denied".to_owned()))
            .facts();
        let config = facts.modprobe_config().unwrap();
        assert_eq!(config.unread.len(), 1);
        assert!(config.policy("fuse").blacklisted.is_some());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)(install |blacklist |alias |[a-z*\\[\\]-]{1,4}|\\\\|\\n| |é){0,40}") {
            let _ = parse(&text).policy("a-b");
        }
    }
}
