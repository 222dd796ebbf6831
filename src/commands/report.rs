//! `edgeprep report`, and how `edgeprep check` shows what it found: one way for both.

use std::fs::File;
use std::path::Path;

use anyhow::Context;

use super::{deliver, detail, terminal};
use crate::cli::{ReportArgs, ReportFormat, ShownArgs};
use crate::facts::Facts;
use crate::host::Host;
use crate::render::{html, human, junit, markdown, nagios, print, prometheus, sarif, tap};
use crate::report::Saved;
use crate::report::saved::{NoReport, parse, read};

pub(super) fn run(args: &ReportArgs) -> anyhow::Result<u8> {
    or_unknown(args.format, saved(args))
}

fn saved(args: &ReportArgs) -> anyhow::Result<u8> {
    let name = args.file.display();
    let bytes = load(&args.file).with_context(|| format!("{name}"))?;
    let report = parse(&bytes).with_context(|| format!("{name}"))?;
    // As it was saved: what this edgeprep does not know of it is not lost.
    let json = || Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned() + "\n");
    show(&report, args.format, &args.shown, &Facts::new(Host::live()), json)
}

/// A report is a file of the machine that edgeprep runs on, whatever host it is of.
#[expect(clippy::disallowed_methods, reason = "a report is what the caller names, and no fact of a host")]
fn load(file: &Path) -> Result<Vec<u8>, NoReport> {
    if file == Path::new("-") { read(std::io::stdin().lock()) } else { read(File::open(file)?) }
}

/// Shows a report and returns the exit code that goes with the format.
pub(super) fn show(
    report: &Saved,
    format: ReportFormat,
    shown: &ShownArgs,
    facts: &Facts,
    json: impl FnOnce() -> serde_json::Result<String>,
) -> anyhow::Result<u8> {
    let mut code = report.exit_code();
    let text = match format {
        ReportFormat::Human => human::report(report, detail(shown), terminal(shown, facts)),
        ReportFormat::Json => json()?,
        ReportFormat::Junit => junit::report(report),
        ReportFormat::Tap => tap::report(report),
        ReportFormat::Sarif => sarif::report(report)?,
        ReportFormat::Prometheus => prometheus::report(report),
        ReportFormat::Nagios => {
            let (line, plugin_code) = nagios::report(report);
            code = plugin_code;
            line
        }
        ReportFormat::Markdown => markdown::report(report),
        ReportFormat::Html => html::report(report),
    };
    deliver(shown, &text)?;
    Ok(code)
}

/// Whoever runs a plugin of Nagios reads standard output, and takes exit code 2 for CRITICAL.
pub(super) fn or_unknown(format: ReportFormat, done: anyhow::Result<u8>) -> anyhow::Result<u8> {
    match done {
        Err(error) if format == ReportFormat::Nagios => {
            print(&nagios::failed(&format!("{error:#}")))?;
            Ok(nagios::UNKNOWN)
        }
        done => done,
    }
}
