//! From settings to what reaches them: files as they shall be, and what makes the running system take
//! notice. One file per kind of artifact; pure.
//!
//! A file of ours that is there already is edited, not written anew: what another fix, for other stacks,
//! or a person put into it stays.

mod apparmor;
mod containers_conf;
mod delegation;
mod device;
mod draft;
mod drop_in;
mod environment;
mod file_mode;
mod k3s_environment;
mod k3s_service;
mod lines;
mod linger;
mod modules_load;
mod sections;
mod subordinate_ids;
mod sysctl;
mod template;
#[cfg(test)]
mod testing;
mod user_unit;

use crate::facts::Facts;
use crate::host::Unread;
use crate::plan::{Activation, Hex, Writer};
use crate::settings::Setting;
use draft::Draft;

/// Where files go that are not a user's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layer {
    /// Below `/etc`.
    #[default]
    Admin,
    /// Below `/usr`, as the vendor of an image has them.
    Vendor,
}

/// How to reach settings.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where files go.
    pub layer: Layer,
    /// Only files are written; nothing that runs is told.
    pub no_activate: bool,
    /// AppArmor's restriction may be turned off for all programs, instead of lifted for one.
    pub allow_global_userns: bool,
}

/// A path as it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The absolute path on the host. No component of it but the last may be a link of a user's.
    pub path: String,
    /// Who writes it.
    pub by: Writer,
    /// What shall be there.
    pub wanted: Wanted,
}

/// What shall be at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A file with these bytes. One that is there keeps its mode and owner.
    File {
        /// They.
        bytes: Vec<u8>,
        /// The permission bits of a new one.
        mode: u32,
    },
    /// A symbolic link with this text.
    Link(String),
    /// The file that is there, with these permission bits.
    Mode(u32),
    /// The file that is there, with this `security.capability` and without setuid and setgid bits.
    Capability(Hex),
}

/// What is left to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to do, in one sentence without a final period.
    pub summary: String,
    /// What to type.
    pub commands: Vec<String>,
}

/// What reaches a set of settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixes {
    /// Paths as they shall be, each path once.
    pub artifacts: Vec<Artifact>,
    /// What follows the last write, in order, each once.
    pub activations: Vec<Activation>,
    /// What cannot be reached this way, and how else.
    pub manual: Vec<Step>,
}

/// Why there can be no plan: nothing is changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FixError {
    /// Two findings want different values, which is a fault of the policy.
    #[error("{what} shall be both {one} and {other}: change the profile or the site file")]
    Conflict {
        /// Of what.
        what: String,
        /// The one.
        one: String,
        /// The other.
        other: String,
    },
    /// A file that has to be edited cannot be read.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// A value from policy that must not be written.
    #[error("{0}")]
    Refused(String),
    /// A template of ours is broken, which is our own fault.
    #[error("a template of edgeprep's own: {0}")]
    Template(String),
}

/// Adds to a fix what reaches the settings of one kind, and passes over the others.
type Add = fn(&mut Draft<'_>, &[Setting]) -> Result<(), FixError>;

/// All kinds. What an earlier one writes, a later one sees: delegation looks at what the drop-ins grant.
const KINDS: [Add; 13] = [
    drop_in::add,
    modules_load::add,
    sysctl::add,
    subordinate_ids::add,
    linger::add,
    file_mode::add,
    apparmor::add,
    device::add,
    delegation::add,
    containers_conf::add,
    environment::add,
    k3s_service::add,
    user_unit::add,
];

/// What reaches `settings` on the host of `facts`.
///
/// # Errors
/// [`FixError`].
pub fn fixes(facts: &Facts, settings: &[Setting], options: &Options) -> Result<Fixes, FixError> {
    let mut draft = Draft::new(facts, options);
    for add in KINDS {
        add(&mut draft, settings)?;
    }
    Ok(draft.finish())
}
