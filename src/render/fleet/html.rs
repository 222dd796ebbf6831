//! A fleet as a page of one file: tables that need nothing but a browser, and below them, of data
//! in the page, the list of hosts with search and filters. Nothing is loaded, and nothing runs but
//! the page's own script.

mod comparison;

use std::fmt::Write;

use super::data::data;
use super::human::{counted, thousands, verdict};
use super::picture::{self, Cell};
use crate::fleet::{CheckSum, Fault, Fleet, Group, Shared};
use crate::render::escape::markup;
use crate::render::{html, json};
use crate::report::Readiness;

pub use comparison::comparison;

const STYLE: &str = include_str!("../../../templates/html/fleet.css");
const SCRIPT: &str = include_str!("../../../templates/html/fleet.js");
/// How many columns the picture has, at most; the script knows it, too.
const COLUMNS: usize = 64;
/// How many groups and the like are shown, hosts are named.
const SHOWN: usize = 50;
const NAMED: usize = 20;

/// The page of a fleet.
///
/// # Errors
/// None in practice: a fleet holds nothing that JSON cannot.
pub fn fleet(fleet: &Fleet) -> serde_json::Result<String> {
    let sums = &fleet.summary;
    let title = format!("edgeprep fleet: {}", counted(sums.hosts, "host"));
    let mut page = Page::begin(&title, Some(SCRIPT));
    page.verdicts(fleet);
    if sums.hosts > 0 {
        let open = picture::open(fleet);
        page.filters();
        page.picture(fleet, &open);
        page.hosts();
        page.groups(fleet);
        page.duplicates(fleet);
        page.drift(fleet);
        page.faults("Not read", fleet.unreadable, sums.unreadable);
        page.put("<script type=\"application/json\" id=\"data\">");
        page.put(&in_script(serde_json::to_string(&data(fleet, &open))?));
        page.put("</script>\n");
        let script = format!("<script>{SCRIPT}</script>\n");
        return Ok(page.end(fleet.version, &script));
    }
    page.faults("Not read", fleet.unreadable, sums.unreadable);
    Ok(page.end(fleet.version, ""))
}

/// JSON for a script element: nothing in it ends that, or begins another.
fn in_script(text: String) -> String {
    json::ascii_controls(text).replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// The class of a verdict in the style, and its mark.
pub(super) fn class(verdict: Readiness) -> (&'static str, char) {
    match verdict {
        Readiness::Ready => ("good", '+'),
        Readiness::Pending => ("warn", '~'),
        Readiness::NotReady => ("bad", 'x'),
        Readiness::Unknown => ("calm", '?'),
    }
}

struct Page(String);

impl Page {
    fn begin(title: &str, script: Option<&str>) -> Page {
        let style = format!("{}{STYLE}", html::STYLE);
        Page(format!(
            "{}<header><h1>{}</h1></header>\n<main>\n",
            html::head(title, &style, script),
            markup(title)
        ))
    }

    fn end(mut self, version: &str, script: &str) -> String {
        let _ = write!(
            self.0,
            "</main>\n<footer>Made by edgeprep {} of its reports. This page loads \
             nothing.</footer>\n{script}</body>\n</html>\n",
            markup(version)
        );
        self.0
    }

    fn put(&mut self, html: &str) {
        self.0.push_str(html);
    }

    fn heading(&mut self, text: &str) {
        let _ = writeln!(self.0, "<h2>{}</h2>", markup(text));
    }

    /// A table with a heading, where it has rows; what is a number stands to the right.
    fn table(&mut self, title: &str, caption: &str, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return;
        }
        self.heading(title);
        self.put("<table>");
        if !caption.is_empty() {
            let _ = write!(self.0, "<caption>{}</caption>", markup(caption));
        }
        self.put("<thead><tr>");
        for head in heads {
            let tag = if head.is_empty() { "td" } else { "th" };
            let scope = if head.is_empty() { "" } else { " scope=\"col\"" };
            let _ = write!(self.0, "<{tag}{scope}>{}</{tag}>", markup(head));
        }
        self.put("</tr></thead>\n<tbody>\n");
        for row in rows {
            self.put("<tr>");
            for (at, cell) in row.iter().enumerate() {
                let (open, close) = if at == 0 { ("th scope=\"row\"", "th") } else { ("td", "td") };
                let _ = write!(self.0, "<{open}>{}</{close}>", markup(cell));
            }
            self.put("</tr>\n");
        }
        self.put("</tbody></table>\n");
    }

    fn verdicts(&mut self, fleet: &Fleet) {
        let sums = &fleet.summary;
        self.put(
            "<table class=\"narrow\"><caption>Hosts by the worst verdict of their stacks, then by \
         stack</caption>\n<thead><tr><td></td>",
        );
        for verdict in ["Ready", "Pending", "Not ready", "Unknown"] {
            let _ = write!(self.0, "<th scope=\"col\" class=\"n\">{verdict}</th>");
        }
        self.put("</tr></thead>\n<tbody>\n");
        self.counts("hosts", [sums.ready, sums.pending, sums.not_ready, sums.unknown]);
        for stack in &fleet.stacks {
            self.counts(stack.name, [stack.ready, stack.pending, stack.not_ready, stack.unknown]);
        }
        self.put("</tbody></table>\n");
        let mut notes = Vec::new();
        if sums.unreadable > 0 {
            notes.push(format!("{} could not be read, see below.", counted(sums.unreadable, "file or line")));
        }
        if sums.superseded > 0 {
            notes.push(format!(
                "{} left out for later ones of the same hosts.",
                counted(sums.superseded, "report")
            ));
        }
        if !notes.is_empty() {
            let _ = writeln!(self.0, "<p>{}</p>", markup(&notes.join(" ")));
        }
    }

    fn counts(&mut self, title: &str, counts: [usize; 4]) {
        let _ = write!(self.0, "<tr><th scope=\"row\">{}</th>", markup(title));
        let verdicts = [Readiness::Ready, Readiness::Pending, Readiness::NotReady, Readiness::Unknown];
        for (count, verdict) in counts.into_iter().zip(verdicts) {
            let (class, _) = class(verdict);
            let class = if count > 0 { class } else { "soft" };
            let _ = write!(self.0, "<td class=\"n {class}\">{}</td>", thousands(count));
        }
        self.put("</tr>\n");
    }

    fn filters(&mut self) {
        self.put(
            "<section class=\"script\" hidden aria-label=\"Search and filters\">\n<div \
             class=\"filters\" id=\"filters\" role=\"search\">\n\
             <label class=\"search\">Search for hosts and reports (key /)<input id=\"search\" \
             type=\"search\" autocomplete=\"off\"></label>\n",
        );
        for (id, title, all) in [
            ("stack", "Stack", "all"),
            ("verdict", "Verdict", "any"),
            ("check", "Check that is not met", "any"),
            ("profile", "Profile", "all"),
            ("board", "Board", "all"),
            ("kernel", "Kernel", "all"),
        ] {
            let _ = writeln!(
                self.0,
                "<label>{title}<select id=\"{id}\" autocomplete=\"off\"><option \
                 value=\"\">{all}</option></select></label>"
            );
        }
        self.put(
            "<button id=\"clear\" type=\"button\">Clear</button>\n</div>\n<p id=\"count\" \
             role=\"status\"></p>\n</section>\n",
        );
    }

    fn picture(&mut self, fleet: &Fleet, open: &[&CheckSum]) {
        if open.is_empty() {
            return;
        }
        let order = picture::order(fleet);
        self.heading("Checks by hosts");
        self.put("<ul class=\"key\">");
        for (class, title) in [("f", "not met"), ("p", "pending"), ("u", "not known"), ("a", "advised")] {
            let _ = write!(
                self.0,
                "<li><svg viewBox=\"0 0 1 1\" aria-hidden=\"true\"><path class=\"{class}\" d=\"M0 \
                 0h1v1h-1z\"/></svg> {title}</li>"
            );
        }
        self.put(
            "</ul>\n<table class=\"map\" id=\"map\"><caption>From left to right all hosts, those with \
             the same blockers \
             side by side; the height of a colour is its share of the hosts there</caption>\n\
             <thead><tr><th scope=\"col\" class=\"id\">Check</th><td></td>",
        );
        for title in ["Not met", "Pending", "Not known", "Advised"] {
            let wide = if title == "Not met" || title == "Not known" { "" } else { " wide" };
            let _ = write!(self.0, "<th scope=\"col\" class=\"n{wide}\">{title}</th>");
        }
        self.put("</tr></thead>\n<tbody>\n");
        for (at, check) in open.iter().enumerate() {
            let cells = picture::row(check, &order, COLUMNS);
            let _ = write!(
                self.0,
                "<tr data-check=\"{at}\"><th scope=\"row\" class=\"id\" title=\"{}\">{}</th><td>",
                markup(check.summary),
                markup(check.id)
            );
            self.strip(&cells);
            self.put("</td>");
            for (count, wide) in
                [(check.fail, ""), (check.pending, " wide"), (check.unknown, ""), (check.advised, " wide")]
            {
                let text = if count > 0 { thousands(count) } else { String::new() };
                let _ = write!(self.0, "<td class=\"n{wide}\">{text}</td>");
            }
            self.put("</tr>\n");
        }
        self.put(
            "</tbody></table>\n<p class=\"script\" hidden><button id=\"all\" type=\"button\">Show \
         all checks</button></p>\n",
        );
    }

    fn strip(&mut self, cells: &[Cell]) {
        let _ = write!(
            self.0,
            "<svg class=\"strip\" viewBox=\"0 0 {} 100\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
            cells.len()
        );
        for (kind, class) in ["f", "u", "p", "a"].into_iter().enumerate() {
            let _ = write!(self.0, "<path class=\"{class}\" d=\"");
            let mut at = 0;
            while at < cells.len() {
                let next = at + cells[at..].iter().take_while(|cell| **cell == cells[at]).count();
                let shares = [cells[at].fail, cells[at].unknown, cells[at].pending, cells[at].advised];
                let under: u32 = shares[..kind].iter().map(|share| u32::from(*share)).sum();
                if shares[kind] > 0 {
                    let (top, height, width) = (100u32.saturating_sub(under), shares[kind], next - at);
                    let _ = write!(self.0, "M{at} {top}h{width}v-{height}h-{width}z");
                }
                at = next;
            }
            self.put("\"/>");
        }
        self.put("</svg>");
    }

    fn hosts(&mut self) {
        self.put(
            "<noscript><p class=\"soft\">The list of all hosts, with search and filters, takes \
             JavaScript; what follows does not.</p></noscript>\n\
             <section class=\"script\" hidden aria-labelledby=\"hosts-title\">\n<h2 \
             id=\"hosts-title\">Hosts</h2>\n\
             <table id=\"hosts\"><caption>Enter on a host shows more of it, Esc less; arrow keys go \
             from host to host</caption>\n<thead><tr>",
        );
        for (key, title, wide) in [
            ("name", "Host", ""),
            ("verdict", "Verdict", ""),
            ("blockers", "Blockers", ""),
            ("profile", "Profile", " class=\"wide\""),
            ("kernel", "Kernel", " class=\"wide\""),
        ] {
            let _ = write!(
                self.0,
                "<th scope=\"col\"{wide}><button class=\"plain\" type=\"button\" \
                 value=\"{key}\">{title}<span aria-hidden=\"true\"></span></button></th>"
            );
        }
        self.put(
            "</tr></thead>\n<tbody id=\"rows\"></tbody></table>\n<div class=\"pages\"><button \
             id=\"previous\" type=\"button\">Previous</button>\
             <span id=\"page\"></span><button id=\"next\" type=\"button\">Next</button></div>\n</section>\n",
        );
    }

    fn groups(&mut self, fleet: &Fleet) {
        let blocked: Vec<&Group> = fleet.groups.iter().filter(|g| g.verdict != Readiness::Ready).collect();
        if blocked.is_empty() {
            return;
        }
        self.heading("Hosts with the same blockers");
        for (at, group) in blocked.iter().take(SHOWN).enumerate() {
            let (class, mark) = class(group.verdict);
            let _ = writeln!(
                self.0,
                "<details{}><summary><strong>{}</strong>, <span class=\"{class}\"><span class=\"mark\" \
                 aria-hidden=\"true\">{mark}</span>{}</span>: {}</summary>",
                if at == 0 { " open" } else { "" },
                counted(group.count, "host"),
                verdict(group.verdict, group.needs),
                markup(&if group.blockers.is_empty() {
                    "no check says why".to_owned()
                } else {
                    group.blockers.join(", ")
                })
            );
            if !group.repairs.is_empty() {
                self.put("<dl>");
            }
            for repair in &group.repairs {
                let fix = if repair.fixable { "<code>edgeprep fix</code>: " } else { "" };
                let _ = write!(
                    self.0,
                    "<dt>{}</dt><dd>{fix}{}</dd>",
                    markup(repair.check),
                    markup(repair.summary)
                );
            }
            if !group.repairs.is_empty() {
                self.put("</dl>\n");
            }
            self.names(&group.hosts);
            self.put("</details>\n");
        }
        self.left_out(blocked.len(), "group");
    }

    fn names(&mut self, names: &[String]) {
        let shown = names.iter().take(NAMED).map(|name| markup(name)).collect::<Vec<_>>().join(", ");
        let more = names.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {} more", thousands(more)) } else { String::new() };
        let _ = writeln!(self.0, "<p class=\"names\">{shown}{more}</p>");
    }

    fn left_out(&mut self, all: usize, what: &str) {
        if all > SHOWN {
            let _ = writeln!(self.0, "<p>And {} more.</p>", counted(all - SHOWN, what));
        }
    }

    fn duplicates(&mut self, fleet: &Fleet) {
        if fleet.machine_ids.is_empty() && fleet.names.is_empty() && fleet.node_subnets.is_empty() {
            return;
        }
        self.heading("What only a fleet shows");
        self.shared(
            "Machine-ids of several hosts",
            "Empty /etc/machine-id on all but one of them, and reboot; empty it in the image that they \
             come from. Several \
             reports of one host look the same: --latest counts the last.",
            &fleet.machine_ids,
        );
        self.shared(
            "Names of several hosts",
            "hostnamectl set-hostname, with another name for each: a cluster knows its nodes by it.",
            &fleet.names,
        );
        if fleet.node_subnets.is_empty() {
            return;
        }
        self.put(
            "<h3>Node subnets of several hosts</h3>\n<p>Where they are to be in one Usernetes \
         cluster, another <code>NODE_SUBNET</code> for each.</p>\n<ul>\n",
        );
        for node in fleet.node_subnets.iter().take(SHOWN) {
            let _ = write!(self.0, "<li>{}, {}", markup(node.subnet), counted(node.hosts.len(), "name"));
            let names: Vec<String> = node.hosts.iter().map(|name| (*name).to_owned()).collect();
            self.names(&names);
            self.put("</li>\n");
        }
        self.put("</ul>\n");
        self.left_out(fleet.node_subnets.len(), "network");
    }

    fn shared(&mut self, title: &str, repair: &str, shared: &[Shared]) {
        if shared.is_empty() {
            return;
        }
        let _ = writeln!(self.0, "<h3>{}</h3>\n<p>{}</p>\n<ul>", markup(title), markup(repair));
        for one in shared.iter().take(SHOWN) {
            let _ = write!(
                self.0,
                "<li><code>{}</code>, {}",
                markup(one.value),
                counted(one.hosts.len(), "host")
            );
            let same = one.hosts.iter().all(|host| host == one.value);
            let reports: Vec<String> = one.reports.iter().map(ToString::to_string).collect();
            self.names(if same { &reports } else { &one.hosts });
            self.put("</li>\n");
        }
        self.put("</ul>\n");
        self.left_out(shared.len(), "such");
    }

    fn drift(&mut self, fleet: &Fleet) {
        let rows = fleet.drift.iter().filter(|drift| drift.values.len() > 1).flat_map(|drift| {
            let shown = drift.values.iter().take(SHOWN).map(|value| {
                let names = value.outliers.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
                let more = value.outliers.len().saturating_sub(NAMED);
                let more = if more > 0 { format!(" and {} more", thousands(more)) } else { String::new() };
                vec![drift.what.to_owned(), value.value.to_owned(), thousands(value.count), names + &more]
            });
            let rest =
                drift.values.iter().skip(SHOWN).map(|value| value.count).reduce(|one, other| one + other);
            let others = drift.values.len().saturating_sub(SHOWN);
            shown.chain(rest.map(|count| {
                vec![
                    drift.what.to_owned(),
                    format!("{} others", thousands(others)),
                    thousands(count),
                    String::new(),
                ]
            }))
        });
        let rows: Vec<Vec<String>> = rows.collect();
        self.table("What hosts differ in", "", &["What", "Value", "Hosts", "Only on"], rows.into_iter());
    }

    fn faults(&mut self, title: &str, faults: &[Fault], all: usize) {
        let rows =
            faults.iter().take(SHOWN * 4).map(|fault| vec![fault.source.to_string(), fault.why.clone()]);
        self.table(title, "", &["Where", "Why"], rows);
        if all > SHOWN * 4 {
            let _ = writeln!(self.0, "<p>And {} more.</p>", thousands(all - SHOWN * 4));
        }
    }
}
