//! What machine this is: the device tree on boards, DMI on PCs.

use std::rc::Rc;

use super::{Evidence, Facts, Sourced};
use crate::host::{Fact, OrAbsent};

/// The first is the documented name, a link to the second; a container can hide `/proc` entries.
const DEVICE_TREE: [&str; 2] = ["/proc/device-tree", "/sys/firmware/devicetree/base"];
const DMI: &str = "/sys/class/dmi/id";
/// The most that is read of a property, in bytes.
const LIMIT_BYTES: u64 = 64 << 10;

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

/// The strings of a property: each ends in NUL.
fn strings(bytes: &[u8]) -> Vec<String> {
    let parts = bytes.split(|&b| b == 0).filter(|part| !part.is_empty());
    parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
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
    use crate::host::Unread;

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

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = strings(&bytes);
        }
    }
}
