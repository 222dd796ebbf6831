//! AppArmor profiles that confine nothing and allow user namespaces (`apparmor.d(5)`). The way to lift the
//! restriction for all programs is in `sysctl`.

use super::draft::{Draft, PUBLIC};
use super::{FixError, Wanted, template};
use crate::plan::{Activation, State, Writer};
use crate::settings::Setting;

/// AppArmor knows no vendor's place for profiles.
const DIR: &str = "/etc/apparmor.d";
/// What makes a path a pattern or ends a quoted one; a variable is `@{NAME}`.
const PATTERN_CHARS: &str = "*?[]{}^\"\\@";

pub(super) fn add(draft: &mut Draft<'_>, settings: &[Setting]) -> Result<(), FixError> {
    if draft.options.allow_global_userns {
        return Ok(());
    }
    let mut programs: Vec<&str> = Vec::new();
    for setting in settings {
        let Setting::UsernsProfile { program } = setting else { continue };
        if programs.contains(&program.as_str()) {
            continue;
        }
        programs.push(program);
        let odd = |c: char| c.is_control() || PATTERN_CHARS.contains(c);
        if !program.starts_with('/') || program.ends_with('/') || program.contains(odd) {
            return Err(FixError::Refused(format!(
                "{program:?}: expected an absolute path without characters of AppArmor's patterns"
            )));
        }
        let name = profile_name(program);
        let path = format!("{DIR}/{name}");
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
        let shown = if program.chars().all(plain) { program.clone() } else { format!("\"{program}\"") };
        let text = template::apparmor(&name, &shown)?;
        if draft.planned(&path).is_some() {
            return Err(FixError::Refused(format!(
                "{program:?}: another program's profile is called {name}"
            )));
        }
        match draft.facts.existing(&path)? {
            State::Absent => {
                let wanted = Wanted::File { bytes: text.into_bytes(), mode: PUBLIC };
                draft.put(&path, Writer::System, wanted);
            }
            State::File { content, .. } if content.bytes() == Some(text.as_bytes()) => {}
            State::File { .. } | State::Link { .. } | State::Dir { .. } => {
                draft.step(format!(
                    "add \"userns,\" to the profile of {program} in {path}, which is not ours, and load it"
                ));
                continue;
            }
        }
        draft.activate(Activation::ReloadAppArmor);
    }
    Ok(())
}

/// As AppArmor's own tools name profiles: the path with dots.
fn profile_name(program: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '_' };
    program.trim_start_matches('/').replace('/', ".").chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fix, host, settled, vendor, written};
    use super::super::{Options, fixes};
    use super::*;
    use crate::facts::apparmor::{Attachment, UsernsGrant};

    fn profile(program: &str) -> Setting {
        Setting::UsernsProfile { program: program.to_owned() }
    }

    #[test]
    fn the_profile_attaches_and_grants() {
        for (program, path) in [
            ("/usr/local/bin/k3s", "/etc/apparmor.d/usr.local.bin.k3s"),
            ("/opt/my tools/k3s,1", "/etc/apparmor.d/opt.my_tools.k3s_1"),
        ] {
            let twice = [profile(program), profile(program)];
            let (fixes, after) = settled(&host(), &twice, &Options::default());
            assert_eq!(written(&fixes)[0].0, path);
            assert_eq!(
                (fixes.artifacts.len(), &fixes.activations[..]),
                (1, &[Activation::ReloadAppArmor][..])
            );
            let attached = after.facts().apparmor_attachment(program).unwrap();
            let Attachment::Profile(attached) = &*attached else { panic!("{program}: {attached:?}") };
            assert!(matches!(attached.userns, UsernsGrant::Granted(_)), "{:?}", attached.userns);
        }
        let (image, _) = settled(&host().image(), &[profile("/usr/bin/podman")], &vendor());
        assert_eq!(written(&image)[0].0, "/etc/apparmor.d/usr.bin.podman");
        assert_eq!(image.activations, []);
    }

    #[test]
    fn a_path_that_is_a_pattern_is_refused() {
        for program in ["/usr/bin/*", "/a{b,c}", "/a\"b", "/a\nb", "/@{HOME}/x", "rel", "/a\\b", "/dir/"] {
            assert!(matches!(fix(&host(), &[profile(program)]), Err(FixError::Refused(_))), "{program}");
        }
        let same = fix(&host(), &[profile("/a b"), profile("/a_b")]);
        assert!(matches!(same, Err(FixError::Refused(_))));
    }

    #[test]
    fn a_profile_of_others_is_left_alone() {
        let path = "/etc/apparmor.d/usr.bin.podman";
        let fixes = fix(&host().file(path, "profile x {}\n"), &[profile("/usr/bin/podman")]).unwrap();
        assert_eq!((fixes.artifacts.len(), fixes.activations.len(), fixes.manual.len()), (0, 0, 1));
    }

    #[test]
    fn with_the_restriction_lifted_for_all_there_is_no_profile() {
        let options = Options { allow_global_userns: true, ..Options::default() };
        let fixes = fixes(&host().facts(), &[profile("/usr/bin/podman")], &options).unwrap();
        assert!(fixes.artifacts.iter().all(|artifact| artifact.path.contains("sysctl.d")));
    }
}
