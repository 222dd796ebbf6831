//! Kernel modules that are loaded at boot (`modules-load.d(5)`), as far as a kernel has them.

use super::draft::Draft;
use super::lines::with_line;
use super::{FixError, template};
use crate::facts::module_state::ModuleState;
use crate::plan::Activation;
use crate::settings::Setting;

const NAME: &str = "rootless.conf";

/// Where a module stands on all kernels together.
struct Standing {
    /// Some kernel has it in a file.
    is_file: bool,
    /// Some kernel has it built in.
    built_in: bool,
    /// The running kernel could load it and has not.
    to_load: bool,
}

pub(super) fn add(draft: &mut Draft<'_>, settings: &[Setting]) -> Result<(), FixError> {
    let mut wanted: Vec<(&str, bool)> = Vec::new();
    for setting in settings {
        let (name, persistent) = match setting {
            Setting::Module(name) => (name.as_str(), true),
            Setting::ModuleInEffect(name) => (name.as_str(), false),
            _ => continue,
        };
        let odd = |c: char| !c.is_ascii_alphanumeric() && !"_-:.,".contains(c);
        if name.is_empty() || name.contains(odd) {
            return Err(FixError::Refused(format!("{name:?}: expected the name of a kernel module")));
        }
        match wanted.iter_mut().find(|(known, _)| fold(known) == fold(name)) {
            Some((_, known)) => *known |= persistent,
            None => wanted.push((name, persistent)),
        }
    }
    let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
    let (mut lines, mut load) = (Vec::new(), Vec::new());
    for (name, persistent) in wanted {
        let standing = standing(draft, &names, name)?;
        if !standing.is_file && !standing.built_in {
            draft.step(format!("install or build a kernel with the module {name}: none that is here has it"));
            continue;
        }
        if persistent && standing.is_file && !is_listed(draft, name)? {
            lines.push(name);
        }
        if standing.to_load {
            load.push(name.to_owned());
        }
    }
    if !lines.is_empty() && !write(draft, &lines)? {
        load.retain(|name| !lines.contains(&name.as_str()));
    }
    if !load.is_empty() {
        draft.activate(Activation::LoadModules { names: load });
    }
    Ok(())
}

fn standing(draft: &Draft<'_>, names: &[&str], name: &str) -> Result<Standing, FixError> {
    let mut standing = Standing { is_file: false, built_in: false, to_load: false };
    for kernel in draft.facts.kernels()?.iter() {
        match draft.facts.module_state(kernel, names, name)? {
            ModuleState::Loaded(..) => standing.is_file = true,
            ModuleState::BuiltIn(_) => standing.built_in = true,
            ModuleState::Loadable(_) => {
                standing.is_file = true;
                standing.to_load |= kernel.running;
            }
            ModuleState::Missing(..) | ModuleState::Unseen => {}
        }
    }
    Ok(standing)
}

/// Whether a file, or the kernel command line, loads it at boot already.
fn is_listed(draft: &Draft<'_>, name: &str) -> Result<bool, FixError> {
    let listed = draft.facts.modules_load();
    Ok(listed.find(name)?.is_some_and(|module| !module.value.initrd))
}

fn write(draft: &mut Draft<'_>, names: &[&str]) -> Result<bool, FixError> {
    let place = draft.conf_place("modules-load.d", NAME);
    draft.edit(&place, |text| match text.filter(|text| !text.is_empty()) {
        None => template::lines(names),
        Some(text) => Ok(names.iter().fold(text.to_owned(), |text, name| {
            let listed = text.lines().any(|line| fold(line.trim()) == fold(name));
            if listed { text } else { with_line(&text, |_| false, name) }
        })),
    })
}

fn fold(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::testing::{fix, host, ours, settled, vendor, written};
    use super::*;
    use crate::facts::testing::TestHost;

    const PATH: &str = "/etc/modules-load.d/rootless.conf";

    fn kernels() -> TestHost {
        let dir = |release: &str| format!("/usr/lib/modules/{release}");
        host()
            .file("/proc/sys/kernel/osrelease", "6.1.0\n")
            .file("/proc/modules", "tun 1 0 - Live 0x0\n")
            .file("/proc/cmdline", "quiet\n")
            .file(&format!("{}/modules.dep", dir("6.1.0")), "a/tun.ko:\na/br_netfilter.ko:\n")
            .file(&format!("{}/modules.builtin", dir("6.1.0")), "a/overlay.ko\n")
            .file(&format!("{}/a/tun.ko", dir("6.1.0")), "")
            .file(&format!("{}/a/br_netfilter.ko", dir("6.1.0")), "")
            .file(&format!("{}/modules.dep", dir("6.6.0")), "a/veth.ko:\n")
            .file(&format!("{}/modules.builtin", dir("6.6.0")), "")
            .file(&format!("{}/a/veth.ko", dir("6.6.0")), "")
    }

    fn modules(names: &[&str]) -> Vec<Setting> {
        names.iter().map(|name| Setting::Module((*name).to_owned())).collect()
    }

    #[test]
    fn what_a_kernel_has_is_listed_and_loaded() {
        let settings = modules(&["br-netfilter", "tun", "overlay", "veth", "no_such", "br_netfilter"]);
        let (fixes, _) = settled(&kernels(), &settings, &Options::default());
        assert_eq!(written(&fixes), [(PATH, ours("br-netfilter\ntun\nveth\n"))]);
        assert_eq!(fixes.activations, [Activation::LoadModules { names: vec!["br-netfilter".to_owned()] }]);
        let step = "install or build a kernel with the module no_such: none that is here has it";
        assert_eq!(fixes.manual.iter().map(|step| step.summary.as_str()).collect::<Vec<_>>(), [step]);
        let (image, _) = settled(&kernels().image(), &modules(&["tun"]), &vendor());
        assert_eq!(written(&image), [("/usr/lib/modules-load.d/rootless.conf", ours("tun\n"))]);
        assert_eq!(image.activations, []);
    }

    #[test]
    fn what_is_listed_needs_no_line() {
        let elsewhere = kernels().file("/usr/lib/modules-load.d/x.conf", "br_netfilter\n");
        let (fixes, _) = settled(&elsewhere, &modules(&["br-netfilter"]), &Options::default());
        assert_eq!((fixes.artifacts.len(), fixes.activations.len()), (0, 1));
        let own = kernels().file(PATH, "# mine\r\ntun\r\n");
        let (_, after) = settled(&own, &modules(&["br_netfilter"]), &Options::default());
        assert_eq!(after.text(PATH), "# mine\r\ntun\r\nbr_netfilter\r\n");
    }

    #[test]
    fn in_effect_only_loads() {
        let fixes = fix(&kernels(), &[Setting::ModuleInEffect("br_netfilter".to_owned())]).unwrap();
        assert_eq!((fixes.artifacts.len(), fixes.activations.len()), (0, 1));
        assert!(matches!(fix(&kernels(), &modules(&["a b"])), Err(FixError::Refused(_))));
        let denied = kernels().error("/etc/modules-load.d/rootless.conf", "denied");
        assert!(matches!(fix(&denied, &modules(&["veth"])), Err(FixError::Unread(_))));
    }
}
