//! Parses, runs, exits.

use std::process::ExitCode;

use edgeprep::render;

/// musl's own allocator maps and unmaps memory several hundred times in one check.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    // Before anything else: this process is to be a user's, and so far it is nobody's but root's.
    if edgeprep::apply::as_user::is_called() {
        return edgeprep::apply::as_user::serve();
    }
    if edgeprep::probes::is_called() {
        return edgeprep::probes::serve();
    }
    let cli = edgeprep::cli::Cli::from_command_line();
    match edgeprep::commands::run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Nothing is left to be done about a closed standard error.
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("edgeprep: {}", render::message(&format!("{error:#}"))),
            );
            ExitCode::from(edgeprep::exit_code::USAGE)
        }
    }
}
