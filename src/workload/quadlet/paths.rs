//! The paths of the host that Quadlet files name.

use super::{Kind, Unit};
use crate::facts::Evidence;

/// Keys of `[Service]` by which it makes what it needs when it starts.
const MAKING: [&str; 5] =
    ["ExecStartPre", "ExecCondition", "StateDirectory", "CacheDirectory", "RuntimeDirectory"];

/// A path, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// The key.
    pub key: &'static str,
    /// The path; what is relative is below the directory of the file, see [`absolute`](super::absolute).
    pub path: String,
    /// The line.
    pub at: &'a Evidence,
    /// Whether it is a file that the user reads; else anything that is there will do.
    pub is_read: bool,
    /// Whether it runs without.
    pub optional: bool,
    /// How it is mounted: `ro`, `U=true`.
    pub options: Vec<String>,
}

impl Unit {
    /// Whether its service has something of its own done before it starts, which can make what is missing.
    pub fn makes_what_it_needs(&self) -> bool {
        MAKING.iter().any(|key| self.has("Service", key))
    }
}

/// The paths that a file names and that have to be there when its service starts.
pub fn paths(unit: &Unit) -> Vec<Named<'_>> {
    let group = unit.kind.group();
    let read = |key: &'static str| {
        let words = unit.words(group, key).into_iter();
        // Before 5.7 `Yaml=` is one path, whatever white space there is in it.
        let is_one =
            key == "Yaml" && unit.own(key).is_some_and(|(value, _)| value.contains(char::is_whitespace));
        words.filter(move |_| !is_one).map(move |(path, at)| Named {
            key,
            path,
            at,
            is_read: true,
            optional: false,
            options: Vec::new(),
        })
    };
    let mut found = Vec::new();
    if unit.kind == Kind::Kube {
        found.extend(read("Yaml").chain(read("ConfigMap")));
    }
    if unit.makes_what_it_needs() {
        return found;
    }
    if unit.kind == Kind::Container {
        found.extend(read("EnvironmentFile"));
        for (device, at) in unit.words(group, "AddDevice") {
            let (device, optional) = match device.strip_prefix('-') {
                Some(device) => (device, true),
                None => (device.as_str(), false),
            };
            let path = device.split(':').next().unwrap_or_default().to_owned();
            // What is no path is a name of CDI.
            if path.starts_with('/') {
                let options = Vec::new();
                found.push(Named { key: "AddDevice", path, at, is_read: false, optional, options });
            }
        }
        for (mount, at) in unit.words(group, "Mount") {
            let options = || mount.split(',').filter_map(|option| option.split_once('='));
            let is_bind = options().any(|option| option == ("type", "bind"));
            let source = options().rfind(|(key, _)| ["source", "src"].contains(key));
            if let Some((_, path)) = source.filter(|(_, path)| is_bind && path.starts_with(['/', '.', '%'])) {
                found.push(Named {
                    key: "Mount",
                    path: path.to_owned(),
                    at,
                    is_read: false,
                    optional: false,
                    options: mount.split(',').map(str::to_owned).collect(),
                });
            }
        }
    }
    for (volume, at) in unit.all(group, "Volume") {
        let source = volume.split_once(':').map(|(source, _)| source);
        if let Some(source) = source.filter(|source| source.starts_with(['/', '.', '%'])) {
            let path = source.to_owned();
            let options = volume.splitn(3, ':').nth(2).into_iter().flat_map(|options| options.split(','));
            let options = options.map(str::to_owned).collect();
            found.push(Named { key: "Volume", path, at, is_read: false, optional: false, options });
        }
    }
    found
}
