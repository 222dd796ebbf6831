//! Leaves secrets out of the files of a capture, by what each kind of file can hold. Lines stay where they
//! are and files stay well formed, so that a check of the capture says what a check of the host says.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::{boot, k3s};
pub(crate) use crate::facts::LEFT_OUT;
use crate::facts::k3s_options;
use crate::facts::users::without_personal_fields;
use crate::host::Caller;

/// A parameter of the kernel command line whose name holds one of these has a value that is nobody's business.
pub(crate) const SECRET_WORDS: [&str; 9] =
    ["token", "pass", "secret", "key", "credential", "auth", "cookie", "private", "login"];
/// Settings of units whose values can hold anything; no check looks at them.
const FREE_SETTINGS: [&str; 4] = ["Environment", "SetCredential", "SetCredentialEncrypted", "LoadCredential"];

/// The text of a file without secrets, or `None` where it has none.
pub(super) fn clean(path: &str, text: &str) -> Option<String> {
    let clean = match path {
        "/etc/passwd" | "/usr/lib/passwd" => each_line(text, without_personal_fields),
        "/etc/group" | "/usr/lib/group" => each_line(text, group),
        "/proc/cmdline" => command_line(text),
        path if boot::is_read(path) => each_line(text, boot::line),
        "/etc/environment" => each_line(text, environment),
        path if path.contains("/environment.d/") => each_line(text, environment),
        path if path.contains("/containers/systemd/") => {
            unit(text, |section, key| section != "[Service]" || is_free(key))
        }
        path if k3s::is_unit(path) => k3s::unit(text, is_free),
        path if k3s_options::is_environment_file(path) => each_line(text, k3s::variable),
        path if path.contains("/systemd/") => unit(text, |_, key| is_free(key)),
        path if path.starts_with("/etc/rancher/k3s/") || k3s_options::is_config_file(path) => {
            k3s::config(text)
        }
        path if path.ends_with("/.minikube/config/config.json") => each_line(text, minikube),
        path if path.ends_with("/policy.json") => return None,
        path if path.ends_with("/secrets/secrets.json") => names_of_secrets(text),
        path if path.contains("/containers/") => containers(text),
        _ => return None,
    };
    Some(clean).filter(|clean| clean != text)
}

fn each_line(text: &str, clean: fn(&str) -> String) -> String {
    text.split('\n').map(clean).collect::<Vec<_>>().join("\n")
}

fn group(line: &str) -> String {
    let mut fields: Vec<&str> = line.split(':').collect();
    if fields.len() == 4 {
        fields[1] = "x";
    }
    fields.join(":")
}

/// Only the variables that are read anyway keep their values.
fn environment(line: &str) -> String {
    let assignment = line.trim_start();
    let name = assignment.strip_prefix("export ").unwrap_or(assignment).split('=').next().unwrap_or_default();
    match line.split_once('=') {
        Some(_) if assignment.starts_with('#') => String::from("#"),
        Some((_, value)) if Caller::VARIABLES.contains(&name.trim()) => {
            line.replace(value, &without_userinfo(value))
        }
        Some((key, _)) => format!("{key}={LEFT_OUT}"),
        // Without `=` it may go on from the line before.
        None if assignment.is_empty() => line.to_owned(),
        None => LEFT_OUT.to_owned(),
    }
}

/// Without the values that are free, by their section and key. Of a Quadlet file only `[Service]` is looked
/// at: what a container is started with can be anything. A value that is left out takes its continuation
/// lines with it.
fn unit(text: &str, is_free: fn(&str, &str) -> bool) -> String {
    let mut left_out = false;
    let mut section = "";
    let lines = text.split('\n').map(|line| {
        let more = if line.ends_with('\\') { " \\" } else { "" };
        if left_out {
            left_out = !more.is_empty();
            return format!("{LEFT_OUT}{more}");
        }
        if line.trim_start().starts_with('[') {
            section = line.trim();
        }
        match line.split_once('=') {
            Some((key, value)) if !value.trim().is_empty() && is_free(section, key.trim()) => {
                left_out = !more.is_empty();
                format!("{key}={LEFT_OUT}{more}")
            }
            _ => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_free(setting: &str) -> bool {
    FREE_SETTINGS.contains(&setting) || setting.starts_with("Exec")
}

/// Of Podman's list of secrets the names: labels and the options of drivers can hold one.
fn names_of_secrets(text: &str) -> String {
    let list: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let names = list["nameToID"].as_object().cloned().unwrap_or_default();
    serde_json::json!({ "nameToID": names }).to_string()
}

/// As minikube writes it, with a key on each line.
fn minikube(line: &str) -> String {
    match line.split_once(':') {
        Some((key, value)) if line.trim_start().starts_with('"') && !key.contains("\"rootless\"") => {
            let comma = if value.trim_end().ends_with(',') { "," } else { "" };
            format!("{key}: \"{LEFT_OUT}\"{comma}")
        }
        _ => line.to_owned(),
    }
}

/// Whether a parameter of this name has a value that is nobody's business.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

fn command_line(text: &str) -> String {
    let mut quoted = false;
    let words = text.split(|c: char| {
        quoted ^= c == '"';
        c == ' ' && !quoted
    });
    let clean = |word: &str| match word.split_once('=') {
        Some((name, value)) if !value.is_empty() && is_secret(name) => {
            format!("{name}={LEFT_OUT}{}", if word.ends_with('\n') { "\n" } else { "" })
        }
        _ => without_userinfo(word),
    };
    words.map(clean).collect::<Vec<_>>().join(" ")
}

/// Every `scheme://user:password@host` without the part before the `@`.
pub(crate) fn without_userinfo(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after.find(['/', ',', ' ', '"', '\'', '\n']).unwrap_or(after.len());
        match after[..end].rfind('@') {
            Some(at) => {
                out.push_str(LEFT_OUT);
                rest = &after[at..];
            }
            None => rest = after,
        }
    }
    out.push_str(rest);
    out
}

/// `env` of `containers.conf(5)` can hold anything.
fn containers(text: &str) -> String {
    #[derive(Deserialize)]
    struct File {
        containers: Option<Section>,
        engine: Option<Section>,
    }
    #[derive(Deserialize)]
    struct Section {
        env: Option<Spanned<toml::Value>>,
    }
    let Ok(file) = toml::from_str::<File>(text) else {
        // What is malformed tells nothing but where, and that a line number does.
        return each_line(
            text,
            |line| if line.contains("env") { LEFT_OUT.to_owned() } else { line.to_owned() },
        );
    };
    let sections = [file.containers, file.engine];
    let mut spans: Vec<Range<usize>> =
        sections.into_iter().flatten().filter_map(|section| Some(section.env?.span())).collect();
    spans.sort_by_key(|span| std::cmp::Reverse(span.start));
    let mut out = text.to_owned();
    for span in spans {
        let lines = "\n".repeat(text[span.clone()].matches('\n').count());
        out.replace_range(span, &format!("[\"{LEFT_OUT}\"{lines}]"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "hunter2";

    fn cleaned(path: &str, text: &str) -> String {
        let clean = clean(path, text).unwrap_or_else(|| text.to_owned());
        assert!(!clean.contains(SECRET), "{clean}");
        assert_eq!(clean.lines().count(), text.lines().count(), "lines stay where they are");
        clean
    }

    #[test]
    fn environment_files_keep_what_is_read() {
        let text = "DB_PASS=hunter2\nDOCKER_HOST=tcp://me:hunter2@h:2375\nexport X=\"a hunter2 c\"\n# Y=hunter2\n\nhunter2\n";
        for path in ["/etc/environment", "/home/edge/.config/environment.d/50.conf"] {
            let clean = cleaned(path, text);
            assert!(clean.starts_with("DB_PASS=LEFT-OUT\nDOCKER_HOST=tcp://LEFT-OUT@h:2375\n"), "{clean}");
        }
        assert_eq!(clean("/etc/environment", "DOCKER_HOST=unix:///run/x\n"), None);
    }

    #[test]
    fn accounts_keep_neither_hash_nor_name() {
        let clean = cleaned("/etc/passwd", "edge:hunter2:1000:1000:Ann hunter2,,,:/home/edge:/bin/sh\n");
        assert_eq!(clean, "edge:x:1000:1000::/home/edge:/bin/sh\n");
        assert_eq!(cleaned("/etc/group", "wheel:hunter2:10:edge\n"), "wheel:x:10:edge\n");
    }

    #[test]
    fn units_keep_what_is_no_value_of_their_services() {
        let text =
            "[Service]\nDelegate=cpu\nEnvironment=K3S_TOKEN=hunter2 A=b\nExecStart=/k3s --token hunter2\n";
        let clean = cleaned("/home/edge/.config/systemd/user/k3s-rootless.service", text);
        assert_eq!(
            clean,
            "[Service]\nDelegate=cpu\nEnvironment=K3S_TOKEN=LEFT-OUT A=LEFT-OUT\nExecStart=/k3s --token LEFT-OUT\n"
        );
        assert!(cleaned("/etc/systemd/user/x.service", text).ends_with("LEFT-OUT\nExecStart=LEFT-OUT\n"));
        let long = "[Service]\nEnvironment=A=b \\\n  T=hunter2 \\\n  U=hunter2\nDelegate=cpu\n";
        assert!(cleaned("/etc/systemd/user/x.service", long).ends_with("LEFT-OUT\nDelegate=cpu\n"));
    }

    #[test]
    fn secrets_keep_their_names() {
        let path = "/home/edge/.local/share/containers/storage/secrets/secrets.json";
        let text = r#"{"secrets":{"0a":{"driverOptions":{"key":"hunter2"}}},"nameToID":{"tls":"0a"}}"#;
        assert_eq!(cleaned(path, text), r#"{"nameToID":{"tls":"0a"}}"#);
        assert_eq!(cleaned(path, "[hunter2"), r#"{"nameToID":{}}"#);
    }

    #[test]
    fn quadlets_keep_their_service_only() {
        let text =
            "[Container]\nImage=nginx\nPodmanArgs=--env T=hunter2\n[Service]\nUser=x\nExecStopPost=hunter2\n";
        let clean = cleaned("/home/edge/.config/containers/systemd/web.container", text);
        assert_eq!(
            clean,
            "[Container]\nImage=LEFT-OUT\nPodmanArgs=LEFT-OUT\n[Service]\nUser=x\nExecStopPost=LEFT-OUT\n"
        );
    }

    #[test]
    fn the_kernel_command_line_keeps_its_shape() {
        let text = "quiet k3s.token=hunter2 root=/dev/vda ds=nocloud;s=http://a:hunter2@h/,http://b:hunter2@i/ \"x.pass=a hunter2\"\n";
        let clean = cleaned("/proc/cmdline", text);
        assert!(clean.starts_with("quiet k3s.token=LEFT-OUT root=/dev/vda ds=nocloud"), "{clean}");
        let plain = "root=/dev/vda cgroup_disable=memory\n";
        assert_eq!(super::clean("/proc/cmdline", plain), None);
    }

    #[test]
    fn what_is_toml_stays_toml() {
        let text = "[containers]\nenv = [\n  \"K3S_TOKEN=hunter2\",\n  \"B=c\"\n]\npids_limit = 5\n[engine]\nenv = [\"hunter2\"]\n";
        let clean = cleaned("/etc/containers/containers.conf", text);
        let table: toml::Table = clean.parse().unwrap();
        assert_eq!(table["containers"]["pids_limit"].as_integer(), Some(5));
        cleaned("/etc/containers/containers.conf", "[containers\nenv = [\"hunter2\"]\n");
        assert_eq!(super::clean("/etc/containers/containers.conf", "[engine]\nruntime = \"crun\"\n"), None);
    }

    #[test]
    fn what_clusters_are_told_keeps_what_is_read() {
        let text =
            "token: hunter2\nserver: https://me:hunter2@h:6443\n# hunter2\nnode-label:\n  - a=hunter2\n";
        let clean = cleaned("/etc/rancher/k3s/config.yaml", text);
        assert_eq!(clean, "token: LEFT-OUT\nserver: https://LEFT-OUT@h:6443\n#\nnode-label:\n  - LEFT-OUT\n");
        let text = "{\n    \"insecure-registry\": \"hunter2\",\n    \"rootless\": true\n}\n";
        let clean = cleaned("/home/edge/.minikube/config/config.json", text);
        assert_eq!(clean, "{\n    \"insecure-registry\": \"LEFT-OUT\",\n    \"rootless\": true\n}\n");
        let policy = "{\"default\": [{\"type\": \"reject\"}], \"env\": 1}\n";
        assert_eq!(super::clean("/etc/containers/policy.json", policy), None);
    }

    #[test]
    fn everything_else_is_left_alone() {
        for path in ["/var/lib/dpkg/status", "/etc/nsswitch.conf", "/etc/login.defs"] {
            assert_eq!(clean(path, "passwd: files\nHomepage: https://a:b@c/\n"), None);
        }
    }
}
