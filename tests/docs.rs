//! The generated pages are those of the checks: `EDGEPREP_UPDATE_DOCS=1 cargo test --test docs` writes them.

#![allow(
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test reads and writes files and stops at the first surprise"
)]

#[path = "docs/boards.rs"]
mod boards;
#[path = "docs/links.rs"]
mod links;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use edgeprep::checks::{ALL, Check};
use edgeprep::finding::Level;
use edgeprep::symptoms;
use serde::Deserialize;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn level(check: &Check) -> &'static str {
    match check.level {
        Level::Required => "required",
        Level::Advised => "advised",
    }
}

/// The list of all checks, in the order of reports.
fn index() -> String {
    let mut page = String::from(
        "# Checks\n\nGenerated, as the pages behind the links, from the documentation of the checks; \
         `edgeprep explain ID` shows the\nsame. The level is the most that depends on a check: an advised \
         one never keeps a stack from being ready.\n\n| check | | level |\n|-|-|-|\n",
    );
    for check in ALL {
        let _ =
            writeln!(page, "| [{0}](checks/{0}.md) | {1} | {2} |", check.id, check.summary(), level(check));
    }
    page
}

fn page(check: &Check) -> String {
    let mut page = format!("# {}\n\n{} ({}).\n", check.id, check.summary(), level(check));
    for line in check.doc.lines().skip(1).map(str::trim) {
        let _ = writeln!(page, "{line}");
    }
    format!("{}\n", page.trim_end())
}

/// `docs/peers.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Peers {
    peer: Vec<Peer>,
}

/// What another tool looks at.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Peer {
    name: String,
    source: String,
    seen: String,
    repairs: bool,
    image: bool,
    /// By check of ours.
    checks: BTreeMap<String, String>,
    /// By subject that no check of ours has.
    #[serde(default)]
    others: BTreeMap<String, String>,
}

/// What each peer checks, and what we check.
fn peers(peers: &[Peer]) -> String {
    let mut page = String::from(
        "# What others check, what edgeprep checks\n\nGenerated from `peers.toml`, where each line was read in \
         the source that is named.\n\n| tool | looks at | of which here | repairs the host | looks at an \
         image |\n|-|-:|-:|-|-|\n",
    );
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    let _ = writeln!(page, "| edgeprep | {0} | {0} | yes | yes |", ALL.len());
    for peer in peers {
        let (here, all) = (peer.checks.len(), peer.checks.len() + peer.others.len());
        let _ = writeln!(
            page,
            "| {} | {all} | {here} | {} | {} |",
            peer.name,
            yes(peer.repairs),
            yes(peer.image)
        );
    }
    page.push_str("\n## By check\n\n| check | others that look at it |\n|-|-|\n");
    for check in ALL {
        let names: Vec<&str> = peers
            .iter()
            .filter(|peer| peer.checks.contains_key(check.id))
            .map(|peer| peer.name.as_str())
            .collect();
        let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
        let _ = writeln!(page, "| [{0}](checks/{0}.md) | {names} |", check.id);
    }
    for peer in peers {
        let _ = writeln!(page, "\n## {}\n\nRead at [{}]({}).\n", peer.name, peer.seen, peer.source);
        for (id, what) in &peer.checks {
            let _ = writeln!(page, "- [{id}](checks/{id}.md): {what}");
        }
        for (subject, what) in &peer.others {
            let _ = writeln!(page, "- {subject}, which edgeprep does not look at: {what}");
        }
    }
    page
}

#[test]
fn peers_are_held_against_checks_that_there_are() {
    for peer in read_peers() {
        let known = |id: &String| ALL.iter().any(|check| check.id == id);
        assert!(peer.checks.keys().all(known), "{}: {:?}", peer.name, peer.checks.keys());
        assert!(!peer.others.keys().any(known), "{}: {:?}", peer.name, peer.others.keys());
    }
}

fn read_peers() -> Vec<Peer> {
    let text = std::fs::read_to_string(docs().join("peers.toml")).unwrap();
    toml::from_str::<Peers>(&text).unwrap().peer
}

/// The messages that `edgeprep diagnose` knows, in the order of the data.
fn messages() -> String {
    let mut page = String::from(
        "# Messages that `edgeprep diagnose` knows\n\nGenerated from `profiles/symptoms.toml`. `*` stands for any \
         text; small and large letters are the same.\n",
    );
    for symptom in symptoms::built_in().unwrap() {
        let _ = writeln!(page, "\n## {}\n", symptom.id);
        for pattern in &symptom.patterns {
            // A code span that holds a backquote is fenced by two.
            let fence = if pattern.contains('`') { "``" } else { "`" };
            let space = if pattern.starts_with('`') || pattern.ends_with('`') { " " } else { "" };
            let _ = writeln!(page, "- {fence}{space}{pattern}{space}{fence}");
        }
        let _ = writeln!(page, "\n{}.", symptom.cause);
        let checks: Vec<String> = symptom
            .checks
            .iter()
            .map(|one| match &one.subject {
                Some(subject) => format!("[{0}](checks/{0}.md) (`{subject}`)", one.check),
                None => format!("[{0}](checks/{0}.md)", one.check),
            })
            .collect();
        let stacks: Vec<&str> = symptom.stacks.iter().map(|stack| stack.as_str()).collect();
        let row = |name: &str, text: String| match text.as_str() {
            "" => String::new(),
            text => format!("- {name}: {text}\n"),
        };
        let _ = write!(
            page,
            "\n{}{}{}{}{}",
            row("checks", checks.join(", ")),
            row("repair", symptom.repair.clone().unwrap_or_default()),
            row("stacks", stacks.join(", ")),
            row("versions", symptom.versions.clone().unwrap_or_default()),
            row("sources", symptom.sources.join("; ")),
        );
    }
    page
}

/// The contents with the pages of the checks, which are the last of them.
fn summary(published: &str) -> String {
    let checks = "- [Checks](checks.md)\n";
    let (by_hand, _) = published.split_once(checks).expect("docs/SUMMARY.md names checks.md");
    let each: String = ALL.iter().map(|check| format!("  - [{0}](checks/{0}.md)\n", check.id)).collect();
    format!("{by_hand}{checks}{each}")
}

/// All generated pages, by file.
fn pages() -> BTreeMap<PathBuf, String> {
    let each = ALL.iter().map(|check| (docs().join("checks").join(format!("{}.md", check.id)), page(check)));
    let boards = boards::page(&std::fs::read_to_string(docs().join("boards.md")).unwrap());
    let lists = [
        ("boards.md", boards),
        ("checks.md", index()),
        ("peers.md", peers(&read_peers())),
        ("symptoms.md", messages()),
        ("SUMMARY.md", summary(&std::fs::read_to_string(docs().join("SUMMARY.md")).unwrap())),
    ];
    each.chain(lists.map(|(file, text)| (docs().join(file), text))).collect()
}

#[test]
fn the_published_pages_are_those_of_the_checks() {
    let pages = pages();
    let folder = docs().join("checks");
    if std::env::var_os("EDGEPREP_UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        for entry in std::fs::read_dir(&folder).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (file, text) in &pages {
            std::fs::write(file, text).unwrap();
        }
    }
    let hint = "run EDGEPREP_UPDATE_DOCS=1 cargo test --test docs";
    for (file, text) in &pages {
        let published = std::fs::read_to_string(file).unwrap_or_default();
        assert!(published == *text, "{}: {hint}", file.display());
    }
    let published = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let old: Vec<PathBuf> = published.filter(|file| !pages.contains_key(file)).collect();
    assert!(old.is_empty(), "{old:?}: {hint}");
}
