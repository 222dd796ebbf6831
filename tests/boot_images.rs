//! Words for the kernel in images, by the boot loader that they have: one word in one file, and back.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::disallowed_methods, reason = "tests make files and start the binary")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{Image, differences, edgeprep, report, snapshot, status, stderr, stdout};
use serde_json::Value;

const SITE: &str = "etc/edgeprep/edgeprep.toml";
const WORD: &str = "systemd.unified_cgroup_hierarchy=1";

/// A small Debian whose kernel shall be passed a word.
fn image(files: &[(&str, &str)]) -> Image {
    let image = Image::debian();
    let wanted = format!("[[kernel-argument]]\nwanted = \"{WORD}\"\nlevel = \"required\"\nwhy = \"test\"\n");
    image.put(SITE, &wanted);
    // Where the journal of fixes is, so that the directory is no change.
    image.put("var/lib/edgeprep-was-here", "");
    for (path, text) in files {
        image.put(path, text);
        if path.contains("/bin/") || path.contains("/sbin/") {
            fs::set_permissions(image.path(path), PermissionsExt::from_mode(0o755)).unwrap();
        }
    }
    image
}

fn fixture(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/boot").join(path);
    fs::read_to_string(path).unwrap()
}

fn run(command: &str, image: &Image, more: &[&str]) -> Value {
    let arguments = [command, "--root", image.root(), "--yes", "--format", "json"];
    let output = edgeprep(&[&arguments, more].concat());
    let text = stdout(&output);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{}", stderr(&output)))
}

/// Fixes the one check, says which files changed, and undoes it.
fn one_word(image: &Image, path: &str, edited: &str) -> Value {
    let root = image.path("");
    let before = snapshot(&root);
    let asked = ["--stack", "podman", "--user", "edge", "--select", "kernel-arguments"];
    let fixed = run("fix", image, &asked);
    let files: Vec<&str> =
        fixed["files"].as_array().unwrap().iter().filter_map(|file| file["path"].as_str()).collect();
    assert!(files.contains(&format!("/{path}").as_str()), "{fixed}");
    assert_eq!(fs::read_to_string(image.path(path)).unwrap(), edited);
    let changed = differences(&before, &snapshot(&root));
    let changed: Vec<&String> = changed.iter().filter(|change| !change.contains("var/lib")).collect();
    assert_eq!(changed, [path], "one file and no other");
    let again = run("fix", image, &asked);
    assert_eq!(again["changed"], false, "{again}");
    run("undo", image, &[]);
    let left: Vec<String> = differences(&before, &snapshot(&root));
    let left: Vec<&String> = left.iter().filter(|change| !change.contains("var/lib")).collect();
    assert_eq!(left, Vec::<&String>::new());
    fixed
}

/// What the check says of the image.
fn verdict(image: &Image) -> String {
    let (report, _) = report(&["--root", image.root(), "--stack", "podman", "--user", "edge"]);
    status(&report, "kernel-arguments").to_owned()
}

#[test]
fn debian_with_grub() {
    let text = fixture("grub/debian-13-cloud/default-grub");
    let image = image(&[
        ("boot/grub/grub.cfg", &fixture("grub/debian-13-cloud/grub.cfg")),
        ("etc/default/grub", &text),
        ("usr/sbin/grub-mkconfig", "#! /bin/sh\n"),
        ("usr/sbin/update-grub", "#! /bin/sh\n"),
    ]);
    assert_eq!(verdict(&image), "fail");
    let edited = text.replace("consoleblank=0\"", &format!("consoleblank=0 {WORD}\""));
    let fixed = one_word(&image, "etc/default/grub", &edited);
    assert!(fixed.to_string().contains("update-grub"), "{fixed}");
    image.put("etc/default/grub", &edited);
    assert_eq!(verdict(&image), "fail", "nobody has carried it over");
    let config =
        fixture("grub/debian-13-cloud/grub.cfg").replace("consoleblank=0", &format!("consoleblank=0 {WORD}"));
    image.put("boot/grub/grub.cfg", &config);
    assert_eq!(verdict(&image), "pass");
}

#[test]
fn ubuntu_with_a_drop_in() {
    let text = fixture("grub/ubuntu-24.04/default-grub");
    let image = image(&[
        ("boot/grub/grub.cfg", &fixture("grub/ubuntu-24.04-cloud/grub.cfg")),
        ("etc/default/grub", &text),
        (
            "etc/default/grub.d/50-cloudimg-settings.cfg",
            &fixture("grub/ubuntu-24.04-cloud/50-cloudimg-settings.cfg"),
        ),
        ("usr/sbin/grub-mkconfig", "#! /bin/sh\nfor x in ${sysconfdir}/default/grub.d/*.cfg ; do\n"),
    ]);
    let edited = text.replace("GRUB_CMDLINE_LINUX=\"\"", &format!("GRUB_CMDLINE_LINUX=\"{WORD}\""));
    one_word(&image, "etc/default/grub", &edited);
}

#[test]
fn arch_with_systemd_boot() {
    let entry =
        "title   Arch Linux\nlinux   /vmlinuz-linux\ninitrd  /initramfs-linux.img\noptions root=UUID=1 rw\n";
    let path = "boot/loader/entries/arch.conf";
    let image =
        image(&[(path, entry), ("boot/vmlinuz-linux", ""), ("boot/EFI/systemd/systemd-bootx64.efi", "")]);
    one_word(&image, path, &entry.replace("rw\n", &format!("rw {WORD}\n")));
}

#[test]
fn bootc_with_a_file_of_ours() {
    let image = image(&[
        ("usr/bin/bootc", ""),
        ("usr/lib/bootc/kargs.d/10-example.toml", "kargs = [\"mitigations=auto,nosmt\"]\n"),
    ]);
    assert_eq!(verdict(&image), "fail");
    let path = "usr/lib/bootc/kargs.d/90-rootless.toml";
    let text = format!("kargs = [\"{WORD}\"]\n");
    one_word(&image, path, &text);
    image.put(path, &text);
    assert_eq!(verdict(&image), "pass");
}

#[test]
fn two_boot_loaders_are_not_chosen_from() {
    let image = image(&[
        ("boot/grub/grub.cfg", &fixture("grub/debian-13-cloud/grub.cfg")),
        ("etc/default/grub", &fixture("grub/debian-13-cloud/default-grub")),
        ("usr/sbin/grub-mkconfig", "#! /bin/sh\n"),
        ("boot/efi/loader/entries/a.conf", "linux /linux\noptions quiet\n"),
        ("boot/efi/linux", ""),
        ("boot/efi/EFI/systemd/systemd-bootx64.efi", ""),
    ]);
    assert_eq!(verdict(&image), "unknown");
}
