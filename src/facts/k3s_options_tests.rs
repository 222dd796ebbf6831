use proptest::prelude::*;

use super::*;
use crate::facts::testing::{TestHost, empty_host};

const UNIT: &str = "/home/edge/.config/systemd/user/k3s-rootless.service";
const START: &str = "ExecStart=/usr/local/bin/k3s server --rootless";
const OWN: &str = "/home/edge/k3s.yaml";

fn edge() -> User {
    User::example("edge", 1000)
}

fn options(host: TestHost) -> Fact<Rc<K3sOptions>> {
    host.facts().k3s_options(&edge())
}

fn with(service: &str) -> TestHost {
    empty_host().file(UNIT, format!("[Service]\n{service}\n"))
}

fn told(service: &str) -> K3sOptions {
    (*options(with(service)).unwrap()).clone()
}

fn config(host: TestHost, path: &str, text: &str) -> TestHost {
    let host = if path.starts_with("/etc") {
        host.dir("/etc/rancher", "0755", 0).dir("/etc/rancher/k3s", "0755", 0)
    } else {
        host
    };
    host.file(path, text).mode(path, "0644")
}

fn why(host: TestHost) -> String {
    options(host).unwrap_err().to_string()
}

#[test]
fn nothing_said_is_the_default() {
    let options = options(empty_host()).unwrap();
    assert_eq!(options.data_dir(&edge()), "/home/edge/.rancher/k3s");
    assert_eq!(options.https_port(), Ok(6443));
    assert_eq!((options.get("snapshotter"), options.started_by()), (None, None));
    assert_eq!(options.networks("cluster-cidr"), Ok(None));
    assert_eq!(options.disabled("servicelb"), None);
}

#[test]
fn a_command_line_in_all_its_forms() {
    let cidr = |text: &str| text.parse::<Cidr>().unwrap();
    for (argument, dir) in [
        ("--data-dir /srv/k3s", "/srv/k3s"),
        ("--data-dir=%h/k3s", "/home/edge/k3s"),
        ("-d ~/k3s", "/home/edge/k3s"),
        ("\"--data-dir=${HOME}/a b\"", "/home/edge/a b"),
        ("--data-dir=/a --data-dir=/b", "/b"),
        ("--data-dir", "/home/edge/.rancher/k3s"),
    ] {
        assert_eq!(told(&format!("{START} {argument}")).data_dir(&edge()), dir, "{argument}");
    }
    let all = told(&format!(
        "{START} --https-listen-port 7443 --cluster-cidr=10.52.0.0/16,fd00:52::/56 \
         --cluster-cidr 10.62.0.0/16 --disable traefik --disable=servicelb,metrics-server"
    ));
    assert_eq!(all.https_port(), Ok(7443));
    let networks = vec![cidr("10.52.0.0/16"), cidr("fd00:52::/56"), cidr("10.62.0.0/16")];
    assert_eq!(all.networks("cluster-cidr"), Ok(Some(networks)));
    assert_eq!(all.disabled("servicelb").unwrap().to_string(), format!("{UNIT}:2"));
    assert!(all.disabled("traefik").is_some() && all.disabled("coredns").is_none());
    assert_eq!(all.started_by().unwrap().to_string(), format!("{UNIT}:2"));
    let native = told(&format!("{START} --snapshotter=native"));
    assert_eq!(native.get("snapshotter").unwrap().value, "native");
    let last = told(&format!("{START} --snapshotter=native\nExecStart=\n{START}"));
    assert_eq!(last.get("snapshotter"), None);
}

#[test]
fn the_command_line_then_the_file_then_the_variable() {
    let file = "/etc/rancher/k3s/config.yaml";
    let drop_in = "/etc/rancher/k3s/config.yaml.d/10.yaml";
    let dir = |host: TestHost| options(host).unwrap().data_dir(&edge());
    let variable = format!("Environment=K3S_DATA_DIR=/var/k3s\n{START}");
    assert_eq!(dir(with(&variable)), "/var/k3s");
    let two = config(with(&variable), file, "data-dir: /file\n");
    assert_eq!(dir(two.clone()), "/file");
    let three = config(two, drop_in, "data-dir: /drop-in\n").dir(&format!("{file}.d"), "0755", 0);
    assert_eq!(dir(three.clone()), "/drop-in");
    assert_eq!(dir(three.edit(UNIT, "--rootless", "--rootless -d /unit")), "/unit");
}

#[test]
fn a_file_of_the_users() {
    let dir = |host: TestHost| options(host).unwrap().data_dir(&edge());
    let host = config(empty_host(), OWN, "data-dir: \"/own\"\n");
    let named = |service: &str| host.clone().file(UNIT, format!("[Service]\n{service}\n"));
    assert_eq!(dir(named(&format!("{START} --config %h/k3s.yaml"))), "/own");
    assert_eq!(
        dir(named(&format!("{START} -c=/none.yaml\nEnvironment=K3S_CONFIG_FILE=%h/k3s.yaml"))),
        "/own"
    );
    assert_eq!(dir(named(&format!("{START} -c /none.yaml"))), "/home/edge/.rancher/k3s");
    for config in ["https://example.org/k3s.yaml", "k3s.yaml", "/home/edge/secrets"] {
        let why = why(named(&format!("{START} --config {config}")));
        assert_eq!(why, format!("{UNIT}:2: the configuration file is none that edgeprep reads"));
    }
    let closed = named(&format!("{START} --config {OWN}")).mode(OWN, "0600").path(OWN, |r| r.uid = Some(0));
    assert_eq!(why(closed), format!("{OWN} is not readable as this user"));
}

#[test]
fn files_with_variables() {
    let cidr = |host: TestHost| options(host).unwrap().get("K3S_ROOTLESS_CIDR").map(|set| set.value.clone());
    let unit = format!("{START}\nEnvironment=K3S_ROOTLESS_CIDR=10.1.0.0/16\nEnvironmentFile=-/etc/k3s.env");
    assert_eq!(cidr(with(&unit)).as_deref(), Some("10.1.0.0/16"), "an absent file");
    let text = "# a\nK3S_TOKEN=x\nK3S_ROOTLESS_CIDR=\"10.2.0.0/16\"\n";
    assert_eq!(cidr(with(&unit).file("/etc/k3s.env", text)).as_deref(), Some("10.2.0.0/16"));
    let taken_back = format!("{unit}\nEnvironmentFile=\nEnvironment=\n");
    assert_eq!(cidr(with(&taken_back).file("/etc/k3s.env", text)), None);
    assert_eq!(why(with(&unit).error("/etc/k3s.env", "denied")), "/etc/k3s.env is not readable as this user");
    for other in ["/home/edge/k3s", "/etc/*.env", "/etc/%i.env"] {
        let why = why(with(&format!("{START}\nEnvironmentFile={other}")));
        assert_eq!(why, format!("{UNIT}:3: what it sets is not looked at"));
    }
}

#[test]
fn what_cannot_be_told() {
    let left_out = why(with("ExecStart=LEFT-OUT"));
    assert_eq!(left_out, format!("{UNIT}:2: the capture leaves out what K3s is told"));
    assert_eq!(why(with(&format!("{START}\nEnvironment=LEFT-OUT"))), left_out.replace(":2", ":3"));
    let denied = with("").path(UNIT, |record| record.read_error = Some("denied".to_owned()));
    assert_eq!(why(denied), format!("{UNIT} is not readable as this user"));
    assert!(why(with(&format!("{START} -d %S/k3s"))).ends_with("what systemd makes of %S/k3s is not known"));
    let wrong = told(&format!("{START} --https-listen-port=https --cluster-cidr ten"));
    assert!(
        wrong.https_port().unwrap_err().to_string().ends_with("expected a port after --https-listen-port")
    );
    assert!(wrong.networks("cluster-cidr").is_err());
}

proptest! {
    #[test]
    fn no_unit_makes_it_panic(text in "(\\PC|--data-dir|--disable|[ \n=%\"\\-]){0,60}") {
        let _ = options(with(&format!("ExecStart=/k3s {text}"))).map(|options| {
            let _ = (options.data_dir(&edge()), options.https_port(), options.networks("cluster-cidr"));
        });
    }
}
