//! `edgeprep fix`.

use anyhow::bail;

use super::place::Place;
use super::work::Work;
use super::{confirm, deliver, detail, now, say, terminal, writing};
use crate::apply::journal::Journal;
use crate::apply::transaction::Applied;
use crate::cli::{FixArgs, Format};
use crate::exit_code;
use crate::fixes;
use crate::inspection::{self, Request, inspect};
use crate::plan::{Plan, Planner, Scope};
use crate::render::fix::{self, FixReport};
use crate::render::{human, print};

pub(super) fn run(args: &FixArgs) -> anyhow::Result<u8> {
    let place = Place::of(&args.place)?;
    refuse(args, &place)?;
    let request = Request {
        profile: args.profile.clone(),
        stacks: args.whom.stacks.clone(),
        users: args.whom.users.clone(),
        select: args.selection.select.clone(),
        ignore: args.selection.ignore.clone(),
        strict: args.selection.strict,
        today: inspection::date(now()),
    };
    let options = fixes::Options {
        layer: args.layer,
        no_activate: args.no_activate,
        allow_global_userns: args.allow_global_userns,
        allow_restart: args.allow_restart,
    };
    let open = |changes: &[_]| place.facts(changes);
    let planner = Planner { open: &open, request: &request, options: &options, scope: args.scope };
    if args.dry_run {
        let plan = planner.plan()?;
        show(args, &plan, &place)?;
        if args.format == Format::Json {
            deliver(&args.shown, &FixReport::of(&plan, &plan.predicted).to_json()?)?;
        }
        return Ok(exit_code::of_plan(&plan));
    }
    writing(&place, args.no_journal, |work| {
        let plan = planner.plan()?;
        show(args, &plan, &place)?;
        if !plan.is_empty() && !confirm(args.yes, "Apply this?")? {
            say("Nothing was changed.");
            return Ok(exit_code::of_check(plan.before.summary.verdict));
        }
        let journal = journal(&plan, work.next_id, &place);
        let recorded = plan.can_be_undone();
        let applied = if plan.is_empty() {
            Applied::Done { notes: Vec::new() }
        } else {
            work.transaction(recorded).apply(journal.clone())
        };
        work.waited();
        let id = (recorded && !args.no_journal).then_some(journal.id);
        Ok(outcome(args, &place, &request, work, &plan, id, applied))
    })
}

fn refuse(args: &FixArgs, place: &Place) -> anyhow::Result<()> {
    if !place.is_image() && (args.layer != fixes::Layer::Admin || args.no_journal) {
        bail!("--layer vendor and --no-journal are for image roots: name one with --root");
    }
    if !place.is_image() && args.scope == Scope::System && place.uid != 0 {
        bail!("--scope system needs root: run it with sudo");
    }
    Ok(())
}

/// Checks again and reports. Whatever fails here, the exit code is that of what was done.
fn outcome(
    args: &FixArgs,
    place: &Place,
    request: &Request,
    work: &mut Work<'_>,
    plan: &Plan,
    journal: Option<u32>,
    applied: Applied,
) -> u8 {
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
        report
            .notes
            .push(format!("the check after the fix failed, and the report is that of the plan: {error:#}"));
    }
    let code = if checked.is_err() && code == exit_code::DONE { exit_code::UNKNOWN } else { code };
    let shown = match (args.format, &checked) {
        (Format::Json, _) => report.to_json().map_err(anyhow::Error::from),
        (Format::Human, Ok((terminal, after))) => {
            Ok(format!("{}{}", fix::outcome(&report), human::report(after, detail(&args.shown), *terminal)))
        }
        (Format::Human, Err(_)) => Ok(fix::outcome(&report)),
    };
    if let Err(error) = shown.and_then(|text| deliver(&args.shown, &text)) {
        say(&format!("{error:#}; what was done: {}", fix::outcome(&report)));
    }
    code
}

fn show(args: &FixArgs, plan: &Plan, place: &Place) -> anyhow::Result<()> {
    if args.format == Format::Json {
        return Ok(());
    }
    let terminal = terminal(&args.shown, &place.facts(&[])?);
    Ok(print(&format!("{}\n{}", human::verdicts(&plan.before, terminal), fix::plan(plan)))?)
}

fn journal(plan: &Plan, id: u32, place: &Place) -> Journal {
    let users = plan.before.users.iter().map(|user| user.name.clone()).collect();
    let mut stacks: Vec<_> = plan.before.stacks.iter().map(|stack| stack.name).collect();
    stacks.dedup();
    let mut journal = Journal::new(id, (!place.is_image()).then(now), users, stacks);
    journal.changes.clone_from(&plan.changes);
    journal.activations.clone_from(&plan.activations);
    journal
}
