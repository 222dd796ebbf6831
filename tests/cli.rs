//! The command line against its contract: exit codes, messages, formats, determinism.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::disallowed_methods, reason = "tests make files and start the binary")]

mod common;

use std::fs;
use std::process::Stdio;

use common::{Image, command, edgeprep, fixture, report, stderr, stdout};
use serde_json::Value;

/// A captured host and an image, for what must hold of every report.
fn hosts() -> (Image, Vec<Vec<String>>) {
    let image = Image::debian();
    let root = vec!["--root".to_owned(), image.root().to_owned()];
    let capture = vec!["--capture".to_owned(), fixture("debian-13").to_str().unwrap().to_owned()];
    (image, vec![root, capture])
}

fn refs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
fn what_cannot_be_done_exits_2_with_a_message() {
    let image = Image::debian();
    let root = image.root();
    let cases: &[(&[&str], &str)] = &[
        (&["frobnicate"], "unrecognized subcommand"),
        (&["check", "--stack", "nope"], "podman-kube"),
        (
            &["check", "--root", root, "--profile", "nope"],
            "no profile named \"nope\"\n  The profiles are generic, ",
        ),
        (&["check", "--root", root, "--profile", "pri4"], "no profile named \"pri4\": did you mean rpi4?"),
        (
            &["check", "--root", root, "--profile", "rpi4.toml"],
            "rpi4.toml does not exist; the built-in profile is named rpi4",
        ),
        (&["check", "--root", root, "--profile", "./nope.toml"], "./nope.toml does not exist"),
        (
            &["check", "--root", root, "--user", "nobody-here"],
            "no user \"nobody-here\" in /etc/passwd (regular users: edge)",
        ),
        (&["check", "--root", root, "--user", "4711"], "no user \"4711\""),
        (&["check", "--root", "/nonexistent"], "/nonexistent does not exist"),
        (&["check", "--root", "/etc/passwd"], "expected a directory"),
        (&["check", "--capture", root], "no host.toml in it"),
        (&["check", "--root", root, "--select", "nope-*"], "no check matches \"nope-*\""),
        (&["check", "--root", root, "--ignore", "nope"], "no check matches \"nope\""),
        (&["check", "--root", root, "--capture", root], "cannot be used with"),
        (&["check", "--root", root, "-v", "-q"], "cannot be used with"),
        (&["explain", "nope"], "edgeprep list checks"),
    ];
    for (args, message) in cases {
        let output = edgeprep(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(message), "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{args:?}");
    }
}

#[test]
fn several_users_and_none_named_is_an_error_that_lists_them() {
    let image = Image::debian();
    image.put("etc/passwd", "edge:x:1000:1000::/home/edge:\nother:x:1001:1001::/home/other:\n");
    let output = edgeprep(&["check", "--root", image.root()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("regular users: edge, other"), "{}", stderr(&output));
    image.put("etc/passwd", "root:x:0:0::/root:\n");
    let output = edgeprep(&["check", "--root", image.root()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no regular user"), "{}", stderr(&output));
}

#[test]
fn users_are_found_by_name_and_by_uid_and_each_has_verdicts() {
    let image = Image::debian();
    image.put("etc/passwd", "edge:x:1000:1000::/home/edge:\nother:x:1001:1001::/home/other:\n");
    let (report, _) =
        report(&["--root", image.root(), "--user", "1000", "--user", "other", "--user", "edge"]);
    let names: Vec<&str> =
        report["users"].as_array().unwrap().iter().map(|u| u["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["edge", "other"]);
    assert_eq!(report["stacks"].as_array().unwrap().len(), 4, "two stacks for two users");
}

#[test]
fn reports_are_deterministic_and_match_the_schema() {
    let schema: Value =
        serde_json::from_str(&fs::read_to_string("docs/report.schema.json").unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let (_image, hosts) = hosts();
    for host in hosts {
        let args = [&["check", "--format", "json"][..], &refs(&host)].concat();
        let (first, second) = (edgeprep(&args), edgeprep(&args));
        assert_eq!(stdout(&first), stdout(&second));
        let report: Value = serde_json::from_str(&stdout(&first)).unwrap();
        let errors: Vec<String> = validator.iter_errors(&report).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(report["summary"]["exit_code"], first.status.code().unwrap());
        let keys: Vec<&String> = report.as_object().unwrap().keys().collect();
        assert_eq!(keys.len(), 9, "{keys:?}");
        for row in report["checks"].as_array().unwrap() {
            let reason = row["reason"].as_str().unwrap_or_default();
            match row["status"].as_str().unwrap() {
                "skip" | "unknown" | "ignored" => assert!(!reason.is_empty(), "{row}"),
                "fail" => {
                    let open = |f: &&Value| f["verdict"] != "met";
                    for finding in row["findings"].as_array().unwrap().iter().filter(open) {
                        assert!(!finding["remedy"]["summary"].as_str().unwrap().is_empty(), "{finding}");
                    }
                }
                status => assert_eq!(status, "pass"),
            }
        }
    }
}

#[test]
fn what_is_detected_matches_its_schema() {
    let schema: Value =
        serde_json::from_str(&fs::read_to_string("docs/detect.schema.json").unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let (_image, hosts) = hosts();
    for host in hosts {
        let output = edgeprep(&[&["detect", "--format", "json"][..], &refs(&host)].concat());
        let detected: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let errors: Vec<String> = validator.iter_errors(&detected).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
        let head = "{\n  \"schema\": \"edgeprep.detect/1\",\n  \"version\": ";
        assert!(stdout(&output).starts_with(head), "{}", stdout(&output));
    }
}

#[test]
fn help_fits_a_terminal() {
    let commands = stdout(&edgeprep(&["--help"]));
    let commands = commands.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    let names: Vec<String> =
        commands.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect();
    assert!(names.iter().any(|name| name == "fix"), "{names:?}");
    let each = names.iter().map(|name| vec![name.as_str(), "--help"]);
    let short = names.iter().map(|name| vec![name.as_str(), "-h"]);
    for args in each.chain(short).chain([vec!["--help"]]).filter(|args| args[0] != "help") {
        let text = stdout(&edgeprep(&args));
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(!text.is_empty() && wide.is_empty(), "{args:?}: {wide:?}");
    }
}

#[test]
fn a_timestamp_only_where_it_is_asked_for() {
    let image = Image::debian();
    let (plain, _) = report(&["--root", image.root()]);
    assert!(plain.get("timestamp").is_none());
    let (stamped, _) = report(&["--root", image.root(), "--timestamp"]);
    assert!(stamped["timestamp"].as_u64().unwrap() > 1_700_000_000);
}

#[test]
fn people_get_80_columns_and_no_colour_in_a_pipe() {
    let (_image, hosts) = hosts();
    for host in hosts {
        for detail in [&[][..], &["-q"]] {
            let output = edgeprep(&[&["check"], &refs(&host)[..], detail].concat());
            let text = stdout(&output);
            assert!(!text.contains('\u{1b}'));
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{line:?}");
            }
            assert!(
                text.lines().last().unwrap().starts_with("Next: ") || text.contains("\nNext: "),
                "{text}"
            );
        }
        let colored =
            command(&[&["check", "--color", "always"], &refs(&host)[..]].concat()).output().unwrap();
        assert!(stdout(&colored).contains("\u{1b}["));
        let forced =
            command(&[&["check"], &refs(&host)[..]].concat()).env("CLICOLOR_FORCE", "1").output().unwrap();
        assert!(stdout(&forced).contains("\u{1b}["));
    }
}

#[test]
fn without_utf8_nothing_but_ascii_is_printed() {
    let image = Image::debian();
    image.put("usr/lib/os-release", "ID=debian\nPRETTY_NAME=\"Débian\"\n");
    let ascii = command(&["check", "--root", image.root()]).env("LC_ALL", "C").output().unwrap();
    assert!(ascii.stdout.is_ascii() && stdout(&ascii).contains("D?bian"));
    assert!(stdout(&edgeprep(&["check", "--root", image.root()])).contains("Débian"));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child = command(&["explain", "cgroup-delegation"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
}

#[test]
fn output_replaces_a_file_as_a_whole() {
    let image = Image::debian();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("report.json");
    fs::write(&file, "old").unwrap();
    let path = file.to_str().unwrap();
    let output = edgeprep(&["check", "--root", image.root(), "--format", "json", "-o", path]);
    assert_eq!(stdout(&output), "");
    let report: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(report["schema"], "edgeprep.report/1");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    let missing = dir.path().join("no/report.json");
    let output = edgeprep(&["check", "--root", image.root(), "-o", missing.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("cannot write"), "{}", stderr(&output));
}

#[test]
fn options_have_environment_variables() {
    let image = Image::debian();
    let output = command(&["check"])
        .env("EDGEPREP_ROOT", image.root())
        .env("EDGEPREP_FORMAT", "json")
        .env("EDGEPREP_STACK", "kind,k3d")
        .env("EDGEPREP_STRICT", "1")
        .output()
        .unwrap();
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let names: Vec<&str> =
        report["stacks"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["k3d", "kind"]);
    assert!(
        report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["level"] == "required" || row["status"] == "skip")
    );
}

#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    let image = Image::debian();
    let plain = edgeprep(&["check", "--root", image.root(), "--format", "json"]);
    let mut command = command(&["check", "--root", image.root(), "--format", "json"]);
    for name in
        ["CAPTURE", "STACK", "USER", "PROFILE", "SELECT", "IGNORE", "OUTPUT", "STRICT", "VERBOSE", "COLOR"]
    {
        command.env(format!("EDGEPREP_{name}"), "");
    }
    let output = command.env("SUDO_USER", "").output().unwrap();
    assert_eq!((stdout(&output), stderr(&output)), (stdout(&plain), String::new()));
}

#[test]
fn listings_explanations_completions_and_the_manual_page() {
    let image = Image::debian();
    for (args, first) in [
        (&["list", "checks"][..], "systemd-init "),
        (&["list", "stacks"], "podman "),
        (&["list", "profiles"], "generic "),
        (&["explain"], "systemd-init "),
        (&["explain", "user-linger"], "user-linger: User lingers"),
        (&["completions", "bash"], "_edgeprep() {"),
        (&["completions", "zsh"], "#compdef edgeprep"),
        (&["completions", "fish"], "# Print an optspec"),
    ] {
        let output = edgeprep(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
        assert!(stdout(&output).starts_with(first), "{args:?}: {}", stdout(&output));
    }
    for (args, line) in [
        (&["completions", "fish"][..], "complete -c edgeprep "),
        (&["man"], ".TH edgeprep 1 "),
        (&["man", "fix"], ".TH edgeprep-fix 1 "),
        (&["detect", "--root", image.root()], "architecture "),
    ] {
        let output = edgeprep(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
        assert!(stdout(&output).lines().any(|l| l.starts_with(line)), "{args:?}: {}", stdout(&output));
    }
}

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: dns}
spec:
  containers:
    - name: dns
      image: docker.io/library/alpine:3
      ports:
        - {containerPort: 53, hostPort: 53, protocol: UDP}
      resources: {limits: {memory: 64Mi}}
";

/// Files of a workload, and the options that name a captured host.
fn workload(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let mut args: Vec<String> =
        ["--capture", fixture("debian-13").to_str().unwrap()].map(str::to_owned).into();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        args.extend(["--workload".to_owned(), path.to_str().unwrap().to_owned()]);
    }
    (dir, args)
}

#[test]
fn a_workload_asks_with_its_lines_and_podman_kube_is_its_stack() {
    let (_dir, args) = workload(&[("dns.yaml", POD)]);
    let (report, code) = report(&refs(&args));
    assert_eq!(code, 1);
    assert_eq!(report["stacks"][0]["name"], "podman-kube");
    assert_eq!(report["workload"][0].as_str().unwrap(), args[3]);
    let rows = report["checks"].as_array().unwrap();
    let row =
        rows.iter().find(|row| row["id"] == "unprivileged-ports" && row["level"] == "required").unwrap();
    let finding = &row["findings"][0];
    assert_eq!(
        (finding["expected"].as_str(), finding["verdict"].as_str()),
        (Some("at most 53"), Some("unmet"))
    );
    let evidence = finding["evidence"].as_array().unwrap();
    assert_eq!(evidence[0]["path"], "/proc/sys/net/ipv4/ip_unprivileged_port_start");
    assert_eq!(
        (evidence[1]["path"].as_str(), evidence[1]["line"].as_u64()),
        (Some(args[3].as_str()), Some(9))
    );
    let delegation = rows.iter().find(|row| row["id"] == "cgroup-delegation").unwrap();
    assert_eq!(
        (delegation["level"].as_str(), delegation["status"].as_str()),
        (Some("required"), Some("pass"))
    );
    let shown = stdout(&edgeprep(&[&["check"][..], &refs(&args)].concat()));
    assert!(shown.contains("dns.yaml:9 - {containerPort: 53"), "{shown}");
    assert!(shown.contains("--stack podman-kube --workload"), "fix has to know it, too: {shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
}

#[test]
fn a_workload_that_is_none_exits_2_with_its_line() {
    let laughs: String = ('b'..='i')
        .zip('a'..)
        .map(|(this, last)| format!("{this}: &{this} [{}]\n", vec![format!("*{last}"); 9].join(", ")))
        .collect();
    let laughs = format!("a: &a [lol]\n{laughs}");
    let large = "# 10 MB\n".repeat(1_300_000);
    for (name, text, message) in [
        ("a.yaml", "kind: [", "a.yaml:1: expected YAML: "),
        ("b.yaml", "services: {}\n", "b.yaml:1: expected a Kubernetes object, with apiVersion and kind"),
        ("c.yaml", &POD.replace("hostPort: 53", "hostPort: abc"), "c.yaml:9: hostPort: expected a number"),
        ("d.yaml", &laughs, "values, with aliases written out"),
        ("e.yaml", &large, "e.yaml"),
    ] {
        let (_dir, args) = workload(&[("dns.yaml", POD), (name, text)]);
        let output = edgeprep(&[&["check"][..], &refs(&args)].concat());
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(stderr(&output).contains(message), "{name}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{name}");
    }
}

#[test]
fn a_quadlet_file_that_podman_refuses_is_a_finding_with_its_line() {
    let (_dir, args) = workload(&[("web.container", "[Container]\nImge=localhost/web:1\n")]);
    let output = edgeprep(&[&["check"][..], &refs(&args)].concat());
    assert_eq!(output.status.code(), Some(1));
    let shown = stdout(&output);
    assert!(shown.contains("[Container] has no key Imge="), "{shown}");
    assert!(shown.contains("web.container:2 Imge=localhost/web:1"), "{shown}");
}

#[test]
fn a_quadlet_file_that_no_stack_runs_is_refused() {
    let (_dir, args) = workload(&[("web.container", "[Container]\nImage=localhost/web:1\n")]);
    let output = edgeprep(&[&["check"][..], &refs(&args), &["--stack", "k3s"]].concat());
    assert_eq!(output.status.code(), Some(2));
    let shown = stderr(&output);
    assert!(shown.contains("web.container: nothing in it is for k3s: add --stack podman-kube"), "{shown}");
}

#[test]
fn a_comma_is_part_of_the_name_of_a_workload() {
    let (_dir, args) = workload(&[("a,b.yaml", POD)]);
    let output = edgeprep(&[&["check"][..], &refs(&args)].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}

#[test]
fn what_came_by_standard_input_has_to_be_named_for_a_fix() {
    let image = Image::debian();
    let mut child = command(&["check", "--root", image.root(), "--user", "edge", "--workload", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), POD.as_bytes()).unwrap();
    let shown = stdout(&child.wait_with_output().unwrap());
    assert!(shown.contains("--workload FILE"), "{shown}");
}

#[test]
fn a_workload_can_come_by_standard_input_and_a_fix_repairs_what_it_asks() {
    let image = Image::debian();
    let mut child = command(&["fix", "--root", image.root(), "--user", "edge", "--workload", "-", "--yes"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), POD.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let shown = format!("{}{}", stdout(&output), stderr(&output));
    assert!(shown.contains("net.ipv4.ip_unprivileged_port_start = 53"), "{shown}");
    let written = fs::read_to_string(format!("{}/etc/sysctl.d/90-rootless.conf", image.root())).unwrap();
    assert!(written.contains("net.ipv4.ip_unprivileged_port_start = 53"), "{written}");
}
