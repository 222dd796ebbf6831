//! Whether the TUN device opens where the network of containers is made: see [`TUN_OPEN`].

use super::bench::Bench;
use super::request::{Reply, Request, Step};
use super::{Asked, Claim, Probe, Trial, Word, is_told_apart};
use crate::requirements::Need;

/// As pasta and slirp4netns do it, in a network namespace of the user's. No interface is made: opening is what
/// the mode of the device and the module decide (Linux: `drivers/net/tun.c`, `tun_chr_open`), and the rest is
/// had by whoever owns the namespace.
pub(super) static TUN_OPEN: Probe = Probe {
    id: "tun-open",
    summary: "/dev/net/tun is opened in a network namespace of the user's, and closed; the kernel loads its \
              module for that, and keeps it",
    checks: &["tun-device", "namespace-limits"],
    remedy: "look for what refuses it: a device cgroup, a security module, or a module that does not load",
    run,
};

const PATH: &str = "/dev/net/tun";

fn run(asked: &Asked, bench: &mut Bench) -> Vec<Trial> {
    if asked.req.need(Need::TunDevice).is_empty() {
        return Vec::new();
    }
    let open = Request::Open { path: PATH.to_owned(), major: 10, minor: 200 };
    let mut reply = bench.ask_inside(&Request::NetworkNamespace);
    if matches!(reply, Some(Ok(Reply::Done))) {
        reply = bench.ask_inside(&open);
    }
    let claim = match &reply {
        Some(Ok(Reply::Failed(failure))) if failure.step == Step::NetworkNamespace => {
            Claim::supports("namespace-limits", "user.max_net_namespaces")
        }
        _ => Claim::proves("tun-device", PATH),
    };
    let word = match reply {
        None => Word::Unknown("there is no user namespace to try it in".to_owned()),
        Some(Ok(Reply::Failed(failure))) if let Some(why) = is_told_apart(asked.facts) => {
            Word::Unknown(format!("{failure}; {why}"))
        }
        Some(reply) => Word::of(reply, "opened in a network namespace of the user's"),
    };
    vec![Trial::new(&TUN_OPEN, asked.user, PATH, word).about([claim])]
}
