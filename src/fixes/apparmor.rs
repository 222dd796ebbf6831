//! A profile of AppArmor for the one program that has to create user namespaces
//! (`apparmor.d(5)`; Ubuntu: "Unprivileged user namespace restrictions").

use super::template::Template;
use super::work::Work;
use super::{FixError, Setting};
use crate::plan::{Activation, Writer};

pub(super) fn add(work: &mut Work, settings: &[Setting]) -> Result<(), FixError> {
    for setting in settings {
        let Setting::UsernsProfile { program } = setting else { continue };
        if work.options.allow_global_userns {
            continue;
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
        if !program.starts_with('/') || !program.chars().all(plain) {
            let what = format!("{program:?} cannot be named in a profile of AppArmor: move the program");
            work.manual(what, Vec::new());
            continue;
        }
        let name = program.trim_start_matches('/').replace('/', ".");
        let mut context = tera::Context::new();
        context.insert("name", &name);
        context.insert("program", program);
        // A profile of this name that does not do is somebody's own.
        let mut foreign = false;
        let path = format!("/etc/apparmor.d/{name}");
        work.file(path.clone(), Writer::System, (Template::AppArmorProfile, &context), |text| {
            foreign = true;
            text.to_owned()
        })?;
        if foreign {
            let what = format!("{path} is there and does not let {program} create user namespaces: add \"userns,\"");
            work.manual(what, vec![format!("sudo apparmor_parser -r {path}")]);
        } else {
            work.activate(Activation::ReloadAppArmor);
        }
    }
    Ok(())
}
