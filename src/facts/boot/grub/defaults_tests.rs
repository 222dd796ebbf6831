use proptest::prelude::*;

use super::*;

const FILE: &str = "/etc/default/grub";
const WORD: &str = "cgroup_enable=memory";

/// As grub-cloud-amd64 0.1.1 installs it, for the cloud images of Debian 13.
const DEBIAN_CLOUD: &str = include_str!("../../../../tests/fixtures/boot/grub/debian-13-cloud/default-grub");
/// As grub-common 2.12-1ubuntu7 has it for Ubuntu 24.04.
const UBUNTU: &str = include_str!("../../../../tests/fixtures/boot/grub/ubuntu-24.04/default-grub");
/// Of the cloud images of Ubuntu, in /etc/default/grub.d.
const CLOUDIMG: &str =
    include_str!("../../../../tests/fixtures/boot/grub/ubuntu-24.04-cloud/50-cloudimg-settings.cfg");

fn defaults(files: &[(&str, &str)]) -> Result<Defaults, String> {
    Defaults::new(files.iter().map(|(path, text)| Rc::new(Source::new(path, *text))).collect())
}

fn written(defaults: &Defaults) -> String {
    let words = defaults.words().unwrap().parameters;
    words.iter().map(|word| word.at.text.as_str()).collect::<Vec<_>>().join(" ")
}

fn add(text: &str) -> Result<String, String> {
    defaults(&[(FILE, text)])?.edit(text, Edit::Last(WORD))
}

fn without(text: &str) -> Result<String, String> {
    defaults(&[(FILE, text)])?.edit(text, Edit::Without(WORD))
}

#[test]
fn debian_cloud() {
    let debian = defaults(&[(FILE, DEBIAN_CLOUD)]).unwrap();
    assert_eq!(written(&debian), "console=tty0 console=ttyS0,115200 earlyprintk=ttyS0,115200 consoleblank=0");
    assert_eq!(debian.words().unwrap().parameters[0].at.line, Some(10));
    let edited = add(DEBIAN_CLOUD).unwrap();
    assert_eq!(edited, DEBIAN_CLOUD.replace("consoleblank=0\"", "consoleblank=0 cgroup_enable=memory\""));
}

#[test]
fn ubuntu_cloud() {
    let drop_in = "/etc/default/grub.d/50-cloudimg-settings.cfg";
    let ubuntu = defaults(&[(FILE, UBUNTU), (drop_in, CLOUDIMG)]).unwrap();
    assert_eq!(written(&ubuntu), "console=tty1 console=ttyS0", "the last assignment wins");
    assert_eq!(ubuntu.path(), FILE, "that one reaches entries for recovery, too");
    assert_eq!(
        ubuntu.edit(UBUNTU, Edit::Last(WORD)).unwrap(),
        UBUNTU.replace("GRUB_CMDLINE_LINUX=\"\"", "GRUB_CMDLINE_LINUX=\"cgroup_enable=memory\"")
    );
    let why = ubuntu.edit(UBUNTU, Edit::Without("console=ttyS0")).unwrap_err();
    assert_eq!(why, format!("it is set in {drop_in}:11, not in {FILE}"));
    let undone = CLOUDIMG.replace("console=tty1", "cgroup_disable=memory");
    let ubuntu = defaults(&[(FILE, UBUNTU), (drop_in, &undone)]).unwrap();
    let why = ubuntu.edit(UBUNTU, Edit::Last(WORD)).unwrap_err();
    assert!(why.contains("50-cloudimg-settings.cfg:11 undoes cgroup_enable=memory"), "{why}");
}

#[test]
fn one_word_is_added_where_it_stays_last() {
    for (text, edited) in [
        ("", "GRUB_CMDLINE_LINUX=\"cgroup_enable=memory\"\n"),
        ("A=1", "A=1\nGRUB_CMDLINE_LINUX=\"cgroup_enable=memory\"\n"),
        ("GRUB_CMDLINE_LINUX=\n", "GRUB_CMDLINE_LINUX=\"cgroup_enable=memory\"\n"),
        ("GRUB_CMDLINE_LINUX=quiet # c\n", "GRUB_CMDLINE_LINUX=\"quiet cgroup_enable=memory\" # c\n"),
        ("GRUB_CMDLINE_LINUX='a'\n", "GRUB_CMDLINE_LINUX='a cgroup_enable=memory'\n"),
        ("GRUB_CMDLINE_LINUX=a\" b\"\n", "GRUB_CMDLINE_LINUX=a\" b cgroup_enable=memory\"\n"),
        (
            "GRUB_CMDLINE_LINUX=\"a\"\nGRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX b\"\n",
            "GRUB_CMDLINE_LINUX=\"a\"\nGRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX b cgroup_enable=memory\"\n",
        ),
        (
            "GRUB_CMDLINE_LINUX=\"cgroup_enable=memory cgroup_disable=memory\"\n",
            "GRUB_CMDLINE_LINUX=\"cgroup_disable=memory cgroup_enable=memory\"\n",
        ),
        (
            "GRUB_CMDLINE_LINUX=\"a\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"cgroup_disable=memory b\"\n",
            "GRUB_CMDLINE_LINUX=\"a\"\n\
             GRUB_CMDLINE_LINUX_DEFAULT=\"cgroup_disable=memory b cgroup_enable=memory\"\n",
        ),
        (
            "GRUB_CMDLINE_LINUX=\"dyndbg=\\\"file a.c +p\\\"\"\n",
            "GRUB_CMDLINE_LINUX=\"dyndbg=\\\"file a.c +p\\\" cgroup_enable=memory\"\n",
        ),
        (
            "GRUB_CMDLINE_LINUX=\"a \\\n  b\"\nexport GRUB_CMDLINE_LINUX\n",
            "GRUB_CMDLINE_LINUX=\"a \\\n  b cgroup_enable=memory\"\nexport GRUB_CMDLINE_LINUX\n",
        ),
        (
            "GRUB_CMDLINE_LINUX_DEFAULT=cgroup_enable=memory\n",
            "GRUB_CMDLINE_LINUX_DEFAULT=cgroup_enable=memory\n",
        ),
    ] {
        assert_eq!(add(text).as_deref(), Ok(edited), "{text}");
    }
}

#[test]
fn what_cannot_be_told_is_not_edited() {
    for (text, why) in [
        (
            "GRUB_CMDLINE_LINUX=\"$(cat /etc/cmdline)\"\n",
            "/etc/default/grub:1 sets GRUB_CMDLINE_LINUX to is known",
        ),
        ("GRUB_CMDLINE_LINUX=\"$HOME\"\n", "known to a shell only"),
        ("GRUB_CMDLINE_LINUX=a\nif true; then\nGRUB_CMDLINE_LINUX=b\nfi\n", "/etc/default/grub:2 is more"),
        ("GRUB_CMDLINE_LINUX=\"a \"'b'\n", "line 1 is put together of pieces"),
        ("GRUB_CMDLINE_LINUX=a\\ b\n", "line 1 is put together of pieces"),
    ] {
        let got = add(text).unwrap_err();
        assert!(got.contains(why), "{text}: {got}");
    }
    // Of xen in Debian, /etc/default/grub.d/xen.cfg.
    let xen = "if [ \"$XEN_OVERRIDE_GRUB_DEFAULT\" = \"\" ]; then\n\tXEN_OVERRIDE_GRUB_DEFAULT=1\nfi\n";
    let why = defaults(&[(FILE, UBUNTU), ("/etc/default/grub.d/xen.cfg", xen)]).unwrap_err();
    assert_eq!(why, "/etc/default/grub.d/xen.cfg:1 is more than an assignment");
    let mut bomb = "GRUB_CMDLINE_LINUX=aaaaaaaa\n".to_owned();
    bomb.push_str(&"GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX$GRUB_CMDLINE_LINUX\"\n".repeat(200));
    assert!(add(&bomb).unwrap_err().contains("known to a shell only"));
}

#[test]
fn what_follows_two_dashes_is_for_init_in_both_values() {
    let text = "GRUB_CMDLINE_LINUX=\"a -- b\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"cgroup_enable=memory\"\n";
    let words = defaults(&[(FILE, text)]).unwrap().words().unwrap();
    assert!(words.deciding(WORD).is_none());
    assert_eq!(add(text).unwrap(), text.replace("a --", "a cgroup_enable=memory --"));
    let undone = "GRUB_CMDLINE_LINUX=\"a --\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"cgroup_disable=memory\"\n";
    assert_eq!(add(undone).unwrap(), undone.replace("a --", "a cgroup_enable=memory --"));
}

#[test]
fn words_that_a_shell_or_grub_takes_apart_are_refused() {
    for c in ";{}&|<>$`\\\"'*".chars() {
        let word = format!("a=b{c}c");
        let why = defaults(&[(FILE, "")]).unwrap().edit("", Edit::Last(&word)).unwrap_err();
        assert!(why.contains(&word), "{why}");
    }
}

#[test]
fn a_word_is_taken_out_of_wherever_it_is() {
    for (text, edited) in [
        ("GRUB_CMDLINE_LINUX=\"a cgroup_enable=memory b\"\n", "GRUB_CMDLINE_LINUX=\"a b\"\n"),
        ("GRUB_CMDLINE_LINUX=cgroup_enable=memory\n", "GRUB_CMDLINE_LINUX=\"\"\n"),
        (
            "GRUB_CMDLINE_LINUX='cgroup_enable=memory'\nGRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX b\"\n",
            "GRUB_CMDLINE_LINUX=''\nGRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX b\"\n",
        ),
        (
            "GRUB_CMDLINE_LINUX_DEFAULT=\"cgroup_enable=memory,io\"\n",
            "GRUB_CMDLINE_LINUX_DEFAULT=\"cgroup_enable=io\"\n",
        ),
        ("GRUB_CMDLINE_LINUX=\"a\"\n", "GRUB_CMDLINE_LINUX=\"a\"\n"),
    ] {
        assert_eq!(without(text).as_deref(), Ok(edited), "{text}");
    }
    let by_way = "X=cgroup_enable=memory\nGRUB_CMDLINE_LINUX=\"$X\"\n";
    assert!(without(by_way).unwrap_err().contains("pieces"));
}

proptest! {
    #[test]
    fn twice_is_once_and_nothing_else_changes(
        text in "(GRUB_CMDLINE_LINUX(_DEFAULT)?=|export |\"|'|\\$GRUB_CMDLINE_LINUX|\\$X|\\\\|quiet| |;|#|\
                 cgroup_(en|dis)able=(memory|io)(,io)?|--|\n){0,16}"
    ) {
        let Ok(before) = defaults(&[(FILE, &text)]) else { return Ok(()) };
        for edit in [Edit::Last(WORD), Edit::Without(WORD)] {
            let Ok(once) = before.edit(&text, edit) else { continue };
            let after = defaults(&[(FILE, &once)]).unwrap();
            prop_assert_eq!(after.edit(&once, edit), Ok(once.clone()), "{:?}", text);
            let words = after.words().unwrap();
            match edit {
                Edit::Last(word) => prop_assert!(passes(&words, word), "{:?} {:?}", text, once),
                Edit::Without(word) => prop_assert!(!passes(&words, word), "{:?} {:?}", text, once),
            }
            // Lines that are no assignment of the two are as they were.
            let others = |text: &str| -> Vec<String> {
                text.lines().filter(|line| !line.contains("GRUB_CMDLINE_LINUX")).map(str::to_owned).collect()
            };
            if !text.contains(['"', '\'', '\\']) {
                prop_assert_eq!(others(&once), others(&text));
            }
        }
    }
}
