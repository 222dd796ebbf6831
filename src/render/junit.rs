//! JUnit's XML as Jenkins and xUnit read it: what a CI shows as tests.

use super::escape::markup;
use super::words::{self, Worth};
use crate::report::Saved;
use crate::report::saved::Row;

/// The report as one suite with a case for each row.
pub fn report(report: &Saved) -> String {
    let cases: Vec<(Worth, String)> = words::rows(report).map(|row| (words::worth(row), case(row))).collect();
    let count = |wanted: &[Worth]| cases.iter().filter(|(worth, _)| wanted.contains(worth)).count();
    let (failures, errors) = (count(&[Worth::Missing]), count(&[Worth::Doubt]));
    let sums = format!("tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\"", cases.len());
    let skipped = count(&[Worth::Advised, Worth::Left]);
    let host = markup(words::host(report));
    let time = words::time(report).map(|time| format!(" timestamp=\"{time}\"")).unwrap_or_default();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"edgeprep\" {sums}>\n  \
         <testsuite name=\"edgeprep {host}\" hostname=\"{host}\" {sums} skipped=\"{skipped}\"{time}>\n    \
         <properties>\n"
    );
    for (name, value) in [
        ("version", &report.version),
        ("mode", &report.mode),
        ("profile", &report.profile.name),
        ("verdict", &words::verdict(report.readiness()).to_owned()),
    ] {
        out.push_str(&format!("      <property name=\"{name}\" value=\"{}\"/>\n", markup(value)));
    }
    out.push_str("    </properties>\n");
    cases.iter().for_each(|(_, case)| out.push_str(case));
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

fn case(row: &Row) -> String {
    let class = row.user.as_deref().unwrap_or("host");
    let start = format!(
        "    <testcase classname=\"edgeprep.{}\" name=\"{}\"",
        markup(class),
        markup(&words::title(row))
    );
    let message = markup(&words::message(row));
    let lines = || words::details(row).iter().map(|line| markup(line)).collect::<Vec<_>>().join("\n");
    let inside = match words::worth(row) {
        Worth::Met => return format!("{start}/>\n"),
        Worth::Left => format!("<skipped message=\"{message}\"/>"),
        Worth::Advised => format!(
            "<skipped message=\"advised, and not met: {message}\"/>\n      <system-out>{}</system-out>",
            lines()
        ),
        Worth::Missing => {
            format!("<failure message=\"{message}\" type=\"required\">{}</failure>", lines())
        }
        Worth::Doubt => format!("<error message=\"{message}\" type=\"unknown\">{}</error>", lines()),
    };
    format!("{start}>\n      {inside}\n    </testcase>\n")
}
