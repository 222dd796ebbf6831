//! What a check says: findings, and the vocabulary they are built from.
//!
//! Configuration and running state are two facts. [`Verdict::of`] is the one place that puts them
//! together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::facts::Evidence;
use crate::host::Fact;
use crate::requirements::{Demand, Stack};
use crate::settings::Setting;

/// How much depends on a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The stack runs without it, but something that its users expect does not.
    Advised,
    /// The stack does not run without it.
    Required,
}

/// What it takes for a pending configuration to be in effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Needs {
    /// A command, at once; the remedy names it.
    #[default]
    None,
    /// A new user manager: the user's last session ends and lingering stops, or a reboot.
    ReLogin,
    /// A reboot.
    Reboot,
}

impl Needs {
    /// Whether a command is enough.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
    pub(crate) fn is_none(&self) -> bool {
        *self == Needs::None
    }
}

/// Where a requirement stands on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Configured and in effect, or configured where nothing runs.
    Met,
    /// Configured, not in effect.
    Pending(Needs),
    /// In effect, but nothing on disk makes it so at the next boot.
    Volatile,
    /// Neither.
    Unmet,
}

impl Verdict {
    /// The verdict on a requirement that is `configured` or not, and in effect or not; `None` where
    /// nothing runs. `needs` is what would put the configuration into effect.
    pub fn of(configured: bool, in_effect: Option<bool>, needs: Needs) -> Verdict {
        match (configured, in_effect) {
            (true, Some(true) | None) => Verdict::Met,
            (true, Some(false)) => Verdict::Pending(needs),
            (false, Some(true)) => Verdict::Volatile,
            (false, Some(false) | None) => Verdict::Unmet,
        }
    }

    /// The verdict on something that has no configuration of its own, such as a program or a file.
    pub fn met_if(met: bool) -> Verdict {
        if met { Verdict::Met } else { Verdict::Unmet }
    }

    /// The word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Met => "met",
            Verdict::Pending(_) => "pending",
            Verdict::Volatile => "volatile",
            Verdict::Unmet => "unmet",
        }
    }
}

/// How a finding can be repaired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remedy {
    /// What to do, in one sentence without a final period.
    pub summary: String,
    /// The settings that repair it, where settings can.
    pub settings: Vec<Setting>,
    /// What a person would type where settings cannot, or to activate what is configured.
    pub commands: Vec<String>,
    /// The packages that repair it, where their installation is all there is to do; `commands` has it, too.
    pub install: Option<Install>,
}

/// Packages, and what installs them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Install {
    /// The command of the package manager, up to the packages.
    pub command: String,
    /// What it is given.
    pub packages: Vec<String>,
    /// Whether they are there after the next boot only.
    pub waits_for_boot: bool,
}

impl Install {
    /// What a person would type.
    pub fn commands(&self) -> Vec<String> {
        let mut commands = vec![format!("{} {}", self.command, self.packages.join(" "))];
        commands.extend(self.waits_for_boot.then(|| "sudo systemctl reboot".to_owned()));
        commands
    }

    /// Several installations as one for each package manager. A snapshot begins with what runs and not with
    /// the last one, so a second call of transactional-update would undo the first.
    pub fn merged<'a>(installs: impl IntoIterator<Item = &'a Install>) -> Vec<Install> {
        let mut merged: Vec<Install> = Vec::new();
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        let mut packages: BTreeSet<(usize, &str)> = BTreeSet::new();
        for install in installs {
            let at = *known.entry(&install.command).or_insert(merged.len());
            if at == merged.len() {
                merged.push(Install { packages: Vec::new(), ..install.clone() });
            }
            let new = install.packages.iter().filter(|package| packages.insert((at, package.as_str())));
            merged[at].packages.extend(new.cloned());
        }
        merged
    }
}

impl Remedy {
    /// A repair that edgeprep describes in full.
    pub fn setting(summary: impl Into<String>, setting: Setting) -> Remedy {
        Remedy { summary: summary.into(), settings: vec![setting], ..Remedy::default() }
    }

    /// A repair by hand.
    pub fn manual(summary: impl Into<String>) -> Remedy {
        Remedy { summary: summary.into(), ..Remedy::default() }
    }

    /// A repair by packages.
    pub fn install(summary: impl Into<String>, install: Install) -> Remedy {
        let commands = install.commands();
        Remedy { summary: summary.into(), commands, install: Some(install), ..Remedy::default() }
    }

    /// With a command that a person would type.
    pub fn command(mut self, command: impl Into<String>) -> Remedy {
        self.install = None;
        self.commands.push(command.into());
        self
    }
}

/// One thing that was looked at, as it should be and as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about, in a form that can be searched for: a sysctl, a module, a path.
    pub subject: String,
    /// The wanted value.
    pub expected: String,
    /// The value found, in the same notation.
    pub found: String,
    /// Where it stands.
    pub verdict: Verdict,
    /// Where that was read, the decisive place first.
    pub evidence: Vec<Evidence>,
    /// What repairs it; empty for what is met.
    pub remedy: Remedy,
    /// What the files said, where a probe says otherwise.
    pub overruled: Option<Overruled>,
}

/// What the files said of something that a probe has seen to be otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Overruled {
    /// The probe.
    pub by: &'static str,
    /// `met`, `pending`, `volatile` or `unmet`, by the files.
    pub verdict: &'static str,
    /// What was found, by the files.
    pub found: String,
}

impl Finding {
    /// A finding about `subject`.
    pub fn new(
        subject: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
        verdict: Verdict,
    ) -> Finding {
        Finding {
            subject: subject.into(),
            expected: expected.into(),
            found: found.into(),
            verdict,
            evidence: Vec::new(),
            remedy: Remedy::default(),
            overruled: None,
        }
    }

    /// With the place it was read.
    pub fn at(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Finding {
        self.evidence.extend(evidence);
        self
    }

    /// With its repair, which is dropped when there is nothing to repair.
    pub fn repair(mut self, remedy: Remedy) -> Finding {
        if self.verdict != Verdict::Met {
            self.remedy = remedy;
        }
        self
    }
}

/// A finding, or the reason why there is none, and who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// How much depends on it.
    pub level: Level,
    /// The stacks that asked.
    pub stacks: Vec<Stack>,
    /// Why they did.
    pub why: String,
    /// The lines of a workload that did.
    pub asked: Vec<Evidence>,
    /// What came of it.
    pub answer: Answer,
}

impl Item {
    /// What the files said, where a probe says otherwise.
    pub fn overruled(&self) -> Option<&Overruled> {
        match &self.answer {
            Answer::Found(finding) => finding.overruled.as_ref(),
            Answer::Unknown { .. } => None,
        }
    }
}

/// See [`Item`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was determined.
    Found(Box<Finding>),
    /// It could not be determined.
    Unknown {
        /// What could not be.
        subject: String,
        /// Why.
        reason: String,
    },
}

/// The result of a check: items, or the reason why it does not apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Why there are no items.
    pub skipped: Option<String>,
    /// The items, in the order of the report.
    pub items: Vec<Item>,
}

/// Why a check is skipped that no chosen stack asks for.
const NOT_ASKED: &str = "no chosen stack asks for it";

impl Outcome {
    /// It does not apply here.
    pub fn skip(reason: impl Into<String>) -> Outcome {
        Outcome { skipped: Some(reason.into()), items: Vec::new() }
    }

    /// It does not apply because no chosen stack asks for it.
    pub fn not_asked() -> Outcome {
        Outcome::skip(NOT_ASKED)
    }

    /// Adds a finding for who made this demand.
    pub fn add(&mut self, demand: &Demand, finding: Finding) {
        self.push(demand, Answer::Found(Box::new(finding)));
    }

    /// Adds that something could not be determined for who made this demand.
    pub fn unknown(&mut self, demand: &Demand, subject: impl Into<String>, reason: impl fmt::Display) {
        self.push(demand, Answer::Unknown { subject: subject.into(), reason: reason.to_string() });
    }

    fn push(&mut self, demand: &Demand, answer: Answer) {
        self.items.push(Item {
            level: demand.level,
            stacks: demand.stacks.clone(),
            why: demand.why.clone(),
            asked: demand.asked.clone(),
            answer,
        });
    }

    /// The same finding for everybody in `demands`.
    pub fn add_all<'a>(&mut self, demands: impl IntoIterator<Item = &'a Demand>, finding: &Finding) {
        for demand in demands {
            self.add(demand, finding.clone());
        }
    }

    /// The same reason for everybody in `demands`.
    pub fn unknown_all<'a>(
        &mut self,
        demands: impl IntoIterator<Item = &'a Demand>,
        subject: &str,
        reason: &dyn fmt::Display,
    ) {
        for demand in demands {
            self.unknown(demand, subject, reason);
        }
    }

    /// What came of a look, for everybody in `demands`: a finding, a doubt about it, or why there was none.
    pub fn looked<'a>(
        &mut self,
        demands: impl IntoIterator<Item = &'a Demand>,
        subject: &str,
        looked: Fact<Result<Finding, impl fmt::Display>>,
    ) {
        match looked {
            Ok(Ok(finding)) => self.add_all(demands, &finding),
            Ok(Err(doubt)) => self.unknown_all(demands, subject, &doubt),
            Err(why) => self.unknown_all(demands, subject, &why),
        }
    }

    /// The outcome, or [`Outcome::not_asked`] when nothing was added.
    pub fn or_not_asked(self) -> Outcome {
        self.or_skip(NOT_ASKED)
    }

    /// The outcome, or a skip with `reason` when nothing was added.
    pub fn or_skip(self, reason: &str) -> Outcome {
        if self.items.is_empty() && self.skipped.is_none() { Outcome::skip(reason) } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_and_effect_are_two_facts() {
        let table = [
            (true, Some(true), Verdict::Met),
            (true, None, Verdict::Met),
            (true, Some(false), Verdict::Pending(Needs::Reboot)),
            (false, Some(true), Verdict::Volatile),
            (false, Some(false), Verdict::Unmet),
            (false, None, Verdict::Unmet),
        ];
        for (configured, in_effect, verdict) in table {
            assert_eq!(
                Verdict::of(configured, in_effect, Needs::Reboot),
                verdict,
                "{configured} {in_effect:?}"
            );
        }
    }

    #[test]
    fn what_is_met_needs_no_repair() {
        let remedy = Remedy::manual("write it");
        assert_eq!(
            Finding::new("a", "1", "1", Verdict::Met).repair(remedy.clone()).remedy,
            Remedy::default()
        );
        assert_eq!(Finding::new("a", "1", "0", Verdict::Unmet).repair(remedy.clone()).remedy, remedy);
    }
}
