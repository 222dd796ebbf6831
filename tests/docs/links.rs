//! Every relative link of the project's pages leads to a file, and to a heading of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Where pages are, below the root of the project.
const PLACES: [&str; 6] =
    ["README.md", "CHANGELOG.md", "docs", "integrations", "packaging", "tests/vm/README.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            normal.pop();
        } else {
            normal.push(component);
        }
    }
    normal
}

fn add_pages(path: &Path, pages: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort_unstable();
        entries.iter().for_each(|entry| add_pages(entry, pages));
    } else if path.extension().is_some_and(|extension| extension == "md") {
        pages.push(path.to_owned());
    }
}

fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    PLACES.iter().for_each(|place| add_pages(&root().join(place), &mut pages));
    pages
}

/// The lines of a page that are text, and not code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence && !line.starts_with("    ")
    })
}

/// What links name: `[text](target)`, without what stands in code spans.
fn targets(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for line in prose(text) {
        let spans = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
        let behind = spans.split("](").skip(1);
        targets.extend(behind.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()));
    }
    targets
}

/// The anchors that GitHub and mdBook make of headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for heading in prose(text).filter(|line| line.starts_with('#')) {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let again = (1..).map(|n| format!("{anchor}-{n}")).find(|numbered| !anchors.contains(numbered));
        anchors.insert(if anchors.contains(&anchor) { again.unwrap() } else { anchor });
    }
    anchors
}

#[test]
fn links_lead_somewhere() {
    let docs = root().join("docs");
    let mut dead = Vec::new();
    let mut seen = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in
            targets(&text).iter().filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        {
            seen += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let there = fs::read_to_string(&file);
            // Only what is in docs is on the site.
            let leaves = page.starts_with(&docs) && !normal(&file).starts_with(&docs);
            let leads = !leaves
                && match (&there, anchor) {
                    (Err(_), _) => file.is_dir(),
                    (Ok(_), "") => true,
                    (Ok(text), anchor) => anchors(text).contains(anchor),
                };
            if !leads {
                dead.push(format!("{}: {target}", page.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(dead.is_empty(), "links that lead nowhere:\n{}", dead.join("\n"));
    assert!(seen > 100, "only {seen} links were found");
}

/// A site has only what its contents name.
#[test]
fn the_contents_name_every_page() {
    let docs = root().join("docs");
    let contents = docs.join("SUMMARY.md");
    let named = targets(&fs::read_to_string(&contents).unwrap());
    let mut all = Vec::new();
    add_pages(&docs, &mut all);
    let names = all.iter().filter(|page| **page != contents);
    let missing: Vec<&str> = names
        .map(|page| page.strip_prefix(&docs).unwrap().to_str().unwrap())
        .filter(|name| !named.iter().any(|target| target == name))
        .collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md does not name {missing:?}");
}

#[test]
fn what_is_found_in_a_page() {
    let page =
        "# One `a`\n## One a\n[x](y.md#z) `[no](code)` [b](c)\n```\n[no](fence)\n```\n    [no](indented)\n";
    assert_eq!(targets(page), ["y.md#z", "c"]);
    assert_eq!(anchors(page).into_iter().collect::<Vec<_>>(), ["one-a", "one-a-1"]);
}
