//! The page size of a kernel for arm64, the one architecture that distributions build for several.

use super::kernel::Kernel;
use super::{Evidence, Facts, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// `arch/arm64/Kconfig`, "Page size".
const OPTIONS: [(&str, u32); 3] =
    [("ARM64_4K_PAGES", 4096), ("ARM64_16K_PAGES", 16_384), ("ARM64_64K_PAGES", 65_536)];
/// The size of a huge page, by which the running kernel shows that of a page: a table of entries of
/// eight bytes that fills a page (`Documentation/arch/arm64/hugetlbpage.rst`).
const HUGE: &str = "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size";
const HUGE_SIZES: [(u64, u32); 3] = [(2 << 20, 4096), (32 << 20, 16_384), (512 << 20, 65_536)];

impl Facts {
    /// The page size of a kernel for arm64 in bytes, by what it was built with, else by what the running
    /// kernel shows; `None` where neither tells.
    ///
    /// # Errors
    /// Why something that tells could not be read.
    pub fn arm64_page_bytes(&self, kernel: &Kernel) -> Fact<Option<Sourced<u32>>> {
        if let Some(config) = self.kernel_config(&kernel.release).or_absent()? {
            for (option, bytes) in OPTIONS {
                if config.is_set(option) {
                    return Ok(config.get(option).map(|set| Sourced { value: bytes, at: set.at }));
                }
            }
        }
        if !kernel.running {
            return Ok(None);
        }
        let Some(huge) = self.source(HUGE).or_absent()? else { return Ok(None) };
        let size: u64 = huge.text().trim().parse().map_err(|_| Unread::Malformed {
            path: HUGE.to_owned(),
            line: Some(1),
            expected: "expected a number of bytes".to_owned(),
        })?;
        let found = HUGE_SIZES.iter().find(|(huge, _)| *huge == size);
        Ok(found.map(|&(_, bytes)| huge.whole(bytes)))
    }

    /// Where the firmware of a Raspberry Pi reads which kernel to boot, where there is a kernel with
    /// pages of 4096 bytes beside it.
    pub fn config_txt_with_kernel8(&self) -> Option<Evidence> {
        let dirs = ["/boot/firmware", "/boot"];
        let has = |dir: &&str, name: &str| self.stat(&format!("{dir}/{name}")).is_ok();
        let dir = dirs.iter().find(|dir| has(dir, "config.txt") && has(dir, "kernel8.img"))?;
        Some(Evidence::path(&format!("{dir}/config.txt"), ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host, fixture};

    fn bytes(host: TestHost) -> Fact<Option<(u32, String)>> {
        let facts = host.facts();
        let kernels = facts.counting_kernels().unwrap();
        let found = facts.arm64_page_bytes(&kernels[0])?;
        Ok(found.map(|found| (found.value, found.at.to_string())))
    }

    #[test]
    fn by_configuration() {
        let config = "/boot/config-6.12.117+deb13-arm64";
        assert_eq!(bytes(fixture("debian-13-arm64")), Ok(Some((4096, format!("{config}:449")))));
        assert_eq!(bytes(fixture("debian-13-arm64").image()), Ok(Some((4096, format!("{config}:449")))));
        let pi5 = fixture("debian-13-arm64")
            .edit(config, "CONFIG_ARM64_4K_PAGES=y", "# CONFIG_ARM64_4K_PAGES is not set")
            .edit(config, "# CONFIG_ARM64_16K_PAGES is not set", "CONFIG_ARM64_16K_PAGES=y");
        assert_eq!(bytes(pi5), Ok(Some((16_384, format!("{config}:450")))));
        assert!(bytes(fixture("debian-13-arm64").error(config, "denied")).is_err());
    }

    #[test]
    fn by_huge_pages() {
        let shown = |size: &str| {
            let host = empty_host().file("/proc/sys/kernel/osrelease", "6.12.47-v8-16k+\n");
            bytes(host.file(HUGE, format!("{size}\n")))
        };
        assert_eq!(shown("2097152"), Ok(Some((4096, format!("{HUGE}:1")))));
        assert_eq!(shown("33554432"), Ok(Some((16_384, format!("{HUGE}:1")))));
        assert_eq!(shown("536870912"), Ok(Some((65_536, format!("{HUGE}:1")))));
        assert_eq!(shown("1"), Ok(None));
        assert!(shown("many").is_err());
        assert_eq!(bytes(empty_host().file("/proc/sys/kernel/osrelease", "6.12.47\n")), Ok(None));
    }

    #[test]
    fn config_txt_is_on_the_boot_partition() {
        let pi = |dir: &str| {
            empty_host().file(&format!("{dir}/config.txt"), "").file(&format!("{dir}/kernel8.img"), "")
        };
        let found = |host: TestHost| host.facts().config_txt_with_kernel8().map(|at| at.to_string());
        assert_eq!(found(pi("/boot/firmware")).as_deref(), Some("/boot/firmware/config.txt"));
        assert_eq!(found(pi("/boot")).as_deref(), Some("/boot/config.txt"));
        assert_eq!(found(pi("/boot").without("/boot/kernel8.img")), None);
    }
}
