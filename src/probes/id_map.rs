//! Whether the user can have a user namespace with ID maps: see [`ID_MAP`].

use super::bench::Bench;
use super::request::{Failure, MapLine, NO_ANSWER, Reply, Request};
use super::{Asked, Claim, Probe, Trial, Word, is_told_apart};
use crate::host::{CONFIG_LIMIT_BYTES, Fact, Host, OrAbsent};
use crate::requirements::Need;
use nix::errno::Errno;

/// As Podman and RootlessKit do it: a process goes into a new user namespace, and from outside the helpers
/// write into its maps the user's own ID and all subordinate ones (`user_namespaces(7)`, `newuidmap(1)`;
/// containers/storage: `pkg/unshare/unshare_linux.go`).
pub(super) static ID_MAP: Probe = Probe {
    id: "id-map",
    summary: "a process goes into a new user namespace, and newuidmap and newgidmap write its ID maps; all \
              ends with the process",
    checks: &["userns-limit", "userns-clone", "idmap-helpers", "subid-range"],
    remedy: "look for what refuses it: a security module says so in the kernel log, a seccomp filter or a \
             limit belongs to the session",
    run,
};

/// The lines of a map that a kernel takes (`user_namespaces(7)`: 340, since 4.15).
const LINES: usize = 340;

fn run(asked: &Asked, bench: &mut Bench) -> Vec<Trial> {
    let wanted = [Need::UserNamespaces, Need::IdMapHelpers];
    if wanted.iter().all(|need| asked.req.need(*need).is_empty()) {
        return Vec::new();
    }
    let trial = |subject: &str, word| Trial::new(&ID_MAP, asked.user, subject, word);
    let space = match bench.enter() {
        Ok(Reply::Done) => trial("user namespace", Word::Works("made".to_owned())),
        Ok(Reply::Failed(failure)) if is_told_apart(asked.facts).is_none() => {
            return vec![
                trial("user namespace", Word::Refused(failure.to_string())).about([culprit(failure)]),
            ];
        }
        Ok(Reply::Failed(failure)) => {
            let why = is_told_apart(asked.facts).unwrap_or_default();
            return vec![trial("user namespace", Word::Unknown(format!("{failure}; {why}")))];
        }
        Ok(_) => return vec![trial("user namespace", Word::Unknown(NO_ANSWER.to_owned()))],
        Err(why) => return vec![trial("user namespace", Word::Unknown(why))],
    };
    // One more than a limit of 0, and no more than that is proved.
    let space = space.about([
        Claim::supports("userns-limit", "user.max_user_namespaces"),
        Claim::proves("userns-clone", "kernel.unprivileged_userns_clone"),
    ]);
    let kinds = [Kind::Uid, Kind::Gid].map(|kind| (kind, kind.write(asked, bench)));
    bench.is_mapped = kinds.iter().all(|(_, tried)| matches!(tried.word, Word::Works(_)));
    std::iter::once(space).chain(kinds.map(|(_, tried)| tried)).collect()
}

/// The check whose business this refusal is: `user_namespaces(7)` has ENOSPC for the limit.
fn culprit(failure: Failure) -> Claim {
    match failure.errno() {
        Errno::ENOSPC | Errno::EUSERS => Claim::supports("userns-limit", "user.max_user_namespaces"),
        _ => Claim::supports("userns-clone", "kernel.unprivileged_userns_clone"),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Uid,
    Gid,
}

impl Kind {
    fn helper(self) -> &'static str {
        match self {
            Kind::Uid => "newuidmap",
            Kind::Gid => "newgidmap",
        }
    }

    /// Its file in `/etc`, and in `/proc/PID`.
    fn files(self) -> (&'static str, &'static str) {
        match self {
            Kind::Uid => ("/etc/subuid", "uid_map"),
            Kind::Gid => ("/etc/subgid", "gid_map"),
        }
    }

    fn write(self, asked: &Asked, bench: &mut Bench) -> Trial {
        let trial = |subject: &str, word| Trial::new(&ID_MAP, asked.user, subject, word);
        let unknown = |why: String| trial(self.helper(), Word::Unknown(why));
        let helper = match asked.facts.program(self.helper()) {
            Ok(Some(program)) => program.path,
            Ok(None) => return unknown("it is not installed".to_owned()),
            Err(why) => return unknown(why.to_string()),
        };
        let map = match self.map(asked) {
            Ok(map) => map,
            Err(why) => return unknown(why.to_string()),
        };
        let Some(pid) = bench.pid_inside() else { return unknown(NO_ANSWER.to_owned()) };
        let reply = bench.ask(&Request::WriteMap { helper: helper.clone(), pid, map: map.clone() });
        let claims =
            [Claim::proves("idmap-helpers", &helper), Claim::supports("subid-range", self.files().0)];
        let (word, claims) = match reply {
            Ok(_) if !bench.gains_privileges() => {
                let why = "this process can gain no privileges (NoNewPrivileges=), so that no helper has any";
                return unknown(why.to_owned());
            }
            Ok(Reply::Ended { code: Some(0), .. }) => match written(pid, self.files().1) {
                Ok(found) if same(&found, &map) => {
                    let count: u64 = map.iter().map(|line| u64::from(line.count)).sum();
                    (Word::Works(format!("wrote a map of {count} IDs")), claims.to_vec())
                }
                Ok(_) => {
                    let [helpers, _] = claims;
                    let said = "ended without an error and did not write the map";
                    (Word::Refused(said.to_owned()), vec![helpers])
                }
                Err(why) => return unknown(why),
            },
            // Of a process that is gone nobody can write the map.
            Ok(Reply::Ended { .. }) if !bench.is_alive_inside() => {
                return unknown("the process whose map it is to write has ended".to_owned());
            }
            Ok(Reply::Ended { code, said }) => {
                // shadow: src/newuidmap.c, `verify_ranges`, in the C locale.
                let [helpers, ranges] = claims;
                let claim = if said.contains("not allowed") { ranges } else { helpers };
                (Word::Refused(ending(code, &said)), vec![claim])
            }
            Ok(Reply::Failed(failure)) if failure.errno() == Errno::ETIMEDOUT => {
                return unknown("it did not end in time".to_owned());
            }
            Ok(Reply::Failed(failure)) => {
                let [helpers, _] = claims;
                (Word::Refused(failure.to_string()), vec![helpers])
            }
            Ok(_) => return unknown(NO_ANSWER.to_owned()),
            Err(why) => return unknown(why),
        };
        trial(&helper, word).about(claims)
    }

    /// The user's own ID, which becomes root, and all subordinate ones. Without any the helpers write the
    /// first line alone: that there are enough is not for a probe to say.
    fn map(self, asked: &Asked) -> Fact<Vec<MapLine>> {
        let user = asked.user;
        let (file, own) = match self {
            Kind::Uid => (asked.facts.subuid(), user.uid),
            Kind::Gid => (asked.facts.subgid(), user.gid),
        };
        let mut map = vec![MapLine { inside: 0, outside: own, count: 1 }];
        let mut inside = 1_u32;
        for range in file.or_absent()?.iter().flat_map(|file| file.ranges_of(user)).take(LINES - 1) {
            let (outside, count) = (range.value.start, range.value.count);
            // The kernel refuses what overlaps, and no ID is 4294967295.
            let overlaps = map.iter().any(|line| {
                let end = |start: u32, count: u32| u64::from(start) + u64::from(count);
                u64::from(line.outside) < end(outside, count)
                    && u64::from(outside) < end(line.outside, line.count)
            });
            let Some(next) = inside.checked_add(count).filter(|next| *next < u32::MAX && !overlaps) else {
                continue;
            };
            map.push(MapLine { inside, outside, count });
            inside = next;
        }
        Ok(map)
    }
}

/// How a helper ended that did not end well.
fn ending(code: Option<i32>, said: &str) -> String {
    match (code, said) {
        (_, said) if !said.is_empty() => said.to_owned(),
        (Some(code), _) => format!("ended with {code} and said nothing"),
        (None, _) => "was killed".to_owned(),
    }
}

/// The map that a process has now. It is ours and still runs, so that the PID is no other's.
fn written(pid: u32, file: &str) -> Result<Vec<MapLine>, String> {
    let path = format!("/proc/{pid}/{file}");
    let (_, bytes) = Host::live().read(&path, CONFIG_LIMIT_BYTES).map_err(|why| why.to_string())?;
    let text = String::from_utf8_lossy(&bytes);
    parse(&text).ok_or_else(|| format!("{path}: not three numbers a line"))
}

fn parse(text: &str) -> Option<Vec<MapLine>> {
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|word| word.parse().ok());
        let [inside, outside, count] = [numbers.next()??, numbers.next()??, numbers.next()??];
        numbers.next().is_none().then_some(MapLine { inside, outside, count })
    };
    text.lines().map(line).collect()
}

/// The kernel shows the lines in an order of its own.
fn same(one: &[MapLine], other: &[MapLine]) -> bool {
    let sorted = |map: &[MapLine]| {
        let mut map = map.to_vec();
        map.sort_unstable();
        map
    };
    sorted(one) == sorted(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::fixture;
    use crate::facts::users::User;
    use crate::requirements::Requirements;

    fn map(subuid: &str) -> Vec<MapLine> {
        let facts = fixture("debian-13").file("/etc/subuid", subuid).facts();
        let (req, user) = (Requirements::default(), User::example("edge", 1000));
        Kind::Uid.map(&Asked { facts: &facts, req: &req, user: &user }).unwrap()
    }

    fn line(inside: u32, outside: u32, count: u32) -> MapLine {
        MapLine { inside, outside, count }
    }

    #[test]
    fn the_map_is_the_users_own_id_and_the_subordinate_ones() {
        assert_eq!(map(""), [line(0, 1000, 1)]);
        assert_eq!(
            map("edge:100000:65536\nother:200000:65536\n1000:300000:10\n"),
            [line(0, 1000, 1), line(1, 100_000, 65536), line(65537, 300_000, 10)]
        );
        assert_eq!(map("edge:900:200\nedge:5000:5\nedge:5004:9\n"), [line(0, 1000, 1), line(1, 5000, 5)]);
    }

    #[test]
    fn maps_are_compared_in_any_order() {
        let found = parse("         0       1000          1\n         1     100000      65536\n").unwrap();
        assert!(same(&found, &[line(1, 100_000, 65536), line(0, 1000, 1)]));
        assert!(!same(&[], &found));
        assert_eq!((parse("1 2\n"), parse("1 2 3 4\n"), parse("")), (None, None, Some(Vec::new())));
    }

    #[test]
    fn the_limit_answers_for_enospc_and_nothing_else() {
        use crate::probes::request::Step;
        assert_eq!(culprit(Step::UserNamespace.failed(Errno::ENOSPC)).check, "userns-limit");
        assert_eq!(culprit(Step::UserNamespace.failed(Errno::EPERM)).check, "userns-clone");
        assert!(ID_MAP.checks.contains(&"userns-limit") && ID_MAP.checks.contains(&"userns-clone"));
    }

    #[test]
    fn a_helper_that_says_nothing() {
        assert_eq!(ending(Some(1), ""), "ended with 1 and said nothing");
        assert_eq!(ending(None, ""), "was killed");
        assert_eq!(ending(Some(1), "newuidmap: no"), "newuidmap: no");
    }
}
