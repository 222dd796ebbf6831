//! Carries out one activation, or takes it back, for tests/vm/activation.sh. It is no part of the program.

use std::process::{Command, ExitCode};

use edgeprep::apply::activation::{activate, revert};
use edgeprep::apply::bus::BusError;
use edgeprep::apply::live::Live;
use edgeprep::apply::user_call::UserCall;
use edgeprep::plan::{Activation, Credentials};

/// Has this program perform a call with the credentials of a user.
#[expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "setpriv(1) does for a test what a child of edgeprep does"
)]
fn as_user(who: &Credentials, call: &UserCall) -> Result<(), BusError> {
    let output = Command::new("setpriv")
        .arg(format!("--reuid={}", who.uid))
        .arg(format!("--regid={}", who.gid))
        .args(["--init-groups", "--reset-env"])
        .arg(std::env::current_exe().unwrap())
        .args(["call", &who.uid.to_string(), &serde_json::to_string(call).unwrap()])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[expect(clippy::print_stdout, clippy::unwrap_used, reason = "a test")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let activation = |json| serde_json::from_str::<Activation>(json).unwrap();
    let came_to = match arguments[..] {
        ["call", uid, call] => {
            let call: UserCall = serde_json::from_str(call).unwrap();
            println!("{}", serde_json::to_string(&call.perform(uid.parse().unwrap())).unwrap());
            return ExitCode::SUCCESS;
        }
        ["activate", json] => activate(&activation(json), &mut Live::new(as_user)),
        ["revert", json] => revert(&activation(json), &mut Live::new(as_user)),
        _ => return ExitCode::from(2),
    };
    match came_to {
        Ok(done) => {
            println!("{done:?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}
