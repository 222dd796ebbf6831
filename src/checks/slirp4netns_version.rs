//! Whether slirp4netns is new enough: see [`SLIRP4NETNS_VERSION`].

use crate::checks::check;
use crate::facts::Facts;
use crate::facts::users::User;
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::requirements::{Component, Requirements};

check! {
    /// slirp4netns is new enough for the stacks
    ///
    /// ## What is looked at
    ///
    /// The version of the package `slirp4netns`, where the program is found. That it is there at all is
    /// for `stack-programs` and `rootless-network` to say: a stack names it among its programs, or
    /// Podman's configuration does, while a minimum version stands on its own.
    ///
    /// ## Why it matters
    ///
    /// Podman gives slirp4netns the namespace by path (`--netns-type=path`), which it understands since
    /// 0.4.0; RootlessKit refuses an older one. K3s is built on RootlessKit, but brings a slirp4netns
    /// of its own that comes first on its `PATH`, so that the host's does not matter to it.
    ///
    /// ## Repair
    ///
    /// A later release of the distribution: all that are maintained have 1.0 or later.
    ///
    /// ## Sources
    ///
    /// - containers/common: libnetwork/slirp4netns/slirp4netns.go, `Setup`
    /// - rootlesskit: pkg/network/slirp4netns/slirp4netns.go, `DetectFeatures`
    /// - k3s: cmd/k3s/main.go, `stageAndRun`; k3s-root: scripts/package
    SLIRP4NETNS_VERSION, "slirp4netns-version", Required, User(run)
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let Some(wants) = req.versions.get(&Component::Slirp4netns) else { return Outcome::not_asked() };
    let version = match facts.helper_program("slirp4netns", user) {
        Ok(None) => return Outcome::skip("slirp4netns is not installed"),
        Ok(Some(program)) => facts.packaged_version(&program, "slirp4netns"),
        Err(why) => Err(why),
    };
    let mut outcome = Outcome::default();
    for want in wants {
        match &version {
            Ok(version) => {
                let wanted = format!("{} or later", want.value);
                let verdict = Verdict::met_if(version.value >= want.value);
                let finding = Finding::new("slirp4netns", &wanted, version.value.to_string(), verdict)
                    .at([version.at.clone()])
                    .repair(Remedy::manual(format!("upgrade slirp4netns to {wanted}")));
                outcome.add(&want.demand, finding);
            }
            Err(why) => outcome.unknown(&want.demand, "slirp4netns", why),
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Usernetes]), &edge())
    }

    #[test]
    fn debian_13_is_new_enough() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [("slirp4netns", Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].expected, "0.4.0 or later");
    }

    #[test]
    fn debian_10_is_not() {
        let host = fixture("debian-13").file(
            "/var/lib/dpkg/status",
            "Package: slirp4netns\nStatus: install ok installed\nVersion: 0.2.3-1\n",
        );
        let outcome = look_at(host);
        assert_eq!(verdicts(&outcome), [("slirp4netns", Verdict::Unmet)]);
        assert_eq!(
            (findings(&outcome)[0].found.as_str(), findings(&outcome)[0].evidence[0].line),
            ("0.2.3", Some(3))
        );
    }

    #[test]
    fn what_is_of_no_package_is_unknown_and_what_is_not_there_is_skipped() {
        let local = "/usr/local/bin/slirp4netns";
        let outcome = look_at(fixture("debian-13").file(local, "").mode(local, "0755"));
        assert_eq!(unknown(&outcome), [format!("{local}: its version is in no package database")]);
        assert!(look_at(fixture("debian-13").without("/usr/bin/slirp4netns")).skipped.is_some());
        let k3s = run(&fixture("debian-13").facts(), &requirements(&[Stack::K3s]), &edge());
        assert!(k3s.skipped.is_some(), "K3s brings its own");
    }
}
