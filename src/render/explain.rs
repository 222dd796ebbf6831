//! What is known about checks, stacks and profiles, for people.

use crate::checks::{ALL, Check};
use crate::finding::Level;
use crate::profile::Layer;
use crate::render::wrap;

const WIDTH: usize = 80;

/// The documentation of a check, for a terminal.
pub fn check(check: &Check) -> String {
    let mut out = String::new();
    let mut lines = check.doc.lines().map(str::trim).peekable();
    let title = lines.next().unwrap_or_default();
    out.push_str(&format!("{}: {title}\n", check.id));
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("## ") {
            out.push_str(&format!("\n{heading}\n"));
            continue;
        }
        if line.is_empty() {
            if !out.ends_with("\n\n")
                && lines.peek().is_some_and(|next| !next.is_empty() && !next.starts_with('#'))
            {
                out.push('\n');
            }
            continue;
        }
        // A paragraph or list item goes on until a blank line, a heading or the next item.
        let mut text = line.to_owned();
        while let Some(next) =
            lines.peek().filter(|n| !n.is_empty() && !n.starts_with("- ") && !n.starts_with('#'))
        {
            text.push(' ');
            text.push_str(next);
            lines.next();
        }
        let (mark, text) = text.strip_prefix("- ").map_or(("  ", text.as_str()), |item| ("  - ", item));
        let indent = " ".repeat(mark.len());
        for (at, part) in wrap(text, WIDTH - mark.len()).iter().enumerate() {
            out.push_str(&format!("{}{part}\n", if at == 0 { mark } else { &indent }));
        }
    }
    // A section that opens right after its heading reads better without a blank line.
    for heading in ["What is looked at", "Why it matters", "Repair", "Sources"] {
        out = out.replace(&format!("\n{heading}\n\n"), &format!("\n{heading}\n"));
    }
    out
}

/// One line per check, in the order of reports.
pub fn checks() -> String {
    let width = ALL.iter().map(|check| check.id.len()).max().unwrap_or(0);
    let mut out = String::new();
    for check in ALL {
        let level = match check.level {
            Level::Required => "",
            Level::Advised => " (advised)",
        };
        let text = format!("{}{level}", check.summary());
        let lines = wrap(&text, WIDTH - width - 2);
        for (at, line) in lines.iter().enumerate() {
            out.push_str(&format!("{:width$}  {line}\n", if at == 0 { check.id } else { "" }));
        }
    }
    out
}

/// Profiles by name.
pub fn profiles(profiles: &[Layer]) -> String {
    let short = |layer: &Layer| Layer { notes: Vec::new(), extends: Vec::new(), ..layer.clone() };
    layers(&profiles.iter().map(short).collect::<Vec<_>>())
}

/// Layers of policy by name, and what is to be known of each.
pub fn layers(layers: &[Layer]) -> String {
    let width = layers.iter().map(|layer| layer.name().len()).max().unwrap_or(0);
    let mut out = String::new();
    for layer in layers {
        let more = layer.extends.iter().map(|(parent, _)| format!("all of {parent}"));
        let notes: Vec<String> = layer.notes.iter().cloned().chain(more).collect();
        let rows = std::iter::once((layer.name(), "", &layer.summary));
        for (name, mark, text) in rows.chain(notes.iter().map(|note| ("", "- ", note))) {
            for (at, line) in wrap(text, WIDTH - width - 2 - mark.len()).iter().enumerate() {
                let (name, mark) = if at == 0 { (name, mark) } else { ("", &"  "[..mark.len()]) };
                out.push_str(&format!("{name:width$}  {mark}{line}\n"));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explanations_fit_a_terminal() {
        for each in ALL {
            let text = check(each);
            let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > WIDTH).collect();
            assert!(wide.is_empty(), "{}: {wide:?}", each.id);
        }
        assert!(checks().lines().all(|line| line.chars().count() <= WIDTH));
        let layers = crate::profile::built_in().unwrap();
        let text = profiles(&layers);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
        assert_eq!(text.lines().filter(|line| !line.starts_with(' ')).count(), layers.len());
        assert!(layers.iter().flat_map(|layer| &layer.notes).all(|note| !text.contains(&note[..20])));
    }
}
