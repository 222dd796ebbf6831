//! Whether minikube runs Podman as the user: see [`MINIKUBE_ROOTLESS`].

use std::collections::BTreeMap;

use crate::checks::check;
use crate::facts::minikube_config::{is_true, path};
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, Sourced};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Demand, Need, Requirements};
use crate::settings::{Setting, as_user};

check! {
    /// minikube runs Podman without root
    ///
    /// ## What is looked at
    ///
    /// `rootless`, `driver` and `container-runtime` in `~/.minikube/config/config.json`, or below
    /// `MINIKUBE_HOME`, and `MINIKUBE_ROOTLESS`, `MINIKUBE_DRIVER` and `MINIKUBE_CONTAINER_RUNTIME`: where
    /// the caller is the user as they are set, else in `/etc/environment`. What shells set and what each
    /// command is told with `--rootless` is not known. A driver that is not set is Podman where no
    /// `docker` is installed.
    ///
    /// ## Why it matters
    ///
    /// On Linux minikube calls Podman through sudo unless it is told not to. Where sudo asks for a
    /// password, it stops: "sudo -n -k podman version ... a password is required", with the advice to
    /// do without the password. Where sudo asks for none, the cluster is root's, and nothing that is
    /// said here of the user counts. A command without `--rootless` does not find a cluster that was
    /// started with it.
    ///
    /// The container runtime is what the node runs pods with. Its default is docker, which minikube before
    /// 1.32 refuses without root: "--container-runtime must be set to "containerd" or "cri-o" for
    /// rootless"; since, it works with rootless Docker, and containerd is what is recommended.
    ///
    /// ## Repair
    ///
    /// `minikube config set rootless true`, `driver podman` and `container-runtime containerd`, which hold
    /// for all commands from then on: the keys of that file are set, and the others stay.
    ///
    /// ## Sources
    ///
    /// - minikube: pkg/minikube/registry/drvs/podman/podman.go; pkg/drivers/kic/oci, `IsRootlessForced`
    /// - minikube: pkg/minikube/localpath/localpath.go; minikube issues 8719 and 21549
    /// - minikube.sigs.k8s.io, Drivers, podman, "Rootless Podman"; minikube pull request 17520
    MINIKUBE_ROOTLESS, "minikube-rootless", Advised, User(run)
}

const ROOTLESS: &str = "rootless";
const DRIVER: &str = "driver";
const RUNTIME: &str = "container-runtime";
/// The driver that minikube prefers.
const DOCKER: &str = "docker";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::MinikubeRootless);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    let mut outcome = Outcome::default();
    let looked = match facts.user_program("minikube", user) {
        Ok(Some(_)) => look(facts, user, demands, &mut outcome),
        Ok(None) => return Outcome::skip("minikube is not installed: see stack-programs"),
        Err(why) => Err(why),
    };
    if let Err(why) = looked {
        outcome.unknown_all(demands, ROOTLESS, &why);
    }
    outcome
}

/// Where minikube is told of a key, and with what.
struct Told<'a> {
    facts: &'a Facts,
    user: &'a User,
    path: String,
    config: BTreeMap<String, Sourced<String>>,
}

impl Told<'_> {
    /// What it is told of a key, and whether by a variable, which counts before the file.
    fn of(&self, key: &str) -> Fact<Option<(Sourced<String>, bool)>> {
        let name = format!("MINIKUBE_{}", key.to_ascii_uppercase().replace('-', "_"));
        let set = variable(self.facts, self.user, &name)?.map(|set| (set, true));
        Ok(set.or_else(|| Some((self.config.get(key)?.clone(), false))))
    }

    fn finding(
        &self,
        key: &'static str,
        wanted: (&str, &'static str),
        is_met: impl Fn(Option<&str>) -> bool,
    ) -> Fact<Finding> {
        let told = self.of(key)?;
        let verdict = Verdict::met_if(is_met(told.as_ref().map(|(told, _)| told.value.as_str())));
        let finding = |found: &str| Finding::new(key, wanted.0, found, verdict);
        Ok(match told {
            Some((set, true)) => {
                let remedy = Remedy::manual(format!("take it out of {}, or set it to {}", set.at, wanted.1));
                finding(&set.value).at([set.at]).repair(remedy)
            }
            Some((set, false)) => finding(&set.value).at([set.at]).repair(self.remedy(key, wanted.1)),
            None => {
                let at = Evidence::path(&self.path, format!("does not set {key}"));
                finding("not set").at([at]).repair(self.remedy(key, wanted.1))
            }
        })
    }

    fn remedy(&self, key: &'static str, value: &'static str) -> Remedy {
        let name = &self.user.name;
        let summary = match key {
            ROOTLESS => format!("have the minikube of {name} run Podman without root"),
            key => format!("have the minikube of {name} take {value} as {key}"),
        };
        // An image has no such file of its users, and MINIKUBE_HOME can lead out of what is theirs.
        let own = self.path.starts_with(&format!("{}/", self.user.home.trim_end_matches('/')));
        if self.facts.running() && own {
            let setting = Setting::Minikube { user: name.clone(), path: self.path.clone(), key, value };
            return Remedy::setting(summary, setting);
        }
        let command = format!("minikube config set {key} {value}");
        let remedy = Remedy::manual(format!("{summary}: {command}"));
        if self.facts.running() { remedy.command(as_user(name, &command)) } else { remedy }
    }
}

fn look(facts: &Facts, user: &User, demands: &[Demand], outcome: &mut Outcome) -> Fact<()> {
    let home = variable(facts, user, "MINIKUBE_HOME")?;
    let path = path(user, home.as_ref().map(|home| home.value.as_str()));
    let config = facts.minikube_config(&path, user)?;
    let told = Told { facts, user, path, config };
    let rootless = told.finding(ROOTLESS, ("true", "true"), |value| value.is_some_and(is_true))?;
    outcome.add_all(demands, &rootless);
    let docker = match facts.user_program(DOCKER, user)? {
        Some(program) => facts.is_elf(&program.path)?,
        None => false,
    };
    let driver = told.finding(DRIVER, ("podman", "podman"), |value| match value {
        Some(driver) => driver == "podman",
        None => !docker,
    })?;
    for demand in demands {
        let why = "minikube prefers Docker where it is installed, and another driver makes another cluster";
        outcome.add(&demand.advised(why), driver.clone());
    }
    let runtime = told.finding(RUNTIME, ("containerd or cri-o", "containerd"), |value| {
        matches!(value, Some("containerd" | "cri-o" | "crio"))
    })?;
    for demand in demands {
        let why = "before 1.32 minikube refuses its default, docker, without root: \"--container-runtime must \
                   be set\"; containerd is what it recommends";
        outcome.add(&demand.advised(why), runtime.clone());
    }
    Ok(())
}

/// A variable as the user's commands see it, as far as that is known.
fn variable(facts: &Facts, user: &User, name: &str) -> Fact<Option<Sourced<String>>> {
    if facts.running() && facts.caller().uid == user.uid {
        let value = facts.caller().environment.get(name).filter(|value| !value.is_empty());
        let at = |value: &str| Evidence::path("/proc/self/environ", format!("{name}={value}"));
        return Ok(value.map(|value| Sourced { value: value.clone(), at: at(value) }));
    }
    facts.login_variable(name, user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const CONFIG: &str = "/home/edge/.minikube/config/config.json";
    const PROGRAM: &str = "/usr/local/bin/minikube";
    /// As `minikube config set` writes it.
    const SET: &str =
        "{\n    \"driver\": \"podman\",\n    \"rootless\": true,\n    \"container-runtime\": \"cri-o\"\n}";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Minikube]), &edge())
    }

    fn host() -> TestHost {
        let host = fixture("debian-13").without("/usr/bin/docker").caller(0, &[]);
        host.file(PROGRAM, "").mode(PROGRAM, "0755")
    }

    /// Of `rootless`, `driver` and `container-runtime`.
    fn is_met(outcome: &Outcome) -> Vec<bool> {
        verdicts(outcome).iter().map(|(_, verdict)| *verdict == Verdict::Met).collect()
    }

    #[test]
    fn minikube_is_told() {
        let outcome = look_at(host().file(CONFIG, SET));
        assert_eq!(verdicts(&outcome), [ROOTLESS, DRIVER, RUNTIME].map(|key| (key, Verdict::Met)));
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{CONFIG}:3"));
        assert!(outcome.items.iter().all(|item| item.level == Level::Advised));
        let variables = [("MINIKUBE_ROOTLESS", "true"), ("MINIKUBE_CONTAINER_RUNTIME", "containerd")];
        assert_eq!(is_met(&look_at(host().caller(1000, &variables))), [true; 3]);
        let login = host().file("/etc/environment", "MINIKUBE_ROOTLESS=1\n");
        assert_eq!(findings(&look_at(login))[0].evidence[0].to_string(), "/etc/environment:1");
        let elsewhere = host().caller(1000, &[("MINIKUBE_HOME", "/data")]);
        let elsewhere = look_at(elsewhere.file("/data/.minikube/config/config.json", SET));
        assert_eq!(is_met(&elsewhere), [true; 3]);
    }

    #[test]
    fn minikube_is_not_told() {
        let outcome = look_at(host());
        assert_eq!(is_met(&outcome), [false, true, false]);
        let finding = findings(&outcome)[0];
        assert_eq!((finding.found.as_str(), finding.verdict), ("not set", Verdict::Unmet));
        assert_eq!(finding.evidence[0].to_string(), CONFIG);
        let setting =
            |key, value| [Setting::Minikube { user: "edge".to_owned(), path: CONFIG.to_owned(), key, value }];
        assert_eq!(finding.remedy.settings, setting(ROOTLESS, "true"));
        assert_eq!(findings(&outcome)[2].remedy.settings, setting(RUNTIME, "containerd"));
        let elsewhere =
            look_at(host().caller(1000, &[("MINIKUBE_HOME", "/data"), ("PATH", "/usr/local/bin")]));
        let remedy = &findings(&elsewhere)[0].remedy;
        assert_eq!(remedy.settings, []);
        assert_eq!(remedy.commands, ["sudo -Hu edge minikube config set rootless true"]);
        assert_eq!(findings(&look_at(host().image()))[0].remedy.settings, []);
        let off = look_at(host().file(CONFIG, SET.replace("true", "false")));
        assert_eq!((findings(&off)[0].found.as_str(), is_met(&off)), ("false", vec![false, true, true]));
        let variable = look_at(host().file(CONFIG, SET).caller(1000, &[("MINIKUBE_ROOTLESS", "false")]));
        assert_eq!(is_met(&variable), [false, true, true]);
        assert!(findings(&variable)[0].remedy.settings.is_empty(), "the file does not count");
    }

    #[test]
    fn docker_beside_podman_takes_a_driver() {
        let docker = |bytes: &[u8]| host().file("/usr/bin/docker", bytes).mode("/usr/bin/docker", "0755");
        let elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0";
        assert_eq!(is_met(&look_at(docker(elf))), [false; 3]);
        assert!(is_met(&look_at(docker(elf).file(CONFIG, SET)))[1]);
        assert!(is_met(&look_at(docker(b"#!/bin/sh\nexec podman \"$@\"\n")))[1]);
        let other = look_at(host().file(CONFIG, SET.replace("podman", "docker").replace("cri-o", "docker")));
        assert_eq!(is_met(&other), [true, false, false]);
    }

    #[test]
    fn unknown_and_skipped() {
        let malformed = look_at(host().file(CONFIG, "{\n"));
        assert!(unknown(&malformed)[0].starts_with(CONFIG), "{malformed:?}");
        let denied = look_at(host().file(CONFIG, SET).error(CONFIG, "denied"));
        assert_eq!(unknown(&denied), [format!("{CONFIG} is not readable as this user")]);
        assert!(look_at(host().without(PROGRAM)).skipped.is_some());
        assert!(run(&host().facts(), &requirements(&[Stack::Kind]), &edge()).skipped.is_some());
    }
}
