//! Tests of `by_hand`.

use super::*;
use crate::facts::cgroup::Controller;

#[test]
fn settings_of_a_kind_share_a_command() {
    let sysctl = |key: &str| Setting::Sysctl { key: key.to_owned(), value: "1".to_owned() };
    let settings = [sysctl("a.b"), Setting::Module("br_netfilter".to_owned()), sysctl("a.c")];
    assert_eq!(
        by_hand(&settings, true),
        [
            "printf '%s\\n' br_netfilter | sudo tee -a /etc/modules-load.d/rootless.conf",
            "printf '%s\\n' 'a.b = 1' 'a.c = 1' | sudo tee -a /etc/sysctl.d/90-rootless.conf",
            "sudo modprobe -a br_netfilter",
            "sudo sysctl --system",
        ]
    );
    assert_eq!(by_hand(&settings, false).len(), 2, "nothing is activated in an image");
}

#[test]
fn a_command_is_given_once() {
    let in_effect = Setting::DelegationInEffect { user: "edge".to_owned(), uid: 1000 };
    let settings = [Setting::Delegation(vec![Controller::Io]), in_effect.clone()];
    assert_eq!(
        by_hand(&settings, true)[2..],
        [
            "sudo systemctl daemon-reload",
            "sudo systemd-run --quiet --wait --slice=user-1000.slice true",
            "sudo systemctl --user -M edge@ daemon-reexec",
        ]
    );
    assert!(by_hand(&[in_effect], false).is_empty());
}

#[test]
fn names_cannot_leave_their_word() {
    for (word, shown) in [
        ("edge", "edge"),
        ("/home/edge/x.conf", "/home/edge/x.conf"),
        ("x;y", "'x;y'"),
        ("a b", "'a b'"),
        ("$(id)", "'$(id)'"),
        ("it's", "'it'\\''s'"),
        ("-rf", "'-rf'"),
        ("", "''"),
    ] {
        assert_eq!(quoted(word), shown);
    }
    let linger = by_hand(&[Setting::Linger("x;reboot".to_owned())], true);
    assert_eq!(linger, ["sudo loginctl enable-linger 'x;reboot'"]);
}

#[test]
fn what_is_set_can_hold_anything() {
    let running = |setting: Setting| by_hand(&[setting], true);
    let pipe = Setting::Sysctl { key: "kernel.core_pattern".to_owned(), value: "|/x '%p'".to_owned() };
    assert_eq!(
        running(pipe)[0],
        r"printf '%s\n' 'kernel.core_pattern = |/x '\''%p'\''' | sudo tee -a /etc/sysctl.d/90-rootless.conf"
    );
    let now = Setting::SysctlInEffect { key: "a.b".to_owned(), value: "1 2".to_owned() };
    assert_eq!(running(now), ["sudo sysctl -w 'a.b=1 2'"]);
    let profile = running(Setting::UsernsProfile { program: "/opt/a'b%/k3s".to_owned() });
    assert!(profile[1].contains(r"'/opt/a'\''b%/k3s flags=(unconfined) {'"), "{profile:?}");
    assert_eq!(profile[2], r"sudo apparmor_parser -r '/etc/apparmor.d/opt.a'\''b%.k3s'");
    let device = Setting::DeviceMode { path: "/dev/net/tun".to_owned(), mode: 0o666 };
    let rule =
        r#"printf '%s\n' 'KERNEL=="tun", MODE="0666"' | sudo tee /etc/udev/rules.d/90-rootless-tun.rules"#;
    assert_eq!(running(device)[1], rule);
}

#[test]
fn directives_of_units() {
    let directive = |unit: &str, value: &str| Setting::UnitDirective {
        unit: unit.to_owned(),
        section: "Slice",
        key: "AllowedCPUs",
        value: value.to_owned(),
    };
    let dir = "/etc/systemd/system/user-.slice.d";
    let settings = [directive("user-.slice", ""), Setting::SliceTasks("infinity".to_owned())];
    assert_eq!(
        by_hand(&settings, true),
        [
            format!("sudo mkdir -p {dir}"),
            format!(
                r"printf '%s\n' '[Slice]' AllowedCPUs= TasksMax=infinity | sudo tee -a {dir}/90-rootless.conf"
            ),
            RELOAD.to_owned(),
        ]
    );
    let of_user = [Setting::UserUnitDirective {
        user: "edge".to_owned(),
        unit: "app.slice".to_owned(),
        section: "Slice",
        key: "ManagedOOMSwap",
        value: "auto".to_owned(),
    }];
    let commands = by_hand(&of_user, true);
    assert!(commands[0].starts_with("sudo -Hu edge sh -c 'mkdir -p ~/.config/systemd/user/app.slice.d && "));
    assert_eq!(commands[1], "sudo systemctl --user -M edge@ daemon-reload");
    let image = by_hand(&of_user, false);
    assert!(image[1].ends_with("| tee -a $ROOT/etc/systemd/user/app.slice.d/90-rootless.conf"), "{image:?}");
}

#[test]
fn a_capability_is_never_beside_a_set_user_id_bit() {
    let capability = "cap_setuid";
    let setting = Setting::FileCapability { path: "/usr/bin/newuidmap".to_owned(), capability };
    assert_eq!(
        by_hand(&[setting], true),
        ["sudo chmod u-s,g-s /usr/bin/newuidmap", "sudo setcap cap_setuid=ep /usr/bin/newuidmap"]
    );
}

#[test]
fn drop_ins_of_the_system() {
    let limit = Setting::UserManagerLimit { directive: "LimitNOFILE", value: "1048576".to_owned() };
    let delegation = Setting::Delegation(vec![Controller::Cpuset]);
    let settings =
        [delegation, limit, Setting::SliceTasks("infinity".to_owned()), Setting::KeepUserProcesses];
    let (system, login) = ("/etc/systemd/system", "/etc/systemd/logind.conf.d");
    let drop_in = |lines: &str, path: &str| format!(r"printf '%s\n' {lines} | sudo tee -a {path}");
    assert_eq!(
        by_hand(&settings, true),
        [
            format!("sudo mkdir -p {system}/user@.service.d"),
            drop_in(
                "'[Service]' Delegate=cpuset LimitNOFILE=1048576",
                &format!("{system}/user@.service.d/90-rootless.conf")
            ),
            format!("sudo mkdir -p {system}/user-.slice.d"),
            drop_in("'[Slice]' TasksMax=infinity", &format!("{system}/user-.slice.d/90-rootless.conf")),
            format!("sudo mkdir -p {login}"),
            drop_in("'[Login]' KillUserProcesses=no", &format!("{login}/90-rootless.conf")),
            "sudo systemctl daemon-reload".to_owned(),
            "sudo systemctl reload-or-restart systemd-logind.service".to_owned(),
        ]
    );
    assert_eq!(by_hand(&settings, false).len(), 6, "nothing is activated in an image");
}

#[test]
fn what_is_the_users_is_written_as_the_user() {
    let engine = Setting::Engine {
        user: "edge".to_owned(),
        table: "containers",
        key: "log_driver".to_owned(),
        value: "\"k8s-file\"".to_owned(),
    };
    let dir = "~/.config/containers/containers.conf.d";
    let inner = format!(
        r#"mkdir -p {dir} && printf '%s\n' '[containers]' 'log_driver = "k8s-file"' > {dir}/90-rootless-log_driver.conf"#
    );
    let running = by_hand(std::slice::from_ref(&engine), true);
    assert_eq!(running, [format!("sudo -Hu edge sh -c {}", quoted(&inner))]);
    let home = "$ROOT$(awk -F: -v u=edge '$1 == u { print $6 }' $ROOT/etc/passwd)";
    assert_eq!(by_hand(&[engine], false), [format!("(HOME={home}; {inner})")]);
    let environment = Setting::Environment {
        user: "edge".to_owned(),
        name: "DOCKER_SOCK".to_owned(),
        value: "/run/user/1000/podman/podman.sock".to_owned(),
    };
    let commands = by_hand(&[environment], true);
    assert!(commands[0].ends_with("> ~/.config/environment.d/90-rootless-DOCKER_SOCK.conf'"), "{commands:?}");
    assert_eq!(commands[1], "sudo systemctl --user -M edge@ daemon-reload");
}

#[test]
fn the_service_of_k3s() {
    let service = |environment: &[(&str, &str)]| Setting::K3sService {
        user: "edge".to_owned(),
        program: "/home/edge/bin/k3s".to_owned(),
        environment: environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    };
    let commands = by_hand(&[service(&[("K3S_ROOTLESS_MTU", "1500"), ("K3S_X", "a \"b\" 5%")])], true);
    assert_eq!(commands.len(), 5);
    let unit = "~/.config/systemd/user/k3s-rootless.service";
    assert!(commands[0].contains(&format!("test -e {unit} || curl -fLo {unit}")), "{commands:?}");
    assert!(commands[0].contains("$(/home/edge/bin/k3s --version"), "{commands:?}");
    assert!(commands[1].contains("|ExecStart=/home/edge/bin/k3s|"), "{commands:?}");
    assert!(commands[2].contains(r#"Environment="K3S_ROOTLESS_MTU=1500""#), "{commands:?}");
    assert!(commands[2].contains(r#"Environment="K3S_X=a \"b\" 5%%""#), "{commands:?}");
    assert_eq!(commands[4], "sudo systemctl --user -M edge@ enable --now k3s-rootless.service");
    assert_eq!(by_hand(&[service(&[])], true).len(), 4);
    assert!(by_hand(&[service(&[])], false)[2].ends_with("default.target.wants/)"));
}

#[test]
fn an_image_is_written_below_its_root() {
    assert_eq!(
        by_hand(&[Setting::Delegation(vec![Controller::Cpuset])], false),
        [
            "mkdir -p $ROOT/etc/systemd/system/user@.service.d",
            "printf '%s\\n' '[Service]' Delegate=cpuset | tee -a $ROOT/etc/systemd/system/user@.service.d/90-rootless.conf",
        ]
    );
    assert_eq!(
        by_hand(&[Setting::Linger("edge".to_owned())], false),
        ["mkdir -p $ROOT/var/lib/systemd/linger", "touch $ROOT/var/lib/systemd/linger/edge"]
    );
}
