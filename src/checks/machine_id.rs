//! Whether the machine has an ID of its own: see [`MACHINE_ID`].

use crate::checks::{check, openrc};
use crate::facts::machine_id::MachineId;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::Fact;
use crate::requirements::{Need, Requirements};

const PATH: &str = "/etc/machine-id";
/// A service of Alpine does the same at boot, once it is in a runlevel.
const OPENRC_COMMAND: &str =
    "od -An -N16 -tx1 /dev/urandom | tr -d ' ' | sudo tee /etc/machine-id > /dev/null";

check! {
    /// The machine has an ID of its own
    ///
    /// ## What is looked at
    ///
    /// `/etc/machine-id`. A machine that runs has a valid one. An image has none yet: the file is empty,
    /// holds `uninitialized`, or is absent, so that each machine made from it gets its own at first boot.
    /// The ID itself is not shown: it is confidential. Whether two machines have the same one cannot be
    /// seen on either.
    ///
    /// ## Why it matters
    ///
    /// The journal files of machines with the same ID are mixed up where they are collected, DHCP
    /// servers give them one address, and a Kubernetes cluster shows nodes that cannot be told apart.
    /// Images of machines that ran once hold the ID of that one, and so do all machines made from them.
    ///
    /// ## Repair
    ///
    /// On a machine, `systemd-machine-id-setup` makes one; without systemd 16 random bytes will do. In an
    /// image the file is emptied. Machines that have the same ID already: emptied, and a reboot.
    ///
    /// ## Sources
    ///
    /// - machine-id(5), "First Boot Semantics"; systemd: docs/BUILDING_IMAGES.md
    /// - Alpine: main/openrc/machine-id.initd
    MACHINE_ID, "machine-id", Advised, Host(run)
}

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let demands = req.need(Need::MachineId);
    let mut outcome = Outcome::default();
    match look(facts) {
        Ok(finding) => outcome.add_all(demands, &finding),
        Err(why) => outcome.unknown_all(demands, PATH, &why),
    }
    outcome.or_not_asked()
}

fn look(facts: &Facts) -> Fact<Finding> {
    let found = match facts.machine_id()?.value {
        MachineId::Valid(_) => "an ID",
        MachineId::Empty => "empty",
        MachineId::Uninitialized => "uninitialized",
        MachineId::Absent => "absent",
        MachineId::Malformed => "no ID",
    };
    let at = Evidence::path(PATH, if found == "absent" { "does not exist" } else { "" });
    Ok(if facts.running() {
        let command = if openrc(facts) { OPENRC_COMMAND } else { "sudo systemd-machine-id-setup" };
        let remedy = Remedy::manual("make an ID for this machine").command(command);
        Finding::new(PATH, "an ID", found, Verdict::met_if(found == "an ID")).at([at]).repair(remedy)
    } else {
        let met = matches!(found, "empty" | "uninitialized" | "absent");
        let remedy = Remedy::manual("empty it: every machine made from this image has the same ID")
            .command(format!("truncate -s 0 $ROOT{PATH}"));
        Finding::new(PATH, "empty, uninitialized or absent", found, Verdict::met_if(met))
            .at([at])
            .repair(remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture, openrc_host};
    use crate::requirements::Stack;

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]))
    }

    fn verdict(host: TestHost) -> Verdict {
        verdicts(&look_at(host))[0].1
    }

    #[test]
    fn a_machine_has_one_and_an_image_has_none() {
        let table = [
            ("4c1e3f0a9b8d7c6e5f4a3b2c1d0e9f8a\n", Verdict::Met, Verdict::Unmet),
            ("", Verdict::Unmet, Verdict::Met),
            ("uninitialized\n", Verdict::Unmet, Verdict::Met),
            ("localhost\n", Verdict::Unmet, Verdict::Unmet),
        ];
        for (text, machine, image) in table {
            let host = fixture("debian-13").file(PATH, text);
            assert_eq!((verdict(host.clone()), verdict(host.image())), (machine, image), "{text:?}");
        }
        let none = fixture("debian-13").without(PATH);
        assert_eq!((verdict(none.clone()), verdict(none.image())), (Verdict::Unmet, Verdict::Met));
        assert_eq!(verdict(fixture("debian-13")), Verdict::Met);
    }

    #[test]
    fn without_systemd_its_command_is_not_there() {
        let command = |host: TestHost| findings(&look_at(host.without(PATH)))[0].remedy.commands.concat();
        assert_eq!(command(fixture("debian-13")), "sudo systemd-machine-id-setup");
        assert_eq!(command(openrc_host()), OPENRC_COMMAND);
    }

    #[test]
    fn the_id_is_not_shown() {
        let outcome = look_at(fixture("debian-13").image());
        let finding = findings(&outcome)[0];
        assert_eq!((finding.found.as_str(), &finding.evidence[0]), ("an ID", &Evidence::path(PATH, "")));
        assert_eq!(finding.remedy.commands, ["truncate -s 0 $ROOT/etc/machine-id"]);
    }

    #[test]
    fn unreadable_is_unknown_and_nobody_asks() {
        let outcome = look_at(fixture("debian-13").error(PATH, "denied"));
        assert_eq!(unknown(&outcome), ["/etc/machine-id is not readable as this user"]);
        assert!(run(&fixture("debian-13").facts(), &Requirements::default()).skipped.is_some());
    }
}
