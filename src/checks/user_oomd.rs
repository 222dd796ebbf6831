//! Whether systemd-oomd kills what a user runs: see [`USER_OOMD`].

use std::rc::Rc;

use crate::checks::beaten::{beats, change, change_unit, undone};
use crate::checks::check;
use crate::facts::unit::Unit;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};
use crate::settings::{Setting, quoted, unit_drop_in};

check! {
    /// systemd-oomd leaves the user's containers alone
    ///
    /// ## What is looked at
    ///
    /// Whether systemd-oomd runs, or is enabled, and where it does, `ManagedOOMMemoryPressure=` and
    /// `ManagedOOMSwap=` of the units above the containers: `-.slice`, `user.slice`, `user-UID.slice`
    /// and `user@UID.service` of the system manager, `-.slice`, `app.slice` and `user.slice` of the user
    /// manager. With `kill` on one of them, all that is below is a candidate.
    ///
    /// ## Why it matters
    ///
    /// Fedora and Ubuntu ship such settings, meant for desktops. When the processes of the user wait for
    /// memory for so much of the time (50% on Ubuntu, 80% on Fedora), one of their cgroups is killed as a
    /// whole: a pod, or all of K3s, without a word in its log. The kubelet would have evicted pods in an
    /// order. The journal has it: "systemd-oomd killed some process(es) in this unit".
    ///
    /// ## Repair
    ///
    /// A drop-in of that unit with `auto`, which is what it is without one, where the host is there for
    /// its containers: of a unit of the system manager for all users, of one of the user manager in the
    /// user's own configuration. Where another one sorts later, that one is changed. When its unit files
    /// are read again the manager tells systemd-oomd. On a desktop that systemd-oomd should guard, it is
    /// kept and waived.
    ///
    /// ## Sources
    ///
    /// - systemd-oomd.service(8); systemd.resource-control(5), "ManagedOOMMemoryPressure="
    /// - systemd: src/core/unit.c, `unit_load`; src/core/core-varlink.c, `ReportManagedOOMCGroups`
    /// - Fedora: systemd, 10-oomd-per-slice-defaults.conf in /usr/lib/systemd/user/slice.d
    /// - Ubuntu: systemd-oomd, 10-oomd-user-service-defaults.conf in user@.service.d
    USER_OOMD, "user-oomd", Advised, User(run)
}

const SERVICE: &str = "systemd-oomd.service";
const KEYS: [&str; 2] = ["ManagedOOMMemoryPressure", "ManagedOOMSwap"];
/// Where containers are in a user manager: K3s and its pods in the one, those of Podman in the other.
const OF_USER_MANAGER: [&str; 3] = ["-.slice", "app.slice", "user.slice"];

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::NoOomd);
    if demands.is_empty() {
        return Outcome::not_asked();
    }
    let mut outcome = Outcome::default();
    match look(facts, user) {
        Ok(Ok(findings)) => findings.iter().for_each(|finding| outcome.add_all(demands, finding)),
        Ok(Err(reason)) => return Outcome::skip(reason),
        Err(why) => outcome.unknown_all(demands, SERVICE, &why),
    }
    outcome
}

fn look(facts: &Facts, user: &User) -> Fact<Result<Vec<Finding>, &'static str>> {
    let Some(oomd) = oomd(facts)? else { return Ok(Err("systemd-oomd is not in use")) };
    let mut findings = Vec::new();
    for (unit, section, of_user) in units(facts, user)? {
        for key in KEYS {
            let Some(last) = unit.values(section, key).last() else { continue };
            if last.value != "kill" {
                continue;
            }
            let (remedy, undone) = remedy(facts, user, &unit, section, key, of_user, &last.at);
            let of = if of_user { " of the user manager" } else { "" };
            let finding = Finding::new(format!("{key} of {}{of}", unit.name), "auto", "kill", Verdict::Unmet);
            findings.push(finding.at([last.at.clone(), oomd.clone()]).at(undone).repair(remedy));
        }
    }
    if findings.is_empty() {
        let subject = format!("{} of user@{}.service", KEYS[0], user.uid);
        findings.push(Finding::new(subject, "auto", "auto", Verdict::Met).at([oomd]));
    }
    Ok(Ok(findings))
}

/// What shows that systemd-oomd runs, or will from the next boot on.
fn oomd(facts: &Facts) -> Fact<Option<Evidence>> {
    let unit = facts.unit(SERVICE)?;
    if unit.masked.is_some() || unit.fragment.is_none() {
        return Ok(None);
    }
    if facts.running()
        && let Some(at) = facts.system_service_cgroup(SERVICE)?
    {
        return Ok(Some(at));
    }
    facts.pulled_in_at_boot(SERVICE)
}

/// The units above a user's containers, with the section that holds these settings.
fn units(facts: &Facts, user: &User) -> Fact<Vec<(Rc<Unit>, &'static str, bool)>> {
    let mut units = Vec::new();
    for name in ["-.slice".to_owned(), "user.slice".to_owned(), format!("user-{}.slice", user.uid)] {
        units.push((facts.unit(&name)?, "Slice", false));
    }
    units.push((facts.unit(&format!("user@{}.service", user.uid))?, "Service", false));
    for name in OF_USER_MANAGER {
        units.push((facts.user_unit(&user.home, user.uid, &user.groups, name)?, "Slice", true));
    }
    Ok(units)
}

/// What repairs it, and the lines that say so already and are beaten.
fn remedy(
    facts: &Facts,
    user: &User,
    unit: &Unit,
    section: &'static str,
    key: &'static str,
    of_user: bool,
    at: &Evidence,
) -> (Remedy, Vec<Evidence>) {
    let line = format!("{key}=auto");
    let name = &unit.name;
    if of_user {
        let home = format!("{}/", user.home.trim_end_matches('/'));
        let ours = format!("{home}.config/systemd/user/{name}.d/90-rootless.conf");
        if beats(&at.path, &ours) {
            let own = at.path.starts_with(&home).then_some(user);
            let remedy = change(facts, at, &ours, &line, own);
            let reload = format!("sudo systemctl --user -M {}@ daemon-reload", quoted(&user.name));
            let remedy = if facts.running() { remedy.command(reload) } else { remedy };
            return (remedy, undone(unit, section, key, &ours));
        }
        let (user, unit, value) = (user.name.clone(), name.clone(), "auto".to_owned());
        let summary = format!("put {line} into a drop-in of {name} of the user manager");
        let setting = Setting::UserUnitDirective { user, unit, section, key, value };
        return (Remedy::setting(summary, setting), Vec::new());
    }
    // For all users, as the vendor's is.
    let template = match name.split_once(|c: char| c.is_ascii_digit()) {
        Some(("user@", _)) => "user@.service",
        Some(("user-", _)) => "user-.slice",
        _ => name,
    };
    let ours = unit_drop_in(template);
    if beats(&at.path, &ours) {
        return (change_unit(facts, at, &ours, &line), undone(unit, section, key, &ours));
    }
    let (unit, value) = (template.to_owned(), "auto".to_owned());
    let setting = Setting::UnitDirective { unit, section, key, value };
    (Remedy::setting(format!("put {line} into a drop-in of {template}"), setting), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::requirements::Stack;

    const FRAGMENT: &str = "/usr/lib/systemd/system/systemd-oomd.service";
    const CGROUP: &str = "/sys/fs/cgroup/system.slice/systemd-oomd.service";
    const WANTS: &str = "/etc/systemd/system/multi-user.target.wants/systemd-oomd.service";
    /// As Ubuntu 24.04 ships it.
    const UBUNTU: &str = "/usr/lib/systemd/system/user@.service.d/10-oomd-user-service-defaults.conf";
    /// As Fedora 43 ships it.
    const FEDORA: &str = "/usr/lib/systemd/user/slice.d/10-oomd-per-slice-defaults.conf";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Kind]), &edge())
    }

    /// A Debian 13 on which systemd-oomd runs.
    fn with_oomd() -> TestHost {
        fixture("debian-13")
            .file(FRAGMENT, "[Service]\nType=notify\n")
            .file("/usr/lib/systemd/user/app.slice", "[Unit]\nDescription=User Application Slice\n")
            .dir(CGROUP, "0755", 0)
    }

    fn ubuntu(host: TestHost) -> TestHost {
        host.file(UBUNTU, "[Service]\nManagedOOMMemoryPressure=kill\nManagedOOMMemoryPressureLimit=50%\n")
    }

    #[test]
    fn debian_has_none() {
        assert_eq!(look_at(fixture("debian-13")).skipped.unwrap(), "systemd-oomd is not in use");
        assert!(look_at(ubuntu(fixture("debian-13"))).skipped.is_some());
        let outcome = look_at(with_oomd());
        assert_eq!(verdicts(&outcome), [("ManagedOOMMemoryPressure of user@1000.service", Verdict::Met)]);
        assert_eq!(&*findings(&outcome)[0].evidence[0].path, CGROUP);
    }

    #[test]
    fn what_ubuntu_ships() {
        let outcome = look_at(ubuntu(with_oomd()));
        assert_eq!(verdicts(&outcome), [("ManagedOOMMemoryPressure of user@1000.service", Verdict::Unmet)]);
        let finding = findings(&outcome)[0];
        assert_eq!(finding.evidence[0].to_string(), format!("{UBUNTU}:2"));
        let setting = Setting::UnitDirective {
            unit: "user@.service".to_owned(),
            section: "Service",
            key: KEYS[0],
            value: "auto".to_owned(),
        };
        assert_eq!(finding.remedy.settings, [setting]);
        let repaired = ubuntu(with_oomd()).file(
            "/etc/systemd/system/user@.service.d/90-rootless.conf",
            "[Service]\nManagedOOMMemoryPressure=auto\n",
        );
        assert_eq!(verdicts(&look_at(repaired))[0].1, Verdict::Met);
    }

    #[test]
    fn what_fedora_ships() {
        let host = with_oomd().file(FEDORA, "[Slice]\nManagedOOMMemoryPressure=kill\n");
        let outcome = look_at(host);
        let subjects: Vec<&str> = verdicts(&outcome).into_iter().map(|(subject, _)| subject).collect();
        assert_eq!(subjects.len(), 3);
        assert_eq!(subjects[1], "ManagedOOMMemoryPressure of app.slice of the user manager");
        assert_eq!(findings(&outcome)[1].evidence[0].to_string(), format!("{FEDORA}:2"));
        let [Setting::UserUnitDirective { user, unit, section: "Slice", value, .. }] =
            &findings(&outcome)[1].remedy.settings[..]
        else {
            panic!()
        };
        assert_eq!((user.as_str(), unit.as_str(), value.as_str()), ("edge", "app.slice", "auto"));
    }

    #[test]
    fn a_drop_in_that_a_later_file_undoes() {
        let hard = "/etc/systemd/system/user@.service.d/99-oomd.conf";
        let ours = unit_drop_in("user@.service");
        let host = with_oomd()
            .file(&ours, "[Service]\nManagedOOMMemoryPressure=auto\n")
            .file(hard, "[Service]\nManagedOOMMemoryPressure=kill\n");
        let outcome = look_at(host);
        let finding = findings(&outcome)[0];
        assert_eq!((finding.verdict, finding.remedy.settings.len()), (Verdict::Unmet, 0));
        assert_eq!(finding.evidence[2].to_string(), format!("{ours}:2"));
        assert_eq!(
            finding.remedy.commands,
            [
                format!("sudo sed -i '2s|.*|ManagedOOMMemoryPressure=auto|' {hard}"),
                "sudo systemctl daemon-reload".to_owned(),
            ]
        );
        let vendor = "/usr/lib/systemd/user/slice.d/99-oomd.conf";
        let outcome = look_at(with_oomd().file(vendor, "[Slice]\nManagedOOMSwap=kill\n"));
        let commands = &findings(&outcome)[0].remedy.commands;
        assert_eq!(commands.last().unwrap(), "sudo systemctl --user -M edge@ daemon-reload");
        assert!(
            commands[1].starts_with(&format!("sudo cp {vendor} /etc/systemd/user/slice.d/")),
            "{commands:?}"
        );
    }

    #[test]
    fn in_an_image_it_has_to_be_enabled() {
        let image = || ubuntu(with_oomd().without(CGROUP)).image();
        assert!(look_at(image()).skipped.is_some());
        let enabled = image().file(WANTS, "").path(WANTS, |record| record.link = Some(FRAGMENT.to_owned()));
        assert_eq!(verdicts(&look_at(enabled.clone()))[0].1, Verdict::Unmet);
        let mask = "/etc/systemd/system/systemd-oomd.service";
        let masked = enabled.file(mask, "").path(mask, |record| {
            record.link = Some("/dev/null".to_owned());
        });
        assert!(look_at(masked).skipped.is_some());
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let denied = ubuntu(with_oomd()).error(UBUNTU, "denied");
        assert_eq!(unknown(&look_at(denied)).len(), 1);
        assert!(run(&with_oomd().facts(), &requirements(&[Stack::Podman]), &edge()).skipped.is_some());
    }
}
