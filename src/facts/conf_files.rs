//! Which files of a `*.d` directory family count, and in what order: the rule that sysctl.d,
//! modules-load.d, modprobe.d, tmpfiles.d, environment.d, logind.conf.d and unit drop-ins share
//! (`sysctl.d(5)`, "Configuration Directories and Precedence"; systemd, `src/basic/conf-files.c`).
//! What stands in the files is not looked at here.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::unit_syntax::{Assignment, assignments};
use super::{Evidence, Facts, Source};
use crate::host::{Fact, OrAbsent, SpecialFile, Unread};

/// Whose rules decide. They differ in one thing: a directory that is called `x.conf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// Takes the directory for a file, fails to read it, and so has nothing of that name.
    Systemd,
    /// Passes the directory over, so a lower file of that name counts (kmod,
    /// `libkmod/libkmod-config.c`, `conf_files_filter_out`).
    Kmod,
}

/// What the winner of a name contributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Its text.
    Text(Rc<Source>),
    /// Nothing, on purpose or by accident, and the files of that name below it count no more. The
    /// evidence says what it is: an empty file, a link to `/dev/null`, a dangling link, a directory.
    Mask(Evidence),
    /// Nobody knows: it could not be read here, while systemd (root) can.
    Unread(Unread),
}

/// The file that won its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfFile {
    /// The file name, by which it sorts and shadows.
    pub name: String,
    /// The path.
    pub path: String,
    /// What it contributes.
    pub content: Content,
    /// The files of the same name in later directories, which are not read.
    pub shadows: Vec<String>,
}

/// The files of a directory family, in the order in which they are applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfFiles {
    /// One per name, in byte order of the names over all directories.
    pub files: Vec<ConfFile>,
    /// Directories that exist and could not be listed: with one of these nothing is certain.
    pub unread_dirs: Vec<Unread>,
}

impl ConfFiles {
    /// The texts, in order.
    pub fn texts(&self) -> impl Iterator<Item = &Rc<Source>> {
        self.files.iter().filter_map(|file| match &file.content {
            Content::Text(source) => Some(source),
            Content::Mask(_) | Content::Unread(_) => None,
        })
    }

    /// The masks, in order.
    pub fn masks(&self) -> impl Iterator<Item = &Evidence> {
        self.files.iter().filter_map(|file| match &file.content {
            Content::Mask(at) => Some(at),
            Content::Text(_) | Content::Unread(_) => None,
        })
    }

    /// All that could not be read.
    pub fn unread(&self) -> impl Iterator<Item = &Unread> {
        self.unread_dirs.iter().chain(self.files.iter().filter_map(|file| match &file.content {
            Content::Unread(why) => Some(why),
            Content::Text(_) | Content::Mask(_) => None,
        }))
    }

    /// The first thing that could not be read, as an error.
    ///
    /// # Errors
    /// See above.
    pub fn complete(&self) -> Fact<()> {
        self.unread().next().map_or(Ok(()), |why| Err(why.clone()))
    }
}

/// Whether `/lib` is a directory of its own; see [`Facts::split_usr`].
struct SplitUsr(bool);

impl Facts {
    /// Whether `/lib` is a directory of its own, as before the merged `/usr`
    /// (`file-hierarchy(7)`, "Compatibility Symlinks"). Where it is a link to `/usr/lib`, every file
    /// in it is already known by its other name.
    pub(super) fn split_usr(&self) -> bool {
        let known = self.memo("", || {
            SplitUsr(match self.link_target("/lib") {
                Ok(Some(target)) => !matches!(target.trim_matches('/'), "usr/lib" | "./usr/lib"),
                Ok(None) => true,
                // Without `/lib` there is nothing to read in it; in a capture that does not name it,
                // nobody read anything in it either.
                Err(_) => false,
            })
        });
        known.0
    }

    /// The vendor directories called `sub`, such as `sysctl.d` or `systemd/logind.conf.d`.
    pub fn vendor_dirs(&self, sub: &str) -> Vec<String> {
        let split = if self.split_usr() { Some("/lib") } else { None };
        ["/usr/local/lib", "/usr/lib"].into_iter().chain(split).map(|dir| format!("{dir}/{sub}")).collect()
    }

    /// All directories called `sub`, highest first: the administrator's, the volatile, the vendor's.
    pub fn conf_dirs(&self, sub: &str) -> Vec<String> {
        let mut dirs = vec![format!("/etc/{sub}"), format!("/run/{sub}")];
        dirs.extend(self.vendor_dirs(sub));
        dirs.retain(|dir| self.is_there_at_boot(dir));
        dirs
    }

    /// Whether what lies in this directory is seen when the host boots: a file system in memory is
    /// mounted on `/run` first, so what an image holds there is hidden.
    pub(super) fn is_there_at_boot(&self, dir: &str) -> bool {
        self.running() || !dir.starts_with("/run/")
    }

    /// The files in the directories called `sub`. Knows that `modprobe.d` is read by kmod.
    pub fn conf_files(&self, sub: &str) -> Rc<ConfFiles> {
        let reader = if sub == "modprobe.d" { Reader::Kmod } else { Reader::Systemd };
        self.memo(sub, || self.collect(&self.conf_dirs(sub), reader, &|path| self.source(path)))
    }

    /// The files in `dirs`, the highest of which comes first, by systemd's rules.
    pub fn conf_files_in(&self, dirs: &[String]) -> ConfFiles {
        self.collect(dirs, Reader::Systemd, &|path| self.source(path))
    }

    /// The assignments of a configuration file of systemd: of the files called `sub`, such as
    /// `systemd/system.conf`, the first that exists, then the drop-ins.
    ///
    /// # Errors
    /// Where a file or directory that could decide cannot be read.
    pub(super) fn systemd_conf(&self, sub: &str) -> Fact<Vec<Assignment>> {
        let mut all = Vec::new();
        for path in self.conf_dirs(sub) {
            if let Some(source) = self.source(&path).or_absent()? {
                all.extend(assignments(&source));
                break;
            }
        }
        let drop_ins = self.conf_files(&format!("{sub}.d"));
        drop_ins.complete()?;
        all.extend(drop_ins.texts().flat_map(|source| assignments(source)));
        Ok(all)
    }

    /// As [`Facts::conf_files_in`], for directories some of which belong to a user: what that user
    /// could not read is not read for them.
    pub fn user_conf_files_in(&self, dirs: &[String], uid: u32, gids: &[u32]) -> ConfFiles {
        self.collect(dirs, Reader::Systemd, &|path| self.user_source(path, uid, gids))
    }

    fn collect(&self, dirs: &[String], reader: Reader, read: &dyn Fn(&str) -> Fact<Rc<Source>>) -> ConfFiles {
        let mut unread_dirs = Vec::new();
        let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for dir in dirs {
            match self.names_in(dir) {
                Ok(entries) => {
                    for entry in entries.iter() {
                        let hidden = entry.name.starts_with('.');
                        let passed_over = reader == Reader::Kmod && entry.is_dir;
                        if entry.name.ends_with(".conf") && !hidden && !passed_over {
                            by_name
                                .entry(entry.name.clone())
                                .or_default()
                                .push(format!("{dir}/{}", entry.name));
                        }
                    }
                }
                Err(why) => unread_dirs.push(why),
            }
        }
        let winner = |(name, paths): (String, Vec<String>)| {
            let mut paths = paths.into_iter();
            let path = paths.next()?;
            let content = content(&path, read(&path));
            Some(ConfFile { name, path, content, shadows: paths.collect() })
        };
        ConfFiles { files: by_name.into_iter().filter_map(winner).collect(), unread_dirs }
    }

    /// The names in a directory that need not exist. What is no directory holds no names, for
    /// systemd, too.
    pub(super) fn names_in(&self, dir: &str) -> Fact<Rc<[crate::host::Entry]>> {
        match self.list(dir).or_absent() {
            Ok(entries) => Ok(entries.unwrap_or_else(|| Rc::from([]))),
            Err(Unread::Special { .. }) => Ok(Rc::from([])),
            Err(why) => Err(why),
        }
    }
}

/// What a file that is in the listing contributes, given what reading it gave.
fn content(path: &str, read: Fact<Rc<Source>>) -> Content {
    let mask = |what: &str| Content::Mask(Evidence::path(path, what));
    match read {
        Ok(source) if source.text().is_empty() => mask("is empty"),
        Ok(source) => Content::Text(source),
        Err(Unread::Absent { .. }) => mask("is a link to what does not exist"),
        // The only device that anyone links to here; in an image the node itself can be missing.
        Err(Unread::Special { found: SpecialFile::Device, .. }) => mask("is a link to /dev/null"),
        Err(Unread::Special { found: SpecialFile::Dir, .. }) => mask("is a directory"),
        Err(why) => Content::Unread(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    fn paths(files: &ConfFiles) -> Vec<&str> {
        files.texts().map(|source| source.path()).collect()
    }

    fn host() -> TestHost {
        empty_host()
            .file("/etc/sysctl.d/99-a.conf", "a")
            .file("/run/sysctl.d/99-a.conf", "b")
            .file("/usr/lib/sysctl.d/99-a.conf", "c")
            .file("/usr/lib/sysctl.d/10-z.conf", "d")
            .file("/usr/local/lib/sysctl.d/Z.conf", "e")
            .file("/usr/lib/sysctl.d/zz.conf", "f")
            .file("/etc/sysctl.d/README.sysctl", "g")
            .file("/etc/sysctl.d/.hidden.conf", "h")
    }

    #[test]
    fn the_first_directory_wins_a_name_and_names_sort_by_byte() {
        let facts = host().facts();
        let files = facts.conf_files("sysctl.d");
        assert_eq!(
            paths(&files),
            [
                "/usr/lib/sysctl.d/10-z.conf",
                "/etc/sysctl.d/99-a.conf",
                "/usr/local/lib/sysctl.d/Z.conf",
                "/usr/lib/sysctl.d/zz.conf"
            ]
        );
        assert_eq!(files.files[1].shadows, ["/run/sysctl.d/99-a.conf", "/usr/lib/sysctl.d/99-a.conf"]);
        assert_eq!(files.complete(), Ok(()));
    }

    #[test]
    fn a_mask_hides_what_is_below_it() {
        let empty = host().file("/etc/sysctl.d/zz.conf", "").facts();
        let files = empty.conf_files("sysctl.d");
        assert_eq!(
            files.files.last().unwrap().content,
            Content::Mask(Evidence::path("/etc/sysctl.d/zz.conf", "is empty"))
        );
        assert_eq!(paths(&files).len(), 3);
        let linked = |word: &str| {
            host()
                .file("/etc/sysctl.d/zz.conf", "")
                .path("/etc/sysctl.d/zz.conf", |record| record.read_error = Some(word.to_owned()))
                .facts()
        };
        for (word, what) in [
            ("device", "is a link to /dev/null"),
            ("absent", "is a link to what does not exist"),
            ("directory", "is a directory"),
        ] {
            let facts = linked(word);
            let files = facts.conf_files("sysctl.d");
            assert_eq!(
                files.masks().collect::<Vec<_>>(),
                [&Evidence::path("/etc/sysctl.d/zz.conf", what)],
                "{word}"
            );
            assert_eq!(files.files.last().unwrap().shadows, ["/usr/lib/sysctl.d/zz.conf"]);
        }
    }

    #[test]
    fn what_cannot_be_read_is_kept_in_its_place() {
        let denied = |path: &str| Unread::Denied { path: path.to_owned() };
        let facts = host()
            .path("/etc/sysctl.d/99-a.conf", |record| record.read_error = Some("denied".to_owned()))
            .error("/run/sysctl.d", "denied")
            .facts();
        let files = facts.conf_files("sysctl.d");
        assert_eq!(files.files[1].content, Content::Unread(denied("/etc/sysctl.d/99-a.conf")));
        assert_eq!(files.unread_dirs, [denied("/run/sysctl.d")]);
        assert_eq!(files.complete(), Err(denied("/run/sysctl.d")));
        assert_eq!(paths(&files).len(), 3);
    }

    #[test]
    fn lib_is_read_only_where_it_is_a_directory_of_its_own() {
        let split = empty_host().file("/lib/sysctl.d/a.conf", "x");
        let merged = split.clone().path("/lib", |record| record.link = Some("usr/lib".to_owned()));
        assert_eq!(paths(&split.facts().conf_files("sysctl.d")), ["/lib/sysctl.d/a.conf"]);
        assert_eq!(merged.facts().conf_dirs("x").last().unwrap(), "/usr/lib/x");
    }

    #[test]
    fn kmod_passes_directories_over() {
        let dir = |sub: &str| {
            empty_host()
                .file(&format!("/etc/{sub}/a.conf/x"), "")
                .file(&format!("/usr/lib/{sub}/a.conf"), "vendor")
                .facts()
        };
        assert_eq!(paths(&dir("modprobe.d").conf_files("modprobe.d")), ["/usr/lib/modprobe.d/a.conf"]);
        assert_eq!(paths(&dir("sysctl.d").conf_files("sysctl.d")), Vec::<&str>::new());
    }
}
