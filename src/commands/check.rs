//! `edgeprep check`.

use super::{deliver, detail, now, open, request, terminal};
use crate::cli::{CheckArgs, Format};
use crate::inspection::inspect;
use crate::render::{human, json};

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<u8> {
    let request = request(&args.target.profile, &args.whom, &args.selection);
    let facts = open(&args.target.host)?;
    let mut report = inspect(&facts, &request)?;
    report.timestamp = args.timestamp.then(now);
    let text = match args.target.format {
        Format::Human => human::report(&report, detail(&args.shown), terminal(&args.shown, &facts)),
        Format::Json => json::report(&report)?,
    };
    deliver(&args.shown, &text)?;
    Ok(report.summary.exit_code)
}
