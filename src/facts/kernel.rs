//! The running kernel and the kernels that are installed, with the directory each has its modules in.
//! What those directories hold is read in `modules`, what the kernels are built from in `kernel_config`.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

use super::{Evidence, Facts, Sourced};
use crate::host::{Entry, Fact, OrAbsent, Unread};

const RELEASE: &str = "/proc/sys/kernel/osrelease";
/// The machine of `uname(2)`, as a file since Linux 6.1 (`Documentation/admin-guide/sysctl/kernel.rst`).
const ARCH: &str = "/proc/sys/kernel/arch";
/// Where distributions have modules, the merged-/usr place first. libkmod has one of them built in.
const MODULE_ROOTS: [&str; 2] = ["/usr/lib/modules", "/lib/modules"];
/// What the package of a kernel brings, or `make modules_install`. `modules.dep` is no such sign:
/// depmod makes one in whatever directory it is pointed at, and leaves it when the kernel is removed.
const KERNEL_SIGNS: [&str; 3] = ["kernel", "modules.builtin", "modules.order"];

/// The numbers that a kernel release begins with. A distribution may have put later features into an
/// earlier version, so a kernel that is too old by number is a reason to look closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// 6 in 6.12.107.
    pub major: u32,
    /// 12 in 6.12.107.
    pub minor: u32,
    /// 107 in 6.12.107; 0 where there is none.
    pub patch: u32,
}

impl KernelVersion {
    /// A version to compare with.
    pub const fn new(major: u32, minor: u32, patch: u32) -> KernelVersion {
        KernelVersion { major, minor, patch }
    }

    /// The numbers at the start of a release such as `6.12.107+deb13-cloud-amd64`; at least two.
    pub fn parse(release: &str) -> Option<KernelVersion> {
        let (major, rest) = number(release)?;
        let (minor, rest) = number(rest.strip_prefix('.')?)?;
        let patch = rest.strip_prefix('.').and_then(number).map_or(0, |(patch, _)| patch);
        Some(KernelVersion { major, minor, patch })
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// A kernel that runs or is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its release: `uname -r`, the name of its modules directory.
    pub release: String,
    /// Its modules directory. Only the running kernel can be without one: it was upgraded and its
    /// modules were removed with it, or it has no modules at all.
    pub modules_dir: Option<String>,
    /// Whether it is the running kernel.
    pub running: bool,
    /// Where this is known from: the modules directory, or the running release.
    pub at: Evidence,
}

impl Kernel {
    /// The version, if the release begins with one.
    pub fn version(&self) -> Option<KernelVersion> {
        KernelVersion::parse(&self.release)
    }
}

/// Both kinds of kernels; an own type because facts are remembered by type.
struct Kernels(Rc<Vec<Kernel>>);

impl Facts {
    /// The release of the running kernel.
    ///
    /// # Errors
    /// When it cannot be read, or nothing runs.
    pub fn kernel_release(&self) -> Fact<Sourced<String>> {
        self.need_running("the running kernel")?;
        self.one_word(RELEASE)
    }

    /// The machine architecture as `uname(2)` calls it (`x86_64`, `aarch64`). Absent before Linux
    /// 6.1; the ELF header of a program of the host tells it then, and in an image.
    ///
    /// # Errors
    /// When it cannot be read, or nothing runs.
    pub fn kernel_machine(&self) -> Fact<Sourced<String>> {
        self.need_running("the machine architecture")?;
        self.one_word(ARCH)
    }

    /// Every installed kernel by release, and the running kernel even if it is not installed.
    ///
    /// # Errors
    /// When the running release or a modules directory cannot be read. No modules directory at all
    /// is no error.
    pub fn kernels(&self) -> Fact<Rc<Vec<Kernel>>> {
        self.memo_fact("", || self.find_kernels().map(|kernels| Kernels(Rc::new(kernels))))
            .map(|kernels| kernels.0.clone())
    }

    /// The kernels that count: the running one; in an image root every installed one, because any of
    /// them may be booted.
    ///
    /// # Errors
    /// As [`Facts::kernels`].
    pub fn counting_kernels(&self) -> Fact<Vec<Kernel>> {
        let kernels = self.kernels()?;
        Ok(kernels.iter().filter(|kernel| kernel.running || !self.running()).cloned().collect())
    }

    /// Whether the modules in this directory are listed in `modules.dep.bin`, which libkmod reads and
    /// nothing else in its place (kmod: `libkmod/libkmod.c`, `kmod_search_moddep`).
    ///
    /// # Errors
    /// Why the directory could not be read.
    pub fn has_module_index(&self, modules_dir: &str) -> Fact<bool> {
        Ok(holds(&self.list(modules_dir)?, "modules.dep.bin"))
    }

    /// Where modules lie: `/lib` only where it is a directory of its own.
    fn module_roots(&self) -> &'static [&'static str] {
        if self.split_usr() { &MODULE_ROOTS } else { &MODULE_ROOTS[..1] }
    }

    fn find_kernels(&self) -> Fact<Vec<Kernel>> {
        let running = if self.running() { Some(self.kernel_release()?) } else { None };
        let mut kernels: Vec<Kernel> = Vec::new();
        let mut seen = BTreeSet::new();
        for root in self.module_roots() {
            for entry in self.list(root).or_absent()?.iter().flat_map(|entries| entries.iter()) {
                let release = &entry.name;
                if !entry.is_dir || seen.contains(release) {
                    continue;
                }
                let dir = format!("{root}/{release}");
                let is_running = running.as_ref().is_some_and(|r| r.value == *release);
                let is_installed = match self.list(&dir) {
                    // What a removal leaves behind: other files than the package's own.
                    Ok(entries) if is_running => is_kernel(&entries) || holds(&entries, "modules.dep"),
                    Ok(entries) => is_kernel(&entries),
                    Err(_) if is_running => true,
                    Err(why) => return Err(why),
                };
                if !is_installed {
                    continue;
                }
                seen.insert(release.clone());
                kernels.push(Kernel {
                    release: release.clone(),
                    at: Evidence::path(&dir, ""),
                    modules_dir: Some(dir),
                    running: is_running,
                });
            }
        }
        if let Some(running) = running
            && !kernels.iter().any(|kernel| kernel.running)
        {
            let Sourced { value, at } = running;
            kernels.push(Kernel { release: value, modules_dir: None, running: true, at });
        }
        kernels.sort_by(|a, b| (a.version(), &a.release).cmp(&(b.version(), &b.release)));
        Ok(kernels)
    }

    /// The modules directory of an installed kernel.
    pub(super) fn modules_dir(&self, release: &str) -> Fact<String> {
        let kernels = self.kernels()?;
        let dir = kernels.iter().find(|k| k.release == release).and_then(|k| k.modules_dir.clone());
        dir.ok_or_else(|| Unread::Absent { path: format!("{}/{release}", MODULE_ROOTS[0]) })
    }

    fn one_word(&self, path: &str) -> Fact<Sourced<String>> {
        let source = self.source(path)?;
        let word = source.text().trim();
        if word.is_empty() || word.contains(char::is_whitespace) {
            let expected = "expected one word".to_owned();
            return Err(Unread::Malformed { path: path.to_owned(), line: Some(1), expected });
        }
        Ok(source.whole(word.to_owned()))
    }
}

fn is_kernel(entries: &[Entry]) -> bool {
    KERNEL_SIGNS.iter().any(|sign| holds(entries, sign))
}

fn holds(entries: &[Entry], name: &str) -> bool {
    entries.iter().any(|entry| entry.name == name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;

    const TRIXIE: &str = "6.12.117+deb13-cloud-amd64";

    #[test]
    fn versions_of_distributions() {
        for (release, version) in [
            (TRIXIE, (6, 12, 117)),
            ("6.8.0-1015-raspi", (6, 8, 0)),
            ("5.15.148-tegra", (5, 15, 148)),
            ("6.1.21-v8+", (6, 1, 21)),
            ("6.15-rc3", (6, 15, 0)),
            ("4.18.0-513.el8.x86_64", (4, 18, 0)),
        ] {
            let (major, minor, patch) = version;
            assert_eq!(
                KernelVersion::parse(release),
                Some(KernelVersion::new(major, minor, patch)),
                "{release}"
            );
        }
        for release in ["", "6", "6.", "v6.1", "99999999999.1"] {
            assert_eq!(KernelVersion::parse(release), None, "{release}");
        }
        assert!(KernelVersion::new(5, 9, 0) < KernelVersion::new(5, 11, 0));
        assert!(KernelVersion::new(5, 11, 0) <= KernelVersion::new(5, 11, 0));
    }

    #[test]
    fn the_running_kernel_is_marked_and_leftovers_are_not_kernels() {
        let facts = empty_host()
            .file(RELEASE, format!("{TRIXIE}\n"))
            .file(&format!("/usr/lib/modules/{TRIXIE}/modules.builtin"), "")
            .file("/usr/lib/modules/6.9.1-x/kernel/fs/fuse/fuse.ko", "")
            .file("/usr/lib/modules/6.1.0-17-amd64/modules.dep", "")
            .facts();
        let kernels = facts.kernels().unwrap();
        assert_eq!(
            kernels.iter().map(|k| (k.release.as_str(), k.running)).collect::<Vec<_>>(),
            [("6.9.1-x", false), (TRIXIE, true)]
        );
        assert_eq!(facts.modules_dir(TRIXIE), Ok(format!("/usr/lib/modules/{TRIXIE}")));
        assert!(facts.modules_dir("6.1.0-17-amd64").unwrap_err().is_absent());
        let counting = facts.counting_kernels().unwrap();
        assert_eq!(counting.iter().map(|k| k.release.as_str()).collect::<Vec<_>>(), [TRIXIE]);
    }

    #[test]
    fn a_running_kernel_without_modules_is_told_apart() {
        let facts = empty_host()
            .file(RELEASE, "6.1.0-17-amd64\n")
            .file("/usr/lib/modules/6.1.0-18-amd64/modules.order", "")
            .facts();
        let kernels = facts.kernels().unwrap();
        assert_eq!(kernels[0].modules_dir, None);
        assert!(kernels[0].running && !kernels[1].running);
        assert_eq!(kernels[0].at, Evidence::line(RELEASE, 1, "6.1.0-17-amd64"));
        let left = facts_of_a_removed_kernel().kernels().unwrap();
        assert_eq!((left.len(), left[0].modules_dir.as_deref()), (1, None));
    }

    fn facts_of_a_removed_kernel() -> Facts {
        let built = "/usr/lib/modules/6.1.0-17-amd64/updates/dkms/x.ko";
        empty_host().file(RELEASE, "6.1.0-17-amd64\n").file(built, "").facts()
    }

    #[test]
    fn merged_and_split_usr() {
        let builtin = "/lib/modules/6.1.21-v8+/modules.builtin";
        let merged = empty_host()
            .file(&format!("/usr{builtin}"), "")
            .file(builtin, "")
            .path("/lib", |record| record.link = Some("usr/lib".to_owned()))
            .image()
            .facts();
        assert_eq!(merged.kernels().unwrap()[0].modules_dir.as_deref(), Some("/usr/lib/modules/6.1.21-v8+"));
        let split = empty_host().file(builtin, "").image().facts();
        let kernels = split.kernels().unwrap();
        assert_eq!(kernels[0].modules_dir.as_deref(), Some("/lib/modules/6.1.21-v8+"));
        assert_eq!((kernels.len(), kernels[0].running), (1, false));
        assert_eq!(split.counting_kernels().unwrap(), **kernels);
    }

    #[test]
    fn unreadable_is_not_absent() {
        let facts = empty_host().error("/usr/lib/modules", "denied").image().facts();
        assert_eq!(facts.kernels(), Err(Unread::Denied { path: "/usr/lib/modules".to_owned() }));
        assert_eq!(*empty_host().image().facts().kernels().unwrap(), []);
    }

    #[test]
    fn the_machine_needs_linux_6_1() {
        let facts = empty_host().file(ARCH, "aarch64\n").facts();
        assert_eq!(facts.kernel_machine().unwrap().value, "aarch64");
        assert!(empty_host().facts().kernel_machine().unwrap_err().is_absent());
        let facts = empty_host().file(RELEASE, "\n").facts();
        assert!(matches!(facts.kernel_release(), Err(Unread::Malformed { .. })));
    }

    proptest! {
        #[test]
        fn versions_never_panic(text in "[0-9.a-é]{0,20}") {
            let _ = KernelVersion::parse(&text);
        }
    }
}
