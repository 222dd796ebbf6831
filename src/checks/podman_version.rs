//! Whether Podman is new enough: see [`PODMAN_VERSION`].

use crate::checks::check;
use crate::facts::Facts;
use crate::facts::podman::Podman;
use crate::facts::users::User;
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::requirements::{Component, Requirements};

check! {
    /// Podman is new enough for the stacks
    ///
    /// ## What is looked at
    ///
    /// The version of the package `podman`, where `podman` is the one of a package (dpkg, apk, opkg and
    /// pacman are read; RPM's database is not). Elsewhere files tell the least that it can be: Quadlet
    /// came with 4.4, `podman-user-wait-network-online.service` with 5.3, the page
    /// `podman-container.unit(5)` of the manual with 6.0, so that a manual without it is an earlier one.
    /// What that leaves open is unknown: edgeprep does not run `podman version`.
    ///
    /// ## Why it matters
    ///
    /// Quadlet is part of Podman since 4.4. kind asks Podman for the delegated controllers, which 4.0
    /// was the first to tell; k3d and Usernetes were made with 4 and later.
    ///
    /// ## Repair
    ///
    /// A later release of the distribution, or its backports. Distributions do not change the version
    /// within a release.
    ///
    /// ## Sources
    ///
    /// - podman: RELEASE_NOTES.md, 4.4.0; Makefile, `install.bin` and `install.systemd`
    /// - kind: site/content/docs/user/rootless.md
    /// - k3d: docs/usage/advanced/podman.md
    PODMAN_VERSION, "podman-version", Required, User(run)
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let Some(wants) = req.versions.get(&Component::Podman) else { return Outcome::not_asked() };
    let mut outcome = Outcome::default();
    let podman = match facts.podman(user) {
        Ok(Some(podman)) => podman,
        Ok(None) => return Outcome::skip("podman is not installed"),
        Err(why) => {
            outcome.unknown_all(wants.iter().map(|want| &want.demand), "podman", &why);
            return outcome;
        }
    };
    for want in wants {
        let known = podman.version.as_ref().ok().and_then(|known| known.value.is_at_least(&want.value));
        match known {
            Some(met) => outcome.add(&want.demand, finding(&podman, &want.value.to_string(), met)),
            None => outcome.unknown(&want.demand, "podman", podman.unknown()),
        }
    }
    outcome
}

fn finding(podman: &Podman, wanted: &str, met: bool) -> Finding {
    let found = podman.version.as_ref().map_or_else(|_| String::new(), |known| known.value.to_string());
    Finding::new("podman", format!("{wanted} or later"), found, Verdict::met_if(met))
        .at([podman.evidence()])
        .repair(Remedy::manual(format!(
            "upgrade podman to {wanted} or later, with the distribution if need be"
        )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const DPKG: &str = "/var/lib/dpkg/status";

    fn look_at(host: TestHost, stack: Stack) -> Outcome {
        run(&host.facts(), &requirements(&[stack]), &edge())
    }

    #[test]
    fn debian_13_is_new_enough() {
        let outcome = look_at(fixture("debian-13"), Stack::PodmanKube);
        assert_eq!(verdicts(&outcome), [("podman", Verdict::Met)]);
        let finding = findings(&outcome)[0];
        assert_eq!((finding.expected.as_str(), finding.found.as_str()), ("4.4 or later", "5.4.2"));
        assert_eq!(finding.evidence[0].text, "Version: 5.4.2+ds1-2+b2");
    }

    #[test]
    fn debian_12_has_no_quadlet_and_is_advised_for_minikube() {
        let old = || fixture("debian-13").edit(DPKG, "Version: 5.4.2+ds1-2+b2", "Version: 4.3.1+ds1-8+b1");
        let outcome = look_at(old(), Stack::PodmanKube);
        assert_eq!(verdicts(&outcome), [("podman", Verdict::Unmet)]);
        assert_eq!(findings(&outcome)[0].found, "4.3.1");
        let minikube = look_at(old(), Stack::Minikube);
        assert_eq!((minikube.items[0].level, verdicts(&minikube)[0].1), (Level::Advised, Verdict::Unmet));
        assert_eq!(verdicts(&look_at(old(), Stack::K3d)), [("podman", Verdict::Met)]);
    }

    #[test]
    fn without_a_package_the_least_that_it_can_be_may_do() {
        let rpm = fixture("debian-13").without("/var/lib/dpkg").dir("/usr/lib/sysimage/rpm", "0755", 0);
        let rpm = rpm
            .without("/usr/lib/systemd/user/podman-user-wait-network-online.service")
            .without("/usr/lib/systemd/user/podman.socket")
            .file("/usr/libexec/podman/quadlet", "");
        assert_eq!(verdicts(&look_at(rpm.clone(), Stack::PodmanKube)), [("podman", Verdict::Met)]);
        assert_eq!(
            unknown(&look_at(rpm.clone(), Stack::Minikube)),
            ["/usr/bin/podman: all that is known of its version is 4.4 or later"]
        );
        let bare = rpm.without("/usr/libexec/podman/quadlet");
        let why = look_at(bare, Stack::PodmanKube);
        assert_eq!(unknown(&why), ["/usr/lib/sysimage/rpm: RPM databases are not read"]);
    }

    #[test]
    fn without_podman_or_a_demand_there_is_nothing_to_say() {
        let none = look_at(fixture("debian-13").without("/usr/bin/podman"), Stack::Kind);
        assert_eq!(none.skipped.as_deref(), Some("podman is not installed"));
        assert!(look_at(fixture("debian-13"), Stack::K3s).skipped.is_some());
    }
}
