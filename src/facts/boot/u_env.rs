//! `uEnv.txt` of BeagleBone images: the U-Boot of BeagleBoard.org imports it, and where it names a
//! kernel with `uname_r` passes its `cmdline` on behind words of its own (its
//! `include/configs/am335x_evm.h`, `args_mmc`).

use super::u_boot::Environment;
use super::{Boot, BootWant, Method, Place, Syntax, Unheard, armbian, line, traces};
use crate::facts::Facts;
use crate::host::{Fact, OrAbsent};

const FILE: &str = "/boot/uEnv.txt";
const KERNEL: &str = "uname_r";
const WORDS: &str = "cmdline";
const REPLACED: &str = "a later cmdline= takes its place";

pub(super) fn find(facts: &Facts, want: &BootWant) -> Fact<Option<Boot>> {
    let path = want.files.first().map_or(FILE, String::as_str);
    let Some(source) = facts.source(path).or_absent()? else { return Ok(None) };
    let environment = Environment::parse(source.text());
    let kernel = environment.last(KERNEL).filter(|kernel| !kernel.value.trim().is_empty());
    let Some(kernel) = kernel else { return Ok(None) };
    if armbian::is_other_loader(facts, want)? {
        return Ok(None);
    }
    let last = environment.last(WORDS);
    let next = last.map(|variable| line::words(path, variable.line, &variable.value)).unwrap_or_default();
    let Some(seen) = traces::live(facts, want, Method::UEnv, &next)? else { return Ok(None) };
    let unheard = environment.replaced(WORDS).flat_map(|variable| {
        let words = line::words(path, variable.line, &variable.value).parameters;
        words.into_iter().map(|parameter| Unheard { parameter, why: REPLACED })
    });
    let mut at = vec![source.at(last.unwrap_or(kernel).line, ()).at];
    at.extend(seen);
    let place = Ok(Place {
        path: path.to_owned(),
        syntax: Syntax::UBootEnvironment(WORDS),
        words: next.clone(),
        carry: Vec::new(),
    });
    Ok(Some(Boot {
        doubt: None,
        method: Method::UEnv,
        at,
        before: None,
        unheard: unheard.take(line::UNHEARD).collect(),
        next,
        place,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::boot::Edit;
    use crate::facts::testing::{TestHost, empty_host};

    /// An image of BeagleBoard.org for the BeagleBone Black, without most comments.
    const BEAGLEBONE: &str = "#Docs: http://elinux.org/Beagleboard:U-boot_partitioning_layout_2.0\n\nuname_r=4.19.94-ti-r42\n#uuid=\n#dtb=\n\n\
        ###U-Boot Overlays###\nenable_uboot_overlays=1\nenable_uboot_cape_universal=1\n\n\
        cmdline=coherent_pool=1M net.ifnames=0 lpj=1990656 rng_core.default_quality=100 quiet\n\n\
        #In the event of edid real failures, uncomment this next line:\n\
        #cmdline=coherent_pool=1M net.ifnames=0 lpj=1990656 rng_core.default_quality=100 quiet video=HDMI-A-1:1024x768@60e\n";

    fn found(host: TestHost) -> Option<Boot> {
        find(&host.facts(), &BootWant::default()).unwrap()
    }

    #[test]
    fn a_beaglebone() {
        let host = empty_host().file(FILE, BEAGLEBONE);
        let boot = found(host.clone().image()).unwrap();
        assert_eq!((boot.at[0].to_string(), boot.next.parameters.len()), (format!("{FILE}:11"), 5));
        let edited = boot.place.unwrap().syntax.edit(BEAGLEBONE, Edit::Last("cgroup_enable=memory")).unwrap();
        assert_eq!(edited, BEAGLEBONE.replace("quiet\n", "quiet cgroup_enable=memory\n"));
        let now = "console=ttyS0,115200n8 root=/dev/mmcblk1p1 ro rootfstype=ext4 rootwait coherent_pool=1M \
                   net.ifnames=0 lpj=1990656 rng_core.default_quality=100 quiet\n";
        let boot = found(host.clone().file("/proc/cmdline", now)).unwrap();
        assert_eq!(boot.at[1].text, "coherent_pool=1M");
        assert_eq!(found(host.file("/proc/cmdline", "root=/dev/vda1 ro\n")), None);
    }

    #[test]
    fn without_a_kernel_it_is_another_scheme() {
        for text in ["cmdline=a\n", "uname_r=\ncmdline=a\n", "#uname_r=5\ncmdline=a\n", "optargs=\n", ""] {
            assert_eq!(found(empty_host().file(FILE, text)), None, "{text:?}");
        }
        let boot = found(empty_host().file(FILE, "uname_r=5.10\ncmdline=a\ncmdline=b\n")).unwrap();
        assert_eq!(
            (boot.next.parameters[0].name.as_str(), boot.unheard[0].parameter.name.as_str()),
            ("b", "a")
        );
    }
}
