//! The command line: types only. What a value means is decided in `commands` and `inspection`.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::requirements::Stack;

/// Tells whether this host, an image or a captured host can run containers and Kubernetes without
/// root, and if not, exactly why.
#[derive(Debug, Parser)]
#[command(name = "edgeprep", version, max_term_width = 80, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Parses the command line. A variable that is set to nothing is not set: services and pipelines pass
    /// on what they have.
    pub fn from_command_line() -> Cli {
        let matches = without_empty_variables(Cli::command()).get_matches();
        Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    #[expect(clippy::disallowed_methods, reason = "the variables are options, and facts of no host")]
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| match arg.get_env() {
            Some(name) if is_empty(name) => arg.env(None::<&'static str>),
            _ => arg,
        })
        .mut_subcommands(without_empty_variables)
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Inspect a host and report; changes nothing
    Check(CheckArgs),
    /// Show what a check looks at, why it matters, how it is repaired, and its sources
    Explain {
        /// The check; all are listed without it
        id: Option<String>,
    },
    /// List checks, stacks or profiles
    List {
        /// What to list
        what: Listing,
    },
    /// Show the hardware, the profile chosen for it, and why
    Detect(TargetArgs),
    /// Write all that the checks read to a tar: a fixture, or part of a bug report
    Capture(CaptureArgs),
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Listing {
    /// The checks, in the order of reports
    Checks,
    /// The stacks
    Stacks,
    /// The built-in profiles
    Profiles,
}

/// Which host.
#[derive(Clone, Debug, Default, Args)]
pub struct HostArgs {
    /// An image root: nothing runs there, only configuration is judged
    #[arg(long, value_name = "DIR", env = "EDGEPREP_ROOT", conflicts_with = "capture")]
    pub root: Option<PathBuf>,
    /// A captured host: configuration and running state as they were
    #[arg(long, value_name = "FILE|DIR", env = "EDGEPREP_CAPTURE")]
    pub capture: Option<PathBuf>,
}

/// Which host, and which profile for it.
#[derive(Clone, Debug, Args)]
pub struct TargetArgs {
    /// Which host.
    #[command(flatten)]
    pub host: HostArgs,
    /// A profile: its name, a file, or auto
    #[arg(long, value_name = "NAME|FILE|auto", default_value = "auto", env = "EDGEPREP_PROFILE")]
    pub profile: String,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "human", env = "EDGEPREP_FORMAT")]
    pub format: Format,
}

/// For whom.
#[derive(Clone, Debug, Default, Args)]
pub struct WhomArgs {
    /// A stack that shall run; may be repeated [default: the profile's, else podman and k3s]
    #[arg(long = "stack", value_name = "STACK", env = "EDGEPREP_STACK", value_delimiter = ',')]
    pub stacks: Vec<Stack>,
    /// Whose rootless stack, by name or UID; may be repeated [default: SUDO_USER, else the caller]
    #[arg(long = "user", value_name = "NAME|UID", env = "EDGEPREP_USER", value_delimiter = ',')]
    pub users: Vec<String>,
}

/// Arguments of `check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Which host.
    #[command(flatten)]
    pub target: TargetArgs,
    /// For whom.
    #[command(flatten)]
    pub whom: WhomArgs,
    /// Only checks whose id matches; may be repeated
    #[arg(long, value_name = "GLOB", env = "EDGEPREP_SELECT", value_delimiter = ',')]
    pub select: Vec<String>,
    /// Leave out checks whose id matches; may be repeated. They are listed as ignored
    #[arg(long, value_name = "GLOB", env = "EDGEPREP_IGNORE", value_delimiter = ',')]
    pub ignore: Vec<String>,
    /// Count what is advised as required
    #[arg(long, env = "EDGEPREP_STRICT", value_parser = clap::builder::FalseyValueParser::new())]
    pub strict: bool,
    /// Put the time of the check into the report
    #[arg(long, env = "EDGEPREP_TIMESTAMP", value_parser = clap::builder::FalseyValueParser::new())]
    pub timestamp: bool,
    /// Write to a file, atomically, instead of standard output
    #[arg(short, long, value_name = "FILE", env = "EDGEPREP_OUTPUT")]
    pub output: Option<PathBuf>,
    /// Show what passes, too, and all of what is advised
    #[arg(short, long, env = "EDGEPREP_VERBOSE", value_parser = clap::builder::FalseyValueParser::new(), conflicts_with = "quiet")]
    pub verbose: bool,
    /// Show only the verdicts
    #[arg(short, long, env = "EDGEPREP_QUIET", value_parser = clap::builder::FalseyValueParser::new())]
    pub quiet: bool,
    /// When to use colour
    #[arg(long, value_name = "WHEN", default_value = "auto", env = "EDGEPREP_COLOR")]
    pub color: Color,
}

/// Arguments of `capture`.
#[derive(Clone, Debug, Args)]
pub struct CaptureArgs {
    /// The tar to write
    #[arg(short, long, value_name = "FILE.tar", env = "EDGEPREP_OUTPUT")]
    pub output: PathBuf,
    /// For whom.
    #[command(flatten)]
    pub whom: WhomArgs,
    /// Keep the host name and the machine-id, which are hashed otherwise
    #[arg(long, env = "EDGEPREP_KEEP_IDENTITY", value_parser = clap::builder::FalseyValueParser::new())]
    pub keep_identity: bool,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people, at most 80 columns wide
    Human,
    /// For programs: edgeprep.report/1
    Json,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal; NO_COLOR and CLICOLOR_FORCE are honoured
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}
