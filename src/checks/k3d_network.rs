//! Whether there is a network that registries of k3d can be on: see [`K3D_NETWORK`].

use crate::checks::{check, of_podman};
use crate::facts::podman::Podman;
use crate::facts::quadlets::Quadlet;
use crate::facts::users::User;
use crate::facts::version::Version;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};
use crate::settings::{self, Setting, as_user};
use crate::workload::quadlet::{Kind, Unit, expand};

check! {
    /// Podman has the network k3d, with name resolution
    ///
    /// ## What is looked at
    ///
    /// The networks of the user's Podman, in `networks` of the storage or where `network_config_dir` of
    /// `containers.conf` says: the one called `k3d`, and its `dns_enabled`. Else the Quadlet files of the
    /// user for it: a `.network` file with `NetworkName=k3d` and without `DisableDNS=true`. In an image
    /// these are all that there can be. Other networks do not count, whoever made them: that of kind, of a
    /// cluster or of a composition goes with what it was made for.
    ///
    /// ## Why it matters
    ///
    /// k3d makes a network for each cluster, and Podman makes that one with name resolution. A registry
    /// that clusters share is on none of these: `k3d registry create` takes the network `bridge`, which is
    /// what Docker calls its default one, and which Podman has under another name and without names of
    /// containers. So k3d is to be told a network with `--default-network`, and clusters that shall
    /// share one with `--network`.
    ///
    /// ## Repair
    ///
    /// A Quadlet file `k3d.network` of the user: a unit of the user manager makes the network `k3d`, now
    /// and wherever it is missing at the start of the user manager. It takes Podman 4.7, which can give
    /// such a network its name; before, `podman network create k3d`. Undo removes the file; the network
    /// stays in Podman until `podman network rm k3d`.
    ///
    /// ## Sources
    ///
    /// - k3d: docs/usage/advanced/podman.md; docs/usage/registries.md
    /// - podman: pkg/api/handlers/compat/networks.go, `CreateNetwork`; pull request 19006
    /// - podman-network-create(1), podman-systemd.unit(5), "Network units \[Network\]"
    K3D_NETWORK, "k3d-network", Advised, User(run)
}

const SUBJECT: &str = "network for k3d";
fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::NamedNetwork);
    of_podman(facts, user, demands, |podman, outcome| {
        outcome.add_all(demands, &look(facts, podman, user)?);
        Ok(())
    })
}

fn look(facts: &Facts, podman: &Podman, user: &User) -> Fact<Finding> {
    let finding = |found: String, verdict| Finding::new(SUBJECT, "k3d, with dns_enabled", found, verdict);
    let name = settings::K3D_NETWORK;
    let mut networks = facts.podman_networks(user)?.into_iter();
    if let Some(network) = networks.find(|network| network.value.name == name) {
        if network.value.dns_enabled {
            return Ok(finding(name.to_owned(), Verdict::Met).at([network.at]));
        }
        let remove = format!("podman network rm {name}");
        let remedy = Remedy::manual(format!("have Podman of {} make it anew: {remove}", user.name));
        let remedy = if facts.running() { remedy.command(as_user(&user.name, &remove)) } else { remedy };
        let found = format!("{name}, without dns_enabled");
        return Ok(finding(found, Verdict::Unmet).at([network.at]).repair(remedy));
    }
    let quadlets = facts.quadlets(user)?;
    if let Some((quadlet, unit)) =
        quadlets.iter().find_map(|quadlet| Some((quadlet, unit_of(quadlet, user)?)))
    {
        let at = Evidence::path(&quadlet.path, format!("makes {unit}"));
        if !facts.running() {
            return Ok(finding(format!("{unit} makes one"), Verdict::Met).at([at]));
        }
        let name = user.name.clone();
        let (needs, remedy) = match facts.user_manager_runs(user.uid)? {
            true => {
                let summary = format!("start {unit} of {name}");
                (
                    Needs::None,
                    Remedy::setting(summary, Setting::UserUnitInEffect { user: name, unit: unit.clone() }),
                )
            }
            false => (
                Needs::ReLogin,
                Remedy::manual(format!("start the user manager of {name}, with a login say")),
            ),
        };
        return Ok(finding(format!("none yet: {unit} makes one"), Verdict::Pending(needs))
            .at([at])
            .repair(remedy));
    }
    let home = user.home.trim_end_matches('/');
    let at = Evidence::path(
        &format!("{home}/.local/share/containers/storage/networks"),
        format!("no network {name}"),
    );
    Ok(finding("none".to_owned(), Verdict::Unmet).at([at]).repair(remedy(facts, podman, user)))
}

/// The service that a Quadlet file of the network becomes.
fn unit_of(quadlet: &Quadlet, user: &User) -> Option<String> {
    if Kind::of(&quadlet.path) != Some(Kind::Network) {
        return None;
    }
    let source = quadlet.source.as_ref().ok().filter(|_| quadlet.shadowed_by.is_none())?;
    let unit = Unit::read(source, []).filter(|unit| !unit.is_refused())?;
    let is_named = unit.is_on("DisableDNS") != Some(true);
    let is_bridge = unit.own("Driver").is_none_or(|(driver, _)| driver == "bridge");
    let (name, _) = unit.own("NetworkName")?;
    let is_it = expand(name, &unit.service(), user).as_deref() == Some(settings::K3D_NETWORK);
    (is_it && is_named && is_bridge).then(|| unit.service())
}

fn remedy(facts: &Facts, podman: &Podman, user: &User) -> Remedy {
    let name = settings::K3D_NETWORK;
    let summary = format!("have Podman of {} make the network {name}", user.name);
    let names_networks =
        podman.version.as_ref().ok().and_then(|v| v.value.is_at_least(&Version::new(&[4, 7])));
    match names_networks {
        Some(false) => {
            let create = format!("podman network create {name}");
            let remedy = Remedy::manual(format!("{summary}: {create}"));
            if facts.running() { remedy.command(as_user(&user.name, &create)) } else { remedy }
        }
        _ => Remedy::setting(summary, Setting::K3dNetwork(user.name.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;

    const DIR: &str = "/home/edge/.local/share/containers/storage/networks";
    const QUADLETS: &str = "/home/edge/.config/containers/systemd";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::K3d]), &edge())
    }

    fn host() -> TestHost {
        fixture("debian-13").dir(DIR, "0755", 1000)
    }

    fn network(name: &str, more: &str) -> TestHost {
        let text = format!("{{\n\"name\": \"{name}\",\n\"driver\": \"bridge\",\n{more}\n}}");
        host().file(&format!("{DIR}/{name}.json"), text)
    }

    fn quadlet(text: &str) -> TestHost {
        host().dir(QUADLETS, "0755", 1000).file(&format!("{QUADLETS}/k3d.network"), text)
    }

    #[test]
    fn a_network_with_names_is_there() {
        let outcome = look_at(network("k3d", "\"dns_enabled\": true"));
        assert_eq!(verdicts(&outcome), [(SUBJECT, Verdict::Met)]);
        let finding = findings(&outcome)[0];
        assert_eq!(
            (finding.found.as_str(), finding.evidence[0].to_string()),
            ("k3d", format!("{DIR}/k3d.json:4"))
        );
    }

    #[test]
    fn none_is_there() {
        for none in [
            host(),
            network("kind", "\"dns_enabled\": true"),
            network("podman", "\"dns_enabled\": true"),
            network("k3d-demo", "\"dns_enabled\": true,\n\"labels\": {\"app\": \"k3d\"}"),
            quadlet("[Network]\n"),
            quadlet("[Network]\nNetworkName=lab\n"),
            quadlet("[Network]\nNetworkName=k3d\nDisableDNS=true\n"),
            quadlet("[Network]\nNetworkName=k3d\nDriver=macvlan\n"),
            quadlet("[Network\n"),
        ] {
            let outcome = look_at(none);
            assert_eq!(verdicts(&outcome), [(SUBJECT, Verdict::Unmet)]);
            let remedy = &findings(&outcome)[0].remedy;
            assert_eq!(remedy.settings, [Setting::K3dNetwork("edge".to_owned())], "{remedy:?}");
        }
    }

    #[test]
    fn one_without_names_is_made_anew() {
        let outcome = look_at(network("k3d", "\"dns_enabled\": false"));
        let finding = findings(&outcome)[0];
        assert_eq!(finding.found, "k3d, without dns_enabled");
        assert_eq!(finding.remedy.settings, []);
        assert_eq!(finding.remedy.commands, ["sudo -Hu edge podman network rm k3d"]);
    }

    #[test]
    fn a_unit_that_makes_it_has_to_run() {
        let outcome = look_at(quadlet("[Network]\nNetworkName=k3d\n"));
        assert_eq!(verdicts(&outcome), [(SUBJECT, Verdict::Pending(Needs::None))]);
        let (user, unit) = ("edge".to_owned(), "k3d-network.service".to_owned());
        assert_eq!(findings(&outcome)[0].remedy.settings, [Setting::UserUnitInEffect { user, unit }]);
        assert_eq!(&*findings(&outcome)[0].evidence[0].path, format!("{QUADLETS}/k3d.network"));
        let image = look_at(quadlet("[Network]\nNetworkName=k3d\n").image());
        assert_eq!(verdicts(&image), [(SUBJECT, Verdict::Met)]);
        let other = look_at(quadlet("[Network]\nServiceName=net\nNetworkName=%u\nNetworkName=k3d\n").image());
        assert_eq!(findings(&other)[0].found, "net.service makes one");
    }

    #[test]
    fn an_early_podman_is_told_by_hand() {
        let early = fixture("debian-12").dir(DIR, "0755", 1000);
        let outcome = look_at(early);
        assert_eq!(verdicts(&outcome), [(SUBJECT, Verdict::Unmet)]);
        let remedy = &findings(&outcome)[0].remedy;
        assert_eq!(remedy.settings, []);
        assert_eq!(remedy.commands, ["sudo -Hu edge podman network create k3d"]);
        let image = look_at(fixture("debian-12").image());
        assert_eq!(findings(&image)[0].remedy.commands, [""; 0]);
    }

    #[test]
    fn unknown_and_skipped() {
        let denied = look_at(host().error(DIR, "denied"));
        assert_eq!(unknown(&denied), [format!("{DIR} is not readable as this user")]);
        assert!(look_at(host().without("/usr/bin/podman")).skipped.is_some());
        assert!(run(&host().facts(), &requirements(&[Stack::Kind]), &edge()).skipped.is_some());
    }
}
