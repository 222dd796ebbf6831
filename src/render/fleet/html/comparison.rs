//! What changed between two sets of reports, as a page without a script.

use super::{Page, counted, thousands, verdict};
use crate::finding::Needs;
use crate::fleet::{Change, Comparison, Seen};

/// The page of a comparison.
pub fn comparison(all: &Comparison) -> String {
    let sums = &all.summary;
    let title = format!("edgeprep fleet: {} worse, {} better", thousands(sums.worse), thousands(sums.better));
    let mut page = Page::begin(&title, None);
    let rows = [
        ("worse", sums.worse),
        ("better", sums.better),
        ("same", sums.same),
        ("new", sums.appeared),
        ("gone", sums.gone),
        ("cannot be told apart", sums.ambiguous),
        ("not read", sums.unreadable),
    ];
    let counts = format!("{} before, {} now", counted(sums.old, "host"), thousands(sums.new));
    page.table(
        "Hosts",
        &counts,
        &["", "Hosts"],
        rows.iter().map(|(word, n)| vec![(*word).to_owned(), thousands(*n)]),
    );
    for (change, title) in [(Change::Worse, "Worse"), (Change::Better, "Better")] {
        let hosts = all.hosts.iter().filter(|host| host.change == change);
        let word = |readiness| verdict(readiness, Needs::None).to_owned();
        page.table(
            title,
            "",
            &["Host", "Was", "Is", "Checks that are worse", "Checks that are better"],
            hosts.map(|host| {
                vec![
                    host.name.clone(),
                    word(host.old),
                    word(host.new),
                    host.worse.join(", "),
                    host.better.join(", "),
                ]
            }),
        );
    }
    page.table(
        "By check",
        "On how many hosts",
        &["Check", "Worse", "Better"],
        all.checks
            .iter()
            .map(|check| vec![check.id.to_owned(), thousands(check.worse), thousands(check.better)]),
    );
    page.table(
        "Other than before",
        "",
        &["What", "Was", "Is", "Hosts"],
        all.moved.iter().map(|moved| {
            vec![moved.what.to_owned(), moved.old.to_owned(), moved.new.to_owned(), thousands(moved.hosts)]
        }),
    );
    let seen = |seen: &Seen| vec![seen.name.clone(), verdict(seen.verdict, Needs::None).to_owned()];
    page.table("New", "", &["Host", "Verdict"], all.new.iter().map(seen));
    page.table("Gone", "", &["Host", "Verdict"], all.gone.iter().map(seen));
    let ambiguous = all.ambiguous.iter().map(|name| vec![name.clone()]);
    page.table("Cannot be told apart", "Machine-id and name are those of others, too", &["Host"], ambiguous);
    page.faults("Not read of the old ones", all.unreadable_old, all.unreadable_old.len());
    page.faults("Not read of the new ones", all.unreadable_new, all.unreadable_new.len());
    page.end(all.version, "")
}
