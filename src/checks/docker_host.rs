//! Whether clients of Docker find the user's Podman: see [`DOCKER_HOST`].

use crate::checks::check;
use crate::checks::variable::{Standing, remedy, standing};
use crate::facts::sockets::{DOCKER_SOCKET, ROOT_PODMAN_SOCKET};
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, Sourced};
use crate::finding::{Finding, Needs, Outcome, Verdict};
use crate::requirements::Requirements;

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
    /// Three forms are told apart: the user's own socket, which is what is wanted; the socket of root's
    /// Podman, `unix:///run/podman/podman.sock`; and `ssh://USER@HOST` or `tcp://HOST:PORT`, with which
    /// k3d asks another host. That is accepted, and `DOCKER_SOCK` is then a path over there, of which
    /// nothing can be said here.
    ///
    /// ## Why it matters
    ///
    /// k3d asks `/var/run/docker.sock` otherwise. That is nobody's, or the Docker of root, where the
    /// cluster then runs: with root's rights, if the user may write to it. `DOCKER_SOCK` is mounted into
    /// a container of the cluster, which does not start where the path does not exist. With the socket of
    /// root's Podman k3d works, for whoever may open it; the cluster has root's rights then, and nothing
    /// of it is rootless.
    ///
    /// ## Repair
    ///
    /// A file in `~/.config/environment.d` sets both for the services of the user manager and for
    /// graphical sessions that it starts. Shells of a login over SSH or on a console do not read it:
    /// there `eval "$(edgeprep env --stack k3d)"` exports both, where k3d is run or in the start-up
    /// files of the shell.
    ///
    /// ## Sources
    ///
    /// - k3d: docs/usage/advanced/podman.md; pkg/runtimes/docker/docker.go
    /// - environment.d(5), pam_env(8)
    DOCKER_HOST, "docker-host", Advised, User(run)
}

const HOST: &str = "DOCKER_HOST";
const SOCK: &str = "DOCKER_SOCK";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let mut outcome = Outcome::default();
    let mut is_elsewhere = false;
    for name in [HOST, SOCK] {
        for want in req.environment.get(name).map_or(&[][..], Vec::as_slice) {
            let wanted = want.value.value_for(user.uid, &user.home);
            let (finding, unknown) = match standing(facts, user, name, &wanted) {
                Ok(Standing::Unknown(why)) => (None, why),
                Ok(standing) => {
                    let (finding, elsewhere) = judge(facts, user, name, &wanted, standing, is_elsewhere);
                    is_elsewhere |= elsewhere;
                    (Some(finding), String::new())
                }
                Err(why) => (None, why.to_string()),
            };
            match finding {
                Some(finding) => outcome.add(&want.demand, finding),
                None => outcome.unknown(&want.demand, name, unknown),
            }
        }
    }
    outcome.or_not_asked()
}

/// Also whether k3d asks another host, where nothing that is said here counts. `is_elsewhere` says so of a
/// variable that was judged before.
fn judge(
    facts: &Facts,
    user: &User,
    name: &str,
    wanted: &str,
    standing: Standing,
    is_elsewhere: bool,
) -> (Finding, bool) {
    let finding = |found: String, verdict| {
        Finding::new(name, wanted, found, verdict).repair(remedy(user, name, wanted))
    };
    let set = match standing {
        Standing::Set(set) => set,
        Standing::AfterLogin(at) => {
            return (finding("not set".to_owned(), Verdict::Pending(Needs::ReLogin)).at([at]), false);
        }
        Standing::Unset | Standing::Unknown(_) => {
            return (unset(facts, user, name, finding(String::new(), Verdict::Unmet)), false);
        }
    };
    let Sourced { value, at } = set;
    let path = value.strip_prefix("unix://").unwrap_or(&value);
    // `/var/run` is a link to `/run`.
    let of_root = path.strip_prefix("/var").unwrap_or(path) == ROOT_PODMAN_SOCKET;
    let elsewhere = name == HOST && ["ssh://", "tcp://"].iter().any(|scheme| value.starts_with(scheme));
    let (found, verdict) = if value == wanted {
        (value, Verdict::Met)
    } else if elsewhere {
        (format!("{value}, which is not the Podman of {} on this host", user.name), Verdict::Met)
    } else if name == SOCK && is_elsewhere {
        (format!("{value}, a path where {HOST} leads to"), Verdict::Met)
    } else if of_root {
        (format!("{value}, the Podman of root, with whose rights the cluster runs"), Verdict::Unmet)
    } else {
        (value, Verdict::Unmet)
    };
    (finding(found, verdict).at([at]), elsewhere)
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
    use crate::settings::Setting;

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
        let found = "unix:///run/podman/podman.sock, the Podman of root, with whose rights the cluster runs";
        assert_eq!(findings(&outcome)[0].found, found);
        assert_eq!(findings(&outcome)[1].remedy.commands, [format!("export DOCKER_SOCK={SOCK}")]);
        let (user, name) = ("edge".to_owned(), "DOCKER_SOCK".to_owned());
        assert_eq!(
            findings(&outcome)[1].remedy.settings,
            [Setting::Environment { user, name, value: SOCK.to_owned() }]
        );
    }

    #[test]
    fn another_host_is_not_judged() {
        let sock = "/run/user/501/podman/podman.sock";
        for host in ["ssh://core@board.example:22", "tcp://10.0.0.7:2375"] {
            let outcome = look_at(as_edge(&[("DOCKER_HOST", host), ("DOCKER_SOCK", sock)]));
            assert_eq!(verdicts(&outcome), both(Verdict::Met), "{host}");
            let words = format!("{host}, which is not the Podman of edge on this host");
            assert_eq!(findings(&outcome)[0].found, words);
            assert_eq!(findings(&outcome)[1].found, format!("{sock}, a path where DOCKER_HOST leads to"));
        }
        let outcome = look_at(as_edge(&[("DOCKER_HOST", "ssh://core@board.example")]));
        assert_eq!(verdicts(&outcome), [("DOCKER_HOST", Verdict::Met), ("DOCKER_SOCK", Verdict::Unmet)]);
        // Here, and not over there.
        for host in ["unix:///run/docker.sock", "fd://", "ssh"] {
            let outcome = look_at(as_edge(&[("DOCKER_HOST", host), ("DOCKER_SOCK", sock)]));
            assert_eq!(verdicts(&outcome), both(Verdict::Unmet), "{host}");
        }
        let old = look_at(as_edge(&[("DOCKER_SOCK", "/var/run/podman/podman.sock")]));
        assert!(findings(&old)[1].found.contains("the Podman of root"), "{old:?}");
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
