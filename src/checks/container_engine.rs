//! Whether stacks that work with several engines take Podman: see [`CONTAINER_ENGINE`].

use crate::checks::check;
use crate::checks::variable::{Standing, remedy, standing};
use crate::facts::programs::Program;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Needs, Outcome, Verdict};
use crate::host::{Fact, Unread};
use crate::requirements::{Requirements, Variable};

check! {
    /// Stacks take Podman where another container engine is installed
    ///
    /// ## What is looked at
    ///
    /// Whether the user has a program that a stack takes in place of Podman: for kind `docker`, `nerdctl`
    /// or `finch`, for Usernetes `dockerd-rootless.sh` or `containerd-rootless.sh`. A `docker` that is no
    /// ELF file, as that of podman-docker, is Podman itself. If there is one, the variable that says
    /// otherwise: where edgeprep runs as the user, as it is set; elsewhere in `/etc/environment` and
    /// `environment.d`. What a shell's own files set is not looked at.
    ///
    /// ## Why it matters
    ///
    /// kind takes the first of Docker, nerdctl and Podman that is installed, and `make` of Usernetes the
    /// first of rootless Docker, rootless containerd and Podman, whether they run or not. The cluster is
    /// then another engine's: Docker's is root's, and what is said here of Podman does not count for it.
    /// A cluster of one engine does not show to the other.
    ///
    /// ## Repair
    ///
    /// A file in `~/.config/environment.d` sets the variable for the services of the user manager and for
    /// graphical sessions that it starts. Shells of a login over SSH or on a console do not read it:
    /// there `eval "$(edgeprep env --stack kind)"` exports it.
    ///
    /// ## Sources
    ///
    /// - kind: pkg/cluster/provider.go, `DetectNodeProvider`; pkg/internal/runtime/runtime.go
    /// - usernetes: Makefile.d/detect-container-engine.sh
    CONTAINER_ENGINE, "container-engine", Advised, User(run)
}

/// What podman-docker brings a shell script of the same name for.
const DOCKER: &str = "docker";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let mut outcome = Outcome::default();
    let mut is_asked = false;
    let mut not_captured = None;
    for (name, wants) in &req.environment {
        for want in wants.iter().filter(|want| !want.value.instead_of.is_empty()) {
            is_asked = true;
            match look(facts, user, name, &want.value) {
                Ok(Some(Ok(finding))) => outcome.add(&want.demand, finding),
                Ok(Some(Err(why))) => outcome.unknown(&want.demand, name.as_str(), why),
                Ok(None) => {}
                // An early capture did not look for other engines.
                Err(why @ Unread::NotCaptured { .. }) => not_captured = Some(why),
                Err(why) => outcome.unknown(&want.demand, name.as_str(), why),
            }
        }
    }
    match (is_asked, not_captured) {
        (true, None) => outcome.or_skip("no other container engine is installed"),
        (true, Some(why)) => outcome.or_skip(&format!("other container engines are not known: {why}")),
        (false, _) => outcome.or_not_asked(),
    }
}

/// `None` where there is no other engine; else the finding, or why there is none.
fn look(
    facts: &Facts,
    user: &User,
    name: &str,
    variable: &Variable,
) -> Fact<Option<Result<Finding, String>>> {
    let Some(other) = other_engine(facts, user, &variable.instead_of)? else { return Ok(None) };
    let wanted = variable.value_for(user.uid, &user.home);
    let finding = |found: String, verdict, at: [Evidence; 2]| {
        Finding::new(name, wanted.as_str(), found, verdict).at(at).repair(remedy(user, name, &wanted))
    };
    let program = other.evidence();
    Ok(Some(match standing(facts, user, name, &wanted)? {
        Standing::Set(set) => {
            let verdict = Verdict::met_if(set.value == wanted);
            Ok(finding(set.value, verdict, [set.at, program]))
        }
        Standing::AfterLogin(at) => {
            Ok(finding("not set".to_owned(), Verdict::Pending(Needs::ReLogin), [at, program]))
        }
        Standing::Unset => {
            let found = format!("not set, and {} is installed", other.path);
            let at = Evidence::path("/etc/environment", format!("no {name}"));
            Ok(finding(found, Verdict::Unmet, [program, at]))
        }
        Standing::Unknown(why) => Err(format!("{} is installed, and {why}", other.path)),
    }))
}

fn other_engine(facts: &Facts, user: &User, names: &[String]) -> Fact<Option<Program>> {
    for name in names {
        if let Some(program) = facts.user_program(name, user)?
            && (name != DOCKER || facts.is_elf(&program.path)?)
        {
            return Ok(Some(program));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;
    use crate::settings::Setting;

    const PROGRAM: &str = "/usr/bin/docker";
    const KIND: &str = "KIND_EXPERIMENTAL_PROVIDER";
    /// `head -c 20` of a program of x86_64.
    const ELF: &[u8] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0";

    fn look_at(host: TestHost, stack: Stack) -> Outcome {
        run(&host.facts(), &requirements(&[stack]), &edge())
    }

    fn with(program: &str, bytes: &[u8]) -> TestHost {
        fixture("debian-13").caller(1000, &[]).file(program, bytes).mode(program, "0755")
    }

    #[test]
    fn podman_alone_needs_no_words() {
        let outcome = look_at(fixture("debian-13").without(PROGRAM), Stack::Kind);
        assert_eq!(outcome.skipped.as_deref(), Some("no other container engine is installed"));
        let podman_docker = with(PROGRAM, b"#!/bin/sh\nexec /usr/bin/podman \"$@\"\n");
        assert!(look_at(podman_docker, Stack::Kind).skipped.is_some());
        assert!(look_at(with(PROGRAM, ELF), Stack::K3d).skipped.is_some(), "it is not asked");
    }

    #[test]
    fn with_another_engine_the_variable_decides() {
        let outcome = look_at(with(PROGRAM, ELF), Stack::Kind);
        assert_eq!(verdicts(&outcome), [(KIND, Verdict::Unmet)]);
        let finding = findings(&outcome)[0];
        assert_eq!(finding.found, "not set, and /usr/bin/docker is installed");
        assert_eq!(&*finding.evidence[0].path, PROGRAM);
        let setting = Setting::Environment {
            user: "edge".to_owned(),
            name: KIND.to_owned(),
            value: "podman".to_owned(),
        };
        assert_eq!(finding.remedy.settings, [setting]);
        let set = |value: &str| look_at(with(PROGRAM, ELF).caller(1000, &[(KIND, value)]), Stack::Kind);
        assert_eq!(verdicts(&set("podman")), [(KIND, Verdict::Met)]);
        assert_eq!(verdicts(&set("docker")), [(KIND, Verdict::Unmet)]);
        let next = with(PROGRAM, ELF).file("/etc/environment", format!("{KIND}=podman\n"));
        assert_eq!(verdicts(&look_at(next, Stack::Kind)), [(KIND, Verdict::Pending(Needs::ReLogin))]);
        let image = look_at(with("/usr/local/bin/nerdctl", ELF).image(), Stack::Kind);
        assert_eq!(verdicts(&image), [(KIND, Verdict::Unmet)]);
        let script = look_at(with("/usr/bin/dockerd-rootless.sh", b"#!/bin/sh\n"), Stack::Usernetes);
        assert_eq!(verdicts(&script), [("CONTAINER_ENGINE", Verdict::Unmet)]);
    }

    #[test]
    fn what_cannot_be_seen_is_unknown() {
        let other = look_at(with(PROGRAM, ELF).caller(0, &[]), Stack::Kind);
        let why = "/usr/bin/docker is installed, and only edge sees what logins of edge start with";
        assert_eq!(unknown(&other), [why]);
        let denied = look_at(with(PROGRAM, ELF).error("/etc/environment", "denied"), Stack::Kind);
        assert_eq!(unknown(&denied), ["/etc/environment is not readable as this user"]);
    }
}
