//! Whether every reader of the subordinate IDs reads the same: see [`SUBID_FORMAT`].

use crate::checks::check;
use std::collections::BTreeMap;

use crate::facts::subid::{SubidFault, SubidFile};
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Level, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent};
use crate::requirements::{Demand, Requirements};

use super::subid_range::{FILES, files, other_source};

check! {
    /// The files of subordinate IDs read the same to everybody
    ///
    /// ## What is looked at
    ///
    /// Every line of `/etc/subuid` and `/etc/subgid`, whoever's it is: OWNER:START:COUNT in decimal,
    /// no carriage return, no repetition, a newline at the end; and whether each owner has as many
    /// UIDs as GIDs.
    ///
    /// ## Why it matters
    ///
    /// Readers differ. newuidmap and Podman pass over a line that is malformed, so its owner has
    /// fewer IDs or none; RootlessKit, where it does not find getsubids(1), refuses the whole file
    /// for everybody. newuidmap takes 0100000 as octal, others as decimal or not at all. Without a
    /// newline at the end, what the next script appends becomes part of the last line. What this
    /// means for the user whose containers shall run is in subid-range and subid-overlap.
    ///
    /// ## Repair
    ///
    /// Correct the lines: `sed -i 's/\r$//'` for carriage returns, an editor for the rest.
    ///
    /// ## Sources
    ///
    /// - subuid(5)
    /// - shadow: lib/subordinateio.c, `subordinate_parse`
    /// - rootlesskit: pkg/parent/idtools/idtools.go, `parseSubidFile`
    SUBID_FORMAT, "subid-format", Advised, Host(run)
}

/// How many lines a finding names and shows.
const SHOWN: usize = 3;

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    if matches!(other_source(facts), Ok(Some(_))) {
        return Outcome::skip("subordinate IDs do not come from the files");
    }
    let Some(want) = req.subordinate_ids.first() else { return Outcome::not_asked() };
    let demand = Demand { level: Level::Advised, ..want.demand.clone() };
    let mut outcome = Outcome::default();
    for (path, file) in FILES.into_iter().zip(files(facts)) {
        match file.or_absent() {
            Ok(Some(file)) => outcome.add(&demand, lines(facts, path, &file)),
            Ok(None) => {}
            Err(why) => outcome.unknown(&demand, path, why),
        }
    }
    // What could not be read is told of above.
    if let Ok(Some(finding)) = counts(facts) {
        outcome.add(&demand, finding);
    }
    outcome.or_skip("there is neither /etc/subuid nor /etc/subgid")
}

fn lines(facts: &Facts, path: &str, file: &SubidFile) -> Finding {
    let expected = "OWNER:START:COUNT in each line, once";
    let faults = &file.faults;
    if faults.is_empty() {
        let count = file.ranges.len();
        let found = format!("{count} {} of this form", if count == 1 { "line" } else { "lines" });
        return Finding::new(path, expected, found, Verdict::Met).at([Evidence::path(path, "")]);
    }
    let line = |at: &Evidence| at.line.unwrap_or_default();
    let mut found: Vec<String> =
        faults.iter().take(SHOWN).map(|fault| format!("line {}: {}", line(&fault.at), fault.value)).collect();
    if faults.len() > SHOWN {
        found.push(format!("and {} more", faults.len() - SHOWN));
    }
    let mut remedy = Remedy::manual(format!("correct these lines of {path}"));
    if faults.iter().any(|fault| fault.value == SubidFault::CarriageReturn) {
        let (sudo, root) = if facts.running() { ("sudo ", "") } else { ("", "$ROOT") };
        remedy = remedy.command(format!("{sudo}sed -i 's/\\r$//' {root}{path}"));
    }
    Finding::new(path, expected, found.join("; "), Verdict::Unmet)
        .at(faults.iter().take(SHOWN).map(|fault| fault.at.clone()))
        .repair(remedy)
}

/// The owners who have not as many UIDs as GIDs, if there are any; `None` also where a file is not
/// there.
fn counts(facts: &Facts) -> Fact<Option<Finding>> {
    let [Some(uids), Some(gids)] = [facts.subuid().or_absent()?, facts.subgid().or_absent()?] else {
        return Ok(None);
    };
    let passwd = facts.passwd()?;
    let names: BTreeMap<String, &str> =
        passwd.users.iter().map(|user| (user.uid.to_string(), user.name.as_str())).collect();
    let mut owners: BTreeMap<&str, ([u64; 2], Vec<Evidence>)> = BTreeMap::new();
    for (which, file) in [&uids, &gids].into_iter().enumerate() {
        for range in &file.ranges {
            // One user may be there by name and by UID.
            let owner = names.get(&*range.value.owner).copied().unwrap_or(&range.value.owner);
            let (counts, at) = owners.entry(owner).or_default();
            counts[which] += u64::from(range.value.count);
            at.push(range.at.clone());
        }
    }
    owners.retain(|_, (counts, _)| counts[0] != counts[1]);
    if owners.is_empty() {
        return Ok(None);
    }
    let mut found: Vec<String> = owners
        .iter()
        .take(SHOWN)
        .map(|(owner, ([uids, gids], _))| format!("{owner}: {uids} UIDs, {gids} GIDs"))
        .collect();
    if owners.len() > SHOWN {
        found.push(format!("and {} more", owners.len() - SHOWN));
    }
    let at = owners.into_values().take(SHOWN).flat_map(|(_, at)| at.into_iter().take(SHOWN));
    let remedy =
        Remedy::manual("give each owner as many of both, with usermod --add-subuids or --add-subgids");
    let expected = "as many UIDs as GIDs for each owner";
    let subject = FILES.join(" and ");
    Ok(Some(Finding::new(subject, expected, found.join("; "), Verdict::Unmet).at(at).repair(remedy)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman, Stack::K3s]))
    }

    fn both(text: &str) -> TestHost {
        fixture("debian-13").file(FILES[0], text).file(FILES[1], text)
    }

    #[test]
    fn files_as_usermod_writes_them_pass() {
        let met = [(FILES[0], Verdict::Met), (FILES[1], Verdict::Met)];
        assert_eq!(verdicts(&look_at(fixture("debian-13"))), met);
        let two = look_at(both("# lxd\nroot:1000000:1000000000\nedge:100000:65536\n"));
        assert_eq!(verdicts(&two), met);
        assert_eq!(findings(&two)[0].found, "2 lines of this form");
        let one = look_at(both("edge:100000:65536\n"));
        assert_eq!(findings(&one)[0].found, "1 line of this form");
        let mixed = both("edge:100000:65536\n").file(FILES[1], "1000:100000:65536\n");
        assert_eq!(verdicts(&look_at(mixed)), met, "by name and by UID is one user");
    }

    #[test]
    fn each_fault_is_told_with_its_line() {
        let outcome = look_at(both("edge:100000:65536\r\ngarbage\nedge:1:1\nedge:1:1\nx:09:1\n"));
        let found = findings(&outcome)[0];
        assert_eq!((found.subject.as_str(), found.verdict), ("/etc/subuid", Verdict::Unmet));
        assert_eq!(
            found.found,
            "line 1: line ends in a carriage return; line 2: expected OWNER:START:COUNT; line 4: same as line 3; and 1 more"
        );
        assert_eq!(found.evidence[1].to_string(), "/etc/subuid:2");
        assert_eq!(found.remedy.commands, ["sudo sed -i 's/\\r$//' /etc/subuid"]);
        assert!(outcome.items.iter().all(|item| item.level == Level::Advised));
        assert_eq!(
            findings(&look_at(both("edge:100000:65536")))[0].found,
            "line 1: last line does not end in a newline"
        );
    }

    #[test]
    fn one_file_with_more_than_the_other() {
        let host = fixture("debian-13").file(FILES[1], "edge:300000:131072\n");
        let outcome = look_at(host);
        let found = findings(&outcome)[2];
        assert_eq!(found.found, "edge: 65536 UIDs, 131072 GIDs");
        assert_eq!(found.evidence[1].to_string(), "/etc/subgid:1");
    }

    #[test]
    fn nothing_to_judge_or_nothing_to_read() {
        let none = fixture("debian-13").without(FILES[0]).without(FILES[1]);
        assert!(look_at(none).skipped.is_some());
        let denied = look_at(fixture("debian-13").error(FILES[0], "denied"));
        assert_eq!(unknown(&denied), ["/etc/subuid is not readable as this user"]);
        assert_eq!(verdicts(&denied), [(FILES[1], Verdict::Met)]);
        assert!(look_at(fixture("debian-13").append("/etc/nsswitch.conf", "subid: sss\n")).skipped.is_some());
    }
}
