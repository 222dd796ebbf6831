//! A script for a POSIX shell.

use super::script::{activation, indented, subordinate};
use super::{content_text, heading};
use crate::overlay::Overlay;
use crate::plan::State;

const FUNCTIONS: &str = include_str!("../../../templates/shell/functions.sh");
const MAIN: &str = include_str!("../../../templates/shell/main.sh");

pub(super) fn shell(overlay: &Overlay) -> anyhow::Result<String> {
    let mut text =
        format!("#!/bin/sh\n{}# sh THIS -h tells how to use it.\n{FUNCTIONS}\n", heading(overlay, true));
    text.push_str(
        "# Calls $1 for each entry.\n# shellcheck disable=SC2016 # what is quoted is meant as it is\n",
    );
    text.push_str("entries() {\n");
    for entry in &overlay.entries {
        let path = in_single_quotes(&entry.path);
        let line = match &entry.state {
            State::Absent => continue,
            State::Dir { mode, uid, gid } => format!("dir {mode:04o} {uid} {gid} {path} ''"),
            State::Link { target, uid, gid } => {
                format!("link 0777 {uid} {gid} {path} {}", in_single_quotes(target))
            }
            State::File { mode, uid, gid, .. } => {
                let text = content_text(&entry.path, &entry.state)?;
                format!("file {mode:04o} {uid} {gid} {path} {}", in_single_quotes(text))
            }
        };
        text.push_str(&format!("    \"$1\" {line}\n"));
    }
    let nothing = || ":\n".to_owned();
    let (ids, notice) = (subordinate(overlay).unwrap_or_else(nothing), activation(overlay));
    text.push_str(&format!("}}\n\nsubordinate() {{\n{}}}\n\n", indented(&ids, 4)));
    text.push_str(&format!(
        "# What fails here takes effect with the next boot.\nactivate() {{\n{}}}\n",
        indented(&notice, 4)
    ));
    text.push_str(MAIN);
    Ok(text)
}

/// A word in which nothing has a meaning; `quoted` leaves those bare that need no quotes.
fn in_single_quotes(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
