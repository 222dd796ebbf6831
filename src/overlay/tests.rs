use super::*;
use crate::requirements::Stack;

fn edge() -> Person {
    Person::new("edge", None, None, None).unwrap()
}

fn request(profile: &str, stacks: &[Stack]) -> Request {
    Request {
        profile: profile.to_owned(),
        stacks: stacks.to_vec(),
        today: "1970-01-01".to_owned(),
        ..Request::default()
    }
}

fn options(layer: Layer, subids: SubIds) -> Options {
    Options { layer, subids, person: edge(), kernel: "6.1".to_owned() }
}

fn plan(profile: &str, layer: Layer, subids: SubIds) -> Overlay {
    Overlay::plan(&request(profile, &Stack::ALL), &options(layer, subids)).unwrap()
}

fn paths(overlay: &Overlay) -> Vec<&str> {
    let files = overlay.entries.iter().filter(|entry| !matches!(entry.state, State::Dir { .. }));
    files.map(|entry| entry.path.as_str()).collect()
}

#[test]
fn all_stacks_have_the_files_of_a_fix() {
    let overlay = plan("generic", Layer::Admin, SubIds::None);
    assert_eq!(
        paths(&overlay),
        [
            "/etc/containers/containers.conf.d/90-rootless.conf",
            "/etc/containers/systemd/users/k3d.network",
            "/etc/environment.d/90-rootless.conf",
            "/etc/modules-load.d/rootless.conf",
            "/etc/sysctl.d/90-rootless.conf",
            "/etc/systemd/system/user@.service.d/90-rootless.conf",
            "/etc/systemd/user-preset/90-rootless.preset",
            "/etc/systemd/user/default.target.wants/k3s-rootless.service",
            "/etc/systemd/user/k3s-rootless.service",
            "/etc/systemd/user/sockets.target.wants/podman.socket",
            "/var/lib/systemd/linger/edge",
        ]
    );
    // What the model host brings is not asked for; the file of a home is left to its user.
    let left: Vec<&str> = overlay.left.iter().map(|step| step.summary.as_str()).collect();
    assert!(!left.is_empty() && left.iter().all(|summary| summary.contains("minikube config")), "{left:?}");
    assert!(overlay.subordinate.is_none() && overlay.kernel_words.is_empty());
    assert!(!overlay.left_is_required, "minikube start --rootless does the same");
}

#[test]
fn the_model_lacks_nothing_that_a_build_brings() {
    for layer in [Layer::Admin, Layer::Vendor] {
        for stack in Stack::ALL.into_iter().filter(|stack| *stack != Stack::Minikube) {
            let overlay =
                Overlay::plan(&request("generic", &[stack]), &options(layer, SubIds::None)).unwrap();
            assert_eq!((overlay.left, overlay.left_is_required), (Vec::new(), false), "{stack} {layer:?}");
        }
    }
}

#[test]
fn a_vendor_has_nothing_in_var_and_in_etc_only_what_podman_5_reads() {
    let overlay = plan("generic", Layer::Vendor, SubIds::None);
    let outside = |path: &&&str| !path.starts_with("/usr/lib/");
    let found = paths(&overlay);
    assert_eq!(
        found.iter().filter(outside).collect::<Vec<_>>(),
        [&"/etc/containers/containers.conf.d/90-rootless.conf", &"/etc/containers/systemd/users/k3d.network"]
    );
    assert!(found.contains(&"/usr/lib/tmpfiles.d/rootless-linger.conf"));
}

#[test]
fn all_of_it_belongs_to_root_and_everybody_may_read_it() {
    for layer in [Layer::Admin, Layer::Vendor] {
        for Entry { path, state } in plan("rpi5", layer, SubIds::File).entries {
            let (mode, owner) = match state {
                State::File { mode, uid, gid, .. } => (mode, (uid, gid)),
                State::Dir { mode, uid, gid } => (mode - 0o111, (uid, gid)),
                State::Link { uid, gid, .. } => (0o644, (uid, gid)),
                State::Absent => panic!("{path}"),
            };
            assert_eq!((mode, owner), (0o644, (0, 0)), "{path}");
        }
    }
}

#[test]
fn subordinate_ids_are_a_step_files_or_left_alone() {
    let append = plan("generic", Layer::Admin, SubIds::Append);
    assert_eq!(append.subordinate, Some(Subordinate { start: 100_000, count: 65_536 }));
    assert!(!paths(&append).contains(&"/etc/subuid"));
    let file = plan("generic", Layer::Admin, SubIds::File);
    let of = |path| file.entries.iter().find(|entry| entry.path == path).map(|entry| &entry.state);
    for path in SUBORDINATE {
        let Some(State::File { content, .. }) = of(path) else { panic!("{path}") };
        assert_eq!(content.bytes(), Some(&b"edge:100000:65536\n"[..]));
    }
    assert_eq!(file.subordinate, None);
    assert_eq!(plan("generic", Layer::Admin, SubIds::None).entries, append.entries);
}

#[test]
fn words_of_the_kernel_are_kept_apart() {
    let overlay = plan("rpi4", Layer::Admin, SubIds::None);
    let [word] = &overlay.kernel_words[..] else { panic!("{:?}", overlay.kernel_words) };
    assert_eq!(
        (word.word.as_str(), word.wanted, word.level),
        ("cgroup_enable=memory", true, Level::Required)
    );
    let podman =
        Overlay::plan(&request("rpi4", &[Stack::Podman]), &options(Layer::Admin, SubIds::None)).unwrap();
    assert_eq!(podman.kernel_words[0].level, Level::Advised);
}

#[test]
fn an_old_kernel_takes_another_snapshotter() {
    let unit = |kernel: &str| {
        let options = Options { kernel: kernel.to_owned(), ..options(Layer::Admin, SubIds::None) };
        let overlay = Overlay::plan(&request("generic", &[Stack::K3s]), &options).unwrap();
        let unit =
            overlay.entries.into_iter().find(|entry| entry.path.ends_with("user/k3s-rootless.service"));
        let Some(State::File { content, .. }) = unit.map(|unit| unit.state) else { panic!() };
        String::from_utf8(content.bytes().unwrap().to_vec()).unwrap()
    };
    assert!(unit("6.1").contains("--snapshotter=overlayfs\n"));
    assert!(unit("5.10").contains("--snapshotter=fuse-overlayfs\n"));
    for kernel in ["", "x", "6.1/../../etc", "../6.1"] {
        let options = Options { kernel: kernel.to_owned(), ..options(Layer::Admin, SubIds::None) };
        assert!(Overlay::plan(&request("generic", &[]), &options).is_err(), "{kernel:?}");
    }
}

#[test]
fn directories_come_before_what_is_in_them() {
    let parent = State::Dir { mode: 0o755, uid: 0, gid: 0 };
    let all = plan("generic", Layer::Admin, SubIds::None).with_parents(&parent);
    for (at, (path, _)) in all.iter().enumerate() {
        let (dir, _) = path.rsplit_once('/').unwrap();
        assert!(dir.is_empty() || all[..at].iter().any(|(known, _)| known == dir), "{path}");
    }
}

#[test]
fn a_person_is_a_regular_user_with_a_plain_name() {
    let full = Person::new("_a-1", Some(1234), Some(100), Some("/srv/a_b.c")).unwrap();
    assert_eq!((full.uid, full.gid, full.home.as_str()), (1234, 100, "/srv/a_b.c"));
    let long = "a".repeat(33);
    for name in
        ["", "root", "0", "1000", "Edge", "-n", "a b", "a$", "a'b", "a;b", "a\nb", "a:b", "../a", "é", &long]
    {
        assert!(Person::new(name, None, None, None).is_err(), "{name:?}");
    }
    for id in [0, 1, 999, 60_000, 65_534, u32::MAX] {
        assert!(Person::new("edge", Some(id), None, None).is_err(), "{id}");
    }
    assert!(Person::new("edge", None, Some(0), None).is_err());
    for home in ["", "/", "home", "/a/../b", "/a b", "/a//b", "/a/", "/$HOME", "/a:b", "/a\n"] {
        assert!(Person::new("edge", None, None, Some(home)).is_err(), "{home:?}");
    }
}

#[test]
fn bad_policy_is_refused() {
    let plan = |profile: &str| Overlay::plan(&request(profile, &[]), &options(Layer::Admin, SubIds::None));
    assert!(matches!(plan("rpi9"), Err(PlanError::Request(_))));
    assert!(matches!(plan("/nowhere/x.toml"), Err(PlanError::Request(_))));
}
