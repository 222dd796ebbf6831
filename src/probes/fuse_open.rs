//! Whether the FUSE device opens: see [`FUSE_OPEN`].

use super::bench::Bench;
use super::request::Request;
use super::{Asked, Claim, Probe, Trial, Word};
use crate::requirements::Need;

/// As fuse-overlayfs and fusermount3 do it (`fuse(4)`). Nothing is mounted.
pub(super) static FUSE_OPEN: Probe = Probe {
    id: "fuse-open",
    summary: "/dev/fuse is opened as the user, and closed; the kernel loads its module for that, and keeps it",
    checks: &["fuse-device"],
    remedy: "look for what refuses it: a device cgroup, a security module, or a module that does not load",
    run,
};

const PATH: &str = "/dev/fuse";

fn run(asked: &Asked, bench: &mut Bench) -> Vec<Trial> {
    if asked.req.need(Need::FuseDevice).is_empty() {
        return Vec::new();
    }
    let reply = bench.ask(&Request::Open { path: PATH.to_owned(), major: 10, minor: 229 });
    let word = Word::of(reply, "opened");
    vec![Trial::new(&FUSE_OPEN, asked.user, PATH, word).about([Claim::proves("fuse-device", PATH)])]
}
