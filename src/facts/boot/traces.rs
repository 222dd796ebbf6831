//! Whether what runs now was started from a file: what a boot loader left behind is not what boots.

use super::{BootWant, Method};
use crate::facts::kernel_cmdline::{KernelCmdline, Parameter};
use crate::facts::{Evidence, Facts};
use crate::host::{Fact, OrAbsent};

const EFI: &str = "/sys/firmware/efi";
/// What GRUB and SYSLINUX add, and neither U-Boot nor NVIDIA's launcher.
const BOOT_IMAGE: &str = "BOOT_IMAGE";

/// What the running kernel's command line says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Traces {
    /// It was made of it.
    Found(Evidence),
    /// It was not: the file is left over, or was changed since.
    NotFound,
    /// Nothing runs, or there is nothing to compare.
    Untold,
}

/// Whether a UEFI started what runs.
pub(super) fn started_by_efi(facts: &Facts) -> Fact<bool> {
    Ok(facts.running() && facts.stat(EFI).or_absent()?.is_some())
}

/// Whether GRUB or SYSLINUX started what runs.
pub(super) fn started_by_grub(facts: &Facts) -> Fact<bool> {
    Ok(facts.boot_parameters()?.last(BOOT_IMAGE).is_some())
}

/// What shows that this host boots with these words of a file, as far as something shows it; `None` where
/// they are left over. Where policy names the method, words that were not passed are new ones.
pub(super) fn live(
    facts: &Facts,
    want: &BootWant,
    method: Method,
    words: &KernelCmdline,
) -> Fact<Option<Vec<Evidence>>> {
    Ok(match traces(words, &*facts.boot_parameters()?) {
        Traces::Found(at) => Some(vec![at]),
        Traces::Untold => Some(Vec::new()),
        Traces::NotFound => (want.method == Some(method)).then(Vec::new),
    })
}

fn traces(words: &KernelCmdline, now: &KernelCmdline) -> Traces {
    if now.parameters.is_empty() {
        return Traces::Untold;
    }
    let plain: Vec<&Parameter> = words.parameters.iter().filter(|word| is_plain(word)).collect();
    let passed =
        |word: &Parameter| now.parameters.iter().find(|p| p.name == word.name && p.value == word.value);
    let mut roots = plain.iter().filter(|word| word.name == "root").peekable();
    if roots.peek().is_some() && now.last("root").is_some() {
        return roots.find_map(|root| passed(root)).map_or(Traces::NotFound, |p| Traces::Found(p.at.clone()));
    }
    let shared: Vec<&Parameter> = plain.iter().filter_map(|word| passed(word)).collect();
    match shared.first() {
        _ if plain.is_empty() => Traces::Untold,
        Some(first) if shared.len() * 2 >= plain.len() => Traces::Found(first.at.clone()),
        _ => Traces::NotFound,
    }
}

/// Without a variable of the boot loader.
fn is_plain(word: &Parameter) -> bool {
    !word.name.contains('$') && !word.value.as_ref().is_some_and(|value| value.contains('$'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Source;

    #[test]
    fn the_root_decides_and_else_most_words() {
        let parse = |text: &str| KernelCmdline::parse(&Source::new("/proc/cmdline", text));
        let jetson =
            "root=PARTUUID=1-2 rw rootwait console=ttyTCU0,115200 video=efifb:off bl_prof_dataptr=1@0x2";
        for (words, now, found) in [
            ("${cbootargs} root=PARTUUID=1-2 rw quiet", jetson, Some(true)),
            ("root=PARTUUID=1-3 rw rootwait console=ttyTCU0,115200", jetson, Some(false)),
            ("${cbootargs} rw rootwait quiet", jetson, Some(true)),
            ("${cbootargs} quiet splash nosmp", jetson, Some(false)),
            ("${cbootargs} root=${rootdev}", jetson, None),
            ("root=/dev/sda1 ro", "", None),
        ] {
            let told = match traces(&parse(words), &parse(now)) {
                Traces::Found(_) => Some(true),
                Traces::NotFound => Some(false),
                Traces::Untold => None,
            };
            assert_eq!(told, found, "{words:?} {now:?}");
        }
    }
}
