//! Whether the user has enough subordinate IDs: see [`SUBID_RANGE`].

use crate::checks::check;
use std::rc::Rc;

use crate::facts::login_defs::Limit;
use crate::facts::subid::{SubidFault, SubidFile};
use crate::facts::subid_overlap::total_ids;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, Sourced};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent};
use crate::requirements::Requirements;
use crate::settings::Setting;

check! {
    /// User has enough subordinate UIDs and GIDs
    ///
    /// ## What is looked at
    ///
    /// The lines of the user, by name or by UID, in `/etc/subuid` and in `/etc/subgid`, as
    /// newuidmap(1) reads them: not through a symbolic link, and only lines of the form
    /// OWNER:START:COUNT. Both files must be readable by the user. Where `nsswitch.conf` names
    /// another source of subordinate IDs, the files say nothing.
    ///
    /// ## Why it matters
    ///
    /// Files in images belong to UIDs and GIDs up to 65534. Without a range, in either of the files,
    /// Podman maps the user's own ID alone: `podman run` works for images whose files all belong to
    /// root, and stops with "potentially insufficient UIDs or GIDs available in user namespace" as
    /// soon as one does not. K3s does not start. A line with a count of 0 makes newuidmap refuse
    /// all of the user's lines.
    ///
    /// ## Repair
    ///
    /// `usermod --add-subuids START-END --add-subgids START-END USER` with the first range that
    /// nobody has in either file, within the limits of `login.defs`. Not 100000 for everybody, as
    /// some guides and tools have it: that is the first user's. A Podman that runs goes on with the
    /// old ranges until `podman system migrate`, which stops the user's containers.
    ///
    /// ## Sources
    ///
    /// - subuid(5), newuidmap(1), usermod(8)
    /// - podman: troubleshooting.md, "potentially insufficient UIDs or GIDs"
    /// - rootlesskit: pkg/parent/parent.go, `getSubIDRanges`
    SUBID_RANGE, "subid-range", Required, User(run)
}

/// The two files.
pub(super) const FILES: [&str; 2] = ["/etc/subuid", "/etc/subgid"];

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let mut outcome = Outcome::default();
    for want in &req.subordinate_ids {
        match other_source(facts) {
            Ok(None) => {}
            Ok(Some(why)) => {
                outcome.unknown(&want.demand, &user.name, why);
                continue;
            }
            Err(why) => {
                outcome.unknown(&want.demand, &user.name, why);
                continue;
            }
        }
        for (path, file) in FILES.into_iter().zip(files(facts)) {
            match look(facts, user, path, file, want.value) {
                Ok(finding) => outcome.add(&want.demand, finding),
                Err(why) => outcome.unknown(&want.demand, path, why),
            }
        }
    }
    outcome.or_not_asked()
}

/// The files as shadow sees them.
pub(super) fn files(facts: &Facts) -> [Fact<Rc<SubidFile>>; 2] {
    [facts.subuid(), facts.subgid()]
}

/// Why the files do not count, if they do not.
pub(super) fn other_source(facts: &Facts) -> Fact<Option<String>> {
    let nss = facts.nsswitch().or_absent()?;
    Ok(nss.as_ref().and_then(|nss| nss.subid_module()).map(|module| {
        format!("{}: subordinate IDs come from {}, which is not asked", module.at, module.value)
    }))
}

fn look(facts: &Facts, user: &User, path: &str, file: Fact<Rc<SubidFile>>, least: u64) -> Fact<Finding> {
    let finding = |found: String, verdict| {
        Finding::new(path, format!("at least {least} IDs of {}", user.name), found, verdict)
    };
    let none = |why: &str| finding(format!("none: {why}"), Verdict::Unmet);
    let Some(file) = file.or_absent()? else {
        let at = Evidence::path(path, "does not exist");
        return Ok(none("the file does not exist").at([at]).repair(add(facts, user, least)));
    };
    if let Some(target) = file.link.clone()? {
        let root = if facts.running() { ("sudo ", "") } else { ("", "$ROOT") };
        let remedy = Remedy::manual(format!("put the file itself in the place of {path}"))
            .command(format!("{}cp --remove-destination {}{target} {}{path}", root.0, root.1, root.1));
        let why = "a symbolic link, which newuidmap and newgidmap do not follow";
        return Ok(none(why).at([Evidence::path(path, format!("-> {target}"))]).repair(remedy));
    }
    let stat = facts.stat(path)?;
    if !stat.allows(user.uid, &user.groups, 4) {
        let setting = Setting::FileMode { path: path.to_owned(), mode: 0o644 };
        let at = Evidence::path(path, format!("mode {:04o}, owner {}:{}", stat.mode, stat.uid, stat.gid));
        let remedy = Remedy::setting(format!("let everybody read {path}"), setting);
        return Ok(none("the user may not read it").at([at]).repair(remedy));
    }
    let ranges = file.ranges_of(user);
    let total = total_ids(&ranges);
    let lost: Vec<_> = file.faults.iter().filter(|fault| is_lost(fault, user)).collect();
    let empty = lost.iter().any(|fault| fault.value == SubidFault::Empty);
    let verdict = Verdict::met_if(total >= least && !empty);
    let found = match (total, lost.first()) {
        (_, Some(fault)) if verdict != Verdict::Met => {
            format!("{total} IDs; line {}: {}", fault.at.line.unwrap_or_default(), fault.value)
        }
        (0, _) => "none".to_owned(),
        (n, _) => format!("{n} IDs"),
    };
    let mut at: Vec<Evidence> = lost.iter().map(|fault| fault.at.clone()).collect();
    at.extend(ranges.iter().map(|range| range.at.clone()));
    if at.is_empty() {
        at.push(Evidence::path(path, format!("no line of {}", user.name)));
    }
    let remedy = match lost.first() {
        Some(fault) => correct(facts, path, fault),
        None => add(facts, user, least),
    };
    Ok(finding(found, verdict).at(at).repair(remedy))
}

/// Whether this line was meant to be the user's and is none.
fn is_lost(fault: &Sourced<SubidFault>, user: &User) -> bool {
    let owner = fault.at.text.split(':').next().unwrap_or_default();
    fault.value.is_ignored_line() && (owner == user.name || owner == user.uid.to_string())
}

/// Repairs a line, which gives back the range that it was meant to be.
fn correct(facts: &Facts, path: &str, fault: &Sourced<SubidFault>) -> Remedy {
    let (sudo, root) = if facts.running() { ("sudo ", "") } else { ("", "$ROOT") };
    match fault.value {
        SubidFault::CarriageReturn => Remedy::manual(format!("take the carriage returns out of {path}"))
            .command(format!("{sudo}sed -i 's/\\r$//' {root}{path}")),
        SubidFault::Empty => Remedy::manual(format!("remove {}", fault.at))
            .command(format!("{sudo}sed -i '{}d' {root}{path}", fault.at.line.unwrap_or_default())),
        _ => Remedy::manual(format!("write {} as OWNER:START:COUNT", fault.at)),
    }
}

/// Gives the user a range that nobody has.
fn add(facts: &Facts, user: &User, least: u64) -> Remedy {
    let usual = facts.login_defs().map_or(0, |defs| defs.number(Limit::SubUidCount));
    let count = u32::try_from(least).unwrap_or(u32::MAX).max(usual);
    match facts.free_subids(count, &[]) {
        Ok(Some(start)) => Remedy::setting(
            format!("give {} {count} IDs from {start} on, which are nobody's, in both files", user.name),
            Setting::SubordinateIds { user: user.name.clone(), start, count },
        ),
        Ok(None) => Remedy::manual(format!("make room for {count} IDs below SUB_UID_MAX of login.defs(5)")),
        Err(why) => Remedy::manual(format!("find a range of {count} IDs that nobody has ({why})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;

    const UNMET: Verdict = Verdict::Unmet;
    const MET: Verdict = Verdict::Met;

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    fn both(uid: &str, gid: &str) -> TestHost {
        fixture("debian-13").file(FILES[0], uid).file(FILES[1], gid)
    }

    fn judged(host: TestHost) -> [Verdict; 2] {
        let outcome = look_at(host);
        let found = verdicts(&outcome);
        assert_eq!([found[0].0, found[1].0], FILES);
        [found[0].1, found[1].1]
    }

    /// As `podman run` of an image with files of 65534 did on a booted Debian 13.
    #[test]
    fn what_a_real_machine_said() {
        const E: &str = "edge:100000:65536\n";
        for (uid, gid, verdicts) in [
            (E, E, [MET, MET]),
            ("1000:100000:65536\n", "1000:100000:65536\n", [MET, MET]),
            (E, "1000:100000:65536\n", [MET, MET]),
            (E, "", [MET, UNMET]),
            ("", "", [UNMET, UNMET]),
            ("edge:100000:65536\r\n", E, [UNMET, MET]),
            ("edge:100000:65536", E, [MET, MET]),
            ("edge:100000:30000\nedge:200000:40000\n", E, [MET, MET]),
            ("edge:100000:65534\n", "edge:100000:65534\n", [MET, MET]),
            ("edge:100000:65533\n", E, [UNMET, MET]),
            ("edge:100000:1000\n", E, [UNMET, MET]),
            ("edge: 100000:65536\n", E, [MET, MET]),
            ("garbage\nedge:100000:65536\n", E, [MET, MET]),
            ("# c\nedge:100000:65536\n", E, [MET, MET]),
            (E, "edge:300000:131072\n", [MET, MET]),
            ("edge:0303240:65536\n", E, [MET, MET]),
            ("edge:100000:0\nedge:100000:65536\n", E, [UNMET, MET]),
            ("edge:100000:65536x\nedge:200000:65536\n", E, [MET, MET]),
        ] {
            assert_eq!(judged(both(uid, gid)), verdicts, "{uid:?} {gid:?}");
        }
        let linked = fixture("debian-13").path(FILES[0], |r| r.link = Some("/data/subuid".to_owned()));
        assert_eq!(judged(linked), [UNMET, MET]);
        assert_eq!(judged(fixture("debian-13").mode(FILES[0], "0600")), [UNMET, MET]);
        assert_eq!(judged(fixture("debian-13").image()), [MET, MET]);
        assert_eq!(judged(fixture("debian-13").without(FILES[1])), [MET, UNMET]);
    }

    #[test]
    fn evidence_is_the_line() {
        let outcome = look_at(both("other:1:1\nedge:100000:1000\n", "edge:100000:65536\r\n"));
        let found = findings(&outcome);
        assert_eq!(
            (found[0].found.as_str(), found[0].evidence[0].to_string()),
            ("1000 IDs", "/etc/subuid:2".into())
        );
        assert_eq!(found[1].found, "0 IDs; line 1: line ends in a carriage return");
        assert_eq!(found[1].remedy.commands, ["sudo sed -i 's/\\r$//' /etc/subgid"]);
        assert_eq!(found[1].evidence[0].to_string(), "/etc/subgid:1");
    }

    /// dockerd-rootless-setuptool.sh proposes 100000 to everybody.
    #[test]
    fn the_range_that_is_proposed_is_nobodys() {
        let start = |host: TestHost| match &findings(&look_at(host))[0].remedy.settings[..] {
            [Setting::SubordinateIds { user, start, count: 65536 }] if user == "edge" => Some(*start),
            _ => None,
        };
        assert_eq!(start(both("", "")), Some(100_000));
        assert_eq!(start(both("first:100000:65536\n", "")), Some(165_536));
        assert_eq!(start(both("", "first:100000:65536\nsecond:165536:65536\n")), Some(231_072));
        assert_eq!(start(both("first:100000:65536\r\n", "")), Some(165_536), "its owner may want it back");
        let ldap = both("", "").append("/etc/passwd", "ldap:x:100500:100::/:/bin/sh\n");
        assert_eq!(start(ldap), Some(165_536));
        let low = "SUB_UID_MIN 500000\nSUB_GID_MIN 600000\nSUB_UID_MAX 700000\n";
        assert_eq!(start(both("", "").file("/etc/login.defs", low)), Some(600_000));
        let full = both("", "").file("/etc/login.defs", "SUB_UID_MIN 60000\nSUB_UID_MAX 120000\n");
        assert_eq!(start(full), None);
    }

    #[test]
    fn another_source_or_a_closed_file_is_unknown() {
        let sss = fixture("debian-13").append("/etc/nsswitch.conf", "subid: sss\n");
        let outcome = look_at(sss);
        assert!(unknown(&outcome)[0].contains("subordinate IDs come from sss"), "{:?}", unknown(&outcome));
        let denied = look_at(fixture("debian-13").error(FILES[0], "denied"));
        assert_eq!(unknown(&denied), ["/etc/subuid is not readable as this user"]);
        assert_eq!(verdicts(&denied), [(FILES[1], MET)]);
        assert!(run(&fixture("debian-13").facts(), &Requirements::default(), &edge()).skipped.is_some());
    }
}
