//! The templates of new files, one for each kind.

use tera::{Context, Tera};

use super::FixError;

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Template {
    /// Lines.
    Lines,
    /// Lines in a section.
    DropIn,
    /// A profile of AppArmor.
    AppArmorProfile,
    /// The unit that runs K3s.
    K3sService,
}

impl Template {
    fn text(self) -> &'static str {
        match self {
            Template::Lines => include_str!("../../templates/systemd/lines.conf.tera"),
            Template::DropIn => include_str!("../../templates/systemd/drop-in.conf.tera"),
            Template::AppArmorProfile => include_str!("../../templates/systemd/apparmor-profile.tera"),
            Template::K3sService => include_str!("../../templates/systemd/k3s-rootless.service.tera"),
        }
    }

    /// The text with these values.
    pub(super) fn render(self, context: &Context) -> Result<String, FixError> {
        let mut tera = Tera::default();
        let refused = |error: tera::Error| FixError::Refused(format!("the template {self:?}: {error}"));
        tera.add_raw_template("text", self.text()).map_err(refused)?;
        let text = tera.render("text", context).map_err(refused)?;
        Ok(format!("{}\n", text.trim_end_matches('\n')))
    }
}
