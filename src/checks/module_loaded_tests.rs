//! Tests of `module_loaded`.

use super::*;
use crate::checks::testing::{findings, requirements, unknown};
use crate::facts::testing::{TestHost, empty_host, fixture};
use crate::requirements::Stack;

const DIR: &str = "/usr/lib/modules/6.12.117+deb13-cloud-amd64";
const LOAD: &str = "/etc/modules-load.d/rootless.conf";

fn host() -> TestHost {
    ["net/bridge/br_netfilter", "net/ipv4/netfilter/ip_tables", "net/ipv4/netfilter/iptable_nat"]
        .iter()
        .fold(fixture("debian-13"), |host, name| host.file(&format!("{DIR}/kernel/{name}.ko.xz"), ""))
}

/// What is found on a module that Usernetes wants.
fn of(host: TestHost, name: &str) -> (String, Verdict) {
    let outcome = run(&host.facts(), &requirements(&[Stack::Usernetes]));
    let finding = findings(&outcome).into_iter().find(|f| f.subject == name).unwrap();
    (finding.found.clone(), finding.verdict)
}

fn found(text: &str, verdict: Verdict) -> (String, Verdict) {
    (text.to_owned(), verdict)
}

#[test]
fn configured_and_in_effect_are_two_facts() {
    let loaded = || host().append("/proc/modules", "br_netfilter 1 0 - Live 0x0\n");
    let line = "br-netfilter\n";
    for (host, expected) in [
        (host(), found("neither loaded nor configured", Verdict::Unmet)),
        (host().file(LOAD, line), found("configured but not loaded", Verdict::Pending(Needs::None))),
        (loaded(), found("loaded but not configured", Verdict::Volatile)),
        (loaded().file(LOAD, line), found("loaded and configured", Verdict::Met)),
        (host().image(), found("not configured", Verdict::Unmet)),
        (host().file(LOAD, line).image(), found("configured", Verdict::Met)),
        (
            host().file("/proc/cmdline", "modules_load=br_netfilter\n"),
            found("configured but not loaded", Verdict::Pending(Needs::None)),
        ),
        (
            host().file("/proc/cmdline", "rd.modules_load=br_netfilter\n"),
            found("neither loaded nor configured", Verdict::Unmet),
        ),
        (
            host().append(&format!("{DIR}/modules.builtin"), "kernel/net/bridge/br_netfilter.ko\n"),
            found("built in", Verdict::Met),
        ),
        (
            host().file(LOAD, line).file("/proc/sys/kernel/modules_disabled", "1\n"),
            found("configured but not loaded", Verdict::Pending(Needs::Reboot)),
        ),
    ] {
        assert_eq!(of(host, "br_netfilter"), expected);
    }
}

#[test]
fn findings_say_where_and_what_to_do() {
    let look = |host: TestHost| {
        let outcome = run(&host.facts(), &requirements(&[Stack::Usernetes]));
        findings(&outcome).into_iter().find(|f| f.subject == "br_netfilter").unwrap().clone()
    };
    let unmet = look(host());
    assert_eq!(unmet.remedy.settings, [Setting::Module("br_netfilter".to_owned())]);
    assert_eq!(unmet.remedy.summary, "load it now and at boot");
    assert_eq!(look(host().image()).remedy.summary, "load it at boot");
    let pending = look(host().file(LOAD, "# x\nbr_netfilter\n"));
    assert_eq!(pending.evidence, [Evidence::line(LOAD, 2, "br_netfilter")]);
    assert_eq!(pending.remedy.settings, [Setting::ModuleInEffect("br_netfilter".to_owned())]);
}

/// Seen on Debian 13: systemd-modules-load loads a blacklisted ip_tables along with iptable_nat.
#[test]
fn a_module_is_loaded_along_with_one_that_needs_it() {
    let host = || {
        host()
            .edit("/proc/modules", "ip_tables 28672", "other 28672")
            .without("/sys/module/ip_tables")
            .file(LOAD, "iptable_nat\n")
    };
    let pending = found("configured but not loaded", Verdict::Pending(Needs::None));
    assert_eq!(of(host(), "ip_tables"), pending);
    let modprobe = "/etc/modprobe.d/x.conf";
    assert_eq!(of(host().file(modprobe, "blacklist ip_tables\n"), "ip_tables"), pending);
    let replaced = host().file(modprobe, "install ip_tables /bin/true\n");
    let kept = found("not loaded and kept out by \"install ip_tables /bin/true\"", Verdict::Unmet);
    assert_eq!(of(replaced, "ip_tables"), kept);
}

#[test]
fn an_alias_names_its_module() {
    let alias = |line: &str| host().file(LOAD, "nat4\n").file("/etc/modprobe.d/x.conf", line);
    assert_eq!(of(alias("alias nat4 iptable_nat\n"), "iptable_nat").1, Verdict::Pending(Needs::None));
    assert_eq!(of(alias("alias nat4 off\n"), "iptable_nat").1, Verdict::Unmet);
}

#[test]
fn a_line_that_modprobe_d_defeats_is_none() {
    let with = |text: &str| host().file(LOAD, "br_netfilter\n").file("/etc/modprobe.d/x.conf", text);
    let kept = found("not loaded and kept out by \"blacklist br_netfilter\"", Verdict::Unmet);
    assert_eq!(of(with("blacklist br_netfilter\n"), "br_netfilter"), kept);
    let outcome = run(&with("install br_netfilter /opt/load\n").facts(), &requirements(&[Stack::Usernetes]));
    assert_eq!(
        unknown(&outcome),
        ["/etc/modprobe.d/x.conf:1: whether \"install br_netfilter /opt/load\" loads it cannot be told"]
    );
}

#[test]
fn what_is_not_available_is_not_loaded_either() {
    let without = fixture("debian-13").without(&format!("{DIR}/kernel/net/bridge/br_netfilter.ko.xz"));
    assert_eq!(of(without, "br_netfilter"), found("not available", Verdict::Unmet));
    let upgraded = fixture("debian-13")
        .without(DIR)
        .file("/usr/lib/modules/7.0.0/modules.order", "")
        .file(LOAD, "br_netfilter\n");
    assert_eq!(of(upgraded, "br_netfilter").1, Verdict::Pending(Needs::Reboot));
}

#[test]
fn unknown_and_skipped() {
    let outcome =
        run(&host().error("/run/modules-load.d", "denied").facts(), &requirements(&[Stack::Usernetes]));
    assert!(unknown(&outcome).contains(&"/run/modules-load.d is not readable as this user"));
    let podman = run(&host().facts(), &requirements(&[Stack::Podman]));
    assert_eq!(podman.skipped.as_deref(), Some("no chosen stack wants a module loaded beforehand"));
    assert!(run(&empty_host().image().facts(), &requirements(&[Stack::Usernetes])).skipped.is_some());
}
