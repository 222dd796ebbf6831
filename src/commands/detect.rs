//! `edgeprep detect`.

use serde::Serialize;

use super::open;
use crate::cli::{DetectArgs, Format};
use crate::facts::Facts;
use crate::facts::boot::{Boot, BootWant, Carry, Method};
use crate::host::Unread;
use crate::host_summary::HostSummary;
use crate::inspection::Policy;
use crate::report::ProfileChoice;
use crate::{exit_code, render};

/// The name and version of the format.
const SCHEMA: &str = "edgeprep.detect/1";
const WIDTH: usize = 80;
const LABEL: usize = 14;

/// What shows which board this is, and how it boots.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Detected {
    /// [`SCHEMA`].
    schema: &'static str,
    /// The version of edgeprep.
    version: &'static str,
    /// The host.
    host: HostSummary,
    /// The profile.
    profile: ProfileChoice,
    /// By what the profile recognises this hardware, also where it was named; null where it does not.
    recognised_by: Option<String>,
    /// How it boots.
    boot: Boots,
}

/// How the host boots.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Boots {
    /// The method, where it is known.
    method: Option<Method>,
    /// The one file that words for the kernel are written in.
    file: Option<String>,
    /// What carries them from there to the boot loader.
    then: Vec<String>,
    /// The files that show it.
    seen: Vec<String>,
    /// Why method or file is not known.
    unknown: Option<String>,
}

impl Boots {
    fn of(facts: &Facts, want: &BootWant) -> Boots {
        let unknown = |why: String| {
            let (method, file, then, seen) = (None, None, Vec::new(), Vec::new());
            Boots { method, file, then, seen, unknown: Some(why) }
        };
        match facts.boot(want).as_deref() {
            Ok(Ok(Boot { method, at, place, .. })) => {
                let (file, then, why) = match place {
                    Ok(place) => {
                        // On the machine that looks at an image it would change that machine.
                        let shown = |carry: &Carry| match facts.running() {
                            true => carry.command(),
                            false => format!("in the image: {carry}"),
                        };
                        let then = place.carry.iter().map(shown).collect();
                        (Some(place.path.clone()), then, None)
                    }
                    Err(why) => (None, Vec::new(), Some(why.clone())),
                };
                let mut seen: Vec<String> = at.iter().map(|at| at.path.to_string()).collect();
                seen.dedup();
                Boots { method: Some(*method), file, then, seen, unknown: why }
            }
            Ok(Err(why)) => unknown(why.clone()),
            Err(why) => unknown(why.to_string()),
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![match (self.method, &self.unknown) {
            (Some(method), _) => ("boots with", method.as_str().to_owned()),
            (None, Some(why)) => ("boots with", format!("not known: {why}")),
            (None, None) => ("boots with", "not known".to_owned()),
        }];
        if self.method.is_some() {
            let file = match (&self.file, &self.unknown) {
                (Some(file), _) => file.clone(),
                (None, why) => format!("not known: {}", why.as_deref().unwrap_or("no file was found")),
            };
            rows.push(("words in", file));
        }
        rows.extend(self.then.iter().map(|command| ("then", command.clone())));
        rows
    }
}

pub(super) fn run(args: &DetectArgs) -> anyhow::Result<u8> {
    let facts = open(&args.target.host)?;
    let policy = Policy::choose(&facts, &args.target.profile)?;
    let boot = Boots::of(&facts, &policy.boot());
    let Policy { choice: profile, recognised_by, .. } = policy;
    let (schema, version) = (SCHEMA, env!("CARGO_PKG_VERSION"));
    let detected = Detected { schema, version, host: HostSummary::of(&facts), profile, recognised_by, boot };
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&detected)? + "\n",
        Format::Human => human(&facts, &detected),
    };
    render::print(&text)?;
    Ok(exit_code::DONE)
}

fn human(facts: &Facts, detected: &Detected) -> String {
    let Detected { host, profile, recognised_by, boot, .. } = detected;
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "not known".to_owned());
    let tree = match facts.device_tree() {
        Err(Unread::NotRunning { .. }) => "not known: nothing runs in an image".to_owned(),
        Err(why) => format!("not known: {why}"),
        Ok(_) if host.hardware.compatible.is_empty() => "none".to_owned(),
        Ok(_) => host.hardware.compatible.join(" "),
    };
    let recognised = match (profile.chosen, recognised_by) {
        ("named", Some(why)) if facts.running() => format!("; it recognises this hardware: {why}"),
        _ => String::new(),
    };
    let mut rows = vec![
        ("vendor", or(&host.hardware.vendor)),
        ("model", or(&host.hardware.model)),
        ("device tree", tree),
        ("architecture", or(&host.arch)),
        ("profile", format!("{} ({}{recognised})", profile.name, profile.why)),
    ];
    rows.extend(boot.rows());
    rows.extend(profile.notes.iter().map(|note| ("note", note.clone())));
    let mut text = String::new();
    for (name, value) in rows {
        for (at, line) in render::wrap(&render::printable(&value), WIDTH - LABEL).iter().enumerate() {
            text.push_str(&format!("{:LABEL$}{line}\n", if at == 0 { name } else { "" }));
        }
    }
    text
}
