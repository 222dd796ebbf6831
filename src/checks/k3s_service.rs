//! Whether K3s runs as a unit of the user manager: see [`K3S_SERVICE`].

use crate::checks::check;
use crate::facts::delegation::delegation;
use crate::facts::k3s_options::variable;
use crate::facts::k3s_snapshotter::{FUSE_OVERLAYFS, NATIVE_OVERLAY, OVERLAYFS};
use crate::facts::kernel::KernelVersion;
use crate::facts::listeners::{Listener, Protocol};
use crate::facts::programs::Program;
use crate::facts::unit::Unit;
use crate::facts::unit_syntax::words;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, LEFT_OUT};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent, Unread};
use crate::requirements::{Demand, Need, Requirements};
use crate::settings::{K3S_SERVICE as UNIT, Setting, quoted};

check! {
    /// K3s is a unit of the user manager
    ///
    /// ## What is looked at
    ///
    /// Where k3s is installed, the unit `k3s-rootless.service` of the user manager with its drop-ins:
    /// whether it is there and enabled, runs the k3s that was found with `--rootless`, has `Delegate=`,
    /// and, where it sets `PATH`, finds newuidmap on it; whether it starts with the variables that `[k3s]`
    /// of the policy has; and whether the kernel is new enough for its snapshotter. A unit of that name
    /// in the system manager is reported, too, and any whose name begins with `k3s` and that runs
    /// `k3s --rootless` as this user (`User=`).
    ///
    /// Where the user manager runs and the unit is enabled and as it should be: whether it has a process
    /// in its control group, and whether a program of the user listens on the port of its API server.
    /// That it does not listen yet is no failure in its first five minutes. Which program it is that
    /// listens, and whether the server answers, is not looked at.
    ///
    /// ## Why it matters
    ///
    /// Started in a shell, K3s has no control group of its own to make those of pods in; to try it there,
    /// start it with `systemd-run --user -p Delegate=yes --tty k3s server --rootless`. As a unit of
    /// the system manager with `User=` it has no user manager at hand and is not supported. What K3s
    /// does not find in its environment has a default: an MTU of 65520, the network 10.41.0.0/16. It
    /// brings slirp4netns and not newuidmap, which it looks for on its `PATH` (`exec: "newuidmap":
    /// executable file not found in $PATH`).
    ///
    /// A unit that fails three times in a minute is not started again. One that runs is active for systemd
    /// whether or not its API server came up, and while systemd restarts it again and again, `systemctl
    /// --user status` says so at one moment and not at the next; kubectl says "connection refused".
    ///
    /// ## Repair
    ///
    /// The unit is written to `~/.config/systemd/user`, as it is published with each release of K3s but
    /// for two lines: `--snapshotter=overlayfs` where the kernel mounts overlay for users (5.13) and the
    /// file system of the data takes it, else `fuse-overlayfs`; and a `PATH` on which newuidmap is. It is
    /// enabled and started. Variables go to a drop-in. A unit that somebody has written is left as it is.
    /// What does not run says why in its log, and is started after `systemctl --user reset-failed`.
    ///
    /// `KUBECONFIG=~/.kube/k3s.yaml` has kubectl find the cluster. A rootless K3s has one node, two on a
    /// host need two ports, and pods with `hostUsers: false` do not start in it ("failed to start noop
    /// process for unshare": it is in a user namespace already).
    ///
    /// ## Sources
    ///
    /// - k3s: k3s-rootless.service; pkg/rootless/rootless.go; cmd/k3s/main.go, `stageAndRun`
    /// - k3s: pkg/rootlessports/controller.go, which has the user's rootlesskit listen
    /// - systemd.unit(5), "StartLimitIntervalSec="; proc_pid_stat(5)
    /// - rootlesskit: pkg/parent/parent.go, `setupUIDGIDMap`
    /// - k3s: pkg/agent/config/config.go, "snapshotter cannot be enabled"; issue 12918, `hostUsers`
    /// - docs.k3s.io, "Running Rootless Servers (Experimental)"
    /// - systemd.exec(5), "Environment="
    K3S_SERVICE, "k3s-service", Advised, User(run)
}

const API_SERVER: &str = "API server of K3s";
/// As the unit that K3s publishes says (k3s: k3s-rootless.service).
const IN_A_TERMINAL: &str = "systemd-run --user -p Delegate=yes --tty k3s server --rootless";
/// From here on overlay is mounted in a user namespace where SELinux does not refuse it.
const FIRST_OVERLAY: KernelVersion = KernelVersion::new(5, 11, 0);
/// Why another snapshotter is wanted.
const OVERLAY: &str = "K3s stops: \"overlayfs\" snapshotter cannot be enabled";
/// How long K3s may take to listen: some minutes on a small board with a slow card.
const GRACE_SECS: i64 = 300;
/// The first of a unit's processes are enough to tell how long it runs.
const MOST_PROCESSES: usize = 16;

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::K3sService);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    let mut outcome = Outcome::default();
    let looked = match facts.user_program("k3s", user) {
        Ok(Some(program)) => look(facts, req, user, &program, &mut outcome),
        Ok(None) => return Outcome::skip("k3s is not installed: see stack-programs"),
        Err(why) => Err(why),
    };
    if let Err(why) = looked {
        outcome.unknown_all(demands, UNIT, &why);
    }
    outcome
}

fn look(facts: &Facts, req: &Requirements, user: &User, k3s: &Program, outcome: &mut Outcome) -> Fact<()> {
    let demands = req.need(Need::K3sService);
    let unit = facts.user_unit_enabled(&user.home, user.uid, &user.groups, UNIT)?;
    let service = Setting::K3sService {
        user: user.name.clone(),
        program: k3s.path.clone(),
        environment: req.k3s.iter().map(|(name, (value, _))| (name.clone(), value.clone())).collect(),
    };
    let expected = format!("enabled, runs {} with --rootless, delegated", k3s.path);
    let finding = |found: String| Finding::new(UNIT, &expected, found, Verdict::Unmet);
    if let Some(mask) = &unit.unit.masked {
        let remedy = Remedy::manual(format!("unmask {UNIT}: remove {}", mask.path));
        outcome.add_all(demands, &finding("masked".to_owned()).at([mask.clone()]).repair(remedy));
    } else if unit.unit.fragment.is_none() {
        let path = format!("{}/.config/systemd/user/{UNIT}", user.home.trim_end_matches('/'));
        let summary = format!(
            "have the user manager of {} run K3s; to try it in a terminal, where it has no control group of its \
             own: {IN_A_TERMINAL}",
            user.name
        );
        let none = Evidence::path(&path, "does not exist");
        let port = facts.k3s_options(user).and_then(|options| options.https_port());
        let held = port.ok().and_then(|port| Some((port, held(facts, user, port)?)));
        let found = match &held {
            Some((port, _)) => {
                format!(
                    "no such unit, and a program of {} listens on tcp/{port}: K3s in a terminal?",
                    user.name
                )
            }
            None => "no such unit".to_owned(),
        };
        let found = finding(found).at([none]).at(held.map(|(_, at)| at));
        outcome.add_all(demands, &found.repair(Remedy::setting(summary, service)));
    } else {
        let enabled = unit.pulled_in_by.first().cloned();
        match judge(facts, user, k3s, &unit.unit)? {
            Ok((what, faults)) => {
                let mut words = vec![if enabled.is_some() { "enabled" } else { "not enabled" }.to_owned()];
                words.extend(what);
                let met = faults.is_empty() && enabled.is_some();
                let fragment = unit.unit.fragment.as_deref().unwrap_or_default();
                let remedy = match faults.first() {
                    Some(_) => Remedy::manual(format!("correct {fragment}, or take it away to have it made"))
                        .command(format!("sudoedit {}", quoted(fragment)))
                        .command(format!("sudo systemctl --user -M {}@ daemon-reload", quoted(&user.name))),
                    None => Remedy::setting(
                        format!("enable {UNIT} for {}", user.name),
                        Setting::UserUnit { user: user.name.clone(), unit: UNIT.to_owned() },
                    ),
                };
                let fragment = Evidence::path(fragment, "");
                let at = faults.into_iter().chain(enabled).chain([fragment]);
                let found = Finding::new(UNIT, &expected, words.join(", "), Verdict::met_if(met)).at(at);
                outcome.add_all(demands, &found.repair(remedy));
                if met && !is_agent(&unit.unit) {
                    in_effect(facts, user, demands, outcome);
                }
            }
            Err(why) => outcome.unknown_all(demands, UNIT, &why),
        }
        environment(req, &unit.unit, &service, outcome);
        snapshotter(facts, user, demands, outcome)?;
    }
    of_the_system(facts, user, demands, outcome)
}

/// Whether it runs no server, but joins one: see `k3s-configuration`.
fn is_agent(unit: &Unit) -> bool {
    let start = unit.values("Service", "ExecStart").rfind(|start| !start.value.is_empty());
    let words = start.and_then(|start| words(&start.value)).unwrap_or_default();
    words.get(1).is_some_and(|word| word == "agent")
}

/// What the unit does in words, and the places where it is wrong; or why that cannot be told.
type Judged = Result<(Vec<String>, Vec<Evidence>), String>;

fn judge(facts: &Facts, user: &User, k3s: &Program, unit: &Unit) -> Fact<Judged> {
    let mut faults = Vec::new();
    let start = unit.values("Service", "ExecStart").rfind(|start| !start.value.is_empty());
    let fragment = || Evidence::path(unit.fragment.as_deref().unwrap_or_default(), "no ExecStart=");
    let Some(start) = start else {
        return Ok(Ok((vec!["runs nothing".to_owned()], vec![fragment()])));
    };
    if start.value.starts_with(LEFT_OUT) {
        return Ok(Err(format!("{}: the capture leaves out what it runs", start.at)));
    }
    let Some(arguments) = words(&start.value) else {
        return Ok(Ok((vec!["runs nothing".to_owned()], vec![start.at.clone()])));
    };
    // systemd.service(5), "Special executable prefixes".
    let program =
        arguments.first().map_or("", |word| word.trim_start_matches(['@', '-', ':', '+', '!', '|']));
    let program = program.replace("%h", user.home.trim_end_matches('/'));
    let by_config = || {
        let options = facts.k3s_options(user).ok()?;
        options.get("rootless").map(|set| set.value == "true")
    };
    let rootless = arguments.iter().any(|word| is_rootless(word)) || by_config() == Some(true);
    let exists = facts.program_at(&facts.real_path(&program)?)?.is_some_and(|p| p.is_executable_by(user));
    let same = program == k3s.path || facts.real_path(&program)? == facts.real_path(&k3s.path)?;
    let mut what = vec![match (exists, rootless) {
        (false, _) => format!("runs {program}, which is not there"),
        (true, true) => format!("runs {program} with --rootless"),
        (true, false) => format!("runs {program} without --rootless"),
    }];
    if !exists || !same || !rootless {
        faults.push(start.at.clone());
    }
    let delegated = delegation(unit.values("Service", "Delegate"));
    what.push(if delegated.on { "delegated" } else { "not delegated" }.to_owned());
    if !delegated.on {
        faults.push(delegated.decided_by.unwrap_or_else(|| start.at.clone()));
    }
    if let Some(path) =
        variable(unit, "PATH").filter(|_| unit.values("Service", "EnvironmentFile").next().is_none())
        && facts.program("newuidmap")?.is_some()
        && !is_on_path(facts, user, &path.value, "newuidmap")?
    {
        what.push("no newuidmap on its PATH".to_owned());
        faults.push(path.at);
    }
    Ok(Ok((what, faults)))
}

/// Whether a program is found on this `PATH`, with the specifiers of a unit.
fn is_on_path(facts: &Facts, user: &User, path: &str, name: &str) -> Fact<bool> {
    let mut failure = None;
    for dir in path.split(':') {
        let dir = dir.replace("%h", user.home.trim_end_matches('/'));
        match facts.program_at(&format!("{}/{name}", dir.trim_end_matches('/'))) {
            Ok(Some(program)) if program.is_executable_by(user) => return Ok(true),
            Ok(_) => {}
            Err(why) => failure = failure.or(Some(why)),
        }
    }
    failure.map_or(Ok(false), Err)
}

/// What the unit starts with, against what policy has.
fn environment(req: &Requirements, unit: &Unit, service: &Setting, outcome: &mut Outcome) {
    let demands = req.need(Need::K3sService);
    let file = unit.values("Service", "EnvironmentFile").rfind(|file| !file.value.is_empty());
    let left_out = unit.values("Service", "Environment").find(|line| line.value == LEFT_OUT);
    for (name, (wanted, origin)) in &req.k3s {
        if let Some(line) = left_out.or(file) {
            outcome.unknown_all(demands, name, &format!("{}: what it sets is not looked at", line.at));
            continue;
        }
        let set = variable(unit, name);
        if let Some(set) = set.as_ref().filter(|set| set.value == LEFT_OUT) {
            outcome.unknown_all(demands, name, &format!("{}: what it sets is not looked at", set.at));
            continue;
        }
        let found = set.as_ref().map_or("not set", |set| set.value.as_str());
        let fragment = unit.fragment.as_deref().unwrap_or_default();
        let none = || Evidence::path(fragment, format!("no Environment= with {name}"));
        let at = set.as_ref().map_or_else(none, |set| set.at.clone());
        let policy = Evidence::line(&origin.file, origin.line, wanted);
        let verdict = Verdict::met_if(found == wanted);
        let remedy = Remedy::setting(
            format!("have K3s start with {name}={wanted}, once it is restarted"),
            service.clone(),
        );
        outcome.add_all(demands, &Finding::new(name, wanted, found, verdict).at([at, policy]).repair(remedy));
    }
}

/// Whether the kernel has what the unit, or the default of K3s, asks of it. Distributions have had overlay
/// for users in older kernels than Linux has, which their numbers do not tell.
fn snapshotter(facts: &Facts, user: &User, demands: &[Demand], outcome: &mut Outcome) -> Fact<()> {
    // Why the options are not known is said by others.
    let Ok(taken) = facts.k3s_snapshotter(user) else { return Ok(()) };
    let Some(kernel) = facts.oldest_kernel().or_absent()?.flatten().filter(|_| taken.name == OVERLAYFS)
    else {
        return Ok(());
    };
    let Some(version) = KernelVersion::parse(&kernel.value).filter(|version| *version < NATIVE_OVERLAY)
    else {
        return Ok(());
    };
    let patched = kernel.value.contains(".el") || facts.os_release().is_ok_and(|os| os.is_like("debian"));
    for demand in demands.iter().map(|demand| demand.advised(OVERLAY)) {
        if patched || version >= FIRST_OVERLAY {
            let why =
                format!("whether Linux {} can mount overlay without root is not in its number", kernel.value);
            outcome.unknown(&demand, "snapshotter", why);
            continue;
        }
        let found = format!("{OVERLAYFS}, with Linux {}", kernel.value);
        let remedy = Remedy::manual(format!("have K3s start with --snapshotter={FUSE_OVERLAYFS}"));
        let finding = Finding::new("snapshotter", FUSE_OVERLAYFS, found, Verdict::Unmet);
        outcome.add(&demand, finding.at(taken.at.clone()).at([kernel.at.clone()]).repair(remedy));
    }
    Ok(())
}

/// Whether what is enabled runs, and listens. A user manager without a control group on a v2 hierarchy is
/// told of by `user-manager`.
fn in_effect(facts: &Facts, user: &User, demands: &[Demand], outcome: &mut Outcome) {
    if !facts.running() || !facts.user_manager(user.uid).is_ok_and(|manager| manager.cgroup.is_ok()) {
        return;
    }
    match facts.user_unit_processes(user.uid, UNIT) {
        Ok(pids) if pids.is_empty() => outcome.add_all(demands, &stopped(facts, user)),
        Ok(pids) => match listens(facts, user, &pids) {
            Ok(finding) => outcome.add_all(demands, &finding),
            Err(why) => outcome.unknown_all(demands, API_SERVER, &why),
        },
        Err(why) => outcome.unknown_all(demands, UNIT, &why),
    }
}

fn stopped(facts: &Facts, user: &User) -> Finding {
    let port = facts.k3s_options(user).and_then(|options| options.https_port());
    let in_the_way = port.ok().and_then(|port| Some((port, held(facts, user, port)?)));
    let summary =
        "it failed too often, was stopped or never started: its log says which; then start it again";
    let none = Evidence::path(UNIT, "no process in its control group");
    let finding = |found: String, verdict| Finding::new(UNIT, "runs", found, verdict).at([none]);
    let by_hand = |remedy: Remedy| {
        let start = remedy.command(log(user)).command(systemctl(user, "reset-failed"));
        start.command(systemctl(user, "start"))
    };
    match in_the_way {
        Some((port, at)) => {
            let found =
                format!("enabled, does not run; tcp/{port} is held by another program of {}", user.name);
            finding(found, Verdict::Unmet).at([at]).repair(by_hand(Remedy::manual(summary)))
        }
        None => {
            let start = Setting::UserUnitInEffect { user: user.name.clone(), unit: UNIT.to_owned() };
            finding("enabled, does not run".to_owned(), Verdict::Pending(Needs::None))
                .repair(by_hand(Remedy::setting(summary, start)))
        }
    }
}

/// Whether its API server can be reached, once it has had time to come up.
fn listens(facts: &Facts, user: &User, pids: &[u32]) -> Fact<Finding> {
    let port = facts.k3s_options(user)?.https_port()?;
    let finding =
        |found: String, verdict| Finding::new(API_SERVER, format!("listens on tcp/{port}"), found, verdict);
    if let Some(at) = held(facts, user, port) {
        return Ok(finding(format!("listens on tcp/{port}"), Verdict::Met).at([at]));
    }
    facts.listeners()?;
    // One that ends meanwhile says nothing.
    let ages =
        pids.iter().take(MOST_PROCESSES).filter_map(|pid| facts.running_secs(*pid).or_absent().transpose());
    let oldest = ages.collect::<Fact<Vec<i64>>>()?.into_iter().max();
    let first = pids.first().copied().unwrap_or_default();
    let oldest = oldest.ok_or_else(|| Unread::Absent { path: format!("/proc/{first}/stat") })?;
    let at = Evidence::path("/proc/net/tcp", "no such port of the user");
    if oldest < GRACE_SECS {
        let found = format!("runs for {oldest} s, and does not listen yet");
        return Ok(finding(found, Verdict::Met).at([at]));
    }
    let found = format!("runs for {} min, and does not listen", oldest / 60);
    let summary = "read why in its log: systemctl says active all the same, and kubectl connection refused";
    let remedy = Remedy::manual(summary).command(log(user)).command(systemctl(user, "restart"));
    Ok(finding(found, Verdict::Unmet).at([at]).repair(remedy))
}

/// The socket of a program of the user that listens on this port.
fn held(facts: &Facts, user: &User, port: u16) -> Option<Evidence> {
    let listeners = facts.listeners().ok()?;
    let is_it = |l: &&Listener| l.protocol == Protocol::Tcp && l.port == port && l.uid == user.uid;
    listeners.iter().find(is_it).map(|listener| listener.at.clone())
}

fn systemctl(user: &User, verb: &str) -> String {
    format!("sudo systemctl --user -M {}@ {verb} {UNIT}", quoted(&user.name))
}

fn log(user: &User) -> String {
    format!("sudo journalctl -e _UID={} _SYSTEMD_USER_UNIT={UNIT}", user.uid)
}

/// K3s as a unit of the system manager: by the name of the user's unit, or by any that begins with `k3s`
/// and runs it without root as this user.
fn of_the_system(facts: &Facts, user: &User, demands: &[Demand], outcome: &mut Outcome) -> Fact<()> {
    for name in facts.system_services_named("k3s")? {
        let unit = facts.unit(&name)?;
        let Some(fragment) = unit.fragment.as_deref().filter(|_| unit.masked.is_none()) else { continue };
        let runs_as = unit.values("Service", "User").next_back().filter(|user| !user.value.is_empty());
        if name != UNIT {
            let uid = user.uid.to_string();
            let start = unit.values("Service", "ExecStart").rfind(|start| !start.value.is_empty());
            let (Some(start), true) =
                (start, runs_as.is_some_and(|set| [&user.name, &uid].contains(&&set.value)))
            else {
                continue;
            };
            if start.value.starts_with(LEFT_OUT) {
                outcome.unknown_all(demands, fragment, &"the capture leaves out what it runs");
                continue;
            }
            if !words(&start.value).unwrap_or_default().iter().any(|word| is_rootless(word)) {
                continue;
            }
        }
        let found = match runs_as {
            Some(user) => format!("a unit of the system manager, with User={}", user.value),
            None => "a unit of the system manager".to_owned(),
        };
        let at = runs_as.map_or_else(|| Evidence::path(fragment, ""), |user| user.at.clone());
        let remedy =
            Remedy::manual(format!("take {fragment} away: K3s runs rootless in the user manager alone"));
        let remedy = match facts.running() {
            true => remedy.command(format!("sudo systemctl disable --now {}", quoted(&name))),
            false => remedy,
        };
        let finding = Finding::new(fragment, "a unit of the user manager", found, Verdict::Unmet);
        outcome.add_all(demands, &finding.at([at]).repair(remedy));
    }
    Ok(())
}

fn is_rootless(word: &str) -> bool {
    word == "--rootless" || word == "--rootless=true"
}

#[cfg(test)]
#[path = "k3s_service_tests.rs"]
mod tests;
