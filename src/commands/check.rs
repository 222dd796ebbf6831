//! `edgeprep check`.

use anyhow::bail;

use super::report::{or_unknown, show};
use super::{now, open, request};
use crate::cli::CheckArgs;
use crate::host::Mode;
use crate::inspection::{inspect, inspect_and_probe};
use crate::render::json;
use crate::report::Saved;

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<u8> {
    or_unknown(args.format, check(args))
}

fn check(args: &CheckArgs) -> anyhow::Result<u8> {
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
    show(&Saved::of(&report)?, args.format, &args.shown, &facts, || json::report(&report))
}
