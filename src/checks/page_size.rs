//! Whether the kernel has pages of the size that images are built for: see [`PAGE_SIZE`].

use crate::checks::check;
use crate::facts::kernel::Kernel;
use crate::facts::{Facts, Sourced};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent};
use crate::requirements::{Need, Requirements};

check! {
    /// Kernel has pages of the size that images are built for
    ///
    /// ## What is looked at
    ///
    /// On arm64, the page size: `CONFIG_ARM64_4K_PAGES` and the like in the configuration of the kernel,
    /// else the size of huge pages in `/sys/kernel/mm/transparent_hugepage`, which follows from it. In an
    /// image, that of every kernel. Where they differ, that of those which the Raspberry Pi of the profile
    /// boots: `kernel=` in `config.txt`, else `kernel_2712.img` on a Raspberry Pi 5, and `kernel8.img`.
    /// Other boards decide for themselves. Kernels for other architectures have the size that all of their
    /// programs expect.
    ///
    /// ## Why it matters
    ///
    /// A Raspberry Pi 5 boots a kernel with pages of 16 KiB unless it is told otherwise, and some
    /// distributions offer one with 64 KiB. Podman, K3s and most images run on it. Images with a program
    /// that was built for 4 KiB do not: "`<jemalloc>: Unsupported system page size`", "ELF load command
    /// address/offset not page-aligned", and the container restarts forever.
    ///
    /// ## Repair
    ///
    /// On a Raspberry Pi 5, `kernel=kernel8.img` in `config.txt`, and a reboot. Elsewhere, the kernel of
    /// the distribution without `16k` or `64k` in its name. Where all images are known to run, a waiver.
    ///
    /// ## Sources
    ///
    /// - Linux: arch/arm64/Kconfig, `ARM64_16K_PAGES`; Documentation/arch/arm64/hugetlbpage.rst
    /// - raspberrypi/documentation: computers/config_txt/boot.adoc, `kernel`
    /// - static-web-server: issue 440; pgcat: issue 922
    PAGE_SIZE, "page-size", Advised, Host(run)
}

/// What images are built for.
const PAGE_BYTES: u32 = 4096;
const SUBJECT: &str = "page size";

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let demands = req.need(Need::SmallPages);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    let mut outcome = Outcome::default();
    let kernels = match facts.counting_kernels() {
        Ok(kernels) if kernels.is_empty() => return Outcome::skip("no kernel is installed in this image"),
        Ok(kernels) => kernels,
        Err(why) => {
            outcome.unknown_all(demands, SUBJECT, &why);
            return outcome;
        }
    };
    let arm64 = is_arm64(facts);
    if arm64 == Ok(false) {
        return Outcome::skip("only kernels for arm64 come with several page sizes");
    }
    let sizes: Vec<(&Kernel, Fact<Option<Sourced<u32>>>)> =
        kernels.iter().map(|kernel| (kernel, facts.arm64_page_bytes(kernel))).collect();
    // A kernel of an image that has such an option is one for arm64.
    let is_configured = !facts.running() && sizes.iter().any(|(_, size)| matches!(size, Ok(Some(_))));
    if let Some(why) = arm64.err().filter(|_| !is_configured) {
        outcome.unknown_all(demands, SUBJECT, &why);
        return outcome;
    }
    let is_small = |size: &Fact<Option<Sourced<u32>>>| matches!(size, Ok(Some(s)) if s.value == PAGE_BYTES);
    let is_large = |size: &Fact<Option<Sourced<u32>>>| matches!(size, Ok(Some(s)) if s.value != PAGE_BYTES);
    let differ = sizes.iter().any(|(_, size)| is_small(size)) && sizes.iter().any(|(_, size)| is_large(size));
    let started = if differ { facts.image_kernel_of_raspberry_pi(&req.boot).ok().flatten() } else { None };
    let is_started =
        |kernel: &Kernel| started.as_ref().is_some_and(|name| is_of(&kernel.release, &name.value));
    let is_told = kernels.iter().any(is_started);
    let board_decides = differ && !is_told;
    for (kernel, size) in sizes.iter().filter(|(kernel, _)| !is_told || is_started(kernel)) {
        let subject = format!("{SUBJECT} of Linux {}", kernel.release);
        match size {
            Ok(Some(size)) if size.value != PAGE_BYTES && board_decides => {
                let why =
                    format!("{}: {} bytes, and the board decides which kernel it boots", size.at, size.value);
                outcome.unknown_all(demands, &subject, &why);
            }
            Ok(Some(size)) => {
                let by = started.as_ref().filter(|_| is_told).map(|name| name.at.clone());
                outcome.add_all(demands, &finding(facts, kernel, subject, size).at(by));
            }
            Ok(None) => {
                outcome.unknown_all(demands, &subject, &"no file has the configuration of this kernel");
            }
            Err(why) => outcome.unknown_all(demands, &subject, why),
        }
    }
    outcome
}

/// Whether a kernel is the one that lies on the boot partition of a Raspberry Pi under this name: as
/// the packages of Raspberry Pi OS copy it by its flavour (`+rpt-rpi-v8`, `+rpt-rpi-2712`) and the
/// builds of raspberrypi/linux are named (`-v8+`, `-v8-16k+`), or as Debian names it.
fn is_of(release: &str, name: &str) -> bool {
    let release_of_16k = release.ends_with("-2712") || release.ends_with("-v8-16k+");
    let release_of_4k = release.ends_with("-v8") || release.ends_with("-v8+");
    match name {
        "kernel_2712.img" => release_of_16k,
        "kernel8.img" => release_of_4k,
        other => other.strip_prefix("vmlinuz-") == Some(release),
    }
}

/// What the running kernel says, before Linux 6.1 and in an image what programs are built for.
fn is_arm64(facts: &Facts) -> Fact<bool> {
    if facts.running()
        && let Some(machine) = facts.kernel_machine().or_absent()?
    {
        return Ok(machine.value == "aarch64");
    }
    Ok(facts.userland_arch()?.value.arch == "aarch64")
}

fn finding(facts: &Facts, kernel: &Kernel, subject: String, size: &Sourced<u32>) -> Finding {
    let verdict = Verdict::met_if(size.value == PAGE_BYTES);
    let finding =
        Finding::new(subject, format!("{PAGE_BYTES} bytes"), format!("{} bytes", size.value), verdict);
    let (sudo, root, reboot) =
        if facts.running() { ("sudo ", "", ", and reboot") } else { ("", "$ROOT", "") };
    let of_a_pi = ["2712", "v8-16k"].iter().any(|name| kernel.release.contains(name));
    let remedy = match facts.config_txt_with_kernel8().filter(|_| of_a_pi) {
        Some(config) => {
            Remedy::manual(format!("boot kernel8.img instead: kernel= in {}{reboot}", config.path)).command(
                format!("printf '[all]\\nkernel=kernel8.img\\n' | {sudo}tee -a {root}{}", config.path),
            )
        }
        None => Remedy::manual(format!("boot a kernel with pages of {PAGE_BYTES} bytes{reboot}")),
    };
    finding.at([size.at.clone()]).repair(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const CONFIG: &str = "/boot/config-6.12.117+deb13-arm64";
    const PI5: &str = "6.12.47+rpt-rpi-2712";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]))
    }

    /// The configuration of Debian 13, with pages of 16 KiB.
    fn with_16k() -> String {
        let config = fixture("debian-13-arm64").text(CONFIG);
        let config = config.replace("CONFIG_ARM64_4K_PAGES=y", "# CONFIG_ARM64_4K_PAGES is not set");
        config.replace("# CONFIG_ARM64_16K_PAGES is not set", "CONFIG_ARM64_16K_PAGES=y")
    }

    fn pi5() -> TestHost {
        fixture("debian-13-arm64")
            .file("/proc/sys/kernel/osrelease", format!("{PI5}\n"))
            .file(&format!("/usr/lib/modules/{PI5}/modules.order"), "")
            .file(&format!("/boot/config-{PI5}"), with_16k())
    }

    #[test]
    fn debian_has_small_pages() {
        let outcome = look_at(fixture("debian-13-arm64"));
        assert_eq!(verdicts(&outcome), [("page size of Linux 6.12.117+deb13-arm64", Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{CONFIG}:449"));
        assert_eq!(outcome.items[0].level, Level::Advised);
        assert_eq!(verdicts(&look_at(fixture("debian-13-arm64").image()))[0].1, Verdict::Met);
    }

    #[test]
    fn a_raspberry_pi_5_has_large_ones() {
        let boot = |host: TestHost| {
            host.file("/boot/firmware/config.txt", "").file("/boot/firmware/kernel8.img", "")
        };
        let outcome = look_at(boot(pi5()));
        let finding = findings(&outcome)[0];
        assert_eq!(
            (finding.verdict, finding.expected.as_str(), finding.found.as_str()),
            (Verdict::Unmet, "4096 bytes", "16384 bytes")
        );
        assert_eq!(finding.evidence[0].to_string(), format!("/boot/config-{PI5}:450"));
        let command = "printf '[all]\\nkernel=kernel8.img\\n' | sudo tee -a /boot/firmware/config.txt";
        assert_eq!(finding.remedy.commands, [command]);
        let without = look_at(pi5());
        assert!(findings(&without)[0].remedy.commands.is_empty());
    }

    #[test]
    fn of_an_image_with_both_the_board_decides() {
        let outcome = look_at(pi5().image());
        assert_eq!(verdicts(&outcome), [("page size of Linux 6.12.117+deb13-arm64", Verdict::Met)]);
        assert!(unknown(&outcome)[0].ends_with("the board decides which kernel it boots"));
        let only = pi5().without("/usr/lib/modules/6.12.117+deb13-arm64").image();
        assert_eq!(verdicts(&look_at(only))[0].1, Verdict::Unmet);
    }

    /// An image of Raspberry Pi OS has both kernels, and each board boots one.
    #[test]
    fn of_an_image_for_a_raspberry_pi_the_kernel_that_it_boots_counts() {
        const V8: &str = "6.12.47+rpt-rpi-v8";
        let image = |config: &str| {
            let host = pi5().without("/usr/lib/modules/6.12.117+deb13-arm64");
            let host = host
                .file(&format!("/usr/lib/modules/{V8}/modules.order"), "")
                .file(&format!("/boot/config-{V8}"), fixture("debian-13-arm64").text(CONFIG))
                .file("/boot/firmware/config.txt", config)
                .file("/boot/firmware/kernel8.img", "")
                .file("/boot/firmware/kernel_2712.img", "");
            host.image().facts()
        };
        let seen = |config: &str, board: &str| {
            let mut req = requirements(&[Stack::Podman]);
            req.boot.method = Some(crate::facts::boot::Method::RaspberryPi);
            req.boot.boards = vec![board.to_owned()];
            let outcome = run(&image(config), &req);
            let verdicts = verdicts(&outcome);
            let verdicts: Vec<_> =
                verdicts.iter().map(|(of, verdict)| ((*of).to_owned(), *verdict)).collect();
            (verdicts, unknown(&outcome).len())
        };
        let of = |release: &str, verdict| (vec![(format!("page size of Linux {release}"), verdict)], 0);
        let (pi_4, pi_5) = ("raspberrypi,4-model-b", "raspberrypi,5-model-b");
        assert_eq!(seen("", pi_5), of(PI5, Verdict::Unmet));
        assert_eq!(seen("[pi5]\nkernel=kernel8.img\n", pi_5), of(V8, Verdict::Met));
        assert_eq!(seen("[pi5]\nkernel=kernel8.img\n", pi_4), of(V8, Verdict::Met));
        assert_eq!(seen("[gpio4=1]\nkernel=kernel8.img\n", pi_5).1, 1);
        assert_eq!(seen("kernel=other.img\n", pi_5).1, 1);
    }

    #[test]
    fn what_cannot_be_told_is_unknown_and_others_are_not_asked() {
        let silent = look_at(fixture("debian-13-arm64").without(CONFIG));
        assert_eq!(unknown(&silent), ["no file has the configuration of this kernel"]);
        assert_eq!(unknown(&look_at(fixture("debian-13-arm64").error(CONFIG, "denied"))).len(), 1);
        let amd64 = look_at(fixture("debian-13"));
        assert_eq!(amd64.skipped.as_deref(), Some("only kernels for arm64 come with several page sizes"));
        assert!(run(&fixture("debian-13-arm64").facts(), &Requirements::default()).skipped.is_some());
    }
}
