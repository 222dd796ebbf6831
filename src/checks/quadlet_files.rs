//! Whether a user's Quadlet files become services that can start: see [`QUADLET_FILES`].

use std::collections::BTreeMap;

use crate::checks::workload_manifests::WORKLOAD_MANIFESTS;
use crate::checks::workload_paths::WORKLOAD_PATHS;
use crate::checks::workload_privileges::WORKLOAD_PRIVILEGES;
use crate::checks::{Run, check, of_podman};
use crate::facts::listeners::Listener;
use crate::facts::podman::Podman;
use crate::facts::quadlets::Quadlet;
use crate::facts::sysctl::FIRST_PORT;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, Source, listeners};
use crate::finding::{Answer, Finding, Item, Level, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent};
use crate::requirements::{Demand, Need, Protocol, Requirements, Stack};
use crate::settings::quoted;
use crate::workload::quadlet::{
    Fault, Kind, Named, Published, Unit, Units, WANTED, absolute, asks_of_played, expand, faults, paths,
    place, played, ports, published_elsewhere,
};
use crate::workload::{Ask, What, clashes};

check! {
    /// Quadlet files become services that can start
    ///
    /// ## What is looked at
    ///
    /// The Quadlet files of the user, in the directories that container-units names, with their drop-ins;
    /// of several with one name the first. Of each the first fault is told: a line that Podman cannot
    /// read; a kind or a key that this version of Podman does not have; what a kind cannot do without,
    /// such as `Image=` or `Yaml=`; another Quadlet file that it names and that is not there; `Type=` and
    /// `KillMode=` in `[Service]` that the generator refuses; `PublishPort=` of a container in a pod; a
    /// port or a service that another file has, too. And of the host: the files of `Yaml=`, `ConfigMap=`
    /// and `EnvironmentFile=`, which the user has to be able to read; paths of `Volume=`, `AddDevice=` and
    /// bind mounts; ports below `ip_unprivileged_port_start` or in use by somebody else; secrets. Of the
    /// YAML that a `.kube` file plays, with its ConfigMaps: ports, host paths and devices, Secrets and
    /// ConfigMaps that nothing defines, sysctls, and what this version of Podman leaves out or stops at;
    /// not its limits and its memory, nor whether another file has one of its ports: name it with
    /// `--workload` for those. What of it cannot be read is unknown.
    /// At last, whether anything starts it at boot, unless the user has units in
    /// `~/.config/systemd/user`, which can: units in `[Install]` have to be the user manager's,
    /// which has no `multi-user.target`.
    ///
    /// Paths below `/run` and `/tmp`, and those with specifiers that only systemd knows, are not looked
    /// at, nor is what a command of `ExecStartPre=` can make. A capture holds the keys alone.
    ///
    /// ## Why it matters
    ///
    /// The generator leaves a file with a fault out, and says so in the journal only: "Unit web.service not
    /// found". What it does not see, Podman stops at when the service starts. The services of other files
    /// start all the same, which is why this is advised. But a line that Podman cannot read takes all
    /// files of its folder along, which is why that is required.
    ///
    /// ## Repair
    ///
    /// The line is corrected, then the user manager is told to reload. What the generator makes of all
    /// files shows `/usr/libexec/podman/quadlet -dryrun -user`.
    ///
    /// ## Sources
    ///
    /// - podman-systemd.unit(5)
    /// - podman: pkg/systemd/quadlet/quadlet.go and unitdirs.go, pkg/systemd/parser/unitfile.go,
    ///   cmd/quadlet/main.go, in each minor version from 4.4 to 6.0
    /// - podman: pkg/specgen/container_validate.go, "must be defined when the pod is created"
    QUADLET_FILES, "quadlet-files", Required, User(run)
}

/// More than anybody writes, with drop-ins, which count for each file that they are of.
const MOST_LINES: usize = 1 << 16;
/// More YAML than anybody plays, of all files together and each time that it is named.
const MOST_PLAYED_BYTES: usize = 1 << 20;
const EXPECTED: &str = "a service that can start";
/// Places that are made when the host or the user's services start.
const VOLATILE: [&str; 5] = ["/run/", "/tmp/", "/var/tmp/", "/proc/", "/sys/"];
/// What a user manager reaches by itself, the last at a graphical login (systemd.special(7), "Units managed
/// by the user service manager").
const REACHED: [&str; 6] = [
    "default.target",
    "basic.target",
    "paths.target",
    "sockets.target",
    "timers.target",
    "graphical-session.target",
];
/// Units of the same name that start a service.
const STARTERS: [&str; 3] = ["timer", "socket", "path"];

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::QuadletFiles);
    let outcome =
        of_podman(facts, user, demands, |podman, outcome| look(facts, podman, user, demands, outcome));
    outcome.or_skip("this user has no Quadlet files")
}

fn look(facts: &Facts, podman: &Podman, user: &User, demands: &[Demand], outcome: &mut Outcome) -> Fact<()> {
    let mut read = Vec::new();
    let mut doubts = BTreeMap::new();
    let (mut lines, mut played_bytes) = (0, 0);
    let found = facts.quadlets(user)?;
    for Quadlet { path, source, shadowed_by, .. } in &found {
        if shadowed_by.is_some() {
            continue;
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        let drop_ins = facts.quadlet_drop_ins(user, name);
        let both = source.as_ref().and_then(|source| Ok((source, drop_ins.as_ref()?)));
        let both = both.map_err(ToString::to_string).and_then(|(source, drop_ins)| {
            let drop_ins = drop_ins.iter().map(|source| &**source);
            let all = std::iter::once(&**source).chain(drop_ins.clone());
            lines += all.map(|source| source.lines().count()).sum::<usize>();
            match lines > MOST_LINES {
                true => Err(format!("Quadlet files of more than {MOST_LINES} lines are not looked at")),
                false => Ok(Unit::read(source, drop_ins)),
            }
        });
        // Others can refer to what cannot be read.
        read.extend(both.unwrap_or_else(|why| {
            doubts.insert(name, why);
            Unit::read(&Source::new(path, ""), [])
        }));
    }
    let units = Units::new(read);
    for unit in units.iter() {
        let looked = match doubts.remove(unit.name.as_str()) {
            Some(why) => Err(why),
            None => judge(facts, podman, user, unit, &units, &mut played_bytes),
        };
        let why = "Podman passes over all files of a folder with one that it cannot read".to_owned();
        let raise = |demand: &Demand| Demand { level: Level::Required, why: why.clone(), ..demand.clone() };
        let raised: Vec<Demand> = demands.iter().filter(|_| unit.is_refused()).map(raise).collect();
        let demands = if raised.is_empty() { demands } else { &raised };
        outcome.looked(demands, &unit.path, Ok(looked));
    }
    Ok(())
}

/// The finding, or why there is none.
fn judge(
    facts: &Facts,
    podman: &Podman,
    user: &User,
    unit: &Unit,
    units: &Units,
    played_bytes: &mut usize,
) -> Result<Finding, String> {
    let known = podman.version.as_ref().ok();
    let mut doubt = None;
    for mut fault in faults(unit, units) {
        let (limit, is_later_fault) = match (fault.until.clone(), fault.since.clone()) {
            (None, None) => return Ok(unmet(facts, user, unit, &fault, None)),
            (Some(until), _) => (until, false),
            (None, Some(since)) => (since, true),
        };
        fault.what = match is_later_fault {
            true => format!("{}, which Podman {limit} and later refuse", fault.what),
            false => format!("{} before Podman {limit}", fault.what),
        };
        let is_later = known.and_then(|known| known.value.is_at_least(&limit));
        match is_later.map(|is_later| is_later == is_later_fault) {
            Some(false) => {}
            Some(true) => return Ok(unmet(facts, user, unit, &fault, Some(podman.evidence()))),
            None => {
                doubt.get_or_insert_with(|| format!("{}; {}", fault.what, podman.unknown()));
            }
        }
    }
    if unit.is_left_out() {
        return Err(doubt.unwrap_or_else(|| "the capture leaves out what it says".to_owned()));
    }
    for look in [of_paths, of_ports, of_secrets] {
        match look(facts, user, unit) {
            Ok(None) => {}
            Ok(Some(fault)) => return Ok(unmet(facts, user, unit, &fault, None)),
            Err(why) => {
                doubt.get_or_insert(why.to_string());
            }
        }
    }
    match of_played(facts, user, unit, played_bytes) {
        Ok(None) => {}
        Ok(Some(fault)) => return Ok(unmet(facts, user, unit, &fault, None)),
        Err(why) => {
            doubt.get_or_insert(why);
        }
    }
    match doubt {
        Some(doubt) => Err(doubt),
        None => match of_boot(facts, user, unit, units) {
            Ok(Some(fault)) => {
                let finding = unmet(facts, user, unit, &fault, None);
                Ok(Finding { expected: "started at boot".to_owned(), ..finding })
            }
            Ok(None) => Ok(Finding::new(&unit.path, EXPECTED, EXPECTED, Verdict::Met)
                .at([Evidence::path(&unit.path, "")])),
            Err(why) => Err(why.to_string()),
        },
    }
}

fn unmet(facts: &Facts, user: &User, unit: &Unit, fault: &Fault, beside: Option<Evidence>) -> Finding {
    let remedy = Remedy::manual(&fault.repair);
    let remedy = match facts.running() {
        true => remedy.command(format!("sudo systemctl --user -M {}@ daemon-reload", quoted(&user.name))),
        false => remedy,
    };
    Finding::new(&unit.path, EXPECTED, &fault.what, Verdict::Unmet)
        .at([fault.at.clone()])
        .at(beside)
        .repair(remedy)
}

fn of_paths(facts: &Facts, user: &User, unit: &Unit) -> Fact<Option<Fault>> {
    for Named { key, path: written, at, is_read, optional, .. } in paths(unit) {
        if optional {
            continue;
        }
        let Some(path) = expand(&absolute(&written, &unit.path), &unit.service(), user) else { continue };
        if !path.starts_with('/') || VOLATILE.iter().any(|volatile| path.starts_with(volatile)) {
            continue;
        }
        // Devices of an image are made when it boots.
        if path.starts_with("/dev/") && !facts.running() {
            continue;
        }
        let what = match facts.stat(&path).or_absent()? {
            None if written.starts_with('-') => format!("{key}={written}, where Podman has no leading \"-\""),
            None if path.ends_with(&written) => format!("{key}={written}, which does not exist"),
            None => format!("{key}={written}, and {path} does not exist"),
            Some(stat) if is_read && !stat.allows(user.uid, &user.groups, 4) => {
                format!("{key}={written}, which {} cannot read", user.name)
            }
            Some(_) => continue,
        };
        let repair = format!("put it there for {}, or correct {}", user.name, place(at));
        return Ok(Some(Fault::new(at, what, repair)));
    }
    Ok(None)
}

/// The first port that the user may bind.
fn first_port(facts: &Facts) -> Fact<u16> {
    let value = match facts.running() {
        true => Some(facts.sysctl(FIRST_PORT.0)?.value),
        false => facts.sysctl_configured(FIRST_PORT.0)?.map(|configured| configured.value),
    };
    Ok(value.and_then(|value| value.trim().parse().ok()).unwrap_or(FIRST_PORT.1))
}

fn of_ports(facts: &Facts, user: &User, unit: &Unit) -> Fact<Option<Fault>> {
    if unit.is_template() { Ok(None) } else { of_published(facts, user, ports(unit)) }
}

fn of_published(facts: &Facts, user: &User, published: Vec<(Published, &Evidence)>) -> Fact<Option<Fault>> {
    if published.is_empty() {
        return Ok(None);
    }
    let first = first_port(facts)?;
    let listeners = if facts.running() { Some(facts.listeners()?) } else { None };
    for (port, at) in published {
        let Some(protocol) = port.protocol else {
            let repair = format!("publish TCP or UDP in {}", place(at));
            return Ok(Some(Fault::new(at, "publishes SCTP, which rootless Podman does not", repair)));
        };
        let Some((from, to)) = port.ports else { continue };
        if from < first {
            let what = format!("publishes port {from}, and users may bind ports from {first} on");
            let repair =
                format!("publish a port from {first} on in {}, or lower {}", place(at), FIRST_PORT.0);
            return Ok(Some(Fault::new(at, what, repair)));
        }
        let is = match protocol {
            Protocol::Tcp => listeners::Protocol::Tcp,
            Protocol::Udp => listeners::Protocol::Udp,
        };
        let holder = listeners.iter().flat_map(|all| all.iter()).find(|listener| {
            listener.protocol == is
                && (from..=to).contains(&listener.port)
                && listener.uid != user.uid
                && listener.holds(port.address)
        });
        if let Some(Listener { port, uid, address, .. }) = holder {
            let name = facts.user_by_uid(*uid).ok().flatten();
            let name = name.map_or_else(|| format!("UID {uid}"), |user| user.name);
            let what = format!("publishes port {port}, which {name} uses on {address}");
            let repair = format!("publish another port in {}, or stop what listens", place(at));
            return Ok(Some(Fault::new(at, what, repair)));
        }
    }
    Ok(None)
}

/// What the YAML of a `.kube` file asks, as `--workload` judges it.
fn of_played(facts: &Facts, user: &User, unit: &Unit, bytes: &mut usize) -> Result<Option<Fault>, String> {
    if unit.kind != Kind::Kube || unit.is_template() {
        return Ok(None);
    }
    let (mut yaml, mut more) = (Vec::new(), Vec::new());
    for Named { key, path: written, .. } in played(unit) {
        let unseen = |why: &str| {
            let name = written.rsplit('/').next().unwrap_or_default();
            format!("what {name} asks is not looked at, {why}: name it with --workload")
        };
        let path = expand(&absolute(&written, &unit.path), &unit.service(), user);
        let path = path.ok_or_else(|| unseen("its path is not known"))?;
        let source = facts.quadlet_yaml(&path, user).map_err(|why| unseen(&why.to_string()))?;
        *bytes += source.text().len();
        if *bytes > MOST_PLAYED_BYTES {
            return Err(unseen(&format!("as all YAML past {MOST_PLAYED_BYTES} bytes")));
        }
        if key == "Yaml" { &mut yaml } else { &mut more }.push((*source).clone());
    }
    if yaml.is_empty() {
        return Err("what Yaml= asks is not looked at: name the file with --workload".to_owned());
    }
    let mut asks = asks_of_played(unit, &yaml, &more).map_err(|why| format!("not Kubernetes YAML: {why}"))?;
    asks.extend(clashes(&asks));
    let elsewhere = published_elsewhere(unit, &asks);
    let published = asks.iter().filter(|_| elsewhere.is_none()).filter_map(|ask| match &ask.what {
        What::HostPort { protocol, address, ports } => {
            let ports = Some((*ports.start(), *ports.end()));
            Some((Published { protocol: Some(*protocol), address: *address, ports }, &ask.at))
        }
        _ => None,
    });
    if let Some(fault) = of_published(facts, user, published.collect()).map_err(|why| why.to_string())? {
        return Ok(Some(fault));
    }
    if let Some(fault) = of_asks(facts, user, unit, asks)? {
        return Ok(Some(fault));
    }
    elsewhere.map_or(Ok(None), |at| {
        Err(format!("whether {} takes the place of a hostPort is not looked at", place(at)))
    })
}

/// The first that keeps it from running, by the checks of workloads.
fn of_asks(facts: &Facts, user: &User, unit: &Unit, asks: Vec<Ask>) -> Result<Option<Fault>, String> {
    let is_made = |what: &What| {
        let is_kept = matches!(what, What::HostPath { .. } | What::Device { .. } | What::Undefined { .. });
        is_kept && unit.makes_what_it_needs()
    };
    let asks: Vec<Ask> = asks.into_iter().filter(|ask| !is_made(&ask.what)).collect();
    let mut req = Requirements::default();
    req.stacks = vec![Stack::PodmanKube];
    req.workload = Some(asks);
    let looked = [&WORKLOAD_MANIFESTS, &WORKLOAD_PATHS, &WORKLOAD_PRIVILEGES].map(|check| match check.run {
        Run::Host(run) => run(facts, &req),
        Run::User(run) => run(facts, &req, user),
    });
    let required = |item: &&Item| item.level == Level::Required;
    let mut doubt = None;
    for item in looked.iter().flat_map(|outcome| &outcome.items).filter(required) {
        match (&item.answer, item.asked.first()) {
            (Answer::Found(finding), Some(at)) if finding.verdict != Verdict::Met => {
                let what = format!("{} has {}: {}", place(at), finding.subject, finding.found);
                let repair = match finding.subject.starts_with("ConfigMap ") {
                    true => format!("name the file that defines it with ConfigMap= in {}", unit.name),
                    false => finding.remedy.summary.clone(),
                };
                return Ok(Some(Fault::new(at, what, repair)));
            }
            (Answer::Unknown { reason, .. }, _) => {
                doubt.get_or_insert_with(|| reason.clone());
            }
            _ => {}
        }
    }
    doubt.map_or(Ok(None), Err)
}

fn of_secrets(facts: &Facts, user: &User, unit: &Unit) -> Fact<Option<Fault>> {
    if unit.kind != Kind::Container || unit.makes_what_it_needs() {
        return Ok(None);
    }
    for (secret, at) in unit.words("Container", "Secret") {
        let name = secret.split(',').next().unwrap_or_default();
        if name.is_empty() || name.contains('%') {
            continue;
        }
        if !facts.podman_secret(user, name)?.0 {
            let what = format!("Secret={name}, and {} has no such secret", user.name);
            let repair = format!("make it as {}: podman secret create {} FILE", user.name, quoted(name));
            return Ok(Some(Fault::new(at, what, repair)));
        }
    }
    Ok(None)
}

/// Whether nothing starts it at boot, as far as files of the user tell.
fn of_boot(facts: &Facts, user: &User, unit: &Unit, units: &Units) -> Fact<Option<Fault>> {
    let is_once = unit.last("Service", "Type").is_some_and(|(kind, _)| kind == "oneshot");
    let in_pod = unit.own("Pod").is_some() && unit.is_on("StartWithPod") != Some(false);
    if !unit.kind.is_workload() || is_once || in_pod || unit.is_template() {
        return Ok(None);
    }
    let mut lost = None;
    for key in WANTED {
        for (by, at) in unit.words("Install", key) {
            let is_there = REACHED.contains(&by.as_str()) || by.contains('%') || units.make(&by);
            if is_there || facts.has_user_unit(user, &by)? {
                return Ok(None);
            }
            lost = lost.or(Some((key, by, at)));
        }
    }
    let service = unit.service();
    let is_pulled = units.is_pulled(&unit.name) || units.is_pulled(&service);
    if is_pulled || !unit.words("Install", "Alias").is_empty() {
        return Ok(None);
    }
    if lost.is_none() && facts.has_own_units(user)? {
        return Ok(None);
    }
    let base = service.strip_suffix(".service").unwrap_or(&service);
    for starter in STARTERS {
        if facts.stat(&format!("/etc/systemd/user/{base}.{starter}")).or_absent()?.is_some() {
            return Ok(None);
        }
    }
    if let Some((key, by, at)) = lost {
        let what = format!("started by nothing: {key}={by}, which the user manager does not have");
        return Ok(Some(Fault::new(at, what, format!("write {key}=default.target in {}", place(at)))));
    }
    let at = Evidence::path(&unit.path, "");
    let what = "started by nothing, without WantedBy= in [Install]".to_owned();
    let repair = format!("write [Install] with WantedBy=default.target into {}", unit.name);
    Ok(Some(Fault::new(&at, what, repair)))
}

#[cfg(test)]
#[path = "quadlet_files_tests.rs"]
mod tests;
