//! Whether a user can read what their containers log: see [`CONTAINER_LOGS`].

use crate::checks::engine_settings::set_key;
use crate::checks::{check, of_podman};
use crate::facts::containers_conf::ContainersConf;
use crate::facts::journald::OwnJournal;
use crate::facts::toml_keys::Scalar;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};

check! {
    /// The user can read what containers log
    ///
    /// ## What is looked at
    ///
    /// `log_driver` and `events_logger` of `containers.conf`, or what Podman takes where no file has
    /// them: the journal where the user can list a directory of journals, files elsewhere. Where it is
    /// the journal, whether the user can read there what the user's own programs wrote: `Storage=` and
    /// `SplitMode=` of journald.conf, `/var/log/journal`, the user's UID and groups. ACLs that somebody
    /// else set are not looked at.
    ///
    /// ## Why it matters
    ///
    /// Only regular users have journals of their own, from UID 1000 on, and only on disk. A container of
    /// anybody else runs and logs, and nobody sees it: `podman logs` and `podman events` show nothing
    /// (seen with Podman 5.4) or stop (4.3: "initial journal cursor: failed to get cursor: cannot assign
    /// requested address"), and with Podman 3 `podman run` itself stops: "failed to get journal cursor".
    ///
    /// ## Repair
    ///
    /// Both go to files, by a drop-in in `~/.config/containers/containers.conf.d`. Containers that
    /// exist keep the driver that they were created with. Or the user joins the group systemd-journal,
    /// which reads the journals of everybody.
    ///
    /// ## Sources
    ///
    /// - containers.conf(5); containers/common: pkg/config/systemd.go, `useJournald`
    /// - journald.conf(5), "Storage=", "SplitMode="; systemd: src/journal/journald-manager.c
    /// - systemd: tmpfiles.d/systemd.conf; src/basic/uid-classification.c
    CONTAINER_LOGS, "container-logs", Advised, User(run)
}

/// Table, key, and what it is set to.
const KEYS: [(&str, &str, &str); 2] =
    [("containers", "log_driver", "k8s-file"), ("engine", "events_logger", "file")];
const JOURNAL: &str = "journald";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::ContainerLogs);
    of_podman(facts, user, demands, |_, outcome| {
        let conf = facts.containers_conf(user)?;
        for key in KEYS {
            outcome.add_all(demands, &look(facts, user, &conf, key)?);
        }
        Ok(())
    })
}

fn look(
    facts: &Facts,
    user: &User,
    conf: &ContainersConf,
    (table, key, file): (&'static str, &'static str, &str),
) -> Fact<Finding> {
    let set = conf.scalars.get(&(table.to_owned(), key.to_owned()));
    let named = set.and_then(|set| match &set.value {
        Scalar::Text(value) if !value.is_empty() => Some(value.as_str()),
        _ => None,
    });
    let driver = match named {
        Some(driver) => driver,
        None if facts.podman_takes_journal(user)? => JOURNAL,
        None => file,
    };
    let by_whom = set.map(|set| set.at.clone());
    let finding = |found: String, verdict| {
        Finding::new(format!("[{table}] {key}"), "readable for the user", found, verdict)
    };
    if driver != JOURNAL {
        let unset = || Evidence::path(crate::facts::journald::PERSISTENT, "is not where this user logs");
        return Ok(finding(driver.to_owned(), Verdict::Met).at([by_whom.unwrap_or_else(unset)]));
    }
    Ok(match facts.own_journal(user)? {
        OwnJournal::Readable(at) => finding(JOURNAL.to_owned(), Verdict::Met).at([at]).at(by_whom),
        OwnJournal::Closed(why, at) => {
            let wanted = format!("\"{file}\"");
            let summary = format!("set {key} = {wanted} in [{table}] for {}", user.name);
            let remedy = set_key(facts, user, summary, (table, key), &wanted, set.map(|set| &set.at));
            finding(format!("{JOURNAL}, where {why}"), Verdict::Unmet).at([at]).at(by_whom).repair(remedy)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::journald::PERSISTENT;
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;
    use crate::settings::Setting;

    const CONF: &str = "/home/edge/.config/containers/containers.conf";
    const BOTH: [&str; 2] = ["[containers] log_driver", "[engine] events_logger"];

    fn look_at(host: TestHost, user: &User) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), user)
    }

    fn debian() -> TestHost {
        fixture("debian-13").dir(PERSISTENT, "2755", 0)
    }

    fn both(verdict: Verdict) -> [(&'static str, Verdict); 2] {
        BOTH.map(|subject| (subject, verdict))
    }

    #[test]
    fn a_regular_user_has_a_journal() {
        let outcome = look_at(debian(), &edge());
        assert_eq!(verdicts(&outcome), both(Verdict::Met));
        assert_eq!(outcome.items[0].level, Level::Advised);
        assert_eq!(findings(&outcome)[0].found, "journald");
        let files = look_at(debian().without(PERSISTENT), &edge());
        assert_eq!(verdicts(&files), both(Verdict::Met));
        assert_eq!(findings(&files)[1].found, "file");
    }

    /// Seen on Debian 12 and 13: the container of a user with UID 990 logs, and `podman logs` shows nothing.
    #[test]
    fn a_system_user_has_none() {
        let user = User { uid: 990, ..edge() };
        let outcome = look_at(debian(), &user);
        assert_eq!(verdicts(&outcome), both(Verdict::Unmet));
        let log = findings(&outcome)[0];
        assert_eq!(log.found, "journald, where system users have no journals of their own");
        assert_eq!(&*log.evidence[0].path, &*user.at.path);
        let key = |table, key: &str, value: &str| Setting::Engine {
            user: "edge".to_owned(),
            table,
            key: key.to_owned(),
            value: value.to_owned(),
        };
        assert_eq!(log.remedy.settings, [key("containers", "log_driver", "\"k8s-file\"")]);
        assert_eq!(findings(&outcome)[1].remedy.settings, [key("engine", "events_logger", "\"file\"")]);
        let repaired = "[containers]\nlog_driver = \"k8s-file\"\n[engine]\nevents_logger = \"file\"\n";
        assert_eq!(verdicts(&look_at(debian().file(CONF, repaired), &user)), both(Verdict::Met));
    }

    /// Seen on Debian 12 and 13: where nothing is named, Podman takes files there by itself.
    #[test]
    fn a_journal_in_memory_is_closed_where_it_is_named() {
        let named = debian().without(PERSISTENT).file(CONF, "[containers]\nlog_driver = \"journald\"\n");
        let outcome = look_at(named, &edge());
        assert_eq!(verdicts(&outcome), [(BOTH[0], Verdict::Unmet), (BOTH[1], Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].evidence[1].to_string(), format!("{CONF}:2"));
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let outcome = look_at(debian().error("/etc/systemd/journald.conf", "denied"), &edge());
        assert_eq!(unknown(&outcome), ["/etc/systemd/journald.conf is not readable as this user"]);
        assert!(look_at(debian().without("/usr/bin/podman"), &edge()).skipped.is_some());
    }
}
