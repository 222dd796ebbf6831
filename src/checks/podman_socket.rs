//! Whether the user's Podman can be spoken to: see [`PODMAN_SOCKET`].

use crate::checks::{check, install, of_podman};
use crate::facts::sockets::podman_socket_path;
use crate::facts::user_units::UserUnitEnablement;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};
use crate::settings::Setting;

const UNIT: &str = "podman.socket";

check! {
    /// podman.socket listens for the user
    ///
    /// ## What is looked at
    ///
    /// Configured is the unit `podman.socket` of the user manager: it exists, is not masked, and a link
    /// in a `sockets.target.wants` of the user, of the administrator or of the vendor pulls it in. In
    /// effect is the socket `/run/user/UID/podman/podman.sock`, on which something listens by
    /// `/proc/net/unix`: the file alone stays behind where the unit was stopped.
    ///
    /// ## Why it matters
    ///
    /// k3d knows no Podman: it speaks Docker's protocol, which Podman serves on this socket. The unit of
    /// the same name of the system manager serves root's containers, and is of no use here. A socket
    /// that was only started is gone after the next boot.
    ///
    /// ## Repair
    ///
    /// The unit is enabled for the user and started; containers that run are left alone.
    ///
    /// ## Sources
    ///
    /// - podman-system-service(1); systemd.socket(5), "RemoveOnStop="
    /// - k3d: docs/usage/advanced/podman.md
    PODMAN_SOCKET, "podman-socket", Required, User(run)
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::PodmanSocket);
    of_podman(facts, user, demands, |_, outcome| {
        outcome.add_all(demands, &look(facts, user)?);
        Ok(())
    })
}

fn look(facts: &Facts, user: &User) -> Fact<Finding> {
    let enablement = facts.user_unit_enabled(&user.home, user.uid, &user.groups, UNIT)?;
    let (socket, listens) = if facts.running() { listens(facts, user)? } else { (None, None) };
    let runs = if facts.running() { facts.user_manager_runs(user.uid)? } else { false };
    let needs = if runs { Needs::None } else { Needs::ReLogin };
    let verdict = Verdict::of(enablement.is_enabled(), listens, needs);
    let found = match (is(&enablement), listens) {
        (unit, Some(true)) => format!("{unit}, listens"),
        (unit, Some(false)) => format!("{unit}, does not listen"),
        (unit, None) => unit.to_owned(),
    };
    let expected = if facts.running() { "enabled, listens" } else { "enabled" };
    let at = [decisive(&enablement)].into_iter().chain(socket);
    Ok(Finding::new(UNIT, expected, found, verdict).at(at).repair(remedy(facts, user, &enablement, verdict)))
}

/// Whether something listens on the socket, and the socket if there is one.
fn listens(facts: &Facts, user: &User) -> Fact<(Option<Evidence>, Option<bool>)> {
    let path = podman_socket_path(user.uid);
    Ok(match facts.user_socket(&path)? {
        Some(socket) => (Some(socket.at), Some(facts.socket_listens(&path)?)),
        None => (Some(Evidence::path(&path, "does not exist")), Some(false)),
    })
}

fn is(enablement: &UserUnitEnablement) -> &'static str {
    if enablement.unit.masked.is_some() {
        "masked"
    } else if enablement.unit.fragment.is_none() {
        "no such unit"
    } else if enablement.is_enabled() {
        "enabled"
    } else {
        "not enabled"
    }
}

fn decisive(enablement: &UserUnitEnablement) -> Evidence {
    let UserUnitEnablement { unit, pulled_in_by, masked_by } = enablement;
    if let Some(mask) = &unit.masked {
        return mask.clone();
    }
    match (&unit.fragment, pulled_in_by.first().or(masked_by.first())) {
        (Some(_), Some(link)) => link.clone(),
        (Some(fragment), None) => Evidence::path(fragment, "no sockets.target.wants has a link to it"),
        (None, _) => Evidence::path(&format!("/usr/lib/systemd/user/{UNIT}"), "does not exist"),
    }
}

fn remedy(facts: &Facts, user: &User, enablement: &UserUnitEnablement, verdict: Verdict) -> Remedy {
    let name = &user.name;
    if let Some(mask) = &enablement.unit.masked {
        return Remedy::manual(format!("unmask {UNIT}: remove {}", mask.path));
    }
    if enablement.unit.fragment.is_none() {
        return install(facts, &["podman"]);
    }
    match verdict {
        Verdict::Pending(Needs::None) => Remedy::setting(
            format!("start {UNIT} of {name}"),
            Setting::UserUnitInEffect { user: name.clone(), unit: UNIT.to_owned() },
        ),
        Verdict::Pending(_) => Remedy::manual(format!("start the user manager of {name}, with a login say")),
        Verdict::Met | Verdict::Volatile | Verdict::Unmet => Remedy::setting(
            format!("enable {UNIT} for {name} and start it"),
            Setting::UserUnit { user: name.clone(), unit: UNIT.to_owned() },
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;

    const FRAGMENT: &str = "/usr/lib/systemd/user/podman.socket";
    const LINK: &str = "/home/edge/.config/systemd/user/sockets.target.wants/podman.socket";
    const SOCKET: &str = "/run/user/1000/podman/podman.sock";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::K3d]), &edge())
    }

    fn verdict(host: TestHost) -> Verdict {
        verdicts(&look_at(host))[0].1
    }

    /// Debian 13 enables it for nobody.
    fn host() -> TestHost {
        fixture("debian-13").file("/proc/net/unix", "Num RefCount Protocol Flags Type St Inode Path\n")
    }

    fn enabled(host: TestHost) -> TestHost {
        host.file(LINK, "").path(LINK, |record| record.link = Some(FRAGMENT.to_owned()))
    }

    fn listening(host: TestHost) -> TestHost {
        let line = format!("0: 00000002 00000000 00010000 0001 01 12345 {SOCKET}\n");
        stale(host).append("/proc/net/unix", &line)
    }

    fn stale(host: TestHost) -> TestHost {
        host.path(SOCKET, |record| {
            record.kind = Some("socket".to_owned());
            record.mode = Some("0660".to_owned());
            record.uid = Some(1000);
        })
    }

    fn no_manager(host: TestHost) -> TestHost {
        host.without("/run/user/1000").without("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service")
    }

    #[test]
    fn configured_and_in_effect_are_two_facts() {
        assert_eq!(verdict(enabled(listening(host()))), Verdict::Met);
        assert_eq!(verdict(listening(host())), Verdict::Volatile);
        assert_eq!(verdict(host()), Verdict::Unmet);
        assert_eq!(verdict(enabled(host())), Verdict::Pending(Needs::None));
        assert_eq!(verdict(enabled(stale(host()))), Verdict::Pending(Needs::None), "a leftover");
        assert_eq!(verdict(no_manager(enabled(host()))), Verdict::Pending(Needs::ReLogin));
        assert_eq!(verdict(host().image()), Verdict::Unmet);
        assert_eq!(verdict(enabled(host()).image()), Verdict::Met);
    }

    #[test]
    fn every_verdict_has_its_place_and_its_repair() {
        let outcome = look_at(host());
        let finding = findings(&outcome)[0];
        assert_eq!(
            (finding.expected.as_str(), finding.found.as_str()),
            ("enabled, listens", "not enabled, does not listen")
        );
        assert_eq!(finding.evidence[0], Evidence::path(FRAGMENT, "no sockets.target.wants has a link to it"));
        assert_eq!(finding.evidence[1], Evidence::path(SOCKET, "does not exist"));
        assert_eq!(
            finding.remedy.settings,
            [Setting::UserUnit { user: "edge".to_owned(), unit: UNIT.to_owned() }]
        );
        let outcome = look_at(enabled(host()));
        assert_eq!(findings(&outcome)[0].evidence[0], Evidence::path(LINK, FRAGMENT));
        assert_eq!(
            findings(&outcome)[0].remedy.settings,
            [Setting::UserUnitInEffect { user: "edge".to_owned(), unit: UNIT.to_owned() }]
        );
    }

    #[test]
    fn no_unit_and_a_masked_one_are_told_apart() {
        let outcome = look_at(host().without(FRAGMENT));
        assert_eq!(findings(&outcome)[0].found, "no such unit, does not listen");
        assert!(findings(&outcome)[0].remedy.settings.is_empty());
        let mask = "/etc/systemd/user/podman.socket";
        let masked =
            enabled(host()).file(mask, "").path(mask, |record| record.link = Some("/dev/null".to_owned()));
        let outcome = look_at(masked);
        assert_eq!(findings(&outcome)[0].found, "masked, does not listen");
        assert_eq!(&*findings(&outcome)[0].evidence[0].path, mask);
    }

    #[test]
    fn what_cannot_be_looked_at_is_unknown() {
        let reasons = |host: TestHost| unknown(&look_at(host)).join(";");
        assert_eq!(reasons(host().error(SOCKET, "denied")), format!("{SOCKET} is not readable as this user"));
        assert_eq!(reasons(stale(host()).without("/proc/net/unix")), "/proc/net/unix does not exist");
        assert!(look_at(host().without("/usr/bin/podman")).skipped.is_some());
        let podman = run(&host().facts(), &requirements(&[Stack::Podman]), &edge());
        assert!(podman.skipped.is_some());
    }
}
