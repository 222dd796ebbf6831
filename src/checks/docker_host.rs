//! Whether clients of Docker find the user's Podman: see [`DOCKER_HOST`].

use crate::checks::check;
use crate::facts::sockets::{DOCKER_SOCKET, podman_socket_path};
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, Sourced};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};
use crate::settings::Setting;

check! {
    /// DOCKER_HOST and DOCKER_SOCK point at the user's Podman
    ///
    /// ## What is looked at
    ///
    /// Where edgeprep runs as the user, the two variables as they are set. Elsewhere, in an image and
    /// for another user, the files that set them: `/etc/environment`, which logins start with, and
    /// `environment.d`, which the user manager's services and graphical sessions start with. What a
    /// shell's own files set is not looked at, nor is Docker's context. Without any of these, what the
    /// user's logins start with is unknown to others.
    ///
    /// ## Why it matters
    ///
    /// k3d asks `/var/run/docker.sock` otherwise. That is nobody's, or the Docker of root, where the
    /// cluster then runs: with root's rights, if the user may write to it. `DOCKER_SOCK` is mounted into
    /// a container of the cluster, which does not start where the path does not exist.
    ///
    /// ## Repair
    ///
    /// A file in `~/.config/environment.d` sets both for the services of the user manager and for
    /// graphical sessions that it starts. Shells of a login over SSH or on a console do not read it:
    /// there both are exported where k3d is run, or in the start-up files of the shell.
    ///
    /// ## Sources
    ///
    /// - k3d: docs/usage/advanced/podman.md; pkg/runtimes/docker/docker.go
    /// - environment.d(5), pam_env(8)
    DOCKER_HOST, "docker-host", Advised, User(run)
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::DockerHost);
    let mut outcome = Outcome::default();
    let path = podman_socket_path(user.uid);
    for (name, wanted) in [("DOCKER_HOST", format!("unix://{path}")), ("DOCKER_SOCK", path)] {
        match look(facts, user, name, &wanted) {
            Ok(Some(finding)) => outcome.add_all(demands, &finding),
            Ok(None) => {
                let why = format!("only {0} sees what logins of {0} start with", user.name);
                outcome.unknown_all(demands, name, &why);
            }
            Err(why) => outcome.unknown_all(demands, name, &why),
        }
    }
    outcome.or_not_asked()
}

fn look(facts: &Facts, user: &User, name: &str, wanted: &str) -> Fact<Option<Finding>> {
    let login = facts.login_variable(name, user)?;
    let is_caller = facts.running() && facts.caller().uid == user.uid;
    let remedy = || {
        let summary = format!(
            "set {name} for the services and graphical sessions of {}; a shell of a login over SSH has to export it",
            user.name
        );
        let setting =
            Setting::Environment { user: user.name.clone(), name: name.to_owned(), value: wanted.to_owned() };
        Remedy::setting(summary, setting).command(format!("export {name}={wanted}"))
    };
    let finding = |found: &str, verdict| Finding::new(name, wanted, found, verdict).repair(remedy());
    if is_caller {
        let value = facts.caller().environment.get(name).filter(|value| !value.is_empty());
        let at = |text: &str| Evidence::path("/proc/self/environ", text);
        return Ok(Some(match value {
            Some(value) if value == wanted => finding(value, Verdict::Met).at([at(value)]),
            Some(value) => finding(value, Verdict::Unmet).at([at(value)]),
            None => match login.filter(|login| login.value == wanted) {
                Some(login) => finding("not set", Verdict::Pending(Needs::ReLogin)).at([login.at]),
                None => unset(facts, user, name, finding("", Verdict::Unmet)),
            },
        }));
    }
    let manager = facts.user_manager_variable(name, user)?;
    if let Some(Sourced { value, at }) = login.or(manager) {
        return Ok(Some(finding(&value, Verdict::met_if(value == wanted)).at([at])));
    }
    // In an image nobody has exported anything, so that what the files say is all there is.
    Ok((!facts.running()).then(|| unset(facts, user, name, finding("", Verdict::Unmet))))
}

/// With what is asked instead: the Docker of root, where the user may.
fn unset(facts: &Facts, user: &User, name: &str, finding: Finding) -> Finding {
    // A socket that cannot be looked at is only left out of the explanation.
    let docker = facts.user_socket(DOCKER_SOCKET).ok().flatten();
    let docker = docker.filter(|docker| docker.value.allows(user.uid, &user.groups, 2));
    let (found, at) = match docker {
        Some(docker) => ("not set, so the Docker of root is asked", docker.at),
        None => ("not set", Evidence::path("/etc/environment", format!("no {name}"))),
    };
    Finding { found: found.to_owned(), ..finding }.at([at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const HOST: &str = "unix:///run/user/1000/podman/podman.sock";
    const SOCK: &str = "/run/user/1000/podman/podman.sock";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::K3d]), &edge())
    }

    fn as_edge(environment: &[(&str, &str)]) -> TestHost {
        fixture("debian-13").caller(1000, environment)
    }

    fn both(verdict: Verdict) -> [(&'static str, Verdict); 2] {
        [("DOCKER_HOST", verdict), ("DOCKER_SOCK", verdict)]
    }

    #[test]
    fn the_caller_shows_both() {
        let outcome = look_at(as_edge(&[("DOCKER_HOST", HOST), ("DOCKER_SOCK", SOCK)]));
        assert_eq!(verdicts(&outcome), both(Verdict::Met));
        assert_eq!(outcome.items[0].level, Level::Advised);
        let outcome = look_at(as_edge(&[("DOCKER_HOST", "unix:///run/podman/podman.sock")]));
        assert_eq!(verdicts(&outcome), both(Verdict::Unmet));
        assert_eq!(findings(&outcome)[0].found, "unix:///run/podman/podman.sock");
        assert_eq!(findings(&outcome)[1].remedy.commands, [format!("export DOCKER_SOCK={SOCK}")]);
        let (user, name) = ("edge".to_owned(), "DOCKER_SOCK".to_owned());
        assert_eq!(
            findings(&outcome)[1].remedy.settings,
            [Setting::Environment { user, name, value: SOCK.to_owned() }]
        );
    }

    #[test]
    fn a_docker_of_root_that_the_user_may_use_is_named() {
        let docker = |mode: &str| {
            as_edge(&[]).path(DOCKER_SOCKET, |record| {
                record.kind = Some("socket".to_owned());
                record.mode = Some(mode.to_owned());
                record.gid = Some(1000);
            })
        };
        let outcome = look_at(docker("0660"));
        assert_eq!(findings(&outcome)[0].found, "not set, so the Docker of root is asked");
        assert_eq!(&*findings(&outcome)[0].evidence[0].path, DOCKER_SOCKET);
        assert_eq!(findings(&look_at(docker("0600")))[0].found, "not set");
    }

    #[test]
    fn a_file_for_logins_takes_a_login() {
        let text = format!("DOCKER_HOST={HOST}\nDOCKER_SOCK={SOCK}\n");
        let outcome = look_at(as_edge(&[]).file("/etc/environment", &text));
        assert_eq!(verdicts(&outcome), both(Verdict::Pending(Needs::ReLogin)));
        // What is for services of the user manager does not reach a login over SSH.
        let own = "/home/edge/.config/environment.d/50-podman.conf";
        assert_eq!(verdicts(&look_at(as_edge(&[]).file(own, &text))), both(Verdict::Unmet));
    }

    #[test]
    fn for_others_only_files_can_tell() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(unknown(&outcome), ["only edge sees what logins of edge start with"; 2]);
        let text = "DOCKER_HOST=unix://${XDG_RUNTIME_DIR}/podman/podman.sock\nDOCKER_SOCK=/run/docker.sock\n";
        let own = "/home/edge/.config/environment.d/50-podman.conf";
        let outcome = look_at(fixture("debian-13").file(own, text));
        assert_eq!(verdicts(&outcome), [("DOCKER_HOST", Verdict::Met), ("DOCKER_SOCK", Verdict::Unmet)]);
        assert_eq!(findings(&outcome)[1].evidence[0].to_string(), format!("{own}:2"));
        assert_eq!(verdicts(&look_at(fixture("debian-13").image())), both(Verdict::Unmet));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_unknown() {
        let outcome = look_at(fixture("debian-13").error("/etc/environment", "denied"));
        assert_eq!(unknown(&outcome)[0], "/etc/environment is not readable as this user");
        let k3s = run(&fixture("debian-13").facts(), &requirements(&[Stack::K3s]), &edge());
        assert!(k3s.skipped.is_some());
    }
}
