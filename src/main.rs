//! Parses, runs, exits.

use std::process::ExitCode;

use edgeprep::apply::as_user;
use edgeprep::render::printable;

/// musl's own allocator maps and unmaps memory several hundred times in one check.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(as_user::ARGUMENT) {
        as_user::serve();
        return ExitCode::SUCCESS;
    }
    let cli = edgeprep::cli::Cli::from_command_line();
    match edgeprep::commands::run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Nothing is left to be done about a closed standard error.
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("edgeprep: {}\n", printable(&format!("{error:#}"))),
            );
            ExitCode::from(edgeprep::exit_code::USAGE)
        }
    }
}
