//! Whether units that run a user's containers suit rootless Podman: see [`CONTAINER_UNITS`].

use crate::checks::check;
use crate::facts::unit_syntax::{Assignment, assignments, boolean, words};
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, LEFT_OUT};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Demand, Need, Requirements};
use crate::settings::quoted;

check! {
    /// Units that run containers are the user manager's
    ///
    /// ## What is looked at
    ///
    /// The Quadlet files of the user in `~/.config/containers/systemd` and in `containers/systemd` of the
    /// runtime directory, the administrator's in `/etc/containers/systemd/users`, and with Podman 6 the
    /// vendor's in `/usr/share/containers/systemd/users`, with the folders below: whether their `[Service]`
    /// has `User=`, `Group=`, `DynamicUser=yes` or `NoNewPrivileges=yes`. And services that are files in
    /// `/etc/systemd/system`: whether one runs podman, podman-compose or `k3s --rootless` as this user, by
    /// `User=`, be it from the command line of a shell (`sh -c`). Units whose names begin with `k3s` are
    /// left to k3s-service as far as they run K3s. Drop-ins are not looked at.
    ///
    /// ## Why it matters
    ///
    /// A user manager can run nothing as another user: the service fails with status 216/GROUP or
    /// 217/USER. With `NoNewPrivileges=` Podman fails at newuidmap: "write to uid_map failed"; in
    /// `[Container]` it is another key, and harmless. A service of the system manager with `User=` is not
    /// supported by Podman, which has the user manager look after containers: the service loses sight of
    /// them when they move there, and without a user manager limits are not applied.
    ///
    /// ## Repair
    ///
    /// The service is made one of the user manager: a Quadlet file in `~/.config/containers/systemd`
    /// without these keys, for a user who lingers.
    ///
    /// ## Sources
    ///
    /// - podman-systemd.unit(5), "Podman rootless unit search path"
    /// - podman: pull request 26552 (5.6 warns of it); issues 22970, 26671 and 21738
    /// - systemd.exec(5), "User=", "Process Exit Codes"
    CONTAINER_UNITS, "container-units", Advised, User(run)
}

const SERVICE: &str = "Service";
/// What a user manager cannot do for a service, whoever is named.
const IDENTITY: [&str; 2] = ["User", "Group"];
/// What it cannot do, and what Podman cannot do with.
const SWITCHES: [&str; 2] = ["DynamicUser", "NoNewPrivileges"];
const SHELLS: [&str; 4] = ["ash", "bash", "dash", "sh"];
const EXPECTED: &str = "a unit that the user manager can run";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::ContainerUnits);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    let mut outcome = Outcome::default();
    if let Err(why) = of_quadlets(facts, user, demands, &mut outcome) {
        outcome.unknown_all(demands, "Quadlet files", &why);
    }
    if let Err(why) = of_the_system(facts, user, demands, &mut outcome) {
        outcome.unknown_all(demands, "services in /etc/systemd/system", &why);
    }
    outcome.or_skip("no unit runs containers of this user")
}

fn of_quadlets(facts: &Facts, user: &User, demands: &[Demand], outcome: &mut Outcome) -> Fact<()> {
    for quadlet in facts.quadlets(user)? {
        let assignments = match &quadlet.source {
            Ok(source) => assignments(source),
            Err(why) => {
                outcome.unknown_all(demands, &quadlet.path, why);
                continue;
            }
        };
        let fault = IDENTITY
            .iter()
            .filter_map(|key| last(&assignments, key).filter(|set| !set.value.value.is_empty()))
            .chain(SWITCHES.iter().filter_map(|key| {
                last(&assignments, key).filter(|set| boolean(&set.value.value) == Some(true))
            }))
            .next();
        let finding = match fault {
            None => Finding::new(&quadlet.path, EXPECTED, EXPECTED, Verdict::Met)
                .at([Evidence::path(&quadlet.path, "")]),
            Some(set) => {
                let found = format!("{}={} in [{SERVICE}]", set.key, set.value.value);
                let at = set.value.at.clone();
                let remedy = Remedy::manual(format!("take {}= out of {at}", set.key));
                let remedy = match facts.running() {
                    true => remedy
                        .command(format!("sudo systemctl --user -M {}@ daemon-reload", quoted(&user.name))),
                    false => remedy,
                };
                Finding::new(&quadlet.path, EXPECTED, found, Verdict::Unmet).at([at]).repair(remedy)
            }
        };
        outcome.add_all(demands, &finding);
    }
    Ok(())
}

fn of_the_system(facts: &Facts, user: &User, demands: &[Demand], outcome: &mut Outcome) -> Fact<()> {
    for service in facts.written_services()? {
        let uid = user.uid.to_string();
        let runs_as = last(&service.assignments, "User");
        let Some(runs_as) = runs_as.filter(|set| [&user.name, &uid].contains(&&set.value.value)) else {
            continue;
        };
        let starts = service
            .assignments
            .iter()
            .filter(|set| set.section == SERVICE && matches!(set.key.as_str(), "ExecStart" | "ExecStartPre"));
        let starts: Vec<&Assignment> = starts.collect();
        if starts.iter().any(|set| set.value.value == LEFT_OUT) {
            outcome.unknown_all(demands, &service.path, &"the capture leaves out what it runs");
        } else if let Some(start) =
            starts.into_iter().find(|set| runs_containers(&set.value.value, service.name.starts_with("k3s")))
        {
            let found = format!("a unit of the system manager, with User={}", runs_as.value.value);
            let remedy = Remedy::manual(format!(
                "have a unit of the user manager of {} run it, such as a Quadlet file in \
                 ~/.config/containers/systemd",
                user.name
            ));
            let remedy = match facts.running() {
                true => remedy.command(format!("sudo systemctl disable --now {}", quoted(&service.name))),
                false => remedy,
            };
            let finding = Finding::new(&service.path, EXPECTED, found, Verdict::Unmet)
                .at([runs_as.value.at.clone(), start.value.at.clone()]);
            outcome.add_all(demands, &finding.repair(remedy));
        }
    }
    Ok(())
}

fn last<'a>(assignments: &'a [Assignment], key: &str) -> Option<&'a Assignment> {
    assignments.iter().rfind(|set| set.section == SERVICE && set.key == key)
}

/// Whether a command line starts containers (systemd.service(5), "Special executable prefixes"). That of a
/// shell can be of several commands.
fn runs_containers(command: &str, is_of_k3s: bool) -> bool {
    let words = words(command).unwrap_or_default();
    let program = |word: &str| {
        let program = word.trim_start_matches(['@', '-', ':', '+', '!', '|']);
        program.rsplit('/').next().unwrap_or_default().to_owned()
    };
    let runs = |words: &[&str]| match words.first().map(|word| program(word)).as_deref() {
        Some("podman" | "podman-compose") => true,
        Some("k3s") => !is_of_k3s && words.contains(&"--rootless"),
        _ => false,
    };
    let plain: Vec<&str> = words.iter().map(String::as_str).collect();
    let shell = plain.first().is_some_and(|first| SHELLS.contains(&program(first).as_str()));
    let script = plain.iter().position(|word| word.starts_with('-') && word.ends_with('c'));
    let script = script.filter(|_| shell).and_then(|at| plain.get(at + 1)).copied().unwrap_or_default();
    let mut commands = script.split([';', '&', '|', '\n']).map(|command| {
        let command = command.trim().strip_prefix("exec ").unwrap_or(command);
        command.split_whitespace().collect::<Vec<_>>()
    });
    runs(&plain) || commands.any(|command| runs(&command))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;

    const DIR: &str = "/home/edge/.config/containers/systemd";
    const WEB: &str = "/home/edge/.config/containers/systemd/web.container";
    const SYSTEM: &str = "/etc/systemd/system/container-web.service";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::PodmanKube]), &edge())
    }

    /// After the first example of podman-systemd.unit(5).
    fn quadlet(service: &str) -> TestHost {
        let text =
            format!("[Container]\nImage=nginx\nUser=101\nNoNewPrivileges=true\n[Service]\n{service}\n");
        fixture("debian-13").dir(DIR, "0755", 1000).file(WEB, text)
    }

    /// What `podman generate systemd --new` writes, shortened, with what people add to it.
    fn generated(user: &str) -> TestHost {
        let text = format!(
            "[Service]\nEnvironment=PODMAN_SYSTEMD_UNIT=%n\n{user}Type=notify\nNotifyAccess=all\n\
             ExecStart=/usr/bin/podman run --cidfile=%t/%n.ctr-id --cgroups=no-conmon --rm -d nginx\n"
        );
        fixture("debian-13").file(SYSTEM, text)
    }

    #[test]
    fn a_quadlet_that_asks_for_nothing_passes() {
        let outcome = look_at(quadlet("Restart=always"));
        assert_eq!(verdicts(&outcome), [(WEB, Verdict::Met)]);
        assert!(look_at(fixture("debian-13")).skipped.is_some());
    }

    #[test]
    fn what_a_user_manager_cannot_do() {
        for (key, found) in [
            ("User=web", "User=web in [Service]"),
            ("User=0", "User=0 in [Service]"),
            ("Group=no", "Group=no in [Service]"),
            ("DynamicUser=yes", "DynamicUser=yes in [Service]"),
            ("NoNewPrivileges=yes", "NoNewPrivileges=yes in [Service]"),
        ] {
            let outcome = look_at(quadlet(key));
            let finding = findings(&outcome)[0];
            assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Unmet, found));
            assert_eq!(finding.evidence[0].to_string(), format!("{WEB}:6"));
        }
        let off = quadlet("User=web\nUser=\nDynamicUser=no\nNoNewPrivileges=0");
        assert_eq!(verdicts(&look_at(off))[0].1, Verdict::Met);
    }

    #[test]
    fn a_service_of_the_system_manager_as_the_user() {
        for user in ["User=edge\n", "User=1000\n"] {
            let outcome = look_at(generated(user));
            assert_eq!(verdicts(&outcome), [(SYSTEM, Verdict::Unmet)], "{user}");
            let finding = findings(&outcome)[0];
            assert_eq!(finding.evidence[0].to_string(), format!("{SYSTEM}:3"));
            assert_eq!(finding.remedy.commands, ["sudo systemctl disable --now container-web.service"]);
        }
        for user in ["", "User=other\n", "User=edge\nUser=\n"] {
            assert!(look_at(generated(user)).skipped.is_some(), "{user}");
        }
        let other = generated("User=edge\n").edit(SYSTEM, "/usr/bin/podman", "/usr/bin/node");
        assert!(look_at(other).skipped.is_some());
    }

    #[test]
    fn what_runs_containers() {
        let found = |path: &str, command: &str| {
            let text = format!("[Service]\nUser=edge\nExecStart={command}\n");
            !verdicts(&look_at(fixture("debian-13").file(path, text))).is_empty()
        };
        for command in [
            "/usr/bin/podman-compose up",
            "-/usr/bin/podman start web",
            "/usr/local/bin/k3s server --rootless",
            "/bin/sh -c 'podman run --rm nginx'",
            "/bin/bash -lc \"cd /srv && exec /usr/bin/podman-compose up\"",
        ] {
            assert!(found(SYSTEM, command), "{command}");
        }
        for command in [
            "/usr/local/bin/k3s server",
            "/usr/bin/podman-exporter",
            "/bin/sh -c 'echo podman'",
            "/bin/sh podman",
            "/usr/bin/env -c podman",
            "/bin/sh -c",
            "'podman",
        ] {
            assert!(!found(SYSTEM, command), "{command}");
        }
        let named = "/etc/systemd/system/k3s.service";
        assert!(!found(named, "/usr/local/bin/k3s server --rootless"), "k3s-service has it");
        assert!(found(named, "/usr/bin/podman run k3s"));
    }

    #[test]
    fn what_cannot_be_told_is_unknown() {
        let captured = generated("User=edge\n").file(SYSTEM, "[Service]\nUser=edge\nExecStart=LEFT-OUT\n");
        assert_eq!(unknown(&look_at(captured)), ["the capture leaves out what it runs"]);
        let denied = quadlet("").path(WEB, |record| record.read_error = Some("denied".to_owned()));
        assert_eq!(unknown(&look_at(denied)), [format!("{WEB} is not readable as this user")]);
        assert!(run(&quadlet("").facts(), &Requirements::default(), &edge()).skipped.is_some());
    }
}
