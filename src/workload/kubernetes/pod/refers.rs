//! What containers and volumes of a pod refer to: Secrets, ConfigMaps, claims, and keys of them.

use super::super::{CLUSTERS, Sayer};
use super::Pod;
use crate::finding::Level;
use crate::requirements::Stack;
use crate::workload::yaml::View;
use crate::workload::{Malformed, What, quantity};

/// The longest path of a field, with the name of an annotation in it (kubernetes.io, "Annotations").
const FIELD_LIMIT: usize = 400;

/// A reference to an object by name.
struct Reference<'a> {
    kind: &'static str,
    name: View<'a>,
    key: View<'a>,
    optional: bool,
    /// Whether the key is a file of a volume, which Podman passes over where there is no such key (podman:
    /// pkg/specgen/generate/kube/volume.go, `VolumeFromConfigMap` and `VolumeFromSecret`).
    is_file: bool,
}

impl<'a> Pod<'a> {
    pub(super) fn environment(&self, container: &View<'a>, say: &mut Sayer) -> Result<(), Malformed> {
        for entry in container.get("envFrom")?.items()? {
            for (key, kind) in [("configMapRef", "ConfigMap"), ("secretRef", "Secret")] {
                self.refer(kind, entry.get(key)?, "name", say)?;
            }
        }
        for entry in container.get("env")?.items()? {
            let from = entry.get("valueFrom")?;
            for (key, kind) in [("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")] {
                self.refer(kind, from.get(key)?, "name", say)?;
            }
            self.of_itself(from, say)?;
        }
        Ok(())
    }

    /// A variable from the pod itself (podman: pkg/specgen/generate/kube/kube.go, `envVarValueFieldRef` and
    /// `envVarValueResourceFieldRef`, the same from 4.3 to 6.0).
    fn of_itself(&self, from: View<'a>, say: &mut Sayer) -> Result<(), Malformed> {
        let mut stops = |view: View, at: String| {
            let text = format!("podman kube play stops at {at}");
            say.unsupported(Level::Required, view.at(), self.podman, text, None);
        };
        let field = from.get("fieldRef")?;
        if field.is_there() {
            let view = field.get("fieldPath")?;
            let path = view.up_to(FIELD_LIMIT)?.unwrap_or_default();
            let of_map = |map: &str| {
                let key = path.strip_prefix(map).and_then(|rest| rest.strip_prefix("['")?.strip_suffix("']"));
                key.is_some_and(|key| !key.is_empty())
            };
            if !["metadata.name", "metadata.uid"].contains(&path)
                && !["metadata.labels", "metadata.annotations"].into_iter().any(of_map)
            {
                stops(view, format!("a variable from the field {path:?}"));
            }
        }
        let resource = from.get("resourceFieldRef")?;
        if resource.is_there() {
            let (view, divisor) = (resource.get("resource")?, resource.get("divisor")?);
            let name = view.name()?.unwrap_or_default();
            let by = divisor.name()?.unwrap_or("1");
            match name {
                "limits.memory" | "requests.memory" if is_divisor(by, true) => {}
                "limits.cpu" | "requests.cpu" if is_divisor(by, false) => {}
                "limits.memory" | "requests.memory" | "limits.cpu" | "requests.cpu" => {
                    stops(divisor, format!("a variable from {name} in units of {by}"));
                }
                _ => stops(view, format!("a variable from the resource {name:?}")),
            }
        }
        Ok(())
    }

    pub(super) fn refer(
        &self,
        kind: &'static str,
        at: View<'a>,
        name: &'a str,
        say: &mut Sayer,
    ) -> Result<(), Malformed> {
        if !at.is_there() {
            return Ok(());
        }
        let optional = at.get("optional")?.is_true()?;
        let to = Reference { kind, name: at.get(name)?, key: at.get("key")?, optional, is_file: false };
        self.referred(&to, say)
    }

    fn referred(&self, to: &Reference<'a>, say: &mut Sayer) -> Result<(), Malformed> {
        let Some(name) = to.name.name()? else { return Err(to.name.malformed("a name")) };
        // Podman knows no namespaces.
        let by_podman = self.defined.keys(to.kind, name, None);
        let by_clusters = self.defined.keys(to.kind, name, self.namespace);
        let parts = if by_podman.len() == by_clusters.len() {
            vec![(self.all(), by_podman)]
        } else {
            vec![(self.podman.to_vec(), by_podman), (CLUSTERS.to_vec(), by_clusters)]
        };
        for (mut stacks, defined) in parts {
            if defined.is_empty() {
                // Podman makes a volume of a claim that nothing defines.
                if to.kind == "PersistentVolumeClaim" {
                    stacks.retain(|stack| CLUSTERS.contains(stack));
                }
                let what = What::Undefined { kind: to.kind, name: name.to_owned(), optional: to.optional };
                say.ask(Level::Required, to.name.at(), &stacks, what);
                continue;
            }
            let has = |key: &str| defined.iter().any(|keys| keys.contains(key));
            let Some(key) = to.key.name()?.filter(|key| !has(key) && !to.optional) else { continue };
            let text = format!("{} {name} has no key {key}", to.kind);
            if to.is_file {
                let of_podman = |stack: &Stack| self.podman.contains(stack);
                let podman: Vec<Stack> = stacks.iter().copied().filter(of_podman).collect();
                let left_out = format!("podman kube play leaves out the file of a key: {text}");
                say.unsupported(Level::Advised, to.key.at(), &podman, left_out, None);
                stacks.retain(|stack| !of_podman(stack));
            }
            say.ask(Level::Required, to.key.at(), &stacks, What::Wrong(text));
        }
        Ok(())
    }

    /// A volume whose files are keys, all of them or its `items`.
    pub(super) fn files(
        &self,
        kind: &'static str,
        at: View<'a>,
        name: &'a str,
        say: &mut Sayer,
    ) -> Result<(), Malformed> {
        let items = at.get("items")?.items()?;
        if items.is_empty() {
            return self.refer(kind, at, name, say);
        }
        let (optional, name) = (at.get("optional")?.is_true()?, at.get(name)?);
        for item in items {
            let to = Reference { kind, name, key: item.get("key")?, optional, is_file: true };
            self.referred(&to, say)?;
        }
        Ok(())
    }
}

/// Whether Podman divides by it: one of each unit (podman: `isMemoryDivisor`, `isCPUDivisor`); 0 is 1.
fn is_divisor(text: &str, of_memory: bool) -> bool {
    let power = |base: u128, most: u32, value: u128| (0..=most).any(|n| base.pow(n) * 1000 == value);
    match quantity::thousandths(text) {
        None => false,
        Some(0 | 1000) => true,
        Some(value) if of_memory && text.ends_with('i') => power(1024, 6, value),
        Some(value) if of_memory => power(1000, 6, value),
        Some(value) => value == 1,
    }
}
