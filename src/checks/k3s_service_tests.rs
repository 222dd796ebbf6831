use super::*;
use crate::checks::testing::{edge, findings, unknown, verdicts};
use crate::facts::testing::{TestHost, fixture};
use crate::finding::Level;
use crate::profile::Layer;
use crate::requirements::Stack;

const K3S: &str = "/usr/local/bin/k3s";
const FRAGMENT: &str = "/home/edge/.config/systemd/user/k3s-rootless.service";
const MANAGER: &str = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
const LINK: &str = "/home/edge/.config/systemd/user/default.target.wants/k3s-rootless.service";
/// The unit of K3s, shortened.
const PUBLISHED: &str = "\
[Service]
Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/usr/local/bin/k3s server --rootless --snapshotter=fuse-overlayfs
Delegate=yes
Type=simple

[Install]
WantedBy=default.target
";

fn look_with(host: TestHost, policy: &str) -> Outcome {
    let layer = Layer::parse("/etc/edgeprep/edgeprep.toml", policy).unwrap();
    run(&host.facts(), &Requirements::merge(&[Stack::K3s], &[layer]).unwrap(), &edge())
}

fn look_at(host: TestHost) -> Outcome {
    look_with(host, "")
}

/// Without what the user manager runs, unless a test puts it there.
fn k3s() -> TestHost {
    fixture("debian-13").without(MANAGER).file(K3S, "").path(K3S, |record| {
        record.mode = Some("0755".to_owned());
        record.uid = Some(0);
    })
}

fn with(unit: &str) -> TestHost {
    k3s().file(FRAGMENT, unit).file(LINK, "").path(LINK, |record| record.link = Some(FRAGMENT.to_owned()))
}

fn service(environment: &[(&str, &str)]) -> Setting {
    Setting::K3sService {
        user: "edge".to_owned(),
        program: K3S.to_owned(),
        environment: environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    }
}

#[test]
fn newuidmap_is_on_the_path_of_the_unit() {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let outcome = look_at(with(&PUBLISHED.replace(path, "PATH=/usr/local/bin:%h/bin")));
    let finding = findings(&outcome)[0];
    assert_eq!(finding.verdict, Verdict::Unmet);
    assert!(finding.found.ends_with("delegated, no newuidmap on its PATH"), "{}", finding.found);
    assert_eq!(finding.evidence[0].to_string(), format!("{FRAGMENT}:2"));
    for unit in [
        PUBLISHED.replace(path, "PATH=/usr/bin"),
        PUBLISHED.replace(&format!("Environment={path}\n"), ""),
        PUBLISHED.replace(path, "PATH=/none\nEnvironmentFile=/etc/k3s.env"),
    ] {
        assert_eq!(verdicts(&look_at(with(&unit))), [(UNIT, Verdict::Met)], "{unit}");
    }
    let none = with(&PUBLISHED.replace(path, "PATH=/none")).without("/usr/bin/newuidmap");
    assert_eq!(verdicts(&look_at(none)), [(UNIT, Verdict::Met)], "idmap-helpers says so");
    let denied = |path| with(path).error("/usr/local/sbin/newuidmap", "denied");
    assert_eq!(verdicts(&look_at(denied(PUBLISHED))), [(UNIT, Verdict::Met)]);
    let alone = PUBLISHED.replace(path, "PATH=/usr/local/sbin");
    assert_eq!(unknown(&look_at(denied(&alone))).len(), 1);
}

#[test]
fn the_published_unit_passes() {
    let outcome = look_at(with(PUBLISHED));
    assert_eq!(verdicts(&outcome), [(UNIT, Verdict::Met)]);
    let finding = findings(&outcome)[0];
    assert_eq!(finding.found, "enabled, runs /usr/local/bin/k3s with --rootless, delegated");
    assert_eq!((finding.expected.as_str(), outcome.items[0].level), (finding.found.as_str(), Level::Advised));
    assert_eq!(verdicts(&look_at(with(PUBLISHED).image())), [(UNIT, Verdict::Met)]);
}

#[test]
fn without_k3s_there_is_nothing_to_run() {
    let reason = look_at(fixture("debian-13")).skipped;
    assert_eq!(reason.as_deref(), Some("k3s is not installed: see stack-programs"));
}

#[test]
fn a_unit_that_is_not_there_is_made() {
    let outcome = look_at(k3s());
    let finding = findings(&outcome)[0];
    assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Unmet, "no such unit"));
    assert_eq!(finding.remedy.settings, [service(&[])]);
    assert_eq!(finding.evidence, [Evidence::path(FRAGMENT, "does not exist")]);
    let outcome = look_with(k3s(), "[k3s]\nmtu = 1500\n");
    assert_eq!(findings(&outcome)[0].remedy.settings, [service(&[("K3S_ROOTLESS_MTU", "1500")])]);
}

#[test]
fn one_thing_broken() {
    let edit = |from: &str, to: &str| PUBLISHED.replace(from, to);
    let runs = "runs /usr/local/bin/k3s with --rootless";
    for (unit, found, line) in [
        (edit("/usr/local/bin/k3s", "/opt/k3s"), "runs /opt/k3s, which is not there, delegated", 3),
        (edit("--rootless ", ""), "runs /usr/local/bin/k3s without --rootless, delegated", 3),
        (edit("Delegate=yes", "Delegate=no"), &format!("{runs}, not delegated"), 4),
        (edit("Delegate=yes\n", ""), &format!("{runs}, not delegated"), 3),
    ] {
        let outcome = look_at(with(&unit));
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, finding.found.clone()), (Verdict::Unmet, format!("enabled, {found}")));
        assert_eq!(finding.evidence[0].line, Some(line), "{found}");
        assert!(finding.remedy.settings.is_empty(), "what somebody wrote is left");
    }
    let other = look_at(with(&PUBLISHED.replace(K3S, "/usr/bin/env")));
    assert_eq!(verdicts(&other)[0].1, Verdict::Unmet, "another program");
    assert_eq!(verdicts(&look_at(with(&edit("ExecStart=/", "ExecStart=-/"))))[0].1, Verdict::Met);
    let home = "/home/edge/bin/k3s";
    let own = with(&edit(K3S, "%h/bin/k3s")).without(K3S).file(home, "");
    let own = own.path(home, |record| record.mode = Some("0755".to_owned()));
    assert_eq!(verdicts(&look_at(own))[0].1, Verdict::Met);
}

#[test]
fn a_unit_that_is_not_enabled_is_enabled() {
    let outcome = look_at(with(PUBLISHED).without(LINK));
    let finding = findings(&outcome)[0];
    assert!(finding.found.starts_with("not enabled, runs"), "{}", finding.found);
    let setting = Setting::UserUnit { user: "edge".to_owned(), unit: UNIT.to_owned() };
    assert_eq!(finding.remedy.settings, [setting]);
}

#[test]
fn a_masked_unit_is_told() {
    let masked = with("").path(FRAGMENT, |record| record.link = Some("/dev/null".to_owned()));
    assert_eq!(findings(&look_at(masked))[0].found, "masked");
}

#[test]
fn the_environment_is_that_of_the_policy() {
    let policy = "[k3s]\nmtu = 1500\nenvironment = { K3S_NODE_NAME = \"gate 7\" }\n";
    let drop_in = format!("{FRAGMENT}.d/10-site.conf");
    let outcome = look_with(with(PUBLISHED), policy);
    assert_eq!(
        verdicts(&outcome),
        [(UNIT, Verdict::Met), ("K3S_NODE_NAME", Verdict::Unmet), ("K3S_ROOTLESS_MTU", Verdict::Unmet)]
    );
    let finding = findings(&outcome)[2];
    assert_eq!((finding.expected.as_str(), finding.found.as_str()), ("1500", "not set"));
    assert_eq!(finding.evidence[1].to_string(), "/etc/edgeprep/edgeprep.toml:2");
    assert_eq!(
        finding.remedy.settings,
        [service(&[("K3S_NODE_NAME", "gate 7"), ("K3S_ROOTLESS_MTU", "1500")])]
    );
    let set = |text: &str| {
        let outcome = look_with(with(PUBLISHED).file(&drop_in, format!("[Service]\n{text}\n")), policy);
        verdicts(&outcome)[1..].iter().map(|(_, verdict)| *verdict).collect::<Vec<_>>()
    };
    let right = "Environment=\"K3S_NODE_NAME=gate 7\" K3S_ROOTLESS_MTU=1500";
    assert_eq!(set(right), [Verdict::Met, Verdict::Met]);
    assert_eq!(set(&format!("{right}\nEnvironment=K3S_ROOTLESS_MTU=9000")), [Verdict::Met, Verdict::Unmet]);
    assert_eq!(set(&format!("{right}\nEnvironment=")), [Verdict::Unmet, Verdict::Unmet]);
    let file = with(PUBLISHED).file(&drop_in, "[Service]\nEnvironmentFile=/etc/k3s.env\n");
    assert_eq!(unknown(&look_with(file, policy)).len(), 2);
}

#[test]
fn a_unit_of_the_system_is_not_supported() {
    let system = "/etc/systemd/system/k3s-rootless.service";
    let host = with(PUBLISHED).file(system, PUBLISHED.replace("Type=simple", "User=edge"));
    let outcome = look_at(host);
    assert_eq!(verdicts(&outcome), [(UNIT, Verdict::Met), (system, Verdict::Unmet)]);
    let finding = findings(&outcome)[1];
    assert_eq!(finding.found, "a unit of the system manager, with User=edge");
    assert_eq!(finding.evidence[0].to_string(), format!("{system}:5"));
}

/// With the user manager, and this in the control group of the unit.
fn running(unit: &str, procs: &str, uptime: u32) -> TestHost {
    let group = format!("{MANAGER}/app.slice/{UNIT}");
    // From a booted Debian 13, but for the name: started 20 s after boot.
    let stat = "500 (k3s (a) b) S 447 500 500 0 -1 4194560 1 0 0 0 1 1 0 0 20 0 9 0 2000 1 1\n";
    with(unit)
        .dir(MANAGER, "0755", 1000)
        .file(&format!("{group}/k3s_evac/cgroup.procs"), procs)
        .file("/proc/uptime", format!("{uptime}.29 15.00\n"))
        .file("/proc/500/stat", stat)
}

fn listening(host: TestHost, port: &str, uid: u32) -> TestHost {
    let zeros = "00000000:00000000 00:00000000 00000000";
    let line = format!("   0: 00000000:{port} 00000000:0000 0A {zeros} {uid} 0 485 1 0\n");
    host.append("/proc/net/tcp", &line)
}

#[test]
fn an_enabled_unit_runs() {
    let outcome = look_at(running(PUBLISHED, "", 700));
    assert_eq!(verdicts(&outcome), [(UNIT, Verdict::Met), (UNIT, Verdict::Pending(Needs::None))]);
    let finding = findings(&outcome)[1];
    assert_eq!((finding.found.as_str(), outcome.items[1].level), ("enabled, does not run", Level::Advised));
    let start = Setting::UserUnitInEffect { user: "edge".to_owned(), unit: UNIT.to_owned() };
    assert_eq!(finding.remedy.settings, [start]);
    assert_eq!(
        finding.remedy.commands,
        [
            "sudo journalctl -e _UID=1000 _SYSTEMD_USER_UNIT=k3s-rootless.service",
            "sudo systemctl --user -M edge@ reset-failed k3s-rootless.service",
            "sudo systemctl --user -M edge@ start k3s-rootless.service"
        ]
    );
    // 6443.
    let outcome = look_at(listening(running(PUBLISHED, "", 700), "192B", 1000));
    let found = "enabled, does not run; tcp/6443 is held by another program of edge";
    assert_eq!(findings(&outcome)[1].found, found);
    assert_eq!(findings(&outcome)[1].remedy.settings, [], "it would not get the port");
    for fault in [running("", "", 700), running(PUBLISHED, "", 700).without(LINK)] {
        assert_eq!(findings(&look_at(fault)).len(), 1, "what is wrong with the unit comes first");
    }
    assert_eq!(verdicts(&look_at(running(PUBLISHED, "", 700).image())), [(UNIT, Verdict::Met)]);
    let denied = running(PUBLISHED, "500\n", 700).error(&format!("{MANAGER}/app.slice"), "denied");
    assert_eq!(unknown(&look_at(denied)), [format!("{MANAGER}/app.slice is not readable as this user")]);
}

#[test]
fn k3s_in_a_terminal_is_told_how() {
    let outcome = look_at(k3s());
    let finding = findings(&outcome)[0];
    assert_eq!((finding.found.as_str(), finding.evidence.len()), ("no such unit", 1));
    let form = "systemd-run --user -p Delegate=yes --tty k3s server --rootless";
    assert!(finding.remedy.summary.ends_with(form), "{}", finding.remedy.summary);
    let outcome = look_at(listening(k3s(), "192B", 1000));
    let found = "no such unit, and a program of edge listens on tcp/6443: K3s in a terminal?";
    assert_eq!(findings(&outcome)[0].found, found);
    assert!(findings(&outcome)[0].evidence[1].to_string().starts_with("/proc/net/tcp:"));
    assert_eq!(findings(&look_at(listening(k3s(), "192B", 0)))[0].found, "no such unit", "that of root");
}

#[test]
fn a_snapshotter_that_the_kernel_has_not() {
    const RELEASE: &str = "/proc/sys/kernel/osrelease";
    let native = PUBLISHED.replace("fuse-overlayfs", "overlayfs");
    let on = |unit: &str, release: &str, os: &str| {
        let os = format!("ID={os}\nVERSION_ID=\"1\"\n");
        look_at(with(unit).file(RELEASE, format!("{release}\n")).file("/etc/os-release", os))
    };
    let old = on(&native, "5.10.104-yocto", "poky");
    assert_eq!(verdicts(&old), [(UNIT, Verdict::Met), ("snapshotter", Verdict::Unmet)]);
    assert_eq!(old.items[1].level, Level::Advised);
    let finding = findings(&old)[1];
    assert_eq!(finding.found, "overlayfs, with Linux 5.10.104-yocto");
    assert_eq!(finding.evidence[0].to_string(), format!("{FRAGMENT}:3"));
    assert_eq!(finding.remedy.summary, "have K3s start with --snapshotter=fuse-overlayfs");
    let by_default = PUBLISHED.replace(" --snapshotter=fuse-overlayfs", "");
    assert_eq!(findings(&on(&by_default, "5.4.0", "poky")).len(), 2, "overlayfs is the default of K3s");
    for (release, os) in [("5.10.0-30-arm64", "debian"), ("4.18.0-553.el8_10", "rhel"), ("5.12.0", "poky")] {
        let why = format!("whether Linux {release} can mount overlay without root is not in its number");
        assert_eq!(unknown(&on(&native, release, os)), [why]);
    }
    for (unit, release) in [(PUBLISHED, "5.10.104-yocto"), (native.as_str(), "5.13.0")] {
        assert_eq!(verdicts(&on(unit, release, "poky")), [(UNIT, Verdict::Met)], "{release}");
    }
}

#[test]
fn a_unit_that_runs_listens() {
    let api = |host: TestHost| {
        let outcome = look_at(host);
        let finding = findings(&outcome)[1];
        assert_eq!(finding.subject, API_SERVER);
        (finding.verdict, finding.found.clone())
    };
    let unmet = (Verdict::Unmet, "runs for 5 min, and does not listen".to_owned());
    assert_eq!(api(running(PUBLISHED, "500\n", 320)), unmet);
    let early = (Verdict::Met, "runs for 299 s, and does not listen yet".to_owned());
    assert_eq!(api(running(PUBLISHED, "500\n", 319)), early);
    let listens = |port: &str| (Verdict::Met, format!("listens on tcp/{port}"));
    assert_eq!(api(listening(running(PUBLISHED, "500\n", 700), "192B", 1000)), listens("6443"));
    assert_eq!(api(listening(running(PUBLISHED, "500\n", 320), "192B", 0)), unmet, "that of root");
    let other = PUBLISHED.replace("--rootless", "--rootless --https-listen-port=7443");
    assert_eq!(api(listening(running(&other, "500\n", 320), "192B", 1000)), unmet);
    assert_eq!(api(listening(running(&other, "500\n", 700), "1D13", 1000)), listens("7443"));
    let ended = running(PUBLISHED, "499\n500\n", 320).without("/proc/499");
    assert_eq!(api(ended), unmet);
    let hidden = look_at(running(PUBLISHED, "500\n", 320).without("/proc/500"));
    assert_eq!(unknown(&hidden), ["/proc/500/stat does not exist"], "with hidepid=");
    let agent = running(&PUBLISHED.replace("server", "agent"), "500\n", 700);
    assert_eq!(findings(&look_at(agent)).len(), 1);
    for (path, error) in [("/proc/500/stat", "denied"), ("/proc/net/tcp", "denied")] {
        let denied = look_at(running(PUBLISHED, "500\n", 700).error(path, error));
        assert_eq!(unknown(&denied), [format!("{path} is not readable as this user")]);
    }
    let garbled = look_at(running(PUBLISHED, "500\n", 700).file("/proc/500/stat", "500 (k3s) S 1\n"));
    assert_eq!(unknown(&garbled), ["/proc/500/stat: expected when the process was started"]);
}

#[test]
fn units_of_the_system_by_other_names() {
    let system = "/etc/systemd/system/k3s.service";
    let rootless = "User=edge\nExecStart=/usr/local/bin/k3s server --rootless";
    let found = |text: &str| {
        let outcome = look_at(with(PUBLISHED).file(system, format!("[Service]\n{text}\n")));
        findings(&outcome).get(1).map(|finding| (finding.subject.clone(), finding.remedy.commands.clone()))
    };
    let command = vec!["sudo systemctl disable --now k3s.service".to_owned()];
    assert_eq!(found(rootless), Some((system.to_owned(), command)));
    assert!(found(&rootless.replace("edge", "1000")).is_some());
    for other in [
        "ExecStart=/usr/local/bin/k3s server".to_owned(),
        rootless.replace("User=edge\n", ""),
        rootless.replace("edge", "other"),
        rootless.replace(" --rootless", ""),
    ] {
        assert_eq!(found(&other), None, "{other}");
    }
    let captured = with(PUBLISHED).file(system, "[Service]\nUser=edge\nExecStart=LEFT-OUT\n");
    assert_eq!(unknown(&look_at(captured)), ["the capture leaves out what it runs"]);
}

#[test]
fn the_configuration_can_say_rootless() {
    let config = "/etc/rancher/k3s/config.yaml";
    let unit = PUBLISHED.replace("--rootless ", "");
    let host = |text: &str| with(&unit).file(config, text).mode(config, "0644");
    assert_eq!(verdicts(&look_at(host("rootless: true\n"))), [(UNIT, Verdict::Met)]);
    assert_eq!(verdicts(&look_at(host("rootless: false\n"))), [(UNIT, Verdict::Unmet)]);
}

#[test]
fn what_cannot_be_read_is_unknown() {
    let denied = with(PUBLISHED).path(FRAGMENT, |record| record.read_error = Some("denied".to_owned()));
    assert_eq!(unknown(&look_at(denied)), [format!("{FRAGMENT} is not readable as this user")]);
    let captured =
        PUBLISHED.replace("/usr/local/bin/k3s server --rootless --snapshotter=fuse-overlayfs", LEFT_OUT);
    let outcome = look_at(with(&captured));
    assert!(unknown(&outcome)[0].ends_with("the capture leaves out what it runs"), "{outcome:?}");
    assert!(run(&k3s().facts(), &Requirements::default(), &edge()).skipped.is_some());
}
