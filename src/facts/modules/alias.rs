//! Other names of modules: `modules.alias`, `modules.builtin.modinfo`, `alias` in modprobe.d.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::{Evidence, Facts};
use super::names::{Wanted, fold, is_glob, matches_glob};
use crate::host::{DATABASE_LIMIT_BYTES, Fact, OrAbsent};

/// The aliases of one kernel that people use: those of devices that are plugged in (`pci:v00001AF4...`)
/// make up most of a file of a megabyte, so they are kept only where one of them is asked for.
#[derive(Default)]
pub(super) struct AliasTable {
    /// `ALIAS MODULE` lines, ordered as in the files.
    text: String,
    lines: Vec<AliasLine>,
}

struct AliasLine {
    /// Where it ends in the text, and where its module begins.
    end: usize,
    module: usize,
    /// Whether it is a pattern.
    glob: bool,
    /// Its line in `modules.alias`; `None` for an entry of `modules.builtin.modinfo`.
    line: Option<u32>,
}

/// What an alias stands for.
pub(super) struct Target {
    /// The module, folded.
    pub(super) module: String,
    /// Whether it is an alias of a built-in module.
    pub(super) built_in: bool,
    /// Where it stands.
    pub(super) at: Evidence,
}

/// What each alias stands for.
pub(super) type Targets<'a> = BTreeMap<&'a str, Vec<Target>>;

impl AliasTable {
    fn add(&mut self, alias: &str, module: &str, line: Option<u32>) {
        self.text.push_str(&fold(alias));
        self.text.push(' ');
        let start = self.text.len();
        self.text.push_str(&fold(module));
        self.lines.push(AliasLine { end: self.text.len(), module: start, glob: is_glob(alias), line });
    }

    /// A line of `modules.alias`. Nine of ten are those of devices, so they are sorted out first.
    fn read_line(&mut self, line: u32, bytes: &[u8], devices: bool) {
        let Some(rest) = bytes.strip_prefix(b"alias ") else { return };
        if !devices && is_device(rest) {
            return;
        }
        let Ok(text) = std::str::from_utf8(rest) else { return };
        let mut words = text.split_ascii_whitespace();
        if let (Some(alias), Some(module)) = (words.next(), words.next()) {
            self.add(alias, module, Some(line));
        }
    }

    /// `modules.builtin.modinfo`: entries `MODULE.KEY=VALUE`, each ends in NUL
    /// (`Documentation/kbuild/kbuild.rst`, since Linux 5.2).
    fn read_modinfo(&mut self, bytes: &[u8], devices: bool) {
        for entry in bytes.split(|&b| b == 0) {
            let Some(equals) = entry.iter().position(|&b| b == b'=') else { continue };
            let (name, alias) = entry.split_at(equals);
            let (Some(module), Some(alias)) = (name.strip_suffix(b".alias"), alias.get(1..)) else {
                continue;
            };
            if (devices || !is_device(alias))
                && let (Ok(module), Ok(alias)) = (std::str::from_utf8(module), std::str::from_utf8(alias))
            {
                self.add(alias, module, None);
            }
        }
    }

    fn find<'a>(&self, dir: &str, names: &[&'a str], found: &mut Targets<'a>) {
        let folded: BTreeMap<String, &'a str> = names.iter().map(|&name| (fold(name), name)).collect();
        let wanted = Wanted::new(folded.keys().map(String::as_str));
        let mut start = 0;
        for line in &self.lines {
            let alias = self.text.get(start..line.module.saturating_sub(1)).unwrap_or_default();
            let module = self.text.get(line.module..line.end).unwrap_or_default();
            start = line.end;
            let mut hit = |name: &'a str| {
                let targets = found.entry(name).or_default();
                // Of modules and built-in modules, those come first that can be loaded.
                if line.line.is_some() || targets.iter().all(|target| target.built_in) {
                    let at = line.evidence(dir, alias, module);
                    targets.push(Target { module: module.to_owned(), built_in: line.line.is_none(), at });
                }
            };
            if line.glob {
                folded.iter().filter(|(name, _)| matches_glob(alias, name)).for_each(|(_, name)| hit(name));
            } else if let Some(name) = wanted.get(alias.as_bytes()).and_then(|name| folded.get(name)) {
                hit(name);
            }
        }
    }
}

impl AliasLine {
    fn evidence(&self, dir: &str, alias: &str, module: &str) -> Evidence {
        match self.line {
            Some(number) => {
                Evidence::line(&format!("{dir}/modules.alias"), number, &format!("alias {alias} {module}"))
            }
            None => {
                Evidence::path(&format!("{dir}/modules.builtin.modinfo"), format!("{module}.alias={alias}"))
            }
        }
    }
}

impl Facts {
    /// What each of `names` is an alias of in modprobe.d.
    pub(super) fn configured_aliases<'a>(&self, names: &[&'a str]) -> Fact<Targets<'a>> {
        let mut found = Targets::new();
        for alias in &self.modprobe_config()?.aliases {
            for &name in names.iter().filter(|name| matches_glob(&alias.value.name, &fold(name))) {
                let module = alias.value.argument.clone();
                let target = Target { module, built_in: false, at: alias.at.clone() };
                found.entry(name).or_default().push(target);
            }
        }
        Ok(found)
    }

    /// What each of `names` is an alias of according to the modules of a kernel.
    pub(super) fn aliases<'a>(&self, dir: &str, names: &[&'a str]) -> Fact<Targets<'a>> {
        let mut found = Targets::new();
        self.alias_table(dir, names)?.find(dir, names, &mut found);
        Ok(found)
    }

    fn alias_table(&self, dir: &str, names: &[&str]) -> Fact<Rc<AliasTable>> {
        let devices = names.iter().any(|name| is_device(name.as_bytes()));
        let key = if devices { format!("{dir} with devices") } else { dir.to_owned() };
        self.memo_fact(&key, || {
            let mut table = AliasTable::default();
            let mut number = 0;
            self.scan(&format!("{dir}/modules.alias"), &mut |line| {
                number += 1;
                table.read_line(number, line, devices);
                true
            })
            .or_absent()?;
            let modinfo = self.bytes(&format!("{dir}/modules.builtin.modinfo"), DATABASE_LIMIT_BYTES);
            table.read_modinfo(&modinfo.or_absent()?.unwrap_or_default(), devices);
            Ok(table)
        })
    }
}

/// Whether text begins with the alias of a device: it has a bus and a colon. `devname:` is what
/// systemd-tmpfiles and the kernel ask for when a device node is opened.
fn is_device(text: &[u8]) -> bool {
    let end = text.iter().position(|&b| b == b':' || b == b' ');
    end.is_some_and(|end| text.get(end) == Some(&b':')) && !text.starts_with(b"devname:")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tables_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in "(alias |[a* .=]|\\x00){0,20}") {
            let mut table = AliasTable::default();
            table.read_line(1, &bytes, false);
            table.read_line(2, text.as_bytes(), true);
            table.read_modinfo(&bytes, false);
            table.read_modinfo(text.as_bytes(), true);
            table.find("/d", &["a", "a-a"], &mut BTreeMap::new());
        }
    }
}
