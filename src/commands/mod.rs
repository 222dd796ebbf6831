//! Glue, one file per subcommand: opens the host, calls the library, prints.

mod capture;
mod check;
pub(crate) mod detect;
mod diagnose;
mod env;
mod fix;
mod history;
mod place;
mod report;
mod undo;
mod verified;
mod work;

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::CommandFactory;

use crate::cli::{Cli, Color, Command, HostArgs, Listing, SelectionArgs, ShownArgs, WhomArgs, WorkloadArgs};
use crate::facts::Facts;
use crate::facts::clock::day;
use crate::host::Host;
use crate::inspection::{self, Request, RequestError};
use crate::render::human::{Detail, Terminal};
use crate::render::{self, explain};
use crate::{checks, exit_code, output, profile, requirements};
use work::writing;

/// Runs a subcommand and returns the exit code.
///
/// # Errors
/// What the user asked for cannot be done: exit code 2.
pub fn run(cli: Cli) -> anyhow::Result<u8> {
    let text = match cli.command {
        Command::Check(args) => return check::run(&args),
        Command::Fix(args) => return fix::run(&args),
        Command::Undo(args) => return undo::run(&args),
        Command::History(args) => return history::run(&args),
        Command::Diagnose(args) => return diagnose::run(&args),
        Command::Detect(args) => return detect::run(&args),
        Command::Report(args) => return report::run(&args),
        Command::Env(args) => return env::run(&args),
        Command::Capture(args) => return capture::run(&args),
        Command::Explain { id: None } | Command::List { what: Listing::Checks } => explain::checks(),
        Command::Explain { id: Some(id) } => {
            let glob = id.clone();
            let check = checks::by_id(&id).ok_or(RequestError::NoSuchCheck { glob })?;
            explain::check(check)
        }
        Command::List { what: Listing::Stacks } => {
            let layers: Result<Vec<_>, _> =
                requirements::Stack::ALL.into_iter().map(profile::stack).collect();
            explain::layers(&layers?)
        }
        Command::List { what: Listing::Profiles } => {
            let (mut layers, shared) = (profile::built_in()?, profile::shared()?);
            layers.retain(|layer| !shared.contains_key(layer.name()));
            explain::profiles(&layers)
        }
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "edgeprep", &mut text);
            String::from_utf8(text)?
        }
        Command::Man { command } => man(command.as_deref())?,
    };
    render::print(&text)?;
    Ok(exit_code::DONE)
}

/// The manual page of edgeprep, or of one of its commands.
fn man(of: Option<&str>) -> anyhow::Result<String> {
    // There is `--help` for that, and a page of its own says no more.
    let mut command = Cli::command().disable_help_subcommand(true);
    // Names a command by all that is typed: edgeprep-check.
    command.build();
    let page = match of {
        None => command,
        Some(name) => {
            command.find_subcommand(name).with_context(|| format!("no command is called {name:?}"))?.clone()
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).source(concat!("edgeprep ", env!("CARGO_PKG_VERSION"))).render(&mut text)?;
    Ok(String::from_utf8(text)?)
}

/// Opens the host that was asked for.
fn open(args: &HostArgs) -> anyhow::Result<Facts> {
    let host = match (&args.root, &args.capture) {
        (Some(root), _) => Host::image(root).context("--root")?,
        (None, Some(capture)) => Host::capture(capture).context("--capture")?,
        (None, None) => {
            let facts = Facts::new(Host::live());
            // In a chroot /proc and /sys are the build machine's, so only files can be judged.
            if !inspection::looks_like_chroot(&facts) {
                return Ok(facts);
            }
            Host::image(Path::new("/")).context("in a chroot")?
        }
    };
    Ok(Facts::new(host))
}

fn request(
    profile: &str,
    whom: &WhomArgs,
    workload: &WorkloadArgs,
    selection: &SelectionArgs,
) -> Result<Request, RequestError> {
    Ok(Request {
        profile: profile.to_owned(),
        stacks: whom.stacks.clone(),
        users: whom.users.clone(),
        select: selection.select.clone(),
        ignore: selection.ignore.clone(),
        strict: selection.strict,
        today: day(i64::try_from(now()).unwrap_or(i64::MAX)),
        workload: inspection::workload(&workload.files)?,
        ..Request::default()
    })
}

/// How the terminal is on which a report is shown; a file is none.
fn terminal(shown: &ShownArgs, facts: &Facts) -> Terminal {
    let color = match shown.color {
        Color::Auto => shown.output.is_none() && console::colors_enabled(),
        Color::Always => true,
        Color::Never => false,
    };
    Terminal { color, utf8: facts.caller().locale_is_utf8(), root: facts.caller().uid == 0 }
}

fn detail(shown: &ShownArgs) -> Detail {
    match (shown.verbose, shown.quiet) {
        (true, _) => Detail::Verbose,
        (false, true) => Detail::Quiet,
        (false, false) => Detail::Normal,
    }
}

/// Writes a report to where it was asked for.
fn deliver(shown: &ShownArgs, text: &str) -> anyhow::Result<()> {
    match &shown.output {
        Some(path) => output::write(path, text.as_bytes(), 0o666)
            .with_context(|| format!("cannot write {}", path.display())),
        None => Ok(render::print(text)?),
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Tells whoever sits at the terminal, and no program that reads standard output.
fn say(text: &str) {
    // Nothing is left to be done about a closed standard error.
    let _ = writeln!(std::io::stderr(), "edgeprep: {}", render::printable(text));
}

/// Asks whoever sits at the terminal. Without one, `--yes` has to say so.
fn confirm(yes: bool, question: &str) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("standard input is no terminal, so nobody can be asked: add --yes, or --dry-run to look only");
    }
    let mut stderr = std::io::stderr();
    write!(stderr, "\n{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
