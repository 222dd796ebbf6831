//! What a fix came to: the checks again, on what the host says now.

use super::place::Place;
use super::work::Work;
use super::{deliver, detail, say, terminal};
use crate::apply::transaction::Applied;
use crate::cli::{FixArgs, Format};
use crate::exit_code;
use crate::inspection::{Request, inspect};
use crate::plan::Plan;
use crate::render::fix::{self, FixReport};
use crate::render::human;
use crate::report::Saved;

/// A fix that was carried out.
#[derive(Clone, Copy)]
pub(super) struct Verified<'a> {
    pub(super) args: &'a FixArgs,
    pub(super) place: &'a Place,
    pub(super) request: &'a Request,
    pub(super) plan: &'a Plan,
}

impl Verified<'_> {
    /// Checks again and reports. Whatever fails here, the exit code is that of what was done.
    pub(super) fn report(&self, work: &mut Work<'_>, journal: Option<u32>, applied: Applied) -> u8 {
        let Verified { args, place, request, plan } = *self;
        let checked = place.facts(&[]).map_err(anyhow::Error::from).and_then(|facts| {
            let report = inspect(&facts, request)?;
            Ok((terminal(&args.shown, &facts), report))
        });
        let after = checked.as_ref().map_or(&plan.predicted, |(_, report)| report);
        let code =
            exit_code::of_fix(&applied, checked.as_ref().ok().and_then(|(_, report)| report.summary.verdict));
        let mut report = FixReport::after(plan, after, journal, applied);
        report.notes.splice(0..0, std::mem::take(&mut work.notes));
        if let Err(error) = &checked {
            report.notes.push(format!(
                "the check after the fix failed, and the report is that of the plan: {error:#}"
            ));
        }
        let code = if checked.is_err() && code == exit_code::DONE { exit_code::UNKNOWN } else { code };
        let shown = match (args.format, &checked) {
            (Format::Json, _) => report.to_json().map_err(anyhow::Error::from),
            (Format::Human, Ok((terminal, after))) => Saved::of(after)
                .map(|after| human::report(&after, detail(&args.shown), *terminal))
                .map(|text| format!("{}{text}", fix::outcome(&report)))
                .map_err(anyhow::Error::from),
            (Format::Human, Err(_)) => Ok(fix::outcome(&report)),
        };
        if let Err(error) = shown.and_then(|text| deliver(&args.shown, &text)) {
            say(&format!("{error:#}; what was done: {}", fix::outcome(&report)));
        }
        code
    }
}
