//! Whether a kernel has a module, under whatever name it is asked for: loaded now, built in, or in a
//! file that modprobe would find. What modprobe is told about it is in `modprobe`.

mod alias;
mod files;
mod loaded;
mod names;

pub use loaded::{LoadedModules, Presence};
pub(super) use names::{bracket, fold, matches_glob};

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{Evidence, Facts};
use crate::host::{Fact, Unread};
use alias::Targets;

/// A module that is a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleFile {
    /// The name of the module, as the kernel has it (`_`, not `-`).
    pub name: String,
    /// The file.
    pub path: String,
    /// The modules that are loaded with it, because it uses their symbols; not known where depmod has
    /// not been run.
    pub needs: Vec<String>,
    /// The line of `modules.dep`. Where depmod has not been run, so that there is none, the file
    /// itself: modprobe will not find it before depmod is run.
    pub at: Evidence,
}

/// What a name comes to on one kernel. Whether what a module needs is there is not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Part of the kernel: there is nothing to load.
    BuiltIn {
        /// The module.
        module: String,
        /// The line that says so.
        at: Evidence,
    },
    /// In one file, or in several where an alias stands for several modules.
    Loadable {
        /// The files, all of which exist.
        files: Vec<ModuleFile>,
        /// The alias that led to them, if the name is not the module's own.
        alias: Option<Evidence>,
    },
    /// `modules.dep` names a file that does not exist.
    FileMissing {
        /// The first file that is missing.
        file: ModuleFile,
        /// The alias that led to it, if the name is not the module's own.
        alias: Option<Evidence>,
    },
    /// An alias leads to what is no module of this kernel, as `alias NAME off` does on purpose.
    Dangling {
        /// The alias.
        alias: Evidence,
    },
    /// Not a module of this kernel, nor an alias of one.
    Unknown,
}

impl Resolution {
    /// The names of the modules that it comes to.
    pub fn modules(&self) -> Vec<&str> {
        match self {
            Resolution::BuiltIn { module, .. } => vec![module],
            Resolution::Loadable { files, .. } => files.iter().map(|file| file.name.as_str()).collect(),
            Resolution::FileMissing { file, .. } => vec![&file.name],
            Resolution::Dangling { .. } | Resolution::Unknown => Vec::new(),
        }
    }
}

impl Facts {
    /// What each of `names` comes to on an installed kernel: first an alias of modprobe.d, then a
    /// module of that name, then an alias of a module. libkmod has the same order
    /// (`kmod_module_new_from_lookup()`), but looks at aliases before the names of built-in modules.
    ///
    /// The files of a kernel are read once, however often this is called, and its aliases only when
    /// a name is not that of a module.
    ///
    /// # Errors
    /// When the kernel has no modules directory (absent), or one of its files cannot be read.
    pub fn resolve_modules(&self, release: &str, names: &[&str]) -> Fact<Rc<BTreeMap<String, Resolution>>> {
        let key = format!("{release} {}", names.join(" "));
        self.memo_fact(&key, || {
            let dir = self.modules_dir(release)?;
            let mut resolved = BTreeMap::new();
            self.follow_aliases(&dir, &self.configured_aliases(names)?, &mut resolved)?;
            let own = self.own_names(&dir, &names.iter().map(|name| fold(name)).collect())?;
            for &name in names {
                if let Some(found) = own.get(&fold(name)) {
                    resolved.entry(name.to_owned()).or_insert_with(|| found.clone());
                }
            }
            let left: Vec<&str> =
                names.iter().filter(|&&name| !resolved.contains_key(name)).copied().collect();
            if !left.is_empty() {
                self.follow_aliases(&dir, &self.aliases(&dir, &left)?, &mut resolved)?;
            }
            for name in left {
                resolved.entry(name.to_owned()).or_insert(Resolution::Unknown);
            }
            Ok(resolved)
        })
    }

    fn follow_aliases(
        &self,
        dir: &str,
        found: &Targets<'_>,
        resolved: &mut BTreeMap<String, Resolution>,
    ) -> Fact<()> {
        let modules = found.values().flatten().map(|target| target.module.clone()).collect();
        let own = self.own_names(dir, &modules)?;
        for (&name, targets) in found {
            let Some(alias) = targets.first().map(|target| target.at.clone()) else { continue };
            let mut files = Vec::new();
            let mut missing = None;
            let mut built_in = None;
            for target in targets {
                match own.get(&target.module) {
                    Some(Resolution::Loadable { files: found, .. }) => files.extend(found.iter().cloned()),
                    Some(Resolution::FileMissing { file, .. }) => missing = missing.or(Some(file.clone())),
                    Some(Resolution::BuiltIn { .. }) => built_in = built_in.or(Some(target)),
                    // modules.builtin lists what could have been a module; what can only be built in
                    // has aliases all the same.
                    _ if target.built_in => built_in = built_in.or(Some(target)),
                    _ => {}
                }
            }
            let resolution = match (missing, built_in) {
                (Some(file), _) => Resolution::FileMissing { file, alias: Some(alias) },
                (None, _) if !files.is_empty() => Resolution::Loadable { files, alias: Some(alias) },
                (None, Some(target)) => {
                    Resolution::BuiltIn { module: target.module.clone(), at: target.at.clone() }
                }
                (None, None) => Resolution::Dangling { alias },
            };
            resolved.insert(name.to_owned(), resolution);
        }
        Ok(())
    }

    /// Which of `names` (folded) are modules by their own name.
    fn own_names(&self, dir: &str, names: &BTreeSet<String>) -> Fact<BTreeMap<String, Resolution>> {
        let mut own = BTreeMap::new();
        if names.is_empty() {
            return Ok(own);
        }
        let kernel = self.kernel_modules(dir)?;
        for (name, at) in kernel.built_in(dir, names) {
            own.insert(name.clone(), Resolution::BuiltIn { module: name, at });
        }
        for file in kernel.files(dir, names) {
            let resolution = match self.stat(&file.path) {
                Ok(_) => Resolution::Loadable { files: vec![file.clone()], alias: None },
                Err(Unread::Absent { .. }) => Resolution::FileMissing { file: file.clone(), alias: None },
                Err(why) => return Err(why),
            };
            // A kernel that has a module built in never needs the file of that name.
            own.entry(file.name).or_insert(resolution);
        }
        Ok(own)
    }
}

#[cfg(test)]
mod tests;
