//! Lingering: logind writes its file itself on a running system; elsewhere the file, or a line that makes
//! it at boot where `/var` is not part of an image (`loginctl(1)`, `tmpfiles.d(5)`).

use super::draft::{Draft, PUBLIC};
use super::lines::with_line;
use super::{FixError, Layer, Wanted, template};
use crate::facts::linger::{Linger, is_passed_over, linger_path};
use crate::plan::{Activation, State, Writer};
use crate::settings::Setting;

const NAME: &str = "rootless-linger.conf";

pub(super) fn add(draft: &mut Draft<'_>, settings: &[Setting]) -> Result<(), FixError> {
    let mut lines: Vec<String> = Vec::new();
    for setting in settings {
        let Setting::Linger(name) = setting else { continue };
        let user = draft.user(name)?;
        let path = linger_path(name);
        if is_passed_over(name) {
            draft.step(format!("rename {name}: at boot logind takes {path} for a backup and passes it over"));
            continue;
        }
        if draft.activates() {
            let (user, uid) = (name.clone(), user.uid);
            match draft.facts.linger(name)? {
                Linger::On(_) if draft.facts.user_manager_runs(uid)? => {}
                Linger::On(_) => draft.activate(Activation::StartUserManager { user, uid }),
                Linger::OnUntilBoot(_) | Linger::Off(_) => draft.activate(Activation::Linger { user, uid }),
            }
        } else if !draft.facts.running() && draft.options.layer == Layer::Vendor {
            let line = format!("f {} 0644 root root - -", tmpfiles_path(&path));
            if !lines.contains(&line) {
                lines.push(line);
            }
        } else {
            match draft.facts.existing(&path)? {
                State::Absent => {
                    draft.put(&path, Writer::System, Wanted::File { bytes: Vec::new(), mode: PUBLIC });
                }
                State::File { .. } => {}
                State::Link { .. } | State::Dir { .. } => {
                    draft.step(format!("remove {path}, which is no file, and run this again"));
                }
            }
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    let place = draft.conf_place("tmpfiles.d", NAME);
    draft.edit(&place, |text| match text.filter(|text| !text.is_empty()) {
        None => template::lines(&lines.iter().map(String::as_str).collect::<Vec<_>>()),
        Some(text) => {
            Ok(lines.iter().fold(text.to_owned(), |text, line| with_line(&text, |old| old == line, line)))
        }
    })?;
    Ok(())
}

/// A path as tmpfiles.d takes it: quotes and backslashes as in C, specifiers with `%`.
fn tmpfiles_path(path: &str) -> String {
    let escaped = path.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    if escaped.contains([' ', '\'']) || escaped != path.replace('%', "%%") {
        format!("\"{escaped}\"")
    } else {
        escaped
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{host, managed, ours, settled, vendor, written};
    use super::super::{Artifact, Options};
    use super::*;

    fn linger(user: &str) -> Setting {
        Setting::Linger(user.to_owned())
    }

    #[test]
    fn logind_writes_the_file_on_a_running_system() {
        let (fixes, _) = settled(&host(), &[linger("edge"), linger("edge")], &Options::default());
        assert_eq!(fixes.artifacts, []);
        assert_eq!(fixes.activations, [Activation::Linger { user: "edge".to_owned(), uid: 1000 }]);
        let on = host().file("/var/lib/systemd/linger/edge", "");
        let stopped = Activation::StartUserManager { user: "edge".to_owned(), uid: 1000 };
        assert_eq!(settled(&on, &[linger("edge")], &Options::default()).0.activations, [stopped]);
        let running = managed().file("/var/lib/systemd/linger/edge", "");
        assert_eq!(settled(&running, &[linger("edge")], &Options::default()).0.activations, []);
    }

    #[test]
    fn elsewhere_the_file_is_written() {
        let file = Artifact {
            path: "/var/lib/systemd/linger/edge".to_owned(),
            by: Writer::System,
            wanted: Wanted::File { bytes: Vec::new(), mode: 0o644 },
        };
        let quiet = Options { no_activate: true, ..Options::default() };
        assert_eq!(settled(&host(), &[linger("edge")], &quiet).0.artifacts, std::slice::from_ref(&file));
        assert_eq!(settled(&host().image(), &[linger("edge")], &Options::default()).0.artifacts, [file]);
    }

    #[test]
    fn a_vendor_has_a_line_that_makes_it() {
        let (fixes, after) = settled(&host().image(), &[linger("edge")], &vendor());
        let path = "/usr/lib/tmpfiles.d/rootless-linger.conf";
        let line = "f /var/lib/systemd/linger/edge 0644 root root - -\n";
        assert_eq!(written(&fixes), [(path, ours(line))]);
        assert!(after.clone().facts().linger_by_tmpfiles("edge").unwrap().is_some());
        let (_, both) = settled(&after, &[linger("edge"), linger("other")], &vendor());
        assert_eq!(both.text(path), ours(&format!("{line}{}", line.replace("edge", "other"))));
    }

    #[test]
    fn odd_names() {
        assert_eq!(tmpfiles_path("/l/a%b"), "/l/a%%b");
        assert_eq!(tmpfiles_path("/l/a b"), "\"/l/a b\"");
        assert_eq!(tmpfiles_path("/l/\\303\\251"), "\"/l/\\\\303\\\\251\"");
        let host =
            host().image().append("/etc/passwd", "x\\y é:x:7:7::/:/bin/sh\nsvc.bak:x:8:8::/:/bin/sh\n");
        let (_, after) = settled(&host, &[linger("x\\y é")], &vendor());
        assert!(after.facts().linger_by_tmpfiles("x\\y é").unwrap().is_some());
        let (fixes, _) = settled(&host, &[linger("svc.bak")], &Options::default());
        assert_eq!((fixes.artifacts.len(), fixes.manual.len()), (0, 1));
    }
}
