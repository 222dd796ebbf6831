//! Kubernetes objects, and what they ask of a host. By stack:
//!
//! - `podman kube play` runs Pods, Deployments, DaemonSets and Jobs, publishes `hostPort`s, mounts paths of
//!   the host, and leaves out what it does not know (podman: docs/kubernetes_support.md,
//!   pkg/domain/infra/abi/play.go, pkg/specgen/generate/kube/).
//! - Rootless K3s has network namespaces of its own, and publishes the ports of load balancers only, those
//!   up to 1024 at 10000 above (k3s: pkg/rootlessports/controller.go). Paths are those of the host.
//! - The nodes of k3d, kind, minikube and Usernetes are containers: ports and paths are those of a node.

mod pod;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use super::yaml::{self, File, View};
use super::{ASK_LIMIT, Ask, Malformed, What, within_limit};
use crate::facts::version::Version;
use crate::facts::{Evidence, Source};
use crate::finding::Level;
use crate::requirements::{Protocol, Stack};
use pod::Pod;

/// Where manifests are played by Podman.
const PODMAN: &[Stack] = &[Stack::Podman, Stack::PodmanKube];
const K3S: &[Stack] = &[Stack::K3s];
/// Where manifests are given to Kubernetes.
const CLUSTERS: &[Stack] = &[Stack::K3s, Stack::K3d, Stack::Kind, Stack::Minikube, Stack::Usernetes];

/// What the objects in these files ask, in the order of their lines.
///
/// # Errors
/// [`Malformed`] where a file is no YAML, holds no object, or what matters has another type.
pub(super) fn asks(sources: &[Source]) -> Result<Vec<Ask>, Malformed> {
    let trees = sources.iter().map(yaml::documents).collect::<Result<Vec<_>, _>>()?;
    let files: Vec<File> = sources.iter().map(File::new).collect();
    let mut objects = Vec::new();
    let mut starts = Vec::new();
    for ((source, file), documents) in sources.iter().zip(&files).zip(&trees) {
        let before = objects.len();
        for document in documents {
            Object::collect(View::new(file, document), &mut objects)?;
        }
        if objects.len() == before {
            let expected = "expected a Kubernetes object, with apiVersion and kind".to_owned();
            return Err(Malformed { file: source.path().to_owned(), line: 1, expected });
        }
        starts.push(before..objects.len());
    }
    let defined = Defined::of(&objects)?;
    let mut asks = Vec::new();
    let is_played: Vec<bool> = objects.iter().map(Object::is_played).collect();
    for own in starts {
        let played = |range: Range<usize>| is_played.get(range).is_some_and(|all| all.contains(&true));
        if let Some(of) = objects.get(own.clone()).filter(|_| !played(own)) {
            Object::nothing_to_play(of, played(0..objects.len()), &mut asks)?;
        }
    }
    let mut seen: BTreeMap<(&str, &str), Evidence> = BTreeMap::new();
    for object in &objects {
        object.twice(&mut seen, &mut asks)?;
        object.asks(&defined, &mut asks)?;
        within_limit(&asks)?;
    }
    Ok(asks)
}

/// An object of a file.
struct Object<'a> {
    view: View<'a>,
    kind: &'a str,
    name: Option<&'a str>,
    namespace: Option<&'a str>,
}

impl<'a> Object<'a> {
    /// The object, or those of a list (podman takes `List` apart, and so does kubectl).
    fn collect(view: View<'a>, into: &mut Vec<Object<'a>>) -> Result<(), Malformed> {
        let kind = view.get("kind")?;
        let Some(kind) = kind.name()? else {
            return Err(view.malformed("a Kubernetes object, with apiVersion and kind"));
        };
        if kind == "List" {
            return view.get("items")?.items()?.into_iter().try_for_each(|item| Object::collect(item, into));
        }
        if view.get("apiVersion")?.text()?.is_none() {
            return Err(view.malformed("a Kubernetes object, with apiVersion and kind"));
        }
        let name = view.path(&["metadata", "name"])?.name()?;
        let namespace = view.path(&["metadata", "namespace"])?.name()?;
        into.push(Object { view, kind, name, namespace });
        Ok(())
    }

    /// Whether `podman kube play` has something to do for it, or what asks says that it has not.
    fn is_played(&self) -> bool {
        let runs = ["Pod", "Deployment", "DaemonSet", "Job", "Secret", "PersistentVolumeClaim"];
        let is_told = ["StatefulSet", "ReplicaSet", "ReplicationController", "CronJob"];
        runs.iter().chain(&is_told).any(|kind| *kind == self.kind)
    }

    /// A file of nothing that `podman kube play` plays stops it (podman: pkg/domain/infra/abi/play.go, "does not
    /// contain any supported kube kind", "not a standalone object"). From 5.7 on it is given several files at
    /// once; ConfigMaps of a file of their own it is given with `--configmap`.
    fn nothing_to_play(file: &[Object], beside: bool, into: &mut Vec<Ask>) -> Result<(), Malformed> {
        let has_maps = file.iter().any(|object| object.kind == "ConfigMap");
        let Some(first) = file.first().filter(|_| !has_maps || !beside) else { return Ok(()) };
        let text = match has_maps {
            true => "podman kube play stops at ConfigMaps that no pod is with",
            false => "podman kube play stops at a file without anything that it plays",
        };
        let (of, at) = (first.title()?, first.view.get("kind")?.at());
        let since: Option<&[u64]> = beside.then_some(&[5, 7]);
        Sayer { of, into }.unsupported(Level::Required, at, PODMAN, text.to_owned(), since);
        Ok(())
    }

    /// Podman knows no namespaces: the second pod of a name does not start.
    fn twice(
        &self,
        seen: &mut BTreeMap<(&'a str, &'a str), Evidence>,
        into: &mut Vec<Ask>,
    ) -> Result<(), Malformed> {
        let (Some(name), "Pod" | "Deployment" | "DaemonSet" | "Job") = (self.name, self.kind) else {
            return Ok(());
        };
        let at = self.view.path(&["metadata", "name"])?.at();
        if let Some(first) = seen.get(&(self.kind, name)) {
            let of = self.title()?;
            let what = What::Wrong(format!("{first} has that name, too"));
            Sayer { of, into }.ask(Level::Required, at, PODMAN, what);
        } else {
            seen.insert((self.kind, name), at);
        }
        Ok(())
    }

    /// As reports call it.
    fn title(&self) -> Result<Rc<str>, Malformed> {
        let name = match self.name {
            Some(name) => Some(name),
            None => self.view.path(&["metadata", "generateName"])?.name()?,
        };
        Ok(name.map_or_else(|| self.kind.into(), |name| format!("{} {name}", self.kind).into()))
    }

    fn asks(&self, defined: &Defined, into: &mut Vec<Ask>) -> Result<(), Malformed> {
        let of = self.title()?;
        let mut say = Sayer { of, into };
        let left_out = format!("podman kube play leaves out a {}", self.kind);
        // Where its pods are, and since when Podman runs it.
        let (template, podman): (&[&str], Podman) = match self.kind {
            "Pod" => (&[], Podman::Runs),
            "Deployment" => (&["spec", "template"], Podman::Runs),
            "DaemonSet" => (&["spec", "template"], Podman::Since(&[4, 7])),
            "Job" => (&["spec", "template"], Podman::Since(&[5, 3])),
            "StatefulSet" | "ReplicaSet" | "ReplicationController" => (&["spec", "template"], Podman::Not),
            "CronJob" => (&["spec", "jobTemplate", "spec", "template"], Podman::Not),
            "ConfigMap" | "Secret" | "PersistentVolumeClaim" => return Ok(()),
            "Service" => return self.service(&mut say),
            _ => {
                say.unsupported(Level::Advised, self.view.get("kind")?.at(), PODMAN, left_out, None);
                return Ok(());
            }
        };
        let at = self.view.get("kind")?.at();
        match podman {
            Podman::Runs => {}
            Podman::Since(version) => {
                say.unsupported(Level::Required, at.clone(), PODMAN, left_out, Some(version));
            }
            Podman::Not => say.unsupported(Level::Required, at.clone(), PODMAN, left_out, None),
        }
        if self.name.is_none() && !matches!(podman, Podman::Not) {
            let text = "podman kube play stops without metadata.name".to_owned();
            say.unsupported(Level::Required, at, PODMAN, text, None);
        }
        let copies = self.copies(podman, &mut say)?;
        let template = self.view.path(template)?;
        let runs: &[Stack] = if matches!(podman, Podman::Not) { &[] } else { PODMAN };
        let claims = self.view.path(&["spec", "volumeClaimTemplates"])?;
        Pod::of(template, claims, runs, copies, self.namespace, defined)?.asks(&mut say)
    }

    /// How many pods a cluster makes of it. Podman makes one (podman: `playKubeDeployment`).
    fn copies(&self, podman: Podman, say: &mut Sayer) -> Result<u64, Malformed> {
        let count = match self.kind {
            "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController" => {
                self.view.path(&["spec", "replicas"])?
            }
            "Job" => self.view.path(&["spec", "parallelism"])?,
            "CronJob" => self.view.path(&["spec", "jobTemplate", "spec", "parallelism"])?,
            _ => return Ok(1),
        };
        let Some(number) = count.integer()? else { return Ok(1) };
        let Ok(copies) = u64::try_from(number) else { return Err(count.malformed("a number from 0 on")) };
        if copies > 1 && !matches!(podman, Podman::Not) {
            let text = format!("of {copies} pods podman kube play starts one");
            say.unsupported(Level::Advised, count.at(), PODMAN, text, None);
        }
        Ok(copies)
    }

    fn service(&self, say: &mut Sayer) -> Result<(), Malformed> {
        let at = self.view.get("kind")?.at();
        let text = "podman kube play leaves out a Service: pods publish ports with hostPort".to_owned();
        say.unsupported(Level::Advised, at, PODMAN, text, None);
        let kind = self.view.path(&["spec", "type"])?;
        let ports = self.view.path(&["spec", "ports"])?.items()?;
        match kind.text()? {
            Some("NodePort") => {
                let text = "rootless K3s publishes no ports of nodes: LoadBalancer is what it publishes";
                say.unsupported(Level::Advised, kind.at(), K3S, text.to_owned(), None);
            }
            Some("LoadBalancer") => {
                for entry in ports {
                    let protocol = protocol(entry.get("protocol")?)?;
                    for key in ["port", "nodePort"] {
                        let view = entry.get(key)?;
                        let (Some(port), Some(protocol)) = (port(view)?, protocol) else { continue };
                        let port = if port <= 1024 { port + 10_000 } else { port };
                        let what = What::HostPort { protocol, address: None, ports: port..=port };
                        say.ask(Level::Required, view.at(), K3S, what);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether `podman kube play` runs a kind.
#[derive(Clone, Copy)]
enum Podman {
    /// Each version of interest.
    Runs,
    /// From this version on.
    Since(&'static [u64]),
    /// None.
    Not,
}

/// Adds what one object asks.
struct Sayer<'a> {
    of: Rc<str>,
    into: &'a mut Vec<Ask>,
}

impl Sayer<'_> {
    fn ask(&mut self, level: Level, at: Evidence, stacks: &[Stack], what: What) {
        // One more than the limit says that there are too many.
        if !stacks.is_empty() && self.into.len() <= ASK_LIMIT {
            self.into.push(Ask { what, of: self.of.clone(), at, level, stacks: stacks.to_vec() });
        }
    }

    fn unsupported(
        &mut self,
        level: Level,
        at: Evidence,
        stacks: &[Stack],
        text: String,
        since: Option<&[u64]>,
    ) {
        self.ask(level, at, stacks, What::Unsupported { text, since: since.map(Version::new) });
    }
}

/// A port; `None` for 0, which is as if it were not there.
fn port(view: View) -> Result<Option<u16>, Malformed> {
    match view.integer()? {
        None | Some(0) => Ok(None),
        Some(number) => match u16::try_from(number) {
            Ok(port) => Ok(Some(port)),
            Err(_) => Err(view.malformed("a port, 1 to 65535")),
        },
    }
}

/// The protocol of a port; `None` for SCTP.
fn protocol(view: View) -> Result<Option<Protocol>, Malformed> {
    match view.text()?.map(str::to_ascii_uppercase).as_deref() {
        None | Some("TCP") => Ok(Some(Protocol::Tcp)),
        Some("UDP") => Ok(Some(Protocol::Udp)),
        Some("SCTP") => Ok(None),
        Some(_) => Err(view.malformed("TCP, UDP or SCTP")),
    }
}

/// What the files define that pods refer to: the namespace and the keys of each Secret, ConfigMap and claim,
/// by kind and name.
struct Defined<'a>(BTreeMap<(&'a str, &'a str), Vec<Keys<'a>>>);

/// The namespace, and the keys.
type Keys<'a> = (Option<&'a str>, BTreeSet<&'a str>);

impl<'a> Defined<'a> {
    fn of(objects: &[Object<'a>]) -> Result<Defined<'a>, Malformed> {
        let mut defined = Defined(BTreeMap::new());
        for Object { view, kind, name, namespace } in objects {
            let (Some(name), "Secret" | "ConfigMap" | "PersistentVolumeClaim") = (*name, *kind) else {
                continue;
            };
            let mut keys = BTreeSet::new();
            if *kind != "PersistentVolumeClaim" {
                for part in ["data", "stringData", "binaryData"] {
                    keys.extend(view.get(part)?.keys()?.into_iter().map(|(key, _)| key));
                }
            }
            defined.0.entry((*kind, name)).or_default().push((*namespace, keys));
        }
        Ok(defined)
    }

    /// The keys of those of a name that a namespace can see. Which one it is where none is written, kubectl is
    /// told by its own configuration: that can be any.
    fn keys<'s>(
        &'s self,
        kind: &'s str,
        name: &'s str,
        namespace: Option<&'s str>,
    ) -> Vec<&'s BTreeSet<&'s str>> {
        let sees = |other: &Option<&str>| namespace.is_none() || other.is_none() || *other == namespace;
        let all = self.0.get(&(kind, name)).into_iter().flatten();
        all.filter(|(other, _)| sees(other)).map(|(_, keys)| keys).collect()
    }
}

#[cfg(test)]
#[path = "kubernetes_tests.rs"]
mod tests;
