use super::*;
use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
use crate::facts::testing::{TestHost, fixture, podman};
use crate::requirements::Stack;

const DIR: &str = "/home/edge/.config/containers/systemd";
const INSTALL: &str = "[Install]\nWantedBy=default.target\n";
const SECRETS: &str = "/home/edge/.local/share/containers/storage/secrets/secrets.json";

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: zoo}\nspec:\n  containers:\n    - image: a\n";

fn look_at(host: TestHost) -> Outcome {
    run(&host.facts(), &requirements(&[Stack::PodmanKube]), &edge())
}

fn with(host: TestHost, name: &str, text: &str) -> TestHost {
    host.dir(DIR, "0755", 1000).file(&format!("{DIR}/{name}"), format!("{text}{INSTALL}"))
}

/// Debian 13 with one container, after the first example of podman-systemd.unit(5).
fn container(keys: &str) -> TestHost {
    with(
        fixture("debian-13"),
        "web.container",
        &format!("[Container]\nImage=docker.io/library/nginx\n{keys}"),
    )
}

/// What is found of a host with one file; empty for what is met.
fn found(host: TestHost) -> String {
    let outcome = look_at(host);
    assert_eq!(unknown(&outcome), [""; 0]);
    let finding = findings(&outcome)[0];
    if finding.verdict == Verdict::Met { String::new() } else { finding.found.clone() }
}

#[test]
fn what_is_in_order_is_met() {
    let host = container("PublishPort=8080:80\nVolume=%h:/data:ro\nVolume=data:/var\nAddDevice=/dev/fuse\n");
    assert_eq!(verdicts(&look_at(host)), [(format!("{DIR}/web.container").as_str(), Verdict::Met)]);
    let none = look_at(fixture("debian-13"));
    assert_eq!(none.skipped.as_deref(), Some("this user has no Quadlet files"));
    let other = run(&container("").facts(), &requirements(&[Stack::Podman]), &edge());
    assert!(other.skipped.is_some());
}

#[test]
fn the_first_fault_is_told_with_its_line() {
    let outcome = look_at(container("Memroy=1g\nVolume=/nowhere:/data\n"));
    let [finding] = findings(&outcome)[..] else { panic!() };
    assert_eq!(finding.found, "[Container] has no key Memroy=");
    assert_eq!(finding.evidence[0].to_string(), format!("{DIR}/web.container:3"));
    assert_eq!(finding.remedy.summary, "write Memory= in place of Memroy= in web.container:3");
    assert_eq!(finding.remedy.commands, ["sudo systemctl --user -M edge@ daemon-reload"]);
    let image = look_at(container("Memroy=1g\n").image());
    assert!(findings(&image)[0].remedy.commands.is_empty());
}

#[test]
fn what_this_podman_does_not_have() {
    // Debian 13 has 5.4.2.
    let host = container("Memory=1g\n");
    let outcome = look_at(host.clone());
    let finding = findings(&outcome)[0];
    assert_eq!(finding.found, "Quadlet refuses Memory= in [Container] before Podman 5.5");
    assert!(finding.remedy.summary.starts_with("write PodmanArgs=--memory=... in web.container:3"));
    assert_eq!(&*finding.evidence[1].path, "/var/lib/dpkg/status");
    assert_eq!(found(podman(host, "5.5.0-1")), "");
    let artifact = with(fixture("debian-13"), "a.artifact", "[Artifact]\nArtifact=quay.io/a/b:1\n");
    assert_eq!(found(artifact), "Quadlet passes over .artifact files before Podman 5.7");
}

#[test]
fn what_a_later_podman_refuses() {
    let host = |version: &str, keys: &str| podman(container(keys), version);
    let remapped = "UserNS=keep-id\nRemapUsers=keep-id\n";
    assert_eq!(found(host("4.7.2-1", remapped)), "");
    let refused =
        "RemapUsers= beside a key that maps IDs, which takes its place, which Podman 4.8 and later refuse";
    assert_eq!(found(host("4.9.3-1", remapped)), refused);
    let pulled = "[Unit]\nRequires=nope.container\n";
    assert_eq!(found(host("5.4.2-1", pulled)), "");
    let refused = "Requires=nope.container, and there is no such file, which Podman 5.5 and later refuse";
    assert_eq!(found(host("5.5.0-1", pulled)), refused);
}

#[test]
fn files_that_the_user_reads() {
    let kube = |text: &str| with(fixture("debian-13"), "web.kube", &format!("[Kube]\n{text}\n"));
    let yaml = format!("{DIR}/pods.yaml");
    let missing = "Yaml=pods.yaml, which does not exist";
    assert_eq!(found(kube("Yaml=pods.yaml").error(&yaml, "absent")), missing);
    let host = kube("Yaml=pods.yaml").file(&yaml, POD);
    assert_eq!(found(host.clone()), "");
    let closed = host.mode(&yaml, "0600");
    assert_eq!(found(closed), "Yaml=pods.yaml, which edge cannot read");
    let configured = kube("Yaml=pods.yaml\nConfigMap=%h/map.yaml").file(&yaml, POD);
    let map = "/home/edge/map.yaml";
    let expected = format!("ConfigMap=%h/map.yaml, and {map} does not exist");
    assert_eq!(found(configured.error(map, "absent")), expected);
    let env = container("EnvironmentFile=-/etc/web.env\n").error(&format!("{DIR}/-/etc/web.env"), "absent");
    assert_eq!(found(env), "EnvironmentFile=-/etc/web.env, where Podman has no leading \"-\"");
}

#[test]
fn what_the_yaml_asks() {
    let with_yaml = |keys: &str, text: &str| {
        let host = with(fixture("debian-13"), "web.kube", &format!("[Kube]\nYaml=pods.yaml\n{keys}"));
        host.file(&format!("{DIR}/pods.yaml"), text)
            .file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "1024\n")
    };
    let pod = |more: &str| format!("{POD}{more}");
    let low = pod("      ports: [{hostPort: 80, containerPort: 80}]\n");
    let outcome = look_at(with_yaml("", &low));
    assert_eq!(findings(&outcome)[0].found, "publishes port 80, and users may bind ports from 1024 on");
    assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{DIR}/pods.yaml:7"));
    assert_eq!(found(with_yaml("Network=host\n", &low)), "");
    let elsewhere = "whether web.kube:3 takes the place of a hostPort is not looked at";
    assert_eq!(unknown(&look_at(with_yaml("PublishPort=8080:80\n", &low))), [elsewhere]);
    assert_eq!(found(with_yaml("", &low.replace("80,", "8080,"))), "");
    let mounts = pod(
        "      volumeMounts: [{name: v, mountPath: /v}]\n  volumes: [{name: v, hostPath: {path: /srv/none}}]\n",
    );
    let host = || with_yaml("", &mounts).dir("/srv", "0755", 0);
    assert_eq!(found(host()), "pods.yaml:8 has /srv/none: not there");
    let makes = "[Service]\nExecStartPre=/usr/bin/mkdir -p /srv/none\n";
    assert_eq!(found(with_yaml(makes, &mounts).dir("/srv", "0755", 0)), "");
    let map = pod("      envFrom: [{configMapRef: {name: site}}]\n");
    assert_eq!(found(with_yaml("", &map)), "pods.yaml:7 has ConfigMap site: in no file of the workload");
    let set = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: s}\nspec: {template: {spec: {}}}\n";
    assert_eq!(
        found(with_yaml("", set)),
        "pods.yaml:2 has StatefulSet s: podman kube play leaves out a StatefulSet"
    );
    let twice = pod("      ports: [{hostPort: 8080}, {hostPort: 8080}]\n");
    let taken = format!("pods.yaml:7 has Pod zoo: tcp/8080 is taken by Pod zoo in {DIR}/pods.yaml:7");
    assert_eq!(found(with_yaml("", &twice)), taken);
    let text = with_yaml("", "just text\n");
    assert!(unknown(&look_at(text))[0].starts_with("not Kubernetes YAML: "));
    let recorded = with_yaml("", POD).recorded();
    let outcome = run(&recorded, &requirements(&[Stack::PodmanKube]), &edge());
    assert!(
        unknown(&outcome)[0].starts_with("what pods.yaml asks is not looked at, "),
        "no place for secrets"
    );
}

#[test]
fn paths_of_the_host() {
    let host = |keys: &str| container(keys).error("/srv/data", "absent");
    let expected = "Volume=/srv/data, which does not exist";
    assert_eq!(found(host("Volume=/srv/data:/data\n")), expected);
    let mounted = "Mount=type=bind,source=/srv/data,destination=/data\n";
    assert_eq!(found(host(mounted)), "Mount=/srv/data, which does not exist");
    for fine in [
        "Volume=/run/x/y:/data\n",
        "Mount=type=volume,source=data,destination=/data\n",
        "Mount=type=glob,source=/srv/d*,destination=/data\n",
        "Volume=data:/data\n",
        "Volume=/data\n",
        "AddDevice=-/dev/nothing\n",
        "AddDevice=nvidia.com/gpu=all\n",
        "Volume=/srv/data:/data\n[Service]\nExecStartPre=/usr/bin/mkdir -p /srv/data\n",
        "Volume=/srv/%H:/data\n",
    ] {
        assert_eq!(found(host(fine)), "", "{fine}");
    }
    let device = container("AddDevice=/dev/nothing:/dev/x\n").error("/dev/nothing", "absent");
    assert_eq!(found(device), "AddDevice=/dev/nothing, which does not exist");
}

#[test]
fn ports_of_the_host() {
    let host = container("PublishPort=80:80\n");
    assert_eq!(
        found(host.clone().file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "1024\n")),
        "publishes port 80, and users may bind ports from 1024 on"
    );
    let low = host.file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "80\n");
    assert_eq!(found(low), "");
    let sctp = container("PublishPort=13200:132/sctp\n");
    assert_eq!(found(sctp), "publishes SCTP, which rootless Podman does not");
    let rest = "00000000:0000";
    let taken = |uid: u32| {
        let line =
            format!("   0: 0100007F:1F90 {rest} 0A 00000000:00000000 00:00000000 00000000 {uid} 0 485 1 0\n");
        container("PublishPort=8000-8090:8000-8090\n").append("/proc/net/tcp", &line)
    };
    assert_eq!(found(taken(0)), "publishes port 8080, which root uses on 127.0.0.1");
    assert_eq!(found(taken(1000)), "", "its own");
    let elsewhere = taken(0).edit(&format!("{DIR}/web.container"), "PublishPort=", "PublishPort=10.0.0.1:");
    assert_eq!(found(elsewhere), "");
}

#[test]
fn secrets_of_the_user() {
    let host = container("Secret=token,type=env,target=TOKEN\n");
    let missing = "Secret=token, and edge has no such secret";
    assert_eq!(found(host.clone().error(SECRETS, "absent")), missing);
    let made = host.clone().file(SECRETS, r#"{"nameToID":{"token":"0a1b"}}"#);
    assert_eq!(found(made), "");
    let hexadecimal = container("Secret=db\n").file(SECRETS, r#"{"nameToID":{"token":"0a1b"}}"#);
    assert_eq!(found(hexadecimal.clone()), "Secret=db, and edge has no such secret");
    assert_eq!(found(hexadecimal.file(SECRETS, r#"{"nameToID":{"token":"db1b"}}"#)), "", "an ID");
    let denied = host.error(SECRETS, "denied");
    assert_eq!(unknown(&look_at(denied)), [format!("{SECRETS} is not readable as this user")]);
}

#[test]
fn what_starts_it_at_boot() {
    let path = format!("{DIR}/web.container");
    let idle = || {
        let host = container("").edit(&path, INSTALL, "").file(&format!("{DIR}/zoo.yaml"), POD);
        let host = host.without("/home/edge/.config/systemd/user");
        let starters = ["timer", "socket", "path"].iter();
        starters.fold(host, |host, name| host.error(&format!("/etc/systemd/user/web.{name}"), "absent"))
    };
    assert_eq!(found(idle()), "started by nothing, without WantedBy= in [Install]");
    assert_eq!(found(idle().file("/etc/systemd/user/web.timer", "")), "");
    let own = "/home/edge/.config/systemd/user";
    assert_eq!(found(idle().dir(own, "0755", 1000).file(&format!("{own}/site.service"), "")), "");
    let wanted = |by: &str| idle().append(&path, &format!("[Install]\n{by}\n"));
    assert_eq!(found(wanted("WantedBy=")), "started by nothing, without WantedBy= in [Install]");
    let outcome = look_at(wanted("WantedBy=multi-user.target"));
    let finding = findings(&outcome)[0];
    let expected = "started by nothing: WantedBy=multi-user.target, which the user manager does not have";
    assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Unmet, expected));
    assert_eq!(outcome.items[0].level, Level::Advised);
    assert_eq!(finding.evidence[0].to_string(), format!("{path}:4"));
    assert_eq!(finding.remedy.summary, "write WantedBy=default.target in web.container:4");
    for fine in [
        "WantedBy=multi-user.target default.target",
        "RequiredBy=timers.target",
        "WantedBy=podman.socket",
        "WantedBy=%i.target",
    ] {
        assert_eq!(found(wanted(fine)), "", "{fine}");
    }
    let by_other = with(wanted("WantedBy=zoo.service"), "zoo.kube", "[Kube]\nYaml=zoo.yaml\n");
    assert!(findings(&look_at(by_other)).iter().all(|finding| finding.verdict == Verdict::Met));
    let once = idle().append(&path, "[Service]\nType=oneshot\n");
    assert_eq!(found(once), "");
    let other = with(idle(), "zoo.kube", "[Unit]\nWants=web.container\n[Kube]\nYaml=zoo.yaml\n");
    assert!(findings(&look_at(other)).iter().all(|finding| finding.verdict == Verdict::Met));
    let of_pod = with(idle(), "b.pod", "[Pod]\n").edit(&path, "[Container]\n", "[Container]\nPod=b.pod\n");
    assert!(findings(&look_at(of_pod)).iter().all(|finding| finding.verdict == Verdict::Met));
}

#[test]
fn a_line_that_podman_cannot_read_takes_others_along() {
    let level = |keys: &str| look_at(container(keys)).items[0].level;
    assert_eq!((level("no key\n"), level("Imge=a\n")), (Level::Required, Level::Advised));
}

#[test]
fn drop_ins_count() {
    let dir = format!("{DIR}/web.container.d");
    let host = container("").dir(&dir, "0755", 1000).file(&format!("{dir}/10.conf"), "[Container]\nImge=x\n");
    let outcome = look_at(host.clone());
    assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{dir}/10.conf:2"));
    assert_eq!(found(podman(host.clone(), "4.9.3-1")), "");
    let reason = format!("{dir}/10.conf: whether it counts depends on the version of Podman");
    assert_eq!(unknown(&look_at(podman(host, "5.0.0-1"))), [reason]);
}

#[test]
fn the_one_that_counts_is_judged() {
    let users = "/etc/containers/systemd/users";
    let host = container("").dir(users, "0755", 0).file(&format!("{users}/web.container"), "[Broken\n");
    assert_eq!(found(host), "");
}

#[test]
fn what_cannot_be_told_is_unknown() {
    let captured = with(fixture("debian-13"), "web.container", "[Container]\nImage=LEFT-OUT\n");
    assert_eq!(unknown(&look_at(captured)), ["the capture leaves out what it says"]);
    let path = format!("{DIR}/web.container");
    let denied = container("").path(&path, |record| record.read_error = Some("denied".to_owned()));
    assert_eq!(unknown(&look_at(denied)), [format!("{path} is not readable as this user")]);
    let rpm = container("Memory=1g\n")
        .without("/var/lib/dpkg")
        .without("/usr/lib/systemd/user/podman-user-wait-network-online.service")
        .without("/usr/lib/systemd/user/podman.socket")
        .dir("/var/lib/rpm", "0755", 0);
    assert!(
        unknown(&look_at(rpm))[0].starts_with("Quadlet passes over .container files before Podman 4.4; ")
    );
}

#[test]
fn control_characters_do_not_reach_terminals() {
    let outcome = look_at(container("Im\u{1b}[31mage=\u{1b}]0;x\u{7}\nPod=\u{1b}.pod\n"));
    let finding = findings(&outcome)[0];
    assert!(finding.evidence.iter().all(|at| !at.text.contains('\u{1b}')));
}

#[test]
fn yaml_that_many_play_takes_no_time() {
    let mounts = "  volumes:\n".to_owned()
        + &(0..5000)
            .map(|n| format!("    - {{name: v{n}, hostPath: {{path: /srv/{n}}}}}\n"))
            .collect::<String>();
    let host = fixture("debian-13").dir(DIR, "0755", 1000).dir("/srv", "0777", 0);
    let host = host.file(&format!("{DIR}/pods.yaml"), format!("{POD}{mounts}"));
    let many = (100..300).fold(host, |host, n| {
        host.file(&format!("{DIR}/{n}.kube"), format!("[Kube]\nYaml=pods.yaml\n{INSTALL}"))
    });
    let outcome = look_at(many);
    let unknown = unknown(&outcome);
    assert_eq!((findings(&outcome).len(), unknown.len()), (4, 196));
    assert!(unknown[0].contains("as all YAML past 1048576 bytes: "), "{}", unknown[0]);
}

#[test]
fn more_than_anybody_writes_takes_no_time() {
    let text = format!("[Container]\nImage=a\n{}", "PublishPort=20000-20100:1-101\n".repeat(2000));
    let many = (100..300).fold(fixture("debian-13").dir(DIR, "0755", 1000), |host, n| {
        host.file(&format!("{DIR}/{n}.container"), text.as_str())
    });
    let outcome = look_at(many);
    let unknown = unknown(&outcome);
    assert_eq!((findings(&outcome).len(), unknown.len()), (32, 168));
    assert_eq!(unknown[0], "Quadlet files of more than 65536 lines are not looked at");
    assert!(unknown[167].ends_with("Quadlet files of more than 4194304 bytes are not looked at"));
}
