//! A unit as systemd puts it together from its fragment and its drop-ins (`systemd.unit(5)`; systemd,
//! `src/basic/unit-file.c` and `src/shared/dropin.c`), of the system manager. Units of a user
//! manager are in `user_units`; the syntax is in `unit_syntax`.
//!
//! Aliases are followed from the name that was asked for. Links from other names to this unit, which
//! could bring drop-ins of their own, are not looked for: it would take a `readlink(2)` on every
//! file in every unit directory.

use std::rc::Rc;

use super::conf_files::{ConfFiles, Content};
use super::unit_name::{drop_in_names, instantiate, suffix, template};
use super::unit_syntax::{Assignment, assignments};
use super::{Evidence, Facts, Sourced};
use crate::host::{Fact, SpecialFile, Unread};

/// How many links from name to name are followed (`FOLLOW_MAX`).
const ALIAS_LIMIT: usize = 8;
/// The longest name of a unit, in bytes (`UNIT_NAME_MAX`).
const NAME_LIMIT_BYTES: usize = 255;

/// A file that is not read because one of the same name comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadowed {
    /// The file.
    pub path: String,
    /// The file that beats it, which can be a mask.
    pub by: String,
}

/// A unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// The name it was asked for by.
    pub name: String,
    /// The main file; `None` where there is none, which is usual for slices.
    pub fragment: Option<String>,
    /// Set where the unit is masked: a link to `/dev/null`, or an empty file.
    pub masked: Option<Evidence>,
    /// The drop-ins that are read, in that order.
    pub drop_ins: Vec<String>,
    /// Drop-ins that only take a name away from those below.
    pub masks: Vec<Evidence>,
    /// Drop-ins and fragments that are not read.
    pub shadowed: Vec<Shadowed>,
    /// All assignments, in order, over all files.
    pub assignments: Vec<Assignment>,
}

impl Unit {
    /// The values that are assigned to `key` in `section`, in order. What they come to (the last
    /// one, a list with resets, ...) is a matter of the key.
    pub fn values<'a>(
        &'a self,
        section: &'a str,
        key: &'a str,
    ) -> impl DoubleEndedIterator<Item = &'a Sourced<String>> + 'a {
        self.assignments.iter().filter(move |a| a.section == section && a.key == key).map(|a| &a.value)
    }
}

/// Where a manager looks for units, and how it reads a file there.
pub(super) struct SearchPath<'a> {
    pub(super) dirs: Vec<String>,
    pub(super) read: &'a dyn Fn(&str) -> Fact<Rc<super::Source>>,
    pub(super) collect: &'a dyn Fn(&[String]) -> ConfFiles,
}

/// What a name leads to in the search path.
enum Found {
    Absent,
    File(String),
    Masked(String),
    Alias(String),
}

impl Facts {
    /// A unit of the system manager.
    ///
    /// # Errors
    /// Where a directory or file that could decide what the unit says cannot be read.
    pub fn unit(&self, name: &str) -> Fact<Rc<Unit>> {
        self.memo_fact(name, || {
            self.load_unit(
                name,
                &SearchPath {
                    dirs: self.system_unit_dirs(),
                    read: &|path| self.source(path),
                    collect: &|dirs| self.conf_files_in(dirs),
                },
            )
        })
    }

    /// The search path of the system manager, highest first (`systemd.unit(5)`, "System Unit Search
    /// Path"). `/lib` comes before `/usr/lib`, as `systemd-analyze unit-paths` shows on a systemd
    /// that was built for a split `/usr`.
    pub fn system_unit_dirs(&self) -> Vec<String> {
        let split = if self.split_usr() { Some("/lib/systemd/system") } else { None };
        [
            "/etc/systemd/system.control",
            "/run/systemd/system.control",
            "/run/systemd/transient",
            "/run/systemd/generator.early",
            "/etc/systemd/system",
            "/etc/systemd/system.attached",
            "/run/systemd/system",
            "/run/systemd/system.attached",
            "/run/systemd/generator",
            "/usr/local/lib/systemd/system",
        ]
        .into_iter()
        .chain(split)
        .chain(["/usr/lib/systemd/system", "/run/systemd/generator.late"])
        .filter(|dir| self.is_there_at_boot(dir))
        .map(str::to_owned)
        .collect()
    }

    pub(super) fn load_unit(&self, name: &str, path: &SearchPath<'_>) -> Fact<Unit> {
        let mut unit = Unit { name: name.to_owned(), ..Unit::default() };
        // The name of the fragment comes before the names that lead to it.
        let mut names = vec![name.to_owned()];
        let mut at = name.to_owned();
        for _ in 0..ALIAS_LIMIT {
            match self.find_fragment(&at, &path.dirs, &mut unit.shadowed)? {
                Found::Absent => break,
                Found::Masked(file) => {
                    unit.masked = Some(Evidence::path(&file, "is a link to /dev/null"));
                    break;
                }
                Found::File(file) => {
                    unit.fragment = Some(file);
                    break;
                }
                Found::Alias(to) => {
                    let alias = instantiate(&to, name).unwrap_or_else(|| to.clone());
                    if !names.contains(&alias) {
                        names.insert(0, alias);
                    }
                    at = to;
                }
            }
        }
        if let Some(fragment) = &unit.fragment {
            match (path.read)(fragment) {
                Ok(source) if source.text().is_empty() => {
                    unit.masked = Some(Evidence::path(fragment, "is empty"));
                }
                Ok(source) => unit.assignments = assignments(&source),
                Err(Unread::Special { found: SpecialFile::Device, .. }) => {
                    unit.masked = Some(Evidence::path(fragment, "is a link to /dev/null"));
                }
                // A dangling link: systemd finds no file, and goes on with the drop-ins.
                Err(Unread::Absent { .. }) => unit.fragment = None,
                Err(why) => return Err(why),
            }
        }
        if unit.masked.is_none() {
            let drop_ins = (path.collect)(&self.drop_in_dirs(&names, &path.dirs)?);
            drop_ins.complete()?;
            unit.take_drop_ins(drop_ins);
        }
        Ok(unit)
    }

    /// The first file of this name or, for an instance, of its template.
    fn find_fragment(&self, name: &str, dirs: &[String], shadowed: &mut Vec<Shadowed>) -> Fact<Found> {
        for candidate in [Some(name.to_owned()), template(name)].into_iter().flatten() {
            let mut found = Found::Absent;
            let mut winner: Option<String> = None;
            for dir in dirs {
                if !self.holds(dir, &candidate)? {
                    continue;
                }
                let path = format!("{dir}/{candidate}");
                if let Some(by) = &winner {
                    shadowed.push(Shadowed { path, by: by.clone() });
                    continue;
                }
                let target = self.link_target(&path)?.map(|target| resolve(dir, &target));
                found = match target {
                    None => Found::File(path.clone()),
                    Some(target) if target == "/dev/null" => Found::Masked(path.clone()),
                    Some(target) => match self.unit_name_of(&target, dirs) {
                        // A link to a file of the same name below changes nothing, and one to a
                        // unit of another type is refused.
                        Some(to) if to == candidate || suffix(&to) != suffix(&candidate) => continue,
                        Some(to) => Found::Alias(to),
                        None => Found::File(path.clone()),
                    },
                };
                winner = Some(path);
            }
            if winner.is_some() {
                return Ok(found);
            }
        }
        Ok(Found::Absent)
    }

    /// The file name of a path that lies in one of `dirs`: a link to it is an alias.
    fn unit_name_of(&self, path: &str, dirs: &[String]) -> Option<String> {
        let (dir, name) = path.rsplit_once('/')?;
        let by_other_name = || dir.starts_with("/lib/") && !self.split_usr();
        let known = dirs.iter().any(|d| d == dir || by_other_name() && d.strip_prefix("/usr") == Some(dir));
        if known && name.len() <= NAME_LIMIT_BYTES { Some(name.to_owned()) } else { None }
    }

    /// The drop-in directories that exist, highest first.
    fn drop_in_dirs(&self, names: &[String], dirs: &[String]) -> Fact<Vec<String>> {
        let mut found: Vec<String> = Vec::new();
        let mut add = |dir: &str, name: &str| -> Fact<()> {
            let name = format!("{name}.d");
            if self.holds(dir, &name)? {
                let path = format!("{dir}/{name}");
                if !found.contains(&path) {
                    found.push(path);
                }
            }
            Ok(())
        };
        for name in names {
            let candidates = drop_in_names(name);
            for dir in dirs {
                for candidate in &candidates {
                    add(dir, candidate)?;
                }
            }
        }
        // `service.d` and the like are the most general, so they come after all others.
        if let Some(kind) = names.first().and_then(|name| suffix(name)) {
            for dir in dirs {
                add(dir, kind)?;
            }
        }
        Ok(found)
    }

    /// Whether a directory holds a name. Listing a directory once costs less than asking it for each
    /// of the names that a unit can have there, and it is what systemd does.
    pub(super) fn holds(&self, dir: &str, name: &str) -> Fact<bool> {
        Ok(self.names_in(dir)?.binary_search_by(|entry| entry.name.as_str().cmp(name)).is_ok())
    }
}

impl Unit {
    fn take_drop_ins(&mut self, drop_ins: ConfFiles) {
        for file in drop_ins.files {
            let shadowed = file.shadows.into_iter().map(|path| Shadowed { path, by: file.path.clone() });
            self.shadowed.extend(shadowed);
            match file.content {
                Content::Text(source) => {
                    self.assignments.extend(assignments(&source));
                    self.drop_ins.push(file.path);
                }
                Content::Mask(at) => self.masks.push(at),
                Content::Unread(_) => {}
            }
        }
    }
}

/// Where a link in `dir` leads, by the text of it.
pub(super) fn resolve(dir: &str, target: &str) -> String {
    let joined = if target.starts_with('/') { target.to_owned() } else { format!("{dir}/{target}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
#[path = "unit_tests.rs"]
mod tests;
