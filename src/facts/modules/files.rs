//! The modules of one kernel by their own names: `modules.dep`, `modules.builtin`, and the files
//! themselves where depmod has not been run.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::super::{Evidence, Facts};
use super::ModuleFile;
use super::names::{Wanted, fold};
use crate::host::{Fact, OrAbsent, Unread};

/// What libkmod takes for a module (`kmod_exts` in `shared/util.c`).
const EXTENSIONS: [&str; 4] = [".ko", ".ko.gz", ".ko.xz", ".ko.zst"];
/// How deep and how far a modules directory is walked: several times what a distribution kernel has.
const WALK_DEPTH: usize = 16;
const WALK_ENTRIES: usize = 65_536;

/// The files and the built-in modules of one kernel, one a line, so that line numbers are those of
/// the file they are from: some 600 KB for a distribution kernel.
pub(super) struct KernelModules {
    /// `PATH: PATH PATH`, or `PATH` alone: a module and what it needs.
    files: String,
    /// Whether `files` is from `modules.dep` and not from a walk.
    listed: bool,
    built_in: String,
}

impl KernelModules {
    /// Which of `names` (folded) are built in.
    pub(super) fn built_in(&self, dir: &str, names: &BTreeSet<String>) -> Vec<(String, Evidence)> {
        let path = format!("{dir}/modules.builtin");
        find(&self.built_in, names)
            .map(|(line, text, name)| (name, Evidence::line(&path, line, text)))
            .collect()
    }

    /// Which of `names` (folded) are files.
    pub(super) fn files(&self, dir: &str, names: &BTreeSet<String>) -> Vec<ModuleFile> {
        let index = format!("{dir}/modules.dep");
        let files = find(&self.files, names).map(|(line, text, name)| {
            let (text, needs) = text.split_once(':').unwrap_or((text, ""));
            let needs = needs.split_ascii_whitespace().filter_map(module_name).map(fold).collect();
            // depmod writes absolute paths for files outside of the modules directory.
            let path = if text.starts_with('/') { text.to_owned() } else { format!("{dir}/{text}") };
            let at = if self.listed { Evidence::line(&index, line, text) } else { Evidence::path(&path, "") };
            ModuleFile { name, path, needs, at }
        });
        files.collect()
    }
}

/// The lines of `paths` whose file is one of the modules `names`.
fn find<'a>(paths: &'a str, names: &'a BTreeSet<String>) -> impl Iterator<Item = (u32, &'a str, String)> {
    let wanted = Wanted::new(names.iter().map(String::as_str));
    (1..).zip(paths.lines()).filter_map(move |(line, text)| {
        let path = text.split_once(':').map_or(text, |(path, _)| path);
        let name = wanted.get(module_name(path)?.as_bytes())?;
        Some((line, text, name.to_owned()))
    })
}

/// The name of the module in the file at `path`, not folded.
fn module_name(path: &str) -> Option<&str> {
    let start = path.bytes().rposition(|b| b == b'/').map_or(0, |slash| slash + 1);
    let file = path.get(start..)?;
    // No module has a dot in its name.
    let (name, extension) = file.split_at_checked(file.bytes().position(|b| b == b'.')?)?;
    (EXTENSIONS.contains(&extension) && !name.is_empty()).then_some(name)
}

/// Adds a line of `modules.dep` (`modules.dep(5)`), or an empty line.
fn add_dep_line(files: &mut String, line: &[u8]) {
    files.push_str(std::str::from_utf8(line).unwrap_or_default());
    files.push('\n');
}

impl Facts {
    pub(super) fn kernel_modules(&self, dir: &str) -> Fact<Rc<KernelModules>> {
        self.memo_fact(dir, || {
            let mut files = String::new();
            let dep = format!("{dir}/modules.dep");
            let listed = self.scan(&dep, &mut |line| {
                add_dep_line(&mut files, line);
                true
            });
            let listed = listed.or_absent()?.is_some();
            if !listed {
                self.walk_modules(dir, "", 0, &mut 0, &mut files)?;
            }
            let mut built_in = String::new();
            self.scan(&format!("{dir}/modules.builtin"), &mut |line| {
                built_in.push_str(&String::from_utf8_lossy(line));
                built_in.push('\n');
                true
            })
            .or_absent()?;
            Ok(KernelModules { files, listed, built_in })
        })
    }

    /// Adds the paths, relative to `dir`, of all modules below it. Links are not followed: `build`
    /// and `source` lead to other trees.
    fn walk_modules(
        &self,
        dir: &str,
        below: &str,
        depth: usize,
        seen: &mut usize,
        files: &mut String,
    ) -> Fact<()> {
        let here = format!("{dir}/{below}");
        let here = here.trim_end_matches('/');
        for entry in self.list(here)?.iter() {
            *seen += 1;
            if depth > WALK_DEPTH || *seen > WALK_ENTRIES {
                return Err(Unread::TooLarge { path: dir.to_owned(), limit_bytes: WALK_ENTRIES as u64 });
            }
            if entry.is_dir {
                self.walk_modules(dir, &format!("{below}{}/", entry.name), depth + 1, seen, files)?;
            } else if module_name(&entry.name).is_some() && !entry.name.contains('\n') {
                files.push_str(&format!("{below}{}\n", entry.name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_files() {
        for (path, name) in [
            ("kernel/net/bridge/br_netfilter.ko", Some("br_netfilter")),
            ("kernel/fs/overlayfs/overlay.ko.xz", Some("overlay")),
            ("a/i2c-dev.ko.zst", Some("i2c-dev")),
            ("a.ko.gz", Some("a")),
            ("kernel/README", None),
            ("a.ko.bak", None),
            (".ko", None),
            ("", None),
        ] {
            assert_eq!(module_name(path), name, "{path}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(lines in proptest::collection::vec("([a-z/.:é-]|\\.ko){0,12}", 0..8)) {
            let mut files = String::new();
            for line in &lines {
                add_dep_line(&mut files, line.as_bytes());
            }
            prop_assert_eq!(files.lines().count(), lines.len());
            let modules = KernelModules { files: files.clone(), listed: true, built_in: files };
            let names = BTreeSet::from(["a".to_owned()]);
            let _ = (modules.files("/d", &names), modules.built_in("/d", &names));
        }
    }
}
