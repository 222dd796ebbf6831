use proptest::prelude::*;

use super::super::script;
use super::*;

/// What the scripts of grub-common 2.12-9+deb13u2 print, with the settings of grub-cloud-amd64
/// 0.1.1.
const DEBIAN_CLOUD: &str = include_str!("../../../../tests/fixtures/boot/grub/debian-13-cloud/grub.cfg");
/// What those of grub-common 2.12-1ubuntu7 print, with its own settings.
const UBUNTU: &str = include_str!("../../../../tests/fixtures/boot/grub/ubuntu-24.04/grub.cfg");
/// The same with the settings of the cloud images of Ubuntu.
const UBUNTU_CLOUD: &str = include_str!("../../../../tests/fixtures/boot/grub/ubuntu-24.04-cloud/grub.cfg");

fn block(text: &str) -> Block {
    Block::parse(&Source::new("/boot/grub/grubenv", text))
}

fn with(text: &str, block: Block, custom: Option<&str>) -> Menu {
    let nodes = script::parse(text).unwrap();
    let custom = custom.map(|text| script::parse(text).unwrap());
    read(&nodes, &Beside { block, entries: &|| Ok(Vec::new()), custom, user: None })
}

fn words(menu: &Menu) -> Vec<&str> {
    menu.lines.iter().map(|line| line.words.trim()).collect()
}

#[test]
fn the_first_entry_boots_by_default() {
    let debian = with(DEBIAN_CLOUD, Block::Absent, None);
    assert_eq!(
        words(&debian),
        ["root=/dev/sda1 ro console=tty0 console=ttyS0,115200 earlyprintk=ttyS0,115200 consoleblank=0"]
    );
    assert_eq!((debian.trouble, debian.lines[0].line), (None, 109));
    let ubuntu = with(UBUNTU, Block::Absent, None);
    assert_eq!(
        words(&ubuntu),
        ["root=/dev/sda1 ro quiet splash", "root=/dev/sda1 ro quiet splash vt.handoff=7"],
        "what a function sets may be set or not"
    );
    let cloud = with(UBUNTU_CLOUD, Block::Absent, None);
    let root = "root=PARTUUID=26f22d2b-892e-459e-ba29-0fdab351f296 ro console=tty1 console=ttyS0";
    assert_eq!(words(&cloud), [format!("{root} panic=-1")]);
    let failed = with(UBUNTU_CLOUD, block("# GRUB Environment Block\ninitrdfail=1\n####"), None);
    assert_eq!(words(&failed), [root]);
}

#[test]
fn grubenv_says_what_is_next() {
    let advanced = "gnulinux-advanced-5f9e3d7c-1111-4a4a-9b9b-0123456789ab";
    let recovery = format!(
        "{advanced}>gnulinux-6.12.43+deb13-cloud-amd64-recovery-5f9e3d7c-1111-4a4a-9b9b-0123456789ab"
    );
    for (next, has_single) in [
        ("0", false),
        ("1>0", false),
        ("1>1", true),
        ("1>3", true),
        (&recovery, true),
        ("Advanced options for Debian GNU/Linux>1", true),
        ("gone", false),
        // GRUB tries the number inside of the menu, too.
        ("1", true),
    ] {
        let menu = with(DEBIAN_CLOUD, block(&format!("next_entry={next}\n")), None);
        assert_eq!(menu.trouble, None, "{next}");
        assert_eq!(menu.lines.len(), 1, "{next}");
        assert_eq!(menu.lines[0].words.contains(" single"), has_single, "{next}");
    }
    let saved = DEBIAN_CLOUD.replace("set default=\"0\"", "set default=\"${saved_entry}\"");
    let menu = with(&saved, block(&format!("saved_entry={advanced}>2\n")), None);
    assert_eq!(menu.lines[0].line, 149);
    let previous = with(&saved, block("saved_entry=0\nprev_saved_entry=1>1\n"), None);
    assert!(!previous.lines[0].words.contains("single"), "it is put back after the default is set");
}

#[test]
fn where_the_entry_cannot_be_told_all_count() {
    let unread = with(DEBIAN_CLOUD, Block::Unread, None);
    assert_eq!((unread.trouble.as_deref(), unread.lines.len()), (None, 5));
    let suse = with(DEBIAN_CLOUD, block("env_block=256+1\n"), None);
    assert_eq!(suse.lines.len(), 5, "what is set is in blocks of the disk");
    let other = DEBIAN_CLOUD.replace("  load_env\n", "  load_env -f ${env_block}\n");
    assert_eq!(with(&other, block("a=b\n"), None).lines.len(), 5);
    let custom = with(DEBIAN_CLOUD, Block::Absent, Some("menuentry a {\nlinux /a b\n}\nset default=a\n"));
    assert_eq!(words(&custom).len(), 6, "whether it is read is a condition: {custom:?}");
    let harmless = with(DEBIAN_CLOUD, Block::Absent, Some("# nothing\n"));
    assert_eq!(harmless.lines.len(), 1);
    let by_condition =
        "if hwmatch x; then\nmenuentry a { linux /a x\n}\nfi\nmenuentry b { linux /b y\n}\nset default=0\n";
    assert_eq!(words(&with(by_condition, Block::Absent, None)), ["x", "y"]);
    let by_name = by_condition.replace("default=0", "default=b");
    assert_eq!(words(&with(&by_name, Block::Absent, None)), ["y"]);
    let firmware = UBUNTU.replace("set default=\"0\"", "set default=uefi-firmware");
    let firmware = with(&firmware, Block::Absent, None);
    assert_eq!(firmware.trouble, None);
    assert!(firmware.lines.len() > 2, "it may not be there: {firmware:?}");
}

#[test]
fn what_boots_no_linux_is_told() {
    for (text, why) in [
        ("menuentry Xen {\nmultiboot2 /xen\nmodule2 /vmlinuz a\n}\n", "starts no Linux of itself"),
        ("menuentry a {\nchainloader /x.efi\n}\n", "starts no Linux of itself"),
        ("configfile /other.cfg\n", "goes on in another file"),
        ("set timeout=5\n", "no entry"),
        ("menuentry a {\nlinux /a $prefix\n}\n", "cannot be told"),
        ("function f {\nset default=1\n}\nmenuentry a { linux /a b\n}\nf\n", "a function sets"),
        ("for x in 1 2; do menuentry $x { linux /$x a\n}\ndone\n", "cannot be told"),
        ("uki\n", "unified kernel images"),
        (
            "function f {\nmenuentry b { linux /b x\n}\n}\nf\nmenuentry a { linux /a y\n}\n",
            "a function boots",
        ),
        ("function f {\nif x; then linux /b x; fi\n}\nmenuentry a { linux /a y\nf\n}\n", "a function boots"),
        ("function f {\nblscfg\n}\nf\nmenuentry a { linux /a y\n}\n", "a function boots"),
        ("set c=menuentry\n$c b\nmenuentry a { linux /a y\n}\n", "a variable names a command"),
        ("menuentry a { linux /a y\n$c /b x\n}\n", "cannot be told"),
        ("menuentry a { linux /a y\nsource /b\n}\n", "cannot be told"),
        ("menuentry a { linux /a y\nfor x in b c; do linux /$x z\ndone\n}\n", "cannot be told"),
        ("linux /b x\nboot\nmenuentry a { linux /a y\n}\n", "outside of an entry"),
        ("eval $x\nmenuentry a { linux /a y\n}\n", "outside of an entry"),
        ("if chainloader /b; then boot; fi\nmenuentry a { linux /a y\n}\n", "a condition boots"),
    ] {
        let menu = with(text, Block::Absent, None);
        assert!(menu.trouble.as_deref().is_some_and(|got| got.contains(why)), "{text}: {menu:?}");
    }
}

/// As 01_users of grub2 prints it in Fedora and RHEL.
#[test]
fn a_file_with_a_password_has_no_entries() {
    let text = "if [ -f ${config_directory}/user.cfg ]; then\n  source ${config_directory}/user.cfg\n\
                elif [ -f ${prefix}/user.cfg ]; then\n  source ${prefix}/user.cfg\nfi\n\
                if [ -n \"${GRUB2_PASSWORD}\" ]; then\n  set superusers=\"root\"\n  \
                password_pbkdf2 root ${GRUB2_PASSWORD}\nfi\n\
                menuentry a { linux /a x\n}\nmenuentry b { linux /b y\n}\nset default=gone\n";
    let nodes = script::parse(text).unwrap();
    let with = |user: Option<&str>| {
        let user = user.map(|text| script::parse(text).unwrap());
        read(&nodes, &Beside { block: Block::Absent, entries: &|| Ok(Vec::new()), custom: None, user })
    };
    for none in ["", "GRUB2_PASSWORD=grub.pbkdf2.sha512.10000.AB.CD\n"] {
        let menu = with(Some(none));
        assert_eq!((words(&menu), menu.trouble.as_deref()), (vec!["x"], None), "{none}");
    }
    assert!(with(None).trouble.is_some(), "nobody may look into it");
    assert_eq!(words(&with(Some("set default=b\nmenuentry c { linux /c z\n}\n"))).len(), 3);
}

#[test]
fn arguments_reach_the_kernel_as_grub_writes_them() {
    for (line, got) in [
        ("linux /a dyndbg=\"file a.c +p\" b", "\"dyndbg=file a.c +p\" b"),
        ("linux /a 'a\"b'", "a\\\"b"),
        ("set x='1 2'\nlinux /a $x \"$x\"", "1 2 \"1 2\""),
        ("probe -u $root --set=uuid\nlinux /a root=UUID=$uuid ro", "root=UUID=\u{fffd} ro"),
        ("if [ \"$a\" = b ]; then linux /a x; else linux /a y; fi", "y"),
        ("linux /a a\\ b # c", "\"a b\""),
        ("linux /a $none b", "b"),
    ] {
        let menu = with(&format!("menuentry a {{\n{line}\n}}\n"), Block::Absent, None);
        assert_eq!((words(&menu), menu.trouble.clone()), (vec![got], None), "{line}");
    }
}

#[test]
fn a_hostile_file_is_no_work() {
    for text in [
        "if $a; then set b=1; fi\n".repeat(20_000),
        "menuentry a {\nlinux /a b\n}\n".repeat(10_000),
        "set a=$a$a\n".repeat(20_000),
        (0..40_000).map(|n| format!("set v{n}=$v\n")).collect(),
        "submenu a {\n".repeat(20) + &"}\n".repeat(20),
        (0..5000).map(|n| format!("menuentry {n} {{\nif $x; then linux /a {n}; fi\n}}\n")).collect(),
    ] {
        let _ = with(&text, Block::Unread, None);
    }
}

proptest! {
    #[test]
    fn never_panics(
        text in "(if |\\[ \"\\$a\" \\]|; then |else |fi|menuentry a |submenu b |\\{|\\}|set default=|\
                 set a=|1|a>b|\\$a|\n|;|linux /x y|blscfg|load_env|source x|'|\"){0,30}",
        env in "(default=|next_entry=|a=|1|\\\\|\n){0,8}"
    ) {
        if let Ok(nodes) = script::parse(&text) {
            let beside = Beside { block: block(&env), entries: &|| Ok(Vec::new()), custom: None, user: None };
            let menu = read(&nodes, &beside);
            prop_assert!(!menu.lines.is_empty() || menu.trouble.is_some(), "{text:?}");
        }
    }
}
