//! The verdict on a stack, made of what its checks say.

use serde::Serialize;

use super::{Row, Status, weight};
use crate::facts::users::User;
use crate::finding::{Answer, Level, Needs, Verdict};
use crate::requirements::Stack;

/// Whether a stack will run for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    /// Everything required is met.
    Ready,
    /// All that is missing is to put the configuration into effect.
    Pending,
    /// Something required is not met.
    NotReady,
    /// Nothing is known unmet, but something required could not be determined.
    Unknown,
}

/// The verdict on one stack for one user.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StackVerdict {
    /// The stack.
    pub name: Stack,
    /// The user.
    pub user: String,
    /// Whether it will run.
    pub verdict: Readiness,
    /// The checks that stand in the way.
    pub blockers: Vec<&'static str>,
    /// What a pending configuration takes to be in effect.
    pub needs: Needs,
    /// How many advised checks are not met.
    pub advised: usize,
}

/// The verdict on each stack for each user.
pub fn verdicts(rows: &[Row], stacks: &[Stack], users: &[User], strict: bool) -> Vec<StackVerdict> {
    let mut verdicts = Vec::new();
    for user in users {
        for &name in stacks {
            let mut verdict = StackVerdict {
                name,
                user: user.name.clone(),
                verdict: Readiness::Ready,
                blockers: Vec::new(),
                needs: Needs::None,
                advised: 0,
            };
            let of_user = |row: &&Row| row.user.as_ref().is_none_or(|u| *u == user.name);
            for row in rows.iter().filter(of_user).filter(|row| row.status != Status::Ignored) {
                verdict.take(row, strict);
            }
            verdicts.push(verdict);
        }
    }
    verdicts
}

impl StackVerdict {
    fn take(&mut self, row: &Row, strict: bool) {
        let mut advised = false;
        for item in row.items.iter().filter(|item| item.stacks.contains(&self.name)) {
            let (worse, needs) = match &item.answer {
                Answer::Unknown { .. } => (Readiness::Unknown, Needs::None),
                Answer::Found(finding) => match finding.verdict {
                    Verdict::Met => continue,
                    Verdict::Pending(needs) => (Readiness::Pending, needs),
                    Verdict::Volatile if !strict => {
                        advised = true;
                        continue;
                    }
                    Verdict::Volatile | Verdict::Unmet => (Readiness::NotReady, Needs::None),
                },
            };
            if weight(item, strict) == Level::Advised {
                advised = true;
                continue;
            }
            self.verdict = self.verdict.worst(worse);
            self.needs = self.needs.max(needs);
            if !self.blockers.contains(&row.id) {
                self.blockers.push(row.id);
            }
        }
        self.advised += usize::from(advised);
    }
}

impl Readiness {
    /// Of two verdicts the one that holds for both: not ready before unknown before pending.
    pub fn worst(self, other: Readiness) -> Readiness {
        let rank = |r| match r {
            Readiness::Ready => 0,
            Readiness::Pending => 1,
            Readiness::Unknown => 2,
            Readiness::NotReady => 3,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}
