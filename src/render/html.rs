//! One page that needs nothing else: no script, no network, no other file. For a phone, a screen and paper.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::escape::markup;
use super::words::{self, Worth};
use crate::report::saved::Row;
use crate::report::{Group, Readiness, Saved, Status};

/// The style that pages share.
pub const STYLE: &str = include_str!("../../templates/html/style.css");

/// The report as a page.
pub fn report(report: &Saved) -> String {
    let verdict = words::verdict(report.readiness());
    let host = words::host(report);
    let mut page = Page { text: head(&format!("{host}: {verdict}"), STYLE, None) };
    let (verdict, mark) = (markup(verdict), of_readiness(report.readiness()));
    page.add(&format!("<main>\n<h1>{} <span class=\"word {mark}\">{verdict}</span></h1>\n", markup(host)));
    page.facts(report);
    page.stacks(report);
    let rows = |worth| report.checks.iter().enumerate().filter(move |(_, row)| words::worth(row) == worth);
    page.open("In the way", rows(Worth::Missing).chain(rows(Worth::Doubt)), true);
    page.open("Advised", rows(Worth::Advised), false);
    page.probes(report);
    let left = |status| rows(Worth::Left).filter(move |(_, row)| row.status() == status);
    page.closed("Ignored", left(Status::Ignored));
    page.closed("Does not apply", left(Status::Skip));
    page.closed("Met", rows(Worth::Met));
    let version = markup(&report.version);
    page.add(&format!("</main>\n<footer><p>edgeprep {version}</p></footer>\n</body>\n</html>\n"));
    page.text
}

/// All before the content of a page, which may use this style and this script, and nothing else in the world.
pub fn head(title: &str, style: &str, script: Option<&str>) -> String {
    let source = |text: &str| format!("'sha256-{}'", base64(&Sha256::digest(text)));
    let script = script.map(|text| format!(" script-src {};", source(text))).unwrap_or_default();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src {};{script} \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{} - edgeprep</title>\n<style>{style}</style>\n</head>\n<body>\n",
        source(style),
        markup(title)
    )
}

/// RFC 4648, 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let byte = |at| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        (0..4).map(move |at| match bits >> (18 - 6 * at) & 63 {
            _ if at > chunk.len() => '=',
            digit => DIGITS.get(digit as usize).map_or('=', |digit| char::from(*digit)),
        })
    });
    digits.collect()
}

fn of_readiness(readiness: Option<Readiness>) -> &'static str {
    match readiness {
        None => "",
        Some(Readiness::Ready) => "good",
        Some(Readiness::NotReady) => "bad",
        Some(Readiness::Pending | Readiness::Unknown) => "warn",
    }
}

struct Page {
    text: String,
}

impl Page {
    fn add(&mut self, html: &str) {
        self.text.push_str(html);
    }

    fn term(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.add(&format!("<dt>{name}</dt><dd>{}</dd>\n", markup(value)));
        }
    }

    fn facts(&mut self, report: &Saved) {
        let host = &report.host;
        let or_nothing = |text: &Option<String>| text.clone().unwrap_or_default();
        let parts =
            |parts: [&Option<String>; 2]| parts.into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
        self.add("<dl>\n");
        self.term(
            "What was looked at",
            match report.mode.as_str() {
                "live" => "the running host",
                "image" => "an image",
                "capture" => "a captured host",
                other => other,
            },
        );
        self.term("When (UTC)", &words::time(report).unwrap_or_default());
        let os = host.os.pretty_name.clone().unwrap_or_else(|| parts([&host.os.id, &host.os.version_id]));
        self.term("System", &os);
        self.term("Kernel", &host.kernel.join(", "));
        self.term("Architecture", &or_nothing(&host.arch));
        self.term("Hardware", &parts([&host.hardware.vendor, &host.hardware.model]));
        self.term("Profile", &format!("{} ({})", report.profile.name, report.profile.why));
        let users: Vec<String> = report.users.iter().map(|u| format!("{} ({})", u.name, u.uid)).collect();
        self.term("Users", &users.join(", "));
        self.term("Workload", &report.workload.as_ref().map(|files| files.join(", ")).unwrap_or_default());
        self.add("</dl>\n");
    }

    fn stacks(&mut self, report: &Saved) {
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for (at, row) in report.checks.iter().enumerate() {
            if matches!(words::worth(row), Worth::Missing | Worth::Doubt) {
                places.entry(&row.id).or_insert(at);
            }
        }
        self.add(
            "<h2>Stacks</h2>\n<table>\n<thead><tr><th scope=\"col\">Stack</th><th scope=\"col\">User</th>\
                  <th scope=\"col\">Verdict</th><th scope=\"col\">In the way</th></tr></thead>\n<tbody>\n",
        );
        for stack in &report.stacks {
            let readiness = Some(stack.readiness());
            let link = |id: &String| match places.get(id.as_str()) {
                Some(at) => format!("<a href=\"#c{at}\">{}</a>", markup(id)),
                None => markup(id),
            };
            let blockers: Vec<String> = stack.blockers.iter().map(link).collect();
            self.add(&format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td>\
                 <td><span class=\"word {}\">{}</span></td><td>{}</td></tr>\n",
                markup(&stack.name),
                markup(&stack.user),
                of_readiness(readiness),
                words::verdict(readiness),
                blockers.join(", ")
            ));
        }
        self.add("</tbody>\n</table>\n");
    }

    /// Rows that are not met, each in full.
    fn open<'a>(&mut self, title: &str, rows: impl Iterator<Item = (usize, &'a Row)>, urgent: bool) {
        let rows: Vec<(usize, &Row)> = rows.collect();
        if rows.is_empty() {
            return;
        }
        self.add(&format!("<h2>{title} ({})</h2>\n", rows.len()));
        for (at, row) in rows {
            let (mark, word) = match row.status() {
                Status::Unknown => ("warn", "unknown"),
                _ if !row.findings.is_empty()
                    && row.findings.iter().all(|f| matches!(f.verdict.as_str(), "met" | "pending")) =>
                {
                    ("warn", "pending")
                }
                _ if urgent => ("bad", "not met"),
                _ => ("warn", "not met"),
            };
            let of = row.user.as_ref().map(|user| format!(" for {}", markup(user))).unwrap_or_default();
            self.add(&format!(
                "<article id=\"c{at}\">\n\
                 <h3><code>{}</code>{of} <span class=\"word {mark}\">{word}</span></h3>\n\
                 <p class=\"soft\">{}</p>\n",
                markup(&row.id),
                markup(&row.summary)
            ));
            row.groups(false).iter().for_each(|group| self.group(group));
            if let Some(reason) = &row.reason {
                self.add(&format!("<p>{}</p>\n", markup(reason)));
            }
            self.add("</article>\n");
        }
    }

    fn group(&mut self, group: &Group) {
        self.add(&format!("<p class=\"found\">{}</p>\n", markup(&group.sentence())));
        let (read, asked) = group.evidence();
        let places: Vec<_> = read.into_iter().chain(asked).collect();
        if !places.is_empty() {
            self.add("<ul>\n");
            for at in places {
                self.add(&format!(
                    "<li><code>{}</code> {}</li>\n",
                    markup(&at.to_string()),
                    markup(&at.text)
                ));
            }
            self.add("</ul>\n");
        }
        for why in group.whys() {
            self.add(&format!("<p class=\"soft\">Why: {}</p>\n", markup(why)));
        }
        if let Some(repair) = words::repair(group) {
            self.add(&format!("<p>Repair: {}</p>\n", markup(&repair)));
        }
        if !group.commands.is_empty() {
            let commands: Vec<String> = group.commands.iter().map(|command| markup(command)).collect();
            self.add(&format!("<pre>{}</pre>\n", commands.join("\n")));
        }
    }

    fn probes(&mut self, report: &Saved) {
        let Some(probes) = report.probes.as_ref().filter(|probes| !probes.is_empty()) else { return };
        self.add(&format!("<details><summary>Tried ({})</summary>\n<ul>\n", probes.len()));
        for tried in probes {
            let mark = match tried.result.as_str() {
                "works" => "good",
                "refused" => "bad",
                _ => "warn",
            };
            let [probe, user, subject, result, text] =
                [&tried.probe, &tried.user, &tried.subject, &tried.result, &tried.text]
                    .map(|text| markup(text));
            self.add(&format!(
                "<li><code>{probe}</code> for {user}, {subject}: \
                 <span class=\"word {mark}\">{result}</span> {text}</li>\n"
            ));
        }
        self.add("</ul>\n</details>\n");
    }

    /// Rows that ask for nothing, a line each, folded.
    fn closed<'a>(&mut self, title: &str, rows: impl Iterator<Item = (usize, &'a Row)>) {
        let rows: Vec<(usize, &Row)> = rows.collect();
        if rows.is_empty() {
            return;
        }
        self.add(&format!("<details><summary>{title} ({})</summary>\n<ul>\n", rows.len()));
        for (_, row) in rows {
            let seen = |group: &Group| format!("{}: {}", group.subjects(), group.first.found);
            let seen: Vec<String> = row.groups(true).iter().map(seen).collect();
            let text = row.reason.clone().unwrap_or_else(|| seen.join("; "));
            let of = row.user.as_ref().map(|user| format!(" for {}", markup(user))).unwrap_or_default();
            self.add(&format!("<li><code>{}</code>{of}: {}</li>\n", markup(&row.id), markup(&text)));
        }
        self.add("</ul>\n</details>\n");
    }
}
