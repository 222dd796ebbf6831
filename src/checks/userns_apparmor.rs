//! Whether AppArmor lets the programs of a stack create user namespaces: see [`USERNS_APPARMOR`].

use crate::checks::check;
use crate::facts::apparmor::{Attached, Attachment, UsernsGrant};
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent, Unread};
use crate::requirements::{Demand, Need, Requirements};
use crate::settings::Setting;

check! {
    /// AppArmor lets the stack create user namespaces
    ///
    /// ## What is looked at
    ///
    /// `kernel.apparmor_restrict_unprivileged_userns`, which Ubuntu sets to 1 since 23.10, and where
    /// it is 1, for each program that creates the user namespace (podman, k3s, rootlesskit): which
    /// profile in `/etc/apparmor.d` attaches to the program's path, links followed, whether it has a
    /// `userns` rule, and whether it is loaded. Programs that these start inherit the profile, so
    /// crun, buildah or slirp4netns need none of their own.
    /// `kernel.apparmor_restrict_unprivileged_unconfined` does not matter: it is about programs that
    /// choose a profile themselves.
    ///
    /// ## Why it matters
    ///
    /// A program without such a profile gets a user namespace in which it may do nothing: newuidmap
    /// and K3s stop with "operation not permitted", often with "fork/exec /proc/self/exe", and no
    /// message names AppArmor. Distributions ship a profile for `/usr/bin/podman`; K3s comes from
    /// elsewhere and has none, and one for another path does not help.
    ///
    /// ## Repair
    ///
    /// A profile for the program's real path with `userns,`, loaded with `apparmor_parser -r`.
    /// Setting the sysctl to 0 would give every program of every user what one program needs.
    ///
    /// ## Sources
    ///
    /// - https://ubuntu.com/blog/ubuntu-23-10-restricted-unprivileged-user-namespaces
    /// - apparmor.d(5), "userns rules"
    /// - https://github.com/k3s-io/k3s/issues/11900
    USERNS_APPARMOR, "userns-apparmor", Required, User(run)
}

const KEY: &str = "kernel.apparmor_restrict_unprivileged_userns";
/// The kernel option that makes 1 the value [`KEY`] starts with.
const OPTION: &str = "SECURITY_APPARMOR_RESTRICT_USERNS";
/// Those that create the user namespace; what they start is in it already.
const PROGRAMS: [&str; 3] = ["podman", "k3s", "rootlesskit"];

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::UserNamespaces);
    let mut outcome = Outcome::default();
    match restriction(facts) {
        Err(why) => outcome.unknown_all(demands, KEY, &why),
        Ok(restriction) if !restriction.now && !restriction.at_boot => {
            let finding = Finding::new(KEY, "0", restriction.found, Verdict::Met).at(restriction.at);
            outcome.add_all(demands, &finding);
        }
        Ok(restriction) => {
            for name in PROGRAMS {
                let demands = of_program(demands, req, name);
                if !demands.is_empty() {
                    match look(facts, user, name, &restriction) {
                        Ok(Some(finding)) => outcome.add_all(&demands, &finding),
                        Ok(None) => {}
                        Err(why) => outcome.unknown_all(&demands, name, &why),
                    }
                }
            }
        }
    }
    outcome.or_skip("no program that creates user namespaces is asked for and installed")
}

/// Of those who want user namespaces, the stacks that want this program.
fn of_program(demands: &[Demand], req: &Requirements, name: &str) -> Vec<Demand> {
    let wanted = req.programs.iter().filter(|(want, _)| want.any_of.iter().any(|program| program == name));
    let stacks: Vec<_> = wanted.flat_map(|(_, demands)| demands).flat_map(|d| &d.stacks).collect();
    let narrowed = demands.iter().cloned().map(|mut demand| {
        demand.stacks.retain(|stack| stacks.contains(&stack));
        demand
    });
    narrowed.filter(|demand| !demand.stacks.is_empty()).collect()
}

/// Whether AppArmor restricts user namespaces at all.
struct Restriction {
    now: bool,
    at_boot: bool,
    found: String,
    at: Vec<Evidence>,
}

fn restriction(facts: &Facts) -> Fact<Restriction> {
    let not = |why: &str, at| Restriction { now: false, at_boot: false, found: why.to_owned(), at };
    let configured = facts.sysctl_configured(KEY);
    if !facts.running() {
        let Some(configured) = configured? else { return restriction_of_kernels(facts) };
        let at_boot = configured.value != "0";
        return Ok(Restriction { now: at_boot, at_boot, found: configured.value, at: vec![configured.at] });
    }
    let Some(now) = facts.sysctl(KEY).or_absent()? else {
        // Without /proc/sys nothing is known of the kernel.
        facts.stat("/proc/sys/kernel")?;
        return Ok(not("this kernel has no such switch", Vec::new()));
    };
    if !facts.apparmor_enabled()? {
        return Ok(not("AppArmor is off", vec![now.at]));
    }
    let restricted = now.value != "0";
    let mut at = vec![now.at];
    let at_boot = match configured? {
        Some(configured) => {
            at.push(configured.at);
            configured.value != "0"
        }
        None => restricted,
    };
    Ok(Restriction { now: restricted, at_boot, found: now.value, at })
}

/// In an image that says nothing of it, its kernels decide. Only Ubuntu's have the switch.
fn restriction_of_kernels(facts: &Facts) -> Fact<Restriction> {
    let ubuntu = facts.os_release().or_absent()?.is_some_and(|os| os.is_like("ubuntu"));
    let mut restricted = false;
    for kernel in facts.kernels()?.iter() {
        match facts.kernel_config(&kernel.release).or_absent()? {
            Some(config) => restricted |= config.is_set(OPTION),
            None if ubuntu => return Err(unknown_kernel()),
            None => {}
        }
    }
    if ubuntu && facts.kernels()?.is_empty() {
        return Err(unknown_kernel());
    }
    let found = if restricted { "1, as its kernel starts" } else { "its kernels have no such switch" };
    Ok(Restriction { now: restricted, at_boot: restricted, found: found.to_owned(), at: Vec::new() })
}

fn unknown_kernel() -> Unread {
    let expected = format!("nothing sets {KEY}, and the configuration of the kernel is not there");
    Unread::Malformed { path: "/boot".to_owned(), line: None, expected }
}

/// `None` where the program is not installed, which is another check's business.
fn look(
    facts: &Facts,
    user: &User,
    name: &str,
    restriction: &Restriction,
) -> Result<Option<Finding>, String> {
    let text = |why: Unread| why.to_string();
    let program = match facts.program(name).map_err(text)? {
        Some(program) => program,
        None => match facts.user_program(name, user).map_err(text)? {
            Some(program) => program,
            None => return Ok(None),
        },
    };
    let path = facts.real_path(&program.path).map_err(text)?;
    let attachment = facts.apparmor_attachment(&path).or_absent().map_err(text)?;
    let attached = match attachment.as_deref() {
        None | Some(Attachment::None) => None,
        Some(Attachment::Profile(attached)) => Some(attached),
        Some(Attachment::Unknown(why)) => return Err(why.clone()),
    };
    let (granted, found, at) = grant(attached)?;
    let (on_disk, in_kernel) = match attached {
        Some(attached) if granted && facts.running() => (true, is_loaded(facts, &attached.profile)?),
        None if facts.running() => (false, false_unless_loaded(facts, name, &path)?),
        _ => (granted, granted),
    };
    let allowed_at_boot = !restriction.at_boot || on_disk;
    let allowed_now = facts.running().then_some(!restriction.now || in_kernel);
    let verdict = Verdict::of(allowed_at_boot, allowed_now, Needs::None);
    let found = if granted && !in_kernel { format!("{found}, which is not loaded") } else { found };
    let at = at.into_iter().chain(restriction.at.iter().cloned());
    let finding =
        Finding::new(&path, "a loaded AppArmor profile that allows user namespaces", found, verdict);
    Ok(Some(finding.at(at).repair(repair(attached, granted, restriction, &path))))
}

/// Whether a profile allows user namespaces, in words and with its evidence.
fn grant(attached: Option<&Attached>) -> Result<(bool, String, Vec<Evidence>), String> {
    let Some(attached) = attached else {
        return Ok((false, "no profile attaches to it".to_owned(), Vec::new()));
    };
    let name = &attached.profile;
    match &attached.userns {
        UsernsGrant::Granted(at) => {
            Ok((true, format!("profile {name}"), vec![at.clone(), attached.at.clone()]))
        }
        UsernsGrant::Forbidden(at) => {
            Ok((false, format!("profile {name} denies them"), vec![at.clone(), attached.at.clone()]))
        }
        UsernsGrant::NotGranted => {
            Ok((false, format!("profile {name} has no userns rule"), vec![attached.at.clone()]))
        }
        UsernsGrant::Unknown(why) => Err(why.clone()),
    }
}

fn is_loaded(facts: &Facts, profile: &str) -> Result<bool, String> {
    match facts.apparmor_loaded() {
        Ok(loaded) => Ok(loaded.modes.contains_key(profile)),
        Err(why) => Err(format!("profile {profile} is on disk; whether it is loaded: {why}")),
    }
}

/// No profile on disk attaches; one in the kernel may all the same, and only its name is known.
fn false_unless_loaded(facts: &Facts, name: &str, path: &str) -> Result<bool, String> {
    let Ok(loaded) = facts.apparmor_loaded() else { return Ok(false) };
    match [name, path].into_iter().find(|profile| loaded.modes.contains_key(*profile)) {
        Some(profile) => Err(format!("profile {profile} is loaded, but not in /etc/apparmor.d")),
        None => Ok(false),
    }
}

fn repair(attached: Option<&Attached>, granted: bool, restriction: &Restriction, path: &str) -> Remedy {
    match attached {
        _ if !restriction.at_boot => {
            let setting = Setting::SysctlInEffect { key: KEY.to_owned(), value: "0".to_owned() };
            Remedy::setting("apply what is configured", setting)
        }
        None => Remedy::setting(
            format!("give {path} a profile that allows user namespaces"),
            Setting::UsernsProfile { program: path.to_owned() },
        ),
        Some(attached) if granted => Remedy::manual(format!("load {}", attached.at.path))
            .command(format!("sudo apparmor_parser -r {}", attached.at.path)),
        Some(attached) => {
            Remedy::manual(format!("add \"userns,\" to the profile at {} and load it", attached.at))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;

    const NOW: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    const VENDOR: &str = "/usr/lib/sysctl.d/10-apparmor.conf";
    const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
    const LOADED: &str = "/sys/kernel/security/apparmor/profiles";
    const PODMAN: &str =
        "abi <abi/4.0>,\nprofile podman /usr/bin/podman flags=(unconfined) {\n  userns,\n}\n";

    /// As Ubuntu 24.04 restricts it, with its profile of podman, and a k3s that comes from elsewhere.
    fn ubuntu() -> TestHost {
        fixture("debian-13")
            .file(ENABLED, "Y\n")
            .file(NOW, "1\n")
            .file(VENDOR, format!("{KEY} = 1\n"))
            .file("/etc/apparmor.d/podman", PODMAN)
            .file(LOADED, "podman (unconfined)\nunprivileged_userns (enforce)\n")
            .file("/opt/k3s/k3s", "")
            .path("/usr/local/bin/k3s", |record| {
                record.link = Some("/opt/k3s/k3s".to_owned());
                record.mode = Some("0755".to_owned());
            })
    }

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman, Stack::K3s]), &edge())
    }

    fn judged(host: TestHost) -> Vec<(String, Verdict)> {
        let outcome = look_at(host);
        verdicts(&outcome).into_iter().map(|(subject, verdict)| (subject.to_owned(), verdict)).collect()
    }

    fn k3s(host: TestHost) -> Verdict {
        let (subject, verdict) = judged(host)[1].clone();
        assert_eq!(subject, "/opt/k3s/k3s");
        verdict
    }

    #[test]
    fn nothing_is_restricted() {
        let met = [(KEY.to_owned(), Verdict::Met)];
        assert_eq!(judged(fixture("debian-13")), met);
        assert_eq!(judged(fixture("debian-13").image()), met);
        assert_eq!(judged(ubuntu().file(NOW, "0\n").without(VENDOR)), met);
        let off = ubuntu().file(ENABLED, "N\n");
        assert_eq!(judged(off), met);
    }

    /// RootlessKit hints at AppArmor on EACCES alone, and Ubuntu 24.04 answers EPERM.
    #[test]
    fn a_profile_for_the_real_path_is_needed() {
        let outcome = look_at(ubuntu());
        assert_eq!(verdicts(&outcome), [("/usr/bin/podman", Verdict::Met), ("/opt/k3s/k3s", Verdict::Unmet)]);
        assert_eq!(outcome.items[0].stacks, [Stack::Podman]);
        let found = findings(&outcome);
        assert_eq!(found[0].evidence[0].to_string(), "/etc/apparmor.d/podman:3");
        assert_eq!(
            (found[1].found.as_str(), found[1].evidence[0].to_string()),
            ("no profile attaches to it", format!("{NOW}:1"))
        );
        assert_eq!(found[1].remedy.settings, [Setting::UsernsProfile { program: "/opt/k3s/k3s".to_owned() }]);
        let other = PODMAN.replace("podman", "k3s").replace("/usr/bin", "/usr/local/bin");
        assert_eq!(
            k3s(ubuntu().file("/etc/apparmor.d/k3s", other)),
            Verdict::Unmet,
            "the link is not the file"
        );
    }

    #[test]
    fn a_profile_has_to_be_loaded_and_to_allow_it() {
        let with =
            |text: &str| ubuntu().file("/etc/apparmor.d/opt.k3s.k3s", format!("abi <abi/4.0>,\n{text}"));
        let granting = "/opt/k3s/k3s flags=(unconfined) { userns, }\n";
        assert_eq!(k3s(with(granting)), Verdict::Pending(Needs::None));
        assert_eq!(k3s(with(granting).append(LOADED, "/opt/k3s/k3s (unconfined)\n")), Verdict::Met);
        assert_eq!(k3s(with(granting).image()), Verdict::Met);
        for text in ["/opt/k3s/k3s { deny userns, }\n", "/opt/k3s/k3s flags=(unconfined) { }\n"] {
            let outcome = look_at(with(text));
            assert_eq!(findings(&outcome)[1].evidence[0].to_string(), "/etc/apparmor.d/opt.k3s.k3s:2");
            assert_eq!(findings(&outcome)[1].verdict, Verdict::Unmet);
        }
    }

    #[test]
    fn the_switch_now_and_at_boot() {
        let off_now = ubuntu().file(NOW, "0\n");
        assert_eq!(k3s(off_now), Verdict::Volatile);
        let off_at_boot = ubuntu().file("/etc/sysctl.d/60-userns.conf", format!("{KEY} = 0\n"));
        assert_eq!(k3s(off_at_boot), Verdict::Pending(Needs::None));
    }

    #[test]
    fn an_image_of_ubuntu_is_restricted_by_its_kernel() {
        let image = || ubuntu().without(VENDOR).image();
        assert_eq!(judged(image()), [(KEY.to_owned(), Verdict::Met)], "not Ubuntu");
        let ubuntu = image().file("/etc/os-release", "ID=ubuntu\n");
        assert_eq!(unknown(&look_at(ubuntu.clone().without("/boot"))).len(), 1);
        let release = ubuntu.clone().facts().kernels().unwrap()[0].release.clone();
        let config = |line: &str| {
            let text = format!("CONFIG_LOCALVERSION=\"\"\nCONFIG_USER_NS=y\n{line}\n");
            ubuntu.clone().file(&format!("/boot/config-{release}"), text)
        };
        assert_eq!(k3s(config("CONFIG_SECURITY_APPARMOR_RESTRICT_USERNS=y")), Verdict::Unmet);
        assert_eq!(judged(config("")), [(KEY.to_owned(), Verdict::Met)]);
    }

    #[test]
    fn what_cannot_be_read() {
        let outcome = look_at(ubuntu().error(LOADED, "denied"));
        assert_eq!(
            unknown(&outcome),
            [
                "profile podman is on disk; whether it is loaded: /sys/kernel/security/apparmor/profiles is not readable as this user"
            ]
        );
        assert_eq!(verdicts(&outcome), [("/opt/k3s/k3s", Verdict::Unmet)], "the disk settles this one");
        assert_eq!(unknown(&look_at(ubuntu().error(NOW, "denied"))).len(), 1);
        let lost = look_at(ubuntu().append(LOADED, "/opt/k3s/k3s (unconfined)\n"));
        assert_eq!(unknown(&lost), ["profile /opt/k3s/k3s is loaded, but not in /etc/apparmor.d"]);
        let none = ubuntu().without("/usr/local/bin/k3s").without("/usr/bin/podman");
        assert!(look_at(none).skipped.is_some());
    }
}
