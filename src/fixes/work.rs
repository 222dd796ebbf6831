//! What every kind of artifact needs: what is there, where files go, and what becomes of them.

use super::template::Template;
use super::{Artifact, FixError, Fixes, Layer, Options, Step, Wanted};
use crate::facts::Facts;
use crate::facts::users::User;
use crate::plan::{Activation, Content, Credentials, State, Writer};

/// The permission bits of configuration that everybody may read.
pub(super) const READABLE: u32 = 0o644;

/// The artifacts of one plan while they are made.
pub(super) struct Work<'a> {
    pub(super) facts: &'a Facts,
    pub(super) options: &'a Options,
    fixes: Fixes,
}

impl<'a> Work<'a> {
    pub(super) fn new(facts: &'a Facts, options: &'a Options) -> Work<'a> {
        Work { facts, options, fixes: Fixes::default() }
    }

    /// Whether something runs that can be told.
    pub(super) fn activates(&self) -> bool {
        self.facts.running() && !self.options.no_activate
    }

    /// The directory for the system's configuration of a kind: below `/etc`, or below `/usr` for a vendor.
    pub(super) fn dir(&self, admin: &str, vendor: &str) -> String {
        match self.options.layer {
            Layer::Admin => admin.to_owned(),
            Layer::Vendor => vendor.to_owned(),
        }
    }

    pub(super) fn user(&self, name: &str) -> Result<User, FixError> {
        let user = self.facts.user_by_name(name)?;
        user.ok_or_else(|| FixError::Refused(format!("{name}: no such user in /etc/passwd")))
    }

    /// A file in the user's own configuration; `None` where files are the system's, because nothing runs.
    pub(super) fn in_home(&self, user: &User, below_config: &str) -> Option<(String, Writer)> {
        let home = user.home.trim_end_matches('/');
        let has_home = home.starts_with('/') && user.uid != 0;
        (self.facts.running() && has_home)
            .then(|| (format!("{home}/.config/{below_config}"), Writer::User(Credentials::of(user))))
    }

    /// Makes a file of `template`, or, where it is there, of what `edit` makes of its text.
    pub(super) fn file(
        &mut self,
        path: String,
        by: Writer,
        (template, context): (Template, &tera::Context),
        edit: impl FnOnce(&str) -> String,
    ) -> Result<(), FixError> {
        let text = match self.existing(&path, &by)? {
            State::Absent => template.render(context)?,
            State::File { content: Content::Text(text), .. } => edit(&text),
            State::File { .. } => return Err(FixError::Refused(format!("{path}: expected a text in UTF-8"))),
            State::Dir { .. } => return Err(FixError::Refused(format!("{path}: expected a file, is a directory"))),
            State::Link { target, .. } => {
                self.manual(format!("{path} is a link to {target}, and so not written: take it away"), Vec::new());
                return Ok(());
            }
        };
        self.push(path, by, Wanted::File { bytes: text.into_bytes(), mode: READABLE });
        Ok(())
    }

    /// What is there. What a user put there is read as far as the user may.
    pub(super) fn existing(&self, path: &str, by: &Writer) -> Result<State, FixError> {
        let state = self.facts.existing(path)?;
        if let (Writer::User(user), State::File { uid, .. }) = (by, &state)
            && *uid != user.uid
        {
            let why = format!("{path}: belongs to user {uid}, not to {}", user.name);
            return Err(FixError::Refused(why));
        }
        Ok(state)
    }

    pub(super) fn push(&mut self, path: String, by: Writer, wanted: Wanted) {
        self.fixes.artifacts.push(Artifact { path, by, wanted });
    }

    pub(super) fn manual(&mut self, summary: impl Into<String>, commands: Vec<String>) {
        let step = Step { summary: summary.into(), commands };
        if !self.fixes.manual.contains(&step) {
            self.fixes.manual.push(step);
        }
    }

    /// Adds what follows the writing, if anything runs that can be told.
    pub(super) fn activate(&mut self, activation: Activation) {
        if self.activates() && !self.fixes.activations.contains(&activation) {
            self.fixes.activations.push(activation);
        }
    }

    pub(super) fn finish(mut self) -> Fixes {
        self.fixes.artifacts.sort_by(|one, other| one.path.cmp(&other.path));
        self.fixes.activations.sort_by_key(order);
        self.fixes
    }
}

/// Units before what is in them, modules before their sysctls, user managers before their units.
fn order(activation: &Activation) -> u8 {
    match activation {
        Activation::Reload => 0,
        Activation::ReloadLogind => 1,
        Activation::LoadModules { .. } => 2,
        Activation::Sysctl { .. } => 3,
        Activation::DeviceMode { .. } => 4,
        Activation::ReloadAppArmor => 5,
        Activation::Linger { .. } => 6,
        Activation::Delegation { .. } => 7,
        Activation::UserReload { .. } => 8,
        Activation::UserStart { .. } => 9,
        Activation::RestartUserManager { .. } => 10,
    }
}

/// The values of a template.
pub(super) fn lines(lines: &[String]) -> tera::Context {
    let mut context = tera::Context::new();
    context.insert("lines", lines);
    context
}

/// A section of a template.
#[derive(serde::Serialize)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) lines: Vec<String>,
}

/// The values of a template with sections.
pub(super) fn sections(sections: &[Section]) -> tera::Context {
    let mut context = tera::Context::new();
    context.insert("sections", sections);
    context
}
