//! Whether the clock is right, and stays right: see [`SYSTEM_CLOCK`].

use crate::checks::{check, install};
use crate::facts::clock::day;
use crate::facts::time_sync::SYNCHRONIZED;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::{Fact, Unread};
use crate::requirements::{Demand, Need, Requirements};

check! {
    /// The clock is right, and something keeps it right
    ///
    /// ## What is looked at
    ///
    /// Whether the clock shows a time before the last change of files that systems change: then it is
    /// behind, or was ahead once. Where systemd-timesyncd starts at boot, also whether it has synchronised
    /// the clock since: it leaves `/run/systemd/timesync/synchronized` then. Of other services and of
    /// hardware clocks no file tells.
    ///
    /// Whether a service that sets it starts at boot: systemd-timesyncd, chrony, an NTP daemon. Where
    /// there is none, a hardware clock will do (`/sys/class/rtc`), though some boards have one without
    /// a battery. In a container, whose clock is that of the host, this is not looked at.
    ///
    /// ## Why it matters
    ///
    /// Certificates have dates. With a clock that is behind no image is pulled and no cluster joined:
    /// "x509: certificate has expired or is not yet valid". Boards without a hardware clock, as
    /// Raspberry Pis up to 4, start at the time when systemd was built, or when they were last on. A
    /// cluster that is started at such a time makes certificates of that date.
    ///
    /// ## Repair
    ///
    /// Start systemd-timesyncd or chrony at boot. Without a network a hardware clock with a battery is
    /// needed.
    ///
    /// ## Sources
    ///
    /// - systemd(1), "System clock epoch"; systemd-timesyncd.service(8), "Files"; rtc(4)
    /// - systemd: src/shared/clock-util.h
    SYSTEM_CLOCK, "system-clock", Advised, Host(run)
}

/// Files whose last change says that it was that late once: timesyncd touches the first as it goes.
const WITNESSES: [&str; 2] = ["/var/lib/systemd/timesync/clock", "/etc/passwd"];
/// Clocks are set back by minutes, in the course of things.
const SLACK_SECS: i64 = 3600;
const SERVICE: &str = "time service";
const SYNCHRONISED: &str = "synchronisation";

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let demands = req.need(Need::Clock);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    let mut outcome = Outcome::default();
    if !facts.running() {
        add(&mut outcome, demands, SERVICE, service(facts));
        return outcome;
    }
    add(&mut outcome, demands, "clock", clock(facts));
    match facts.container() {
        // Nothing in there sets it.
        Ok(Some(_)) => {}
        Ok(None) => {
            add(&mut outcome, demands, SERVICE, service(facts));
            match synchronized(facts) {
                Ok(None) => {}
                Ok(Some(finding)) => add(&mut outcome, demands, SYNCHRONISED, Ok(finding)),
                Err(why) => add(&mut outcome, demands, SYNCHRONISED, Err(why)),
            }
        }
        Err(why) => outcome.unknown_all(demands, SERVICE, &why),
    }
    outcome
}

fn add(outcome: &mut Outcome, demands: &[Demand], subject: &str, looked: Fact<Finding>) {
    match looked {
        Ok(finding) => outcome.add_all(demands, &finding),
        Err(why) => outcome.unknown_all(demands, subject, &why),
    }
}

fn clock(facts: &Facts) -> Fact<Finding> {
    let now = facts.now_secs()?;
    let mut last: Option<(i64, &str)> = None;
    let mut unread = None;
    for path in WITNESSES {
        match facts.changed_secs(path) {
            Ok(changed) => last = last.max(Some((changed, path))),
            // The other one will do.
            Err(why) => unread = Some(why),
        }
    }
    let Some((changed, path)) = last else {
        return Err(unread.unwrap_or(Unread::Absent { path: WITNESSES[1].to_owned() }));
    };
    let at = Evidence::path(path, format!("changed on {}", day(changed)));
    let met = now.saturating_add(SLACK_SECS) >= changed;
    let remedy = match (facts.container(), facts.installed_time_service()) {
        (Ok(Some(_)), _) => Remedy::manual("have the clock of the host set"),
        (_, Ok(Some(_))) => {
            Remedy::manual("have the clock set from the network").command("sudo timedatectl set-ntp true")
        }
        _ => Remedy::manual("set the clock, and install what keeps it right"),
    };
    let expected = format!("not before {}", day(changed));
    let found = if met { day(now) } else { format!("{}, before {path} was changed", day(now)) };
    Ok(Finding::new("clock", expected, found, Verdict::met_if(met)).at([at]).repair(remedy))
}

fn synchronized(facts: &Facts) -> Fact<Option<Finding>> {
    let Some(synchronized) = facts.has_synchronized()? else { return Ok(None) };
    let (found, says) = if synchronized { ("synchronised", "exists") } else { ("not yet", "does not exist") };
    let remedy = Remedy::manual("let the machine reach a time server: timesyncd says which one it asks")
        .command("timedatectl timesync-status");
    let finding =
        Finding::new(SYNCHRONISED, "synchronised since the boot", found, Verdict::met_if(synchronized));
    Ok(Some(finding.at([Evidence::path(SYNCHRONIZED, says)]).repair(remedy)))
}

fn service(facts: &Facts) -> Fact<Finding> {
    let finding =
        |found: &str, verdict| Finding::new(SERVICE, "starts at boot, or a hardware clock", found, verdict);
    if let Some(at) = facts.time_service()? {
        return Ok(finding("starts at boot", Verdict::Met).at([at]));
    }
    if let Some(at) = facts.hardware_clock()? {
        return Ok(finding("a hardware clock", Verdict::Met).at([at]));
    }
    let at = Evidence::path(
        "/etc/systemd/system",
        "no time service in sysinit.target.wants or multi-user.target.wants",
    );
    let remedy = match facts.installed_time_service()? {
        Some(unit) => Remedy::manual(format!("start {unit} at boot")).command(match facts.running() {
            true => format!("sudo systemctl enable --now {unit}"),
            false => format!("systemctl --root=$ROOT enable {unit}"),
        }),
        None => install(facts, &["chrony"]),
    };
    let none = Evidence::path("/sys/class/rtc", "no clock");
    Ok(finding("neither", Verdict::Unmet).at([at, none]).repair(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const UNIT: &str = "/usr/lib/systemd/system/systemd-timesyncd.service";
    const WANTS: &str = "/etc/systemd/system/sysinit.target.wants/systemd-timesyncd.service";
    const RTC: &str = "/sys/class/rtc/rtc0/name";
    /// 2026-03-01 and the day after.
    const FIRST_SECS: i64 = 1_772_323_200;
    const SECOND_SECS: i64 = FIRST_SECS + 86_400;

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]))
    }

    /// A machine that was booted at this time, and 50 seconds ago.
    fn booted(secs: i64) -> TestHost {
        fixture("debian-13")
            .file("/proc/stat", format!("cpu  1 2 3\nbtime {secs}\n"))
            .file("/proc/uptime", "50.61 92.45\n")
            .now(secs + 50)
            .without(WITNESSES[0])
            .path("/etc/passwd", |record| record.changed_ns = Some(FIRST_SECS * 1_000_000_000))
            .without("/sys/class/rtc")
    }

    fn with_service(host: TestHost) -> TestHost {
        let link = |record: &mut crate::host::PathRecord| record.link = Some(UNIT.to_owned());
        host.file(WANTS, "").path(WANTS, link).file(UNIT, "[Service]\nType=notify\n").file(SYNCHRONIZED, "")
    }

    fn all(clock: Verdict, service: Verdict, synchronised: Verdict) -> [(&'static str, Verdict); 3] {
        [("clock", clock), (SERVICE, service), (SYNCHRONISED, synchronised)]
    }

    fn both(clock: Verdict, service: Verdict) -> [(&'static str, Verdict); 2] {
        [("clock", clock), (SERVICE, service)]
    }

    #[test]
    fn a_clock_that_is_kept() {
        let outcome = look_at(with_service(booted(SECOND_SECS)));
        assert_eq!(verdicts(&outcome), all(Verdict::Met, Verdict::Met, Verdict::Met));
        assert_eq!(findings(&outcome)[0].found, "2026-03-02");
        assert_eq!(findings(&outcome)[1].evidence[0].to_string(), WANTS);
        assert!(outcome.items.iter().all(|item| item.level == Level::Advised));
        let clock = look_at(booted(SECOND_SECS).dir("/sys/class/rtc", "0755", 0).file(RTC, "rtc_cmos\n"));
        assert_eq!(verdicts(&clock), both(Verdict::Met, Verdict::Met));
        assert_eq!(findings(&clock)[1].found, "a hardware clock");
    }

    /// As behind a firewall that lets no NTP through.
    #[test]
    fn timesyncd_that_reaches_nobody() {
        let alone = with_service(booted(SECOND_SECS)).without(SYNCHRONIZED);
        let outcome = look_at(alone.clone());
        assert_eq!(verdicts(&outcome), all(Verdict::Met, Verdict::Met, Verdict::Unmet));
        let finding = findings(&outcome)[2];
        assert_eq!(
            (finding.found.as_str(), finding.evidence[0].to_string()),
            ("not yet", SYNCHRONIZED.to_owned())
        );
        assert_eq!(outcome.items[2].level, Level::Advised);
        let hidden = look_at(alone.error(SYNCHRONIZED, "denied"));
        assert_eq!(unknown(&hidden), [format!("{SYNCHRONIZED} is not readable as this user")]);
    }

    /// As on a Raspberry Pi 4 without a network.
    #[test]
    fn a_clock_that_is_behind_and_that_nothing_sets() {
        let outcome = look_at(booted(FIRST_SECS - 86_400));
        assert_eq!(verdicts(&outcome), both(Verdict::Unmet, Verdict::Unmet));
        let clock = findings(&outcome)[0];
        assert_eq!(clock.found, "2026-02-28, before /etc/passwd was changed");
        assert_eq!(clock.evidence[0], Evidence::path("/etc/passwd", "changed on 2026-03-01"));
        assert_eq!(clock.remedy.summary, "set the clock, and install what keeps it right");
        assert_eq!(findings(&outcome)[1].remedy.commands, ["sudo apt install chrony"]);
        let installed = booted(FIRST_SECS - 86_400).file(UNIT, "[Service]\nType=notify\n");
        assert_eq!(findings(&look_at(installed))[0].remedy.commands, ["sudo timedatectl set-ntp true"]);
        assert_eq!(verdicts(&look_at(booted(FIRST_SECS - 3000)))[0].1, Verdict::Met);
        let touched = booted(FIRST_SECS).path(WITNESSES[0], |record| {
            record.changed_ns = Some(SECOND_SECS * 1_000_000_000);
        });
        assert_eq!(findings(&look_at(touched))[0].evidence[0].to_string(), WITNESSES[0]);
    }

    #[test]
    fn unknown_and_skipped() {
        let host = with_service(booted(SECOND_SECS)).now(None).error("/proc/stat", "denied");
        assert_eq!(unknown(&look_at(host)), ["/proc/stat is not readable as this user"]);
        let alone = booted(SECOND_SECS).error(WITNESSES[0], "denied");
        assert_eq!(verdicts(&look_at(alone.clone()))[0].1, Verdict::Met);
        let neither = look_at(alone.error("/etc/passwd", "denied"));
        assert_eq!(unknown(&neither), ["/etc/passwd is not readable as this user"]);
        let image = look_at(with_service(booted(SECOND_SECS)).image());
        assert_eq!(verdicts(&image), [(SERVICE, Verdict::Met)]);
        let image = look_at(booted(SECOND_SECS).image());
        assert_eq!(unknown(&image), ["whether there is a hardware clock is known only on a running system"]);
        let container = booted(SECOND_SECS).file("/run/systemd/container", "lxc\n");
        assert_eq!(verdicts(&look_at(container)), [("clock", Verdict::Met)]);
        assert!(run(&booted(SECOND_SECS).facts(), &Requirements::default()).skipped.is_some());
    }
}
