//! One line for Nagios, Icinga and what else runs their plugins, and the exit code that they want
//! (Monitoring Plugins Development Guidelines).

use super::escape::{plain, short};
use super::words::{self, Worth};
use crate::report::{Readiness, Saved, once};

/// How many blockers of a stack are named, and how many stacks.
const NAMED: usize = 8;
const NAME_CHARS: usize = 64;

/// OK: all that is required and advised is met.
pub const OK: u8 = 0;
/// WARNING: something advised is not met, or only a re-login or reboot is missing.
pub const WARNING: u8 = 1;
/// CRITICAL: something required is not met.
pub const CRITICAL: u8 = 2;
/// UNKNOWN: something required could not be determined, or there is no report at all.
pub const UNKNOWN: u8 = 3;

/// The line, and the exit code.
pub fn report(report: &Saved) -> (String, u8) {
    let count = |wanted| words::rows(report).filter(|row| words::worth(row) == wanted).count();
    let (missing, advised, doubt) = (count(Worth::Missing), count(Worth::Advised), count(Worth::Doubt));
    let (word, code) = match report.readiness() {
        Some(Readiness::NotReady) => ("CRITICAL", CRITICAL),
        Some(Readiness::Unknown) => ("UNKNOWN", UNKNOWN),
        Some(Readiness::Pending) => ("WARNING", WARNING),
        None | Some(Readiness::Ready) if advised > 0 => ("WARNING", WARNING),
        None | Some(Readiness::Ready) => ("OK", OK),
    };
    let mut stacks: Vec<String> = report.stacks.iter().take(NAMED).map(|stack| said(stack, report)).collect();
    stacks.extend(more(report.stacks.len()));
    if stacks.is_empty() {
        stacks.push("no stack was asked for".to_owned());
    }
    let line = format!(
        "EDGEPREP {word} - {} | required={missing};;0;0 unknown={doubt};;;0 advised={advised};0;;0 \
         passed={};;;0\n",
        stacks.join("; "),
        count(Worth::Met)
    );
    (line, code)
}

fn said(stack: &crate::report::saved::Stack, report: &Saved) -> String {
    let name = plain(&short(&words::stack(stack, report), NAME_CHARS));
    let verdict = words::verdict(Some(stack.readiness()));
    let mut blockers: Vec<String> = once(stack.blockers.iter().map(String::as_str))
        .into_iter()
        .take(NAMED)
        .map(|id| plain(&short(id, NAME_CHARS)))
        .collect();
    blockers.extend(more(stack.blockers.len()));
    let advised = if stack.advised > 0 { format!(", {} advised", stack.advised) } else { String::new() };
    let blockers = if blockers.is_empty() { String::new() } else { format!(" ({})", blockers.join(" ")) };
    format!("{name} {verdict}{blockers}{advised}")
}

fn more(n: usize) -> Option<String> {
    (n > NAMED).then(|| format!("and {} more", n - NAMED))
}

/// The line for what could not be looked at at all.
pub fn failed(why: &str) -> String {
    format!("EDGEPREP UNKNOWN - {}\n", plain(&short(why, 500)))
}
