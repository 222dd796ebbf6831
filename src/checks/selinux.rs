//! Whether the policy of SELinux knows the user's containers: see [`SELINUX`].

use crate::checks::install::install_packages;
use crate::checks::{check, of_podman};
use crate::facts::selinux::Selinux;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent, Unread};
use crate::requirements::{Need, Requirements};
use crate::settings::quoted;

check! {
    /// The policy of SELinux knows the containers and their storage
    ///
    /// ## What is looked at
    ///
    /// Where SELinux enforces its policy (in an image root: where `/etc/selinux/config` says so), and the
    /// user runs Podman:
    ///
    /// - on Fedora, RHEL, SUSE and their kin, `/usr/share/containers/selinux/contexts`, a file of the
    ///   package container-selinux, from which Podman takes the labels of containers;
    /// - where `graphroot` or `rootless_storage_path` puts the storage elsewhere than the default,
    ///   whether a rule labels it as storage of containers: `file_contexts`, what `semanage fcontext`
    ///   wrote beside it (`file_contexts.local`), and equivalent paths (`file_contexts.subs`,
    ///   `file_contexts.subs_dist`). Of the rules, those count that are about a whole directory.
    ///
    /// The labels that the files have now are not looked at: those that `chcon` gave are gone when the
    /// directory is labelled anew.
    ///
    /// ## Why it matters
    ///
    /// Programs in a container may read what has a type of containers. With other labels on the files
    /// of an image they stop before their first line: "error while loading shared libraries:
    /// /lib64/libc.so.6: cannot apply additional memory protection after relocation: Permission
    /// denied". No message names SELinux.
    ///
    /// ## Repair
    ///
    /// The package is installed, or the storage is labelled like the default one, with
    /// `semanage fcontext -a -e` and `restorecon`.
    ///
    /// ## Sources
    ///
    /// - containers/container-selinux: rpm/container-selinux.spec, container.fc
    /// - opencontainers/selinux: go-selinux/selinux_linux.go, `contextFile`
    /// - podman: troubleshooting.md, 11, "Changing the location of the Graphroot leads to permission
    ///   denied"; issues 3234, 20314 and 22384
    /// - containers-storage.conf(5), "graphroot"; libselinux: src/label_file.c
    SELINUX, "selinux", Advised, User(run)
}

const PACKAGE: &str = "container-selinux";
/// A file of the package, and of no other.
const CONTEXTS: &str = "/usr/share/containers/selinux/contexts";
/// What the storage of rootless Podman is to be labelled like: it has the same files below it.
const STORAGE: &str = "/var/lib/containers/storage";

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::SelinuxPolicy);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    let enforces = match facts.selinux() {
        Ok(Some(mode)) if mode.value == Selinux::Enforcing => mode.at,
        Ok(_) => return Outcome::skip("SELinux enforces nothing"),
        Err(why) => {
            let mut outcome = Outcome::default();
            outcome.unknown_all(demands, "SELinux", &why);
            return outcome;
        }
    };
    let outcome = of_podman(facts, user, demands, |_, outcome| {
        if let Some(finding) = package(facts)? {
            outcome.add_all(demands, &finding.at([enforces.clone()]));
        }
        if let Some(finding) = storage(facts, user)? {
            outcome.add_all(demands, &finding.at([enforces]));
        }
        Ok(())
    });
    outcome.or_skip("the policy of this distribution is not known, and the storage is at its default place")
}

/// `None` for distributions whose policy may know containers without the package.
fn package(facts: &Facts) -> Fact<Option<Finding>> {
    if !matches!(facts.package_family()?, Some("fedora" | "suse")) {
        return Ok(None);
    }
    let installed = facts.stat(CONTEXTS).or_absent()?.is_some();
    let (found, says) = if installed { ("installed", "exists") } else { ("not installed", "does not exist") };
    let finding = Finding::new(PACKAGE, "installed", found, Verdict::met_if(installed));
    let finding = finding.at([Evidence::path(CONTEXTS, says)]);
    Ok(Some(if installed { finding } else { finding.repair(install_packages(facts, &[PACKAGE])) }))
}

/// `None` for the default place.
fn storage(facts: &Facts, user: &User) -> Fact<Option<Finding>> {
    let conf = facts.storage_conf(user)?;
    let Some(key) = &conf.graphroot_key else { return Ok(None) };
    let default = format!("{}/.local/share/containers/storage", user.home.trim_end_matches('/'));
    let path = conf.graphroot.trim_end_matches('/');
    if path == default {
        return Ok(None);
    }
    if !path.starts_with('/') || path.contains('$') {
        let expected = "the path has a variable whose value is not known".to_owned();
        return Err(Unread::Malformed { path: key.at.path.to_string(), line: key.at.line, expected });
    }
    // Rules are about paths without links.
    let place = facts.storage_place(path)?;
    let labelled = facts.labelled_for_containers(&place.path)?;
    let found = if labelled { "a rule for containers" } else { "no rule for containers" };
    let finding = Finding::new(path, "a rule for containers", found, Verdict::met_if(labelled));
    let finding = finding.at([key.at.clone()]);
    Ok(Some(if labelled { finding } else { finding.repair(remedy(facts, &place.path)) }))
}

fn remedy(facts: &Facts, path: &str) -> Remedy {
    let sudo = if facts.running() { "sudo" } else { "chroot $ROOT" };
    Remedy::manual(format!("label {path} like {STORAGE}"))
        .command(format!("{sudo} semanage fcontext -a -e {STORAGE} {}", quoted(path)))
        .command(format!("{sudo} restorecon -R -v {}", quoted(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, distribution, fixture};
    use crate::requirements::Stack;

    const ENFORCE: &str = "/sys/fs/selinux/enforce";
    const CONFIG: &str = "/etc/selinux/config";
    const CONF: &str = "/home/edge/.config/containers/storage.conf";
    const RULES: &str = "/etc/selinux/targeted/contexts/files/file_contexts";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    fn moved() -> TestHost {
        let rule = "/var/lib/containers(/.*)?\tsystem_u:object_r:container_var_lib_t:s0\n";
        distribution("fedora-43").file(RULES, rule).file(CONF, "[storage]\ngraphroot = \"/data/edge\"\n")
    }

    #[test]
    fn fedora_brings_the_package_with_podman() {
        for host in [distribution("fedora-43"), distribution("fedora-43").image()] {
            assert_eq!(verdicts(&look_at(host)), [(PACKAGE, Verdict::Met)]);
        }
        let outcome = look_at(distribution("fedora-43").without(CONTEXTS));
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, &*finding.evidence[0].path), (Verdict::Unmet, CONTEXTS));
        assert_eq!(finding.evidence[1].to_string(), format!("{ENFORCE}:1"));
        assert_eq!(finding.remedy.commands, ["sudo dnf install container-selinux"]);
    }

    #[test]
    fn storage_elsewhere_needs_a_rule() {
        let outcome = look_at(moved());
        assert_eq!(verdicts(&outcome), [(PACKAGE, Verdict::Met), ("/data/edge", Verdict::Unmet)]);
        let finding = findings(&outcome)[1];
        assert_eq!(finding.evidence[0].to_string(), format!("{CONF}:2"));
        let commands = [
            "sudo semanage fcontext -a -e /var/lib/containers/storage /data/edge",
            "sudo restorecon -R -v /data/edge",
        ];
        assert_eq!(finding.remedy.commands, commands);
        let written = moved().file(&format!("{RULES}.subs"), "/data/edge /var/lib/containers/storage\n");
        assert_eq!(verdicts(&look_at(written))[1].1, Verdict::Met);
        let default = "[storage]\ngraphroot = \"$HOME/.local/share/containers/storage\"\n";
        assert_eq!(look_at(moved().file(CONF, default)).items.len(), 1);
        let below = "[storage]\ngraphroot = \"/var/lib/containers/edge\"\n";
        assert_eq!(verdicts(&look_at(moved().file(CONF, below)))[1].1, Verdict::Met);
    }

    #[test]
    fn what_is_not_enforced_is_in_nobodys_way() {
        let skipped = |host| look_at(host).skipped.unwrap();
        assert_eq!(skipped(fixture("debian-13")), "SELinux enforces nothing");
        assert_eq!(skipped(moved().file(ENFORCE, "0")), "SELinux enforces nothing");
        assert_eq!(skipped(moved().image().file(CONFIG, "SELINUX=disabled\n")), "SELinux enforces nothing");
        let debian = fixture("debian-13").file(ENFORCE, "1");
        assert!(skipped(debian).starts_with("the policy of this distribution"));
        assert_eq!(skipped(moved().without("/usr/bin/podman")), "podman is not installed");
        assert!(run(&moved().facts(), &Requirements::default(), &edge()).skipped.is_some());
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let denied = look_at(moved().error(ENFORCE, "denied"));
        assert_eq!(unknown(&denied), [format!("{ENFORCE} is not readable as this user")]);
        let rules = look_at(moved().error(RULES, "denied"));
        assert_eq!(unknown(&rules), [format!("{RULES} is not readable as this user")]);
        let variable = look_at(moved().file(CONF, "[storage]\ngraphroot = \"$DATA/edge\"\n"));
        assert_eq!(unknown(&variable).len(), 1);
    }
}
