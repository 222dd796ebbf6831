//! The generated pages are those of the checks: `EDGEPREP_UPDATE_DOCS=1 cargo test --test docs` writes them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use edgeprep::checks::{ALL, Check};
use edgeprep::finding::Level;

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

/// All generated pages, by file.
fn pages() -> BTreeMap<PathBuf, String> {
    let each = ALL.iter().map(|check| (docs().join("checks").join(format!("{}.md", check.id)), page(check)));
    each.chain([(docs().join("checks.md"), index())]).collect()
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
