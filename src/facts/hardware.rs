//! What machine this is: the device tree on boards, DMI on PCs, and the page size the kernel runs with.

use std::rc::Rc;

use super::{Evidence, Facts, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// The first is the documented name, a link to the second; a container can hide `/proc` entries.
const DEVICE_TREE: [&str; 2] = ["/proc/device-tree", "/sys/firmware/devicetree/base"];
const DMI: &str = "/sys/class/dmi/id";
const AUXV: &str = "/proc/self/auxv";
/// The most that is read of a property or of the auxiliary vector, in bytes.
const LIMIT_BYTES: u64 = 64 << 10;
/// The key of the page size in the auxiliary vector (`getauxval(3)`).
const AT_PAGESZ: u64 = 6;
/// The pages that Linux runs with on any architecture, in bytes.
const PAGE_SIZES: std::ops::RangeInclusive<u64> = 4 << 10..=256 << 10;

/// What a device tree calls the board (Devicetree Specification, 2.3.1 and 2.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceTree {
    /// The model for people: `Raspberry Pi 4 Model B Rev 1.4`.
    pub model: Option<Sourced<String>>,
    /// What it is compatible with, most specific first: `raspberrypi,4-model-b`, `brcm,bcm2711`.
    pub compatible: Vec<Sourced<String>>,
}

/// What the firmware of a PC calls it (SMBIOS, types 1 and 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dmi {
    /// Who made the system.
    pub sys_vendor: Option<Sourced<String>>,
    /// The product.
    pub product_name: Option<Sourced<String>>,
    /// Its version; some vendors keep the marketing name here.
    pub product_version: Option<Sourced<String>>,
    /// The board in it.
    pub board_name: Option<Sourced<String>>,
}

/// An own type because facts are remembered by type.
struct PageSize(Sourced<u64>);

/// The strings of a property: each ends in NUL.
fn strings(bytes: &[u8]) -> Vec<String> {
    let parts = bytes.split(|&b| b == 0).filter(|part| !part.is_empty());
    parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// The page size in an auxiliary vector: pairs of words of the machine it was read on, which in a
/// capture may be another than ours. The right width and byte order give a power of two.
fn page_size(auxv: &[u8]) -> Option<u64> {
    let forms: [(usize, bool); 4] = [(8, false), (4, false), (8, true), (4, true)];
    forms.into_iter().find_map(|(width, big_endian)| {
        let word = |bytes: &[u8]| {
            let join = |n: u64, b: &u8| n << 8 | u64::from(*b);
            if big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) }
        };
        let mut pairs = auxv.chunks_exact(2 * width).map(|pair| (word(&pair[..width]), word(&pair[width..])));
        let (_, size) = pairs.find(|(key, _)| *key == AT_PAGESZ)?;
        (size.is_power_of_two() && PAGE_SIZES.contains(&size)).then_some(size)
    })
}

impl Facts {
    /// The device tree's names for the machine; `None` where it has no device tree.
    ///
    /// # Errors
    /// When it cannot be read, or nothing runs.
    pub fn device_tree(&self) -> Fact<Rc<Option<DeviceTree>>> {
        self.memo_fact("", || {
            self.need_running("the device tree")?;
            for root in DEVICE_TREE {
                let compatible = self.property(&format!("{root}/compatible"))?;
                let model = self.property(&format!("{root}/model"))?;
                if compatible.is_empty() && model.is_empty() {
                    continue;
                }
                return Ok(Some(DeviceTree { model: model.into_iter().next(), compatible }));
            }
            Ok(None)
        })
    }

    /// The firmware's names for the machine; `None` where it has no DMI.
    ///
    /// # Errors
    /// When it cannot be read, or nothing runs.
    pub fn dmi(&self) -> Fact<Rc<Option<Dmi>>> {
        self.memo_fact("", || {
            self.need_running("DMI")?;
            let read = |name: &str| -> Fact<Option<Sourced<String>>> {
                let source = self.source(&format!("{DMI}/{name}")).or_absent()?;
                Ok(source.and_then(|s| {
                    Some(s.text().trim()).filter(|t| !t.is_empty()).map(|t| s.whole(t.to_owned()))
                }))
            };
            let dmi = Dmi {
                sys_vendor: read("sys_vendor")?,
                product_name: read("product_name")?,
                product_version: read("product_version")?,
                board_name: read("board_name")?,
            };
            let empty = Dmi { sys_vendor: None, product_name: None, product_version: None, board_name: None };
            Ok(Some(dmi).filter(|dmi| *dmi != empty))
        })
    }

    /// The page size of the running kernel in bytes, from the auxiliary vector that it gave to
    /// edgeprep. Some arm64 kernels use 16 KiB (Raspberry Pi 5, Asahi) or 64 KiB (RHEL variants).
    ///
    /// # Errors
    /// When it cannot be read, or nothing runs.
    pub fn page_size_bytes(&self) -> Fact<Sourced<u64>> {
        let size = self.memo_fact("", || {
            self.need_running("the page size")?;
            let size = page_size(&self.bytes(AUXV, LIMIT_BYTES)?).ok_or_else(|| Unread::Malformed {
                path: AUXV.to_owned(),
                line: None,
                expected: "expected AT_PAGESZ in an auxiliary vector".to_owned(),
            })?;
            Ok(PageSize(Sourced { value: size, at: Evidence::path(AUXV, format!("AT_PAGESZ {size}")) }))
        })?;
        Ok(size.0.clone())
    }

    fn property(&self, path: &str) -> Fact<Vec<Sourced<String>>> {
        let bytes = self.bytes(path, LIMIT_BYTES).or_absent()?.unwrap_or_default();
        let sourced = |text: String| Sourced { at: Evidence::path(path, &text), value: text };
        Ok(strings(&bytes).into_iter().map(sourced).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;

    #[test]
    fn a_raspberry_pi() {
        for root in DEVICE_TREE {
            let facts = empty_host()
                .file(&format!("{root}/model"), "Raspberry Pi 4 Model B Rev 1.4\0")
                .file(&format!("{root}/compatible"), "raspberrypi,4-model-b\0brcm,bcm2711\0")
                .facts();
            let tree = facts.device_tree().unwrap();
            let tree = tree.as_ref().as_ref().unwrap();
            assert_eq!(tree.model.as_ref().map(|m| m.value.as_str()), Some("Raspberry Pi 4 Model B Rev 1.4"));
            let compatible: Vec<_> = tree.compatible.iter().map(|c| c.value.as_str()).collect();
            assert_eq!(compatible, ["raspberrypi,4-model-b", "brcm,bcm2711"]);
            assert_eq!(*facts.dmi().unwrap(), None);
        }
    }

    #[test]
    fn a_pc() {
        let facts = empty_host()
            .file(&format!("{DMI}/sys_vendor"), "QEMU\n")
            .file(&format!("{DMI}/product_name"), "Standard PC (Q35 + ICH9, 2009)\n")
            .file(&format!("{DMI}/product_version"), "\n")
            .facts();
        let dmi = facts.dmi().unwrap();
        let dmi = dmi.as_ref().as_ref().unwrap();
        assert_eq!(dmi.sys_vendor.as_ref().map(|v| v.value.as_str()), Some("QEMU"));
        assert_eq!(dmi.product_version, None);
        assert_eq!(*facts.device_tree().unwrap(), None);
        assert!(matches!(empty_host().image().facts().dmi(), Err(Unread::NotRunning { .. })));
    }

    fn words<const N: usize>(values: &[u64], bytes: impl Fn(u64) -> [u8; N]) -> Vec<u8> {
        values.iter().flat_map(|&value| bytes(value)).collect()
    }

    #[test]
    fn page_sizes_of_any_machine() {
        let vector = [33, 0x7fff_1000, 16, 0x178b_fbff, 6, 16 << 10, 17, 100, 0, 0];
        let narrow = |v: u64| u32::try_from(v).unwrap();
        assert_eq!(page_size(&words(&vector, u64::to_le_bytes)), Some(16 << 10));
        assert_eq!(page_size(&words(&vector, u64::to_be_bytes)), Some(16 << 10));
        assert_eq!(page_size(&words(&vector, |v| narrow(v).to_le_bytes())), Some(16 << 10));
        assert_eq!(page_size(&words(&vector, |v| narrow(v).to_be_bytes())), Some(16 << 10));
        assert_eq!(page_size(&words(&[6, 4097], u64::to_le_bytes)), None);
        let facts = empty_host().file(AUXV, words(&[6, 4096, 0, 0], u64::to_le_bytes)).facts();
        assert_eq!(facts.page_size_bytes().unwrap().value, 4096);
        assert!(matches!(
            empty_host().file(AUXV, "x").facts().page_size_bytes(),
            Err(Unread::Malformed { .. })
        ));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = page_size(&bytes);
            let _ = strings(&bytes);
        }
    }
}
