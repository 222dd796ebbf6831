//! Whether the kernel is passed what policy wants it to be: see [`KERNEL_ARGUMENTS`].

use crate::checks::{boot_remedy, check};
use crate::facts::boot::{Boot, Method, Place};
use crate::facts::cgroup::Controller;
use crate::facts::kernel_cmdline::KernelCmdline;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Needs, Outcome, Remedy, Verdict};
use crate::host::{Fact, OrAbsent};
use crate::requirements::{KernelArgument, Requirements};

/// What turns the memory controller on again on a Raspberry Pi.
const MEMORY_ON: &str = "cgroup_enable=memory";
/// The profiles of Raspberry Pis.
const RASPBERRY_PIS: [&str; 4] = ["rpi-zero2w", "rpi3", "rpi4", "rpi5"];

check! {
    /// The kernel is passed what the board needs
    ///
    /// ## What is looked at
    ///
    /// For each `[[kernel-argument]]` of the profile and the site file: the words of `/proc/cmdline`, and
    /// those that the boot loader passes next time, by its own file. Of words that contradict each other,
    /// such as `cgroup_disable=memory` and `cgroup_enable=memory`, the last decides. Words after a lone
    /// `--` are for init and do not count, nor do those that the boot loader does not read, such as a
    /// second line of `cmdline.txt`.
    ///
    /// A word that is there for a controller is not needed where the running kernel offers it anyway,
    /// nor in an image whose device trees turn nothing off and whose kernels do not do so by themselves.
    /// Where neither shows, and it is not an image of Raspberry Pi OS or of Ubuntu 25.10 or later, that
    /// is unknown: kernels of others have the memory controller on. So it is in an image with the
    /// firmware's files of a Raspberry Pi where no profile of one is named.
    ///
    /// ## Why it matters
    ///
    /// Firmware and vendors turn things off: a Raspberry Pi starts without the memory controller, and
    /// K3s does not start then.
    ///
    /// ## Repair
    ///
    /// Add the word to the one file that the boot loader reads, or take it out there, and reboot.
    ///
    /// ## Sources
    ///
    /// - Documentation/admin-guide/kernel-parameters.rst
    /// - docs/boards.md
    KERNEL_ARGUMENTS, "kernel-arguments", Required, Host(run)
}

fn run(facts: &Facts, req: &Requirements) -> Outcome {
    let mut outcome = nameless_raspberry_pi(facts, req);
    if req.kernel_arguments.is_empty() && outcome.items.is_empty() {
        return Outcome::skip("neither profile nor site asks for an argument of the kernel");
    }
    if facts.container().is_ok_and(|container| container.is_some()) {
        return Outcome::skip("the host of this container has the kernel");
    }
    for (argument, demands) in &req.kernel_arguments {
        outcome.looked(demands, &argument.word, look(facts, req, argument));
    }
    outcome
}

fn look(facts: &Facts, req: &Requirements, argument: &KernelArgument) -> Fact<Result<Finding, String>> {
    let boot = facts.boot(&req.boot);
    let now = match facts.running() {
        true => Some(facts.kernel_cmdline()?),
        false => None,
    };
    if let (Some(controller), Some(now)) = (argument.for_controller, &now)
        && !says(now, argument).0
        && let Some(root) = facts.root_controllers().or_absent()?
        && root.value.contains(&controller)
    {
        let found = format!("not needed: the kernel offers {controller}");
        return Ok(Ok(
            Finding::new(&argument.word, expected(argument), found, Verdict::Met).at([root.at.clone()])
        ));
    }
    let boot = match &*boot? {
        Ok(boot) => boot.clone(),
        Err(why) => return Ok(unknown_next(facts, req, argument, now.as_deref(), why)),
    };
    if let Some(why) = boot.doubted(&argument.word) {
        return Ok(unknown_next(facts, req, argument, now.as_deref(), why));
    }
    if now.is_none()
        && let Some(controller) = argument.for_controller
        && let Some(before) = &boot.before
        && boot.words().deciding(&argument.word).is_none()
    {
        let found = format!("not needed: nothing turns {controller} off");
        let at = before.parameters.first().map(|word| word.at.clone()).or_else(|| boot.at.first().cloned());
        return Ok(Ok(Finding::new(&argument.word, expected(argument), found, Verdict::Met).at(at)));
    }
    if argument.wanted
        && let Some(switch) = boot.own_switch(&argument.word)
    {
        let verdict = Verdict::of(false, now.as_deref().map(|now| says(now, argument).0), Needs::Reboot);
        let found = format!("{}, which not every kernel lets be undone", switch.at.text);
        let remedy = remedy(facts, req, argument, None);
        let finding = Finding::new(&argument.word, "not needed", found, verdict);
        return Ok(Ok(finding.at([switch.at.clone()]).repair(remedy)));
    }
    if now.is_none() && may_not_need(facts, argument, &boot)? {
        let why = "whether the kernel of this image turns the memory controller off cannot be told: those of \
                   Raspberry Pi do";
        return Ok(Err(format!("{why}, and {} in the boot files turns it on again", argument.word)));
    }
    let (configured, at) = says(&boot.words(), argument);
    let (in_effect, now_at) = match &now {
        Some(now) => {
            let (holds, at) = says(now, argument);
            (Some(holds), at)
        }
        None => (None, None),
    };
    let verdict = Verdict::of(configured, in_effect, Needs::Reboot);
    Ok(Ok(finding(facts, req, argument, &boot, verdict).at(at).at(now_at)))
}

/// What is open of an image for a Raspberry Pi where policy does not know that it is one: whether the
/// memory controller will be on.
fn nameless_raspberry_pi(facts: &Facts, req: &Requirements) -> Outcome {
    let mut outcome = Outcome::default();
    let is_of_memory = |argument: &KernelArgument| argument.for_controller == Some(Controller::Memory);
    let is_told = req.boot.method.is_some() || req.kernel_arguments.keys().any(is_of_memory);
    let Some(demands) = req.controllers.get(&Controller::Memory) else { return outcome };
    if facts.running() || is_told || !has_raspberry_pi_firmware(facts) {
        return outcome;
    }
    // What cannot be read or told of the boot files leaves it open, too.
    if let Ok(Ok(boot)) = facts.boot(&req.boot).as_deref()
        && (boot.method != Method::RaspberryPi
            || boot.before.is_some()
            || boot.words().deciding(MEMORY_ON).is_some())
    {
        return outcome;
    }
    let why = format!(
        "this image has the boot partition of a Raspberry Pi, on which the memory controller may be off: \
         name the profile of the board with --profile ({})",
        RASPBERRY_PIS.join(", ")
    );
    outcome.unknown_all(demands, MEMORY_ON, &why);
    outcome
}

fn has_raspberry_pi_firmware(facts: &Facts) -> bool {
    ["/boot/firmware", "/boot"].iter().any(|dir| {
        let is_there = |name: &str| facts.stat(&format!("{dir}/{name}")).is_ok();
        is_there("config.txt") && (is_there("cmdline.txt") || is_there("current/cmdline.txt"))
    })
}

/// Whether it is open that the word is needed: the controller may be on without it.
fn may_not_need(facts: &Facts, argument: &KernelArgument, boot: &Boot) -> Fact<bool> {
    let is_open = argument.for_controller == Some(Controller::Memory)
        && boot.method == Method::RaspberryPi
        && boot.before.is_none()
        && boot.words().deciding(&argument.word).is_none();
    Ok(is_open && !facts.has_kernels_of_raspberry_pi()?)
}

/// Only what runs is known: right now is right, and the next boot cannot be told.
fn unknown_next(
    facts: &Facts,
    req: &Requirements,
    argument: &KernelArgument,
    now: Option<&KernelCmdline>,
    why: &str,
) -> Result<Finding, String> {
    let Some(now) = now else { return Err(why.to_owned()) };
    let (holds, at) = says(now, argument);
    let found = if holds { expected(argument) } else { found(argument, false) };
    let remedy = remedy(facts, req, argument, at.as_ref());
    Ok(Finding::new(&argument.word, expected(argument), found, Verdict::met_if(holds)).at(at).repair(remedy))
}

fn finding(
    facts: &Facts,
    req: &Requirements,
    argument: &KernelArgument,
    boot: &Boot,
    verdict: Verdict,
) -> Finding {
    let unheard = boot.unheard.iter().find(|word| argument.wanted && word.parameter.is(&argument.word));
    let written = boot.place.as_ref().ok().filter(|place| {
        place.passes(&argument.word) == argument.wanted && !boot.is_of_firmware(&argument.word)
    });
    let (found, remedy) = match (verdict, unheard) {
        (Verdict::Unmet | Verdict::Volatile, None) if let Some(place) = written => {
            let found = format!("{} says so, and the boot loader was not told", place.path);
            (found, remedy(facts, req, argument, None))
        }
        (Verdict::Pending(_), _) => (found(argument, true), boot_remedy::reboot()),
        (Verdict::Unmet | Verdict::Volatile, Some(word)) => {
            (format!("written where nobody reads it: {}", word.why), remedy(facts, req, argument, None))
        }
        (Verdict::Met, _) => (expected(argument), Remedy::default()),
        _ => {
            let (_, at) = says(&boot.words(), argument);
            (found(argument, false), remedy(facts, req, argument, at.as_ref()))
        }
    };
    let unheard_at = unheard.filter(|_| verdict != Verdict::Met).map(|word| word.parameter.at.clone());
    // The word that decides is shown by the caller, where the boot loader reads it.
    let place = match boot.next.deciding(&argument.word) {
        Some(_) => None,
        None => boot.place.as_ref().ok().and_then(written_at).or_else(|| boot.at.first().cloned()),
    };
    Finding::new(&argument.word, expected(argument), found, verdict).at(unheard_at).at(place).repair(remedy)
}

/// The line of the file in which words are written, where there are words on it.
fn written_at(place: &Place) -> Option<Evidence> {
    let here = |at: &&Evidence| *at.path == *place.path;
    let words = || place.words.parameters.iter().map(|word| &word.at);
    let last = words().rfind(here)?;
    let line: Vec<&str> = words().filter(|at| here(at) && at.line == last.line).map(|at| &*at.text).collect();
    Some(Evidence::line(&last.path, last.line?, &line.join(" ")))
}

fn expected(argument: &KernelArgument) -> String {
    if argument.wanted { "passed" } else { "not passed" }.to_owned()
}

fn found(argument: &KernelArgument, pending: bool) -> String {
    match (argument.wanted, pending) {
        (true, true) => "passed from the next boot on".to_owned(),
        (false, true) => "passed until the next boot".to_owned(),
        (true, false) => "not passed".to_owned(),
        (false, false) => "passed".to_owned(),
    }
}

fn remedy(facts: &Facts, req: &Requirements, argument: &KernelArgument, at: Option<&Evidence>) -> Remedy {
    if let Some(why) = &req.boot.refused {
        return Remedy::manual(why.clone());
    }
    match (argument.wanted, at) {
        (true, _) => boot_remedy::pass(facts, req, &argument.word),
        (false, at) => {
            let mut words = written(facts, req, argument);
            if words.is_empty() {
                words.push(at.map_or_else(|| argument.word.clone(), |at| at.text.clone()));
            }
            let mut remedies = words.iter().map(|word| boot_remedy::pass_no_more(facts, req, word));
            let first = remedies.next().unwrap_or_default();
            remedies.fold(first, |mut all, more| {
                all.settings.extend(more.settings);
                all
            })
        }
    }
}

/// The words that are written for the next boot and that a forbidden `NAME` stands for.
fn written(facts: &Facts, req: &Requirements, argument: &KernelArgument) -> Vec<String> {
    let boot = facts.boot(&req.boot);
    let Ok(Ok(Boot { place: Ok(place), .. })) = boot.as_deref() else { return Vec::new() };
    let mut words: Vec<String> = Vec::new();
    for word in place.words.parameters.iter().filter(|word| word.is(&argument.word)) {
        if !words.contains(&word.at.text) {
            words.push(word.at.text.clone());
        }
    }
    words
}

/// Whether these words are as the argument wants them, and the one that decides.
fn says(words: &KernelCmdline, argument: &KernelArgument) -> (bool, Option<Evidence>) {
    let decides = words.deciding(&argument.word);
    let passed = decides.is_some_and(|word| word.is(&argument.word));
    (passed == argument.wanted, decides.map(|word| word.at.clone()))
}

#[cfg(test)]
#[path = "kernel_arguments_doubt_tests.rs"]
mod doubt_tests;
#[cfg(test)]
#[path = "kernel_arguments_tests.rs"]
mod tests;
