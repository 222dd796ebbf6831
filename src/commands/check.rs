//! `edgeprep check`.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{deliver, detail, open, terminal};
use crate::cli::{CheckArgs, Format};
use crate::inspection::{self, Request, inspect};
use crate::render::{human, json};

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let request = Request {
        profile: args.target.profile.clone(),
        stacks: args.whom.stacks.clone(),
        users: args.whom.users.clone(),
        select: args.selection.select.clone(),
        ignore: args.selection.ignore.clone(),
        strict: args.selection.strict,
        today: inspection::date(now),
    };
    let facts = open(&args.target.host)?;
    let mut report = inspect(&facts, &request)?;
    report.timestamp = args.timestamp.then_some(now);
    let text = match args.target.format {
        Format::Human => human::report(&report, detail(&args.shown), terminal(&args.shown, &facts)),
        Format::Json => json::report(&report)?,
    };
    deliver(&args.shown, &text)?;
    Ok(report.summary.exit_code)
}
