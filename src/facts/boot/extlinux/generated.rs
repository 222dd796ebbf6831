//! What writes an `extlinux.conf`: the words belong in what it is made from.

use super::{KernelCmdline, Reader, Source};
use crate::facts::Facts;
use crate::facts::boot::shell::Variable;
use crate::facts::boot::{Carry, Place, Syntax, line};
use crate::host::{Fact, OrAbsent};

/// How many lines at the top can say what wrote the file.
const HEADER_LINES: usize = 20;

/// u-boot-menu of Debian (`u-boot-update(8)`): each can set it anew, in this order.
const UBOOT_DEFAULT: &str = "/etc/default/u-boot";
const UBOOT_DIRS: [&str; 2] = ["/usr/share/u-boot-menu/conf.d", "/etc/u-boot-menu/conf.d"];
/// What it takes where nothing is set.
const KERNEL_CMDLINE: &str = "/etc/kernel/cmdline";
const UBOOT_PARAMETERS: Variable = Variable { name: "U_BOOT_PARAMETERS", default: "ro quiet" };
const UBOOT_UPDATE: Variable = Variable { name: "U_BOOT_UPDATE", default: "true" };

/// `update-extlinux` of Alpine (aports: `main/syslinux`).
const ALPINE_CONF: &str = "/etc/update-extlinux.conf";
const ALPINE_OPTS: Variable = Variable { name: "default_kernel_opts", default: "" };
const ALPINE_OVERWRITE: Variable = Variable { name: "overwrite", default: "" };

/// Where words are written.
pub(super) fn place(
    facts: &Facts,
    source: &Source,
    reader: Reader,
    next: &KernelCmdline,
) -> Fact<Result<Place, String>> {
    let path = source.path();
    // What generates it does not sign it.
    let signature = format!("{path}.sig");
    if facts.stat(&signature).or_absent()?.is_some() {
        return Ok(Err(format!("{path} is signed: sign it again after each change ({signature})")));
    }
    let header = header(source);
    let says = |text: &str| header.contains(text);
    if says("u-boot-update") {
        if let Some(place) = u_boot_menu(facts)? {
            return Ok(place);
        }
    } else if says("update-extlinux") {
        if let Some(place) = alpine(facts)? {
            return Ok(place);
        }
    } else if says("nixos") {
        return Ok(Err(format!("NixOS writes {path}: set boot.kernelParams")));
    } else if says("anaconda") || says("appliance-creator") {
        // Written once, by an installer.
    } else if says("generated") || says("do not edit") || says("managed by") {
        return Ok(Err(format!("{path} says that it is generated, and from what cannot be told")));
    }
    Ok(Ok(Place {
        path: path.to_owned(),
        syntax: Syntax::Extlinux(reader),
        words: next.clone(),
        carry: Vec::new(),
    }))
}

/// The comments at the top, in lower case.
fn header(source: &Source) -> String {
    let lines = source.lines().take(HEADER_LINES).map(|(_, text)| text.trim());
    let comments: Vec<&str> = lines.filter(|text| text.starts_with('#')).collect();
    comments.join("\n").to_ascii_lowercase()
}

/// `None` where u-boot-update is told not to write the file.
fn u_boot_menu(facts: &Facts) -> Fact<Option<Result<Place, String>>> {
    let mut files = vec![UBOOT_DEFAULT.to_owned()];
    for dir in UBOOT_DIRS {
        let entries = facts.list(dir).or_absent()?;
        let names = entries.iter().flat_map(|entries| entries.iter().map(|entry| entry.name.as_str()));
        let wanted = names.filter(|name| name.ends_with(".conf") && !name.starts_with('.'));
        files.extend(wanted.map(|name| format!("{dir}/{name}")));
    }
    let mut sources = Vec::new();
    for file in &files {
        sources.extend(facts.source(file).or_absent()?);
    }
    let computed = |path: &str, line: u32, name: &str| {
        Ok(Some(Err(format!("the shell puts {name} together in {path}:{line}"))))
    };
    let (mut set, mut writes) = (None, true);
    for source in &sources {
        match UBOOT_UPDATE.value(source.text()) {
            Ok(Some((_, value))) => writes = matches!(value, "" | "true"),
            Ok(None) => {}
            Err(line) => return computed(source.path(), line, UBOOT_UPDATE.name),
        }
        match UBOOT_PARAMETERS.value(source.text()) {
            Ok(Some((_, value))) => set = Some((source, value.trim().is_empty())),
            Ok(None) => {}
            Err(line) => return computed(source.path(), line, UBOOT_PARAMETERS.name),
        }
    }
    if !writes {
        return Ok(None);
    }
    let carry = vec![Carry::new(&["u-boot-update"])];
    if let Some((source, false)) = set
        && source.path().starts_with("/usr/")
    {
        let (path, dir) = (source.path(), UBOOT_DIRS[1]);
        return Ok(Some(Err(format!(
            "{path}, a package's, sets {}: set it anew in {dir}",
            UBOOT_PARAMETERS.name
        ))));
    }
    let is_empty = set.is_none_or(|(_, is_empty)| is_empty);
    if is_empty
        && let Some(source) = facts.source(KERNEL_CMDLINE).or_absent()?
        && !source.text().trim().is_empty()
    {
        if source.text().trim_end().contains('\n') {
            return Ok(Some(Err(format!("{KERNEL_CMDLINE} has more than one line"))));
        }
        let words = line::words(KERNEL_CMDLINE, 1, source.text());
        let path = KERNEL_CMDLINE.to_owned();
        return Ok(Some(Ok(Place { path, syntax: Syntax::FirstLine, words, carry })));
    }
    let own = set.map(|(source, _)| source).filter(|source| !source.path().starts_with("/usr/"));
    let Some(source) = own.or_else(|| sources.iter().find(|source| source.path() == UBOOT_DEFAULT)) else {
        let (name, default) = (UBOOT_PARAMETERS.name, UBOOT_PARAMETERS.default);
        return Ok(Some(Err(format!(
            "{UBOOT_DEFAULT} does not exist: write it, with {name}=\"{default} ...\""
        ))));
    };
    Ok(Some(variable(source, UBOOT_PARAMETERS, carry)))
}

/// `None` where update-extlinux is told not to write the file.
fn alpine(facts: &Facts) -> Fact<Option<Result<Place, String>>> {
    let Some(source) = facts.source(ALPINE_CONF).or_absent()? else { return Ok(None) };
    match ALPINE_OVERWRITE.value(source.text()) {
        Ok(Some((_, value))) if value.trim() == "1" => {}
        _ => return Ok(None),
    }
    Ok(Some(variable(&source, ALPINE_OPTS, vec![Carry::new(&["update-extlinux"])])))
}

fn variable(source: &Source, variable: Variable, carry: Vec<Carry>) -> Result<Place, String> {
    let words = variable
        .words(source)
        .map_err(|line| format!("the shell puts {} together in {}:{line}", variable.name, source.path()))?;
    Ok(Place { path: source.path().to_owned(), syntax: Syntax::Shell(variable), words, carry })
}
