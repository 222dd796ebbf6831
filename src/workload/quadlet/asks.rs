//! What Quadlet files ask of a host, in the words of all workloads.

use std::net::IpAddr;

use super::faults::{missing, own_faults, same_service};
use super::{Kind, Unit, Units, paths, ports};
use crate::facts::cgroup::Controller;
use crate::facts::version::Version;
use crate::facts::{Evidence, Source};
use crate::finding::Level;
use crate::requirements::Stack;
use crate::workload::{Ask, By, PathKind, What, drops_override};

/// Keys of a container and options of `podman run` that take a controller.
const LIMITS: [(&str, Controller); 15] = [
    ("Memory", Controller::Memory),
    ("PidsLimit", Controller::Pids),
    ("--memory", Controller::Memory),
    ("-m", Controller::Memory),
    ("--memory-reservation", Controller::Memory),
    ("--memory-swap", Controller::Memory),
    ("--pids-limit", Controller::Pids),
    ("--cpus", Controller::Cpu),
    ("--cpu-shares", Controller::Cpu),
    ("-c", Controller::Cpu),
    ("--cpu-quota", Controller::Cpu),
    ("--cpuset-cpus", Controller::Cpuset),
    ("--cpuset-mems", Controller::Cpuset),
    ("--blkio-weight", Controller::Io),
    ("--device-write-bps", Controller::Io),
];
/// Keys of `[Service]` that do (systemd.resource-control(5)).
const SERVICE_LIMITS: [(&str, Controller); 11] = [
    ("MemoryMax", Controller::Memory),
    ("MemoryHigh", Controller::Memory),
    ("MemoryLow", Controller::Memory),
    ("MemoryMin", Controller::Memory),
    ("MemorySwapMax", Controller::Memory),
    ("CPUQuota", Controller::Cpu),
    ("CPUWeight", Controller::Cpu),
    ("AllowedCPUs", Controller::Cpuset),
    ("TasksMax", Controller::Pids),
    ("IOWeight", Controller::Io),
    ("IOWriteBandwidthMax", Controller::Io),
];
/// Options by which a path is mounted read-only.
const READ_ONLY: [&str; 4] = ["ro", "readonly", "ro=true", "readonly=true"];
/// The first version that has Quadlet; stacks ask for it anyway.
const FIRST: [u64; 2] = [4, 4];

/// What these files ask, which the generator reads together. Paths that are relative or have specifiers are
/// left out, and so are templates but for what is wrong with them.
pub fn asks(sources: &[Source]) -> Vec<Ask> {
    let units = Units::new(sources.iter().filter_map(|source| Unit::read(source, [])));
    let mut asks = Vec::new();
    for unit in units.iter() {
        let mut ask = |at: &Evidence, what| {
            let (of, at, stacks) = (unit.name.as_str().into(), at.clone(), vec![Stack::PodmanKube]);
            asks.push(Ask { what, of, at, level: Level::Required, stacks });
        };
        for fault in own_faults(unit).into_iter().chain(same_service(unit, &units)) {
            match fault.until {
                None => ask(&fault.at, What::Wrong(fault.what)),
                Some(since) if since <= Version::new(&FIRST) => {}
                Some(since) => {
                    ask(&fault.at, What::Unsupported { text: fault.what, since: Some(since) });
                }
            }
        }
        for (_, name, at) in missing(unit, &units) {
            if let Some(kind) = Kind::of(&name).map(Kind::extension) {
                ask(at, What::Undefined { kind, name, optional: false });
            }
        }
        if !unit.is_template() {
            of_unit(unit, &units, &mut ask);
        }
    }
    asks
}

fn of_unit(unit: &Unit, units: &Units, ask: &mut dyn FnMut(&Evidence, What)) {
    let group = unit.kind.group();
    for (published, at) in ports(unit) {
        let Some(protocol) = published.protocol else {
            let text = "rootless Podman publishes no SCTP".to_owned();
            ask(at, What::Unsupported { text, since: None });
            continue;
        };
        let Some((from, to)) = published.ports else { continue };
        let address = published.address.filter(|address: &IpAddr| !address.is_unspecified());
        ask(at, What::HostPort { protocol, address, ports: from..=to });
    }
    for named in paths(unit).into_iter().filter(|named| named.path.starts_with('/')) {
        if named.path.contains('%') {
            continue;
        }
        let path = named.path;
        let what = match named.key {
            "AddDevice" => What::Device { path, optional: named.optional },
            "Volume" | "Mount" => {
                let mut options = named.at.text.split([':', ',']);
                let writable = !options.any(|option| READ_ONLY.contains(&option.trim()));
                What::HostPath { path, kind: PathKind::Any, writable, by: by(unit) }
            }
            _ => What::HostPath { path, kind: PathKind::File, writable: false, by: By::User },
        };
        ask(named.at, what);
    }
    for (key, controller) in SERVICE_LIMITS {
        if let Some((value, at)) = unit.last("Service", key).filter(|(value, _)| is_limit(value)) {
            ask(at, What::Limit { controller, text: format!("{key}={value}"), since: None });
        }
    }
    if unit.kind != Kind::Container {
        return;
    }
    for (key, controller) in LIMITS {
        if let Some((value, at)) = unit.own(key).filter(|(value, _)| is_limit(value)) {
            ask(at, What::Limit { controller, text: format!("{key}={value}"), since: None });
        }
    }
    let arguments = unit.words(group, "PodmanArgs");
    for (index, (argument, at)) in arguments.iter().enumerate() {
        if ["--privileged", "--privileged=true"].contains(&argument.as_str()) {
            ask(at, What::Privileged);
        }
        let (option, value) = match argument.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (argument.as_str(), arguments.get(index + 1).map(|(next, _)| next.as_str())),
        };
        let limit = LIMITS.iter().find(|(name, _)| name.starts_with('-') && *name == option);
        if let (Some((_, controller)), Some(value)) = (limit, value.filter(|value| is_limit(value))) {
            ask(at, What::Limit { controller: *controller, text: format!("{option}={value}"), since: None });
        }
    }
    let pod = unit.own("Pod").and_then(|(pod, _)| units.get(pod));
    let own_network = networks_of_host(unit).or(pod.and_then(networks_of_host)).is_none();
    let own_ipc = !arguments.iter().any(|(argument, _)| argument == "--ipc=host");
    for (sysctl, at) in unit.words(group, "Sysctl") {
        if let Some((key, value)) = sysctl.split_once('=').filter(|_| !sysctl.contains('%')) {
            let (key, value) = (key.replace('/', "."), value.to_owned());
            ask(at, What::Sysctl { key, value, own_network, own_ipc });
        }
    }
    for (secret, at) in unit.words(group, "Secret") {
        let name = secret.split(',').next().unwrap_or_default().to_owned();
        if !name.is_empty() && !name.contains('%') {
            ask(at, What::Undefined { kind: "Secret", name, optional: false });
        }
    }
}

/// Whether a value limits anything.
fn is_limit(value: &str) -> bool {
    !value.is_empty() && !["infinity", "0", "-1", "max"].contains(&value)
}

/// The line by which it is in the network namespace of the host.
fn networks_of_host(unit: &Unit) -> Option<&Evidence> {
    let networks = unit.all(unit.kind.group(), "Network");
    networks.iter().find(|(network, _)| *network == "host").map(|(_, at)| *at)
}

/// Who it is outside of a container that uses its volumes.
fn by(unit: &Unit) -> By {
    let user = unit.own("User").map(|(user, _)| user.split_once(':').unwrap_or((user, "")));
    let uid = user.map(|(user, _)| user.parse::<u32>().ok());
    let kept = unit.own("UserNS").and_then(|(mode, _)| mode.strip_prefix("keep-id"));
    match (kept, uid) {
        (Some(_), None) => By::User,
        // As which UID `keep-id` has the user, where it does not say, depends on the user.
        (Some(mode), Some(uid)) => {
            let option = |option: &str| option.strip_prefix("uid=")?.parse().ok();
            let kept_as: Option<u32> = mode.trim_start_matches(':').split(',').find_map(option);
            if uid.is_some() && uid == kept_as { By::User } else { By::Image }
        }
        (None, Some(Some(0))) if is_bound(unit) => By::Bound,
        (None, Some(Some(0))) => By::User,
        (None, Some(Some(uid))) => {
            let group = unit.own("Group").map(|(group, _)| group).or(user.map(|(_, group)| group));
            By::Subordinate { uid, gid: group.and_then(|group| group.parse().ok()) }
        }
        (None, _) => By::Image,
    }
}

fn is_bound(unit: &Unit) -> bool {
    let (dropped, added) =
        (unit.words("Container", "DropCapability"), unit.words("Container", "AddCapability"));
    drops_override(dropped.iter().map(|(name, _)| name.as_str()), added.iter().map(|(name, _)| name.as_str()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `OF LINE WHAT` of all asks.
    fn of(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> = files.iter().map(|(name, text)| Source::new(name, *text)).collect();
        let line = |ask: Ask| format!("{} {} {:?}", ask.of, ask.at.line.unwrap_or(0), ask.what);
        asks(&sources).into_iter().map(line).collect()
    }

    #[test]
    fn a_container() {
        let text = "[Container]\nImage=quay.io/a/b:1\nPublishPort=127.0.0.1:8080-8081:80-81/udp\n\
                    PublishPort=80\nVolume=/srv/web:/srv:ro\nVolume=%h/x:/x\nVolume=x:/y\nUser=101\n\
                    AddDevice=-/dev/dri:/dev/dri\nNetwork=bridge\nSysctl=net.ipv4.ip_forward=1\n\
                    PodmanArgs=--memory 64m --cpus=0.5 --privileged\nPidsLimit=100\nSecret=t,type=env\n\
                    EnvironmentFile=/etc/web.env\n\
                    Mount=type=bind,src=/srv/m,dst=/m,ro=true\nMount=type=tmpfs,dst=/t\n[Service]\nMemoryMax=1G\nTasksMax=infinity\n";
        let found = of(&[("/srv/a.container", text)]);
        let since = "since: Some(Version([4, 7]))";
        let later = format!("{{ text: \"Quadlet refuses PidsLimit= in [Container]\", {since} }}");
        assert!(found.contains(&format!("a.container 13 Unsupported {later}")), "{found:#?}");
        for line in [
            "3 HostPort { protocol: Udp, address: Some(127.0.0.1), ports: 8080..=8081 }",
            "15 HostPath { path: \"/etc/web.env\", kind: File, writable: false, by: User }",
            "9 Device { path: \"/dev/dri\", optional: true }",
            "5 HostPath { path: \"/srv/web\", kind: Any, writable: false, by: Subordinate { uid: 101, gid: None } }",
            "16 HostPath { path: \"/srv/m\", kind: Any, writable: false, by: Subordinate { uid: 101, gid: None } }",
            "19 Limit { controller: Memory, text: \"MemoryMax=1G\", since: None }",
            "13 Limit { controller: Pids, text: \"PidsLimit=100\", since: None }",
            "12 Limit { controller: Memory, text: \"--memory=64m\", since: None }",
            "12 Limit { controller: Cpu, text: \"--cpus=0.5\", since: None }",
            "12 Privileged",
            "11 Sysctl { key: \"net.ipv4.ip_forward\", value: \"1\", own_network: true, own_ipc: true }",
            "14 Undefined { kind: \"Secret\", name: \"t\", optional: false }",
        ] {
            assert!(found.contains(&format!("a.container {line}")), "{line}: {found:#?}");
        }
        let later = found.iter().filter(|line| line.contains("Unsupported")).count();
        assert_eq!(found.len(), 12 + later, "{found:#?}");
    }

    #[test]
    fn who_uses_its_volumes() {
        for (keys, by) in [
            ("", "Image"),
            ("User=0:0\n", "User"),
            ("User=0\nDropCapability=all\n", "Bound"),
            ("User=0\nDropCapability=CAP_DAC_OVERRIDE\n", "Bound"),
            ("User=0\nDropCapability=all\nAddCapability=chown dac_override\n", "User"),
            ("User=0\nDropCapability=mknod\n", "User"),
            ("User=1000:1001\n", "Subordinate { uid: 1000, gid: Some(1001) }"),
            ("User=1000\nGroup=5\n", "Subordinate { uid: 1000, gid: Some(5) }"),
            ("User=web\n", "Image"),
            ("UserNS=keep-id\n", "User"),
            ("UserNS=keep-id\nUser=101\n", "Image"),
            ("UserNS=keep-id:gid=1,uid=101\nUser=101\n", "User"),
            ("UserNS=keep-id:uid=101\nUser=0\n", "Image"),
        ] {
            let text = format!("[Container]\nImage=a\nVolume=/srv:/srv\n{keys}");
            let found = of(&[("a.container", &text)]);
            assert!(found.iter().any(|line| line.ends_with(&format!("by: {by} }}"))), "{keys}: {found:?}");
        }
    }

    #[test]
    fn files_refer_to_each_other() {
        let container = ("a.container", "[Container]\nImage=a.build\nPod=b.pod\nVolume=c.volume:/c\n");
        let found = of(&[container]);
        for (kind, name) in [("build", "a.build"), ("pod", "b.pod"), ("volume", "c.volume")] {
            let what = format!("Undefined {{ kind: {kind:?}, name: {name:?}, optional: false }}");
            assert!(found.iter().any(|line| line.ends_with(&what)), "{found:?}");
        }
        let all = [
            container,
            ("a.build", "[Build]\nImageTag=localhost/a\nFile=/srv/Containerfile\n"),
            ("b.pod", "[Pod]\nPublishPort=8080:80\n"),
            ("c.volume", "[Volume]\n"),
        ];
        let found = of(&all);
        assert!(!found.iter().any(|line| line.contains("Undefined")), "{found:?}");
        assert!(
            found.contains(
                &"b.pod 2 HostPort { protocol: Tcp, address: None, ports: 8080..=8080 }".to_owned()
            )
        );
    }

    #[test]
    fn ranges_and_sctp() {
        let ports = "PublishPort=1-65535:1-65535\n".repeat(2000);
        let found = of(&[("a.container", &format!("[Container]\nImage=a\n{ports}"))]);
        assert_eq!(found.len(), 2000, "one for each line");
        let found = of(&[("b.pod", "[Pod]\nPublishPort=132:132/sctp\n")]);
        let expected = "b.pod 2 Unsupported { text: \"rootless Podman publishes no SCTP\", since: None }";
        assert!(found.contains(&expected.to_owned()), "{found:?}");
    }

    #[test]
    fn in_the_network_of_the_host() {
        let text = "[Container]\nImage=a\nSysctl=net.ipv4.ip_forward=1\n";
        let in_pod = format!("{text}Pod=b.pod\n");
        let pod = ("b.pod", "[Pod]\nPublishPort=8080:80\nNetwork=host\n");
        let found = of(&[("a.container", &in_pod), pod]);
        assert!(found.iter().any(|line| line.contains("own_network: false")), "{found:?}");
        assert!(!found.iter().any(|line| line.contains("HostPort")), "Podman publishes none: {found:?}");
    }

    #[test]
    fn what_is_wrong() {
        let found =
            of(&[("a.kube", "[Kube]\nYml=x\n"), ("b@.container", "[Container]\nPublishPort=80:80\n")]);
        assert_eq!(found[0], "a.kube 2 Wrong(\"[Kube] has no key Yml=\")");
        assert_eq!(found[1], "a.kube 0 Wrong(\"no Yaml= in [Kube]\")");
        assert_eq!(found[2], "b@.container 0 Wrong(\"no Image= or Rootfs= in [Container]\")");
        assert_eq!(found.len(), 3);
        assert_eq!(of(&[("a.container", "Image\n")]).len(), 1);
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(
            text in "(\\[Container\\]|\\[Pod\\]|(PublishPort|Volume|PodmanArgs)=|\\PC|[\n\\\\=:/%-]){0,60}",
        ) {
            for name in ["a.container", "a.pod", "a@.kube", "x.network"] {
                asks(&[Source::new(name, text.clone())]);
            }
        }
    }
}
