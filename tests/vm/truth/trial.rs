//! One scenario on one machine: what edgeprep says, what happens, and the same after a fix.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::asked::{EDGEPREP, Says, check, finds, is_fixable, named, reports, says};
use super::machine::{Machine, Ran, Silent};
use super::oracle::{LIB, Outcome, ask};
use super::peer::Peer;
use super::saved::Saved;
use super::scenario::{Base, Expected, Scenario, Shown};

/// How long a step may take.
pub(crate) const STEP: Duration = Duration::from_secs(360);
/// What decides what happens on a machine, and with what it is written down.
const RUNNER: [&str; 5] = [
    include_str!("machine.rs"),
    include_str!("oracle.rs"),
    include_str!("peer.rs"),
    include_str!("saved.rs"),
    include_str!("trial.rs"),
];

/// What every trial takes.
pub(crate) struct Lab {
    pub(crate) edgeprep: Vec<u8>,
    pub(crate) saved: Saved,
    pub(crate) peers: Vec<Peer>,
    /// What those said that look at the kernel alone, by image and kernel arguments.
    pub(crate) of_kernels: Mutex<BTreeMap<(&'static str, String, String), bool>>,
}

/// What a scenario came to on an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Trial {
    pub(crate) scenario: String,
    pub(crate) image: String,
    pub(crate) stacks: Vec<Judged>,
    pub(crate) checks: Vec<Found>,
    /// Why it came to nothing.
    pub(crate) error: Option<String>,
}

/// A stack's verdict, and what happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Judged {
    pub(crate) stack: String,
    pub(crate) expected: Expected,
    pub(crate) says: Says,
    /// What it says with `--probe`.
    pub(crate) probed: Says,
    /// Whether it says that a fix repairs all that blocks it.
    pub(crate) fixable: bool,
    pub(crate) outcome: Outcome,
    pub(crate) peers: Vec<(String, bool)>,
    /// What it says, and what happens, after a reboot, where that is what it waits for.
    pub(crate) rebooted: Option<(String, Outcome)>,
    /// The same after a fix, where that repairs it or it worked before.
    pub(crate) after: Option<(String, Outcome)>,
}

/// Whether a check found something, and what happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) id: String,
    pub(crate) expected: Shown,
    pub(crate) finds: bool,
    pub(crate) outcome: Outcome,
    pub(crate) after: Option<(bool, Outcome)>,
}

impl Lab {
    /// A machine with edgeprep on it, broken in no way yet.
    fn machine(&self, image: &str, base: Base, kernel: &str) -> Result<Machine> {
        let mut machine = self.saved.machine(image, base, kernel)?;
        machine.put(EDGEPREP, "755", &self.edgeprep)?;
        Ok(machine)
    }

    /// All that what happens depends on, which edgeprep is not where it fixes nothing.
    pub(crate) fn key(&self, scenario: &Scenario, image: &str) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        let what = format!("{:?}", scenario.what_happens());
        (RUNNER, what, self.saved.key(image, scenario.kernel.as_str())?, LIB).hash(&mut hasher);
        for (stack, expected) in scenario.stacks_on(image) {
            expected.script(stack)?.hash(&mut hasher);
        }
        for (id, shown) in scenario.checks_on(image) {
            shown.script(id)?.hash(&mut hasher);
        }
        for peer in &self.peers {
            (peer.name, &peer.files).hash(&mut hasher);
        }
        Ok(hasher.finish())
    }

    /// Whether a peer says that a machine is ready.
    fn ask(&self, peer: &Peer, machine: &mut Machine, image: &str, kernel: &str) -> Result<bool> {
        if !peer.of_kernel {
            return peer.ask(machine);
        }
        let key = (peer.name, image.to_owned(), kernel.to_owned());
        let known = self.of_kernels.lock().ok().and_then(|known| known.get(&key).copied());
        match known {
            Some(ready) => Ok(ready),
            None => {
                let ready = peer.ask(machine)?;
                if let Ok(mut known) = self.of_kernels.lock() {
                    known.insert(key, ready);
                }
                Ok(ready)
            }
        }
    }

    /// Runs a script on such a machine.
    pub(crate) fn on_a_machine(&self, image: &str, base: Base, kernel: &str, script: &str) -> Result<Ran> {
        self.machine(image, base, kernel)?.run(&format!("{LIB}\n{script}"), STEP * 4)
    }

    /// The versions of what is on each image.
    pub(crate) fn versions(&self, images: &[&str]) -> Result<Vec<(String, String)>> {
        let script = "edgeprep --version; sha256sum /usr/local/bin/edgeprep | sed 's/ .*//'
            uname -sr; systemctl --version | sed 's/ (.*//;q'; podman --version; crun --version | sed 1q
            conmon --version | sed 1q; /usr/lib/podman/netavark --version
            /usr/lib/podman/aardvark-dns --version; newuidmap --version 2>/dev/null
            pasta --version 2>/dev/null | sed 1q; slirp4netns --version | sed 1q
            fuse-overlayfs --version 2>/dev/null | sed -n /fuse-overlayfs:/p; rootlesskit --version
            kind --version 2>/dev/null; docker --version 2>/dev/null; true";
        images
            .iter()
            .map(|image| {
                let ran = self.on_a_machine(image, Base::Good, "", script)?;
                Ok(((*image).to_owned(), ran.output))
            })
            .collect()
    }
}

impl Trial {
    /// Runs a scenario on an image; once more where the machine hangs.
    pub(crate) fn run(lab: &Lab, scenario: &Scenario, image: &str) -> Trial {
        let new = || {
            let (scenario, image) = (scenario.name.clone(), image.to_owned());
            Trial { scenario, image, stacks: Vec::new(), checks: Vec::new(), error: None }
        };
        let mut trial = new();
        let mut result = trial.carry_out(lab, scenario);
        if let Err(error) = &result
            && error.is::<Silent>()
        {
            println!("{} on {image}: {error}; once more", scenario.name);
            trial = new();
            result = trial.carry_out(lab, scenario);
        }
        trial.error = result.err().map(|error| format!("{error:#}"));
        trial
    }

    fn carry_out(&mut self, lab: &Lab, scenario: &Scenario) -> Result<()> {
        let mut machine = broken(lab, scenario, &self.image)?;
        let stacks = names(scenario, &self.image);
        let (report, probed) = reports(&mut machine, &stacks)?;
        for (stack, expected) in scenario.stacks_on(&self.image) {
            let judged = Judged {
                stack: stack.clone(),
                expected: expected.clone(),
                says: says(&report, stack)?,
                probed: says(&probed, stack)?,
                fixable: is_fixable(&report, stack)?,
                outcome: ask(&mut machine, &expected.script(stack)?)?,
                peers: Vec::new(),
                rebooted: None,
                after: None,
            };
            self.stacks.push(judged);
        }
        for (id, expected) in scenario.checks_on(&self.image) {
            let finds = finds(&report, id, expected.subject.as_deref())?;
            let outcome = ask(&mut machine, &expected.script(id)?)?;
            let (id, expected) = (id.clone(), expected.clone());
            self.checks.push(Found { id, expected, finds, outcome, after: None });
        }
        for peer in &lab.peers {
            let ready = lab.ask(peer, &mut machine, &self.image, &scenario.kernel)?;
            for judged in &mut self.stacks {
                judged.peers.push((peer.name.to_owned(), ready));
            }
        }
        if scenario.is_fixed_on(&self.image) {
            self.fix(&mut machine, scenario, &stacks)?;
        }
        drop(machine);
        if self.stacks.iter().any(|judged| judged.says.verdict == "pending") {
            self.wait_for_what_is_pending(lab, scenario)?;
        }
        Ok(())
    }

    /// Holds it against what the scenario expects now.
    pub(crate) fn expect(&mut self, scenario: &Scenario) {
        for judged in &mut self.stacks {
            if let Some(expected) = scenario.stacks.get(&judged.stack) {
                judged.expected = expected.clone();
            }
        }
        for found in &mut self.checks {
            if let Some(expected) = scenario.checks.get(&found.id) {
                found.expected = expected.clone();
            }
        }
    }

    /// The same with what this edgeprep says; `None` where it is also asked of what is broken no more.
    pub(crate) fn asked_anew(&self, lab: &Lab, scenario: &Scenario) -> Result<Option<Trial>> {
        if scenario.is_fixed_on(&self.image) || self.stacks.iter().any(|judged| judged.rebooted.is_some()) {
            return Ok(None);
        }
        let mut trial = self.clone();
        let mut machine = broken(lab, scenario, &self.image)?;
        let stacks = names(scenario, &self.image);
        let (report, probed) = reports(&mut machine, &stacks)?;
        for judged in &mut trial.stacks {
            judged.says = says(&report, &judged.stack)?;
            judged.probed = says(&probed, &judged.stack)?;
            judged.fixable = is_fixable(&report, &judged.stack)?;
        }
        for found in &mut trial.checks {
            found.finds = finds(&report, &found.id, found.expected.subject.as_deref())?;
        }
        Ok(Some(trial))
    }

    /// What is pending comes with a reboot at the latest, and without a fix.
    fn wait_for_what_is_pending(&mut self, lab: &Lab, scenario: &Scenario) -> Result<()> {
        let mut machine = broken(lab, scenario, &self.image)?;
        machine.reboot()?;
        settle(&mut machine)?;
        let report = check(&mut machine, &names(scenario, &self.image), "")?;
        for judged in self.stacks.iter_mut().filter(|judged| judged.says.verdict == "pending") {
            let Says { verdict, .. } = says(&report, &judged.stack)?;
            let outcome = ask(&mut machine, &judged.expected.script(&judged.stack)?)?;
            judged.rebooted = Some((verdict, outcome));
        }
        Ok(())
    }

    fn fix(&mut self, machine: &mut Machine, scenario: &Scenario, stacks: &[&str]) -> Result<()> {
        let options = scenario.fix_options.join(" ");
        let ran =
            machine.run(&format!("{EDGEPREP} fix --yes --user edge {} {options}", named(stacks)), STEP)?;
        if !matches!(ran.code, 0 | 1 | 3 | 4) {
            bail!("the fix ended with {}: {}", ran.code, ran.output);
        }
        if scenario.reboot_after_fix {
            machine.reboot()?;
            settle(machine)?;
        }
        let report = check(machine, stacks, "")?;
        let goes_on = |judged: &Judged| judged.expected.repairable || judged.outcome.works;
        for judged in self.stacks.iter_mut().filter(|judged| goes_on(judged)) {
            let Says { verdict, .. } = says(&report, &judged.stack)?;
            let outcome = ask(machine, &judged.expected.script(&judged.stack)?)?;
            judged.after = Some((verdict, outcome));
        }
        let goes_on = |found: &Found| found.expected.repairable || found.outcome.works;
        for found in self.checks.iter_mut().filter(|found| goes_on(found)) {
            let finds = finds(&report, &found.id, found.expected.subject.as_deref())?;
            found.after = Some((finds, ask(machine, &found.expected.script(&found.id)?)?));
        }
        Ok(())
    }
}

/// A machine that is broken as a scenario says.
fn broken(lab: &Lab, scenario: &Scenario, image: &str) -> Result<Machine> {
    let mut machine = lab.machine(image, scenario.base, &scenario.kernel)?;
    let ran = machine.run(&format!("{LIB}\nset -eu\n{}", scenario.script), STEP)?;
    if ran.code != 0 {
        bail!("the break failed: {}", ran.output);
    }
    if scenario.reboot {
        machine.reboot()?;
        settle(&mut machine)?;
    }
    Ok(machine)
}

/// After a boot: a lingering user's manager has come up, or will not.
fn settle(machine: &mut Machine) -> Result<()> {
    let script = "for ((i = 0; i < 60; i++)); do
            systemctl is-active --quiet multi-user.target && break; sleep 0.5
        done
        [ ! -e /var/lib/systemd/linger/edge ] || systemctl start user@1000.service || true";
    machine.run(script, STEP).map(drop)
}

fn names<'a>(scenario: &'a Scenario, image: &str) -> Vec<&'a str> {
    scenario.stacks_on(image).map(|(name, _)| name.as_str()).collect()
}
