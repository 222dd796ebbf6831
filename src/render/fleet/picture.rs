//! The heat map: a row for each check, a column for each host, or for several hosts that lie side by side.

use crate::fleet::{CheckSum, Fleet, State};

/// The share of the hosts of a column of which a check says so, in per cent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) fail: u8,
    pub(super) unknown: u8,
    pub(super) pending: u8,
    pub(super) advised: u8,
}

impl Cell {
    /// The share of what stands in the way, or may.
    pub(super) fn open(self) -> u8 {
        self.fail + self.unknown + self.pending
    }

    fn of(states: &[State]) -> Cell {
        let share = |state| {
            let count = states.iter().filter(|s| **s == state).count();
            // A single host of a thousand is to be seen.
            u8::try_from((count * 100 / states.len().max(1)).max(usize::from(count > 0))).unwrap_or(100)
        };
        Cell {
            fail: share(State::Fail),
            unknown: share(State::Unknown),
            pending: share(State::Pending),
            advised: share(State::Advised),
        }
    }
}

/// The hosts in the order of the columns: those of a group side by side.
pub(super) fn order(fleet: &Fleet) -> Vec<usize> {
    fleet.groups.iter().flat_map(|group| group.members.iter().copied()).collect()
}

/// The row of a check, of at most `width` columns.
pub(super) fn row(check: &CheckSum, order: &[usize], width: usize) -> Vec<Cell> {
    let states: Vec<State> = order.iter().filter_map(|at| check.states.get(*at).copied()).collect();
    let columns = width.min(states.len());
    let bounds = |column: usize| column * states.len() / columns.max(1);
    (0..columns).map(|column| Cell::of(&states[bounds(column)..bounds(column + 1)])).collect()
}

/// The checks that are not met everywhere, those that stand in the way of most hosts first.
pub(super) fn open<'f, 'a>(fleet: &'f Fleet<'a>) -> Vec<&'f CheckSum<'a>> {
    let weight = |check: &CheckSum| (check.fail, check.unknown + check.pending, check.advised);
    let mut checks: Vec<&CheckSum> = fleet.checks.iter().filter(|check| weight(check) != (0, 0, 0)).collect();
    checks.sort_by_key(|check| std::cmp::Reverse(weight(check)));
    checks
}
