//! Kernel parameters (`sysctl.d(5)`).

use super::draft::{Draft, one_line};
use super::lines::with_line;
use super::{FixError, template};
use crate::facts::Source;
use crate::facts::sysctl::one_spaced;
use crate::facts::sysctl_rules::{Rule, Rules, path_of, rules};
use crate::plan::Activation;
use crate::settings::Setting;

const NAME: &str = "90-rootless.conf";
/// What Ubuntu's kernels, and AppArmor's own patches, keep programs without a profile from user
/// namespaces by.
const APPARMOR_USERNS: &str = "kernel.apparmor_restrict_unprivileged_userns";

pub(super) fn add(draft: &mut Draft<'_>, settings: &[Setting]) -> Result<(), FixError> {
    let mut wanted: Vec<(String, String)> = Vec::new();
    let mut in_file = Vec::new();
    for setting in settings {
        let (key, value, persistent) = match setting {
            Setting::Sysctl { key, value } => (key.as_str(), value.as_str(), true),
            Setting::SysctlInEffect { key, value } => (key.as_str(), value.as_str(), false),
            Setting::UsernsProfile { .. } if draft.options.allow_global_userns => {
                (APPARMOR_USERNS, "0", true)
            }
            _ => continue,
        };
        let odd = |c: char| c.is_whitespace() || "=#;*?[".contains(c);
        if key.is_empty() || key.contains(odd) || key.starts_with('-') {
            return Err(FixError::Refused(format!("{key:?}: expected a key such as net.ipv4.ip_forward")));
        }
        one_line(key, value)?;
        let known = wanted.iter().find(|(other, _)| path_of(other) == path_of(key));
        match known {
            Some((_, other)) if one_spaced(other) != one_spaced(value) => {
                let (one, other) = (other.clone(), value.to_owned());
                return Err(FixError::Conflict { what: key.to_owned(), one, other });
            }
            Some(_) => {}
            None => wanted.push((key.to_owned(), value.to_owned())),
        }
        if persistent && !in_file.iter().any(|(other, _): &(String, String)| path_of(other) == path_of(key)) {
            in_file.push((key.to_owned(), value.to_owned()));
        }
    }
    let reachable = in_file.is_empty() || write(draft, &in_file)?;
    for (key, value) in wanted {
        let before = draft.facts.sysctl(&key).ok().map(|found| found.value);
        let there = before.as_deref() == Some(one_spaced(&value).as_str());
        let persistent = in_file.iter().any(|(other, _)| path_of(other) == path_of(&key));
        if !there && (reachable || !persistent) {
            draft.activate(Activation::Sysctl { key, value, before });
        }
    }
    Ok(())
}

fn write(draft: &mut Draft<'_>, wanted: &[(String, String)]) -> Result<bool, FixError> {
    let place = draft.conf_place("sysctl.d", NAME);
    let path = place.path();
    draft.edit(&place, |text| {
        let line = |(key, value): &(String, String)| format!("{key} = {value}");
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            let lines: Vec<String> = wanted.iter().map(line).collect();
            return template::lines(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        };
        let mut text = text.to_owned();
        for pair in wanted {
            if value_of(&path, &text, &pair.0) != Some(one_spaced(&pair.1)) {
                text = with_line(&text, |old| is_about(old, &pair.0), &line(pair));
            }
            if value_of(&path, &text, &pair.0) != Some(one_spaced(&pair.1)) {
                return Err(FixError::Refused(format!(
                    "{path}: {} cannot be put into what is there",
                    pair.0
                )));
            }
        }
        Ok(text)
    })
}

/// The value that the text gives a key.
fn value_of(path: &str, text: &str, key: &str) -> Option<String> {
    let rules = Rules::new(rules(&Source::new(path, text)));
    let winner = rules.outcome(&path_of(key)).winner?.clone();
    if winner.path == path_of(key) { winner.value.as_deref().map(one_spaced) } else { None }
}

fn is_about(line: &str, key: &str) -> bool {
    let found: Vec<Rule> = rules(&Source::new("", line));
    found.first().is_some_and(|rule| rule.path == path_of(key))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fix, host, ours, settled, vendor, written};
    use super::super::{Options, fixes};
    use super::*;

    const PATH: &str = "/etc/sysctl.d/90-rootless.conf";

    fn sysctl(key: &str, value: &str) -> Setting {
        Setting::Sysctl { key: key.to_owned(), value: value.to_owned() }
    }

    fn now(key: &str, value: &str, before: Option<&str>) -> Activation {
        let before = before.map(str::to_owned);
        Activation::Sysctl { key: key.to_owned(), value: value.to_owned(), before }
    }

    #[test]
    fn a_key_is_written_and_set() {
        let settings = [
            sysctl("net.ipv4.ip_forward", "1"),
            sysctl("net.ipv4.ping_group_range", "0 2147483647"),
            sysctl("net.ipv4.ip_forward", "1"),
            Setting::SysctlInEffect { key: "user.max_user_namespaces".to_owned(), value: "9".to_owned() },
        ];
        let host = host()
            .file("/proc/sys/net/ipv4/ip_forward", "0\n")
            .file("/proc/sys/net/ipv4/ping_group_range", "0\t2147483647\n");
        let (fixes, _) = settled(&host, &settings, &Options::default());
        let lines = "net.ipv4.ip_forward = 1\nnet.ipv4.ping_group_range = 0 2147483647\n";
        assert_eq!(written(&fixes), [(PATH, ours(lines))]);
        assert_eq!(
            fixes.activations,
            [now("net.ipv4.ip_forward", "1", Some("0")), now("user.max_user_namespaces", "9", None)]
        );
        let (image, _) = settled(&host.image(), &settings, &vendor());
        assert_eq!(written(&image)[0].0, "/usr/lib/sysctl.d/90-rootless.conf");
        assert_eq!(image.activations, []);
    }

    #[test]
    fn other_lines_stay() {
        let key = "net.ipv4.ip_forward";
        for (text, edited) in [
            ("# mine\nvm.x=1\n", "# mine\nvm.x=1\nnet.ipv4.ip_forward = 1\n"),
            ("-net/ipv4/ip_forward=0\r\nvm.x=1", "net.ipv4.ip_forward = 1\r\nvm.x=1"),
            ("net.ipv4.ip_forward=1 ", "net.ipv4.ip_forward=1 "),
            (
                "net.ipv4.ip_forward = 1\n-net.ipv4.ip_forward\n",
                "net.ipv4.ip_forward = 1\nnet.ipv4.ip_forward = 1\n",
            ),
            ("", ours("net.ipv4.ip_forward = 1\n").as_str()),
        ] {
            let (_, after) = settled(&host().file(PATH, text), &[sysctl(key, "1")], &Options::default());
            assert_eq!(after.text(PATH), edited, "{text:?}");
        }
    }

    #[test]
    fn two_values_of_one_key_are_a_conflict() {
        let error = fix(&host(), &[sysctl("a.b", "1"), sysctl("a/b", "2")]).unwrap_err();
        assert!(matches!(error, FixError::Conflict { one, other, .. } if (&*one, &*other) == ("1", "2")));
        for key in ["", "a b", "a=b", "-a", "a.*"] {
            assert!(matches!(fix(&host(), &[sysctl(key, "1")]), Err(FixError::Refused(_))), "{key}");
        }
        assert!(matches!(fix(&host(), &[sysctl("a.b", "1\nc=2")]), Err(FixError::Refused(_))));
    }

    #[test]
    fn a_file_that_would_not_be_read_is_not_written() {
        let hidden = host().file("/run/sysctl.d/90-rootless.conf", "");
        let fixes = fixes(&hidden.facts(), &[sysctl("a.b", "1")], &vendor()).unwrap();
        assert_eq!((fixes.artifacts.len(), fixes.activations.len(), fixes.manual.len()), (0, 0, 1));
    }

    #[test]
    fn the_restriction_can_be_lifted_for_all() {
        let options = Options { allow_global_userns: true, ..Options::default() };
        let profile = Setting::UsernsProfile { program: "/usr/bin/podman".to_owned() };
        let (fixes, _) = settled(&host(), &[profile], &options);
        assert_eq!(written(&fixes), [(PATH, ours(&format!("{APPARMOR_USERNS} = 0\n")))]);
    }
}
