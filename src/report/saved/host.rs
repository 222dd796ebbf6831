//! What a saved report is of.

use serde::Deserialize;

/// See [`HostSummary`](crate::host_summary::HostSummary).
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Host {
    /// Its name.
    pub name: Option<String>,
    /// The hash of its machine-id.
    pub machine_id_hash: Option<String>,
    /// The distribution.
    #[serde(default)]
    pub os: Os,
    /// The kernel's releases.
    #[serde(default)]
    pub kernel: Vec<String>,
    /// The architecture.
    pub arch: Option<String>,
    /// The hardware.
    #[serde(default)]
    pub hardware: Hardware,
    /// The memory.
    pub memory_bytes: Option<u64>,
    /// The number of processors.
    pub cpus: Option<u64>,
    /// The size of a page of memory.
    pub page_bytes: Option<u32>,
    /// The network of a node of Usernetes.
    pub node_subnet: Option<String>,
}

/// A distribution.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Os {
    /// `ID`.
    pub id: Option<String>,
    /// `VERSION_ID`.
    pub version_id: Option<String>,
    /// `PRETTY_NAME`.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub pretty_name: Option<String>,
}

/// The hardware.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Hardware {
    /// The vendor.
    pub vendor: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The device tree's `compatible`.
    #[serde(default)]
    pub compatible: Vec<String>,
}

/// The profile.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// `auto` or `named`.
    pub chosen: String,
    /// Why.
    pub why: String,
    /// What to know of the hardware.
    #[serde(default)]
    pub notes: Vec<String>,
    /// As who ran it named it.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub asked_for: Option<String>,
}

/// A user.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct User {
    /// The name.
    pub name: String,
    /// The UID.
    pub uid: u32,
}
