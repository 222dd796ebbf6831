//! Whole reports on distributions that are put together from what their packages hold
//! (`tests/fixtures/packages`): what is unknown, what is read, and in whose words repairs are.

use std::collections::BTreeSet;

use crate::facts::testing::{TestHost, distribution, packages};
use crate::inspection::{Request, inspect};
use crate::report::{Report, ReportedFinding, Status};
use crate::requirements::Stack;

/// Each folder; what installs packages where it runs, and in an image of it. Where no command does, the words
/// that say what to do.
const ALL: [(&str, &str, &str); 15] = [
    ("alpine-3.22", "sudo apk add", "chroot $ROOT apk add"),
    ("arch", "sudo pacman -S", "chroot $ROOT pacman -S"),
    ("centos-bootc", "RUN dnf -y install", "RUN dnf -y install"),
    ("fedora-43", "sudo dnf install", "chroot $ROOT dnf install"),
    ("fedora-iot", "sudo rpm-ostree install", "RUN dnf -y install"),
    ("flatcar", "/etc/flatcar/enabled-sysext.conf", "/etc/flatcar/enabled-sysext.conf"),
    ("opensuse-microos", "sudo transactional-update pkg install", "chroot $ROOT zypper install"),
    ("raspberry-pi-os-13", "sudo apt install", "chroot $ROOT apt install"),
    ("rhel-10", "sudo dnf install", "chroot $ROOT dnf install"),
    ("rhel-9", "sudo dnf install", "chroot $ROOT dnf install"),
    ("sl-micro-6", "sudo transactional-update pkg install", "chroot $ROOT zypper install"),
    ("ubuntu-24.04", "sudo apt install", "chroot $ROOT apt install"),
    ("ubuntu-26.04-raspi", "sudo apt install", "chroot $ROOT apt install"),
    ("yocto", "IMAGE_INSTALL:append", "IMAGE_INSTALL:append"),
    ("yocto-opkg", "sudo opkg install", "chroot $ROOT opkg install"),
];

/// What each family of installers is known by in a message.
const INSTALLERS: [&str; 9] = [
    "apt install",
    "apk add",
    "pacman -S",
    "dnf ",
    "rpm-ostree",
    "zypper",
    "transactional-update",
    "opkg",
    "IMAGE_INSTALL",
];

const PROGRAMS: [&str; 13] = [
    "podman",
    "conmon",
    "crun",
    "catatonit",
    "pasta",
    "slirp4netns",
    "nft",
    "iptables",
    "newuidmap",
    "newgidmap",
    "fuse-overlayfs",
    "mount.fuse3",
    "jq",
];

fn report(host: TestHost, stacks: &[Stack]) -> Report {
    let request = Request {
        profile: "generic".to_owned(),
        stacks: stacks.to_vec(),
        users: vec!["edge".to_owned()],
        today: "2026-01-01".to_owned(),
        ..Request::default()
    };
    inspect(&host.facts(), &request).unwrap()
}

/// A host on which none of the programs is installed that packages bring, but for Podman itself where its
/// configuration is looked at.
fn bare(name: &str, with_podman: bool) -> TestHost {
    let programs = PROGRAMS.iter().filter(|program| !with_podman || **program != "podman");
    let paths = programs.flat_map(|program| {
        ["/usr/bin", "/usr/sbin", "/usr/lib/podman", "/usr/libexec/podman", "/bin", "/sbin"]
            .map(|dir| format!("{dir}/{program}"))
    });
    paths.fold(distribution(name), |host, path| host.without(&path)).without("/etc/containers")
}

/// What is said of a host: everything but the names and the documentation of checks.
fn said(report: &Report) -> String {
    let rows = report.checks.iter().flat_map(|row| {
        let findings = row.findings.iter().map(|finding| serde_json::to_string(finding).unwrap());
        findings.chain(row.reason.clone()).map(|text| format!("{}: {text}\n", row.id))
    });
    rows.collect()
}

fn unknown(report: &Report) -> BTreeSet<&'static str> {
    report.checks.iter().filter(|row| row.status == Status::Unknown).map(|row| row.id).collect()
}

fn found<'a>(report: &'a Report, id: &str, subject: &str) -> &'a ReportedFinding {
    let findings = report.checks.iter().filter(|row| row.id == id).flat_map(|row| &row.findings);
    let mut findings = findings.filter(|finding| finding.subject == subject);
    findings.next().unwrap_or_else(|| panic!("{id} says nothing of {subject}"))
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the folder of fixtures is listed")]
fn every_file_has_a_source() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/packages");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    let names: BTreeSet<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(names, ALL.iter().map(|(name, ..)| (*name).to_owned()).collect());
    for name in names {
        let (sources, files) = packages(&name);
        let told: BTreeSet<&str> = sources.file.iter().map(|part| part.path.as_str()).collect();
        assert_eq!(told, files.keys().map(String::as_str).collect(), "{name}");
        assert!(
            !sources.about.is_empty() && sources.file.iter().all(|part| !part.source.is_empty()),
            "{name}"
        );
        assert!(sources.absent.iter().all(|part| !part.what.is_empty() && !part.why.is_empty()), "{name}");
    }
}

#[test]
fn packages_are_installed_in_the_distributions_own_words() {
    for (name, running, image) in ALL {
        for (own, host) in [(running, bare(name, false)), (image, bare(name, false).image())] {
            let text = said(&report(host, &Stack::ALL));
            assert!(text.contains(own), "{name}: no {own:?} in {text}");
            for other in INSTALLERS.iter().filter(|other| !own.contains(*other)) {
                assert!(!text.contains(other), "{name}: {other:?} in {text}");
            }
        }
    }
}

#[test]
fn nothing_of_debian_is_said_elsewhere() {
    let debians = ["raspberry", "ubuntu"];
    let elsewhere = ALL.iter().filter(|(name, ..)| !debians.iter().any(|debian| name.starts_with(debian)));
    for (name, ..) in elsewhere {
        for host in [distribution(name), bare(name, false), bare(name, true)] {
            for host in [host.clone(), host.image()] {
                let text = said(&report(host, &Stack::ALL));
                for word in
                    ["debian", "/var/lib/dpkg", "/etc/apt", "apt-get", "systemd-sysv", "uidmap package"]
                {
                    let at = text.lines().find(|line| line.to_lowercase().contains(word));
                    assert_eq!(at, None, "{name}: {word}");
                }
            }
        }
    }
}

/// What nothing tells on hosts of one family, besides what logins of the user start with, which only the user
/// sees. RPM databases are not read: Podman's own files tell its version from 5.3 on. Which program netavark
/// was built to set up a firewall with is known of few distributions.
#[test]
fn what_is_unknown_is_what_nothing_tells() {
    let none: &[&str] = &[];
    let network = ["podman-network", "podman-version", "rootless-network", "slirp4netns-version"];
    let versions = ["podman-version", "rootless-network", "slirp4netns-version"];
    for (name, expected) in [
        ("arch", &versions[2..]),
        ("centos-bootc", &versions[2..]),
        ("fedora-43", &versions[2..]),
        ("fedora-iot", &versions[2..]),
        ("flatcar", &network),
        ("opensuse-microos", &["podman-network", "slirp4netns-version"]),
        ("raspberry-pi-os-13", none),
        ("rhel-10", &versions[2..]),
        ("rhel-9", &versions),
        ("sl-micro-6", &versions),
        ("ubuntu-24.04", none),
        ("ubuntu-26.04-raspi", none),
        ("yocto", &network),
        ("yocto-opkg", &network),
    ] {
        let running = report(distribution(name), &Stack::ALL);
        let mut found = unknown(&running);
        assert!(found.remove("docker-host"), "{name}");
        assert_eq!(found, expected.iter().copied().collect(), "{name}");
        let mut image = unknown(&report(distribution(name).image(), &Stack::ALL));
        // The machine decides these, and the program of systemd is no real one here.
        image.retain(|id| !["page-size", "system-clock", "user-tasks", "userns-limit"].contains(id));
        // These were given no profile.
        if ["raspberry-pi-os-13", "ubuntu-26.04-raspi"].contains(&name) {
            assert!(image.remove("kernel-arguments"), "{name}");
        }
        assert_eq!(image, expected.iter().copied().collect(), "{name}, image");
    }
}

#[test]
fn fedora_delegates_for_uresourced_and_kills_by_oomd() {
    for host in [distribution("fedora-43"), distribution("fedora-43").image()] {
        let report = report(host, &[Stack::Kind]);
        let delegated = found(&report, "cgroup-delegation", "cpuset");
        let uresourced = "/usr/lib/systemd/system/user@.service.d/00-uresourced.conf:5";
        assert_eq!(delegated.evidence[0].to_string(), uresourced);
        let oomd = found(&report, "user-oomd", "ManagedOOMMemoryPressure of app.slice of the user manager");
        assert_eq!((oomd.found.as_str(), oomd.verdict), ("kill", "unmet"));
        let vendor = "/usr/lib/systemd/user/slice.d/10-oomd-per-slice-defaults.conf:2";
        assert_eq!(oomd.evidence[0].to_string(), vendor);
    }
}

/// What kernel-modules-core does not have is in a package that is named after the release of the kernel.
#[test]
fn fedora_and_rhel_have_more_modules_in_a_package() {
    for (name, package) in [
        ("fedora-43", "kernel-modules-extra-6.17.8-300.fc43.x86_64"),
        ("rhel-9", "kernel-modules-extra-5.14.0-503.11.1.el9_5.x86_64"),
        ("rhel-10", "kernel-modules-extra-6.12.0-55.9.1.el10_0.x86_64"),
    ] {
        let lists = distribution(name).facts().kernels().unwrap()[0].modules_dir.clone().unwrap();
        let host = distribution(name).file(&format!("{lists}/modules.dep"), "").image();
        let report = report(host, &[Stack::K3s]);
        let module = found(&report, "module-available", "br_netfilter");
        assert_eq!(module.remedy.commands, [format!("chroot $ROOT dnf install {package}")], "{name}");
    }
}

/// The switch is in a file of Ubuntu's own, and so is the profile of Podman; K3s has none.
#[test]
fn ubuntu_restricts_user_namespaces_by_its_own_file() {
    for name in ["ubuntu-24.04", "ubuntu-26.04-raspi"] {
        let host =
            distribution(name).file("/usr/local/bin/k3s", "").mode("/usr/local/bin/k3s", "0755").image();
        let report = report(host, &[Stack::Podman, Stack::K3s]);
        let k3s = found(&report, "userns-apparmor", "/usr/local/bin/k3s");
        assert_eq!((k3s.verdict, k3s.found.as_str()), ("unmet", "no profile attaches to it"), "{name}");
        assert_eq!(k3s.evidence[0].to_string(), "/usr/lib/sysctl.d/10-apparmor.conf:1");
        let podman = found(&report, "userns-apparmor", "/usr/bin/podman");
        assert_eq!((podman.verdict, podman.found.as_str()), ("met", "profile podman"), "{name}");
    }
}

#[test]
fn ubuntu_kills_by_oomd() {
    let report = report(distribution("ubuntu-24.04"), &[Stack::Kind]);
    let oomd = found(&report, "user-oomd", "ManagedOOMMemoryPressure of user@1000.service");
    let vendor = "/usr/lib/systemd/system/user@.service.d/10-oomd-user-service-defaults.conf:2";
    assert_eq!((oomd.verdict, oomd.evidence[0].to_string().as_str()), ("unmet", vendor));
}

/// The new kernel is in the slot that boots next, whose name says nothing of the release.
#[test]
fn an_upgraded_raspberry_pi_waits_for_its_reboot() {
    let running = "6.8.0-1000-raspi";
    let host = distribution("ubuntu-26.04-raspi").file("/proc/sys/kernel/osrelease", format!("{running}\n"));
    let report = report(host, &[Stack::Podman]);
    let kernel = found(&report, "kernel-modules-directory", &format!("/usr/lib/modules/{running}"));
    assert_eq!(
        (kernel.verdict, kernel.remedy.summary.as_str()),
        ("pending", "reboot into Linux 7.0.0-1004-raspi")
    );
    assert_eq!(&*kernel.evidence[3].path, "/boot/firmware/current/vmlinuz");
}

/// SUSE takes delegation away from user managers, and SLE the limit on tasks.
#[test]
fn suse_delegates_nothing() {
    for name in ["opensuse-microos", "sl-micro-6"] {
        let report = report(distribution(name).image(), &[Stack::Kind]);
        for controller in ["cpu", "cpuset"] {
            let delegated = found(&report, "cgroup-delegation", controller);
            assert_eq!((delegated.verdict, delegated.found.as_str()), ("unmet", "not delegated"), "{name}");
            let vendor = "/usr/lib/systemd/system/user@.service.d/20-defaults-SUSE.conf:2";
            assert_eq!(delegated.evidence[0].to_string(), vendor);
        }
    }
    let report = report(distribution("sl-micro-6").image(), &[Stack::Kind]);
    let tasks = found(&report, "user-tasks", "TasksMax of user-1000.slice");
    assert_eq!((tasks.verdict, tasks.found.as_str()), ("met", "unlimited"));
}

#[test]
fn flatcar_loads_modules_from_its_base_image() {
    let report = report(distribution("flatcar").image(), &[Stack::K3s]);
    assert_eq!(found(&report, "module-loaded", "br_netfilter").verdict, "met");
    assert_eq!(found(&report, "module-loaded", "ip_tables").verdict, "unmet");
}
