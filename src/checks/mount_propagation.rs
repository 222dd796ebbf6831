//! Whether mounts reach containers: see [`MOUNT_PROPAGATION`].

use crate::checks::check;
use crate::facts::Facts;
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};

check! {
    /// Root mount is shared, so that mounts reach containers
    ///
    /// ## What is looked at
    ///
    /// The line of `/` in `/proc/self/mountinfo`: with `shared:N` in it, mounts that are made later
    /// are propagated. In a service with a mount namespace of its own it is that of PID 1. Where the
    /// line has `master:N` instead, edgeprep was started in a container or PID 1 is hidden, and it
    /// cannot see how it is on the host.
    ///
    /// systemd shares `/` at boot, so in an image there is nothing to look at.
    ///
    /// ## Why it matters
    ///
    /// With a private `/`, containers start, but a disk that is mounted on the host later does not show
    /// in a volume with `rshared` or `rslave`. Podman warns: "/" is not a shared mount.
    ///
    /// Seen with crun 1.8.1 of Debian 12: a volume with `rslave` shows nothing that is mounted later even
    /// where `/` is shared. With crun 1.21 of Debian 13 it does.
    ///
    /// ## Repair
    ///
    /// `mount --make-rshared /` until the next boot. What made it private has to be found: systemd
    /// does not.
    ///
    /// ## Sources
    ///
    /// - mount_namespaces(7), "Propagation types"
    /// - systemd: src/shared/mount-setup.c, `mount_setup`
    /// - podman: pull request 11056
    MOUNT_PROPAGATION, "mount-propagation", Advised, Host(run)
}

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let demands = req.need(Need::SharedRootMount);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    if !facts.running() {
        return Outcome::skip("decided at boot: systemd shares / then");
    }
    let mut outcome = Outcome::default();
    outcome.looked(demands, "/", look(facts));
    outcome
}

fn look(facts: &Facts) -> Fact<Result<Finding, &'static str>> {
    let mounts = facts.mountinfo()?;
    let Some(root) = mounts.at("/") else {
        return Ok(Err("/ is not among the mounts: edgeprep was started in a chroot"));
    };
    if root.shared.is_none() && root.master.is_some() {
        return Ok(Err("edgeprep was started in a mount namespace of its own"));
    }
    let (found, verdict) = match root.shared {
        Some(_) => ("shared", Verdict::Met),
        None => ("private", Verdict::Unmet),
    };
    let remedy = Remedy::manual("share / and all mounts below, until the next boot")
        .command("sudo mount --make-rshared /");
    Ok(Ok(Finding::new("/", "shared", found, verdict).at([root.at.clone()]).repair(remedy)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, empty_host, fixture};
    use crate::requirements::Stack;

    const MOUNTINFO: &str = "/proc/self/mountinfo";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]))
    }

    fn root(propagation: &str) -> Outcome {
        look_at(fixture("debian-13").edit(
            MOUNTINFO,
            "/ / rw,relatime shared:1 - ",
            &format!("/ / rw,relatime {propagation}- "),
        ))
    }

    #[test]
    fn shared_private_and_unseen() {
        let met = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&met), [("/", Verdict::Met)]);
        let at = &findings(&met)[0].evidence[0];
        assert!(&*at.path == MOUNTINFO && at.text.contains(" / / rw,relatime shared:1 "));
        let private = root("");
        assert_eq!(verdicts(&private), [("/", Verdict::Unmet)]);
        assert_eq!(findings(&private)[0].remedy.commands, ["sudo mount --make-rshared /"]);
        assert_eq!(unknown(&root("master:1 ")), ["edgeprep was started in a mount namespace of its own"]);
        assert_eq!(verdicts(&root("shared:2 master:1 ")), [("/", Verdict::Met)]);
    }

    #[test]
    fn unknown_and_skipped() {
        let chroot = look_at(empty_host().file(MOUNTINFO, "65 44 0:21 / /proc rw - proc proc rw\n"));
        assert_eq!(unknown(&chroot), ["/ is not among the mounts: edgeprep was started in a chroot"]);
        assert_eq!(unknown(&look_at(empty_host())), ["/proc/self/mountinfo does not exist"]);
        assert!(look_at(fixture("debian-13").image()).skipped.unwrap().contains("boot"));
        assert!(run(&fixture("debian-13").facts(), &Requirements::default()).skipped.is_some());
    }
}
