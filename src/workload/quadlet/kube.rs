//! What the Kubernetes YAML asks of a host that a `.kube` file plays.

use super::users::is_plain;
use super::{Kind, Named, Unit, paths};
use crate::facts::{Evidence, Source};
use crate::requirements::Stack;
use crate::workload::{Ask, By, Malformed, What, kubernetes};

/// The files that a `.kube` file gives to Podman, with their lines. Nothing for another kind.
pub fn played(unit: &Unit) -> Vec<Named<'_>> {
    let of_kube = |named: &Named| unit.kind == Kind::Kube && ["Yaml", "ConfigMap"].contains(&named.key);
    paths(unit).into_iter().filter(of_kube).collect()
}

/// What Podman is asked with these files of `Yaml=`, where `more` define ConfigMaps and Secrets.
///
/// # Errors
/// [`Malformed`] where one is no Kubernetes YAML.
pub fn asks_of_played(unit: &Unit, yaml: &[Source], more: &[Source]) -> Result<Vec<Ask>, Malformed> {
    let sources: Vec<Source> = yaml.iter().chain(more).cloned().collect();
    let is_played = |ask: &Ask| {
        ask.stacks.contains(&Stack::PodmanKube) && yaml.iter().any(|source| *source.path() == *ask.at.path)
    };
    let mut asks: Vec<Ask> = kubernetes::asks(&sources)?.into_iter().filter(is_played).collect();
    let apart = !is_plain(unit);
    let is_published = unit.all("Kube", "Network").iter().all(|(network, _)| publishes(network));
    asks.retain(|ask| is_published || !matches!(ask.what, What::HostPort { .. }));
    for ask in &mut asks {
        ask.stacks = vec![Stack::PodmanKube];
        if let What::HostPath { by, .. } = &mut ask.what
            && apart
        {
            *by = By::Image;
        }
    }
    Ok(asks)
}

/// The line by which ports of the YAML may be published elsewhere: `PublishPort=` takes the place of a
/// `hostPort` of the same container port (podman: `pkg/domain/infra/abi/play.go`, `mergePublishPorts`).
pub fn published_elsewhere<'a>(unit: &'a Unit, asks: &[Ask]) -> Option<&'a Evidence> {
    let has_port = asks.iter().any(|ask| matches!(ask.what, What::HostPort { .. }));
    unit.all("Kube", "PublishPort").first().map(|(_, at)| *at).filter(|_| has_port)
}

/// Whether ports are published with a network.
fn publishes(network: &str) -> bool {
    !["host", "none"].contains(&network)
        && !network.starts_with("container:")
        && !network.ends_with(".container")
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n    - image: a\n      \
                       ports: [{hostPort: 80, containerPort: 80}]\n      securityContext: {runAsUser: 0}\n      \
                       volumeMounts: [{name: v, mountPath: /v}]\n      envFrom: [{configMapRef: {name: m}}]\n  \
                       volumes: [{name: v, hostPath: {path: /srv}}]\n";

    fn of(keys: &str, more: &[Source]) -> (Unit, Vec<Ask>) {
        let text = format!("[Kube]\nYaml=a.yaml\n{keys}");
        let unit = Unit::read(&Source::new("/q/a.kube", text), []).unwrap();
        let asks = asks_of_played(&unit, &[Source::new("/q/a.yaml", POD)], more).unwrap();
        (unit, asks)
    }

    fn has(asks: &[Ask], is: impl Fn(&What) -> bool) -> bool {
        asks.iter().any(|ask| is(&ask.what))
    }

    #[test]
    fn keys_of_the_file_change_what_its_yaml_asks() {
        let is_port = |what: &What| matches!(what, What::HostPort { .. });
        let is_by = |of: By| move |what: &What| matches!(what, What::HostPath { by, .. } if *by == of);
        let is_undefined = |what: &What| matches!(what, What::Undefined { kind: "ConfigMap", .. });
        let (unit, asks) = of("", &[]);
        assert!(has(&asks, is_port) && has(&asks, is_by(By::User)) && has(&asks, is_undefined));
        assert_eq!(published_elsewhere(&unit, &asks), None);
        assert!(!has(&of("Network=host\n", &[]).1, is_port));
        assert!(has(&of("Network=a.network\n", &[]).1, is_port));
        assert!(has(&of("UserNS=auto\n", &[]).1, is_by(By::Image)));
        let (unit, asks) = of("PublishPort=8080:80\n", &[]);
        assert_eq!(published_elsewhere(&unit, &asks).and_then(|at| at.line), Some(3));
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n---\napiVersion: apps/v1\n\
                   kind: StatefulSet\nmetadata: {name: s}\nspec: {template: {spec: {}}}\n";
        let (_, asks) = of("", &[Source::new("/q/map.yaml", map)]);
        assert!(!has(&asks, is_undefined));
        assert!(asks.iter().all(|ask| &*ask.at.path == "/q/a.yaml"), "Podman reads maps of it alone");
    }

    #[test]
    fn what_is_given_to_podman() {
        let unit = |name: &str, text: &str| Unit::read(&Source::new(name, text), []).unwrap();
        let kube = unit("/q/a.kube", "[Kube]\nYaml=a.yaml\nConfigMap=%h/b.yaml\nVolume=/x:/x\n");
        let all: Vec<(&str, String)> = played(&kube).into_iter().map(|one| (one.key, one.path)).collect();
        assert_eq!(all, [("Yaml", "a.yaml".to_owned()), ("ConfigMap", "%h/b.yaml".to_owned())]);
        assert!(played(&unit("/q/a.container", "[Container]\nYaml=a\n")).is_empty());
    }
}
