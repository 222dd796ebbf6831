//! Whether overlay can be mounted without root: see [`OVERLAY_MOUNT`].

use super::bench::Bench;
use super::request::{Reply, Request, Step};
use super::{Asked, Claim, Probe, Trial, Word, is_told_apart};
use crate::facts::version::Version;
use crate::requirements::{Component, Need};

/// Overlay in a user namespace came with 5.11 (Linux: `fs/overlayfs/super.c`, FS_USERNS_MOUNT), and works with
/// SELinux since 5.13; distributions have it in older kernels, and site policy can take it away in newer ones.
/// What the files tell of it is the advised release of the kernel, since fuse-overlayfs takes its place.
pub(super) static OVERLAY_MOUNT: Probe = Probe {
    id: "overlay-mount",
    summary: "overlay is mounted on a tmpfs in a mount namespace of its own, and a file is written through \
              it; all ends with the process",
    checks: &["kernel-release", "namespace-limits"],
    remedy: "look into the kernel log for what refuses it; until then use fuse-overlayfs",
    run,
};

/// The release that is advised for it, in `profiles/base.toml`.
const RELEASE: [u64; 2] = [5, 13];

fn run(asked: &Asked, bench: &mut Bench) -> Vec<Trial> {
    if asked.req.need(Need::UserNamespaces).is_empty() {
        return Vec::new();
    }
    let reply = bench.is_mapped.then(|| bench.ask_inside(&Request::MountOverlay)).flatten();
    let claims = match &reply {
        Some(Ok(Reply::Failed(failure))) => claims_of(asked, failure.step),
        _ => claims(asked),
    };
    let word = match reply {
        None => Word::Unknown("there is no user namespace with ID maps to try it in".to_owned()),
        Some(Ok(Reply::Failed(failure))) if let Some(why) = is_told_apart(asked.facts) => {
            Word::Unknown(format!("{failure}; {why}"))
        }
        Some(reply) => Word::of(reply, "mounted and written to"),
    };
    vec![Trial::new(&OVERLAY_MOUNT, asked.user, "overlay", word).about(claims)]
}

/// Whose business it is that this step is refused.
fn claims_of(asked: &Asked, step: Step) -> Vec<Claim> {
    match step {
        Step::MountNamespace => vec![Claim::supports("namespace-limits", "user.max_mnt_namespaces")],
        Step::Overlay | Step::WriteToOverlay => claims(asked),
        _ => Vec::new(),
    }
}

fn claims(asked: &Asked) -> Vec<Claim> {
    let Ok(release) = asked.facts.kernel_release() else { return Vec::new() };
    let wants = asked.req.versions.get(&Component::Kernel).map_or(&[][..], Vec::as_slice);
    let wants = wants.iter().filter(|want| want.value == Version::new(&RELEASE));
    let claim = |want: &crate::requirements::Want<Version>| Claim {
        expected: Some(format!("at least {}", want.value)),
        level: Some(want.demand.level),
        ..Claim::proves("kernel-release", format!("Linux {}", release.value))
    };
    wants.map(claim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::fixture;
    use crate::facts::users::User;
    use crate::finding::Level;
    use crate::requirements::{Requirements, Stack};

    #[test]
    fn only_overlay_itself_is_the_releases() {
        let facts = fixture("debian-13").facts();
        let req = Requirements::merge(&[Stack::Podman], &[]).unwrap();
        let user = User::example("edge", 1000);
        let asked = Asked { facts: &facts, req: &req, user: &user };
        let checks = |step| claims_of(&asked, step).iter().map(|claim| claim.check).collect::<Vec<_>>();
        assert_eq!(checks(Step::MountNamespace), ["namespace-limits"]);
        assert_eq!(checks(Step::Overlay), ["kernel-release"]);
        assert!(checks(Step::Tmpfs).is_empty());
    }

    #[test]
    fn it_speaks_of_the_advised_release() {
        let facts = fixture("debian-13").file("/proc/sys/kernel/osrelease", "5.10.0-30-amd64\n").facts();
        let req = Requirements::merge(&[Stack::Podman], &[]).unwrap();
        let user = User::example("edge", 1000);
        let claims = claims(&Asked { facts: &facts, req: &req, user: &user });
        assert_eq!(claims.len(), 1, "profiles/base.toml advises it");
        assert_eq!(claims[0].subject, "Linux 5.10.0-30-amd64");
        assert_eq!(
            (claims[0].level, claims[0].expected.as_deref()),
            (Some(Level::Advised), Some("at least 5.13"))
        );
    }
}
