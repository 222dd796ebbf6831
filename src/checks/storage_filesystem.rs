//! Whether containers can be stored where they are: see [`STORAGE_FILESYSTEM`].

use crate::checks::check;
use crate::facts::k3s_snapshotter::OVERLAYFS;
use crate::facts::mountinfo::Mount;
use crate::facts::storage_conf::StorageConf;
use crate::facts::storage_place::{ORDINARY, StoragePlace, is_remote};
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Level, Outcome, Remedy, Verdict};
use crate::host::{Fact, Kind};
use crate::requirements::{Demand, Need, Requirements};

check! {
    /// File system of the storage can hold containers
    ///
    /// ## What is looked at
    ///
    /// The mount that `~/.local/share/containers/storage` lies on, or what storage.conf names, and for K3s
    /// `~/.rancher/k3s` or its `data-dir`: its type, whether it is mounted read-only or
    /// `noexec`, and whether the user can write there. In an image, fstab tells; where it does not, the
    /// check does not apply.
    ///
    /// - FAT, exFAT and NTFS have no Unix owners, so no layer of an image can be unpacked.
    /// - On a network file system the server decides about owners. Podman with fuse-overlayfs keeps
    ///   them in extended attributes, if the server has those: unknown.
    /// - Podman does not stack overlay on overlay (a live system, a container) unless storage.conf has
    ///   a `mount_program`, nor does K3s with the snapshotter overlayfs, which it takes where its unit
    ///   asks for no other. Where it has no unit yet, `fix` writes one that does.
    /// - On tmpfs all images are gone at the next boot: volatile.
    /// - `noexec` stops K3s, which runs programs from there, and Podman's vfs driver, which Podman
    ///   before 4.6 takes where none is configured. Overlay mounts do not inherit it; volumes do.
    ///   `nosuid` and `nodev` stop nothing but set-user-ID programs with the vfs driver.
    ///
    /// Seen on booted machines: on a home mounted `noexec`, Podman 5.4 of Debian 13 runs containers, and
    /// 4.3 of Debian 12, which keeps them with vfs, does not ("open executable: Permission denied").
    ///
    /// Whether a file system has d_type (XFS made with `ftype=0` has not) cannot be told from files;
    /// edgeprep does not write to find out.
    ///
    /// ## Why it matters
    ///
    /// Pulling an image fails with "operation not permitted" on chown, or "backing file system is
    /// unsupported for this graph driver".
    ///
    /// ## Repair
    ///
    /// Put the storage on a local file system: `graphroot` in `~/.config/containers/storage.conf`,
    /// `--data-dir` for K3s.
    ///
    /// ## Sources
    ///
    /// - containers-storage.conf(5); containers/storage: drivers/overlay/overlay.go, `Init`
    /// - k3s: pkg/datadir/datadir.go; pkg/agent/config/config.go, "snapshotter cannot be enabled"
    /// - podman: rootless.md, "Shortcomings of Rootless Podman"
    /// - Linux: Documentation/filesystems/overlayfs.rst, "Upper and Lower"
    STORAGE_FILESYSTEM, "storage-filesystem", Required, User(run)
}

/// Those without Unix owners, or that cannot be written at all.
const BAD: [&str; 13] = [
    "cramfs",
    "erofs",
    "exfat",
    "fuse.ntfs-3g",
    "fuseblk",
    "hfs",
    "iso9660",
    "msdos",
    "ntfs",
    "ntfs3",
    "romfs",
    "squashfs",
    "vfat",
];
/// Those in user space whose server is elsewhere.
const BAD_FUSE: [&str; 6] =
    ["fuse.curlftpfs", "fuse.davfs", "fuse.gvfsd-fuse", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"];

/// A place where a stack keeps its data.
pub(super) enum Place {
    /// Podman's, for Podman and all that runs on it.
    Podman,
    /// That of K3s.
    K3s,
}

/// The places that the stacks of a demand use, each with the demand of those stacks.
pub(super) fn places(demand: &Demand) -> Vec<(Place, Demand)> {
    let (k3s, podman) = demand.by_k3s();
    let podman = podman.map(|demand| (Place::Podman, demand));
    podman.into_iter().chain(k3s.map(|demand| (Place::K3s, demand))).collect()
}

impl Place {
    /// The path as it is configured.
    pub(super) fn path(&self, facts: &Facts, user: &User) -> Fact<String> {
        Ok(match self {
            Place::Podman => facts.storage_conf(user)?.graphroot.clone(),
            Place::K3s => facts.k3s_options(user)?.data_dir(user),
        })
    }

    /// What says where it is.
    pub(super) fn told_by(&self, facts: &Facts, user: &User) -> Fact<Option<Evidence>> {
        Ok(match self {
            Place::Podman => facts.storage_conf(user)?.graphroot_key.clone().map(|key| key.at),
            Place::K3s => facts.k3s_options(user)?.at("data-dir"),
        })
    }

    /// What stands for a place that is not known.
    pub(super) fn unknown(&self) -> String {
        match self {
            Place::Podman => "storage.conf".to_owned(),
            Place::K3s => "data-dir of K3s".to_owned(),
        }
    }
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let mut outcome = Outcome::default();
    for demand in req.need(Need::StorageFilesystem) {
        for (place, demand) in places(demand) {
            if let Err((subject, why)) = look(facts, &place, user, &demand, &mut outcome) {
                outcome.unknown(&demand, subject, why);
            }
        }
    }
    if outcome.items.is_empty() && !req.need(Need::StorageFilesystem).is_empty() {
        return Outcome::skip("nothing in /etc/fstab says which file system it will be");
    }
    outcome.or_not_asked()
}

/// What a mount means for containers on it.
enum Judgement {
    Holds,
    /// All but this.
    HoldsBut(&'static str),
    /// Until the next boot.
    Forgets,
    Fails(&'static str),
    Unsure(&'static str),
}

fn look(
    facts: &Facts,
    at: &Place,
    user: &User,
    demand: &Demand,
    outcome: &mut Outcome,
) -> Result<(), (String, String)> {
    let path = at.path(facts, user).map_err(|why| (at.unknown(), why.to_string()))?;
    let told = |why: &dyn std::fmt::Display| (path.clone(), why.to_string());
    if !path.starts_with('/') || path.contains('$') {
        return Err(told(&"the path has a variable whose value is not known"));
    }
    let place = facts.storage_place(&path).map_err(|why| told(&why))?;
    let Some(mount) = place.mount.as_ref().filter(|mount| facts.running() || mount.fs_type != "auto") else {
        return match facts.running() {
            true => Err(told(&"no mount holds it")),
            false => Ok(()),
        };
    };
    let conf = match at {
        Place::Podman => Some(facts.storage_conf(user).map_err(|why| told(&why))?),
        Place::K3s => None,
    };
    let told_by = at.told_by(facts, user).map_err(|why| told(&why))?;
    let judgement = match unwritable(facts, &place, user) {
        Some(_) => Judgement::Fails("cannot be written by the user"),
        None => judge(facts, mount, conf.as_deref(), user).map_err(|why| told(&why))?,
    };
    let described = format!("{} on {}", mount.fs_type, mount.point);
    let finding = |found: String, verdict| {
        let evidence = [Some(mount.at.clone()), told_by.clone()];
        let finding = Finding::new(&path, "a local file system that holds containers", found, verdict);
        finding
            .at(unwritable(facts, &place, user))
            .at(evidence.into_iter().flatten())
            .repair(elsewhere(at, user))
    };
    match judgement {
        Judgement::Holds => outcome.add(demand, finding(described, Verdict::Met)),
        Judgement::HoldsBut(lack) => {
            outcome.add(demand, finding(described.clone(), Verdict::Met));
            let advised = Demand { level: Level::Advised, ..demand.clone() };
            outcome.add(&advised, finding(format!("{described}, {lack}"), Verdict::Unmet));
        }
        Judgement::Forgets => {
            outcome.add(demand, finding(format!("{described}, gone at the next boot"), Verdict::Volatile));
        }
        Judgement::Fails(why) => outcome.add(demand, finding(format!("{described}, {why}"), Verdict::Unmet)),
        Judgement::Unsure(why) => return Err(told(&format!("{described}: {why}"))),
    }
    Ok(())
}

/// What shows that the user cannot write where the storage is or will be.
fn unwritable(facts: &Facts, place: &StoragePlace, user: &User) -> Option<Evidence> {
    // Homes of an image may be made at boot.
    let (path, stat) = place.existing.as_ref().filter(|_| facts.running())?;
    let writable = stat.kind == Kind::Dir && stat.allows(user.uid, &user.groups, 0o3);
    (!writable)
        .then(|| Evidence::path(path, format!("mode {:04o}, owner {}:{}", stat.mode, stat.uid, stat.gid)))
}

/// `podman` is the configuration for Podman; `None` for K3s.
fn judge(facts: &Facts, mount: &Mount, podman: Option<&StorageConf>, user: &User) -> Fact<Judgement> {
    use Judgement::{Fails, Forgets, Holds, HoldsBut, Unsure};
    let vfs = || podman.map_or(Ok(false), |conf| facts.storage_is_vfs(conf, user));
    let stacks = podman.is_none() && facts.k3s_snapshotter(user)?.name == OVERLAYFS;
    let mounts_itself = podman.is_some_and(|conf| conf.mount_program.is_some());
    if mount.read_only() {
        return Ok(Fails("mounted read-only"));
    }
    let by_type = match mount.fs_type.as_str() {
        "tmpfs" => Forgets,
        "autofs" => Unsure("what is mounted there on first use is not known"),
        "aufs" | "ecryptfs" | "overlay" if podman.is_some() && !mounts_itself && !vfs()? => {
            Fails("Podman wants a mount_program in storage.conf for it")
        }
        "aufs" | "ecryptfs" | "overlay" if stacks => {
            Fails("on which K3s cannot mount overlay: it wants --snapshotter=fuse-overlayfs or native")
        }
        "overlay" => Holds,
        "zfs" if stacks => Unsure("OpenZFS before 2.2 does not take overlay"),
        "zfs" if podman.is_none() || fuse_overlayfs(facts, mounts_itself)? || vfs()? => Holds,
        "zfs" => Unsure("OpenZFS before 2.2 does not take overlay, and there is no fuse-overlayfs"),
        name if ORDINARY.contains(&name) => Holds,
        name if BAD.contains(&name) => Fails("which has no Unix owners or cannot be written"),
        name if BAD_FUSE.contains(&name) => Fails("a network file system"),
        name if is_remote(name) => {
            if podman.is_some() && fuse_overlayfs(facts, mounts_itself)? && !vfs()? {
                Unsure("with fuse-overlayfs it works if the server keeps user extended attributes")
            } else {
                Fails("a network file system")
            }
        }
        name if name.starts_with("fuse") => Unsure("its program decides about owners and attributes"),
        _ => Unsure("not known to hold containers, nor not to"),
    };
    Ok(match by_type {
        Holds | Forgets if mount.noexec() && (podman.is_none() || vfs()?) => Fails("mounted noexec"),
        Holds if mount.noexec() => HoldsBut("mounted noexec: no program can be run from a volume"),
        Holds if mount.nosuid() && vfs()? => HoldsBut("mounted nosuid: sudo and the like fail in containers"),
        other => other,
    })
}

fn fuse_overlayfs(facts: &Facts, configured: bool) -> Fact<bool> {
    Ok(configured || facts.program("fuse-overlayfs")?.is_some())
}

fn elsewhere(at: &Place, user: &User) -> Remedy {
    match at {
        Place::Podman => Remedy::manual(format!(
            "put the storage on a local file system that {} can write: graphroot in \
             {}/.config/containers/storage.conf",
            user.name, user.home
        )),
        Place::K3s => Remedy::manual(format!(
            "put the data on a local file system that {} can write: --data-dir",
            user.name
        )),
    }
}

#[cfg(test)]
#[path = "storage_filesystem_tests.rs"]
mod tests;
