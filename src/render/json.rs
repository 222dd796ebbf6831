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
    use crate::report::Report;

    const SCHEMA_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/report.schema.json");

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the published schema is compared with the types")]
    fn the_published_schema_is_that_of_the_types() {
        let schema = schemars::schema_for!(Report);
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("EDGEPREP_UPDATE_DOCS").is_some() {
            std::fs::write(SCHEMA_FILE, &text).unwrap();
        }
        let published = std::fs::read_to_string(SCHEMA_FILE).unwrap();
        assert!(published == text, "docs/report.schema.json: run tests once with EDGEPREP_UPDATE_DOCS=1");
    }
}
