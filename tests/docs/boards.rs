//! The page on boards: what a person wrote up to the marker, and behind it what is in `profiles/boards`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use edgeprep::facts::boot::Method;
use toml::{Table, Value};

const MARKER: &str = "<!-- What follows is made from profiles/boards. -->\n";

/// The page with what is behind the marker made anew.
pub(super) fn page(published: &str) -> String {
    let (by_hand, _) = published.split_once(MARKER).expect("docs/boards.md has the marker");
    let boards = read();
    let mut page = format!("{by_hand}{MARKER}\n## The boards\n\n");
    page.push_str(
        "| profile | hardware | recognised by | boots with | kernel words | stacks |\n|-|-|-|-|-|-|\n",
    );
    let parents: Vec<&str> = boards.values().flat_map(|board| strings(board, "extends")).collect();
    let shown = || boards.iter().filter(|(name, _)| !parents.contains(&name.as_str()));
    for (name, board) in shown() {
        let by = recognised(board).into_iter().map(|(what, _)| what).collect::<Vec<_>>().join(", ");
        let by = if by.is_empty() { "its name only" } else { &by };
        let boots = last(&boards, name, "boot").and_then(|boot| boot.get("method")).map(method);
        let boots = boots.unwrap_or("as found");
        let layers = layers(&boards, name);
        let words = layers.iter().flat_map(|layer| tables(layer, "kernel-argument")).map(|argument| {
            let forbidden =
                argument.get("forbidden").map(|word| format!("no {}", code(word.as_str().unwrap())));
            forbidden.unwrap_or_else(|| code(text(argument, "wanted")))
        });
        let words: BTreeSet<String> = words.collect();
        let words = words.into_iter().collect::<Vec<_>>().join(", ");
        let summary = text(board, "summary");
        let stacks = stacks(&boards, name);
        let _ = writeln!(page, "| [{name}](#{name}) | {summary} | {by} | {boots} | {words} | {stacks} |");
    }
    for (name, _) in shown() {
        section(&mut page, &boards, name);
    }
    page
}

fn section(page: &mut String, boards: &BTreeMap<String, Table>, name: &str) {
    let board = &boards[name];
    let summary = text(board, "summary");
    let stop = if summary.ends_with('.') { "" } else { "." };
    let _ = writeln!(page, "\n### {name}\n\n{summary}{stop}");
    let before = page.len();
    for (what, names) in recognised(board) {
        let _ = writeln!(page, "- {what}: {}", names.join(if what == "DMI" { "; " } else { ", " }));
    }
    if let Some(boot) = last(boards, name, "boot") {
        let method = boot.get("method").map_or("what is there", method);
        let files: Vec<String> = strings(boot, "files").map(code).collect();
        let files = if files.is_empty() { String::new() } else { format!(": {}", files.join(", ")) };
        let _ = writeln!(page, "- boots with {method}{files}");
    }
    let layers = layers(boards, name);
    for argument in layers.iter().flat_map(|layer| tables(layer, "kernel-argument")) {
        let (verb, word) = match (argument.get("wanted"), argument.get("forbidden")) {
            (Some(word), _) => ("passes", word),
            (_, word) => ("does not pass", word.unwrap()),
        };
        let stacks: Vec<&str> = strings(argument, "stacks").collect();
        let whom = if stacks.is_empty() { "every stack".to_owned() } else { stacks.join(", ") };
        let unless = argument.get("for-controller").map(|controller| {
            format!("; not where the kernel offers {} anyway", controller.as_str().unwrap())
        });
        let _ = writeln!(
            page,
            "- {verb} `{}` to the kernel, {} of {whom}: {}{}",
            word.as_str().unwrap(),
            text(argument, "level"),
            text(argument, "why"),
            unless.unwrap_or_default(),
        );
    }
    for package in layers.iter().flat_map(|layer| tables(layer, "module-package")) {
        let before = package.get("before").map(|before| format!(" before {}", before.as_str().unwrap()));
        let modules: Vec<String> = strings(package, "names").map(code).collect();
        let _ = writeln!(
            page,
            "- names the package `{}` of {}{} where a module is missing: {}",
            text(package, "package"),
            text(package, "distribution"),
            before.unwrap_or_default(),
            modules.join(", "),
        );
    }
    for option in layers.iter().flat_map(|layer| tables(layer, "kernel-option")) {
        let any = if option.contains_key("any-of") { "any of " } else { "" };
        let names: Vec<String> =
            strings(option, "names").chain(strings(option, "any-of")).map(code).collect();
        let (level, why) = (text(option, "level"), text(option, "why"));
        let _ = writeln!(page, "- looks for {any}{} in the kernel, {level}: {why}", names.join(", "));
    }
    for (key, of) in [("memory", "bytes of memory"), ("disk", "bytes on disk"), ("cpus", "processors")] {
        for amount in layers.iter().flat_map(|layer| tables(layer, key)) {
            let (least, level) = (amount["at-least"].as_integer().unwrap(), text(amount, "level"));
            let _ = writeln!(page, "- {least} {of} at least, {level}: {}", text(amount, "why"));
        }
    }
    if let Some(k3s) = last(boards, name, "k3s") {
        let values: Vec<String> = k3s.iter().map(|(key, value)| format!("`{key} = {value}`")).collect();
        let _ = writeln!(page, "- starts K3s with {}", values.join(", "));
    }
    if page.len() > before {
        page.insert(before, '\n');
    }
    let notes: Vec<&str> = layers.iter().rev().flat_map(|layer| strings(layer, "notes")).collect();
    if !notes.is_empty() {
        page.push_str("\nTo know:\n\n");
        notes.iter().for_each(|note| {
            let _ = writeln!(page, "- {note}");
        });
    }
}

fn read() -> BTreeMap<String, Table> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/boards");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    entries.map(|path| (name(&path), toml::from_str(&fs::read_to_string(path).unwrap()).unwrap())).collect()
}

/// A profile with what it extends before it.
fn layers<'a>(boards: &'a BTreeMap<String, Table>, name: &str) -> Vec<&'a Table> {
    let board = &boards[name];
    let parents = strings(board, "extends").flat_map(|parent| layers(boards, parent));
    parents.chain([board]).collect()
}

/// The table of this name of the last layer that has one.
fn last<'a>(boards: &'a BTreeMap<String, Table>, name: &str, key: &str) -> Option<&'a Table> {
    layers(boards, name).into_iter().rev().find_map(|layer| layer.get(key)?.as_table())
}

fn stacks(boards: &BTreeMap<String, Table>, name: &str) -> String {
    let layers = layers(boards, name);
    let named = layers.into_iter().rev().find(|layer| layer.contains_key("stacks"));
    named.map_or("podman, k3s".to_owned(), |layer| strings(layer, "stacks").collect::<Vec<_>>().join(", "))
}

/// By what a profile recognises hardware, and the names.
fn recognised(board: &Table) -> Vec<(&'static str, Vec<String>)> {
    let Some(recognise) = board.get("recognise").and_then(Value::as_table) else { return Vec::new() };
    let list = |key: &str| strings(recognise, key).map(code).collect::<Vec<_>>();
    let dmi = |names: &Table| {
        let part = |key: &str| Some(format!("{key} {}", code(names.get(key)?.as_str().unwrap())));
        ["vendor", "product", "board"].into_iter().filter_map(part).collect::<Vec<_>>().join(" and ")
    };
    let dmi = tables(recognise, "dmi").into_iter().map(dmi).collect();
    let all = [("device tree", list("compatible")), ("DMI", dmi), ("architecture", list("arch"))];
    all.into_iter().filter(|(_, names)| !names.is_empty()).collect()
}

fn method(name: &Value) -> &'static str {
    name.clone().try_into::<Method>().unwrap().as_str()
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn text<'a>(table: &'a Table, key: &str) -> &'a str {
    table.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn strings<'a>(table: &'a Table, key: &str) -> impl Iterator<Item = &'a str> {
    table.get(key).and_then(Value::as_array).into_iter().flatten().map(|value| value.as_str().unwrap())
}

/// An array of tables, or one table.
fn tables<'a>(table: &'a Table, key: &str) -> Vec<&'a Table> {
    match table.get(key) {
        Some(Value::Array(all)) => all.iter().map(|each| each.as_table().unwrap()).collect(),
        Some(Value::Table(one)) => vec![one],
        _ => Vec::new(),
    }
}
