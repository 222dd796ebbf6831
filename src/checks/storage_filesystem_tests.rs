//! Tests of `storage_filesystem`.

use super::*;
use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
use crate::facts::testing::{TestHost, fixture};
use crate::requirements::Stack;

const MOUNTINFO: &str = "/proc/self/mountinfo";
const GRAPHROOT: &str = "/home/edge/.local/share/containers/storage";
const CONF: &str = "/home/edge/.config/containers/storage.conf";
const FUSE_OVERLAYFS: &str = "/usr/bin/fuse-overlayfs";

const K3S_UNIT: &str = "/home/edge/.config/systemd/user/k3s-rootless.service";

fn look_at(host: TestHost, stack: Stack) -> Outcome {
    run(&host.facts(), &requirements(&[stack]), &edge())
}

/// With fuse-overlayfs, which that machine has: on ext4 nothing looks for it, so the capture lacks it.
fn fuse_overlayfs() -> TestHost {
    fixture("debian-13").file(FUSE_OVERLAYFS, "").mode(FUSE_OVERLAYFS, "0755")
}

/// With a mount of this type and these options on /home.
fn home(fs_type: &str, options: &str) -> TestHost {
    fuse_overlayfs().append(MOUNTINFO, &format!("99 29 0:99 / /home {options} - {fs_type} source rw\n"))
}

fn verdict(host: TestHost, stack: Stack) -> Vec<Verdict> {
    verdicts(&look_at(host, stack)).into_iter().map(|(_, verdict)| verdict).collect()
}

#[test]
fn a_local_file_system() {
    let outcome = look_at(fixture("debian-13"), Stack::Podman);
    assert_eq!(verdicts(&outcome), [(GRAPHROOT, Verdict::Met)]);
    let finding = findings(&outcome)[0];
    assert_eq!(finding.found, "ext4 on /");
    assert!(&*finding.evidence[0].path == MOUNTINFO && finding.evidence[0].text.contains(" / / rw"));
    let k3s = look_at(fixture("debian-13"), Stack::K3s);
    assert_eq!(verdicts(&k3s), [("/home/edge/.rancher/k3s", Verdict::Met)]);
}

/// A unit with these options of K3s, and what is on `/srv`.
fn unit(options: &str, fs_type: &str) -> TestHost {
    let text = format!("[Service]\nExecStart=/usr/local/bin/k3s server --rootless{options}\n");
    home("vfat", "rw")
        .append(MOUNTINFO, &format!("100 29 0:100 / /srv rw - {fs_type} source rw\n"))
        .dir("/srv", "0755", 1000)
        .file(K3S_UNIT, text)
}

#[test]
fn the_data_of_k3s_is_where_its_options_put_it() {
    let outcome = look_at(unit(" --data-dir /srv/k3s", "ext4"), Stack::K3s);
    assert_eq!(verdicts(&outcome), [("/srv/k3s", Verdict::Met)]);
    assert_eq!(findings(&outcome)[0].evidence[1].to_string(), format!("{K3S_UNIT}:2"));
    assert_eq!(verdict(unit("", "ext4"), Stack::K3s), [Verdict::Unmet], "the home is FAT");
    assert_eq!(verdict(unit(" --data-dir /srv/k3s", "ext4"), Stack::Podman), [Verdict::Unmet]);
    let denied = unit("", "ext4").path(K3S_UNIT, |record| record.read_error = Some("denied".to_owned()));
    assert_eq!(unknown(&look_at(denied, Stack::K3s)), [format!("{K3S_UNIT} is not readable as this user")]);
}

#[test]
fn overlay_does_not_stack_for_k3s_unless_with_fuse() {
    let on = |options: &str, fs_type| verdict(unit(&format!(" -d /srv{options}"), fs_type), Stack::K3s);
    for fs_type in ["overlay", "ecryptfs"] {
        assert_eq!(on("", fs_type), [Verdict::Unmet], "overlayfs is the default of K3s");
    }
    for snapshotter in ["fuse-overlayfs", "native"] {
        assert_eq!(on(&format!(" --snapshotter={snapshotter}"), "overlay"), [Verdict::Met]);
    }
    assert_eq!(on("", "zfs"), []);
}

#[test]
fn types_by_stack() {
    use Verdict::{Met, Unmet, Volatile};
    for (fs_type, podman, k3s) in [
        ("xfs", &[Met][..], &[Met][..]),
        ("vfat", &[Unmet], &[Unmet]),
        ("fuseblk", &[Unmet], &[Unmet]),
        // With fuse-overlayfs, which is installed, the server decides.
        ("nfs4", &[], &[Unmet]),
        ("9p", &[], &[Unmet]),
        ("fuse.sshfs", &[Unmet], &[Unmet]),
        ("tmpfs", &[Volatile], &[Volatile]),
        ("overlay", &[Unmet], &[Met]),
        ("zfs", &[Met], &[Met]),
        ("autofs", &[], &[]),
        ("fuse.gocryptfs", &[], &[]),
        ("newfs", &[], &[]),
    ] {
        assert_eq!(verdict(home(fs_type, "rw"), Stack::Podman), podman, "{fs_type}");
        assert_eq!(verdict(home(fs_type, "rw"), Stack::K3s), k3s, "{fs_type}");
    }
    let nfs = look_at(home("nfs4", "rw"), Stack::Podman);
    assert_eq!(
        unknown(&nfs),
        ["nfs4 on /home: with fuse-overlayfs it works if the server keeps user extended attributes"]
    );
    let bare = home("nfs4", "rw").without(FUSE_OVERLAYFS);
    assert_eq!(verdict(bare, Stack::Podman), [Unmet]);
}

/// As seen on a booted Debian 13: overlay mounts do not inherit these flags.
#[test]
fn flags_by_stack_and_driver() {
    use Verdict::{Met, Unmet};
    let vfs = |options: &str| home("ext4", options).file(CONF, "[storage]\ndriver = \"vfs\"\n");
    for (options, podman, podman_vfs, k3s) in [
        ("rw,nosuid,nodev", &[Met][..], &[Met, Unmet][..], &[Met][..]),
        ("rw,noexec", &[Met, Unmet], &[Unmet], &[Unmet]),
        ("ro", &[Unmet], &[Unmet], &[Unmet]),
    ] {
        assert_eq!(verdict(home("ext4", options), Stack::Podman), podman, "{options}");
        assert_eq!(verdict(vfs(options), Stack::Podman), podman_vfs, "{options}");
        assert_eq!(verdict(home("ext4", options), Stack::K3s), k3s, "{options}");
    }
    // As seen on a booted Debian 12: "crun: open executable: Permission denied".
    let old = fixture("debian-12").append(MOUNTINFO, "99 29 0:99 / /home rw,noexec - ext4 source rw\n");
    assert_eq!(verdict(old, Stack::Podman), [Unmet]);
    let made_with_vfs = home("ext4", "rw,noexec")
        .dir(&format!("{GRAPHROOT}/vfs-images"), "0700", 1000)
        .without(&format!("{GRAPHROOT}/overlay-images"));
    assert_eq!(verdict(made_with_vfs, Stack::Podman), [Unmet]);
    let outcome = look_at(home("ext4", "rw,noexec"), Stack::Podman);
    assert_eq!((outcome.items[0].level, outcome.items[1].level), (Level::Required, Level::Advised));
    assert!(findings(&outcome)[1].evidence[0].text.starts_with("99 29 "));
}

#[test]
fn overlay_takes_another_driver_or_a_mount_program() {
    let program = "[storage.options.overlay]\nmount_program = \"/usr/bin/fuse-overlayfs\"\n";
    assert_eq!(verdict(home("overlay", "rw").file(CONF, program), Stack::Podman), [Verdict::Met]);
    let vfs = home("overlay", "rw").file(CONF, "[storage]\ndriver = \"vfs\"\n");
    assert_eq!(verdict(vfs, Stack::Podman), [Verdict::Met]);
}

#[test]
fn where_storage_conf_puts_it() {
    let moved = |path: &str| {
        home("nfs4", "rw")
            .file(CONF, format!("[storage]\ngraphroot = \"{path}\"\n"))
            .dir("/srv", "0755", 0)
            .dir("/srv/edge", "0700", 1000)
    };
    let outcome = look_at(moved("/srv/edge"), Stack::Podman);
    assert_eq!(verdicts(&outcome), [("/srv/edge", Verdict::Met)]);
    assert_eq!(findings(&outcome)[0].evidence[1], Evidence::line(CONF, 2, "graphroot = \"/srv/edge\""));
    let variable = look_at(moved("$SCRATCH/storage"), Stack::Podman);
    assert_eq!(unknown(&variable), ["the path has a variable whose value is not known"]);
}

#[test]
fn a_directory_of_somebody_else() {
    let outcome = look_at(fixture("debian-13").dir(GRAPHROOT, "0755", 0), Stack::Podman);
    assert_eq!(verdicts(&outcome), [(GRAPHROOT, Verdict::Unmet)]);
    assert_eq!(findings(&outcome)[0].found, "ext4 on /, cannot be written by the user");
    assert_eq!(findings(&outcome)[0].evidence[0], Evidence::path(GRAPHROOT, "mode 0755, owner 0:0"));
    assert_eq!(verdict(fixture("debian-13").without("/home/edge"), Stack::K3s), [Verdict::Unmet]);
}

#[test]
fn an_image_has_fstab_or_nothing() {
    let image = || fuse_overlayfs().image();
    assert!(look_at(image(), Stack::Podman).skipped.unwrap().contains("fstab"));
    let fstab = |text: &str| look_at(image().file("/etc/fstab", text), Stack::Podman);
    assert_eq!(verdicts(&fstab("LABEL=r / ext4 defaults 0 1\n")), [(GRAPHROOT, Verdict::Met)]);
    let nfs = fstab("LABEL=r / ext4 defaults 0 1\nsrv:/h /home cifs defaults 0 0\n");
    assert_eq!(unknown(&nfs).len(), 1);
    assert!(fstab("LABEL=r / auto defaults 0 1\n").skipped.is_some());
}

#[test]
fn unknown_and_skipped() {
    let closed = fixture("debian-13").error("/home/edge/.local", "denied").error(CONF, "absent");
    assert_eq!(unknown(&look_at(closed, Stack::Podman)), ["/home/edge/.local is not readable as this user"]);
    let malformed = look_at(fixture("debian-13").file(CONF, "driver = \n"), Stack::Podman);
    assert_eq!(unknown(&malformed).len(), 1);
    assert!(run(&fixture("debian-13").facts(), &Requirements::default(), &edge()).skipped.is_some());
}
