//! `extlinux.conf`: what U-Boot, NVIDIA's L4TLauncher and SYSLINUX read.

mod config;
mod generated;
#[cfg(test)]
mod tests;

use super::{Boot, BootWant, Method, Unheard, line, traces};
use crate::facts::kernel_cmdline::KernelCmdline;
use crate::facts::{Evidence, Facts, Source};
use crate::host::{Fact, OrAbsent, Unread};

pub use config::Reader;
pub(super) use config::edit;

/// Where it can be. U-Boot looks for `/extlinux` and `/boot/extlinux` on each partition
/// (`doc/develop/distro.rst`); BeagleBoard's images have it on the FAT partition, and Alpine's
/// `update-extlinux` writes the last but one.
const FILES: [&str; 4] = [
    "/boot/firmware/extlinux/extlinux.conf",
    "/boot/extlinux/extlinux.conf",
    "/boot/extlinux.conf",
    "/boot/syslinux/syslinux.cfg",
];
/// What `extlinux --install` puts beside the file.
const LDLINUX: &str = "ldlinux.sys";
/// What NVIDIA's Jetson Linux says of itself: `# R36 (release), REVISION: 4.3, ...`.
const L4T_RELEASE: &str = "/etc/nv_tegra_release";
/// The first release whose boards all start with UEFI; before, they start with CBoot or U-Boot.
const FIRST_UEFI_RELEASE: u32 = 34;

pub(super) fn find(facts: &Facts, want: &BootWant) -> Fact<Option<Boot>> {
    let named: Vec<&str> = want.files.iter().map(String::as_str).collect();
    let mut found: Option<(String, Boot)> = None;
    for path in if named.is_empty() { FILES.as_slice() } else { &named } {
        let Some(source) = facts.source(path).or_absent()? else { continue };
        let Some(boot) = look(facts, want, &source)? else { continue };
        if !named.is_empty() {
            return Ok(Some(boot));
        }
        let real = facts.real_path(path)?;
        match &found {
            None => found = Some((real, boot)),
            Some((other, _)) if *other == real => {}
            Some((other, _)) => {
                let expected = format!("there is {other}, too: which one is read cannot be told");
                return Err(Unread::Malformed { path: (*path).to_owned(), line: None, expected });
            }
        }
    }
    Ok(found.map(|(_, boot)| boot))
}

/// What one file says, unless it is left over.
fn look(facts: &Facts, want: &BootWant, source: &Source) -> Fact<Option<Boot>> {
    let Some((reader, shown)) = reader(facts, want, source)? else { return Ok(None) };
    let config = config::Config::parse(reader, source.text());
    let fault = |fault: config::Fault| Unread::Malformed {
        path: source.path().to_owned(),
        line: Some(fault.line),
        expected: format!("{}: which words are passed cannot be told", fault.why),
    };
    let config = config.map_err(fault)?;
    let label = config.booted(source.text()).map_err(fault)?;
    let words = |append: &config::Append| {
        let text = source.text().get(append.range.clone()).unwrap_or_default();
        line::words(source.path(), append.line, text)
    };
    let next = match config.append(label) {
        Some(append) => words(&append),
        None if reader == Reader::Syslinux => KernelCmdline::default(),
        None => {
            let why = "the label that boots has no APPEND, so what the loader has stored is passed";
            return Err(fault(config::Fault { line: label.line, why }));
        }
    };
    let Some(seen) = traces::live(facts, want, Method::Extlinux, &next)? else { return Ok(None) };
    let unheard = config.unheard(label).flat_map(|(append, why)| {
        let words = words(append).parameters.into_iter();
        words.map(move |parameter| Unheard { parameter, why })
    });
    let place = generated::place(facts, source, reader, &next)?;
    let mut at = vec![source.at(label.line, ()).at];
    at.extend(shown.into_iter().chain(seen));
    Ok(Some(Boot {
        doubt: None,
        before: None,
        method: Method::Extlinux,
        at,
        unheard: unheard.take(line::UNHEARD).collect(),
        next,
        place,
    }))
}

/// Who reads it, and what shows that; `None` where another boot loader started what runs.
fn reader(facts: &Facts, want: &BootWant, source: &Source) -> Fact<Option<(Reader, Option<Evidence>)>> {
    let path = source.path();
    let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
    let is_efi = traces::started_by_efi(facts)?;
    let ldlinux = format!("{dir}/{LDLINUX}");
    let is_installed = facts.stat(&ldlinux).or_absent()?.is_some();
    if is_installed || path.ends_with("/syslinux.cfg") || path == "/boot/extlinux.conf" {
        let at = is_installed.then(|| Evidence::path(&ldlinux, ""));
        return Ok(Some((Reader::Syslinux, at)).filter(|_| !is_efi));
    }
    if traces::started_by_grub(facts)? {
        return Ok(None);
    }
    let is_jetson = !facts.running() && want.boards.iter().any(|board| board.starts_with("nvidia,"));
    let (shown, has_uefi) = match nvidia(facts)? {
        Some((shown, has_uefi)) => (Some(shown), has_uefi),
        None if is_jetson => (None, true),
        None => return Ok(Some((Reader::UBoot, None)).filter(|_| !is_efi)),
    };
    let reader = if is_efi || !facts.running() && has_uefi { Reader::L4tLauncher } else { Reader::UBoot };
    Ok(Some((reader, shown)))
}

/// What shows that this is a Jetson, and whether its release is one that starts with UEFI.
fn nvidia(facts: &Facts) -> Fact<Option<(Evidence, bool)>> {
    let release = facts.source(L4T_RELEASE).or_absent()?;
    let number = release.as_ref().and_then(|source| {
        let digits = source.text().trim_start().strip_prefix("# R")?;
        digits.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok()
    });
    let has_uefi = number.is_none_or(|number| number >= FIRST_UEFI_RELEASE);
    if facts.running()
        && let Some(tree) = &*facts.device_tree()?
        && let Some(of) = tree.compatible.iter().find(|name| name.value.starts_with("nvidia,"))
    {
        return Ok(Some((of.at.clone(), has_uefi)));
    }
    Ok(release.map(|source| (source.whole(()).at, has_uefi)))
}
