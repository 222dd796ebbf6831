use super::*;
use crate::checks::testing::{edge, findings, requirements, unknown, verdicts, workload};
use crate::facts::Source;
use crate::facts::testing::{TestHost, fixture};
use crate::requirements::Stack;
use crate::workload::Workload;

fn pod(volume: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n  containers:\n    - name: web\n      \
         image: a\n      volumeMounts: [{{name: data, mountPath: /data{more}}}]\n{}  volumes:\n    - name: data\n      \
         hostPath: {volume}\n",
        "      securityContext: {runAsUser: RUN}\n"
    )
}

fn look(host: TestHost, stack: Stack, run_as: &str, volume: &str, more: &str) -> Outcome {
    run(&host.facts(), &workload(&[stack], &pod(volume, more).replace("RUN", run_as)), &edge())
}

/// One finding on a volume that root of a container mounts.
fn of(host: TestHost, volume: &str) -> (Verdict, String) {
    let outcome = look(host, Stack::PodmanKube, "0", volume, "");
    assert_eq!(outcome.items.len(), 1, "{outcome:?}");
    (findings(&outcome)[0].verdict, findings(&outcome)[0].found.clone())
}

fn base() -> TestHost {
    fixture("debian-13").dir("/srv", "0755", 0)
}

#[test]
fn what_is_not_there_has_to_be_made() {
    assert_eq!(of(base(), "{path: /srv/web}"), (Verdict::Unmet, "not there".to_owned()));
    let cannot = (Verdict::Unmet, "not there, and edge cannot make it in /srv".to_owned());
    assert_eq!(of(base(), "{path: /srv/web, type: DirectoryOrCreate}"), cannot);
    assert_eq!(of(base(), "{path: /srv/web, type: FileOrCreate}"), cannot);
    let own = || base().dir("/srv/own", "0700", 1000);
    let made = (Verdict::Met, "not there, and made by edge".to_owned());
    assert_eq!(of(own(), "{path: /srv/own/a/b, type: DirectoryOrCreate}"), made);
    assert_eq!(of(own(), "{path: /srv/own/a, type: FileOrCreate}"), made);
    assert_eq!(of(own(), "{path: /srv/own/a/b, type: FileOrCreate}").0, Verdict::Unmet, "no folder for it");
    let outcome = look(base(), Stack::PodmanKube, "0", "{path: /srv/web}", "");
    let finding = findings(&outcome)[0];
    assert_eq!(finding.evidence[0].to_string(), "/srv/web");
    assert_eq!(finding.remedy.commands, ["sudo install -d -o edge /srv/web"]);
    assert_eq!(outcome.items[0].asked[0].to_string(), "web.yaml:12");
    let k3s = look(own(), Stack::K3s, "0", "{path: /srv/own/a}", "");
    assert_eq!(verdicts(&k3s), [("/srv/own/a", Verdict::Met)], "containerd makes it");
    assert!(look(base(), Stack::Kind, "0", "{path: /srv/web}", "").skipped.is_some(), "that of the node");
}

#[test]
fn the_type_is_what_is_written() {
    let file = || base().file("/srv/web", "x");
    let levels = |stack| {
        let outcome = look(file(), stack, "0", "{path: /srv/web, type: Directory}", ", readOnly: true");
        assert_eq!(
            (findings(&outcome)[0].verdict, findings(&outcome)[0].found.as_str()),
            (Verdict::Unmet, "a file")
        );
        outcome.items.iter().map(|item| item.level).collect::<Vec<_>>()
    };
    assert_eq!(levels(Stack::K3s), [Level::Required]);
    assert_eq!(
        levels(Stack::PodmanKube),
        [Level::Advised, Level::Required],
        "and it has to be open to the user"
    );
    assert_eq!(of(base(), "{path: /srv, type: Socket}"), (Verdict::Unmet, "a directory".to_owned()));
    assert_eq!(of(base(), "{path: /srv, type: CharDevice}").0, Verdict::Unmet);
    let read = look(file(), Stack::PodmanKube, "0", "{path: /srv/web, type: File}", ", readOnly: true");
    assert_eq!(verdicts(&read), [("/srv/web", Verdict::Met)]);
}

#[test]
fn who_uses_it_has_to_be_let_in() {
    let dir = |mode: &str, uid: u32| base().dir("/srv/web", mode, uid);
    let volume = "{path: /srv/web}";
    let judged = |host: TestHost, run_as: &str, more: &str| {
        let outcome = look(host, Stack::PodmanKube, run_as, volume, more);
        (findings(&outcome)[0].verdict, outcome.items[0].level)
    };
    let (met, unmet) = ((Verdict::Met, Level::Required), (Verdict::Unmet, Level::Required));
    assert_eq!(judged(dir("0700", 1000), "0", ""), met);
    assert_eq!(judged(dir("0700", 0), "0", ""), unmet);
    assert_eq!(
        judged(dir("0755", 0), "0", ""),
        (Verdict::Unmet, Level::Advised),
        "it is not written to by all"
    );
    assert_eq!(judged(dir("0755", 0), "0", ", readOnly: true"), met);
    // To a subordinate ID the user is somebody else.
    assert_eq!(judged(dir("0700", 1000), "101", ""), unmet);
    assert_eq!(judged(dir("0755", 1000), "101", ", readOnly: true"), met);
    // 100000:65536 of /etc/subuid: UID 101 of the container is 100100.
    assert_eq!(judged(dir("0700", 100_100), "101", ""), met);
    assert_eq!(judged(dir("0700", 100_101), "101", ""), unmet);
    let outcome = look(dir("0700", 1000), Stack::PodmanKube, "101", volume, "");
    let finding = findings(&outcome)[0];
    assert_eq!(finding.found, "not open to UID 101 of the container");
    assert_eq!(finding.remedy.commands, ["sudo -Hu edge podman unshare chown 101 /srv/web"]);
    assert_eq!(finding.evidence[0].text, "mode 0700, UID 1000, GID 1000");
    let outcome = look(dir("0700", 1000), Stack::PodmanKube, "70000", volume, "");
    assert_eq!(unknown(&outcome), ["/etc/subuid: expected a subordinate ID for UID 70000 of a container"]);
}

#[test]
fn the_group_is_that_of_the_container() {
    let dir = |mode: &str, gid: u32| {
        base().dir("/srv/web", mode, 1000).path("/srv/web", |record| record.gid = Some(gid))
    };
    let judged = |host: TestHost, run_as: &str| {
        let outcome = look(host, Stack::PodmanKube, run_as, "{path: /srv/web}", "");
        let found = findings(&outcome).first().map(|finding| finding.verdict);
        (found, outcome.items[0].level)
    };
    let (met, unmet) = ((Some(Verdict::Met), Level::Required), (Some(Verdict::Unmet), Level::Required));
    let undecided = (None, Level::Advised);
    assert_eq!(judged(dir("0770", 1000), "101, runAsGroup: 101"), unmet, "the user's group is GID 0");
    assert_eq!(judged(dir("0770", 1000), "101, runAsGroup: 0"), met);
    assert_eq!(judged(dir("0770", 100_100), "101, runAsGroup: 101"), met);
    assert_eq!(judged(dir("0770", 1000), "101"), undecided);
    assert_eq!(judged(dir("0770", 0), "101"), unmet, "nobody is in that group");
    assert_eq!(judged(dir("0777", 1000), "101"), met);
    assert_eq!(judged(dir("0700", 1000), "101"), unmet);
    let group = look(dir("0770", 1000), Stack::PodmanKube, "101, runAsGroup: 70000", "{path: /srv/web}", "");
    assert_eq!(unknown(&group), ["/etc/subgid: expected a subordinate ID for GID 70000 of a container"]);
    // The image decides all.
    for (mode, expected) in [("0700", undecided), ("0770", undecided), ("0755", undecided), ("0777", met)] {
        assert_eq!(judged(dir(mode, 1000), "null"), expected, "{mode}");
    }
    assert_eq!(judged(base().dir("/srv/web", "0700", 0), "null"), unmet);
}

#[test]
fn root_without_its_capability_is_bound_by_modes() {
    let judged = |mode: &str, uid: u32, capabilities: &str| {
        let run_as = format!("0, capabilities: {{{capabilities}}}");
        let host = base().dir("/srv/web", mode, uid).path("/srv/web", |record| record.gid = Some(100_100));
        let outcome = look(host, Stack::PodmanKube, &run_as, "{path: /srv/web}", "");
        (findings(&outcome)[0].verdict, outcome.items[0].level)
    };
    let (met, unmet) = ((Verdict::Met, Level::Required), (Verdict::Unmet, Level::Required));
    for capabilities in ["drop: [ALL]", "drop: [all], add: [CHOWN]", "drop: [CAP_DAC_OVERRIDE]"] {
        assert_eq!(judged("0700", 100_100, capabilities), unmet, "{capabilities}");
        assert_eq!(judged("0300", 1000, capabilities), unmet, "{capabilities}");
        assert_eq!(judged("0700", 1000, capabilities), met, "{capabilities}");
    }
    for capabilities in ["", "drop: [MKNOD]", "drop: [ALL], add: [dac_override]"] {
        assert_eq!(judged("0700", 100_100, capabilities), met, "{capabilities}");
    }
}

#[test]
fn the_ids_of_a_pod_of_its_own_are_not_known() {
    let of = |mode: &str, uid: u32, run_as: &str| {
        let text = pod("{path: /srv/web}", "")
            .replace("RUN", run_as)
            .replace("spec:\n", "spec:\n  hostUsers: false\n");
        let host = base().dir("/srv/web", mode, uid);
        run(&host.facts(), &workload(&[Stack::PodmanKube], &text), &edge())
    };
    for run_as in ["0", "101", "null"] {
        let outcome = of("0700", 1000, run_as);
        let why = "the image or a user namespace decides the UID or the group, and not all may read and write: \
                   mode 0700, UID 1000, GID 1000";
        assert_eq!((unknown(&outcome), outcome.items[0].level), (vec![why], Level::Advised));
        assert_eq!(verdicts(&of("0777", 1000, run_as)), [("/srv/web", Verdict::Met)]);
        let none = of("0700", 0, run_as);
        assert_eq!(verdicts(&none), [("/srv/web", Verdict::Unmet)]);
        assert!(findings(&none)[0].remedy.commands.is_empty());
    }
}

#[test]
fn only_what_can_be_given_away_is() {
    let commands = |host: TestHost, path: &str| {
        let outcome = look(host, Stack::PodmanKube, "101", &format!("{{path: {path}}}"), "");
        assert_eq!(verdicts(&outcome), [(path, Verdict::Unmet)]);
        assert_eq!(findings(&outcome)[0].found, "not open to UID 101 of the container");
        findings(&outcome)[0].remedy.commands.clone()
    };
    let home = || base().dir("/home", "0755", 0).dir("/home/edge", "0700", 1000);
    assert!(commands(home(), "/home/edge").is_empty());
    assert!(commands(base().dir("/home", "0711", 1000), "/home").is_empty());
    let below = home().dir("/home/edge/data", "0700", 1000);
    assert_eq!(
        commands(below, "/home/edge/data"),
        ["sudo -Hu edge podman unshare chown 101 /home/edge/data"]
    );
    let of_root = look(base().dir("/srv/web", "0700", 0), Stack::PodmanKube, "101", "{path: /srv/web}", "");
    let remedy = &findings(&of_root)[0].remedy;
    assert!(remedy.commands.is_empty(), "UID 0 is not mapped: {remedy:?}");
    assert_eq!(remedy.summary, "let UID 101 of the container (UID 100100 of the host) read it");
}

#[test]
fn closed_and_unread_directories() {
    let closed = base().dir("/srv/closed", "0700", 0).dir("/srv/closed/web", "0777", 0);
    let found = "below /srv/closed, which edge may not enter".to_owned();
    assert_eq!(of(closed, "{path: /srv/closed/web}"), (Verdict::Unmet, found));
    let by_the_user = base().dir("/srv/closed", "0700", 0).error("/srv/closed/web", "denied");
    assert_eq!(of(by_the_user, "{path: /srv/closed/web}").0, Verdict::Unmet);
    let denied = look(base().error("/srv/web", "denied"), Stack::PodmanKube, "0", "{path: /srv/web}", "");
    assert_eq!(unknown(&denied), ["/srv/web is not readable as this user"]);
}

#[test]
fn images_have_no_devices_yet() {
    let outcome = look(base().image(), Stack::PodmanKube, "0", "{path: /dev/ttyUSB0, type: CharDevice}", "");
    assert!(outcome.skipped.is_some());
    let outcome = look(base().image(), Stack::PodmanKube, "0", "{path: /srv/web}", "");
    assert_eq!(verdicts(&outcome), [("/srv/web", Verdict::Unmet)]);
    assert!(findings(&outcome)[0].remedy.commands.is_empty());
    assert!(run(&base().facts(), &requirements(&[Stack::PodmanKube]), &edge()).skipped.is_some());
}

/// One item on `/srv/own` that a container with these lines mounts.
fn quadlet(host: TestHost, lines: &str, pod: &str) -> Outcome {
    let container = format!("[Container]\nImage=a\nPod=p.pod\n{lines}\n");
    let sources = vec![Source::new("c.container", container), Source::new("p.pod", pod)];
    let workload = Workload::parse(sources).unwrap();
    let req = requirements(&[Stack::PodmanKube]).with_workload(&workload).unwrap();
    let outcome = run(&host.facts(), &req, &edge());
    assert_eq!(outcome.items.len(), 1, "{outcome:?}");
    outcome
}

#[test]
fn a_user_namespace_decides_who_it_is() {
    let own = || base().dir("/srv/own", "0700", 1000);
    let lines = |user: u32| format!("User={user}\nVolume=/srv/own:/data");
    let judged =
        |host, user, pod| findings(&quadlet(host, &lines(user), pod)).first().map(|finding| finding.verdict);
    assert_eq!(judged(own(), 1000, "[Pod]\nUserNS=keep-id\n"), Some(Verdict::Met), "edge is UID 1000");
    assert_eq!(judged(own(), 1001, "[Pod]\nUserNS=keep-id\n"), None);
    assert_eq!(judged(own(), 1000, "[Pod]\n"), Some(Verdict::Unmet));
    assert_eq!(judged(own(), 0, "[Pod]\n"), Some(Verdict::Met));
    assert_eq!(judged(own(), 0, "[Pod]\nUserNS=auto\n"), None, "root is no UID that is known");
    let apart = pod("{path: /srv/own}", "").replace("RUN", "0").replace(
        "metadata: {name: web}",
        "metadata: {name: web, annotations: {io.podman.annotations.userns: auto}}",
    );
    let outcome = run(&own().facts(), &workload(&[Stack::PodmanKube], &apart), &edge());
    assert_eq!((findings(&outcome).len(), unknown(&outcome).len()), (0, 1));
}

#[test]
fn podman_gives_what_is_the_users() {
    let judged = |host: TestHost, path: &str| {
        let outcome = quadlet(host, &format!("User=1000\nVolume={path}:/data:U"), "[Pod]\n");
        (findings(&outcome)[0].verdict, findings(&outcome)[0].found.clone())
    };
    let met = (Verdict::Met, "given to the container when it is made".to_owned());
    assert_eq!(judged(base().dir("/srv/own", "0700", 1000), "/srv/own"), met);
    assert_eq!(judged(base().dir("/srv/own", "0700", 100_005), "/srv/own"), met);
    let foreign = "of an owner or a group that is none of the user's".to_owned();
    assert_eq!(judged(base().dir("/srv/own", "0777", 0), "/srv/own"), (Verdict::Unmet, foreign));
    let home = base().dir("/home", "0755", 0).dir("/home/edge", "0700", 1000);
    let kept = "a path whose owner Podman does not change".to_owned();
    assert_eq!(judged(home, "/home/edge"), (Verdict::Unmet, kept));
}
