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
        ("\nstacks = [\"docker\"]\n", ":2: unknown variant `docker`, expected one of `podman`"),
        ("colour = \"red\"\n", ":1: unknown field `colour`"),
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
        ("[waive.user-linger]\nuntil = \"2027-03-01\"\n", ":1: missing field `reason`"),
        (
            "[waive.user-linger]\nreason = \"x\"\nuntil = \"soon\"\n",
            ":1: waive.user-linger: expected until = \"YYYY-MM-DD\"",
        ),
        ("[waive.user-lingers]\nreason = \"x\"\n", ":1: waive.user-lingers: expected the id of a check"),
    ];
    for (text, message) in cases {
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
