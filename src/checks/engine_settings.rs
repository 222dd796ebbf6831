//! Whether keys of containers.conf have wanted values: see [`ENGINE_SETTINGS`].

use crate::checks::beaten::{change, rewrite};
use crate::checks::{check, of_podman};
use crate::facts::containers_conf::ContainersConf;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::requirements::{Demand, EngineRule, EngineWant, Requirements};
use crate::settings::Setting;

check! {
    /// Podman is set up as the stacks want it
    ///
    /// ## What is looked at
    ///
    /// Each key of `containers.conf` that a stack, profile or site wants: its value as Podman puts it
    /// together for the user from `/usr/share/containers`, `/etc/containers` and
    /// `~/.config/containers` with their drop-ins, or what Podman takes where no file has the key.
    ///
    /// ## Why it matters
    ///
    /// Podman's service ends after 5 seconds without a connection, which k3d asks to turn off. kind
    /// waits for a line in the log of the node, which the default log driver of rootless Podman can
    /// lose, and its nodes hold all processes of all pods, against 2048 that a container may have. With
    /// `cgroup_manager = "cgroupfs"` limits on rootless containers are accepted and not applied; without
    /// a user bus Podman takes that by itself, see user-manager.
    ///
    /// ## Repair
    ///
    /// A drop-in in `~/.config/containers/containers.conf.d`. Keys belong to a table: without its
    /// header, as k3d's documentation has `service_timeout`, a key is ignored. A cluster that exists
    /// keeps what it was created with. Where another drop-in sorts later, that one is changed.
    ///
    /// ## Sources
    ///
    /// - containers.conf(5); containers/common: pkg/config/default.go
    /// - k3d: docs/usage/advanced/podman.md; podman-system-service(1), "--time"
    /// - kind: site/content/docs/user/rootless.md, "Podman Log Driver", "Increase PID Limits"
    /// - podman: pull request 4235; issue 21575
    ENGINE_SETTINGS, "engine-settings", Required, User(run)
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let rules = req.engine.values().flat_map(|want| &want.rules);
    let demands: Vec<Demand> = rules.map(|rule| rule.demand.clone()).collect();
    of_podman(facts, user, &demands, |_, outcome| {
        let conf = facts.containers_conf(user)?;
        for ((table, key), want) in &req.engine {
            for rule in &want.rules {
                outcome.add(&rule.demand, look(facts, user, &conf, (table, key), want, &rule.value));
            }
        }
        Ok(())
    })
}

fn look(
    facts: &Facts,
    user: &User,
    conf: &ContainersConf,
    (table, key): (&'static str, &str),
    want: &EngineWant,
    rule: &EngineRule,
) -> Finding {
    let set = conf.scalars.get(&(table.to_owned(), key.to_owned()));
    let value = set.map(|set| &set.value).or(want.default.as_ref());
    let found = match (set, value) {
        (Some(set), _) => set.value.to_string(),
        (None, Some(default)) => default.to_string(),
        (None, None) => "not set".to_owned(),
    };
    let at = match (set, conf.files.last()) {
        (Some(set), _) => set.at.clone(),
        (None, Some(last)) => Evidence::path(last, format!("no {key} in [{table}], nor in other files")),
        (None, None) => Evidence::path("/etc/containers/containers.conf", "does not exist"),
    };
    let wanted = value_to_set(want, rule);
    let summary = format!("set {key} = {wanted} in [{table}] for {}", user.name);
    let remedy = set_key(facts, user, summary, (table, key), &wanted, set.map(|set| &set.at));
    let verdict = Verdict::met_if(value.is_some_and(|value| rule.allows(value)));
    Finding::new(format!("[{table}] {key}"), rule.to_string(), found, verdict).at([at]).repair(remedy)
}

/// The repair that gives a key a value, which is in TOML's notation; `set` is where it has another one.
/// Where a drop-in of ours would be read in vain, the file that counts is changed.
pub(super) fn set_key(
    facts: &Facts,
    user: &User,
    summary: String,
    (table, key): (&'static str, &str),
    value: &str,
    set: Option<&Evidence>,
) -> Remedy {
    let line = format!("{key} = {value}");
    if let Some(only) = facts.containers_conf_variable(user) {
        let remedy = Remedy::manual(format!(
            "put {line} into [{table}] of {only}, which CONTAINERS_CONF names: no other file is read"
        ));
        let own = only.starts_with(&format!("{}/", user.home.trim_end_matches('/')));
        let command = set.and_then(|at| rewrite(facts, &only, at, &line, own.then_some(user)));
        return Remedy { commands: command.into_iter().collect(), ..remedy };
    }
    match set.filter(|at| facts.read_after_our_containers_conf(user, &at.path)) {
        Some(at) => {
            let own = at.path.starts_with(&format!("{}/", user.home.trim_end_matches('/')));
            let ours = facts.our_containers_conf(user);
            change(facts, at, &ours, &line, own.then_some(user))
        }
        None => {
            let (user, key, value) = (user.name.clone(), key.to_owned(), value.to_owned());
            Remedy::setting(summary, Setting::Engine { user, table, key, value })
        }
    }
}

/// A value that satisfies everybody, so that two findings do not ask for two values.
fn value_to_set(want: &EngineWant, rule: &EngineRule) -> String {
    let mut values = want.rules.iter().map(|rule| rule.value.value());
    let everybody = values.find(|value| want.rules.iter().all(|rule| rule.value.allows(value)));
    everybody.unwrap_or_else(|| rule.value()).toml()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const CONF: &str = "/home/edge/.config/containers/containers.conf";

    fn look_at(host: TestHost, stack: Stack) -> Outcome {
        run(&host.facts(), &requirements(&[stack]), &edge())
    }

    fn kind(conf: &str) -> Vec<(String, Verdict)> {
        let outcome = look_at(fixture("debian-13").file(CONF, conf), Stack::Kind);
        let of_kind =
            findings(&outcome).into_iter().filter(|finding| finding.subject.starts_with("[containers]"));
        of_kind.map(|finding| (finding.found.clone(), finding.verdict)).collect()
    }

    #[test]
    fn a_fresh_podman_is_not_what_kind_advises() {
        let outcome = look_at(fixture("debian-13"), Stack::Kind);
        assert_eq!(
            verdicts(&outcome),
            [
                ("[containers] log_driver", Verdict::Unmet),
                ("[containers] pids_limit", Verdict::Unmet),
                ("[engine] cgroup_manager", Verdict::Met),
            ]
        );
        assert!(outcome.items.iter().all(|item| item.level == Level::Advised));
        let found: Vec<&str> = findings(&outcome).iter().map(|finding| finding.found.as_str()).collect();
        assert_eq!(found, ["not set", "2048", "systemd"]);
        let setting = |key: &str, value: &str| Setting::Engine {
            user: "edge".to_owned(),
            table: "containers",
            key: key.to_owned(),
            value: value.to_owned(),
        };
        assert_eq!(findings(&outcome)[0].remedy.settings, [setting("log_driver", "\"k8s-file\"")]);
        assert_eq!(findings(&outcome)[1].remedy.settings, [setting("pids_limit", "65536")]);
    }

    #[test]
    fn the_last_file_decides_and_is_named() {
        let met = |found: &str| (found.to_owned(), Verdict::Met);
        let unmet = |found: &str| (found.to_owned(), Verdict::Unmet);
        for (conf, found) in [
            ("log_driver = \"k8s-file\"\npids_limit = 65536", [met("k8s-file"), met("65536")]),
            ("log_driver = \"journald\"\npids_limit = 0", [unmet("journald"), met("0")]),
            ("log_driver = \"k8s-file\"\npids_limit = -1", [met("k8s-file"), met("-1")]),
            ("pids_limit = 4096", [unmet("not set"), unmet("4096")]),
        ] {
            assert_eq!(kind(&format!("[containers]\n{conf}\n")), found, "{conf}");
        }
        assert_eq!(kind("log_driver = \"k8s-file\"\n")[0], unmet("not set"), "without its table");
        let system = fixture("debian-13")
            .file("/etc/containers/containers.conf.d/x.conf", "[containers]\nlog_driver = \"k8s-file\"\n")
            .file(CONF, "[containers]\n\nlog_driver = \"none\"\n");
        let outcome = look_at(system, Stack::Kind);
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{CONF}:3"));
    }

    #[test]
    fn the_service_must_not_end() {
        let outcome = look_at(fixture("debian-13"), Stack::K3d);
        let finding = findings(&outcome)[2];
        assert_eq!(
            (finding.subject.as_str(), finding.expected.as_str(), finding.found.as_str(), finding.verdict),
            ("[engine] service_timeout", "0", "5", Verdict::Unmet)
        );
        let host = fixture("debian-13").file(CONF, "[engine]\nservice_timeout = 0\n");
        assert_eq!(verdicts(&look_at(host, Stack::K3d))[2].1, Verdict::Met);
    }

    #[test]
    fn a_drop_in_that_a_later_file_undoes() {
        let dir = "/home/edge/.config/containers/containers.conf.d";
        let remedy = |host: TestHost| {
            let outcome = look_at(host, Stack::Podman);
            let finding = findings(&outcome)[0];
            assert_eq!(finding.verdict, Verdict::Unmet);
            finding.remedy.clone()
        };
        let text = "[engine]\ncgroup_manager = \"cgroupfs\"\n";
        let hard = format!("{dir}/99-hard.conf");
        let ours = format!("{dir}/90-rootless.conf");
        let debian = || fixture("debian-13").dir(dir, "0755", 1000);
        let host = debian().file(&ours, "[engine]\ncgroup_manager = \"systemd\"\n");
        let beaten = remedy(host.file(&hard, text));
        assert_eq!(beaten.settings, []);
        assert!(
            beaten.summary.ends_with(&format!("{hard}:2: it sorts after {ours} and wins over it")),
            "{beaten:?}"
        );
        let command = format!("sudo -Hu edge sed -i '2s|.*|cgroup_manager = \"systemd\"|' {hard}");
        assert_eq!(beaten.commands, [command]);
        let before = remedy(debian().file(&format!("{dir}/50-site.conf"), text));
        assert_eq!(before.settings.len(), 1);
        let variable = fixture("debian-13").file("/home/edge/c.conf", text);
        let variable =
            remedy(variable.caller(1000, &[("PATH", "/usr/bin"), ("CONTAINERS_CONF", "/home/edge/c.conf")]));
        assert_eq!(variable.settings, []);
        assert_eq!(
            variable.commands,
            ["sudo -Hu edge sed -i '2s|.*|cgroup_manager = \"systemd\"|' /home/edge/c.conf"]
        );
        let rootless = "/etc/containers/containers.rootless.conf";
        assert_eq!(remedy(fixture("debian-13").file(rootless, text)).settings.len(), 1);
        let image = remedy(fixture("debian-13").file(rootless, text).image());
        assert_eq!(image.settings, []);
        assert_eq!(image.commands, [format!("sed -i '2s|.*|cgroup_manager = \"systemd\"|' $ROOT{rootless}")]);
    }

    #[test]
    fn limits_take_systemd() {
        let outcome = look_at(fixture("debian-13"), Stack::Podman);
        assert_eq!(verdicts(&outcome), [("[engine] cgroup_manager", Verdict::Met)]);
        assert_eq!(outcome.items[0].level, Level::Advised);
        let host = fixture("debian-13").file(CONF, "[engine]\ncgroup_manager = \"cgroupfs\"\n");
        let outcome = look_at(host, Stack::Podman);
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Unmet, "cgroupfs"));
        assert_eq!(finding.evidence[0].to_string(), format!("{CONF}:2"));
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let reasons = |host: TestHost| look_at(host, Stack::Kind);
        let broken = reasons(fixture("debian-13").file(CONF, "[containers\n"));
        assert_eq!(unknown(&broken).len(), 3);
        assert!(unknown(&broken)[0].starts_with(CONF), "{broken:?}");
        let denied = fixture("debian-13").file(CONF, "").error(CONF, "denied");
        assert_eq!(unknown(&reasons(denied))[0], format!("{CONF} is not readable as this user"));
        assert!(reasons(fixture("debian-13").without("/usr/bin/podman")).skipped.is_some());
        assert!(look_at(fixture("debian-13"), Stack::K3s).skipped.is_some());
    }
}
