//! Whether bypass4netns can work where it is installed: see [`BYPASS4NETNS`].

use crate::checks::install::install;
use crate::checks::{check, of_podman};
use crate::facts::users::User;
use crate::facts::version::Version;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent, Unread};
use crate::requirements::{Demand, Need, Requirements};

check! {
    /// bypass4netns has what it needs, where it is installed
    ///
    /// ## What is looked at
    ///
    /// Nothing, unless the user has the program `bypass4netns`. Then the release of the kernel, 5.9 or
    /// later; `user_notif` in `/proc/sys/kernel/seccomp/actions_avail`; the version of the runtime that
    /// Podman takes, crun 1.6 or runc 1.1 or later; and slirp4netns. Whether `bypass4netns` runs, and
    /// which containers are started with its seccomp profile, is not looked at.
    ///
    /// ## Why it matters
    ///
    /// bypass4netns makes sockets of containers in the network namespace of the host, past slirp4netns:
    /// some ten times the throughput. It is told of each system call by seccomp, gives the socket back
    /// with `SECCOMP_IOCTL_NOTIF_ADDFD` (Linux 5.9), and the runtime hands it the filter. Where one of
    /// these is missing, containers with its profile do not start.
    ///
    /// With pasta, which Podman takes from version 5 on, there is less to gain. Usernetes uses it with
    /// nerdctl alone (`bypass4netnsd.sock`). That it is not installed is nothing to report.
    ///
    /// ## Repair
    ///
    /// A later kernel or runtime, and slirp4netns.
    ///
    /// ## Sources
    ///
    /// - bypass4netns: README.md, "Requirements"
    /// - seccomp_unotify(2), `SECCOMP_IOCTL_NOTIF_ADDFD`; seccomp(2), "/proc interfaces"
    /// - usernetes: Makefile, `U7S_B4NN`
    BYPASS4NETNS, "bypass4netns", Advised, User(run)
}

const PROGRAM: &str = "bypass4netns";
const ACTION: &str = "user_notif";
const SLIRP4NETNS: &str = "slirp4netns";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::Bypass4netns);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    match facts.user_program(PROGRAM, user) {
        Ok(Some(_)) => {}
        Ok(None) => return Outcome::skip("bypass4netns is not installed, which is nothing to repair"),
        // A capture from before this was looked for: few have it.
        Err(why @ Unread::NotCaptured { .. }) => {
            return Outcome::skip(format!("whether bypass4netns is installed is not known: {why}"));
        }
        Err(why) => {
            let mut outcome = Outcome::default();
            outcome.unknown_all(demands, PROGRAM, &why);
            return outcome;
        }
    }
    of_podman(facts, user, demands, |_, outcome| {
        kernels(facts, demands, outcome)?;
        if facts.running() {
            match seccomp(facts) {
                Ok(finding) => outcome.add_all(demands, &finding),
                Err(why) => outcome.unknown_all(demands, ACTION, &why),
            }
        }
        runtime(facts, user, demands, outcome)?;
        let (found, verdict, at) = match facts.helper_program(SLIRP4NETNS, user)? {
            Some(program) => ("installed", Verdict::Met, program.evidence()),
            None => {
                ("not installed", Verdict::Unmet, Evidence::path("/usr/bin/slirp4netns", "does not exist"))
            }
        };
        let finding = Finding::new(SLIRP4NETNS, "installed", found, verdict).at([at]);
        outcome.add_all(demands, &finding.repair(install(facts, &[SLIRP4NETNS])));
        Ok(())
    })
}

fn kernels(facts: &Facts, demands: &[Demand], outcome: &mut Outcome) -> Fact<()> {
    let least = Version::new(&[5, 9]);
    for kernel in facts.counting_kernels()? {
        let subject = format!("Linux {}", kernel.release);
        let Some(found) = kernel.version() else {
            outcome.unknown_all(demands, &subject, &"the release does not begin with a number");
            continue;
        };
        let is_met = Version::new(&[found.major.into(), found.minor.into(), found.patch.into()]) >= least;
        let finding = Finding::new(subject, "at least 5.9", found.to_string(), Verdict::met_if(is_met));
        let finding = finding.at([kernel.at.clone()]).repair(Remedy::manual("install a newer kernel"));
        outcome.add_all(demands, &finding);
    }
    Ok(())
}

fn seccomp(facts: &Facts) -> Fact<Finding> {
    let expected = "a kernel that has it";
    let (found, verdict, at) = match facts.seccomp_actions().or_absent()? {
        Some(actions) if actions.value.iter().any(|action| action == ACTION) => {
            ("it has", Verdict::Met, actions.at)
        }
        Some(actions) => ("it has not", Verdict::Unmet, actions.at),
        None => {
            let at = Evidence::path("/proc/sys/kernel/seccomp", "does not exist");
            ("no seccomp filters", Verdict::Unmet, at)
        }
    };
    let remedy = Remedy::manual("take a kernel with CONFIG_SECCOMP_FILTER");
    Ok(Finding::new(ACTION, expected, found, verdict).at([at]).repair(remedy))
}

fn runtime(facts: &Facts, user: &User, demands: &[Demand], outcome: &mut Outcome) -> Fact<()> {
    // That there is one is for oci-runtime to say.
    let Some(program) = facts.oci_runtime(user)?.program else { return Ok(()) };
    let (name, least) = match program.path.rsplit('/').next() {
        Some("crun") => ("crun", Version::new(&[1, 6])),
        Some("runc") => ("runc", Version::new(&[1, 1])),
        _ => return Ok(()),
    };
    match facts.packaged_version(&program, name) {
        Ok(version) => {
            let wanted = format!("{least} or later");
            let verdict = Verdict::met_if(version.value >= least);
            let finding = Finding::new(name, &wanted, version.value.to_string(), verdict).at([version.at]);
            outcome.add_all(demands, &finding.repair(Remedy::manual(format!("upgrade {name} to {wanted}"))));
        }
        Err(why) => outcome.unknown_all(demands, name, &why),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;

    const PATH: &str = "/usr/bin/bypass4netns";
    const ACTIONS: &str = "/proc/sys/kernel/seccomp/actions_avail";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    fn host() -> TestHost {
        let host = fixture("debian-13").file(PATH, "").mode(PATH, "0755");
        host.file(ACTIONS, "kill_process kill_thread trap errno user_notif trace log allow\n")
    }

    /// The subjects that are not met.
    fn unmet(host: TestHost) -> Vec<String> {
        let outcome = look_at(host);
        let unmet = verdicts(&outcome).into_iter().filter(|(_, verdict)| *verdict != Verdict::Met);
        unmet.map(|(subject, _)| subject.to_owned()).collect()
    }

    #[test]
    fn where_nobody_installed_it_nothing_is_said() {
        let why = look_at(fixture("debian-13")).skipped;
        assert_eq!(why.as_deref(), Some("bypass4netns is not installed, which is nothing to repair"));
        let home = fixture("debian-13").error("/home/edge/.local/bin/bypass4netns", "denied");
        assert_eq!(
            unknown(&look_at(home)),
            ["/home/edge/.local/bin/bypass4netns is not readable as this user"]
        );
        assert!(run(&host().facts(), &requirements(&[Stack::K3s]), &edge()).skipped.is_some());
    }

    #[test]
    fn debian_13_has_what_it_needs() {
        let outcome = look_at(host());
        let subjects: Vec<&str> = verdicts(&outcome).iter().map(|(subject, _)| *subject).collect();
        assert_eq!(subjects, ["Linux 6.12.117+deb13-cloud-amd64", ACTION, "crun", SLIRP4NETNS]);
        assert_eq!(unmet(host()), [""; 0]);
        assert_eq!(&*findings(&outcome)[1].evidence[0].path, ACTIONS);
    }

    #[test]
    fn each_part_can_be_missing() {
        assert_eq!(unmet(host().file("/proc/sys/kernel/osrelease", "5.8.0\n")), ["Linux 5.8.0"]);
        assert_eq!(unmet(host().file(ACTIONS, "kill_thread trap errno trace log allow\n")), [ACTION]);
        assert_eq!(unmet(host().without(ACTIONS)), [ACTION]);
        assert_eq!(unmet(host().without("/usr/bin/slirp4netns")), [SLIRP4NETNS]);
        let status = "Package: crun\nStatus: install ok installed\nVersion: 1.5+dfsg-1\n\n";
        let early = host()
            .file("/var/lib/dpkg/status", status)
            .file("/var/lib/dpkg/info/crun.list", "/usr/bin/crun\n");
        assert_eq!(unmet(early), ["crun"]);
    }

    #[test]
    fn what_cannot_be_seen_is_unknown() {
        let denied = look_at(host().error(ACTIONS, "denied"));
        assert_eq!(unknown(&denied), [format!("{ACTIONS} is not readable as this user")]);
        let image = look_at(host().image());
        assert!(verdicts(&image).iter().all(|(subject, _)| *subject != ACTION));
    }
}
