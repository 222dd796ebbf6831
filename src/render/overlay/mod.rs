//! An overlay, one file per format.

mod ansible;
mod butane;
mod cloud_init;
mod script;
mod shell;
mod tar;
mod yaml;

use anyhow::bail;

use crate::cli::OverlayFormat;
use crate::finding::Level;
use crate::fixes::Layer;
use crate::overlay::Overlay;
use crate::plan::{Content, State};
use crate::render::printable;

/// What a format does not carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// What it is, and who can do it.
    pub text: String,
    /// Whether a stack does not run without.
    pub required: bool,
}

/// Refuses what makes no sense.
///
/// # Errors
/// Where files of a vendor would be written to a host that runs.
pub fn refuse(format: OverlayFormat, layer: Layer) -> anyhow::Result<()> {
    let on_hosts =
        matches!(format, OverlayFormat::CloudInit | OverlayFormat::Butane | OverlayFormat::Ansible);
    if on_hosts && layer == Layer::Vendor {
        bail!("--layer vendor is for images: with tar, dir or shell");
    }
    Ok(())
}

/// The overlay in a format that is one file. `mtime` is in seconds since 1970.
///
/// # Errors
/// What the format cannot hold.
pub fn bytes(overlay: &Overlay, format: OverlayFormat, mtime: i64) -> anyhow::Result<Vec<u8>> {
    Ok(match format {
        OverlayFormat::Tar => tar::tar(overlay, mtime)?,
        OverlayFormat::Dir => bail!("a directory is no file"),
        OverlayFormat::CloudInit => cloud_init::cloud_init(overlay)?.into_bytes(),
        OverlayFormat::Butane => butane::butane(overlay)?.into_bytes(),
        OverlayFormat::Shell => shell::shell(overlay)?.into_bytes(),
        OverlayFormat::Ansible => ansible::ansible(overlay)?.into_bytes(),
    })
}

/// What the format does not carry, what is required first.
pub fn left(overlay: &Overlay, format: OverlayFormat) -> Vec<Left> {
    let mut left = Vec::new();
    let appends = !matches!(format, OverlayFormat::Tar | OverlayFormat::Dir | OverlayFormat::Butane);
    if let Some(ids) = overlay.subordinate.as_ref().filter(|_| !appends) {
        let text = format!(
            "{} subordinate IDs of {} in /etc/subuid and /etc/subgid: useradd gives them (then --subids none), \
             or --subids file writes both files for this user alone",
            ids.count, overlay.person.name
        );
        left.push(Left { text, required: true });
    }
    for word in overlay.kernel_words.iter().filter(|_| format != OverlayFormat::Butane) {
        let verb = if word.wanted { "pass" } else { "no longer pass" };
        let text = format!("have the boot loader {verb} {} to the kernel: {}", word.word, word.why);
        left.push(Left { text, required: word.level == Level::Required });
    }
    left.extend(overlay.left.iter().map(|step| {
        let commands = step.commands.iter().map(|command| format!("; run: {command}"));
        Left {
            text: format!("{}{}", step.summary, commands.collect::<String>()),
            required: overlay.left_is_required,
        }
    }));
    left.sort_by_key(|left| !left.required);
    left
}

/// What it is, as comments of a shell or of YAML, with the words of the kernel that are not in it.
fn heading(overlay: &Overlay, words_are_left: bool) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let left = |word: &crate::overlay::KernelWord| {
        let verb = if word.wanted { "passed" } else { "no longer passed" };
        format!("# The kernel has to be {verb} {}, by the boot loader of the host.\n", word.word)
    };
    let words: String = overlay.kernel_words.iter().filter(|_| words_are_left).map(left).collect();
    // The name of a profile is that of a file, and a file can be called anything.
    let about = printable(&overlay.about);
    format!("# {about}\n# Written by edgeprep {version} (edgeprep render).\n{words}")
}

/// The text of a file.
fn content_text<'a>(path: &str, state: &'a State) -> anyhow::Result<&'a str> {
    match std::str::from_utf8(content(state)) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => bail!("{path} is no text: only tar and dir can have it"),
    }
}

/// The bytes of a file.
fn content(state: &State) -> &[u8] {
    match state {
        State::File { content, .. } => Content::bytes(content).unwrap_or_default(),
        _ => &[],
    }
}

#[cfg(test)]
mod tests;
