//! As what results are printed.

use clap::ValueEnum;

/// As what an overlay is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OverlayFormat {
    /// A tar with modes and owners, to unpack over a root
    Tar,
    /// A directory to copy over a root; all of it belongs to root
    Dir,
    /// User data for cloud-init
    CloudInit,
    /// For butane, which makes Ignition of it
    Butane,
    /// A script for a running host or, with an argument, for a root
    Shell,
    /// Tasks for Ansible
    Ansible,
}

/// How a fleet is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FleetFormat {
    /// For people, at most 80 columns wide
    Human,
    /// For programs: edgeprep.fleet/1
    Json,
    /// A page for a browser, with search and filters
    Html,
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
    /// Test Anything Protocol 14: what is advised fails nothing
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
