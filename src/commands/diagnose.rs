//! `edgeprep diagnose`.

use std::fs::File;
use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Context, bail};

use super::{deliver, detail, open, request, terminal};
use crate::cli::{DiagnoseArgs, Format, SelectionArgs, WorkloadArgs};
use crate::diagnosis::Logs;
use crate::render::human;
use crate::symptoms;

pub(super) fn run(args: &DiagnoseArgs) -> anyhow::Result<u8> {
    if args.files.is_empty() && std::io::stdin().is_terminal() {
        bail!(
            "no log: name a file, or pipe one, as in: journalctl --user -u k3s-rootless -b | edgeprep diagnose"
        );
    }
    let facts = open(&args.target.host)?;
    let symptoms = symptoms::of_site(&facts)?;
    let mut logs = Logs::new(&symptoms);
    for file in &args.files {
        read(&mut logs, file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    if args.files.is_empty() {
        logs.read(None, std::io::stdin().lock()).context("cannot read standard input")?;
    }
    let (workload, selection) = (WorkloadArgs::default(), SelectionArgs::default());
    let request = request(&args.target.profile, &args.whom, &workload, &selection)?;
    let diagnosis = logs.diagnose(&facts, request)?;
    let text = match args.format {
        Format::Human => human::diagnosis(&diagnosis, detail(&args.shown), terminal(&args.shown, &facts))?,
        Format::Json => serde_json::to_string_pretty(&diagnosis)? + "\n",
    };
    deliver(&args.shown, &text)?;
    Ok(diagnosis.exit_code)
}

/// A log is a file of the machine that edgeprep runs on, whatever host is looked at.
#[expect(clippy::disallowed_methods, reason = "a log is what the caller names, and no fact of a host")]
fn read(logs: &mut Logs, file: &Path) -> std::io::Result<()> {
    if file == Path::new("-") {
        return logs.read(None, std::io::stdin().lock());
    }
    logs.read(Some(&file.to_string_lossy()), File::open(file)?)
}
