//! Pods: what the fields of their specification ask.

mod refers;
mod who;

use std::collections::{BTreeMap, BTreeSet};

use super::super::yaml::View;
use super::super::{By, Malformed, PathKind, What, quantity};
use super::{CLUSTERS, Defined, K3S, Sayer, port, protocol};
use crate::facts::Evidence;
use crate::facts::cgroup::Controller;
use crate::facts::version::Version;
use crate::finding::Level;
use crate::requirements::Stack;

/// Annotations of Podman (podman: libpod/define/annotations.go).
const PIDS: &str = "io.podman.annotations.pids-limit/";
const CPUSET: &str = "io.podman.annotations.cpuset/";
/// A device as a resource (podman: pkg/specgen/generate/kube/kube.go, `setupContainerDevices`).
const DEVICE: &str = "podman.io/device=";

/// The longest path (path_resolution(7), `PATH_MAX`).
const PATH_LIMIT: usize = 4096;

/// A pod, or what a controller makes pods of.
pub(super) struct Pod<'a> {
    spec: View<'a>,
    annotations: View<'a>,
    containers: Vec<View<'a>>,
    first: Vec<View<'a>>,
    claims: BTreeSet<&'a str>,
    /// Podman, where it runs this.
    podman: &'static [Stack],
    copies: u64,
    namespace: Option<&'a str>,
    defined: &'a Defined<'a>,
}

impl<'a> Pod<'a> {
    pub(super) fn of(
        template: View<'a>,
        claims: View<'a>,
        podman: &'static [Stack],
        copies: u64,
        namespace: Option<&'a str>,
        defined: &'a Defined<'a>,
    ) -> Result<Pod<'a>, Malformed> {
        let spec = template.get("spec")?;
        if !spec.is_there() {
            return Err(template.malformed("a pod, with spec"));
        }
        let mut claimed = BTreeSet::new();
        for claim in claims.items()? {
            claimed.extend(claim.path(&["metadata", "name"])?.name()?);
        }
        Ok(Pod {
            spec,
            annotations: template.path(&["metadata", "annotations"])?,
            containers: spec.get("containers")?.items()?,
            first: spec.get("initContainers")?.items()?,
            claims: claimed,
            podman,
            copies,
            namespace,
            defined,
        })
    }

    /// Podman and all clusters.
    fn all(&self) -> Vec<Stack> {
        [self.podman, CLUSTERS].concat()
    }

    fn every_container(&self) -> impl Iterator<Item = &View<'a>> {
        self.containers.iter().chain(&self.first)
    }

    pub(super) fn asks(&self, say: &mut Sayer) -> Result<(), Malformed> {
        let network = self.spec.get("hostNetwork")?;
        let host_network = network.is_true()?;
        if host_network {
            say.ask(Level::Advised, network.at(), K3S, What::HostNetwork);
        }
        for container in &self.containers {
            self.ports(container, host_network, say)?;
        }
        let mut named: BTreeMap<&str, Evidence> = BTreeMap::new();
        for container in self.first.iter().chain(&self.containers) {
            let name = container.get("name")?;
            let (text, at) = (name.name()?.unwrap_or_default(), name.at());
            if let Some(first) = named.get(text) {
                let what = What::Wrong(format!("a container of the pod in {first} is called {text:?}, too"));
                say.ask(Level::Required, at, &self.all(), what);
            } else {
                named.insert(text, at);
            }
        }
        for container in &self.first {
            self.stops_at_probes(container, say)?;
        }
        for container in &self.containers {
            self.probes(container, say)?;
        }
        for container in self.every_container() {
            self.container(container, say)?;
        }
        self.annotated(say)?;
        self.memory(say)?;
        self.volumes(say)?;
        self.sysctls(host_network, say)?;
        for keys in [&["securityContext", "fsGroup"][..], &["activeDeadlineSeconds"], &["runtimeClassName"]] {
            self.left_out(self.spec.path(keys)?, &keys.join("."), say);
        }
        Ok(())
    }

    /// A field that Podman does not look at.
    fn left_out(&self, field: View, name: &str, say: &mut Sayer) {
        if field.is_there() {
            let text = format!("podman kube play leaves out {name}");
            say.unsupported(Level::Advised, field.at(), self.podman, text, None);
        }
    }

    /// With `hostNetwork` a container binds its own ports on the host. Podman publishes those of
    /// `containers` alone (podman: `getPodPorts`).
    fn ports(&self, container: &View<'a>, host_network: bool, say: &mut Sayer) -> Result<(), Malformed> {
        for entry in container.get("ports")?.items()? {
            let (host, inner) = (entry.get("hostPort")?, entry.get("containerPort")?);
            let protocol = protocol(entry.get("protocol")?)?;
            let (host_port, container_port) = (port(host)?, port(inner)?);
            let (view, number) = match (host_port, container_port) {
                (_, Some(number)) if host_network => (inner, number),
                (Some(number), _) => (host, number),
                _ => continue,
            };
            let Some(protocol) = protocol else {
                let text = "rootless Podman publishes no SCTP".to_owned();
                say.unsupported(Level::Required, view.at(), self.podman, text, None);
                continue;
            };
            let ip = entry.get("hostIP")?;
            let address = match ip.text()? {
                None | Some("" | "0.0.0.0" | "::") => None,
                Some(text) => Some(text.parse().map_err(|_| ip.malformed("an IP address"))?),
            };
            say.ask(
                Level::Required,
                view.at(),
                self.podman,
                What::HostPort { protocol, address, ports: number..=number },
            );
            if !host_network {
                let text = format!(
                    "rootless K3s does not publish hostPort {number} on the host, but ports of a Service of \
                     type LoadBalancer"
                );
                say.unsupported(Level::Advised, host.at(), K3S, text, None);
            }
        }
        Ok(())
    }

    fn container(&self, container: &View<'a>, say: &mut Sayer) -> Result<(), Malformed> {
        let image = container.get("image")?;
        if image.text()?.is_none() {
            let text = "a container has no image".to_owned();
            say.ask(Level::Required, container.at(), &self.all(), What::Wrong(text));
        }
        let privileged = container.path(&["securityContext", "privileged"])?;
        if privileged.is_true()? {
            say.ask(Level::Advised, privileged.at(), &self.all(), What::Privileged);
        }
        self.resources(container, say)?;
        self.environment(container, say)?;
        self.left_out(container.get("volumeDevices")?, "volumeDevices", say);
        Ok(())
    }

    /// Of `Probe` Podman knows three ways to ask, and passes over one without (podman:
    /// pkg/specgen/generate/kube/kube.go, `setupLivenessProbe` and `setupStartupProbe`).
    fn probes(&self, container: &View<'a>, say: &mut Sayer) -> Result<(), Malformed> {
        for keys in [&["readinessProbe"][..], &["lifecycle", "postStart"], &["lifecycle", "preStop"]] {
            self.left_out(container.path(keys)?, &keys.join("."), say);
        }
        for key in ["livenessProbe", "startupProbe"] {
            let probe = container.get(key)?;
            let asks = ["exec", "httpGet", "tcpSocket"];
            if !probe.keys()?.iter().any(|(key, view)| asks.contains(key) && view.is_there()) {
                self.left_out(probe, &format!("a {key} without exec, httpGet and tcpSocket"), say);
            }
        }
        Ok(())
    }

    /// Podman takes none of them for an init container (podman: pkg/domain/infra/abi/play.go, "cannot create
    /// an init container").
    fn stops_at_probes(&self, container: &View<'a>, say: &mut Sayer) -> Result<(), Malformed> {
        for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            let view = container.get(key)?;
            if view.is_there() {
                let text = format!("podman kube play stops at an init container with {key}");
                say.unsupported(Level::Required, view.at(), self.podman, text, None);
            }
        }
        Ok(())
    }

    fn resources(&self, container: &View<'a>, say: &mut Sayer) -> Result<(), Malformed> {
        let resources = container.get("resources")?;
        for part in ["limits", "requests"] {
            for (name, view) in resources.get(part)?.keys()? {
                if let Some(path) = name.strip_prefix(DEVICE).filter(|path| path.starts_with('/')) {
                    let what = What::Device { path: path.to_owned(), optional: false };
                    say.ask(Level::Required, view.at(), self.podman, what);
                }
                let controller = match name {
                    "cpu" => Controller::Cpu,
                    "memory" => Controller::Memory,
                    _ => continue,
                };
                let Some(text) = view.name()? else { continue };
                let Some(value) = quantity::thousandths(text) else {
                    return Err(view.malformed("a quantity, such as 500m or 64Mi"));
                };
                // Of requests Podman takes that of memory (podman: `setupContainerResources`).
                let stacks = match (part, controller) {
                    ("limits", _) => self.all(),
                    (_, Controller::Memory) => self.podman.to_vec(),
                    _ => continue,
                };
                if value > 0 {
                    let text = format!("{name}: {text}");
                    say.ask(
                        Level::Required,
                        view.at(),
                        &stacks,
                        What::Limit { controller, text, since: None },
                    );
                }
            }
        }
        Ok(())
    }

    fn annotated(&self, say: &mut Sayer) -> Result<(), Malformed> {
        for (name, view) in self.annotations.keys()? {
            let (controller, since) = match name {
                _ if name.starts_with(PIDS) => (Controller::Pids, [5, 5]),
                _ if name.starts_with(CPUSET) => (Controller::Cpuset, [5, 6]),
                _ => continue,
            };
            let text = format!("podman kube play leaves out {name}");
            say.unsupported(Level::Advised, view.at(), self.podman, text, Some(&since));
            let text = format!("{controller}: {}", view.name()?.unwrap_or_default());
            say.ask(
                Level::Required,
                view.at(),
                self.podman,
                What::Limit { controller, text, since: Some(Version::new(&since)) },
            );
        }
        Ok(())
    }

    /// What the scheduler reserves (kubernetes.io, "Init containers", "Resource sharing within containers"):
    /// a request, which is as large as the limit where only that is written.
    fn memory(&self, say: &mut Sayer) -> Result<(), Malformed> {
        let mut at = None;
        let mut of = |container: &View<'a>| -> Result<u64, Malformed> {
            for part in ["requests", "limits"] {
                let view = container.path(&["resources", part, "memory"])?;
                if let Some(bytes) = view.text()?.and_then(quantity::whole) {
                    at.get_or_insert_with(|| view.at());
                    return Ok(bytes);
                }
            }
            Ok(0)
        };
        let mut together: u64 = 0;
        for container in &self.containers {
            together = together.saturating_add(of(container)?);
        }
        let mut largest: u64 = 0;
        for container in &self.first {
            let bytes = of(container)?;
            if container.get("restartPolicy")?.text()? == Some("Always") {
                together = together.saturating_add(bytes);
            } else {
                largest = largest.max(bytes);
            }
        }
        let bytes = together.max(largest);
        if let Some(at) = at.filter(|_| bytes > 0) {
            // To Podman a request is what it takes from others last, and no reason not to start.
            say.ask(Level::Advised, at.clone(), self.podman, What::Memory(bytes));
            let all = bytes.saturating_mul(self.copies);
            if all > 0 {
                say.ask(Level::Required, at, CLUSTERS, What::Memory(all));
            }
        }
        Ok(())
    }

    fn sysctls(&self, host_network: bool, say: &mut Sayer) -> Result<(), Malformed> {
        let own_ipc = !self.spec.get("hostIPC")?.is_true()?;
        for entry in self.spec.path(&["securityContext", "sysctls"])?.items()? {
            let name = entry.get("name")?;
            let Some(key) = name.name()? else {
                return Err(entry.malformed("a sysctl, with name and value"));
            };
            let value = entry.get("value")?.up_to(PATH_LIMIT)?.unwrap_or_default().to_owned();
            let own_network = !host_network;
            // Kubernetes takes slashes, too.
            let what = What::Sysctl { key: key.replace('/', "."), value, own_network, own_ipc };
            say.ask(Level::Required, name.at(), &self.all(), what);
        }
        Ok(())
    }

    fn volumes(&self, say: &mut Sayer) -> Result<(), Malformed> {
        let mut volumes: BTreeMap<&str, View<'a>> = BTreeMap::new();
        for volume in self.spec.get("volumes")?.items()? {
            let name = volume.get("name")?;
            let Some(name) = name.name()? else { return Err(volume.malformed("a volume, with a name")) };
            volumes.insert(name, volume);
        }
        // How each is used: by whom, and whether to write.
        let mut used: BTreeMap<&str, Vec<(By, bool)>> = BTreeMap::new();
        for container in self.every_container() {
            let by = self.by(container)?;
            for mount in container.get("volumeMounts")?.items()? {
                let name = mount.get("name")?;
                let Some(text) = name.name()? else { return Err(mount.malformed("a mount, with a name")) };
                self.left_out(mount.get("subPathExpr")?, "subPathExpr", say);
                if !volumes.contains_key(text) && !self.claims.contains(text) {
                    let what = What::Wrong(format!("no volume is called {text}"));
                    say.ask(Level::Required, name.at(), &self.all(), what);
                    continue;
                }
                let use_of = (by, !mount.get("readOnly")?.is_true()?);
                let uses = used.entry(text).or_default();
                if !uses.contains(&use_of) {
                    uses.push(use_of);
                }
            }
        }
        for (name, volume) in &volumes {
            // What nobody mounts has to be there all the same.
            let uses = used.remove(name).unwrap_or_else(|| vec![(By::User, false)]);
            self.volume(*volume, &uses, say)?;
        }
        Ok(())
    }

    fn volume(&self, volume: View<'a>, uses: &[(By, bool)], say: &mut Sayer) -> Result<(), Malformed> {
        for (kind, view) in volume.keys()? {
            match kind {
                "name" | "emptyDir" => {}
                "hostPath" => self.host_path(view, uses, say)?,
                "configMap" => self.files("ConfigMap", view, "name", say)?,
                "secret" => self.files("Secret", view, "secretName", say)?,
                "persistentVolumeClaim" => self.refer("PersistentVolumeClaim", view, "claimName", say)?,
                _ => {
                    let since: Option<&[u64]> = (kind == "image").then_some(&[5, 3]);
                    let text = format!("podman kube play stops at volumes of type {kind}");
                    say.unsupported(Level::Required, view.at(), self.podman, text, since);
                }
            }
        }
        Ok(())
    }

    fn host_path(&self, view: View<'a>, uses: &[(By, bool)], say: &mut Sayer) -> Result<(), Malformed> {
        let (path, kind) = (view.get("path")?, view.get("type")?);
        let Some(text) = path.up_to(PATH_LIMIT)? else {
            return Err(view.malformed("a path of the host, with path"));
        };
        let kind = match kind.text()? {
            None | Some("") => PathKind::Any,
            Some("Directory") => PathKind::Directory,
            Some("DirectoryOrCreate") => PathKind::DirectoryOrCreate,
            Some("File") => PathKind::File,
            Some("FileOrCreate") => PathKind::FileOrCreate,
            Some("Socket") => PathKind::Socket,
            Some("CharDevice") => PathKind::CharDevice,
            Some("BlockDevice") => PathKind::BlockDevice,
            Some(_) => return Err(kind.malformed("a type of hostPath, such as DirectoryOrCreate")),
        };
        if !text.starts_with('/') {
            let what = What::Wrong(format!("hostPath {text} is no absolute path"));
            say.ask(Level::Required, path.at(), &[self.podman, K3S].concat(), what);
            return Ok(());
        }
        // containerd makes what is not there a folder (containerd: internal/cri/opts, `WithMounts`).
        let by_k3s = if kind == PathKind::Any { PathKind::DirectoryOrCreate } else { kind };
        for &(by, writable) in uses {
            let what = |kind| What::HostPath { path: text.to_owned(), kind, writable, by };
            say.ask(Level::Required, path.at(), self.podman, what(kind));
            say.ask(Level::Required, path.at(), K3S, what(by_k3s));
        }
        Ok(())
    }
}
