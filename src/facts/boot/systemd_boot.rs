//! systemd-boot, and what writes its entries: kernel-install, or a person.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::bls::{self, Entry};
use super::efi::{self, Loader};
use super::{Boot, BootWant, Carry, Doubt, Method, Place, Syntax, ostree, versions};
use crate::facts::kernel_cmdline::KernelCmdline;
use crate::facts::machine_id::MachineId;
use crate::facts::modules::matches_glob;
use crate::facts::{Evidence, Facts, Source};
use crate::host::{Fact, OrAbsent, Unread};

/// Where its partitions are mounted (systemd, `bootctl(1)`, `--esp-path=` and `--boot-path=`).
const ROOTS: [&str; 3] = ["/efi", "/boot", "/boot/efi"];
/// What kernel-install reads, the first that is there (systemd,
/// `src/kernel-install/90-loaderentry.install.in`).
const CMDLINE: &str = "/etc/kernel/cmdline";
const VENDOR_CMDLINE: &str = "/usr/lib/kernel/cmdline";
/// In a comment of each entry that kernel-install wrote.
const WRITER: &str = "90-loaderentry.install";
/// The first version with `kernel-install add-all` (systemd, `kernel-install(8)`).
const ADD_ALL: u32 = 255;

/// What is in the menu.
#[derive(Clone, Debug)]
enum Item {
    Entry {
        root: &'static str,
        entry: Rc<Entry>,
    },
    /// A unified kernel image, with its path.
    Image(String),
}

impl Item {
    /// What the menu calls it: the name of its file, in lower case.
    fn id(&self) -> String {
        match self {
            Item::Entry { entry, .. } => format!("{}.conf", entry.id).to_lowercase(),
            Item::Image(path) => path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name).to_lowercase(),
        }
    }
}

pub(super) fn find(facts: &Facts, want: &BootWant) -> Fact<Option<Boot>> {
    let loader = efi::loader(facts);
    let is_named = loader.is("systemd-boot");
    if !is_named && loader != Loader::Unknown || ostree::is_there(facts)? {
        return Ok(None);
    }
    let roots = roots(facts)?;
    if !is_named && want.method != Some(Method::SystemdBoot) && !is_installed(facts, &roots)? {
        return Ok(None);
    }
    let boot = match items(facts, &roots) {
        Ok(items) if items.is_empty() && !is_named => return Ok(None),
        Ok(items) => chosen(facts, &roots, items)?,
        Err(why) if is_named => unknown(why.to_string(), Evidence::path(ROOTS[0], ""), Err(why.to_string())),
        Err(why) => return Err(why),
    };
    Ok(Some(boot))
}

fn unknown(why: String, at: Evidence, place: Result<Place, String>) -> Boot {
    Boot {
        before: None,
        method: Method::SystemdBoot,
        at: vec![at],
        next: KernelCmdline::default(),
        doubt: Some(Doubt { why, or: Vec::new() }),
        unheard: Vec::new(),
        place,
    }
}

/// The partitions. On a running host a directory that is none of its own is not read by a boot
/// loader.
fn roots(facts: &Facts) -> Fact<Vec<&'static str>> {
    if !facts.running() {
        return Ok(ROOTS.to_vec());
    }
    let mounts = facts.mountinfo()?;
    Ok(ROOTS.into_iter().filter(|root| mounts.at(root).is_some()).collect())
}

fn is_installed(facts: &Facts, roots: &[&str]) -> Fact<bool> {
    for root in roots {
        let names = facts.names_in(&format!("{root}/EFI/systemd"))?;
        if names.iter().any(|entry| entry.name.to_lowercase().starts_with("systemd-boot")) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The menu in its order, unified images last: where they belong is written in them.
fn items(facts: &Facts, roots: &[&'static str]) -> Fact<Vec<Item>> {
    let mut entries = Vec::new();
    let mut images = Vec::new();
    for root in roots {
        for (id, source) in bls::files(facts, &format!("{root}/loader/entries"))? {
            let entry = Entry::parse(&id, &source);
            if !id.to_lowercase().starts_with("auto-") && is_bootable(facts, root, &entry)? {
                entries.push(Item::Entry { root, entry: Rc::new(entry) });
            }
        }
        let dir = format!("{root}/EFI/Linux");
        let names = facts.names_in(&dir)?;
        let names = names.iter().filter(|entry| !entry.is_dir && entry.name.to_lowercase().ends_with(".efi"));
        images.extend(names.map(|entry| Item::Image(format!("{dir}/{}", entry.name))));
    }
    entries.sort_by(|one, other| match (one, other) {
        (Item::Entry { entry: one, .. }, Item::Entry { entry: other, .. }) => in_menu(one, other),
        _ => Ordering::Equal,
    });
    entries.extend(images);
    Ok(entries)
}

/// An entry of which the file is not there is not shown, and one for another architecture neither (systemd,
/// `src/boot/boot.c`, `boot_entry_add_type1()`).
fn is_bootable(facts: &Facts, root: &str, entry: &Entry) -> Fact<bool> {
    let architectures: Vec<(u32, &str)> = entry.all("architecture").collect();
    if let Some((line, _)) = architectures.first() {
        let unclear = |why: &str| Unread::Malformed {
            path: entry.source.path().to_owned(),
            line: Some(*line),
            expected: why.to_owned(),
        };
        let own = architecture(facts)?;
        let own = own.ok_or_else(|| unclear("which architecture the boot loader is for cannot be told"))?;
        if architectures.iter().any(|(_, name)| !name.eq_ignore_ascii_case(&own)) {
            return Ok(false);
        }
        if architectures.iter().any(|(_, name)| *name != own) {
            return Err(unclear(&format!(
                "old versions of systemd-boot take {own} for this architecture only"
            )));
        }
    }
    for key in ["linux", "efi", "uki"] {
        if let Some(path) = entry.last_value(key) {
            let path = path.trim_start_matches(['/', '\\']).replace('\\', "/");
            return Ok(facts.stat(&format!("{root}/{path}")).or_absent()?.is_some());
        }
    }
    Ok(entry.value("uki-url").is_some())
}

/// What the boot loader is built for, as EFI calls it: the end of the name of its file, else what the system
/// is built for.
fn architecture(facts: &Facts) -> Fact<Option<String>> {
    let mut names = BTreeSet::new();
    for root in roots(facts)? {
        for entry in facts.names_in(&format!("{root}/EFI/systemd"))?.iter() {
            let name = entry.name.to_lowercase();
            let name = name.strip_prefix("systemd-boot").and_then(|name| name.strip_suffix(".efi"));
            names.extend(name.map(str::to_owned));
        }
    }
    if names.len() <= 1
        && let Some(name) = names.pop_first()
    {
        return Ok(Some(name));
    }
    // Firmware of 32 bits starts systems of 64 bits, too, with a boot loader of 32 bits.
    let Some(elf) = facts.userland_arch().or_absent()? else { return Ok(None) };
    let own = match elf.value.arch {
        "x86_64" => "x64",
        "aarch64" => "aa64",
        "i686" => "ia32",
        "riscv64" => "riscv64",
        arch if arch.starts_with("arm") => "arm",
        _ => return Ok(None),
    };
    Ok(Some(own.to_owned()).filter(|own| names.is_empty() || names.contains(own) && names.len() == 1))
}

/// The order of the menu (systemd, `src/boot/boot.c`, `boot_entry_compare()`).
fn in_menu(one: &Entry, other: &Entry) -> Ordering {
    let key = |entry: &Entry, key: &str| entry.last_value(key).unwrap_or_default().to_owned();
    let id = |entry: &Entry| format!("{}.conf", entry.id).to_lowercase();
    let (one_left, other_left) = (tries_left(&one.id), tries_left(&other.id));
    let one_sort = one.last_value("sort-key");
    let other_sort = other.last_value("sort-key");
    let by_key = || match (one_sort, other_sort) {
        (Some(one_sort), Some(other_sort)) => one_sort
            .cmp(other_sort)
            .then_with(|| key(one, "machine-id").cmp(&key(other, "machine-id")))
            .then_with(|| versions::uapi(&key(other, "version"), &key(one, "version"))),
        _ => Ordering::Equal,
    };
    (one_left == Some(0))
        .cmp(&(other_left == Some(0)))
        .then_with(|| one_sort.is_none().cmp(&other_sort.is_none()))
        .then_with(by_key)
        .then_with(|| versions::uapi(&id(other), &id(one)))
}

/// How often an entry is tried yet that counts: `NAME+LEFT-DONE`.
fn tries_left(id: &str) -> Option<u64> {
    let (_, count) = id.rsplit_once('+')?;
    let (left, done) = count.split_once('-').unwrap_or((count, "0"));
    done.parse::<u64>().ok().and(left.parse().ok())
}

/// What says which item boots: variables, and `loader.conf` (systemd, `src/boot/boot.c`,
/// `config_select_default_entry()`).
fn wishes(facts: &Facts, roots: &[&str]) -> Fact<Vec<String>> {
    let mut config = None;
    for root in roots {
        config = config.or(facts.source(&format!("{root}/loader/loader.conf")).or_absent()?);
    }
    let configured = |key: &str| config.as_deref().and_then(|config| setting(config, key));
    let all = [
        efi::variable(facts, "LoaderEntryOneShot")?,
        efi::variable(facts, "LoaderEntryPreferred")?,
        configured("preferred"),
        efi::variable(facts, "LoaderEntryDefault")?,
        configured("default"),
    ];
    let mut wishes = Vec::new();
    for wish in all.into_iter().flatten() {
        match wish.as_str() {
            "@saved" => wishes.extend(efi::variable(facts, "LoaderEntryLastBooted")?),
            _ => wishes.push(wish),
        }
    }
    Ok(wishes.into_iter().map(|wish| wish.to_lowercase()).collect())
}

/// The last value of a key in `loader.conf`.
fn setting(config: &Source, key: &str) -> Option<String> {
    let lines = config.text().lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once([' ', '\t']));
    pairs.rev().find(|(own, _)| *own == key).map(|(_, value)| value.trim().to_owned())
}

fn chosen(facts: &Facts, roots: &[&'static str], items: Vec<Item>) -> Fact<Boot> {
    let mut wished = None;
    for wish in wishes(facts, roots)? {
        // Items that the boot loader finds by itself, such as other systems.
        if wish.starts_with("auto-") {
            let why = format!("the boot loader is told to start {wish}");
            return Ok(unknown(
                why,
                Evidence::path(ROOTS[0], ""),
                Err(format!("{wish} is the default entry")),
            ));
        }
        wished = items.iter().find(|item| matches_glob(&wish, &item.id())).cloned();
        if wished.is_some() {
            break;
        }
    }
    let images = items.iter().any(|item| matches!(item, Item::Image(_)));
    let entries = items.iter().any(|item| matches!(item, Item::Entry { .. }));
    let item = match (wished, images && entries) {
        (Some(item), _) => item,
        (None, true) => {
            let why = "there are entries and unified kernel images, and none of them is the default one";
            return Ok(unknown(why.to_owned(), Evidence::path(ROOTS[0], ""), Err(why.to_owned())));
        }
        (None, false) => match items.into_iter().next() {
            Some(item) => item,
            None => {
                let why = "no entry of systemd-boot was found";
                return Ok(unknown(why.to_owned(), Evidence::path(ROOTS[0], ""), Err(why.to_owned())));
            }
        },
    };
    match item {
        Item::Image(path) => Ok(inside(facts, &path)),
        Item::Entry { root, entry } => match entry.last_value("uki") {
            Some(uki) => Ok(inside(facts, &format!("{root}{uki}"))),
            None => Ok(Boot {
                before: None,
                method: Method::SystemdBoot,
                at: vec![entry.evidence()],
                next: entry.options(),
                doubt: None,
                unheard: Vec::new(),
                place: place(facts, &entry),
            }),
        },
    }
}

/// What is passed by a unified kernel image is a section of it, which may be signed.
fn inside(facts: &Facts, path: &str) -> Boot {
    let why = format!("the words are inside of {path}");
    let place = image_place(facts, path);
    unknown(why, Evidence::path(path, ""), place)
}

fn place(facts: &Facts, entry: &Entry) -> Result<Place, String> {
    let path = entry.source.path();
    let has =
        |path: &str| facts.stat(path).or_absent().map(|stat| stat.is_some()).map_err(|why| why.to_string());
    if facts.program("sdbootutil").map_err(|why| why.to_string())?.is_some() {
        return Err(format!(
            "sdbootutil writes {path}: change {CMDLINE}, then sudo sdbootutil update-all-entries"
        ));
    }
    if has("/etc/kernelstub/configuration")? {
        return Err(format!(
            "kernelstub writes {path}: sudo kernelstub --add-options WORD, or --delete-options WORD"
        ));
    }
    if has("/etc/NIXOS")? {
        return Err(format!("NixOS writes {path}: change boot.kernelParams"));
    }
    let machine = facts.machine_id().map_err(|why| why.to_string())?;
    let is_named_so = match &machine.value {
        MachineId::Valid(id) => {
            entry.id.starts_with(&format!("{id}-")) || entry.last_value("machine-id") == Some(id.as_str())
        }
        _ => false,
    };
    if entry.source.text().contains(WRITER) || is_named_so {
        return cmdline_place(facts, kernel_install(facts, entry.last_value("version"))?);
    }
    Ok(Place {
        path: path.to_owned(),
        syntax: Syntax::LoaderEntry,
        words: entry.options(),
        carry: Vec::new(),
    })
}

/// `/etc/kernel/cmdline`; in an image also the file that it stands in for.
fn cmdline_place(facts: &Facts, carry: Carry) -> Result<Place, String> {
    let read = |path: &str| facts.source(path).or_absent().map_err(|why| why.to_string());
    let source = match (read(CMDLINE)?, read(VENDOR_CMDLINE)?) {
        (Some(source), _) => source,
        (None, Some(source)) if !facts.running() => source,
        (None, Some(_)) => {
            return Err(format!("{CMDLINE} does not exist: copy {VENDOR_CMDLINE} there first"));
        }
        (None, None) => {
            return Err(format!(
                "{CMDLINE} does not exist, so kernel-install repeats /proc/cmdline: write what shall be \
                 passed there first"
            ));
        }
    };
    Ok(Place {
        path: source.path().to_owned(),
        syntax: Syntax::AllLines,
        words: KernelCmdline::parse(&source),
        carry: vec![carry],
    })
}

/// What has kernel-install write the entry of this kernel anew.
fn kernel_install(facts: &Facts, version: Option<&str>) -> Result<Carry, String> {
    let told = |why: Unread| why.to_string();
    let has = |path: &str| facts.stat(path).or_absent().map(|stat| stat.is_some()).map_err(told);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+~-".contains(c);
    let Some(version) = version.filter(|version| version.chars().all(is_plain)) else {
        return Ok(Carry::new(&["kernel-install", "add-all"]));
    };
    let modules = format!("/usr/lib/modules/{version}/vmlinuz");
    let boot = format!("/boot/vmlinuz-{version}");
    let systemd = facts.systemd_version().or_absent().map_err(told)?;
    let in_modules = has(&modules)?;
    match systemd {
        Some(systemd) if in_modules && systemd.value >= ADD_ALL => {
            Ok(Carry::new(&["kernel-install", "add-all"]))
        }
        _ if in_modules => Ok(Carry::new(&["kernel-install", "add", version, &modules])),
        _ if has(&boot)? => Ok(Carry::new(&["kernel-install", "add", version, &boot])),
        _ => Err(format!("the kernel {version}, which kernel-install would add again, was not found")),
    }
}

/// What builds a unified kernel image takes the words from `/etc/kernel/cmdline` where it is
/// kernel-install with ukify, or mkinitcpio.
fn image_place(facts: &Facts, path: &str) -> Result<Place, String> {
    let told = |why: Unread| why.to_string();
    for conf in ["/etc/kernel/install.conf", "/usr/lib/kernel/install.conf"] {
        let Some(source) = facts.source(conf).or_absent().map_err(told)? else { continue };
        if source.text().lines().any(|line| line.trim() == "layout=uki") {
            return cmdline_place(facts, kernel_install(facts, None)?);
        }
        break;
    }
    for entry in facts.names_in("/etc/mkinitcpio.d").map_err(told)?.iter() {
        let source = facts.source(&format!("/etc/mkinitcpio.d/{}", entry.name)).or_absent().map_err(told)?;
        let Some(source) = source.filter(|_| entry.name.ends_with(".preset")) else { continue };
        let lines: Vec<&str> =
            source.text().lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
        if !lines.iter().any(|line| line.split_once('=').is_some_and(|(name, _)| name.ends_with("_uki"))) {
            continue;
        }
        if lines.iter().any(|line| line.contains("--cmdline")) {
            return Err(format!("{} says where mkinitcpio takes the words from", source.path()));
        }
        let parts = facts.names_in("/etc/cmdline.d").map_err(told)?;
        if parts.iter().any(|entry| entry.name.ends_with(".conf")) {
            return Err("mkinitcpio takes the words from the files in /etc/cmdline.d".to_owned());
        }
        let place = cmdline_place(facts, Carry::new(&["mkinitcpio", "-P"]))?;
        let source = facts.source(&place.path).map_err(told)?;
        if source.text().lines().any(|line| line.trim_start().starts_with('#')) {
            return Err(format!("{} has comments, which mkinitcpio leaves out", place.path));
        }
        return Ok(place);
    }
    Err(format!("the words are inside of {path}, and what builds it is not known"))
}

#[cfg(test)]
#[path = "systemd_boot_tests.rs"]
mod tests;
