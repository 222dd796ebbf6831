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

/// The unit that runs K3s.
pub(super) struct K3sService<'a> {
    /// k3s, as a word of a command line.
    pub(super) program: &'a str,
    /// `PATH=...`, as a word of `Environment=`.
    pub(super) path: &'a str,
    /// What `--snapshotter` gets; no such option where it is empty.
    pub(super) snapshotter: &'a str,
    /// Where it is no user's own, the users that it is for.
    pub(super) users: &'a [String],
}

impl K3sService<'_> {
    /// The text of the unit.
    pub(super) fn text(&self) -> Result<String, FixError> {
        let mut context = Context::new();
        context.insert("program", self.program);
        context.insert("path", self.path);
        context.insert("snapshotter", self.snapshotter);
        context.insert("users", self.users);
        render(K3S_SERVICE, &context)
    }
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
        let users = ["edge".to_owned()];
        let of =
            |snapshotter, users| K3sService { program: "/opt/k3s", path: "PATH=/bin", snapshotter, users };
        let unit = of("native", &users).text().unwrap();
        assert!(unit.contains("\nConditionUser=edge\nStartLimit"), "{unit}");
        let service =
            "Environment=PATH=/bin\nExecStart=/opt/k3s server --rootless --snapshotter=native\nExec";
        assert!(unit.contains(service), "{unit}");
        let unit = of("", &[]).text().unwrap();
        assert!(unit.contains("advanced\nStartLimit") && unit.contains(" --rootless\nExec"), "{unit}");
    }
}
