//! Tests of `module_blacklist`.

use super::*;
use crate::checks::testing::{findings, requirements, unknown, verdicts};
use crate::facts::testing::{TestHost, empty_host, fixture};

const DIR: &str = "/usr/lib/modules/6.12.117+deb13-cloud-amd64";
const CONF: &str = "/etc/modprobe.d/hardening.conf";

fn host() -> TestHost {
    let dep = format!("{DIR}/modules.dep");
    let text = fixture("debian-13").text(&dep);
    text.lines().fold(fixture("debian-13"), |host, line| {
        host.file(&format!("{DIR}/{}", line.split(':').next().unwrap()), "")
    })
}

fn look_at(host: TestHost, stack: Stack) -> Outcome {
    run(&host.facts(), &requirements(&[stack]))
}

fn not_met(outcome: &Outcome) -> Vec<(&str, Verdict)> {
    verdicts(outcome).into_iter().filter(|(_, verdict)| *verdict != Verdict::Met).collect()
}

#[test]
fn nothing_is_in_the_way() {
    for stack in Stack::ALL {
        assert_eq!(not_met(&look_at(host(), stack)), [], "{stack:?}");
        assert_eq!(not_met(&look_at(host().image(), stack)), [], "{stack:?}");
    }
}

/// Each line as a booted Debian 13 behaved with it.
#[test]
fn lines_of_hardening_guides() {
    use Verdict::Unmet;
    let cases = [
        (Stack::Podman, "blacklist tun", vec![("tun", Unmet)]),
        (Stack::Podman, "install tun /bin/false", vec![("tun", Unmet)]),
        (Stack::K3s, "install vxlan /bin/true", vec![("vxlan", Unmet)]),
        (Stack::K3s, "install udp_tunnel /bin/true", vec![("vxlan", Unmet)]),
        (Stack::K3s, "blacklist udp_tunnel", vec![]),
        // It is always loaded by a module that needs it.
        (Stack::K3s, "blacklist nf_conntrack", vec![]),
        (Stack::Usernetes, "blacklist vxlan", vec![("vxlan", Unmet)]),
        (Stack::Usernetes, "blacklist cramfs\ninstall squashfs /bin/false", vec![]),
        // fuse is built in.
        (Stack::K3s, "install fuse /bin/false", vec![]),
    ];
    for (stack, text, expected) in cases {
        assert_eq!(not_met(&look_at(host().file(CONF, text), stack)), expected, "{text}");
    }
    let outcome = look_at(host().file(CONF, "# CIS\ninstall udp_tunnel /bin/true\n"), Stack::K3s);
    let finding = findings(&outcome).into_iter().find(|f| f.subject == "vxlan").unwrap();
    assert_eq!(finding.found, "install udp_tunnel /bin/true, which it needs");
    assert_eq!(finding.evidence[0], Evidence::line(CONF, 2, "install udp_tunnel /bin/true"));
    assert_eq!(finding.remedy.summary, "take the line out of /etc/modprobe.d/hardening.conf");
    let sed = r"sudo sed -i '/^[ \t]*install[ \t]\+udp_tunnel\b/d' /etc/modprobe.d/hardening.conf";
    assert_eq!(finding.remedy.commands, [sed, "sudo modprobe vxlan"]);
    let vendor = look_at(host().file("/usr/lib/modprobe.d/v.conf", "blacklist tun\n"), Stack::Podman);
    let finding = findings(&vendor).into_iter().find(|f| f.subject == "tun").unwrap();
    assert_eq!(finding.remedy.commands[0], "sudo cp /usr/lib/modprobe.d/v.conf /etc/modprobe.d/v.conf");
    let pattern = look_at(host().file(CONF, "install tu* /bin/false\n"), Stack::Podman);
    let finding = findings(&pattern).into_iter().find(|f| f.subject == "tun").unwrap();
    assert!(finding.remedy.commands.is_empty(), "it would take out more than is wanted");
}

#[test]
fn the_kernel_command_line() {
    let with = |text: &str| host().file("/proc/cmdline", text);
    let refused = look_at(with("quiet module_blacklist=nf_conntrack,tun\n"), Stack::Podman);
    // nft_ct, nft_masq and nft_chain_nat need nf_conntrack.
    let names: Vec<&str> = not_met(&refused).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["nft_chain_nat", "nft_ct", "nft_masq", "tun"]);
    assert_eq!(
        findings(&refused).iter().find(|f| f.subject == "tun").unwrap().evidence[0].text,
        "module_blacklist=nf_conntrack,tun"
    );
    assert_eq!(
        not_met(&look_at(with("modprobe.blacklist=veth\n"), Stack::Podman)),
        [("veth", Verdict::Unmet)]
    );
    // Seen on Debian 13: the kernel does not take - for _.
    assert_eq!(not_met(&look_at(with("module_blacklist=nf-conntrack\n"), Stack::Podman)), []);
}

#[test]
fn the_next_boot_can_have_other_words() {
    let pi = |now: &str, file: &str| {
        host()
            .file("/proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0")
            .without("/sys/firmware/efi")
            .file("/proc/cmdline", format!("coherent_pool=1M vc_mem.mem_size=0x3ff00000  {now}\n"))
            .file("/boot/firmware/config.txt", "")
            .file("/boot/firmware/cmdline.txt", format!("{file}\n"))
    };
    let tun = |host: TestHost| {
        let outcome = look_at(host, Stack::Podman);
        findings(&outcome).into_iter().find(|f| f.subject == "tun").unwrap().clone()
    };
    let off = "quiet module_blacklist=tun,loop";
    assert_eq!(tun(pi(off, off)).verdict, Verdict::Unmet);
    assert_eq!(
        tun(pi(off, off)).remedy.summary,
        "take module_blacklist=tun out of /boot/firmware/cmdline.txt, then reboot"
    );
    let pending = tun(pi(off, "quiet"));
    assert_eq!((pending.verdict, &*pending.remedy.summary), (Verdict::Pending(Needs::Reboot), "reboot"));
    assert_eq!(tun(pi(off, "quiet").file(CONF, "blacklist tun\n")).verdict, Verdict::Unmet);
    assert_eq!(tun(pi("quiet", "quiet modprobe.blacklist=tun")).verdict, Verdict::Volatile);
    assert_eq!(tun(pi("quiet", off).image()).verdict, Verdict::Unmet);
    assert_eq!(tun(pi("quiet", "quiet")).verdict, Verdict::Met);
}

#[test]
fn what_is_loaded_works_until_the_next_boot() {
    let loaded = host().append("/proc/modules", "tun 1 0 - Live 0x0\n").file(CONF, "blacklist tun\n");
    assert_eq!(not_met(&look_at(loaded, Stack::Podman)), [("tun", Verdict::Volatile)]);
    let needed = host()
        .append("/proc/modules", "udp_tunnel 1 0 - Live 0x0\n")
        .file(CONF, "install udp_tunnel /bin/false\n");
    assert_eq!(not_met(&look_at(needed, Stack::Usernetes)), [("vxlan", Verdict::Volatile)]);
}

#[test]
fn modules_can_be_disabled_altogether() {
    let set = |now: &str, conf: &str| {
        host().file("/proc/sys/kernel/modules_disabled", now).file("/etc/sysctl.d/x.conf", conf)
    };
    let tun = |host: TestHost| {
        let outcome = look_at(host, Stack::Podman);
        findings(&outcome).into_iter().find(|f| f.subject == "tun").unwrap().verdict
    };
    let on = "kernel.modules_disabled = 1\n";
    let load = "/etc/modules-load.d/x.conf";
    assert_eq!(tun(set("1\n", "")), Verdict::Pending(Needs::Reboot));
    assert_eq!(tun(set("1\n", on)), Verdict::Unmet);
    assert_eq!(tun(set("1\n", on).file(load, "tun\n")), Verdict::Pending(Needs::Reboot));
    assert_eq!(tun(set("0\n", on)), Verdict::Volatile);
    assert_eq!(tun(set("0\n", on).image()), Verdict::Unmet);
    assert_eq!(tun(set("0\n", on).file(load, "tun\n").image()), Verdict::Met);
    let loaded = |host: TestHost| host.append("/proc/modules", "tun 1 0 - Live 0x0\n");
    assert_eq!(tun(loaded(set("1\n", ""))), Verdict::Met);
    assert_eq!(tun(loaded(set("1\n", on))), Verdict::Volatile);
}

#[test]
fn what_cannot_be_told_is_unknown() {
    let command = look_at(host().file(CONF, "install tun /opt/load\n"), Stack::Podman);
    assert_eq!(
        unknown(&command),
        [format!("{CONF}:1: whether \"install tun /opt/load\" loads it cannot be told")]
    );
    let denied = host().file(CONF, "").path(CONF, |record| record.read_error = Some("denied".to_owned()));
    let outcome = look_at(denied, Stack::Podman);
    assert!(unknown(&outcome).contains(&format!("{CONF} is not readable as this user").as_str()));
    let of = |name| findings(&outcome).iter().any(|f| f.subject == name && f.verdict == Verdict::Met);
    assert!(of("overlay"), "it is loaded");
    assert!(look_at(empty_host().image(), Stack::Podman).skipped.is_some());
    assert!(run(&host().facts(), &Requirements::default()).skipped.is_some());
}
