//! Which kernel the firmware of a Raspberry Pi starts.

use super::board::{Boards, Truth};
use super::config_txt::Key;
use super::{Loader, config, loader, partition, path_in, prefixes};
use crate::facts::boot::BootWant;
use crate::facts::{Evidence, Facts, Sourced};
use crate::host::{Fact, OrAbsent};

/// That of a Raspberry Pi 5, which goes before the common one there (raspberrypi/documentation:
/// `computers/config_txt/boot.adoc`, "kernel").
const OF_PI_5: &str = "kernel_2712.img";
const COMMON: &str = "kernel8.img";

impl Facts {
    /// The name of the 64-bit kernel on the boot partition that a Raspberry Pi starts from an
    /// image: the one in `config.txt`, else the board's default. `None` where the profile is for
    /// something else, or where that cannot be told.
    ///
    /// # Errors
    /// Why something that tells could not be read.
    pub fn image_kernel_of_raspberry_pi(&self, want: &BootWant) -> Fact<Option<Sourced<String>>> {
        let board = Boards::of_profile(&want.boards);
        let of_pi_5 = match board.model("pi5") {
            _ if self.running() => return Ok(None),
            Some(Truth::Yes) => true,
            Some(Truth::No) => false,
            Some(Truth::Maybe) | None => return Ok(None),
        };
        let Some(dir) = partition(self, want)? else { return Ok(None) };
        let now = config(self, dir, &board, false)?;
        let has_ramdisk = now.possible(Key::BootRamdisk).iter().flatten().any(|(value, _)| value != "0");
        let prefixes = prefixes(self, dir, &now)?;
        let has_prefix = prefixes.iter().any(Option::is_some);
        if has_ramdisk || has_prefix || !matches!(loader(self, dir, &now), Ok(Loader::Linux)) {
            return Ok(None);
        }
        let is_there = |name: &str| -> Fact<Option<String>> {
            let Some(path) = path_in(dir, "", name) else { return Ok(None) };
            Ok(self.stat(&path).or_absent()?.map(|_| path))
        };
        match &now.possible(Key::Kernel)[..] {
            [Some((name, at))] => {
                Ok(is_there(name)?.map(|_| Sourced { value: name.clone(), at: at.clone() }))
            }
            [None] => {
                let names: &[&str] = if of_pi_5 { &[OF_PI_5, COMMON] } else { &[COMMON] };
                for name in names {
                    if let Some(path) = is_there(name)? {
                        return Ok(Some(Sourced {
                            value: (*name).to_owned(),
                            at: Evidence::path(&path, ""),
                        }));
                    }
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::facts::boot::{BootWant, Method};
    use crate::facts::testing::{TestHost, empty_host};

    const PI_4: &str = "raspberrypi,4-model-b";
    const PI_5: &str = "raspberrypi,5-model-b";

    fn both(config: &str) -> TestHost {
        let dir = "/boot/firmware";
        let host = empty_host().file(&format!("{dir}/config.txt"), config);
        host.file(&format!("{dir}/{}", super::OF_PI_5), "")
            .file(&format!("{dir}/{}", super::COMMON), "")
            .image()
    }

    fn starts(host: TestHost, boards: &[&str]) -> Option<(String, String)> {
        let boards = boards.iter().map(|&name| name.to_owned()).collect();
        let want = BootWant { method: Some(Method::RaspberryPi), boards, ..BootWant::default() };
        let found = host.facts().image_kernel_of_raspberry_pi(&want).unwrap();
        found.map(|found| (found.value, found.at.to_string()))
    }

    fn name(host: TestHost, boards: &[&str]) -> Option<String> {
        starts(host, boards).map(|(name, _)| name)
    }

    #[test]
    fn by_default_a_pi_5_has_its_own() {
        assert_eq!(name(both(""), &[PI_5]).as_deref(), Some("kernel_2712.img"));
        assert_eq!(name(both(""), &[PI_5, "raspberrypi,500"]).as_deref(), Some("kernel_2712.img"));
        assert_eq!(name(both(""), &[PI_4]).as_deref(), Some("kernel8.img"));
        let without = both("").without("/boot/firmware/kernel_2712.img");
        assert_eq!(name(without, &[PI_5]).as_deref(), Some("kernel8.img"));
        let without = both("").without("/boot/firmware/kernel8.img");
        assert_eq!(name(without, &[PI_4]), None);
    }

    #[test]
    fn config_txt_decides() {
        let config = "arm_64bit=1\n[pi5]\nkernel=kernel8.img\n";
        let at = "/boot/firmware/config.txt:3";
        assert_eq!(starts(both(config), &[PI_5]), Some(("kernel8.img".to_owned(), at.to_owned())));
        assert_eq!(name(both("[pi4]\nkernel=kernel8.img\n"), &[PI_5]).as_deref(), Some("kernel_2712.img"));
        assert_eq!(name(both("kernel=missing.img\n"), &[PI_5]), None);
    }

    #[test]
    fn what_cannot_be_told_is_not() {
        assert_eq!(name(both("[gpio4=1]\nkernel=kernel8.img\n"), &[PI_5]), None);
        assert_eq!(name(both("kernel=u-boot.bin\n"), &[PI_5]), None);
        assert_eq!(name(both("boot_ramdisk=1\n"), &[PI_5]), None);
        assert_eq!(name(both(""), &[PI_4, PI_5]), None);
        assert_eq!(name(both(""), &[]), None);
        assert_eq!(name(both(""), &["radxa,rock-5b"]), None);
    }
}
