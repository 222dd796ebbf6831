//! The user namespace that Podman holds: a new one has the IDs that are configured.

use super::FixError;
use super::draft::Draft;
use crate::plan::{Activation, Credentials};
use crate::settings::Setting;

pub(super) fn add(draft: &mut Draft<'_>, settings: &[Setting]) -> Result<(), FixError> {
    for setting in settings {
        let Setting::NewPodmanNamespace { user } = setting else { continue };
        let user = draft.user(user)?;
        draft.activate(Activation::NewPodmanNamespace { user: Credentials::of(&user) });
    }
    Ok(())
}
