//! `edgeprep fix`.

use anyhow::{Context, bail};

use super::place::Place;
use super::{confirm, now, terminal, writing};
use crate::apply::journal::Journal;
use crate::apply::transaction::Applied;
use crate::cli::{FixArgs, Format};
use crate::exit_code;
use crate::fixes;
use crate::inspection::{self, Request, inspect};
use crate::plan::{Plan, Planner, Scope};
use crate::render::fix::{self, FixReport};
use crate::render::human::{self, Detail};
use crate::render::print;

pub(super) fn run(args: &FixArgs) -> anyhow::Result<u8> {
    let place = Place::of(&args.place)?;
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
    if !place.is_image() {
        if args.layer != fixes::Layer::Admin || args.no_journal {
            bail!("--layer vendor and --no-journal are for image roots: name one with --root");
        }
        if args.scope == Scope::System && place.uid != 0 {
            bail!("--scope system needs root: run it with sudo");
        }
    }
    let open = |changes: &[_]| place.facts(changes);
    let planner = Planner { open: &open, request: &request, options: &options, scope: args.scope };
    if args.dry_run {
        let plan = planner.plan()?;
        show(args, &plan, &place)?;
        if args.format == Format::Json {
            print(&FixReport::of(&plan, &plan.predicted).to_json()?)?;
        }
        return Ok(exit_code::of_plan(&plan));
    }
    writing(&place, args.no_journal, |work| {
        let plan = planner.plan()?;
        show(args, &plan, &place)?;
        if !plan.is_empty() && !confirm(args.yes, "Apply this?")? {
            print("Nothing was changed.\n")?;
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
        let after = inspect(&place.facts(&[])?, &request).context("the check after the fix")?;
        let mut report = FixReport::of(&plan, &after);
        report.dry_run = false;
        report.notes = std::mem::take(&mut work.notes);
        report.journal = (recorded && !args.no_journal).then_some(journal.id);
        let code = match applied {
            Applied::Done { notes } => {
                report.notes.extend(notes);
                exit_code::of_check(after.summary.verdict)
            }
            Applied::PutBack { error } => {
                (report.changed, report.error) = (false, Some(error));
                exit_code::PUT_BACK
            }
            Applied::Stuck { error, left } => {
                (report.error, report.left) = (Some(error), left);
                exit_code::STUCK
            }
        };
        match args.format {
            Format::Json => print(&report.to_json()?)?,
            Format::Human => {
                let mut text = fix::outcome(&report);
                text.push_str(&human::report(
                    &after,
                    Detail::Normal,
                    terminal(args.color, &place.facts(&[])?),
                ));
                print(&text)?;
            }
        }
        Ok(code)
    })
}

fn show(args: &FixArgs, plan: &Plan, place: &Place) -> anyhow::Result<()> {
    if args.format == Format::Json {
        return Ok(());
    }
    let terminal = terminal(args.color, &place.facts(&[])?);
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
