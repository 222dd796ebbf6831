//! Whether the user's systemd runs and has a bus: see [`USER_MANAGER`].

use crate::checks::{check, install};
use crate::facts::linger::Linger;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::{Fact, Kind, OrAbsent};
use crate::requirements::{Need, Requirements};
use crate::settings::Setting;

check! {
    /// The user manager runs and has a bus
    ///
    /// ## What is looked at
    ///
    /// `user@UID.service`: its cgroup, or its socket `/run/user/UID/systemd/private`; and the socket
    /// of the user bus, `/run/user/UID/bus`. What makes them at the next start: the unit, and
    /// `dbus.socket` with `dbus.service` among the units of user managers. In an image root only these
    /// units are there to be looked at.
    ///
    /// ## Why it matters
    ///
    /// Every rootless container is a unit of the user manager. Without the bus Podman falls back to
    /// managing control groups by itself: `podman run --memory 64m` succeeds, and the limit is
    /// silently not applied. kind, k3s-rootless.service and Quadlet do not start at all.
    ///
    /// ## Repair
    ///
    /// `loginctl enable-linger USER` starts the user manager now and at every boot; it also runs while
    /// the user is logged in, but `su` and `sudo` are no login. The bus comes with the package
    /// `dbus-user-session` on Debian and Ubuntu, and with `dbus-broker` or `dbus-daemon` elsewhere.
    ///
    /// ## Sources
    ///
    /// - user@.service(5)
    /// - podman: troubleshooting.md, "dbus-user-session"
    /// - rootlesscontaine.rs, "Getting started", "Login"
    USER_MANAGER, "user-manager", Required, User(run)
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::UserManager);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    let mut outcome = Outcome::default();
    let unit = format!("user@{}.service", user.uid);
    match no_systemd(facts) {
        Ok(true) => return Outcome::skip("there is no systemd: see systemd-init"),
        Ok(false) => {}
        Err(why) => {
            outcome.unknown_all(demands, &unit, &why);
            return outcome;
        }
    }
    match manager(facts, user, &unit) {
        Ok(finding) => outcome.add_all(demands, &finding),
        Err(why) => outcome.unknown_all(demands, &unit, &why),
    }
    match bus(facts, user) {
        Ok(finding) => outcome.add_all(demands, &finding),
        Err(why) => outcome.unknown_all(demands, &bus_socket(user), &why),
    }
    outcome
}

fn no_systemd(facts: &Facts) -> Fact<bool> {
    if facts.running() {
        Ok(!facts.booted_with_systemd()?.value)
    } else {
        Ok(facts.systemd_program()?.is_none())
    }
}

fn bus_socket(user: &User) -> String {
    format!("/run/user/{}/bus", user.uid)
}

fn manager(facts: &Facts, user: &User, name: &str) -> Fact<Finding> {
    let unit = facts.unit(name)?;
    let finding = |found: &str, verdict, at| Finding::new(name, "running", found, verdict).at([at]);
    if let Some(mask) = &unit.masked {
        let remedy = Remedy::manual(format!("remove {}, which masks the unit", mask.path));
        return Ok(finding("masked", Verdict::Unmet, mask.clone()).repair(remedy));
    }
    let Some(fragment) = &unit.fragment else {
        let none = Evidence::path("/usr/lib/systemd/system/user@.service", "does not exist");
        let remedy = Remedy::manual("install all of systemd: this part of it has no user managers");
        return Ok(finding("no such unit", Verdict::Unmet, none).repair(remedy));
    };
    if !facts.running() {
        return Ok(finding("starts at login or by lingering", Verdict::Met, Evidence::path(fragment, "")));
    }
    if facts.user_manager_runs(user.uid)? {
        let manager = facts.user_manager(user.uid)?;
        let at = manager.cgroup.clone().or_else(|_| manager.private_socket.clone())?.at;
        return Ok(finding("running", Verdict::Met, at));
    }
    let remedy = Remedy::setting(
        "let the user linger, which starts the user manager at every boot, and now",
        Setting::Linger(user.name.clone()),
    );
    Ok(match facts.linger(&user.name)? {
        // logind reads the file when it starts; the same command as below makes it look again.
        Linger::On(at) => finding("not running", Verdict::Pending(Needs::None), at),
        Linger::OnUntilBoot(at) | Linger::Off(at) => {
            finding("not running: the user is not logged in and does not linger", Verdict::Unmet, at)
        }
    }
    .repair(remedy))
}

fn bus(facts: &Facts, user: &User) -> Fact<Finding> {
    let path = bus_socket(user);
    let (configured, at) = bus_units(facts, user)?;
    let in_effect = if facts.running() && facts.user_manager_runs(user.uid)? {
        let socket = facts.user_manager(user.uid)?.bus.clone().or_absent()?;
        let none = || Evidence::path(&path, "does not exist");
        let is_socket = socket.as_ref().is_some_and(|socket| socket.value.kind == Kind::Socket);
        Some((is_socket, socket.map_or_else(none, |socket| socket.at)))
    } else {
        None
    };
    let verdict = Verdict::of(configured, in_effect.as_ref().map(|(is_socket, _)| *is_socket), Needs::None);
    let found = match (&in_effect, configured) {
        (Some((true, _)), _) => "a socket",
        (None, true) => "a socket, once the user manager runs",
        (Some((false, _)), _) | (None, false) => "no socket",
    };
    let remedy = match verdict {
        Verdict::Pending(_) => Remedy::setting(
            "start the socket of the user bus",
            Setting::UserUnitInEffect { user: user.name.clone(), unit: "dbus.socket".to_owned() },
        ),
        _ => package(facts, user, in_effect.is_some(), &at),
    };
    let finding = Finding::new(&path, "a socket", found, verdict);
    let in_effect = in_effect.map(|(_, at)| at);
    // The decisive place is where something is missing.
    let evidence = if configured { [in_effect, Some(at)] } else { [Some(at), in_effect] };
    Ok(finding.at(evidence.into_iter().flatten()).repair(remedy))
}

/// Whether a user manager of this user makes a bus when it starts, and what says so.
fn bus_units(facts: &Facts, user: &User) -> Fact<(bool, Evidence)> {
    let socket = facts.user_unit_enabled(&user.home, user.uid, &user.groups, "dbus.socket")?;
    // An alias where dbus-broker is the bus.
    let service = facts.user_unit(&user.home, user.uid, &user.groups, "dbus.service")?;
    for unit in [&socket.unit, &service] {
        if let Some(mask) = &unit.masked {
            return Ok((false, mask.clone()));
        }
        if unit.fragment.is_none() {
            let path = format!("/usr/lib/systemd/user/{}", unit.name);
            return Ok((false, Evidence::path(&path, "does not exist")));
        }
    }
    let fragment = socket.unit.fragment.as_deref().unwrap_or_default();
    Ok(match (socket.pulled_in_by.first(), socket.masked_by.first()) {
        (Some(link), _) => (true, link.clone()),
        (None, Some(mask)) => (false, mask.clone()),
        (None, None) => (false, Evidence::path(fragment, "is not enabled")),
    })
}

/// What brings the bus where `at` says that there is none.
fn package(facts: &Facts, user: &User, runs: bool, at: &Evidence) -> Remedy {
    if at.text != "does not exist" {
        return Remedy::manual("enable the user bus again: its units are there")
            .command("sudo systemctl --global unmask dbus.socket dbus.service")
            .command("sudo systemctl --global enable dbus.socket");
    }
    let remedy = install(facts, &["dbus.socket"]);
    let remedy = Remedy { summary: format!("{}, for the user bus", remedy.summary), ..remedy };
    // What the next boot brings is started by it.
    let at_once = facts.installer().ok().flatten().is_none_or(|installer| !installer.is_read_only());
    if runs && at_once {
        remedy
            .command(format!("sudo systemctl --user -M {}@ daemon-reload", user.name))
            .command(format!("sudo systemctl --user -M {}@ start dbus.socket", user.name))
    } else {
        remedy
    }
}

#[cfg(test)]
#[path = "user_manager_tests.rs"]
mod tests;
