//! Resource limits: those of a process (`/proc/PID/limits`) and those that `pam_limits` sets at log-in.
//! Those that systemd sets (`LimitNOFILE=`, `DefaultLimitNOFILE=`) are read from units and system.conf,
//! and what they come to is worked out here.

use std::rc::Rc;

use super::cgroup::user_manager_levels;
use super::{Evidence, Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

const LIMITS_CONF: &str = "/etc/security/limits.conf";
const LIMITS_DIR: &str = "/etc/security/limits.d";

/// A limit; `None` is unlimited.
pub type Limit = Option<u64>;

/// The soft and hard limit on one resource of a process, with the line that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessLimit {
    /// The name that the kernel gives it: `Max open files`.
    pub name: String,
    /// What holds now.
    pub soft: Limit,
    /// How far the process can raise it.
    pub hard: Limit,
    /// Where it stands.
    pub at: Evidence,
}

/// The resource limits of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessLimits {
    /// In the order of the kernel.
    pub limits: Vec<ProcessLimit>,
}

impl ProcessLimits {
    /// Reads `/proc/PID/limits` (`proc_pid_limits(5)`). Names contain spaces, so the columns are told
    /// apart by two spaces at least. A line that is not of this form is left out.
    pub fn parse(source: &Source) -> ProcessLimits {
        let limits = source.lines().skip(1).filter_map(|(line, text)| {
            let (name, rest) = text.split_once("  ")?;
            let mut fields = rest.split_whitespace();
            let (soft, hard) = (limit(fields.next()?)?, limit(fields.next()?)?);
            Some(ProcessLimit {
                name: name.to_owned(),
                soft,
                hard,
                at: Evidence::line(source.path(), line, text),
            })
        });
        ProcessLimits { limits: limits.collect() }
    }

    /// The limit of this name, such as `Max open files`.
    pub fn get(&self, name: &str) -> Option<&ProcessLimit> {
        self.limits.iter().find(|limit| limit.name == name)
    }
}

fn limit(text: &str) -> Option<Limit> {
    match text {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

/// The hard limit that the values of a directive such as `LimitNOFILE=` come to: the last that is one,
/// as a number, as `SOFT:HARD`, or `infinity` (systemd.exec(5), "Process Properties"; systemd,
/// `src/basic/rlimit-util.c`, `rlimit_parse`).
pub fn hard_limit<'a>(
    values: impl DoubleEndedIterator<Item = &'a Sourced<String>>,
) -> Option<Sourced<Limit>> {
    values.rev().find_map(|Sourced { value, at }| {
        let hard = value.split_once(':').map_or(value.as_str(), |(_, hard)| hard).trim();
        let value = if hard == "infinity" { None } else { Some(hard.parse().ok()?) };
        Some(Sourced { value, at: at.clone() })
    })
}

/// Which of the two limits a line of limits.conf sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// The soft limit.
    Soft,
    /// The hard limit.
    Hard,
    /// Both (`-`).
    Both,
}

/// A line of limits.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginLimit {
    /// Whom it is for, as written: a user, `@group`, `%group`, `*`, or a range of IDs.
    pub domain: String,
    /// Which limit.
    pub kind: LimitKind,
    /// The resource: `nofile`, `nproc`, `memlock`, ...
    pub item: String,
    /// The value, as written: its unit depends on the resource.
    pub value: String,
}

/// What `pam_limits` is configured to set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginLimits {
    /// All lines in the order in which they are read.
    pub lines: Vec<Sourced<LoginLimit>>,
    /// Files that could not be read, so that what is not in `lines` may stand there.
    pub unread: Vec<Unread>,
}

impl LoginLimits {
    /// Adds the lines of one file (`limits.conf(5)`). A line that is not of its form is left out, as
    /// `pam_limits` does.
    fn read(&mut self, source: &Source) {
        self.lines.extend(source.lines().filter_map(|(line, text)| {
            let code = text.split('#').next().unwrap_or_default();
            let mut fields = code.split_whitespace();
            let (domain, kind, item) = (fields.next()?, fields.next()?, fields.next()?);
            let kind = match kind {
                "soft" => LimitKind::Soft,
                "hard" => LimitKind::Hard,
                "-" => LimitKind::Both,
                _ => return None,
            };
            let value = fields.next()?.to_owned();
            let limit = LoginLimit { domain: domain.to_owned(), kind, item: item.to_owned(), value };
            Some(source.on(line, text, limit))
        }));
    }

    /// The line that sets the limit `kind` on `item` for a user in these groups: a line for the user
    /// beats one for a group beats one for everyone, and of equals the last counts (`limits.conf(5)`).
    /// Ranges of IDs are not considered. `%group` limits log-ins of the group, not its processes.
    pub fn for_user(
        &self,
        user: &str,
        groups: &[&str],
        item: &str,
        kind: LimitKind,
    ) -> Option<&Sourced<LoginLimit>> {
        let rank = |domain: &str| {
            if domain == user {
                Some(2)
            } else if domain.strip_prefix('@').is_some_and(|group| groups.contains(&group)) {
                Some(1)
            } else {
                // Root is never meant by the wildcard.
                (domain == "*" && user != "root").then_some(0)
            }
        };
        let matching = self.lines.iter().filter(|line| {
            line.value.item == item && (line.value.kind == kind || line.value.kind == LimitKind::Both)
        });
        matching
            .filter_map(|line| Some((rank(&line.value.domain)?, line)))
            .max_by_key(|(rank, _)| *rank)
            .map(|(_, line)| line)
    }
}

impl Facts {
    /// The resource limits of the user manager of `uid`: of a process in its own cgroup, where there are
    /// only it and the process that keeps its PAM session.
    ///
    /// # Errors
    /// Without a v2 hierarchy, where no user manager runs, and as [`Facts::process_limits`].
    pub fn user_manager_limits(&self, uid: u32) -> Fact<Rc<ProcessLimits>> {
        let [.., cgroup] = user_manager_levels(uid);
        let path = format!("{cgroup}/init.scope/cgroup.procs");
        let source = self.source(&path)?;
        let pid = source.lines().find_map(|(_, line)| line.trim().parse().ok());
        self.process_limits(pid.ok_or(Unread::Absent { path })?)
    }

    /// The resource limits of a process.
    ///
    /// # Errors
    /// When they cannot be read (anyone may, unless `/proc` is mounted with `hidepid=`), or nothing runs.
    pub fn process_limits(&self, pid: u32) -> Fact<Rc<ProcessLimits>> {
        self.limits_of(&pid.to_string())
    }

    /// The resource limits of edgeprep itself, inherited from the session that started it.
    ///
    /// # Errors
    /// As [`Facts::process_limits`].
    pub fn own_limits(&self) -> Fact<Rc<ProcessLimits>> {
        self.limits_of("self")
    }

    fn limits_of(&self, process: &str) -> Fact<Rc<ProcessLimits>> {
        self.memo_fact(process, || {
            self.need_running("the limits of a process")?;
            Ok(ProcessLimits::parse(&*self.source(&format!("/proc/{process}/limits"))?))
        })
    }

    /// What `pam_limits` is configured to set: limits.conf, then limits.d in the order of names.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn login_limits(&self) -> Fact<Rc<LoginLimits>> {
        self.memo_fact("", || {
            let mut paths = vec![LIMITS_CONF.to_owned()];
            for entry in self.list(LIMITS_DIR).or_absent()?.iter().flat_map(|entries| entries.iter()) {
                if entry.name.ends_with(".conf") && !entry.is_dir {
                    paths.push(format!("{LIMITS_DIR}/{}", entry.name));
                }
            }
            let mut limits = LoginLimits::default();
            for path in paths {
                match self.source(&path).or_absent() {
                    Ok(Some(source)) => limits.read(&source),
                    Ok(None) => {}
                    Err(why) => limits.unread.push(why),
                }
            }
            Ok(limits)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;

    /// Debian 12, shortened.
    const PROCESS: &str = "\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max open files            1024                 524288               files     
Max nice priority         0                    0                    
";

    #[test]
    fn limits_of_a_process() {
        let facts = empty_host().file("/proc/self/limits", PROCESS).facts();
        let limits = facts.own_limits().unwrap();
        let files = limits.get("Max open files").unwrap();
        assert_eq!((files.soft, files.hard, files.at.line), (Some(1024), Some(524_288), Some(3)));
        assert_eq!(limits.get("Max cpu time").map(|l| (l.soft, l.hard)), Some((None, None)));
        assert_eq!(limits.get("Max nice priority").map(|l| l.soft), Some(Some(0)));
        assert!(facts.process_limits(7).unwrap_err().is_absent());
    }

    #[test]
    fn limits_of_a_user_manager() {
        let scope = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/init.scope/cgroup.procs";
        let host = || empty_host().file("/proc/812/limits", PROCESS);
        let facts = host().file(scope, "812\n813\n").facts();
        let limits = facts.user_manager_limits(1000).unwrap();
        assert_eq!(limits.get("Max open files").map(|files| files.hard), Some(Some(524_288)));
        assert!(host().facts().user_manager_limits(1000).unwrap_err().is_absent());
        assert!(host().file(scope, "").facts().user_manager_limits(1000).unwrap_err().is_absent());
    }

    #[test]
    fn limits_in_units() {
        for (values, hard) in [
            (&["4096"][..], Some(Some(4096))),
            (&["1024:65536"], Some(Some(65536))),
            (&["infinity"], Some(None)),
            (&["1024:infinity"], Some(None)),
            (&["4096", "8192"], Some(Some(8192))),
            (&["4096", "many", ""], Some(Some(4096))),
            (&[""], None),
            (&[], None),
        ] {
            let source = Source::new("/x", "");
            let values: Vec<Sourced<String>> =
                values.iter().map(|value| source.whole((*value).to_owned())).collect();
            assert_eq!(hard_limit(values.iter()).map(|limit| limit.value), hard, "{values:?}");
        }
    }

    #[test]
    fn limits_at_log_in() {
        let facts = empty_host()
            .file(LIMITS_CONF, "# all\n*  soft nofile 1024\n@edge - nofile 4096 # both\nbroken line\n")
            .file("/etc/security/limits.d/50-x.conf", "edge hard nofile 9999\n*  hard  nofile 1\n")
            .file("/etc/security/limits.d/README", "edge hard nofile 0\n")
            .image()
            .facts();
        let limits = facts.login_limits().unwrap();
        let value = |user, groups: &[&str], kind| {
            limits.for_user(user, groups, "nofile", kind).map(|line| line.value.value.as_str())
        };
        assert_eq!(value("edge", &["edge"], LimitKind::Hard), Some("9999"));
        assert_eq!(value("edge", &["edge"], LimitKind::Soft), Some("4096"));
        assert_eq!(value("other", &[], LimitKind::Hard), Some("1"));
        assert_eq!(value("root", &[], LimitKind::Hard), None);
        assert_eq!(limits.unread, []);
    }

    #[test]
    fn a_denied_file_is_told() {
        let facts = empty_host().error(LIMITS_CONF, "denied").facts();
        let limits = facts.login_limits().unwrap();
        assert_eq!(limits.unread, [Unread::Denied { path: LIMITS_CONF.to_owned() }]);
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)([a-z*@#-]{0,5}|[0-9]{1,22}| {1,3}|\\n){0,30}|.{0,60}") {
            let source = Source::new("/x", text);
            let _ = ProcessLimits::parse(&source);
            LoginLimits::default().read(&source);
        }
    }
}
