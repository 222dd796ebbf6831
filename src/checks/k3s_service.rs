//! Whether K3s runs as a unit of the user manager: see [`K3S_SERVICE`].

use crate::checks::check;
use crate::facts::delegation::delegation;
use crate::facts::programs::Program;
use crate::facts::unit::Unit;
use crate::facts::unit_syntax::words;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, Sourced};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Demand, Need, Requirements};
use crate::settings::{K3S_SERVICE as UNIT, Setting};

check! {
    /// K3s is a unit of the user manager
    ///
    /// ## What is looked at
    ///
    /// Where k3s is installed, the unit `k3s-rootless.service` of the user manager with its drop-ins:
    /// whether it is there and enabled, runs the k3s that was found with `--rootless`, has `Delegate=`,
    /// and, where it sets `PATH`, finds newuidmap on it; and whether it starts with the variables that
    /// `[k3s]` of the policy has. A unit of that name in the system manager is reported, too.
    ///
    /// ## Why it matters
    ///
    /// Started in a shell, K3s has no control group of its own to make those of pods in. As a unit of
    /// the system manager with `User=` it has no user manager at hand and is not supported. What K3s
    /// does not find in its environment has a default: an MTU of 65520, the network 10.41.0.0/16. It
    /// brings slirp4netns and not newuidmap, which it looks for on its `PATH` (`exec: "newuidmap":
    /// executable file not found in $PATH`).
    ///
    /// ## Repair
    ///
    /// The unit is written to `~/.config/systemd/user`, as it is published with each release of K3s,
    /// and variables to a drop-in. A unit that somebody has written is left as it is.
    ///
    /// ## Sources
    ///
    /// - k3s: k3s-rootless.service; pkg/rootless/rootless.go; cmd/k3s/main.go, `stageAndRun`
    /// - rootlesskit: pkg/parent/parent.go, `setupUIDGIDMap`
    /// - docs.k3s.io, "Running Rootless Servers (Experimental)"
    /// - systemd.exec(5), "Environment="
    K3S_SERVICE, "k3s-service", Advised, User(run)
}

/// What stands in a capture in place of what could hold a secret.
const LEFT_OUT: &str = "LEFT-OUT";

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
        let remedy = Remedy::setting(format!("have the user manager of {} run K3s", user.name), service);
        let none = Evidence::path(&path, "does not exist");
        outcome.add_all(demands, &finding("no such unit".to_owned()).at([none]).repair(remedy));
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
                        .command(format!("sudo systemctl --user -M {}@ edit --full {UNIT}", user.name)),
                    None => Remedy::setting(
                        format!("enable {UNIT} for {}", user.name),
                        Setting::UserUnit { user: user.name.clone(), unit: UNIT.to_owned() },
                    ),
                };
                let fragment = Evidence::path(fragment, "");
                let at = faults.into_iter().chain(enabled).chain([fragment]);
                let found = Finding::new(UNIT, &expected, words.join(", "), Verdict::met_if(met)).at(at);
                outcome.add_all(demands, &found.repair(remedy));
            }
            Err(why) => outcome.unknown_all(demands, UNIT, &why),
        }
        environment(req, &unit.unit, &service, outcome);
    }
    of_the_system(facts, demands, outcome)
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
    if start.value == LEFT_OUT {
        return Ok(Err(format!("{}: the capture leaves out what it runs", start.at)));
    }
    let Some(arguments) = words(&start.value) else {
        return Ok(Ok((vec!["runs nothing".to_owned()], vec![start.at.clone()])));
    };
    // systemd.service(5), "Special executable prefixes".
    let program =
        arguments.first().map_or("", |word| word.trim_start_matches(['@', '-', ':', '+', '!', '|']));
    let program = program.replace("%h", user.home.trim_end_matches('/'));
    let rootless = arguments.iter().any(|word| word == "--rootless" || word == "--rootless=true");
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

/// The last value that the unit gives a variable: an empty assignment takes back all before it.
fn variable(unit: &Unit, name: &str) -> Option<Sourced<String>> {
    let mut last = None;
    for Sourced { value, at } in unit.values("Service", "Environment") {
        if value.is_empty() {
            last = None;
        }
        for word in words(value).unwrap_or_default() {
            if let Some(value) = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
                last = Some(Sourced { value: value.replace("%%", "%"), at: at.clone() });
            }
        }
    }
    last
}

/// A unit of the same name in the system manager.
fn of_the_system(facts: &Facts, demands: &[Demand], outcome: &mut Outcome) -> Fact<()> {
    let unit = facts.unit(UNIT)?;
    let Some(fragment) = unit.fragment.as_deref().filter(|_| unit.masked.is_none()) else { return Ok(()) };
    let runs_as = unit.values("Service", "User").rfind(|user| !user.value.is_empty());
    let found = match runs_as {
        Some(user) => format!("a unit of the system manager, with User={}", user.value),
        None => "a unit of the system manager".to_owned(),
    };
    let at = runs_as.map_or_else(|| Evidence::path(fragment, ""), |user| user.at.clone());
    let remedy = Remedy::manual(format!("take {fragment} away: K3s runs rootless in the user manager alone"));
    let remedy = match facts.running() {
        true => remedy.command(format!("sudo systemctl disable --now {UNIT}")),
        false => remedy,
    };
    let finding = Finding::new(fragment, "a unit of the user manager", found, Verdict::Unmet);
    outcome.add_all(demands, &finding.at([at]).repair(remedy));
    Ok(())
}

#[cfg(test)]
#[path = "k3s_service_tests.rs"]
mod tests;
