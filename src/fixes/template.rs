//! New files, from the templates in `templates/systemd`: one template per kind of artifact.

use tera::{Context, Tera};

use super::FixError;

const DROP_IN: &str = include_str!("../../templates/systemd/drop-in.conf.tera");
const LINES: &str = include_str!("../../templates/systemd/lines.conf.tera");
const APPARMOR: &str = include_str!("../../templates/systemd/apparmor-profile.tera");
const K3S_SERVICE: &str = include_str!("../../templates/systemd/k3s-rootless.service.tera");

/// A file with one section.
pub(super) fn drop_in(section: &str, lines: &[&str]) -> Result<String, FixError> {
    let mut context = Context::new();
    context.insert("section", section);
    context.insert("lines", lines);
    render(DROP_IN, &context)
}

/// A file without sections.
pub(super) fn lines(lines: &[&str]) -> Result<String, FixError> {
    let mut context = Context::new();
    context.insert("lines", lines);
    render(LINES, &context)
}

/// A profile that confines nothing and allows user namespaces.
pub(super) fn apparmor(name: &str, path: &str) -> Result<String, FixError> {
    let mut context = Context::new();
    context.insert("name", name);
    context.insert("path", path);
    render(APPARMOR, &context)
}

/// The unit that runs K3s; where it is no user's own, for these users only.
pub(super) fn k3s_service(program: &str, users: &[String]) -> Result<String, FixError> {
    let mut context = Context::new();
    context.insert("program", program);
    context.insert("users", users);
    render(K3S_SERVICE, &context)
}

fn render(template: &str, context: &Context) -> Result<String, FixError> {
    // Nothing is escaped: none of these files is HTML.
    Tera::one_off(template, context, false).map_err(|error| FixError::Template(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "# Written by edgeprep; \"edgeprep undo\" takes it back. See edgeprep(1).\n";

    #[test]
    fn values_stand_as_they_are() {
        let made = drop_in("Service", &["A=\"<&'>\"", "B={{ x }}"]).unwrap();
        assert_eq!(made, format!("{HEADER}[Service]\nA=\"<&'>\"\nB={{{{ x }}}}\n"));
        assert_eq!(lines(&["a = 1", "b"]).unwrap(), format!("{HEADER}a = 1\nb\n"));
        let profile = apparmor("opt.k3s", "/opt/k3s").unwrap();
        assert!(profile.starts_with(HEADER) && profile.ends_with("}\n"), "{profile}");
        let unit = k3s_service("/opt/k3s", &["edge".to_owned()]).unwrap();
        assert!(unit.contains("\nConditionUser=edge\nStartLimit"), "{unit}");
        assert!(k3s_service("/opt/k3s", &[]).unwrap().contains("advanced\nStartLimit"));
    }
}
