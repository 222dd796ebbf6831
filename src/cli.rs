//! The command line: types only. What a value means is decided in `commands` and `inspection`.

mod formats;

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::fixes::Layer;
use crate::overlay::SubIds;
use crate::plan::Scope;
use crate::requirements::Stack;
pub use formats::{Color, FleetFormat, Format, OverlayFormat, ReportFormat};

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
    /// Write what fix would write, without a host: for what builds images or configures hosts
    Render(RenderArgs),
    /// Show many JSON reports as one picture, or what changed between two sets of them
    Fleet(FleetArgs),
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

/// Arguments of `render`.
#[derive(Clone, Debug, Args)]
pub struct RenderArgs {
    /// As what
    #[arg(long, value_name = "FORMAT", env = "EDGEPREP_FORMAT")]
    pub format: OverlayFormat,
    /// A profile: its name or a file. There is no hardware to recognise one by
    #[arg(long, value_name = "NAME|FILE", default_value = "generic", env = "EDGEPREP_PROFILE")]
    pub profile: String,
    /// A stack that shall run; may be repeated [default: the profile's, else podman and k3s]
    #[arg(long = "stack", value_name = "STACK", env = "EDGEPREP_STACK", value_delimiter = ',')]
    pub stacks: Vec<Stack>,
    /// Whose rootless stack, by name
    #[arg(long, value_name = "NAME", env = "EDGEPREP_USER")]
    pub user: String,
    /// Their UID
    #[arg(long, value_name = "UID", default_value_t = 1000, env = "EDGEPREP_UID")]
    pub uid: u32,
    /// Their primary group [default: as the UID]
    #[arg(long, value_name = "GID", env = "EDGEPREP_GID")]
    pub gid: Option<u32>,
    /// Their home directory [default: /home/NAME]
    #[arg(long, value_name = "DIR", env = "EDGEPREP_HOME")]
    pub home: Option<String>,
    /// The kernel's version, which decides how K3s keeps images: overlay without root takes 5.13
    #[arg(long, value_name = "VERSION", default_value = "6.1", env = "EDGEPREP_KERNEL")]
    pub kernel: String,
    /// Who gives the user subordinate IDs
    #[arg(long, value_name = "HOW", default_value = "append", env = "EDGEPREP_SUBIDS")]
    pub subids: SubIds,
    /// Where files go: /etc or /usr/lib
    #[arg(long, value_name = "LAYER", default_value = "admin", env = "EDGEPREP_LAYER")]
    pub layer: Layer,
    /// For what.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Which checks.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Write to a file, atomically, instead of standard output; for dir a directory that is new or empty
    #[arg(short, long, value_name = "FILE|DIR", env = "EDGEPREP_OUTPUT")]
    pub output: Option<PathBuf>,
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

/// Arguments of `fleet`.
#[derive(Clone, Debug, Args)]
pub struct FleetArgs {
    /// Files of JSON reports, one or more in each, or folders of such files; - or none is standard input
    #[arg(value_name = "REPORT")]
    pub reports: Vec<PathBuf>,
    /// Say what is better, worse, new and gone, from one file or folder to another
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with = "reports")]
    pub compare: Vec<PathBuf>,
    /// Of several reports of a host, with the same machine-id and name, count only the last
    #[arg(long, env = "EDGEPREP_LATEST", value_parser = clap::builder::FalseyValueParser::new())]
    pub latest: bool,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "human", env = "EDGEPREP_FORMAT")]
    pub format: FleetFormat,
    /// How it is shown.
    #[command(flatten)]
    pub shown: ShownArgs,
}
