//! `edgeprep fix`.

use anyhow::bail;

use super::place::Place;
use super::verified::Verified;
use super::{confirm, deliver, now, request, say, terminal, writing};
use crate::apply::journal::Journal;
use crate::apply::transaction::Applied;
use crate::cli::{FixArgs, Format};
use crate::plan::{Plan, Planner, Scope};
use crate::render::fix::{self, FixReport};
use crate::render::{human, print};
use crate::report::Saved;
use crate::{exit_code, fixes};

pub(super) fn run(args: &FixArgs) -> anyhow::Result<u8> {
    let place = Place::of(&args.place)?;
    refuse(args, &place)?;
    let request = request(&args.profile, &args.whom, &args.workload, &args.selection)?;
    let options = fixes::Options {
        layer: args.layer,
        no_activate: args.no_activate,
        allow_global_userns: args.allow_global_userns,
        allow_restart: args.allow_restart,
        regenerate_boot: args.regenerate_boot,
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
        let journal = Journal::of(&plan, work.next_id, (!place.is_image()).then(now));
        let id = journal.id;
        let recorded = plan.can_be_undone();
        let applied = if plan.is_empty() {
            Applied::Done { notes: Vec::new() }
        } else {
            work.transaction(recorded).apply(journal)
        };
        work.waited();
        let id = (recorded && !args.no_journal).then_some(id);
        Ok(Verified { args, place: &place, request: &request, plan: &plan }.report(work, id, applied))
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

fn show(args: &FixArgs, plan: &Plan, place: &Place) -> anyhow::Result<()> {
    if args.format == Format::Json {
        return Ok(());
    }
    let terminal = terminal(&args.shown, &place.facts(&[])?);
    Ok(print(&format!("{}\n{}", human::verdicts(&Saved::of(&plan.before)?, terminal), fix::plan(plan)))?)
}
