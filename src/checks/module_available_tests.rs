//! Tests of `module_available`.

use super::*;
use crate::checks::testing::{findings, requirements, unknown, verdicts};
use crate::facts::testing::{TestHost, empty_host, fixture};
use crate::requirements::Stack;

const RELEASE: &str = "6.12.117+deb13-cloud-amd64";
const DEP: &str = "/usr/lib/modules/6.12.117+deb13-cloud-amd64/modules.dep";

/// The fixture with the files of all modules in modules.dep.
fn host() -> TestHost {
    let mut host = fixture("debian-13");
    for line in host.text(DEP).lines() {
        let path = line.split(':').next().unwrap();
        host = host.file(&DEP.replace("modules.dep", path), "");
    }
    host
}

fn file(name: &str) -> String {
    DEP.replace("modules.dep", &format!("kernel/{name}.ko.xz"))
}

fn look_at(host: TestHost) -> Outcome {
    run(&host.facts(), &requirements(&[Stack::Podman, Stack::Kind]))
}

fn not_met(outcome: &Outcome) -> Vec<(&str, Verdict)> {
    verdicts(outcome).into_iter().filter(|(_, verdict)| *verdict != Verdict::Met).collect()
}

#[test]
fn a_kernel_that_has_them_all() {
    let outcome = look_at(host());
    assert_eq!((not_met(&outcome), unknown(&outcome)), (vec![], vec![]));
    let of = |name| findings(&outcome).into_iter().find(|f| f.subject == name).unwrap();
    assert_eq!(of("ip_tables").found, "loaded");
    assert_eq!(&*of("ip_tables").evidence[0].path, "/proc/modules");
    assert_eq!(
        (of("veth").found.as_str(), of("veth").evidence[0].text.as_str()),
        ("loadable", "kernel/drivers/net/veth.ko.xz")
    );
}

#[test]
fn a_file_that_was_not_shipped() {
    let outcome = look_at(host().without(&file("net/bridge/bridge")));
    // Required of stacks whose containers are on networks of their own, advised of Podman alone.
    assert_eq!(not_met(&outcome), [("bridge", Verdict::Unmet); 2]);
    let finding = findings(&outcome).into_iter().find(|f| f.subject == "bridge").unwrap();
    assert_eq!(finding.found, "its file is missing");
    assert!(finding.evidence[0].line.is_some() && &*finding.evidence[0].path == DEP);
    // What is loaded needs no file.
    assert_eq!(not_met(&look_at(host().without(&file("net/ipv4/netfilter/ip_tables")))), []);
}

#[test]
fn built_in_is_as_good_and_spelling_does_not_matter() {
    let host = host()
        .edit(DEP, "kernel/drivers/net/veth.ko.xz:", "kernel/drivers/net/other.ko.xz:")
        .append(&DEP.replace("dep", "builtin"), "kernel/drivers/net/veth.ko\n")
        .edit(DEP, "/iptable_nat.ko.xz:", "/iptable-nat.ko.xz:")
        .file(&file("net/ipv4/netfilter/iptable-nat"), "");
    assert_eq!(not_met(&look_at(host)), []);
}

#[test]
fn a_profile_names_the_package() {
    let layer = |package: &str| {
        let text = format!(
            "[[module-package]]\ndistribution = \"ubuntu\"\nnames = [\"vxlan\", \"br-netfilter\"]\n{package}\n"
        );
        crate::profile::Layer::parse("board.toml", &text).unwrap()
    };
    let commands = |release: &str, version: &str, layers: &[crate::profile::Layer], module: &str| {
        let host = empty_host()
            .file("/proc/sys/kernel/osrelease", release)
            .file(&format!("/usr/lib/modules/{release}/modules.dep"), "")
            .file(&format!("/usr/lib/modules/{release}/modules.builtin"), "")
            .file("/var/lib/dpkg/status", "Package: a\n")
            .file("/etc/os-release", format!("ID=ubuntu\nVERSION_ID=\"{version}\"\n"));
        let req = Requirements::merge(&[Stack::K3s], layers).unwrap();
        let outcome = run(&host.facts(), &req);
        let finding = findings(&outcome).into_iter().find(|f| f.subject == module).unwrap();
        (finding.remedy.commands.concat(), finding.remedy.summary.clone())
    };
    let acme = [layer("package = \"linux-modules-acme\"")];
    let (command, summary) = commands("6.8.0-1-acme", "24.04", &acme, "vxlan");
    assert!(command.contains("apt") && command.ends_with("linux-modules-acme"), "{command}");
    assert!(summary.ends_with(", which has it"), "{summary}");
    assert_eq!(
        commands("6.8.0-1-acme", "24.04", &acme, "br_netfilter").0,
        command,
        "`-` and `_` are the same"
    );
    assert_eq!(commands("6.8.0-1-acme", "24.04", &acme, "ip_tables").0, "", "not of this one");
    let limited = [layer("package = \"more\"\nbefore = \"24.04\"\nkernel-ending = \"-acme\"")];
    assert!(commands("6.5.0-1-acme", "23.10", &limited, "vxlan").0.ends_with(" more"));
    assert_eq!(commands("6.8.0-1-acme", "24.04", &limited, "vxlan").0, "");
    assert_eq!(commands("6.5.0-1-own", "23.10", &limited, "vxlan").0, "");
    let both = [layer("package = \"board\""), layer("package = \"site\"")];
    assert!(commands("6.8.0-1-acme", "24.04", &both, "vxlan").0.ends_with(" site"), "the later knows better");
}

#[test]
fn distributions_have_packages_for_it() {
    let commands = |os: &str, release: &str| {
        let host = empty_host()
            .file("/proc/sys/kernel/osrelease", release)
            .file(&format!("/usr/lib/modules/{release}/modules.dep"), "")
            .file(&format!("/usr/lib/modules/{release}/modules.builtin"), "")
            .file("/etc/os-release", os)
            .dir("/usr/lib/sysimage/rpm", "0755", 0);
        let outcome = look_at(host);
        findings(&outcome)[0].remedy.commands.concat()
    };
    for (os, release, command) in [
        ("ID=rhel\n", "6.12.0-55.el10.x86_64", "sudo dnf install kernel-modules-extra-6.12.0-55.el10.x86_64"),
        (
            "ID=ol\nID_LIKE=fedora\n",
            "5.15.0-1.el9uek.aarch64",
            "sudo dnf install kernel-uek-modules-extra-5.15.0-1.el9uek.aarch64",
        ),
        (
            "ID=ubuntu\nVERSION_ID=\"22.04\"\n",
            "5.15.0-1005-raspi",
            "sudo dnf install linux-modules-extra-raspi",
        ),
        ("ID=ubuntu\nVERSION_ID=\"24.04\"\n", "6.8.0-1004-raspi", ""),
        (
            "ID=opensuse-leap\nID_LIKE=\"suse opensuse\"\n",
            "6.4.0-1-default",
            "sudo zypper install kernel-default",
        ),
        ("ID=arch\n", "6.17.1-arch1-1", ""),
        ("ID=ubuntu\nID_LIKE=debian\n", "5.15.148-tegra", ""),
    ] {
        assert_eq!(commands(os, release), command, "{os}");
    }
}

#[test]
fn an_image_is_judged_by_each_of_its_kernels() {
    let dir = "/usr/lib/modules/6.1.21-v8+";
    let image = host().image();
    assert_eq!(not_met(&look_at(image.clone())), []);
    let dep = image.text(DEP).replace("/ip_tables.ko.xz:", "/x.ko.xz:");
    let mut two = image.file(&format!("{dir}/modules.dep"), &dep).file(&format!("{dir}/modules.builtin"), "");
    for line in dep.lines() {
        two = two.file(&format!("{dir}/{}", line.split(':').next().unwrap()), "");
    }
    let outcome = look_at(two);
    assert_eq!(not_met(&outcome), [("ip_tables", Verdict::Unmet)]);
    let finding = findings(&outcome).into_iter().find(|f| f.subject == "ip_tables").unwrap();
    assert_eq!(finding.found, "no such module on 6.1.21-v8+");
    assert_eq!(&*finding.evidence[0].path, dir);
    let none = look_at(empty_host().image());
    assert!(!unknown(&none).is_empty());
    assert!(unknown(&none).iter().all(|why| *why == "no kernel is installed in this image"));
}

#[test]
fn an_upgraded_kernel_and_one_that_cannot_be_seen() {
    let gone =
        || host().without(&format!("/usr/lib/modules/{RELEASE}")).without(&format!("/boot/config-{RELEASE}"));
    let outcome = look_at(gone());
    assert!(unknown(&outcome)[0].ends_with("neither a modules directory nor a readable configuration"));
    assert!(verdicts(&outcome).contains(&("ip_tables", Verdict::Met)), "it is loaded");
    let config = "CONFIG_VETH=y\n# CONFIG_BRIDGE is not set\n";
    let monolithic = look_at(gone().file(&format!("/boot/config-{RELEASE}"), config));
    assert!(verdicts(&monolithic).contains(&("veth", Verdict::Met)));
    assert!(verdicts(&monolithic).contains(&("bridge", Verdict::Unmet)));
    let next = gone()
        .file("/usr/lib/modules/7.0.0/modules.dep", "a/veth.ko:\n")
        .file("/usr/lib/modules/7.0.0/modules.order", "")
        .file("/usr/lib/modules/7.0.0/a/veth.ko", "");
    let outcome = look_at(next);
    assert!(verdicts(&outcome).contains(&("veth", Verdict::Pending(Needs::Reboot))));
    assert!(verdicts(&outcome).contains(&("bridge", Verdict::Unmet)));
}

#[test]
fn a_list_that_cannot_be_read_is_unknown() {
    let outcome = look_at(host().error(DEP, "denied"));
    assert!(unknown(&outcome).contains(&format!("{DEP} is not readable as this user").as_str()));
    assert_eq!(not_met(&outcome), []);
}

#[test]
fn nobody_asks() {
    assert!(run(&host().facts(), &Requirements::default()).skipped.is_some());
}
