//! A change of a path as a unified diff, with what a diff does not show: kind, mode and owner.

use crate::plan::{Change, Content, State};
use crate::render::printable;

/// What happens to the path, in a few words: `new, mode 0644, owner 0:0`.
pub fn headline(change: &Change) -> String {
    let mut parts = Vec::new();
    parts.push(match (&change.before, &change.after) {
        (State::Absent, State::Dir { .. }) => "new directory".to_owned(),
        (State::Absent, State::Link { target, .. }) => format!("new link to {}", printable(target)),
        (State::Absent, _) => "new".to_owned(),
        (_, State::Absent) => "removed".to_owned(),
        (State::Link { target, .. }, State::Link { target: to, .. }) => {
            format!("link to {} instead of {}", printable(to), printable(target))
        }
        (State::File { content, .. }, State::File { content: after, .. }) if content.is(after) => {
            "content unchanged".to_owned()
        }
        _ => "changed".to_owned(),
    });
    match (mode(&change.before), mode(&change.after)) {
        (Some(before), Some(after)) if before != after => {
            parts.push(format!("mode {before:04o} -> {after:04o}"))
        }
        (None, Some(after)) => parts.push(format!("mode {after:04o}")),
        _ => {}
    }
    match (owner(&change.before), owner(&change.after)) {
        (Some(before), Some(after)) if before != after => parts.push(format!("owner {before} -> {after}")),
        (None, Some(after)) => parts.push(format!("owner {after}")),
        _ => {}
    }
    let capability = |state: &State| match state {
        State::File { capability, .. } => capability.is_some(),
        _ => false,
    };
    match (capability(&change.before), capability(&change.after)) {
        (false, true) => parts.push("with a file capability".to_owned()),
        (true, false) if change.after != State::Absent => {
            parts.push("without its file capability".to_owned())
        }
        _ => {}
    }
    parts.join(", ")
}

/// The unified diff of a file's text; empty where no text changes.
pub fn unified(change: &Change) -> String {
    let (Some(before), Some(after)) = (text(&change.before), text(&change.after)) else {
        return String::new();
    };
    if before == after {
        return String::new();
    }
    let name = |state: &State| match state {
        State::Absent => "/dev/null".to_owned(),
        _ => change.path.clone(),
    };
    let mut options = diffy::DiffOptions::new();
    options.set_original_filename(name(&change.before)).set_modified_filename(name(&change.after));
    options.create_patch(&before, &after).to_string()
}

/// The text of a file, empty for what is absent; `None` for what is no file.
fn text(state: &State) -> Option<String> {
    match state {
        State::Absent => Some(String::new()),
        State::File { content: Content::Text(text), .. } => Some(text.clone()),
        State::File { content: Content::Bytes(bytes), .. } => {
            Some(String::from_utf8_lossy(&bytes.0).into_owned())
        }
        State::File { content: Content::Sha256(_), .. } | State::Link { .. } | State::Dir { .. } => None,
    }
}

/// The permission bits, where there are any.
pub fn mode(state: &State) -> Option<u32> {
    match state {
        State::File { mode, .. } | State::Dir { mode, .. } => Some(*mode),
        State::Link { .. } | State::Absent => None,
    }
}

/// Owner and group as numbers, where there are any.
pub fn owner(state: &State) -> Option<String> {
    match state {
        State::File { uid, gid, .. } | State::Dir { uid, gid, .. } | State::Link { uid, gid, .. } => {
            Some(format!("{uid}:{gid}"))
        }
        State::Absent => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Writer;

    fn file(text: &str, mode: u32) -> State {
        let content = Content::new(text.as_bytes().to_vec());
        State::File { content, mode, uid: 0, gid: 0, capability: None }
    }

    fn change(before: State, after: State) -> Change {
        Change { path: "/etc/subuid".to_owned(), by: Writer::System, before, after }
    }

    #[test]
    fn a_changed_file() {
        let change = change(file("root:1:2\nedge:3:4", 0o644), file("root:1:2\nedge:3:4\nx:5:6\n", 0o644));
        assert_eq!(headline(&change), "changed");
        let diff = unified(&change);
        assert!(diff.starts_with("--- /etc/subuid\n+++ /etc/subuid\n@@ -1,2 +1,3 @@\n root:1:2\n"), "{diff}");
        assert!(diff.contains("\\ No newline at end of file"), "{diff}");
    }

    #[test]
    fn a_new_file_and_one_that_is_removed() {
        let new = change(State::Absent, file("a\n", 0o644));
        assert_eq!(headline(&new), "new, mode 0644, owner 0:0");
        assert_eq!(unified(&new), "--- /dev/null\n+++ /etc/subuid\n@@ -0,0 +1 @@\n+a\n");
        let gone = change(file("a\n", 0o644), State::Absent);
        assert_eq!(
            (headline(&gone), unified(&gone).lines().nth(1)),
            ("removed".to_owned(), Some("+++ /dev/null"))
        );
    }

    #[test]
    fn a_mode_alone() {
        let digest = |mode| match file("ELF", mode) {
            State::File { content, mode, uid, gid, capability } => {
                State::File { content: content.digest(), mode, uid, gid, capability }
            }
            other => other,
        };
        let change = change(digest(0o755), digest(0o4755));
        assert_eq!(headline(&change), "content unchanged, mode 0755 -> 4755");
        assert_eq!(unified(&change), "");
    }
}
