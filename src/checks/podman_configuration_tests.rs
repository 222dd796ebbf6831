//! Tests of `podman_configuration`.

use super::*;
use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
use crate::facts::testing::{TestHost, fixture};
use crate::finding::Level;
use crate::requirements::Stack;

/// As golang-github-containers-common 0.62 of Debian 13 has it.
const DEBIAN: &str = "{\n    \"default\": [\n        {\n            \"type\": \"insecureAcceptAnything\"\n        }\n    ]\n}\n";
const REGISTRIES: &str = "/etc/containers/registries.conf";

fn look_at(host: TestHost) -> Outcome {
    run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
}

fn debian() -> TestHost {
    fixture("debian-13").file(SYSTEM_PATH, DEBIAN).file(REGISTRIES, "# as Debian has it\n")
}

fn three(conf: Verdict, registries: Verdict, policy: Verdict) -> [(&'static str, Verdict); 3] {
    [("containers.conf", conf), ("registries.conf", registries), ("policy.json", policy)]
}

#[test]
fn as_debian_has_them() {
    let outcome = look_at(debian());
    assert_eq!(verdicts(&outcome), three(Verdict::Met, Verdict::Met, Verdict::Met));
    assert!(outcome.items.iter().all(|item| item.level == Level::Required));
    assert_eq!(findings(&outcome)[2].evidence[0].to_string(), format!("{SYSTEM_PATH}:2"));
}

#[test]
fn without_a_policy_no_image_is_pulled() {
    let outcome = look_at(debian().without(SYSTEM_PATH));
    assert_eq!(verdicts(&outcome), three(Verdict::Met, Verdict::Met, Verdict::Unmet));
    let policy = findings(&outcome)[2];
    assert_eq!((policy.found.as_str(), policy.evidence[0].to_string()), ("absent", SYSTEM_PATH.to_owned()));
    let package = "golang-github-containers-common";
    let again = format!("apt install --reinstall -o Dpkg::Options::=--force-confmiss {package}");
    assert_eq!(policy.remedy.commands, [format!("sudo {again}")]);
    let repaired = debian().file(SYSTEM_PATH, ANYTHING);
    assert_eq!(verdicts(&look_at(repaired))[2].1, Verdict::Met);
    let image = look_at(debian().without(SYSTEM_PATH).image());
    assert_eq!(findings(&image)[2].remedy.commands, [format!("chroot $ROOT {again}")]);
    let unread = rpm(debian().without(SYSTEM_PATH));
    let command = format!("echo '{ANYTHING}' | sudo tee {SYSTEM_PATH}");
    let commands = ["sudo mkdir -p /etc/containers".to_owned(), command];
    assert_eq!(findings(&look_at(unread))[2].remedy.commands, commands);
    let other = debian().without(SYSTEM_PATH).edit(
        STATUS,
        "Package: golang-github-containers-common\n",
        "Package: x\n",
    );
    let outcome = look_at(other);
    assert_eq!(findings(&outcome)[2].remedy.commands, ["sudo apt install golang-github-containers-common"]);
}

const STATUS: &str = "/var/lib/dpkg/status";
const ETC: &str = "/etc/containers/storage.conf";

fn podman_6(host: TestHost) -> TestHost {
    host.edit(STATUS, "Version: 5.4.2+ds1-2+b2", "Version: 6.0.0+ds1-1")
}

/// With RPM the version of Podman is not known.
fn rpm(host: TestHost) -> TestHost {
    let host = host.without("/usr/lib/systemd/user/podman.socket");
    host.without("/var/lib/dpkg").dir("/usr/lib/sysimage/rpm", "0755", 0)
}

/// As containers-storage has it up to 1.59, without comments.
fn with_shipped(host: TestHost) -> TestHost {
    let text = "[storage]\ndriver = \"overlay\"\nrunroot = \"/run/containers/storage\"\n\
         graphroot = \"/var/lib/containers/storage\"\n";
    host.file(ETC, text).dir("/var/lib", "0755", 0).dir("/run", "0755", 0)
}

fn of_storage(outcome: &Outcome) -> Vec<(String, Verdict, String)> {
    let of_storage = findings(outcome).into_iter().filter(|finding| finding.subject == STORAGE);
    of_storage.map(|f| (f.found.clone(), f.verdict, f.evidence[0].to_string())).collect()
}

#[test]
fn with_podman_6_the_directories_of_root_are_meant() {
    assert_eq!(of_storage(&look_at(with_shipped(debian()))), []);
    let both = [
        ("/var/lib/containers/storage".to_owned(), Verdict::Unmet, format!("{ETC}:4")),
        ("/run/containers/storage".to_owned(), Verdict::Unmet, format!("{ETC}:3")),
    ];
    let outcome = look_at(podman_6(with_shipped(debian())));
    assert_eq!(of_storage(&outcome), both);
    let finding = findings(&outcome)[0];
    assert_eq!(finding.evidence[1], Evidence::path("/var/lib", "mode 0755, owner 0:0"));
    assert!(finding.remedy.summary.starts_with(&format!("take it out of {ETC}:4")));
    assert_eq!(of_storage(&look_at(podman_6(with_shipped(debian())).image())), both);
    let own = podman_6(with_shipped(debian()))
        .file("/home/edge/.config/containers/storage.conf", "[storage]\ndriver = \"overlay\"\n");
    assert_eq!(of_storage(&look_at(own)), []);
    let open = podman_6(debian())
        .file(ETC, "[storage]\ngraphroot = \"/srv/$USER\"\n")
        .dir("/srv", "0755", 0)
        .dir("/srv/edge", "0700", 1000);
    assert_eq!(of_storage(&look_at(open)), []);
    let why = look_at(rpm(with_shipped(debian())));
    assert!(unknown(&why)[0].starts_with(&format!("{ETC}:4: Podman 6 takes this for users")));
}

#[test]
fn a_storage_that_was_made_before_keeps_its_runroot() {
    let conf = "[storage]\nrunroot = \"/run/containers/storage\"\n";
    let host = podman_6(debian()).file(ETC, conf).dir("/run", "0755", 0);
    let sqlite = "/home/edge/.local/share/containers/storage/db.sql";
    let new = of_storage(&look_at(host.clone().without(sqlite)));
    assert_eq!(new, [("/run/containers/storage".to_owned(), Verdict::Unmet, format!("{ETC}:2"))]);
    let made = look_at(host.file(sqlite, ""));
    assert_eq!(of_storage(&made), []);
    assert_eq!(
        unknown(&made),
        [format!("{sqlite}: Podman's database may name another runroot than {ETC}:2")]
    );
}

#[test]
fn what_podman_cannot_parse() {
    let outcome = look_at(debian().file(REGISTRIES, "[[registry]]\nlocation = docker.io\n"));
    assert_eq!(verdicts(&outcome), three(Verdict::Met, Verdict::Unmet, Verdict::Met));
    assert_eq!(findings(&outcome)[1].evidence[0].to_string(), format!("{REGISTRIES}:2"));
    let own = "/home/edge/.config/containers/containers.conf";
    let outcome = look_at(debian().file(own, "[containers\n"));
    assert_eq!(verdicts(&outcome), three(Verdict::Unmet, Verdict::Met, Verdict::Met));
    assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{own}:1"));
    let outcome = look_at(debian().file(SYSTEM_PATH, "{}\n"));
    assert_eq!(verdicts(&outcome), three(Verdict::Met, Verdict::Met, Verdict::Unmet));
    assert_eq!(findings(&outcome)[2].found, "no list \"default\"");
}

#[test]
fn podman_6_takes_an_old_database_over_after_a_boot() {
    let path = "/home/edge/.local/share/containers/storage/libpod/bolt_state.db";
    let alive = "/run/user/1000/libpod/tmp/alive";
    let five = || debian().file(path, "").without(alive);
    let six = || podman_6(five());
    assert_eq!(look_at(five().file(alive, "")).items.len(), 3);
    assert_eq!(look_at(six().without(path)).items.len(), 3);
    let last = |host: TestHost| {
        let outcome = look_at(host);
        let finding = (*findings(&outcome).last().unwrap()).clone();
        (finding.subject, finding.verdict, finding.evidence[0].to_string())
    };
    let found = |verdict, at: &str| (DATABASE.to_owned(), verdict, at.to_owned());
    assert_eq!(last(six()), found(Verdict::Met, path));
    assert_eq!(last(six().file(alive, "")), found(Verdict::Pending(Needs::Reboot), path));
    let conf = "/etc/containers/containers.conf";
    let set = six().file(conf, "[engine]\ndatabase_backend = \"boltdb\"\n");
    assert_eq!(last(set), found(Verdict::Unmet, &format!("{conf}:2")));
    let pending = look_at(six().file(alive, ""));
    assert!(findings(&pending)[3].remedy.summary.contains("podman system migrate --migrate-db"));
    for host in [five(), five().without(path).file(conf, "[engine]\ndatabase_backend = \"boltdb\"\n")] {
        let outcome = look_at(rpm(host));
        assert_eq!(unknown(&outcome), ["/usr/lib/sysimage/rpm: RPM databases are not read"]);
        assert_eq!(outcome.items.last().unwrap().level, Level::Advised);
    }
    assert_eq!(look_at(rpm(five().without(path))).items.len(), 3);
}

#[test]
fn the_database_is_where_podman_is_told_to_have_it() {
    let conf = "/etc/containers/containers.conf";
    let of = |text: &str, path: &str| {
        let host = podman_6(debian()).file(conf, text).file(path, "");
        look_at(host).items.len()
    };
    assert_eq!(of("[engine]\nstatic_dir = \"/srv/libpod/\"\n", "/srv/libpod/bolt_state.db"), 4);
    assert_eq!(of("", "/srv/libpod/bolt_state.db"), 3);
    let transient = podman_6(debian())
        .file(ETC, "[storage]\ntransient_store = true\n")
        .file("/run/user/1000/libpod/tmp/bolt_state.db", "");
    assert_eq!(look_at(transient).items.len(), 4);
}

#[test]
fn unknown_and_skipped() {
    let denied = look_at(debian().error(REGISTRIES, "denied"));
    assert_eq!(unknown(&denied), [format!("{REGISTRIES} is not readable as this user")]);
    assert_eq!(denied.items[1].level, Level::Required);
    let vendor = debian().without(SYSTEM_PATH).file("/usr/share/containers/policy.json", DEBIAN);
    assert_eq!(unknown(&look_at(vendor)).len(), 1);
    assert!(look_at(debian().without("/usr/bin/podman")).skipped.is_some());
    assert!(run(&debian().facts(), &requirements(&[Stack::K3s]), &edge()).skipped.is_some());
}
