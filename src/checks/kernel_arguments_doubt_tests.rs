use super::*;
use crate::checks::testing::{findings, unknown};
use crate::facts::testing::{TestHost, fixture};
use crate::profile::Layer;
use crate::requirements::Stack;

const CONFIG: &str = "/boot/grub/grub.cfg";

fn debian() -> TestHost {
    let grub = "/usr/sbin/grub-mkconfig";
    fixture("debian-13")
        .without("/boot/grub")
        .without("/etc/default/grub.d")
        .file(CONFIG, include_str!("../../tests/fixtures/boot/grub/debian-13-cloud/grub.cfg"))
        .file(
            "/etc/default/grub",
            include_str!("../../tests/fixtures/boot/grub/debian-13-cloud/default-grub"),
        )
        .file(grub, "")
        .mode(grub, "0755")
        .file("/proc/cmdline", "root=/dev/sda1 ro\n")
}

fn outcome(host: TestHost, word: &str) -> Outcome {
    let text = format!("[[kernel-argument]]\nlevel = \"required\"\n{word}\n");
    let req = Requirements::merge(&[Stack::Podman], &[Layer::parse("site.toml", &text).unwrap()]).unwrap();
    run(&host.facts(), &req)
}

/// As `grub-mkconfig` leaves it since GRUB 2.06, only root can read what is passed next.
#[test]
fn what_cannot_be_read_is_neither_there_nor_missing() {
    let denied = debian().error(CONFIG, "denied");
    let image = outcome(denied.clone().image(), "wanted = \"quiet\"");
    assert_eq!(unknown(&image), ["/boot/grub/grub.cfg is not readable as this user"]);
    let now = outcome(denied.clone(), "wanted = \"ro\"");
    assert_eq!(findings(&now)[0].verdict, Verdict::Met, "that is passed now");
    let missing = outcome(denied, "wanted = \"quiet\"");
    assert_eq!(findings(&missing)[0].verdict, Verdict::Unmet);
    assert!(findings(&missing)[0].remedy.summary.contains("/etc/default/grub"), "{missing:?}");
}

/// GRUB may take one entry or another; what both pass is certain.
#[test]
fn entries_that_differ_leave_a_word_open() {
    let config = "if hwmatch a; then\nset default=1\nfi\nmenuentry a {\nlinux /a ro quiet\n}\n\
                  menuentry b {\nlinux /b ro\n}\n";
    let host = debian().file(CONFIG, config).image();
    assert_eq!(findings(&outcome(host.clone(), "wanted = \"ro\""))[0].verdict, Verdict::Met);
    assert_eq!(findings(&outcome(host.clone(), "forbidden = \"splash\""))[0].verdict, Verdict::Met);
    let open = outcome(host, "wanted = \"quiet\"");
    assert_eq!(unknown(&open), ["which entry of /boot/grub/grub.cfg boots cannot be told"]);
}
