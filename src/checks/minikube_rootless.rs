//! Whether minikube runs Podman as the user: see [`MINIKUBE_ROOTLESS`].

use crate::checks::check;
use crate::facts::minikube_config::{is_true, path};
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, Sourced};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};
use crate::settings::{Setting, as_user};

check! {
    /// minikube runs Podman without root
    ///
    /// ## What is looked at
    ///
    /// `rootless` in `~/.minikube/config/config.json`, or below `MINIKUBE_HOME`, and
    /// `MINIKUBE_ROOTLESS`: where the caller is the user as they are set, else in `/etc/environment`.
    /// What shells set and what each command is told with `--rootless` is not known.
    ///
    /// ## Why it matters
    ///
    /// On Linux minikube calls Podman through sudo unless it is told not to. Where sudo asks for a
    /// password, it stops: "sudo -n -k podman version ... a password is required", with the advice to
    /// do without the password. Where sudo asks for none, the cluster is root's, and nothing that is
    /// said here of the user counts. A command without `--rootless` does not find a cluster that was
    /// started with it.
    ///
    /// ## Repair
    ///
    /// `minikube config set rootless true`, which holds for all commands from then on: the key of that
    /// file is set, and the others stay.
    ///
    /// ## Sources
    ///
    /// - minikube: pkg/minikube/registry/drvs/podman/podman.go; pkg/drivers/kic/oci, `IsRootlessForced`
    /// - minikube: pkg/minikube/localpath/localpath.go; minikube issues 8719 and 21549
    /// - minikube.sigs.k8s.io, Drivers, podman, "Rootless Podman"
    MINIKUBE_ROOTLESS, "minikube-rootless", Advised, User(run)
}

const KEY: &str = "rootless";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::MinikubeRootless);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    let mut outcome = Outcome::default();
    let looked = match facts.user_program("minikube", user) {
        Ok(Some(_)) => look(facts, user),
        Ok(None) => return Outcome::skip("minikube is not installed: see stack-programs"),
        Err(why) => Err(why),
    };
    match looked {
        Ok(finding) => outcome.add_all(demands, &finding),
        Err(why) => outcome.unknown_all(demands, KEY, &why),
    }
    outcome
}

fn look(facts: &Facts, user: &User) -> Fact<Finding> {
    let finding = |found: &str, verdict| Finding::new(KEY, "true", found, verdict);
    let set = |value: bool, at: Evidence| {
        let remedy = Remedy::manual(format!("take it out of {at}, or set it to true"));
        finding(&value.to_string(), Verdict::met_if(value)).at([at]).repair(remedy)
    };
    if let Some(variable) = variable(facts, user, "MINIKUBE_ROOTLESS")? {
        return Ok(set(is_true(&variable.value), variable.at));
    }
    let home = variable(facts, user, "MINIKUBE_HOME")?;
    let path = path(user, home.as_ref().map(|home| home.value.as_str()));
    let told = facts.minikube_rootless(&path, user)?;
    let summary = format!("have the minikube of {} run Podman without root", user.name);
    // An image has no such file of its users, and MINIKUBE_HOME can lead out of what is theirs.
    let own = path.starts_with(&format!("{}/", user.home.trim_end_matches('/')));
    let remedy = if facts.running() && own {
        let user = user.name.clone();
        Remedy::setting(summary, Setting::MinikubeRootless { user, path: path.clone() })
    } else {
        let remedy = Remedy::manual(format!("{summary}: minikube config set rootless true"));
        let command = as_user(&user.name, "minikube config set rootless true");
        if facts.running() { remedy.command(command) } else { remedy }
    };
    Ok(match told {
        Some(told) => finding(&told.value.to_string(), Verdict::met_if(told.value)).at([told.at]),
        None => finding("not set", Verdict::Unmet).at([Evidence::path(&path, "does not set it")]),
    }
    .repair(remedy))
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
    const SET: &str = "{\n    \"driver\": \"podman\",\n    \"rootless\": true\n}";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Minikube]), &edge())
    }

    fn host() -> TestHost {
        fixture("debian-13").caller(0, &[]).file(PROGRAM, "").mode(PROGRAM, "0755")
    }

    #[test]
    fn minikube_is_told() {
        let outcome = look_at(host().file(CONFIG, SET));
        assert_eq!(verdicts(&outcome), [(KEY, Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{CONFIG}:3"));
        assert_eq!(outcome.items[0].level, Level::Advised);
        let variable = host().caller(1000, &[("MINIKUBE_ROOTLESS", "true")]);
        assert_eq!(verdicts(&look_at(variable)), [(KEY, Verdict::Met)]);
        let login = host().file("/etc/environment", "MINIKUBE_ROOTLESS=1\n");
        assert_eq!(findings(&look_at(login))[0].evidence[0].to_string(), "/etc/environment:1");
        let elsewhere = host().caller(1000, &[("MINIKUBE_HOME", "/data")]);
        let elsewhere = look_at(elsewhere.file("/data/.minikube/config/config.json", SET));
        assert_eq!(verdicts(&elsewhere), [(KEY, Verdict::Met)]);
    }

    #[test]
    fn minikube_is_not_told() {
        let outcome = look_at(host());
        let finding = findings(&outcome)[0];
        assert_eq!((finding.found.as_str(), finding.verdict), ("not set", Verdict::Unmet));
        assert_eq!(finding.evidence[0].to_string(), CONFIG);
        let setting = Setting::MinikubeRootless { user: "edge".to_owned(), path: CONFIG.to_owned() };
        assert_eq!(finding.remedy.settings, [setting]);
        let elsewhere =
            look_at(host().caller(1000, &[("MINIKUBE_HOME", "/data"), ("PATH", "/usr/local/bin")]));
        let remedy = &findings(&elsewhere)[0].remedy;
        assert_eq!(remedy.settings, []);
        assert_eq!(remedy.commands, ["sudo -Hu edge minikube config set rootless true"]);
        assert_eq!(findings(&look_at(host().image()))[0].remedy.settings, []);
        let off = look_at(host().file(CONFIG, SET.replace("true", "false")));
        assert_eq!(findings(&off)[0].found, "false");
        let variable = look_at(host().file(CONFIG, SET).caller(1000, &[("MINIKUBE_ROOTLESS", "false")]));
        assert_eq!((findings(&variable)[0].verdict, verdicts(&variable).len()), (Verdict::Unmet, 1));
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
