//! Whether the user manager starts at boot: see [`USER_LINGER`].

use crate::checks::{check, openrc};
use crate::facts::linger::Linger;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};
use crate::settings::Setting;

check! {
    /// User lingers, so that containers outlive sessions
    ///
    /// ## What is looked at
    ///
    /// The file `/var/lib/systemd/linger/USER`, whose name logind must not take for a backup, or a
    /// line of tmpfiles.d that creates it. In effect is lingering when the user manager runs:
    /// a file that was only touched does nothing until logind starts again.
    ///
    /// ## Why it matters
    ///
    /// Without lingering the user manager ends with the last session, and every container, pod and
    /// cluster with it; and nothing of the user's starts at boot. On a board that nobody logs in to,
    /// nothing ever starts.
    ///
    /// ## Repair
    ///
    /// `loginctl enable-linger USER` writes the file and starts the user manager at once.
    ///
    /// ## Sources
    ///
    /// - loginctl(1), "enable-linger"
    /// - systemd: src/login/logind.c, `manager_enumerate_linger_users`
    USER_LINGER, "user-linger", Advised, User(run)
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::Linger);
    if !demands.is_empty() && openrc(facts) {
        return Outcome::skip("OpenRC has no user managers: see systemd-init");
    }
    let mut outcome = Outcome::default();
    match look(facts, user) {
        Ok(finding) => outcome.add_all(demands, &finding),
        Err(why) => outcome.unknown_all(demands, &user.name, &why),
    }
    outcome.or_not_asked()
}

fn look(facts: &Facts, user: &User) -> Fact<Finding> {
    let (configured, at) = configured(facts, user)?;
    let in_effect = if facts.running() { Some(facts.user_manager_runs(user.uid)?) } else { None };
    let verdict = match (configured, in_effect) {
        // The manager of a user who is logged in runs, but does not linger.
        (false, _) => Verdict::Unmet,
        (true, in_effect) => Verdict::of(true, in_effect, Needs::Reboot),
    };
    let found = match verdict {
        Verdict::Met => "lingering",
        Verdict::Pending(_) => "not lingering: no user manager runs",
        Verdict::Volatile | Verdict::Unmet => "not lingering",
    };
    let summary = match in_effect {
        Some(_) => "let the user linger, which starts the user manager now and at boot",
        None => "let the user linger from the first boot on",
    };
    let remedy = Remedy::setting(summary, Setting::Linger(user.name.clone()));
    Ok(Finding::new(&user.name, "lingering", found, verdict).at([at]).repair(remedy))
}

/// Whether the user will linger at the next boot, and what says so.
fn configured(facts: &Facts, user: &User) -> Fact<(bool, Evidence)> {
    let at = match facts.linger(&user.name)? {
        Linger::On(at) => return Ok((true, at)),
        Linger::OnUntilBoot(at) | Linger::Off(at) => at,
    };
    Ok(match facts.linger_by_tmpfiles(&user.name)? {
        Some(line) => (true, line.at),
        None => (false, at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture, openrc_host};
    use crate::requirements::Stack;

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    #[test]
    fn a_lingering_user_passes() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [("edge", Verdict::Met)]);
        let finding = findings(&outcome)[0];
        assert_eq!((finding.expected.as_str(), finding.found.as_str()), ("lingering", "lingering"));
    }

    #[test]
    fn without_the_file_the_user_does_not_linger_even_if_logged_in() {
        let host = fixture("debian-13").without("/var/lib/systemd/linger/edge");
        let outcome = look_at(host.clone());
        assert_eq!(verdicts(&outcome), [("edge", Verdict::Unmet)]);
        let finding = findings(&outcome)[0];
        assert_eq!(finding.found, "not lingering");
        assert_eq!(
            finding.remedy.summary,
            "let the user linger, which starts the user manager now and at boot"
        );
        let image = look_at(host.image());
        assert_eq!(findings(&image)[0].remedy.summary, "let the user linger from the first boot on");
    }

    #[test]
    fn openrc_knows_no_lingering() {
        assert_eq!(
            look_at(openrc_host()).skipped.as_deref(),
            Some("OpenRC has no user managers: see systemd-init")
        );
        assert!(look_at(fixture("debian-13").file("/run/openrc/softlevel", "default\n")).skipped.is_none());
    }

    #[test]
    fn a_file_that_was_only_touched_is_pending() {
        let host = fixture("debian-13")
            .without("/run/user/1000")
            .without("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service");
        let outcome = look_at(host);
        assert_eq!(verdicts(&outcome), [("edge", Verdict::Pending(Needs::Reboot))]);
        assert_eq!(findings(&outcome)[0].found, "not lingering: no user manager runs");
    }

    #[test]
    fn an_image_lingers_by_file_or_by_tmpfiles() {
        let image = || fixture("debian-13").image();
        assert_eq!(verdicts(&look_at(image())), [("edge", Verdict::Met)]);
        let none = image().without("/var/lib/systemd/linger/edge");
        assert_eq!(verdicts(&look_at(none.clone())), [("edge", Verdict::Unmet)]);
        let line = "f /var/lib/systemd/linger/edge 0644 root root - -\n";
        assert_eq!(
            verdicts(&look_at(none.file("/usr/lib/tmpfiles.d/linger.conf", line))),
            [("edge", Verdict::Met)]
        );
    }

    #[test]
    fn a_closed_directory_is_unknown() {
        let outcome = look_at(fixture("debian-13").error("/var/lib/systemd/linger/edge", "denied"));
        assert_eq!(unknown(&outcome), ["/var/lib/systemd/linger/edge is not readable as this user"]);
    }

    #[test]
    fn nobody_asks() {
        let outcome = run(&fixture("debian-13").facts(), &Requirements::default(), &edge());
        assert!(outcome.skipped.is_some());
    }
}
