//! Whether the programs of the chosen stacks are there: see [`STACK_PROGRAMS`].

use crate::checks::check;
use crate::checks::install::{install, install_packages};
use crate::facts::k3s_snapshotter::FUSE_OVERLAYFS;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{ProgramWant, Requirements};

check! {
    /// The programs of the stacks are installed
    ///
    /// ## What is looked at
    ///
    /// For each program that a stack names, the first file of that name which the user may execute:
    /// on `PATH` where edgeprep runs as that user, in `~/.local/bin` and `~/bin`, in the directories
    /// that systemd gives to services (`/usr/local/bin`, `/usr/bin`, ...) and in `/snap/bin`. Helpers of
    /// Podman are looked for in its `helper_binaries_dir` first. K3s asks for `mount.fuse3` only where it
    /// keeps images with the snapshotter fuse-overlayfs: where its unit says so or, without a unit, where
    /// the kernel is older than 5.13 or the file system takes no overlay.
    ///
    /// ## Why it matters
    ///
    /// Without its program there is no stack. A program that only root may execute, or that lies in a
    /// directory which only an interactive shell knows, is there for some and missing for others: what
    /// is found for the user alone is not found by units of the system.
    ///
    /// ## Repair
    ///
    /// The package of the distribution is installed where it has one; else the page of the project says
    /// how to get the program. Where `/usr` is read-only, the repair is what changes the next one:
    /// rpm-ostree, transactional-update, a system extension of Flatcar, or the recipe of the image.
    /// edgeprep installs nothing itself.
    ///
    /// ## Sources
    ///
    /// - systemd: src/basic/path-util.h, `DEFAULT_PATH_COMPAT`
    /// - containers/common: pkg/config/config.go, `FindHelperBinary`
    /// - k3s: k3s-rootless.service; pkg/cli/cmds/const_linux.go; containerd: core/mount/mount_linux.go
    /// - rpm-ostree(1), transactional-update(8), systemd-sysext(8); profiles/packages.toml
    STACK_PROGRAMS, "stack-programs", Required, User(run)
}

/// The program that containerd mounts what this snapshotter has made with.
const OF_FUSE_OVERLAYFS: &str = "mount.fuse3";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let mut outcome = Outcome::default();
    for (want, demands) in &req.programs {
        let looked = look(facts, want, user);
        let is_met = looked.as_ref().is_ok_and(|finding| finding.verdict == Verdict::Met);
        for demand in demands {
            let (k3s, others) = match want.any_of[..] == [OF_FUSE_OVERLAYFS] && !is_met {
                true => demand.by_k3s(),
                false => (None, Some(demand.clone())),
            };
            let k3s = k3s.and_then(|demand| match facts.k3s_snapshotter(user) {
                Ok(taken) => (taken.name == FUSE_OVERLAYFS).then_some(demand),
                Err(why) => {
                    outcome.unknown(&demand, subject(want), why);
                    None
                }
            });
            for demand in others.iter().chain(&k3s) {
                match &looked {
                    Ok(finding) => outcome.add(demand, finding.clone()),
                    Err(why) => outcome.unknown(demand, subject(want), why),
                }
            }
        }
    }
    outcome.or_skip("no chosen stack asks for a program")
}

fn subject(want: &ProgramWant) -> String {
    want.any_of.join(" or ")
}

fn look(facts: &Facts, want: &ProgramWant, user: &User) -> Fact<Finding> {
    let finding = |found: &str, verdict| Finding::new(subject(want), "installed", found, verdict);
    let mut failure = None;
    for name in &want.any_of {
        let program = match want {
            ProgramWant { helper: true, .. } => facts.helper_program(name, user),
            ProgramWant { system: true, .. } => {
                facts.program(name).map(|program| program.filter(|program| program.is_executable_by(user)))
            }
            _ => facts.user_program(name, user),
        };
        match program {
            Ok(Some(program)) => return Ok(finding("installed", Verdict::Met).at([program.evidence()])),
            Ok(None) => {}
            Err(why) => failure = failure.or(Some(why)),
        }
    }
    if let Some(why) = failure {
        return Err(why);
    }
    for name in &want.any_of {
        if let Some(program) = facts.program(name)? {
            let found = format!("not executable by {}", user.name);
            let remedy = Remedy::manual(format!("let {} execute {}", user.name, program.path));
            return Ok(finding(&found, Verdict::Unmet).at([program.evidence()]).repair(remedy));
        }
    }
    let nowhere = want.any_of.iter().map(|name| {
        Evidence::path(&format!("/usr/bin/{name}"), "does not exist, nor elsewhere on the search path")
    });
    Ok(finding("not installed", Verdict::Unmet).at(nowhere).repair(remedy(facts, want)))
}

/// How to get it: by the package that a site names, from its page, or by the distribution's package.
fn remedy(facts: &Facts, want: &ProgramWant) -> Remedy {
    // Without a family there is no name of a package, and the sentence has to do.
    let family = facts.package_family().ok().flatten();
    if let Some(package) = family.and_then(|family| want.packages.get(family)) {
        return install_packages(facts, &[package]);
    }
    match (&want.get, want.any_of.first()) {
        (Some(page), _) => Remedy::manual(format!("install {}: {page} says how", subject(want))),
        (None, Some(program)) if family.is_some() => install(facts, &[program]),
        (None, _) => Remedy::manual(format!("install {}", subject(want))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;

    fn look_at(host: TestHost, stack: Stack) -> Outcome {
        run(&host.facts(), &requirements(&[stack]), &edge())
    }

    #[test]
    fn podman_of_the_distribution_passes() {
        let outcome = look_at(fixture("debian-13"), Stack::Podman);
        assert_eq!(verdicts(&outcome), [("podman", Verdict::Met), ("conmon", Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), "/usr/bin/podman");
    }

    #[test]
    fn what_is_missing_comes_with_the_command_of_the_distribution() {
        let outcome = look_at(fixture("debian-13").without("/usr/bin/conmon"), Stack::Podman);
        let conmon = findings(&outcome)[1];
        assert_eq!((conmon.found.as_str(), conmon.verdict), ("not installed", Verdict::Unmet));
        assert_eq!(conmon.remedy.commands, ["sudo apt install conmon"]);
        let image = look_at(fixture("debian-13").image().without("/usr/bin/conmon"), Stack::Podman);
        assert_eq!(findings(&image)[1].remedy.commands, ["chroot $ROOT apt install conmon"]);
        let alpine = fixture("debian-13")
            .without("/usr/bin/conmon")
            .without("/var/lib/dpkg")
            .file("/etc/os-release", "ID=alpine\n")
            .file("/usr/lib/apk/db/installed", "P:busybox\nV:1.37.0-r18\n");
        assert_eq!(findings(&look_at(alpine, Stack::Podman))[1].remedy.commands, ["sudo apk add conmon"]);
    }

    #[test]
    fn what_no_distribution_has_comes_with_its_page() {
        let outcome = look_at(fixture("debian-13"), Stack::K3s);
        let k3s = findings(&outcome)[0];
        assert_eq!((k3s.subject.as_str(), k3s.verdict), ("k3s", Verdict::Unmet));
        assert_eq!(k3s.remedy.summary, "install k3s: https://docs.k3s.io/installation says how");
        assert_eq!(k3s.evidence[0].text, "does not exist, nor elsewhere on the search path");
    }

    #[test]
    fn a_program_of_the_user_counts_and_one_of_others_does_not() {
        let own = "/home/edge/.local/bin/k3s";
        let host = fixture("debian-13").file(own, "").mode(own, "0755");
        assert_eq!(verdicts(&look_at(host, Stack::K3s))[0], ("k3s", Verdict::Met));
        let roots = fixture("debian-13").mode("/usr/bin/podman", "0750");
        let outcome = look_at(roots, Stack::Podman);
        assert_eq!(findings(&outcome)[0].found, "not executable by edge");
        assert_eq!(findings(&outcome)[0].evidence[0].text, "mode 0750, owner 0:0");
    }

    #[test]
    fn a_directory_that_cannot_be_searched_is_unknown() {
        let path = "/home/edge/.local/bin/k3s";
        let outcome = look_at(fixture("debian-13").error(path, "denied"), Stack::K3s);
        assert_eq!(unknown(&outcome), [format!("{path} is not readable as this user")]);
    }

    #[test]
    fn mount_fuse3_is_for_fuse_overlayfs() {
        let unit = "/home/edge/.config/systemd/user/k3s-rootless.service";
        let with = |more: &str| {
            let text = format!("[Service]\nExecStart=/usr/local/bin/k3s server --rootless{more}\n");
            fixture("debian-13").without("/usr/sbin/mount.fuse3").file(unit, text)
        };
        let asked = |host: TestHost| {
            let outcome = look_at(host, Stack::K3s);
            verdicts(&outcome).contains(&("mount.fuse3", Verdict::Unmet))
        };
        let old = |host: TestHost| host.file("/proc/sys/kernel/osrelease", "5.10.0\n").without(unit);
        assert!(asked(old(with(""))) && !asked(with("").without(unit)), "as fix will write it");
        assert!(asked(with(" --snapshotter fuse-overlayfs")));
        assert!(!asked(with("")) && !asked(with(" --snapshotter=native")));
        let denied = with("").path(unit, |record| record.read_error = Some("denied".to_owned()));
        let outcome = look_at(denied, Stack::K3s);
        assert_eq!(unknown(&outcome), [format!("{unit} is not readable as this user")]);
    }

    #[test]
    fn nobody_asks() {
        let outcome = run(&fixture("debian-13").facts(), &Requirements::default(), &edge());
        assert!(outcome.skipped.is_some());
    }
}
