//! Tests of `sysctl_values`.

use super::*;
use crate::checks::testing::{findings, requirements, unknown, verdicts};
use crate::facts::testing::{TestHost, fixture, openrc_host};
use crate::profile::Layer;
use crate::requirements::Stack;

const KEY: &str = "net.ipv4.ip_forward";
const NOW: &str = "/proc/sys/net/ipv4/ip_forward";

/// What K3s wants of [`KEY`], whose default is 0: 1.
fn look_at(host: TestHost) -> Outcome {
    let mut outcome = Outcome::default();
    judge(&host.facts(), &requirements(&[Stack::K3s]), KEY, &mut outcome);
    outcome
}

fn host(now: &str) -> TestHost {
    fixture("debian-13").file(NOW, format!("{now}\n"))
}

fn shown(host: TestHost) -> (Verdict, String, Vec<String>, String) {
    let outcome = look_at(host);
    let found = findings(&outcome)[0];
    let at = found.evidence.iter().map(Evidence::to_string).collect();
    (found.verdict, found.found.clone(), at, found.remedy.summary.clone())
}

#[test]
fn configuration_and_effect_are_judged_together() {
    let file = |host: TestHost, value| host.file("/etc/sysctl.d/50.conf", format!("{KEY} = {value}\n"));
    let pending = Verdict::Pending(Needs::None);
    let (conf, now) = ("/etc/sysctl.d/50.conf:1", "/proc/sys/net/ipv4/ip_forward:1");
    for (host, verdict, found, at) in [
        (file(host("1"), "1"), Verdict::Met, "1", vec![now, conf]),
        (file(host("0"), "1"), pending, "0 now, 1 at the next boot", vec![now, conf]),
        (file(host("1"), "0"), Verdict::Volatile, "1 now, 0 at the next boot", vec![conf, now]),
        (file(host("0"), "0"), Verdict::Unmet, "0", vec![conf, now]),
        (host("0"), Verdict::Unmet, "0", vec![now]),
        // The kernel's own 0 comes back.
        (host("1"), Verdict::Volatile, "1 now, 0 at the next boot", vec![now]),
        // The kernel takes the number and leaves the rest.
        (file(host("1"), "1 # on"), Verdict::Met, "1", vec![now, conf]),
    ] {
        let (got, text, evidence, _) = shown(host);
        assert_eq!((got, text.as_str()), (verdict, found));
        assert_eq!(evidence, at);
    }
    assert_eq!(
        findings(&look_at(host("0")))[0].remedy.settings,
        [Setting::Sysctl { key: KEY.to_owned(), value: "1".to_owned() }]
    );
    assert_eq!(
        findings(&look_at(file(host("0"), "1")))[0].remedy.settings,
        [Setting::SysctlInEffect { key: KEY.to_owned(), value: "1".to_owned() }],
        "no second file"
    );
}

#[test]
fn an_image_has_its_configuration_and_known_defaults() {
    let image = |value: &str| host("1").file("/etc/sysctl.d/50.conf", format!("{KEY}={value}\n")).image();
    assert_eq!(shown(image("1")).0, Verdict::Met);
    assert_eq!(shown(image("0")).0, Verdict::Unmet);
    // The build machine's /proc says nothing.
    let outcome = look_at(host("1").image());
    let finding = findings(&outcome)[0];
    assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Unmet, "0"));
    assert_eq!(finding.evidence, [Evidence::path(NOW, "the kernel starts with 0")]);
    assert_eq!(finding.remedy.summary, format!("set {KEY} to 1"));
}

#[test]
fn a_file_that_sorts_later_has_to_be_changed_itself() {
    let hardened = host("0").file("/usr/lib/sysctl.d/99-cis.conf", format!("# cis\n{KEY} = 0\n"));
    let outcome = look_at(hardened.clone());
    let remedy = &findings(&outcome)[0].remedy;
    assert_eq!(
        remedy.summary,
        "change /usr/lib/sysctl.d/99-cis.conf:2, which sorts after /etc/sysctl.d/90-rootless.conf and wins over it"
    );
    assert_eq!(
        remedy.commands,
        [
            "sudo cp /usr/lib/sysctl.d/99-cis.conf /etc/sysctl.d/99-cis.conf",
            "sudo sed -i '2s|.*|net.ipv4.ip_forward = 1|' /etc/sysctl.d/99-cis.conf",
            "sudo sysctl --system",
        ]
    );
    assert_eq!(remedy.settings, []);
    let both = hardened.file("/etc/sysctl.d/90-rootless.conf", format!("{KEY} = 1\n"));
    assert_eq!(shown(both).2[2], "/etc/sysctl.d/90-rootless.conf:1", "what is shadowed is shown");
}

/// Debian up to 12, Ubuntu and Fedora have such a link.
#[test]
fn the_file_that_a_link_leads_to_is_changed() {
    const LINK: &str = "/etc/sysctl.d/99-sysctl.conf";
    const CONF: &str = "/etc/sysctl.conf";
    let linked = |path: &str, to: &str, conf: &str| {
        let text = format!("# Debian\n{KEY} = 0\n");
        host("0").file(conf, &text).file(path, &text).path(path, |record| record.link = Some(to.to_owned()))
    };
    let remedy = |host: TestHost| findings(&look_at(host))[0].remedy.clone();
    let sed = |file: &str| format!("sudo sed -i '2s|.*|{KEY} = 1|' {file}");
    let debian = remedy(linked(LINK, "../sysctl.conf", CONF));
    assert_eq!(debian.commands, [sed(CONF), "sudo sysctl --system".to_owned()]);
    assert!(debian.summary.starts_with(&format!("change {CONF}, to which {LINK}:2 leads, ")), "{debian:?}");
    let suse = linked("/usr/lib/sysctl.d/99-sysctl.conf", CONF, CONF);
    assert_eq!(remedy(suse.clone()).commands, [sed(CONF), "sudo sysctl --system".to_owned()]);
    assert_eq!(remedy(suse.image()).commands, [sed(CONF).replace("sudo ", "").replace("/etc", "$ROOT/etc")]);
    // A link to what a package brings becomes a file, and that stays as it is.
    let vendor = remedy(linked("/etc/sysctl.d/99-x.conf", "/usr/share/x.conf", "/usr/share/x.conf"));
    assert_eq!(vendor.commands[0], sed("/etc/sysctl.d/99-x.conf"));
}

#[test]
fn what_sysctl_applies_last_is_changed_as_well() {
    let conf = |host: TestHost| host.file("/etc/sysctl.conf", format!("{KEY}=0\n"));
    let remedy = |host: TestHost| findings(&look_at(host))[0].remedy.clone();
    let hard = conf(host("0")).file("/etc/sysctl.d/99-hard.conf", format!("{KEY} = 0\n"));
    let sed = |file: &str| format!("sudo sed -i '1s|.*|{KEY} = 1|' {file}");
    let both =
        [sed("/etc/sysctl.d/99-hard.conf"), sed("/etc/sysctl.conf"), "sudo sysctl --system".to_owned()];
    assert_eq!(remedy(hard).commands, both);
    let ours = remedy(conf(host("0")).file("/etc/sysctl.d/50.conf", format!("{KEY} = 0\n")));
    assert_eq!(ours.settings.len(), 1);
    assert_eq!(ours.commands, [sed("/etc/sysctl.conf"), "sudo sysctl -p /etc/sysctl.conf".to_owned()]);
    assert!(ours.summary.contains("/etc/sysctl.conf:1 has to be changed, too"), "{}", ours.summary);
    let openrc = remedy(conf(openrc_host().file(NOW, "0\n")));
    assert_eq!(openrc.settings, []);
    assert_eq!(openrc.commands, [sed("/etc/sysctl.conf"), "sudo sysctl --system".to_owned()]);
}

/// K3s and RootlessKit tell users to edit `/etc/sysctl.conf`.
#[test]
fn sysctl_conf_is_not_systemds() {
    let (verdict, _, at, summary) = shown(host("0").file("/etc/sysctl.conf", format!("{KEY}=1\n")));
    assert_eq!((verdict, at[1].as_str()), (Verdict::Unmet, "/etc/sysctl.conf:1"));
    assert!(summary.contains("/etc/sysctl.conf:1 does not count"), "{summary}");
    let against = host("0")
        .file("/etc/sysctl.d/50.conf", format!("{KEY}=1\n"))
        .file("/etc/sysctl.conf", format!("{KEY}=0\n"));
    let (verdict, _, _, summary) = shown(against);
    assert_eq!(verdict, Verdict::Pending(Needs::None));
    assert!(
        summary.ends_with("not with sysctl --system, which would apply /etc/sysctl.conf:1 last"),
        "{summary}"
    );
}

#[test]
fn what_cannot_be_read_is_unknown() {
    let denied = fixture("debian-13").error(NOW, "denied");
    assert_eq!(unknown(&look_at(denied)), [format!("{NOW} is not readable as this user")]);
    let no_proc = fixture("debian-13").without("/proc/sys");
    assert_eq!(unknown(&look_at(no_proc)), ["/proc/sys/kernel does not exist"]);
    let file = |host: TestHost| {
        host.file("/etc/sysctl.d/99.conf", "").path("/etc/sysctl.d/99.conf", |record| {
            record.read_error = Some("denied".to_owned());
        })
    };
    let outcome = look_at(file(host("1")));
    assert_eq!(unknown(&outcome), ["in effect now, but /etc/sysctl.d/99.conf is not readable as this user"]);
    assert_eq!(outcome.items[0].level, Level::Advised, "it blocks nothing today");
    assert_eq!(shown(file(host("0"))).0, Verdict::Unmet);
}

#[test]
fn a_kernel_without_the_key_has_not_got_it() {
    let (verdict, found, at, _) = shown(fixture("debian-13").without(NOW));
    assert_eq!((verdict, found.as_str()), (Verdict::Unmet, "this kernel has no such key"));
    assert_eq!(at, [NOW]);
}

#[test]
fn the_rest_is_what_no_other_check_owns() {
    let req = requirements(&Stack::ALL);
    // What 50-pid-max.conf of the fixture sets. The capture lacks it: no stack asks for the key.
    let facts = fixture("debian-13").file("/proc/sys/kernel/pid_max", "4194304\n").facts();
    assert_eq!(run(&facts, &req).skipped.as_deref(), Some("nothing more is asked for"));
    for key in OWNED.concat() {
        // For ping_group_range there is a need: the range depends on the user.
        let asked_for = req.sysctls.contains_key(key) || ping_group_range::KEYS.contains(&key);
        assert!(asked_for, "nobody asks for {key}");
    }
    let site =
        "[[sysctl]]\nkey = \"kernel.pid_max\"\nat-least = 99999\nlevel = \"advised\"\nwhy = \"pods\"\n";
    let site = Layer::parse("site.toml", site).unwrap();
    let req = Requirements::merge(&[Stack::Podman], &[site]).unwrap();
    assert_eq!(verdicts(&run(&facts, &req)), [("kernel.pid_max", Verdict::Met)]);
}

#[test]
fn one_value_serves_everybody() {
    let site = "[[sysctl]]\nkey = \"net.ipv4.ip_unprivileged_port_start\"\nat-most = 53\nlevel = \"required\"\nwhy = \"dns\"\n";
    let site = Layer::parse("site.toml", site).unwrap();
    let req = Requirements::merge(&[Stack::Podman], &[site]).unwrap();
    let mut outcome = Outcome::default();
    judge(&fixture("debian-13").facts(), &req, "net.ipv4.ip_unprivileged_port_start", &mut outcome);
    let found = findings(&outcome);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|f| f.remedy.settings == found[1].remedy.settings));
    assert_eq!(
        found[0].remedy.settings,
        [Setting::Sysctl { key: "net.ipv4.ip_unprivileged_port_start".into(), value: "53".into() }]
    );
}

/// The kernel shows a tab, people write a space.
#[test]
fn all_the_numbers_of_a_value_are_compared() {
    const PORTS: &str = "net.ipv4.ip_local_port_range";
    let site = format!(
        "[[sysctl]]\nkey = \"{PORTS}\"\nequals = \"32768 60999\"\nlevel = \"advised\"\nwhy = \"ports\"\n"
    );
    let site = Layer::parse("site.toml", &site).unwrap();
    let req = Requirements::merge(&[Stack::Podman], &[site]).unwrap();
    for (now, verdict, found) in [
        ("32768\t60999\n", Verdict::Met, "32768 60999"),
        ("32768\t50000\n", Verdict::Pending(Needs::None), "32768 50000 now, 32768 60999 at the next boot"),
    ] {
        let host = fixture("debian-13")
            .file("/proc/sys/net/ipv4/ip_local_port_range", now)
            .file("/etc/sysctl.d/50.conf", format!("{PORTS} = 32768\t 60999\n"));
        let outcome = run(&host.facts(), &req);
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, finding.found.as_str()), (verdict, found));
        assert_eq!(finding.expected, "32768 60999");
    }
}
