//! The options a kernel was built with, from whichever file its distribution ships them in. Whether a
//! module that was built is also installed is another matter: see `modules`.

use std::io::Read;
use std::rc::Rc;

use super::{Facts, Source, Sourced};
use crate::host::{CONFIG_LIMIT_BYTES, Fact, OrAbsent, Unread};

/// Only with `CONFIG_IKCONFIG_PROC`, and only of the running kernel.
const PROC: &str = "/proc/config.gz";
const PREFIX: &str = "CONFIG_";
/// How far `config.gz` may unpack, in bytes. A configuration has some 300 KB; one that is larger
/// than this is refused.
const UNPACKED_LIMIT_BYTES: u64 = CONFIG_LIMIT_BYTES;

/// What an option is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `y`: part of the kernel.
    Yes,
    /// `m`: built as a module.
    Module,
    /// `# CONFIG_... is not set`, or `n`.
    No,
    /// A number or a string, quotes included.
    Value(String),
}

/// The options of one kernel. An option that is asked for and not mentioned does not exist in this
/// kernel or depends on another that is off: in either case it is not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelConfig {
    source: Rc<Source>,
    /// Where each option stands, ordered by the hash of its name: some 10,000 small entries are
    /// looked up some dozens of times.
    index: Vec<Slot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    hash: u32,
    offset: u32,
    line: u32,
}

impl KernelConfig {
    /// Reads a `.config` (`Documentation/kbuild/kconfig.rst`).
    ///
    /// # Errors
    /// When not a single option is in it.
    pub fn parse(source: Rc<Source>) -> Fact<KernelConfig> {
        let mut index = Vec::new();
        let mut next = 0u32;
        for (line, text) in (1..).zip(source.text().split_inclusive('\n')) {
            let offset = next;
            next = next.saturating_add(u32::try_from(text.len()).unwrap_or(u32::MAX));
            if let Some((name, _)) = split_option(text.trim_end()) {
                index.push(Slot { hash: hash(name), offset, line });
            }
        }
        if index.is_empty() {
            return Err(Unread::Malformed {
                path: source.path().to_owned(),
                line: None,
                expected: "expected lines \"CONFIG_NAME=VALUE\"".to_owned(),
            });
        }
        index.sort_unstable();
        Ok(KernelConfig { source, index })
    }

    /// The file that the options are from.
    pub fn path(&self) -> &str {
        self.source.path()
    }

    /// An option by its name, with or without `CONFIG_`. The last line counts if it is there twice.
    pub fn get(&self, name: &str) -> Option<Sourced<Setting>> {
        let name = name.strip_prefix(PREFIX).unwrap_or(name);
        let wanted = hash(name);
        let first = self.index.partition_point(|slot| slot.hash < wanted);
        let candidates = self.index.iter().skip(first).take_while(|slot| slot.hash == wanted);
        let lines = candidates.filter_map(|slot| {
            let text = self.source.text().get(slot.offset as usize..)?.lines().next()?.trim_end();
            let (found, setting) = split_option(text)?;
            (found == name).then(|| self.source.on(slot.line, text, setting))
        });
        lines.last()
    }

    /// Whether an option is `y` or `m`.
    pub fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some_and(|got| matches!(got.value, Setting::Yes | Setting::Module))
    }
}

fn split_option(text: &str) -> Option<(&str, Setting)> {
    if let Some(rest) = text.strip_prefix("# CONFIG_") {
        return Some((rest.strip_suffix(" is not set")?, Setting::No));
    }
    let (name, value) = text.strip_prefix(PREFIX)?.split_once('=')?;
    let setting = match value {
        "y" => Setting::Yes,
        "m" => Setting::Module,
        "n" => Setting::No,
        other => Setting::Value(other.to_owned()),
    };
    Some((name, setting))
}

/// FNV-1a, 32 bits: short, and good enough where the name is compared after it.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193))
}

/// Where distributions put the configuration of an installed kernel. `/boot` is most common; Fedora
/// and others have it with the modules; ostree keeps `/boot` below `/usr/lib`; the rest is known from
/// `internal/pkg/sysinfo/probes/linux/kernel.go` of k0s. `/usr/src/linux/.config` is not among them:
/// it belongs to no particular release.
fn places(release: &str, modules_dir: Option<&str>) -> Vec<String> {
    let mut places = vec![format!("/boot/config-{release}")];
    places.extend(modules_dir.map(|dir| format!("{dir}/config")));
    places.extend([
        format!("/usr/lib/ostree-boot/config-{release}"),
        format!("/usr/lib/kernel/config-{release}"),
        format!("/usr/src/linux-headers-{release}/.config"),
        format!("/usr/src/linux-{release}/.config"),
    ]);
    places.extend(modules_dir.map(|dir| format!("{dir}/build/.config")));
    places
}

fn unpack(path: &str, bytes: &[u8]) -> Fact<Vec<u8>> {
    let mut out = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(UNPACKED_LIMIT_BYTES + 1);
    reader.read_to_end(&mut out).map_err(|error| Unread::Malformed {
        path: path.to_owned(),
        line: None,
        expected: format!("expected gzip: {error}"),
    })?;
    if out.len() as u64 > UNPACKED_LIMIT_BYTES {
        return Err(Unread::TooLarge { path: path.to_owned(), limit_bytes: UNPACKED_LIMIT_BYTES });
    }
    Ok(out)
}

impl Facts {
    /// The options of an installed or running kernel, from the first file that has them.
    ///
    /// # Errors
    /// When no file has them (absent, and so unknown: many kernels ship none), or the first one that
    /// is there cannot be read.
    pub fn kernel_config(&self, release: &str) -> Fact<Rc<KernelConfig>> {
        self.memo_fact(release, || {
            let kernels = self.kernels()?;
            let kernel = kernels.iter().find(|kernel| kernel.release == release);
            if kernel.is_some_and(|kernel| kernel.running)
                && let Some(bytes) = self.bytes(PROC, CONFIG_LIMIT_BYTES).or_absent()?
            {
                let source = Source::from_bytes(PROC, unpack(PROC, &bytes)?);
                return KernelConfig::parse(Rc::new(source));
            }
            let places = places(release, kernel.and_then(|kernel| kernel.modules_dir.as_deref()));
            for path in &places {
                if let Some(source) = self.source(path).or_absent()? {
                    return KernelConfig::parse(source);
                }
            }
            Err(Unread::Absent { path: places.into_iter().next().unwrap_or_default() })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    /// Debian 13, /boot/config-6.12.117+deb13-cloud-amd64, shortened.
    const TEXT: &str = "\
#
# Automatically generated file; DO NOT EDIT.
# Linux/x86 6.12.117 Kernel Configuration
#
CONFIG_CC_VERSION_TEXT=\"gcc-14 (Debian 14.2.0-19) 14.2.0\"
CONFIG_GCC_VERSION=140200
CONFIG_USER_NS=y
# CONFIG_RT_GROUP_SCHED is not set
CONFIG_OVERLAY_FS=m
CONFIG_LOG_BUF_SHIFT=17
";

    fn running(release: &str) -> TestHost {
        empty_host().file("/proc/sys/kernel/osrelease", release)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn settings_with_and_without_prefix() {
        let config = KernelConfig::parse(Rc::new(Source::new("/boot/config-x", TEXT))).unwrap();
        let user_ns = config.get("USER_NS").unwrap();
        assert_eq!(user_ns, config.get("CONFIG_USER_NS").unwrap());
        assert_eq!((user_ns.value, user_ns.at.line), (Setting::Yes, Some(7)));
        assert_eq!(config.get("OVERLAY_FS").map(|s| s.value), Some(Setting::Module));
        assert_eq!(config.get("RT_GROUP_SCHED").map(|s| (s.value, s.at.line)), Some((Setting::No, Some(8))));
        assert_eq!(config.get("LOG_BUF_SHIFT").map(|s| s.value), Some(Setting::Value("17".to_owned())));
        assert_eq!(config.get("NO_SUCH"), None);
        assert!(config.is_set("OVERLAY_FS") && !config.is_set("RT_GROUP_SCHED") && !config.is_set("FUSE_FS"));
    }

    #[test]
    fn the_running_kernel_speaks_for_itself() {
        let facts = running("6.1.0\n")
            .file(PROC, gzip(b"CONFIG_USER_NS=y\n"))
            .file("/boot/config-6.1.0", "CONFIG_USER_NS=n\n")
            .facts();
        let config = facts.kernel_config("6.1.0").unwrap();
        assert_eq!((config.path(), config.is_set("USER_NS")), (PROC, true));
    }

    #[test]
    fn an_installed_kernel_has_a_file() {
        for path in [
            "/boot/config-6.1.0",
            "/usr/lib/modules/6.1.0/config",
            "/usr/lib/ostree-boot/config-6.1.0",
            "/usr/src/linux-headers-6.1.0/.config",
        ] {
            let facts = empty_host()
                .file("/usr/lib/modules/6.1.0/modules.builtin", "")
                .file(PROC, gzip(b"CONFIG_USER_NS=n\n"))
                .file(path, TEXT)
                .image()
                .facts();
            assert_eq!(facts.kernel_config("6.1.0").unwrap().path(), path, "not that of the build machine");
        }
    }

    #[test]
    fn nowhere_denied_and_malformed_are_three_things() {
        assert!(running("6.1.0").facts().kernel_config("6.1.0").unwrap_err().is_absent());
        let denied = running("6.1.0").error("/boot/config-6.1.0", "denied").facts();
        assert!(matches!(denied.kernel_config("6.1.0"), Err(Unread::Denied { .. })));
        for bytes in [b"no gzip".to_vec(), gzip(b"nothing\n"), gzip(TEXT.as_bytes())[..40].to_vec()] {
            let facts = running("6.1.0").file(PROC, bytes).facts();
            assert!(matches!(facts.kernel_config("6.1.0"), Err(Unread::Malformed { .. })));
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = gzip(&vec![b'\n'; 5 << 20]);
        let facts = running("6.1.0").file(PROC, bomb).facts();
        assert!(matches!(facts.kernel_config("6.1.0"), Err(Unread::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)(# CONFIG_|CONFIG_|is not set|=|[A-Z]|\\r|\\n|é){0,40}", name in ".{0,10}") {
            if let Ok(config) = KernelConfig::parse(Rc::new(Source::new("/x", text))) {
                let _ = config.get(&name);
            }
        }
    }
}
