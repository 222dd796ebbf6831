//! Whether pods have a process to start with: see [`POD_PAUSE`].

use crate::checks::{check, install, of_podman};
use crate::facts::podman::Podman;
use crate::facts::programs::Program;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};

/// Where Podman looks before it searches (containers/common, `DefaultInitPath`).
const DEFAULT_PATH: &str = "/usr/libexec/podman/catatonit";

check! {
    /// Pods have their pause process
    ///
    /// ## What is looked at
    ///
    /// The program catatonit: at `init_path` of `containers.conf`, at `/usr/libexec/podman/catatonit`,
    /// in the directories of `helper_binaries_dir` and on the search path. Where `infra_image` is set,
    /// and before Podman 4.0, pods start from an image instead, which is pulled.
    ///
    /// ## Why it matters
    ///
    /// Every pod starts with a process that does nothing but hold its namespaces. Without catatonit
    /// `podman run` works, and `podman pod create`, `podman kube play` and Quadlet's pods stop:
    /// "finding pause binary" up to Podman 5.4, "finding catatonit binary" after.
    ///
    /// ## Repair
    ///
    /// catatonit is installed; Podman's package only recommends it on some distributions.
    ///
    /// ## Sources
    ///
    /// - podman: pkg/specgen/generate/pause_image.go (4.3 to 5.4), pkg/specgen/generate/pod_create.go (4.0)
    /// - podman: libpod/container_internal_common.go, `prepareCatatonitMount` (from 5.5)
    /// - containers/common: pkg/config/config.go, `FindInitBinary`
    POD_PAUSE, "pod-pause", Required, User(run)
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::PodPause);
    of_podman(facts, user, demands, |podman, outcome| {
        outcome.add_all(demands, &look(facts, podman, user)?);
        Ok(())
    })
}

fn look(facts: &Facts, podman: &Podman, user: &User) -> Fact<Finding> {
    let finding = |found: &str, verdict| Finding::new("catatonit", "installed", found, verdict);
    let conf = facts.containers_conf(user)?;
    if let Some(image) = conf.infra_image.as_ref().filter(|image| !image.value.is_empty()) {
        let found = format!("not needed with infra_image {}", image.value);
        return Ok(finding(&found, Verdict::Met).at([image.at.clone()]));
    }
    if podman.is_at_least(4) == Some(false) {
        return Ok(finding("not needed before Podman 4", Verdict::Met).at([podman.evidence()]));
    }
    let named = conf.init_path.as_ref().filter(|path| !path.value.is_empty());
    let program = match named {
        Some(path) => facts.program_at(&path.value)?,
        None => search(facts, user)?,
    };
    if let Some(program) = program.filter(|program| program.is_executable_by(user)) {
        return Ok(finding("installed", Verdict::Met).at([program.evidence()]));
    }
    if podman.is_at_least(4).is_none() {
        return Err(podman.unknown());
    }
    let at = match named {
        Some(path) => path.at.clone(),
        None => Evidence::path(DEFAULT_PATH, "does not exist, nor elsewhere on the search path"),
    };
    Ok(finding("not installed", Verdict::Unmet).at([at]).repair(install(facts, &["catatonit"])))
}

fn search(facts: &Facts, user: &User) -> Fact<Option<Program>> {
    match facts.program_at(DEFAULT_PATH)? {
        Some(program) => Ok(Some(program)),
        None => facts.helper_program("catatonit", user),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const ON_PATH: &str = "/usr/bin/catatonit";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::PodmanKube]), &edge())
    }

    fn without() -> TestHost {
        fixture("debian-13").without(ON_PATH).without(DEFAULT_PATH)
    }

    fn debian_11(host: TestHost) -> TestHost {
        host.edit("/var/lib/dpkg/status", "Version: 5.4.2+ds1-2+b2", "Version: 3.0.1+dfsg1-3+deb11u5")
    }

    #[test]
    fn catatonit_is_found_where_podman_looks() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [("catatonit", Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), DEFAULT_PATH);
        let on_path = look_at(without().file(ON_PATH, "").mode(ON_PATH, "0755"));
        assert_eq!(verdicts(&on_path)[0].1, Verdict::Met);
        assert_eq!(findings(&on_path)[0].evidence[0].to_string(), ON_PATH);
        let elsewhere = "/usr/libexec/catatonit/catatonit";
        let host = without().file(elsewhere, "").mode(elsewhere, "0755");
        assert_eq!(verdicts(&look_at(host))[0].1, Verdict::Unmet, "Podman does not look there");
    }

    #[test]
    fn without_it_kube_play_fails_and_podman_run_does_not() {
        let outcome = look_at(without());
        assert_eq!((outcome.items[0].level, verdicts(&outcome)[0].1), (Level::Required, Verdict::Unmet));
        assert_eq!(findings(&outcome)[0].remedy.commands, ["sudo apt install catatonit"]);
        let podman = run(&without().facts(), &requirements(&[Stack::Podman]), &edge());
        assert_eq!((podman.items[0].level, verdicts(&podman)[0].1), (Level::Advised, Verdict::Unmet));
    }

    #[test]
    fn an_image_can_take_its_place() {
        let conf = "[engine]\ninfra_image = \"registry.k8s.io/pause:3.10\"\n";
        let outcome = look_at(without().file("/etc/containers/containers.conf", conf));
        assert_eq!(verdicts(&outcome)[0].1, Verdict::Met);
        assert_eq!(findings(&outcome)[0].evidence[0].line, Some(2));
        assert_eq!(verdicts(&look_at(debian_11(without())))[0].1, Verdict::Met);
    }

    #[test]
    fn a_path_that_is_named_is_not_searched_for() {
        let conf = "[containers]\ninit_path = \"/opt/catatonit\"\n";
        let outcome = look_at(fixture("debian-13").file("/etc/containers/containers.conf", conf));
        assert_eq!(verdicts(&outcome)[0].1, Verdict::Unmet);
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), "/etc/containers/containers.conf:2");
    }

    #[test]
    fn an_unknown_version_is_unknown_only_where_it_decides() {
        let rpm = |host: TestHost| {
            host.without("/var/lib/dpkg")
                .without("/usr/libexec/podman/quadlet")
                .without("/usr/lib/systemd/user/podman-user-wait-network-online.service")
                .without("/usr/lib/systemd/user/podman.socket")
                .dir("/var/lib/rpm", "0755", 0)
        };
        assert_eq!(unknown(&look_at(rpm(without()))), ["/usr/lib/sysimage/rpm: RPM databases are not read"]);
        assert_eq!(verdicts(&look_at(rpm(fixture("debian-13"))))[0].1, Verdict::Met);
        assert!(look_at(without().without("/usr/bin/podman")).skipped.is_some());
    }
}
