//! `edgeprep check`.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;

use super::{open, terminal};
use crate::cli::{CheckArgs, Color, Format};
use crate::inspection::{self, Request, inspect};
use crate::output;
use crate::render::human::{self, Detail};
use crate::render::{self, json};

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
    let detail = match (args.verbose, args.quiet) {
        (true, _) => Detail::Verbose,
        (false, true) => Detail::Quiet,
        (false, false) => Detail::Normal,
    };
    let color = if args.output.is_some() && args.color == Color::Auto { Color::Never } else { args.color };
    let text = match args.target.format {
        Format::Human => human::report(&report, detail, terminal(color, &facts)),
        Format::Json => json::report(&report)?,
    };
    match &args.output {
        Some(path) => output::write(path, text.as_bytes(), 0o666)
            .with_context(|| format!("cannot write {}", path.display()))?,
        None => render::print(&text)?,
    }
    Ok(report.summary.exit_code)
}
