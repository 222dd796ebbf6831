//! What repairs a word of the kernel command line: the one file of this host's boot loader, or why there is none.

use crate::facts::Facts;
use crate::facts::boot::{Boot, Carry, Place};
use crate::facts::kernel_cmdline::KernelCmdline;
use crate::finding::Remedy;
use crate::requirements::Requirements;
use crate::settings::Setting;

/// Passes a word to the kernel, after all that undoes it.
pub(super) fn pass(facts: &Facts, req: &Requirements, word: &str) -> Remedy {
    change(facts, req, word, true)
}

/// Passes it no more. Where firmware passes it, only a later word can undo it.
pub(super) fn pass_no_more(facts: &Facts, req: &Requirements, word: &str) -> Remedy {
    let looked = facts.boot(&req.boot);
    if let Ok(Ok(Boot { before: Some(before), next, .. })) = looked.as_deref()
        && passes(before, word)
        && !passes(next, word)
    {
        return match word.replace('-', "_").strip_prefix("cgroup_disable=") {
            Some(name) => pass(facts, req, &format!("cgroup_enable={name}")),
            None => Remedy::manual(format!("the device tree passes {word}: boot with one that does not")),
        };
    }
    change(facts, req, word, false)
}

fn passes(words: &KernelCmdline, word: &str) -> bool {
    words.deciding(word).is_some_and(|decides| decides.is(word))
}

/// What is configured already takes effect this way.
pub(super) fn reboot() -> Remedy {
    Remedy::manual("reboot").command("sudo reboot")
}

fn change(facts: &Facts, req: &Requirements, word: &str, passed: bool) -> Remedy {
    let (to, by_hand) = if passed {
        (format!("add {word} to"), format!("add {word} to the kernel command line"))
    } else {
        (format!("take {word} out of"), format!("take {word} off the kernel command line"))
    };
    let then_reboot =
        |summary: String| if facts.running() { format!("{summary}, then reboot") } else { summary };
    let looked = facts.boot(&req.boot);
    let place = match looked.as_deref() {
        Ok(Ok(Boot { place, .. })) => place.as_ref().map_err(Clone::clone),
        Ok(Err(why)) => Err(why.clone()),
        Err(why) => Err(why.to_string()),
    };
    match place {
        Ok(place) if !place.carry.is_empty() && passes(&place.words, word) == passed => carry(facts, place),
        Ok(place) => {
            let setting = Setting::KernelArgument {
                word: word.to_owned(),
                passed,
                path: place.path.clone(),
                boot: req.boot.clone(),
            };
            let mut remedy = Remedy::setting(then_reboot(format!("{to} {}", place.path)), setting);
            if facts.running() {
                for Carry { command, .. } in &place.carry {
                    remedy = remedy.command(command.clone());
                }
                remedy = remedy.command("sudo reboot");
            }
            remedy
        }
        Err(why) => Remedy::manual(format!("{} ({why})", then_reboot(by_hand))),
    }
}

/// It is written already, and has not come to where the boot loader reads it.
fn carry(facts: &Facts, place: &Place) -> Remedy {
    let steps: Vec<&str> = place.carry.iter().map(|carry| carry.summary.as_str()).collect();
    let summary = format!("what {} says has not been carried over: {}", place.path, steps.join(", "));
    if !facts.running() {
        return Remedy::manual(summary);
    }
    let commands = place.carry.iter().map(|carry| carry.command.clone());
    commands.fold(Remedy::manual(format!("{summary}, then reboot")), Remedy::command).command("sudo reboot")
}
