//! The commands of `grub.cfg`, one by one: what they are, and what their words say.

use super::script::{Command, Node, Piece, Word};
use super::values::Environment;

/// What boots something, or gets it ready to be booted.
pub(super) const BOOTS: [&str; 13] = [
    "boot",
    "chainloader",
    "eval",
    "kernel",
    "kfreebsd",
    "linux",
    "linux16",
    "linuxefi",
    "multiboot",
    "multiboot2",
    "ntldr",
    "xen_hypervisor",
    "xnu_kernel64",
];
/// What reads entries or commands from elsewhere.
pub(super) const GOES_ON: [&str; 7] =
    [".", "configfile", "eval", "extract_entries_configfile", "extract_entries_source", "normal", "source"];
const ENTRIES: [&str; 4] = ["blscfg", "bls_import", "blsuki", "uki"];

/// Whether what these boot, or show in the menu, is more than can be told.
pub(super) fn boots(nodes: &[Node]) -> bool {
    let mut found = has_menu(nodes);
    each_command(nodes, &mut |command| {
        found |= match command.words.first().map(|first| (first, first.literal())) {
            Some((_, Some(name))) => {
                [BOOTS.as_slice(), &GOES_ON, &ENTRIES].into_iter().any(|names| names.contains(&name))
            }
            Some((first, None)) => needs_shell(first),
            None => false,
        };
    });
    found
}

fn has_menu(nodes: &[Node]) -> bool {
    nodes.iter().any(|node| match node {
        Node::Menu { .. } => true,
        Node::Command(_) => false,
        Node::If { branches, otherwise } => {
            branches.iter().any(|(_, body)| has_menu(body)) || otherwise.as_deref().is_some_and(has_menu)
        }
        Node::Loop(body) | Node::Function(body) => has_menu(body),
    })
}

/// Whether the name of a command is a variable, and no assignment such as `name=$value`.
pub(super) fn needs_shell(first: &Word) -> bool {
    first.literal().is_none()
        && !matches!(first.pieces.first(), Some(Piece::Text(text)) if text.contains('='))
}

/// Looks at each command, in blocks, too.
pub(super) fn each_command(nodes: &[Node], look: &mut dyn FnMut(&Command)) {
    for node in nodes {
        match node {
            Node::Command(command) => look(command),
            Node::If { branches, otherwise } => {
                for (condition, body) in branches {
                    each_command(condition, look);
                    each_command(body, look);
                }
                each_command(otherwise.as_deref().unwrap_or_default(), look);
            }
            Node::Menu { body, .. } | Node::Function(body) | Node::Loop(body) => each_command(body, look),
        }
    }
}

/// Whether `load_env` reads the file beside `grub.cfg`.
pub(super) fn reads_block(command: &Command) -> bool {
    let mut words = command.words.iter();
    let is_file = |word: &Word| matches!(word.literal(), Some("-f" | "--file"));
    match (words.any(is_file), words.next().and_then(|word| word.pieces.last())) {
        (false, _) => true,
        (true, Some(Piece::Text(path))) => path.ends_with("/grubenv"),
        _ => false,
    }
}

/// Whether a block is a menu of its own.
pub(super) fn is_submenu(command: &Command) -> bool {
    command.words.first().and_then(Word::literal) == Some("submenu")
}

/// Whether Linux is booted among these.
pub(super) fn boots_linux(nodes: &[Node]) -> bool {
    nodes.iter().any(|node| match node {
        Node::Command(command) => is_linux(command),
        Node::If { branches, otherwise } => {
            branches.iter().any(|(_, body)| boots_linux(body))
                || otherwise.as_deref().is_some_and(boots_linux)
        }
        Node::Menu { body, .. } | Node::Loop(body) => boots_linux(body),
        Node::Function(_) => false,
    })
}

/// Whether a command takes a kernel and its words.
pub(super) fn is_linux(command: &Command) -> bool {
    matches!(command.words.first().and_then(Word::literal), Some("linux" | "linux16" | "linuxefi"))
}

/// The title of an entry and its ID, where they can be told.
pub(super) fn names(command: &Command, environment: &Environment) -> (Option<String>, Option<String>) {
    let mut title = None;
    let mut id = None;
    let mut words = command.words.iter().skip(1);
    while let Some(word) = words.next() {
        let is_id = match word.pieces.as_slice() {
            [Piece::Text(text)] => text == "--id",
            [Piece::Variable { name, .. }] => name == "menuentry_id_option",
            _ => false,
        };
        if is_id {
            id = words.next().and_then(|word| environment.expand(word).one().map(str::to_owned));
            continue;
        }
        match word.literal() {
            Some("--class" | "--users" | "--hotkey" | "--source") => {
                words.next();
            }
            Some(text) if text.starts_with("--id=") => id = text.strip_prefix("--id=").map(str::to_owned),
            Some(text) if text.starts_with("--") => {}
            _ if title.is_none() => title = Some(environment.expand(word).one().map(str::to_owned)),
            _ => {}
        }
    }
    (title.flatten(), id)
}

/// The name before the first lone `>`, and what follows it; `>>` is `>`.
pub(super) fn split_path(name: &str) -> (String, Option<&str>) {
    let mut head = String::new();
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        if c != '>' {
            head.push(c);
            rest = after;
        } else if let Some(after) = after.strip_prefix('>') {
            head.push('>');
            rest = after;
        } else {
            return (head, Some(after).filter(|after| !after.is_empty()));
        }
    }
    (head, None)
}
