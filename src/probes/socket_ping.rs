//! Whether the user's Podman answers on its socket: see [`SOCKET_PING`].

use super::bench::Bench;
use super::request::{NO_ANSWER, Reply, Request};
use super::{Asked, Claim, Probe, Trial, Word};
use crate::facts::sockets::podman_socket_path;
use crate::requirements::Need;

/// The first question that each client of Docker asks. The connection has systemd start podman.service where it
/// does not run, which is what the socket is there for; it ends by itself once nobody has been connected for
/// `service_timeout` (`containers.conf(5)`; 5 seconds unless set).
pub(super) static SOCKET_PING: Probe = Probe {
    id: "socket-ping",
    summary: "the Docker API of the user's podman.socket is asked for /_ping, where something listens; that \
              starts podman.service, which ends by itself after service_timeout",
    checks: &["podman-socket"],
    remedy: "look at what podman.service of the user says: journalctl --user -u podman.service",
    run,
};

const UNIT: &str = "podman.socket";

fn run(asked: &Asked, bench: &mut Bench) -> Vec<Trial> {
    if asked.req.need(Need::PodmanSocket).is_empty() {
        return Vec::new();
    }
    let path = podman_socket_path(asked.user.uid);
    let word = match asked.facts.socket_listens(&path) {
        Ok(true) => word(bench.ask(&Request::Ping { path: path.clone() })),
        // The check says so already.
        Ok(false) => Word::Unknown("nothing listens".to_owned()),
        Err(why) => Word::Unknown(why.to_string()),
    };
    vec![Trial::new(&SOCKET_PING, asked.user, path, word).about([Claim::supports("podman-socket", UNIT)])]
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
    use crate::probes::request::Step;

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
