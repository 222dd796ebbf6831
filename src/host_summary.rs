//! What a host is, for the head of a report: nothing here is judged, and what cannot be read is null.

use serde::Serialize;

use crate::capture::identity_hash;
use crate::facts::Facts;
use crate::facts::kernel::Kernel;
use crate::facts::machine_id::MachineId;

/// What a host is.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HostSummary {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// The first 128 bits of the SHA-256 of its machine-id, in hexadecimal.
    pub machine_id_hash: Option<String>,
    /// The distribution.
    pub os: Os,
    /// The running kernel's release, or those installed in an image.
    pub kernel: Vec<String>,
    /// The architecture, as `uname -m` says it.
    pub arch: Option<String>,
    /// The hardware.
    pub hardware: Hardware,
    /// The memory.
    pub memory_bytes: Option<u64>,
    /// The number of processors.
    pub cpus: Option<u64>,
    /// The size of a page of memory.
    pub page_bytes: Option<u32>,
    /// The network that Usernetes gives the node of a host of this name.
    pub node_subnet: Option<String>,
}

/// A distribution, from `os-release(5)`.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Os {
    /// `ID`.
    pub id: Option<String>,
    /// `VERSION_ID`.
    pub version_id: Option<String>,
    /// `PRETTY_NAME`, for people; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pretty_name: Option<String>,
}

/// What DMI or the device tree say.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Hardware {
    /// The vendor.
    pub vendor: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The device tree's `compatible`, most specific first.
    pub compatible: Vec<String>,
}

impl HostSummary {
    /// The summary of a host.
    pub fn of(facts: &Facts) -> HostSummary {
        let kernels = facts.kernels().map(|kernels| kernels.to_vec()).unwrap_or_default();
        let shown = kernels.iter().filter(|kernel| kernel.running || !facts.running());
        HostSummary {
            name: facts.hostname().ok().map(|name| name.value),
            machine_id_hash: match facts.machine_id().map(|id| id.value) {
                Ok(MachineId::Valid(id)) if facts.identity_is_hashed() => Some(id),
                Ok(MachineId::Valid(id)) => Some(identity_hash(&id)),
                _ => None,
            },
            os: match facts.os_release() {
                Ok(os) => Os {
                    id: Some(os.id.clone()),
                    version_id: os.version_id.clone(),
                    pretty_name: Some(os.pretty_name.clone()),
                },
                Err(_) => Os::default(),
            },
            kernel: shown.map(|kernel| kernel.release.clone()).collect(),
            arch: facts.arch(),
            hardware: Hardware::of(facts),
            memory_bytes: facts.memory().ok().map(|memory| memory.total_bytes.value),
            cpus: facts.cpus().ok().map(|cpus| u64::from(cpus.value)),
            page_bytes: page_bytes(facts, kernels.iter().find(|kernel| kernel.running)),
            node_subnet: facts.node_subnet().ok().map(|network| network.value.to_string()),
        }
    }
}

/// The architectures whose kernels have pages of 4096 bytes and no other (`PAGE_SHIFT` in `arch/*/include`).
const SMALL_PAGES: [&str; 8] = ["x86_64", "i386", "i686", "armv6l", "armv7l", "armv8l", "riscv64", "s390x"];

fn page_bytes(facts: &Facts, kernel: Option<&Kernel>) -> Option<u32> {
    match facts.arch().as_deref() {
        Some("aarch64") => facts.arm64_page_bytes(kernel?).ok().flatten().map(|bytes| bytes.value),
        Some(arch) if SMALL_PAGES.contains(&arch) => Some(4096),
        _ => None,
    }
}

impl Hardware {
    /// The hardware of a host.
    pub fn of(facts: &Facts) -> Hardware {
        let tree = facts.device_tree().ok().and_then(|tree| (*tree).clone());
        let dmi = facts.dmi().ok().and_then(|dmi| (*dmi).clone());
        let (vendor, product) = match dmi {
            Some(dmi) => (dmi.sys_vendor.map(|v| v.value), dmi.product_name.map(|v| v.value)),
            None => (None, None),
        };
        let compatible: Vec<String> =
            tree.iter().flat_map(|tree| &tree.compatible).map(|name| name.value.clone()).collect();
        let model = tree.and_then(|tree| tree.model).map(|model| model.value);
        // "raspberrypi,4-model-b": the part before the comma is the vendor (Devicetree Specification, 2.3.1).
        let tree_vendor = compatible.first().and_then(|name| name.split_once(',')).map(|(v, _)| v.to_owned());
        Hardware { vendor: vendor.or(tree_vendor), model: product.or(model), compatible }
    }
}

impl Facts {
    /// The architecture as `uname -m` says it: of the running kernel, else of the installed programs.
    pub fn arch(&self) -> Option<String> {
        let kernel = self.kernel_machine().ok().map(|machine| machine.value);
        kernel.or_else(|| self.userland_arch().ok().map(|elf| elf.value.arch.to_owned()))
    }
}
