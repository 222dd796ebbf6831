//! Whether K3s can read what it is told: see [`K3S_CONFIGURATION`].

use crate::checks::check;
use crate::facts::k3s_config::PATH;
use crate::facts::unit::Unit;
use crate::facts::unit_syntax::words;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, LEFT_OUT};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Demand, Need, Requirements};
use crate::settings::K3S_SERVICE;

check! {
    /// K3s can read its configuration file, if there is one
    ///
    /// ## What is looked at
    ///
    /// `/etc/rancher/k3s/config.yaml` and the `.yaml` files in `config.yaml.d` beside it: by their mode
    /// bits and those of the directories above, whether the user can read them. That there are none is
    /// well. Where `k3s-rootless.service` names another file (`--config`, `K3S_CONFIG_FILE`), these do
    /// not count.
    ///
    /// If they, or the unit, have K3s join the server of another host (`server`, `K3S_URL`, `k3s
    /// agent`), that is reported: advised.
    ///
    /// ## Why it matters
    ///
    /// A K3s that was installed as root leaves files there, often for root alone, since they hold the
    /// token of its cluster. K3s as a user reads the same files, and stops at one that it cannot read:
    /// "open /etc/rancher/k3s/config.yaml: permission denied". What it can read it takes over, which is
    /// seldom meant for two clusters.
    ///
    /// A cluster of rootless K3s has one node: each is behind a network of its own, through which pods
    /// of different nodes do not reach each other.
    ///
    /// ## Repair
    ///
    /// Have the unit name a file of the user's, with `Environment=K3S_CONFIG_FILE=` in a drop-in, let
    /// the user read the file, or take away what a K3s of root has left. For clusters of several nodes
    /// there is Usernetes.
    ///
    /// ## Sources
    ///
    /// - k3s: pkg/configfilearg/parser.go, `readConfigFile`; k3s issues 4321 and 7272
    /// - docs.k3s.io, "Known Issues with Rootless Mode", "Multi-node/multi-process cluster"
    K3S_CONFIGURATION, "k3s-configuration", Required, User(run)
}

const ONE_NODE: &str =
    "clusters of several nodes are not supported rootless: their pods do not reach each other";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::K3sConfiguration);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    let mut outcome = Outcome::default();
    if let Err(why) = look(facts, user, demands, &mut outcome) {
        outcome.unknown_all(demands, PATH, &why);
    }
    outcome
}

fn look(facts: &Facts, user: &User, demands: &[Demand], outcome: &mut Outcome) -> Fact<()> {
    let unit = facts.user_unit(&user.home, user.uid, &user.groups, K3S_SERVICE)?;
    let elsewhere = told(&unit, |word| {
        ["--config", "-c"].contains(&word)
            || word.starts_with("--config=")
            || word.starts_with("K3S_CONFIG_FILE=")
    });
    let closed = facts.k3s_config_closed(user)?.filter(|_| facts.owners_are_kept());
    let elsewhere = match elsewhere {
        None if closed.is_some() => facts.k3s_variable_at(user, "K3S_CONFIG_FILE")?,
        found => found,
    };
    let mut joins = told(&unit, |word| {
        ["agent", "--server", "-s"].contains(&word)
            || word.starts_with("--server=")
            || word.starts_with("K3S_URL=")
    });
    let expected = format!("readable by {}, or absent", user.name);
    let finding = |found: &str, verdict| Finding::new(PATH, &expected, found, verdict);
    if let Some(at) = elsewhere {
        outcome.add_all(demands, &finding("not read: the unit names another", Verdict::Met).at([at]));
    } else if let Some(closed) = closed {
        if let Some(hidden) = told(&unit, |word| word == LEFT_OUT) {
            let why = format!("{hidden}: the capture leaves out whether the unit names another file");
            outcome.unknown_all(demands, PATH, &why);
            return Ok(());
        }
        let remedy = Remedy::manual(format!(
            "have {K3S_SERVICE} name a file of {0}'s in K3S_CONFIG_FILE, let {0} read {1}, or take away what a \
             K3s of root has left",
            user.name, closed.path
        ));
        let found = format!("not readable: {}", closed.text);
        outcome.add_all(demands, &finding(&found, Verdict::Unmet).at([closed]).repair(remedy));
    } else {
        let exists = facts.k3s_config_exists()?;
        let found = if exists { "readable" } else { "absent" };
        let at = Evidence::path(PATH, if exists { "" } else { "does not exist" });
        outcome.add_all(demands, &finding(found, Verdict::Met).at([at]));
        if facts.owners_are_kept() {
            joins = joins.or(facts.k3s_config(user)?.keys.get("server").map(|server| server.at.clone()));
        }
    }
    if let Some(at) = joins {
        let remedy = Remedy::manual("have K3s run a server of its own, or take Usernetes for several nodes");
        let found = Finding::new("server", "a server of its own", "joins another", Verdict::Unmet);
        let finding = found.at([at]).repair(remedy);
        for demand in demands {
            outcome.add(&demand.advised(ONE_NODE), finding.clone());
        }
    }
    Ok(())
}

/// Where the unit has a word of this kind on its command line or in its environment.
fn told(unit: &Unit, is: impl Fn(&str) -> bool) -> Option<Evidence> {
    let start = unit.values("Service", "ExecStart").rfind(|line| !line.value.is_empty());
    let lines = start.into_iter().chain(unit.values("Service", "Environment"));
    let mut lines = lines.filter(|line| words(&line.value).unwrap_or_default().iter().any(|word| is(word)));
    lines.next().map(|line| line.at.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const UNIT: &str = "/home/edge/.config/systemd/user/k3s-rootless.service";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::K3s]), &edge())
    }

    fn host() -> TestHost {
        fixture("debian-13").without("/etc/rancher")
    }

    /// As the installer of K3s leaves it for a server of root's (docs.k3s.io, "Configuration File").
    fn with(config: &str, mode: &str) -> TestHost {
        let host = host().dir("/etc/rancher", "0755", 0).dir("/etc/rancher/k3s", "0755", 0);
        host.file(PATH, config).mode(PATH, mode)
    }

    #[test]
    fn a_variable_in_a_file_names_another() {
        let unit = |file: &str| {
            let start = "ExecStart=/usr/local/bin/k3s server --rootless";
            let text = format!("[Service]\n{start}\nEnvironmentFile={file}\n");
            let variable = "K3S_CONFIG_FILE=/home/edge/k3s.yaml\n";
            with("", "0600").file(UNIT, text).file("/etc/default/k3s", variable)
        };
        assert_eq!(verdicts(&look_at(unit("/etc/default/k3s")))[0].1, Verdict::Met);
        assert_eq!(unknown(&look_at(unit("/srv/k3s"))).len(), 1);
    }

    #[test]
    fn none_or_one_that_can_be_read() {
        let outcome = look_at(host());
        assert_eq!(verdicts(&outcome), [(PATH, Verdict::Met)]);
        assert_eq!(
            (findings(&outcome)[0].found.as_str(), outcome.items[0].level),
            ("absent", Level::Required)
        );
        let outcome = look_at(with("write-kubeconfig-mode: \"0644\"\n", "0644"));
        assert_eq!((findings(&outcome)[0].found.as_str(), outcome.items.len()), ("readable", 1));
    }

    /// As in k3s issue 4321.
    #[test]
    fn one_for_root_alone_stops_k3s() {
        let outcome = look_at(with("cluster-init: true\n", "0600"));
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, outcome.items.len()), (Verdict::Unmet, 1));
        assert_eq!(finding.found, "not readable: mode 0600, owner 0:0");
        assert_eq!(finding.evidence[0].to_string(), PATH);
        let closed = look_at(with("", "0644").dir("/etc/rancher/k3s", "0644", 0));
        assert_eq!(findings(&closed)[0].evidence[0].to_string(), "/etc/rancher/k3s");
        let unit =
            |text: &str| with("cluster-init: true\n", "0600").file(UNIT, format!("[Service]\n{text}\n"));
        for text in [
            "Environment=K3S_CONFIG_FILE=/home/edge/k3s.yaml",
            "ExecStart=/usr/local/bin/k3s server --rootless --config /home/edge/k3s.yaml",
        ] {
            let outcome = look_at(unit(text));
            assert_eq!(verdicts(&outcome), [(PATH, Verdict::Met)], "{text}");
            assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{UNIT}:2"));
        }
        let outcome = look_at(unit("ExecStart=/usr/local/bin/k3s server --rootless"));
        assert_eq!(verdicts(&outcome), [(PATH, Verdict::Unmet)]);
    }

    #[test]
    fn what_a_capture_leaves_out_is_unknown_where_it_decides() {
        let unit = "[Service]\nEnvironment=LEFT-OUT\nExecStart=LEFT-OUT\n";
        let outcome = look_at(with("cluster-init: true\n", "0600").file(UNIT, unit));
        let why = format!("{UNIT}:3: the capture leaves out whether the unit names another file");
        assert_eq!(unknown(&outcome), [why]);
        let outcome = look_at(with("cluster-init: true\n", "0644").file(UNIT, unit));
        assert_eq!(verdicts(&outcome), [(PATH, Verdict::Met)]);
    }

    #[test]
    fn a_node_of_another_server() {
        let joins = |host: TestHost| {
            let outcome = look_at(host);
            let finding = (*findings(&outcome).last().unwrap()).clone();
            let level = outcome.items.last().unwrap().level;
            (finding.subject, finding.verdict, level, finding.evidence[0].to_string())
        };
        let joined = |at: &str| ("server".to_owned(), Verdict::Unmet, Level::Advised, at.to_owned());
        assert_eq!(joins(with("server: https://10.0.0.1:6443\n", "0644")), joined(&format!("{PATH}:1")));
        let unit = host().file(UNIT, "[Service]\nExecStart=/usr/local/bin/k3s agent --rootless\n");
        assert_eq!(joins(unit), joined(&format!("{UNIT}:2")));
        let unit = host().file(UNIT, "[Service]\nEnvironment=K3S_URL=https://10.0.0.1:6443\n");
        assert_eq!(joins(unit), joined(&format!("{UNIT}:2")));
    }

    #[test]
    fn unknown_and_not_asked() {
        let denied = look_at(with("", "0644").error(PATH, "denied"));
        assert_eq!(unknown(&denied), [format!("{PATH} is not readable as this user")]);
        let image = look_at(with("", "0600").image());
        assert_eq!(verdicts(&image), [(PATH, Verdict::Unmet)]);
        assert!(run(&host().facts(), &requirements(&[Stack::Podman]), &edge()).skipped.is_some());
    }
}
