//! The policy that is built in, from `profiles/`: see `build.rs`.

use std::collections::BTreeMap;

use super::recognise::{self, Recognise};
use super::{EXTENDS_LIMIT, Layer, ProfileError};
use crate::requirements::Stack;

macro_rules! built_in {
    ($path:literal) => {
        ($path, include_str!(concat!(env!("OUT_DIR"), "/", $path)))
    };
}

const BASE: (&str, &str) = built_in!("profiles/base.toml");

const STACKS: &[(&str, &str)] = &[
    built_in!("profiles/stacks/podman.toml"),
    built_in!("profiles/stacks/podman-kube.toml"),
    built_in!("profiles/stacks/k3s.toml"),
    built_in!("profiles/stacks/k3d.toml"),
    built_in!("profiles/stacks/kind.toml"),
    built_in!("profiles/stacks/minikube.toml"),
    built_in!("profiles/stacks/usernetes.toml"),
];

/// What lies in `profiles/boards`, by name.
const BOARDS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/boards.rs"));

/// What every stack wants.
///
/// # Errors
/// When the built-in file is malformed, which a test excludes.
pub fn base() -> Result<Layer, ProfileError> {
    Layer::parse(BASE.0, BASE.1)
}

/// The built-in layers of these stacks, each once with the stacks that it speaks for, in the order of the
/// stacks and a layer after those it extends.
///
/// # Errors
/// When a built-in file is malformed, which a test excludes.
pub fn layers_of(stacks: &[Stack]) -> Result<Vec<(Layer, Vec<Stack>)>, ProfileError> {
    let mut layers: Vec<(Layer, Vec<Stack>)> = Vec::new();
    for &stack in stacks {
        add_with_extends(&mut layers, stack, stack.as_str(), EXTENDS_LIMIT)?;
    }
    Ok(layers)
}

fn add_with_extends(
    layers: &mut Vec<(Layer, Vec<Stack>)>,
    stack: Stack,
    name: &str,
    depth: usize,
) -> Result<(), ProfileError> {
    let known = layers.iter().find(|(layer, _)| layer.name() == name).map(|(layer, _)| layer.extends.clone());
    let (extends, parsed) = match known {
        Some(extends) => (extends, None),
        None => {
            let layer = stack_layer(name)?;
            (layer.extends.clone(), Some(layer))
        }
    };
    for (parent, origin) in extends {
        if depth == 0 {
            return Err(ProfileError::TooDeep {
                at: origin.to_string(),
                chain: vec![name.to_owned(), parent],
            });
        }
        add_with_extends(layers, stack, &parent, depth - 1)?;
    }
    match (parsed, layers.iter_mut().find(|(layer, _)| layer.name() == name)) {
        (Some(layer), _) => layers.push((layer, vec![stack])),
        (None, Some((_, stacks))) if !stacks.contains(&stack) => stacks.push(stack),
        (None, _) => {}
    }
    Ok(())
}

/// A stack's own layer.
///
/// # Errors
/// When the built-in file is malformed, which a test excludes.
pub fn stack(stack: Stack) -> Result<Layer, ProfileError> {
    stack_layer(stack.as_str())
}

fn stack_layer(name: &str) -> Result<Layer, ProfileError> {
    let known = || STACKS.iter().map(|(file, _)| stem(file).to_owned()).collect();
    let (file, text) = STACKS
        .iter()
        .find(|(file, _)| stem(file) == name)
        .ok_or_else(|| ProfileError::NoSuchProfile { name: name.to_owned(), known: known() })?;
    Layer::parse(file, text)
}

/// The built-in profiles, by name.
///
/// # Errors
/// When a built-in file is malformed, which a test excludes.
pub fn built_in() -> Result<Vec<Layer>, ProfileError> {
    BOARDS.iter().map(|(file, text)| Layer::parse(file, text)).collect()
}

/// The built-in profile of this name, if there is one.
///
/// # Errors
/// When the built-in file is malformed, which a test excludes.
pub fn built_in_named(name: &str) -> Result<Option<Layer>, ProfileError> {
    let board = BOARDS.iter().find(|(file, _)| stem(file) == name);
    board.map(|(file, text)| Layer::parse(file, text)).transpose()
}

/// The names of the built-in profiles.
pub fn built_in_names() -> Vec<&'static str> {
    BOARDS.iter().map(|(file, _)| stem(file)).collect()
}

/// The built-in profiles that hold what others share and are for no hardware of their own, by name,
/// with those others.
///
/// # Errors
/// When a built-in file is malformed, which a test excludes.
pub fn shared() -> Result<BTreeMap<String, Vec<String>>, ProfileError> {
    let boards = built_in()?;
    let mut shared = BTreeMap::<String, Vec<String>>::new();
    for board in &boards {
        for (parent, _) in &board.extends {
            shared.entry(parent.clone()).or_default().push(board.name().to_owned());
        }
    }
    shared.retain(|name, _| {
        boards.iter().any(|board| board.name() == name && board.recognise == Recognise::default())
    });
    Ok(shared)
}

/// What each built-in profile recognises, by name. Of the files no more is read than that.
///
/// # Errors
/// When a built-in file is malformed, which a test excludes.
pub fn recognisable() -> Result<Vec<(&'static str, Recognise)>, ProfileError> {
    let read = |(file, text): &(&'static str, &'static str)| {
        let tables = recognise::tables(text);
        (!tables.is_empty()).then(|| Ok((stem(file), recognise::parse(file, &tables)?)))
    };
    BOARDS.iter().filter_map(read).collect()
}

/// The name of the profile in a file.
pub(super) fn stem(file: &str) -> &str {
    let base = file.rsplit('/').next().unwrap_or(file);
    base.strip_suffix(".toml").unwrap_or(base)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the files are compared with what is built in")]
mod tests {
    use super::*;

    fn file(path: &str) -> String {
        std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    /// Each line is where it is in the file, and none says anything else.
    #[test]
    fn what_is_built_in_is_the_files_without_their_comments() {
        for (path, text) in [&[BASE], STACKS, BOARDS].concat() {
            let original = file(path);
            for (built_in, line) in text.lines().zip(original.lines()) {
                assert!(line.starts_with(built_in), "{path}: {line}");
                assert!(!built_in.trim_start().starts_with('#'), "{path}: {line}");
            }
            let parse = |text: &str| toml::from_str::<toml::Table>(text).unwrap();
            assert_eq!(parse(text), parse(&original), "{path}");
        }
    }

    #[test]
    fn every_file_in_the_folder_is_a_profile() {
        let folder = std::fs::read_dir(format!("{}/profiles/boards", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.map(|name| stem(&name).to_owned()).collect();
        names.sort_unstable();
        assert_eq!(built_in_names(), names);
    }

    #[test]
    fn the_light_reading_of_what_is_recognised_is_the_whole_one() {
        let whole = built_in().unwrap();
        let whole = whole.iter().filter(|layer| layer.recognise != Recognise::default());
        let whole: Vec<(&str, &Recognise)> = whole.map(|layer| (layer.name(), &layer.recognise)).collect();
        let light = recognisable().unwrap();
        assert_eq!(light.iter().map(|(name, recognise)| (*name, recognise)).collect::<Vec<_>>(), whole);
    }

    #[test]
    fn what_is_shared_is_for_no_hardware() {
        let shared = shared().unwrap();
        assert_eq!(shared.keys().collect::<Vec<_>>(), ["jetson", "raspberry-pi", "ti-k3"]);
        assert_eq!(shared["jetson"], ["jetson-orin", "jetson-xavier"]);
    }
}
