//! Whether there is room for images: see [`DISK_SPACE`].

use super::storage_filesystem::{Place, places};
use crate::checks::check;
use crate::facts::storage_place::can_hang;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::requirements::Requirements;
use crate::settings::as_user;

check! {
    /// There is room for images and containers
    ///
    /// ## What is looked at
    ///
    /// What an unprivileged user can still write on the file system that holds Podman's storage, and
    /// for K3s `~/.rancher/k3s` or its `data-dir`, asked of the deepest directory that exists. What
    /// images that are there already take is not added.
    ///
    /// A network file system is not asked: its server could be gone and the answer never come. In an
    /// image the size of the disk is not known.
    ///
    /// ## Why it matters
    ///
    /// Where there is no room for its layers, an image cannot be pulled. K3s takes no pods while less than
    /// 5 % is free, and evicts those it has ("node.kubernetes.io/disk-pressure"), as k3d does, whose nodes
    /// are K3s in Podman's storage; Usernetes, with the limits of the kubelet, while less than 15 % is.
    /// kind and minikube turn that off.
    ///
    /// ## Repair
    ///
    /// `podman system prune` removes what no container uses. Else put the storage elsewhere: `graphroot`
    /// in `~/.config/containers/storage.conf`, `--data-dir` for K3s.
    ///
    /// ## Sources
    ///
    /// - statvfs(3); k3s: pkg/datadir/datadir.go
    /// - kubernetes.io, "Node-pressure Eviction"
    /// - k3s: pkg/daemons/agent/agent_linux.go, `eviction-hard`
    DISK_SPACE, "disk-space", Required, User(run)
}

const MIB: u64 = 1 << 20;

/// How much is to be free.
#[derive(Clone, Copy)]
enum Least {
    Bytes(u64),
    /// Of the file system.
    Percent(u64),
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    if !facts.running() {
        return Outcome::skip("the size of the disk that this image is written to is not known");
    }
    let mut outcome = Outcome::default();
    let bytes = req.disk_bytes.iter().map(|want| (Least::Bytes(want.value), &want.demand));
    let percent = req.disk_percent.iter().map(|want| (Least::Percent(want.value), &want.demand));
    for (least, demand) in bytes.chain(percent) {
        for (place, demand) in places(demand) {
            match look(facts, &place, user, least) {
                Ok(finding) => outcome.add(&demand, finding),
                Err((subject, why)) => outcome.unknown(&demand, subject, why),
            }
        }
    }
    outcome.or_not_asked()
}

/// The finding, or what is not known and why.
fn look(facts: &Facts, place: &Place, user: &User, least: Least) -> Result<Finding, (String, String)> {
    let path = place.path(facts, user).map_err(|why| (place.unknown(), why.to_string()))?;
    let told = |why: &dyn std::fmt::Display| (path.clone(), why.to_string());
    if !path.starts_with('/') || path.contains('$') {
        return Err(told(&"the path has a variable whose value is not known"));
    }
    let at = facts.storage_place(&path).map_err(|why| told(&why))?;
    let remote = at.mount.as_ref().filter(|mount| can_hang(&mount.fs_type));
    let (Some((existing, _)), None) = (&at.existing, remote) else {
        let fs_type = remote.map_or("network file system", |mount| mount.fs_type.as_str());
        return Err(told(&format!("{fs_type} is not asked, its server could hang")));
    };
    let space = facts.space(existing).map_err(|why| told(&why))?;
    let (found, wanted, met) = match least {
        Least::Bytes(bytes) => (
            format!("{} MiB", space.available_bytes / MIB),
            format!("{} MiB", bytes / MIB),
            space.available_bytes >= bytes,
        ),
        Least::Percent(percent) => {
            let free = u128::from(space.available_bytes) * 100 / u128::from(space.total_bytes.max(1));
            (format!("{free} %"), format!("{percent} %"), free >= u128::from(percent))
        }
    };
    let (found, wanted) = (format!("{found} free"), format!("at least {wanted} free"));
    let finding = Finding::new(&path, wanted, found, Verdict::met_if(met));
    let shown = format!("{} of {} MiB free", space.available_bytes / MIB, space.total_bytes / MIB);
    let remedy = match place {
        Place::Podman => Remedy::manual("remove what no container uses, or put the storage elsewhere")
            .command(as_user(&user.name, "podman system prune")),
        Place::K3s => Remedy::manual("make room, or put the data elsewhere with --data-dir"),
    };
    let mount = at.mount.as_ref().map(|mount| mount.at.clone());
    let told_by = place.told_by(facts, user).map_err(|why| told(&why))?;
    Ok(finding.at([Evidence::path(existing, shown)]).at(mount).at(told_by).repair(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const STORAGE: &str = "/home/edge/.local/share/containers";
    const GIB: u64 = 1 << 30;

    fn host(available: u64) -> TestHost {
        fixture("debian-13").without("/home/edge/.local/share/containers/storage").space(
            STORAGE,
            8 * GIB,
            available,
        )
    }

    fn look_at(host: TestHost, stack: Stack) -> Outcome {
        run(&host.facts(), &requirements(&[stack]), &edge())
    }

    /// The verdicts by level: 100 MiB are required, 2 GiB advised.
    fn levels(outcome: &Outcome) -> Vec<(Level, Verdict)> {
        let levels = outcome.items.iter().map(|item| item.level);
        levels.zip(findings(outcome)).map(|(level, finding)| (level, finding.verdict)).collect()
    }

    #[test]
    fn room_by_level() {
        use Level::{Advised, Required};
        use Verdict::{Met, Unmet};
        for (available, required, advised) in [
            (2 * GIB, Met, Met),
            (2 * GIB - 1, Met, Unmet),
            (100 * MIB, Met, Unmet),
            (100 * MIB - 1, Unmet, Unmet),
        ] {
            let outcome = look_at(host(available), Stack::Podman);
            assert_eq!(levels(&outcome), [(Required, required), (Advised, advised)], "{available}");
        }
        let outcome = look_at(host(99 * MIB), Stack::Podman);
        let finding = findings(&outcome)[0];
        assert_eq!(
            (finding.expected.as_str(), finding.found.as_str()),
            ("at least 100 MiB free", "99 MiB free")
        );
        assert_eq!(finding.evidence[0], Evidence::path(STORAGE, "99 of 8192 MiB free"));
    }

    #[test]
    fn k3s_has_a_place_of_its_own() {
        let outcome = look_at(host(0).space("/home/edge", 8 * GIB, 4 * GIB), Stack::K3s);
        let met = Verdict::Met;
        use Level::{Advised, Required};
        assert_eq!(levels(&outcome), [(Required, met), (Advised, met), (Required, met)]);
        assert_eq!(findings(&outcome)[0].subject, "/home/edge/.rancher/k3s");
    }

    /// Below 5 % K3s takes no pods, below 15 % the kubelet of Usernetes does not.
    #[test]
    fn a_large_disk_that_is_nearly_full() {
        let share = |percent: u64, stack: Stack| {
            let outcome = look_at(host(0).space(STORAGE, 1024 * GIB, 1024 * GIB * percent / 100), stack);
            let finding = findings(&outcome)[2].clone();
            (finding.found, finding.verdict)
        };
        assert_eq!(share(4, Stack::K3d), ("3 % free".to_owned(), Verdict::Unmet));
        assert_eq!(share(6, Stack::K3d), ("5 % free".to_owned(), Verdict::Met));
        assert_eq!(share(14, Stack::Usernetes).1, Verdict::Unmet);
        assert_eq!(share(16, Stack::Usernetes).1, Verdict::Met);
        assert_eq!(levels(&look_at(host(0).space(STORAGE, GIB, 0), Stack::Kind)).len(), 2);
    }

    #[test]
    fn the_data_of_k3s_is_where_its_options_put_it() {
        let unit = "/home/edge/.config/systemd/user/k3s-rootless.service";
        let told = "[Service]\nExecStart=/usr/local/bin/k3s server --rootless --data-dir=/srv/k3s\n";
        let full = host(0).space("/home/edge", 8 * GIB, 0).file(unit, told);
        let outcome = look_at(full.dir("/srv", "0755", 1000).space("/srv", 8 * GIB, 4 * GIB), Stack::K3s);
        assert!(levels(&outcome).iter().all(|(_, verdict)| *verdict == Verdict::Met));
        let finding = findings(&outcome)[0];
        assert_eq!((finding.subject.as_str(), &*finding.evidence[0].path), ("/srv/k3s", "/srv"));
        assert_eq!(finding.evidence.last().unwrap().to_string(), format!("{unit}:2"));
        let left_out = look_at(host(GIB).file(unit, "[Service]\nExecStart=LEFT-OUT\n"), Stack::K3s);
        assert_eq!(
            unknown(&left_out),
            [format!("{unit}:2: the capture leaves out what K3s is told").as_str(); 3]
        );
    }

    #[test]
    fn a_network_file_system_is_not_asked() {
        let nfs = host(GIB)
            .append("/proc/self/mountinfo", "99 29 0:99 / /home rw - nfs4 srv:/home rw\n")
            .error("/home/edge", "errno 116");
        assert_eq!(unknown(&look_at(nfs, Stack::Podman)), ["nfs4 is not asked, its server could hang"; 2]);
    }

    #[test]
    fn unknown_and_skipped() {
        // A directory of which nobody asked how much room it has.
        let unasked = host(GIB).dir(&format!("{STORAGE}/storage"), "0700", 1000);
        let open = look_at(unasked, Stack::Podman);
        assert_eq!(unknown(&open), [format!("{STORAGE}/storage is not in the capture").as_str(); 2]);
        assert!(look_at(host(GIB).image(), Stack::Podman).skipped.is_some());
        assert!(run(&host(GIB).facts(), &Requirements::default(), &edge()).skipped.is_some());
    }
}
