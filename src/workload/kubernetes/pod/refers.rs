//! What containers and volumes of a pod refer to: Secrets, ConfigMaps, claims, and keys of them.

use super::super::{CLUSTERS, Sayer};
use super::Pod;
use crate::finding::Level;
use crate::workload::yaml::View;
use crate::workload::{Malformed, What};

/// A reference to an object by name.
struct Reference<'a> {
    kind: &'static str,
    name: View<'a>,
    key: View<'a>,
    optional: bool,
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
        self.referred(&Reference { kind, name: at.get(name)?, key: at.get("key")?, optional }, say)
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
            if let Some(key) = to.key.name()?.filter(|key| !has(key) && !to.optional) {
                let text = format!("{} {name} has no key {key}", to.kind);
                say.ask(Level::Required, to.key.at(), &stacks, What::Wrong(text));
            }
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
            self.referred(&Reference { kind, name, key: item.get("key")?, optional }, say)?;
        }
        Ok(())
    }
}
