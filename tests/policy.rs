//! Profiles, site files and waivers: what they change, and what is said of bad ones.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod common;

use common::{Image, edgeprep, report, rows, status, stderr};

fn with_site(text: &str) -> Image {
    let image = Image::debian();
    image.put("etc/edgeprep/edgeprep.toml", text);
    image
}

#[test]
fn a_bad_site_file_is_an_error_with_file_and_line() {
    let cases = [
        ("stacks = [\"podman\"\n", ":1: "),
        ("\nstacks = [\"docker\"]\n", ":2: unknown value docker: expected podman, "),
        ("colour = \"red\"\n", ":1: unknown key colour: expected summary, "),
        ("[[sysctl]]\nkey = \"a.b\"\nlevel = \"required\"\n", ":1: expected exactly one of equals"),
        (
            "[[controller]]\nnames = [\"cpus\"]\nlevel = \"required\"\n",
            ":2: \"cpus\": expected a cgroup controller",
        ),
        (
            "[[subnet]]\nlevel = \"advised\"\ncidr = \"10.1.2.3/8\"\n",
            ":3: \"10.1.2.3/8\": expected a network",
        ),
        (
            "[[version]]\nof = \"podman\"\nat-least = \"new\"\nlevel = \"advised\"\n",
            ":3: \"new\": expected a version",
        ),
        ("[waive.user-linger]\nreason = \" \"\n", ":1: waive.user-linger: expected a reason"),
        ("[waive.user-linger]\nuntil = \"2027-03-01\"\n", ":1: the key reason is missing"),
        (
            "[waive.user-linger]\nreason = \"x\"\nuntil = \"soon\"\n",
            ":1: waive.user-linger: expected until = \"YYYY-MM-DD\"",
        ),
        ("[waive.user-lingers]\nreason = \"x\"\n", ":1: waive.user-lingers: expected the id of a check"),
    ];
    let boot = [
        ("[boot]\nfiles = [\"/boot/a\"]\n", ":1: files: expected method beside it"),
        (
            "[boot]\nmethod = \"extlinux\"\nfiles = [\"/boot/../etc/a\"]\n",
            ":3: \"/boot/../etc/a\": expected an absolute path of a file, without ..",
        ),
        (
            "[boot]\nmethod = \"extlinux\"\nfiles = [\"boot/a\"]\n",
            ":3: \"boot/a\": expected an absolute path",
        ),
        (
            "# ours\nprofile = \"RPI4\"\n",
            ":2: profile: no profile named \"RPI4\": did you mean rpi4?\n  The profiles are generic, ",
        ),
        ("extends = \"rpi4\"\n", ":1: expected a list, extends = [\"rpi4\"]"),
    ];
    for (text, message) in cases.into_iter().chain(boot) {
        let image = with_site(text);
        let output = edgeprep(&["check", "--root", image.root()]);
        assert_eq!(output.status.code(), Some(2), "{text}");
        let wanted = format!("/etc/edgeprep/edgeprep.toml{message}");
        assert!(stderr(&output).contains(&wanted), "{text}: {}", stderr(&output));
    }
}

#[test]
fn layers_that_contradict_each_other_are_both_named() {
    let image =
        with_site("[[sysctl]]\nkey = \"net.ipv4.ip_forward\"\nequals = \"0\"\nlevel = \"required\"\n");
    let output = edgeprep(&["check", "--root", image.root(), "--stack", "k3s"]);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    for part in ["net.ipv4.ip_forward", "1 (profiles/stacks/k3s.toml:", "0 (/etc/edgeprep/edgeprep.toml:1)"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn a_site_chooses_stacks_user_and_profile() {
    let image = with_site("stacks = [\"kind\"]\nuser = \"edge\"\nprofile = \"vehicle\"\n");
    image.put("etc/edgeprep/profiles/vehicle.toml", "summary = \"ours\"\nstacks = [\"k3s\"]\n");
    image.put("etc/passwd", "edge:x:1000:1000::/home/edge:\nother:x:1001:1001::/home/other:\n");
    let (report, _) = report(&["--root", image.root()]);
    assert_eq!(report["profile"]["name"], "vehicle");
    assert_eq!(report["profile"]["chosen"], "named");
    assert_eq!(report["users"][0]["name"], "edge");
    assert_eq!(report["stacks"].as_array().unwrap().len(), 1);
    assert_eq!(report["stacks"][0]["name"], "kind");
}

#[test]
fn a_sites_own_profile_is_recognised_before_ours_and_two_are_an_error() {
    let image = Image::debian();
    // A program of the image tells its architecture: an ELF header of x86_64.
    let elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0";
    image.put("usr/lib/systemd/systemd", elf);
    image.put("etc/edgeprep/profiles/a.toml", "[recognise]\narch = [\"x86_64\"]\n");
    let (first, _) = report(&["--root", image.root()]);
    assert_eq!(first["profile"]["name"], "a");
    image.put("etc/edgeprep/profiles/b.toml", "[recognise]\narch = [\"x86_64\"]\n");
    let output = edgeprep(&["check", "--root", image.root()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("the profiles a and b both recognise this hardware"),
        "{}",
        stderr(&output)
    );
}

/// The profile that the site file names, with other profiles of the site.
fn extending(files: &[(&str, &str)]) -> (Image, String) {
    let image = with_site("profile = \"vehicle\"\n");
    for (name, text) in files {
        image.put(&format!("etc/edgeprep/profiles/{name}.toml"), text);
    }
    let output = edgeprep(&["check", "--root", image.root(), "--select", "memory-size"]);
    (image, stderr(&output))
}

#[test]
fn a_profile_extends_others_and_decides_over_them() {
    let (image, _) = extending(&[
        (
            "vehicle",
            "extends = [\"gateway\"]\nstacks = [\"kind\"]\nnotes = [\"of the vehicle\"]\n[k3s]\nmtu = 1400\n",
        ),
        (
            "gateway",
            "extends = [\"rpi4\"]\nstacks = [\"podman\"]\nnotes = [\"of the gateway\"]\n[k3s]\nmtu = 1300\n\
             cidr = \"10.64.0.0/16\"\n[[memory]]\nat-least = 99000000000\nlevel = \"required\"\nwhy = \"maps\"\n",
        ),
        // Named as the built-in one, which is what it extends.
        ("rpi4", "extends = [\"rpi4\"]\nnotes = [\"of ours\"]\n"),
    ]);
    let output = edgeprep(&["check", "--root", image.root()]);
    assert!(
        stderr(&output)
            .contains("vehicle.toml:1: extends: vehicle > gateway > rpi4 > rpi4 is deeper than 2 levels"),
        "{}",
        stderr(&output)
    );

    image.put("etc/edgeprep/profiles/rpi4.toml", "notes = [\"of ours\"]\n");
    let (report, _) = report(&["--root", image.root()]);
    assert_eq!(report["profile"]["name"], "vehicle");
    assert_eq!(
        report["profile"]["notes"],
        serde_json::json!(["of the vehicle", "of the gateway", "of ours"]),
        "the nearest first"
    );
    assert_eq!(report["stacks"][0]["name"], "kind", "and not podman");
    image.put("etc/edgeprep/edgeprep.toml", "profile = \"rpi4\"\n");
    image.put("etc/edgeprep/profiles/rpi4.toml", "extends = [\"rpi4\"]\nnotes = [\"of ours\"]\n");
    let text = common::stdout(&edgeprep(&["detect", "--root", image.root()]));
    assert!(text.contains("note          of ours\n") && text.contains("cgroup_enable=memory"), "{text}");
}

#[test]
fn what_is_extended_and_is_not_there_or_too_deep_is_an_error_with_file_and_line() {
    let dir = "/etc/edgeprep/profiles";
    let cases: [(&[(&str, &str)], String); 8] = [
        (
            &[("vehicle", "\nextends = [\n  \"gatway\",\n]\n"), ("gateway", "")],
            format!(
                "{dir}/vehicle.toml:3: extends: no profile named \"gatway\": did you mean gateway?\n  The profiles are"
            ),
        ),
        // Itself, and there is no built-in one of the name.
        (
            &[("vehicle", "extends = [\"vehicle\"]\n")],
            format!("{dir}/vehicle.toml:1: extends: vehicle extends itself\n"),
        ),
        (
            &[("vehicle", "extends = [\"b\"]\n"), ("b", "extends = [\"vehicle\"]\n")],
            format!("{dir}/vehicle.toml:1: extends: vehicle extends itself by way of b\n"),
        ),
        (
            &[
                ("vehicle", "extends = [\"b\"]\n"),
                ("b", "extends = [\"c\"]\n"),
                ("c", "extends = [\"vehicle\"]\n"),
            ],
            format!("{dir}/vehicle.toml:1: extends: vehicle extends itself by way of b and c\n"),
        ),
        (
            &[
                ("vehicle", "\nextends = [\"b\"]\n"),
                ("b", "extends = [\"c\"]\n"),
                ("c", "extends = [\"b\"]\n"),
            ],
            format!("{dir}/vehicle.toml:2: extends: b extends itself by way of c\n"),
        ),
        (
            &[("vehicle", "extends = [\"b\"]\n"), ("b", "extends = [\"rpi4\"]\n")],
            format!(
                "{dir}/vehicle.toml:1: extends: vehicle > b > rpi4 > raspberry-pi is deeper than 2 levels\n"
            ),
        ),
        (
            &[("vehicle", "\n\nprofile = \"rpi4\"\n")],
            format!(
                "{dir}/vehicle.toml:3: profile: only the site file chooses one; expected extends = [\"rpi4\"]"
            ),
        ),
        (
            &[("vehicle", "extends = [\"../../../shadow\"]\n")],
            format!("{dir}/vehicle.toml:1: extends: no profile named \"../../../shadow\""),
        ),
    ];
    for (files, wanted) in cases {
        let (_, said) = extending(files);
        assert!(said.contains(&wanted), "{wanted}: {said}");
    }
    let image = with_site("\nextends = [\"rpi4\"]\n");
    let said = stderr(&edgeprep(&["check", "--root", image.root()]));
    assert!(said.contains("/etc/edgeprep/edgeprep.toml:2: extends: only profiles extend"), "{said}");
}

#[test]
fn a_boot_file_that_is_named_and_absent_is_named_again() {
    let image = with_site("profile = \"gate7\"\n");
    let text = "[boot]\nmethod = \"extlinux\"\nfiles = [\"/boot/gate7.conf\"]\n";
    image.put("etc/edgeprep/profiles/gate7.toml", text);
    let output = edgeprep(&["detect", "--root", image.root(), "--format", "json"]);
    let detected: serde_json::Value = serde_json::from_str(&common::stdout(&output)).unwrap();
    let wanted = "no configuration of extlinux was found in /boot/gate7.conf, which the profile names";
    assert_eq!(detected["boot"]["unknown"], wanted);
}

#[test]
fn a_file_on_the_command_line_extends_those_beside_it() {
    let image = Image::debian();
    let beside = Image::empty();
    beside.put("gate.toml", "extends = [\"common\", \"rpi5\"]\n");
    beside.put("common.toml", "notes = [\"beside it\"]\n");
    let gate = beside.path("gate.toml");
    let args = ["--root", image.root(), "--profile", gate.to_str().unwrap()];
    let (report, _) = report(&args);
    let notes = report["profile"]["notes"].to_string();
    assert!(notes.contains("beside it") && notes.contains("16 KiB"), "{notes}");
    // An image leads to no file of the machine that looks at it.
    beside.put("gate.toml", "extends = [\"../common\"]\n");
    assert!(stderr(&edgeprep(&[&["check"], &args[..]].concat())).contains("no profile named \"../common\""));
}

#[test]
fn a_waiver_is_listed_until_its_last_day_and_counts_as_a_failure_after_it() {
    let image =
        with_site("[waive.cgroup-delegation]\nreason = \"k3s comes later\"\nuntil = \"2999-12-31\"\n");
    let (waived, _) = report(&["--root", image.root(), "--stack", "k3s"]);
    let row = rows(&waived, "cgroup-delegation")[0];
    assert_eq!(
        (&row["status"], &row["reason"]),
        (&"ignored".into(), &"waived: k3s comes later (until 2999-12-31)".into())
    );
    assert!(!waived["stacks"][0]["blockers"].as_array().unwrap().contains(&"cgroup-delegation".into()));

    image.put(
        "etc/edgeprep/edgeprep.toml",
        "[waive.cgroup-delegation]\nreason = \"x\"\nuntil = \"2001-01-01\"\n",
    );
    let (expired, _) = report(&["--root", image.root(), "--stack", "k3s"]);
    let row = rows(&expired, "cgroup-delegation")[0];
    assert_eq!(row["status"], "fail");
    assert_eq!(row["reason"], "its waiver ended on 2001-01-01");
}

#[test]
fn what_is_ignored_is_listed_and_what_is_not_selected_is_not() {
    let image = Image::debian();
    let (ignored, _) = report(&["--root", image.root(), "--stack", "k3s", "--ignore", "cgroup-*"]);
    assert_eq!(status(&ignored, "cgroup-delegation"), "ignored");
    assert_eq!(rows(&ignored, "cgroup-delegation")[0]["reason"], "ignored by --ignore cgroup-*");
    let (selected, code) = report(&["--root", image.root(), "--stack", "k3s", "--select", "subid-*"]);
    let others = |row: &&serde_json::Value| !row["id"].as_str().unwrap().starts_with("subid-");
    for row in selected["checks"].as_array().unwrap().iter().filter(others) {
        assert_eq!((&row["status"], &row["reason"]), (&"ignored".into(), &"not selected".into()));
    }
    assert_eq!(code, 0, "only what was selected counts");
    let text = common::stdout(&edgeprep(&["check", "--root", image.root(), "--select", "subid-*", "-q"]));
    assert!(text.contains("ready (") && text.contains("checks left out)"), "{text}");
}
