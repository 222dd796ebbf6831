use super::*;
use crate::facts::boot::Edit;
use crate::facts::boot::efi::tests::with_variable;
use crate::facts::testing::{TestHost, empty_host};

const WORD: &str = "cgroup_enable=memory";

fn boot(host: TestHost) -> Boot {
    find(&host.facts(), &BootWant::default()).unwrap().unwrap()
}

fn program(host: TestHost, path: &str, text: &str) -> TestHost {
    host.file(path, text).mode(path, "0755")
}

/// The files of an image of Debian 13 for clouds.
fn debian() -> TestHost {
    let host = empty_host()
        .file(
            "/boot/grub/grub.cfg",
            include_str!("../../../../tests/fixtures/boot/grub/debian-13-cloud/grub.cfg"),
        )
        .file(DEFAULT, include_str!("../../../../tests/fixtures/boot/grub/debian-13-cloud/default-grub"));
    // Of grub-mkconfig the lines that count (Debian, grub2 2.12-9).
    let mkconfig = "#! /bin/sh\nfor x in ${sysconfdir}/default/grub.d/*.cfg ; do\n  . \"${x}\"\ndone\n";
    program(program(host, "/usr/sbin/update-grub", ""), "/usr/sbin/grub-mkconfig", mkconfig)
}

/// Those of an image of Ubuntu 24.04 for clouds.
fn ubuntu() -> TestHost {
    debian()
        .file(
            "/boot/grub/grub.cfg",
            include_str!("../../../../tests/fixtures/boot/grub/ubuntu-24.04-cloud/grub.cfg"),
        )
        .file(DEFAULT, include_str!("../../../../tests/fixtures/boot/grub/ubuntu-24.04/default-grub"))
        .file(
            "/etc/default/grub.d/50-cloudimg-settings.cfg",
            include_str!("../../../../tests/fixtures/boot/grub/ubuntu-24.04-cloud/50-cloudimg-settings.cfg"),
        )
}

/// Put together from what the scripts of grub2 print in Fedora 42 (rhboot/grub2, `util/grub.d`),
/// and an entry as kernel-core 6.14 gets it there.
fn fedora() -> TestHost {
    let config = "### BEGIN /etc/grub.d/00_header ###\n\
        if [ -f ${config_directory}/grubenv ]; then\n  load_env -f ${config_directory}/grubenv\n\
        elif [ -s $prefix/grubenv ]; then\n  load_env\nfi\n\
        if [ \"${next_entry}\" ] ; then\n   set default=\"${next_entry}\"\n   set next_entry=\n   \
        save_env next_entry\n   set boot_once=true\nelse\n   set default=\"${saved_entry}\"\nfi\n\
        ### BEGIN /etc/grub.d/08_fallback_counting ###\ninsmod increment\n\
        if [ -n \"${boot_counter}\" -a \"${boot_success}\" = \"0\" ]; then\n  \
        if  [ \"${boot_counter}\" = \"0\" -o \"${boot_counter}\" = \"-1\" ]; then\n    set default=1\n    \
        set boot_counter=-1\n  else\n    decrement boot_counter\n  fi\n  save_env boot_counter\nfi\n\
        ### BEGIN /etc/grub.d/10_linux ###\n\
        if [ -z \"${kernelopts}\" ]; then\n  set kernelopts=\"root=UUID=1 ro rhgb quiet \"\nfi\n\
        insmod blscfg\nblscfg\n\
        ### BEGIN /etc/grub.d/30_uefi-firmware ###\n\
        if [ \"$grub_platform\" = \"efi\" ]; then\n\tmenuentry 'UEFI Firmware Settings' \
        $menuentry_id_option 'uefi-firmware' {\n\t\tfwsetup\n\t}\nfi\n";
    let entry = |version: &str, options: &str| {
        format!(
            "title Fedora Linux ({version}) 42 (Server Edition)\nversion {version}\n\
             linux /vmlinuz-{version}\n\
             initrd /initramfs-{version}.img $tuned_initrd\noptions {options}\ngrub_users $grub_users\n\
             grub_arg --unrestricted\ngrub_class fedora\n"
        )
    };
    let id = "4a3f0d1b2c9e4b7f8a6d5c4b3a291807";
    let options = "root=UUID=1 ro rhgb quiet $tuned_params";
    let host = empty_host()
        .file("/boot/grub2/grub.cfg", config)
        .file("/boot/grub2/grubenv", "# GRUB Environment Block\nboot_success=1\ntuned_params=\n####\n")
        .file(&format!("{ENTRIES}/{id}-0-rescue.conf"), entry("0-rescue", "root=UUID=1 ro"))
        .file(
            &format!("{ENTRIES}/{id}-6.14.9-300.fc42.x86_64.conf"),
            entry("6.14.9-300.fc42.x86_64", options),
        )
        .file(
            &format!("{ENTRIES}/{id}-6.14.11-300.fc42.x86_64.conf"),
            entry("6.14.11-300.fc42.x86_64", &format!("{options} cgroup_enable=memory")),
        )
        .file(DEFAULT, "GRUB_DEFAULT=saved\nGRUB_CMDLINE_LINUX=\"rhgb quiet\"\nGRUB_ENABLE_BLSCFG=true\n");
    program(host, "/usr/sbin/grub2-mkconfig", "")
}

#[test]
fn debian_cloud() {
    let got = boot(debian());
    assert_eq!(got.doubt, None);
    assert_eq!(got.at[0].to_string(), "/boot/grub/grub.cfg:109");
    assert_eq!(texts(&got.next)[..2], ["root=/dev/sda1", "ro"]);
    let place = got.place.unwrap();
    assert_eq!(place.path, DEFAULT);
    assert_eq!(place.words.parameters.len(), 4);
    assert_eq!(place.carry[0].command(), "sudo update-grub");
    let text = debian().text(DEFAULT);
    let edited = place.syntax.edit(&text, Edit::Last(WORD)).unwrap();
    assert_eq!(edited, text.replace("consoleblank=0\"", "consoleblank=0 cgroup_enable=memory\""));
    // Once it is written, and before it is carried over.
    let later = boot(debian().file(DEFAULT, edited));
    let place = later.place.unwrap();
    assert!(place.words.last("cgroup_enable").is_some() && later.next.last("cgroup_enable").is_none());
    assert!(boot(debian().image()).place.is_ok());
}

#[test]
fn ubuntu_cloud() {
    let got = boot(ubuntu());
    assert_eq!(got.doubt, None);
    assert_eq!(got.next.last("panic").and_then(|word| word.value.as_deref()), Some("-1"));
    let place = got.place.unwrap();
    assert_eq!(texts(&place.words), ["console=tty1", "console=ttyS0"]);
    assert_eq!(place.words.parameters[0].at.to_string(), "/etc/default/grub.d/50-cloudimg-settings.cfg:11");
    // GRUB as its authors release it does not read that directory.
    let other = boot(program(ubuntu(), "/usr/sbin/grub-mkconfig", ". /etc/default/grub\n"));
    assert_eq!(texts(&other.place.unwrap().words), ["quiet", "splash"]);
    let none = boot(ubuntu().without("/usr/sbin/grub-mkconfig"));
    assert!(none.place.unwrap_err().contains("known to grub-mkconfig"));
}

#[test]
fn fedora_with_entries() {
    let got = boot(fedora());
    assert_eq!(got.doubt, None);
    assert!(got.at[0].path.ends_with("6.14.11-300.fc42.x86_64.conf"), "{:?}", got.at);
    assert_eq!(texts(&got.next), ["root=UUID=1", "ro", "rhgb", "quiet", WORD]);
    assert!(got.place.unwrap_err().contains("grubby --update-kernel=ALL --args=WORD"));
    let saved = "saved_entry=4a3f0d1b2c9e4b7f8a6d5c4b3a291807-6.14.9-300.fc42.x86_64\n";
    let older = boot(fedora().file("/boot/grub2/grubenv", saved));
    assert!(older.at[0].path.ends_with("6.14.9-300.fc42.x86_64.conf"), "{:?}", older.at);
    // Boots are counted down after an update: at zero it is the second entry.
    let counted = boot(fedora().file("/boot/grub2/grubenv", "boot_counter=0\nboot_success=0\n"));
    assert!(counted.at[0].path.ends_with("6.14.9-300.fc42.x86_64.conf"), "{:?}", counted.at);
    let unread = boot(fedora().error("/boot/grub2/grubenv", "denied"));
    assert!(unread.doubted(WORD).is_some());
    let none = boot(fedora().without(ENTRIES));
    assert!(none.doubted(WORD).is_some(), "{none:?}");
}

/// RHEL 8 has the words in the environment block, and RHEL 9 in each entry.
#[test]
fn rhel_with_kernelopts() {
    let rhel = |options: &str| {
        let id = "6f9cc9cb7d7845d49698c9537337cedc-4.18.0-553.el8.x86_64";
        let entry = format!(
            "title Red Hat Enterprise Linux (4.18.0-553.el8.x86_64) 8.10 (Ootpa)\n\
             version 4.18.0-553.el8.x86_64\nlinux /vmlinuz-4.18.0-553.el8.x86_64\n\
             initrd /initramfs-4.18.0-553.el8.x86_64.img $tuned_initrd\noptions {options}\n\
             id rhel-20240419133915-4.18.0-553.el8.x86_64\ngrub_users $grub_users\n\
             grub_arg --unrestricted\ngrub_class kernel\n"
        );
        let block = format!("saved_entry={id}\nkernelopts=root=/dev/mapper/rhel-root ro crashkernel=auto \n");
        boot(
            fedora()
                .without(ENTRIES)
                .file(&format!("{ENTRIES}/{id}.conf"), entry)
                .file("/boot/grub2/grubenv", block),
        )
    };
    let eight = rhel("$kernelopts $tuned_params");
    assert_eq!(texts(&eight.next), ["root=/dev/mapper/rhel-root", "ro", "crashkernel=auto"]);
    assert_eq!(eight.doubt, None);
    let nine = rhel("root=/dev/mapper/rhel-root ro crashkernel=1G-2G:192M,2G-64G:256M,64G-:512M");
    assert!(nine.next.last("crashkernel").is_some());
}

#[test]
fn on_the_efi_partition_there_may_be_the_whole_menu() {
    let config = fedora().text("/boot/grub2/grub.cfg");
    let stub = "search --no-floppy --root-dev-only --fs-uuid --set=dev 1\nset prefix=($dev)/grub2\n\
                export $prefix\nconfigfile $prefix/grub.cfg\n";
    let path = "/boot/efi/EFI/redhat/grub.cfg";
    assert_eq!(boot(fedora().file(path, stub)).doubt, None);
    let moved = boot(fedora().without("/boot/grub2/grub.cfg").file(path, &config));
    assert_eq!(texts(&moved.next).last(), Some(&WORD));
    let other = "menuentry a {\nlinux /a quiet\n}\n";
    let both = boot(fedora().file(path, other));
    assert!(both.doubted(WORD).is_some() && both.doubted("quiet").is_none());
}

#[test]
fn whoever_is_not_root_is_not_told_wrong() {
    // As grub-mkconfig leaves it since GRUB 2.06.
    let debian = boot(debian().caller(1000, &[]).error("/boot/grub/grub.cfg", "denied"));
    assert!(debian.doubted(WORD).is_some_and(|why| why.contains("not readable")), "{:?}", debian.doubt);
    assert_eq!(debian.place.unwrap().path, DEFAULT);
    let fedora = fedora().without("/boot/grub2/grub.cfg").error("/boot/grub2/grub.cfg", "denied");
    let fedora = boot(fedora.error("/boot/loader/entries", "denied"));
    assert!(fedora.doubted(WORD).is_some());
    assert!(fedora.place.unwrap_err().contains("grubby"));
    let unknown = empty_host().error("/boot/grub/grub.cfg", "denied").facts();
    assert!(matches!(find(&unknown, &BootWant::default()), Err(Unread::Denied { .. })));
}

#[test]
fn others_are_not_booted_by_grub() {
    let none = |host: TestHost| assert_eq!(find(&host.facts(), &BootWant::default()), Ok(None));
    none(empty_host());
    none(debian().without("/boot/grub/grub.cfg"));
    none(with_variable(debian(), "LoaderInfo", "systemd-boot 257.7-1"));
    none(fedora().file("/run/ostree-booted", ""));
    assert_eq!(boot(with_variable(debian(), "LoaderInfo", "GRUB 2.12-9")).doubt, None);
    let want = BootWant { method: Some(Method::Grub), ..BootWant::default() };
    let image = debian().without("/boot/grub/grub.cfg").image().facts();
    let image = find(&image, &want).unwrap().unwrap();
    assert!(image.doubted(WORD).is_some_and(|why| why == "there is no grub.cfg yet"));
    assert_eq!(image.place.unwrap().path, DEFAULT);
}

#[test]
fn a_menu_that_a_person_wrote_is_not_edited() {
    let own = boot(debian().file("/boot/grub/grub.cfg", "menuentry a {\nlinux /a quiet\n}\n"));
    assert_eq!(texts(&own.next), ["quiet"]);
    assert!(own.place.unwrap_err().contains("not made by grub-mkconfig"));
    let broken = boot(debian().append("/boot/grub/grub.cfg", "fi\n"));
    assert!(
        broken.doubted(WORD).is_some_and(|why| why.contains("/boot/grub/grub.cfg:206")),
        "{:?}",
        broken.doubt
    );
    let large = boot(debian().error("/boot/grub/grub.cfg", "too-large"));
    assert!(large.doubted(WORD).is_some());
}
