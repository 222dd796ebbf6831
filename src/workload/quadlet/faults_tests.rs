use super::*;
use crate::facts::Source;
use crate::workload::quadlet::Units;

const DIR: &str = "/home/edge/.config/containers/systemd";

fn units(files: &[(&str, &str)]) -> Units {
    Units::new(
        files
            .iter()
            .map(|(name, text)| Unit::read(&Source::new(&format!("{DIR}/{name}"), *text), []).unwrap()),
    )
}

/// `LINE WHAT` of all faults of the first file.
fn of(files: &[(&str, &str)]) -> Vec<String> {
    let units = units(files);
    let faults = faults(units.get(files[0].0).unwrap(), &units);
    let certain = faults.into_iter().filter(|fault| fault.until.is_none() && fault.since.is_none());
    certain.map(|fault| format!("{} {}", fault.at.line.unwrap_or(0), fault.what)).collect()
}

/// `VERSION WHAT` of what a later Podman takes.
fn later(name: &str, text: &str) -> Vec<String> {
    let units = units(&[(name, text)]);
    let faults = faults(units.get(name).unwrap(), &units);
    faults.into_iter().filter_map(|fault| Some(format!("{} {}", fault.until?, fault.what))).collect()
}

#[test]
fn what_the_manual_shows_is_in_order() {
    // After the examples of podman-systemd.unit(5).
    let none: [&str; 0] = [];
    for files in [
        &[(
            "my.container",
            "[Unit]\nDescription=A minimal container\n\n[Container]\nImage=quay.io/centos/centos:latest\n\
             Exec=sleep 60\n\n[Service]\nRestart=always\nTimeoutStartSec=900\n\n[Install]\n\
             WantedBy=multi-user.target default.target\n",
        )][..],
        &[(
            "test.kube",
            "[Unit]\nBefore=local-fs.target\n[Kube]\nYaml=/opt/k8s/deployment.yml\n\
             [Install]\nWantedBy=multi-user.target\n",
        )],
        &[("test.volume", "[Volume]\nUser=root\nGroup=projectname\nLabel=org.test.Key=value\n")],
        &[("test.network", "[Network]\nSubnet=172.16.0.0/24\nGateway=172.16.0.1\nIPRange=172.16.0.0/28\n")],
        &[
            ("site.pod", "[Pod]\nPodName=test\nPublishPort=8080:80\nNetwork=site.network\n"),
            ("centos.container", "[Container]\nImage=quay.io/centos/centos:latest\nPod=site.pod\n"),
            ("site.network", "[Network]\n"),
        ],
        &[
            ("web.container", "[Container]\nImage=my.build\nVolume=data.volume:/data:Z\nVolume=/srv:/srv\n"),
            ("my.build", "[Build]\nImageTag=localhost/imagename\nSetWorkingDirectory=unit\n"),
            ("data.volume", "[Volume]\nDriver=image\nImage=base.image\n"),
            ("base.image", "[Image]\nImage=quay.io/centos/centos:latest\n"),
        ],
        &[("empty.volume", "")],
        &[("a.build", "[Build]\nImageTag=a\nFile=f\n[Service]\nWorkingDirectory=/srv\n")],
        &[("a.build", "[Build]\nImageTag=a\nFile=%h/f\n")],
        &[("a.kube", "[Kube]\nYaml=a\nSetWorkingDirectory=YAML\n")],
        &[("a.container", "[Container]\nImage=a\nRemapUsers=manual\nRemapUid=0:1:1 1:2:1\n")],
        &[("a.container", "[Container]\nImage=a\nExposeHostPort=1-2/udp\n")],
    ] {
        assert_eq!(of(files), none, "{}", files[0].0);
    }
}

#[test]
fn what_the_generator_refuses() {
    for (name, text, expected) in [
        ("a.container", "[Container]\nImage\n", "2 neither a group, a key with a value nor a comment"),
        ("a.container", "[Container]\nImage=a\nimage=b\n", "3 [Container] has no key image="),
        ("a.container", "[Container]\nImage=a\nRestart=always\n", "3 [Container] has no key Restart="),
        ("a.container", "[Container]\nImage=a\n[Quadlet]\nX=1\n", "4 [Quadlet] has no key X="),
        ("a.container", "[Service]\nRestart=no\n", "0 no Image= or Rootfs= in [Container]"),
        ("a.container", "[Container]\nImage=\n", "0 no Image= or Rootfs= in [Container]"),
        (
            "a.container",
            "[Container]\nImage=a\nRootfs=/b\n",
            "3 Image= and Rootfs=, of which there can be one",
        ),
        ("a.container", "[Container]\nImage=a\nGroup=b\n", "3 Group= without User="),
        ("a.container", "[Container]\nImage=b.image\n", "2 Image=b.image, and there is no such file"),
        ("a.container", "[Container]\nImage=a\nPod=web\n", "3 Pod=web, which is no .pod file"),
        ("a.container", "[Container]\nImage=a\nPod=b.pod\n", "3 Pod=b.pod, and there is no such file"),
        (
            "a.container",
            "[Container]\nImage=a\nNetwork=b.network:ip=10.0.0.2\n",
            "3 Network=b.network, and there is no such file",
        ),
        ("a.pod", "[Pod]\nVolume=b.volume:/b\n", "2 Volume=b.volume, and there is no such file"),
        (
            "a.container",
            "[Container]\nImage=a\nMount=type=volume,source=b.volume,destination=/b\n",
            "3 Mount=b.volume, and there is no such file",
        ),
        ("a.container", "[Container]\nImage=a\n[Service]\nType=simple\n", "4 Type=simple in [Service]"),
        ("a.kube", "[Kube]\nYaml=a\n[Service]\nKillMode=none\n", "4 KillMode=none in [Service]"),
        ("a.kube", "[Kube]\nNetwork=host\n", "0 no Yaml= in [Kube]"),
        ("a.build", "[Build]\nFile=/a\n", "0 no ImageTag= in [Build]"),
        ("a.build", "[Build]\nImageTag=a\n", "0 no File= or SetWorkingDirectory= in [Build]"),
        ("a.volume", "[Volume]\nType=tmpfs\n", "2 Type= without Device="),
        (
            "a.build",
            "[Build]\nImageTag=a\nFile=Containerfile\n",
            "3 File=Containerfile, which is relative, without SetWorkingDirectory=",
        ),
        (
            "a.build",
            "[Build]\nImageTag=a\nSetWorkingDirectory=yaml\n",
            "3 SetWorkingDirectory=yaml, which .kube files alone have",
        ),
        (
            "a.kube",
            "[Kube]\nYaml=a\nSetWorkingDirectory=/srv\n",
            "3 SetWorkingDirectory=/srv, which is not yaml or unit",
        ),
        ("a.container", "[Container]\nImage=a\nRemapUid=0:1:1\n", "3 RemapUid= without RemapUsers="),
        (
            "a.container",
            "[Container]\nImage=a\nRemapUsers=none\n",
            "3 RemapUsers=none, which is none of manual, auto, keep-id",
        ),
        (
            "a.kube",
            "[Kube]\nYaml=a\nRemapUsers=manual\n",
            "3 RemapUsers=manual, which is none of auto, keep-id",
        ),
        (
            "a.container",
            "[Container]\nImage=a\nRemapUsers=keep-id\nRemapGid=1 2\n",
            "4 more than one RemapGid= with RemapUsers=keep-id",
        ),
        (
            "a.container",
            "[Container]\nImage=a\nExposeHostPort=http\n",
            "3 ExposeHostPort=http, which is no port",
        ),
        ("a.network", "[Network]\nGateway=10.0.0.1\n", "2 Gateway= without Subnet="),
        (
            "a.container",
            "[Container]\nImage=a\nPublishPort=80:\n",
            "3 PublishPort=80: has \"\", which is no port",
        ),
        (
            "a.container",
            "[Container]\nImage=nginx\nAutoUpdate=registry\n",
            "2 AutoUpdate=registry with Image=nginx, which names no registry",
        ),
    ] {
        assert_eq!(of(&[(name, text)]), [expected], "{text}");
    }
}

#[test]
fn what_is_the_pods() {
    let pod = ("b.pod", "[Pod]\n");
    let with = |key: &str| {
        let text = format!("[Container]\nImage=a\nPod=b.pod\n{key}\n");
        of(&[("a.container", text.as_str()), pod, ("c.network", "[Network]\n")])
    };
    assert_eq!(
        with("PublishPort=80:80"),
        ["4 PublishPort=80:80 of a container in b.pod, which has the network"]
    );
    assert_eq!(with("Network=c.network").len(), 1);
    assert_eq!(with("Network=host\nPublishPort=80:80").len(), 0);
}

#[test]
fn what_two_files_want() {
    let publish = |port: &str| format!("[Container]\nImage=a\nPublishPort={port}\n");
    let (a, b) = (publish("8080:80"), publish("8080:8080"));
    assert_eq!(
        of(&[("b.container", &b), ("a.container", &a)]),
        ["3 port 8080 of the host, which a.container publishes, too"]
    );
    assert_eq!(of(&[("a.container", &a), ("b.container", &b)]).len(), 0, "told once");
    assert_eq!(of(&[("b@.container", &b), ("a.container", &a)]).len(), 0);
    let kube = ("web.kube", "[Kube]\nYaml=a\n");
    assert_eq!(of(&[kube, ("web.container", &a)]), ["0 it makes web.service, as web.container does"]);
    assert_eq!(of(&[("web.volume", "[Volume]\n"), ("web.network", "[Network]\n")]).len(), 0);
}

#[test]
fn what_a_later_podman_takes() {
    assert_eq!(
        later("a.container", "[Container]\nImage=a\nMemory=1g\nSecret=x\n"),
        [
            "4.4 Quadlet passes over .container files",
            "5.5 Quadlet refuses Memory= in [Container]",
            "4.5 Quadlet refuses Secret= in [Container]",
        ]
    );
    assert_eq!(later("a.pod", "[Pod]\nPublishPort=80\n"), ["5.0 Quadlet passes over .pod files"]);
    let volume = later("a.volume", "[Volume]\nOptions=nodev\n");
    assert_eq!(volume[1], "6 Options= without Device=", "{volume:?}");
    let of_image = later("a.volume", "[Volume]\nDriver=image\nImage=a\nOptions=nodev\n");
    assert!(!of_image.iter().any(|fault| fault.contains("without")), "{of_image:?}");
    let port = "[Container]\nImage=a\nPublishPort=${PORT}:80\n";
    assert_eq!(later("a.container", port)[1], "5.3 Quadlet refuses PublishPort=${PORT}:80");
    assert_eq!(of(&[("a.container", port)]).len(), 0);
}

#[test]
fn what_a_later_podman_refuses() {
    let since = |files: &[(&str, &str)]| {
        let units = units(files);
        let faults = faults(units.get(files[0].0).unwrap(), &units).into_iter();
        let faults = faults.filter_map(|fault| Some((fault.since?.to_string(), fault.at.line?, fault.what)));
        faults.collect::<Vec<_>>()
    };
    let one = |version: &str, line, what: &str| vec![(version.to_owned(), line, what.to_owned())];
    let container = |keys: &str| format!("[Container]\nImage=a\n{keys}\n");
    for keys in ["UserNS=keep-id\nRemapUsers=keep-id", "GIDMap=0:1:1\nRemapUsers=auto"] {
        let what = "RemapUsers= beside a key that maps IDs, which takes its place";
        assert_eq!(since(&[("a.container", &container(keys))]), one("4.8", 4, what));
    }
    assert_eq!(since(&[("a.pod", "[Pod]\nUserNS=keep-id\nRemapUid=1\n")]).len(), 1);
    assert_eq!(since(&[("a.container", &container("RemapUsers=keep-id"))]).len(), 0);
    for key in ["Requires", "After", "Wants", "PropagatesStopTo"] {
        let text = format!("[Unit]\n{key}=network.target nope.container\n[Volume]\n");
        let what = format!("{key}=nope.container, and there is no such file");
        assert_eq!(since(&[("a.volume", &text)]), one("5.5", 2, &what));
        let there = container("");
        assert_eq!(since(&[("a.volume", &text), ("nope.container", &there)]).len(), 0);
    }
    assert_eq!(since(&[("a.volume", "[Unit]\nAfter=x.artifact\n")])[0].0, "5.7");
    let mount = container("Mount=type=artifact,source=x.artifact,destination=/x");
    let what = "Mount=x.artifact, and there is no such file";
    assert_eq!(since(&[("a.container", &mount)]), one("5.7", 3, what));
    let artifact = ("x.artifact", "[Artifact]\nArtifact=quay.io/a/b:1\n");
    assert_eq!(since(&[("a.container", &mount), artifact]).len(), 0);
}

#[test]
fn a_capture_tells_keys_only() {
    let text = "[Container]\nImage=LEFT-OUT\nPod=LEFT-OUT\n";
    assert_eq!(of(&[("a.container", text)]).len(), 0);
    assert_eq!(of(&[("a.container", "[Container]\nImge=LEFT-OUT\n")]), ["2 [Container] has no key Imge="]);
}

#[test]
fn services_and_values() {
    let read = |name: &str, text: &str| Unit::read(&Source::new(name, text), []).unwrap();
    for (name, service) in [
        ("web.container", "web.service"),
        ("web.kube", "web.service"),
        ("data.volume", "data-volume.service"),
        ("a.b.network", "a.b-network.service"),
        ("web@.container", "web@.service"),
        ("data@.volume", "data-volume@.service"),
        ("web@a.container", "web@a.service"),
    ] {
        assert_eq!(read(name, "").service(), service);
    }
    assert_eq!(read("a.pod", "[Pod]\nServiceName=site\n").service(), "site.service");
    let unit = read("a.container", "[Container]\nImage=\"a\"\nVolume=a\nVolume=\nVolume=b\nExec=\"\n");
    assert_eq!(unit.own("Image").map(|(value, _)| value), Some("a"));
    assert_eq!(unit.own("Exec").map(|(value, _)| value), Some("\""));
    assert_eq!(unit.all("Container", "Volume").len(), 1);
    assert!(Unit::read(&Source::new("/a.service", ""), []).is_none());
}

#[test]
fn many_files_take_no_time() {
    let text = format!("[Container]\nImage=a\n{}", "PublishPort=1000-2000:1000-2000\n".repeat(300));
    let all = Units::new(
        (0..300)
            .map(|n| Unit::read(&Source::new(&format!("{DIR}/{n}.container"), text.as_str()), []).unwrap()),
    );
    let found = faults(all.get("299.container").unwrap(), &all);
    assert!(found.iter().any(|fault| fault.what.starts_with("port 1000 of the host, which 0.container")));
}
