//! Whether the kernel has the modules that stacks want: see [`MODULE_AVAILABLE`].

use crate::checks::check;
use crate::checks::install::install_packages;
use crate::facts::kernel::Kernel;
use crate::facts::module_state::{Missing, ModuleState};
use crate::facts::os_release::OsRelease;
use crate::facts::version::Version;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent};
use crate::profile::ModulePackage;
use crate::requirements::Requirements;

check! {
    /// Kernel has the modules that stacks use
    ///
    /// ## What is looked at
    ///
    /// Each wanted module: whether it is loaded, built in (`modules.builtin`, `/sys/module`, `=y` in
    /// the kernel's configuration) or a file that `modules.dep` names and that is there. Compressed
    /// modules count, `-` and `_` in a name are the same, and an alias stands for its module. On a
    /// running host the running kernel is looked at, in an image every kernel that is installed.
    ///
    /// That the configuration says `=m` proves nothing: the file may be in a package of its own.
    ///
    /// ## Why it matters
    ///
    /// A module that is not there cannot be loaded by anybody. What fails is a network device ("Unknown
    /// device type"), an iptables rule or a mount, far from the cause.
    ///
    /// ## Repair
    ///
    /// Some distributions have rarely used modules in a package of their own, such as
    /// kernel-modules-extra of Fedora and Red Hat Enterprise Linux or linux-modules-extra of Ubuntu.
    /// The profile of a board can name others (`[[module-package]]`). Else it takes another kernel. After
    /// an upgrade of the kernel, reboot.
    ///
    /// ## Sources
    ///
    /// - modules.dep(5), modprobe(8)
    /// - k3s: issue 4234, vxlan on Ubuntu for Raspberry Pi; kops: issue 18724, Red Hat 10
    MODULE_AVAILABLE, "module-available", Required, Host(run)
}

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let names: Vec<&str> = req.modules.keys().map(String::as_str).collect();
    let mut outcome = Outcome::default();
    let kernels = facts.counting_kernels();
    if kernels.as_ref().is_ok_and(Vec::is_empty) {
        // It may come from another partition, and nobody knows what that one has.
        for (name, want) in &req.modules {
            let demands = want.loaded.iter().chain(&want.on_demand);
            outcome.unknown_all(demands, name, &"no kernel is installed in this image");
        }
        return outcome.or_skip("no chosen stack asks for a module");
    }
    for (name, want) in &req.modules {
        let demands = want.loaded.iter().chain(&want.on_demand);
        let looked = kernels.as_ref().map_err(Clone::clone);
        let looked = looked.and_then(|all| look(facts, req, all, &names, name));
        outcome.looked(demands, name, looked);
    }
    outcome.or_skip("no chosen stack asks for a module")
}

/// The finding on a module, or what leaves it open.
fn look(
    facts: &Facts,
    req: &Requirements,
    kernels: &[Kernel],
    names: &[&str],
    name: &str,
) -> Fact<Result<Finding, String>> {
    let mut seen = Vec::new();
    let mut lacking: Vec<(&Kernel, Missing)> = Vec::new();
    let mut evidence = Vec::new();
    for kernel in kernels {
        match facts.module_state(kernel, names, name)? {
            ModuleState::Loaded(at, _) => seen.push(("loaded", at)),
            ModuleState::BuiltIn(at) => seen.push(("built in", at)),
            ModuleState::Loadable(files) => {
                seen.extend(files.into_iter().take(1).map(|file| ("loadable", file.at)));
            }
            ModuleState::Missing(why, at) => {
                lacking.push((kernel, why));
                evidence.extend(at);
            }
            ModuleState::Unseen => return after_reboot(facts, req, kernel, names, name),
        }
    }
    let Some(&(first, why)) = lacking.first() else {
        let found = seen.first().map_or("", |(word, _)| *word);
        let finding = Finding::new(name, "available", found, Verdict::Met);
        return Ok(Ok(finding.at(seen.into_iter().map(|(_, at)| at))));
    };
    // A kernel that was upgraded has no directory either, and the next one may have the module.
    if first.modules_dir.is_none()
        && let Ok(finding) = after_reboot(facts, req, first, names, name)?
    {
        return Ok(Ok(finding));
    }
    let mut found = words(why).to_owned();
    if kernels.len() > 1 {
        let releases: Vec<&str> = lacking.iter().map(|(kernel, _)| kernel.release.as_str()).collect();
        found = format!("{found} on {}", releases.join(", "));
    }
    let remedy = remedy(facts, req, first, name, why)?;
    Ok(Ok(Finding::new(name, "available", found, Verdict::Unmet).at(evidence).repair(remedy)))
}

/// The running kernel has no modules directory: what the kernels have that can be booted.
fn after_reboot(
    facts: &Facts,
    req: &Requirements,
    running: &Kernel,
    names: &[&str],
    name: &str,
) -> Fact<Result<Finding, String>> {
    let kernels = facts.kernels()?;
    // The newest is what a boot loader takes by default.
    let Some(next) = kernels.iter().rfind(|kernel| !kernel.running) else {
        return Ok(Err(format!(
            "Linux {} has neither a modules directory nor a readable configuration",
            running.release
        )));
    };
    let (verdict, evidence) = match facts.module_state(next, names, name)? {
        ModuleState::Missing(_, at) => (Verdict::Unmet, at),
        ModuleState::Unseen => return Ok(Err(format!("Linux {} cannot be looked at", next.release))),
        ModuleState::BuiltIn(at) | ModuleState::Loaded(at, _) => (Verdict::Pending(Needs::Reboot), vec![at]),
        ModuleState::Loadable(files) => {
            (Verdict::Pending(Needs::Reboot), files.into_iter().map(|file| file.at).collect())
        }
    };
    let found = match verdict {
        Verdict::Unmet => format!("neither now nor on {}", next.release),
        _ => format!("not before a reboot into {}", next.release),
    };
    let remedy = match verdict {
        Verdict::Unmet => remedy(facts, req, next, name, Missing::NoSuchModule)?,
        _ => Remedy::manual(format!("reboot into Linux {}", next.release)).command("sudo reboot"),
    };
    let gone = Evidence::path(&format!("/usr/lib/modules/{}", running.release), "does not exist");
    Ok(Ok(Finding::new(name, "available", found, verdict).at([gone]).at(evidence).repair(remedy)))
}

fn words(why: Missing) -> &'static str {
    match why {
        Missing::NoSuchModule => "no such module",
        Missing::AliasOfNothing => "an alias of no module",
        Missing::FileMissing => "its file is missing",
        Missing::NotInstalled => "built as a module that is not installed",
        Missing::NotBuilt => "not built",
    }
}

fn remedy(facts: &Facts, req: &Requirements, kernel: &Kernel, name: &str, why: Missing) -> Fact<Remedy> {
    if why == Missing::AliasOfNothing {
        return Ok(Remedy::manual("remove the alias, or install the module that it names"));
    }
    if why == Missing::FileMissing {
        let release = &kernel.release;
        return Ok(Remedy::manual(format!("install the modules of Linux {release} again, then run depmod")));
    }
    if let Some(package) = package_of_policy(facts, req, &kernel.release, name)? {
        let remedy = install_packages(facts, &[&package]);
        return Ok(Remedy { summary: format!("{}, which has it", remedy.summary), ..remedy });
    }
    let Some(package) = package(facts, &kernel.release)? else {
        return Ok(Remedy::manual("use a kernel that has the module"));
    };
    let remedy = install_packages(facts, &[&package]);
    Ok(Remedy { summary: format!("{}; it has more modules", remedy.summary), ..remedy })
}

/// The package that the profile or the site names for a module on this distribution.
fn package_of_policy(facts: &Facts, req: &Requirements, release: &str, name: &str) -> Fact<Option<String>> {
    if req.module_packages.is_empty() {
        return Ok(None);
    }
    let Some(os) = facts.os_release().or_absent()? else { return Ok(None) };
    let version = os.version_id.as_deref().and_then(Version::of_package);
    let underscored = |name: &str| name.replace('-', "_");
    let has_it = |package: &&ModulePackage| {
        package.distribution == os.id
            && package.names.iter().any(|known| underscored(known) == underscored(name))
            && package.kernel_ending.as_ref().is_none_or(|ending| release.ends_with(ending.as_str()))
            && package.before.as_ref().is_none_or(|end| version.as_ref().is_some_and(|version| version < end))
    };
    Ok(req.module_packages.iter().find(has_it).map(|found| found.package.clone()))
}

/// The flavours of Ubuntu's kernels that have modules in a package of their own.
const UBUNTU_FLAVOURS: [&str; 8] =
    ["-aws", "-azure", "-gcp", "-generic", "-kvm", "-lowlatency", "-oracle", "-raspi"];

/// The package in which the distribution has more modules, for a kernel of its own; others, such as
/// those of boards, have none.
fn package(facts: &Facts, release: &str) -> Fact<Option<String>> {
    let Some(os) = facts.os_release().or_absent()? else { return Ok(None) };
    let is_like = |ids: &[&str]| ids.iter().any(|id| os.is_like(id));
    Ok(if is_like(&["fedora", "rhel"]) && (release.contains(".fc") || release.contains(".el")) {
        let kernel = if release.contains("uek") { "kernel-uek" } else { "kernel" };
        Some(format!("{kernel}-modules-extra-{release}"))
    } else if is_like(&["ubuntu"]) && UBUNTU_FLAVOURS.iter().any(|flavour| release.ends_with(flavour)) {
        match release.ends_with("-raspi") {
            true if has_no_extra_raspi(&os) => None,
            true => Some("linux-modules-extra-raspi".to_owned()),
            false => Some(format!("linux-modules-extra-{release}")),
        }
    } else if is_like(&["debian"]) {
        release.split_once("-cloud-").map(|(_, arch)| format!("linux-image-{arch}"))
    } else if is_like(&["suse"]) && release.ends_with("-default") {
        // Small images have kernel-default-base under the same release.
        Some("kernel-default".to_owned())
    } else if is_like(&["alpine"]) && release.ends_with("-virt") {
        Some("linux-lts".to_owned())
    } else {
        None
    })
}

/// Ubuntu for Raspberry Pi had its modules in two packages from 21.10 to 23.10 (docs.k3s.io, "Operating
/// Systems", "Raspberry Pi").
fn has_no_extra_raspi(os: &OsRelease) -> bool {
    let year = os.version_id.as_deref().and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    year.is_some_and(|year| year >= 24)
}

#[cfg(test)]
#[path = "module_available_tests.rs"]
mod tests;
