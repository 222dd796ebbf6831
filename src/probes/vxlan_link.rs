//! Whether a VXLAN interface can be made without root: see [`VXLAN_LINK`].

use super::bench::Bench;
use super::request::{Reply, Request, Step};
use super::{Asked, Claim, Probe, Trial, Word, is_told_apart};

/// As flannel makes it, in a network namespace of the user's, with which it goes. The kernel loads the module
/// for that, if it has one (Linux: `net/core/rtnetlink.c`, "rtnl-link-%s").
pub(super) static VXLAN_LINK: Probe = Probe {
    id: "vxlan-link",
    summary: "a VXLAN interface is made in a network namespace of its own, and ends with the process; the kernel \
              loads its module for that, and keeps it",
    checks: &["module-available", "namespace-limits"],
    remedy: "load it as root, which says more (modprobe vxlan); some distributions have it in a package of \
             its own, such as kernel-modules-extra or linux-modules-extra-raspi",
    run,
};

const MODULE: &str = "vxlan";

fn run(asked: &Asked, bench: &mut Bench) -> Vec<Trial> {
    if !asked.req.modules.contains_key(MODULE) {
        return Vec::new();
    }
    let reply = bench.ask_inside(&Request::AddVxlan);
    let claim = match &reply {
        Some(Ok(Reply::Failed(failure))) if failure.step == Step::NetworkNamespace => {
            Claim::supports("namespace-limits", "user.max_net_namespaces")
        }
        _ => Claim::proves("module-available", MODULE),
    };
    let word = match reply {
        None => Word::Unknown("there is no user namespace to try it in".to_owned()),
        Some(Ok(Reply::Failed(failure))) if let Some(why) = is_told_apart(asked.facts) => {
            Word::Unknown(format!("{failure}; {why}"))
        }
        Some(reply) => Word::of(reply, "made in a network namespace of the user's"),
    };
    vec![Trial::new(&VXLAN_LINK, asked.user, MODULE, word).about([claim])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::fixture;
    use crate::facts::users::User;
    use crate::plan::Credentials;
    use crate::requirements::{Requirements, Stack};

    #[test]
    fn it_is_tried_where_a_cluster_asks_for_the_module() {
        let user = User::example("edge", 1000);
        let facts = fixture("debian-13").facts();
        let trials = |stack| {
            let req = Requirements::merge(&[stack], &[]).unwrap();
            let asked = Asked { facts: &facts, req: &req, user: &user };
            run(&asked, &mut Bench::new(Credentials::of(&user)))
        };
        assert!(trials(Stack::Podman).is_empty());
        for stack in [Stack::K3s, Stack::Usernetes] {
            let all = trials(stack);
            let none = "there is no user namespace to try it in".to_owned();
            assert_eq!((all.len(), &all[0].word), (1, &Word::Unknown(none)), "{stack:?}");
            assert_eq!(all[0].claims, [Claim::proves("module-available", MODULE)]);
        }
    }
}
