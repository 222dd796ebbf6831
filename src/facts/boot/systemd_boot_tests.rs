use super::*;
use crate::facts::boot::Edit;
use crate::facts::boot::efi::tests::with_variable;
use crate::facts::testing::{TestHost, empty_host};

const WORD: &str = "cgroup_enable=memory";
const MOUNTS: &str =
    "29 1 254:2 / / rw - ext4 /dev/vda2 rw\n30 29 254:1 / /boot rw - vfat /dev/vda1 rw,fmask=0022\n";

fn boot(host: TestHost) -> Boot {
    find(&host.facts(), &BootWant::default()).unwrap().unwrap()
}

fn texts(words: &KernelCmdline) -> Vec<&str> {
    words.parameters.iter().map(|word| word.at.text.as_str()).collect()
}

/// As the wiki of Arch has it ("systemd-boot", "Adding loaders").
fn arch() -> TestHost {
    let entry = |image: &str| {
        format!(
            "title   Arch Linux\nlinux   /vmlinuz-linux\ninitrd  /{image}.img\n\
             options root=\"LABEL=arch_os\" rw\n"
        )
    };
    let host = empty_host()
        .file("/proc/self/mountinfo", MOUNTS)
        .file("/boot/vmlinuz-linux", "")
        .file("/boot/EFI/systemd/systemd-bootx64.efi", "")
        .file("/boot/loader/loader.conf", "default  arch.conf\ntimeout  4\nconsole-mode max\neditor   no\n")
        .file("/boot/loader/entries/arch.conf", entry("initramfs-linux"))
        .file("/boot/loader/entries/arch-fallback.conf", entry("initramfs-linux-fallback"));
    with_variable(host, "LoaderInfo", "systemd-boot 257.7-1-arch")
}

/// As kernel-install of systemd 257 writes it in Debian 13 (systemd-boot-tools,
/// `90-loaderentry.install`).
fn debian() -> TestHost {
    let id = "4a3f0d1b2c9e4b7f8a6d5c4b3a291807";
    let entry = |version: &str| {
        format!(
            "# Boot Loader Specification type#1 entry\n\
             # File created by /usr/lib/kernel/install.d/90-loaderentry.install (systemd 257.7-1)\n\
             title      Debian GNU/Linux 13 (trixie)\nversion    {version}\nmachine-id {id}\n\
             sort-key   debian\noptions    root=UUID=1 ro quiet systemd.machine_id={id}\n\
             linux      /{id}/{version}/linux\ninitrd     /{id}/{version}/initrd.img-{version}\n"
        )
    };
    let mut host = empty_host()
        .file("/proc/self/mountinfo", MOUNTS.replace("/boot rw", "/boot/efi rw"))
        .file("/etc/machine-id", format!("{id}\n"))
        .file("/etc/kernel/cmdline", "root=UUID=1 ro quiet\n");
    for version in ["6.12.41+deb13-amd64", "6.12.9+deb13-amd64"] {
        host = host
            .file(&format!("/boot/efi/loader/entries/{id}-{version}.conf"), entry(version))
            .file(&format!("/boot/efi/{id}/{version}/linux"), "")
            .file(&format!("/boot/vmlinuz-{version}"), "");
    }
    with_variable(host, "LoaderInfo", "systemd-boot 257.7-1")
}

#[test]
fn arch_has_entries_of_its_own() {
    let got = boot(arch());
    assert_eq!(got.at[0].to_string(), "/boot/loader/entries/arch.conf:4");
    assert_eq!((texts(&got.next), got.doubt), (vec!["root=\"LABEL=arch_os\"", "rw"], None));
    let place = got.place.unwrap();
    assert_eq!((place.path.as_str(), place.carry.len()), ("/boot/loader/entries/arch.conf", 0));
    let text = arch().text(&place.path);
    assert_eq!(
        place.syntax.edit(&text, Edit::Last(WORD)).unwrap(),
        text.replace("rw\n", "rw cgroup_enable=memory\n")
    );
    // An image says nothing of what runs.
    assert_eq!(boot(arch().image()).at[0].to_string(), "/boot/loader/entries/arch.conf:4");
}

#[test]
fn what_is_chosen_boots() {
    let path = |host: TestHost| boot(host).at[0].path.to_string();
    let arch_conf = "/boot/loader/entries/arch.conf";
    let fallback = "/boot/loader/entries/arch-fallback.conf";
    let config = "/boot/loader/loader.conf";
    assert_eq!(path(arch().file(config, "default ARCH-*\n")), fallback);
    assert_eq!(
        path(arch().file(config, "#default arch.conf\ndefault none.conf\n")),
        arch_conf,
        "later versions first"
    );
    assert_eq!(path(with_variable(arch(), "LoaderEntryDefault", "arch-fallback.conf")), fallback);
    let once = with_variable(arch(), "LoaderEntryDefault", "arch.conf");
    assert_eq!(path(with_variable(once, "LoaderEntryOneShot", "arch-fallback.conf")), fallback);
    let saved =
        with_variable(arch().file(config, "default @saved\n"), "LoaderEntryLastBooted", "arch-fallback.conf");
    assert_eq!(path(saved), fallback);
    let windows = boot(arch().file(config, "default auto-windows\n"));
    assert!(windows.doubted(WORD).is_some_and(|why| why.contains("auto-windows")) && windows.place.is_err());
    let gone = arch().without("/boot/vmlinuz-linux");
    assert!(boot(gone).doubted(WORD).is_some(), "the kernel of no entry is there");
}

#[test]
fn an_entry_for_another_architecture_is_not_shown() {
    let entry = |id: &str, architecture: &str| {
        let text = format!("linux /vmlinuz-linux\narchitecture {architecture}\noptions {id}\n");
        (format!("/boot/loader/entries/{id}.conf"), text)
    };
    let with = |x64: &str, aa64: &str| {
        let mut host = arch().without("/boot/loader/loader.conf");
        for (path, text) in [entry("x2", x64), entry("x1", aa64)] {
            host = host.file(&path, text);
        }
        host
    };
    let words = |host: TestHost| texts(&boot(host).next).join(" ");
    assert_eq!(words(with("AA64", "x64")), "x1");
    assert_eq!(words(with("x64", "x64")), "x2");
    assert!(boot(with("X64", "x64")).doubted(WORD).is_some_and(|why| why.contains("old versions")));
    let other = "/boot/EFI/systemd/systemd-bootia32.efi";
    let got = boot(with("AA64", "x64").file(other, ""));
    assert!(got.doubted(WORD).is_some_and(|why| why.contains("architecture")), "{got:?}");
    let alone = with("aa64", "x64").without("/boot/EFI/systemd/systemd-bootx64.efi");
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(18, 0);
    elf.extend([183, 0]);
    assert_eq!(words(alone.clone().file("/usr/lib/systemd/systemd", elf)), "x2", "what the system is");
    assert!(boot(alone).doubt.is_some());
}

#[test]
fn entries_are_in_the_order_of_the_menu() {
    let entry =
        |id: &str, more: &str| Entry::parse(id, &Rc::new(Source::new("", format!("linux /x\n{more}"))));
    let mut entries = [
        entry("old-1", ""),
        entry("a-6.9", "sort-key debian\nversion 6.9\n"),
        entry("a-6.12+0-3", "sort-key debian\nversion 6.12\n"),
        entry("b-6.10", "sort-key debian\nversion 6.10\n"),
        entry("old-2", ""),
        entry("c", "sort-key arch\nversion 1\n"),
    ];
    entries.sort_by(in_menu);
    let ids: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(ids, ["c", "b-6.10", "a-6.9", "old-2", "old-1", "a-6.12+0-3"]);
}

#[test]
fn debian_has_them_from_kernel_install() {
    let got = boot(debian());
    assert!(got.at[0].path.contains("6.12.41"), "{:?}", got.at);
    let place = got.place.unwrap();
    assert_eq!((place.path.as_str(), &place.syntax), (CMDLINE, &Syntax::AllLines));
    assert_eq!(texts(&place.words), ["root=UUID=1", "ro", "quiet"]);
    assert_eq!(
        place.carry[0].command(),
        "sudo kernel-install add 6.12.41+deb13-amd64 /boot/vmlinuz-6.12.41+deb13-amd64"
    );
    let edited = place.syntax.edit("root=UUID=1\n  ro\n", Edit::Last(WORD)).unwrap();
    assert_eq!(edited, "root=UUID=1\n  ro cgroup_enable=memory\n");
    let fedora = debian()
        .file("/usr/lib/modules/6.12.41+deb13-amd64/vmlinuz", "")
        .file("/usr/lib/systemd/libsystemd-shared-257.so", "");
    assert_eq!(boot(fedora).place.unwrap().carry[0].command(), "sudo kernel-install add-all");
    let none = boot(debian().without(CMDLINE));
    assert!(none.place.unwrap_err().contains("repeats /proc/cmdline"));
    let vendor = debian().without(CMDLINE).file(VENDOR_CMDLINE, "quiet\n");
    assert!(boot(vendor.clone()).place.unwrap_err().contains("copy /usr/lib/kernel/cmdline there first"));
    let image = vendor.file("/boot/efi/EFI/systemd/systemd-bootx64.efi", "").image();
    assert_eq!(boot(image).place.unwrap().path, VENDOR_CMDLINE);
}

#[test]
fn other_tools_write_entries_too() {
    let sdbootutil = arch().file("/usr/bin/sdbootutil", "").mode("/usr/bin/sdbootutil", "0755");
    assert!(boot(sdbootutil).place.unwrap_err().contains("update-all-entries"));
    let pop = arch().file("/etc/kernelstub/configuration", "{}");
    assert!(boot(pop).place.unwrap_err().contains("--add-options"));
    assert!(boot(arch().file("/etc/NIXOS", "")).place.unwrap_err().contains("boot.kernelParams"));
}

#[test]
fn what_is_in_a_unified_image_is_not_read() {
    let image = "/boot/EFI/Linux/arch-linux.efi";
    let both = boot(arch().file(image, "MZ").file("/boot/loader/loader.conf", "timeout 3\n"));
    assert!(both.doubted(WORD).is_some() && both.place.is_err());
    assert_eq!(boot(arch().file(image, "MZ")).doubt, None, "loader.conf names an entry");
    let only = arch().without("/boot/loader/entries").file(image, "MZ");
    let got = boot(only.clone());
    assert!(got.doubted(WORD).is_some_and(|why| why.contains(image)));
    assert!(got.place.unwrap_err().contains("what builds it is not known"));
    // As the wiki of Arch has it ("Unified kernel image", "mkinitcpio").
    let preset = "ALL_kver=\"/boot/vmlinuz-linux\"\nPRESETS=('default')\n\
                  #default_image=\"/boot/initramfs-linux.img\"\n\
                  default_uki=\"/boot/EFI/Linux/arch-linux.efi\"\n";
    let built = only.clone().file("/etc/mkinitcpio.d/linux.preset", preset).file(CMDLINE, "root=UUID=1 rw\n");
    let place = boot(built.clone()).place.unwrap();
    assert_eq!((place.path.as_str(), place.carry[0].command().as_str()), (CMDLINE, "sudo mkinitcpio -P"));
    assert!(boot(built.file("/etc/cmdline.d/root.conf", "rw\n")).place.unwrap_err().contains("cmdline.d"));
    let ukify = only.file("/etc/kernel/install.conf", "layout=uki\n").file(CMDLINE, "root=UUID=1 rw\n");
    assert_eq!(boot(ukify).place.unwrap().carry[0].command(), "sudo kernel-install add-all");
}

#[test]
fn others_are_not_booted_by_it() {
    let none = |host: TestHost| assert_eq!(find(&host.facts(), &BootWant::default()), Ok(None));
    none(empty_host());
    none(with_variable(arch(), "LoaderInfo", "GRUB 2.12"));
    // Entries for GRUB, as in Fedora.
    none(arch().without("/boot/EFI").image());
    none(arch().without("/sys/firmware"));
    none(arch().file("/run/ostree-booted", ""));
}

#[test]
fn whoever_is_not_root_is_not_told_wrong() {
    let denied = arch().error("/boot/loader/entries", "denied").caller(1000, &[]);
    let got = boot(denied);
    assert!(got.doubted(WORD).is_some_and(|why| why.contains("not readable")) && got.place.is_err());
}
