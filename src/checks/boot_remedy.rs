//! What repairs a word of the kernel command line: the one file of this host's boot loader, or why there is none.

use crate::facts::Facts;
use crate::facts::boot::{Boot, Place};
use crate::finding::Remedy;
use crate::requirements::Requirements;
use crate::settings::Setting;

/// Passes a word to the kernel, after all that undoes it.
pub(super) fn pass(facts: &Facts, req: &Requirements, word: &str) -> Remedy {
    let looked = facts.boot(&req.boot);
    match looked.as_deref() {
        Ok(Ok(boot)) if boot.own_switch(word).is_some() => {
            change(facts, req, &word.replacen("enable", "disable", 1), false)
        }
        _ => change(facts, req, word, true),
    }
}

/// Passes it no more. Where firmware passes it, only a later word can undo it.
pub(super) fn pass_no_more(facts: &Facts, req: &Requirements, word: &str) -> Remedy {
    let looked = facts.boot(&req.boot);
    if let Ok(Ok(boot)) = looked.as_deref()
        && boot.is_of_firmware(word)
    {
        return match word.replace('-', "_").strip_prefix("cgroup_disable=") {
            Some(name) => pass(facts, req, &format!("cgroup_enable={name}")),
            None => Remedy::manual(format!("the device tree passes {word}: boot with one that does not")),
        };
    }
    change(facts, req, word, false)
}

/// What is configured already takes effect this way.
pub(super) fn reboot() -> Remedy {
    Remedy::manual("reboot").command("sudo reboot")
}

fn change(facts: &Facts, req: &Requirements, word: &str, passed: bool) -> Remedy {
    let then_reboot = |what: String| if facts.running() { format!("{what}, then reboot") } else { what };
    let looked = facts.boot(&req.boot);
    let place = match looked.as_deref() {
        Ok(Ok(Boot { place, .. })) => place.as_ref().map_err(Clone::clone),
        Ok(Err(why)) => Err(why.clone()),
        Err(why) => Err(why.to_string()),
    };
    let place = match place {
        Ok(place) => place,
        Err(why) if passed => {
            let summary = format!("add {word} to the kernel command line");
            return Remedy::manual(format!("{} ({why})", then_reboot(summary)));
        }
        Err(why) => {
            let summary = format!("take {word} off the kernel command line");
            return Remedy::manual(format!("{} ({why})", then_reboot(summary)));
        }
    };
    let Place { path, carry, .. } = place;
    let written = place.passes(word) == passed;
    let what = match (written, passed) {
        (true, _) if carry.is_empty() => "boot with it".to_owned(),
        (true, _) => {
            let tools = carry.iter().map(ToString::to_string).collect::<Vec<_>>().join(", then ");
            if facts.running() { format!("run {tools}") } else { format!("run {tools} inside the image") }
        }
        (false, true) => format!("add {word} to {path}"),
        (false, false) => format!("take {word} out of {path}"),
    };
    let setting = Setting::KernelArgument {
        word: word.to_owned(),
        passed,
        path: (!written).then(|| path.clone()),
        boot: req.boot.clone(),
    };
    let mut remedy = Remedy::setting(then_reboot(what), setting);
    if facts.running() {
        for step in carry {
            remedy = remedy.command(step.command());
        }
        remedy = remedy.command("sudo reboot");
    }
    remedy
}
