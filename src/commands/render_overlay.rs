//! `edgeprep render`.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Context, bail, ensure};

use super::say;
use crate::apply::target::Target;
use crate::cli::{OverlayFormat, RenderArgs};
use crate::facts::Facts;
use crate::facts::clock::day;
use crate::host::Host;
use crate::inspection::{self, Request};
use crate::overlay::{Options, Overlay, Person};
use crate::plan::State;
use crate::render::{self, overlay};
use crate::{exit_code, output};

pub(super) fn run(args: &RenderArgs) -> anyhow::Result<u8> {
    ensure!(args.profile != "auto", "--profile auto: there is no hardware to recognise one by: name one");
    overlay::refuse(args.format, args.layer)?;
    let person = Person::new(&args.user, Some(args.uid), args.gid, args.home.as_deref())?;
    // Today is a fact of the build machine, and the same input has the same output.
    let built = source_date_epoch()?;
    let request = Request {
        profile: args.profile.clone(),
        stacks: args.stacks.clone(),
        select: args.selection.select.clone(),
        ignore: args.selection.ignore.clone(),
        strict: args.selection.strict,
        today: day(built),
        workload: inspection::workload(&args.workload.files)?,
        ..Request::default()
    };
    let (layer, subids, kernel) = (args.layer, args.subids, args.kernel.clone());
    let planned = Overlay::plan(&request, &Options { layer, subids, person, kernel })?;
    match (args.format, &args.output) {
        (OverlayFormat::Dir, None) => bail!("--format dir: name the directory with --output"),
        (OverlayFormat::Dir, Some(path)) => output::directory(path, |dir| fill(dir, &planned, built))
            .with_context(|| format!("cannot make {}", path.display()))?,
        (format, Some(path)) => output::write(path, &overlay::bytes(&planned, format, built)?, 0o666)
            .with_context(|| format!("cannot write {}", path.display()))?,
        (OverlayFormat::Tar, None) if std::io::stdout().is_terminal() => {
            bail!("a tar is not for a terminal: name a file with --output, or pipe it")
        }
        (format, None) => render::print_bytes(&overlay::bytes(&planned, format, built)?)?,
    }
    let left = overlay::left(&planned, args.format);
    left.iter().for_each(|left| say(&format!("not in it: {}", left.text)));
    Ok(if left.iter().any(|left| left.required) { exit_code::UNMET } else { exit_code::DONE })
}

fn source_date_epoch() -> anyhow::Result<i64> {
    let facts = Facts::new(Host::live());
    match facts.caller().environment.get("SOURCE_DATE_EPOCH").filter(|value| !value.is_empty()) {
        Some(seconds) => seconds.parse().context("SOURCE_DATE_EPOCH: expected seconds since 1970"),
        None => Ok(0),
    }
}

fn fill(dir: &Path, overlay: &Overlay, mtime: i64) -> anyhow::Result<()> {
    let target = Target::image(dir)?.with_mtime(Some(mtime));
    let parent = State::Dir { mode: 0o755, uid: 0, gid: 0 };
    for (path, state) in overlay.with_parents(&parent) {
        target.put(&path, &State::Absent, &state)?;
    }
    Ok(())
}
