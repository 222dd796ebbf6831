//! Whether Podman keeps images with the overlay driver: see [`STORAGE_DRIVER`].

use crate::checks::{check, of_podman};
use crate::facts::podman::Podman;
use crate::facts::storage_conf::StorageConf;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent, Unread};
use crate::requirements::{Need, Requirements};

const KEY: &str = "driver";

check! {
    /// Podman keeps images with the overlay driver, not as copies
    ///
    /// ## What is looked at
    ///
    /// `driver` in `[storage]` of storage.conf, and which driver the storage was made with: the
    /// directories `overlay-images` and `vfs-images` in it. Where there are images of one, Podman goes
    /// on with it whatever is configured. Where there are none and nothing is configured, Podman before
    /// 4.6 takes vfs, a later one overlay.
    ///
    /// Where there are images of both, Podman's database decides, which is not read: unknown. On file
    /// systems that overlay is not known to work on, vfs is taken to be meant.
    ///
    /// ## Why it matters
    ///
    /// vfs keeps each layer as a full copy of all layers below it, and each container as one more. An
    /// image of ten layers takes several times its size, and as long to unpack: disks of small machines
    /// fill up, and memory cards wear out. A storage that was made before overlay could be had stays
    /// with vfs; Podman says "User-selected graph driver "overlay" overwritten by graph driver "vfs"
    /// from database".
    ///
    /// ## Repair
    ///
    /// `driver = "overlay"` in `~/.config/containers/storage.conf`. A storage that exists has to be
    /// made anew: `podman system reset` removes all containers, images and volumes of the user. Before
    /// Linux 5.13 overlay needs fuse-overlayfs.
    ///
    /// ## Sources
    ///
    /// - containers-storage.conf(5), "driver"; containers/storage: types/options.go
    /// - podman: libpod/runtime.go, `mergeDBConfig`; podman-system-reset(1)
    STORAGE_DRIVER, "storage-driver", Advised, User(run)
}

/// File systems on which the kernel's overlay works for users.
const TAKES_OVERLAY: [&str; 7] = ["bcachefs", "btrfs", "ext4", "f2fs", "tmpfs", "ubifs", "xfs"];

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::StorageDriver);
    of_podman(facts, user, demands, |podman, outcome| {
        let conf = facts.storage_conf(user)?;
        outcome.add_all(demands, &look(facts, user, podman, &conf)?);
        Ok(())
    })
}

fn look(facts: &Facts, user: &User, podman: &Podman, conf: &StorageConf) -> Fact<Finding> {
    let unknown = |expected: String| Unread::Malformed { path: conf.graphroot.clone(), line: None, expected };
    if !conf.graphroot.starts_with('/') || conf.graphroot.contains('$') {
        return Err(unknown("the path has a variable whose value is not known".to_owned()));
    }
    let images = |driver: &str| {
        let path = format!("{}/{driver}-images", conf.graphroot.trim_end_matches('/'));
        let found = facts.stat(&path).or_absent()?;
        Ok(found.map(|_| Evidence::path(&path, "exists")))
    };
    let configured = conf.driver.as_ref().map(|driver| driver.at.clone());
    let (overlay, vfs) = (images("overlay")?, images("vfs")?);
    let finding = |found: &str, verdict, at: Evidence| {
        Finding::new(KEY, "overlay", found, verdict).at([at]).at(configured.clone())
    };
    let copies = |at: Evidence| -> Fact<Finding> {
        let place = facts.storage_place(&conf.graphroot)?;
        let fs_type = place.mount.as_ref().map_or("an unknown file system", |mount| mount.fs_type.as_str());
        if !TAKES_OVERLAY.contains(&fs_type) {
            return Ok(finding(&format!("vfs, on {fs_type}"), Verdict::Met, at));
        }
        Ok(finding("vfs", Verdict::Unmet, at).repair(remedy(user, vfs.is_some())))
    };
    match (overlay, vfs.clone()) {
        (Some(_), Some(_)) => Err(unknown(
            "there are images of overlay and of vfs, and what Podman's database names is not read".to_owned(),
        )),
        (None, Some(vfs)) => copies(vfs),
        (Some(overlay), None) => Ok(finding("overlay", Verdict::Met, overlay)),
        (None, None) if facts.storage_is_vfs(conf, user)? => {
            copies(conf.driver.as_ref().map_or_else(|| podman.evidence(), |driver| driver.at.clone()))
        }
        (None, None) => {
            let found = conf.driver.as_ref().map_or("overlay", |driver| driver.value.as_str());
            Ok(finding(found, Verdict::Met, Evidence::path(&conf.graphroot, "no images yet")))
        }
    }
}

fn remedy(user: &User, has_images: bool) -> Remedy {
    let file = format!("{}/.config/containers/storage.conf", user.home.trim_end_matches('/'));
    if has_images {
        let summary = format!(
            "put driver = \"overlay\" below [storage] in {file}, and have {} run podman system reset, which \
             removes all containers, images and volumes there",
            user.name
        );
        return Remedy::manual(summary);
    }
    Remedy::manual(format!(
        "put driver = \"overlay\" below [storage] in {file} before the first image is pulled"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const STORAGE: &str = "/home/edge/.local/share/containers/storage";
    const CONF: &str = "/home/edge/.config/containers/storage.conf";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    fn driver(host: TestHost) -> (String, Verdict, String) {
        let outcome = look_at(host);
        let finding = findings(&outcome)[0];
        (finding.found.clone(), finding.verdict, finding.evidence[0].to_string())
    }

    fn found(found: &str, verdict: Verdict, at: &str) -> (String, Verdict, String) {
        (found.to_owned(), verdict, at.to_owned())
    }

    /// A Debian 13 with the storage as it is before the first image.
    fn empty() -> TestHost {
        fixture("debian-13").without(STORAGE)
    }

    fn with(driver: &str) -> TestHost {
        empty().dir(&format!("{STORAGE}/{driver}-images"), "0700", 1000)
    }

    #[test]
    fn what_the_storage_was_made_with() {
        assert_eq!(driver(empty()), found("overlay", Verdict::Met, STORAGE));
        let images = |driver: &str| format!("{STORAGE}/{driver}-images");
        assert_eq!(driver(with("overlay")), found("overlay", Verdict::Met, &images("overlay")));
        assert_eq!(driver(with("vfs")), found("vfs", Verdict::Unmet, &images("vfs")));
        let configured = with("vfs").file(CONF, "[storage]\ndriver = \"overlay\"\n");
        let outcome = look_at(configured);
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, outcome.items[0].level), (Verdict::Unmet, Level::Advised));
        assert_eq!(finding.evidence[1].to_string(), format!("{CONF}:2"));
        assert!(finding.remedy.summary.contains("podman system reset") && finding.remedy.commands.is_empty());
    }

    #[test]
    fn what_is_configured_before_the_first_image() {
        let vfs = empty().file(CONF, "[storage]\ndriver = \"vfs\"\n");
        assert_eq!(driver(vfs.clone()), found("vfs", Verdict::Unmet, &format!("{CONF}:2")));
        assert!(findings(&look_at(vfs))[0].remedy.commands.is_empty());
        let btrfs = empty().file(CONF, "[storage]\ndriver = \"btrfs\"\n");
        assert_eq!(driver(btrfs), found("btrfs", Verdict::Met, STORAGE));
    }

    /// Seen: Podman 4.3 of Debian 12 keeps images with vfs.
    #[test]
    fn podman_before_4_6_copies() {
        let outcome = look_at(fixture("debian-12").without(STORAGE));
        assert_eq!(
            (findings(&outcome)[0].found.as_str(), findings(&outcome)[0].verdict),
            ("vfs", Verdict::Unmet)
        );
    }

    #[test]
    fn where_overlay_may_not_work_vfs_is_meant() {
        let zfs = with("vfs").append("/proc/self/mountinfo", "99 29 0:99 / /home rw - zfs pool/home rw\n");
        let at = format!("{STORAGE}/vfs-images");
        assert_eq!(driver(zfs), found("vfs, on zfs", Verdict::Met, &at));
    }

    #[test]
    fn unknown_and_skipped() {
        let both = look_at(with("vfs").dir(&format!("{STORAGE}/overlay-images"), "0700", 1000));
        let why = "there are images of overlay and of vfs, and what Podman's database names is not read";
        assert_eq!(unknown(&both), [format!("{STORAGE}: {why}")]);
        let denied = look_at(with("vfs").error(&format!("{STORAGE}/vfs-images"), "denied"));
        assert_eq!(unknown(&denied), [format!("{STORAGE}/vfs-images is not readable as this user")]);
        assert!(look_at(empty().without("/usr/bin/podman")).skipped.is_some());
        assert!(run(&empty().facts(), &requirements(&[Stack::K3s]), &edge()).skipped.is_some());
    }
}
