//! Settings of Podman: a drop-in of `containers.conf(5)`, which all versions since 4 read.

use std::collections::BTreeMap;

use super::edit::set_in_section;
use super::template::Template;
use super::work::{Section, Work, sections};
use super::{FixError, Setting};
use crate::plan::Writer;

const NAME: &str = "containers/containers.conf.d/90-rootless.conf";

pub(super) fn add(work: &mut Work, settings: &[Setting]) -> Result<(), FixError> {
    let mut wanted: BTreeMap<&str, BTreeMap<(&str, &str), &str>> = BTreeMap::new();
    for setting in settings {
        let Setting::Engine { user, table, key, value } = setting else { continue };
        let of_user = wanted.entry(user.as_str()).or_default();
        let before = of_user.insert((table, key.as_str()), value.as_str());
        if let Some(other) = before.filter(|other| *other != value.as_str()) {
            let (what, one) = (format!("{table}.{key}"), other.to_owned());
            return Err(FixError::Conflict { what, one, other: value.clone() });
        }
    }
    for (name, keys) in wanted {
        let user = work.user(name)?;
        let (path, by) = work.in_home(&user, NAME).unwrap_or_else(|| {
            (work.dir(&format!("/etc/{NAME}"), &format!("/usr/share/{NAME}")), Writer::System)
        });
        let mut tables: Vec<Section> = Vec::new();
        for ((table, key), value) in &keys {
            let line = format!("{key} = {value}");
            match tables.iter_mut().find(|known| known.name == *table) {
                Some(known) => known.lines.push(line),
                None => tables.push(Section { name: (*table).to_owned(), lines: vec![line] }),
            }
        }
        let mut broken = None;
        work.file(path.clone(), by, (Template::DropIn, &sections(&tables)), |text| {
            let text = keys.iter().fold(text.to_owned(), |text, ((table, key), value)| {
                set_in_section(&text, table, key, &format!("{key} = {value}"))
            });
            broken = text.parse::<toml::Table>().err();
            text
        })?;
        if let Some(error) = broken {
            return Err(FixError::Refused(format!("{path}: {error}")));
        }
    }
    Ok(())
}
