//! Whether the paths of a workload are there for it: see [`WORKLOAD_PATHS`].

use std::path::Path;

use crate::checks::check;
use crate::facts::subid::SubidFile;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Level, Outcome, Remedy, Verdict};
use crate::host::{Fact, Kind, Stat, Unread};
use crate::requirements::{Demand, Requirements};
use crate::settings::{as_user, quoted};
use crate::workload::{By, PathKind, What};

check! {
    /// Host paths and devices of the workload are there, and open to it
    ///
    /// ## What is looked at
    ///
    /// Each path of the host that the files of `--workload` mount, and each device: whether it is there
    /// and of the type that is written, whether the user gets through all directories above it, and
    /// whether the one who uses it may read it, and write to it where it is not mounted read-only.
    ///
    /// That one is the user, where the container runs as root; with `runAsUser` it is one of the user's
    /// subordinate IDs, so that a file of the user is a file of somebody else to it. GID 0 of a container
    /// is the group of the user, any other of `runAsGroup` a subordinate ID. Where the image decides, or a
    /// user namespace that is not the plain one, such as that of `hostUsers: false`, what depends on it is
    /// unknown, and advised. What Podman gives to the container itself (`:U`) has to belong to the user or
    /// to a subordinate ID. Root of a container can do all with files of the user and of the subordinate
    /// IDs, unless CAP_DAC_OVERRIDE is dropped: then it may what modes let the user do, as may the user
    /// with `keep-id`. Other groups of the user do not count: a container loses them, unless crun is told
    /// to keep them.
    ///
    /// Only mode bits are looked at, not access control lists and labels of SELinux. What lies on a
    /// network or FUSE file system is not touched. In an image, what is below `/dev`, `/proc`, `/run`,
    /// `/sys` and `/tmp` is not looked at.
    ///
    /// ## Why it matters
    ///
    /// `podman kube play` stops where a path is not there, unless it is to make it and the user can. It
    /// does not look at the type, nor at who may read it: that shows as a container that ends with
    /// "permission denied".
    ///
    /// ## Repair
    ///
    /// The path is made, and given to who uses it: `podman unshare chown UID PATH`, as the user, gives
    /// what belongs to the user or a subordinate ID to an ID of a container. Where SELinux enforces, what
    /// is not below the home of the user may need the label `container_file_t`, too
    /// (`chcon -R -t container_file_t PATH`).
    ///
    /// ## Sources
    ///
    /// - kubernetes.io, "Volumes", "hostPath"
    /// - podman: pkg/specgen/generate/kube/volume.go, `VolumeFromHostPath`
    /// - podman: pkg/domain/infra/abi/play.go, `HostUsers`; pkg/specgen/generate/kube/kube.go,
    ///   `setupSecurityContext`
    /// - podman-kube-play(1), on types of hostPath and labels; podman-run(1), "--group-add"
    /// - capabilities(7), "Interaction with user namespaces"; user_namespaces(7)
    WORKLOAD_PATHS, "workload-paths", Required, User(run)
}

/// What is made when a machine starts.
const MADE_AT_BOOT: [&str; 6] = ["/dev", "/proc", "/run", "/sys", "/tmp", "/var/run"];
/// What Podman does not give away.
const NEVER_GIVEN: [&str; 24] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/passwd",
    "/etc/pki",
    "/etc/shadow",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
    "/var/log",
];
const READ: u32 = 4;
const WRITE: u32 = 2;
const ENTER: u32 = 1;

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let Some(asks) = &req.workload else { return Outcome::skip("no workload is named") };
    let mut outcome = Outcome::default();
    for ask in asks {
        let wanted = match &ask.what {
            What::HostPath { path, kind, writable, by } => {
                // Where it is another UID, what it is on the host is left open.
                let by = match *by {
                    By::Kept(uid) if uid == user.uid => By::Bound,
                    By::Kept(_) => By::Image,
                    by => by,
                };
                Wanted { path, kind: Some(*kind), writable: *writable, by, optional: false }
            }
            What::Device { path, optional } => {
                Wanted { path, kind: None, writable: true, by: By::User, optional: *optional }
            }
            _ => continue,
        };
        let below = |dir: &&str| {
            wanted.path.strip_prefix(*dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if !facts.running() && MADE_AT_BOOT.iter().any(below) {
            continue;
        }
        let demand = ask.demand(format!("{} mounts it", ask.of));
        match (Look { facts, user, wanted: &wanted }).judge(&demand, &mut outcome) {
            Ok(()) => {}
            Err(why) => outcome.unknown(&demand, wanted.path, why),
        }
    }
    outcome.or_skip("the workload asks for no path of the host")
}

/// A path, and what it is to be.
struct Wanted<'a> {
    path: &'a str,
    /// `None` for a device of either type.
    kind: Option<PathKind>,
    writable: bool,
    by: By,
    optional: bool,
}

impl Wanted<'_> {
    fn is(&self) -> &'static str {
        match self.kind {
            None => "a device",
            Some(PathKind::Any) => "a file or directory",
            Some(PathKind::Directory | PathKind::DirectoryOrCreate) => "a directory",
            Some(PathKind::File | PathKind::FileOrCreate) => "a file",
            Some(PathKind::Socket) => "a socket",
            Some(PathKind::CharDevice) => "a character device",
            Some(PathKind::BlockDevice) => "a block device",
        }
    }

    fn fits(&self, kind: Kind) -> bool {
        match self.kind {
            None => matches!(kind, Kind::Char(..) | Kind::Block),
            Some(PathKind::Any) => true,
            Some(PathKind::Directory | PathKind::DirectoryOrCreate) => kind == Kind::Dir,
            Some(PathKind::File | PathKind::FileOrCreate) => kind == Kind::File,
            Some(PathKind::Socket) => kind == Kind::Socket,
            Some(PathKind::CharDevice) => matches!(kind, Kind::Char(..)),
            Some(PathKind::BlockDevice) => kind == Kind::Block,
        }
    }

    /// Whether Podman mounts what is there without a look at its type (podman: `VolumeFromHostPath`).
    fn is_taken_as_it_is(&self) -> bool {
        matches!(self.kind, Some(PathKind::Directory | PathKind::File | PathKind::FileOrCreate))
    }
}

struct Look<'a> {
    facts: &'a Facts,
    user: &'a User,
    wanted: &'a Wanted<'a>,
}

impl Look<'_> {
    fn judge(&self, demand: &Demand, outcome: &mut Outcome) -> Fact<()> {
        let Wanted { path, .. } = *self.wanted;
        let place = match self.facts.storage_place(path) {
            Ok(place) => place,
            // Where the user looks, what is closed to the user cannot be looked into.
            Err(why) => match self.closed(path) {
                Ok(Some((dir, stat))) => {
                    outcome.add(demand, self.below(&dir, &stat));
                    return Ok(());
                }
                _ => return Err(why),
            },
        };
        let Some((existing, stat)) = &place.existing else {
            let fs_type = place.mount.as_ref().map_or("a remote file system", |mount| &mount.fs_type);
            outcome.unknown(demand, path, format!("it lies on {fs_type}, which is not touched"));
            return Ok(());
        };
        if let Some((dir, closed)) = self.closed(existing)? {
            outcome.add(demand, self.below(&dir, &closed));
            return Ok(());
        }
        let there = *existing == place.path || place.path.is_empty();
        if !there {
            if !self.wanted.optional {
                outcome.add(demand, self.missing(&place.path, existing, stat));
            }
            return Ok(());
        }
        let expected = self.wanted.is();
        if self.wanted.fits(stat.kind) {
            return self.access(existing, stat, demand, outcome);
        }
        let finding = Finding::new(path, expected, kind_of(stat.kind), Verdict::Unmet);
        let remedy = Remedy::manual(format!("make it {expected}, or change {}", place_of(demand)));
        let finding = finding.at([seen(existing, stat)]).repair(remedy);
        let (podman, clusters) = demand.by_podman();
        if let Some(clusters) = clusters {
            outcome.add(&clusters, finding.clone());
        }
        match podman {
            Some(podman) if self.wanted.is_taken_as_it_is() => {
                outcome.add(&podman.advised("Podman mounts it all the same"), finding);
                self.access(existing, stat, &podman, outcome)?;
            }
            Some(podman) => outcome.add(&podman, finding),
            None => {}
        }
        Ok(())
    }

    fn below(&self, dir: &str, stat: &Stat) -> Finding {
        let user = &self.user.name;
        let found = format!("below {dir}, which {user} may not enter");
        let remedy = Remedy::manual(format!("let {user} through {dir}, or take another path"));
        Finding::new(self.wanted.path, format!("open to {user}"), found, Verdict::Unmet)
            .at([seen(dir, stat)])
            .repair(remedy)
    }

    /// The first directory above it that the user does not get through. Podman mounts it while it still has
    /// all groups of the user.
    fn closed(&self, path: &str) -> Fact<Option<(String, Stat)>> {
        for (at, _) in path.match_indices('/').skip(1) {
            let dir = &path[..at];
            let stat = self.facts.stat(dir)?;
            if !stat.allows(self.user.uid, &self.user.groups, ENTER) {
                return Ok(Some((dir.to_owned(), stat)));
            }
        }
        Ok(None)
    }

    fn missing(&self, real: &str, existing: &str, stat: &Stat) -> Finding {
        let (path, user) = (self.wanted.path, &self.user.name);
        let at = [Evidence::path(path, "does not exist"), seen(existing, stat)];
        let may_make = stat.kind == Kind::Dir && stat.allows(self.user.uid, &self.user.groups, WRITE | ENTER);
        let made = match self.wanted.kind {
            Some(PathKind::DirectoryOrCreate) => Some(may_make),
            // The directories above it are not made.
            Some(PathKind::FileOrCreate) => {
                let dir = real.rsplit_once('/').map_or(real, |(dir, _)| dir);
                Some(may_make && existing == if dir.is_empty() { "/" } else { dir })
            }
            _ => None,
        };
        let expected = self.wanted.is();
        if made == Some(true) {
            return Finding::new(path, expected, format!("not there, and made by {user}"), Verdict::Met)
                .at(at);
        }
        let found = match made {
            None => "not there".to_owned(),
            Some(_) => format!("not there, and {user} cannot make it in {existing}"),
        };
        let is_dir = matches!(
            self.wanted.kind,
            Some(PathKind::Any | PathKind::Directory | PathKind::DirectoryOrCreate)
        );
        let mut remedy = Remedy::manual(match self.wanted.kind {
            _ if is_dir => "make it, for the user",
            None | Some(PathKind::CharDevice | PathKind::BlockDevice) => {
                "plug it in, or load the module that makes it"
            }
            Some(PathKind::Socket) => "start what listens there",
            _ => "make it",
        });
        if is_dir && self.facts.running() {
            remedy = remedy.command(format!("sudo install -d -o {} {}", quoted(user), quoted(path)));
        }
        Finding::new(path, expected, found, Verdict::Unmet).at(at).repair(remedy)
    }

    fn access(&self, real: &str, stat: &Stat, demand: &Demand, outcome: &mut Outcome) -> Fact<()> {
        let (read, write) = match stat.kind {
            Kind::Dir => (READ | ENTER, READ | WRITE | ENTER),
            Kind::File => (READ, READ | WRITE),
            Kind::Socket => (WRITE, WRITE),
            // It is for them that a device is passed on.
            _ => (READ | WRITE, READ | WRITE),
        };
        if self.wanted.by == By::Given {
            self.given(real, stat, demand, outcome);
            return Ok(());
        }
        let all = if self.wanted.writable { write } else { read };
        let who = match self.wanted.by {
            By::Subordinate { uid, .. } => format!("UID {uid} of the container"),
            _ => self.user.name.clone(),
        };
        let can = |bits: u32| if bits & WRITE == 0 { "read" } else { "read and write" };
        let at = [seen(real, stat)];
        let undecided = |outcome: &mut Outcome| {
            let why = format!(
                "the image or a user namespace decides the UID or the group, and not all may {}: mode {:04o}, \
                 UID {}, GID {}",
                can(all),
                stat.mode,
                stat.uid,
                stat.gid
            );
            outcome.unknown(&Demand { level: Level::Advised, ..demand.clone() }, self.wanted.path, why);
        };
        let Some(allowed) = self.allows(stat, all)? else {
            undecided(outcome);
            return Ok(());
        };
        if allowed {
            let is = format!("{} that {who} can {}", self.wanted.is(), can(all));
            outcome.add(
                demand,
                Finding::new(self.wanted.path, is, format!("open to {who}"), Verdict::Met).at(at),
            );
            return Ok(());
        }
        // Many workloads do not write to what they could have mounted read-only.
        let Some(may_read) = self.allows(stat, read)? else {
            undecided(outcome);
            return Ok(());
        };
        let (demand, bits) = if all != read && may_read {
            (&Demand { level: Level::Advised, ..demand.clone() }, all)
        } else {
            (demand, read)
        };
        let by_group = stat.allows(self.user.uid, &self.user.groups, bits);
        let (found, remedy) = if by_group && !matches!(self.wanted.by, By::Subordinate { .. }) {
            (
                format!("open to {who} by a group alone, which containers lose"),
                "give others or the user access, or have crun keep the groups with the annotation \
                 run.oci.keep_original_groups: \"1\""
                    .to_owned(),
            )
        } else {
            (format!("not open to {who}"), format!("let {who}{} {} it", self.on_the_host()?, can(bits)))
        };
        let expected = format!("{} that {who} can {}", self.wanted.is(), can(bits));
        let finding = Finding::new(self.wanted.path, expected, found, Verdict::Unmet).at(at);
        outcome.add(demand, finding.repair(self.grant(real, stat, remedy)));
        Ok(())
    }

    /// What Podman gives to who uses it, with all below: what is mapped, but no home and nothing that a
    /// system stands on (container-libs: `common/pkg/chown/chown.go`, `DangerousHostPath`).
    fn given(&self, real: &str, stat: &Stat, demand: &Demand, outcome: &mut Outcome) {
        let expected = format!("{} that Podman can give to the container", self.wanted.is());
        let mapped = self.is_mapped(stat);
        let kept = NEVER_GIVEN.contains(&real) || real == self.user.home.trim_end_matches('/');
        let found = match (mapped, kept) {
            (true, false) => "given to the container when it is made",
            (_, true) => "a path whose owner Podman does not change",
            (false, false) => "of an owner or a group that is none of the user's",
        };
        let verdict = Verdict::met_if(mapped && !kept);
        let finding = Finding::new(self.wanted.path, expected, found, verdict).at([seen(real, stat)]);
        let remedy = match kept {
            true => format!("take another path in {}, or take out U", place_of(demand)),
            false => format!("give it to {}, or take out U in {}", self.user.name, place_of(demand)),
        };
        outcome.add(demand, finding.repair(Remedy::manual(remedy)));
    }

    /// The UID that a subordinate ID has on the host, in brackets.
    fn on_the_host(&self) -> Fact<String> {
        match self.wanted.by {
            By::Subordinate { uid, .. } => Ok(format!(" (UID {} of the host)", self.uid_outside(uid)?)),
            _ => Ok(String::new()),
        }
    }

    /// In the namespace of the user only what is mapped can be given away (user_namespaces(7)), and a home
    /// never is.
    fn grant(&self, real: &str, stat: &Stat, summary: String) -> Remedy {
        let remedy = Remedy::manual(summary);
        let By::Subordinate { uid, .. } = self.wanted.by else { return remedy };
        let home = Path::new(&self.user.home);
        let holds_home = [real, self.wanted.path].iter().any(|path| home.starts_with(path));
        if !self.facts.running() || holds_home || !self.is_mapped(stat) {
            return remedy;
        }
        let chown = format!("podman unshare chown {uid} {}", quoted(self.wanted.path));
        remedy.command(as_user(&self.user.name, &chown))
    }

    /// Whether who uses it has these bits, without the groups that containers lose; `None` where the image
    /// decides.
    fn allows(&self, stat: &Stat, bits: u32) -> Fact<Option<bool>> {
        match self.wanted.by {
            By::User => Ok(Some(self.allows_user(stat, bits))),
            By::Bound => Ok(Some(stat.allows(self.user.uid, &[self.user.gid], bits))),
            By::Subordinate { uid, gid: Some(gid) } => {
                Ok(Some(stat.allows(self.uid_outside(uid)?, &[self.gid_outside(gid)?], bits)))
            }
            By::Subordinate { uid, gid: None } => {
                let uid = self.uid_outside(uid)?;
                let others = stat.allows(uid, &[], bits);
                let in_group = self.is_mapped_gid(stat.gid) && stat.allows(uid, &[stat.gid], bits) != others;
                Ok((!in_group).then_some(others))
            }
            By::Image | By::Kept(_) | By::Given => {
                let others = stat.mode & bits == bits;
                let others_in_group = self.is_mapped_gid(stat.gid) && (stat.mode >> 3) & bits == bits;
                let all = [self.allows_user(stat, bits), others_in_group || others];
                Ok((all == [others, others]).then_some(others))
            }
        }
    }

    /// CAP_DAC_OVERRIDE of root of the container holds for what is mapped.
    fn allows_user(&self, stat: &Stat, bits: u32) -> bool {
        stat.uid == self.user.uid
            || stat.allows(self.user.uid, &[self.user.gid], bits)
            || self.is_mapped(stat)
    }

    fn is_mapped(&self, stat: &Stat) -> bool {
        let of_user = || self.facts.subuid().is_ok_and(|uids| within(&uids, self.user, stat.uid));
        (stat.uid == self.user.uid || of_user()) && self.is_mapped_gid(stat.gid)
    }

    fn is_mapped_gid(&self, gid: u32) -> bool {
        gid == self.user.gid || self.facts.subgid().is_ok_and(|gids| within(&gids, self.user, gid))
    }

    fn uid_outside(&self, uid: u32) -> Fact<u32> {
        outside(&*self.facts.subuid()?, self.user, uid).ok_or_else(|| no_id("/etc/subuid", "UID", uid))
    }

    fn gid_outside(&self, gid: u32) -> Fact<u32> {
        if gid == 0 {
            return Ok(self.user.gid);
        }
        outside(&*self.facts.subgid()?, self.user, gid).ok_or_else(|| no_id("/etc/subgid", "GID", gid))
    }
}

fn within(file: &SubidFile, user: &User, id: u32) -> bool {
    let holds = |start, end| (u64::from(start)..end).contains(&u64::from(id));
    file.ranges_of(user).iter().any(|range| holds(range.value.start, range.value.end()))
}

/// The ID on the host of one of a container: 1 is the first subordinate ID (user_namespaces(7)).
fn outside(file: &SubidFile, user: &User, id: u32) -> Option<u32> {
    let mut left = id.saturating_sub(1);
    for range in file.ranges_of(user) {
        if left < range.value.count {
            return Some(range.value.start + left);
        }
        left -= range.value.count;
    }
    None
}

fn no_id(path: &str, what: &str, id: u32) -> Unread {
    let expected = format!("expected a subordinate ID for {what} {id} of a container");
    Unread::Malformed { path: path.to_owned(), line: None, expected }
}

fn kind_of(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "a file",
        Kind::Dir => "a directory",
        Kind::Link => "a link",
        Kind::Char(..) => "a character device",
        Kind::Block => "a block device",
        Kind::Fifo => "a FIFO",
        Kind::Socket => "a socket",
    }
}

fn seen(path: &str, stat: &Stat) -> Evidence {
    Evidence::path(path, format!("mode {:04o}, UID {}, GID {}", stat.mode, stat.uid, stat.gid))
}

fn place_of(demand: &Demand) -> String {
    demand.origin.to_string()
}

#[cfg(test)]
#[path = "workload_paths_tests.rs"]
mod tests;
