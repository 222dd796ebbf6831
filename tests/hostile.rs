//! Images and captures that want to harm whoever looks at them, and hosts that are odd: never a panic,
//! never a hang, nothing read outside the root, and never a pass for what could not be read.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::disallowed_methods, reason = "tests make files and start the binary")]

mod common;

use std::fs::{self, File};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Image, edgeprep, report, rows, status, stderr, stdout};
use nix::sys::stat::Mode;
use serde_json::Value;

/// Far above what any check takes, far below what a hang takes.
const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "edge:4711:4711";

/// A report of a hostile image, which must come in time and hold no secret.
fn survive(image: &Image) -> Value {
    let started = Instant::now();
    let stacks = "podman,podman-kube,k3s,k3d,kind,minikube,usernetes";
    let (report, code) = report(&["--root", image.root(), "--user", "edge", "--stack", stacks]);
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    assert!([0, 1, 3, 4].contains(&code), "exit {code}");
    assert!(!report.to_string().contains("4711"), "something outside the image was read");
    report
}

/// Puts something in the place of a file.
type Plant = fn(&Image, &str);

fn fifo(image: &Image, at: &str) {
    nix::unistd::mkfifo(&image.path(at), Mode::from_bits_truncate(0o644)).unwrap();
}

fn socket(image: &Image, at: &str) {
    drop(UnixListener::bind(image.path(at)).unwrap());
}

fn folder(image: &Image, at: &str) {
    fs::create_dir(image.path(at)).unwrap();
}

/// 2 GiB that take no room on disk.
fn huge(image: &Image, at: &str) {
    File::create(image.path(at)).unwrap().set_len(2 << 30).unwrap();
}

fn loop_of_links(image: &Image, at: &str) {
    let name = Path::new(at).file_name().unwrap().to_str().unwrap();
    image.link(at, name);
}

fn zeros(image: &Image, at: &str) {
    image.put(at, vec![0; 1 << 20]);
}

fn not_utf8(image: &Image, at: &str) {
    image.put(at, b"edge:\xff\xfe:\x80\n\xc3\x28");
}

#[test]
fn no_file_of_an_image_can_hang_or_break_a_check() {
    let files = [
        "etc/subuid",
        "etc/subgid",
        "etc/login.defs",
        "etc/nsswitch.conf",
        "etc/fstab",
        "etc/machine-id",
        "etc/hostname",
        "etc/sysctl.conf",
        "etc/sysctl.d/50-x.conf",
        "etc/modules-load.d/x.conf",
        "etc/modprobe.d/x.conf",
        "etc/systemd/system/user@.service.d/x.conf",
        "etc/containers/containers.conf",
        "etc/containers/storage.conf",
        "home/edge/.config/containers/containers.conf",
        "usr/lib/os-release",
        "usr/lib/systemd/system/user@.service",
        "usr/lib/systemd/systemd",
        "usr/lib/modules/6.12.1-amd64/modules.dep",
        "usr/lib/modules/6.12.1-amd64/modules.builtin",
        "usr/lib/modules/6.12.1-amd64/modules.alias",
        "usr/bin/newuidmap",
        "usr/bin/podman",
        "boot/config-6.12.1-amd64",
        "var/lib/dpkg/status",
        "var/lib/systemd/linger/edge",
    ];
    let plants: [Plant; 7] = [fifo, socket, folder, huge, loop_of_links, zeros, not_utf8];
    for plant in plants {
        let image = Image::debian();
        for file in files {
            let path = image.path(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let _ = fs::remove_file(&path);
            plant(&image, file);
        }
        survive(&image);
    }
}

#[test]
fn no_file_of_a_user_can_hang_a_check_of_their_engines() {
    let files = [
        "home/edge/.local/share/containers/storage/networks/k3d.json",
        "home/edge/.config/containers/systemd/k3d.network",
        "home/edge/.config/environment.d/50-x.conf",
        "home/edge/.minikube/config/config.json",
        "home/edge/.local/bin/docker",
        "home/edge/.local/bin/bypass4netns",
        "etc/environment",
    ];
    let plants: [Plant; 7] = [fifo, socket, folder, huge, loop_of_links, zeros, not_utf8];
    for plant in plants {
        let image = Image::debian();
        for program in ["podman", "minikube", "k3d", "kind"] {
            image.put(&format!("usr/bin/{program}"), "");
            image.mode(&format!("usr/bin/{program}"), 0o755);
        }
        for file in files {
            fs::create_dir_all(image.path(file).parent().unwrap()).unwrap();
            plant(&image, file);
            if fs::metadata(image.path(file)).is_ok() {
                image.mode(file, 0o755);
            }
        }
        let report = survive(&image);
        assert_ne!(status(&report, "k3d-network"), "pass");
        assert_ne!(status(&report, "minikube-rootless"), "pass");
    }
}

#[test]
fn what_cannot_be_read_is_unknown() {
    let plants: [Plant; 4] = [fifo, folder, huge, loop_of_links];
    for plant in plants {
        let image = Image::debian();
        image.remove("etc/subuid");
        plant(&image, "etc/subuid");
        assert_eq!(status(&survive(&image), "subid-range"), "unknown");
    }
}

#[test]
fn links_stay_inside_the_image() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("subuid"), format!("{SECRET}\n")).unwrap();
    let outside = outside.path().to_str().unwrap();
    let up = "../".repeat(40);
    let cases: Vec<(&str, String)> = vec![
        ("etc/subuid", format!("{outside}/subuid")),
        ("etc/subuid", format!("{up}{outside}/subuid")),
        ("etc/sysctl.d", outside.to_owned()),
        ("etc/systemd/system", format!("{up}{outside}")),
        ("usr/lib/modules/evil", outside.to_owned()),
        ("etc/subgid", "/proc/self/root/etc/passwd".to_owned()),
    ];
    for (at, target) in cases {
        let image = Image::debian();
        image.link(at, &target);
        survive(&image);
    }
}

#[test]
fn an_image_cannot_name_files_of_the_machine_that_looks_at_it() {
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), format!("summary = \"{SECRET}\"\n")).unwrap();
    for profile in [outside.path().to_str().unwrap(), "../../../../../../etc/hostname", "/etc/passwd"] {
        let image = Image::debian();
        image.put("etc/edgeprep/edgeprep.toml", format!("profile = \"{profile}\"\n"));
        let output = edgeprep(&["check", "--root", image.root()]);
        assert_eq!(output.status.code(), Some(2), "{profile}");
        assert!(stderr(&output).contains("no profile named"), "{}", stderr(&output));
        assert!(!stderr(&output).contains(SECRET));
    }
}

#[test]
fn absolute_links_mean_what_they_mean_inside_the_image() {
    let image = Image::debian();
    fs::rename(image.path("etc/subuid"), image.path("etc/subuid.real")).unwrap();
    fs::rename(image.path("usr/lib/os-release"), image.path("etc/os-release.real")).unwrap();
    image.link("usr/lib/os-release", "/etc/os-release.real");
    assert_eq!(survive(&image)["host"]["os"]["id"], "debian");
}

#[test]
fn a_hundred_thousand_subordinate_ranges_are_no_burden() {
    let image = Image::debian();
    let lines: String =
        (0..100_000u32).map(|i| format!("user{i}:{}:1000\n", 1_000_000 + i * 1_000)).collect();
    image.put("etc/subuid", format!("{lines}edge:100000:65536\n"));
    image.put("etc/subgid", format!("edge:100000:65536\n{lines}"));
    let report = survive(&image);
    assert_eq!(status(&report, "subid-range"), "pass");
    assert_eq!(status(&report, "subid-overlap"), "pass");
}

#[test]
fn names_with_spaces_and_lines_with_carriage_returns() {
    let image = Image::debian();
    image.put("etc/sysctl.d/60 my settings.conf", "net.ipv4.ip_forward = 1\r\n");
    image.put("etc/systemd/system/user@.service.d/my drop in.conf", "[Service]\r\nDelegate=cpuset io\r\n");
    let report = survive(&image);
    assert_eq!(status(&report, "cgroup-delegation"), "pass");
    assert_eq!(status(&report, "ip-forward"), "pass");
    image.put("etc/subuid", "edge:100000:65536\r\n");
    assert_eq!(status(&survive(&image), "subid-range"), "fail", "newuidmap does not take such a line");
}

#[test]
fn an_image_of_another_architecture_is_judged_like_any_other() {
    let image = Image::debian();
    image.put("usr/lib/systemd/systemd", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\xb7\0\x01\0\0\0");
    let report = survive(&image);
    assert_eq!(report["host"]["arch"], "aarch64");
    assert_eq!(report["profile"]["name"], "generic-arm64");
}

#[test]
fn every_kernel_of_an_image_is_judged_and_none_is_no_failure() {
    let image = Image::debian();
    let second = "usr/lib/modules/6.1.0-rpi8";
    image.put(&format!("{second}/modules.dep"), "kernel/drivers/net/tun.ko:\n");
    image.put(&format!("{second}/kernel/drivers/net/tun.ko"), "");
    let (report, _) = report(&["--root", image.root(), "--stack", "usernetes"]);
    assert_eq!(report["host"]["kernel"].as_array().unwrap().len(), 2);
    let found = rows(&report, "module-available")
        .iter()
        .flat_map(|row| row["findings"].as_array().unwrap().clone())
        .find(|finding| {
            finding["subject"].as_str().unwrap().contains("ip_tables") && finding["verdict"] == "unmet"
        })
        .expect("a finding about ip_tables");
    assert!(found.to_string().contains("6.1.0-rpi8"), "{found}");

    let bare = Image::debian();
    fs::remove_dir_all(bare.path("usr/lib/modules")).unwrap();
    let report = survive(&bare);
    assert_eq!(status(&report, "kernel-release"), "skip");
    assert_eq!(status(&report, "module-available"), "unknown", "the modules may lie elsewhere");
}

#[test]
fn a_distribution_without_systemd_is_told_so() {
    let image = Image::empty();
    image.put("etc/os-release", "ID=alpine\nVERSION_ID=3.22.1\nPRETTY_NAME=\"Alpine Linux v3.22\"\n");
    image.put("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nedge:x:1000:1000::/home/edge:/bin/sh\n");
    image.put("etc/group", "edge:x:1000:\n");
    image.put("sbin/openrc-init", "");
    image.put("lib/apk/db/installed", "P:busybox\nV:1.37.0-r18\n\n");
    let (report, code) = report(&["--root", image.root()]);
    assert_eq!(code, 1);
    assert_eq!(status(&report, "systemd-init"), "fail");
}

#[test]
fn accounts_that_cannot_be_read_are_an_error() {
    let plants: [Plant; 4] = [fifo, folder, huge, loop_of_links];
    for file in ["etc/passwd", "etc/group"] {
        for plant in plants {
            let image = Image::debian();
            image.remove(file);
            plant(&image, file);
            let output = edgeprep(&["check", "--root", image.root()]);
            assert_eq!(output.status.code(), Some(2), "{file}");
            assert!(stderr(&output).contains(&format!("/{file}")), "{}", stderr(&output));
        }
    }
}

#[test]
fn an_empty_root_has_no_users() {
    let image = Image::empty();
    let output = edgeprep(&["check", "--root", image.root()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/etc/passwd does not exist"), "{}", stderr(&output));
}

#[test]
fn terminal_escapes_in_an_image_do_not_reach_the_terminal() {
    let image = Image::debian();
    image.put("usr/lib/os-release", "ID=debian\nPRETTY_NAME=\"\u{1b}[2J\u{7}Debian\"\n");
    image.put("etc/subuid", "edge:\u{1b}[31m:65536\n");
    let text = stdout(&edgeprep(&["check", "--root", image.root(), "-v"]));
    assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
}

#[test]
fn a_live_host_without_proc_is_unknown_and_not_ready_is_not_claimed() {
    let image = Image::debian();
    let binary = Path::new(env!("CARGO_BIN_EXE_edgeprep"));
    // The test binary is linked dynamically; what it needs is what any root would hold.
    let ldd = Command::new("ldd").arg(binary).output().unwrap();
    for word in String::from_utf8(ldd.stdout).unwrap().split_whitespace().filter(|word| word.starts_with('/'))
    {
        image.put(word.trim_start_matches('/'), fs::read(word).unwrap());
        image.mode(word.trim_start_matches('/'), 0o755);
    }
    image.put("edgeprep", fs::read(binary).unwrap());
    image.mode("edgeprep", 0o755);
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--root", image.root()])
        .args(["/edgeprep", "check", "--user", "edge", "--format", "json"])
        .env_clear()
        .output()
        .unwrap();
    assert!([Some(1), Some(3)].contains(&output.status.code()), "{:?}: {}", output.status, stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    for stack in report["stacks"].as_array().unwrap() {
        assert_ne!(stack["verdict"], "ready");
    }
}

#[test]
fn captures_that_are_none_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    tar.append_data(&mut header, "etc/passwd", &b"abc"[..]).unwrap();
    let no_description = tar.into_inner().unwrap();
    let cases = [
        (put("garbage.tar", &[0x5a; 5000]), "expected a tar made by edgeprep capture"),
        (put("no-description.tar", &no_description), "no host.toml in it"),
        (put("cut.tar", &no_description[..600]), "expected a tar made by edgeprep capture"),
    ];
    for (path, message) in cases {
        let output = edgeprep(&["check", "--capture", &path]);
        assert_eq!(output.status.code(), Some(2), "{path}");
        assert!(stderr(&output).contains(message), "{path}: {}", stderr(&output));
    }
    let folder = tempfile::tempdir().unwrap();
    for (toml, message) in [
        ("format = 2\n", "format 2: expected 1"),
        ("format = \n", "host.toml:1: "),
        ("x = 1\n", "unknown field"),
    ] {
        fs::write(folder.path().join("host.toml"), toml).unwrap();
        let output = edgeprep(&["check", "--capture", folder.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{toml}");
        assert!(stderr(&output).contains(message), "{toml}: {}", stderr(&output));
    }
}

#[test]
fn a_capture_that_is_incomplete_knows_what_it_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("host.toml"), "format = 1\nusers = [\"edge\"]\n").unwrap();
    fs::create_dir(folder.path().join("etc")).unwrap();
    fs::write(folder.path().join("etc/passwd"), "edge:x:1000:1000::/home/edge:/bin/sh\n").unwrap();
    fs::write(folder.path().join("etc/nsswitch.conf"), "passwd: files\n").unwrap();
    fs::write(folder.path().join("etc/group"), "edge:x:1000:\n").unwrap();
    let (report, code) = report(&["--capture", folder.path().to_str().unwrap(), "--select", "subid-range"]);
    assert_eq!((status(&report, "subid-range"), code), ("unknown", 3));
    assert!(rows(&report, "subid-range")[0]["reason"].to_string().contains("is not in the capture"));
}
