//! `check --probe` on the machine that the tests run on: as root for another user, in a mount namespace where
//! files of the host are replaced for the time of a run.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::disallowed_methods, reason = "tests make files and start the binary")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use common::{Image, command, edgeprep, fixture, snapshot, stderr};
use serde_json::Value;

/// A system user of every Debian, who owns nothing and runs nothing.
const USER: &str = "daemon";
/// Ports, cgroups and processes are the machine's: one test at a time.
static MACHINE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    assert!(nix::unistd::geteuid().is_root(), "these tests are root's");
    MACHINE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Files of the host that are replaced for one run, with their modes.
#[derive(Default)]
struct Host<'a> {
    files: Vec<(&'a str, &'a str, u32)>,
    /// Shell commands before the run, in its own mount namespace.
    commands: Vec<&'a str>,
    /// In front of edgeprep.
    prefix: Vec<&'a str>,
}

impl Host<'_> {
    /// The report of `check --probe`.
    fn check(&self, arguments: &[&str]) -> Value {
        let dir = tempfile::tempdir().unwrap();
        // Whoever runs in there has to get in.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut script = String::from("set -e\n");
        for (number, (path, text, mode)) in self.files.iter().enumerate() {
            let file = dir.path().join(number.to_string());
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(*mode)).unwrap();
            script += &format!("mount --bind {} {path}\n", file.display());
        }
        for line in &self.commands {
            script += &format!("{line}\n");
        }
        // Where every user can get at it.
        let binary = dir.path().join("edgeprep");
        fs::write(&binary, "").unwrap();
        let built = assert_cmd::cargo::cargo_bin!("edgeprep").display().to_string();
        script += &format!("mount --bind {built} {}\n", binary.display());
        script += "exec \"$@\"\n";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
        command.args(&self.prefix).arg(&binary).args(["check", "--probe", "--format", "json"]);
        let output = command.args(arguments).env_clear().env("PATH", PATH).output().expect("unshare");
        let text = String::from_utf8(output.stdout).unwrap();
        let report: Value = serde_json::from_str(&text)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(report["summary"]["exit_code"], output.status.code().unwrap());
        report
    }
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Result and text of one trial.
fn trial<'a>(report: &'a Value, probe: &str, subject: &str) -> (&'a str, &'a str) {
    let all = report["probes"].as_array().unwrap();
    let one = all.iter().find(|t| t["probe"] == probe && t["subject"].as_str().unwrap().ends_with(subject));
    let one = one.unwrap_or_else(|| panic!("no {probe} {subject}: {all:#?}"));
    (one["result"].as_str().unwrap(), one["text"].as_str().unwrap())
}

/// The findings of a check, of every level.
fn findings<'a>(report: &'a Value, id: &str) -> Vec<&'a Value> {
    common::rows(report, id).into_iter().flat_map(|row| row["findings"].as_array().unwrap()).collect()
}

fn subid() -> Host<'static> {
    Host {
        files: vec![
            ("/etc/subuid", "daemon:200000:65536\n", 0o644),
            ("/etc/subgid", "daemon:200000:65536\n", 0o644),
        ],
        ..Host::default()
    }
}

/// Everything that a probe could leave behind, apart from modules.
fn traces() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for line in fs::read_to_string("/proc/mounts").unwrap().lines() {
        all.insert(format!("mount {line}"));
    }
    for entry in fs::read_dir("/sys/class/net").unwrap() {
        all.insert(format!("interface {:?}", entry.unwrap().file_name()));
    }
    for entry in fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        // One that ends while it is looked at is none of ours.
        let Ok(words) = fs::read(path.join("cmdline")) else { continue };
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        if ["--probe-as-user", "--as-user", "newuidmap", "newgidmap", "sleep 4711"]
            .iter()
            .any(|w| words.contains(w))
        {
            all.insert(format!("process {words}"));
        }
    }
    let mut open = vec![Path::new("/sys/fs/cgroup").to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                all.insert(format!("cgroup {}", entry.path().display()));
                open.push(entry.path());
            }
        }
    }
    for folder in ["/tmp", "/var/tmp", "/run", "/sys/class/net"] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            all.insert(format!("file {}", entry.path().display()));
        }
    }
    all
}

/// Of what is new only what could be ours: other tests come and go, too.
fn left(before: &BTreeSet<String>) -> Vec<String> {
    let temporary = |trace: &str| trace.starts_with("file /tmp/.tmp") || trace.starts_with("mount /dev/fuse");
    traces().difference(before).filter(|trace| !temporary(trace)).cloned().collect()
}

#[test]
fn each_thing_is_tried_and_nothing_is_left_of_it() {
    let _machine = alone();
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("mine"), "mine").unwrap();
    chown(home.path(), Some(1), Some(1)).unwrap();
    let home_in_passwd =
        format!("daemon:x:1:1::{}:/bin/sh\nroot:x:0:0::/root:/bin/sh\n", home.path().display());
    let mut host = subid();
    host.files.push(("/etc/passwd", &home_in_passwd, 0o644));
    // The device of a machine that has it open to everyone; a bound mount keeps its number.
    host.commands = vec![
        "mount -t tmpfs none /mnt",
        "mknod -m 666 /mnt/tun c 10 200; mknod -m 666 /mnt/fuse c 10 229",
        "mkdir -p /dev/net; touch /dev/net/tun /dev/fuse",
        "mount --bind /mnt/tun /dev/net/tun; mount --bind /mnt/fuse /dev/fuse",
    ];
    let (before, mine) = (traces(), snapshot(home.path()));
    let report = host.check(&["--user", USER, "--stack", "podman,k3s"]);
    assert_eq!(trial(&report, "id-map", "user namespace"), ("works", "made"));
    assert_eq!(trial(&report, "id-map", "/newuidmap"), ("works", "wrote a map of 65537 IDs"));
    assert_eq!(trial(&report, "id-map", "/newgidmap"), ("works", "wrote a map of 65537 IDs"));
    assert_eq!(trial(&report, "overlay-mount", "overlay"), ("works", "mounted and written to"));
    assert_eq!(trial(&report, "tun-open", "/dev/net/tun").0, "works");
    let made = "made in a network namespace of the user's";
    assert_eq!(trial(&report, "vxlan-link", "vxlan"), ("works", made));
    assert_eq!(trial(&report, "fuse-open", "/dev/fuse").0, "works");
    assert_eq!(trial(&report, "port-bind", "tcp/6443"), ("works", "bound"));
    for id in ["userns-limit", "idmap-helpers", "tun-device", "fuse-device", "ports-free"] {
        let evidence = findings(&report, id)[0]["evidence"].to_string();
        assert!(evidence.contains("\"path\":\"probe "), "{id}: {evidence}");
    }
    let contradicted: Vec<&Value> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row["findings"].as_array().unwrap())
        .collect();
    assert!(contradicted.iter().all(|finding| finding.get("overruled").is_none()));
    assert_eq!(left(&before), [""; 0]);
    assert_eq!(snapshot(home.path()), mine);
    let schema: Value =
        serde_json::from_str(&fs::read_to_string("docs/report.schema.json").unwrap()).unwrap();
    let errors: Vec<String> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(&report)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn a_helper_that_only_looks_right_is_found_out() {
    let _machine = alone();
    for (text, said) in [
        ("#!/bin/sh\nexit 0\n", "ended without an error and did not write the map"),
        ("#!/bin/sh\nexit 3\n", "ended with 3 and said nothing"),
        ("#!/bin/sh\necho 'no\x1b[2J' >&2; exit 1\n", "no; [2J"),
    ] {
        let mut host = subid();
        host.files.push(("/usr/bin/newuidmap", text, 0o4755));
        let before = traces();
        let report = host.check(&["--user", USER, "--stack", "podman"]);
        assert_eq!(trial(&report, "id-map", "/newuidmap"), ("refused", said));
        let finding = findings(&report, "idmap-helpers")[0];
        assert_eq!((&finding["verdict"], &finding["overruled"]["verdict"]), (&"unmet".into(), &"met".into()));
        assert_eq!(finding["found"], format!("{said}, though the files say: set-user-ID root"));
        assert_eq!(finding["overruled"]["by"], "id-map");
        assert_eq!(common::status(&report, "idmap-helpers"), "fail");
        let blockers = &report["stacks"][0]["blockers"];
        assert!(blockers.as_array().unwrap().contains(&"idmap-helpers".into()), "{blockers}");
        assert_eq!(trial(&report, "overlay-mount", "overlay").0, "unknown");
        assert_eq!(left(&before), [""; 0]);
    }
}

#[test]
fn a_helper_that_hangs_is_killed_with_all_that_it_started() {
    let _machine = alone();
    let mut host = subid();
    host.files.push(("/usr/bin/newuidmap", "#!/bin/sh\nsleep 4711 & sleep 4711\n", 0o4755));
    let (before, started) = (traces(), Instant::now());
    let report = host.check(&["--user", USER, "--stack", "podman"]);
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert_eq!(trial(&report, "id-map", "newuidmap"), ("unknown", "it did not end in time"));
    assert_eq!(common::status(&report, "idmap-helpers"), "pass", "what was not seen changes nothing");
    assert_eq!(trial(&report, "port-bind", "tcp/80 as a low port").0, "refused", "and the rest is tried");
    assert_eq!(left(&before), [""; 0]);
}

#[test]
fn a_users_process_has_neither_the_session_nor_the_files_of_root() {
    let _machine = alone();
    for argument in ["--probe-as-user", "--as-user"] {
        // Descriptor 9 is what root's shell left open.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$1\" 9</etc/shadow"])
            .arg(assert_cmd::cargo::cargo_bin!("edgeprep"))
            .arg(argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let line = "{\"name\":\"daemon\",\"uid\":1,\"gid\":1,\"groups\":[1],\"home\":\"/\"}\n";
        child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut answer).unwrap();
        assert!(answer.contains("ready"), "{answer}");
        let process = format!("/proc/{}", child.id());
        let open: BTreeSet<_> =
            fs::read_dir(format!("{process}/fd")).unwrap().map(|fd| fd.unwrap().file_name()).collect();
        assert_eq!(open, ["0", "1", "2"].map(Into::into).into(), "{argument}");
        let stat = fs::read_to_string(format!("{process}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        // `proc_pid_stat(5)`: the session, and the terminal that controls it.
        assert_eq!((fields[3], fields[4]), (child.id().to_string().as_str(), "0"), "{argument}");
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

#[test]
fn what_the_user_has_not_is_refused() {
    let _machine = alone();
    let mut host = subid();
    host.files.push(("/etc/subuid", "", 0o644));
    let report = host.check(&["--user", USER, "--stack", "podman"]);
    assert_eq!(trial(&report, "id-map", "/newuidmap"), ("works", "wrote a map of 1 IDs"));
    assert_eq!(
        common::status(&report, "subid-range"),
        "fail",
        "that it can be written says nothing of its size"
    );

    // shadow's words for a range that is not the user's.
    let said = "newuidmap: uid range [1-65537) -> [200000-265536) not allowed";
    let script = format!("#!/bin/sh\necho '{said}' >&2\nexit 1\n");
    let mut host = subid();
    host.files.push(("/usr/bin/newuidmap", &script, 0o4755));
    let report = host.check(&["--user", USER, "--stack", "podman"]);
    assert_eq!(trial(&report, "id-map", "/newuidmap"), ("refused", said));
    assert_eq!(common::status(&report, "subid-range"), "fail");
    assert_eq!(common::status(&report, "idmap-helpers"), "pass", "it did what it is there for");

    // Another device than that of the name.
    let other = Host { commands: vec!["mount --bind /dev/null /dev/net/tun"], ..subid() };
    let report = other.check(&["--user", USER, "--stack", "podman"]);
    let (result, text) = trial(&report, "tun-open", "/dev/net/tun");
    assert_eq!((result, text), ("refused", "opening it: No such device or address (ENXIO)"));
}

#[test]
fn without_new_privileges_the_helpers_say_nothing() {
    let _machine = alone();
    let host = Host { prefix: vec!["setpriv", "--no-new-privs"], ..subid() };
    let report = host.check(&["--user", USER, "--stack", "podman"]);
    let (result, text) = trial(&report, "id-map", "newuidmap");
    assert!(result == "unknown" && text.contains("NoNewPrivileges="), "{result} {text}");
    assert_eq!(common::status(&report, "idmap-helpers"), "pass");
}

#[test]
fn a_user_tries_for_nobody_else() {
    let _machine = alone();
    let as_user = |user: &'static str| {
        Host { prefix: vec!["setpriv", "--reuid", "1", "--regid", "1", "--clear-groups", "--"], ..subid() }
            .check(&["--user", user, "--stack", "podman"])
    };
    let report = as_user("daemon");
    assert_eq!(trial(&report, "id-map", "/newuidmap").0, "works");
    let report = as_user("nobody");
    for trial in report["probes"].as_array().unwrap() {
        assert_eq!(
            (&trial["result"], &trial["text"]),
            (&"unknown".into(), &"only root can try it for nobody".into())
        );
    }
}

#[test]
fn only_what_runs_can_be_tried() {
    let image = Image::debian();
    let capture = fixture("debian-13");
    let wanted = "not with --root or --capture, nor in a chroot";
    for host in [["--root", image.root()], ["--capture", capture.to_str().unwrap()]] {
        let output = edgeprep(&["check", "--probe", host[0], host[1]]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(wanted), "{}", stderr(&output));
        let output = command(&["check", host[0], host[1]]).env("EDGEPREP_PROBE", "1").output().unwrap();
        assert!(output.status.code() == Some(2) && stderr(&output).contains(wanted));
        for off in ["0", ""] {
            let output = command(&["check", host[0], host[1]]).env("EDGEPREP_PROBE", off).output().unwrap();
            assert_eq!(stderr(&output), "", "{off:?}");
        }
    }
    let output =
        command(&["check", "--probe", "--user", "daemon"]).env("SYSTEMD_OFFLINE", "1").output().unwrap();
    assert!(output.status.code() == Some(2) && stderr(&output).contains(wanted), "{}", stderr(&output));
}

#[test]
fn only_what_speaks_for_a_selected_check_is_tried() {
    let _machine = alone();
    let report = subid().check(&["--user", USER, "--stack", "podman", "--select", "unprivileged-ports"]);
    let probes: BTreeSet<&str> =
        report["probes"].as_array().unwrap().iter().map(|t| t["probe"].as_str().unwrap()).collect();
    assert_eq!(probes, ["port-bind"].into());
}

/// A socket of the user's runtime directory, and the directories that were made for it.
struct Socket(Vec<std::path::PathBuf>);

impl Socket {
    const PATH: &str = "/run/user/1/podman/podman.sock";

    /// Answers each connection with the next of these texts.
    fn serve(answers: &'static [&'static str]) -> Socket {
        let dir = Path::new(Socket::PATH).parent().unwrap();
        let missing: Vec<_> = dir.ancestors().take_while(|dir| !dir.exists()).map(Path::to_owned).collect();
        assert!(missing.contains(&dir.to_owned()), "{} is somebody's", dir.display());
        fs::create_dir_all(dir).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(Socket::PATH).unwrap();
        fs::set_permissions(Socket::PATH, fs::Permissions::from_mode(0o666)).unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut question = String::new();
                let mut lines = BufReader::new(stream.try_clone().unwrap());
                while question.is_empty() || !question.ends_with("\r\n\r\n") {
                    lines.read_line(&mut question).unwrap();
                }
                assert!(question.starts_with("GET /_ping HTTP/1.0\r\n"), "{question}");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        Socket(missing)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(Socket::PATH);
        for dir in &self.0 {
            let _ = fs::remove_dir(dir);
        }
    }
}

#[test]
fn a_socket_is_asked_for_a_ping_only_where_something_listens() {
    let _machine = alone();
    let before = traces();
    let check = || subid().check(&["--user", USER, "--stack", "k3d", "--select", "podman-socket"]);
    let said = |report: &Value| {
        let (result, text) = trial(report, "socket-ping", Socket::PATH);
        (result.to_owned(), text.to_owned())
    };
    let word = |result: &str, text: &str| (result.to_owned(), text.to_owned());
    assert_eq!(said(&check()), word("unknown", "nothing listens"));
    let socket = Socket::serve(&[
        "HTTP/1.0 200 OK\r\nApi-Version: 1.41\r\nLibpod-Api-Version: 5.4.2\r\n\r\nOK",
        "HTTP/1.0 200 OK\r\nApi-Version: 1.47\r\n\r\nOK",
        "HTTP/1.0 500 Internal Server Error\r\n\r\n",
        "\0\0\0",
    ]);
    assert_eq!(said(&check()), word("works", "Podman answered /_ping of the Docker API"));
    assert_eq!(said(&check()), word("refused", "what answers on it is not Podman"));
    assert_eq!(said(&check()), word("refused", "/_ping was answered with 500"));
    assert_eq!(said(&check()), word("refused", "asking for /_ping: Protocol error (EPROTO)"));
    assert_eq!(said(&check()), word("unknown", "nothing listens"), "all were answered");
    drop(socket);
    let report = subid().check(&["--user", USER, "--stack", "podman", "--select", "podman-socket"]);
    assert!(report["probes"].as_array().unwrap().is_empty(), "podman alone does not ask for the socket");
    assert_eq!(left(&before), [""; 0]);
}
