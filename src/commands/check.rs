//! `edgeprep check`.

use anyhow::bail;

use super::{deliver, detail, now, open, request, terminal};
use crate::cli::{CheckArgs, Format};
use crate::host::Mode;
use crate::inspection::{inspect, inspect_and_probe};
use crate::render::{human, json};

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<u8> {
    let request = request(&args.target.profile, &args.whom, &args.workload, &args.selection)?;
    let facts = open(&args.target.host)?;
    let mut report = match (args.probe, facts.mode()) {
        (false, _) => inspect(&facts, &request)?,
        (true, Mode::Live) => inspect_and_probe(&facts, &request)?,
        (true, _) => {
            bail!("--probe tries things on the running host: not with --root or --capture, nor in a chroot")
        }
    };
    report.timestamp = args.timestamp.then(now);
    let text = match args.target.format {
        Format::Human => human::report(&report, detail(&args.shown), terminal(&args.shown, &facts)),
        Format::Json => json::report(&report)?,
    };
    deliver(&args.shown, &text)?;
    Ok(report.summary.exit_code)
}
