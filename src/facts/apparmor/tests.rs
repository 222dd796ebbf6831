//! Profiles as Ubuntu 24.04 (apparmor 4.0.1) and Debian 13 (passt) ship them, shortened.

use super::loaded::{EACH, LOADED};
use super::*;
use crate::facts::testing::{TestHost, empty_host};

const PODMAN: &str = "\
# This profile allows everything and only exists to give the
# application a name instead of having the label \"unconfined\"

abi <abi/4.0>,
include <tunables/global>

profile podman /usr/bin/podman flags=(unconfined) {
  userns,

  # Site-specific additions and overrides. See local/README for details.
  include if exists <local/podman>
}
";
const PASTA: &str = "\
abi <abi/4.0>,
include <tunables/global>
profile pasta /usr/bin/pasta{,.avx2} flags=(attach_disconnected) {
  include <abstractions/pasta>
}
";

fn ubuntu() -> TestHost {
    empty_host()
        .file("/etc/apparmor.d/podman", PODMAN)
        .file("/etc/apparmor.d/usr.bin.pasta", PASTA)
        .file("/etc/apparmor.d/abstractions/pasta", "abi <abi/4.0>,\ninclude <abstractions/passt>\n")
        .file("/etc/apparmor.d/abstractions/passt", "capability sys_admin,\nuserns,\n")
        .file("/etc/apparmor.d/tunables/global", "include <tunables/home>\n")
        .file(
            "/etc/apparmor.d/tunables/home",
            "@{HOME}=@{HOMEDIRS}/*/ /root/\n@{HOMEDIRS}=/home/\ninclude <tunables/home.d>\n",
        )
        .file("/etc/apparmor.d/tunables/home.d/site.local", "# nothing\n@{HOMEDIRS}+=/srv/home/\n")
        .file("/etc/apparmor.d/unprivileged_userns", "profile unprivileged_userns {\n  allow userns,\n}\n")
}

fn attached(host: TestHost, path: &str) -> Attached {
    match &*host.facts().apparmor_attachment(path).unwrap() {
        Attachment::Profile(attached) => attached.clone(),
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn the_profile_of_a_program() {
    let podman = attached(ubuntu(), "/usr/bin/podman");
    assert_eq!((podman.profile.as_str(), podman.at.line), ("podman", Some(7)));
    let UsernsGrant::Granted(at) = podman.userns else { panic!() };
    assert_eq!((&*at.path, at.line), ("/etc/apparmor.d/podman", Some(8)));
    let facts = ubuntu().facts();
    assert_eq!(*facts.apparmor_attachment("/usr/local/bin/podman").unwrap(), Attachment::None);
}

#[test]
fn rules_of_included_files_count() {
    let pasta = attached(ubuntu(), "/usr/bin/pasta.avx2");
    let UsernsGrant::Granted(at) = pasta.userns else { panic!() };
    assert_eq!((&*at.path, at.line), ("/etc/apparmor.d/abstractions/passt", Some(2)));
    let local = ubuntu().file("/etc/apparmor.d/local/podman", "deny userns,\n");
    assert!(matches!(attached(local, "/usr/bin/podman").userns, UsernsGrant::Forbidden(_)));
    let broken = ubuntu().without("/etc/apparmor.d/abstractions/passt");
    assert!(matches!(attached(broken, "/usr/bin/pasta").userns, UsernsGrant::Unknown(_)));
}

#[test]
fn a_profile_that_does_not_speak_of_user_namespaces() {
    for (text, expected) in [
        ("abi <abi/4.0>,\n/usr/bin/x flags=(unconfined) { }", UsernsGrant::NotGranted),
        ("abi <kernel>,\n/usr/bin/x { }", UsernsGrant::NotGranted),
    ] {
        assert_eq!(
            attached(ubuntu().file("/etc/apparmor.d/x", text), "/usr/bin/x").userns,
            expected,
            "{text}"
        );
    }
    let old = ubuntu().file("/etc/apparmor.d/x", "abi <abi/3.0>,\n/usr/bin/x { }");
    assert!(matches!(attached(old, "/usr/bin/x").userns, UsernsGrant::Unknown(_)));
    let complain = ubuntu().file("/etc/apparmor.d/x", "/usr/bin/x flags=(complain) { }");
    assert!(matches!(attached(complain, "/usr/bin/x").userns, UsernsGrant::Granted(_)));
}

#[test]
fn variables_in_attachments() {
    let host = || {
        ubuntu().file(
            "/etc/apparmor.d/k3s",
            "abi <abi/4.0>,\ninclude <tunables/global>\nprofile k3s @{HOME}/bin/k3s flags=(unconfined) { userns, }\n",
        )
    };
    for path in ["/home/edge/bin/k3s", "/root/bin/k3s", "/srv/home/edge/bin/k3s"] {
        assert_eq!(attached(host(), path).profile, "k3s", "{path}");
    }
    assert_eq!(*host().facts().apparmor_attachment("/opt/bin/k3s").unwrap(), Attachment::None);
    let unset = ubuntu().file("/etc/apparmor.d/k3s", "profile k3s @{bin}/k3s { }").facts();
    assert!(matches!(&*unset.apparmor_attachment("/usr/bin/k3s").unwrap(), Attachment::Unknown(_)));
    // A path in full beats whatever the variable stands for.
    assert!(matches!(&*unset.apparmor_attachment("/usr/bin/podman").unwrap(), Attachment::Profile(_)));
}

#[test]
fn the_closest_profile_attaches_and_a_tie_is_no_answer() {
    let host = ubuntu().file("/etc/apparmor.d/a", "profile a /usr/** { }\nprofile b /usr/bin/* { }\n");
    assert_eq!(attached(host.clone(), "/usr/bin/crun").profile, "b");
    assert_eq!(attached(host.clone(), "/usr/bin/podman").profile, "podman");
    let tie = host.file("/etc/apparmor.d/c", "profile c /usr/bin/*un { }\n").facts();
    assert!(matches!(&*tie.apparmor_attachment("/usr/bin/crun").unwrap(), Attachment::Unknown(_)));
}

#[test]
fn disabled_leftover_and_unreadable_files() {
    let host = ubuntu()
        .file("/etc/apparmor.d/disable/podman", "")
        .file("/etc/apparmor.d/crun.dpkg-old", "profile crun /usr/bin/crun { }")
        .file("/etc/apparmor.d/force-complain/usr.bin.pasta", "");
    let facts = host.clone().facts();
    assert_eq!(*facts.apparmor_attachment("/usr/bin/podman").unwrap(), Attachment::None);
    assert_eq!(*facts.apparmor_attachment("/usr/bin/crun").unwrap(), Attachment::None);
    assert!(
        matches!(attached(host, "/usr/bin/pasta").userns, UsernsGrant::Granted(at) if at.line == Some(3))
    );
    let denied = ubuntu()
        .path("/etc/apparmor.d/unprivileged_userns", |record| record.read_error = Some("denied".to_owned()))
        .facts();
    assert!(matches!(&*denied.apparmor_attachment("/usr/bin/crun").unwrap(), Attachment::Unknown(_)));
    assert!(empty_host().facts().apparmor_profiles().unwrap_err().is_absent());
}

#[test]
fn what_is_loaded() {
    let facts = empty_host()
        .file(ENABLED, "Y\n")
        .file(LOADED, "podman (unconfined)\nlsb_release (enforce)\na (b)//c d (complain)\nbroken\n")
        .facts();
    assert_eq!(facts.apparmor_enabled(), Ok(true));
    let loaded = facts.apparmor_loaded().unwrap();
    assert_eq!(loaded.modes.len(), 3);
    assert_eq!(loaded.modes["podman"].value, "unconfined");
    assert_eq!(
        (loaded.modes["a (b)//c d"].value.as_str(), loaded.modes["a (b)//c d"].at.line),
        ("complain", Some(3))
    );
    let denied = || empty_host().error(LOADED, "denied");
    assert!(matches!(denied().facts().apparmor_loaded(), Err(Unread::Denied { .. })));
    assert_eq!(denied().facts().apparmor_enabled(), Ok(false));
    let each = |file: &str| format!("{EACH}/usr.local.bin.k3s.12/{file}");
    let user = denied().file(&each("name"), "/usr/local/bin/k3s\n").file(&each("mode"), "unconfined\n");
    let loaded = user.facts().apparmor_loaded().unwrap();
    let mode = &loaded.modes["/usr/local/bin/k3s"];
    assert_eq!((mode.value.as_str(), &*mode.at.path), ("unconfined", each("name").as_str()));
    assert!(matches!(empty_host().image().facts().apparmor_loaded(), Err(Unread::NotRunning { .. })));
}
