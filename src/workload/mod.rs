//! What the files of a workload, Kubernetes YAML or Quadlet, ask of a host. Pure: from the text of files to
//! a list of [`Ask`]s, each with the line that it comes from; what a host makes of them is for the checks.

mod kubernetes;
pub mod quadlet;
mod quantity;
mod yaml;

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::rc::Rc;

use crate::facts::cgroup::Controller;
use crate::facts::version::Version;
use crate::facts::{Evidence, Source};
use crate::finding::Level;
use crate::requirements::{Ports, Protocol, Stack};

/// All that the files of a workload ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Its files, as they were named.
    pub files: Vec<String>,
    /// In the order of the files and their lines.
    pub asks: Vec<Ask>,
}

/// One thing that a line of a file asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What.
    pub what: What,
    /// For what: `Pod web`, `web.container`.
    pub of: Rc<str>,
    /// The file, the line and its text.
    pub at: Evidence,
    /// Required where it does not run without, advised where it runs, but not as it is written.
    pub level: Level,
    /// The stacks that this is asked of the host by; for others it is the business of their nodes.
    pub stacks: Vec<Stack>,
}

/// The most that files can ask of a host; what a report can hold.
const ASK_LIMIT: usize = 10_000;

/// What a `.kube` file among the files of a workload plays.
#[derive(Clone, Debug)]
pub struct Played {
    /// The file.
    pub kube: String,
    /// Those of its `Yaml=` that are not named themselves.
    pub yaml: Vec<Source>,
    /// Those of its `ConfigMap=`.
    pub maps: Vec<Source>,
    /// The lines of those that could not be read, and why.
    pub unseen: Vec<(Evidence, String)>,
}

impl Workload {
    /// What these files ask, each named once.
    ///
    /// # Errors
    /// [`Malformed`] where one is not what its name says.
    pub fn parse(sources: Vec<Source>) -> Result<Workload, Malformed> {
        Workload::parse_played(sources, &[])
    }

    /// What these files ask, with what the `.kube` files among them play.
    ///
    /// # Errors
    /// [`Malformed`] where one is not what its name says.
    pub fn parse_played(sources: Vec<Source>, played: &[Played]) -> Result<Workload, Malformed> {
        let files: Vec<String> = sources.iter().map(|source| source.path().to_owned()).collect();
        let is_quadlet = |source: &Source| quadlet::Kind::of(source.path()).is_some();
        let (quadlets, manifests): (Vec<Source>, Vec<Source>) = sources.into_iter().partition(is_quadlet);
        let mut asks = kubernetes::asks(&manifests)?;
        asks.extend(quadlet::asks(&quadlets));
        for played in played {
            let unit = quadlets.iter().find(|source| source.path() == played.kube);
            if let Some(unit) = unit.and_then(|source| quadlet::Unit::read(source, [])) {
                asks.extend(played.asks(&unit, &manifests)?);
            }
        }
        within_limit(&asks)?;
        let all = played.iter().flat_map(|played| &played.yaml).map(Source::path);
        let all: Vec<&str> = files.iter().map(String::as_str).chain(all).collect();
        asks.sort_by_cached_key(|ask| (all.iter().position(|file| *file == &*ask.at.path), ask.at.line));
        let clashes = clashes(&asks);
        asks.extend(clashes);
        Ok(Workload { files, asks })
    }
}

impl Played {
    fn asks(&self, unit: &quadlet::Unit, manifests: &[Source]) -> Result<Vec<Ask>, Malformed> {
        let more: Vec<Source> = self.maps.iter().chain(manifests).cloned().collect();
        let mut asks = match self.yaml.is_empty() {
            true => Vec::new(),
            false => quadlet::asks_of_played(unit, &self.yaml, &more)?,
        };
        let mut unseen = self.unseen.clone();
        if let Some(at) = quadlet::published_elsewhere(unit, &asks) {
            asks.retain(|ask| !matches!(ask.what, What::HostPort { .. }));
            let text = "whether it takes the place of a hostPort in the YAML is not looked at".to_owned();
            unseen.push((at.clone(), text));
        }
        asks.extend(unseen.into_iter().map(|(at, text)| Ask {
            what: What::Unseen(text),
            of: unit.name.as_str().into(),
            at,
            level: Level::Advised,
            stacks: vec![Stack::PodmanKube],
        }));
        Ok(asks)
    }
}

fn within_limit(asks: &[Ask]) -> Result<(), Malformed> {
    let Some(ask) = asks.get(ASK_LIMIT) else { return Ok(()) };
    let expected = format!("expected a workload that asks for no more than {ASK_LIMIT} things");
    Err(Malformed { expected, file: ask.at.path.to_string(), line: ask.at.line.unwrap_or(1) })
}

impl Workload {
    /// Without the limits that Podman leaves out, by the version that looks at them first.
    pub fn without_limits(&self, left_out: impl Fn(&Version) -> bool) -> Workload {
        let keeps = |ask: &&Ask| match &ask.what {
            What::Limit { since: Some(since), .. } => !left_out(since),
            _ => true,
        };
        Workload { files: self.files.clone(), asks: self.asks.iter().filter(keeps).cloned().collect() }
    }
}

/// What contradicts each other: the ports that more than one asks for, on the same address or where one asks for all.
pub(crate) fn clashes(asks: &[Ask]) -> Vec<Ask> {
    let mut seen: Vec<(&Ask, Protocol, Option<IpAddr>, &RangeInclusive<u16>)> = Vec::new();
    let mut clashes = Vec::new();
    for ask in asks {
        let What::HostPort { protocol, address, ports } = &ask.what else { continue };
        let meets = seen.iter().find_map(|(other, its_protocol, its_address, its_ports)| {
            let (first, last) = (*ports.start().max(its_ports.start()), *ports.end().min(its_ports.end()));
            let same = its_protocol == protocol && first <= last;
            if !same || its_address.is_some() && address.is_some() && its_address != address {
                return None;
            }
            let stacks: Vec<Stack> =
                ask.stacks.iter().copied().filter(|stack| other.stacks.contains(stack)).collect();
            let taken = Ports { protocol: *protocol, first, last, address: None };
            (!stacks.is_empty()).then_some((*other, taken, stacks))
        });
        if let Some((other, taken, stacks)) = meets {
            let what = What::Wrong(format!("{taken} is taken by {} in {}", other.of, other.at));
            let (of, at) = (ask.of.clone(), ask.at.clone());
            clashes.push(Ask { what, of, at, level: Level::Required, stacks });
        }
        seen.push((ask, *protocol, *address, ports));
    }
    clashes
}

/// A file of a workload that is not what its name says: nothing is judged then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {expected}")]
pub struct Malformed {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// What was expected there.
    pub expected: String,
}

/// Who it is outside of a container that uses a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The user, as root of the container, for whom the modes of what is mapped do not hold.
    User,
    /// The user, for whom they do: root of a container without CAP_DAC_OVERRIDE, or by `keep-id`.
    Bound,
    /// One of the user's subordinate IDs.
    Subordinate {
        /// The UID in the container, which is not 0.
        uid: u32,
        /// Its only group, as the GID in the container, where 0 is the group of the user; `None` where the
        /// image decides, or it has more than one.
        gid: Option<u32>,
    },
    /// This UID where the user has their own UID in the container (`keep-id`): the user, if it is that one.
    Kept(u32),
    /// Whoever it is, Podman gives it to them first (`:U`).
    Given,
    /// The image decides, or which UID of the host it is depends on a user namespace.
    Image,
}

/// Whether a container loses CAP_DAC_OVERRIDE, which it has as long as nobody drops it. The names are in
/// either case, with `CAP_` or without (containers/common: pkg/capabilities, `MergeCapabilities`).
fn drops_override<'a>(
    mut dropped: impl Iterator<Item = &'a str>,
    mut added: impl Iterator<Item = &'a str>,
) -> bool {
    let holds = |name: &str| {
        let name = name.to_ascii_uppercase();
        ["ALL", "DAC_OVERRIDE"].contains(&name.strip_prefix("CAP_").unwrap_or(&name))
    };
    dropped.any(holds) && !added.any(holds)
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Ports of the host.
    HostPort {
        /// Its protocol.
        protocol: Protocol,
        /// On this address only.
        address: Option<IpAddr>,
        /// The numbers; never empty, and none is 0.
        ports: RangeInclusive<u16>,
    },
    /// A limit that takes this controller; the text as it is written, `memory: 64Mi`.
    Limit {
        /// The controller.
        controller: Controller,
        /// The text.
        text: String,
        /// The version of Podman that looks at it first, where older ones leave it out.
        since: Option<Version>,
    },
    /// Memory that is kept for it, in bytes, of all replicas together.
    Memory(u64),
    /// A path of the host.
    HostPath {
        /// The absolute path.
        path: String,
        /// What has to be there.
        kind: PathKind,
        /// Whether it is written to.
        writable: bool,
        /// Who uses it.
        by: By,
    },
    /// A device node of the host.
    Device {
        /// The absolute path.
        path: String,
        /// Whether it runs without.
        optional: bool,
    },
    /// A sysctl.
    Sysctl {
        /// With dots.
        key: String,
        /// The value.
        value: String,
        /// Whether it has a network namespace of its own.
        own_network: bool,
        /// Whether it has an IPC namespace of its own.
        own_ipc: bool,
    },
    /// The network namespace of the host.
    HostNetwork,
    /// All that the user may do.
    Privileged,
    /// What no file of the workload defines: `Secret tls`, `web.network`.
    Undefined {
        /// `Secret`, `ConfigMap`, `PersistentVolumeClaim`, or the kind of a Quadlet file.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Whether it runs without.
        optional: bool,
    },
    /// What `podman kube play`, Quadlet or a stack leaves out or stops at.
    Unsupported {
        /// A clause that says what, and what becomes of it.
        text: String,
        /// The version of Podman from which on it is supported, where there is one.
        since: Option<Version>,
    },
    /// What a later Podman stops at.
    Refused {
        /// A clause that says what.
        text: String,
        /// The version of Podman that stops at it first.
        since: Version,
    },
    /// What is not known, because a file could not be read; a clause.
    Unseen(String),
    /// What contradicts itself or another line; a clause.
    Wrong(String),
}

/// What has to be at a path of the host (Kubernetes: `HostPathType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// Anything: made as a folder by Kubernetes where it is not there, and not by `podman kube play`.
    Any,
    /// A folder.
    Directory,
    /// A folder, which is made where it is not there.
    DirectoryOrCreate,
    /// A regular file.
    File,
    /// A regular file, which is made where it is not there.
    FileOrCreate,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_one_ask_and_meets_what_it_overlaps() {
        let container = "[Container]\nImage=a\nPublishPort=";
        let of = |one: &str, other: &str| {
            let file = |name: &str, port: &str| Source::new(name, format!("{container}{port}:{port}\n"));
            let asks =
                Workload::parse(vec![file("a.container", one), file("b.container", other)]).unwrap().asks;
            let wrong = asks.iter().find_map(|ask| match &ask.what {
                What::Wrong(text) => Some(format!("{}: {text}", ask.at)),
                _ => None,
            });
            (asks.iter().filter(|ask| matches!(ask.what, What::HostPort { .. })).count(), wrong)
        };
        let taken =
            |ports: &str| Some(format!("b.container:3: {ports} is taken by a.container in a.container:3"));
        assert_eq!(of("8080", "8080"), (2, taken("tcp/8080")));
        assert_eq!(of("8080", "8081"), (2, None));
        assert_eq!(of("8000-18000", "17000-27000"), (2, taken("tcp/17000-18000")));
        assert_eq!(of("9000", "8000-18000"), (2, taken("tcp/9000")));
        assert_eq!(of("8000-8999", "9000-9999"), (2, None));
    }

    #[test]
    fn limits_of_annotations_are_those_of_a_later_podman() {
        let pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  annotations:\n    \
                   io.podman.annotations.pids-limit/a: 9\nspec:\n  containers:\n    - image: a\n      \
                   resources: {limits: {cpu: 1}}\n";
        let all = Workload::parse(vec![Source::new("a.yaml", pod)]).unwrap();
        let limits = |workload: &Workload| {
            workload.asks.iter().filter(|ask| matches!(ask.what, What::Limit { .. })).count()
        };
        assert_eq!(limits(&all), 2);
        assert_eq!(limits(&all.without_limits(|since| *since > Version::new(&[5, 4]))), 1);
        assert_eq!(limits(&all.without_limits(|since| *since > Version::new(&[5, 5]))), 2);
    }
}
