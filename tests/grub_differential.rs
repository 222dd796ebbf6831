//! `/etc/default/grub` as edgeprep reads and edits it, beside what a shell makes of the same files.
#![expect(
    clippy::disallowed_methods,
    reason = "the test makes trees and runs a shell; edgeprep itself does neither"
)]
#![expect(clippy::unwrap_used, reason = "all of this file is a test")]

use std::fs;
use std::path::Path;
use std::process::Command;

use edgeprep::facts::Facts;
use edgeprep::facts::boot::{BootWant, Edit, Place};
use edgeprep::facts::kernel_cmdline::KernelCmdline;
use edgeprep::host::Host;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const FILE: &str = "etc/default/grub";
const DROP_IN: &str = "etc/default/grub.d/50-x.cfg";
const CONFIG: &str = "### BEGIN /etc/grub.d/10_linux ###\nmenuentry a {\nlinux /a b\n}\n";
/// What of grub-mkconfig reads the files (Debian, grub2 2.12).
const MKCONFIG: &str = "for x in ${sysconfdir}/default/grub.d/*.cfg ; do\n";
const WORD: &str = "cgroup_enable=memory";

/// Lines of such files, each with its ending.
#[rustfmt::skip]
const LINES: [&str; 34] = [
    "GRUB_CMDLINE_LINUX=\"\"\n", "GRUB_CMDLINE_LINUX=\"a b\"\n", "GRUB_CMDLINE_LINUX=quiet\n",
    "GRUB_CMDLINE_LINUX='a \"b c\"'\n", "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX c\"\n",
    "GRUB_CMDLINE_LINUX=\"c ${GRUB_CMDLINE_LINUX}\"\n", "GRUB_CMDLINE_LINUX=a\\ b\n", "GRUB_CMDLINE_LINUX=\n",
    "GRUB_CMDLINE_LINUX=\"cgroup_disable=memory x\"\n", "GRUB_CMDLINE_LINUX=\"cgroup_enable=memory x\"\n",
    "GRUB_CMDLINE_LINUX=\"a \\\n b\"\n", "GRUB_CMDLINE_LINUX=\"a\nb\"\n", "GRUB_CMDLINE_LINUX=\"dyndbg=\\\"f a +p\\\"\"\n",
    "GRUB_CMDLINE_LINUX=\"a\"'b'c # d\n", "GRUB_CMDLINE_LINUX=\"\\a \\\\b \\$c\"\n", "GRUB_CMDLINE_LINUX=\"$(echo x y)\"\n",
    "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet splash\"\n", "GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX z\"\n",
    "GRUB_CMDLINE_LINUX_DEFAULT=cgroup_disable=memory\n", "GRUB_CMDLINE_LINUX_DEFAULT='cgroup_enable=memory'\n",
    "GRUB_CMDLINE_LINUX_DEFAULT=\"cgroup_enable=memory,io k\"\n", "unset GRUB_CMDLINE_LINUX_DEFAULT\n",
    "export GRUB_CMDLINE_LINUX=\"e f\"\n", "GRUB_X=\"q\"; GRUB_CMDLINE_LINUX=\"$GRUB_X r\"\n",
    "GRUB_DISTRIBUTOR=`( . /etc/os-release; echo ${NAME:-Debian} ) 2>/dev/null || echo Debian`\n",
    "GRUB_DISTRIBUTOR=\"$(echo Fedora release 42 | sed 's, release .*$,,g')\"\n",
    "# GRUB_CMDLINE_LINUX=\"no\"\n", "  GRUB_TIMEOUT=5 # c\n", "\n", "GRUB_CMDLINE_LINUX=\"o\" \t\n",
    "GRUB_CMDLINE_LINUX=\"p\";\n", "GRUB_CMDLINE_LINUX=\"a  cgroup_enable=memory\tb\"\n", "GRUB_CMDLINE_LINUX=a#b\n",
    "GRUB_A=1 GRUB_CMDLINE_LINUX=\"s t\"\n",
];

struct Tree(tempfile::TempDir);

impl Tree {
    fn new(file: &str, drop_in: &str) -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        tree.put("boot/grub/grub.cfg", CONFIG);
        tree.put("usr/sbin/grub-mkconfig", MKCONFIG);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(tree.0.path().join("usr/sbin/grub-mkconfig"), mode).unwrap();
        tree.put(FILE, file);
        tree.put(DROP_IN, drop_in);
        tree
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(path, text).unwrap();
    }

    fn place(&self) -> Result<Place, String> {
        let facts = Facts::new(Host::image(self.0.path()).unwrap());
        let boot = facts.boot(&BootWant::default()).unwrap();
        boot.as_ref().as_ref().unwrap().place.clone()
    }

    /// The words that `grub-mkconfig` would get, as a text.
    fn by_shell(&self) -> String {
        let script = format!(
            "set -e; . ./{FILE}; . ./{DROP_IN}; printf '%s %s' \"$GRUB_CMDLINE_LINUX\" \"$GRUB_CMDLINE_LINUX_DEFAULT\""
        );
        let mut shell = Command::new("/bin/sh");
        let output = shell
            .args(["-c", &script])
            .current_dir(self.0.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn words(words: &KernelCmdline) -> Vec<(String, Option<String>)> {
    words.parameters.iter().map(|word| (word.name.clone(), word.value.clone())).collect()
}

/// A text as the kernel splits it.
fn split(text: &str) -> KernelCmdline {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("cmdline"), text.replace('\n', " ")).unwrap();
    Facts::new(Host::image(tree.path()).unwrap()).kernel_cmdline_file("/cmdline").unwrap()
}

#[test]
fn values_are_those_of_a_shell_before_and_after_an_edit() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(128);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let text = || proptest::collection::vec(prop::sample::select(LINES.to_vec()), 0..7);
    let test = |(file, drop_in): (Vec<&str>, Vec<&str>)| {
        let tree = Tree::new(&file.concat(), &drop_in.concat());
        let Ok(place) = tree.place() else { return Ok(()) };
        let before = split(&tree.by_shell());
        prop_assert_eq!(words(&place.words), words(&before), "left: edgeprep, right: sh");
        let path = place.path.trim_start_matches('/');
        let own = fs::read_to_string(tree.0.path().join(path)).unwrap();
        for edit in [Edit::Last(WORD), Edit::Without(WORD)] {
            let Ok(edited) = place.syntax.edit(&own, edit) else { continue };
            tree.put(path, &edited);
            let after = split(&tree.by_shell());
            let passed = |words: &KernelCmdline| words.deciding(WORD).is_some_and(|last| last.is(WORD));
            prop_assert_eq!(passed(&after), matches!(edit, Edit::Last(_)), "{:?}", edited);
            let others = |all: &KernelCmdline| -> Vec<(String, Option<String>)> {
                let others = words(all).into_iter();
                others.filter(|(name, _)| name != "cgroup_enable").collect()
            };
            prop_assert_eq!(others(&after), others(&before), "{:?} of {:?}", edited, own);
            tree.put(path, &own);
        }
        Ok(())
    };
    TestRunner::new(config).run(&(text(), text()), test).unwrap_or_else(|failure| panic!("{failure}"));
}
