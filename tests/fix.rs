//! `fix`, `undo` and `history` as a user runs them, on image roots.
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
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use common::{Image, copy, differences, edgeprep, report, snapshot, status, stderr, stdout};
use serde_json::Value;

const DELEGATE: &str = "etc/systemd/system/user@.service.d/90-rootless.conf";
const SYSCTL: &str = "etc/sysctl.d/90-rootless.conf";

/// `fix --yes --format json` on an image for k3s and the user edge, with more arguments.
fn fix(root: &Path, more: &[&str]) -> (Value, i32) {
    let fixed = ["fix", "--root", root.to_str().unwrap(), "--stack", "k3s", "--user", "edge"];
    let output = edgeprep(&[&fixed[..], &["--yes", "--format", "json"], more].concat());
    let text = stdout(&output);
    let report = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{}", stderr(&output)));
    (report, output.status.code().unwrap())
}

fn undo(root: &Path, more: &[&str]) -> (Value, i32) {
    let output =
        edgeprep(&[&["undo", "--root", root.to_str().unwrap(), "--yes", "--format", "json"], more].concat());
    let text = stdout(&output);
    let report = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{}", stderr(&output)));
    (report, output.status.code().unwrap())
}

fn paths(report: &Value) -> Vec<&str> {
    report["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect()
}

#[test]
fn a_fix_does_what_it_said_once_and_is_undone_byte_for_byte() {
    let image = Image::debian();
    image.put("var/lib/systemd/random-seed", "");
    let root = image.path("");
    let before = snapshot(&root);
    let arguments = ["fix", "--root", image.root(), "--stack", "k3s", "--user", "edge", "--dry-run"];
    let planned = edgeprep(&[&arguments[..], &["--format", "json"]].concat());
    let planned: Value = serde_json::from_slice(&planned.stdout).unwrap();
    assert_eq!(planned["changed"], true);
    assert_eq!(differences(&before, &snapshot(&root)), [""; 0], "a dry run writes nothing");
    assert!(!image.path("var/lib/edgeprep").exists(), "not even a journal");

    let (done, code) = fix(&root, &[]);
    assert_eq!(code, 1, "k3s itself is not installed");
    assert_eq!((&done["schema"], &done["changed"]), (&"edgeprep.fix/1".into(), &true.into()));
    assert_eq!(done["files"], planned["files"], "the plan is what is done");
    assert!(paths(&done).contains(&format!("/{DELEGATE}").as_str()), "{done}");
    assert_eq!(done["journal"], 1);
    assert_eq!(status(&done["report"], "cgroup-delegation"), "pass");
    assert_eq!(done["report"], report(&["--root", image.root(), "--stack", "k3s", "--user", "edge"]).0);
    let text = fs::read_to_string(image.path(DELEGATE)).unwrap();
    assert!(
        text.contains("\nDelegate=cpu cpuset io memory pids\n") || text.contains("\nDelegate=cpu cpuset"),
        "{text}"
    );
    let after = snapshot(&root);

    let (again, code) = fix(&root, &[]);
    assert_eq!((&again["changed"], &again["journal"], code), (&false.into(), &Value::Null, 1));
    assert_eq!(differences(&after, &snapshot(&root)), [""; 0]);

    let (undone, code) = undo(&root, &[]);
    assert_eq!((code, undone["left"].as_array().unwrap().len()), (0, 0), "{undone}");
    assert_eq!(differences(&before, &snapshot(&root)), [""; 0]);
    let nothing = edgeprep(&["undo", "--root", image.root(), "--yes"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(stderr(&nothing).contains("nothing to undo"), "{}", stderr(&nothing));
    let history = stdout(&edgeprep(&["history", "--root", image.root()]));
    assert!(history.contains("1  undone (k3s for edge)"), "{history}");
}

#[test]
fn the_same_input_gives_the_same_bytes_and_times() {
    let first = Image::debian();
    let folder = tempfile::tempdir().unwrap();
    let roots = ["one", "two"].map(|name| folder.path().join(name));
    for root in &roots {
        copy(&first.path(""), root);
        let output = common::command(&[
            "fix",
            "--root",
            root.to_str().unwrap(),
            "--stack",
            "k3s",
            "--user",
            "edge",
            "--yes",
        ])
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .output()
        .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        for path in [DELEGATE, "etc/systemd/system/user@.service.d", "var/lib/edgeprep/0001.json"] {
            assert_eq!(fs::symlink_metadata(root.join(path)).unwrap().mtime(), 1_700_000_000, "{path}");
        }
    }
    let tree = |root: &Path| (snapshot(root), fs::read(root.join("var/lib/edgeprep/0001.json")).unwrap());
    assert_eq!(tree(&roots[0]), tree(&roots[1]));
}

#[test]
fn what_others_changed_since_is_left_and_said() {
    let image = Image::debian();
    let root = image.path("");
    fix(&root, &[]);
    let edited = format!("{}# mine\n", fs::read_to_string(image.path(SYSCTL)).unwrap());
    image.put(SYSCTL, &edited);
    let (undone, code) = undo(&root, &[]);
    assert_eq!(code, 1);
    assert_eq!(undone["left"], serde_json::json!([format!("/{SYSCTL}")]));
    assert_eq!(fs::read_to_string(image.path(SYSCTL)).unwrap(), edited);
    assert!(!image.path(DELEGATE).exists(), "the rest is undone");
}

#[test]
fn a_file_of_ours_that_a_person_edited_is_edited_again_and_not_replaced() {
    let image = Image::debian();
    image.put(SYSCTL, "# by hand\r\nvm.swappiness = 10\nnet.ipv4.ip_forward = 0\n");
    fix(&image.path(""), &[]);
    let text = fs::read_to_string(image.path(SYSCTL)).unwrap();
    assert!(text.starts_with("# by hand\r\nvm.swappiness = 10\nnet.ipv4.ip_forward = 1"), "{text:?}");
}

#[test]
fn a_network_that_cannot_be_is_refused_before_anything_is_written() {
    let image = Image::debian();
    image.put("etc/edgeprep/edgeprep.toml", "# site\n[k3s]\ncidr = \"10.64.0.0/16\"\n");
    image.put("etc/rancher/k3s/config.yaml", "cluster-cidr: 10.64.128.0/17\n");
    let before = snapshot(&image.path(""));
    for more in ["--yes", "--dry-run"] {
        let output = edgeprep(&["fix", "--root", image.root(), "--stack", "k3s", "--user", "edge", more]);
        assert_eq!(output.status.code(), Some(2));
        let expected = "/etc/edgeprep/edgeprep.toml:3: cidr = \"10.64.0.0/16\" of [k3s] overlaps 10.64.128.0/17, the \
                        network of pods of edge (/etc/rancher/k3s/config.yaml:1): choose another";
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
    assert_eq!(differences(&before, &snapshot(&image.path(""))), [""; 0]);
}

#[test]
fn nobody_to_ask_means_no() {
    let image = Image::debian();
    let before = snapshot(&image.path(""));
    let output = edgeprep(&["fix", "--root", image.root(), "--stack", "k3s", "--user", "edge"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--yes"), "{}", stderr(&output));
    assert_eq!(differences(&before, &snapshot(&image.path(""))), [""; 0]);
    assert!(!image.path("var/lib/edgeprep").exists());
}

#[test]
fn an_image_can_be_left_without_a_trace() {
    let image = Image::debian();
    let (done, _) = fix(&image.path(""), &["--no-journal"]);
    assert_eq!(done["journal"], Value::Null);
    assert!(image.path(DELEGATE).exists() && !image.path("var/lib/edgeprep").exists());
}

#[test]
fn the_vendor_layer_is_below_usr() {
    let image = Image::debian();
    let (done, _) = fix(&image.path(""), &["--layer", "vendor"]);
    let below_etc: Vec<&str> = paths(&done).into_iter().filter(|path| path.starts_with("/etc")).collect();
    assert_eq!(below_etc, [""; 0], "{:?}", paths(&done));
    assert_eq!(status(&done["report"], "cgroup-delegation"), "pass");
    assert_eq!(status(&done["report"], "user-linger"), "pass");
}

#[test]
fn two_fixes_at_once_are_one_after_the_other() {
    let image = Image::debian();
    let root = image.path("");
    let results: Vec<(Value, i32)> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| fix(&root, &[]))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let changed: Vec<bool> = results.iter().map(|(report, _)| report["changed"] == true).collect();
    assert_eq!(changed.iter().filter(|&&changed| changed).count(), 1, "{changed:?}");
    assert!(results.iter().all(|(_, code)| *code == 1), "{results:?}");
}

#[test]
fn a_link_out_of_the_image_leads_nowhere() {
    let image = Image::debian();
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir_all(image.path("etc")).unwrap();
    symlink(outside.path(), image.path("etc/sysctl.d")).unwrap();
    symlink("../../../../../../../../..", image.path("etc/modules-load.d")).unwrap();
    fix(&image.path(""), &[]);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(!Path::new("/rootless.conf").exists());
}

/// A journal of each format there ever was is undone.
#[test]
fn old_journals_are_undone() {
    let image = Image::debian();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journals");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let journal = entry.unwrap().path();
        image.put("etc/subuid", "edge:100000:65536\n");
        image.put(DELEGATE, "[Service]\nDelegate=cpu cpuset io memory pids\n");
        image.mode(DELEGATE, 0o644);
        image.mode("usr/bin/newuidmap", 0o4755);
        fs::create_dir_all(image.path("var/lib/edgeprep")).unwrap();
        fs::copy(&journal, image.path("var/lib/edgeprep/0001.json")).unwrap();
        let uid = fs::metadata(image.path("etc/subuid")).unwrap().uid();
        assert_eq!(uid, 0, "the journals name root");
        let (undone, code) = undo(&image.path(""), &[]);
        assert_eq!(code, 0, "{}: {undone}", journal.display());
        assert_eq!(fs::read_to_string(image.path("etc/subuid")).unwrap(), "");
        assert!(!image.path(DELEGATE).exists());
        assert_eq!(fs::metadata(image.path("usr/bin/newuidmap")).unwrap().mode() & 0o7777, 0o755);
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn a_journal_of_a_later_version_is_not_touched() {
    let image = Image::debian();
    image.put("var/lib/edgeprep/0001.json", "{\"schema\": \"edgeprep.journal/9\", \"new\": 1}\n");
    image.mode("var/lib/edgeprep", 0o700);
    let before = snapshot(&image.path(""));
    for command in ["fix", "undo"] {
        let output = edgeprep(&[command, "--root", image.root(), "--yes"]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert!(stderr(&output).contains("edgeprep.journal/9"), "{}", stderr(&output));
    }
    assert_eq!(differences(&before, &snapshot(&image.path(""))), [""; 0]);
}

#[test]
fn what_programs_read_matches_the_schemas() {
    let image = Image::debian();
    let check = |name: &str, value: &Value| {
        let text = fs::read_to_string(format!("docs/{name}.schema.json")).unwrap();
        let validator = jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap();
        let errors: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    };
    let (fixed, _) = fix(&image.path(""), &[]);
    check("fix", &fixed);
    check("undo", &undo(&image.path(""), &[]).0);
}

#[test]
fn a_fix_for_another_stack_keeps_what_the_first_wrote() {
    let image = Image::debian();
    fix(&image.path(""), &[]);
    let first = fs::read_to_string(image.path(SYSCTL)).unwrap();
    let args = ["fix", "--root", image.root(), "--stack", "podman,kind", "--user", "edge", "--yes"];
    edgeprep(&args);
    let second = fs::read_to_string(image.path(SYSCTL)).unwrap();
    for line in first.lines() {
        assert!(second.contains(line), "{line} in {second}");
    }
    assert!(second.contains("net.ipv4.ip_unprivileged_port_start = 80"), "{second}");
    // Newest first: the older one cannot go while the newer stands on it.
    let early = edgeprep(&["undo", "1", "--root", image.root(), "--yes"]);
    assert_eq!(early.status.code(), Some(2));
    assert!(stderr(&early).contains("undo fix 2 first"), "{}", stderr(&early));
    assert_eq!(undo(&image.path(""), &[]).1, 0);
    assert_eq!(fs::read_to_string(image.path(SYSCTL)).unwrap(), first);
    assert_eq!(undo(&image.path(""), &[]).1, 0);
    assert!(!image.path(SYSCTL).exists());
}

/// A process was killed after a good fix: what it left is put right, and the good fix stays.
#[test]
fn undo_after_an_interruption_puts_that_right_and_no_more() {
    let image = Image::debian();
    fix(&image.path(""), &[]);
    let after = snapshot(&image.path(""));
    let journal = image.path("var/lib/edgeprep/0001.json");
    let text = fs::read_to_string(&journal).unwrap();
    let second = text.replacen("\"id\": 1", "\"id\": 2", 1).replacen("\"done\"", "\"open\"", 1);
    let mut second: Value = serde_json::from_str(&second).unwrap();
    second["changes"] = serde_json::json!([]);
    image.put("var/lib/edgeprep/0002.json", second.to_string());
    let (undone, code) = undo(&image.path(""), &[]);
    assert_eq!((code, &undone["journal"]), (0, &Value::Null), "{undone}");
    assert_eq!(differences(&after, &snapshot(&image.path(""))), [""; 0]);
    assert_eq!(undo(&image.path(""), &[]).0["journal"], 1);
}

/// What cannot be put back is said with a code of its own, and something else in its place is left.
#[test]
fn something_else_in_the_place_of_a_file_is_left() {
    let image = Image::debian();
    fix(&image.path(""), &[]);
    fs::remove_file(image.path(SYSCTL)).unwrap();
    nix::unistd::mkfifo(&image.path(SYSCTL), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let (undone, code) = undo(&image.path(""), &[]);
    assert_eq!(code, 1, "{undone}");
    assert_eq!(undone["left"], serde_json::json!([format!("/{SYSCTL}")]));
    assert!(!undone["restored"].to_string().contains(SYSCTL));
}

/// As mmdebstrap has locked the root that it makes an archive of.
#[test]
fn a_root_that_its_builder_has_locked_is_repaired_by_one_at_a_time() {
    let image = Image::debian();
    let builder = fs::File::open(image.path("")).unwrap();
    builder.lock().unwrap();
    fix(&image.path(""), &["--no-journal"]);
    let other = fs::File::open(image.path("etc")).unwrap();
    other.lock().unwrap();
    let arguments =
        ["fix", "--stack", "podman", "--user", "edge", "--root", image.root(), "--yes", "--no-journal"];
    let output = edgeprep(&arguments);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("another edgeprep is at work"), "{}", stderr(&output));
}

/// The image belongs to a user, who has put a journal into it that would have root make a setuid file.
#[test]
fn root_takes_no_journal_from_somebody_elses_image() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let image = Image::debian();
    let journal = r#"{"schema": "edgeprep.journal/1", "id": 1, "version": "0.1.0", "status": "open",
        "users": [], "stacks": [], "activations": [], "changes": [{"path": "/pwned", "by": "system",
        "after": "absent", "before": {"file": {"content": {"text": "x"}, "mode": 3565, "uid": 1001, "gid": 0}}}]}"#;
    image.put("var/lib/edgeprep/0001.json", journal);
    image.mode("var/lib/edgeprep", 0o700);
    let status =
        std::process::Command::new("chown").args(["-R", "1000:1000", image.root()]).status().unwrap();
    assert!(status.success());
    for command in [&["fix", "--stack", "podman", "--user", "edge"][..], &["undo"]] {
        let output = edgeprep(&[command, &["--root", image.root(), "--yes"]].concat());
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        assert!(stderr(&output).contains("--no-journal"), "{}", stderr(&output));
    }
    assert!(!image.path("pwned").exists());
    // Without a journal it is done, and gives no privileges to what the user owns.
    image.mode("usr/bin/newuidmap", 0o755);
    let args =
        ["fix", "--stack", "podman", "--user", "edge", "--root", image.root(), "--yes", "--no-journal"];
    let output = edgeprep(&args);
    assert_eq!(output.status.code(), Some(5), "{}", stdout(&output));
    assert_eq!(fs::metadata(image.path("usr/bin/newuidmap")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn journals_can_be_kept_elsewhere() {
    let image = Image::debian();
    let elsewhere = tempfile::tempdir().unwrap();
    let state = elsewhere.path().join("a/../journals");
    fs::create_dir(elsewhere.path().join("a")).unwrap();
    let state = ["--state", state.to_str().unwrap()];
    fix(&image.path(""), &state);
    assert!(!image.path("var/lib/edgeprep").exists());
    assert!(elsewhere.path().join("journals/0001.json").exists());
    assert_eq!(undo(&image.path(""), &state).1, 0);
    assert!(!image.path(DELEGATE).exists());
    let output = edgeprep(&["history", "--root", image.root(), "--state", "/"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_report_goes_where_it_was_asked_for() {
    let image = Image::debian();
    let file = tempfile::tempdir().unwrap();
    let file = file.path().join("report.json");
    let (root, out) = (image.root(), file.to_str().unwrap());
    edgeprep(&[
        "fix", "--root", root, "--stack", "k3s", "--user", "edge", "--yes", "--format", "json", "-o", out,
    ]);
    let report: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(report["schema"], "edgeprep.fix/1");
}

/// `useradd`, which gives ranges of its own, runs in a loop beside fixes: no line is lost, and nothing overlaps.
#[test]
fn ranges_are_given_beside_useradd() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let image = Image::debian();
    image.put("etc/shadow", "root:*:::::::\n");
    image.put("etc/gshadow", "root:*::\n");
    let mut passwd = fs::read_to_string(image.path("etc/passwd")).unwrap();
    for (at, name) in ["one", "two", "three"].into_iter().enumerate() {
        passwd.push_str(&format!("{name}:x:{0}:{0}::/home/{name}:/bin/sh\n", 2000 + at));
    }
    image.put("etc/passwd", passwd);
    let users = std::thread::scope(|scope| {
        let adding = scope.spawn(|| {
            let add = |name: &String| {
                let mut useradd = std::process::Command::new("useradd");
                useradd
                    .args(["--prefix", image.root(), "--no-create-home", name])
                    .output()
                    .unwrap()
                    .status
                    .success()
            };
            (0..12).map(|n| format!("u{n}")).filter(add).collect::<Vec<_>>()
        });
        for name in ["one", "two", "three"] {
            let arguments = ["fix", "--root", image.root(), "--stack", "podman", "--select", "subid-range"];
            // Whoever comes in between makes the plan stale, and nothing is changed then.
            let done = (0..200).any(|_| {
                let output = edgeprep(&[&arguments[..], &["--user", name, "--yes", "--no-journal"]].concat());
                assert!(matches!(output.status.code(), Some(0 | 2 | 5)), "{}", stdout(&output));
                output.status.code() == Some(0)
            });
            assert!(done, "{name}");
        }
        adding.join().unwrap()
    });
    assert!(users.len() > 6, "useradd (passwd) had its turns: {users:?}");
    for file in ["etc/subuid", "etc/subgid"] {
        let text = fs::read_to_string(image.path(file)).unwrap();
        let field = |line: &str, at: usize| line.split(':').nth(at).unwrap().parse::<u64>().unwrap();
        let mut ranges: Vec<(u64, u64)> = text.lines().map(|line| (field(line, 1), field(line, 2))).collect();
        for name in users.iter().map(String::as_str).chain(["edge", "one", "two", "three"]) {
            assert_eq!(
                text.lines().filter(|line| line.starts_with(&format!("{name}:"))).count(),
                1,
                "{name}: {text}"
            );
        }
        ranges.sort_unstable();
        assert!(ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{file}: {text}");
    }
}

#[test]
fn what_k3d_starts_with_is_written_met_and_taken_back() {
    let image = Image::debian();
    image.put("usr/bin/podman", "");
    image.mode("usr/bin/podman", 0o755);
    image.put(
        "var/lib/dpkg/status",
        "Package: podman\nStatus: install ok installed\nVersion: 5.4.2+ds1-2\n\n",
    );
    image.put("var/lib/dpkg/info/podman.list", "/usr/bin/podman\n");
    let root = image.path("");
    let before = snapshot(&root);
    let only = ["--stack", "k3d", "--user", "edge", "--select", "k3d-network,docker-host", "--root"];
    let checked = || report(&[&only[..], &[image.root()]].concat()).0;
    assert_eq!(status(&checked(), "k3d-network"), "fail");
    let output = edgeprep(&[&["fix", "--yes", "--format", "json"], &only[..], &[image.root()]].concat());
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = ["/etc/containers/systemd/users/k3d.network", "/etc/environment.d/90-rootless.conf"];
    let files: Vec<&str> = paths(&done).into_iter().filter(|path| !path.ends_with('/')).collect();
    assert!(expected.iter().all(|path| files.contains(path)), "{files:?}");
    for check in ["k3d-network", "docker-host"] {
        assert_eq!(status(&checked(), check), "pass");
    }
    // What a user manager starts with is what a shell evaluates.
    let printed = edgeprep(&["env", "--stack", "k3d", "--user", "edge", "--root", image.root()]);
    let written = fs::read_to_string(image.path("etc/environment.d/90-rootless.conf")).unwrap();
    for line in stdout(&printed).lines().filter_map(|line| line.strip_prefix("export ")) {
        let of_edge = |set: &str| format!("{};", set.replace("${XDG_RUNTIME_DIR}", "/run/user/1000"));
        assert!(written.lines().any(|set| line == of_edge(set)), "{line}: {written}");
    }
    undo(&root, &[]);
    let left = differences(&before, &snapshot(&root));
    assert!(left.iter().all(|path| path.contains("var/lib/edgeprep")), "{left:?}");
}
