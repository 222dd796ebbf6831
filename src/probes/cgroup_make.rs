//! Whether the user can make cgroups below the user manager, and with which controllers: see
//! [`CGROUP_MAKE`].

use nix::errno::Errno;
use nix::unistd::getpid;

use super::bench::Bench;
use super::request::{Reply, Request, Step};
use super::{Asked, Claim, Probe, Trial, Word};
use crate::facts::cgroup::{Controller, Controllers, Hierarchy, user_manager_levels};
use crate::requirements::Need;

/// A stack is a unit with `Delegate=yes` of the user manager, which switches controllers on for it as they are
/// needed. So what counts is not what a new cgroup happens to have, which is what something else has needed
/// before, but what `cgroup.controllers` of the user manager offers and whether the user may switch it on:
/// `cgroup.subtree_control` opens for writing, and a cgroup can be made and its `cgroup.procs` opened for
/// writing (`cgroup-v2.rst`, "Delegation").
pub(super) static CGROUP_MAKE: Probe = Probe {
    id: "cgroup-make",
    summary: "a cgroup is made as the user below that of the user manager, looked at and removed; no process \
              is moved and no controller switched on",
    checks: &["user-manager", "cgroup-delegation"],
    remedy: "see what user@UID.service was started with (systemctl cat), and log in anew",
    run,
};

fn run(asked: &Asked, bench: &mut Bench) -> Vec<Trial> {
    let user = asked.user;
    if asked.req.controllers.is_empty() && asked.req.need(Need::UserManager).is_empty() {
        return Vec::new();
    }
    let unit = format!("user@{}.service", user.uid);
    let unknown = |why: String| vec![Trial::new(&CGROUP_MAKE, user, &unit, Word::Unknown(why))];
    match asked.facts.cgroup_hierarchy() {
        Ok(found) if found.as_ref().as_ref().is_some_and(|found| found.value == Hierarchy::Unified) => {}
        Ok(_) => return unknown("the host does not run with cgroup v2 alone: see cgroup-version".to_owned()),
        Err(why) => return unknown(why.to_string()),
    }
    let [.., manager] = user_manager_levels(user.uid);
    let name = format!("edgeprep-probe-{}", getpid());
    let reply = bench.ask(&Request::MakeCgroup { manager: manager.clone(), name: name.clone() });
    if let Some(left) = sweep(&format!("{manager}/{name}")) {
        return unknown(left);
    }
    let running = || Claim::supports("user-manager", &unit);
    let word = match reply {
        Ok(Reply::Controllers { manager, made }) => {
            let all = each_controller(asked, &controllers(&manager), &controllers(&made));
            let made = Word::Works("a cgroup was made below it".to_owned());
            let made = Trial::new(&CGROUP_MAKE, user, &unit, made).about([running()]);
            return std::iter::once(made).chain(all).collect();
        }
        // Nothing is refused to who has no user manager.
        Ok(Reply::Failed(failure)) if failure.errno() == Errno::ENOENT => {
            let word = Word::Refused(format!("it has no cgroup: {failure}"));
            return vec![Trial::new(&CGROUP_MAKE, user, &unit, word).about([running()])];
        }
        // Made it was, and something else is in it by now.
        Ok(Reply::Failed(failure)) if failure.step == Step::RemoveCgroup => {
            Word::Unknown(failure.to_string())
        }
        reply => Word::of(reply, "a cgroup was made below it"),
    };
    let all = asked.req.controllers.keys().map(|controller| delegated(*controller));
    vec![Trial::new(&CGROUP_MAKE, user, &unit, word).about(all)]
}

fn delegated(controller: Controller) -> Claim {
    Claim::proves("cgroup-delegation", controller.as_str())
}

fn controllers(text: &str) -> Controllers {
    text.split_ascii_whitespace().filter_map(Controller::from_name).collect()
}

fn each_controller(asked: &Asked, offered: &Controllers, given: &Controllers) -> Vec<Trial> {
    let trial = |&controller: &Controller| {
        let word = if given.contains(&controller) {
            Word::Works("a cgroup made below the user manager has it".to_owned())
        } else if offered.contains(&controller) {
            Word::Works("the user may switch it on for a cgroup made below the user manager".to_owned())
        } else {
            Word::Refused("no cgroup made below the user manager can have it".to_owned())
        };
        Trial::new(&CGROUP_MAKE, asked.user, controller.as_str(), word).about([delegated(controller)])
    };
    asked.req.controllers.keys().map(trial).collect()
}

/// Removes what a process left that was killed at work; why it could not be, if it is there.
#[expect(
    clippy::disallowed_methods,
    reason = "it is edgeprep's own cgroup, and nothing but an empty one goes"
)]
fn sweep(made: &str) -> Option<String> {
    match std::fs::remove_dir(made) {
        Ok(()) => None,
        Err(error) => match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            Errno::ENOENT => None,
            errno => Some(format!("{made} could not be removed: {}", errno.desc())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::fixture;
    use crate::facts::users::User;
    use crate::requirements::{Requirements, Stack};

    #[test]
    fn what_can_be_switched_on_counts_as_what_is_on() {
        let facts = fixture("debian-13").facts();
        let req = Requirements::merge(&[Stack::K3s], &[]).unwrap();
        let user = User::example("edge", 1000);
        let asked = Asked { facts: &facts, req: &req, user: &user };
        let trials = each_controller(&asked, &controllers("cpu memory pids new\n"), &controllers("memory\n"));
        let words: Vec<(&str, &str)> =
            trials.iter().map(|trial| (trial.subject.as_str(), trial.word.as_str())).collect();
        let expected = [("cpu", "works"), ("cpuset", "refused"), ("memory", "works"), ("pids", "works")];
        assert_eq!(words, expected);
        assert_eq!(trials[1].claims, [delegated(Controller::Cpuset)]);
    }
}
