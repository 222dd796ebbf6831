//! Leaves secrets out of what K3s is told, and nothing that a check looks at: its token stands beside the
//! directory of its data, in units, files with variables and configuration files alike.

use super::redaction::{LEFT_OUT, without_userinfo};
use crate::facts::k3s_config::{KEYS, assignment, item};
use crate::facts::k3s_options::option_of;

/// Variables that keep their values, by how their names begin.
const VARIABLES: [&str; 5] = ["K3S_CONFIG_FILE", "K3S_DATA_DIR", "K3S_NODE_NAME", "K3S_ROOTLESS_", "PATH"];
const QUOTES: [char; 2] = ['"', '\''];
/// Words of a command line that are no values.
const COMMANDS: [&str; 2] = ["agent", "server"];

/// Whether a file is a unit that runs K3s by its name, or a drop-in of one.
pub(super) fn is_unit(path: &str) -> bool {
    let named =
        |name: &str| name.starts_with("k3s") && (name.ends_with(".service") || name.ends_with(".service.d"));
    path.contains("/systemd/") && path.rsplit('/').take(2).any(named)
}

/// A unit, of whose free settings the command lines and variables of K3s keep what is no secret.
pub(super) fn unit(text: &str, is_free: fn(&str) -> bool) -> String {
    // What goes on from the line before.
    let mut open: Option<Next> = None;
    let lines = text.split('\n').map(|line| {
        let more = line.ends_with('\\');
        let body = line.strip_suffix('\\').unwrap_or(line);
        let (key, body, mut next) = match (open.take(), body.split_once('=')) {
            (Some(next), _) => (String::new(), body, next),
            (None, Some((key, value))) if !value.trim().is_empty() && is_free(key.trim()) => {
                (format!("{key}="), value, Next::first(key.trim(), value))
            }
            _ => return line.to_owned(),
        };
        let clean = match next {
            Next::LeftOut => LEFT_OUT.to_owned(),
            _ => body.split_whitespace().map(|word| next.clean(word)).collect::<Vec<_>>().join(" "),
        };
        open = more.then_some(next);
        format!("{key}{clean}{}", if more { " \\" } else { "" })
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What the next word of a setting is.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    Program,
    Argument,
    /// What an option is given.
    Value,
    Variable,
    LeftOut,
}

impl Next {
    /// Of what is not started as K3s, nothing stays; nor where quotes could make one word of two that matter.
    fn first(key: &str, value: &str) -> Next {
        let matters =
            |word: &str| word.starts_with(QUOTES) && word[1..].starts_with(['-', '/', '~', '$', '%']);
        let program = value.split_whitespace().next().unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or_default();
        match key {
            "Environment" => Next::Variable,
            _ if !key.starts_with("Exec") || !name.starts_with("k3s") || program.contains('=') => {
                Next::LeftOut
            }
            _ if value.split_whitespace().any(matters) => Next::LeftOut,
            _ => Next::Program,
        }
    }

    fn clean(&mut self, word: &str) -> String {
        match self {
            Next::LeftOut => LEFT_OUT.to_owned(),
            Next::Variable => variable(word),
            Next::Program => {
                *self = Next::Argument;
                word.to_owned()
            }
            Next::Value if !word.starts_with('-') => {
                *self = Next::Argument;
                if word.contains(QUOTES) { LEFT_OUT.to_owned() } else { without_userinfo(word) }
            }
            Next::Argument | Next::Value => {
                *self = Next::Argument;
                self.argument(word)
            }
        }
    }

    fn argument(&mut self, word: &str) -> String {
        if COMMANDS.contains(&word) {
            return word.to_owned();
        }
        match option_of(word) {
            Some((name, value)) if KEYS.contains(&name) || name == "config" => {
                if value.is_none() && name != "rootless" {
                    *self = Next::Value;
                }
                without_userinfo(word)
            }
            Some((name, value)) if word.starts_with("--") && is_name(name) => match value {
                Some(_) => format!("--{name}={LEFT_OUT}"),
                None => format!("--{name}"),
            },
            _ => LEFT_OUT.to_owned(),
        }
    }
}

/// Whether a word is made of what names of options are made of: a secret seldom is.
fn is_name(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// `NAME=value`, of a unit or of a file with variables.
pub(super) fn variable(line: &str) -> String {
    let whole = |text: &str| text.len() > 1 && text.starts_with(QUOTES) && text.ends_with(QUOTES);
    let text = if whole(line) { line.trim_matches(QUOTES) } else { line };
    let known = |name: &str| VARIABLES.iter().any(|known| name.starts_with(known));
    match text.split_once('=') {
        _ if text.trim().is_empty() => String::new(),
        _ if text.trim_start().starts_with('#') => String::from("#"),
        Some((name, value)) if known(name.trim()) && (!value.contains(QUOTES) || whole(value)) => {
            format!("{}={value}", name.trim())
        }
        Some((name, _)) if is_variable(name.trim_start_matches(QUOTES).trim()) => {
            format!("{}={LEFT_OUT}", name.trim_start_matches(QUOTES).trim())
        }
        _ => LEFT_OUT.to_owned(),
    }
}

fn is_variable(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A configuration file: only the keys that are looked at keep their values.
pub(super) fn config(text: &str) -> String {
    let mut kept = false;
    let lines = text.split('\n').map(|line| match assignment(line) {
        Some((key, value)) => {
            kept = KEYS.contains(&key);
            match value {
                _ if kept => without_userinfo(line),
                "" => line.to_owned(),
                _ => format!("{}: {LEFT_OUT}", line.split(':').next().unwrap_or_default()),
            }
        }
        None if line.trim().is_empty() => line.to_owned(),
        None if line.trim_start().starts_with('#') => String::from("#"),
        None if kept && item(line).is_some() => without_userinfo(line),
        None => format!("  - {LEFT_OUT}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = "/home/edge/.config/systemd/user/k3s-rootless.service";

    fn cleaned(text: &str) -> String {
        let clean =
            unit(text, |key| key.starts_with("Exec") || key == "Environment" || key == "SetCredential");
        assert!(!clean.contains("hunter2"), "{clean}");
        assert_eq!(clean.lines().count(), text.lines().count(), "lines stay where they are");
        clean
    }

    #[test]
    fn units_of_k3s_by_their_names() {
        for path in
            [UNIT, "/etc/systemd/system/k3s.service", "/run/systemd/user/k3s-rootless.service.d/a.conf"]
        {
            assert!(is_unit(path), "{path}");
        }
        for path in
            ["/etc/systemd/system/web.service", "/home/k3s/web.service", "/etc/rancher/k3s/config.yaml"]
        {
            assert!(!is_unit(path), "{path}");
        }
    }

    #[test]
    fn a_command_line_keeps_what_is_looked_at() {
        for (line, clean) in [
            ("/k3s server --rootless --snapshotter=native", "/k3s server --rootless --snapshotter=native"),
            ("-/k3s server -d /srv --token hunter2", "-/k3s server -d /srv --token LEFT-OUT"),
            (
                "/k3s agent -t hunter2 -s https://me:hunter2@h",
                "/k3s agent LEFT-OUT LEFT-OUT -s https://LEFT-OUT@h",
            ),
            ("/k3s --token=hunter2 --disable traefik", "/k3s --token=LEFT-OUT --disable traefik"),
            ("/k3s --token \"a hunter2\"", "/k3s --token LEFT-OUT LEFT-OUT"),
            ("/k3s server -d \"/srv/a hunter2\"", "LEFT-OUT"),
            ("/bin/sh -c 'T=hunter2 k3s'", "LEFT-OUT"),
            ("TOKEN=/k3s/hunter2", "LEFT-OUT"),
            ("/k3s --HUNTER2 --hunter2", "/k3s LEFT-OUT LEFT-OUT"),
        ] {
            let got = cleaned(&format!("[Service]\nExecStart={line}\n"));
            assert_eq!(got, format!("[Service]\nExecStart={clean}\n"), "{line}");
        }
        let text =
            "ExecStart=/k3s server --rootless --data-dir \\\n  /srv --token \\\n  hunter2\nDelegate=yes\n";
        let clean =
            "ExecStart=/k3s server --rootless --data-dir \\\n/srv --token \\\nLEFT-OUT\nDelegate=yes\n";
        assert_eq!(cleaned(text), clean);
    }

    #[test]
    fn variables_keep_what_is_looked_at() {
        for (line, clean) in [
            (
                "K3S_ROOTLESS_CIDR=10.1.0.0/16 K3S_TOKEN=hunter2",
                "K3S_ROOTLESS_CIDR=10.1.0.0/16 K3S_TOKEN=LEFT-OUT",
            ),
            ("\"K3S_NODE_NAME=a\" \"T=a hunter2\"", "K3S_NODE_NAME=a T=LEFT-OUT LEFT-OUT"),
            ("\"K3S_DATA_DIR=/a hunter2\"", "K3S_DATA_DIR=LEFT-OUT LEFT-OUT"),
        ] {
            assert_eq!(cleaned(&format!("Environment={line}")), format!("Environment={clean}"));
        }
        assert_eq!(cleaned("SetCredential=a:hunter2"), "SetCredential=LEFT-OUT");
        let file = "# hunter2\nK3S_TOKEN=hunter2\n\nK3S_DATA_DIR=\"/srv\"\nhunter2";
        let clean: Vec<String> = file.lines().map(variable).collect();
        assert_eq!(clean, ["#", "K3S_TOKEN=LEFT-OUT", "", "K3S_DATA_DIR=\"/srv\"", "LEFT-OUT"]);
    }

    #[test]
    fn lists_that_are_looked_at_stay() {
        let text = "token: hunter2\ndisable:\n  - traefik\nnode-label:\n  - hunter2\ndata-dir: /srv\n";
        let clean = "token: LEFT-OUT\ndisable:\n  - traefik\nnode-label:\n  - LEFT-OUT\ndata-dir: /srv\n";
        assert_eq!(config(text), clean);
    }
}
