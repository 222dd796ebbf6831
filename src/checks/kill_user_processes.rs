//! Whether logind kills what a session leaves behind: see [`KILL_USER_PROCESSES`].

use crate::checks::beaten::{beats, change};
use crate::checks::{check, openrc};
use crate::facts::linger::Linger;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};
use crate::settings::{LOGIND_DROP_IN, Setting, by_hand};

check! {
    /// Processes of the user are not killed when a session ends
    ///
    /// ## What is looked at
    ///
    /// `KillUserProcesses=`, `KillOnlyUsers=` and `KillExcludeUsers=` of logind.conf and its drop-ins.
    /// Where no file sets the first, what systemd was built with counts: upstream that is yes,
    /// distributions build with no, and the comment in logind.conf shows it. For a user who lingers it
    /// does not matter to containers.
    ///
    /// ## Why it matters
    ///
    /// The scope of a session is killed with all that is in it when the session ends: a terminal
    /// multiplexer and what runs in it, `podman run` in the foreground, K3s in a terminal. They would
    /// otherwise keep the session, and with it the user manager and its containers.
    ///
    /// Seen on Debian 13 (systemd 257, Podman 5.4): what `podman run --detach` leaves behind, conmon,
    /// pasta and the pause process, is in scopes of the user manager, and ends with it ten seconds after
    /// the last session of a user who does not linger, whatever is set here.
    ///
    /// ## Repair
    ///
    /// Let the user linger, see user-linger, or `KillUserProcesses=no` in a drop-in of logind.conf. Where
    /// another one sorts later, that one is changed.
    ///
    /// ## Sources
    ///
    /// - logind.conf(5), "KillUserProcesses="; loginctl(1), "enable-linger"
    /// - systemd: src/login/logind-session.c, `session_stop_scope`, `session_may_gc`
    /// - systemd: src/login/logind-core.c, `manager_shall_kill`; meson_options.txt
    KILL_USER_PROCESSES, "kill-user-processes", Advised, User(run)
}

const KEY: &str = "KillUserProcesses";
/// Whom it names counts, whatever [`KEY`] says.
const ONLY: &str = "KillOnlyUsers";
const RELOAD_LOGIND: &str = "sudo systemctl reload-or-restart systemd-logind.service";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::UserProcesses);
    if !demands.is_empty() && openrc(facts) {
        return Outcome::skip("OpenRC ends no processes with a session: see systemd-init");
    }
    let mut outcome = Outcome::default();
    match look(facts, user) {
        Ok(Some(finding)) => outcome.add_all(demands, &finding),
        Ok(None) => {
            let why = "no file sets it, and what systemd was built with is not known";
            outcome.unknown_all(demands, KEY, &why);
        }
        Err(why) => outcome.unknown_all(demands, KEY, &why),
    }
    outcome.or_not_asked()
}

fn look(facts: &Facts, user: &User) -> Fact<Option<Finding>> {
    let finding = |found: &str, verdict, at| Finding::new(KEY, "no", found, verdict).at([at]);
    if let Some(at) = lingers(facts, user)? {
        return Ok(Some(finding("of no effect on a user who lingers", Verdict::Met, at)));
    }
    let conf = facts.logind_conf()?;
    let kills = conf.kills_processes_of(&user.name);
    Ok(kills.map(|kills| {
        let found = if kills.value { "yes" } else { "no" };
        let remedy = remedy(facts, user, &kills.at, !conf.list(ONLY).is_empty());
        finding(found, Verdict::met_if(!kills.value), kills.at).repair(remedy)
    }))
}

fn remedy(facts: &Facts, user: &User, at: &Evidence, only_some: bool) -> Remedy {
    if only_some {
        let summary = format!(
            "let {0} linger, or take {0} out of {ONLY}= in {at}, against which {KEY}=no does not help",
            user.name
        );
        let commands = by_hand(&[Setting::Linger(user.name.clone())], facts.running());
        return Remedy { commands, ..Remedy::manual(summary) };
    }
    if beats(&at.path, LOGIND_DROP_IN) {
        let remedy = change(facts, at, LOGIND_DROP_IN, &format!("{KEY}=no"), None);
        return if facts.running() { remedy.command(RELOAD_LOGIND) } else { remedy };
    }
    let summary = "let the user linger, or leave processes alone when a session ends";
    Remedy::setting(summary, Setting::KeepUserProcesses)
}

/// What has the user linger from the next boot on, if anything does.
fn lingers(facts: &Facts, user: &User) -> Fact<Option<Evidence>> {
    match facts.linger(&user.name)? {
        Linger::On(at) => Ok(Some(at)),
        Linger::OnUntilBoot(_) | Linger::Off(_) => {
            Ok(facts.linger_by_tmpfiles(&user.name)?.map(|line| line.at))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture, openrc_host};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const CONF: &str = "/etc/systemd/logind.conf";
    const LINGER: &str = "/var/lib/systemd/linger/edge";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    /// A Debian 13 on which nobody lingers.
    fn with(conf: &str) -> TestHost {
        fixture("debian-13").without(LINGER).file(CONF, format!("[Login]\n#KillUserProcesses=no\n{conf}"))
    }

    #[test]
    fn openrc_ends_nothing() {
        assert!(look_at(openrc_host()).skipped.unwrap().starts_with("OpenRC "));
    }

    #[test]
    fn as_debian_builds_it() {
        let outcome = look_at(with(""));
        assert_eq!(verdicts(&outcome), [(KEY, Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{CONF}:2"));
        assert_eq!(outcome.items[0].level, Level::Advised);
    }

    #[test]
    fn killed_unless_the_user_lingers() {
        let outcome = look_at(with("KillUserProcesses=yes\n"));
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Unmet, "yes"));
        assert_eq!(finding.remedy.settings, [Setting::KeepUserProcesses]);
        assert_eq!(finding.evidence[0].to_string(), format!("{CONF}:3"));
        assert_eq!(verdicts(&look_at(with("KillUserProcesses=yes\n").file(LINGER, "")))[0].1, Verdict::Met);
        let line = "f /var/lib/systemd/linger/edge 0644 root root - -\n";
        let host = with("KillUserProcesses=yes\n").file("/usr/lib/tmpfiles.d/linger.conf", line).image();
        assert_eq!(verdicts(&look_at(host))[0].1, Verdict::Met);
    }

    #[test]
    fn users_can_be_left_out() {
        for (conf, verdict) in [
            ("KillUserProcesses=yes\nKillExcludeUsers=root edge\n", Verdict::Met),
            ("KillUserProcesses=yes\nKillOnlyUsers=other\n", Verdict::Met),
            ("KillOnlyUsers=edge\n", Verdict::Unmet),
        ] {
            assert_eq!(verdicts(&look_at(with(conf)))[0].1, verdict, "{conf}");
        }
    }

    #[test]
    fn a_drop_in_that_a_later_file_undoes() {
        let hard = "/usr/lib/systemd/logind.conf.d/99-hard.conf";
        let host = with("")
            .file(LOGIND_DROP_IN, "[Login]\nKillUserProcesses=no\n")
            .file(hard, "[Login]\n# CIS\nKillUserProcesses=yes\n");
        let outcome = look_at(host);
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, finding.remedy.settings.len()), (Verdict::Unmet, 0));
        assert_eq!(finding.evidence[0].to_string(), format!("{hard}:3"));
        let ours = "/etc/systemd/logind.conf.d/99-hard.conf";
        assert_eq!(
            finding.remedy.commands,
            [
                format!("sudo cp {hard} {ours}"),
                format!("sudo sed -i '3s|.*|KillUserProcesses=no|' {ours}"),
                RELOAD_LOGIND.to_owned(),
            ]
        );
        let only = look_at(with("KillOnlyUsers=edge\n"));
        let remedy = &findings(&only)[0].remedy;
        assert_eq!(remedy.settings, []);
        assert_eq!(remedy.commands, ["sudo loginctl enable-linger edge"]);
    }

    #[test]
    fn what_cannot_be_known_is_unknown() {
        let silent = fixture("debian-13").without(LINGER).file(CONF, "[Login]\n");
        assert_eq!(
            unknown(&look_at(silent)),
            ["no file sets it, and what systemd was built with is not known"]
        );
        let denied = with("").error(CONF, "denied");
        assert_eq!(unknown(&look_at(denied)), ["/etc/systemd/logind.conf is not readable as this user"]);
        assert!(run(&with("").facts(), &Requirements::default(), &edge()).skipped.is_some());
    }
}
