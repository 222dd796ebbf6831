//! Whether the user's subordinate IDs are nobody else's: see [`SUBID_OVERLAP`].

use crate::checks::check;
use crate::facts::subid::{SubidFile, SubidRange};
use crate::facts::subid_overlap::{RESERVED, ids_inside, reserved_inside};
use crate::facts::users::User;
use crate::facts::{Evidence, Facts, Sourced};
use crate::finding::{Finding, Level, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent};
use crate::requirements::{Demand, Requirements};

use super::subid_range::{FILES, files, other_source};

check! {
    /// User's subordinate IDs are nobody else's
    ///
    /// ## What is looked at
    ///
    /// Whether a range of the user in `/etc/subuid` or `/etc/subgid` holds the user's own ID, shares
    /// IDs with another range of the same user (by name and by UID is one user), with ranges of
    /// other users, with users in `passwd(5)` or groups in `group(5)`, or with IDs that the system
    /// gives away: root, nobody, dynamic users of services.
    ///
    /// ## Why it matters
    ///
    /// The kernel refuses a map in which an ID occurs twice. The user's own ID is always mapped, so
    /// with it in a range nothing starts: "invalid configuration: the specified mapping ... includes
    /// the user UID"; with the same line twice, newuidmap says "write to uid_map failed: Invalid
    /// argument". IDs of others do not stop anything, which is worse: whoever escapes from a
    /// container of one user has the files and processes of the other, or of root.
    ///
    /// Seen on Debian 12 and 13: with the user's own ID in a range, and with overlapping lines of one
    /// user, no container starts; with another user's line of the same IDs all of them do.
    ///
    /// ## Repair
    ///
    /// Move the range with `usermod --del-subuids` and `--add-subuids` to one that nobody has, or
    /// remove the line that is there twice. Images and containers of the user that are stored keep
    /// the old IDs: `podman system reset` starts anew.
    ///
    /// ## Sources
    ///
    /// - user_namespaces(7), "User and group ID mappings: uid_map and gid_map"
    /// - https://github.com/containers/podman/issues/4436
    /// - systemd: docs/UIDS-GIDS.md
    SUBID_OVERLAP, "subid-overlap", Required, User(run)
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    if matches!(other_source(facts), Ok(Some(_))) {
        return Outcome::skip("subordinate IDs do not come from the files");
    }
    let mut outcome = Outcome::default();
    for want in &req.subordinate_ids {
        for (path, file) in FILES.into_iter().zip(files(facts)) {
            let looked = file.or_absent().and_then(|file| match file {
                Some(file) => look(facts, user, path, &file),
                None => Ok(Vec::new()),
            });
            match looked {
                Ok(findings) => {
                    for (level, finding) in findings {
                        let level = level.min(want.demand.level);
                        outcome.add(&Demand { level, ..want.demand.clone() }, finding);
                    }
                }
                Err(why) => outcome.unknown(&want.demand, path, why),
            }
        }
    }
    outcome.or_skip("the user has no subordinate IDs")
}

/// What the ranges of a user have in common with others in one file.
struct Look<'a> {
    facts: &'a Facts,
    user: &'a User,
    path: &'a str,
    findings: Vec<(Level, Finding)>,
}

fn look(facts: &Facts, user: &User, path: &str, file: &SubidFile) -> Fact<Vec<(Level, Finding)>> {
    let ranges = file.ranges_of(user);
    let mut look = Look { facts, user, path, findings: Vec::new() };
    let uids = path == FILES[0];
    let own = if uids { user.uid } else { user.gid };
    for (range, id) in ids_inside(&ranges, &[own]) {
        let expected = format!("without {}'s own ID", user.name);
        look.moved(Level::Required, range, expected, id.to_string(), Some(user.at.clone()));
    }
    for (first, second) in own_overlaps(&ranges) {
        let line = second.at.line.unwrap_or_default();
        let (sudo, root) = if facts.running() { ("sudo ", "") } else { ("", "$ROOT") };
        let remedy = Remedy::manual(format!("remove {}, whose IDs the user has already", second.at))
            .command(format!("{sudo}sed -i '{line}d' {root}{path}"));
        let expected = format!("without IDs of {}'s other ranges", user.name);
        let finding = Finding::new(look.subject(second), expected, first.value.to_string(), Verdict::Unmet)
            .at([second.at.clone(), first.at.clone()])
            .repair(remedy);
        look.findings.push((Level::Required, finding));
    }
    for overlap in file.overlaps_of(user) {
        let (found, at) = (overlap.other.value.to_string(), overlap.other.at.clone());
        look.moved(
            Level::Advised,
            overlap.range,
            "without IDs of other users' ranges".to_owned(),
            found,
            Some(at),
        );
    }
    let ids: Vec<(u32, String, Evidence)> = if uids {
        facts.passwd()?.users.iter().map(|u| (u.uid, u.name.clone(), u.at.clone())).collect()
    } else {
        facts.groups()?.groups.iter().map(|g| (g.gid, g.name.clone(), g.at.clone())).collect()
    };
    // Root and nobody are users as well; they are told of below.
    let known = |id: u32| id == own || RESERVED.iter().any(|r| (r.first..=r.last).contains(&id));
    let others: Vec<u32> = ids.iter().map(|(id, ..)| *id).filter(|id| !known(*id)).collect();
    for (range, id) in ids_inside(&ranges, &others) {
        let Some((id, name, at)) = ids.iter().find(|(other, ..)| *other == id) else { continue };
        let what = if uids { "users" } else { "groups" };
        look.moved(
            Level::Advised,
            range,
            format!("without IDs of {what}"),
            format!("{id} ({name})"),
            Some(at.clone()),
        );
    }
    for (range, reserved) in reserved_inside(&ranges, &RESERVED) {
        let found = format!("{}-{} ({})", reserved.first, reserved.last, reserved.name);
        look.moved(Level::Advised, range, "without IDs of the system".to_owned(), found, None);
    }
    if look.findings.is_empty() {
        for range in ranges {
            let subject = look.subject(range);
            let finding = Finding::new(subject, "IDs of nobody else", "nobody else's", Verdict::Met);
            look.findings.push((Level::Required, finding.at([range.at.clone()])));
        }
    }
    Ok(look.findings)
}

impl Look<'_> {
    /// A range with its file: the same range is mostly in both.
    fn subject(&self, range: &Sourced<SubidRange>) -> String {
        format!("{} {}", self.path, range.value)
    }

    /// A range that has to be another one.
    fn moved(
        &mut self,
        level: Level,
        range: &Sourced<SubidRange>,
        expected: String,
        found: String,
        other: Option<Evidence>,
    ) {
        let (start, end, count) = (range.value.start, range.value.end() - 1, range.value.count);
        let kind = if self.path == FILES[0] { "subuids" } else { "subgids" };
        let (sudo, root) = if self.facts.running() { ("sudo ", "") } else { ("", "--root $ROOT ") };
        let mut remedy = Remedy::manual("move the range; what containers have stored keeps the old IDs");
        if let Ok(Some(free)) = self.facts.free_subids(count, &[]) {
            let last = u64::from(free) + u64::from(count) - 1;
            remedy = remedy.command(format!(
                "{sudo}usermod {root}--del-{kind} {start}-{end} --add-{kind} {free}-{last} {}",
                self.user.name
            ));
        }
        let finding = Finding::new(self.subject(range), expected, found, Verdict::Unmet)
            .at([range.at.clone()])
            .at(other)
            .repair(remedy);
        self.findings.push((level, finding));
    }
}

/// Ranges of one user that have IDs in common: for each the one that it repeats, the earlier line first.
fn own_overlaps<'a>(
    ranges: &[&'a Sourced<SubidRange>],
) -> Vec<(&'a Sourced<SubidRange>, &'a Sourced<SubidRange>)> {
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|range| (range.value.start, range.at.line));
    let mut found = Vec::new();
    let mut reaching: Option<&Sourced<SubidRange>> = None;
    for range in sorted {
        if let Some(before) = reaching.filter(|before| before.value.end() > u64::from(range.value.start)) {
            let earlier = before.at.line < range.at.line;
            found.push(if earlier { (before, range) } else { (range, before) });
        }
        if reaching.is_none_or(|before| before.value.end() < range.value.end()) {
            reaching = Some(range);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    fn subuid(text: &str) -> TestHost {
        fixture("debian-13").file(FILES[0], text).file(FILES[1], "")
    }

    /// Level, expected, found and the lines of what is not met.
    fn shown(host: TestHost) -> Vec<(Level, String, String, Vec<String>)> {
        let outcome = look_at(host);
        let levels = outcome.items.iter().map(|item| item.level);
        levels
            .zip(findings(&outcome))
            .filter(|(_, finding)| finding.verdict == Verdict::Unmet)
            .map(|(level, f)| {
                let at = f.evidence.iter().map(Evidence::to_string).collect();
                (level, f.expected.clone(), f.found.clone(), at)
            })
            .collect()
    }

    #[test]
    fn a_range_of_ones_own_passes() {
        let outcome = look_at(fixture("debian-13"));
        let ranges = ["/etc/subuid edge:100000:65536", "/etc/subgid edge:100000:65536"];
        assert_eq!(verdicts(&outcome), ranges.map(|range| (range, Verdict::Met)));
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), "/etc/subuid:1");
    }

    /// `podman run` fails on a booted Debian 13, in either file.
    #[test]
    fn the_users_own_id_stops_everything() {
        let host = subuid("edge:999:50000\n").file(FILES[1], "edge:1000:5\n");
        let found = shown(host.clone());
        let level = Level::Required;
        assert_eq!(
            found[0],
            (
                level,
                "without edge's own ID".into(),
                "1000".into(),
                vec!["/etc/subuid:1".into(), "/etc/passwd:1".into()]
            )
        );
        assert_eq!(
            (found[1].0, found[1].2.as_str(), found[1].3[0].as_str()),
            (level, "1000", "/etc/subgid:1")
        );
        assert_eq!(
            findings(&look_at(host))[0].remedy.commands,
            ["sudo usermod --del-subuids 999-50998 --add-subuids 100000-149999 edge"]
        );
    }

    /// "newuidmap: write to uid_map failed: Invalid argument" on a booted Debian 13.
    #[test]
    fn the_users_ranges_among_themselves_stop_everything() {
        for (text, lines) in [
            ("edge:100000:65536\nedge:100000:65536\n", ["/etc/subuid:2", "/etc/subuid:1"]),
            ("edge:100000:65536\nx:1:1\n1000:100000:65536\n", ["/etc/subuid:3", "/etc/subuid:1"]),
            ("edge:120000:65536\nedge:100000:65536\n", ["/etc/subuid:2", "/etc/subuid:1"]),
        ] {
            let found = shown(subuid(text));
            assert_eq!((found.len(), found[0].0), (1, Level::Required), "{text:?}");
            assert_eq!(found[0].3, lines);
        }
        let apart = subuid("edge:100000:40000\n1000:200000:40000\n");
        assert!(shown(apart).is_empty(), "by name and by UID is one user");
    }

    /// Containers run all the same on a booted Debian 13.
    #[test]
    fn ids_of_others_are_advised_against() {
        let found = shown(subuid("edge:100000:65536\nfoo:165535:1\n"));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0, found[0].2.as_str()), (Level::Advised, "foo:165535:1"));
        assert_eq!(found[0].3, ["/etc/subuid:1", "/etc/subuid:2"]);
        let ldap = subuid("edge:100000:65536\n").append("/etc/passwd", "other:x:100500:100::/:/bin/sh\n");
        let found = shown(ldap);
        assert_eq!((found[0].0, found[0].2.as_str()), (Level::Advised, "100500 (other)"));
        let group = fixture("debian-13").append("/etc/group", "other:x:100500:\n");
        assert_eq!(shown(group)[0].1, "without IDs of groups");
        let root = shown(subuid("edge:0:900\nedge:61184:10\n"));
        let systems: Vec<&str> =
            root.iter().filter(|f| f.1 == "without IDs of the system").map(|f| f.2.as_str()).collect();
        assert_eq!(systems, ["0-0 (root)", "61184-65519 (dynamic users of systemd services)"]);
        assert!(root.iter().all(|f| f.0 == Level::Advised));
    }

    #[test]
    fn nothing_to_judge_or_nothing_to_read() {
        assert_eq!(look_at(subuid("")).skipped.as_deref(), Some("the user has no subordinate IDs"));
        let sss = fixture("debian-13").append("/etc/nsswitch.conf", "subid: sss\n");
        assert!(look_at(sss).skipped.is_some());
        let denied = look_at(fixture("debian-13").error(FILES[1], "denied"));
        assert_eq!(unknown(&denied), ["/etc/subgid is not readable as this user"]);
    }
}
