//! `edgeprep capture`.

use anyhow::Context;

use crate::capture;
use crate::cli::CaptureArgs;
use crate::facts::Facts;
use crate::host::Host;
use crate::inspection::{self, Policy, Request, inspect};
use crate::requirements::Stack;
use crate::{exit_code, output, render};

pub(super) fn run(args: &CaptureArgs) -> anyhow::Result<u8> {
    let stacks = if args.whom.stacks.is_empty() { Stack::ALL.to_vec() } else { args.whom.stacks.clone() };
    let request = Request {
        profile: "auto".to_owned(),
        stacks,
        users: args.whom.users.clone(),
        workload: inspection::workload(&args.workload.files)?,
        ..Request::default()
    };
    let facts = Facts::new(Host::live().recorded());
    let report = inspect(&facts, &request)?;
    // What detect tells of the boot loader, whether a profile asks for words of the kernel or not.
    let _ = facts.boot(&Policy::choose(&facts, &request.profile)?.boot());
    let recording = facts.into_host().into_recording().context("nothing was recorded")?;
    let users = report.users.iter().map(|user| user.name.clone()).collect();
    let captured = capture::finish(recording, users, !args.keep_identity);
    let tar = capture::tar(&captured)?;
    // It can hold what only root may read.
    output::write(&args.output, &tar, 0o600)
        .with_context(|| format!("cannot write {}", args.output.display()))?;
    render::print(&format!(
        "{}: {} files; check it with: edgeprep check --capture {0}\n",
        args.output.display(),
        captured.files.len()
    ))?;
    Ok(exit_code::DONE)
}
