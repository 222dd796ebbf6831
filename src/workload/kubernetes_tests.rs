use super::*;
use crate::workload::{By, PathKind, Workload};

fn parse(text: &str) -> Result<Vec<Ask>, Malformed> {
    asks(&[Source::new("a.yaml", text)])
}

fn why(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// The asks that hold for a stack, each with its line.
fn of(stack: Stack, text: &str) -> Vec<(u32, What)> {
    let asks = parse(text).unwrap();
    let asks = asks.into_iter().filter(|ask| ask.stacks.contains(&stack));
    asks.map(|ask| (ask.at.line.unwrap(), ask.what)).collect()
}

fn lines(stack: Stack, text: &str, wanted: impl Fn(&What) -> bool) -> Vec<u32> {
    of(stack, text).into_iter().filter(|(_, what)| wanted(what)).map(|(line, _)| line).collect()
}

fn port_of(what: &What) -> bool {
    matches!(what, What::HostPort { .. })
}

const GUESTBOOK: &str = "\
apiVersion: v1
kind: Service
metadata:
  name: frontend
spec:
  type: LoadBalancer
  ports:
    - port: 80
    - {port: 5353, protocol: UDP}
  selector: {app: guestbook}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: frontend
spec:
  replicas: 3
  template:
    spec:
      containers:
        - name: php-redis
          image: us-docker.pkg.dev/google-samples/containers/gke/gb-frontend:v5
          resources:
            requests:
              cpu: 100m
              memory: 100Mi
          ports:
            - containerPort: 80
";

#[test]
fn a_guestbook_is_another_for_podman_than_for_k3s() {
    let k3s = of(Stack::K3s, GUESTBOOK);
    let tcp = What::HostPort { protocol: Protocol::Tcp, address: None, ports: 10080..=10080 };
    let udp = What::HostPort { protocol: Protocol::Udp, address: None, ports: 5353..=5353 };
    assert_eq!(k3s, [(8, tcp), (9, udp), (26, What::Memory(300 << 20))]);
    let podman = of(Stack::PodmanKube, GUESTBOOK);
    let lines: Vec<u32> = podman.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 17, 26, 26], "{podman:?}");
    let limit = What::Limit {
        controller: crate::facts::cgroup::Controller::Memory,
        text: "memory: 100Mi".into(),
        since: None,
    };
    assert_eq!(podman[2].1, limit, "Podman takes a request of memory for a limit that gives way");
    assert_eq!(podman[3].1, What::Memory(100 << 20), "of one pod");
    assert_eq!(of(Stack::Kind, GUESTBOOK), [(26, What::Memory(300 << 20))]);
    assert_eq!(parse(GUESTBOOK).unwrap()[0].of.as_ref(), "Service frontend");
}

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: web
  annotations:
    io.podman.annotations.pids-limit/web: \"100\"
spec:
  hostNetwork: NETWORK
  securityContext:
    runAsUser: 101
    sysctls: [{name: net.core.somaxconn, value: \"1024\"}]
  initContainers:
    - {name: first, image: busybox, resources: {requests: {memory: 1Gi}}}
  containers:
    - name: web
      image: nginx
      ports:
        - containerPort: 8080
          hostPort: 80
        - {containerPort: 53, hostPort: 5353, protocol: UDP, hostIP: 127.0.0.1}
        - {containerPort: 9}
      resources:
        limits: {cpu: 0.5, memory: 64Mi, podman.io/device=/dev/kvm: 1, ephemeral-storage: 1Gi}
      securityContext: {privileged: true}
      volumeMounts:
        - {name: data, mountPath: /data}
        - {name: certs, mountPath: /certs, readOnly: true}
        - {name: none, mountPath: /none}
      env:
        - {name: A, valueFrom: {configMapKeyRef: {name: site, key: a}}}
        - {name: B, valueFrom: {configMapKeyRef: {name: site, key: b}}}
        - {name: C, valueFrom: {configMapKeyRef: {name: site, key: c, optional: true}}}
        - {name: D, value: \"80\"}
    - name: root
      image: nginx
      securityContext: {runAsUser: 0}
      volumeMounts: [{name: certs, mountPath: /certs}]
  volumes:
    - name: data
      hostPath: {path: /srv/data, type: Directory}
    - name: certs
      hostPath: {path: /srv/certs}
    - name: claim
      persistentVolumeClaim: {claimName: claim}
    - name: cloud
      nfs: {server: a, path: /}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: site}
data: {a: x}
";

#[test]
fn what_each_field_of_a_pod_asks() {
    let pod = POD.replace("NETWORK", "false");
    let podman = |wanted: fn(&What) -> bool| lines(Stack::PodmanKube, &pod, wanted);
    assert_eq!(podman(port_of), [19, 20]);
    assert_eq!(lines(Stack::K3s, &pod, |what| matches!(what, What::Unsupported { .. })), [19, 20]);
    assert_eq!(podman(|what| matches!(what, What::Limit { .. })), [23, 23, 13, 6]);
    assert_eq!(podman(|what| matches!(what, What::Device { .. })), [23]);
    assert_eq!(podman(|what| matches!(what, What::Privileged)), [24]);
    assert_eq!(podman(|what| matches!(what, What::Wrong(_))), [31, 28], "no key b, no volume none");
    assert_eq!(podman(|what| matches!(what, What::Sysctl { own_network: true, .. })), [11]);
    assert_eq!(podman(|what| matches!(what, What::Memory(bytes) if *bytes == 1 << 30)), [23], "the largest");
    let unsupported = podman(|what| matches!(what, What::Unsupported { since: None, .. }));
    assert_eq!(unsupported, [46], "a volume of nfs");
    assert!(podman(|what| matches!(what, What::Undefined { .. })).is_empty(), "Podman makes the volume");
    assert_eq!(lines(Stack::Kind, &pod, |what| matches!(what, What::Undefined { .. })), [44]);
    let path = |path: &str, kind, writable, by| What::HostPath { path: path.into(), kind, writable, by };
    let paths: Vec<What> = of(Stack::PodmanKube, &pod)
        .into_iter()
        .map(|(_, what)| what)
        .filter(|what| matches!(what, What::HostPath { .. }))
        .collect();
    let expected = [
        path("/srv/certs", PathKind::Any, false, By::Subordinate { uid: 101, gid: None }),
        path("/srv/certs", PathKind::Any, true, By::User),
        path("/srv/data", PathKind::Directory, true, By::Subordinate { uid: 101, gid: None }),
    ];
    assert_eq!(paths, expected);
    assert!(lines(Stack::Kind, &pod, |what| matches!(what, What::HostPath { .. })).is_empty());
}

#[test]
fn with_the_network_of_the_host_it_is_the_port_of_the_container() {
    let pod = POD.replace("NETWORK", "true");
    let ports: Vec<What> =
        of(Stack::PodmanKube, &pod).into_iter().map(|(_, what)| what).filter(port_of).collect();
    let address = Some("127.0.0.1".parse().unwrap());
    let expected = [
        What::HostPort { protocol: Protocol::Tcp, address: None, ports: 8080..=8080 },
        What::HostPort { protocol: Protocol::Udp, address, ports: 53..=53 },
        What::HostPort { protocol: Protocol::Tcp, address: None, ports: 9..=9 },
    ];
    assert_eq!(ports, expected);
    assert_eq!(lines(Stack::K3s, &pod, |what| matches!(what, What::HostNetwork)), [8]);
    assert_eq!(
        lines(Stack::PodmanKube, &pod, |what| matches!(what, What::Sysctl { own_network: false, .. })),
        [11]
    );
}

#[test]
fn lists_json_and_anchors_are_what_they_stand_for() {
    let json = r#"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Pod",
"metadata": {"name": "a"}, "spec": {"containers": [{"image": "a", "ports": [{"hostPort": 8080}]}]}}]}"#;
    assert_eq!(lines(Stack::Podman, json, port_of), [2]);
    let anchors = "\
apiVersion: v1
kind: Pod
metadata: {generateName: a-}
spec:
  containers:
    - &base
      image: a
      ports: [{hostPort: 8080}]
    - <<: *base
      ports: [{hostPort: 8081}]
";
    assert_eq!(lines(Stack::Podman, anchors, port_of), [8, 10]);
    let nameless = lines(Stack::Podman, anchors, |what| matches!(what, What::Unsupported { .. }));
    assert_eq!(nameless, [2], "podman kube play takes no generateName");
}

#[test]
fn podman_knows_no_namespaces() {
    let pod = |namespace: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a, namespace: {namespace}}}\nspec: {{hostPID: true}}\n---\n"
        )
    };
    let text = format!("{}{}", pod("one"), pod("two"));
    let asks = parse(&text).unwrap();
    assert_eq!(asks.len(), 1, "{asks:?}");
    assert_eq!(
        (&asks[0].what, asks[0].at.line),
        (&What::Wrong("a.yaml:3 has that name, too".into()), Some(8))
    );
    assert_eq!(asks[0].stacks, PODMAN);
}

#[test]
fn kinds_that_podman_does_not_run_ask_nothing_of_it_but_that() {
    let set = "\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  volumeClaimTemplates: [{metadata: {name: data}}]
  template:
    spec:
      containers:
        - image: a
          ports: [{hostPort: 80}]
          resources: {limits: {memory: 1Mi}}
          volumeMounts: [{name: data, mountPath: /data}]
";
    assert!(matches!(&of(Stack::PodmanKube, set)[..], [(2, What::Unsupported { since: None, .. })]));
    assert_eq!(lines(Stack::K3s, set, |what| *what == What::Memory(2 << 20)), [12]);
    assert!(lines(Stack::K3s, set, |what| matches!(what, What::Wrong(_))).is_empty());
    let job = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: a}\nspec:\n  jobTemplate:\n    spec:\n      \
               template: {spec: {containers: [{image: a, resources: {limits: {memory: 1Mi}}}]}}\n";
    assert_eq!(lines(Stack::Kind, job, |what| *what == What::Memory(1 << 20)), [7]);
    let other = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}\n";
    assert_eq!((of(Stack::PodmanKube, other).len(), of(Stack::K3s, other).len()), (2, 0));
}

#[test]
fn what_is_malformed_is_named_with_its_line() {
    let pod = |text: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n{text}\n");
    let port = |text: &str| why(&pod(&format!("  containers:\n    - ports:\n        - {text}")));
    for (why, expected) in [
        (why(""), "a.yaml:1: expected a Kubernetes object, with apiVersion and kind"),
        (why("# nothing\n---\n"), "a.yaml:1: expected a Kubernetes object, with apiVersion and kind"),
        (why("\nservices:\n  web: {}\n"), "a.yaml:2: expected a Kubernetes object, with apiVersion and kind"),
        (why("- a\n"), "a.yaml:1: expected a map, found a list"),
        (why("kind: Pod\n"), "a.yaml:1: expected a Kubernetes object, with apiVersion and kind"),
        (why("apiVersion: v1\nkind: Pod\n"), "a.yaml:1: expected a pod, with spec"),
        (why(&pod("  containers: a")), "a.yaml:5: containers: expected a list, found a value"),
        (port("hostPort: abc"), "a.yaml:7: hostPort: expected a number"),
        (port("hostPort: \"80\""), "a.yaml:7: hostPort: expected a number without quotes"),
        (port("hostPort: 65536"), "a.yaml:7: hostPort: expected a port, 1 to 65535"),
        (port("hostPort: -1"), "a.yaml:7: hostPort: expected a port, 1 to 65535"),
        (port("{hostPort: 80, protocol: HTTP}"), "a.yaml:7: protocol: expected TCP, UDP or SCTP"),
        (port("{hostPort: 80, hostIP: here}"), "a.yaml:7: hostIP: expected an IP address"),
        (why(&pod("  hostNetwork: maybe")), "a.yaml:5: hostNetwork: expected true or false, without quotes"),
        (
            why(&pod("  containers: [{image: a, resources: {limits: {memory: 64mb}}}]")),
            "a.yaml:5: memory: expected a quantity, such as 500m or 64Mi",
        ),
        (
            why(&pod("  volumes: [{name: a, hostPath: {path: /a, type: Folder}}]")),
            "a.yaml:5: type: expected a type of hostPath, such as DirectoryOrCreate",
        ),
    ] {
        assert_eq!(why, expected);
    }
}

#[test]
fn a_workload_is_bounded_and_quadlet_is_for_others() {
    let ports = "        - {hostPort: 80}\n".repeat(10_001);
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  containers:\n    - image: a\n      ports:\n{ports}"
    );
    let why = Workload::parse(vec![Source::new("a.yaml", text)]).unwrap_err();
    assert!(why.to_string().contains("no more than 10000 things"), "{why}");
    let pod = "{apiVersion: v1, kind: Pod, spec: {hostIPC: true, containers: [*c]}}";
    let container = "{ports: [{hostPort: 80}], resources: {limits: {memory: 1}}}";
    let text = format!("kind: List\nx: &c {container}\nitems:\n- &p {pod}\n{}", "- *p\n".repeat(8_000));
    let source = [Source::new("a.yaml", text)];
    assert!(asks(&source).unwrap_err().to_string().ends_with("10000 things"), "while they are collected");
    let quadlet =
        Workload::parse(vec![Source::new("web.container", "[Container]\nImage=a\nPublishPort=80:80\n")])
            .unwrap();
    assert_eq!(quadlet.asks.len(), 1);
}

#[test]
fn namespaces_part_what_clusters_see_and_keys_of_volumes_are_looked_for() {
    let text = |of_pod: &str, of_map: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: site{of_map}}}\ndata: {{a: x}}\n---\n\
             apiVersion: v1\nkind: Pod\nmetadata: {{name: web{of_pod}}}\nspec:\n  volumes:\n    - name: v\n      \
             configMap:\n        name: site\n        items:\n          - {{key: a, path: a}}\n          \
             - {{key: b, path: b}}\n"
        )
    };
    let undefined = |what: &What| matches!(what, What::Undefined { .. });
    let wrong = |what: &What| matches!(what, What::Wrong(_));
    let apart = text(", namespace: one", ", namespace: two");
    assert_eq!(lines(Stack::Kind, &apart, undefined), [13, 13]);
    assert_eq!(lines(Stack::PodmanKube, &apart, undefined), [0; 0]);
    assert_eq!(lines(Stack::PodmanKube, &apart, wrong), [0; 0], "Podman passes over it");
    let asks = parse(&apart).unwrap();
    let of_podman: Vec<&Ask> = asks.iter().filter(|ask| ask.stacks == PODMAN).collect();
    assert_eq!((of_podman.len(), of_podman[0].level, of_podman[0].at.line), (1, Level::Advised, Some(16)));
    let text_of = |what: &What| match what {
        What::Unsupported { text, .. } => text.clone(),
        what => format!("{what:?}"),
    };
    let expected = "podman kube play leaves out the file of a key: ConfigMap site has no key b";
    assert_eq!(text_of(&of_podman[0].what), expected);
    for (of_pod, of_map) in [("", ""), (", namespace: one", ", namespace: one"), ("", ", namespace: two")] {
        let text = text(of_pod, of_map);
        assert_eq!(lines(Stack::Kind, &text, undefined), [0; 0], "{of_pod} {of_map}");
        assert_eq!(lines(Stack::Kind, &text, wrong), [16], "{of_pod} {of_map}");
    }
}

/// What Podman stops at in these lines of the first container of a pod.
fn stops(container: &str) -> Vec<(u32, String)> {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {name}\nspec:\n  containers:\n    - image: a\n{container}",
        name = "{name: a}"
    );
    let asks = parse(&text).unwrap();
    let of = |ask: Ask| match ask.what {
        What::Unsupported { text, .. } if ask.level == Level::Required => Some((ask.at.line.unwrap(), text)),
        _ => None,
    };
    asks.into_iter().filter_map(of).collect()
}

#[test]
fn variables_that_podman_does_not_know() {
    let of = |from: &str| stops(&format!("      env:\n        - name: A\n          valueFrom: {{{from}}}\n"));
    for path in ["metadata.name", "metadata.uid", "metadata.labels['a/b']", "metadata.annotations['a']"] {
        assert_eq!(of(&format!("fieldRef: {{fieldPath: {path:?}}}")), []);
    }
    for path in
        ["metadata.namespace", "status.podIP", "spec.nodeName", "metadata.labels['']", "metadata.labels"]
    {
        let text = format!("podman kube play stops at a variable from the field {path:?}");
        assert_eq!(of(&format!("fieldRef: {{fieldPath: {path:?}}}")), [(9, text)]);
    }
    let divided = |resource: &str, divisor: &str| {
        of(&format!("resourceFieldRef: {{resource: {resource}, divisor: {divisor}}}"))
            .pop()
            .map(|(_, text)| text)
    };
    for divisor in ["null", "0", "1", "1k", "1000", "1Mi", "1024Ki", "1Ei"] {
        assert_eq!(divided("limits.memory", divisor), None, "{divisor}");
    }
    for divisor in ["null", "1", "1m", "0.001"] {
        assert_eq!(divided("requests.cpu", divisor), None, "{divisor}");
    }
    for (resource, divisor) in [
        ("limits.memory", "2Mi"),
        ("limits.memory", "1m"),
        ("limits.memory", "1024"),
        ("limits.cpu", "1k"),
        ("limits.cpu", "x"),
    ] {
        let text = format!("podman kube play stops at a variable from {resource} in units of {divisor}");
        assert_eq!(divided(resource, divisor), Some(text));
    }
    let text = "podman kube play stops at a variable from the resource \"limits.ephemeral-storage\"";
    assert_eq!(divided("limits.ephemeral-storage", "1").as_deref(), Some(text));
}

#[test]
fn containers_of_one_name() {
    let pod = |first: &str, second: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  initContainers:\n    - {{image: a, name: {first}}}\n  \
             containers:\n    - image: a\n      name: {second}\n"
        )
    };
    let wrong = |what: &What| matches!(what, What::Wrong(_));
    for stack in [Stack::PodmanKube, Stack::K3s] {
        assert_eq!(lines(stack, &pod("web", "web"), wrong), [9]);
        assert_eq!(lines(stack, &pod("web", "db"), wrong), [0; 0]);
    }
    let what = What::Wrong("a container of the pod in a.yaml:6 is called \"web\", too".into());
    assert_eq!(of(Stack::Podman, &pod("web", "web")), [(9, what)]);
    assert_eq!(lines(Stack::Podman, &pod("null", "null"), wrong), [9], "no name is one, too");
}

#[test]
fn probes_of_podman() {
    let left_out = |probe: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  containers:\n    - image: a\n      {probe}\n"
        );
        let asks = parse(&text).unwrap();
        assert!(asks.iter().all(|ask| ask.level == Level::Advised && ask.stacks == PODMAN));
        asks.into_iter().map(|ask| ask.at.line.unwrap()).collect::<Vec<u32>>()
    };
    for key in ["livenessProbe", "startupProbe"] {
        assert_eq!(left_out(&format!("{key}: {{grpc: {{port: 80}}}}")), [7]);
        assert_eq!(left_out(&format!("{key}: {{exec: null}}")), [7]);
        for way in ["exec: {command: [a]}", "httpGet: {port: 80}", "tcpSocket: {port: 80}"] {
            assert_eq!(left_out(&format!("{key}: {{{way}}}")), [0; 0]);
        }
    }
    assert_eq!(left_out("readinessProbe: {exec: {command: [a]}}"), [7]);
    for key in ["readinessProbe", "livenessProbe", "startupProbe", "lifecycle"] {
        let text =
            format!("  initContainers:\n    - {{image: a, name: b, {key}: {{exec: {{command: [a]}}}}}}\n");
        let expected = format!("podman kube play stops at an init container with {key}");
        assert_eq!(stops(&text), [(8, expected)]);
    }
}

#[test]
fn a_file_of_nothing_that_podman_plays_stops_it() {
    let object = |kind: &str| format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: a}}\n");
    let pod = format!("{}spec: {{containers: [{{image: a}}]}}\n", object("Pod"));
    let of = |files: &[&str]| {
        let named = |(index, text): (usize, &&str)| Source::new(&format!("{index}.yaml"), *text);
        let sources: Vec<Source> = files.iter().enumerate().map(named).collect();
        let told = |ask: Ask| match ask.what {
            What::Unsupported { text, since } if ask.level == Level::Required => {
                assert_eq!(ask.stacks, PODMAN);
                Some(format!("{} {text} {since:?}", ask.at))
            }
            _ => None,
        };
        asks(&sources).unwrap().into_iter().filter_map(told).collect::<Vec<String>>()
    };
    let (service, map, secret) = (object("Service"), object("ConfigMap"), object("Secret"));
    let nothing = |at: &str, since: &str| {
        vec![format!("{at} podman kube play stops at a file without anything that it plays {since}")]
    };
    assert_eq!(of(&[&service]), nothing("0.yaml:2", "None"));
    let maps = ["0.yaml:2 podman kube play stops at ConfigMaps that no pod is with None"];
    assert_eq!(of(&[&map]), maps);
    assert_eq!(of(&[&format!("{map}---\n{service}")]), maps);
    assert_eq!(of(&[&pod, &service]), nothing("1.yaml:2", "Some(Version([5, 7]))"));
    for files in [&[&map, &pod][..], &[&secret], &[&object("PersistentVolumeClaim")], &[&pod]] {
        let files: Vec<&str> = files.iter().map(|file| file.as_str()).collect();
        assert!(of(&files).is_empty(), "{files:?}");
    }
    assert!(of(&[&format!("{service}---\n{pod}")]).is_empty());
}

#[test]
fn texts_that_are_kept_are_bounded() {
    let spec = |text: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n{text}\n");
    let (name, path) = ("n".repeat(254), format!("/{}", "p".repeat(4096)));
    for (text, key, most) in [
        (format!("apiVersion: v1\nkind: {name}\n"), "kind", 253),
        (spec("").replace("name: a", &format!("name: {name}")), "name", 253),
        (spec("").replace("name: a", &format!("generateName: {name}")), "generateName", 253),
        (spec(&format!("  volumes: [{{name: {name}}}]")), "name", 253),
        (spec(&format!("  volumes: [{{name: v, secret: {{secretName: {name}}}}}]")), "secretName", 253),
        (spec(&format!("  volumes: [{{name: v, hostPath: {{path: {path}}}}}]")), "path", 4096),
    ] {
        let why = why(&text);
        assert!(why.ends_with(&format!(" {key}: expected no more than {most} bytes")), "{why}");
    }
}

proptest::proptest! {
    #[test]
    fn no_change_of_a_manifest_panics(at in 0usize..1500, with in "\\PC{0,3}|[\\[\\]{}&*:\n -]{1,4}") {
        let mut text = POD.to_owned();
        let at = at.min(text.len());
        text.replace_range(at..(at + with.len() / 2).min(text.len()), &with);
        let _ = parse(&text);
    }
}
