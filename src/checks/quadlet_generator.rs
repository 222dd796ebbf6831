//! Whether Quadlet files become units: see [`QUADLET_GENERATOR`].

use crate::checks::{check, of_podman, openrc};
use crate::facts::generators::Generator;
use crate::facts::podman::Podman;
use crate::facts::users::User;
use crate::facts::version::Version;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};
use crate::settings::quoted;

/// Its name (podman: `Makefile`, `install.systemd`).
const NAME: &str = "podman-user-generator";
/// The first version that has it.
const SINCE: [u64; 2] = [4, 4];

check! {
    /// Quadlet files become units of the user manager
    ///
    /// ## What is looked at
    ///
    /// The generator `podman-user-generator` in the directories of generators of user managers: `/run`,
    /// `/etc`, `/usr/local/lib` and `/usr/lib`, each with `systemd/user-generators`: whether one is there
    /// that can be executed, and none above it is a link to `/dev/null`. Before Podman 4.4 there is none,
    /// which is the business of podman-version; nor is there one without systemd.
    ///
    /// ## Why it matters
    ///
    /// The user manager runs the generator when it starts and when it is told to reload. Without it,
    /// Quadlet files are passed over in silence, and their services do not exist: "Unit web.service not
    /// found". `podman kube play` works without.
    ///
    /// ## Repair
    ///
    /// The package of Podman brings it, with the program `quadlet` that it leads to. A link to `/dev/null`
    /// is removed; then the user manager is told to reload.
    ///
    /// ## Sources
    ///
    /// - systemd.generator(7)
    /// - podman: Makefile, `install.systemd`; cmd/quadlet/main.go (from 4.4)
    QUADLET_GENERATOR, "quadlet-generator", Required, User(run)
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    if openrc(facts) {
        return Outcome::skip("there is no systemd to run generators");
    }
    let demands = req.need(Need::QuadletGenerator);
    let outcome = of_podman(facts, user, demands, |podman, outcome| {
        if let Some(finding) = look(facts, podman, user)? {
            outcome.add_all(demands, &finding);
        }
        Ok(())
    });
    outcome.or_skip("there is none before Podman 4.4")
}

fn look(facts: &Facts, podman: &Podman, user: &User) -> Fact<Option<Finding>> {
    let known = podman.version.as_ref().ok();
    let has_one = known.and_then(|known| known.value.is_at_least(&Version::new(&SINCE)));
    if has_one == Some(false) {
        return Ok(None);
    }
    let finding = |found: &str, at: Evidence, remedy: Remedy| {
        let remedy = match facts.running() {
            true => remedy.command(format!("sudo systemctl --user -M {}@ daemon-reload", quoted(&user.name))),
            false => remedy,
        };
        let finding = Finding::new(NAME, "installed", found, Verdict::Unmet).at([at]).repair(remedy);
        Ok(Some(finding))
    };
    match facts.user_generator(NAME)? {
        Generator::Program(program) => {
            Ok(Some(Finding::new(NAME, "installed", "installed", Verdict::Met).at([program.evidence()])))
        }
        Generator::Masked(at) => {
            let remedy = Remedy::manual(format!("remove {}", at.path));
            let remedy = match facts.running() {
                true => remedy.command(format!("sudo rm {}", at.path)),
                false => remedy,
            };
            finding("masked", at, remedy)
        }
        Generator::Absent(at) if has_one == Some(true) => {
            let remedy = Remedy::manual("install the package of Podman anew, which brings it");
            finding("not installed", at, remedy)
        }
        Generator::Absent(_) => Err(podman.unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, distribution, fixture, podman};
    use crate::requirements::Stack;

    const VENDOR: &str = "/usr/lib/systemd/user-generators/podman-user-generator";
    const ETC: &str = "/etc/systemd/user-generators/podman-user-generator";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::PodmanKube]), &edge())
    }

    fn masked() -> TestHost {
        fixture("debian-13").path(ETC, |record| {
            record.link = Some("/dev/null".to_owned());
        })
    }

    #[test]
    fn podman_brings_it() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [(NAME, Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), VENDOR);
        assert!(
            run(&fixture("debian-13").facts(), &requirements(&[Stack::Podman]), &edge()).skipped.is_some()
        );
    }

    #[test]
    fn without_it_there_are_no_units() {
        let outcome = look_at(fixture("debian-13").without(VENDOR));
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Unmet, "not installed"));
        assert_eq!(finding.remedy.commands, ["sudo systemctl --user -M edge@ daemon-reload"]);
        let outcome = look_at(masked());
        let finding = findings(&outcome)[0];
        assert_eq!((finding.found.as_str(), finding.evidence[0].to_string().as_str()), ("masked", ETC));
        assert_eq!(finding.remedy.commands[0], format!("sudo rm {ETC}"));
    }

    #[test]
    fn where_there_is_none_to_look_for() {
        let old = podman(fixture("debian-13").without(VENDOR), "4.3.1+ds1-8+deb12u1");
        assert_eq!(look_at(old).skipped.as_deref(), Some("there is none before Podman 4.4"));
        assert!(look_at(distribution("alpine-3.22")).skipped.is_some());
    }

    #[test]
    fn what_cannot_be_told_is_unknown() {
        let denied = fixture("debian-13").error(VENDOR, "denied");
        assert_eq!(unknown(&look_at(denied)), [format!("{VENDOR} is not readable as this user")]);
    }
}
