//! Where profiles lie: built in, with the site, or in a file that the command line names; and those that they
//! extend.

use std::rc::Rc;

use super::{RequestError, SITE_PROFILES, workload};
use crate::facts::{Facts, POLICY_DIR};
use crate::host::Unread;
use crate::profile::{self, EXTENDS_LIMIT, Layer, ProfileError};

/// A profile, and where it lies.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) layer: Layer,
    pub(super) place: Place,
}

/// Where a profile lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a file of the machine that edgeprep runs on, whatever host is looked at.
    File,
    /// In the host's own configuration.
    Site,
    /// In edgeprep.
    BuiltIn,
}

/// A layer in the host's own configuration, or `None` where it has none.
pub(super) fn site_layer(facts: &Facts, name: &str) -> Result<Option<Layer>, RequestError> {
    match facts.policy_text(name) {
        Ok(source) => Ok(Some(Layer::parse(&format!("{POLICY_DIR}/{name}"), source.text())?)),
        // A capture that was made without looking there is one of a host without policy.
        Err(Unread::Absent { .. } | Unread::NotCaptured { .. }) => Ok(None),
        Err(why) => Err(why.into()),
    }
}

fn profile_of_site(facts: &Facts, name: &str) -> Result<Option<Layer>, RequestError> {
    let layer = site_layer(facts, &format!("{SITE_PROFILES}/{name}.toml"))?;
    Ok(layer.map(Layer::as_profile).transpose()?)
}

/// The site's own profiles, by name.
pub(super) fn of_site(facts: &Facts) -> Result<Vec<Layer>, RequestError> {
    let mut site = Vec::new();
    for name in names_of_site(facts)? {
        site.extend(profile_of_site(facts, &name)?);
    }
    Ok(site)
}

fn names_of_site(facts: &Facts) -> Result<Vec<String>, RequestError> {
    let entries = match facts.policy_files(SITE_PROFILES) {
        Err(Unread::Absent { .. } | Unread::NotCaptured { .. }) => Vec::new(),
        entries => entries?,
    };
    let stem =
        |file: String| file.rsplit('/').next().unwrap_or_default().trim_end_matches(".toml").to_owned();
    Ok(entries.into_iter().map(stem).collect())
}

/// Whether this is the path of a profile, not its name.
pub(super) fn is_path(name: &str) -> bool {
    name.contains('/') || name.ends_with(".toml")
}

/// The profile in a file that the command line names.
pub(super) fn from_named_file(path: &str) -> Result<Found, RequestError> {
    from_file(path).map_err(|why| match (why, path.strip_suffix(".toml")) {
        (RequestError::Unread(Unread::Absent { .. }), Some(name))
            if profile::built_in_names().contains(&name) =>
        {
            ProfileError::NoSuchFile { path: path.to_owned(), name: name.to_owned() }.into()
        }
        (why, _) => why,
    })
}

/// The profile in a file.
fn from_file(path: &str) -> Result<Found, RequestError> {
    let layer = Layer::parse(path, &String::from_utf8_lossy(&workload::read(path)?))?;
    Ok(Found { layer: layer.as_profile()?, place: Place::File })
}

/// The profile of a name: the site's own, else the built-in one. The site file names it `at`, or else the
/// command line does. What built-in ones share is for no hardware, and so none to choose.
pub(super) fn by_name(facts: &Facts, name: &str, at: Option<String>) -> Result<Found, RequestError> {
    let mut shared = profile::shared()?;
    if let Some(found) = of_host(facts, name)? {
        if found.place == Place::BuiltIn
            && found.layer.recognise == profile::Recognise::default()
            && let Some(by) = shared.remove(name)
        {
            return Err(ProfileError::Shared { name: name.to_owned(), by }.into());
        }
        return Ok(found);
    }
    let mut known = known(facts)?;
    known.retain(|name| !shared.contains_key(name));
    let name = name.to_owned();
    Err(match at {
        Some(at) => ProfileError::NoSuchNamed { at, key: "profile", name, known },
        None => ProfileError::NoSuchProfile { name, known },
    }
    .into())
}

/// A built-in profile that there is.
pub(super) fn built_in_named(name: &str) -> Result<Found, RequestError> {
    let known = || profile::built_in_names().into_iter().map(str::to_owned).collect();
    let layer = profile::built_in_named(name)?
        .ok_or_else(|| ProfileError::NoSuchProfile { name: name.to_owned(), known: known() })?;
    Ok(Found { layer, place: Place::BuiltIn })
}

fn of_host(facts: &Facts, name: &str) -> Result<Option<Found>, RequestError> {
    if let Some(layer) = profile_of_site(facts, name)? {
        return Ok(Some(Found { layer, place: Place::Site }));
    }
    Ok(profile::built_in_named(name)?.map(|layer| Found { layer, place: Place::BuiltIn }))
}

fn known(facts: &Facts) -> Result<Vec<String>, RequestError> {
    let mut names = names_of_site(facts)?;
    names.extend(profile::built_in_names().into_iter().map(str::to_owned));
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// The layers of a profile: those that it extends, each once and before what extends it, then itself.
pub(super) fn with_parents(facts: &Facts, found: Found) -> Result<Vec<Layer>, RequestError> {
    let mut layers = Vec::new();
    add(facts, &mut layers, found, &[])?;
    Ok(layers.into_iter().map(|found| found.layer).collect())
}

/// What was followed to a profile: who extends, and where the one that was asked for does.
#[derive(Clone)]
struct Step {
    place: Place,
    file: Rc<str>,
    name: String,
    at: String,
}

fn add(facts: &Facts, layers: &mut Vec<Found>, found: Found, behind: &[Step]) -> Result<(), RequestError> {
    for (name, origin) in &found.layer.extends {
        let at = behind.first().map_or_else(|| origin.to_string(), |first| first.at.clone());
        let (place, file) = (found.place, found.layer.file.clone());
        let mut steps = behind.to_vec();
        steps.push(Step { place, file, name: found.layer.name().to_owned(), at: at.clone() });
        let Some(parent) = parent(facts, &found, name)? else {
            if found.layer.name() == name {
                return Err(ProfileError::Cycle { at, name: name.clone(), by: Vec::new() }.into());
            }
            let (at, name, known) = (origin.to_string(), name.clone(), known(facts)?);
            return Err(ProfileError::NoSuchNamed { at, key: "extends", name, known }.into());
        };
        let is_parent = |step: &Step| (step.place, &step.file) == (parent.place, &parent.layer.file);
        if let Some(first) = steps.iter().position(is_parent) {
            let by = steps.iter().skip(first + 1).map(|step| step.name.clone()).collect();
            return Err(ProfileError::Cycle { at, name: parent.layer.name().to_owned(), by }.into());
        }
        if steps.len() > EXTENDS_LIMIT {
            let mut chain: Vec<String> = steps.into_iter().map(|step| step.name).collect();
            chain.push(name.clone());
            return Err(ProfileError::TooDeep { at, chain }.into());
        }
        add(facts, layers, parent, &steps)?;
    }
    let is_there = |other: &Found| (other.place, &other.layer.file) == (found.place, &found.layer.file);
    if !layers.iter().any(is_there) {
        layers.push(found);
    }
    Ok(())
}

/// What a profile means by a name: a file beside it, a profile of the site, a built-in one. A profile that is
/// named as one behind it, such as a site's own `rpi4`, means that one. What is built in knows nothing of sites.
fn parent(facts: &Facts, child: &Found, name: &str) -> Result<Option<Found>, RequestError> {
    let built_in = || -> Result<Option<Found>, RequestError> {
        Ok(profile::built_in_named(name)?.map(|layer| Found { layer, place: Place::BuiltIn }))
    };
    let is_itself = child.layer.name() == name;
    match child.place {
        Place::BuiltIn => built_in(),
        Place::Site if is_itself => built_in(),
        Place::File if !is_itself && !name.contains('/') => {
            let dir = child.layer.file.rsplit_once('/').map_or(".", |(dir, _)| dir);
            match from_file(&format!("{dir}/{name}.toml")).map(Some) {
                Err(RequestError::Unread(Unread::Absent { .. })) => of_host(facts, name),
                found => found,
            }
        }
        Place::Site | Place::File => of_host(facts, name),
    }
}
