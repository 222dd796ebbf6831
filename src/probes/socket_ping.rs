//! Whether the user's Podman answers on its socket: see [`SOCKET_PING`].

use super::bench::Bench;
use super::request::{NO_ANSWER, Reply, Request};
use super::{Asked, Claim, Probe, Trial, Word};
use crate::facts::sockets::podman_socket_path;
use crate::host::Fact;
use crate::requirements::Need;

/// The first question that each client of Docker asks. A connection has systemd start podman.service where it does
/// not run, and Podman then makes its storage and a process that holds a user namespace, which both stay: so it is
/// asked only where it runs.
pub(super) static SOCKET_PING: Probe = Probe {
    id: "socket-ping",
    summary: "the Docker API of the user's podman.socket is asked for /_ping, where no question starts podman.service",
    checks: &["podman-socket"],
    remedy: "look at what podman.service of the user says: journalctl --user -u podman.service",
    run,
};

const UNIT: &str = "podman.socket";
const SERVICE: &str = "podman.service";

fn run(asked: &Asked, bench: &mut Bench) -> Vec<Trial> {
    if asked.req.need(Need::PodmanSocket).is_empty() {
        return Vec::new();
    }
    let path = podman_socket_path(asked.user.uid);
    let word = match hindrance(asked, &path) {
        Ok(None) => word(bench.ask(&Request::Ping { path: path.clone() })),
        Ok(Some(why)) => Word::Unknown(why),
        Err(why) => Word::Unknown(why.to_string()),
    };
    vec![Trial::new(&SOCKET_PING, asked.user, path, word).about([Claim::supports("podman-socket", UNIT)])]
}

/// Why it is not asked, if it is not.
fn hindrance(asked: &Asked, path: &str) -> Fact<Option<String>> {
    if !asked.facts.socket_listens(path)? {
        return Ok(Some("nothing listens".to_owned()));
    }
    let uid = asked.user.uid;
    // Without a user manager nobody starts anything for a connection.
    let starts =
        asked.facts.user_manager_runs(uid)? && asked.facts.user_unit_processes(uid, SERVICE)?.is_empty();
    let why = || {
        format!(
            "podman.service does not run, and a question would start it; this asks: \
             curl --unix-socket {path} http://podman/_ping"
        )
    };
    Ok(starts.then(why))
}

fn word(reply: Result<Reply, String>) -> Word {
    match reply {
        Ok(Reply::Pong { status: 200, is_podman: true }) => {
            Word::Works("Podman answered /_ping of the Docker API".to_owned())
        }
        Ok(Reply::Pong { status: 200, is_podman: false }) => {
            Word::Refused("what answers on it is not Podman".to_owned())
        }
        Ok(Reply::Pong { status, .. }) => Word::Refused(format!("/_ping was answered with {status}")),
        Ok(Reply::Failed(failure)) => Word::Refused(failure.to_string()),
        Ok(_) => Word::Unknown(NO_ANSWER.to_owned()),
        Err(why) => Word::Unknown(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, fixture};
    use crate::facts::users::User;
    use crate::probes::request::Step;
    use crate::requirements::Requirements;

    const PATH: &str = "/run/user/1000/podman/podman.sock";

    /// Seen on Debian 13: a connection leaves a storage, and a process that holds a user namespace.
    #[test]
    fn what_does_not_run_is_not_started() {
        let why = |host: TestHost| {
            let (facts, req) = (host.facts(), Requirements::default());
            let user = User::example("edge", 1000);
            hindrance(&Asked { facts: &facts, req: &req, user: &user }, PATH).unwrap()
        };
        let listens = |host: TestHost| {
            let line = format!("0000000000000000: 00000002 00000000 00010000 0001 01 1 {PATH}\n");
            host.append("/proc/net/unix", &line)
        };
        let service = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/podman.service";
        let runs = |host: TestHost| {
            host.dir(service, "0755", 1000).file(&format!("{service}/cgroup.procs"), "700\n")
        };
        let header = "Num       RefCount Protocol Flags    Type St Inode Path\n";
        let debian = || fixture("debian-13").file("/proc/net/unix", header);
        assert_eq!(why(debian()).as_deref(), Some("nothing listens"));
        let question = "podman.service does not run, and a question would start it; this asks: \
                        curl --unix-socket /run/user/1000/podman/podman.sock http://podman/_ping";
        assert_eq!(why(listens(debian())).as_deref(), Some(question));
        assert_eq!(why(runs(listens(debian()))), None);
    }

    #[test]
    fn only_podman_that_is_well_works() {
        let of = |status, is_podman| word(Ok(Reply::Pong { status, is_podman }));
        assert!(matches!(of(200, true), Word::Works(_)));
        assert_eq!(of(200, false), Word::Refused("what answers on it is not Podman".to_owned()));
        assert_eq!(of(500, true), Word::Refused("/_ping was answered with 500".to_owned()));
        let refused = word(Ok(Reply::Failed(Step::Ping.failed(nix::errno::Errno::ETIMEDOUT))));
        let said = "asking for /_ping: Connection timed out (ETIMEDOUT)".to_owned();
        assert_eq!(refused, Word::Refused(said));
        assert!(matches!(word(Ok(Reply::Done)), Word::Unknown(_)), "no answer to this question");
        assert!(matches!(word(Err("gone".to_owned())), Word::Unknown(_)));
    }
}
