//! The report for programs: `edgeprep.report/1`, described by `docs/report.schema.json`.

use crate::render::is_unseen;
use crate::report::Report;

/// The report as indented JSON with a final newline.
///
/// # Errors
/// None in practice: a report holds nothing that JSON cannot.
pub fn report(report: &Report) -> serde_json::Result<String> {
    serde_json::to_string_pretty(report).map(|text| text + "\n")
}

/// A fleet or a comparison, as indented JSON with a final newline.
///
/// # Errors
/// None in practice, as above.
pub fn fleet(fleet: &impl serde::Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(fleet).map(|text| ascii_controls(text) + "\n")
}

/// JSON with `\u` and digits in place of each character that a terminal or a script takes for more than a
/// character: those are in strings only.
pub(crate) fn ascii_controls(text: String) -> String {
    let is_obeyed = |c: char| c != '\n' && !matches!(c, ' '..='~') && is_unseen(c);
    if !text.contains(is_obeyed) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_obeyed(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::commands::detect::Detected;
    use crate::diagnosis::Diagnosis;
    use crate::fleet::{Comparison, Fleet};
    use crate::render::fix::FixReport;
    use crate::render::undo::UndoReport;
    use crate::report::Report;

    const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");

    #[test]
    fn what_terminals_obey_is_escaped() {
        let hostile = "a\u{1b}[31m\u{9b}31m\u{202e}\u{2028}\u{e0041}\u{7f}b é";
        let text = serde_json::to_string(&[hostile]).unwrap();
        let escaped = super::ascii_controls(text);
        assert_eq!(escaped, "[\"a\\u001b[31m\\u009b31m\\u202e\\u2028\\udb40\\udc41\\u007fb é\"]");
        assert_eq!(serde_json::from_str::<Vec<String>>(&escaped).unwrap(), [hostile]);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the published schemas are compared with the types")]
    fn the_published_schemas_are_those_of_the_types() {
        for (name, schema) in [
            ("report", schemars::schema_for!(Report)),
            ("fix", schemars::schema_for!(FixReport)),
            ("undo", schemars::schema_for!(UndoReport)),
            ("diagnosis", schemars::schema_for!(Diagnosis)),
            ("detect", schemars::schema_for!(Detected)),
            ("fleet", schemars::schema_for!(Fleet)),
            ("fleet-comparison", schemars::schema_for!(Comparison)),
        ] {
            let file = format!("{DOCS}/{name}.schema.json");
            let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            if std::env::var_os("EDGEPREP_UPDATE_DOCS").is_some() {
                std::fs::write(&file, &text).unwrap();
            }
            let published = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(published == text, "{file}: run tests once with EDGEPREP_UPDATE_DOCS=1");
        }
    }
}
