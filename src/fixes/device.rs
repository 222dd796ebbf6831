//! Device nodes: a udev rule for whenever the node is made, and the bits now (`udev(7)`).

use super::draft::{Agreed, Draft};
use super::lines::with_line;
use super::{FixError, template};
use crate::host::{Kind, OrAbsent};
use crate::plan::Activation;
use crate::settings::Setting;

const NAME: &str = "90-rootless.rules";

pub(super) fn add(draft: &mut Draft<'_>, settings: &[Setting]) -> Result<(), FixError> {
    let mut wanted = Agreed::default();
    let mut modes = Vec::new();
    for setting in settings {
        let Setting::DeviceMode { path, mode } = setting else { continue };
        // Both are misc devices, with nodes that exist before their modules are loaded.
        if !matches!(path.as_str(), "/dev/net/tun" | "/dev/fuse") {
            draft.step_with(
                format!("give {path} the mode {mode:04o} with a udev rule"),
                vec![format!("sudo chmod {mode:04o} {}", crate::settings::quoted(path))],
            );
            continue;
        }
        if wanted.0.iter().any(|(known, _)| known == path) {
            wanted.add(path, &format!("{mode:04o}"))?;
            continue;
        }
        wanted.add(path, &format!("{mode:04o}"))?;
        modes.push((path, *mode));
    }
    if wanted.0.is_empty() {
        return Ok(());
    }
    let place = draft.conf_place("udev/rules.d", NAME);
    let rules: Vec<(String, String)> = wanted.0.iter().map(|(path, mode)| rule(path, mode)).collect();
    let written = draft.edit(&place, |text| match text.filter(|text| !text.is_empty()) {
        None => template::lines(&rules.iter().map(|(_, rule)| rule.as_str()).collect::<Vec<_>>()),
        Some(text) => Ok(rules.iter().fold(text.to_owned(), |text, (subject, rule)| {
            with_line(&text, |old| old.trim_start().starts_with(subject), rule)
        })),
    })?;
    for (path, mode) in modes.into_iter().filter(|_| written) {
        if let Some(stat) = draft.facts.stat(path).or_absent()?
            && matches!(stat.kind, Kind::Char(..))
            && stat.mode != mode
        {
            draft.activate(Activation::DeviceMode { path: path.clone(), mode, before: stat.mode });
        }
    }
    Ok(())
}

/// How the rule of a node begins, and the rule. systemd's own (`50-udev-default.rules`) names the static
/// node as well, so that its bits are right before the module is loaded.
fn rule(path: &str, mode: &str) -> (String, String) {
    let node = path.trim_start_matches("/dev/");
    let name = node.rsplit('/').next().unwrap_or(node);
    let subject = format!("KERNEL==\"{name}\"");
    let rule = format!("{subject}, SUBSYSTEM==\"misc\", MODE=\"{mode}\", OPTIONS+=\"static_node={node}\"");
    (subject, rule)
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::testing::{fix, host, ours, settled, vendor, written};
    use super::*;

    const PATH: &str = "/etc/udev/rules.d/90-rootless.rules";
    const TUN: &str =
        "KERNEL==\"tun\", SUBSYSTEM==\"misc\", MODE=\"0666\", OPTIONS+=\"static_node=net/tun\"\n";

    fn device(path: &str, mode: u32) -> Setting {
        Setting::DeviceMode { path: path.to_owned(), mode }
    }

    #[test]
    fn a_node_gets_its_bits_now_and_whenever_it_is_made() {
        let host = host().path("/dev/net/tun", |record| {
            record.kind = Some("char 10:200".to_owned());
            record.mode = Some("0600".to_owned());
        });
        let settings = [device("/dev/net/tun", 0o666), device("/dev/fuse", 0o666)];
        let (fixes, _) = settled(&host, &settings, &Options::default());
        let fuse = "KERNEL==\"fuse\", SUBSYSTEM==\"misc\", MODE=\"0666\", OPTIONS+=\"static_node=fuse\"\n";
        assert_eq!(written(&fixes), [(PATH, ours(&format!("{TUN}{fuse}")))]);
        let now = Activation::DeviceMode { path: "/dev/net/tun".to_owned(), mode: 0o666, before: 0o600 };
        assert_eq!(fixes.activations, [now]);
        let (image, _) = settled(&host.image(), &settings, &vendor());
        assert_eq!(written(&image)[0].0, "/usr/lib/udev/rules.d/90-rootless.rules");
    }

    #[test]
    fn other_rules_stay() {
        let old = "# mine\nKERNEL==\"kvm\", MODE=\"0660\"\nKERNEL==\"tun\", MODE=\"0600\"";
        let host = host().file(PATH, old);
        let (_, after) = settled(&host, &[device("/dev/net/tun", 0o666)], &Options::default());
        assert_eq!(after.text(PATH), format!("# mine\nKERNEL==\"kvm\", MODE=\"0660\"\n{}", TUN.trim_end()));
        let error = fix(&host, &[device("/dev/fuse", 0o666), device("/dev/fuse", 0o660)]);
        assert!(matches!(error, Err(FixError::Conflict { .. })));
        let other = fix(&host, &[device("/dev/kvm", 0o660)]).unwrap();
        assert_eq!((other.artifacts.len(), other.manual.len()), (0, 1));
    }
}
