//! Whether systemd is new enough: see [`SYSTEMD_VERSION`].

use crate::checks::check;
use crate::facts::Facts;
use crate::facts::version::Version;
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Component, Requirements};

check! {
    /// systemd is new enough for what is delegated
    ///
    /// ## What is looked at
    ///
    /// The name of systemd's private library, `libsystemd-shared-VERSION.so`, in the directories where
    /// distributions put it. systemd itself is not run.
    ///
    /// ## Why it matters
    ///
    /// `cpuset` can be delegated since version 244. Since 252 `cpu`, `memory` and `pids` are delegated
    /// as shipped; before, `cpu` takes a drop-in.
    ///
    /// ## Repair
    ///
    /// Upgrade the distribution: systemd is not upgraded alone.
    ///
    /// ## Sources
    ///
    /// - systemd: NEWS, versions 244 and 252
    /// - systemd: meson.build, `libsystemd-shared`
    SYSTEMD_VERSION, "systemd-version", Required, Host(run)
}

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let Some(wants) = req.versions.get(&Component::Systemd) else { return Outcome::not_asked() };
    let mut outcome = Outcome::default();
    let version = match facts.systemd_version() {
        Err(why) if why.is_absent() => match installed(facts) {
            Ok(false) => return Outcome::skip("there is no systemd: see systemd-init"),
            Ok(true) => Err(why),
            Err(why) => Err(why),
        },
        other => other,
    };
    for want in wants {
        match &version {
            Ok(version) => {
                let verdict = Verdict::met_if(Version::new(&[version.value.into()]) >= want.value);
                let expected = format!("{} or later", want.value);
                let finding = Finding::new("systemd", expected, version.value.to_string(), verdict)
                    .at([version.at.clone()])
                    .repair(Remedy::manual("upgrade the distribution to a release with a newer systemd"));
                outcome.add(&want.demand, finding);
            }
            Err(why) => outcome.unknown(&want.demand, "systemd", why),
        }
    }
    outcome
}

/// Whether systemd is there although no library with its version was found.
fn installed(facts: &Facts) -> Fact<bool> {
    if facts.running() {
        return Ok(facts.booted_with_systemd()?.value);
    }
    Ok(facts.systemd_program()?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, empty_host, fixture};
    use crate::requirements::Stack;

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::K3s]))
    }

    fn image(version: u32) -> TestHost {
        empty_host().image().file(&format!("/usr/lib64/systemd/libsystemd-shared-{version}-9.el8.so"), "")
    }

    #[test]
    fn a_new_enough_systemd_passes() {
        let library = "/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so";
        let outcome = look_at(fixture("debian-13").file(library, ""));
        assert_eq!(verdicts(&outcome), [("systemd", Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].found, "257");
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), library);
    }

    #[test]
    fn the_bound_itself_passes_and_the_version_below_does_not() {
        assert_eq!(verdicts(&look_at(image(244))), [("systemd", Verdict::Met)]);
        let outcome = look_at(image(239));
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, finding.expected.as_str()), (Verdict::Unmet, "244 or later"));
        assert_eq!(finding.evidence[0].to_string(), "/usr/lib64/systemd/libsystemd-shared-239-9.el8.so");
    }

    #[test]
    fn a_version_that_is_not_found_is_unknown_where_systemd_is_there() {
        let reason = "/usr/lib/systemd/libsystemd-shared-*.so does not exist";
        let running = empty_host().dir("/run/systemd/system", "0755", 0);
        assert_eq!(unknown(&look_at(running)), [reason]);
        assert_eq!(unknown(&look_at(empty_host().image().file("/usr/lib/systemd/systemd", ""))), [reason]);
        let closed = look_at(empty_host().error("/usr/lib/systemd", "denied"));
        assert_eq!(unknown(&closed), ["/usr/lib/systemd is not readable as this user"]);
    }

    #[test]
    fn without_systemd_there_is_no_version() {
        assert!(look_at(empty_host()).skipped.unwrap().contains("systemd-init"));
        assert!(look_at(empty_host().image()).skipped.unwrap().contains("systemd-init"));
        assert!(run(&empty_host().facts(), &Requirements::default()).skipped.is_some());
    }
}
