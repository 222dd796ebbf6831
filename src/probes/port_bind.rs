//! Whether the user can bind the ports that are to be published: see [`PORT_BIND`].

use nix::errno::Errno;

use super::bench::Bench;
use super::request::{Reply, Request};
use super::{Asked, Claim, Probe, Trial, Word};
use crate::checks::published_ports;
use crate::facts::listeners;
use crate::requirements::{Protocol, SysctlRule};

/// As pasta, rootlessport and K3s bind them, but without listening, so that nobody can connect. For the moment
/// between two system calls nobody else can bind the port, either.
pub(super) static PORT_BIND: Probe = Probe {
    id: "port-bind",
    summary: "each port is bound as the user on all addresses and let go at once; it never listens",
    checks: &["ports-free", "unprivileged-ports"],
    remedy: "look for who has the port without listening (ss -a), or for a security module that refuses it",
    run,
};

/// The first port that users may bind (`ip-sysctl.rst`).
const START: &str = "net.ipv4.ip_unprivileged_port_start";

fn run(asked: &Asked, bench: &mut Bench) -> Vec<Trial> {
    let mut trials: Vec<Trial> =
        lowest_wanted(asked).into_iter().map(|port| low(asked, bench, port)).collect();
    for (protocol, port) in published_ports(asked.facts, asked.req, asked.user) {
        trials.push(free(asked, bench, protocol, port));
    }
    trials
}

/// The ports from which on everyone may bind, by the requirements on it.
fn lowest_wanted(asked: &Asked) -> Vec<u16> {
    let rules = asked.req.sysctls.get(START).map_or(&[][..], |want| &want.rules);
    let bound = |rule: &SysctlRule| match rule {
        // To bind 0 is to take any.
        SysctlRule::AtMost(most) => u16::try_from(*most).ok().filter(|port| *port > 0),
        _ => None,
    };
    rules.iter().filter_map(|want| bound(&want.value)).collect()
}

/// Whether the port may be bound. That is decided before it is seen whether it is free (Linux:
/// `net/ipv4/af_inet.c`, `__inet_bind`).
fn low(asked: &Asked, bench: &mut Bench, port: u16) -> Trial {
    let word = match bench.ask(&Request::Bind { udp: false, port }) {
        Ok(Reply::Failed(failure)) if failure.errno() == Errno::EADDRINUSE => {
            Word::Works("may be bound, though it is in use".to_owned())
        }
        reply => Word::of(reply, "bound"),
    };
    let claim =
        Claim { expected: Some(format!("at most {port}")), ..Claim::proves("unprivileged-ports", START) };
    Trial::new(&PORT_BIND, asked.user, format!("tcp/{port} as a low port"), word).about([claim])
}

fn free(asked: &Asked, bench: &mut Bench, protocol: Protocol, port: u16) -> Trial {
    let udp = protocol == Protocol::Udp;
    let subject = format!("{protocol}/{port}");
    let word = if is_users_own(asked, udp, port) {
        Word::Unknown(format!("in use by {} already, as by a stack that runs", asked.user.name))
    } else {
        match bench.ask(&Request::Bind { udp, port }) {
            Ok(Reply::Failed(failure)) if failure.errno() == Errno::EACCES => {
                Word::Unknown(format!("{failure}; whether it is free was not to be seen"))
            }
            reply => Word::of(reply, "bound"),
        }
    };
    Trial::new(&PORT_BIND, asked.user, &subject, word).about([Claim::proves("ports-free", &subject)])
}

/// Whether nobody but the user has the port: what cannot be bound then is in nobody's way.
fn is_users_own(asked: &Asked, udp: bool, port: u16) -> bool {
    let Ok(all) = asked.facts.listeners() else { return false };
    let protocol = if udp { listeners::Protocol::Udp } else { listeners::Protocol::Tcp };
    let mut holders = all.iter().filter(|l| l.protocol == protocol && l.port == port).peekable();
    holders.peek().is_some() && holders.all(|holder| holder.uid == asked.user.uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::fixture;
    use crate::facts::users::User;
    use crate::requirements::{Requirements, Stack};

    #[test]
    fn what_is_tried_is_what_is_asked_for() {
        let user = User::example("edge", 1000);
        let facts = fixture("debian-13").facts();
        let lowest = |stack| {
            let req = Requirements::merge(&[stack], &[]).unwrap();
            lowest_wanted(&Asked { facts: &facts, req: &req, user: &user })
        };
        assert_eq!(lowest(Stack::Podman), [80]);
        assert!(lowest(Stack::K3s).is_empty());
    }

    #[test]
    fn a_port_that_the_stack_itself_holds_is_not_tried() {
        let holder = |uid: u32| {
            let line = format!(
                "   0: 00000000:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000 {uid} 0 485 1 0\n"
            );
            let facts = fixture("debian-13").append("/proc/net/tcp", &line).facts();
            let (req, user) = (Requirements::default(), User::example("edge", 1000));
            is_users_own(&Asked { facts: &facts, req: &req, user: &user }, false, 6443)
        };
        assert!(holder(1000) && !holder(0));
        let facts = fixture("debian-13").facts();
        let (req, user) = (Requirements::default(), User::example("edge", 1000));
        assert!(!is_users_own(&Asked { facts: &facts, req: &req, user: &user }, false, 6443));
    }
}
