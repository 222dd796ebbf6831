//! `edgeprep env`: what it prints, as a shell takes it.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::disallowed_methods, reason = "tests make files and start the binary")]

mod common;

use common::{Image, command, edgeprep, stderr, stdout};

/// A home directory that no shell may take apart.
const HOME: &str = "/home/it's \"a $HOME\" `x` \\ *";

fn with_odd_home() -> Image {
    let image = Image::debian();
    image.put("etc/passwd", format!("root:x:0:0::/root:/bin/bash\nedge:x:1000:1000::{HOME}:/bin/bash\n"));
    image
}

#[test]
fn what_env_prints_a_shell_evaluates() {
    let image = with_odd_home();
    let env = |more: &[&str]| {
        let output = edgeprep(&[&["env", "--root", image.root()], more].concat());
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{more:?}");
        stdout(&output)
    };
    let shell = |script: &str, given: &str| {
        let output = std::process::Command::new("sh").args(["-euc", script, "sh", given]).output().unwrap();
        assert!(output.status.success(), "{script}: {}", stderr(&output));
        stdout(&output)
    };
    let k3s = env(&["--stack", "k3s"]);
    let show = "eval \"$1\"; printf %s \"$KUBECONFIG\"";
    assert_eq!(shell(show, &k3s), format!("{HOME}/.kube/k3s.yaml"));
    let k3d = env(&["--stack", "k3d"]);
    // Without quotes all lines become one.
    let show = "set -f; eval $1; sh -c 'printf \"%s %s\" \"$DOCKER_HOST\" \"$DOCKER_SOCK\"'";
    let sock = "/run/user/1000/podman/podman.sock";
    assert_eq!(shell(show, &k3d), format!("unix://{sock} {sock}"));
    let unset = env(&["--stack", "k3d", "--unset"]);
    let show =
        "export DOCKER_HOST=x DOCKER_SOCK=y; eval \"$1\"; echo ${DOCKER_HOST-none} ${DOCKER_SOCK-none}";
    assert_eq!(shell(show, &unset), "none none\n");

    let all = env(&["--stack", "k3s,kind,k3d,minikube,usernetes"]);
    let names: Vec<&str> =
        all.lines().filter_map(|line| line.strip_prefix("export ")?.split('=').next()).collect();
    let expected = [
        "CONTAINER_ENGINE",
        "DOCKER_HOST",
        "DOCKER_SOCK",
        "KIND_EXPERIMENTAL_PROVIDER",
        "KUBECONFIG",
        "MINIKUBE_CONTAINER_RUNTIME",
        "MINIKUBE_DRIVER",
        "MINIKUBE_ROOTLESS",
    ];
    assert_eq!(names, expected);
    assert_eq!(env(&["--stack", "podman"]), "# podman: no variable is needed\n");
    let root = env(&["--stack", "k3d", "--user", "root"]);
    assert!(root.starts_with("export DOCKER_HOST=unix:///run/podman/podman.sock;\n"), "{root}");
    let ssh = env(&["--stack", "k3d", "--ssh", "edge@board:22"]);
    assert!(
        ssh.starts_with(&format!("export DOCKER_HOST=ssh://edge@board:22;\nexport DOCKER_SOCK={sock};\n"))
    );
    let fish = env(&["--stack", "kind", "--shell", "fish"]);
    assert!(fish.starts_with("set -gx KIND_EXPERIMENTAL_PROVIDER 'podman';\n"), "{fish}");
    let mut login = command(&["env", "--root", image.root(), "--stack", "kind"]);
    let output = login.env("SHELL", "/usr/bin/fish").output().unwrap();
    assert!(stdout(&output).starts_with("set -gx "), "the login shell's");
}

#[test]
fn env_is_for_one_user_and_agrees_with_the_site() {
    let image = Image::debian();
    image.put("etc/passwd", "edge:x:1000:1000::/home/edge:\nother:x:1001:1001::/home/other:\n");
    let fails = |more: &[&str], message: &str| {
        let output = edgeprep(&[&["env", "--root", image.root(), "--stack", "k3d"], more].concat());
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{more:?}");
        assert!(stderr(&output).contains(message), "{more:?}: {}", stderr(&output));
    };
    fails(&["--user", "edge,other"], "a shell is one user's: name one with --user");
    fails(&[], "several users");
    fails(&["--user", "edge", "--ssh", "$(id)"], "expected [USER@]HOST[:PORT]");
    let kubectl =
        edgeprep(&["env", "--root", image.root(), "--stack", "k3s", "--user", "edge", "--ssh", "board"]);
    assert!(stderr(&kubectl).contains("--ssh: k3s is not reached through Podman's socket"));
    let entry = |value: &str| {
        format!("[[environment]]\nname = \"DOCKER_HOST\"\nvalue = \"{value}\"\nlevel = \"advised\"\n")
    };
    image.put("etc/edgeprep/edgeprep.toml", entry("unix:///run/other.sock"));
    fails(&["--user", "edge"], "DOCKER_HOST: unix://{podman-socket} (profiles/stacks/k3d.toml:");
    let name = entry("x").replace("DOCKER_HOST", "1A");
    image.put("etc/edgeprep/edgeprep.toml", name);
    fails(
        &["--user", "edge"],
        "/etc/edgeprep/edgeprep.toml:1: name = \"1A\": expected the name of a variable",
    );
    for value in ["{uid}", "$HOME", "a\\nb"] {
        image.put("etc/edgeprep/edgeprep.toml", entry(value));
        fails(&["--user", "edge"], "/etc/edgeprep/edgeprep.toml:1: value");
    }
}
