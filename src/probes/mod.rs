//! Functional probes, for `edgeprep check --probe`: what the checks tell from files is tried as the user, on
//! the running host, and taken back.
//!
//! A probe is a static with a function, one file each; it asks [`Bench`], whose processes have the user's
//! credentials, and returns [`Trial`]s. What those mean for the findings of the checks is decided in one
//! place, [`Trials::merge`]. The checks themselves know nothing of it.

mod bench;
mod cgroup_make;
mod child;
mod fuse_open;
mod id_map;
mod overlay_mount;
mod port_bind;
mod request;
mod socket_ping;
mod trial;
mod tun_open;
mod vxlan_link;

pub use child::serve;
pub use trial::{Claim, Trial, Trials, Word};

use crate::apply::as_user::is_called_with;
use crate::facts::Facts;
use crate::facts::users::User;
use crate::host::OrAbsent;
use crate::plan::Credentials;
use crate::report::Selection;
use crate::requirements::Requirements;
use bench::Bench;

/// What makes edgeprep the process that tries things.
const ARGUMENT: &str = "--probe-as-user";

/// One probe.
#[derive(Debug)]
pub struct Probe {
    /// The public name; it never changes.
    pub id: &'static str,
    /// What is tried, and how it is taken back, in a sentence without a final period.
    pub summary: &'static str,
    /// The checks that it speaks for.
    pub checks: &'static [&'static str],
    /// What to do where it is refused although the files say that it works.
    pub remedy: &'static str,
    run: fn(&Asked, &mut Bench) -> Vec<Trial>,
}

/// All probes, in the order in which they run: what is made first is used by the next.
pub static ALL: [&Probe; 8] = [
    &id_map::ID_MAP,
    &overlay_mount::OVERLAY_MOUNT,
    &tun_open::TUN_OPEN,
    &vxlan_link::VXLAN_LINK,
    &fuse_open::FUSE_OPEN,
    &port_bind::PORT_BIND,
    &cgroup_make::CGROUP_MAKE,
    &socket_ping::SOCKET_PING,
];

/// What a probe may know.
struct Asked<'a> {
    facts: &'a Facts,
    req: &'a Requirements,
    user: &'a User,
}

/// Whether this process was started to try things for a user.
pub fn is_called() -> bool {
    is_called_with(ARGUMENT)
}

/// Runs the probes that speak for a selected check, for each user. The host is a running one.
pub fn run(facts: &Facts, req: &Requirements, users: &[User], selection: &Selection) -> Trials {
    let mut trials = Vec::new();
    for user in users {
        let asked = Asked { facts, req, user };
        let mut bench = Bench::new(Credentials::of(user));
        for &probe in &ALL {
            if !probe.checks.iter().any(|check| selection.selected(check)) {
                continue;
            }
            trials.extend(match hindrance(facts, user) {
                Some(why) => vec![Trial::new(probe, user, probe.id, Word::Unknown(why))],
                None => (probe.run)(&asked, &mut bench),
            });
        }
    }
    Trials(trials)
}

/// Why nothing can be tried for a user.
fn hindrance(facts: &Facts, user: &User) -> Option<String> {
    match (user.uid, facts.caller().uid) {
        (0, _) => Some(format!("{} is root, for whom nothing is rootless", user.name)),
        (uid, caller) if caller == 0 || caller == uid => None,
        _ => Some(format!("only root can try it for {}", user.name)),
    }
}

/// Why a refusal inside of a user namespace says nothing of a stack: AppArmor tells programs apart, and
/// edgeprep is another program than Podman (Ubuntu's kernels, `kernel.apparmor_restrict_unprivileged_userns`).
fn is_told_apart(facts: &Facts) -> Option<&'static str> {
    let restricted = facts.sysctl("kernel.apparmor_restrict_unprivileged_userns").or_absent();
    let restricted = restricted.is_ok_and(|value| value.is_some_and(|value| value.value != "0"));
    let why = "AppArmor decides by program who may use a user namespace, and this one is no stack's: see \
               userns-apparmor";
    (restricted && facts.apparmor_enabled().unwrap_or(true)).then_some(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{empty_host, fixture};
    use crate::requirements::Stack;

    #[test]
    fn every_probe_speaks_for_checks_that_there_are() {
        for probe in ALL {
            assert!(!probe.checks.is_empty() && !probe.remedy.is_empty(), "{}", probe.id);
            assert!(!probe.summary.ends_with('.'), "{}", probe.id);
            for id in probe.checks {
                assert!(crate::checks::by_id(id).is_some(), "{}: {id}", probe.id);
            }
        }
    }

    #[test]
    fn a_user_tries_things_for_nobody_else() {
        let facts = fixture("debian-13").caller(1000, &[]).facts();
        let req = Requirements::merge(&[Stack::Podman], &[]).unwrap();
        let trials = run(&facts, &req, &[User::example("other", 1001)], &Selection::default());
        assert_eq!(trials.0.len(), ALL.len());
        for trial in &trials.0 {
            assert_eq!(trial.word, Word::Unknown("only root can try it for other".to_owned()));
        }
        let facts = fixture("debian-13").caller(0, &[]).facts();
        let one = Selection { select: vec!["fuse-*".to_owned()], ..Selection::default() };
        let trials = run(&facts, &req, &[User::example("root", 0)], &one);
        assert_eq!(trials.0.len(), 1, "only what speaks for a selected check is tried");
        assert_eq!(trials.0[0].word.text(), "root is root, for whom nothing is rootless");
    }

    #[test]
    fn apparmor_tells_programs_apart_only_where_it_is_on() {
        const SWITCH: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
        const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
        let with = |switch, on| empty_host().file(SWITCH, switch).file(ENABLED, on).facts();
        assert!(is_told_apart(&with("1\n", "Y\n")).is_some());
        assert!(is_told_apart(&with("0\n", "Y\n")).is_none());
        assert!(is_told_apart(&with("1\n", "N\n")).is_none());
        assert!(is_told_apart(&empty_host().facts()).is_none());
    }
}
