//! The report for programs: `edgeprep.report/1`, described by `docs/report.schema.json`.

use crate::report::Report;

/// The report as indented JSON with a final newline.
///
/// # Errors
/// None in practice: a report holds nothing that JSON cannot.
pub fn report(report: &Report) -> serde_json::Result<String> {
    serde_json::to_string_pretty(report).map(|text| text + "\n")
}

#[cfg(test)]
mod tests {
    use crate::commands::detect::Detected;
    use crate::diagnosis::Diagnosis;
    use crate::render::fix::FixReport;
    use crate::render::undo::UndoReport;
    use crate::report::Report;

    const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the published schemas are compared with the types")]
    fn the_published_schemas_are_those_of_the_types() {
        for (name, schema) in [
            ("report", schemars::schema_for!(Report)),
            ("fix", schemars::schema_for!(FixReport)),
            ("undo", schemars::schema_for!(UndoReport)),
            ("diagnosis", schemars::schema_for!(Diagnosis)),
            ("detect", schemars::schema_for!(Detected)),
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
