//! The exit codes of the contract, in one table.

use crate::apply::transaction::Applied;
use crate::finding::Needs;
use crate::plan::Plan;
use crate::report::Readiness;

/// Everything required is met, or a listing was printed.
pub const DONE: u8 = 0;
/// Something required is not met.
pub const UNMET: u8 = 1;
/// Usage, an unknown name, a bad profile or site file; nothing was judged.
pub const USAGE: u8 = 2;
/// Nothing is known unmet, but something required could not be determined.
pub const UNKNOWN: u8 = 3;
/// Only putting the configuration into effect is missing: a re-login or reboot.
pub const PENDING: u8 = 4;

/// A fix or undo failed, and everything was put back.
pub const PUT_BACK: u8 = 5;
/// A fix or undo failed, and something could not be put back.
pub const STUCK: u8 = 6;

/// The exit code of `edgeprep check` for the worst verdict of all stacks.
pub fn of_check(verdict: Option<Readiness>) -> u8 {
    match verdict {
        None | Some(Readiness::Ready) => DONE,
        Some(Readiness::NotReady) => UNMET,
        Some(Readiness::Unknown) => UNKNOWN,
        Some(Readiness::Pending) => PENDING,
    }
}

/// The exit code of `edgeprep fix`, with the worst verdict of the check that followed.
pub fn of_fix(applied: &Applied, verdict: Option<Readiness>) -> u8 {
    match applied {
        Applied::Done { .. } => of_check(verdict),
        Applied::PutBack { .. } => PUT_BACK,
        Applied::Stuck { .. } => STUCK,
    }
}

/// The exit code of a dry run: that of the check after the fix, as far as files tell. What only waits for an
/// activation of the plan is done then.
pub fn of_plan(plan: &Plan) -> u8 {
    let activated = !plan.activations.is_empty();
    let needs = plan.predicted.stacks.iter().map(|stack| stack.needs).max().unwrap_or_default();
    match plan.predicted.summary.verdict {
        Some(Readiness::Pending) if activated && needs == Needs::None => DONE,
        verdict => of_check(verdict),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_contract() {
        let table = [
            (Readiness::Ready, 0),
            (Readiness::NotReady, 1),
            (Readiness::Unknown, 3),
            (Readiness::Pending, 4),
        ];
        for (verdict, code) in table {
            assert_eq!(of_check(Some(verdict)), code);
        }
        assert_eq!((USAGE, PUT_BACK, STUCK), (2, 5, 6));
    }
}
