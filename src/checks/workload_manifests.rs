//! Whether the files of a workload hold what it takes: see [`WORKLOAD_MANIFESTS`].

use crate::checks::check;
use crate::checks::ports_free::INGRESS;
use crate::facts::users::User;
use crate::facts::version::Version;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Level, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Demand, Protocol, Requirements, Stack};
use crate::workload::{Ask, What};

check! {
    /// Files of the workload are complete and run as written
    ///
    /// ## What is looked at
    ///
    /// The files that `--workload` names. Secrets, ConfigMaps, claims and keys that they refer to are
    /// looked for in all of them; a Secret also in `secrets/secrets.json` of the user's storage, by its
    /// name. What a cluster has already cannot be seen, so what its files do not define is unknown.
    ///
    /// Kinds, types of volumes and fields that `podman kube play` leaves out or stops at are held against
    /// the version of Podman: more than one replica, probes and hooks, variables from fields and
    /// resources of the pod, `volumeDevices`, `subPathExpr`, `fsGroup`, `activeDeadlineSeconds`,
    /// `runtimeClassName`, files of nothing that it plays. What a scheduler or an account is for, such as
    /// `nodeSelector` and `serviceAccountName`, is not looked at. Containers of one name, a host port that
    /// two files publish, and a mount of a volume that there is not, are found without a look at the
    /// host. A load balancer of K3s on 80, 443 or the port of its API server is held against `disable` and
    /// `https-listen-port` in its unit and configuration.
    ///
    /// ## Why it matters
    ///
    /// `podman kube play` stops at the first ConfigMap or Secret that it does not find, and at a key that
    /// a variable is of; it says nothing of a StatefulSet or a Service that it leaves out, nor of a key
    /// that a volume is to have as a file. Of two pods with one host port the second does not start.
    ///
    /// ## Repair
    ///
    /// The line of the file is changed, or the file that defines the rest is named, too. A Secret can be
    /// put into the store of Podman with `podman kube play` of its YAML. A StatefulSet is made a
    /// Deployment, a CronJob a Job that a systemd timer plays.
    ///
    /// ## Sources
    ///
    /// - podman: docs/kubernetes_support.md; RELEASE_NOTES.md, 4.7.0, 5.3.0, 5.5.0 and 5.6.0
    /// - podman: pkg/domain/infra/abi/play.go, `PlayKube`; pkg/specgen/generate/kube/kube.go and volume.go
    /// - podman-systemd.unit(5)
    /// - k3s: pkg/rootlessports/controller.go, `toBindPorts`
    WORKLOAD_MANIFESTS, "workload-manifests", Required, User(run)
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let Some(asks) = &req.workload else { return Outcome::skip("no workload is named") };
    let mut outcome = Outcome::default();
    for ask in asks {
        match &ask.what {
            What::Undefined { kind, name, optional: false } => {
                undefined(facts, user, ask, kind, name, &mut outcome);
            }
            What::Unsupported { text, since } => {
                unsupported(facts, user, ask, text, since.as_ref(), &mut outcome);
            }
            What::Unseen(text) => outcome.unknown(&ask.demand(String::new()), &*ask.of, text),
            What::Refused { text, since } => {
                refused(facts, user, ask, text, since, &mut outcome);
            }
            What::Wrong(text) => {
                let finding = Finding::new(&*ask.of, "files that agree", text, Verdict::Unmet);
                outcome.add(&ask.demand(String::new()), finding.repair(change(&ask.at)));
            }
            What::HostPort { protocol: Protocol::Tcp, ports, .. } if ask.stacks.contains(&Stack::K3s) => {
                of_k3s(facts, user, ask, *ports.start(), &mut outcome);
            }
            _ => {}
        }
    }
    outcome.or_skip("of what is looked at nothing is undefined, left out or wrong in the files")
}

/// A port that K3s publishes for itself.
fn of_k3s(facts: &Facts, user: &User, ask: &Ask, port: u16, outcome: &mut Outcome) {
    let demand = Demand { stacks: vec![Stack::K3s], ..ask.demand(String::new()).advised("") };
    let options = match facts.k3s_options(user) {
        Ok(options) => options,
        Err(why) => return outcome.unknown(&demand, &*ask.of, why),
    };
    let ingress = || options.disabled("servicelb").or(options.disabled("traefik")).is_none();
    let (holder, way_out) = if INGRESS.contains(&port) && ingress() {
        ("the ingress controller of K3s", "disable traefik")
    } else if options.https_port() == Ok(port) {
        ("the API server of K3s", "give K3s another https-listen-port")
    } else {
        return;
    };
    let found = format!("tcp/{port} is that of {holder}: one of the two stays out of reach");
    let remedy = Remedy::manual(format!("take another port in {}, an Ingress, or {way_out}", ask.at));
    let finding = Finding::new(&*ask.of, "a port of its own", found, Verdict::Unmet);
    outcome.add(&demand, finding.repair(remedy));
}

fn change(at: &Evidence) -> Remedy {
    Remedy::manual(format!("change {at}"))
}

fn undefined(facts: &Facts, user: &User, ask: &Ask, kind: &str, name: &str, outcome: &mut Outcome) {
    let subject = format!("{kind} {name}");
    let (podman, clusters) = ask.demand(format!("{} refers to it", ask.of)).by_podman();
    if let Some(demand) = podman {
        match defined_for_podman(facts, user, kind, name) {
            Ok((met, at)) => {
                let found = if met { "kept by Podman" } else { "in no file of the workload" };
                let expected = "defined";
                let remedy = Remedy::manual(format!("name the file that defines {subject}, too"));
                let finding = Finding::new(subject.clone(), expected, found, Verdict::met_if(met)).at(at);
                outcome.add(&demand, finding.repair(remedy));
            }
            Err(why) => outcome.unknown(&demand, subject.clone(), why),
        }
    }
    if let Some(demand) = clusters {
        let demand = demand.advised(&demand.why);
        let why = "in no file of the workload, and what the cluster has is not looked at";
        outcome.unknown(&demand, subject, why);
    }
}

/// A ConfigMap lives as long as `podman kube play` reads it; a Secret stays in the user's store.
fn defined_for_podman(facts: &Facts, user: &User, kind: &str, name: &str) -> Fact<(bool, Option<Evidence>)> {
    if kind != "Secret" {
        return Ok((false, None));
    }
    facts.podman_secret(user, name).map(|(met, at)| (met, Some(at)))
}

fn unsupported(
    facts: &Facts,
    user: &User,
    ask: &Ask,
    text: &str,
    since: Option<&Version>,
    outcome: &mut Outcome,
) {
    let demand = ask.demand(String::new());
    let finding = |verdict| Finding::new(&*ask.of, "what runs as it is written", text, verdict);
    let Some(since) = since else {
        return outcome.add(&demand, finding(Verdict::Unmet).repair(change(&ask.at)));
    };
    let podman = match facts.podman(user) {
        Ok(Some(podman)) => podman,
        // `stack-programs` says so, and what is installed then is not known.
        Ok(None) => return,
        Err(why) => return outcome.unknown(&demand, &*ask.of, why),
    };
    match podman.version.as_ref().ok().and_then(|known| known.value.is_at_least(since)) {
        Some(true) => {}
        Some(false) => {
            let finding = Finding::new(
                &*ask.of,
                format!("Podman {since} or later"),
                format!("{text} before Podman {since}"),
                Verdict::Unmet,
            );
            let remedy = Remedy::manual(format!("upgrade podman to {since} or later, or change {}", ask.at));
            outcome.add(&demand, finding.at([podman.evidence()]).repair(remedy));
        }
        None => outcome.unknown(&Demand { level: Level::Advised, ..demand }, &*ask.of, podman.unknown()),
    }
}

/// What Podman stops at from a version on.
fn refused(facts: &Facts, user: &User, ask: &Ask, text: &str, since: &Version, outcome: &mut Outcome) {
    let demand = ask.demand(String::new());
    let podman = match facts.podman(user) {
        Ok(Some(podman)) => podman,
        Ok(None) => return,
        Err(why) => return outcome.unknown(&demand, &*ask.of, why),
    };
    match podman.version.as_ref().ok().and_then(|known| known.value.is_at_least(since)) {
        Some(false) => {}
        Some(true) => {
            let found = format!("{text}, which Podman {since} and later refuse");
            let finding = Finding::new(&*ask.of, "files that agree", found, Verdict::Unmet);
            outcome.add(&demand, finding.at([podman.evidence()]).repair(change(&ask.at)));
        }
        None => outcome.unknown(&Demand { level: Level::Advised, ..demand }, &*ask.of, podman.unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts, workload};
    use crate::facts::Source;
    use crate::facts::testing::{fixture, podman};
    use crate::workload::Workload;

    const POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
    - name: web
      image: docker.io/library/nginx
      envFrom:
        - configMapRef: {name: site}
        - secretRef: {name: tls}
        - secretRef: {name: more, optional: true}
";

    #[test]
    fn what_no_file_defines_is_looked_for_where_podman_keeps_it() {
        let req = workload(&[Stack::PodmanKube], POD);
        let outcome = run(&fixture("debian-13").facts(), &req, &edge());
        assert_eq!(verdicts(&outcome), [("ConfigMap site", Verdict::Unmet), ("Secret tls", Verdict::Unmet)]);
        assert_eq!(outcome.items[0].asked[0].to_string(), "web.yaml:9");
        let path = "/home/edge/.local/share/containers/storage/secrets/secrets.json";
        let kept = fixture("debian-13").file(path, r#"{"nameToID": {"tls": "1"}}"#);
        let outcome = run(&kept.facts(), &req, &edge());
        assert_eq!(verdicts(&outcome)[1], ("Secret tls", Verdict::Met));
        assert_eq!(findings(&outcome)[1].evidence[0].to_string(), path);
        let closed = fixture("debian-13").error(path, "denied");
        assert_eq!(
            unknown(&run(&closed.facts(), &req, &edge())),
            [format!("{path} is not readable as this user")]
        );
        let all = format!(
            "{POD}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: tls}}\n---\napiVersion: v1\n\
             kind: ConfigMap\nmetadata: {{name: site}}\n"
        );
        let req = workload(&[Stack::PodmanKube], &all);
        assert!(run(&fixture("debian-13").facts(), &req, &edge()).skipped.is_some());
    }

    #[test]
    fn what_a_cluster_has_is_not_known() {
        let req = workload(&[Stack::K3s], POD);
        let outcome = run(&fixture("debian-13").facts(), &req, &edge());
        assert_eq!(unknown(&outcome).len(), 2);
        assert!(outcome.items.iter().all(|item| item.level == Level::Advised));
        let req = workload(&[Stack::Kind, Stack::PodmanKube], POD);
        assert_eq!(run(&fixture("debian-13").facts(), &req, &edge()).items.len(), 4);
    }

    #[test]
    fn a_kind_is_held_against_the_version_of_podman() {
        let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: once}\nspec: {template: {spec: {}}}\n";
        let req = workload(&[Stack::PodmanKube], job);
        assert!(run(&fixture("debian-13").facts(), &req, &edge()).skipped.is_some(), "5.4.2 runs it");
        let old = fixture("debian-13").edit(
            "/var/lib/dpkg/status",
            "Version: 5.4.2+ds1-2+b2",
            "Version: 4.9.3+ds1-1",
        );
        let outcome = run(&old.facts(), &req, &edge());
        assert_eq!(verdicts(&outcome), [("Job once", Verdict::Unmet)]);
        let finding = findings(&outcome)[0];
        assert_eq!(finding.expected, "Podman 5.3 or later");
        assert_eq!(finding.evidence[0].text, "Version: 4.9.3+ds1-1");
        assert_eq!(outcome.items[0].asked[0].to_string(), "web.yaml:2");
        let set = job.replace("Job", "StatefulSet").replace("batch", "apps");
        let outcome = run(&fixture("debian-13").facts(), &workload(&[Stack::PodmanKube], &set), &edge());
        assert_eq!(findings(&outcome)[0].found, "podman kube play leaves out a StatefulSet");
        assert_eq!(findings(&outcome)[0].remedy.summary, "change web.yaml:2");
    }

    #[test]
    fn a_port_that_two_publish() {
        let pod = |name: &str, port: &str| {
            format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n    - image: a\n      \
                 ports: [{port}]\n---\n"
            )
        };
        let look = |one: &str, other: &str| {
            let text = format!("{}{}", pod("a", one), pod("b", other));
            run(&fixture("debian-13").facts(), &workload(&[Stack::PodmanKube], &text), &edge())
        };
        let outcome = look("{hostPort: 8080}", "{hostPort: 8080}");
        assert_eq!(findings(&outcome)[0].found, "tcp/8080 is taken by Pod a in web.yaml:7");
        assert_eq!(outcome.items[0].asked[0].to_string(), "web.yaml:15");
        for (one, other) in [
            ("{hostPort: 8080}", "{hostPort: 8081}"),
            ("{hostPort: 8080}", "{hostPort: 8080, protocol: UDP}"),
            ("{hostPort: 8080, hostIP: 127.0.0.1}", "{hostPort: 8080, hostIP: 127.0.0.2}"),
        ] {
            assert!(look(one, other).skipped.is_some(), "{one} {other}");
        }
        assert_eq!(look("{hostPort: 8080, hostIP: 127.0.0.1}", "{hostPort: 8080}").items.len(), 1);
    }

    #[test]
    fn a_load_balancer_where_k3s_has_its_own() {
        let look = |port: u16, options: &str| {
            let service = format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec:\n  type: LoadBalancer\n  \
                 ports: [{{port: {port}}}]\n"
            );
            let unit = format!("[Service]\nExecStart=/usr/local/bin/k3s server --rootless {options}\n");
            let host =
                fixture("debian-13").file("/home/edge/.config/systemd/user/k3s-rootless.service", unit);
            run(&host.facts(), &workload(&[Stack::K3s], &service), &edge())
        };
        for (port, found) in [
            (80, "tcp/10080 is that of the ingress controller of K3s: one of the two stays out of reach"),
            (443, "tcp/10443 is that of the ingress controller of K3s: one of the two stays out of reach"),
            (6443, "tcp/6443 is that of the API server of K3s: one of the two stays out of reach"),
        ] {
            let outcome = look(port, "");
            assert_eq!(
                (findings(&outcome)[0].found.as_str(), outcome.items[0].level),
                (found, Level::Advised)
            );
            assert_eq!(outcome.items[0].asked[0].to_string(), "web.yaml:6");
        }
        assert!(look(8080, "").skipped.is_some());
        assert!(look(80, "--disable traefik").skipped.is_some());
        assert!(look(443, "--disable servicelb").skipped.is_some());
        assert!(look(6443, "--https-listen-port=7443").skipped.is_some());
    }

    #[test]
    fn what_a_later_podman_refuses() {
        let text = "[Unit]\nRequires=nope.container\n[Container]\nImage=a\n";
        let workload = Workload::parse(vec![Source::new("a.container", text)]).unwrap();
        let req = requirements(&[Stack::PodmanKube]).with_workload(&workload).unwrap();
        let look = |version: &str| run(&podman(fixture("debian-13"), version).facts(), &req, &edge());
        let outcome = look("5.5.0-1");
        let found = "Requires=nope.container, and there is no such file, which Podman 5.5 and later refuse";
        assert_eq!(findings(&outcome)[0].found, found);
        assert_eq!(findings(&outcome)[0].remedy.summary, "change a.container:2");
        assert!(look("5.4.2-1").skipped.is_some());
    }

    #[test]
    fn without_a_workload_there_is_nothing_to_say() {
        let req = crate::checks::testing::requirements(&[Stack::PodmanKube]);
        let outcome = run(&fixture("debian-13").facts(), &req, &edge());
        assert_eq!(outcome.skipped.as_deref(), Some("no workload is named"));
    }
}
