//! GRUB: `grub.cfg`, which `grub-mkconfig` makes of `/etc/default/grub`, or the entries of the Boot
//! Loader Specification that it shows.

mod commands;
mod defaults;
mod menu;
mod script;
mod shell;
mod values;

use std::rc::Rc;

use super::bls::{self, Entry, line_of_words};
use super::efi::{self, Loader};
use super::{Boot, BootWant, Carry, Doubt, Method, Place, Syntax, ostree, versions};
use crate::facts::kernel_cmdline::KernelCmdline;
use crate::facts::{Evidence, Facts, Source};
use crate::host::{Fact, OrAbsent, Unread};

pub(super) use defaults::Defaults;
use menu::{Beside, Block, Menu};

/// Where `grub-mkconfig` puts the file: Debian and Arch, and distributions that call the programs
/// `grub2-`.
const CONFIGS: [&str; 2] = ["/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"];
/// Where the EFI system partition has one, mostly a few lines that lead to the other.
const VENDORS: [&str; 2] = ["/boot/efi/EFI", "/efi/EFI"];
const DEFAULT: &str = "/etc/default/grub";
const DEFAULT_DIR: &str = "/etc/default/grub.d";
const ENTRIES: &str = "/boot/loader/entries";
/// What `grub-mkconfig` writes above what each of its scripts prints.
const GENERATED: &str = "### BEGIN /etc/grub.d/";

pub(super) fn find(facts: &Facts, want: &BootWant) -> Fact<Option<Boot>> {
    let loader = efi::loader(facts);
    let is_other = matches!(&loader, Loader::Named(name) if !name.starts_with("GRUB"));
    if is_other || ostree::is_there(facts)? {
        return Ok(None);
    }
    let (configs, unread) = configs(facts, want);
    let has_default = facts.stat(DEFAULT).or_absent()?.is_some();
    let is_meant = want.method == Some(Method::Grub) || loader.is("GRUB");
    let menus: Vec<(Rc<Source>, Menu)> =
        configs.into_iter().map(|source| (Rc::clone(&source), menu(facts, &source))).collect();
    let boot = match (menus.first(), unread) {
        (Some((config, _)), _) => {
            let (next, at, doubt) = told(&menus);
            let entries = menus.iter().any(|(_, menu)| menu.entries);
            let place = place(facts, config.path(), Some(config.text()), entries);
            Boot { before: None, method: Method::Grub, at, next, doubt, unheard: Vec::new(), place }
        }
        (None, Some(why)) if has_default || is_meant => {
            let path = path_of(&why).unwrap_or(CONFIGS[0]).to_owned();
            unknown(facts, &path, why.to_string())
        }
        (None, Some(why)) => return Err(why),
        (None, None) if has_default && is_meant => {
            unknown(facts, CONFIGS[0], "there is no grub.cfg yet".to_owned())
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(boot))
}

/// Where nothing is known of what is passed.
fn unknown(facts: &Facts, config: &str, why: String) -> Boot {
    let place = place(facts, config, None, enables_entries(facts));
    Boot {
        before: None,
        method: Method::Grub,
        at: vec![Evidence::path(DEFAULT, "")],
        next: KernelCmdline::default(),
        doubt: Some(Doubt { why, or: Vec::new() }),
        unheard: Vec::new(),
        place,
    }
}

fn path_of(why: &Unread) -> Option<&str> {
    match why {
        Unread::Denied { path } | Unread::TooLarge { path, .. } | Unread::Failed { path, .. } => Some(path),
        _ => None,
    }
}

/// The files that GRUB may read, the likely one first, and the first that cannot be read.
fn configs(facts: &Facts, want: &BootWant) -> (Vec<Rc<Source>>, Option<Unread>) {
    let named: Vec<&str> =
        want.files.iter().map(String::as_str).filter(|path| path.ends_with("grub.cfg")).collect();
    let paths = if named.is_empty() { CONFIGS.as_slice() } else { &named };
    let mut found = Vec::new();
    let mut unread = None;
    for path in paths {
        match facts.source(path).or_absent() {
            Ok(source) => found.extend(source),
            Err(why) => unread = unread.or(Some(why)),
        }
    }
    if named.is_empty() {
        found.extend(on_efi_partition(facts));
    }
    (found, unread)
}

/// The files on the EFI system partition that have a menu of their own, as RHEL 8 and Fedora before
/// 34 have it. Whoever may not look there may not look at the others of these distributions either.
fn on_efi_partition(facts: &Facts) -> Vec<Rc<Source>> {
    let mut found: Vec<Rc<Source>> = Vec::new();
    for dir in VENDORS {
        for vendor in facts.list(dir).iter().flat_map(|names| names.iter()).filter(|entry| entry.is_dir) {
            let Ok(source) = facts.source(&format!("{dir}/{}/grub.cfg", vendor.name)) else { continue };
            let is_menu = |line: &str| line.starts_with("menuentry ") || line == "blscfg";
            if source.text().lines().any(|line| is_menu(line.trim())) {
                found.push(source);
            }
        }
    }
    found
}

fn menu(facts: &Facts, source: &Source) -> Menu {
    let trouble = |(line, why): script::Trouble, path: &str| Menu {
        trouble: Some(format!("{path}:{line}: {why}")),
        entries: source.text().contains("blscfg"),
        ..Menu::default()
    };
    let nodes = match script::parse(source.text()) {
        Ok(nodes) => nodes,
        Err(why) => return trouble(why, source.path()),
    };
    let dir = source.path().rsplit_once('/').map_or("", |(dir, _)| dir);
    let block = match facts.source(&format!("{dir}/grubenv")).or_absent() {
        Ok(Some(block)) => Block::parse(&block),
        Ok(None) => Block::Absent,
        Err(_) => Block::Unread,
    };
    let custom = match facts.source(&format!("{dir}/custom.cfg")).or_absent() {
        Ok(None) => None,
        Ok(Some(custom)) => match script::parse(custom.text()) {
            Ok(nodes) => Some(nodes),
            Err(why) => return trouble(why, custom.path()),
        },
        Err(why) => return Menu { trouble: Some(why.to_string()), ..Menu::default() },
    };
    let user = match facts.source(&format!("{dir}/user.cfg")).or_absent() {
        Ok(None) => Some(Vec::new()),
        Ok(Some(user)) => script::parse(user.text()).ok(),
        Err(_) => None,
    };
    let beside = Beside { block, entries: &|| entries(facts), custom, user };
    let mut menu = menu::read(&nodes, &beside);
    if let Some(why) = &mut menu.trouble {
        *why = format!("{}: {why}", source.path());
    }
    menu
}

/// The entries of the Boot Loader Specification, in the order of GRUB.
fn entries(facts: &Facts) -> Result<Vec<Entry>, String> {
    let files = bls::files(facts, ENTRIES).map_err(|why| why.to_string())?;
    let entries = files.iter().map(|(id, source)| Entry::parse_as_grub(id, source));
    let mut entries: Vec<Entry> = entries.filter(|entry| entry.value("linux").is_some()).collect();
    entries.sort_by(|one, other| versions::grub_entries(&other.id, &one.id).then(one.id.cmp(&other.id)));
    Ok(entries)
}

/// What is passed by all files that may be read: where one may be another, both.
fn told(menus: &[(Rc<Source>, Menu)]) -> (KernelCmdline, Vec<Evidence>, Option<Doubt>) {
    let mut all: Vec<(Evidence, KernelCmdline)> = Vec::new();
    for (config, menu) in menus {
        for line in &menu.lines {
            let path = line.path.as_deref().unwrap_or_else(|| config.path());
            let words = line_of_words(path, line.line, &line.words);
            let at = Evidence::line(path, line.line, line.words.trim());
            if !all.iter().any(|(_, known)| texts(known) == texts(&words)) {
                all.push((at, words));
            }
        }
    }
    let trouble = menus.iter().find_map(|(_, menu)| menu.trouble.clone());
    let path = menus.first().map(|(config, _)| config.path().to_owned()).unwrap_or_default();
    let mut all = all.into_iter();
    let Some((at, next)) = all.next() else {
        let why = trouble.unwrap_or_else(|| format!("{path} has no entry that boots Linux"));
        let doubt = Doubt { why, or: Vec::new() };
        return (KernelCmdline::default(), vec![Evidence::path(&path, "")], Some(doubt));
    };
    let or: Vec<KernelCmdline> = all.map(|(_, words)| words).collect();
    let doubt = match trouble {
        Some(why) => Some(Doubt { why, or: Vec::new() }),
        None if or.is_empty() => None,
        None => Some(Doubt { why: format!("which entry of {path} boots cannot be told"), or }),
    };
    (next, vec![at], doubt)
}

fn texts(words: &KernelCmdline) -> Vec<&str> {
    words.parameters.iter().map(|word| word.at.text.as_str()).collect()
}

/// Whether `grub-mkconfig` is told to use entries of the Boot Loader Specification.
fn enables_entries(facts: &Facts) -> bool {
    let Ok(source) = facts.source(DEFAULT) else { return false };
    let script = shell::parse(source.text());
    let last = script.assignments.iter().rev().find(|assignment| assignment.name == "GRUB_ENABLE_BLSCFG");
    last.is_some_and(|last| last.parts == [shell::Part::Text("true".to_owned())])
}

fn place(facts: &Facts, config: &str, text: Option<&str>, entries: bool) -> Result<Place, String> {
    if entries {
        return Err(format!(
            "each kernel has its own file in {ENTRIES}: grubby --update-kernel=ALL --args=WORD, or \
             --remove-args=WORD, changes all of them"
        ));
    }
    if text.is_some_and(|text| !text.contains(GENERATED)) {
        return Err(format!("{config} was not made by grub-mkconfig"));
    }
    let defaults = Defaults::new(default_files(facts)?)?;
    let words = defaults.words()?;
    let path = defaults.path().to_owned();
    Ok(Place { path, syntax: Syntax::Grub(defaults), words, carry: vec![carry(facts, config)?] })
}

fn carry(facts: &Facts, config: &str) -> Result<Carry, String> {
    let has = |name: &str| facts.program(name).map(|found| found.is_some()).map_err(|why| why.to_string());
    if config == CONFIGS[0] && has("update-grub")? {
        return Ok(Carry::new(&["update-grub"]));
    }
    let is_grub2 = has("grub2-mkconfig")? || config == CONFIGS[1] && !has("grub-mkconfig")?;
    Ok(Carry::new(&[if is_grub2 { "grub2-mkconfig" } else { "grub-mkconfig" }, "-o", config]))
}

/// `/etc/default/grub`, and what the `grub-mkconfig` of Debian reads after it.
fn default_files(facts: &Facts) -> Result<Vec<Rc<Source>>, String> {
    let told = |why: Unread| why.to_string();
    let first = facts.source(DEFAULT).or_absent().map_err(told)?;
    let mut files: Vec<Rc<Source>> = first.into_iter().collect();
    let names = facts.names_in(DEFAULT_DIR).map_err(told)?;
    let names: Vec<&str> = names.iter().map(|entry| entry.name.as_str()).collect();
    let names = names.into_iter().filter(|name| name.ends_with(".cfg") && !name.starts_with('.'));
    let names: Vec<&str> = names.collect();
    if !names.is_empty() && reads_dir(facts)? {
        for name in names {
            let found = facts.source(&format!("{DEFAULT_DIR}/{name}")).or_absent().map_err(told)?;
            files.extend(found);
        }
    }
    if files.is_empty() { Err(format!("{DEFAULT} does not exist")) } else { Ok(files) }
}

/// Whether `grub-mkconfig`, a shell script, reads the directory: that of GRUB itself does not.
fn reads_dir(facts: &Facts) -> Result<bool, String> {
    for name in ["grub-mkconfig", "grub2-mkconfig"] {
        if let Some(program) = facts.program(name).map_err(|why| why.to_string())? {
            let script = facts.source(&program.path).map_err(|why| why.to_string())?;
            return Ok(script.text().contains("/default/grub.d/"));
        }
    }
    Err(format!("whether {DEFAULT_DIR} is read is known to grub-mkconfig, which is not there"))
}

#[cfg(test)]
#[path = "grub/tests.rs"]
mod tests;
