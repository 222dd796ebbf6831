//! Whether Podman finds an OCI runtime: see [`OCI_RUNTIME`].

use crate::checks::engine_settings::set_key;
use crate::checks::{check, install, of_podman};
use crate::facts::oci_runtime::{BY_DEFAULT, OciRuntime};
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Component, Demand, Need, Requirements};

check! {
    /// Podman finds the OCI runtime that it starts containers with
    ///
    /// ## What is looked at
    ///
    /// `runtime` in the layers of `containers.conf`: a path, or a name that `[engine.runtimes]` or
    /// Podman itself knows. Where it is not set, the first of crun, runc, kata and runsc that is there.
    /// Then whether the user may execute it, and its version by package where a stack or a site
    /// demands one.
    ///
    /// ## Why it matters
    ///
    /// Without one no container starts: "default OCI runtime \"crun\" not found". The message names
    /// crun even where runc would do, and a runtime that is named in `containers.conf` and missing is
    /// not replaced by another. A file that the user may not execute is taken all the same, and fails.
    ///
    /// Seen with Podman 5.4 of Debian 13: it says the same where the runtime is there and
    /// `XDG_RUNTIME_DIR` is not.
    ///
    /// ## Repair
    ///
    /// crun is installed. It has known cgroup v2 from its beginning; runc does since 1.0.0-rc93. Where
    /// `containers.conf` names a runtime that is not there, and another one is, the user's own
    /// `containers.conf` is made to name that one.
    ///
    /// ## Sources
    ///
    /// - containers/common: pkg/config/config.go, `findRuntime`; pkg/config/default.go, `OCIRuntimes`
    /// - podman: libpod/runtime.go, `makeRuntime`; libpod/oci_conmon_common.go, `newConmonOCIRuntime`
    /// - runc: docs/cgroup-v2.md
    OCI_RUNTIME, "oci-runtime", Required, User(run)
}

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::OciRuntime);
    of_podman(facts, user, demands, |_, outcome| {
        let runtime = facts.oci_runtime(user)?;
        outcome.add_all(demands, &found(facts, &runtime, user)?);
        versions(facts, req, &runtime, outcome);
        Ok(())
    })
}

fn found(facts: &Facts, runtime: &OciRuntime, user: &User) -> Fact<Finding> {
    let name = runtime.name.as_deref().unwrap_or(BY_DEFAULT[0]);
    let (found, verdict) = match &runtime.program {
        Some(program) if program.is_executable_by(user) => ("installed".to_owned(), Verdict::Met),
        Some(_) => (format!("not executable by {}", user.name), Verdict::Unmet),
        None => ("not installed".to_owned(), Verdict::Unmet),
    };
    let at = runtime.named_at.iter().cloned();
    let program = match &runtime.program {
        Some(program) => program.evidence(),
        None => Evidence::path(&format!("/usr/bin/{}", BY_DEFAULT[0]), "does not exist, nor another runtime"),
    };
    let at: Vec<Evidence> = match &runtime.program {
        None if runtime.named_at.is_some() => at.collect(),
        _ => [program].into_iter().chain(at).collect(),
    };
    let remedy = match (&runtime.program, &runtime.named_at) {
        (Some(program), _) => Remedy::manual(format!("let {} execute {}", user.name, program.path)),
        (None, Some(at)) => match facts.default_oci_runtime(user)? {
            Some((other, program)) if program.is_executable_by(user) => {
                let summary = format!("have Podman of {} take {other}, in place of {name}", user.name);
                let key = ("engine", "runtime");
                set_key(facts, user, summary, key, &format!("\"{other}\""), Some(at))
            }
            _ => Remedy::manual(format!("install {name}, or take the line out of {at}")),
        },
        (None, None) => install(facts, &[BY_DEFAULT[0]]),
    };
    Ok(Finding::new(name, "installed", found, verdict).at(at).repair(remedy))
}

/// Minimum versions count for the runtime that is taken.
fn versions(facts: &Facts, req: &Requirements, runtime: &OciRuntime, outcome: &mut Outcome) {
    let Some(program) = &runtime.program else { return };
    let file = program.path.rsplit_once('/').map_or("", |(_, file)| file);
    let component = match file {
        "crun" => Component::Crun,
        "runc" => Component::Runc,
        _ => return,
    };
    for want in req.versions.get(&component).into_iter().flatten() {
        let wanted = format!("{} or later", want.value);
        let answer: Fact<Finding> = facts.packaged_version(program, file).map(|version| {
            let verdict = Verdict::met_if(version.value >= want.value);
            Finding::new(file, &wanted, version.value.to_string(), verdict)
                .at([version.at])
                .repair(Remedy::manual(format!("upgrade {file} to {wanted}")))
        });
        add(outcome, &want.demand, file, answer);
    }
}

fn add(outcome: &mut Outcome, demand: &Demand, subject: &str, answer: Fact<Finding>) {
    match answer {
        Ok(finding) => outcome.add(demand, finding),
        Err(why) => outcome.unknown(demand, subject, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::facts::version::Version;
    use crate::finding::Level;
    use crate::requirements::{Origin, Stack, Want};
    use crate::settings::Setting;

    const CRUN: &str = "/usr/bin/crun";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    #[test]
    fn crun_or_runc_will_do() {
        let outcome = look_at(fixture("debian-13"));
        assert_eq!(verdicts(&outcome), [("crun", Verdict::Met)]);
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), CRUN);
        let runc =
            fixture("debian-13").without(CRUN).file("/usr/sbin/runc", "").mode("/usr/sbin/runc", "0755");
        assert_eq!(verdicts(&look_at(runc)), [("runc", Verdict::Met)]);
    }

    #[test]
    fn without_any_podman_complains_of_crun() {
        let outcome = look_at(fixture("debian-13").without(CRUN));
        assert_eq!(verdicts(&outcome), [("crun", Verdict::Unmet)]);
        assert_eq!(findings(&outcome)[0].remedy.commands, ["sudo apt install crun"]);
    }

    #[test]
    fn a_named_runtime_that_is_missing_is_not_replaced() {
        let conf = "/home/edge/.config/containers/containers.conf";
        let outcome = look_at(fixture("debian-13").file(conf, "[engine]\nruntime = \"runc\"\n"));
        assert_eq!(verdicts(&outcome), [("runc", Verdict::Unmet)]);
        assert_eq!(findings(&outcome)[0].evidence[0].to_string(), format!("{conf}:2"));
        let setting = Setting::Engine {
            user: "edge".to_owned(),
            table: "engine",
            key: "runtime".to_owned(),
            value: "\"crun\"".to_owned(),
        };
        assert_eq!(findings(&outcome)[0].remedy.settings, [setting]);
        let drop_in = "/home/edge/.config/containers/containers.conf.d/90-rootless.conf";
        let repaired = fixture("debian-13")
            .file(conf, "[engine]\nruntime = \"runc\"\n")
            .dir("/home/edge/.config/containers/containers.conf.d", "0755", 1000)
            .file(drop_in, "[engine]\nruntime = \"crun\"\n");
        assert_eq!(verdicts(&look_at(repaired)), [("crun", Verdict::Met)]);
        let neither = fixture("debian-13").without(CRUN).file(conf, "[engine]\nruntime = \"runc\"\n");
        let outcome = look_at(neither);
        let remedy = &findings(&outcome)[0].remedy;
        assert!(remedy.settings.is_empty() && remedy.summary.starts_with("install runc, or"), "{remedy:?}");
    }

    #[test]
    fn a_file_that_the_user_may_not_execute_is_taken_and_fails() {
        let outcome = look_at(fixture("debian-13").mode(CRUN, "0750"));
        assert_eq!(verdicts(&outcome), [("crun", Verdict::Unmet)]);
        assert_eq!(findings(&outcome)[0].found, "not executable by edge");
    }

    #[test]
    fn a_version_that_a_site_demands_is_compared() {
        let demand = |at_least: &[u64]| {
            let mut req = requirements(&[Stack::Podman]);
            let origin = Origin { file: "/etc/edgeprep/edgeprep.toml".into(), line: 1 };
            let stacks = vec![Stack::Podman];
            let demand =
                Demand { level: Level::Required, stacks, why: String::new(), origin, asked: Vec::new() };
            req.versions.insert(Component::Crun, vec![Want { value: Version::new(at_least), demand }]);
            req
        };
        let look = |host: TestHost, req: &Requirements| run(&host.facts(), req, &edge());
        let met = look(fixture("debian-13"), &demand(&[1, 20]));
        assert_eq!(verdicts(&met), [("crun", Verdict::Met), ("crun", Verdict::Met)]);
        let unmet = look(fixture("debian-13"), &demand(&[9]));
        assert_eq!((verdicts(&unmet)[1].1, findings(&unmet)[1].found.as_str()), (Verdict::Unmet, "1.21"));
        let rpm = fixture("debian-13").without("/var/lib/dpkg").dir("/var/lib/rpm", "0755", 0);
        assert_eq!(unknown(&look(rpm, &demand(&[1]))), ["/usr/lib/sysimage/rpm: RPM databases are not read"]);
    }

    #[test]
    fn a_malformed_file_is_unknown_and_no_podman_a_skip() {
        let bad = fixture("debian-13").file("/etc/containers/containers.conf", "[engine\n");
        assert!(unknown(&look_at(bad))[0].starts_with("/etc/containers/containers.conf:1: "));
        assert!(look_at(fixture("debian-13").without("/usr/bin/podman")).skipped.is_some());
        let k3s = run(&fixture("debian-13").facts(), &requirements(&[Stack::K3s]), &edge());
        assert!(k3s.skipped.is_some());
    }
}
