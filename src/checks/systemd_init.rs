//! Whether the host is run by systemd: see [`SYSTEMD_INIT`].

use crate::checks::check;
use crate::checks::install::install_packages;
use crate::facts::environment::Wsl;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};

const SUBJECT: &str = "PID 1";
/// What systemd calls itself as a process, however it was started (systemd: `src/core/main.c`).
const NAME: &str = "systemd";

check! {
    /// PID 1 is systemd
    ///
    /// ## What is looked at
    ///
    /// The name of the process with PID 1 and the directory `/run/systemd/system`, which systemd makes
    /// when it boots a system. In an image root: what `/sbin/init` leads to.
    ///
    /// ## Why it matters
    ///
    /// Delegation of controllers, user managers, lingering, Quadlet and k3s-rootless.service are all
    /// systemd's. Under another init, in WSL as older versions set it up, or in a container that runs
    /// a single program, nothing supervises a rootless stack and its limits are not applied.
    ///
    /// ## Repair
    ///
    /// In WSL: `systemd=true` under `[boot]` in `/etc/wsl.conf`, then `wsl --shutdown`. In a
    /// container: run the stack on the host. In an image: install the package that makes systemd
    /// its init (`systemd-sysv` on Debian). A distribution with another init is not supported.
    ///
    /// ## Sources
    ///
    /// - sd_booted(3)
    /// - learn.microsoft.com, "Advanced settings configuration in WSL", "Boot settings"
    SYSTEMD_INIT, "systemd-init", Required, Host(run)
}

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let demands = req.need(Need::Systemd);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    let mut outcome = Outcome::default();
    match if facts.running() { running(facts) } else { installed(facts) } {
        Ok(finding) => outcome.add_all(demands, &finding),
        Err(why) => outcome.unknown_all(demands, SUBJECT, &why),
    }
    outcome
}

fn running(facts: &Facts) -> Fact<Finding> {
    let booted = facts.booted_with_systemd()?;
    let init = facts.init_name()?;
    // Each alone can be the host's: its /proc or its /run, seen from inside a container.
    let found = match (init.value.as_str(), booted.value) {
        (NAME, true) => NAME.to_owned(),
        (NAME, false) => "systemd of another system".to_owned(),
        (other, _) => other.to_owned(),
    };
    let verdict = Verdict::met_if(found == NAME);
    let evidence = if init.value == NAME { [booted.at, init.at] } else { [init.at, booted.at] };
    let finding = Finding::new(SUBJECT, NAME, found, verdict).at(evidence);
    Ok(finding.repair(remedy(facts)))
}

/// An error of reading where this is costs a hint and not the finding.
fn remedy(facts: &Facts) -> Remedy {
    match facts.wsl() {
        Ok(Some(wsl)) if wsl.value == Wsl::V1 => {
            return Remedy::manual(
                "convert the distribution to WSL 2 (wsl --set-version NAME 2 in Windows): WSL 1 has \
                 neither systemd nor namespaces",
            );
        }
        Ok(Some(_)) => {
            return Remedy::manual(
                "write systemd=true under [boot] in /etc/wsl.conf, then run wsl --shutdown in Windows",
            )
            .command("printf '[boot]\\nsystemd=true\\n' | sudo tee -a /etc/wsl.conf");
        }
        Ok(None) | Err(_) => {}
    }
    if let Ok(Some(container)) = facts.container() {
        return Remedy::manual(format!(
            "run the stack on the host: this is a {} container without systemd",
            container.value
        ));
    }
    Remedy::manual(
        "use a distribution with systemd: delegation needs it, and nothing else here supervises a \
         rootless stack",
    )
}

fn installed(facts: &Facts) -> Fact<Finding> {
    let systemd = facts.systemd_program()?;
    let init = facts.init_program()?;
    let remedy = || match facts.package_family() {
        Ok(Some("debian")) => install_packages(facts, &["systemd-sysv"]),
        _ => Remedy::manual("make systemd the init of the image"),
    };
    let leads_to_systemd = |path: &str| path.ends_with("/lib/systemd/systemd");
    let finding = |found: &str, verdict| Finding::new(SUBJECT, NAME, found, verdict);
    Ok(match (systemd, init) {
        (Some(systemd), Some(init)) if leads_to_systemd(&init.value) => {
            finding(NAME, Verdict::Met).at([init.at, systemd])
        }
        (_, Some(init)) => finding(&init.value, Verdict::Unmet).at([init.at]).repair(remedy()),
        (Some(systemd), None) => finding(NAME, Verdict::Met).at([systemd]),
        (None, None) => {
            let none = Evidence::path("/sbin/init", "does not exist");
            finding("no init", Verdict::Unmet).at([none]).repair(remedy())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, empty_host, fixture};
    use crate::requirements::Stack;

    const BOOTED: &str = "/run/systemd/system";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]))
    }

    #[test]
    fn a_host_that_systemd_booted_passes() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [("PID 1", Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].evidence[1].to_string(), "/proc/1/comm:1");
    }

    #[test]
    fn another_init_is_named() {
        let outcome = look_at(fixture("debian-13").without(BOOTED).file("/proc/1/comm", "openrc-init\n"));
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Unmet, "openrc-init"));
        assert_eq!(finding.evidence[0], Evidence::line("/proc/1/comm", 1, "openrc-init"));
        assert!(finding.remedy.summary.contains("delegation needs it"));
    }

    #[test]
    fn half_of_a_host_is_no_host() {
        let process_of_the_host = look_at(fixture("debian-13").without(BOOTED));
        assert_eq!(findings(&process_of_the_host)[0].found, "systemd of another system");
        assert_eq!(findings(&process_of_the_host)[0].evidence[0], Evidence::path(BOOTED, "does not exist"));
        let directory_of_the_host = look_at(fixture("debian-13").file("/proc/1/comm", "conmon\n"));
        assert_eq!(findings(&directory_of_the_host)[0].verdict, Verdict::Unmet);
    }

    #[test]
    fn each_place_has_its_repair() {
        let other = || fixture("debian-13").without(BOOTED).file("/proc/1/comm", "init\n");
        let remedy = |host| findings(&look_at(host))[0].remedy.clone();
        let kernel = |release: &str| other().file("/proc/sys/kernel/osrelease", release);
        let wsl2 = remedy(kernel("6.6.36-microsoft-standard-WSL2\n"));
        assert_eq!(wsl2.commands, ["printf '[boot]\\nsystemd=true\\n' | sudo tee -a /etc/wsl.conf"]);
        assert!(remedy(kernel("4.4.0-19041-Microsoft\n")).summary.contains("--set-version"));
        assert!(remedy(other().file("/.dockerenv", "")).summary.contains("docker container"));
    }

    #[test]
    fn an_image_starts_what_its_link_leads_to() {
        let image = |target: &str| {
            let host = empty_host().image().file("/usr/lib/systemd/systemd", "").file("/sbin/init", "");
            look_at(host.path("/sbin/init", |record| record.link = Some(target.to_owned())))
        };
        for target in ["/lib/systemd/systemd", "../lib/systemd/systemd", "/usr/lib/systemd/systemd"] {
            assert_eq!(verdicts(&image(target)), [("PID 1", Verdict::Met)], "{target}");
        }
        let busybox = image("/bin/busybox");
        assert_eq!(findings(&busybox)[0].found, "/bin/busybox");
        assert_eq!(findings(&busybox)[0].evidence[0], Evidence::path("/sbin/init", "-> /bin/busybox"));
        let no_link = look_at(empty_host().image().file("/usr/lib/systemd/systemd", ""));
        assert_eq!(verdicts(&no_link), [("PID 1", Verdict::Met)], "systemd's initrd needs no link");
        assert_eq!(findings(&look_at(empty_host().image()))[0].found, "no init");
    }

    #[test]
    fn what_cannot_be_told() {
        let outcome = look_at(fixture("debian-13").error("/proc/1/comm", "denied"));
        assert_eq!(unknown(&outcome), ["/proc/1/comm is not readable as this user"]);
        let outcome = look_at(empty_host().image().error("/sbin/init", "denied"));
        assert_eq!(unknown(&outcome), ["/sbin/init is not readable as this user"]);
        assert!(run(&empty_host().facts(), &Requirements::default()).skipped.is_some());
    }
}
