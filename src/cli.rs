//! The command line: types only. What a value means is decided in `commands` and `inspection`.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::fixes::Layer;
use crate::plan::Scope;
use crate::requirements::Stack;

/// Tells whether this host, an image or a captured host can run containers and Kubernetes without
/// root, if not, exactly why, and repairs it.
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
    /// Plan the repairs, show the diff, apply them, and check again
    Fix(FixArgs),
    /// Take back the last fix, or a certain one
    Undo(UndoArgs),
    /// List the fixes that were made
    History(HistoryArgs),
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
    /// Read a log; of what its messages point to, say what is so on the host
    Diagnose(DiagnoseArgs),
    /// Show the hardware, the profile chosen for it, and why
    Detect(DetectArgs),
    /// Show a saved JSON report in another format
    Report(ReportArgs),
    /// Print the variables that a stack's commands start with, for: eval "$(edgeprep env ...)"
    Env(EnvArgs),
    /// Write all that the checks read to a tar: a fixture, or part of a bug report
    Capture(CaptureArgs),
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page
    Man {
        /// The command whose page it is [default: edgeprep's own]
        command: Option<String>,
    },
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
}

/// Arguments of `detect`.
#[derive(Clone, Debug, Args)]
pub struct DetectArgs {
    /// Which host.
    #[command(flatten)]
    pub target: TargetArgs,
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

/// For what.
#[derive(Clone, Debug, Default, Args)]
pub struct WorkloadArgs {
    /// Files of a workload that shall run, Kubernetes YAML or Quadlet files, - for standard input (YAML);
    /// may be repeated. What they ask is required, too [stack by default: podman-kube]
    #[arg(long = "workload", value_name = "FILE", num_args = 1.., env = "EDGEPREP_WORKLOAD")]
    pub files: Vec<String>,
}

/// Which checks.
#[derive(Clone, Debug, Default, Args)]
pub struct SelectionArgs {
    /// Only checks whose id matches; may be repeated
    #[arg(long, value_name = "GLOB", env = "EDGEPREP_SELECT", value_delimiter = ',')]
    pub select: Vec<String>,
    /// Leave out checks whose id matches; may be repeated. They are listed as ignored
    #[arg(long, value_name = "GLOB", env = "EDGEPREP_IGNORE", value_delimiter = ',')]
    pub ignore: Vec<String>,
    /// Count what is advised as required
    #[arg(long, env = "EDGEPREP_STRICT", value_parser = clap::builder::FalseyValueParser::new())]
    pub strict: bool,
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
    /// For what.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Which checks.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Also try as the user what can be tried on a running host, and take it back
    #[arg(long, env = "EDGEPREP_PROBE", value_parser = clap::builder::FalseyValueParser::new())]
    pub probe: bool,
    /// Put the time of the check into the report
    #[arg(long, env = "EDGEPREP_TIMESTAMP", value_parser = clap::builder::FalseyValueParser::new())]
    pub timestamp: bool,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "human", env = "EDGEPREP_FORMAT")]
    pub format: ReportFormat,
    /// How it is shown.
    #[command(flatten)]
    pub shown: ShownArgs,
}

/// Arguments of `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// What edgeprep check --format json printed; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "human", env = "EDGEPREP_FORMAT")]
    pub format: ReportFormat,
    /// How it is shown.
    #[command(flatten)]
    pub shown: ShownArgs,
}

/// How a report is shown, and where.
#[derive(Clone, Debug, Args)]
pub struct ShownArgs {
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

/// Where journals are.
#[derive(Clone, Debug, Default, Args)]
pub struct StateArgs {
    /// An image root: files are written there, and nothing that runs is told
    #[arg(long, value_name = "DIR", env = "EDGEPREP_ROOT")]
    pub root: Option<PathBuf>,
    /// Where the journals are [default: /var/lib/edgeprep, inside the root for an image]
    #[arg(long, value_name = "DIR", env = "EDGEPREP_STATE")]
    pub state: Option<PathBuf>,
}

/// Arguments of `fix`.
#[derive(Clone, Debug, Args)]
pub struct FixArgs {
    /// Which host.
    #[command(flatten)]
    pub place: StateArgs,
    /// A profile: its name, a file, or auto
    #[arg(long, value_name = "NAME|FILE|auto", default_value = "auto", env = "EDGEPREP_PROFILE")]
    pub profile: String,
    /// For whom.
    #[command(flatten)]
    pub whom: WhomArgs,
    /// For what.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Which checks.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "human", env = "EDGEPREP_FORMAT")]
    pub format: Format,
    /// Stop after the plan; nothing at all is written
    #[arg(long, env = "EDGEPREP_DRY_RUN", value_parser = clap::builder::FalseyValueParser::new())]
    pub dry_run: bool,
    /// Apply without asking; needed where standard input is no terminal
    #[arg(long, env = "EDGEPREP_YES", value_parser = clap::builder::FalseyValueParser::new())]
    pub yes: bool,
    /// Whose part
    #[arg(long, value_name = "SCOPE", default_value = "all", env = "EDGEPREP_SCOPE")]
    pub scope: Scope,
    /// Restart user managers where nothing else helps, which ends all that they run
    #[arg(long, env = "EDGEPREP_ALLOW_RESTART", value_parser = clap::builder::FalseyValueParser::new())]
    pub allow_restart: bool,
    /// Run what carries kernel arguments to the boot loader, such as update-grub
    #[arg(long, env = "EDGEPREP_REGENERATE_BOOT", value_parser = clap::builder::FalseyValueParser::new())]
    pub regenerate_boot: bool,
    /// Where AppArmor restricts user namespaces, lift that for all programs instead of for one
    #[arg(long, env = "EDGEPREP_ALLOW_GLOBAL_USERNS", value_parser = clap::builder::FalseyValueParser::new())]
    pub allow_global_userns: bool,
    /// Write files only, and tell nothing that runs
    #[arg(long, env = "EDGEPREP_NO_ACTIVATE", value_parser = clap::builder::FalseyValueParser::new())]
    pub no_activate: bool,
    /// Where files of an image go: /etc or /usr/lib
    #[arg(long, value_name = "LAYER", default_value = "admin", env = "EDGEPREP_LAYER")]
    pub layer: Layer,
    /// Leave no journal in an image, which then cannot be undone
    #[arg(long, env = "EDGEPREP_NO_JOURNAL", value_parser = clap::builder::FalseyValueParser::new(), conflicts_with = "state")]
    pub no_journal: bool,
    /// How it is shown.
    #[command(flatten)]
    pub shown: ShownArgs,
}

/// Arguments of `undo`.
#[derive(Clone, Debug, Args)]
pub struct UndoArgs {
    /// The number of the fix, as history shows it [default: the last one]
    pub id: Option<u32>,
    /// Which host.
    #[command(flatten)]
    pub place: StateArgs,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "human", env = "EDGEPREP_FORMAT")]
    pub format: Format,
    /// Undo without asking; needed where standard input is no terminal
    #[arg(long, env = "EDGEPREP_YES", value_parser = clap::builder::FalseyValueParser::new())]
    pub yes: bool,
}

/// Arguments of `history`.
#[derive(Clone, Debug, Args)]
pub struct HistoryArgs {
    /// Which host.
    #[command(flatten)]
    pub place: StateArgs,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "human", env = "EDGEPREP_FORMAT")]
    pub format: Format,
}

/// Arguments of `env`.
#[derive(Clone, Debug, Args)]
pub struct EnvArgs {
    /// Which host.
    #[command(flatten)]
    pub host: HostArgs,
    /// A profile: its name, a file, or auto
    #[arg(long, value_name = "NAME|FILE|auto", default_value = "auto", env = "EDGEPREP_PROFILE")]
    pub profile: String,
    /// For whom: one user. That of root has root's own Podman.
    #[command(flatten)]
    pub whom: WhomArgs,
    /// Whose syntax [default: fish where SHELL names it, else posix]
    #[arg(long, value_name = "SHELL", env = "EDGEPREP_SHELL")]
    pub shell: Option<Shell>,
    /// Print what takes them back
    #[arg(long, env = "EDGEPREP_UNSET", value_parser = clap::builder::FalseyValueParser::new())]
    pub unset: bool,
    /// For another machine, which reaches this one by ssh as DESTINATION: [USER@]HOST[:PORT]
    #[arg(long, value_name = "DESTINATION", env = "EDGEPREP_SSH")]
    pub ssh: Option<String>,
}

/// A family of shells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// sh, dash, bash, zsh
    Posix,
    /// fish
    Fish,
}

/// Arguments of `diagnose`.
#[derive(Clone, Debug, Args)]
pub struct DiagnoseArgs {
    /// Logs of k3s, podman, kind, rootlesskit, systemd and the like; - or none is standard input
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Which host.
    #[command(flatten)]
    pub target: TargetArgs,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "human", env = "EDGEPREP_FORMAT")]
    pub format: Format,
    /// For whom.
    #[command(flatten)]
    pub whom: WhomArgs,
    /// How it is shown.
    #[command(flatten)]
    pub shown: ShownArgs,
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
    /// For what.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Keep the host name and the machine-id, which are hashed otherwise
    #[arg(long, env = "EDGEPREP_KEEP_IDENTITY", value_parser = clap::builder::FalseyValueParser::new())]
    pub keep_identity: bool,
}

/// How something is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people, at most 80 columns wide
    Human,
    /// For programs
    Json,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people, at most 80 columns wide
    Human,
    /// For programs: edgeprep.report/1
    Json,
    /// Tests of a CI: what is required fails, what is advised is skipped
    Junit,
    /// Test Anything Protocol 14: what is advised is TODO
    Tap,
    /// SARIF 2.1.0: the files and lines that cause a finding
    Sarif,
    /// Metrics for the textfile collector of node_exporter
    Prometheus,
    /// One line for Nagios or Icinga; the exit code is 0 OK, 1 WARNING, 2 CRITICAL or 3 UNKNOWN
    Nagios,
    /// For a pull request or the summary of a job
    Markdown,
    /// One page that needs no network and no script
    Html,
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
