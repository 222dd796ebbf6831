//! What no host can satisfy, since two layers want different things: both places are named.

use super::{KernelArgument, Origin, Requirements, agree, contradict};
use crate::profile::ProfileError;

impl Requirements {
    pub(super) fn find_contradictions(&self) -> Result<(), ProfileError> {
        for (key, want) in &self.sysctls {
            for (i, one) in want.rules.iter().enumerate() {
                for other in &want.rules[i + 1..] {
                    if contradict(&one.value, &other.value) {
                        return Err(ProfileError::Contradiction {
                            subject: format!("sysctl {key}"),
                            one: format!("{} ({})", one.value, one.demand.origin),
                            other: format!("{} ({})", other.value, other.demand.origin),
                        });
                    }
                }
            }
        }
        for ((table, key), want) in &self.engine {
            for (i, one) in want.rules.iter().enumerate() {
                if let Some(other) = want.rules[i + 1..].iter().find(|other| !agree(&one.value, &other.value))
                {
                    return Err(ProfileError::Contradiction {
                        subject: format!("{key} of [{table}]"),
                        one: format!("{} ({})", one.value, one.demand.origin),
                        other: format!("{} ({})", other.value, other.demand.origin),
                    });
                }
            }
        }
        let arguments: Vec<(&KernelArgument, &Origin)> = self
            .kernel_arguments
            .iter()
            .filter_map(|(argument, demands)| Some((argument, &demands.first()?.origin)))
            .collect();
        for (i, (one, at)) in arguments.iter().enumerate() {
            if let Some((other, other_at)) =
                arguments[i + 1..].iter().find(|(other, _)| one.contradicts(other))
            {
                return Err(ProfileError::Contradiction {
                    subject: "kernel arguments".to_owned(),
                    one: format!("{one} ({at})"),
                    other: format!("{other} ({other_at})"),
                });
            }
        }
        for (name, wants) in &self.environment {
            if let [one, rest @ ..] = &wants[..]
                && let Some(other) = rest.iter().find(|other| other.value.value != one.value.value)
            {
                return Err(ProfileError::Contradiction {
                    subject: name.clone(),
                    one: format!("{} ({})", one.value.value, one.demand.origin),
                    other: format!("{} ({})", other.value.value, other.demand.origin),
                });
            }
        }
        Ok(())
    }
}
