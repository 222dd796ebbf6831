//! `edgeprep fleet`.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::bail;

use super::{deliver, detail, terminal};
use crate::cli::{FleetArgs, FleetFormat};
use crate::facts::Facts;
use crate::fleet::{Hosts, Reports};
use crate::host::Host;
use crate::render::{fleet as render, json};

pub(super) fn run(args: &FleetArgs) -> anyhow::Result<u8> {
    let mut reports = Reports::default();
    let shown = &args.shown;
    let terminal = terminal(shown, &Facts::new(Host::live()));
    if let [old, new] = &args.compare[..] {
        let old = read(&mut reports, std::slice::from_ref(old), args.latest)?;
        let new = read(&mut reports, std::slice::from_ref(new), args.latest)?;
        for (path, hosts) in args.compare.iter().zip([&old, &new]) {
            if hosts.is_empty() {
                bail!("no report in {}", path.display());
            }
        }
        let comparison = reports.comparison(&old, &new);
        let text = match args.format {
            FleetFormat::Human => render::human::comparison(&comparison, detail(shown), terminal),
            FleetFormat::Json => json::fleet(&comparison)?,
            FleetFormat::Html => render::html::comparison(&comparison),
        };
        deliver(shown, &text)?;
        return Ok(comparison.summary.exit_code);
    }
    let stdin = [PathBuf::from("-")];
    let paths = if args.reports.is_empty() { &stdin[..] } else { &args.reports };
    if args.reports.is_empty() && std::io::stdin().is_terminal() {
        bail!(
            "no report: name files or folders, or pipe reports, as in: cat reports/*.json | edgeprep fleet"
        );
    }
    let hosts = read(&mut reports, paths, args.latest)?;
    let fleet = reports.fleet(&hosts);
    if fleet.summary.hosts + fleet.summary.unreadable == 0 {
        bail!("no report in what was named");
    }
    let text = match args.format {
        FleetFormat::Human => render::human::fleet(&fleet, detail(shown), terminal),
        FleetFormat::Json => json::fleet(&fleet)?,
        FleetFormat::Html => render::html::fleet(&fleet)?,
    };
    deliver(shown, &text)?;
    Ok(fleet.summary.exit_code)
}

fn read(reports: &mut Reports, paths: &[PathBuf], latest: bool) -> anyhow::Result<Hosts> {
    reports
        .read(paths, latest)
        .map_err(|(path, error)| anyhow::Error::new(error).context(format!("cannot read {}", path.display())))
}
