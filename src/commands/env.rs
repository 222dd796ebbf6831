//! `edgeprep env`.

use anyhow::{bail, ensure};

use super::{now, open, say};
use crate::cli::{EnvArgs, Shell};
use crate::facts::Facts;
use crate::facts::clock::day;
use crate::host::{Kind, OrAbsent};
use crate::inspection::{Request, wanted};
use crate::render::environment::{Assignment, environment};
use crate::requirements::Stack;
use crate::settings::quoted;
use crate::{exit_code, render};

pub(super) fn run(args: &EnvArgs) -> anyhow::Result<u8> {
    let facts = open(&args.host)?;
    let request = Request {
        profile: args.profile.clone(),
        stacks: args.whom.stacks.clone(),
        users: args.whom.users.clone(),
        today: day(i64::try_from(now()).unwrap_or(i64::MAX)),
        ..Request::default()
    };
    let (_, requirements, users) = wanted(&facts, &request)?;
    let [user] = &users[..] else { bail!("a shell is one user's: name one with --user") };
    let stacks = listed(&requirements.stacks);
    let mut assignments = Vec::new();
    for (name, wants) in &requirements.environment {
        let Some(first) = wants.first() else { continue };
        // Files of this machine are not there on another one.
        if args.ssh.is_some() && !first.value.is_of_podman_socket() {
            continue;
        }
        let local = first.value.value_for(user.uid, &user.home);
        ensure!(!local.chars().any(char::is_control), "{name}: no line of a shell can hold {local:?}");
        if !args.unset && facts.running() {
            warn(&facts, name, &local, &stacks);
        }
        let value = match &args.ssh {
            Some(destination) if local.starts_with("unix://") => {
                ensure!(is_destination(destination), "--ssh {destination:?}: expected [USER@]HOST[:PORT]");
                format!("ssh://{destination}")
            }
            _ => local,
        };
        let why = format!("{}: {}", listed(&first.demand.stacks), first.demand.why);
        assignments.push(Assignment { name: name.clone(), value, why });
    }
    ensure!(
        args.ssh.is_none() || !assignments.is_empty(),
        "--ssh: {stacks} is not reached through Podman's socket"
    );
    let shell = args.shell.unwrap_or_else(|| shell_of(&facts));
    let command = command(args, &stacks, shell);
    let hint = match (assignments.is_empty(), shell) {
        (true, _) => format!("{stacks}: no variable is needed"),
        (false, Shell::Posix) => format!("run: eval \"$({command})\""),
        (false, Shell::Fish) => format!("run: {command} | source"),
    };
    render::print(&environment(&assignments, shell, args.unset, &hint))?;
    Ok(exit_code::DONE)
}

fn listed(stacks: &[Stack]) -> String {
    stacks.iter().map(|stack| stack.as_str()).collect::<Vec<_>>().join(",")
}

/// As `ssh://` takes it.
fn is_destination(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@:._-[]".contains(c);
    !text.is_empty() && !text.starts_with('-') && text.chars().all(plain)
}

/// The login shell's, which is not always the one that runs: fish itself exports nothing that tells.
fn shell_of(facts: &Facts) -> Shell {
    let shell = facts.caller().environment.get("SHELL");
    match shell.is_some_and(|shell| shell.rsplit('/').next() == Some("fish")) {
        true => Shell::Fish,
        false => Shell::Posix,
    }
}

fn command(args: &EnvArgs, stacks: &str, shell: Shell) -> String {
    let mut words = vec!["edgeprep env --stack".to_owned(), stacks.to_owned()];
    if let [user] = &args.whom.users[..] {
        words.push(format!("--user {}", quoted(user)));
    }
    if args.shell.is_some() {
        let name = match shell {
            Shell::Posix => "posix",
            Shell::Fish => "fish",
        };
        words.push(format!("--shell {name}"));
    }
    if let Some(destination) = &args.ssh {
        words.push(format!("--ssh {}", quoted(destination)));
    }
    if args.unset {
        words.push("--unset".to_owned());
    }
    words.join(" ")
}

/// Says, where a shell does not read it, that what a value leads to is not there yet.
fn warn(facts: &Facts, name: &str, value: &str, stacks: &str) {
    let path = value.strip_prefix("unix://").unwrap_or(value);
    if !path.starts_with('/') {
        return;
    }
    let what = match facts.stat(path).or_absent() {
        Ok(None) => "does not exist yet",
        Ok(Some(stat)) if stat.kind == Kind::Socket && facts.socket_listens(path) == Ok(false) => {
            "is a socket on which nothing listens"
        }
        Ok(Some(_)) => return,
        Err(why) => return say(&format!("{name}: {why}")),
    };
    say(&format!("{name}: {path} {what}: see edgeprep check --stack {stacks}"));
}
