//! How a host boots: which boot loader passes which words to the kernel next time, and the one file in which
//! those are written.
//!
//! One file per boot loader. What runs now is another matter: [`kernel_cmdline`](super::kernel_cmdline).

mod armbian;
mod bls;
mod boot_script;
mod bootc;
mod edits;
mod efi;
mod extlinux;
mod grub;
mod line;
mod ostree;
mod raspberry_pi;
mod shell;
mod systemd_boot;
mod traces;
mod u_boot;
mod u_env;
mod versions;

use std::fmt;
use std::rc::Rc;

use serde::{Deserialize, Deserializer, Serialize};

use super::kernel_cmdline::{KernelCmdline, Parameter};
use super::{Evidence, Facts};
use crate::host::{Fact, Unread};
use crate::settings::quoted;

pub use edits::{Edit, Syntax};
pub use extlinux::Reader;
#[cfg(test)]
pub(crate) use raspberry_pi::bootargs::tree as device_tree;
pub use shell::Variable;

/// What hands the kernel its command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The firmware of a Raspberry Pi, from `cmdline.txt`.
    RaspberryPi,
    /// `extlinux.conf` of U-Boot, NVIDIA's CBoot and syslinux.
    Extlinux,
    /// GRUB.
    Grub,
    /// systemd-boot, or another boot loader of the Boot Loader Specification, with kernel-install.
    SystemdBoot,
    /// U-Boot with the scripts of Armbian.
    Armbian,
    /// U-Boot with a script of its own, `boot.txt`.
    BootScript,
    /// U-Boot of BeagleBoard.org, with `uEnv.txt`.
    #[serde(rename = "uenv")]
    UEnv,
    /// bootc, from `kargs.d`.
    Bootc,
    /// OSTree.
    Ostree,
}

impl Method {
    /// As people call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::RaspberryPi => "the firmware of a Raspberry Pi",
            Method::Extlinux => "extlinux",
            Method::Grub => "GRUB",
            Method::SystemdBoot => "systemd-boot",
            Method::Armbian => "Armbian's U-Boot script",
            Method::BootScript => "a U-Boot script",
            Method::UEnv => "U-Boot with uEnv.txt",
            Method::Bootc => "bootc",
            Method::Ostree => "OSTree",
        }
    }
}

/// What policy knows of how the host boots.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootWant {
    /// The method that the board has, or has first: others are looked for where nothing of it is found.
    #[serde(default)]
    pub method: Option<Method>,
    /// Where its file can be, the live one first; empty for the places that the method always has.
    #[serde(default, deserialize_with = "absolute_paths")]
    pub files: Vec<String>,
    /// What the device tree of the board says in `compatible`, by the profile that was chosen: an image has no
    /// device tree.
    #[serde(skip)]
    pub boards: Vec<String>,
    /// Why nothing may be written: the profile is for another board than the one that runs.
    #[serde(skip)]
    pub refused: Option<String>,
}

fn absolute_paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Absolute(String);
    impl<'de> Deserialize<'de> for Absolute {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Absolute, D::Error> {
            let path = String::deserialize(deserializer)?;
            let is_file = path.starts_with('/') && !path.ends_with('/') && !path.contains(char::is_control);
            if is_file && path.split('/').all(|part| part != "..") {
                return Ok(Absolute(path));
            }
            let expected = "expected an absolute path of a file, without ..";
            Err(serde::de::Error::custom(format!("{path:?}: {expected}")))
        }
    }
    Ok(Vec::<Absolute>::deserialize(deserializer)?.into_iter().map(|path| path.0).collect())
}

impl BootWant {
    /// Takes over what a later layer of policy knows better. The files of another method are none of this one.
    pub(crate) fn take(&mut self, later: &BootWant) {
        if later.method.is_some() && later.method != self.method {
            self.files.clear();
        }
        self.method = later.method.or(self.method);
        for (known, better) in [(&mut self.files, &later.files), (&mut self.boards, &later.boards)] {
            if !better.is_empty() {
                known.clone_from(better);
            }
        }
        self.refused = later.refused.clone().or(self.refused.take());
    }
}

/// How the host boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// What hands the kernel its command line.
    pub method: Method,
    /// What showed that.
    pub at: Vec<Evidence>,
    /// The words that firmware puts before [`Boot::next`], as far as they matter; `None` where that is not known.
    /// Where it is, and nothing in there turns something off, the kernel does not do so by itself.
    pub before: Option<KernelCmdline>,
    /// The words that are passed next time, as far as files tell, in order. Firmware can put others before.
    pub next: KernelCmdline,
    /// Why something else may be passed; `None` where it is certain.
    pub doubt: Option<Doubt>,
    /// Words in these files that the boot loader does not read, such as those on a second line.
    pub unheard: Vec<Unheard>,
    /// Where words are written, or why that cannot be told.
    pub place: Result<Place, String>,
}

impl Boot {
    /// Whether the boot loader passes a word next time, with nothing after it that undoes it.
    pub fn passes(&self, word: &str) -> bool {
        passes(&self.words(), word)
    }

    /// Whether firmware passes a word next time, and the boot loader's files do not.
    pub fn is_of_firmware(&self, word: &str) -> bool {
        self.before.as_ref().is_some_and(|before| passes(before, word)) && !passes(&self.next, word)
    }

    /// The word of the boot loader's files that turns off what `word`, `cgroup_enable=NAME`, turns on, where
    /// nothing before them does: without it, every kernel has the controller, and with it only one that knows
    /// `cgroup_enable=`.
    pub fn own_switch(&self, word: &str) -> Option<&Parameter> {
        let name = word.replace('-', "_").strip_prefix("cgroup_enable=")?.to_owned();
        let off = format!("cgroup_disable={name}");
        let is_off = |words: &KernelCmdline| words.parameters.iter().any(|parameter| parameter.is(&off));
        if self.before.as_ref().is_none_or(is_off) {
            return None;
        }
        self.next.parameters.iter().find(|parameter| parameter.is(&off))
    }

    /// All words that are known to be passed next time, in order.
    pub fn words(&self) -> KernelCmdline {
        let before = self.before.iter().flat_map(|before| &before.parameters);
        KernelCmdline { parameters: before.chain(&self.next.parameters).cloned().collect() }
    }
}

/// Why it is not certain what is passed next time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// As a clause: `which entry of /boot/grub/grub.cfg boots cannot be told`.
    pub why: String,
    /// What may be passed instead of [`Boot::next`]; empty where nothing at all is known.
    pub or: Vec<KernelCmdline>,
}

impl Boot {
    /// Why it cannot be told whether a word is passed next time; `None` where it can.
    pub fn doubted(&self, word: &str) -> Option<&str> {
        let doubt = self.doubt.as_ref()?;
        let passed = |words: &KernelCmdline| words.deciding(word).is_some_and(|last| last.is(word));
        let agree = doubt.or.iter().all(|other| passed(other) == passed(&self.next));
        (doubt.or.is_empty() || !agree).then_some(doubt.why.as_str())
    }

    /// What is found in the words that are passed next time.
    ///
    /// # Errors
    /// Why it cannot be told whether it is there.
    pub fn finds<T>(&self, look: impl Fn(&KernelCmdline) -> Option<T>) -> Result<Option<T>, &str> {
        let found = look(&self.words());
        let Some(doubt) = &self.doubt else { return Ok(found) };
        let differs = doubt.or.iter().any(|other| look(other).is_some() != found.is_some());
        if differs || doubt.or.is_empty() && found.is_some() { Err(&doubt.why) } else { Ok(found) }
    }
}

/// A word that nobody reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unheard {
    /// The word.
    pub parameter: Parameter,
    /// Why, as a clause: `the firmware reads the first line only`.
    pub why: &'static str,
}

/// The one file in which words for the kernel are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// It.
    pub path: String,
    /// How words are written there.
    pub syntax: Syntax,
    /// The words that are written there: [`Boot::next`], where nothing carries them over.
    pub words: KernelCmdline,
    /// What carries them to where the boot loader reads them; empty where it reads this file.
    pub carry: Vec<Carry>,
}

impl Place {
    /// Whether a word is written here, with nothing after it that undoes it.
    pub fn passes(&self, word: &str) -> bool {
        passes(&self.words, word)
    }
}

fn passes(words: &KernelCmdline, word: &str) -> bool {
    words.deciding(word).is_some_and(|last| last.is(word))
}

/// A step that carries words from where they are written to where the boot loader reads them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Carry {
    /// The program, by name, and its arguments.
    pub words: Vec<String>,
    /// The directory that it is run in, where that matters.
    pub dir: Option<String>,
}

impl Carry {
    /// A program and its arguments.
    pub fn new(words: &[&str]) -> Carry {
        Carry { words: words.iter().map(|word| (*word).to_owned()).collect(), dir: None }
    }

    /// What a person types on the running host.
    pub fn command(&self) -> String {
        let is_option = |word: &str| word.starts_with('-') && quoted(&format!("x{word}")).starts_with('x');
        let shown = |word: &String| if is_option(word) { word.clone() } else { quoted(word).into_owned() };
        let words = self.words.iter().map(shown).collect::<Vec<_>>().join(" ");
        match &self.dir {
            Some(dir) => format!("cd {} && sudo {words}", quoted(dir)),
            None => format!("sudo {words}"),
        }
    }
}

impl fmt::Display for Carry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

/// How a method is looked for: `None` where the host does not boot that way, [`Unread::Malformed`] where it does
/// and what is passed cannot be told.
type Find = fn(&Facts, &BootWant) -> Fact<Option<Boot>>;

/// All methods, and how each is looked for.
const METHODS: [(Method, Find); 9] = [
    (Method::RaspberryPi, raspberry_pi::find),
    (Method::Extlinux, extlinux::find),
    (Method::Armbian, armbian::find),
    (Method::BootScript, boot_script::find),
    (Method::UEnv, u_env::find),
    (Method::Grub, grub::find),
    (Method::SystemdBoot, systemd_boot::find),
    (Method::Bootc, bootc::find),
    (Method::Ostree, ostree::find),
];

impl Facts {
    /// How the host boots, or why that cannot be told.
    ///
    /// # Errors
    /// When a file that tells cannot be read.
    pub fn boot(&self, want: &BootWant) -> Fact<Rc<Result<Boot, String>>> {
        self.memo_fact(&format!("{want:?}"), || self.find_boot(want))
    }

    /// Whether a path lies on FAT.
    ///
    /// # Errors
    /// When what is mounted cannot be read.
    pub fn is_fat(&self, path: &str) -> Fact<bool> {
        if !self.running() {
            return Ok(false);
        }
        let mounts = self.mountinfo()?;
        Ok(mounts
            .holding(path)
            .is_some_and(|mount| matches!(mount.fs_type.as_str(), "vfat" | "msdos" | "exfat")))
    }

    fn find_boot(&self, want: &BootWant) -> Fact<Result<Boot, String>> {
        let look = |want: &BootWant| -> Fact<Vec<Boot>> {
            let mut found = Vec::new();
            for (method, find) in METHODS {
                if want.method.is_none_or(|wanted| wanted == method) {
                    found.extend(find(self, want)?);
                }
            }
            Ok(found)
        };
        // A board of one method can have been given another boot loader. Files that are named are of the method.
        let others = BootWant { method: None, ..want.clone() };
        let found = look(want).and_then(|found| match found.is_empty() && want.files.is_empty() {
            true if want.method.is_some() => look(&others),
            _ => Ok(found),
        });
        let mut found = match found {
            Ok(found) => found,
            // It was read, and leaves open what will be passed.
            Err(why @ Unread::Malformed { .. }) => return Ok(Err(why.to_string())),
            Err(why) => return Err(why),
        };
        Ok(match (found.len(), found.pop(), want.method) {
            (1, Some(boot), _) => Ok(match &want.refused {
                Some(why) => Boot { place: Err(why.clone()), ..boot },
                None => boot,
            }),
            (0, _, Some(method)) => Err(match &want.files[..] {
                [] => format!("no configuration of {} was found", method.as_str()),
                files => {
                    let files = files.join(" or ");
                    format!(
                        "no configuration of {} was found in {files}, which the profile names",
                        method.as_str()
                    )
                }
            }),
            (0, _, None) => Err("no configuration of a known boot loader was found".to_owned()),
            (_, last, _) => {
                let names: Vec<&str> = found.iter().chain(&last).map(|boot| boot.method.as_str()).collect();
                Err(format!(
                    "there are configurations of {}: which one boots cannot be told",
                    names.join(" and ")
                ))
            }
        })
    }
}
